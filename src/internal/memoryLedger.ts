/**
 * The engine of one process: the books are changed in synchronous sections inside one Effect each, which no fiber can
 * enter half-way. Those who wait are told after the section, by the one who changed the books.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import * as Tree from "./accountTree.ts"
import { apart, aside, toReaders } from "./background.ts"
import * as Checks from "./ledgerChecks.ts"
import { millionth, reached } from "./ledgerStore.ts"
import type {
  Balance,
  Charge,
  Ending,
  EntriesQuery,
  Entry,
  EntryOf,
  Ledger,
  OpenRequest,
  Reservation,
  ReserveRequest
} from "./ledgerTypes.ts"
import { stepping, type Caller, type Step } from "./steps.ts"

/**
 * How the memory engine keeps its entries. Totals are exact whatever is kept. Requests that carry an `id` are remembered
 * as long as the ledger.
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
  /** How many of the newest entries are kept: 1,000 unless said. What is no number counts as none. */
  readonly entries?: number | undefined
  /** Gets each entry as it is booked. */
  readonly sink?: ((entry: Entry) => Effect.Effect<void>) | undefined
  /**
   * How long a reservation lives that nobody ends or renews, before it is charged in full: for ever, unless said. What is
   * no time, or below a millisecond, counts as a millisecond.
   */
  readonly lease?: Duration.Input | undefined
  /** Whether `Opened` and `Reserved` are written too, which an audit of every admission needs. */
  readonly admissions?: boolean | undefined
}

type Refusable<A> = Effect.Effect<A, BudgetError.BudgetError>

/** A ledger in the memory of this process. */
export const make = (options?: MemoryOptions): Effect.Effect<Ledger> =>
  Effect.map(booksOf(options), (books) => ledgerOf(books, options))

/** The same; whoever still waits when the scope closes is turned away. */
export const makeScoped = (options?: MemoryOptions): Effect.Effect<Ledger, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(booksOf(options), (books) =>
      Effect.withFiber((fiber) => {
        books.turnAway(fiber)
        return books.telling(Effect.void)
      })
    ),
    (books) => ledgerOf(books, options)
  )

const booksOf = (options: MemoryOptions | undefined): Effect.Effect<MemoryBooks> =>
  Effect.map(PubSub.sliding<Entry>(1_024), (told) => new MemoryBooks(options ?? {}, told))

const ledgerOf = (books: MemoryBooks, options: MemoryOptions | undefined): Ledger => {
  const reading = (change: 1 | -1) => Effect.sync(() => void (books.readers += change))
  // Nobody is interrupted between booking something and telling the sink.
  const whole = options?.sink === undefined ? identity : Effect.uninterruptible
  const section = <A, E>(change: (fiber: Caller) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    whole(Effect.withFiber((fiber) => books.telling(change(fiber))))
  const verb = <Given extends ReadonlyArray<unknown>, A>(step: Step<Given, A, BudgetError.BudgetError>) => {
    const stepped = stepping<Given, A, BudgetError.BudgetError>((caller, ...given) =>
      books.telling(step(caller, ...given))
    )
    return options?.sink === undefined ? stepped : (...given: Given) => whole(stepped(...given))
  }
  return {
    open: (request) =>
      Effect.flatMap(Checks.checkOpen(request), (checked) =>
        section((fiber) => books.open(fiber, request, checked))
      ),
    close: (account) => Checks.checkName(account) ?? section((fiber) => books.close(fiber, account)),
    reserve: verb((caller, request: ReserveRequest) => books.reserve(caller, request)),
    settle: verb((caller, held: Reservation, charge: Charge) => books.end(caller, held, charge)),
    release: verb((caller, held: Reservation) => books.end(caller, held, undefined)),
    renew: (reservation) => Effect.withFiber((fiber) => books.renew(fiber, reservation)),
    setLimit: (account, limit) =>
      Checks.checkName(account) ?? section((fiber) => books.setLimit(fiber, account, limit)),
    pause: (account) => Checks.checkName(account) ?? section((fiber) => books.pause(fiber, account, true)),
    resume: (account) => Checks.checkName(account) ?? section((fiber) => books.pause(fiber, account, false)),
    balance: (account) => Checks.checkName(account) ?? section((fiber) => books.balance(fiber, account)),
    balances: section((fiber) => books.balances(fiber)),
    entries: (query = {}) => {
      const span = Checks.checkSpan(query)
      if (typeof span === "string") return Stream.fail(Checks.invalidOptions(span))
      if (span === undefined) return Stream.empty
      return Stream.unwrap(
        section((fiber) => Effect.map(books.look(fiber), () => Stream.fromIterable(books.recent(query))))
      )
    },
    booked: Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(reading(1), () => reading(-1)),
        Stream.fromPubSub(books.told)
      )
    ),
    unwritten: Effect.succeed([])
  }
}

const limitOf = (account: Tree.Account): Usd.Usd | null =>
  account.limit === Tree.unlimited ? null : Usd.nanos(account.limit)

const balanceOf = (account: Tree.Account): Balance => ({
  account: account.id,
  parent: account.parent?.id ?? null,
  limit: limitOf(account),
  spent: Usd.nanos(account.spent),
  reserved: Usd.nanos(account.reserved),
  available: account.limit === Tree.unlimited ? null : Usd.nanos(Tree.available(account)),
  paused: account.paused,
  windowStart: account.end === 0 ? null : account.start,
  windowEnd: account.end === 0 ? null : account.end
})

/** A reservation of the memory engine: it remembers where it was admitted, also when that account has closed. */
class MemoryReservation implements Reservation {
  readonly id: string
  readonly account: string
  readonly amount: Usd.Usd
  readonly at: number
  expiresAt: number | null = null
  readonly chain: Tree.Account
  readonly links: ReadonlyArray<Tree.Link>
  readonly books: MemoryBooks
  admission: EntryOf<"Reserved"> | undefined = undefined
  expired: EntryOf<"Expired"> | undefined = undefined
  ended: Ending | undefined = undefined
  /** The ask that it answers, where its id is the caller's. */
  ask: ReserveRequest | undefined = undefined
  /** Somebody got it, so that it is his to end. */
  isReceived = false

  constructor(id: string, chain: Tree.Account, amount: Usd.Usd, at: number, books: MemoryBooks) {
    this.id = id
    this.account = chain.id
    this.amount = amount
    this.at = at
    this.chain = chain
    this.links = Tree.linksOf(chain)
    this.books = books
  }
}

/** What a waiter still has to be told, by the one who changed the books, after the change. */
const tell = (fiber: Caller, outcomes: ReadonlyArray<() => void>): void => {
  if (outcomes.length === 0) return
  const { currentDispatcher } = fiber
  for (const outcome of outcomes) currentDispatcher.scheduleTask(outcome, 0)
}

const now = (fiber: Caller): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

interface Before {
  readonly account: Tree.Account
  readonly limit: number | null
  readonly spent: number
}

/** The numbers of those accounts on the chain that have thresholds. */
const watched = (from: Tree.Account): ReadonlyArray<Before> | undefined => {
  let found: Array<Before> | undefined
  for (let at: Tree.Account | undefined = from; at !== undefined; at = at.parent) {
    if (at.thresholds.length === 0) continue
    found = [...(found ?? []), { account: at, limit: limitOf(at), spent: at.spent }]
  }
  return found
}

const nothing: ReadonlyArray<Entry> = []

/** A lease that is none, or shorter, is a millisecond: what is held is then charged, and never forgotten. */
const leaseOf = (lease: Duration.Input): number => {
  const millis = Option.getOrElse(Option.map(Duration.fromInput(lease), Duration.toMillis), () => 1)
  return Math.min(Checks.longest, Math.max(1, Math.round(millis) || 1))
}

/** One place in line: of an ask, or of all who ask under the id of an ask. */
interface Place {
  readonly waiter: Tree.Waiter
  /** The request that it is for, where its id is the caller's. */
  readonly request: ReserveRequest
  /** How to tell those who wait for it. */
  readonly told: Set<(answer: Refusable<Reservation>) => void>
  /** Those who have not left. */
  askers: number
  isInLine: boolean
  /** What became of it; whoever comes later hears of it too. */
  outcome: Refusable<Reservation> | undefined
  taken: MemoryReservation | undefined
}

class MemoryBooks {
  readonly accounts = new Map<string, Tree.Account>()
  readonly ring: Array<Entry> = []
  /** Reservations under a lease, the next to expire first. */
  readonly leased = new Set<MemoryReservation>()
  /** Reservations whose ids callers made. */
  readonly named = new Map<string, MemoryReservation>()
  /** Places in line of asks whose ids callers made. */
  readonly places = new Map<string, Place>()
  readonly capacity: number
  readonly sink: ((entry: Entry) => Effect.Effect<void>) | undefined
  readonly lease: number | undefined
  readonly admissions: boolean
  readonly told: PubSub.PubSub<Entry>
  /** Entries that readers have yet to be told of. */
  readonly untold: Array<Entry> = []
  isTelling = false
  isClosed = false
  readers = 0
  reservations = 0
  tickets = 0
  written = 0

  constructor(options: MemoryOptions, told: PubSub.PubSub<Entry>) {
    this.capacity = Math.max(0, Math.floor(options.entries ?? 1_000) || 0)
    this.sink = options.sink
    this.lease = options.lease === undefined ? undefined : leaseOf(options.lease)
    this.admissions = options.admissions ?? false
    this.told = told
  }

  open(fiber: Caller, request: OpenRequest, { frame, thresholds }: Checks.CheckedOpen): Refusable<void> {
    const { account: id, limit } = request
    const parent = request.parent === undefined ? undefined : this.accounts.get(request.parent)
    if (request.parent !== undefined && parent === undefined) return Checks.notOpen(request.parent)
    const existing = this.accounts.get(id)
    if (existing === undefined) {
      const account = Tree.make(id, parent, limit ?? Tree.unlimited, frame, thresholds)
      this.accounts.set(id, account)
      if (parent !== undefined) parent.below++
      if (!this.admissions) return Effect.void
      const seq = ++this.written
      const chain = Tree.linksOf(account)
      const entry: Entry = {
        _tag: "Opened",
        seq,
        at: now(fiber),
        account: id,
        chain,
        limit: limitOf(account)
      }
      return this.toSink([this.record(entry)])
    }
    const isSame =
      existing.parent === parent &&
      (limit === undefined || existing.limit === (limit ?? Tree.unlimited)) &&
      (frame === undefined || frame.key === existing.frame?.key)
    if (!isSame) {
      return Checks.differs(request, {
        parent: existing.parent?.id ?? null,
        limit: limitOf(existing),
        frame: existing.frame?.key ?? null
      })
    }
    existing.opened++
    if (thresholds !== undefined) existing.thresholds = thresholds
    return Effect.void
  }

  close(fiber: Caller, id: string): Refusable<Balance> {
    const account = this.accounts.get(id)
    if (account === undefined) return Checks.notOpen(id)
    return Effect.map(this.look(fiber, account), () => {
      // All who opened it may have left: then it is there for those below it, and nobody leaves it for them.
      if (account.opened > 0) {
        account.opened--
        this.remove(fiber, account)
      }
      return this.telling(balanceOf(account))
    })
  }

  /** Where nobody has it open any more, and after it those above that only it kept open. */
  remove(fiber: Caller, account: Tree.Account): void {
    for (
      let at: Tree.Account | undefined = account;
      at !== undefined && at.opened + at.below === 0;
      at = at.parent
    ) {
      this.accounts.delete(at.id)
      if (at.parent !== undefined) at.parent.below--
      tell(fiber, Tree.close(at))
    }
  }

  balance(fiber: Caller, id: string): Refusable<Balance> {
    const account = this.accounts.get(id)
    return account === undefined
      ? Checks.notOpen(id)
      : Effect.map(this.look(fiber, account), () => balanceOf(account))
  }

  balances(fiber: Caller): Effect.Effect<ReadonlyArray<Balance>> {
    for (const account of this.accounts.values()) this.turn(fiber, account, false)
    return Effect.map(this.look(fiber), () => Array.from(this.accounts.values(), balanceOf))
  }

  /** Books what time alone has done: leases that ran out, windows that ended. */
  look(fiber: Caller, account?: Tree.Account): Effect.Effect<void> {
    if (account !== undefined) this.turn(fiber, account, false)
    return this.leased.size === 0 ? Effect.void : this.expire(fiber)
  }

  turn(fiber: Caller, account: Tree.Account, use: boolean): void {
    if (account.windowed && Tree.turn(account, now(fiber), use).length > 0) tell(fiber, Tree.wake(account))
  }

  expire(fiber: Caller): Effect.Effect<void> {
    const at = now(fiber)
    const entries: Array<Entry> = []
    for (const held of this.leased) {
      if ((held.expiresAt ?? at + 1) > at) break
      this.leased.delete(held)
      const { account, amount, chain, id: reservation, links } = held
      const before = watched(chain)
      Tree.book(chain, amount, amount, links)
      const seq = ++this.written
      held.expired = {
        _tag: "Expired",
        seq,
        at,
        account,
        chain: links,
        reservation,
        reserved: amount,
        amount
      }
      entries.push(this.record(held.expired), ...this.crossed(at, before))
      tell(fiber, Tree.wake(chain))
    }
    return this.toSink(entries)
  }

  reserve(fiber: Caller, request: ReserveRequest): Refusable<Reservation> {
    if (this.leased.size > 0) {
      const due = this.leased.values().next().value?.expiresAt
      if (due !== undefined && due !== null && due <= now(fiber)) {
        return Effect.andThen(
          this.expire(fiber),
          Effect.withFiber((own) => this.telling(this.reserve(own, request)))
        )
      }
    }
    const bad = Checks.checkReserve(request)
    if (bad !== undefined) return Checks.invalid(bad)
    const unnamed = Checks.checkName(request.account)
    if (unnamed !== undefined) return unnamed
    if (request.id !== undefined) {
      const known = this.repeat(request.id, request)
      if (known !== undefined) return known
    }
    const account = this.accounts.get(request.account)
    if (account === undefined) return Checks.notOpen(request.account)
    const { least } = request
    const ask: Tree.Ask = { account, least, most: request.most ?? least, share: request.share ?? 1 }
    this.turn(fiber, account, true)
    if (request.waitAtMost === undefined) {
      const short = Tree.shortOf(account, least)
      return short === undefined
        ? this.granted(received(this.take(fiber, request, account, Tree.hold(ask))))
        : Effect.fail(stopped(short, least, 0))
    }
    if (this.isClosed) return Checks.closed
    const isAlone = request.id === undefined || !this.places.has(request.id)
    const ticket = ++this.tickets
    if (isAlone && Tree.standsAt({ ...ask, ticket }) === undefined) {
      return this.granted(received(this.take(fiber, request, account, Tree.hold(ask))))
    }
    return this.wait(fiber, ask, ticket, request, request.waitAtMost)
  }

  /** What is known of an id of the caller's: it is of all who ask the same under it, and of no other ask. */
  repeat(id: string, request: ReserveRequest): Refusable<Reservation> | undefined {
    const known = this.named.get(id)
    if (known !== undefined) return repeated(known, request)
    const place = this.places.get(id)
    return place === undefined || Checks.fingerprint(place.request) === Checks.fingerprint(request)
      ? undefined
      : Checks.anotherAsk(id)
  }

  /** Only the wait itself can be interrupted. Whoever was granted room and did not live to take it gives it back. */
  wait(
    fiber: Caller,
    ask: Tree.Ask,
    ticket: number,
    request: ReserveRequest,
    waitAtMost: Duration.Input
  ): Refusable<Reservation> {
    const since = now(fiber)
    return Effect.uninterruptible(
      Effect.suspend(() => {
        // Other fibers may have run since the request came.
        const known = request.id === undefined ? undefined : this.repeat(request.id, request)
        if (known !== undefined) return known
        const place = this.placeOf(fiber, ask, ticket, request, since)
        place.askers++
        let mine: (answer: Refusable<Reservation>) => void = () => undefined
        const line = Effect.callback<Reservation, BudgetError.BudgetError>((answer) => {
          mine = answer
          place.told.add(mine)
          // Others may have run since the place was made: one of them may have got it by the id alone.
          if (!place.isInLine && place.outcome === undefined) this.join(fiber, place)
          if (place.outcome !== undefined) answer(place.outcome)
          this.tellReaders()
        })
        const timed = Effect.timeoutOrElse(
          ask.account.windowed ? Effect.raceFirst(line, this.turns(ask.account)) : line,
          {
            duration: waitAtMost,
            orElse: () =>
              Effect.suspend(() =>
                place.taken === undefined
                  ? Effect.fail(
                      stopped(place.waiter.queuedAt ?? ask.account, request.least, now(fiber) - since)
                    )
                  : this.granted(place.taken)
              )
          }
        )
        return Effect.onExit(Effect.interruptible(timed), (exit) => {
          place.told.delete(mine)
          if (Exit.isSuccess(exit)) {
            place.askers--
            if (place.taken !== undefined) received(place.taken)
            return Effect.void
          }
          return Effect.withFiber((leaving) => this.telling(this.leave(leaving, place)))
        })
      })
    )
  }

  /** Of an ask under an id of the caller's: the one where others wait for the same. */
  placeOf(fiber: Caller, ask: Tree.Ask, ticket: number, request: ReserveRequest, since: number): Place {
    const shared = request.id === undefined ? undefined : this.places.get(request.id)
    if (shared !== undefined) return shared
    const place: Place = {
      request,
      told: new Set(),
      askers: 0,
      isInLine: false,
      outcome: undefined,
      taken: undefined,
      waiter: {
        ...ask,
        ticket,
        state: "waiting",
        queuedAt: undefined,
        granted: (amount) => {
          place.taken = this.take(fiber, request, ask.account, amount)
          return this.tellAll(place, this.granted(place.taken))
        },
        refused: (blocker) =>
          this.tellAll(place, Effect.fail(stopped(blocker, request.least, now(fiber) - since))),
        closed: () => this.tellAll(place, this.isClosed ? Checks.closed : Checks.notOpen(request.account)),
        turn: () => Tree.turn(ask.account, now(fiber), true)
      }
    }
    if (request.id !== undefined) this.places.set(request.id, place)
    return place
  }

  /** The place is found in the step that takes it. */
  join(fiber: Caller, place: Place): void {
    place.isInLine = true
    const { account } = place.waiter
    if (this.isClosed || this.accounts.get(account.id) !== account) {
      place.waiter.state = "gone"
      place.waiter.closed()()
      return
    }
    this.turn(fiber, account, true)
    Tree.join(place.waiter)?.()
  }

  /** What became of a place, within the section; returns how to tell those who wait for it. */
  tellAll(place: Place, outcome: Refusable<Reservation>): () => void {
    place.outcome = outcome
    this.give(place)
    return () => {
      for (const told of place.told) apart(() => told(outcome))
    }
  }

  /** Nobody else finds this place any more. */
  give({ request: { id } }: Place): void {
    if (id !== undefined) this.places.delete(id)
  }

  /** Opens each window of the chain when it is due, as long as someone waits for it. */
  turns(account: Tree.Account): Effect.Effect<never> {
    return Effect.forever(
      Effect.withFiber((fiber) => {
        this.turn(fiber, account, true)
        return this.telling(Effect.sleep(Math.max(1, Tree.nextTurn(account) - now(fiber))))
      })
    )
  }

  /**
   * Ends a wait that did not end with a reservation in hand. What others got or wait for under an id of the caller's is
   * theirs. What nobody got goes back, and the id is free: whoever asks under it again asks anew.
   */
  leave(fiber: Caller, place: Place): Effect.Effect<void> {
    // Counted in the step that decides, or two who leave would both be the last.
    const askers = --place.askers
    const { request, taken, waiter } = place
    if (waiter.state === "waiting") {
      if (askers > 0) return Effect.void
      this.give(place)
      tell(fiber, Tree.withdraw(waiter))
      return Effect.void
    }
    if (taken === undefined) return Effect.void
    const told = this.granted(taken)
    if (askers > 0 || taken.isReceived) return Effect.asVoid(told)
    if (request.id !== undefined && taken.expired === undefined) {
      this.named.delete(request.id)
      if (!this.admissions) return this.undo(fiber, taken)
    }
    return Effect.andThen(told, Effect.orDie(this.end(fiber, taken, undefined)))
  }

  /** Takes back what the books say nothing of and nobody got, so that its id ends once, later. */
  undo(fiber: Caller, held: MemoryReservation): Effect.Effect<void> {
    Tree.book(held.chain, held.amount, 0, held.links)
    this.leased.delete(held)
    tell(fiber, Tree.wake(held.chain))
    return Effect.void
  }

  /** The ledger closes: nobody is left waiting for it. */
  turnAway(fiber: Caller): void {
    this.isClosed = true
    for (const account of this.accounts.values()) tell(fiber, Tree.close(account))
  }

  take(fiber: Caller, request: ReserveRequest, account: Tree.Account, amount: number): MemoryReservation {
    const at = now(fiber)
    const id = request.id ?? String(++this.reservations)
    const held = new MemoryReservation(id, account, Usd.nanos(amount), at, this)
    if (this.lease !== undefined) {
      held.expiresAt = at + this.lease
      this.leased.add(held)
    }
    if (request.id !== undefined) this.name(fiber, held, request)
    if (this.admissions) this.admit(held)
    return held
  }

  /** The id of a caller's is known from here on; those who wait in line for the same have it too. */
  name(fiber: Caller, held: MemoryReservation, request: ReserveRequest): void {
    held.ask = request
    this.named.set(held.id, held)
    const place = this.places.get(held.id)
    if (place?.waiter.state !== "waiting") return
    place.taken = held
    const told = this.tellAll(place, this.granted(held))
    tell(fiber, [...Tree.withdraw(place.waiter), told])
  }

  /** Written in the step that admits, so that the order of the books is the order of what happened. */
  admit(held: MemoryReservation): void {
    const { account, amount: reserved, at, chain: from, expiresAt, id: reservation, links: chain } = held
    const limits: Array<Usd.Usd | null> = []
    for (let up: Tree.Account | undefined = from; up !== undefined; up = up.parent) limits.push(limitOf(up))
    const seq = ++this.written
    held.admission = { _tag: "Reserved", seq, at, account, chain, reservation, reserved, limits, expiresAt }
    this.record(held.admission)
  }

  /** Tells of an admission, once: whoever is interrupted as it is told does not tell it again as it leaves. */
  granted(held: MemoryReservation): Effect.Effect<Reservation> {
    if (held.admission === undefined || this.sink === undefined) return Effect.succeed(held)
    const told = Effect.suspend(() => {
      const { admission } = held
      held.admission = undefined
      return admission === undefined ? Effect.void : this.toSink([admission])
    })
    return Effect.as(Effect.uninterruptible(told), held)
  }

  own(reservation: Reservation): MemoryReservation | undefined {
    return reservation instanceof MemoryReservation && reservation.books === this ? reservation : undefined
  }

  renew(fiber: Caller, reservation: Reservation): Refusable<Reservation> {
    const held = this.own(reservation)
    if (held === undefined) return Checks.conflict(reservation, "it was not made by this ledger.")
    return Effect.suspend(() => {
      if (held.ended !== undefined) return Checks.conflict(held, Checks.howItEnded(held.ended))
      if (held.expired !== undefined) return Checks.conflict(held, "its lease has expired.")
      if (this.lease === undefined) return Effect.succeed(held)
      held.expiresAt = now(fiber) + this.lease
      this.leased.delete(held)
      this.leased.add(held)
      return Effect.succeed(held)
    })
  }

  /** Settles for `charge`, or releases without one. */
  end(fiber: Caller, reservation: Reservation, charge: Charge | undefined): Refusable<Entry> {
    const held = this.own(reservation)
    if (held === undefined) return Checks.conflict(reservation, "it was not made by this ledger.")
    const bad = charge === undefined ? undefined : Checks.checkCharge(charge)
    if (bad !== undefined) return Checks.invalid(bad)
    const { chain, ended, expired, links } = held
    if (ended !== undefined) {
      return Checks.endsAlike(ended, charge)
        ? Effect.succeed(ended)
        : Checks.conflict(held, Checks.howItEnded(ended))
    }
    const amount = charge?.amount ?? Usd.zero
    if (!Tree.canBook(chain, amount - held.amount, links)) return Checks.outOfRange(held, amount)
    const before = watched(chain)
    if (expired === undefined) Tree.book(chain, held.amount, amount, links)
    else Tree.book(chain, 0, amount - held.amount, links)
    const at = now(fiber)
    const entry = endingOf(++this.written, at, held, charge)
    held.ended = entry
    if (held.expiresAt !== null) this.leased.delete(held)
    this.record(entry)
    const crossed = before === undefined ? nothing : this.crossed(at, before)
    tell(fiber, Tree.wake(chain))
    return this.sink === undefined
      ? Effect.succeed(entry)
      : Effect.as(this.toSink([entry, ...crossed]), entry)
  }

  /** The thresholds that were passed since, each as an entry. */
  crossed(at: number, before: ReadonlyArray<Before> | undefined): ReadonlyArray<Entry> {
    return (before ?? []).flatMap((was) => {
      const { account: now } = was
      const limit = limitOf(now)
      if (limit === null) return []
      return now.thresholds
        .filter((threshold) => reached({ limit, spent: now.spent }, threshold) && !reached(was, threshold))
        .map((threshold) =>
          this.record({
            _tag: "ThresholdCrossed",
            seq: ++this.written,
            at,
            account: now.id,
            chain: Tree.linksOf(now),
            threshold: threshold / millionth,
            limit,
            spent: Usd.nanos(now.spent)
          })
        )
    })
  }

  setLimit(fiber: Caller, id: string, limit: Usd.Usd | null): Refusable<void> {
    const account = this.accounts.get(id)
    if (account === undefined) return Checks.notOpen(id)
    const bad = Checks.checkLimit(id, limit)
    if (bad !== undefined) return Checks.invalid(bad)
    this.turn(fiber, account, false)
    const from = limitOf(account)
    const to = limit === Tree.unlimited ? null : limit
    if (from === to) return Effect.void
    const before = watched(account)
    account.limit = to ?? Tree.unlimited
    const seq = ++this.written
    const at = now(fiber)
    const chain = Tree.linksOf(account)
    const entry = this.record({ _tag: "LimitChanged", seq, at, account: id, chain, from, to })
    const crossed = this.crossed(at, before)
    tell(fiber, Tree.wake(account))
    return this.toSink([entry, ...crossed])
  }

  pause(fiber: Caller, id: string, paused: boolean): Refusable<void> {
    const account = this.accounts.get(id)
    if (account === undefined) return Checks.notOpen(id)
    if (account.paused === paused) return Effect.void
    account.paused = paused
    const seq = ++this.written
    const _tag = paused ? "Paused" : "Resumed"
    const entry = this.record({ _tag, seq, at: now(fiber), account: id, chain: Tree.linksOf(account) })
    tell(fiber, Tree.wake(account))
    return this.toSink([entry])
  }

  record<E extends Entry>(entry: E): E {
    if (this.capacity > 0) this.ring[(entry.seq - 1) % this.capacity] = entry
    if (this.readers > 0) this.untold.push(entry)
    return entry
  }

  /** A section is over, and this is its answer. */
  telling<A>(answer: A): A {
    if (this.untold.length > 0) this.tellReaders()
    return answer
  }

  /**
   * Readers hear of entries in their order, and between sections only: one may go on at once, and change the books or
   * interrupt whoever is about to get something.
   */
  tellReaders(): void {
    if (this.isTelling) return
    this.isTelling = true
    // More may come while these are told, at the end. To shift each would move all behind it, of which one look at many
    // leases that ran out makes as many.
    for (const entry of this.untold) apart(() => toReaders(this.told, entry))
    this.untold.length = 0
    this.isTelling = false
  }

  /** What is booked is told, also when the one who booked it is interrupted; a sink that dies takes no result with it. */
  toSink(entries: ReadonlyArray<Entry>): Effect.Effect<void> {
    const { sink } = this
    if (sink === undefined || entries.length === 0) return Effect.void
    return Effect.uninterruptible(
      Effect.forEach(
        entries,
        (entry) =>
          Effect.catchCause(
            Effect.suspend(() => sink(entry)),
            (cause) =>
              aside(
                Effect.logError(
                  `The sink of the ledger failed at entry ${entry.seq}, which is booked.`,
                  cause
                )
              )
          ),
        { discard: true }
      )
    )
  }

  recent(query: EntriesQuery = {}): ReadonlyArray<Entry> {
    const oldest = this.written % Math.max(1, this.capacity)
    const kept =
      this.written <= this.capacity
        ? this.ring.slice()
        : [...this.ring.slice(oldest), ...this.ring.slice(0, oldest)]
    const { account, from = -Infinity, to = Infinity } = query
    if (account === undefined && from === -Infinity && to === Infinity) return kept
    return kept.filter(
      ({ at, chain }) =>
        at >= from && at < to && (account === undefined || chain.some((link) => link.account === account))
    )
  }
}

const stopped = (account: Tree.Account, required: Usd.Usd, waitedMillis: number): BudgetError.BudgetError =>
  Checks.blocked(
    {
      account: account.id,
      limit: Usd.nanos(account.limit),
      spent: Usd.nanos(account.spent),
      reserved: Usd.nanos(account.reserved),
      paused: account.paused,
      nextWindow: account.end === 0 ? null : account.end
    },
    required,
    waitedMillis,
    Tree.ceiling(account) < required
  )

const received = (held: MemoryReservation): MemoryReservation => {
  held.isReceived = true
  return held
}

const repeated = (known: MemoryReservation, request: ReserveRequest): Refusable<Reservation> => {
  if (Checks.fingerprint(request) !== Checks.fingerprint(known.ask ?? request)) {
    return Checks.anotherAsk(known.id)
  }
  if (known.ended !== undefined) return Checks.conflict(known, Checks.howItEnded(known.ended))
  return known.expired === undefined
    ? Effect.succeed(received(known))
    : Checks.conflict(known, "its lease has expired.")
}

const endingOf = (seq: number, at: number, held: MemoryReservation, charge: Charge | undefined): Ending => {
  const { account, amount: reserved, expired, id: reservation, links: chain } = held
  const amount = charge?.amount ?? Usd.zero
  const overrun = amount > reserved ? Usd.subtract(amount, reserved) : Usd.zero
  const label = charge?.label ?? null
  if (expired !== undefined) {
    return {
      _tag: "Corrected",
      seq,
      at,
      account,
      chain,
      reservation,
      reserved,
      charged: expired.amount,
      amount,
      difference: Usd.subtract(amount, expired.amount),
      overrun,
      verdict: charge?.verdict ?? "released",
      label
    }
  }
  if (charge === undefined) return { _tag: "Released", seq, at, account, chain, reservation, reserved }
  const { verdict } = charge
  return { _tag: "Settled", seq, at, account, chain, reservation, reserved, amount, overrun, verdict, label }
}
