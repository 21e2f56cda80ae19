/**
 * Imports each example of a manifest in turn and writes a report: `node exampleRunner.ts MANIFEST REPORT`.
 */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import { format } from "node:util"
import type { Report } from "./docExamples.ts"

const [manifest = "", reportFile = ""] = process.argv.slice(2)
const examples = JSON.parse(fs.readFileSync(manifest, "utf8")) as ReadonlyArray<{
  readonly name: string
  readonly file: string
}>

/** How long one example may take, and how long what it left open may still take after the last one. */
const patience = 20_000

const problems: Record<string, Array<string>> = {}
const printed: Record<string, Array<string>> = {}
let current = ""

const blame = (name: string, problem: string): void => {
  ;(problems[name] ??= []).push(problem)
}

const told = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : format(error)

Object.assign(globalThis, {
  printedByExample: (place: string, ...values: ReadonlyArray<unknown>): void => {
    ;(printed[place] ??= []).push(format(...values))
  }
})

process.on("uncaughtException", (error) => blame(current, told(error)))
process.on("unhandledRejection", (error) => blame(current, told(error)))
process.on("exit", () => {
  const report: Report = { problems, printed }
  fs.writeFileSync(reportFile, JSON.stringify(report))
})

const leftOpen = new Map<string, number>()

for (const { file, name } of examples) {
  current = name
  const before = process.getActiveResourcesInfo().length
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      import(pathToFileURL(file).href),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done after ${patience} ms`)), patience)
      })
    ])
  } catch (error) {
    blame(name, told(error))
  }
  clearTimeout(timer)
  // What has just been opened, a server say, is listed a moment later.
  await new Promise((go) => setImmediate(go))
  const more = process.getActiveResourcesInfo().length - before
  if (more > 0) leftOpen.set(name, more)
}

// Reached only while something still keeps the process alive.
setTimeout(() => {
  const open = process.getActiveResourcesInfo().join(", ")
  for (const name of leftOpen.keys()) blame(name, `left something open that never ended: ${open}`)
  process.exit()
}, patience).unref()
