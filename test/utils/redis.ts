/** A prefix of its own in the Redis that tests may use, emptied when the test ends; or a reason to skip. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Context, type Duration, Effect, Layer } from "effect"
import * as Redis from "effect/persistence/Redis"
import { randomBytes } from "node:crypto"
import * as net from "node:net"
import type { LedgerStore } from "../../src/internal/ledgerStore.ts"
import { keyNames } from "../../src/internal/redisRows.ts"
import * as RedisStore from "../../src/internal/redisStore.ts"

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
  const sockets = new Set<net.Socket>()
  let stuck = new Set<net.Socket>()
  let losing = 0
  let answered = 0
  const server = net.createServer((near) => {
    const far = net.connect(Number(port) || 6379, hostname)
    const both = [near, far] as const
    for (const socket of both) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        sockets.delete(socket)
        for (const other of both) other.destroy()
      })
    }
    near.on("data", (chunk) => stuck.has(near) || far.write(chunk))
    far.on("data", (chunk) => {
      answered++
      if (losing > 0 && answered % losing === 0) near.destroy()
      else if (!stuck.has(far)) near.write(chunk)
    })
  })
  yield* Effect.promise(() => new Promise<void>((done) => server.listen(0, "127.0.0.1", done)))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
  )
  const address = server.address()
  const at = typeof address === "object" && address !== null ? address.port : 0
  return {
    url: `redis://127.0.0.1:${at}`,
    /** The connections that there are swallow everything from now on, without closing. */
    stick: () => {
      stuck = new Set(sockets)
    },
    /** Closes the connection instead of each `every`-th answer; the request has reached the server. 0: none. */
    lose: (every: number) => {
      losing = every
    },
    cut: () => {
      for (const socket of sockets) socket.destroy()
    }
  }
})
