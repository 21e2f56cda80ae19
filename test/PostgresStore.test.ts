import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Postgres from "./utils/postgres.ts"
import * as Agreement from "./utils/storeAgreement.ts"

const plays = Effect.fnUntraced(function* (seeds: ReadonlyArray<number>) {
  const coverage: Agreement.Coverage = new Map()
  for (const seed of seeds) {
    const { store } = yield* Postgres.ledger()
    yield* Agreement.play({ seed, steps: 150, store, elapse: Effect.sleep, coverage })
  }
  return coverage
}, Effect.scoped)

describe.skipIf(!Postgres.isThere)("every verb", () => {
  it.live("answers in any sequence as the reference does", () =>
    Effect.gen(function* () {
      const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
      assert.deepStrictEqual(Agreement.unseen(yield* plays(seeds)), [])
    })
  )
})
