/** The usage readers, held to a schema of what the API documents and to the plain meaning of its fields. */
import { assert, describe, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import type { Json, JsonObject } from "../src/internal/json.ts"
import * as Usage from "../src/Usage.ts"
import { readEmbeddingUsage, readInputUsage, readPromptUsage } from "../src/internal/wireUsage.ts"

const Tokens = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const maybe = Schema.optional(Schema.NullOr(Tokens))
const part = <Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.optional(Schema.NullOr(Schema.Struct(fields)))

const PromptUsage = Schema.Struct({
  prompt_tokens: Tokens,
  completion_tokens: maybe,
  prompt_tokens_details: part({ cached_tokens: maybe, cache_write_tokens: maybe, audio_tokens: maybe }),
  completion_tokens_details: part({ reasoning_tokens: maybe, audio_tokens: maybe })
})
const InputUsage = Schema.Struct({
  input_tokens: Tokens,
  output_tokens: Tokens,
  input_tokens_details: part({
    cached_tokens: maybe,
    cache_write_tokens: maybe,
    cache_write_tokens_details: part({ ttl_12h_tokens: maybe, ttl_30m_tokens: maybe })
  }),
  output_tokens_details: part({ reasoning_tokens: maybe })
})

/** Counts, and what servers have been seen to send in their place. */
const count: ReadonlyArray<Json | undefined> = [
  0,
  1,
  2,
  7,
  40,
  300,
  null,
  undefined,
  -1,
  1.5,
  "7",
  true,
  {},
  [],
  1e300
]

const pick = (seed: number, values: ReadonlyArray<Json | undefined>): Json | undefined =>
  values[seed % values.length]

/** An object with the fields whose value is not `undefined`. */
const objectOf = (fields: Record<string, Json | undefined>): JsonObject =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]))
  )

const shape = (seed: number, fields: Record<string, Json | undefined>): Json | undefined =>
  seed % 7 === 0
    ? pick(seed, ["text", [], 3, true])
    : seed % 5 === 0
      ? pick(seed, [null, undefined])
      : objectOf(fields)

/** Numbers that are the same in every run. */
const numbers = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return (mixed ^ (mixed >>> 14)) >>> 0
}

// Mostly sound counts, so that whole usages come about and not refusals only.
const counted = (seed: number): Json | undefined =>
  seed % 4 === 0 ? pick(seed >> 2, count) : pick(seed >> 2, count.slice(0, 6))

describe("a reported usage", () => {
  it("is read exactly where a schema of it decodes", () => {
    let read = 0
    let refused = 0
    const at = (row: ReadonlyArray<number>, index: number): number => row[index] ?? 0
    const next = numbers(20_261_123)
    for (let run = 0; run < 20_000; run++) {
      const row = Array.from({ length: 14 }, next)
      const prompt = objectOf({
        prompt_tokens: counted(at(row, 0) | 1),
        completion_tokens: counted(at(row, 1)),
        prompt_tokens_details: shape(at(row, 2), {
          cached_tokens: counted(at(row, 3)),
          cache_write_tokens: counted(at(row, 4)),
          audio_tokens: counted(at(row, 5))
        }),
        completion_tokens_details: shape(at(row, 6), {
          reasoning_tokens: counted(at(row, 7)),
          audio_tokens: counted(at(row, 8))
        })
      })
      const decoded = Schema.decodeUnknownOption(PromptUsage)(prompt)
      const reading = readPromptUsage({ usage: prompt })
      if (reading !== undefined) read++
      else refused++
      if (Option.isNone(decoded)) {
        assert.isUndefined(reading, JSON.stringify(prompt))
        assert.isUndefined(readEmbeddingUsage({ usage: prompt }), JSON.stringify(prompt))
      } else if (reading !== undefined) {
        const { value } = decoded
        assert.deepStrictEqual(reading.usage, {
          ...Usage.zero,
          input: value.prompt_tokens,
          cachedInput: value.prompt_tokens_details?.cached_tokens ?? 0,
          cacheWrite: value.prompt_tokens_details?.cache_write_tokens ?? 0,
          cacheWrite12h: 0,
          audioInput: value.prompt_tokens_details?.audio_tokens ?? 0,
          output: value.completion_tokens ?? NaN,
          reasoning: value.completion_tokens_details?.reasoning_tokens ?? 0,
          audioOutput: value.completion_tokens_details?.audio_tokens ?? 0
        })
      }
      const input = objectOf({
        input_tokens: counted(at(row, 0) | 1),
        output_tokens: counted(at(row, 1)),
        input_tokens_details: shape(at(row, 2), {
          cached_tokens: counted(at(row, 3)),
          cache_write_tokens: counted(at(row, 4)),
          cache_write_tokens_details: shape(at(row, 9), {
            ttl_12h_tokens: counted(at(row, 10)),
            ttl_30m_tokens: counted(at(row, 11))
          })
        }),
        output_tokens_details: shape(at(row, 12), { reasoning_tokens: counted(at(row, 13)) })
      })
      if (Option.isNone(Schema.decodeUnknownOption(InputUsage)(input))) {
        assert.isUndefined(readInputUsage({ usage: input }), JSON.stringify(input))
      }
    }
    assert.isAbove(read, 500)
    assert.isAbove(refused, 500)
  })

  it("is not one when its parts are larger than their whole, or there is no input", () => {
    assert.isUndefined(readPromptUsage({ usage: { prompt_tokens: 0, completion_tokens: 3 } }))
    assert.isUndefined(
      readPromptUsage({
        usage: { prompt_tokens: 5, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 6 } }
      })
    )
    assert.isUndefined(
      readInputUsage({
        usage: { input_tokens: 5, output_tokens: 3, output_tokens_details: { reasoning_tokens: 4 } }
      })
    )
    // What was cached, and what was written for as long as ever, are parts of one whole.
    const cached = (cached_tokens: number, cache_write_tokens: number, ttl_12h_tokens = 0) =>
      readInputUsage({
        usage: {
          input_tokens: 9,
          output_tokens: 3,
          input_tokens_details: {
            cached_tokens,
            cache_write_tokens,
            cache_write_tokens_details: { ttl_12h_tokens }
          }
        }
      })
    assert.strictEqual(cached(4, 5, 2)?.usage.cachedInput, 4)
    assert.isUndefined(cached(5, 5))
    assert.isUndefined(cached(5, 0, 5))
    assert.isUndefined(cached(4, 6, 2))
    const heard = (audio_tokens: number) =>
      readPromptUsage({
        usage: { prompt_tokens: 9, completion_tokens: 3, prompt_tokens_details: { audio_tokens } }
      })
    assert.strictEqual(heard(9)?.usage.audioInput, 9)
    assert.isUndefined(heard(10))
  })

  it("without its output is unknown, unless the total says that there was none", () => {
    assert.isUndefined(readPromptUsage({ usage: { prompt_tokens: 11 } }))
    assert.strictEqual(readPromptUsage({ usage: { prompt_tokens: 11, total_tokens: 11 } })?.usage.output, 0)
    assert.strictEqual(readEmbeddingUsage({ usage: { prompt_tokens: 11 } })?.usage.input, 11)
    assert.isUndefined(readInputUsage({ usage: { input_tokens: 11 } }))
  })

  const none = { prompt_tokens: 11, completion_tokens: 0, total_tokens: 11 }
  const inputOnly = { input_tokens: 11, output_tokens: 0, total_tokens: 11 }
  const call = { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } }
  const chosen: ReadonlyArray<readonly [string, JsonObject]> = [
    ["a message", { message: { content: "Hi" } }],
    ["a message in parts", { message: { content: [{ type: "text", text: "Hi" }] } }],
    ["a refusal", { message: { content: null, refusal: "No." } }],
    ["a tool call", { message: { content: null, tool_calls: [call] } }],
    ["a function call", { message: { content: null, function_call: { name: "f", arguments: "{}" } } }],
    ["a voice", { message: { content: null, audio: { id: "audio_1", data: "AAAA" } } }],
    ["thoughts, as some servers tell them", { message: { content: null, reasoning_content: "Hm." } }],
    ["a text", { text: "Hi" }],
    ["a delta", { delta: { content: "Hi" } }]
  ]
  for (const [what, choice] of chosen) {
    it(`without output is not one beside ${what}`, () => {
      const { completion_tokens: _, ...untold } = none
      assert.isUndefined(readPromptUsage({ choices: [{}, choice], usage: none }))
      assert.isUndefined(readPromptUsage({ choices: [choice], usage: untold }))
      const some = { ...none, completion_tokens: 1 }
      assert.strictEqual(readPromptUsage({ choices: [choice], usage: some })?.usage.output, 1)
    })
  }
  const items: ReadonlyArray<readonly [string, JsonObject]> = [
    ["a message", { type: "message", content: [{ type: "output_text", text: "Hi" }] }],
    ["a refusal", { type: "message", content: [{ type: "refusal", refusal: "No." }] }],
    ["a function call", { type: "function_call", name: "f", arguments: "{}" }],
    ["a call of a custom tool", { type: "custom_tool_call", name: "f", input: "" }],
    ["a call of a hosted tool", { type: "mcp_call", arguments: "{}" }],
    ["a thought", { type: "reasoning", content: [{ type: "reasoning_text", text: "Hm." }] }],
    ["a summary of thoughts", { type: "reasoning", summary: [{ type: "summary_text", text: "Hm." }] }]
  ]
  for (const [what, item] of items) {
    it(`without output is not one beside ${what} of a response`, () => {
      assert.isUndefined(readInputUsage({ output: [item], usage: inputOnly }))
      const some = { ...inputOnly, output_tokens: 1 }
      assert.strictEqual(readInputUsage({ output: [item], usage: some })?.usage.output, 1)
    })
  }

  it("without output is one where nothing was written", () => {
    const messages: ReadonlyArray<JsonObject> = [
      { message: { content: "" } },
      { message: { content: null, refusal: null, tool_calls: [], audio: null, reasoning_content: "" } },
      { text: "" }
    ]
    for (const choice of messages) {
      assert.strictEqual(readPromptUsage({ choices: [choice], usage: none })?.usage.output, 0)
    }
    const empty = { type: "message", content: [{ type: "output_text", text: "" }] }
    for (const output of [[], [empty], [{ type: "reasoning", summary: [] }], [{ type: "mcp_list_tools" }]]) {
      assert.strictEqual(readInputUsage({ output, usage: inputOnly })?.usage.output, 0)
    }
    assert.strictEqual(readEmbeddingUsage({ data: [{ embedding: [1] }], usage: none })?.usage.output, 0)
  })

  it("without output is one beside a prompt that is scored, and nothing else", () => {
    const tokens = ["He", "llo", " the", "re"]
    const logprobs = { tokens, token_logprobs: [null, -1, -2, -3], top_logprobs: null, text_offset: [0] }
    const scored = { text: "Hello there", index: 0, finish_reason: "length", logprobs }
    const read = (choices: Json, prompt_tokens: number) =>
      readPromptUsage({ choices, usage: { prompt_tokens, total_tokens: prompt_tokens } })?.usage
    assert.deepInclude(read([scored], 4), { input: 4, output: 0 })
    assert.deepInclude(read([scored, scored], 8), { input: 8, output: 0 })
    // More was written than was read, or the first word was: it has a probability then, or no scores tell.
    assert.isUndefined(read([scored], 3))
    assert.isUndefined(read([scored, scored], 4))
    const first = { ...scored, logprobs: { ...logprobs, token_logprobs: [-1, -1, -2, -3] } }
    for (const other of [first, { ...scored, logprobs: null }, { ...scored, logprobs: { tokens } }]) {
      assert.isUndefined(read([other], 4))
      assert.isUndefined(read([scored, other], 8))
    }
    assert.isUndefined(read([{ ...scored, text: null, message: { content: "Hi" } }], 4))
    // What was written stands behind the prompt, or beside it.
    assert.isUndefined(read([{ ...scored, text: "Hello there, dear reader" }], 4))
    for (const said of [{ message: { content: "Hi" } }, { delta: { content: "Hi" } }]) {
      assert.isUndefined(read([{ ...scored, ...said }], 4))
    }
    const bytes = { tokens: ["bytes:\\xf0\\x9f", "bytes:\\x98\\x80"], token_logprobs: [null, -1] }
    assert.deepInclude(read([{ ...scored, text: "\u{1f600}", logprobs: bytes }], 2), { input: 2, output: 0 })
  })

  it("of embeddings is all that its total tells, also where it tells nothing else", () => {
    const input = (usage: JsonObject) => readEmbeddingUsage({ usage })?.usage.input
    assert.strictEqual(input({ prompt_tokens: 5, total_tokens: 9 }), 9)
    assert.strictEqual(input({ total_tokens: 9 }), 9)
    assert.strictEqual(input({ prompt_tokens: 9, total_tokens: 5 }), 9)
    assert.strictEqual(input({ prompt_tokens: 9, total_tokens: null }), 9)
    assert.isUndefined(input({ prompt_tokens: "9", total_tokens: 9 }))
    assert.isUndefined(input({ total_tokens: 0 }))
    // What a server calls output stays that, and is not input as well.
    assert.strictEqual(input({ prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 }), 5)
  })

  it("is not one when its total is no number", () => {
    for (const total_tokens of ["14", {}, true]) {
      const prompt = { prompt_tokens: 11, completion_tokens: 3, total_tokens }
      assert.isUndefined(readPromptUsage({ usage: prompt }))
      assert.isUndefined(readEmbeddingUsage({ usage: { prompt_tokens: 11, total_tokens } }))
      assert.isUndefined(readInputUsage({ usage: { input_tokens: 11, output_tokens: 3, total_tokens } }))
    }
    const untold = { prompt_tokens: 11, completion_tokens: 3, total_tokens: null }
    assert.strictEqual(readPromptUsage({ usage: untold })?.usage.output, 3)
  })

  it("is not one when more tokens of a prediction are told than output", () => {
    for (const key of ["accepted_prediction_tokens", "rejected_prediction_tokens"]) {
      const of = (tokens: number) => ({
        usage: { prompt_tokens: 11, completion_tokens: 3, completion_tokens_details: { [key]: tokens } }
      })
      assert.strictEqual(readPromptUsage(of(3))?.usage.output, 3)
      assert.isUndefined(readPromptUsage(of(4)))
    }
  })

  it("tells cache writes by their split where only that is told", () => {
    const usage = {
      input_tokens: 100,
      output_tokens: 1,
      input_tokens_details: { cache_write_tokens_details: { ttl_12h_tokens: 30, ttl_30m_tokens: 20 } }
    }
    const reading = readInputUsage({ usage })
    assert.strictEqual(reading?.usage.cacheWrite, 20)
    assert.strictEqual(reading?.usage.cacheWrite12h, 30)
  })
})
