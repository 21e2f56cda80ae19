/** What is around a call throws where it is only looked at, told or logged to: no answer is lost, and nothing stays held. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, Ledger, Pricing, Usd } from "agent-budget"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import { Effect, Exit, Layer, Logger, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { Readable } from "node:stream"
import { booksOf, finish, Live, options, saying, text } from "./utils/modelScripts.ts"
import {
  answer,
  assertMetered,
  assertWhole,
  chat,
  chunk,
  delta,
  fetching,
  nanoOf,
  sse,
  stub,
  under,
  usage
} from "./utils/stubProvider.ts"
import { uncaught } from "./utils/uncaught.ts"

const request = {
  model: "gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user" as const, content: "hi" }]
}
const post: RequestInit = { method: "POST", body: JSON.stringify(request) }

const bug = (): never => {
  throw new Error("a bug")
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

describe("an error that throws as it is looked at", () => {
  const errors = {
    "a getter": () => Object.defineProperty(new Error("x"), "code", { get: bug }),
    "a revoked proxy": revoked
  }
  for (const [name, error] of Object.entries(errors)) {
    it(`of the transport: the call is charged whole, ${name}`, () =>
      under(
        // Whatever a fetch rejects with.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        () => Promise.reject(error()),
        async (client, session) => {
          await client.chat.completions.create(request, { maxRetries: 0 }).then(
            () => assert.fail("It was answered."),
            () => undefined
          )
          await assertWhole(session)
        }
      ))
  }

  const trap = () =>
    AiError.make({
      module: "Script",
      method: "x",
      reason: Object.defineProperty(new AiError.RateLimitError({}), "_tag", { get: bug })
    })
  const ends = {
    "that fails": () => Effect.fail(trap()),
    "that dies": () => Effect.die(Object.defineProperty(new Error("x"), "status", { get: bug })),
    "that dies of a revoked proxy": () => Effect.die(revoked())
  }
  for (const [name, end] of Object.entries(ends)) {
    it.effect(`of a model ${name}: the call is charged whole`, () =>
      Effect.gen(function* () {
        const budget = yield* Budget.Budget
        const model = yield* BudgetedLanguageModel.make(
          yield* LanguageModel.make({
            generateText: () => end(),
            streamText: () => Stream.fromEffect(end())
          }),
          options
        )
        assert.isTrue(Exit.isFailure(yield* Effect.exit(model.generateText({ prompt: "Hello" }))))
        const { reserved, spent } = booksOf(budget)
        assert.strictEqual(reserved, 0)
        assert.isAbove(spent, 0)
        assert.isTrue(
          Exit.isFailure(yield* Effect.exit(Stream.runDrain(model.streamText({ prompt: "Hello" }))))
        )
        assert.deepStrictEqual(booksOf(budget), { calls: 2, reserved: 0, spent: spent * 2 })
      }).pipe(Effect.provide(Live))
    )
  }
})

type Asking = Effect.Effect<string, unknown, Budget.Budget | Pricing.Pricing>

const asked: Readonly<Record<string, Asking>> = {
  "an effect": Effect.succeed("paid").pipe(
    Budget.withBudget({ quote: Usd.dollars("0.1"), cost: () => Usd.dollars("0.05") })
  ),
  "a model": Effect.gen(function* () {
    const model = yield* BudgetedLanguageModel.make(yield* saying(Effect.succeed([text, finish])), options)
    return (yield* model.generateText({ prompt: "Hello" })).text
  }),
  "a fetch": Effect.gen(function* () {
    const fetch = yield* BudgetedFetch.make({ fetch: stub(() => Response.json(answer)).fetch })
    return yield* Effect.tryPromise(async () => (await fetch(chat, post)).text())
  })
}

describe("a reader of the events that throws as it ends", () => {
  for (const tag of ["Reserved", "Settled"]) {
    for (const [name, ask] of Object.entries(asked)) {
      it.live(`hears of ${tag} by himself: ${name}`, () =>
        Effect.gen(function* () {
          const thrown = yield* uncaught
          const budget = yield* Budget.Budget
          const reader = yield* Effect.forkScoped(
            Stream.runHead(Stream.filter(budget.events, (event) => event._tag === tag))
          )
          reader.addObserver(bug)
          yield* Effect.sleep(10)
          assert.isTrue(Exit.isSuccess(yield* Effect.exit(ask)))
          yield* Effect.sleep(10)
          const { reserved, spent } = booksOf(budget)
          assert.strictEqual(reserved, 0)
          assert.isAbove(spent, 0)
          assert.deepStrictEqual(thrown.map(String), ["Error: a bug"])
        }).pipe(Effect.scoped, Effect.provide(Live))
      )
    }
  }
})

describe("a logger that throws", () => {
  const Bad = Logger.layer([Logger.make(bug)])
  const Dying = Layer.effect(
    Ledger.Ledger,
    Effect.map(Ledger.Ledger, (ledger) => Ledger.Ledger.of({ ...ledger, settle: () => Effect.die("broken") }))
  ).pipe(Layer.provide(Ledger.layerMemory()))
  const Broken = Layer.merge(Layer.provide(Budget.layer({ limit: Usd.dollars("1") }), Dying), Pricing.layer)

  it.effect("costs no answer where a cost is not known", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const paid = Effect.succeed("paid").pipe(Budget.withBudget({ quote: Usd.dollars("0.1"), cost: bug }))
      assert.strictEqual(yield* paid, "paid")
      assert.deepStrictEqual(booksOf(budget), { calls: 1, reserved: 0, spent: 100_000_000 })
    }).pipe(Effect.provide(Layer.merge(Live, Bad)))
  )
  for (const [name, ask] of Object.entries(asked)) {
    it.live(`costs no answer where the ledger dies: ${name}`, () =>
      Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(ask)))
      }).pipe(Effect.provide(Layer.merge(Broken, Bad)))
    )
  }
})

describe("a body whose chunks are no bytes", () => {
  const said = sse(
    chunk(delta),
    chunk(delta),
    chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }),
    chunk({ choices: [], usage }),
    "[DONE]"
  )
  const encoded = (part: string) => new TextEncoder().encode(part)
  const kinds: Readonly<Record<string, (part: string) => unknown>> = {
    text: (part: string) => part,
    buffers: (part: string) => encoded(part).buffer,
    views: (part: string) => new DataView(encoded(part).buffer)
  }
  for (const [name, made] of Object.entries(kinds)) {
    it(`is read and billed as what it says: ${name}`, () =>
      under(
        () => {
          const parts: ReadonlyArray<unknown> = [made(said.slice(0, 40)), made(said.slice(40))]
          const body = new ReadableStream<unknown>({
            start: (controller) => {
              for (const part of parts) controller.enqueue(part)
              controller.close()
            }
          })
          const headers = new Headers({ "content-type": "text/event-stream" })
          // A response of a fetch that is not the platform's.
          const other = new Response(null, { headers })
          return Object.defineProperty(other, "body", { value: body })
        },
        async (client, session) => {
          let words = ""
          for await (const each of await client.chat.completions.create({ ...request, stream: true })) {
            words += each.choices[0]?.delta.content ?? ""
          }
          assert.strictEqual(words, "word word ")
          await assertMetered(session, nanoOf(10, 20))
        }
      ))
  }

  it("is read and billed where it is a stream of Node's, of text", () =>
    under(
      () => {
        const headers = new Headers({ "content-type": "application/json" })
        class Other extends Response {}
        const body = Readable.from([JSON.stringify(answer)])
        return Object.defineProperty(new Other(null, { headers }), "body", { value: body })
      },
      async (client, session) => {
        const { choices } = await client.chat.completions.create(request)
        assert.strictEqual(choices[0]?.message.content, "Hi")
        await assertMetered(session, nanoOf(10, 20))
      }
    ))
})

describe("headers that can be read once", () => {
  it.effect("are read once: what is signed is sent as it was, or refused", () =>
    fetching(
      () => Response.json(answer),
      (fetch, sent) =>
        Effect.gen(function* () {
          const headers = new Map([["authorization", "AWS4-HMAC-SHA256 x"]])
          const init: RequestInit = { ...post }
          // What the platform takes is wider than its type.
          Object.assign(init, { headers: headers.entries() })
          const refused = yield* Effect.promise(() => fetch(chat, init).then(() => "sent", String))
          assert.match(refused, /signed/)
          assert.strictEqual(sent.length, 0)
          const plain = new Map([["authorization", "Bearer x"]])
          const response = yield* Effect.promise(() =>
            fetch(chat, Object.assign({ ...post }, { headers: plain.entries() }) as RequestInit)
          )
          yield* Effect.promise(() => response.text())
          assert.strictEqual(new Headers(sent[0]?.init.headers).get("authorization"), "Bearer x")
        })
    )
  )
})
