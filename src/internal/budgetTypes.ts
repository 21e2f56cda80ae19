/** What a budget tells: its summary and its events. `Budget.ts` documents them for users. */
import type * as BudgetError from "../BudgetError.ts"
import type * as Usage from "../Usage.ts"
import type * as Usd from "../Usd.ts"
import type { Charge } from "./ledgerTypes.ts"

/** What one model cost so far, in this process. */
export interface ModelSummary {
  readonly calls: number
  readonly spent: Usd.Usd
  readonly assumed: Usd.Usd
  readonly usage: Usage.Usage
  readonly closest: number
}

/** A budget, as far as this process knows it. */
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

/** What happened to a budget. */
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

/** One kind of event. */
export type EventOf<Tag extends Event["_tag"]> = Extract<Event, { readonly _tag: Tag }>
