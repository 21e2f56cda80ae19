/**
 * The counted rung against bills that are worked out from what recorded traffic shows, and each of its constants
 * against a bound without it: what is not needed for any bill is no part of a proof.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { listBody as listChat } from "../src/internal/chatCompletions.ts"
import { listBody as listCompletion } from "../src/internal/completions.ts"
import { CountSheet } from "../src/internal/countSheet.ts"
import { listBody as listEmbedding } from "../src/internal/embeddings.ts"
import { tokensOf } from "../src/internal/images.ts"
import type { Json, JsonObject } from "../src/internal/json.ts"
import {
  familyOf,
  imageRule,
  type Family,
  type Framing,
  type ImageRule
} from "../src/internal/modelFamilies.ts"
import { listBody as listResponse } from "../src/internal/responses.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as TokenCounter from "../src/TokenCounter.ts"
import { billed, exactly, type Billed } from "./utils/billed.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())

const lists = {
  "/chat/completions": listChat,
  "/responses": listResponse,
  "/completions": listCompletion,
  "/embeddings": listEmbedding
}

const quoteOf = ({ path, request }: Billed): Quote.Quote =>
  Result.getOrThrow(Quote.make(pricing, { method: "POST", path, body: request }))

/** A way to count too little. */
interface Mutant {
  readonly family?: (family: Family) => Family
  readonly sheet?: new (family: Family) => CountSheet
  readonly rule?: (rule: ImageRule) => ImageRule
}

/** What a request's input comes to by a sheet, and a family, of one's own: in all, and without what is kept in reserve. */
const boundOf = async (
  exchange: Billed,
  mutant: Mutant
): Promise<{ readonly most: number; readonly seen: number; readonly texts: number }> => {
  const { model } = exchange.request
  const family = familyOf(model)
  if (family === undefined) throw new Error(`${model} has no family`)
  const sheet = new (mutant.sheet ?? CountSheet)(mutant.family?.(family) ?? family)
  lists[exchange.path](sheet, exchange.request)
  const { added, encoding, margin, slack, texts } = sheet.counted()
  let tokens = 0
  for (const text of texts) tokens += await Effect.runPromise(counter.count(text, encoding))
  const rule = imageRule(model)
  const spared = (exchange.pictures ?? []).map(
    ({ detail, size }) => tokensOf(rule, size, detail) - tokensOf(mutant.rule?.(rule) ?? rule, size, detail)
  )
  const images = quoteOf(exchange).plan.input.images - spared.reduce((sum, each) => sum + each, 0)
  const most = Math.ceil(tokens * (1 + margin)) + added + images
  return { most, seen: tokens + added - slack + images, texts: tokens }
}

/** The exchanges that are billed above what a mutant says was seen: its reserve is for what was not. */
const caughtBy = async (mutant: Mutant): Promise<ReadonlyArray<string>> => {
  const names: Array<string> = []
  for (const exchange of billed)
    if ((await boundOf(exchange, mutant)).seen < exchange.billed) names.push(exchange.name)
  return names
}

describe("the counted bound", () => {
  it("is never below what is billed, on any endpoint and for any family", async () => {
    const families = new Set<string | undefined>()
    for (const exchange of billed) {
      const quote = quoteOf(exchange)
      const counted = await Effect.runPromise(Quote.countedBy(counter, quote))
      assert.isAtLeast(counted.input, exchange.billed, `${exchange.name}: ${exchange.fact}`)
      assert.isAtLeast(quote.input, exchange.billed, `${exchange.name}, by its length`)
      families.add(familyOf(exchange.request.model)?.name)
    }
    assert.strictEqual(families.size, 11)
  })

  it("keeps twenty tokens and a hundredth of the texts for what was never seen", async () => {
    for (const exchange of billed) {
      const { most, seen, texts } = await boundOf(exchange, {})
      assert.isAtLeast(seen, exchange.billed, exchange.name)
      const kept = ["/embeddings", "/completions"].includes(exchange.path) ? 0 : 20
      assert.isAtLeast(most - seen, kept + texts / 100, exchange.name)
      assert.isAtLeast(quoteOf(exchange).input, seen, `${exchange.name}, by its length`)
    }
  })

  it("is what a quote holds, wherever it is below the length", async () => {
    for (const exchange of billed) {
      const quote = quoteOf(exchange)
      const { input } = await Effect.runPromise(Quote.countedBy(counter, quote))
      assert.strictEqual(input, Math.min(quote.input, (await boundOf(exchange, {})).most), exchange.name)
    }
  })
})

const without = (...parts: ReadonlyArray<keyof Framing>): Mutant => ({
  family: (family) => ({
    ...family,
    framing: { ...family.framing, ...Object.fromEntries(parts.map((part) => [part, 0])) }
  })
})

const inFamily = (name: string, mutant: Mutant): Mutant => ({
  family: (family) => (family.name === name ? (mutant.family?.(family) ?? family) : family)
})

const otherwiseEncoded: Mutant = {
  family: (family) => ({
    ...family,
    encoding: family.encoding === "o200k_base" ? "cl100k_base" : "o200k_base"
  })
}

class Unescaped extends CountSheet {
  override content(value: Json | undefined): void {
    super.content(value)
  }
}

class Apart extends CountSheet {
  override content(value: Json | undefined, isEscaped?: boolean): void {
    for (const each of Array.isArray(value) ? value : [value]) super.content([each], isEscaped)
  }
}

class Undescribed extends CountSheet {
  override functions(): void {}
}

class Unformatted extends CountSheet {
  override schema(): void {}
}

/** What functions are fed as, without the lines that are more than their types say. */
const withoutLines = (line: RegExp): new (family: Family) => CountSheet =>
  class extends CountSheet {
    override functions(functions: ReadonlyArray<JsonObject>): void {
      super.functions(functions)
      this.texts.push((this.texts.pop() ?? "").replace(line, ""))
    }
  }

const rules = (model: string, change: (rule: ImageRule) => ImageRule): Mutant => ({
  rule: (rule) => (rule === imageRule(model) ? change(rule) : rule)
})

const all = [
  "gpt-3.5",
  "gpt-4",
  "gpt-4o",
  "gpt-4.1",
  "o1-preview",
  "o3-mini",
  "o-series",
  "gpt-5",
  "gpt-5.1 to 5.6"
]

/** All but what is kept for parts of those whose parts were never seen. */
const constants = Object.keys(familyOf("gpt-5")?.framing ?? {}).filter(
  (name) => name !== "part"
) as ReadonlyArray<keyof Framing>

const broken: ReadonlyArray<readonly [string, Mutant]> = [
  ...constants.map((part) => [`any family: nothing for ${part}`, without(part)] as const),
  ...all.flatMap((name): ReadonlyArray<readonly [string, Mutant]> => [
    [`${name}: nothing for the request`, inFamily(name, without("request"))],
    [`${name}: nothing for a message`, inFamily(name, without("message"))],
    [`${name}: the other encoding`, inFamily(name, otherwiseEncoded)]
  ]),
  ...["embeddings", "base models"].map(
    (name) => [`${name}: the other encoding`, inFamily(name, otherwiseEncoded)] as const
  ),
  ...["o3-mini", "o-series", "gpt-5", "gpt-5.1 to 5.6"].map(
    (name) => [`${name}: nothing for an answer in the history`, inFamily(name, without("assistant"))] as const
  ),
  ...["gpt-3.5", "gpt-4", "gpt-4o", "gpt-4.1", "o-series", "gpt-5", "gpt-5.1 to 5.6"].map(
    (name) => [`${name}: nothing for a call`, inFamily(name, without("call"))] as const
  ),
  ...["gpt-4o", "gpt-4.1", "o-series", "gpt-5", "gpt-5.1 to 5.6"].map(
    (name) => [`${name}: nothing for calls in parallel`, inFamily(name, without("parallelCall"))] as const
  ),
  ...["gpt-5", "gpt-5.1 to 5.6"].flatMap((name) =>
    (["chatTools", "preamble", "encrypted"] as const).map(
      (part) => [`${name}: nothing for ${part}`, inFamily(name, without(part))] as const
    )
  ),
  ["results of parallel calls as they are", { sheet: Unescaped }],
  ["each part of a text by itself", { sheet: Apart }],
  ["an answer without its schema", { sheet: Unformatted }],
  ["functions without their text", { sheet: Undescribed }],
  ["nothing more for choices", { sheet: withoutLines(/\/\/ any of\n/g) }],
  ["nothing more for lists of types", { sheet: withoutLines(/^\/\/ schema of.*\n/gm) }]
]

const tiles = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4-turbo", "o3", "gpt-5"]
const patches = ["gpt-4.1-mini", "gpt-4.1-nano", "o4-mini", "gpt-5-mini", "gpt-5-nano"]
const flat = ["gpt-5.4", "gpt-5.5", "gpt-5.6-sol"]

const brokenPictures: ReadonlyArray<readonly [string, Mutant]> = [
  ...tiles.flatMap((model): ReadonlyArray<readonly [string, Mutant]> => [
    [`${model}: no base`, rules(model, (rule) => ({ ...rule, base: 0 }))],
    [`${model}: no tiles`, rules(model, (rule) => ({ ...rule, tile: 0 }))]
  ]),
  ["gpt-4o-mini: low detail is cheap", rules("gpt-4o-mini", (rule) => ({ ...rule, low: true }) as ImageRule)],
  ...patches.map(
    (model) => [`${model}: no patches`, rules(model, (rule) => ({ ...rule, perPatch: 0 }))] as const
  ),
  ...patches
    .slice(0, 3)
    .map(
      (model) =>
        [`${model}: the rate of gpt-5-mini`, rules(model, (rule) => ({ ...rule, perPatch: 1.2 }))] as const
    ),
  ...flat.flatMap((model): ReadonlyArray<readonly [string, Mutant]> => [
    [`${model}: no patches`, rules(model, (rule) => ({ ...rule, perPatch: 0 }))],
    [`${model}: nothing at most`, rules(model, (rule) => ({ ...rule, most: 0 }))]
  ]),
  ["gpt-5.4: nothing in high detail", rules("gpt-5.4", (rule) => ({ ...rule, high: 0 }) as ImageRule)]
]

describe("a bound that is too low is found out", () => {
  it.each([...broken, ...brokenPictures])("%s", async (_, mutant) => {
    assert.isNotEmpty(await caughtBy(mutant))
  })
})

describe.each([
  ["in Chinese", "今天北京天气怎么样，要不要带伞出门？"],
  ["in letters of one byte of Latin-1", "é à ü ö ç ñ å ß "]
])("what calls in parallel give %s", (_, words) => {
  const given = JSON.stringify({ text: words.repeat(40) })
  const asIs = exactly(given)
  const escaped = exactly(
    given.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  )
  const times = (count: number, make: (id: string) => JsonObject): ReadonlyArray<JsonObject> =>
    Array.from({ length: count }, (_, nth) => make(`call_${nth}`))
  const messages =
    (call: JsonObject) =>
    (count: number): JsonObject => ({
      model: "gpt-4o",
      max_tokens: 10,
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", tool_calls: times(count, (id) => ({ id, ...call })) },
        ...times(count, (id) => ({ role: "tool", tool_call_id: id, content: "ok" }))
      ]
    })
  const items =
    (type: string, call: JsonObject) =>
    (count: number): JsonObject => ({
      model: "gpt-4o",
      max_output_tokens: 10,
      input: [
        ...times(count, (call_id) => ({ type, call_id, name: "f", ...call })),
        ...times(count, (call_id) => ({ type: `${type}_output`, call_id, output: "ok" }))
      ]
    })

  it.each([
    [
      "a function",
      "/chat/completions",
      messages({ type: "function", function: { name: "f", arguments: given } })
    ],
    ["a custom tool", "/chat/completions", messages({ type: "custom", custom: { name: "f", input: given } })],
    ["a function", "/responses", items("function_call", { arguments: given })],
    ["a custom tool", "/responses", items("custom_tool_call", { input: given })]
  ] as const)("may be written in ASCII as their results are: %s, in %s", async (_, path, bodyOf) => {
    const countOf = async (calls: number): Promise<number> => {
      const byLength = Quote.make(pricing, { method: "POST", path, body: bodyOf(calls) })
      const quote = await Effect.runPromise(Quote.countedBy(counter, Result.getOrThrow(byLength)))
      assert.strictEqual(quote.bound, "counted")
      return quote.input
    }
    assert.isAbove(escaped, 3 * asIs)
    assert.isAtLeast(await countOf(2), 2 * escaped)
    // One call alone is fed as it is.
    assert.isBelow(await countOf(1), 1.1 * asIs + 100)
  })
})

describe("the parts of a content", () => {
  const family = familyOf("gpt-4o") ?? assert.fail("it is known")
  const textsOf = (content: ReadonlyArray<JsonObject>): ReadonlyArray<string> => {
    const sheet = new CountSheet(family)
    sheet.content(content)
    return sheet.counted().texts
  }
  const said = (text: string): JsonObject => ({ type: "text", text })
  const image: JsonObject = { type: "image_url", image_url: { url: "https://x/y.png" } }

  it("are one text, refusals too, but for an image, which stands between two", () => {
    assert.deepStrictEqual(textsOf([said("to"), said("ken")]), ["token"])
    assert.deepStrictEqual(textsOf([said("No"), { type: "refusal", refusal: " way" }]), ["No way"])
    assert.deepStrictEqual(textsOf([said("to"), image, said("ken"), image]), ["to", "ken"])
  })
})

describe("functions of a namespace", () => {
  const described = { type: "string", description: "One line.\nAnd another.\n".repeat(40) }
  const referring = {
    type: "object",
    $defs: { Address: { type: "object", properties: { street: described, city: described } } },
    properties: Object.fromEntries(
      Array.from({ length: 12 }, (_, nth) => [`at${nth}`, { $ref: "#/$defs/Address" }])
    )
  }
  const functions: Readonly<Record<string, JsonObject>> = {
    "that say little": { type: "function", name: "f" },
    "in words of many lines": { type: "function", name: "f", parameters: { properties: { described } } },
    "that refer to the same schema often": { type: "function", name: "f", parameters: referring },
    "in the form of chat": { type: "function", function: { name: "f", parameters: referring } }
  }
  const tokensOfTools = async (tools: Json): Promise<number> => {
    const body = { model: "gpt-5.4", input: "hi", max_output_tokens: 10, tools }
    const byLength = Result.getOrThrow(Quote.make(pricing, { method: "POST", path: "/responses", body }))
    return (await Effect.runPromise(Quote.countedBy(counter, byLength))).input
  }
  const within = (tools: Json): Json => [{ type: "namespace", name: "n", description: "d", tools }]

  it.each(Object.keys(functions))("are counted no lower than outside of one, %s", async (name) => {
    const each = functions[name] ?? {}
    const outside = await tokensOfTools([each])
    assert.isAtLeast(await tokensOfTools(within([each])), outside)
    assert.isAtLeast(await tokensOfTools(within(within([each]))), outside)
  })
})
