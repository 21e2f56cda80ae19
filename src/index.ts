/**
 * agent-budget: a hard budget for OpenAI calls.
 *
 * @since 0.1.0
 */
export * as Budget from "./Budget.ts"
export * as BudgetedFetch from "./BudgetedFetch.ts"
export * as BudgetedOpenAi from "./BudgetedOpenAi.ts"
export * as BudgetError from "./BudgetError.ts"
export * as Endpoint from "./Endpoint.ts"
export * as Host from "./Host.ts"
export * as InputTokens from "./InputTokens.ts"
export * as Ledger from "./Ledger.ts"
export * as OpenAiEndpoints from "./OpenAiEndpoints.ts"
export * as Pricing from "./Pricing.ts"
export * as Quote from "./Quote.ts"
export * as Settlement from "./Settlement.ts"
export * as Telemetry from "./Telemetry.ts"
export * as TokenCounter from "./TokenCounter.ts"
export * as Usage from "./Usage.ts"
export * as Usd from "./Usd.ts"
export { BudgetedSession } from "./BudgetedSession.ts"
export { BudgetExceededError, BudgetRefusedError } from "./BudgetError.ts"
