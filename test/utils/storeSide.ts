/** One store of a play, and its answers with what may differ between stores taken out. */
import { assert } from "@effect/vitest"
import type * as Store from "../../src/internal/ledgerStore.ts"
import type { Entry } from "../../src/internal/ledgerTypes.ts"

/** The same on both sides: times are told by what they were made for. */
export class StoreSide {
  readonly windows = new Map<number, string>()
  readonly store: Store.LedgerStore
  newest = -Infinity

  constructor(store: Store.LedgerStore) {
    this.store = store
  }

  window(time: number | null): string | null {
    return time === null ? null : (this.windows.get(time) ?? `unknown window ${time}`)
  }

  /** The store's time never goes back. */
  passes(time: number): void {
    assert.isAtLeast(time, this.newest, "time went back")
    this.newest = time
  }

  row(row: Store.AccountRow): unknown {
    return { ...row, windowStart: this.window(row.windowStart), windowEnd: row.windowEnd !== null }
  }

  entry(entry: Entry): unknown {
    const chain = entry.chain.map(({ account, window }) => [account, this.window(window)])
    const lease = entry._tag === "Reserved" ? { expiresAt: (entry.expiresAt ?? 0) - entry.at } : {}
    return { ...entry, ...lease, at: 0, chain }
  }

  answer(answer: Store.OpenAnswer | Store.ReserveAnswer | Store.EndAnswer): unknown {
    if ("now" in answer) this.passes(answer.now)
    if ("row" in answer) return { ...answer, now: 0, row: this.row(answer.row) }
    if ("held" in answer) {
      const { held } = answer
      // It may have been renewed since: leases are whole millions of milliseconds, and a play is far shorter.
      const lease = Math.round((held.expiresAt - held.at) / 1_000_000)
      return { ...answer, held: { ...held, at: 0, expiresAt: lease } }
    }
    if (!("entry" in answer)) return answer
    const crossed = answer._tag === "Ended" ? answer.crossed : []
    return { ...answer, entry: this.entry(answer.entry), crossed: crossed.map((each) => this.entry(each)) }
  }

  entries(entries: ReadonlyArray<Entry> | null): unknown {
    return entries?.map((entry) => this.entry(entry)) ?? null
  }

  /** The rows, parents first; among themselves in any order. */
  rows(rows: ReadonlyArray<Store.AccountRow>): ReadonlyArray<Store.AccountRow> {
    const places = new Map(rows.map((row, index) => [row.account, index]))
    rows.forEach((row, index) =>
      assert.isBelow(
        row.parent === null ? -1 : (places.get(row.parent) ?? -1),
        index,
        `${row.account} is too early`
      )
    )
    return [...rows].sort((one, other) => (one.account < other.account ? -1 : 1))
  }
}
