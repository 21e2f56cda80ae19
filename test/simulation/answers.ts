/** The bytes of an answer, in the shapes of the real API, packet by packet. */
import type { BilledUsage, Endpoint } from "../utils/providerBill.ts"
import type { Growth, Report } from "./faults.ts"

export interface Answer {
  readonly id: string
  readonly endpoint: Endpoint
  readonly model: string
  readonly tier: string | undefined
  readonly choices: number
  readonly usage: BilledUsage
  readonly report: Report
  readonly grows: Growth
  /** The request asked for the usage of a stream; elsewhere it is always told. */
  readonly tells: boolean
}

/** A piece of an answer. `tokens`: what the model had written by then, beyond the piece before. */
export interface Packet {
  readonly bytes: Uint8Array
  readonly tokens: number
  /** With this piece the whole of the usage has been sent. */
  readonly tellsUsage: boolean
}

interface Event {
  readonly text: string
  readonly tokens: number
  readonly tellsUsage: boolean
}

const reported = (usage: object, report: Report): unknown => {
  const numbers = (change: (value: number) => unknown): unknown =>
    Object.fromEntries(
      Object.entries(usage).map(([name, value]: [string, unknown]) => [
        name,
        typeof value === "number" ? change(value) : value
      ])
    )
  switch (report) {
    case "truth":
      return usage
    case "nothing":
      return undefined
    case "null":
      return null
    case "negative":
      return numbers((value) => -value - 1)
    case "zero":
      return numbers(() => 0)
    case "text":
      return numbers(String)
    case "parts beyond the whole":
      return {
        ...usage,
        prompt_tokens_details: { cached_tokens: 1e12 },
        input_tokens_details: { cached_tokens: 1e12 }
      }
  }
}

const usageOf = ({ endpoint, report, usage }: Answer): unknown => {
  const { cachedInput: cached_tokens, cacheWrite: cache_write_tokens, input, output, reasoning } = usage
  const total_tokens = input + output
  const honest = {
    chat: {
      prompt_tokens: input,
      completion_tokens: output,
      total_tokens,
      prompt_tokens_details: { cached_tokens, cache_write_tokens },
      completion_tokens_details: { reasoning_tokens: reasoning }
    },
    responses: {
      input_tokens: input,
      input_tokens_details: { cached_tokens, cache_write_tokens },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: reasoning },
      total_tokens
    },
    completions: { prompt_tokens: input, completion_tokens: output, total_tokens },
    embeddings: { prompt_tokens: input, total_tokens }
  }
  return reported(honest[endpoint], report)
}

const whole = (answer: Answer): object => {
  const { choices, endpoint, id, model, tier: service_tier } = answer
  const usage = usageOf(answer)
  const message = { role: "assistant", content: answer.usage.output > 0 ? "words" : "" }
  switch (endpoint) {
    case "responses":
      return { id, object: "response", status: "completed", model, service_tier, output: [message], usage }
    case "embeddings":
      return { object: "list", data: [{ index: 0, embedding: [0.5] }], model, usage }
    default: {
      const each = Array.from({ length: choices }, (_, index) => ({ index, message, finish_reason: "stop" }))
      return { id, object: "chat.completion", model, service_tier, choices: each, usage }
    }
  }
}

const sse = (data: unknown, type?: string): string =>
  `${type === undefined ? "" : `event: ${type}\n`}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`

/** The most pieces that a model's words come in, whatever their number. */
const mostDeltas = 5

const spoken = (output: number, event: (tokens: number, soFar: number) => string): ReadonlyArray<Event> => {
  const pieces = Math.min(mostDeltas, output)
  return Array.from({ length: pieces }, (_, index) => {
    const soFar = Math.floor((output * (index + 1)) / pieces)
    const tokens = soFar - Math.floor((output * index) / pieces)
    return { text: event(tokens, soFar), tokens, tellsUsage: false }
  })
}

const streamed = (answer: Answer): ReadonlyArray<Event> => {
  const { choices, endpoint, grows, id, model, report, tells, tier: service_tier, usage } = answer
  const silent = (text: string): Event => ({ text, tokens: 0, tellsUsage: false })
  if (endpoint === "responses") {
    const opening = { id, object: "response", status: "in_progress", model, usage: null }
    return [
      silent(sse({ type: "response.created", response: opening }, "response.created")),
      ...spoken(usage.output, (tokens) =>
        sse({ type: "response.output_text.delta", delta: `${tokens} words` }, "response.output_text.delta")
      ),
      {
        text: sse({ type: "response.completed", response: whole(answer) }, "response.completed"),
        tokens: 0,
        tellsUsage: report === "truth"
      }
    ]
  }
  const base = { id, object: "chat.completion.chunk", model, service_tier }
  const told = usageOf(answer)
  const growing = (output: number): object =>
    grows === "no"
      ? {}
      : {
          usage: usageOf({
            ...answer,
            usage: { ...usage, output, reasoning: Math.min(usage.reasoning, output) }
          })
        }
  return [
    ...spoken(usage.output, (tokens, soFar) =>
      sse({
        ...base,
        choices: [{ index: tokens % choices, delta: { content: `${tokens} words` } }],
        ...growing(soFar),
        usage: null
      })
    ),
    silent(
      sse({
        ...base,
        choices: [{ index: 0, delta: {}, finish_reason: "stop" }],
        ...growing(usage.output)
      })
    ),
    ...(tells && grows !== "only" && told !== undefined
      ? [{ text: sse({ ...base, choices: [], usage: told }), tokens: 0, tellsUsage: report === "truth" }]
      : []),
    { text: sse("[DONE]"), tokens: 0, tellsUsage: grows === "only" && report === "truth" }
  ]
}

/** Cut where the network likes: `cuts` more pieces than there are events to send, never at their ends. */
const cutUp = (events: ReadonlyArray<Event>, cuts: number): ReadonlyArray<Packet> =>
  events.flatMap(({ tellsUsage, text, tokens }, index) => {
    const bytes = Buffer.from(text)
    const at = cuts > index ? Math.floor(bytes.length / 2) : 0
    if (at === 0) return [{ bytes, tokens, tellsUsage }]
    return [
      { bytes: bytes.subarray(0, at), tokens, tellsUsage: false },
      { bytes: bytes.subarray(at), tokens: 0, tellsUsage }
    ]
  })

export const packets = (answer: Answer, stream: boolean, cuts: number): ReadonlyArray<Packet> =>
  stream
    ? cutUp(streamed(answer), cuts)
    : cutUp([{ text: JSON.stringify(whole(answer)), tokens: 0, tellsUsage: answer.report === "truth" }], cuts)
