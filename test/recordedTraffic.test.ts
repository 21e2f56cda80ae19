/**
 * The law, against what was billed: a quote's input and output are never below the bill's, and its dollars cover
 * the bill at the price of the model that was asked for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type * as BudgetError from "../src/BudgetError.ts"
import { isObject, type Json, type JsonObject } from "../src/internal/json.ts"
import { watch } from "../src/internal/responseWatch.ts"
import type { Reading } from "../src/internal/wireUsage.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as Settlement from "../src/Settlement.ts"
import * as recorded from "./utils/recorded.ts"

const pricing = await Effect.runPromise(Pricing.make())

interface Exchange {
  readonly id: string
  readonly path: string
  readonly request: JsonObject
  readonly usage: JsonObject
  readonly model: Json
  readonly tier: Json
}

/** What a quote said of an exchange: the rule that refused it, or where it was below the bill. */
type Finding =
  | { readonly _tag: "Unpriced" }
  | { readonly _tag: "Refused"; readonly rule: string }
  | { readonly _tag: "Quoted"; readonly faults: ReadonlyArray<string>; readonly slack: number }

const ruleOf = ({ reason }: BudgetError.BudgetError): string => {
  if (reason._tag === "UnknownModel") return `UnknownModel ${reason.model}`
  return "detail" in reason ? `${reason._tag} ${reason.detail}` : reason._tag
}

const examine = (exchange: Exchange): Finding => {
  const { path, request } = exchange
  const found = OpenAiEndpoints.recognise("POST", path)
  if (found._tag !== "Priced") return { _tag: "Unpriced" }
  const quoted = Quote.make(pricing, { method: "POST", path, body: request })
  if (Result.isFailure(quoted)) return { _tag: "Refused", rule: ruleOf(quoted.failure) }
  const quote = quoted.success
  const reading = found.endpoint.read({
    usage: exchange.usage,
    model: exchange.model,
    service_tier: exchange.tier
  })
  if (reading === undefined) return { _tag: "Quoted", faults: ["its usage was not read"], slack: 0 }
  const { usage } = reading
  const { output } = quote.plan
  const outputBound =
    output === undefined ? 0 : (output.cap ?? quote.cap?.most ?? 0) * output.times + output.extra
  const faults: Array<string> = []
  if (usage.input > quote.input) faults.push(`input ${usage.input} > ${quote.input}`)
  if (usage.output > outputBound) faults.push(`output ${usage.output} > ${outputBound}`)
  const cost = Pricing.cost(quote.price, usage)
  if (Result.isSuccess(cost)) {
    if (cost.success > quote.most) faults.push(`nano-dollars ${cost.success} > ${quote.most}`)
  } else {
    // A bill that cannot be priced is charged as the whole reservation, never as nothing.
    const terms = { reserved: quote.most, model: quote.model, tier: quote.price.tier, price: quote.price }
    const verdict = Settlement.decide(
      { _tag: "Reported", reading },
      { ...terms, regional: false, at: quote.at },
      pricing
    )
    if (verdict._tag !== "Assumed" || verdict.amount !== quote.most) faults.push("an unpriced bill")
  }
  return { _tag: "Quoted", faults, slack: quote.input / usage.input }
}

/** Refusals that a rule of the closed lists explains: what costs more than the request shows. */
const explained: ReadonlyArray<RegExp> = [
  /^UnboundedRequest a tool of type "(?!function|custom|namespace)\w+" costs more/,
  /^UnboundedRequest what an input item of type "(?!message|reasoning|function_call|custom_tool_call)\w+" costs/,
  /^UnboundedRequest the model ".*(search|deep-research).*" reads what it searches for/,
  /^UnboundedRequest its reasoning mode runs more than one pass/,
  /^UnboundedRequest (web search reads more|a stored prompt|background is true|compaction reads)/
]

/** Exchanges made up in the shape of real ones, so that the law is met by something in every checkout. */
const made: ReadonlyArray<Exchange> = [
  {
    // 3 to prime and 4 a message, as the recorded 4o traffic frames them; "Say hi." is 3 tokens.
    ...{ id: "a greeting", path: "/chat/completions", model: "gpt-4o-2024-08-06", tier: "default" },
    request: { model: "gpt-4o", max_tokens: 5, messages: [{ role: "user", content: "Say hi." }] },
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  },
  {
    // A single pixel is one tile: 2,833 + 5,667.
    ...{ id: "one pixel", path: "/chat/completions", model: "gpt-4o-mini-2024-07-18", tier: "default" },
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
    // Two prompts of 16 tokens each, which is what the API writes without a cap.
    ...{ id: "two prompts", path: "/completions", model: "gpt-3.5-turbo-instruct", tier: null },
    request: { model: "gpt-3.5-turbo-instruct", prompt: ["once", "twice"] },
    usage: { prompt_tokens: 2, completion_tokens: 32, total_tokens: 34 }
  },
  {
    ...{ id: "thinking", path: "/responses", model: "gpt-5.2-2025-12-11", tier: "default" },
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
  it("are never billed above their quotes", () => {
    for (const exchange of made) {
      const finding = examine(exchange)
      assert.deepInclude(finding, { _tag: "Quoted", faults: [] }, exchange.id)
    }
  })

  it("would be found out, were they billed one token more than the bound", () => {
    for (const exchange of made) {
      const quote = Result.getOrThrow(
        Quote.make(pricing, { method: "POST", path: exchange.path, body: exchange.request })
      )
      const name = exchange.path === "/responses" ? "input_tokens" : "prompt_tokens"
      const usage = { ...exchange.usage, [name]: quote.input + 1 }
      const finding = examine({ ...exchange, usage })
      assert.include(JSON.stringify(finding), `input ${quote.input + 1} > ${quote.input}`)
    }
  })
})

describe.skipIf(!recorded.isThere)("the recorded traffic", () => {
  const exchanges = recorded.exchanges().map((row): Exchange => ({
    id: row.id,
    path: row.path.replace(/^\/v1/, ""),
    request: row.request,
    usage: row.usage,
    model: row.responseModel,
    tier: row.serviceTier
  }))
  const findings = exchanges.map((exchange) => ({ exchange, finding: examine(exchange) }))
  const priced = findings.filter(({ finding }) => finding._tag !== "Unpriced")
  const quoted = findings.flatMap(({ exchange, finding }) =>
    finding._tag === "Quoted" ? [{ exchange, ...finding }] : []
  )

  it("is never billed above its quote: not in input, nor in output, nor in dollars", () => {
    const faulty = quoted.flatMap(({ exchange, faults }) => faults.map((fault) => `${exchange.id}: ${fault}`))
    assert.deepStrictEqual(faulty, [])
    assert.isAbove(quoted.length, 3_000)
  })

  it("is quoted, or refused by a rule of the closed lists, in at least 97 of 100 calls", () => {
    const refusals = new Map<string, number>()
    let unexplained = 0
    for (const { finding } of priced) {
      if (finding._tag !== "Refused") continue
      refusals.set(finding.rule, (refusals.get(finding.rule) ?? 0) + 1)
      if (!explained.some((rule) => rule.test(finding.rule))) unexplained++
    }
    const shown = [...refusals].map(([rule, count]) => `${count} ${rule}`).join("\n")
    assert.isBelow(unexplained / priced.length, 0.03, shown)
  })

  it("is held, at the median, at less than eight times its input", () => {
    const slacks = quoted.map(({ slack }) => slack).sort((a, b) => a - b)
    assert.isBelow(slacks[slacks.length >> 1] ?? Infinity, 8)
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
    drains: () => false
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
