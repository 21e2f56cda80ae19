/** An attempt that was admitted, on its way to its one end: the same for a request and for a call of a model. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Budget from "../Budget.ts"
import type * as Ledger from "../Ledger.ts"
import type * as Quote from "../Quote.ts"
import type * as Settlement from "../Settlement.ts"
import type * as Usd from "../Usd.ts"
import { beginTrace, sinkOf, type Called, type CallTrace } from "./callTrace.ts"
import { Cover } from "./cover.ts"

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
  inputCost: Usd.Usd,
  counted: Effect.Effect<Budget.Ask>
): Budget.Ask | Effect.Effect<Budget.Ask> => {
  if (inputBound === "bytes") return askOf(quote)
  const isMuch = inputBound === "counted" || inputCost > remaining * mostUncounted
  return isMuch ? counted : { ...askOf(quote), tighter: counted }
}

export interface AttemptOptions {
  readonly budget: Budget.Budget["Service"]
  /** That of the fiber that called. */
  readonly context: Context.Context<never>
  /** That of whoever built what was called. */
  readonly built: Context.Context<never>
  readonly reservation: Ledger.Reservation
  /** The call of a model whose reservation this is. */
  readonly cover: Cover | undefined
  /** The calls of models that it is made for. */
  readonly covers: Cover | undefined
  readonly label: string
  readonly bound: Budget.Bill["bound"]
  readonly decide: (outcome: Settlement.Outcome) => Settlement.Verdict
}

/** An attempt that was admitted. It ends once. */
export class Attempt {
  readonly reservation: Ledger.Reservation
  readonly context: Context.Context<never>
  readonly #options: AttemptOptions
  ended = false
  #trace: CallTrace | undefined = undefined
  #signal: AbortSignal | null | undefined = undefined

  constructor(options: AttemptOptions) {
    this.#options = options
    this.reservation = options.reservation
    this.context = options.context
    if (options.covers !== undefined) Cover.sent(options.covers, options.budget)
  }

  /** Runs for the fiber that called what cannot fail: what settling cannot book it keeps, and tells. */
  run(effect: Effect.Effect<void>): void {
    Effect.runForkWith(this.context)(effect)
  }

  /** Traced where somebody looks. */
  traceAs(called: Called, cap: number | undefined): void {
    const sink = sinkOf(this.context, this.#options.built)
    if (sink === undefined) return
    const { account, amount } = this.reservation
    this.#trace = beginTrace(sink, called, { account, reserved: amount, cap })
  }

  readonly aborted = (): void => this.end({ _tag: "Lost", why: "the call was aborted" })

  endOnAbort(signal: AbortSignal | null | undefined): void {
    this.#signal = signal
    // It takes itself away as it ends, once, so that it need not be told to.
    signal?.addEventListener("abort", this.aborted)
  }

  end(outcome: Settlement.Outcome): void {
    const ending = this.ending(outcome)
    if (ending !== undefined) this.run(ending)
  }

  /** What books its end, for whoever runs it by himself; nothing where it has ended. */
  ending(outcome: Settlement.Outcome): Effect.Effect<void> | undefined {
    if (this.ended) return undefined
    this.ended = true
    this.#signal?.removeEventListener("abort", this.aborted)
    const { budget, covers, decide } = this.#options
    const verdict = decide(outcome)
    if (covers !== undefined) Cover.ended(covers, budget, verdict._tag !== "Released")
    const booking =
      verdict._tag === "Released" ? this.#release() : budget.settle(this.reservation, this.#billOf(verdict))
    const trace = this.#trace
    return trace === undefined
      ? booking
      : Effect.andThen(
          booking,
          Effect.sync(() => trace.end(outcome, verdict))
        )
  }

  /** Somebody else books its end. */
  leave(): void {
    if (this.ended) return
    this.ended = true
    const { budget, covers } = this.#options
    if (covers !== undefined) Cover.ended(covers, budget, false)
  }

  /** Somebody else books its end, and on another reservation. */
  yielding(): Effect.Effect<void> {
    if (this.ended) return Effect.void
    this.leave()
    return this.#release()
  }

  #release(): Effect.Effect<void> {
    const { budget, cover } = this.#options
    return cover?.giveBack() === true ? Effect.void : budget.release(this.reservation)
  }

  #billOf(verdict: Exclude<Settlement.Verdict, { readonly _tag: "Released" }>): Budget.Bill {
    const { bound, cover, label } = this.#options
    cover?.end()
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
