/** JSON as text and as a tree: what both sides of a request agree on. */

/**
 * A value of JSON.
 *
 * @example
 * ```ts
 * import type { InputTokens } from "agent-budget"
 *
 * const value: InputTokens.Json = ["gpt-4o", 1, null, { seed: 7 }]
 * console.log(JSON.stringify(value)) // ["gpt-4o",1,null,{"seed":7}]
 * ```
 *
 * @since 0.1.0
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject

/**
 * An object of JSON, such as the body of a request.
 *
 * @example
 * ```ts
 * import type { InputTokens } from "agent-budget"
 *
 * const question: InputTokens.JsonObject = { model: "gpt-4o", input: "Hi" }
 * console.log(question["input"]) // Hi
 * ```
 *
 * @since 0.1.0
 */
export interface JsonObject {
  readonly [key: string]: Json
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const isArray = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

/** Whether a field says anything: the API takes `null` and an empty text for leaving it out. */
export const isGiven = (value: Json | undefined): boolean =>
  value !== undefined && value !== null && value !== ""

/** The value of a text, or `undefined` where it is not JSON. */
export const parse = (text: string): Json | undefined => {
  try {
    // What JSON.parse answers is JSON, which its type does not say.
    return JSON.parse(text) as Json
  } catch {
    // Which character is wrong helps nobody here, and the message would quote the text.
    return undefined
  }
}

/**
 * How many keys a JSON text writes, at any depth: the colons outside its strings. The texts themselves are
 * skipped by native search, so that a large prompt costs next to nothing. Only meaningful for valid JSON.
 */
export const keysWritten = (text: string): number => {
  let keys = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x3a) keys++
    else if (code === 0x22) at = endOfString(text, at)
  }
  return keys
}

/**
 * At least as many keys as a valid JSON text writes: the colons behind a quote that no backslash escapes. More only
 * where a string begins with a colon, or space and one. Sooner counted than `keysWritten`, which looks at every quote.
 */
export const keysAtMost = (text: string): number => {
  let keys = 0
  for (let colon = text.indexOf(":"); colon !== -1; colon = text.indexOf(":", colon + 1)) {
    let quote = colon - 1
    while (isSpace(text.charCodeAt(quote))) quote--
    if (text.charCodeAt(quote) === 0x22 && !isEscaped(text, quote)) keys++
  }
  return keys
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

const isEscaped = (text: string, at: number): boolean => {
  let escapes = at
  while (text.charCodeAt(escapes - 1) === 0x5c) escapes--
  return (at - escapes) % 2 === 1
}

const endOfString = (text: string, start: number): number => {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    if (!isEscaped(text, at)) return at
  }
  return text.length
}

const numberAt = /[-\d.eE+]+/y

/**
 * How many characters of a JSON text are numbers that JavaScript writes otherwise than they stand there: `1.0`, or one
 * of a hundred digits. Who keeps them as they are reads more than `JSON.stringify` says. Only meaningful for valid JSON.
 */
export const rewrittenNumbers = (text: string): number => {
  let characters = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x22) at = endOfString(text, at)
    else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      numberAt.lastIndex = at
      const [number = ""] = numberAt.exec(text) ?? []
      if (String(Number(number)) !== number) characters += number.length
      at += number.length - 1
    }
  }
  return characters
}

/**
 * The way to the first key that an object of a valid JSON text has twice, each key in quotes; nothing where there is
 * none. It reads every key, so it is for small texts.
 */
export const keyTwice = (text: string): ReadonlyArray<string> | undefined => {
  const open: Array<{ readonly keys: Set<string>; key: string | undefined }> = []
  let last = ""
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at)
    const inside = open.at(-1)
    if (char === "{" || char === "[") open.push({ keys: new Set(), key: undefined })
    else if (char === "}" || char === "]") open.pop()
    else if (char === '"') {
      const end = endOfString(text, at)
      // One key may be spelt in two ways.
      last = JSON.stringify(parse(text.slice(at, end + 1)))
      at = end
    } else if (char === ":" && inside !== undefined) {
      inside.key = last
      if (inside.keys.has(last)) return open.flatMap(({ key }) => key ?? [])
      inside.keys.add(last)
    }
  }
  return undefined
}

/**
 * The text of `body` with `edits` in it. Where no edited field is there yet they are spliced in before the last
 * brace, which spares writing a large body anew; a field that is there already, `null` or not, is replaced.
 */
export const edit = (text: string, body: JsonObject, edits: JsonObject): string => {
  const keys = Object.keys(edits)
  if (keys.length === 0) return text
  if (keys.some((key) => Object.hasOwn(body, key))) return JSON.stringify({ ...body, ...edits })
  const written = JSON.stringify(edits)
  const end = text.lastIndexOf("}")
  const separator = Object.keys(body).length === 0 ? "" : ","
  return `${text.slice(0, end)}${separator}${written.slice(1, -1)}}`
}
