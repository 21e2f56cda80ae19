/**
 * The `openai` client with a budget around it: the same class, the same methods, the same answers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import OpenAI, { type ClientOptions } from "openai"
import * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import * as BudgetedFetch from "./BudgetedFetch.ts"
import { callContext, placed } from "./internal/callContext.ts"
import {
  cloneOf,
  dress,
  fetchOf,
  isWatchable,
  providerOf,
  refusalError,
  type Client as Wrappable,
  type WithOptions
} from "./internal/openAiClient.ts"
import { isAddress } from "./internal/optionChecks.ts"
import type * as Pricing from "./Pricing.ts"

/**
 * What the client threw: a call that failed at the provider or on the way there, or options that no client can be made
 * of. The client's own error is its cause. Budget refusals are `BudgetError`s instead.
 *
 * @example
 * ```ts
 * import { BudgetedOpenAi } from "agent-budget"
 *
 * const error = new BudgetedOpenAi.OpenAiError({ cause: new Error("429 Rate limit") })
 * console.log(error.message) // 429 Rate limit
 * ```
 *
 * @since 0.1.0
 */
export class OpenAiError extends Schema.TaggedError<OpenAiError>()("OpenAiError", {
  cause: Schema.Defect()
}) {
  override get message(): string {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
}

/**
 * The service: the budgeted client, for calls that end with their Promise (`use`) and for streams (`stream`).
 *
 * What runs inside is charged to the account of the fiber. Interrupting the fiber aborts the `signal`, which
 * must be handed to the call, and settles the call by the policy. A stream's reservation lives as long as the stream.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Redacted, Stream } from "effect"
 * import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const openai = yield* BudgetedOpenAi.BudgetedOpenAi
 *   const words = openai.stream((client, signal) => client.chat.completions.create(
 *     { model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hi" }] }, { signal }
 *   ))
 *   return yield* Stream.runCount(words)
 * }).pipe(
 *   Effect.provide(BudgetedOpenAi.layer({ apiKey: Redacted.make("sk-none"), baseURL: process.env.OPENAI_BASE_URL })),
 *   Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer))
 * )
 * console.log((await Effect.runPromise(program)) > 1) // true
 * ```
 *
 * @since 0.1.0
 */
export class BudgetedOpenAi extends Context.Service<
  BudgetedOpenAi,
  {
    /** The client itself. Only inside of `use` and `stream` does it know the account of the fiber. */
    readonly client: OpenAI
    /** For calls that end with their Promise. The signal has to be handed to the call. */
    readonly use: <A>(
      f: (client: OpenAI, signal: AbortSignal) => Promise<A>
    ) => Effect.Effect<A, BudgetError.BudgetError | OpenAiError>
    /** For calls that stream; the reservation lives as long as the stream. */
    readonly stream: <A>(
      f: (client: OpenAI, signal: AbortSignal) => Promise<AsyncIterable<A>>
    ) => Stream.Stream<A, BudgetError.BudgetError | OpenAiError>
  }
>()("agent-budget/BudgetedOpenAi") {}

/** Whose budgets are around a client, and the `fetch` below the last of them. */
interface Wrapping {
  readonly budgets: ReadonlySet<Budget.Budget["Service"]>
  readonly inner: BudgetedFetch.Fetch
}

const wrappings = new WeakMap<object, Wrapping>()

export type { Wrappable }

/**
 * Puts the budget around a client: the answer is of the same class and type, and everything it sends is budgeted,
 * retries, helpers and clones by `withOptions` included. The client that was given stays as it is, outside of the
 * budget: do not keep it. WebSockets are refused. Called from a fiber directly, a method charges that fiber's
 * account; what a stream helper sends some turns later does not know of it, unless it is called inside of
 * `BudgetedOpenAi`'s `use` or `stream`. Wrapping a wrapped client answers it unchanged; wrapped by two
 * budgets, each call is charged to both.
 *
 * Fails with `UnsupportedTransport` for a client whose sending cannot be watched: X.509 workload identity, or an
 * SDK version whose WebSockets could not be refused.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import OpenAI from "openai"
 * import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
 *
 * const client = await Effect.runPromise(
 *   BudgetedOpenAi.wrap(new OpenAI({ apiKey: "sk-none" })).pipe(
 *     Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer))
 *   )
 * )
 * console.log(client instanceof OpenAI) // true
 * ```
 *
 * @since 0.1.0
 */
export const wrap = <Client extends Wrappable>(
  client: Client
): Effect.Effect<Client, BudgetError.BudgetError, Budget.Budget | Pricing.Pricing> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<Budget.Budget | Pricing.Pricing>()
    return yield* Effect.fromResult(wrapWith(context, client))
  })

type Needs = Context.Context<Budget.Budget | Pricing.Pricing>

const unsupported =
  (fix: string) =>
  (detail: string): BudgetError.BudgetError =>
    BudgetError.because(new BudgetError.UnsupportedTransport({ detail, fix }))

const unwatchable = unsupported(
  "Use a client of a supported openai version (7) with an API key, a token function or legacy workload identity."
)

/** Mostly a subclass that takes no options, or other ones. */
const uncloneable = unsupported(
  "Have its withOptions answer a client that sends with the fetch of these options: a constructor of its own must take " +
    "the client's options, and hand all of them to super."
)

const noAddress = unsupported(
  'Write it in full, as in "https://api.openai.com/v1" or "http://localhost:8080/v1".'
)("The baseURL of this client is no http or https address.")

const wrapWith = <Client extends Wrappable>(
  context: Needs,
  client: Client
): Result.Result<Client, BudgetError.BudgetError> => {
  // Callers without types may give anything.
  if (!Predicate.isObject(client)) return Result.fail(unwatchable("What is to be wrapped is no client."))
  const wrapping = wrappings.get(client)
  if (wrapping?.budgets.has(Context.get(context, Budget.Budget)) === true) return Result.succeed(client)
  const inner = wrapping?.inner ?? fetchOf(client)
  if (inner === undefined || !isWatchable(client)) {
    return Result.fail(unwatchable("This client has no fetch, error factory or WebSocket hook to watch."))
  }
  return clone(context, inner, {}, (options) => cloneOf(client, options))
}

/** A clone that sends through the budget, and whose own clones do. */
const clone = <Client extends Wrappable>(
  context: Needs,
  inner: BudgetedFetch.Fetch,
  options: Partial<ClientOptions>,
  withOptions: WithOptions<Client>
): Result.Result<Client, BudgetError.BudgetError> =>
  Result.try({
    try: () => {
      // The root is only known once the options have had their say.
      const plain = withOptions({ ...options, fetch: inner })
      if (!isAddress(plain.baseURL)) throw noAddress
      const fetch = Effect.runSyncWith(context)(
        BudgetedFetch.make({
          fetch: inner,
          baseURL: plain.baseURL,
          provider: providerOf(plain),
          refusal: "response"
        })
      )
      const wrapped = withOptions({ ...options, fetch })
      // Another budget's client puts its own around what it is given.
      const other = wrappings.get(wrapped)
      if ((other?.inner ?? fetchOf(wrapped)) !== fetch) {
        throw uncloneable("This client does not send with the fetch it is given.")
      }
      const budgets = new Set(other?.budgets).add(Context.get(context, Budget.Budget))
      wrappings.set(wrapped, { budgets, inner })
      return budgeted(context, inner, wrapped)
    },
    catch: (error) =>
      error instanceof BudgetError.BudgetError
        ? error
        : uncloneable(
            `This client cannot be cloned with another fetch (${error instanceof Error ? error.name : "error"}).`
          )
  })

/** On its own, for what it leaves behind would otherwise keep the client that this one was cloned from, and all before. */
const budgeted = <Client extends Wrappable>(
  context: Needs,
  inner: BudgetedFetch.Fetch,
  wrapped: Client
): Client => {
  // On the account of whoever opens it.
  const refused = (error: BudgetError.BudgetError): void => {
    Effect.runForkWith(callContext.getStore()?.context ?? context)(
      Context.get(context, Budget.Budget).refuse(error)
    )
  }
  return dress(wrapped, refused, (original) => (more) => {
    const again = clone(context, more.fetch ?? inner, more, original)
    if (Result.isFailure(again)) throw refusalError(wrapped, again.failure)
    return again.success
  })
}

const toError = (cause: unknown): BudgetError.BudgetError | OpenAiError =>
  BudgetError.find(cause) ?? new OpenAiError({ cause })

/**
 * The service over a client that is wrapped for it.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import OpenAI from "openai"
 * import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
 *
 * const service = BudgetedOpenAi.make(new OpenAI({ apiKey: "sk-none" })).pipe(
 *   Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer))
 * )
 * console.log((await Effect.runPromise(service)).client instanceof OpenAI) // true
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  client: OpenAI
): Effect.Effect<BudgetedOpenAi["Service"], BudgetError.BudgetError, Budget.Budget | Pricing.Pricing> =>
  Effect.map(wrap(client), (wrapped) => {
    const start = <A>(
      f: (client: OpenAI, signal: AbortSignal) => A,
      signal: AbortSignal,
      context: Context.Context<never>
    ): A => callContext.run({ context: placed(context), passing: undefined }, () => f(wrapped, signal))
    return BudgetedOpenAi.of({
      client: wrapped,
      use: (f) =>
        Effect.withFiber((fiber) =>
          Effect.tryPromise({ try: (signal) => start(f, signal, fiber.context), catch: toError })
        ),
      stream: (f) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const abort = yield* Effect.acquireRelease(
              Effect.sync(() => new AbortController()),
              (controller) => Effect.sync(() => controller.abort())
            )
            const context = yield* Effect.context()
            const items = yield* Effect.tryPromise({
              try: () => start(f, abort.signal, context),
              catch: toError
            })
            return Stream.fromAsyncIterable(items, toError)
          })
        )
    })
  })

/**
 * What the layer makes its client from: the client's own options, with the key redacted.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import type { BudgetedOpenAi } from "agent-budget"
 *
 * const options: BudgetedOpenAi.Options = { apiKey: Redacted.make("sk-none"), maxRetries: 0 }
 * console.log(String(options.apiKey)) // <redacted>
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends Omit<ClientOptions, "apiKey"> {
  readonly apiKey: Redacted.Redacted
}

/**
 * The service over a client of its own. Fails with an `OpenAiError` for options that the client refuses, such as an
 * empty key.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Redacted } from "effect"
 * import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
 *
 * const ask = Effect.gen(function*() {
 *   const openai = yield* BudgetedOpenAi.BudgetedOpenAi
 *   return yield* openai.use((client, signal) => client.chat.completions.create(
 *     { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] }, { signal }
 *   ))
 * })
 * const Live = BudgetedOpenAi.layer({ apiKey: Redacted.make("sk-none"), baseURL: process.env.OPENAI_BASE_URL }).pipe(
 *   Layer.provideMerge(Budget.layerMemory({ limit: Usd.dollars("5.00") })),
 *   Layer.provide(Pricing.layer)
 * )
 * const answer = await Effect.runPromise(Effect.provide(ask, Live))
 * console.log(answer.object) // chat.completion
 * ```
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<BudgetedOpenAi, BudgetError.BudgetError | OpenAiError, Budget.Budget | Pricing.Pricing> =>
  layerClient(() => new OpenAI({ ...options, apiKey: Redacted.value(options.apiKey) }))

/**
 * The service over a client that you make: an Azure or Bedrock client, or a subclass.
 *
 * @example
 * ```ts
 * import { AzureOpenAI } from "openai"
 * import { BudgetedOpenAi } from "agent-budget"
 *
 * const Azure = BudgetedOpenAi.layerClient(() => new AzureOpenAI({ apiVersion: "2024-10-21" }))
 * console.log(typeof Azure) // object
 * ```
 *
 * @since 0.1.0
 */
export const layerClient = (
  client: () => OpenAI
): Layer.Layer<BudgetedOpenAi, BudgetError.BudgetError | OpenAiError, Budget.Budget | Pricing.Pricing> =>
  Layer.effect(BudgetedOpenAi, Effect.flatMap(Effect.try({ try: client, catch: toError }), make))
