/**
 * A small HTTP server whose users each have a budget of their own, all under one:
 *
 *     npx node --conditions=agent-budget-source examples/11-http-server.ts
 *
 * A user's account opens with the first question and stays; who has nothing left gets a 402 that says so. Here two users
 * ask from inside the same process; `Layer.launch(Server)` would serve for good.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schema } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Budget, BudgetedOpenAi, Pricing, Usd } from "agent-budget"
import * as Books from "./utils/books.ts"
import * as Provider from "./utils/provider.ts"
import * as Simulation from "./utils/simulation.ts"

const Question = Schema.Struct({
  user: Schema.String.check(Schema.isPattern(/^[a-z]{1,32}$/)),
  text: Schema.String
})

const answer = Effect.fnUntraced(function* (text: string) {
  const openai = yield* BudgetedOpenAi.BudgetedOpenAi
  const completion = yield* openai.use((client, signal) =>
    client.chat.completions.create(
      { model: "gpt-4o", max_completion_tokens: 300, messages: [{ role: "user", content: text }] },
      { signal }
    )
  )
  return completion.choices[0]?.message.content ?? ""
})

/** What a user may spend. With `window: "day"` it would be that much a day. */
const limit = Usd.dollars("0.01")

const ask = Effect.gen(function* () {
  const { text, user } = yield* HttpServerRequest.schemaBodyJson(Question)
  yield* Budget.open({ account: user, limit })
  const reply = yield* Budget.within(answer(text), { account: user })
  return HttpServerResponse.jsonUnsafe({ reply })
}).pipe(
  Effect.catchReason("BudgetError", "BudgetExceeded", ({ account, limit, spent }) =>
    Effect.succeed(
      HttpServerResponse.jsonUnsafe(
        {
          error: "Your budget is used up.",
          account,
          limit: Usd.format(limit),
          spent: Usd.format(spent)
        },
        { status: 402 }
      )
    )
  ),
  Effect.catchTag("SchemaError", () =>
    Effect.succeed(HttpServerResponse.jsonUnsafe({ error: "Send { user, text }." }, { status: 400 }))
  ),
  Effect.catchTag("OpenAiError", () =>
    Effect.succeed(HttpServerResponse.jsonUnsafe({ error: "The model is away." }, { status: 502 }))
  )
)

const Server = HttpRouter.serve(HttpRouter.add("POST", "/ask", ask), {
  disableListenLog: true,
  disableLogger: true
})

const post = Effect.fnUntraced(function* (user: string) {
  const client = yield* HttpClient.HttpClient
  const request = HttpClientRequest.post("/ask").pipe(
    HttpClientRequest.bodyJsonUnsafe({ user, text: "Why budgets?" })
  )
  const response = yield* client.execute(request)
  const body = yield* response.text
  console.log(`${user}: ${response.status}${response.status === 200 ? "" : ` ${body}`}`)
})

const program = Effect.gen(function* () {
  for (let question = 0; question < 4; question++) yield* post("ann")
  yield* post("bob")
  yield* post("../root")
  yield* Books.show
})

const Live = Server.pipe(
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provideMerge(Provider.layerClient),
  Layer.provideMerge(Provider.layerSimulated(Simulation.start)),
  Layer.provideMerge(Budget.layerMemory({ limit: Usd.dollars("1") })),
  Layer.provide(Pricing.layer)
)

NodeRuntime.runMain(program.pipe(Effect.provide(Live)))
