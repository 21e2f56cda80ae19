/**
 * What the procedures of the PostgreSQL ledger answer, as schemas. They answer JSON, whose numbers are exact here: the
 * tables hold no amount beyond 2^53 - 1.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { millionth } from "./ledgerStore.ts"
import { type Ending, Entry, type EntryOf } from "./ledgerTypes.ts"
import { answersWith } from "./storeAnswers.ts"

/** PostgreSQL keeps no NUL, and UTF-8 no half of a pair: these are written out, and so is what they begin with. */
const strange = /[\\\0]|\p{Surrogate}/gu

/** A text as PostgreSQL keeps it. */
export const toStored = (text: string): string =>
  text.replace(strange, (found) =>
    found === "\\" ? "\\\\" : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

const fromStored = (text: string): string =>
  text.replace(/\\(?:\\|u([0-9a-f]{4}))/g, (_, code: string | undefined) =>
    code === undefined ? "\\" : String.fromCharCode(Number.parseInt(code, 16))
  )

const Text = Schema.String.pipe(
  Schema.decodeTo(Schema.String, SchemaTransformation.transform({ decode: fromStored, encode: toStored }))
)

const answers = answersWith(Text)

const amount = Schema.NullOr(Schema.Int)

/** A row of the table of entries. */
const EntryRow = Schema.Struct({
  seq: Schema.Int,
  at: Schema.Finite,
  tag: Schema.String,
  account: Text,
  chain: Schema.Array(Text),
  windows: Schema.Array(Schema.NullOr(Schema.Finite)),
  reservation: Schema.NullOr(Text),
  reserved: amount,
  amount,
  charged: amount,
  verdict: Schema.NullOr(Schema.String),
  label: Schema.NullOr(Text),
  limits: Schema.NullOr(Schema.Array(amount)),
  expires_at: Schema.NullOr(Schema.Finite),
  limit_from: amount,
  limit_to: amount,
  threshold: amount,
  spent: amount
})

/** Every field that some kind of entry has: the schema of the entry picks its own, and refuses what is missing. */
const fieldsOf = (row: typeof EntryRow.Type): object => ({
  _tag: row.tag,
  seq: row.seq,
  at: row.at,
  account: row.account,
  chain: row.chain.map((account, index) => ({ account, window: row.windows[index] })),
  reservation: row.reservation,
  reserved: row.reserved,
  limits: row.limits,
  expiresAt: row.expires_at,
  amount: row.amount,
  charged: row.charged,
  difference: (row.amount ?? 0) - (row.charged ?? 0),
  overrun: Math.max(0, (row.amount ?? 0) - (row.reserved ?? 0)),
  verdict: row.verdict,
  label: row.label,
  from: row.limit_from,
  to: row.limit_to,
  limit: row.limit_to,
  threshold: (row.threshold ?? 0) / millionth,
  spent: row.spent
})

const decodeRow = Schema.decodeUnknownExit(EntryRow)
const decodeEntry = Schema.decodeUnknownExit(Entry)

const entry = (input: unknown): Effect.Effect<Entry, Schema.SchemaError> =>
  Effect.flatMap(decodeRow(input), (row) => decodeEntry(fieldsOf(row)))

const decodeRows = Schema.decodeUnknownExit(Schema.Array(Schema.Unknown))

/** Entries, in order. */
export const entries = (input: unknown): Effect.Effect<ReadonlyArray<Entry>, Schema.SchemaError> =>
  Effect.flatMap(decodeRows(input), (rows) => Effect.forEach(rows, entry))

/** Entries, or nothing where there is no such account. */
export const changed = (input: unknown) => (input === null ? Effect.succeed(null) : entries(input))

const decodeEnd = Schema.decodeUnknownExit(
  Schema.Union([
    Schema.TaggedStruct("Ended", { entries: Schema.Array(Schema.Unknown), again: Schema.Boolean }),
    Schema.TaggedStruct("Differs", { entries: Schema.Array(Schema.Unknown) }),
    Schema.TaggedStruct("Unknown", {}),
    Schema.TaggedStruct("OutOfRange", {})
  ])
)

const isEnding = (entry: Entry | undefined): entry is Ending =>
  entry?._tag === "Settled" || entry?._tag === "Released" || entry?._tag === "Corrected"

const isCrossed = (entry: Entry): entry is EntryOf<"ThresholdCrossed"> => entry._tag === "ThresholdCrossed"

/** How a reservation ended: its entry first, then the thresholds that it crossed. */
export const end = Effect.fnUntraced(function* (input: unknown) {
  const answer = yield* decodeEnd(input)
  if (answer._tag === "Unknown" || answer._tag === "OutOfRange") return answer
  const [entry, ...rest] = yield* entries(answer.entries)
  if (!isEnding(entry)) return yield* Effect.fail("no ending" as const)
  if (answer._tag === "Differs") return { _tag: answer._tag, entry }
  return { _tag: answer._tag, entry, crossed: rest.filter(isCrossed), again: answer.again }
})

export const open = Schema.decodeUnknownExit(answers.open)

export const close = Schema.decodeUnknownExit(answers.close)

export const reserve = Schema.decodeUnknownExit(answers.reserve)

export const renew = Schema.decodeUnknownExit(answers.renew)

export const balances = Schema.decodeUnknownExit(
  Schema.Struct({ now: Schema.Finite, rows: Schema.Array(answers.Row) })
)

/** Verbs that answer nothing. */
export const nothing = Schema.decodeUnknownExit(Schema.Null)
