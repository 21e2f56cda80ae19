/**
 * The whole ledger on top of a store's verbs: it waits, keeps leases alive, sweeps those that ran out, and stays
 * right when the store is away or an answer is lost.
 *
 * A reservation whose outcome is not known is not admitted; its id is cancelled in the background. An ending whose
 * outcome is not known is kept and repeated until it is written; when the scope closes first, it is handed over with
 * its exact amount. What this process held and did not end runs into its lease and is charged in full.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constTrue } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BudgetError from "../BudgetError.ts"
import * as Usd from "../Usd.ts"
import { isAtOnce, lasting, nap } from "./background.ts"
import * as Checks from "./ledgerChecks.ts"
import { lastBalance } from "./lastBalance.ts"
import type {
  AccountRow,
  Answer,
  EndAnswer,
  EndAsk,
  HeldRow,
  LedgerStore,
  ReserveAsk,
  StoreUnavailable
} from "./ledgerStore.ts"
import { noLimit } from "./ledgerStore.ts"
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

/** What still has to reach the store, by a key of its own; done when it answers. */
interface Job {
  readonly run: Answer<unknown>
  readonly unwritten?: Unwritten | undefined
  readonly end?: EndAsk | undefined
}

/** A verb is tried so often before its store counts as away, after 25 and 50 ms. */
const pauses: ReadonlyArray<number> = [25, 50]

/**
 * Hardly more than the verb itself where that succeeds, which `Effect.retry` is not: each call pays for it twice. Under
 * `runSync` nobody may wait.
 */
const briefly = <A>(answer: Answer<A>, [pause, ...rest] = pauses): Answer<A> =>
  Effect.catch(answer, (failure) =>
    Effect.withFiber((fiber) =>
      pause === undefined || isAtOnce(fiber)
        ? Effect.fail(failure)
        : Effect.andThen(Effect.sleep(pause), briefly(answer, rest))
    )
  )

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const away = ({ detail }: StoreUnavailable): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.LedgerUnavailable({ detail }))

const reach = <A>(answer: Answer<A>): Refusable<A> => Effect.mapError(briefly(answer), away)

/** Builds the service. Its fibers live in the scope; what is left to write when that closes is written first. */
export const make = (
  store: LedgerStore,
  options?: StoredOptions
): Effect.Effect<Ledger, never, Scope.Scope> =>
  Effect.gen(function* () {
    const told = yield* PubSub.sliding<Entry>(1_024)
    const scope = yield* Effect.scope
    const workers = yield* Scope.fork(scope)
    const books = new StoredBooks(store, options ?? {}, told, workers)
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
      close: (account) => Effect.uninterruptible(books.close(account)),
      reserve: (request) => Effect.suspend(() => books.reserve(request)),
      settle: (reservation, charge) =>
        Effect.uninterruptible(Effect.suspend(() => books.end(reservation, charge))),
      release: (reservation) =>
        Effect.uninterruptible(Effect.suspend(() => books.end(reservation, undefined))),
      renew: (reservation) => Effect.uninterruptible(books.renew(reservation)),
      setLimit: (account, limit) => Effect.uninterruptible(books.setLimit(account, limit)),
      pause: (account) => Effect.uninterruptible(books.pause(account, true)),
      resume: (account) => Effect.uninterruptible(books.pause(account, false)),
      balance: (account) => books.balance(account),
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
    windowStart: isOver ? (span?.start ?? null) : row.windowStart,
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

const pageSize = 500

class StoredBooks {
  readonly store: LedgerStore
  readonly lease: number
  readonly poll: number
  readonly place: number
  readonly options: StoredOptions
  readonly told: PubSub.PubSub<Entry>
  readonly lines: WaitingLines
  /** Ids of this process's reservations that have not ended. */
  readonly held = new Set<string>()
  /** Who this process is to the temporary accounts that it has open, by account. */
  readonly openers = new Map<string, Array<string>>()
  readonly late = new Map<string, Job>()
  readonly lateness = Latch.makeUnsafe(false)
  tickets = 0

  constructor(store: LedgerStore, options: StoredOptions, told: PubSub.PubSub<Entry>, scope: Scope.Scope) {
    this.store = store
    this.options = options
    this.told = told
    this.lease = Math.max(1, Math.round(millis(options.lease ?? "1 minute")))
    this.poll = Math.max(1, millis(options.poll ?? "1 second"))
    this.place = Math.max(15_000, this.poll * 5)
    this.lines = new WaitingLines({
      scope,
      poll: this.poll,
      ask: (ask) => this.ask(ask),
      giveBack: (held) => this.cancel(held.id),
      leave: (id) => this.later(`leave ${id}`, { run: store.leave(id) })
    })
  }

  tell(entries: ReadonlyArray<Entry>): void {
    for (const entry of entries) PubSub.publishUnsafe(this.told, entry)
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
    const { account, least, most = least, share = 1, waitAtMost } = request
    const ask: ReserveAsk = {
      id: request.id ?? crypto.randomUUID(),
      fingerprint: Checks.fingerprint(request),
      account,
      least,
      most,
      share,
      lease: this.lease,
      place: waitAtMost === undefined ? null : this.place
    }
    const ticket = ++this.tickets
    const admitted = Effect.flatMap(this.ask(ask), (outcome) => {
      if (outcome._tag === "StoreUnavailable") {
        // Whoever made the id may repeat the request. Nobody knows an id of ours but this.
        if (request.id === undefined) this.cancel(ask.id)
        return Effect.fail(away(outcome))
      }
      return waitAtMost === undefined || !isObstacle(outcome)
        ? this.answer(request, ask, outcome, 0)
        : this.wait(request, ask, ticket, outcome, waitAtMost)
    })
    // Whoever was interrupted while the store decided never sees the answer: what it holds goes back.
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(admitted, (reservation) =>
        Effect.onInterrupt(Effect.as(restore(Effect.void), reservation), () =>
          Effect.sync(() => this.cancel(reservation.id))
        )
      )
    )
  }

  /** Asks the store, and opens the windows that it finds closed. */
  ask(ask: ReserveAsk): Effect.Effect<Outcome> {
    const once: Answer<Outcome> = Effect.flatMap(this.store.reserve(ask), (answer) => {
      if (answer._tag !== "Stale") return Effect.succeed(answer)
      const key = answer.row.frame ?? ""
      const span = fromKey(key)?.at(answer.now)
      return span === undefined
        ? Effect.die(new Error(`The books know a window that this version does not: "${key}".`))
        : Effect.andThen(this.store.roll(answer.row.account, key, span.start, span.end), once)
    })
    return Effect.catch(briefly(once), (failure) => Effect.succeed(failure))
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
        return Effect.succeed(reservationOf(outcome.held))
      case "Short":
        return Effect.fail(stopped(outcome.row, request.least, waitedMillis, outcome.hopeless))
      case "Paused":
        return Effect.fail(stopped(outcome.row, request.least, waitedMillis, false))
      case "NotOpen":
        return Checks.notOpen(request.account)
      case "StoreUnavailable":
        return Effect.fail(away(outcome))
      case "Taken": {
        if (request.id === undefined && outcome.how === "ended") return this.tooLate(ask.id)
        const detail =
          outcome.how === "another ask"
            ? "its id was given to another request."
            : outcome.how === "ended"
              ? "it has ended."
              : "it was cancelled, because its answer was lost."
        return Effect.fail(
          BudgetError.because(new BudgetError.ReservationConflict({ reservation: ask.id, detail }))
        )
      }
    }
  }

  /** Its lease ran out, and charged it, before this process heard that it was admitted: nobody has used it. */
  tooLate(id: string): Refusable<never> {
    const end: EndAsk = { id, amount: 0, verdict: "released", label: null }
    this.later(`end ${id}`, { run: this.ended(this.store.end(end)), end })
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
    return Effect.flatMap(Clock.currentTimeMillis, (since) => {
      const waited = Effect.map(Clock.currentTimeMillis, (now) => now - since)
      let told: Outcome | undefined
      let resume: (effect: Effect.Effect<Outcome>) => void = () => undefined
      const waiter: Waiter = {
        ask,
        ticket,
        state: "waiting",
        obstacle,
        answered: (outcome) => {
          told = outcome
          resume(Effect.succeed(outcome))
        }
      }
      const line = Effect.callback<Outcome>((answer) => {
        resume = answer
        if (told !== undefined) answer(Effect.succeed(told))
      })
      const timed = Effect.timeoutOrElse(line, {
        duration: waitAtMost,
        orElse: () => Effect.sync(() => waiter.obstacle)
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
              else if (Exit.isFailure(exit) && told?._tag === "Granted") this.cancel(ask.id)
            })
        )
      )
    })
  }

  end(reservation: Reservation, charge: Charge | undefined): Refusable<Entry> {
    const bad = charge === undefined ? undefined : Checks.checkCharge(charge)
    if (bad !== undefined) return Checks.invalid(bad)
    const ask: EndAsk = {
      id: reservation.id,
      amount: charge?.amount ?? 0,
      verdict: charge?.verdict ?? "released",
      label: charge?.label ?? null
    }
    const key = `end ${ask.id}`
    const earlier = this.late.get(key)?.end
    if (earlier !== undefined && (earlier.amount !== ask.amount || earlier.verdict !== ask.verdict)) {
      return Checks.conflict(reservation, "another end of it waits to be written.")
    }
    const run = this.store.end(ask)
    return Effect.matchEffect(briefly(run), {
      onFailure: ({ detail }) => {
        const { account, id } = reservation
        this.later(key, {
          run: this.ended(run),
          end: ask,
          unwritten: { reservation: id, account, charge: charge ?? null }
        })
        const kept = `${detail} The end of reservation ${id} is kept and written as soon as it can be.`
        return Effect.fail(BudgetError.because(new BudgetError.LedgerUnavailable({ detail: kept })))
      },
      onSuccess: (answer) => {
        this.late.delete(key)
        this.noteEnd(ask.id, answer)
        switch (answer._tag) {
          case "Ended":
            return Effect.succeed(answer.entry)
          case "Differs":
            return Checks.conflict(reservation, Checks.howItEnded(answer.entry))
          case "Unknown":
            return Checks.conflict(reservation, "it was not made by this ledger.")
          case "OutOfRange":
            return Checks.outOfRange(reservation, ask.amount)
        }
      }
    })
  }

  noteEnd(id: string, answer: EndAnswer): void {
    if (answer._tag !== "OutOfRange") this.held.delete(id)
    if (answer._tag === "Ended" && !answer.again) this.tell([answer.entry, ...answer.crossed])
  }

  /** An end that was kept has reached the store, which may refuse it: then it is told, since nobody listens. */
  ended(run: Answer<EndAnswer>): Answer<void> {
    return Effect.flatMap(run, (answer) =>
      answer._tag === "Ended"
        ? Effect.sync(() => this.noteEnd(answer.entry.reservation, answer))
        : Effect.logError(`An end that was kept for the ledger was refused by it: ${answer._tag}.`)
    )
  }

  renew(reservation: Reservation): Refusable<Reservation> {
    const { id } = reservation
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
    const { account = null, from = null, to = null } = query
    return Stream.paginate(0, (after) =>
      Effect.map(reach(this.store.entries({ after, size: pageSize, account, from, to })), (page) => [
        page,
        page.length < pageSize ? Option.none() : Option.fromNullishOr(page.at(-1)?.seq)
      ])
    )
  }

  /** Makes sure that nothing stays held under an id that nobody will end. */
  cancel(id: string): void {
    this.held.delete(id)
    const run = Effect.map(this.store.cancel(id), () => this.lines.poke())
    this.later(`cancel ${id}`, { run })
  }

  later(key: string, job: Job): void {
    this.late.set(key, job)
    this.lateness.openUnsafe()
  }

  /** Tries all that is left to write; says whether all was written. */
  get writeOnce(): Effect.Effect<boolean> {
    return Effect.suspend(() =>
      Effect.reduce(Array.from(this.late), constTrue, (isDone, [key, job]) =>
        !isDone || this.late.get(key) !== job
          ? Effect.succeed(isDone)
          : Effect.uninterruptible(
              Effect.match(job.run, {
                onFailure: () => false,
                onSuccess: () => {
                  if (this.late.get(key) === job) this.late.delete(key)
                  return true
                }
              })
            )
      )
    )
  }

  /** Writes what could not be written, at growing intervals while the store stays away. */
  get writeLate(): Effect.Effect<never> {
    const round = (delay: number): Effect.Effect<void> =>
      Effect.flatMap(this.writeOnce, (isDone) =>
        isDone ? Effect.void : Effect.andThen(Effect.sleep(delay), round(Math.min(delay * 2, 10_000)))
      )
    return Effect.forever(
      Effect.andThen(
        Effect.andThen(
          this.lateness.await,
          Effect.sync(() => this.lateness.closeUnsafe())
        ),
        round(50)
      )
    )
  }

  unwritten(): ReadonlyArray<Unwritten> {
    return Array.from(this.late.values()).flatMap((job) => job.unwritten ?? [])
  }

  /** The last chance of what is left to write, and the words about what was not. */
  handOver(): Effect.Effect<void> {
    const round: Effect.Effect<void> = Effect.flatMap(this.writeOnce, (isDone) =>
      isDone ? Effect.void : Effect.andThen(Effect.sleep(100), round)
    )
    return Effect.andThen(
      Effect.timeoutOrElse(Effect.interruptible(round), {
        duration: this.options.writeAtClose ?? "10 seconds",
        orElse: () => Effect.void
      }),
      Effect.suspend(() => {
        const left = this.unwritten()
        if (left.length === 0) return Effect.void
        const logged = Effect.forEach(left, ({ account, charge, reservation }) =>
          Effect.logError(
            `The ledger was closed and could not be reached: reservation ${reservation} on account ${account} ` +
              (charge === null
                ? "was to be released."
                : `was to be settled for ${Usd.format(charge.amount)} (${charge.verdict}).`)
          )
        )
        return Effect.andThen(logged, this.options.onUnwritten?.(left) ?? Effect.void)
      })
    )
  }

  /** Renews what this process holds and charges what others let run out. */
  get keepAlive(): Effect.Effect<never> {
    const renewed = Effect.suspend(() => {
      const ids = Array.from(this.held)
      return ids.length === 0 ? Effect.void : Effect.asVoid(this.store.renew(ids, this.lease))
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
    Effect.logDebug(`The ledger's store is away: ${detail}`)
  )
