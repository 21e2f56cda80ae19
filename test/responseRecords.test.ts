/** What a response billed bounds the requests that go on from it; what is not surely so is bounded by the window. */
import { assert, describe, it } from "@effect/vitest"
import { BudgetError, BudgetedSession, Pricing, Quote, TokenCounter, Usage } from "agent-budget"
import { Effect, Result, Schema } from "effect"
import OpenAI from "openai"
import type { Exchange } from "../scripts/corpus.ts"
import { isArray, isObject, type Json, type JsonObject } from "../src/internal/json.ts"
import { followableOf, ResponseRecords } from "../src/internal/responseRecords.ts"
import type { Reading } from "../src/internal/wireUsage.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import { failureOf, settled } from "./utils/openAi.ts"
import * as recorded from "./utils/recorded.ts"
import { events, sse, stub } from "./utils/stubProvider.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())
const window = 128_000

const quoteOf = (body: JsonObject, previous?: Quote.Lookup): Quote.Quote =>
  Result.getOrThrow(
    Quote.make(pricing, {
      method: "POST",
      path: "/responses",
      body: { model: "gpt-4o", max_output_tokens: 100, ...body },
      previous
    })
  )

const countedOf = (quote: Quote.Quote): Promise<Quote.Quote> =>
  Effect.runPromise(Quote.countedBy(counter, quote))

const known = { model: "gpt-4o", tokens: 700, images: 0, reasoning: 0 }
const followUp = { input: "And then?", previous_response_id: "resp_1" }

describe("a request that goes on from a response", () => {
  it("holds what is known of that one, and what it shows itself, on either rung", async () => {
    const alone = quoteOf({ input: "And then?" })
    const found = quoteOf(followUp, () => known)
    // The id is part of the body, and is measured with it.
    const field = JSON.stringify({ previous_response_id: "resp_1" }).length - 1
    assert.strictEqual(found.input, alone.input + field + 700)
    assert.strictEqual(found.bound, "bytes")
    const counted = await countedOf(found)
    assert.strictEqual(counted.input, (await countedOf(alone)).input + 700)
    assert.strictEqual(counted.bound, "counted")
  })

  it("holds the window where nothing is known, and is not counted then", async () => {
    const lookups = [undefined, () => undefined, () => ({ ...known, model: "gpt-4o-mini" })]
    for (const previous of lookups) {
      const quote = quoteOf(followUp, previous)
      assert.strictEqual(quote.input, window)
      assert.strictEqual(quote.bound, "window")
      assert.strictEqual((await countedOf(quote)).input, window)
    }
  })

  it("holds the window where it names more that it does not show", () => {
    for (const more of [{ conversation: "conv_1" }, { input: [{ type: "item_reference", id: "msg_1" }] }]) {
      assert.strictEqual(quoteOf({ ...followUp, ...more }, () => known).input, window)
    }
  })

  it("never holds more than the window, but for images, which may be billed beyond their room", () => {
    const long = { ...known, tokens: 200_000 }
    assert.strictEqual(quoteOf(followUp, () => long).input, window)
    assert.strictEqual(quoteOf(followUp, () => ({ ...long, images: 50_000 })).input, window + 50_000)
  })

  it("counts results as escaped: the calls that they answer may have been made in parallel", async () => {
    const results = [{ type: "function_call_output", call_id: "c", output: "中文字".repeat(50) }]
    const alone = await countedOf(quoteOf({ input: results }))
    const found = await countedOf(quoteOf({ input: results, previous_response_id: "resp_1" }, () => known))
    // Six characters of ASCII for each of 150, where a token takes at most three of them.
    assert.isAbove(found.input - 700, alone.input + 150)
  })

  it("shows what was looked up in a line of its own", () => {
    const quote = quoteOf(followUp, () => known)
    const [shown, earlier, output] = Quote.lines(quote)
    assert.strictEqual((shown?.tokens ?? 0) + 700, quote.input)
    assert.strictEqual(earlier?.tokens, 700)
    assert.include(earlier?.what, "the response that it goes on from")
    assert.strictEqual(output?.tokens, 100)
    assert.strictEqual(Quote.lines(quoteOf(followUp)).length, 2)
  })
})

const billed = (usage: Partial<Usage.Usage>, id = "resp_1", items = 1): Reading => ({
  usage: Usage.make(usage),
  model: "gpt-4o-2024-08-06",
  tier: "default",
  id,
  items
})

const requestOf = (body: JsonObject, lookup?: Quote.Lookup) => followableOf(quoteOf(body, lookup))

const learned = (body: JsonObject, reading: Reading, served = "gpt-4o") => {
  const records = new ResponseRecords()
  records.learn("api", requestOf(body), reading, served)
  return records.find("api", "resp_1")
}

describe("what is known of a response", () => {
  const bill = { input: 1_000, output: 200 }

  it("is its input and its output, cut anew and framed", () => {
    // 1.05 of the output, and 64 for each of the two items.
    const expected = { model: "gpt-4o", tokens: 1_000 + 210 + 128, images: 0, reasoning: 0 }
    assert.deepStrictEqual(learned({ input: "hi" }, billed(bill, "resp_1", 2)), expected)
  })

  it("is nothing on another host, or for another id", () => {
    const records = new ResponseRecords()
    records.learn("api", requestOf({ input: "hi" }), billed(bill), "gpt-4o")
    assert.isUndefined(records.find("other", "resp_1"))
    assert.isUndefined(records.find("api", "resp_2"))
  })

  it.each<readonly [string, JsonObject]>([
    ["a conversation went into it", { input: "hi", conversation: "conv_1" }],
    ["a file did", { input: [{ role: "user", content: [{ type: "input_file", file_id: "f" }] }] }],
    ["items did by reference", { input: [{ type: "item_reference", id: "msg_1" }] }],
    [
      "an image did by address: another may be there",
      { input: [{ role: "user", content: [{ type: "input_image", image_url: "https://x/y.png" }] }] }
    ],
    [
      "earlier thoughts did, which its model may not have been shown",
      { input: [{ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAA" }] }
    ],
    ["its input may have been cut", { input: "hi", truncation: "auto" }],
    ["it went on from one that nothing is known of", followUp]
  ])("is nothing where %s", (_, body) => {
    assert.isUndefined(learned(body, billed(bill)))
  })

  it("is nothing where another model served, or one that is not told, or no items are told", () => {
    assert.isUndefined(learned({ input: "hi" }, billed(bill), "gpt-4o-2024-05-13"))
    const records = new ResponseRecords()
    records.learn("api", requestOf({ input: "hi" }), billed(bill), undefined)
    records.learn("api", requestOf({ input: "hi" }), { ...billed(bill), items: undefined }, "gpt-4o")
    assert.isUndefined(records.find("api", "resp_1"))
  })

  it("is forgotten when the same id bills anew what says nothing", () => {
    const records = new ResponseRecords()
    records.learn("api", requestOf({ input: "hi" }), billed(bill), "gpt-4o")
    records.learn("api", requestOf({ input: "hi", truncation: "auto" }), billed(bill), "gpt-4o")
    assert.isUndefined(records.find("api", "resp_1"))
  })

  it("keeps the thoughts of all turns: those that one is spared, a later one may be shown", () => {
    const records = new ResponseRecords()
    const lookup: Quote.Lookup = (id) => records.find("api", id)
    records.learn(
      "api",
      requestOf({ input: "hi" }),
      billed({ input: 10, output: 1_000, reasoning: 1_000 }),
      "gpt-4o"
    )
    assert.strictEqual(lookup("resp_1")?.reasoning, 1_050 + 64)
    // The second turn is not shown the thoughts of the first, and says so by what it bills.
    const second = requestOf(followUp, lookup)
    records.learn("api", second, billed({ input: 30, output: 20 }, "resp_2"), "gpt-4o")
    assert.strictEqual(lookup("resp_2")?.tokens, 30 + 21 + 64 + 1_050 + 64)
    assert.strictEqual(lookup("resp_2")?.reasoning, 1_050 + 64)
  })

  it("is kept for the newest 4,096, whose ids are no longer than 256 characters", () => {
    const records = new ResponseRecords()
    const request = requestOf({ input: "hi" })
    for (let each = 0; each < 5_000; each++)
      records.learn("api", request, billed(bill, `resp_${each}`), "gpt-4o")
    records.learn("api", request, billed(bill, "x".repeat(257)), "gpt-4o")
    assert.strictEqual(records.records.size, 4_096)
    assert.isUndefined(records.find("api", "resp_903"))
    assert.isDefined(records.find("api", "resp_904"))
    assert.isDefined(records.find("api", "resp_4999"))
  })
})

const Turn = Schema.Struct({
  text: Schema.String,
  written: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 })),
  thought: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 })),
  calls: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })),
  /** Whether this turn is shown the thoughts of all earlier ones. */
  remembers: Schema.Boolean
})

describe("the law along a conversation", () => {
  it.prop(
    "holds: no turn is billed above its quote, whatever thoughts it is shown",
    { turns: Schema.Array(Turn) },
    ({ turns }) => {
      const records = new ResponseRecords()
      const lookup: Quote.Lookup = (id) => records.find("api", id)
      // What a provider holds: texts and answers, with the dearest framing that was recorded for each.
      let said = 15
      let thoughts = 0
      for (const [at, { calls, remembers, text, thought, written }] of turns.entries()) {
        const quote = quoteOf(
          { input: text, ...(at === 0 ? {} : { previous_response_id: `resp_${at - 1}` }) },
          lookup
        )
        said += 16 + Buffer.byteLength(text)
        const input = said + (remembers ? thoughts : 0)
        assert.isAtMost(input, quote.input, `turn ${at}`)
        assert.notStrictEqual(quote.bound, "window")
        const output = written + thought
        records.learn(
          "api",
          followableOf(quote),
          billed({ input, output, reasoning: thought }, `resp_${at}`, calls),
          "gpt-4o"
        )
        said += written + 45 * calls
        thoughts += thought
      }
    },
    { arbitrary: { runs: 500, size: 12 } }
  )
})

const body = (id: string, input: number, output: number): object => ({
  id,
  object: "response",
  model: "gpt-4o-2024-08-06",
  service_tier: "default",
  status: "completed",
  output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi" }] }],
  usage: { input_tokens: input, output_tokens: output, total_tokens: input + output }
})

/** One conversation under a budget in which a context window ($0.32) has no room. */
const talk = async (
  answer: () => Response,
  use: (clients: readonly [OpenAI, OpenAI], sent: () => number, session: BudgetedSession) => Promise<void>,
  baseURL = "https://api.openai.com/v1",
  models: Readonly<Record<string, string>> = {}
): Promise<void> => {
  const { fetch, sent } = stub(answer)
  const session = new BudgetedSession({ budgetUsd: 0.1, models })
  const plain = new OpenAI({ apiKey: "none", maxRetries: 0, fetch, baseURL })
  try {
    await use([session.wrapOpenAI(plain), session.wrapOpenAI(plain)], () => sent.length, session)
    await settled(session)
  } finally {
    await session.close({ waitAtMost: 0 })
  }
}

const first = { model: "gpt-4o", input: "hi", max_output_tokens: 100 }
const second = { ...first, previous_response_id: "resp_1" }
const wholeAnswer = (): Response => Response.json(body("resp_1", 20, 5))
const streamedAnswer = (): Response =>
  events(sse({ type: "response.created" }, { type: "response.completed", response: body("resp_1", 20, 5) }))

describe("a budgeted client", () => {
  it("admits a follow-up by what the response before it billed, through any client of the session", () =>
    talk(wholeAnswer, async ([one, other], sent) => {
      const refused = await failureOf(one.responses.create(second))
      assert.strictEqual(BudgetError.find(refused)?.reason._tag, "BudgetExceeded")
      await one.responses.create(first)
      await one.responses.create(second)
      await other.responses.create(second)
      assert.strictEqual(sent(), 3)
    }))

  it("is quoted a follow-up as it would be admitted, at the host that answered", () =>
    talk(wholeAnswer, async ([client], sent, session) => {
      const before = await session.quote("/responses", second)
      assert.deepStrictEqual([before.bound, before.fits], ["window", false])
      await client.responses.create(first)
      await settled(session)
      const after = await session.quote("/responses", second)
      assert.deepStrictEqual([after.bound, after.fits], ["counted", true])
      // An answer of 5 tokens may be 6 when it is read again, and its one item takes at most 64 around them.
      const alone = await session.quote("/responses", first)
      assert.strictEqual(after.inputTokens, alone.inputTokens + 20 + 6 + 64)
      const elsewhere = await session.quote("/responses", second, { baseURL: "https://eu.api.openai.com/v1" })
      assert.strictEqual(elsewhere.bound, "window")
      assert.strictEqual(sent(), 1)
    }))

  it("takes the model that a response names for what the user calls so", () => {
    const named = (model: string) => () => Response.json({ ...body("resp_1", 20, 5), model })
    const models = { house: "gpt-4o", "gpt-4o": "gpt-4.1" }
    const after = async (client: OpenAI): Promise<unknown> => {
      await client.responses.create({ ...first, model: "house" })
      return client.responses.create({ ...second, model: "house" })
    }
    const refused = async ([client]: readonly [OpenAI, OpenAI]): Promise<void> => {
      const refusal = await failureOf(after(client))
      assert.strictEqual(BudgetError.find(refusal)?.reason._tag, "BudgetExceeded")
    }
    const admitted = async ([client]: readonly [OpenAI, OpenAI]): Promise<void> => {
      await after(client)
    }
    return Promise.all([
      talk(named("house"), admitted, undefined, models),
      talk(named("gpt-4o"), refused, undefined, models)
    ])
  })

  it("learns from a stream as well", () =>
    talk(streamedAnswer, async ([client]) => {
      for await (const _ of await client.responses.create({ ...first, stream: true }));
      for await (const _ of await client.responses.create({ ...second, stream: true }));
    }))

  it("learns nothing from a response whose bill is lost", () =>
    talk(
      () => events(sse({ type: "response.created", response: { id: "resp_1" } })),
      async ([client]) => {
        for await (const _ of await client.responses.create({ ...first, stream: true }));
        const refused = await failureOf(client.responses.create(second))
        assert.strictEqual(BudgetError.find(refused)?.reason._tag, "BudgetExceeded")
      }
    ))

  it("believes no record of a host whose bills nobody knows", () =>
    talk(
      wholeAnswer,
      async ([client]) => {
        await client.responses.create(first)
        const refused = await failureOf(client.responses.create(second))
        assert.strictEqual(BudgetError.find(refused)?.reason._tag, "BudgetExceeded")
      },
      "https://compatible.example/v1"
    ))
})

const itemsOf = ({ path, request }: Exchange): ReadonlyArray<Json> => {
  const items = path === "/responses" ? request.input : request.messages
  return isArray(items) ? items : []
}

const settingsOf = ({ path, request }: Exchange): string => {
  const { functions, instructions, model, response_format, text, tools } = request
  return JSON.stringify([path, model, tools, functions, instructions, response_format, text])
}

const isAnswer = (item: Json | undefined): item is JsonObject =>
  isObject(item) && (item.role === "assistant" || item.type === "function_call")

/** The texts of a message or item, and how many calls and texts it holds. */
const textsOf = (item: JsonObject): ReadonlyArray<string> => {
  const parts = isArray(item.content)
    ? item.content.flatMap((part) => (isObject(part) ? [part.text] : []))
    : []
  const calls = isArray(item.tool_calls)
    ? item.tool_calls.flatMap((call) => (isObject(call) && isObject(call.function) ? [call.function] : []))
    : [item]
  const texts = [item.content, ...parts, ...calls.flatMap((call) => [call.name, call.arguments])]
  return texts.filter((text) => typeof text === "string")
}

const readingOf = ({ path, responseModel, usage }: Exchange): Reading | undefined => {
  const found = OpenAiEndpoints.recognise("POST", path)
  return found._tag === "Priced" ? found.endpoint.read({ usage, model: responseModel }) : undefined
}

/**
 * What a record of `before` says of `after`, which sends it again with its answer; against the bill. Nothing where the
 * answer that is sent again is another than was billed, as far as its length tells.
 */
const compare = async (before: Exchange, after: Exchange): Promise<number | undefined> => {
  const rest = itemsOf(after).slice(itemsOf(before).length)
  const at = rest.findIndex((item) => !isAnswer(item))
  const answers = rest.slice(0, at === -1 ? undefined : at).filter(isAnswer)
  const isParallel = answers.some((item) => isArray(item.tool_calls) && item.tool_calls.length > 1)
  const left = rest.slice(answers.length)
  if (answers.length === 0 || isParallel || left.some(isAnswer)) return undefined
  const reading = readingOf(before)
  const next = readingOf(after)
  if (reading === undefined || next === undefined) return undefined
  let written = 0
  for (const text of answers.flatMap(textsOf))
    written += await Effect.runPromise(counter.count(text, "o200k_base"))
  const said = reading.usage.output - reading.usage.reasoning
  if (written > reading.usage.output || written < said * 0.6 - 20) return undefined
  const field = before.path === "/responses" ? "input" : "messages"
  const shown = { ...after.request, [field]: left }
  const quotes = [before.request, shown].map((each) =>
    Quote.make(pricing, { method: "POST", path: before.path, body: each })
  )
  const [was, is] = quotes.map((each) => (Result.isSuccess(each) ? each.success : undefined))
  if (was === undefined || is === undefined) return undefined
  const records = new ResponseRecords()
  records.learn("api", followableOf(was), { ...reading, id: "resp_1", items: answers.length }, was.model)
  const record = records.find("api", "resp_1")
  return record === undefined ? undefined : (await countedOf(is)).input + record.tokens - next.usage.input
}

describe.skipIf(!recorded.isThere)("recorded conversations that send each answer again", () => {
  it("are never billed above what the record of the turn before would have held", async () => {
    const groups = Map.groupBy(
      recorded.exchanges().filter((each) => itemsOf(each).length > 0),
      (each) => settingsOf(each) + JSON.stringify(itemsOf(each)[0])
    )
    const slack: Array<number> = []
    for (const group of groups.values())
      for (const before of group)
        for (const after of group) {
          const start = itemsOf(before)
          if (itemsOf(after).length <= start.length) continue
          if (JSON.stringify(itemsOf(after).slice(0, start.length)) !== JSON.stringify(start)) continue
          const left = await compare(before, after)
          if (left !== undefined) slack.push(left)
        }
    assert.isAbove(slack.length, 800)
    assert.isAtLeast(Math.min(...slack), 0)
  }, 60_000)
})
