/**
 * A price table, put together: which price holds for a model in a tier at a time, on which host, and what hosted tools
 * cost. Rows of the user's own stand before those of the bundled table.
 */
import * as Result from "effect/Result"
import * as BudgetError from "../BudgetError.ts"
import { openAiToolFees } from "./openAiToolFees.ts"
import {
  decodeFees,
  decodeOverride,
  Tier,
  type LongContext,
  type Model,
  type Period,
  type Price,
  type Rates,
  type Row,
  type ToolFees,
  type ToolFeesOverride
} from "./priceRows.ts"
import { sentence } from "./schemaText.ts"

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

export const dayMillis = 86_400_000

export const refused = (row: string, detail: string): BudgetError.BudgetError =>
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

export const dearerOf = (a: number | undefined, b: number | undefined): number | undefined =>
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

export interface Book {
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

const serve = (book: Book, entries: ReadonlyMap<string, Entry>, toolFees: ToolFees) => ({
  toolFees,
  asOf: book.asOf,
  sources: book.sources,
  models: [...new Set(entries.values())].map((entry) => entry.model),
  find: (model: string) => entries.get(model)?.model,
  price: (
    model: string,
    tier: Tier,
    options?: { readonly at?: number | undefined; readonly regional?: boolean | undefined }
  ): Answer => {
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

/** The table of a book with rows of the user's own on top, which are of `today` unless they say otherwise. */
export const tableOf = (
  book: Book,
  overrides: Readonly<Record<string, unknown>>,
  toolFees: ToolFees,
  today: string
) => Result.map(entriesOf(book, overrides, today), (entries) => serve(book, entries, toolFees))

const perThousand = (rate: number | undefined): number | undefined =>
  rate === undefined ? undefined : rate * 1_000

const perOne = (rate: number | undefined): number | undefined =>
  rate === undefined ? undefined : rate * 1_000_000

/** The fees of hosted tools: the bundled ones, unless said otherwise, with those of the user's own on top. */
export const toolFeesOf = (
  toolFees: ToolFeesOverride | undefined,
  bundled: boolean | undefined
): Result.Result<ToolFees, BudgetError.BudgetError> => {
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
