/**
 * The tree keeps its own rules. Each rule is met by the real files, and catches a bad one that is made here.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as rules from "./utils/tidyRules.ts"

const root = path.resolve(import.meta.dirname, "..")

const json = (file: string): unknown => JSON.parse(fs.readFileSync(path.join(root, file), "utf8"))

const table = json(".dependency-ranks.json") as rules.RankTable
const entries = (json("package.json") as { readonly exports: rules.PackageExports }).exports

/** Everything that is, or could be, committed; binary files left out. */
const projectFiles = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z"], { cwd: root })
  .toString()
  .split("\0")
  .filter((file) => file !== "" && fs.existsSync(path.join(root, file)))
  .map((file) => ({ path: file, text: fs.readFileSync(path.join(root, file), "utf8") }))
  .filter((file) => !file.text.includes("\0"))

const sources = projectFiles.filter((file) => file.path.startsWith("src/"))

const none: ReadonlyArray<string> = []

/** Bad trees in small: paths under src, and their text. */
const tree = (files: Readonly<Record<string, string>>): ReadonlyArray<rules.SourceFile> =>
  Object.entries(files).map(([name, text]) => ({ path: `src/${name}`, text }))

const small: rules.RankTable = { ranks: [["A", "internal/b"], ["C"], ["index"]], notInBarrel: [] }

describe("ranks", () => {
  it("every file of src has a rank, and every rank its file", () => {
    assert.isAbove(sources.length, 2)
    assert.deepStrictEqual(rules.unranked(sources, table), none)
  })

  it("a file without a rank, a row without a file and a row that is there twice are caught", () => {
    const twice = { ...small, ranks: [...small.ranks, ["A"]] }
    assert.deepStrictEqual(
      rules.unranked(tree({ "A.ts": "", "C.ts": "", "D.ts": "", "index.ts": "" }), twice),
      ["src/D.ts has no rank", "rank table: internal/b has no file", "rank table: A is there twice"]
    )
  })

  it("a file imports only files of a lower rank", () => {
    assert.deepStrictEqual(rules.rankViolations(sources, table), none)
  })

  it("an import of an equal or a higher rank is caught, type-only, dynamic and re-exported ones too", () => {
    const bad = tree({
      "A.ts": 'import type { C } from "./C.ts"\nexport * as B from "./internal/b.ts"',
      "internal/b.ts": 'export const load = () => import("../C.ts")\nexport type T = import("../A.ts").T',
      "C.ts": 'import "./A.ts"\nimport * as b from "./internal/b.ts"'
    })
    assert.deepStrictEqual(rules.rankViolations(bad, small), [
      "src/A.ts (rank 0) imports src/C.ts (rank 1)",
      "src/A.ts (rank 0) imports src/internal/b.ts (rank 0)",
      "src/internal/b.ts (rank 0) imports src/C.ts (rank 1)",
      "src/internal/b.ts (rank 0) imports src/A.ts (rank 0)"
    ])
  })

  it("no file reaches itself", () => {
    assert.deepStrictEqual(rules.cycles(sources), none)
  })

  it("a cycle through three files is caught", () => {
    const bad = tree({
      "A.ts": 'import "./C.ts"',
      "C.ts": 'import "./internal/b.ts"',
      "internal/b.ts": 'import "../A.ts"',
      "index.ts": 'import "./A.ts"'
    })
    assert.strictEqual(rules.cycles(bad).length, 3)
  })
})

describe("the package's entries", () => {
  it("reach every file of src", () => {
    assert.deepStrictEqual(rules.unreachable(sources, entries), none)
  })

  it("a file that nothing reaches is caught", () => {
    const files = tree({ "index.ts": 'import "./A.ts"', "A.ts": "", "internal/b.ts": "" })
    assert.deepStrictEqual(rules.unreachable(files, { ".": { "agent-budget-source": "./src/index.ts" } }), [
      "src/internal/b.ts is reached from no entry of the package"
    ])
  })

  it("are one for each public module", () => {
    assert.deepStrictEqual(rules.wrongEntries(sources, entries), none)
  })

  it("a missing entry, a wrong one and one without a module are caught", () => {
    const good = { "agent-budget-source": "./src/C.ts", types: "./dist/C.d.ts", default: "./dist/C.js" }
    const wrong = { "./A": { ...good }, "./C": good, "./D": good, "./internal/*": null }
    const messages = rules.wrongEntries(tree({ "A.ts": "", "C.ts": "", "index.ts": "" }), wrong)
    assert.deepStrictEqual(
      messages.map((message) => message.slice(0, 20)),
      ['exports["./A"] is to', 'exports["."] is to b', 'exports["./D"] has n']
    )
  })

  it("are closed for internal", () => {
    assert.deepStrictEqual(rules.openInternals(entries), none)
  })

  it("an open internal is caught, whatever the entry is called", () => {
    assert.strictEqual(rules.openInternals({ ".": "./dist/index.js" }).length, 1)
    assert.strictEqual(
      rules.openInternals({ "./internal/*": null, "./sse": "./dist/internal/sse.js" }).length,
      1
    )
  })

  it("the barrel has every public module", () => {
    assert.deepStrictEqual(rules.wrongBarrel(sources, table), none)
  })

  it("a barrel that lacks a module, or has one with an entry of its own, is caught", () => {
    const files = tree({ "A.ts": "", "C.ts": "", "index.ts": 'export * as C from "./C.ts"' })
    assert.deepStrictEqual(rules.wrongBarrel(files, { ...small, notInBarrel: ["C"] }), [
      "the barrel lacks src/A.ts",
      "the barrel has src/C.ts"
    ])
    assert.strictEqual(rules.wrongBarrel(tree({ "A.ts": "" }), small).length, 1)
  })

  it("the barrel loads no optional peer, no node:sqlite and no token ranks", () => {
    assert.isTrue(
      sources.some((file) => file.path === "src/index.ts"),
      "src/index.ts is missing"
    )
    assert.deepStrictEqual(rules.barrelLoads(sources), none)
  })

  it("a barrel that loads an optional peer or ranks is caught; types and import() load nothing", () => {
    const files = tree({
      "index.ts": 'export * as A from "./A.ts"\nimport type { X } from "@effect/platform-node"',
      "A.ts": 'import "./internal/b.ts"\nexport const ranks = () => import("js-tiktoken/ranks/o200k_base")',
      "internal/b.ts": [
        'import { NodeFileSystem } from "@effect/platform-node"',
        'import type { DatabaseSync } from "node:sqlite"',
        'import { backup } from "node:sqlite"',
        'import * as PgClient from "@effect/sql-pg/PgClient"',
        'import o200k from "js-tiktoken/ranks/o200k_base"',
        'import { getEncoding } from "js-tiktoken"',
        'import { Tiktoken } from "js-tiktoken/lite"'
      ].join("\n")
    })
    assert.deepStrictEqual(rules.barrelLoads(files), [
      "the barrel loads @effect/platform-node through src/internal/b.ts",
      "the barrel loads node:sqlite through src/internal/b.ts",
      "the barrel loads @effect/sql-pg/PgClient through src/internal/b.ts",
      "the barrel loads js-tiktoken/ranks/o200k_base through src/internal/b.ts",
      "the barrel loads js-tiktoken through src/internal/b.ts"
    ])
  })

  it("no module awaits at the top level, so that require() can load them", () => {
    assert.deepStrictEqual(rules.topLevelAwaits(sources), none)
  })

  it("an await at the top level is caught, one inside a function is not", () => {
    const text = "const f = async () => { await 1 }\nif (f) { await f() }\nfor await (const x of []) f(x)"
    assert.deepStrictEqual(rules.topLevelAwaits(tree({ "A.ts": text })), [
      "src/A.ts:2 awaits at the top level",
      "src/A.ts:3 awaits at the top level"
    ])
  })
})

describe("the text", () => {
  it("src promises bounds only", () => {
    assert.deepStrictEqual(rules.looseWords(sources), none)
  })

  it("a looser word is caught in any case", () => {
    assert.deepStrictEqual(rules.looseWords(tree({ "A.ts": "const a = 1\n// An Estimate of it" })), [
      'src/A.ts:2 says "estimate" (ours is a quote: a bound)'
    ])
  })

  it("no file names a folder of one machine or a package registry", () => {
    assert.isTrue(projectFiles.some((file) => file.path === "package-lock.json"))
    assert.deepStrictEqual(rules.machineTraces(projectFiles), none)
  })

  it("a folder of one machine and a package registry are caught", () => {
    const slash = "/"
    const host = ["registry", "npmjs", "org"].join(".")
    const bad = [
      `${slash}home/someone/project`,
      `cd ${slash}work/project`,
      `"file:${slash}${slash}${slash}usr/lib/x"`,
      ["C:", "Users", "someone"].join("\\"),
      host,
      `see ${["npm", "example", "com"].join(".")} first`
    ]
    for (const line of bad) {
      assert.strictEqual(rules.machineTraces([{ path: "docs/x.md", text: line }]).length, 1, line)
    }
    for (const [name, line] of [
      ["package-lock.json", '      "resolved": "https://example.com/effect.tgz",'],
      [".npmrc", "registry=https://example.com/"]
    ] as const) {
      assert.strictEqual(rules.machineTraces([{ path: name, text: line }]).length, 1, line)
    }
    for (const line of [
      "https://example.com/home/page",
      ["..", "work", "notes"].join("/"),
      "registry.get(x)",
      "npm run build"
    ]) {
      assert.deepStrictEqual(rules.machineTraces([{ path: "docs/x.md", text: line }]), none, line)
    }
  })

  it("every export of a public module says what it is, since when, and shows it", () => {
    assert.deepStrictEqual(rules.undocumented(sources), none)
  })

  it("an export without a doc comment, sentence, since or example is caught", () => {
    const example = "@example\n * ```ts\n * a()\n * ```"
    const whole = `/**\n * Does it.\n *\n * ${example}\n *\n * @since 0.1.0\n */`
    const text = [
      "/**\n * The module.\n */",
      "export const bare = 1",
      `${whole}\nexport const good = 1`,
      `/**\n * ${example}\n *\n * @since 0.1.0\n */\nexport interface Wordless {}`,
      `/**\n * A type.\n *\n * ${example}\n */\nexport type Timeless = 1`,
      "/**\n * A class.\n *\n * @since 0.1.0\n */\nexport class Unshown {}",
      `${whole}\nexport function twice(a: string): void\nexport function twice(a: number): void`,
      "const renamed = 1\nexport { renamed as other }",
      "/**\n * For siblings.\n *\n * @internal\n */\nexport const kept = 1",
      "const own = 1"
    ].join("\n\n")
    assert.deepStrictEqual(rules.undocumented(tree({ "A.ts": text, "index.ts": "export const a = 1" })), [
      "src/A.ts: bare lacks a doc comment",
      "src/A.ts: Wordless lacks a first sentence",
      "src/A.ts: Timeless lacks @since",
      "src/A.ts: Unshown lacks an @example in a ts block",
      "src/A.ts: renamed lacks a doc comment"
    ])
  })

  it("an export that another file declares has its doc comment there, however it was passed on", () => {
    const doc =
      "/**\n * It.\n *\n * @example\n * ```ts\n * a()\n * ```\n *\n * @since 0.1.0\n */\nexport interface"
    const files = tree({
      "A.ts": [
        'import type { Bare as Renamed, Good } from "./internal/b.ts"',
        "export type { Renamed, Good as Better }",
        'export type { Good, Bare } from "./internal/b.ts"'
      ].join("\n"),
      "C.ts": 'export type { Better, Renamed as Further } from "./A.ts"',
      "internal/b.ts": `export type Bare = 1\n${doc} Good {}\n`
    })
    assert.deepStrictEqual(rules.undocumented(files), [
      "src/A.ts: Renamed lacks a doc comment",
      "src/A.ts: Bare lacks a doc comment",
      "src/C.ts: Further lacks a doc comment"
    ])
  })

  it("AGENTS.md has at most 60 lines", () => {
    const agents = projectFiles.filter((file) => file.path === "AGENTS.md")
    assert.lengthOf(agents, 1)
    assert.deepStrictEqual(rules.tooLong(agents, 60), none)
  })

  it("a file that is too long is caught", () => {
    assert.lengthOf(rules.tooLong([{ path: "AGENTS.md", text: "a\n".repeat(61) }], 60), 1)
    assert.lengthOf(rules.tooLong([{ path: "AGENTS.md", text: "a\n".repeat(60) }], 60), 0)
  })
})

describe("the tools", () => {
  it("npm run types reports an Effect that is neither yielded nor kept", () => {
    const folder = fs.mkdtempSync(path.join(root, ".examples-"))
    try {
      fs.writeFileSync(
        path.join(folder, "floating.ts"),
        'import { Effect } from "effect"\nEffect.log("never runs")\n'
      )
      fs.writeFileSync(
        path.join(folder, "tsconfig.json"),
        JSON.stringify({
          extends: "../tsconfig.json",
          compilerOptions: { incremental: false, tsBuildInfoFile: null },
          include: ["floating.ts"]
        })
      )
      const tsc = path.join(root, "node_modules/typescript/bin/tsc")
      const run = spawnSync(process.execPath, [tsc, "-p", folder], { cwd: root, encoding: "utf8" })
      assert.include(run.stdout, "floatingEffect")
      assert.notStrictEqual(run.status, 0)
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  })
})
