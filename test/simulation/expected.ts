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

/** What an agent may meet. Anything else is a fault of the library. Only a store can be away, or be left by a process. */
export const isExpected = (error: unknown, isStored: boolean): boolean => {
  const found = BudgetError.find(error)
  if (found !== undefined) {
    const { _tag } = found.reason
    return expectedReasons.has(_tag) && (isStored || (_tag !== "LedgerUnavailable" && _tag !== "Closed"))
  }
  return error instanceof Aborted || (error instanceof TypeError && error.message === "fetch failed")
}
