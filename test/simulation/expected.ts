/** What agents may meet in a world in which the library has no fault. */
import { BudgetError } from "agent-budget"

export class Aborted extends Error {}

const expectedReasons = new Set(["BudgetExceeded", "AccountPaused"])

/** Where somebody meets something. */
export interface Where {
  /** The books are in a store, which may be away, or be left by its process. */
  readonly isStored: boolean
  /** It goes on after its maker, whose accounts may have closed. */
  readonly isLeft: boolean
}

/** What an agent may meet. Anything else is a fault of the library. */
export const isExpected = (error: unknown, { isLeft, isStored }: Where): boolean => {
  const found = BudgetError.find(error)
  if (found !== undefined) {
    const { _tag } = found.reason
    if (_tag === "InvalidAccount") return isLeft
    if (_tag === "LedgerUnavailable" || _tag === "Closed") return isStored
    return expectedReasons.has(_tag)
  }
  return error instanceof Aborted || (error instanceof TypeError && error.message === "fetch failed")
}
