/**
 * Readers of what the scripts of the Redis ledger answer, which is JSON. The two answers that nearly every call gets are
 * looked through by hand, field by field as their schemas do, for a fraction of the time; whatever looks otherwise is left
 * to these.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { EndAnswer, ReserveAnswer } from "./ledgerStore.ts"
import { Entry } from "./ledgerTypes.ts"
import { answersWith } from "./storeAnswers.ts"

const answers = answersWith(Schema.String)

const [, , Settled, Released, , Corrected, , , , ThresholdCrossed] = Entry.members

const End = Schema.Union([Settled, Released, Corrected])

/** Nothing that a script answers is undefined. */
const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const answer = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownExit(schema)
  return (text: string): Effect.Effect<S["Type"], unknown> => Effect.suspend(() => decode(parsed(text)))
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const isText = (value: unknown): boolean => typeof value === "string"

const isLink = (link: unknown): boolean =>
  isObject(link) && isText(link["account"]) && (link["window"] === null || Number.isFinite(link["window"]))

type Granted = Extract<ReserveAnswer, { readonly _tag: "Granted" }>

const isGranted = (told: unknown): told is Granted => {
  if (!isObject(told) || told["_tag"] !== "Granted") return false
  const { held } = told
  return (
    isObject(held) &&
    isText(held["id"]) &&
    isText(held["account"]) &&
    Number.isSafeInteger(held["amount"]) &&
    Number.isFinite(held["at"]) &&
    Number.isFinite(held["expiresAt"])
  )
}

type Ended = Extract<EndAnswer, { readonly _tag: "Ended" }>

/** A settlement that crossed no threshold. */
const isSettled = (told: unknown): told is Ended => {
  if (!isObject(told) || told["_tag"] !== "Ended" || typeof told["again"] !== "boolean") return false
  const { crossed, entry } = told
  if (!isObject(entry) || entry["_tag"] !== "Settled") return false
  const { chain, label, verdict } = entry
  return (
    Array.isArray(crossed) &&
    crossed.length === 0 &&
    Number.isSafeInteger(entry["seq"]) &&
    Number.isFinite(entry["at"]) &&
    isText(entry["account"]) &&
    Array.isArray(chain) &&
    chain.every(isLink) &&
    isText(entry["reservation"]) &&
    Number.isSafeInteger(entry["reserved"]) &&
    Number.isSafeInteger(entry["amount"]) &&
    Number.isSafeInteger(entry["overrun"]) &&
    (verdict === "metered" || verdict === "assumed") &&
    (label === null || isText(label))
  )
}

/** Any answer to a `reserve`. */
export const anyReserve = Schema.decodeUnknownExit(answers.reserve)

/** Any answer to an `end`. */
export const anyEnd = Schema.decodeUnknownExit(
  Schema.Union([
    Schema.TaggedStruct("Ended", {
      entry: End,
      crossed: Schema.Array(ThresholdCrossed),
      again: Schema.Boolean
    }),
    Schema.TaggedStruct("Differs", { entry: End }),
    Schema.TaggedStruct("Unknown", {}),
    Schema.TaggedStruct("OutOfRange", {})
  ])
)

/** What is told of one `reserve`. */
export const reserve = (text: string): Exit.Exit<ReserveAnswer, unknown> => {
  const told = parsed(text)
  return isGranted(told) ? Exit.succeed(told) : anyReserve(told)
}

/** What is told of one `end`. */
export const end = (text: string): Exit.Exit<EndAnswer, unknown> => {
  const told = parsed(text)
  return isSettled(told) ? Exit.succeed(told) : anyEnd(told)
}

export const open = answer(answers.open)

export const close = answer(answers.close)

export const renew = answer(answers.renew)

export const entries = answer(
  Schema.Struct({ next: Schema.Int, done: Schema.Boolean, entries: Schema.Array(Entry) })
)

export const balances = answer(
  Schema.Struct({
    now: Schema.Finite,
    rows: Schema.Array(Schema.Struct({ ...answers.Row.fields, depth: Schema.Int, born: Schema.Int }))
  })
)

/** The entries that a change wrote; `null` where there is no such account. */
export const changed = answer(Schema.NullOr(Schema.Array(Entry)))

export const expire = answer(Schema.Array(Entry))

export const nothing = answer(Schema.Null)
