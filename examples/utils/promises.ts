/** What a run must have kept, and whether it has. */
import type { Budget, Usd } from "agent-budget"

export const check = (run: {
  readonly summary: Budget.Summary
  /** The highest spent + reserved that was seen. */
  readonly peak: Usd.Usd
  /** What the provider says it is owed, where it says so. */
  readonly bill: Usd.Usd | undefined
}): ReadonlyArray<readonly [promise: string, kept: boolean]> => {
  const { limit, reserved, spent } = run.summary
  return [
    ...(run.bill === undefined ? [] : [["the bill is at most our books", run.bill <= spent] as const]),
    ["our books are at most the budget", spent <= limit],
    ["spent + reserved never passed the budget", run.peak <= limit],
    ["nothing is left reserved", reserved === 0]
  ]
}
