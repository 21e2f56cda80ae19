/**
 * Waiting instead of failing: eight agents ask at once for what three of them can hold at a time:
 *
 *     npx node --conditions=agent-budget-source examples/08-waiting.ts
 *
 * They stand in line, first in, first out: what one call did not use lets the next one in. A call that can never fit is
 * refused without waiting.
 */
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.start()
const session = new BudgetedSession({ budgetUsd: "0.04", onExceeded: "wait", waitAtMost: "30 seconds" })
const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" }))

const ask = (max_completion_tokens: number) =>
  client.chat.completions.create({
    model: "gpt-4o",
    max_completion_tokens,
    messages: [{ role: "user", content: "What is worth waiting for?" }]
  })

// Listened to before anything happens.
const events = session.events()
let open = 0
let most = 0
const agents = Array.from({ length: 8 }, async (_, id) => {
  await ask(1_000)
  console.log(`agent ${id}: answered, $${session.getTotalSpent()} spent`)
})
for await (const event of events) {
  if (event._tag === "Reserved") most = Math.max(most, ++open)
  if (event._tag === "Settled" && --open === 0 && session.getSummary().calls === agents.length) break
}
await Promise.all(agents)
console.log(`at most ${most} of them at a time`)

try {
  await ask(16_000)
} catch (error) {
  if (!(error instanceof BudgetExceededError)) throw error
  console.log(error.message)
}

await session.close()
Books.print(session, provider)
