/** Models that are scripts, and what they send below. */
import { assert } from "@effect/vitest"
import { Budget, BudgetedFetch, Pricing, Usd } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Effect, Layer, Stream } from "effect"
import { AiError, LanguageModel, type Response as Parts } from "effect/ai"

export const options = { model: "gpt-4o-mini", maxOutputTokens: 100 }
export const url = "https://api.openai.com/v1/chat/completions"

export const live = (given: Partial<Budget.Options> = {}) =>
  Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1"), ...given }), Pricing.layer)
export const Live = live()

/** gpt-4o-mini: $0.15 and $0.60 a million. */
export const nanos = (input: number, output: number): number => input * 150 + output * 600

export const text: Parts.TextPartEncoded = { type: "text", text: "Hi" }
export const finishOf = (input: number, output: number): Parts.FinishPartEncoded => ({
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: input }, outputTokens: { total: output } }
})
export const finish = finishOf(10, 5)
export const heard: ReadonlyArray<Parts.StreamPartEncoded> = [
  { type: "text-start", id: "0" },
  { type: "text-delta", id: "0", delta: "Hi" }
]

export const errorOf = (reason: AiError.AiErrorReason) =>
  AiError.make({ module: "Script", method: "x", reason })
export const limited = errorOf(new AiError.RateLimitError({}))

export const answer = (model: string, prompt_tokens = 10, completion_tokens = 5): Response =>
  Response.json({ model, choices: [], usage: { prompt_tokens, completion_tokens } })
export const tooMany = (): Response => new Response("{}", { status: 429 })
export const askedOf = (model: string, most = 50) => ({
  model,
  max_completion_tokens: most,
  messages: [{ role: "user", content: "Hello" }]
})
export const bodyOf = (model: string, most = 50): RequestInit => ({
  method: "POST",
  body: JSON.stringify(askedOf(model, most))
})

/** Sends and reads, and does not mind how it is answered. */
export const ask = async (fetch: BudgetedFetch.Fetch, model: string, most = 50): Promise<void> => {
  await (await fetch(url, bodyOf(model, most))).text()
}

export const saying = (generateText: Effect.Effect<Array<Parts.PartEncoded>, AiError.AiError>) =>
  LanguageModel.make({ generateText: () => generateText, streamText: () => Stream.empty })
export const streaming = (streamText: Stream.Stream<Parts.StreamPartEncoded, AiError.AiError>) =>
  LanguageModel.make({ generateText: () => Effect.die("It is never asked."), streamText: () => streamText })

export const booksOf = ({ view }: Budget.Budget["Service"]) => {
  const { calls, reserved, spent } = view()
  return { calls, reserved: Number(reserved), spent: Number(spent) }
}

/** The part of what is booked that no provider confirmed. */
export const assumedOf = ({ view }: Budget.Budget["Service"]): number =>
  Object.values(view().byModel).reduce((sum, { assumed }) => sum + assumed, 0)

/** gpt-4o and its dated row: $2.50 and $10 a million, $5 and $15. */
export const large = (input: number, output: number): number => input * 2_500 + output * 10_000
export const dated = (input: number, output: number): number => input * 5_000 + output * 15_000

/** A `fetch` that is answered by these, in turn. */
export const answered = (...answers: ReadonlyArray<() => Response>) => {
  let sent = 0
  return BudgetedFetch.make({
    fetch: () => Promise.resolve(answers[Math.min(sent++, answers.length - 1)]?.() ?? tooMany())
  })
}

export type Ending = Effect.Effect<Array<Parts.PartEncoded>, AiError.AiError>
export const ends = (...parts: ReadonlyArray<Parts.FinishPartEncoded>): Ending =>
  Effect.succeed([text, ...parts])

/** The books after a call of a model that runs `first` and ends like this. */
export const booked = (
  first: Effect.Effect<unknown, AiError.AiError, Budget.Budget>,
  end: Ending,
  given: BudgetedLanguageModel.Options = options
) =>
  Effect.gen(function* () {
    const budget = yield* Budget.Budget
    const sends = Effect.provideService(first, Budget.Budget, budget)
    const model = yield* BudgetedLanguageModel.make(yield* saying(Effect.andThen(sends, end)), given)
    yield* Effect.exit(model.generateText({ prompt: "Hello" }))
    const { calls, reserved, spent } = booksOf(budget)
    assert.strictEqual(reserved, 0)
    return { calls, spent, assumed: assumedOf(budget) }
  })
