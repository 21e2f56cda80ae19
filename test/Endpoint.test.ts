/** What each endpoint makes of a body: its plan, or a refusal. Nothing that it cannot bound gets through. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import type * as BudgetError from "../src/BudgetError.ts"
import type * as Endpoint from "../src/Endpoint.ts"
import type { Json, JsonObject } from "../src/internal/json.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"

const pricing = await Effect.runPromise(Pricing.make())

const endpoint = (name: string): Endpoint.Endpoint => {
  const found = OpenAiEndpoints.priced.find((each) => each.name === `POST /${name}`)
  if (found === undefined) throw new Error(`${name} is not priced`)
  return found
}

const planned = (
  name: string,
  body: JsonObject,
  allow?: ReadonlyArray<string>
): Result.Result<Endpoint.Plan, BudgetError.BudgetError> =>
  // Too deep a body cannot be written natively; the text of such a body comes from its sender.
  endpoint(name).plan({
    body,
    text: Result.getOrElse(
      Result.try(() => JSON.stringify(body)),
      () => ""
    ),
    allow
  })

const planOf = (name: string, body: JsonObject): Endpoint.Plan => Result.getOrThrow(planned(name, body))

const refusalOf = (name: string, body: JsonObject, allow?: ReadonlyArray<string>) => {
  const answer = planned(name, body, allow)
  return Result.isFailure(answer) ? answer.failure.reason : undefined
}

const assertRefused = (
  name: string,
  body: JsonObject,
  tag: string,
  words: ReadonlyArray<string> = []
): void => {
  const reason = refusalOf(name, body)
  assert.strictEqual(reason?._tag, tag, JSON.stringify(body).slice(0, 200))
  for (const word of words) assert.include(reason?.message ?? "", word)
}

const chat = (extra: JsonObject = {}): JsonObject => ({
  model: "gpt-4o",
  messages: [{ role: "user", content: "hi" }],
  ...extra
})
const said = (content: Json): JsonObject => chat({ messages: [{ role: "user", content }] })
const response = (extra: JsonObject = {}): JsonObject => ({ model: "gpt-4o", input: "hi", ...extra })
const item = (each: Json): JsonObject => response({ input: [each] })
const legacy = (extra: JsonObject = {}): JsonObject => ({
  model: "gpt-3.5-turbo-instruct",
  prompt: "hi",
  ...extra
})
const embedding = (extra: JsonObject = {}): JsonObject => ({
  model: "text-embedding-3-small",
  input: "hi",
  ...extra
})

const smallest: Readonly<Record<string, JsonObject>> = {
  "chat/completions": chat(),
  responses: response(),
  completions: legacy(),
  embeddings: embedding()
}

describe("the fields of a body", () => {
  it("that no list knows are refused, naming the override, which admits them; null is no field", () => {
    for (const [name, body] of Object.entries(smallest)) {
      for (const field of ["brand_new", "constructor", "toString", "__proto__x", ""]) {
        assertRefused(name, { ...body, [field]: 1 }, "UnboundedRequest", [
          `allow: [${JSON.stringify(field)}]`
        ])
        assert.strictEqual(refusalOf(name, { ...body, [field]: 1 }, [field]), undefined)
        assert.strictEqual(refusalOf(name, { ...body, [field]: null }), undefined)
      }
    }
  })

  it("that cost more than the request shows are refused, and pass as null", () => {
    const cases: ReadonlyArray<readonly [string, string, Json]> = [
      ["chat/completions", "web_search_options", {}],
      ["responses", "prompt", { id: "pmpt_1" }],
      ["responses", "context_management", [{ type: "compaction" }]],
      ["responses", "background", true]
    ]
    for (const [name, field, value] of cases) {
      const body = smallest[name] ?? {}
      assertRefused(name, { ...body, [field]: value }, "UnboundedRequest", [`Leave`, field])
      assert.strictEqual(refusalOf(name, { ...body, [field]: null }), undefined)
    }
    assert.strictEqual(refusalOf("responses", response({ background: false })), undefined)
    assertRefused("responses", response({ background: "true" }), "MalformedRequest")
  })

  it("say whether an answer may be held back once it was written", () => {
    for (const name of ["chat/completions", "responses"]) {
      const holds = (policy: Json): boolean =>
        planOf(name, { ...smallest[name], moderation: { model: "omni-moderation-latest", policy } }).heldBack
      assert.isFalse(planOf(name, smallest[name] ?? {}).heldBack)
      const free: ReadonlyArray<Json> = [null, { input: { mode: "block" } }, { output: { mode: "score" } }]
      for (const policy of [...free, { output: null }]) assert.isFalse(holds(policy))
      for (const output of [{ mode: "block" }, { mode: "redact" }, {}, "block"]) {
        assert.isTrue(holds({ input: { mode: "score" }, output }))
      }
    }
  })

  it("let a response be moderated by the models that do so for nothing, and by no other", () => {
    const policy = { input: { mode: "block" }, output: { mode: "score" } }
    for (const name of ["chat/completions", "responses"]) {
      const body = smallest[name] ?? {}
      for (const model of ["omni-moderation-latest", "omni-moderation-2024-09-26"]) {
        assert.strictEqual(refusalOf(name, { ...body, moderation: { model } }), undefined)
        assert.strictEqual(refusalOf(name, { ...body, moderation: { model, policy } }), undefined)
      }
      for (const moderation of [{ model: "omni-moderation-pro" }, {}, true, "omni-moderation-latest", []]) {
        assertRefused(name, { ...body, moderation }, "UnboundedRequest", ["omni-moderation-latest", "Leave"])
        assert.strictEqual(refusalOf(name, { ...body, moderation }, ["moderation"]), undefined)
      }
    }
    // Only these two are moderated.
    for (const name of ["completions", "embeddings"]) {
      const moderation = { model: "omni-moderation-latest" }
      assertRefused(name, { ...smallest[name], moderation }, "UnboundedRequest", ["moderation"])
    }
  })

  it("name what the API would pick itself, and switch off what would cost more", () => {
    const free: ReadonlyArray<JsonObject> = [
      { access_programs: { cyber: "daybreak_blue" } },
      { access_programs: {} },
      { image: { context_compression: "disabled" } },
      { image: { context_compression: "enabled" } },
      { multi_agent: { enabled: false } },
      { multi_agent: null }
    ]
    for (const each of free) assert.strictEqual(refusalOf("responses", response(each)), undefined)
    for (const multi_agent of [{ enabled: true }, { enabled: true, max_concurrent_subagents: 1 }, {}, true]) {
      assertRefused("responses", response({ multi_agent }), "UnboundedRequest", ["agents", "Leave"])
      assert.strictEqual(refusalOf("responses", response({ multi_agent }), ["multi_agent"]), undefined)
    }
  })

  it("refuse every reasoning mode but the standard one", () => {
    assertRefused("responses", response({ reasoning: { mode: "pro" } }), "UnboundedRequest", ["mode"])
    assertRefused("responses", response({ reasoning: { mode: "ultra", effort: "low" } }), "UnboundedRequest")
    for (const reasoning of [null, {}, { effort: "high" }, { mode: null }, { mode: "standard" }]) {
      assert.strictEqual(refusalOf("responses", response({ reasoning })), undefined)
    }
  })

  it("refuse models that search, by any endpoint", () => {
    for (const model of ["gpt-4o-search-preview", "o4-mini-deep-research"]) {
      for (const [name, body] of Object.entries(smallest)) {
        assertRefused(name, { ...body, model }, "UnboundedRequest", [model])
      }
    }
  })

  it("are of the right kind: a count is a whole number of at least 1, and no text is one", () => {
    const counts: ReadonlyArray<readonly [string, string]> = [
      ["chat/completions", "n"],
      ["chat/completions", "max_tokens"],
      ["chat/completions", "max_completion_tokens"],
      ["responses", "max_output_tokens"],
      ["completions", "n"],
      ["completions", "best_of"]
    ]
    for (const [name, field] of counts) {
      const body = smallest[name] ?? {}
      for (const value of ["5", -1, 0, 1.5, 1e21, true, [], {}, [5]]) {
        assertRefused(name, { ...body, [field]: value }, "MalformedRequest", [field])
      }
      for (const value of [null, 1, 1e9]) {
        assert.strictEqual(refusalOf(name, { ...body, [field]: value }), undefined)
      }
    }
    for (const value of ["5", -1, 1.5, 1e21, true, [], {}, [5]]) {
      assertRefused("completions", legacy({ max_tokens: value }), "MalformedRequest", [
        "max_tokens",
        "from 0 up"
      ])
    }
    for (const [name, body] of Object.entries(smallest)) {
      for (const model of [undefined, null, "", 1, [], {}]) {
        const { model: _, ...rest } = body
        assertRefused(name, model === undefined ? rest : { ...rest, model }, "MalformedRequest", ["model"])
      }
    }
  })

  it("multiply the output: n, copies and prompts", () => {
    const timesOf = (name: string, body: JsonObject): unknown => planOf(name, body).output?.times
    assert.strictEqual(timesOf("chat/completions", chat({ n: 7 })), 7)
    assert.strictEqual(timesOf("completions", legacy({ n: 2, best_of: 5 })), 5)
    assert.strictEqual(timesOf("completions", legacy({ n: 3 })), 3)
    assert.strictEqual(timesOf("completions", legacy({ prompt: ["a", "b", "c"], n: 2 })), 6)
    assert.strictEqual(timesOf("completions", legacy({ prompt: [1, 2, 3] })), 1)
    assert.strictEqual(timesOf("completions", legacy({ prompt: [[1, 2], [3]] })), 2)
    assert.strictEqual(timesOf("completions", legacy({ prompt: [1, "b", "c"] })), 3)
  })

  it("add a prediction to the output, as wide as it can be, for each answer", () => {
    const prediction = { type: "content", content: "中".repeat(50) }
    const extraOf = (body: JsonObject): number => planOf("chat/completions", body).output?.extra ?? -1
    assert.strictEqual(extraOf(chat()), 0)
    assert.strictEqual(extraOf(chat({ prediction: null })), 0)
    assert.isAtLeast(extraOf(chat({ prediction })), 300)
    assert.strictEqual(extraOf(chat({ prediction, n: 3 })), 3 * extraOf(chat({ prediction })))
  })

  it("ask for the usage of a stream only where it would not come", () => {
    const asks = (name: string, body: JsonObject): boolean => planOf(name, body).askForUsage
    for (const [name, body] of [
      ["chat/completions", chat()],
      ["completions", legacy()]
    ] as const) {
      assert.isFalse(asks(name, body))
      assert.isTrue(asks(name, { ...body, stream: true }))
      assert.isTrue(asks(name, { ...body, stream: true, stream_options: { include_usage: false } }))
      assert.isTrue(asks(name, { ...body, stream: true, stream_options: null }))
      assert.isFalse(asks(name, { ...body, stream: true, stream_options: { include_usage: true } }))
      assertRefused(name, { ...body, stream: "yes" }, "MalformedRequest")
    }
    assert.isFalse(asks("responses", response({ stream: true })))
  })
})

describe("the tools of a body", () => {
  it("are functions, custom tools and namespaces of them; hosted tools are refused by name", () => {
    const hosted =
      "web_search web_search_preview file_search code_interpreter image_generation mcp computer_use_preview " +
      "local_shell shell tool_search apply_patch brand_new constructor"
    for (const type of hosted.split(" ")) {
      assertRefused("responses", response({ tools: [{ type }] }), "UnboundedRequest", [type])
      assertRefused("chat/completions", chat({ tools: [{ type }] }), "UnboundedRequest", [type])
      const inside = { type: "namespace", name: "n", tools: [{ type: "function", name: "f" }, { type }] }
      assertRefused("responses", response({ tools: [inside] }), "UnboundedRequest", [type])
    }
    for (const tools of [[1], [null], [{}], [{ type: 1 }], [[]]]) {
      assertRefused("responses", response({ tools }), "UnboundedRequest")
    }
    for (const tools of ["function", 1, true, {}]) {
      assertRefused("responses", response({ tools }), "MalformedRequest")
      assertRefused("chat/completions", chat({ tools }), "MalformedRequest")
    }
    const own = [
      { type: "function", name: "f" },
      { type: "custom", name: "c" }
    ]
    assert.strictEqual(refusalOf("responses", response({ tools: own })), undefined)
  })

  it("add at least the 105 tokens that the first one was recorded at", () => {
    const bare = planOf("chat/completions", chat()).input.tokens
    const one = { type: "function", function: { name: "f", parameters: {} } }
    const two = planOf("chat/completions", chat({ tools: [one, one] })).input.tokens
    assert.isAtLeast(two - bare, 105 + 2 * JSON.stringify(one).length)
    assert.isAbove(planOf("chat/completions", chat({ functions: [{ name: "f" }] })).input.tokens, bare)
  })
})

describe("the content of a body", () => {
  const url = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

  it("is text, or parts of known kinds", () => {
    for (const content of [
      "text",
      null,
      [],
      [{ type: "text", text: "a" }],
      ["a"],
      [{ type: "refusal", refusal: "no" }]
    ]) {
      assert.strictEqual(refusalOf("chat/completions", said(content)), undefined)
    }
    for (const type of ["video", "image_file", "constructor", "tool_result"]) {
      assertRefused("chat/completions", said([{ type }]), "UnboundedRequest", [type])
      assertRefused("responses", item({ role: "user", content: [{ type }] }), "UnboundedRequest", [type])
    }
    for (const content of [1, true, {}, { type: "text" }, [1], [null], [{}], [{ type: 1 }], [[]]]) {
      assertRefused("chat/completions", said(content), "MalformedRequest")
    }
    for (const messages of [undefined, null, "hi", {}, [1], [null], ["hi"], [[]]]) {
      assertRefused(
        "chat/completions",
        { model: "gpt-4o", ...(messages === undefined ? {} : { messages }) },
        "MalformedRequest"
      )
    }
  })

  it("counts an image by its formula, in place of its base64 text", () => {
    const big = `${url}${"A".repeat(500_000)}`
    const input = (of: JsonObject, name = "chat/completions") => planOf(name, of).input
    const shown = input(said([{ type: "image_url", image_url: { url: big } }]))
    assert.isBelow(shown.tokens, 2_000)
    assert.isAtLeast(shown.images, 255)
    const mini = { ...said([{ type: "image_url", image_url: { url } }]), model: "gpt-4o-mini" }
    assert.isAtLeast(input(mini).tokens, 8_500)
    const parts: ReadonlyArray<Json> = [
      { type: "input_image", file_id: "file-1" },
      { type: "input_image", image_url: "https://example.com/a.png" }
    ]
    for (const part of parts) {
      assert.isAtLeast(input(item({ role: "user", content: [part] }), "responses").images, 1_445)
      const output = { type: "function_call_output", call_id: "c", output: [part] }
      assert.isAtLeast(input(item(output), "responses").images, 1_445)
    }
  })

  it("keeps the base64 of what is no image, which is not billed by its looks", () => {
    const data = "A".repeat(10_000)
    const audio = planOf("chat/completions", said([{ type: "input_audio", input_audio: { data } }]))
    assert.isTrue(audio.input.audio)
    assert.isAbove(audio.input.tokens, 10_000)
  })

  it("that the request only names is not shown: files, stored answers, earlier audio and reasoning", () => {
    const unshown: ReadonlyArray<readonly [string, JsonObject]> = [
      ["chat/completions", said([{ type: "file", file: { file_id: "f" } }])],
      ["chat/completions", chat({ messages: [{ role: "assistant", audio: { id: "a" } }] })],
      ["responses", item({ role: "user", content: [{ type: "input_file", file_url: "https://x" }] })],
      ["responses", response({ conversation: "conv_1" })],
      ["responses", response({ conversation: { id: "conv_1" } })],
      ["responses", item({ type: "item_reference", id: "msg_1" })],
      // The type of a reference may be left out.
      ["responses", item({ id: "msg_1" })],
      ["responses", item({ type: null, id: "msg_1" })],
      // Looked up by its id, where the text that it stands for is not carried along.
      ["responses", item({ type: "reasoning", id: "rs_1", summary: [] })],
      ["responses", item({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: null })]
    ]
    for (const [name, body] of unshown) assert.isTrue(planOf(name, body).input.unshown, JSON.stringify(body))
    // What that one billed may be known.
    const { previous } = planOf("responses", response({ previous_response_id: "resp_1" })).input
    assert.strictEqual(previous, "resp_1")
    const shown: ReadonlyArray<JsonObject> = [
      response({ previous_response_id: null, conversation: null }),
      item({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAA" }),
      item({ id: "msg_1", role: "assistant", content: "said" }),
      item({ type: "function_call", id: "fc_1", call_id: "c", name: "f", arguments: "{}" })
    ]
    for (const body of shown) assert.isFalse(planOf("responses", body).input.unshown, JSON.stringify(body))
  })

  it("may change how the rest is answered: by thinking more, or by a schema, which is counted", () => {
    const update = (extra: JsonObject) =>
      planOf("responses", item({ type: "configuration_update", ...extra }))
    const bare = update({}).input
    const effort = { reasoning: { effort: "high" } }
    // The field stands in the item, without the braces around it.
    assert.isAtLeast(update(effort).input.tokens - bare.tokens, JSON.stringify(effort).length - 2)
    const format = { type: "json_schema", name: "s", schema: { type: "object", title: "x".repeat(500) } }
    const schema = update({ text: { format } }).input
    // A schema was seen to take 8 more than its text.
    assert.isAtLeast(schema.tokens - bare.tokens, JSON.stringify(format).length + 8)
    assert.isFalse(schema.unshown)
    assert.isFalse(update(effort).input.unshown)
    // One that says nothing may be looked up by its id.
    assert.isTrue(update({ id: "cu_1" }).input.unshown)
    // What else a newer API may change is not known to cost nothing, as another mode does not.
    for (const [extra, name] of [
      [{ reasoning: { mode: "pro" } }, "reasoning.mode"],
      [{ ...effort, tools: [{ type: "web_search" }] }, "tools"],
      [{ ...effort, model: "gpt-5-pro" }, "model"],
      [{ text: { format, verbosity: "high" } }, "text.verbosity"]
    ] as const) {
      const body = item({ type: "configuration_update", ...extra })
      assertRefused("responses", body, "UnboundedRequest", [`"${name}"`, "Leave"])
    }
    assert.isFalse(
      update({ text: null, tools: null, reasoning: { effort: "low", mode: null } }).input.unshown
    )
    // It may say more to the model in the turns that it is meant for.
    assert.isFalse(bare.repeats)
    const { counted } = planOf("responses", { ...item({ type: "configuration_update", ...effort }) }).input
    assert.include(counted()?.texts.join(" ") ?? "", "high")
  })

  it("of an item that no list knows is refused, naming it", () => {
    for (const type of [
      "computer_call_output",
      "image_generation_call",
      "computer_call",
      "compaction",
      "toString",
      ""
    ]) {
      assertRefused("responses", item({ type }), "UnboundedRequest", [JSON.stringify(type)])
    }
    for (const input of [1, true, {}, [1], [null], ["hi"], [[]]]) {
      assertRefused("responses", { model: "gpt-4o", input }, "MalformedRequest")
    }
    assertRefused("responses", item({ type: 5 }), "UnboundedRequest")
    assertRefused("responses", response({ instructions: [{ role: "user" }] }), "MalformedRequest")
  })

  it("is framed message by message, above what was recorded of the dearest model", () => {
    const empty = (count: number): JsonObject =>
      chat({ messages: Array.from({ length: count }, () => ({ role: "user", content: "" })) })
    const { tokens } = planOf("chat/completions", empty(0)).input
    assert.isAtLeast(tokens - JSON.stringify(empty(0)).length, 15)
    const more = planOf("chat/completions", empty(100)).input.tokens - tokens
    assert.isAtLeast(more - (JSON.stringify(empty(100)).length - JSON.stringify(empty(0)).length), 16 * 100)
  })
})

describe("deep and large bodies", () => {
  const levels = 100_000
  const lists = JSON.parse("[".repeat(levels) + "]".repeat(levels)) as Json
  const objects = JSON.parse('{"a":'.repeat(levels) + "1" + "}".repeat(levels)) as Json
  const namespaces = JSON.parse('{"type":"namespace","tools":['.repeat(levels) + "]}".repeat(levels)) as Json

  it("are refused where they nest deeper than anything that an API takes, in any field", () => {
    for (const [name, body] of Object.entries(smallest)) {
      for (const field of [
        "metadata",
        "prediction",
        "tools",
        "input",
        "prompt",
        "messages",
        "text",
        "stop",
        "unknown"
      ]) {
        for (const value of [lists, objects, [namespaces]]) {
          const reason = refusalOf(name, { ...body, [field]: value })
          assert.strictEqual(reason?._tag, "MalformedRequest")
          assert.include(reason?.message, "500 levels")
          const made = Quote.make(pricing, {
            method: "POST",
            path: `/${name}`,
            body: { ...body, [field]: value }
          })
          assert.isTrue(Result.isFailure(made))
        }
      }
    }
  })

  it("are taken where they are only large", () => {
    const many = Array.from({ length: 200_000 }, () => ({ role: "user", content: "hi" }))
    const plan = planOf("chat/completions", chat({ messages: many }))
    assert.isAbove(plan.input.tokens, 200_000 * 20)
    const tokens = Array.from({ length: 300_000 }, () => 7)
    assert.isAtLeast(planOf("embeddings", embedding({ input: tokens })).input.tokens, 300_000)
  })
})

describe("the bill in a response", () => {
  const details = (more: JsonObject = {}): JsonObject => ({
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: 120,
    prompt_tokens_details: { cached_tokens: 40, cache_write_tokens: 30, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 15, audio_tokens: 0 },
    ...more
  })
  const read = (name: string, usage: Json, more: JsonObject = {}) => endpoint(name).read({ usage, ...more })

  it("is read in full, with the model and the tier that served it", () => {
    const reading = read("chat/completions", details(), {
      model: "gpt-4o-2024-08-06",
      service_tier: "default"
    })
    assert.deepInclude(reading, { model: "gpt-4o-2024-08-06", tier: "default" })
    assert.deepInclude(reading?.usage, {
      input: 100,
      cachedInput: 40,
      cacheWrite: 30,
      output: 20,
      reasoning: 15
    })
    const split = {
      cached_tokens: 1,
      cache_write_tokens: 50,
      cache_write_tokens_details: { ttl_12h_tokens: 20 }
    }
    const usage = { input_tokens: 100, output_tokens: 5, input_tokens_details: split }
    assert.deepInclude(read("responses", usage)?.usage, { cacheWrite: 30, cacheWrite12h: 20, cachedInput: 1 })
  })

  it("keeps what was written to a cache where only its split tells", () => {
    const split = { cache_write_tokens_details: { ttl_12h_tokens: 20, ttl_30m_tokens: 30 } }
    const usage = { input_tokens: 100, output_tokens: 5, input_tokens_details: split }
    assert.deepInclude(read("responses", usage)?.usage, { cacheWrite: 30, cacheWrite12h: 20 })
  })

  it("is none where it cannot be true", () => {
    const impossible: ReadonlyArray<Json> = [
      null,
      1,
      "usage",
      [],
      {},
      details({ prompt_tokens: 0 }),
      details({ prompt_tokens: -1 }),
      details({ prompt_tokens: 1.5 }),
      details({ prompt_tokens: "100" }),
      details({ prompt_tokens: 1e300 }),
      details({ completion_tokens: -1 }),
      details({ completion_tokens: null, total_tokens: null }),
      details({ prompt_tokens_details: { cached_tokens: 101 } }),
      details({ prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 60 } }),
      details({ completion_tokens_details: { reasoning_tokens: 21 } }),
      details({ completion_tokens_details: { audio_tokens: 21 } })
    ]
    for (const usage of impossible) {
      assert.strictEqual(read("chat/completions", usage), undefined, JSON.stringify(usage))
      assert.strictEqual(read("completions", usage), undefined, JSON.stringify(usage))
      assert.strictEqual(read("responses", usage), undefined, JSON.stringify(usage))
    }
    assert.strictEqual(read("responses", details()), undefined)
    for (const model of [null, 1, "", []]) {
      assert.deepInclude(read("chat/completions", details(), { model, service_tier: model }), {
        model: undefined,
        tier: undefined
      })
    }
  })

  it("has no output where its total says so", () => {
    const usage = { prompt_tokens: 9, total_tokens: 9 }
    assert.deepInclude(read("chat/completions", usage)?.usage, { input: 9, output: 0 })
    assert.deepInclude(read("embeddings", usage)?.usage, { input: 9, output: 0 })
    assert.strictEqual(read("embeddings", { prompt_tokens: 0, total_tokens: 0 }), undefined)
  })

  it("in a stream of chunks is final on the one without choices, and interim before it", () => {
    const of = (event: JsonObject) => endpoint("chat/completions").signal(event)
    assert.strictEqual(of({ choices: [{}], usage: null })._tag, "Nothing")
    assert.strictEqual(of({ choices: [], prompt_filter_results: [] })._tag, "Nothing")
    assert.strictEqual(of({ choices: [{}], usage: details() })._tag, "Interim")
    assert.strictEqual(of({ choices: [], usage: details() })._tag, "Final")
    const early = { prompt_tokens: 9, completion_tokens: 0, total_tokens: 9 }
    assert.deepInclude(of({ choices: [], usage: early }), { _tag: "Interim", isAlone: true })
    assert.deepInclude(of({ choices: [{}], usage: early }), { _tag: "Interim", isAlone: false })
    assert.deepInclude(of({ choices: [], usage: {} }), { _tag: "Final", reading: undefined })
  })

  it("in a stream of a response is on the event that ends it, however it ends", () => {
    const usage = { input_tokens: 5, output_tokens: 2 }
    const of = (type: string, value: Json = { usage, model: "gpt-4o" }) =>
      endpoint("responses").signal({ type, response: value })
    for (const ending of ["completed", "incomplete", "failed"]) {
      const signal = of(`response.${ending}`)
      assert.strictEqual(signal._tag, "Final")
      if (signal._tag === "Final") assert.deepInclude(signal.reading?.usage, { input: 5, output: 2 })
    }
    for (const type of ["response.created", "response.in_progress", "response.output_text.delta", "error"]) {
      assert.strictEqual(of(type)._tag, "Nothing")
    }
    assert.strictEqual(of("response.completed", null)._tag, "Nothing")
    assert.deepInclude(of("response.failed", { usage: null }), { _tag: "Final", reading: undefined })
  })
})

describe("any body", () => {
  const bases: ReadonlyArray<readonly [string, JsonObject]> = [
    [
      "chat/completions",
      chat({
        messages: [
          { role: "system", content: [{ type: "text", text: "a" }] },
          {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }]
          },
          {
            role: "user",
            content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA", detail: "low" } }]
          }
        ],
        n: 2,
        max_completion_tokens: 100,
        prediction: { type: "content", content: "abc" },
        tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
        response_format: { type: "json_schema", json_schema: { name: "s", schema: {} } },
        modalities: ["text"],
        stream: true,
        stream_options: { include_usage: true },
        service_tier: "default"
      })
    ],
    [
      "responses",
      response({
        input: [
          {
            role: "user",
            content: [
              { type: "input_text", text: "a" },
              { type: "input_image", image_url: "data:x" }
            ]
          },
          { type: "reasoning", id: "r", summary: [], encrypted_content: "gA" },
          { type: "function_call_output", call_id: "c", output: "x" }
        ],
        instructions: "be brief",
        max_output_tokens: 100,
        previous_response_id: "resp_1",
        reasoning: { effort: "low" },
        tools: [{ type: "namespace", name: "n", tools: [{ type: "function", name: "f" }] }],
        text: { format: { type: "json_schema", name: "s", schema: {} } }
      })
    ],
    ["completions", legacy({ prompt: ["a", "b"], n: 2, best_of: 3, max_tokens: 10, suffix: "z" })],
    ["embeddings", embedding({ input: ["a", "b"], dimensions: 5 })]
  ]
  const Junk = Schema.Literals([
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "1.5",
    "1e308",
    '"5"',
    '""',
    '"data:"',
    "[]",
    "{}",
    "[[]]",
    "[null]",
    '{"type":"text"}',
    '{"type":"file"}',
    '{"type":null}',
    '[{"type":"function"}]',
    '{"content":{}}',
    '{"url":5}',
    '{"__proto__":1}'
  ])
  const Edit = Schema.Struct({
    path: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))),
    junk: Junk
  })

  /** The body with the value at the end of a path replaced: each step picks a child by number. */
  const altered = (value: Json, path: ReadonlyArray<number>, junk: Json): Json => {
    const [step, ...rest] = path
    if (step === undefined || typeof value !== "object" || value === null) return junk
    const keys = Object.keys(value)
    const key = keys[step % Math.max(1, keys.length)]
    if (key === undefined) return junk
    const child = (value as JsonObject)[key] ?? null
    const next = altered(child, rest, junk)
    return Array.isArray(value)
      ? (value as ReadonlyArray<Json>).map((each, at) => (String(at) === key ? next : each))
      : { ...(value as JsonObject), [key]: next }
  }

  it.prop(
    "is quoted or refused with a reason, and never throws",
    { base: Schema.Literals([0, 1, 2, 3]), edits: Schema.Array(Edit) },
    ({ base, edits }) => {
      const [name, valid] = bases[base] ?? ["", {}]
      const body = edits.reduce<Json>(
        (value, edit) => altered(value, edit.path, JSON.parse(edit.junk) as Json),
        valid
      )
      const answer = Quote.make(pricing, { method: "POST", path: `/${name}`, body })
      if (Result.isFailure(answer)) {
        assert.include(
          ["UnboundedRequest", "MalformedRequest", "UnknownModel", "UnpricedTier"],
          answer.failure.reason._tag
        )
        return
      }
      const { input, least, most } = answer.success
      assert.isTrue(Number.isSafeInteger(input) && input > 0 && least > 0 && least <= most)
    },
    { arbitrary: { runs: 10_000, size: 12 } }
  )

  it.prop(
    "costs at least what it would without a field that can only add to its cost",
    {
      base: Schema.Literals([0, 1, 2]),
      edits: Schema.Array(Edit),
      which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 }))
    },
    ({ base, edits, which }) => {
      const [name, valid] = bases[base] ?? ["", {}]
      const body = edits.reduce<Json>(
        (value, edit) => altered(value, edit.path, JSON.parse(edit.junk) as Json),
        valid
      )
      const fields = [
        "n",
        "best_of",
        "prediction",
        "tools",
        "instructions",
        "previous_response_id",
        "response_format",
        "text"
      ]
      const field = fields[which] ?? ""
      if (typeof body !== "object" || body === null || Array.isArray(body) || !(field in body)) return
      const without = Object.fromEntries(Object.entries(body).filter(([key]) => key !== field))
      const request = { method: "POST", path: `/${name}`, at: 0 }
      const whole = Quote.make(pricing, { ...request, body })
      const less = Quote.make(pricing, { ...request, body: without })
      if (Result.isFailure(whole) || Result.isFailure(less)) return
      assert.isAtLeast(whole.success.input, less.success.input)
      assert.isAtLeast(whole.success.least, less.success.least)
    },
    { arbitrary: { runs: 5_000, size: 8 } }
  )
})
