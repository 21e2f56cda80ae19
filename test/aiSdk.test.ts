/** The Vercel AI SDK over `session.fetch`. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, isStepCount, streamText, tool } from "ai"
import { z } from "zod"
import { frameworkSuite, type Api } from "./utils/frameworkSuite.ts"
import type { Setup } from "./utils/openAi.ts"

const modelOf = ({ provider, session }: Setup, api: Api) => {
  const openai = createOpenAI({ baseURL: provider.baseURL, apiKey: "none", fetch: session.fetch })
  return api === "chat" ? openai.chat("gpt-4o-mini") : openai.responses("gpt-4o-mini")
}

const retriesOf = (retries: "its own" | "none") => (retries === "none" ? { maxRetries: 0 } : {})

const weather = tool({
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`
})

const common = { prompt: "Hello there", maxOutputTokens: 100 }

frameworkSuite({
  name: "AI SDK",
  leaves: false,
  face: (setup, api) => {
    const model = modelOf(setup, api)
    return {
      whole: (retries, signal) =>
        generateText({
          model,
          ...common,
          ...retriesOf(retries),
          ...(signal === undefined ? {} : { abortSignal: signal })
        }),
      streamed: async (retries, { leaveAfter, onPiece, signal } = {}) => {
        let failure: unknown
        const { textStream } = streamText({
          model,
          ...common,
          ...retriesOf(retries),
          ...(signal === undefined ? {} : { abortSignal: signal }),
          onError: ({ error }) => void (failure = error)
        })
        let pieces = 0
        for await (const _ of textStream) {
          onPiece?.()
          if (++pieces === leaveAfter) break
        }
        if (failure !== undefined) throw new Error("The stream failed.", { cause: failure })
      },
      tools: (kind) => {
        const asked = { model, ...common, tools: { weather }, stopWhen: isStepCount(3) }
        return kind === "whole" ? generateText(asked) : Promise.resolve(streamText(asked).consumeStream())
      }
    }
  }
})
