/**
 * Any embedding model of `effect/ai` with a budget around it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Budget from "./Budget.ts"
import { Covering, Held, placed, Places } from "./internal/callContext.ts"
import { EmbeddingReadings } from "./internal/modelBill.ts"
import { around } from "./internal/modelCall.ts"
import * as ModelEdge from "./internal/modelEdge.ts"
import { refusedBy } from "./internal/modelRefusal.ts"
import type * as Pricing from "./Pricing.ts"

/**
 * What a budgeted embedding model is told of the model that it is around.
 *
 * @example
 * ```ts
 * import type * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
 *
 * const options: BudgetedEmbeddingModel.Options = { model: "text-embedding-3-small" }
 * console.log(options.model) // text-embedding-3-small
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
   * By what of their contexts calls of `embed` may share one request, as in `EmbeddingModel.make`. Calls on different
   * accounts never share one.
   */
  readonly batchKey?: ((context: Context.Context<never>) => unknown) | undefined
}

/**
 * Puts the budget of the fiber that builds it around a model. Each request is reserved by the length of its inputs and
 * settled by the input tokens that the provider tells; what it does not tell, and what fails, is charged as it is around
 * a language model (`BudgetedLanguageModel.make`), and so are budgeted requests further down: once.
 *
 * Retries inside the inner model are not seen unless its transport is budgeted: put `BudgetedHttpClient` or
 * `BudgetedFetch` below, or have it retry nothing (`maxRetries: 0`). Send all of a model's requests through a budgeted
 * transport, or none.
 *
 * `embed` calls are gathered here, on each account by itself, and reach the model as `embedMany`.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import { Budget, Pricing, Usd } from "agent-budget"
 * import * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
 *
 * const model = EmbeddingModel.make({
 *   embedMany: ({ inputs }) => Effect.succeed({
 *     results: inputs.map(() => [0.1, 0.2]), usage: { inputTokens: inputs.length * 3 }
 *   })
 * })
 * const program = Effect.gen(function*() {
 *   const budgeted = yield* BudgetedEmbeddingModel.make(yield* model, { model: "text-embedding-3-small" })
 *   yield* budgeted.embedMany(["one text", "another text"])
 *   return Usd.format((yield* Budget.summary).spent)
 * })
 * const layers = Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // $0.00000012
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  model: EmbeddingModel.EmbeddingModel,
  options: Options = {}
): Effect.Effect<EmbeddingModel.EmbeddingModel, never, Budget.Budget | Pricing.Pricing> =>
  Effect.gen(function* () {
    const edge = yield* ModelEdge.make(options.model)
    const embedMany = (inputs: ReadonlyArray<string>) =>
      Effect.withFiber(({ context }) => {
        const name = ModelEdge.modelOf(edge, context, "EmbeddingModel")
        if (Result.isFailure(name)) return ModelEdge.refuse(edge, name.failure)
        const readings = new EmbeddingReadings()
        const request = { path: "/embeddings", body: { model: name.success, input: inputs }, isStated: true }
        const asked = Effect.tap(model.embedMany(inputs), ({ usage }) =>
          Effect.sync(() => readings.heed(usage.inputTokens))
        )
        return around(edge, { request, readings }, asked)
      })
    return yield* EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.mapError(embedMany(inputs), refusedBy("BudgetedEmbeddingModel", "embedMany")).pipe(
          Effect.map(({ embeddings, usage }) => ({
            results: embeddings.map(({ vector }) => [...vector]),
            usage: { inputTokens: usage.inputTokens }
          }))
        ),
      // What is compared is compared by its parts. Who holds something must not wait with those who hold nothing.
      batchKey: (context) => {
        const whole = placed(context)
        return [
          // Of all budgets: another one may be below.
          Context.get(whole, Places),
          Context.get(whole, Held),
          Context.get(whole, Covering),
          options.batchKey?.(context)
        ]
      }
    })
  })

/**
 * The budget around the embedding model that is provided below.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import { Budget, BudgetExceededError, Pricing, Usd } from "agent-budget"
 * import * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
 *
 * const Plain = Layer.effect(
 *   EmbeddingModel.EmbeddingModel,
 *   EmbeddingModel.make({ embedMany: () => Effect.die("It is never asked.") })
 * )
 * const Budgeted = BudgetedEmbeddingModel.layer({ model: "text-embedding-3-small" }).pipe(Layer.provide(Plain))
 * const refused = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embed("Hello")).pipe(
 *   Effect.flip,
 *   Effect.provide(Budgeted),
 *   Effect.provide(Layer.merge(Budget.layerMemory({ limit: Usd.zero }), Pricing.layer))
 * )
 * console.log(BudgetExceededError.is(await Effect.runPromise(refused))) // true
 * ```
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  EmbeddingModel.EmbeddingModel,
  never,
  EmbeddingModel.EmbeddingModel | Budget.Budget | Pricing.Pricing
> =>
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => make(model, options))
  )
