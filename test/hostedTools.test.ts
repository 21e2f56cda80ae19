/** Tools that the provider runs: their fees and passes are quoted, limited, and settled by what was called. */
import { assert, describe, it } from "@effect/vitest"
import { BudgetError, BudgetedSession, Pricing, Quote, Settlement, Usage, Usd } from "agent-budget"
import { Effect, Result, Schema } from "effect"
import OpenAI from "openai"
import type { Json, JsonObject } from "../src/internal/json.ts"
import { isBilledBeyond, toolCallsOf } from "../src/internal/toolCalls.ts"
import { readInputUsage, type Reading } from "../src/internal/wireUsage.ts"
import { assumedNano, settled, spentNano } from "./utils/openAi.ts"
import { events, sse, stub } from "./utils/stubProvider.ts"

const pricing = await Effect.runPromise(Pricing.make())
const at = Date.UTC(2026, 10, 23)

const make = (body: JsonObject, table = pricing, path = "/responses") =>
  Quote.make(table, { method: "POST", path, body: { model: "gpt-4o", input: "hi", ...body }, at })

const quoteOf = (body: JsonObject, table = pricing): Quote.Quote =>
  Result.getOrThrow(make({ max_output_tokens: 100, ...body }, table))

const messageOf = (result: ReturnType<typeof make>): string =>
  Result.isFailure(result) ? result.failure.message : "quoted"

const auto = { type: "code_interpreter", container: { type: "auto" } }

describe("a request with hosted tools", () => {
  it.each(["web_search", "web_search_preview", "file_search", "code_interpreter", "mcp", "tool_search"])(
    "is refused without a limit of its calls: %s",
    (type) => {
      for (const limit of [{}, { max_tool_calls: null }]) {
        const message = messageOf(make({ tools: [{ type }], ...limit }))
        assert.include(message, `"${type}" is called as often as the model likes`)
        assert.include(message, "Set max_tool_calls.")
      }
      for (const limit of [0, -1, 1.5, "2"])
        assert.include(messageOf(make({ tools: [{ type }], max_tool_calls: limit })), "max_tool_calls is not")
    }
  )

  it.each(["image_generation", "computer_use_preview", "local_shell", "web_search_2"])(
    "is refused with one where the tool's cost is not known: %s",
    (type) => {
      const message = messageOf(make({ tools: [{ type }], max_tool_calls: 1 }))
      assert.include(message, `"${type}" costs more than the request shows`)
    }
  )

  it("is refused in chat completions, which knows no limit", () => {
    const messages = [{ role: "user", content: "hi" }]
    for (const body of [{ web_search_options: {} }, { tools: [{ type: "web_search" }], max_tool_calls: 1 }]) {
      const quoted = make({ messages, input: null, ...body }, pricing, "/chat/completions")
      assert.notStrictEqual(messageOf(quoted), "quoted")
    }
  })

  it("is refused inside a namespace, whose tools are the caller's", () => {
    for (const type of ["web_search", "tool_search"]) {
      const tools = [{ type: "namespace", name: "n", tools: [{ type }] }]
      assert.include(messageOf(make({ tools, max_tool_calls: 1 })), "costs more than the request shows")
    }
  })

  it("is refused where an item brings it, which a later request goes on with and does not show", () => {
    for (const type of ["additional_tools", "tool_search_output"]) {
      for (const tool of [{ type: "code_interpreter" }, { type: "mcp" }, { type: "tool_search" }]) {
        const message = messageOf(make({ input: [{ type, tools: [tool] }], max_tool_calls: 1 }))
        assert.include(message, `"${tool.type}" that an item brings`)
        assert.include(message, "Name it in the tools of each request instead.")
      }
      const own = [
        { type: "function", name: "f" },
        { type: "custom", name: "c" }
      ]
      assert.isBelow(quoteOf({ input: [{ type, tools: own }] }).input, 2_000)
      const unknown = { input: [{ type, tools: [{ type: "image_generation" }] }], max_tool_calls: 1 }
      assert.include(messageOf(make(unknown)), "costs more than the request shows")
    }
  })

  it("holds no more than its text where the caller searches for the tools", () => {
    const search = { type: "tool_search", execution: "client", description: "Finds tools." }
    const found = { type: "function", name: "f", parameters: { type: "object", properties: {} } }
    const input = [
      { role: "user", content: "hi" },
      { type: "tool_search_call", call_id: "a", execution: "client", arguments: { query: "f" } },
      { type: "tool_search_output", call_id: "a", execution: "client", tools: [found] }
    ]
    const quote = quoteOf({ tools: [search], input })
    assert.strictEqual(quote.bound, "bytes")
    assert.isBelow(quote.input, 2_000)
    const unseen = quoteOf({ input: [{ type: "tool_search_output", call_id: "a" }] })
    assert.strictEqual(unseen.input, 128_000)
  })

  it("fills a window with each pass, one more than it has calls, and so do its images", () => {
    const quote = quoteOf({ tools: [{ type: "mcp" }], max_tool_calls: 3 })
    assert.strictEqual(quote.input, 4 * 128_000)
    const image_url = `data:image/png;base64,${"A".repeat(40)}`
    const shown = { input: [{ role: "user", content: [{ type: "input_image", image_url }] }] }
    const one = quoteOf({ ...shown, previous_response_id: "resp_1" }).input - 128_000
    assert.isAbove(one, 85)
    const seen = quoteOf({ ...shown, tools: [{ type: "mcp" }], max_tool_calls: 3 })
    assert.strictEqual(seen.input, 4 * (128_000 + one))
  })

  it("fills it with images where a search is asked for those", () => {
    const inputOf = (tool: JsonObject): number =>
      quoteOf({ model: "gpt-4o-mini", tools: [tool], max_tool_calls: 3 }).input
    const images = inputOf({ type: "mcp" })
    const type = "web_search_preview"
    for (const search_content_types of [null, [], ["text"]]) {
      assert.isBelow(inputOf({ type, search_content_types }), images / 10)
    }
    for (const search_content_types of [["text", "image"], ["image"], ["video"], "image"]) {
      assert.strictEqual(inputOf({ type, search_content_types }), images)
    }
  })

  it("holds the window for what such tools left in the conversation", () => {
    for (const type of ["web_search_call", "file_search_call", "code_interpreter_call", "mcp_call"]) {
      assert.strictEqual(quoteOf({ input: [{ type, id: "x_1" }] }).input, 128_000)
    }
  })
})

/** In dollars: three windows of 128,000 tokens at $2.50 a million, and 100 tokens at $10. */
const passes = 3 * 128_000 * 2.5e-6 + 100 * 10e-6

describe("the fees in a quote", () => {
  it.each<readonly [string, ReadonlyArray<JsonObject>, number]>([
    // Two calls, of up to ten searches each.
    ["the web", [{ type: "web_search" }], 20 * 0.01],
    ["the web, by the tool's dated name", [{ type: "web_search_2025_08_26" }], 20 * 0.01],
    ["the web by the preview, on a model that does not reason", [{ type: "web_search_preview" }], 20 * 0.025],
    ["the web by both: by the dearer", [{ type: "web_search" }, { type: "web_search_preview" }], 20 * 0.025],
    ["files", [{ type: "file_search", vector_store_ids: ["vs_1"] }], 2 * 0.0025],
    // A container is there from the start; each call may find it gone.
    ["a small container", [auto], 3 * 0.03],
    ["a container by its memory", [{ ...auto, container: { type: "auto", memory_limit: "4g" } }], 3 * 0.12],
    [
      "a container of the memory that it has unless said",
      [{ ...auto, container: { type: "auto", memory_limit: "1g" } }],
      3 * 0.03
    ],
    [
      "a container of no memory that is named",
      [{ ...auto, container: { type: "auto", memory_limit: null } }],
      3 * 0.03
    ],
    [
      "a container of a kind that is not known: the largest",
      [{ ...auto, container: { type: "own", memory_limit: "1g" } }],
      3 * 1.92
    ],
    ["a container of 16 GB", [{ ...auto, container: { type: "auto", memory_limit: "16g" } }], 3 * 0.48],
    ["a container of unknown memory: the largest", [{ ...auto, container: "cntr_1" }], 3 * 1.92],
    [
      "a container of a memory that is not listed: the largest",
      [{ ...auto, container: { type: "auto", memory_limit: "8g" } }],
      3 * 1.92
    ],
    ["servers of other people: nothing", [{ type: "mcp", server_url: "https://x" }], 0],
    [
      "all together",
      [{ type: "web_search" }, { type: "file_search" }, auto],
      20 * 0.01 + 2 * 0.0025 + 3 * 0.03
    ]
  ])("are those of %s", (_, tools, fees) => {
    const quote = quoteOf({ tools, max_tool_calls: 2 })
    assert.strictEqual(quote.most, Math.round((passes + fees) * 1e9))
    assert.strictEqual(quote.least, quote.most)
  })

  it("are those of tools that were asked for, and of no others", () => {
    const none = { webSearches: 0, fileSearches: 0, containers: 0 }
    for (const [tool, own] of [
      [{ type: "web_search" }, { webSearches: 20 }],
      [{ type: "file_search" }, { fileSearches: 2 }],
      [auto, { containers: 3 }],
      [{ type: "mcp" }, {}]
    ] as const) {
      const { tools } = quoteOf({ tools: [tool], max_tool_calls: 2 }).plan
      assert.deepInclude(tools, { calls: 2, ...none, ...own })
    }
  })

  it("are lower for the preview on a model that reasons", () => {
    const fees = (type: string) =>
      quoteOf({ model: "gpt-5.2", tools: [{ type }], max_tool_calls: 2 }).price.toolFees?.webSearch
    assert.strictEqual(fees("web_search_preview"), 10_000_000_000)
    assert.strictEqual(fees("web_search"), 10_000_000_000)
  })

  it("have 8,000 tokens of input in each search, on the models that are charged so", () => {
    const fee = (model: string, type = "web_search") =>
      quoteOf({ model, tools: [{ type }], max_tool_calls: 1 }).price.toolFees?.webSearch
    // $0.15 and $0.40 a million.
    assert.strictEqual(fee("gpt-4o-mini"), 10_000_000_000 + 8_000 * 150_000)
    assert.strictEqual(fee("gpt-4.1-mini"), 10_000_000_000 + 8_000 * 400_000)
    assert.strictEqual(fee("gpt-4o-mini", "web_search_preview"), 25_000_000_000)
  })

  it("are shown in lines of their own, with nothing for tools that are not there", () => {
    const quote = quoteOf({ tools: [{ type: "web_search" }, auto], max_tool_calls: 2 })
    const [, , ...fees] = Quote.lines(quote)
    assert.deepStrictEqual(
      fees.map(({ picoDollars, tokens }) => [tokens, picoDollars]),
      [
        [20, 10_000_000_000],
        [3, 30_000_000_000]
      ]
    )
    assert.include(fees[0]?.what, "searches of the web, in 2 calls")
    assert.include(fees[1]?.what, "sessions of containers")
    const total = Quote.lines(quote).reduce((sum, line) => sum + line.tokens * line.picoDollars, 0)
    assert.strictEqual(Math.ceil(total / 1_000), quote.most)
  })

  it("are the user's where he gives his own, and the table's for the rest", async () => {
    const toolFees = { webSearch: "8", container: { "1g": "0.02" } }
    const table = await Effect.runPromise(Pricing.make({ toolFees }))
    assert.strictEqual(table.toolFees.webSearch, 8_000_000_000)
    assert.strictEqual(table.toolFees.webSearchPreview, 25_000_000_000)
    assert.strictEqual(table.toolFees.container["1g"], 20_000_000_000)
    assert.strictEqual(table.toolFees.container["64g"], 1_920_000_000_000)
    const quote = quoteOf({ tools: [auto], max_tool_calls: 2 }, table)
    assert.strictEqual(quote.most, Math.round((passes + 3 * 0.02) * 1e9))
    const broken = await Effect.runPromise(Effect.flip(Pricing.make({ toolFees: { webSearch: "-1" } })))
    assert.strictEqual(broken.reason._tag, "InvalidPrices")
  })

  it("stay with the price, whichever of several tiers is served in the end", () => {
    const quote = quoteOf({ tools: [{ type: "web_search" }], max_tool_calls: 1, service_tier: "auto" })
    assert.isAbove(quote.prices.length, 1)
    for (const price of [...quote.prices, Quote.priceAt(quote, pricing, at)])
      assert.strictEqual(price.toolFees?.webSearch, 10_000_000_000)
  })

  it("are missed without the table, by name", async () => {
    const overrides = { "gpt-4o": { input: "2.5", output: "10", contextWindow: 128_000 } }
    const bare = await Effect.runPromise(Pricing.make({ bundled: false, overrides }))
    const refused = (tool: JsonObject, table = bare) =>
      messageOf(make({ tools: [tool], max_tool_calls: 1 }, table))
    assert.include(refused({ type: "web_search" }), "Give toolFees.webSearch.")
    assert.include(refused({ type: "file_search" }), "Give toolFees.fileSearch.")
    assert.include(refused(auto), 'Give toolFees.container["1g"].')
    assert.strictEqual(refused({ type: "mcp" }), "quoted")
    const some = await Effect.runPromise(
      Pricing.make({ bundled: false, overrides, toolFees: { webSearch: "10" } })
    )
    assert.strictEqual(refused({ type: "web_search" }, some), "quoted")
  })
})

const call = (type: string, action?: Json): JsonObject => ({
  type,
  ...(action === undefined ? {} : { action })
})
const search = (...queries: ReadonlyArray<string>) => call("web_search_call", { type: "search", queries })
const silent = call("web_search_call")

describe("the calls that a response tells of", () => {
  const webSearches = (output: ReadonlyArray<Json>, more: JsonObject = {}) =>
    toolCallsOf({ output, ...more }).webSearches

  it("are its searches of the web, as many as each had queries, and none that only read", () => {
    assert.strictEqual(webSearches([call("web_search_call", { type: "search", query: "a" })]), 1)
    assert.strictEqual(webSearches([search("a", "b"), search("c"), search()]), 4)
    const reads = ["open_page", "find_in_page", "find"].map((type) => call("web_search_call", { type }))
    assert.strictEqual(webSearches([...reads, search("a")]), 1)
    assert.strictEqual(webSearches([call("web_search_call", { type: "something_new" })]), 1)
    assert.strictEqual(webSearches([{ type: "message" }, { type: "function_call", action: {} }]), 0)
  })

  it("count where they do not say what they did, but for attempts beyond the limit", () => {
    assert.strictEqual(webSearches([silent, silent]), 2)
    assert.strictEqual(webSearches([search("a"), silent, silent, silent], { max_tool_calls: 2 }), 2)
    assert.strictEqual(webSearches([search("a"), search("b"), silent], { max_tool_calls: 1 }), 2)
  })

  it("are never fewer than the response counts, nor than its calls", () => {
    const told = (requests: Json) => ({ tool_usage: { web_search: { num_requests: requests } } })
    assert.strictEqual(webSearches([search("a")], told(3)), 3)
    assert.strictEqual(webSearches([search("a", "b")], told(0)), 2)
    assert.strictEqual(webSearches([search("a")], told(null)), 1)
    assert.isNaN(webSearches([search("a")], told("3")))
    assert.isNaN(webSearches([search("a")], told(-1)))
  })

  it("are no bill where the response counts what is no count", () => {
    const usage = { input_tokens: 9, output_tokens: 1 }
    const tool_usage = { web_search: { num_requests: 0.5 } }
    assert.isUndefined(readInputUsage({ usage, output: [], tool_usage }))
    assert.strictEqual(readInputUsage({ usage, output: [search("a")] })?.usage.webSearches, 1)
  })

  it("are its searches of files", () => {
    const output = [call("file_search_call"), call("file_search_call"), { type: "message" }]
    assert.deepStrictEqual(toolCallsOf({ output }), { webSearches: 0, fileSearches: 2, containers: 0 })
    assert.deepStrictEqual(toolCallsOf({}), { webSearches: 0, fileSearches: 0, containers: 0 })
  })

  it("are its runs of code, and calls of tools that have no price", () => {
    const code = [call("code_interpreter_call"), call("code_interpreter_call")]
    assert.strictEqual(toolCallsOf({ output: code }).containers, 2)
    for (const type of ["image_generation_call", "shell_call"]) {
      assert.isTrue(isBilledBeyond({ output: [{ type: "message" }, call(type)] }))
    }
    for (const output of [null, [], [null, "shell_call", { type: "message" }, call("mcp_call"), ...code]]) {
      assert.isFalse(isBilledBeyond({ output }))
    }
    const drawing = (image_gen: Json) => isBilledBeyond({ output: [], tool_usage: { image_gen } })
    for (const field of ["input_tokens", "output_tokens", "total_tokens"]) {
      for (const count of [1, -1, "1"]) assert.isTrue(drawing({ [field]: count }))
      for (const count of [0, null]) assert.isFalse(drawing({ [field]: count }))
    }
    assert.isFalse(drawing(null))
    assert.isFalse(isBilledBeyond({ tool_usage: null }))
  })

  it("are not told by a list of no items beside an output", () => {
    const items = (output: Json, output_tokens: number) =>
      readInputUsage({ usage: { input_tokens: 9, output_tokens }, output })?.items
    assert.strictEqual(items([], 0), 0)
    assert.strictEqual(items([{ type: "reasoning" }], 5), 1)
    assert.isUndefined(items([], 5))
    assert.isUndefined(items(null, 5))
  })
})

const settle = (quote: Quote.Quote, reading: Partial<Reading>): Settlement.Verdict =>
  Settlement.decide(
    {
      _tag: "Reported",
      reading: { usage: Usage.zero, model: "gpt-4o", tier: "default", items: 2, ...reading }
    },
    {
      ...{ reserved: quote.most, model: quote.model, tier: quote.price.tier, price: quote.price },
      ...{ regional: false, at, tools: quote.plan.tools }
    },
    pricing
  )

const nanoOf = (verdict: Settlement.Verdict): number => (verdict._tag === "Released" ? 0 : verdict.amount)

describe("what is booked", () => {
  const web = quoteOf({ tools: [{ type: "web_search_preview" }], max_tool_calls: 2 })
  const usage = Usage.make({ input: 1_000, output: 10, webSearches: 2 })

  it("has the fees of the searches that were made in it", () => {
    const verdict = settle(web, { usage })
    assert.strictEqual(verdict._tag, "Metered")
    assert.strictEqual(nanoOf(verdict), 1_000 * 2_500 + 10 * 10_000 + 2 * 25_000_000)
  })

  it("has the fees of the model that served", () => {
    // $5 and $15 a million, twice the price of the one that was asked for.
    const other = settle(web, { usage, model: "gpt-4o-2024-05-13" })
    assert.strictEqual(nanoOf(other), 1_000 * 5_000 + 10 * 15_000 + 2 * 25_000_000)
    const thinking = settle(web, { usage, model: "gpt-5.2" })
    assert.strictEqual(nanoOf(thinking), 1_000 * 1_750 + 10 * 14_000 + 2 * 10_000_000)
  })

  it("is the whole reservation where the response does not show what was called", () => {
    const verdict = settle(web, { usage, items: undefined })
    assert.deepStrictEqual([verdict._tag, nanoOf(verdict)], ["Assumed", web.most])
  })

  it("is the whole reservation where searches are billed that nobody asked for", () => {
    const plain = quoteOf({ input: "Hi. ".repeat(1_000) })
    const verdict = settle(plain, { usage })
    assert.deepStrictEqual([verdict._tag, nanoOf(verdict)], ["Assumed", plain.most])
  })

  it("is assumed for containers, with every session that may have been: no response tells them", () => {
    const quote = quoteOf({ tools: [auto], max_tool_calls: 2 })
    const verdict = settle(quote, { usage: Usage.make({ input: 1_000, output: 10 }) })
    assert.deepStrictEqual(
      [verdict._tag, nanoOf(verdict)],
      ["Assumed", 1_000 * 2_500 + 10 * 10_000 + 3 * 30_000_000]
    )
  })
})

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const types = ["web_search", "web_search_preview", "file_search", "code_interpreter", "mcp"] as const

describe("the law with hosted tools", () => {
  it.prop(
    "holds: no calls that the request allows cost more than its quote, on any model",
    {
      model: upTo(pricing.models.length - 1),
      tools: Schema.Array(Schema.Literals(types)),
      memory: Schema.Literals(["1g", "4g", "16g", "64g"]),
      limit: upTo(20),
      share: upTo(1_000),
      searches: upTo(10),
      isWhole: Schema.Boolean
    },
    ({ isWhole, limit, memory, model, searches, share, tools }) => {
      const row = pricing.models[model]
      if (row?.contextWindow === undefined || row.kind === "embedding" || /search|research/.test(row.id))
        return
      const calls = 1 + limit
      const container = { type: "auto", memory_limit: memory }
      const quote = quoteOf({
        model: row.id,
        tools: tools.map((type) => ({ type, container })),
        max_tool_calls: calls
      })
      const isHosted = tools.length > 0
      const part = (whole: number): number => (isWhole ? whole : Math.floor((whole * share) / 1_000))
      const has = (type: string): boolean => tools.some((each) => each.startsWith(type))
      const usage = Usage.make({
        input: isHosted ? part(row.contextWindow * (calls + 1)) : 1,
        output: part(100),
        // The calls are shared among the tools; what one takes is not there for another.
        webSearches: has("web_search") ? part(calls) * searches : 0,
        fileSearches: has("file_search") ? calls - (has("web_search") ? part(calls) : 0) : 0
      })
      const verdict = settle(quote, { usage, model: row.id })
      assert.isAtMost(nanoOf(verdict), quote.most)
      // Not by charging the whole: the usage has a price.
      if (!has("code_interpreter")) assert.strictEqual(verdict._tag, "Metered")
    },
    { arbitrary: { runs: 1_000, size: 30 } }
  )
})

const answer = (output: ReadonlyArray<JsonObject>): JsonObject => ({
  id: "resp_1",
  object: "response",
  model: "gpt-4o-2024-08-06",
  service_tier: "default",
  status: "completed",
  output,
  usage: { input_tokens: 8_000, output_tokens: 50, total_tokens: 8_050 }
})

const asking =
  (use: (client: OpenAI, session: BudgetedSession) => Promise<void>, respond: () => Response) =>
  async (): Promise<void> => {
    const session = new BudgetedSession({ budgetUsd: 5, toolFees: { fileSearch: "3" } })
    const plain = new OpenAI({ apiKey: "none", maxRetries: 0, fetch: stub(respond).fetch })
    try {
      await use(session.wrapOpenAI(plain), session)
      await settled(session)
    } finally {
      await session.close({ waitAtMost: 0 })
    }
  }

const body = {
  model: "gpt-4o",
  input: "News?",
  max_output_tokens: 100,
  max_tool_calls: 2,
  tools: [{ type: "web_search" as const }, { type: "file_search" as const, vector_store_ids: ["vs_1"] }]
}
const output = [search("a", "b"), call("file_search_call"), { type: "message", content: [] }]
/** Tokens at $2.50 and $10; two searches at $0.01 and one, by the session's own fee, at $0.003. */
const bill = 8_000 * 2_500 + 50 * 10_000 + 2 * 10_000_000 + 3_000_000

describe("a budgeted client with hosted tools", () => {
  it(
    "books tokens and fees of a whole answer",
    asking(
      async (client, session) => {
        await client.responses.create(body)
        await settled(session)
        assert.strictEqual(spentNano(session), bill)
        assert.strictEqual(assumedNano(session), 0)
        assert.strictEqual(session.getSummary().byModel["gpt-4o"]?.usage.webSearches, 2)
      },
      () => Response.json(answer(output))
    )
  )

  it(
    "books them from a stream as well",
    asking(
      async (client, session) => {
        for await (const _ of await client.responses.create({ ...body, stream: true }));
        await settled(session)
        assert.strictEqual(spentNano(session), bill)
      },
      () => events(sse({ type: "response.completed", response: answer(output) }))
    )
  )

  const booksWhole = async (client: OpenAI, session: BudgetedSession): Promise<void> => {
    for await (const _ of await client.responses.create({ ...body, stream: true }));
    await settled(session)
    const fees = 20 * 0.01 + 2 * 0.003
    assert.strictEqual(spentNano(session), Math.round((passes + fees) * 1e9))
    assert.strictEqual(assumedNano(session), spentNano(session))
  }

  it(
    "books the whole reservation of a stream that is cut, fees included",
    asking(booksWhole, () => events(sse({ type: "response.web_search_call.completed", item_id: "ws_1" })))
  )

  for (const status of ["completed", "incomplete", "failed"]) {
    it(
      `books the whole reservation where a ${status} response leaves out what it called`,
      asking(booksWhole, () =>
        events(
          sse(
            { type: "response.output_item.done", output_index: 0, item: search("a", "b") },
            { type: `response.${status}`, response: { ...answer([]), status } }
          )
        )
      )
    )
  }

  it.each<readonly [string, JsonObject, JsonObject]>([
    ["code", call("code_interpreter_call"), {}],
    ["code in a container of a shell", call("shell_call"), {}],
    ["a search", search("a"), {}],
    ["a drawing", call("image_generation_call"), {}],
    ["a drawing by its tokens", { type: "message", content: [] }, { image_gen: { total_tokens: 9_000 } }]
  ])("books the whole reservation where an earlier response brought the tool: %s", (_, item, tool_usage) =>
    asking(
      async (client, session) => {
        await client.responses.create({
          model: "gpt-4o",
          input: "And?",
          max_output_tokens: 100,
          previous_response_id: "resp_0"
        })
        await settled(session)
        assert.strictEqual(spentNano(session), 128_000 * 2_500 + 100 * 10_000)
        assert.strictEqual(assumedNano(session), spentNano(session))
      },
      () => Response.json({ ...answer([item]), tool_usage })
    )()
  )

  it(
    "is told to set the limit",
    asking(
      async (client) => {
        const refused = await client.responses
          .create({ ...body, max_tool_calls: null })
          .catch((e: unknown) => e)
        assert.strictEqual(BudgetError.find(refused)?.reason._tag, "UnboundedRequest")
        assert.include(String(refused), "Set max_tool_calls.")
      },
      () => Response.json(answer(output))
    )
  )
})

describe("Pricing.cost with calls", () => {
  const price = quoteOf({ tools: [{ type: "web_search" }], max_tool_calls: 1 }).price

  it("fails for calls without fees, and for what is no count", () => {
    const { toolFees: _, ...bare } = price
    const searched = Usage.make({ input: 1, webSearches: 1 })
    assert.isTrue(Result.isFailure(Pricing.cost(bare, searched)))
    assert.isTrue(Result.isFailure(Pricing.worst(bare, searched)))
    assert.isTrue(Result.isSuccess(Pricing.cost(price, searched)))
    for (const wrong of [-1, 0.5, NaN])
      assert.isTrue(Result.isFailure(Pricing.cost(price, Usage.make({ input: 1, webSearches: wrong }))))
  })

  it("is exact beyond the range of doubles", () => {
    // 600,000 searches at $0.01, and 1,600,000,001 tokens at $2.50 a million.
    const usage = Usage.make({ input: 1_600_000_001, webSearches: 600_000 })
    const cost = Result.getOrThrow(Pricing.cost(price, usage))
    assert.strictEqual(Usd.format(cost), "$10000.0000025")
  })
})
