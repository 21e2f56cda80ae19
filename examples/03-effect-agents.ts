/**
 * Agents as Effects: each on an account of its own, all under one budget, with a tool that has a price too:
 *
 *     npx node --conditions=agent-budget-source examples/03-effect-agents.ts
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Provider from "./utils/provider.ts"
import * as Simulation from "./utils/simulation.ts"

/** A call that ends with its Promise. */
const plan = Effect.fnUntraced(function* (topic: string) {
  const openai = yield* BudgetedOpenAi.BudgetedOpenAi
  const answer = yield* openai.use((client, signal) =>
    client.chat.completions.create(
      { model: "gpt-4o-mini", messages: [{ role: "user", content: `Plan an article about ${topic}.` }] },
      { signal }
    )
  )
  return answer.choices[0]?.message.content ?? ""
})

/** A stream: its reservation lives as long as it does. */
const write = (outline: string) =>
  Stream.unwrap(
    Effect.map(BudgetedOpenAi.BudgetedOpenAi, (openai) =>
      openai.stream((client, signal) =>
        client.chat.completions.create(
          {
            model: "gpt-4o",
            stream: true,
            max_completion_tokens: 800,
            messages: [{ role: "user", content: `Write it: ${outline}` }]
          },
          { signal }
        )
      )
    )
  )

/** Anything with a price fits the same budget: here a search at a fixed fee. */
const search = (topic: string) =>
  Effect.succeed(`three sources on ${topic}`).pipe(
    Budget.withBudget({ quote: Usd.dollars("0.004"), cost: () => Usd.dollars("0.004"), label: "search" })
  )

const agent = (topic: string) =>
  Effect.gen(function* () {
    const sources = yield* search(topic)
    const outline = yield* plan(`${topic}, from ${sources}`)
    const chunks = yield* Stream.runCount(write(outline))
    return `${chunks} chunks`
  }).pipe(
    Budget.track,
    Effect.map(({ spent, value }) => `${topic}: ${value} for ${Usd.format(spent)}`),
    Effect.catchReason("BudgetError", "BudgetExceeded", (reason) =>
      Effect.succeed(`${topic}: stopped at ${Usd.format(reason.limit)} on ${reason.account}`)
    ),
    // The limit holds for all that the agent does; the root's limit holds for all agents.
    Budget.within({ account: topic, limit: Usd.dollars(topic === "rivers" ? "0.005" : "0.02") })
  )

const program = Effect.gen(function* () {
  const lines = yield* Effect.forEach(["bees", "rivers", "maps"], agent, { concurrency: "unbounded" })
  for (const line of lines) console.log(line)
  const { limit, remaining, spent } = yield* Budget.summary
  console.log(`${Usd.format(spent)} of ${Usd.format(limit)} spent, ${Usd.format(remaining)} left`)
  console.log(
    "The provider bills the calls of its models; the three searches, at $0.012, are in our books alone."
  )
  yield* Books.show
})

const Live = Provider.layerClient.pipe(
  Layer.provideMerge(Provider.layerSimulated(Simulation.startWriter)),
  Layer.provideMerge(Budget.layerMemory({ limit: Usd.dollars("0.10") })),
  Layer.provide(Pricing.layer)
)

NodeRuntime.runMain(Effect.provide(program, Live))
