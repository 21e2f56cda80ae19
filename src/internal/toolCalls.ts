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

export const toolCallsOf = (
  response: JsonObject
): { readonly webSearches: number; readonly fileSearches: number } => {
  const output = isArray(response.output) ? response.output : none
  const callsOf = (type: string): ReadonlyArray<JsonObject> =>
    output.filter((item): item is JsonObject => isObject(item) && item.type === type)
  return {
    webSearches: webSearchesOf(response, callsOf("web_search_call")),
    fileSearches: callsOf("file_search_call").length
  }
}
