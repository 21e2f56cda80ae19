/** What callers send at the edges: what is sent must be what was priced, and nobody is trusted without being asked. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, Pricing, Quote, Usd, type BudgetedFetch } from "agent-budget"
import { Effect, Result } from "effect"
import { imageTokens } from "../src/internal/images.ts"
import { capped, failureOf, recordEvents, reservedNano } from "./utils/openAi.ts"
import { answer, assertMetered, chat, fetching, nanoOf, stub, tagOf, under } from "./utils/stubProvider.ts"

const pricing = await Effect.runPromise(Pricing.make())

describe("what is sent is what was priced", () => {
  const mutated = (
    policy: BudgetedFetch.PolicyOptions,
    address: string,
    request: () => { method: string; body: string; headers: Record<string, string> | Headers }
  ) =>
    fetching(
      () => Response.json(answer),
      (fetch, sent) =>
        Effect.gen(function* () {
          const budget = yield* Budget.Budget
          const held = yield* budget.acquire({ least: Usd.dollars("10") })
          const url = new URL(address)
          const init = request()
          const { body } = init
          const call = fetch(url, init)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          assert.strictEqual(sent.length, 0)
          url.pathname = "/v1/elsewhere"
          url.host = "127.0.0.1:9"
          if (init.headers instanceof Headers) init.headers.set("x-which", "second")
          else init.headers["x-which"] = "second"
          init.method = "PUT"
          init.body = JSON.stringify({ ...capped, model: "gpt-4o", max_completion_tokens: 9_999 })
          yield* budget.release(held)
          yield* Effect.promise(() => call.then((response) => response.text()))
          assert.strictEqual(sent.length, 1)
          const [only] = sent
          if (only === undefined) throw new Error("Nothing was sent.")
          assert.strictEqual(only.url, address)
          assert.strictEqual(only.init.method, "POST")
          assert.strictEqual(new Headers(only.init.headers).get("x-which"), "first")
          return { body, sent: only.init.body }
        }),
      policy,
      { onExceeded: "wait" }
    )
  const json = JSON.stringify({ ...capped, service_tier: "default" })

  for (const kind of ["a record", "a Headers"] as const) {
    const headers = () => (kind === "a record" ? { "x-which": "first" } : new Headers({ "x-which": "first" }))
    it.effect(`a priced call that waits, its headers in ${kind}`, () =>
      Effect.gen(function* () {
        const { body, sent } = yield* mutated({}, chat, () => ({
          method: "POST",
          body: json,
          headers: headers()
        }))
        assert.strictEqual(sent, body)
      })
    )
    it.effect(`a call at the user's own maximum that waits, its headers in ${kind}`, () =>
      Effect.gen(function* () {
        const policy = { endpoints: { "POST /images/generations": { maxUsd: "0.25" } } } as const
        const address = "https://api.openai.com/v1/images/generations"
        const { body, sent } = yield* mutated(policy, address, () => ({
          method: "POST",
          body: json,
          headers: headers()
        }))
        assert.strictEqual(sent, body)
      })
    )
  }
})

describe("who is trusted", () => {
  const signature = { authorization: "AWS4-HMAC-SHA256 Credential=none, Signature=none" }
  const bedrock = "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/completions"
  const signed = (url: string, body: string) =>
    fetching(
      () => Response.json(answer),
      (fetch, sent) =>
        Effect.gen(function* () {
          const call = fetch(url, { method: "POST", body, headers: signature })
          const ended = yield* Effect.promise(() =>
            call.then(
              (response) => response.text().then(() => "answered"),
              (error: unknown) => tagOf(error)
            )
          )
          const { reserved, spent } = yield* Budget.summary
          assert.strictEqual(reserved, 0)
          return { ended, bodies: sent.map(({ init }) => init.body), spent: Number(spent) }
        })
    )
  const odd = (fields: string) =>
    `{ "model":"gpt-4o-mini",\t"messages":[{"role":"user","content":"\\u0048i"}] ${fields}}`
  const refused = { ended: "MalformedRequest", bodies: [], spent: 0 }

  it.effect("a signed body without a cap is refused before it is sent", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* signed(bedrock, odd("")), refused)
    })
  )

  it.effect("a signed body that needs no change goes out byte for byte", () =>
    Effect.gen(function* () {
      const body = odd(', "max_completion_tokens" : 50')
      assert.deepStrictEqual(yield* signed(bedrock, body), {
        ended: "answered",
        bodies: [body],
        spent: nanoOf(10, 20)
      })
    })
  )

  it.effect("a signed body without a tier is refused where there are tiers, and goes out with one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* signed(chat, odd(', "max_completion_tokens" : 50')), refused)
      const tiered = odd(', "max_completion_tokens" : 50, "service_tier":"default"')
      assert.deepStrictEqual((yield* signed(chat, tiered)).bodies, [tiered])
    })
  )

  it("Azure's prices are the user's word: the summary says so, unless the host is stated", async () => {
    const host = "mine.openai.azure.com"
    for (const [hosts, unverified] of [
      [{}, ["unverifiedHost"]],
      [{ [host]: {} }, []]
    ] as const) {
      await under(
        () => Response.json(answer),
        async (client, session) => {
          await client.chat.completions.create(capped)
          await assertMetered(session, nanoOf(10, 20))
          assert.deepStrictEqual(session.getSummary().unverified, unverified)
        },
        { hosts },
        `https://${host}/openai/v1`
      )
    }
  })

  it("a wrapped client's fetch cannot be replaced", () =>
    under(
      () => Response.json(answer),
      async (client, session, sent) => {
        const other = stub(() => Response.json(answer))
        assert.throws(() => {
          ;(client as unknown as { fetch: BudgetedFetch.Fetch }).fetch = other.fetch
        }, TypeError)
        await client.chat.completions.create(capped)
        assert.deepStrictEqual([sent.length, other.sent.length], [1, 0])
        await assertMetered(session, nanoOf(10, 20))
      }
    ))

  it("a session's events name the model of what it charges at its close", () =>
    under(
      () => new Promise<Response>(() => undefined),
      async (client, session) => {
        const seen = recordEvents(session)
        await new Promise((resolve) => setImmediate(resolve))
        void failureOf(client.chat.completions.create(capped))
        for (let turn = 0; turn < 50 && reservedNano(session) === 0; turn++)
          await new Promise((resolve) => setImmediate(resolve))
        await session.close({ waitAtMost: 0 })
        const labels = seen.flatMap((event) => (event._tag === "Settled" ? [event.label] : []))
        assert.deepStrictEqual(labels, ["gpt-4o-mini"])
      }
    ))
})

describe("what a request shows", () => {
  const make = (path: string, body: object) => Quote.make(pricing, { method: "POST", path, body })
  const responses = (fields: object) =>
    make("/responses", { model: "gpt-5", input: "Hello there", max_output_tokens: 100, ...fields })

  it("modalities and reasoning modes that have no price are refused", () => {
    const bad = [
      make("/chat/completions", { ...capped, modalities: ["text", "image"] }),
      responses({ reasoning: { mode: ["pro"] } }),
      responses({ reasoning: { mode: "pro" } })
    ]
    for (const quote of bad) {
      assert.strictEqual(Result.isFailure(quote) && quote.failure.reason._tag, "UnboundedRequest")
    }
    assert.isTrue(Result.isSuccess(make("/chat/completions", { ...capped, modalities: ["text"] })))
    assert.isTrue(Result.isSuccess(responses({ reasoning: { mode: "standard" } })))
  })

  it("items that do not carry their content are bounded by the context window", () => {
    const hidden = [
      { type: "reasoning", encrypted_content: true },
      { type: "reasoning", id: "rs_1" },
      { type: "message", id: "msg_1" }
    ]
    const window = pricing.find("gpt-5")?.contextWindow
    for (const item of hidden) {
      assert.strictEqual(Result.getOrThrow(responses({ input: [item] })).input, window, JSON.stringify(item))
    }
    const shown = [
      { type: "reasoning", encrypted_content: "gAAA" },
      { type: "message", role: "user", content: "Hello" }
    ]
    assert.isBelow(Result.getOrThrow(responses({ input: shown })).input, 1_000)
  })

  it("images whose size may not be the one they state have the most that their model bills", () => {
    const size = Buffer.alloc(8)
    size.writeUInt32BE(16, 0)
    size.writeUInt32BE(16, 4)
    const ihdr = `\0\0\0\rIHDR${size.toString("latin1")}\u0008\u0006\0\0\0crc!`
    const idat = `\0\0\0\u0004IDAT${"\0".repeat(8)}`
    const signature = "\u0089PNG\r\n\u001a\n"
    const url = (type: string, bytes: string) =>
      `data:image/${type};base64,${Buffer.from(bytes, "latin1").toString("base64")}`
    const hiding = [
      // A chunk that looks like the header from where the header should be, and the true header behind it.
      url("png", `${signature}\0\0\0\u0004CgBI${size.toString("latin1")}${ihdr}${idat}`),
      url("png", `${signature}\0\0\0\u0008tEXt${size.toString("latin1")}crc!${ihdr}${idat}`),
      url("gif", `GIF89a\u0010\0\u0010\0${"\0".repeat(20)}`),
      url("gif", `GIF87a\u0001\0\u0001\0${"\0".repeat(20)}`)
    ]
    for (const model of ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5"]) {
      const most = imageTokens(model, undefined, undefined)
      for (const each of hiding) assert.strictEqual(imageTokens(model, each, undefined), most)
      assert.isBelow(imageTokens(model, url("png", signature + ihdr + idat), undefined), most)
    }
  })
})
