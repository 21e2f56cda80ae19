/** What the answer of an `effect/ai` model, or its failure, says of the bill. */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as BudgetError from "../BudgetError.ts"
import * as Settlement from "../Settlement.ts"
import * as Usage from "../Usage.ts"
import type { Reading } from "./wireUsage.ts"

/** A token count as it is told; `undefined` for what is none. */
const count = (tokens: number | undefined): number | undefined =>
  tokens !== undefined && Number.isSafeInteger(tokens) && tokens >= 0 ? tokens : undefined

/** The sum of parts that are all told: with one of them untold, so is their sum. */
const sumOf = (parts: ReadonlyArray<number | undefined>): number | undefined =>
  parts.every(Predicate.isNotUndefined) ? parts.reduce((sum, part) => sum + part, 0) : undefined

/**
 * The usage in a part that ends an answer; `undefined` where it has none that could be true, or not all of it. A total
 * that is less than its parts is not believed: the parts are.
 */
const usageOf = ({ inputTokens, outputTokens }: Response.Usage): Usage.Usage | undefined => {
  const told = [inputTokens, outputTokens]
    .flatMap((side) => Object.values(side))
    .filter(Predicate.isNotNullish)
  if (told.some((tokens) => count(tokens) === undefined)) return undefined
  const { cacheRead = 0, cacheWrite = 0, uncached = 0 } = inputTokens
  const { reasoning = 0, text = 0 } = outputTokens
  const inputTotal =
    inputTokens.total ?? sumOf([inputTokens.uncached, inputTokens.cacheRead, inputTokens.cacheWrite])
  const outputTotal = outputTokens.total ?? sumOf([outputTokens.text, outputTokens.reasoning])
  if (inputTotal === undefined || outputTotal === undefined) return undefined
  const input = Math.max(inputTotal, uncached + cacheRead + cacheWrite)
  const output = Math.max(outputTotal, text + reasoning)
  if (input === 0) return undefined
  return Usage.make({ input, cachedInput: cacheRead, cacheWrite, output, reasoning })
}

/** The tier that the provider's own metadata names. */
const tierOf = (metadata: object): string | undefined => {
  for (const told of Object.values(metadata)) {
    if (!Predicate.isObject(told)) continue
    const tier = Predicate.hasProperty(told, "serviceTier")
      ? told.serviceTier
      : Predicate.hasProperty(told, "service_tier")
        ? told.service_tier
        : undefined
    if (typeof tier === "string" && tier !== "") return tier
  }
  return undefined
}

type AnyPart = { readonly type: string } & Partial<
  Pick<Response.FinishPart, "usage" | "metadata"> &
    Pick<Response.ResponseMetadataPart, "modelId"> &
    Pick<Response.TextPart, "text"> &
    Pick<Response.TextDeltaPart, "delta">
>

/** Parts that a model has written something for, whatever is in them: of its thoughts not even that is always shown. */
const writtenParts = new Set(["reasoning", "reasoning-start", "tool-call", "tool-params-start", "file"])

const isWritten = ({ delta = "", text = "", type }: AnyPart): boolean =>
  writtenParts.has(type) || text !== "" || delta !== ""

/** What an answer tells of its bill. */
export interface Told {
  /** `undefined` where nothing was told, or something that could not be true. */
  readonly reading: Reading | undefined
  /** What `reading` is the sum of, also where it is not all of it. */
  readonly usages: ReadonlyArray<Usage.Usage>
  /** The model that served, as far as it was told. */
  readonly model: string | undefined
  /** More was told than can be true at once: what the bill is, nobody can say. */
  readonly isDoubtful: boolean
  /** Some of an answer has come: something was sent, and a model ran. */
  readonly isHeard: boolean
}

/** What an embedding model tells: its input tokens. */
export class EmbeddingReadings implements Told {
  reading: Reading | undefined = undefined
  readonly isDoubtful = false
  readonly model = undefined
  isHeard = false

  heed(inputTokens: number | undefined): void {
    this.isHeard = true
    const input = count(inputTokens)
    this.reading =
      input === undefined || input === 0
        ? undefined
        : { usage: Usage.make({ input }), model: undefined, tier: undefined }
  }

  get usages(): ReadonlyArray<Usage.Usage> {
    return this.reading === undefined ? [] : [this.reading.usage]
  }
}

/** Gathers what the parts of one answer say of its bill. */
export class Readings implements Told {
  #usages: ReadonlyArray<Usage.Usage> = []
  #isUntold = false
  #isWritten = false
  model: string | undefined = undefined
  #tier: string | undefined = undefined
  isHeard = false

  /** Reads a whole answer, in place of what was read before. */
  read(parts: ReadonlyArray<AnyPart>): void {
    this.#usages = []
    this.#isUntold = false
    this.#isWritten = false
    this.isHeard = true
    for (const part of parts) this.heed(part)
  }

  /** Reads one more part of an answer. */
  heed(part: AnyPart): void {
    this.isHeard = true
    if (part.metadata !== undefined) this.#tier = tierOf(part.metadata) ?? this.#tier
    if (part.type === "response-metadata") this.model = part.modelId ?? this.model
    if (isWritten(part)) this.#isWritten = true
    if (part.type !== "finish" || part.usage === undefined) return
    const usage = usageOf(part.usage)
    if (usage === undefined) this.#isUntold = true
    else this.#usages = [...this.#usages, usage]
  }

  get reading(): Reading | undefined {
    if (this.usages.length === 0 || this.#isUntold) return undefined
    // Whether a second end repeats the first or adds to it is not told: the sum is never too little.
    return { usage: this.usages.reduce(Usage.add), model: this.model, tier: this.#tier }
  }

  get usages(): ReadonlyArray<Usage.Usage> {
    return this.#isWritten && this.#usages.every(({ output }) => output === 0) ? [] : this.#usages
  }

  get isDoubtful(): boolean {
    return this.#usages.length > 1
  }
}

/** A status that an error, or one of its causes, carries. */
const statusOf = (error: unknown, depth = 8): number | undefined => {
  if (depth === 0 || !Predicate.isObject(error)) return undefined
  for (const key of ["status", "statusCode"] as const) {
    const status = Predicate.hasProperty(error, key) ? error[key] : undefined
    if (typeof status === "number" && Number.isInteger(status) && status >= 100) return status
  }
  for (const key of ["http", "response", "reason", "cause"] as const) {
    const inner = Predicate.hasProperty(error, key) ? error[key] : undefined
    const status = statusOf(inner, depth - 1)
    if (status !== undefined) return status
  }
  return undefined
}

/** Reasons that stand for a status where they come without one. */
const statusByReason: ReadonlyMap<string, number> = new Map([
  ["RateLimitError", 429],
  ["QuotaExhaustedError", 429],
  ["AuthenticationError", 401],
  ["InvalidRequestError", 400]
])

/** Reasons that are given before anything is sent. */
const unsentReasons = new Set(["InvalidUserInputError", "ToolkitRequiredError"])

const outcomeOfReason = (reason: AiError.AiErrorReason): Settlement.Outcome => {
  const status = statusOf(reason) ?? statusByReason.get(reason._tag)
  if (status !== undefined) return { _tag: "Answered", status }
  const isUnsent =
    unsentReasons.has(reason._tag) ||
    (reason._tag === "NetworkError" && (reason.reason !== "TransportError" || Settlement.neverSent(reason)))
  return isUnsent ? { _tag: "NotSent" } : { _tag: "Lost", why: `the model failed with ${reason._tag}` }
}

const isAiError = (error: unknown): error is AiError.AiError =>
  Predicate.hasProperty(error, "_tag") && error._tag === "AiError"

/**
 * How a call of a model ended, from why it failed. Only the failure itself proves that the call was free, and only
 * where no part of an answer has come: what was free below may have been followed by something that nobody saw.
 * `isUnbilled`: nothing that is known to have been sent may be billed.
 */
export const outcomeOf = (
  cause: Cause.Cause<unknown>,
  known: { readonly isUnbilled: boolean; readonly isHeard: boolean }
): Settlement.Outcome => {
  if (known.isHeard) return { _tag: "Lost", why: "the call failed after a part of its answer" }
  if (Cause.hasInterrupts(cause)) return { _tag: "Lost", why: "the call was interrupted" }
  if (!known.isUnbilled) return { _tag: "Lost", why: "something was sent that may be billed" }
  const error: unknown = Cause.squash(cause)
  // A refusal proves that its own request was not sent.
  if (BudgetError.find(error) !== undefined) return { _tag: "NotSent" }
  if (isAiError(error)) return outcomeOfReason(error.reason)
  const status = statusOf(error)
  if (status !== undefined) return { _tag: "Answered", status }
  return Settlement.neverSent(error) ? { _tag: "NotSent" } : { _tag: "Lost", why: "the model failed" }
}
