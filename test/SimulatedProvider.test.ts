import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { request as httpRequest } from "node:http"
import { fileURLToPath } from "node:url"
import OpenAI, { APIConnectionError, APIError, AzureOpenAI, NotFoundError, RateLimitError } from "openai"
import * as Oracle from "./utils/providerBill.ts"
import type { Behaviour, Options } from "./utils/SimulatedProvider.ts"
import { Behaviours, Gate, SimulatedProvider } from "./utils/SimulatedProvider.ts"

const prices: Oracle.PriceMap = {
  "gpt-4o-mini": {
    default: { input: "0.15", cachedInput: "0.075", output: "0.60" },
    flex: { input: "0.10", output: "0.40" },
    priority: { input: "0.25", cachedInput: "0.125", output: "1.00" }
  },
  "gpt-4o-2024-05-13": { default: { input: "5", output: "15" } },
  "gpt-6.1": {
    default: {
      input: "1.25",
      cachedInput: "0.125",
      cacheWrite: "1.5625",
      cacheWrite12h: "3.125",
      output: "10",
      longContext: { from: 272_000, input: "2.5", cachedInput: "0.25", output: "15" }
    }
  },
  "gpt-3.5-turbo-instruct": { default: { input: "1.50", output: "2.00" } },
  "text-embedding-3-small": { default: { input: "0.02", output: "0" } },
  cheap: { default: { input: "0.0025", output: "0" } }
}

interface Setup {
  readonly provider: SimulatedProvider
  readonly client: OpenAI
}

const withProvider =
  (use: (setup: Setup) => Promise<void>, options: Omit<Options, "prices"> = {}) =>
  async (): Promise<void> => {
    const provider = await SimulatedProvider.start({ prices, ...options })
    try {
      await use({
        provider,
        client: new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 })
      })
    } finally {
      await provider.close()
    }
  }

// 11 bytes are 3 tokens: 3 + 4 + 3 = 10 tokens of input.
const hello = { model: "gpt-4o-mini", messages: [{ role: "user" as const, content: "Hello there" }] }

const post = (provider: SimulatedProvider, path: string, body: unknown, init: RequestInit = {}) =>
  fetch(`${provider.baseURL}${path}`, { method: "POST", body: JSON.stringify(body), ...init })

/** Chat with fields of any kind: deprecated ones, and some that the types do not know. */
const ask = (client: OpenAI, more: { readonly [name: string]: unknown }) =>
  client.chat.completions.create({ ...hello, ...more, stream: false })

const aborted = (provider: SimulatedProvider, index: number): unknown => provider.requests[index]?.aborted

const ended = (provider: SimulatedProvider, index: number): Promise<unknown> =>
  provider.requests[index]?.ended ?? Promise.reject(new Error(`There is no request ${index}.`))

const bodyOf = async (response: Response): Promise<unknown> => JSON.parse(await response.text())

const at = (value: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce((inner, name) => Oracle.field(inner, name), value)

const failureOf = async (promise: PromiseLike<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error("It was expected to fail.")
}

/** The JSON payloads of a stream's events. */
const payloads = (stream: string): ReadonlyArray<unknown> =>
  stream
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line): unknown => JSON.parse(line.slice(6)))

const nanos = (provider: SimulatedProvider): ReadonlyArray<bigint> =>
  provider.bill().calls.map((call) => call.nanoUsd)

const usage = (parts: Partial<Oracle.BilledUsage>): Oracle.BilledUsage => ({
  input: 0,
  cachedInput: 0,
  cacheWrite: 0,
  cacheWrite12h: 0,
  output: 0,
  reasoning: 0,
  ...parts
})

const priced = (model: string, parts: Partial<Oracle.BilledUsage>): bigint => {
  const price = Oracle.priceOf(prices, model, "default")
  if (price === undefined) throw new Error(`${model} has no price.`)
  return Oracle.nanoUsd(price, usage(parts))
}

describe("the oracle", () => {
  it("reads prices exactly, in pico-dollars a token", () => {
    assert.strictEqual(Oracle.picoPerToken("0.15"), 150_000n)
    assert.strictEqual(Oracle.picoPerToken("5"), 5_000_000n)
    assert.strictEqual(Oracle.picoPerToken("0.000001"), 1n)
    for (const wrong of ["", "-1", "1e3", "0.0000001", ".5", "1,000"]) {
      assert.throws(() => Oracle.picoPerToken(wrong), /is not a price/)
    }
  })

  it("rounds a call up to a nano-dollar, once", () => {
    // 3 x 2,500 pico = 7,500; 4 x 2,500 = 10,000.
    assert.strictEqual(priced("cheap", { input: 3 }), 8n)
    assert.strictEqual(priced("cheap", { input: 4 }), 10n)
    assert.strictEqual(priced("cheap", {}), 0n)
  })

  it("prices each part of the input once, and reasoning inside the output", () => {
    // 1,000 plain x 1,250 nano + 500 cached x 125 + 200 written x 1,562.5 + 100 for 12 h x 3,125 + 50 x 10,000
    const parts = {
      input: 1_800,
      cachedInput: 500,
      cacheWrite: 200,
      cacheWrite12h: 100,
      output: 50,
      reasoning: 40
    }
    assert.strictEqual(priced("gpt-6.1", parts), 1_250_000n + 62_500n + 312_500n + 312_500n + 500_000n)
    // No rate of its own: cached and written tokens cost plain input, 5,000 nano.
    const noRates = { input: 30, cachedInput: 10, cacheWrite: 10, cacheWrite12h: 10 }
    assert.strictEqual(priced("gpt-4o-2024-05-13", noRates), 150_000n)
    assert.throws(() => priced("gpt-6.1", { input: 5, cachedInput: 6 }), /exceed its 5 tokens/)
  })

  it("re-prices the whole call from the long-context threshold on", () => {
    assert.strictEqual(priced("gpt-6.1", { input: 271_999, output: 1 }), 271_999n * 1_250n + 10_000n)
    assert.strictEqual(priced("gpt-6.1", { input: 272_000, output: 1 }), 272_000n * 2_500n + 15_000n)
  })

  it("knows fast as priority, and no tier or model that is not listed", () => {
    assert.strictEqual(Oracle.priceOf(prices, "gpt-4o-mini", "fast"), prices["gpt-4o-mini"]?.["priority"])
    assert.isDefined(prices["gpt-4o-mini"]?.["priority"])
    assert.isUndefined(Oracle.priceOf(prices, "gpt-6.1", "flex"))
    assert.isUndefined(Oracle.priceOf(prices, "gpt-6.1", "toString"))
    assert.isUndefined(Oracle.priceOf(prices, "constructor", "name"))
  })

  it("counts input by its documented rule", () => {
    const tool = { type: "function", function: { name: "f" } } // 43 bytes: 11 + 4
    const parts = [
      { type: "text", text: "12345" },
      { type: "image_url", image_url: { url: "x" } }
    ] // 2 + 85
    const messages = [
      { role: "system", content: "1234" },
      { role: "user", content: parts }
    ] // 5 + 91
    assert.strictEqual(JSON.stringify(tool).length, 43)
    assert.strictEqual(Oracle.inputTokens("chat", { messages }), 3 + 5 + 91)
    assert.strictEqual(Oracle.inputTokens("chat", { messages, tools: [tool] }), 3 + 5 + 91 + 15)
    assert.strictEqual(Oracle.inputTokens("chat", { messages: [{ content: "é€" }] }), 3 + 4 + 2)
    assert.strictEqual(Oracle.inputTokens("responses", { input: "12345" }), 3 + 4 + 2)
    assert.strictEqual(Oracle.inputTokens("responses", { input: "12345", instructions: "1" }), 3 + 6 + 5)
    assert.strictEqual(Oracle.inputTokens("completions", { prompt: ["12345", "1"] }), 3)
    assert.strictEqual(Oracle.inputTokens("completions", { prompt: [7, 8, 9] }), 3)
    assert.strictEqual(Oracle.inputTokens("embeddings", { input: [[1, 2], [3]] }), 3)
    assert.strictEqual(
      Oracle.inputTokens("embeddings", { input: ["12345", "1"] }, (text) => text.length),
      6
    )
  })
})

describe("answers through the client", () => {
  it(
    "completes a chat, whole and with its response",
    withProvider(
      async ({ client, provider }) => {
        const { data, response } = await client.chat.completions.create(hello).withResponse()
        assert.strictEqual(data.model, "gpt-4o-mini-2024-07-18")
        assert.strictEqual(data.service_tier, "default")
        assert.strictEqual(data.choices[0]?.finish_reason, "stop")
        assert.strictEqual(data.choices[0]?.message.content?.split(" ").length, 20)
        assert.deepInclude(data.usage, { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 })
        assert.strictEqual(response.headers.get("x-request-id"), "req_sim_0")
        await provider.idle()
        // 10 x 150 + 20 x 600 nano-dollars
        assert.deepStrictEqual(provider.bill(), {
          totalNanoUsd: 13_500n,
          calls: [
            {
              id: data.id,
              request: 0,
              model: "gpt-4o-mini-2024-07-18",
              tier: "default",
              endpoint: "chat",
              usage: usage({ input: 10, output: 20 }),
              nanoUsd: 13_500n,
              completed: true
            }
          ]
        })
      },
      { snapshots: { "gpt-4o-mini": "gpt-4o-mini-2024-07-18" } }
    )
  )

  it(
    "streams a chat, with usage only where it was asked for",
    withProvider(async ({ client, provider }) => {
      const chunks = []
      for await (const chunk of await client.chat.completions.create({ ...hello, stream: true }))
        chunks.push(chunk)
      assert.isFalse(chunks.some((chunk) => "usage" in chunk || chunk.choices.length === 0))
      assert.strictEqual(chunks.at(-1)?.choices[0]?.finish_reason, "stop")

      const asked = { ...hello, stream: true as const, stream_options: { include_usage: true } }
      const counted = []
      for await (const chunk of await client.chat.completions.create(asked)) counted.push(chunk)
      assert.isTrue(counted.slice(0, -1).every((chunk) => chunk.usage === null && chunk.choices.length === 1))
      assert.deepStrictEqual(counted.at(-1)?.choices, [])
      assert.deepInclude(counted.at(-1)?.usage, { prompt_tokens: 10, completion_tokens: 20 })
      const raw = await (await post(provider, "/chat/completions", asked)).text()
      assert.isTrue(raw.endsWith("data: [DONE]\n\n"))
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [13_500n, 13_500n, 13_500n])
    })
  )

  it(
    "answers responses, whole and streamed, with the same bill",
    withProvider(
      async ({ client, provider }) => {
        const params = { model: "gpt-6.1", input: "Hello there" }
        const whole = await client.responses.create(params)
        assert.strictEqual(whole.status, "completed")
        assert.strictEqual(whole.output_text.split(" ").length, 20)
        const types: Array<string> = []
        const stream = client.responses.stream(params)
        for await (const event of stream) types.push(event.type)
        const final = await stream.finalResponse()
        assert.strictEqual(final.output_text, whole.output_text)
        assert.deepStrictEqual(final.usage, whole.usage)
        assert.deepInclude(final.usage, { input_tokens: 10, output_tokens: 25, total_tokens: 35 })
        assert.deepStrictEqual(final.usage?.output_tokens_details, { reasoning_tokens: 5 })
        assert.strictEqual(types[0], "response.created")
        assert.strictEqual(types.filter((type) => type === "response.output_text.delta").length, 20)
        assert.strictEqual(types.at(-1), "response.completed")
        await provider.idle()
        // 10 x 1,250 + 25 x 10,000
        assert.deepStrictEqual(nanos(provider), [262_500n, 262_500n])
      },
      { behaviour: () => ({ reasoningTokens: 5 }) }
    )
  )

  it(
    "bills what a legacy completion writes for every prompt and candidate",
    withProvider(async ({ client, provider }) => {
      const params = { model: "gpt-3.5-turbo-instruct", prompt: ["12345", "1"] }
      const answer = await client.completions.create({ ...params, n: 2, best_of: 3 })
      assert.strictEqual(answer.choices.length, 4)
      assert.strictEqual(answer.choices[0]?.finish_reason, "length")
      // 2 prompts x 3 candidates x 16 tokens, the default cap
      assert.deepInclude(answer.usage, { prompt_tokens: 3, completion_tokens: 96 })
      const streamed = await client.completions.create({ ...params, max_tokens: 2, stream: true })
      let text = ""
      for await (const chunk of streamed) text += chunk.choices[0]?.text ?? ""
      assert.strictEqual(text, "every callevery call")
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [3n * 1_500n + 96n * 2_000n, 3n * 1_500n + 4n * 2_000n])
    })
  )

  it(
    "embeds texts and token ids, within the input limits",
    withProvider(async ({ client, provider }) => {
      const model = "text-embedding-3-small"
      const texts = await client.embeddings.create({ model, input: ["12345", "1"], dimensions: 4 })
      assert.deepStrictEqual(
        texts.data.map((each) => each.embedding.length),
        [4, 4]
      )
      assert.deepStrictEqual(texts.usage, { prompt_tokens: 3, total_tokens: 3 })
      const ids = await client.embeddings.create({ model, input: [1, 2, 3, 4] })
      assert.strictEqual(ids.usage.prompt_tokens, 4)
      const long = await failureOf(client.embeddings.create({ model, input: "x".repeat(4 * 8_192 + 1) }))
      assert.strictEqual(long instanceof APIError ? long.status : undefined, 400)
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [60n, 80n])
    })
  )

  it(
    "takes Azure's model from the deployment, not from the body",
    withProvider(
      async ({ provider }) => {
        const azure = {
          endpoint: provider.origin,
          apiKey: "none",
          apiVersion: "2025-01-01-preview",
          maxRetries: 0
        }
        const client = new AzureOpenAI({ ...azure, deployment: "prod" })
        const answer = await client.chat.completions.create({ ...hello, model: "gpt-6.1" })
        assert.strictEqual(answer.model, "gpt-4o-mini")
        assert.strictEqual(
          provider.requests[0]?.path,
          "/openai/deployments/prod/chat/completions?api-version=2025-01-01-preview"
        )
        const unknown = await failureOf(
          new AzureOpenAI({ ...azure, deployment: "no" }).chat.completions.create(hello)
        )
        assert.instanceOf(unknown, NotFoundError)
        const { origin } = provider
        const unversioned = await fetch(`${origin}/openai/deployments/prod/chat/completions`, {
          method: "POST",
          body: JSON.stringify(hello)
        })
        assert.strictEqual(unversioned.status, 404)
        const body = JSON.stringify({ model: "prod", input: "Hello there" })
        const unified = await bodyOf(await fetch(`${origin}/openai/v1/responses`, { method: "POST", body }))
        assert.strictEqual(at(unified, "model"), "gpt-4o-mini")
        await provider.idle()
        assert.deepStrictEqual(nanos(provider), [13_500n, 13_500n])
      },
      { deployments: { prod: "gpt-4o-mini" } }
    )
  )

  it(
    "lets free requests pass without a bill, and records unknown ones as 404",
    withProvider(async ({ client, provider }) => {
      assert.isTrue((await client.models.list()).data.some((model) => model.id === "gpt-6.1"))
      await client.responses.delete("resp_1")
      await client.moderations.create({ input: "text" })
      const count = await client.responses.inputTokens.count({ model: "gpt-6.1", input: "12345" })
      assert.strictEqual(count.input_tokens, 9)
      assert.instanceOf(await failureOf(client.images.generate({ prompt: "x" })), NotFoundError)
      assert.strictEqual((await fetch(`${provider.origin}/elsewhere`)).status, 404)
      assert.deepStrictEqual(
        provider.requests.map((request) => `${request.method} ${request.path}`),
        [
          "GET /v1/models",
          "DELETE /v1/responses/resp_1",
          "POST /v1/moderations",
          "POST /v1/responses/input_tokens",
          "POST /v1/images/generations",
          "GET /elsewhere"
        ]
      )
      assert.strictEqual(provider.bill().totalNanoUsd, 0n)
    })
  )

  it(
    "calls tools until it is told to speak",
    withProvider(async ({ client, provider }) => {
      const toolCalls = [{ name: "weather", arguments: '{"city":"Oslo"}' }] // 22 bytes: 6 + 3 tokens
      provider.next({ toolCalls }, { toolCalls }, { text: "Cold." }, { toolCalls })
      const tool = { type: "function" as const, function: { name: "weather", parameters: {} } }
      const first = await client.chat.completions.create({ ...hello, tools: [tool] })
      assert.strictEqual(first.choices[0]?.finish_reason, "tool_calls")
      assert.strictEqual(first.usage?.completion_tokens, 9)
      const run = client.chat.completions.stream({ ...hello, tools: [tool] })
      const message = (await run.finalChatCompletion()).choices[0]?.message.tool_calls?.[0]
      assert.deepInclude(message, { type: "function" })
      const spoken = await client.chat.completions.create(hello)
      assert.strictEqual(spoken.choices[0]?.message.content, "Cold.")
      const answer = await client.responses.create({ model: "gpt-6.1", input: "x" })
      assert.deepInclude(answer.output[0], { type: "function_call", name: "weather" })
      await provider.idle()
      assert.deepStrictEqual(
        provider.bill().calls.map((call) => call.usage.output),
        [9, 9, 2, 9]
      )
    })
  )
})

describe("caps and tiers", () => {
  it(
    "stops each chat choice at the cap, reasoning first",
    withProvider(
      async ({ client }) => {
        const cut = await client.chat.completions.create({ ...hello, max_completion_tokens: 12, n: 3 })
        assert.deepStrictEqual<unknown>(
          cut.choices.map((choice) => [choice.finish_reason, choice.message.content?.split(" ").length]),
          [0, 1, 2].map(() => ["length", 2])
        )
        assert.strictEqual(cut.usage?.completion_tokens, 36)
        assert.strictEqual(cut.usage?.completion_tokens_details?.reasoning_tokens, 30)
        const eaten = await ask(client, { max_tokens: 8 })
        assert.strictEqual(eaten.choices[0]?.message.content, "")
        assert.strictEqual(eaten.usage?.completion_tokens, 8)
        const exact = await ask(client, { max_tokens: 30 })
        assert.strictEqual(exact.choices[0]?.finish_reason, "stop")
        const larger = await ask(client, { max_tokens: 1, max_completion_tokens: 30 })
        assert.strictEqual(larger.usage?.completion_tokens, 30)
        const nobody = await ask(client, { max_tokens: null })
        assert.strictEqual(nobody.usage?.completion_tokens, 30)
      },
      { behaviour: () => ({ reasoningTokens: 10 }) }
    )
  )

  it(
    "says incomplete when a response is cut, and stops at the model's maximum without a cap",
    withProvider(
      async ({ client, provider }) => {
        const cut = await client.responses.create({ model: "gpt-6.1", input: "x", max_output_tokens: 16 })
        assert.strictEqual(cut.status, "incomplete")
        assert.strictEqual(cut.incomplete_details?.reason, "max_output_tokens")
        assert.strictEqual(cut.usage?.output_tokens, 16)
        const streamed = await post(provider, "/responses", { model: "gpt-6.1", input: "x", stream: true })
        const last = payloads(await streamed.text()).at(-1)
        assert.strictEqual(at(last, "type"), "response.incomplete")
        assert.strictEqual(at(last, "response", "usage", "output_tokens"), 40)
      },
      { behaviour: () => ({ outputTokens: 50 }), modelMaximum: 40 }
    )
  )

  it(
    "writes past the cap when told to, and bills rejected predictions beyond it",
    withProvider(async ({ client, provider }) => {
      provider.next(Behaviours.capsIgnored(30), { outputTokens: 50, rejectedPredictionTokens: 7 })
      const over = await client.chat.completions.create({ ...hello, max_completion_tokens: 5 })
      assert.strictEqual(over.usage?.completion_tokens, 30)
      const rejected = await client.chat.completions.create({ ...hello, max_completion_tokens: 5 })
      assert.strictEqual(rejected.usage?.completion_tokens, 12)
      assert.strictEqual(rejected.usage?.completion_tokens_details?.rejected_prediction_tokens, 7)
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [1_500n + 18_000n, 1_500n + 7_200n])
    })
  )

  it(
    "serves the asked tier, the project's for auto or none, and refuses one that is not sold",
    withProvider(
      async ({ client, provider }) => {
        const tiers = []
        for (const service_tier of [undefined, "auto", "default", "flex", "fast"] as const) {
          tiers.push((await ask(client, service_tier === undefined ? {} : { service_tier })).service_tier)
        }
        assert.deepStrictEqual<unknown>(tiers, ["priority", "priority", "default", "flex", "fast"])
        // 10 in and 20 out: priority 250 and 1,000; default 150 and 600; flex 100 and 400
        await provider.idle()
        assert.deepStrictEqual(nanos(provider), [22_500n, 22_500n, 13_500n, 9_000n, 22_500n])
        const scale = await failureOf(client.chat.completions.create({ ...hello, service_tier: "scale" }))
        assert.strictEqual(scale instanceof APIError ? scale.status : undefined, 400)
        provider.next({ ...Behaviours.servedAt("flex") }, { echo: { tier: null, model: "other" } })
        assert.strictEqual((await client.chat.completions.create(hello)).service_tier, "flex")
        const hidden = await client.chat.completions.create({ ...hello, service_tier: "default" })
        assert.isFalse("service_tier" in hidden)
        assert.strictEqual(hidden.model, "other")
        await provider.idle()
        assert.deepStrictEqual(nanos(provider).slice(5), [9_000n, 13_500n])
        assert.strictEqual(provider.bill().calls[6]?.model, "gpt-4o-mini")
      },
      { projectTier: "priority" }
    )
  )

  it(
    "bills the model that served, and the parts of the input it reports",
    withProvider(async ({ client, provider }) => {
      provider.next(Behaviours.servedBy("gpt-4o-2024-05-13"))
      assert.strictEqual((await client.chat.completions.create(hello)).model, "gpt-4o-2024-05-13")
      const parts = {
        inputTokens: 300_000,
        cachedTokens: 100_000,
        cacheWriteTokens: 50_000,
        cacheWrite12hTokens: 9
      }
      provider.next(parts, { cachedTokens: 4, cacheWriteTokens: 100 })
      const answer = await client.responses.create({ model: "gpt-6.1", input: "Hello there" })
      assert.deepStrictEqual<unknown>(answer.usage?.input_tokens_details, {
        cached_tokens: 100_000,
        cache_write_tokens: 50_009,
        cache_write_tokens_details: { ttl_30m_tokens: 50_000, ttl_12h_tokens: 9 }
      })
      const chat = await client.chat.completions.create(hello)
      assert.deepInclude(chat.usage?.prompt_tokens_details, { cached_tokens: 4, cache_write_tokens: 6 })
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [
        10n * 5_000n + 20n * 15_000n,
        200_000n * 2_500n + 100_000n * 250n + 20n * 15_000n,
        4n * 75n + 6n * 150n + 20n * 600n
      ])
    })
  )

  it(
    "refuses what the API refuses, unbilled",
    withProvider(async ({ provider }) => {
      const asked = async (path: string, body: unknown) => {
        const response = await post(provider, path, body)
        return [response.status, at(await bodyOf(response), "error", "code")]
      }
      const chat = "/chat/completions"
      assert.deepStrictEqual(await asked(chat, { ...hello, model: "nope" }), [404, "model_not_found"])
      assert.deepStrictEqual(await asked(chat, { ...hello, max_output_tokens: 5 }), [
        400,
        "unknown_parameter"
      ])
      assert.deepStrictEqual(await asked(chat, { ...hello, n: 0 }), [400, "integer_below_min_value"])
      assert.deepStrictEqual(await asked(chat, { ...hello, max_tokens: "9" }), [
        400,
        "integer_below_min_value"
      ])
      const thinking = { ...hello, model: "gpt-6.1", max_tokens: 5 }
      assert.deepStrictEqual(await asked(chat, thinking), [400, "unsupported_parameter"])
      assert.strictEqual((await asked(chat, { ...hello, stream_options: { include_usage: true } }))[0], 400)
      const legacy = { model: "gpt-3.5-turbo-instruct", prompt: "x", service_tier: "default" }
      assert.deepStrictEqual(await asked("/completions", legacy), [400, "unknown_parameter"])
      assert.strictEqual((await post(provider, chat, undefined)).status, 400)
      assert.strictEqual(provider.bill().totalNanoUsd, 0n)
      assert.strictEqual(provider.requests.length, 8)
    })
  )
})

describe("failures", () => {
  const cases: ReadonlyArray<readonly [name: string, behaviour: Behaviour, nanoUsd: bigint | undefined]> = [
    ["a destroyed socket", Behaviours.refuse, undefined],
    ["a body cut half-way", Behaviours.cutBody(), 13_500n],
    ["a body ended short of its length", Behaviours.cutBody("end"), 13_500n]
  ]
  for (const [name, behaviour, owed] of cases) {
    it(
      `shows ${name} as a connection error`,
      withProvider(async ({ client, provider }) => {
        provider.next(behaviour)
        const error = await failureOf(client.chat.completions.create(hello))
        assert.instanceOf(error, Error)
        if (owed === undefined) assert.instanceOf(error, APIConnectionError)
        assert.notInstanceOf(error, SyntaxError)
        await provider.idle()
        assert.strictEqual(await ended(provider, 0), "cut")
        assert.deepStrictEqual(nanos(provider), owed === undefined ? [] : [owed])
        assert.isFalse(provider.bill().calls.some((call) => call.completed))
      })
    )
  }

  it(
    "destroys a refused socket before it reads the body",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.refuse)
      await failureOf(post(provider, "/chat/completions", hello))
      assert.strictEqual(provider.requests[0]?.rawBody, "")
      provider.setBehaviour(() => Behaviours.refuse)
      await failureOf(post(provider, "/chat/completions", hello))
      assert.deepStrictEqual(provider.requests[1]?.body, hello)
    })
  )

  it(
    "refuses connections while unplugged, and serves again on the same port",
    withProvider(async ({ client, provider }) => {
      const before = provider.baseURL
      await provider.unplug()
      const error = await failureOf(client.chat.completions.create(hello))
      assert.instanceOf(error, APIConnectionError)
      const cause = await failureOf(post(provider, "/chat/completions", hello))
      assert.strictEqual(at(cause instanceof Error ? cause.cause : undefined, "code"), "ECONNREFUSED")
      await provider.plug()
      assert.strictEqual(provider.baseURL, before)
      await client.chat.completions.create(hello)
      assert.strictEqual(provider.requests.length, 1)
    })
  )

  it(
    "answers any status, billed or not",
    withProvider(async ({ client, provider }) => {
      provider.next(
        Behaviours.status(503),
        Behaviours.status(500, { billed: true }),
        Behaviours.status(504, {
          billed: true,
          generated: 0,
          body: "<html>",
          headers: { "content-type": "text/html" }
        }),
        Behaviours.status(401, { body: { error: { message: "No key." } } })
      )
      const statuses = []
      for (let i = 0; i < 4; i++) {
        const error = await failureOf(client.chat.completions.create(hello))
        if (error instanceof APIError) statuses.push([error.status, error.message])
      }
      assert.deepStrictEqual(statuses, [
        [503, "503 Simulated status 503."],
        [500, "500 Simulated status 500."],
        [504, "504 <html>"],
        [401, "401 No key."]
      ])
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [13_500n, 1_500n])
      assert.isFalse(provider.bill().calls.some((call) => call.completed))
    })
  )

  it(
    "limits the rate with a delay of a millisecond, and the client comes back",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.rateLimited)
      const patient = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 1 })
      assert.strictEqual((await patient.chat.completions.create(hello)).choices.length, 1)
      assert.strictEqual(provider.requests.length, 2)
      provider.next(Behaviours.rateLimited)
      const error = await failureOf(patient.withOptions({ maxRetries: 0 }).chat.completions.create(hello))
      assert.instanceOf(error, RateLimitError)
      await provider.idle()
      assert.strictEqual(provider.bill().calls.length, 1)
    })
  )

  it(
    "redirects with the body, and bills the request that ran",
    withProvider(async ({ provider }) => {
      const other = await SimulatedProvider.start({ prices })
      try {
        provider.next(Behaviours.redirect(`${other.baseURL}/chat/completions`))
        const response = await post(provider, "/chat/completions", hello)
        assert.isTrue(response.redirected)
        assert.deepStrictEqual(other.requests[0]?.body, hello)
        assert.strictEqual(provider.bill().calls.length, 0)
        assert.strictEqual(other.bill().totalNanoUsd, 13_500n)
      } finally {
        await other.close()
      }
    })
  )

  it(
    "hangs before and after the headers until the client leaves, and bills the run",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.hangBeforeHeaders, Behaviours.hangAfterHeaders, {
        failure: { kind: "hang", before: "headers", generated: 3 }
      })
      const leaving = new AbortController()
      const silent = failureOf(post(provider, "/chat/completions", hello, { signal: leaving.signal }))
      await provider.arrived(1)
      assert.isFalse(aborted(provider, 0))
      leaving.abort()
      assert.instanceOf(await silent, DOMException)
      assert.strictEqual(await ended(provider, 0), "aborted")
      assert.isTrue(aborted(provider, 0))

      const second = new AbortController()
      const response = await post(provider, "/chat/completions", hello, { signal: second.signal })
      assert.strictEqual(response.status, 200)
      const text = failureOf(response.text())
      second.abort()
      assert.instanceOf(await text, DOMException)
      assert.strictEqual(await ended(provider, 1), "aborted")

      const third = new AbortController()
      const last = failureOf(post(provider, "/chat/completions", hello, { signal: third.signal }))
      await provider.arrived(3)
      third.abort()
      await last
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [13_500n, 13_500n, 1_500n + 1_800n])
    })
  )

  it(
    "sends JSON that does not parse, and odd content types",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.malformedJson, Behaviours.malformedJson, Behaviours.contentType("text/html"))
      const broken = await post(provider, "/chat/completions", hello)
      assert.instanceOf(await failureOf(bodyOf(broken)), SyntaxError)
      const stream = await post(provider, "/chat/completions", { ...hello, stream: true })
      const text = await stream.text()
      assert.throws(() => payloads(text), SyntaxError)
      const odd = await post(provider, "/chat/completions", hello)
      assert.strictEqual(odd.headers.get("content-type"), "text/html")
      assert.strictEqual(at(await bodyOf(odd), "usage", "total_tokens"), 30)
      await provider.idle()
      // The stream broke after half of its 20 tokens.
      assert.deepStrictEqual(nanos(provider), [13_500n, 1_500n + 6_000n, 13_500n])
      assert.deepStrictEqual(
        provider.bill().calls.map((call) => call.completed),
        [false, false, true]
      )
    })
  )

  it(
    "reports usages that cannot be true, and bills the truth",
    withProvider(async ({ provider }) => {
      const told = async (behaviour: Behaviour, stream: boolean) => {
        provider.next(behaviour)
        const options = stream ? { stream, stream_options: { include_usage: true } } : {}
        const text = await (await post(provider, "/chat/completions", { ...hello, ...options })).text()
        const answers: ReadonlyArray<unknown> = stream ? payloads(text) : [JSON.parse(text)]
        const last = answers.at(-1)
        return Oracle.isRecord(last) && "usage" in last ? last["usage"] : "absent"
      }
      for (const stream of [false, true]) {
        const usages = []
        for (const name of ["usageNegative", "usageFractional", "usageString", "usageZero"] as const) {
          usages.push(at(await told(Behaviours[name], stream), "prompt_tokens"))
        }
        assert.deepStrictEqual(usages, [-11, 10.5, "10", 0])
        assert.strictEqual(await told(Behaviours.usageNull, stream), null)
        // A stream's last chunk is then the one with the finish reason, whose usage is null.
        assert.strictEqual(await told(Behaviours.usageMissing, stream), stream ? null : "absent")
        assert.deepStrictEqual(await told({ reportUsage: () => [1] }, stream), [1])
      }
      await provider.idle()
      assert.deepStrictEqual(
        nanos(provider),
        Array.from({ length: 14 }, () => 13_500n)
      )
    })
  )

  it(
    "fails and leaves responses incomplete, with their usage",
    withProvider(async ({ client, provider }) => {
      const params = { model: "gpt-6.1", input: "Hello there" }
      provider.next(Behaviours.failed, Behaviours.incomplete(), Behaviours.failed, Behaviours.incomplete())
      const failed = await client.responses.create(params)
      assert.strictEqual(failed.status, "failed")
      assert.strictEqual(failed.error?.code, "server_error")
      const filtered = await client.responses.create(params)
      assert.strictEqual(filtered.incomplete_details?.reason, "content_filter")
      for (const type of ["response.failed", "response.incomplete"]) {
        const stream = await post(provider, "/responses", { ...params, stream: true })
        const last = payloads(await stream.text()).at(-1)
        assert.strictEqual(at(last, "type"), type)
        assert.strictEqual(at(last, "response", "usage", "output_tokens"), 20)
      }
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [212_500n, 212_500n, 212_500n, 212_500n])
    })
  )
})

describe("broken streams", () => {
  const streamed = { ...hello, stream: true as const, stream_options: { include_usage: true } }

  it(
    "bills what was written when a stream is cut",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.streamCut(3), Behaviours.streamCut("usage"), Behaviours.streamCut("done"))
      const arrived = []
      for (let i = 0; i < 3; i++) {
        const decoder = new TextDecoder()
        const response = await post(provider, "/chat/completions", streamed)
        let text = ""
        const read = async () => {
          for await (const bytes of response.body ?? []) text += decoder.decode(bytes, { stream: true })
        }
        assert.instanceOf(await failureOf(read()), TypeError)
        arrived.push(payloads(text).length)
      }
      // The role, 20 tokens, the finish reason, the usage.
      assert.deepStrictEqual(arrived, [1 + 3, 1 + 20 + 1, 1 + 20 + 1 + 1])
      provider.next(Behaviours.streamCut("usage", "end"), Behaviours.streamCut("done", "end"))
      const text = await (await post(provider, "/chat/completions", streamed)).text()
      assert.strictEqual(at(payloads(text).at(-1), "usage"), undefined)
      const told = await (await post(provider, "/chat/completions", streamed)).text()
      assert.strictEqual(at(payloads(told).at(-1), "usage", "total_tokens"), 30)
      assert.notInclude(told, "[DONE]")
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [1_500n + 1_800n, 13_500n, 13_500n, 13_500n, 13_500n])
      assert.isFalse(provider.bill().calls.some((call) => call.completed))
    })
  )

  it(
    "sends an error in a stream, which the client throws",
    withProvider(async ({ client, provider }) => {
      provider.next(Behaviours.streamError(4), Behaviours.streamError(4))
      let seen = 0
      const chat = await client.chat.completions.create(streamed)
      const error = await failureOf(
        (async () => {
          for await (const chunk of chat) if (chunk.choices[0]?.delta.content) seen++
        })()
      )
      assert.instanceOf(error, APIError)
      assert.strictEqual(seen, 4)
      const stream = client.responses.stream({ model: "gpt-6.1", input: "Hello there" })
      assert.instanceOf(await failureOf(stream.finalResponse()), Error)
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [1_500n + 2_400n, 12_500n + 40_000n])
    })
  )

  it(
    "moves a stream on step by step, and bills an abort up to the step it came at",
    withProvider(async ({ client, provider }) => {
      const gate = new Gate()
      provider.next(Behaviours.stepped(gate))
      const stream = await client.chat.completions.create(streamed)
      const chunks = stream[Symbol.asyncIterator]()
      gate.release(4) // the start and three deltas
      for (let i = 0; i < 4; i++) assert.isFalse((await chunks.next()).done)
      await gate.reached(5)
      assert.strictEqual(provider.bill().totalNanoUsd, 1_500n + 1_800n)
      assert.isFalse(aborted(provider, 0))
      stream.controller.abort()
      assert.strictEqual(await ended(provider, 0), "aborted")
      gate.open()
      await provider.idle()
      assert.strictEqual(provider.bill().totalNanoUsd, 1_500n + 1_800n)
      assert.isFalse(provider.bill().calls[0]?.completed)
    })
  )

  it(
    "holds headers and single events, so that usage can be seen before the end",
    withProvider(async ({ provider }) => {
      const [headers, done] = [new Gate(), new Gate()]
      provider.next({
        ...Behaviours.heldHeaders(headers),
        hold: (event) => (event.type === "done" ? done.pass() : undefined)
      })
      const pending = post(provider, "/chat/completions", streamed)
      await headers.reached(1)
      assert.strictEqual(provider.bill().totalNanoUsd, 1_500n)
      headers.release()
      const response = await pending
      await done.reached(1)
      const reader = response.body?.getReader()
      const decoder = new TextDecoder()
      let text = ""
      while (!text.includes('"total_tokens":30'))
        text += decoder.decode((await reader?.read())?.value, { stream: true })
      assert.notInclude(text, "[DONE]")
      await reader?.cancel()
      assert.strictEqual(await ended(provider, 0), "aborted")
      assert.strictEqual(provider.bill().totalNanoUsd, 13_500n)
    })
  )

  it(
    "does not call an answer complete that the client left before its last byte",
    withProvider(async ({ provider }) => {
      // 8 MB, more than the buffers between two sockets hold, in 500,000 tokens of four characters.
      const text = "\u{1F4B8}".repeat(2_000_000)
      const gate = new Gate()
      const hold: Behaviour["hold"] = (event) => (event.type === "usage" ? gate.pass() : undefined)
      const long = { text, ignoreCaps: true, tokensPerDelta: 500_000 }
      provider.next(long, { ...long, hold })
      const whole = await post(provider, "/chat/completions", hello)
      await whole.body?.cancel()
      assert.strictEqual(await ended(provider, 0), "aborted")

      const stream = await post(provider, "/responses", {
        model: "gpt-4o-mini",
        input: "Hello there",
        stream: true
      })
      const reader = stream.body?.getReader()
      let last = false
      const reached = gate.reached(1).then(() => (last = true))
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the gate
      while (!last) await Promise.race([reader?.read(), reached])
      gate.release()
      await reader?.cancel()
      assert.strictEqual(await ended(provider, 1), "aborted")
      assert.deepStrictEqual(
        provider.bill().calls.map((call) => [call.nanoUsd, call.completed]),
        [
          [1_500n + 500_000n * 600n, false],
          [1_500n + 500_000n * 600n, false]
        ]
      )
    })
  )

  it(
    "groups tokens into deltas, and waits between them when told to",
    withProvider(async ({ client, provider }) => {
      provider.next({ tokensPerDelta: 8, delayMs: 1 })
      const deltas = []
      for await (const chunk of await client.chat.completions.create(streamed)) {
        const content = chunk.choices[0]?.delta.content
        if (content !== undefined && content !== "") deltas.push(content)
      }
      assert.deepStrictEqual(
        deltas.map((delta) => wordsOf(delta)),
        [8, 8, 4]
      )
      await provider.idle()
      assert.deepStrictEqual(nanos(provider), [13_500n])
    })
  )
})

const wordsOf = (text: string | null): number => text?.trim().split(" ").length ?? 0

describe("the provider itself", () => {
  it(
    "records requests as they were sent, in the order of arrival",
    withProvider(async ({ client, provider }) => {
      const three = provider.arrived(3)
      await Promise.all([0, 1, 2].map((i) => ask(client, { metadata: { i: String(i) } })))
      await three
      assert.deepStrictEqual(
        provider.requests.map((request) => request.index),
        [0, 1, 2]
      )
      const first = provider.requests[0]
      assert.strictEqual(first?.method, "POST")
      assert.strictEqual(first?.path, "/v1/chat/completions")
      assert.strictEqual(first?.headers["authorization"], "Bearer none")
      assert.deepStrictEqual(JSON.parse(first?.rawBody ?? ""), first?.body)
      assert.strictEqual(first?.model, "gpt-4o-mini")
      assert.strictEqual(await first?.ended, "answered")
    })
  )

  it(
    "records a client that leaves in the middle of its own body, and bills nothing",
    withProvider(async ({ provider }) => {
      const url = `${provider.baseURL}/chat/completions`
      const upload = httpRequest(url, { method: "POST", headers: { "content-length": "500" } })
      upload.on("error", () => undefined)
      upload.write("{", () => upload.destroy())
      await provider.arrived(1)
      await provider.idle()
      assert.isTrue(aborted(provider, 0))
      assert.strictEqual(provider.bill().calls.length, 0)
    })
  )

  it(
    "decides by request, the queue first",
    withProvider(
      async ({ client, provider }) => {
        provider.next({ text: "queued" })
        const says = async (content: string) => {
          const message = { role: "user" as const, content }
          return (await client.chat.completions.create({ ...hello, messages: [message] })).choices[0]?.message
            .content
        }
        assert.strictEqual(await says("a"), "queued")
        assert.strictEqual(await says("b"), "gpt-4o-mini 1")
        provider.setBehaviour(() => ({ text: "later" }))
        assert.strictEqual(await says("c"), "later")
      },
      { behaviour: (request) => ({ text: `${request.model ?? ""} ${request.index}` }) }
    )
  )

  it(
    "throws from the bill when what it was told to serve has no price",
    withProvider(async ({ provider }) => {
      provider.next(Behaviours.servedAt("ultrafast"))
      await failureOf(post(provider, "/chat/completions", hello))
      assert.throws(() => provider.bill(), /simulated provider failed/)
    })
  )

  it("closes with calls in flight: sockets die, waiters are told, closing again is nothing", async () => {
    const provider = await SimulatedProvider.start({ prices })
    provider.next({ ...Behaviours.hangBeforeHeaders }, { delayMs: 30_000 })
    const calls = [0, 1].map(() => failureOf(post(provider, "/chat/completions", hello)))
    const never = failureOf(provider.arrived(3))
    await provider.arrived(2)
    await provider.close()
    for (const error of await Promise.all(calls)) assert.instanceOf(error, TypeError)
    assert.match(String(await never), /closed after 2 of 3 requests/)
    assert.deepStrictEqual(await Promise.all(provider.requests.map((request) => request.ended)), [
      "cut",
      "cut"
    ])
    await provider[Symbol.asyncDispose]()
  })

  it("runs in plain node and leaves nothing that keeps it alive", () => {
    const module = new URL("./utils/SimulatedProvider.ts", import.meta.url)
    const script = `
      const { SimulatedProvider } = await import(${JSON.stringify(module.href)})
      const prices = { m: { default: { input: "1", output: "2" } } }
      const provider = await SimulatedProvider.start({ prices, behaviour: () => ({ delayMs: 60_000 }) })
      const body = JSON.stringify({ model: "m", messages: [] })
      const call = fetch(provider.baseURL + "/chat/completions", { method: "POST", body }).catch(() => "cut")
      await provider.arrived(1)
      await provider.close()
      console.log(await call, provider.bill().totalNanoUsd)
    `
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 20_000
    })
    // 3 x 1,000 + 20 x 2,000 nano-dollars
    assert.strictEqual(run.stdout, "cut 43000n\n")
    assert.strictEqual(run.status, 0)
  })

  it("imports nothing but node and its own bill", () => {
    for (const name of ["SimulatedProvider.ts", "providerBill.ts"]) {
      const source = readFileSync(fileURLToPath(new URL(`./utils/${name}`, import.meta.url)), "utf8")
      const imports = [...source.matchAll(/from "([^"]+)"/g)].map((match) => match[1] ?? "")
      assert.isTrue(imports.every((path) => path.startsWith("node:") || path === "./providerBill.ts"))
    }
  })
})
