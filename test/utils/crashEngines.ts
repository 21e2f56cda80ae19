/** The engines of the crash test as its parent has them: an empty ledger, and a way to look past it at the store. */
import { Clock, Context, type Duration, Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Ledger } from "agent-budget"
import * as PostgresLedger from "agent-budget/PostgresLedger"
import * as RedisLedger from "agent-budget/RedisLedger"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import type { Place } from "./crashWire.ts"
import * as Postgres from "./postgres.ts"
import * as Redis from "./redis.ts"

/** An account as it is in the store. */
export interface Numbers {
  readonly account: string
  readonly limit: number | null
  readonly spent: number
  readonly reserved: number
}

export interface Engine {
  readonly place: Place
  readonly ledger: Ledger.Ledger["Service"]
  /** Every account, each at one moment, without the ledger. */
  readonly look: Effect.Effect<ReadonlyArray<Numbers>>
  /** What the store finds wrong with itself. */
  readonly damage: Effect.Effect<ReadonlyArray<string>>
}

type Make = (lease: Duration.Input, folder: string) => Effect.Effect<Engine, unknown, Scope.Scope>

const nothing = Effect.succeed([])

const built = <E>(layer: Layer.Layer<Ledger.Ledger, E>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, Ledger.Ledger))

/** How far clocks of processes are off, at most, in milliseconds. */
export const mostSkew = 300_000

/**
 * The time of a file is the newest that any of its processes knew. Where their clocks differ, the foremost is that of
 * the parent: so time goes on whichever processes live.
 */
const foremost = Effect.map(Clock.Clock, (clock): Clock.Clock => {
  const ahead: Pick<Clock.Clock, "currentTimeMillisUnsafe"> = {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + mostSkew
  }
  return Object.setPrototypeOf(ahead, clock) as Clock.Clock
})

const sqlite: Make = Effect.fnUntraced(function* (lease, folder) {
  const filename = path.join(folder, "budget.db")
  const ledger = yield* Effect.provideServiceEffect(
    SqliteLedger.make({ filename, lease, waitForOthers: "20 seconds" }),
    Clock.Clock,
    foremost
  )
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(filename, { readOnly: true })),
    (open) => Effect.sync(() => open.close())
  )
  database.exec("PRAGMA busy_timeout = 1000")
  const accounts = database.prepare('SELECT name AS account, cap AS "limit", spent, reserved FROM accounts')
  const integrity = database.prepare("PRAGMA integrity_check")
  return {
    place: { engine: "sqlite", filename },
    ledger,
    look: Effect.sync(() => accounts.all() as unknown as ReadonlyArray<Numbers>),
    damage: Effect.sync(() =>
      integrity.all().flatMap(({ integrity_check: said }) => (said === "ok" ? [] : [String(said)]))
    )
  }
})

const postgres: Make = Effect.fnUntraced(function* (lease) {
  const { names, sql } = yield* Postgres.somewhere
  const url = Redacted.make(Postgres.url)
  const at = { url, schema: names.schema, timeout: "20 seconds" } as const
  const migrated = Layer.provide(PostgresLedger.layerMigrations(at), Layer.succeed(SqlClient, sql))
  yield* Layer.build(migrated)
  const ledger = yield* built(PostgresLedger.layerUrl({ ...at, lease, maxConnections: 2 }))
  const accounts = sql.unsafe<Numbers>(
    `SELECT name AS account, limit_nanos::float8 AS limit, spent::float8, reserved::float8 FROM ${names.of("accounts")}`
  )
  return {
    place: { engine: "postgres", url: Postgres.url, schema: names.schema },
    ledger,
    look: Effect.orDie(accounts),
    damage: nothing
  }
})

const redis: Make = Effect.fnUntraced(function* (lease) {
  const { key, prefix, redis } = yield* Redis.somewhere
  const ledger = yield* built(
    RedisLedger.layerUrl({ url: Redacted.make(Redis.url), prefix, lease, timeout: "20 seconds" })
  )
  const look = Effect.map(
    Effect.orDie(redis.send<Readonly<Record<string, string>>>("HGETALL", key("accounts"))),
    (rows) =>
      Object.entries(rows).map(([account, row]): Numbers => {
        const [spent, reserved, , , limit] = row.split(" ")
        return {
          account,
          spent: Number(spent),
          reserved: Number(reserved),
          limit: limit === "-" ? null : Number(limit)
        }
      })
  )
  return { place: { engine: "redis", url: Redis.url, prefix }, ledger, look, damage: nothing }
})

export type Name = Place["engine"]

export const engines: Readonly<Record<Name, { readonly make: Make; readonly isThere: boolean }>> = {
  sqlite: { make: sqlite, isThere: true },
  postgres: { make: postgres, isThere: Postgres.isThere },
  redis: { make: redis, isThere: Redis.isThere }
}
