/**
 * What a program takes in with agent-budget: the packages that are loaded, and the size of a bundle for Node.
 */
import { assert, describe, it } from "@effect/vitest"
import { build, type Metafile } from "esbuild"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { gzipSync } from "node:zlib"
import * as DocExamples from "./utils/docExamples.ts"

const root = path.resolve(import.meta.dirname, "..")
const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const manifest = JSON.parse(read("package.json")) as Readonly<
  Record<"dependencies" | "peerDependencies" | "devDependencies", Readonly<Record<string, string>>>
>

const frameworks = ["ai", "@ai-sdk/openai", "@langchain/openai", "@langchain/core", "@openai/agents", "zod"]

/** The README's first program. */
const quickStart = DocExamples.inMarkdown("README.md", read("README.md"))[0]?.code ?? ""

/**
 * A bundle as users make one. `openai` stays outside: a program that calls it has it in its bundle with a budget or
 * without one, so that it is no cost of ours. Effect is, all of it that is used.
 */
const bundle = async (code: string) => {
  const { metafile, outputFiles } = await build({
    stdin: { contents: code, resolveDir: root, sourcefile: "program.ts", loader: "ts" },
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    conditions: ["agent-budget-source"],
    external: ["openai"],
    outdir: path.join(root, ".bundle"),
    write: false,
    metafile: true,
    logLevel: "silent"
  })
  const bytes = new Map(outputFiles.map(({ contents, path: file }) => [path.relative(root, file), contents]))
  return { metafile, bytes }
}

/** The parts that are loaded with the program; the others wait for an `import()`. */
const loadedAtOnce = ({ outputs }: Metafile): ReadonlyArray<string> => {
  const entry = Object.keys(outputs).find((file) => outputs[file]?.entryPoint === "program.ts")
  const seen = new Set<string>()
  const open = entry === undefined ? [] : [entry]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    for (const { kind, path: file } of outputs[next]?.imports ?? []) {
      if (kind === "import-statement" && outputs[file] !== undefined) open.push(file)
    }
  }
  return [...seen]
}

const packageOf = (input: string): string | undefined =>
  /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1]

const packagesOf = (inputs: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(inputs.flatMap((input) => packageOf(input) ?? []))].sort()

const inputsOf = ({ outputs }: Metafile, files: ReadonlyArray<string>): ReadonlyArray<string> =>
  files.flatMap((file) => Object.keys(outputs[file]?.inputs ?? {}))

const areRanks = (input: string): boolean => input.includes("js-tiktoken/dist/ranks")

const gzipped = (bytes: ReadonlyMap<string, Uint8Array>, files: ReadonlyArray<string>): number =>
  files.reduce((sum, file) => sum + gzipSync(bytes.get(file) ?? new Uint8Array()).length, 0)

describe("a bundle of the quick start for Node", () => {
  it("has under 150 KB gzipped to load, ours and Effect's, and no ranks of tokens among them", async () => {
    assert.include(quickStart, "new BudgetedSession")
    const { bytes, metafile } = await bundle(quickStart)
    const atOnce = loadedAtOnce(metafile)
    assert.isBelow(gzipped(bytes, atOnce), 150_000)
    const inputs = inputsOf(metafile, atOnce)
    assert.isAbove(inputs.length, 50)
    assert.deepStrictEqual(inputs.filter(areRanks), [])
    // They are there all the same, for whoever counts.
    const later = Object.keys(metafile.outputs).filter((file) => !atOnce.includes(file))
    assert.isAbove(inputsOf(metafile, later).filter(areRanks).length, 0)
    assert.isAbove(gzipped(bytes, later), 1_000_000)
  }, 60_000)

  it("holds no package but Effect", async () => {
    const { metafile } = await bundle(quickStart)
    assert.deepStrictEqual(packagesOf(inputsOf(metafile, loadedAtOnce(metafile))), ["effect"])
  }, 60_000)

  it("that loads ranks at once would be noticed", async () => {
    const { bytes, metafile } = await bundle(
      `import ranks from "js-tiktoken/ranks/o200k_base"\nconsole.log(ranks)\n${quickStart}`
    )
    const atOnce = loadedAtOnce(metafile)
    assert.isAbove(inputsOf(metafile, atOnce).filter(areRanks).length, 0)
    assert.isAbove(gzipped(bytes, atOnce), 150_000)
  }, 60_000)
})

describe("importing agent-budget", () => {
  /** Runs a module in a process of its own, and says at each `seen()` which packages were loaded up to there. */
  const loaded = async (code: string): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
    const hooks = `
      import { registerHooks } from "node:module"
      const urls = []
      registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) })
      globalThis.seen = () => console.log(JSON.stringify(urls))
    `
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        "--conditions=agent-budget-source",
        `--import=data:text/javascript,${encodeURIComponent(hooks)}`,
        "--input-type=module",
        "--eval",
        code
      ],
      { cwd: root, maxBuffer: 1e8 }
    )
    return stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as ReadonlyArray<string>)
  }

  it("loads Effect and the OpenAI client, and no framework; ranks of tokens once something is counted", async () => {
    const [atOnce = [], counted = []] = await loaded(`
      import { BudgetedSession } from "agent-budget"
      const session = new BudgetedSession({ budgetUsd: 1 })
      seen()
      await session.quote("/responses", { model: "gpt-4o", input: "Count me.", max_output_tokens: 9 })
      seen()
      await session.close()
    `)
    assert.deepStrictEqual(packagesOf(atOnce), ["effect", "openai"])
    assert.includeMembers([...packagesOf(counted)], ["js-tiktoken"])
    assert.deepStrictEqual(
      packagesOf(counted).filter((name) => frameworks.includes(name)),
      []
    )
  }, 60_000)

  it("asks nobody to install a framework", () => {
    for (const name of frameworks) {
      assert.notProperty(manifest.dependencies, name)
      assert.notProperty(manifest.peerDependencies, name)
      assert.property(manifest.devDependencies, name)
    }
  })
})
