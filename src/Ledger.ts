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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as BudgetError from "./BudgetError.ts"
import * as Tree from "./internal/accountTree.ts"
import * as Usd from "./Usd.ts"

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
 * set; `available` is negative after an overrun or a lowered limit.
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
}

/**
 * Money that is held for one call. It ends once: settled or released.
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
  /** When it was admitted, in milliseconds of the epoch. */
  readonly at: number
}

/**
 * What to hold, for whom. Only `least`: exactly that. With `most` and `share`: that share of what is available
 * on the whole chain, but never less than `least` nor more than `most`; decided in one atomic step.
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

const common = {
  seq: Schema.Int,
  at: Schema.Finite,
  account: Schema.String
}

/**
 * A line of the books, never changed once written: a settlement (its `overrun` is what passed the reservation),
 * a release, or a change of limit. Amounts are nano-dollars, `at` is milliseconds of the epoch, `seq` counts
 * from 1 in the order of booking. The sum of the settled amounts is what was spent.
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
export const Entry = Schema.Union([
  Schema.TaggedStruct("Settled", {
    ...common,
    reservation: Schema.String,
    reserved: Usd.FromNanos,
    amount: Usd.FromNanos,
    overrun: Usd.FromNanos,
    verdict: Schema.Literals(["metered", "assumed"]),
    label: Schema.NullOr(Schema.String)
  }),
  Schema.TaggedStruct("Released", { ...common, reservation: Schema.String, reserved: Usd.FromNanos }),
  Schema.TaggedStruct("LimitChanged", {
    ...common,
    from: Schema.NullOr(Usd.FromNanos),
    to: Schema.NullOr(Usd.FromNanos)
  })
])

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
export type Entry = typeof Entry.Type

/**
 * The contract of every engine.
 *
 * - `open`: opens an account under a parent that is open, with a limit or (`null`) without one. The same name
 *   again joins it, as it is where `limit` is left out; with another limit, `AccountConflict`.
 * - `close`: leaves an account; the last to leave removes its name. What it spent stays in its ancestors' books,
 *   and a reservation that outlives it settles there.
 * - `reserve`: admits on the whole chain or not at all. Uninterruptible but for the wait. Fails with
 *   `BudgetExceeded` (with the numbers of the account that lacks the room), at once where it can never fit.
 * - `settle`, `release`: end a reservation. The same again answers the same; anything else is refused.
 * - `setLimit`: `null` lifts the limit. Lowering it below what is spent and reserved admits nothing more.
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
export class Ledger extends Context.Service<
  Ledger,
  {
    readonly open: (options: {
      readonly account: string
      readonly parent?: string | undefined
      readonly limit?: Usd.Usd | null | undefined
    }) => Effect.Effect<void, BudgetError.BudgetError>
    readonly close: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
    readonly reserve: (request: ReserveRequest) => Effect.Effect<Reservation, BudgetError.BudgetError>
    readonly settle: (
      reservation: Reservation,
      charge: Charge
    ) => Effect.Effect<Entry, BudgetError.BudgetError>
    readonly release: (reservation: Reservation) => Effect.Effect<Entry, BudgetError.BudgetError>
    readonly setLimit: (
      account: string,
      limit: Usd.Usd | null
    ) => Effect.Effect<void, BudgetError.BudgetError>
    readonly balance: (account: string) => Effect.Effect<Balance, BudgetError.BudgetError>
    readonly balances: Effect.Effect<ReadonlyArray<Balance>, BudgetError.BudgetError>
    readonly entries: () => Stream.Stream<Entry, BudgetError.BudgetError>
  }
>()("agent-budget/Ledger") {}

/**
 * How the memory engine keeps its entries: the newest `entries` of them (1,000 unless said), and each one to
 * `sink` as it is booked. Totals are exact either way.
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
export interface MemoryOptions {
  readonly entries?: number | undefined
  readonly sink?: ((entry: Entry) => Effect.Effect<void>) | undefined
}

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
export const makeMemory = (options?: MemoryOptions): Effect.Effect<Ledger["Service"]> =>
  Effect.sync(() => {
    const books = new MemoryBooks(options?.entries ?? 1_000, options?.sink)
    return Ledger.of({
      open: (request) => Effect.suspend(() => books.open(request.account, request.parent, request.limit)),
      close: (account) => Effect.suspend(() => books.close(account)),
      reserve: (request) => Effect.withFiber((fiber) => books.reserve(fiber, request)),
      settle: (reservation, charge) => Effect.withFiber((fiber) => books.settle(fiber, reservation, charge)),
      release: (reservation) => Effect.withFiber((fiber) => books.settle(fiber, reservation, undefined)),
      setLimit: (account, limit) => Effect.withFiber((fiber) => books.setLimit(fiber, account, limit)),
      balance: (account) => Effect.suspend(() => Effect.map(books.find(account), balanceOf)),
      balances: Effect.sync(() => Array.from(books.accounts.values(), balanceOf)),
      entries: () => Stream.suspend(() => Stream.fromIterable(books.recent()))
    })
  })

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
  Layer.effect(Ledger, makeMemory(options))

const isAmount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

const isLimit = (limit: Usd.Usd | null | undefined): boolean =>
  limit === null || limit === undefined || isAmount(limit)

const invalid = (detail: string): Effect.Effect<never, BudgetError.BudgetError> =>
  Effect.fail(BudgetError.because(new BudgetError.InvalidAmount({ detail })))

const limitOf = (account: Tree.Account): Usd.Usd | null =>
  account.limit === Tree.unlimited ? null : Usd.nanos(account.limit)

const balanceOf = (account: Tree.Account): Balance => ({
  account: account.id,
  parent: account.parent?.id ?? null,
  limit: limitOf(account),
  spent: Usd.nanos(account.spent),
  reserved: Usd.nanos(account.reserved),
  available: account.limit === Tree.unlimited ? null : Usd.nanos(Tree.available(account))
})

/** A reservation of the memory engine: it remembers where it was admitted, also when that account has closed. */
class MemoryReservation implements Reservation {
  readonly id: string
  readonly account: string
  readonly amount: Usd.Usd
  readonly at: number
  readonly chain: Tree.Account
  readonly books: MemoryBooks
  ended: Entry | undefined = undefined

  constructor(id: string, chain: Tree.Account, amount: Usd.Usd, at: number, books: MemoryBooks) {
    this.id = id
    this.account = chain.id
    this.amount = amount
    this.at = at
    this.chain = chain
    this.books = books
  }
}

/** What a waiter still has to be told, by the one who changed the books, after the change. */
const tell = (fiber: Fiber.Fiber<unknown, unknown>, outcomes: ReadonlyArray<() => void>): void => {
  for (const outcome of outcomes) fiber.currentDispatcher.scheduleTask(outcome, 0)
}

const now = (fiber: Fiber.Fiber<unknown, unknown>): number =>
  fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

class MemoryBooks {
  readonly accounts = new Map<string, Tree.Account>()
  readonly ring: Array<Entry> = []
  readonly capacity: number
  readonly sink: ((entry: Entry) => Effect.Effect<void>) | undefined
  reservations = 0
  tickets = 0
  written = 0

  constructor(capacity: number, sink: ((entry: Entry) => Effect.Effect<void>) | undefined) {
    this.capacity = capacity
    this.sink = sink
  }

  find(id: string): Effect.Effect<Tree.Account, BudgetError.BudgetError> {
    const account = this.accounts.get(id)
    return account === undefined ? notOpen(id) : Effect.succeed(account)
  }

  open(
    id: string,
    parentId: string | undefined,
    limit: Usd.Usd | null | undefined
  ): Effect.Effect<void, BudgetError.BudgetError> {
    if (id === "") {
      const detail = "the name is empty. Give it one."
      return Effect.fail(BudgetError.because(new BudgetError.InvalidAccount({ account: id, detail })))
    }
    if (!isLimit(limit)) return invalid(`The limit ${limit} of account ${id} is not an amount.`)
    const parent = parentId === undefined ? undefined : this.accounts.get(parentId)
    if (parentId !== undefined && parent === undefined) return notOpen(parentId)
    const existing = this.accounts.get(id)
    if (existing === undefined) {
      this.accounts.set(id, Tree.make(id, parent, limit ?? Tree.unlimited))
      return Effect.void
    }
    if (existing.parent !== parent) {
      const detail = `it is open under ${existing.parent?.id ?? "no parent"}. Use another name.`
      return Effect.fail(BudgetError.because(new BudgetError.InvalidAccount({ account: id, detail })))
    }
    if (limit !== undefined && existing.limit !== (limit ?? Tree.unlimited)) {
      const conflict = new BudgetError.AccountConflict({
        account: id,
        limit: limitOf(existing),
        asked: limit
      })
      return Effect.fail(BudgetError.because(conflict))
    }
    existing.opened++
    return Effect.void
  }

  close(id: string): Effect.Effect<Balance, BudgetError.BudgetError> {
    const account = this.accounts.get(id)
    if (account === undefined) return notOpen(id)
    if (--account.opened === 0) this.accounts.delete(id)
    return Effect.succeed(balanceOf(account))
  }

  reserve(
    fiber: Fiber.Fiber<unknown, unknown>,
    request: ReserveRequest
  ): Effect.Effect<Reservation, BudgetError.BudgetError> {
    const account = this.accounts.get(request.account)
    if (account === undefined) return notOpen(request.account)
    const least = request.least
    const most = request.most ?? least
    const share = request.share ?? 1
    if (!isAmount(least) || !isAmount(most) || most < least) {
      return invalid(`A reservation of ${least} to ${most} nano-dollars cannot be made.`)
    }
    if (!(share > 0 && share <= 1)) return invalid(`A share of ${share} is not between 0 and 1.`)
    const ask: Tree.Ask = { account, least, most, share }
    if (request.waitAtMost === undefined) {
      const short = Tree.shortOf(account, least)
      return short === undefined
        ? Effect.succeed(this.take(fiber, account, Tree.hold(ask)))
        : Effect.fail(exceeded(short, request.least, 0))
    }
    const ticket = ++this.tickets
    if (Tree.standsAt({ ...ask, ticket }) === undefined) {
      return Effect.succeed(this.take(fiber, account, Tree.hold(ask)))
    }
    return this.wait(fiber, ask, ticket, request.least, request.waitAtMost)
  }

  /**
   * Only the wait itself can be interrupted. Whoever was granted room and did not live to take it gives it back.
   */
  wait(
    fiber: Fiber.Fiber<unknown, unknown>,
    ask: Tree.Ask,
    ticket: number,
    least: Usd.Usd,
    waitAtMost: Duration.Input
  ): Effect.Effect<Reservation, BudgetError.BudgetError> {
    const since = now(fiber)
    let taken: Reservation | undefined
    let resume: (effect: Effect.Effect<Reservation, BudgetError.BudgetError>) => void = () => undefined
    const late = (blocker: Tree.Account) => Effect.fail(exceeded(blocker, least, now(fiber) - since))
    const waiter: Tree.Waiter = {
      ...ask,
      ticket,
      state: "waiting",
      queuedAt: undefined,
      granted: (amount) => {
        const reservation = this.take(fiber, ask.account, amount)
        taken = reservation
        return () => resume(Effect.succeed(reservation))
      },
      refused: (blocker) => {
        const refusal = late(blocker)
        return () => resume(refusal)
      }
    }
    const line = Effect.callback<Reservation, BudgetError.BudgetError>((answer) => {
      resume = answer
      // Other fibers may have run since the request came, so the place in line is found in the step that takes it.
      Tree.join(waiter)?.()
    })
    const timed = Effect.timeoutOrElse(line, {
      duration: waitAtMost,
      orElse: () => Effect.suspend(() => late(waiter.queuedAt ?? ask.account))
    })
    return Effect.uninterruptible(
      Effect.onExit(Effect.interruptible(timed), (exit) => {
        if (Exit.isSuccess(exit)) return Effect.void
        return Effect.withFiber((leaving) => this.leave(leaving, waiter, taken))
      })
    )
  }

  /** Ends a wait that did not end with a reservation in hand. */
  leave(
    fiber: Fiber.Fiber<unknown, unknown>,
    waiter: Tree.Waiter,
    taken: Reservation | undefined
  ): Effect.Effect<void> {
    if (waiter.state === "waiting") {
      tell(fiber, Tree.withdraw(waiter))
      return Effect.void
    }
    return taken === undefined ? Effect.void : Effect.orDie(this.settle(fiber, taken, undefined))
  }

  take(fiber: Fiber.Fiber<unknown, unknown>, account: Tree.Account, amount: number): Reservation {
    const id = String(++this.reservations)
    return new MemoryReservation(id, account, Usd.nanos(amount), now(fiber), this)
  }

  /** Settles for `charge`, or releases without one. */
  settle(
    fiber: Fiber.Fiber<unknown, unknown>,
    reservation: Reservation,
    charge: Charge | undefined
  ): Effect.Effect<Entry, BudgetError.BudgetError> {
    if (!(reservation instanceof MemoryReservation) || reservation.books !== this) {
      return conflict(reservation, "it was not made by this ledger.")
    }
    if (charge !== undefined && !isAmount(charge.amount)) {
      return invalid(`A charge of ${charge.amount} nano-dollars cannot be booked.`)
    }
    const { ended } = reservation
    if (ended !== undefined) {
      return endsAlike(ended, charge) ? Effect.succeed(ended) : conflict(reservation, howItEnded(ended))
    }
    const amount = charge?.amount ?? Usd.zero
    if (!Tree.canBook(reservation.chain, reservation.amount, amount)) {
      return invalid(`A charge of ${amount} nano-dollars takes account ${reservation.account} out of range.`)
    }
    Tree.book(reservation.chain, reservation.amount, amount)
    const entry = this.entryOf(fiber, reservation, charge)
    reservation.ended = entry
    tell(fiber, Tree.wake(reservation.chain))
    return this.write(entry)
  }

  entryOf(fiber: Fiber.Fiber<unknown, unknown>, held: MemoryReservation, charge: Charge | undefined): Entry {
    const seq = ++this.written
    const { account, id: reservation, amount: reserved } = held
    const at = now(fiber)
    if (charge === undefined) return { _tag: "Released", seq, at, account, reservation, reserved }
    const { amount, verdict } = charge
    const overrun = amount > reserved ? Usd.subtract(amount, reserved) : Usd.zero
    const label = charge.label ?? null
    return { _tag: "Settled", seq, at, account, reservation, reserved, amount, overrun, verdict, label }
  }

  setLimit(
    fiber: Fiber.Fiber<unknown, unknown>,
    id: string,
    limit: Usd.Usd | null
  ): Effect.Effect<void, BudgetError.BudgetError> {
    const account = this.accounts.get(id)
    if (account === undefined) return notOpen(id)
    if (!isLimit(limit)) return invalid(`The limit ${limit} of account ${id} is not an amount.`)
    const from = limitOf(account)
    account.limit = limit ?? Tree.unlimited
    const seq = ++this.written
    const entry: Entry = { _tag: "LimitChanged", seq, at: now(fiber), account: id, from, to: limit }
    tell(fiber, Tree.wake(account))
    return Effect.asVoid(this.write(entry))
  }

  /** What is booked is told, also when the one who booked it is interrupted; a sink that dies takes no result with it. */
  write(entry: Entry): Effect.Effect<Entry> {
    if (this.capacity > 0) this.ring[(entry.seq - 1) % this.capacity] = entry
    if (this.sink === undefined) return Effect.succeed(entry)
    const told = Effect.catchCause(
      Effect.suspend(() => this.sink?.(entry) ?? Effect.void),
      (cause) =>
        Effect.logError(`The sink of the ledger failed at entry ${entry.seq}, which is booked.`, cause)
    )
    return Effect.uninterruptible(Effect.as(told, entry))
  }

  recent(): ReadonlyArray<Entry> {
    const oldest = this.written % Math.max(1, this.capacity)
    return this.written <= this.capacity
      ? this.ring.slice()
      : [...this.ring.slice(oldest), ...this.ring.slice(0, oldest)]
  }
}

const notOpen = (account: string): Effect.Effect<never, BudgetError.BudgetError> =>
  Effect.fail(
    BudgetError.because(
      new BudgetError.InvalidAccount({ account, detail: "it is not open. Open it first, with its limit." })
    )
  )

const exceeded = (account: Tree.Account, required: Usd.Usd, waitedMillis: number): BudgetError.BudgetError =>
  BudgetError.because(
    new BudgetError.BudgetExceeded({
      account: account.id,
      limit: Usd.nanos(account.limit),
      spent: Usd.nanos(account.spent),
      reserved: Usd.nanos(account.reserved),
      required,
      waitedMillis
    })
  )

const conflict = (reservation: Reservation, detail: string): Effect.Effect<never, BudgetError.BudgetError> =>
  Effect.fail(
    BudgetError.because(new BudgetError.ReservationConflict({ reservation: reservation.id, detail }))
  )

const endsAlike = (ended: Entry, charge: Charge | undefined): boolean =>
  ended._tag === "Settled"
    ? charge !== undefined && charge.amount === ended.amount && charge.verdict === ended.verdict
    : charge === undefined

const howItEnded = (ended: Entry): string =>
  ended._tag === "Settled" ? `it was settled for ${Usd.format(ended.amount)}.` : "it was released."
