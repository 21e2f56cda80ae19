/**
 * The whole ledger on top of a store's verbs: it waits, keeps leases alive, sweeps those that ran out, and stays
 * right when the store is away or an answer is lost.
 *
 * A reservation whose outcome is not known is not admitted, nor is one of which a try was lost and another refused; its id
 * is cancelled in the background, and what its lease has charged by then is corrected to nothing, unless the id is its
 * caller's, who may have given it to others too. An ending whose outcome is not known is kept and repeated until it is
 * written; when the scope closes first, or the store refuses it then, it is handed over with its exact amount. What this
 * process held and did not end runs into its lease and is charged in full.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import { apart, aside, isAtOnce, lasting, nap, toReaders } from "./background.ts"
import * as Checks from "./ledgerChecks.ts"
import { lastBalance } from "./lastBalance.ts"
import type {
  AccountRow,
  Answer,
  EndAnswer,
  EndAsk,
  HeldRow,
  LedgerStore,
  ReserveAsk
} from "./ledgerStore.ts"
import { noLimit, StoreUnavailable } from "./ledgerStore.ts"
import type {
  Balance,
  Charge,
  EntriesQuery,
  Entry,
  Ledger,
  OpenRequest,
  Reservation,
  ReserveRequest,
  Unwritten
} from "./ledgerTypes.ts"
import { fromKey } from "./ledgerWindows.ts"
import { NamedAsks } from "./namedAsks.ts"
import { isObstacle, type Obstacle, type Outcome, WaitingLines, type Waiter } from "./waitingLines.ts"

/** How a stored ledger behaves; every engine's options have these. */
export interface StoredOptions {
  /** How long a reservation lives without being renewed, which this process does as long as it lives: 1 minute. */
  readonly lease?: Duration.Input | undefined
  /** The longest interval at which someone who waits looks for room: 1 second. */
  readonly poll?: Duration.Input | undefined
  /** How long closing goes on trying to write what could not be written: 10 seconds. */
  readonly writeAtClose?: Duration.Input | undefined
  /** Gets, at the close, the endings that were never written; they are logged as errors too. */
  readonly onUnwritten?: ((unwritten: ReadonlyArray<Unwritten>) => Effect.Effect<void>) | undefined
}

type Refusable<A> = Effect.Effect<A, BudgetError.BudgetError>

/** A round of what is left to write ends after so many failures: the store is away, and not one job hopeless. */
const patience = 3

/** What still has to reach the store, by a key of its own; done when it answers. */
interface Job {
  readonly run: Answer<unknown>
  readonly unwritten?: Unwritten | undefined
  readonly end?: EndAsk | undefined
}

/** An end that is not in the books, and will not be by itself. */
interface Refusal {
  readonly unwritten: Unwritten
  readonly end: EndAsk
  /** Its reservation has not ended: whatever ends it then stands for this too. */
  readonly isOpen: boolean
}

const isSameEnd = (one: EndAsk, other: EndAsk): boolean =>
  one.id === other.id && one.amount === other.amount && one.verdict === other.verdict

const endKey = ({ amount, id, verdict }: EndAsk): string => `${verdict} ${amount} ${id}`

/** An ask begins no more windows than this: a chain has fewer, unless they are over before they have begun. */
const mostLooks = 100

/** A verb is tried so often before its store counts as away, after 25 and 50 ms. */
const pauses: ReadonlyArray<number> = [25, 50]

/**
 * Hardly more than the verb itself where that succeeds, which `Effect.retry` is not: each call pays for it twice. Under
 * `runSync` nobody may wait. `lost` hears of each try that failed, which may get to the store yet.
 */
const briefly = <A>(answer: Answer<A>, lost?: () => void, [pause, ...rest] = pauses): Answer<A> =>
  Effect.catch(answer, (failure) =>
    Effect.withFiber((fiber) => {
      lost?.()
      return pause === undefined || isAtOnce(fiber)
        ? Effect.fail(failure)
        : Effect.andThen(Effect.sleep(pause), briefly(answer, lost, rest))
    })
  )

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const away = ({ detail }: StoreUnavailable): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.LedgerUnavailable({ detail }))

const reach = <A>(answer: Answer<A>): Refusable<A> => Effect.mapError(briefly(answer), away)

/** What is wrong with the times of an engine's options, `more` among them. */
export const checked = (
  { lease, poll, writeAtClose }: StoredOptions,
  more?: Readonly<Record<string, Duration.Input | undefined>>
): Effect.Effect<void, BudgetError.BudgetError> => {
  const wrong =
    Checks.checkTimes({ lease }, shortestLease) ??
    Checks.checkTimes({ poll, ...more }) ??
    Checks.checkTimes({ writeAtClose }, 0)
  return Checks.checked(wrong)
}

/** It is renewed three times as often. */
const shortestLease = 100

/** Builds the service. Its fibers live in the scope; what is left to write when that closes is written first. */
export const make = (
  store: LedgerStore,
  options?: StoredOptions
): Effect.Effect<Ledger, never, Scope.Scope> =>
  Effect.gen(function* () {
    const told = yield* PubSub.sliding<Entry>(1_024)
    const scope = yield* Effect.scope
    const workers = yield* Scope.fork(scope)
    const lines = yield* Scope.make()
    const books = new StoredBooks(store, options ?? {}, told, lines)
    yield* Scope.addFinalizer(scope, books.handOver())
    const poked = Stream.runForEach(store.changes ?? Stream.empty, () =>
      Effect.sync(() => books.lines.poke())
    )
    yield* lasting(
      Effect.forEach([books.keepAlive, books.keepPlaces, books.writeLate, poked], (work) =>
        Effect.forkIn(work, workers)
      )
    )
    return {
      open: (request) => Effect.uninterruptible(books.open(request)),
      close: (account) => Checks.checkName(account) ?? Effect.uninterruptible(books.close(account)),
      reserve: (request) => Effect.suspend(() => books.reserve(request)),
      settle: (reservation, charge) =>
        Effect.uninterruptible(Effect.suspend(() => books.end(reservation, charge))),
      release: (reservation) =>
        Effect.uninterruptible(Effect.suspend(() => books.end(reservation, undefined))),
      renew: (reservation) => Effect.uninterruptible(books.renew(reservation)),
      setLimit: (account, limit) =>
        Checks.checkName(account) ?? Effect.uninterruptible(books.setLimit(account, limit)),
      pause: (account) => Checks.checkName(account) ?? Effect.uninterruptible(books.pause(account, true)),
      resume: (account) => Checks.checkName(account) ?? Effect.uninterruptible(books.pause(account, false)),
      balance: (account) => Checks.checkName(account) ?? books.balance(account),
      balances: Effect.suspend(() => books.balances()),
      entries: (query) => books.entries(query),
      booked: Stream.fromPubSub(told),
      unwritten: Effect.sync(() => books.unwritten())
    }
  })

/** The numbers at a moment: a window that has ended is empty, also where nobody has begun the next one. */
const balanceOf = (row: AccountRow, now: number): Balance => {
  const frame = row.frame === null ? undefined : fromKey(row.frame)
  const isOver = row.frame !== null && (row.windowEnd === null || now >= row.windowEnd)
  const span = isOver && frame?.rolls === false ? frame.at(now) : undefined
  // As the store begins it.
  const begun = span === undefined ? null : Math.max(span.start, row.windowEnd ?? span.start)
  const spent = isOver ? Usd.zero : row.spent
  const reserved = isOver ? Usd.zero : row.reserved
  const { account, limit, parent, paused } = row
  return {
    account,
    parent,
    limit,
    spent,
    reserved,
    available: limit === null ? null : Usd.nanos(limit - spent - reserved),
    paused,
    windowStart: isOver ? begun : row.windowStart,
    windowEnd: isOver ? (span?.end ?? null) : row.windowEnd
  }
}

const reservationOf = ({ account, amount, at, expiresAt, id }: HeldRow): Reservation => ({
  id,
  account,
  amount,
  at,
  expiresAt
})

const stopped = (
  row: AccountRow,
  required: Usd.Usd,
  waitedMillis: number,
  hopeless: boolean
): BudgetError.BudgetError =>
  Checks.blocked(
    { ...row, limit: row.limit ?? Usd.nanos(noLimit), nextWindow: row.windowEnd },
    required,
    waitedMillis,
    hopeless
  )

/** What was to be booked. */
const lineOf = ({ account, charge, reservation }: Unwritten): string =>
  `Reservation ${reservation} on account ${account} was to be ` +
  (charge === null ? "released." : `settled for ${Usd.format(charge.amount)} (${charge.verdict}).`)

const notMade = (reservation: Pick<Reservation, "id">) =>
  Checks.conflict(reservation, "it was not made by this ledger.")

const conflictsWithKept = (reservation: Reservation) =>
  Checks.conflict(reservation, "another end of it waits to be written.")

const pageSize = 500

class StoredBooks {
  readonly store: LedgerStore
  readonly lease: number
  readonly poll: number
  readonly place: number
  readonly options: StoredOptions
  readonly told: PubSub.PubSub<Entry>
  readonly lines: WaitingLines
  readonly lineScope: Scope.Closeable
  /** Ids of this process's reservations that have not ended. */
  readonly held = new Set<string>()
  /** Those of them whose ids callers made, and that someone here got. */
  readonly taken = new Set<string>()
  readonly named = new NamedAsks()
  /** Asks under ids of ours of which a try was lost, and may get to the store after whatever it answered to the others. */
  readonly lost = new Set<string>()
  /** Who this process is to the temporary accounts that it has open, by account. */
  readonly openers = new Map<string, Array<string>>()
  readonly late = new Map<string, Job>()
  /** Ends that were kept and that the store then refused, by `endKey`. */
  readonly refused = new Map<string, Refusal>()
  readonly lateness = Latch.makeUnsafe(false)
  stage: "open" | "closing" | "closed" = "open"
  tickets = 0
  /** How many asks are under way: what they may hold is known when they are over. */
  asking = 0

  constructor(
    store: LedgerStore,
    options: StoredOptions,
    told: PubSub.PubSub<Entry>,
    lineScope: Scope.Closeable
  ) {
    this.store = store
    this.options = options
    this.told = told
    this.lease = Math.max(1, Math.round(millis(options.lease ?? "1 minute")))
    this.poll = Math.max(1, millis(options.poll ?? "1 second"))
    this.place = Math.max(5_000, Math.ceil(this.poll * 5))
    this.lineScope = lineScope
    this.lines = new WaitingLines({
      scope: lineScope,
      poll: this.poll,
      ask: ({ ask, isNamed }) => this.ask(ask, isNamed),
      left: (waiter, outcome) => this.left(waiter, outcome)
    })
  }

  tell(entries: ReadonlyArray<Entry>): void {
    for (const entry of entries) apart(() => toReaders(this.told, entry))
    if (entries.length > 0) this.lines.poke()
  }

  open(request: OpenRequest): Refusable<void> {
    const { account, limit, parent = null } = request
    return Effect.gen({ self: this }, function* () {
      const { frame, thresholds } = yield* Checks.checkOpen(request)
      const opener = request.temporary === true ? crypto.randomUUID() : null
      const ask = { account, parent, limit, frame: frame?.key, thresholds, opener }
      const answer = yield* Effect.tapError(reach(this.store.open(ask)), () =>
        Effect.sync(() => {
          if (opener !== null) this.later(`close ${opener}`, { run: this.store.close(account, opener) })
        })
      )
      if (answer._tag === "NoParent") return yield* Checks.notOpen(parent ?? account)
      if (answer._tag === "Differs") return yield* Checks.differs(request, answer.row)
      if (opener !== null) this.openers.set(account, [...(this.openers.get(account) ?? []), opener])
    })
  }

  close(account: string): Refusable<Balance> {
    return Effect.gen({ self: this }, function* () {
      const [opener = null, ...others] = this.openers.get(account) ?? []
      if (others.length > 0) this.openers.set(account, others)
      else this.openers.delete(account)
      const run = this.store.close(account, opener)
      const answer = yield* Effect.tapError(reach(run), () =>
        Effect.sync(() => {
          if (opener !== null) this.later(`close ${opener}`, { run })
        })
      )
      if (answer !== null) return balanceOf(answer.row, answer.now)
      // Nobody else can have removed what this process had open: it was an earlier try, whose answer was lost.
      const entries = opener === null ? [] : yield* Stream.runCollect(this.entries({ account }))
      return lastBalance(account, entries) ?? (yield* Checks.notOpen(account))
    })
  }

  reserve(request: ReserveRequest): Refusable<Reservation> {
    const bad = Checks.checkReserve(request)
    if (bad !== undefined) return Checks.invalid(bad)
    const unnamed = Checks.checkName(request.account)
    if (unnamed !== undefined) return unnamed
    if (this.stage !== "open") return Checks.closed
    const { account, id: name, least, most = least, share = 1, waitAtMost } = request
    const ask: ReserveAsk = {
      id: name ?? crypto.randomUUID(),
      fingerprint: Checks.fingerprint(request),
      account,
      least,
      most,
      share,
      lease: this.lease,
      place: waitAtMost === undefined ? null : this.place
    }
    const ticket = ++this.tickets
    const admitted = Effect.flatMap(this.ask(ask, name !== undefined), (outcome) => {
      if (outcome._tag === "StoreUnavailable") return Effect.fail(away(outcome))
      return waitAtMost === undefined || !isObstacle(outcome)
        ? this.answer(request, ask, outcome, 0)
        : this.wait(request, ask, ticket, outcome, waitAtMost)
    })
    return name === undefined ? this.taking(ask.id, admitted) : this.sharing(name, ask, admitted)
  }

  /**
   * Nobody knows an id of ours but this. Whoever was interrupted while the store decided never sees the answer, and whoever
   * was refused may have been admitted by a try that was lost, or will be: what it holds goes back.
   */
  taking(id: string, admitted: Refusable<Reservation>): Refusable<Reservation> {
    return Effect.uninterruptibleMask((restore) => {
      let isGranted = false
      this.asking++
      const taken = Effect.flatMap(admitted, (reservation) => {
        isGranted = true
        return Effect.as(restore(Effect.void), reservation)
      })
      return Effect.onExit(taken, (exit) =>
        Effect.sync(() => {
          this.asking--
          const isLost = this.lost.delete(id)
          if (Exit.isFailure(exit) && (isLost || isGranted)) this.cancel(id)
        })
      )
    })
  }

  /**
   * What an id of the callers' holds may have been told to others who asked under it, in other processes too: nobody's
   * interruption takes it back. It is there for whoever asks again, and this process renews it where someone got it.
   */
  sharing(id: string, ask: ReserveAsk, admitted: Refusable<Reservation>): Refusable<Reservation> {
    return Effect.uninterruptibleMask((restore) => {
      if (!this.named.enter(id, ask.fingerprint)) return Checks.anotherAsk(id)
      return Effect.onExit(
        Effect.flatMap(admitted, (reservation) => Effect.as(restore(Effect.void), reservation)),
        (exit) =>
          Effect.sync(() => {
            this.named.leave(id)
            if (Exit.isSuccess(exit)) {
              this.held.add(id)
              this.taken.add(id)
            } else if (!this.taken.has(id)) this.held.delete(id)
          })
      )
    })
  }

  /** Someone stops waiting. What may be held goes back with its place, unless others may have got it under its id. */
  left({ ask, isNamed }: Waiter, outcome: Outcome): void {
    const isLost = this.lost.delete(ask.id)
    const mayHold = isLost || outcome._tag === "Granted" || outcome._tag === "StoreUnavailable"
    if (mayHold && !isNamed) this.cancel(ask.id)
    else if (outcome._tag !== "Granted" && !(isNamed && this.lines.has(ask.id))) {
      this.later(`leave ${ask.id}`, { run: this.store.leave(ask.id) })
    }
  }

  /** Asks the store, and opens the windows that it finds closed. Whoever made an id may repeat the request under it. */
  ask(ask: ReserveAsk, isNamed: boolean): Effect.Effect<Outcome> {
    const asked = (looks: number): Answer<Outcome> =>
      Effect.flatMap(this.store.reserve(ask), (answer) => {
        if (answer._tag !== "Stale") return Effect.succeed(answer)
        const { account, frame } = answer.row
        const key = frame ?? ""
        const span = fromKey(key)?.at(answer.now)
        const unknown = `The books know a window that this version of the library does not: "${key}".`
        if (span === undefined) return Effect.fail(new StoreUnavailable({ detail: unknown }))
        const detail = `The windows of account ${account} ("${key}") end before the store hears of them. Make them longer.`
        if (looks === mostLooks) return Effect.fail(new StoreUnavailable({ detail }))
        return Effect.andThen(this.store.roll(account, key, span.start, span.end), asked(looks + 1))
      })
    const once = asked(1)
    const lost = (): void => {
      if (!isNamed) this.lost.add(ask.id)
    }
    return Effect.catch(briefly(once, lost), (failure) => Effect.succeed(failure))
  }

  answer(
    request: ReserveRequest,
    ask: ReserveAsk,
    outcome: Outcome,
    waitedMillis: number
  ): Refusable<Reservation> {
    switch (outcome._tag) {
      case "Granted":
        this.held.add(outcome.held.id)
        if (request.id !== undefined) this.lines.share(outcome)
        return Effect.succeed(reservationOf(outcome.held))
      case "Short":
        return Effect.fail(stopped(outcome.row, request.least, waitedMillis, outcome.hopeless))
      case "Paused":
        return Effect.fail(stopped(outcome.row, request.least, waitedMillis, false))
      case "NotOpen":
        return Checks.notOpen(request.account)
      case "StoreUnavailable":
        return Effect.fail(away(outcome))
      case "Closed":
        return Checks.closed
      case "Taken": {
        if (request.id === undefined && outcome.how === "ended") return this.tooLate(ask.id)
        if (outcome.how === "another ask") return Checks.anotherAsk(ask.id)
        const detail =
          outcome.how === "ended" ? "it has ended." : "it was cancelled, because its answer was lost."
        return Effect.fail(
          BudgetError.because(new BudgetError.ReservationConflict({ reservation: ask.id, detail }))
        )
      }
    }
  }

  /** Its lease ran out, and charged it, before this process heard that it was admitted: nobody has used it. */
  tooLate(id: string): Refusable<never> {
    this.cancel(id)
    return Effect.fail(
      BudgetError.because(
        new BudgetError.LedgerUnavailable({
          detail: "its answer came after the reservation's lease had ended."
        })
      )
    )
  }

  /** Only the wait itself can be interrupted. Whoever was granted room and did not live to take it gives it back. */
  wait(
    request: ReserveRequest,
    ask: ReserveAsk,
    ticket: number,
    obstacle: Obstacle,
    waitAtMost: Duration.Input
  ): Refusable<Reservation> {
    // It closed while the store decided: nobody serves a line any more.
    if (this.stage !== "open") {
      this.later(`leave ${ask.id}`, { run: this.store.leave(ask.id) })
      return Checks.closed
    }
    return Effect.flatMap(Clock.currentTimeMillis, (since) => {
      const waited = Effect.map(Clock.currentTimeMillis, (now) => now - since)
      let told: Outcome | undefined
      let resume: (effect: Effect.Effect<Outcome>) => void = () => undefined
      const waiter: Waiter = {
        ask,
        isNamed: request.id !== undefined,
        ticket,
        state: "waiting",
        obstacle,
        answered: (outcome) => {
          told = outcome
          apart(() => resume(Effect.succeed(outcome)))
        }
      }
      const line = Effect.callback<Outcome>((answer) => {
        resume = answer
        if (told !== undefined) answer(Effect.succeed(told))
      })
      const timed = Effect.timeoutOrElse(line, {
        duration: waitAtMost,
        orElse: () => Effect.sync(() => told ?? waiter.obstacle)
      })
      const account = obstacle._tag === "StoreUnavailable" ? request.account : obstacle.row.account
      return Effect.andThen(
        this.lines.join(waiter, account),
        Effect.onExit(
          Effect.flatMap(Effect.interruptible(timed), (outcome) =>
            Effect.flatMap(waited, (time) => this.answer(request, ask, outcome, time))
          ),
          (exit) =>
            Effect.sync(() => {
              if (waiter.state === "waiting") this.lines.leave(waiter)
              else if (Exit.isFailure(exit) && told?._tag === "Granted") this.left(waiter, told)
            })
        )
      )
    })
  }

  end(reservation: Reservation, charge: Charge | undefined): Refusable<Entry> {
    const bad = charge === undefined ? undefined : Checks.checkCharge(charge)
    if (bad !== undefined) return Checks.invalid(bad)
    if (!Checks.isText(reservation.id)) return notMade(reservation)
    const ask: EndAsk = {
      id: reservation.id,
      amount: charge?.amount ?? 0,
      verdict: charge?.verdict ?? "released",
      label: charge?.label ?? null
    }
    if (this.keepsAnother(ask)) return conflictsWithKept(reservation)
    return Effect.matchEffect(briefly(this.store.end(ask)), {
      onFailure: ({ detail }) => this.keep(reservation, charge, ask, detail),
      onSuccess: (answer) => {
        if (answer._tag === "Ended") this.written(ask)
        this.noteEnd(ask.id, answer)
        switch (answer._tag) {
          case "Ended":
            return Effect.succeed(answer.entry)
          case "Differs":
            return Checks.conflict(reservation, Checks.howItEnded(answer.entry))
          case "Unknown":
            return notMade(reservation)
          case "OutOfRange":
            return Checks.outOfRange(reservation, ask.amount)
        }
      }
    })
  }

  /** Two ends of one reservation: only one was promised. */
  keepsAnother(ask: EndAsk): boolean {
    const kept = this.late.get(`end ${ask.id}`)?.end
    return kept !== undefined && !isSameEnd(kept, ask)
  }

  /** Keeps an end that the store did not take, unless another was kept while it tried. */
  keep(reservation: Reservation, charge: Charge | undefined, ask: EndAsk, detail: string): Refusable<never> {
    if (this.keepsAnother(ask)) return conflictsWithKept(reservation)
    const { account, id } = reservation
    const unwritten: Unwritten = { reservation: id, account, charge: charge ?? null }
    const fails = (rest: string) =>
      Effect.fail(BudgetError.because(new BudgetError.LedgerUnavailable({ detail: `${detail} ${rest}` })))
    if (this.stage === "closed") {
      this.late.delete(`end ${id}`)
      this.refused.set(endKey(ask), { unwritten, end: ask, isOpen: false })
      const rest = `The end of reservation ${id} is not kept, since the ledger is closed.`
      return Effect.andThen(this.tellUnwritten([unwritten]), fails(rest))
    }
    this.later(`end ${id}`, { run: this.ended(ask, unwritten), end: ask, unwritten })
    return fails(`The end of reservation ${id} is kept and written as soon as it can be.`)
  }

  /**
   * This end is in the books: it is neither written again nor handed over. Another that is kept stays: the store refuses it
   * when it gets there, and so it is told.
   */
  written(ask: EndAsk): void {
    if (!this.keepsAnother(ask)) this.late.delete(`end ${ask.id}`)
    for (const [key, { end, isOpen }] of this.refused) {
      if (end.id === ask.id && (isOpen || isSameEnd(end, ask))) this.refused.delete(key)
    }
  }

  /** Nobody has to renew it any more. */
  forget(id: string): void {
    this.held.delete(id)
    this.taken.delete(id)
  }

  noteEnd(id: string, answer: EndAnswer): void {
    if (answer._tag !== "OutOfRange") this.forget(id)
    if (answer._tag === "Ended" && !answer.again) this.tell([answer.entry, ...answer.crossed])
  }

  /**
   * An end that was kept has reached the store, which may refuse it. Nobody listens then: so it is logged, and handed over
   * at the close with its exact amount.
   */
  ended(end: EndAsk, unwritten: Unwritten): Answer<void> {
    return Effect.flatMap(this.store.end(end), (answer) => {
      this.noteEnd(end.id, answer)
      if (answer._tag === "Ended") return Effect.sync(() => this.written(end))
      this.refused.set(endKey(end), { unwritten, end, isOpen: answer._tag === "OutOfRange" })
      return aside(
        Effect.logError(
          `An end that was kept for the ledger was refused by it: ${answer._tag}. ${lineOf(unwritten)}`
        )
      )
    })
  }

  renew(reservation: Reservation): Refusable<Reservation> {
    const { id } = reservation
    if (!Checks.isText(id)) return notMade(reservation)
    return Effect.flatMap(reach(this.store.renew([id], this.lease)), ([renewed]) =>
      renewed === undefined
        ? Checks.conflict(reservation, "it has ended, or its lease has expired.")
        : Effect.succeed({ ...reservation, expiresAt: renewed.expiresAt })
    )
  }

  setLimit(account: string, limit: Usd.Usd | null): Refusable<void> {
    const bad = Checks.checkLimit(account, limit)
    if (bad !== undefined) return Checks.invalid(bad)
    return this.changed(account, this.store.setLimit(account, limit))
  }

  pause(account: string, paused: boolean): Refusable<void> {
    return this.changed(account, this.store.pause(account, paused))
  }

  changed(account: string, answer: Answer<ReadonlyArray<Entry> | null>): Refusable<void> {
    return Effect.flatMap(reach(answer), (entries) => {
      if (entries === null) return Checks.notOpen(account)
      this.tell(entries)
      return Effect.void
    })
  }

  balance(account: string): Refusable<Balance> {
    return Effect.flatMap(reach(this.store.balances(account)), ({ now, rows: [row] }) =>
      row === undefined ? Checks.notOpen(account) : Effect.succeed(balanceOf(row, now))
    )
  }

  balances(): Refusable<ReadonlyArray<Balance>> {
    return Effect.map(reach(this.store.balances(null)), ({ now, rows }) =>
      rows.map((row) => balanceOf(row, now))
    )
  }

  entries(query: EntriesQuery = {}): Stream.Stream<Entry, BudgetError.BudgetError> {
    const span = Checks.checkSpan(query)
    if (typeof span === "string") return Stream.fail(Checks.invalidOptions(span))
    if (span === undefined) return Stream.empty
    const { account = null } = query
    const { from, to } = span
    return Stream.paginate(0, (after) =>
      Effect.map(reach(this.store.entries({ after, size: pageSize, account, from, to })), (page) => [
        page,
        page.length < pageSize ? Option.none() : Option.fromNullishOr(page.at(-1)?.seq)
      ])
    )
  }

  /**
   * Makes sure that nothing stays held, or charged, under an id of ours that nobody ever got. Its lease may have run out
   * before the store hears of this, which a cancel leaves as it is; after it nothing more is admitted, so that an end then
   * finds all there will ever be: what it has released is released again, and of what was never there nothing is known.
   */
  cancel(id: string): void {
    this.forget(id)
    let isCancelled = false
    const cancelled = Effect.map(this.store.cancel(id), () => {
      isCancelled = true
      this.lines.poke()
    })
    const ended = Effect.map(this.store.end({ id, amount: 0, verdict: "released", label: null }), (answer) =>
      this.noteEnd(id, answer)
    )
    // Each has to get through once, and not both in a row.
    const run = Effect.suspend(() => (isCancelled ? ended : Effect.andThen(cancelled, ended)))
    this.later(`cancel ${id}`, { run })
  }

  later(key: string, job: Job): void {
    this.late.set(key, job)
    this.lateness.openUnsafe()
  }

  /**
   * Tries all that is left to write; says whether all was written. What fails goes behind the rest, so that one job that
   * the store will never do keeps nobody's place in line and nobody's money.
   */
  get writeOnce(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      let failures = 0
      const tried = ([key, job]: readonly [string, Job]): Effect.Effect<void> =>
        failures >= patience || this.late.get(key) !== job
          ? Effect.void
          : Effect.uninterruptible(
              Effect.match(job.run, {
                onFailure: () => {
                  failures++
                  if (this.late.get(key) === job) this.moveBack(key, job)
                },
                onSuccess: () => {
                  if (this.late.get(key) === job) this.late.delete(key)
                }
              })
            )
      return Effect.map(Effect.forEach(Array.from(this.late), tried, { discard: true }), () => failures === 0)
    })
  }

  moveBack(key: string, job: Job): void {
    this.late.delete(key)
    this.late.set(key, job)
  }

  /** Writes what could not be written, at growing intervals while the store stays away, and what is new at once. */
  get writeLate(): Effect.Effect<never> {
    const called = Effect.andThen(
      this.lateness.await,
      Effect.sync(() => this.lateness.closeUnsafe())
    )
    const round = (delay: number): Effect.Effect<void> =>
      Effect.flatMap(this.writeOnce, (isDone) =>
        isDone
          ? Effect.void
          : Effect.flatMap(
              Effect.raceFirst(Effect.as(Effect.sleep(delay), false), Effect.as(called, true)),
              (isNew) => round(isNew ? delay : Math.min(delay * 2, 10_000))
            )
      )
    return Effect.forever(Effect.andThen(called, round(50)))
  }

  unwritten(): ReadonlyArray<Unwritten> {
    const late = Array.from(this.late.values()).flatMap((job) => job.unwritten ?? [])
    return [...Array.from(this.refused.values(), ({ unwritten }) => unwritten), ...late]
  }

  /** Those who wait are turned away; then the last chance of what is left to write, and the words about what was not. */
  handOver(): Effect.Effect<void> {
    const round: Effect.Effect<void> = Effect.flatMap(this.writeOnce, (isDone) =>
      isDone ? Effect.void : Effect.andThen(Effect.sleep(100), round)
    )
    // What an ask of this process's own ids may hold is known when it is over, and taken back then.
    const asked: Effect.Effect<void> = Effect.suspend(() =>
      this.asking === 0 ? Effect.void : Effect.andThen(Effect.sleep(10), asked)
    )
    const last = Effect.andThen(Effect.andThen(Scope.close(this.lineScope, Exit.void), asked), round)
    return Effect.suspend(() => {
      this.stage = "closing"
      this.lines.close()
      return Effect.andThen(
        Effect.timeoutOrElse(Effect.interruptible(last), {
          duration: this.options.writeAtClose ?? "10 seconds",
          orElse: () => Effect.void
        }),
        Effect.suspend(() => {
          this.stage = "closed"
          return this.tellUnwritten(this.unwritten())
        })
      )
    })
  }

  tellUnwritten(left: ReadonlyArray<Unwritten>): Effect.Effect<void> {
    if (left.length === 0) return Effect.void
    const logged = Effect.forEach(left, (each) =>
      aside(
        Effect.logError(
          `${lineOf(each)} The ledger is closed, and nobody knows that this is in its books: its store could not be ` +
            "reached, or refused it. Look there for the reservation before you book it by hand."
        )
      )
    )
    return Effect.andThen(logged, this.options.onUnwritten?.(left) ?? Effect.void)
  }

  /** Renews what this process holds and charges what others let run out. */
  get keepAlive(): Effect.Effect<never> {
    const renewed = Effect.suspend(() => {
      const ids = Array.from(this.held)
      if (ids.length === 0) return Effect.void
      return Effect.map(this.store.renew(ids, this.lease), (renewed) => {
        // What has ended or run out elsewhere needs no one who keeps it.
        const alive = new Set(renewed.map(({ id }) => id))
        for (const id of ids) if (!alive.has(id)) this.forget(id)
      })
    })
    const swept: Answer<void> = Effect.flatMap(this.store.expire(pageSize), (entries) => {
      this.tell(entries)
      return entries.length < pageSize ? Effect.void : swept
    })
    // At once too: a process may be done before its first turn, as many in a row may be.
    return Effect.andThen(quietly(swept), this.every(this.lease / 3, Effect.andThen(renewed, swept)))
  }

  /** Keeps the places of those who wait. */
  get keepPlaces(): Effect.Effect<never> {
    return this.every(
      this.place / 4,
      Effect.suspend(() => {
        const ids = this.lines.waiting()
        return ids.length === 0 ? Effect.void : this.store.stay(ids, this.place)
      })
    )
  }

  /** Whoever holds or waits for something keeps the program alive by himself. */
  every(interval: number, work: Answer<void>): Effect.Effect<never> {
    return Effect.forever(Effect.andThen(nap(Math.max(1, interval)), quietly(work)))
  }
}

const quietly = (work: Answer<void>): Effect.Effect<void> =>
  Effect.catch(Effect.uninterruptible(work), ({ detail }) =>
    aside(Effect.logDebug(`The ledger's store is away: ${detail}`))
  )
