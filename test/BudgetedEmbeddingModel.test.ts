import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, BudgetExceededError, Ledger, Pricing, Usd } from "agent-budget"
import * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
import { Effect, Exit, Fiber, Layer } from "effect"
import { type AiError, EmbeddingModel } from "effect/ai"
import { assertBooks, inWorld, rows, ways, type World } from "./utils/modelWorld.ts"
import { embeddingModel } from "./utils/openAiModel.ts"
import { isRecord } from "./utils/providerBill.ts"
import { Behaviours } from "./utils/SimulatedProvider.ts"

const model = "text-embedding-3-small"

const modelOver = (way: string, world: World) =>
  Effect.gen(function* () {
    const calling = yield* ways[way]?.(world) ?? Effect.die(`no way is ${way}`)
    return yield* BudgetedEmbeddingModel.make(yield* embeddingModel(calling, model), { model })
  })

type Call = (model: EmbeddingModel.EmbeddingModel) => Effect.Effect<unknown, AiError.AiError>
const many: Call = (embedding) => embedding.embedMany(["Hello there", "General"])
const one: Call = (embedding) => embedding.embed("Hello there")

const answers: typeof rows = {
  ...rows,
  "an answer with a usage of zeros": [Behaviours.usageZero, "assumed"]
}

for (const way of Object.keys(ways)) {
  describe(`a budgeted embedding model over ${way}`, () => {
    for (const [name, [behaviour, verdict]] of Object.entries(answers)) {
      for (const [kind, call] of Object.entries({ embed: one, embedMany: many })) {
        it(
          `${name} is charged once: ${verdict} (${kind})`,
          inWorld((world) =>
            Effect.gen(function* () {
              const embedding = yield* modelOver(way, world)
              world.provider.next(behaviour)
              yield* Effect.ignore(call(embedding))
              yield* assertBooks(world, verdict)
              assert.strictEqual(world.provider.requests.length, 1)
            })
          )
        )
      }
    }

    it(
      "a call that is interrupted is charged whole",
      inWorld((world) =>
        Effect.gen(function* () {
          const embedding = yield* modelOver(way, world)
          world.provider.next(Behaviours.hangBeforeHeaders)
          const fiber = yield* Effect.forkChild(many(embedding))
          yield* Effect.promise(() => world.provider.arrived(1))
          yield* Fiber.interrupt(fiber)
          yield* assertBooks(world, "assumed")
        })
      )
    )

    it(
      "what does not fit is refused, recognised and not sent",
      inWorld(
        (world) =>
          Effect.gen(function* () {
            const embedding = yield* modelOver(way, world)
            for (const call of [one, many]) {
              const error = yield* Effect.flip(call(embedding))
              assert.isTrue(BudgetExceededError.is(error))
              assert.isFalse(error.isRetryable)
            }
            yield* assertBooks(world, "nothing")
            assert.strictEqual(world.provider.requests.length, 0)
          }),
        { budget: { limit: Usd.nanos(1) } }
      )
    )

    it(
      "texts of one account share a request, and those of another do not: each account pays for its own",
      inWorld((world) =>
        Effect.gen(function* () {
          const embedding = yield* modelOver(way, world)
          const texts = (account: string) =>
            Effect.forEach(["one", "two", "three"], (text) => embedding.embed(`${account} ${text}`), {
              concurrency: "unbounded"
            })
          yield* Budget.open({ account: "ann" })
          yield* Budget.open({ account: "bob" })
          yield* Effect.all(
            ["ann", "bob"].map((account) => Budget.within(texts(account), { account })),
            { concurrency: "unbounded" }
          )
          yield* assertBooks(world, "metered")
          const sizes = world.provider.requests.map(({ body }) =>
            isRecord(body) && Array.isArray(body["input"]) ? body["input"].length : 0
          )
          assert.deepStrictEqual(sizes, [3, 3])
          const balances = yield* Budget.balances
          const spent = new Map(balances.map((balance) => [balance.account, balance.spent]))
          assert.isAbove(spent.get("root/ann") ?? 0, 0)
          assert.isAbove(spent.get("root/bob") ?? 0, 0)
          assert.strictEqual(
            Number(spent.get("root/ann")) + Number(spent.get("root/bob")),
            Number(spent.get("root"))
          )
        })
      )
    )

    it(
      "a text of someone who holds something does not wait with those of others for room that he holds himself",
      inWorld(
        (world) =>
          Effect.gen(function* () {
            const embedding = yield* modelOver(way, world)
            const quote = Usd.dollars("0.001")
            const holding = Budget.withBudget({ quote, cost: () => Usd.zero })
            const [inside, outside] = yield* Effect.all(
              [
                holding(
                  Effect.gen(function* () {
                    // The other one asks first.
                    yield* Effect.yieldNow
                    return yield* Effect.flip(embedding.embed("inside"))
                  })
                ),
                Effect.exit(embedding.embed("outside"))
              ],
              { concurrency: "unbounded" }
            )
            assert.isTrue(BudgetExceededError.is(inside))
            assert.isTrue(Exit.isSuccess(outside))
            assert.strictEqual(world.provider.requests.length, 1)
            assert.strictEqual(world.budget.view().reserved, 0)
          }),
        { budget: { limit: Usd.dollars("0.001"), onExceeded: "wait", waitAtMost: "2 seconds" } }
      )
    )
  })
}

it.effect("texts on different accounts of another budget, which is below, never share a request", () =>
  Effect.gen(function* () {
    const below = yield* Budget.make({ limit: Usd.dollars("1"), account: "below" })
    const usage = { prompt_tokens: 10, total_tokens: 10 }
    const provider = () => Promise.resolve(Response.json({ model, data: [], usage }))
    const fetch = yield* Effect.provideService(BudgetedFetch.make({ fetch: provider }), Budget.Budget, below)
    const ask = async (inputs: ReadonlyArray<string>) => {
      const body = JSON.stringify({ model, input: inputs })
      await (await fetch("https://api.openai.com/v1/embeddings", { method: "POST", body })).text()
      return { results: inputs.map(() => [1]), usage: { inputTokens: 10 } }
    }
    const inner = yield* EmbeddingModel.make({ embedMany: ({ inputs }) => Effect.promise(() => ask(inputs)) })
    const embedding = yield* BudgetedEmbeddingModel.make(inner, { model })
    const spent = yield* Effect.forEach(
      ["ann", "bob"],
      (account) =>
        Effect.andThen(embedding.embed(account), Budget.balance).pipe(
          Budget.within({ account }),
          Effect.provideService(Budget.Budget, below),
          Effect.map((balance) => Number(balance.spent))
        ),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(spent, [200, 200])
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(Budget.layer({ limit: Usd.dollars("1") }), Pricing.layer).pipe(
        Layer.provideMerge(Ledger.layerMemory())
      )
    )
  )
)
