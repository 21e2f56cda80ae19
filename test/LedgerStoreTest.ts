/**
 * What every store promises below the ledger, verb by verb: `ledgerSuite` shows that the whole is right, this that each
 * verb may be sent again and decides by the store's own clock. A store that passes both is an engine.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Ledger, Usd } from "agent-budget"
import { Effect, Exit, type Scope } from "effect"
import type * as Store from "../src/internal/ledgerStore.ts"
import { includes } from "./utils/assertions.ts"
import { account, ask, audit, ending, everything, rowOf, tagOf } from "./utils/storeAsks.ts"
import { uncaught } from "./utils/uncaught.ts"

/** Empty books, and how their clock is moved. */
export interface StoreFixture {
  readonly store: Store.LedgerStore
  /** Another store over the same books, as another process has it. */
  readonly join: Effect.Effect<Store.LedgerStore, never, Scope.Scope>
  /** Moves the clock, which stands still otherwise, by whole milliseconds. */
  readonly advance: (millis: number) => Effect.Effect<void>
}

const usd = Usd.nanos
const all = { concurrency: "unbounded" } as const
type Body = (fixture: StoreFixture) => Effect.Effect<void, Store.StoreUnavailable, Scope.Scope>

const root = account("root", 100)

const reservationOf = (entry: Ledger.Entry): string =>
  "reservation" in entry ? entry.reservation : entry._tag

const tags = (store: Store.LedgerStore) =>
  Effect.map(store.entries(everything), (entries) => entries.map(({ _tag }) => _tag))

const names = (store: Store.LedgerStore) =>
  Effect.map(store.balances(null), ({ rows }) => rows.map((row) => row.account))

/** The suite for a store. */
export const storeSuite = (
  name: string,
  engine: {
    readonly fixture: Effect.Effect<StoreFixture, never, Scope.Scope>
    readonly live: boolean
    /** Verbs that are asked for at once are done at once, and answered one after the other. */
    readonly batches?: boolean
  }
): void => {
  const test = (title: string, body: Body) => {
    const run = Effect.scoped(
      Effect.gen(function* () {
        const fixture = yield* engine.fixture
        yield* body(fixture)
        assert.deepStrictEqual(yield* audit(fixture.store), [])
      })
    )
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
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 0, reserved: 10 })
        const ended = yield* store.end(ending("a", 7))
        const again = yield* store.end(ending("a", 7))
        assert.deepStrictEqual(again, ended._tag === "Ended" ? { ...ended, again: true } : undefined)
        assert.strictEqual(yield* tagOf(store.end(ending("a", 8))), "Differs")
        assert.strictEqual(yield* tagOf(store.reserve(ask("a", 10))), "Taken")
        yield* store.reserve(ask("free", 10))
        yield* store.end({ ...ending("free", 3), verdict: "released" })
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 7, reserved: 0 })
        assert.lengthOf((yield* store.pause("root", true)) ?? [], 1)
        assert.lengthOf((yield* store.pause("root", true)) ?? [], 0)
        assert.lengthOf((yield* store.setLimit("root", usd(50))) ?? [], 1)
        assert.lengthOf((yield* store.setLimit("root", usd(50))) ?? [], 0)
        assert.deepStrictEqual(yield* tags(store), [
          "Opened",
          "Reserved",
          "Settled",
          "Reserved",
          "Released",
          "Paused",
          "LimitChanged"
        ])
      }))

    test("leaves a temporary account once for each who opened it", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        const open = (opener: string) => store.open({ ...account("t", 100, "root"), opener })
        for (const opener of ["one", "one", "two"]) yield* open(opener)
        yield* store.close("t", "one")
        yield* store.close("t", "one")
        assert.isDefined(yield* rowOf(store, "t"))
        includes((yield* store.close("t", "two"))?.row ?? {}, { account: "t", parent: "root", limit: 100 })
        assert.isUndefined(yield* rowOf(store, "t"))
        assert.isNull(yield* store.close("t", "two"))
      }))

    test("does not remove what was opened to stay", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.open({ ...root, opener: "one" })
        yield* store.close("root", "one")
        yield* store.close("root", null)
        yield* store.open({ ...account("t", 100), opener: "one" })
        yield* store.open(account("t", 100))
        yield* store.close("t", "one")
        assert.deepStrictEqual(yield* names(store), ["root", "t"])
      }))
  })

  if (engine.batches === true)
    describe(`${name}: verbs that are done together`, () => {
      test("are each done and told once, also where one who asked throws when it is told", ({ store }) =>
        Effect.gen(function* () {
          yield* store.open(root)
          const ids = ["a", "b", "c", "d"]
          for (const id of ids) yield* store.reserve(ask(id, 10))
          const thrown = yield* uncaught
          const told: Array<string> = []
          const services = yield* Effect.context()
          for (const id of ids) {
            Effect.runForkWith(services)(store.end(ending(id, 7))).addObserver((exit) => {
              told.push(Exit.isSuccess(exit) && "again" in exit.value ? `${id} ${exit.value.again}` : id)
              if (id === "a" || id === "c") throw new Error(`the asker of ${id}`)
            })
          }
          // The first may be done with them; the second is not asked for before they were told.
          for (let times = 0; times < 2; times++) yield* store.renew(ids, 1)
          assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 28, reserved: 0 })
          assert.deepStrictEqual(told, ["a false", "b false", "c false", "d false"])
          assert.deepStrictEqual(thrown.map(String), ["Error: the asker of a", "Error: the asker of c"])
        }))
    })

  describe(`${name}: a temporary account`, () => {
    const temporary = (name: string, limit: number | null, parent: string, opener: string) => ({
      ...account(name, limit, parent),
      opener
    })

    test("bounds those that are open below it, also when all who opened it have left", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.open(temporary("t", 10, "root", "one"))
        yield* store.open(temporary("t/u", null, "t", "two"))
        yield* store.open(temporary("t/u/v", null, "t/u", "three"))
        includes((yield* store.close("t", "one"))?.row ?? {}, { account: "t", limit: 10 })
        yield* store.close("t/u", "two")
        assert.deepStrictEqual(yield* names(store), ["root", "t", "t/u", "t/u/v"])
        includes(yield* store.reserve(ask("much", 11, { account: "t/u/v" })), { _tag: "Short" })
        yield* store.reserve(ask("fits", 9, { account: "t/u/v" }))
        assert.deepStrictEqual(yield* rowOf(store, "t"), { spent: 0, reserved: 9 })
        // Whoever comes back to it finds it as it is, and leaves it once.
        assert.strictEqual(yield* tagOf(store.open(temporary("t", 11, "root", "four"))), "Differs")
        yield* store.open(temporary("t", 10, "root", "four"))
        yield* store.close("t/u/v", "three")
        assert.deepStrictEqual(yield* names(store), ["root", "t"])
        yield* store.close("t", "four")
        assert.deepStrictEqual(yield* names(store), ["root"])
        yield* store.end(ending("fits", 8))
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 8, reserved: 0 })
      }))

    test("stays for good below which another one does, and is left by a sibling that goes", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.open(temporary("t", 10, "root", "one"))
        yield* store.open(temporary("t/goes", null, "t", "two"))
        yield* store.open(account("t/stays", null, "t"))
        yield* store.close("t/goes", "two")
        yield* store.close("t", "one")
        yield* store.close("t/stays", null)
        assert.deepStrictEqual(yield* names(store), ["root", "t", "t/stays"])
      }))

    test("that is opened again is another one than the one that was removed", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(account("root", null))
        const child = temporary("root/x", 10, "root", "me")
        yield* store.open(child)
        yield* store.reserve(ask("one", 7, { account: "root/x" }))
        yield* store.close("root/x", "me")
        assert.strictEqual(yield* tagOf(store.reserve(ask("two", 7, { account: "root/x" }))), "NotOpen")
        yield* store.open(child)
        yield* store.end(ending("one", 6))
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 6, reserved: 0 })
        assert.deepStrictEqual(yield* rowOf(store, "root/x"), { spent: 0, reserved: 0 })
      }))
  })

  describe(`${name}: an id`, () => {
    test("that was cancelled holds nothing, also when its ask arrives later", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.cancel("late")
        assert.deepStrictEqual(yield* store.reserve(ask("late", 10)), { _tag: "Taken", how: "cancelled" })
        assert.strictEqual(yield* tagOf(store.end(ending("late", 1))), "Unknown")
        yield* store.reserve(ask("held", 10))
        yield* store.cancel("held")
        yield* store.cancel("held")
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 0, reserved: 0 })
        yield* store.reserve(ask("ended", 10))
        yield* store.end(ending("ended", 7))
        yield* store.cancel("ended")
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 7, reserved: 0 })
        assert.strictEqual(yield* tagOf(store.end(ending("unknown", 1))), "Unknown")
      }))

    test("of another ask is refused", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("a", 10))
        assert.deepStrictEqual(yield* store.reserve(ask("a", 11, { fingerprint: "other" })), {
          _tag: "Taken",
          how: "another ask"
        })
      }))

    test("keeps any text and any exact amount as it is", ({ store }) =>
      Effect.gen(function* () {
        const most = Number.MAX_SAFE_INTEGER
        const name = 'a\\u0000 \0 \t\n \\ \ud800 \'quoted\' "twice" \u{1f600} {1,NULL},"window":1}'
        yield* store.open({ ...account(name, most), thresholds: [1, 1_000_000] })
        yield* store.open(account(`${name}/`, null, name))
        const id = `${name}#`
        const more = { account: `${name}/`, fingerprint: name }
        const held = yield* store.reserve(ask(id, most, more))
        assert.deepStrictEqual(yield* store.reserve(ask(id, most, more)), held)
        assert.strictEqual(yield* tagOf(store.end({ ...ending(id, most), label: name })), "Ended")
        const [opened, child, reserved, settled, low, high] = yield* store.entries({
          ...everything,
          account: name
        })
        includes(opened, { _tag: "Opened", account: name, limit: most })
        includes(child, { account: `${name}/` })
        includes(reserved, { reservation: id, limits: [null, most] })
        includes(settled, { label: name, amount: most })
        includes(low, { account: name, threshold: 0.000001 })
        includes(high, { threshold: 1, spent: most })
        const { rows } = yield* store.balances(`${name}/`)
        includes(rows[0], { account: `${name}/`, parent: name, spent: most, reserved: 0 })
        assert.deepStrictEqual(yield* store.entries({ ...everything, account: "a" }), [])
        assert.strictEqual(yield* tagOf(store.end(ending(id, 1))), "Differs")
        assert.deepStrictEqual(yield* store.renew([id], 1), [])
      }))
  })

  describe(`${name}: a lease`, () => {
    test("that has passed is only over when it was booked", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        for (const id of ["ends", "renewed", "expires"]) yield* store.reserve(ask(id, 10))
        yield* advance(60_000)
        const ended = yield* store.end(ending("ends", 1))
        assert.strictEqual(ended._tag === "Ended" ? ended.entry._tag : ended._tag, "Settled")
        const { now } = yield* store.balances(null)
        assert.deepStrictEqual(yield* store.renew(["ends", "renewed"], 60_000), [
          { id: "renewed", expiresAt: now + 60_000 }
        ])
        const expired = yield* store.expire(10)
        assert.deepStrictEqual(expired.map(reservationOf), ["expires"])
        assert.lengthOf(yield* store.expire(10), 0)
        assert.lengthOf(yield* store.renew(["expires"], 60_000), 0)
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 11, reserved: 10 })
      }))

    test("that was charged is not taken back by a cancel, nor given out again", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("lost", 10))
        yield* advance(60_000)
        yield* store.expire(10)
        const before = yield* store.entries(everything)
        yield* store.cancel("lost")
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 10, reserved: 0 })
        assert.deepStrictEqual(yield* store.reserve(ask("lost", 10)), { _tag: "Taken", how: "ended" })
        assert.deepStrictEqual(yield* store.entries(everything), before)
        // Only its holder's word corrects what it was charged.
        const released = yield* store.end({ ...ending("lost", 0), verdict: "released" })
        includes(released._tag === "Ended" ? released.entry : {}, { _tag: "Corrected", difference: -10 })
        yield* store.cancel("lost")
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 0, reserved: 0 })
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
        assert.deepStrictEqual((yield* store.expire(2)).map(reservationOf), ["first", "second"])
        assert.deepStrictEqual((yield* store.expire(2)).map(reservationOf), ["later"])
      }))
  })

  describe(`${name}: a window`, () => {
    test("begins when it is due, once, by the store's clock", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open({ ...root, frame: "rolling 1000" })
        const stale = yield* store.reserve(ask("a", 10))
        if (stale._tag !== "Stale") return assert.fail(stale._tag)
        const { now } = stale
        // Another one's, one that is over, and one that has not begun are none.
        yield* store.roll("root", "another frame", now, now + 100_000)
        yield* store.roll("root", "rolling 1000", now - 2_000, now)
        yield* store.roll("root", "rolling 1000", now + 1, now + 60_000)
        assert.strictEqual(yield* tagOf(store.reserve(ask("a", 10))), "Stale")
        yield* store.roll("root", "rolling 1000", now, now + 100_000)
        assert.strictEqual(yield* tagOf(store.reserve(ask("a", 10))), "Granted")
        // The one who was slower comes too late to empty it.
        yield* store.roll("root", "rolling 1000", now, now + 100_000)
        const { rows } = yield* store.balances("root")
        includes(rows[0], { reserved: 10, windowStart: now })
        yield* advance(100_000)
        assert.strictEqual(yield* tagOf(store.reserve(ask("b", 10))), "Stale")
        yield* store.roll("root", "rolling 1000", now + 100_000, now + 200_000)
        yield* store.reserve(ask("b", 20))
        yield* store.end(ending("a", 10))
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 0, reserved: 20 })
      }))

    test("that follows begins no sooner than the one before it has ended", ({ advance, store }) =>
      Effect.gen(function* () {
        const frame = "week Asia/Almaty"
        yield* store.open({ ...account("root", 10), frame })
        const { now } = yield* store.balances(null)
        yield* store.roll("root", frame, now - 5, now + 10)
        yield* store.reserve(ask("one", 10))
        yield* advance(11)
        // By other time zone data the same week goes on.
        for (let time = 0; time < 2; time++) yield* store.roll("root", frame, now - 5, now + 100)
        includes((yield* store.balances("root")).rows[0], { windowStart: now + 10, windowEnd: now + 100 })
        yield* store.end({ ...ending("one", 0), verdict: "released" })
        assert.deepStrictEqual(yield* rowOf(store, "root"), { spent: 0, reserved: 0 })
        assert.strictEqual(yield* tagOf(store.reserve(ask("two", 10))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(ask("three", 10))), "Short")
        yield* advance(100)
        yield* store.roll("root", frame, now + 105, now + 200)
        includes((yield* store.balances("root")).rows[0], { windowStart: now + 105, reserved: 0 })
      }))
  })

  describe(`${name}: the time`, () => {
    test("in which something runs out ends before its very millisecond", ({ advance, store }) =>
      Effect.gen(function* () {
        const { now } = yield* store.balances(null)
        yield* store.open({ ...account("root", 10), frame: "rolling 10" })
        yield* store.roll("root", "rolling 10", now, now + 100)
        yield* store.reserve(ask("held", 10, { lease: 50 }))
        yield* store.reserve(ask("first", 1, { place: 50 }))
        yield* advance(49)
        assert.deepStrictEqual(yield* store.expire(9), [])
        yield* store.setLimit("root", usd(20))
        // The first one's place has not passed: it is ahead of the next.
        assert.strictEqual(yield* tagOf(store.reserve(ask("next", 1, { place: 50 }))), "Short")
        yield* store.leave("next")
        yield* advance(1)
        assert.strictEqual((yield* store.expire(9))[0]?._tag, "Expired")
        assert.strictEqual(yield* tagOf(store.reserve(ask("second", 1, { place: 50 }))), "Granted")
        yield* advance(50)
        assert.strictEqual(yield* tagOf(store.reserve(ask("third", 1))), "Stale")
        yield* store.roll("root", "rolling 10", now + 100, now + 101)
        assert.strictEqual(yield* tagOf(store.reserve(ask("third", 1))), "Granted")
      }))

    test("is the store's in every answer and every entry", ({ advance, store }) =>
      Effect.gen(function* () {
        yield* store.open(account("root", 10))
        yield* advance(7)
        const { now } = yield* store.balances(null)
        assert.deepStrictEqual(yield* store.reserve(ask("one", 5, { lease: 10 })), {
          _tag: "Granted",
          held: { id: "one", account: "root", amount: usd(5), at: now, expiresAt: now + 10 }
        })
        includes(yield* store.reserve(ask("two", 6)), { _tag: "Short", now })
        assert.deepStrictEqual(yield* store.renew(["one"], 5), [{ id: "one", expiresAt: now + 5 }])
        yield* advance(1)
        yield* store.end(ending("one", 5))
        const times = (yield* store.entries(everything)).map(({ at }) => at - now)
        assert.deepStrictEqual(times.slice(1), [0, 1])
      }))
  })

  describe(`${name}: a place in line`, () => {
    const waiting = (id: string, least: number, place = 10_000) => ask(id, least, { place })

    test("goes before later ones, moves no one who does not wait, and is kept over asks", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        assert.strictEqual(yield* tagOf(store.reserve(waiting("first", 50))), "Short")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("second", 1))), "Short")
        assert.strictEqual(yield* tagOf(store.reserve(ask("passes", 1))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("first", 50))), "Short")
        yield* store.end(ending("full", 0))
        assert.strictEqual(yield* tagOf(store.reserve(waiting("second", 1))), "Short")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("first", 50))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("second", 1))), "Granted")
      }))

    test("is given up where there is no hope, and stands in nobody's way then", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(account("root", 10))
        yield* store.reserve(ask("held", 10))
        includes(yield* store.reserve(waiting("big", 8)), { _tag: "Short", hopeless: false })
        assert.strictEqual(yield* tagOf(store.reserve(waiting("small", 1))), "Short")
        yield* store.end(ending("held", 5))
        includes(yield* store.reserve(waiting("big", 8)), { _tag: "Short", hopeless: true })
        assert.strictEqual(yield* tagOf(store.reserve(waiting("small", 1))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("big", 4))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("late", 1))), "Short")
        yield* store.setLimit("root", usd(12))
        assert.strictEqual(yield* tagOf(store.reserve(waiting("later", 1))), "Short")
        assert.strictEqual(yield* tagOf(store.reserve(ask("beside", 1))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("late", 1))), "Granted")
      }))

    test("is given up by leaving, and by being cancelled", ({ store }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        for (const [id, how] of [
          ["leaves", store.leave("leaves")],
          ["is cancelled", store.cancel("is cancelled")]
        ] as const) {
          yield* store.reserve(waiting(id, 50))
          assert.strictEqual(yield* tagOf(store.reserve(waiting(`after ${id}`, 1))), "Short")
          yield* how
          assert.strictEqual(yield* tagOf(store.reserve(waiting(`after ${id}`, 1))), "Granted")
          yield* store.end(ending(`after ${id}`, 0))
        }
      }))

    test("whose time has passed stands in nobody's way, and is where it was when it is asked for again", ({
      advance,
      store
    }) =>
      Effect.gen(function* () {
        yield* store.open(root)
        yield* store.reserve(ask("full", 95))
        for (const id of ["asks", "stays"]) yield* store.reserve(waiting(id, 50))
        yield* advance(10_000)
        assert.strictEqual(yield* tagOf(store.reserve(waiting("passes", 1))), "Granted")
        yield* store.reserve(waiting("after", 50, 60_000))
        yield* advance(20_000)
        // Ahead of the one who came while they were away, and in their own order.
        assert.strictEqual(yield* tagOf(store.reserve(waiting("asks", 50))), "Short")
        yield* store.stay(["stays"], 10_000)
        yield* store.end(ending("full", 0))
        for (const id of ["after", "stays"])
          assert.strictEqual(yield* tagOf(store.reserve(waiting(id, 40))), "Short", id)
        assert.strictEqual(yield* tagOf(store.reserve(waiting("asks", 40))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("after", 30))), "Short")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("stays", 30))), "Granted")
        assert.strictEqual(yield* tagOf(store.reserve(waiting("after", 20))), "Granted")
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
        assert.strictEqual(yield* tagOf(store.reserve(waiting("second", 1))), "Short")
      }))
  })

  describe(`${name}: several at the books`, () => {
    test("admit together what fits and nothing more, each ask once", ({ join, store }) =>
      Effect.gen(function* () {
        const stores = [store, ...(yield* Effect.all([join, join], all))]
        yield* Effect.forEach(stores, (each) => each.open(account("root", 1_000)), all)
        yield* Effect.forEach(stores, (each) => each.open(account("root/x", null, "root")), all)
        const answers = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, index) => index),
          (index) =>
            Effect.forEach(stores, (each) => each.reserve(ask(`r${index}`, 7, { account: "root/x" })), all),
          all
        )
        const granted = answers.filter((same) => same.some(({ _tag }) => _tag === "Granted"))
        assert.strictEqual(granted.length, Math.floor(1_000 / 7))
        for (const same of granted) {
          const [first, ...others] = same.filter(({ _tag }) => _tag === "Granted")
          for (const other of others) assert.deepStrictEqual(other, first)
        }
        assert.deepStrictEqual(yield* rowOf(store, "root"), { reserved: 994, spent: 0 })
      }))

    test("open one below an account that is left just then, or find it gone", ({ join, store }) =>
      Effect.gen(function* () {
        const other = yield* join
        yield* store.open(root)
        const rounds = Array.from({ length: 60 }, (_, index) => `root/t${index}`)
        yield* Effect.forEach(
          rounds,
          (parent) =>
            Effect.gen(function* () {
              const child = { ...account(`${parent}/x`, null, parent), opener: "two" }
              yield* store.open({ ...account(parent, 10, "root"), opener: "one" })
              const [opened] = yield* Effect.all(
                [other.open(child), store.close(parent, "one"), store.close(child.account, "two")],
                all
              )
              const isThere = (yield* rowOf(store, child.account)) !== undefined
              assert.strictEqual((yield* rowOf(store, parent)) !== undefined, isThere)
              if (isThere) assert.strictEqual(opened._tag, "Opened")
              yield* other.close(child.account, "two")
            }),
          all
        )
        assert.deepStrictEqual(yield* names(store), ["root"])
      }))

    test("end a reservation once, whoever is first, and take nothing of a cancelled one", ({ join, store }) =>
      Effect.gen(function* () {
        const other = yield* join
        yield* store.open(account("root", null))
        const rounds = Array.from({ length: 60 }, (_, index) => `r${index}`)
        yield* Effect.forEach(
          rounds,
          (id) =>
            Effect.gen(function* () {
              const [left, right] = yield* Effect.all(
                [store.reserve(ask(id, 5)), other.reserve(ask(id, 5, { fingerprint: "g" }))],
                all
              )
              assert.sameMembers([left._tag, right._tag], ["Granted", "Taken"])
              const ends = yield* Effect.all(
                [store.end(ending(id, 3)), other.end(ending(id, 3)), other.end(ending(id, 3))],
                all
              )
              const [first, ...others] = ends.flatMap((end) => (end._tag === "Ended" ? [end.entry] : []))
              assert.deepStrictEqual(others, [first, first])
              assert.strictEqual(ends.filter((end) => end._tag === "Ended" && !end.again).length, 1)
              yield* Effect.all([store.reserve(ask(`${id}-`, 5)), other.cancel(`${id}-`)], all)
              assert.strictEqual(yield* tagOf(store.reserve(ask(`${id}-`, 5))), "Taken")
            }),
          all
        )
        assert.deepStrictEqual(yield* rowOf(store, "root"), { reserved: 0, spent: 180 })
      }))
  })
}
