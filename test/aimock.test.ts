/**
 * The same promises against a server that was written elsewhere: `@copilotkit/aimock`. Its usage is what its fixtures
 * say, so that the bill is computed here from those figures and the price list alone.
 */
import { LLMock, type ChaosConfig } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { BudgetedSession, BudgetExceededError, BudgetRefusedError } from "agent-budget"
import OpenAI from "openai"
import {
  assertNeverAbove,
  failureOf,
  reservedNano,
  settled,
  spentNano,
  watchedLedger
} from "./utils/openAi.ts"

interface Setup {
  readonly mock: LLMock
  readonly session: BudgetedSession
  readonly client: OpenAI
  readonly plain: OpenAI
}

/** In nano-dollars: $0.15 and $0.60 a million tokens are 150 and 600 nano-dollars a token. */
const owed = (input: number, output: number): number => input * 150 + output * 600

const withMock =
  (use: (setup: Setup) => Promise<void>, budgetUsd: string | number = 1) =>
  async (): Promise<void> => {
    const mock = new LLMock({ port: 0, logLevel: "silent" })
    mock.onMessage("hello", {
      content: "Every call has its price, and this one is counted to the last token.",
      usage: {
        prompt_tokens: 12,
        completion_tokens: 34,
        total_tokens: 46,
        input_tokens: 12,
        output_tokens: 34
      }
    })
    mock.onMessage("tool", {
      toolCalls: [{ name: "weather", arguments: '{"city":"Rome"}' }],
      usage: { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 }
    })
    mock.onEmbedding("vector", { embedding: [0.1, 0.2, 0.3] })
    await mock.start()
    const { ledger, moments } = watchedLedger()
    const session = new BudgetedSession({ budgetUsd, ledger })
    const plain = new OpenAI({ baseURL: `${mock.url}/v1`, apiKey: "none", maxRetries: 0 })
    try {
      await use({ mock, session, plain, client: session.wrapOpenAI(plain) })
      assertNeverAbove(moments)
    } finally {
      await session.close({ waitAtMost: 0 })
      await mock.stop()
    }
  }

const hello = {
  model: "gpt-4o-mini",
  messages: [{ role: "user" as const, content: "hello" }],
  max_completion_tokens: 100
}
const helloResponse = { model: "gpt-4o-mini", input: "hello", max_output_tokens: 100 }

const read = async (items: AsyncIterable<unknown>): Promise<number> => {
  let count = 0
  for await (const _ of items) count++
  return count
}

const ways: Readonly<Record<string, (client: OpenAI) => Promise<unknown>>> = {
  "chat, whole": (client) => client.chat.completions.create(hello),
  "chat, streamed": async (client) => read(await client.chat.completions.create({ ...hello, stream: true })),
  "chat, stream helper": (client) => client.chat.completions.stream(hello).finalContent(),
  "responses, whole": (client) => client.responses.create(helloResponse),
  "responses, streamed": async (client) =>
    read(await client.responses.create({ ...helloResponse, stream: true })),
  "responses, stream helper": (client) => client.responses.stream(helloResponse).finalResponse()
}

describe("against aimock", () => {
  for (const [name, call] of Object.entries(ways)) {
    it(
      `is booked as its usage says (${name})`,
      withMock(async ({ mock, session, client }) => {
        await call(client)
        await settled(session)
        assert.strictEqual(reservedNano(session), 0)
        assert.strictEqual(spentNano(session), owed(12, 34))
        assert.strictEqual(session.getSummary().byModel["gpt-4o-mini"]?.assumedUsd, 0)
        assert.strictEqual(mock.getRequests().length, 1)
      })
    )

    it(
      `is refused before it is sent (${name})`,
      withMock(async ({ mock, session, client }) => {
        assert.instanceOf(await failureOf(call(client)), BudgetExceededError)
        assert.strictEqual(mock.getRequests().length, 0)
        assert.strictEqual(session.getTotalSpent(), 0)
      }, "0.00001")
    )
  }

  it(
    "embeddings without a usage that could be true are charged whole",
    withMock(async ({ session, client }) => {
      // It reports zero tokens, which nobody was billed for.
      await client.embeddings.create({ model: "text-embedding-3-small", input: "vector" })
      await settled(session)
      assert.isAbove(spentNano(session), 0)
      const { spentUsd, assumedUsd } = session.getSummary().byModel["text-embedding-3-small"] ?? {}
      assert.strictEqual(assumedUsd, spentUsd)
    })
  )

  it(
    "a stream shows what it shows without a budget",
    withMock(async ({ client, plain }) => {
      const seen = async (each: OpenAI): Promise<ReadonlyArray<unknown>> => {
        const chunks: Array<unknown> = []
        for await (const chunk of await each.chat.completions.create({ ...hello, stream: true })) {
          chunks.push({ ...chunk, id: "", created: 0 })
        }
        return chunks
      }
      assert.deepStrictEqual(await seen(client), await seen(plain))
    })
  )

  it(
    "runTools makes one booking for each turn",
    withMock(async ({ mock, session, client }) => {
      mock.prependFixture({
        match: { predicate: ({ messages }) => messages.at(-1)?.role === "tool" },
        response: { content: "Sunny.", usage: { prompt_tokens: 40, completion_tokens: 3, total_tokens: 43 } }
      })
      const runner = client.chat.completions.runTools({
        ...hello,
        messages: [{ role: "user", content: "tool" }],
        tools: [
          {
            type: "function",
            function: {
              name: "weather",
              description: "The weather of a city.",
              parameters: { type: "object", properties: { city: { type: "string" } } },
              parse: JSON.parse,
              function: () => "sunny"
            }
          }
        ]
      })
      assert.strictEqual(await runner.finalContent(), "Sunny.")
      await settled(session)
      assert.strictEqual(session.getSummary().calls, 2)
      assert.strictEqual(spentNano(session), owed(20, 10) + owed(40, 3))
    })
  )
})

describe("against aimock's faults", () => {
  const faults: Readonly<Record<string, readonly [ChaosConfig, "nothing" | "whole"]>> = {
    "a dropped request (500)": [{ dropRate: 1 }, "whole"],
    "a malformed body": [{ malformedRate: 1 }, "whole"],
    "a rate limit": [{ rateLimitRate: 1 }, "nothing"],
    "a disconnection": [{ disconnectRate: 1 }, "whole"]
  }
  for (const [fault, [chaos, charge]] of Object.entries(faults)) {
    for (const [name, call] of Object.entries(ways)) {
      it(
        `${fault} is charged ${charge} (${name})`,
        withMock(async ({ mock, session, client }) => {
          mock.setChaos(chaos)
          // A stream that is no stream ends without a word in the client's own reader.
          await call(client).catch((error: unknown) => assert.notInstanceOf(error, BudgetRefusedError))
          await settled(session)
          assert.strictEqual(reservedNano(session), 0)
          if (charge === "nothing") assert.strictEqual(session.getTotalSpent(), 0)
          else assert.isAbove(spentNano(session), owed(12, 100))
        })
      )
    }
  }

  it(
    "retries that meet faults are each booked; the answer as its usage says",
    withMock(async ({ mock, session, client }) => {
      mock.setChaos({ dropRate: 1 })
      const failed = await failureOf(client.chat.completions.create(hello, { maxRetries: 1 }))
      assert.instanceOf(failed, OpenAI.InternalServerError)
      await settled(session)
      const twice = spentNano(session)
      assert.strictEqual(session.getSummary().calls, 2)
      mock.clearChaos()
      await client.chat.completions.create(hello)
      await settled(session)
      assert.strictEqual(spentNano(session), twice + owed(12, 34))
    })
  )

  it(
    "a stream that is cut after its first chunks is charged whole",
    withMock(async ({ mock, session, client }) => {
      mock.prependFixture({
        match: { userMessage: "hello" },
        response: { content: "Every call has its price, and this one is cut in the middle of it all." },
        chunkSize: 4,
        truncateAfterChunks: 3
      })
      await client.chat.completions
        .create({ ...hello, stream: true })
        .then(read)
        .catch((error: unknown) => assert.notInstanceOf(error, BudgetRefusedError))
      await settled(session)
      assert.strictEqual(reservedNano(session), 0)
      assert.isAbove(spentNano(session), owed(12, 100))
    })
  )

  it(
    "60 calls at once under random faults never pass the budget",
    withMock(async ({ mock, session, client }) => {
      mock.setChaos({ dropRate: 0.2, malformedRate: 0.2, rateLimitRate: 0.2, disconnectRate: 0.2 })
      await Promise.allSettled(
        Array.from({ length: 10 }, () => Object.values(ways).map((call) => call(client))).flat()
      )
      await settled(session)
      assert.strictEqual(reservedNano(session), 0)
      const answered = mock
        .getRequests()
        .filter(({ response }) => response.status === 200 && response.chaosAction === undefined).length
      assert.isAtLeast(spentNano(session), answered * owed(12, 34))
      assert.isAtMost(session.getTotalSpent(), 0.002)
    }, "0.002")
  )
})
