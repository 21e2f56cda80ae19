/**
 * What must hold of any ledger and any budget, as pure predicates over what they show: balances, entries, events. What
 * any user may ask of a ledger is `LedgerAudit`; here is what tests know besides.
 * Each answers with what is wrong, in words; nothing when it holds. Sums are bigints, so that they cannot be wrong
 * in the way that the code under test could be. An account's ancestors are read from its name (`root/team/ann`).
 */
import type { Budget, Ledger } from "agent-budget"
import {
  amountsAreTrue,
  balancesAddUp,
  endedOnce,
  inOrder,
  parentsHoldChildren,
  withinLimits
} from "agent-budget/LedgerAudit"

export {
  amountsAreTrue as overrunsAreTrue,
  balancesAddUp,
  endedOnce,
  inOrder as entriesInOrder,
  parentsHoldChildren,
  withinLimits
}

type Findings = ReadonlyArray<string>

const isWithin = (account: string, ancestor: string): boolean =>
  account === ancestor || account.startsWith(`${ancestor}/`)

const selfAndAncestors = (account: string): ReadonlyArray<string> =>
  account.split("/").map((_, index, parts) => parts.slice(0, index + 1).join("/"))

const sum = (amounts: Iterable<number>): bigint => {
  let total = 0n
  for (const amount of amounts) total += BigInt(amount)
  return total
}

/** Nothing is held any more. */
export const nothingReserved = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, reserved }) => (reserved === 0 ? [] : [`${account} holds ${reserved}`]))

/** What was booked on an account and below it. */
export const settledOn = (entries: ReadonlyArray<Ledger.Entry>, account: string): bigint =>
  sum(
    entries.flatMap((entry) =>
      entry._tag === "Settled" && isWithin(entry.account, account) ? [entry.amount] : []
    )
  )

/** Truth: an account has spent the sum of its entries. For accounts that were open all along. */
export const spentIsBooked = (
  balances: ReadonlyArray<Ledger.Balance>,
  entries: ReadonlyArray<Ledger.Entry>
): Findings =>
  balances.flatMap(({ account, spent }) => {
    const booked = settledOn(entries, account)
    return booked === BigInt(spent) ? [] : [`${account}: spent ${spent}, booked ${booked}`]
  })

/** Everything that must hold of the balances at any moment without overruns and lowered limits. */
export const soundBalances = (balances: ReadonlyArray<Ledger.Balance>): Findings => [
  ...withinLimits(balances),
  ...balancesAddUp(balances),
  ...parentsHoldChildren(balances)
]

/** Everything that must hold of the whole of the entries. */
export const soundEntries = (entries: ReadonlyArray<Ledger.Entry>): Findings => [
  ...inOrder(entries),
  ...endedOnce(entries),
  ...amountsAreTrue(entries)
]

/**
 * Admission, from the events alone: they are played back in order, and no account passes its limit at the moment of
 * a `Reserved`; nothing ends that did not begin. `limits` are in force from start to end.
 */
export const eventsKeepLimits = (
  events: ReadonlyArray<Budget.Event>,
  limits: Readonly<Record<string, number>>
): Findings => {
  const used = new Map<string, bigint>()
  const open = new Map<string, number>()
  const change = (account: string, by: bigint): void => {
    for (const each of selfAndAncestors(account)) used.set(each, (used.get(each) ?? 0n) + by)
  }
  return events.flatMap((event, index) => {
    if (event._tag === "Reserved") {
      open.set(event.reservation, event.amount)
      change(event.account, BigInt(event.amount))
      return selfAndAncestors(event.account).flatMap((account) => {
        const limit = limits[account]
        const now = used.get(account) ?? 0n
        return limit !== undefined && now > BigInt(limit)
          ? [`event ${index}: ${account} at ${now} of ${limit}`]
          : []
      })
    }
    if (event._tag !== "Settled" && event._tag !== "Released") return []
    const held = open.get(event.reservation)
    if (held === undefined) return [`event ${index}: ${event.reservation} ended without having begun`]
    open.delete(event.reservation)
    change(event.account, (event._tag === "Settled" ? BigInt(event.amount) : 0n) - BigInt(held))
    return []
  })
}
