/**
 * Streams: one that is read to its end, one that is left early, and one that is left early and read on behind your back:
 *
 *     npx node --conditions=agent-budget-source examples/06-streaming.ts
 */
import OpenAI from "openai"
import { BudgetedSession } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

/** Reads so many chunks of a story, and leaves. What was spent is known once the session is closed. */
const readSome = async (chunks: number, abandoned: "assume" | "drain"): Promise<void> => {
  await using provider = await Simulation.startSlow()
  const session = new BudgetedSession({ budgetUsd: "0.02", abandoned })
  const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" }))
  const story = await client.chat.completions.create({
    model: "gpt-4o",
    stream: true,
    max_completion_tokens: 500,
    messages: [{ role: "user", content: "Tell me a story." }]
  })
  let read = 0
  for await (const _ of story) {
    if (++read === 3) console.log(`after three chunks: $${session.getSummary().reservedUsd} held`)
    if (read === chunks) break
  }
  await session.close()
  Books.print(session, provider)
}

console.log("Read to its end: booked at the usage that it reports.")
await readSome(Infinity, "assume")

console.log("\nLeft after three chunks: nobody can know the bill, so the whole reservation is charged.")
await readSome(3, "assume")

console.log('\nLeft with abandoned: "drain": read on in the background, and booked at the truth.')
await readSome(3, "drain")
