/** How the streams of chat and legacy completions tell their usage. */
import type { Signal } from "../Endpoint.ts"
import { isArray, isObject, type JsonObject } from "./json.ts"
import { hasWritten, readPromptUsage } from "./wireUsage.ts"

/** Whether the caller asked for the final usage chunk. */
export const asksForUsage = (body: JsonObject): boolean =>
  isObject(body.stream_options) && body.stream_options.include_usage === true

/**
 * The final usage comes on a chunk without choices; some servers send it on every chunk, growing. One that has no
 * output yet may come before the answer, and is the bill only where the stream ends with it.
 */
export const chunkSignal = (chunk: JsonObject): Signal => {
  const wrote = hasWritten(chunk)
  if (!isObject(chunk.usage)) return { _tag: "Nothing", wrote }
  const reading = readPromptUsage(chunk)
  const isAlone = isArray(chunk.choices) && chunk.choices.length === 0
  const isLast = isAlone && (reading === undefined || reading.usage.output > 0)
  return isLast ? { _tag: "Final", reading } : { _tag: "Interim", reading, isAlone, wrote }
}
