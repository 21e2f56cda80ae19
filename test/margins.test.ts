/** The alarm that a constant has gone stale: told once, near the bound and nowhere else, and never a change of a quote. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, Pricing, Quote, TokenCounter, Usage, Usd } from "agent-budget"
import { Effect, Layer, Logger, Metric, Result, Stream } from "effect"
import { isThin, shareOf, takenOf } from "../src/internal/margins.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import { excluded } from "../scripts/examineQuote.ts"
import * as recorded from "./utils/recorded.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())

describe("a margin", () => {
  it("is taken from its bound downwards", () => {
    const bound = { input: 1_000, margin: 20 }
    assert.strictEqual(takenOf(bound, 980), 0)
    assert.strictEqual(takenOf(bound, 990), 0.5)
    assert.strictEqual(takenOf(bound, 1_000), 1)
    assert.isBelow(takenOf(bound, 500), 0)
    assert.strictEqual(shareOf(bound, 990), 0.99)
  })

  it("is thin above nine tenths, however near the bill is to the whole bound", () => {
    const long = { input: 102_000, margin: 1_020 }
    assert.isFalse(isThin(long, 101_000))
    assert.isFalse(isThin(long, 101_898))
    assert.isTrue(isThin(long, 101_899))
    const short = { input: 40, margin: 20 }
    assert.isFalse(isThin(short, 38))
    assert.isTrue(isThin(short, 39))
    assert.isTrue(isThin(short, 400))
  })

  it("that is none tells nothing", () => {
    assert.isFalse(isThin({ input: 128_000, margin: 0 }, 128_000))
  })
})

describe("the margin of a quote", () => {
  const quoteOf = (body: object, path = "/responses"): Quote.Quote =>
    Result.getOrThrow(Quote.make(pricing, { method: "POST", path, body }))

  it("is the hundredth of the texts and the twenty of the request, where they are counted", async () => {
    const counted = await Effect.runPromise(
      Quote.countedBy(counter, quoteOf({ model: "gpt-4o", input: "word ".repeat(1_000) }))
    )
    assert.strictEqual(counted.count, 1_001)
    assert.strictEqual(counted.margin, 11 + 20)
    // 3 for the request and 4 for the message are what it is billed for beyond its text.
    assert.strictEqual(counted.input - counted.margin, 1_001 + 3 + 4)
  })

  it("is the length of the request where it is not counted, and none where a window bounds it", () => {
    const quote = quoteOf({ model: "gpt-4o", input: "Hi" })
    assert.strictEqual(quote.margin, quote.input)
    assert.isUndefined(quote.count)
    assert.strictEqual(quoteOf({ model: "gpt-4o", input: "Hi", conversation: "c" }).margin, 0)
  })

  it("leaves images out, whose formulas are met to a few tokens", async () => {
    const image_url = `data:image/png;base64,${Buffer.alloc(40).toString("base64")}`
    const content = [{ type: "input_image", image_url }]
    const quote = quoteOf({ model: "gpt-4o", input: [{ role: "user", content }] })
    assert.isAbove(quote.plan.input.images, 765)
    assert.strictEqual(quote.margin, quote.input - quote.plan.input.images)
    const counted = await Effect.runPromise(Quote.countedBy(counter, quote))
    assert.strictEqual(counted.count, counted.plan.input.images)
    assert.strictEqual(counted.margin, 20)
  })
})

const url = "https://api.openai.com/v1/chat/completions"
const words = "word ".repeat(1_000)

/** Calls that are billed for so many input tokens; the events, what was logged, the summary and the metric. */
const calling = (model: string, billed: ReadonlyArray<number>, policy: BudgetedFetch.PolicyOptions) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make((options) => {
      lines.push(String(options.message))
    })
    const bills = [...billed]
    const fetch: BudgetedFetch.Fetch = () => {
      const prompt_tokens = bills.shift() ?? 0
      return Promise.resolve(
        Response.json({
          model,
          usage: { prompt_tokens, completion_tokens: 1, total_tokens: prompt_tokens + 1 }
        })
      )
    }
    const body = JSON.stringify({ model, max_tokens: 5, messages: [{ role: "user", content: words }] })
    const held: Array<number> = []
    const program = Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const events: Array<Budget.Event> = []
      yield* budget.events.pipe(
        Stream.runForEach((event) => Effect.sync(() => events.push(event))),
        Effect.forkChild({ startImmediately: true })
      )
      const budgeted = yield* BudgetedFetch.make({ fetch, refusal: "throw" })
      for (const _ of billed) {
        const response = yield* Effect.promise(() => budgeted(url, { method: "POST", body }))
        held.push(...budget.outstanding().map((each) => Number(each.amount)))
        yield* Effect.promise(() => response.text())
        yield* Effect.yieldNow
      }
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      const gauges = (yield* Metric.snapshot).filter(({ id }) => id === "agent_budget_billed_over_quoted")
      return {
        events: events.filter((event) => event._tag === "MarginThin"),
        held,
        lines,
        gauges,
        view: budget.view()
      }
    })
    return yield* Effect.provide(
      program,
      Layer.mergeAll(
        Budget.layerMemory({ limit: Usd.dollars("10") }),
        Pricing.layer,
        BudgetedFetch.layer(policy),
        Logger.layer([logger]),
        Layer.succeed(Metric.MetricRegistry, new Map())
      )
    )
  })

const counted = { inputBound: "counted" } as const
/** 1,001 words and what they are billed for; a margin of 11 + 20 beyond it. */
const asBilled = 1_001 + 3 + 4
const bound = asBilled + 31

describe("a bill near its bound", () => {
  it.effect("that keeps to its constants is no alarm, though it is most of the bound", () =>
    Effect.gen(function* () {
      const { events, gauges, lines, view } = yield* calling("gpt-4o", [asBilled, 500], counted)
      assert.deepStrictEqual(events, [])
      assert.deepStrictEqual(lines, [])
      assert.strictEqual(view.byModel["gpt-4o"]?.closest, asBilled / bound)
      assert.isAbove(asBilled / bound, 0.97)
      assert.deepStrictEqual(
        gauges.map(({ attributes, state }) => [attributes, state]),
        [[{ model: "gpt-4o" }, { value: asBilled / bound }]]
      )
    })
  )

  it.effect(
    "that takes nine tenths of its margin is told once a budget, logged once a process, and held as ever",
    () =>
      Effect.gen(function* () {
        const first = yield* calling("gpt-4.1", [asBilled, bound - 3, bound - 1, bound], counted)
        assert.deepStrictEqual(first.events, [
          {
            _tag: "MarginThin",
            account: "root",
            model: "gpt-4.1",
            billed: bound - 3,
            quoted: bound,
            margin: 31
          }
        ])
        assert.strictEqual(first.lines.length, 1)
        assert.match(first.lines[0] ?? "", /gpt-4\.1 was billed for 1036 input tokens of a bound of 1039/)
        assert.strictEqual(first.view.byModel["gpt-4.1"]?.closest, 1)
        assert.strictEqual(new Set(first.held).size, 1)
        const again = yield* calling("gpt-4.1", [bound], counted)
        assert.strictEqual(again.events.length, 1)
        assert.deepStrictEqual(again.lines, [])
        assert.deepStrictEqual(again.held, first.held.slice(0, 1))
      })
  )

  it.effect("by its length is an alarm at nine tenths of all of it", () =>
    Effect.gen(function* () {
      const body = { model: "gpt-4", max_tokens: 5, messages: [{ role: "user", content: words }] }
      const { input } = Result.getOrThrow(
        Quote.make(pricing, { method: "POST", path: "/chat/completions", body })
      )
      const near = Math.floor(input * 0.9)
      const bytes = { inputBound: "bytes" } as const
      assert.deepStrictEqual((yield* calling("gpt-4", [near], bytes)).events, [])
      assert.strictEqual((yield* calling("gpt-4", [near + 1], bytes)).events.length, 1)
    })
  )

  it.effect("that was assumed says nothing of it", () =>
    Effect.gen(function* () {
      const { events, view } = yield* calling("gpt-4o-mini", [0], counted)
      assert.strictEqual(view.byModel["gpt-4o-mini"]?.closest, 0)
      assert.strictEqual(view.byModel["gpt-4o-mini"]?.assumed, view.spent)
      assert.deepStrictEqual(events, [])
    })
  )
})

describe("a bill without a bound", () => {
  it.effect("leaves the summary as it is", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const held = yield* budget.acquire({ least: Usd.dollars("1"), label: "search" })
      const usage = Usage.make({ input: 10 })
      yield* budget.settle(held, { amount: Usd.dollars("1"), verdict: "metered", usage })
      assert.strictEqual(budget.view().byModel["search"]?.closest, 0)
    }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("2") })))
  )
})

describe.skipIf(!recorded.isThere)("recorded traffic", () => {
  it(`takes less than nine tenths of every margin, on either rung (left out: ${excluded})`, async () => {
    const launch = { from: Date.UTC(2025, 2, 1) / 1_000, until: Date.UTC(2025, 3, 1) / 1_000 }
    let compared = 0
    const thin: Array<string> = []
    for (const { created, id, path, request, usage } of recorded.exchanges()) {
      const isLaunch = path === "/responses" && request.model === "gpt-4o" && typeof created === "number"
      if (isLaunch && created >= launch.from && created < launch.until) continue
      const found = OpenAiEndpoints.recognise("POST", path)
      const quoted = Quote.make(pricing, { method: "POST", path, body: request })
      if (found._tag !== "Priced" || Result.isFailure(quoted)) continue
      const billed = found.endpoint.read({ usage })?.usage.input
      if (billed === undefined) continue
      for (const quote of [
        quoted.success,
        await Effect.runPromise(Quote.countedBy(counter, quoted.success))
      ]) {
        if (quote.margin > 0) compared++
        if (isThin(quote, billed)) thin.push(`${id}: ${billed} of ${quote.input}, margin ${quote.margin}`)
      }
    }
    assert.deepStrictEqual(thin, [])
    assert.isAbove(compared, 6_000)
  }, 60_000)
})
