/** The lines of a quote, for people: what, how many at most, at which rate, and why that rate. */
import type { Plan, Previous } from "../Endpoint.ts"
import type { Model, Price, Rates } from "../Pricing.ts"

/**
 * One line of a quote: what, how many tokens at most (or, where the `unit` says so, calls of a hosted tool), at how
 * many pico-dollars ($0.000000000001) each, and why at that rate. `counted`: how many of the tokens were counted; the
 * rest is allowed for what is fed beside them.
 *
 * @example
 * ```ts
 * import type { Quote } from "agent-budget"
 *
 * const line: Quote.LineItem = {
 *   what: "output, capped by the request", tokens: 100, unit: "token", picoDollars: 10_000_000, why: "output"
 * }
 * console.log(line.tokens * line.picoDollars) // 1000000000
 * ```
 *
 * @since 0.1.0
 */
export interface LineItem {
  readonly what: string
  readonly tokens: number
  readonly unit: "token" | "call"
  readonly picoDollars: number
  readonly why: string
  readonly counted?: number | undefined
}

/** What the lines are made of. */
interface Itemised {
  readonly plan: Plan
  readonly row: Model
  readonly price: Price
  readonly prices: ReadonlyArray<Price>
  readonly input: number
  readonly count: number | undefined
  readonly bound: "bytes" | "counted" | "remote" | "window"
  readonly previous: Previous | undefined
  readonly cap: { readonly least: number; readonly most: number } | undefined
  readonly regional: boolean
}

interface Rate {
  readonly unit: "token"
  readonly picoDollars: number
  readonly why: string
}

const shown = (count: number): string => count.toLocaleString("en-US")

/** The dearest of some rates; of equals, the first. */
const dearest = (rates: ReadonlyArray<readonly [picoDollars: number | undefined, why: string]>): Rate =>
  rates.reduce<Rate>(
    (most, [picoDollars = 0, why]) => (picoDollars > most.picoDollars ? { ...most, picoDollars, why } : most),
    { unit: "token", picoDollars: rates[0]?.[0] ?? 0, why: rates[0]?.[1] ?? "" }
  )

type Names = ReadonlyArray<readonly [name: keyof Rates, why: string]>

const inputNames: Names = [
  ["input", "input"],
  ["cachedInput", "cached input, dearer than input"],
  ["cacheWrite", "cache write, dearer than input"],
  ["cacheWrite12h", "cache write kept for 12 hours, dearer than input"]
]
const audioInput: Names[number] = ["audioInput", "audio, dearer than text"]
const outputNames: Names = [["output", "output"]]
const audioOutput: Names[number] = ["audioOutput", "audio, dearer than text"]

/** The rate that is met at most, on either side of the long-context threshold, and what made it that. */
const rateOf = (of: Itemised, names: Names): Rate => {
  const { input, plan, price, prices, regional, row } = of
  const long =
    price.longContext !== undefined && input >= price.longContext.threshold ? price.longContext : undefined
  const rate = dearest([
    ...names.map(([name, why]) => [price.rates[name], why] as const),
    ...names.map(
      ([name, why]) =>
        [long?.rates[name], `${why}, long context from ${shown(long?.threshold ?? 0)} tokens`] as const
    )
  ])
  const why = [
    rate.why,
    ...(price.tier === "standard" ? [] : [`tier ${price.tier}`]),
    ...(plan.tier === "auto" && prices.length > 1 ? ["the dearest tier that the project may have set"] : []),
    ...(regional && row.regionalUplift ? ["regional processing"] : [])
  ]
  return { ...rate, why: why.join(", ") }
}

const rungs = {
  bytes: "input, by its length",
  counted: "input, counted",
  remote: "input, counted by the provider",
  window: "input, the whole context window"
} as const

/** Input that nobody sees may be images, which some models bill at several times the room that they take. */
const isBeyondWindows = ({ input, plan, row }: Itemised): boolean =>
  input > ((row.contextWindow ?? 0) + plan.input.images) * plan.input.windows

const inputLines = (of: Itemised): ReadonlyArray<LineItem> => {
  const { bound, count, input, plan, previous } = of
  const rate = rateOf(of, plan.input.audio ? [...inputNames, audioInput] : inputNames)
  // A window, and the provider's count, bound all of it together: what is known of a part says nothing then.
  const isApart = bound === "bytes" || bound === "counted"
  const earlier = isApart ? (previous?.tokens ?? 0) : 0
  const images = isApart ? plan.input.images : 0
  const { windows } = plan.input
  const asImages = bound === "window" && isBeyondWindows(of) ? ", as images are billed" : ""
  const passes = bound === "window" && windows > 1 ? `, ${shown(windows)} times` : ""
  const lines: Array<LineItem> = [
    {
      what: rungs[bound] + asImages + passes,
      tokens: input - earlier - images,
      ...rate,
      counted: count === undefined ? undefined : count - images
    }
  ]
  if (images > 0) lines.push({ what: "images, by size or the largest there are", tokens: images, ...rate })
  if (earlier > 0) {
    const what = "input of the response that it goes on from, as that was billed"
    lines.push({ what, tokens: earlier, ...rate })
  }
  return lines
}

const outputName = ({ cap, plan: { output } }: Itemised): string => {
  if (output?.cap !== undefined) return "output, capped by the request"
  if (output?.fallback !== undefined) return "output, capped at the API's default"
  const isRange = cap !== undefined && cap.most > cap.least
  return isRange ? "output, capped by the budget at this or less" : "output, capped by the budget"
}

const outputLines = (of: Itemised): ReadonlyArray<LineItem> => {
  const { output } = of.plan
  if (output === undefined) return []
  const rate = rateOf(of, output.audio ? [...outputNames, audioOutput] : outputNames)
  const cap = output.cap ?? of.cap?.most ?? 0
  const times = output.times === 1 ? "" : `, ${shown(output.times)} answers of ${shown(cap)}`
  const lines = [{ what: outputName(of) + times, tokens: cap * output.times, ...rate }]
  if (output.extra > 0) {
    lines.push({ what: "prediction, which may be rejected", tokens: output.extra, ...rate })
  }
  return lines
}

const noTools = { calls: 0, containers: 0, fileSearches: 0, webSearches: 0 }

/** The fees of hosted tools, where there are any. */
const feeLines = ({ plan, price: { toolFees } }: Itemised): ReadonlyArray<LineItem> => {
  const { calls, containers, fileSearches, webSearches } = plan.tools ?? noTools
  const why = "fee of a hosted tool"
  const made = calls === 1 ? "one call of a tool" : `${shown(calls)} calls of tools`
  const fees: ReadonlyArray<readonly [what: string, tokens: number, picoDollars: number | undefined]> = [
    [`searches of the web, in ${made}`, webSearches, toolFees?.webSearch],
    [`searches of files, in ${made}`, fileSearches, toolFees?.fileSearch],
    [`sessions of containers, in ${made}`, containers, toolFees?.container]
  ]
  return fees.flatMap(([what, tokens, picoDollars]) =>
    tokens === 0 || picoDollars === undefined
      ? []
      : [{ what, tokens, unit: "call" as const, picoDollars, why }]
  )
}

export const lineItems = (of: Itemised): ReadonlyArray<LineItem> => [
  ...inputLines(of),
  ...outputLines(of),
  ...feeLines(of)
]
