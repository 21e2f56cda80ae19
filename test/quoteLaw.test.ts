/**
 * The law of both rungs: what a request is billed by the figures that recorded traffic shows never costs more than
 * its quote, for any model, tier and usage that the request allows. And it is found out where a rate is too low.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Host from "../src/Host.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as TokenCounter from "../src/TokenCounter.ts"
import * as Usage from "../src/Usage.ts"
import { bare, conversation, type Generated } from "./utils/generatedRequests.ts"
import { random, type Random } from "./utils/random.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())
const at = Date.UTC(2026, 10, 23)

const wire: Readonly<Record<Pricing.Tier, string | undefined>> = {
  standard: "default",
  batch: undefined,
  flex: "flex",
  priority: "priority",
  ultrafast: "ultrafast"
}

/** Words that bring an input to either side of the threshold of long context. */
const nearCliff = (at: Random, threshold: number | undefined): number =>
  threshold === undefined || !at.chance(0.25) ? 0 : threshold - at.one([0, 20, 400])

const requestOf = (of: Random, model: Pricing.Model, threshold: number | undefined): Generated =>
  /^text-embedding|^(davinci|babbage)-002|-instruct$/.test(model.id)
    ? bare(of, model.id)
    : conversation(of, model.id, nearCliff(of, threshold))

/** A usage of so much input, or a little less, as the caches may split it. */
const usageOf = (of: Random, input: number, output: number): Usage.Usage => {
  const used = of.chance(0.8) ? input : of.between(0, input)
  const share = (whole: number): number => of.one([0, 0, whole, of.between(0, whole)])
  const cacheWrite = share(used)
  const cacheWrite12h = share(used - cacheWrite)
  const cachedInput = share(used - cacheWrite - cacheWrite12h)
  return Usage.make({
    input: used,
    cacheWrite,
    cacheWrite12h,
    cachedInput,
    output: of.chance(0.8) ? output : of.between(0, output)
  })
}

interface Outcome {
  readonly rung: Quote.Quote["bound"]
  readonly most: number
  readonly cost: number
}

/** Quotes of a request on both rungs, by a price table that may be wrong, beside what it costs by the true one. */
const outcomes = async (
  seed: number,
  model: Pricing.Model,
  tier: Pricing.Tier,
  table: Pricing.Pricing["Service"] = pricing,
  truth: Pricing.Pricing["Service"] = pricing
): Promise<ReadonlyArray<Outcome>> => {
  const of = random(seed)
  const regional = model.regionalUplift && of.chance(0.3)
  const price = Result.getOrThrow(truth.price(model.id, tier, { at, regional }))
  const { body, input, output, path } = requestOf(of, model, price.longContext?.threshold)
  const cap = of.between(1, 20_000)
  const field = path === "/responses" ? "max_output_tokens" : "max_tokens"
  const asked = wire[tier] === undefined || !/chat|responses/.test(path) ? {} : { service_tier: wire[tier] }
  const whole = { ...body, ...asked, ...(path === "/embeddings" ? {} : { [field]: cap }) }
  const host = Host.of(new URL(regional ? "https://eu.api.openai.com" : "https://api.openai.com"))
  const made = Quote.make(table, { method: "POST", path, body: whole, host, at }, { tier })
  if (Result.isFailure(made)) {
    assert.match(model.id, /search|deep-research/, String(made.failure))
    return []
  }
  const quote = made.success
  const counted = await Effect.runPromise(Quote.countedBy(counter, quote))
  assert.isAtMost(counted.input, quote.input)
  const window = model.contextWindow ?? Infinity
  // A request beyond its model's window is not billed. Pictures take less room than they are billed at.
  const billed = Math.min(input, window + quote.plan.input.images)
  const cost: number = Result.getOrThrow(Pricing.cost(price, usageOf(of, billed, output(cap))))
  return [quote, counted].map(({ bound, most }) => ({ rung: bound, most, cost }))
}

const offers = pricing.models.flatMap((model) => model.tiers.map((tier) => ({ model, tier })))

describe("a quote, by its length and by a count", () => {
  it("is never below what the request costs, for any model in any tier", { timeout: 240_000 }, async () => {
    const rungs = new Map<string, number>()
    for (const [index, { model, tier }] of offers.entries()) {
      for (let run = 0; run < 12; run++) {
        for (const { cost, most, rung } of await outcomes(index * 1_000 + run, model, tier)) {
          assert.isAtMost(cost, most, `${model.id} ${tier} ${rung}, seed ${index * 1_000 + run}`)
          rungs.set(rung, (rungs.get(rung) ?? 0) + 1)
        }
      }
    }
    assert.isAbove(rungs.get("counted") ?? 0, 800)
    assert.isAbove(rungs.get("bytes") ?? 0, 1_000)
  })
})

type Rate = "input" | "cachedInput" | "cacheWrite" | "cacheWrite12h" | "output"

type Table = Pricing.Pricing["Service"]

const changed = (change: (price: Pricing.Price) => Pricing.Price): Table => ({
  ...pricing,
  price: (...asked) => Result.map(pricing.price(...asked), change)
})

/** One rate raised threefold above the dearest of its side, so that it alone decides what is billed. */
const raised = (rates: Pricing.Rates, rate: Rate): Pricing.Rates => ({
  ...rates,
  [rate]: 3 * Math.max(rates.input, rates.cachedInput, rates.cacheWrite, rates.cacheWrite12h, rates.output)
})

const dearer = (rate: Rate, isLong: boolean): Table =>
  changed((price) => {
    const { longContext } = price
    if (!isLong) return { ...price, rates: raised(price.rates, rate) }
    if (longContext === undefined) return price
    return { ...price, longContext: { ...longContext, rates: raised(longContext.rates, rate) } }
  })

/** Whether some request costs more than its quote, quoted by one table and billed by another. */
const isFoundOut = async (quotedBy: Table, billedBy: Table): Promise<boolean> => {
  for (const [index, { model, tier }] of offers.entries()) {
    for (let run = 0; run < 12; run++) {
      const found = await outcomes(index * 1_000 + run, model, tier, quotedBy, billedBy)
      if (found.some(({ cost, most }) => cost > most)) return true
    }
  }
  return false
}

describe("a rate that is too low", () => {
  const rates = ["input", "cachedInput", "cacheWrite", "cacheWrite12h", "output"] as const
  const rows = rates.flatMap((rate) => [
    { rate, isLong: false, where: "short" },
    { rate, isLong: true, where: "long" }
  ])
  it.each(rows)("is found out: $rate, $where context", { timeout: 120_000 }, async ({ isLong, rate }) => {
    assert.isTrue(await isFoundOut(pricing, dearer(rate, isLong)))
  })

  it("is found out: long context at the rates of short", { timeout: 120_000 }, async () => {
    assert.isTrue(
      await isFoundOut(
        changed((price) => ({ ...price, longContext: undefined })),
        pricing
      )
    )
  })
})
