import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, type Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Effect, Exit, Fiber, References, Scheduler, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { type LedgerStore, StoreUnavailable } from "../src/internal/ledgerStore.ts"
import { storeSuite } from "./LedgerStoreTest.ts"
import { ledgerSuite } from "./LedgerTest.ts"
import * as ReferenceStore from "./utils/referenceStore.ts"

const advance = (millis: number) => TestClock.adjust(millis)

ledgerSuite("a stored ledger", {
  fixture: Effect.sync(() => {
    const store = ReferenceStore.make()
    return { connect: (options) => StoredLedger.make(store, options), advance }
  }),
  live: false,
  shared: true
})

storeSuite("the reference store", {
  fixture: Effect.sync(() => {
    const store = ReferenceStore.make()
    return { store, join: Effect.succeed(store), advance }
  }),
  live: false
})

const usd = Usd.nanos
const charge = (amount: number): Ledger.Charge => ({ amount: usd(amount), verdict: "metered" })

/** Lets time pass until an effect has ended. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    for (let step = 0; step < 1_000 && fiber.pollUnsafe() === undefined; step++) yield* TestClock.adjust(50)
    return yield* Fiber.join(fiber)
  })

/** Lets who asked stand in line. */
const settled = Effect.gen(function* () {
  for (let step = 0; step < 10; step++) yield* TestClock.adjust(10)
})

const opened = (options?: StoredLedger.StoredOptions) =>
  Effect.gen(function* () {
    const store = ReferenceStore.make()
    const scope = yield* Scope.make()
    const books = yield* Effect.provideService(StoredLedger.make(store, options), Scope.Scope, scope)
    yield* books.open({ account: "root", limit: usd(100) })
    return { store, books, close: Scope.close(scope, Exit.void) }
  })

const tagOf = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>) =>
  Effect.map(Effect.orDie(Effect.flip(inTime(effect))), (error) => error.reason._tag)

describe("a store that is away", () => {
  it.effect("admits nothing, and waiters get in when it is back", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const full = yield* books.reserve({ account: "root", least: usd(100) })
      const waiting = yield* Effect.forkChild(
        books.reserve({ account: "root", least: usd(60), waitAtMost: "1 hour" })
      )
      yield* TestClock.adjust(100)
      store.faults.away = true
      assert.strictEqual(yield* tagOf(books.reserve({ account: "root", least: usd(1) })), "LedgerUnavailable")
      assert.strictEqual(yield* tagOf(books.balance("root")), "LedgerUnavailable")
      assert.strictEqual(yield* tagOf(Stream.runCollect(books.entries())), "LedgerUnavailable")
      store.faults.away = false
      yield* inTime(books.release(full))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(waiting)).amount, 60)
      assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
      yield* close
    })
  )

  it.effect("gets each settlement when it is back, with its exact amount", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const held = yield* Effect.forEach([10, 20, 30], (least) =>
        books.reserve({ account: "root", least: usd(least) })
      )
      store.faults.away = true
      for (const each of held) {
        assert.strictEqual(yield* tagOf(books.settle(each, charge(each.amount - 1))), "LedgerUnavailable")
      }
      const [first] = held
      // Another end than the one that is kept would make two of one.
      if (first !== undefined) assert.strictEqual(yield* tagOf(books.release(first)), "ReservationConflict")
      store.faults.away = false
      yield* TestClock.adjust("20 seconds")
      const balance = yield* books.balance("root")
      assert.deepStrictEqual([balance.spent, balance.reserved], [57, 0].map(usd))
      assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
      yield* close
    })
  )

  it.effect("and does not come back: what could not be written is handed over at the close", () =>
    Effect.gen(function* () {
      const told: Array<Ledger.Unwritten> = []
      const { books, close, store } = yield* opened({
        onUnwritten: (unwritten) => Effect.sync(() => void told.push(...unwritten))
      })
      const one = yield* books.reserve({ account: "root", least: usd(10) })
      const other = yield* books.reserve({ account: "root", least: usd(20) })
      store.faults.away = true
      yield* tagOf(books.settle(one, charge(7)))
      yield* tagOf(books.release(other))
      yield* inTime(close)
      assert.deepStrictEqual(told, [
        { reservation: one.id, account: "root", charge: charge(7) },
        { reservation: other.id, account: "root", charge: null }
      ])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )
})

describe("an end that was kept", () => {
  it.effect(
    "and that the store then refuses is told, and handed over at the close with its exact amount",
    () =>
      Effect.gen(function* () {
        const told: Array<Ledger.Unwritten> = []
        const { books, close, store } = yield* opened({
          onUnwritten: (unwritten) => Effect.sync(() => void told.push(...unwritten))
        })
        const held = yield* Effect.forEach([10, 20, 30], (least) =>
          books.reserve({ account: "root", least: usd(least) })
        )
        const [one, two, three] = held as [Ledger.Reservation, Ledger.Reservation, Ledger.Reservation]
        store.faults.away = true
        yield* tagOf(books.settle(one, charge(7)))
        yield* tagOf(books.settle(two, charge(Number.MAX_SAFE_INTEGER)))
        yield* tagOf(books.release({ ...three, id: "nobody's" }))
        store.faults.away = false
        // Meanwhile another process ends the first one otherwise.
        yield* store.end({ id: one.id, amount: 8, verdict: "metered", label: null })
        yield* TestClock.adjust("20 seconds")
        const refused = [
          { reservation: one.id, account: "root", charge: charge(7) },
          { reservation: two.id, account: "root", charge: charge(Number.MAX_SAFE_INTEGER) },
          { reservation: "nobody's", account: "root", charge: null }
        ]
        const bySize = (from: ReadonlyArray<Ledger.Unwritten>) =>
          [...from].sort(
            (left, right) => (left.charge?.amount ?? Infinity) - (right.charge?.amount ?? Infinity)
          )
        assert.deepStrictEqual(bySize(yield* books.unwritten), refused)
        // What is mended by its holder is no longer handed over.
        assert.strictEqual((yield* books.settle(two, charge(20)))._tag, "Settled")
        yield* inTime(close)
        assert.deepStrictEqual(
          bySize(told),
          refused.filter(({ reservation }) => reservation !== two.id)
        )
      }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("and that was refused once is not handed over when it is written after all", () =>
    Effect.gen(function* () {
      const told: Array<Ledger.Unwritten> = []
      const { books, close, store } = yield* opened({
        onUnwritten: (unwritten) => Effect.sync(() => void told.push(...unwritten))
      })
      yield* books.setLimit("root", null)
      const large = yield* books.reserve({ account: "root", least: usd(Number.MAX_SAFE_INTEGER - 10) })
      const held = yield* books.reserve({ account: "root", least: usd(5) })
      const settledLate = Effect.gen(function* () {
        store.faults.away = true
        assert.strictEqual(yield* tagOf(books.settle(held, charge(70))), "LedgerUnavailable")
        store.faults.away = false
        yield* TestClock.adjust("20 seconds")
        return yield* books.unwritten
      })
      assert.deepStrictEqual(yield* settledLate, [
        { reservation: held.id, account: "root", charge: charge(70) }
      ])
      yield* books.release(large)
      assert.deepStrictEqual(yield* settledLate, [])
      assert.strictEqual((yield* books.balance("root")).spent, 70)
      yield* inTime(close)
      assert.deepStrictEqual(told, [])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("that never gets through keeps nobody else's waiting", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const hopeless = new Set<string>()
      const damaged = Effect.fail(new StoreUnavailable({ detail: "It is damaged there." }))
      const books = yield* StoredLedger.make(
        { ...store, end: (ask) => (hopeless.has(ask.id) ? damaged : store.end(ask)) },
        { writeAtClose: 0 }
      )
      yield* books.open({ account: "root", limit: usd(100) })
      for (const id of ["bad", "worse"]) {
        hopeless.add(id)
        const held = yield* books.reserve({ account: "root", least: usd(10), id })
        assert.strictEqual(yield* tagOf(books.settle(held, charge(1))), "LedgerUnavailable")
      }
      yield* TestClock.adjust("5 minutes")
      const first = yield* Effect.forkChild(
        books.reserve({ account: "root", least: usd(90), waitAtMost: "1 hour" })
      )
      yield* TestClock.adjust(100)
      const second = yield* Effect.forkChild(
        books.reserve({ account: "root", least: usd(70), waitAtMost: "1 hour" })
      )
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(200)
      assert.strictEqual((yield* Fiber.join(second)).amount, 70)
      const lost = yield* Effect.forkChild(books.reserve({ account: "root", least: usd(5) }))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(lost)
      yield* TestClock.adjust(200)
      assert.strictEqual((yield* books.balance("root")).reserved, 90)
    }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
  )
})

describe("two ends of one reservation that race while the store is away", () => {
  it.effect("are one that is kept and written, and one that is refused", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const held = yield* books.reserve({ account: "root", least: usd(50) })
      store.faults.away = true
      const tags = yield* Effect.all([tagOf(books.settle(held, charge(7))), tagOf(books.release(held))], {
        concurrency: 2
      })
      assert.deepStrictEqual(tags, ["LedgerUnavailable", "ReservationConflict"])
      assert.deepStrictEqual(yield* books.unwritten, [
        { reservation: held.id, account: "root", charge: charge(7) }
      ])
      store.faults.away = false
      yield* TestClock.adjust("20 seconds")
      const { reserved, spent } = yield* books.balance("root")
      assert.deepStrictEqual([spent, reserved], [7, 0].map(usd))
      assert.deepStrictEqual(yield* books.unwritten, [])
      yield* close
    })
  )

  it.effect("are told as what they are where the other one gets there first: nothing kept is forgotten", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const lost = { metered: true }
      const gone = Effect.fail(new StoreUnavailable({ detail: "It is gone." }))
      const told: Array<Ledger.Unwritten> = []
      const scope = yield* Scope.make()
      const books = yield* Effect.provideService(
        StoredLedger.make(
          {
            ...store,
            end: (ask) =>
              ask.verdict === "released"
                ? Effect.andThen(Effect.sleep(150), store.end(ask))
                : Effect.suspend(() => (lost.metered ? gone : store.end(ask)))
          },
          { onUnwritten: (unwritten) => Effect.sync(() => void told.push(...unwritten)) }
        ),
        Scope.Scope,
        scope
      )
      yield* books.open({ account: "root", limit: usd(100) })
      const held = yield* books.reserve({ account: "root", least: usd(50) })
      const [kept, written] = yield* inTime(
        Effect.all([Effect.flip(books.settle(held, charge(7))), books.release(held)], { concurrency: 2 })
      )
      assert.deepStrictEqual([kept.reason._tag, written._tag], ["LedgerUnavailable", "Released"])
      const expected = [{ reservation: held.id, account: "root", charge: charge(7) }]
      assert.deepStrictEqual(yield* books.unwritten, expected)
      lost.metered = false
      // Whoever asks meanwhile is told, and that is no end of what was promised.
      assert.strictEqual(yield* tagOf(books.settle(held, charge(7))), "ReservationConflict")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* inTime(books.release(held)))._tag, "Released")
      assert.deepStrictEqual(yield* books.unwritten, expected)
      assert.strictEqual((yield* books.balance("root")).spent, 0)
      yield* inTime(Scope.close(scope, Exit.void))
      assert.deepStrictEqual(told, expected)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )
})

describe("a ledger that closes", () => {
  it.effect("turns its waiters away at once, and waits for its store no longer than it was told to", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened({ writeAtClose: "3 seconds" })
      const held = yield* books.reserve({ account: "root", least: usd(100) })
      const waits = yield* Effect.forEach([10, 20], (least) =>
        Effect.forkChild(
          Effect.flip(books.reserve({ account: "root", least: usd(least), waitAtMost: "1 hour" }))
        )
      )
      yield* TestClock.adjust(100)
      store.faults.away = true
      yield* tagOf(books.settle(held, charge(1)))
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust(10)
      for (const each of waits) assert.strictEqual((yield* Fiber.join(each)).reason._tag, "Closed")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust(3_500)
      assert.isDefined(closing.pollUnsafe())
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("tells of an end that comes later and is not written, and does not say that it is kept", () =>
    Effect.gen(function* () {
      const told: Array<Ledger.Unwritten> = []
      const { books, close, store } = yield* opened({
        onUnwritten: (unwritten) => Effect.sync(() => void told.push(...unwritten))
      })
      const [one, two] = yield* Effect.all([
        books.reserve({ account: "root", least: usd(10) }),
        books.reserve({ account: "root", least: usd(10) })
      ])
      yield* close
      assert.strictEqual((yield* books.settle(one, charge(4)))._tag, "Settled")
      store.faults.away = true
      const refused = yield* inTime(Effect.flip(books.settle(two, charge(5))))
      assert.include(refused.message, "is not kept, since the ledger is closed")
      assert.deepStrictEqual(told, [{ reservation: two.id, account: "root", charge: charge(5) }])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("gives back what is granted to a waiter that it has turned away", () =>
    Effect.gen(function* () {
      let turnedAway = 0
      for (let turns = 0; turns < 24; turns++) {
        const { books, close, store } = yield* opened()
        const held = yield* books.reserve({ account: "root", least: usd(100) })
        const waiting = yield* Effect.forkChild(
          Effect.exit(books.reserve({ account: "root", least: usd(10), waitAtMost: "1 hour" }))
        )
        yield* TestClock.adjust(100)
        const releasing = yield* Effect.forkChild(books.release(held))
        const late = yield* Effect.forkChild(
          Effect.flip(books.reserve({ account: "root", least: usd(100), waitAtMost: "1 hour" }))
        )
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        yield* inTime(close)
        assert.strictEqual((yield* inTime(Fiber.join(late))).reason._tag, "Closed")
        yield* Fiber.join(releasing)
        const granted = Exit.isSuccess(yield* Fiber.join(waiting))
        if (!granted) turnedAway++
        assert.strictEqual(store.rows()[0]?.reserved, granted ? 10 : 0, `closed after ${turns}`)
      }
      assert.isAbove(turnedAway, 1)
    })
  )
})

describe("an answer that is lost", () => {
  it.effect("of a grant in line, by one who then leaves, keeps nothing held", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const full = yield* books.reserve({ account: "root", least: usd(100) })
      const waiting = yield* Effect.forkChild(
        Effect.exit(books.reserve({ account: "root", least: usd(60), waitAtMost: "2 seconds" }))
      )
      yield* settled
      store.faults.loses = (verb) => verb === "reserve"
      yield* inTime(books.release(full))
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(waiting)))
      store.faults.loses = () => false
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* books.balance("root")).reserved, 0)
      yield* close
    })
  )

  /** A ledger whose first `reserve` from now on is lost on its way, and gets to the store when it is told to. */
  const delaying = Effect.gen(function* () {
    const store = ReferenceStore.make()
    let delays = false
    let late: Effect.Effect<unknown> = Effect.void
    const slow: LedgerStore = {
      ...store,
      reserve: (ask) =>
        Effect.suspend(() => {
          if (!delays) return store.reserve(ask)
          delays = false
          late = Effect.orDie(store.reserve(ask))
          return Effect.fail(new StoreUnavailable({ detail: "Its answer was lost." }))
        })
    }
    const scope = yield* Scope.make()
    const books = yield* Effect.provideService(StoredLedger.make(slow), Scope.Scope, scope)
    yield* books.open({ account: "root", limit: usd(100) })
    return {
      books,
      close: Scope.close(scope, Exit.void),
      delay: () => void (delays = true),
      arrive: Effect.suspend(() => late)
    }
  })
  const whiles = {
    "by an ask that does not wait, and that its repeat was refused": {
      wait: {},
      after: "1 second",
      isGot: false
    },
    "by an ask in line, is what it gets": {
      wait: { waitAtMost: "5 seconds" },
      after: "1 second",
      isGot: true
    },
    "by an ask that has left its line": {
      wait: { waitAtMost: "5 seconds" },
      after: "10 seconds",
      isGot: false
    }
  } as const
  for (const [name, { after, isGot, wait }] of Object.entries(whiles)) {
    it.effect(`before its ask gets to the store, ${name}: nothing stays held`, () =>
      Effect.gen(function* () {
        const { arrive, books, close, delay } = yield* delaying
        const full = yield* books.reserve({ account: "root", least: usd(100) })
        delay()
        const asking = yield* Effect.forkChild(
          Effect.exit(books.reserve({ account: "root", least: usd(60), ...wait }))
        )
        yield* TestClock.adjust(after)
        yield* inTime(books.release(full))
        yield* arrive
        yield* TestClock.adjust("10 seconds")
        const exit = yield* Fiber.join(asking)
        assert.strictEqual(Exit.isSuccess(exit), isGot)
        if (Exit.isSuccess(exit)) yield* books.release(exit.value)
        assert.strictEqual((yield* books.balance("root")).reserved, 0)
        yield* TestClock.adjust("5 minutes")
        assert.strictEqual((yield* books.balance("root")).spent, 0)
        assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        yield* close
      })
    )
  }

  it.effect("under an id of the caller's goes on to be that of the other processes who got it", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const scope = yield* Scope.make()
      const other = yield* Effect.provideService(StoredLedger.make(store), Scope.Scope, scope)
      const full = yield* books.reserve({ account: "root", least: usd(100) })
      const waiting = yield* Effect.forkChild(
        Effect.exit(books.reserve({ account: "root", least: usd(60), id: "mine", waitAtMost: "2 seconds" }))
      )
      yield* settled
      // This one is let in, and never hears of it.
      store.faults.loses = (verb) => verb === "reserve"
      yield* inTime(books.release(full))
      yield* TestClock.adjust(100)
      store.faults.loses = () => false
      yield* other.open({ account: "root", limit: usd(100) })
      const held = yield* other.reserve({ account: "root", least: usd(60), id: "mine" })
      store.faults.loses = (verb) => verb === "reserve"
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(waiting)))
      store.faults.loses = () => false
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* other.balance("root")).reserved, 60)
      assert.strictEqual((yield* other.settle(held, charge(7)))._tag, "Settled")
      assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
      yield* Scope.close(scope, Exit.void)
      yield* close
    })
  )

  it.effect("charges nothing twice and leaks nothing, whichever of them it is", () =>
    Effect.gen(function* () {
      for (const every of [2, 3, 5]) {
        const { books, close, store } = yield* opened()
        let answers = 0
        store.faults.loses = () => ++answers % every === 0
        let spent = 0
        yield* inTime(
          Effect.forEach(
            Array.from({ length: 60 }, (_, index) => index),
            (index) =>
              Effect.gen(function* () {
                const exit = yield* Effect.exit(
                  books.reserve({ account: "root", least: usd(3), waitAtMost: "1 hour" })
                )
                if (!Exit.isSuccess(exit)) return
                if (index % 3 === 0) spent++
                yield* Effect.exit(
                  index % 3 === 0 ? books.settle(exit.value, charge(1)) : books.release(exit.value)
                )
              }),
            { concurrency: 40, discard: true }
          )
        )
        store.faults.loses = () => false
        yield* TestClock.adjust("30 seconds")
        const balance = yield* books.balance("root")
        assert.deepStrictEqual([balance.spent, balance.reserved], [usd(spent), Usd.zero], `every ${every}`)
        assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        yield* close
      }
    })
  )

  it.effect("of every reserve admits nobody, and nothing stays held under the ids that were used", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      store.faults.loses = (verb) => verb === "reserve"
      assert.strictEqual(yield* tagOf(books.reserve({ account: "root", least: usd(5) })), "LedgerUnavailable")
      store.faults.loses = () => false
      yield* TestClock.adjust("1 second")
      const balance = yield* books.balance("root")
      assert.deepStrictEqual([balance.spent, balance.reserved], [Usd.zero, Usd.zero])
      yield* close
    })
  )

  for (const [name, wait] of Object.entries({
    "an ask that does not wait": {},
    "an ask in line": { waitAtMost: "1 hour" as const }
  })) {
    it.effect(`while the ledger closes is taken back: ${name}`, () =>
      Effect.gen(function* () {
        const { books, close, store } = yield* opened()
        let tries = 0
        // The first try is written; of no other is anything heard before the ledger closes.
        store.faults.loses = (verb) => verb === "reserve" && ++tries <= 3
        const asking = yield* Effect.forkChild(
          Effect.exit(books.reserve({ account: "root", least: usd(60), ...wait }))
        )
        yield* TestClock.adjust(5)
        yield* inTime(close)
        assert.isTrue(Exit.isFailure(yield* inTime(Fiber.join(asking))))
        const scope = yield* Scope.make()
        const other = yield* Effect.provideService(StoredLedger.make(store), Scope.Scope, scope)
        yield* TestClock.adjust("10 minutes")
        const { reserved, spent } = yield* other.balance("root")
        assert.deepStrictEqual([reserved, spent], [0, 0].map(usd))
        yield* Scope.close(scope, Exit.void)
      })
    )
  }

  it.effect("of a temporary account's opening leaves no account behind", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      store.faults.loses = (verb) => verb === "open"
      const request = { account: "root/t", parent: "root", temporary: true }
      assert.strictEqual(yield* tagOf(books.open(request)), "LedgerUnavailable")
      store.faults.loses = () => false
      yield* TestClock.adjust("1 second")
      assert.lengthOf(yield* books.balances, 1)
      yield* close
    })
  )
})

describe("an answer that is lost of a close", () => {
  const request = { account: "root/t", parent: "root", limit: usd(40), temporary: true }

  it.effect("is found in the books, with the account's last numbers", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const use = Effect.gen(function* () {
        yield* books.open(request)
        yield* books.settle(yield* books.reserve({ account: "root/t", least: usd(10) }), charge(7))
        yield* books.release(yield* books.reserve({ account: "root/t", least: usd(5) }))
        const held = yield* books.reserve({ account: "root/t", least: usd(3) })
        yield* books.setLimit("root/t", usd(50))
        yield* books.pause("root/t")
        return held
      })
      const one = yield* use
      const first = yield* books.close("root/t")
      const other = yield* use
      // Of the account that had the name before.
      yield* books.settle(one, charge(2))
      let lost = 0
      store.faults.loses = (verb) => verb === "close" && lost++ === 0
      assert.deepStrictEqual(yield* inTime(books.close("root/t")), first)
      assert.strictEqual(lost, 2)
      assert.strictEqual(yield* tagOf(books.close("root/t")), "InvalidAccount")
      yield* books.release(other)
      const { reserved, spent } = yield* books.balance("root")
      assert.deepStrictEqual([spent, reserved], [16, 0].map(usd))
      yield* close
    })
  )

  it.effect("counts the last window that admitted something", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      yield* books.open({ ...request, window: { every: "hour" } })
      const early = yield* books.reserve({ account: "root/t", least: usd(10) })
      yield* advance(3_600_000)
      yield* books.settle(yield* books.reserve({ account: "root/t", least: usd(6) }), charge(5))
      yield* books.settle(early, charge(4))
      let lost = 0
      store.faults.loses = (verb) => verb === "close" && lost++ === 0
      const { available, reserved, spent } = yield* inTime(books.close("root/t"))
      assert.deepStrictEqual([spent, reserved, available], [5, 0, 35].map(usd))
      yield* close
    })
  )
})

describe("clocks that disagree", () => {
  it.effect("change nothing: the store's decides windows and leases", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 1, 23, 58))
      const store = ReferenceStore.make(5 * 60_000)
      const books = yield* StoredLedger.make(store)
      yield* books.open({ account: "root", limit: usd(10), window: { every: "day" } })
      const held = yield* books.reserve({ account: "root", least: usd(10) })
      const { windowStart } = yield* books.balance("root")
      assert.strictEqual(windowStart, Date.UTC(2026, 0, 2))
      assert.deepStrictEqual(
        [held.at, held.expiresAt],
        [Date.UTC(2026, 0, 2, 0, 3), Date.UTC(2026, 0, 2, 0, 4)]
      )
    }).pipe(Effect.scoped)
  )
})

describe("a window that begins later than this process makes out", () => {
  it.effect("is that of the store, from its first moment on, before somebody uses it and after", () =>
    Effect.gen(function* () {
      // Where it is 1:30 again after 2:00, and the calendar's hour begins inside the one before it.
      const changed = Date.UTC(2024, 3, 6, 15)
      yield* TestClock.setTime(changed - 1)
      const books = yield* StoredLedger.make(ReferenceStore.make())
      yield* books.open({
        account: "root",
        limit: usd(10),
        window: { every: "hour", timeZone: "Australia/Lord_Howe" }
      })
      const held = yield* books.reserve({ account: "root", least: usd(10) })
      yield* TestClock.setTime(changed)
      const window = Effect.map(books.balance("root"), (balance) => [balance.windowStart, balance.windowEnd])
      assert.deepStrictEqual(yield* window, [changed, changed + 1_800_000])
      const next = yield* books.reserve({ account: "root", least: usd(10), waitAtMost: "1 minute" })
      assert.deepStrictEqual(yield* window, [changed, changed + 1_800_000])
      yield* books.settle(held, charge(9))
      yield* books.settle(next, charge(4))
      assert.strictEqual((yield* books.balance("root")).spent, 4)
      assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
    }).pipe(Effect.scoped)
  )

  it.effect("or that another process ends sooner, admits from its end on", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const books = yield* StoredLedger.make(store)
      yield* books.open({ account: "root", limit: usd(10), window: "day" })
      // By other time zone data the day is over after an hour.
      yield* store.roll("root", "day UTC", 0, 3_600_000)
      const held = yield* books.reserve({ account: "root", least: usd(10) })
      const waiting = yield* Effect.forkChild(
        books.reserve({ account: "root", least: usd(10), waitAtMost: "1 day" })
      )
      yield* TestClock.adjust("1 hour")
      const next = yield* Fiber.join(waiting)
      assert.strictEqual((yield* books.balance("root")).windowStart, 3_600_000)
      yield* books.release(held)
      yield* books.release(next)
      const { reserved } = yield* books.balance("root")
      assert.strictEqual(reserved, 0)
      assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
    }).pipe(Effect.scoped)
  )
})

describe("times in fractions of a millisecond", () => {
  it.effect("reach the store whole", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const times: Array<number | null> = []
      const books = yield* StoredLedger.make(
        { ...store, reserve: (ask) => (times.push(ask.lease, ask.place), store.reserve(ask)) },
        { lease: 60_000.4, poll: 1_000.3 }
      )
      yield* books.open({ account: "root", limit: usd(100) })
      yield* books.reserve({ account: "root", least: usd(1), waitAtMost: 0.5 })
      assert.deepStrictEqual(times, [60_000, 5_002])
    }).pipe(Effect.scoped)
  )
})

describe("windows that are shorter than the way to the store", () => {
  it.effect("admit nothing, and say so", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const far: LedgerStore = {
        ...store,
        roll: (...window) => Effect.andThen(TestClock.adjust(20), store.roll(...window))
      }
      const books = yield* StoredLedger.make(far)
      yield* books.open({ account: "root", limit: usd(100), window: { rolling: 20 } })
      const { reason } = yield* Effect.flip(inTime(books.reserve({ account: "root", least: usd(1) })))
      assert.strictEqual(reason._tag, "LedgerUnavailable")
      assert.include(reason.message, `The windows of account root ("rolling 20") end before`)
      const enough = yield* StoredLedger.make(far)
      yield* enough.open({ account: "other", limit: usd(100), window: { rolling: 21 } })
      assert.strictEqual((yield* enough.reserve({ account: "other", least: usd(1) })).amount, 1)
    }).pipe(Effect.scoped)
  )
})

describe("books that know a window that this process does not", () => {
  it.effect("admit nothing there, and tell those who wait so, each time", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      yield* store.open({
        account: "root/a",
        parent: "root",
        limit: null,
        frame: "of another version",
        thresholds: undefined,
        opener: null
      })
      const ask = { account: "root/a", least: usd(10) }
      assert.strictEqual(yield* tagOf(books.reserve(ask)), "LedgerUnavailable")
      for (let time = 0; time < 2; time++) {
        assert.strictEqual(
          yield* tagOf(books.reserve({ ...ask, waitAtMost: "2 seconds" })),
          "LedgerUnavailable"
        )
      }
      yield* inTime(books.reserve({ account: "root", least: usd(10) }))
      yield* close
    })
  )
})

describe("a process that lives", () => {
  it.effect("keeps what it holds from running out, as long as it takes", () =>
    Effect.gen(function* () {
      const { books, close } = yield* opened({ lease: "1 minute" })
      const held = yield* books.reserve({ account: "root", least: usd(10) })
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual((yield* books.balance("root")).reserved, 10)
      assert.strictEqual((yield* books.settle(held, charge(4)))._tag, "Settled")
      yield* close
    })
  )

  it.effect("keeps the places of all of its waiters, in the order of asking", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const [one, other] = [yield* StoredLedger.make(store), yield* StoredLedger.make(store)]
      yield* one.open({ account: "root", limit: usd(100) })
      const full = yield* one.reserve({ account: "root", least: usd(100) })
      const order: Array<string> = []
      const queue = (books: Ledger.Ledger["Service"], name: string) =>
        books.reserve({ account: "root", least: usd(60), waitAtMost: "1 day" }).pipe(
          Effect.flatMap((held) =>
            Effect.andThen(
              Effect.sync(() => order.push(name)),
              other.release(held)
            )
          ),
          Effect.forkChild,
          Effect.tap(() => TestClock.adjust(50))
        )
      yield* queue(one, "one")
      yield* queue(one, "two")
      yield* queue(other, "three")
      yield* queue(one, "four")
      yield* TestClock.adjust("2 minutes")
      // Their room is freed by the other process, which asks first each time.
      yield* other.release(full)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(order, ["one", "two", "three", "four"])
    }).pipe(Effect.scoped)
  )
})

describe("a process that was killed", () => {
  it.effect("has what it held charged by whoever comes after its lease, however short that one lives", () =>
    Effect.gen(function* () {
      const store = ReferenceStore.make()
      const root = { account: "root", parent: null, limit: usd(100), frame: undefined, thresholds: undefined }
      yield* store.open({ ...root, opener: null })
      const ask = {
        id: "its",
        fingerprint: "its",
        account: "root",
        least: 10,
        most: 10,
        share: 1,
        place: null
      }
      yield* store.reserve({ ...ask, lease: 60_000 })
      yield* TestClock.adjust("1 minute")
      yield* Effect.scoped(Effect.andThen(StoredLedger.make(store), TestClock.adjust("1 second")))
      assert.deepStrictEqual(
        store.written.map(({ _tag }) => _tag),
        ["Opened", "Reserved", "Expired"]
      )
    })
  )
})

describe("an answer that comes too late", () => {
  it.effect("is no admission, and what its lease charged meanwhile is given back", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened({ lease: "10 millis" })
      let asked = 0
      store.faults.loses = (verb) => verb === "reserve" && ++asked === 1
      // It asks again after 25 ms.
      assert.strictEqual(
        yield* tagOf(books.reserve({ account: "root", least: usd(60) })),
        "LedgerUnavailable"
      )
      yield* TestClock.adjust("1 second")
      const tags = store.written.map(({ _tag }) => _tag)
      assert.deepStrictEqual(tags, ["Opened", "Reserved", "Expired", "Corrected"])
      const { reserved, spent } = yield* inTime(books.balance("root"))
      assert.deepStrictEqual([spent, reserved], [0, 0].map(usd))
      yield* close
    })
  )
})

describe("a reservation that nobody ever got", () => {
  const ask = { account: "root", least: usd(60) }
  type World = Effect.Success<ReturnType<typeof opened>>
  /** The store is gone after the next reservation that it makes, whose answer is lost or not. */
  const leaves = ({ store }: World, isLost: boolean) => {
    store.faults.loses = (verb) => {
      const isMade = verb === "reserve" && store.written.at(-1)?._tag === "Reserved"
      if (isMade) store.faults.away = true
      return isMade && isLost
    }
  }
  /** It is back after the lease, which another process is the first to see. */
  const returns = ({ store }: World) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("2 minutes")
      store.faults.away = false
      store.faults.loses = () => false
      assert.deepStrictEqual(
        (yield* store.expire(9)).map(({ _tag }) => _tag),
        ["Expired"]
      )
    })
  const unused = ["Reserved", "Expired", "Corrected"]
  const tagsOf = ({ store }: World, count: number) => store.written.slice(-count).map(({ _tag }) => _tag)

  const ways: ReadonlyArray<readonly [string, (world: World) => Effect.Effect<void>]> = [
    [
      "since its answer was lost",
      (world) =>
        Effect.gen(function* () {
          leaves(world, true)
          assert.strictEqual(yield* tagOf(world.books.reserve(ask)), "LedgerUnavailable")
        })
    ],
    [
      "since its asker was interrupted",
      (world) =>
        Effect.gen(function* () {
          leaves(world, false)
          const asking = yield* Effect.forkChild(world.books.reserve(ask))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(asking)
          assert.isTrue(Exit.isFailure(yield* Fiber.await(asking)))
        })
    ],
    [
      "since its asker had waited for long enough",
      (world) =>
        Effect.gen(function* () {
          const { books } = world
          const full = yield* books.reserve({ account: "root", least: usd(100) })
          const waiting = yield* Effect.forkChild(
            Effect.flip(books.reserve({ ...ask, waitAtMost: "2 seconds" }))
          )
          yield* settled
          yield* inTime(books.release(full))
          leaves(world, true)
          yield* TestClock.adjust("3 seconds")
          assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "LedgerUnavailable")
        }).pipe(Effect.orDie)
    ]
  ]
  for (const [why, use] of ways) {
    it.effect(`costs nothing when its lease was over before it could be taken back, ${why}`, () =>
      Effect.gen(function* () {
        const world = yield* opened()
        const { books, close, store } = world
        yield* use(world)
        yield* returns(world)
        let lost = 0
        store.faults.loses = (verb) => verb === "end" && lost++ === 0
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(tagsOf(world, 3), unused)
        assert.strictEqual(lost, 2)
        const { reserved, spent } = yield* books.balance("root")
        assert.deepStrictEqual([spent, reserved], [0, 0].map(usd))
        assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        yield* close
      })
    )
  }

  it.effect("costs nothing either where the ledger closes meanwhile", () =>
    Effect.gen(function* () {
      const world = yield* opened()
      leaves(world, true)
      assert.strictEqual(yield* tagOf(world.books.reserve(ask)), "LedgerUnavailable")
      const closing = yield* Effect.forkChild(Effect.andThen(Effect.sleep("115 seconds"), world.close))
      yield* returns(world)
      yield* inTime(Fiber.join(closing))
      assert.deepStrictEqual(tagsOf(world, 3), unused)
    })
  )

  it.effect(
    "as far as its process knows stays charged under an id of the caller's, which others may hold",
    () =>
      Effect.gen(function* () {
        const world = yield* opened()
        leaves(world, true)
        assert.strictEqual(yield* tagOf(world.books.reserve({ ...ask, id: "mine" })), "LedgerUnavailable")
        yield* returns(world)
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(tagsOf(world, 2), ["Reserved", "Expired"])
        yield* world.close
      })
  )
})

describe("an ending", () => {
  it.effect("is judged when it is sent, not when it is described", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      const held = yield* inTime(books.reserve({ account: "root", least: usd(60) }))
      const first = books.settle(held, charge(10))
      const other = books.settle(held, charge(11))
      store.faults.away = true
      assert.strictEqual(yield* tagOf(first), "LedgerUnavailable")
      assert.strictEqual(yield* tagOf(other), "ReservationConflict")
      store.faults.away = false
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* inTime(books.balance("root"))).spent, 10)
      yield* close
    })
  )
})

describe("a grant that meets an interruption", () => {
  it.effect("while the store decides goes back, also where nobody waits", () =>
    Effect.gen(function* () {
      const { books, close, store } = yield* opened()
      for (let turns = 0; turns < 12; turns++) {
        const fiber = yield* Effect.forkChild(books.reserve({ account: "root", least: usd(80) }))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        if (Exit.isSuccess(exit)) yield* books.release(exit.value)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* books.balance("root")).reserved, 0, `interrupted after ${turns}`)
      }
      assert.isAbove(store.calls["cancel"] ?? 0, 0)
      yield* close
    })
  )

  it.effect("goes back, however often the fibers yield to each other", () =>
    Effect.gen(function* () {
      const { books, close } = yield* opened()
      let met = 0
      for (let every = 3; every <= 20; every++) {
        for (let turns = 0; turns <= 24; turns++) {
          // A grant that did not go back leaves no room for this one, ever.
          const full = yield* inTime(
            books.reserve({ account: "root", least: usd(100), waitAtMost: "20 seconds" })
          )
          let taken: Ledger.Reservation | undefined
          // As a budget does it: what was granted reaches the one who ends it, and only the wait can be left.
          const taking = Effect.map(
            books.reserve({ account: "root", least: usd(80), waitAtMost: "1 hour" }),
            (held) => {
              taken = held
            }
          )
          const fiber = yield* Effect.forkChild(
            Effect.provideService(Effect.uninterruptible(taking), Scheduler.MaxOpsBeforeYield, every)
          )
          for (let step = 0; step < 6; step++) yield* TestClock.adjust(10)
          const releasing = yield* Effect.forkChild(books.release(full))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          if (fiber.pollUnsafe() === undefined) met++
          yield* Fiber.interrupt(fiber)
          yield* inTime(Fiber.join(releasing))
          if (taken !== undefined) yield* inTime(books.release(taken))
        }
      }
      assert.isAbove(met, 20)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* books.balance("root")).reserved, 0)
      yield* close
    })
  )
})
