/** A budgeted model and a request below that asks for more, is refused, is left, or outlives it. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, BudgetedSession, BudgetExceededError, TokenCounter, Usd } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  answer,
  answered,
  ask,
  bodyOf,
  booked,
  booksOf,
  ends,
  finish,
  finishOf,
  heard,
  large,
  limited,
  live,
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

/** Asks of about a cent: the model's $0.01 and the request's $0.012, of a budget that has room for one. */
const cents = { model: "gpt-4o", maxOutputTokens: 1_000 }
const limit = Usd.dollars("0.016")

/** Sends a request that asks for more than the model did, and is to be admitted. */
const more = (fetch: BudgetedFetch.Fetch) =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { ...bodyOf("gpt-4o", 1_200), signal })
    assert.strictEqual(response.status, 200)
    await response.text()
  })
const asking = (fetch: BudgetedFetch.Fetch) =>
  Effect.flatMap(saying(Effect.as(more(fetch), [text, finish])), (inner) =>
    BudgetedLanguageModel.make(inner, cents)
  )

/** Two go on when both have come. */
const meeting = (both: Deferred.Deferred<undefined>) => {
  let begun = 0
  return Effect.suspend(() =>
    ++begun === 2
      ? Effect.andThen(Deferred.succeed(both, undefined), Deferred.await(both))
      : Deferred.await(both)
  )
}

describe("a model's call that is interrupted as it is admitted", () => {
  for (const way of ["whole", "streamed"] as const) {
    it.effect(`has not begun, and is charged nothing (${way})`, () =>
      Effect.gen(function* () {
        const own = yield* Budget.Budget
        const asked = yield* Deferred.make<undefined>()
        const open = yield* Deferred.make<undefined>()
        const slow = Budget.Budget.of({
          ...own,
          acquire: (ask) =>
            Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(open)).pipe(
              Effect.andThen(own.acquire(ask)),
              Effect.uninterruptible
            )
        })
        let ran = false
        const first = Effect.sync(() => {
          ran = true
          return [text, finish]
        })
        const inner =
          way === "whole" ? yield* saying(first) : yield* streaming(Stream.drain(Stream.fromEffect(first)))
        const model = yield* BudgetedLanguageModel.make(inner, options).pipe(
          Effect.provideService(Budget.Budget, slow)
        )
        const call: Effect.Effect<unknown, unknown> =
          way === "whole"
            ? model.generateText({ prompt: "Hello" })
            : Stream.runDrain(model.streamText({ prompt: "Hello" }))
        const fiber = yield* Effect.forkChild(call)
        yield* Deferred.await(asked)
        fiber.interruptUnsafe()
        yield* Deferred.succeed(open, undefined)
        yield* Fiber.await(fiber)
        assert.isFalse(ran)
        assert.deepStrictEqual(booksOf(own), { calls: 0, reserved: 0, spent: 0 })
      }).pipe(Effect.provide(Live))
    )
  }
})

describe("a request below that asks for more", () => {
  it.effect("is admitted where there is room for it alone", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const model = yield* asking(yield* answered(() => answer("gpt-4o")))
      yield* model.generateText({ prompt: "Hello" })
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: large(10, 5) })
      assert.strictEqual(budget.view().refused, 0)
    }).pipe(Effect.provide(live({ limit })))
  )

  it.effect("is admitted so below two models", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const inner = yield* asking(yield* answered(() => answer("gpt-4o")))
      const outer = yield* BudgetedLanguageModel.make(inner, { ...cents, maxOutputTokens: 900 })
      yield* outer.generateText({ prompt: "Hello" })
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: large(10, 5) })
    }).pipe(Effect.provide(live({ limit })))
  )

  it.effect("waits where the budget waits, and holds nothing while it does", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o"))
      const first = yield* budget.acquire({ least: Usd.dollars("0.005") })
      const model = yield* asking(fetch)
      const fiber = yield* Effect.forkChild(model.generateText({ prompt: "Hello" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(booksOf(budget).reserved, Number(first.amount))
      yield* budget.release(first)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: large(10, 5) })
    }).pipe(Effect.provide(live({ limit, onExceeded: "wait" })))
  )

  it.effect("of two agents that each hold something: both come to their end", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const both = yield* Deferred.make<undefined>()
      const fetch = yield* answered(() => answer("gpt-4o"))
      const meets = meeting(both)
      const inner = yield* saying(Effect.as(Effect.andThen(meets, more(fetch)), [text, finish]))
      const model = yield* BudgetedLanguageModel.make(inner, { ...cents, maxOutputTokens: 700 })
      const agents = Effect.all(
        [model.generateText({ prompt: "Hello" }), model.generateText({ prompt: "Hello" })],
        { concurrency: 2 }
      )
      yield* agents
      assert.deepStrictEqual(booksOf(budget), { calls: 2, reserved: 0, spent: 2 * large(10, 5) })
    }).pipe(Effect.provide(live({ limit, onExceeded: "wait" })))
  )

  it.effect("and is interrupted as it waits: nothing was sent, and nothing is left", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o"))
      const first = yield* budget.acquire({ least: Usd.dollars("0.005") })
      const inner = yield* asking(fetch)
      for (const model of [inner, yield* BudgetedLanguageModel.make(inner, cents)]) {
        const fiber = yield* Effect.forkChild(model.generateText({ prompt: "Hello" }))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(booksOf(budget), { calls: 0, reserved: Number(first.amount), spent: 0 })
      }
    }).pipe(Effect.provide(live({ limit, onExceeded: "wait" })))
  )

  it.effect(
    "and is given up as it waits, by a model that goes on: who is interrupted later is charged whole",
    () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const fetch = yield* answered(() => answer("gpt-4o"))
        const first = yield* budget.acquire({ least: Usd.dollars("0.005") })
        const controller = new AbortController()
        const given = Effect.promise(() =>
          fetch(url, { ...bodyOf("gpt-4o", 1_200), signal: controller.signal }).catch(() => undefined)
        )
        const inner = yield* saying(Effect.andThen(given, Effect.never))
        const model = yield* BudgetedLanguageModel.make(inner, cents)
        const fiber = yield* Effect.forkChild(model.generateText({ prompt: "Hello" }))
        yield* TestClock.adjust("1 second")
        controller.abort()
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        const { calls, reserved, spent } = booksOf(budget)
        assert.deepStrictEqual([calls, reserved], [1, Number(first.amount)])
        assert.isAbove(spent, large(10, 1_000))
      }).pipe(Effect.provide(live({ limit, onExceeded: "wait" })))
  )

  it.effect(
    "and is refused: what the model asked for is held again, and what is then sent is booked on it",
    () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const fetch = yield* answered(() => answer("gpt-4o"))
        let held = -1
        const refused = Effect.promise(async () => {
          assert.isTrue(BudgetExceededError.is(await fetch(url, bodyOf("gpt-4o", 3_000))))
          held = booksOf(budget).reserved
        })
        assert.deepStrictEqual(yield* booked(refused, Effect.fail(limited), cents), {
          calls: 0,
          spent: 0,
          assumed: 0
        })
        assert.isAbove(held, large(10, 1_000))
        const { calls, spent } = yield* booked(refused, ends(finish), cents)
        assert.deepStrictEqual([calls, spent], [1, large(10, 5)])
        assert.deepStrictEqual([Number(budget.view().overrun), budget.view().refused], [0, 2])
      }).pipe(Effect.provide(live({ limit })))
  )

  /** Two agents, of one model, each of which is refused more, and then told an answer that nobody saw. */
  const refusedTwice = (fetch: BudgetedFetch.Fetch, between: Effect.Effect<unknown, never, Budget.Budget>) =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const gate = yield* Deferred.make<undefined>()
      const meets = meeting(yield* Deferred.make<undefined>())
      let refused = 0
      const sends = Effect.promise(async () => {
        assert.isTrue(BudgetExceededError.is(await fetch(url, bodyOf("gpt-4o", 3_000))))
        refused++
      })
      const inner = yield* saying(
        Effect.as(Effect.andThen(Effect.andThen(meets, sends), Deferred.await(gate)), [text, finish])
      )
      const model = yield* BudgetedLanguageModel.make(inner, cents)
      const agents = yield* Effect.forkChild(
        Effect.all([model.generateText({ prompt: "Hello" }), model.generateText({ prompt: "Hello" })], {
          concurrency: 2
        })
      )
      const turns = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* turns
      yield* between
      yield* turns
      assert.strictEqual(refused, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(agents)
      return booksOf(budget)
    })

  it.effect("and is refused, of two at once, while somebody takes the rest: each is booked", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o"))
      const rest = Effect.suspend(() => Effect.orDie(budget.acquire({ least: budget.remaining() })))
      const { calls, spent } = yield* refusedTwice(fetch, rest)
      assert.deepStrictEqual([calls, spent], [2, 2 * large(10, 5)])
      assert.strictEqual(Number(budget.view().overrun), 0)
    }).pipe(Effect.provide(live({ limit: Usd.dollars("0.03") })))
  )

  it.effect(
    "and is refused, of two that wait, as the limit falls below what is held: each is an overrun",
    () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const fetch = yield* answered(() => answer("gpt-4o"))
        const first = yield* budget.acquire({ least: Usd.dollars("0.025") })
        const lowered = Effect.suspend(() => {
          assert.strictEqual(booksOf(budget).reserved, Number(first.amount))
          return Effect.orDie(budget.setLimit("root", Usd.dollars("0.001")))
        })
        const { calls, reserved, spent } = yield* refusedTwice(fetch, lowered)
        assert.deepStrictEqual([calls, reserved, spent], [2, Number(first.amount), 2 * large(10, 5)])
        assert.strictEqual(Number(budget.view().overrun), 2 * large(10, 5))
      }).pipe(Effect.provide(live({ limit: Usd.dollars("0.05"), onExceeded: "wait" })))
  )

  it("and is refused, on the account of session.within: the overrun is booked there", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const model = await Effect.runPromise(
      Effect.gen(function* () {
        const fetch = yield* answered(() => answer("gpt-4o"))
        const refused = Effect.promise(() => ask(fetch, "gpt-4o", 3_000))
        const inner = yield* saying(Effect.andThen(refused, ends(finish)))
        return yield* BudgetedLanguageModel.make(inner, cents)
      }).pipe(Effect.provide(session.layer))
    )
    await session.within({ account: "ann", budgetUsd: "0.016" }, async () => {
      await Effect.runPromise(model.generateText({ prompt: "Hello" }))
      const balances = await session.balances()
      assert.strictEqual(balances.find(({ account }) => account === "root/ann")?.spentUsd, large(10, 5) / 1e9)
    })
  })

  it.effect("and is free: who is then interrupted is charged what is held by then", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(tooMany)
      let held = 0
      const sends = Effect.promise(async () => {
        await ask(fetch, "gpt-4o", 1_200)
        held = booksOf(budget).reserved
      })
      const { calls, spent } = yield* booked(sends, Effect.interrupt, cents)
      assert.isAbove(held, large(10, 1_200))
      assert.deepStrictEqual([calls, spent], [1, held])
    }).pipe(Effect.provide(live({ limit })))
  )

  const unsendable = Effect.map(
    answered(() => answer("gpt-4o")),
    (fetch) =>
      Effect.promise(async () => {
        const { signal } = new AbortController()
        signal.addEventListener = () => {
          throw new Error("It takes no listeners.")
        }
        const thrown = await fetch(url, { ...bodyOf("gpt-4o", 1_200), signal }).catch(String)
        assert.strictEqual(thrown, "Error: It takes no listeners.")
      })
  )

  it.effect("and cannot be sent: what was sent without a budget is booked on what it held", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const { calls, spent } = yield* booked(yield* unsendable, ends(finish), cents)
      assert.deepStrictEqual([calls, spent, Number(budget.view().overrun)], [1, large(10, 5), 0])
    }).pipe(Effect.provide(live({ limit })))
  )

  it.effect("and cannot be sent: a model that goes on is not taken for it", () =>
    Effect.gen(function* () {
      const free = yield* booked(yield* unsendable, Effect.fail(limited), cents)
      assert.deepStrictEqual([free.calls, free.spent], [0, 0])
      const { calls, spent } = yield* booked(yield* unsendable, Effect.interrupt, cents)
      assert.strictEqual(calls, 1)
      assert.isAbove(spent, large(10, 1_200))
    }).pipe(Effect.provide(live({ limit: Usd.dollars("1") })))
  )

  it.effect("and is refused at once where the budget is paused: what is held is kept, and booked on", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const fetch = yield* answered(() => answer("gpt-4o"))
      let held = -1
      const refused = Effect.andThen(
        Effect.orDie(Budget.pause),
        Effect.promise(async () => {
          await ask(fetch, "gpt-4o", 1_200)
          held = booksOf(budget).reserved
        })
      )
      const { calls, spent } = yield* booked(refused, ends(finish), cents)
      assert.deepStrictEqual([calls, spent], [1, large(10, 5)])
      assert.isAbove(held, large(10, 1_000))
      assert.strictEqual(Number(budget.view().overrun), 0)
    }).pipe(Effect.provide(live({ limit, onExceeded: "wait" })))
  )
})

describe("a call that is interrupted at any step", () => {
  for (const [name, most, inputBound, streams] of [
    ["below which little is asked for", 50, "auto", false],
    ["below which more is asked for", 1_200, "auto", false],
    ["below which is counted", 1_200, "counted", false],
    ["which is streamed", 1_200, "auto", true]
  ] as const) {
    it.effect(`leaves nothing reserved, and nothing unpaid: one ${name}`, () =>
      Effect.gen(function* () {
        let steps = 0
        let isDone = false
        let ends = 0
        for (; !isDone; steps++) {
          const budget = yield* Budget.Budget
          const before = booksOf(budget)
          let sent = 0
          const fetch = yield* BudgetedFetch.make({
            fetch: async () => {
              sent++
              await Promise.resolve()
              return answer("gpt-4o")
            }
          }).pipe(Effect.provideService(BudgetedFetch.Policy, { inputBound }))
          const sends = Effect.promise(async (signal) => {
            await (await fetch(url, { ...bodyOf("gpt-4o", most), signal })).text()
          })
          const inner = yield* streams
            ? streaming(
                Stream.concat(Stream.drain(Stream.fromEffect(sends)), Stream.fromIterable([...heard, finish]))
              )
            : saying(Effect.as(sends, [text, finish]))
          const lower = yield* BudgetedLanguageModel.make(inner, cents)
          const model = yield* BudgetedLanguageModel.make(lower, cents)
          const fiber = yield* Effect.forkChild(
            streams
              ? Stream.runDrain(model.streamText({ prompt: "Hello" }))
              : Effect.asVoid(model.generateText({ prompt: "Hello" }))
          )
          for (let step = 0; step < steps; step++) {
            if (step % 4 === 0) yield* Effect.yieldNow
            else yield* Effect.promise(() => Promise.resolve())
          }
          isDone = fiber.pollUnsafe() !== undefined
          yield* Fiber.interrupt(fiber)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          const { calls, reserved, spent } = booksOf(budget)
          assert.strictEqual(reserved, 0, `after ${steps} steps`)
          assert.isAtMost(calls - before.calls, 1)
          assert.isAtLeast(spent - before.spent, sent * large(10, 5), `after ${steps} steps`)
          if (isDone) assert.strictEqual(spent - before.spent, large(10, 5))
          if (sent > 0) ends++
        }
        assert.isAbove(steps, 3)
        assert.isAbove(ends, 1)
      }).pipe(Effect.provide(live({ limit: Usd.dollars("5") })))
    )
  }
})

/** A `fetch` whose answer comes when it is told to. */
const gated = Effect.gen(function* () {
  const gate = yield* Deferred.make<Response>()
  const sent = yield* Deferred.make<undefined>()
  const fetch = yield* BudgetedFetch.make({
    fetch: async (_, init) => {
      Effect.runSync(Deferred.succeed(sent, undefined))
      const left = new Promise<Response>((_resolve, reject) => {
        init?.signal?.addEventListener("abort", () => reject(new Error("left")))
      })
      return Promise.race([Effect.runPromise(Deferred.await(gate)), left])
    }
  })
  return { fetch, gate, sent }
})

describe("a call that is interrupted while its request is under way", () => {
  for (const kind of ["whole", "streamed"] as const) {
    it.effect(`is charged once, whole (${kind})`, () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const { fetch, sent } = yield* gated
        const sends = Effect.promise((signal) => fetch(url, { ...bodyOf("gpt-4o", 50), signal }))
        const inner = yield* kind === "whole"
          ? saying(Effect.as(sends, [text, finish]))
          : streaming(Stream.concat(Stream.fromIterable(heard), Stream.drain(Stream.fromEffect(sends))))
        const model = yield* BudgetedLanguageModel.make(inner, options)
        const fiber = yield* Effect.forkChild(
          kind === "whole"
            ? Effect.asVoid(model.generateText({ prompt: "Hello" }))
            : Stream.runDrain(model.streamText({ prompt: "Hello" }))
        )
        yield* Deferred.await(sent)
        yield* Fiber.interrupt(fiber)
        const { calls, reserved, spent } = booksOf(budget)
        assert.deepStrictEqual([calls, reserved], [1, 0])
        assert.isAbove(spent, large(10, 50))
        assert.deepStrictEqual(Object.keys(budget.view().byModel), ["gpt-4o"])
      }).pipe(Effect.provide(Live))
    )
  }
})

describe("a call that is over before its request is", () => {
  const rows: Readonly<
    Record<string, readonly [end: Ending, answer: () => Response, calls: number, spent: number]>
  > = {
    "told the same: as that was billed": [ends(finish), () => answer("gpt-4o"), 1, large(10, 5)],
    "told another answer: both are booked": [
      ends(finish),
      () => answer("gpt-4o", 12, 3),
      1,
      large(12, 3) + nanos(10, 5)
    ],
    "told another answer, of which that was free: it alone is": [ends(finish), tooMany, 1, nanos(10, 5)],
    "failed: as that was billed": [Effect.fail(limited), () => answer("gpt-4o", 12, 3), 1, large(12, 3)],
    "failed, and that was free: nothing": [Effect.fail(limited), tooMany, 0, 0]
  }
  for (const [name, [end, respond, calls, spent]] of Object.entries(rows)) {
    for (const [where, isBelow] of [
      ["", false],
      [" (below another model)", true]
    ] as const) {
      it.effect(`${name}${where}`, () =>
        Effect.gen(function* () {
          const budget = yield* Budget.Budget
          const { fetch, gate, sent } = yield* gated
          let late: Promise<void> = Promise.resolve()
          const sends = Effect.sync(() => void (late = ask(fetch, "gpt-4o")))
          const inner = yield* saying(Effect.andThen(Effect.andThen(sends, Deferred.await(sent)), end))
          const lower = yield* BudgetedLanguageModel.make(inner, options)
          const called = isBelow ? yield* BudgetedLanguageModel.make(lower, options) : lower
          yield* Effect.exit(called.generateText({ prompt: "Hello" }))
          assert.isAbove(booksOf(budget).reserved, 0)
          yield* Deferred.succeed(gate, respond())
          yield* Effect.promise(() => late)
          assert.deepStrictEqual(booksOf(budget), { calls, reserved: 0, spent })
        }).pipe(Effect.provide(Live))
      )
    }
  }

  /** A counter that is slow once. */
  const slowly = Effect.gen(function* () {
    const counting = yield* Deferred.make<undefined>()
    const counted = yield* Deferred.make<undefined>()
    const real = yield* TokenCounter.orShared
    const counter: typeof real = {
      ...real,
      count: (...given) =>
        Deferred.succeed(counting, undefined).pipe(
          Effect.andThen(Deferred.await(counted)),
          Effect.andThen(Effect.suspend(() => real.count(...given)))
        )
    }
    return { counting, counted, counter }
  })

  for (const [name, most] of [
    ["has enough with what that held", 10],
    ["asks for more", 1_000]
  ] as const) {
    it.effect(`a model that is late, and ${name}, is charged by itself`, () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const { counted, counter, counting } = yield* slowly
        const lower = yield* BudgetedLanguageModel.make(yield* saying(ends(finishOf(7, 2))), {
          ...options,
          maxOutputTokens: most
        }).pipe(
          Effect.provideService(TokenCounter.TokenCounter, counter),
          Effect.provideService(BudgetedFetch.Policy, { inputBound: "counted" })
        )
        const forked = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
        const sends = Effect.forkDetach(lower.generateText({ prompt: "Hello" })).pipe(
          Effect.flatMap((fiber) => Deferred.succeed(forked, fiber)),
          Effect.andThen(Deferred.await(counting))
        )
        const inner = yield* saying(Effect.andThen(sends, ends(finish)))
        const upper = yield* BudgetedLanguageModel.make(inner, options)
        yield* upper.generateText({ prompt: "Hello" })
        assert.isAbove(booksOf(budget).reserved, 0)
        yield* Deferred.succeed(counted, undefined)
        yield* Fiber.join(yield* Deferred.await(forked))
        assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(7, 2) + nanos(10, 5) })
      }).pipe(Effect.provide(Live))
    )
  }

  it.effect("a request that is given up as it counts takes nothing along that was billed before it", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const { counted, counter, counting } = yield* slowly
      const plain = yield* answered(() => answer("gpt-4o-mini", 12, 3))
      const counts = yield* answered(() => answer("gpt-4o-mini")).pipe(
        Effect.provideService(TokenCounter.TokenCounter, counter),
        Effect.provideService(BudgetedFetch.Policy, { inputBound: "counted" })
      )
      const controller = new AbortController()
      let late: Promise<unknown> = Promise.resolve()
      const sends = Effect.promise(async () => {
        await ask(plain, "gpt-4o-mini")
        late = counts(url, { ...bodyOf("gpt-4o-mini"), signal: controller.signal }).catch(() => undefined)
      })
      const inner = yield* saying(
        Effect.andThen(Effect.andThen(sends, Deferred.await(counting)), ends(finishOf(12, 3)))
      )
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* model.generateText({ prompt: "Hello" })
      controller.abort()
      yield* Deferred.succeed(counted, undefined)
      yield* Effect.promise(() => late)
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: nanos(12, 3) })
    }).pipe(Effect.provide(Live))
  )

  it.effect("a stream that is left after a part of it, and whose request was free: whole", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const { fetch, gate, sent } = yield* gated
      let late: Promise<void> = Promise.resolve()
      const sends = Effect.sync(() => void (late = ask(fetch, "gpt-4o")))
      const inner = yield* streaming(
        Stream.concat(Stream.drain(Stream.fromEffect(sends)), Stream.fromIterable(heard))
      )
      const model = yield* BudgetedLanguageModel.make(inner, options)
      yield* Stream.runDrain(
        Stream.takeUntil(model.streamText({ prompt: "Hello" }), ({ type }) => type === "text-delta")
      )
      yield* Deferred.await(sent)
      yield* Deferred.succeed(gate, tooMany())
      yield* Effect.promise(() => late)
      const { calls, reserved, spent } = booksOf(budget)
      assert.deepStrictEqual([calls, reserved], [1, 0])
      assert.isAbove(spent, nanos(0, 100))
    }).pipe(Effect.provide(Live))
  )

  it.effect("a stream that is left while its request is read on: as that was billed", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const { fetch, gate, sent } = yield* Effect.provideService(gated, BudgetedFetch.Policy, {
        abandoned: "drain"
      })
      const sends = Effect.promise((signal) => fetch(url, { ...bodyOf("gpt-4o"), signal }))
      const inner = yield* streaming(
        Stream.concat(Stream.fromIterable(heard), Stream.drain(Stream.fromEffect(sends)))
      )
      const model = yield* BudgetedLanguageModel.make(inner, options)
      const fiber = yield* Effect.forkChild(Stream.runDrain(model.streamText({ prompt: "Hello" })))
      yield* Deferred.await(sent)
      yield* Fiber.interrupt(fiber)
      assert.isAbove(booksOf(budget).reserved, 0)
      yield* Deferred.succeed(gate, answer("gpt-4o", 12, 3))
      yield* Effect.promise(async () => {
        for (let turn = 0; turn < 50 && booksOf(budget).reserved > 0; turn++) await Promise.resolve()
        await new Promise((resolve) => setImmediate(resolve))
      })
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: large(12, 3) })
    }).pipe(Effect.provide(Live))
  )
})
