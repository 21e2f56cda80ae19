/** An attempt that was admitted, on its way to its one end: the same for a request and for a call of a model. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Budget from "../Budget.ts"
import type * as BudgetError from "../BudgetError.ts"
import type * as Ledger from "../Ledger.ts"
import type * as Pricing from "../Pricing.ts"
import * as Quote from "../Quote.ts"
import type * as Settlement from "../Settlement.ts"
import * as Usage from "../Usage.ts"
import * as Usd from "../Usd.ts"
import type { Bill } from "./budgetTypes.ts"
import { beginTrace, type Called, type CallTrace, type Sink } from "./callTrace.ts"
import { Cover, type Seen } from "./cover.ts"
import { isDone, stepOf, type Caller, type ContextCaller } from "./steps.ts"

/** More than this share of what remains is not held for the length of a text without counting its tokens. */
const mostUncounted = 0.01

export const askOf = ({ least, most, share, model }: Quote.Quote): Budget.Ask => ({
  least,
  most,
  share,
  label: model
})

/** What to ask for first: by the length of the input or, where that would hold much, by its count. */
export const firstAsk = (
  remaining: Usd.Usd,
  inputBound: Quote.Options["inputBound"],
  quote: Quote.Quote,
  counted: Effect.Effect<Budget.Ask>
): Budget.Ask | Effect.Effect<Budget.Ask> => {
  if (inputBound === "bytes") return askOf(quote)
  const little = remaining * mostUncounted
  // Where all of the call is little, its input is.
  const isMuch = inputBound === "counted" || (quote.most > little && Quote.inputCost(quote) > little)
  if (isMuch) return counted
  const { least, most, share, model } = quote
  return { least, most, share, label: model, tighter: counted }
}

/** The price of a call rose while it waited: this is what it comes to now, which is more than was reserved for it. */
export interface Dearer {
  readonly _tag: "Dearer"
  readonly quote: Quote.Quote
}

/**
 * What a quote comes to now that its call is admitted. Where that is more than was reserved, the call gives the
 * reservation back and asks again; where it has no bound any more, it is refused.
 */
export const admittedOn = (
  { amount, at }: Ledger.Reservation,
  quote: Quote.Quote,
  pricing: Pricing.Pricing["Service"]
): Result.Result<Quote.Quote, BudgetError.BudgetError | Dearer> => {
  const now = Quote.admittedAt(quote, pricing, at)
  return Result.isFailure(now) || now.success.least <= amount
    ? now
    : Result.fail({ _tag: "Dearer", quote: now.success })
}

export interface AttemptOptions {
  readonly budget: Budget.Budget["Service"]
  /** In the context of the fiber that called. */
  readonly caller: ContextCaller
  readonly reservation: Ledger.Reservation
  /** Who books its end, where the reservation is not its own: the call of a model. */
  readonly cover: Pick<Cover, "settle"> | undefined
  /** The calls of models that it is made for. */
  readonly covers: Cover | undefined
  readonly label: string
  readonly bound: Bill["bound"]
  readonly decide: (outcome: Settlement.Outcome) => Settlement.Verdict
  /** All that is held for it by now, where that is not what was reserved: it is charged where nobody can decide. */
  readonly held?: (() => Usd.Usd) | undefined
}

/** What the calls above learn of an end that may have been billed. */
const seenOf = (outcome: Settlement.Outcome, charged: Usd.Usd): Omit<Seen, "model"> => {
  const isError = outcome._tag === "Answered" && outcome.status >= 300
  return {
    reading: outcome._tag === "Reported" ? outcome.reading : undefined,
    isLost: isError || outcome._tag === "Lost",
    unread: isError ? Usd.zero : charged
  }
}

/** One end for what was billed below and what was not seen there: nobody confirmed that the one is not the other. */
const sumOf = (below: Bill | undefined, own: Bill | undefined): Bill | undefined => {
  if (below === undefined || own === undefined) return own ?? below
  const usage = below.usage && own.usage && Usage.add(below.usage, own.usage)
  // Beyond the range of amounts the ledger books nothing, and says so.
  const amount = Usd.nanos(Math.min(Usd.maximum, below.amount + own.amount))
  return { amount, verdict: "assumed", label: own.label, usage }
}

/** An attempt that was admitted. It ends once. */
export class Attempt {
  readonly reservation: Ledger.Reservation
  readonly #options: AttemptOptions
  ended = false
  #trace: CallTrace | undefined = undefined
  #signal: AbortSignal | null | undefined = undefined

  constructor(options: AttemptOptions) {
    this.#options = options
    this.reservation = options.reservation
    if (options.covers !== undefined) Cover.sent(options.covers, options.budget.key)
  }

  get context(): Context.Context<never> {
    return this.#options.caller.context
  }

  /** Runs for the fiber that called what cannot fail: what settling cannot book it keeps, and tells. */
  run(effect: Effect.Effect<void>): void {
    Effect.runForkWith(this.context)(effect)
  }

  /** Traced where somebody looks. */
  traceAs(sink: Sink | undefined, called: Called, cap: number | undefined): void {
    if (sink === undefined) return
    const { account, amount } = this.reservation
    this.#trace = beginTrace(sink, called, { account, reserved: amount, cap })
  }

  readonly aborted = (): void => this.end({ _tag: "Lost", why: "the call was aborted" })

  endOnAbort(signal: AbortSignal | null | undefined): void {
    // It takes itself away as it ends, once, so that it need not be told to.
    signal?.addEventListener("abort", this.aborted)
    this.#signal = signal
  }

  end(outcome: Settlement.Outcome): void {
    try {
      const ending = this.ending(outcome, undefined, this.#options.caller)
      if (ending !== undefined && !isDone(ending)) this.run(ending)
    } catch (defect) {
      // Whoever reads the answer, which is paid for, or aborts the call, has nothing to do with it.
      this.#tellDefect(defect)
    }
  }

  #tellDefect(defect: unknown): void {
    const { amount, id } = this.reservation
    const detail = `The end of a call died, which had ${Usd.format(amount)} reserved (reservation ${id}).`
    this.run(Effect.logError(detail, Cause.die(defect)))
  }

  /** What its bill comes to; of one that prices given by the user die of, all that it holds. */
  #decide(outcome: Settlement.Outcome): Settlement.Verdict {
    try {
      return this.#options.decide(outcome)
    } catch (defect) {
      this.#tellDefect(defect)
      const amount = this.#options.held?.() ?? this.reservation.amount
      return { _tag: "Assumed", amount, why: "its bill could not be worked out" }
    }
  }

  /**
   * What books its end, for whoever runs it by himself; nothing where it has ended. `below`: what requests that it came
   * to were billed, and nobody has booked. Where there is a `caller` it is booked at once, if nobody has to wait.
   */
  ending(outcome: Settlement.Outcome, below?: Bill, caller?: Caller): Effect.Effect<void> | undefined {
    if (this.ended) return undefined
    this.ended = true
    this.#signal?.removeEventListener("abort", this.aborted)
    const { budget, covers, label } = this.#options
    const verdict = this.#decide(outcome)
    const bill = verdict._tag === "Released" ? undefined : this.#billOf(verdict)
    if (covers !== undefined) {
      Cover.ended(covers, budget.key, bill && { model: label, ...seenOf(outcome, bill.amount) })
    }
    const booking = this.#book(sumOf(below, bill), caller)
    const trace = this.#trace
    return trace === undefined
      ? booking
      : Effect.andThen(
          booking,
          Effect.sync(() => trace.end(outcome, verdict))
        )
  }

  /** Books what the requests that it came to were billed, which is all that it cost. */
  yielding(below: Bill | undefined): Effect.Effect<void> {
    if (this.ended) return Effect.void
    this.ended = true
    const { budget, covers } = this.#options
    if (covers !== undefined) Cover.ended(covers, budget.key, undefined)
    return this.#book(below)
  }

  #book(bill: Bill | undefined, caller?: Caller): Effect.Effect<void> {
    const { reservation } = this
    const { budget, cover } = this.#options
    if (cover !== undefined) return cover.settle(bill)
    if (bill === undefined) return budget.release(reservation)
    return caller === undefined
      ? budget.settle(reservation, bill)
      : stepOf(budget.settle)(caller, reservation, bill)
  }

  #billOf(verdict: Exclude<Settlement.Verdict, { readonly _tag: "Released" }>): Bill {
    const { bound, label } = this.#options
    const isMetered = verdict._tag === "Metered"
    return {
      amount: verdict.amount,
      verdict: isMetered ? "metered" : "assumed",
      label: isMetered ? verdict.model : label,
      usage: isMetered ? verdict.usage : undefined,
      bound
    }
  }
}
