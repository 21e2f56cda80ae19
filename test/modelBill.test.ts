/** What a budgeted model makes of what its provider tells: models that are scripts, without a wire. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetError,
  BudgetedFetch,
  BudgetedSession,
  BudgetExceededError,
  Pricing,
  Usd
} from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Context, Effect, Fiber, Layer, Metric, Option, Schema, Stream, Tracer } from "effect"
import {
  AiError,
  LanguageModel,
  Model,
  Prompt,
  Response as AiResponse,
  ResponseIdTracker,
  Telemetry,
  Tool,
  type Response
} from "effect/ai"
import { Readings } from "../src/internal/modelBill.ts"

const options = { model: "gpt-4o-mini", maxOutputTokens: 100 }

type Usage = Response.FinishPartEncoded["usage"]

const finish = (usage: Usage, metadata?: object): Response.FinishPartEncoded => ({
  type: "finish",
  reason: "stop",
  usage,
  ...(metadata === undefined ? {} : { metadata: { openai: { ...metadata } } })
})
const told = (input: number, output: number, more: object = {}): Usage => ({
  inputTokens: { total: input, ...more },
  outputTokens: { total: output }
})
const text: Response.TextPartEncoded = { type: "text", text: "Hi" }
const delta: ReadonlyArray<Response.StreamPartEncoded> = [
  { type: "text-start", id: "0" },
  { type: "text-delta", id: "0", delta: "Hi" },
  { type: "text-end", id: "0" }
]

/** A model that answers with these ends, whole and streamed. */
const ending = (...ends: ReadonlyArray<Response.FinishPartEncoded>) =>
  LanguageModel.make({
    generateText: () => Effect.succeed([text, ...ends]),
    streamText: () => Stream.fromIterable([...delta, ...ends])
  })

const failing = (reason: AiError.AiErrorReason) => {
  const error = AiError.make({ module: "Script", method: "generateText", reason })
  return LanguageModel.make({
    generateText: () => Effect.fail(error),
    streamText: () => Stream.fail(error)
  })
}

const Live = Layer.mergeAll(
  Budget.layerMemory({ limit: Usd.dollars("1") }),
  // Dollars a million: a model whose caches are kept, and priced, for two lengths of time.
  Layer.effect(
    Pricing.Pricing,
    Pricing.make({
      overrides: { keeper: { input: "1", output: "4", cacheWrite: "2", cacheWrite12h: "3" } }
    })
  )
)

/** The books after a call. */
const booked = (
  script: Effect.Effect<LanguageModel.LanguageModel>,
  given: BudgetedLanguageModel.Options = options,
  kind: "whole" | "streamed" = "whole"
) =>
  Effect.gen(function* () {
    const budget = yield* Budget.Budget
    const model = yield* BudgetedLanguageModel.make(yield* script, given)
    yield* Effect.ignore(
      kind === "whole"
        ? model.generateText({ prompt: "Hello" })
        : Stream.runDrain(model.streamText({ prompt: "Hello" }))
    )
    const { byModel, reserved, spent, unverified } = budget.view()
    assert.strictEqual(reserved, 0)
    const assumed = Object.values(byModel).reduce((sum, row) => sum + row.assumed, 0)
    return { spent: Number(spent), assumed, unverified: [...unverified] }
  }).pipe(Effect.provide(Live))

/** gpt-4o-mini: $0.15 and $0.60 a million. */
const nanos = (input: number, output: number): number => input * 150 + output * 600

describe("what an answer tells of its bill", () => {
  for (const kind of ["whole", "streamed"] as const) {
    it.effect(`one end is metered (${kind})`, () =>
      Effect.gen(function* () {
        const { assumed, spent, unverified } = yield* booked(ending(finish(told(10, 5))), options, kind)
        assert.deepStrictEqual([spent, assumed], [nanos(10, 5), 0])
        assert.deepStrictEqual(unverified, ["unverifiedModel"])
      })
    )

    it.effect(`two ends are charged in sum, as an assumption (${kind})`, () =>
      Effect.gen(function* () {
        const twice = ending(finish(told(10, 5)), finish(told(20, 7)))
        const { assumed, spent } = yield* booked(twice, options, kind)
        assert.deepStrictEqual([spent, assumed], [nanos(30, 12), nanos(30, 12)])
      })
    )

    for (const [name, usage] of Object.entries({
      "none at all": { inputTokens: {}, outputTokens: {} },
      "no output": { inputTokens: { total: 10 }, outputTokens: {} },
      "no input": { inputTokens: {}, outputTokens: { total: 5 } },
      "no input tokens": told(0, 5),
      "less than nothing": told(10, -5),
      "a part of the input and no total": { inputTokens: { uncached: 10 }, outputTokens: { total: 5 } },
      "no word of the cache's writes and no total": {
        inputTokens: { uncached: 10, cacheRead: 0 },
        outputTokens: { total: 5 }
      },
      "a part of the output and no total": { inputTokens: { total: 10 }, outputTokens: { text: 2 } },
      "thoughts and no total": { inputTokens: { total: 10 }, outputTokens: { reasoning: 2 } },
      "no output tokens beside a text": told(10, 0)
    })) {
      it.effect(`a usage with ${name} is charged whole (${kind})`, () =>
        Effect.gen(function* () {
          const { assumed, spent } = yield* booked(ending(finish(usage)), options, kind)
          assert.isAbove(spent, nanos(10, 100))
          assert.strictEqual(assumed, spent)
        })
      )
    }

    it.effect(`an end that cannot be true spoils the other (${kind})`, () =>
      Effect.gen(function* () {
        const { assumed } = yield* booked(ending(finish(told(10, 5)), finish(told(0, 0))), options, kind)
        assert.isAbove(assumed, nanos(10, 100))
      })
    )
  }

  it.effect("parts that are all told need no total", () =>
    Effect.gen(function* () {
      const usage = {
        inputTokens: { uncached: 6, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { text: 3, reasoning: 4 }
      }
      const { assumed, spent } = yield* booked(ending(finish(usage)))
      assert.deepStrictEqual([spent, assumed], [nanos(6, 7), 0])
    })
  )

  for (const [name, part, isWritten] of [
    ["nothing", undefined, false],
    ["an empty text", { type: "text", text: "" }, false],
    ["a text", { type: "text", text: "Hi" }, true],
    ["a piece of text", { type: "text-delta", delta: "Hi" }, true],
    ["a thought that is not shown", { type: "reasoning", text: "" }, true],
    ["a call of a tool", { type: "tool-call" }, true],
    ["a file", { type: "file" }, true]
  ] as const) {
    it(`an answer of ${name}, without output tokens, is ${isWritten ? "not " : ""}believed`, () => {
      const usage = new AiResponse.Usage({
        inputTokens: { total: 10, uncached: undefined, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: 0, text: undefined, reasoning: undefined }
      })
      for (const parts of [
        [{ type: "finish", usage }, ...(part === undefined ? [] : [part])],
        [...(part === undefined ? [] : [part]), { type: "finish", usage }]
      ]) {
        const readings = new Readings()
        readings.read(parts)
        assert.strictEqual(readings.reading === undefined, isWritten)
        // What is read in its place is another answer.
        readings.read([{ type: "finish", usage }])
        assert.isDefined(readings.reading)
      }
    })
  }

  for (const maxOutputTokens of [NaN, Infinity, -Infinity, 0, -5, 1.5]) {
    for (const api of ["/responses", "/chat/completions"] as const) {
      it.effect(`a cap of ${maxOutputTokens} is refused (${api})`, () =>
        Effect.gen(function* () {
          const script = LanguageModel.make({
            generateText: () => Effect.die("It is never asked."),
            streamText: () => Stream.die("It is never asked.")
          })
          const model = yield* BudgetedLanguageModel.make(yield* script, { ...options, api, maxOutputTokens })
          const error = yield* Effect.flip(model.generateText({ prompt: "Hello" }))
          assert.strictEqual(BudgetError.find(error)?.reason._tag, "MalformedRequest")
          assert.match(BudgetError.find(error)?.message ?? "", /max_(output|completion)_tokens/)
        }).pipe(Effect.provide(Live))
      )
    }
  }

  it.effect("parts that are more than their total are believed", () =>
    Effect.gen(function* () {
      const usage = {
        inputTokens: { total: 5, uncached: 10 },
        outputTokens: { total: 2, text: 3, reasoning: 4 }
      }
      const { spent } = yield* booked(ending(finish(usage)))
      assert.strictEqual(spent, nanos(10, 7))
    })
  )

  it.effect("a dearer tier, where the provider's metadata names it, is charged at its price", () =>
    Effect.gen(function* () {
      const { spent } = yield* booked(ending(finish(told(10, 5), { serviceTier: "priority" })))
      assert.strictEqual(spent, 10 * 250 + 5 * 1_000)
    })
  )

  it.effect("cache writes are charged as kept for 12 hours unless it is stated what is sent", () =>
    Effect.gen(function* () {
      const script = ending(finish(told(1_000, 1, { cacheWrite: 400, uncached: 600 })))
      const model = "keeper"
      const unstated = yield* booked(script, { ...options, model })
      const dear = 600 * 1_000 + 400 * 3_000 + 4_000
      assert.deepStrictEqual([unstated.spent, unstated.assumed], [dear, dear])
      const stated = yield* booked(script, { ...options, model, request: (body) => body })
      assert.deepStrictEqual([stated.spent, stated.assumed], [600 * 1_000 + 400 * 2_000 + 4_000, 0])
      const long = yield* booked(script, {
        ...options,
        model,
        request: (body) => ({ ...body, prompt_cache_options: { ttl: "12h" } })
      })
      assert.deepStrictEqual([long.spent, long.assumed], [dear, 0])
    })
  )
})

describe("what a failure says of the bill", () => {
  const http = (status: number) => ({ response: { status, headers: {} } })
  const network = (code: string) =>
    new AiError.NetworkError({
      reason: "TransportError",
      method: "POST",
      url: "/",
      cause: new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) })
    })
  const free: Readonly<Record<string, AiError.AiErrorReason>> = {
    "a rate limit": new AiError.RateLimitError({}),
    "a quota": new AiError.QuotaExhaustedError({}),
    "a bad key": new AiError.AuthenticationError({ kind: "InvalidKey" }),
    "an invalid request": new AiError.InvalidRequestError({}),
    "a status of 404": new AiError.UnknownError({ http: http(404) }),
    ECONNREFUSED: network("ECONNREFUSED"),
    "a body that could not be written": new AiError.NetworkError({
      reason: "EncodeError",
      method: "POST",
      url: "/"
    })
  }
  const whole: typeof free = {
    "a failing provider": new AiError.InternalProviderError({ description: "500" }),
    "an invalid request with a status of 409": new AiError.InvalidRequestError({ http: http(409) }),
    "a rate limit with a status of 503": new AiError.RateLimitError({ http: http(503) }),
    ECONNRESET: network("ECONNRESET"),
    "an answer that could not be read": new AiError.InvalidOutputError({ description: "?" }),
    "what nobody knows": new AiError.UnknownError({})
  }
  for (const [reasons, isFree] of [
    [free, true],
    [whole, false]
  ] as const) {
    for (const [name, reason] of Object.entries(reasons)) {
      for (const kind of ["whole", "streamed"] as const) {
        it.effect(`${name} is charged ${isFree ? "nothing" : "whole"} (${kind})`, () =>
          Effect.gen(function* () {
            const { assumed, spent } = yield* booked(failing(reason), options, kind)
            assert.strictEqual(assumed, spent)
            if (isFree) assert.strictEqual(spent, 0)
            else assert.isAbove(spent, nanos(10, 100))
          })
        )
      }
    }
  }
})

const url = "https://api.openai.com/v1/chat/completions"
const bodyOf = (model: string) =>
  JSON.stringify({ model, max_completion_tokens: 50, messages: [{ role: "user", content: "Hello" }] })
const answer = (model: string): Response_ =>
  globalThis.Response.json({ model, choices: [], usage: { prompt_tokens: 10, completion_tokens: 5 } })
type Response_ = globalThis.Response

/** A model that sends something by a `fetch`, and then ends as it is told. */
const sending = (
  fetch: BudgetedFetch.Fetch,
  model: string,
  end: Effect.Effect<Array<Response.PartEncoded>, AiError.AiError>
) =>
  LanguageModel.make({
    generateText: () =>
      Effect.andThen(
        Effect.promise(async () => (await fetch(url, { method: "POST", body: bodyOf(model) })).text()),
        end
      ),
    streamText: () => Stream.empty
  })

const limited = AiError.make({ module: "Script", method: "x", reason: new AiError.RateLimitError({}) })
const unknown = AiError.make({ module: "Script", method: "x", reason: new AiError.UnknownError({}) })

describe("a request below a model takes its reservation over", () => {
  const run = (
    respond: () => Response_,
    sent: string,
    end: Effect.Effect<Array<Response.PartEncoded>, AiError.AiError>,
    within?: string
  ) =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const plain = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(respond()) })
      const context = yield* Effect.context<Budget.Budget | Pricing.Pricing>()
      // On an account of its own, where one is named.
      const fetch: BudgetedFetch.Fetch =
        within === undefined
          ? plain
          : (input, init) =>
              // In the fiber of the model's call, which holds the reservation.
              Effect.runPromiseWith(Context.merge(context, Fiber.getCurrent()?.context ?? Context.empty()))(
                Budget.within(
                  Effect.promise(() => plain(input, init)),
                  { account: within }
                )
              )
      const model = yield* BudgetedLanguageModel.make(yield* sending(fetch, sent, end), options)
      yield* Effect.exit(model.generateText({ prompt: "Hello" }))
      const { calls, reserved, spent } = budget.view()
      assert.strictEqual(reserved, 0)
      return { calls, spent: Number(spent) }
    }).pipe(Effect.provide(Live))
  const good = Effect.succeed([text, finish(told(10, 5))])

  it.effect("where budget and account are the same: one call, charged once", () =>
    Effect.gen(function* () {
      const { calls, spent } = yield* run(() => answer("gpt-4o-mini"), "gpt-4o-mini", good)
      assert.deepStrictEqual([calls, spent], [1, nanos(10, 5)])
    })
  )

  it.effect("also where the model is another one: what was sent is charged, once", () =>
    Effect.gen(function* () {
      const { calls, spent } = yield* run(() => answer("gpt-4o"), "gpt-4o", good)
      assert.deepStrictEqual([calls, spent], [1, 10 * 2_500 + 5 * 10_000])
    })
  )

  it.effect("not where the account is another one, which is charged, once", () =>
    Effect.gen(function* () {
      const { calls, spent } = yield* run(() => answer("gpt-4o-mini"), "gpt-4o-mini", good, "ann")
      assert.deepStrictEqual([calls, spent], [1, nanos(10, 5)])
    })
  )

  it.effect("and gives it back where it was free: only the failure itself then says that the call was", () =>
    Effect.gen(function* () {
      const refused = () => new globalThis.Response("{}", { status: 429 })
      const free = yield* run(refused, "gpt-4o-mini", Effect.fail(limited))
      assert.deepStrictEqual([free.calls, free.spent], [0, 0])
      for (const end of [Effect.fail(unknown), Effect.interrupt]) {
        const { calls, spent } = yield* run(refused, "gpt-4o-mini", end)
        assert.strictEqual(calls, 1)
        assert.isAbove(spent, nanos(10, 100))
      }
    })
  )

  it.effect("and a refusal after something was sent proves nothing", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      // Another budget's request is sent and fails; what it then refuses says nothing of the first.
      const below = yield* Effect.provideContext(
        BudgetedFetch.make({ fetch: () => Promise.resolve(new globalThis.Response("{}", { status: 500 })) }),
        yield* Layer.build(Layer.fresh(Live))
      )
      const refusal = BudgetError.toThrown(
        BudgetError.because(new BudgetError.UnknownModel({ model: "whatever" }))
      )
      const network = new AiError.NetworkError({
        reason: "TransportError",
        method: "POST",
        url: "/",
        cause: refusal
      })
      const end = Effect.fail(AiError.make({ module: "Script", method: "x", reason: network }))
      const model = yield* BudgetedLanguageModel.make(yield* sending(below, "gpt-4o-mini", end), options)
      yield* Effect.flip(model.generateText({ prompt: "Hello" }))
      assert.isAbove(budget.view().spent, nanos(10, 100))
      const quiet = yield* BudgetedLanguageModel.make(yield* failing(network), options)
      const before = budget.view().spent
      const error = yield* Effect.flip(quiet.generateText({ prompt: "Hello" }))
      assert.strictEqual(budget.view().spent, before)
      assert.isTrue(BudgetError.BudgetRefusedError.is(error))
      assert.isFalse(error.isRetryable)
    }).pipe(Effect.provide(Live))
  )

  it.effect("where that is too little, another reservation stands in its place", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(answer("gpt-4o-mini")) })
      const model = yield* BudgetedLanguageModel.make(yield* sending(fetch, "gpt-4o-mini", good), {
        ...options,
        maxOutputTokens: 1
      })
      yield* model.generateText({ prompt: "" })
      const { calls, overrun, reserved, spent } = budget.view()
      assert.deepStrictEqual([calls, Number(spent), overrun, reserved], [1, nanos(10, 5), 0, 0])
    }).pipe(Effect.provide(Live))
  )

  it.effect("a model below a model is charged once", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const inner = yield* BudgetedLanguageModel.make(yield* ending(finish(told(10, 5))), options)
      const outer = yield* BudgetedLanguageModel.make(inner, options)
      yield* outer.generateText({ prompt: "Hello" })
      yield* Stream.runDrain(outer.streamText({ prompt: "Hello" }))
      const { calls, reserved, spent } = budget.view()
      assert.deepStrictEqual([calls, Number(spent), reserved], [2, 2 * nanos(10, 5), 0])
    }).pipe(Effect.provide(Live))
  )
})

describe("what a budgeted model is", () => {
  it.effect("refuses what it cannot bound, and names the fix", () =>
    Effect.gen(function* () {
      const inner = yield* ending(finish(told(10, 5)))
      const nameless = yield* BudgetedLanguageModel.make(inner)
      const first = yield* Effect.flip(nameless.generateText({ prompt: "Hello" }))
      assert.match(first.message, /layer\(\{ model/)
      const strange = yield* BudgetedLanguageModel.make(inner, { model: "nobody-knows" })
      const second = yield* Effect.flip(strange.generateText({ prompt: "Hello" }))
      assert.strictEqual(BudgetError.find(second)?.reason._tag, "UnknownModel")
      const Search = Tool.providerDefined({
        id: "openai.web_search",
        customName: "Search",
        providerName: "web_search",
        args: Schema.Struct({}),
        parameters: Schema.Struct({}),
        success: Schema.Unknown
      })
      const hosted = yield* BudgetedLanguageModel.make(inner, options)
      const toolkit = { tools: { Search: Search({}) }, handle: () => Effect.die("never") }
      const third = yield* Effect.flip(hosted.generateText({ prompt: "Hello", toolkit } as never))
      assert.match(String(third), /openai.web_search/)
    }).pipe(Effect.provide(Live))
  )

  it.effect("takes the name of the model from Model.make", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const Plain = Model.make(
        "openai",
        "gpt-4o-mini",
        Layer.effect(LanguageModel.LanguageModel, ending(finish(told(10, 5))))
      )
      const Budgeted = BudgetedLanguageModel.layer({ maxOutputTokens: 10 }).pipe(Layer.provide(Plain))
      yield* LanguageModel.generateText({ prompt: "Hello" }).pipe(Effect.provide(Budgeted))
      assert.strictEqual(Number(budget.view().spent), nanos(10, 5))
    }).pipe(Effect.provide(Live))
  )

  it.effect(
    "applies the caller's span transformer once, and lets the model keep its record of responses",
    () =>
      Effect.gen(function* () {
        const asked: Array<LanguageModel.ProviderOptions> = []
        const inner = yield* LanguageModel.make({
          generateText: (each) => {
            asked.push(each)
            return Effect.succeed([
              { type: "response-metadata", id: `resp_${asked.length}` },
              text,
              finish(told(10, 5))
            ])
          },
          streamText: () => Stream.empty
        })
        const model = yield* BudgetedLanguageModel.make(inner, options)
        let applied = 0
        const first = Prompt.make("Hello")
        const more = Prompt.make([
          { role: "assistant", content: "Hi" },
          { role: "user", content: "And?" }
        ])
        const second = Prompt.fromMessages([...first.content, ...more.content])
        const tracker = yield* ResponseIdTracker.make
        yield* Effect.forEach([first, second], (prompt) => model.generateText({ prompt })).pipe(
          Effect.provideService(Telemetry.CurrentSpanTransformer, () => {
            applied++
          }),
          Effect.provideService(ResponseIdTracker.ResponseIdTracker, tracker)
        )
        assert.strictEqual(applied, 2)
        assert.deepStrictEqual(
          asked.map(({ previousResponseId }) => previousResponseId),
          [undefined, "resp_1"]
        )
        assert.isTrue(Option.isNone(yield* Effect.serviceOption(ResponseIdTracker.ResponseIdTracker)))
      }).pipe(Effect.provide(Live))
  )
})

describe("the span of a model's call", () => {
  const names = (sends: boolean) =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (given) => {
          const span = new Tracer.NativeSpan(given)
          spans.push(span)
          return span
        }
      })
      const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(answer("gpt-4o-mini")) })
      const good = Effect.succeed([text, finish(told(10, 5))])
      const inner = yield* sends ? sending(fetch, "gpt-4o-mini", good) : ending(finish(told(10, 5)))
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Effect.provideService(model.generateText({ prompt: "Hello" }), Tracer.Tracer, tracer)
      // Only what has ended is exported.
      return spans
        .filter((span) => span.status._tag === "Ended" && span.name === "chat gpt-4o-mini")
        .map(({ attributes }) => [attributes.get("agent_budget.spent"), attributes.has("server.address")])
    }).pipe(Effect.provide(Live))

  it.effect("is its own, or that of the request which took it over", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* names(false), [[nanos(10, 5), false]])
      assert.deepStrictEqual(yield* names(true), [[nanos(10, 5), true]])
    })
  )

  it.effect("is not made where nobody looks", () =>
    Effect.gen(function* () {
      const registry: Context.Service.Shape<typeof Metric.MetricRegistry> = new Map()
      const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(answer("gpt-4o-mini")) })
      const good = Effect.succeed([text, finish(told(10, 5))])
      const model = yield* BudgetedLanguageModel.make(yield* sending(fetch, "gpt-4o-mini", good), options)
      yield* model
        .generateText({ prompt: "Hello" })
        .pipe(Effect.provideService(Metric.MetricRegistry, registry))
      assert.notInclude([...registry.keys()].join(), "gen_ai")
    }).pipe(Effect.provide(Live))
  )
})

describe("session.layer", () => {
  const program = Effect.gen(function* () {
    const model = yield* BudgetedLanguageModel.make(yield* ending(finish(told(10, 5))), options)
    return yield* model.generateText({ prompt: "Hello" })
  })

  it("gives an Effect program the session's budget, and the account of the within around it", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    await Effect.runPromise(Effect.provide(program, session.layer))
    assert.strictEqual(session.getTotalSpent(), nanos(10, 5) / 1e9)
    await session.within({ account: "ann", budgetUsd: "0.0000001" }, async () => {
      const error: unknown = await Effect.runPromise(Effect.flip(Effect.provide(program, session.layer)))
      assert.isTrue(BudgetExceededError.is(error))
    })
    assert.strictEqual(session.getSummary().refused, 1)
    assert.strictEqual(session.getTotalSpent(), nanos(10, 5) / 1e9)
  })
})
