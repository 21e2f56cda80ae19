/**
 * What is told of a failure of PostgreSQL. Only words of this file and codes get
 * into a text: an error may quote what was sent, a password among it.
 */
import * as Predicate from "effect/Predicate"
import type { SqlError, SqlErrorReason } from "effect/sql/SqlError"
import { StoreUnavailable } from "./ledgerStore.ts"

const causes: Readonly<Record<SqlErrorReason["_tag"], string>> = {
  ConnectionError: "the connection failed",
  AuthenticationError: "it refuses the user or the password",
  AuthorizationError: "its user may not do what the ledger does. Grant it the ledger's schema",
  SqlSyntaxError: "the ledger's tables or procedures are not as this version made them",
  UniqueViolation: "a row is there twice",
  ConstraintError: "a row breaks a rule of the ledger",
  DeadlockError: "it broke a deadlock",
  SerializationError: "it gave way to another transaction",
  LockTimeoutError: "it waited too long for a lock (lock_timeout)",
  StatementTimeoutError: "a statement was cancelled (statement_timeout)",
  UnknownError: "it reports an error"
}

/** What PostgreSQL cannot keep, whoever asks again; its code says too little. */
const codes: Readonly<Record<string, string>> = {
  "54000": "a name or an id is too long for an index of PostgreSQL. Keep them below 2,000 bytes",
  "3F000": "its schema is not there",
  "53300": "it has too many connections",
  "57P01": "it is shutting down",
  "57P03": "it is starting up",
  "25006": "it only reads: connect to the primary",
  "2D000": "a verb ran inside a transaction"
}

/** A code of PostgreSQL or of the operating system; nothing else of a cause is told. */
const codeOf = (cause: unknown): string | undefined =>
  Predicate.hasProperty(cause, "code") &&
  typeof cause.code === "string" &&
  /^[A-Z0-9_]{3,30}$/.test(cause.code)
    ? cause.code
    : undefined

/** What is told where PostgreSQL did not do a verb, or where nobody knows whether it did. */
export const unavailable = (verb: string, { reason }: SqlError): StoreUnavailable => {
  const code = codeOf(reason.cause)
  const what = (code === undefined ? undefined : codes[code]) ?? causes[reason._tag]
  return new StoreUnavailable({
    detail: `PostgreSQL (${verb}): ${what}${code === undefined ? "" : ` (${code})`}.`
  })
}
