import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { Usd } from "agent-budget"
import type { LedgerStore, ReserveAsk } from "../src/internal/ledgerStore.ts"
import * as SqliteFile from "../src/internal/sqliteFile.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import { findings } from "./utils/bookReplay.ts"
import * as Agreement from "./utils/storeAgreement.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-sqlite-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

const somewhere = Effect.map(folder, (name) => path.join(name, "budget.db"))

const store = Effect.flatMap(somewhere, (file) => SqliteStore.make({ path: file }))

/** Another program at the file. */
const stranger = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(file)),
    (database) => Effect.sync(() => database.close())
  )

const account = (name: string, limit: number | null, parent: string | null = null) => ({
  account: name,
  parent,
  limit: limit === null ? null : Usd.nanos(limit),
  frame: undefined,
  thresholds: undefined,
  opener: null
})

const ask = (id: string, least: number, more: Partial<ReserveAsk> = {}): ReserveAsk => ({
  id,
  fingerprint: "f",
  account: "root",
  least,
  most: least,
  share: 1,
  lease: 60_000,
  place: null,
  ...more
})

const everything = { after: 0, size: 1_000_000, account: null, from: null, to: null }

const audit = Effect.fnUntraced(function* (books: LedgerStore) {
  return findings(yield* books.entries(everything), (yield* books.balances(null)).rows)
})

/** What a failure says. */
const detail = <A, E extends { readonly detail: string }, R>(failing: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(failing), (error) => error.detail)

const plays = Effect.fnUntraced(function* (
  seeds: ReadonlyArray<number>,
  elapse: (millis: number) => Effect.Effect<void>
) {
  const coverage: Agreement.Coverage = new Map()
  for (const seed of seeds) {
    const play = Effect.flatMap(store, (engine) =>
      Agreement.play({ seed, steps: 150, store: engine, elapse, coverage })
    )
    yield* Effect.scoped(play)
  }
  return coverage
})

describe("every verb", () => {
  it.effect("answers in any sequence as the reference does", () =>
    Effect.gen(function* () {
      const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
      assert.deepStrictEqual(Agreement.unseen(yield* plays(seeds, TestClock.adjust)), [])
    })
  )

  it.live("answers like that by the machine's clock, too", () => plays([101, 102, 103], Effect.sleep))

  it.effect("counts what happens at the very millisecond in which time runs out as too late", () =>
    Effect.gen(function* () {
      const books = yield* store
      yield* books.open({ ...account("root", 10), frame: "rolling 10" })
      yield* books.roll("root", "rolling 10", 0, 100)
      yield* books.reserve(ask("held", 10, { lease: 50 }))
      yield* books.reserve(ask("first", 1, { place: 50 }))
      yield* TestClock.adjust(49)
      assert.deepStrictEqual(yield* books.expire(9), [])
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* books.expire(9))[0]?._tag, "Expired")
      yield* books.setLimit("root", Usd.nanos(20))
      // The first one's place has passed: nobody is ahead of the second.
      assert.strictEqual((yield* books.reserve(ask("second", 1, { place: 50 })))._tag, "Granted")
      yield* TestClock.adjust(50)
      assert.strictEqual((yield* books.reserve(ask("third", 1)))._tag, "Stale")
      // A window that has not begun, one that is over, and another one's are none.
      yield* books.roll("root", "rolling 10", 101, 200)
      yield* books.roll("root", "rolling 10", 90, 100)
      yield* books.roll("root", "rolling 11", 100, 101)
      assert.strictEqual((yield* books.reserve(ask("third", 1)))._tag, "Stale")
      yield* books.roll("root", "rolling 10", 100, 101)
      assert.strictEqual((yield* books.reserve(ask("third", 1)))._tag, "Granted")
      assert.deepStrictEqual(yield* audit(books), [])
    })
  )

  it.effect("lets those in line pass in order, and others beside it", () =>
    Effect.gen(function* () {
      const books = yield* store
      yield* books.open(account("root", 10))
      yield* books.reserve(ask("held", 10))
      const line = (id: string, least: number) => books.reserve(ask(id, least, { place: 1_000 }))
      assert.strictEqual((yield* line("big", 8))._tag, "Short")
      assert.strictEqual((yield* line("small", 1))._tag, "Short")
      yield* books.end({ id: "held", amount: 5, verdict: "metered", label: null })
      // There is room for the small one, but the big one came first; it waits for a higher limit.
      assert.deepInclude(yield* line("big", 8), { _tag: "Short", hopeless: true })
      assert.strictEqual((yield* line("small", 1))._tag, "Granted")
      assert.strictEqual((yield* line("big", 4))._tag, "Granted")
      assert.strictEqual((yield* line("late", 1))._tag, "Short")
      yield* books.setLimit("root", Usd.nanos(12))
      assert.strictEqual((yield* line("later", 1))._tag, "Short")
      assert.strictEqual((yield* books.reserve(ask("beside", 1)))._tag, "Granted")
      assert.strictEqual((yield* line("late", 1))._tag, "Granted")
    })
  )

  it.effect("keeps an account that was opened again apart from the one that was removed", () =>
    Effect.gen(function* () {
      const books = yield* store
      yield* books.open(account("root", null))
      const child = { ...account("root/x", 10, "root"), opener: "me" }
      yield* books.open(child)
      yield* books.reserve(ask("one", 7, { account: "root/x" }))
      yield* books.close("root/x", "me")
      yield* books.open(child)
      yield* books.end({ id: "one", amount: 6, verdict: "metered", label: null })
      const numbers = (yield* books.balances(null)).rows.map((row) => [row.account, row.spent, row.reserved])
      assert.deepStrictEqual(numbers, [
        ["root", 6, 0],
        ["root/x", 0, 0]
      ])
    })
  )

  it.effect("passes over an account above that was removed, also where its name is there again", () =>
    Effect.gen(function* () {
      const books = yield* store
      yield* books.open(account("root", 20))
      const middle = { ...account("root/x", 5, "root"), opener: "me" }
      yield* books.open(middle)
      yield* books.open(account("root/x/y", null, "root/x"))
      yield* books.close("root/x", "me")
      yield* books.open(middle)
      const held = yield* books.reserve(ask("one", 7, { account: "root/x/y" }))
      assert.strictEqual(held._tag, "Granted")
      assert.strictEqual((yield* books.reserve(ask("two", 14, { account: "root/x/y" })))._tag, "Short")
      const numbers = (yield* books.balances(null)).rows.map((row) => [row.account, row.reserved])
      assert.deepStrictEqual(numbers, [
        ["root", 7],
        ["root/x", 0],
        ["root/x/y", 7]
      ])
    })
  )
})

describe("the file", () => {
  it.effect("has everything when it is opened again", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const before = yield* Effect.scoped(
        Effect.gen(function* () {
          const books = yield* SqliteStore.make({ path: file })
          yield* books.open(account("root", 100))
          yield* books.reserve(ask("one", 40))
          yield* books.reserve(ask("two", 70, { place: 1_000 }))
          yield* books.end({ id: "one", amount: Number.MAX_SAFE_INTEGER, verdict: "metered", label: "m" })
          yield* books.cancel("three")
          return [yield* books.balances(null), yield* books.entries(everything)] as const
        })
      )
      const books = yield* SqliteStore.make({ path: file })
      assert.deepStrictEqual([yield* books.balances(null), yield* books.entries(everything)], [...before])
      assert.strictEqual(before[0].rows[0]?.spent, Number.MAX_SAFE_INTEGER)
      assert.deepInclude(yield* books.reserve(ask("three", 1)), { _tag: "Taken", how: "cancelled" })
      assert.deepInclude(
        yield* books.end({ id: "one", amount: Number.MAX_SAFE_INTEGER, verdict: "metered", label: null }),
        { _tag: "Ended", again: true }
      )
    })
  )

  it.effect("is in WAL mode, and synced before a commit is answered", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      let settings: ReadonlyArray<unknown> = []
      yield* SqliteFile.open({
        path: file,
        patience: 100,
        books: (database) => {
          const read = (name: string): unknown => database.prepare(`PRAGMA ${name}`).get()?.[name]
          settings = ["journal_mode", "synchronous", "fullfsync", "user_version"].map(read)
          return { begin: () => undefined, finish: () => undefined }
        }
      })
      // 2 is FULL.
      assert.deepStrictEqual(settings, ["wal", 2, 1, 1])
    })
  )

  it.effect("lets no time go back, in this process or in the next", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const machine = yield* Ref.make(5_000)
      const clock: Clock.Clock = yield* Clock.Clock
      const told = { currentTimeMillisUnsafe: () => Ref.getUnsafe(machine) }
      const open = SqliteStore.make({ path: file }).pipe(
        Effect.provideService(Clock.Clock, Object.setPrototypeOf(told, clock) as Clock.Clock)
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          const books = yield* open
          yield* books.open(account("root", 10))
          yield* books.reserve(ask("one", 5, { lease: 1_000 }))
          yield* Ref.set(machine, 1_000)
          assert.strictEqual((yield* books.balances(null)).now, 5_000)
          yield* Ref.set(machine, 5_500)
          // Leaves no entry, and yet is remembered.
          yield* books.renew(["one"], 1_000)
        })
      )
      yield* Ref.set(machine, 2_000)
      const books = yield* open
      assert.strictEqual((yield* books.balances(null)).now, 5_500)
      assert.deepStrictEqual(yield* books.renew(["one"], 1_000), [{ id: "one", expiresAt: 6_500 }])
      yield* books.end({ id: "one", amount: 1, verdict: "metered", label: null })
      assert.deepStrictEqual(
        (yield* books.entries(everything)).map(({ at }) => at),
        [5_000, 5_000, 5_500]
      )
    })
  )

  it.effect("is refused where it is somebody else's, newer than this version, or no database", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const refusal = detail(Effect.scoped(SqliteStore.make({ path: file })))
      fs.writeFileSync(file, "Dear diary, today I have spent nothing at all. ".repeat(50))
      assert.include(yield* refusal, "file is not a database")
      fs.rmSync(file)
      const other = new DatabaseSync(file)
      other.exec("CREATE TABLE diary (day TEXT)")
      assert.include(yield* refusal, "the database of another program")
      assert.strictEqual(other.prepare("PRAGMA journal_mode").get()?.["journal_mode"], "delete")
      other.exec("DROP TABLE diary")
      yield* Effect.scoped(SqliteStore.make({ path: file }))
      other.exec("PRAGMA user_version = 7")
      other.close()
      assert.include(yield* refusal, "schema is version 7")
      const nowhere = SqliteStore.make({ path: path.join(file, "nowhere", "budget.db") })
      assert.include(yield* detail(nowhere), "unable to open database file")
    })
  )

  it.effect("says which Node has SQLite where this one has not", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const found = Object.getOwnPropertyDescriptor(process, "getBuiltinModule")
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process, { getBuiltinModule: () => undefined })),
        () => Effect.sync(() => Object.defineProperty(process, "getBuiltinModule", found ?? {}))
      )
      assert.include(yield* detail(SqliteStore.make({ path: file })), "from 22.13 and 23.4 on")
      assert.isFalse(fs.existsSync(file))
    })
  )

  it.effect("that is damaged fails the verb that meets the damage and no other", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const books = yield* SqliteStore.make({ path: file })
      yield* books.open(account("root", 10))
      yield* books.reserve(ask("one", 5))
      const ended = { id: "one", amount: 1, verdict: "metered", label: null } as const
      yield* books.end(ended)
      const database = yield* stranger(file)
      database.exec("UPDATE entries SET body = '{}' WHERE seq = 3")
      const [bad, good] = yield* Effect.all([detail(books.end(ended)), books.reserve(ask("two", 5))], {
        concurrency: "unbounded"
      })
      assert.include(bad, "entry 3 of the file cannot be read")
      assert.strictEqual(good._tag, "Granted")
      assert.include(yield* detail(books.entries(everything)), "entry 3")
    })
  )
})

describe("others at the file", () => {
  it.live("are waited for without stopping the program, and not for ever", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const books = yield* SqliteStore.make({ path: file, patience: 300 })
      yield* books.open(account("root", 10))
      const other = yield* stranger(file)
      other.exec("BEGIN IMMEDIATE")
      let turns = 0
      const count = setInterval(() => turns++, 5)
      const failed = yield* detail(books.reserve(ask("one", 1)))
      clearInterval(count)
      assert.include(failed, "other processes held the file for 300 ms")
      assert.isAbove(turns, 15)
      const waiting = yield* Effect.forkChild(books.reserve(ask("two", 1)))
      yield* Effect.sleep(50)
      other.exec("COMMIT")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Granted")
    })
  )

  it.live("admit together what fits and nothing more, each ask once", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const stores = yield* Effect.forEach([1, 2, 3], () => SqliteStore.make({ path: file }), {
        concurrency: "unbounded"
      })
      const each = <A>(run: (books: LedgerStore) => A): ReadonlyArray<A> => stores.map(run)
      yield* Effect.all(each((books) => books.open(account("root", 1_000))))
      yield* Effect.all(each((books) => books.open(account("root/x", null, "root"))))
      const answers = yield* Effect.forEach(
        Array.from({ length: 300 }, (_, index) => index),
        (index) =>
          Effect.all(
            each((books) => books.reserve(ask(`r${index}`, 7, { account: "root/x" }))),
            { concurrency: "unbounded" }
          ),
        { concurrency: "unbounded" }
      )
      const granted = answers.filter((same) => same.some(({ _tag }) => _tag === "Granted"))
      assert.strictEqual(granted.length, Math.floor(1_000 / 7))
      for (const same of granted) {
        const held = same.flatMap((answer) => (answer._tag === "Granted" ? [answer.held] : []))
        assert.deepStrictEqual(new Set(held.map((one) => JSON.stringify(one))).size, 1)
      }
      const books = yield* SqliteStore.make({ path: file })
      assert.deepStrictEqual(yield* audit(books), [])
      assert.strictEqual((yield* books.balances("root")).rows[0]?.reserved, 994)
    })
  )

  it.live("are noticed when they have changed something", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const [one, two] = [yield* SqliteStore.make({ path: file }), yield* SqliteStore.make({ path: file })]
      const told = yield* Ref.make(0)
      const changes = one.changes ?? Stream.empty
      yield* Effect.forkScoped(Stream.runForEach(changes, () => Ref.update(told, (times) => times + 1)))
      yield* Effect.sleep(100)
      assert.strictEqual(yield* Ref.get(told), 0)
      yield* one.open(account("root", 1_000))
      yield* Effect.sleep(100)
      assert.strictEqual(yield* Ref.get(told), 0)
      yield* two.open(account("root/x", 1_000, "root"))
      yield* Effect.sleep(150)
      assert.strictEqual(yield* Ref.get(told), 1)
    })
  )

  it.live("do not hear of an ask that was interrupted before its turn", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const books = yield* SqliteStore.make({ path: file })
      yield* books.open(account("root", 10))
      const other = yield* stranger(file)
      other.exec("BEGIN IMMEDIATE")
      const waiting = yield* Effect.forkChild(books.reserve(ask("one", 1)))
      yield* Effect.sleep(30)
      yield* Fiber.interrupt(waiting)
      other.exec("COMMIT")
      yield* books.reserve(ask("two", 1))
      const entries = yield* books.entries(everything)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "Reserved" ? [entry.reservation] : [])),
        ["two"]
      )
    })
  )

  it.live("share one wait for the disk", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const books = yield* SqliteStore.make({ path: file })
      yield* books.open(account("root", null))
      const other = yield* stranger(file)
      const version = (): unknown => other.prepare("PRAGMA data_version").get()?.["data_version"]
      const size = (): number => fs.statSync(`${file}-wal`).size
      const before = [version(), size()] as const
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => `r${index}`),
        (id) => books.reserve(ask(id, 1)),
        { concurrency: "unbounded" }
      )
      assert.notStrictEqual(version(), before[0])
      // Alone, each would write a handful of pages of 4 KiB of its own.
      assert.isBelow(size() - before[1], 200 * 4_096)
    })
  )
})
