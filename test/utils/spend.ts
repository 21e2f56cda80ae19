/** A program that spends 20 cents of 2 dollars in whatever books it is given, and says what these have spent in all. */
import { Effect } from "effect"
import { Ledger, Usd } from "agent-budget"

export const spend = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* ledger.open({ account: "root", limit: Usd.dollars("2") })
  const held = yield* ledger.reserve({ account: "root", least: Usd.dollars("0.25") })
  yield* ledger.settle(held, { amount: Usd.dollars("0.20"), verdict: "metered" })
  return Usd.format((yield* ledger.balance("root")).spent)
})
