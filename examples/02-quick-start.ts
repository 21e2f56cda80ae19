/**
 * The plain `openai` client under a budget of two cents, until it is refused:
 *
 *     npx node --conditions=agent-budget-source examples/02-quick-start.ts
 *
 * A simulated provider answers on the loopback interface; in a program of yours, `new OpenAI()` is all there is.
 */
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.start()
const session = new BudgetedSession({ budgetUsd: "0.02" })
const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" }))

try {
  for (let call = 1; ; call++) {
    await client.chat.completions.create({
      model: "gpt-4o",
      max_completion_tokens: 500,
      messages: [{ role: "user", content: "What does a budget have to promise?" }]
    })
    console.log(`call ${call}: spent $${session.getTotalSpent()}, left $${session.getRemainingBudget()}`)
  }
} catch (error) {
  if (!(error instanceof BudgetExceededError)) throw error
  console.log(error.message)
}

await session.close()
const { byModel, calls, refused, spentUsd } = session.getSummary()
console.log(`${calls} calls for $${spentUsd}, ${refused} refused; gpt-4o:`, byModel["gpt-4o"]?.usage)
Books.print(session, provider)
