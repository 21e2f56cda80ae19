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

export type {
  Balance,
  OpenRequest,
  EntriesQuery,
  Reservation,
  ReserveRequest,
  Charge,
  Unwritten,
  Ledger as Service
} from "./internal/ledgerTypes.ts"
export type { Window } from "./internal/ledgerWindows.ts"
export type { MemoryOptions } from "./internal/memoryLedger.ts"

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
 *   bounds these. What it spent stays in its ancestors' books, and a reservation that outlives it settles there. An
 *   engine that outlives its processes removes `temporary` accounts only: any other stays, with its books, for those
 *   who open it next.
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
export const makeMemory = (options?: Memory.MemoryOptions): Effect.Effect<Ledger["Service"]> =>
  Memory.make(options)

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
export const layerMemory = (options?: Memory.MemoryOptions): Layer.Layer<Ledger> =>
  Layer.effect(Ledger, Memory.makeScoped(options))
