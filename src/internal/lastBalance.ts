/**
 * The last numbers of an account that was removed, from its entries: what a close answers whose first answer was lost.
 */
import * as Usd from "../Usd.ts"
import type { Balance, Entry } from "./ledgerTypes.ts"

/** What an entry adds to what was spent. */
const spentBy = (entry: Entry): number => {
  if (entry._tag === "Settled" || entry._tag === "Expired") return entry.amount
  return entry._tag === "Corrected" ? entry.difference : 0
}

/**
 * Of the account that was opened last under its name, in the last window that admitted something; `entries` are those
 * of its name and in order. `undefined` where none of them opened it.
 */
export const lastBalance = (account: string, entries: ReadonlyArray<Entry>): Balance | undefined => {
  const opened = entries.findLast((entry) => entry._tag === "Opened" && entry.account === account)
  if (opened?._tag !== "Opened") return undefined
  let { limit } = opened
  let paused = false
  let spent = 0
  let window: number | null = null
  // What it admitted, by reservation; nothing for those that have ended.
  const held = new Map<string, number>()
  for (const entry of entries) {
    if (entry.seq <= opened.seq) continue
    if (entry.account === account) {
      if (entry._tag === "LimitChanged") limit = entry.to
      if (entry._tag === "Paused" || entry._tag === "Resumed") paused = entry._tag === "Paused"
    }
    if (!("reservation" in entry)) continue
    const link = entry.chain.find((each) => each.account === account)
    if (entry._tag === "Reserved") {
      if (link !== undefined && link.window !== window) {
        window = link.window
        spent = 0
        held.clear()
      }
      held.set(entry.reservation, entry.reserved)
    } else if (held.has(entry.reservation)) {
      held.set(entry.reservation, 0)
      spent += spentBy(entry)
    }
  }
  const reserved = Array.from(held.values()).reduce((sum, amount) => sum + amount, 0)
  return {
    account,
    parent: opened.chain[1]?.account ?? null,
    limit,
    spent: Usd.nanos(spent),
    reserved: Usd.nanos(reserved),
    available: limit === null ? null : Usd.nanos(limit - spent - reserved),
    paused,
    windowStart: null,
    windowEnd: null
  }
}
