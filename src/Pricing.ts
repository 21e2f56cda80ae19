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
import * as BudgetError from "./BudgetError.ts"
import { keyTwice } from "./internal/json.ts"
import { checked, checkUnbounded } from "./internal/ledgerChecks.ts"
import { openAiPrices } from "./internal/openAiPrices.ts"
import { checkNames, checkRecord, checkToolFees, type Names } from "./internal/optionChecks.ts"
import {
  decodeTable,
  PriceOverride,
  Tier,
  ToolFeesOverride,
  type Model,
  type Price,
  type Rates,
  type ToolFees
} from "./internal/priceRows.ts"
import { dayMillis, dearerOf, refused, tableOf, toolFeesOf, type Book } from "./internal/priceTable.ts"
import { sentence } from "./internal/schemaText.ts"
import * as Usd from "./Usd.ts"
import type * as Usage from "./Usage.ts"
export { PriceOverride, Tier, ToolFeesOverride }
export type { Model, Price, Rates, ToolFees }

/**
 * How a table is put together.
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
  /** Rows of your own, by the model's exact id. */
  readonly overrides?: Readonly<Record<string, PriceOverride>> | undefined
  /** What hosted tools cost, where that is not what the bundled table says. */
  readonly toolFees?: ToolFeesOverride | undefined
  /** The age from which the bundled table is refused: never, unless said; it warns from 30 days on. */
  readonly maxAge?: Duration.Input | undefined
  /** Whether the bundled table is there at all: it is, unless said otherwise. */
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

const decodeFile = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
)

type Others = Omit<Options, "overrides">

const otherNames: Names<Others> = { toolFees: true, maxAge: true, bundled: true }
const allNames: Names<Options> = { overrides: true, ...otherNames }

const build = Effect.fnUntraced(function* (
  overrides: Readonly<Record<string, unknown>> | undefined,
  options: Others,
  names: Readonly<Record<string, true>>
) {
  yield* checked(
    checkNames("Pricing", options, names) ??
      checkRecord(
        "overrides",
        overrides,
        'Give rows by model, as in { mine: { input: "1", output: "2" } }.'
      ) ??
      checkToolFees(options.toolFees) ??
      checkUnbounded({ maxAge: options.maxAge })
  )
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
  const toolFees = yield* Effect.fromResult(toolFeesOf(options.toolFees, options.bundled))
  return yield* Effect.fromResult(tableOf(book, overrides ?? {}, toolFees, today))
})

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
