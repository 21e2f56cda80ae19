/**
 * Mutates a module and runs its tests on each mutant: `npm run mutate -- Usd`. Fails where a mutant lives that
 * docs/mutation.md does not explain.
 *
 * `--show` tells of the last run that came to its end, `--survivors` runs only those that lived then and are not
 * explained, `--part 1/3` a third of the module (what was found counts when all three were run), `--write` writes docs/mutation.md.
 */
import { Stryker } from "@stryker-mutator/core"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { explanations, pageOf, pagePath, rowOf } from "./mutation/page.ts"
import { type Module, modules } from "./mutation/modules.ts"
import { cut, merge, rangesOf, type Report, scoreOf, survivorsOf, whole } from "./mutation/report.ts"

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

/** The ranges of a part of a module, as Stryker takes them. */
const rangesIn = ({ files }: Module, part: number, of: number): ReadonlyArray<string> =>
  files.flatMap((file) => {
    const [from, to] = cut(fs.readFileSync(path.join(root, file), "utf8"), of)[part - 1] ?? []
    return from === undefined ? [] : [`${file}:${from}-${to ?? from}`]
  })

/** Whether what was found is now the whole of it. */
const mutatePart = async (name: string, module: Module, part: string): Promise<boolean> => {
  const [, number, count] = /^([1-9])\/([1-9])$/.exec(part) ?? []
  const of = Number(count)
  if (number === undefined || Number(number) > of) throw new Error("Say which part of how many: --part 1/3")
  const named = (each: number) => `${name}.${each}of${of}`
  keep(named(Number(number)), await run(name, module, rangesIn(module, Number(number), of)))
  const all = Array.from({ length: of }, (_, index) => named(index + 1))
  const report = whole(all.map(reportOf))
  if (report === undefined) return false
  keep(name, report)
  for (const each of all) fs.rmSync(path.join(folder, `${each}.json`))
  return true
}

const mutate = async (name: string, part: string | undefined, survivorsOnly: boolean): Promise<boolean> => {
  const module = modules[name]
  if (module === undefined) throw new Error(`${name} is none of ${Object.keys(modules).join(", ")}.`)
  if (part !== undefined) return mutatePart(name, module, part)
  if (!survivorsOnly) {
    keep(name, await run(name, module, module.files))
    return true
  }
  const before = reportOf(name)
  if (before === undefined) throw new Error(`Run the whole of ${name} first: npm run mutate -- ${name}`)
  const ranges = rangesOf(before, explanations)
  if (ranges.length > 0) keep(name, merge(before, await run(name, module, ranges)))
  return true
}

const main = async (): Promise<void> => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      part: { type: "string" },
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
    const isWhole = values.show || (await mutate(name, values.part, values.survivors))
    if (isWhole && !show(name)) process.exitCode = 1
  }
  if (values.write) {
    const before = fs.existsSync(pagePath) ? fs.readFileSync(pagePath, "utf8") : ""
    fs.writeFileSync(pagePath, await pageOf(before, reportOf))
  }
}

await main()
