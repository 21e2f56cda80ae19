/** Bodies that nobody sane sends: they are refused or bounded, with every text in them counted, in linear work. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { functionsText } from "../src/internal/functionText.ts"
import { isArray, isObject, type Json, type JsonObject } from "../src/internal/json.ts"
import { readRequest } from "../src/internal/requestBody.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as TokenCounter from "../src/TokenCounter.ts"
import { exactly } from "./utils/billed.ts"
import { random, type Random } from "./utils/random.ts"

const pricing = await Effect.runPromise(Pricing.make())
const counter = await Effect.runPromise(TokenCounter.make())

const make = (path: string, body: unknown) => Quote.make(pricing, { method: "POST", path, body })

const count = (quote: Quote.Quote): Promise<Quote.Quote> => Effect.runPromise(Quote.countedBy(counter, quote))

/** A word that occurs once, by which a text is known again in what is counted. */
const words = () => {
  const made: Array<string> = []
  return {
    made,
    next: (): string => {
      const word = `zq${made.length}x${(made.length * 7_919).toString(36)}q`
      made.push(word)
      return word
    }
  }
}

const keys =
  "type properties items anyOf oneOf allOf enum const $ref $defs definitions required description".split(" ")
const odd =
  "title default format __proto__ constructor toString hasOwnProperty additionalProperties prefixItems".split(
    " "
  )
const paths = [
  "#",
  "#/",
  "#/$defs/A",
  "#/$defs/B",
  "#/properties/a",
  "#/properties/__proto__",
  "#/anyOf/0",
  "elsewhere"
]

/** What a type may be said to be. It tells kinds of things apart, and is not fed. */
const typeOf = (of: Random): Json =>
  of.one<Json>(["object", "array", "string", ["object", "null"], 7, [], [1], {}, "any"])

/** Anything at all, more or less in the shape of a schema. */
const schema = (of: Random, depth: number, word: () => string): Json => {
  const kind = of.below(depth > 0 ? 12 : 5)
  if (kind === 0) return word()
  if (kind === 1) return of.one([null, true, false, 0, -1, 1e300, 0.5])
  if (kind === 2) return of.one(["string", "object", "array", "integer"])
  if (kind === 3) return { type: of.one(["string", "integer", "null"]), description: word() }
  if (kind === 4) return { $ref: of.one(paths) }
  if (kind === 5) return of.some(4, () => schema(of, depth - 1, word))
  if (kind === 6) return { type: "array", items: schema(of, depth - 1, word) }
  if (kind === 7)
    return { type: of.some(3, () => of.one(["object", "array", "null"])), items: schema(of, depth - 1, word) }
  // As JSON.parse makes them: `__proto__` is a field like any other.
  return JSON.parse(
    `{${[...new Set(of.some(6, () => of.one([...keys, ...odd, "a"])))]
      .map(
        (key) =>
          `${JSON.stringify(key)}:${JSON.stringify(key === "type" ? typeOf(of) : schema(of, depth - 1, word))}`
      )
      .join(",")}}`
  ) as Json
}

const tool = (of: Random, word: () => string): Json => {
  const inner = {
    name: of.chance(0.8) ? word() : schema(of, 1, word),
    description: schema(of, 1, word),
    parameters: schema(of, 6, word)
  }
  if (of.chance(0.2)) return { type: "custom", ...inner, function: schema(of, 2, word) }
  return of.chance(0.5)
    ? { type: "function", function: inner, extra: schema(of, 1, word) }
    : { type: "function", ...inner }
}

const message = (of: Random, word: () => string): Json => {
  const content = of.one([
    () => word(),
    () =>
      of.some(3, () => ({
        type: of.one(["text", "input_text", "refusal"]),
        text: schema(of, 2, word),
        refusal: schema(of, 1, word)
      })),
    () => null
  ])()
  const role = of.one(["user", "assistant", "tool", "system", word()])
  return of.chance(0.5)
    ? {
        role,
        content,
        name: schema(of, 1, word),
        tool_calls: schema(of, 3, word),
        function_call: schema(of, 2, word)
      }
    : {
        role,
        content,
        tool_calls: of.some(3, () => ({ function: { name: word(), arguments: schema(of, 2, word) } })),
        odd: schema(of, 1, word)
      }
}

const item = (of: Random, word: () => string): Json => {
  const parts = () => of.some(3, () => ({ type: "input_text", text: schema(of, 2, word) }))
  return of.one<() => JsonObject>([
    () => ({ role: "user", content: of.chance(0.5) ? word() : parts() }),
    () => ({ type: "function_call", name: word(), arguments: schema(of, 2, word), odd: schema(of, 1, word) }),
    () => ({
      type: "function_call_output",
      output: of.chance(0.5) ? word() : parts(),
      content: schema(of, 1, word)
    }),
    () => ({
      type: "message",
      role: "user",
      content: word(),
      output: schema(of, 2, word),
      summary: schema(of, 1, word)
    }),
    () => ({ type: "reasoning", encrypted_content: "gAAA", summary: parts() })
  ])()
}

const bodyOf = (of: Random, word: () => string): readonly [string, JsonObject] => {
  const tools = of.some(3, () => tool(of, word))
  const common = {
    model: of.one(["gpt-4o", "gpt-5", "gpt-4", "o3-mini"]),
    tools,
    tool_choice: schema(of, 2, () => "auto")
  }
  if (of.chance(0.5)) {
    const format = { type: "json_schema", json_schema: schema(of, 4, word) }
    return [
      "/chat/completions",
      { ...common, max_tokens: 5, messages: of.some(5, () => message(of, word)), response_format: format }
    ]
  }
  const format = { type: "json_schema", schema: schema(of, 4, word) }
  return [
    "/responses",
    { ...common, max_output_tokens: 5, input: of.some(5, () => item(of, word)), text: { format } }
  ]
}

/** The functions of a body whose references make their text far too large. */
const tooLarge = ({ tools }: JsonObject): ReadonlyArray<JsonObject> =>
  (isArray(tools) ? tools : [])
    .filter(isObject)
    .filter((each) => each.type === "function")
    .flatMap((each) => functionsText([isObject(each.function) ? each.function : each]).unwritten)

describe("a hostile body", () => {
  it("is refused, or has every text in it counted", { timeout: 120_000 }, async () => {
    let counted = 0
    for (let seed = 0; seed < 3_000; seed++) {
      const { made, next } = words()
      const [path, body] = bodyOf(random(seed), next)
      const answer = make(path, body)
      if (Result.isFailure(answer)) {
        assert.strictEqual((answer.failure as { _tag?: string })._tag, "BudgetError")
        continue
      }
      const quote = answer.success
      const sheet = quote.plan.input.counted()
      if (sheet === undefined) continue
      const text = sheet.texts.join("\n")
      const written = JSON.stringify(body)
      // What is too large to be written out costs its length.
      const unwritten = JSON.stringify(tooLarge(body))
      assert.isAtLeast(sheet.added, unwritten.length - 2)
      for (const word of made) {
        if (written.includes(word) && !unwritten.includes(word)) assert.include(text, word, `seed ${seed}`)
      }
      const tighter = await count(quote)
      assert.isTrue(Number.isSafeInteger(tighter.input) && tighter.input <= quote.input)
      counted++
    }
    assert.isAbove(counted, 1_000)
  })

  const bad = (fields: JsonObject) => ({
    model: "gpt-4o",
    messages: [{ role: "user", content: "hi" }],
    ...fields
  })

  it("with numbers that are none is refused", () => {
    for (const value of ["5", -1, 0, 1.5, true, [], {}, 2 ** 53]) {
      for (const field of ["n", "max_tokens", "max_completion_tokens"]) {
        const made = make("/chat/completions", bad({ [field]: value }))
        assert.isTrue(Result.isFailure(made), `${field}: ${JSON.stringify(value)}`)
      }
      assert.isTrue(
        Result.isFailure(make("/responses", { model: "gpt-4o", input: "hi", max_output_tokens: value }))
      )
      assert.isTrue(
        Result.isFailure(make("/completions", { model: "davinci-002", prompt: "hi", best_of: value }))
      )
    }
  })

  it("that asks for 1e9 answers is bounded by all of them, or refused", () => {
    const made = make("/chat/completions", bad({ n: 1e9, max_tokens: 1 }))
    assert.isAtLeast(Number(Result.getOrThrow(made).most), 1e9 * 10_000)
    assert.isTrue(Result.isFailure(make("/chat/completions", bad({ n: 1e9, max_tokens: 16_384 }))))
  })

  it("that writes a key twice, at any depth, is refused", () => {
    for (const text of [
      '{"model":"a","model":"b"}',
      '{"a":[{"n":1,"\\u006e":2}]}',
      '{"a":{"__proto__":1,"__proto__":2}}'
    ]) {
      assert.isTrue(Result.isFailure(readRequest({ body: text })), text)
    }
  })

  it("with the wrong type anywhere is refused or bounded", async () => {
    const values: ReadonlyArray<Json> = [
      null,
      true,
      7,
      "word",
      [],
      [1],
      {},
      { a: 1 },
      [[["deep"]]],
      "\ud800",
      "x".repeat(1e6)
    ]
    const fields = {
      "/chat/completions":
        "messages tools functions tool_choice function_call response_format prediction modalities stop".split(
          " "
        ),
      "/responses": "input instructions tools tool_choice text reasoning".split(" "),
      "/embeddings": ["input"],
      "/completions": ["prompt", "suffix"]
    }
    const models: Readonly<Record<string, string>> = {
      "/embeddings": "text-embedding-3-small",
      "/completions": "davinci-002"
    }
    for (const [path, names] of Object.entries(fields)) {
      for (const name of names) {
        for (const value of [...values, values]) {
          const made = make(path, {
            ...(path === "/chat/completions" ? bad({}) : {}),
            model: models[path] ?? "gpt-4o",
            [name]: value
          })
          if (Result.isFailure(made))
            assert.strictEqual((made.failure as { _tag?: string })._tag, "BudgetError")
          else assert.isTrue(Number.isSafeInteger((await count(made.success)).input), `${path} ${name}`)
        }
      }
    }
  })

  it("that nests deeper than native code can write is refused", () => {
    let deep: Json = "bottom"
    for (let level = 0; level < 600; level++) deep = level % 2 === 0 ? [deep] : { items: deep }
    const made = make("/responses", {
      model: "gpt-4o",
      input: "hi",
      tools: [{ type: "function", name: "f", parameters: deep }]
    })
    assert.isTrue(Result.isFailure(made))
    let deeper: unknown = 0
    for (let level = 0; level < 100_000; level++) deeper = [deeper]
    assert.isTrue(Result.isFailure(make("/responses", { model: "gpt-4o", input: deeper })))
  })

  it("whose fields are nested as deep as is allowed has its innermost text counted", async () => {
    let deep: JsonObject = { type: "string", description: "bottommost ".repeat(100) }
    for (let level = 0; level < 120; level++)
      deep = level % 2 === 0 ? { type: "array", items: deep } : { type: "object", properties: { a: deep } }
    const parameters = { type: "object", properties: { a: deep } }
    const made = make("/responses", {
      model: "gpt-4o",
      input: "hi",
      tools: [{ type: "function", name: "f", parameters }]
    })
    const { input } = await count(Result.getOrThrow(made))
    assert.isAtLeast(input, exactly("bottommost ".repeat(100)))
  })
})

/** Counts the looks that are taken at a value, at any depth. */
const watched = (value: JsonObject) => {
  let looks = 0
  const seen = new Map<object, object>()
  const watch = <A>(of: A): A => {
    if (typeof of !== "object" || of === null) return of
    const proxy =
      seen.get(of) ??
      new Proxy(of, {
        get: (target, key, receiver) => {
          looks++
          return watch(Reflect.get(target, key, receiver))
        },
        ownKeys: (target) => {
          looks++
          return Reflect.ownKeys(target)
        }
      })
    seen.set(of, proxy)
    return proxy as A
  }
  return { value: watch(value), looks: () => looks }
}

const many = <A>(length: number, of: A): ReadonlyArray<A> => Array.from({ length }, () => of)
const fields = (length: number, of: (index: number) => Json): JsonObject =>
  Object.fromEntries(Array.from({ length }, (_, index) => [`p${index}`, of(index)]))
const to = (name: string): JsonObject => ({ $ref: `#/$defs/${name}` })

/** Schemas of a size that tempt their reader to look at the same thing again and again. */
const tempting: Readonly<Record<string, (size: number) => JsonObject>> = {
  "references in a cycle": (size) => ({
    $defs: { A: { properties: fields(size, () => to("A")) } },
    properties: { a: to("A") }
  }),
  "references that fan out to nothing": (size) => ({
    $defs: { A: { allOf: many(size, to("B")) }, B: { anyOf: many(size, { anyOf: [] }) } },
    properties: { a: to("A") }
  }),
  "references that fan out": (size) => ({
    $defs: {
      A: { anyOf: many(size, to("B")) },
      B: { anyOf: many(size, to("C")) },
      C: { anyOf: many(size, {}) }
    },
    properties: { a: to("A") }
  }),
  "a list of types beside many keys": (size) => ({
    properties: {
      a: { type: Array.from({ length: size }, (_, index) => `t${index}`), ...fields(size, () => 1) }
    }
  }),
  "a long list of required names, often": (size) => ({
    $defs: { A: { type: "object", properties: { r: {} }, required: many(size, "r") } },
    properties: fields(size, () => to("A"))
  }),
  "a long reference, often": (size) => ({
    $defs: { A: { $ref: `#${"/a".repeat(size)}` } },
    properties: fields(size, () => to("A"))
  }),
  "a long description, often": (size) => ({
    $defs: { A: { description: "x\n".repeat(size) } },
    properties: fields(size, () => to("A"))
  }),
  "many values": (size) => ({
    properties: { a: { enum: Array.from({ length: 20 * size }, (_, index) => index) } }
  }),
  "many definitions": (size) => ({
    $defs: fields(size, (index) => to(`p${index + 1}`)),
    properties: fields(size, (index) => to(`p${index}`))
  })
}

describe("the text of a function", () => {
  it.each(Object.keys(tempting))("is written in work that grows with its schema: %s", (name) => {
    for (const size of [500, 5_000]) {
      const parameters = tempting[name]?.(size) ?? {}
      const { length } = JSON.stringify(parameters)
      const { looks, value } = watched({ name: "f", parameters })
      const { text, unwritten } = functionsText([value])
      // JSON.stringify alone looks at everything up to three times, and 4 characters may be written for each.
      assert.isAtMost(looks(), 40 * length)
      assert.isAtMost(text.length, 5 * length + 2_000)
      assert.isAtMost(unwritten.length, 1)
    }
  })

  it("that references make far too large costs the function's length", async () => {
    const parameters = tempting["references that fan out"]?.(1_000) ?? {}
    const made = make("/responses", {
      model: "gpt-4o",
      input: "hi",
      tools: [{ type: "function", name: "f", parameters }]
    })
    const quote = Result.getOrThrow(made)
    assert.isAtLeast((await count(quote)).input, JSON.stringify(parameters).length)
  })

  it.each(["1", "1.5", "-1", "12", '"a"', '""', "null"])(
    "is no longer than the bound of many a value: %s",
    async (value) => {
      const enumerated = JSON.parse(`[${many(5_000, value).join(",")}]`) as Json
      const parameters = { type: "object", properties: { a: { enum: enumerated } } }
      const made = make("/responses", {
        model: "gpt-4o",
        input: "hi",
        tools: [{ type: "function", name: "f", parameters }]
      })
      const quote = Result.getOrThrow(made)
      const { encoding, texts = [] } = quote.plan.input.counted() ?? {}
      const counts = await Effect.runPromise(Effect.forEach(texts, (text) => counter.count(text, encoding)))
      assert.isAtLeast(
        quote.input,
        counts.reduce((sum, each) => sum + each, 0)
      )
    }
  )

  it("leaves nothing out: definitions that nothing refers to, words that stand beside a reference", () => {
    const parameters = {
      type: "object",
      properties: {
        a: { ...to("A"), description: "one", examples: ["two"] },
        b: {
          anyOf: [
            { type: "object", description: "three", properties: { c: { type: "string", title: "four" } } },
            { const: "five" }
          ]
        },
        d: { type: "object", additionalProperties: { description: "six" } },
        f: { enum: [1], type: { description: "eleven" } },
        e: { items: [{ description: "seven" }], type: "array" }
      },
      $defs: { A: { title: "eight", type: "string" }, B: { description: "nine" } },
      anyOf: [{ required: ["ten"] }]
    }
    const { text } = functionsText([{ name: "f", parameters }])
    for (const word of "one two three four five six seven eight nine ten eleven".split(" "))
      assert.include(text, word)
  })
})
