/** What the swarm shows of itself: a line that is redrawn in place, and the tables at the end. */
import type { Budget } from "agent-budget"
import { Usd } from "agent-budget"

const width = 40

/** Spent, reserved, available: `[####::::    ]`. */
const bar = (summary: Budget.Summary): string => {
  const cells = (amount: number): number => Math.round((Math.max(0, amount) / summary.limit) * width)
  const spent = Math.min(width, cells(summary.spent))
  const held = Math.min(width - spent, cells(summary.reserved))
  return `[${"#".repeat(spent)}${":".repeat(held)}${" ".repeat(width - spent - held)}]`
}

/** All nine decimals: the sums of a table are exact. */
export const dollars = (amount: Usd.Usd): string => `$${Usd.toNumber(amount).toFixed(9)}`

const short = (amount: Usd.Usd): string => `$${Usd.toNumber(amount).toFixed(4)}`

export const line = (summary: Budget.Summary): string =>
  `${bar(summary)} spent ${short(summary.spent)}  reserved ${short(summary.reserved)}  ` +
  `available ${short(summary.remaining)}  ${summary.calls} charged, ${summary.refused} refused`

/** Draws at most 25 times a second on a terminal; elsewhere prints one line for each quarter of the budget. */
export const progress = (out: NodeJS.WriteStream) => {
  let drawnAt = 0
  let quarter = -1
  return {
    draw: (summary: Budget.Summary): void => {
      if (out.isTTY) {
        const now = performance.now()
        if (now - drawnAt < 40) return
        drawnAt = now
        out.write(`\r\u001b[2K${line(summary).slice(0, out.columns - 1)}`)
        return
      }
      const reached = Math.floor((summary.spent / summary.limit) * 4)
      if (reached <= quarter) return
      quarter = reached
      out.write(`${line(summary)}\n`)
    },
    end: (): void => {
      if (out.isTTY) out.write("\r\u001b[2K")
    }
  }
}

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const cell = (text: string, column: number): string =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0)
  return rows.map((row) => `  ${row.map(cell).join("  ")}`.trimEnd()).join("\n")
}
