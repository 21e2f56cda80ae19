/**
 * What must hold after a crash test, as pure predicates over what the provider billed, what the processes said before
 * they died, and what the books say. Each answers what is wrong, in words. It does its own sums: `LedgerAudit` judges
 * the books too, and both have to be content.
 */
import type { Ledger } from "agent-budget"

/** What is known of one reservation from outside. */
export interface Call {
  readonly id: string
  /** What its process was granted, if it lived to say so. */
  reserved?: { readonly account: string; readonly amount: number }
  /** What the provider billed for it. */
  billed?: number
  /** The entry that its process was answered at the end of it. */
  ended?: string
}

type Of<Tag extends Ledger.Entry["_tag"]> = Extract<Ledger.Entry, { readonly _tag: Tag }>

/** What the books say of one reservation. */
export interface Booking {
  readonly reserved: Of<"Reserved">
  readonly ends: ReadonlyArray<Of<"Settled"> | Of<"Released"> | Of<"Expired"> | Of<"Corrected">>
  /** What it is in the sum, by its last end. */
  readonly amount: number
  readonly how: "held" | "metered" | "assumed" | "released" | "expired"
}

const noted = (entry: Booking["ends"][number]): Pick<Booking, "amount" | "how"> => {
  switch (entry._tag) {
    case "Released":
      return { amount: 0, how: "released" }
    case "Expired":
      return { amount: entry.amount, how: "expired" }
    default:
      return { amount: entry.amount, how: entry.verdict }
  }
}

export const bookings = (entries: ReadonlyArray<Ledger.Entry>): ReadonlyMap<string, Booking> => {
  const found = new Map<string, Booking>()
  for (const entry of entries) {
    if (entry._tag === "Reserved")
      found.set(entry.reservation, { reserved: entry, ends: [], amount: 0, how: "held" })
    else if ("reservation" in entry) {
      const before = found.get(entry.reservation)
      if (before === undefined) continue
      found.set(entry.reservation, { ...before, ends: [...before.ends, entry], ...noted(entry) })
    }
  }
  return found
}

/** The books of one call against what its process said. */
const kept = ({ ended, id, reserved }: Call, booking: Booking): ReadonlyArray<string> => [
  ...(reserved !== undefined &&
  (reserved.amount !== booking.reserved.reserved || reserved.account !== booking.reserved.account)
    ? [
        `${id}: granted ${reserved.amount} on ${reserved.account}, in the books ${booking.reserved.reserved} on ${booking.reserved.account}`
      ]
    : []),
  ...(ended !== undefined && !booking.ends.some(({ _tag }) => _tag === ended)
    ? [`${id}: its process was answered ${ended}, which is not in the books`]
    : [])
]

/** The books of one call against what it was billed. */
const billedTruly = (
  { billed, id }: Call,
  { amount, ends, how, reserved }: Booking
): ReadonlyArray<string> => {
  if (billed === undefined) return how === "metered" ? [`${id}: metered ${amount}, and never billed`] : []
  if (how === "metered") {
    const overrun = Math.max(0, billed - reserved.reserved)
    const end = ends.at(-1)
    const flagged = end !== undefined && "overrun" in end ? end.overrun : 0
    return [
      ...(amount === billed ? [] : [`${id}: metered ${amount}, billed ${billed}`]),
      ...(flagged === overrun ? [] : [`${id}: overrun ${flagged}, billed ${overrun} beyond its reservation`])
    ]
  }
  // Nobody can book an overrun that its process did not live to tell: then the whole reservation is charged.
  const least = Math.min(billed, reserved.reserved)
  return amount >= least ? [] : [`${id}: ${how} ${amount}, billed ${billed}`]
}

/** Everything that must hold when all processes are dead and every lease has run out. */
export const verdict = (
  calls: Iterable<Call>,
  entries: ReadonlyArray<Ledger.Entry>,
  balances: ReadonlyArray<Pick<Ledger.Balance, "account" | "spent" | "reserved">>
): ReadonlyArray<string> => {
  const booked = bookings(entries)
  const open = Array.from(booked).flatMap(([id, { how }]) => (how === "held" ? [`${id}: held for ever`] : []))
  const against = Array.from(calls, (call) => {
    const booking = booked.get(call.id)
    if (booking !== undefined) return [...kept(call, booking), ...billedTruly(call, booking)]
    if (call.billed !== undefined) return [`${call.id}: billed ${call.billed}, and not in the books`]
    return call.reserved === undefined ? [] : [`${call.id}: granted, and not in the books`]
  })
  const sums = balances.flatMap(({ account, reserved, spent }) => [
    ...(reserved === 0 ? [] : [`${account}: still holds ${reserved}`]),
    ...(account.includes("/") ? [] : spentOf(account, spent, booked.values()))
  ])
  return [...open, ...against.flat(), ...sums]
}

const spentOf = (account: string, spent: number, booked: Iterable<Booking>): ReadonlyArray<string> => {
  let sum = 0n
  for (const { amount, reserved } of booked) {
    if (reserved.chain.at(-1)?.account === account) sum += BigInt(amount)
  }
  return sum === BigInt(spent) ? [] : [`${account}: spent ${spent}, booked ${sum}`]
}
