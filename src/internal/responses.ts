/** POST /responses. */
import type { Endpoint, Signal } from "../Endpoint.ts"
import { isHosted } from "./hostedTools.ts"
import { isArray, isGiven, isObject, type Json, type JsonObject } from "./json.ts"
import type { CountSheet } from "./countSheet.ts"
import { planner, type Sides } from "./planning.ts"
import { moderation, type BodyReader, type FieldRule } from "./requestBound.ts"
import { readInputUsage } from "./wireUsage.ts"

const name = "POST /responses"

const fields: Readonly<Record<string, FieldRule>> = {
  // The API picks one itself where it is left out, and no model has a price for each. Sources: OpenAI's Daybreak guide
  // and pricing page.
  access_programs: "bounded",
  background: "bounded",
  context_management: { refused: "compaction reads the conversation once more than the request shows." },
  conversation: "bounded",
  // Whether images are compressed, which is up to the API where it is left out. Source: the `openai` package.
  image: "bounded",
  include: "bounded",
  input: "bounded",
  instructions: "bounded",
  max_output_tokens: "bounded",
  max_tool_calls: "bounded",
  metadata: "bounded",
  model: "bounded",
  moderation,
  multi_agent: {
    refused: "its agents make others, each of which reads and writes as often as it likes.",
    unless: (value) => isObject(value) && value.enabled === false
  },
  parallel_tool_calls: "bounded",
  previous_response_id: "bounded",
  prompt: { refused: "a stored prompt can set the model and add hosted tools." },
  prompt_cache_key: "bounded",
  prompt_cache_options: "bounded",
  prompt_cache_retention: "bounded",
  reasoning: "bounded",
  safety_identifier: "bounded",
  service_tier: "bounded",
  store: "bounded",
  stream: "bounded",
  stream_options: "bounded",
  temperature: "bounded",
  text: "bounded",
  tool_choice: "bounded",
  tools: "bounded",
  top_logprobs: "bounded",
  top_p: "bounded",
  truncation: "bounded",
  user: "bounded"
}

const toolTypes = new Set(["function", "custom", "namespace", "tool_search"])

/** Items that cost their text and framing. */
const textItems = new Set([
  "message",
  "function_call",
  "custom_tool_call",
  "reasoning",
  "tool_search_call",
  "configuration_update"
])
/** Items that bring tools into a conversation, in full. */
const toolItems = new Set<Json | undefined>(["tool_search_output", "additional_tools"])
/** What hosted tools left in a conversation: what is read of it again may not be in the item. */
const hostedItems = new Set(
  "web_search_call file_search_call code_interpreter_call mcp_call mcp_list_tools mcp_approval_request mcp_approval_response".split(
    " "
  )
)
/** Items with an output that is text or parts. */
const outputItems = new Set(["function_call_output", "custom_tool_call_output"])

const isText = (value: Json | undefined): boolean => typeof value === "string" && value !== ""

/** What an update may change: all that costs nothing beyond its text. */
const updates = new Set(["reasoning.effort", "text.format"])

/** How long the model thinks is up to it in any case. What it answers in may be a schema, here or where its id is. */
const readUpdate = (reader: BodyReader, { id: _, type: __, ...changed }: JsonObject): void => {
  for (const [field, value] of Object.entries(changed)) {
    const given = isObject(value)
      ? Object.keys(value).flatMap((each) => (isGiven(value[each]) ? [`${field}.${each}`] : []))
      : isGiven(value)
        ? [field]
        : []
    const unknown = given.find((each) => !updates.has(each))
    if (unknown === undefined) continue
    const name = JSON.stringify(unknown.slice(0, 80))
    reader.unbounded(`what an update of ${name} does to the cost is not known.`, "Leave it out.")
  }
  if (isObject(changed.text)) reader.schema()
  else if (!isObject(changed.reasoning)) reader.unshown = true
}

const readItem = (reader: BodyReader, item: Json): void => {
  reader.message()
  if (!isObject(item)) {
    reader.malformed("an input item is not an object.", "Send input as a string or a list of items.")
    return
  }
  const type =
    item.type ?? (typeof item.id === "string" && !isGiven(item.content) ? "item_reference" : "message")
  // The model may be shown it in a later turn, and not in this one.
  if (type === "reasoning" || type === "configuration_update") reader.repeats = false
  if (type === "configuration_update") readUpdate(reader, item)
  // A reasoning item that does not carry its text is looked up by its id.
  if (type === "reasoning" && !isText(item.encrypted_content)) reader.unshown = true
  if (type === "message" && (item.content === undefined || item.content === null)) reader.unshown = true
  if (type === "reasoning") reader.content(item.summary)
  if (typeof type === "string" && textItems.has(type)) reader.content(item.content)
  else if (typeof type === "string" && outputItems.has(type)) reader.content(item.output)
  else if (toolItems.has(type)) {
    if (!isArray(item.tools)) reader.unshown = true
    reader.tools(item.tools, toolTypes, isHosted, "item")
  } else if (type === "item_reference" || (typeof type === "string" && hostedItems.has(type)))
    reader.unshown = true
  else {
    const quoted = JSON.stringify(typeof type === "string" ? type.slice(0, 80) : null)
    reader.unbounded(`what an input item of type ${quoted} costs is not known.`, "Leave the item out.")
  }
}

const readInput = (reader: BodyReader, input: Json | undefined): void => {
  if (input === undefined || input === null || typeof input === "string") {
    reader.message()
    return
  }
  if (!isArray(input)) {
    reader.malformed("input is neither text nor a list of items.", "Send a string or an array.")
    return
  }
  for (const item of input) readItem(reader, item)
}

const readModes = (reader: BodyReader, body: JsonObject): void => {
  if (reader.flag(body, "background")) {
    reader.unbounded("background is true: it is billed after the call has ended.", "Leave background out.")
  }
  if (isObject(body.reasoning) && isGiven(body.reasoning.mode) && body.reasoning.mode !== "standard") {
    reader.unbounded("its reasoning mode runs more than one pass.", "Leave reasoning.mode out.")
  }
  if (isGiven(body.conversation)) reader.unshown = true
  const previous = reader.word(body, "previous_response_id")
  if (isGiven(previous)) reader.previous = previous
  // What is cut from a long conversation here may be there in a later turn.
  if (isGiven(body.truncation) && body.truncation !== "disabled") reader.repeats = false
}

const readBody = (reader: BodyReader, body: JsonObject): Sides => {
  readModes(reader, body)
  readInput(reader, body.input)
  if (reader.word(body, "instructions") !== undefined) reader.message()
  reader.tools(body.tools, toolTypes, isHosted)
  reader.passes(body)
  if (isObject(body.text)) reader.schema()
  const output = {
    cap: reader.count(body, "max_output_tokens"),
    fallback: undefined,
    field: "max_output_tokens",
    times: 1,
    extra: 0,
    audio: false
  }
  const tier = reader.word(body, "service_tier")
  const stream = reader.flag(body, "stream")
  return { output, tier, stream, askForUsage: false }
}

const callItems = new Set<Json | undefined>(["function_call", "custom_tool_call", "tool_search_call"])

/** Of an item's fields: those that are counted by name, and those that are not fed to the model. */
const listed = new Set(
  "type role content id status phase call_id name namespace arguments input output summary tools encrypted_content".split(
    " "
  )
)

const isCall = (item: Json | undefined): boolean => isObject(item) && callItems.has(item.type)

const listItem = (sheet: CountSheet, item: JsonObject, isParallel: boolean): void => {
  const hasOutput = typeof item.type === "string" && outputItems.has(item.type)
  sheet.message(item.role ?? "user")
  // Images are counted where an item of its type has them. Elsewhere they are the JSON that they are.
  if (hasOutput) sheet.text(item.content)
  else sheet.content(item.content)
  // The results of parallel calls are fed as JSON that is escaped to ASCII, on some models.
  if (hasOutput) sheet.content(item.output, isParallel)
  else sheet.text(item.output)
  sheet.text(item.name)
  sheet.text(item.namespace)
  sheet.given(item.arguments, isParallel)
  sheet.given(item.input, isParallel)
  if (toolItems.has(item.type)) sheet.tools(item.tools, sheet.family.framing.preamble)
  else sheet.text(item.tools)
  sheet.others(item, listed)
  if (isCall(item)) sheet.call(isParallel)
  if (typeof item.encrypted_content === "string")
    sheet.added += item.encrypted_content.length * sheet.family.framing.encrypted
  else sheet.text(item.encrypted_content)
  if (item.type === "reasoning") sheet.content(item.summary)
  else sheet.text(item.summary)
}

export const listBody = (sheet: CountSheet, body: JsonObject): void => {
  if (isArray(body.input)) {
    const items = body.input.filter(isObject)
    const calls = items.filter((each) => each.type !== "reasoning")
    // The calls of an earlier response are not shown: they may have been made in parallel.
    const isParallel =
      isGiven(body.previous_response_id) ||
      calls.some((each, index) => isCall(each) && isCall(calls[index + 1]))
    for (const item of items) listItem(sheet, item, isParallel)
  } else {
    sheet.message("user")
    sheet.text(body.input)
  }
  if (isGiven(body.instructions)) {
    sheet.message("system")
    sheet.text(body.instructions)
  }
  sheet.tools(body.tools, body.parallel_tool_calls === false ? sheet.family.framing.preamble : 0)
  sheet.choice(body.tool_choice)
  if (isObject(body.text)) sheet.schema(body.text.format)
}

const plan = planner(name, true, fields, readBody, listBody)

const endings = new Set(["response.completed", "response.incomplete", "response.failed"])

const signal = (event: JsonObject): Signal =>
  typeof event.type === "string" && endings.has(event.type) && isObject(event.response)
    ? { _tag: "Final", reading: readInputUsage(event.response) }
    : { _tag: "Nothing", wrote: isText(event.delta) }

export const responses: Endpoint = { name, plan, read: readInputUsage, signal }
