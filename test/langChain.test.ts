/** LangChain over `session.fetch`. */
import { HumanMessage, type AIMessageChunk, type BaseMessage } from "@langchain/core/messages"
import { tool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { BudgetExceededError } from "agent-budget"
import { assert, it } from "vitest"
import { z } from "zod"
import { frameworkSuite, type Api } from "./utils/frameworkSuite.ts"
import { withSession, type Setup } from "./utils/openAi.ts"

const modelOf = (
  { provider, session }: Setup,
  api: Api,
  retries: "its own" | "none",
  options: { readonly maxConcurrency?: number } = {}
): ChatOpenAI =>
  new ChatOpenAI({
    ...options,
    model: "gpt-4o-mini",
    apiKey: "none",
    maxTokens: 100,
    useResponsesApi: api === "responses",
    configuration: { baseURL: provider.baseURL, fetch: session.fetch },
    ...(retries === "none" ? { maxRetries: 0 } : {})
  })

const weather = tool(({ city }: { city: string }) => `sunny in ${city}`, {
  name: "weather",
  description: "The weather of a city.",
  schema: z.object({ city: z.string() })
})

/** The pieces of a streamed answer as one. */
const joined = async (stream: Promise<AsyncIterable<AIMessageChunk>>): Promise<AIMessageChunk> => {
  let whole: AIMessageChunk | undefined
  for await (const piece of await stream) whole = whole === undefined ? piece : whole.concat(piece)
  if (whole === undefined) throw new Error("An answer without a piece.")
  return whole
}

const signalOf = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal })

frameworkSuite({
  name: "LangChain",
  leaves: true,
  face: (setup, api) => ({
    whole: (retries, signal) => modelOf(setup, api, retries).invoke("Hello there", signalOf(signal)),
    streamed: async (retries, { leaveAfter, onPiece, signal } = {}) => {
      const stream = await modelOf(setup, api, retries).stream("Hello there", signalOf(signal))
      let pieces = 0
      for await (const _ of stream) {
        onPiece?.()
        if (++pieces === leaveAfter) break
      }
    },
    tools: async (kind) => {
      const model = modelOf(setup, api, "its own").bindTools([weather])
      const messages: Array<BaseMessage> = [new HumanMessage("The weather in Rome?")]
      for (;;) {
        const answer = kind === "whole" ? await model.invoke(messages) : await joined(model.stream(messages))
        messages.push(answer)
        if (answer.tool_calls === undefined || answer.tool_calls.length === 0) return answer.content
        for (const call of answer.tool_calls)
          messages.push(await weather.invoke({ ...call, type: "tool_call" }))
      }
    }
  })
})

it(
  "LangChain with a queue of its own: each account pays for the client that was made inside it, and for no other",
  withSession(async (setup) => {
    const spent = new Map<string, number>()
    const askAll = (account: string, budgetUsd: string) =>
      setup.session.within({ account, budgetUsd }, async () => {
        const model = modelOf(setup, "chat", "none", { maxConcurrency: 1 })
        const answers = await Promise.allSettled(["a", "b", "c"].map((text) => model.invoke(text)))
        spent.set(account, (await setup.session.balance()).spentUsd)
        return answers
      })
    const [ann, bob] = await Promise.all([askAll("ann", "0.5"), askAll("bob", "0.0000001")])
    assert.isTrue(ann.every(({ status }) => status === "fulfilled"))
    assert.isTrue(bob.every((each) => each.status === "rejected" && BudgetExceededError.is(each.reason)))
    assert.strictEqual(setup.provider.requests.length, 3)
    assert.strictEqual(spent.get("bob"), 0)
    assert.strictEqual(spent.get("ann"), setup.session.getTotalSpent())
  })
)
