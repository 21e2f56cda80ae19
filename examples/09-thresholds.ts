/**
 * Thresholds and a pause: someone is told at half of the budget, the agents stop at four fifths, and go on when a person
 * has raised the limit:
 *
 *     npx node --conditions=agent-budget-source examples/09-thresholds.ts
 */
import { NodeRuntime } from "@effect/platform-node"
import { Deferred, Effect, Layer, Stream } from "effect"
import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Provider from "./utils/provider.ts"
import * as Simulation from "./utils/simulation.ts"

const ask = Effect.gen(function* () {
  const openai = yield* BudgetedOpenAi.BudgetedOpenAi
  yield* openai.use((client, signal) =>
    client.chat.completions.create(
      {
        model: "gpt-4o",
        max_completion_tokens: 400,
        messages: [{ role: "user", content: "And what comes next?" }]
      },
      { signal }
    )
  )
})

/** Asks until nothing is admitted any more, and says why. */
const agent = ask.pipe(
  Effect.andThen(Effect.sleep("20 millis")),
  Effect.forever,
  Effect.catchReason("BudgetError", "AccountPaused", (reason) => Effect.succeed(reason.message)),
  Effect.catchReason("BudgetError", "BudgetExceeded", (reason) => Effect.succeed(reason.message))
)

const program = Effect.gen(function* () {
  const paused = yield* Deferred.make<true>()
  yield* Budget.events.pipe(
    Stream.filter((event) => event._tag === "ThresholdCrossed"),
    Stream.runForEach(({ limit, spent, threshold }) => {
      console.log(`${threshold * 100} %: ${Usd.format(spent)} of ${Usd.format(limit)} spent`)
      const pause = Effect.asVoid(Effect.andThen(Budget.pause, Deferred.succeed(paused, true)))
      return threshold < 0.8 ? Effect.void : pause
    }),
    Effect.forkScoped({ startImmediately: true })
  )
  console.log(`the agent: ${yield* agent}`)
  yield* Deferred.await(paused)
  console.log("a person: another cent, and go on")
  yield* Budget.setLimit(Usd.dollars("0.05"))
  yield* Budget.resume
  console.log(`the agent: ${yield* agent}`)
  yield* Books.show
})

const Live = Provider.layerClient.pipe(
  Layer.provideMerge(Provider.layerSimulated(Simulation.start)),
  Layer.provideMerge(Budget.layerMemory({ limit: Usd.dollars("0.04"), thresholds: [0.5, 0.8] })),
  Layer.provide(Pricing.layer)
)

NodeRuntime.runMain(Effect.scoped(program).pipe(Effect.provide(Live)))
