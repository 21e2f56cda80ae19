/**
 * Mutates a module and runs its tests on each mutant: `npm run mutate -- Usd`. Fails where a mutant lives that
 * docs/mutation.md does not explain.
 *
 * `--show` tells of the last run that came to its end, `--survivors` runs only those that lived then, `--lines 1-200`
 * only a part of the module's first file (both once the whole was run), `--write` writes docs/mutation.md.
 */
import { Stryker } from "@stryker-mutator/core"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { explanations, pageOf, pagePath, rowOf } from "./mutation/page.ts"
import { type Module, modules } from "./mutation/modules.ts"
import { merge, rangesOf, type Report, scoreOf, survivorsOf } from "./mutation/report.ts"

const root = path.resolve(import.meta.dirname, "..")
const folder = path.join(root, ".mutation")

const reportOf = (name: string): Report | undefined => {
  const file = path.join(folder, `${name}.json`)
  // Written below.
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as Report) : undefined
}

/** The last report is replaced in one step by a whole one, or not at all. */
const keep = (name: string, { files }: Report): void => {
  const part = path.join(folder, `${name}.part`)
  fs.writeFileSync(part, JSON.stringify({ files }))
  fs.renameSync(part, path.join(folder, `${name}.json`))
}

const run = async (name: string, { tests }: Module, mutate: ReadonlyArray<string>): Promise<Report> => {
  const written = path.join(folder, `${name}.stryker.json`)
  fs.rmSync(written, { force: true })
  await new Stryker({
    mutate: [...mutate],
    testFiles: [...tests],
    testRunner: "warm",
    plugins: [path.join(root, "scripts", "mutation", "warmRunner.ts")],
    testRunnerNodeArgs: ["--conditions=agent-budget-source"],
    coverageAnalysis: "perTest",
    concurrency: 1,
    // What is loaded anew stays in memory.
    maxTestRunnerReuse: 200,
    // Other work may slow this machine down: only what never ends is to run out of time.
    timeoutMS: 20_000,
    timeoutFactor: 5,
    dryRunTimeoutMinutes: 10,
    tempDirName: path.join(folder, "tmp"),
    cleanTempDir: "always",
    ignorePatterns: [".ci", ".mutation", "bench", "dist", "docs", "examples"],
    disableTypeChecks: false,
    warnings: { slow: false, unknownOptions: true, preprocessorErrors: true, unserializableOptions: true },
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: written },
    allowConsoleColors: false
  }).runMutationTest()
  // Written by Stryker.
  const report = JSON.parse(fs.readFileSync(written, "utf8")) as Report
  fs.rmSync(written)
  return report
}

const show = (name: string): boolean => {
  const report = reportOf(name)
  if (report === undefined) throw new Error(`${name} was never run to its end: npm run mutate -- ${name}`)
  const survivors = survivorsOf(report, explanations)
  for (const { file, mutant, survivor, why } of survivors) {
    const { column, line } = mutant.location.start
    console.log(`${file}:${line}:${column} ${mutant.status}, ${mutant.mutatorName}: ${why ?? "UNEXPLAINED"}`)
    if (why === undefined) console.log(`  ${JSON.stringify(survivor)}`)
  }
  console.log(rowOf(name, scoreOf(report)))
  return survivors.every(({ why }) => why !== undefined)
}

const mutate = async (name: string, lines: string | undefined, survivorsOnly: boolean): Promise<void> => {
  const module = modules[name]
  if (module === undefined) {
    throw new Error(`${name} is none of ${Object.keys(modules).join(", ")}.`)
  }
  const before = reportOf(name)
  if (lines === undefined && !survivorsOnly) {
    keep(name, await run(name, module, module.files))
    return
  }
  if (before === undefined) throw new Error(`Run the whole of ${name} first: npm run mutate -- ${name}`)
  const parts = survivorsOnly ? rangesOf(before) : [`${module.files[0] ?? ""}:${lines ?? ""}`]
  if (parts.length === 0) return
  keep(name, merge(before, await run(name, module, parts)))
}

const main = async (): Promise<void> => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      lines: { type: "string" },
      show: { type: "boolean", default: false },
      survivors: { type: "boolean", default: false },
      write: { type: "boolean", default: false }
    }
  })
  if (positionals.length === 0 && !values.write) {
    throw new Error(`Say what to mutate: ${Object.keys(modules).join(", ")}.`)
  }
  fs.mkdirSync(folder, { recursive: true })
  os.setPriority(15)
  for (const name of positionals) {
    if (!values.show) await mutate(name, values.lines, values.survivors)
    if (!show(name)) process.exitCode = 1
  }
  if (values.write) {
    const before = fs.existsSync(pagePath) ? fs.readFileSync(pagePath, "utf8") : ""
    fs.writeFileSync(pagePath, await pageOf(before, reportOf))
  }
}

await main()
