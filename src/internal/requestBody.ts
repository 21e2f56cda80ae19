/** The body of a call, read so that what is priced is what is sent. */
import * as Result from "effect/Result"
import * as BudgetError from "../BudgetError.ts"
import { surveyOf, type Survey } from "./bodySurvey.ts"
import { isObject, keysAtMost, keysWritten, parse, type Json, type JsonObject } from "./json.ts"

export interface ReadRequest {
  readonly body: JsonObject
  readonly text: string
  readonly survey: Survey
}

/** A bound of the keys that are written settles it for nearly every body; one that is too deep is refused for that. */
const writesTwice = (text: string, { isDeep, keys }: Survey): boolean =>
  !isDeep && keysAtMost(text) !== keys && keysWritten(text) !== keys

const malformed = (detail: string, fix: string): Result.Result<never, BudgetError.BudgetError> =>
  Result.fail(BudgetError.because(new BudgetError.MalformedRequest({ detail, fix })))

/** A body that is text, or bytes that are one: a text that is not quite one must not become another. */
export const textOf = (body: unknown): string | undefined => {
  if (typeof body === "string") return body
  if (!(body instanceof Uint8Array)) return undefined
  const text = Result.try(() => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body))
  return Result.isSuccess(text) ? text.success : undefined
}

/** A text as the body was given: of bytes `fetch` states no type. They are not the caller's, who may write in his. */
export const writtenAs = (given: unknown, text: string): string | Uint8Array<ArrayBuffer> =>
  given instanceof Uint8Array ? new TextEncoder().encode(text) : text

const headersOf = (init: RequestInit | undefined): Headers =>
  init?.headers instanceof Headers ? init.headers : new Headers(init?.headers)

/** A request whose headers are the same whenever they are read: what was checked is what is sent. */
export const rereadable = (init: RequestInit | undefined): RequestInit | undefined => {
  const headers = init?.headers
  const isOnce =
    typeof headers === "object" &&
    !(headers instanceof Headers) &&
    !Array.isArray(headers) &&
    Symbol.iterator in headers
  return isOnce ? { ...init, headers: new Headers(headers) } : init
}

/** Whether a caller says how long his body is, as a gateway does that passes headers on. */
export const statesLength = (init: RequestInit | undefined): boolean => headersOf(init).has("content-length")

/** The headers of another body: how long this one is no longer holds. */
export const withoutLength = (headers: RequestInit["headers"]): Headers => {
  const others = new Headers(headers)
  others.delete("content-length")
  return others
}

/** What `fetch` reads of its options, by name. Source: the Fetch standard, `RequestInit`, and undici's dispatcher. */
const members = [
  "method",
  "headers",
  "body",
  "referrer",
  "referrerPolicy",
  "mode",
  "credentials",
  "cache",
  "redirect",
  "integrity",
  "keepalive",
  "signal",
  "duplex",
  "priority",
  "window",
  "dispatcher"
] as const

/** Options as an object's own: a Request, which may be given as options, has all of them from its class. */
export const ownOptions = (init: RequestInit | undefined): RequestInit | undefined => {
  // Untyped callers say `null` for none, as fetch lets them.
  if (!init) return undefined
  const prototype: unknown = Object.getPrototypeOf(init)
  if (prototype === Object.prototype || prototype === null) return init
  const read = members.flatMap((name) => {
    const value: unknown = Reflect.get(init, name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return { ...init, ...Object.fromEntries(read) }
}

/** Whether the body is signed: it must be sent as it is. */
export const isSigned = (init: RequestInit | undefined): boolean =>
  headersOf(init).get("authorization")?.startsWith("AWS4-") ?? false

export const readRequest = (
  init: RequestInit | undefined
): Result.Result<ReadRequest, BudgetError.BudgetError> => {
  const text = textOf(init?.body)
  if (text === undefined) return malformed("its body is not a string.", "Send the JSON as a string.")
  if (headersOf(init).has("content-encoding")) {
    return malformed("its body is encoded.", "Send it without content-encoding.")
  }
  const body: Json | undefined = parse(text)
  if (!isObject(body)) return malformed("its body is not a JSON object.", "Send a JSON object.")
  // Which of two values a server heeds is its own affair: what is priced must be what is sent.
  const survey = surveyOf(body)
  if (writesTwice(text, survey)) {
    return malformed("its body has a key twice.", "Send each key once.")
  }
  return Result.succeed({ body, text, survey })
}
