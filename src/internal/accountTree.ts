/**
 * The arithmetic of a tree of accounts with a queue at each: the synchronous section of the memory ledger. It
 * knows integers and order, nothing of Effects, errors or time. Nothing here may call out: callers run what
 * `wake` returns after the section has ended.
 */

import type { Frame, Span } from "./ledgerWindows.ts"
import { TicketLine } from "./ticketLine.ts"

/** No limit is the largest exact amount: sums stay exact on accounts that nobody limited. */
export const unlimited = Number.MAX_SAFE_INTEGER

/** One account. Only this module changes the numbers. */
export interface Account {
  readonly id: string
  readonly parent: Account | undefined
  limit: number
  /** Of the current window, where there are windows. */
  spent: number
  reserved: number
  /** Admits nothing, nor does anything below it. */
  paused: boolean
  /** Its windows, if it has any. */
  readonly frame: Frame | undefined
  /** Whether it or an ancestor has windows. */
  readonly windowed: boolean
  /** The window that the numbers are of; zeros while a rolling one waits for its first use. */
  start: number
  end: number
  /** When the last window ended. No later one begins before that, also where the clock was set back. */
  over: number
  /** What an entry here counts for, where no windows are on the chain. */
  readonly links: ReadonlyArray<Link>
  /** Parts per million of the limit, ascending. */
  thresholds: ReadonlyArray<number>
  /** How many have opened it and not closed it. */
  opened: number
  /** How many accounts are open right below it. */
  below: number
  /** Waiters that this account blocks; those who left are skipped. */
  readonly queue: TicketLine<Waiter>
  /** Everyone who waits anywhere for room that this account must have too. */
  readonly waiters: Set<Waiter>
  /** No waiter needs more than this. */
  largest: number
}

/** One account that an entry counts for, and the start of the window that it counts in. */
export interface Link {
  readonly account: string
  readonly window: number | null
}

/** What a caller wants to hold. */
export interface Ask {
  readonly account: Account
  /** Refused when this does not fit. */
  readonly least: number
  /** Never granted more than this. */
  readonly most: number
  /** Between the two: this share of what is available. */
  readonly share: number
}

/** An ask in line. */
export interface Waiter extends Ask {
  readonly ticket: number
  /** Takes what was granted, within the section; returns how to tell. */
  readonly granted: (amount: number) => () => void
  /** Learns which account it can never fit, within the section; returns how to tell. */
  readonly refused: (blocker: Account) => () => void
  /** Learns that its account has closed, within the section; returns how to tell. */
  readonly closed: () => () => void
  /** Takes the windows of its chain to the present, as a use of them does; returns those that were begun. */
  readonly turn: () => ReadonlyArray<Account>
  state: "waiting" | "granted" | "gone"
  queuedAt: Account | undefined
}

/** An account with nothing spent. */
export const make = (
  id: string,
  parent: Account | undefined,
  limit: number,
  frame?: Frame,
  thresholds: ReadonlyArray<number> = none
): Account => ({
  id,
  parent,
  limit,
  spent: 0,
  reserved: 0,
  paused: false,
  frame,
  windowed: frame !== undefined || parent?.windowed === true,
  start: 0,
  end: 0,
  over: 0,
  links: [{ account: id, window: null }, ...(parent?.links ?? [])],
  thresholds,
  opened: 1,
  below: 0,
  queue: new TicketLine(),
  waiters: new Set(),
  largest: 0
})

const none: ReadonlyArray<never> = []

/** What an entry on this account counts for, now. */
export const linksOf = (from: Account): ReadonlyArray<Link> => {
  if (!from.windowed) return from.links
  const links: Array<Link> = []
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    links.push({ account: at.id, window: at.frame === undefined || at.end === 0 ? null : at.start })
  }
  return links
}

/**
 * Takes each account of the chain whose window has ended to the next: a calendar's, or for `use` a rolling one that
 * begins now. Returns those that were taken there.
 */
export const turn = (from: Account, now: number, use: boolean): ReadonlyArray<Account> => {
  let turned: Array<Account> | undefined
  for (let at: Account | undefined = from; at?.windowed === true; at = at.parent) {
    if (at.frame === undefined || now < at.end) continue
    const isEmpty = at.frame.rolls && !use
    if (isEmpty && at.end === 0) continue
    const over = Math.max(at.over, at.end)
    const { end, start } = isEmpty ? noSpan : next(at.frame, Math.max(now, over), over)
    Object.assign(at, { start, end, over, spent: 0, reserved: 0 })
    turned = [...(turned ?? []), at]
  }
  return turned ?? none
}

/** Clocks of tests begin with 0, so that this is the beginning of no window. */
const noSpan = { start: -1, end: 0 }

/** Where a clock is changed by half an hour, the calendar's hour begins inside the one that is over. */
const next = (frame: Frame, now: number, over: number): Span => {
  const { end, start } = frame.at(now)
  return { start: Math.max(start, over), end }
}

/** When the next window on the chain begins. */
export const nextTurn = (from: Account): number => {
  let next = unlimited
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (at.frame !== undefined) next = Math.min(next, at.end)
  }
  return next
}

/** The most that can ever fit: in windows, an empty one. */
export const ceiling = (account: Account): number =>
  account.limit - (account.frame === undefined ? account.spent : 0)

const lacks = (account: Account, amount: number): boolean => account.paused || available(account) < amount

/** What can still be reserved; negative after an overrun or a lowered limit. */
export const available = (account: Account): number => account.limit - account.spent - account.reserved

/** The first account up the tree that is paused or has no room for `amount`. */
export const shortOf = (from: Account, amount: number): Account | undefined => {
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (lacks(at, amount)) return at
  }
  return undefined
}

/** The first account up the tree where `amount` would not even fit if every reservation were released. */
const neverFits = (from: Account, amount: number): Account | undefined => {
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (ceiling(at) < amount) return at
  }
  return undefined
}

/** Takes between `least` and `most` on the whole chain, which must have room for `least`. */
export const hold = (ask: Ask): number => {
  let room = unlimited
  for (let at: Account | undefined = ask.account; at !== undefined; at = at.parent) {
    room = Math.min(room, available(at))
  }
  const amount =
    ask.least === ask.most ? ask.least : Math.max(ask.least, Math.min(ask.most, Math.floor(room * ask.share)))
  for (let at: Account | undefined = ask.account; at !== undefined; at = at.parent) {
    at.reserved += amount
  }
  return amount
}

/** Whether an account's numbers are of the window that a link names. */
const isCurrent = (at: Account, links: ReadonlyArray<Link>, index: number): boolean =>
  at.frame === undefined || links[index]?.window === at.start

/** Whether adding `by` to what is spent and reserved keeps every sum on the chain exact, what is available too. */
export const canBook = (from: Account, by: number, links: ReadonlyArray<Link>): boolean => {
  let index = 0
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (isCurrent(at, links, index++) && !Number.isSafeInteger(at.spent + at.reserved + by)) return false
  }
  return true
}

/** Ends a hold: `reserved` goes back, `amount` is spent, in the windows that admitted it. */
export const book = (from: Account, reserved: number, amount: number, links: ReadonlyArray<Link>): void => {
  let index = 0
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (!isCurrent(at, links, index++)) continue
    at.reserved -= reserved
    at.spent += amount
  }
}

const isIn = (account: Account, { queuedAt, state }: Waiter): boolean =>
  state === "waiting" && queuedAt === account

const first = (account: Account): Waiter | undefined => {
  const { queue } = account
  while (queue.first !== undefined && !isIn(account, queue.first)) queue.shift()
  return queue.first
}

/** The account where a waiter must stand: one without room, or one where others came first. */
export const standsAt = (waiter: Ask & { readonly ticket: number }): Account | undefined => {
  for (let at: Account | undefined = waiter.account; at !== undefined; at = at.parent) {
    if (lacks(at, waiter.least)) return at
    const head = at.queue.length === 0 ? undefined : first(at)
    if (head !== undefined && head.ticket < waiter.ticket) return at
  }
  return undefined
}

const stand = (waiter: Waiter, at: Account): void => {
  // Those who gave up behind a head that is stuck would pile up; dropping them at twice the number is amortised.
  if (at.queue.length > 64 && at.queue.length > 2 * at.waiters.size) {
    at.queue.keep((other) => isIn(at, other))
  }
  waiter.queuedAt = at
  at.queue.join(waiter)
}

const enqueue = (waiter: Waiter, at: Account): void => {
  for (let up: Account | undefined = waiter.account; up !== undefined; up = up.parent) {
    up.waiters.add(waiter)
    up.largest = Math.max(up.largest, waiter.least)
  }
  stand(waiter, at)
}

/** Lets a waiter in, turns it away or puts it in line. Returns what to tell it, unless it stands in line. */
export const join = (waiter: Waiter): (() => void) | undefined => {
  const at = standsAt(waiter)
  if (at === undefined) {
    leave(waiter, "granted")
    return waiter.granted(hold(waiter))
  }
  const never = neverFits(waiter.account, waiter.least)
  if (never !== undefined) {
    leave(waiter, "gone")
    return waiter.refused(never)
  }
  enqueue(waiter, at)
  return undefined
}

const leave = (waiter: Waiter, state: "granted" | "gone"): void => {
  waiter.state = state
  for (let up: Account | undefined = waiter.account; up !== undefined; up = up.parent) {
    up.waiters.delete(waiter)
    if (up.waiters.size === 0) up.largest = 0
  }
}

const refuseHopeless = (account: Account, touched: Set<Account>, outcomes: Array<() => void>): void => {
  const most = ceiling(account)
  if (account.largest <= most) return
  let largest = 0
  for (const waiter of account.waiters) {
    if (waiter.least > most) {
      leave(waiter, "gone")
      outcomes.push(waiter.refused(account))
      if (waiter.queuedAt !== undefined) touched.add(waiter.queuedAt)
    } else {
      largest = Math.max(largest, waiter.least)
    }
  }
  account.largest = largest
}

const admit = (account: Account, touched: Set<Account>, outcomes: Array<() => void>): void => {
  for (let head = first(account); head !== undefined; head = first(account)) {
    // Time may have passed since anyone looked: who is let in now uses the window that it is now.
    for (const begun of head.turn()) {
      touched.delete(begun)
      touched.add(begun)
    }
    const at = standsAt(head)
    if (at === account) return
    if (at !== undefined) {
      stand(head, at)
      continue
    }
    leave(head, "granted")
    outcomes.push(head.granted(hold(head)))
  }
}

const nobody: ReadonlyArray<() => void> = []

const someoneWaits = (from: Account): boolean => {
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    if (at.waiters.size > 0) return true
  }
  return false
}

/**
 * After any change on the chain from `from`: refuses those who can never fit, admits those who now fit, first in
 * first out. Returns what to tell them, in order.
 */
export const wake = (from: Account): ReadonlyArray<() => void> => {
  if (!someoneWaits(from)) return nobody
  const outcomes: Array<() => void> = []
  const touched = new Set<Account>()
  for (let at: Account | undefined = from; at !== undefined; at = at.parent) {
    touched.add(at)
    if (at.waiters.size > 0) refuseHopeless(at, touched, outcomes)
  }
  for (const at of touched) {
    if (at.queue.length > 0) admit(at, touched, outcomes)
  }
  return outcomes
}

/** A waiter gives up; returns what to tell those behind it. */
export const withdraw = (waiter: Waiter): ReadonlyArray<() => void> => {
  leave(waiter, "gone")
  return waiter.queuedAt === undefined ? nobody : wake(waiter.queuedAt)
}

/** Turns away all who wait for room on an account that has closed; returns what to tell them and those behind them. */
export const close = (account: Account): ReadonlyArray<() => void> => {
  if (account.waiters.size === 0) return nobody
  const gone = Array.from(account.waiters).filter((waiter) => waiter.account === account)
  for (const waiter of gone) leave(waiter, "gone")
  return [
    ...gone.map((waiter) => waiter.closed()),
    ...gone.flatMap(({ queuedAt }) => (queuedAt === undefined ? nobody : wake(queuedAt)))
  ]
}
