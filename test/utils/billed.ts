/**
 * Exchanges in the shape of real ones, each with the input that is billed for it. The bill is worked out from its
 * texts, counted by js-tiktoken, and from what recorded traffic shows beyond them: every `fact` says which figure.
 */
import { Tiktoken } from "js-tiktoken/lite"
import cl100k from "js-tiktoken/ranks/cl100k_base"
import o200k from "js-tiktoken/ranks/o200k_base"
import type { Json, JsonObject } from "../../src/internal/json.ts"

export interface Billed {
  readonly name: string
  readonly fact: string
  readonly path: "/chat/completions" | "/responses" | "/completions" | "/embeddings"
  readonly request: JsonObject & { readonly model: string }
  readonly billed: number
  /** The pictures within the request. */
  readonly pictures?: ReadonlyArray<Picture>
}

export interface Picture {
  readonly size: { readonly width: number; readonly height: number } | undefined
  readonly detail: string | undefined
}

const encodings = { o200k_base: new Tiktoken(o200k), cl100k_base: new Tiktoken(cl100k) }

/** What js-tiktoken counts, special tokens as the text they are. */
export const exactly = (text: string, encoding: keyof typeof encodings = "o200k_base"): number =>
  encodings[encoding].encode(text, [], []).length

const times = <A>(count: number, each: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => each(index))

const chat = (model: string, messages: ReadonlyArray<Json>, fields: JsonObject = {}) => ({
  path: "/chat/completions" as const,
  request: { model, messages, max_completion_tokens: 10, ...fields }
})

const responses = (model: string, input: Json, fields: JsonObject = {}) => ({
  path: "/responses" as const,
  request: { model, input, max_output_tokens: 20, ...fields }
})

const hi = { role: "user", content: "hi" }
const user = (content: Json): JsonObject => ({ role: "user", content })

// Framing: so much for the request, so much for a message.

const framed = (
  model: string,
  request: number,
  message: number,
  encoding?: keyof typeof encodings
): Billed => ({
  name: `${model}: many messages`,
  fact: `${request} and ${message} a message`,
  ...chat(
    model,
    times(16, () => hi)
  ),
  billed: request + 16 * (message + exactly("hi", encoding))
})

const alone = (
  model: string,
  request: number,
  message: number,
  encoding?: keyof typeof encodings
): Billed => ({
  name: `${model}: one message`,
  fact: `${request} and ${message} a message`,
  ...chat(model, [hi]),
  billed: request + message + exactly("hi", encoding)
})

const framings: ReadonlyArray<Billed> = [
  ...[framed, alone].flatMap((of) => [
    of("gpt-3.5-turbo", 3, 5, "cl100k_base"),
    of("gpt-4", 3, 4, "cl100k_base"),
    of("gpt-4o", 3, 4),
    of("gpt-4.1", 3, 4),
    of("o1-preview", 15, 16),
    // 2 and 4 as all that reason, and 61 more.
    of("o3-mini", 2 + 61, 4),
    of("o3", 2, 4),
    of("gpt-5", 2, 4),
    of("gpt-5.2", 2, 4)
  ]),
  {
    name: "gpt-4o: speakers with names",
    fact: "3 and 4 a message, the name and 1",
    ...chat(
      "gpt-4o",
      times(40, () => ({ ...hi, name: "critic" }))
    ),
    billed: 3 + 40 * (4 + exactly("hi") + exactly("critic") + 1)
  },
  {
    name: "instructions",
    fact: "count as one message; 2 and 4 a message",
    ...responses("gpt-5-mini", "Say it twice.", { instructions: "Answer in French." }),
    billed: 2 + 2 * 4 + exactly("Say it twice.") + exactly("Answer in French.")
  },
  ...["o3", "o3-mini", "gpt-5", "gpt-5.1"].map((model): Billed => ({
    name: `${model}: answers in the history`,
    fact: "2 more a message of the assistant's",
    ...chat(
      model,
      times(40, (index) => ({ role: index % 2 === 0 ? "user" : "assistant", content: "ok" }))
    ),
    billed: (model === "o3-mini" ? 63 : 2) + 40 * (4 + exactly("ok")) + 20 * 2
  }))
]

// Texts: in the encoding of the family, and one part after the other.

const thai = "ภาษาไทยเขียนติดกันโดยไม่เว้นวรรค และมีสระอยู่รอบตัวอักษร. "

const texts: ReadonlyArray<Billed> = [
  ...(["gpt-3.5-turbo", "gpt-4"] as const).map((model): Billed => ({
    name: `${model}: a text that the other encoding counts as less`,
    fact: "cl100k_base, 3 and 4 a message",
    ...chat(model, [user(thai.repeat(3))]),
    billed: 3 + 4 + exactly(thai.repeat(3), "cl100k_base")
  })),
  ...["gpt-4o", "gpt-4.1", "o1-preview", "o3-mini", "o3", "gpt-5", "gpt-5.6-sol"].map((model): Billed => {
    const text = " ForCanBeConvertedToForeach".repeat(40)
    return {
      name: `${model}: a text that the other encoding counts as less`,
      fact: "o200k_base, at least 2 and 4 a message",
      ...chat(model, [user(text)]),
      billed: 2 + 4 + exactly(text)
    }
  }),
  ...["gpt-4o", "gpt-5"].map((model): Billed => ({
    name: `${model}: parts whose tokens do not join where they meet`,
    fact: "parts are fed one after the other: the text of all of them, and 2 and 4 a message",
    ...chat(model, [user(times(120, (index) => ({ type: "text", text: index % 2 === 0 ? "  " : "1" })))]),
    billed: 2 + 4 + exactly("  1".repeat(60))
  })),
  ...(
    [
      ["gpt-4", "exampleInputEmail", "cl100k_base"],
      ["gpt-4o", "abcdefghijkl", "o200k_base"],
      ["gpt-5", "дравствуйте", "o200k_base"]
    ] as const
  ).flatMap(([model, word, encoding]): ReadonlyArray<Billed> => {
    const billed = 2 + 4 + exactly(word.repeat(200), encoding)
    const fact = "parts are fed one after the other: the text of all of them, and 2 and 4 a message"
    return [
      {
        name: `${model}: parts that are a token each, and several where they meet`,
        fact,
        ...chat(model, [user(times(200, () => ({ type: "text", text: word })))]),
        billed
      },
      {
        name: `${model}: the same in a response`,
        fact,
        ...responses(model, [user(times(200, () => ({ type: "input_text", text: word })))]),
        billed
      }
    ]
  }),
  {
    name: "one text to embed",
    fact: "its tokens, and nothing else",
    path: "/embeddings",
    request: { model: "text-embedding-3-small", input: "The quick brown fox." },
    billed: exactly("The quick brown fox.", "cl100k_base")
  },
  {
    name: "texts to embed",
    fact: "their tokens, and nothing else",
    path: "/embeddings",
    request: { model: "text-embedding-3-large", input: [thai.repeat(3), "A second one.", thai] },
    billed: [thai.repeat(3), "A second one.", thai].reduce(
      (sum, each) => sum + exactly(each, "cl100k_base"),
      0
    )
  },
  {
    name: "lists of tokens to embed",
    fact: "a number is a token",
    path: "/embeddings",
    request: { model: "text-embedding-ada-002", input: [times(30, (index) => index + 1_000), [1, 2, 3]] },
    billed: 33
  },
  {
    name: "prompts to complete",
    fact: "their tokens, and nothing else",
    path: "/completions",
    request: {
      model: "gpt-3.5-turbo-instruct",
      prompt: [thai.repeat(2), thai],
      suffix: " The end.",
      max_tokens: 5
    },
    billed:
      exactly(thai.repeat(2), "cl100k_base") +
      exactly(thai, "cl100k_base") +
      exactly(" The end.", "cl100k_base")
  },
  {
    name: "a list of tokens to complete",
    fact: "a number is a token",
    path: "/completions",
    request: { model: "davinci-002", prompt: times(40, (index) => index), max_tokens: 5 },
    billed: 40
  },
  {
    name: "a text to complete",
    fact: "its tokens, and nothing else",
    path: "/completions",
    request: { model: "babbage-002", prompt: thai.repeat(2), max_tokens: 5 },
    billed: exactly(thai.repeat(2), "cl100k_base")
  }
]

// Calls of tools with their results.

const call = (index: number): JsonObject => ({
  id: `call_${index}`,
  type: "function",
  function: { name: "look", arguments: "{}" }
})
const result = (index: number, content: string): JsonObject => ({
  role: "tool",
  tool_call_id: `call_${index}`,
  content
})
const callTokens = exactly("look") + exactly("{}")

/** Rounds of one call each. */
const single = (model: string, beyond: number): Billed => ({
  name: `${model}: calls with their results`,
  fact: `a call with its result is billed ${beyond} beyond its text and messages`,
  ...chat(model, [
    hi,
    ...times(20, (index) => [
      { role: "assistant", content: null, tool_calls: [call(index)] },
      result(index, "ok")
    ]).flat()
  ]),
  billed: 2 + 4 * 41 + exactly("hi") + 20 * (callTokens + exactly("ok") + beyond)
})

/** Rounds of two calls each, whose results are fed as JSON that is escaped to ASCII. */
const pairs = (model: string, content: string, beyond: number): Billed => {
  const escaped = JSON.stringify(content).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
  return {
    name: `${model}: pairs of parallel calls that answer ${content.slice(0, 4)}`,
    fact: `a parallel pair is billed ${beyond} beyond its text and messages; its results are escaped`,
    ...chat(model, [
      hi,
      ...times(20, (index) => [
        { role: "assistant", content: null, tool_calls: [call(index), call(index + 100)] },
        result(index, content),
        result(index + 100, content)
      ]).flat()
    ]),
    billed: 2 + 4 * 61 + exactly("hi") + 20 * (2 * callTokens + 2 * exactly(escaped) + beyond)
  }
}

const calls: ReadonlyArray<Billed> = [
  ...["gpt-3.5-turbo", "gpt-4"].map((model): Billed => single(model, 7)),
  ...["gpt-4o", "gpt-4.1"].flatMap((model) => [single(model, 7), pairs(model, "ok", 29)]),
  ...["o3", "gpt-5", "gpt-5.2"].flatMap((model) => [single(model, 15), pairs(model, "ok", 45)]),
  pairs("gpt-4o-mini", "北京今天天气晴朗，气温二十五度，适合出门散步。", 29),
  pairs("gpt-4o-mini", "🌦️🌧️🌩️🌈☔️", 29)
]

// Tools, schemas, choices.

const parameters = {
  type: "object",
  properties: {
    city: { type: "string", description: "The name of the city, in English, without its country." },
    days: { type: "integer", description: "How many days to look ahead, at most ten." },
    unit: { type: "string", enum: ["celsius", "fahrenheit"] }
  },
  required: ["city"]
}
const about = "Looks up what the weather will be like in a city for some days."
const weather = { name: "get_weather", description: about, parameters }
/** The form that functions are fed in, written by hand. */
const functionsOf = (text: string): string =>
  `# Tools\n\n## functions\n\nnamespace functions {\n\n${text}\n\n} // namespace functions`
const weatherText = `// ${about}
type get_weather = (_: {
// The name of the city, in English, without its country.
city: string,
// How many days to look ahead, at most ten.
days?: number,
unit?: "celsius" | "fahrenheit",
}) => any;`

const tiny = { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }
const flat = { type: "function", name: "f", parameters: { type: "object", properties: {} } }
const maybe = { type: ["string", "null"], description: "Where it is." }
const nullable = {
  type: "function",
  name: "g",
  strict: true,
  parameters: { type: "object", properties: { at: maybe }, required: ["at"], additionalProperties: false }
}
const choosing = {
  type: "function",
  name: "h",
  parameters: {
    type: "object",
    properties: Object.fromEntries(
      times(12, (index) => [`at_${index}`, { anyOf: [{ type: "string" }, { type: "null" }] }])
    )
  }
}
const choosingText = `type h = (_: {
${times(12, (index) => `at_${index}?: string | null,`).join("\n")}
}) => any;`
const nullableText = functionsOf(`type g = (_: {
// Where it is.
at: string | null,
}) => any;`)
const named = { type: "function", name: "f" }
const format = {
  type: "json_schema",
  name: "city",
  schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
}

const grammar = (index: number): JsonObject => ({
  type: "custom",
  name: `t${index}`,
  format: { type: "grammar", syntax: "regex", definition: "a" }
})
const symbols = "∮⊕⋉⟁".repeat(60)
const referring = {
  type: "function",
  name: "f",
  parameters: {
    type: "object",
    $defs: { T: { type: "string", description: symbols } },
    properties: Object.fromEntries(times(5, (index) => [`p${index}`, { $ref: "#/$defs/T" }]))
  }
}

const chatFormat = {
  type: "json_schema",
  json_schema: { name: "city", schema: { type: "object", properties: { city: { type: "string" } } } }
}

const tools: ReadonlyArray<Billed> = [
  ...["gpt-4o", "gpt-4.1", "gpt-4"].map((model): Billed => ({
    name: `${model}: a function`,
    fact: "is billed as the text it is fed as, at least, and 3 and 4 a message",
    ...chat(model, [hi], { tools: [{ type: "function", function: weather }] }),
    billed: 3 + 4 + exactly("hi") + exactly(weatherText, model === "gpt-4" ? "cl100k_base" : "o200k_base")
  })),
  {
    name: "gpt-3.5-turbo: a function",
    fact: "4 more than its text, as a message",
    ...chat("gpt-3.5-turbo", [hi], { tools: [{ type: "function", function: weather }] }),
    billed: 3 + 2 * 5 + exactly("hi") + exactly(functionsOf(weatherText), "cl100k_base") + 4
  },
  {
    name: "gpt-4o: a function with choices",
    fact: "3 more a choice than its text, as a message",
    ...responses("gpt-4o", "hi", { tools: [choosing] }),
    billed: 3 + 2 * 4 + exactly("hi") + exactly(functionsOf(choosingText)) + 12 * 3
  },
  ...["gpt-5", "gpt-5.1"].flatMap((model): ReadonlyArray<Billed> => [
    {
      name: `${model}: a function`,
      fact: "from its text on, as on other models",
      ...responses(model, "hi", { tools: [{ type: "function", ...weather }] }),
      billed: 2 + 4 + exactly("hi") + exactly(weatherText)
    },
    {
      name: `${model}: the smallest function, in chat`,
      fact: "a preamble: the first function is billed at least 105",
      ...chat(model, [hi], { tools: [tiny] }),
      billed: 2 + 4 + exactly("hi") + 105
    },
    {
      name: `${model}: a function that is not called in parallel`,
      fact: "a preamble of 81 on responses",
      ...responses(model, "hi", { tools: [flat], parallel_tool_calls: false }),
      billed: 2 + 4 + exactly("hi") + exactly("type f = () => any;") + 81
    }
  ]),
  ...["gpt-4o", "gpt-4.1"].map((model): Billed => ({
    name: `${model}: a function with a list of types`,
    fact: "the text that it is fed as, and the JSON of what has several types with 9 more",
    ...responses(model, "hi", { tools: [nullable] }),
    billed: 3 + 4 + exactly("hi") + exactly(nullableText) + exactly(JSON.stringify(maybe)) + 9
  })),
  {
    name: "gpt-4o: a function that has to be called",
    fact: "the text that it is fed as, and 15 more, with its name",
    ...responses("gpt-4o", "hi", { tools: [flat], tool_choice: named }),
    billed: 3 + 4 + exactly("hi") + exactly(functionsOf("type f = () => any;")) + 15
  },
  {
    name: "gpt-4o: an answer by a schema",
    fact: "its tokens and 8",
    ...chat("gpt-4o", [hi], { response_format: chatFormat }),
    billed: 3 + 4 + exactly("hi") + exactly(JSON.stringify(chatFormat.json_schema.schema)) + 8
  },
  {
    name: "gpt-4o: a function that is not called in parallel",
    fact: "a preamble of 81 on responses",
    ...responses("gpt-4o", "hi", { tools: [flat], parallel_tool_calls: false }),
    billed: 3 + 4 + exactly("hi") + exactly("type f = () => any;") + 81
  },
  {
    name: "gpt-5.4: a function that an item brings",
    fact: "74 more than its message and the text that it is fed as",
    ...responses("gpt-5.4", [hi, { type: "additional_tools", role: "developer", tools: [flat] }]),
    billed: 2 + 2 * 4 + exactly("hi") + exactly("type f = () => any;") + 74
  },
  {
    name: "gpt-5.4: tools that the caller searches for",
    fact: "calls and their results as those of functions, and tools by their text",
    ...responses(
      "gpt-5.4",
      [
        hi,
        { type: "tool_search_call", call_id: "a", execution: "client", arguments: { queries: ["weather"] } },
        {
          type: "tool_search_output",
          call_id: "a",
          execution: "client",
          tools: [{ type: "function", ...weather }]
        }
      ],
      { tools: [{ type: "tool_search", execution: "client", description: about, parameters }] }
    ),
    billed:
      2 +
      4 * 3 +
      exactly("hi") +
      exactly('{"queries":["weather"]}') +
      exactly(weatherText) +
      exactly(about) +
      15
  },
  {
    name: "gpt-4o: all that is added at once",
    fact: "9 and the JSON of what has several types, 15 for the choice with its name, the schema's JSON and 8",
    ...responses("gpt-4o", "hi", {
      tools: [nullable],
      tool_choice: { type: "function", name: "g" },
      text: { format }
    }),
    billed:
      3 +
      4 +
      exactly("hi") +
      exactly(nullableText) +
      exactly(JSON.stringify(maybe)) +
      9 +
      15 +
      exactly(JSON.stringify(format.schema)) +
      8
  },
  {
    name: "gpt-5: many custom tools",
    fact: "118 more than its JSON, for each of them",
    ...responses("gpt-5", "hi", { tools: times(60, grammar) }),
    billed: 2 + 4 + exactly("hi") + 60 * (118 + exactly(JSON.stringify(grammar(0))))
  },
  {
    name: "gpt-4o: a definition that is referred to five times",
    fact: "taken to be written out at each place",
    ...responses("gpt-4o", "hi", { tools: [referring] }),
    billed: 3 + 4 + exactly("hi") + 5 * exactly(symbols)
  },
  {
    name: "gpt-5: a custom tool with a grammar",
    fact: "118 more than its JSON, in chat",
    ...chat("gpt-5", [hi], {
      tools: [
        {
          type: "custom",
          custom: {
            name: "sum",
            format: { type: "grammar", grammar: { syntax: "regex", definition: "[0-9+]+" } }
          }
        }
      ]
    }),
    billed:
      2 +
      4 +
      exactly("hi") +
      118 +
      exactly(
        '{"type":"custom","custom":{"name":"sum","format":{"type":"grammar","grammar":{"syntax":"regex","definition":"[0-9+]+"}}}}'
      )
  }
]

// Pictures: by the published formulas and 2 more, as they were recorded.

/** What a file of that size begins with. */
export const png = (width: number, height: number): string => {
  const bytes = Buffer.alloc(42)
  bytes.write("\u0089PNG\r\n\u001a\n\0\0\0\rIHDR", "latin1")
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  bytes.write("IDAT", 37)
  return `data:image/png;base64,${bytes.toString("base64")}`
}

const pictured = (model: string, each: number, picture: Picture, why: string): Billed => {
  const { size, detail } = picture
  const url = size === undefined ? "https://example.com/a.png" : png(size.width, size.height)
  const part = { type: "image_url", image_url: detail === undefined ? { url } : { url, detail } }
  return {
    name: `${model}: ${size === undefined ? "a picture by its address" : `${size.width} x ${size.height}`}`,
    fact: why,
    ...chat(model, [user([{ type: "text", text: "hi" }, part, part])]),
    billed: 2 + 4 + exactly("hi") + 2 * each,
    pictures: [picture, picture]
  }
}

const square = { size: { width: 1_024, height: 1_024 }, detail: undefined }
const wide = { size: { width: 4_000, height: 1_000 }, detail: "high" }
const huge = { size: { width: 8_000, height: 8_000 }, detail: undefined }
const pixel = { size: { width: 1, height: 1 }, detail: "auto" }
const low = { size: { width: 900, height: 900 }, detail: "low" }
const address = { size: undefined, detail: undefined }

/** 1024 x 1024 is 4 tiles; 4000 x 1000 fits as 2048 x 512, 4 tiles; a pixel is 1. */
const tiled = (model: string, base: number, tile: number): ReadonlyArray<Billed> => {
  const why = `${base} and ${tile} a tile`
  return [
    pictured(model, base + 4 * tile + 2, square, why),
    pictured(model, base + 4 * tile + 2, wide, why),
    pictured(model, base + tile + 2, pixel, why)
  ]
}

/** 1024 x 1024 is 1,024 patches of 32 x 32; 4000 x 1000 is 125 x 32, more than the 1,536 that are billed at most. */
const patched = (model: string, rate: number): ReadonlyArray<Billed> => {
  const why = `${rate} a patch, at most 1,536 of them`
  return [
    pictured(model, Math.ceil(1_024 * rate) + 2, square, why),
    pictured(model, Math.ceil(1_536 * rate) + 2, wide, why)
  ]
}

const pictures: ReadonlyArray<Billed> = [
  ...["gpt-4o", "gpt-4.1", "o3", "gpt-4-turbo"].flatMap((model) => [
    ...tiled(model, 85, 170),
    pictured(model, 85 + 2, low, "85 in low detail")
  ]),
  ...tiled("gpt-4o-mini", 2_833, 5_667),
  pictured("gpt-4o-mini", 2_833 + 4 * 5_667, low, "low detail is no cheaper but on 4o and its like"),
  ...tiled("gpt-5", 70, 140),
  ...patched("gpt-4.1-mini", 1.62),
  ...patched("gpt-4.1-nano", 2.46),
  ...patched("o4-mini", 1.72),
  ...patched("gpt-5-mini", 1.2),
  ...patched("gpt-5-nano", 1.5),
  ...["gpt-5.4", "gpt-5.5", "gpt-5.6-sol"].map((model) =>
    pictured(model, Math.ceil(1_024 * 1.2), square, "1.2 a patch")
  ),
  pictured("gpt-5.4", 12_000, huge, "12,000 at most"),
  pictured("gpt-5.4", 3_000, { ...address, detail: "high" }, "3,000 at most in high detail"),
  pictured("gpt-5.4", 12_000, address, "12,000 at most"),
  pictured("gpt-5.5", 12_000, address, "12,000 at most"),
  pictured("gpt-5.6-sol", 36_000, address, "36,000 at most")
]

// Reasoning that is sent back.

const reasoning: ReadonlyArray<Billed> = ["gpt-5", "gpt-5.1"].map((model) => ({
  name: `${model}: encrypted reasoning`,
  fact: "0.13 a character at most, of 31 recordings",
  ...responses(model, [
    hi,
    { type: "reasoning", summary: [], encrypted_content: "gAAAAABo".repeat(250) },
    hi
  ]),
  billed: 2 + 3 * 4 + 2 * exactly("hi") + 0.13 * 2_000
}))

export const billed: ReadonlyArray<Billed> = [
  ...framings,
  ...texts,
  ...calls,
  ...tools,
  ...pictures,
  ...reasoning
]
