/**
 * Prices of your own: a model that no table knows, on a host of yours, and a contract that is dearer than the list:
 *
 *     npx node --conditions=agent-budget-source examples/10-custom-prices.ts
 */
import OpenAI from "openai"
import { BudgetedSession, BudgetRefusedError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.start()
const plain = new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" })
const ask = (client: OpenAI, model: string) =>
  client.chat.completions.create({
    model,
    max_completion_tokens: 500,
    messages: [{ role: "user", content: "What do you cost?" }]
  })

// A model without a price has no bound: it is refused before anything is sent, never taken for free.
const strict = new BudgetedSession({ budgetUsd: "0.02" })
try {
  await ask(strict.wrapOpenAI(plain), "house-model")
} catch (error) {
  if (!(error instanceof BudgetRefusedError)) throw error
  console.log(error.message)
}
await strict.close()

const session = new BudgetedSession({
  budgetUsd: "0.02",
  prices: {
    "house-model": { input: "0.2", output: "0.8", contextWindow: 32_000 },
    // Takes the place of the bundled row, tiers and aliases too.
    "gpt-4o": { input: "2.5", cachedInput: "1.25", output: "10", aliases: ["gpt-4o-2024-08-06"] }
  },
  // It bills by that table, so that nothing is left unverified.
  hosts: { [new URL(provider.baseURL).host]: {} }
})
const client = session.wrapOpenAI(plain)
for (const model of ["house-model", "gpt-4o"]) {
  const quote = await session.quote("/chat/completions", {
    model,
    max_completion_tokens: 500,
    messages: [{ role: "user", content: "What do you cost?" }]
  })
  await ask(client, model)
  const { spentUsd = 0 } = session.getSummary().byModel[model] ?? {}
  console.log(`${model}: at most $${quote.mostUsd}, billed $${spentUsd}`)
}
console.log("unverified:", session.getSummary().unverified)

await session.close()
Books.print(session, provider)
