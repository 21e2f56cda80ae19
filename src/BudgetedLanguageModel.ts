/**
 * Any language model of `effect/ai` with a budget around it: whichever provider is below, each of its round trips is
 * reserved before it is made and settled by the usage that it tells.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as ResponseIdTracker from "effect/ai/ResponseIdTracker"
import type * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import { around, aroundStream, type CallOptions } from "./internal/modelCall.ts"
import type { Readings } from "./internal/modelBill.ts"
import * as ModelEdge from "./internal/modelEdge.ts"
import { faceOf, Tracked } from "./internal/modelFaces.ts"
import { refusedBy } from "./internal/modelRefusal.ts"
import { bodyOf, hostedToolOf } from "./internal/modelRequest.ts"
import type * as Pricing from "./Pricing.ts"

/**
 * What a budgeted model is told of the model that it is around.
 *
 * @example
 * ```ts
 * import type * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
 *
 * const options: BudgetedLanguageModel.Options = {
 *   model: "gpt-5.2",
 *   maxOutputTokens: 2_000,
 *   request: (body) => ({ ...body, service_tier: "flex" })
 * }
 * console.log(options.maxOutputTokens) // 2000
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /**
   * The priced model; unless said, that of `effect/ai`'s `Model.ModelName` where it is built or, where there is none,
   * where it is called.
   */
  readonly model?: string | undefined
  /**
   * The cap that the model is configured with. It is your word: nothing is written into the request here. Without it a
   * call holds all that the model may write.
   */
  readonly maxOutputTokens?: number | undefined
  /** How the provider asks; `/responses` unless said. */
  readonly api?: "/responses" | "/chat/completions" | undefined
  /**
   * The body that the provider sends, made of the one that was worked out from the prompt and the tools. Say here what
   * else is configured: a `service_tier`, how long caches are kept, tools that the provider runs.
   */
  readonly request?: ((body: object, asked: LanguageModel.ProviderOptions) => object) | undefined
}

const hosted = (tool: string): BudgetError.BudgetError =>
  BudgetError.because(
    new BudgetError.UnboundedRequest({
      endpoint: "LanguageModel",
      detail: `the provider runs the tool ${JSON.stringify(tool)}, and how it asks for that is not known here.`,
      fix: "Say what is sent: request: (body) => ({ ...body, tools: [...], max_tool_calls: ... })."
    })
  )

const mappingThrew = BudgetError.because(
  new BudgetError.MalformedRequest({
    detail: "the function that says what is sent threw.",
    fix: "Correct the option request of BudgetedLanguageModel."
  })
)

/** What a round trip comes to; one that goes on from an earlier response is billed for what that one was. */
const requestOf = (
  options: Options,
  model: string,
  asked: LanguageModel.ProviderOptions,
  previousResponseId: string | undefined
): Result.Result<CallOptions["request"], BudgetError.BudgetError> => {
  const { api = "/responses", maxOutputTokens, request } = options
  const tool = hostedToolOf(asked.tools)
  if (tool !== undefined && request === undefined) return Result.fail(hosted(tool))
  const path = previousResponseId === undefined ? api : "/responses"
  const body = bodyOf(path, model, { ...asked, previousResponseId }, maxOutputTokens)
  if (request === undefined) return Result.succeed({ path, body, isStated: false })
  return Result.try({
    try: () => ({ path, body: request(body, asked), isStated: true }),
    catch: () => mappingThrew
  })
}

/** The id of the response that the inner model will go on from, where its caller keeps a record of them. */
const previousOf = (
  { prompt }: LanguageModel.ProviderOptions,
  tracker: ResponseIdTracker.Service | undefined
): string | undefined =>
  tracker === undefined ? undefined : Option.getOrUndefined(tracker.prepareUnsafe(prompt))?.previousResponseId

/**
 * Puts the budget of the fiber that builds it around a model: a model of the same interface, whose calls are charged
 * to the account of the fiber that makes them.
 *
 * Each round trip to the provider holds a reservation of its own, which is not held while your tools run. It is settled
 * by the usage of the answer's `finish` part; where there is none that could be true, where the call fails in a way
 * that does not prove it free, and where it is interrupted or left, the whole reservation is charged. A budgeted
 * request further down (`BudgetedFetch`, `BudgetedOpenAi`, `BudgetedHttpClient`) on the same budget and account takes the
 * reservation over, and its bill is what the call is charged: once, for the model that was sent. A usage that no such
 * request was billed for is charged beside them, as an assumption. A failure proves a call free only where no part of an
 * answer came before it. A refusal is an `AiError` that is not retryable (`QuotaExhaustedError`, or
 * `InvalidRequestError` for what has no bound), in which `BudgetExceededError.is` and `BudgetError.find` see it.
 *
 * Retries inside the inner model are not seen unless its transport is budgeted: put `BudgetedHttpClient` or
 * `BudgetedFetch` below, or have it retry nothing (`maxRetries: 0`). Send all of a model's requests through a budgeted
 * transport, or none: beside requests that were seen, one that was not is charged only where the model tells its usage,
 * and that is another one than theirs, or dearer than what one was charged whose bill could not be read. A request that
 * a queue (`maxConcurrency` of LangChain) or a fiber that was there before sends for the model runs in another
 * asynchronous context: it is not known to be below the model, and both are charged.
 *
 * What is told here of the cap, the tier and the model is your word: the summary says `unverifiedModel`. Where the same
 * caches may be kept for 12 hours and nobody says so, their writes are charged as if they were.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { Budget, Pricing, Usd } from "agent-budget"
 * import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
 *
 * const model = LanguageModel.make({
 *   generateText: () => Effect.succeed([
 *     { type: "text", text: "Paris" },
 *     { type: "finish", reason: "stop", usage: { inputTokens: { total: 14 }, outputTokens: { total: 2 } } }
 *   ]),
 *   streamText: () => Stream.empty
 * })
 * const program = Effect.gen(function*() {
 *   const budgeted = yield* BudgetedLanguageModel.make(yield* model, { model: "gpt-4o", maxOutputTokens: 100 })
 *   const answer = yield* budgeted.generateText({ prompt: "The capital of France?" })
 *   return `${answer.text} for ${Usd.format((yield* Budget.summary).spent)}`
 * })
 * const layers = Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // Paris for $0.000055
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  model: LanguageModel.LanguageModel,
  options: Options = {}
): Effect.Effect<LanguageModel.LanguageModel, never, Budget.Budget | Pricing.Pricing> =>
  Effect.gen(function* () {
    const edge = yield* ModelEdge.make(options.model)
    const callOf = (
      asked: LanguageModel.ProviderOptions,
      readings: Readings
    ): Effect.Effect<CallOptions, BudgetError.BudgetError> =>
      Effect.withFiber(({ context }) => {
        const request = Result.flatMap(ModelEdge.modelOf(edge, context, "LanguageModel"), (name) =>
          requestOf(options, name, asked, previousOf(asked, Context.get(context, Tracked)))
        )
        return Result.isFailure(request)
          ? ModelEdge.refuse(edge, request.failure)
          : Effect.succeed({ request: request.success, readings })
      })
    return yield* faceOf(model, {
      whole: (asked, readings, self) =>
        Effect.flatMap(callOf(asked, readings), (call) => around(edge, call, self)).pipe(
          Effect.mapError(refused(asked.responseFormat.type === "json" ? "generateObject" : "generateText"))
        ),
      streamed: (asked, readings, self) =>
        Stream.unwrap(Effect.map(callOf(asked, readings), (call) => aroundStream(edge, call, self))).pipe(
          Stream.mapError(refused("streamText"))
        )
    })
  })

const refused = (method: string) => refusedBy("BudgetedLanguageModel", method)

/**
 * The budget around the model that is provided below: `BudgetedLanguageModel.layer({ model }).pipe(Layer.provide(OpenAi))`.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { Budget, BudgetExceededError, Pricing, Usd } from "agent-budget"
 * import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
 *
 * const Plain = Layer.effect(
 *   LanguageModel.LanguageModel,
 *   LanguageModel.make({ generateText: () => Effect.die("It is never asked."), streamText: () => Stream.empty })
 * )
 * const Budgeted = BudgetedLanguageModel.layer({ model: "gpt-4o", maxOutputTokens: 1_000 }).pipe(Layer.provide(Plain))
 * const refused = LanguageModel.generateText({ prompt: "Hello" }).pipe(
 *   Effect.catchReason("AiError", "QuotaExhaustedError", (reason, error) => Effect.succeed(error)),
 *   Effect.map((error) => BudgetExceededError.is(error)),
 *   Effect.provide(Budgeted),
 *   Effect.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("0.001") }), Pricing.layer))
 * )
 * console.log(await Effect.runPromise(refused)) // true
 * ```
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  LanguageModel.LanguageModel,
  never,
  LanguageModel.LanguageModel | Budget.Budget | Pricing.Pricing
> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    Effect.flatMap(LanguageModel.LanguageModel, (model) => make(model, options))
  )
