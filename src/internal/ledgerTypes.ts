/**
 * The words of the books, for the contract (`Ledger.ts`) and the engines below and above it: what is asked, what is
 * answered, what is written. `Ledger.ts` exports them.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import type { Window } from "./ledgerWindows.ts"

/**
 * An account's numbers at one moment, in nano-dollars. `limit` and `available` are `null` where no limit was
 * set; `available` is negative after an overrun or a lowered limit. An account with windows shows the current one
 * (`windowStart` up to, and without, `windowEnd`, in milliseconds of the epoch); both are `null` without windows, and
 * where a rolling one waits for its first use.
 *
 * @example
 * ```ts
 * import { Ledger, Usd } from "agent-budget"
 *
 * const isEmpty = (balance: Ledger.Balance): boolean => balance.spent + balance.reserved === Usd.zero
 * console.log(typeof isEmpty) // function
 * ```
 *
 * @since 0.1.0
 */
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

/**
 * Money that is held for one call. It ends once: settled or released. Under a lease (`expiresAt`) it is charged in
 * full when nobody has ended or renewed it by then; what it really cost, told later, corrects that by an entry of its
 * own.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.Ledger
 *   yield* ledger.open({ account: "root", limit: Usd.dollars("1") })
 *   const held: Ledger.Reservation = yield* ledger.reserve({ account: "root", least: Usd.dollars("0.25") })
 *   yield* ledger.settle(held, { amount: Usd.dollars("0.20"), verdict: "metered" })
 *   return (yield* ledger.balance("root")).spent
 * })
 * console.log(Usd.format(await Effect.runPromise(Effect.provide(program, Ledger.layerMemory())))) // $0.20
 * ```
 *
 * @since 0.1.0
 */
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

/**
 * What to open. `limit`: `null` for none. `thresholds` are fractions of the limit, above 0 and at most 1: as
 * `spent` reaches one, a `ThresholdCrossed` entry is written, once, and again only after it fell below or in a new
 * window. A `temporary` account is gone with the last who leaves it, in engines that outlive their processes too; a
 * process that was killed never leaves, so what it had open stays there, with what it spent.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 *
 * const team: Ledger.OpenRequest = {
 *   account: "team", limit: Usd.dollars("10"), window: { every: "day" }, thresholds: [0.5, 0.8, 0.95]
 * }
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.makeMemory()
 *   yield* ledger.open(team)
 *   return yield* ledger.balance("team")
 * })
 * console.log((await Effect.runPromise(program)).limit) // 10000000000
 * ```
 *
 * @since 0.1.0
 */
export interface OpenRequest {
  readonly account: string
  readonly parent?: string | undefined
  readonly limit?: Usd.Usd | null | undefined
  readonly window?: Window | undefined
  readonly thresholds?: ReadonlyArray<number> | undefined
  /** Gone from the books of every engine when the last who opened it has closed it. */
  readonly temporary?: boolean | undefined
}

/**
 * What to hold, for whom. Only `least`: exactly that. With `most` and `share`: that share of what is available
 * on the whole chain, but never less than `least` nor more than `most`; decided in one atomic step. `waitAtMost` may be
 * `Infinity`.
 *
 * An `id` of your own makes it safe to repeat where the answer was lost. It is of all who ask the same under it, at once
 * or later, in this process or another: they get the same reservation, and another ask under it is refused
 * (`ReservationConflict`). So nobody's interruption takes back what others got. What it holds is there for whoever asks
 * again, and charged in full when its lease is over. The memory engine, which knows all who ask, gives back what nobody
 * got once the last who waited for it has left; the same id then asks anew. Nor do several processes have a place in line
 * each under one id, but one together: when all of one process stop waiting, it is given up, and those of the others
 * stand at the end of the line from their next look on.
 *
 * @example
 * ```ts
 * import { Ledger, Usd } from "agent-budget"
 *
 * const ask: Ledger.ReserveRequest = {
 *   account: "root", least: Usd.dollars("0.01"), most: Usd.dollars("1"), share: 0.1, waitAtMost: "5 seconds"
 * }
 * console.log(ask.share) // 0.1
 * ```
 *
 * @since 0.1.0
 */
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

/**
 * What a call really cost: `metered` from what the provider reported, or `assumed` whole where nobody can know.
 * `label` says what it was for in the books (a model's name), never what was said.
 *
 * @example
 * ```ts
 * import { Ledger, Usd } from "agent-budget"
 *
 * const charge: Ledger.Charge = { amount: Usd.dollars("0.002"), verdict: "metered", label: "gpt-4o" }
 * console.log(charge.verdict) // metered
 * ```
 *
 * @since 0.1.0
 */
export interface Charge {
  readonly amount: Usd.Usd
  readonly verdict: "metered" | "assumed"
  readonly label?: string | undefined
}

/**
 * An ending that an engine could not write yet, with its exact amount; `charge` is `null` for a release. See
 * `unwritten` of the contract.
 *
 * @example
 * ```ts
 * import { Ledger, Usd } from "agent-budget"
 *
 * const line = ({ charge, reservation }: Ledger.Unwritten): string =>
 *   charge === null ? `release ${reservation}` : `settle ${reservation} for ${Usd.format(charge.amount)}`
 * const charge: Ledger.Charge = { amount: Usd.dollars("0.002"), verdict: "metered" }
 * console.log(line({ reservation: "7", account: "root", charge })) // settle 7 for $0.002
 * ```
 *
 * @since 0.1.0
 */
export interface Unwritten {
  readonly reservation: string
  readonly account: string
  /** What is to be booked; `null` for a release. */
  readonly charge: Charge | null
}

/**
 * Which entries to read: those of an account and all below it, those written from one moment up to, and without,
 * another (milliseconds of the epoch). All of them without it.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ledger } from "agent-budget"
 *
 * const today: Ledger.EntriesQuery = { account: "team", from: Date.UTC(2026, 10, 24), to: Date.UTC(2026, 10, 25) }
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.makeMemory()
 *   return yield* Stream.runCollect(ledger.entries(today))
 * })
 * console.log(await Effect.runPromise(program)) // []
 * ```
 *
 * @since 0.1.0
 */
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

/**
 * What a program asks of the books, by the contract that `Ledger` tells: the type of `Ledger.Ledger["Service"]`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger } from "agent-budget"
 *
 * const names = (ledger: Ledger.Service) =>
 *   Effect.map(ledger.balances, (all) => all.map(({ account }) => account))
 * console.log(await Effect.runPromise(Effect.flatMap(Ledger.makeMemory(), names))) // []
 * ```
 *
 * @since 0.1.0
 */
export interface Ledger {
  /** Opens an account, or joins it. */
  readonly open: (request: OpenRequest) => Effect.Effect<void, BudgetError.BudgetError>
  /** Leaves an account, and answers what it was left with. */
  readonly close: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
  /** Holds money on the whole chain, or nothing. */
  readonly reserve: (request: ReserveRequest) => Effect.Effect<Reservation, BudgetError.BudgetError>
  /** Ends a reservation with what it cost. */
  readonly settle: (reservation: Reservation, charge: Charge) => Effect.Effect<Entry, BudgetError.BudgetError>
  /** Ends a reservation that cost nothing. */
  readonly release: (reservation: Reservation) => Effect.Effect<Entry, BudgetError.BudgetError>
  /** Prolongs a lease. */
  readonly renew: (reservation: Reservation) => Effect.Effect<Reservation, BudgetError.BudgetError>
  /** Changes a limit; `null` lifts it. */
  readonly setLimit: (account: string, limit: Usd.Usd | null) => Effect.Effect<void, BudgetError.BudgetError>
  /** Admits nothing more, on the account and below it. */
  readonly pause: (account: string) => Effect.Effect<void, BudgetError.BudgetError>
  /** Admits again. */
  readonly resume: (account: string) => Effect.Effect<void, BudgetError.BudgetError>
  /** The numbers of one account. */
  readonly balance: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
  readonly balances: Effect.Effect<ReadonlyArray<Balance>, BudgetError.BudgetError>
  /** What was booked, oldest first. */
  readonly entries: (query?: EntriesQuery) => Stream.Stream<Entry, BudgetError.BudgetError>
  readonly booked: Stream.Stream<Entry>
  readonly unwritten: Effect.Effect<ReadonlyArray<Unwritten>>
}
