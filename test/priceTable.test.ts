/** Rows of prices, figure by figure: what a row that leaves something out says, and what is refused. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import type * as BudgetError from "../src/BudgetError.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Usage from "../src/Usage.ts"

const bundled = await Effect.runPromise(Pricing.make())

const tableOf = (overrides: Readonly<Record<string, Pricing.PriceOverride>>, options: Pricing.Options = {}) =>
  Effect.runSync(Pricing.make({ bundled: false, overrides, ...options }))

const priceOf = (
  table: Pricing.Pricing["Service"],
  model: string,
  tier: Pricing.Tier = "standard",
  options: { readonly at?: number; readonly regional?: boolean } = {}
): Pricing.Price => Result.getOrThrow(table.price(model, tier, options))

/** Why a row is refused, in its own words. */
const whyOf = (row: unknown): string => {
  const overrides = { x: row } as Readonly<Record<string, Pricing.PriceOverride>>
  const { reason } = Effect.runSync(Effect.flip(Pricing.make({ bundled: false, overrides })))
  return reason._tag === "InvalidPrices" ? reason.detail : reason._tag
}

const good = { input: "1", output: "2" }

describe("a price that a row leaves out", () => {
  it("is that of the input, or of the shorter write", () => {
    const rates = (row: Partial<Pricing.PriceOverride>) =>
      priceOf(tableOf({ x: { ...good, ...row } }), "x").rates
    const none = { audioInput: undefined, audioOutput: undefined }
    const plain = { input: 1_000_000, output: 2_000_000, ...none }
    assert.deepStrictEqual(rates({}), {
      ...plain,
      cachedInput: 1_000_000,
      cacheWrite: 1_000_000,
      cacheWrite12h: 1_000_000
    })
    assert.deepStrictEqual(rates({ cacheWrite: "3" }), {
      ...plain,
      cachedInput: 1_000_000,
      cacheWrite: 3_000_000,
      cacheWrite12h: 3_000_000
    })
    assert.deepStrictEqual(rates({ cachedInput: "1", cacheWrite12h: "4" }), {
      ...plain,
      cachedInput: 1_000_000,
      cacheWrite: 1_000_000,
      cacheWrite12h: 4_000_000
    })
  })
})

describe("regional processing", () => {
  it("adds a tenth to each rate, on both sides of the threshold, and to no fee and no threshold", () => {
    const row = {
      input: "10",
      cachedInput: "1",
      cacheWrite: "20",
      cacheWrite12h: "30",
      output: "40",
      audioInput: "50",
      audioOutput: "60"
    }
    const long = {
      input: "100",
      cachedInput: "10",
      cacheWrite: "200",
      cacheWrite12h: "300",
      output: "400",
      audioInput: "500",
      audioOutput: "600"
    }
    const table = tableOf({ x: { ...row, longContext: { threshold: 1_000, ...long } } })
    const { longContext, rates } = priceOf(table, "x", "standard", { regional: true })
    const raised = (figures: Readonly<Record<string, string>>): object =>
      Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, Number(figure) * 1_100_000]))
    assert.deepStrictEqual<object>(rates, raised(row))
    assert.strictEqual(longContext?.threshold, 1_000)
    assert.deepStrictEqual<object | undefined>(longContext?.rates, raised(long))
  })

  it("is that of the row whose alias an override takes, unless it says otherwise", () => {
    const regional = (table: Pricing.Pricing["Service"], model: string) =>
      priceOf(table, model, "standard", { regional: true }).rates.input
    const table = Effect.runSync(
      Pricing.make({ overrides: { "gpt-4o-2024-08-06": good, "gpt-5.4-2026-03-05": good } })
    )
    assert.deepStrictEqual(
      [regional(table, "gpt-4o-2024-08-06"), regional(table, "gpt-5.4-2026-03-05")],
      [1_000_000, 1_100_000]
    )
  })
})

describe("the periods of a bundled row", () => {
  it("answer the later prices in full where those are the dearer and no day is said", () => {
    const later = { at: Date.UTC(2027, 2, 1) }
    for (const regional of [false, true]) {
      const unsaid = priceOf(bundled, "gpt-6.2-sol", "ultrafast", { regional })
      const dearer = priceOf(bundled, "gpt-6.2-sol", "ultrafast", { ...later, regional })
      assert.deepStrictEqual(unsaid.rates, dearer.rates)
      assert.deepStrictEqual(unsaid.longContext, dearer.longContext)
      assert.deepStrictEqual(
        [unsaid.basis, unsaid.tier, unsaid.model],
        ["by rule", "ultrafast", "gpt-6.2-sol"]
      )
    }
  })

  it("that are past are not answered where no day is said, however dear they were", () => {
    const rates = (model: string, at?: number) =>
      priceOf(bundled, model, "standard", at === undefined ? {} : { at }).rates
    for (const model of ["gpt-5.6-terra", "o3"]) {
      assert.deepStrictEqual(rates(model), rates(model, Date.UTC(2026, 10, 23)))
      assert.isBelow(rates(model).input, rates(model, Date.UTC(2025, 0)).input)
    }
  })
})

describe("a row of your own", () => {
  it("may have each tier, and long context in each", () => {
    const names = ["batch", "flex", "priority", "ultrafast"] as const
    const tiers = Object.fromEntries(
      names.map((name, index) => [
        name,
        { input: index + 3, output: 9, longContext: { threshold: index + 10, input: 7, output: 8 } }
      ])
    )
    const table = tableOf({ x: { ...good, tiers } })
    assert.deepStrictEqual(table.find("x")?.tiers, ["standard", ...names])
    for (const [index, tier] of names.entries()) {
      const price = priceOf(table, "x", tier)
      assert.deepStrictEqual(
        [price.tier, price.basis, price.rates.input, price.longContext?.threshold],
        [tier, "override", (index + 3) * 1_000_000, index + 10]
      )
    }
  })

  it("is a chat model that does not think, of its own day, with what it says of itself", () => {
    const facts = {
      kind: "embedding",
      encoding: "o200k_base",
      contextWindow: 1,
      maxInput: 2,
      maxOutput: 3,
      reasoning: true,
      regionalUplift: false,
      asOf: "2026-01-31",
      aliases: ["y", "z"]
    } as const
    const table = tableOf({ x: { ...good, ...facts }, plain: good })
    const status = { status: "override", shutdownDate: undefined, tiers: ["standard"] }
    assert.deepStrictEqual({ ...table.find("z") }, { id: "x", ...facts, ...status })
    const { asOf, kind, reasoning, regionalUplift } = table.find("plain") ?? {}
    assert.deepStrictEqual([kind, reasoning, regionalUplift, asOf], ["chat", false, true, table.asOf])
    assert.strictEqual(priceOf(table, "x").asOf, "2026-01-31")
    assert.strictEqual(tableOf({ x: { ...good, kind: "completion" } }).find("x")?.kind, "completion")
  })

  it("may have a discount of nothing, and the highest price that there is", () => {
    const long = { threshold: 1, input: "1000000", cachedInput: "1000000", output: "1" }
    const price = priceOf(tableOf({ x: { ...good, cachedInput: "1", longContext: long } }), "x")
    assert.deepStrictEqual(
      [price.rates.cachedInput, price.longContext?.rates.cachedInput],
      [1_000_000, 1_000_000_000_000]
    )
  })

  it("is refused for what its long context leaves out, for each of what it may leave out", () => {
    const longContext = { threshold: 5, ...good }
    for (const name of ["cacheWrite", "cacheWrite12h", "audioInput", "audioOutput"] as const) {
      assert.strictEqual(whyOf({ ...good, [name]: "1", longContext }), `longContext.${name} is missing.`)
      const row = { ...good, [name]: "1", longContext: { ...longContext, [name]: "1" } }
      assert.strictEqual(priceOf(tableOf({ x: row }), "x").longContext?.threshold, 5)
      assert.strictEqual(priceOf(tableOf({ x: { ...good, [name]: "1" } }), "x").longContext, undefined)
    }
  })

  it("is refused for a discount that is none, on the side where it is", () => {
    assert.strictEqual(
      whyOf({ ...good, cachedInput: "1.000001" }),
      "cachedInput is above input, so it is not a discount."
    )
    assert.strictEqual(
      whyOf({ ...good, longContext: { threshold: 5, ...good, cachedInput: "1.000001" } }),
      "longContext.cachedInput is above longContext.input, so it is not a discount."
    )
  })

  it("may have zeros behind its prices, however many", () => {
    for (const [price, rate] of [
      ["1.2500000000", 1_250_000],
      ["1.0000000000", 1_000_000],
      ["10.0102030000000", 10_010_203],
      ["100", 100_000_000],
      ["0.000", 0]
    ] as const) {
      assert.strictEqual(priceOf(tableOf({ x: { input: price, output: "1" } }), "x").rates.input, rate, price)
    }
  })

  it("is refused in words that stand apart, in one line", () => {
    assert.include(whyOf({ input: "1" }), 'Missing key at ["output"]')
  })

  it("is refused for a price that is no plain decimal number, with that price", () => {
    for (const price of ["1 USD", "1e3", "1.", ".5", "1.5.2", "+1", "1,5", "0x10", "1\n2"]) {
      assert.include(
        whyOf({ ...good, input: price }),
        `${JSON.stringify(price)} is not a price of 0 or more, in USD per 1M tokens`
      )
    }
    for (const price of [-1, 1e21, 1e-7]) {
      assert.include(whyOf({ ...good, input: price }), `${price} is not a price of 0 or more`)
    }
    assert.include(
      whyOf({ ...good, input: "1.0000001" }),
      '"1.0000001" has more than 6 decimals, in USD per 1M tokens'
    )
    assert.include(
      whyOf({ ...good, input: "1000000.000001" }),
      '"1000000.000001" is above 1,000,000, in USD per 1M tokens'
    )
  })

  it("is refused for a price that is longer than any, at once and with its beginning", () => {
    const zeros = "0".repeat(300_000)
    for (const price of [`1.${zeros}1`, `${zeros}1`, `1.${zeros}`]) {
      assert.include(whyOf({ ...good, input: price }), `${JSON.stringify(price.slice(0, 40))} is not a price`)
      assert.isBelow(whyOf({ ...good, input: price }).length, 200)
    }
  })

  it("is refused for a day that is none", () => {
    for (const asOf of [
      " 2026-11-23",
      "2026-11-23 ",
      "x2026-11-23",
      "12026-11-23",
      "2026-1-1",
      "2026-00-10",
      "2026-02-31",
      "2026-11-23T00:00:00.000Z",
      "2025-02-29",
      ""
    ]) {
      assert.include(whyOf({ ...good, asOf }), "must be a day such as 2026-11-23", asOf)
    }
  })

  it("is refused where it says what it does not know, also deep inside", () => {
    for (const row of [
      { ...good, shutdownDate: "2026-11-23" },
      { ...good, status: "active" },
      { ...good, longContext: { threshold: 5, ...good, until: "2026-11-23" } },
      { ...good, tiers: { batch: { ...good, basis: "mine" } } },
      { ...good, tiers: { standard: good } }
    ]) {
      assert.match(whyOf(row), /shutdownDate|status|until|basis|standard/)
    }
  })
})

describe("a table without the bundled rows", () => {
  it.effect("is of today, from no source, and never too old", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2031, 1, 3, 23, 59))
      const table = yield* Pricing.make({ bundled: false, maxAge: 1, overrides: { x: good } })
      assert.deepStrictEqual([table.asOf, table.sources], ["2031-02-03", []])
      assert.strictEqual(priceOf(table, "x").asOf, "2031-02-03")
    })
  )
})

describe("a file of prices", () => {
  it.effect("that cannot be had or read is refused by its name, in one line", () =>
    Effect.gen(function* () {
      const reading = (text: string) =>
        Pricing.layerFile("/etc/my prices.json").pipe(
          Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.succeed(text) }))
        )
      const reasonOf = (layer: Layer.Layer<Pricing.Pricing, BudgetError.BudgetError>) =>
        Effect.map(Effect.flip(Effect.provide(Pricing.Pricing, layer)), ({ reason }) => reason)
      for (const text of ["{ mine", "[1]"]) {
        const reason = yield* reasonOf(reading(text))
        assert.strictEqual(reason._tag === "InvalidPrices" ? reason.row : "", 'file "/etc/my prices.json"')
        assert.notMatch(reason.message, /\n| {2}/)
      }
      const absent = yield* reasonOf(
        Pricing.layerFile("/etc/my prices.json").pipe(Layer.provide(FileSystem.layerNoop({})))
      )
      assert.strictEqual(absent._tag === "InvalidPrices" ? absent.row : "", 'file "/etc/my prices.json"')
    })
  )

  it.effect("stands alone where that is said", () =>
    Effect.gen(function* () {
      const files = FileSystem.layerNoop({
        readFileString: () => Effect.succeed(JSON.stringify({ x: good }))
      })
      const layer = Pricing.layerFile("a.json", { bundled: false, toolFees: { fileSearch: 5 } })
      const table = yield* Effect.provide(Pricing.Pricing, Layer.provide(layer, files))
      assert.deepStrictEqual(
        table.models.map(({ id }) => id),
        ["x"]
      )
      assert.strictEqual(table.toolFees.fileSearch, 5_000_000_000)
    })
  )
})

describe("a bound with audio", () => {
  it("is its audio at the price of that, and the rest at the price of text", () => {
    const rates = { input: "1", output: "2", audioInput: "10", audioOutput: "20" }
    const price = priceOf(tableOf({ x: rates }), "x")
    const bound = Usage.make({ input: 100, audioInput: 40, output: 50, audioOutput: 30 })
    assert.strictEqual(
      Result.getOrThrow(Pricing.worst(price, bound)),
      60 * 1_000 + 40 * 10_000 + 20 * 2_000 + 30 * 20_000
    )
    // No more of it is audio than there is.
    const all = Usage.make({ input: 100, audioInput: 400, output: 50, audioOutput: 300 })
    assert.strictEqual(Result.getOrThrow(Pricing.worst(price, all)), 100 * 10_000 + 50 * 20_000)
  })
})

describe("an exact sum", () => {
  it("is taken from where doubles end, and answers what a sum of them would just before", () => {
    const table = tableOf({ x: { input: "0.000001", output: "0.000001" } })
    const price = priceOf(table, "x")
    const nanos = (input: number, output: number) =>
      Result.getOrThrow(Pricing.cost(price, Usage.make({ input, output })))
    const most = Number.MAX_SAFE_INTEGER
    assert.strictEqual(nanos(most, 0), Math.ceil(most / 1_000))
    // 9,007,199,254,740,992 is not a safe integer, and 993 no double.
    assert.strictEqual(nanos(most, 1), 9_007_199_254_741)
    assert.strictEqual(nanos(most, 9), 9_007_199_254_741)
    assert.strictEqual(nanos(most, 10), 9_007_199_254_742)
  })
})
