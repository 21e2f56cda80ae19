/**
 * The OpenAI Agents SDK: an agent that hands off to another one, each of whose calls is under one budget:
 *
 *     npx node --conditions=agent-budget-source examples/15-agents-sdk.ts
 *
 * The SDK is given a wrapped client as its default. Its own tracing sends what was said to OpenAI by a way of its own,
 * which costs nothing and is turned off here.
 */
import { Agent, run, setDefaultOpenAIClient, setTracingDisabled } from "@openai/agents"
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.startWithTools({ transfer_to_Pilot: {} })
const session = new BudgetedSession({ budgetUsd: "0.01" })
setTracingDisabled(true)
setDefaultOpenAIClient(session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" })))

const settings = { model: "gpt-4o", modelSettings: { maxTokens: 300 } }
const pilot = new Agent({ ...settings, name: "Pilot", instructions: "You know every harbour." })
const captain = Agent.create({
  ...settings,
  name: "Captain",
  instructions: "You hand questions about harbours to the pilot.",
  handoffs: [pilot]
})

try {
  for (let question = 1; ; question++) {
    const result = await run(captain, "How do we get into Cuxhaven?")
    console.log(
      `question ${question}: answered by ${result.lastAgent?.name}, ${result.rawResponses.length} calls`
    )
  }
} catch (error) {
  if (!BudgetExceededError.is(error)) throw error
  console.log(`refused: ${session.getSummary().refused}, and never tried again`)
}

await session.close()
Books.print(session, provider)
