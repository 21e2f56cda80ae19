import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import * as PostgresLedger from "agent-budget/PostgresLedger"
import * as Migrations from "../src/internal/postgresMigrations.ts"
import * as PostgresStore from "../src/internal/postgresStore.ts"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { ledgerSuite } from "./LedgerTest.ts"
import * as Postgres from "./utils/postgres.ts"
import { badTimes } from "./utils/badTimes.ts"
import { spend } from "./utils/spend.ts"

if (Postgres.isThere)
  ledgerSuite("a ledger in PostgreSQL", {
    fixture: Effect.gen(function* () {
      const { names: place, sql } = yield* Postgres.somewhere
      // The server's clock cannot be moved: this ledger reads one that is so much ahead of it.
      const names = {
        ...place,
        clock: `(SELECT clock_timestamp() + ahead * interval '1 millisecond' FROM "${place.schema}".moved)`
      }
      yield* sql.unsafe(`CREATE SCHEMA "${place.schema}"`)
      yield* sql.unsafe(`CREATE TABLE "${place.schema}".moved AS SELECT 0::bigint AS ahead`)
      yield* Effect.provideService(Migrations.run(names), SqlClient.SqlClient, sql)
      return {
        connect: ({
          serial,
          ...options
        }: StoredLedger.StoredOptions & { readonly serial?: boolean | undefined } = {}) =>
          Effect.flatMap(
            Effect.orDie(Postgres.client(serial === true ? { maxConnections: 1 } : {})),
            (client) =>
              StoredLedger.make(
                PostgresStore.make(client, {
                  names,
                  timeout: serial === true ? "1 minute" : "5 seconds",
                  poll: "1 second"
                }),
                {
                  ...options,
                  poll: "200 millis"
                }
              )
          ),
        advance: (millis: number) =>
          Effect.orDie(sql.unsafe(`UPDATE "${place.schema}".moved SET ahead = ahead + ${millis}`))
      }
    }).pipe(Effect.orDie),
    live: true,
    shared: true
  })

const database = PgClient.layer({ url: Redacted.make(Postgres.url) })

const url = Redacted.make(Postgres.url)

describe.skipIf(!Postgres.isThere)("PostgresLedger", () => {
  it.live("goes on where the last process stopped, also beside another ledger", () =>
    Effect.gen(function* () {
      const { names } = yield* Postgres.somewhere
      const places = [{ schema: names.schema }, { schema: names.schema, prefix: "other_" }]
      const migrate = Effect.forEach(
        [...places, ...places, ...places],
        (place) => Effect.scoped(Layer.build(PostgresLedger.layerMigrations(place))),
        { concurrency: "unbounded", discard: true }
      )
      // All at once, and a second time.
      yield* Effect.provide(Effect.andThen(migrate, migrate), database)
      const spent = yield* Effect.forEach([0, 1, 0], (index) =>
        Effect.provide(spend, PostgresLedger.layerUrl({ url, ...places[index] }))
      )
      assert.deepStrictEqual(spent, ["$0.20", "$0.20", "$0.40"])
    }).pipe(Effect.scoped)
  )

  it.live("never migrates by surprise: it says what is missing, older or newer, and what to do", () =>
    Effect.gen(function* () {
      const { names, sql } = yield* Postgres.somewhere
      const { schema } = names
      const refusal = (options: PostgresLedger.Options = { schema }) =>
        PostgresLedger.make(options).pipe(
          Effect.scoped,
          Effect.flip,
          Effect.map(({ reason }) => `${reason._tag}: ${reason.message}`),
          Effect.provide(database)
        )
      const migrate = "Run PostgresLedger.layerMigrations"
      assert.include(
        yield* refusal(),
        `LedgerUnavailable: The ledger cannot be reached: PostgreSQL: the schema "${schema}" has no ledger. ${migrate}`
      )
      yield* sql.unsafe(`CREATE SCHEMA "${schema}"`)
      assert.include(yield* refusal(), `has no ledger. ${migrate}`)
      assert.deepStrictEqual(yield* sql.unsafe(`SELECT FROM pg_tables WHERE schemaname = '${schema}'`), [])
      yield* Effect.provide(Layer.build(PostgresLedger.layerMigrations({ schema })), database)
      assert.include(
        yield* refusal({ schema, prefix: "b_" }),
        `the schema "${schema}" (prefix "b_") has no ledger.`
      )
      yield* sql.unsafe(`UPDATE ${names.of("head")} SET version = 0`)
      assert.include(yield* refusal(), "has no ledger")
      yield* sql.unsafe(`UPDATE ${names.of("head")} SET version = 2`)
      assert.include(
        yield* refusal(),
        "is of version 2, and this takes 1. Use a newer version of agent-budget."
      )
      for (const options of [
        { schema: "A" },
        { schema: "" },
        { schema: 'a"b' },
        { prefix: "1" },
        { prefix: "a".repeat(21) }
      ])
        assert.include(yield* refusal(options), "InvalidOptions", JSON.stringify(options))
    }).pipe(Effect.scoped)
  )

  it.live("wants each statement to see what was committed before it", () =>
    Effect.gen(function* () {
      const { names } = yield* Postgres.somewhere
      const place = { schema: names.schema }
      yield* Effect.provide(Layer.build(PostgresLedger.layerMigrations(place)), database)
      const serializable = PgClient.layer({
        url,
        startupParameters: { default_transaction_isolation: "serializable" }
      })
      const refused = yield* Effect.provide(
        Effect.flip(Effect.scoped(PostgresLedger.make(place))),
        serializable
      )
      assert.include(refused.message, `default_transaction_isolation is "serializable"`)
      assert.strictEqual(yield* Effect.provide(spend, PostgresLedger.layerUrl({ url, ...place })), "$0.20")
    }).pipe(Effect.scoped)
  )

  it.live("runs its migrations by a migrator of the user's own, too", () =>
    Effect.gen(function* () {
      const { names, sql } = yield* Postgres.somewhere
      const place = { schema: names.schema }
      const loader = Migrator.fromRecord(yield* PostgresLedger.migrations(place))
      yield* sql.unsafe(`CREATE SCHEMA "${names.schema}"`)
      const table = `${names.schema}.migrations_of_the_user`
      const done = yield* Effect.provideService(
        Migrator.make({})({ loader, table }),
        SqlClient.SqlClient,
        sql
      )
      assert.deepStrictEqual(done, [[1, "ledger"]])
      assert.strictEqual(yield* Effect.provide(spend, PostgresLedger.layerUrl({ url, ...place })), "$0.20")
    }).pipe(Effect.scoped)
  )

  it.live("refuses times that cannot be", () =>
    Effect.gen(function* () {
      for (const options of badTimes("timeout")) {
        const refused = yield* Effect.flip(Effect.scoped(PostgresLedger.make(options)))
        assert.strictEqual(refused.reason._tag, "InvalidOptions", JSON.stringify(options))
      }
    }).pipe(Effect.provide(database))
  )

  it.live("closes in time where its connections are stuck, the one that listens too", () =>
    Effect.gen(function* () {
      const { names, sql } = yield* Postgres.somewhere
      yield* Effect.provideService(Migrations.run(names), SqlClient.SqlClient, sql)
      const line = yield* Postgres.line
      const listens = `SELECT FROM pg_stat_activity WHERE query = 'LISTEN "${names.channel}"' AND state = 'idle'`
      const options = { url: Redacted.make(line.url), schema: names.schema, timeout: "300 millis" } as const
      const began = yield* Effect.gen(function* () {
        yield* spend
        yield* Effect.repeat(sql.unsafe(listens), { until: (found) => found.length > 0 })
        line.stick()
        return performance.now()
      }).pipe(Effect.provide(PostgresLedger.layerUrl(options)))
      assert.isBelow(performance.now() - began, 10_000)
    }).pipe(Effect.scoped)
  )

  it.live("tells no password where the server is away", () =>
    Effect.gen(function* () {
      const nowhere = Redacted.make("postgres://budget:hunter2@127.0.0.1:1/budget")
      const refused = yield* Effect.flip(
        Effect.scoped(Layer.build(PostgresLedger.layerUrl({ url: nowhere })))
      )
      assert.strictEqual(refused.reason._tag, "LedgerUnavailable")
      assert.include(refused.message, "the connection failed (ECONNREFUSED)")
      assert.notInclude(JSON.stringify(refused), "hunter2")
    })
  )
})
