/**
 * The seam under every durable engine: the few atomic, non-waiting verbs that a store must have. `storedLedger`
 * builds the whole `Ledger` from them (waiting, renewal of leases, sweeping, what to do when the store is away).
 *
 * What a store promises:
 *
 * 1. Each verb is one atomic step: it happens whole or not at all, and no other verb sees it half-way.
 * 2. The store's own clock decides, inside that step; no time of a caller is ever compared with anything. (SQLite
 *    has no clock but its machine's; its processes share that one.) `now` in an answer is that clock, in
 *    milliseconds of the epoch. It may stand still; where it could go back, the newest time seen counts.
 * 3. Every verb may be sent again, and then changes nothing more and answers the same (`close` says where it cannot).
 *    That is what makes an answer that was lost harmless; the verbs say below by which key.
 * 4. It fails only with `StoreUnavailable`, which says nothing on whether the write happened. Everything else is an
 *    answer.
 *    A verb answers or fails in bounded time (some seconds): the store itself gives up on a connection that is stuck.
 *    A defect is a bug, never a way to say that something is away.
 * 5. Money is safe integers of nano-dollars, and so is every sum: `end` refuses what would leave that range. No
 *    limit is stored as `null` and counts as `noLimit` in each comparison, so that sums stay exact there too.
 * 6. Nothing is forgotten that a repeat may ask for: the endings of reservations are kept as long as the entries.
 *
 * Names. An account that was removed and is opened again is another account, whatever its name: endings of
 * reservations that it did not admit leave it alone. So rows refer to accounts by an id of the store. An account that
 * is open counts as an opener of a temporary parent, so that an ancestor is never removed under a live child: a limit
 * holds for whoever is below it, also when those who set it have left.
 *
 * Rows. An account: name, parent, chain (itself and its ancestors, nearest first; parents never change), limit, spent,
 * reserved, paused, frame (the key of its window, or null), windowStart, windowEnd, thresholds (parts per million of
 * the limit), its openers or that it is not temporary. A reservation: id, fingerprint, chain with the window that
 * admitted it at each account, amount, at, expiresAt, state, the seq of its first end (its `Expired` or its own ending)
 * and of its correction. Entries: as `Entry` (`chain` with the names, self first, and the `windowStart` that it counts
 * in), `seq` from 1, without gaps, in the order of booking. A line: account, id of the ask, ticket, until. A place
 * whose `until` has passed stands in nobody's way, and keeps its ticket: a process that was held up for a while finds
 * its waiters where they stood, in their order. After a day it may be deleted.
 *
 * Windows. Calendars are not a store's business. An account in windows has `spent` and `reserved` of its current one,
 * `[windowStart, windowEnd)`. When `reserve` meets an account on the chain whose window is none or has ended, it
 * changes nothing and answers `Stale`; the caller works out the window that holds the store's `now` and calls
 * `roll`, then asks again. An ending counts in the window that admitted it: an account whose `windowStart` is not
 * that of the reservation's link keeps its numbers as they are (the entry still names the window).
 *
 * Thresholds. After every change of an account's `spent` or `limit` in `end`, `expire` and `setLimit` (not in
 * `roll`): for each threshold `t` with `reached(after, t)` and not `reached(before, t)`, an entry
 * `ThresholdCrossed` in the same step, behind the entry that caused it; accounts in the order of the chain,
 * thresholds ascending. Nothing has to be remembered: it tells again after it fell below.
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as Usd from "../Usd.ts"
import type { Entry, EntryOf } from "./ledgerTypes.ts"

/** The store could not be reached, or its answer was lost: whether a write happened is not known. */
export class StoreUnavailable extends Data.TaggedError("StoreUnavailable")<{
  /** For people; never a password or a whole connection string. */
  readonly detail: string
}> {}

/** Every verb answers in this form. */
export type Answer<A> = Effect.Effect<A, StoreUnavailable>

/** What an account without a limit is counted with: the largest exact amount. */
export const noLimit = Number.MAX_SAFE_INTEGER

/** Thresholds are kept as parts per million, so that no store needs fractions. */
export const millionth = 1_000_000

/**
 * The amount at which a threshold is reached: `limit * partsPerMillion / 1,000,000`, rounded up, in steps that stay
 * below 2^53 and so are the same in doubles, 64-bit integers and JavaScript.
 */
export const thresholdAmount = (limit: number, partsPerMillion: number): number => {
  const rest = limit % millionth
  return ((limit - rest) / millionth) * partsPerMillion + Math.ceil((rest * partsPerMillion) / millionth)
}

/** Whether an account with these numbers is at a threshold or above it. Nothing is without a limit. */
export const reached = (
  numbers: { readonly limit: number | null; readonly spent: number },
  partsPerMillion: number
): boolean => numbers.limit !== null && numbers.spent >= thresholdAmount(numbers.limit, partsPerMillion)

/** An account as it is in the store; `spent` and `reserved` are those of the window that the row is in. */
export interface AccountRow {
  readonly account: string
  readonly parent: string | null
  readonly limit: Usd.Usd | null
  readonly spent: Usd.Usd
  readonly reserved: Usd.Usd
  readonly paused: boolean
  /** `Frame.key` of its window. */
  readonly frame: string | null
  readonly windowStart: number | null
  readonly windowEnd: number | null
}

/** What to open. `undefined` means: as it is, or without one where it is new. */
export interface OpenAsk {
  readonly account: string
  readonly parent: string | null
  readonly limit: Usd.Usd | null | undefined
  readonly frame: string | undefined
  /** Parts per million, ascending; they replace those that are there. */
  readonly thresholds: ReadonlyArray<number> | undefined
  /**
   * Who opens it as temporary, an id of this one opening: the account is removed when the last opener has closed it.
   * `null`: not temporary, and never removed. An account that is not temporary stays so when it is joined with an opener
   * (which is not kept then); a temporary one that is opened without becomes permanent.
   */
  readonly opener: string | null
}

/** A new account writes `Opened` with its limit; joining one writes nothing. */
export type OpenAnswer =
  | { readonly _tag: "Opened" }
  | { readonly _tag: "NoParent" }
  /** It is there under another parent, or with another limit or frame than the one that was said; nothing changed. */
  | { readonly _tag: "Differs"; readonly row: AccountRow }

/** What to hold. Everything was checked: amounts are amounts, `least <= most`, `0 < share <= 1`. */
export interface ReserveAsk {
  /** The reservation's own id, made by the caller. The same id again is the same reservation. */
  readonly id: string
  /** The ask as text: the same id with another fingerprint is refused. */
  readonly fingerprint: string
  readonly account: string
  readonly least: number
  readonly most: number
  readonly share: number
  /** How long it lives unless renewed, in milliseconds. */
  readonly lease: number
  /**
   * For an ask that waits: how long its place in line lives, in milliseconds, unless it is sent again or `stay` names
   * it. Asks without it neither heed the lines nor stand in them.
   */
  readonly place: number | null
}

/** A reservation as the store keeps it. */
export interface HeldRow {
  readonly id: string
  readonly account: string
  readonly amount: Usd.Usd
  readonly at: number
  readonly expiresAt: number
}

/**
 * The answer to an ask, found in this order:
 *
 * 1. The id is known: `Granted` again (the same row) if it is held and the fingerprint is the same, else `Taken`.
 * 2. The account is not there: `NotOpen`.
 * 3. On the chain, nearest first, an account's window is none or has ended: `Stale`.
 * 4. An account where it can never fit: `least > limit - (frame === null ? spent : 0)`: `Short`, `hopeless: true`.
 *    A place in line is given up.
 * 5. The first account, nearest first, that is paused, has `limit - spent - reserved < least`, or (only for asks with a
 *    `place`) has a live place with a lower ticket than this ask's: `Paused` or `Short`. With a `place`, the ask
 *    takes its place there: its ticket is the one it has, or the next of the store's counter; where it stood at another
 *    account it stands there no more. A place whose `until` has passed counts for nothing.
 * 6. Else it is held, on every account of the chain at once: `max(least, min(most, floor(share * room)))` where room is
 *    the smallest `limit - spent - reserved` of the chain (for `least === most`: exactly that). A `Reserved` entry is
 *    written, its place in line is given up.
 */
export type ReserveAnswer =
  | { readonly _tag: "Granted"; readonly held: HeldRow }
  | {
      readonly _tag: "Short"
      readonly now: number
      /** The account that lacks the room, or where others came first. */
      readonly row: AccountRow
      readonly hopeless: boolean
    }
  | { readonly _tag: "Paused"; readonly now: number; readonly row: AccountRow }
  | { readonly _tag: "Stale"; readonly now: number; readonly row: AccountRow }
  | { readonly _tag: "NotOpen" }
  /** The id is another ask's, or the reservation has ended, or was cancelled. */
  | { readonly _tag: "Taken"; readonly how: "another ask" | "ended" | "cancelled" }

/** How a reservation ends. */
export interface EndAsk {
  readonly id: string
  /** Nothing for a release. */
  readonly amount: number
  readonly verdict: "metered" | "assumed" | "released"
  readonly label: string | null
}

/**
 * - Held: its end is booked, `Settled` or `Released`: `reserved` falls by what was held, `spent` rises by `amount`.
 *   Also when its lease has run out but no `expire` has booked that yet.
 * - Expired: `Corrected` is booked, whatever the amounts; `spent` changes by `amount - charged`.
 * - Ended before: the same amount and verdict answers the same first entry again; any other is `Differs`.
 *
 * `entries`: the end first, then the thresholds that it crossed (only the end, on a repeat). Chains need not be open:
 * accounts that were removed since are passed over.
 */
export type EndAnswer =
  | {
      readonly _tag: "Ended"
      readonly entry: EntryOf<"Settled"> | EntryOf<"Released"> | EntryOf<"Corrected">
      readonly crossed: ReadonlyArray<EntryOf<"ThresholdCrossed">>
      /** It had ended like this before. */
      readonly again: boolean
    }
  | {
      readonly _tag: "Differs"
      readonly entry: EntryOf<"Settled"> | EntryOf<"Released"> | EntryOf<"Corrected">
    }
  /** Never held here, or cancelled. */
  | { readonly _tag: "Unknown" }
  /** `spent + reserved` of an account on the chain would pass 2^53 - 1; nothing changed. */
  | { readonly _tag: "OutOfRange" }

/** A page of the books. */
export interface EntriesAsk {
  /** Only entries with a larger `seq`. */
  readonly after: number
  /** At most so many, ascending by `seq`. */
  readonly size: number
  /** Only those whose chain has this account. */
  readonly account: string | null
  readonly from: number | null
  readonly to: number | null
}

/** The verbs of a store. */
export interface LedgerStore {
  /** Repeats are known by `opener`; an account that is not temporary is simply there. */
  readonly open: (ask: OpenAsk) => Answer<OpenAnswer>
  /**
   * Takes the opener off a temporary account and removes it with the last one, and after it the temporary ones above
   * that only it kept open; other accounts stay as they are. Answers the row as it was, or `null` where there is none.
   * So a repeat of the close that removed the account answers `null`: the one verb that does not answer the same, since
   * stores keep nothing of a removed account but its entries. Only an opener's own close can have removed what it has
   * open, so it takes `null` for done, and the numbers from the books (`lastBalance`).
   */
  readonly close: (
    account: string,
    opener: string | null
  ) => Answer<{ readonly now: number; readonly row: AccountRow } | null>
  /** Repeats are known by `id`. */
  readonly reserve: (ask: ReserveAsk) => Answer<ReserveAnswer>
  /**
   * Begins a window: only if the account's frame is `frame`, its own window is none or has ended, and
   * `start <= now < end`; then `spent` and `reserved` are 0. Otherwise nothing: another process was quicker.
   *
   * It begins at `start`, or where the one before it ended if that is later. By other time zone data, or where a clock
   * is changed by half an hour, the calendar's window at `now` began inside that one, maybe at the same moment: ends of
   * what was admitted then would count in the new one too.
   */
  readonly roll: (account: string, frame: string, start: number, end: number) => Answer<void>
  /**
   * The places of these asks live `place` milliseconds from the store's now, those too whose time has passed if it
   * still has them.
   */
  readonly stay: (ids: ReadonlyArray<string>, place: number) => Answer<void>
  /** Gives up a place in line, if there is one. */
  readonly leave: (id: string) => Answer<void>
  /** Repeats are known by `id`. */
  readonly end: (ask: EndAsk) => Answer<EndAnswer>
  /**
   * Makes sure that nothing is or will be held under an id whose answer was lost: held, it is released; unknown, it is
   * remembered as cancelled, and a `reserve` with it that arrives later is refused. Its place in line is given up. An
   * id that has ended stays as it is.
   */
  readonly cancel: (id: string) => Answer<void>
  /**
   * Sets `expiresAt` to the store's now plus `lease` for those that are held still, whether or not it had passed, and
   * answers these; the others have ended or expired.
   */
  readonly renew: (
    ids: ReadonlyArray<string>,
    lease: number
  ) => Answer<ReadonlyArray<{ readonly id: string; readonly expiresAt: number }>>
  /**
   * Charges held reservations whose `expiresAt <= now` in full, at most `most`, oldest first: `Expired` entries, each
   * with the thresholds that it crossed behind it.
   */
  readonly expire: (most: number) => Answer<ReadonlyArray<Entry>>
  /** Writes `LimitChanged` and thresholds, unless the limit is that already; `null` where there is no such account. */
  readonly setLimit: (account: string, limit: Usd.Usd | null) => Answer<ReadonlyArray<Entry> | null>
  /** Writes `Paused` or `Resumed` unless it is so already; `null` where there is no such account. */
  readonly pause: (account: string, paused: boolean) => Answer<ReadonlyArray<Entry> | null>
  /** One account, or all, parents before children. */
  readonly balances: (
    account: string | null
  ) => Answer<{ readonly now: number; readonly rows: ReadonlyArray<AccountRow> }>
  readonly entries: (ask: EntriesAsk) => Answer<ReadonlyArray<Entry>>
  /**
   * Tells that something changed by which another process's waiter may fit (an end, an expiry, a limit, a resume, a
   * place given up), as soon as it can; which account is not said. It may tell too much or lose some: waiters poll
   * too. It ends or fails never: a lost connection is mended inside.
   */
  readonly changes?: Stream.Stream<void> | undefined
}
