/** How the streams of chat and legacy completions tell their usage. */
import type { Signal } from "../Endpoint.ts"
import { isArray, isObject, type JsonObject } from "./json.ts"
import { readPromptUsage } from "./wireUsage.ts"

/** Whether the caller asked for the final usage chunk. */
export const asksForUsage = (body: JsonObject): boolean =>
  isObject(body.stream_options) && body.stream_options.include_usage === true

/** The final usage comes on a chunk without choices; some servers send it on every chunk, growing. */
export const chunkSignal = (chunk: JsonObject): Signal => {
  if (!isObject(chunk.usage)) return { _tag: "Nothing" }
  const reading = readPromptUsage(chunk)
  const last = isArray(chunk.choices) && chunk.choices.length === 0
  return last ? { _tag: "Final", reading } : { _tag: "Interim", reading }
}
