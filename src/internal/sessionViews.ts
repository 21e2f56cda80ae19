/** What a session tells, in dollars. */
import type * as Budget from "../Budget.ts"
import type * as Ledger from "../Ledger.ts"
import * as Quote from "../Quote.ts"
import * as Usd from "../Usd.ts"

const dateOf = (millis: number | null): Date | null => (millis === null ? null : new Date(millis))

export const summaryOf = (view: Budget.Summary) => ({
  limitUsd: Usd.toNumber(view.limit),
  spentUsd: Usd.toNumber(view.spent),
  reservedUsd: Usd.toNumber(view.reserved),
  remainingUsd: Usd.toNumber(view.remaining),
  nextWindow: dateOf(view.nextWindow),
  overrunUsd: Usd.toNumber(view.overrun),
  calls: view.calls,
  refused: view.refused,
  capped: view.capped,
  byModel: Object.fromEntries(
    Object.entries(view.byModel).map(([model, { spent, assumed, ...rest }]) => [
      model,
      { ...rest, spentUsd: Usd.toNumber(spent), assumedUsd: Usd.toNumber(assumed) }
    ])
  ),
  unverified: view.unverified
})

export const quoteOf = (quote: Quote.Quote, fits: boolean) => ({
  model: quote.model,
  leastUsd: Usd.toNumber(quote.least),
  mostUsd: Usd.toNumber(quote.most),
  inputTokens: quote.input,
  bound: quote.bound,
  counted: quote.count ?? null,
  fits,
  lines: Quote.lines(quote).map(({ picoDollars, tokens, unit, what, why }) => ({
    what,
    tokens,
    unit,
    usdPerMillion: picoDollars / 1e6,
    usd: (tokens * picoDollars) / 1e12,
    why
  }))
})

export const balanceOf = (balance: Ledger.Balance) => ({
  account: balance.account,
  limitUsd: balance.limit === null ? null : Usd.toNumber(balance.limit),
  spentUsd: Usd.toNumber(balance.spent),
  reservedUsd: Usd.toNumber(balance.reserved),
  availableUsd: balance.available === null ? null : Usd.toNumber(balance.available),
  nextWindow: dateOf(balance.windowEnd)
})
