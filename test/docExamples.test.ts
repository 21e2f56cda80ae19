/**
 * Every example of the docs compiles, runs, and prints what it says.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import * as DocExamples from "./utils/docExamples.ts"
import { SimulatedProvider } from "./utils/SimulatedProvider.ts"

const root = path.resolve(import.meta.dirname, "..")

const filesOf = (folder: string, ending: string): ReadonlyArray<string> =>
  fs.existsSync(path.join(root, folder))
    ? fs
        .readdirSync(path.join(root, folder))
        .filter((name) => name.endsWith(ending))
        .map((name) => path.posix.join(folder, name))
        .sort()
    : []

const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const examples: ReadonlyArray<DocExamples.Example> = [
  ...["src", "src/internal"]
    .flatMap((folder) => filesOf(folder, ".ts"))
    .flatMap((file) => DocExamples.inDocComments(file, read(file))),
  ...["README.md", ...filesOf("docs", ".md")]
    .filter((file) => fs.existsSync(path.join(root, file)))
    .flatMap((file) => DocExamples.inMarkdown(file, read(file)))
]

/** The models that examples call: `new OpenAI()` reaches a provider on the loopback interface that sells these. */
const prices = Object.fromEntries(
  ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "text-embedding-3-small"].map(
    (model) => [
      model,
      {
        default: { input: "1", output: "1" },
        flex: { input: "1", output: "1" },
        priority: { input: "1", output: "1" }
      }
    ]
  )
)

describe("the examples of the docs", () => {
  let types: DocExamples.Problems
  let runs: DocExamples.Problems

  // One after the other: the type check would keep the provider from answering.
  beforeAll(async () => {
    await using provider = await SimulatedProvider.start({ prices })
    runs = await DocExamples.run(root, examples, { OPENAI_BASE_URL: provider.baseURL })
    types = DocExamples.typeErrors(root, examples)
  }, 240_000)

  it("are many", () => {
    assert.isAbove(examples.length, 20)
  })

  it.each(examples.map((example) => [example.name, example] as const))("%s", (name, example) => {
    assert.deepStrictEqual(types.get(name), [])
    if (example.run) assert.deepStrictEqual(runs.get(name), [])
  })
})

describe("finding examples", () => {
  it("a ts block of a doc comment loses its stars and keeps its blank lines", () => {
    const text =
      "const a = 1\n/**\n * A.\n *\n * ```ts\n * a()\n *\n *   b()\n * ```\n */\nexport const b = 2\n"
    assert.deepStrictEqual(DocExamples.inDocComments("src/A.ts", text), [
      { name: "src/A.ts:5", code: "a()\n\n  b()", run: true }
    ])
  })

  it("Markdown gives its ts blocks, indented ones too, and marks those that do not run", () => {
    const text = "# A\n```ts\na\n```\n```sh\nb\n```\n- c\n  ```ts no-run\n  d\n    e\n  ```\n"
    assert.deepStrictEqual(DocExamples.inMarkdown("README.md", text), [
      { name: "README.md:2", code: "a", run: true },
      { name: "README.md:9", code: "d\n  e", run: false }
    ])
  })

  it("a block that is never closed is an error", () => {
    assert.throws(() => DocExamples.inMarkdown("README.md", "```ts\na\n"), /README.md:1/)
  })
})

describe("promised output", () => {
  it("is the comment behind console.log on the line where the call ends", () => {
    const code = [
      "console.log(1) // 1",
      "if (a) console.log(",
      "  2 // not a promise",
      ") // 2 (two)",
      "console.log(3)",
      "// prose",
      'console.log("// 4");',
      "b() // 5"
    ].join("\n")
    assert.deepStrictEqual(DocExamples.expectations(code), [
      { line: 1, expected: "1" },
      { line: 4, expected: "2 (two)" }
    ])
  })

  it("cannot be promised of another console", () => {
    assert.throws(() => DocExamples.expectations("Console.log(1) // 1"), /only console.log/)
  })

  it("is kept by the same text, with one blank for many and a remark in parentheses, and by nothing else", () => {
    assert.isTrue(DocExamples.keeps("1750000000 (nano-dollars)", "1750000000"))
    assert.isTrue(DocExamples.keeps("[ 1, 2 ]", "[\n  1,\n  2\n]"))
    assert.isFalse(DocExamples.keeps("17500", "1750"))
    assert.isFalse(DocExamples.keeps("1750 nano-dollars", "1750"))
    assert.isFalse(DocExamples.keeps("true", "false"))
    assert.isFalse(DocExamples.keeps("", "1"))
  })
})

describe("broken examples are told apart", () => {
  const broken = (name: string, code: string): DocExamples.Example => ({ name, code, run: true })

  it("by their types", () => {
    const problems = DocExamples.typeErrors(root, [
      broken("bad", 'import * as Usd from "agent-budget/Usd"\nconst a: string = 1'),
      broken("good", 'import * as Usd from "agent-budget/Usd"\nconst unused = Usd.zero')
    ])
    assert.strictEqual(problems.get("bad")?.length, 1)
    assert.match(problems.get("bad")?.[0] ?? "", /^line 2: Type 'number'/)
    assert.deepStrictEqual(problems.get("good"), [])
  })

  it("by what they ask of the provider, which is the only one there is", async () => {
    await using provider = await SimulatedProvider.start({ prices })
    const code = [
      'import OpenAI from "openai"',
      "const client = new OpenAI({ maxRetries: 0 })",
      'const answer = await client.chat.completions.create({ model: "MODEL", messages: [{ role: "user", content: "Hi" }] })',
      "console.log(answer.choices.length) // 1"
    ].join("\n")
    const asking = [broken("sold", code.replace("MODEL", "gpt-4o-mini")), broken("not sold", code)]
    const problems = await DocExamples.run(root, asking, { OPENAI_BASE_URL: provider.baseURL })
    assert.deepStrictEqual(problems.get("sold"), [])
    assert.match(problems.get("not sold")?.[0] ?? "", /404/)
    const alone = await DocExamples.run(root, asking.slice(0, 1))
    assert.match(alone.get("sold")?.[0] ?? "", /Connection error/)
  })

  it("by what they do", async () => {
    const problems = await DocExamples.run(root, [
      broken("good", 'import * as Usd from "agent-budget/Usd"\nconsole.log(Usd.format(Usd.zero)) // $0.00'),
      broken("throws", 'const a: string = "b"\nthrow new Error(a)'),
      broken("prints wrong", "console.log(2) // 1"),
      broken("never prints", "if (process.argv.length > 99) console.log(1) // 1"),
      broken(
        "rejects",
        'void Promise.reject(new Error("later"))\nawait new Promise((go) => setTimeout(go, 5))'
      ),
      broken("prints twice", "for (const n of [1, 2]) console.log(n) // 1"),
      { name: "not run", code: "throw 1", run: false }
    ])
    const first = (name: string): string => problems.get(name)?.[0] ?? "no problem"
    assert.deepStrictEqual(problems.get("good"), [])
    assert.match(first("throws"), /Error: b/)
    assert.strictEqual(first("prints wrong"), "line 1 printed: 2, promised: 1")
    assert.strictEqual(first("never prints"), "line 1 printed nothing, promised: 1")
    assert.match(first("rejects"), /later/)
    assert.strictEqual(first("prints twice"), "line 1 printed: 2, promised: 1")
    assert.isFalse(problems.has("not run"))
  })
})
