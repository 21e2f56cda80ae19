/** How the examples end: the accounts, what each spent, and the provider's own bill beside them. */
import type { BudgetedSession } from "agent-budget"
import { Budget, Usd } from "agent-budget"
import { Effect } from "effect"
import type { SimulatedProvider } from "../../test/utils/SimulatedProvider.ts"
import { Provider } from "./provider.ts"

const usd = (amount: number): string => Usd.format(Usd.dollars(amount.toFixed(9)))

interface Line {
  readonly account: string
  readonly limitUsd: number | null
  readonly spentUsd: number
}

/** One account, in a line. */
export const line = ({ account, limitUsd, spentUsd }: Line): string =>
  `  ${account.padEnd(20)} ${usd(spentUsd)}${limitUsd === null ? "" : ` of ${usd(limitUsd)}`}`

/** The books of a session that has been closed, with the accounts inside it that were looked at on the way. */
export const print = (
  session: BudgetedSession,
  provider: SimulatedProvider,
  inside: ReadonlyArray<Line> = []
): void => {
  const { byModel, calls, limitUsd, refused, spentUsd } = session.getSummary()
  console.log("\nThe books:")
  for (const each of [{ account: "root", limitUsd, spentUsd }, ...inside]) console.log(line(each))
  const assumed = Object.values(byModel).reduce((sum, each) => sum + each.assumedUsd, 0)
  console.log(`  ${calls} calls charged, ${refused} refused${assumed > 0 ? `, ${usd(assumed)} assumed` : ""}`)
  console.log(`The provider's bill: ${Usd.format(Usd.nanos(Number(provider.bill().totalNanoUsd)))}`)
}

/** The same in Effect, for every account that is open. */
export const show = Effect.gen(function* () {
  const { calls, refused } = yield* Budget.summary
  console.log("\nThe books:")
  for (const { account, limit, spent } of yield* Budget.balances) {
    const limitUsd = limit === null ? null : Usd.toNumber(limit)
    console.log(line({ account, limitUsd, spentUsd: Usd.toNumber(spent) }))
  }
  console.log(`  ${calls} calls charged, ${refused} refused`)
  const bill = yield* (yield* Provider).bill
  console.log(`The provider's bill: ${bill === undefined ? "not told" : Usd.format(bill)}`)
})
