/**
 * The price lists of others, each in its own shape, as what it says of OpenAI's models. A list is known by its shape;
 * what a list does not say of a model is left out, and never guessed.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { perMillion, perToken } from "./decimals.ts"

export const figureNames = [
  "input",
  "cachedInput",
  "cacheWrite",
  "cacheWrite12h",
  "output",
  "audioInput",
  "audioOutput"
] as const

export type FigureName = (typeof figureNames)[number]

/** Pico-dollars a token. */
export type Figures = Readonly<Partial<Record<FigureName, bigint>>>

export interface Offer {
  readonly figures: Figures
  /** From so many input tokens on. */
  readonly long: { readonly threshold: number; readonly figures: Figures } | undefined
}

export type TierName = "standard" | "batch" | "flex" | "priority" | "ultrafast"

export interface SourceRow {
  readonly names: ReadonlyArray<string>
  readonly offers: ReadonlyMap<TierName, Offer>
}

export interface Source {
  readonly name: string
  readonly rows: ReadonlyArray<SourceRow>
  /** Rows that cannot be read, and why. */
  readonly unreadable: ReadonlyArray<string>
}

/** A price in a list: a number, by now as its text. */
const Price = Schema.String

/** What a list says of one model, or why it cannot be read. */
type Reading = Result.Result<SourceRow, string>

/** Exact figures, or the first that is none. */
const exactly = (
  told: Readonly<Partial<Record<FigureName, string | undefined>>>,
  read: (text: string) => bigint | undefined
): Result.Result<Figures, string> => {
  const figures: Partial<Record<FigureName, bigint>> = {}
  for (const name of figureNames) {
    const text = told[name]
    if (text === undefined) continue
    const value = read(text)
    if (value === undefined)
      return Result.fail(`${name} is ${text}, which is no whole number of pico-dollars a token`)
    figures[name] = value
  }
  return Result.succeed(figures)
}

const gathered = (
  name: string,
  readings: ReadonlyArray<readonly [id: string, reading: Reading]>
): Source => ({
  name,
  rows: readings.flatMap(([, reading]) => (Result.isSuccess(reading) ? [reading.success] : [])),
  unreadable: readings.flatMap(([id, reading]) =>
    Result.isFailure(reading) ? [`${id}: ${reading.failure}`] : []
  )
})

// LiteLLM: one object by model, USD a token, one key for each dimension, tier and threshold.

const LiteLlm = Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Unknown))

const liteLlmStems: Readonly<Record<string, FigureName>> = {
  input_cost_per_token: "input",
  output_cost_per_token: "output",
  cache_read_input_token_cost: "cachedInput",
  cache_creation_input_token_cost: "cacheWrite",
  input_cost_per_audio_token: "audioInput",
  output_cost_per_audio_token: "audioOutput"
}
const liteLlmTiers: Readonly<Record<string, TierName>> = {
  "": "standard",
  _batches: "batch",
  _flex: "flex",
  _priority: "priority",
  _ultrafast: "ultrafast"
}
const liteLlmKey = new RegExp(
  `^(${Object.keys(liteLlmStems).join("|")})(?:_above_(\\d+)k_tokens)?(_batches|_flex|_priority|_ultrafast|)$`
)
const liteLlmProviders: ReadonlySet<unknown> = new Set(["openai", "text-completion-openai"])
const liteLlmModes: ReadonlySet<unknown> = new Set(["chat", "completion", "responses", "embedding"])

type Told = Partial<Record<FigureName, string>>

const liteLlmRow = (id: string, row: Readonly<Record<string, unknown>>): Reading => {
  const told = new Map<TierName, { short: Told; long: Map<number, Told> }>()
  for (const [key, value] of Object.entries(row)) {
    const match = liteLlmKey.exec(key)
    if (match === null || typeof value !== "string") continue
    const [, stem = "", thousands, suffix = ""] = match
    const figure = liteLlmStems[stem]
    const tier = liteLlmTiers[suffix]
    if (figure === undefined || tier === undefined) continue
    const offer = told.get(tier) ?? { short: {}, long: new Map<number, Told>() }
    told.set(tier, offer)
    if (thousands === undefined) offer.short[figure] = value
    else {
      const threshold = Number(thousands) * 1_000
      offer.long.set(threshold, { ...offer.long.get(threshold), [figure]: value })
    }
  }
  const offers = new Map<TierName, Offer>()
  for (const [tier, { long, short }] of told) {
    if (long.size > 1) return Result.fail("it has several thresholds")
    const figures = exactly(short, perToken)
    if (Result.isFailure(figures)) return Result.fail(figures.failure)
    const [above] = long
    const beyond = exactly(above?.[1] ?? {}, perToken)
    if (Result.isFailure(beyond)) return Result.fail(beyond.failure)
    offers.set(tier, {
      figures: figures.success,
      long: above && { threshold: above[0], figures: beyond.success }
    })
  }
  return Result.succeed({ names: [id.replace(/^openai\//, "")], offers })
}

const fromLiteLlm = (table: typeof LiteLlm.Type): Source =>
  gathered(
    "LiteLLM's price file",
    Object.entries(table)
      .filter(([, row]) => liteLlmProviders.has(row["litellm_provider"]) && liteLlmModes.has(row["mode"]))
      .map(([id, row]) => [id, liteLlmRow(id, row)] as const)
  )

// models.dev: providers by name, USD per 1M tokens, long context as tiers.

const devFigures = {
  input: Schema.optional(Price),
  output: Schema.optional(Price),
  cache_read: Schema.optional(Price),
  cache_write: Schema.optional(Price),
  input_audio: Schema.optional(Price),
  output_audio: Schema.optional(Price)
}
type DevFigures = Schema.Struct.Type<typeof devFigures>
const ModelsDev = Schema.Struct({
  openai: Schema.Struct({
    models: Schema.Record(
      Schema.String,
      Schema.Struct({
        cost: Schema.optional(
          Schema.Struct({
            ...devFigures,
            tiers: Schema.optional(
              Schema.Array(
                Schema.Struct({
                  ...devFigures,
                  tier: Schema.Struct({ type: Schema.String, size: Schema.optional(Price) })
                })
              )
            )
          })
        )
      })
    )
  })
})

const devNames = (it: DevFigures): Readonly<Partial<Record<FigureName, string | undefined>>> => ({
  input: it.input,
  output: it.output,
  cachedInput: it.cache_read,
  cacheWrite: it.cache_write,
  audioInput: it.input_audio,
  audioOutput: it.output_audio
})

const fromModelsDev = ({ openai }: typeof ModelsDev.Type): Source =>
  gathered(
    "models.dev",
    Object.entries(openai.models).flatMap(([id, { cost }]) => {
      if (cost === undefined) return []
      const read = (it: DevFigures) => exactly(devNames(it), perMillion)
      const contexts = (cost.tiers ?? []).filter(({ tier }) => tier.type === "context")
      const [above] = contexts
      const reading: Reading =
        contexts.length > 1 || (cost.tiers?.length ?? 0) > contexts.length
          ? Result.fail("it has tiers that are not one of long context")
          : Result.map(Result.all([read(cost), read(above ?? {})]), ([figures, beyond]) => ({
              names: [id],
              offers: new Map([
                [
                  "standard" as const,
                  { figures, long: above && { threshold: Number(above.tier.size), figures: beyond } }
                ]
              ])
            }))
      return [[id, reading] as const]
    })
  )

// genai-prices: a list of providers, USD per 1M tokens, each price flat or with tiers, each model with one set of prices or several.

const Tiered = Schema.Union([
  Price,
  Schema.Struct({
    base: Price,
    tiers: Schema.Array(Schema.Struct({ start: Price, price: Price }))
  })
])
const GenAiFigures = Schema.Struct({
  input_mtok: Schema.optional(Tiered),
  output_mtok: Schema.optional(Tiered),
  cache_read_mtok: Schema.optional(Tiered),
  cache_write_mtok: Schema.optional(Tiered),
  input_audio_mtok: Schema.optional(Tiered),
  output_audio_mtok: Schema.optional(Tiered)
})
const Conditional = Schema.Struct({
  constraint: Schema.optional(Schema.NullOr(Schema.Struct({ start_date: Schema.optional(Schema.String) }))),
  prices: GenAiFigures
})
const GenAi = Schema.NonEmptyArray(
  Schema.Struct({
    id: Schema.String,
    models: Schema.Array(
      Schema.Struct({
        id: Schema.String,
        match: Schema.Unknown,
        prices: Schema.Union([Schema.Array(Conditional), GenAiFigures])
      })
    )
  })
)

const Equals = Schema.Struct({ equals: Schema.String })
const Or = Schema.Struct({ or: Schema.Array(Schema.Unknown) })

/** The names that match exactly; patterns name nothing. */
const exactNames = (match: unknown): ReadonlyArray<string> =>
  Schema.is(Equals)(match) ? [match.equals] : Schema.is(Or)(match) ? match.or.flatMap(exactNames) : []

const genAiNames: Readonly<Record<keyof typeof GenAiFigures.Type, FigureName>> = {
  input_mtok: "input",
  output_mtok: "output",
  cache_read_mtok: "cachedInput",
  cache_write_mtok: "cacheWrite",
  input_audio_mtok: "audioInput",
  output_audio_mtok: "audioOutput"
}

const genAiOffer = (prices: typeof GenAiFigures.Type): Result.Result<Offer, string> => {
  const short: Told = {}
  const long: Told = {}
  const thresholds = new Set<number>()
  for (const key of Object.keys(genAiNames) as ReadonlyArray<keyof typeof genAiNames>) {
    const price = prices[key]
    if (price === undefined) continue
    const figure = genAiNames[key]
    if (typeof price === "string") {
      short[figure] = price
      continue
    }
    const [tier, ...more] = price.tiers
    if (tier === undefined || more.length > 0) return Result.fail(`${figure} has not one threshold`)
    short[figure] = price.base
    long[figure] = tier.price
    // A tier there is for more tokens than its start.
    thresholds.add(Number(tier.start) + 1)
  }
  if (thresholds.size > 1) return Result.fail("it has several thresholds")
  const [threshold] = thresholds
  return Result.map(
    Result.all([exactly(short, perMillion), exactly(long, perMillion)]),
    ([figures, beyond]) => ({
      figures,
      long: threshold === undefined ? undefined : { threshold, figures: beyond }
    })
  )
}

/** The prices in force on a day: the last set that has begun. */
const inForce = (
  sets: ReadonlyArray<typeof Conditional.Type>,
  day: string
): Result.Result<typeof GenAiFigures.Type, string> => {
  if (sets.some(({ constraint }) => constraint && constraint.start_date === undefined)) {
    return Result.fail("its prices depend on more than the day")
  }
  const begun = sets.filter(({ constraint }) => (constraint?.start_date ?? "") <= day)
  const last = begun.at(-1)
  return last === undefined ? Result.fail(`it has no price on ${day}`) : Result.succeed(last.prices)
}

const fromGenAi = (providers: typeof GenAi.Type, day: string): Source => {
  const models = providers.find(({ id }) => id === "openai")?.models ?? []
  return gathered(
    "genai-prices",
    models.map(({ id, match, prices }) => {
      const figures = "length" in prices ? inForce(prices, day) : Result.succeed(prices)
      const reading = Result.map(Result.flatMap(figures, genAiOffer), (offer) => ({
        names: [...new Set([id, ...exactNames(match)])],
        offers: new Map([["standard" as const, offer]])
      }))
      return [id, reading] as const
    })
  )
}

const hasOpenAi = (table: typeof LiteLlm.Type): boolean =>
  Object.values(table).some((row) => liteLlmProviders.has(row["litellm_provider"]))

/** Reads a list in any of the shapes, with its numbers as texts (`parseExactly`); `day` as 2026-11-23. */
export const readSource = (json: unknown, day: string): Result.Result<Source, string> => {
  const genAi = Schema.decodeUnknownResult(GenAi)(json)
  if (Result.isSuccess(genAi)) return Result.succeed(fromGenAi(genAi.success, day))
  const dev = Schema.decodeUnknownResult(ModelsDev)(json)
  if (Result.isSuccess(dev)) return Result.succeed(fromModelsDev(dev.success))
  const lite = Schema.decodeUnknownResult(LiteLlm)(json)
  if (Result.isSuccess(lite) && hasOpenAi(lite.success)) return Result.succeed(fromLiteLlm(lite.success))
  const why = (Array.isArray(json) ? genAi.failure : dev.failure).message
  return Result.fail(
    "This is none of the lists that are known: LiteLLM's model_prices_and_context_window.json, models.dev's api.json, " +
      `genai-prices' data.json. The one that it is closest to: ${why.replace(/\s+/g, " ").slice(0, 300)}`
  )
}
