/**
 * What must hold of any ledger and any budget, as pure predicates over what they show: balances, entries, events.
 * Each answers with what is wrong, in words; nothing when it holds. Sums are bigints, so that they cannot be wrong
 * in the way that the code under test could be. An account's ancestors are read from its name (`root/team/ann`).
 */
import type { Budget, Ledger } from "agent-budget"

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

/** Admission: no account holds and has spent more than its limit. Only overruns and lowered limits may break it. */
export const withinLimits = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, limit, reserved, spent }) =>
    limit !== null && sum([spent, reserved]) > BigInt(limit)
      ? [`${account}: spent ${spent} + reserved ${reserved} > limit ${limit}`]
      : []
  )

/** The numbers of a balance agree with each other, and none is negative that cannot be. */
export const balancesAddUp = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, available, limit, reserved, spent }) => [
    ...(spent < 0 || reserved < 0 ? [`${account}: spent ${spent}, reserved ${reserved}`] : []),
    ...((limit === null) !== (available === null) ||
    (limit !== null &&
      available !== null &&
      BigInt(available) !== BigInt(limit) - BigInt(spent) - BigInt(reserved))
      ? [`${account}: available ${available} of limit ${limit}`]
      : [])
  ])

/** A parent's numbers hold those of its open children; what closed ones spent may come on top. */
export const parentsHoldChildren = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap((parent) => {
    const children = balances.filter((balance) => balance.parent === parent.account)
    return (["spent", "reserved"] as const).flatMap((what) => {
      const below = sum(children.map((child) => child[what]))
      return below > BigInt(parent[what]) ? [`${parent.account}: ${what} ${parent[what]} < ${below}`] : []
    })
  })

/** Nothing is held any more. */
export const nothingReserved = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, reserved }) => (reserved === 0 ? [] : [`${account} holds ${reserved}`]))

/** Entries count up by one from `first`, in the order of booking. */
export const entriesInOrder = (entries: ReadonlyArray<Ledger.Entry>, first = 1): Findings =>
  entries.flatMap((entry, index) =>
    entry.seq === first + index ? [] : [`entry ${entry.seq} at ${index}, not ${first + index}`]
  )

/** A reservation ends once. */
export const endedOnce = (entries: ReadonlyArray<Ledger.Entry>): Findings => {
  const ended = new Set<string>()
  return entries.flatMap((entry) => {
    if (!("reservation" in entry) || entry._tag === "Reserved") return []
    if (ended.has(entry.reservation)) return [`reservation ${entry.reservation} ended twice`]
    ended.add(entry.reservation)
    return []
  })
}

/** Truth: an overrun is what passed the reservation, no more and no less. */
export const overrunsAreTrue = (entries: ReadonlyArray<Ledger.Entry>): Findings =>
  entries.flatMap((entry) => {
    if (entry._tag !== "Settled") return []
    const passed = entry.amount > entry.reserved ? entry.amount - entry.reserved : 0
    return entry.overrun === passed ? [] : [`entry ${entry.seq}: overrun ${entry.overrun}, not ${passed}`]
  })

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
  ...entriesInOrder(entries),
  ...endedOnce(entries),
  ...overrunsAreTrue(entries)
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
