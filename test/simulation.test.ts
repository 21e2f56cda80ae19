/**
 * Small worlds of the simulation (`npm run simulate` plays large ones): both promises hold in all of them, everything
 * that may go wrong did, and the same seed is the same world.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Coverage } from "./simulation/coverage.ts"
import { regressions } from "./simulation/regressions.ts"
import { play, shrink, simulate, type Outcome } from "./simulation/simulate.ts"

/** Another begins elsewhere: `PROPERTY_SEED=1000000`. */
const first = Number(process.env.PROPERTY_SEED ?? 1) || 1

const assertSound = ({ faults, seed, steps, trace }: Outcome): void => {
  if (faults.length === 0) return
  assert.fail(
    `npm run simulate -- --seed ${seed} --only ${steps.join(",")}\n${[...trace, ...faults].join("\n")}`
  )
}

type Spoil = NonNullable<Parameters<typeof play>[2]>

const spoilt: ReadonlyArray<readonly [name: string, spoil: Spoil, said: RegExp]> = [
  [
    "a ledger that gives back what is only assumed",
    (ledger) => ({
      ...ledger,
      settle: (held, charge) =>
        charge.verdict === "assumed" ? ledger.release(held) : ledger.settle(held, charge)
    }),
    /given back/
  ],
  [
    "a ledger that books no more than was reserved",
    (ledger) => ({
      ...ledger,
      settle: (held, charge) =>
        ledger.settle(held, { ...charge, amount: charge.amount < held.amount ? charge.amount : held.amount })
    }),
    /not what was billed/
  ],
  [
    "a ledger that charges what was never sent",
    (ledger) => ({
      ...ledger,
      release: (held) => ledger.settle(held, { amount: held.amount, verdict: "assumed" })
    }),
    /it was free/
  ],
  [
    "a ledger that admits what it has no room for",
    (ledger) => ({
      ...ledger,
      reserve: (request) =>
        Effect.catch(ledger.reserve(request), () =>
          Effect.succeed({ ...request, id: "made-up", amount: request.least, at: 0, expiresAt: null })
        )
    }),
    /is not in the books/
  ],
  [
    "a ledger that forgets who waits",
    (ledger) => ({
      ...ledger,
      reserve: (request) => (request.waitAtMost === undefined ? ledger.reserve(request) : Effect.never)
    }),
    /waits, and has room|never came to its end/
  ]
]

const firstFailure = async (spoil: Spoil): Promise<Outcome> => {
  for (let seed = 1; seed <= 40; seed++) {
    const outcome = await simulate(seed, 200, spoil)
    if (outcome.faults.length > 0) return outcome
  }
  return assert.fail("It was not noticed in forty worlds.")
}

describe("the simulation", () => {
  it(
    "holds both promises in sixty worlds, in which everything goes wrong that may",
    { timeout: 240_000 },
    async () => {
      const coverage = new Coverage()
      for (let seed = first; seed < first + 60; seed++) {
        const outcome = await simulate(seed, 200)
        coverage.add(outcome.coverage)
        if (outcome.faults.length > 0) assertSound(await shrink(outcome))
      }
      assert.deepStrictEqual(coverage.missing(), [])
    }
  )

  it("plays the same world for the same seed, whatever was played before", { timeout: 120_000 }, async () => {
    // In the last of them a model's margin is thin, which is warned of once.
    const seeds = [7, 8, 9, 10, 54]
    const hashes: Array<string> = []
    for (const seed of seeds) hashes.push((await simulate(seed, 150)).hash)
    for (const seed of [...seeds].reverse())
      assert.strictEqual((await simulate(seed, 150)).hash, hashes[seeds.indexOf(seed)])
    assert.strictEqual(new Set(hashes).size, seeds.length)
  })

  for (const { defect, seed, steps } of regressions) {
    it(`holds both promises where once ${defect.name}`, async () => {
      assertSound(await play(seed, steps))
    })
  }

  for (const [name, spoil, said] of spoilt) {
    it(`notices ${name}, in few steps, again and again`, { timeout: 120_000 }, async () => {
      const failure = await firstFailure(spoil)
      const shrunk = await shrink(failure, spoil, 120)
      assert.isAtMost(shrunk.steps.length, 25)
      assert.match(shrunk.faults.join(), said)
      assert.strictEqual((await play(shrunk.seed, shrunk.steps, spoil)).hash, shrunk.hash)
      assertSound(await play(shrunk.seed, shrunk.steps))
    })
  }
})
