/** What programs do that mean no good, or mean well and hit the gaps: budgets, waiting, options and messages. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetError,
  BudgetedFetch,
  BudgetedSession,
  BudgetRefusedError,
  Ledger,
  Pricing,
  Usd
} from "agent-budget"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, ManagedRuntime } from "effect"
import { TestClock } from "effect/testing"
import OpenAI from "openai"
import { capped, failureOf, hello, reservedNano, settled, spentNano, withSession } from "./utils/openAi.ts"
import { Behaviours, Gate } from "./utils/SimulatedProvider.ts"
import { answer, nanoOf } from "./utils/stubProvider.ts"

const cents = (amount: number) => Usd.nanos(amount * 10_000_000)
const pay = (quote: number) =>
  Budget.withBudget(Effect.void, { quote: cents(quote), cost: () => cents(quote) })
const turns = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })

const refusalOf = (error: unknown): BudgetError.Reason => {
  const found = BudgetError.find(error)
  if (found === undefined) throw new Error(`Not a refusal: ${String(error)}`)
  return found.reason
}

/** The account that had no room. */
const blockerOf = (error: unknown): string => {
  const reason = refusalOf(error)
  return reason._tag === "BudgetExceeded" ? reason.account : reason._tag
}

const answerNano = nanoOf(10, 20)

/** A provider that always answers, and a client of it under a session. */
const answering = () => {
  let sent = 0
  const fetch: typeof globalThis.fetch = () => {
    sent++
    return Promise.resolve(Response.json(answer))
  }
  const clientOf = (session: BudgetedSession) =>
    session.wrapOpenAI(new OpenAI({ apiKey: "none", maxRetries: 0, fetch }))
  return { clientOf, fetch, sent: () => sent }
}

const nano = (dollars: number): number => Math.round(dollars * 1e9)

describe("two budgets in one program", () => {
  it("holds a session to its own limit inside another one's account of the same ledger", async () => {
    const ledger = Effect.runSync(Ledger.makeMemory())
    const provider = answering()
    await using first = new BudgetedSession({ budgetUsd: 1, ledger, account: "first" })
    await using second = new BudgetedSession({ budgetUsd: "0.00001", ledger, account: "second" })
    const client = provider.clientOf(second)
    const error = await first.within({ account: "part" }, () =>
      failureOf(client.chat.completions.create(capped))
    )
    assert.strictEqual(blockerOf(error), "second")
    assert.strictEqual(provider.sent(), 0)
  })

  it("charges a session's own account inside another one's account of the same ledger", async () => {
    const ledger = Effect.runSync(Ledger.makeMemory())
    await using first = new BudgetedSession({ budgetUsd: 1, ledger, account: "first" })
    await using second = new BudgetedSession({ budgetUsd: 1, ledger, account: "second" })
    const client = answering().clientOf(second)
    await first.within({ account: "part" }, () => client.chat.completions.create(capped))
    await settled(second)
    assert.strictEqual(nano((await second.balance()).spentUsd), answerNano)
    assert.strictEqual((await first.balance()).spentUsd, 0)
    assert.strictEqual(spentNano(second), answerNano)
  })

  it("keeps an account's limit through another session's account inside it", async () => {
    const provider = answering()
    await using first = new BudgetedSession({ budgetUsd: 1 })
    await using second = new BudgetedSession({ budgetUsd: 1 })
    const client = provider.clientOf(first)
    const error = await first.within({ account: "tiny", budgetUsd: "0.00001" }, () =>
      second.within({ account: "other" }, () => failureOf(client.chat.completions.create(capped)))
    )
    assert.strictEqual(blockerOf(error), "root/tiny")
    assert.strictEqual(provider.sent(), 0)
  })

  for (const shared of [true, false]) {
    it.effect(`does so for effects, on ${shared ? "one ledger" : "two ledgers"}`, () =>
      Effect.gen(function* () {
        const books = yield* Ledger.makeMemory()
        const others = shared ? books : yield* Ledger.makeMemory()
        const outer = Budget.layer({ limit: cents(100), account: "outer" }).pipe(
          Layer.provide(Layer.succeed(Ledger.Ledger, books))
        )
        const inner = Budget.layer({ limit: cents(5), account: "inner" }).pipe(
          Layer.provide(Layer.succeed(Ledger.Ledger, others))
        )
        yield* Effect.gen(function* () {
          const first = yield* Budget.Budget
          const refused = pay(6).pipe(Effect.provide(inner), Budget.within({ account: "part" }), Effect.flip)
          assert.strictEqual(blockerOf(yield* refused), "inner")

          const spent = Effect.andThen(pay(5), others.balance("inner")).pipe(
            Effect.provide(inner),
            Budget.within({ account: "part" })
          )
          assert.strictEqual((yield* spent).spent, cents(5))
          assert.strictEqual((yield* books.balance("outer")).spent, 0)

          const back = pay(4).pipe(
            Effect.provideService(Budget.Budget, first),
            Budget.within({ account: "other" }),
            Effect.provide(inner),
            Budget.within({ account: "tiny", limit: cents(3) }),
            Effect.flip
          )
          assert.strictEqual(blockerOf(yield* back), "outer/tiny")
        }).pipe(Effect.provide(outer))
      })
    )
  }
})

describe("a ledger that takes its time", () => {
  /** Takes the room at once, and answers when told to: as one does that is reached over a network. */
  const slowLedger = () => {
    const ledger = Effect.runSync(Ledger.makeMemory())
    const asked = new Gate()
    const slow: typeof ledger = {
      ...ledger,
      reserve: (request) =>
        Effect.uninterruptible(Effect.tap(ledger.reserve(request), () => Effect.promise(() => asked.pass())))
    }
    return { ledger, slow, asked }
  }

  it("leaves nothing reserved of a call that is aborted while it reserves", async () => {
    const { ledger, slow, asked } = slowLedger()
    const provider = answering()
    const session = new BudgetedSession({ budgetUsd: 1, ledger: slow })
    const controller = new AbortController()
    const client = provider.clientOf(session)
    const call = failureOf(client.chat.completions.create(capped, { signal: controller.signal }))
    await asked.reached(1)
    controller.abort()
    asked.open()
    assert.instanceOf(await call, OpenAI.APIUserAbortError)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.strictEqual(provider.sent(), 0)
    assert.strictEqual(reservedNano(session), 0)
    assert.strictEqual(Effect.runSync(ledger.balance("root")).reserved, 0)
    await session.close({ waitAtMost: 0 })
    assert.strictEqual(spentNano(session), 0)
  })

  /** Answers 50 ms after it took the room, whoever has left by then. */
  const sleepy = Effect.map(Ledger.makeMemory(), (memory) => {
    const reserve: typeof memory.reserve = (request) =>
      Effect.uninterruptible(Effect.tap(memory.reserve(request), () => Effect.sleep(50)))
    const books = Layer.succeed(Ledger.Ledger, { ...memory, reserve })
    return { memory, layer: Budget.layer({ limit: cents(10) }).pipe(Layer.provide(books)) }
  })
  /** Leaves it after 10 ms. */
  const leaving = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.timeoutOption(effect, 10))
      yield* turns
      yield* TestClock.adjust(10)
      yield* TestClock.adjust(50)
      yield* Fiber.await(fiber)
    })

  it.effect("leaks nothing of what a timeout interrupts while it reserves", () =>
    Effect.gen(function* () {
      const { layer, memory } = yield* sleepy
      yield* Effect.gen(function* () {
        const budget = yield* Budget.Budget
        yield* leaving(pay(4))
        yield* leaving(
          Effect.scoped(Effect.acquireRelease(budget.acquire({ least: cents(4) }), budget.release))
        )
        assert.deepStrictEqual(budget.outstanding(), [])
        assert.strictEqual(budget.view().reserved, 0)
        assert.strictEqual((yield* memory.balance("root")).reserved, 0)
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("knows, and can end, what a bare acquire reserved that a timeout interrupted", () =>
    Effect.gen(function* () {
      const { layer, memory } = yield* sleepy
      yield* Effect.gen(function* () {
        const budget = yield* Budget.Budget
        yield* leaving(budget.acquire({ least: cents(4) }))
        assert.strictEqual(budget.view().reserved, (yield* memory.balance("root")).reserved)
        yield* Effect.forEach(budget.outstanding(), budget.release)
        assert.strictEqual((yield* memory.balance("root")).reserved, 0)
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("who waits", () => {
  const waiting = Budget.layerMemory({ limit: cents(100), onExceeded: "wait", waitAtMost: "1 minute" })

  it.effect("refuses at once inside a reservation, and lets a fiber that outlived it wait", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const over = yield* Deferred.make<true>()
      const daemon = yield* Budget.withBudget(
        Effect.gen(function* () {
          assert.strictEqual(blockerOf(yield* Effect.flip(pay(60))), "root")
          return yield* Effect.forkDetach(Effect.andThen(Deferred.await(over), pay(60)))
        }),
        { quote: cents(50), cost: () => Usd.zero }
      )
      const held = yield* budget.acquire({ least: cents(50) })
      yield* Deferred.succeed(over, true)
      yield* turns
      assert.strictEqual(daemon.pollUnsafe(), undefined)
      yield* budget.release(held)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(daemon)))
      assert.strictEqual(budget.view().spent, cents(60))
    }).pipe(Effect.provide(waiting))
  )

  it.effect("refuses at once in a fiber forked inside a reservation that is still held", () =>
    Effect.gen(function* () {
      const refused = yield* Budget.withBudget(
        Effect.flatMap(Effect.forkDetach(Effect.flip(pay(60))), Fiber.join),
        { quote: cents(50), cost: () => Usd.zero }
      )
      assert.strictEqual(blockerOf(refused), "root")
    }).pipe(Effect.provide(waiting))
  )

  it(
    "leaves the event loop to others while a call of a session waits",
    withSession(
      async ({ client, provider, session }) => {
        const gate = new Gate()
        provider.next(Behaviours.heldHeaders(gate))
        const first = client.chat.completions.create({ ...hello, max_completion_tokens: 1_000 })
        await gate.reached(1)
        await session.setLimit(session.getTotalSpent() + session.getSummary().reservedUsd)
        const second = client.chat.completions.create(capped)
        for (let turn = 0; turn < 3; turn++) {
          await new Promise((resolve) => setImmediate(resolve))
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        assert.strictEqual(provider.requests.length, 1)
        gate.open()
        await Promise.all([first, second])
        await settled(session)
        assert.strictEqual(provider.requests.length, 2)
      },
      { onExceeded: "wait" }
    )
  )

  /** Asks again and again for its turn: on a scheduler of microtasks nothing else would ever have one. */
  const polling = () => {
    const memory = Effect.runSync(Ledger.makeMemory())
    const state = { open: false, polls: 0 }
    const poll = Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => ++state.polls >= 1_000 || state.open)
    )
    const reserve: typeof memory.reserve = (request) =>
      Effect.andThen(Effect.repeat(poll, { until: (done) => done }), memory.reserve(request))
    return { ledger: { ...memory, reserve }, state }
  }
  const letIn = (state: { open: boolean }) =>
    new Promise<void>((resolve) => {
      setImmediate(() => {
        setTimeout(() => {
          state.open = true
          resolve()
        }, 1)
      })
    })
  const post = { method: "POST", body: JSON.stringify(capped) }

  it("a call of a session that waits by yielding does not starve timers", async () => {
    const { ledger, state } = polling()
    const session = new BudgetedSession({ budgetUsd: 1, ledger })
    const call = answering().clientOf(session).chat.completions.create(capped)
    await letIn(state)
    assert.isBelow(state.polls, 1_000)
    await call
    await session.close({ waitAtMost: 0 })
  })

  it("a call of a fetch made by runSync that waits by yielding does not starve timers", async () => {
    const { ledger, state } = polling()
    const books = Layer.succeed(Ledger.Ledger, ledger)
    const budget = Budget.layer({ limit: cents(100) }).pipe(Layer.provide(books))
    const runtime = ManagedRuntime.make(Layer.merge(budget, Pricing.layer))
    const fetch = runtime.runSync(BudgetedFetch.make({ fetch: answering().fetch }))
    const call = fetch("https://api.openai.com/v1/chat/completions", post)
    await letIn(state)
    assert.isBelow(state.polls, 1_000)
    assert.strictEqual((await call).status, 200)
    await runtime.dispose()
  })
})

describe("what is told", () => {
  const canary = "canary-7f3a"
  const thrown: Record<string, () => unknown> = {
    "an object whose name cannot be read": () => ({
      get name(): string {
        throw new Error(canary)
      }
    }),
    "an error whose name cannot be read": () =>
      Object.defineProperty(new Error(canary), "name", {
        get: () => {
          throw new Error(canary)
        }
      }),
    "an error with a secret for a name": () => Object.assign(new Error(canary), { name: canary })
  }
  for (const [what, make] of Object.entries(thrown)) {
    it.effect(
      `charges the whole reservation where a cost function throws ${what}, and tells nothing of it`,
      () => {
        const logs: Array<string> = []
        const logger = Logger.make(({ cause, message }) => {
          logs.push(`${String(message)} ${String(cause)}`)
        })
        return Effect.gen(function* () {
          const value = yield* Effect.succeed("value").pipe(
            Budget.withBudget({
              quote: cents(2),
              cost: () => {
                throw make()
              }
            })
          )
          assert.strictEqual(value, "value")
          const { reserved, spent } = yield* Budget.summary
          assert.deepStrictEqual([Number(spent), Number(reserved)], [cents(2), 0])
          assert.strictEqual(logs.length, 1)
          assert.notInclude(logs.join(), canary)
        }).pipe(Effect.provide(Layer.merge(Budget.layerMemory({ limit: cents(10) }), Logger.layer([logger]))))
      }
    )
  }

  it.effect("advises waiting only where waiting can help", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      yield* pay(3)
      const never = yield* Effect.flip(budget.acquire({ least: cents(8) }))
      assert.include(never.message, "It can never fit")
      assert.notInclude(never.message, "wait")
      yield* budget.acquire({ least: cents(5) })
      const later = yield* Effect.flip(budget.acquire({ least: cents(7) }))
      assert.include(later.message, 'wait for room with onExceeded: "wait"')
      assert.notInclude(later.message, "never")
    }).pipe(Effect.provide(Budget.layerMemory({ limit: cents(10) })))
  )

  it(
    "charges what is open when a session closes under the name of its model",
    withSession(async ({ client, provider, session }) => {
      const gate = new Gate()
      provider.next(Behaviours.heldHeaders(gate))
      const call = client.chat.completions.create(capped)
      await gate.reached(1)
      const reserved = reservedNano(session)
      await session.close({ waitAtMost: 0 })
      const { byModel } = session.getSummary()
      assert.deepStrictEqual(Object.keys(byModel), ["gpt-4o-mini"])
      assert.strictEqual(nano(byModel["gpt-4o-mini"]?.assumedUsd ?? 0), reserved)
      assert.strictEqual(spentNano(session), reserved)
      gate.open()
      await call
    })
  )
})

describe("options that cannot be", () => {
  const misspelt: ReadonlyArray<Record<string, unknown>> = [
    { uncapped: "refused" },
    { abandoned: "drop" },
    { onExceeded: "queue" },
    { tier: "cheap" },
    { endpoints: { "POST /x": { maxUsd: "x" } } },
    { endpoints: { "POST /x": "gratis" } }
  ]
  for (const options of misspelt) {
    it(`refuses a session with ${JSON.stringify(options)}`, () => {
      const make = () => new BudgetedSession({ budgetUsd: 1, ...options })
      let error: unknown
      try {
        make()
      } catch (refusal) {
        error = refusal
      }
      assert.instanceOf(error, BudgetRefusedError)
      assert.include(["InvalidOptions", "InvalidAmount"], refusalOf(error)._tag)
    })
  }

  it("takes every word that is one", async () => {
    for (const options of [
      { uncapped: "refuse", abandoned: "drain", onExceeded: "wait", tier: "flex" },
      { uncapped: { share: 0.5 }, abandoned: "assume", onExceeded: "fail", tier: "batch" },
      { endpoints: { "POST /x": { maxUsd: "0.25" }, "POST /y": "free" } }
    ] as const) {
      const session = new BudgetedSession({ budgetUsd: 1, ...options })
      assert.strictEqual(session.getRemainingBudget(), 1)
      await session.close()
    }
  })
})
