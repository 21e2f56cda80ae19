/**
 * Every endpoint of the OpenAI API, and what becomes of a call to it: priced, free, admitted at a maximum that
 * the user states, or refused. What is not in the table is refused.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as BudgetError from "./BudgetError.ts"
import type { Endpoint } from "./Endpoint.ts"
import { chatCompletions } from "./internal/chatCompletions.ts"
import { completions } from "./internal/completions.ts"
import { embeddings } from "./internal/embeddings.ts"
import { responses } from "./internal/responses.ts"
import * as Usd from "./Usd.ts"

/**
 * The endpoints whose calls can be bounded, by method and path.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 *
 * console.log(OpenAiEndpoints.priced.length) // 4
 * ```
 *
 * @since 0.1.0
 */
export const priced: ReadonlyArray<Endpoint> = [chatCompletions, responses, completions, embeddings]

/**
 * What a user vouches for, by method and path (`*` stands for one part of a path): an endpoint that costs nothing,
 * or the most that a call to it can cost, in dollars. Of several that a call fits, the one without a `*` holds, or else
 * the dearest.
 *
 * @example
 * ```ts
 * import type { OpenAiEndpoints } from "agent-budget"
 *
 * const mine: OpenAiEndpoints.Overrides = {
 *   "POST /files": "free",
 *   "POST /images/generations": { maxUsd: "0.25" }
 * }
 * console.log(Object.keys(mine).length) // 2
 * ```
 *
 * @since 0.1.0
 */
export type Overrides = Readonly<Record<string, "free" | { readonly maxUsd: Usd.Dollars }>>

/**
 * What becomes of a call. `deployment` is the model that an Azure path names.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 *
 * const call: OpenAiEndpoints.Recognised = OpenAiEndpoints.recognise("GET", "/models")
 * console.log(call._tag) // Free
 * ```
 *
 * @since 0.1.0
 */
export type Recognised =
  | { readonly _tag: "Priced"; readonly endpoint: Endpoint; readonly deployment: string | undefined }
  | { readonly _tag: "Free" }
  | { readonly _tag: "Vouched"; readonly name: string; readonly most: Usd.Usd }
  | { readonly _tag: "Refused"; readonly error: BudgetError.BudgetError }

/**
 * Calls that are not billed, with `*` for one part of a path and `**` for any number. Reading costs nothing, nor
 * does deleting or cancelling, or hanging up, which sends no body and ends what is billed. Sources: OpenAI's API reference
 * and pricing page (moderation and token counting are free); the `openai` package.
 */
const free = [
  "GET **",
  "HEAD **",
  "DELETE **",
  "POST /moderations",
  "POST /responses/input_tokens",
  "POST /responses/*/cancel",
  "POST /batches/*/cancel",
  "POST /uploads/*/cancel",
  "POST /fine_tuning/jobs/*/cancel",
  "POST /vector_stores/*/file_batches/*/cancel",
  "POST /evals/*/runs/*/cancel",
  "POST /threads/*/runs/*/cancel",
  "POST /chatkit/sessions/*/cancel",
  "POST /realtime/calls/*/hangup",
  "POST /live/sessions/*/hangup"
]

const matches = (pattern: string, method: string, parts: ReadonlyArray<string>): boolean => {
  const space = pattern.indexOf(" ")
  if (pattern.slice(0, space) !== method) return false
  const wanted = pattern.slice(space + 1)
  if (wanted === "**") return true
  const names = wanted.split("/").filter((part) => part !== "")
  return names.length === parts.length && names.every((name, at) => name === "*" || name === parts[at])
}

const partsOf = (path: string): ReadonlyArray<string> => path.split("/").filter((part) => part !== "")

const decoded = (part: string): string | undefined => {
  try {
    return decodeURIComponent(part)
  } catch {
    // A malformed escape names no deployment that anyone could have.
    return undefined
  }
}

const byName = new Map(priced.map((endpoint) => [endpoint.name, endpoint]))

/**
 * What becomes of a call to `path`, the part of the URL's path below the API's root (`/chat/completions`). A
 * user's `overrides` admit what is refused otherwise, and say what a call costs that is free otherwise; they cannot make
 * a priced endpoint free.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 *
 * console.log(OpenAiEndpoints.recognise("POST", "/videos")._tag) // Refused
 * console.log(OpenAiEndpoints.recognise("POST", "/deployments/my-gpt/chat/completions")._tag) // Priced
 * console.log(OpenAiEndpoints.recognise("POST", "/files", { "POST /files": "free" })._tag) // Free
 * ```
 *
 * @since 0.1.0
 */
export const recognise = (method: string, path: string, overrides?: Overrides): Recognised => {
  const direct = byName.get(`${method} ${path}`)
  if (direct !== undefined) return { _tag: "Priced", endpoint: direct, deployment: undefined }
  const parts = partsOf(path)
  const deployment = parts[0] === "deployments" ? decoded(parts[1] ?? "") : undefined
  const below = deployment === undefined || deployment === "" ? parts : parts.slice(2)
  const endpoint = byName.get(`${method} /${below.join("/")}`)
  if (endpoint !== undefined) return { _tag: "Priced", endpoint, deployment }
  // First, so that what the user says is billed is not free by a table that knows nothing of it.
  const vouched =
    overrides === undefined || hidesPriced(method, parts) ? undefined : vouchedBy(overrides, method, parts)
  if (vouched !== undefined) return vouched
  if (free.some((pattern) => matches(pattern, method, parts))) return { _tag: "Free" }
  const shown = `/${parts.join("/")}`.slice(0, 120)
  return {
    _tag: "Refused",
    error: BudgetError.because(
      new BudgetError.UnsupportedEndpoint({ method: method.slice(0, 20), path: shown })
    )
  }
}

/** Servers read escapes: a priced endpoint that is written with some is none that a pattern may make free. */
const hidesPriced = (method: string, parts: ReadonlyArray<string>): boolean => {
  if (!parts.some((part) => part.includes("%"))) return false
  const plain = partsOf(parts.map((part) => decoded(part) ?? part).join("/"))
  // A deployment's name may have slashes.
  const names = plain[0] === "deployments" ? plain.map((_, at) => plain.slice(at)) : [plain]
  return names.some((each) => byName.has(`${method} /${each.join("/")}`))
}

/** By the name that is said of this very path, or else by the dearest of the patterns that it fits: none is too low. */
const vouchedBy = (
  overrides: Overrides,
  method: string,
  parts: ReadonlyArray<string>
): Recognised | undefined => {
  const fitting = Object.keys(overrides).flatMap((pattern) => {
    // A name may be there without a word, as where a program has none to say.
    const word = overrides[pattern]
    return word !== undefined && matches(pattern, method, parts) ? [{ pattern, word }] : []
  })
  const named = fitting.filter(({ pattern }) => !pattern.includes("*"))
  const words = (named.length > 0 ? named : fitting).map(({ pattern, word }) => vouch(pattern, word))
  return words.toSorted((one, other) => weight(other) - weight(one))[0]
}

/** What is no amount is refused, whatever else is said. */
const weight = (word: Recognised): number =>
  word._tag === "Refused" ? Infinity : word._tag === "Vouched" ? word.most : -1

const vouch = (name: string, word: Overrides[string]): Recognised => {
  if (word === "free") return { _tag: "Free" }
  const most = Usd.fromString(String(word.maxUsd))
  if (Result.isSuccess(most) && most.success >= 0) return { _tag: "Vouched", name, most: most.success }
  const detail = `The maximum of ${name}, ${JSON.stringify(word.maxUsd)}, is not an amount.`
  return { _tag: "Refused", error: BudgetError.because(new BudgetError.InvalidAmount({ detail })) }
}
