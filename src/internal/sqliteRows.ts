/** What the rows of a SQLite ledger hold, and what they say in the words of a store. */
import * as Schema from "effect/Schema"
import type * as Usd from "../Usd.ts"
import * as Store from "./ledgerStore.ts"
import { Entry, type EntryOf, type Link } from "./ledgerTypes.ts"

/** A row of `accounts`. */
export interface AccountData {
  readonly id: number
  readonly name: string
  readonly parent: string | null
  /** Its `Ancestor`s, nearest first, as JSON. */
  readonly chain: string
  readonly cap: Usd.Usd | null
  readonly spent: Usd.Usd
  readonly reserved: Usd.Usd
  readonly paused: number
  readonly frame: string | null
  readonly window_start: number | null
  readonly window_end: number | null
  /** Parts per million, ascending, as JSON. */
  readonly thresholds: string
  readonly temporary: number
}

/** A row of `reservations`. */
export interface ReservationData {
  readonly id: string
  readonly state: "held" | "ended" | "expired" | "corrected" | "cancelled"
  readonly fingerprint: string
  readonly account: string
  /** `LinkData`s as JSON. */
  readonly links: string
  readonly amount: Usd.Usd
  readonly at: number
  readonly expires_at: number
  readonly seq: number
  readonly ending: number | null
  readonly correction: number | null
}

/** An account above another one: its name, its id. */
export type Ancestor = readonly [name: string, id: number]

/** One account of a reservation's chain: its name, its id, its window. */
export type LinkData = readonly [name: string, id: number, window: number | null]

/** A row of `entries`. */
export interface EntryData {
  readonly seq: number
  readonly at: number
  readonly body: string
}

/** Sums of amounts are checked to be amounts before they are written. */
export const usd = (amount: number): Usd.Usd => amount as Usd.Usd

/** A time that is written: whole milliseconds, within what is exact. */
export const moment = (millis: number): number => Math.min(Store.noLimit, Math.ceil(millis))

const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Entry))

export const capOf = (row: AccountData): number => row.cap ?? Store.noLimit

export const roomOf = (row: AccountData): number => capOf(row) - row.spent - row.reserved

export const isStale = (row: AccountData, now: number): boolean =>
  row.frame !== null && (row.window_end === null || row.window_end <= now)

export const rowOf = (row: AccountData): Store.AccountRow => ({
  account: row.name,
  parent: row.parent,
  limit: row.cap,
  spent: row.spent,
  reserved: row.reserved,
  paused: row.paused !== 0,
  frame: row.frame,
  windowStart: row.window_start,
  windowEnd: row.window_end
})

export const heldOf = (row: ReservationData): Store.HeldRow => ({
  id: row.id,
  account: row.account,
  amount: row.amount,
  at: row.at,
  expiresAt: row.expires_at
})

export const chainOf = (links: ReadonlyArray<LinkData>): ReadonlyArray<Link> =>
  links.map(([account, , window]) => ({ account, window }))

const unreadable = (what: string): Store.StoreUnavailable =>
  new Store.StoreUnavailable({ detail: `${what} of the file cannot be read.` })

/** What the file holds may have been written by anybody: each row is checked where it is read. */
const reader = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (value: unknown, what: string): S["Type"] => {
    const found = decode(value)
    if (found._tag === "Success") return found.success
    throw unreadable(what)
  }
}

/** As many texts as are remembered at once. */
const mostRemembered = 1_000

/** Chains are few and the same at each call, and checking one costs more than a statement. */
const remembering = <A>(read: (text: string, what: string) => A): typeof read => {
  const known = new Map<string, A>()
  return (text, what) => {
    const found = known.get(text) ?? read(text, what)
    if (known.size >= mostRemembered) known.clear()
    known.set(text, found)
    return found
  }
}

const readLinks = remembering(
  reader(
    Schema.fromJsonString(
      Schema.Array(Schema.Tuple([Schema.String, Schema.Int, Schema.NullOr(Schema.Finite)]))
    )
  )
)

const readAncestors = remembering(
  reader(Schema.fromJsonString(Schema.Array(Schema.Tuple([Schema.String, Schema.Int]))))
)

const readThresholds = reader(Schema.fromJsonString(Schema.Array(Schema.Int)))

export const linksOf = (row: ReservationData): ReadonlyArray<LinkData> =>
  readLinks(row.links, `reservation ${row.id}`)

export const ancestorsOf = (row: AccountData): ReadonlyArray<Ancestor> =>
  readAncestors(row.chain, `account ${row.name}`)

export const thresholdsOf = (row: AccountData): ReadonlyArray<number> =>
  readThresholds(row.thresholds, `account ${row.name}`)

/** The tables are strict, so that only the numbers can be what they cannot be. */
export const account = (row: AccountData): AccountData => {
  const { cap, id, name, reserved, spent, window_end, window_start } = row
  const isSound =
    spent >= 0 &&
    reserved >= 0 &&
    Number.isSafeInteger(spent + reserved) &&
    id > 0 &&
    (cap === null || cap >= 0)
  const inWindow = (window_start === null) === (window_end === null)
  if (isSound && inWindow) return row
  throw unreadable(`account ${name}`)
}

export const reservation = (row: ReservationData): ReservationData => {
  if (row.amount >= 0) return row
  throw unreadable(`reservation ${row.id}`)
}

/** One account whose numbers change: as it was, and what they become. */
export interface Change {
  readonly row: AccountData
  readonly spent: number
  readonly reserved: number
}

export type Ending = EntryOf<"Settled"> | EntryOf<"Released"> | EntryOf<"Corrected">

export const isReached = (row: AccountData, threshold: number): boolean =>
  Store.reached({ limit: row.cap, spent: row.spent }, threshold)

export const isInRange = ({ reserved, spent }: Change): boolean => spent + reserved <= Store.noLimit

export const isSameEnd = (entry: Ending, amount: number, verdict: Store.EndAsk["verdict"]): boolean =>
  entry._tag === "Released"
    ? verdict === "released"
    : entry.verdict === verdict && Number(entry.amount) === amount

export const repeated = (row: ReservationData, ask: Store.ReserveAsk): Store.ReserveAnswer => {
  if (row.state === "cancelled") return { _tag: "Taken", how: "cancelled" }
  if (row.fingerprint !== ask.fingerprint) return { _tag: "Taken", how: "another ask" }
  return row.state === "held" ? { _tag: "Granted", held: heldOf(row) } : { _tag: "Taken", how: "ended" }
}

export const decode = ({ body, seq }: { readonly body: string; readonly seq: number }): Entry => {
  const entry = decodeBody(body)
  if (entry._tag === "Success") return entry.success
  throw unreadable(`entry ${seq}`)
}
