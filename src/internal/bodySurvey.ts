/** What one walk over the body of a call tells of all that is in it, whichever endpoint it goes to. */
import type * as Types from "effect/Types"
import { isArray, type Json, type JsonObject } from "./json.ts"

/** Deeper than any schema that the API takes, and far from where native code runs out of stack. */
export const deepest = 500

/** The longest that the API keeps a prompt in its cache, as a request asks for it, in whatever field. */
const longest = "12h"

/**
 * What a walk over a body told: how many keys it has, whether it is nested too deeply to be looked through, and
 * whether it may ask for its prompt to be kept in the cache for 12 hours.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const survey: Endpoint.Survey = { keys: 2, isDeep: false, longCache: false }
 * console.log(survey.keys) // 2
 * ```
 *
 * @since 0.1.0
 */
export interface Survey {
  /** How many keys there are, at any depth. Fewer than its text wrote: some were written twice. */
  readonly keys: number
  /** It has arrays or objects in more than `deepest` levels, where the walk ended: it saw no keys below. */
  readonly isDeep: boolean
  /** One of its texts may ask for what it writes to the prompt cache to be kept for longest, however it is written. */
  readonly longCache: boolean
}

/** Walks over a body once: it costs as much as reading what is found. */
export const surveyOf = (body: JsonObject): Survey => {
  const survey = { keys: 0, isDeep: false, longCache: false }
  walk(body, survey, deepest)
  return survey
}

const walk = (
  value: JsonObject | ReadonlyArray<Json>,
  survey: Types.Mutable<Survey>,
  levels: number
): void => {
  if (levels === 0) {
    survey.isDeep = true
    return
  }
  let children: ReadonlyArray<Json>
  if (isArray(value)) children = value
  else {
    children = Object.values(value)
    survey.keys += children.length
  }
  for (const child of children) {
    if (typeof child === "string") {
      if (child === longest) survey.longCache = true
    } else if (typeof child === "object" && child !== null) walk(child, survey, levels - 1)
  }
}
