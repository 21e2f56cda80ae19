/** The file of the bundled table: what is in it, and how it is written. */
import * as Schema from "effect/Schema"

const figures = {
  input: Schema.String,
  cachedInput: Schema.optional(Schema.String),
  cacheWrite: Schema.optional(Schema.String),
  cacheWrite12h: Schema.optional(Schema.String),
  output: Schema.String
}

const Period = Schema.Struct({
  ...figures,
  audioInput: Schema.optional(Schema.String),
  audioOutput: Schema.optional(Schema.String),
  longContext: Schema.optional(Schema.Struct({ threshold: Schema.Int, ...figures })),
  basis: Schema.optional(Schema.String),
  until: Schema.optional(Schema.String)
})
const Periods = Schema.Array(Period)

const Row = Schema.Struct({
  id: Schema.String,
  aliases: Schema.optional(Schema.Array(Schema.String)),
  kind: Schema.String,
  encoding: Schema.optional(Schema.String),
  contextWindow: Schema.optional(Schema.Int),
  maxInput: Schema.optional(Schema.Int),
  maxOutput: Schema.optional(Schema.Int),
  reasoning: Schema.Boolean,
  status: Schema.String,
  shutdownDate: Schema.optional(Schema.String),
  regionalUplift: Schema.Boolean,
  asOf: Schema.optional(Schema.String),
  tiers: Schema.Struct({
    standard: Schema.optional(Periods),
    batch: Schema.optional(Periods),
    flex: Schema.optional(Periods),
    priority: Schema.optional(Periods),
    ultrafast: Schema.optional(Periods)
  })
})

export const Table = Schema.Struct({
  asOf: Schema.String,
  sources: Schema.Array(Schema.String),
  models: Schema.Array(Row)
})

export type Table = typeof Table.Type
export type Row = typeof Row.Type
export type Period = typeof Period.Type

const show = (value: unknown): string =>
  JSON.stringify(value)
    .replace(/"([A-Za-z]\w*)":/g, " $1: ")
    .replace(/,(?=["[{])/g, ", ")
    .replace(/\}/g, " }")

const figuresOf = (it: Period | NonNullable<Period["longContext"]>) => ({
  input: it.input,
  cachedInput: it.cachedInput,
  cacheWrite: it.cacheWrite,
  cacheWrite12h: it.cacheWrite12h,
  output: it.output
})

const lineOf = (it: Period): string =>
  show({
    ...figuresOf(it),
    audioInput: it.audioInput,
    audioOutput: it.audioOutput,
    longContext: it.longContext && { threshold: it.longContext.threshold, ...figuresOf(it.longContext) },
    basis: it.basis,
    until: it.until
  })

const rowOf = ({ tiers, ...facts }: Row): string => {
  const offers = Object.entries(tiers).map(([tier, periods = []]) => {
    const lines = periods.map(lineOf)
    return lines.length === 1
      ? `      ${tier}: [${lines.join()}]`
      : `      ${tier}: [\n${lines.map((it) => `        ${it}`).join(",\n")}\n      ]`
  })
  const {
    id,
    aliases,
    kind,
    encoding,
    contextWindow,
    maxInput,
    maxOutput,
    reasoning,
    status,
    shutdownDate,
    regionalUplift,
    asOf
  } = facts
  const known = { id, aliases, kind, encoding, contextWindow, maxInput, maxOutput, reasoning, status }
  const shown = show({ ...known, shutdownDate, regionalUplift, asOf })
  return `    ${shown.slice(0, -2)}, tiers: {\n${offers.join(",\n")}\n    } }`
}

/** The text of src/internal/openAiPrices.ts. */
export const render = (table: Table): string => `/**
 * OpenAI's prices in USD per 1,000,000 tokens, as decimal strings. Written by scripts/generate-prices.ts and
 * scripts/prices.ts; never edited by hand. docs/prices.md says where the figures come from and which of them are weak.
 */
// prettier-ignore
export const openAiPrices: unknown = {
  asOf: ${JSON.stringify(table.asOf)},
  sources: [
${table.sources.map((it) => `    ${JSON.stringify(it)}`).join(",\n")}
  ],
  models: [
${table.models.map(rowOf).join(",\n")}
  ]
}
`
