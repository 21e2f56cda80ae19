/** The provider's own count of an input: asked only where it is needed, with nothing it need not see, never relied upon to be there. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, InputTokens, Pricing, Quote, TokenCounter, Usd } from "agent-budget"
import { Effect, Fiber, Layer, Logger, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import type { InputTokenCountParams } from "openai/resources/responses/input-tokens"
import type { JsonObject } from "../src/internal/json.ts"
import { countedFields } from "../src/internal/remoteCount.ts"
import { assertBooks, failureOf, recordEvents, settled, type Setup, withSession } from "./utils/openAi.ts"
import * as recorded from "./utils/recorded.ts"
import type { Options as ProviderOptions, RecordedRequest } from "./utils/SimulatedProvider.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())

/** A count and its margin, worked out apart from the code. */
const marginOf = (count: number): number => Math.ceil(count * 1.01) + 24

const prices = {
  "gpt-4o": { default: { input: "2.50", cachedInput: "1.25", output: "10" } },
  "gpt-6.2-sol": { default: { input: "9", output: "9" } }
}

/** Names an earlier response that this process has not seen: 128,000 tokens of a window at $2.50 are $0.32. */
const followUp = {
  model: "gpt-4o",
  input: "And?",
  previous_response_id: "resp_elsewhere",
  max_output_tokens: 100
}

type Question = RecordedRequest
const questionsOf = ({ provider }: Pick<Setup, "provider">): ReadonlyArray<Question> =>
  provider.requests.filter(({ path }) => path.startsWith("/v1/responses/input_tokens"))

const counting = (tokens: number): Partial<ProviderOptions> => ({
  prices,
  behaviour: () => ({ inputTokens: tokens }),
  count: () => ({ status: 200, body: { object: "response.input_tokens", input_tokens: tokens } })
})

describe("the fields of a question", () => {
  it("are those that the client lists, all of them and no others", () => {
    const all: Readonly<Record<keyof InputTokenCountParams, true>> = {
      conversation: true,
      input: true,
      instructions: true,
      model: true,
      parallel_tool_calls: true,
      personality: true,
      previous_response_id: true,
      reasoning: true,
      text: true,
      tool_choice: true,
      tools: true,
      truncation: true
    }
    assert.deepStrictEqual([...countedFields], Object.keys(all))
  })
})

describe("a call that names what it does not show", () => {
  it(
    "is held by the provider's count and its margin, where that was opted into, and billed within it",
    withSession(
      async (setup) => {
        const { client, provider, session } = setup
        const events = recordEvents(session)
        await client.responses.create(
          { ...followUp, store: false, metadata: { a: "b" }, temperature: 1 },
          { headers: { "openai-project": "proj_1" } }
        )
        await assertBooks(setup, "metered")
        const [question, ...more] = questionsOf(setup)
        assert.deepStrictEqual(more, [])
        assert.deepStrictEqual(question?.body, {
          input: "And?",
          model: "gpt-4o",
          previous_response_id: "resp_elsewhere"
        })
        assert.strictEqual(question?.headers["authorization"], provider.requests[1]?.headers["authorization"])
        assert.strictEqual(question?.headers["openai-project"], "proj_1")
        assert.strictEqual(provider.requests.length, 2)
        await settled(session)
        await new Promise((resolve) => setImmediate(resolve))
        const reserved = events.find((event) => event._tag === "Reserved")
        const most = marginOf(4_000) * 2_500 + 100 * 10_000
        assert.strictEqual(reserved?._tag === "Reserved" ? Number(reserved.amount) : 0, most)
        assert.deepStrictEqual(session.getSummary().unverified, ["unverifiedCount"])
      },
      { budgetUsd: "0.1", countRemotely: true, provider: counting(4_000) }
    )
  )

  it(
    "is refused without it, for its window does not fit, and nothing is asked",
    withSession(
      async ({ client, provider }) => {
        assert.match(String(await failureOf(client.responses.create(followUp))), /Budget exceeded/)
        assert.deepStrictEqual(provider.requests, [])
      },
      { budgetUsd: "0.1", provider: counting(4_000) }
    )
  )

  it("holds its window without a question where that is little of what remains, or length alone is to bound", async () => {
    for (const options of [{ budgetUsd: 100 }, { budgetUsd: 1, inputBound: "bytes" as const }]) {
      await withSession(
        async (setup) => {
          await setup.client.responses.create(followUp)
          assert.deepStrictEqual(questionsOf(setup), [])
          assert.deepStrictEqual(setup.session.getSummary().unverified, [])
        },
        { ...options, countRemotely: true, provider: counting(4_000) }
      )()
    }
  })

  it(
    "holds its window without a question where the user says that one is billed, which nothing would pay",
    withSession(
      async (setup) => {
        await setup.client.responses.create(followUp)
        assert.deepStrictEqual(questionsOf(setup), [])
      },
      {
        budgetUsd: 1,
        countRemotely: true,
        endpoints: { "POST /responses/input_tokens": { maxUsd: "0.01" } },
        provider: counting(4_000)
      }
    )
  )

  it(
    "is never held by less than it shows itself, whatever the count says",
    withSession(
      async (setup) => {
        const input = "word ".repeat(5_000)
        const refused = await failureOf(
          setup.client.responses.create({ ...followUp, input, max_output_tokens: 16 })
        )
        // 5,000 words and more at $2.50 a million, and not the 26 tokens that the count of 1 would make.
        assert.match(String(refused), /up to \$0\.012[6-9]/)
        assert.strictEqual(questionsOf(setup).length, 1)
      },
      { budgetUsd: "0.01", countRemotely: true, provider: counting(1) }
    )
  )

  it(
    "is left with nothing held where its caller goes away while it is counted",
    withSession(
      async (setup) => {
        const abort = new AbortController()
        const call = setup.client.responses.create(followUp, { signal: abort.signal })
        await setup.provider.arrived(1)
        abort.abort()
        assert.match(String(await failureOf(call)), /abort/i)
        assert.strictEqual(await setup.provider.requests[0]?.ended, "aborted")
        await assertBooks(setup, "nothing")
        assert.strictEqual(setup.provider.requests.length, 1)
      },
      { budgetUsd: "0.1", countRemotely: true, provider: { prices, count: () => "hang" } }
    )
  )
})

const image = (image_url: string) => ({
  model: "gpt-4o",
  max_output_tokens: 100,
  input: [
    { role: "user" as const, content: [{ type: "input_image" as const, detail: "auto" as const, image_url }] }
  ]
})
const dot =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

describe("what else is asked of", () => {
  const asked = async (body: JsonObject, path = "/responses"): Promise<number> => {
    let questions = 0
    const remote = {
      count: () =>
        Effect.sync(() => {
          questions++
          return 300
        })
    }
    const quote = Result.getOrThrow(Quote.make(pricing, { method: "POST", path, body }))
    await Effect.runPromise(Quote.countedRemotelyBy(remote, counter, quote))
    return questions
  }

  it("images by address, files, conversations and models of an unknown encoding are", async () => {
    assert.strictEqual(await asked(image("https://example.com/a.png")), 1)
    const file = { type: "input_file", file_id: "file_1" }
    assert.strictEqual(
      await asked({ ...followUp, previous_response_id: null, input: [{ role: "user", content: [file] }] }),
      1
    )
    assert.strictEqual(await asked({ model: "gpt-4o", input: "Hi", conversation: "conv_1" }), 1)
    assert.strictEqual(await asked({ model: "gpt-6.2-sol", input: "Hi" }), 1)
  })

  it("texts, images that are shown, hosted tools and other endpoints are not", async () => {
    assert.strictEqual(await asked({ model: "gpt-4o", input: "Hi" }), 0)
    assert.strictEqual(await asked(image(dot)), 0)
    const hosted = { tools: [{ type: "web_search" }], max_tool_calls: 1 }
    assert.strictEqual(await asked({ ...followUp, ...hosted }), 0)
    const content = [{ type: "file", file: { file_id: "file_1" } }]
    const chat = { model: "gpt-4o", messages: [{ role: "user", content }] }
    assert.strictEqual(await asked(chat, "/chat/completions"), 0)
  })

  it("a count that is more than the window leaves the window", async () => {
    const quote = Result.getOrThrow(
      Quote.make(pricing, { method: "POST", path: "/responses", body: followUp })
    )
    const remote = { count: () => Effect.succeed(127_000) }
    const same = await Effect.runPromise(Quote.countedRemotelyBy(remote, counter, quote))
    assert.strictEqual(same.bound, "window")
    assert.strictEqual(same.input, 128_000)
  })
})

/** Runs an effect and answers what it logged. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make((options) => {
    lines.push(`${options.logLevel}: ${String(options.message)}`)
  })
  return Effect.map(Effect.provide(effect, Logger.layer([logger])), (value) => ({ value, lines }))
}

const url = "https://api.openai.com/v1/responses"
const sentBody = JSON.stringify({ ...followUp, input: "A secret." })
const init = { method: "POST", headers: { authorization: "Bearer sk-secret" }, body: sentBody }
const answer = {
  model: "gpt-4o-2024-08-06",
  service_tier: "default",
  usage: { input_tokens: 50, output_tokens: 5, total_tokens: 55 }
}

/** Two calls whose count is answered like this; how often it was asked, what was held, and what was logged. */
const calling = (count: () => Response | Promise<Response>) => {
  const asked: Array<RequestInit> = []
  const fetch: BudgetedFetch.Fetch = (input, given) => {
    if (typeof input !== "string" || !input.endsWith("/input_tokens"))
      return Promise.resolve(Response.json(answer))
    asked.push(given ?? {})
    return Promise.resolve(count())
  }
  const calls = Effect.gen(function* () {
    const budget = yield* Budget.Budget
    const budgeted = yield* BudgetedFetch.make({ fetch, refusal: "throw" })
    const amounts: Array<number> = []
    for (let call = 0; call < 2; call++) {
      const response = yield* Effect.promise(() => budgeted(url, init))
      amounts.push(...budget.outstanding().map((each) => Number(each.amount)))
      yield* Effect.promise(() => response.text())
    }
    return { amounts, asked, view: budget.view() }
  })
  const layers = Layer.mergeAll(
    Budget.layerMemory({ limit: Usd.dollars("1") }),
    Pricing.layer,
    InputTokens.layerCaller()
  )
  return logged(Effect.provide(calls, layers))
}

const wholeWindow = 128_000 * 2_500 + 100 * 10_000

describe("a count that fails", () => {
  const failures: ReadonlyArray<readonly [string, () => Response | Promise<Response>, RegExp]> = [
    ["with a status", () => new Response("sk-secret A secret.", { status: 404 }), /answered 404/],
    ["with a redirect", () => Response.redirect("https://elsewhere.example", 307), /answered 307/],
    ["on the way", () => Promise.reject(new TypeError("sk-secret")), /not reached/],
    ["with no JSON", () => new Response("A secret."), /no count/],
    ["with a count of nothing", () => Response.json({ input_tokens: 0 }), /no count/],
    ["with a count that is none", () => Response.json({ input_tokens: "12" }), /no count/]
  ]
  it.effect.each(failures)("%s leaves the window, the call goes on, and it is told once", ([, count, why]) =>
    Effect.gen(function* () {
      const { lines, value } = yield* calling(count)
      assert.strictEqual(value.asked.length, 2)
      assert.deepStrictEqual(value.amounts, [wholeWindow, wholeWindow])
      assert.strictEqual(value.view.calls, 2)
      assert.deepStrictEqual(value.view.unverified, [])
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0] ?? "", why)
      assert.notMatch(lines[0] ?? "", /secret/)
    })
  )

  it.effect("by taking longer than its timeout does so too, after ten seconds unless said otherwise", () =>
    Effect.gen(function* () {
      const never: InputTokens.Call["fetch"] = () => new Promise(() => undefined)
      for (const [timeout, seconds] of [
        [undefined, 10],
        ["2 seconds", 2]
      ] as const) {
        const count = InputTokens.InputTokens.use((remote) =>
          remote.count({ input: "Hi" }, { url, init, fetch: never })
        ).pipe(Effect.provide(InputTokens.layerCaller({ timeout })), Effect.flip)
        const fiber = yield* Effect.forkChild(count, { startImmediately: true })
        yield* TestClock.adjust(`${seconds * 1_000 - 1} millis`)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.match((yield* Fiber.join(fiber)).message, /longer than its timeout/)
      }
    })
  )

  it.effect("within a time that is none is refused as the counter is made", () =>
    Effect.gen(function* () {
      for (const timeout of [-1, NaN, "soon" as "1 second"]) {
        for (const layer of [
          InputTokens.layerCaller({ timeout }),
          InputTokens.layer({ apiKey: Redacted.make("sk-none"), timeout })
        ]) {
          const { reason } = yield* Effect.flip(Effect.provide(InputTokens.InputTokens, layer))
          assert.strictEqual(reason._tag, "InvalidOptions")
          assert.include(reason.message, `a timeout of ${timeout} is no time`)
        }
      }
      const patient = InputTokens.layerCaller({ timeout: Infinity })
      assert.isFunction((yield* Effect.provide(InputTokens.InputTokens, patient)).count)
    })
  )

  it.effect("without a failure is told by nothing, and held", () =>
    Effect.gen(function* () {
      const { lines, value } = yield* calling(() => Response.json({ input_tokens: 1_000 }))
      assert.deepStrictEqual(lines, [])
      assert.strictEqual(value.amounts[0], marginOf(1_000) * 2_500 + 100 * 10_000)
      assert.deepStrictEqual(value.view.unverified, ["unverifiedCount"])
    })
  )
})

describe("a counter with a key of its own", () => {
  const asking = (call: InputTokens.Call | undefined, baseURL?: string) => {
    const sent: Array<readonly [string, RequestInit]> = []
    const layer = InputTokens.layer({
      apiKey: Redacted.make("sk-own"),
      baseURL,
      fetch: (to, given) => {
        sent.push([to, given])
        return Promise.resolve(Response.json({ input_tokens: 7 }))
      }
    })
    const count = InputTokens.InputTokens.use((remote) => remote.count({ input: "Hi" }, call))
    return Effect.map(Effect.result(Effect.provide(count, layer)), (result) => ({ result, sent }))
  }
  const fetch: InputTokens.Call["fetch"] = () => Promise.reject(new Error("not this one"))

  it.effect("asks with that, for quotes and for calls to its own address", () =>
    Effect.gen(function* () {
      for (const call of [undefined, { url, init, fetch }, { url: `${url}/?a=b`, init, fetch }]) {
        const { result, sent } = yield* asking(call)
        assert.deepStrictEqual(result, Result.succeed(7))
        assert.strictEqual(sent[0]?.[0], `${url}/input_tokens`)
        assert.strictEqual(new Headers(sent[0]?.[1].headers).get("authorization"), "Bearer sk-own")
      }
    })
  )

  it.effect("shows nothing of a call to another address to its own", () =>
    Effect.gen(function* () {
      for (const other of ["https://eu.api.openai.com/v1/responses", "https://api.openai.com/v2/responses"]) {
        const { result, sent } = yield* asking({ url: other, init, fetch })
        assert.match(String(Result.isFailure(result) && result.failure.message), /another address/)
        assert.deepStrictEqual(sent, [])
      }
    })
  )
})

describe("a counter without a key", () => {
  const asking = (call?: InputTokens.Call) =>
    InputTokens.InputTokens.use((remote) => remote.count({ input: "Hi" }, call)).pipe(
      Effect.provide(InputTokens.layerCaller())
    )

  it.effect("asks beside the call, with its query and headers, but those of its own body", () =>
    Effect.gen(function* () {
      const sent: Array<readonly [string, RequestInit]> = []
      const fetch: InputTokens.Call["fetch"] = (to, given) => {
        sent.push([to, given])
        return Promise.resolve(Response.json({ input_tokens: 7 }))
      }
      const headers = { "api-key": "k", "idempotency-key": "i", "content-length": "999", "x-gateway": "g" }
      const azure = "https://mine.openai.azure.com/openai/v1/responses?api-version=1"
      assert.strictEqual(yield* asking({ url: azure, init: { ...init, headers }, fetch }), 7)
      const [[to, given] = ["", {}]] = sent
      assert.strictEqual(to, "https://mine.openai.azure.com/openai/v1/responses/input_tokens?api-version=1")
      assert.deepStrictEqual([...new Headers(given.headers).keys()], ["api-key", "content-type", "x-gateway"])
      assert.strictEqual(given.body, '{"input":"Hi"}')
    })
  )

  it.effect("has nothing to ask with for a quote, nor for a call that is signed", () =>
    Effect.gen(function* () {
      assert.match((yield* Effect.flip(asking())).message, /no call to ask with/)
      const signed = { headers: { authorization: "AWS4-HMAC-SHA256 Credential=x" } }
      const fetch: InputTokens.Call["fetch"] = () => Promise.reject(new Error("never"))
      assert.match((yield* Effect.flip(asking({ url, init: signed, fetch }))).message, /signed/)
    })
  )
})

/** What recorded traffic was billed for beyond its texts, a message and a request: never asked of the code. */
const framingOf = (model: string): readonly [request: number, message: number] =>
  model.startsWith("gpt-5") ? [2, 4] : [3, 4]

describe.skipIf(!recorded.isThere)("the recorded counts", () => {
  const rows = recorded.counts()

  it("are the tokens that such a request is billed for, to the last, where it is all text", async () => {
    let compared = 0
    for (const { inputTokens, isWhole, request } of rows) {
      const { plan } = Result.getOrThrow(
        Quote.make(pricing, { method: "POST", path: "/responses", body: request })
      )
      const sheet = plan.input.counted()
      if (!isWhole || sheet === undefined || "tools" in request || "text" in request) continue
      let texts = 0
      for (const text of sheet.texts) {
        texts += await Effect.runPromise(counter.count(text, sheet.encoding))
      }
      const [whole, message] = framingOf(plan.model)
      const items = Array.isArray(request.input) ? request.input.length : 1
      const messages = items + ("instructions" in request ? 1 : 0)
      assert.strictEqual(inputTokens, whole + message * messages + texts)
      compared++
    }
    assert.isAtLeast(compared, 8)
  })

  it("bound a call of the real client over HTTP by themselves and their margin, or by what it shows", async () => {
    assert.isAtLeast(rows.length, 14)
    let byCount = 0
    for (const { inputTokens, request } of rows) {
      const answer = { status: 200, body: { object: "response.input_tokens", input_tokens: inputTokens } }
      const body = { ...request, model: "gpt-4o", max_output_tokens: 100 }
      const alone = Result.getOrThrow(Quote.make(pricing, { method: "POST", path: "/responses", body }))
      const shown = await Effect.runPromise(Quote.countedBy(counter, alone))
      const most = Math.max(marginOf(inputTokens), shown.bound === "counted" ? shown.input : 0)
      await withSession(
        async (setup) => {
          const events = recordEvents(setup.session)
          // The recording is of the API as it was sent, whatever the client's types say of it.
          await setup.client.responses.create({ ...body, previous_response_id: "resp_1" } as never)
          await settled(setup.session)
          await new Promise((resolve) => setImmediate(resolve))
          const reserved = events.find((event) => event._tag === "Reserved")
          const amount = reserved?._tag === "Reserved" ? Number(reserved.amount) : NaN
          assert.strictEqual((amount - 100 * 10_000) / 2_500, most)
          assert.strictEqual(questionsOf(setup).length, 1)
          if (most === marginOf(inputTokens)) byCount++
        },
        { countRemotely: true, budgetUsd: "0.1", provider: { prices, count: () => answer } }
      )()
    }
    assert.isAtLeast(byCount, 5)
  })
})
