/**
 * The books: accounts in a tree, reservations on them, and the entries that end those.
 *
 * A ledger knows money, accounts, ids and time, and nothing of models or HTTP. Its one promise: at every
 * admission, on the account and on each of its ancestors, `spent + reserved <= limit`. `Ledger` is the contract
 * that every engine keeps; `layerMemory` is the engine of one process.
 *
 * The memory engine changes its books in synchronous sections inside one Effect each, which no fiber can enter
 * half-way. Software transactional memory does the same for twenty times the price, and wakes every waiter at
 * each commit, in no order.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Types from "./internal/ledgerTypes.ts"
import type * as Windows from "./internal/ledgerWindows.ts"
import * as Memory from "./internal/memoryLedger.ts"

/**
 * The account that a budget opens when it is given no name.
 *
 * @example
 * ```ts
 * import { Ledger } from "agent-budget"
 *
 * console.log(Ledger.rootAccount) // root
 * ```
 *
 * @since 0.1.0
 */
export const rootAccount = "root"

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
export type Balance = Types.Balance

/**
 * Windows that an account's limit holds in: aligned with the calendar of an IANA time zone (weeks begin on Monday;
 * `"day"` is a day of UTC), or of a fixed length from the first use after the last one. A call is charged to the
 * window that admitted it, whenever it ends.
 *
 * @example
 * ```ts
 * import { Ledger } from "agent-budget"
 *
 * const daily: Ledger.Window = { every: "day", timeZone: "Europe/Berlin" }
 * const fiveHours: Ledger.Window = { rolling: "5 hours" }
 * console.log([daily, fiveHours].length) // 2
 * ```
 *
 * @since 0.1.0
 */
export type Window = Windows.Window

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
export type OpenRequest = Types.OpenRequest

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
export type EntriesQuery = Types.EntriesQuery

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
export type Reservation = Types.Reservation

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
export type ReserveRequest = Types.ReserveRequest

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
export type Charge = Types.Charge

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
export type Unwritten = Types.Unwritten

/**
 * A line of the books, never changed once written. Amounts are nano-dollars, `at` is milliseconds of the epoch,
 * `seq` counts from 1 in the order of booking, `chain` names the accounts that it counts for and the window that it
 * counts in at each.
 *
 * - `Settled` (its `overrun` is what passed the reservation), `Released`: how a reservation ended.
 * - `Expired`: its lease ran out, and it was charged in full. `Corrected`: what it really was, told after that.
 * - `LimitChanged`, `Paused`, `Resumed`, `ThresholdCrossed`: what happened to an account.
 * - `Opened`, `Reserved`: a new account, an admission with the limits in force. Engines that outlive their process
 *   write them, the memory engine only with `admissions: true`.
 *
 * The amounts of `Settled` and `Expired` with the differences of `Corrected` add up to what was spent.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.Ledger
 *   yield* ledger.open({ account: "root", limit: Usd.dollars("1") })
 *   const held = yield* ledger.reserve({ account: "root", least: Usd.dollars("0.25") })
 *   yield* ledger.release(held)
 *   return yield* Stream.runCollect(ledger.entries())
 * })
 * const entries = await Effect.runPromise(Effect.provide(program, Ledger.layerMemory()))
 * console.log(entries.map((entry) => entry._tag)) // [ 'Released' ]
 * ```
 *
 * @since 0.1.0
 */
export const Entry: typeof Types.Entry = Types.Entry

/**
 * A line of the books; see the schema of the same name.
 *
 * @example
 * ```ts
 * import { Ledger, Usd } from "agent-budget"
 *
 * const amount = (entry: Ledger.Entry): Usd.Usd => (entry._tag === "Settled" ? entry.amount : Usd.zero)
 * console.log(typeof amount) // function
 * ```
 *
 * @since 0.1.0
 */
export type Entry = Types.Entry

/**
 * The contract of every engine.
 *
 * - `open`: opens an account under a parent that is open, with a limit or (`null`) without one. The same name
 *   again joins it, as it is where `limit` and `window` are left out; with another limit, `AccountConflict`.
 *   `thresholds` that are said replace those that are there.
 * - `close`: leaves an account; the last to leave removes its name, once no account is open below it: until then it
 *   bounds these. What it spent stays in its ancestors' books, and a reservation that outlives it settles there. An engine that outlives its processes removes `temporary`
 *   accounts only: any other stays, with its books, for those who open it next.
 * - `reserve`: admits on the whole chain or not at all. Uninterruptible but for the wait; take its answer where you
 *   cannot be interrupted either, so that what is held reaches the one who ends it. Fails with
 *   `BudgetExceeded` (with the numbers of the account that lacks the room) or `AccountPaused`; one that waits is
 *   refused as soon as it can never fit, in an empty window either. The same `id` with the same request answers the
 *   same reservation. Waiters are served first in, first out at the account that blocks them.
 * - `settle`, `release`: end a reservation. The same again answers the same; anything else is refused.
 * - `renew`: prolongs a lease. Engines that outlive their process do it by themselves for what they hold.
 * - `setLimit`: `null` lifts the limit. Lowering it below what is spent and reserved admits nothing more.
 * - `pause`, `resume`: a paused account admits nothing, itself and below it. What is held ends as ever.
 * - `entries`: what was booked, oldest first. `booked`: what this ledger books from now on, as it happens; a reader
 *   that falls 1,024 entries behind loses the oldest.
 * - `unwritten`: the endings that are still to be written, and those that the store refused when they reached it; nothing
 *   in an engine without a store. It can be asked after the engine was closed too: then it is
 *   what is not known to be written. A write whose answer was lost may be in the books nevertheless: look for the
 *   reservation there before you book it by hand.
 *
 * An engine whose scope closes turns away all who wait, and in one with a store whoever asks after that: `Closed`. What it
 * held can still be ended while its store is there; an end that is not written then is not kept, and says so.
 *
 * An engine whose store is out of reach admits nothing: `LedgerUnavailable`. It keeps what ends in the meantime, and
 * writes it as soon as it can: `settle` and `release` fail with `LedgerUnavailable`, and are done by the engine later.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.Ledger
 *   yield* ledger.open({ account: "team", limit: Usd.dollars("5") })
 *   yield* ledger.open({ account: "team/ann", parent: "team", limit: Usd.dollars("1") })
 *   yield* ledger.reserve({ account: "team/ann", least: Usd.dollars("0.75") })
 *   return (yield* ledger.balance("team")).reserved
 * })
 * console.log(Usd.format(await Effect.runPromise(Effect.provide(program, Ledger.layerMemory())))) // $0.75
 * ```
 *
 * @since 0.1.0
 */
export class Ledger extends Context.Service<Ledger, Types.Ledger>()("agent-budget/Ledger") {}

/**
 * How the memory engine keeps its entries: the newest `entries` of them (1,000 unless said), and each one to
 * `sink` as it is booked. Totals are exact either way. `admissions` writes `Opened` and `Reserved` too, which an
 * audit of every admission needs. With a `lease` (none unless said) a reservation that nobody ends or renews is
 * charged in full when it has run out; requests that carry an `id` are remembered as long as the ledger.
 * A lease that is none, or below a millisecond, counts as a millisecond, and `entries` that are no number as none.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger } from "agent-budget"
 *
 * const options: Ledger.MemoryOptions = { entries: 100, sink: (entry) => Effect.logDebug(entry._tag) }
 * console.log(options.entries) // 100
 * ```
 *
 * @since 0.1.0
 */
export type MemoryOptions = Memory.MemoryOptions

/**
 * A ledger in the memory of this process. It forgets everything when the process ends.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger } from "agent-budget"
 *
 * const ledger = await Effect.runPromise(Ledger.makeMemory())
 * console.log(await Effect.runPromise(ledger.balances)) // []
 * ```
 *
 * @since 0.1.0
 */
export const makeMemory = (options?: MemoryOptions): Effect.Effect<Ledger["Service"]> => Memory.make(options)

/**
 * The memory engine as a layer.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Ledger, Usd } from "agent-budget"
 *
 * const program = Budget.balance.pipe(
 *   Effect.provide(Budget.layer({ limit: Usd.dollars("5") })),
 *   Effect.provide(Ledger.layerMemory())
 * )
 * console.log((await Effect.runPromise(program)).available) // 5000000000
 * ```
 *
 * @since 0.1.0
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<Ledger> =>
  Layer.effect(Ledger, Memory.makeScoped(options))
