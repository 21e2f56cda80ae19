/** What the tests of the `effect/ai` faces share: a provider, a budget on watched books, and models over both. */
import { assert } from "@effect/vitest"
import { Budget, BudgetedFetch, BudgetedOpenAi, Ledger, Pricing, Usd } from "agent-budget"
import { Effect, Layer, type Scope } from "effect"
import OpenAI from "openai"
import { assertNeverAbove, prices, watchedLedger, type Verdict } from "./openAi.ts"
import { byClient, type Calling } from "./openAiModel.ts"
import {
  Behaviours,
  SimulatedProvider,
  type Behaviour,
  type Options as ProviderOptions
} from "./SimulatedProvider.ts"

export interface World {
  readonly provider: SimulatedProvider
  readonly budget: Budget.Budget["Service"]
  /** Without a budget. */
  readonly plain: OpenAI
}

export interface WorldOptions {
  readonly budget?: Partial<Budget.Options>
  readonly policy?: BudgetedFetch.PolicyOptions
  readonly provider?: Partial<ProviderOptions>
}

/** A test body with a provider and a budget, closed after it; the books are looked at after each of their steps. */
export const inWorld =
  <E>(
    use: (world: World) => Effect.Effect<void, E, Budget.Budget | Pricing.Pricing | Scope.Scope>,
    options: WorldOptions = {}
  ) =>
  async (): Promise<void> => {
    await using provider = await SimulatedProvider.start({ prices, ...options.provider })
    const { ledger, moments } = watchedLedger()
    const host = new URL(provider.origin).host
    const plain = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 })
    const program = Effect.scoped(Effect.flatMap(Budget.Budget, (budget) => use({ provider, budget, plain })))
    await Effect.runPromise(
      program.pipe(
        Effect.provide(
          Layer.mergeAll(
            Budget.layer({ limit: Usd.dollars("1"), ...options.budget }).pipe(
              Layer.provide(Layer.succeed(Ledger.Ledger, ledger))
            ),
            Pricing.layer,
            BudgetedFetch.layer({ hosts: { [host]: { takesTier: true } }, ...options.policy })
          )
        )
      )
    )
    assertNeverAbove(moments)
  }

/** How a provider answers, and what is then booked: the same for whatever face of the budget sees it. */
export const rows: Readonly<Record<string, readonly [Behaviour, Verdict]>> = {
  "an answer": [{}, "metered"],
  ...Object.fromEntries(
    [400, 401, 403, 404, 413, 422, 429].map((status) => [
      `status ${status}`,
      [Behaviours.status(status), "nothing"]
    ])
  ),
  ...Object.fromEntries(
    [402, 408, 409, 500, 503].map((status) => [
      `status ${status}`,
      [Behaviours.status(status, { billed: true }), "assumed"]
    ])
  ),
  "a connection that is reset": [Behaviours.refuse, "assumed"],
  "a body that is cut": [Behaviours.cutBody(), "assumed"],
  "a body that is not JSON": [Behaviours.malformedJson, "assumed"]
}

/** The ways that a model's provider may send: without a budget of its own, and over each budgeted face. */
export const ways: Readonly<
  Record<string, (world: World) => Effect.Effect<Calling, unknown, Budget.Budget | Pricing.Pricing>>
> = {
  "a plain client": ({ plain }) => Effect.succeed(byClient(plain)),
  "the budgeted service": ({ plain }) => BudgetedOpenAi.make(plain),
  "a wrapped client": ({ plain }) => Effect.map(BudgetedOpenAi.make(plain), ({ client }) => byClient(client)),
  "a budgeted fetch": ({ provider }) =>
    Effect.map(BudgetedFetch.make(), (fetch) =>
      byClient(new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0, fetch }))
    )
}

const turns = (budget: Budget.Budget["Service"]) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < 500 && budget.view().reserved > 0; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })

/** Truth: nothing is held, and what is booked is the bill (metered), at least the bill (assumed), or nothing. */
export const assertBooks = ({ budget, provider }: World, verdict: Verdict) =>
  Effect.gen(function* () {
    yield* Effect.promise(() => provider.idle())
    yield* turns(budget)
    const { byModel, reserved, spent } = budget.view()
    assert.strictEqual(reserved, 0, "still reserved")
    const bill = Number(provider.bill().totalNanoUsd)
    const assumed = Object.values(byModel).reduce((sum, model) => sum + model.assumed, 0)
    if (verdict === "metered") {
      assert.strictEqual(assumed, 0, "assumed")
      assert.isAbove(spent, 0)
      assert.strictEqual(spent, bill)
    } else if (verdict === "assumed") {
      assert.isAbove(assumed, 0)
      assert.strictEqual(assumed, spent)
      assert.isAtLeast(spent, bill)
    } else {
      assert.strictEqual(bill, 0)
      assert.strictEqual(spent, 0)
    }
  })
