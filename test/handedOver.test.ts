/** What a caller hands to `fetch` in any form that it takes is sent as it would be, and is his to leave. */
import { assert, describe, it } from "@effect/vitest"
import { BudgetedSession } from "agent-budget"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import OpenAI from "openai"
import { assumedNano, reservedNano, settled, spentNano } from "./utils/openAi.ts"
import {
  answer,
  assertMetered,
  chunk,
  delta,
  events,
  nanoOf,
  sse,
  under,
  usage
} from "./utils/stubProvider.ts"

const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] })
const json = { "content-type": "application/json" }

/** A server of its own, over real HTTP. */
const serving = async (
  serve: (request: IncomingMessage, response: ServerResponse, body: string) => void,
  use: (origin: string) => Promise<void>
): Promise<void> => {
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (each: Buffer) => chunks.push(each))
    request.on("end", () => serve(request, response, Buffer.concat(chunks).toString()))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

const answering = (_: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(200, json)
  response.end(JSON.stringify(answer))
}

const sessionFor = (
  origin: string,
  options: Partial<ConstructorParameters<typeof BudgetedSession>[0]> = {}
): BudgetedSession => new BudgetedSession({ budgetUsd: 1, hosts: { [new URL(origin).host]: {} }, ...options })

describe("a request that says how long its body is", () => {
  const headers = { ...json, "content-length": String(Buffer.byteLength(body)) }

  it("is read by the server, although a cap is written into it", () =>
    serving(answering, async (origin) => {
      await using session = sessionFor(origin)
      const signal = AbortSignal.timeout(5_000)
      const init = { method: "POST", body, headers, signal }
      const response = await session.fetch(`${origin}/v1/chat/completions`, init)
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(await response.json(), answer)
      await assertMetered(session, nanoOf(10, 20))
    }))

  it("keeps the headers that it was given", () =>
    serving(answering, async (origin) => {
      await using session = sessionFor(origin)
      const own = new Headers(headers)
      const signal = AbortSignal.timeout(5_000)
      const init = { method: "POST", body, headers: own, signal }
      const response = await session.fetch(`${origin}/v1/chat/completions`, init)
      assert.deepStrictEqual(await response.json(), answer)
      assert.strictEqual(own.get("content-length"), headers["content-length"])
    }))
})

describe("options that are no plain object", () => {
  class Options {
    get method(): string {
      return "POST"
    }
    get body(): string {
      return body
    }
    get headers(): Record<string, string> {
      return json
    }
  }

  it("are read by their names, as fetch reads them", () =>
    serving(answering, async (origin) => {
      await using session = sessionFor(origin)
      const response = await session.fetch(`${origin}/v1/chat/completions`, new Options())
      assert.deepStrictEqual(await response.json(), answer)
      await assertMetered(session, nanoOf(10, 20))
    }))

  it("may be null, which is none", () =>
    serving(answering, async (origin) => {
      await using session = sessionFor(origin)
      // As callers without types write it.
      const none = JSON.parse("null") as undefined
      const response = await session.fetch(`${origin}/v1/models`, none)
      assert.deepStrictEqual(await response.json(), answer)
      assert.strictEqual(spentNano(session), 0)
    }))

  it("are a Request, whose body goes where the user's own maximum bounds it", () =>
    serving(
      (request, response, text) => response.end(`${request.method ?? ""} ${text}`),
      async (origin) => {
        const endpoints = { "POST /images/generations": { maxUsd: "0.1" } }
        await using session = sessionFor(origin, { endpoints })
        const url = `${origin}/v1/images/generations`
        const request = new Request(url, { method: "POST", body: "{}", headers: json })
        const response = await session.fetch(url, request)
        assert.strictEqual(await response.text(), "POST {}")
        assert.strictEqual(spentNano(session), 100_000_000)
      }
    ))
})

describe("a body of bytes that passes two budgeted fetches", () => {
  it.each([
    ["as text", body],
    ["as bytes", Buffer.from(body)]
  ])("is charged once, %s", (_, sent) =>
    serving(answering, async (origin) => {
      const endpoints = { "POST /images/generations": { maxUsd: "0.1" } }
      await using session = sessionFor(origin, { endpoints })
      for (const path of ["/v1/images/generations", "/v1/chat/completions"]) {
        const before = session.getSummary().calls
        const outer = session.wrapOpenAI(
          new OpenAI({
            apiKey: "none",
            baseURL: `${origin}/v1`,
            maxRetries: 0,
            fetch: (url, init) => session.fetch(url, init)
          })
        )
        await outer.post(path.slice(3), { body: sent, headers: json })
        await settled(session)
        assert.strictEqual(session.getSummary().calls, before + 1, path)
      }
    })
  )
})

describe("an abort after the response has come, where answers are read on in the background", () => {
  const endless = (status: number) => (request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, json)
    response.write("{")
    request.socket.on("close", () => response.destroy())
  }

  it.each([
    ["of an error", 400, "/chat/completions"],
    ["of a call at the user's own maximum", 200, "/audio/speech"]
  ])("lets its reader go, and the server, %s", (_, status, path) => {
    let closed: Promise<void> = Promise.resolve()
    return serving(
      (request, response) => {
        closed = new Promise((resolve) => request.socket.on("close", () => resolve()))
        endless(status)(request, response)
      },
      async (origin) => {
        const endpoints = { "POST /audio/speech": { maxUsd: "0.1" } }
        await using session = sessionFor(origin, { abandoned: "drain", endpoints })
        const caller = new AbortController()
        const init = { method: "POST", body, headers: json, signal: caller.signal }
        const response = await session.fetch(`${origin}/v1${path}`, init)
        assert.strictEqual(response.status, status)
        const reading = response.text()
        caller.abort()
        const error: unknown = await reading.then(
          () => assert.fail("It was read."),
          (thrown: unknown) => thrown
        )
        assert.propertyVal(error, "name", "AbortError")
        await closed
        assert.strictEqual(reservedNano(session), 0)
      }
    )
  })
})

describe("a stream", () => {
  const ask = { model: "gpt-4o-mini", messages: [{ role: "user" as const, content: "hi" }], max_tokens: 100 }
  const early = { choices: [], usage: { prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 } }

  it("that tells a usage before its answer is billed by the last one, and shows neither to who asked for none", () =>
    under(
      () => events(sse(chunk(early), chunk(delta), chunk({ choices: [], usage }), "[DONE]")),
      async (client, session) => {
        const seen: Array<number> = []
        for await (const each of await client.chat.completions.create({ ...ask, stream: true })) {
          seen.push(each.choices.length)
        }
        assert.deepStrictEqual(seen, [1])
        await assertMetered(session, nanoOf(10, 20))
      }
    ))

  it("that ends with a usage without output, and wrote nothing, is billed by it", () =>
    under(
      () => events(sse(chunk({ choices: [{ index: 0, delta: { content: "" } }] }), chunk(early), "[DONE]")),
      async (client, session) => {
        for await (const each of await client.chat.completions.create({ ...ask, stream: true })) {
          assert.strictEqual(each.choices.length, 1)
        }
        await assertMetered(session, nanoOf(10, 0))
      }
    ))

  describe.each(["application/json", "text/event-stream", "text/plain"])("under the label %s", (label) => {
    const labelled = (text: string) => () => {
      const body = new ReadableStream({
        start: (controller) => {
          // Blank space may come first, in a chunk of its own, and the rest may be cut anywhere.
          for (const part of ["\uFEFF\t\r\n", text.slice(0, 30), text.slice(30)]) {
            controller.enqueue(new TextEncoder().encode(part))
          }
          controller.close()
        }
      })
      return new Response(body, { headers: { "content-type": label } })
    }

    it("is known by how it begins", () =>
      under(labelled(sse(chunk(delta), chunk({ choices: [], usage }), "[DONE]")), async (client, session) => {
        let shown = 0
        for await (const each of await client.chat.completions.create({ ...ask, stream: true })) {
          assert.lengthOf(each.choices, 1)
          shown++
        }
        assert.strictEqual(shown, 1)
        await assertMetered(session, nanoOf(10, 20))
      }))

    it("may be none, but one body, which is billed by what it says", () =>
      under(labelled(JSON.stringify(answer)), async (client, session) => {
        const response = await client.chat.completions.create({ ...ask, stream: true }).asResponse()
        assert.deepStrictEqual(await response.json(), answer)
        await assertMetered(session, nanoOf(10, 20))
      }))
  })

  it("is as long as what is left of it, where it said how long it is", () => {
    const text = sse(chunk(delta), chunk({ choices: [], usage }), "[DONE]")
    const headers = { "content-type": "text/event-stream", "content-length": String(text.length) }
    return under(
      () => new Response(text, { headers }),
      async (client, session) => {
        const hidden = await client.chat.completions.create({ ...ask, stream: true }).asResponse()
        assert.isNull(hidden.headers.get("content-length"))
        assert.isBelow((await hidden.text()).length, text.length)
        const asked = { ...ask, stream: true as const, stream_options: { include_usage: true } }
        const whole = await client.chat.completions.create(asked).asResponse()
        assert.strictEqual(whole.headers.get("content-length"), String(text.length))
        assert.strictEqual(await whole.text(), text)
        await assertMetered(session, 2 * nanoOf(10, 20))
      }
    )
  })
})

describe("an answer with a byte order mark", () => {
  it.each(["assume", "drain"] as const)("is billed by what it says (%s)", (abandoned) =>
    under(
      () => new Response(`\uFEFF${JSON.stringify(answer)}`, { headers: json }),
      async (client, session) => {
        const said = await client.chat.completions.create({ model: "gpt-4o-mini", messages: [] })
        assert.strictEqual(said.choices[0]?.message.content, "Hi")
        await assertMetered(session, nanoOf(10, 20))
        assert.strictEqual(assumedNano(session), 0)
      },
      { abandoned }
    )
  )
})
