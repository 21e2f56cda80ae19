/**
 * How a price table is written, and what it says of a model: the rows of the bundled table, rows and fees of the user's
 * own, and the prices that they are read as. `Pricing.ts` exports what users meet.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

/**
 * The schema of a service tier. OpenAI calls the tier `priority` also `fast`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * console.log(Schema.is(Pricing.Tier)("flex")) // true
 * ```
 *
 * @since 0.1.0
 */
export const Tier = Schema.Literals(["standard", "batch", "flex", "priority", "ultrafast"])

/**
 * A service tier: what a call is billed as.
 *
 * @example
 * ```ts
 * import type { Pricing } from "agent-budget"
 *
 * const tier: Pricing.Tier = "batch"
 * console.log(tier)
 * ```
 *
 * @since 0.1.0
 */
export type Tier = typeof Tier.Type

/**
 * Prices by dimension, in whole pico-dollars a token. Where a dimension has no price of its own it holds the one
 * that is charged instead; audio without a price is `undefined`, and has no cost then but a failure.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const { price } = await Effect.runPromise(Pricing.make())
 * const { rates } = await Effect.runPromise(Effect.fromResult(price("gpt-5.2", "standard")))
 * console.log(rates.input) // 1750000 (pico-dollars a token: $1.75 per 1M)
 * ```
 *
 * @since 0.1.0
 */
export interface Rates {
  /** Input that is neither cached, nor written to a cache, nor audio. */
  readonly input: number
  readonly cachedInput: number
  /** Input written to a cache for 30 minutes. */
  readonly cacheWrite: number
  /** Input written to a cache for 12 hours. */
  readonly cacheWrite12h: number
  readonly output: number
  readonly audioInput: number | undefined
  readonly audioOutput: number | undefined
}

/**
 * The price of a model in a tier. A call with `longContext.threshold` input tokens or more is charged at those
 * rates as a whole. `basis` says how the figures are known, `asOf` of which day they are.
 *
 * @example
 * ```ts
 * import { Result } from "effect"
 * import { Pricing, Usage, Usd } from "agent-budget"
 *
 * const rate = { cachedInput: 0, cacheWrite: 0, cacheWrite12h: 0, audioInput: undefined, audioOutput: undefined }
 * const price: Pricing.Price = {
 *   model: "mine", tier: "standard", rates: { ...rate, input: 1_000_000, output: 2_000_000 },
 *   longContext: undefined, basis: "contract", asOf: "2026-11-23"
 * }
 * const cost = Pricing.cost(price, Usage.make({ input: 1_000, output: 500 }))
 * console.log(Usd.format(Result.getOrThrow(cost))) // $0.002
 * ```
 *
 * @since 0.1.0
 */
export interface Price {
  readonly model: string
  readonly tier: Tier
  readonly rates: Rates
  readonly longContext: { readonly threshold: number; readonly rates: Rates } | undefined
  /** What hosted tools cost, in pico-dollars a search or session; only for a request that may call them. */
  readonly toolFees?:
    { readonly webSearch: number; readonly fileSearch: number; readonly container: number } | undefined
  readonly basis: string
  readonly asOf: string
}

const Day = Schema.String.check(
  Schema.makeFilter(
    (day: string) =>
      // The 31st of February is read as one of March.
      (/^\d{4}-\d{2}-\d{2}$/.test(day) &&
        Number.isFinite(Date.parse(day)) &&
        new Date(day).toISOString().startsWith(day)) ||
      "must be a day such as 2026-11-23"
  )
)
const Name = Schema.NonEmptyString
const Tokens = Schema.Int.check(Schema.isGreaterThan(0))

/** $1 a token: a higher price is a mistake, and the sums below stay within reach of exact arithmetic. */
const highestRate = 1_000_000_000_000

const toRate = (price: string | number): number | string => {
  const text = String(price).trim()
  const shown = typeof price === "number" ? text : JSON.stringify(price.slice(0, 40))
  if (!/^\d{1,40}(\.\d{1,40})?$/.test(text)) return `${shown} is not a price of 0 or more`
  const [whole = "", fraction = ""] = text.replace(/(\.\d*?)0+$/, "$1").split(".")
  if (fraction.length > 6) return `${shown} has more than 6 decimals`
  const rate = Number(whole + fraction.padEnd(6, "0"))
  return rate <= highestRate ? rate : `${shown} is above 1,000,000`
}

/** USD for so much of something, read as millionths of them. */
const usdPer = (unit: string) =>
  Schema.Union([Schema.String, Schema.Number]).pipe(
    Schema.decodeTo(
      Schema.Int,
      SchemaTransformation.transformEffect({
        decode: (price: string | number) => {
          const rate = toRate(price)
          return typeof rate === "number"
            ? Effect.succeed(rate)
            : Effect.fail(new SchemaIssue.InvalidValue({ message: `${rate}, in USD ${unit}` }, price))
        },
        encode: (rate: number) => Effect.succeed(rate / 1_000_000)
      })
    )
  )

/** Which is read as pico-dollars a token. */
const Rate = usdPer("per 1M tokens")

const rateFields = {
  input: Rate,
  cachedInput: Schema.optional(Rate),
  cacheWrite: Schema.optional(Rate),
  cacheWrite12h: Schema.optional(Rate),
  output: Rate,
  audioInput: Schema.optional(Rate),
  audioOutput: Schema.optional(Rate)
}
export const LongContext = Schema.Struct({ threshold: Tokens, ...rateFields })
const offerFields = { ...rateFields, longContext: Schema.optional(LongContext) }

const modelFields = {
  aliases: Schema.optional(Schema.Array(Name)),
  kind: Schema.optional(Schema.Literals(["chat", "completion", "embedding"])),
  encoding: Schema.optional(Schema.Literals(["o200k_base", "cl100k_base"])),
  contextWindow: Schema.optional(Tokens),
  maxInput: Schema.optional(Tokens),
  maxOutput: Schema.optional(Tokens),
  reasoning: Schema.optional(Schema.Boolean),
  regionalUplift: Schema.optional(Schema.Boolean),
  asOf: Schema.optional(Day)
}

const PerSearches = usdPer("per 1,000 searches")
const PerSession = usdPer("for a session of a container")

/**
 * The schema of fees of your own for hosted tools, as decimal strings or numbers: USD per 1,000 searches, and USD
 * for a session of a container, by its memory. What is not named stays as it is in the bundled table.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * console.log(Schema.is(Schema.toEncoded(Pricing.ToolFeesOverride))({ webSearch: "8" })) // true
 * ```
 *
 * @since 0.1.0
 */
export const ToolFeesOverride = Schema.Struct({
  webSearch: Schema.optional(PerSearches),
  webSearchPreview: Schema.optional(PerSearches),
  fileSearch: Schema.optional(PerSearches),
  container: Schema.optional(
    Schema.Struct({
      "1g": Schema.optional(PerSession),
      "4g": Schema.optional(PerSession),
      "16g": Schema.optional(PerSession),
      "64g": Schema.optional(PerSession)
    })
  )
})

/**
 * Fees of your own for hosted tools, as you write them; see the schema of the same name.
 *
 * @example
 * ```ts
 * import type { Pricing } from "agent-budget"
 *
 * const fees: Pricing.ToolFeesOverride = { webSearch: "8", container: { "1g": "0.02" } }
 * console.log(fees.webSearch) // 8
 * ```
 *
 * @since 0.1.0
 */
export type ToolFeesOverride = typeof ToolFeesOverride.Encoded

/**
 * What hosted tools cost beyond their tokens, in whole pico-dollars a search, or a session of 20 minutes of a
 * container by its memory. `webSearchPreview` is that of models which do not reason. One that is `undefined` is not
 * known: requests for its tool are refused. Source: OpenAI's pricing page.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const { toolFees } = await Effect.runPromise(Pricing.make())
 * console.log(toolFees.webSearch) // 10000000000
 * ```
 *
 * @since 0.1.0
 */
export interface ToolFees {
  readonly webSearch: number | undefined
  readonly webSearchPreview: number | undefined
  readonly fileSearch: number | undefined
  readonly container: Readonly<Record<"1g" | "4g" | "16g" | "64g", number | undefined>>
}

/** A tier's prices over time, in order; each begins where the one before ends, so there are no gaps. */
export const Period = Schema.Struct({
  ...offerFields,
  basis: Schema.optional(Schema.String),
  until: Schema.optional(Day)
})
const Periods = Schema.NonEmptyArray(Period)
export const Row = Schema.Struct({
  id: Name,
  ...modelFields,
  status: Schema.Literals(["active", "deprecated", "shutdown", "delisted", "unverified"]),
  shutdownDate: Schema.optional(Day),
  tiers: Schema.Struct({
    standard: Periods,
    batch: Schema.optional(Periods),
    flex: Schema.optional(Periods),
    priority: Schema.optional(Periods),
    ultrafast: Schema.optional(Periods)
  })
})
export type Row = typeof Row.Type

const Table = Schema.Struct({
  asOf: Day,
  sources: Schema.NonEmptyArray(Schema.String),
  models: Schema.Array(Row)
})

/**
 * What the table knows of a model: its names, its bounds in tokens, and what it is. `tiers` are those it is
 * priced in. `status` is OpenAI's word for it, "override" for a row of your own; a model that was shut down stays
 * priced, since other hosts still serve it. `regionalUplift`: dearer by a tenth on OpenAI's regional hosts.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const pricing = await Effect.runPromise(Pricing.make())
 * const model: Pricing.Model | undefined = pricing.find("gpt-4o-2024-08-06")
 * console.log(model?.id, model?.maxOutput) // gpt-4o 16384
 * ```
 *
 * @since 0.1.0
 */
export interface Model {
  readonly id: string
  readonly aliases: ReadonlyArray<string>
  readonly kind: "chat" | "completion" | "embedding"
  readonly encoding: "o200k_base" | "cl100k_base" | undefined
  readonly contextWindow: number | undefined
  readonly maxInput: number | undefined
  readonly maxOutput: number | undefined
  readonly reasoning: boolean
  readonly status: Row["status"] | "override"
  readonly shutdownDate: string | undefined
  readonly regionalUplift: boolean
  readonly tiers: ReadonlyArray<Tier>
  readonly asOf: string
}

/**
 * The schema of a row of your own. Prices are USD per 1M tokens, as decimal strings or numbers: `input` and
 * `output` at least, then what the model charges apart. The fields outside `tiers` are the standard tier; a tier
 * that is not named has no price, and a price that is not named is charged as input. `kind` is "chat" unless
 * said, `reasoning` false, `asOf` today; `regionalUplift` is that of the bundled row of the name, else true.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * console.log(Schema.is(Schema.toEncoded(Pricing.PriceOverride))({ input: "1", output: "2" })) // true
 * ```
 *
 * @since 0.1.0
 */
export const PriceOverride = Schema.Struct({
  ...offerFields,
  ...modelFields,
  tiers: Schema.optional(
    Schema.Struct({
      batch: Schema.optional(Schema.Struct(offerFields)),
      flex: Schema.optional(Schema.Struct(offerFields)),
      priority: Schema.optional(Schema.Struct(offerFields)),
      ultrafast: Schema.optional(Schema.Struct(offerFields))
    })
  )
})

/**
 * A row of your own, as you write it; see the schema of the same name.
 *
 * @example
 * ```ts
 * import type { Pricing } from "agent-budget"
 *
 * const row: Pricing.PriceOverride = {
 *   input: "1.25", cachedInput: "0.125", output: 10, maxOutput: 32_000,
 *   tiers: { batch: { input: "0.625", output: 5 } }
 * }
 * console.log(row.output)
 * ```
 *
 * @since 0.1.0
 */
export type PriceOverride = typeof PriceOverride.Encoded

const strict = { onExcessProperty: "error" } as const
export const decodeTable = Schema.decodeUnknownResult(Table, strict)
export const decodeOverride = Schema.decodeUnknownResult(PriceOverride, strict)
export const decodeFees = Schema.decodeUnknownResult(ToolFeesOverride, strict)
