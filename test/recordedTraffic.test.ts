/**
 * The law, against what was billed: a quote's input and output are never below the bill's, and its dollars cover
 * the bill at the price of the model that was asked for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { Exchange } from "../scripts/corpus.ts"
import { examine, type Finding, type Kind, recordsOf } from "../scripts/examineQuote.ts"
import { isArray, isObject, type JsonObject } from "../src/internal/json.ts"
import { watch } from "../src/internal/responseWatch.ts"
import type { Reading } from "../src/internal/wireUsage.ts"
import * as Budget from "../src/Budget.ts"
import * as BudgetedFetch from "../src/BudgetedFetch.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Pricing from "../src/Pricing.ts"
import * as TokenCounter from "../src/TokenCounter.ts"
import * as Usd from "../src/Usd.ts"
import * as recorded from "./utils/recorded.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())

const examined = (exchange: Exchange): Promise<Finding> =>
  Effect.runPromise(examine(pricing, counter, exchange))

const standard = { source: "made up", serviceTier: "default" }

/** Exchanges made up in the shape of real ones, so that the law is met by something in every checkout. */
const made: ReadonlyArray<Exchange> = [
  {
    // 3 to prime and 4 a message, as the recorded 4o traffic frames them; "Say hi." is 3 tokens.
    ...{ id: "a greeting", path: "/chat/completions", ...standard, responseModel: "gpt-4o-2024-08-06" },
    request: { model: "gpt-4o", max_tokens: 5, messages: [{ role: "user", content: "Say hi." }] },
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  },
  {
    // A single pixel is one tile: 2,833 + 5,667.
    ...{ id: "one pixel", path: "/chat/completions", ...standard, responseModel: "gpt-4o-mini-2024-07-18" },
    request: {
      model: "gpt-4o-mini",
      max_tokens: 300,
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What colour?" },
            {
              type: "image_url",
              image_url: {
                url: "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
              }
            }
          ]
        }
      ]
    },
    usage: { prompt_tokens: 8_510, completion_tokens: 3, total_tokens: 8_513 }
  },
  {
    // Azure goes by the deployment, whatever the body names.
    ...{ id: "a deployment", path: "/chat/completions", ...standard, responseModel: "gpt-4o-2024-08-06" },
    ...{ host: "azure", deployment: "gpt-4o" },
    request: { model: "gpt-4o-mini", max_tokens: 5, messages: [{ role: "user", content: "Say hi." }] },
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  },
  {
    // What moderates is fed nothing of what the model is.
    ...{ id: "moderated", path: "/chat/completions", ...standard, responseModel: "gpt-4o-2024-08-06" },
    request: {
      model: "gpt-4o",
      max_tokens: 5,
      messages: [{ role: "user", content: "Say hi." }],
      moderation: { model: "omni-moderation-latest", policy: { input: { mode: "block" } } }
    },
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  },
  {
    // Two prompts of 16 tokens each, which is what the API writes without a cap.
    ...{ id: "two prompts", path: "/completions", ...standard, responseModel: "gpt-3.5-turbo-instruct" },
    request: { model: "gpt-3.5-turbo-instruct", prompt: ["once", "twice"] },
    usage: { prompt_tokens: 2, completion_tokens: 32, total_tokens: 34 }
  },
  {
    ...{ id: "thinking", path: "/responses", ...standard, responseModel: "gpt-5.2-2025-12-11" },
    request: { model: "gpt-5.2", input: "2 + 2", max_output_tokens: 200 },
    usage: {
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 200,
      output_tokens_details: { reasoning_tokens: 192 }
    }
  }
]

describe("exchanges in the shape of real ones", () => {
  it("are never billed above their quotes", async () => {
    for (const exchange of made) {
      const finding = await examined(exchange)
      assert.deepInclude(finding, { _tag: "Quoted", faults: [] }, exchange.id)
    }
  })

  it("would be found out on either rung, were they billed one token more than its bound", async () => {
    for (const exchange of made) {
      const finding = await examined(exchange)
      if (finding._tag !== "Quoted") throw new Error(`${exchange.id} is not quoted`)
      assert.isBelow(finding.counted, finding.bytes)
      const name = exchange.path === "/responses" ? "input_tokens" : "prompt_tokens"
      for (const bound of [finding.counted, finding.bytes]) {
        const usage = { ...exchange.usage, [name]: bound + 1 }
        const dearer = await examined({ ...exchange, usage })
        assert.include(JSON.stringify(dearer), `input ${bound + 1} > ${bound}`)
      }
    }
  })
})

describe.skipIf(!recorded.isThere)("the recorded traffic", async () => {
  const previous = recorded.isThere ? recordsOf(pricing, recorded.exchanges()) : () => undefined
  const findings = await Promise.all(
    recorded.exchanges().map((exchange) => Effect.runPromise(examine(pricing, counter, exchange, previous)))
  )
  const priced = findings.filter((finding) => finding._tag !== "Unpriced")
  const quoted = findings.filter((finding) => finding._tag === "Quoted")

  it("is never billed above its quote on either rung: not in input, nor in output, nor in dollars", () => {
    assert.deepStrictEqual(
      quoted.flatMap(({ faults }) => faults),
      []
    )
    assert.isAbove(quoted.length, 3_000)
  })

  it("with tools that the provider runs is among what is quoted, once its calls are limited", () => {
    const hosted = quoted.filter(({ kind }) => kind === "hosted")
    assert.isAbove(hosted.filter(({ limited }) => limited).length, 30)
    for (const { rung } of hosted) assert.strictEqual(rung, "window")
  })

  it("is quoted in at least 97 of 100 calls", () => {
    const refusals = Map.groupBy(
      priced.filter((finding) => finding._tag === "Refused"),
      (finding) => finding.rule
    )
    const quoted = priced.filter((finding) => finding._tag === "Quoted")
    const shown = [...refusals].map(([rule, rows]) => `${rows.length} ${rule}`).join("\n")
    assert.isAtLeast(quoted.length / priced.length, 0.97, shown)
  })

  it.each<readonly [Kind, number, number, number]>([
    ["text", 1_000, 1.06, 1.15],
    ["tools", 300, 1.25, 1.6],
    ["images", 50, 1.3, 1.8]
  ])("of kind %s is counted closely", (kind, rows, median, most) => {
    const ratios = quoted
      .filter((each) => each.kind === kind && each.rung === "counted" && each.billed > 200)
      .map(({ billed, counted }) => counted / billed)
      .sort((a, b) => a - b)
    assert.isAbove(ratios.length, rows)
    assert.isAtMost(ratios[ratios.length >> 1] ?? Infinity, median)
    assert.isAtMost(ratios[Math.floor(ratios.length * 0.95)] ?? Infinity, most)
  })
})

/** Pseudo-random whole numbers below `below`, the same in every run. */
const numbers = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const chunked = (bytes: Uint8Array, largest: number, seed: number): ReadonlyArray<Uint8Array> => {
  const next = numbers(seed)
  const chunks: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + next(largest))
    chunks.push(bytes.slice(at, end))
    at = end
  }
  return chunks
}

const responseOf = (chunks: ReadonlyArray<Uint8Array>): Response => {
  let at = 0
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const chunk = chunks[at++]
      if (chunk === undefined) controller.close()
      else controller.enqueue(chunk)
    }
  })
  return new Response(body, { headers: { "content-type": "text/event-stream" } })
}

const watched = async (row: recorded.StreamRow, chunks: ReadonlyArray<Uint8Array>, hideUsage: boolean) => {
  const found = OpenAiEndpoints.recognise("POST", row.path.replace(/^\/v1/, ""))
  if (found._tag !== "Priced") throw new Error(`${row.path} is not priced`)
  const readings: Array<Reading> = []
  let lost = ""
  const observer = {
    reported: (reading: Reading) => void readings.push(reading),
    lost: (why: string) => void (lost ||= why),
    drains: () => false,
    afterDrain: () => () => undefined
  }
  const options = { endpoint: found.endpoint, stream: true, hideUsage, signal: undefined }
  const text = await watch(responseOf(chunks), observer, options).text()
  return { text, first: readings[0], lost }
}

interface Event {
  readonly text: string
  readonly value: JsonObject | undefined
}

/** The recorded events, by the plainest reading of their text. */
const eventsOf = (sse: string): ReadonlyArray<Event> =>
  sse.split(/(?<=\r?\n\r?\n)/).map((text) => {
    const data = /^data: ?(.*?)\r?$/m.exec(text)?.[1] ?? ""
    return { text, value: data.startsWith("{") ? (JSON.parse(data) as JsonObject) : undefined }
  })

const usageIn = (value: JsonObject | undefined): JsonObject | undefined => {
  const holder = isObject(value?.response) ? value.response : value
  return isObject(holder?.usage) ? holder.usage : undefined
}

describe.skipIf(!recorded.isThere)("the recorded streams", () => {
  const streams = recorded.streams().filter(({ path }) => path !== "/v1/responses/compact")

  it("leave as they came in any chunks, and tell the usage that was recorded", async () => {
    let told = 0
    for (const row of streams) {
      const bytes = Buffer.from(row.sse)
      const usage = eventsOf(row.sse)
        .map(({ value }) => usageIn(value))
        .findLast((each) => each !== undefined)
      for (const largest of [1, 40, 3_000, bytes.length]) {
        const { text, first, lost } = await watched(row, chunked(bytes, largest, largest), false)
        assert.isTrue(text === row.sse, row.id)
        // Zeros are no bill: what nobody can have been charged was not counted.
        if ((usage?.prompt_tokens ?? usage?.input_tokens ?? 0) === 0) assert.notStrictEqual(lost, "", row.id)
        else {
          told++
          assert.strictEqual(first?.usage.input, usage?.prompt_tokens ?? usage?.input_tokens, row.id)
          assert.strictEqual(first?.usage.output, usage?.completion_tokens ?? usage?.output_tokens, row.id)
        }
      }
    }
    assert.isAbove(told, 100)
  })

  it("lose only the usage when it is hidden", async () => {
    let hidden = 0
    for (const row of streams) {
      if (row.path !== "/v1/chat/completions") continue
      const kept = eventsOf(row.sse).filter(({ value }) => {
        const choices = value?.choices
        return !(isObject(value?.usage) && Array.isArray(choices) && choices.length === 0)
      })
      const expected = kept.map(({ text }) => text.replace(/,\s*"usage":\s*null/, "")).join("")
      for (const largest of [1, 40, 3_000]) {
        const { text } = await watched(row, chunked(Buffer.from(row.sse), largest, largest + 7), true)
        if (expected !== row.sse) hidden++
        assert.isTrue(text === expected, row.id)
      }
    }
    assert.isAbove(hidden, 30)
  })
})

/** A request that the same stream could answer, where the recorded one is refused by a rule. */
const standIn = ({ path, request }: recorded.StreamRow): JsonObject => ({
  model: "gpt-4o",
  stream: true,
  ...(path === "/v1/responses"
    ? { input: "hi", max_output_tokens: 16_384 }
    : { ...(path === "/v1/completions" ? { prompt: "hi" } : { messages: [] }), max_tokens: 16_384 }),
  ...(isObject(request.stream_options) ? { stream_options: request.stream_options } : {})
})

describe.skipIf(!recorded.isThere)("the recorded streams, through a budgeted fetch", () => {
  const replayed = (row: recorded.StreamRow, body: JsonObject) =>
    Effect.gen(function* () {
      const fetch = yield* BudgetedFetch.make({
        refusal: "throw",
        fetch: () => Promise.resolve(responseOf(chunked(Buffer.from(row.sse), 700, row.sse.length)))
      })
      const url = `https://api.openai.com${row.path}`
      const send = { method: "POST", body: JSON.stringify(body) }
      const text = yield* Effect.tryPromise(async () => (await fetch(url, send)).text())
      return { text, summary: yield* Budget.summary }
    }).pipe(
      Effect.provide([Budget.layerMemory({ limit: Usd.dollars("1000") }), Pricing.layer, TokenCounter.layer])
    )

  it.effect("show their reader the same events, and settle at the usage that was recorded", () =>
    Effect.gen(function* () {
      let asRecorded = 0
      for (const row of recorded.streams()) {
        if (row.path === "/v1/responses/compact") continue
        // Hosted tools are admitted where their calls are limited.
        const limited = replayed(row, { ...row.request, max_tool_calls: 10 })
        const first = yield* Effect.result(Effect.catch(replayed(row, row.request), () => limited))
        if (Result.isSuccess(first)) asRecorded++
        const { summary, text } = Result.isSuccess(first) ? first.success : yield* replayed(row, standIn(row))
        const asked =
          isObject(row.request.stream_options) && row.request.stream_options.include_usage === true
        const isHidden = row.path !== "/v1/responses" && !asked
        const events = eventsOf(row.sse)
        const shown = events.filter(
          ({ value }) =>
            !(isHidden && isArray(value?.choices) && value.choices.length === 0 && isObject(value.usage))
        )
        const expected = shown.map((each) =>
          isHidden ? each.text.replace(/,\s*"usage":\s*null/, "") : each.text
        )
        assert.isTrue(text === expected.join(""), row.id)
        const usage = events.map(({ value }) => usageIn(value)).findLast((each) => each !== undefined)
        const input = usage?.prompt_tokens ?? usage?.input_tokens ?? 0
        const models = Object.values(summary.byModel)
        assert.strictEqual(models.length, 1, row.id)
        // Zeros are no bill, and a stream without one is charged whole.
        if (input === 0) assert.strictEqual(models[0]?.assumed, summary.spent, row.id)
        else {
          assert.strictEqual(models[0]?.usage.input, input, row.id)
          const output = usage?.completion_tokens ?? usage?.output_tokens
          assert.strictEqual(models[0]?.usage.output, output, row.id)
          assert.strictEqual(models[0]?.assumed, Usd.zero, row.id)
        }
      }
      assert.isAbove(asRecorded, 50)
    })
  )
})
