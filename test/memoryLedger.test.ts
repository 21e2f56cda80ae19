import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Context, Effect, Exit, Fiber, Layer, Logger, Scheduler, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ledgerSuite } from "./LedgerTest.ts"
import { includes } from "./utils/assertions.ts"
import { movedBy } from "./utils/moved.ts"

ledgerSuite("the memory ledger", {
  fixture: Effect.sync(() => {
    const made = new Map<string, Effect.Effect<Ledger.Ledger["Service"]>>()
    return {
      connect: (options) => {
        const known =
          made.get("books") ??
          Effect.runSync(Effect.cached(Ledger.makeMemory({ ...options, admissions: true, entries: 100_000 })))
        made.set("books", known)
        return known
      },
      advance: (millis) => TestClock.adjust(millis)
    }
  }),
  live: false,
  shared: false
})

describe("a ledger in memory whose layer is closed", () => {
  it.effect("turns away whoever waits or begins to, and still takes what ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const books = Context.get(yield* Layer.buildWithScope(Ledger.layerMemory(), scope), Ledger.Ledger)
      yield* books.open({ account: "root", limit: Usd.nanos(100) })
      const held = yield* books.reserve({ account: "root", least: Usd.nanos(100) })
      const wait = Effect.flip(books.reserve({ account: "root", least: Usd.nanos(1), waitAtMost: "1 hour" }))
      const waits = yield* Effect.forEach([wait, wait], (each) => Effect.forkChild(each))
      yield* TestClock.adjust(10)
      yield* Scope.close(scope, Exit.void)
      for (const each of waits) assert.strictEqual((yield* Fiber.join(each)).reason._tag, "Closed")
      assert.strictEqual((yield* wait).reason._tag, "Closed")
      assert.strictEqual((yield* books.release(held))._tag, "Released")
      // Also where there is room by now.
      assert.strictEqual((yield* wait).reason._tag, "Closed")
    })
  )
})

describe("a grant in line under an id of the caller's", () => {
  const full = Usd.nanos(100)

  it.effect("goes back when all who waited were interrupted before they got it, and is asked for anew", () =>
    Effect.gen(function* () {
      for (const admissions of [false, true]) {
        for (const waiters of [1, 2]) {
          const books = yield* Ledger.makeMemory({ admissions, lease: "1 hour" })
          yield* books.open({ account: "root", limit: full })
          const ask = { account: "root", least: full, waitAtMost: "1 hour", id: "mine" } as const
          const held = yield* books.reserve({ account: "root", least: full })
          const waits = yield* Effect.forEach(Array.from({ length: waiters }), () =>
            Effect.forkChild(books.reserve(ask))
          )
          yield* TestClock.adjust(10)
          yield* Effect.andThen(
            books.release(held),
            Effect.sync(() => waits.forEach((each) => each.interruptUnsafe()))
          )
          for (const each of waits) assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(each)))
          assert.strictEqual((yield* books.balance("root")).reserved, 0)
          yield* books.settle(yield* books.reserve(ask), { amount: Usd.nanos(7), verdict: "metered" })
          yield* TestClock.adjust("2 hours")
          assert.strictEqual((yield* books.balance("root")).spent, 7)
          assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        }
      }
    })
  )

  it.effect("stays where another got it, in line or by asking at that moment", () =>
    Effect.gen(function* () {
      for (const how of ["asks at once", "stands in line before it", "stands in line behind it"]) {
        const asksAtOnce = how === "asks at once"
        const books = yield* Ledger.makeMemory()
        yield* books.open({ account: "root", limit: full })
        const ask = { account: "root", least: full, waitAtMost: "1 hour", id: "mine" } as const
        const held = yield* books.reserve({ account: "root", least: full })
        const waits = [yield* Effect.forkChild(books.reserve(ask))]
        if (!asksAtOnce) waits.push(yield* Effect.forkChild(books.reserve(ask)))
        if (how === "stands in line before it") waits.reverse()
        const [leaving, other] = waits
        if (leaving === undefined) return assert.fail("nobody waits")
        yield* TestClock.adjust(10)
        yield* books.release(held)
        const got = asksAtOnce ? yield* books.reserve(ask) : undefined
        leaving.interruptUnsafe()
        const kept = got ?? (other === undefined ? held : yield* Fiber.join(other))
        yield* Fiber.await(leaving)
        assert.strictEqual((yield* books.balance("root")).reserved, 100)
        assert.strictEqual((yield* books.release(kept)).account, "root")
        assert.strictEqual((yield* books.balance("root")).reserved, 0)
      }
    })
  )
})

describe("an id of the caller's, however often its fibers yield to each other,", () => {
  const full = Usd.nanos(100)
  const least = Usd.nanos(10)

  it.effect("gives back what it held once when all who waited leave at once", () =>
    Effect.gen(function* () {
      let met = 0
      for (let every = 4; every <= 40; every++) {
        for (const admissions of [false, true]) {
          const books = yield* Ledger.makeMemory({ admissions })
          yield* books.open({ account: "root", limit: full })
          const held = yield* books.reserve({ account: "root", least: full })
          const ask = books.reserve({ account: "root", least, id: "mine", waitAtMost: "1 hour" })
          const waits = yield* Effect.forEach([ask, ask, ask], (each) =>
            Effect.forkChild(Effect.provideService(each, Scheduler.MaxOpsBeforeYield, every))
          )
          for (let step = 0; step < 6; step++) yield* TestClock.adjust(10)
          yield* Effect.andThen(
            books.release(held),
            Effect.sync(() => waits.forEach((each) => each.interruptUnsafe()))
          )
          const exits = yield* Effect.forEach(waits, (each) => Fiber.await(each))
          if (exits.every(Exit.hasInterrupts)) met++
          const { reserved } = yield* books.balance("root")
          assert.strictEqual(reserved, exits.some(Exit.isSuccess) ? 10 : 0, `every ${every}`)
          assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        }
      }
      assert.isAbove(met, 20)
    })
  )

  it.effect("is held once when one who does not wait gets it before another stands in line", () =>
    Effect.gen(function* () {
      let met = 0
      for (let every = 4; every <= 40; every++) {
        for (let turns = 0; turns <= 8; turns++) {
          const books = yield* Ledger.makeMemory({ admissions: true })
          yield* books.open({ account: "root", limit: full })
          const held = yield* books.reserve({ account: "root", least: full })
          const ask = { account: "root", least, id: "mine" } as const
          const waiting = yield* Effect.forkChild(
            Effect.provideService(
              books.reserve({ ...ask, waitAtMost: "1 hour" }),
              Scheduler.MaxOpsBeforeYield,
              every
            )
          )
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* books.release(held)
          const got = yield* books.reserve(ask)
          if (waiting.pollUnsafe() === undefined) met++
          const same = yield* Fiber.join(waiting)
          assert.deepStrictEqual([same.id, same.at], [got.id, got.at])
          assert.strictEqual((yield* books.balance("root")).reserved, 10, `every ${every}, after ${turns}`)
          yield* books.settle(got, { amount: Usd.nanos(7), verdict: "metered" })
          assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        }
      }
      assert.isAbove(met, 20)
    })
  )
})

describe("options of a ledger in memory that cannot be", () => {
  it.effect("lose no money: a lease is a millisecond at least, and no entries are kept", () =>
    Effect.gen(function* () {
      for (const bad of [NaN, 0, -1, -Infinity]) {
        const books = yield* Ledger.makeMemory({ lease: bad, entries: bad })
        yield* books.open({ account: "root", limit: Usd.nanos(100) })
        const held = yield* books.reserve({ account: "root", least: Usd.nanos(10) })
        assert.strictEqual(held.expiresAt, held.at + 1)
        yield* TestClock.adjust(1)
        assert.strictEqual((yield* books.balance("root")).spent, 10)
      }
      const patient = yield* Ledger.makeMemory({ lease: Infinity, entries: Infinity })
      yield* patient.open({ account: "root", limit: Usd.nanos(100) })
      const held = yield* patient.reserve({ account: "root", least: Usd.nanos(10) })
      assert.isTrue(Number.isSafeInteger(held.expiresAt))
    })
  )
})

describe("a lease in memory", () => {
  const usd = Usd.nanos
  const opened = (options: Ledger.MemoryOptions = {}) =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory({ lease: 60, ...options })
      yield* books.open({ account: "root", limit: usd(100), thresholds: [0.5] })
      return books
    })
  const tags = (books: Ledger.Ledger["Service"]) =>
    Effect.map(Stream.runCollect(books.entries()), (entries) => entries.map(({ _tag }) => _tag))

  it.effect("that is renewed runs out after those that began later", () =>
    Effect.gen(function* () {
      const books = yield* opened()
      const first = yield* books.reserve({ account: "root", least: usd(1) })
      yield* TestClock.adjust(10)
      yield* books.reserve({ account: "root", least: usd(2) })
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* books.renew(first)).expiresAt, 80)
      yield* TestClock.adjust(49)
      assert.strictEqual((yield* books.balance("root")).spent, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* books.balance("root")).spent, 2)
      yield* TestClock.adjust(9)
      assert.strictEqual((yield* books.balance("root")).spent, 2)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* books.balance("root")).spent, 3)
    })
  )

  it.effect(
    "runs out before the next is admitted, in the books too, with the thresholds that it crosses",
    () =>
      Effect.gen(function* () {
        const books = yield* opened({ admissions: true })
        yield* books.reserve({ account: "root", least: usd(60) })
        yield* TestClock.adjust(60)
        yield* books.reserve({ account: "root", least: usd(40) })
        assert.deepStrictEqual(yield* tags(books), [
          "Opened",
          "Reserved",
          "Expired",
          "ThresholdCrossed",
          "Reserved"
        ])
      })
  )

  it.effect("that runs out tells those who wait that they can never fit", () =>
    Effect.gen(function* () {
      const books = yield* opened()
      yield* books.reserve({ account: "root", least: usd(60) })
      const ask = { account: "root", least: usd(50), waitAtMost: "1 hour" } as const
      const waiting = yield* Effect.forkChild(Effect.flip(books.reserve(ask)))
      yield* TestClock.adjust(60)
      assert.isUndefined(waiting.pollUnsafe())
      yield* books.balances
      const { reason } = yield* Fiber.join(waiting)
      includes(reason, { _tag: "BudgetExceeded", spent: 60, reserved: 0, waitedMillis: 60 })
    })
  )

  it.effect("that ran out is why its reservation cannot be renewed or had again", () =>
    Effect.gen(function* () {
      const books = yield* opened()
      const ask = { account: "root", least: usd(60), id: "mine" }
      const held = yield* books.reserve(ask)
      yield* TestClock.adjust(60)
      yield* books.balance("root")
      for (const late of [books.renew(held), books.reserve(ask)]) {
        const { reason } = yield* Effect.flip(late)
        includes(reason, {
          _tag: "ReservationConflict",
          reservation: "mine",
          detail: "its lease has expired."
        })
      }
      yield* books.settle(held, { amount: usd(5_000_000), verdict: "metered" })
      for (const late of [books.renew(held), books.reserve(ask)]) {
        includes((yield* Effect.flip(late)).reason, { detail: "it was settled for $0.005." })
      }
    })
  )
})

describe("an account in memory that is joined", () => {
  it.effect("keeps its thresholds where nothing is said of them, and takes new ones", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      const open = (thresholds?: ReadonlyArray<number>) =>
        books.open({ account: "root", limit: Usd.nanos(100), thresholds })
      const spend = Effect.flatMap(books.reserve({ account: "root", least: Usd.nanos(30) }), (held) =>
        books.settle(held, { amount: held.amount, verdict: "metered" })
      )
      yield* open([0.3])
      yield* open()
      yield* spend
      yield* open([0.6, 0.5])
      yield* spend
      const crossed = (yield* Stream.runCollect(books.entries())).flatMap((entry) =>
        entry._tag === "ThresholdCrossed" ? [entry.threshold] : []
      )
      assert.deepStrictEqual(crossed, [0.3, 0.5, 0.6])
    })
  )

  it.effect("is said to differ by parent, limit or windows, each as it is", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100) })
      yield* books.open({ account: "root/a", parent: "root", limit: Usd.nanos(5), window: "day" })
      const reason = (request: Ledger.OpenRequest) =>
        Effect.map(Effect.flip(books.open(request)), (error) => error.reason)
      const parent = "root"
      for (const [request, detail] of [
        [{ account: "root/a" }, "it is open under root. Use another name."],
        [{ account: "root", parent: "root/a" }, "it is open under no parent. Use another name."],
        [
          { account: "root/a", parent, window: "hour" },
          'it is open in windows of "day UTC". Use the same, or another name.'
        ],
        [{ account: "root", window: "day" }, "it is open without windows. Use the same, or another name."]
      ] as const) {
        includes(yield* reason(request), { _tag: "InvalidAccount", account: request.account, detail })
      }
      includes(yield* reason({ account: "root/a", parent, limit: null }), { limit: 5, asked: null })
    })
  )
})

describe("the books in memory", () => {
  it.effect("take a number of entries that is not whole as the whole ones in it", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory({ entries: 2.9 })
      yield* books.open({ account: "root" })
      for (const limit of [1, 2, 3]) yield* books.setLimit("root", Usd.nanos(limit))
      const kept = yield* Stream.runCollect(books.entries())
      assert.deepStrictEqual(
        kept.map(({ seq }) => seq),
        [2, 3]
      )
    })
  )

  it.effect("say why a reservation that they did not make cannot end or be renewed", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      const others = yield* Ledger.makeMemory()
      for (const each of [books, others]) yield* each.open({ account: "root", limit: Usd.nanos(100) })
      const foreign = yield* others.reserve({ account: "root", least: Usd.nanos(1) })
      const charge = { amount: Usd.nanos(1), verdict: "metered" } as const
      for (const refused of [books.settle(foreign, charge), books.release(foreign), books.renew(foreign)]) {
        const { reason } = yield* Effect.flip<unknown, BudgetError.BudgetError, never>(refused)
        includes(reason, { _tag: "ReservationConflict", detail: "it was not made by this ledger." })
      }
    })
  )

  it.effect("log that their sink failed, with the entry that is booked, and go on", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(
        ({ logLevel, message }) => void logged.push(`${logLevel}: ${String(message)}`)
      )
      const books = yield* Ledger.makeMemory({ sink: () => Effect.die("the disk is full") })
      yield* books.open({ account: "root" })
      yield* Effect.provide(books.setLimit("root", Usd.nanos(1)), Logger.layer([logger]))
      assert.lengthOf(logged, 1)
      assert.match(logged[0] ?? "", /^Error: The sink of the ledger failed at entry 1, which is booked\./)
    })
  )
})

describe("an account in memory below one with windows", () => {
  it.effect("holds and charges in the window of that one", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100), window: { rolling: 60 } })
      yield* books.open({ account: "root/a", parent: "root" })
      yield* books.open({ account: "root/a/x", parent: "root/a" })
      yield* TestClock.setTime(1_000)
      const early = yield* books.reserve({ account: "root/a/x", least: Usd.nanos(80) })
      yield* TestClock.setTime(2_000)
      const late = yield* books.reserve({ account: "root/a/x", least: Usd.nanos(90) })
      includes(yield* books.balance("root"), { reserved: 90, windowStart: 2_000, windowEnd: 2_060 })
      const entry = yield* books.settle(early, { amount: Usd.nanos(70), verdict: "metered" })
      assert.deepStrictEqual(entry.chain, [
        { account: "root/a/x", window: null },
        { account: "root/a", window: null },
        { account: "root", window: 1_000 }
      ])
      includes(yield* books.balance("root"), { reserved: 90, spent: 0 })
      includes(yield* books.balance("root/a"), {
        reserved: 90,
        spent: 70,
        windowStart: null,
        windowEnd: null
      })
      yield* books.release(late)
      for (const account of ["root", "root/a", "root/a/x"]) {
        includes(yield* books.balance(account), { reserved: 0 })
      }
    })
  )
})

describe("the balances in memory", () => {
  it.effect("say whose child each account is, and that every end is written", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root" })
      yield* books.open({ account: "root/a", parent: "root" })
      const parents = (yield* books.balances).map(({ account, parent }) => [account, parent])
      assert.deepStrictEqual(parents, [
        ["root", null],
        ["root/a", "root"]
      ])
      assert.deepStrictEqual(yield* books.unwritten, [])
    })
  )
})

describe("a look at the books in memory", () => {
  it.effect("begins no window that rolls, and says in the entries that there is none", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100), window: { rolling: "1 hour" } })
      yield* TestClock.setTime(1_000)
      for (const look of [books.balances, books.balances]) {
        includes((yield* look)[0], { windowStart: null, windowEnd: null })
      }
      yield* books.setLimit("root", Usd.nanos(50))
      const [entry] = yield* Stream.runCollect(books.entries())
      assert.deepStrictEqual(entry?.chain, [{ account: "root", window: null }])
    })
  )

  it.effect("tells the sink of what has run out, once, and of nothing before", () =>
    Effect.gen(function* () {
      const told: Array<Ledger.Entry> = []
      const books = yield* Ledger.makeMemory({
        lease: 60,
        sink: (entry) => Effect.sync(() => told.push(entry))
      })
      yield* books.open({ account: "root", limit: Usd.nanos(10), thresholds: [0.5] })
      yield* books.reserve({ account: "root", least: Usd.nanos(7) })
      yield* TestClock.adjust(59)
      yield* books.balances
      assert.deepStrictEqual(told, [])
      yield* TestClock.adjust(1)
      yield* books.balances
      yield* books.balances
      assert.deepStrictEqual(
        told.map(({ _tag }) => _tag),
        ["Expired", "ThresholdCrossed"]
      )
      assert.deepStrictEqual(yield* Stream.runCollect(books.entries()), told)
    })
  )

  it.effect("is there to the last: closing the last account answers what it came to", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      const account = Ledger.rootAccount
      yield* books.open({ account, limit: Usd.nanos(100) })
      const held = yield* books.reserve({ account, least: Usd.nanos(10) })
      yield* books.settle(held, { amount: Usd.nanos(7), verdict: "metered" })
      includes(yield* books.close(account), { account: "root", spent: 7, reserved: 0, available: 93 })
      assert.deepStrictEqual(yield* books.balances, [])
    })
  )

  it.effect("bounds those below it, however often those who opened it close it", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      const root = { account: "root", limit: Usd.nanos(100) }
      yield* books.open(root)
      yield* books.open({ account: "root/a", parent: "root" })
      const held = yield* books.reserve({ account: "root/a", least: Usd.nanos(90) })
      for (let times = 0; times < 3; times++) includes(yield* books.close("root"), { reserved: 90 })
      yield* books.open(root)
      const { reason } = yield* Effect.flip(books.reserve({ account: "root", least: Usd.nanos(11) }))
      includes(reason, { _tag: "BudgetExceeded", account: "root", reserved: 90 })
      yield* books.release(held)
      yield* books.close("root")
      yield* books.close("root/a")
      assert.deepStrictEqual(yield* books.balances, [])
    })
  )

  it.effect("keeps its numbers in the window that begins with the clock, when that is over", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100), window: { rolling: "1 hour" } })
      const held = yield* books.reserve({ account: "root", least: Usd.nanos(90) })
      assert.strictEqual(held.at, 0)
      yield* TestClock.adjust("1 hour")
      includes(yield* books.balance("root"), { spent: 0, reserved: 0 })
      yield* books.settle(held, { amount: Usd.nanos(40), verdict: "metered" })
      includes(yield* books.balance("root"), { spent: 0, reserved: 0, available: 100 })
    })
  )

  it.effect("of the largest limit there is has no limit, in its entries too", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory({ admissions: true })
      yield* books.open({ account: "root", limit: Usd.maximum })
      yield* books.reserve({ account: "root", least: Usd.nanos(1) })
      yield* books.setLimit("root", Usd.nanos(5))
      yield* books.setLimit("root", Usd.maximum)
      yield* books.setLimit("root", Usd.maximum)
      yield* books.reserve({ account: "root", least: Usd.nanos(1) })
      const { entries, findings } = yield* LedgerAudit.audit(books)
      assert.deepStrictEqual([entries, findings], [5, []])
    })
  )
})

describe("a wait in memory", () => {
  it.effect("tells how long it was, by the clock, whatever that shows", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5_000)
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100) })
      const held = yield* books.reserve({ account: "root", least: Usd.nanos(60) })
      const ask = { account: "root", least: Usd.nanos(50) }
      const late = yield* Effect.forkChild(Effect.flip(books.reserve({ ...ask, waitAtMost: 30 })))
      const hopeless = yield* Effect.forkChild(Effect.flip(books.reserve({ ...ask, waitAtMost: "1 hour" })))
      yield* TestClock.adjust(30)
      includes((yield* Fiber.join(late)).reason, { account: "root", waitedMillis: 30 })
      yield* TestClock.adjust(10)
      yield* books.settle(held, { amount: Usd.nanos(60), verdict: "metered" })
      includes((yield* Fiber.join(hopeless)).reason, { account: "root", waitedMillis: 40 })
    })
  )

  it.effect(
    "under an id of the caller's loses no grant, however often those who ask yield to each other",
    () =>
      Effect.gen(function* () {
        const ask = { account: "root", least: Usd.nanos(10), id: "mine" }
        for (let every = 3; every <= 16; every++) {
          const yielding = Effect.provideService(Scheduler.MaxOpsBeforeYield, every)
          for (let after = 0; after <= 8; after++) {
            for (const isFull of [false, true]) {
              const books = yield* Ledger.makeMemory()
              yield* books.open({ account: "root", limit: Usd.nanos(100) })
              const full = yield* books.reserve({ account: "root", least: Usd.nanos(isFull ? 100 : 1) })
              const waits = [
                yield* Effect.forkChild(yielding(books.reserve({ ...ask, waitAtMost: "1 hour" }))),
                yield* Effect.forkChild(yielding(books.reserve({ ...ask, waitAtMost: "1 hour" })))
              ]
              for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
              const told = isFull ? yield* books.release(full) : yield* books.reserve(ask)
              assert.isDefined(told)
              for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
              const where = `a yield every ${every} steps, after ${after}, ${isFull ? "full" : "with room"}`
              for (const each of waits) assert.isDefined(each.pollUnsafe(), where)
              const { reserved } = yield* books.balance("root")
              assert.strictEqual(reserved, isFull ? 10 : 11, where)
            }
          }
        }
      })
  )
})

describe("a charge that would leave the exact range", () => {
  it.effect("is refused by each account of its chain, of one with windows too", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", window: "day" })
      yield* books.open({ account: "root/a", parent: "root" })
      yield* books.open({ account: "root/b", parent: "root" })
      yield* books.reserve({ account: "root/a", least: Usd.nanos(Number.MAX_SAFE_INTEGER - 1) })
      const held = yield* books.reserve({ account: "root/b", least: Usd.nanos(1) })
      const charge = { amount: Usd.nanos(2), verdict: "metered" } as const
      includes((yield* Effect.flip(books.settle(held, charge))).reason, { _tag: "InvalidAmount" })
      includes(yield* books.balance("root/b"), { spent: 0, reserved: 1 })
    })
  )
})

describe("a refusal in memory", () => {
  const reasonOf = (books: Ledger.Ledger["Service"], least: number) =>
    Effect.map(
      Effect.flip(books.reserve({ account: "root", least: Usd.nanos(least) })),
      ({ reason }) => reason
    )

  it.effect("names the next window where there is one, and none where there is not", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100) })
      const without = yield* reasonOf(books, 101)
      includes(without, { _tag: "BudgetExceeded", account: "root", required: 101 })
      assert.notProperty(without, "nextWindow")
    })
  )

  it.effect("is by a pause, unless it would not fit without that either", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: Usd.nanos(100) })
      yield* books.reserve({ account: "root", least: Usd.nanos(40) })
      yield* books.pause("root")
      assert.strictEqual((yield* reasonOf(books, 100))._tag, "AccountPaused")
      assert.strictEqual((yield* reasonOf(books, 101))._tag, "BudgetExceeded")
    })
  )
})

describe("the sink in memory", () => {
  it.effect("hears of pauses, and of no threshold where there is no limit", () =>
    Effect.gen(function* () {
      const told: Array<unknown> = []
      const books = yield* Ledger.makeMemory({ sink: (entry) => Effect.sync(() => told.push(entry)) })
      yield* books.open({ account: "root", thresholds: [0.5] })
      const held = yield* books.reserve({ account: "root", least: Usd.nanos(10) })
      yield* books.pause("root")
      yield* books.settle(held, { amount: Usd.nanos(10), verdict: "metered" })
      yield* books.resume("root")
      const entries = yield* Stream.runCollect(books.entries())
      assert.deepStrictEqual(
        entries.map(({ _tag }) => _tag),
        ["Paused", "Settled", "Resumed"]
      )
      assert.deepStrictEqual(told, entries)
    })
  )

  it.effect("that is none is no failure", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ message }) => void logged.push(message))
      const books = yield* Ledger.makeMemory()
      yield* Effect.gen(function* () {
        yield* books.open({ account: "root" })
        const held = yield* books.reserve({ account: "root", least: Usd.nanos(10) })
        yield* books.settle(held, { amount: Usd.nanos(10), verdict: "metered" })
        yield* books.setLimit("root", Usd.nanos(50))
        yield* books.pause("root")
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(logged, [])
    })
  )
})

describe("readers of what is booked in memory", () => {
  const ledgerOf = Effect.fnUntraced(function* (limit: number, thresholds: ReadonlyArray<number> = []) {
    const ledger = yield* Ledger.makeMemory({ admissions: true })
    yield* ledger.open({ account: "root", limit: Usd.nanos(limit), thresholds })
    return ledger
  })

  /** What a reader does runs as he is told, before whoever booked it goes on. */
  const hear = (ledger: Ledger.Ledger["Service"], hears: (entry: Ledger.Entry) => Effect.Effect<void>) =>
    Effect.andThen(Effect.forkChild(Stream.runForEach(ledger.booked, hears)), Effect.yieldNow)

  it.effect("hear of it in its order, also of whom an end lets in and of what it crosses", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOf(10, [0.4])
      const heard: Array<Ledger.Entry> = []
      yield* hear(ledger, (entry) => Effect.sync(() => void heard.push(entry)))
      const held = yield* ledger.reserve({ account: "root", least: Usd.nanos(10) })
      const waits = yield* Effect.forkChild(
        ledger.reserve({ account: "root", least: Usd.nanos(5), waitAtMost: "1 second" })
      )
      yield* Effect.yieldNow
      yield* ledger.settle(held, { amount: Usd.nanos(5), verdict: "metered" })
      yield* Fiber.join(waits)
      assert.deepStrictEqual(
        heard.map(({ _tag, seq }) => `${seq} ${_tag}`),
        ["2 Reserved", "3 Settled", "4 ThresholdCrossed", "5 Reserved"]
      )
      assert.deepStrictEqual(LedgerAudit.admissionsKeptLimits(yield* Stream.runCollect(ledger.entries())), [])
    })
  )

  it.effect("hear of many leases that ran out at once, none of which is moved for those before it", () =>
    Effect.gen(function* () {
      const leases = 1_000
      const ledger = yield* Ledger.makeMemory({ lease: "1 second" })
      yield* ledger.open({ account: "root" })
      const heard: Array<number> = []
      yield* hear(ledger, ({ seq }) => Effect.sync(() => void heard.push(seq)))
      for (let lease = 0; lease < leases; lease++) {
        yield* ledger.reserve({ account: "root", least: Usd.nanos(1) })
      }
      yield* TestClock.adjust("2 seconds")
      const services = yield* Effect.context()
      assert.isBelow(
        movedBy(() => Effect.runSyncWith(services)(ledger.balance("root"))),
        leases
      )
      yield* Effect.yieldNow
      assert.deepStrictEqual(
        heard,
        Array.from({ length: leases }, (_, index) => index + 1)
      )
    })
  )

  it.effect("may interrupt whoever is let in, who then holds nothing", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOf(10)
      const held = yield* ledger.reserve({ account: "root", least: Usd.nanos(10) })
      const waits = yield* Effect.forkChild(
        ledger.reserve({ account: "root", least: Usd.nanos(10), waitAtMost: "1 second" })
      )
      yield* hear(ledger, ({ _tag }) =>
        Effect.sync(() => (_tag === "Reserved" ? waits.interruptUnsafe() : undefined))
      )
      yield* ledger.release(held)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waits)))
      assert.strictEqual((yield* ledger.balance("root")).reserved, 0)
    })
  )

  it.effect("may end something themselves: a threshold is crossed once", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOf(10, [0.5])
      const [one, two] = [
        yield* ledger.reserve({ account: "root", least: Usd.nanos(4) }),
        yield* ledger.reserve({ account: "root", least: Usd.nanos(2) })
      ]
      yield* hear(ledger, (entry) =>
        entry._tag === "Settled" && entry.reservation === one.id
          ? Effect.orDie(ledger.settle(two, { amount: Usd.nanos(2), verdict: "metered" }))
          : Effect.void
      )
      yield* ledger.settle(one, { amount: Usd.nanos(4), verdict: "metered" })
      const entries = yield* Stream.runCollect(ledger.entries())
      assert.deepStrictEqual(
        entries.slice(-3).map(({ _tag }) => _tag),
        ["Settled", "Settled", "ThresholdCrossed"]
      )
    })
  )
})

describe("entries in memory that are being read", () => {
  it.effect("are those of the moment at which they were asked for", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory({ entries: 3 })
      yield* books.open({ account: "root" })
      let limit = 0
      const write = Effect.suspend(() => books.setLimit("root", Usd.nanos(++limit)))
      yield* write
      yield* write
      const seen: Array<number> = []
      yield* Stream.runForEach(books.entries(), ({ seq }) => {
        seen.push(seq)
        return Effect.andThen(write, write)
      })
      assert.deepStrictEqual(seen, [1, 2])
    })
  )
})
