/**
 * What requests would cost at most, line by line, and whether they fit a budget of ten cents. Nothing is sent:
 *
 *     npx node --conditions=agent-budget-source examples/04-quotes.ts
 */
import { Effect, Layer } from "effect"
import { Budget, Pricing, Quote, TokenCounter, Usd } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Provider from "./utils/provider.ts"
import * as Simulation from "./utils/simulation.ts"

const question = "Which of these letters of 1911 speak of the harbour, and what do they say of it? "
const letters = "The pilot came aboard at noon and took us in between the lights. ".repeat(400)

const requests: Readonly<Record<string, { readonly path: string; readonly body: object }>> = {
  "a question about some letters": {
    path: "/responses",
    body: { model: "gpt-4o-mini", input: question + letters, max_output_tokens: 500 }
  },
  "the same, thought about and served at once": {
    path: "/responses",
    body: { model: "gpt-5.6", input: question + letters, service_tier: "priority" }
  },
  "all letters there are, in one": {
    path: "/responses",
    body: { model: "gpt-5.6", input: question + letters.repeat(50), max_output_tokens: 500 }
  },
  "three answers to choose from": {
    path: "/chat/completions",
    body: {
      model: "gpt-4.1-mini",
      messages: [{ role: "user", content: question }],
      max_completion_tokens: 200,
      n: 3
    }
  },
  "a search of the web": {
    path: "/responses",
    body: {
      model: "gpt-5-mini",
      input: question,
      tools: [{ type: "web_search" }],
      max_tool_calls: 1,
      max_output_tokens: 500
    }
  }
}

const column = (value: number): string => value.toLocaleString("en-US").padStart(9)

const show = Effect.fnUntraced(function* (
  name: string,
  request: { readonly path: string; readonly body: object }
) {
  const byLength = yield* Quote.of({ method: "POST", ...request })
  const quote = yield* Quote.counted(byLength)
  const fits = yield* Quote.fits(quote)
  const range = quote.least === quote.most ? "" : `, at least ${Usd.format(quote.least)}`
  console.log(`${name}: at most ${Usd.format(quote.most)}${range}; it ${fits ? "fits" : "does not fit"}`)
  for (const { counted, picoDollars, tokens, unit, what, why } of Quote.lines(quote)) {
    const rate = unit === "token" ? `$${picoDollars / 1e6} per 1M` : `$${picoDollars / 1e12} each`
    const count = counted === undefined ? "" : ` (${counted.toLocaleString("en-US")} counted)`
    console.log(`  ${column(tokens)} ${what}${count}, at ${rate}: ${why}`)
  }
  if (quote.bound === "counted") {
    console.log(`            by its length: ${Usd.format(byLength.most)}`)
  }
})

const program = Effect.gen(function* () {
  for (const [name, request] of Object.entries(requests)) yield* show(name, request)
  yield* Books.show
})
const layers = Layer.mergeAll(
  Pricing.layer,
  TokenCounter.layer,
  Budget.layerMemory({ limit: Usd.dollars("0.10") }),
  Provider.layerSimulated(Simulation.start)
)
await Effect.runPromise(Effect.provide(program, layers))
