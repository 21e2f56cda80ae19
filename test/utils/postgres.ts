/** A schema of its own in the PostgreSQL that tests may use, gone when the test ends; or a reason to skip. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { type Duration, Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as SqlClient from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import type { LedgerStore } from "../../src/internal/ledgerStore.ts"
import * as Migrations from "../../src/internal/postgresMigrations.ts"
import * as PostgresStore from "../../src/internal/postgresStore.ts"
import { type Names, namesOf } from "../../src/internal/postgresTables.ts"
import { wire } from "./wire.ts"

export const url = process.env["AGENT_BUDGET_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test"

export const clientOf = (at: string, more: Partial<PgClient.PgPoolConfig> = {}) =>
  Effect.provide(PgClient.make({ url: Redacted.make(at), ...more }), Reactivity.layer)

export const client = (more: Partial<PgClient.PgPoolConfig> = {}) => clientOf(url, more)

/** Whether the server is there. Without it tests are skipped, but in CI they fail. */
export const isThere: boolean = await Effect.runPromise(
  Effect.scoped(
    Effect.flatMap(client({ connectTimeout: "2 seconds" }), (sql) => sql.unsafe("SELECT 1"))
  ).pipe(
    Effect.as(true),
    Effect.catchTag("SqlError", () => Effect.succeed(false))
  )
)

if (!isThere && process.env["CI"] === "true")
  throw new Error("PostgreSQL is not there. Start it, or set AGENT_BUDGET_TEST_POSTGRES.")
if (!isThere)
  console.warn("Skipped: PostgreSQL is not there. Start it, or set AGENT_BUDGET_TEST_POSTGRES to its URL.")

export const checked = (names: Names | string): Names => {
  if (typeof names === "string") throw new Error(names)
  return names
}

/** Names of a schema that nobody else has. */
export const somewhere = Effect.gen(function* () {
  const sql = yield* client({ maxConnections: 1 })
  const names = checked(namesOf(`agent_budget_test_${randomBytes(6).toString("hex")}`, ""))
  // The pool connects here and not in the finalizer, where it no longer can.
  yield* sql.unsafe("SELECT 1")
  yield* Effect.addFinalizer(() =>
    Effect.orDie(sql.unsafe(`DROP SCHEMA IF EXISTS "${names.schema}" CASCADE`).unprepared)
  )
  return { names, sql }
})

export interface Ledger {
  readonly names: Names
  readonly sql: PgClient.PgClient
  readonly store: LedgerStore
}

export const storeOf = (sql: PgClient.PgClient, names: Names, timeout: Duration.Input = "20 seconds") =>
  PostgresStore.make(sql, { names, timeout, poll: "1 second" })

/** Another client of the same ledger, as another process has it. */
export const join = (
  names: Names,
  more: Partial<PgClient.PgPoolConfig> = {},
  timeout: Duration.Input = "20 seconds",
  at = url
) =>
  Effect.map(clientOf(at, more), (sql): Ledger => ({
    names,
    sql,
    store: storeOf(sql, names, timeout)
  }))

/** An empty ledger in a schema of its own. */
export const ledger = (more: Partial<PgClient.PgPoolConfig> = {}) =>
  Effect.gen(function* () {
    const { names, sql } = yield* somewhere
    yield* Effect.provideService(Migrations.run(names), SqlClient.SqlClient, sql)
    return yield* join(names, more)
  })

/** A way to the server that loses what it is told to lose. */
export const line = Effect.gen(function* () {
  const far = new URL(url)
  // A connection begins with a message without a type, and perhaps a password.
  const asks = (request: Buffer): boolean => request[0] !== 0 && request[0] !== "p".charCodeAt(0)
  // One statement at a time is on its way.
  const ends = (sent: Buffer): ReadonlyArray<number> => [sent.length]
  const between = yield* wire({ host: far.hostname, port: Number(far.port) || 5432, asks, ends })
  far.hostname = "127.0.0.1"
  far.port = String(between.port)
  return { ...between, url: far.href }
})
