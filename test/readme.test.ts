/**
 * What README.md and docs/ point at is there. Their ts blocks are run by docExamples.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import { BudgetedSession } from "agent-budget"
import * as fs from "node:fs"
import * as path from "node:path"
import OpenAI from "openai"
import { failureOf } from "./utils/openAi.ts"
import { answer, stub } from "./utils/stubProvider.ts"

const root = path.resolve(import.meta.dirname, "..")

const pages = [
  "README.md",
  "AGENTS.md",
  ...fs.readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`)
]
  .filter((file) => file.endsWith(".md") && fs.existsSync(path.join(root, file)))
  .map((file) => ({ path: file, text: fs.readFileSync(path.join(root, file), "utf8") }))

interface Page {
  readonly path: string
  readonly text: string
}

const { scripts } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>
}

const anchorsOf = (text: string): ReadonlySet<string> =>
  new Set(
    [...text.matchAll(/^#{1,6} (.+)$/gm)].map((heading) =>
      (heading[1] ?? "")
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")
    )
  )

/** Relative links to a file or a heading that does not exist. `read` gives a file's text, or `null`. */
const deadLinks = (page: Page, read: (file: string) => string | null): ReadonlyArray<string> =>
  [...page.text.matchAll(/\]\(([^()\s]+)\)/g)].flatMap((link) => {
    const target = link[1] ?? ""
    if (/^[a-z]+:/.test(target)) return []
    const [file = "", anchor] = target.split("#")
    const text =
      file === ""
        ? page.text
        : read(path.posix.normalize(path.posix.join(path.posix.dirname(page.path), file)))
    const dead = text === null || (anchor !== undefined && !anchorsOf(text).has(anchor))
    return dead ? [`${page.path}: ${target} leads nowhere`] : []
  })

/** Commands that package.json does not have. */
const unknownScripts = (page: Page, known: ReadonlySet<string>): ReadonlyArray<string> =>
  [...page.text.matchAll(/\bnpm (?:run ([\w:-]+)|(test|start)\b)/g)]
    .map((command) => command[1] ?? command[2] ?? "")
    .filter((name) => !known.has(name))
    .map((name) => `${page.path}: npm run ${name} does not exist`)

/** Blocks of code that are marked so that nothing checks them. */
const uncheckedBlocks = (page: Page): ReadonlyArray<string> =>
  [...page.text.matchAll(/^\s*```(typescript|tsx|js|javascript|ts(?! no-run$)\S* .*)$/gm)].map(
    (fence) => `${page.path}: mark this block "ts" or "ts no-run", not "${fence[1] ?? ""}"`
  )

const onDisk = (file: string): string | null => {
  const full = path.join(root, file)
  if (!fs.existsSync(full)) return null
  return fs.statSync(full).isDirectory() ? "" : fs.readFileSync(full, "utf8")
}

describe("the README", () => {
  it("says how to install, run and test", () => {
    const readme = pages.find((page) => page.path === "README.md")?.text ?? ""
    for (const command of ["npm install agent-budget", "npm start", "npm test"])
      assert.include(readme, command)
  })

  it("shows the refusal that its first lines end in, word for word", async () => {
    const readme = pages.find((page) => page.path === "README.md")?.text ?? ""
    const shown = /^```text\n(.*?)```/ms.exec(readme)?.[1]?.trim().replace(/\s+/g, " ")
    const billed = { prompt_tokens: 16, completion_tokens: 400, total_tokens: 416 }
    const { fetch } = stub(() => Response.json({ ...answer, model: "gpt-4o-2024-08-06", usage: billed }))
    await using session = new BudgetedSession({ budgetUsd: "0.02" })
    const client = session.wrapOpenAI(new OpenAI({ apiKey: "none", fetch }))
    const messages = [{ role: "user" as const, content: "What does a budget have to promise?" }]
    const asked = { model: "gpt-4o", max_completion_tokens: 500, messages }
    for (let call = 0; call < 4; call++) await client.chat.completions.create(asked)
    const refusal = await failureOf(client.chat.completions.create(asked))
    assert.strictEqual(refusal instanceof Error ? refusal.message : undefined, shown)
  })
})

/** The files of a folder that a text does not name, by their name or by how it begins (`redis*`), and names of none. */
const unnamed = (text: string, files: ReadonlyArray<string>): ReadonlyArray<string> => {
  const names = Array.from(text.matchAll(/`(\w+)(\*?)`/g), ([, name = "", rest = ""]) => ({ name, rest }))
  const isNamed = (file: string): boolean =>
    names.some(({ name, rest }) => (rest === "*" ? file.startsWith(name) : file === name))
  return [
    ...files.filter((file) => !isNamed(file)),
    ...names.flatMap(({ name, rest }) =>
      files.some((file) => (rest === "*" ? file.startsWith(name) : file === name)) ? [] : [name + rest]
    )
  ]
}

describe("docs/ARCHITECTURE.md", () => {
  it("says of every file of src what it is for, and of none that is not there", () => {
    const text = pages.find((page) => page.path === "docs/ARCHITECTURE.md")?.text ?? ""
    const list = Array.from(
      text
        .split("## The house")[1]
        ?.split("\n## ")[0]
        ?.matchAll(/^- .*$/gm) ?? []
    ).join("\n")
    const files = ["src", "src/internal"]
      .flatMap((folder) => fs.readdirSync(path.join(root, folder)))
      .filter((file) => file.endsWith(".ts") && file !== "index.ts")
      .map((file) => file.slice(0, -3))
    assert.isAbove(files.length, 90)
    assert.deepStrictEqual(unnamed(list, files), [])
  })

  it("a file that is not named, and a name of no file, are caught", () => {
    assert.deepStrictEqual(unnamed("`one`, `red*`, `gone`, `blue*`", ["one", "redRows", "two"]), [
      "two",
      "gone",
      "blue*"
    ])
  })
})

describe("the list of examples", () => {
  it("has every one of them", () => {
    const readme = pages.find((page) => page.path === "README.md")?.text ?? ""
    const examples = fs.readdirSync(path.join(root, "examples")).filter((name) => /^\d\d-.*\.ts$/.test(name))
    assert.isAbove(examples.length, 5)
    for (const name of examples) assert.include(readme, `[${name}](examples/${name})`)
  })
})

describe("README.md, AGENTS.md and docs", () => {
  it("link only to what is there", () => {
    assert.deepStrictEqual(
      pages.flatMap((page) => deadLinks(page, onDisk)),
      []
    )
  })

  it("a link to a missing file or heading is caught", () => {
    const text =
      "# A b: c\n[1](x.md) [2](#a-b-c) [3](#b) [4](../LICENSE#d) [5](https://example.com) [6](../LICENSE)"
    assert.deepStrictEqual(
      deadLinks({ path: "docs/a.md", text }, (file) => (file === "LICENSE" ? "" : null)),
      ["x.md", "#b", "../LICENSE#d"].map((target) => `docs/a.md: ${target} leads nowhere`)
    )
  })

  it("name only scripts that exist", () => {
    const known = new Set(Object.keys(scripts))
    assert.deepStrictEqual(
      pages.flatMap((page) => unknownScripts(page, known)),
      []
    )
  })

  it("a script that does not exist is caught", () => {
    const page = { path: "README.md", text: "`npm run nope`, `npm test`, `npm run check:package`" }
    assert.deepStrictEqual(unknownScripts(page, new Set(["test", "check:package"])), [
      "README.md: npm run nope does not exist"
    ])
  })

  it("mark every block of TypeScript so that it is checked", () => {
    assert.deepStrictEqual(pages.flatMap(uncheckedBlocks), [])
  })

  it("a block that nothing would check is caught", () => {
    const text =
      "```ts\n```\n```ts no-run\n```\n```sh\n```\n```typescript\n```\n```ts norun\n```\n```json\n```\n"
    assert.deepStrictEqual(uncheckedBlocks({ path: "README.md", text }), [
      'README.md: mark this block "ts" or "ts no-run", not "typescript"',
      'README.md: mark this block "ts" or "ts no-run", not "ts norun"'
    ])
  })
})
