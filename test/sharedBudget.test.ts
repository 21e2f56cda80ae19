/** One budget under agents of every kind at once: it holds, each of them finds out, and none of them tries again. */
import { createOpenAI } from "@ai-sdk/openai"
import { assert, describe, it } from "@effect/vitest"
import { HumanMessage, type BaseMessage } from "@langchain/core/messages"
import { tool as langChainTool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import {
  Agent,
  handoff,
  OpenAIProvider,
  Runner,
  setDefaultOpenAIClient,
  setTracingDisabled,
  tool as agentsTool
} from "@openai/agents"
import { BudgetExceededError } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { generateText, isStepCount, tool } from "ai"
import { Effect, Schema, Stream } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import { z } from "zod"
import { assertBooks, withSession, type Setup } from "./utils/openAi.ts"
import { byClient, languageModel } from "./utils/openAiModel.ts"
import { isRecord } from "./utils/providerBill.ts"
import type { Behaviour, RecordedRequest } from "./utils/SimulatedProvider.ts"

setTracingDisabled(true)

const model = "gpt-4o-mini"
const maxTokens = 50
const question = "What is the weather like in Rome today?"

/** Runs something over and over until it fails; how often it ran, and why it ended. */
const untilRefused = async (run: () => Promise<unknown>): Promise<{ runs: number; error: unknown }> => {
  for (let runs = 0; ; runs++) {
    try {
      await run()
    } catch (error) {
      return { runs, error }
    }
  }
}

const Weather = Toolkit.make(
  Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
)
const WeatherLive = Weather.toLayer({ weather: ({ city }) => Effect.succeed(`sunny in ${city}`) })

const options = { model, maxOutputTokens: maxTokens, api: "/chat/completions" } as const

type EffectAgent = (setup: Setup) => () => Promise<unknown>

/** An agent of `effect/ai` over a client without a budget of its own: the model alone is budgeted. */
const wholeEffectAgent: EffectAgent = ({ plain, session }) => {
  const budgeted = Effect.flatMap(languageModel(byClient(plain), { model, maxTokens }), (inner) =>
    BudgetedLanguageModel.make(inner, options)
  )
  const turn = LanguageModel.generateText({ prompt: question, toolkit: Weather }).pipe(
    Effect.provideServiceEffect(LanguageModel.LanguageModel, budgeted),
    Effect.provide([WeatherLive, session.layer])
  )
  return () => Effect.runPromise(turn)
}

/** The same as a stream, over a budgeted `fetch`: each call is charged once. */
const streamedEffectAgent: EffectAgent = ({ plain, session }) => {
  const client = plain.withOptions({ fetch: session.fetch })
  const budgeted = Effect.flatMap(languageModel(byClient(client), { model, maxTokens }), (inner) =>
    BudgetedLanguageModel.make(inner, options)
  )
  const turn = Stream.runDrain(LanguageModel.streamText({ prompt: question, toolkit: Weather })).pipe(
    Effect.provideServiceEffect(LanguageModel.LanguageModel, budgeted),
    Effect.provide([WeatherLive, session.layer])
  )
  return () => Effect.runPromise(turn)
}

const aiSdkAgent = ({ provider, session }: Setup) => {
  const openai = createOpenAI({ baseURL: provider.baseURL, apiKey: "none", fetch: session.fetch })
  const weather = tool({
    description: "The weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: ({ city }) => `sunny in ${city}`
  })
  return () =>
    generateText({
      model: openai.responses(model),
      prompt: question,
      maxOutputTokens: maxTokens,
      tools: { weather },
      stopWhen: isStepCount(4)
    })
}

const agentsSdkAgent = ({ plain, session }: Setup) => {
  setDefaultOpenAIClient(session.wrapOpenAI(plain.withOptions({ maxRetries: 2 })))
  const weather = agentsTool({
    name: "weather",
    description: "The weather of a city.",
    parameters: z.object({ city: z.string() }),
    execute: ({ city }) => `sunny in ${city}`
  })
  const modelSettings = { maxTokens }
  const expert = new Agent({ name: "expert", instructions: "Know.", model, modelSettings, tools: [weather] })
  const desk = new Agent({
    name: "desk",
    instructions: "Hand over.",
    model,
    modelSettings,
    handoffs: [handoff(expert)]
  })
  const runner = new Runner({ modelProvider: new OpenAIProvider({ useResponses: true }) })
  return async () => {
    const result = await runner.run(desk, question)
    assert.strictEqual(result.lastAgent?.name, "expert")
  }
}

const langChainAgent = ({ provider, session }: Setup) => {
  const weather = langChainTool(({ city }: { city: string }) => `sunny in ${city}`, {
    name: "weather",
    description: "The weather of a city.",
    schema: z.object({ city: z.string() })
  })
  const chat = new ChatOpenAI({
    model,
    apiKey: "none",
    maxTokens,
    configuration: { baseURL: provider.baseURL, fetch: session.fetch }
  }).bindTools([weather])
  return async () => {
    const messages: Array<BaseMessage> = [new HumanMessage(question)]
    for (let calls: number | undefined; calls !== 0;) {
      const answer = await chat.invoke(messages)
      messages.push(answer)
      calls = answer.tool_calls?.length ?? 0
      for (const call of answer.tool_calls ?? []) {
        messages.push(await weather.invoke({ ...call, type: "tool_call" }))
      }
    }
  }
}

/** A model that calls the one tool that it is given, once: the last thing that it was told is then the result. */
const decide = ({ body }: RecordedRequest): Behaviour => {
  if (!isRecord(body)) return {}
  const tools: ReadonlyArray<unknown> = Array.isArray(body["tools"]) ? body["tools"] : []
  const [first] = tools
  const name = isRecord(first)
    ? isRecord(first["function"])
      ? first["function"]["name"]
      : first["name"]
    : undefined
  const said: unknown = body["messages"] ?? body["input"]
  const last: unknown = Array.isArray(said) ? said.at(-1) : undefined
  const isAsked = isRecord(last) && last["role"] === "user"
  if (typeof name !== "string" || !isAsked) return {}
  return { toolCalls: [{ name, arguments: name === "weather" ? '{"city":"Rome"}' : "{}" }] }
}

describe("one budget of $1", () => {
  const row = { input: "20", output: "80" }

  it(
    "holds under agents of every framework at once; each recognises its refusal, and none of them tries again",
    withSession(
      async (setup) => {
        const { provider, session } = setup
        const agents = {
          "effect/ai, whole": wholeEffectAgent(setup),
          "effect/ai, streamed": streamedEffectAgent(setup),
          "AI SDK": aiSdkAgent(setup),
          "Agents SDK": agentsSdkAgent(setup),
          LangChain: langChainAgent(setup)
        }
        const ends = await Promise.all(
          Object.entries(agents).map(async ([name, run]) => ({ name, ...(await untilRefused(run)) }))
        )
        for (const { error, name, runs } of ends) {
          assert.isTrue(BudgetExceededError.is(error), `${name}: ${String(error)}`)
          assert.isAbove(runs, 2, name)
        }
        // One refusal each: whoever tried again would have been refused again.
        assert.strictEqual(session.getSummary().refused, ends.length)
        assert.strictEqual(session.getSummary().calls, provider.requests.length)
        await assertBooks(setup, "metered")
        assert.isAbove(session.getTotalSpent(), 0.85)
        assert.isAtMost(session.getTotalSpent(), 1)
      },
      {
        prices: { [model]: row },
        // The simulated model counts its input its own way.
        inputBound: "bytes",
        provider: { prices: { [model]: { default: row } }, behaviour: decide }
      }
    )
  )
})
