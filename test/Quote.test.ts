/** The law of quotes: no usage that a request allows costs more than its quote. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Result, Schema } from "effect"
import { Tiktoken } from "js-tiktoken/lite"
import cl100k from "js-tiktoken/ranks/cl100k_base"
import o200k from "js-tiktoken/ranks/o200k_base"
import * as Budget from "../src/Budget.ts"
import type { Endpoint } from "../src/Endpoint.ts"
import * as Host from "../src/Host.ts"
import * as InputTokens from "../src/InputTokens.ts"
import type { Json, JsonObject } from "../src/internal/json.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as TokenCounter from "../src/TokenCounter.ts"
import * as Usage from "../src/Usage.ts"
import * as Usd from "../src/Usd.ts"

const pricing = await Effect.runPromise(Pricing.make())
const at = Date.UTC(2026, 10, 23)

const make = (
  path: string,
  body: unknown,
  options: Quote.Options = {},
  host: Host.Host = Host.of(new URL("https://api.openai.com/v1")),
  table: Pricing.Pricing["Service"] = pricing
): Result.Result<Quote.Quote, Error> => Quote.make(table, { method: "POST", path, body, host, at }, options)

const quoted = (...request: Parameters<typeof make>): Quote.Quote => Result.getOrThrow(make(...request))

const reasonOf = (result: ReturnType<typeof make>): string =>
  Result.isFailure(result) && "reason" in result.failure
    ? (result.failure.reason as { _tag: string })._tag
    : "quoted"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
/** Parts of a thousand: of a bound, of what is left of it. */
const Part = between(0, 1_000)
const part = (whole: number, thousandths: number): number => Math.floor((whole * thousandths) / 1_000)

/** A 1024 x 1024 picture, up to where its image begins. */
const picture = ((): string => {
  const bytes = Buffer.alloc(42)
  bytes.write("\u0089PNG\r\n\u001a\n\0\0\0\rIHDR", "latin1")
  bytes.writeUInt32BE(1_024, 16)
  bytes.writeUInt32BE(1_024, 20)
  bytes.write("IDAT", 37)
  return `data:image/png;base64,${bytes.toString("base64")}`
})()

/** What that picture is billed at, for models whose formula is published; nothing is claimed of the others. */
const pictureTokens = (model: string): number => {
  if (model.startsWith("gpt-4o-mini")) return 2_833 + 4 * 5_667
  if (model === "gpt-4o" || model === "gpt-4.1") return 85 + 4 * 170
  if (model === "gpt-4.1-mini") return Math.ceil(1_024 * 1.62)
  if (model === "gpt-4.1-nano") return Math.ceil(1_024 * 2.46)
  if (model === "o4-mini") return Math.ceil(1_024 * 1.72)
  return 0
}

const Text = Schema.Literals([
  "",
  "a",
  "word ",
  "é",
  "中文",
  "😀",
  "\ud800",
  '"',
  "\\",
  "\n",
  "\u007f",
  "<|endoftext|>"
])
/** Those that may be sent to any of the paths below. */
const writers = pricing.models.filter(({ kind }) => kind !== "embedding")
const Case = Schema.Struct({
  model: between(0, writers.length - 1),
  tier: Part,
  regional: Schema.Boolean,
  responses: Schema.Boolean,
  texts: Schema.Array(Text),
  /** Thousands of characters more: some cross the threshold of long context. */
  bulk: Schema.Literals([0, 0, 0, 0, 0, 0, 0, 0, 1, 300]),
  n: Schema.UndefinedOr(between(1, 5)),
  cap: Schema.UndefinedOr(between(1, 200_000)),
  prediction: Schema.UndefinedOr(Text),
  tools: between(0, 3),
  pictures: between(0, 2),
  unshown: Schema.Boolean
})
type Case = typeof Case.Type

const tool = { type: "function", name: "f", parameters: {} }
const chatTool = { type: "function", function: { name: "f", parameters: {} } }
const wire = {
  standard: "default",
  flex: "flex",
  priority: "priority",
  ultrafast: "ultrafast",
  batch: undefined
}

/** A request with, worked out apart from the code, the most that a byte-level model can be billed for it. */
const requestOf = (it: Case) => {
  const model = writers[it.model]
  if (model === undefined) throw new Error("no such model")
  const tier = model.tiers[part(model.tiers.length - 1, it.tier)] ?? "standard"
  const texts = it.bulk === 0 ? it.texts : [...it.texts, "x".repeat(it.bulk * 1_000)]
  const images = Array.from({ length: it.pictures }, () =>
    it.responses
      ? { type: "input_image", image_url: picture }
      : { type: "image_url", image_url: { url: picture } }
  )
  const messages: ReadonlyArray<Json> = [
    ...texts.map((content) => ({ role: "user", content })),
    ...(images.length === 0 ? [] : [{ role: "user", content: images }])
  ]
  const tools = Array.from({ length: it.tools }, () => (it.responses ? tool : chatTool))
  const common = {
    model: model.id,
    ...(tools.length === 0 ? {} : { tools }),
    ...(wire[tier] === undefined ? {} : { service_tier: wire[tier] })
  }
  const body: JsonObject = it.responses
    ? {
        ...common,
        input: messages,
        ...(it.cap === undefined ? {} : { max_output_tokens: it.cap }),
        ...(it.unshown ? { previous_response_id: "resp_1" } : {})
      }
    : {
        ...common,
        messages: it.unshown
          ? [...messages, { role: "user", content: [{ type: "file", file: { file_id: "f" } }] }]
          : messages,
        ...(it.n === undefined ? {} : { n: it.n }),
        ...(it.cap === undefined ? {} : { max_completion_tokens: it.cap }),
        ...(it.prediction === undefined ? {} : { prediction: { type: "content", content: it.prediction } })
      }
  const times = it.responses ? 1 : (it.n ?? 1)
  const toolTokens =
    it.tools === 0 ? 0 : 105 + it.tools * JSON.stringify(it.responses ? tool : chatTool).length
  const text = texts.reduce((sum, each) => sum + Buffer.byteLength(each), 0)
  const shown = Math.min(
    // The dearest framing that was recorded: 15 and 16 a message, of o1-preview.
    text + 15 + 16 * messages.length + toolTokens,
    model.contextWindow ?? Infinity
  )
  return {
    body,
    path: it.responses ? "/responses" : "/chat/completions",
    model,
    tier,
    times,
    input: (it.unshown ? (model.contextWindow ?? shown) : shown) + it.pictures * pictureTokens(model.id),
    // Each answer may reject the whole of the prediction, which is billed as output.
    extra: it.responses || it.prediction === undefined ? 0 : times * Buffer.byteLength(it.prediction)
  }
}

const Split = Schema.Struct({ input: Part, written: Part, written12h: Part, cached: Part, output: Part })

/** A usage within bounds, as often as not at them, with its input split between the caches. */
const usageOf = (split: typeof Split.Type, input: number, output: number): Usage.Usage => {
  const used = split.input > 500 ? input : part(input, split.input * 2)
  const cacheWrite = part(used, split.written)
  const cacheWrite12h = part(used - cacheWrite, split.written12h)
  return Usage.make({
    input: used,
    cacheWrite,
    cacheWrite12h,
    cachedInput: part(used - cacheWrite - cacheWrite12h, split.cached),
    output: split.output > 500 ? output : part(output, split.output * 2)
  })
}

const costOf = (price: Pricing.Price, usage: Usage.Usage): Usd.Usd =>
  Result.getOrThrow(Pricing.cost(price, usage))

describe("the law", () => {
  const runs = { timeout: 60_000, arbitrary: { runs: 3_000, size: 60 } }

  it.prop(
    "holds: no usage that the body allows costs more than the quote",
    { it: Case, split: Split },
    ({ it, split }) => {
      const request = requestOf(it)
      const host = Host.of(new URL(it.regional ? "https://eu.api.openai.com" : "https://api.openai.com"))
      const answer = make(request.path, request.body, { tier: request.tier }, host)
      if (Result.isFailure(answer)) {
        assert.include(["UnboundedRequest"], reasonOf(answer))
        assert.isTrue(request.model.contextWindow === undefined || /search|research/.test(request.model.id))
        return
      }
      const quote = answer.success
      const cap = it.cap ?? quote.cap?.most ?? 0
      const price = Result.getOrThrow(
        pricing.price(request.model.id, request.tier, { at, regional: it.regional })
      )
      const usage = usageOf(split, request.input, cap * request.times + request.extra)
      assert.isAtMost(costOf(price, usage), quote.most)
      assert.isAtMost(quote.least, quote.most)
      const picos = Quote.lines(quote).reduce((sum, line) => sum + line.tokens * line.picoDollars, 0)
      if (Number.isSafeInteger(picos)) assert.strictEqual(Math.ceil(picos / 1_000), quote.most)
    },
    runs
  )

  it.prop(
    "holds for what is granted: the largest cap that fits it is written, and none larger would fit",
    { it: Case, split: Split, granted: Part },
    ({ it, split, granted: share }) => {
      const request = requestOf({ ...it, cap: undefined })
      const answer = make(request.path, request.body, { tier: request.tier })
      if (Result.isFailure(answer)) return
      const quote = answer.success
      const granted = Usd.nanos(quote.least + part(quote.most - quote.least, share))
      const cap = Quote.capFor(quote, granted)
      if (cap === undefined || quote.cap === undefined) throw new Error("it has no cap")
      const price = Result.getOrThrow(pricing.price(request.model.id, request.tier, { at }))
      const usage = usageOf(split, request.input, cap * request.times + request.extra)
      assert.isAtMost(costOf(price, usage), granted)
      assert.isAtLeast(cap, quote.cap.least)
      assert.isAtMost(cap, quote.cap.most)
      if (cap === quote.cap.most) return
      const { times, extra } = quote.plan.output ?? { times: 1, extra: 0 }
      const larger = Usage.make({ input: quote.input, output: (cap + 1) * times + extra })
      assert.isAbove(Result.getOrThrow(Pricing.worst(price, larger)), granted)
    },
    runs
  )

  it("holds for every model in every tier, at the bounds of its input and output", () => {
    let checked = 0
    for (const [index, model] of pricing.models.entries()) {
      for (const tier of model.tiers) {
        for (const bulk of [0, 300, 1_200] as const) {
          const path =
            model.kind === "embedding" ? "/embeddings" : model.kind === "chat" ? "/responses" : "/completions"
          const text = "y".repeat(bulk * 1_000 + 10)
          const body =
            path === "/embeddings"
              ? { model: model.id, input: [text, text] }
              : path === "/responses"
                ? { model: model.id, input: text, max_output_tokens: 7_000 }
                : { model: model.id, prompt: [text, text], best_of: 3, max_tokens: 7_000 }
          // Each prompt has a window of its own; embeddings have as many as there are inputs.
          const window = model.contextWindow ?? Infinity
          const prompts = path === "/responses" ? 1 : 2
          const input = prompts * Math.min(text.length + 15, window)
          const output = path === "/embeddings" ? 0 : path === "/responses" ? 7_000 : 2 * 3 * 7_000
          const answer = make(path, body, { tier })
          if (Result.isFailure(answer)) {
            assert.match(
              `${reasonOf(answer)} ${model.id}`,
              /UnboundedRequest .*(search|research)/,
              String(index)
            )
            continue
          }
          const price = Result.getOrThrow(pricing.price(model.id, tier, { at }))
          for (const parts of [{}, { cacheWrite: input }, { cacheWrite12h: input }, { cachedInput: input }]) {
            const usage = Usage.make({ input, output, ...parts })
            assert.isAtMost(costOf(price, usage), answer.success.most, `${model.id} ${tier}`)
            checked++
          }
        }
      }
    }
    assert.isAbove(checked, 1_500)
  })
})

describe("the text of a request", () => {
  const encoders = [new Tiktoken(o200k), new Tiktoken(cl100k)]
  const escaped = (json: string): string =>
    json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  const Fragment = Schema.Literals([
    "word",
    " the",
    "é",
    "ß",
    "中文字",
    "日本",
    "😀",
    "👩‍👩‍👧",
    "\ud800",
    "\udfff",
    "\u007f",
    "\u0000",
    "\n",
    '"',
    "\\",
    "{}",
    "0123",
    "กำ",
    "עב",
    "\u{10ffff}",
    "<|endoftext|>",
    " ",
    "—"
  ])

  it.prop(
    "is never more tokens than its bound, raw or in ASCII-escaped JSON, in any field",
    { texts: Schema.Array(Fragment), key: Fragment },
    ({ texts, key }) => {
      const text = texts.join("")
      const bodies: ReadonlyArray<readonly [string, JsonObject]> = [
        ["/responses", { model: "gpt-4o", input: text, instructions: key, metadata: { [key]: text } }],
        ["/embeddings", { model: "text-embedding-3-small", input: [text, key] }],
        ["/completions", { model: "gpt-3.5-turbo-instruct", prompt: text, suffix: key }],
        ["/chat/completions", { model: "gpt-4o", messages: [{ role: "tool", content: text, name: key }] }]
      ]
      for (const [path, body] of bodies) {
        const { input } = quoted(path, body)
        for (const encoder of encoders) {
          assert.isAtMost(encoder.encode(escaped(JSON.stringify(body)), [], []).length, input)
          assert.isAtMost(encoder.encode(text, [], []).length, input)
        }
      }
    },
    { timeout: 60_000, arbitrary: { runs: 400, size: 40 } }
  )

  it("counts a letter that JSON escapes as wide as it can be fed", () => {
    const of = (content: string): number =>
      quoted("/chat/completions", { model: "gpt-4o", messages: [{ role: "user", content }] }).input
    assert.strictEqual(of("中".repeat(100)) - of(""), 600)
    assert.strictEqual(of("a".repeat(100)) - of(""), 100)
  })
})

describe("the context window", () => {
  const long = "z".repeat(2_000_000)

  it("bounds the input of one conversation, and that of each prompt of a list apart", () => {
    assert.strictEqual(quoted("/responses", { model: "gpt-4o", input: long }).input, 128_000)
    const one = quoted("/completions", { model: "gpt-3.5-turbo-instruct", prompt: long }).input
    const three = quoted("/completions", {
      model: "gpt-3.5-turbo-instruct",
      prompt: [long, long, long]
    }).input
    assert.deepStrictEqual([one, three], [4_096, 3 * 4_096])
    const listed = {
      model: "text-embedding-3-small",
      input: Array.from({ length: 100 }, () => "w".repeat(8_000))
    }
    assert.isAbove(quoted("/embeddings", listed).input, 800_000)
  })

  it("is held for input that the request names but does not show, and refused where it is not known", () => {
    const body = { model: "gpt-5", input: "go on", previous_response_id: "resp_1" }
    assert.strictEqual(quoted("/responses", body).input, pricing.find("gpt-5")?.contextWindow)
    const own = Effect.runSync(Pricing.make({ overrides: { own: { input: "1", output: "2" } } }))
    assert.strictEqual(
      reasonOf(make("/responses", { ...body, model: "own" }, {}, undefined, own)),
      "UnboundedRequest"
    )
  })

  it("does not bound images, which gpt-4o-mini bills at a multiple of the room they take", () => {
    const content = Array.from({ length: 10 }, () => ({ type: "image_url", image_url: { url: picture } }))
    const quote = quoted("/chat/completions", { model: "gpt-4o-mini", messages: [{ role: "user", content }] })
    assert.isAtLeast(quote.input, 10 * 25_501)
  })
})

describe("input that is not shown", () => {
  const unshown = (model: string): number =>
    quoted("/responses", { model, input: "And?", previous_response_id: "resp_1" }).input

  it("is a window, or several where images are billed beyond the room that they take", () => {
    assert.strictEqual(unshown("gpt-4o"), 128_000)
    // Ten pictures of 1024 x 1024 take 7,650 of the window by the formula of gpt-4o, and fill a third of this.
    const filled = Math.floor(128_000 / (85 + 4 * 170))
    assert.isAtLeast(unshown("gpt-4o-mini"), filled * (2_833 + 4 * 5_667))
    assert.isAtLeast(unshown("gpt-4.1-mini"), 1_047_576 * 1.62)
  })

  it("is none where a text is empty", () => {
    const said = (content: string) => [
      { role: "system", content },
      { role: "user", content: "hi" }
    ]
    const of = (content: string) => quoted("/responses", { model: "gpt-4o", input: said(content) })
    assert.deepStrictEqual([of("").bound, of("be brief").bound], ["bytes", "bytes"])
  })
})

describe("a price that changes", () => {
  it("is held as it will be tomorrow, where that is dearer", () => {
    const request = {
      method: "POST",
      path: "/responses",
      body: { model: "gpt-6.2-sol", input: "hi", service_tier: "ultrafast", max_output_tokens: 100 }
    }
    const on = (...day: [number, number, number, number]) =>
      Result.getOrThrow(Quote.make(pricing, { ...request, at: Date.UTC(...day) })).most
    // The bundled table knows that this tier costs twice as much from March 2027 on.
    assert.strictEqual(on(2027, 1, 28, 12), on(2027, 2, 2, 12))
    assert.strictEqual(on(2027, 1, 26, 12) * 2, on(2027, 2, 2, 12))
  })
})

describe("a cache of twelve hours", () => {
  it("is seen however its body is written", () => {
    const of = (options: string): boolean => {
      const text = `{"model":"gpt-6.2-sol","input":"hi","max_output_tokens":9${options}}`
      const { endpoint } = OpenAiEndpoints.recognise("POST", "/responses") as { endpoint: Endpoint }
      const request = { text, body: JSON.parse(text) as JsonObject }
      const where = { host: Host.of(new URL("https://api.openai.com")), at }
      return Result.getOrThrow(Quote.quote(pricing, endpoint, request, {}, where)).longCache
    }
    assert.isTrue(of(',"prompt_cache_options":{"ttl":"12h"}'))
    assert.isTrue(of(',"prompt_cache_options":{"ttl":"12\\u0068"}'))
    assert.isFalse(of(',"prompt_cache_options":{"ttl":"30\\u006d"}'))
    assert.isFalse(of(""))
  })
})

describe("a number that JavaScript writes otherwise", () => {
  it.each([
    ["of hundreds of digits", "123456789".repeat(40)],
    ["with a fraction of nothing", "1.0"]
  ])("%s is counted as it was sent", async (_, number) => {
    const numbers = Array<string>(50).fill(number).join(", ")
    const text =
      '{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function",' +
      `"function":{"name":"f","parameters":{"type":"object","properties":{"a":{"enum":[${numbers}]}}}}}]}`
    const { endpoint } = OpenAiEndpoints.recognise("POST", "/chat/completions") as { endpoint: Endpoint }
    const request = { text, body: JSON.parse(text) as JsonObject }
    const where = { host: Host.of(new URL("https://api.openai.com")), at }
    const byLength = Result.getOrThrow(Quote.quote(pricing, endpoint, request, {}, where))
    const counter = await Effect.runPromise(TokenCounter.make())
    const { bound, input } = await Effect.runPromise(Quote.countedBy(counter, byLength))
    assert.strictEqual(bound, "counted")
    const union = Array<string>(50).fill(number).join(" | ")
    assert.isAtLeast(input, new Tiktoken(o200k).encode(union).length + 3 + 4)
  })
})

describe("a reference of a function", () => {
  it("is taken to be written out, however the body spells its key", () => {
    const described = { type: "string", description: "As long as can be. ".repeat(40) }
    const text = JSON.stringify({
      model: "gpt-4o",
      max_tokens: 9,
      messages: [{ role: "user", content: "hi" }],
      tools: [
        {
          type: "function",
          function: {
            name: "f",
            parameters: {
              type: "object",
              $defs: { A: { type: "object", properties: { described } } },
              properties: { a: { $ref: "#/$defs/A" }, b: { $ref: "#/$defs/A" }, c: { $ref: "#/$defs/A" } }
            }
          }
        }
      ]
    })
    const { endpoint } = OpenAiEndpoints.recognise("POST", "/chat/completions") as { endpoint: Endpoint }
    const where = { host: Host.of(new URL("https://api.openai.com")), at }
    const inputOf = (text: string): number =>
      Result.getOrThrow(
        Quote.quote(pricing, endpoint, { text, body: JSON.parse(text) as JsonObject }, {}, where)
      ).input
    assert.isAbove(inputOf(text), text.length + 2 * described.description.length)
    assert.strictEqual(inputOf(text.replaceAll('"$ref"', '"\\u0024ref"')), inputOf(text) + 3 * 5)
  })
})

describe("the cap of a call without one", () => {
  const chat = (model: string, extra: JsonObject = {}): JsonObject => ({
    model,
    messages: [{ role: "user", content: "hi" }],
    ...extra
  })

  it("lies between the floor of its kind of model and the model's maximum", () => {
    const plain = quoted("/chat/completions", chat("gpt-4o"))
    assert.deepStrictEqual(plain.cap, { field: "max_completion_tokens", least: 1_024, most: 16_384 })
    assert.strictEqual(quoted("/chat/completions", chat("gpt-5.2")).cap?.least, 4_096)
    assert.strictEqual(quoted("/responses", { model: "o3", input: "hi" }).cap?.field, "max_output_tokens")
    assert.strictEqual(plain.share, 0.1)
  })

  it("is never written into max_tokens where models refuse that field", () => {
    for (const model of pricing.models) {
      if (model.kind !== "chat") continue
      const answer = make("/chat/completions", chat(model.id))
      if (Result.isSuccess(answer)) assert.strictEqual(answer.success.cap?.field, "max_completion_tokens")
    }
  })

  it("is the caller's where there is one: both caps are bounded by the larger, null is none", () => {
    const capOf = (extra: JsonObject): unknown =>
      quoted("/chat/completions", chat("gpt-4o", extra)).plan.output?.cap
    assert.strictEqual(capOf({ max_tokens: 10, max_completion_tokens: 30 }), 30)
    assert.strictEqual(capOf({ max_tokens: 40, max_completion_tokens: 30 }), 40)
    assert.strictEqual(capOf({ max_tokens: null, max_completion_tokens: 30 }), 30)
    assert.strictEqual(capOf({ max_tokens: null, max_completion_tokens: null }), undefined)
    const given = quoted("/chat/completions", chat("gpt-4o", { max_tokens: 10 }))
    assert.strictEqual(given.cap, undefined)
    assert.strictEqual(given.least, given.most)
    assert.strictEqual(Quote.capFor(given, given.most), undefined)
  })

  it("follows the settings: a floor and a share, the model's maximum, or a refusal", () => {
    const of = (uncapped: Quote.Options["uncapped"], model = "gpt-4o") =>
      make("/chat/completions", chat(model), { uncapped })
    const set = Result.getOrThrow(of({ floor: 50, share: 0.5 }))
    assert.deepStrictEqual([set.cap?.least, set.cap?.most, set.share], [50, 16_384, 0.5])
    const maximum = Result.getOrThrow(of("modelMaximum"))
    assert.deepStrictEqual([maximum.cap?.least, maximum.cap?.most, maximum.share], [16_384, 16_384, 1])
    assert.strictEqual(Result.getOrThrow(of({ floor: 1e9 })).cap?.least, 16_384)
    for (const bad of [
      "refuse",
      { floor: 0 },
      { floor: 1.5 },
      { share: 0 },
      { share: 2 },
      { share: NaN }
    ] as const) {
      assert.strictEqual(reasonOf(of(bad)), "UnboundedRequest")
    }
  })

  it("leaves room for the input in the window, unless the model keeps room for output apart", () => {
    const near = { model: "gpt-4o", input: "v".repeat(120_000) }
    assert.isBelow(quoted("/responses", near).cap?.most ?? 0, 8_000)
    const room = { model: "gpt-5", input: "v".repeat(2_000_000) }
    assert.strictEqual(quoted("/responses", room).cap?.most, 128_000)
    // A conversation that is only named has taken nobody knows how little of it.
    const named = { model: "gpt-4o", input: "hi", previous_response_id: "resp_1" }
    assert.strictEqual(quoted("/responses", named).cap?.most, 16_384)
  })

  it("is 16 for a legacy completion, as the API documents, times its prompts and copies", () => {
    const quote = quoted("/completions", {
      model: "gpt-3.5-turbo-instruct",
      prompt: ["a", "b"],
      n: 2,
      best_of: 5
    })
    assert.deepStrictEqual(quote.cap, { field: "max_tokens", least: 16, most: 16 })
    assert.strictEqual(Quote.lines(quote)[1]?.tokens, 16 * 2 * 5)
  })

  it("of none, which scores a prompt of a legacy completion, is held as the default that a gateway makes of it", () => {
    const body = { model: "babbage-002", prompt: ["a", "b"], echo: true, logprobs: 1 }
    const scored = quoted("/completions", { ...body, max_tokens: 0 })
    assert.strictEqual(scored.cap, undefined)
    assert.strictEqual(Quote.lines(scored)[1]?.tokens, 16 * 2)
  })

  it("that nobody can pay is refused, not wrapped around", () => {
    for (const extra of [
      { n: 1e9 },
      { n: Number.MAX_SAFE_INTEGER },
      { max_tokens: Number.MAX_SAFE_INTEGER }
    ]) {
      assert.strictEqual(reasonOf(make("/chat/completions", chat("gpt-4o", extra))), "UnboundedRequest")
    }
    const many = { n: Number.MAX_SAFE_INTEGER, prediction: { type: "content", content: "x" }, max_tokens: 1 }
    assert.strictEqual(reasonOf(make("/chat/completions", chat("gpt-4o", many))), "UnboundedRequest")
  })
})

describe("the tier", () => {
  const body: JsonObject = { model: "gpt-5.2", input: "hi", max_output_tokens: 1_000 }
  const tiersOf = (...request: Parameters<typeof make>) => quoted(...request).prices.map(({ tier }) => tier)

  it("is the body's, else the session's", () => {
    assert.deepStrictEqual(tiersOf("/responses", body), ["standard"])
    assert.deepStrictEqual(tiersOf("/responses", body, { tier: "flex" }), ["flex"])
    assert.deepStrictEqual(tiersOf("/responses", body, { tier: "batch" }), ["batch"])
    assert.deepStrictEqual(tiersOf("/responses", { ...body, service_tier: "fast" }, { tier: "flex" }), [
      "priority"
    ])
    assert.deepStrictEqual(tiersOf("/responses", { ...body, service_tier: null }), ["standard"])
  })

  it("that the project decides is quoted at the dearest that it can be", () => {
    const auto = quoted("/responses", { ...body, service_tier: "auto" })
    assert.includeMembers(
      auto.prices.map(({ tier }) => tier),
      ["standard", "flex", "priority"]
    )
    assert.isAtLeast(auto.most, quoted("/responses", { ...body, service_tier: "fast" }).most)
    assert.strictEqual(auto.price.tier, "priority")
  })

  it("that has no price is refused, also one that nobody knows", () => {
    for (const tier of ["scale", "Default", "", "constructor"]) {
      assert.strictEqual(reasonOf(make("/responses", { ...body, service_tier: tier })), "UnpricedTier")
    }
    assert.strictEqual(
      reasonOf(make("/responses", { ...body, model: "gpt-4o" }, { tier: "flex" })),
      "UnpricedTier"
    )
    assert.strictEqual(reasonOf(make("/responses", { ...body, service_tier: 1 })), "MalformedRequest")
  })

  it("of the session that nothing asks for may be served or not: the dearer is quoted", () => {
    const local = Host.of(new URL("http://localhost:1234/v1"))
    assert.strictEqual(quoted("/responses", body, { tier: "flex" }, local).price.tier, "standard")
    assert.strictEqual(quoted("/responses", body, { tier: "priority" }, local).price.tier, "priority")
    assert.strictEqual(
      quoted("/responses", body, { tier: "flex" }, local).most,
      quoted("/responses", body).most
    )
    // One that the body asks for may be passed over there, too.
    const flex = { ...body, service_tier: "flex" }
    assert.deepStrictEqual(tiersOf("/responses", flex, {}, local), ["flex", "standard"])
    assert.isAtLeast(quoted("/responses", flex, {}, local).most, quoted("/responses", body).most)
    assert.deepStrictEqual(tiersOf("/responses", flex), ["flex"])
    const standard = { ...body, service_tier: "default" }
    assert.deepStrictEqual(tiersOf("/responses", standard, {}, local), ["standard"])
    assert.deepStrictEqual(tiersOf("/responses", body, { tier: "batch" }, local), ["batch"])
    assert.strictEqual(
      reasonOf(make("/responses", { ...body, model: "gpt-4o", service_tier: "flex" }, {}, local)),
      "UnpricedTier"
    )
    // Embeddings know no tiers: a session's tier is no reason to refuse them.
    const text = { model: "text-embedding-3-small", input: "hi" }
    assert.strictEqual(quoted("/embeddings", text, { tier: "priority" }).price.tier, "standard")
  })
})

describe("a quote", () => {
  it("is refused for what nobody can price, each for its reason", () => {
    const hi = { model: "gpt-4o", input: "hi" }
    assert.strictEqual(reasonOf(make("/responses", { ...hi, model: "gpt-4o-2099-01-01" })), "UnknownModel")
    assert.strictEqual(reasonOf(make("/responses", { input: "hi" })), "MalformedRequest")
    assert.strictEqual(reasonOf(make("/videos", hi)), "UnsupportedEndpoint")
    assert.strictEqual(reasonOf(make("/models", hi)), "UnsupportedEndpoint")
    const circle: { self?: unknown } = {}
    circle.self = circle
    for (const body of [
      null,
      undefined,
      1,
      "text",
      [],
      [hi],
      circle,
      { a: 1n },
      { toJSON: () => undefined }
    ]) {
      assert.strictEqual(reasonOf(make("/responses", body)), "MalformedRequest")
    }
  })

  it("takes the model from an Azure path, whatever the body says, and by the user's name for it", () => {
    const azure = Host.of(new URL("https://mine.openai.azure.com"))
    const body = { model: "gpt-4o-mini", max_tokens: 5, messages: [] }
    assert.strictEqual(quoted("/deployments/gpt-4o/chat/completions", body, {}, azure).model, "gpt-4o")
    const models = { "my-gpt": "gpt-4.1" }
    assert.strictEqual(
      quoted("/deployments/my-gpt/chat/completions", body, { models }, azure).model,
      "gpt-4.1"
    )
    assert.strictEqual(
      reasonOf(make("/deployments/my-gpt/chat/completions", body, {}, azure)),
      "UnknownModel"
    )
    assert.strictEqual(quoted("/chat/completions", { ...body, model: "my-gpt" }, { models }).model, "gpt-4.1")
  })

  it("takes no model from the path of another host where the body names one of another price", () => {
    const models = { "my-gpt": "gpt-4.1", "their-gpt": "gpt-4.1" }
    const path = "/deployments/my-gpt/chat/completions"
    const named = (model: string | undefined) =>
      make(path, { model, max_tokens: 5, messages: [] }, { models })
    for (const model of ["gpt-4", "gpt-4o-mini", "nobody-knows"]) {
      const refused = named(model)
      assert.strictEqual(reasonOf(refused), "UnboundedRequest")
      assert.include(Result.isFailure(refused) && refused.failure.message, 'provider: "azure.ai.openai"')
    }
    for (const model of [undefined, "", "my-gpt", "their-gpt", "gpt-4.1", "gpt-4.1-2025-04-14"]) {
      assert.strictEqual(Result.getOrThrow(named(model)).model, "gpt-4.1")
    }
  })

  it("has lines that add up to its most", () => {
    const bodies: ReadonlyArray<readonly [string, JsonObject]> = [
      ["/responses", { model: "gpt-4o", input: "hi" }],
      ["/responses", { model: "gpt-6.2-sol", input: "q".repeat(300_000), max_output_tokens: 500 }],
      ["/chat/completions", { model: "gpt-4.1", n: 3, max_tokens: 9, messages: [] }],
      ["/embeddings", { model: "text-embedding-3-large", input: "hi" }]
    ]
    for (const [path, body] of bodies) {
      const quote = quoted(path, body)
      const picos = Quote.lines(quote).reduce((sum, line) => sum + line.tokens * line.picoDollars, 0)
      assert.strictEqual(Math.ceil(picos / 1_000), quote.most)
    }
  })

  it("bounds audio at the price of audio, and is refused where that has none", () => {
    const audioModel = {
      input: "1",
      output: "2",
      audioInput: "30",
      audioOutput: "60",
      contextWindow: 100_000,
      maxOutput: 4_000
    }
    const own = Effect.runSync(Pricing.make({ overrides: { sound: audioModel } }))
    const content = [{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }]
    const body = {
      model: "sound",
      max_tokens: 100,
      modalities: ["text", "audio"],
      messages: [{ role: "user", content }]
    }
    const quote = quoted("/chat/completions", body, {}, undefined, own)
    const usage = Usage.make({ input: quote.input, audioInput: quote.input, output: 100, audioOutput: 100 })
    assert.strictEqual(costOf(quote.price, usage), quote.most)
    assert.strictEqual(reasonOf(make("/chat/completions", { ...body, model: "gpt-4o" })), "UnboundedRequest")
  })

  it.effect("is an Effect too, with the table that is provided", () =>
    Effect.gen(function* () {
      const body = { model: "mine", input: "hi", max_output_tokens: 10 }
      const quote = yield* Quote.of({ method: "POST", path: "/responses", body })
      assert.strictEqual(quote.model, "mine")
      const error = yield* Effect.flip(
        Quote.of({ method: "POST", path: "/responses", body: { ...body, model: "x" } })
      )
      assert.strictEqual(error.reason._tag, "UnknownModel")
    }).pipe(Effect.provide(Pricing.layerOf({ mine: { input: "1", output: "2" } })))
  )
})

describe("the lines of a quote", () => {
  const whysOf = (body: JsonObject, path = "/responses", options: Quote.Options = {}) =>
    Quote.lines(quoted(path, body, options)).map(({ what, why }) => `${what}: ${why}`)

  it("say why a rate is what it is: the cache, the tier, the length, whoever decides", () => {
    const hi = { model: "gpt-5.6", input: "hi", max_output_tokens: 100 }
    assert.deepStrictEqual(whysOf(hi), [
      "input, by its length: cache write, dearer than input",
      "output, capped by the request: output"
    ])
    assert.deepStrictEqual(whysOf({ ...hi, service_tier: "priority" }), [
      "input, by its length: cache write, dearer than input, tier priority",
      "output, capped by the request: output, tier priority"
    ])
    assert.include(
      whysOf({ ...hi, input: "q".repeat(300_000) }).join(),
      "cache write, dearer than input, long context from 272,000 tokens"
    )
    assert.include(
      whysOf({ ...hi, service_tier: "auto" })[0],
      "the dearest tier that the project may have set"
    )
    const europe = Host.of(new URL("https://eu.api.openai.com/v1"))
    const there = Quote.lines(quoted("/responses", hi, {}, europe))
    assert.include(there[0]?.why, "regional processing")
    assert.notInclude(whysOf(hi).join(), "regional")
    assert.deepStrictEqual(
      whysOf({ model: "gpt-4o", input: "hi", max_output_tokens: 5 })[0],
      "input, by its length: input"
    )
  })

  it("say who caps the output, and tell answers and predictions apart", () => {
    const chat = { model: "gpt-4o", messages: [] }
    assert.include(whysOf(chat, "/chat/completions")[1], "capped by the budget at this or less")
    const most = whysOf(chat, "/chat/completions", { uncapped: "modelMaximum" })[1]
    assert.strictEqual(most, "output, capped by the budget: output")
    const legacy = { model: "gpt-3.5-turbo-instruct", prompt: "hi" }
    assert.include(whysOf(legacy, "/completions")[1], "capped at the API's default")
    const body = { ...chat, n: 3, max_tokens: 200, prediction: { type: "content", content: "abc" } }
    const lines = Quote.lines(quoted("/chat/completions", body))
    assert.deepStrictEqual(
      lines.slice(1).map(({ what, tokens }) => [what, tokens]),
      [
        ["output, capped by the request, 3 answers of 200", 600],
        ["prediction, which may be rejected", lines[2]?.tokens]
      ]
    )
    assert.isAtLeast(lines[2]?.tokens ?? 0, 3 * 3)
  })

  it("tell images and what was counted from what is allowed for, and a window from its passes", async () => {
    const content = [
      { type: "input_image", image_url: picture },
      { type: "input_text", text: "What is it?" }
    ]
    const quote = quoted("/responses", {
      model: "gpt-4o",
      input: [{ role: "user", content }],
      max_output_tokens: 9
    })
    const counter = await Effect.runPromise(TokenCounter.make())
    const [text, image, output, ...more] = Quote.lines(
      await Effect.runPromise(Quote.countedBy(counter, quote))
    )
    assert.deepStrictEqual(more, [])
    assert.strictEqual(text?.what, "input, counted")
    // "What is it?" is four tokens.
    assert.strictEqual(text?.counted, 4)
    assert.isAtLeast(text?.tokens ?? 0, 4 + 7)
    assert.strictEqual(image?.what, "images, by size or the largest there are")
    assert.strictEqual(image?.tokens, pictureTokens("gpt-4o") + 3)
    assert.strictEqual(output?.tokens, 9)
    const search = { model: "gpt-5-mini", input: "hi", tools: [{ type: "web_search" }], max_tool_calls: 2 }
    const lines = Quote.lines(quoted("/responses", search))
    assert.strictEqual(lines[0]?.what, "input, the whole context window, 3 times")
    assert.deepStrictEqual(
      lines.map(({ unit }) => unit),
      ["token", "token", "call"]
    )
  })

  it("say so where a window holds more than its tokens, as it may be images that nobody sees", () => {
    const first = (model: string, more: object) =>
      Quote.lines(quoted("/responses", { model, input: "hi", max_output_tokens: 9, ...more }))[0]
    const before = { previous_response_id: "resp_1" }
    const code = { tools: [{ type: "code_interpreter", container: { type: "auto" } }], max_tool_calls: 1 }
    assert.deepInclude(first("gpt-4o", before), {
      what: "input, the whole context window",
      tokens: 128_000
    })
    // An image of gpt-4o-mini is billed at 2833 + 5667 a tile, which take the room of 85 and 170.
    assert.deepInclude(first("gpt-4o-mini", before), {
      what: "input, the whole context window, as images are billed",
      tokens: Math.ceil((128_000 * 5_667) / 170)
    })
    assert.strictEqual(
      first("gpt-4o-mini", code)?.what,
      "input, the whole context window, as images are billed, 2 times"
    )
    const image = { type: "input_image", image_url: picture }
    const searching = {
      input: [{ role: "user", content: [image] }],
      tools: [{ type: "web_search" }],
      max_tool_calls: 1
    }
    assert.strictEqual(first("gpt-4o-mini", searching)?.what, "input, the whole context window, 2 times")
  })
})

describe("whether a quote fits", () => {
  const within = (limit: Usd.Usd) => Budget.within({ account: "ann", limit })

  it.effect("depends on the least that is left on its account and all above it", () =>
    Effect.gen(function* () {
      const quote = quoted("/responses", { model: "gpt-4o", input: "hi", max_output_tokens: 1_000 })
      yield* Budget.setLimit(Usd.nanos(quote.least + 1))
      const fits = Quote.fits(quote)
      assert.isTrue(yield* fits)
      assert.isTrue(yield* within(quote.least)(fits))
      assert.isFalse(yield* within(Usd.nanos(quote.least - 1))(fits))
      const budget = yield* Budget.Budget
      yield* budget.acquire({ least: Usd.nanos(2) })
      assert.isFalse(yield* within(quote.least)(fits))
      assert.isFalse(yield* within(quote.least)(within(quote.least)(fits)))
    }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") })))
  )

  it.effect("is denied while its account, or one above it, is paused", () =>
    Effect.gen(function* () {
      const quote = quoted("/responses", { model: "gpt-4o", input: "hi", max_output_tokens: 1_000 })
      const fits = Quote.fits(quote)
      const free = { ...quote, least: Usd.zero, most: Usd.zero }
      yield* Budget.pause
      assert.isFalse(yield* fits)
      assert.isFalse(yield* within(quote.least)(fits))
      // What costs nothing is not admitted there either.
      assert.isFalse(yield* Quote.fits(free))
      assert.isFalse(yield* within(Usd.zero)(Quote.fits(free)))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Budget.Budget.use(({ acquire }) => acquire(free)))))
      yield* Budget.resume
      assert.isTrue(yield* within(quote.least)(fits))
      assert.isTrue(yield* within(Usd.zero)(Quote.fits(free)))
    }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") })))
  )
})

/** Prices of one's own, in round figures, and no fees of tools. */
const own = Effect.runSync(
  Pricing.make({
    bundled: false,
    overrides: {
      boundless: { input: "1", output: "2" },
      windowed: { input: "1", output: "2", contextWindow: 50_000 },
      tiered: { input: "2", output: "4", tiers: { flex: { input: "1", output: "2" } } }
    }
  })
)

describe("a quote that is refused", () => {
  const whyOf = (...request: Parameters<typeof make>): unknown => {
    const result = make(...request)
    return Result.isFailure(result) && "reason" in result.failure ? result.failure.reason : "quoted"
  }
  const told = (why: unknown, fields: object) => assert.deepInclude(why as object, fields)
  const chat = { model: "gpt-4o", messages: [] }

  it("says what has no bound, and how it gets one", () => {
    const named = { model: "boundless", input: "And?", previous_response_id: "resp_1" }
    told(whyOf("/responses", named, {}, undefined, own), {
      endpoint: "POST /responses",
      detail: "it names input that it does not show, and the model's context window is not known.",
      fix: "Give the model's contextWindow with its prices."
    })
    told(whyOf("/chat/completions", { ...chat, n: 1e9, max_tokens: 1e9 }), {
      detail: "its worst case has no price, or one beyond $9007199.",
      fix: "Lower n, the output cap or max_tool_calls; give audio prices for audio."
    })
    const fix = "Set max_completion_tokens, or uncapped: { share, floor }."
    told(whyOf("/chat/completions", chat, { uncapped: "refuse" }), { detail: "it has no output cap.", fix })
    const boundless = { ...chat, model: "boundless" }
    told(whyOf("/chat/completions", boundless, { uncapped: "modelMaximum" }, undefined, own), {
      detail: "the model's maximum output is not known.",
      fix
    })
    told(whyOf("/chat/completions", chat, { uncapped: { share: 2 } }), {
      detail:
        "uncapped.share is 2: " +
        "a share is above 0 and at most 1, and a floor is a whole number of tokens, at least 1.",
      fix
    })
    const tools = [{ type: "web_search" }]
    const searching = { model: "windowed", input: "hi", max_output_tokens: 9, tools, max_tool_calls: 1 }
    told(whyOf("/responses", searching, {}, undefined, own), {
      detail: "it asks for a hosted tool whose fee is not known.",
      fix: "Give toolFees.webSearch."
    })
  })

  it("says what is no request, and what is none that has a price", () => {
    told(whyOf("/responses", "text"), {
      detail: "the body is not a JSON object.",
      fix: "Send a JSON object."
    })
    told(whyOf("/models", {}), { _tag: "UnsupportedEndpoint", method: "POST", path: "/models" })
    const free = Quote.make(pricing, { method: "GET", path: "/models", body: {} })
    const why = Result.isFailure(free) ? free.failure.reason : {}
    assert.deepInclude(why, { _tag: "NothingToQuote", method: "GET", path: "/models" })
    told(whyOf("/responses", { model: "gpt-4o", input: "hi", service_tier: "scale" }), {
      model: "gpt-4o",
      tier: "scale"
    })
    told(whyOf("/responses", { model: "nobody", input: "hi" }), { model: "nobody" })
  })
})

describe("where and when a quote is made", () => {
  const request = { method: "POST", path: "/responses", body: { model: "gpt-5.4", input: "hi" } }

  it("is at OpenAI's own host, now, unless it is said", () => {
    const before = Date.now()
    const quote = Result.getOrThrow(Quote.make(pricing, request))
    assert.isAtLeast(quote.at, before)
    assert.isAtMost(quote.at, Date.now())
    assert.isFalse(quote.regional)
    const host = Host.of(new URL("https://eu.api.openai.com/v1"))
    const there = Result.getOrThrow(Quote.make(pricing, { ...request, host, at: 5 }))
    assert.deepStrictEqual([there.regional, there.at], [true, 5])
  })

  it.effect("is by the clock of the program, as an Effect", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Quote.of(request)).at, 0)
      assert.strictEqual((yield* Quote.of({ ...request, at: 7 })).at, 7)
    }).pipe(Effect.provide(Pricing.layer))
  )
})

describe("the cap of a model of one's own", () => {
  const capOf = (model: string, uncapped?: Quote.Options["uncapped"]) =>
    quoted("/responses", { model, input: "hi" }, { uncapped }, undefined, own)

  it("is what the window leaves where no maximum is known, and the floor where neither is", () => {
    const windowed = capOf("windowed")
    assert.strictEqual(windowed.cap?.most, 50_000 - windowed.input)
    assert.deepStrictEqual([capOf("boundless").cap?.least, capOf("boundless").cap?.most], [1_024, 1_024])
    assert.strictEqual(capOf("windowed", "modelMaximum").cap?.least, 50_000 - windowed.input)
  })

  it("lies between the least and the most that is quoted, both of which have to have a price", () => {
    const { cap, input, least, most } = capOf("windowed")
    // At $1 and $2 a million.
    assert.deepStrictEqual(
      [least, most],
      [input * 1_000 + 1_024 * 2_000, input * 1_000 + (cap?.most ?? 0) * 2_000]
    )
    const huge = { model: { input: "1", output: "2", maxOutput: Number.MAX_SAFE_INTEGER } }
    const table = Effect.runSync(Pricing.make({ bundled: false, overrides: huge }))
    const answer = make("/responses", { model: "model", input: "hi" }, {}, undefined, table)
    assert.strictEqual(reasonOf(answer), "UnboundedRequest")
  })

  it("may be a single token, and the share all that there is", () => {
    const least = capOf("windowed", { floor: 1, share: 1 })
    assert.deepStrictEqual([least.cap?.least, least.share], [1, 1])
  })

  it("has its cost of input apart", () => {
    const { input, ...quote } = capOf("tiered")
    // At $2 a million.
    assert.strictEqual(Quote.inputCost({ input, ...quote }), input * 2_000)
  })
})

describe("a quote over a change of prices", () => {
  const body = { model: "gpt-6.2-sol", input: "hi", max_output_tokens: 100 }
  const on = (tier: string, day: number) =>
    Result.getOrThrow(
      Quote.make(pricing, {
        method: "POST",
        path: "/responses",
        body: { ...body, service_tier: tier },
        at: Date.UTC(2027, 1, day, 12)
      })
    )

  it("is settled at the price of its day", () => {
    const quote = on("ultrafast", 28)
    const inputAt = (...day: [number, number, number]) =>
      Quote.priceAt(quote, pricing, Date.UTC(...day)).rates.input
    assert.deepStrictEqual([inputAt(2027, 1, 28), inputAt(2027, 2, 1)], [6_000_000, 12_000_000])
    assert.strictEqual(Quote.priceAt(quote, own, 0), quote.price)
    const one = on("ultrafast", 10)
    assert.strictEqual(Quote.priceAt(one, pricing, Date.UTC(2028, 0)), one.price)
  })

  it("has tomorrow's price of each tier that the project may have set", () => {
    const inputs = (day: number) =>
      on("auto", day)
        .prices.filter(({ tier }) => tier === "ultrafast")
        .map(({ rates }) => rates.input)
    assert.deepStrictEqual(inputs(10), [6_000_000])
    assert.deepStrictEqual(inputs(28), [6_000_000, 12_000_000])
  })

  it("keeps the fees of its tools", () => {
    const tools = [{ type: "web_search" }]
    const at = Date.UTC(2027, 1, 28, 12)
    const request = { ...body, service_tier: "ultrafast", tools, max_tool_calls: 1 }
    const quote = Result.getOrThrow(
      Quote.make(pricing, { method: "POST", path: "/responses", body: request, at })
    )
    const later = Quote.priceAt(quote, pricing, Date.UTC(2027, 2, 2))
    assert.strictEqual(later.rates.input, 12_000_000)
    assert.deepStrictEqual(later.toolFees, quote.price.toolFees)
    assert.strictEqual(later.toolFees?.webSearch, 10_000_000_000)
  })
})

describe("a request that goes on from a response", () => {
  const known = { model: "gpt-4o", tokens: 700, images: 0, reasoning: 0 }
  const of = (more: JsonObject, previous?: Quote.Lookup) =>
    Result.getOrThrow(
      Quote.make(pricing, {
        method: "POST",
        path: "/responses",
        body: { model: "gpt-4o", input: "And?", max_output_tokens: 9, ...more },
        previous
      })
    )
  const followUp = { previous_response_id: "resp_1" }

  it("holds what is known of that one besides, by its name", () => {
    const asked: Array<string> = []
    const quote = of(followUp, (id) => {
      asked.push(id)
      return known
    })
    assert.deepStrictEqual(asked, ["resp_1"])
    const alone = of({}, (id) => {
      asked.push(id)
      return known
    })
    assert.deepStrictEqual(asked, ["resp_1"])
    const field = JSON.stringify(followUp).length - 1
    assert.deepStrictEqual(
      [quote.bound, quote.input, quote.previous],
      ["bytes", alone.input + field + 700, known]
    )
    assert.deepStrictEqual([alone.margin, quote.margin], [alone.input, alone.input + field])
  })

  it("holds the window where nothing is known, of another model, or where it names more", () => {
    for (const quote of [
      of(followUp),
      of(followUp, () => undefined),
      of(followUp, () => ({ ...known, model: "gpt-4o-mini" })),
      of({ ...followUp, conversation: "conv_1" }, () => known)
    ]) {
      assert.deepStrictEqual(
        [quote.bound, quote.input, quote.margin, quote.previous],
        ["window", 128_000, 0, undefined]
      )
    }
    const long = of(followUp, () => ({ ...known, tokens: 200_000, images: 50_000 }))
    assert.deepStrictEqual([long.bound, long.input, long.margin], ["window", 178_000, 0])
  })
})

describe("a quote that is counted", () => {
  const counter = Effect.runSync(TokenCounter.make())
  const count = (quote: Quote.Quote) => Effect.runPromise(Quote.countedBy(counter, quote))
  const text = "word ".repeat(1_000)

  it("holds the tokens and what is allowed for, and is not counted twice", async () => {
    const quote = quoted("/responses", { model: "gpt-4o", input: text })
    const counted = await count(quote)
    const sheet = quote.plan.input.counted()
    // A thousand words and the last blank.
    assert.deepStrictEqual([counted.bound, counted.count], ["counted", 1_001])
    assert.strictEqual(counted.input, Math.ceil(1_001 * (1 + (sheet?.margin ?? 0))) + (sheet?.added ?? 0))
    assert.strictEqual(counted.margin, counted.input - 1_001 - (sheet?.added ?? 0) + (sheet?.slack ?? 0))
    assert.isBelow(counted.most, quote.most)
    assert.strictEqual(await count(counted), counted)
  })

  it("holds what is known of a response before, and images at what they may be billed", async () => {
    const known = { model: "gpt-4o", tokens: 700, images: 0, reasoning: 0 }
    const of = (more: JsonObject) =>
      Result.getOrThrow(
        Quote.make(pricing, {
          method: "POST",
          path: "/responses",
          body: { model: "gpt-4o", input: text, ...more },
          previous: () => known
        })
      )
    const after = await count(of({ previous_response_id: "resp_1" }))
    assert.strictEqual(after.input, (await count(of({}))).input + 700)
    const seen = of({ input: [{ role: "user", content: [{ type: "input_image", image_url: picture }] }] })
    const { images, tokens } = seen.plan.input
    assert.isAtLeast(images, pictureTokens("gpt-4o"))
    assert.strictEqual(seen.margin, tokens - images)
  })

  it.effect("is an Effect too, with the counters that are provided", () => {
    const remote = Layer.succeed(InputTokens.InputTokens, { count: () => Effect.succeed(100) })
    return Effect.gen(function* () {
      const quote = quoted("/responses", { model: "gpt-4o", input: text })
      assert.strictEqual((yield* Quote.counted(quote)).count, 1_001)
      const named = quoted("/responses", { model: "gpt-4o", input: "hi", previous_response_id: "resp_1" })
      assert.strictEqual((yield* Quote.countedRemotely(named)).count, 100)
    }).pipe(Effect.provide(Layer.merge(TokenCounter.layer, remote)))
  })

  it("is as it was where its input is not shown, or nobody knows how to count it", async () => {
    const unshown = quoted("/responses", { model: "gpt-4o", input: text, previous_response_id: "resp_1" })
    assert.strictEqual(await count(unshown), unshown)
    const unknown = quoted("/responses", { model: "boundless", input: text }, {}, undefined, own)
    assert.strictEqual(await count(unknown), unknown)
  })
})

describe("a quote that the provider counts", () => {
  const counter = Effect.runSync(TokenCounter.make())
  const asking = (tokens: number, asked: Array<unknown> = []) => ({
    asked,
    remote: {
      count: (question: JsonObject) => {
        asked.push(question)
        return Effect.succeed(tokens)
      }
    }
  })
  const by = ({ remote }: ReturnType<typeof asking>, quote: Quote.Quote) =>
    Effect.runPromise(Quote.countedRemotelyBy(remote, counter, quote))
  const followUp = { model: "gpt-4o", input: "And?", previous_response_id: "resp_1" }

  it("holds the count, a hundredth and 24 more, and is not counted again", async () => {
    const service = asking(40_010)
    const counted = await by(service, quoted("/responses", followUp))
    assert.deepStrictEqual(service.asked, [followUp])
    // 40,410.1, rounded up.
    assert.deepStrictEqual(
      [counted.bound, counted.input, counted.count, counted.margin],
      ["remote", 40_411 + 24, 40_010, 401 + 24]
    )
    assert.strictEqual(await by(service, counted), counted)
    assert.strictEqual(await Effect.runPromise(Quote.countedBy(counter, counted)), counted)
    assert.strictEqual(service.asked.length, 1)
  })

  it("is as it was where that is no less, and where all of it is shown nobody is asked", async () => {
    const quote = quoted("/responses", followUp)
    // 126,708 and a hundredth are 127,975.08: with 24 more no less than the window.
    for (const tokens of [126_708, 128_000]) assert.strictEqual(await by(asking(tokens), quote), quote)
    const service = asking(1)
    const shown = quoted("/responses", { model: "gpt-4o", input: "hi" })
    assert.strictEqual(await by(service, shown), shown)
    const chat = quoted("/chat/completions", { model: "gpt-4o", messages: [] })
    assert.strictEqual(await by(service, chat), chat)
    assert.deepStrictEqual(service.asked, [])
  })

  it("is as it was where the request says how images are fed, which the question cannot", async () => {
    const content = [{ type: "input_image", image_url: "https://example.com/a.png" }]
    const body = { model: "gpt-5.6", input: [{ role: "user", content }], max_output_tokens: 16 }
    const service = asking(100)
    const unsaid = await by(service, quoted("/responses", body))
    assert.strictEqual(unsaid.bound, "remote")
    const said = quoted("/responses", { ...body, image: { context_compression: "disabled" } })
    assert.strictEqual(await by(service, said), said)
    assert.strictEqual(service.asked.length, 1)
  })

  it("holds no less than what it shows", async () => {
    const counted = await by(asking(1), quoted("/responses", { ...followUp, input: "word ".repeat(1_000) }))
    assert.isAtLeast(counted.input, 1_001)
    assert.strictEqual(counted.margin, counted.input - 1)
  })
})
