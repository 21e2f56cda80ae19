import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { ledgerSuite } from "./LedgerTest.ts"
import * as ReferenceStore from "./utils/referenceStore.ts"

const advance = (millis: number) => TestClock.adjust(millis)

ledgerSuite("a stored ledger", {
  fixture: Effect.sync(() => {
    const store = ReferenceStore.make()
    return { connect: (options) => StoredLedger.make(store, options), advance }
  }),
  live: false,
  shared: true
})
