/** Every price that a call may be served at: by its tier, on its day and the next, with the fees of its hosted tools. */
import * as Result from "effect/Result"
import * as BudgetError from "../BudgetError.ts"
import type { Plan } from "../Endpoint.ts"
import type * as Host from "../Host.ts"
import type * as Pricing from "../Pricing.ts"
import * as Settlement from "../Settlement.ts"
import { withFees } from "./hostedTools.ts"
import { unbounded } from "./planning.ts"

/** Whether the session's tier is written into a request: without a tier of its own, where both ends know tiers. */
export const pinsTier = (plan: Plan, host: Host.Host): boolean =>
  plan.takesTier && plan.tier === undefined && host.takesTier

/**
 * The prices that may be served: the body's tier, else the session's, or all of them where the project decides. A
 * session's tier that nothing will ask for, as the endpoint or the host knows no tiers, may be served or not, and so may
 * one that a host is asked for which may not heed it.
 */
export const pricesOf = (
  pricing: Pricing.Pricing["Service"],
  plan: Plan,
  model: Pricing.Model,
  sessionTier: Pricing.Tier,
  where: { readonly host: Host.Host; readonly at: number }
): Result.Result<ReadonlyArray<Pricing.Price>, BudgetError.BudgetError> => {
  const options = { at: where.at, regional: where.host.regional }
  const tier = plan.tier === undefined ? sessionTier : Settlement.tierOf(plan.tier)
  if (tier === undefined) {
    const unpriced = new BudgetError.UnpricedTier({ model: plan.model, tier: plan.tier ?? sessionTier })
    return Result.fail(BudgetError.because(unpriced))
  }
  const asked = plan.tier !== undefined || pinsTier(plan, where.host)
  const first = tier === "standard" || tier === "batch" || (asked && tier !== "auto") ? tier : "standard"
  const certain = pricing.price(plan.model, first, options)
  if (Result.isFailure(certain)) return Result.fail(certain.failure)
  const possible: ReadonlyArray<Pricing.Tier> =
    tier === "auto" ? ["flex", "priority", "ultrafast"] : first === tier ? [] : [tier]
  const prices = [certain.success]
  add(prices, pricing.price(plan.model, first, { ...options, at: where.at + oneDay }))
  for (const each of possible) addBothDays(prices, pricing, plan.model, each, options)
  if (plan.tier !== undefined && !where.host.takesTier) {
    addBothDays(prices, pricing, plan.model, "standard", options)
  }
  return feesOf(pricing, plan, model, prices)
}

/** The prices with the fees of the hosted tools in them. */
const feesOf = (
  { toolFees }: Pricing.Pricing["Service"],
  plan: Plan,
  model: Pricing.Model,
  prices: ReadonlyArray<Pricing.Price>
): Result.Result<ReadonlyArray<Pricing.Price>, BudgetError.BudgetError> => {
  if (plan.tools === undefined) return Result.succeed(prices)
  const all = Result.all(prices.map((price) => withFees(price, model, plan.tools, toolFees)))
  return Result.mapError(all, (fee) =>
    unbounded(plan, "it asks for a hosted tool whose fee is not known.", `Give toolFees.${fee}.`)
  )
}

const oneDay = 86_400_000

const add = (
  prices: Array<Pricing.Price>,
  price: Result.Result<Pricing.Price, BudgetError.BudgetError>
): void => {
  if (Result.isSuccess(price) && !prices.includes(price.success)) prices.push(price.success)
}

/** A call that waits, or runs, past midnight may meet the next day's price. */
const addBothDays = (
  prices: Array<Pricing.Price>,
  pricing: Pricing.Pricing["Service"],
  model: string,
  tier: Pricing.Tier,
  options: { readonly at: number; readonly regional: boolean }
): void => {
  add(prices, pricing.price(model, tier, options))
  add(prices, pricing.price(model, tier, { ...options, at: options.at + oneDay }))
}

/** What a request whose prices were `earlier` may be served at from a later moment on: in the same tiers. */
export const pricesAt = (
  pricing: Pricing.Pricing["Service"],
  plan: Plan,
  model: Pricing.Model,
  earlier: ReadonlyArray<Pricing.Price>,
  options: { readonly at: number; readonly regional: boolean }
): Result.Result<ReadonlyArray<Pricing.Price>, BudgetError.BudgetError> => {
  const prices: Array<Pricing.Price> = []
  for (const { tier } of earlier) addBothDays(prices, pricing, model.id, tier, options)
  return feesOf(pricing, plan, model, prices)
}
