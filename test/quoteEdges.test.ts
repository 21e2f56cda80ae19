/** Quotes at the edges of what they are made of: overrides, tiers that a host does not take, floors that are none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Host from "../src/Host.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Quote from "../src/Quote.ts"
import * as TokenCounter from "../src/TokenCounter.ts"

const pricing = await Effect.runPromise(Pricing.make())

const make = (
  path: string,
  body: unknown,
  options: Quote.Options = {},
  more: { readonly host?: Host.Host; readonly previous?: Quote.Lookup; readonly table?: typeof pricing } = {}
) => Quote.make(more.table ?? pricing, { method: "POST", path, body, at: 0, ...more }, options)

const quoted = (...request: Parameters<typeof make>): Quote.Quote => Result.getOrThrow(make(...request))

const whyOf = (...request: Parameters<typeof make>): object => {
  const made = make(...request)
  return Result.isFailure(made) ? made.failure.reason : assert.fail("it was quoted")
}

const chat = { model: "gpt-4o", messages: [] }
const hi = { model: "gpt-5.2", input: "hi", max_output_tokens: 9 }

describe("an endpoint that is overridden", () => {
  it("is refused for a maximum that is none, and has no quote where it is vouched for or free", () => {
    const of = (word: NonNullable<Quote.Options["endpoints"]>[string]) =>
      whyOf("/videos", {}, { endpoints: { "POST /videos": word } })
    assert.deepInclude(of({ maxUsd: "much" }), { _tag: "InvalidAmount" })
    assert.deepInclude(of({ maxUsd: "1" }), {
      _tag: "NothingToQuote",
      method: "POST",
      path: "/videos",
      most: 1_000_000_000
    })
    assert.deepInclude(of("free"), { _tag: "NothingToQuote", method: "POST", path: "/videos", most: 0 })
  })

  it("is not told to be vouched for where it is, or is free", () => {
    const of = (path: string, endpoints?: Quote.Options["endpoints"]) => {
      const made = make(path, {}, { endpoints })
      return Result.isFailure(made) ? made.failure.message : assert.fail("it was quoted")
    }
    const free = "has no quote: it costs nothing. Send it without one."
    assert.strictEqual(of("/moderations"), `POST /moderations ${free}`)
    assert.strictEqual(of("/videos", { "POST /videos": "free" }), `POST /videos ${free}`)
    assert.strictEqual(
      of("/videos", { "POST /videos": { maxUsd: "1" } }),
      "POST /videos has no quote: it costs at most $1.00, by your own word. Send it without one."
    )
  })

  it("is told how to be vouched for where it is not, and is then vouched for under any id", () => {
    const path = "/vector_stores/vs_1/search"
    const made = make(path, {})
    const said = Result.isFailure(made) ? made.failure.message : assert.fail("it was quoted")
    assert.include(
      said,
      `endpoints: { "POST ${path}": { maxUsd: "..." } } (* stands for one part of the path)`
    )
    const stated = { "POST /vector_stores/*/search": { maxUsd: "0.01" } }
    assert.strictEqual(OpenAiEndpoints.recognise("POST", path, stated)._tag, "Vouched")
  })
})

describe("a host that takes no tier", () => {
  const local = { host: Host.of(new URL("http://localhost:1234/v1")) }
  const tiers = (options: Quote.Options) =>
    quoted("/responses", hi, options, local).prices.map(({ tier }) => tier)

  it("is quoted at batch rates where those are vouched for, and at either of two where a tier is asked for", () => {
    assert.deepStrictEqual(tiers({}), ["standard"])
    assert.deepStrictEqual(tiers({ tier: "standard" }), ["standard"])
    assert.deepStrictEqual(tiers({ tier: "batch" }), ["batch"])
    assert.deepStrictEqual(tiers({ tier: "priority" }), ["standard", "priority"])
  })
})

describe("the tier that the project decides", () => {
  it("may be any that the model has, each once, in the order in which they are thought of", () => {
    const auto = (model: string) =>
      quoted("/responses", { ...hi, model, service_tier: "auto" }).prices.map(({ tier }) => tier)
    assert.deepStrictEqual(auto("gpt-5.2"), ["standard", "flex", "priority"])
    assert.deepStrictEqual(auto("gpt-4o"), ["standard", "priority"])
    assert.deepStrictEqual(auto("gpt-6.1-sol"), ["standard", "flex", "priority", "ultrafast"])
  })

  it("is standard where all cost the same", () => {
    const rates = { input: "1", output: "2" }
    const overrides = { even: { ...rates, tiers: { flex: rates, priority: rates } } }
    const table = Effect.runSync(Pricing.make({ bundled: false, overrides }))
    const quote = quoted("/responses", { ...hi, model: "even", service_tier: "auto" }, {}, { table })
    assert.deepStrictEqual([quote.prices.length, quote.price.tier], [3, "standard"])
  })
})

describe("settings of an uncapped call that cannot be", () => {
  it("are named with what is wrong and the range, as a session names them", () => {
    for (const [uncapped, what] of [
      [{ floor: 0 }, "floor is 0"],
      [{ floor: -1 }, "floor is -1"],
      [{ floor: 1.5 }, "floor is 1.5"],
      [{ floor: NaN }, "floor is NaN"],
      [{ floor: Infinity }, "floor is Infinity"],
      [{ share: 0 }, "share is 0"],
      [{ share: -0.5 }, "share is -0.5"],
      [{ share: 1.01 }, "share is 1.01"],
      [{ share: NaN, floor: 5 }, "share is NaN"]
    ] as const) {
      assert.deepInclude(whyOf("/chat/completions", chat, { uncapped }), {
        _tag: "UnboundedRequest",
        detail:
          `uncapped.${what}: ` +
          "a share is above 0 and at most 1, and a floor is a whole number of tokens, at least 1.",
        fix: "Set max_completion_tokens, or uncapped: { share, floor }."
      })
    }
  })
})

describe("the most output of a call without a cap", () => {
  const own = { input: "1", output: "2" }
  const table = Effect.runSync(
    Pricing.make({
      bundled: false,
      overrides: {
        apart: { ...own, contextWindow: 10_000, maxInput: 4_000, maxOutput: 8_000 },
        small: { ...own, contextWindow: 2_000, maxOutput: 500 },
        thinking: { ...own, maxOutput: 100_000, reasoning: true },
        full: { ...own, contextWindow: 3_000 }
      }
    })
  )
  const capOf = (model: string, input: string, uncapped?: Quote.Options["uncapped"]) => {
    const { cap } = quoted("/responses", { model, input }, { uncapped }, { table })
    return [cap?.least, cap?.most]
  }

  it("is the model's own, and no more than the input leaves of the window", () => {
    assert.deepStrictEqual(capOf("apart", "hi"), [1_024, 8_000])
    // Of more than 4,000 tokens nothing is taken: 6,000 are left at the least.
    assert.deepStrictEqual(capOf("apart", "w".repeat(9_000)), [1_024, 6_000])
    assert.deepStrictEqual(capOf("small", "hi"), [500, 500])
    assert.deepStrictEqual(capOf("thinking", "hi"), [4_096, 100_000])
  })

  it("is never below the floor, also where the input fills the window", () => {
    assert.deepStrictEqual(capOf("full", "w".repeat(9_000)), [1_024, 1_024])
    assert.deepStrictEqual(capOf("full", "w".repeat(9_000), "modelMaximum"), [1_024, 1_024])
    assert.deepStrictEqual(capOf("full", "w".repeat(9_000), { floor: 7 }), [7, 7])
  })
})

describe("a bound that no count betters", () => {
  const counter = Effect.runSync(TokenCounter.make())

  it("stays the quote that it is", async () => {
    const short = quoted("/responses", { ...hi, model: "gpt-4o" })
    const counted = await Effect.runPromise(Quote.countedBy(counter, short))
    assert.isAtMost(counted.input, short.input)
    assert.strictEqual(await Effect.runPromise(Quote.countedBy(counter, counted)), counted)
    // As much as is held already is no better.
    const same = { ...short, input: counted.input }
    assert.strictEqual(await Effect.runPromise(Quote.countedBy(counter, same)), same)
  })
})

describe("a quote that was counted", () => {
  const counter = Effect.runSync(TokenCounter.make())
  /** A counter that remembers what it was asked. */
  const asking = () => {
    const asked: Array<string> = []
    const count: typeof counter.count = (text, encoding) => {
      asked.push(text)
      return counter.count(text, encoding)
    }
    return { asked, counter: { ...counter, count } }
  }
  const remote = (tokens: number) => ({ count: () => Effect.succeed(tokens) })

  it("asks nobody again, whoever counted it", async () => {
    const text = "word ".repeat(1_000)
    const image = { type: "input_image", image_url: "https://example.com/a.png" }
    const content = [{ type: "input_text", text }, image]
    const quote = quoted("/responses", { model: "gpt-4o", input: [{ role: "user", content }] })
    const first = asking()
    const home = await Effect.runPromise(Quote.countedBy(first.counter, quote))
    assert.strictEqual(home.bound, "counted")
    assert.isNotEmpty(first.asked)
    const away = await Effect.runPromise(Quote.countedRemotelyBy(remote(1_100), counter, quote))
    assert.deepStrictEqual([away.bound, away.count], ["remote", 1_100])
    const again = asking()
    for (const each of [home, away]) {
      assert.strictEqual(await Effect.runPromise(Quote.countedBy(again.counter, each)), each)
    }
    assert.deepStrictEqual(again.asked, [])
  })

  it("by the provider alone holds that count, where nobody here knows how to count", async () => {
    const overrides = { mine: { input: "1", output: "2", contextWindow: 50_000 } }
    const table = Effect.runSync(Pricing.make({ bundled: false, overrides }))
    const quote = quoted("/responses", { model: "mine", input: "w".repeat(9_000) }, {}, { table })
    const away = await Effect.runPromise(Quote.countedRemotelyBy(remote(2_000), counter, quote))
    assert.deepStrictEqual([away.bound, away.input, away.margin], ["remote", 2_020 + 24, 20 + 24])
  })
})

describe("a follow-up of a response with images", () => {
  it("holds them beyond the window, which bounds the rest", () => {
    const previous = () => ({ model: "gpt-4o", tokens: 100, images: 40, reasoning: 0 })
    const followUp = { model: "gpt-4o", input: "And?", previous_response_id: "r", max_output_tokens: 9 }
    const quote = quoted("/responses", followUp, {}, { previous })
    assert.deepStrictEqual([quote.bound, quote.input], ["bytes", quote.plan.input.tokens + 100])
    const large = () => ({ model: "gpt-4o", tokens: 128_000, images: 40, reasoning: 0 })
    const window = quoted("/responses", followUp, {}, { previous: large })
    assert.deepStrictEqual([window.bound, window.input, window.margin], ["window", 128_040, 0])
  })
})

describe("an image that is given twice", () => {
  const image_url =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
  const inputOf = (part: object): number => {
    const input = [{ role: "user", content: [{ type: "input_image", ...part }] }]
    return quoted("/responses", { model: "gpt-4o-mini", max_output_tokens: 10, input }).input
  }

  it("by its bytes and by its id counts as the one that is not shown", () => {
    const unshown = inputOf({ file_id: "file_1" })
    assert.isAtLeast(inputOf({ file_id: "file_1", image_url }), unshown)
    assert.isBelow(inputOf({ image_url }), unshown)
    for (const file_id of [null, ""]) assert.isBelow(inputOf({ file_id, image_url }), unshown)
  })
})

describe("a model that reads what it searches for", () => {
  it("is refused by a message that quotes no more than the beginning of its name", () => {
    const model = `gpt-4o-search-preview ${"secret ".repeat(50)}`
    const made = make("/chat/completions", { ...chat, model })
    const message = Result.isFailure(made) ? made.failure.message : assert.fail("it was quoted")
    assert.include(message, "reads what it searches for")
    assert.isBelow(message.length, 300)
  })
})

describe("a model that makes embeddings", () => {
  const embedding = "text-embedding-3-small"
  const writing = {
    "/chat/completions": { messages: [{ role: "user", content: "hi" }], max_tokens: 9 },
    "/responses": { input: "hi", max_output_tokens: 9 },
    "/completions": { prompt: "hi", max_tokens: 9 }
  }
  const rows = { input: "1", output: "2" }
  const table = Effect.runSync(
    Pricing.make({ overrides: { own: rows, mine: { ...rows, kind: "embedding" } } })
  )

  it("has no quote where it would have to write, since that has no price", () => {
    for (const [path, body] of Object.entries(writing)) {
      for (const model of [embedding, "mine"]) {
        assert.deepInclude(whyOf(path, { ...body, model }, {}, { table }), {
          _tag: "UnboundedRequest",
          endpoint: `POST ${path}`,
          detail: "its model makes embeddings, and what it would write has no price.",
          fix: "Send it to POST /embeddings, or give its prices without a kind."
        })
      }
      const deployed = { models: { deployed: embedding } }
      assert.deepInclude(whyOf(path, { ...body, model: "deployed" }, deployed), { _tag: "UnboundedRequest" })
    }
  })

  it("has one for its own endpoint, and any other model for every endpoint: what it writes has a price", () => {
    for (const model of [embedding, "mine", "own"]) {
      assert.isAbove(quoted("/embeddings", { model, input: "hi" }, {}, { table }).most, 0)
    }
    for (const [path, body] of Object.entries(writing)) {
      for (const model of ["own", "gpt-4o", "gpt-3.5-turbo-instruct"]) {
        const quote = quoted(path, { ...body, model }, {}, { table })
        assert.isAbove(quote.most, Quote.inputCost(quote))
      }
    }
  })
})

describe("a quote that is admitted later", () => {
  const day = 86_400_000
  const february = Date.UTC(2027, 1, 20)
  const rising = {
    model: "gpt-6.2-sol",
    input: "hi",
    max_output_tokens: 9,
    service_tier: "ultrafast",
    tools: [{ type: "web_search" }],
    max_tool_calls: 1
  }
  const on = (host: string) =>
    Result.getOrThrow(
      Quote.make(pricing, {
        method: "POST",
        path: "/responses",
        body: rising,
        host: Host.of(new URL(host)),
        at: february
      })
    )
  const mostAt = (quote: Quote.Quote, days: number) =>
    Result.getOrThrow(Quote.admittedAt(quote, pricing, february + days * day)).most

  it.each(["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])(
    "costs what it did while the price is the same, its fees and the uplift of its region among it: %s",
    (host) => {
      const quote = on(host)
      for (const days of [1 / 24, 1, 2]) assert.strictEqual(mostAt(quote, days), quote.most)
      // The bundled table knows that this tier costs twice as much from the first of March on.
      const fees = 10 * 10_000_000
      assert.closeTo(mostAt(quote, 9) - fees, 2 * (quote.most - fees), 2)
    }
  )

  it("has the price of the day after its admission in it as well", () => {
    const quote = on("https://api.openai.com/v1")
    assert.strictEqual(mostAt(quote, 7.5), quote.most)
    assert.strictEqual(mostAt(quote, 8.5), mostAt(quote, 9))
  })
})
