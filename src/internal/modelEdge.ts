/** What a budgeted model of `effect/ai` is made of where it is built, and which model answers it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { ModelName } from "effect/ai/Model"
import * as Budget from "../Budget.ts"
import * as BudgetedFetch from "../BudgetedFetch.ts"
import * as BudgetError from "../BudgetError.ts"
import * as Pricing from "../Pricing.ts"
import type * as Quote from "../Quote.ts"
import * as TokenCounter from "../TokenCounter.ts"
import { lasting } from "./callContext.ts"

export interface ModelEdge {
  readonly budget: Budget.Budget["Service"]
  readonly pricing: Pricing.Pricing["Service"]
  readonly counter: TokenCounter.TokenCounter["Service"]
  readonly policy: Quote.Options
  /** The context that it was built in. */
  readonly built: Context.Context<never>
  /** The model that it was told of, or that was named where it was built. */
  readonly model: string | undefined
}

const nameIn = (context: Context.Context<never>): string | undefined =>
  Option.getOrUndefined(Context.getOption(context, ModelName))

/** The budget and the policy of the fiber that builds it, around the model that is said. */
export const make = (
  model: string | undefined
): Effect.Effect<ModelEdge, never, Budget.Budget | Pricing.Pricing> =>
  Effect.gen(function* () {
    const built = yield* Effect.context()
    return {
      budget: yield* Budget.Budget,
      pricing: yield* Pricing.Pricing,
      policy: yield* BudgetedFetch.Policy,
      counter: yield* TokenCounter.orShared,
      built: lasting(built),
      model: model ?? nameIn(built)
    }
  })

/** The model that answers: of an edge that was built without a name, the one that the fiber that calls has. */
export const modelOf = (
  { model }: ModelEdge,
  context: Context.Context<never>,
  service: "LanguageModel" | "EmbeddingModel"
): Result.Result<string, BudgetError.BudgetError> => {
  const name = model ?? nameIn(context)
  if (name !== undefined) return Result.succeed(name)
  const unnamed = new BudgetError.UnboundedRequest({
    endpoint: service,
    detail: "it is not told which model answers.",
    fix: `Say it: Budgeted${service}.layer({ model: "..." }).`
  })
  return Result.fail(BudgetError.because(unnamed))
}

/** Counts a refusal, and fails with it. */
export const refuse = (
  { budget }: ModelEdge,
  error: BudgetError.BudgetError
): Effect.Effect<never, BudgetError.BudgetError> => Effect.andThen(budget.refuse(error), Effect.fail(error))
