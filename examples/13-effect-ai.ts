/**
 * An agent of `effect/ai` with a toolkit, under a budget of a session that plain clients spend from too:
 *
 *     npx node --conditions=agent-budget-source examples/13-effect-ai.ts
 *
 * `BudgetedLanguageModel.layer` goes around any `LanguageModel`; here around the small one of the tests. Nothing is held
 * while a tool runs: each turn of the model is a call of its own.
 */
import { Effect, Layer, Schema } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { byClient, languageModel } from "../test/utils/openAiModel.ts"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.startWithTools({ tide: { harbour: "Cuxhaven" } })
const session = new BudgetedSession({
  budgetUsd: "0.01",
  hosts: { [new URL(provider.baseURL).host]: {} }
})
const plain = new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" })

const Tides = Toolkit.make(
  Tool.make("tide", {
    description: "When the water is high in a harbour.",
    parameters: Schema.Struct({ harbour: Schema.String }),
    success: Schema.String
  })
)
const TidesLive = Tides.toLayer({
  tide: ({ harbour }) => Effect.succeed(`high water in ${harbour} at 14:20`)
})

const Model = BudgetedLanguageModel.layer({
  model: "gpt-4o",
  maxOutputTokens: 300,
  api: "/chat/completions"
}).pipe(
  Layer.provide(
    Layer.effect(
      LanguageModel.LanguageModel,
      languageModel(byClient(plain), { model: "gpt-4o", maxTokens: 300 })
    )
  ),
  Layer.provide(session.layer)
)

/** Talks until there is no tool left to run. */
const ask = Effect.fnUntraced(function* (question: string) {
  const chat = yield* Chat.empty
  let turns = 1
  let answer = yield* chat.generateText({ prompt: question, toolkit: Tides })
  for (; answer.toolCalls.length > 0; turns++)
    answer = yield* chat.generateText({ prompt: [], toolkit: Tides })
  return turns
})

const agent = Effect.gen(function* () {
  for (let question = 1; ; question++) {
    console.log(`question ${question}: ${yield* ask("When can we sail from Cuxhaven?")} turns`)
  }
}).pipe(Effect.provide(Layer.merge(Model, TidesLive)))

try {
  await session.within({ account: "effect" }, () => Effect.runPromise(agent))
} catch (error) {
  if (!BudgetExceededError.is(error)) throw error
  console.log(`refused: ${session.getSummary().refused}, and never tried again`)
}

await session.close()
Books.print(session, provider)
