import { assert, describe, it } from "@effect/vitest"
import { Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ledgerSuite } from "./LedgerTest.ts"

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
    })
  )
})

describe("a grant in line under an id of the caller's", () => {
  const full = Usd.nanos(100)

  it.effect("goes back when all who waited were interrupted before they got it, and is asked for anew", () =>
    Effect.gen(function* () {
      for (const admissions of [false, true]) {
        for (const waiters of [1, 2]) {
          const books = yield* Ledger.makeMemory({ admissions })
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
          assert.strictEqual((yield* books.balance("root")).spent, 7)
          assert.deepStrictEqual((yield* LedgerAudit.audit(books)).findings, [])
        }
      }
    })
  )

  it.effect("stays where another got it, in line or by asking at that moment", () =>
    Effect.gen(function* () {
      for (const asksAtOnce of [false, true]) {
        const books = yield* Ledger.makeMemory()
        yield* books.open({ account: "root", limit: full })
        const ask = { account: "root", least: full, waitAtMost: "1 hour", id: "mine" } as const
        const held = yield* books.reserve({ account: "root", least: full })
        const leaving = yield* Effect.forkChild(books.reserve(ask))
        const other = asksAtOnce ? undefined : yield* Effect.forkChild(books.reserve(ask))
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
