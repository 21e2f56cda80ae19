/** LangChain over `session.fetch`. */
import { HumanMessage, type AIMessageChunk, type BaseMessage } from "@langchain/core/messages"
import { tool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { z } from "zod"
import { frameworkSuite, type Api } from "./utils/frameworkSuite.ts"
import type { Setup } from "./utils/openAi.ts"

const modelOf = ({ provider, session }: Setup, api: Api, retries: "its own" | "none"): ChatOpenAI =>
  new ChatOpenAI({
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
