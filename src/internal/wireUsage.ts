/** The usage objects that OpenAI's API sends, and the servers that speak like it. */
import type * as Usage from "../Usage.ts"
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"
import { isBilledBeyond, toolCallsOf } from "./toolCalls.ts"

/**
 * What a response says of its own bill: the usage, the model that served it, the tier it was served at.
 *
 * @example
 * ```ts
 * import { Usage, type Endpoint } from "agent-budget"
 *
 * const reading: Endpoint.Reading = { usage: Usage.make({ input: 9 }), model: "gpt-4o", tier: "default" }
 * console.log(reading.tier) // default
 * ```
 *
 * @since 0.1.0
 */
export interface Reading {
  readonly usage: Usage.Usage
  readonly model: string | undefined
  readonly tier: string | undefined
  /** What it calls its output, where its total tells that there is more. */
  readonly said?: number | undefined
  /** It tells which cache writes are kept for how long. */
  readonly splitsWrites?: boolean | undefined
  /** It tells how much of its input, and of its output, was audio. */
  readonly tellsHeard?: boolean | undefined
  readonly tellsSpoken?: boolean | undefined
  /** The name by which a later request may go on from it, and how many items it answered with, if it tells. */
  readonly id?: string | undefined
  readonly items?: number | undefined
  /** It called a tool whose price is not known. */
  readonly isBilledBeyond?: boolean | undefined
}

/**
 * A count of tokens: 0 where it is not told, `NaN` where what is told is no count. By hand rather than by a schema,
 * since it is on the path of every call; the tests hold it to a schema.
 */
const tokens = (from: Json | undefined, key: string): number => {
  if (from === undefined || from === null) return 0
  const value = isObject(from) ? from[key] : NaN
  if (value === undefined || value === null) return 0
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : NaN
}

const told = (from: JsonObject, key: string): boolean => from[key] !== undefined && from[key] !== null

const tellsAudio = (details: Json | undefined): boolean => isObject(details) && told(details, "audio_tokens")

/** Parts that are larger than their whole were not counted by anyone. What is `NaN` fails each comparison. */
const plausible = (usage: Usage.Usage, output: Json | undefined): boolean =>
  usage.input > 0 &&
  usage.cachedInput + usage.cacheWrite + usage.cacheWrite12h <= usage.input &&
  usage.audioInput <= usage.input &&
  usage.reasoning <= usage.output &&
  usage.audioOutput <= usage.output &&
  tokens(output, "accepted_prediction_tokens") <= usage.output &&
  tokens(output, "rejected_prediction_tokens") <= usage.output &&
  usage.webSearches >= 0

/** The writes to the prompt cache that the details of an input tell, by how long they are kept. */
const cacheWrites = (input: Json | undefined): Pick<Usage.Usage, "cacheWrite" | "cacheWrite12h"> => {
  const split = splitOf(input)
  const cacheWrite12h = tokens(split, "ttl_12h_tokens")
  const all = Math.max(tokens(input, "cache_write_tokens"), cacheWrite12h + tokens(split, "ttl_30m_tokens"))
  return { cacheWrite: all - cacheWrite12h, cacheWrite12h }
}

const splitOf = (input: Json | undefined): Json | undefined =>
  isObject(input) ? input.cache_write_tokens_details : undefined

/** The output, or what the total says beyond the input: some servers count thoughts there only. */
const outputOf = (wire: JsonObject, input: number, output: string): number => {
  const rest = tokens(wire, "total_tokens") - input
  return told(wire, output) ? Math.max(tokens(wire, output), rest) : told(wire, "total_tokens") ? rest : NaN
}

const promptUsage = (wire: JsonObject): Usage.Usage => {
  const { prompt_tokens_details: details, completion_tokens_details: output } = wire
  const input = tokens(wire, "prompt_tokens")
  const { cacheWrite, cacheWrite12h } = cacheWrites(details)
  // In full, here and below: parts that are spread into it take longer than all the rest.
  return {
    input,
    cachedInput: tokens(details, "cached_tokens"),
    cacheWrite,
    cacheWrite12h,
    audioInput: tokens(details, "audio_tokens"),
    output: outputOf(wire, input, "completion_tokens"),
    reasoning: tokens(output, "reasoning_tokens"),
    audioOutput: tokens(output, "audio_tokens"),
    webSearches: 0,
    fileSearches: 0,
    containers: 0
  }
}

const inputUsage = (wire: JsonObject, response: JsonObject): Usage.Usage => {
  const { input_tokens_details: details, output_tokens_details: output } = wire
  const input = tokens(wire, "input_tokens")
  return {
    input,
    cachedInput: tokens(details, "cached_tokens"),
    ...cacheWrites(details),
    audioInput: 0,
    output: outputOf(wire, input, "output_tokens"),
    reasoning: tokens(output, "reasoning_tokens"),
    audioOutput: 0,
    ...toolCallsOf(response)
  }
}

const text = (value: Json | undefined): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined

/** Texts come as they are, or as parts. */
const isSaid = (content: Json | undefined): boolean =>
  text(content) !== undefined ||
  (isArray(content) &&
    content.some((part) => isObject(part) && (text(part.text) ?? text(part.refusal)) !== undefined))

const isWritten = (message: Json | undefined): boolean =>
  isObject(message) &&
  (isSaid(message.content) ||
    (text(message.refusal) ?? text(message.reasoning_content)) !== undefined ||
    (isArray(message.tool_calls) && message.tool_calls.length > 0) ||
    isObject(message.function_call) ||
    isObject(message.audio))

/** Whether a body with choices, or a chunk of one, shows something that a model wrote. */
export const hasWritten = ({ choices }: JsonObject): boolean =>
  isArray(choices) &&
  choices.some(
    (each) =>
      isObject(each) && (text(each.text) !== undefined || isWritten(each.message) || isWritten(each.delta))
  )

/**
 * Whether the texts are the prompts and no more, as where a prompt is scored: they have as many tokens as the input, and
 * the first of each has no probability, as nothing comes before it. What a text has beyond its tokens, or what stands
 * beside it, is no prompt.
 */
const echoesOnly = ({ choices }: JsonObject, input: number): boolean => {
  let echoed = 0
  for (const each of isArray(choices) ? choices : []) {
    if (!isObject(each) || typeof each.text !== "string") return false
    const { delta, logprobs, message } = each
    if (!isObject(logprobs) || !isArray(logprobs.tokens) || !isArray(logprobs.token_logprobs)) return false
    if (logprobs.token_logprobs[0] !== null || isWritten(message) || isWritten(delta)) return false
    // A token that is part of a character is told by its bytes, which is longer.
    const told = logprobs.tokens.map((token) => text(token) ?? "").join("")
    if (each.text.length > told.length) return false
    echoed += logprobs.tokens.length
  }
  return echoed === input
}

/** The same of the items of a response. */
const hasItems = ({ output }: JsonObject): boolean =>
  isArray(output) &&
  output.some(
    (item) =>
      isObject(item) &&
      ((typeof item.type === "string" && item.type.endsWith("_call")) ||
        isSaid(item.content) ||
        isSaid(item.summary))
  )

const hasOutput = (body: JsonObject, input: number): boolean =>
  (hasWritten(body) && !echoesOnly(body, input)) || hasItems(body)

const reading = (
  usage: Usage.Usage,
  details: Json | undefined,
  output: Json | undefined,
  body: JsonObject,
  said: Json | undefined
): Reading | undefined => {
  if (!plausible(usage, output)) return undefined
  // What was written was counted by nobody.
  if (usage.output === 0 && hasOutput(body, usage.input)) return undefined
  const model = text(body.model)
  const tier = text(body.service_tier)
  const splitsWrites = isObject(splitOf(details))
  const tellsHeard = tellsAudio(details)
  const tellsSpoken = tellsAudio(output)
  return typeof said === "number" && said !== usage.output
    ? { usage, model, tier, splitsWrites, tellsHeard, tellsSpoken, said }
    : { usage, model, tier, splitsWrites, tellsHeard, tellsSpoken }
}

/**
 * The bill of a body with `usage.prompt_tokens`; `undefined` where it has none that could be true. Without
 * `completion_tokens` the output is unknown, which is not the same as none, unless the total tells it.
 */
export const readPromptUsage = (body: JsonObject): Reading | undefined => {
  const { usage } = body
  return isObject(usage)
    ? reading(
        promptUsage(usage),
        usage.prompt_tokens_details,
        usage.completion_tokens_details,
        body,
        usage.completion_tokens
      )
    : undefined
}

/** The bill of a body that never has output: all that its total tells is input. */
export const readEmbeddingUsage = (body: JsonObject): Reading | undefined => {
  const { usage } = body
  if (!isObject(usage)) return undefined
  const { completion_tokens_details: details, prompt_tokens_details: parts } = usage
  const output = tokens(usage, "completion_tokens")
  const input = Math.max(tokens(usage, "prompt_tokens"), tokens(usage, "total_tokens") - output)
  return reading({ ...promptUsage(usage), input, output }, parts, details, body, undefined)
}

/** The bill of a body with `usage.input_tokens`; `undefined` where it has none that could be true. */
export const readInputUsage = (body: JsonObject): Reading | undefined => {
  const { output, usage } = body
  const read = isObject(usage)
    ? reading(
        inputUsage(usage, body),
        usage.input_tokens_details,
        usage.output_tokens_details,
        body,
        usage.output_tokens
      )
    : undefined
  if (read === undefined || !isArray(output)) return read
  // Whoever wrote something wrote some item, and may have left out those of a failure.
  const items = output.length === 0 && read.usage.output > 0 ? undefined : output.length
  return { ...read, id: text(body.id), items, isBilledBeyond: isBilledBeyond(body) }
}
