/**
 * What every engine checks before it touches its books, and the errors that all of them answer with: one wording,
 * whatever keeps the numbers.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import type { Charge, EntriesQuery, Entry, OpenRequest, Reservation, ReserveRequest } from "./ledgerTypes.ts"
import { type Frame, fromWindow } from "./ledgerWindows.ts"

type Refused = Effect.Effect<never, BudgetError.BudgetError>

/** A whole number of nano-dollars that can be held, spent or set as a limit. */
export const isAmount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

const isLimit = (limit: Usd.Usd | null | undefined): boolean =>
  limit === null || limit === undefined || isAmount(limit)

export const invalid = (detail: string): Refused =>
  Effect.fail(BudgetError.because(new BudgetError.InvalidAmount({ detail })))

/** A word that a caller without types, or a configuration, may misspell. */
export const checkWord = (name: string, word: unknown, words: ReadonlyArray<string>): string | undefined =>
  word === undefined || (isText(word) && words.includes(word))
    ? undefined
    : `${name} is none of ${words.map((each) => JSON.stringify(each)).join(" and ")}. Correct it, or leave it out.`

export const invalidOptions = (detail: string): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.InvalidOptions({ detail }))

/** Fails where something is wrong with options, and says what. */
export const checked = (wrong: string | undefined): Effect.Effect<void, BudgetError.BudgetError> =>
  wrong === undefined ? Effect.void : Effect.fail(invalidOptions(wrong))

const badAccount = (account: string, detail: string): Refused =>
  Effect.fail(BudgetError.because(new BudgetError.InvalidAccount({ account, detail })))

export const notOpen = (account: string): Refused =>
  badAccount(account, "it is not open. Open it first, with its limit.")

/**
 * Names and ids may come from a caller without types. An engine makes a text of each in its own way, and may take what
 * is none for another name.
 */
export const isText = (name: unknown): name is string => typeof name === "string"

export const checkName = (account: unknown): Refused | undefined =>
  isText(account)
    ? undefined
    : badAccount("", `the name is of type ${typeof account}, and not a text. Give it one.`)

export const conflict = ({ id }: Pick<Reservation, "id">, detail: string): Refused =>
  Effect.fail(
    BudgetError.because(new BudgetError.ReservationConflict({ reservation: isText(id) ? id : "", detail }))
  )

/** An id that a caller made is of one ask. */
export const anotherAsk = (reservation: string): Refused =>
  Effect.fail(
    BudgetError.because(
      new BudgetError.ReservationConflict({ reservation, detail: "its id was given to another request." })
    )
  )

export const closed: Refused = Effect.fail(
  BudgetError.because(new BudgetError.Closed({ detail: "The ledger is closed." }))
)

export const outOfRange = (reservation: Reservation, amount: number): Refused =>
  invalid(`A charge of ${amount} nano-dollars takes account ${reservation.account} out of range.`)

/** What stands in an ask's way, and how long it has waited. */
export const blocked = (
  at: {
    readonly account: string
    readonly limit: Usd.Usd
    readonly spent: Usd.Usd
    readonly reserved: Usd.Usd
    readonly paused: boolean
    readonly nextWindow: number | null
  },
  required: Usd.Usd,
  waitedMillis: number,
  hopeless: boolean
): BudgetError.BudgetError => {
  const { account, limit, nextWindow, paused, reserved, spent } = at
  if (paused && !hopeless) {
    return BudgetError.because(new BudgetError.AccountPaused({ account, waitedMillis }))
  }
  const numbers = { account, limit, spent, reserved, required, waitedMillis }
  return BudgetError.because(
    new BudgetError.BudgetExceeded(nextWindow === null ? numbers : { ...numbers, nextWindow })
  )
}

/** The checked parts of what is to be opened; `undefined` where nothing was said. */
export interface CheckedOpen {
  readonly frame: Frame | undefined
  /** Parts per million, ascending, each once. */
  readonly thresholds: ReadonlyArray<number> | undefined
}

export const checkOpen = (request: OpenRequest): Effect.Effect<CheckedOpen, BudgetError.BudgetError> => {
  const { account, limit, parent, thresholds, window } = request
  const unnamed = checkName(account) ?? (parent === undefined ? undefined : checkName(parent))
  if (unnamed !== undefined) return unnamed
  if (account === "") return badAccount(account, "the name is empty. Give it one.")
  if (!isLimit(limit)) return invalid(noLimit(account, limit))
  const frame = window === undefined ? undefined : fromWindow(window)
  if (typeof frame === "string") return badAccount(account, frame)
  const marks = thresholds?.map((threshold) => Math.round(threshold * 1_000_000))
  const bad = thresholds?.findIndex((threshold, index) => !(threshold <= 1) || (marks?.[index] ?? 0) < 1)
  if (bad !== undefined && bad >= 0) {
    return badAccount(account, `the threshold ${thresholds?.[bad]} is not above 0 and at most 1.`)
  }
  return Effect.succeed({
    frame,
    thresholds: marks === undefined ? undefined : [...new Set(marks)].sort((one, other) => one - other)
  })
}

/** An account that is open, and was asked for otherwise. */
export const differs = (
  request: OpenRequest,
  open: { readonly parent: string | null; readonly limit: Usd.Usd | null; readonly frame: string | null }
): Refused => {
  const { account, limit, parent } = request
  if (open.parent !== (parent ?? null)) {
    return badAccount(account, `it is open under ${open.parent ?? "no parent"}. Use another name.`)
  }
  if (limit !== undefined && limit !== open.limit) {
    return Effect.fail(
      BudgetError.because(new BudgetError.AccountConflict({ account, limit: open.limit, asked: limit }))
    )
  }
  const windows = open.frame === null ? "without windows" : `in windows of "${open.frame}"`
  return badAccount(account, `it is open ${windows}. Use the same, or another name.`)
}

/** A time in milliseconds; nothing where it is none (`NaN`, a text without a unit). */
const millisOf = (input: Duration.Input): number | undefined =>
  typeof input === "number"
    ? Number.isNaN(input)
      ? undefined
      : input
    : Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis))

const shown = (input: Duration.Input): string =>
  typeof input === "object" ? JSON.stringify(input) : String(input)

/** Longer than anything that is timed here, and short enough that every sum of times stays exact. */
export const longest = 100 * 366 * 86_400_000

/** Times that an engine is made with, by their names: `undefined`, or what is wrong with one. */
export const checkTimes = (
  times: Readonly<Record<string, Duration.Input | undefined>>,
  least = 1
): string | undefined => {
  for (const [name, input] of Object.entries(times)) {
    if (input === undefined) continue
    const time = millisOf(input)
    if (time === undefined || time < least || time > longest) {
      return `a ${name} of ${shown(input)} is not between ${least} ms and 100 years.`
    }
  }
  return undefined
}

/** Times that may be none, or as long as it takes (`Infinity`), by their names: `undefined`, or what is wrong with one. */
export const checkUnbounded = (
  times: Readonly<Record<string, Duration.Input | undefined>>
): string | undefined => {
  for (const [name, input] of Object.entries(times)) {
    if (input === undefined || (millisOf(input) ?? -1) >= 0) continue
    return `a ${name} of ${shown(input)} is no time. Write milliseconds, or a text such as "90 days".`
  }
  return undefined
}

/** An ask whose numbers and id can be: `undefined`, or what is wrong. A wait may be as long as it takes (`Infinity`). */
export const checkReserve = (request: ReserveRequest): string | undefined => {
  const { id, least, most = least, share = 1, waitAtMost = 0 } = request
  if (id !== undefined && !isText(id)) return "The id of a reservation is a text."
  if (!isAmount(least) || !isAmount(most) || most < least) {
    return `A reservation of ${least} to ${most} nano-dollars cannot be made.`
  }
  if (!(Number.isFinite(share) && share > 0 && share <= 1))
    return `A share of ${share} is not between 0 and 1.`
  const wait = waitAtMost === 0 ? 0 : millisOf(waitAtMost)
  return wait !== undefined && wait >= 0 ? undefined : `A wait of at most ${shown(waitAtMost)} cannot be.`
}

/** What arrives here may come from a caller without types: the books take nothing that they could not read again. */
export const checkCharge = ({ amount, label, verdict }: Charge): string | undefined => {
  if (!isAmount(amount)) return `A charge of ${amount} nano-dollars cannot be booked.`
  const said: string = verdict
  if (said !== "metered" && said !== "assumed") return "A charge is metered or assumed."
  return label === undefined || isText(label) ? undefined : "The label of a charge is a text."
}

/**
 * The moments between which entries are read, as whole milliseconds; nothing where none can be between them, or what is
 * wrong with them.
 */
export const checkSpan = ({
  account,
  from = -Infinity,
  to = Infinity
}: EntriesQuery): { readonly from: number | null; readonly to: number | null } | string | undefined => {
  if (account !== undefined && !isText(account)) return "the account of entries is a text."
  if (Number.isNaN(from) || Number.isNaN(to)) return `entries from ${from} to ${to} are none.`
  const first = Math.max(0, Math.ceil(from))
  if (to <= first || first > Number.MAX_SAFE_INTEGER) return undefined
  return {
    from: first === 0 ? null : first,
    to: to > Number.MAX_SAFE_INTEGER ? null : Math.ceil(to)
  }
}

export const checkLimit = (account: string, limit: Usd.Usd | null): string | undefined =>
  isLimit(limit) ? undefined : noLimit(account, limit)

export const noLimit = (account: string, limit: Usd.Usd | null | undefined): string => {
  const said = typeof limit === "number" && Number.isSafeInteger(limit) ? Usd.format(limit) : String(limit)
  return `A limit of ${said} on account ${account} is not an amount.`
}

/** Whether an ending is the same as the one that is booked. */
export const endsAlike = (ended: Entry, charge: Charge | undefined): boolean => {
  if (ended._tag === "Released") return charge === undefined
  if (ended._tag === "Corrected" && ended.verdict === "released") return charge === undefined
  if (ended._tag !== "Settled" && ended._tag !== "Corrected") return false
  return charge !== undefined && charge.amount === ended.amount && charge.verdict === ended.verdict
}

export const howItEnded = (ended: Entry): string =>
  ended._tag === "Settled" || ended._tag === "Corrected"
    ? `it was settled for ${Usd.format(ended.amount)}.`
    : "it was released."

/** A request as text, without what does not change what it asks for. */
export const fingerprint = ({ account, least, most = least, share = 1 }: ReserveRequest): string =>
  `${least} ${most} ${share} ${account}`
