/** Refusals as the errors of `effect/ai`, whose services fail with nothing else. */
import * as AiError from "effect/ai/AiError"
import * as BudgetError from "../BudgetError.ts"

/**
 * A budget that is spent is an exhausted quota, and what has no bound an invalid request: neither is ever retried. The
 * refusal itself is kept on the reason, where `BudgetError.find` looks.
 */
const asAiError = (module: string, method: string, error: BudgetError.BudgetError): AiError.AiError => {
  const { message } = error
  const isSpent = error.reason._tag === "BudgetExceeded" || error.reason._tag === "AccountPaused"
  const reason = isSpent
    ? new AiError.QuotaExhaustedError({})
    : new AiError.InvalidRequestError({ description: message })
  Object.defineProperties(reason, {
    [BudgetError.carrier]: { value: error },
    message: { value: message, configurable: true }
  })
  return AiError.make({ module, method, reason })
}

/** Also what a budgeted request below refused, whatever its provider made of it: nobody is to try that again. */
export const refusedBy =
  (module: string, method: string) =>
  (error: AiError.AiError | BudgetError.BudgetError): AiError.AiError => {
    if (error instanceof BudgetError.BudgetError) return asAiError(module, method, error)
    const refused = BudgetError.find(error)
    return refused === undefined ? error : asAiError(module, method, refused)
  }
