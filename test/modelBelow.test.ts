/** How a budgeted model and the requests below it meet, where one of them fails, falls back, is left or is late. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetedFetch,
  BudgetedOpenAi,
  BudgetedSession,
  BudgetError,
  BudgetExceededError,
  Pricing,
  TokenCounter,
  Usd
} from "agent-budget"
import * as BudgetedEmbeddingModel from "agent-budget/BudgetedEmbeddingModel"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Result, Stream, Tracer } from "effect"
import { AiError, EmbeddingModel, LanguageModel, Model, type Response as Parts } from "effect/ai"
import { TestClock } from "effect/testing"
import OpenAI from "openai"
import {
  answer,
  answered,
  ask,
  askedOf,
  assumedOf,
  bodyOf,
  booksOf,
  errorOf,
  finish,
  heard,
  limited,
  live,
  Live,
  nanos,
  options,
  saying,
  streaming,
  text,
  tooMany,
  url
} from "./utils/modelScripts.ts"

const whole = nanos(10, 100)
const good = saying(Effect.succeed([text, finish]))

describe("a failure after a part of the answer", () => {
  const refused = Effect.gen(function* () {
    const fetch = yield* BudgetedFetch.make({
      fetch: () => Promise.reject(new Error("never")),
      refusal: "throw"
    })
    const asked = Effect.tryPromise({
      try: () => fetch("https://api.openai.com/v1/videos", { method: "POST" }),
      catch: (cause) =>
        errorOf(new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "/", cause }))
    })
    return Stream.drain(Stream.fromEffect(asked))
  })
  const ends = {
    "a rate limit": Effect.succeed(Stream.fail(limited)),
    "a quota": Effect.succeed(Stream.fail(errorOf(new AiError.QuotaExhaustedError({})))),
    "an invalid request": Effect.succeed(Stream.fail(errorOf(new AiError.InvalidRequestError({})))),
    "a body that could not be written": Effect.succeed(
      Stream.fail(errorOf(new AiError.NetworkError({ reason: "EncodeError", method: "POST", url: "/" })))
    ),
    "a refusal below": refused
  }
  for (const [name, end] of Object.entries(ends)) {
    it.effect(`is charged whole: ${name}`, () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const inner = yield* streaming(Stream.concat(Stream.fromIterable(heard), yield* end))
        const model = yield* BudgetedLanguageModel.make(inner, options)
        yield* Effect.ignore(Stream.runDrain(model.streamText({ prompt: "Hello" })))
        const { calls, reserved, spent } = booksOf(budget)
        assert.deepStrictEqual([calls, reserved], [1, 0])
        assert.isAbove(spent, whole)
      }).pipe(Effect.provide(Live))
    )
  }

  it.effect("is charged whole where a free request below came before", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(tooMany()) })
      const first = Stream.drain(Stream.fromEffect(Effect.promise(() => ask(fetch, "gpt-4o-mini"))))
      // Then by a way that nobody watches.
      const parts = Stream.concat(Stream.fromIterable(heard), Stream.fail(limited))
      const inner = yield* streaming(Stream.concat(first, parts))
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Effect.ignore(Stream.runDrain(model.streamText({ prompt: "Hello" })))
      const { calls, reserved, spent } = booksOf(budget)
      assert.deepStrictEqual([calls, reserved], [1, 0])
      assert.isAbove(spent, whole)
    }).pipe(Effect.provide(Live))
  )
})

describe("requests of the same budget below a model, the first of them free", () => {
  for (const [name, other, bill] of [
    ["another one after it", "gpt-4o", 10 * 2_500 + 5 * 10_000],
    ["one beside it", "gpt-4o-mini", nanos(10, 5)]
  ] as const) {
    it.effect(`what ${name} was billed is booked once`, () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const begun = yield* Deferred.make<undefined>()
        let sent = 0
        const fetch = yield* BudgetedFetch.make({
          fetch: async () => {
            if (++sent > 1) return answer(other)
            // The first is refused while the second is under way, where that is asked for at the same time.
            if (other === "gpt-4o-mini") await Effect.runPromise(Deferred.await(begun))
            return tooMany()
          }
        })
        const both = async (): Promise<void> => {
          const first = ask(fetch, "gpt-4o-mini")
          if (other !== "gpt-4o-mini") await first
          await ask(fetch, other)
          Effect.runSync(Deferred.succeed(begun, undefined))
          await first
        }
        const inner = yield* saying(Effect.as(Effect.promise(both), [text, finish]))
        const model = yield* BudgetedLanguageModel.make(inner, options)
        yield* model.generateText({ prompt: "Hello" })
        assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: bill })
      }).pipe(Effect.provide(Live))
    )
  }

  it.effect("what is still under way when the model fails is booked once, by itself", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const failed = yield* Deferred.make<undefined>()
      let sent = 0
      const fetch = yield* BudgetedFetch.make({
        fetch: async () => {
          if (++sent === 1) return tooMany()
          await Effect.runPromise(Deferred.await(failed))
          return answer("gpt-4o-mini")
        }
      })
      let late: Promise<void> = Promise.resolve()
      const both = async (): Promise<void> => {
        const first = ask(fetch, "gpt-4o-mini")
        late = ask(fetch, "gpt-4o-mini")
        await first
      }
      const inner = yield* saying(Effect.andThen(Effect.promise(both), Effect.fail(limited)))
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Effect.exit(model.generateText({ prompt: "Hello" }))
      yield* Deferred.succeed(failed, undefined)
      yield* Effect.promise(() => late)
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(10, 5) })
    }).pipe(Effect.provide(Live))
  )
})

describe("the name of the model", () => {
  const named = (name: string) => Model.make("openai", name, Layer.effect(LanguageModel.LanguageModel, good))

  it.effect("is that of where the layer was built, whatever the caller is provided with", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const Budgeted = BudgetedLanguageModel.layer({ maxOutputTokens: 10 }).pipe(
        Layer.provide(named("gpt-4o"))
      )
      const model = yield* Effect.provide(LanguageModel.LanguageModel, Budgeted)
      yield* Effect.provide(model.generateText({ prompt: "Hello" }), named("gpt-4o-mini"))
      assert.deepStrictEqual(Object.keys(budget.view().byModel), ["gpt-4o"])
    }).pipe(Effect.provide(Live))
  )
})

describe("a model that is left while a request below asks for more", () => {
  it.effect("leaves nothing reserved", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const counting = yield* Deferred.make<undefined>()
      const counted = yield* Deferred.make<undefined>()
      const real = yield* TokenCounter.orShared
      const slow: typeof real = {
        ...real,
        count: (...given) =>
          Deferred.succeed(counting, undefined).pipe(
            Effect.andThen(Deferred.await(counted)),
            Effect.andThen(Effect.suspend(() => real.count(...given)))
          )
      }
      const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(answer("gpt-4o-mini")) }).pipe(
        Effect.provideService(TokenCounter.TokenCounter, slow),
        Effect.provideService(BudgetedFetch.Policy, { inputBound: "counted" })
      )
      let below: Promise<unknown> = Promise.resolve()
      const sent = Effect.promise((signal) => {
        below = fetch(url, { ...bodyOf("gpt-4o-mini", 5_000), signal }).catch(() => undefined)
        return below
      })
      const model = yield* BudgetedLanguageModel.make(yield* saying(Effect.as(sent, [text, finish])), options)
      const fiber = yield* Effect.forkChild(model.generateText({ prompt: "Hello" }))
      yield* Deferred.await(counting)
      assert.isAbove(booksOf(budget).reserved, 0)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.succeed(counted, undefined)
      yield* Effect.promise(() => below)
      assert.deepStrictEqual(booksOf(budget), { calls: 0, reserved: 0, spent: 0 })
    }).pipe(Effect.provide(Live))
  )
})

describe("a fiber that is run anew below a model", () => {
  /** A model whose provider has a fiber of its own for each call, in the context that it was built in. */
  const running = (send: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const context = yield* Effect.context()
      const sends = Effect.promise(() => Effect.runPromiseWith(context)(send))
      return yield* BudgetedLanguageModel.make(yield* saying(Effect.as(sends, [text, finish])), options)
    })
  const provider = () => Promise.resolve(answer("gpt-4o-mini"))
  const asking = Effect.map(BudgetedFetch.make({ fetch: provider }), (fetch) =>
    Effect.promise(() => ask(fetch, "gpt-4o-mini"))
  )
  const tracer = Tracer.make({ span: (given) => new Tracer.NativeSpan(given) })
  const client = new OpenAI({ apiKey: "none", maxRetries: 0, fetch: provider })
  const ways = {
    "by a fetch": asking,
    "by a fetch, and is traced": Effect.map(asking, Effect.withTracer(tracer)),
    "by the service": Effect.map(BudgetedOpenAi.make(client), ({ use }) =>
      use((openai) => openai.post("/chat/completions", { body: askedOf("gpt-4o-mini") }))
    ),
    "by another model": Effect.flatMap(good, (inner) =>
      Effect.map(BudgetedLanguageModel.make(inner, options), (model) =>
        model.generateText({ prompt: "Hello" })
      )
    )
  }
  for (const [name, way] of Object.entries(ways)) {
    for (const account of [undefined, "ann"]) {
      it.effect(`sends ${name}, which is charged once${account ? ", on the account of both" : ""}`, () =>
        Effect.gen(function* () {
          const budget = yield* Budget.Budget
          const call = Effect.gen(function* () {
            const model = yield* running(yield* way)
            yield* model.generateText({ prompt: "Hello" })
          })
          yield* account === undefined ? call : Budget.within(call, { account })
          assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(10, 5) })
        }).pipe(Effect.provide(Live))
      )
    }
  }

  it.live("does not wait for room that the model holds", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const inner = yield* BudgetedLanguageModel.make(yield* good, options)
      const send = inner
        .generateText({ prompt: "Hello" })
        .pipe(Budget.within({ account: "below" }), Effect.provideService(Budget.Budget, budget))
      const model = yield* running(Effect.exit(send))
      // It would wait for an hour.
      yield* Effect.timeout(model.generateText({ prompt: "Hello" }), "10 seconds")
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(10, 5) })
      assert.strictEqual(budget.view().refused, 1)
    }).pipe(
      Effect.provide(
        Layer.merge(
          live({ limit: Usd.nanos(100_000), onExceeded: "wait", waitAtMost: "1 hour" }),
          BudgetedFetch.layer({ inputBound: "bytes" })
        )
      )
    )
  )
})

describe("the account of session.within", () => {
  const spentBy = async (session: BudgetedSession) =>
    Object.fromEntries((await session.balances()).map(({ account, spentUsd }) => [account, spentUsd]))
  const bill = nanos(10, 5) / 1e9

  const layerOf = (session: BudgetedSession, inner = good) =>
    BudgetedLanguageModel.layer(options).pipe(
      Layer.provide(Layer.effect(LanguageModel.LanguageModel, inner)),
      Layer.provide(session.layer)
    )

  it("holds for a budgeted model that is run inside, and for what it sends", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const fetch = await Effect.runPromise(
      Effect.provide(
        BudgetedFetch.make({ fetch: () => Promise.resolve(answer("gpt-4o-mini")) }),
        session.layer
      )
    )
    const sending = saying(
      Effect.as(
        Effect.promise(() => ask(fetch, "gpt-4o-mini")),
        [text, finish]
      )
    )
    const call = LanguageModel.generateText({ prompt: "Hello" })
    const [plain, over] = [layerOf(session), layerOf(session, sending)]
    await session.within({ account: "ann" }, async () => {
      await Effect.runPromise(Effect.provide(call, plain))
      assert.deepStrictEqual(await spentBy(session), { root: bill, "root/ann": bill })
      await Effect.runPromise(Effect.provide(call, over))
      assert.deepStrictEqual(await spentBy(session), { root: 2 * bill, "root/ann": 2 * bill })
    })
    await session.within({ account: "bob", budgetUsd: "0.0000001" }, async () => {
      const error: unknown = await Effect.runPromise(Effect.flip(Effect.provide(call, plain)))
      assert.isTrue(BudgetExceededError.is(error))
      const streamed = Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))
      assert.isTrue(Exit.isFailure(await Effect.runPromiseExit(Effect.provide(streamed, plain))))
    })
    assert.strictEqual(session.getTotalSpent(), 2 * bill)
  })

  it("holds for a budgeted embedding model, whose texts share a request only on one account", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const sizes: Array<number> = []
    const model = await Effect.runPromise(
      Effect.gen(function* () {
        const inner = yield* EmbeddingModel.make({
          embedMany: ({ inputs }) => {
            sizes.push(inputs.length)
            return Effect.succeed({
              results: inputs.map(() => [1]),
              usage: { inputTokens: 3 * inputs.length }
            })
          }
        })
        return yield* BudgetedEmbeddingModel.make(inner, { model: "text-embedding-3-small" })
      }).pipe(Effect.provide(session.layer))
    )
    const embed = (account: string) =>
      session.within({ account }, async () => {
        await Effect.runPromise(
          Effect.forEach(["one", "two"], (each) => model.embed(each), { concurrency: "unbounded" })
        )
        return (await spentBy(session))[`root/${account}`]
      })
    const spent = await Promise.all([embed("ann"), embed("bob")])
    assert.deepStrictEqual(sizes, [2, 2])
    assert.deepStrictEqual(spent, [120 / 1e9, 120 / 1e9])
  })

  it("session.layer of another session leaves the account of this one where it is", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    await using other = new BudgetedSession({ budgetUsd: 1 })
    const program = Effect.gen(function* () {
      const model = yield* BudgetedLanguageModel.make(yield* good, options)
      const call = model.generateText({ prompt: "Hello" })
      const both = Effect.gen(function* () {
        yield* call
        const inside = other.within({ account: "elsewhere" }, () => Promise.resolve(other.layer))
        yield* Effect.provide(call, yield* Effect.promise(() => inside))
        return yield* Effect.promise(() => spentBy(session))
      })
      return yield* Budget.within(both, { account: "bob" })
    })
    const spent = await session.within({ account: "x" }, () =>
      Effect.runPromise(Effect.provide(program, session.layer))
    )
    assert.deepStrictEqual(spent, { root: 2 * bill, "root/x": 2 * bill, "root/x/bob": 2 * bill })
  })
})

describe("prices of the user's that throw as a model's call ends", () => {
  const bug = (): never => {
    throw new Error("a bug")
  }

  /** What is held inside of a call that sends `below`, and the books once its usage was told and the prices threw. */
  const charged = (below: ReadonlyArray<() => Response>) =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      let isTold = false
      const Dying = Layer.effect(
        Pricing.Pricing,
        Effect.map(Pricing.Pricing, (pricing) =>
          Pricing.Pricing.of({
            ...pricing,
            find: (...given) => (isTold ? bug() : pricing.find(...given)),
            price: (...given) => (isTold ? bug() : pricing.price(...given))
          })
        )
      )
      const services = yield* Layer.build(Layer.provideMerge(Dying, Live))
      return yield* Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const fetch = yield* answered(...below)
        let held = 0
        const sends = Effect.promise(async () => {
          for (const _ of below) await ask(fetch, "gpt-4o")
          held = booksOf(budget).reserved
          isTold = true
        })
        const named: Parts.ResponseMetadataPartEncoded = {
          type: "response-metadata",
          id: undefined,
          modelId: "gpt-4o-mini",
          timestamp: undefined
        }
        const inner = yield* saying(Effect.as(sends, [named, text, finish]))
        const model = yield* BudgetedLanguageModel.make(inner, options)
        const { text: said } = yield* model.generateText({ prompt: "Hello" })
        assert.strictEqual(said, "Hi")
        const logs = logged.filter((each) => each.startsWith("The end of a call died"))
        return { held, logs: logs.length, assumed: assumedOf(budget), ...booksOf(budget) }
      }).pipe(
        Effect.provideContext(services),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))]))
      )
    }).pipe(Effect.scoped)

  it.effect("cost the answer nothing: all that it holds is charged", () =>
    Effect.gen(function* () {
      const { assumed, calls, held, logs, reserved, spent } = yield* charged([])
      assert.isAbove(held, 0)
      assert.deepStrictEqual(
        { assumed, calls, logs, reserved, spent },
        { assumed: held, calls: 1, logs: 1, reserved: 0, spent: held }
      )
    })
  )

  it.effect("also where a request below, which was free, had more reserved", () =>
    Effect.gen(function* () {
      const { held: own } = yield* charged([])
      const { assumed, calls, held, logs, reserved, spent } = yield* charged([tooMany])
      assert.isAbove(held, own)
      assert.deepStrictEqual(
        { assumed, calls, logs, reserved, spent },
        { assumed: held, calls: 1, logs: 1, reserved: 0, spent: held }
      )
    })
  )

  it.effect("or before it begins leave nothing reserved", () =>
    Effect.gen(function* () {
      let calls = 0
      let sent = 0
      // The price of the moment of admission, where two may be served, is asked for last.
      const Dying = Layer.effect(
        Pricing.Pricing,
        Effect.map(Pricing.Pricing, (pricing) =>
          Pricing.Pricing.of({
            ...pricing,
            price: (...given) =>
              ++calls > 2 ? bug() : Result.map(pricing.price(...given), (price) => ({ ...price }))
          })
        )
      )
      const services = yield* Layer.build(Layer.provideMerge(Dying, Live))
      yield* Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const inner = yield* saying(
          Effect.sync(() => {
            sent++
            return [text, finish]
          })
        )
        const model = yield* BudgetedLanguageModel.make(inner, options)
        const exit = yield* Effect.exit(model.generateText({ prompt: "Hello" }))
        assert.isTrue(Exit.hasDies(exit))
        assert.deepStrictEqual([calls, sent, booksOf(budget).reserved], [3, 0, 0])
      }).pipe(Effect.provideContext(services))
    }).pipe(Effect.scoped)
  )
})

describe("a price that rises while a call waits", () => {
  const before = Date.UTC(2027, 1, 25)
  const body = { ...askedOf("gpt-6.2-sol"), service_tier: "ultrafast" }
  const sending = Effect.gen(function* () {
    const sent: Array<number> = []
    const fetch = yield* BudgetedFetch.make({
      fetch: () => {
        sent.push(1)
        return Promise.resolve(answer("gpt-6.2-sol"))
      }
    })
    const init = { method: "POST", body: JSON.stringify(body) }
    const call = Effect.promise(async () => {
      const response = await fetch(url, init)
      await response.text()
      return response.status
    })
    return { sent, call }
  })
  const running = Effect.gen(function* () {
    const sent: Array<number> = []
    const inner = yield* saying(
      Effect.sync(() => {
        sent.push(1)
        return [text, finish]
      })
    )
    const model = yield* BudgetedLanguageModel.make(inner, { model: "gpt-6.2-sol", maxOutputTokens: 50 })
    const call = model
      .generateText({ prompt: "Hello" })
      .pipe(Effect.match({ onFailure: () => 402, onSuccess: () => 200 }))
    return { sent, call }
  })
  const ways = { "by fetch": sending, "of a model": running }

  /** How it ends where it waits behind a call that holds everything, and what was held for it. */
  const waited = (way: (typeof ways)[keyof typeof ways], times: number, prices = Pricing.layer) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(before)
      const budget = yield* Budget.Budget
      const { call, sent } = yield* way
      const held: Array<number> = []
      yield* Effect.forkChild(
        Stream.runForEach(budget.events, (event) =>
          Effect.sync(() => {
            if (event._tag === "Reserved") held.push(event.amount)
          })
        ),
        { startImmediately: true }
      )
      yield* call
      yield* Effect.yieldNow
      const [early = 0] = held
      yield* budget.setLimit("root", Usd.nanos(budget.view().spent + early * times))
      const all = yield* budget.acquire({ least: Usd.nanos(early * times) })
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* TestClock.adjust("4 days")
      yield* budget.release(all)
      yield* TestClock.adjust("1 minute")
      // Where the budget cannot hold the new price it waits again, and is refused in the end.
      yield* TestClock.adjust("5 days")
      const status = yield* Fiber.join(fiber)
      const { refused, reserved } = budget.view()
      return { status, calls: sent.length - 1, last: (held.at(-1) ?? 0) / early, refused, reserved }
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          Budget.layerMemory({ limit: Usd.dollars("1"), onExceeded: "wait", waitAtMost: "5 days" }),
          prices,
          BudgetedFetch.layer({ tier: "ultrafast", inputBound: "bytes" })
        )
      )
    )

  /** Prices of the user's that go on to the end of February. */
  const Ending = Layer.effect(
    Pricing.Pricing,
    Effect.map(Pricing.Pricing, (pricing) =>
      Pricing.Pricing.of({
        ...pricing,
        price: (model, tier, options) =>
          (options?.at ?? 0) < Date.UTC(2027, 2, 1)
            ? pricing.price(model, tier, options)
            : Result.fail(BudgetError.because(new BudgetError.UnpricedTier({ model, tier })))
      })
    )
  ).pipe(Layer.provide(Pricing.layer))

  for (const [name, way] of Object.entries(ways)) {
    it.effect(`is held as it is by then: ${name}`, () =>
      Effect.gen(function* () {
        // The bundled table knows that this tier costs twice as much from March 2027 on.
        assert.deepStrictEqual(yield* waited(way, 2), {
          status: 200,
          calls: 1,
          last: 2,
          refused: 0,
          reserved: 0
        })
      })
    )

    it.effect(`is not sent for the old one: ${name}`, () =>
      Effect.gen(function* () {
        const { calls, status } = yield* waited(way, 1)
        assert.deepStrictEqual([status, calls], [402, 0])
      })
    )

    it.effect(`is refused, with nothing held, where there is none any more: ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* waited(way, 2, Ending), {
          status: 402,
          calls: 0,
          last: 1,
          refused: 1,
          reserved: 0
        })
      })
    )
  }
})
