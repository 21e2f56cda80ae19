/** The OpenAI Agents SDK over a wrapped client. */
import {
  Agent,
  OpenAIProvider,
  Runner,
  setDefaultOpenAIClient,
  setTracingDisabled,
  tool
} from "@openai/agents"
import { z } from "zod"
import { frameworkSuite } from "./utils/frameworkSuite.ts"

// Nothing leaves the loopback interface.
setTracingDisabled(true)

const weather = tool({
  name: "weather",
  description: "The weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`
})

const agent = new Agent({
  name: "Helper",
  instructions: "Help.",
  model: "gpt-4o-mini",
  modelSettings: { maxTokens: 100 },
  tools: [weather]
})

const signalOf = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal })

frameworkSuite({
  name: "Agents SDK",
  leaves: true,
  face: ({ plain, session }, api) => {
    const runnerOf = (retries: "its own" | "none"): Runner => {
      const client = plain.withOptions({ maxRetries: retries === "none" ? 0 : 2 })
      setDefaultOpenAIClient(session.wrapOpenAI(client))
      // It keeps the default client that it finds: each test has one of its own.
      return new Runner({ modelProvider: new OpenAIProvider({ useResponses: api === "responses" }) })
    }
    return {
      whole: (retries, signal) => runnerOf(retries).run(agent, "Hello there", signalOf(signal)),
      streamed: async (retries, { leaveAfter, onPiece, signal } = {}) => {
        const result = await runnerOf(retries).run(agent, "Hello there", {
          stream: true,
          ...signalOf(signal)
        })
        let pieces = 0
        for await (const event of result) {
          if (event.type !== "raw_model_stream_event") continue
          onPiece?.()
          if (++pieces === leaveAfter) return
        }
        await result.completed
      },
      tools: async (kind) => {
        const runner = runnerOf("its own")
        if (kind === "whole") return runner.run(agent, "The weather in Rome?")
        const result = await runner.run(agent, "The weather in Rome?", { stream: true })
        await result.completed
        return result.finalOutput
      }
    }
  }
})
