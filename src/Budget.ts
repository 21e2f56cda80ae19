/**
 * A hard budget around any effect that has a price.
 *
 * `layer` opens the account that everything is charged to; `withBudget` reserves the most an effect can cost,
 * runs it, and settles what it did cost, whatever happened in between; `within` gives a part of a program an
 * account and a limit of its own. A budget knows accounts and money, and nothing of any vendor.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as BudgetError from "./BudgetError.ts"
import { aside } from "./internal/background.ts"
import { feedOf, keptOf, settlementOf } from "./internal/budgetEvents.ts"
import type { Bill, Event, ModelSummary, Summary } from "./internal/budgetTypes.ts"
import { Held, holdsAny, Places } from "./internal/callContext.ts"
import {
  checked,
  checkName,
  checkUnbounded,
  checkWord,
  invalid,
  invalidOptions,
  isAmount,
  isText,
  noLimit
} from "./internal/ledgerChecks.ts"
import { fromWindow } from "./internal/ledgerWindows.ts"
import { isThin, shareOf, type Bound } from "./internal/margins.ts"
import { isDone, ownExit, stepOf, stepping, unthrowing, type Caller } from "./internal/steps.ts"
import { raise, Tally, unnamed, warnThin } from "./internal/tally.ts"
import * as Ledger from "./Ledger.ts"
import * as Usd from "./Usd.ts"

export type { Bill, ModelSummary, Summary, Event }

/**
 * What to reserve: `least`, or between `least` and `most` by `share`; see `Ledger.ReserveRequest`. `tighter`: what to
 * ask for instead where this does not fit at once, such as a closer bound that takes time to work out; it is not
 * worked out otherwise.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const ask: Budget.Ask = { least: Usd.dollars("0.01"), most: Usd.dollars("0.20"), share: 0.1 }
 * console.log(Usd.format(ask.least)) // $0.01
 * ```
 *
 * @since 0.1.0
 */
export interface Ask {
  readonly least: Usd.Usd
  /** What it is for, in the summary and the books, unless its bill says better. */
  readonly label?: string | undefined
  readonly most?: Usd.Usd | undefined
  readonly share?: number | undefined
  readonly tighter?: Effect.Effect<Ask> | undefined
}

/**
 * The service: reserve on the account of the fiber that asks, settle or release, and look. `settle` and
 * `release` never fail: what cannot be booked is logged and told as `Unsettled`; the ledger writes it later where its
 * store was away, and the reservation stays held where it was refused. They are of no effect on a reservation that
 * has ended.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const budget = yield* Budget.Budget
 *   const held = yield* budget.acquire({ least: Usd.dollars("0.5") })
 *   yield* budget.settle(held, { amount: Usd.dollars("0.1"), verdict: "metered" })
 *   return budget.view().spent
 * }).pipe(Effect.provide(Budget.layer({ limit: Usd.dollars("1") })), Effect.provide(Ledger.layerMemory()))
 * console.log(await Effect.runPromise(program)) // 100000000
 * ```
 *
 * @since 0.1.0
 */
export class Budget extends Context.Service<
  Budget,
  {
    /** What this budget is known by: a service that was put around this one has the same. */
    readonly key: object
    /** The account that this budget opened. */
    readonly account: string
    readonly ledger: Ledger.Ledger["Service"]
    /** Leaves an account that is open now when the budget ends, and not before; again is of no effect. */
    readonly keep: (account: string) => Effect.Effect<void, BudgetError.BudgetError>
    /** Reserves on the account of the fiber, or fails, or waits first where the budget waits. */
    readonly acquire: (ask: Ask) => Effect.Effect<Ledger.Reservation, BudgetError.BudgetError>
    /** Books what a reservation cost; again is of no effect. */
    readonly settle: (reservation: Ledger.Reservation, bill: Bill) => Effect.Effect<void>
    /** Ends a reservation that cost nothing; again is of no effect. */
    readonly release: (reservation: Ledger.Reservation) => Effect.Effect<void>
    /** Counts and tells a refusal that was decided before anything was reserved. */
    readonly refuse: (error: BudgetError.BudgetError) => Effect.Effect<void>
    /** Counts and tells an output cap that was written into a request. */
    readonly capped: (model: string, tokens: number) => Effect.Effect<void>
    /** Remembers an assumption that nobody confirmed. */
    readonly unverified: (what: string) => void
    /** Changes the limit of an account, in nano-dollars. */
    readonly setLimit: (account: string, limit: Usd.Usd) => Effect.Effect<void, BudgetError.BudgetError>
    /** Admits nothing more: every `acquire` from now on, and every one that waits, fails with `Closed`. */
    readonly shut: Effect.Effect<void>
    /** The summary, now, without asking the ledger. */
    readonly view: () => Summary
    /** What the summary says remains. */
    readonly remaining: () => Usd.Usd
    /** The reservations of this process that have not ended. */
    readonly outstanding: () => ReadonlyArray<Ledger.Reservation>
    readonly events: Stream.Stream<Event>
  }
>()("agent-budget/Budget") {}

/**
 * What an account may spend: itself and all below it.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const daily: Budget.LimitOptions = { limit: Usd.dollars("20"), window: "day", thresholds: [0.5, 0.8, 0.95] }
 * const edited: Budget.LimitOptions = { ...daily, limit: Usd.dollars("30"), onLimitChange: "set" }
 * console.log(edited.window) // day
 * ```
 *
 * @since 0.1.0
 */
export interface LimitOptions {
  /** In nano-dollars. Only the limits above hold where it is left out. */
  readonly limit?: Usd.Usd | undefined
  /** In each window the whole limit may be spent anew; for ever, and once, without one. */
  readonly window?: Ledger.Window | undefined
  /** Fractions of the limit: as `spent` reaches one of them a `ThresholdCrossed` event is told. */
  readonly thresholds?: ReadonlyArray<number> | undefined
  /**
   * What to do where the account is open, or was left in a durable ledger, with another limit: `"refuse"` it with an
   * `AccountConflict` (unless said otherwise, so that two programs that disagree find out), or `"set"` it to this one,
   * with an entry in the books.
   */
  readonly onLimitChange?: "refuse" | "set" | undefined
}

/**
 * How a budget behaves.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const options: Budget.Options = { limit: Usd.dollars("5"), onExceeded: "wait", waitAtMost: "30 seconds" }
 * console.log(options.onExceeded) // wait
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends LimitOptions {
  readonly limit: Usd.Usd
  /** What becomes of a call that does not fit: it fails, unless said otherwise, or waits in line for room. */
  readonly onExceeded?: "fail" | "wait" | undefined
  /** How long a call waits: 5 minutes unless said, below the 10 after which the OpenAI client gives up. */
  readonly waitAtMost?: Duration.Input | undefined
  /** The name of the account in the ledger; `root` unless said. */
  readonly account?: string | undefined
}

const openAccount = (
  ledger: Ledger.Ledger["Service"],
  request: Ledger.OpenRequest,
  onLimitChange: LimitOptions["onLimitChange"]
): Effect.Effect<void, BudgetError.BudgetError> => {
  const { account, limit } = request
  const wrong = checkWord("onLimitChange", onLimitChange, ["refuse", "set"])
  if (wrong !== undefined) return Effect.fail(invalidOptions(wrong))
  if (onLimitChange !== "set" || limit === undefined) return ledger.open(request)
  return Effect.catchReason(ledger.open(request), "BudgetError", "AccountConflict", () =>
    Effect.andThen(
      ledger.open({ ...request, limit: undefined }),
      Effect.tapError(ledger.setLimit(account, limit), () => Effect.ignore(ledger.close(account)))
    )
  )
}

const dead = BudgetError.because(
  new BudgetError.LedgerUnavailable({ detail: "it died as it ended something, of what the log says." })
)

/** A ledger of the user's that dies as it ends a call or an account takes no answer with it, which is paid for. */
const alive = <A>(
  verb: Effect.Effect<A, BudgetError.BudgetError>
): Effect.Effect<A, BudgetError.BudgetError> =>
  Effect.catchDefect(verb, (defect) =>
    Effect.andThen(
      aside(Effect.logError("The ledger died as it ended something.", Cause.die(defect))),
      Effect.fail(dead)
    )
  )

/** By the key of the budget, which a service that was put around it has too. */
const tallies = new WeakMap<object, Tally>()

const closed = BudgetError.because(new BudgetError.Closed({ detail: "The budget is closed." }))

/**
 * Builds the service: opens the account in the ledger, and leaves it when the scope ends.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.scoped(Effect.map(Budget.make({ limit: Usd.dollars("5") }), (budget) => budget.account))
 * console.log(await Effect.runPromise(Effect.provide(program, Ledger.layerMemory()))) // root
 * ```
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const ledger = yield* Ledger.Ledger
  const { account = Ledger.rootAccount, limit, onLimitChange, thresholds, window } = options
  if (!isAmount(limit)) return yield* invalid(noLimit(account, limit))
  yield* checked(
    checkUnbounded({ waitAtMost: options.waitAtMost }) ??
      checkWord("onExceeded", options.onExceeded, ["fail", "wait"])
  )
  const kept = new Set<string>([account])
  const leaveOne = (each: string) => Effect.ignore(alive(Effect.suspend(() => ledger.close(each))))
  yield* Effect.acquireRelease(
    openAccount(ledger, { account, limit, window, thresholds }, onLimitChange),
    () => Effect.forEach(Array.from(kept).reverse(), leaveOne, { discard: true })
  )
  const frame = window === undefined ? undefined : fromWindow(window)
  const clock = yield* Clock.Clock
  const balance = yield* ledger.balance(account)
  const tally = new Tally({
    limit,
    balance,
    frame: typeof frame === "string" ? undefined : frame,
    clock: () => clock.currentTimeMillisUnsafe()
  })
  const waitAtMost = options.onExceeded === "wait" ? (options.waitAtMost ?? "5 minutes") : undefined
  // By itself, also where what holds it is compared by its parts.
  const key = Equal.byReferenceUnsafe({})
  tallies.set(key, tally)
  const here = (caller: Caller): string => caller.getRef(Places).get(key) ?? account
  const { events, listen, publish } = yield* feedOf(ledger, account, tally)
  // What a process left behind is told when it runs out.
  if (balance.reserved > 0) yield* listen
  let shut = false
  /** Those who may stand in line. */
  const waiting = new Set<Fiber.Fiber<unknown, unknown>>()
  const close = Effect.sync(() => {
    shut = true
    for (const fiber of waiting) fiber.interruptUnsafe()
  })
  yield* Effect.addFinalizer(() => close)
  const settingLimit = Semaphore.makeUnsafe(1)

  const reserveStep = stepOf(ledger.reserve)
  const settleStep = unthrowing(stepOf(ledger.settle))
  const releaseStep = unthrowing(stepOf(ledger.release))

  const reserved = (
    caller: Caller,
    at: string,
    { tighter, least, most, share }: Ask,
    waitAtMost: Duration.Input | undefined
  ): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> => {
    // Not to pass those in line, it stands there too, for no time.
    const firstWait = tighter === undefined || waitAtMost === undefined ? waitAtMost : 0
    const first = reserveStep(caller, { account: at, least, most, share, waitAtMost: firstWait })
    if (tighter === undefined || isDone(first)) return first
    const isToWait = ({ _tag }: BudgetError.Reason): boolean =>
      _tag === "BudgetExceeded" || (_tag === "AccountPaused" && waitAtMost !== undefined)
    return Effect.catch(first, (error): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> =>
      isToWait(error.reason)
        ? Effect.flatMap(Effect.interruptible(tighter), ({ least, most, share }) =>
            ledger.reserve({ account: at, least, most, share, waitAtMost })
          )
        : Effect.fail(error)
    )
  }

  const giveBack = (reservation: Ledger.Reservation): Effect.Effect<void> =>
    Effect.ignore(ledger.release(reservation))

  /** Asks in a fiber of its own, which can be called out of the line while the caller's goes on. */
  const leaving = (
    reserve: Effect.Effect<Ledger.Reservation, BudgetError.BudgetError>
  ): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> =>
    Effect.flatMap(
      Effect.forkChild(reserve, { startImmediately: true, uninterruptible: true }),
      (fiber): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> => {
        waiting.add(fiber)
        return Fiber.await(fiber).pipe(
          Effect.interruptible,
          Effect.onInterrupt(() =>
            Effect.flatMap(Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)), (exit) =>
              Exit.isSuccess(exit) ? giveBack(exit.value) : Effect.void
            )
          ),
          Effect.ensuring(Effect.sync(() => waiting.delete(fiber))),
          Effect.flatMap((exit) => (shut && Exit.isFailure(exit) ? Effect.fail(closed) : exit))
        )
      }
    )

  const acquire = stepping((caller, ask: Ask): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> => {
    const at = here(caller)
    if (shut) return Effect.fail(closed)
    const opened = (reservation: Ledger.Reservation): void => {
      tally.opened(reservation, ask.label)
      const { id, amount } = reservation
      publish(() => ({ _tag: "Reserved", account: at, reservation: id, amount }))
    }
    const reserve = reserved(caller, at, ask, holdsAny(caller.getRef(Held)) ? undefined : waitAtMost)
    if (isDone(reserve)) {
      opened(reserve.value)
      return reserve
    }
    // Uninterruptible up to the tally: what an engine has reserved must not be lost on its way here.
    return Effect.uninterruptible(
      Effect.matchEffect(waitAtMost === undefined ? reserve : leaving(reserve), {
        onFailure: (error) => {
          if (shut) return Effect.fail(closed)
          tally.refused++
          publish(() => ({ _tag: "Refused", account: at, error }))
          return Effect.fail(error)
        },
        onSuccess: (reservation) => {
          // It stood in line when the budget was shut.
          if (shut) return Effect.andThen(giveBack(reservation), Effect.fail(closed))
          opened(reservation)
          return Effect.succeed(reservation)
        }
      })
    )
  })

  const unsettled =
    (reservation: Ledger.Reservation, bill: Bill | undefined) => (error: BudgetError.BudgetError) => {
      const { account: at, id } = reservation
      const amount = bill?.amount ?? Usd.zero
      const kept = error.reason._tag === "LedgerUnavailable" && error !== dead
      if (kept) tally.kept(reservation, bill && keptOf(reservation, bill), bill?.usage)
      publish(() => ({ _tag: "Unsettled", account: at, reservation: id, amount, kept, error }))
      return aside(
        Effect.logError(
          `Reservation ${id} on account ${at} ${kept ? "is not in the books yet" : "stays held"}: ` +
            `${Usd.format(amount)} could not be booked. ${error.message}`
        )
      )
    }

  /** Compares a bill with its bound. Nearly always there is nothing to tell. */
  const compared = (at: string, model: string, bound: Bound, billed: number): Effect.Effect<void> => {
    const thin = isThin(bound, billed) && tally.thin(model)
    if (thin) {
      const { input: quoted, margin } = bound
      publish(() => ({ _tag: "MarginThin", account: at, model, billed, quoted, margin }))
    }
    const highest = tally.nearer(model, shareOf(bound, billed))
      ? raise(model, shareOf(bound, billed))
      : Effect.void
    return thin ? Effect.andThen(highest, warnThin(model, bound, billed)) : highest
  }

  const named = (reservation: Ledger.Reservation, bill: Bill): Bill =>
    bill.label === undefined ? { ...bill, label: tally.open.get(reservation) } : bill

  const settled = (reservation: Ledger.Reservation, bill: Bill, entry: Ledger.Entry): Effect.Effect<void> => {
    const booked = settlementOf(entry)
    if (booked === undefined || !tally.ended(reservation)) return Effect.void
    tally.settled(booked, bill.usage, entry.chain.at(-1)?.window ?? null)
    publish(() => booked)
    const { bound, usage } = bill
    return bound === undefined || usage === undefined
      ? Effect.void
      : compared(booked.account, booked.label ?? unnamed, bound, usage.input)
  }

  const released = (reservation: Ledger.Reservation): Effect.Effect<void> => {
    if (tally.ended(reservation)) {
      const { account: at, id } = reservation
      publish(() => ({ _tag: "Released", account: at, reservation: id }))
    }
    return Effect.void
  }

  return Budget.of({
    key,
    account,
    ledger,
    keep: (opened) => {
      if (kept.has(opened)) return ledger.close(opened).pipe(Effect.asVoid)
      kept.add(opened)
      return Effect.void
    },
    acquire,
    settle: stepping((caller, reservation: Ledger.Reservation, bill: Bill): Effect.Effect<void> => {
      if (!tally.open.has(reservation)) return Effect.void
      const charge = named(reservation, bill)
      const settle = settleStep(caller, reservation, charge)
      if (isDone(settle)) return settled(reservation, bill, settle.value)
      return Effect.matchEffect(alive(settle), {
        onFailure: unsettled(reservation, charge),
        onSuccess: (entry) => settled(reservation, bill, entry)
      })
    }),
    release: stepping((caller, reservation: Ledger.Reservation): Effect.Effect<void> => {
      if (!tally.open.has(reservation)) return Effect.void
      const release = releaseStep(caller, reservation)
      if (isDone(release)) return released(reservation)
      return Effect.matchEffect(alive(release), {
        onFailure: unsettled(reservation, undefined),
        onSuccess: () => released(reservation)
      })
    }),
    refuse: (error) =>
      Effect.withFiber((fiber) => {
        tally.refused++
        publish(() => ({ _tag: "Refused", account: here(fiber), error }))
        return Effect.void
      }),
    capped: (model, tokens) =>
      Effect.withFiber((fiber) => {
        tally.capped++
        publish(() => ({ _tag: "Capped", account: here(fiber), model, tokens }))
        return Effect.void
      }),
    unverified: (what) => tally.unverified.add(what),
    // One after the other, and each as a whole: the last that the ledger took is the one that the summary shows.
    setLimit: (at, limit) => {
      const set = Effect.map(ledger.setLimit(at, limit), () => {
        if (at === account) tally.limit = limit
      })
      return Semaphore.withPermit(settingLimit, Effect.uninterruptible(set))
    },
    shut: close,
    view: () => tally.view(),
    remaining: () => tally.remaining(),
    outstanding: () => Array.from(tally.open.keys()),
    events
  })
})

/**
 * A budget over the ledger that is provided. Fails with `InvalidAmount` for a limit that is not one, with
 * `InvalidAccount` for windows or thresholds that are none, or for other windows than those that the account has, and
 * with `AccountConflict` where the account has another limit, unless `onLimitChange` says otherwise.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Budget, Ledger, Usd } from "agent-budget"
 *
 * const FiveDollars = Budget.layer({ limit: Usd.dollars("5.00") }).pipe(Layer.provide(Ledger.layerMemory()))
 * const left = Effect.map(Budget.summary, (summary) => Usd.format(summary.remaining))
 * console.log(await Effect.runPromise(Effect.provide(left, FiveDollars))) // $5.00
 * ```
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Budget, BudgetError.BudgetError, Ledger.Ledger> =>
  Layer.effect(Budget, make(options))

/**
 * A budget over a memory ledger of its own: the one-liner for one process.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const balance = Effect.provide(Budget.balance, Budget.layerMemory({ limit: Usd.dollars("1") }))
 * console.log((await Effect.runPromise(balance)).account) // root
 * ```
 *
 * @since 0.1.0
 */
export const layerMemory = (options: Options): Layer.Layer<Budget, BudgetError.BudgetError> =>
  Layer.provide(layer(options), Ledger.layerMemory())

/**
 * What an effect may cost, and what it did cost. `quote` is the most it can cost, never a guess. `cost` reads
 * the bill from the result; if it throws or answers no amount, the whole quote is charged. A failure, a defect or an
 * interruption is charged whole too, unless `onFailure` says `"release"` (it costs nothing) or computes the
 * bill from the cause. What is interrupted as it is admitted has not begun, and costs nothing.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const options: Budget.WithBudgetOptions<{ readonly tokens: number }> = {
 *   quote: Usd.dollars("0.02"),
 *   cost: (answer) => Usd.nanos(answer.tokens * 2_500),
 *   onFailure: "charge"
 * }
 * console.log(Usd.format(options.cost({ tokens: 1_000 }))) // $0.0025
 * ```
 *
 * @since 0.1.0
 */
export interface WithBudgetOptions<A, E = unknown> {
  readonly quote: Usd.Usd
  /** The bill, read from the result. */
  readonly cost: (value: A) => Usd.Usd
  /** What is charged where there is no result: the whole quote, nothing, or what this computes. */
  readonly onFailure?: "charge" | "release" | ((cause: Cause.Cause<E>) => Usd.Usd) | undefined
  /** What it is in the summary and the books; `effect` unless said. One that is no text is an `InvalidOptions`. */
  readonly label?: string | undefined
}

/**
 * Runs an effect inside the budget: reserves its quote, runs it, settles its cost; the reservation ends whatever
 * happens. An effect that does not fit is not started: it fails with `BudgetExceeded`, or waits first where the
 * budget says so. Only that wait and the effect itself can be interrupted; the wait also in a region that is
 * uninterruptible, so that what must run whatever happens, such as a finalizer, is better off without one.
 *
 * Whoever holds something never waits for more, but a fiber that the effect starts anew, with `Effect.runPromise` or the
 * like, does not know that something is held: where the budget waits, it may wait for its own caller, until `waitAtMost`.
 * Have the effect await the inner one as an effect.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const answer = Effect.succeed({ text: "42", usd: "0.015" }).pipe(
 *   Budget.withBudget({ quote: Usd.dollars("0.02"), cost: (value) => Usd.dollars(value.usd) })
 * )
 * const program = Effect.andThen(answer, Budget.summary).pipe(
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") }))
 * )
 * console.log(Usd.format((await Effect.runPromise(program)).spent)) // $0.015
 * ```
 *
 * @since 0.1.0
 */
export const withBudget: {
  <A, E>(
    options: WithBudgetOptions<A, E>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BudgetError.BudgetError, R | Budget>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: WithBudgetOptions<A, E>
  ): Effect.Effect<A, E | BudgetError.BudgetError, R | Budget>
} = dual(
  2,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: WithBudgetOptions<A, E>
  ): Effect.Effect<A, E | BudgetError.BudgetError, R | Budget> =>
    Effect.withFiber((fiber) => {
      const outside = fiber.context
      const budget = Context.getUnsafe(outside, Budget)
      const { label } = options
      // The books would refuse it, but only after the money is spent.
      if (label !== undefined && !isText(label)) {
        const error = badLabel(label)
        return Effect.andThen(budget.refuse(error), Effect.fail(error))
      }
      // By hand, since providing it in the usual way would cost as much as the reservation.
      const holding = { held: true, outer: fiber.getRef(Held) }
      let reservation: Ledger.Reservation | undefined
      let hasBegun = false
      const begin = Effect.suspend(() => {
        hasBegun = true
        return self
      })
      const admitted = (held: Ledger.Reservation): Effect.Effect<A, E, R> => {
        reservation = held
        fiber.setContext(Context.add(outside, Held, holding))
        return begin
      }
      // Reserved inside of what ends it, so that nothing comes between the two.
      const whole = Effect.suspend((): Effect.Effect<A, E | BudgetError.BudgetError, R> => {
        const acquire = stepOf(budget.acquire)(fiber, { least: options.quote })
        return isDone(acquire)
          ? admitted(acquire.value)
          : Effect.uninterruptibleMask((restore) =>
              Effect.flatMap(acquire, (held) => restore(admitted(held)))
            )
      })
      return Effect.onExit(whole, (exit) => {
        if (reservation === undefined) return Effect.void
        fiber.setContext(outside)
        // Whoever was forked inside and lives on may wait from now on.
        holding.held = false
        // It was interrupted as it was admitted, so that nothing was done that could cost anything.
        if (!hasBegun) return budget.release(reservation)
        const own = ownExit<A, E, BudgetError.BudgetError>(exit)
        return settleExit(fiber, budget, reservation, own, options)
      })
    })
)

const badLabel = (label: unknown): BudgetError.BudgetError =>
  BudgetError.because(
    new BudgetError.InvalidOptions({ detail: `the label is of type ${typeof label}, and not a text.` })
  )

const settleExit = <A, E>(
  caller: Caller,
  budget: Budget["Service"],
  reservation: Ledger.Reservation,
  exit: Exit.Exit<A, E>,
  options: WithBudgetOptions<A, E>
): Effect.Effect<void> => {
  const { onFailure, label = "effect" } = options
  const settle = (amount: Usd.Usd, verdict: "metered" | "assumed"): Effect.Effect<void> =>
    stepOf(budget.settle)(caller, reservation, { amount, verdict, label })
  if (Exit.isFailure(exit) && typeof onFailure !== "function") {
    return onFailure === "release" ? budget.release(reservation) : settle(reservation.amount, "assumed")
  }
  const priced = attempt(() => {
    if (Exit.isSuccess(exit)) return options.cost(exit.value)
    return typeof onFailure === "function" ? onFailure(exit.cause) : NaN
  })
  return typeof priced === "number"
    ? settle(Usd.nanos(priced), "metered")
    : Effect.andThen(
        settle(reservation.amount, "assumed"),
        aside(
          Effect.logWarning(`The cost of ${label} is unknown (${priced}): its whole reservation is charged.`)
        )
      )
}

/** What a user's cost function answers, or what is wrong with it, told without a word of what it threw. */
const attempt = (cost: () => number): number | string => {
  try {
    const amount = cost()
    return Number.isSafeInteger(amount) && amount >= 0 ? amount : "its cost function answered no amount"
  } catch {
    // Even the name of what was thrown is the user's, and may hold anything.
    return "its cost function threw"
  }
}

/**
 * An account for a part of a program, with limits as in `LimitOptions`. The name is one part of a path
 * (`root/team/ann`): not empty, no slash.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const ann: Budget.AccountOptions = { account: "ann", limit: Usd.dollars("0.50") }
 * console.log(ann.account) // ann
 * ```
 *
 * @since 0.1.0
 */
export interface AccountOptions extends LimitOptions {
  readonly account: string
}

/** The account that the fiber's calls are charged to. */
const accountOf = (budget: Budget["Service"]): Effect.Effect<string> =>
  Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Places).get(budget.key) ?? budget.account))

/** Control characters and slashes would make paths that say one thing and mean another. */
const badName = /[/\u0000-\u001f\u007f]/

interface Opened {
  readonly budget: Budget["Service"]
  readonly account: string
}

const openChild = Effect.fnUntraced(function* (options: AccountOptions, temporary: boolean) {
  const budget = yield* Budget
  const parent = yield* accountOf(budget)
  const unnamed = checkName(options.account)
  if (unnamed !== undefined) return yield* unnamed
  if (options.account === "" || options.account.length > 256 || badName.test(options.account)) {
    const detail = "a name has 1 to 256 characters, no slash and no control character. Choose another."
    return yield* BudgetError.because(new BudgetError.InvalidAccount({ account: options.account, detail }))
  }
  const account = `${parent}/${options.account}`
  const { limit, onLimitChange, thresholds, window } = options
  yield* openAccount(budget.ledger, { account, parent, limit, window, thresholds, temporary }, onLimitChange)
  return { budget, account }
})

/**
 * Opens an account below the current one that stays open, with its books, until the budget ends (and longer in a
 * durable ledger). Use it by `within` with the same name. The same name again joins it; another limit is an
 * `AccountConflict`, unless `onLimitChange` says otherwise.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   yield* Budget.open({ account: "ann", limit: Usd.dollars("1") })
 *   yield* Effect.void.pipe(
 *     Budget.withBudget({ quote: Usd.dollars("0.3"), cost: () => Usd.dollars("0.3") }),
 *     Budget.within({ account: "ann" })
 *   )
 *   const balances = yield* Budget.balances
 *   return balances.map((balance) => `${balance.account} ${Usd.format(balance.spent)}`)
 * }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("5") })))
 * console.log(await Effect.runPromise(program)) // [ 'root $0.30', 'root/ann $0.30' ]
 * ```
 *
 * @since 0.1.0
 */
export const open = (options: AccountOptions): Effect.Effect<void, BudgetError.BudgetError, Budget> =>
  Effect.uninterruptible(
    Effect.flatMap(Budget, (budget) =>
      Effect.flatMap(openChild(options, false), (place) => budget.keep(place.account))
    )
  )

/**
 * Charges everything inside `self` to an account below the current one, and to every account above it. The
 * account is opened for it and closed after it; what it spent stays in its parent's books. Where nobody else has it open
 * meanwhile (`open`), the next `within` of that name has its whole limit again, in a window of its own.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const greedy = Effect.void.pipe(
 *   Budget.withBudget({ quote: Usd.dollars("0.60"), cost: () => Usd.dollars("0.60") }),
 *   Budget.within({ account: "agent-7", limit: Usd.dollars("0.50") }),
 *   Effect.catchReason("BudgetError", "BudgetExceeded", (reason) => Effect.succeed(reason.account)),
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("5") }))
 * )
 * console.log(await Effect.runPromise(greedy)) // root/agent-7
 * ```
 *
 * @since 0.1.0
 */
export const within: {
  (
    options: AccountOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BudgetError.BudgetError, R | Budget>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: AccountOptions
  ): Effect.Effect<A, E | BudgetError.BudgetError, R | Budget>
} = dual(
  2,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: AccountOptions
  ): Effect.Effect<A, E | BudgetError.BudgetError, R | Budget> =>
    Effect.acquireUseRelease(
      openChild(options, true),
      ({ account, budget }) =>
        Effect.withFiber((fiber) =>
          Effect.provideService(self, Places, new Map(fiber.getRef(Places)).set(budget.key, account))
        ),
      leaveAccount
    )
)

/** An account that cannot be closed stays in the books: that is no reason to lose what was paid for. */
const leaveAccount = ({ account, budget }: Opened): Effect.Effect<void> =>
  Effect.matchEffect(alive(Effect.suspend(() => budget.ledger.close(account))), {
    onFailure: (error) => aside(Effect.logWarning(`Account ${account} stays open. ${error.message}`)),
    onSuccess: () => Effect.void
  })

/** The value, with what was spent on the account that it runs on. */
const metered = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly value: A; readonly spent: Usd.Usd }, E, R | Budget> =>
  Effect.gen(function* () {
    const budget = yield* Budget
    const account = yield* accountOf(budget)
    const tally = tallies.get(budget.key)
    const use = Effect.gen(function* () {
      const value = yield* self
      // The value is paid for: a ledger that is away, or dies, must not take it.
      const asked = yield* Effect.exit(Effect.suspend(() => budget.ledger.balance(account)))
      const own = tally?.tracked(account) ?? Usd.zero
      // The ledger has yet to book what it was away for, and alone knows of a lease that ran out.
      return { value, spent: Exit.isSuccess(asked) && asked.value.spent > own ? asked.value.spent : own }
    })
    return yield* Effect.acquireUseRelease(
      Effect.sync(() => tally?.track(account)),
      () => use,
      () => Effect.sync(() => tally?.untrack(account))
    )
  })

/**
 * The value of `self` together with what was spent inside it, in nano-dollars: by the ledger, or by what this process
 * settled where that is more, as while the ledger is away. A ledger that cannot say costs nobody the value.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const tracked = Effect.succeed("answer").pipe(
 *   Budget.withBudget({ quote: Usd.dollars("0.02"), cost: () => Usd.dollars("0.01") }),
 *   Budget.track,
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") }))
 * )
 * const { value, spent } = await Effect.runPromise(tracked)
 * console.log(value, Usd.format(spent)) // answer $0.01
 * ```
 *
 * @since 0.1.0
 */
export const track = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly value: A; readonly spent: Usd.Usd }, E | BudgetError.BudgetError, R | Budget> =>
  Effect.suspend(() =>
    within(
      metered(self),
      // A name that no other process has either: a shared ledger would take two of the same for one account.
      { account: `track-${crypto.randomUUID()}` }
    )
  )

/**
 * The numbers of the current account, from the ledger.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const balance = await Effect.runPromise(
 *   Effect.provide(Budget.balance, Budget.layerMemory({ limit: Usd.dollars("2") }))
 * )
 * console.log(balance.spent) // 0
 * ```
 *
 * @since 0.1.0
 */
export const balance: Effect.Effect<Ledger.Balance, BudgetError.BudgetError, Budget> = Effect.flatMap(
  Budget,
  (budget) => Effect.flatMap(accountOf(budget), budget.ledger.balance)
)

/**
 * The numbers of the current account and of each one above it, the budget's own first: what a call here must have room
 * on, and be admitted by, all of.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const inside = Budget.chain.pipe(
 *   Budget.within({ account: "ann", limit: Usd.dollars("5") }),
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("2") }))
 * )
 * console.log((await Effect.runPromise(inside)).map(({ account }) => account)) // [ 'root', 'root/ann' ]
 * ```
 *
 * @since 0.1.0
 */
export const chain: Effect.Effect<
  ReadonlyArray<Ledger.Balance>,
  BudgetError.BudgetError,
  Budget
> = Effect.gen(function* () {
  const budget = yield* Budget
  const here = yield* accountOf(budget)
  const names = here
    .slice(budget.account.length)
    .split("/")
    .map((_, depth, parts) => budget.account + parts.slice(0, depth + 1).join("/"))
  return yield* Effect.forEach(names, (name) => budget.ledger.balance(name))
})

/**
 * The most that one call can reserve now: the least that is available on the current account and on each one above
 * it, in nano-dollars; 0 where one of them is paused. Nothing is reserved. Where none of them has a limit it is all that
 * an amount can hold.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const inside = Budget.available.pipe(
 *   Budget.within({ account: "ann", limit: Usd.dollars("5") }),
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("2") }))
 * )
 * console.log(Usd.format(await Effect.runPromise(inside))) // $2.00
 * ```
 *
 * @since 0.1.0
 */
export const available: Effect.Effect<Usd.Usd, BudgetError.BudgetError, Budget> = Effect.map(
  chain,
  (balances) => {
    let least: Usd.Usd = Usd.maximum
    for (const { available: left, paused } of balances) {
      if (paused) return Usd.zero
      if (left !== null && left < least) least = left
    }
    return least
  }
)

/**
 * The numbers of every open account of the ledger, parents before children.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const balances = Effect.provide(Budget.balances, Budget.layerMemory({ limit: Usd.dollars("2") }))
 * console.log((await Effect.runPromise(balances)).length) // 1
 * ```
 *
 * @since 0.1.0
 */
export const balances: Effect.Effect<
  ReadonlyArray<Ledger.Balance>,
  BudgetError.BudgetError,
  Budget
> = Effect.flatMap(Budget, (budget) => budget.ledger.balances)

/**
 * This process's summary of the budget.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const summary = Effect.provide(Budget.summary, Budget.layerMemory({ limit: Usd.dollars("2") }))
 * console.log((await Effect.runPromise(summary)).refused) // 0
 * ```
 *
 * @since 0.1.0
 */
export const summary: Effect.Effect<Summary, never, Budget> = Effect.map(Budget, (budget) => budget.view())

/**
 * What happens to the budget from now on, until it ends. A reader that falls 1,024 events behind loses the oldest.
 *
 * @example
 * ```ts
 * import { Effect, Fiber, Stream } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const two = yield* Effect.forkChild(Budget.events.pipe(Stream.take(2), Stream.runCollect))
 *   yield* Effect.yieldNow
 *   yield* Effect.void.pipe(Budget.withBudget({ quote: Usd.dollars("1"), cost: () => Usd.zero }))
 *   return (yield* Fiber.join(two)).map((event) => event._tag)
 * }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("2") })))
 * console.log(await Effect.runPromise(program)) // [ 'Reserved', 'Settled' ]
 * ```
 *
 * @since 0.1.0
 */
export const events: Stream.Stream<Event, never, Budget> = Stream.unwrap(
  Effect.map(Budget, (budget) => budget.events)
)

/**
 * Changes the limit of the current account. Raising it lets those in who wait; lowering it below what is spent
 * and reserved takes nothing back and admits nothing more.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const program = Effect.andThen(Budget.setLimit(Usd.dollars("3")), Budget.balance)
 * const raised = Effect.provide(program, Budget.layerMemory({ limit: Usd.dollars("2") }))
 * console.log((await Effect.runPromise(raised)).limit) // 3000000000
 * ```
 *
 * @since 0.1.0
 */
export const setLimit = (limit: Usd.Usd): Effect.Effect<void, BudgetError.BudgetError, Budget> =>
  Effect.flatMap(Budget, (budget) =>
    Effect.flatMap(accountOf(budget), (account) => budget.setLimit(account, limit))
  )

/**
 * Pauses the current account: nothing more is admitted on it and below it, and whoever asks fails with
 * `AccountPaused`, or waits where the budget waits. What is held already ends as ever.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const call = Effect.void.pipe(Budget.withBudget({ quote: Usd.dollars("1"), cost: () => Usd.zero }))
 * const program = Effect.andThen(Budget.pause, Effect.flip(call)).pipe(
 *   Effect.provide(Budget.layerMemory({ limit: Usd.dollars("2") }))
 * )
 * console.log((await Effect.runPromise(program)).message)
 * ```
 *
 * @since 0.1.0
 */
export const pause: Effect.Effect<void, BudgetError.BudgetError, Budget> = Effect.flatMap(Budget, (budget) =>
  Effect.flatMap(accountOf(budget), budget.ledger.pause)
)

/**
 * Resumes the current account after a `pause`; those who wait are let in.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Usd } from "agent-budget"
 *
 * const program = Effect.andThen(Effect.andThen(Budget.pause, Budget.resume), Budget.balance)
 * const balance = Effect.provide(program, Budget.layerMemory({ limit: Usd.dollars("2") }))
 * console.log((await Effect.runPromise(balance)).paused) // false
 * ```
 *
 * @since 0.1.0
 */
export const resume: Effect.Effect<void, BudgetError.BudgetError, Budget> = Effect.flatMap(Budget, (budget) =>
  Effect.flatMap(accountOf(budget), budget.ledger.resume)
)
