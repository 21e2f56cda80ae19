/** What servers answer at the edges of the protocol: it must cost no answer and hide no bill. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedSession, Pricing, Quote, Usage, Usd, type BudgetedFetch } from "agent-budget"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import OpenAI from "openai"
import { capped, streamed } from "./utils/openAi.ts"
import {
  answer,
  assertMetered,
  assertWhole,
  chat,
  chunk,
  delta,
  events,
  fetching,
  nanoOf,
  sse,
  under,
  usage
} from "./utils/stubProvider.ts"

const pricing = await Effect.runPromise(Pricing.make())

describe("a response that cannot be rebuilt", () => {
  /** A server of its own making, which says a reason phrase that no Response may have. */
  const saying = async (phrase: string, type: string, body: string) => {
    let asked = 0
    const server = createServer((socket) => {
      socket.on("error", () => undefined)
      socket.once("data", () => {
        asked++
        const length = Buffer.byteLength(body)
        const head = `HTTP/1.1 200 ${phrase}\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\nconnection: close`
        socket.end(`${head}\r\n\r\n${body}`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const close = () => new Promise((resolve) => server.close(resolve))
    return { host, asked: () => asked, close }
  }
  const stream = sse(chunk(delta), chunk({ choices: [], usage }), "[DONE]")

  for (const phrase of ["中", "\u0001\u007f"]) {
    for (const abandoned of ["assume", "drain"] as const) {
      for (const kind of ["JSON", "stream"] as const) {
        it(`${kind} with the reason phrase ${JSON.stringify(phrase)}, ${abandoned}: answered, sent once, metered`, async () => {
          const [type, body] =
            kind === "JSON" ? ["application/json", JSON.stringify(answer)] : ["text/event-stream", stream]
          const server = await saying(phrase, type, body)
          const session = new BudgetedSession({
            budgetUsd: 1,
            abandoned,
            hosts: { [server.host]: { takesTier: true } }
          })
          try {
            const client = session.wrapOpenAI(
              new OpenAI({ apiKey: "none", baseURL: `http://${server.host}/v1`, maxRetries: 2 })
            )
            if (kind === "JSON") {
              const { choices } = await client.chat.completions.create(capped)
              assert.strictEqual(choices[0]?.message.content, "Hi")
            } else {
              let text = ""
              for await (const each of await client.chat.completions.create(streamed))
                text += each.choices[0]?.delta.content ?? ""
              assert.strictEqual(text, "word ")
            }
            assert.strictEqual(server.asked(), 1)
            await assertMetered(session, nanoOf(10, 20))
          } finally {
            await session.close({ waitAtMost: 0 })
            await server.close()
          }
        })
      }
    }
  }

  it("delivers what cannot be watched, sends it once, and charges the whole of it", () => {
    const broken = (): Response => {
      const response = Response.json(answer)
      const { headers } = response
      let thrown = false
      return Object.defineProperty(response, "headers", {
        get: () => {
          if (thrown) return headers
          thrown = true
          throw new Error("not yet")
        }
      })
    }
    return under(broken, async (client, session, sent) => {
      const { choices } = await client.chat.completions.create(capped)
      assert.strictEqual(choices[0]?.message.content, "Hi")
      assert.strictEqual(sent.length, 1)
      await assertWhole(session)
    })
  })

  it("reads and meters a body that is a stream of Node's", () => {
    const likeResponse = (text: string, type: string) => () =>
      ({
        ok: true,
        status: 200,
        statusText: "OK",
        url: chat,
        headers: new Headers({ "content-type": type }),
        body: Readable.from([Buffer.from(text.slice(0, 20)), Buffer.from(text.slice(20))])
      }) as unknown as Response
    return under(likeResponse(JSON.stringify(answer), "application/json"), async (client, session, sent) => {
      assert.strictEqual((await client.chat.completions.create(capped)).choices[0]?.message.content, "Hi")
      assert.strictEqual(sent.length, 1)
      await assertMetered(session, nanoOf(10, 20))
    })
  })
})

describe("usage", () => {
  const sol = { model: "gpt-6.2-sol", messages: [{ role: "user" as const, content: "x".repeat(4_000) }] }
  const long = { prompt_cache_options: { mode: "explicit", ttl: "12h" } }
  const told = { cache_write_tokens: 400 }
  const split = { ...told, cache_write_tokens_details: { ttl_12h_tokens: 100, ttl_30m_tokens: 300 } }
  // $2 a million read, $2.50 and $5 written, $10 out: 600 read, 400 written, 10 out.
  const rates = { short: 400 * 2_500, long: 400 * 5_000, split: 300 * 2_500 + 100 * 5_000 }
  const cases = [
    ["the 12 hour rate where the request says so", long, told, rates.long],
    ["the 30 minute rate where it does not", {}, told, rates.short],
    ["the split that the response tells, whatever was asked", long, split, rates.split],
    ["the split that the response tells, though nothing was asked", {}, split, rates.split]
  ] as const
  for (const [what, asked, details, written] of cases) {
    for (const api of ["chat", "responses"] as const) {
      it(`books cache writes at ${what} (${api})`, () => {
        const total = { total_tokens: 1_010 }
        const wire =
          api === "chat"
            ? { prompt_tokens: 1_000, completion_tokens: 10, prompt_tokens_details: details, ...total }
            : { input_tokens: 1_000, output_tokens: 10, input_tokens_details: details, ...total }
        const model = { model: sol.model, service_tier: "default" }
        const body =
          api === "chat"
            ? { ...answer, ...model, usage: wire }
            : { id: "resp_1", object: "response", status: "completed", output: [], ...model, usage: wire }
        return under(
          () => Response.json(body),
          async (client, session) => {
            await (api === "chat"
              ? client.post("/chat/completions", { body: { ...sol, ...asked, max_completion_tokens: 100 } })
              : client.post("/responses", {
                  body: {
                    model: sol.model,
                    input: sol.messages[0]?.content,
                    max_output_tokens: 100,
                    ...asked
                  }
                }))
            await assertMetered(session, 600 * 2_000 + written + 10 * 10_000)
          }
        )
      })
    }
  }

  const totals = [
    ["beyond input and output is output", { prompt_tokens: 10, completion_tokens: 5, total_tokens: 25 }],
    ["without an output tells it", { prompt_tokens: 10, total_tokens: 25 }],
    [
      "without an output tells it, also where that is null",
      { prompt_tokens: 10, completion_tokens: null, total_tokens: 25 }
    ]
  ] as const
  for (const [what, wire] of totals) {
    it(`a total ${what}`, () =>
      under(
        () => Response.json({ ...answer, usage: wire }),
        async (client, session) => {
          await client.chat.completions.create(capped)
          await assertMetered(session, nanoOf(10, 15))
          assert.strictEqual(session.getSummary().byModel["gpt-4o-mini"]?.usage.output, 15)
        }
      ))
    it(`a total ${what} (responses)`, () => {
      const { prompt_tokens: input_tokens, total_tokens } = wire
      const output = "completion_tokens" in wire ? { output_tokens: wire.completion_tokens } : {}
      const body = { id: "resp_1", object: "response", status: "completed", model: "gpt-4o-mini", output: [] }
      return under(
        () => Response.json({ ...body, usage: { input_tokens, total_tokens, ...output } }),
        async (client, session) => {
          await client.post("/responses", {
            body: { model: "gpt-4o-mini", input: "Hello there", max_output_tokens: 100 }
          })
          await assertMetered(session, nanoOf(10, 15))
        }
      )
    })
  }

  const nothing = { prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 }
  const wordless = { choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] }

  it("without output beside an answer that has one is charged whole", () =>
    under(
      () => Response.json({ ...answer, usage: nothing }),
      async (client, session) => {
        assert.strictEqual((await client.chat.completions.create(capped)).choices[0]?.message.content, "Hi")
        await assertWhole(session)
      }
    ))

  it("without output beside an answer that has none is metered", () =>
    under(
      () => Response.json({ ...answer, choices: [{ index: 0, message: { content: "" } }], usage: nothing }),
      async (client, session) => {
        await client.chat.completions.create(capped)
        await assertMetered(session, nanoOf(10, 0))
      }
    ))

  const heard = {
    type: "input_audio" as const,
    input_audio: { data: "A".repeat(9_000), format: "wav" as const }
  }
  const aloud = {
    model: "gpt-audio",
    max_completion_tokens: 2_000,
    modalities: ["text" as const, "audio" as const],
    audio: { voice: "alloy", format: "wav" as const }
  }
  const thousand = { prompt_tokens: 1_000, completion_tokens: 1_000, total_tokens: 2_000 }
  const silent = { cached_tokens: 0 }
  const sound = (audio_tokens: number) => ({ audio_tokens })

  it("with audio that does not say how much of it was audio is charged whole", async () => {
    const untold: ReadonlyArray<object> = [
      {},
      { prompt_tokens_details: silent, completion_tokens_details: {} },
      { prompt_tokens_details: sound(900) },
      { completion_tokens_details: sound(900) },
      { prompt_tokens_details: { audio_tokens: null }, completion_tokens_details: sound(900) }
    ]
    for (const details of untold) {
      await under(
        () => Response.json({ ...answer, model: "gpt-audio", usage: { ...thousand, ...details } }),
        async (client, session) => {
          await client.chat.completions.create({ ...aloud, messages: [{ role: "user", content: [heard] }] })
          await assertWhole(session)
        }
      )
    }
  })

  it("with audio is metered where it tells how much, or where there was none to tell of", async () => {
    const told = { prompt_tokens_details: sound(900), completion_tokens_details: sound(0) }
    // $2.50 and $10 a million for text, $32 for what is heard.
    const booked = [100 * 2_500 + 900 * 32_000 + 1_000 * 10_000, 1_000 * 2_500 + 1_000 * 10_000]
    for (const [details, content, modalities, nano] of [
      [told, [heard], aloud.modalities, booked[0]],
      [{}, "Hello", ["text" as const], booked[1]]
    ] as const) {
      await under(
        () => Response.json({ ...answer, model: "gpt-audio", usage: { ...thousand, ...details } }),
        async (client, session) => {
          const messages = [
            { role: "user" as const, content: typeof content === "string" ? content : [...content] }
          ]
          await client.chat.completions.create({ ...aloud, modalities: [...modalities], messages })
          await assertMetered(session, nano ?? 0)
        }
      )
    }
  })

  const call = { index: 0, id: "call_1", type: "function", function: { name: "f", arguments: "" } }
  const written = [
    ["a text", delta],
    ["a refusal", { choices: [{ index: 0, delta: { refusal: "No." } }] }],
    ["a voice", { choices: [{ index: 0, delta: { audio: { id: "audio_1" } } }] }],
    ["a tool call", { choices: [{ index: 0, delta: { tool_calls: [call] } }] }]
  ] as const
  for (const include_usage of [true, false]) {
    const options = { ...streamed, stream_options: { include_usage } }
    const asked = include_usage ? "asked for" : "not asked for"
    const readWhole = async (client: OpenAI): Promise<void> => {
      for await (const each of await client.chat.completions.create(options)) assert.isDefined(each.id)
    }
    for (const [what, wrote] of written) {
      it(`without output at the end of a stream that wrote ${what} is charged whole (${asked})`, () =>
        under(
          () => events(sse(...[wordless, wrote, { choices: [], usage: nothing }].map(chunk), "[DONE]")),
          async (client, session) => {
            await readWhole(client)
            await assertWhole(session)
          }
        ))
    }
    it(`without output at the end of a stream that wrote nothing is metered (${asked})`, () =>
      under(
        () => events(sse(chunk(wordless), "ping", chunk({ choices: [], usage: nothing }), "[DONE]")),
        async (client, session) => {
          await (await client.post("/chat/completions", { body: options }).asResponse()).text()
          await assertMetered(session, nanoOf(10, 0))
        }
      ))

    for (const order of ["before its usage", "with its usage", "after its usage"] as const) {
      it(`a stream that tells its moderation ${order} is metered, and its moderation is read (${asked})`, () => {
        const moderation = { input: { type: "error", code: "c", message: "m" }, output: { results: [1e21] } }
        const alone = { choices: [], moderation, usage: null }
        const bill = { choices: [], usage }
        const last = {
          "before its usage": [alone, bill],
          "with its usage": [{ ...bill, moderation }],
          "after its usage": [bill, alone]
        }[order]
        return under(
          () => events(sse(...[delta, ...last].map(chunk), "[DONE]")),
          async (client, session) => {
            const chunks: Array<{ readonly moderation?: unknown }> = []
            for await (const each of await client.chat.completions.create({
              ...options,
              moderation: { model: "omni-moderation-latest" }
            }))
              chunks.push(each)
            const told = chunks.filter((each) => each.moderation !== undefined)
            assert.deepStrictEqual(
              told.map((each) => each.moderation),
              [moderation]
            )
            assert.strictEqual(chunks.filter((each) => "usage" in each).length > 0, include_usage)
            await assertMetered(session, nanoOf(10, 20))
          }
        )
      })
    }

    const larger = { choices: [], usage }
    for (const abandoned of ["assume", "drain"] as const) {
      for (const how of ["left", "aborted"] as const) {
        it(`a stream that is ${how} behind its usage is metered by it (${asked}, ${abandoned})`, () => {
          const parts = [sse(chunk(delta), chunk(larger)), sse(chunk(delta))]
          const open = () =>
            new ReadableStream<Uint8Array>({
              pull: async (controller) => {
                const part = parts.shift()
                // It stays open behind its last part.
                if (part === undefined) await new Promise(() => undefined)
                else controller.enqueue(new TextEncoder().encode(part))
              }
            })
          return under(
            () => new Response(open(), { headers: { "content-type": "text/event-stream" } }),
            async (client, session) => {
              const aborter = new AbortController()
              const { signal } = aborter
              const response = await client.post("/chat/completions", { body: options, signal }).asResponse()
              const reader = response.body?.getReader()
              await reader?.read()
              if (how === "left") await reader?.cancel()
              else aborter.abort()
              await assertMetered(session, nanoOf(10, 20))
            },
            { abandoned }
          )
        })
      }
    }
  }

  it("told by the event that ends a response is booked at once, before its stream ends", () => {
    const output = [{ type: "message", content: [{ type: "output_text", text: "Hi" }] }]
    const wire = { input_tokens: 10, output_tokens: 20, total_tokens: 30 }
    const response = { id: "resp_1", model: "gpt-4o-mini", output, usage: wire }
    const open = new ReadableStream<Uint8Array>({
      start: (controller) =>
        controller.enqueue(new TextEncoder().encode(sse({ type: "response.completed", response })))
    })
    return under(
      () => new Response(open, { headers: { "content-type": "text/event-stream" } }),
      async (client, session) => {
        const body = { model: "gpt-4o-mini", input: "Hello", max_output_tokens: 100, stream: true }
        const reader = (await client.post("/responses", { body }).asResponse()).body?.getReader()
        await reader?.read()
        await assertMetered(session, nanoOf(10, 20))
      }
    )
  })

  for (const [what, items] of [
    ["in its items", [{ type: "message", content: [{ type: "output_text", text: "Hi" }] }]],
    ["in its deltas only", []]
  ] as const) {
    it(`without output at the end of a response with a text ${what} is charged whole`, () => {
      const wire = { input_tokens: 10, output_tokens: 0, total_tokens: 10 }
      const response = { id: "resp_1", model: "gpt-4o-mini", output: items, usage: wire }
      const told = [
        { type: "response.output_text.delta", delta: "Hi" },
        { type: "response.completed", response }
      ]
      return under(
        () => events(sse(...told)),
        async (client, session) => {
          const body = { model: "gpt-4o-mini", input: "Hello", max_output_tokens: 100, stream: true }
          await (await client.post("/responses", { body }).asResponse()).text()
          await assertWhole(session)
        }
      )
    })
  }

  const early = { ...delta, usage: { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11 } }
  const last = { ...delta, usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 } }
  for (const include_usage of [true, false]) {
    const options = { ...streamed, stream_options: { include_usage } }
    const read = async (client: OpenAI): Promise<number> => {
      let seen = 0
      for await (const each of await client.chat.completions.create(options)) seen += each.choices.length
      return seen
    }
    const asked = include_usage ? "asked for" : "not asked for"
    const cuts = [
      ["before its first usage", [delta, delta]],
      ["after its last usage", [early, delta, delta]],
      ["between two usages", [delta, early]],
      ["after all of its usages, and before it says that it is done", [early, last]]
    ] as const
    for (const [where, chunks] of cuts) {
      it(`a stream with usages that grow, cut ${where} by a quiet end, is charged whole (${asked})`, () =>
        under(
          () => events(sse(...chunks.map(chunk))),
          async (client, session) => {
            assert.strictEqual(await read(client), chunks.length)
            await assertWhole(session)
          }
        ))
    }
    it(`a stream with usages that grow, the last of which cannot be read, is charged whole (${asked})`, () =>
      under(
        () => events(sse(chunk(early), '{"choices":[],"usage":(', "[DONE]")),
        async (client, session) => {
          await (await client.post("/chat/completions", { body: options }).asResponse()).text()
          await assertWhole(session)
        }
      ))
    it(`a stream with usages that grow, the last of which is too large to be read, is charged whole (${asked})`, () =>
      under(
        () => {
          const large = { ...chunk(last), padding: "a".repeat(33 * 1024 * 1024) }
          const text = sse(chunk(early), large, "[DONE]")
          // What is there at once is read: its end comes later.
          const pieces = [text.slice(0, -20), text.slice(-20)].map((each) => new TextEncoder().encode(each))
          const body = new ReadableStream<Uint8Array>({
            start: (controller) => {
              for (const piece of pieces) controller.enqueue(piece)
              controller.close()
            }
          })
          return new Response(body, { headers: { "content-type": "text/event-stream" } })
        },
        async (client, session) => {
          assert.strictEqual(await read(client), 2)
          await assertWhole(session)
        }
      ))
    it(`a stream with usages that grow is metered at the last of them once it is done (${asked})`, () =>
      under(
        () => events(sse(chunk(early), chunk(last), "[DONE]")),
        async (client, session) => {
          assert.strictEqual(await read(client), 2)
          await assertMetered(session, nanoOf(10, 2))
        }
      ))
    it(`a stream that goes on after its last usage and says that it is done is metered (${asked})`, () =>
      under(
        () => events(sse(chunk(early), chunk(delta), "[DONE]")),
        async (client, session) => {
          assert.strictEqual(await read(client), 2)
          await assertMetered(session, nanoOf(10, 1))
        }
      ))
  }
})

describe("a price that changes", () => {
  const eve = Date.parse("2027-02-28T23:59:00Z")
  const day = Date.parse("2027-03-01T00:01:00Z")
  const body = {
    model: "gpt-6.2-sol",
    messages: [{ role: "user", content: "Hello there" }],
    max_completion_tokens: 100
  }
  const told = () => Response.json({ ...answer, model: "gpt-6.2-sol", service_tier: "ultrafast" })
  /** $6 and $30 a million until the end of February, and twice that from March on. */
  const [before, after] = [10 * 6_000 + 20 * 30_000, 10 * 12_000 + 20 * 60_000]
  const send = (fetch: BudgetedFetch.Fetch) =>
    fetch(chat, { method: "POST", body: JSON.stringify(body) }).then((response) => response.text())

  it("a quote of the day before covers the dearer day", () => {
    const request = { method: "POST", path: "/chat/completions", body, at: eve }
    const quote = Result.getOrThrow(Quote.make(pricing, request, { tier: "ultrafast" }))
    const price = Result.getOrThrow(pricing.price("gpt-6.2-sol", "ultrafast", { at: day }))
    const most = Usage.make({ input: quote.input, cacheWrite12h: quote.input, output: 100 })
    assert.isAtLeast(quote.least, Result.getOrThrow(Pricing.cost(price, most)))
  })

  it.effect("a quote that is an effect is made by its clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(day)
      const quote = yield* Quote.of(
        { method: "POST", path: "/chat/completions", body },
        { tier: "ultrafast" }
      )
      assert.strictEqual(quote.at, day)
    }).pipe(Effect.provide(Pricing.layer))
  )

  for (const [when, at, nano] of [
    ["before", eve, before],
    ["after", day, after]
  ] as const) {
    it.effect(`a call is settled at the price of its caller's own clock: ${when}`, () =>
      Effect.andThen(
        TestClock.setTime(at),
        fetching(
          told,
          (fetch) =>
            Effect.gen(function* () {
              yield* Effect.promise(() => send(fetch))
              const { byModel, reserved, spent } = yield* Budget.summary
              assert.deepStrictEqual([Number(spent), Number(reserved)], [nano, 0])
              assert.strictEqual(byModel["gpt-6.2-sol"]?.assumed, 0)
            }),
          { tier: "ultrafast" }
        )
      )
    )
  }

  it.effect("a call that waited across the change is settled at the price of its admission", () =>
    Effect.andThen(
      TestClock.setTime(eve),
      fetching(
        told,
        (fetch, sent) =>
          Effect.gen(function* () {
            const budget = yield* Budget.Budget
            const held = yield* budget.acquire({ least: Usd.dollars("10") })
            const call = send(fetch)
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
            yield* TestClock.setTime(day)
            assert.strictEqual(sent.length, 0)
            yield* budget.release(held)
            yield* Effect.promise(() => call)
            const { overrun, reserved, spent } = yield* Budget.summary
            assert.deepStrictEqual([spent, reserved, overrun].map(Number), [after, 0, 0])
          }),
        { tier: "ultrafast" },
        { onExceeded: "wait" }
      )
    )
  )
})
