/** Models that are scripts, and what they send below. */
import { Budget, Pricing, Usd, type BudgetedFetch } from "agent-budget"
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
