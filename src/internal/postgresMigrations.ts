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

/** What is there instead of the version that this code works with. */
export type Found = "nothing" | number

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

/** Each by its number and name. The schema itself must be there. */
export const migrations = (names: Names): Readonly<Record<string, Migration>> => ({
  "1_ledger": runAll([...tables(names), ...functions(names), ...procedures(names)])
})

/** Makes the schema, and brings it to this version; what is done already is not done again. */
export const run = (names: Names) =>
  Effect.andThen(
    runAll([schemaOf(names)]),
    Migrator.make({})({
      loader: Migrator.fromRecord(migrations(names)),
      table: `${names.schema}.${names.prefix}migrations`
    })
  )

const decode = Schema.decodeUnknownEffect(Schema.Tuple([Schema.Struct({ version: Schema.Int })]))

/** The version that is there, or nothing. */
export const found = (
  sql: SqlClient.SqlClient,
  { of }: Names
): Effect.Effect<Found, SqlError | Schema.SchemaError> =>
  Effect.gen(function* () {
    const [table] = yield* sql.unsafe(`SELECT 1 WHERE to_regclass('${of("head")}') IS NOT NULL`).withoutTransform
    if (table === undefined) return "nothing"
    const [head] = yield* decode(yield* sql.unsafe(`SELECT version FROM ${of("head")}`).withoutTransform)
    return head.version
  })

/** Whether a version is the one that this code works with. */
export const isCurrent = (seen: Found): boolean => seen === version
