import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, References, Schedule, type Scope, Stream } from "effect"
import * as Redis from "effect/persistence/Redis"
import { Usd } from "agent-budget"
import type { ReserveAsk } from "../src/internal/ledgerStore.ts"
import { keyNames } from "../src/internal/redisRows.ts"
import * as RedisStore from "../src/internal/redisStore.ts"
import { storeSuite } from "./LedgerStoreTest.ts"
import { includes } from "./utils/assertions.ts"
import * as Server from "./utils/redis.ts"
import * as Agreement from "./utils/storeAgreement.ts"
import { account, ask, audit, detailOf, ending, everything, tagOf } from "./utils/storeAsks.ts"
import { randomOf } from "./utils/storeScript.ts"
import { uncaught } from "./utils/uncaught.ts"

/** Why a store was not made. */
const refusalOf = <A, E extends object, R>(made: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(made), (error) => ("detail" in error ? error.detail : error))

const all = { concurrency: "unbounded" } as const

const plays = Effect.fnUntraced(function* (seeds: ReadonlyArray<number>) {
  const coverage: Agreement.Coverage = new Map()
  for (const seed of seeds) {
    const play = Effect.flatMap(Server.ledger, ({ store }) =>
      Agreement.play({ seed, steps: 150, store, elapse: Effect.sleep, coverage })
    )
    yield* Effect.scoped(play)
  }
  return coverage
})

const live = (name: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(
    name,
    () => Effect.provideService(Effect.scoped(body), References.MinimumLogLevel, "Error"),
    120_000
  )

/** The store on a connection that is watched, or made to fail, by `through`. */
const storeThrough = (prefix: string, through: (redis: Server.Client) => Server.Client) =>
  Effect.flatMap(Server.client, (redis) =>
    Effect.provideService(RedisStore.make({ prefix, timeout: "20 seconds" }), Redis.Redis, through(redis))
  )

/** Asks until it is answered, as the ledger does with an answer that was lost. */
const insisting = <A>(verb: Effect.Effect<A, { readonly detail: string }>) =>
  Effect.retry(verb, { times: 200, schedule: Schedule.spaced("20 millis") })

if (Server.isThere)
  storeSuite("a store in Redis", {
    fixture: Effect.gen(function* () {
      const ledger = yield* Server.ledger
      const { key, prefix, redis, store } = ledger
      yield* Server.setClock(ledger, 0)
      return {
        store,
        join: Effect.provideService(Effect.orDie(Server.join(prefix)), References.MinimumLogLevel, "Error"),
        advance: (millis: number) =>
          Effect.orDie(Effect.asVoid(redis.send("HINCRBY", key("meta"), "clock", String(millis))))
      }
    }).pipe(Effect.orDie, Effect.provideService(References.MinimumLogLevel, "Error")),
    live: true,
    batches: true
  })

describe.skipIf(!Server.isThere)("every verb", () => {
  live(
    "answers in any sequence as the reference does",
    Effect.gen(function* () {
      const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
      assert.deepStrictEqual(Agreement.unseen(yield* plays(seeds)), [])
    })
  )

  live(
    "keeps the newest time that it told, also where nothing else was written",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      yield* store.open(account("root", 1))
      const answer = yield* store.reserve(ask("one", 5))
      assert.strictEqual(answer._tag, "Short")
      const clock = Number(yield* redis.send("HGET", key("meta"), "clock"))
      assert.strictEqual("now" in answer ? answer.now : 0, clock)
    })
  )

  live(
    "is one command, on the keys of its ledger and no others",
    Effect.gen(function* () {
      const { key, prefix } = yield* Server.somewhere
      const sent: Array<ReadonlyArray<string>> = []
      const store = yield* storeThrough(prefix, (redis) => ({
        ...redis,
        send: (command, ...args) =>
          Effect.suspend(() => {
            sent.push([command, ...args])
            return redis.send(command, ...args)
          })
      }))
      // A server that has forgotten a script takes two.
      const verbs: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        store.open({ ...account("root", 10), thresholds: [1] }),
        store.open(account("child", null, "root")),
        store.reserve(ask("one", 5, { account: "child" })),
        store.end(ending("one", 4)),
        store.reserve(ask("two", 5, { account: "child", place: 1_000 })),
        store.reserve(ask("three", 5, { account: "child", place: 1_000 })),
        store.stay(["three"], 2_000),
        store.leave("three"),
        store.renew(["two"], 100),
        store.expire(10),
        store.cancel("two"),
        store.setLimit("root", Usd.nanos(5)),
        store.pause("root", true),
        store.roll("root", "day UTC", 0, 1),
        store.balances(null),
        store.entries(everything),
        store.close("child", null)
      ]
      for (const verb of [...verbs, ...verbs]) yield* verb
      sent.length = 0
      for (const verb of verbs) yield* verb
      assert.deepStrictEqual(
        sent.map(([command]) => command),
        verbs.map(() => "EVALSHA")
      )
      for (const [, , count, ...rest] of sent)
        assert.isTrue(rest.slice(0, Number(count)).every((each) => each.startsWith(`{${prefix}}:`)))
      const redis = yield* Server.client
      const made = yield* redis.send<ReadonlyArray<string>>("KEYS", `*${prefix}*`)
      // Nothing is held any more, and nobody waits.
      const known = (["meta", "accounts", "reservations", "entries"] as const).map(key)
      assert.deepStrictEqual([...made].sort(), [...known].sort())
    })
  )
})

describe.skipIf(!Server.isThere)("every verb writes", () => {
  /** Books in which every key is there, and all that a verb may do to them. */
  const busy = Effect.gen(function* () {
    const ledger = yield* Server.ledger
    const { key, redis, store } = ledger
    yield* store.open({ ...account("root", 100), thresholds: [1], frame: "rolling 10" })
    const { now } = yield* store.balances(null)
    yield* store.roll("root", "rolling 10", now, now + 1_000_000)
    yield* store.open({ ...account("root/t", null, "root"), opener: "me" })
    for (const id of ["one", "two"]) yield* store.reserve(ask(id, 40))
    yield* store.reserve(ask("due", 5, { lease: -1 }))
    for (const id of ["three", "four"]) yield* store.reserve(ask(id, 50, { place: 60_000 }))
    yield* store.reserve(ask("late", 50, { place: -1 }))
    // Sees that the last one's time has passed.
    yield* store.reserve(ask("four", 50, { place: 60_000 }))
    const verbs: Readonly<Record<string, Effect.Effect<unknown, { readonly detail: string }>>> = {
      open: store.open(account("new", 1)),
      below: store.open({ ...account("root/t/x", null, "root/t"), opener: "it" }),
      reserve: store.reserve(ask("five", 5)),
      end: store.end(ending("one", 30)),
      expire: store.expire(9),
      cancel: store.cancel("two"),
      forbid: store.cancel("six"),
      setLimit: store.setLimit("root", Usd.nanos(7)),
      pause: store.pause("root", true)
    }
    const others: typeof verbs = {
      close: store.close("root/t", "me"),
      renew: store.renew(["one"], 100),
      stay: store.stay(["three"], 100),
      leave: store.leave("three"),
      roll: store.roll("root", "rolling 10", now, now + 10)
    }
    const look = Effect.forEach(keyNames, (name) => redis.send<string>("DUMP", key(name)))
    return { key, redis, store, verbs, others, look }
  })

  live(
    "nothing where a key of the ledger holds something else",
    Effect.gen(function* () {
      for (const name of keyNames) {
        const { key, look, others, redis, verbs } = yield* busy
        yield* redis.send("SET", key(name), "something else")
        const before = yield* look
        for (const [verb, run] of Object.entries({ ...verbs, ...others }))
          assert.include(yield* detailOf(run), "WRONGTYPE", `${verb} with ${name}`)
        assert.deepStrictEqual(yield* look, before, name)
      }
    })
  )

  live(
    "nothing where the books take no more entries",
    Effect.gen(function* () {
      const { key, look, redis, verbs } = yield* busy
      yield* redis.send("XADD", key("entries"), "1000000-0", "e", "{}")
      const before = yield* look
      for (const [verb, run] of Object.entries(verbs)) {
        if (verb === "forbid") continue
        assert.include(yield* detailOf(run), "ERR", verb)
        const after = yield* look
        for (const [index, name] of keyNames.entries()) {
          // An account's number was given out, and not used.
          if (name !== "meta") assert.strictEqual(after[index], before[index], `${verb}: ${name}`)
        }
      }
      assert.strictEqual(yield* redis.send("HGET", key("meta"), "seq"), "5")
    })
  )
})

/** All that a ledger keeps, but for its own name and the numbers of places, of which only the order counts. */
const kept = Effect.fnUntraced(function* ({ key, redis }: Pick<Server.Ledger, "key" | "redis">) {
  const hash = Effect.fnUntraced(function* (name: "meta" | "accounts" | "reservations" | "waiting") {
    const fields = yield* redis.send<ReadonlyArray<string>>("HKEYS", key(name))
    const values = yield* redis.send<ReadonlyArray<string>>("HVALS", key(name))
    return fields.map((field, index) => [field, values[index] ?? ""] as const).sort()
  })
  const sorted = (name: "leases" | "places" | "lapsed") =>
    redis.send("ZRANGE", key(name), "0", "-1", "WITHSCORES")
  const lines = yield* redis.send<ReadonlyArray<string>>("ZRANGE", key("lines"), "0", "-1")
  const waiting = (yield* hash("waiting")).map(([id, place]) => [id, ...place.split(" ")])
  return {
    meta: (yield* hash("meta")).filter(([field]) => field !== "ticket" && field !== "books"),
    accounts: yield* hash("accounts"),
    reservations: yield* hash("reservations"),
    leases: yield* sorted("leases"),
    entries: yield* redis.send("XRANGE", key("entries"), "-", "+"),
    places: yield* sorted("places"),
    lines: lines.map((each) => each.replace(/^(\d+:)\d+/, "$1")),
    lapsed: yield* sorted("lapsed"),
    waiting: waiting
      .sort(([, one], [, other]) => Number(one) - Number(other))
      .map(([id, , ...rest]) => [id, ...rest])
  }
})

/** Random batches on two ledgers, whole on one and one by one on the other: they answer and keep the same. */
const together = Effect.fnUntraced(function* (seed: number, seen: Map<string, number>) {
  const random = randomOf(seed)
  const pick = <A>(all: readonly [A, ...ReadonlyArray<A>]): A => all[random(all.length)] ?? all[0]
  const ledgers = [yield* Server.ledger, yield* Server.ledger] as const
  const onBoth = (verb: (ledger: Server.Ledger) => Effect.Effect<unknown, unknown>) =>
    Effect.forEach(ledgers, verb, { discard: true })
  let now = 0
  yield* onBoth((ledger) => Server.setClock(ledger, now))
  yield* onBoth(({ store }) => store.open(account("root", 60)))
  yield* onBoth(({ store }) => store.open(account("root/a", 30, "root")))
  yield* onBoth(({ key, redis }) => redis.send("HSET", key("reservations"), "bad", "nobody wrote this"))
  const asked = new Map<string, ReserveAsk>()
  let made = 0
  const one = () => {
    const known = made > 0 && random(3) > 0 ? `r${Math.max(0, made - 1 - random(12))}` : `r${made++}`
    if (random(40) === 0) return { what: "fails", ask: ask("bad", 1) } as const
    if (random(4) === 0) return { what: "end", ask: ending(known, random(12)) } as const
    const own = { account: pick(["root", "root/a"]), least: pick([0, 5, 10, 20, 40]) }
    const before = asked.get(known) ?? ask(known, own.least, { account: own.account })
    // An ask that is in line may also be asked for without waiting, or as another one.
    const wanted = random(5) === 0 ? { ...before, ...own, most: own.least } : before
    const next = { ...wanted, place: pick([null, 50, 5_000, 5_000]) }
    asked.set(known, next)
    return { what: "reserve", ask: next } as const
  }
  for (let turn = 0; turn < 25; turn++) {
    const batch = Array.from({ length: 1 + random(16) }, one)
    const answers = ({ store }: Server.Ledger) =>
      batch.map((each) => {
        const answer: Effect.Effect<{ readonly _tag: string }, unknown> =
          each.what === "end" ? store.end(each.ask) : store.reserve(each.ask)
        return Effect.catch(answer, () => Effect.succeed({ _tag: "fails" }))
      })
    const before = new Set((yield* kept(ledgers[0])).waiting.map(([id]) => id))
    const whole = yield* Effect.all(answers(ledgers[0]), all)
    const apart = yield* Effect.all(answers(ledgers[1]))
    const trace = `seed ${seed}, turn ${turn}: ${JSON.stringify(batch)}`
    assert.deepStrictEqual(whole, apart, trace)
    const states = yield* Effect.forEach(ledgers, kept)
    assert.deepStrictEqual(states[0], states[1], trace)
    for (const [index, { _tag }] of whole.entries()) {
      const each = batch[index]
      if (each === undefined || each.what === "end") continue
      const how = !before.has(each.ask.id) ? "" : each.ask.place === null ? " left" : " in line"
      const kind = `${_tag}${how}`
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    if (random(4) === 0) yield* onBoth(({ store }) => store.pause("root/a", turn % 2 === 0))
    const limit = Usd.nanos(pick([60, 20, 100]))
    if (random(4) === 0) yield* onBoth(({ store }) => store.setLimit("root", limit))
    now += pick([0, 10, 60])
    yield* onBoth((ledger) => Server.setClock(ledger, now))
  }
})

describe.skipIf(!Server.isThere)("asks", () => {
  live(
    "that are made at the same time are one command, and one that fails fails alone",
    Effect.gen(function* () {
      const { key, prefix, redis } = yield* Server.somewhere
      let sent = 0
      const store = yield* storeThrough(prefix, (client) => ({
        ...client,
        send: (command, ...args) =>
          Effect.suspend(() => {
            sent++
            return client.send(command, ...args)
          })
      }))
      yield* store.open({ ...account("root", null), thresholds: [500_000] })
      yield* store.open(account("root/a", 1_000, "root"))
      // Each of the three scripts once, so that Redis knows them: of reservations, of ends, of both.
      yield* store.reserve(ask("warm", 1))
      yield* store.end(ending("nobody's", 1))
      yield* Effect.all([store.reserve(ask("warm", 1)), store.end(ending("nobody's", 1))], all)
      yield* redis.send("HSET", key("reservations"), "bad", "nobody wrote this")
      sent = 0
      const reserves = Array.from({ length: 64 }, (_, index) =>
        store.reserve(ask(`r${index}`, 20, { account: index % 2 === 0 ? "root/a" : "root" }))
      )
      const [bad, ...answers] = yield* Effect.all(
        [Effect.flip(store.reserve(ask("bad", 1))), ...reserves],
        all
      )
      // The one that fails spoils them all, before anything is written: then each is sent by itself.
      assert.strictEqual(sent, 1 + 65)
      assert.match(String("detail" in bad && bad.detail), /^Redis \(reserve\): .*user_script/)
      assert.isTrue(answers.every((each) => "_tag" in each && each._tag === "Granted"))
      const mixed = Array.from({ length: 60 }, (_, index) => [
        store.end(ending(`r${index}`, 25)),
        store.end(ending(`r${index}`, 25)),
        store.end(ending(`r${index}`, 24)),
        store.reserve(ask(`r${index}`, 20, { account: index % 2 === 0 ? "root/a" : "root" })),
        store.reserve(ask(`n${index}`, 30, { account: "root/a" })),
        store.reserve(ask(`n${index}`, 30, { account: "root/a" }))
      ])
      sent = 0
      const told = yield* Effect.all(mixed.flat(), all)
      // At most 128 go together.
      assert.strictEqual(sent, 3)
      const [first, again, other, taken, granted, same] = told
      includes(first, { _tag: "Ended", again: false })
      assert.deepStrictEqual<unknown>(again, { ...first, again: true })
      assert.deepStrictEqual([other?._tag, taken?._tag], ["Differs", "Taken"])
      assert.strictEqual(granted?._tag, "Granted")
      assert.deepStrictEqual(same, granted)
      const { rows } = yield* store.balances(null)
      const held = told.filter(({ _tag }, index) => index % 6 === 4 && _tag === "Granted").length
      assert.deepStrictEqual(
        rows.map(({ reserved, spent }) => [Number(spent), Number(reserved)]),
        [
          [60 * 25, 1 + 4 * 20 + held * 30],
          [30 * 25, 2 * 20 + held * 30]
        ]
      )
      let [room, fitting] = [1_000 - 32 * 20, 0]
      for (let index = 0; index < 60; index++) {
        // Each end costs five more than was held.
        if (index % 2 === 0) room -= 5
        if (room < 30) continue
        room -= 30
        fitting++
      }
      assert.strictEqual(held, fitting)
      yield* redis.send("HDEL", key("reservations"), "bad")
      assert.deepStrictEqual(yield* audit(store), [])
    })
  )

  live(
    "that change thousands of accounts at once are written whole",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      const depths = Array.from({ length: 64 }, (_, depth) => depth)
      for (const depth of depths)
        yield* store.open(account(`0-${depth}-`, 1_000, depth === 0 ? null : `0-${depth - 1}-`))
      const names = depths.map((depth) => `0-${depth}-`)
      const rows = yield* redis.send<ReadonlyArray<string>>("HMGET", key("accounts"), ...names)
      const chains = Array.from({ length: 80 }, (_, chain) => chain)
      // Rows are copied, or the test would be long at opening them.
      for (const chain of chains) {
        const copied = names.flatMap((name, depth) => [name, rows[depth] ?? ""])
        const renamed = copied.map((each) => each.replaceAll(/(^|\t)0-/g, `$1${chain}-`))
        yield* redis.send("HSET", key("accounts"), ...renamed)
      }
      yield* Effect.forEach(
        chains,
        (chain) => tagOf(store.reserve(ask(`r${chain}`, 600, { account: `${chain}-63-` }))),
        all
      )
      const { rows: held } = yield* store.balances(null)
      assert.isAbove(held.length, 5_000)
      assert.deepStrictEqual([...new Set(held.map(({ reserved }) => Number(reserved)))], [600])
      yield* Effect.forEach(chains, (chain) => store.end(ending(`r${chain}`, 500)), all)
      const { rows: spent } = yield* store.balances(null)
      assert.deepStrictEqual([...new Set(spent.map((each) => `${each.spent} ${each.reserved}`))], ["500 0"])
      const entries = yield* store.entries(everything)
      assert.strictEqual(entries.length, names.length + 2 * chains.length)
      assert.strictEqual(yield* redis.send("ZCARD", key("leases")), 0)
    })
  )

  live(
    "one of which meets a row that nobody here wrote answer the others, and say nothing of a connection",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      yield* store.open(account("root", 1_000))
      yield* store.reserve(ask("bad", 10))
      const row = String(yield* redis.send("HGET", key("reservations"), "bad"))
      const parts = /^(held \S+) (\S+) (\S+)(.*)$/s.exec(row) ?? []
      const rows = {
        amount: `${parts[1]} x ${parts[3]}${parts[4]}`,
        moment: `${parts[1]} ${parts[2]} x${parts[4]}`,
        lines: `${parts[1]} ${parts[2]} 1\v2${parts[4]}`,
        more: row.replace('"root"', '"ro\not"')
      }
      for (const [what, broken] of Object.entries(rows)) {
        yield* redis.send("HSET", key("reservations"), "bad", broken)
        const [before, bad, after] = yield* Effect.all(
          [
            tagOf(store.reserve(ask(`before ${what}`, 10))),
            detailOf(store.reserve(ask("bad", 10))),
            tagOf(store.reserve(ask(`after ${what}`, 10)))
          ],
          all
        )
        assert.deepStrictEqual([before, after], ["Granted", "Granted"], what)
        assert.notInclude(bad, "connection", what)
      }
      yield* redis.send("HSET", key("reservations"), "bad", row)
      assert.deepStrictEqual(yield* audit(store), [])
    })
  )

  live(
    "that fail together are all told, also where one who asked throws when it is told",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      yield* redis.send("SET", key("reservations"), "something else")
      const thrown = yield* uncaught
      const told: Array<string> = []
      for (const id of ["one", "two", "three"]) {
        Effect.runFork(store.end(ending(id, 1))).addObserver((exit) => {
          told.push(`${id} ${exit._tag}`)
          if (id !== "three") throw new Error(`the asker of ${id}`)
        })
      }
      yield* store.balances(null)
      yield* store.balances(null)
      assert.deepStrictEqual(told, ["one Failure", "two Failure", "three Failure"])
      assert.deepStrictEqual(thrown.map(String), ["Error: the asker of one", "Error: the asker of two"])
    })
  )

  live(
    "whose neighbour fails keep their turn in line",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      yield* store.open(account("root", 10))
      yield* store.reserve(ask("held", 10))
      for (const id of ["first", "second"]) yield* store.reserve(ask(id, 10, { place: 60_000 }))
      yield* store.end(ending("held", 0))
      yield* redis.send("HSET", key("reservations"), "bad", "nobody wrote this")
      const told = yield* Effect.all(
        [
          tagOf(store.reserve(ask("first", 10, { place: 60_000 }))),
          Effect.as(Effect.flip(store.reserve(ask("bad", 10))), "fails"),
          tagOf(store.reserve(ask("second", 10, { place: 60_000 })))
        ],
        all
      )
      assert.deepStrictEqual(told, ["Granted", "fails", "Short"])
    })
  )

  live(
    "do together what they do one by one, in line too, also where one of them fails",
    Effect.gen(function* () {
      const seen = new Map<string, number>()
      for (let seed = 1; seed <= 12; seed++) yield* Effect.scoped(together(seed, seen))
      const kinds = ["Granted in line", "Short in line", "Short left", "Paused in line", "fails"]
      for (const kind of kinds) assert.isAbove(seen.get(kind) ?? 0, 5, kind)
    })
  )

  live(
    "that were left before they were sent are not made",
    Effect.gen(function* () {
      const { store } = yield* Server.ledger
      yield* store.open(account("root", 100))
      const asked = Effect.forkChild(store.reserve(ask("left", 5)), { startImmediately: true })
      yield* Effect.flatMap(asked, (fiber) => Fiber.interrupt(fiber))
      assert.strictEqual((yield* store.reserve(ask("left", 7, { fingerprint: "g" })))._tag, "Granted")
    })
  )
})

describe.skipIf(!Server.isThere)("an answer", () => {
  /** A store on a connection that answers each script with what `swap` makes of its answer and the one before. */
  const swapped = Effect.fnUntraced(function* (swap: (own: unknown, before: unknown) => unknown) {
    const { prefix, redis } = yield* Server.somewhere
    let [before, renewed, isOn]: [unknown, number, boolean] = [undefined, 0, false]
    const lossy: Server.Client = {
      ...redis,
      send: <A>(command: string, ...args: ReadonlyArray<string>) =>
        Effect.map(redis.send<A>(command, ...args), (own) => {
          const told = isOn ? swap(own, before) : own
          before = own
          // The type of the answer is the caller's word.
          return told as A
        })
    }
    const renew = Effect.sync(() => void (renewed += 1))
    const made = RedisStore.make({ prefix, timeout: "20 seconds", renew })
    const store = yield* Effect.provideService(made, Redis.Redis, lossy)
    yield* store.open(account("root", 100))
    yield* store.reserve(ask("one", 5))
    isOn = true
    return { store, renewed: () => renewed }
  })
  const untrusted = "it answered something else, so that nothing on this connection can be trusted."

  live(
    "of something else is never taken for one's own, and ends the connection",
    Effect.gen(function* () {
      const { renewed, store } = yield* swapped((_own, before) => before)
      const verbs: ReadonlyArray<readonly [string, Effect.Effect<unknown, { readonly detail: string }>]> = [
        ["reserve", store.reserve(ask("two", 5))],
        ["reserve", store.reserve(ask("three", 5))],
        ["end", store.end(ending("two", 5))],
        ["end", store.end(ending("three", 5))],
        ["balances", store.balances(null)],
        ["balances", store.balances("root")]
      ]
      for (const [verb, run] of verbs)
        assert.strictEqual(yield* detailOf(run), `Redis (${verb}): ${untrusted}`)
      assert.strictEqual(renewed(), verbs.length)
    })
  )

  live(
    "that names another reservation is not trusted either",
    Effect.gen(function* () {
      const { renewed, store } = yield* swapped((own) => String(own).replaceAll(/"(two|three)"/g, '"one"'))
      assert.strictEqual(yield* detailOf(store.reserve(ask("two", 5))), `Redis (reserve): ${untrusted}`)
      assert.strictEqual(yield* detailOf(store.end(ending("two", 5))), `Redis (end): ${untrusted}`)
      assert.strictEqual(renewed(), 2)
    })
  )
})

describe.skipIf(!Server.isThere)("many at once", () => {
  const actors = 6

  live(
    "never admit beyond a limit, whoever asks, and leave books that add up",
    Effect.gen(function* () {
      const { prefix, store } = yield* Server.ledger
      const names = ["root", "root/a", "root/b", "root/a/x"]
      yield* store.open({ ...account("root", 1_000), thresholds: [500_000, 900_000] })
      yield* store.open(account("root/a", 600, "root"))
      yield* store.open(account("root/b", null, "root"))
      yield* store.open(account("root/a/x", 300, "root/a"))
      const act = Effect.fnUntraced(function* (actor: number) {
        const random = randomOf(actor + 1)
        const own = yield* Server.join(prefix)
        const held: Array<string> = []
        for (let index = 0; index < 120; index++) {
          const kind = random(10)
          const id = `${actor} ${index}`
          if (kind < 5) {
            const name = names[random(4)] ?? "root"
            const lease = random(6) === 0 ? -1 : 60_000
            const place = random(2) === 0 ? null : 50
            const answer = yield* own.reserve(
              ask(id, random(200), { account: name, most: 200, share: 0.5, lease, place })
            )
            if (answer._tag === "Granted") held.push(id)
          } else if (kind < 8) {
            const mine = held.pop() ?? "nobody's"
            yield* own.end(ending(mine, random(20)))
          } else if (kind === 8) yield* own.expire(3)
          else yield* own.cancel(held.pop() ?? `${id} none`)
          if (index % 40 === 39) yield* own.setLimit("root", Usd.nanos(1_000 + random(2_000)))
        }
      })
      yield* Effect.forEach(Array.from({ length: actors }), (_, actor) => act(actor), all)
      assert.deepStrictEqual(yield* audit(store), [])
      const entries = yield* store.entries(everything)
      assert.deepStrictEqual(
        entries.map(({ seq }) => seq),
        entries.map((_, index) => index + 1)
      )
      assert.isAbove(entries.filter(({ _tag }) => _tag === "Reserved").length, 20)
    })
  )
})

describe.skipIf(!Server.isThere)("a server", () => {
  live(
    "that forgets its scripts is sent them again, also while many ask",
    Effect.gen(function* () {
      const { redis, store } = yield* Server.ledger
      yield* store.open(account("root", 1_000_000))
      const forgetting = Effect.forever(
        Effect.andThen(redis.send("SCRIPT", "FLUSH", "SYNC"), Effect.sleep("1 millis"))
      )
      const calls = Array.from({ length: 200 }, (_, index) =>
        Effect.andThen(store.reserve(ask(`r${index}`, 3)), store.end(ending(`r${index}`, 2)))
      )
      yield* Effect.raceFirst(Effect.all(calls, { concurrency: 8 }), forgetting)
      includes((yield* store.balances("root")).rows[0], { spent: 400, reserved: 0 })
    })
  )

  live(
    "whose answers get lost charges nobody twice and keeps nothing held",
    Effect.gen(function* () {
      const { prefix, store } = yield* Server.ledger
      yield* store.open(account("root", 10_000))
      const line = yield* Server.line
      const far = yield* Server.join(prefix, line.url, "2 seconds")
      line.lose(4)
      let lost = 0
      const counted = <A>(verb: Effect.Effect<A, { readonly detail: string }>) =>
        insisting(Effect.tapError(verb, () => Effect.sync(() => (lost += 1))))
      const calls = Array.from({ length: 40 }, (_, index) =>
        Effect.gen(function* () {
          assert.strictEqual(yield* tagOf(counted(far.reserve(ask(`r${index}`, 9)))), "Granted")
          assert.strictEqual(yield* tagOf(counted(far.end(ending(`r${index}`, 5)))), "Ended")
        })
      )
      yield* Effect.all(calls, { concurrency: 4 })
      assert.isAbove(lost, 5)
      includes((yield* store.balances("root")).rows[0], { spent: 200, reserved: 0 })
      assert.deepStrictEqual(yield* audit(store), [])
    })
  )

  live(
    "that does not answer is unavailable in time, and there again when it does",
    Effect.gen(function* () {
      const { prefix, store } = yield* Server.ledger
      yield* store.open(account("root", 10))
      const line = yield* Server.line
      const far = yield* Server.join(prefix, line.url, "200 millis")
      line.stick()
      assert.strictEqual(
        yield* detailOf(far.reserve(ask("one", 5))),
        "Redis (reserve): no answer within 200 ms."
      )
      line.cut()
      yield* insisting(far.cancel("one"))
      assert.deepStrictEqual(yield* far.reserve(ask("one", 5)), { _tag: "Taken", how: "cancelled" })
      assert.deepStrictEqual(yield* audit(store), [])
    })
  )

  live(
    "tells other processes of what changed while somebody stands in line, also after the connection broke",
    Effect.gen(function* () {
      const { prefix, store } = yield* Server.ledger
      yield* store.open(account("root", 10))
      const line = yield* Server.line
      const far = yield* Server.join(prefix, line.url)
      const told = yield* Queue.unbounded<number>()
      yield* Effect.forkScoped(Stream.runForEach(far.changes ?? Stream.empty, () => Queue.offer(told, 1)))
      // The first word says that it listens.
      yield* Queue.take(told)
      yield* store.reserve(ask("held", 10))
      yield* store.pause("root", true)
      yield* store.pause("root", false)
      assert.strictEqual(yield* Queue.size(told), 0)
      yield* store.reserve(ask("waits", 1, { place: 60_000 }))
      yield* store.end(ending("held", 1))
      yield* Queue.take(told)
      line.cut()
      const toggled = Effect.andThen(store.pause("root", true), store.pause("root", false))
      yield* Effect.raceFirst(
        Queue.take(told),
        Effect.forever(Effect.andThen(toggled, Effect.sleep("50 millis")))
      )
    })
  )

  live(
    "is refused where its user may not do all that the ledger does, before anything was written",
    Effect.gen(function* () {
      const { key, prefix, redis } = yield* Server.somewhere
      const user = `user-${prefix}`
      yield* Effect.acquireRelease(
        redis.send("ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", "-xadd"),
        () => Effect.orDie(redis.send("ACL", "DELUSER", user))
      )
      const { host } = new URL(Server.url)
      const detail = yield* refusalOf(Server.join(prefix, `redis://${user}:secret@${host}`))
      assert.match(String(detail), /NOPERM|ACL failure|The user executing/)
      assert.notInclude(String(detail), "secret")
      assert.strictEqual(yield* redis.send("EXISTS", key("meta")), 0)
    })
  )

  live(
    "whose books are gone opens no new ones in their place, and one that is opened anew does",
    Effect.gen(function* () {
      const { key, prefix, redis, store } = yield* Server.ledger
      const root = account("root", 100)
      yield* store.open(root)
      yield* redis.send("DEL", ...keyNames.map(key))
      const gone =
        "Redis (open): GONE: the books are gone: it was emptied, or restarted without them. Open the ledger anew to " +
        "begin new ones."
      assert.strictEqual(yield* refusalOf(store.open(root)), gone)
      assert.strictEqual(yield* redis.send("EXISTS", key("accounts")), 0)
      const anew = yield* Server.join(prefix)
      assert.strictEqual((yield* anew.open(root))._tag, "Opened")
      // Nor does it join those of somebody else.
      assert.strictEqual(yield* refusalOf(store.open(root)), gone)
      assert.strictEqual((yield* (yield* Server.join(prefix)).open(root))._tag, "Opened")
    })
  )

  live(
    "with books of another layout is refused",
    Effect.gen(function* () {
      const { key, prefix, redis } = yield* Server.somewhere
      yield* redis.send("HSET", key("meta"), "format", "2")
      assert.strictEqual(
        yield* refusalOf(Server.join(prefix)),
        `Redis: the ledger under {${prefix}}: is of layout 2, and this version reads 1.`
      )
    })
  )

  live(
    "whose Lua writes numbers with 32 bits is refused",
    Effect.gen(function* () {
      const narrow = Redis.make({
        send: <A>() => Effect.succeed("32" as A),
        subscribe: () => Effect.never,
        connect: Effect.never
      })
      const made = RedisStore.make({ prefix: "any", timeout: "1 second" })
      assert.strictEqual(
        yield* refusalOf(Effect.provideServiceEffect(made, Redis.Redis, narrow)),
        "Redis: its Lua writes numbers with 32 bits. Use a build for 64 bits."
      )
    })
  )

  live(
    "whose keys hold something else is unavailable, and says so",
    Effect.gen(function* () {
      const { key, redis, store } = yield* Server.ledger
      yield* redis.send("SET", key("accounts"), "something else")
      assert.strictEqual(
        yield* detailOf(store.balances(null)),
        "Redis (balances): WRONGTYPE: a key of the ledger holds what the ledger did not write. Choose another prefix."
      )
    })
  )
})

describe.skipIf(!Server.isThere)("the entries", () => {
  live(
    "are read in pages that no script is long at, by account and by time",
    Effect.gen(function* () {
      const ledger = yield* Server.ledger
      const { store } = ledger
      yield* store.open(account("root", 10))
      yield* store.open(account("root/a", null, "root"))
      for (let index = 0; index < 1_100; index++) {
        if (index % 500 === 0) yield* Server.setClock(ledger, index)
        yield* store.pause("root", index % 2 === 0)
        if (index % 400 === 0) yield* store.pause("root/a", index % 800 === 0)
      }
      const whole = yield* store.entries(everything)
      assert.strictEqual(whole.length, 1_105)
      const below = whole.filter(({ chain }) => chain[0]?.account === "root/a")
      assert.deepStrictEqual(yield* store.entries({ ...everything, account: "root/a" }), below)
      assert.deepStrictEqual(
        yield* store.entries({ ...everything, account: "root/a", size: 2 }),
        below.slice(0, 2)
      )
      const from = Server.future + 500
      const late = whole.filter(({ at }) => at >= from)
      assert.deepStrictEqual(yield* store.entries({ ...everything, from }), late)
      assert.deepStrictEqual(
        yield* store.entries({ ...everything, from, to: from + 1, account: "root/a" }),
        below.filter(({ at }) => at >= from && at < from + 1)
      )
      assert.isAbove(late.length, 500)
    })
  )
})
