import { assert, describe, it } from "@effect/vitest"
import { Exit } from "effect"
import { anyEnd, anyReserve, end, reserve } from "../src/internal/redisAnswers.ts"

const granted = {
  _tag: "Granted",
  held: { id: "one", account: "root", amount: 5, at: 1_700_000_000_000, expiresAt: 1_700_000_060_000 }
}

const settled = {
  _tag: "Ended",
  entry: {
    _tag: "Settled",
    seq: 2,
    at: 1_700_000_000_000,
    account: "root/a",
    chain: [
      { account: "root/a", window: 1_699_999_000_000 },
      { account: "root", window: null }
    ],
    reservation: "one",
    reserved: 5,
    amount: 7,
    overrun: 2,
    verdict: "metered",
    label: null
  },
  crossed: [],
  again: false
}

const odd = [null, true, 0, -1, 1.5, 2 ** 53, "", "assumed", "Settled", [], [null], {}, undefined]

/** The value with something odd in the place of each of its parts, or without it, one at a time. */
const spoilt = (value: unknown): ReadonlyArray<unknown> => {
  if (typeof value !== "object" || value === null) return odd
  if (!Array.isArray(value))
    return [
      ...odd,
      ...Object.entries(value).flatMap(([key, part]) =>
        spoilt(part).map((other) => ({ ...value, [key]: other }))
      )
    ]
  const parts: ReadonlyArray<unknown> = value
  return [...odd, ...parts.flatMap((part, at) => spoilt(part).map((other) => parts.with(at, other)))]
}

/** As far as whoever asks can tell. */
const toldOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) ? { told: exit.value } : "nothing"

describe("an answer of Redis", () => {
  it("that is read by hand is read as its schema reads it, whatever is wrong with it", () => {
    const readers = [
      [reserve, anyReserve, granted],
      [end, anyEnd, settled],
      [end, anyEnd, { ...settled, entry: { ...settled.entry, label: "x" }, again: true }]
    ] as const
    for (const [byHand, bySchema, good] of readers) {
      assert.deepStrictEqual<unknown>(toldOf(byHand(JSON.stringify(good))), { told: good })
      const texts = spoilt(good)
        .filter((each) => each !== undefined)
        .map((each) => JSON.stringify(each))
      assert.isAbove(texts.length, 80)
      for (const text of texts)
        assert.deepStrictEqual(toldOf(byHand(text)), toldOf(bySchema(JSON.parse(text))), text)
    }
  })

  it("that is no JSON is none", () => {
    for (const text of ["", "{", '{"_tag":"Granted"', "nil"])
      assert.deepStrictEqual([toldOf(reserve(text)), toldOf(end(text))], ["nothing", "nothing"])
  })
})
