/**
 * What quoting costs an agent that sends its whole conversation again with every turn, against counting every turn
 * afresh with js-tiktoken.
 *
 * Run with `node --conditions=agent-budget-source bench/agent.ts`. Fails above the mark of 2 %.
 */
import { Effect, Result } from "effect"
import { Host, OpenAiEndpoints, Pricing, Quote, TokenCounter } from "agent-budget"
import { Tiktoken } from "js-tiktoken/lite"
import ranks from "js-tiktoken/ranks/o200k_base"
import type { JsonObject } from "../src/internal/json.ts"

const turns = 100
const mark = 0.02

/** Numbers that look random and are the same in each run (mulberry32). */
let seed = 11
const next = (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}
const below = (limit: number): number => Math.floor(next() * limit)

/** Ordinary words: made-up ones take js-tiktoken four times as long, and would flatter what is compared with it. */
const words = (
  "the of and to in a is that it was for on are with as they be at this have from or had by but some what there we " +
  "can out other were all your when up use word how said each she which do their time if will way about many then " +
  "them would write like so these her long make thing see him two has look more day could go come did my sound no " +
  "most number who over know water than call first people may down side been now find any new work part take get " +
  "place made live where after back little only round man year came show every good give our under name very through " +
  "budget request agent result function answer question account reservation provider measure release settlement"
).split(" ")
const prose = (chars: number): string => {
  let text = ""
  while (text.length < chars) text += `${words[below(words.length)] ?? ""}${next() < 0.1 ? ". " : " "}`
  return text
}

const tools = Array.from({ length: 8 }, (_, index) => ({
  type: "function",
  function: {
    name: `tool_${index}`,
    description: prose(200),
    parameters: {
      type: "object",
      properties: Object.fromEntries(
        Array.from({ length: 6 }, (_, field) => [
          `field_${field}`,
          { type: "string", description: prose(80) }
        ])
      ),
      required: ["field_0"]
    }
  }
}))

/** A turn: a question of the model's with a call, the call's result, and what is asked next. */
const turn = (index: number): ReadonlyArray<JsonObject> => [
  {
    role: "assistant",
    content: prose(600),
    tool_calls: [
      {
        id: `call_${index}`,
        type: "function",
        function: { name: `tool_${index % 8}`, arguments: JSON.stringify({ field_0: prose(300) }) }
      }
    ]
  },
  {
    role: "tool",
    tool_call_id: `call_${index}`,
    content: JSON.stringify({
      rows: Array.from({ length: 24 }, () => ({ id: below(1e6), text: prose(150) }))
    })
  },
  { role: "user", content: prose(500) }
]

const bodies = (() => {
  const messages: Array<JsonObject> = [{ role: "system", content: prose(4_000) }]
  return Array.from({ length: turns }, (_, index) => {
    messages.push(...turn(index))
    return JSON.stringify({ model: "gpt-4o", max_completion_tokens: 500, tools, messages })
  })
})()

const megabytes = bodies.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6
const found = OpenAiEndpoints.recognise("POST", "/chat/completions")
if (found._tag !== "Priced") throw new Error("Chat completions have no prices.")
const { endpoint } = found
const where = { host: Host.of(new URL("https://api.openai.com")), at: Date.UTC(2026, 10, 23) }

/** A body as it arrives, so with strings that are new: reading it is no part of what is measured. */
const read = (text: string) => ({ body: JSON.parse(text) as JsonObject, text })

const quoting = Effect.fnUntraced(function* (rung: "bytes" | "counted") {
  const pricing = yield* Pricing.make()
  const counter = yield* TokenCounter.make()
  let tokens = 0
  let millis = 0
  for (const text of bodies) {
    const request = read(text)
    const started = performance.now()
    const quote = Result.getOrThrow(Quote.quote(pricing, endpoint, request, {}, where))
    tokens += rung === "bytes" ? quote.input : (yield* Quote.countedBy(counter, quote)).input
    millis += performance.now() - started
  }
  return { millis, tokens }
})

/** All that the model is fed, as naively as can be: the text of each message and the tools' JSON, counted anew. */
const countingAfresh = (): { readonly millis: number; readonly tokens: number } => {
  const encoder = new Tiktoken(ranks)
  encoder.encode(prose(20_000), [], [])
  let tokens = 0
  let millis = 0
  for (const text of bodies) {
    const { body } = read(text)
    const started = performance.now()
    for (const message of body.messages as ReadonlyArray<JsonObject>) {
      const calls = message.tool_calls === undefined ? "" : JSON.stringify(message.tool_calls)
      tokens += encoder.encode(
        (typeof message.content === "string" ? message.content : "") + calls,
        [],
        []
      ).length
    }
    tokens += encoder.encode(JSON.stringify(body.tools), [], []).length
    millis += performance.now() - started
  }
  return { millis, tokens }
}

// Ranks are loaded once a process, whoever asks first.
await Effect.runPromise(
  Effect.flatMap(TokenCounter.make(), (counter) => counter.count("Hello", "o200k_base"))
)
const counted = await Effect.runPromise(quoting("counted"))
const bytes = await Effect.runPromise(quoting("bytes"))
const afresh = countingAfresh()

const line = (name: string, { millis, tokens }: { readonly millis: number; readonly tokens: number }): void =>
  console.log(
    `  ${name.padEnd(34)}${millis.toFixed(1).padStart(9)} ms  ${((100 * millis) / afresh.millis).toFixed(2).padStart(6)} %  ${tokens} tokens`
  )
console.log(
  `an agent of ${turns} turns, ${((bodies.at(-1) ?? "").length / 1e3).toFixed(0)} KB at its end, ${megabytes.toFixed(1)} MB sent in all`
)
line("every turn afresh, js-tiktoken", afresh)
line("quoted, counted", counted)
line("quoted, by its length", bytes)
if (counted.millis > mark * afresh.millis) {
  console.error(`MISSED: counted quotes cost more than ${100 * mark} %`)
  process.exitCode = 1
}
