/**
 * Spans and metrics of calls, by OpenTelemetry's GenAI semantic conventions, with what the budget made of each.
 *
 * Wherever a tracer is provided that exports (`effect/observability`'s `Otlp` layers, `@effect/opentelemetry`), each
 * attempt of a call is a span of its own, retries included, from its admission to its settlement: of kind client, named
 * `{operation} {model}` (`chat gpt-4o`), below the span of the fiber that called. It has
 *
 * - `gen_ai.operation.name`, `gen_ai.provider.name`, `gen_ai.request.model`, `gen_ai.request.max_tokens`,
 *   `server.address`, `server.port`
 * - where the provider told it: `gen_ai.response.model`, `gen_ai.response.id`, `openai.response.service_tier`,
 *   `gen_ai.usage.input_tokens`, `gen_ai.usage.output_tokens`, `gen_ai.usage.cache_read.input_tokens`,
 *   `gen_ai.usage.cache_creation.input_tokens`
 * - `error.type` of an attempt that went wrong: the status, the reason of the refusal, or what happened to the connection
 * - `agent_budget.account`; in nano-dollars `agent_budget.quote` (the most that the call could cost),
 *   `agent_budget.reserved` (what was held for it) and `agent_budget.spent` (what was booked); and
 *   `agent_budget.verdict`: `metered`, `assumed`, `released` or, for a call that was never sent, `refused`
 *
 * Never a prompt's text, an answer's, or a key. Without a tracer nothing is made for a call.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"

/**
 * What is told of calls.
 *
 * @example
 * ```ts
 * import type { Telemetry } from "agent-budget"
 *
 * const metricsOnly: Telemetry.Options = { spans: false, metrics: true }
 * console.log(metricsOnly.metrics) // true
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /** A span for each call: where a tracer that exports is provided, unless said otherwise. */
  readonly spans?: boolean | undefined
  /** The metrics: where a tracer that exports is provided, unless said otherwise. */
  readonly metrics?: boolean | undefined
}

/**
 * The settings, as they hold for the fiber that calls, or else for whoever built the budgeted `fetch`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Telemetry } from "agent-budget"
 *
 * const settings = Effect.provide(Telemetry.Settings, Telemetry.layer({ metrics: true }))
 * console.log((await Effect.runPromise(settings)).metrics) // true
 * ```
 *
 * @since 0.1.0
 */
export const Settings = Context.Reference<Options>("agent-budget/Telemetry/Settings", {
  defaultValue: () => ({})
})

/**
 * Settings as a layer: `{ metrics: true }` for metrics without a tracer, as for Prometheus; `{ spans: false }` where a
 * tracer is provided and calls are not to be in it.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Metric } from "effect"
 * import { Budget, BudgetedFetch, Pricing, Telemetry, Usd } from "agent-budget"
 *
 * const answer = { model: "gpt-4o", usage: { prompt_tokens: 8, completion_tokens: 2 } }
 * const body = JSON.stringify({ model: "gpt-4o", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] })
 * const program = Effect.gen(function*() {
 *   const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(Response.json(answer)) })
 *   yield* Effect.promise(async () =>
 *     (await fetch("https://api.openai.com/v1/chat/completions", { method: "POST", body })).json()
 *   )
 *   return (yield* Metric.snapshot).filter(({ id }) => id === "gen_ai.client.token.usage").length
 * }).pipe(
 *   Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)),
 *   Effect.provide(Telemetry.layer({ metrics: true }))
 * )
 * console.log(await Effect.runPromise(program)) // 2 (input and output)
 * ```
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never> => Layer.succeed(Settings, options)

/** Both lists are the convention's advice for these instruments (OpenTelemetry, GenAI client metrics). */
const tokenBoundaries = Array.from({ length: 14 }, (_, power) => 4 ** power)
const secondBoundaries = Array.from({ length: 14 }, (_, power) => 2 ** power / 100)

/**
 * The metric `gen_ai.client.token.usage`: the input and the output tokens of each metered call (`gen_ai.token.type`),
 * as they were billed, by operation, provider, model asked, model served and server. Beyond 100 names of models served,
 * which no API has, the rest are `_OTHER`: metrics are kept for as long as the process lives.
 *
 * @example
 * ```ts
 * import { Telemetry } from "agent-budget"
 *
 * console.log(Telemetry.tokenUsage.id) // gen_ai.client.token.usage
 * ```
 *
 * @since 0.1.0
 */
export const tokenUsage: Metric.Histogram<number> = Metric.histogram("gen_ai.client.token.usage", {
  description: "Number of input and output tokens used",
  boundaries: tokenBoundaries,
  attributes: { unit: "{token}" }
})

/**
 * The metric `gen_ai.client.operation.duration`: seconds from the admission of an attempt to its settlement, which of a
 * stream is its last word on usage; by the same attributes, and `error.type`.
 *
 * @example
 * ```ts
 * import { Telemetry } from "agent-budget"
 *
 * console.log(Telemetry.operationDuration.id) // gen_ai.client.operation.duration
 * ```
 *
 * @since 0.1.0
 */
export const operationDuration: Metric.Histogram<number> = Metric.histogram(
  "gen_ai.client.operation.duration",
  {
    description: "Duration of the operation",
    boundaries: secondBoundaries,
    attributes: { unit: "s" }
  }
)

/**
 * The metric `agent_budget.spent`: what calls were booked at, in nano-dollars, by the same attributes and
 * `agent_budget.verdict`. No account is among them: there may be millions.
 *
 * @example
 * ```ts
 * import { Telemetry } from "agent-budget"
 *
 * console.log(Telemetry.spent.id) // agent_budget.spent
 * ```
 *
 * @since 0.1.0
 */
export const spent: Metric.Counter<number> = Metric.counter("agent_budget.spent", {
  description: "What calls were booked at, in nano-dollars",
  incremental: true,
  attributes: { unit: "{nano-USD}" }
})
