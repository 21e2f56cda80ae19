/** Runs the defects of `test/utils/pathMutants.ts`, each against the check that it names: see `mutants.ts`. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { type Defect, path as defects } from "../test/utils/pathMutants.ts"
import { withMutant } from "./withMutant.ts"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

/** The tests of a file whose names begin so behind their describes: those that failed, and how many were run. */
const run = async (
  copy: string,
  file: string,
  names: ReadonlyArray<string>
): Promise<{ readonly ran: number; readonly failed: ReadonlyArray<string> }> => {
  const out = path.join(copy, "report.json")
  fs.rmSync(out, { force: true })
  const only = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")
  const vitest = path.join(copy, "node_modules", "vitest", "vitest.mjs")
  const options = ["--no-file-parallelism", "--reporter", "json", "--outputFile", out, "-t", only]
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, [vitest, "run", file, ...options], { cwd: copy, stdio: "ignore" })
    child.on("error", reject)
    child.on("exit", () => {
      resolve()
    })
  })
  // A module that cannot even be loaded leaves no report, or one without tests.
  if (!fs.existsSync(out)) return { ran: 0, failed: [] }
  // Written by vitest.
  const report = JSON.parse(fs.readFileSync(out, "utf8")) as Report
  const tests = report.testResults.flatMap((each) => each.assertionResults)
  const ended = tests.filter(({ status }) => status === "passed" || status === "failed")
  const failed = ended.filter(({ status }) => status === "failed").map(({ fullName }) => fullName)
  return { ran: ended.length, failed }
}

/** Whether each check passes as things are. */
const assertSound = async (copy: string): Promise<void> => {
  for (const file of new Set(defects.map(({ check }) => check[0]))) {
    const names = defects.filter(({ check }) => check[0] === file).map(({ check }) => check[1])
    const { failed, ran } = await run(copy, file, names)
    if (ran === 0) throw new Error(`${file}: no test was run.`)
    if (failed.length > 0) throw new Error(`${file} fails as it is: ${failed.join(", ")}`)
  }
}

const caughtBy = async (copy: string, { check, ...mutant }: Defect): Promise<string | undefined> => {
  const file = path.join(copy, "src", mutant.file)
  const { failed } = await withMutant(file, mutant, () => run(copy, check[0], [check[1]]))
  return failed[0]
}

/** Answers how many live. Each copy of the project is worked in by one at a time. */
export const runPath = async (copies: ReadonlyArray<string>): Promise<number> => {
  const [first] = copies
  if (first === undefined) return 0
  await assertSound(first)
  console.log("| where | defect | caught by |\n| --- | --- | --- |")
  const left = [...defects]
  let alive = 0
  const work = async (copy: string): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const caught = await caughtBy(copy, next)
      if (caught === undefined) alive++
      console.log(`| ${next.file} | ${next.name} | ${caught ?? "NOTHING"} |`)
    }
  }
  await Promise.all(copies.map(work))
  return alive
}
