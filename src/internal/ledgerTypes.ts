/**
 * The words of the books, for the contract (`Ledger.ts`) and the engines below and above it: what is asked, what is
 * answered, what is written. `Ledger.ts` documents them for users.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import type { Window } from "./ledgerWindows.ts"

/** An account's numbers; of a windowed one, those of the window it is in. */
export interface Balance {
  readonly account: string
  readonly parent: string | null
  readonly limit: Usd.Usd | null
  readonly spent: Usd.Usd
  readonly reserved: Usd.Usd
  readonly available: Usd.Usd | null
  readonly paused: boolean
  /** When the current window began; `null` without windows, and where a rolling one waits for its first use. */
  readonly windowStart: number | null
  /** When the next window may begin: its first millisecond. */
  readonly windowEnd: number | null
}

/** Money that is held for one call. */
export interface Reservation {
  readonly id: string
  readonly account: string
  /** What is held, in nano-dollars: between the least and the most that were asked for. */
  readonly amount: Usd.Usd
  /** When it was admitted, in milliseconds of the epoch, by the ledger's clock. */
  readonly at: number
  /** When it is charged in full unless it has ended or was renewed; `null` without a lease. By the ledger's clock. */
  readonly expiresAt: number | null
}

/** What to open. */
export interface OpenRequest {
  readonly account: string
  readonly parent?: string | undefined
  readonly limit?: Usd.Usd | null | undefined
  readonly window?: Window | undefined
  readonly thresholds?: ReadonlyArray<number> | undefined
  /** Gone from the books of every engine when the last who opened it has closed it. */
  readonly temporary?: boolean | undefined
}

/** What to hold, for whom. */
export interface ReserveRequest {
  readonly account: string
  readonly least: Usd.Usd
  readonly most?: Usd.Usd | undefined
  readonly share?: number | undefined
  /** Wait for room, in line, at most this long. Without it a request that does not fit fails at once. */
  readonly waitAtMost?: Duration.Input | undefined
  /** Makes the request safe to repeat: the same id with the same request answers the same reservation. */
  readonly id?: string | undefined
}

/** What a call really cost. */
export interface Charge {
  readonly amount: Usd.Usd
  readonly verdict: "metered" | "assumed"
  readonly label?: string | undefined
}

/** An ending that the store did not take, and that is kept until it does. */
export interface Unwritten {
  readonly reservation: string
  readonly account: string
  /** What is to be booked; `null` for a release. */
  readonly charge: Charge | null
}

/** Which entries to read. */
export interface EntriesQuery {
  /** Those of this account and of every account below it. */
  readonly account?: string | undefined
  /** Those written at this moment or later, in milliseconds of the epoch. */
  readonly from?: number | undefined
  /** Those written before this moment. */
  readonly to?: number | undefined
}

/** One account that an entry counts for, and the start of the window that it counts in. */
export const Link = Schema.Struct({ account: Schema.String, window: Schema.NullOr(Schema.Finite) })

/** One account that an entry counts for. */
export type Link = typeof Link.Type

const common = {
  seq: Schema.Int,
  at: Schema.Finite,
  account: Schema.String,
  /** The account itself first, then each of its ancestors. */
  chain: Schema.Array(Link)
}

const booked = {
  ...common,
  reservation: Schema.String,
  reserved: Usd.FromNanos
}

/** A line of the books. */
export const Entry = Schema.Union([
  Schema.TaggedStruct("Opened", { ...common, limit: Schema.NullOr(Usd.FromNanos) }),
  Schema.TaggedStruct("Reserved", {
    ...booked,
    /** The limits in force, in the order of the chain. */
    limits: Schema.Array(Schema.NullOr(Usd.FromNanos)),
    expiresAt: Schema.NullOr(Schema.Finite)
  }),
  Schema.TaggedStruct("Settled", {
    ...booked,
    amount: Usd.FromNanos,
    overrun: Usd.FromNanos,
    verdict: Schema.Literals(["metered", "assumed"]),
    label: Schema.NullOr(Schema.String)
  }),
  Schema.TaggedStruct("Released", booked),
  Schema.TaggedStruct("Expired", { ...booked, amount: Usd.FromNanos }),
  Schema.TaggedStruct("Corrected", {
    ...booked,
    /** What its expiry had charged. */
    charged: Usd.FromNanos,
    /** What it really was; nothing for a release. */
    amount: Usd.FromNanos,
    /** `amount - charged`: what this entry adds to the sum. */
    difference: Usd.FromNanos,
    overrun: Usd.FromNanos,
    verdict: Schema.Literals(["metered", "assumed", "released"]),
    label: Schema.NullOr(Schema.String)
  }),
  Schema.TaggedStruct("LimitChanged", {
    ...common,
    from: Schema.NullOr(Usd.FromNanos),
    to: Schema.NullOr(Usd.FromNanos)
  }),
  Schema.TaggedStruct("Paused", common),
  Schema.TaggedStruct("Resumed", common),
  Schema.TaggedStruct("ThresholdCrossed", {
    ...common,
    threshold: Schema.Finite,
    limit: Usd.FromNanos,
    spent: Usd.FromNanos
  })
])

/** A line of the books. */
export type Entry = typeof Entry.Type

/** One kind of line. */
export type EntryOf<Tag extends Entry["_tag"]> = Extract<Entry, { readonly _tag: Tag }>

/** How a reservation can end by its holder. */
export type Ending = EntryOf<"Settled"> | EntryOf<"Released"> | EntryOf<"Corrected">

/** The service that every engine offers. */
export interface Ledger {
  readonly open: (request: OpenRequest) => Effect.Effect<void, BudgetError.BudgetError>
  readonly close: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
  readonly reserve: (request: ReserveRequest) => Effect.Effect<Reservation, BudgetError.BudgetError>
  readonly settle: (reservation: Reservation, charge: Charge) => Effect.Effect<Entry, BudgetError.BudgetError>
  readonly release: (reservation: Reservation) => Effect.Effect<Entry, BudgetError.BudgetError>
  readonly renew: (reservation: Reservation) => Effect.Effect<Reservation, BudgetError.BudgetError>
  readonly setLimit: (account: string, limit: Usd.Usd | null) => Effect.Effect<void, BudgetError.BudgetError>
  readonly pause: (account: string) => Effect.Effect<void, BudgetError.BudgetError>
  readonly resume: (account: string) => Effect.Effect<void, BudgetError.BudgetError>
  readonly balance: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
  readonly balances: Effect.Effect<ReadonlyArray<Balance>, BudgetError.BudgetError>
  readonly entries: (query?: EntriesQuery) => Stream.Stream<Entry, BudgetError.BudgetError>
  readonly booked: Stream.Stream<Entry>
  readonly unwritten: Effect.Effect<ReadonlyArray<Unwritten>>
}
