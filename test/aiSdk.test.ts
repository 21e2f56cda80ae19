/** The Vercel AI SDK over `session.fetch`. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, isStepCount, streamText, tool } from "ai"
import { BudgetExceededError } from "agent-budget"
import { assert, it } from "vitest"
import { z } from "zod"
import { frameworkSuite, type Api } from "./utils/frameworkSuite.ts"
import { withSession, type Setup } from "./utils/openAi.ts"

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

it(
  "a stream of the AI SDK tells a refusal to onError and in its stream, and nowhere else",
  withSession(
    async (setup) => {
      const told: Array<unknown> = []
      const { stream } = streamText({
        model: modelOf(setup, "chat"),
        ...common,
        onError: ({ error }) => void told.push(error)
      })
      for await (const part of stream) if (part.type === "error") told.push(part.error)
      assert.lengthOf(told, 2)
      assert.isTrue(told.every((error) => BudgetExceededError.is(error)))
      const { text } = streamText({ model: modelOf(setup, "chat"), ...common, onError: () => undefined })
      const thrown = await Promise.resolve(text).then(
        () => undefined,
        (error: unknown) => error
      )
      assert.instanceOf(thrown, Error)
      assert.isFalse(BudgetExceededError.is(thrown))
      assert.strictEqual(setup.provider.requests.length, 0)
    },
    { budgetUsd: "0.0000001" }
  )
)
