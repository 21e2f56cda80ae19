import { calcPrice } from "@pydantic/genai-prices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Logger, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { existsSync, readFileSync } from "node:fs"
import type * as BudgetError from "../src/BudgetError.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Usage from "../src/Usage.ts"
import * as Usd from "../src/Usd.ts"
import { includes } from "./utils/assertions.ts"

/** At a time of its own: an old table is warned of once in a process, which a test below looks for. */
const make = (options?: Pricing.Options) => Effect.provide(Pricing.make(options), TestClock.layer())

const bundled = await Effect.runPromise(make())
const tiers = Pricing.Tier.literals
const snapshotPath = new URL("../../shared/facts/openai-prices.json", import.meta.url)

const priceOf = (
  model: string,
  tier: Pricing.Tier = "standard",
  options?: { readonly at?: number; readonly regional?: boolean },
  table: Pricing.Pricing["Service"] = bundled
): Pricing.Price => Result.getOrThrow(table.price(model, tier, options))

const reasonOf = (answer: Result.Result<unknown, BudgetError.BudgetError>): string =>
  Result.isFailure(answer) ? answer.failure.reason._tag : "none"

/** The only price of a table with one row of one's own. */
const own = (row: Pricing.PriceOverride): Pricing.Price =>
  priceOf("own", "standard", {}, Effect.runSync(make({ bundled: false, overrides: { own: row } })))

const nanosOf = (price: Pricing.Price, parts: Partial<Usage.Usage>): number =>
  Result.getOrThrow(Pricing.cost(price, Usage.make(parts)))

/** Pico-dollars a token of a price in USD per 1M tokens; figures of up to 6 decimals survive the rounding. */
const pico = (price: string | number): number => Math.round(Number(price) * 1e6)

/** Every price that the bundled table can answer. */
const everyPrice: ReadonlyArray<Pricing.Price> = bundled.models.flatMap((model) =>
  model.tiers.flatMap((tier) =>
    [undefined, Date.UTC(2025, 0), Date.UTC(2026, 10, 23), Date.UTC(2028, 0)].flatMap((at) =>
      [false, true].map((regional) => Result.getOrThrow(bundled.price(model.id, tier, { at, regional })))
    )
  )
)
const everyDistinctPrice = [...new Set(everyPrice)]

describe("the bundled table", () => {
  it("has gpt-5.2 at $1.75, $0.175 and $14, and half of it in batch", () => {
    const { rates, asOf, basis } = priceOf("gpt-5.2")
    assert.deepStrictEqual([rates.input, rates.cachedInput, rates.output], [1_750_000, 175_000, 14_000_000])
    assert.deepStrictEqual([asOf, basis], ["2026-09-13", "published"])
    const batch = priceOf("gpt-5.2", "batch").rates
    assert.deepStrictEqual([batch.input, batch.cachedInput, batch.output], [875_000, 87_500, 7_000_000])
  })

  it("resolves every family by name", () => {
    const families =
      "gpt-5.2 gpt-5.1 gpt-5 gpt-5-mini gpt-5-nano gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini o1 o3 o3-pro " +
      "o3-mini o4-mini gpt-4-turbo gpt-4 gpt-3.5-turbo text-embedding-3-small text-embedding-3-large"
    for (const family of families.split(" ")) {
      assert.strictEqual(bundled.find(family)?.id, family)
      assert.isTrue(Result.isSuccess(bundled.price(family, "standard")), family)
    }
  })

  it("resolves dated snapshots by exact id only, and guesses no prefix", () => {
    assert.strictEqual(bundled.find("gpt-4o-2024-08-06")?.id, "gpt-4o")
    assert.strictEqual(priceOf("gpt-4o-2024-05-13").rates.input, 2 * priceOf("gpt-4o").rates.input)
    for (const name of [
      "gpt-4o-2027-01-01",
      "ft:gpt-4o-2024-08-06:us",
      "gpt-4o ",
      "GPT-4o",
      "gpt",
      "",
      "__proto__"
    ]) {
      assert.isUndefined(bundled.find(name), name)
      assert.strictEqual(reasonOf(bundled.price(name, "standard")), "UnknownModel", name)
    }
  })

  it("has chat, completion and embedding models, those that hear and speak too, and no other kind", () => {
    const completions = bundled.models.filter((model) => model.kind === "completion").map((model) => model.id)
    assert.deepStrictEqual(completions, ["gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"])
    assert.strictEqual(bundled.find("gpt-3.5-turbo-instruct-0914")?.kind, "completion")
    assert.strictEqual(bundled.find("text-embedding-3-small")?.kind, "embedding")
    assert.strictEqual(priceOf("text-embedding-3-small").rates.output, 0)
    const { rates } = priceOf("gpt-audio-mini")
    assert.deepStrictEqual([rates.audioInput, rates.audioOutput], [10_000_000, 20_000_000])
    for (const other of ["whisper-1", "gpt-image-1", "tts-1", "gpt-realtime", "sora-2"]) {
      assert.strictEqual(reasonOf(bundled.price(other, "standard")), "UnknownModel", other)
    }
  })

  it("refuses a tier without a price, and never answers another tier's", () => {
    assert.strictEqual(reasonOf(bundled.price("gpt-4o", "flex")), "UnpricedTier")
    for (const model of bundled.models) {
      for (const tier of tiers) {
        const answer = bundled.price(model.id, tier)
        if (model.tiers.includes(tier)) assert.strictEqual(Result.getOrThrow(answer).tier, tier)
        else assert.strictEqual(reasonOf(answer), "UnpricedTier")
      }
    }
  })

  it("keeps models that were shut down, and says so", () => {
    const model = bundled.find("gpt-4-turbo")
    assert.deepStrictEqual([model?.status, model?.shutdownDate], ["shutdown", "2026-10-23"])
    assert.strictEqual(priceOf("gpt-4-turbo").rates.input, 10_000_000)
  })

  it("adds a tenth on regional hosts to models released since 2026-03-05 only", () => {
    const plain = priceOf("gpt-5.4", "standard")
    const regional = priceOf("gpt-5.4", "standard", { regional: true })
    assert.deepStrictEqual(
      [regional.rates.input, regional.rates.output, regional.longContext?.rates.output],
      [2_750_000, 16_500_000, 24_750_000]
    )
    assert.strictEqual(plain.rates.input, 2_500_000)
    assert.strictEqual(priceOf("gpt-5.2", "standard", { regional: true }), priceOf("gpt-5.2"))
    const without = bundled.models.filter((model) => !model.regionalUplift).map((model) => model.id)
    assert.deepStrictEqual(
      without.filter((id) => /^gpt-(5\.[4-9]|6)|^chat|daybreak/.test(id)),
      ["chatgpt-4o-latest"]
    )
    const withIt = bundled.models.filter((model) => model.regionalUplift).map((model) => model.id)
    assert.deepStrictEqual(
      withIt.filter((id) => /^(o\d|gpt-[34]|gpt-5(\.[123])?(-|$)|text)/.test(id)),
      []
    )
  })

  it("uses the list price of a promotion whose end is not known", () => {
    for (const id of ["gpt-5.6-sol", "gpt-5.6", "gpt-daybreak-blue-latest"]) {
      const { rates } = priceOf(id)
      assert.deepStrictEqual(
        [rates.input, rates.cachedInput, rates.cacheWrite, rates.output],
        [5_000_000, 500_000, 6_250_000, 30_000_000]
      )
    }
    assert.strictEqual(priceOf("gpt-5.6-sol", "priority").longContext?.rates.output, 90_000_000)
  })

  it("answers the period in force, through the last millisecond of its last day", () => {
    const at = (day: string) => ({ at: Date.parse(day) })
    const ultrafast = (day: string) => priceOf("gpt-6.2-sol", "ultrafast", at(day)).rates.input
    assert.strictEqual(ultrafast("2027-02-28T23:59:59.999Z"), 6_000_000)
    assert.strictEqual(ultrafast("2027-03-01T00:00:00.000Z"), 12_000_000)
    const o3 = (day: string) => priceOf("o3", "standard", at(day)).rates.input
    assert.strictEqual(o3("2025-06-09T23:59:59.999Z"), 10_000_000)
    assert.strictEqual(o3("2025-06-10T00:00:00.000Z"), 2_000_000)
  })

  it("answers the dearest of the periods that are not past when no date is given", () => {
    assert.strictEqual(priceOf("gpt-6.2-sol", "ultrafast").rates.output, 60_000_000)
    assert.strictEqual(priceOf("gpt-6.2-sol", "ultrafast", { at: NaN }).rates.output, 60_000_000)
    assert.strictEqual(priceOf("gpt-6.2-sol", "ultrafast", { regional: true }).rates.output, 66_000_000)
    assert.strictEqual(priceOf("o3").rates.input, 2_000_000)
  })

  it("answers with the same object each time", () => {
    for (const options of [{}, { regional: true }, { at: Date.UTC(2026, 10) }]) {
      assert.strictEqual(
        priceOf("gpt-5.4", "batch", options),
        priceOf("gpt-5.4-2026-03-05", "batch", options)
      )
      assert.strictEqual(
        priceOf("gpt-5.6-terra", "standard", options),
        priceOf("gpt-5.6-terra", "standard", options)
      )
    }
  })

  it("names its day and its sources", () => {
    assert.strictEqual(bundled.asOf, "2026-11-23")
    assert.isAbove(bundled.sources.length, 5)
  })
})

describe("cross-checks", () => {
  /** Models that genai-prices knows otherwise, and why. */
  const exceptions: Record<string, string> = {
    "gpt-5.6-sol": "a promotion that may have ended; the list price is used",
    "gpt-5.6": "an alias of gpt-5.6-sol",
    "gpt-4o-mini-search-preview": "taken for gpt-4o-mini there, with its cached discount",
    "gpt-4o-mini-search-preview-2025-03-11": "an alias of gpt-4o-mini-search-preview"
  }
  /** Models that genai-prices does not know. */
  const unknown =
    "gpt-6.2-sol gpt-6.2-astra gpt-6.1-sol gpt-6.1-terra gpt-5.6-cyber gpt-5.5-cyber gpt-5.5-cyber-preview " +
    "gpt-5.3-codex-spark gpt-5-search-api chat-latest gpt-daybreak-blue-latest gpt-daybreak-red-latest " +
    "davinci-002 babbage-002"

  it("standard prices are those of genai-prices, but for listed exceptions", () => {
    const base = (price: unknown): number | undefined =>
      typeof price === "number" ? price : (price as { readonly base: number } | undefined)?.base
    const differ: Array<string> = []
    const missing: Array<string> = []
    for (const model of bundled.models) {
      for (const name of [model.id, ...model.aliases]) {
        const theirs = calcPrice({ input_tokens: 1, output_tokens: 1 }, name, {
          providerId: "openai",
          timestamp: new Date("2026-11-23")
        })?.model_price
        if (theirs === undefined) {
          missing.push(name)
          continue
        }
        const input = base(theirs["input_mtok"]) ?? 0
        const expected = [input, base(theirs["cache_read_mtok"]) ?? input, base(theirs["output_mtok"]) ?? 0]
        const { rates } = priceOf(name)
        const ours = [rates.input, rates.cachedInput, rates.output]
        if (ours.some((rate, index) => rate !== pico(expected[index] ?? NaN))) differ.push(name)
      }
    }
    assert.deepStrictEqual(differ.sort(), Object.keys(exceptions).sort())
    assert.deepStrictEqual(missing, unknown.split(" "))
  })

  const Figures = Schema.Record(Schema.String, Schema.Unknown)
  const Snapshot = Schema.fromJsonString(
    Schema.Struct({
      asOf: Schema.String,
      models: Schema.Array(
        Schema.Struct({
          id: Schema.String,
          aliases: Schema.Array(Schema.String),
          kind: Schema.String,
          status: Schema.String,
          shutdownDate: Schema.NullOr(Schema.String),
          encoding: Schema.NullOr(Schema.String),
          contextWindow: Schema.NullOr(Schema.Int),
          maxInputTokens: Schema.NullOr(Schema.Int),
          maxOutputTokens: Schema.NullOr(Schema.Int),
          prices: Schema.Record(Schema.String, Schema.NullOr(Schema.Union([Figures, Schema.Array(Figures)]))),
          history: Schema.optionalKey(
            Schema.Array(Schema.Struct({ until: Schema.String, standard: Figures }))
          )
        })
      )
    })
  )
  const present = existsSync(snapshotPath)
  const research = () =>
    Schema.decodeUnknownSync(Snapshot)(readFileSync(snapshotPath, "utf8")).models.filter((model) =>
      ["chat", "audio-chat", "embedding"].includes(model.kind)
    )
  const names = ["input", "cachedInput", "cacheWrite", "cacheWrite12h", "output"] as const

  /** "dearer", "cheaper" or "more" for each figure that is not the snapshot's. */
  const compare = (rates: Pricing.Rates, theirs: typeof Figures.Type): ReadonlyArray<string> => {
    const fallback = { input: theirs["input"], output: "0", cachedInput: theirs["input"] }
    const write = theirs["cacheWrite"] ?? theirs["input"]
    const silent = {
      ...fallback,
      cacheWrite: theirs["input"],
      cacheWrite12h: theirs["cacheWrite12h"] ?? write
    }
    const sounds = (["audioInput", "audioOutput"] as const).filter((name) => {
      const told = theirs[name] ?? undefined
      return rates[name] !== (typeof told === "string" ? pico(told) : undefined)
    })
    const figures = names.flatMap((name) => {
      const told = theirs[name] ?? undefined
      const figure = pico(String(told ?? silent[name]))
      if (rates[name] === figure) return []
      if (told === undefined) return rates[name] > figure ? ["more"] : ["cheaper"]
      return rates[name] > figure ? ["dearer"] : ["cheaper"]
    })
    return [...sounds, ...figures]
  }

  it.skipIf(!present)("every figure of the research snapshot is in the table, or a listed dearer one", () => {
    const unlike = new Map<string, Set<string>>()
    const note = (where: string, kinds: ReadonlyArray<string>) => {
      for (const kind of kinds) unlike.set(kind, (unlike.get(kind) ?? new Set()).add(where))
    }
    for (const model of research()) {
      for (const name of [model.id, ...model.aliases]) {
        for (const tier of tiers) {
          const offer = model.prices[tier] ?? null
          if (offer === null) {
            assert.strictEqual(reasonOf(bundled.price(name, tier)), "UnpricedTier", `${name} ${tier}`)
            continue
          }
          const rows: ReadonlyArray<typeof Figures.Type> = Array.isArray(offer) ? offer : [offer]
          for (const row of rows) {
            const named = row["until"] ?? row["from"]
            const day = typeof named === "string" ? named : "2026-11-23"
            const price = priceOf(name, tier, { at: Date.parse(day) })
            const where = `${model.id} ${tier}`
            note(where, compare(price.rates, row))
            const long = row["longContext"]
            if (Schema.is(Figures)(long)) {
              assert.strictEqual(price.longContext?.threshold, long["thresholdTokens"])
              if (price.longContext !== undefined)
                note(`${where} long`, compare(price.longContext.rates, long))
            } else if (price.longContext !== undefined) note(`${where} long`, ["more"])
          }
        }
        for (const past of model.history ?? []) {
          note(
            `${model.id} past`,
            compare(priceOf(name, "standard", { at: Date.parse(past.until) }).rates, past.standard)
          )
        }
      }
    }
    const listed = (kind: string) => [...(unlike.get(kind) ?? [])].sort()
    assert.deepStrictEqual(listed("cheaper"), [])
    assert.deepStrictEqual(listed("dearer"), [
      "gpt-4o-search-preview standard",
      ...[
        "batch",
        "batch long",
        "flex",
        "flex long",
        "priority",
        "priority long",
        "standard",
        "standard long"
      ].map((tier) => `gpt-5.6-sol ${tier}`),
      "gpt-daybreak-blue-latest standard",
      "gpt-daybreak-blue-latest standard long"
    ])
    const both = (where: string) => [where, `${where} long`]
    const dearer = new Set(listed("dearer"))
    assert.deepStrictEqual(
      listed("more").filter((where) => !dearer.has(where)),
      [
        "gpt-5.4 priority long",
        "gpt-5.5 priority long",
        "gpt-5.5-pro batch long",
        "gpt-5.5-pro flex long",
        ...["batch", "flex", "priority", "standard", "ultrafast"].flatMap((tier) =>
          both(`gpt-6.1-sol ${tier}`)
        ),
        ...["batch", "flex", "priority"].flatMap((tier) => both(`gpt-6.1-terra ${tier}`)),
        "gpt-6.1-terra standard long",
        ...["batch", "priority", "standard"].flatMap((tier) => both(`gpt-6.2-astra ${tier}`)),
        ...["batch", "priority", "standard", "ultrafast"].map((tier) => `gpt-6.2-sol ${tier} long`)
      ]
    )
  })

  it.skipIf(!present)("every model of the research snapshot is there with its facts, and no other", () => {
    const models = research()
    assert.deepStrictEqual(
      bundled.models.map((model) => model.id),
      models.map((model) => model.id)
    )
    for (const theirs of models) {
      const ours = bundled.find(theirs.id)
      assert.deepStrictEqual(
        [
          ours?.aliases,
          ours?.status,
          ours?.shutdownDate,
          ours?.encoding,
          ours?.contextWindow,
          ours?.maxInput
        ],
        [
          theirs.aliases,
          theirs.status,
          ...[theirs.shutdownDate, theirs.encoding, theirs.contextWindow, theirs.maxInputTokens].map(
            (fact) => fact ?? undefined
          )
        ]
      )
      assert.strictEqual(ours?.maxOutput, theirs.maxOutputTokens ?? undefined)
    }
  })
})

describe("cost", () => {
  it("charges each token once, at the rate of what it was", () => {
    const price = priceOf("gpt-5.2")
    // 2,000 x $1.75 + 8,000 x $0.175 + 500 x $14, per million.
    assert.strictEqual(nanosOf(price, { input: 10_000, cachedInput: 8_000, output: 500 }), 11_900_000)
    assert.strictEqual(
      nanosOf(price, { input: 10_000, cachedInput: 8_000, output: 500, reasoning: 400 }),
      11_900_000
    )
    const six = priceOf("gpt-6.2-sol")
    // 100 x $2 + 200 x $0.10 + 300 x $2.50 + 400 x $5, per million.
    assert.strictEqual(
      nanosOf(six, { input: 1_000, cachedInput: 200, cacheWrite: 300, cacheWrite12h: 400 }),
      2_970_000
    )
  })

  it("rounds up, once, to a nano-dollar", () => {
    const price = own({ input: "0.000001", output: "0.000001" })
    assert.strictEqual(nanosOf(price, {}), 0)
    assert.strictEqual(nanosOf(price, { input: 1 }), 1)
    assert.strictEqual(nanosOf(price, { input: 1, output: 1 }), 1)
    assert.strictEqual(nanosOf(price, { input: 1_000 }), 1)
    assert.strictEqual(nanosOf(price, { input: 500, output: 501 }), 2)
    // The largest sums that are added as doubles, a thousandth above and below a whole nano-dollar.
    assert.strictEqual(nanosOf(price, { input: 9_007_199_254_739_999 }), 9_007_199_254_740)
    assert.strictEqual(nanosOf(price, { input: 9_007_199_254_740_001 }), 9_007_199_254_741)
  })

  it("re-prices the whole call from the long-context threshold on", () => {
    const price = priceOf("gpt-5.4")
    // Input $2.50 and output $15 below, $5 and $22.50 from 272,000 tokens on.
    assert.strictEqual(nanosOf(price, { input: 271_999, output: 10 }), 271_999 * 2_500 + 150_000)
    assert.strictEqual(nanosOf(price, { input: 272_000, output: 10 }), 272_000 * 5_000 + 225_000)
    assert.strictEqual(nanosOf(price, { input: 272_000, cachedInput: 272_000 }), 272_000 * 500)
  })

  it("does not wrap for a thousand million tokens, and refuses what Usd cannot hold", () => {
    const billion = { input: 1_000_000_000, output: 1_000_000_000 }
    assert.strictEqual(nanosOf(priceOf("gpt-5.2-pro"), billion), 189_000 * 1e9)
    const dear = own({ input: "1000000", output: "1000000" })
    assert.isTrue(Result.isFailure(Pricing.cost(dear, Usage.make(billion))))
    assert.isTrue(Result.isFailure(Pricing.worst(dear, Usage.make(billion))))
    assert.strictEqual(nanosOf(dear, { input: 9_007_199 }), 9_007_199 * 1e9)
  })

  it("refuses parts that exceed their total, and numbers that are no tokens", () => {
    const price = own({ input: "1", output: "1", audioInput: "2", audioOutput: "3" })
    const untrue: ReadonlyArray<Partial<Usage.Usage>> = [
      { input: 10, cachedInput: 11 },
      { input: 10, cachedInput: 6, cacheWrite: 5 },
      { input: 10, cacheWrite: 6, cacheWrite12h: 5 },
      { input: 10, audioInput: 11 },
      { input: 10, audioInput: 6, cacheWrite: 5 },
      { output: 10, reasoning: 11 },
      { output: 10, audioOutput: 11 },
      { input: -1 },
      { output: 0.5 },
      { reasoning: NaN },
      { input: Infinity }
    ]
    for (const parts of untrue) {
      assert.isTrue(Result.isFailure(Pricing.cost(price, Usage.make(parts))), JSON.stringify(parts))
    }
    for (const parts of [{ input: -1 }, { output: 0.5 }, { audioInput: NaN }, { audioOutput: Infinity }]) {
      assert.isTrue(Result.isFailure(Pricing.worst(price, Usage.make(parts))), JSON.stringify(parts))
    }
  })

  it("charges audio at its own rates, and refuses it where the price has none", () => {
    const price = own({ input: "1", cachedInput: "0.5", output: "2", audioInput: "10", audioOutput: "20" })
    assert.strictEqual(
      nanosOf(price, { input: 100, audioInput: 40, output: 50, audioOutput: 30 }),
      60_000 + 400_000 + 40_000 + 600_000
    )
    // Of 50 cached tokens 40 may be the audio: 10 are surely cached text.
    assert.strictEqual(
      nanosOf(price, { input: 100, audioInput: 40, cachedInput: 50 }),
      400_000 + 5_000 + 50_000
    )
    const text = priceOf("gpt-5.2")
    assert.isTrue(Result.isFailure(Pricing.cost(text, Usage.make({ input: 10, audioInput: 1 }))))
    assert.isTrue(Result.isFailure(Pricing.cost(text, Usage.make({ output: 10, audioOutput: 1 }))))
    assert.isTrue(Result.isFailure(Pricing.worst(text, Usage.make({ input: 10, audioInput: 1 }))))
    assert.isTrue(Result.isFailure(Pricing.worst(text, Usage.make({ output: 10, audioOutput: 1 }))))
  })
})

/** Why a usage has no cost. */
const fault = (answer: Result.Result<Usd.Usd, Usd.UsdError>): string =>
  Result.isFailure(answer) ? answer.failure.message.replace("The usage has no cost: ", "") : "it has one"

const tokenKinds = [
  "input",
  "cachedInput",
  "cacheWrite",
  "cacheWrite12h",
  "audioInput",
  "output",
  "reasoning",
  "audioOutput"
] as const
const toolKinds = ["webSearches", "fileSearches", "containers"] as const

describe("a usage without a cost", () => {
  const price = own({ input: "1", output: "1", audioInput: "2", audioOutput: "3" })
  const whole = Usage.make({ input: 100, output: 100 })

  it.each(tokenKinds)("says so where a number is not one of tokens: %s", (kind) => {
    for (const value of [0.5, -1, NaN, Infinity]) {
      const usage = { ...whole, [kind]: value }
      assert.strictEqual(
        fault(Pricing.cost(price, usage)),
        "a number of tokens is not a whole number of 0 or more."
      )
    }
  })

  it.each(["input", "output", "audioInput", "audioOutput"] as const)(
    "has no bound either where what bounds it is no number: %s",
    (kind) => {
      assert.strictEqual(
        fault(Pricing.worst(price, { ...whole, [kind]: 0.5 })),
        "a number of tokens is not a whole number of 0 or more."
      )
    }
  )

  it("says which parts are more than their whole", () => {
    const told = (parts: Partial<Usage.Usage>) => fault(Pricing.cost(price, Usage.make(parts)))
    assert.strictEqual(
      told({ input: 9, cachedInput: 4, cacheWrite: 3, cacheWrite12h: 3 }),
      "4 cached and 6 written tokens are more than its 9 input tokens."
    )
    assert.strictEqual(
      told({ input: 9, audioInput: 4, cacheWrite: 3, cacheWrite12h: 3 }),
      "4 audio and 6 written tokens are more than its 9 input tokens."
    )
    assert.strictEqual(
      told({ output: 9, reasoning: 10, audioOutput: 3 }),
      "10 reasoning or 3 audio tokens are more than its 9 output tokens."
    )
  })

  it("says which audio has no price, on one side of the threshold too", () => {
    const text = priceOf("gpt-5.2")
    const sound = { ...text, rates: { ...text.rates, audioInput: 1_000, audioOutput: 1_000 } }
    const long = { threshold: 50, rates: text.rates }
    const half = { ...sound, longContext: long }
    const otherHalf = { ...text, longContext: { ...long, rates: sound.rates } }
    for (const [side, told] of [
      ["audioInput", "it has audio input, and the price has none."],
      ["audioOutput", "it has audio output, and the price has none."]
    ] as const) {
      const usage = { ...whole, [side]: 1 }
      assert.strictEqual(fault(Pricing.cost(text, usage)), told)
      for (const each of [text, half, otherHalf]) assert.strictEqual(fault(Pricing.worst(each, usage)), told)
      assert.strictEqual(fault(Pricing.worst(sound, usage)), "it has one")
    }
  })

  it("costs up to the largest amount, and says where it would be more", () => {
    const nano = own({ input: "0.001", output: "0.001" })
    for (const priceBy of [Pricing.cost, Pricing.worst]) {
      const most = priceBy(nano, Usage.make({ input: Number.MAX_SAFE_INTEGER }))
      assert.strictEqual(Result.getOrThrow(most), Usd.maximum)
      const more = priceBy(nano, Usage.make({ input: Number.MAX_SAFE_INTEGER, output: 1 }))
      assert.strictEqual(fault(more), "it comes to more than $9007199.254740991.")
      assert.isTrue(Result.isFailure(more) && more.failure.message.startsWith("The usage has no cost: "))
    }
  })

  it("is refused where a rate is no whole number and doubles would be inexact", () => {
    const broken = { ...price, rates: { ...price.rates, output: 0.5 } }
    const usage = Usage.make({ input: 100_000_000_000, output: 1 })
    for (const priceBy of [Pricing.cost, Pricing.worst]) {
      assert.strictEqual(
        fault(priceBy(broken, usage)),
        "a number of tokens or a rate is not a whole number of 0 or more."
      )
    }
  })
})

describe("calls of hosted tools", () => {
  // In pico-dollars: a cent a search of the web, a quarter of one of files, three cents a session.
  const toolFees = { webSearch: 10_000_000_000, fileSearch: 2_500_000_000, container: 30_000_000_000 }
  const tokens = own({ input: "1", output: "2", audioInput: "4", audioOutput: "5" })
  const price: Pricing.Price = { ...tokens, toolFees }
  const calls = { webSearches: 3, fileSearches: 4, containers: 2 }

  it("are charged beside the tokens, each kind at its fee", () => {
    // 1,000 x $1 and 100 x $2 per million; $0.03, $0.01 and $0.06.
    const usage = Usage.make({ input: 1_000, output: 100, ...calls })
    for (const priceBy of [Pricing.cost, Pricing.worst]) {
      assert.strictEqual(Result.getOrThrow(priceBy(price, usage)), 1_200_000 + 100_000_000)
      for (const [kind, nanos] of [
        ["webSearches", 30_000_000],
        ["fileSearches", 10_000_000],
        ["containers", 60_000_000]
      ] as const) {
        assert.strictEqual(amount(priceBy(price, Usage.make({ [kind]: calls[kind] }))), nanos)
      }
    }
  })

  it("are charged exactly beside more tokens than doubles can count", () => {
    // The audio of a bound is part of its total: 10,000,000,001 of text, and so on.
    const usage = Usage.make({
      input: 30_000_000_001,
      audioInput: 20_000_000_000,
      output: 10_000_000_007,
      audioOutput: 10_000_000_000,
      ...calls
    })
    const text = 10_000_000_001 * 1_000 + 7 * 2_000
    const sound = 20_000_000_000 * 4_000 + 10_000_000_000 * 5_000
    for (const priceBy of [Pricing.cost, Pricing.worst]) {
      assert.strictEqual(Result.getOrThrow(priceBy(price, usage)), text + sound + 100_000_000)
    }
  })

  it.each(toolKinds)(
    "have no cost where the price has no fee for them, or they cannot be counted: %s",
    (kind) => {
      for (const priceBy of [Pricing.cost, Pricing.worst]) {
        assert.strictEqual(
          fault(priceBy(tokens, Usage.make({ input: 1, [kind]: 1 }))),
          "it has calls of hosted tools, and the price has no fees for them."
        )
        for (const value of [0.5, -1, NaN]) {
          assert.strictEqual(
            fault(priceBy(price, Usage.make({ input: 1, [kind]: value }))),
            "a number of calls is not a whole number of 0 or more."
          )
        }
      }
    }
  )

  it("cost in the bundled table what OpenAI's page says", () => {
    assert.deepStrictEqual(bundled.toolFees, {
      // $10, $25 and $2.50 for a thousand.
      webSearch: 10_000_000_000,
      webSearchPreview: 25_000_000_000,
      fileSearch: 2_500_000_000,
      container: {
        "1g": 30_000_000_000,
        "4g": 120_000_000_000,
        "16g": 480_000_000_000,
        "64g": 1_920_000_000_000
      }
    })
  })

  it("cost what you say, and without the bundled table nothing else", () => {
    const fees = (options: Pricing.Options) => Effect.runSync(make(options)).toolFees
    const mine = { webSearch: "1", container: { "4g": "0.5" } }
    assert.deepStrictEqual(fees({ toolFees: mine }), {
      ...bundled.toolFees,
      webSearch: 1_000_000_000,
      container: { ...bundled.toolFees.container, "4g": 500_000_000_000 }
    })
    const none = { "1g": undefined, "4g": undefined, "16g": undefined, "64g": undefined }
    assert.deepStrictEqual(fees({ toolFees: mine, bundled: false }), {
      webSearch: 1_000_000_000,
      webSearchPreview: undefined,
      fileSearch: undefined,
      container: { ...none, "4g": 500_000_000_000 }
    })
    const error = Effect.runSync(Effect.flip(make({ toolFees: { webSearch: "a cent" } })))
    assert.match(
      error.message,
      /toolFees.*"a cent" is not a price of 0 or more, in USD per 1,000 searches.*webSearch/
    )
    const negative = Effect.runSync(Effect.flip(make({ toolFees: { container: { "1g": -1 } } })))
    assert.match(negative.message, /-1 is not a price of 0 or more, in USD for a session of a container.*1g/)
  })
})

const count = (low: number, high: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: low, maximum: high }))

/** From none to all, both included often. */
const Share = count(0, 12)
const part = (total: number, share: number): number =>
  Math.floor((total * Math.min(10, Math.max(0, share - 1))) / 10)

const Bound = Schema.Struct({
  base: Schema.Literals([0, 40, 271_999, 272_000, 544_000, 1_000_000_000]),
  off: count(0, 3),
  output: Schema.Literals([0, 1, 997, 128_000, 1_000_000_000]),
  audioInput: Share,
  audioOutput: Share
})
const Split = Schema.Struct({
  input: Share,
  onCliff: count(-1, 1),
  atCliff: Schema.Boolean,
  cacheWrite: Share,
  cacheWrite12h: Share,
  cachedInput: Share,
  audioInput: Share,
  output: Share,
  audioOutput: Share,
  reasoning: Share
})

const boundOf = (it: typeof Bound.Type, audio: boolean): Usage.Usage => {
  const input = it.base + it.off
  return Usage.make({
    input,
    output: it.output,
    audioInput: audio ? part(input, it.audioInput) : 0,
    audioOutput: audio ? part(it.output, it.audioOutput) : 0
  })
}

/** A usage that could be true, and stays within the bound. */
const within = (bound: Usage.Usage, it: typeof Split.Type, threshold: number): Usage.Usage => {
  const input = Math.min(bound.input, it.atCliff ? threshold + it.onCliff : part(bound.input, it.input))
  const cacheWrite = part(input, it.cacheWrite)
  const cacheWrite12h = part(input - cacheWrite, it.cacheWrite12h)
  const text = input - cacheWrite - cacheWrite12h
  const output = part(bound.output, it.output)
  return Usage.make({
    input,
    cacheWrite,
    cacheWrite12h,
    cachedInput: part(text, it.cachedInput),
    audioInput: Math.min(bound.audioInput, part(text, it.audioInput)),
    output,
    audioOutput: Math.min(bound.audioOutput, part(output, it.audioOutput)),
    reasoning: part(output, it.reasoning)
  })
}

const amount = (answer: Result.Result<Usd.Usd, Usd.UsdError>): number => Result.getOrThrow(answer)

describe("worst", () => {
  const runs = { arbitrary: { runs: 400, size: 100 } }

  it.prop(
    "bounds the cost of every usage within the bound, for every price of the bundled table",
    { bound: Bound, split: Split },
    ({ bound, split }) => {
      const limit = boundOf(bound, false)
      const usage = within(limit, split, 272_000)
      for (const price of everyDistinctPrice) {
        assert.isAtMost(amount(Pricing.cost(price, usage)), amount(Pricing.worst(price, limit)))
      }
    },
    runs
  )

  const Rates = Schema.Struct({
    input: count(0, 9_000_000),
    cachedInput: count(0, 9_000_000),
    cacheWrite: count(0, 9_000_000),
    cacheWrite12h: count(0, 9_000_000),
    output: count(0, 9_000_000),
    audioInput: count(0, 9_000_000),
    audioOutput: count(0, 9_000_000)
  })
  const priced = (rates: Pricing.Rates, long: Pricing.Rates, threshold: number): Pricing.Price => ({
    model: "any",
    tier: "standard",
    rates,
    longContext: { threshold, rates: long },
    basis: "any",
    asOf: "2026-11-23"
  })

  it.prop(
    "bounds the cost at any rates, with audio, and where long context is the cheaper",
    { bound: Bound, split: Split, short: Rates, long: Rates, threshold: Schema.Literals([20, 272_000]) },
    ({ bound, split, short, long, threshold }) => {
      const limit = boundOf(bound, true)
      const price = priced(short, long, threshold)
      const usage = within(limit, split, threshold)
      assert.isAtMost(amount(Pricing.cost(price, usage)), amount(Pricing.worst(price, limit)))
    },
    { arbitrary: { runs: 5_000, size: 100 } }
  )

  it.prop(
    "grows with the bound",
    { less: Bound, more: Bound, short: Rates, long: Rates },
    ({ less, more, short, long }) => {
      const price = priced(short, long, 272_000)
      const small = boundOf(less, true)
      const large = Usage.max(small, boundOf(more, true))
      assert.isAtMost(amount(Pricing.worst(price, small)), amount(Pricing.worst(price, large)))
    },
    { arbitrary: { runs: 2_000, size: 100 } }
  )

  it.prop(
    "and cost are exact: no sum strays from one in whole numbers of any size",
    { bound: Bound, split: Split, short: Rates, long: Rates },
    ({ bound, split, short, long }) => {
      const price = priced(short, long, 272_000)
      const usage = within(boundOf(bound, false), split, 272_000)
      const rates = usage.input >= 272_000 ? long : short
      const plain = usage.input - usage.cachedInput - usage.cacheWrite - usage.cacheWrite12h
      const picos =
        BigInt(plain) * BigInt(rates.input) +
        BigInt(usage.cachedInput) * BigInt(rates.cachedInput) +
        BigInt(usage.cacheWrite) * BigInt(rates.cacheWrite) +
        BigInt(usage.cacheWrite12h) * BigInt(rates.cacheWrite12h) +
        BigInt(usage.output) * BigInt(rates.output)
      assert.strictEqual(BigInt(amount(Pricing.cost(price, usage))), (picos + 999n) / 1_000n)
    },
    { arbitrary: { runs: 3_000, size: 100 } }
  )

  it("is the cost of the dearest usage, so a quote holds no more than it must", () => {
    const bound = Usage.make({ input: 1_000, output: 10 })
    const dearest = { ...bound, cacheWrite12h: 1_000 }
    const price = priceOf("gpt-6.2-sol")
    assert.strictEqual(amount(Pricing.worst(price, bound)), amount(Pricing.cost(price, dearest)))
    const plain = priceOf("gpt-5.2")
    assert.strictEqual(amount(Pricing.worst(plain, bound)), amount(Pricing.cost(plain, bound)))
  })

  it("takes the dearest write and the far side of the threshold: without either it is no bound", () => {
    const price = priceOf("gpt-6.2-sol")
    const bound = Usage.make({ input: 300_000, output: 100 })
    const { longContext, rates } = price
    assert.isDefined(longContext)
    const shortWrites = { ...bound, cacheWrite12h: bound.input }
    const noTwelve = (it: Pricing.Rates): Pricing.Rates => ({ ...it, cacheWrite12h: it.cacheWrite })
    const blindToWrites = {
      ...price,
      rates: noTwelve(rates),
      longContext: { ...longContext, rates: noTwelve(longContext.rates) }
    }
    const blindToCliff = { ...price, longContext: undefined }
    const truth = amount(Pricing.cost(price, shortWrites))
    assert.isBelow(amount(Pricing.worst(blindToWrites, bound)), truth)
    assert.isBelow(amount(Pricing.worst(blindToCliff, bound)), truth)
    assert.isAtLeast(amount(Pricing.worst(price, bound)), truth)
  })
})

describe("rows of your own", () => {
  it.effect("are found by name and alias, with what they say and no tier more", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-11-30T12:00:00Z"))
      const table = yield* Pricing.make({
        overrides: {
          mine: {
            input: "1",
            cachedInput: 0.25,
            output: "2",
            longContext: { threshold: 1_000, input: "3", output: "4" },
            tiers: { flex: { input: "0.5", output: "1" } },
            aliases: ["mine-latest"],
            encoding: "cl100k_base",
            maxOutput: 4_096,
            reasoning: true
          }
        }
      })
      assert.deepStrictEqual(table.find("mine-latest"), {
        id: "mine",
        aliases: ["mine-latest"],
        kind: "chat",
        encoding: "cl100k_base",
        contextWindow: undefined,
        maxInput: undefined,
        maxOutput: 4_096,
        reasoning: true,
        status: "override",
        shutdownDate: undefined,
        regionalUplift: true,
        tiers: ["standard", "flex"],
        asOf: "2026-11-30"
      })
      const none = { audioInput: undefined, audioOutput: undefined }
      assert.deepStrictEqual(priceOf("mine", "standard", {}, table), {
        model: "mine",
        tier: "standard",
        rates: {
          input: 1_000_000,
          cachedInput: 250_000,
          cacheWrite: 1_000_000,
          cacheWrite12h: 1_000_000,
          output: 2_000_000,
          ...none
        },
        longContext: {
          threshold: 1_000,
          rates: {
            input: 3_000_000,
            cachedInput: 3_000_000,
            cacheWrite: 3_000_000,
            cacheWrite12h: 3_000_000,
            output: 4_000_000,
            ...none
          }
        },
        basis: "override",
        asOf: "2026-11-30"
      })
      assert.strictEqual(priceOf("mine", "flex", {}, table).rates.cachedInput, 500_000)
      assert.strictEqual(reasonOf(table.price("mine", "batch")), "UnpricedTier")
      assert.strictEqual(priceOf("gpt-5.2", "standard", {}, table).rates.input, 1_750_000)
    })
  )

  it("replace a bundled row wholly: its other tiers, its long context and its aliases too", () => {
    const table = Effect.runSync(make({ overrides: { "gpt-5.4": { input: "9", output: "9" } } }))
    assert.strictEqual(priceOf("gpt-5.4", "standard", {}, table).rates.cachedInput, 9_000_000)
    assert.isUndefined(priceOf("gpt-5.4", "standard", {}, table).longContext)
    assert.strictEqual(reasonOf(table.price("gpt-5.4", "batch")), "UnpricedTier")
    assert.isUndefined(table.find("gpt-5.4-2026-03-05"))
    assert.strictEqual(table.models.length, bundled.models.length)
  })

  it("take a bundled alias alone, or a bundled name as their alias", () => {
    const price = { input: "9", output: "9" }
    const table = Effect.runSync(
      make({ overrides: { "gpt-4o-2024-08-06": price, mine: { ...price, aliases: ["gpt-4"] } } })
    )
    assert.strictEqual(table.find("gpt-4o-2024-08-06")?.id, "gpt-4o-2024-08-06")
    assert.deepStrictEqual(table.find("gpt-4o")?.aliases, ["gpt-4o-2024-11-20"])
    assert.strictEqual(priceOf("gpt-4o", "standard", {}, table).rates.input, 2_500_000)
    assert.strictEqual(table.find("gpt-4")?.id, "mine")
  })

  it("follow the regional uplift of the row they replace, unless they say otherwise", () => {
    const price = { input: "1", output: "1" }
    const overrides = {
      "gpt-4o": price,
      "gpt-5.4": price,
      new: price,
      flat: { ...price, regionalUplift: false }
    }
    const table = Effect.runSync(make({ overrides }))
    const input = (id: string) => priceOf(id, "standard", { regional: true }, table).rates.input
    assert.deepStrictEqual(Object.keys(overrides).map(input), [1_000_000, 1_100_000, 1_100_000, 1_000_000])
  })

  it("an uplift that is not whole is rounded up", () => {
    const table = Effect.runSync(
      make({ bundled: false, overrides: { own: { input: "0.000001", output: "0.00001" } } })
    )
    const { rates } = priceOf("own", "standard", { regional: true }, table)
    assert.deepStrictEqual([rates.input, rates.output], [2, 11])
  })

  it("are read with blanks around a price, and zeros behind it, and written as they were read", () => {
    const row: Pricing.PriceOverride = { input: " 1.25 ", output: "2.5000000000" }
    const { rates } = own(row)
    assert.deepStrictEqual([rates.input, rates.output], [1_250_000, 2_500_000])
    const read = Schema.decodeUnknownSync(Pricing.PriceOverride)(row)
    assert.deepStrictEqual(Schema.encodeSync(Pricing.PriceOverride)(read), { input: 1.25, output: 2.5 })
  })

  it("can be the whole table", () => {
    const table = Effect.runSync(make({ bundled: false, overrides: { own: { input: 0, output: 0 } } }))
    assert.deepStrictEqual(
      table.models.map((model) => model.id),
      ["own"]
    )
    assert.strictEqual(reasonOf(table.price("gpt-5.2", "standard")), "UnknownModel")
    assert.strictEqual(table.find("own")?.reasoning, false)
  })

  const good = { input: "1", output: "2" }
  const bad: Record<string, readonly [rows: unknown, told: RegExp]> = {
    "a negative price": [{ x: { ...good, input: "-1" } }, /"x".*"-1" is not a price.*input/],
    NaN: [{ x: { ...good, output: NaN } }, /"x".*NaN is not a price.*output/],
    infinity: [{ x: { ...good, output: Infinity } }, /"x".*Infinity is not a price/],
    "a price in words": [{ x: { ...good, input: "$1" } }, /"x".*is not a price/],
    "an empty price": [{ x: { ...good, input: "" } }, /"x".*is not a price/],
    "more precision than a pico-dollar a token": [{ x: { ...good, input: "0.0000001" } }, /"x".*6 decimals/],
    "a float that is not the number meant": [{ x: { ...good, input: 0.1 + 0.2 } }, /"x".*6 decimals/],
    "a price beyond reason": [{ x: { ...good, input: "1000000.000001" } }, /"x".*above 1,000,000/],
    "a missing output": [{ x: { input: "1" } }, /"x".*Missing key.*output/],
    "a missing input": [{ x: { output: "1" } }, /"x".*Missing key.*input/],
    "a row that is no object": [{ x: "1" }, /"x"/],
    "a field that is not known": [{ x: { ...good, cachedInputs: "1" } }, /"x".*cachedInputs/],
    "a tier that is not known": [{ x: { ...good, tiers: { fast: good } } }, /"x".*fast/],
    "a bad price in a tier": [
      { x: { ...good, tiers: { batch: { input: "x", output: "1" } } } },
      /"x".*batch/
    ],
    "a threshold of zero": [{ x: { ...good, longContext: { threshold: 0, ...good } } }, /"x".*threshold/],
    "a threshold that is not whole": [
      { x: { ...good, longContext: { threshold: 1.5, ...good } } },
      /"x".*threshold/
    ],
    "long context without the write price": [
      { x: { ...good, cacheWrite: "2", longContext: { threshold: 5, ...good } } },
      /"x", tier standard.*longContext.cacheWrite is missing/
    ],
    "long context without the audio price, in a tier": [
      {
        x: { ...good, tiers: { flex: { ...good, audioOutput: "2", longContext: { threshold: 5, ...good } } } }
      },
      /"x", tier flex.*longContext.audioOutput is missing/
    ],
    "a cached price above the input price": [
      { x: { ...good, cachedInput: "1.01" } },
      /"x".*cachedInput is above/
    ],
    "a cached price above, in long context": [
      { x: { ...good, longContext: { threshold: 5, ...good, cachedInput: "2" } } },
      /longContext.cachedInput is above/
    ],
    "an alias twice": [{ x: { ...good, aliases: ["z"] }, y: { ...good, aliases: ["z"] } }, /"y".*"z".*"x"/],
    "an alias that is another row": [{ x: good, y: { ...good, aliases: ["x"] } }, /"y".*"x" already/],
    "an alias that is its own id": [{ x: { ...good, aliases: ["x"] } }, /"x" is that of/],
    "an empty name": [{ "": good }, /the name is empty/],
    "an empty alias": [{ x: { ...good, aliases: [""] } }, /"x".*aliases/],
    "an encoding that is not known": [{ x: { ...good, encoding: "p50k" } }, /"x".*encoding/],
    "a maximum of nothing": [{ x: { ...good, maxOutput: 0 } }, /"x".*maxOutput/],
    "a day that is none": [{ x: { ...good, asOf: "2026-13-01" } }, /"x".*day.*asOf/],
    "a day with an hour": [{ x: { ...good, asOf: "2026-11-23T00:00Z" } }, /"x".*day.*asOf/]
  }
  for (const [what, [rows, told]] of Object.entries(bad)) {
    it.effect(`are refused for ${what}`, () =>
      Effect.gen(function* () {
        const files = FileSystem.layerNoop({ readFileString: () => Effect.succeed("{}") })
        const byValue = Pricing.layerOf(rows as Record<string, Pricing.PriceOverride>)
        const error = yield* Effect.flip(Effect.provide(Pricing.Pricing, Layer.merge(byValue, files)))
        assert.strictEqual(error.reason._tag, "InvalidPrices")
        assert.match(error.message, told)
        assert.notMatch(error.message, /\n| {2}/)
      })
    )
  }
})

describe("rows in a file", () => {
  const reading = (text: string) =>
    Pricing.layerFile("/etc/prices.json").pipe(
      Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.succeed(text) }))
    )
  const load = (layer: Layer.Layer<Pricing.Pricing, BudgetError.BudgetError>) =>
    Effect.provide(
      Effect.map(Pricing.Pricing, (table) => table),
      layer
    )

  it.effect("are read from disk, in the shape of rows given by value", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const path = `${yield* files.makeTempDirectoryScoped()}/prices.json`
      const rows = { mine: { input: "1", output: 2.5, tiers: { batch: { input: "0.5", output: "1.25" } } } }
      yield* files.writeFileString(path, JSON.stringify(rows))
      const table = yield* Effect.provide(Pricing.Pricing, Pricing.layerFile(path))
      assert.strictEqual(priceOf("mine", "batch", {}, table).rates.output, 1_250_000)
      assert.strictEqual(priceOf("gpt-5.2", "standard", {}, table).rates.output, 14_000_000)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.effect("are refused with the file's name when it is absent, is not JSON or holds no rows", () =>
    Effect.gen(function* () {
      const absent = Pricing.layerFile("/nowhere/prices.json").pipe(Layer.provide(NodeFileSystem.layer))
      for (const layer of [absent, reading("{ mine"), reading("[1]"), reading("null")]) {
        const error = yield* Effect.flip(load(layer))
        assert.strictEqual(error.reason._tag, "InvalidPrices")
        assert.match(error.message, /file ".*prices.json"/)
      }
      const row = yield* Effect.flip(load(reading('{ "mine": { "input": "1" } }')))
      assert.match(row.message, /model "mine".*output/)
    })
  )

  it.effect("are refused by the key that is there twice: the last of two rows may be the free one", () =>
    Effect.gen(function* () {
      const paid = '{ "input": "10", "output": "40" }'
      for (const [text, key] of [
        [`{ "my": ${paid}, "other": ${paid}, "my": { "input": "0", "output": "0" } }`, '"my"'],
        [`{ "my": ${paid}, "m\\u0079": ${paid} }`, '"my"'],
        ['{ "other": { "input": "10", "output": "40", "input": "0" } }', '"other"."input"'],
        [
          '{ "my": { "input": "1", "output": "4", "tiers": { "batch": { "input": "1", "output": "4", "output": "0" } } } }',
          '"my"."tiers"."batch"."output"'
        ]
      ] as const) {
        includes((yield* Effect.flip(load(reading(text)))).reason, {
          _tag: "InvalidPrices",
          row: 'file "/etc/prices.json"',
          detail: `the key ${key} is there twice. Keep the one that is right.`
        })
      }
      const table = yield* load(reading(`{ "my": ${paid}, "other": ${paid} }`))
      assert.strictEqual(priceOf("my", "standard", {}, table).rates.input, 10_000_000)
    })
  )
})

describe("a table that has aged", () => {
  const day = 86_400_000
  const asOf = Date.parse("2026-11-23T00:00:00Z")

  it.effect("is warned of once, from the 30th day on, by its date and age", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make((options) => {
        lines.push(`${options.logLevel}: ${String(options.message)}`)
      })
      const build = Effect.provide(Pricing.Pricing, Layer.fresh(Pricing.layer)).pipe(
        Effect.provide(Logger.layer([logger]))
      )
      yield* TestClock.setTime(asOf + 30 * day)
      yield* build
      assert.deepStrictEqual(lines, [])
      yield* TestClock.setTime(asOf + 40 * day)
      yield* build
      yield* build
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0] ?? "", /^Warn.*2026-11-23, 40 days ago.*Pricing\.layerOf/)
    })
  )

  it.effect("is refused once it is older than the age allowed", () =>
    Effect.gen(function* () {
      const layer = Pricing.layerOf({}, { maxAge: "90 days" })
      yield* TestClock.setTime(asOf + 90 * day)
      assert.strictEqual((yield* Effect.provide(Pricing.Pricing, Layer.fresh(layer))).asOf, "2026-11-23")
      yield* TestClock.setTime(asOf + 90 * day + 1)
      const error = yield* Effect.flip(Effect.provide(Pricing.Pricing, Layer.fresh(layer)))
      assert.strictEqual(error.reason._tag, "StalePrices")
      assert.match(error.message, /2026-11-23, 91 days ago; at most 90/)
      const mine = Pricing.layerOf(
        { own: { input: "1", output: "1" } },
        { maxAge: "90 days", bundled: false }
      )
      assert.strictEqual((yield* Effect.provide(Pricing.Pricing, mine)).models.length, 1)
    })
  )

  it.effect("is not built with an age allowed that is no time, with or without the bundled rows", () =>
    Effect.gen(function* () {
      for (const [maxAge, shown] of [
        ["soon", "soon"],
        [NaN, "NaN"],
        [-1, "-1"],
        ["-1 days", "-1 days"],
        [null, "null"]
      ] as const) {
        for (const bundled of [true, false]) {
          const error = yield* Effect.flip(Pricing.make({ maxAge: maxAge as "1 day", bundled }))
          assert.strictEqual(error.reason._tag, "InvalidOptions")
          assert.include(error.message, `a maxAge of ${shown} is no time. Write milliseconds, or a text`)
        }
      }
      yield* TestClock.setTime(asOf + 500 * day)
      assert.isAbove((yield* Pricing.make({ maxAge: Infinity })).models.length, 0)
      assert.strictEqual((yield* Effect.flip(Pricing.make({ maxAge: 0 }))).reason._tag, "StalePrices")
    })
  )
})

describe("options that Pricing does not have", () => {
  const rows = { own: { input: "1", output: "2" } }
  const refused = Effect.fnUntraced(function* (
    prices: Layer.Layer<Pricing.Pricing, BudgetError.BudgetError>,
    says: string
  ) {
    const error = yield* Effect.flip(Effect.provide(Pricing.Pricing, Layer.fresh(prices)))
    assert.strictEqual(error.reason._tag, "InvalidOptions")
    assert.include(error.message, says)
  })
  const file = (options: object) =>
    Layer.provide(
      Pricing.layerFile("prices.json", options),
      FileSystem.layerNoop({ readFileString: () => Effect.succeed(JSON.stringify(rows)) })
    )

  it.effect("are refused, rather than that the bundled prices stand in for what was meant", () =>
    Effect.gen(function* () {
      const misspelt: object = { override: rows }
      yield* refused(
        Layer.effect(Pricing.Pricing, Pricing.make(misspelt)),
        'Pricing has no option "override"'
      )
      const older: object = { maxage: "1 day" }
      yield* refused(
        Pricing.layerOf(rows, older),
        'Pricing has no option "maxage". Its options are toolFees,'
      )
      yield* refused(file(older), 'Pricing has no option "maxage"')
      // Its rows stand elsewhere: these would be passed by.
      yield* refused(file({ overrides: rows }), 'Pricing has no option "overrides"')
    })
  )

  it.effect("are refused where they are no object of names", () =>
    Effect.gen(function* () {
      for (const overrides of [[rows.own], new Map(Object.entries(rows)), "own", null]) {
        const given: object = { overrides }
        yield* refused(
          Layer.effect(Pricing.Pricing, Pricing.make(given)),
          "and no object. Give rows by model"
        )
      }
      const fees: object = { toolFees: [] }
      yield* refused(
        Pricing.layerOf(rows, fees),
        'toolFees is an array and no object. Give an object, as in toolFees: { webSearch: "8" }.'
      )
      assert.isDefined((yield* Pricing.make({ overrides: undefined, bundled: true })).find("gpt-4o"))
    })
  )
})
