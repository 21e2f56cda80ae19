/**
 * What a model costs: the bundled table of OpenAI's prices, your own rows on top of it, and the one function that
 * both quotes and settles a call.
 *
 * Rates are whole pico-dollars ($0.000000000001) a token: USD per 1,000,000 tokens times 1,000,000. Every price
 * that OpenAI lists is whole in that unit. A call's cost is summed exactly and rounded up once, to a nano-dollar.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as BudgetError from "./BudgetError.ts"
import { keyTwice } from "./internal/json.ts"
import { checkUnbounded, invalidOptions } from "./internal/ledgerChecks.ts"
import { openAiPrices } from "./internal/openAiPrices.ts"
import { openAiToolFees } from "./internal/openAiToolFees.ts"
import { checkNames, checkRecord, checkToolFees, type Names } from "./internal/optionChecks.ts"
import { sentence } from "./internal/schemaText.ts"
import * as Usd from "./Usd.ts"
import type * as Usage from "./Usage.ts"

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
const LongContext = Schema.Struct({ threshold: Tokens, ...rateFields })
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

const perThousand = (rate: number | undefined): number | undefined =>
  rate === undefined ? undefined : rate * 1_000

const perOne = (rate: number | undefined): number | undefined =>
  rate === undefined ? undefined : rate * 1_000_000

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
const Period = Schema.Struct({
  ...offerFields,
  basis: Schema.optional(Schema.String),
  until: Schema.optional(Day)
})
const Periods = Schema.NonEmptyArray(Period)
const Row = Schema.Struct({
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
type Row = typeof Row.Type

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

/**
 * How a table is put together: rows of your own by exact id, fees of your own for hosted tools, the age from which
 * the bundled table is refused, and whether it is there at all (true unless said).
 *
 * @example
 * ```ts
 * import type { Pricing } from "agent-budget"
 *
 * const options: Pricing.Options = { maxAge: "90 days" }
 * console.log(options.maxAge)
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  readonly overrides?: Readonly<Record<string, PriceOverride>> | undefined
  readonly toolFees?: ToolFeesOverride | undefined
  readonly maxAge?: Duration.Input | undefined
  readonly bundled?: boolean | undefined
}

/**
 * The price table. `find` and `price` take an exact id or alias: no prefix is guessed, so a new snapshot of a model
 * is unknown until it is listed.
 *
 * `price` answers the period in force at `at` (milliseconds since 1970): a period begins at 00:00 UTC and ends
 * with the last millisecond of its last day. Without `at` it answers the dearest, dimension by dimension, of the
 * periods that had not ended on the table's day. It fails with `UnknownModel`, or with `UnpricedTier` where the
 * tier has no price: never with another tier's. `regional` adds the uplift of OpenAI's regional hosts where the
 * model has one.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const program = Effect.gen(function* () {
 *   const pricing = yield* Pricing.Pricing
 *   return Result.isFailure(pricing.price("gpt-4o", "flex")) // true: not offered
 * })
 * console.log(await Effect.runPromise(Effect.provide(program, Pricing.layer)))
 * ```
 *
 * @since 0.1.0
 */
export class Pricing extends Context.Service<
  Pricing,
  {
    readonly asOf: string
    readonly sources: ReadonlyArray<string>
    readonly models: ReadonlyArray<Model>
    readonly toolFees: ToolFees
    /** The row of an exact id or alias. */
    readonly find: (model: string) => Model | undefined
    /** The price of a model in a tier, with its basis and its day. */
    readonly price: (
      model: string,
      tier: Tier,
      options?: { readonly at?: number | undefined; readonly regional?: boolean | undefined }
    ) => Result.Result<Price, BudgetError.BudgetError>
  }
>()("agent-budget/Pricing") {}

type Answer = Result.Result<Price, BudgetError.BudgetError>

/** The same price on a plain and on a regional host. */
interface Pair {
  readonly plain: Answer
  readonly regional: Answer
}
interface Offer {
  readonly periods: ReadonlyArray<Pair & { readonly ends: number }>
  readonly only: Pair | undefined
  readonly dearest: Pair
}
interface Entry {
  readonly model: Model
  readonly offers: ReadonlyMap<string, Offer>
}

const dayMillis = 86_400_000

const refused = (row: string, detail: string): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.InvalidPrices({ row, detail }))

type Named = typeof LongContext.Type | typeof Period.Type

const ratesOf = (named: Named): Rates => ({
  input: named.input,
  cachedInput: named.cachedInput ?? named.input,
  cacheWrite: named.cacheWrite ?? named.input,
  cacheWrite12h: named.cacheWrite12h ?? named.cacheWrite ?? named.input,
  output: named.output,
  audioInput: named.audioInput,
  audioOutput: named.audioOutput
})

const mapRates = (rates: Rates, f: (rate: number) => number): Rates => ({
  input: f(rates.input),
  cachedInput: f(rates.cachedInput),
  cacheWrite: f(rates.cacheWrite),
  cacheWrite12h: f(rates.cacheWrite12h),
  output: f(rates.output),
  audioInput: rates.audioInput === undefined ? undefined : f(rates.audioInput),
  audioOutput: rates.audioOutput === undefined ? undefined : f(rates.audioOutput)
})

/** x 1.1: developers.openai.com/api/docs/guides/data-residency. */
const uplift = (rate: number): number => Math.ceil((rate * 11) / 10)

const uplifted = (price: Price): Price => ({
  ...price,
  rates: mapRates(price.rates, uplift),
  longContext: price.longContext && {
    threshold: price.longContext.threshold,
    rates: mapRates(price.longContext.rates, uplift)
  }
})

const dearerOf = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : Math.max(a, b)

const dearerRates = (a: Rates, b: Rates): Rates => ({
  input: Math.max(a.input, b.input),
  cachedInput: Math.max(a.cachedInput, b.cachedInput),
  cacheWrite: Math.max(a.cacheWrite, b.cacheWrite),
  cacheWrite12h: Math.max(a.cacheWrite12h, b.cacheWrite12h),
  output: Math.max(a.output, b.output),
  audioInput: dearerOf(a.audioInput, b.audioInput),
  audioOutput: dearerOf(a.audioOutput, b.audioOutput)
})

/** A price that is not below either of two, whatever is used. */
const dearer = (a: Price, b: Price): Price => ({
  ...b,
  rates: dearerRates(a.rates, b.rates),
  longContext:
    a.longContext === undefined && b.longContext === undefined
      ? undefined
      : {
          threshold: Math.min(a.longContext?.threshold ?? Infinity, b.longContext?.threshold ?? Infinity),
          // Between two thresholds one period is still short: its rates count too.
          rates: dearerRates(
            dearerRates(a.longContext?.rates ?? a.rates, b.longContext?.rates ?? b.rates),
            dearerRates(a.rates, b.rates)
          )
        },
  basis: a.basis === b.basis ? a.basis : `${a.basis}; ${b.basis}`
})

/** Why a period cannot be used, or `undefined`. */
const faultOf = (period: typeof Period.Type): string | undefined => {
  const long = period.longContext
  for (const [where, named] of [
    ["", period],
    ["longContext.", long]
  ] as const) {
    if (named?.cachedInput !== undefined && named.cachedInput > named.input) {
      return `${where}cachedInput is above ${where}input, so it is not a discount.`
    }
  }
  if (long === undefined) return undefined
  for (const name of ["cacheWrite", "cacheWrite12h", "audioInput", "audioOutput"] as const) {
    if (period[name] !== undefined && long[name] === undefined) return `longContext.${name} is missing.`
  }
  return undefined
}

const pairOf = (price: Price, regional: boolean): Pair => ({
  plain: Result.succeed(price),
  regional: Result.succeed(regional ? uplifted(price) : price)
})

/** The tiers that a row may have, in the order in which they are shown. */
const tierNames = Tier.literals

const offerOf = (
  model: Model,
  tier: Tier,
  periods: ReadonlyArray<typeof Period.Type>,
  tableDay: number
): Result.Result<Offer, string> => {
  const prices: Array<Price & { readonly ends: number }> = []
  for (const period of periods) {
    const fault = faultOf(period)
    if (fault !== undefined) return Result.fail(fault)
    const long = period.longContext
    prices.push({
      model: model.id,
      tier,
      rates: ratesOf(period),
      longContext: long && { threshold: long.threshold, rates: ratesOf(long) },
      basis: period.basis ?? "published",
      asOf: model.asOf,
      ends: period.until === undefined ? Infinity : Date.parse(period.until) + dayMillis
    })
  }
  const pairs = prices.map(({ ends, ...price }) => ({ ...pairOf(price, model.regionalUplift), ends }))
  const ahead = prices.filter((price) => price.ends > tableDay).map(({ ends: _, ...price }): Price => price)
  return Result.succeed({
    periods: pairs,
    only: pairs.length === 1 ? pairs[0] : undefined,
    dearest: pairOf(ahead.reduce(dearer), model.regionalUplift)
  })
}

const entryOf = (
  row: Row,
  status: Model["status"],
  tableAsOf: string,
  tableDay: number
): Result.Result<Entry, BudgetError.BudgetError> => {
  const model: Model = {
    id: row.id,
    aliases: row.aliases ?? [],
    kind: row.kind ?? "chat",
    encoding: row.encoding,
    contextWindow: row.contextWindow,
    maxInput: row.maxInput,
    maxOutput: row.maxOutput,
    reasoning: row.reasoning ?? false,
    status,
    shutdownDate: row.shutdownDate,
    regionalUplift: row.regionalUplift ?? true,
    tiers: tierNames.filter((tier) => row.tiers[tier] !== undefined),
    asOf: row.asOf ?? tableAsOf
  }
  const offers = new Map<string, Offer>()
  for (const tier of model.tiers) {
    const offer = offerOf(model, tier, row.tiers[tier] ?? [], tableDay)
    if (Result.isFailure(offer)) {
      return Result.fail(refused(`model ${JSON.stringify(row.id)}, tier ${tier}`, offer.failure))
    }
    offers.set(tier, offer.success)
  }
  return Result.succeed({ model, offers })
}

const strict = { onExcessProperty: "error" } as const
const decodeTable = Schema.decodeUnknownResult(Table, strict)
const decodeOverride = Schema.decodeUnknownResult(PriceOverride, strict)
const decodeFees = Schema.decodeUnknownResult(ToolFeesOverride, strict)
const decodeFile = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
)

const namesOf = (row: Row): ReadonlyArray<string> => [row.id, ...(row.aliases ?? [])]

type Standing = Omit<typeof Period.Type, "basis" | "until">
const inForce = (offer: Standing): readonly [typeof Period.Type] => [{ ...offer, basis: "override" }]

/** A row of your own, in the shape of the table's. */
const ownRow = (id: string, value: unknown): Result.Result<Row, BudgetError.BudgetError> => {
  const row = `model ${JSON.stringify(id)}`
  if (id === "") return Result.fail(refused(row, "the name is empty."))
  const decoded = decodeOverride(value)
  if (Result.isFailure(decoded)) return Result.fail(refused(row, sentence(decoded.failure.message)))
  const { input, cachedInput, cacheWrite, cacheWrite12h, output, audioInput, audioOutput, ...rest } =
    decoded.success
  const { longContext, tiers, ...facts } = rest
  const rates = { input, cachedInput, cacheWrite, cacheWrite12h, output, audioInput, audioOutput }
  return Result.succeed({
    ...facts,
    id,
    status: "active",
    tiers: {
      standard: inForce({ ...rates, longContext }),
      batch: tiers?.batch && inForce(tiers.batch),
      flex: tiers?.flex && inForce(tiers.flex),
      priority: tiers?.priority && inForce(tiers.priority),
      ultrafast: tiers?.ultrafast && inForce(tiers.ultrafast)
    }
  })
}

/** Puts a row under all its names; a name stands for one row only. */
const enter = (entries: Map<string, Entry>, entry: Entry): BudgetError.BudgetError | undefined => {
  for (const name of [entry.model.id, ...entry.model.aliases]) {
    const other = entries.get(name)
    if (other !== undefined) {
      return refused(
        `model ${JSON.stringify(entry.model.id)}`,
        `the name ${JSON.stringify(name)} is that of model ${JSON.stringify(other.model.id)} already.`
      )
    }
    entries.set(name, entry)
  }
  return undefined
}

interface Book {
  readonly asOf: string
  readonly sources: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

/** All rows by name. A name that an override claims, as id or alias, is the bundled table's no more. */
const entriesOf = (
  book: Book,
  overrides: Readonly<Record<string, unknown>>,
  today: string
): Result.Result<ReadonlyMap<string, Entry>, BudgetError.BudgetError> => {
  const entries = new Map<string, Entry>()
  const add = (row: Row, status: Model["status"], asOf: string): BudgetError.BudgetError | undefined => {
    const entry = entryOf(row, status, asOf, Date.parse(book.asOf))
    return Result.isFailure(entry) ? entry.failure : enter(entries, entry.success)
  }
  for (const [id, value] of Object.entries(overrides)) {
    const own = ownRow(id, value)
    if (Result.isFailure(own)) return Result.fail(own.failure)
    const replaced = book.rows.find((row) => namesOf(row).includes(id))
    const regionalUplift = own.success.regionalUplift ?? replaced?.regionalUplift
    const fault = add({ ...own.success, regionalUplift }, "override", today)
    if (fault !== undefined) return Result.fail(fault)
  }
  const claimed = new Set(entries.keys())
  for (const row of book.rows) {
    if (claimed.has(row.id)) continue
    const aliases = row.aliases?.filter((alias) => !claimed.has(alias))
    const fault = add({ ...row, aliases }, row.status, book.asOf)
    if (fault !== undefined) return Result.fail(fault)
  }
  return Result.succeed(entries)
}

const answer = (offer: Offer, at: number | undefined): Pair => {
  if (offer.only !== undefined) return offer.only
  if (at !== undefined) {
    for (const period of offer.periods) if (at < period.ends) return period
  }
  return offer.dearest
}

const serve = (book: Book, entries: ReadonlyMap<string, Entry>, toolFees: ToolFees): Pricing["Service"] => ({
  toolFees,
  asOf: book.asOf,
  sources: book.sources,
  models: [...new Set(entries.values())].map((entry) => entry.model),
  find: (model) => entries.get(model)?.model,
  price: (model, tier, options) => {
    const entry = entries.get(model)
    if (entry === undefined) return Result.fail(BudgetError.because(new BudgetError.UnknownModel({ model })))
    const offer = entry.offers.get(tier)
    if (offer === undefined) {
      return Result.fail(BudgetError.because(new BudgetError.UnpricedTier({ model, tier })))
    }
    const pair = answer(offer, options?.at)
    return options?.regional === true ? pair.regional : pair.plain
  }
})

/** Days after which the bundled table is warned of. */
const staleDays = 30
/** The tables that were warned of in this process: one line in a log is enough. */
const warned = new Set<string>()

const checkAge = Effect.fnUntraced(function* (asOf: string, now: number, maxAge: Duration.Input | undefined) {
  const age = now - Date.parse(asOf)
  const ageDays = Math.ceil(age / dayMillis)
  const maxMillis = maxAge === undefined ? Infinity : Duration.toMillis(maxAge)
  if (age > maxMillis) {
    return yield* BudgetError.because(
      new BudgetError.StalePrices({ asOf, ageDays, maxAgeDays: maxMillis / dayMillis })
    )
  }
  if (age <= staleDays * dayMillis || warned.has(asOf)) return
  warned.add(asOf)
  yield* Effect.logWarning(
    `The bundled price table is from ${asOf}, ${ageDays} days ago: OpenAI may have changed its prices since. ` +
      `Update agent-budget, or give the prices of the models you use with Pricing.layerOf.`
  )
})

type Others = Omit<Options, "overrides">

const otherNames: Names<Others> = { toolFees: true, maxAge: true, bundled: true }
const allNames: Names<Options> = { overrides: true, ...otherNames }

const build = Effect.fnUntraced(function* (
  overrides: Readonly<Record<string, unknown>> | undefined,
  options: Others,
  names: Readonly<Record<string, true>>
) {
  const wrong =
    checkNames("Pricing", options, names) ??
    checkRecord("overrides", overrides, 'Give rows by model, as in { mine: { input: "1", output: "2" } }.') ??
    checkToolFees(options.toolFees) ??
    checkUnbounded({ maxAge: options.maxAge })
  if (wrong !== undefined) return yield* invalidOptions(wrong)
  const now = yield* Clock.currentTimeMillis
  const today = new Date(now).toISOString().slice(0, 10)
  let book: Book = { asOf: today, sources: [], rows: [] }
  if (options.bundled !== false) {
    const table = yield* Effect.mapError(Effect.fromResult(decodeTable(openAiPrices)), (error) =>
      refused("the bundled table", sentence(error.message))
    )
    yield* checkAge(table.asOf, now, options.maxAge)
    book = { asOf: table.asOf, sources: table.sources, rows: table.models }
  }
  const toolFees = yield* Effect.fromResult(toolFeesOf(options))
  return serve(book, yield* Effect.fromResult(entriesOf(book, overrides ?? {}, today)), toolFees)
})

const toolFeesOf = ({ bundled, toolFees }: Others): Result.Result<ToolFees, BudgetError.BudgetError> => {
  const { asOf: _, ...theirs } = openAiToolFees
  const base = bundled === false ? { container: {} } : theirs
  const written = { ...base, ...toolFees, container: { ...base.container, ...toolFees?.container } }
  const decoded = decodeFees(written)
  if (Result.isFailure(decoded)) return Result.fail(refused("toolFees", sentence(decoded.failure.message)))
  const { container, fileSearch, webSearch, webSearchPreview } = decoded.success
  return Result.succeed({
    webSearch: perThousand(webSearch),
    webSearchPreview: perThousand(webSearchPreview),
    fileSearch: perThousand(fileSearch),
    container: {
      "1g": perOne(container?.["1g"]),
      "4g": perOne(container?.["4g"]),
      "16g": perOne(container?.["16g"]),
      "64g": perOne(container?.["64g"])
    }
  })
}

/**
 * A price table, made now: the bundled one, unless said otherwise, with your rows on top. Fails with
 * `InvalidPrices`, naming the row, with `StalePrices` when the bundled table is older than `maxAge`, or with
 * `InvalidOptions` for an option that there is not, for one that is no object and should be, and for a `maxAge` that is
 * no time. A bundled table of more than 30 days is warned of in the log, once a process.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const mine = await Effect.runPromise(
 *   Pricing.make({ bundled: false, overrides: { "my-model": { input: "1", output: "2" } } })
 * )
 * console.log(mine.models.length) // 1
 * ```
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Pricing["Service"], BudgetError.BudgetError> =>
  build(options.overrides, options, allNames)

/**
 * The bundled prices. Fails only if the table itself is broken.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const asOf = Effect.map(Pricing.Pricing, (pricing) => pricing.asOf)
 * console.log(await Effect.runPromise(Effect.provide(asOf, Pricing.layer)))
 * ```
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<Pricing, BudgetError.BudgetError> = Layer.effect(Pricing, make())

/**
 * The bundled prices with rows of your own on top. A row takes its name, and those of its aliases, from the bundled
 * table wholly: a bundled model that is replaced keeps no other tier, and its dated aliases resolve no more.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const prices = Pricing.layerOf({ "my-model": { input: "1", output: "2" } }, { maxAge: "365 days" })
 * const known = Effect.map(Pricing.Pricing, (pricing) => pricing.find("my-model")?.status)
 * console.log(await Effect.runPromise(Effect.provide(known, prices))) // override
 * ```
 *
 * @since 0.1.0
 */
export const layerOf = (
  overrides: Readonly<Record<string, PriceOverride>>,
  options: Omit<Options, "overrides"> = {}
): Layer.Layer<Pricing, BudgetError.BudgetError> =>
  Layer.effect(Pricing, build(overrides, options, otherNames))

/**
 * As `layerOf`, with the rows read once from a JSON file: one object whose keys are model ids. A file that cannot
 * be read, is not such an object, or has a key twice, is an `InvalidPrices` that names it.
 *
 * @example
 * ```ts
 * import { Effect, FileSystem, Layer } from "effect"
 * import { Pricing } from "agent-budget"
 *
 * const files = FileSystem.layerNoop({
 *   readFileString: () => Effect.succeed('{ "my-model": { "input": "1", "output": "2" } }')
 * })
 * const prices = Pricing.layerFile("prices.json").pipe(Layer.provide(files))
 * const known = Effect.map(Pricing.Pricing, (pricing) => pricing.find("my-model")?.id)
 * console.log(await Effect.runPromise(Effect.provide(known, prices))) // my-model
 * ```
 *
 * @since 0.1.0
 */
export const layerFile = (
  path: string,
  options: Omit<Options, "overrides"> = {}
): Layer.Layer<Pricing, BudgetError.BudgetError, FileSystem.FileSystem> =>
  Layer.effect(
    Pricing,
    Effect.gen(function* () {
      const fail = (error: { readonly message: string }) =>
        refused(`file ${JSON.stringify(path)}`, sentence(error.message))
      const files = yield* FileSystem.FileSystem
      const text = yield* Effect.mapError(files.readFileString(path), fail)
      const overrides = yield* Effect.mapError(Effect.fromResult(decodeFile(text)), fail)
      // Of two rows the last would win without a word, and may be the one that is free.
      const twice = keyTwice(text)
      if (twice !== undefined) {
        return yield* fail({
          message: `the key ${twice.join(".")} is there twice. Keep the one that is right.`
        })
      }
      return yield* build(overrides, options, otherNames)
    })
  )

type Parts = ReadonlyArray<readonly [tokens: number, rate: number]>

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

const unpriceable = (detail: string): Result.Result<never, Usd.UsdError> =>
  Result.fail(new Usd.UsdError({ message: `The usage has no cost: ${detail}` }))

/** Up to a whole nano-dollar. Exact: below 2^53 a quotient is off by less than the thousandth that it would lose. */
const toNanos = (picos: number): number => Math.ceil(picos / 1_000)

/** The same sum for calls beyond $9,007, where doubles are not exact. */
const exactly = (parts: Parts): Result.Result<Usd.Usd, Usd.UsdError> => {
  if (!parts.every(([tokens, rate]) => isCount(tokens) && isCount(rate))) {
    return unpriceable("a number of tokens or a rate is not a whole number of 0 or more.")
  }
  const picos = parts.reduce((sum, [tokens, rate]) => sum + BigInt(tokens) * BigInt(rate), 0n)
  const nanos = (picos + 999n) / 1_000n
  return nanos <= BigInt(Usd.maximum)
    ? Result.succeed(Usd.nanos(Number(nanos)))
    : unpriceable(`it comes to more than ${Usd.format(Usd.maximum)}.`)
}

type Fees = NonNullable<Price["toolFees"]>

const noParts: Parts = []

/** Why the calls of a usage cannot be true, or have no fees. */
const faultInCalls = (usage: Usage.Usage, fees: Fees | undefined): string | undefined => {
  const { webSearches, fileSearches, containers } = usage
  if (!isCount(webSearches) || !isCount(fileSearches) || !isCount(containers)) {
    return "a number of calls is not a whole number of 0 or more."
  }
  return fees === undefined && webSearches + fileSearches + containers > 0
    ? "it has calls of hosted tools, and the price has no fees for them."
    : undefined
}

const feesOf = ({ webSearches, fileSearches, containers }: Usage.Usage, fees: Fees): Parts => [
  [webSearches, fees.webSearch],
  [fileSearches, fees.fileSearch],
  [containers, fees.container]
]

const sumOf = (parts: Parts): number => parts.reduce((sum, [count, rate]) => sum + count * rate, 0)

/** Why a usage cannot be true, or cannot be priced at these rates. */
const faultIn = (usage: Usage.Usage, rates: Rates): string | undefined => {
  const { input, cachedInput, cacheWrite, cacheWrite12h, audioInput, output, reasoning, audioOutput } = usage
  if (
    !isCount(input) ||
    !isCount(cachedInput) ||
    !isCount(cacheWrite) ||
    !isCount(cacheWrite12h) ||
    !isCount(audioInput) ||
    !isCount(output) ||
    !isCount(reasoning) ||
    !isCount(audioOutput)
  ) {
    return "a number of tokens is not a whole number of 0 or more."
  }
  const writes = cacheWrite + cacheWrite12h
  if (cachedInput + writes > input) {
    return `${cachedInput} cached and ${writes} written tokens are more than its ${input} input tokens.`
  }
  if (audioInput + writes > input) {
    return `${audioInput} audio and ${writes} written tokens are more than its ${input} input tokens.`
  }
  if (reasoning > output || audioOutput > output) {
    return `${reasoning} reasoning or ${audioOutput} audio tokens are more than its ${output} output tokens.`
  }
  if (audioInput > 0 && rates.audioInput === undefined) return "it has audio input, and the price has none."
  if (audioOutput > 0 && rates.audioOutput === undefined)
    return "it has audio output, and the price has none."
  return undefined
}

/**
 * What a usage costs: exact, rounded up once to a nano-dollar. Totals contain their parts, so reasoning is not added
 * to the output, nor cached tokens to the input. Fails, rather than guess, for parts that exceed their total, for
 * audio without a price, and beyond the range of `Usd`.
 *
 * A cached token that may be audio is charged as text at full price: no price is known for cached audio.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing, Usage, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function* () {
 *   const pricing = yield* Pricing.Pricing
 *   const price = yield* Effect.fromResult(pricing.price("gpt-5.2", "standard"))
 *   const usage = Usage.make({ input: 10_000, cachedInput: 8_000, output: 500 })
 *   return yield* Effect.fromResult(Pricing.cost(price, usage))
 * })
 * console.log(Usd.format(await Effect.runPromise(Effect.provide(program, Pricing.layer)))) // $0.0119
 * ```
 *
 * @since 0.1.0
 */
export const cost = (price: Price, usage: Usage.Usage): Result.Result<Usd.Usd, Usd.UsdError> => {
  const long = price.longContext
  const rates = long !== undefined && usage.input >= long.threshold ? long.rates : price.rates
  const fault = faultIn(usage, rates) ?? faultInCalls(usage, price.toolFees)
  if (fault !== undefined) return unpriceable(fault)
  const fees = price.toolFees === undefined ? noParts : feesOf(usage, price.toolFees)
  const { cacheWrite, cacheWrite12h, audioInput, audioOutput } = usage
  const cached = Math.max(0, usage.cachedInput - audioInput)
  const plain = usage.input - cached - cacheWrite - cacheWrite12h - audioInput
  const text = usage.output - audioOutput
  const audioIn = rates.audioInput ?? 0
  const audioOut = rates.audioOutput ?? 0
  const picos =
    plain * rates.input +
    cached * rates.cachedInput +
    cacheWrite * rates.cacheWrite +
    cacheWrite12h * rates.cacheWrite12h +
    audioInput * audioIn +
    text * rates.output +
    audioOutput * audioOut +
    sumOf(fees)
  // A sum of doubles that is a safe integer had only safe integers in it.
  if (picos <= Number.MAX_SAFE_INTEGER) return Result.succeed(Usd.nanos(toNanos(picos)))
  return exactly([
    [plain, rates.input],
    [cached, rates.cachedInput],
    [cacheWrite, rates.cacheWrite],
    [cacheWrite12h, rates.cacheWrite12h],
    [audioInput, audioIn],
    [text, rates.output],
    [audioOutput, audioOut],
    ...fees
  ])
}

const dearestText = (rates: Rates): number =>
  Math.max(rates.input, rates.cachedInput, rates.cacheWrite, rates.cacheWrite12h)

/**
 * The most that a call can cost whose usage stays within `bound`: `cost(price, usage) <= worst(price, bound)` for every
 * usage with no more input, output, audio and calls of hosted tools than that, however its input is cached, and on
 * either side of the long-context threshold. Only `input`, `output`, the audio and the calls of `bound` matter. Rounded
 * up once; larger for a larger bound. Fails for audio without a price, and beyond the range of `Usd`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Pricing, Usage, Usd } from "agent-budget"
 *
 * const program = Effect.gen(function* () {
 *   const pricing = yield* Pricing.Pricing
 *   const price = yield* Effect.fromResult(pricing.price("gpt-5.2", "standard"))
 *   return yield* Effect.fromResult(Pricing.worst(price, Usage.make({ input: 1_000, output: 1_000 })))
 * })
 * console.log(Usd.format(await Effect.runPromise(Effect.provide(program, Pricing.layer)))) // $0.01575
 * ```
 *
 * @since 0.1.0
 */
export const worst = (price: Price, bound: Usage.Usage): Result.Result<Usd.Usd, Usd.UsdError> => {
  const { input, output } = bound
  if (!isCount(input) || !isCount(output) || !isCount(bound.audioInput) || !isCount(bound.audioOutput)) {
    return unpriceable("a number of tokens is not a whole number of 0 or more.")
  }
  const fault = faultInCalls(bound, price.toolFees)
  if (fault !== undefined) return unpriceable(fault)
  const fees = price.toolFees === undefined ? noParts : feesOf(bound, price.toolFees)
  const short = price.rates
  // A call within the bound may end on either side of the threshold, and no table promises that long is dearer.
  const long =
    price.longContext !== undefined && input >= price.longContext.threshold ? price.longContext.rates : short
  const audioInput = Math.min(bound.audioInput, input)
  const audioOutput = Math.min(bound.audioOutput, output)
  const audioIn = dearerOf(short.audioInput, long.audioInput)
  const audioOut = dearerOf(short.audioOutput, long.audioOutput)
  if (audioInput > 0 && audioIn === undefined)
    return unpriceable("it has audio input, and the price has none.")
  if (audioOutput > 0 && audioOut === undefined) {
    return unpriceable("it has audio output, and the price has none.")
  }
  const textIn = Math.max(dearestText(short), dearestText(long))
  const textOut = Math.max(short.output, long.output)
  // Text may take the place of audio, where it is the dearer.
  const soundIn = Math.max(audioIn ?? 0, textIn)
  const soundOut = Math.max(audioOut ?? 0, textOut)
  const picos =
    (input - audioInput) * textIn +
    audioInput * soundIn +
    (output - audioOutput) * textOut +
    audioOutput * soundOut +
    sumOf(fees)
  if (picos <= Number.MAX_SAFE_INTEGER) return Result.succeed(Usd.nanos(toNanos(picos)))
  return exactly([
    [input - audioInput, textIn],
    [audioInput, soundIn],
    [output - audioOutput, textOut],
    [audioOutput, soundOut],
    ...fees
  ])
}
