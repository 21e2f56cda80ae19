/** A budgeted model some of whose requests its budget sees below: one call is charged once, and all of it. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch } from "agent-budget"
import * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
import * as BudgetedHttpClient from "agent-budget/BudgetedHttpClient"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Effect, Stream } from "effect"
import { AiError, EmbeddingModel } from "effect/ai"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import {
  answer,
  answered,
  ask,
  askedOf,
  booked,
  booksOf,
  dated,
  errorOf,
  ends,
  finish,
  finishOf,
  heard,
  large,
  limited,
  Live,
  nanos,
  options,
  saying,
  streaming,
  text,
  tooMany,
  url,
  type Ending
} from "./utils/modelScripts.ts"

const unknown = errorOf(new AiError.UnknownError({}))

describe("an answer that no budgeted request was billed for", () => {
  it.effect("is booked beside what one was billed", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const sum = nanos(12, 3) + nanos(10, 5)
      assert.deepStrictEqual(
        yield* booked(
          Effect.promise(() => ask(fetch, "gpt-4o-mini")),
          ends(finish)
        ),
        { calls: 1, spent: sum, assumed: sum }
      )
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked beside what one was billed, streamed", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const first = Stream.drain(Stream.fromEffect(Effect.promise(() => ask(fetch, "gpt-4o-mini"))))
      const inner = yield* streaming(Stream.concat(first, Stream.fromIterable([...heard, finish])))
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Stream.runDrain(model.streamText({ prompt: "Hello" }))
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(12, 3) + nanos(10, 5) })
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked beside a guardrail of another model", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o", 20, 1))
      const { calls, spent } = yield* booked(
        Effect.promise(() => ask(fetch, "gpt-4o")),
        ends(finish)
      )
      assert.deepStrictEqual([calls, spent], [1, large(20, 1) + nanos(10, 5)])
    }).pipe(Effect.provide(Live))
  )

  it.effect("is charged whole beside a guardrail of another model, where nothing is told of it", () =>
    Effect.gen(function* () {
      for (const end of [Effect.interrupt, Effect.succeed([text])]) {
        const before = booksOf(yield* Budget.Budget).spent
        const fetch = yield* answered(() => answer("gpt-4o", 20, 1))
        const { spent } = yield* booked(
          Effect.promise(() => ask(fetch, "gpt-4o")),
          end
        )
        assert.isAbove(spent - before, large(20, 1) + nanos(10, 100))
      }
    }).pipe(Effect.provide(Live))
  )

  it.effect("is charged whole beside two guardrails, as what the model asked for is held to its end", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const untold = [Effect.interrupt, Effect.succeed([text]), Effect.fail(unknown)]
      const told = ends(finishOf(10, 900))
      for (const end of [told, ...untold]) {
        const before = booksOf(budget).spent
        const fetch = yield* answered(() => answer("gpt-4o-mini", 20, 1))
        let held = 0
        const sends = Effect.promise(async () => {
          await ask(fetch, "gpt-4o-mini", 5)
          await ask(fetch, "gpt-4o-mini", 5)
          held = booksOf(budget).reserved
        })
        const { spent } = yield* booked(sends, end, { model: "gpt-4o", maxOutputTokens: 1_000 })
        assert.isAbove(held, large(10, 1_000))
        const own = end === told ? large(10, 900) : held
        assert.strictEqual(spent - before, 2 * nanos(20, 1) + own)
        if (end === told) assert.strictEqual(Number(budget.view().overrun), 0)
      }
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked beside one on an account below", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const below = Budget.within(
        Effect.promise(() => ask(fetch, "gpt-4o-mini")),
        { account: "ann" }
      )
      const { assumed, calls, spent } = yield* booked(Effect.orDie(below), ends(finish))
      assert.deepStrictEqual([calls, spent], [2, nanos(12, 3) + nanos(10, 5)])
      assert.strictEqual(assumed, nanos(10, 5))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked once, of two ends, where the other was seen", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const { spent } = yield* booked(
        Effect.promise(() => ask(fetch, "gpt-4o-mini")),
        ends(finishOf(12, 3), finish)
      )
      assert.strictEqual(spent, nanos(12, 3) + nanos(10, 5))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked also where another end cannot be true", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const { spent } = yield* booked(
        Effect.promise(() => ask(fetch, "gpt-4o-mini")),
        ends(finish, finishOf(0, 0))
      )
      assert.isAtLeast(spent, nanos(12, 3) + nanos(10, 5))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked beside what a budgeted embedding model sends", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const told = (tokens: number) =>
        Response.json({ data: [], usage: { prompt_tokens: tokens, total_tokens: tokens } })
      const fetch = yield* answered(
        () => told(4),
        () => told(6)
      )
      const send = async () => {
        const body = JSON.stringify({ model: "text-embedding-3-small", input: "one" })
        await (await fetch("https://api.openai.com/v1/embeddings", { method: "POST", body })).text()
      }
      const inner = yield* EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.promise(async () => {
            await send()
            return { results: inputs.map(() => [1]), usage: { inputTokens: 6 } }
          })
      })
      const model = yield* BudgetedEmbeddingModel.make(inner, { model: "text-embedding-3-small" })
      yield* model.embedMany(["one"])
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: 10 * 20 })
      yield* model.embedMany(["one"])
      assert.deepStrictEqual(booksOf(budget), { calls: 2, reserved: 0, spent: 16 * 20 })
    }).pipe(Effect.provide(Live))
  )

  it.effect("is booked beside what a budgeted HttpClient sends", () =>
    Effect.gen(function* () {
      const client = yield* BudgetedHttpClient.make(
        HttpClient.make((request) =>
          Effect.succeed(HttpClientResponse.fromWeb(request, answer("gpt-4o-mini", 12, 3)))
        )
      )
      const request = HttpClientRequest.post(url).pipe(
        HttpClientRequest.bodyJsonUnsafe(askedOf("gpt-4o-mini"))
      )
      const sent = Effect.orDie(Effect.flatMap(client.execute(request), ({ text: read }) => read))
      const { calls, spent } = yield* booked(sent, ends(finish))
      assert.deepStrictEqual([calls, spent], [1, nanos(12, 3) + nanos(10, 5)])
    }).pipe(Effect.provide(Live))
  )
})

describe("an answer that a budgeted request was billed for is charged as it was there", () => {
  const cases: Readonly<
    Record<
      string,
      {
        readonly sent: ReadonlyArray<readonly [model: string, answer: () => Response]>
        readonly end: Ending
        readonly calls: number
        readonly spent: number
      }
    >
  > = {
    "by another row of the same name": {
      sent: [["gpt-4o-2024-05-13", () => answer("gpt-4o-2024-05-13")]],
      end: ends(finish),
      calls: 1,
      spent: dated(10, 5)
    },
    "by another model": {
      sent: [["gpt-4o", () => answer("gpt-4o")]],
      end: ends(finish),
      calls: 1,
      spent: large(10, 5)
    },
    "after a guardrail of another model": {
      sent: [
        ["gpt-4o", () => answer("gpt-4o", 20, 1)],
        ["gpt-4o-mini", () => answer("gpt-4o-mini")]
      ],
      end: ends(finish),
      calls: 2,
      spent: large(20, 1) + nanos(10, 5)
    },
    "which is the sum of two": {
      sent: [
        ["gpt-4o", () => answer("gpt-4o", 20, 1)],
        ["gpt-4o-mini", () => answer("gpt-4o-mini", 12, 3)],
        ["gpt-4o-mini", () => answer("gpt-4o-mini")]
      ],
      end: ends(finishOf(22, 8)),
      calls: 3,
      spent: large(20, 1) + nanos(22, 8)
    },
    "which is the sum of two, with another one between them": {
      sent: [
        ["gpt-4o-mini", () => answer("gpt-4o-mini")],
        ["gpt-4o", () => answer("gpt-4o", 20, 1)],
        ["gpt-4o-mini", () => answer("gpt-4o-mini", 30, 7)]
      ],
      end: ends(finishOf(40, 12)),
      calls: 3,
      spent: nanos(40, 12) + large(20, 1)
    },
    "which is the sum of many in a row": {
      sent: [
        ["gpt-4o", () => answer("gpt-4o", 20, 1)],
        ...Array.from({ length: 13 }, () => ["gpt-4o-mini", () => answer("gpt-4o-mini")] as const)
      ],
      end: ends(finishOf(130, 65)),
      calls: 14,
      spent: nanos(130, 65) + large(20, 1)
    },
    "after one that was refused": {
      sent: [
        ["gpt-4o-mini", tooMany],
        ["gpt-4o-mini", () => answer("gpt-4o-mini")]
      ],
      end: ends(finish),
      calls: 1,
      spent: nanos(10, 5)
    },
    "and ended twice": {
      sent: [["gpt-4o-mini", () => answer("gpt-4o-mini")]],
      end: ends(finish, finish),
      calls: 1,
      spent: nanos(10, 5)
    },
    "whose thoughts only the total tells": {
      sent: [
        [
          "gpt-4o-mini",
          () =>
            Response.json({
              model: "gpt-4o-mini",
              choices: [],
              usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 35 }
            })
        ]
      ],
      end: ends(finish),
      calls: 1,
      spent: nanos(10, 25)
    },
    "and then not told": {
      sent: [["gpt-4o-mini", () => answer("gpt-4o-mini")]],
      end: Effect.fail(limited),
      calls: 1,
      spent: nanos(10, 5)
    },
    "of another row, whose name is all that is told": {
      sent: [["gpt-4o-2024-05-13", () => answer("gpt-4o-2024-05-13")]],
      end: Effect.succeed([{ type: "response-metadata", modelId: "gpt-4o-2024-05-13" }, text]),
      calls: 1,
      spent: dated(10, 5)
    },
    "and told as none": {
      sent: [["gpt-4o-mini", () => answer("gpt-4o-mini")]],
      end: ends(finishOf(10, 0)),
      calls: 1,
      spent: nanos(10, 5)
    }
  }
  for (const [name, { calls, end, sent, spent }] of Object.entries(cases)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const fetch = yield* answered(...sent.map(([, respond]) => respond))
        const requests = Effect.forEach(sent, ([model]) => Effect.promise(() => ask(fetch, model)))
        assert.deepStrictEqual(yield* booked(requests, end), { calls, spent, assumed: 0 })
      }).pipe(Effect.provide(Live))
    )
  }

  it.effect("on an account below, where the limit has room for both", () =>
    Effect.gen(function* () {
      const fetch = yield* answered(() => answer("gpt-4o-mini"))
      const below = Budget.within(
        Effect.promise(() => ask(fetch, "gpt-4o-mini")),
        { account: "ann" }
      )
      assert.deepStrictEqual(yield* booked(Effect.orDie(below), ends(finish)), {
        calls: 1,
        spent: nanos(10, 5),
        assumed: 0
      })
    }).pipe(Effect.provide(Live))
  )

  it.effect("through a model below a model, which both name another row", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o-2024-05-13"))
      const sends = Effect.as(
        Effect.promise(() => ask(fetch, "gpt-4o-2024-05-13")),
        [text, finish]
      )
      const inner = yield* BudgetedLanguageModel.make(yield* saying(sends), { ...options, model: "gpt-4o" })
      const outer = yield* BudgetedLanguageModel.make(inner, options)
      yield* outer.generateText({ prompt: "Hello" })
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: dated(10, 5) })
    }).pipe(Effect.provide(Live))
  )

  it.effect("where a request fails, and the call with it, whichever model that was", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => new Response("{}", { status: 500 }))
      const { calls, spent } = yield* booked(
        Effect.promise(() => ask(fetch, "gpt-4o")),
        Effect.interrupt
      )
      assert.strictEqual(calls, 1)
      assert.deepStrictEqual(Object.keys(budget.view().byModel), ["gpt-4o"])
      assert.isAbove(spent, large(10, 50))
    }).pipe(Effect.provide(Live))
  )
})

describe("an answer whose bill was lost below", () => {
  /** Its usage comes beside a part of the answer, and its end does not come. */
  const lost = (): Response =>
    new Response(
      `data: ${JSON.stringify({
        model: "gpt-4o-mini",
        choices: [{ index: 0, delta: { content: "Hi" } }],
        usage: { prompt_tokens: 10, completion_tokens: 5 }
      })}\n\n`,
      { headers: { "content-type": "text/event-stream" } }
    )
  const streamed = (fetch: BudgetedFetch.Fetch, model: string) =>
    Effect.promise(async () => {
      const body = JSON.stringify({ ...askedOf(model), stream: true })
      await (await fetch(url, { method: "POST", body })).text()
    })
  /** What it is charged by itself, on what a model with these options holds. */
  const held = Effect.gen(function* () {
    const budget = yield* Budget.Budget
    let reserved = 0
    yield* booked(
      Effect.sync(() => (reserved = booksOf(budget).reserved)),
      Effect.fail(limited)
    )
    return reserved
  })

  it.effect("is charged once, whole, where the model tells what costs no more", () =>
    Effect.gen(function* () {
      const whole = yield* held
      const { spent } = yield* booked(streamed(yield* answered(lost), "gpt-4o-mini"), ends(finish))
      assert.strictEqual(spent, whole)
      assert.strictEqual(Number((yield* Budget.Budget).view().overrun), 0)
    }).pipe(Effect.provide(Live))
  )

  it.effect("is none of two that are told: the other one is booked beside it", () =>
    Effect.gen(function* () {
      const whole = yield* held
      const { spent } = yield* booked(
        streamed(yield* answered(lost), "gpt-4o-mini"),
        ends(finish, finishOf(12, 3))
      )
      assert.strictEqual(spent, whole + nanos(12, 3))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is none that costs more than it was charged", () =>
    Effect.gen(function* () {
      const whole = yield* held
      const { spent } = yield* booked(
        streamed(yield* answered(lost), "gpt-4o-mini"),
        ends(finishOf(10, 5_000))
      )
      assert.strictEqual(spent, whole + nanos(10, 5_000))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is not that of another model, nor of a request that has none", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      for (const [respond, model] of [
        [lost, "gpt-4o"],
        [() => new Response("{}", { status: 500 }), "gpt-4o-mini"]
      ] as const) {
        const before = booksOf(budget).spent
        let reserved = 0
        const fetch = yield* BudgetedFetch.make({
          fetch: () => {
            reserved = booksOf(budget).reserved
            return Promise.resolve(respond())
          }
        })
        const { spent } = yield* booked(streamed(fetch, model), ends(finish))
        assert.strictEqual(spent - before, reserved + nanos(10, 5))
      }
    }).pipe(Effect.provide(Live))
  )
})

describe("an answer of an endpoint at the user's own maximum", () => {
  const chat = "https://api.openai.com/v1/my/chat"
  /** The books after a model that sends one request there, and what was held while it was under way. */
  const chatted = (maxUsd: string, status: number, end: Ending) =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      let reserved = 0
      const fetch = yield* BudgetedFetch.make({
        fetch: () => {
          reserved = booksOf(budget).reserved
          return Promise.resolve(new Response("{}", { status }))
        }
      }).pipe(Effect.provideService(BudgetedFetch.Policy, { endpoints: { "POST /my/chat": { maxUsd } } }))
      const sends = Effect.promise(async () => {
        await (await fetch(chat, { method: "POST", body: "{}" })).text()
      })
      const { calls, spent } = yield* booked(sends, end)
      return { calls, spent, reserved }
    })

  it.effect("is charged once, that maximum, which alone is held", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* chatted("0.05", 200, ends(finish)), {
        calls: 1,
        spent: 50_000_000,
        reserved: 50_000_000
      })
    }).pipe(Effect.provide(Live))
  )

  it.effect("is charged that maximum also where the model held more", () =>
    Effect.gen(function* () {
      const { calls, reserved, spent } = yield* chatted("0.00001", 200, ends(finish))
      assert.deepStrictEqual([calls, spent], [1, 10_000])
      assert.isAbove(reserved, nanos(10, 100))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is another one than a told usage that costs more", () =>
    Effect.gen(function* () {
      const { spent } = yield* chatted("0.000001", 200, ends(finish))
      assert.strictEqual(spent, 1_000 + nanos(10, 5))
    }).pipe(Effect.provide(Live))
  )

  it.effect("is what the model tells where it was refused there", () =>
    Effect.gen(function* () {
      const { calls, spent } = yield* chatted("0.05", 429, ends(finish))
      assert.deepStrictEqual([calls, spent], [1, nanos(10, 5)])
    }).pipe(Effect.provide(Live))
  )
})
