/** A provider that is a function: for what no server would answer, and for what must never reach one. */
import { assert } from "@effect/vitest"
import { Budget, BudgetError, BudgetedFetch, BudgetedSession, Pricing, Usd } from "agent-budget"
import { Effect, Layer } from "effect"
import OpenAI from "openai"
import { assumedNano, reservedNano, settled, spentNano } from "./openAi.ts"

export const chat = "https://api.openai.com/v1/chat/completions"

export const tagOf = (error: unknown): string => BudgetError.find(error)?.reason._tag ?? String(error)

export const usage = { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 }
export const answer = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 0,
  model: "gpt-4o-mini",
  choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
  usage
}
/** gpt-4o-mini: $0.15 and $0.60 a million. */
export const nanoOf = (input: number, output: number): number => input * 150 + output * 600

export const chunk = (fields: object) => ({
  id: "c",
  object: "chat.completion.chunk",
  model: "gpt-4o-mini",
  ...fields
})
export const delta = { choices: [{ index: 0, delta: { content: "word " }, finish_reason: null }] }
export const sse = (...events: ReadonlyArray<object | string>): string =>
  events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("")
export const events = (text: string): Response =>
  new Response(text, { headers: { "content-type": "text/event-stream" } })

export type Sent = ReadonlyArray<{ readonly url: string; readonly init: RequestInit }>

/** A `fetch` that writes down what it is asked, and answers the same each time. */
export const stub = (respond: () => Response | Promise<Response>) => {
  const sent: Array<{ url: string; init: RequestInit }> = []
  const fetch: BudgetedFetch.Fetch = (input, init) => {
    sent.push({ url: input instanceof Request ? input.url : input.toString(), init: { ...init } })
    return Promise.resolve(respond())
  }
  return { fetch, sent: sent as Sent }
}

export type SessionOptions = Partial<ConstructorParameters<typeof BudgetedSession>[0]>

/** One call under a session of its own, which is closed after it. */
export const under = async (
  respond: () => Response | Promise<Response>,
  use: (client: OpenAI, session: BudgetedSession, sent: Sent) => Promise<void>,
  options: SessionOptions = {},
  baseURL?: string
): Promise<void> => {
  const { fetch, sent } = stub(respond)
  const session = new BudgetedSession({ budgetUsd: 1, ...options })
  try {
    const plain = new OpenAI({ apiKey: "none", maxRetries: 2, fetch, ...(baseURL ? { baseURL } : {}) })
    await use(session.wrapOpenAI(plain), session, sent)
  } finally {
    await session.close({ waitAtMost: 0 })
  }
}

/** The books after one call: metered at this much. */
export const assertMetered = async (session: BudgetedSession, nano: number): Promise<void> => {
  await settled(session)
  assert.strictEqual(reservedNano(session), 0)
  assert.strictEqual(assumedNano(session), 0)
  assert.strictEqual(spentNano(session), nano)
}

/** The books after one call: its whole reservation. */
export const assertWhole = async (session: BudgetedSession): Promise<void> => {
  await settled(session)
  assert.strictEqual(reservedNano(session), 0)
  assert.isAbove(spentNano(session), nanoOf(10, 20))
  assert.strictEqual(assumedNano(session), spentNano(session))
}

/** A `fetch` with a budget around a stub, inside the test's own runtime. */
export const fetching = <A>(
  respond: () => Response | Promise<Response>,
  use: (fetch: BudgetedFetch.Fetch, sent: Sent) => Effect.Effect<A, BudgetError.BudgetError, Budget.Budget>,
  policy: BudgetedFetch.PolicyOptions = {},
  options: Partial<Budget.Options> = {}
) =>
  Effect.suspend(() => {
    const { fetch, sent } = stub(respond)
    return Effect.flatMap(BudgetedFetch.make({ fetch, refusal: "throw" }), (budgeted) => use(budgeted, sent))
  }).pipe(
    Effect.provide(
      Layer.mergeAll(
        Budget.layerMemory({ limit: Usd.dollars("10"), ...options }),
        Pricing.layer,
        BudgetedFetch.layer(policy)
      )
    )
  )
