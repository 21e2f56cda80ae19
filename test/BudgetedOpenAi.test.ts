import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetedFetch,
  BudgetedOpenAi,
  BudgetedSession,
  BudgetExceededError,
  BudgetRefusedError,
  Ledger,
  Pricing,
  Usd
} from "agent-budget"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import { createServer } from "node:net"
import OpenAI, { AzureOpenAI, BedrockOpenAI } from "openai"
import { OpenAIRealtimeWebSocket as BetaRealtimeWebSocket } from "openai/beta/realtime/websocket"
import { OpenAIRealtimeWS as BetaRealtimeWS } from "openai/beta/realtime/ws"
import { OpenAIRealtimeTranslationWS } from "openai/realtime/translations/ws"
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket"
import { OpenAIRealtimeWS } from "openai/realtime/ws"
import { ResponsesWS as BetaResponsesWS } from "openai/resources/beta/responses/ws"
import { ForksWS } from "openai/resources/live/forks/ws"
import { SidebandWS } from "openai/resources/live/sideband/ws"
import { LiveWS } from "openai/resources/live/ws"
import { ResponsesWS } from "openai/resources/responses/ws"
import { collectGarbage } from "./utils/garbage.ts"
import * as Oracle from "./utils/providerBill.ts"
import {
  assertBooks,
  assertNeverAbove,
  capped,
  commonJs,
  failureOf,
  hello,
  orThrown,
  prices,
  recordEvents,
  reservedNano,
  settled,
  spentNano,
  streamed,
  watchedLedger,
  withSession,
  type Setup
} from "./utils/openAi.ts"
import { Behaviours, Gate, SimulatedProvider, type Behaviour } from "./utils/SimulatedProvider.ts"

const sent = (provider: SimulatedProvider, index = 0): Readonly<Record<string, unknown>> => {
  const body = provider.requests[index]?.body
  if (!Oracle.isRecord(body)) throw new Error(`Request ${index} has no body.`)
  return body
}

const deepFreeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(deepFreeze)
  return Object.freeze(value)
}

const collect = async <A>(items: AsyncIterable<A>): Promise<Array<A>> => {
  const all: Array<A> = []
  for await (const item of items) all.push(item)
  return all
}

const weather = {
  type: "function" as const,
  function: {
    name: "weather",
    description: "The weather of a city.",
    parameters: { type: "object" as const, properties: { city: { type: "string" } } },
    parse: JSON.parse,
    function: () => "sunny"
  }
}

const asksForWeather: Behaviour = { toolCalls: [{ name: "weather", arguments: '{"city":"Rome"}' }] }

// -- Streams --------------------------------------------------------------------------------------------------

/** Every kind of stream, as an iterable of what its reader sees. */
const streams: Readonly<
  Record<string, (client: OpenAI, signal?: AbortSignal) => Promise<AsyncIterable<unknown>>>
> = {
  "chat, create": (client, signal) => client.chat.completions.create(streamed, { signal: signal ?? null }),
  "chat, stream helper": (client, signal) =>
    Promise.resolve(client.chat.completions.stream(capped, { signal: signal ?? null })),
  "legacy completions": (client, signal) =>
    client.completions.create(
      { model: "gpt-3.5-turbo-instruct", prompt: "Once upon a time", max_tokens: 50, stream: true },
      { signal: signal ?? null }
    ),
  "responses, create": (client, signal) =>
    client.responses.create(
      { model: "gpt-4o-mini", input: "Hello", max_output_tokens: 100, stream: true },
      { signal: signal ?? null }
    ),
  "responses, stream helper": (client, signal) =>
    Promise.resolve(
      client.responses.stream(
        { model: "gpt-4o-mini", input: "Hello", max_output_tokens: 100 },
        { signal: signal ?? null }
      )
    )
}

describe("a stream", () => {
  for (const [name, open] of Object.entries(streams)) {
    it(
      `read to its end is booked as billed (${name})`,
      withSession(async (setup) => {
        const items = await collect(await open(setup.client))
        assert.isAbove(items.length, 3)
        await assertBooks(setup, "metered")
      })
    )

    it(
      `shows its reader what it would without a budget (${name})`,
      withSession(
        async ({ client, plain }) => {
          const without = await collect(await open(plain))
          const within = await collect(await open(client))
          const untold = (items: Array<unknown>) =>
            JSON.stringify(items)
              .replace(/sim-\d+/g, "sim")
              .replace(/"(created|created_at)":\d+/g, '"$1":0')
          assert.strictEqual(untold(within), untold(without))
          // A pinned tier would be echoed: that much shows.
        },
        { hosts: {} }
      )
    )

    it(
      `left by break is charged whole (${name})`,
      withSession(async (setup) => {
        const gate = new Gate()
        gate.release(3)
        setup.provider.next(Behaviours.stepped(gate))
        for await (const _ of await open(setup.client)) break
        await settled(setup.session)
        gate.open()
        await assertBooks(setup, "assumed")
      })
    )

    it(
      `left by its signal is charged whole (${name})`,
      withSession(async (setup) => {
        const gate = new Gate()
        gate.release(3)
        setup.provider.next(Behaviours.stepped(gate))
        const controller = new AbortController()
        await collectUntil(await open(setup.client, controller.signal), () => controller.abort())
        await settled(setup.session)
        gate.open()
        await assertBooks(setup, "assumed")
      })
    )

    it(
      `cut by the server is charged whole (${name})`,
      withSession(async (setup) => {
        setup.provider.next(Behaviours.streamCut(2))
        await failureOf(open(setup.client).then(collect))
        await assertBooks(setup, "assumed")
      })
    )
  }

  for (const name of ["chat, create", "legacy completions", "responses, create"]) {
    it(
      `never read keeps its reservation, which closing the session charges (${name})`,
      withSession(async (setup) => {
        await streams[name]?.(setup.client)
        const reserved = reservedNano(setup.session)
        assert.isAbove(reserved, 0)
        await new Promise((resolve) => setTimeout(resolve, 20))
        assert.strictEqual(reservedNano(setup.session), reserved)
        await setup.session.close({ waitAtMost: 0 })
        assert.strictEqual(reservedNano(setup.session), 0)
        assert.strictEqual(spentNano(setup.session), reserved)
        await setup.provider.unplug()
        assert.isAtLeast(reserved, Number(setup.provider.bill().totalNanoUsd))
      })
    )
  }

  const raw = async (setup: Setup, body: object): Promise<readonly [string, string]> => {
    const url = `${setup.provider.baseURL}/chat/completions`
    const headers = { "content-type": "application/json" }
    const init = { method: "POST", body: JSON.stringify(body), headers }
    const without = await (await fetch(url, init)).text()
    const within = await (await setup.session.fetch(url, init)).text()
    const same = (text: string) => text.replace(/sim-\d+/g, "sim").replace(/"created":\d+/g, '"created":0')
    return [same(without), same(within)]
  }

  it(
    "with include_usage of the caller's own passes byte by byte",
    withSession(async (setup) => {
      const [without, within] = await raw(setup, { ...streamed, stream_options: { include_usage: true } })
      assert.include(within, '"usage":{')
      assert.strictEqual(within, without)
    })
  )

  for (const stream_options of [
    undefined,
    null,
    {},
    { include_usage: false },
    { include_obfuscation: false }
  ]) {
    it(
      `with stream_options ${JSON.stringify(stream_options)} is asked for its usage, and shows none`,
      withSession(async (setup) => {
        const [without, within] = await raw(setup, {
          ...streamed,
          ...(stream_options === undefined ? {} : { stream_options })
        })
        assert.notInclude(within, '"usage"')
        assert.strictEqual(within, without)
        assert.deepStrictEqual(sent(setup.provider, 1)["stream_options"], {
          ...stream_options,
          include_usage: true
        })
      })
    )
  }

  it(
    "that talks of usage in its text keeps its text",
    withSession(async (setup) => {
      const text = 'say {"a":1,"usage":null} and , "usage": null twice'
      setup.provider.setBehaviour(() => ({ text, tokensPerDelta: 100 }))
      const stream = setup.client.chat.completions.stream(capped)
      assert.strictEqual(await stream.finalContent(), text)
    })
  )
})

/** Calls it so that what it throws is a rejection. */
const start = (call: () => unknown): Promise<unknown> => Promise.resolve().then(call)

/** Reads until the items end or fail; calls `then` after the first. */
const collectUntil = async (items: AsyncIterable<unknown>, then: () => void): Promise<void> => {
  try {
    for await (const _ of items) then()
  } catch {
    // An aborted helper throws where an aborted stream just ends: both are an end here.
  }
}

// -- Refusals -------------------------------------------------------------------------------------------------

describe("a refusal", () => {
  const poor = { budgetUsd: "0.00001" }
  const tag = (error: unknown) => (error instanceof BudgetRefusedError ? error.reason._tag : String(error))

  const refuses = (
    name: string,
    reason: string,
    fix: RegExp,
    call: (setup: Setup) => PromiseLike<unknown>,
    options: Parameters<typeof withSession>[1] = {}
  ) =>
    it(
      `${name}: before a byte is sent, in one attempt, naming the fix`,
      withSession(async (setup) => {
        const error = await failureOf(call(setup))
        assert.strictEqual(tag(error), reason)
        assert.match(String(error), fix)
        assert.strictEqual(setup.provider.requests.length, 0)
        assert.strictEqual(setup.session.getSummary().refused, 1)
        await assertBooks(setup, "nothing")
      }, options)
    )

  const many = { maxRetries: 2 }
  refuses("of an unknown model", "UnknownModel", /prices/, ({ client }) =>
    client.chat.completions.create({ ...capped, model: "nobody-knows" }, many)
  )
  refuses("of images", "UnsupportedEndpoint", /endpoints: \{ "POST \/images\/generations"/, ({ client }) =>
    client.images.generate({ model: "gpt-image-1", prompt: "a cat" }, many)
  )
  refuses("of videos", "UnsupportedEndpoint", /POST \/videos/, ({ client }) =>
    client.post("/videos", { body: { prompt: "a cat" }, ...many })
  )
  refuses("of an upload", "UnsupportedEndpoint", /POST \/files/, ({ client }) =>
    client.files.create({ file: new File(["{}"], "batch.jsonl"), purpose: "batch" }, many)
  )
  refuses("of a credential", "UnsupportedEndpoint", /client_secrets/, ({ client }) =>
    client.realtime.clientSecrets.create({}, many)
  )
  refuses("of another method", "UnsupportedEndpoint", /PATCH/, ({ client }) =>
    client.patch("/chat/completions", { body: capped, ...many })
  )
  refuses("of a body that is not JSON", "MalformedRequest", /JSON/, ({ client }) =>
    client.post("/chat/completions", { ...many, fetchOptions: { body: "model=gpt-4o-mini" } as object })
  )
  refuses("of a body that is not text", "MalformedRequest", /string/, ({ client }) =>
    client.post("/chat/completions", { ...many, body: new FormData() })
  )
  refuses("of a body with a key twice", "MalformedRequest", /once/, ({ client }) =>
    client.post("/chat/completions", {
      ...many,
      fetchOptions: { body: '{"model":"gpt-4o-mini","n":1,"n":9,"messages":[]}' } as object
    })
  )
  refuses("of an encoded body", "MalformedRequest", /content-encoding/, ({ client }) =>
    client.chat.completions.create(capped, { ...many, headers: { "Content-Encoding": "gzip" } })
  )
  refuses("of an absolute path at another origin", "UnsupportedTransport", /Wrap a client/, ({ client }) =>
    client.post("http://127.0.0.1:9/v1/chat/completions", { ...many, body: capped })
  )
  refuses("of a path outside of the root", "UnsupportedTransport", /Wrap a client/, ({ client, provider }) =>
    client.post(`${provider.origin}/v2/chat/completions`, { ...many, body: capped })
  )
  refuses("after the base URL was changed", "UnsupportedTransport", /Wrap a client/, ({ client }) => {
    client.baseURL = "http://127.0.0.1:9/v1"
    return client.chat.completions.create(capped, many)
  })
  refuses(
    "of a call that does not fit",
    "BudgetExceeded",
    /budget|limit/i,
    ({ client }) => client.chat.completions.create(capped, many),
    poor
  )
  refuses("of a Request object", "MalformedRequest", /fetch\(url/, ({ session, provider }) =>
    orThrown(
      session.fetch(new Request(`${provider.baseURL}/chat/completions`, { method: "POST", body: "{}" }))
    )
  )
  refuses("of a host that nobody knows", "UnsupportedTransport", /hosts: \{ "127.0.0.1:9"/, ({ session }) =>
    orThrown(
      session.fetch("http://127.0.0.1:9/v1/chat/completions", {
        method: "POST",
        body: JSON.stringify(capped)
      })
    )
  )
  refuses("of what is no URL", "MalformedRequest", /absolute/, ({ session }) =>
    orThrown(session.fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify(capped) }))
  )

  const ways: Readonly<Record<string, (client: OpenAI) => PromiseLike<unknown>>> = {
    create: (client) => client.chat.completions.create(capped),
    "create, streamed": (client) => client.chat.completions.create(streamed),
    parse: (client) => client.chat.completions.parse(capped),
    withResponse: (client) => client.chat.completions.create(capped).withResponse(),
    asResponse: (client) => client.chat.completions.create(capped).asResponse(),
    stream: (client) => client.chat.completions.stream(capped).finalContent(),
    "stream, iterated": (client) => collect(client.chat.completions.stream(capped)),
    runTools: (client) => client.chat.completions.runTools({ ...capped, tools: [weather] }).finalContent(),
    "runTools, streamed": (client) =>
      client.chat.completions.runTools({ ...streamed, tools: [weather] }).finalContent(),
    "responses.create": (client) =>
      client.responses.create({ model: "gpt-4o-mini", input: "hi", max_output_tokens: 100 }),
    "responses.parse": (client) =>
      client.responses.parse({ model: "gpt-4o-mini", input: "hi", max_output_tokens: 100 }),
    "responses.stream": (client) =>
      client.responses.stream({ model: "gpt-4o-mini", input: "hi", max_output_tokens: 100 }).finalResponse(),
    "client.post": (client) => client.post("/chat/completions", { body: capped })
  }
  for (const [module, Client] of [
    ["ES module", OpenAI],
    ["CommonJS", commonJs.OpenAI]
  ] as const) {
    for (const [way, call] of Object.entries(ways)) {
      it(
        `surfaces as itself through ${way} (${module})`,
        withSession(async ({ session, provider }) => {
          const raw = new Client({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 2 })
          const error = await failureOf(call(session.wrapOpenAI(raw)))
          assert.instanceOf(error, BudgetExceededError)
          assert.instanceOf(error, BudgetRefusedError)
          assert.instanceOf(error, Client.OpenAIError)
          assert.isTrue(BudgetExceededError.is(error))
          assert.strictEqual(error.reason._tag, "BudgetExceeded")
          assert.strictEqual(error.name, "BudgetExceededError")
          assert.strictEqual(provider.requests.length, 0)
          assert.strictEqual(session.getSummary().refused, 1)
        }, poor)
      )
    }
  }

  it("the two modules have two error classes", () => {
    assert.notStrictEqual<unknown>(commonJs.OpenAI.OpenAIError, OpenAI.OpenAIError)
  })

  it(
    "in the middle of runTools ends it, with the turns before it paid",
    withSession(
      async (setup) => {
        setup.provider.setBehaviour(() => asksForWeather)
        const runner = setup.client.chat.completions.runTools(
          { ...capped, tools: [weather] },
          { maxChatCompletions: 100_000 }
        )
        const error = await failureOf(runner.finalContent())
        assert.instanceOf(error, BudgetExceededError)
        assert.isAbove(setup.provider.requests.length, 2)
        await assertBooks(setup, "metered")
      },
      { budgetUsd: "0.002" }
    )
  )
})

describe("WebSockets", () => {
  const call = { callID: "call_1" }
  const sockets: Readonly<Record<string, (client: OpenAI) => unknown>> = {
    "realtime/ws": (client) => new OpenAIRealtimeWS({ model: "gpt-realtime" }, client),
    "realtime/ws create": (client) => OpenAIRealtimeWS.create(client, { model: "gpt-realtime" }),
    "realtime/websocket": (client) => new OpenAIRealtimeWebSocket({ model: "gpt-realtime" }, client),
    "realtime/websocket create": (client) =>
      OpenAIRealtimeWebSocket.create(client, { model: "gpt-realtime" }),
    "beta/realtime/ws": (client) => new BetaRealtimeWS({ model: "gpt-realtime" }, client),
    "beta/realtime/websocket": (client) => new BetaRealtimeWebSocket({ model: "gpt-realtime" }, client),
    "realtime/translations/ws": (client) =>
      OpenAIRealtimeTranslationWS.create(client, { model: "gpt-realtime-translate" }),
    "responses/ws": (client) => new ResponsesWS(client),
    "beta/responses/ws": (client) => new BetaResponsesWS(client),
    "live/ws": (client) => new LiveWS(client),
    "live/sideband/ws": (client) => new SidebandWS(client, { session_id: "s", call_id: "c", ...call }),
    "live/forks/ws": (client) => new ForksWS(client, { session_id: "s", fork_id: "f", ...call })
  }

  const hasMethod = <Name extends string>(
    value: unknown,
    name: Name
  ): value is Record<Name, (...args: ReadonlyArray<unknown>) => unknown> =>
    typeof value === "object" && value !== null && typeof Reflect.get(value, name) === "function"

  /** Counts connections on a port where nobody answers. */
  const listen = async (
    use: (baseURL: string, connections: () => number) => Promise<void>
  ): Promise<void> => {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      socket.on("error", () => undefined)
      socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    if (address === null || typeof address === "string") throw new Error("The server has no port.")
    try {
      await use(`https://127.0.0.1:${address.port}/v1`, () => connections)
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  }

  const pause = () => new Promise((resolve) => setTimeout(resolve, 60))

  const isRefused = <Client extends OpenAI>(
    make: (baseURL: string) => Client,
    open: (client: Client) => unknown
  ): Promise<void> =>
    listen(async (baseURL, connections) => {
      const session = new BudgetedSession({ budgetUsd: 1 })
      const plain = make(baseURL)
      const client = session.wrapOpenAI(plain)
      const other = new BudgetedSession({ budgetUsd: 1 })
      for (const each of [client, client.withOptions({ timeout: 5 }), other.wrapOpenAI(client)]) {
        const error = await failureOf(start(() => open(each)))
        assert.instanceOf(error, BudgetRefusedError)
        assert.strictEqual(error.reason._tag, "UnsupportedTransport")
        assert.match(error.message, /HTTP endpoints/)
      }
      await pause()
      assert.strictEqual(connections(), 0)
      assert.strictEqual(session.getSummary().refused + other.getSummary().refused, 3)

      const socket = await open(plain)
      if (hasMethod(socket, "on")) socket.on("error", () => undefined)
      await pause()
      assert.isAtLeast(connections(), 1, "the control connects")
      if (hasMethod(socket, "close")) socket.close()
    })

  for (const [name, open] of Object.entries(sockets)) {
    it(`${name} is refused without a connection; without a budget it connects`, () =>
      isRefused((baseURL) => new OpenAI({ baseURL, apiKey: "sk-none" }), open))
  }

  const azureSockets: Readonly<Record<string, (client: AzureOpenAI) => unknown>> = {
    "realtime/ws azure": (client) => OpenAIRealtimeWS.azure(client),
    "realtime/websocket azure": (client) => OpenAIRealtimeWebSocket.azure(client),
    "realtime/websocket azure, a call": (client) => OpenAIRealtimeWebSocket.azure(client, call),
    "realtime/websocket create": (client) => OpenAIRealtimeWebSocket.create(client, { model: "my-realtime" }),
    "beta/realtime/ws azure": (client) => BetaRealtimeWS.azure(client),
    "beta/realtime/websocket azure": (client) => BetaRealtimeWebSocket.azure(client),
    "beta/realtime/websocket create": (client) =>
      BetaRealtimeWebSocket.create(client, { model: "my-realtime" })
  }
  const byKey = { apiKey: "azure-none" }
  const azure = { apiVersion: "2024-10-21", deployment: "my-realtime" }

  for (const [name, open] of Object.entries(azureSockets)) {
    for (const credential of [byKey, { azureADTokenProvider: () => Promise.resolve("azure-none") }]) {
      it(`${name} of a client for Azure (${Object.keys(credential).join()}) is refused without a connection`, () =>
        isRefused((baseURL) => new AzureOpenAI({ baseURL, ...azure, ...credential }), open))
    }
  }

  it("is told as a refusal, of the account that it was opened on", async () => {
    const session = new BudgetedSession({ budgetUsd: 1 })
    const client = session.wrapOpenAI(new OpenAI({ apiKey: "sk-none" }))
    const events = recordEvents(session)
    await session.within({ account: "ann" }, () =>
      failureOf(start(() => OpenAIRealtimeWS.create(client, { model: "gpt-realtime" })))
    )
    await session.close()
    assert.deepStrictEqual(
      events.map((event) => (event._tag === "Refused" ? [event.account, event.error.reason._tag] : [])),
      [["root/ann", "UnsupportedTransport"]]
    )
  })

  it("made by hand on a client for Azure is refused without a connection", async () => {
    const make = (baseURL: string) => new AzureOpenAI({ baseURL, ...azure, ...byKey })
    await isRefused(make, (client) => new OpenAIRealtimeWebSocket({ model: "my-realtime" }, client))
    await isRefused(make, (client) => new BetaRealtimeWebSocket({ model: "my-realtime" }, client))
  })
})

// -- What is sent, and what comes back ------------------------------------------------------------------------

describe("what is sent", () => {
  it(
    "is a copy: the caller's own objects stay as they were",
    withSession(async ({ client, provider }) => {
      const params = deepFreeze({
        ...hello,
        stream: true as const,
        stream_options: { include_obfuscation: false }
      })
      const before = JSON.stringify(params)
      await collect(await client.chat.completions.create(params))
      assert.strictEqual(JSON.stringify(params), before)
      const body = sent(provider)
      assert.strictEqual(body["service_tier"], "default")
      assert.deepStrictEqual(body["stream_options"], { include_obfuscation: false, include_usage: true })
      assert.isAtLeast(Number(body["max_completion_tokens"]), 1_024)
      assert.isAtMost(Number(body["max_completion_tokens"]), 16_384)
    })
  )

  it(
    "has no cap beyond the model's maximum, however ample the budget",
    withSession(
      async ({ client, provider, session }) => {
        await client.chat.completions.create(hello)
        await client.responses.create({ model: "gpt-4o-mini", input: "hi" })
        assert.strictEqual(sent(provider)["max_completion_tokens"], 16_384)
        assert.strictEqual(sent(provider, 1)["max_output_tokens"], 16_384)
        assert.strictEqual(session.getSummary().capped, 2)
      },
      { budgetUsd: 9_000 }
    )
  )

  it(
    "has null caps and tiers replaced in place",
    withSession(async ({ client, provider }) => {
      await client.chat.completions.create({
        ...hello,
        max_completion_tokens: null,
        service_tier: null,
        stream: false
      })
      const { rawBody } = provider.requests[0] ?? { rawBody: "" }
      assert.strictEqual(rawBody.match(/max_completion_tokens/g)?.length, 1)
      assert.strictEqual(rawBody.match(/service_tier/g)?.length, 1)
      assert.isNumber(sent(provider)["max_completion_tokens"])
      assert.strictEqual(sent(provider)["service_tier"], "default")
    })
  )

  it(
    "keeps the caller's own cap, tier and stream options, byte by byte",
    withSession(async ({ client, provider }) => {
      const body = {
        ...streamed,
        service_tier: "priority" as const,
        stream_options: { include_usage: true }
      }
      await collect(await client.chat.completions.create(body))
      assert.strictEqual(provider.requests[0]?.rawBody, JSON.stringify(body))
    })
  )

  it(
    "carries the session's tier",
    withSession(
      async (setup) => {
        await setup.client.chat.completions.create(capped)
        assert.strictEqual(sent(setup.provider)["service_tier"], "priority")
        await assertBooks(setup, "metered")
      },
      { tier: "priority" }
    )
  )

  it(
    "carries no tier where the host does not take one, and the summary says that the host is unverified",
    withSession(
      async ({ client, provider, session }) => {
        await client.chat.completions.create(capped)
        assert.notProperty(sent(provider), "service_tier")
        assert.deepStrictEqual(session.getSummary().unverified, ["unverifiedHost"])
      },
      { hosts: {} }
    )
  )

  it(
    "is priced, also where fetchOptions replace the body",
    withSession(async (setup) => {
      const body = JSON.stringify({ ...capped, max_completion_tokens: 7 })
      await setup.client.chat.completions.create(hello, { fetchOptions: { body } as object })
      assert.strictEqual(sent(setup.provider)["max_completion_tokens"], 7)
      await assertBooks(setup, "metered")
    })
  )
})

describe("what comes back", () => {
  it(
    "withResponse keeps address, status and headers",
    withSession(async (setup) => {
      setup.provider.next({ headers: { "x-mine": "kept" } })
      const { data, response, request_id } = await setup.client.chat.completions.create(capped).withResponse()
      assert.strictEqual(response.url, `${setup.provider.baseURL}/chat/completions`)
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.statusText, "OK")
      assert.strictEqual(response.headers.get("x-mine"), "kept")
      assert.strictEqual(request_id, "req_sim_0")
      assert.strictEqual(data.object, "chat.completion")
      await assertBooks(setup, "metered")
    })
  )

  const readers: Readonly<Record<string, (response: Response) => Promise<string>>> = {
    text: (response) => response.text(),
    json: async (response) => JSON.stringify(await response.json()),
    arrayBuffer: async (response) => Buffer.from(await response.arrayBuffer()).toString(),
    bytes: async (response) => Buffer.from(await response.bytes()).toString(),
    blob: async (response) => (await response.blob()).text(),
    body: async (response) =>
      Buffer.concat(response.body === null ? [] : await collect(response.body)).toString(),
    "clone, then text": (response) => response.clone().text(),
    "clone and original": async (response) =>
      (await Promise.all([response.clone().text(), response.text()]))[1]
  }
  for (const [name, read] of Object.entries(readers)) {
    for (const body of [capped, { ...streamed, stream_options: { include_usage: true } }]) {
      it(
        `asResponse settles when it is read by ${name} (${"stream" in body ? "stream" : "whole"})`,
        withSession(async (setup) => {
          if ("stream" in body && name === "json") return
          const response = await setup.client.chat.completions.create(body).asResponse()
          assert.isAbove(reservedNano(setup.session), 0)
          assert.strictEqual(response.clone().url, response.url)
          const text = await read(response)
          assert.include(text, " price")
          await assertBooks(setup, "metered")
        })
      )
    }
  }

  it(
    "runTools makes one reservation for each of its turns",
    withSession(async (setup) => {
      setup.provider.next(asksForWeather, asksForWeather, asksForWeather)
      const runner = setup.client.chat.completions.runTools({ ...capped, tools: [weather] })
      assert.include(await runner.finalContent(), "every call")
      assert.strictEqual(setup.provider.requests.length, 4)
      assert.strictEqual(setup.moments.filter(({ what }) => what === "reserve").length, 4)
      await assertBooks(setup, "metered")
    })
  )

  it(
    "uploads that the user vouches for as free reach the server",
    withSession(
      async (setup) => {
        const file = new File(["{}"], "batch.jsonl")
        await failureOf(setup.client.files.create({ file, purpose: "batch" }))
        assert.include(setup.provider.requests[0]?.rawBody, "batch.jsonl")
        assert.strictEqual(setup.session.getSummary().refused, 0)
        await assertBooks(setup, "nothing")
      },
      { endpoints: { "POST /files": "free" } }
    )
  )

  it(
    "free calls pass without a reservation",
    withSession(async (setup) => {
      assert.isAbove((await collect(await setup.client.models.list())).length, 0)
      await setup.client.moderations.create({ input: "hello" })
      await setup.client.responses.inputTokens.count({ model: "gpt-4o-mini", input: "hello" })
      await setup.client.files.delete("file-1")
      assert.strictEqual(setup.moments.length, 0)
      assert.strictEqual(setup.provider.requests.length, 4)
    })
  )
})

// -- Wrapping -------------------------------------------------------------------------------------------------

describe("wrapping", () => {
  it(
    "twice answers the same client",
    withSession(async (setup) => {
      assert.strictEqual(setup.session.wrapOpenAI(setup.client), setup.client)
      assert.notStrictEqual(setup.client, setup.plain)
      assert.strictEqual(setup.client.constructor, OpenAI)
      await setup.session.wrapOpenAI(setup.client).chat.completions.create(capped)
      await assertBooks(setup, "metered")
    })
  )

  it(
    "the same client twice, or over session.fetch, charges each call once",
    withSession(async (setup) => {
      const { session, plain, client, provider } = setup
      const again = session.wrapOpenAI(plain)
      const over = session.wrapOpenAI(plain.withOptions({ fetch: session.fetch }))
      const unwrapped = plain.withOptions({ fetch: session.fetch })
      for (const each of [client, again, over, unwrapped]) await each.chat.completions.create(hello)
      assert.strictEqual(session.getSummary().calls, 4)
      assert.strictEqual(provider.requests.length, 4)
      await assertBooks(setup, "metered")
    })
  )

  it(
    "by two sessions charges both, whichever clone is used; a third wrap by the first changes nothing",
    withSession(async (setup) => {
      const { provider, client } = setup
      const host = new URL(provider.origin).host
      const other = new BudgetedSession({ budgetUsd: 1, hosts: { [host]: { takesTier: true } } })
      const both = other.wrapOpenAI(client)
      assert.strictEqual(setup.session.wrapOpenAI(both), both)
      await both.chat.completions.create(hello)
      await both.withOptions({ timeout: 5_000 }).chat.completions.create(hello)
      let own = 0
      const fetch: typeof globalThis.fetch = (input, init) => {
        own++
        return globalThis.fetch(input, init)
      }
      await collect(await both.withOptions({ fetch }).chat.completions.create(streamed))
      assert.strictEqual(own, 1)
      await assertBooks(setup, "metered")
      await assertBooks({ provider, session: other }, "metered")
      assert.strictEqual(setup.session.getSummary().calls, 3)
      await other.close()
    })
  )

  it(
    "by two sessions, one of them out of money: nothing is sent and nothing is charged",
    withSession(async (setup) => {
      const host = new URL(setup.provider.origin).host
      const poor = new BudgetedSession({ budgetUsd: "0.000001", hosts: { [host]: {} } })
      for (const both of [
        poor.wrapOpenAI(setup.client),
        setup.session.wrapOpenAI(poor.wrapOpenAI(setup.plain))
      ]) {
        const error = await failureOf(both.chat.completions.create(capped))
        assert.instanceOf(error, BudgetExceededError)
        assert.instanceOf(error, OpenAI.OpenAIError)
      }
      await assertBooks(setup, "nothing")
      await poor.close()
    })
  )

  it(
    "lasts through clones: with a fetch of the user's, another base URL, another timeout",
    withSession(async (setup) => {
      const { client, provider, session } = setup
      const seen: Array<string> = []
      const fetch: typeof globalThis.fetch = (input, init) => {
        seen.push(typeof init?.body === "string" ? init.body : "")
        return globalThis.fetch(input, init)
      }
      const mine = client.withOptions({ fetch })
      await mine.chat.completions.create(hello)
      await mine.withOptions({ timeout: 9_000 }).chat.completions.create(hello)
      await client.withOptions({ baseURL: `${provider.origin}/openai/v1` }).models.list()
      assert.strictEqual(seen.length, 2)
      assert.include(seen[1], "max_completion_tokens", "the user's fetch is below the budget")
      assert.strictEqual(session.getSummary().calls, 2)
      assert.strictEqual(provider.requests[2]?.path, "/openai/v1/models")
      await assertBooks(setup, "metered")
    })
  )

  it(
    "takes a subclass, and keys that are functions",
    withSession(async (setup) => {
      class Mine extends OpenAI {
        greet(): Promise<unknown> {
          return this.chat.completions.create(capped)
        }
      }
      const raw = new Mine({ baseURL: setup.provider.baseURL, apiKey: () => Promise.resolve("sk-later") })
      const mine = setup.session.wrapOpenAI(raw)
      assert.instanceOf(mine, Mine)
      await mine.greet()
      assert.strictEqual(setup.provider.requests[0]?.headers.authorization, "Bearer sk-later")
      await assertBooks(setup, "metered")
    })
  )

  it(
    "keeps the key that was assigned to the client, by whichever budget it is wrapped",
    withSession(async ({ plain, provider, session }) => {
      const other = new BudgetedSession({ budgetUsd: 1 })
      plain.apiKey = "assigned"
      const client = session.wrapOpenAI(plain)
      await client.chat.completions.create(capped)
      client.apiKey = "assigned again"
      await other.wrapOpenAI(client).chat.completions.create(capped)
      assert.deepStrictEqual(
        provider.requests.map(({ headers }) => headers.authorization),
        ["Bearer assigned", "Bearer assigned again"]
      )
    })
  )

  class Deaf extends OpenAI {
    constructor() {
      super({ apiKey: "none", baseURL: "http://localhost/v1" })
    }
  }
  class Loud extends OpenAI {
    constructor(options: { readonly apiKey: string; readonly fetch?: unknown }) {
      super({ apiKey: options.apiKey })
      if (options.fetch !== undefined) throw new TypeError("apiKey sk-loud has a fetch")
    }
  }

  it.each<readonly [string, () => OpenAI, string]>([
    ["sends with another fetch", () => new Deaf(), "does not send with the fetch it is given"],
    ["throws", () => new Loud({ apiKey: "sk-loud" }), "cannot be cloned with another fetch (TypeError)"]
  ])("fails for a subclass whose clone %s, and says how it is to be made", async (_, make, detail) => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const error = await failureOf(start(() => session.wrapOpenAI(make())))
    assert.instanceOf(error, BudgetRefusedError)
    assert.strictEqual(error.reason._tag, "UnsupportedTransport")
    assert.include(error.message, detail)
    assert.include(error.message, "hand all of them to super")
    assert.notInclude(error.message, "sk-loud")
  })

  it(
    "fails where the client's sending or sockets cannot be watched",
    withSession(async ({ session, plain }) => {
      for (const part of ["_buildWebSocketHeaders", "makeStatusError", "requestAPIList", "fetch"]) {
        const strange = plain.withOptions({})
        Object.defineProperty(strange, part, { value: undefined })
        const error = await failureOf(start(() => session.wrapOpenAI(strange)))
        assert.instanceOf(error, BudgetRefusedError)
        assert.strictEqual(error.reason._tag, "UnsupportedTransport")
      }
      for (const part of ["_options", "authHeaders"]) {
        const strange = new AzureOpenAI({ endpoint: "http://localhost", apiKey: "none", apiVersion: "v1" })
        Object.defineProperty(strange, part, { value: undefined })
        assert.instanceOf(await failureOf(start(() => session.wrapOpenAI(strange))), BudgetRefusedError)
      }
    })
  )

  it(
    "sends what a client for Azure asks, by its key or its token, also where its headers take their time",
    withSession(
      async ({ provider }) => {
        class Later extends AzureOpenAI {
          protected override async authHeaders(options: Parameters<AzureOpenAI["buildRequest"]>[0]) {
            await Promise.resolve()
            return super.authHeaders(options)
          }
        }
        const azure = { endpoint: provider.origin, apiVersion: "2024-10-21", deployment: "my-mini" }
        const azureADTokenProvider = () => Promise.resolve("azure-token")
        await using session = new BudgetedSession({ budgetUsd: 1, models: { "my-mini": "gpt-4o-mini" } })
        for (const Client of [AzureOpenAI, Later]) {
          for (const credential of [{ apiKey: "azure-key" }, { azureADTokenProvider }]) {
            const client = session.wrapOpenAI(new Client({ ...azure, ...credential }))
            await client.chat.completions.create(capped)
            await client.withOptions({ timeout: 9_000 }).chat.completions.create(capped)
          }
        }
        assert.deepStrictEqual(
          provider.requests.map(({ headers }) => headers["api-key"] ?? headers.authorization),
          [1, 2].flatMap(() => ["azure-key", "azure-key", "Bearer azure-token", "Bearer azure-token"])
        )
        await assertBooks({ provider, session }, "metered")
      },
      { provider: { deployments: { "my-mini": "gpt-4o-mini" } } }
    )
  )

  it(
    "takes Azure: the deployment decides the model, by the alias; one without an alias is refused",
    withSession(
      async ({ provider, session: elsewhere }) => {
        const models = { "my-mini": "gpt-4o-mini" }
        const hosts = { [new URL(provider.origin).host]: { provider: "azure.ai.openai" } }
        await using session = new BudgetedSession({ budgetUsd: 1, models, hosts })
        const azure = { endpoint: provider.origin, apiKey: "azure-none", apiVersion: "2024-10-21" }
        const byModel = session.wrapOpenAI(new AzureOpenAI(azure))
        await byModel.chat.completions.create({ ...hello, model: "my-mini" })
        const fixed = session.wrapOpenAI(new AzureOpenAI({ ...azure, deployment: "my-mini" }))
        await fixed.chat.completions.create({ ...hello, model: "text-embedding-3-small" })
        await collect(await fixed.withOptions({ timeout: 9_000 }).chat.completions.create(streamed))
        assert.strictEqual(
          provider.requests[1]?.path,
          "/openai/deployments/my-mini/chat/completions?api-version=2024-10-21"
        )
        const baseURL = `${provider.origin}/openai/deployments/my-mini`
        const rooted = session.wrapOpenAI(
          new AzureOpenAI({ baseURL, apiKey: "azure-none", apiVersion: "2024-10-21" })
        )
        await rooted.chat.completions.create({ ...hello, model: "text-embedding-3-small" })
        assert.strictEqual(provider.requests.length, 4)
        await assertBooks({ provider, session }, "metered")
        assert.strictEqual(session.getSummary().overrunUsd, 0, "quoted as the deployment's model")

        const unknown = await failureOf(byModel.chat.completions.create({ ...hello, model: "my-other" }))
        assert.instanceOf(unknown, BudgetRefusedError)
        assert.strictEqual(unknown.reason._tag, "UnknownModel")

        const other = elsewhere.wrapOpenAI(new AzureOpenAI({ ...azure, deployment: "gpt-4o-mini" }))
        const dearer = await failureOf(other.chat.completions.create({ ...hello, model: "gpt-4" }))
        assert.instanceOf(dearer, BudgetRefusedError)
        assert.strictEqual(dearer.reason._tag, "UnboundedRequest")
        assert.strictEqual(provider.requests.length, 4)
      },
      { provider: { deployments: { "my-mini": "gpt-4o-mini" } } }
    )
  )

  it.each([
    ["/api/v1", "/chat/completions"],
    ["/serving", "/completions"],
    ["/a/b/c", "/embeddings"]
  ])(
    "says of the root %s, where hosts do not keep the API, how a fetch is told of it",
    async (root, below) => {
      await withSession(async ({ provider }) => {
        const hosts = { [new URL(provider.origin).host]: {} }
        await using session = new BudgetedSession({ budgetUsd: 1, hosts })
        const init = { method: "POST", body: JSON.stringify(capped) }
        const error = await failureOf(orThrown(session.fetch(provider.origin + root + below, init)))
        assert.instanceOf(error, BudgetRefusedError)
        assert.strictEqual(error.reason._tag, "UnsupportedTransport")
        assert.include(error.message, `BudgetedFetch.make({ baseURL: "${provider.origin}${root}" })`)
        assert.strictEqual(provider.requests.length, 0)
        assert.strictEqual(session.getSummary().refused, 1)
      })()
    }
  )

  it.each([
    ["by a gateway that is not named: charged whole", {}, "assumed"],
    ["by one that is named otherwise: free", { provider: "openai" }, "released"]
  ] as const)("a 400 of an Azure client is, %s", async (_, host, verdict) => {
    await withSession(async ({ provider }) => {
      const hosts = { [new URL(provider.origin).host]: host }
      await using session = new BudgetedSession({ budgetUsd: 1, hosts })
      const options = { endpoint: provider.origin, apiKey: "azure-none", apiVersion: "2024-10-21" }
      const client = session.wrapOpenAI(new AzureOpenAI({ ...options, maxRetries: 0 }))
      provider.setBehaviour(() => Behaviours.status(400))
      const error = await failureOf(client.chat.completions.create(capped))
      assert.instanceOf(error, OpenAI.BadRequestError)
      assert.strictEqual(session.getTotalSpent() > 0, verdict === "assumed")
      assert.strictEqual(session.getSummary().reservedUsd, 0)
    })()
  })

  it.each([
    ["score", 0],
    ["block", 1]
  ] as const)(
    "a 403 where answers are moderated (%s): an answer that is held back was paid for",
    async (mode, n) => {
      await withSession(async ({ client, provider, session }) => {
        provider.setBehaviour(() => Behaviours.status(403))
        const moderation = { model: "omni-moderation-latest", policy: { output: { mode } } }
        await failureOf(client.chat.completions.create({ ...capped, moderation }))
        const { calls, reservedUsd, spentUsd } = session.getSummary()
        assert.deepStrictEqual([calls, spentUsd > 0, reservedUsd], [n, n === 1, 0])
      })()
    }
  )

  it(
    "takes Bedrock with a bearer token",
    withSession(
      async (setup) => {
        const baseURL = `${setup.provider.origin}/openai/v1`
        const deployments = setup.session.wrapOpenAI(new BedrockOpenAI({ baseURL, apiKey: "bedrock-none" }))
        assert.instanceOf(deployments, BedrockOpenAI)
        const answer = await deployments.responses.create({
          model: "gpt-4o-mini",
          input: "hi",
          max_output_tokens: 50
        })
        assert.strictEqual(answer.object, "response")
        await assertBooks(setup, "metered")
      },
      { provider: { deployments: { "gpt-4o-mini": "gpt-4o-mini" } } }
    )
  )
})

// -- Concurrency ----------------------------------------------------------------------------------------------

describe("200 calls at once on $0.50", () => {
  /** About a cent each at most: 16,384 tokens of output at $0.60 a million. */
  const behaviour = (): Behaviour => ({ outputTokens: 9_000 })

  it(
    "the bill never passes the budget, and every paid answer reaches its caller",
    withSession(
      async (setup) => {
        const body = { ...hello, max_completion_tokens: 10_000 }
        const results = await Promise.allSettled(
          Array.from({ length: 200 }, () => setup.client.chat.completions.create(body))
        )
        const answered = results.filter(({ status }) => status === "fulfilled")
        for (const result of results) {
          if (result.status === "rejected") assert.instanceOf(result.reason, BudgetExceededError)
        }
        await assertBooks(setup, "metered")
        assert.strictEqual(setup.provider.bill().calls.length, answered.length)
        assert.isAbove(answered.length, 70)
        assert.isBelow(answered.length, 200)
        assert.isAtMost(setup.session.getTotalSpent(), 0.5)
      },
      { budgetUsd: "0.50", provider: { behaviour } }
    )
  )

  for (const uncapped of [false, true]) {
    it(
      `with waiting, at least 90 % of it is used before the rest is refused (${uncapped ? "uncapped" : "capped"})`,
      withSession(
        async (setup) => {
          // Caps of ours shrink with what is left: more calls fit.
          const count = uncapped ? 1_000 : 200
          const body = uncapped ? hello : { ...hello, max_completion_tokens: 10_000 }
          const results = await Promise.allSettled(
            Array.from({ length: count }, () => setup.client.chat.completions.create(body))
          )
          const answered = results.filter(({ status }) => status === "fulfilled").length
          for (const result of results) {
            if (result.status === "rejected") assert.instanceOf(result.reason, BudgetExceededError)
          }
          await assertBooks(setup, "metered")
          assert.strictEqual(setup.provider.bill().calls.length, answered)
          assert.isBelow(answered, count)
          assert.isAtLeast(setup.session.getTotalSpent(), 0.45)
          assert.isAtMost(setup.session.getTotalSpent(), 0.5)
        },
        { budgetUsd: "0.50", onExceeded: "wait", provider: { behaviour } }
      )
    )
  }
})

// -- The Effect face ------------------------------------------------------------------------------------------

describe("the service", () => {
  const withProvider = <A, E>(
    use: (
      provider: SimulatedProvider,
      watched: ReturnType<typeof watchedLedger>
    ) => Effect.Effect<A, E, BudgetedOpenAi.BudgetedOpenAi | Budget.Budget>,
    limit = "1"
  ) =>
    Effect.gen(function* () {
      const provider = yield* Effect.acquireRelease(
        Effect.promise(() => SimulatedProvider.start({ prices })),
        (each) => Effect.promise(() => each.close())
      )
      const watched = watchedLedger()
      const Live = BudgetedOpenAi.layer({
        apiKey: Redacted.make("none"),
        baseURL: provider.baseURL,
        maxRetries: 0
      }).pipe(
        Layer.provideMerge(Budget.layer({ limit: Usd.dollars(limit) })),
        Layer.provide(Layer.succeed(Ledger.Ledger, watched.ledger)),
        Layer.provide(Pricing.layer)
      )
      const result = yield* Effect.provide(use(provider, watched), Live)
      assertNeverAbove(watched.moments)
      return result
    }).pipe(Effect.scoped)

  const ask = Effect.gen(function* () {
    const openai = yield* BudgetedOpenAi.BudgetedOpenAi
    return yield* openai.use((client, signal) => client.chat.completions.create(capped, { signal }))
  })

  /** Waits for what is settled behind an answer's back, on the real clock. */
  const quiet = Effect.gen(function* () {
    const budget = yield* Budget.Budget
    for (let turn = 0; turn < 500 && budget.outstanding().length > 0; turn++) {
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
    }
    return yield* Budget.balance
  })

  it.effect("charges a thousand fibers that share a client each to its own account and to all above", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        const agents = Array.from({ length: 1_000 }, (_, i) => i)
        const teams = yield* Effect.forEach(
          [0, 1],
          (team) =>
            Effect.gen(function* () {
              const spent = yield* Effect.forEach(
                agents.filter((agent) => agent % 2 === team),
                (agent) =>
                  Effect.gen(function* () {
                    const answer = yield* ask
                    const { account, spent } = yield* Budget.balance
                    assert.strictEqual(account, `root/team-${team}/agent-${agent}`)
                    return { id: answer.id, spent }
                  }).pipe(Budget.within({ account: `agent-${agent}`, limit: Usd.dollars("0.01") })),
                { concurrency: "unbounded" }
              )
              return { spent, team: yield* Budget.balance }
            }).pipe(Budget.within({ account: `team-${team}` })),
          { concurrency: "unbounded" }
        )
        const bill = provider.bill()
        const owed = new Map(bill.calls.map(({ id, nanoUsd }) => [id, Number(nanoUsd)]))
        for (const { spent, team } of teams) {
          for (const each of spent) assert.strictEqual(each.spent, owed.get(each.id))
          assert.strictEqual(
            team.spent,
            spent.reduce((sum, each) => sum + each.spent, 0)
          )
        }
        assert.strictEqual((yield* Budget.balance).spent, Number(bill.totalNanoUsd))
        assert.strictEqual(bill.calls.length, 1_000)
        assert.strictEqual((yield* Budget.balances).length, 1, "the agents' accounts have closed")
      })
    )
  )

  it.effect(
    "refuses a fiber that calls the client itself what its account has no room for, also a list",
    () =>
      Effect.gen(function* () {
        const fetch = () => Promise.resolve(Response.json({ object: "list", data: [] }))
        const client = yield* BudgetedOpenAi.wrap(new OpenAI({ apiKey: "none", fetch }))
        const search = Effect.gen(function* () {
          const refused = yield* Effect.promise(() =>
            failureOf(client.vectorStores.search("vs_1", { query: "bees" }))
          )
          assert.instanceOf(refused, BudgetExceededError)
        })
        yield* Budget.within(search, { account: "small", limit: Usd.dollars("0.001") })
        assert.strictEqual((yield* Budget.summary).spent, 0)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            BudgetedFetch.layer({ endpoints: { "POST /vector_stores/*/search": { maxUsd: "0.0025" } } }),
            Budget.layerMemory({ limit: Usd.dollars("1") }),
            Pricing.layer
          )
        )
      )
  )

  it.effect("refuses with a typed error what an agent may not spend, and nobody else's calls", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          Budget.within(ask, { account: "poor", limit: Usd.dollars("0.00001") })
        )
        assert.strictEqual(error._tag, "BudgetError")
        assert.strictEqual(error._tag === "BudgetError" && error.reason._tag, "BudgetExceeded")
        assert.strictEqual(provider.requests.length, 0)
        yield* Budget.within(ask, { account: "rich" })
        assert.strictEqual(provider.requests.length, 1)
      })
    )
  )

  it.effect("fails with OpenAiError what the provider refuses", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        provider.next(Behaviours.status(400))
        const error = yield* Effect.flip(ask)
        assert.strictEqual(error._tag, "OpenAiError")
        assert.instanceOf(error.cause, OpenAI.BadRequestError)
      })
    )
  )

  it.effect("interrupting the fiber aborts the request and settles it", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        provider.next(Behaviours.hangBeforeHeaders)
        const fiber = yield* Effect.forkChild(Budget.within(ask, { account: "gone" }))
        yield* Effect.promise(() => provider.arrived(1))
        yield* Fiber.interrupt(fiber)
        const { spent, reserved } = yield* quiet
        assert.strictEqual(reserved, 0)
        yield* Effect.promise(() => provider.idle())
        assert.isTrue(provider.requests[0]?.aborted)
        assert.isAtLeast(spent, Number(provider.bill().totalNanoUsd))
        assert.isAbove(spent, 0)
      })
    )
  )

  const words = Stream.unwrap(
    Effect.map(BudgetedOpenAi.BudgetedOpenAi, (openai) =>
      openai.stream((client, signal) => client.chat.completions.create(streamed, { signal }))
    )
  )

  it.effect("a stream's reservation lives exactly as long as the stream", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        const gate = new Gate()
        provider.next(Behaviours.stepped(gate))
        assert.strictEqual((yield* Budget.balance).reserved, 0)
        const first = yield* Deferred.make<true>()
        const fiber = yield* Effect.forkChild(Stream.runForEach(words, () => Deferred.succeed(first, true)))
        gate.release(3)
        yield* Deferred.await(first)
        assert.isAbove((yield* Budget.balance).reserved, 0)
        gate.open()
        yield* Fiber.join(fiber)
        const { spent, reserved } = yield* quiet
        assert.strictEqual(reserved, 0)
        assert.strictEqual(spent, Number(provider.bill().totalNanoUsd))
      })
    )
  )

  for (const [name, leave] of Object.entries({
    "taking its first items": (first: Deferred.Deferred<true>) =>
      words.pipe(
        Stream.take(2),
        Stream.runForEach(() => Deferred.succeed(first, true))
      ),
    "interruption of its fiber": (first: Deferred.Deferred<true>) =>
      Stream.runForEach(words, () => Effect.andThen(Deferred.succeed(first, true), Effect.never))
  })) {
    it.effect(`a stream left by ${name} aborts its request and is charged whole`, () =>
      withProvider((provider) =>
        Effect.gen(function* () {
          const gate = new Gate()
          gate.release(5)
          provider.next(Behaviours.stepped(gate))
          const first = yield* Deferred.make<true>()
          const fiber = yield* Effect.forkChild(leave(first))
          yield* Deferred.await(first)
          if (name.startsWith("interruption")) yield* Fiber.interrupt(fiber)
          assert.isTrue(Exit.isExit(yield* Fiber.await(fiber)))
          const { spent, reserved } = yield* quiet
          assert.strictEqual(reserved, 0)
          yield* Effect.promise(() => provider.idle())
          assert.isTrue(provider.requests[0]?.aborted)
          assert.isAbove(spent, Number(provider.bill().totalNanoUsd))
        })
      )
    )
  }

  it.effect("a stream that is interrupted before its headers aborts its request and is charged whole", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        provider.next(Behaviours.hangBeforeHeaders)
        const fiber = yield* Effect.forkChild(Stream.runDrain(words))
        yield* Effect.promise(() => provider.arrived(1))
        yield* Fiber.interrupt(fiber)
        const { spent, reserved } = yield* quiet
        assert.strictEqual(reserved, 0)
        yield* Effect.promise(() => provider.idle())
        assert.isTrue(provider.requests[0]?.aborted)
        assert.isAtLeast(spent, Number(provider.bill().totalNanoUsd))
      })
    )
  )

  it.effect("a client that cannot be made fails, by the client's own error", () =>
    Effect.gen(function* () {
      const Live = BudgetedOpenAi.layer({ apiKey: Redacted.make("") }).pipe(
        Layer.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer))
      )
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Live)))
      assert.instanceOf(error, BudgetedOpenAi.OpenAiError)
      assert.instanceOf(error.cause, OpenAI.OpenAIError)
      assert.include(error.message, "apiKey")
    })
  )

  it.effect("a client of one's own is wrapped for it", () =>
    withProvider((provider) =>
      Effect.gen(function* () {
        const raw = new OpenAI({ baseURL: provider.baseURL, apiKey: "none" })
        const Mine = Layer.provide(
          BudgetedOpenAi.layerClient(() => raw),
          Pricing.layer
        )
        yield* Effect.provide(ask, Mine)
        assert.strictEqual((yield* Budget.balance).spent, Number(provider.bill().totalNanoUsd))
      })
    )
  )
})

describe("clones of clones", () => {
  it("keep none of those before them: a program may take a new key each hour for weeks", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    let client = session.wrapOpenAI(new OpenAI({ apiKey: "none" }))
    const before: Array<WeakRef<OpenAI>> = []
    for (let clone = 0; clone < 50; clone++) {
      before.push(new WeakRef(client))
      client = client.withOptions({ apiKey: `none ${clone}` })
    }
    // What a reference was just made to is kept up to the end of the turn.
    await new Promise((resolve) => setImmediate(resolve))
    collectGarbage()
    assert.isBelow(before.filter((each) => each.deref() !== undefined).length, 10)
    assert.strictEqual(client.apiKey, "none 49")
  })
})
