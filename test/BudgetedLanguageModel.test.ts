import { assert, describe, it } from "@effect/vitest"
import { BudgetExceededError, Usd } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Effect, Fiber, Schema, Stream } from "effect"
import { Tool, Toolkit, type AiError, type LanguageModel } from "effect/ai"
import { assertBooks, inWorld, rows, ways, type World } from "./utils/modelWorld.ts"
import { languageModel, type ModelConfig } from "./utils/openAiModel.ts"
import { Behaviours, Gate, type Behaviour } from "./utils/SimulatedProvider.ts"
import type { Verdict } from "./utils/openAi.ts"

const options = { model: "gpt-4o-mini", maxOutputTokens: 100, api: "/chat/completions" } as const
const config: ModelConfig = { maxTokens: 100 }

/** A budgeted model over one of the ways to send. */
const modelOver = (way: string, world: World, given: BudgetedLanguageModel.Options = options) =>
  Effect.gen(function* () {
    const calling = yield* ways[way]?.(world) ?? Effect.die(`no way is ${way}`)
    return yield* BudgetedLanguageModel.make(yield* languageModel(calling, config), given)
  })

/** What a call ends with, and what is then booked. */
const row = (
  way: string,
  behaviour: Behaviour,
  verdict: Verdict,
  call: (model: LanguageModel.LanguageModel) => Effect.Effect<unknown, unknown>
) =>
  inWorld((world) =>
    Effect.gen(function* () {
      const model = yield* modelOver(way, world)
      world.provider.next(behaviour)
      yield* Effect.ignore(call(model))
      yield* assertBooks(world, verdict)
      assert.strictEqual(world.provider.requests.length, 1)
    })
  )

type Call = (model: LanguageModel.LanguageModel) => Effect.Effect<unknown, AiError.AiError>
const whole: Call = (model) => model.generateText({ prompt: "Hello there" })
const read: Call = (model) => Stream.runCollect(model.streamText({ prompt: "Hello there" }))

const answers: typeof rows = {
  ...rows,
  "an answer with cached input": [{ cachedTokens: 3 }, "metered"],
  "an answer at another tier": [{ tier: "priority" }, "metered"],
  "an answer without usage": [Behaviours.usageMissing, "assumed"],
  "an answer with a usage of zeros": [Behaviours.usageZero, "assumed"]
}

const streamRows: typeof rows = {
  "a stream": [{}, "metered"],
  "a stream that is refused": [Behaviours.status(429), "nothing"],
  "a stream that the server fails": [Behaviours.status(500, { billed: true }), "assumed"],
  "a stream that is cut": [Behaviours.streamCut(2), "assumed"],
  "a stream that tells an error": [Behaviours.streamError(2), "assumed"],
  "a stream without usage": [Behaviours.usageMissing, "assumed"]
}

const Weather = Toolkit.make(
  Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
)
const asksForWeather: Behaviour = { toolCalls: [{ name: "weather", arguments: '{"city":"Rome"}' }] }

/** The results of the tools that an answer asked for. */
const agents = {
  whole: (model: LanguageModel.LanguageModel) =>
    model
      .generateText({ prompt: "The weather in Rome?", toolkit: Weather })
      .pipe(Effect.map(({ toolResults }) => toolResults.map(({ result }) => result))),
  streamed: (model: LanguageModel.LanguageModel) =>
    Stream.runCollect(model.streamText({ prompt: "The weather in Rome?", toolkit: Weather })).pipe(
      Effect.map((parts) => parts.flatMap((part) => (part.type === "tool-result" ? [part.result] : [])))
    )
}

for (const way of Object.keys(ways)) {
  describe(`a budgeted model over ${way}`, () => {
    for (const [name, [behaviour, verdict]] of Object.entries(answers)) {
      it(`${name} is charged once: ${verdict}`, row(way, behaviour, verdict, whole))
    }

    for (const [name, [behaviour, verdict]] of Object.entries(streamRows)) {
      it(`${name} is charged once: ${verdict}`, row(way, behaviour, verdict, read))
    }

    it(
      "a stream that its reader leaves is charged whole",
      inWorld((world) =>
        Effect.gen(function* () {
          const model = yield* modelOver(way, world)
          const gate = new Gate()
          gate.release(5)
          world.provider.next(Behaviours.stepped(gate))
          yield* Stream.runDrain(Stream.take(model.streamText({ prompt: "Hello there" }), 3))
          yield* assertBooks(world, "assumed")
        })
      )
    )

    it(
      "a stream that its reader leaves once it has told its usage is charged that",
      row(way, {}, "metered", (model) =>
        Stream.runDrain(
          Stream.takeUntil(model.streamText({ prompt: "Hello there" }), ({ type }) => type === "finish")
        )
      )
    )

    it(
      "ECONNREFUSED is charged nothing",
      inWorld((world) =>
        Effect.gen(function* () {
          const model = yield* modelOver(way, world)
          yield* Effect.promise(() => world.provider.unplug())
          yield* Effect.flip(whole(model))
          yield* assertBooks(world, "nothing")
        })
      )
    )

    for (const [name, call] of [
      ["a call", whole],
      ["a stream", read]
    ] as const) {
      it(
        `${name} that is interrupted is charged whole`,
        inWorld((world) =>
          Effect.gen(function* () {
            const model = yield* modelOver(way, world)
            world.provider.next(Behaviours.hangBeforeHeaders)
            const fiber = yield* Effect.forkChild(call(model))
            yield* Effect.promise(() => world.provider.arrived(1))
            yield* Fiber.interrupt(fiber)
            yield* assertBooks(world, "assumed")
          })
        )
      )

      it(
        `${name} that does not fit is refused, recognised and not sent`,
        inWorld(
          (world) =>
            Effect.gen(function* () {
              const model = yield* modelOver(way, world)
              const error = yield* Effect.flip(call(model))
              assert.isTrue(BudgetExceededError.is(error))
              assert.isFalse(error.isRetryable)
              assert.include(error.message, "Budget exceeded on account")
              yield* assertBooks(world, "nothing")
              assert.strictEqual(world.provider.requests.length, 0)
              assert.strictEqual(world.budget.view().refused, 1)
            }),
          { budget: { limit: Usd.dollars("0.00001") } }
        )
      )
    }

    it(
      "an object is charged once, and decoded as the model decodes it",
      inWorld((world) =>
        Effect.gen(function* () {
          const model = yield* modelOver(way, world)
          world.provider.next({ text: '{"city":"Rome","days":"3"}' })
          const Trip = Schema.Struct({ city: Schema.String, days: Schema.NumberFromString })
          const { value } = yield* model.generateObject({ prompt: "A trip", schema: Trip })
          assert.deepStrictEqual(value, { city: "Rome", days: 3 })
          yield* assertBooks(world, "metered")
        })
      )
    )

    it(
      "an answer that is no such object is charged what it cost",
      inWorld((world) =>
        Effect.gen(function* () {
          const model = yield* modelOver(way, world)
          world.provider.next({ text: "Rome" })
          const error = yield* Effect.flip(
            model.generateObject({ prompt: "A trip", schema: Schema.Struct({ city: Schema.String }) })
          )
          assert.strictEqual(error.reason._tag, "StructuredOutputError")
          yield* assertBooks(world, "metered")
        })
      )
    )

    for (const [name, ask] of Object.entries(agents)) {
      it(
        `each round trip has a reservation of its own, which is not held while tools run (${name})`,
        inWorld((world) =>
          Effect.gen(function* () {
            const model = yield* modelOver(way, world)
            const held: Array<number> = []
            const handlers = Weather.toHandlers({
              weather: ({ city }) =>
                Effect.gen(function* () {
                  // The provider's own end has to come first: a stream's is a turn away.
                  yield* Effect.promise(() => world.provider.idle())
                  yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
                  held.push(world.budget.view().reserved)
                  return `sunny in ${city}`
                })
            })
            world.provider.next(asksForWeather)
            const results = yield* Effect.provide(ask(model), yield* handlers)
            assert.deepStrictEqual(results, ["sunny in Rome"])
            assert.deepStrictEqual(held, [0])
            assert.isAbove(world.budget.view().spent, 0)
            yield* ask(model).pipe(Effect.provide(yield* handlers))
            assert.strictEqual(world.budget.view().calls, 2)
            yield* assertBooks(world, "metered")
          })
        )
      )
    }
  })
}
