/** What a quote would have held for a recorded exchange, against what was billed for it. */
import { Effect, Result } from "effect"
import {
  type BudgetError,
  type Endpoint,
  Host,
  OpenAiEndpoints,
  Pricing,
  Quote,
  Settlement,
  type TokenCounter
} from "agent-budget"
import { isArray, isObject, type Json, type JsonObject } from "../src/internal/json.ts"
import { isHosted } from "../src/internal/hostedTools.ts"
import { familyOf } from "../src/internal/modelFamilies.ts"
import { followableOf, ResponseRecords } from "../src/internal/responseRecords.ts"
import type { Exchange } from "./corpus.ts"

/** What requests are told apart by. */
export const kinds = {
  text: "nothing but messages, instructions and a schema of the answer",
  tools: "tools, or calls of tools and their results",
  images: "images in base64",
  "images by address": "images by address or by file",
  reasoning: "reasoning of earlier answers, encrypted",
  hosted: "tools that the provider runs, or what they left in the conversation",
  other: "embeddings and legacy completions"
} as const
export type Kind = keyof typeof kinds

/**
 * What was found: an endpoint without prices, the rule that refused a request, or its bounds and where they are
 * below the bill.
 */
export type Finding =
  | { readonly _tag: "Unpriced" }
  | { readonly _tag: "Refused"; readonly rule: string }
  | {
      readonly _tag: "Quoted"
      readonly faults: ReadonlyArray<string>
      readonly billed: number
      /** The most input by its length, and by a count where there is one. */
      readonly bytes: number
      readonly counted: number
      readonly rung: Quote.Quote["bound"]
      readonly family: string
      readonly kind: Kind
      /** It was quoted with a limit of its calls, which it had not. */
      readonly limited: boolean
      /** It was quoted for a deployment of the model that answered, which the recording does not name. */
      readonly deployed: boolean
    }

/** The rule by which what is named below is not judged. */
export const leftOut = "left out by name"

/** What is left out of the judgement, and why. */
export const excluded =
  "gpt-4o on the Responses API in March 2025, its first month, when a preamble of some 220 tokens was billed that is since gone."

const launch = { from: Date.UTC(2025, 2, 1) / 1000, until: Date.UTC(2025, 3, 1) / 1000 }

const isExcluded = ({ created, path, request }: Exchange): boolean =>
  path === "/responses" &&
  request.model === "gpt-4o" &&
  typeof created === "number" &&
  created >= launch.from &&
  created < launch.until

const ruleOf = ({ reason }: BudgetError.BudgetError): string => {
  if (reason._tag === "UnknownModel") return `UnknownModel: ${reason.model}`
  return "detail" in reason ? `${reason._tag}: ${reason.detail}` : reason._tag
}

const imageAddress = (part: JsonObject): string | undefined => {
  if (part.type !== "image_url" && part.type !== "input_image") return undefined
  const url = isObject(part.image_url) ? part.image_url.url : part.image_url
  return typeof url === "string" ? url : ""
}

const kindOf = (path: string, request: JsonObject): Kind => {
  if (path !== "/chat/completions" && path !== "/responses") return "other"
  const messages: ReadonlyArray<Json> = [request.messages, request.input].flatMap((each) =>
    isArray(each) ? each : []
  )
  const items = messages.filter(isObject)
  const parts = items.flatMap(({ content, output }) =>
    [content, output].flatMap((each) => (isArray(each) ? each : []))
  )
  const images = parts.filter(isObject).flatMap((part) => imageAddress(part) ?? [])
  if (images.length > 0)
    return images.every((each) => each.startsWith("data:")) ? "images" : "images by address"
  const tools = [request.tools, request.functions].flatMap((each) => (isArray(each) ? each : []))
  const isLeft = (item: JsonObject): boolean =>
    typeof item.type === "string" && /^(web_search|file_search|code_interpreter|mcp)_/.test(item.type)
  if (tools.some(isHosted) || items.some(isLeft)) return "hosted"
  if (items.some((item) => item.type === "reasoning")) return "reasoning"
  const isCall = (item: JsonObject): boolean =>
    item.role === "tool" || isArray(item.tool_calls) || (item.type !== undefined && item.type !== "message")
  return tools.length > 0 || items.some(isCall) ? "tools" : "text"
}

/** The most output that a quote allows. */
const outputOf = (quote: Quote.Quote): number => {
  const { output } = quote.plan
  return output === undefined ? 0 : (output.cap ?? quote.cap?.most ?? 0) * output.times + output.extra
}

/** What was answered with, as far as it was recorded. */
const outputOfRow = ({ outputItems, webSearchActions }: Exchange): ReadonlyArray<JsonObject> => {
  const actions = [...(webSearchActions ?? [])]
  return (outputItems ?? []).map((type) => {
    const action = type === "web_search_call" ? actions.shift() : undefined
    return typeof action === "string" ? { type, action: { type: action } } : { type }
  })
}

const readingOf = (endpoint: Endpoint.Endpoint, exchange: Exchange): Endpoint.Reading | undefined =>
  endpoint.read({
    id: exchange.responseId ?? null,
    output: outputOfRow(exchange),
    usage: exchange.usage,
    model: exchange.responseModel,
    service_tier: exchange.serviceTier
  })

/** The request, with the limit that hosted tools need: as many calls as were made, where it had none. */
const limited = ({ path, outputItems, request }: Exchange): JsonObject => {
  const { max_tool_calls: limit, tools } = request
  if (path !== "/responses" || typeof limit === "number" || !isArray(tools) || !tools.some(isHosted))
    return request
  const calls = outputItems?.filter((type) =>
    /^(web_search|file_search|code_interpreter|mcp|tool_search)_call$/.test(type)
  )
  return { ...request, max_tool_calls: Math.max(1, calls?.length ?? 0) }
}

/**
 * The path, with the deployment that an Azure path names: where that is no priced model, the one that answered, as for
 * a user who has said which model the deployment is.
 */
const pathOf = (pricing: Pricing.Pricing["Service"], exchange: Exchange): string => {
  const { deployment, host, path, request, responseModel } = exchange
  const names = [deployment, request.model, responseModel].filter((each) => typeof each === "string")
  const name = names.find((each) => pricing.find(each) !== undefined)
  return host === "azure" && name !== undefined ? `/deployments/${name}${path}` : path
}

/** What a budget that had seen the exchanges would know of the responses that later ones go on from. */
export const recordsOf = (
  pricing: Pricing.Pricing["Service"],
  exchanges: ReadonlyArray<Exchange>
): Quote.Lookup => {
  const records = new ResponseRecords()
  const pending = new Map(exchanges.map((each) => [each.responseId, each]))
  const lookup: Quote.Lookup = (id) => {
    const exchange = pending.get(id)
    pending.delete(id)
    if (exchange !== undefined) {
      const { path, request: body, responseModel } = exchange
      const found = OpenAiEndpoints.recognise("POST", path)
      const quoted = Quote.make(pricing, { method: "POST", path, body, previous: lookup })
      const reading = found._tag === "Priced" ? readingOf(found.endpoint, exchange) : undefined
      const served = responseModel === null ? undefined : pricing.find(responseModel)?.id
      if (Result.isSuccess(quoted) && reading !== undefined)
        records.learn("", followableOf(quoted.success), reading, served)
    }
    return records.find("", id)
  }
  return lookup
}

const asText = (value: Json | undefined): string => (typeof value === "string" ? value : "")

/** Quotes an exchange on both rungs, and looks for a bill above either. */
export const examine = Effect.fnUntraced(function* (
  pricing: Pricing.Pricing["Service"],
  counter: TokenCounter.TokenCounter["Service"],
  exchange: Exchange,
  previous?: Quote.Lookup
): Effect.fn.Return<Finding> {
  const { request } = exchange
  const path = pathOf(pricing, exchange)
  const body = limited(exchange)
  const found = OpenAiEndpoints.recognise("POST", path)
  if (found._tag !== "Priced") return { _tag: "Unpriced" }
  if (isExcluded(exchange)) return { _tag: "Refused", rule: leftOut }
  const host = Host.of(
    new URL(exchange.host === "azure" ? "https://any.openai.azure.com" : "https://api.openai.com")
  )
  const quoted = Quote.make(pricing, { method: "POST", path, body, host, previous })
  if (Result.isFailure(quoted)) return { _tag: "Refused", rule: ruleOf(quoted.failure) }
  const reading = readingOf(found.endpoint, exchange)
  const counted = yield* Quote.countedBy(counter, quoted.success)
  const faults: Array<string> = []
  for (const quote of [quoted.success, counted]) {
    if (reading === undefined) {
      faults.push("its usage was not read")
      break
    }
    const { containers = 0 } = quote.plan.tools ?? {}
    const usage = { ...reading.usage, containers }
    if (usage.input > quote.input) faults.push(`${quote.bound}: input ${usage.input} > ${quote.input}`)
    if (usage.output > outputOf(quote)) faults.push(`output ${usage.output} > ${outputOf(quote)}`)
    const cost = Pricing.cost(quote.price, usage)
    if (Result.isSuccess(cost)) {
      if (cost.success > quote.most)
        faults.push(`${quote.bound}: nano-dollars ${cost.success} > ${quote.most}`)
    } else if (!isAssumedWhole(quote, reading, pricing)) faults.push("an unpriced bill")
  }
  return {
    _tag: "Quoted",
    faults,
    billed: reading?.usage.input ?? NaN,
    bytes: quoted.success.input,
    counted: counted.input,
    rung: counted.bound,
    family: familyOf(counted.plan.model)?.name ?? "unknown",
    kind: kindOf(exchange.path, request),
    limited: body !== request,
    deployed: path !== exchange.path && path !== `/deployments/${asText(request.model)}${exchange.path}`
  }
})

/** A bill that cannot be priced is charged as the whole reservation, never as nothing. */
const isAssumedWhole = (
  quote: Quote.Quote,
  reading: Endpoint.Reading,
  pricing: Pricing.Pricing["Service"]
): boolean => {
  const terms = { reserved: quote.most, model: quote.model, tier: quote.price.tier, price: quote.price }
  const verdict = Settlement.decide(
    { _tag: "Reported", reading },
    { ...terms, regional: false, at: quote.at },
    pricing
  )
  return verdict._tag === "Assumed" && verdict.amount === quote.most
}
