/**
 * What an attempt cost, from how it ended: the only home of the failure policy.
 *
 * A cost is metered where the provider reported it, released where nothing can have been billed, and otherwise
 * assumed whole: being wrong costs headroom, never money.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { HostedTools, Reading } from "./Endpoint.ts"
import { withFees } from "./internal/hostedTools.ts"
import { servedModel } from "./internal/modelNames.ts"
import * as Pricing from "./Pricing.ts"
import type * as Usage from "./Usage.ts"
import type * as Usd from "./Usd.ts"

/**
 * How an attempt ended: it never left, it was answered with a status that is no success, its bill was lost, or
 * its bill was reported.
 *
 * @example
 * ```ts
 * import type { Settlement } from "agent-budget"
 *
 * const outcome: Settlement.Outcome = { _tag: "Answered", status: 503 }
 * console.log(outcome._tag) // Answered
 * ```
 *
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "NotSent" }
  | { readonly _tag: "Answered"; readonly status: number }
  | { readonly _tag: "Lost"; readonly why: string }
  | { readonly _tag: "Reported"; readonly reading: Reading }

/**
 * What the reservation was made on: its amount, the model and tier that were asked for, and their price then.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Usd, type Settlement } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing): Settlement.Terms => ({
 *   reserved: Usd.dollars("0.10"),
 *   model: "gpt-4o",
 *   tier: "standard",
 *   price: Result.getOrThrow(pricing.price("gpt-4o", "standard")),
 *   regional: false,
 *   at: 0
 * }))
 * console.log((await Effect.runPromise(Effect.provide(program, Pricing.layer))).model) // gpt-4o
 * ```
 *
 * @since 0.1.0
 */
export interface Terms {
  readonly reserved: Usd.Usd
  readonly model: string
  readonly tier: Pricing.Tier
  readonly price: Pricing.Price
  readonly regional: boolean
  /** The request may have asked for cache writes that are kept for 12 hours. */
  readonly longCache?: boolean | undefined
  /** The hosted tools that the request may have called. */
  readonly tools?: HostedTools | undefined
  /** The request has audio in it, or may be answered in audio. */
  readonly hears?: boolean | undefined
  readonly speaks?: boolean | undefined
  /** When the attempt was admitted, in milliseconds of the epoch. */
  readonly at: number
  /** Who answers, by the name that `Host` has for him. */
  readonly provider?: string | undefined
  /** Its answer may be held back once it was written: what refuses it otherwise may have been billed. */
  readonly heldBack?: boolean | undefined
  /** The user's names for priced models, by which the response may call its own. */
  readonly models?: Readonly<Record<string, string>> | undefined
}

/**
 * What is booked. `why` says, without a word of what was sent, what an assumption rests on.
 *
 * @example
 * ```ts
 * import { Usd, type Settlement } from "agent-budget"
 *
 * const verdict: Settlement.Verdict = { _tag: "Assumed", amount: Usd.dollars("0.10"), why: "the body was cut" }
 * console.log(verdict.why) // the body was cut
 * ```
 *
 * @since 0.1.0
 */
export type Verdict =
  | {
      readonly _tag: "Metered"
      readonly amount: Usd.Usd
      readonly usage: Usage.Usage
      readonly model: string
    }
  | { readonly _tag: "Assumed"; readonly amount: Usd.Usd; readonly why: string }
  | { readonly _tag: "Released"; readonly why: string }

/**
 * Statuses that OpenAI answers before a model runs. Everything else may have run one.
 * Source: OpenAI's error code guide; the recorded error responses carry no usage.
 */
const refusedByProvider: ReadonlySet<number> = new Set([400, 401, 403, 404, 413, 422, 429])

/**
 * Azure answers 400 to a prompt that its content filter stops, and may bill it. Source: Azure OpenAI's documents, "Content
 * filtering" and "Plan to manage costs": 401 and 429 are not billed there, 400 and 408 may be.
 */
const billedByAzure = 400

/** What an answer that is held back may be told by; no document says which. The others come before a model runs. */
const heldBackBy: ReadonlySet<number> = new Set([400, 403, 422])

const isRefusal = (status: number, provider: string | undefined, heldBack: boolean): boolean =>
  refusedByProvider.has(status) &&
  !(provider === "azure.ai.openai" && status === billedByAzure) &&
  !(heldBack && heldBackBy.has(status))

/**
 * Causes with which no byte of a request has reached a server: nobody listens there, the name has no address, no
 * connection came about in time, or the server's certificate was not trusted, which is looked at before a request
 * is written. Sources: Node's documents, "Common system errors" and "X509 certificate error codes"; undici's, "Errors".
 */
const notSentCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_NODATA",
  "EAI_NONAME",
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "CERT_CHAIN_TOO_LONG",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_REVOKED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

/**
 * Whether what `fetch` threw proves that nothing was sent.
 *
 * @example
 * ```ts
 * import { Settlement } from "agent-budget"
 *
 * const refused = new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } })
 * console.log(Settlement.neverSent(refused)) // true
 * console.log(Settlement.neverSent(new TypeError("fetch failed", { cause: { code: "ECONNRESET" } }))) // false
 * ```
 *
 * @since 0.1.0
 */
export const neverSent = (error: unknown): boolean => provesUnsent(error, 8)

const provesUnsent = (error: unknown, depth: number): boolean => {
  if (depth === 0 || !Predicate.isObject(error)) return false
  // One attempt an address: only if each of them failed like this was nothing sent, whatever code they share.
  if (Predicate.hasProperty(error, "errors") && Array.isArray(error.errors) && error.errors.length > 0) {
    return error.errors.every((each) => provesUnsent(each, depth - 1))
  }
  if (Predicate.hasProperty(error, "code") && Predicate.isString(error.code)) {
    // Whatever the way to a host failed with, as it was being connected to: no network, no route, no answer.
    return (
      notSentCodes.has(error.code) || (Predicate.hasProperty(error, "syscall") && error.syscall === "connect")
    )
  }
  return Predicate.hasProperty(error, "cause") && provesUnsent(error.cause, depth - 1)
}

/**
 * The price tier behind a `service_tier` of the API: `undefined` for one that no price is known for, `auto` where
 * the project's own setting decides. "fast" and "priority" are one tier.
 *
 * @example
 * ```ts
 * import { Settlement } from "agent-budget"
 *
 * console.log(Settlement.tierOf("default")) // standard
 * console.log(Settlement.tierOf("fast")) // priority
 * ```
 *
 * @since 0.1.0
 */
export const tierOf = (word: string): Pricing.Tier | "auto" | undefined => tiers.get(word)

const tiers: ReadonlyMap<string, Pricing.Tier | "auto"> = new Map([
  ["default", "standard"],
  ["standard", "standard"],
  ["flex", "flex"],
  ["priority", "priority"],
  ["fast", "priority"],
  ["ultrafast", "ultrafast"],
  ["auto", "auto"]
] as const)

/** The tier that was served. Nothing that OpenAI sends confirms batch rates: those are the user's word. */
const servedTier = (terms: Terms, echo: string | undefined): Pricing.Tier | undefined => {
  if (echo === undefined) return terms.tier
  const tier = tierOf(echo)
  if (tier === "auto" || (tier === "standard" && terms.tier === "batch")) return terms.tier
  return tier
}

const servedPrice = (
  terms: Terms,
  reading: Reading,
  pricing: Pricing.Pricing["Service"]
): Pricing.Price | undefined => {
  const tier = servedTier(terms, reading.tier)
  if (tier === undefined) return undefined
  const served = servedModel(reading.model, terms.models, pricing)
  if (tier === terms.price.tier && (served === undefined || served.id === terms.price.model))
    return terms.price
  const options = { at: terms.at, regional: terms.regional }
  // A model that is known, on a tier that it is not known to have, is not to be had at the asked one's price.
  const price = pricing.price(served?.id ?? terms.model, tier, options)
  const model = Result.isSuccess(price) ? pricing.find(price.success.model) : undefined
  if (Result.isFailure(price) || model === undefined) return undefined
  const whole = withFees(price.success, model, terms.tools, pricing.toolFees)
  return Result.isSuccess(whole) ? whole.success : undefined
}

/**
 * What to book for an attempt. The tier that the response echoes and the model that it names decide the price;
 * where either has none, or the usage cannot be priced, the whole reservation is charged. Sessions of containers, which
 * no response tells, are charged as they were reserved, and the rest as it was reported: assumed, then.
 *
 * @example
 * ```ts
 * import { Effect, Result } from "effect"
 * import { Pricing, Settlement, Usage, Usd } from "agent-budget"
 *
 * const program = Effect.map(Pricing.Pricing, (pricing) => Settlement.decide(
 *   { _tag: "Reported", reading: { usage: Usage.make({ input: 1_000 }), model: undefined, tier: undefined } },
 *   {
 *     reserved: Usd.dollars("0.10"), model: "gpt-4o", tier: "standard", regional: false, at: 0,
 *     price: Result.getOrThrow(pricing.price("gpt-4o", "standard"))
 *   },
 *   pricing
 * ))
 * console.log((await Effect.runPromise(Effect.provide(program, Pricing.layer)))._tag) // Metered
 * ```
 *
 * @since 0.1.0
 */
export const decide = (outcome: Outcome, terms: Terms, pricing: Pricing.Pricing["Service"]): Verdict => {
  if (outcome._tag !== "Reported") return decideWhole(outcome, terms.reserved, terms.provider, terms.heldBack)
  const { reading } = outcome
  const price = servedPrice(terms, reading, pricing)
  if (price === undefined) return assumed(terms.reserved, "the served tier has no price")
  const why = untold(reading, terms)
  if (why !== undefined) return assumed(orTokens(terms.reserved, price, reading.usage), why)
  const containers = terms.tools?.containers ?? 0
  const told = writtenUsage(reading, terms)
  const usage = containers === 0 ? told : { ...told, containers }
  const amount = Pricing.cost(price, usage)
  if (Result.isFailure(amount)) return assumed(terms.reserved, "the reported usage has no price")
  return containers === 0
    ? { _tag: "Metered", amount: amount.success, usage, model: price.model }
    : assumed(amount.success, "no response tells how many sessions of containers were billed")
}

/** What a response leaves out of its bill. */
const untold = (reading: Reading, { hears, speaks, tools }: Terms): string | undefined => {
  if (tools !== undefined && reading.items === undefined) {
    return "the response does not tell which tools were called"
  }
  if (reading.isBilledBeyond === true || callsOthers(reading.usage, tools)) {
    return "the response called a tool that the request did not allow"
  }
  return (hears === true && reading.tellsHeard !== true) || (speaks === true && reading.tellsSpoken !== true)
    ? "the response does not tell how much of it was audio"
    : undefined
}

/** The whole reservation, or what the tokens that are told cost by themselves, where that is more. */
const orTokens = (reserved: Usd.Usd, price: Pricing.Price, usage: Usage.Usage): Usd.Usd => {
  const tokens = Pricing.cost(price, { ...usage, webSearches: 0, fileSearches: 0, containers: 0 })
  return Result.isSuccess(tokens) && tokens.success > reserved ? tokens.success : reserved
}

/**
 * Whether tools were called that an earlier response, or a conversation, must have brought: fees for them are in no
 * price of the request's.
 */
const callsOthers = (usage: Usage.Usage, tools: HostedTools | undefined): boolean =>
  (["webSearches", "fileSearches", "containers"] as const).some(
    (each) => usage[each] > 0 && (tools === undefined || tools[each] === 0)
  )

/** Cache writes whose keeping the response does not tell are the dearer ones, where the request may ask for those. */
const writtenUsage = ({ splitsWrites, usage }: Reading, { longCache }: Terms): Usage.Usage =>
  longCache === true && splitsWrites !== true && usage.cacheWrite > 0
    ? { ...usage, cacheWrite: 0, cacheWrite12h: usage.cacheWrite + usage.cacheWrite12h }
    : usage

const assumed = (amount: Usd.Usd, why: string): Verdict => ({ _tag: "Assumed", amount, why })

/**
 * What to book for an attempt whose responses tell no bill that could be priced: nothing, or the whole reservation. A 400
 * of the `provider` "azure.ai.openai" is charged whole, as its content filter may have been billed, and so are those
 * statuses by which an answer may be told that was `heldBack` once it was written: 400, 403 and 422.
 *
 * @example
 * ```ts
 * import { Settlement, Usd } from "agent-budget"
 *
 * const verdict = Settlement.decideWhole({ _tag: "Answered", status: 429 }, Usd.dollars("0.25"))
 * console.log(verdict._tag) // Released
 * ```
 *
 * @since 0.1.0
 */
export const decideWhole = (
  outcome: Outcome,
  reserved: Usd.Usd,
  provider?: string,
  heldBack = false
): Verdict => {
  switch (outcome._tag) {
    case "NotSent":
      return { _tag: "Released", why: "nothing was sent" }
    case "Answered":
      return isRefusal(outcome.status, provider, heldBack)
        ? { _tag: "Released", why: `the provider refused with ${outcome.status}` }
        : assumed(reserved, `the provider answered ${outcome.status}`)
    case "Lost":
      return assumed(reserved, outcome.why)
    case "Reported":
      return assumed(reserved, "its usage has no price")
  }
}
