/**
 * The bill that a provider would send: the judge of what the library booked.
 *
 * Written from the price rules alone and independent of the library: it counts, caps and prices on its own, in
 * bigint pico-dollars (1e-12 USD), and rounds each call up once to a nano-dollar (1e-9 USD). Nothing here knows
 * of HTTP; `SimulatedProvider.ts` runs the calls.
 */

/** The endpoints that run a model and cost money. */
export type Endpoint = "chat" | "responses" | "completions" | "embeddings"

/** Rates as price lists print them: decimal strings, USD per 1,000,000 tokens, at most six decimals. */
export interface Rates {
  readonly input: string
  /** Input read from the prompt cache. Costs full input when absent. */
  readonly cachedInput?: string
  /** Input written to the prompt cache for 30 minutes. Costs input when absent. */
  readonly cacheWrite?: string
  /** Input written to the prompt cache for 12 hours. Costs `cacheWrite` when absent. */
  readonly cacheWrite12h?: string
  readonly output: string
}

/** The rates of one model on one tier. */
export interface TierPrice extends Rates {
  /** From this many input tokens on (inclusive), these rates apply to the whole call. */
  readonly longContext?: Rates & { readonly from: number }
}

/** Model id, then tier (`default`, `flex`, `priority`, ...), to rates. `fast` is read as `priority`. */
export type PriceMap = Readonly<Record<string, Readonly<Record<string, TierPrice>>>>

/** What one call used, in tokens. Parts are inside their totals. */
export interface BilledUsage {
  readonly input: number
  readonly cachedInput: number
  readonly cacheWrite: number
  readonly cacheWrite12h: number
  readonly output: number
  readonly reasoning: number
}

/** One line of the bill. */
export interface BilledCall {
  /** The id in the answer (`chatcmpl-sim-0`), also where the answer was lost. */
  readonly id: string
  /** Index of the request in `provider.requests`. */
  readonly request: number
  /** The model that ran (the dated snapshot), its price taken from there or else from the asked model's row. */
  readonly model: string
  readonly tier: string
  readonly endpoint: Endpoint
  readonly usage: BilledUsage
  readonly nanoUsd: bigint
  /** Whether the whole answer was handed to the network. */
  readonly completed: boolean
}

/** Everything billed so far, in the order in which the models began to run. */
export interface Bill {
  readonly totalNanoUsd: bigint
  readonly calls: ReadonlyArray<BilledCall>
}

/** Pico-dollars a token: $1 per 1,000,000 tokens is 1,000,000 of them. */
export const picoPerToken = (usdPerMillion: string): bigint => {
  const match = /^(\d+)(?:\.(\d{1,6}))?$/.exec(usdPerMillion)
  if (match === null) throw new Error(`"${usdPerMillion}" is not a price in USD per 1M tokens (0.15).`)
  return BigInt((match[1] ?? "") + (match[2] ?? "").padEnd(6, "0"))
}

/** What a usage costs, in pico-dollars. */
export const picoUsd = (price: TierPrice, usage: BilledUsage): bigint => {
  const long = price.longContext
  const rates = long !== undefined && usage.input >= long.from ? long : price
  const write = rates.cacheWrite ?? rates.input
  const plain = usage.input - usage.cachedInput - usage.cacheWrite - usage.cacheWrite12h
  if (plain < 0) throw new Error(`The parts of the input exceed its ${usage.input} tokens.`)
  return (
    BigInt(plain) * picoPerToken(rates.input) +
    BigInt(usage.cachedInput) * picoPerToken(rates.cachedInput ?? rates.input) +
    BigInt(usage.cacheWrite) * picoPerToken(write) +
    BigInt(usage.cacheWrite12h) * picoPerToken(rates.cacheWrite12h ?? write) +
    BigInt(usage.output) * picoPerToken(rates.output)
  )
}

/** The same in nano-dollars, rounded up. */
export const nanoUsd = (price: TierPrice, usage: BilledUsage): bigint =>
  (picoUsd(price, usage) + 999n) / 1000n

/** The row of a model and tier; undefined when it is not sold. */
export const priceOf = (prices: PriceMap, model: string, tier: string): TierPrice | undefined => {
  const row = Object.hasOwn(prices, model) ? prices[model] : undefined
  const name = tier === "fast" ? "priority" : tier
  return row !== undefined && Object.hasOwn(row, name) ? row[name] : undefined
}

// -- Counting -------------------------------------------------------------------------------------------------

/** Tokens of a text. */
export type CountText = (text: string) => number

/** Four bytes of UTF-8 are a token: near enough to real text, and countable by hand. */
export const quarterOfBytes: CountText = (text) => Math.ceil(Buffer.byteLength(text, "utf8") / 4)

/** Whether a value is a JSON object. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A field of what may be an object; null counts as absent, as it does for the API. */
export const field = (value: unknown, name: string): unknown =>
  isRecord(value) && Object.hasOwn(value, name) ? (value[name] ?? undefined) : undefined

const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

/** An image, file or sound: one flat price, because its size is not what is under test. */
const mediaTokens = 85

/** Each message, tool and tool call is framed by four tokens; a conversation by three. */
const framing = { conversation: 3, item: 4 } as const

const contentTokens = (content: unknown, count: CountText): number => {
  if (typeof content === "string") return count(content)
  return list(content).reduce<number>((sum, part) => {
    const text = field(part, "text") ?? field(part, "refusal")
    return sum + (typeof text === "string" ? count(text) : mediaTokens)
  }, 0)
}

const messageTokens = (message: unknown, count: CountText): number => {
  const calls = list(field(message, "tool_calls"))
  const name = field(message, "name")
  return (
    framing.item +
    (typeof name === "string" ? count(name) : 0) +
    contentTokens(field(message, "content"), count) +
    calls.reduce<number>((sum, call) => sum + framing.item + count(JSON.stringify(call)), 0)
  )
}

/** A Responses input item: a message by its texts, anything else (calls and their outputs) by its JSON. */
const itemTokens = (item: unknown, count: CountText): number =>
  field(item, "content") === undefined
    ? framing.item + count(JSON.stringify(item))
    : messageTokens(item, count)

const jsonTokens = (value: unknown, count: CountText): number =>
  value === undefined ? 0 : framing.item + count(JSON.stringify(value))

const toolTokens = (body: unknown, count: CountText): number =>
  list(field(body, "tools")).reduce<number>((sum, tool) => sum + jsonTokens(tool, count), 0)

/** The texts of a `prompt` or an embedding `input`: each a string or its token ids. */
const texts = (value: unknown): ReadonlyArray<unknown> =>
  Array.isArray(value) && typeof value[0] !== "number" ? value : [value ?? ""]

const textOrIds = (value: unknown, count: CountText): number =>
  typeof value === "string" ? count(value) : list(value).length

/** Tokens of each prompt or embedding input. */
export const inputTokensEach = (body: unknown, name: "prompt" | "input", count: CountText): Array<number> =>
  texts(field(body, name)).map((text) => textOrIds(text, count))

/**
 * Input tokens of a request.
 *
 * - chat: 3, and for each message 4 + its texts, name and (4 + JSON) of each tool call; 4 + JSON for each tool
 *   and for `response_format`; 85 for each content part that is not text.
 * - responses: the same, with `instructions` as a message, items that are no messages at 4 + JSON, and
 *   `text.format` as the response format.
 * - completions, embeddings: the texts, or the number of token ids; no framing.
 */
export const inputTokens = (endpoint: Endpoint, body: unknown, count: CountText = quarterOfBytes): number => {
  switch (endpoint) {
    case "chat":
      return list(field(body, "messages")).reduce<number>(
        (sum, message) => sum + messageTokens(message, count),
        framing.conversation + toolTokens(body, count) + jsonTokens(field(body, "response_format"), count)
      )
    case "responses": {
      const input = field(body, "input")
      const instructions = field(body, "instructions")
      const items = typeof input === "string" ? [{ content: input }] : list(input)
      return [...(instructions === undefined ? [] : [{ content: instructions }]), ...items].reduce<number>(
        (sum, item) => sum + itemTokens(item, count),
        framing.conversation +
          toolTokens(body, count) +
          jsonTokens(field(field(body, "text"), "format"), count)
      )
    }
    case "completions":
    case "embeddings":
      return inputTokensEach(body, endpoint === "completions" ? "prompt" : "input", count).reduce(
        (sum, tokens) => sum + tokens,
        0
      )
  }
}

/** What a request allows a model to write. */
export interface OutputLimit {
  /** Tokens of each candidate, reasoning included; undefined: no cap was asked for. */
  readonly cap: number | undefined
  /** Candidates in the answer. */
  readonly choices: number
  /** Candidates written, and billed: more than the answer shows when `best_of` exceeds `n`. */
  readonly candidates: number
}

const count = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise)

const cap = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined)

/** The caps of a request, with the API's own defaults. Where chat has both caps, the larger holds. */
export const outputLimit = (endpoint: Endpoint, body: unknown): OutputLimit => {
  const n = count(field(body, "n"), 1)
  const maxTokens = cap(field(body, "max_tokens"))
  switch (endpoint) {
    case "chat": {
      const maxCompletion = cap(field(body, "max_completion_tokens"))
      const caps = [maxCompletion, maxTokens].filter((each) => each !== undefined)
      return { cap: caps.length === 0 ? undefined : Math.max(...caps), choices: n, candidates: n }
    }
    case "responses":
      return { cap: cap(field(body, "max_output_tokens")), choices: 1, candidates: 1 }
    case "completions": {
      const prompts = texts(field(body, "prompt")).length
      const written = Math.max(n, count(field(body, "best_of"), 1))
      return { cap: maxTokens ?? 16, choices: prompts * n, candidates: prompts * written }
    }
    case "embeddings":
      return { cap: 0, choices: 0, candidates: 0 }
  }
}

// -- The bill -------------------------------------------------------------------------------------------------

/** A call that is running: its line of the bill grows with what the model writes. */
export interface RunningCall {
  /** Adds to what was written. */
  readonly write: (output: number) => void
  /** The whole answer was handed to the network. */
  readonly complete: () => void
}

/** The lines of a bill, and how a call gets onto it. */
export interface BillBook {
  /** A model begins to run: its input is owed from here on, and output as it is written. */
  readonly open: (
    call: Omit<BilledCall, "nanoUsd" | "completed" | "usage">,
    price: TierPrice,
    usage: Omit<BilledUsage, "output">
  ) => RunningCall
  readonly bill: () => Bill
}

/** An empty bill. */
export const makeBillBook = (): BillBook => {
  const lines: Array<() => BilledCall> = []
  return {
    open: (call, price, usage) => {
      let output = 0
      let completed = false
      lines.push(() => {
        const used = { ...usage, output, reasoning: Math.min(usage.reasoning, output) }
        return { ...call, usage: used, nanoUsd: nanoUsd(price, used), completed }
      })
      return { write: (more) => void (output += more), complete: () => void (completed = true) }
    },
    bill: () => {
      const calls = lines.map((line) => line())
      return { calls, totalNanoUsd: calls.reduce((sum, call) => sum + call.nanoUsd, 0n) }
    }
  }
}
