/**
 * An agent of the Vercel AI SDK, with tools, until its budget is used up:
 *
 *     npx node --conditions=agent-budget-source examples/14-ai-sdk.ts
 *
 * `session.fetch` is all that the SDK has to be given. A refusal is not tried again; it is among the causes of what the
 * SDK throws, where `BudgetExceededError.is` finds it.
 */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, isStepCount, tool } from "ai"
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
const openai = createOpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated", fetch: session.fetch })

const tide = tool({
  description: "When the water is high in a harbour.",
  inputSchema: z.object({ harbour: z.string() }),
  execute: ({ harbour }) => `high water in ${harbour} at 14:20`
})

try {
  for (let question = 1; ; question++) {
    const { steps, toolResults } = await generateText({
      model: openai.responses("gpt-4o"),
      tools: { tide },
      stopWhen: isStepCount(4),
      maxOutputTokens: 300,
      prompt: "When can we sail from Cuxhaven?"
    })
    const used = [...steps.flatMap((step) => step.toolResults), ...toolResults].map(
      ({ toolName }) => toolName
    )
    console.log(`question ${question}: ${steps.length} steps, with ${[...new Set(used)].join(", ")}`)
  }
} catch (error) {
  if (!BudgetExceededError.is(error)) throw error
  console.log(`refused: ${session.getSummary().refused}, and never tried again`)
}

await session.close()
Books.print(session, provider)
