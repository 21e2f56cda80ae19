/** What a budget is told and what it tells: bills, its summary and its events. `Budget.ts` exports them. */
import type * as BudgetError from "../BudgetError.ts"
import type * as Usage from "../Usage.ts"
import type * as Usd from "../Usd.ts"
import type { Charge } from "./ledgerTypes.ts"

/**
 * A charge with what is worth knowing of it: the usage that it was computed from, and the bound that its input was
 * quoted by, of which `margin` tokens lie beyond all that was ever seen billed. A bill that takes nearly all of that
 * margin is told once, as `MarginThin`.
 *
 * @example
 * ```ts
 * import { Budget, Usage, Usd } from "agent-budget"
 *
 * const bill: Budget.Bill = {
 *   amount: Usd.dollars("0.01"), verdict: "metered", label: "gpt-4o", usage: Usage.make({ input: 4_000 })
 * }
 * console.log(bill.label) // gpt-4o
 * ```
 *
 * @since 0.1.0
 */
export interface Bill extends Charge {
  readonly usage?: Usage.Usage | undefined
  readonly bound?: { readonly input: number; readonly margin: number } | undefined
}

/**
 * What one model cost so far, in this process. `assumed` is the part that no provider confirmed. `closest`: the
 * largest share of its bound on the input that a call was billed for, 0 where none was metered. On texts that are
 * counted, 0.98 is as it should be; above 1 the bound was none.
 *
 * @example
 * ```ts
 * import { Budget, Usage, Usd } from "agent-budget"
 *
 * const none: Budget.ModelSummary = {
 *   calls: 0, spent: Usd.zero, assumed: Usd.zero, usage: Usage.zero, closest: 0
 * }
 * console.log(none.calls) // 0
 * ```
 *
 * @since 0.1.0
 */
export interface ModelSummary {
  readonly calls: number
  readonly spent: Usd.Usd
  readonly assumed: Usd.Usd
  readonly usage: Usage.Usage
  readonly closest: number
}

/**
 * A budget, as far as this process knows it without asking: what the account had spent when it was opened, and what
 * this process settled, holds and refused since. With windows, `spent`, `reserved` and `remaining` are those of the
 * current one, and `nextWindow` is when the next one begins (`null` before a rolling one). `calls`, `refused`,
 * `capped`, `overrun` and `byModel` are of this process and of all windows. What others do on a ledger that is shared
 * is known to the ledger: ask it with `Budget.balance`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   yield* Effect.void.pipe(Budget.withBudget({ quote: Usd.dollars("1"), cost: () => Usd.dollars("0.4") }))
 *   return yield* Budget.summary
 * }).pipe(Effect.provide(Budget.layer({ limit: Usd.dollars("5") })), Effect.provide(Ledger.layerMemory()))
 * const summary = await Effect.runPromise(program)
 * console.log(summary.calls, Usd.format(summary.remaining)) // 1 $4.60
 * ```
 *
 * @since 0.1.0
 */
export interface Summary {
  readonly limit: Usd.Usd
  /** On the account, in its current window: by the ledger when it was opened, and what this process booked since. */
  readonly spent: Usd.Usd
  /** What this process holds. */
  readonly reserved: Usd.Usd
  /** `limit - spent - reserved`; negative after an overrun. */
  readonly remaining: Usd.Usd
  /** When the next window begins, in milliseconds of the epoch; `null` without windows, and before a rolling one. */
  readonly nextWindow: number | null
  /** Calls of this process that were charged. */
  readonly calls: number
  readonly refused: number
  /** Calls that were sent with an output cap of ours. */
  readonly capped: number
  /** What was billed beyond reservations. */
  readonly overrun: Usd.Usd
  /** What this process spent, in all windows. */
  readonly byModel: Readonly<Record<string, ModelSummary>>
  /** Assumptions that the bounds rest on and nobody confirmed, such as `unverifiedHost`. */
  readonly unverified: ReadonlyArray<string>
}

/**
 * What happened to a budget, as it happens. Amounts are nano-dollars.
 *
 * - `Reserved`, `Settled`, `Released`, `Refused`, `Capped`: the life of a call. `MarginThin`: a constant may be stale.
 * - `Unsettled`: an end that could not be booked. Where it is `kept`, the ledger's store was away: the summary counts
 *   it as what it is, and the ledger writes it as soon as it can. If not, as where a ledger of yours dies, the
 *   reservation stays held.
 * - `ThresholdCrossed`: what is spent reached a threshold of an account. `Expired`: a reservation whose lease ran out
 *   was charged in full. Each is told once, by the process that booked it.
 *
 * @example
 * ```ts
 * import { Budget, Usd } from "agent-budget"
 *
 * const line = (event: Budget.Event): string =>
 *   event._tag === "Settled" ? `${event.account} paid ${Usd.format(event.amount)}` : event._tag
 * console.log(line({ _tag: "Capped", account: "root", model: "gpt-4o", tokens: 4_096 })) // Capped
 * ```
 *
 * @since 0.1.0
 */
export type Event =
  | {
      readonly _tag: "Reserved"
      readonly account: string
      readonly reservation: string
      readonly amount: Usd.Usd
    }
  | {
      readonly _tag: "Settled"
      readonly account: string
      readonly reservation: string
      readonly reserved: Usd.Usd
      readonly amount: Usd.Usd
      readonly overrun: Usd.Usd
      readonly verdict: Charge["verdict"]
      readonly label: string | null
    }
  | { readonly _tag: "Released"; readonly account: string; readonly reservation: string }
  | { readonly _tag: "Refused"; readonly account: string; readonly error: BudgetError.BudgetError }
  | {
      readonly _tag: "Capped"
      readonly account: string
      readonly model: string
      /** The cap that was written into the request, in tokens. */
      readonly tokens: number
    }
  | {
      /** The first bill of a model that took nearly all of the margin of its quote: a constant may have gone stale. */
      readonly _tag: "MarginThin"
      readonly account: string
      readonly model: string
      /** Input tokens: those that were billed, the most by the quote, and how many of these were its margin. */
      readonly billed: number
      readonly quoted: number
      readonly margin: number
    }
  | {
      /** An end that could not be booked. */
      readonly _tag: "Unsettled"
      readonly account: string
      readonly reservation: string
      readonly amount: Usd.Usd
      /** Whether the ledger writes it as soon as it can. If not, the reservation stays held. */
      readonly kept: boolean
      readonly error: BudgetError.BudgetError
    }
  | {
      /** What is spent on the account reached a threshold of its limit; told by the process whose call did it. */
      readonly _tag: "ThresholdCrossed"
      readonly account: string
      readonly threshold: number
      readonly limit: Usd.Usd
      readonly spent: Usd.Usd
    }
  | {
      /** A reservation that nobody ended or renewed in time was charged in full; told by the process that found it. */
      readonly _tag: "Expired"
      readonly account: string
      readonly reservation: string
      readonly amount: Usd.Usd
    }

export type EventOf<Tag extends Event["_tag"]> = Extract<Event, { readonly _tag: Tag }>
