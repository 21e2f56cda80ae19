/**
 * Requests made up at random, each with the least that a provider bills for its input: its texts as js-tiktoken
 * counts them and what recorded traffic shows beyond them, at the lower figure where it shows a range. Worked out
 * while the request is made, apart from the code that bounds it.
 */
import type { Json, JsonObject } from "../../src/internal/json.ts"
import { exactly, png } from "./billed.ts"
import type { Random } from "./random.ts"

export interface Generated {
  readonly path: string
  readonly body: JsonObject
  readonly input: number
  /** The most output for a cap. */
  readonly output: (cap: number) => number
}

type Encoding = "o200k_base" | "cl100k_base"

/** What is known of a model for certain: figures for a request, a message, an answer in the history. */
interface Known {
  readonly encoding: Encoding
  readonly request: number
  readonly message: number
  readonly assistant: number
  /** A call with its result, and two that are parallel. */
  readonly call: number
  readonly pair: number
  readonly tools: number
}

const plain: Known = {
  encoding: "o200k_base",
  request: 3,
  message: 4,
  assistant: 0,
  call: 7,
  pair: 29,
  tools: 0
}
const thinking: Known = { ...plain, request: 2, assistant: 2, call: 12, pair: 29, tools: 105 }

const known = (model: string): Known => {
  if (/^gpt-3\.5|^gpt-4(-|$)/.test(model)) return { ...plain, encoding: "cl100k_base" }
  if (/^o1-preview/.test(model)) return { ...thinking, request: 15, message: 16, tools: 0 }
  if (/^o3-mini/.test(model)) return { ...thinking, request: 63, tools: 0 }
  if (/^o\d/.test(model)) return { ...thinking, tools: 0 }
  if (/^(gpt-5|gpt-6|chat-latest)/.test(model)) return thinking
  return plain
}

const words = [
  "the ",
  "budget",
  " naïve",
  "中文",
  "😀",
  "\n",
  '"',
  "\\",
  "12345",
  "  ",
  "<|endoftext|>",
  "\u007f",
  "ß",
  "=====",
  "don't "
]
const textOf = (random: Random): string => random.some(12, () => random.one(words)).join("")

/** JSON with all but printable ASCII written as \\uXXXX. */
const escaped = (text: string): string =>
  JSON.stringify(text).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** A schema, and the form it is fed in. */
const schemaOf = (random: Random, depth: number): readonly [JsonObject, string] => {
  const kind = depth === 0 ? random.below(3) : random.below(6)
  if (kind === 0) return [{ type: "string" }, "string"]
  if (kind === 1) return [{ type: "integer" }, "number"]
  if (kind === 2) {
    const values = ["red", "green", textOf(random)]
    return [{ type: "string", enum: values }, values.map((each) => JSON.stringify(each)).join(" | ")]
  }
  if (kind === 3) {
    const [items, text] = schemaOf(random, depth - 1)
    return [{ type: "array", items }, `${text}[]`]
  }
  if (kind === 4) {
    const [one, text] = schemaOf(random, depth - 1)
    return [{ anyOf: [one, { type: "null" }] }, `${text} | null`]
  }
  return objectOf(random, depth)
}

const objectOf = (random: Random, depth: number): readonly [JsonObject, string] => {
  const fields = random.some(4, (index) => {
    const [schema, text] = schemaOf(random, depth - 1)
    const name = `${random.one(["city", "unit", "größe", "id"])}_${index}`
    const description = random.chance(0.5) ? `About ${textOf(random).replaceAll("\n", " ")}` : undefined
    const isRequired = random.chance(0.5)
    const comment = description === undefined ? "" : `// ${description}\n`
    return {
      name,
      schema: { ...schema, ...(description && { description }) },
      isRequired,
      text: `${comment}${name}${isRequired ? "" : "?"}: ${text},\n`
    }
  })
  const schema = {
    type: "object",
    properties: Object.fromEntries(fields.map((field) => [field.name, field.schema])),
    required: fields.filter((field) => field.isRequired).map((field) => field.name)
  }
  return [schema, `{\n${fields.map((field) => field.text).join("")}}`]
}

const toolsOf = (random: Random): { readonly tools: ReadonlyArray<JsonObject>; readonly text: string } => {
  const made = random.some(3, (index) => {
    const [parameters, text] = objectOf(random, 4)
    const description = `Does ${textOf(random).replaceAll("\n", " ")}`
    return {
      tool: { name: `tool_${index}`, description, parameters },
      text: `// ${description}\ntype tool_${index} = (_: ${text}) => any;\n\n`
    }
  })
  return { tools: made.map((each) => each.tool), text: made.map((each) => each.text).join("") }
}

const sizes = [1, 31, 32, 33, 512, 513, 768, 1_024, 2_048, 2_049, 5_000]

/** The published formulas, for models that they were confirmed for. Nothing is claimed of the others. */
const pictureOf = (model: string, width: number, height: number): number => {
  const fit = Math.min(1, 2_048 / Math.max(width, height))
  const scale = fit * Math.min(1, 768 / (Math.min(width, height) * fit))
  const tiles = Math.ceil((width * scale) / 512) * Math.ceil((height * scale) / 512)
  const patches = Math.min(1_536, Math.ceil(width / 32) * Math.ceil(height / 32))
  if (model.startsWith("gpt-4o-mini")) return 2_833 + 5_667 * tiles
  if (/^(gpt-4o|gpt-4\.1)$/.test(model)) return 85 + 170 * tiles
  if (model === "gpt-5") return 70 + 140 * tiles
  const rates: Readonly<Record<string, number>> = {
    "gpt-4.1-mini": 1.62,
    "gpt-4.1-nano": 2.46,
    "o4-mini": 1.72,
    "gpt-5-mini": 1.2,
    "gpt-5-nano": 1.5
  }
  return Math.ceil(patches * (rates[model] ?? 0))
}

/** A text of about so many tokens, of whole words. */
const bulk = new Map<string, { readonly text: string; readonly tokens: number }>()
const bulkOf = (words: number, encoding: Encoding) => {
  const key = `${encoding} ${words}`
  const made = bulk.get(key) ?? {
    text: " budget".repeat(words),
    tokens: exactly(" budget".repeat(words), encoding)
  }
  bulk.set(key, made)
  return made
}

/** Gathers a conversation and its bill. */
class Bill {
  readonly random: Random
  readonly model: string
  readonly known: Known
  tokens: number

  constructor(random: Random, model: string) {
    this.random = random
    this.model = model
    this.known = known(model)
    this.tokens = this.known.request
  }
  text(text: string): string {
    this.tokens += exactly(text, this.known.encoding)
    return text
  }
  message(role: string): string {
    this.tokens += this.known.message + (role === "assistant" ? this.known.assistant : 0)
    return role
  }
  content(isResponses: boolean): Json {
    const { random } = this
    if (random.chance(0.6)) return this.text(textOf(random))
    return random.some(4, () => {
      if (random.chance(0.7))
        return { type: isResponses ? "input_text" : "text", text: this.text(textOf(random)) }
      const width = random.one(sizes)
      const height = random.one(sizes)
      this.tokens += pictureOf(this.model, width, height)
      const url = png(width, height)
      return isResponses ? { type: "input_image", image_url: url } : { type: "image_url", image_url: { url } }
    })
  }
}

const roundOf = (bill: Bill, isResponses: boolean, round: number): ReadonlyArray<JsonObject> => {
  const { known, random } = bill
  const calls = Array.from({ length: random.chance(0.4) ? 2 : 1 }, (_, index) => ({
    id: `call_${round}_${index}`,
    name: bill.text("look"),
    input: bill.text(JSON.stringify({ at: textOf(random) })),
    output: textOf(random)
  }))
  const isParallel = calls.length > 1
  for (const { output } of calls) {
    bill.message("tool")
    // Escaping was seen on gpt-4o-mini alone; elsewhere the results may be fed as they are.
    bill.text(isParallel && bill.model === "gpt-4o-mini" ? escaped(output) : output)
  }
  bill.tokens += isParallel ? known.pair : known.call
  if (isResponses) {
    return [
      ...calls.map(({ id, input, name }) => ({ type: "function_call", call_id: id, name, arguments: input })),
      ...calls.map(({ id, output }) => ({ type: "function_call_output", call_id: id, output }))
    ]
  }
  return [
    {
      role: "assistant",
      content: null,
      tool_calls: calls.map(({ id, input, name }) => ({
        id,
        type: "function",
        function: { name, arguments: input }
      }))
    },
    ...calls.map(({ id, output }) => ({ role: "tool", tool_call_id: id, content: output }))
  ]
}

/** A conversation, in chat or in responses. */
export const conversation = (random: Random, model: string, words: number): Generated => {
  const isResponses = random.chance(0.5)
  const bill = new Bill(random, model)
  const messages: Array<JsonObject> = []
  if (words > 0) {
    const { text, tokens } = bulkOf(words, bill.known.encoding)
    bill.tokens += tokens
    messages.push({ role: bill.message("user"), content: text })
  }
  for (let turn = random.between(0, 6); turn > 0; turn--) {
    if (random.chance(0.3)) messages.push(...roundOf(bill, isResponses, turn))
    else if (random.chance(0.4))
      messages.push({ role: bill.message("assistant"), content: bill.text(textOf(random)) })
    else messages.push({ role: bill.message("user"), content: bill.content(isResponses) })
  }
  const { text, tools } = toolsOf(random)
  bill.text(text)
  if (tools.length > 0 && !isResponses) bill.tokens += Math.max(0, bill.known.tools - exactly(text))
  const times = isResponses ? 1 : random.between(1, 4)
  const input = bill.tokens
  const common = {
    model,
    ...(tools.length > 0 && {
      tools: tools.map((tool) =>
        isResponses ? { type: "function", ...tool } : { type: "function", function: tool }
      )
    })
  }
  return isResponses
    ? { path: "/responses", body: { ...common, input: messages }, input, output: (cap) => cap }
    : {
        path: "/chat/completions",
        body: { ...common, messages, n: times },
        input,
        output: (cap) => cap * times
      }
}

const prompts = (
  random: Random
): { readonly value: Json; readonly tokens: number; readonly count: number } => {
  if (random.chance(0.3)) {
    const ids = random.some(40, (index) => index)
    return { value: ids, tokens: ids.length, count: 1 }
  }
  const texts = random.some(6, () => textOf(random))
  const tokens = texts.reduce((sum, each) => sum + exactly(each, "cl100k_base"), 0)
  return { value: texts, tokens, count: texts.length }
}

/** Texts, or lists of tokens, to embed or to complete. */
export const bare = (random: Random, model: string): Generated => {
  const { count, tokens, value } = prompts(random)
  if (model.startsWith("text-embedding"))
    return { path: "/embeddings", body: { model, input: value }, input: tokens, output: () => 0 }
  const n = random.between(1, 3)
  return {
    path: "/completions",
    body: { model, prompt: value, n },
    input: tokens,
    output: (cap) => cap * n * count
  }
}
