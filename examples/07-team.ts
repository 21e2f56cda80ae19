/**
 * A team of agents: accounts below accounts, each with a limit of its own, all under one budget:
 *
 *     npx node --conditions=agent-budget-source examples/07-team.ts
 *
 * A call is charged to the account that it is made in and to every one above it. The reviewer has room of its own and is
 * stopped by its team's limit.
 */
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import type { Balance } from "agent-budget/BudgetedSession"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.start()
const session = new BudgetedSession({ budgetUsd: "0.05" })
const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" }))
const balances: Array<Balance> = []

/** Works until it has made its calls, or one does not fit somewhere above it. */
const agent = (account: string, calls: number, budgetUsd: string): Promise<void> =>
  session.within({ account, budgetUsd }, async () => {
    try {
      for (let call = 0; call < calls; call++) {
        await client.chat.completions.create({
          model: "gpt-4o",
          max_completion_tokens: 400,
          messages: [{ role: "user", content: `What does a ${account} do next?` }]
        })
      }
      console.log(`${account}: done`)
    } catch (error) {
      if (!(error instanceof BudgetExceededError) || error.reason._tag !== "BudgetExceeded") throw error
      console.log(`${account}: stopped by the limit of ${error.reason.account}`)
    } finally {
      balances.push(await session.balance())
    }
  })

await session.within({ account: "writing", budgetUsd: "0.02" }, async () => {
  await Promise.all([agent("author", 2, "0.01"), agent("editor", 5, "0.009")])
  await agent("reviewer", 5, "0.01")
  balances.push(await session.balance())
})
await session.within({ account: "research", budgetUsd: "0.02" }, () => agent("librarian", 3, "0.015"))

await session.close()
Books.print(
  session,
  provider,
  balances.sort((a, b) => a.account.localeCompare(b.account))
)
