/**
 * Spans and metrics of calls: what they say, when they end, and that nobody pays for them who does not look.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  type BudgetError,
  BudgetedFetch,
  BudgetedSession,
  Pricing,
  Telemetry,
  Usd
} from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Effect, Exit, Layer, Metric, Option, Stream, Tracer } from "effect"
import { AiError } from "effect/ai"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { TestClock } from "effect/testing"
import { setTimeout as sleep } from "node:timers/promises"
import OpenAI from "openai"
import * as Collector from "../examples/utils/collector.ts"
import { callContext } from "../src/internal/callContext.ts"
import { errorOf, finish, heard, limited, options, saying, streaming, text } from "./utils/modelScripts.ts"
import { SimulatedProvider } from "./utils/SimulatedProvider.ts"
import {
  answer,
  chat,
  chunk,
  delta,
  events,
  fetching,
  nanoOf,
  sse,
  stub,
  tagOf,
  usage
} from "./utils/stubProvider.ts"

const secret = "nobody may read this"
const key = "sk-nobody-may-read-this-either"
const request = {
  model: "gpt-4o-mini",
  max_completion_tokens: 50,
  messages: [{ role: "user", content: secret }]
}
const post = (body: object, signal?: AbortSignal): RequestInit => ({
  method: "POST",
  headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
  body: JSON.stringify(body),
  ...(signal ? { signal } : {})
})

/** A tracer that keeps its spans, as an exporter would be handed them. */
const recording = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

const said = (span: Tracer.Span | undefined): Record<string, unknown> =>
  Object.fromEntries(span?.attributes ?? [])

const ended = (span: Tracer.Span | undefined): Exit.Exit<unknown, unknown> | undefined =>
  span?.status._tag === "Ended" ? span.status.exit : undefined

const call = (fetch: BudgetedFetch.Fetch, body: object = request, url = chat, signal?: AbortSignal) =>
  Effect.promise(async () => (await fetch(url, post(body, signal))).text().catch(String))

/** The spans of what `use` does with a budgeted `fetch` around a provider that answers so. */
const traced = <A>(
  respond: () => Response | Promise<Response>,
  use: (fetch: BudgetedFetch.Fetch) => Effect.Effect<A, unknown, Budget.Budget>,
  options: Parameters<typeof fetching>[3] = {},
  policy: BudgetedFetch.PolicyOptions = {}
) =>
  Effect.suspend(() => {
    const { spans, tracer } = recording()
    return fetching(respond, (fetch) => Effect.orDie(use(fetch)), policy, options).pipe(
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.as(spans)
    )
  })

const ok = () => Response.json({ ...answer, model: "gpt-4o-mini-2024-07-18", service_tier: "default" })

describe("the span of an attempt", () => {
  it.effect("has the names of the conventions, the budget's word on it, and nothing more", () =>
    Effect.gen(function* () {
      const [span, ...others] = yield* traced(ok, (fetch) => call(fetch))
      assert.strictEqual(others.length, 0)
      assert.deepStrictEqual([span?.name, span?.kind], ["chat gpt-4o-mini", "client"])
      const { "agent_budget.quote": quote, "agent_budget.reserved": reserved, ...rest } = said(span)
      assert.deepStrictEqual(rest, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "openai.response.service_tier": "default",
        "server.address": "api.openai.com",
        "server.port": 443,
        "agent_budget.account": "root",
        "agent_budget.spent": nanoOf(10, 20),
        "agent_budget.verdict": "metered"
      })
      assert.strictEqual(quote, reserved)
      assert.isAtLeast(Number(reserved), nanoOf(10, 50))
      assert.deepStrictEqual(ended(span), Exit.void)
    })
  )

  it.effect(
    "of a call without a cap of its own tells the cap that was written, and what was held for it",
    () =>
      Effect.gen(function* () {
        const { max_completion_tokens: _, ...uncapped } = request
        const [span] = yield* traced(ok, (fetch) => call(fetch, uncapped), { limit: Usd.dollars("0.01") })
        const attributes = said(span)
        const cap = Number(attributes["gen_ai.request.max_tokens"])
        assert.isAtLeast(cap, 1_024)
        assert.isBelow(cap, 16_384)
        assert.isAtLeast(Number(attributes["agent_budget.reserved"]), nanoOf(0, cap))
        assert.isBelow(Number(attributes["agent_budget.reserved"]), Number(attributes["agent_budget.quote"]))
      })
  )

  it.effect("lies below the span of its fiber, and names the fiber's account", () =>
    Effect.gen(function* () {
      const spans = yield* traced(ok, (fetch) =>
        Effect.gen(function* () {
          const context = yield* Effect.context()
          yield* Effect.promise(() =>
            callContext.run({ context, passing: undefined }, async () =>
              (await fetch(chat, post(request))).text()
            )
          )
        }).pipe(Budget.within({ account: "ann" }), Effect.withSpan("agent"))
      )
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["agent", "chat gpt-4o-mini"]
      )
      const parent = spans[1]?.parent
      assert.strictEqual(parent?._tag === "Some" ? parent.value.spanId : undefined, spans[0]?.spanId)
      assert.strictEqual(said(spans[1])["agent_budget.account"], "root/ann")
    })
  )

  it.effect("lies below the span of its fiber, also where that has no account of its own", () =>
    Effect.gen(function* () {
      const spans = yield* traced(ok, (fetch) => call(fetch).pipe(Effect.withSpan("agent")))
      const [agent, chat] = spans
      assert.deepStrictEqual([agent?.name, chat?.name, spans.length], ["agent", "chat gpt-4o-mini", 2])
      assert.strictEqual(Option.getOrUndefined(chat?.parent ?? Option.none())?.spanId, agent?.spanId)
    })
  )

  it.effect("is told to the tracer of its fiber, where whoever built what it calls had none", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recording()
      const { fetch } = stub(ok)
      const budgeted = yield* BudgetedFetch.make({ fetch })
      yield* Effect.provideService(call(budgeted), Tracer.Tracer, tracer)
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["chat gpt-4o-mini"]
      )
    }).pipe(Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)))
  )

  it.effect("is nobody's child where the span it was built in has ended", () =>
    Effect.gen(function* () {
      const [built, span] = yield* traced(ok, (below) =>
        Effect.gen(function* () {
          const fetch = yield* Effect.withSpan(BudgetedFetch.make({ fetch: below }), "start")
          yield* call(fetch)
        }).pipe(Effect.provide(Pricing.layer))
      )
      assert.deepStrictEqual([built?.name, built?.status._tag], ["start", "Ended"])
      assert.deepStrictEqual([span?.name, span?.parent._tag], ["chat gpt-4o-mini", "None"])
    })
  )

  it.effect("ends with the stream's word on its usage", () =>
    Effect.gen(function* () {
      const stream = () => events(sse(chunk(delta), chunk({ choices: [], usage }), "[DONE]"))
      const [span] = yield* traced(stream, (fetch) =>
        Effect.gen(function* () {
          const response = yield* Effect.promise(() => fetch(chat, post({ ...request, stream: true })))
          yield* Effect.promise(() => response.text())
        })
      )
      assert.strictEqual(said(span)["gen_ai.usage.output_tokens"], 20)
      assert.strictEqual(said(span)["agent_budget.verdict"], "metered")
      assert.deepStrictEqual(ended(span), Exit.void)
    })
  )

  const wrong: ReadonlyArray<
    readonly [what: string, respond: () => Response | Promise<Response>, type: string, verdict: string]
  > = [
    ["429", () => new Response("", { status: 429 }), "429", "released"],
    ["503", () => new Response("", { status: 503 }), "503", "assumed"],
    [
      "a host that nobody listens on",
      () => Promise.reject(Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } })),
      "not_sent",
      "released"
    ],
    ["a reset", () => Promise.reject(new TypeError("fetch failed")), "connection_error", "assumed"],
    [
      "a body that is cut",
      () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error(secret)) })),
      "connection_error",
      "assumed"
    ]
  ]

  it.effect.each(wrong)("of %s says what went wrong, and what was charged", ([, respond, type, verdict]) =>
    Effect.gen(function* () {
      const [span] = yield* traced(respond, (fetch) =>
        Effect.promise(() =>
          fetch(chat, post(request)).then((response) => response.text().catch(String), String)
        )
      )
      assert.strictEqual(said(span)["error.type"], type)
      assert.strictEqual(said(span)["agent_budget.verdict"], verdict)
      assert.strictEqual(
        said(span)["agent_budget.spent"],
        verdict === "released" ? 0 : said(span)["agent_budget.reserved"]
      )
      const exit = ended(span)
      assert.strictEqual(exit?._tag, "Failure")
      assert.notInclude(String(exit), secret)
    })
  )

  it.effect("of an abort ends there and then; one of a stream that is left, as it is left", () =>
    Effect.gen(function* () {
      const abort = new AbortController()
      const never = () =>
        new Promise<Response>((_, reject) => {
          abort.signal.addEventListener("abort", () => reject(abort.signal.reason as Error))
          abort.abort()
        })
      const [aborted] = yield* traced(never, (fetch) =>
        Effect.promise(() => fetch(chat, post(request, abort.signal)).catch(String))
      )
      assert.strictEqual(said(aborted)["error.type"], "aborted")
      const stream = () => events(sse(chunk(delta), chunk({ choices: [], usage }), "[DONE]"))
      const [left] = yield* traced(stream, (fetch) =>
        Effect.promise(async () => (await fetch(chat, post({ ...request, stream: true }))).body?.cancel())
      )
      assert.strictEqual(said(left)["error.type"], "abandoned")
      assert.strictEqual(said(left)["agent_budget.verdict"], "assumed")
    })
  )

  it.effect("of a stream that does not say its usage to the end says so", () =>
    Effect.gen(function* () {
      const stream = () => events(sse(chunk({ ...delta, usage }), chunk(delta)))
      const [span] = yield* traced(stream, (fetch) =>
        Effect.promise(async () => (await fetch(chat, post({ ...request, stream: true }))).text())
      )
      assert.strictEqual(said(span)["error.type"], "incomplete_stream")
    })
  )

  it.effect("of a refusal has no length, names its reason and its account, and nothing was sent", () =>
    Effect.gen(function* () {
      let sent = 0
      const respond = () => (sent++, ok())
      const refused = (body: object) => (fetch: BudgetedFetch.Fetch) =>
        Effect.promise(() => fetch(chat, post(body)).then(() => "sent", tagOf))
      const [span] = yield* traced(respond, refused(request), { limit: Usd.dollars("0.00001") })
      assert.strictEqual(span?.name, "chat gpt-4o-mini")
      assert.strictEqual(said(span)["agent_budget.verdict"], "refused")
      assert.strictEqual(said(span)["error.type"], "BudgetExceeded")
      assert.strictEqual(said(span)["agent_budget.account"], "root")
      assert.strictEqual(ended(span)?._tag, "Failure")
      const [unknown] = yield* traced(respond, refused({ ...request, model: "gpt-99" }))
      assert.strictEqual(unknown?.name, "chat")
      assert.strictEqual(said(unknown)["error.type"], "UnknownModel")
      assert.strictEqual(sent, 0)
    })
  )

  it.effect("of an endpoint at the user's own maximum goes by its name", () =>
    Effect.gen(function* () {
      const [span] = yield* traced(
        () => Response.json({}),
        (fetch) => call(fetch, {}, "https://api.openai.com/v1/images/generations"),
        {},
        { endpoints: { "POST /images/generations": { maxUsd: "0.25" } } }
      )
      assert.strictEqual(span?.name, "POST /images/generations")
      assert.strictEqual(said(span)["agent_budget.spent"], 250_000_000)
      assert.strictEqual(said(span)["agent_budget.verdict"], "assumed")
    })
  )

  const hosts: ReadonlyArray<readonly [url: string, provider: string]> = [
    ["https://mine.openai.azure.com/openai/v1/chat/completions", "azure.ai.openai"],
    ["https://bedrock-mantle.us-east-1.api.aws/v1/chat/completions", "aws.bedrock"],
    ["https://llm.example.com/v1/chat/completions", "groq"],
    ["https://eu.api.openai.com/v1/chat/completions", "openai"]
  ]

  it.effect.each(hosts)("names whom it asked: %s", ([url, provider]) =>
    Effect.gen(function* () {
      const policy = { hosts: { "llm.example.com": { provider: "groq" } } }
      const [span] = yield* traced(ok, (fetch) => call(fetch, request, url), {}, policy)
      assert.strictEqual(said(span)["gen_ai.provider.name"], provider)
      assert.strictEqual(said(span)["server.address"], new URL(url).hostname)
    })
  )

  it.effect("is one for each retry, and none for a call that goes through twice", () =>
    Effect.gen(function* () {
      const spans = yield* traced(ok, (fetch) => Effect.andThen(call(fetch), call(fetch)))
      assert.strictEqual(spans.length, 2)
      const twice = yield* traced(ok, (fetch) =>
        Effect.gen(function* () {
          const outer = yield* BudgetedFetch.make({ fetch: (input, init) => fetch(input, init) }).pipe(
            Effect.provide(Pricing.layer)
          )
          yield* call(outer)
        })
      )
      assert.strictEqual(twice.length, 1)
    })
  )

  it.effect("costs no call where the tracer throws", () =>
    Effect.gen(function* () {
      const broken = Tracer.make({
        span: () => {
          throw new Error("no room for spans")
        }
      })
      const summary = yield* fetching(ok, (fetch) => Effect.andThen(call(fetch), Budget.summary)).pipe(
        Effect.provideService(Tracer.Tracer, broken)
      )
      assert.strictEqual(summary.spent, nanoOf(10, 20))
    })
  )
})

const idsOf = (snapshot: ReadonlyArray<Metric.Metric.Snapshot>): ReadonlyArray<string> =>
  snapshot.map(({ id }) => id).filter((id) => /^(gen_ai|agent_budget\.)/.test(id))

describe("without anyone who looks", () => {
  it.effect("no span and no metric is made", () =>
    Effect.gen(function* () {
      const left = yield* fetching(ok, (fetch) => Effect.andThen(call(fetch), Metric.snapshot)).pipe(
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.deepStrictEqual(idsOf(left), [])
    })
  )

  it.effect("settings can leave either out", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recording()
      const run = (options: Telemetry.Options) =>
        fetching(ok, (fetch) => Effect.andThen(call(fetch), Metric.snapshot)).pipe(
          Effect.provide(Telemetry.layer(options)),
          Effect.provideService(Tracer.Tracer, tracer),
          Effect.provideService(Metric.MetricRegistry, new Map())
        )
      assert.isAbove(idsOf(yield* run({ spans: false })).length, 0)
      assert.strictEqual(spans.length, 0)
      assert.deepStrictEqual(idsOf(yield* run({ metrics: false })), [])
      assert.strictEqual(spans.length, 1)
    })
  )

  it.effect("metrics need no tracer, where they are asked for", () =>
    Effect.gen(function* () {
      const left = yield* fetching(ok, (fetch) => Effect.andThen(call(fetch), Metric.snapshot)).pipe(
        Effect.provide(Telemetry.layer({ metrics: true })),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.strictEqual(new Set(idsOf(left)).size, 3)
    })
  )
})

describe("the span of a call of a model that goes wrong", () => {
  const ends = {
    "a failure": [Effect.fail(errorOf(new AiError.UnknownError({}))), "model_error"],
    "a rate limit": [Effect.fail(limited), "429"],
    "a defect": [Effect.die("no"), "model_error"],
    "an interruption": [Effect.interrupt, "aborted"]
  } as const
  for (const [name, [end, type]] of Object.entries(ends)) {
    it.effect(`says so: ${name}`, () =>
      Effect.gen(function* () {
        const { spans, tracer } = recording()
        const model = yield* BudgetedLanguageModel.make(yield* saying(end), options)
        yield* Effect.exit(Effect.withTracer(model.generateText({ prompt: "Hello" }), tracer))
        const span = spans.find(({ name }) => name === "chat gpt-4o-mini")
        assert.strictEqual(said(span)["error.type"], type)
        assert.isTrue(Exit.isFailure(ended(span) ?? Exit.void))
      }).pipe(Effect.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)))
    )
  }

  it.effect("says so: a stream that breaks", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recording()
      const inner = yield* streaming(Stream.concat(Stream.fromIterable(heard), Stream.fail(limited)))
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Effect.exit(Effect.withTracer(Stream.runDrain(model.streamText({ prompt: "Hello" })), tracer))
      const span = spans.find(({ name }) => name === "chat gpt-4o-mini")
      assert.strictEqual(said(span)["error.type"], "model_error")
    }).pipe(Effect.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)))
  )
})

describe("a fetch below models, one inside of the other", () => {
  const below = (depth: number, call: Effect.Effect<string>) =>
    Effect.gen(function* () {
      let run: Effect.Effect<unknown, AiError.AiError | BudgetError.BudgetError> = call
      for (let each = 0; each < depth; each++) {
        const sends = run
        const inner = yield* saying(Effect.as(Effect.orDie(sends), [text, finish]))
        const model = yield* BudgetedLanguageModel.make(inner, options)
        run = model.generateText({ prompt: "Hello" })
      }
      yield* run
    })
  const called = (fetch: BudgetedFetch.Fetch) =>
    Effect.promise(async () => (await fetch(chat, post(request))).text())
  for (const depth of [0, 1, 2, 3]) {
    it.effect(`is told to nobody where nobody looks: ${depth}`, () =>
      Effect.gen(function* () {
        yield* fetching(
          () => Response.json(answer),
          (fetch) => Effect.provide(Effect.orDie(below(depth, called(fetch))), Pricing.layer)
        )
        assert.deepStrictEqual(idsOf(yield* Metric.snapshot), [])
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    )

    it.effect(`is told to the tracer of whoever built it: ${depth}`, () =>
      Effect.gen(function* () {
        const { spans, tracer } = recording()
        const built = BudgetedFetch.make({ fetch: () => Promise.resolve(Response.json(answer)) })
        const fetch = yield* Effect.withTracer(built, tracer)
        yield* below(depth, called(fetch))
        assert.deepStrictEqual(
          spans.map(({ name }) => name),
          ["chat gpt-4o-mini"]
        )
      }).pipe(Effect.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)))
    )
  }
})

describe("the metrics", () => {
  /** The states by id and by what tells them apart. */
  const measured = (
    respond: () => Response | Promise<Response>,
    use: (fetch: BudgetedFetch.Fetch) => Effect.Effect<unknown, never, Budget.Budget>
  ) =>
    fetching(respond, (fetch) => Effect.andThen(use(fetch), Metric.snapshot)).pipe(
      Effect.provide(Telemetry.layer({ metrics: true })),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )

  const histogram = (
    snapshot: ReadonlyArray<Metric.Metric.Snapshot>,
    id: string,
    attributes: Readonly<Record<string, string>> = {}
  ) => {
    const found = snapshot.filter(
      (each) =>
        each.id === id && Object.entries(attributes).every(([key, value]) => each.attributes?.[key] === value)
    )
    assert.strictEqual(found.length, 1, `${id} in ${JSON.stringify(snapshot)}`)
    const [one] = found
    assert(one?.type === "Histogram")
    return one
  }

  it.effect("count the tokens that were billed, in the boundaries that the conventions advise", () =>
    Effect.gen(function* () {
      const snapshot = yield* measured(ok, (fetch) => Effect.andThen(call(fetch), call(fetch)))
      const input = histogram(snapshot, "gen_ai.client.token.usage", { "gen_ai.token.type": "input" })
      const output = histogram(snapshot, "gen_ai.client.token.usage", { "gen_ai.token.type": "output" })
      assert.deepStrictEqual([input.state.count, input.state.sum], [2, 20])
      assert.deepStrictEqual([output.state.count, output.state.sum], [2, 40])
      const boundaries = input.state.buckets.map(([boundary]) => boundary)
      assert.deepStrictEqual(
        boundaries.slice(0, 14),
        [
          1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
          67_108_864
        ]
      )
      assert.deepStrictEqual<unknown>(input.attributes, {
        unit: "{token}",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.token.type": "input",
        "server.address": "api.openai.com",
        "server.port": 443
      })
    })
  )

  it.effect("have no number for each of the names that a provider makes up without end", () =>
    Effect.gen(function* () {
      let told = 0
      const names = (): string => (++told === 50 ? "m".repeat(10_000) : `gpt-4o-mini-${told}`)
      const strange = () => Response.json({ ...answer, model: names() })
      const snapshot = yield* measured(strange, (fetch) =>
        Effect.andThen(
          Effect.forEach(Array.from({ length: 150 }), () => call(fetch), { discard: true }),
          // One that is known stays so.
          Effect.suspend(() => {
            told = 0
            return call(fetch)
          })
        )
      )
      const counts = new Map(
        snapshot
          .filter(({ id }) => id === "gen_ai.client.operation.duration")
          .map((each) => [
            each.attributes?.["gen_ai.response.model"],
            each.type === "Histogram" && each.state.count
          ])
      )
      assert.strictEqual(counts.size, 101)
      assert.strictEqual(counts.get("gpt-4o-mini-1"), 2)
      assert.strictEqual(counts.get("_OTHER"), 50)
    })
  )

  it.effect("take the seconds of a call on the caller's clock, and say what went wrong", () =>
    Effect.gen(function* () {
      let fail = false
      const clock = yield* Effect.context()
      const respond = async () => {
        await Effect.runPromiseWith(clock)(TestClock.adjust("3 seconds"))
        return fail ? new Response("", { status: 500 }) : ok()
      }
      const snapshot = yield* measured(respond, (fetch) =>
        Effect.andThen(
          call(fetch),
          Effect.suspend(() => ((fail = true), call(fetch)))
        )
      )
      const durations = snapshot.filter(({ id }) => id === "gen_ai.client.operation.duration")
      assert.strictEqual(durations.length, 2)
      const failed = histogram(snapshot, "gen_ai.client.operation.duration", { "error.type": "500" })
      assert.deepStrictEqual([failed.state.count, failed.state.sum], [1, 3])
      assert.deepStrictEqual(
        failed.state.buckets.map(([boundary]) => boundary).slice(0, 14),
        [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
      )
      // No tokens are told of a call that nobody metered.
      assert.strictEqual(
        histogram(snapshot, "gen_ai.client.token.usage", { "gen_ai.token.type": "input" }).state.count,
        1
      )
    })
  )

  it.effect("add up to what the books say was spent", () =>
    Effect.gen(function* () {
      const answers = [ok, () => new Response("", { status: 500 }), () => new Response("", { status: 400 })]
      const { snapshot, spent } = yield* fetching(
        () => (answers.shift() ?? ok)(),
        (fetch) =>
          Effect.gen(function* () {
            for (let n = 0; n < 4; n++) yield* call(fetch)
            return { snapshot: yield* Metric.snapshot, spent: (yield* Budget.summary).spent }
          })
      ).pipe(
        Effect.provide(Telemetry.layer({ metrics: true })),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      const counters = snapshot.flatMap((each) =>
        each.id === "agent_budget.spent" && each.type === "Counter"
          ? [[each.attributes?.["agent_budget.verdict"], Number(each.state.count)] as const]
          : []
      )
      assert.strictEqual(
        counters.reduce((sum, [, count]) => sum + count, 0),
        spent
      )
      assert.deepStrictEqual(counters.map(([verdict]) => verdict).sort(), ["assumed", "metered", "released"])
    })
  )
})

describe("a session with telemetry", () => {
  const prices = { "gpt-4o-mini": { default: { input: "0.15", output: "0.6" } } }
  const exportTo = (baseUrl: string) =>
    Otlp.layerJson({ baseUrl, resource: { serviceName: "agents" }, tracerExportInterval: "5 millis" }).pipe(
      Layer.provide(FetchHttpClient.layer)
    )

  it("has sent its spans and metrics when it is closed, with no word of what was said and no key", async () => {
    await using provider = await SimulatedProvider.start({
      prices,
      behaviour: ({ index }) =>
        index === 0 ? { failure: { kind: "status", status: 503 } } : { outputTokens: 20, text: secret }
    })
    await using collector = await Collector.start()
    const session = new BudgetedSession({ budgetUsd: "0.01", telemetry: exportTo(collector.url) })
    const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: key, maxRetries: 1 }))
    await session.within({ account: "ann" }, () =>
      client.chat.completions.create({ ...request, messages: [{ role: "user", content: secret }] })
    )
    const refused = await client.chat.completions
      .create({
        ...request,
        max_completion_tokens: 16_384,
        n: 8,
        messages: [{ role: "user", content: secret }]
      })
      .then(() => "sent", tagOf)
    assert.strictEqual(refused, "BudgetExceeded")
    // Sent on the way too, by what the constructor has begun in the background.
    while (collector.spans().length < 3) await sleep(5)
    await session.close()
    const spans = collector.spans().map(({ attributes }) => attributes)
    assert.deepStrictEqual(
      spans.map((each) => [each["agent_budget.verdict"], each["agent_budget.account"], each["error.type"]]),
      [
        ["assumed", "root/ann", "503"],
        ["metered", "root/ann", undefined],
        ["refused", "root", "BudgetExceeded"]
      ]
    )
    const { spentUsd } = session.getSummary()
    const nano = spans.reduce((sum, each) => sum + Number(each["agent_budget.spent"] ?? 0), 0)
    assert.strictEqual(nano / 1e9, spentUsd)
    assert.includeMembers(
      collector.series().map(({ name, unit }) => `${name} ${unit}`),
      [
        "gen_ai.client.token.usage {token}",
        "gen_ai.client.operation.duration s",
        "agent_budget.spent {nano-USD}"
      ]
    )
    assert.isAbove(collector.raw().length, 1_000)
    assert.notInclude(collector.raw(), secret)
    assert.notInclude(collector.raw(), key)
  })

  it("makes its calls all the same where nobody collects", async () => {
    await using provider = await SimulatedProvider.start({ prices })
    const collector = await Collector.start()
    await collector[Symbol.asyncDispose]()
    const session = new BudgetedSession({ budgetUsd: 1, telemetry: exportTo(collector.url) })
    const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: key }))
    await client.chat.completions.create({ ...request, messages: [{ role: "user", content: secret }] })
    await session.close()
    assert.strictEqual(session.getSummary().calls, 1)
    assert.strictEqual(BigInt(Math.round(session.getTotalSpent() * 1e9)), provider.bill().totalNanoUsd)
  })
})
