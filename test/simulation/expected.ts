/** What agents may meet in a world in which the library has no fault. */
import { BudgetError } from "agent-budget"

export class Aborted extends Error {}

const expectedReasons = new Set([
  "BudgetExceeded",
  "AccountPaused",
  "LedgerUnavailable",
  "AccountConflict",
  "InvalidAccount",
  "Closed"
])

/** What an agent may meet. Anything else is a fault of the library. */
export const isExpected = (error: unknown): boolean => {
  const found = BudgetError.find(error)
  if (found !== undefined) return expectedReasons.has(found.reason._tag)
  return error instanceof Aborted || (error instanceof TypeError && error.message === "fetch failed")
}
