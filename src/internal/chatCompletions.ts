/** POST /chat/completions. */
import type { Endpoint } from "../Endpoint.ts"
import { asciiEscapedLength } from "../TokenCounter.ts"
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"
import type { CountSheet } from "./countSheet.ts"
import { planner, type Sides } from "./planning.ts"
import { moderation, type BodyReader, type FieldRule } from "./requestBound.ts"
import { asksForUsage, chunkSignal } from "./streamUsage.ts"
import { readPromptUsage } from "./wireUsage.ts"

const name = "POST /chat/completions"

const fields: Readonly<Record<string, FieldRule>> = {
  audio: "bounded",
  frequency_penalty: "bounded",
  function_call: "bounded",
  functions: "bounded",
  logit_bias: "bounded",
  logprobs: "bounded",
  max_completion_tokens: "bounded",
  max_tokens: "bounded",
  messages: "bounded",
  metadata: "bounded",
  modalities: "bounded",
  model: "bounded",
  moderation,
  n: "bounded",
  parallel_tool_calls: "bounded",
  prediction: "bounded",
  presence_penalty: "bounded",
  prompt_cache_key: "bounded",
  prompt_cache_options: "bounded",
  prompt_cache_retention: "bounded",
  reasoning_effort: "bounded",
  response_format: "bounded",
  safety_identifier: "bounded",
  seed: "bounded",
  service_tier: "bounded",
  stop: "bounded",
  store: "bounded",
  stream: "bounded",
  stream_options: "bounded",
  temperature: "bounded",
  tool_choice: "bounded",
  tools: "bounded",
  top_logprobs: "bounded",
  top_p: "bounded",
  user: "bounded",
  verbosity: "bounded",
  web_search_options: {
    refused:
      "web search reads more than the request shows, without a limit here: POST /responses has one, max_tool_calls."
  }
}

const toolTypes = new Set(["function", "custom"])

const readMessages = (reader: BodyReader, messages: Json | undefined): void => {
  if (!isArray(messages)) {
    reader.malformed("messages is not a list.", "Send an array of messages.")
    return
  }
  for (const message of messages) {
    reader.message()
    if (!isObject(message)) {
      reader.malformed("a message is not an object.", "Send messages as objects.")
      return
    }
    reader.content(message.content)
    // An earlier audio answer is named by id: what it holds is not in the request.
    if (isObject(message.audio)) {
      reader.unshown = true
      reader.audio = true
    }
    if (isArray(message.tool_calls)) for (const _ of message.tool_calls) reader.message()
  }
}

/** The most tokens of a prediction: its text, as wide as it can be. */
const predicted = (reader: BodyReader, prediction: Json | undefined): number =>
  prediction === undefined || prediction === null || reader.refusal !== undefined
    ? 0
    : asciiEscapedLength(JSON.stringify(prediction))

/** Whether the answer may be spoken. Other ways of answering have no price here. */
const readModalities = (reader: BodyReader, modalities: Json | undefined): boolean => {
  if (modalities === undefined || modalities === null) return false
  const known = isArray(modalities) && modalities.every((each) => each === "text" || each === "audio")
  if (!known) reader.unbounded("it asks for more than text and audio.", "Leave modalities out.")
  return isArray(modalities) && modalities.includes("audio")
}

const readBody = (reader: BodyReader, body: JsonObject): Sides => {
  readMessages(reader, body.messages)
  reader.tools(body.tools, toolTypes)
  for (const each of isArray(body.functions) ? body.functions : []) {
    reader.message()
    if (isObject(each)) reader.functions.push(each)
  }
  if (isObject(body.response_format)) reader.schema()
  const caps = [reader.count(body, "max_completion_tokens"), reader.count(body, "max_tokens")]
  const given = caps.filter((cap) => cap !== undefined)
  const times = reader.count(body, "n") ?? 1
  const stream = reader.flag(body, "stream")
  const output = {
    // Which of the two a server heeds is its own affair: the larger bounds both.
    cap: given.length === 0 ? undefined : Math.max(...given),
    fallback: undefined,
    field: "max_completion_tokens",
    times,
    // Rejected prediction tokens are billed as output, and whether the cap limits them is not stated.
    extra: times * predicted(reader, body.prediction),
    audio: readModalities(reader, body.modalities)
  }
  const tier = reader.word(body, "service_tier")
  return { output, tier, stream, askForUsage: stream && !asksForUsage(body) }
}

/** Of a message's fields: those that are counted by name, and those that are not fed to the model. */
const listed = new Set(
  "role content name tool_calls function_call refusal tool_call_id annotations audio type charset".split(" ")
)

/** Of a call's fields, and of those of the function or tool it calls, the same. */
const calledBy = new Set("type id index function custom name arguments input".split(" "))

const listCall = (sheet: CountSheet, call: Json, isParallel: boolean): void => {
  if (!isObject(call)) {
    sheet.json(call)
    return
  }
  for (const each of [call, call.function, call.custom]) {
    if (!isObject(each)) sheet.text(each)
    else {
      sheet.text(each.name)
      sheet.given(each.arguments, isParallel)
      sheet.given(each.input, isParallel)
      sheet.others(each, calledBy)
    }
  }
}

export const listBody = (sheet: CountSheet, body: JsonObject): void => {
  let isParallel = false
  for (const message of isArray(body.messages) ? body.messages : []) {
    if (!isObject(message)) continue
    const { function_call: call, role, tool_calls: calls } = message
    sheet.message(role)
    sheet.name(message.name)
    sheet.text(message.refusal)
    if (role === "assistant") isParallel = isArray(calls) && calls.length > 1
    // The results of parallel calls are fed as JSON that is escaped to ASCII, on some models.
    sheet.content(message.content, isParallel && role === "tool")
    sheet.others(message, listed)
    if (!isArray(calls)) sheet.text(calls)
    for (const each of [
      ...(isArray(calls) ? calls : []),
      ...(call === undefined || call === null ? [] : [call])
    ]) {
      sheet.call(isParallel)
      listCall(sheet, each, isParallel)
    }
  }
  const { chatTools } = sheet.family.framing
  sheet.tools(body.tools, chatTools)
  sheet.tools(body.functions, chatTools)
  sheet.choice(body.tool_choice)
  sheet.choice(body.function_call)
  sheet.schema(body.response_format)
  sheet.text(body.prediction)
}

const plan = planner(name, true, fields, readBody, listBody)

export const chatCompletions: Endpoint = { name, plan, read: readPromptUsage, signal: chunkSignal }
