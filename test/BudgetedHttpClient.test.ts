import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, BudgetError, BudgetExceededError, Usd } from "agent-budget"
import * as BudgetedHttpClient from "agent-budget/BudgetedHttpClient"
import * as BudgetedLanguageModel from "agent-budget/BudgetedLanguageModel"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  identity,
  Layer,
  Result,
  Schedule,
  Schema,
  Stream
} from "effect"
import { AiError, LanguageModel } from "effect/ai"
import {
  FetchHttpClient,
  HttpBody,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "effect/http"
import { assertBooks, inWorld, rows, type World } from "./utils/modelWorld.ts"
import { capped, hello, streamed } from "./utils/openAi.ts"
import { isRecord } from "./utils/providerBill.ts"
import { Behaviours, Gate } from "./utils/SimulatedProvider.ts"

const clients: Readonly<Record<string, Layer.Layer<HttpClient.HttpClient>>> = {
  fetch: FetchHttpClient.layer,
  undici: NodeHttpClient.layerUndici,
  "node:http": NodeHttpClient.layerNodeHttp
}

const clientOver = (
  kind: string,
  world: World,
  below: (client: HttpClient.HttpClient) => HttpClient.HttpClient = identity
) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(clients[kind] ?? FetchHttpClient.layer)
    const client = yield* Effect.provideContext(HttpClient.HttpClient, context)
    const budgeted = yield* BudgetedHttpClient.make(below(client))
    return budgeted.pipe(HttpClient.mapRequest(HttpClientRequest.prependUrl(world.provider.baseURL)))
  })

/** JSON as most clients send it: bytes. */
const post = (body: object, path = "/chat/completions") =>
  HttpClientRequest.post(path).pipe(HttpClientRequest.bodyJsonUnsafe(body))

const whole = (client: HttpClient.HttpClient) =>
  client.execute(post(capped)).pipe(
    Effect.flatMap(HttpClientResponse.filterStatusOk),
    Effect.flatMap((response) => response.json)
  )
const read = (client: HttpClient.HttpClient) =>
  Stream.runCollect(HttpClientResponse.stream(client.execute(post(streamed))))

const answers: typeof rows = {
  ...rows,
  "an answer at another tier": [{ tier: "priority" }, "metered"],
  "an answer without usage": [Behaviours.usageMissing, "assumed"]
}

for (const kind of Object.keys(clients)) {
  describe(`a budgeted client over ${kind}`, () => {
    for (const [name, [behaviour, verdict]] of Object.entries(answers)) {
      it(
        `${name} is charged: ${verdict}`,
        inWorld((world) =>
          Effect.gen(function* () {
            const client = yield* clientOver(kind, world)
            world.provider.next(behaviour)
            yield* Effect.ignore(whole(client))
            yield* assertBooks(world, verdict)
            assert.strictEqual(world.provider.requests.length, 1)
          })
        )
      )
    }

    for (const read of ["text", "json", "arrayBuffer"] as const) {
      it(
        `an answer that the client below has read as ${read} still gets to its caller, and is metered`,
        inWorld((world) =>
          Effect.gen(function* () {
            const client = yield* clientOver(
              kind,
              world,
              HttpClient.transformResponse(
                Effect.tap((response) =>
                  Effect.exit<unknown, HttpClientError.HttpClientError, never>(response[read])
                )
              )
            )
            assert.isTrue(isRecord(yield* whole(client)))
            assert.isAbove(
              (yield* Stream.runCollect(HttpClientResponse.stream(client.execute(post(streamed))))).length,
              0
            )
            yield* assertBooks(world, "metered")
          })
        )
      )
    }

    it(
      "ECONNREFUSED is charged nothing",
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver(kind, world)
          yield* Effect.promise(() => world.provider.unplug())
          yield* Effect.flip(whole(client))
          yield* assertBooks(world, "nothing")
        })
      )
    )

    it(
      "a stream read to its end is booked as billed",
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver(kind, world)
          yield* read(client)
          yield* assertBooks(world, "metered")
        })
      )
    )

    it(
      "a stream that is left, and one that is cut, are charged whole",
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver(kind, world)
          const gate = new Gate()
          gate.release(3)
          world.provider.next(Behaviours.stepped(gate), Behaviours.streamCut(2))
          const stream = HttpClientResponse.stream(client.execute(post(streamed)))
          yield* Stream.runDrain(Stream.take(stream, 1))
          yield* assertBooks(world, "assumed")
          yield* Effect.ignore(read(client))
          yield* assertBooks(world, "assumed")
          assert.strictEqual(world.budget.view().calls, 2)
        })
      )
    )

    it(
      "a call that is interrupted is charged whole, before and after its headers",
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver(kind, world)
          for (const behaviour of [Behaviours.hangBeforeHeaders, Behaviours.hangAfterHeaders]) {
            const before = world.provider.requests.length
            world.provider.next(behaviour)
            const isBefore = behaviour.failure.before === "headers"
            const response = yield* Effect.forkChild(client.execute(post(streamed)))
            if (isBefore) yield* Effect.promise(() => world.provider.arrived(before + 1))
            else {
              const { stream } = yield* Fiber.join(response)
              const reading = yield* Effect.forkChild(Stream.runDrain(stream))
              yield* Effect.yieldNow
              yield* Fiber.interrupt(reading)
            }
            yield* Fiber.interrupt(response)
            yield* assertBooks(world, "assumed")
          }
          assert.strictEqual(world.budget.view().calls, 2)
        })
      )
    )

    it(
      "a refusal is recognised, not sent and not tried again",
      inWorld(
        (world) =>
          Effect.gen(function* () {
            const client = (yield* clientOver(kind, world)).pipe(
              HttpClient.retryTransient({ times: 3, schedule: Schedule.spaced("1 millis") })
            )
            const error = yield* Effect.flip(whole(client))
            assert.isTrue(BudgetExceededError.is(error))
            assert.include(error.message, "Budget exceeded on account")
            assert.strictEqual(world.budget.view().refused, 1)
            assert.strictEqual(world.provider.requests.length, 0)
            yield* assertBooks(world, "nothing")
          }),
        { budget: { limit: Usd.dollars("0.00001") } }
      )
    )

    it(
      "is charged to the account of the fiber",
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver(kind, world)
          yield* Budget.open({ account: "ann" })
          yield* whole(client).pipe(Budget.within({ account: "ann" }))
          yield* assertBooks(world, "metered")
          const balances = yield* Budget.balances
          const ann = balances.find(({ account }) => account === "root/ann")
          assert.strictEqual(Number(ann?.spent), Number(world.provider.bill().totalNanoUsd))
        })
      )
    )
  })
}

describe("a budgeted client over one that makes errors of statuses", () => {
  for (const [name, [behaviour, verdict]] of Object.entries(answers)) {
    const status = /^status (\d+)$/.exec(name)?.[1]
    it(
      `${name} is charged: ${verdict}`,
      inWorld((world) =>
        Effect.gen(function* () {
          const client = yield* clientOver("fetch", world, HttpClient.filterStatusOk)
          world.provider.next(behaviour)
          const result = yield* Effect.result(whole(client))
          yield* assertBooks(world, verdict)
          if (status === undefined) return
          const error = Result.isFailure(result) ? result.failure : undefined
          assert.instanceOf(error, HttpClientError.HttpClientError)
          assert.strictEqual(error.reason._tag, "StatusCodeError")
          assert.isDefined(error.response)
          assert.strictEqual(error.response.status, Number(status))
          // The answer is the caller's, with its body.
          assert.isTrue(isRecord(yield* error.response.json))
        })
      )
    )
  }

  it(
    "an answer that went well, and is made an error of, is charged whole",
    inWorld((world) =>
      Effect.gen(function* () {
        const client = yield* clientOver(
          "fetch",
          world,
          HttpClient.filterStatus((status) => status !== 200)
        )
        yield* Effect.flip(client.execute(post(capped)))
        yield* assertBooks(world, "assumed")
      })
    )
  )
})

describe("a budgeted client over one that ends without an error", () => {
  const died = Effect.die(new TypeError("a defect"))
  for (const [name, end] of [
    ["a defect", died],
    ["an interruption of its own", Effect.interrupt]
  ] as const) {
    it(
      `${name} stays what it is, and is charged once: nobody retries it`,
      inWorld((world) =>
        Effect.gen(function* () {
          const below = (client: HttpClient.HttpClient) =>
            HttpClient.transform(client, (sent) => Effect.andThen(sent, end))
          const client = (yield* clientOver("fetch", world, below)).pipe(
            HttpClient.retryTransient({ times: 3, schedule: Schedule.spaced("1 millis") })
          )
          const exit = yield* Effect.exit(client.execute(post(capped)))
          assert.isTrue(Exit.isFailure(exit) && !Cause.hasFails(exit.cause))
          assert.strictEqual(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause), end !== died)
          yield* assertBooks(world, "assumed")
          assert.strictEqual(world.budget.view().calls, 1)
        })
      )
    )
  }
})

describe("what a budgeted client sends", () => {
  const sent = (world: World, index: number): unknown => world.provider.requests[index]?.body

  it(
    "a text and bytes of the same JSON are priced alike, and have the cap and the tier written in",
    inWorld((world) =>
      Effect.gen(function* () {
        const client = yield* clientOver("fetch", world)
        const text = JSON.stringify(hello)
        for (const body of [
          HttpBody.text(text, "application/json"),
          HttpBody.uint8Array(new TextEncoder().encode(text), "application/json"),
          HttpBody.raw(text, { contentType: "application/json" })
        ]) {
          const request = HttpClientRequest.setBody(HttpClientRequest.post("/chat/completions"), body)
          yield* Effect.flatMap(client.execute(request), (response) => response.json)
        }
        const [first, ...rest] = [0, 1, 2].map((index) => sent(world, index))
        assert.isTrue(isRecord(first) && first["service_tier"] === "default")
        assert.isTrue(isRecord(first) && typeof first["max_completion_tokens"] === "number")
        for (const each of rest) assert.deepStrictEqual(Object.keys(each ?? {}), Object.keys(first ?? {}))
        yield* assertBooks(world, "metered")
      })
    )
  )

  it(
    "bytes that are changed while it waits are sent as they were priced",
    inWorld(
      (world) =>
        Effect.gen(function* () {
          const client = yield* clientOver("fetch", world)
          const gate = yield* Deferred.make<undefined>()
          const holds = Budget.withBudget(Deferred.await(gate), {
            quote: Usd.dollars("1"),
            cost: () => Usd.zero
          })
          const holder = yield* Effect.forkChild(holds, { startImmediately: true })
          const text = JSON.stringify({ ...capped, service_tier: "default" })
          const bytes = new TextEncoder().encode(text)
          const request = HttpClientRequest.post("/chat/completions").pipe(
            HttpClientRequest.bodyUint8Array(bytes, "application/json")
          )
          const call = yield* Effect.forkChild(
            Effect.flatMap(client.execute(request), ({ json }) => json),
            { startImmediately: true }
          )
          bytes.set(new TextEncoder().encode(text.replace(":100", ":999")))
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(call)
          yield* Fiber.join(holder)
          assert.deepStrictEqual(
            world.provider.requests.map(({ rawBody }) => rawBody),
            [text]
          )
        }),
      { budget: { onExceeded: "wait" } }
    )
  )

  it(
    "bytes that are no text, and a stream, are refused",
    inWorld((world) =>
      Effect.gen(function* () {
        const client = yield* clientOver("fetch", world)
        for (const body of [
          HttpBody.uint8Array(new Uint8Array([0x7b, 0xff, 0x7d]), "application/json"),
          HttpBody.stream(Stream.make(new TextEncoder().encode(JSON.stringify(capped))), "application/json")
        ]) {
          const request = HttpClientRequest.setBody(HttpClientRequest.post("/chat/completions"), body)
          const error = yield* Effect.flip(client.execute(request))
          assert.strictEqual(BudgetError.find(error)?.reason._tag, "MalformedRequest")
        }
        assert.strictEqual(world.provider.requests.length, 0)
      })
    )
  )
})

/** A provider of `effect/ai` over an `HttpClient`, as the published ones are. */
const httpModel = (client: HttpClient.HttpClient) =>
  LanguageModel.make({
    generateText: ({ prompt }) =>
      client.execute(post({ ...capped, messages: [{ role: "user", content: JSON.stringify(prompt) }] })).pipe(
        Effect.flatMap(HttpClientResponse.filterStatusOk),
        Effect.flatMap(
          HttpClientResponse.schemaBodyJson(
            Schema.Struct({
              usage: Schema.Struct({ prompt_tokens: Schema.Int, completion_tokens: Schema.Int })
            })
          )
        ),
        Effect.map(({ usage }) => [
          { type: "text" as const, text: "Hi" },
          {
            type: "finish" as const,
            reason: "stop" as const,
            usage: {
              inputTokens: { total: usage.prompt_tokens },
              outputTokens: { total: usage.completion_tokens }
            }
          }
        ]),
        Effect.mapError((cause) =>
          AiError.make({
            module: "HttpModel",
            method: "generateText",
            reason: new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "/", cause })
          })
        )
      ),
    streamText: () => Stream.empty
  })

describe("a budgeted model over a budgeted client", () => {
  const options = { model: "gpt-4o-mini", maxOutputTokens: 100, api: "/chat/completions" } as const
  const modelOver = (world: World) =>
    Effect.flatMap(Effect.flatMap(clientOver("fetch", world), httpModel), (model) =>
      BudgetedLanguageModel.make(model, options)
    )

  for (const [name, [behaviour, verdict]] of Object.entries(answers)) {
    it(
      `${name} is charged once: ${verdict}`,
      inWorld((world) =>
        Effect.gen(function* () {
          const model = yield* modelOver(world)
          world.provider.next(behaviour)
          yield* Effect.ignore(model.generateText({ prompt: "Hello there" }))
          yield* assertBooks(world, verdict)
        })
      )
    )
  }

  it(
    "a free attempt hands the reservation back to the next one",
    inWorld((world) =>
      Effect.gen(function* () {
        const client = (yield* clientOver("fetch", world)).pipe(
          HttpClient.filterStatusOk,
          HttpClient.retryTransient({ times: 3, schedule: Schedule.spaced("1 millis") })
        )
        const model = yield* BudgetedLanguageModel.make(yield* httpModel(client), options)
        world.provider.next(Behaviours.status(429), Behaviours.status(429))
        yield* model.generateText({ prompt: "Hello there" })
        assert.strictEqual(world.provider.requests.length, 3)
        assert.strictEqual(world.budget.view().calls, 1)
        yield* assertBooks(world, "metered")
      })
    )
  )
})

describe("a budgeted client over another budget", () => {
  /** Another budget, and what is made inside it. */
  const inside = <A, E, R>(limit: string, make: Effect.Effect<A, E, R | Budget.Budget>) =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Layer.fresh(Budget.layerMemory({ limit: Usd.dollars(limit) })))
      const made = yield* Effect.provideContext(make, context)
      return { made, budget: yield* Effect.provideContext(Budget.Budget, context) }
    })

  it(
    "is charged nothing for what that one refuses, right below it, and as it is asked for what that one sends",
    inWorld((world) =>
      Effect.gen(function* () {
        const plain = yield* Effect.provide(HttpClient.HttpClient, FetchHttpClient.layer)
        const poor = yield* inside("0.000001", BudgetedHttpClient.make(plain))
        const client = (yield* BudgetedHttpClient.make(poor.made)).pipe(
          HttpClient.mapRequest(HttpClientRequest.prependUrl(world.provider.baseURL))
        )
        const error = yield* Effect.flip(whole(client))
        assert.isTrue(BudgetExceededError.is(error))
        assert.strictEqual(world.provider.requests.length, 0)
        assert.strictEqual(world.budget.view().spent, 0)
        assert.strictEqual(world.budget.view().reserved, 0)
        assert.strictEqual(poor.budget.view().refused, 1)
        const rich = yield* inside("1", BudgetedHttpClient.make(plain))
        yield* whole(
          (yield* BudgetedHttpClient.make(rich.made)).pipe(
            HttpClient.mapRequest(HttpClientRequest.prependUrl(world.provider.baseURL))
          )
        )
        yield* assertBooks(world, "metered")
        assert.strictEqual(rich.budget.view().spent, world.budget.view().spent)
      })
    )
  )

  it(
    "is charged whole where something else is between them, which may have sent more",
    inWorld((world) =>
      Effect.gen(function* () {
        const plain = yield* Effect.provide(HttpClient.HttpClient, FetchHttpClient.layer)
        const poor = yield* inside("0.000001", BudgetedHttpClient.make(plain))
        const between = poor.made.pipe(HttpClient.tapError(() => Effect.void))
        const client = (yield* BudgetedHttpClient.make(between)).pipe(
          HttpClient.mapRequest(HttpClientRequest.prependUrl(world.provider.baseURL))
        )
        yield* Effect.flip(whole(client))
        assert.isAbove(world.budget.view().spent, 0)
        assert.strictEqual(world.budget.view().reserved, 0)
      })
    )
  )
})

describe("a budgeted client over a budgeted fetch of the same budget", () => {
  it(
    "is charged once, though the client between them sends bytes",
    inWorld((world) =>
      Effect.gen(function* () {
        const fetch = yield* BudgetedFetch.make()
        const plain = yield* Effect.provide(
          HttpClient.HttpClient,
          FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)))
        )
        const client = (yield* BudgetedHttpClient.make(plain)).pipe(
          HttpClient.mapRequest(HttpClientRequest.prependUrl(world.provider.baseURL)),
          HttpClient.transformResponse(Effect.provideService(FetchHttpClient.Fetch, fetch))
        )
        yield* whole(client)
        assert.strictEqual(world.budget.view().calls, 1)
        yield* assertBooks(world, "metered")
      })
    )
  )
})
