import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted, References, Schedule } from "effect"
import * as Redis from "effect/persistence/Redis"
import { inspect } from "node:util"
import { Ledger, Usd } from "agent-budget"
import * as RedisLedger from "agent-budget/RedisLedger"
import { concerns, unavailable } from "../src/internal/redisFailure.ts"
import * as RedisStore from "../src/internal/redisStore.ts"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { ledgerSuite } from "./LedgerTest.ts"
import * as Server from "./utils/redis.ts"
import { badTimes } from "./utils/badTimes.ts"
import { spend } from "./utils/spend.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "Error")

if (Server.isThere)
  ledgerSuite("a ledger in Redis", {
    fixture: Effect.gen(function* () {
      const { key, prefix, redis } = yield* Server.somewhere
      // The server's clock cannot be moved. It counts as standing still at the newest time seen, which can.
      yield* redis.send("HSET", key("meta"), "clock", String(Server.future))
      return {
        connect: ({
          serial,
          ...options
        }: StoredLedger.StoredOptions & { readonly serial?: boolean | undefined } = {}) =>
          Effect.gen(function* () {
            const store = yield* Effect.provideServiceEffect(
              quiet(RedisStore.make({ prefix, timeout: serial === true ? "1 minute" : "5 seconds" })),
              Redis.Redis,
              Server.client
            )
            return yield* StoredLedger.make(store, { ...options, poll: "200 millis" })
          }).pipe(Effect.orDie),
        advance: (millis: number) =>
          Effect.orDie(Effect.asVoid(redis.send("HINCRBY", key("meta"), "clock", String(Math.ceil(millis)))))
      }
    }).pipe(Effect.orDie),
    live: true,
    shared: true
  })

const refusal = (layer: Layer.Layer<Ledger.Ledger, unknown>) =>
  Effect.map(Effect.flip(Effect.scoped(Layer.build(layer))), String)

describe.skipIf(!Server.isThere)("RedisLedger", () => {
  it.live("goes on where the last process stopped, also beside another ledger", () =>
    Effect.gen(function* () {
      const places = [yield* Server.somewhere, yield* Server.somewhere]
      const spent = yield* Effect.forEach([0, 1, 0], (index) =>
        Effect.provide(
          spend,
          RedisLedger.layerUrl({ url: Redacted.make(Server.url), prefix: places[index]?.prefix })
        )
      )
      assert.deepStrictEqual(spent, ["$0.20", "$0.20", "$0.40"])
    }).pipe(Effect.scoped, quiet)
  )

  it.live("says what the server answers to a wrong password, and not the password", () =>
    Effect.gen(function* () {
      const { host } = new URL(Server.url)
      const url = Redacted.make(`redis://nobody:hunter2@${host}`)
      const told = yield* refusal(RedisLedger.layerUrl({ url }))
      assert.include(told, "Redis (connect): WRONGPASS: it refuses the user or the password.")
      assert.notInclude(told, "hunter2")
    }).pipe(quiet)
  )

  it.live("gives up a connection that is stuck, goes on with a new one, and closes in time", () =>
    Effect.gen(function* () {
      const { prefix } = yield* Server.somewhere
      const line = yield* Server.line
      const url = Redacted.make(line.url)
      const began = performance.now()
      const spent = yield* Effect.gen(function* () {
        yield* spend
        line.stick()
        const spent = yield* spend
        line.stick()
        return spent
      }).pipe(Effect.provide(RedisLedger.layerUrl({ url, prefix, timeout: "300 millis" })))
      assert.strictEqual(spent, "$0.40")
      assert.isBelow(performance.now() - began, 15_000)
    }).pipe(Effect.scoped, quiet)
  )

  it.live(
    "has one connection and one to listen however long the server is stuck, and none once it is closed",
    () =>
      Effect.gen(function* () {
        const { prefix } = yield* Server.somewhere
        const line = yield* Server.line
        const settled = (count: number) =>
          Effect.retry(
            Effect.suspend(() =>
              line.connections() === count ? Effect.void : Effect.fail(line.connections())
            ),
            { times: 300, schedule: Schedule.spaced("20 millis") }
          )
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.open({ account: "root", limit: Usd.dollars("2") })
          const asked = (id: string) => ledger.reserve({ account: "root", least: Usd.nanos(1), id })
          yield* settled(2)
          for (let round = 0; round < 3; round++) {
            line.hold()
            for (let index = 0; index < 6; index++) yield* Effect.flip(asked(`lost ${round} ${index}`))
            line.release()
            const ids = Array.from({ length: 40 }, (_, index) => `r${round} ${index}`)
            const insisting = (id: string) =>
              Effect.retry(asked(id), { times: 100, schedule: Schedule.spaced("20 millis") })
            const told = yield* Effect.forEach(ids, insisting, { concurrency: 8 })
            assert.deepStrictEqual(
              told.map(({ id }) => id),
              ids
            )
            yield* settled(2)
          }
        }).pipe(
          Effect.provide(
            RedisLedger.layerUrl({
              url: Redacted.make(line.url),
              prefix,
              timeout: "200 millis",
              lease: "10 minutes"
            })
          )
        )
        yield* settled(0)
      }).pipe(Effect.scoped, quiet),
    60_000
  )

  it.live("refuses a prefix that would not keep its keys together", () =>
    Effect.gen(function* () {
      for (const prefix of ["", "{a", "a}b"]) {
        const told = yield* refusal(RedisLedger.layerUrl({ url: Redacted.make(Server.url), prefix }))
        assert.include(told, `"${prefix}" cannot begin the keys of a ledger`)
      }
    }).pipe(quiet)
  )

  it.live("refuses times that cannot be", () =>
    Effect.gen(function* () {
      for (const options of badTimes("timeout")) {
        const refused = yield* Effect.flip(
          Effect.scoped(Effect.provideServiceEffect(RedisLedger.make(options), Redis.Redis, Server.client))
        )
        assert.include(String(refused), "is not between", JSON.stringify(options))
        const url = Redacted.make(Server.url)
        assert.include(yield* refusal(RedisLedger.layerUrl({ url, ...options })), "is not between")
      }
    }).pipe(quiet)
  )

  it.live("warns of a server that loses books, once, when it is made", () =>
    Effect.gen(function* () {
      const { prefix } = yield* Server.somewhere
      const told: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void told.push(`${logLevel} ${String(message)}`))
      const redis = yield* Server.client
      const careless: Server.Client = {
        ...redis,
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          command === "INFO"
            ? // The type of the answer is the caller's word.
              Effect.succeed("maxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n" as A)
            : redis.send<A>(command, ...args)
      }
      const made = Effect.provideService(
        RedisStore.make({ prefix, timeout: "5 seconds" }),
        Redis.Redis,
        careless
      )
      yield* Effect.provide(made, Logger.layer([logger]))
      assert.deepStrictEqual(
        told.filter((each) => each.startsWith("Warn")),
        [
          "Warn The ledger's Redis: maxmemory-policy is allkeys-lru: when its memory is full, Redis throws the books " +
            "away, and their money can be spent again. Set it to noeviction."
        ]
      )
    }).pipe(Effect.scoped)
  )
})

describe("a server's settings", () => {
  const seriousOf = (info: string, fsync?: string) =>
    concerns(info, fsync).map(({ serious, text }) => `${serious ? "!" : ""}${text.split(":")[0] ?? ""}`)

  it("that lose books are named, with what they lose", () => {
    assert.deepStrictEqual(seriousOf("maxmemory_policy:allkeys-lfu\r\n"), [
      "!maxmemory-policy is allkeys-lfu"
    ])
    assert.deepStrictEqual(seriousOf("aof_enabled:0\r\n", "always"), ["!appendonly is no"])
    assert.deepStrictEqual(seriousOf("aof_enabled:1\r\n", "no"), ["!appendfsync is no"])
    assert.deepStrictEqual(seriousOf("aof_enabled:1\r\n", "everysec"), ["appendfsync is everysec"])
    for (const version of ["5.0.14", "6.0.16"])
      assert.strictEqual(seriousOf(`redis_version:${version}\r\n`).length, 1)
  })

  it("that lose nothing, or are not told, are passed over", () => {
    assert.deepStrictEqual(seriousOf("", undefined), [])
    for (const version of ["6.2.0", "7.0.15", "8.2.1", "10.0.0"]) {
      const info = `redis_version:${version}\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n`
      assert.deepStrictEqual(seriousOf(info, "always"), [])
    }
    assert.deepStrictEqual(seriousOf("maxmemory_policy:volatile-lru\r\n"), [])
  })
})

describe("an address that is none", () => {
  it.effect("is refused as an option, without any of its text", () =>
    Effect.gen(function* () {
      for (const address of [
        "redis//bob:hunter2@127.0.0.1:6379",
        "redis://bob:hunter2@127.0.0.1:notaport",
        "redis://bob:hunter2@127.0.0.1:99999",
        "redis://bob:hunter2@127.0.0.1:1/books",
        "redis://bob:hunter2%@127.0.0.1:1",
        "http://bob:hunter2@127.0.0.1:1",
        "unix://bob:hunter2@books",
        "hunter2"
      ]) {
        const url = Redacted.make(address)
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(RedisLedger.layerUrl({ url }))))
        const refused = yield* Effect.flip(exit)
        assert.strictEqual(refused.reason._tag, "InvalidOptions", address)
        assert.include(refused.message, "Write redis://user:password@host:6379/0")
        for (const text of [refused.message, JSON.stringify(refused), inspect(exit, { depth: 20 })]) {
          assert.notInclude(text, "hunter2")
        }
      }
    })
  )

  it.live("is told from one that is; and no ledger gets a part of the address of the one before", () =>
    Effect.gen(function* () {
      for (const [address, code] of [
        ["redis://127.0.0.1:1", "ECONNREFUSED"],
        ["rediss://bob:hunter2%40@127.0.0.1:1/0", "ECONNREFUSED"],
        ["unix://bob:hunter2@/nowhere/redis.sock", "ENOENT"],
        ["redis://bob:hunter2@127.0.0.1:1/", "ECONNREFUSED"]
      ] as const) {
        const url = Redacted.make(address)
        const refused = yield* Effect.flip(Effect.scoped(Layer.build(RedisLedger.layerUrl({ url }))))
        assert.strictEqual(refused.reason._tag, "LedgerUnavailable", address)
        assert.include(refused.message, `(${code})`)
        assert.notInclude(refused.message, "hunter2")
      }
    }).pipe(quiet)
  )
})

describe("a failure", () => {
  it("is told without what the client sent", () => {
    const told = (message: string, more: object = {}) =>
      unavailable("reserve", Object.assign(new Error(message), more)).detail
    assert.strictEqual(
      told("ERR unknown command 'AUTH', with args beginning with: 'hunter2'"),
      "Redis (reserve): ERR: it reports an error."
    )
    assert.strictEqual(told("HUNTER2 is no word"), "Redis (reserve): the connection failed (Error).")
    assert.strictEqual(
      told("connect redis://me:hunter2@db", { code: "ECONNREFUSED" }),
      "Redis (reserve): the connection failed (ECONNREFUSED)."
    )
    assert.strictEqual(unavailable("reserve", "hunter2").detail, "Redis (reserve): the connection failed.")
    assert.include(told("OOM command not allowed when used memory > 'maxmemory'."), "OOM: its memory is full")
    assert.include(told("ERR user_script:7: attempt to index a nil value"), "user_script:7: attempt to index")
  })
})
