/**
 * A budget over a ledger with windows, thresholds and books that were there before: what it passes on, what it tells,
 * and that its own view agrees with the books.
 */
import { assert, describe, it } from "@effect/vitest"
import { Budget, type BudgetError, Ledger, Usd } from "agent-budget"
import { Effect, Fiber, Layer, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { includes } from "./utils/assertions.ts"
import * as ReferenceStore from "./utils/referenceStore.ts"

const cents = (amount: number) => Usd.nanos(amount * 10_000_000)
const hour = 3_600_000
const limit = cents(100)

const pay = (quote: number, cost = quote) =>
  Effect.void.pipe(Budget.withBudget({ quote: cents(quote), cost: () => cents(cost) }))

const reasonOf = <A, R>(effect: Effect.Effect<A, BudgetError.BudgetError, R>) =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => error.reason)

const settled = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })
const quiet = Effect.provide(Logger.layer([]))

/** The view has the numbers of the books. */
const agree = Effect.gen(function* () {
  const { limit, nextWindow, remaining, reserved, spent } = yield* Budget.summary
  const balance = yield* Budget.balance
  assert.deepStrictEqual(
    { limit, spent, reserved, remaining, nextWindow },
    {
      limit: balance.limit ?? Usd.maximum,
      spent: balance.spent,
      reserved: balance.reserved,
      remaining: balance.available ?? Usd.maximum,
      nextWindow: balance.windowEnd
    }
  )
  return [Number(spent) / cents(1), Number(reserved) / cents(1)]
})

const both = (options: Partial<Budget.Options>) =>
  [
    ["memory", Budget.layer({ limit, ...options }).pipe(Layer.provideMerge(Ledger.layerMemory()))],
    [
      "a store",
      Budget.layer({ limit, ...options }).pipe(
        Layer.provideMerge(
          Layer.effect(
            Ledger.Ledger,
            Effect.suspend(() => StoredLedger.make(ReferenceStore.make()))
          )
        )
      )
    ]
  ] as const

for (const [name, hourly] of both({ window: "hour" })) {
  it.effect(`a window of an hour is empty again, in the books and in the view (${name})`, () =>
    Effect.gen(function* () {
      yield* pay(90, 70)
      assert.deepStrictEqual(yield* agree, [70, 0])
      assert.strictEqual((yield* Budget.summary).nextWindow, hour)
      includes(yield* reasonOf(pay(40)), { _tag: "BudgetExceeded", nextWindow: hour })
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* agree, [0, 0])
      yield* pay(40)
      assert.deepStrictEqual(yield* agree, [40, 0])
      includes(yield* Budget.summary, { calls: 2, nextWindow: 2 * hour })
      assert.strictEqual((yield* Budget.summary).byModel["effect"]?.spent, cents(110))
    }).pipe(Effect.provide(hourly))
  )

  it.effect(`a call is held and charged in the window that admitted it (${name})`, () =>
    Effect.gen(function* () {
      const { acquire, settle } = yield* Budget.Budget
      const early = yield* acquire({ least: cents(60) })
      assert.deepStrictEqual(yield* agree, [0, 60])
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual(yield* agree, [0, 0])
      const late = yield* acquire({ least: cents(80) })
      assert.deepStrictEqual(yield* agree, [0, 80])
      yield* settle(early, { amount: cents(50), verdict: "metered" })
      assert.deepStrictEqual(yield* agree, [0, 80])
      yield* settle(late, { amount: cents(30), verdict: "metered" })
      assert.deepStrictEqual(yield* agree, [30, 0])
      assert.strictEqual((yield* Budget.summary).calls, 2)
    }).pipe(Effect.provide(hourly))
  )
}

for (const [name, rolling] of both({ window: { rolling: "1 hour" } })) {
  it.effect(`a window that rolls begins with its first use, in the view too (${name})`, () =>
    Effect.gen(function* () {
      yield* TestClock.adjust(1_234)
      assert.isNull((yield* Budget.summary).nextWindow)
      yield* pay(60)
      assert.deepStrictEqual(yield* agree, [60, 0])
      assert.strictEqual((yield* Budget.summary).nextWindow, 1_234 + hour)
      yield* TestClock.adjust(2 * hour)
      assert.isNull((yield* Budget.summary).nextWindow)
      assert.strictEqual((yield* Budget.summary).remaining, limit)
      yield* pay(70)
      assert.deepStrictEqual(yield* agree, [70, 0])
      assert.strictEqual((yield* Budget.summary).nextWindow, 1_234 + 3 * hour)
    }).pipe(Effect.provide(rolling))
  )

  it.effect(`a window that rolls may begin as the last one ends, and ends in the view too (${name})`, () =>
    Effect.gen(function* () {
      yield* pay(60)
      yield* TestClock.adjust(hour)
      // The view has gone on by time alone before the ledger begins the next.
      assert.strictEqual((yield* Budget.summary).spent, Usd.zero)
      yield* pay(70)
      assert.deepStrictEqual(yield* agree, [70, 0])
      assert.strictEqual((yield* Budget.summary).nextWindow, 2 * hour)
      yield* TestClock.adjust(hour)
      assert.strictEqual((yield* Budget.summary).spent, Usd.zero)
    }).pipe(Effect.provide(rolling))
  )
}

it.effect(
  "a window that the store has come to before this process is that of the view from the first call in it",
  () =>
    Effect.gen(function* () {
      const minute = hour / 60
      yield* pay(90, 70)
      yield* TestClock.adjust(hour - 5 * minute)
      const budget = yield* Budget.Budget
      const held = yield* budget.acquire({ least: cents(40) })
      assert.strictEqual(held.at, hour + minute)
      const { nextWindow, reserved, spent } = yield* Budget.summary
      assert.deepStrictEqual([spent, reserved, nextWindow], [cents(0), cents(40), 2 * hour])
      yield* budget.release(held)
    }).pipe(
      Effect.provide(
        Budget.layer({ limit, window: "hour" }).pipe(
          Layer.provide(
            Layer.effect(
              Ledger.Ledger,
              Effect.suspend(() => StoredLedger.make(ReferenceStore.make(360_000)))
            )
          )
        )
      )
    )
)

it.effect(
  "windows in which more was spent than an amount can be cost nobody a result, and are shown as the largest",
  () =>
    Effect.gen(function* () {
      const most = Usd.dollars("5000000")
      const paid = Effect.succeed("paid").pipe(
        Budget.withBudget({ quote: cents(1), cost: () => most, label: "a" })
      )
      for (let window = 0; window < 3; window++) {
        assert.strictEqual(yield* paid, "paid")
        assert.strictEqual((yield* Budget.balance).spent, most)
        yield* TestClock.adjust(hour)
      }
      const { byModel, calls, overrun } = yield* Budget.summary
      assert.strictEqual(calls, 3)
      assert.strictEqual(overrun, Usd.maximum)
      assert.strictEqual(byModel["a"]?.spent, Usd.maximum)
    }).pipe(Effect.provide(Budget.layerMemory({ limit, window: "hour" })))
)

for (const [name, islands] of both({ window: { every: "hour", timeZone: "Australia/Lord_Howe" } })) {
  it.effect(`hours of a clock that is changed by half an hour follow each other (${name})`, () =>
    Effect.gen(function* () {
      // There it is 1:30 again after 2:00.
      const changed = Date.UTC(2024, 3, 6, 15)
      yield* TestClock.setTime(changed - 1)
      yield* Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const held = yield* budget.acquire({ least: cents(60) })
        yield* TestClock.setTime(changed)
        assert.deepStrictEqual(yield* agree, [0, 0])
        yield* pay(90)
        yield* budget.settle(held, { amount: cents(60), verdict: "metered" })
        assert.deepStrictEqual(yield* agree, [90, 0])
        includes(yield* Budget.summary, { nextWindow: changed + hour / 2 })
      }).pipe(Effect.provide(islands))
    })
  )
}

describe("an account that was there before", () => {
  const before = Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    yield* ledger.open({ account: "root", limit, window: { every: "day" } })
    const held = yield* ledger.reserve({ account: "root", least: cents(30) })
    yield* ledger.settle(held, { amount: cents(25), verdict: "metered" })
  })

  it.effect("counts from what it has spent, and goes on in its windows without naming them", () =>
    Effect.gen(function* () {
      yield* before
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* agree, [25, 0])
        yield* pay(10)
        assert.deepStrictEqual(yield* agree, [35, 0])
        includes(yield* Budget.summary, { calls: 1, nextWindow: 24 * hour })
        for (const day of [1, 2]) {
          yield* TestClock.adjust("1 day")
          yield* pay(day)
          includes(yield* Budget.summary, { spent: cents(day), remaining: cents(100 - day) })
        }
      }).pipe(Effect.provide(Budget.layer({ limit })))
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("whose window rolls and has not begun is followed by what the ledger says", () =>
    Effect.gen(function* () {
      yield* (yield* Ledger.Ledger).open({ account: "root", limit, window: { rolling: "1 hour" } })
      yield* Effect.gen(function* () {
        for (const cost of [60, 70]) {
          yield* TestClock.adjust(2 * hour)
          yield* pay(cost)
          includes(yield* Budget.summary, {
            spent: cents(cost),
            remaining: cents(100 - cost),
            reserved: Usd.zero
          })
        }
      }).pipe(Effect.provide(Budget.layer({ limit })))
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("is refused with other windows, and takes new thresholds", () =>
    Effect.gen(function* () {
      yield* before
      const build = (options: Partial<Budget.Options>) =>
        Effect.provide(Budget.summary, Budget.layer({ limit, ...options }))
      includes(yield* reasonOf(build({ window: "hour" })), { _tag: "InvalidAccount" })
      for (const window of [
        "fortnight",
        { rolling: "soon" },
        { rolling: 0 },
        { every: "day", timeZone: "Mars" }
      ]) {
        const reason = yield* reasonOf(build({ window: window as Ledger.Window }))
        assert.strictEqual(reason._tag, "InvalidAccount", JSON.stringify(window))
      }
      includes(yield* reasonOf(build({ thresholds: [0] })), { _tag: "InvalidAccount" })
      includes(yield* build({ window: { every: "day", timeZone: "UTC" } }), { spent: cents(25) })
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("is charged in the view for what a process that is gone has left to expire", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.open({ account: "root", limit })
        yield* ledger.reserve({ account: "root", least: cents(30) })
        // It dies: nothing renews its lease any more.
      }).pipe(Effect.provide(Layer.effect(Ledger.Ledger, StoredLedger.make(store))))
      yield* Effect.gen(function* () {
        yield* pay(10)
        assert.strictEqual((yield* Budget.summary).spent, cents(10))
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(yield* agree, [40, 0])
      }).pipe(
        Effect.provide(
          Layer.provide(Budget.layer({ limit }), Layer.effect(Ledger.Ledger, StoredLedger.make(store)))
        )
      )
    })
  )
})

describe("another limit", () => {
  const opened = (options: Partial<Budget.Options>) =>
    Effect.provide(Budget.summary, Budget.layer({ limit: cents(200), ...options }))

  it.effect("is refused with both numbers and the way out, or set where that is said", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* ledger.open({ account: "root", limit })
      for (const onLimitChange of [undefined, "refuse"] as const) {
        const reason = yield* reasonOf(opened({ onLimitChange }))
        includes(reason, { _tag: "AccountConflict", limit, asked: cents(200) })
        assert.match(reason.message, /\$1\.00.*\$2\.00.*onLimitChange: "set"/)
      }
      assert.strictEqual((yield* ledger.balance("root")).limit, limit)
      assert.strictEqual((yield* opened({ onLimitChange: "set" })).limit, cents(200))
      assert.strictEqual((yield* ledger.balance("root")).limit, cents(200))
      const entries = yield* Stream.runCollect(ledger.entries())
      assert.lengthOf(entries, 1)
      includes(entries[0], { _tag: "LimitChanged", from: limit, to: cents(200) })
      // The same limit again changes nothing, and every layer has left the account: one who opened it is left.
      yield* opened({ onLimitChange: "set" })
      assert.lengthOf(yield* Stream.runCollect(ledger.entries()), 1)
      yield* ledger.close("root")
      assert.lengthOf(yield* ledger.balances, 0)
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("of an account below is refused or set in the same way, inside within and open", () =>
    Effect.gen(function* () {
      const asked = { account: "ann", limit: cents(2) }
      yield* Budget.open({ account: "ann", limit: cents(1) })
      assert.strictEqual((yield* reasonOf(Budget.open(asked)))._tag, "AccountConflict")
      assert.strictEqual((yield* reasonOf(Budget.within(pay(2), asked)))._tag, "AccountConflict")
      yield* Budget.within(pay(2), { ...asked, onLimitChange: "set" })
      assert.strictEqual((yield* reasonOf(Budget.within(pay(2), { account: "ann" })))._tag, "BudgetExceeded")
      yield* Budget.open({ ...asked, limit: cents(3), onLimitChange: "set" })
      yield* Budget.within(pay(1), { account: "ann" })
    }).pipe(Effect.provide(Budget.layerMemory({ limit })))
  )
})

describe("events of the ledger", () => {
  it.effect(
    "thresholds are told once a crossing, behind the call that did it, for the budget and what is below",
    () =>
      Effect.gen(function* () {
        const told: Array<string> = []
        const line = (event: Budget.Event): string =>
          event._tag === "ThresholdCrossed"
            ? `${event.account} ${event.threshold} of ${Usd.format(event.limit)} at ${Usd.format(event.spent)}`
            : event._tag
        const read = Stream.runForEach(Budget.events, (event) =>
          Effect.sync(() => void told.push(line(event)))
        )
        yield* Effect.forkChild(read)
        yield* settled
        const step = Effect.fnUntraced(function* (
          effect: Effect.Effect<unknown, BudgetError.BudgetError, Budget.Budget | Ledger.Ledger>
        ) {
          yield* effect
          yield* settled
          return told.splice(0)
        })
        assert.deepStrictEqual(yield* step(pay(40)), ["Reserved", "Settled"])
        assert.deepStrictEqual(yield* step(pay(45)), [
          "Reserved",
          "Settled",
          "root 0.5 of $1.00 at $0.85",
          "root 0.8 of $1.00 at $0.85"
        ])
        assert.deepStrictEqual(yield* step(pay(1)), ["Reserved", "Settled"])
        yield* TestClock.adjust("1 day")
        const below = Budget.within(pay(1), {
          account: "ann",
          limit: cents(2),
          window: "hour",
          thresholds: [0.5]
        })
        assert.deepStrictEqual(yield* step(below), ["Reserved", "Settled", "root/ann 0.5 of $0.02 at $0.01"])
        assert.deepStrictEqual(yield* step(pay(49)), ["Reserved", "Settled", "root 0.5 of $1.00 at $0.50"])
        // Another budget of the same ledger crosses one of its own.
        const other = Budget.layer({ account: "other", limit, thresholds: [0.1] })
        assert.deepStrictEqual(yield* step(Effect.provide(pay(20), other)), [])
      }).pipe(
        Effect.provide(
          Budget.layer({ limit, window: "day", thresholds: [0.8, 0.5] }).pipe(
            Layer.provideMerge(Ledger.layerMemory())
          )
        )
      )
  )

  it.effect("every reader is told each once, also one who comes when others have left", () =>
    Effect.gen(function* () {
      const crossings = Stream.flatMap(Budget.events, (event) =>
        event._tag === "ThresholdCrossed" ? Stream.make(event.threshold) : Stream.empty
      )
      const read = (most: number) =>
        Effect.tap(Effect.forkChild(Stream.runCollect(Stream.take(crossings, most))), () => settled)
      const first = yield* read(1)
      const second = yield* read(2)
      yield* pay(30)
      assert.deepStrictEqual(yield* Fiber.join(first), [0.3])
      yield* pay(60)
      assert.deepStrictEqual(yield* Fiber.join(second), [0.3, 0.6])
      yield* settled
      const third = yield* read(1)
      yield* pay(5)
      assert.deepStrictEqual(yield* Fiber.join(third), [0.95])
    }).pipe(Effect.provide(Budget.layerMemory({ limit, thresholds: [0.3, 0.6, 0.95] })))
  )

  it.effect("a lease that ran out is told, and what the call cost after it corrects the view", () =>
    Effect.gen(function* () {
      const told = yield* Budget.events.pipe(Stream.take(3), Stream.runCollect, Effect.forkChild)
      yield* settled
      const { acquire, settle } = yield* Budget.Budget
      const held = yield* acquire({ least: cents(30) })
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual((yield* Budget.balance).spent, cents(30))
      yield* settle(held, { amount: cents(12), verdict: "metered" })
      const events = yield* Fiber.join(told)
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["Reserved", "Expired", "Settled"]
      )
      includes(events[1], { account: "root", amount: cents(30), reservation: held.id })
      assert.deepStrictEqual(yield* agree, [12, 0])
    }).pipe(
      Effect.provide(
        Budget.layer({ limit }).pipe(Layer.provideMerge(Ledger.layerMemory({ lease: "1 minute" })))
      )
    )
  )
})

describe("an end that the store does not take", () => {
  const away = Effect.gen(function* () {
    const store = ReferenceStore.make()
    const books = Layer.effect(Ledger.Ledger, StoredLedger.make(store))
    const layer = Budget.layer({ limit, window: "day" }).pipe(Layer.provideMerge(books))
    return { store, layer }
  })
  /** Lets time pass until an effect has ended. */
  const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(effect)
      for (let step = 0; step < 100 && fiber.pollUnsafe() === undefined; step++) yield* TestClock.adjust(50)
      return yield* Fiber.join(fiber)
    })

  it.effect("is spent and no longer held in the view at once, and in the books when the store is back", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* away
      yield* Effect.gen(function* () {
        const told = yield* Budget.events.pipe(Stream.take(5), Stream.runCollect, Effect.forkChild)
        yield* settled
        const budget = yield* Budget.Budget
        const [one, other, third] = yield* Effect.forEach([30, 20, 10], (least) =>
          budget.acquire({ least: cents(least), label: "m" })
        )
        if (one === undefined || other === undefined || third === undefined) return assert.fail("not held")
        store.faults.away = true
        yield* inTime(budget.settle(one, { amount: cents(31), verdict: "metered" }))
        yield* inTime(budget.release(other))
        includes(yield* Budget.summary, {
          spent: cents(31),
          reserved: cents(10),
          remaining: cents(59),
          calls: 1,
          overrun: cents(1)
        })
        assert.strictEqual((yield* Budget.summary).byModel["m"]?.spent, cents(31))
        assert.deepStrictEqual(budget.outstanding(), [third])
        assert.deepStrictEqual(yield* budget.ledger.unwritten, [
          {
            reservation: one.id,
            account: "root",
            charge: { amount: cents(31), verdict: "metered", label: "m" }
          },
          { reservation: other.id, account: "root", charge: null }
        ])
        const events = (yield* Fiber.join(told)).slice(3)
        for (const event of events) includes(event, { _tag: "Unsettled", kept: true })
        // Longer than a lease.
        yield* TestClock.adjust("2 minutes")
        store.faults.away = false
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* budget.ledger.unwritten, [])
        assert.deepStrictEqual(yield* agree, [31, 10])
      }).pipe(Effect.provide(layer))
    }).pipe(quiet)
  )

  it.effect("stays held where the ledger refuses it", () =>
    Effect.gen(function* () {
      const told = yield* Budget.events.pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
      yield* settled
      const budget = yield* Budget.Budget
      const held = yield* budget.acquire({ least: cents(1) })
      yield* budget.settle(held, { amount: NaN as Usd.Usd, verdict: "metered" })
      includes((yield* Fiber.join(told))[1], { _tag: "Unsettled", kept: false })
      assert.deepStrictEqual(budget.outstanding(), [held])
      assert.deepStrictEqual(yield* agree, [0, 1])
    }).pipe(Effect.provide(Budget.layerMemory({ limit })), quiet)
  )
})
