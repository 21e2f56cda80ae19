import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import * as SqliteFile from "../src/internal/sqliteFile.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import { storeSuite } from "./LedgerStoreTest.ts"
import * as Agreement from "./utils/storeAgreement.ts"
import { account, ask, detailOf, ending, everything } from "./utils/storeAsks.ts"

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

storeSuite("a store in a SQLite file", {
  fixture: Effect.gen(function* () {
    const make = SqliteStore.make({ path: yield* somewhere })
    const advance = (millis: number) => TestClock.adjust(millis)
    return { store: yield* make, join: Effect.orDie(make), advance }
  }).pipe(Effect.orDie),
  live: false,
  batches: true
})

describe("every verb", () => {
  it.effect("answers in any sequence as the reference does", () =>
    Effect.gen(function* () {
      const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
      assert.deepStrictEqual(Agreement.unseen(yield* plays(seeds, TestClock.adjust)), [])
    })
  )

  it.live("answers like that by the machine's clock, too", () => plays([101, 102, 103], Effect.sleep))
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
      assert.deepInclude(yield* books.end(ending("one", Number.MAX_SAFE_INTEGER)), {
        _tag: "Ended",
        again: true
      })
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
      yield* books.end(ending("one", 1))
      assert.deepStrictEqual(
        (yield* books.entries(everything)).map(({ at }) => at),
        [5_000, 5_000, 5_500]
      )
    })
  )

  it.effect("is refused where it is somebody else's, newer than this version, or no database", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const refusal = detailOf(Effect.scoped(SqliteStore.make({ path: file })))
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
      assert.include(yield* detailOf(nowhere), "unable to open database file")
    })
  )

  it.effect(
    "is written no more once it was removed, or another is in its place, and again when it is back",
    () =>
      Effect.gen(function* () {
        const file = yield* somewhere
        const store = yield* SqliteStore.make({ path: file })
        yield* store.open(account("root", 100))
        yield* store.reserve(ask("one", 60))
        const move = (from: string, to: string) => {
          for (const part of ["", "-wal", "-shm"]) fs.renameSync(from + part, to + part)
        }
        const refuses = Effect.fnUntraced(function* (what: string) {
          assert.include(yield* detailOf(store.end(ending("one", 50))), what)
          assert.include(yield* detailOf(store.reserve(ask("two", 10))), what)
          assert.include(yield* detailOf(store.balances(null)), what)
        })
        move(file, `${file}.away`)
        yield* refuses(`${file} is gone.`)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const other = yield* SqliteStore.make({ path: file })
            yield* other.open(account("root", 100))
            yield* refuses("another file than the one that was opened")
          })
        )
        fs.rmSync(file)
        move(`${file}.away`, file)
        assert.deepInclude(yield* store.end(ending("one", 50)), { _tag: "Ended" })
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
      assert.include(yield* detailOf(SqliteStore.make({ path: file })), "from 22.13 and 23.4 on")
      assert.isFalse(fs.existsSync(file))
    })
  )

  it.effect("that is damaged fails the verb that meets the damage and no other", () =>
    Effect.gen(function* () {
      const file = yield* somewhere
      const books = yield* SqliteStore.make({ path: file })
      yield* books.open(account("root", 10))
      yield* books.reserve(ask("one", 5))
      const ended = ending("one", 1)
      yield* books.end(ended)
      const database = yield* stranger(file)
      database.exec("UPDATE entries SET body = '{}' WHERE seq = 3")
      const [bad, good] = yield* Effect.all([detailOf(books.end(ended)), books.reserve(ask("two", 5))], {
        concurrency: "unbounded"
      })
      assert.include(bad, "entry 3 of the file cannot be read")
      assert.strictEqual(good._tag, "Granted")
      assert.include(yield* detailOf(books.entries(everything)), "entry 3")
    })
  )
})

describe("a row that nobody here wrote", () => {
  it.effect("fails the verbs that read it, and says which it is", () =>
    Effect.gen(function* () {
      for (const [change, what] of [
        ["UPDATE accounts SET chain = 'none' WHERE name = 'root/a'", "account root/a"],
        ["UPDATE accounts SET chain = '[[1, 2]]' WHERE name = 'root/a'", "account root/a"],
        ["UPDATE accounts SET spent = -1 WHERE name = 'root/a'", "account root/a"],
        [
          "UPDATE accounts SET reserved = 9007199254740991, spent = 1 WHERE name = 'root/a'",
          "account root/a"
        ],
        ["UPDATE accounts SET cap = -1 WHERE name = 'root/a'", "account root/a"],
        ["UPDATE accounts SET window_start = 1 WHERE name = 'root/a'", "account root/a"],
        ["UPDATE accounts SET spent = 9007199254740993 WHERE name = 'root/a'", "beyond what is exact"],
        ["UPDATE accounts SET thresholds = '{}' WHERE name = 'root/a'", "account root/a"],
        ["UPDATE reservations SET links = '[[\"root/a\", 2, true]]'", "reservation one"],
        ["UPDATE reservations SET amount = -5", "reservation one"]
      ] as const) {
        const file = yield* somewhere
        const books = yield* SqliteStore.make({ path: file })
        yield* books.open(account("root", 100))
        yield* books.open({ ...account("root/a", 50, "root"), thresholds: [500_000] })
        yield* books.reserve(ask("one", 30, { account: "root/a" }))
        const before = yield* books.entries(everything)
        const database = yield* stranger(file)
        database.exec(change)
        assert.include(yield* detailOf(books.end(ending("one", 30))), what, change)
        assert.deepStrictEqual(yield* books.entries(everything), before)
      }
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
      const failed = yield* detailOf(books.reserve(ask("one", 1)))
      clearInterval(count)
      assert.include(failed, "other processes held the file for 300 ms")
      assert.isAbove(turns, 15)
      const waiting = yield* Effect.forkChild(books.reserve(ask("two", 1)))
      yield* Effect.sleep(50)
      other.exec("COMMIT")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Granted")
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
