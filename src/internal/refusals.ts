/**
 * Refusals as responses. A client retries whatever `fetch` throws, and wraps it; a response that says it is not to
 * be retried reaches the client's own error factory at once, which finds the real error by the response's headers.
 */
import * as Schema from "effect/Schema"
import * as BudgetError from "../BudgetError.ts"

const encodeReason = Schema.encodeSync(BudgetError.Reason)

const byHeaders = new WeakMap<Headers, BudgetError.BudgetError>()

/** 402 Payment Required, as OpenAI words its errors, with the reason in full. */
export const refusalResponse = (error: BudgetError.BudgetError): Response => {
  const body = {
    error: {
      message: error.message,
      type: "agent_budget_refusal",
      code: error.reason._tag,
      param: null,
      reason: encodeReason(error.reason)
    }
  }
  const response = new Response(JSON.stringify(body), {
    status: 402,
    headers: { "content-type": "application/json", "x-should-retry": "false" }
  })
  byHeaders.set(response.headers, error)
  Object.defineProperty(response, BudgetError.carrier, { value: error })
  return response
}

/** The refusal behind a response's headers, if it was one of ours. */
export const refusalOf = (headers: Headers | undefined): BudgetError.BudgetError | undefined =>
  headers === undefined ? undefined : byHeaders.get(headers)
