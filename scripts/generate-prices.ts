/**
 * Writes src/internal/openAiPrices.ts from a research snapshot of OpenAI's prices:
 *
 *     node scripts/generate-prices.ts <snapshot.json>
 *
 * Where the snapshot is silent or in doubt, the dearer reading is written: a reservation must not be low. Each
 * such rule is a function below, and docs/prices.md lists what they touch.
 */
import { readFileSync, writeFileSync } from "node:fs"
import * as Schema from "effect/Schema"
import { decimal } from "./prices/decimals.ts"
import { render, type Row as TableRow } from "./prices/tableFile.ts"

const Amount = Schema.String.check(Schema.isPattern(/^\d+(\.\d{1,6})?$/))
const optional = Schema.optionalKey(Schema.NullOr(Amount))
const rates = {
  input: Amount,
  cachedInput: optional,
  cacheWrite: optional,
  cacheWrite12h: optional,
  output: Schema.NullOr(Amount)
}
const LongContext = Schema.Struct({ ...rates, thresholdTokens: Schema.Int })
const Row = Schema.Struct({
  ...rates,
  longContext: Schema.optionalKey(Schema.NullOr(LongContext)),
  audioInput: optional,
  audioOutput: optional,
  basis: Schema.String,
  from: Schema.optionalKey(Schema.String),
  until: Schema.optionalKey(Schema.String)
})
const Offer = Schema.Union([Row, Schema.Array(Row), Schema.Null])
const tierNames = ["standard", "batch", "flex", "priority", "ultrafast"] as const
const Model = Schema.Struct({
  id: Schema.String,
  aliases: Schema.Array(Schema.String),
  kind: Schema.String,
  encoding: Schema.NullOr(Schema.String),
  contextWindow: Schema.NullOr(Schema.Int),
  maxInputTokens: Schema.NullOr(Schema.Int),
  maxOutputTokens: Schema.NullOr(Schema.Int),
  reasoning: Schema.NullOr(Schema.Boolean),
  status: Schema.String,
  shutdownDate: Schema.NullOr(Schema.String),
  prices: Schema.Struct({
    standard: Offer,
    batch: Schema.optionalKey(Offer),
    flex: Schema.optionalKey(Offer),
    priority: Schema.optionalKey(Offer),
    ultrafast: Schema.optionalKey(Offer)
  }),
  asOf: Schema.String,
  sources: Schema.Array(Schema.String),
  history: Schema.optionalKey(Schema.Array(Schema.Struct({ until: Schema.String, standard: Row }))),
  promotion: Schema.optionalKey(Schema.Struct({ listPrice: Row }))
})
const Snapshot = Schema.Struct({
  asOf: Schema.String,
  currency: Schema.Literal("USD"),
  models: Schema.Array(Schema.Unknown)
})
const Head = Schema.Struct({ kind: Schema.String })

/** The prices of one row, in pico-dollars a token. */
interface Figures {
  readonly input: bigint
  readonly cachedInput: bigint | undefined
  readonly cacheWrite: bigint | undefined
  readonly cacheWrite12h: bigint | undefined
  readonly output: bigint
}
interface Period extends Figures {
  readonly audioInput: bigint | undefined
  readonly audioOutput: bigint | undefined
  readonly long: (Figures & { readonly threshold: number }) | undefined
  readonly basis: string
  readonly from: string | undefined
  readonly until: string | undefined
}
type Tiers = Map<string, ReadonlyArray<Period>>

const pico = (text: string): bigint => {
  const [whole = "0", fraction = ""] = text.split(".")
  return BigInt(whole + fraction.padEnd(6, "0"))
}
const exactly = (value: bigint, times: bigint, by: bigint): bigint => {
  if ((value * times) % by !== 0n) throw new Error(`${value} * ${times} / ${by} is not whole`)
  return (value * times) / by
}
const scaled = (value: bigint | undefined, times: bigint, by: bigint): bigint | undefined =>
  value === undefined ? undefined : exactly(value, times, by)

const read = (text: string | null | undefined): bigint | undefined =>
  typeof text === "string" ? pico(text) : undefined

const figures = (row: typeof LongContext.Type | typeof Row.Type): Figures => ({
  input: pico(row.input),
  cachedInput: read(row.cachedInput),
  cacheWrite: read(row.cacheWrite),
  cacheWrite12h: read(row.cacheWrite12h),
  // Only embeddings come without: they put nothing out.
  output: pico(row.output ?? "0")
})

/** How sure a row is, in one of a few words. */
const basisOf = (text: string): string => {
  if (/cachedInput LiteLLM only/.test(text)) return "published"
  if (/LiteLLM only/.test(text)) return "secondary source"
  if (/derived/.test(text)) return "derived"
  if (/^rule/.test(text)) return "by rule"
  if (/by rule/.test(text)) return "published, rest by rule"
  if (/^published/.test(text)) return "published"
  throw new Error(`unknown basis: ${text}`)
}
const byRule = (basis: string): string => (basis === "published" ? "published, rest by rule" : basis)

const period = (row: typeof Row.Type): Period => ({
  ...figures(row),
  // A discount that only a secondary source knows is not taken.
  ...(/cachedInput LiteLLM only/.test(row.basis) ? { cachedInput: undefined } : {}),
  long: row.longContext
    ? { ...figures(row.longContext), threshold: row.longContext.thresholdTokens }
    : undefined,
  audioInput: read(row.audioInput),
  audioOutput: read(row.audioOutput),
  basis: basisOf(row.basis),
  from: row.from,
  until: row.until
})

const onEach = (tiers: Tiers, f: (period: Period) => Period): Tiers =>
  new Map([...tiers].map(([tier, periods]) => [tier, periods.map(f)]))

/** A promotion whose end is uncertain: every tier goes back to the list price, in proportion. */
const withListPrice = (tiers: Tiers, list: Period): Tiers => {
  const now = tiers.get("standard")?.at(-1)
  if (now === undefined) throw new Error("no standard price")
  const raise = <A extends Figures>(it: A): A => ({
    ...it,
    input: exactly(it.input, list.input, now.input),
    cachedInput: scaled(it.cachedInput, list.input, now.input),
    cacheWrite: scaled(it.cacheWrite, list.input, now.input),
    cacheWrite12h: scaled(it.cacheWrite12h, list.input, now.input),
    output: exactly(it.output, list.output, now.output)
  })
  const raised = onEach(tiers, (it) => ({
    ...raise(it),
    long: it.long && raise(it.long),
    basis: "list price, by rule"
  }))
  return raised.set("standard", [{ ...list, basis: "list price" }])
}

/** A tier that names no write price where the standard tier has one takes it in proportion to its input price. */
const withWrites = (tiers: Tiers): Tiers => {
  const standard = tiers.get("standard")?.at(-1)
  if (standard?.cacheWrite === undefined) return tiers
  return onEach(tiers, (it) => {
    if (it.cacheWrite !== undefined) return it
    const write = exactly(standard.cacheWrite ?? 0n, it.input, standard.input)
    const write12h = scaled(standard.cacheWrite12h, it.input, standard.input)
    const long = it.long && {
      ...it.long,
      cacheWrite: exactly(write, it.long.input, it.input),
      cacheWrite12h: scaled(write12h, it.long.input, it.input)
    }
    return { ...it, cacheWrite: write, cacheWrite12h: write12h, long, basis: byRule(it.basis) }
  })
}

/** Where the price of 12 hour writes is known in these generations, it is twice that of a 30 minute write. */
const withTwelveHours = (id: string, tiers: Tiers): Tiers =>
  onEach(tiers, (it) => {
    const known = it.cacheWrite12h ?? (/^gpt-6\.[12]-/.test(id) ? scaled(it.cacheWrite, 2n, 1n) : undefined)
    if (known === undefined || (it.cacheWrite12h !== undefined && it.long?.cacheWrite12h !== undefined)) {
      return it
    }
    const long = it.long && { ...it.long, cacheWrite12h: exactly(known, it.long.input, it.input) }
    return { ...it, cacheWrite12h: known, long, basis: byRule(it.basis) }
  })

/** A tier without a long-context price, of a model that has one: twice the input and cache, 1.5 x the output. */
const withLongContext = (tiers: Tiers): Tiers => {
  const threshold = tiers.get("standard")?.at(-1)?.long?.threshold
  if (threshold === undefined) return tiers
  return onEach(tiers, (it) => {
    if (it.long !== undefined) return it
    const long = {
      threshold,
      input: it.input * 2n,
      cachedInput: scaled(it.cachedInput, 2n, 1n),
      cacheWrite: scaled(it.cacheWrite, 2n, 1n),
      cacheWrite12h: scaled(it.cacheWrite12h, 2n, 1n),
      output: exactly(it.output, 3n, 2n)
    }
    return { ...it, long, basis: byRule(it.basis) }
  })
}

/** Released on or after 2026-03-05, or a moving name that may point at such a model. */
const uplifted = (id: string): boolean => /^(gpt-5\.[4-9]|gpt-[6-9]|chat-latest$|gpt-daybreak-)/.test(id)

const completionOnly = new Set(["gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"])

/** Priced exactly as this model was during its promotion, so it is taken to follow that model's list price. */
const follows: Record<string, string> = { "gpt-daybreak-blue-latest": "gpt-5.6-sol" }

/** What the snapshot knows from memory alone, and another price list says too. */
const confirmed: Record<string, { readonly asOf: string; readonly source: string }> = {
  "gpt-4o-mini-audio-preview": {
    asOf: "2025-08-01",
    source: "Azure prices as a public gateway lists them, of 2025-08-01"
  }
}

/** Where the figures come from: the start of the snapshot's name of a source, and how it is cited. */
const citations: ReadonlyArray<readonly [string, string]> = [
  [
    "anuran-roy/unified-llm-pricing",
    "OpenAI pricing page as read on 2026-09-13 (anuran-roy/unified-llm-pricing@0f26534)"
  ],
  ["developers.openai.com model page", "OpenAI model pages (developers.openai.com)"],
  ["w3cschool.cn", "OpenAI model pages in translation (w3cschool.cn)"],
  ["apidog.com", "apidog.com on the OpenAI pricing page"],
  ["BerriAI/litellm model_prices", "BerriAI/litellm price file @00035b69"],
  ["BerriAI/litellm discussion", "BerriAI/litellm discussion 52347"],
  ["@pydantic/genai-prices", "@pydantic/genai-prices 0.1.8"],
  ["@earendil-works/pi-ai", "@earendil-works/pi-ai 1.5.2, of 2026-11-10"],
  ["models.dev", "models.dev @f3fc692, of 2026-07-02"],
  ["deprecations page", "OpenAI deprecations page (developers.openai.com/api/docs/deprecations)"],
  ["merefield/codexometer", "merefield/codexometer 0.18.4, of 2026-09-22"],
  ["docs.laozhang.ai", "docs.laozhang.ai on GPT-6.2, 2026-11-18"]
]

const cite = (source: string): string => {
  const found = citations.find(([start]) => source.startsWith(start))
  if (found === undefined) throw new Error(`no citation for source: ${source}`)
  return found[1]
}

const nextDay = (day: string): string =>
  new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10)

/** Periods in order, each beginning the day after the one before ended. */
const periodsOf = (offer: typeof Offer.Type, history: ReadonlyArray<Period>): ReadonlyArray<Period> => {
  const rows = offer === null ? [] : "basis" in offer ? [offer] : offer
  const all = [...history, ...rows.map(period)]
  all.forEach((it, index) => {
    const before = all[index - 1]?.until
    const last = index === all.length - 1
    if ((it.until === undefined) !== last) throw new Error("only the last period may have no end")
    if (it.from !== undefined && (before === undefined || it.from !== nextDay(before))) {
      throw new Error("periods do not follow each other")
    }
  })
  return all
}

const tiersOf = (model: typeof Model.Type): Tiers => {
  const history = (model.history ?? []).map((it) => ({ ...period(it.standard), until: it.until }))
  const tiers: Tiers = new Map()
  for (const name of tierNames) {
    const periods = periodsOf(model.prices[name] ?? null, name === "standard" ? history : [])
    if (periods.length > 0) tiers.set(name, periods)
  }
  return tiers
}

const snapshotPath = process.argv[2]
if (snapshotPath === undefined) throw new Error("usage: node scripts/generate-prices.ts <snapshot.json>")
const snapshot = Schema.decodeUnknownSync(Schema.fromJsonString(Snapshot))(readFileSync(snapshotPath, "utf8"))
const models = snapshot.models
  .filter((it) => ["chat", "audio-chat", "embedding"].includes(Schema.decodeUnknownSync(Head)(it).kind))
  .map((it) => Schema.decodeUnknownSync(Model)(it))
  .map((it) => ({ ...it, asOf: confirmed[it.id]?.asOf ?? it.asOf }))

const finished = (model: typeof Model.Type): Tiers => {
  const own = tiersOf(model)
  const leader = models.find((it) => it.id === follows[model.id])
  if (leader !== undefined) {
    const same = (it: typeof Model.Type) => JSON.stringify(figureText(tiersOf(it).get("standard")?.at(-1)))
    if (same(leader) !== same(model)) throw new Error(`${model.id} is no longer priced as ${leader.id}`)
  }
  const list = model.promotion ?? leader?.promotion
  const listed = list === undefined ? own : withListPrice(own, period(list.listPrice))
  const whole = withLongContext(withTwelveHours(model.id, withWrites(listed)))
  return confirmed[model.id] === undefined
    ? whole
    : onEach(whole, (it) => ({ ...it, basis: "secondary source" }))
}

const figureText = (it: Period | undefined): unknown =>
  it && [it.input, it.cachedInput, it.cacheWrite, it.output, it.long?.input, it.long?.output].map(String)

const fields = (it: Figures) => ({
  input: decimal(it.input),
  cachedInput: it.cachedInput === undefined ? undefined : decimal(it.cachedInput),
  cacheWrite: it.cacheWrite === undefined ? undefined : decimal(it.cacheWrite),
  cacheWrite12h: it.cacheWrite12h === undefined ? undefined : decimal(it.cacheWrite12h),
  output: decimal(it.output)
})

const periodRow = (it: Period) => ({
  ...fields(it),
  audioInput: it.audioInput === undefined ? undefined : decimal(it.audioInput),
  audioOutput: it.audioOutput === undefined ? undefined : decimal(it.audioOutput),
  longContext: it.long && { threshold: it.long.threshold, ...fields(it.long) },
  basis: it.basis === "published" ? undefined : it.basis,
  until: it.until
})

const entry = (model: typeof Model.Type): TableRow => {
  if (model.kind !== "embedding" && [...tiersOf(model).values()].flat().some((it) => it.output === 0n)) {
    throw new Error(`${model.id} has no output price`)
  }
  const asOf = model.asOf.length === 7 ? `${model.asOf}-01` : model.asOf
  return {
    id: model.id,
    aliases: model.aliases.length === 0 ? undefined : model.aliases,
    kind: completionOnly.has(model.id) ? "completion" : model.kind === "embedding" ? "embedding" : "chat",
    encoding: model.encoding ?? undefined,
    contextWindow: model.contextWindow ?? undefined,
    maxInput: model.maxInputTokens ?? undefined,
    maxOutput: model.maxOutputTokens ?? undefined,
    // In doubt it reasons: that only makes the least output cap larger.
    reasoning: model.reasoning ?? true,
    status: model.status,
    shutdownDate: model.shutdownDate ?? undefined,
    regionalUplift: uplifted(model.id),
    asOf: asOf === snapshot.asOf ? undefined : asOf,
    tiers: Object.fromEntries([...finished(model)].map(([tier, periods]) => [tier, periods.map(periodRow)]))
  }
}

const sourcesOf = (it: typeof Model.Type): ReadonlyArray<string> => {
  const own = confirmed[it.id]
  return own === undefined ? it.sources.map(cite) : [own.source]
}
const sources = [...new Set(models.flatMap(sourcesOf))].sort()
const output = render({ asOf: snapshot.asOf, sources, models: models.map(entry) })
writeFileSync(new URL("../src/internal/openAiPrices.ts", import.meta.url), output)
