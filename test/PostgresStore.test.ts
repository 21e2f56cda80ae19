import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Queue, Stream, Tracer } from "effect"
import { Usd } from "agent-budget"
import { storeSuite } from "./LedgerStoreTest.ts"
import * as Postgres from "./utils/postgres.ts"
import * as Agreement from "./utils/storeAgreement.ts"
import { account, ask, audit, detailOf, ending, everything, rowOf } from "./utils/storeAsks.ts"
import { randomOf } from "./utils/storeScript.ts"

const plays = Effect.fnUntraced(function* (seeds: ReadonlyArray<number>) {
  const coverage: Agreement.Coverage = new Map()
  for (const seed of seeds) {
    const { store } = yield* Postgres.ledger()
    yield* Agreement.play({ seed, steps: 150, store, elapse: Effect.sleep, coverage })
  }
  return coverage
}, Effect.scoped)

const all = { concurrency: "unbounded" } as const

if (Postgres.isThere)
  storeSuite("a store in PostgreSQL", {
    fixture: Effect.gen(function* () {
      const { names, sql, store } = yield* Postgres.ledger()
      const head = names.of("head")
      // From here on the clock of the server is behind the newest time seen, so that time stands still.
      yield* sql.unsafe(`UPDATE ${head} SET at = 4000000000000`)
      return {
        store,
        join: Effect.orDie(Effect.map(Postgres.join(names), (other) => other.store)),
        advance: (millis: number) => Effect.orDie(sql.unsafe(`UPDATE ${head} SET at = at + ${millis}`))
      }
    }).pipe(Effect.orDie),
    live: true
  })

describe.skipIf(!Postgres.isThere)("every verb", () => {
  it.live(
    "answers in any sequence as the reference does",
    () =>
      Effect.gen(function* () {
        const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
        assert.deepStrictEqual(Agreement.unseen(yield* plays(seeds)), [])
      }),
    120_000
  )

  it.live("gives up the place in line of an ask that no longer waits", () =>
    Effect.gen(function* () {
      const { store } = yield* Postgres.ledger()
      yield* store.open(account("root", 10))
      yield* store.reserve(ask("held", 10))
      assert.strictEqual((yield* store.reserve(ask("first", 5, { place: 60_000 })))._tag, "Short")
      yield* store.setLimit("root", Usd.nanos(20))
      assert.strictEqual((yield* store.reserve(ask("first", 5)))._tag, "Granted")
      assert.strictEqual((yield* store.reserve(ask("second", 5, { place: 60_000 })))._tag, "Granted")
    }).pipe(Effect.scoped)
  )

  it.live("changes nothing along a chain where one sum would leave the exact range", () =>
    Effect.gen(function* () {
      const { store } = yield* Postgres.ledger()
      yield* store.open(account("root", null))
      yield* store.open(account("root/x", null, "root"))
      yield* store.reserve(ask("most", Number.MAX_SAFE_INTEGER - 10))
      yield* store.reserve(ask("one", 5, { account: "root/x" }))
      assert.deepStrictEqual(yield* store.end(ending("one", 16)), { _tag: "OutOfRange" })
      assert.deepStrictEqual(yield* rowOf(store, "root/x"), { reserved: 5, spent: 0 })
      assert.strictEqual((yield* store.end(ending("one", 10)))._tag, "Ended")
      assert.deepStrictEqual(yield* rowOf(store, "root/x"), { reserved: 0, spent: 10 })
      assert.deepStrictEqual(yield* audit(store), [])
    }).pipe(Effect.scoped)
  )

  it.live("is one statement", () =>
    Effect.gen(function* () {
      const { store } = yield* Postgres.ledger()
      const statements: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          if (options.kind === "client") statements.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      const verbs: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        store.open({ ...account("root", 10), thresholds: [1] }),
        store.open(account("child", null, "root")),
        store.reserve(ask("one", 5, { account: "child" })),
        store.end(ending("one", 4)),
        store.reserve(ask("two", 5, { account: "child", lease: 0 })),
        store.expire(9),
        store.cancel("three"),
        store.setLimit("root", null),
        store.entries(everything),
        store.balances(null),
        store.renew(["two", "three"], 1),
        store.stay(["two"], 1),
        store.leave("two"),
        store.pause("child", true),
        store.roll("root", "none", 0, 1),
        store.close("root", null)
      ]
      for (const verb of verbs) yield* Effect.withTracer(verb, tracer)
      assert.strictEqual(statements.length, verbs.length)
    }).pipe(Effect.scoped)
  )

  it.live("is on the disk when it is answered", () =>
    Effect.gen(function* () {
      const { names, sql, store } = yield* Postgres.ledger()
      const lazy = yield* Postgres.client({
        maxConnections: 1,
        startupParameters: { synchronous_commit: "off" }
      })
      yield* store.open(account("root", 1_000))
      const written = `SELECT pg_current_wal_insert_lsn()::text AS log`
      // Others write the log too, and may bring it to the disk just then: so several times.
      for (let round = 0; round < 12; round++) {
        const child = { ...account(`root/${round}`, null, "root"), opener: "me" }
        const verbs: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
          open: store.open(child),
          close: store.close(child.account, "me"),
          reserve: store.reserve(ask(`${round}`, 5)),
          again: store.reserve(ask(`${round}`, 5)),
          renew: store.renew([`${round}`], -1),
          expire: store.expire(9),
          end: store.end(ending(`${round}`, 4)),
          cancel: store.cancel(`${round} none`),
          setLimit: store.setLimit("root", Usd.nanos(2_000 + round)),
          pause: store.pause("root", true),
          resume: store.pause("root", false),
          entries: Effect.andThen(
            lazy.unsafe(`UPDATE ${names.of("head")} SET at = at`),
            store.entries(everything)
          )
        }
        for (const [name, verb] of Object.entries(verbs)) {
          const [before] = yield* sql.unsafe<{ readonly log: string }>(written)
          yield* verb
          const [after] = yield* sql.unsafe<{ readonly done: boolean }>(
            `SELECT pg_current_wal_flush_lsn() > '${before?.log}'::pg_lsn AS done`
          )
          assert.isTrue(after?.done, `${name}, round ${round}`)
        }
      }
    }).pipe(Effect.scoped)
  )

  it.live("stays done when the caller's own transaction is rolled back", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* Postgres.ledger()
      yield* store.open(account("root", 10))
      yield* sql
        .withTransaction(Effect.andThen(store.reserve(ask("one", 5)), Effect.fail("no")))
        .pipe(Effect.flip)
      assert.deepStrictEqual(yield* rowOf(store, "root"), { reserved: 5, spent: 0 })
    }).pipe(Effect.scoped)
  )
})

describe.skipIf(!Postgres.isThere)("others at the ledger", () => {
  it.live("admit together what the account above them has", () =>
    Effect.gen(function* () {
      const { store } = yield* Postgres.ledger({ maxConnections: 16 })
      const children = Array.from({ length: 8 }, (_, index) => `root/${index}`)
      yield* store.open(account("root", 0))
      yield* Effect.forEach(children, (child) => store.open(account(child, null, "root")), all)
      // Each round there is room for two of 16, at the account itself and below it.
      for (let round = 1; round <= 30; round++) {
        yield* store.setLimit("root", Usd.nanos(round * 20))
        yield* Effect.forEach(
          [...children, ...children.map(() => "root")],
          (child, index) => store.reserve(ask(`${round} ${index}`, 10, { account: child })),
          all
        )
        assert.deepStrictEqual(yield* rowOf(store, "root"), { reserved: round * 20, spent: 0 })
      }
      assert.deepStrictEqual(yield* audit(store), [])
    }).pipe(Effect.scoped)
  )

  it.live("open nothing below a temporary account that is being removed", () =>
    Effect.gen(function* () {
      const { names, sql, store } = yield* Postgres.ledger()
      const other = yield* Postgres.client({ maxConnections: 1 })
      yield* store.open(account("root", 100))
      yield* store.open({ ...account("root/t", 10, "root"), opener: "one" })
      const waits = `SELECT count(*)::int AS waits FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%${names.schema}%'`
      const opening = yield* other.withTransaction(
        Effect.gen(function* () {
          for (const table of ["openers", "accounts WHERE name = 'root/t'"]) {
            const [name = "", where = ""] = table.split(/ (.*)/)
            yield* other.unsafe(`DELETE FROM ${names.of(name)} ${where}`)
          }
          const opening = yield* Effect.forkScoped(
            store.open({ ...account("root/t/x", null, "root/t"), opener: "two" })
          )
          for (let looks = 0; looks < 500 && opening.pollUnsafe() === undefined; looks++) {
            const [found] = yield* sql.unsafe<{ readonly waits: number }>(waits)
            if (found !== undefined && found.waits > 0) break
            yield* Effect.sleep(10)
          }
          return opening
        })
      )
      assert.deepStrictEqual(yield* Fiber.join(opening), { _tag: "NoParent" })
      assert.isUndefined(yield* rowOf(store, "root/t/x"))
      assert.deepStrictEqual(yield* audit(store), [])
    }).pipe(Effect.scoped)
  )

  it.live("charge what ran out on many accounts at once without a deadlock, each once", () =>
    Effect.gen(function* () {
      const { store } = yield* Postgres.ledger()
      const names = Array.from({ length: 8 }, (_, index) => `r${index}`)
      yield* Effect.forEach(names, (name) => store.open(account(name, null)))
      for (let index = 0; index < 240; index++) {
        const name = names[(index * 5 + Math.floor(index / 8) * 3) % names.length] ?? "r0"
        yield* store.reserve(ask(`${index}`, 1, { account: name, lease: -1 }))
      }
      const sweep: Effect.Effect<number, unknown> = Effect.flatMap(store.expire(12), ({ length }) =>
        length === 0 ? Effect.succeed(0) : Effect.map(sweep, (more) => length + more)
      )
      const swept = yield* Effect.all([sweep, sweep, sweep, sweep, sweep, sweep], all)
      assert.strictEqual(
        swept.reduce((sum, count) => sum + count, 0),
        240
      )
      assert.deepStrictEqual(yield* audit(store), [])
    }).pipe(Effect.scoped)
  )

  it.live(
    "do everything at once without a deadlock, and the books are right",
    () =>
      Effect.gen(function* () {
        const one = yield* Postgres.ledger({ maxConnections: 12 })
        const stores = [one.store, (yield* Postgres.join(one.names, { maxConnections: 12 })).store]
        const names = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "z"]
        for (const name of names) {
          const cut = name.lastIndexOf("/")
          const parent = cut < 0 ? null : name.slice(0, cut)
          yield* one.store.open({ ...account(name, name === "a" ? 300 : 200, parent), thresholds: [300_000] })
        }
        const pick = <A>(from: ReadonlyArray<A>, random: (n: number) => number): A =>
          from[random(from.length)] as A
        const worker = (seed: number) =>
          Effect.gen(function* () {
            const random = randomOf(seed)
            const id = (): string => `r${random(300)}`
            for (let step = 0; step < 60; step++) {
              const store = pick(stores, random)
              const place = pick([null, 20_000], random)
              const lease = pick([-1, 60_000], random)
              const one = id()
              const verbs: ReadonlyArray<Effect.Effect<unknown, { readonly detail: string }>> = [
                store.reserve(
                  ask(one, 10 + random(40), { account: pick(names, random), lease, place, fingerprint: one })
                ),
                store.reserve(
                  ask(one, 10, { account: pick(names, random), lease, place, most: 60, fingerprint: one })
                ),
                store.reserve(ask(one, 20, { account: pick(names, random), lease, place, fingerprint: one })),
                store.end(ending(one, random(60))),
                store.end({ ...ending(one, 0), verdict: "released" }),
                store.cancel(one),
                store.expire(5),
                store.renew([one, id(), id()], lease),
                store.stay([one, id(), id()], 1_000),
                store.leave(one),
                store.setLimit(pick(names, random), Usd.nanos(150 + random(3_000))),
                store.pause(pick(names, random), random(4) === 0)
              ]
              yield* pick(verbs, random)
            }
          })
        yield* Effect.forEach(
          Array.from({ length: 24 }, (_, index) => index + 1),
          worker,
          all
        )
        assert.deepStrictEqual(yield* audit(one.store), [])
        const tags = new Set((yield* one.store.entries(everything)).map(({ _tag }) => _tag))
        assert.strictEqual(tags.size, 10, [...tags].join())
      }).pipe(Effect.scoped),
    120_000
  )

  it.live("are told when a waiter may fit, also after the connection was lost", () =>
    Effect.gen(function* () {
      const one = yield* Postgres.ledger()
      const two = yield* Postgres.join(one.names)
      const told = yield* Queue.unbounded<true>()
      yield* Effect.forkScoped(
        Stream.runForEach(two.store.changes ?? Stream.empty, () => Queue.offer(told, true))
      )
      const isTold = Effect.timeoutOption(Queue.take(told), "5 seconds").pipe(Effect.map(({ _tag }) => _tag))
      const quiet = Effect.timeoutOption(Queue.take(told), "200 millis").pipe(Effect.map(({ _tag }) => _tag))
      assert.strictEqual(yield* isTold, "Some")
      yield* one.store.open(account("root", 10))
      yield* one.store.reserve(ask("one", 6))
      yield* one.store.end(ending("one", 5))
      // Nobody stands in line: nobody is told.
      assert.strictEqual(yield* quiet, "None")
      yield* one.store.reserve(ask("two", 5))
      yield* two.store.reserve(ask("three", 3, { place: 60_000 }))
      yield* one.store.end(ending("two", 1))
      assert.strictEqual(yield* isTold, "Some")
      const ended = yield* one.sql.unsafe(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN "${one.names.channel}"'`
      )
      assert.strictEqual(ended.length, 1)
      // Once because it is lost, once because it is there again.
      assert.strictEqual(yield* isTold, "Some")
      assert.strictEqual(yield* isTold, "Some")
      yield* one.store.setLimit("root", Usd.nanos(20))
      assert.strictEqual(yield* isTold, "Some")
    }).pipe(Effect.scoped)
  )
})

describe.skipIf(!Postgres.isThere)("a server that is away", () => {
  it.live("fails the verb, and says why without a password", () =>
    Effect.gen(function* () {
      const { names } = yield* Postgres.somewhere
      const away = new URL(Postgres.url)
      away.password = "hunter2"
      away.port = "1"
      const nowhere = yield* detailOf(
        Postgres.storeOf(yield* Postgres.clientOf(away.href), names).balances(null)
      )
      assert.strictEqual(nowhere, "PostgreSQL (balances): the connection failed (ECONNREFUSED).")
      const { store } = yield* Postgres.join(names)
      const missing = yield* detailOf(store.balances(null))
      assert.strictEqual(missing, "PostgreSQL (balances): its schema is not there (3F000).")
    }).pipe(Effect.scoped)
  )

  it.live("fails a verb that waits too long for a lock, and does it later", () =>
    Effect.gen(function* () {
      const one = yield* Postgres.ledger({ startupParameters: { statement_timeout: "200ms" } })
      const other = yield* Postgres.client()
      yield* one.store.open(account("root", 10))
      const locked = yield* Deferred.make<true>()
      const done = yield* Deferred.make<true>()
      const stranger = yield* Effect.forkChild(
        other.withTransaction(
          Effect.gen(function* () {
            yield* other.unsafe(`SELECT FROM ${one.names.of("accounts")} FOR UPDATE`)
            yield* Deferred.succeed(locked, true)
            yield* Deferred.await(done)
          })
        )
      )
      yield* Deferred.await(locked)
      assert.include(
        yield* detailOf(one.store.reserve(ask("one", 5))),
        "a statement was cancelled (statement_timeout)"
      )
      yield* Deferred.succeed(done, true)
      yield* Fiber.join(stranger)
      assert.strictEqual((yield* one.store.reserve(ask("one", 5)))._tag, "Granted")
      assert.deepStrictEqual(yield* rowOf(one.store, "root"), { reserved: 5, spent: 0 })
    }).pipe(Effect.scoped)
  )

  it.live("that never answers fails the verb in bounded time", () =>
    Effect.gen(function* () {
      const one = yield* Postgres.ledger()
      yield* one.store.open(account("root", 10))
      const line = yield* Postgres.line
      const { store } = yield* Postgres.join(one.names, { connectTimeout: "1 second" }, "1 second", line.url)
      assert.strictEqual((yield* store.reserve(ask("one", 5)))._tag, "Granted")
      line.stick()
      const started = performance.now()
      assert.include(yield* detailOf(store.end(ending("one", 5))), "no answer within 1000 ms")
      assert.isBelow(performance.now() - started, 10_000)
      line.cut()
      const ended = yield* Effect.retry(store.end(ending("one", 5)), { times: 5 })
      assert.deepInclude(ended, { _tag: "Ended" })
      assert.deepStrictEqual(yield* audit(one.store), [])
    }).pipe(Effect.scoped)
  )
})
