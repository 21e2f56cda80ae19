/** docs/mutation.md: the scores of the last runs, and why what lives is let live. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as prettier from "prettier"
import explained from "./explained.json" with { type: "json" }
import { modules } from "./modules.ts"
import type { Explanations, Report, Score } from "./report.ts"
import { scoreOf } from "./report.ts"

const root = path.resolve(import.meta.dirname, "..", "..")

export const pagePath = path.join(root, "docs", "mutation.md")

export const explanations: Explanations = explained

export const rowOf = (name: string, { alive, caught, percent, unknown }: Score): string => {
  // Rounded down: a survivor never looks like none.
  const score = (Math.floor(percent * 10) / 10).toFixed(1)
  return `| ${name} | ${caught + alive} | ${alive} | ${unknown} | ${score} % |`
}

/** Code in a line of Markdown, whatever it holds. */
const code = (text: string): string => {
  if (text === "") return "nothing"
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map((ticks) => ticks.length))
  const fence = "`".repeat(longest + 1)
  const pad = text.startsWith("`") || text.endsWith("`") ? " " : ""
  return `${fence}${pad}${text.length <= 120 ? text : `${text.slice(0, 117)}...`}${pad}${fence}`
}

/** The explained survivors by file; those of one line that live for one reason are told together. */
export const listOf = (all: Explanations): string =>
  Object.entries(all)
    .map(([file, survivors]) => {
      const byReason = Map.groupBy(survivors, ({ line, why }) => `- ${code(line)}: ${why}`)
      const lines = Array.from(byReason, ([reason, alike]) => [
        reason,
        ...alike.map(({ from, to }) => `  - ${code(from)} to ${code(to)}`)
      ])
      return [`### ${file}`, "", ...lines.flat(), ""].join("\n")
    })
    .join("\n")

const head = fs.readFileSync(path.join(import.meta.dirname, "head.md"), "utf8")

/** The page: a module that was not run here keeps the row that it has. */
export const pageOf = async (
  before: string,
  reportOf: (name: string) => Report | undefined
): Promise<string> => {
  const rows = Object.keys(modules).flatMap((name) => {
    const report = reportOf(name)
    if (report !== undefined) return [rowOf(name, scoreOf(report))]
    const old = before.split("\n").find((line) => new RegExp(`^\\| ${name} +\\|`).test(line))
    return old === undefined ? [] : [old]
  })
  const table = ["| module | mutants | alive | unknown | score |", "| --- | --- | --- | --- | --- |", ...rows]
  const page = [head, table.join("\n"), "## What lives, and why", listOf(explanations)].join("\n\n")
  return prettier.format(page, { ...(await prettier.resolveConfig(pagePath)), parser: "markdown" })
}
