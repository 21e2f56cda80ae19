/** The calls of hosted tools that a response tells of. */
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"

/** Actions that read what a search has found. Source: OpenAI's web search guide: only searches are charged. */
const reads = new Set(["open_page", "find_in_page", "find"])

/** How often a call has searched; `undefined` where it does not say what it did. */
const searchesOf = (call: JsonObject): number | undefined => {
  if (!isObject(call.action)) return undefined
  const { queries, type } = call.action
  if (typeof type === "string" && reads.has(type)) return 0
  return isArray(queries) ? Math.max(1, queries.length) : 1
}

const countOf = (value: Json | undefined): number => {
  if (value === undefined || value === null) return 0
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : NaN
}

/**
 * Searches of the web: as many as the calls tell of, or as the response counts, whichever are more, since it leaves
 * those out that are billed at a discount. `NaN` where its count is none. Attempts beyond `max_tool_calls` are
 * ignored by the provider and come without an action; in older responses no call has one.
 */
const webSearchesOf = (
  { max_tool_calls: most, tool_usage: told }: JsonObject,
  calls: ReadonlyArray<JsonObject>
): number => {
  const made = calls.map(searchesOf)
  const known = made.filter((searches) => searches !== undefined)
  const allowed = typeof most === "number" ? Math.max(0, most - known.length) : Infinity
  const searches = known.reduce((sum, each) => sum + each, Math.min(made.length - known.length, allowed))
  const counted = isObject(told) && isObject(told.web_search) ? countOf(told.web_search.num_requests) : 0
  return Math.max(searches, counted)
}

const none: ReadonlyArray<Json> = []

const itemsOf = ({ output }: JsonObject): ReadonlyArray<Json> => (isArray(output) ? output : none)

/** Each run of code was in some container; how many sessions that was is not told. */
export const toolCallsOf = (
  response: JsonObject
): { readonly webSearches: number; readonly fileSearches: number; readonly containers: number } => {
  const output = itemsOf(response)
  const callsOf = (type: string): ReadonlyArray<JsonObject> =>
    output.filter((item): item is JsonObject => isObject(item) && item.type === type)
  return {
    webSearches: webSearchesOf(response, callsOf("web_search_call")),
    fileSearches: callsOf("file_search_call").length,
    containers: callsOf("code_interpreter_call").length
  }
}

/** Calls of tools that have no price here: no request has them, but one that goes on from another may. */
const unpriced = new Set<Json | undefined>(["image_generation_call", "shell_call"])

/** Whether a response was billed for more than its tokens and calls say. */
export const isBilledBeyond = (response: JsonObject): boolean => {
  const { tool_usage: told } = response
  const drawn = isObject(told) && isObject(told.image_gen) ? told.image_gen : undefined
  return (
    itemsOf(response).some((item) => isObject(item) && unpriced.has(item.type)) ||
    (drawn !== undefined &&
      [drawn.input_tokens, drawn.output_tokens, drawn.total_tokens].some((count) => countOf(count) !== 0))
  )
}
