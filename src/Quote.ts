/**
 * What a request costs at most: its plan, priced. The bound that a reservation is made of, and a product of its
 * own: "what would this cost, and does it fit?", without sending anything.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import type { Counted, Endpoint, Output, Plan, Previous } from "./Endpoint.ts"
import * as Host from "./Host.ts"
import * as InputTokens from "./InputTokens.ts"
import { surveyOf, type Survey } from "./internal/bodySurvey.ts"
import { withFees } from "./internal/hostedTools.ts"
import * as Json from "./internal/json.ts"
import { lineItems, type LineItem } from "./internal/lineItems.ts"
import { checkUncapped } from "./internal/optionChecks.ts"
import { unbounded } from "./internal/planning.ts"
import { remoteMargin } from "./internal/remoteCount.ts"
import { modelOf } from "./internal/requestBound.ts"
import { pricesAt, pricesOf } from "./internal/servedPrices.ts"
import * as OpenAiEndpoints from "./OpenAiEndpoints.ts"
import * as Pricing from "./Pricing.ts"
import * as TokenCounter from "./TokenCounter.ts"
import type * as Usage from "./Usage.ts"
import * as Usd from "./Usd.ts"

/**
 * How requests are bounded.
 *
 * @example
 * ```ts
 * import type { Quote } from "agent-budget"
 *
 * const options: Quote.Options = { tier: "flex", uncapped: { share: 0.05, floor: 2_048 } }
 * console.log(options.tier) // flex
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /** What requests without a `service_tier` are quoted and sent at: standard unless said. */
  readonly tier?: Pricing.Tier | undefined
  /**
   * What becomes of a request without an output cap: it gets a cap that costs at most a `share` of what is available (a
   * tenth unless said), never below `floor` tokens (1,024, or 4,096 for reasoning models, unless said); or the model's
   * maximum; or it is refused.
   */
  readonly uncapped?:
    | { readonly share?: number | undefined; readonly floor?: number | undefined }
    | "modelMaximum"
    | "refuse"
    | undefined
  /**
   * `"bytes"` bounds the input by its length, which costs nothing and is three to eight times the bill; `"counted"` counts
   * its tokens, which is within a few hundredths of the bill on text; `"auto"`, unless said otherwise, counts where the
   * length does not fit, or would hold more than a hundredth of what is available.
   */
  readonly inputBound?: "auto" | "bytes" | "counted" | undefined
  /** Names of your own, such as those of deployments, each for a priced model. */
  readonly models?: Readonly<Record<string, string>> | undefined
  /** Fields of a body that cost nothing, by your word. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Unpriced endpoints that you vouch for: free, or at a maximum. */
  readonly endpoints?: OpenAiEndpoints.Overrides | undefined
  /** What you know of a host. */
  readonly hosts?: Readonly<Record<string, Partial<Host.Host>>> | undefined
}

export type { LineItem }

/**
 * The bound of a request. Between `least` and `most` lies the output cap that is written into it: `cap.least` to
 * `cap.most` tokens, in the body's field `cap.field`. Without `cap` the two are equal.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote, Usd } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Quote.make(pricing, {
 *   method: "POST",
 *   path: "/chat/completions",
 *   body: { model: "gpt-4o", max_tokens: 100, messages: [{ role: "user", content: "hi" }] }
 * }))
 * const quote: Quote.Quote = Result.getOrThrow(await Effect.runPromise(Effect.provide(program, Pricing.layer)))
 * console.log(Usd.compare(quote.most, Usd.dollars("0.01"))) // -1
 * ```
 *
 * @since 0.1.0
 */
export interface Quote {
  readonly plan: Plan
  readonly model: string
  /** The price that is settled at unless the response says otherwise. */
  readonly price: Pricing.Price
  /** Every price that may be served. */
  readonly prices: ReadonlyArray<Pricing.Price>
  /** The most input, in tokens: by the rung of `bound`. */
  readonly input: number
  /** How the input is bounded: by its length in bytes, by a count, ours or the provider's, or by the context window. */
  readonly bound: "bytes" | "counted" | "remote" | "window"
  /** How many tokens were counted, images by their formula; `input` is this and an allowance. */
  readonly count: number | undefined
  /**
   * How many tokens of `input` lie beyond all that was ever seen billed for a request like this: a bill that takes
   * most of them says that a constant has gone stale. 0 where it says nothing.
   */
  readonly margin: number
  /** What is known of the response that the request goes on from; its tokens are part of `input`. */
  readonly previous: Previous | undefined
  readonly least: Usd.Usd
  readonly most: Usd.Usd
  readonly share: number
  readonly cap: { readonly field: string; readonly least: number; readonly most: number } | undefined
  readonly regional: boolean
  /** It may ask for cache writes that are kept, and priced, for 12 hours. */
  readonly longCache: boolean
  /** When it was quoted, in milliseconds of the epoch. Its bound holds for a day from then; see `admittedAt`. */
  readonly at: number
  /** What it was made of besides. */
  readonly row: Pricing.Model
  readonly uncapped: Options["uncapped"]
}

/** A cap below this much is eaten by thinking on a reasoning model, or cuts an ordinary answer. */
const floors = { reasoning: 4_096, other: 1_024 } as const
const defaultShare = 0.1

/**
 * Finds what is known of a response by its id: without it, or where it finds nothing, a request that goes on from
 * a response (`previous_response_id`) holds the model's whole context window.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const known: Quote.Lookup = (id) =>
 *   id === "resp_1" ? { model: "gpt-4o", tokens: 500, images: 0, reasoning: 0 } : undefined
 * const program = Effect.map(Pricing.Pricing, (pricing) => Quote.make(pricing, {
 *   method: "POST", path: "/responses", previous: known,
 *   body: { model: "gpt-4o", input: "And?", previous_response_id: "resp_1", max_output_tokens: 50 }
 * }))
 * const quote = Result.getOrThrow(await Effect.runPromise(Effect.provide(program, Pricing.layer)))
 * console.log(quote.bound, quote.input < 1_000) // bytes true
 * ```
 *
 * @since 0.1.0
 */
export type Lookup = (id: string) => Previous | undefined

/**
 * A quote for a request that is not sent: the body as a value, the path below the API's root. Fails as the
 * sending would: unknown model, unbounded request, unsupported endpoint.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Quote.make(pricing, {
 *   method: "POST", path: "/embeddings", body: { model: "nobody-knows", input: "text" }
 * }))
 * const quote = await Effect.runPromise(Effect.provide(program, Pricing.layer))
 * if (Result.isFailure(quote)) console.log(quote.failure.reason._tag) // UnknownModel
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  pricing: Pricing.Pricing["Service"],
  request: {
    readonly method: string
    readonly path: string
    readonly body: unknown
    readonly host?: Host.Host | undefined
    readonly at?: number | undefined
    readonly previous?: Lookup | undefined
  },
  options: Options = {}
): Result.Result<Quote, BudgetError.BudgetError> => {
  const found = OpenAiEndpoints.recognise(request.method, request.path, options.endpoints)
  if (found._tag === "Refused") return Result.fail(found.error)
  if (found._tag !== "Priced") {
    const { method, path } = request
    const most = found._tag === "Free" ? Usd.zero : found.most
    return Result.fail(BudgetError.because(new BudgetError.NothingToQuote({ method, path, most })))
  }
  if (!Predicate.isObject(request.body)) return Result.fail(notAnObject)
  const text = Result.try(() => JSON.stringify(request.body))
  const body = Result.isSuccess(text) ? Json.parse(text.success) : undefined
  if (Result.isFailure(text) || !Json.isObject(body)) return Result.fail(notAnObject)
  const parsed = { body, text: text.success, deployment: found.deployment }
  return quote(pricing, found.endpoint, parsed, options, {
    host: request.host ?? Host.of(new URL("https://api.openai.com")),
    at: request.at ?? Date.now(),
    previous: request.previous
  })
}

const notAnObject = BudgetError.because(
  new BudgetError.MalformedRequest({
    detail: "the body is not a JSON object.",
    fix: "Send a JSON object."
  })
)

/**
 * A quote for a recognised request with its body at hand.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Host, OpenAiEndpoints, Pricing, Quote } from "agent-budget"
 *
 * const body = { model: "gpt-4o", input: "hi", max_output_tokens: 50 }
 * const program = Effect.map(Pricing.Pricing, (pricing) => {
 *   const found = OpenAiEndpoints.recognise("POST", "/responses")
 *   if (found._tag !== "Priced") return undefined
 *   const host = Host.of(new URL("https://api.openai.com/v1"))
 *   return Quote.quote(pricing, found.endpoint, { body, text: JSON.stringify(body) }, {}, { host, at: Date.now() })
 * })
 * const quoted = await Effect.runPromise(Effect.provide(program, Pricing.layer))
 * console.log(quoted !== undefined && Result.isSuccess(quoted)) // true
 * ```
 *
 * @since 0.1.0
 */
export const quote = (
  pricing: Pricing.Pricing["Service"],
  endpoint: Endpoint,
  request: {
    readonly body: Json.JsonObject
    readonly text: string
    readonly deployment?: string | undefined
    readonly survey?: Survey | undefined
  },
  options: Options,
  where: {
    readonly host: Host.Host
    readonly at: number
    readonly previous?: Lookup | undefined
  }
): Result.Result<Quote, BudgetError.BudgetError> => {
  const { body, deployment, text, survey = surveyOf(body) } = request
  const { allow, models } = options
  const planned = endpoint.plan({ body, text, deployment, models, allow, survey })
  if (Result.isFailure(planned)) return Result.fail(planned.failure)
  const plan = planned.success
  const found = rowOf(pricing, plan, request, models, where.host)
  if (Result.isFailure(found)) return Result.fail(found.failure)
  const model = found.success
  const prices = pricesOf(pricing, plan, model, options.tier ?? "standard", where)
  if (Result.isFailure(prices)) return Result.fail(prices.failure)
  const previous = previousOf(plan, model, where.previous)
  const input = inputOf(plan, model, previous)
  if (input === undefined) {
    const detail = "it names input that it does not show, and the model's context window is not known."
    return Result.fail(unbounded(plan, detail, `Give the model's contextWindow with its prices.`))
  }
  const tokens = plan.input.tokens + (previous?.tokens ?? 0)
  const isWindow = isUnshown(plan, previous) || input < tokens
  return bounded({
    plan,
    model: model.id,
    row: model,
    uncapped: options.uncapped,
    prices: prices.success,
    input,
    bound: isWindow ? "window" : "bytes",
    count: undefined,
    // No text was ever seen to be billed near its length; images are, near their formula.
    margin: isWindow ? 0 : plan.input.tokens - plan.input.images,
    previous,
    regional: where.host.regional,
    longCache: survey.longCache,
    at: where.at
  })
}

/** The model that a request is priced as. Where its path names one, its body may name another. */
const rowOf = (
  pricing: Pricing.Pricing["Service"],
  plan: Plan,
  { body, deployment }: { readonly body: Json.JsonObject; readonly deployment?: string | undefined },
  models: Options["models"],
  host: Host.Host
): Result.Result<Pricing.Model, BudgetError.BudgetError> => {
  const model = pricing.find(plan.model)
  if (model === undefined) {
    return Result.fail(BudgetError.because(new BudgetError.UnknownModel({ model: plan.model })))
  }
  if (model.kind === "embedding" && plan.output !== undefined) {
    const detail = "its model makes embeddings, and what it would write has no price."
    const fix = "Send it to POST /embeddings, or give its prices without a kind."
    return Result.fail(unbounded(plan, detail, fix))
  }
  if (deployment !== undefined && host.provider !== "azure.ai.openai") {
    const other = modelOf({ body, models })
    if (other !== undefined && pricing.find(other)?.id !== model.id) {
      return Result.fail(unbounded(plan, namesTwo, sendOne))
    }
  }
  return Result.succeed(model)
}

const namesTwo =
  "its path names one model and its body another, and by which of them this host goes is not known."
const sendOne =
  'Send the deployment\'s name as model or, of a gateway before Azure, give its host provider: "azure.ai.openai" in hosts.'

/** All of a quote that does not follow from the rest. */
type Basis = Omit<Quote, "price" | "least" | "most" | "share" | "cap">

/** The quote that follows from the most input. */
const bounded = (basis: Basis): Result.Result<Quote, BudgetError.BudgetError> => {
  const { input, plan, prices } = basis
  const range = capRange(basis)
  if (Result.isFailure(range)) return Result.fail(range.failure)
  const { cap, share } = range.success
  const most = worstOf(prices, plan, input, range.success.most)
  const least =
    range.success.least === range.success.most ? most : worstOf(prices, plan, input, range.success.least)
  if (least === undefined || most === undefined) {
    const detail = "its worst case has no price, or one beyond $9007199."
    return Result.fail(
      unbounded(plan, detail, "Lower n, the output cap or max_tool_calls; give audio prices for audio.")
    )
  }
  const price = dearest(prices, plan, input, range.success.most)
  return Result.succeed({ ...basis, price, least, most, share, cap })
}

/**
 * The same quote with its input counted, where that is less and the model's encoding is known; else the quote as
 * it is. The count is a bound too: the constants beside it lie above what recorded traffic shows.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Pricing, Quote, TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const quote = yield* Quote.of({
 *     method: "POST", path: "/responses", body: { model: "gpt-4o", input: "word ".repeat(1_000) }
 *   })
 *   const counted = yield* Quote.counted(quote)
 *   return [quote.input, counted.input]
 * })
 * const layers = Layer.merge(Pricing.layer, TokenCounter.layer)
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // [ 5113, 1039 ]
 * ```
 *
 * @since 0.1.0
 */
export const counted = (quote: Quote): Effect.Effect<Quote, never, TokenCounter.TokenCounter> =>
  Effect.flatMap(TokenCounter.TokenCounter, (counter) => countedBy(counter, quote))

/**
 * `counted`, by a counter at hand.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote, TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const counter = yield* TokenCounter.make()
 *   const quote = Quote.make(yield* Pricing.Pricing, {
 *     method: "POST", path: "/embeddings", body: { model: "text-embedding-3-small", input: "hi ".repeat(100) }
 *   })
 *   return (yield* Quote.countedBy(counter, Result.getOrThrow(quote))).bound
 * })
 * console.log(await Effect.runPromise(Effect.provide(program, Pricing.layer))) // counted
 * ```
 *
 * @since 0.1.0
 */
export const countedBy = Effect.fnUntraced(function* (
  counter: TokenCounter.TokenCounter["Service"],
  quote: Quote
) {
  const { bound, plan, previous } = quote
  if (bound === "counted" || bound === "remote" || isUnshown(plan, previous)) return quote
  const sheet = plan.input.counted()
  if (sheet === undefined) return quote
  const { most, tokens } = yield* countSheet(counter, sheet)
  const { images } = plan.input
  const input = most + images + (previous?.tokens ?? 0)
  const margin = most - tokens - sheet.added + sheet.slack
  return tightened(quote, { input, bound: "counted", count: tokens + images, margin })
})

/** The tokens of the texts of a sheet, and the most that they come to with what is added to them. */
const countSheet = Effect.fnUntraced(function* (
  counter: TokenCounter.TokenCounter["Service"],
  sheet: Counted
) {
  let tokens = 0
  for (const text of sheet.texts) tokens += yield* counter.count(text, sheet.encoding)
  return { tokens, most: Math.ceil(tokens * (1 + sheet.margin)) + sheet.added }
})

/** The quote by another bound, where that is less. */
const tightened = (quote: Quote, by: Pick<Quote, "input" | "bound" | "count" | "margin">): Quote => {
  if (!(by.input < quote.input)) return quote
  const tighter = bounded({ ...quote, ...by })
  return Result.isSuccess(tighter) ? tighter.success : quote
}

/**
 * The same quote with its input counted by the provider, where it names what it does not show, and that is less; else
 * the quote as it is. See `InputTokens` for what such a count is worth. It is never less than what the request shows
 * of itself. Fails with `InputTokensError` where no count is to be had.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { InputTokens, Pricing, Quote, TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const quote = yield* Quote.of({
 *     method: "POST", path: "/responses",
 *     body: { model: "gpt-4o", input: "And?", conversation: "conv_1", max_output_tokens: 100 }
 *   })
 *   const counted = yield* Quote.countedRemotely(quote)
 *   return [quote.input, counted.input]
 * })
 * const Remote = Layer.succeed(InputTokens.InputTokens, { count: () => Effect.succeed(1_000) })
 * const layers = Layer.mergeAll(Pricing.layer, TokenCounter.layer, Remote)
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // [ 128000, 1034 ]
 * ```
 *
 * @since 0.1.0
 */
export const countedRemotely = (
  quote: Quote,
  call?: InputTokens.Call
): Effect.Effect<Quote, InputTokens.InputTokensError, InputTokens.InputTokens | TokenCounter.TokenCounter> =>
  Effect.flatMap(InputTokens.InputTokens, (remote) =>
    Effect.flatMap(TokenCounter.TokenCounter, (counter) => countedRemotelyBy(remote, counter, quote, call))
  )

/**
 * `countedRemotely`, by counters at hand.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote, TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const counter = yield* TokenCounter.make()
 *   const quote = Quote.make(yield* Pricing.Pricing, {
 *     method: "POST", path: "/responses", body: { model: "gpt-4o", input: "And?", conversation: "conv_1" }
 *   })
 *   const remote = { count: () => Effect.succeed(500) }
 *   return (yield* Quote.countedRemotelyBy(remote, counter, Result.getOrThrow(quote))).bound
 * })
 * console.log(await Effect.runPromise(Effect.provide(program, Pricing.layer))) // remote
 * ```
 *
 * @since 0.1.0
 */
export const countedRemotelyBy = Effect.fnUntraced(function* (
  remote: InputTokens.InputTokens["Service"],
  counter: TokenCounter.TokenCounter["Service"],
  quote: Quote,
  call?: InputTokens.Call
) {
  const { bound, plan, previous } = quote
  const asked = bound === "remote" ? undefined : plan.input.remote()
  if (asked === undefined || !(asked.hidden || isUnshown(plan, previous))) return quote
  const count = yield* remote.count(asked.question, call)
  const shown = asked.shown === undefined ? 0 : (yield* countSheet(counter, asked.shown)).most
  const input = Math.max(Math.ceil(count * (1 + remoteMargin.share)) + remoteMargin.request, shown)
  return tightened(quote, { input, bound: "remote", count, margin: input - count })
})

/**
 * The price that is settled at, unless the response says otherwise: that of the moment of admission.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const same = Effect.map(Pricing.Pricing, (pricing) => {
 *   const quote = Result.getOrThrow(Quote.make(pricing, {
 *     method: "POST", path: "/embeddings", body: { model: "text-embedding-3-small", input: "hi" }
 *   }))
 *   return Quote.priceAt(quote, pricing, quote.at) === quote.price
 * })
 * console.log(await Effect.runPromise(Effect.provide(same, Pricing.layer))) // true
 * ```
 *
 * @since 0.1.0
 */
export const priceAt = (quote: Quote, pricing: Pricing.Pricing["Service"], at: number): Pricing.Price => {
  if (quote.prices.length === 1) return quote.price
  const price = Result.flatMap(
    pricing.price(quote.model, quote.price.tier, { at, regional: quote.regional }),
    (found) => withFees(found, quote.row, quote.plan.tools, pricing.toolFees)
  )
  return Result.isSuccess(price) ? price.success : quote.price
}

const oneHour = 3_600_000

/**
 * The quote as it is when it is admitted: after a wait of an hour or more at the prices of that moment, and of a day
 * from then. It may be more than what was reserved by then. Fails where it has no bound any more.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const body = { model: "gpt-6.2-sol", input: "hi", max_output_tokens: 9, service_tier: "ultrafast" }
 * const dearer = Effect.map(Pricing.Pricing, (pricing) => {
 *   const at = Date.UTC(2027, 1, 25)
 *   const quote = Result.getOrThrow(Quote.make(pricing, { method: "POST", path: "/responses", body, at }))
 *   return Result.getOrThrow(Quote.admittedAt(quote, pricing, Date.UTC(2027, 2, 1))).most > quote.most
 * })
 * console.log(await Effect.runPromise(Effect.provide(dearer, Pricing.layer))) // true
 * ```
 *
 * @since 0.1.0
 */
export const admittedAt = (
  quote: Quote,
  pricing: Pricing.Pricing["Service"],
  at: number
): Result.Result<Quote, BudgetError.BudgetError> => {
  if (at - quote.at < oneHour) return Result.succeed(quote)
  const { plan, price, regional, row } = quote
  const certain = pricing.price(row.id, price.tier, { at, regional })
  if (Result.isFailure(certain)) return Result.fail(certain.failure)
  const prices = pricesAt(pricing, plan, row, quote.prices, { at, regional })
  return Result.flatMap(prices, (prices) => bounded({ ...quote, prices, at }))
}

/** What is known of the response that a request goes on from, if that is a bound for this model. */
const previousOf = (
  { input }: Plan,
  model: Pricing.Model,
  lookup: Lookup | undefined
): Previous | undefined => {
  if (input.previous === undefined || input.unshown) return undefined
  const found = lookup?.(input.previous)
  return found?.model === model.id ? found : undefined
}

/** Whether the request names input that nothing but the context window bounds. */
const isUnshown = ({ input }: Plan, previous: Previous | undefined): boolean =>
  input.unshown || (input.previous !== undefined && previous === undefined)

/** More than a context window is refused by the provider; less is known only where all of the input is known. */
const inputOf = (plan: Plan, model: Pricing.Model, previous: Previous | undefined): number | undefined => {
  const { windows } = plan.input
  const unshown = isUnshown(plan, previous)
  const tokens = plan.input.tokens + (previous?.tokens ?? 0)
  const images = plan.input.images + (previous?.images ?? 0)
  const window = model.contextWindow
  if (window === undefined) return unshown ? undefined : tokens
  return unshown
    ? (Math.ceil(window * plan.input.room) + images) * windows
    : Math.min(tokens, window * windows + images)
}

interface CapRange {
  /** Output tokens in all, at the least and the most cap. */
  readonly least: number
  readonly most: number
  readonly share: number
  readonly cap: Quote["cap"]
}

const outputTokens = (output: Output, cap: number): number => cap * output.times + output.extra

const capRange = ({
  input,
  plan,
  previous,
  row: model,
  uncapped
}: Basis): Result.Result<CapRange, BudgetError.BudgetError> => {
  const { output } = plan
  if (output === undefined) return Result.succeed({ least: 0, most: 0, share: 1, cap: undefined })
  const given = output.cap
  if (given !== undefined) return Result.succeed(fixed(output, given, undefined))
  if (output.fallback !== undefined) return Result.succeed(fixed(output, output.fallback, output.field))
  const fix = `Set ${output.field}, or uncapped: { share, floor }.`
  if (uncapped === "refuse") return Result.fail(unbounded(plan, "it has no output cap.", fix))
  const fault = checkUncapped(uncapped)
  if (fault !== undefined) return Result.fail(unbounded(plan, fault, fix))
  const window = model.contextWindow
  const largest = model.maxOutput ?? window
  const floor = Math.min(
    (typeof uncapped === "object" ? uncapped.floor : undefined) ??
      (model.reasoning ? floors.reasoning : floors.other),
    largest ?? Infinity
  )
  // Input and output share the window: a cap beyond what is left of it would be refused by the provider. What
  // unshown input leaves of it is not known.
  const room =
    window === undefined || isUnshown(plan, previous)
      ? Infinity
      : window - Math.min(input, model.maxInput ?? Infinity)
  const most = Math.max(floor, Math.min(largest ?? floor, room))
  if (uncapped === "modelMaximum") {
    return largest === undefined
      ? Result.fail(unbounded(plan, "the model's maximum output is not known.", fix))
      : Result.succeed(fixed(output, most, output.field))
  }
  return Result.succeed({
    least: outputTokens(output, floor),
    most: outputTokens(output, most),
    share: uncapped?.share ?? defaultShare,
    cap: { field: output.field, least: floor, most }
  })
}

const fixed = (output: Output, cap: number, field: string | undefined): CapRange => {
  const tokens = outputTokens(output, cap)
  return {
    least: tokens,
    most: tokens,
    share: 1,
    cap: field === undefined ? undefined : { field, least: cap, most: cap }
  }
}

/** In full, which is sooner made than parts that are spread over nothing. */
const boundOf = (plan: Plan, input: number, output: number): Usage.Usage => ({
  input,
  cachedInput: 0,
  cacheWrite: 0,
  cacheWrite12h: 0,
  audioInput: plan.input.audio ? input : 0,
  output,
  reasoning: 0,
  audioOutput: plan.output?.audio === true ? output : 0,
  webSearches: plan.tools?.webSearches ?? 0,
  fileSearches: plan.tools?.fileSearches ?? 0,
  containers: plan.tools?.containers ?? 0
})

const worstOf = (
  prices: ReadonlyArray<Pricing.Price>,
  plan: Plan,
  input: number,
  output: number
): Usd.Usd | undefined => {
  if (!Number.isSafeInteger(output)) return undefined
  const bound = boundOf(plan, input, output)
  let worst: Usd.Usd = Usd.zero
  for (const price of prices) {
    const amount = Pricing.worst(price, bound)
    if (Result.isFailure(amount)) return undefined
    if (amount.success > worst) worst = amount.success
  }
  return worst
}

/**
 * The most that the input alone costs, by the quote's bound.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Result.getOrThrow(Quote.make(pricing, {
 *   method: "POST", path: "/responses", body: { model: "gpt-4o", input: "hi" }
 * })))
 * const quote = await Effect.runPromise(Effect.provide(program, Pricing.layer))
 * console.log(Quote.inputCost(quote) < quote.least) // true
 * ```
 *
 * @since 0.1.0
 */
export const inputCost = ({ input, most, plan, prices }: Quote): Usd.Usd =>
  worstOf(prices, plan, input, 0) ?? most

const dearest = (
  prices: ReadonlyArray<Pricing.Price>,
  plan: Plan,
  input: number,
  output: number
): Pricing.Price =>
  // With one price `reduce` answers it without asking.
  prices.reduce((a, b) =>
    (worstOf([b], plan, input, output) ?? 0) > (worstOf([a], plan, input, output) ?? 0) ? b : a
  )

/**
 * The largest output cap whose worst case fits the amount that was granted: what is written into the request.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Result.getOrThrow(Quote.make(pricing, {
 *   method: "POST", path: "/chat/completions",
 *   body: { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] }
 * })))
 * const quote = await Effect.runPromise(Effect.provide(program, Pricing.layer))
 * console.log(Quote.capFor(quote, quote.least), Quote.capFor(quote, quote.most)) // 1024 16384
 * ```
 *
 * @since 0.1.0
 */
export const capFor = (quote: Quote, granted: Usd.Usd): number | undefined => {
  const { cap, plan } = quote
  if (cap === undefined || plan.output === undefined) return undefined
  let low = cap.least
  let high = cap.most
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    const worst = worstOf(quote.prices, plan, quote.input, outputTokens(plan.output, middle))
    if (worst !== undefined && worst <= granted) low = middle
    else high = middle - 1
  }
  return low
}

/**
 * The quote's lines, for people: the most input, the most output and the most fees, at the rates of the price that
 * was quoted. They add up to `most`.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Result.getOrThrow(Quote.make(pricing, {
 *   method: "POST", path: "/responses",
 *   body: { model: "gpt-5.6", input: "hi", max_output_tokens: 100, service_tier: "priority" }
 * })))
 * const quote = await Effect.runPromise(Effect.provide(program, Pricing.layer))
 * console.log(Quote.lines(quote).map((line) => line.why)) // [ 'cache write, dearer than input, tier priority', 'output, tier priority' ]
 * ```
 *
 * @since 0.1.0
 */
export const lines = (quote: Quote): ReadonlyArray<LineItem> => lineItems(quote)

/**
 * A quote as an Effect, with the price table that is provided. `Effect.flatMap(Quote.counted)` tightens it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing, Quote } from "agent-budget"
 *
 * const quote = Quote.of({
 *   method: "POST", path: "/chat/completions",
 *   body: { model: "gpt-4o", max_tokens: 10, messages: [{ role: "user", content: "hi" }] }
 * })
 * console.log((await Effect.runPromise(Effect.provide(quote, Pricing.layer))).model) // gpt-4o
 * ```
 *
 * @since 0.1.0
 */
export const of = (
  request: Parameters<typeof make>[1],
  options?: Options
): Effect.Effect<Quote, BudgetError.BudgetError, Pricing.Pricing> =>
  Effect.flatMap(Pricing.Pricing, (pricing) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.fromResult(make(pricing, { ...request, at: request.at ?? now }, options))
    )
  )

/**
 * Whether a request of this quote would be admitted now: its `least` is available on the current account and on each
 * one above it, and none of them is paused. Nothing is reserved, so another call may take the room before this one is
 * sent.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Budget, Pricing, Quote, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const quote = yield* Quote.of({
 *     method: "POST", path: "/responses", body: { model: "gpt-4o", input: "hi", max_output_tokens: 1_000 }
 *   })
 *   const inside = Quote.fits(quote).pipe(Budget.within({ account: "ann", limit: Usd.dollars("0.01") }))
 *   return [Usd.format(quote.least), yield* Quote.fits(quote), yield* inside]
 * })
 * const layers = Layer.merge(Pricing.layer, Budget.layerMemory({ limit: Usd.dollars("1") }))
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // [ '$0.01035', true, false ]
 * ```
 *
 * @since 0.1.0
 */
export const fits = (quote: Quote): Effect.Effect<boolean, BudgetError.BudgetError, Budget.Budget> =>
  Effect.map(Budget.chain, (balances) =>
    balances.every(({ available, paused }) => !paused && (available === null || quote.least <= available))
  )
