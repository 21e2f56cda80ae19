/**
 * Telemetry: spans and metrics of each call by OpenTelemetry's GenAI conventions, sent by OTLP to a collector:
 *
 *     npx node --conditions=agent-budget-source examples/12-telemetry.ts
 *
 * Here the collector is a small server on the loopback interface that shows what it got; in a program of yours it is at
 * `http://localhost:4318`, or wherever yours is.
 */
import { Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Collector from "./utils/collector.ts"
import * as Simulation from "./utils/simulation.ts"

await using provider = await Simulation.start()
await using collector = await Collector.start()

const session = new BudgetedSession({
  budgetUsd: "0.01",
  telemetry: Otlp.layerJson({ baseUrl: collector.url, resource: { serviceName: "agents" } }).pipe(
    Layer.provide(FetchHttpClient.layer)
  )
})
const client = session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "sk-simulated" }))
try {
  for (;;) {
    await client.chat.completions.create({
      model: "gpt-4o",
      max_completion_tokens: 400,
      messages: [{ role: "user", content: "This text is in no span." }]
    })
  }
} catch (error) {
  if (!(error instanceof BudgetExceededError)) throw error
}

// What is on its way is sent before the session is closed.
await session.close()

for (const { attributes, name } of collector.spans()) {
  console.log(name)
  for (const [key, value] of Object.entries(attributes)) console.log(`  ${key}: ${String(value)}`)
}
console.log("metrics")
for (const { attributes, count, name, sum, unit } of collector.series()) {
  const type = attributes["gen_ai.token.type"]
  const what = type === undefined ? name : `${name} (${String(type)})`
  // How long something took is another number each time.
  const shown = unit === "s" ? "" : `, in sum ${sum} ${unit ?? ""}`
  console.log(`  ${what}: ${count === undefined ? "a sum" : `${count} times`}${shown}`)
}
Books.print(session, provider)
