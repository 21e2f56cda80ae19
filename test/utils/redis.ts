/** A prefix of its own in the Redis that tests may use, emptied when the test ends; or a reason to skip. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Context, type Duration, Effect, Layer } from "effect"
import * as Redis from "effect/persistence/Redis"
import { randomBytes } from "node:crypto"
import type { LedgerStore } from "../../src/internal/ledgerStore.ts"
import { keyNames } from "../../src/internal/redisRows.ts"
import * as RedisStore from "../../src/internal/redisStore.ts"
import { wire } from "./wire.ts"

export type Client = Redis.Redis["Service"]

export const url = process.env["AGENT_BUDGET_TEST_REDIS"] ?? "redis://127.0.0.1:6379"

/** A connection of its own, as another process has it. */
export const clientOf = (at: string) =>
  Effect.map(
    Layer.build(Layer.fresh(NodeRedis.layer({ url: at, socket: { connectTimeout: 2_000 } }))),
    (built) => Context.get(built, Redis.Redis)
  )

export const client = clientOf(url)

/** Whether the server is there. Without it tests are skipped, but in CI they fail. */
export const isThere: boolean = await Effect.runPromise(
  Effect.scoped(Effect.flatMap(client, (redis) => redis.send("PING"))).pipe(
    Effect.as(true),
    Effect.catchTag("RedisError", () => Effect.succeed(false))
  )
)

if (!isThere && process.env["CI"] === "true")
  throw new Error("Redis is not there. Start it, or set AGENT_BUDGET_TEST_REDIS.")
if (!isThere)
  console.warn("Skipped: Redis is not there. Start it, or set AGENT_BUDGET_TEST_REDIS to its URL.")

/** A prefix that nobody else has, and a connection to look behind the store. */
export const somewhere = Effect.gen(function* () {
  const redis = yield* client
  const prefix = `agent-budget-test-${randomBytes(6).toString("hex")}`
  const key = (name: (typeof keyNames)[number]): string => `{${prefix}}:${name}`
  yield* Effect.addFinalizer(() => Effect.orDie(redis.send("DEL", ...keyNames.map(key))))
  return { redis, prefix, key }
})

/** The store of a ledger, as another process has it. */
export const join = (prefix: string, at = url, timeout: Duration.Input = "20 seconds") =>
  Effect.flatMap(clientOf(at), (redis) =>
    Effect.provideService(RedisStore.make({ prefix, timeout }), Redis.Redis, redis)
  )

export interface Ledger {
  readonly redis: Client
  readonly prefix: string
  readonly key: (name: (typeof keyNames)[number]) => string
  readonly store: LedgerStore
}

/** An empty ledger. */
export const ledger = Effect.gen(function* () {
  const place = yield* somewhere
  const store = yield* Effect.provideService(
    RedisStore.make({ prefix: place.prefix, timeout: "20 seconds" }),
    Redis.Redis,
    place.redis
  )
  const made: Ledger = { ...place, store }
  return made
})

/** From here on the server's clock is behind the newest time seen, so that time is what a test says it is. */
export const future = 4_000_000_000_000

export const setClock = ({ key, redis }: Pick<Ledger, "key" | "redis">, at: number) =>
  Effect.asVoid(redis.send("HSET", key("meta"), "clock", String(future + at)))

/** A way to the server that loses what it is told to lose. */
export const line = Effect.gen(function* () {
  const { hostname, port } = new URL(url)
  // Each script answers JSON; what makes a connection does not.
  const ends = (sent: Buffer): ReadonlyArray<number> =>
    Array.from(
      sent.toString("latin1").matchAll(/\$\d+\r\n(?:[{[]|null )[^\r]*\r\n/g),
      (found) => found.index + found[0].length
    )
  const between = yield* wire({ host: hostname, port: Number(port) || 6379, asks: () => true, ends })
  return { ...between, url: `redis://127.0.0.1:${between.port}` }
})
