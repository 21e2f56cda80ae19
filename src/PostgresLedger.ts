/**
 * A ledger in PostgreSQL 14 or newer, on `@effect/sql-pg`: it survives crashes, and processes on many machines share
 * it. The clock is the server's.
 *
 * Each step is one round trip and one transaction, whose locks are taken in one order and given back before the disk is
 * waited for; it is answered when it is durable (as far as the server's `synchronous_commit` says). Books are numbered
 * without gaps, so the steps of one ledger pass one by one through a row that they hold for some microseconds: what
 * limits a ledger is how fast the server computes, not how fast its disk is. Where one ledger is too hot, use several,
 * by `prefix` or `schema`, each with a share of the limit.
 *
 * The schema is made by `layerMigrations` and by nothing else. Take the client's timeouts (`connectTimeout`, `keepAlive`
 * and, by `startupParameters`, `statement_timeout`) in seconds. A step is never part of the caller's transaction. A pool
 * between (as PgBouncer) may give each transaction another connection if the client does not `prepare`; those who wait
 * are then told by looking every now and then.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as BudgetError from "./BudgetError.ts"
import { unavailable } from "./internal/postgresFailure.ts"
import * as Migrations from "./internal/postgresMigrations.ts"
import * as PostgresStore from "./internal/postgresStore.ts"
import { type Names, namesOf } from "./internal/postgresTables.ts"
import * as StoredLedger from "./internal/storedLedger.ts"
import * as Ledger from "./Ledger.ts"

/**
 * Where in the database the books are, in names of lower-case letters, digits and `_`.
 *
 * @example
 * ```ts
 * import type * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const place: PostgresLedger.Place = { schema: "billing", prefix: "budget_" }
 * console.log(place.schema) // billing
 * ```
 *
 * @since 0.1.0
 */
export interface Place {
  /** `agent_budget` unless said. */
  readonly schema?: string | undefined
  /** What the names of its tables begin with: nothing unless said. */
  readonly prefix?: string | undefined
}

/**
 * Where the books are, and how the ledger behaves.
 *
 * @example
 * ```ts
 * import type * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const options: PostgresLedger.Options = { schema: "billing", timeout: "2 seconds", lease: "5 minutes" }
 * console.log(options.timeout) // 2 seconds
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends Place, StoredLedger.StoredOptions {
  /** How long a step may take before it fails as unavailable: 5 seconds unless said. */
  readonly timeout?: Duration.Input | undefined
}

const invalid = (what: string): BudgetError.BudgetError =>
  BudgetError.because(
    new BudgetError.InvalidOptions({
      detail: `${what} is none of lower-case letters, digits and _ (a schema up to 40, a prefix up to 20).`
    })
  )

const named = (place: Place | undefined): Effect.Effect<Names, BudgetError.BudgetError> =>
  Effect.suspend(() => {
    const names = namesOf(place?.schema ?? "agent_budget", place?.prefix ?? "")
    return typeof names === "string" ? Effect.fail(invalid(names)) : Effect.succeed(names)
  })

const away = (detail: string): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.LedgerUnavailable({ detail }))

const failed =
  (what: string) =>
  (error: SqlError): BudgetError.BudgetError =>
    away(unavailable(what, error).detail)

/**
 * The migrations by their number and name, for a migrator of your own (`Migrator.fromRecord`); run each once, in order
 * and in a transaction. Fails with `InvalidOptions` for names that are none.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * console.log(Object.keys(Effect.runSync(PostgresLedger.migrations({ schema: "billing" })))) // [ '1_ledger' ]
 * ```
 *
 * @since 0.1.0
 */
export const migrations = (
  place?: Place
): Effect.Effect<
  Readonly<Record<string, Effect.Effect<void, SqlError, SqlClient>>>,
  BudgetError.BudgetError
> => Effect.map(named(place), Migrations.migrations)

/**
 * Makes the schema or brings it to this version, when the layer is built: in a deployment, before the ledger's layer.
 * Processes may do it at the same time. Needs the right to create the schema, or one that is there and may be used.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Effect, Layer, Redacted } from "effect"
 * import * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const database = PgClient.layer({ url: Redacted.make("postgres://budget:secret@127.0.0.1:1/budget") })
 * const migrate = PostgresLedger.layerMigrations().pipe(Layer.provide(database), Layer.build, Effect.scoped)
 * console.log((await Effect.runPromise(Effect.flip(migrate)))._tag) // BudgetError
 * ```
 *
 * @since 0.1.0
 */
export const layerMigrations = (place?: Place): Layer.Layer<never, BudgetError.BudgetError, SqlClient> =>
  Layer.effectDiscard(
    Effect.flatMap(named(place), (names) =>
      Migrations.run(names).pipe(
        Effect.catchTags({
          SqlError: (error) => Effect.fail(failed("migrations")(error)),
          MigrationError: ({ kind, message }) =>
            Effect.fail(away(`PostgreSQL (migrations): ${message} (${kind}).`))
        })
      )
    )
  )

/**
 * The ledger on the client of the context, for as long as the scope lives. Fails with `LedgerUnavailable` where the
 * server is away or the schema is missing, older or newer, and says which; with `InvalidOptions` for names that are none.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Effect, Redacted } from "effect"
 * import * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const database = PgClient.layer({ url: Redacted.make("postgres://budget:secret@127.0.0.1:1/budget") })
 * const refused = Effect.flip(Effect.scoped(PostgresLedger.make({ schema: "no schema" })))
 * console.log((await Effect.runPromise(Effect.provide(refused, database)))._tag) // BudgetError
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  options?: Options
): Effect.Effect<Ledger.Ledger["Service"], BudgetError.BudgetError, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function* () {
    yield* StoredLedger.checked(options ?? {}, { timeout: options?.timeout })
    const names = yield* named(options)
    const sql = yield* PgClient.PgClient
    const timeout = options?.timeout ?? "5 seconds"
    const obstacle = yield* Migrations.obstacle(sql, names).pipe(
      Effect.catchTags({
        SqlError: (error) => Effect.fail(failed("schema")(error)),
        SchemaError: () => Effect.succeed(`the table ${names.of("head")} is none of this ledger's.`)
      }),
      Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.succeed("no answer in time.") })
    )
    if (obstacle !== undefined) return yield* away(`PostgreSQL: ${obstacle}`)
    const store = PostgresStore.make(sql, { names, timeout, poll: options?.poll ?? "1 second" })
    return yield* StoredLedger.make(store, options)
  })

/**
 * The ledger as a layer, on the client of the context.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Layer, Redacted } from "effect"
 * import { Budget, Usd } from "agent-budget"
 * import * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const BudgetLive = Budget.layer({ limit: Usd.dollars("5") }).pipe(
 *   Layer.provide(PostgresLedger.layer()),
 *   Layer.provide(PgClient.layer({ url: Redacted.make("postgres://budget:secret@db/budget") }))
 * )
 * console.log(Layer.isLayer(BudgetLive)) // true
 * ```
 *
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<Ledger.Ledger, BudgetError.BudgetError, PgClient.PgClient> =>
  Layer.effect(Ledger.Ledger, make(options))

/**
 * The ledger as a layer, with a pool of connections of its own whose timeouts are right for it: at most
 * `maxConnections` (10 unless said), and one more to hear of changes.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Redacted } from "effect"
 * import * as PostgresLedger from "agent-budget/PostgresLedger"
 *
 * const away = PostgresLedger.layerUrl({ url: Redacted.make("postgres://budget:secret@127.0.0.1:1/budget") })
 * const refused = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(away))))
 * console.log(refused.reason._tag) // LedgerUnavailable
 * ```
 *
 * @since 0.1.0
 */
export const layerUrl = (
  options: Options & { readonly url: Redacted.Redacted; readonly maxConnections?: number | undefined }
): Layer.Layer<Ledger.Ledger, BudgetError.BudgetError> =>
  Layer.provide(
    layer(options),
    PgClient.layer({
      url: options.url,
      maxConnections: options.maxConnections,
      applicationName: "agent-budget",
      connectTimeout: "5 seconds",
      keepAlive: "10 seconds",
      startupParameters: { statement_timeout: "10s", default_transaction_isolation: "read committed" }
    }).pipe(Layer.catchTag("SqlError", (error) => Layer.effectContext(Effect.fail(failed("connect")(error)))))
  )
