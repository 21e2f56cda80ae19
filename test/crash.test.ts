/**
 * Processes that share a durable ledger are killed at each place where it could hurt; `npm run crash` does it for
 * longer. See `utils/crashRun.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Ledger, Usd } from "agent-budget"
import { engines, type Name } from "./utils/crashEngines.ts"
import { type Fate, places } from "./utils/crashParent.ts"
import { run } from "./utils/crashRun.ts"
import { verdict } from "./utils/crashVerdict.ts"

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
            lease: 500,
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

describe("the verdict", () => {
  const common = { at: 0, account: "root", chain: [{ account: "root", window: null }], reservation: "a" }
  const amounts = { reserved: Usd.nanos(10), overrun: Usd.zero, label: null }
  const reserved: Ledger.Entry = {
    ...common,
    _tag: "Reserved",
    seq: 1,
    reserved: Usd.nanos(10),
    limits: [null],
    expiresAt: 5
  }
  const settled = (amount: number, verdict: "metered" | "assumed"): Ledger.Entry => ({
    ...common,
    ...amounts,
    _tag: "Settled",
    seq: 2,
    amount: Usd.nanos(amount),
    verdict
  })
  const expired: Ledger.Entry = {
    ...common,
    _tag: "Expired",
    seq: 2,
    reserved: Usd.nanos(10),
    amount: Usd.nanos(10)
  }
  const released: Ledger.Entry = { ...common, _tag: "Released", seq: 2, reserved: Usd.nanos(10) }
  const judged = (
    call: { readonly billed?: number; readonly ended?: string },
    end: ReadonlyArray<Ledger.Entry>,
    spent = 0
  ) =>
    verdict(
      [{ id: "a", ...call }],
      [reserved, ...end],
      [{ account: "root", spent: Usd.nanos(spent), reserved: Usd.zero }]
    )

  it("is content where bills are booked, or the whole reservation", () => {
    assert.deepStrictEqual(judged({ billed: 7, ended: "Settled" }, [settled(7, "metered")], 7), [])
    assert.deepStrictEqual(judged({ billed: 7 }, [settled(10, "assumed")], 10), [])
    assert.deepStrictEqual(judged({ billed: 7 }, [expired], 10), [])
    // It was billed beyond its reservation, and its process did not live to say so.
    assert.deepStrictEqual(judged({ billed: 12 }, [expired], 10), [])
    assert.deepStrictEqual(judged({}, [released]), [])
  })

  it("tells what was billed and is not, or not as much, in the books", () => {
    assert.deepStrictEqual(judged({ billed: 7 }, [settled(6, "metered")], 6), ["a: metered 6, billed 7"])
    assert.deepStrictEqual(judged({ billed: 7 }, [settled(8, "metered")], 8), ["a: metered 8, billed 7"])
    assert.deepStrictEqual(judged({ billed: 7 }, [settled(6, "assumed")], 6), ["a: assumed 6, billed 7"])
    assert.deepStrictEqual(judged({ billed: 7 }, [released]), ["a: released 0, billed 7"])
    assert.deepStrictEqual(judged({ billed: 12 }, [settled(12, "metered")], 12), [
      "a: overrun 0, billed 2 beyond its reservation"
    ])
    assert.deepStrictEqual(judged({}, [settled(7, "metered")], 7), ["a: metered 7, and never billed"])
    assert.deepStrictEqual(verdict([{ id: "b", billed: 3 }], [], []), ["b: billed 3, and not in the books"])
  })

  it("tells what a process was told and is not in the books, what stays held, and sums that do not add up", () => {
    const granted = { id: "b", reserved: { account: "root", amount: 10 } }
    assert.deepStrictEqual(verdict([granted], [], []), ["b: granted, and not in the books"])
    const less = { id: "a", reserved: { account: "root", amount: 9 } }
    assert.deepStrictEqual(verdict([less], [reserved, expired], []), [
      "a: granted 9 on root, in the books 10 on root"
    ])
    assert.deepStrictEqual(judged({ ended: "Settled" }, [expired], 10), [
      "a: its process was answered Settled, which is not in the books"
    ])
    assert.deepStrictEqual(judged({}, []), ["a: held for ever"])
    assert.deepStrictEqual(judged({}, [expired], 9), ["root: spent 9, booked 10"])
    const holding = [{ account: "root/x", spent: Usd.zero, reserved: Usd.nanos(1) }]
    assert.deepStrictEqual(verdict([], [], holding), ["root/x: still holds 1"])
  })
})
