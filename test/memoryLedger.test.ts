import { Ledger } from "agent-budget"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { ledgerSuite } from "./LedgerTest.ts"

ledgerSuite("the memory ledger", {
  fixture: Effect.sync(() => {
    const made = new Map<string, Effect.Effect<Ledger.Ledger["Service"]>>()
    return {
      connect: (options) => {
        const known =
          made.get("books") ??
          Effect.runSync(Effect.cached(Ledger.makeMemory({ ...options, admissions: true, entries: 100_000 })))
        made.set("books", known)
        return known
      },
      advance: (millis) => TestClock.adjust(millis)
    }
  }),
  live: false,
  shared: false
})
