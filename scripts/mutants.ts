/**
 * Takes one guard after another out of a copy of this project, and runs there the tests that must miss it:
 * `npm run mutants -- ledgers`, or the names of some engines; `npm run mutants -- path` for the defects on the path of
 * a call; `npm run mutants -- worlds` for those that the simulation must notice by itself. Fails where a mutant lives.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type Engine, ledgers } from "../test/utils/mutants.ts"
import { runPath } from "./pathMutants.ts"
import { withMutant } from "./withMutant.ts"
import { runWorlds } from "./worldMutants.ts"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

const root = path.resolve(import.meta.dirname, "..")
const copied = ["src", "test", "examples", "scripts", "package.json", "tsconfig.json", "vitest.config.ts"]

const chosen = (args: ReadonlyArray<string>): ReadonlyArray<readonly [string, Engine]> => {
  const all = Object.entries(ledgers)
  const unknown = args.filter((arg) => arg !== "ledgers" && !(arg in ledgers))
  if (args.length === 0 || unknown.length > 0) {
    throw new Error(
      `Say what to mutate: path, worlds, ledgers, or some of ${Object.keys(ledgers).join(", ")}.`
    )
  }
  return all.filter(([name]) => args.includes("ledgers") || args.includes(name))
}

/** The first test that fails; `undefined` where all pass. It throws where there was nothing to run. */
const firstFailure = (copy: string, { files, suites }: Engine): string | undefined => {
  const out = path.join(copy, "report.json")
  fs.rmSync(out, { force: true })
  const only = `^(${suites.join("|")})`
  const vitest = path.join(copy, "node_modules", "vitest", "vitest.mjs")
  const options = [
    "--bail",
    "1",
    "--no-file-parallelism",
    "--reporter",
    "json",
    "--outputFile",
    out,
    "-t",
    only
  ]
  const ran = spawnSync(process.execPath, [vitest, "run", ...files, ...options], {
    cwd: copy,
    timeout: 600_000
  })
  if (!fs.existsSync(out)) throw new Error(`The tests did not run: ${ran.stderr.toString()}`)
  // Written by vitest.
  const report = JSON.parse(fs.readFileSync(out, "utf8")) as Report
  const tests = report.testResults.flatMap((file) => file.assertionResults)
  const ended = tests.filter(({ status }) => status === "passed" || status === "failed")
  if (ended.length === 0) throw new Error(`No test was run: ${ran.stdout.toString()}`)
  return ended.find(({ status }) => status === "failed")?.fullName
}

/** A copy of what is mutated and tested. */
const copyOf = (): string => {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-mutants-"))
  for (const each of copied) fs.cpSync(path.join(root, each), path.join(copy, each), { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"))
  return copy
}

type Run = (copies: ReadonlyArray<string>) => Promise<number>

/** In so many copies at once. */
const walk = async (run: Run, most: number): Promise<void> => {
  const copies = Array.from({ length: Math.min(most, os.availableParallelism()) }, copyOf)
  try {
    const alive = await run(copies)
    if (alive === 0) return
    console.error(`${alive} defects live.`)
    process.exitCode = 1
  } finally {
    for (const copy of copies) fs.rmSync(copy, { recursive: true, force: true })
  }
}

const main = async (args: ReadonlyArray<string>): Promise<void> => {
  const engines = chosen(args)
  const copy = copyOf()
  let alive = 0
  try {
    console.log("| engine | without | caught by |\n| --- | --- | --- |")
    for (const [name, engine] of engines) {
      const before = firstFailure(copy, engine)
      if (before !== undefined) throw new Error(`${name} fails as it is: ${before}`)
      for (const mutant of engine.mutants) {
        const file = path.join(copy, "src", "internal", mutant.file)
        const caught = await withMutant(file, mutant, () => firstFailure(copy, engine))
        if (caught === undefined) alive++
        console.log(`| ${name} | ${mutant.name} | ${caught ?? "NOTHING"} |`)
      }
    }
  } finally {
    fs.rmSync(copy, { recursive: true, force: true })
  }
  if (alive > 0) {
    console.error(`${alive} mutants live.`)
    process.exitCode = 1
  }
}

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === "path") await walk(runPath, 2)
// Worlds take all cores by themselves.
else if (args.length === 1 && args[0] === "worlds") await walk(runWorlds, 1)
else await main(args)
