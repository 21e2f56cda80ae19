/**
 * Processes that share a durable ledger are killed at each place where it could hurt; `npm run crash` does it for
 * longer. See `utils/crashRun.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { engines, type Name } from "./utils/crashEngines.ts"
import { type Fate, places } from "./utils/crashParent.ts"
import { run } from "./utils/crashRun.ts"

const seed = Number(process.env["PROPERTY_SEED"] ?? 1)

/** Three processes, killed at each place once. */
const fates: ReadonlyArray<ReadonlyArray<Fate>> = [
  [
    { where: "stalled", after: 4 },
    { where: "billed", after: 9 }
  ],
  [
    { where: "asking", after: 5 },
    { where: "starting", after: 1 },
    { where: "settling", after: 10 }
  ],
  [
    { where: "admitted", after: 8 },
    { where: "anywhere", after: 20 }
  ]
]

describe("processes that share a ledger and are killed, with clocks that are minutes off", () => {
  for (const name of Object.keys(engines) as ReadonlyArray<Name>) {
    it.live.skipIf(!engines[name].isThere)(
      `stay within every limit, and book no less than was billed (${name})`,
      () =>
        Effect.gen(function* () {
          const report = yield* run(name, {
            processes: fates.length,
            seed,
            lease: 750,
            fate: (slot, life) => fates[slot]?.[life]
          })
          assert.deepStrictEqual(report.violations, [])
          assert.deepStrictEqual(Array.from(report.kills.keys()).sort(), [...places].sort())
          // What these fates make sure of: bills until they come, and what is held when they do.
          assert.isAtLeast(report.bills, 23)
          assert.isAtLeast(report.ends.get("expired") ?? 0, 2)
          assert.isAtLeast(report.corrected, 1)
        }),
      120_000
    )
  }
})
