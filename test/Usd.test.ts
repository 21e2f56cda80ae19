import { assert, describe, it } from "@effect/vitest"
import { Usd } from "agent-budget"
import { Arbitrary, Exit, Result, Schema } from "effect"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const most = Number.MAX_SAFE_INTEGER

/** Amounts of every size: evenly drawn integers would nearly all be millions of dollars. */
const amounts = Arbitrary.map(
  Arbitrary.all({
    digits: Arbitrary.schema(between(0, most)),
    scale: Arbitrary.schema(between(0, 15)),
    negative: Arbitrary.schema(Schema.Boolean)
  }),
  ({ digits, negative, scale }) => {
    const magnitude = Math.floor(digits / 10 ** scale)
    return Usd.nanos(negative ? -magnitude : magnitude)
  }
)
const thorough = { arbitrary: { runs: 2_000, size: 200 } }

const read = (text: string): number => Result.getOrThrow(Usd.fromString(text))

const refusal = (text: string): string => {
  const parsed = Usd.fromString(text)
  assert.isTrue(Result.isFailure(parsed), `${text.slice(0, 40)} was taken as an amount`)
  return Result.isFailure(parsed) ? parsed.failure.message : ""
}

/** Dollars as decimal text, from nano-dollars by bigint arithmetic. */
const plain = (nanos: bigint): string => {
  const magnitude = nanos < 0n ? -nanos : nanos
  return `${nanos < 0n ? "-" : ""}${magnitude / 1_000_000_000n}.${String(magnitude % 1_000_000_000n).padStart(9, "0")}`
}

describe("Usd", () => {
  it.prop(
    "reads back what it formats, exactly",
    { amount: amounts },
    ({ amount }) => {
      assert.strictEqual(read(Usd.format(amount)), amount)
      assert.strictEqual(Usd.dollars(Usd.format(amount)), amount)
    },
    thorough
  )

  it.prop(
    "agrees with bigint arithmetic on decimal text, sums and differences",
    { a: amounts, b: amounts },
    ({ a, b }) => {
      assert.strictEqual(read(plain(BigInt(a))), a)
      for (const [exact, compute] of [
        [BigInt(a) + BigInt(b), () => Usd.add(a, b)],
        [BigInt(a) - BigInt(b), () => Usd.subtract(a, b)]
      ] as const) {
        if (exact >= -BigInt(most) && exact <= BigInt(most)) assert.strictEqual(BigInt(compute()), exact)
        else assert.throws(compute, /out of range/)
      }
    },
    thorough
  )

  it.prop(
    "formats exactly at the edges of whole dollars, where a float division could slip",
    { dollar: between(0, 9_007_198), off: between(-3, 3) },
    ({ dollar, off }) => {
      const nanos = BigInt(dollar) * 1_000_000_000n + BigInt(off)
      const [whole = "", fraction = ""] = plain(nanos).split(".")
      const text = `${whole}.${fraction.replace(/0{1,7}$/, "")}`
      assert.strictEqual(Usd.format(Usd.nanos(Number(nanos))), text.replace(/^(-?)/, "$1$"))
    },
    thorough
  )

  it("formats with at least two decimals, and as many as it takes", () => {
    assert.strictEqual(Usd.format(Usd.zero), "$0.00")
    assert.strictEqual(Usd.format(Usd.nanos(1)), "$0.000000001")
    assert.strictEqual(Usd.format(Usd.nanos(-500_000_000)), "-$0.50")
    assert.strictEqual(Usd.format(Usd.nanos(1_750_000_000)), "$1.75")
    assert.strictEqual(Usd.format(Usd.maximum), "$9007199.254740991")
  })

  it("reads dollars as people and machines write them", () => {
    const written: ReadonlyArray<readonly [string, number]> = [
      ["5", 5_000_000_000],
      ["$1.25", 1_250_000_000],
      ["-$0.50", -500_000_000],
      ["+3", 3_000_000_000],
      [" 2. ", 2_000_000_000],
      [".5", 500_000_000],
      ["0000000000000000000000000001", 1_000_000_000],
      ["1e-7", 100],
      ["2.5E-6", 2_500],
      ["1.5e3", 1_500_000_000_000],
      ["123456e-3", 123_456_000_000],
      ["0e9999", 0],
      ["-0", 0],
      [`1.${"0".repeat(390)}`, 1_000_000_000],
      ["9007199.254740991", most],
      ["-9007199.254740991", -most]
    ]
    for (const [text, nanos] of written) assert.isTrue(Object.is(read(text), nanos), text)
  })

  it("rounds what is smaller than a nano-dollar up, away from zero, and nothing else", () => {
    assert.strictEqual(read("0.0000000001"), 1)
    assert.strictEqual(read("-0.0000000001"), -1)
    assert.strictEqual(read("1e-9999"), 1)
    assert.strictEqual(read("0.0000000010"), 1)
    assert.strictEqual(read("0.0000000011"), 2)
    assert.strictEqual(read("1.2345678901"), 1_234_567_891)
    assert.strictEqual(read("1.2345678900"), 1_234_567_890)
  })

  it("refuses what is not a number of dollars, naming it", () => {
    const refused =
      "|.|$|-|e5|1e|five|1,000|1 000|1_000|0x10|1e99999|--1|$$1|1$|NaN|Infinity|-Infinity|1n|١|$-$1|1.2.3"
    for (const text of refused.split("|")) {
      assert.include(refusal(text), `${JSON.stringify(text)} is not a number of dollars.`)
    }
    assert.include(refusal("five"), "exact to $0.000000001, within +-$9007199.254740991")
    assert.throws(() => Usd.dollars(NaN), Usd.UsdError, "NaN is not an amount.")
    const parsed = Usd.fromString("five")
    assert.strictEqual(Result.isFailure(parsed) && parsed.failure._tag, "UsdError")
  })

  it("reads 400 characters, and not one more", () => {
    assert.strictEqual(read(`1.${"0".repeat(398)}`), 1_000_000_000)
    assert.include(refusal(`1.${"0".repeat(399)}`), "is not a number of dollars")
  })

  it("refuses what is too large in a few words, however long it is", () => {
    // Eight digits of dollars: one too many for a number, and not too many to be looked at.
    for (const text of ["9".repeat(400), `${"0".repeat(392)}99999999`]) {
      assert.include(refusal(text), "is too large")
      assert.isBelow(refusal(text).length, 160)
    }
  })

  it("refuses amounts outside of the exact range", () => {
    for (const text of ["9007199.254740992", "-9007199.254740992", "1e7", "1e9999", "9007199.2547409911"]) {
      assert.include(refusal(text), "is too large")
    }
  })

  it("answers hostile texts at once, in a few words", () => {
    for (const text of [
      "9".repeat(5_000_000),
      `${"0".repeat(5_000_000)}x`,
      "$".repeat(1_000_000),
      "\u0000\ud800"
    ]) {
      const before = performance.now()
      assert.isBelow(refusal(text).length, 400)
      assert.isBelow(performance.now() - before, 5_000)
    }
  })

  it("takes a number at the digits that every double is exact to", () => {
    assert.strictEqual(Usd.dollars(0.1 + 0.2), 300_000_000)
    assert.strictEqual(Usd.dollars(1e-7), 100)
    assert.strictEqual(Usd.dollars(-0), 0)
    for (const input of [NaN, Infinity, -Infinity, 1e16, Number.MAX_VALUE]) {
      assert.throws(() => Usd.dollars(input), Usd.UsdError)
    }
    assert.throws(() => Usd.dollars("five"), Usd.UsdError)
  })

  it("makes nano-dollars of safe integers only", () => {
    for (const input of [0.5, NaN, Infinity, most + 1, -most - 1]) {
      assert.throws(() => Usd.nanos(input), Usd.UsdError, "safe integer")
    }
    assert.isTrue(Object.is(Usd.nanos(-0), 0))
  })

  it("refuses sums and differences out of range, and takes those at its edge", () => {
    assert.throws(() => Usd.add(Usd.maximum, Usd.nanos(1)), Usd.UsdError, "out of range")
    assert.throws(() => Usd.subtract(Usd.nanos(-most), Usd.nanos(1)), Usd.UsdError, "out of range")
    assert.strictEqual(Usd.add(Usd.maximum, Usd.zero), most)
    assert.isTrue(Object.is(Usd.subtract(Usd.zero, Usd.zero), 0))
    // The one way for a negative zero to be an amount: as it was kept.
    const kept = Schema.decodeUnknownSync(Usd.FromNanos)(-0)
    assert.isTrue(Object.is(Usd.subtract(kept, Usd.zero), 0))
  })

  it.prop(
    "compares as integers do",
    { a: amounts, b: amounts },
    ({ a, b }) => {
      assert.strictEqual(Usd.compare(a, b), BigInt(a) < BigInt(b) ? -1 : BigInt(a) > BigInt(b) ? 1 : 0)
      assert.strictEqual(Usd.compare(a, a), 0)
    },
    thorough
  )

  it("tells dollars as a number", () => {
    assert.strictEqual(Usd.toNumber(Usd.dollars("0.50")), 0.5)
    assert.strictEqual(Usd.toNumber(Usd.dollars("-12.345")), -12.345)
  })

  describe("schemas", () => {
    it("keeps nano-dollars as safe integers", () => {
      const decode = Schema.decodeUnknownExit(Usd.FromNanos)
      assert.deepStrictEqual(decode(250), Exit.succeed(Usd.nanos(250)))
      for (const input of [0.5, NaN, Infinity, most + 1, "250", null]) {
        assert.isTrue(Exit.isFailure(decode(input)), String(input))
      }
    })

    it.prop(
      "writes dollars that read back exactly",
      { amount: amounts },
      ({ amount }) => {
        const written = Schema.encodeSync(Usd.FromDollars)(amount)
        assert.strictEqual(Schema.decodeUnknownSync(Usd.FromDollars)(written), amount)
        assert.notInclude(String(written), "$")
      },
      thorough
    )

    it("reads dollars from texts and numbers, and says why it refuses", () => {
      const decode = Schema.decodeUnknownSync(Usd.FromDollars)
      assert.strictEqual(decode("5.00"), 5_000_000_000)
      assert.strictEqual(decode(0.25), 250_000_000)
      assert.throws(() => decode("five"), /"five" is not a number of dollars/)
      for (const input of [NaN, Infinity, "1e7", null, {}, 1e300]) assert.throws(() => decode(input))
    })
  })
})
