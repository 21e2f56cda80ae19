import { assert, describe, it } from "@effect/vitest"
import { Ledger, Usd } from "agent-budget"
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
