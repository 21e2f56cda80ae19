/**
 * Packs the package as it would be published, and uses the tarball as a stranger would: linted, installed with its
 * required peers in an empty folder, imported, required and inferred from. Needs a fresh `dist`: `npm run check:package`.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { inferredTypes } from "./inferredTypes.ts"

const root = path.resolve(import.meta.dirname, "..")

const read = (file: string): unknown => JSON.parse(fs.readFileSync(path.join(root, file), "utf8"))

const manifest = read("package.json") as { readonly name: string; readonly exports: Record<string, unknown> }
const lock = read("package-lock.json") as {
  readonly packages: Readonly<Record<string, { readonly version?: string }>>
}

/** The caller's environment without what npm tells the scripts that it runs: that would name this project. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(?:package|lifecycle|command|config_local_prefix)|^INIT_CWD$/i.test(name)
  )
)

/** Runs a tool; what it says is shown only when it fails. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  const done = spawnSync(command, args, { cwd, env, encoding: "utf8" })
  if (done.error !== undefined) throw done.error
  if (done.status === 0) return done.stdout
  process.stderr.write(done.stdout + done.stderr)
  throw new Error(
    `${path.basename(command)} ${args.join(" ")} failed (${done.status ?? done.signal ?? "unknown"})`
  )
}

const node = (args: ReadonlyArray<string>, cwd: string): string => run(process.execPath, args, cwd)

const installed = (file: string): string => path.join(root, "node_modules", file)

const locked = (name: string): string => {
  const version = lock.packages[`node_modules/${name}`]?.version
  if (version === undefined) throw new Error(`package-lock.json has no ${name}`)
  return `${name}@${version}`
}

const typed = Object.entries(manifest.exports).flatMap(([key, entry]) =>
  typeof entry === "object" && entry !== null && "types" in entry && typeof entry.types === "string"
    ? [{ specifier: path.posix.join(manifest.name, key), types: path.posix.normalize(entry.types) }]
    : []
)
const entries = typed.map((entry) => entry.specifier)

/** Entries that are types and nothing else. */
const typesOnly = [`${manifest.name}/Endpoint`]

/** The optional peers, and the entries that need them; all others must load without. */
const optionalPeers = ["@effect/platform-node", "@effect/sql-pg", "redis"]
const withoutPeers = entries.filter((entry) => !/\/(?:Postgres|Redis)Ledger$/.test(entry))

/** Run by the stranger, as a CommonJS file: fails unless each entry loads both ways and internals stay shut. */
const stranger = (entries: ReadonlyArray<string>): string => `
const assert = require("node:assert")
const entries = ${JSON.stringify(entries)}
const refused = { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" }
const main = async () => {
  // Required first: what an import has loaded before, require gives out even when it could not have loaded it.
  const faces = new Map(entries.map((entry) => [entry, require(entry)]))
  for (const [entry, required] of faces) {
    const imported = await import(entry)
    const names = (face) => Object.keys(face).sort()
    const expected = ${JSON.stringify(typesOnly)}.includes(entry) ? 0 : 1
    assert.strictEqual(Math.min(1, names(imported).length), expected, entry + " exports what it should not")
    assert.deepStrictEqual(names(required), names(imported), entry)
    for (const name of names(imported)) assert.strictEqual(required[name], imported[name], entry + " " + name)
  }
  for (const deep of ["${manifest.name}/internal/json", "${manifest.name}/dist/internal/json.js", "${manifest.name}/src/index.ts"]) {
    await assert.rejects(import(deep), refused, deep)
    assert.throws(() => require(deep), refused, deep)
  }
  console.log(entries.length + " entries import and require alike; internals are refused")
}
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
`

/** Checked by the stranger's compiler: each entry has types, and they are not `any`. */
const usesTypes = `
${entries.map((entry, index) => `import * as e${index} from "${entry}"`).join("\n")}
import { Usd } from "${manifest.name}"
export const all = [${entries.map((_, index) => `e${index}`).join(", ")}]
export const right: Usd.Usd = Usd.dollars("1")
// @ts-expect-error an amount is no string
export const wrong: Usd.Usd = "1"
`

/** A client that came by `require` has type declarations of its own: it must be wrappable as one by `import` is. */
const requiresTypes = `
import { OpenAI } from "openai"
import { BudgetedSession } from "${manifest.name}"
export const client: OpenAI = new BudgetedSession({ budgetUsd: 1 }).wrapOpenAI(new OpenAI({ apiKey: "sk-none" }))
`

const typesConfig = {
  compilerOptions: {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    module: "nodenext",
    target: "es2024",
    types: []
  },
  files: ["types.mts", "types.cts"]
}

const main = (): void => {
  if (!fs.existsSync(path.join(root, "dist/index.js"))) throw new Error("No dist: run npm run build first.")
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-package-"))
  try {
    const packed = JSON.parse(
      run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], root)
    ) as ReadonlyArray<{ readonly filename: string }>
    const tarball = path.join(folder, packed[0]?.filename ?? "")
    node([installed("publint/src/cli.js"), "run", tarball, "--strict"], root)
    console.log("publint: nothing to report")
    node([installed("@arethetypeswrong/cli/dist/index.js"), tarball, "--profile", "esm-only"], root)
    console.log("attw: nothing to report")

    const home = path.join(folder, "stranger")
    fs.mkdirSync(home)
    fs.writeFileSync(path.join(home, "package.json"), '{ "private": true }')
    const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
    run("npm", [...install, tarball, locked("effect"), locked("openai")], home)
    const script = path.join(home, "stranger.cjs")
    fs.writeFileSync(script, stranger(withoutPeers))
    process.stdout.write(node([script], home))
    run("npm", [...install, ...optionalPeers.map(locked)], home)
    fs.writeFileSync(script, stranger(entries))
    process.stdout.write(node([script], home))

    fs.writeFileSync(path.join(home, "types.mts"), usesTypes)
    fs.writeFileSync(path.join(home, "types.cts"), requiresTypes)
    fs.writeFileSync(path.join(home, "tsconfig.json"), JSON.stringify(typesConfig))
    node([installed("typescript/bin/tsc"), "-p", "tsconfig.json"], home)
    console.log("the types are found from every entry")
    const unnamed = inferredTypes(home, manifest.name, typed)
    if (unnamed.length > 0) throw new Error(unnamed.join("\n"))
    console.log("what is inferred from them can be declared")
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

main()
