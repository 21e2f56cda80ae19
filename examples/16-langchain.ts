/**
 * An agent on LangChain, with a tool, until its budget is used up:
 *
 *     npx node --conditions=agent-budget-source examples/16-langchain.ts
 *
 * `configuration.fetch` is all that has to be given.
 */
import { HumanMessage, type BaseMessage } from "@langchain/core/messages"
import { tool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { z } from "zod"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.startWithTools({ tide: { harbour: "Cuxhaven" } })
const session = new BudgetedSession({
  budgetUsd: "0.01",
  // Of OpenAI's own hosts nothing has to be said.
  hosts: { [new URL(provider.baseURL).host]: {} }
})

const tide = tool(({ harbour }: { harbour: string }) => `high water in ${harbour} at 14:20`, {
  name: "tide",
  description: "When the water is high in a harbour.",
  schema: z.object({ harbour: z.string() })
})
const model = new ChatOpenAI({
  model: "gpt-4o",
  apiKey: "sk-simulated",
  maxTokens: 300,
  configuration: { baseURL: provider.baseURL, fetch: session.fetch }
}).bindTools([tide])

/** Asks, runs the tools that are asked for, and asks again until there is an answer. */
const agent = async (question: string): Promise<number> => {
  const messages: Array<BaseMessage> = [new HumanMessage(question)]
  for (let calls = 1; ; calls++) {
    const answer = await model.invoke(messages)
    messages.push(answer)
    if (answer.tool_calls === undefined || answer.tool_calls.length === 0) return calls
    for (const call of answer.tool_calls) messages.push(await tide.invoke({ ...call, type: "tool_call" }))
  }
}

try {
  for (let question = 1; ; question++) {
    console.log(`question ${question}: ${await agent("When can we sail from Cuxhaven?")} calls`)
  }
} catch (error) {
  if (!BudgetExceededError.is(error)) throw error
  console.log(`refused: ${session.getSummary().refused}, and never tried again`)
}

await session.close()
Books.print(session, provider)
