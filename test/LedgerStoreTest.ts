/**
 * What every store promises below the ledger, verb by verb: `ledgerSuite` shows that the whole is right, this that each
 * verb may be sent again and decides by the store's own clock. A store that passes both is an engine.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Ledger, Usd } from "agent-budget"
import { Effect, type Scope } from "effect"
import type * as Store from "../src/internal/ledgerStore.ts"
import { includes } from "./utils/assertions.ts"

/** A store with empty books, and how its clock is moved. */
export interface StoreFixture {
  readonly store: Store.LedgerStore
  readonly advance: (millis: number) => Effect.Effect<void>
}

const usd = Usd.nanos
type Body = (fixture: StoreFixture) => Effect.Effect<void, Store.StoreUnavailable>

const ask = (id: string, least: number, parts: Partial<Store.ReserveAsk> = {}): Store.ReserveAsk => ({
  id,
  fingerprint: `${parts.account ?? "root"} ${least}`,
  account: "root",
  least,
  most: least,
  share: 1,
  lease: 60_000,
  place: null,
  ...parts
})
const root = {
  account: "root",
  parent: null,
  limit: usd(100),
  frame: undefined,
  thresholds: undefined,
  opener: null
}
const settle = (id: string, amount: number): Store.EndAsk => ({ id, amount, verdict: "metered", label: null })

const rowOf = (store: Store.LedgerStore, account: string) =>
  Effect.map(store.balances(account), ({ rows: [row] }) => row)
const tags = (store: Store.LedgerStore) =>
  Effect.map(store.entries({ after: 0, size: 1_000, account: null, from: null, to: null }), (entries) =>
    entries.map(({ _tag }) => _tag)
  )

/** The suite for a store. */
export const storeSuite = (
  name: string,
  engine: { readonly fixture: Effect.Effect<StoreFixture, never, Scope.Scope>; readonly live: boolean }
): void => {
  const test = (title: string, body: Body) => {
    const run = Effect.scoped(Effect.flatMap(engine.fixture, body))
    if (engine.live) it.live(title, () => run)
    else it.effect(title, () => run)
  }

  describe(`${name}: a verb that is sent again`, () => {
    test("opens, holds, ends and pauses once", ({ store }) =>
      Effect.gen(function* () {
        const [one, two] = [yield* store.open(root), yield* store.open(root)]
        assert.deepStrictEqual([one._tag, two._tag], ["Opened", "Opened"])
        const held = yield* store.reserve(ask("a", 10))
        assert.deepStrictEqual(yield* store.reserve(ask("a", 10)), held)
        includes((yield* rowOf(store, "root")) ?? {}, { spent: 0, reserved: 10 })
        const ended = yield* store.end(settle("a", 7))
        const again = yield* store.end(settle("a", 7))
        assert.deepStrictEqual(again, ended._tag === "Ended" ? { ...ended, again: true } : undefined)
        assert.strictEqual((yield* store.end(settle("a", 8)))._tag, "Differs")
        assert.strictEqual((yield* store.reserve(ask("a", 10)))._tag, "Taken")
        assert.lengthOf((yield* store.pause("root", true)) ?? [], 1)
        assert.lengthOf((yield* store.pause("root", true)) ?? [], 0)
        assert.lengthOf((yield* store.setLimit("root", usd(50))) ?? [], 1)
        assert.lengthOf((yield* store.setLimit("root", usd(50))) ?? [], 0)
        assert.deepStrictEqual(yield* tags(store), [
          "Opened",
          "Reserved",
          "Settled",
          "Paused",
          "LimitChanged"
        ])
      }))

    test("leaves a temporary account once for each who opened it", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        const open = (opener: string) => store.open({ ...root, account: "t", parent: "root", opener })
        for (const opener of ["one", "one", "two"]) yield* open(opener)
        yield* store.close("t", "one")
        yield* store.close("t", "one")
        assert.isDefined(yield* rowOf(store, "t"))
        assert.isNotNull(yield* store.close("t", "two"))
        assert.isUndefined(yield* rowOf(store, "t"))
        assert.isNull(yield* store.close("t", "two"))
      }))

    test("does not remove what was opened to stay", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.open({ ...root, opener: "one" })
        yield* store.close("root", "one")
        yield* store.close("root", null)
        yield* store.open({ ...root, account: "t", opener: "one" })
        yield* store.open({ ...root, account: "t" })
        yield* store.close("t", "one")
        assert.isDefined(yield* rowOf(store, "root"))
        assert.isDefined(yield* rowOf(store, "t"))
      }))
  })

  describe(`${name}: an id`, () => {
    test("that was cancelled holds nothing, also when its ask arrives later", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.cancel("late")
        assert.deepStrictEqual(yield* store.reserve(ask("late", 10)), { _tag: "Taken", how: "cancelled" })
        yield* store.reserve(ask("held", 10))
        yield* store.cancel("held")
        yield* store.cancel("held")
        includes((yield* rowOf(store, "root")) ?? {}, { spent: 0, reserved: 0 })
        yield* store.reserve(ask("ended", 10))
        yield* store.end(settle("ended", 7))
        yield* store.cancel("ended")
        includes((yield* rowOf(store, "root")) ?? {}, { spent: 7, reserved: 0 })
        assert.strictEqual((yield* store.end(settle("unknown", 1)))._tag, "Unknown")
      }))

    test("of another ask is refused", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("a", 10))
        assert.deepStrictEqual(yield* store.reserve(ask("a", 11)), { _tag: "Taken", how: "another ask" })
      }))
  })

  describe(`${name}: a lease`, () => {
    test("that has passed is only over when it was booked", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        for (const id of ["ends", "renewed", "expires"]) yield* store.reserve(ask(id, 10))
        yield* advance(60_000)
        const ended = yield* store.end(settle("ends", 1))
        assert.strictEqual(ended._tag === "Ended" ? ended.entry._tag : ended._tag, "Settled")
        assert.deepStrictEqual(
          (yield* store.renew(["ends", "renewed"], 60_000)).map(({ id }) => id),
          ["renewed"]
        )
        const expired = yield* store.expire(10)
        assert.deepStrictEqual(
          expired.map((entry) => ("reservation" in entry ? entry.reservation : entry._tag)),
          ["expires"]
        )
        assert.lengthOf(yield* store.expire(10), 0)
        assert.lengthOf(yield* store.renew(["expires"], 60_000), 0)
        includes((yield* rowOf(store, "root")) ?? {}, { spent: 11, reserved: 10 })
      }))

    test("is booked for as many as were asked for, oldest first", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        for (const [id, lease] of [
          ["later", 2_000],
          ["first", 1_000],
          ["second", 1_500]
        ] as const) {
          yield* store.reserve(ask(id, 1, { lease }))
        }
        yield* advance(5_000)
        const ids = (entries: ReadonlyArray<Ledger.Entry>) =>
          entries.map((entry) => ("reservation" in entry ? entry.reservation : entry._tag))
        assert.deepStrictEqual(ids(yield* store.expire(2)), ["first", "second"])
        assert.deepStrictEqual(ids(yield* store.expire(2)), ["later"])
      }))
  })

  describe(`${name}: a window`, () => {
    test("begins when it is due, once, by the store's clock", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open({ ...root, frame: "rolling 1000" })
        const stale = yield* store.reserve(ask("a", 10))
        if (stale._tag !== "Stale") return assert.fail(stale._tag)
        const { now } = stale
        yield* store.roll("root", "another frame", now, now + 100_000)
        yield* store.roll("root", "rolling 1000", now - 2_000, now - 1_000)
        yield* store.roll("root", "rolling 1000", now + 50_000, now + 60_000)
        assert.strictEqual((yield* store.reserve(ask("a", 10)))._tag, "Stale")
        yield* store.roll("root", "rolling 1000", now, now + 100_000)
        assert.strictEqual((yield* store.reserve(ask("a", 10)))._tag, "Granted")
        // The one who was slower comes too late to empty it.
        yield* store.roll("root", "rolling 1000", now, now + 100_000)
        includes((yield* rowOf(store, "root")) ?? {}, { reserved: 10, windowStart: now })
        yield* advance(100_000)
        assert.strictEqual((yield* store.reserve(ask("b", 10)))._tag, "Stale")
        yield* store.roll("root", "rolling 1000", now + 100_000, now + 200_000)
        yield* store.reserve(ask("b", 20))
        yield* store.end(settle("a", 10))
        includes((yield* rowOf(store, "root")) ?? {}, { spent: 0, reserved: 20 })
      }))
  })

  describe(`${name}: a place in line`, () => {
    const waiting = (id: string, least: number, place = 10_000) => ask(id, least, { place })
    const outcome = (answer: Store.ReserveAnswer): string => answer._tag

    test("goes before later ones, moves no one who does not wait, and is kept over asks", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        assert.strictEqual(outcome(yield* store.reserve(waiting("first", 50))), "Short")
        assert.strictEqual(outcome(yield* store.reserve(waiting("second", 1))), "Short")
        assert.strictEqual(outcome(yield* store.reserve(ask("passes", 1))), "Granted")
        assert.strictEqual(outcome(yield* store.reserve(waiting("first", 50))), "Short")
        yield* store.end(settle("full", 0))
        assert.strictEqual(outcome(yield* store.reserve(waiting("second", 1))), "Short")
        assert.strictEqual(outcome(yield* store.reserve(waiting("first", 50))), "Granted")
        assert.strictEqual(outcome(yield* store.reserve(waiting("second", 1))), "Granted")
      }))

    test("is given up by leaving, by being cancelled, and by staying away too long", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        for (const [id, how] of [
          ["leaves", store.leave("leaves")],
          ["is cancelled", store.cancel("is cancelled")],
          ["stays away", advance(10_000)]
        ] as const) {
          yield* store.reserve(waiting(id, 50))
          assert.strictEqual(outcome(yield* store.reserve(waiting(`after ${id}`, 1))), "Short")
          yield* how
          assert.strictEqual(outcome(yield* store.reserve(waiting(`after ${id}`, 1))), "Granted")
          yield* store.end(settle(`after ${id}`, 0))
        }
      }))

    test("lives on while its process says so", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        yield* store.reserve(waiting("first", 50))
        for (let index = 0; index < 3; index++) {
          yield* advance(8_000)
          yield* store.stay(["first", "nobody"], 10_000)
        }
        assert.strictEqual(outcome(yield* store.reserve(waiting("second", 1))), "Short")
      }))
  })
}
