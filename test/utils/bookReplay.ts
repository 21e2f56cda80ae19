/**
 * Reads the books from the first entry on and says what in them cannot be: an admission beyond the limit then in
 * force, a reservation that ended twice, sums that are not the balances.
 */
import type { AccountRow } from "../../src/internal/ledgerStore.ts"
import type { Entry, Link } from "../../src/internal/ledgerTypes.ts"

interface Sums {
  spent: bigint
  reserved: bigint
}

/** An account that was opened again under its name is another one: told apart by the entry that opened it. */
type Born = ReadonlyMap<string, number>

const keyOf = ({ account, window }: Link, born: Born): string =>
  JSON.stringify([account, born.get(account), window])

const admissions = (entry: Entry, sumsOf: (link: Link) => Sums): ReadonlyArray<string> =>
  entry._tag !== "Reserved"
    ? []
    : entry.chain.flatMap((link, index) => {
        const { reserved, spent } = sumsOf(link)
        const limit = entry.limits[index] ?? null
        return limit !== null && spent + reserved > BigInt(limit)
          ? [`entry ${entry.seq}: ${spent} + ${reserved} > ${limit} on ${link.account}`]
          : []
      })

/** What an entry adds to what is spent and reserved. */
const effectOf = (entry: Entry): Sums => {
  const reserved = "reserved" in entry ? BigInt(entry.reserved) : 0n
  switch (entry._tag) {
    case "Reserved":
      return { spent: 0n, reserved }
    case "Settled":
    case "Expired":
      return { spent: BigInt(entry.amount), reserved: -reserved }
    case "Released":
      return { spent: 0n, reserved: -reserved }
    case "Corrected":
      return { spent: BigInt(entry.difference), reserved: 0n }
    default:
      return { spent: 0n, reserved: 0n }
  }
}

const mayFollow: Readonly<Record<string, string>> = {
  Settled: "Reserved",
  Released: "Reserved",
  Expired: "Reserved",
  Corrected: "Expired"
}

/** What is wrong; nothing where all is well. */
export const findings = (
  entries: ReadonlyArray<Entry>,
  rows: ReadonlyArray<AccountRow>
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const sums = new Map<string, Sums>()
  const states = new Map<string, string>()
  let born: Born = new Map()
  const admitted = new Map<string, Born>()
  const sumsOf = (link: Link, when = born): Sums => sums.get(keyOf(link, when)) ?? { spent: 0n, reserved: 0n }
  entries.forEach((entry, index) => {
    if (entry.seq !== index + 1) wrong.push(`entry ${entry.seq} is at ${index + 1}`)
    if (entry.at < (entries[index - 1]?.at ?? -Infinity)) wrong.push(`entry ${entry.seq} went back in time`)
    if ("reservation" in entry) {
      const state = states.get(entry.reservation)
      if (state !== mayFollow[entry._tag])
        wrong.push(`${entry._tag} ${entry.reservation} after ${state ?? "nothing"}`)
      states.set(entry.reservation, entry._tag)
    }
    if (entry._tag === "Opened") born = new Map([...born, [entry.account, entry.seq]])
    if (entry._tag === "Reserved") admitted.set(entry.reservation, born)
    const effect = effectOf(entry)
    const when = "reservation" in entry ? admitted.get(entry.reservation) : born
    for (const link of entry.chain) {
      const { reserved, spent } = sumsOf(link, when)
      sums.set(keyOf(link, when ?? born), {
        spent: spent + effect.spent,
        reserved: reserved + effect.reserved
      })
    }
    wrong.push(...admissions(entry, sumsOf))
  })
  for (const { account, reserved, spent, windowStart } of rows) {
    const booked = sumsOf({ account, window: windowStart })
    if (booked.spent !== BigInt(spent) || booked.reserved !== BigInt(reserved))
      wrong.push(
        `${account}: ${spent}, ${reserved} in its row; ${booked.spent}, ${booked.reserved} in the books`
      )
  }
  return wrong
}
