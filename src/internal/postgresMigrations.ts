/**
 * How the schema of the PostgreSQL ledger comes to be, and how a layer finds out whether it is there: the version is in
 * the table of the head, whatever runs the migrations.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { procedures } from "./postgresProcedures.ts"
import { functions, type Names, tables, version } from "./postgresTables.ts"

type Migration = Effect.Effect<void, SqlError, SqlClient.SqlClient>

const runAll = (statements: ReadonlyArray<string>): Migration =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    for (const each of statements) yield* sql.unsafe(each).unprepared
  })

/** Only where it is missing: `IF NOT EXISTS` alone asks for a right that the owner of a schema need not have. */
const schemaOf = ({ schema }: Names): string => `
DO $$ BEGIN
  IF to_regnamespace('"${schema}"') IS NULL THEN
    CREATE SCHEMA IF NOT EXISTS "${schema}";
  END IF;
EXCEPTION WHEN unique_violation OR duplicate_schema THEN
  NULL;
END $$`

/** Each by its number and name. */
export const migrations = (names: Names): Readonly<Record<string, Migration>> => ({
  "1_ledger": runAll([schemaOf(names), ...tables(names), ...functions(names), ...procedures(names)])
})

/** Brings the schema to this version; what is done already is not done again. Its own table of what was done is in it. */
export const run = (names: Names) =>
  Effect.andThen(
    runAll([schemaOf(names)]),
    Migrator.make({})({
      loader: Migrator.fromRecord(migrations(names)),
      table: `${names.schema}.${names.prefix}migrations`
    })
  )

const decode = Schema.decodeUnknownEffect(
  Schema.Tuple([Schema.Struct({ release: Schema.Int, isolation: Schema.String, there: Schema.Boolean })])
)

const decodeVersion = Schema.decodeUnknownEffect(Schema.Tuple([Schema.Struct({ version: Schema.Int })]))

/** What a layer has to know of a server before it keeps books there. */
const look = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, { of }: Names) {
  const [server] = yield* decode(
    yield* sql.unsafe(
      `SELECT current_setting('server_version_num')::integer AS release,
        current_setting('default_transaction_isolation') AS isolation,
        to_regclass('${of("head")}') IS NOT NULL AS there`
    ).withoutTransform
  )
  if (!server.there) return { ...server, version: 0 }
  const [head] = yield* decodeVersion(yield* sql.unsafe(`SELECT version FROM ${of("head")}`).withoutTransform)
  return { ...server, version: head.version }
})

const oldest = 140_000

/** What keeps a ledger from working there, with what to do; nothing where all is well. */
export const obstacle = (sql: SqlClient.SqlClient, names: Names) =>
  Effect.map(look(sql, names), ({ isolation, release, version: found }) => {
    const where = `the schema "${names.schema}"${names.prefix === "" ? "" : ` (prefix "${names.prefix}")`}`
    const migrate = `Run PostgresLedger.layerMigrations, or the effects of PostgresLedger.migrations, once before this.`
    if (release < oldest)
      return `this is PostgreSQL ${Math.floor(release / 10_000)}, and it takes 14 or newer.`
    if (found === 0) return `${where} has no ledger. ${migrate}`
    if (found < version) return `${where} is of version ${found}, and this takes ${version}. ${migrate}`
    if (found > version) {
      return `${where} is of version ${found}, and this takes ${version}. Use a newer version of agent-budget.`
    }
    if (isolation !== "read committed") {
      return (
        `default_transaction_isolation is "${isolation}", in which verbs that wait for each other fail. ` +
        `Set it to "read committed" for the ledger's connections (startupParameters).`
      )
    }
    return undefined
  })
