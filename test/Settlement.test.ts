import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { type HostedTools, withFees } from "../src/internal/hostedTools.ts"
import type { Reading } from "../src/internal/wireUsage.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Settlement from "../src/Settlement.ts"
import * as Usage from "../src/Usage.ts"
import * as Usd from "../src/Usd.ts"

const pricing = await Effect.runPromise(Pricing.make())
const reserved = Usd.dollars("0.5")

const termsOf = (model: string, tier: Pricing.Tier = "standard"): Settlement.Terms => {
  const price = Result.getOrThrow(pricing.price(model, tier, { at: 0 }))
  return { reserved, model, tier, price, regional: false, at: 0 }
}

const usage = Usage.make({ input: 1_000, output: 100 })

/** What a call of 1,000 tokens in and 100 out costs, from USD per 1M tokens. */
const dollars = (input: number, output: number): Usd.Usd =>
  Usd.dollars((input * 1_000 + output * 100) / 1_000_000)

const decide = (
  terms: Settlement.Terms,
  model: string | undefined,
  tier: string | undefined,
  used: Usage.Usage = usage
): Settlement.Verdict =>
  Settlement.decide({ _tag: "Reported", reading: { usage: used, model, tier } }, terms, pricing)

/** The same, in the price's words: where the figures come from is the table's business. */
const costAt = (model: string, tier: Pricing.Tier): Usd.Usd =>
  Result.getOrThrow(Pricing.cost(Result.getOrThrow(pricing.price(model, tier, { at: 0 })), usage))

const assertMetered = (verdict: Settlement.Verdict, amount: Usd.Usd, model?: string): void => {
  if (verdict._tag !== "Metered") throw new Error(`${verdict._tag}: ${verdict.why}`)
  assert.strictEqual(verdict.amount, amount)
  if (model !== undefined) assert.strictEqual(verdict.model, model)
}

const assertWhole = (verdict: Settlement.Verdict, why?: string): void => {
  assert.strictEqual(verdict._tag, "Assumed")
  if (verdict._tag === "Assumed") assert.strictEqual(verdict.amount, reserved)
  if (why !== undefined) assert.deepInclude(verdict, { why })
}

describe("an attempt without a bill", () => {
  const terms = termsOf("gpt-4o")
  const ended = (outcome: Settlement.Outcome) => Settlement.decide(outcome, terms, pricing)

  it("costs nothing where it was never sent", () => {
    assert.strictEqual(ended({ _tag: "NotSent" })._tag, "Released")
  })

  it("costs nothing where the provider refused it, and is charged whole at every other status", () => {
    const refusals = new Set([400, 401, 403, 404, 413, 422, 429])
    for (let status = 100; status < 600; status++) {
      const verdict = ended({ _tag: "Answered", status })
      if (refusals.has(status)) assert.strictEqual(verdict._tag, "Released", String(status))
      else assertWhole(verdict)
    }
  })

  it("is charged whole where Azure refused it for what its content filter may have billed", () => {
    const azure = { ...terms, provider: "azure.ai.openai" }
    const at = (status: number) => Settlement.decide({ _tag: "Answered", status }, azure, pricing)
    assertWhole(at(400), "the provider answered 400")
    for (const status of [401, 403, 404, 413, 422, 429]) assert.strictEqual(at(status)._tag, "Released")
  })

  it("says why nothing is charged, or all", () => {
    const why = (outcome: Settlement.Outcome): string => {
      const verdict = ended(outcome)
      return verdict._tag === "Metered" ? "" : verdict.why
    }
    assert.strictEqual(why({ _tag: "NotSent" }), "nothing was sent")
    assert.strictEqual(why({ _tag: "Answered", status: 429 }), "the provider refused with 429")
    assert.strictEqual(why({ _tag: "Answered", status: 500 }), "the provider answered 500")
  })

  it("is charged whole where its bill was lost, and says why", () => {
    const verdict = ended({ _tag: "Lost", why: "the response was cut" })
    assertWhole(verdict)
    assert.deepInclude(verdict, { why: "the response was cut" })
  })

  it("is charged whole where an answer may have been held back once it was written", () => {
    const heldBack = new Set([400, 403, 422])
    for (const status of [400, 401, 403, 404, 413, 422, 429]) {
      const verdict = Settlement.decide({ _tag: "Answered", status }, { ...terms, heldBack: true }, pricing)
      if (heldBack.has(status)) assertWhole(verdict, `the provider answered ${status}`)
      else assert.strictEqual(verdict._tag, "Released", String(status))
    }
  })

  it("is decided alike where no price is at hand", () => {
    const outcomes: ReadonlyArray<Settlement.Outcome> = [
      { _tag: "NotSent" },
      { _tag: "Answered", status: 429 },
      { _tag: "Answered", status: 500 },
      { _tag: "Lost", why: "cut" }
    ]
    for (const outcome of outcomes) {
      assert.deepStrictEqual(Settlement.decideWhole(outcome, reserved), ended(outcome))
    }
    const reading = { usage, model: undefined, tier: undefined }
    assertWhole(Settlement.decideWhole({ _tag: "Reported", reading }, reserved), "its usage has no price")
  })
})

describe("a reported bill", () => {
  it("is the asked model's price, where the response names no other", () => {
    for (const model of [undefined, "gpt-4o", "gpt-4o-2024-08-06", "served-by-nobody"]) {
      assertMetered(decide(termsOf("gpt-4o"), model, "default"), dollars(2.5, 10), "gpt-4o")
    }
  })

  it("is that of what the user calls by the name that the response has", () => {
    const models = { "gpt-4o-mini": "gpt-5.2", house: "gpt-4o", odd: "served-by-nobody" }
    const named = (model: string): Settlement.Verdict =>
      decide({ ...termsOf("gpt-4o"), models }, model, "default")
    assertMetered(named("gpt-4o-mini"), costAt("gpt-5.2", "standard"), "gpt-5.2")
    assertMetered(named("gpt-4.1"), costAt("gpt-4.1", "standard"), "gpt-4.1")
    for (const model of ["house", "odd", "toString"]) assertMetered(named(model), dollars(2.5, 10), "gpt-4o")
  })

  it("is the price of the snapshot that served, above the reservation if need be", () => {
    const verdict = decide(
      { ...termsOf("gpt-4o"), reserved: Usd.dollars("0.0035") },
      "gpt-4o-2024-05-13",
      "default"
    )
    assertMetered(verdict, dollars(5, 15), "gpt-4o-2024-05-13")
  })

  it("is priced as it was quoted, whatever the table says by now", () => {
    const quoted = termsOf("gpt-4o")
    const price = { ...quoted.price, rates: { ...quoted.price.rates, input: 5_000_000 } }
    for (const model of [undefined, "gpt-4o"]) {
      assertMetered(decide({ ...quoted, price }, model, "default"), dollars(5, 10), "gpt-4o")
    }
  })

  it("is that of the tier that the response echoes; fast and priority are one", () => {
    const terms = termsOf("gpt-5.2")
    for (const word of ["default", "standard", "auto", undefined]) {
      assertMetered(decide(terms, "gpt-5.2-2025-12-11", word), costAt("gpt-5.2", "standard"))
    }
    for (const word of ["priority", "fast"]) {
      assertMetered(decide(terms, "gpt-5.2", word), costAt("gpt-5.2", "priority"))
    }
    assertMetered(decide(terms, "gpt-5.2", "flex"), costAt("gpt-5.2", "flex"))
    assert.isAbove(costAt("gpt-5.2", "priority"), costAt("gpt-5.2", "standard"))
    assert.isBelow(costAt("gpt-5.2", "flex"), costAt("gpt-5.2", "standard"))
  })

  it("of a flex call that was served as default is the dearer standard price", () => {
    assertMetered(decide(termsOf("gpt-5.2", "flex"), "gpt-5.2", "default"), costAt("gpt-5.2", "standard"))
    assertMetered(decide(termsOf("gpt-5.2", "flex"), "gpt-5.2", undefined), costAt("gpt-5.2", "flex"))
  })

  it("of a batch call ignores an echo of default, and believes a dearer one", () => {
    const terms = termsOf("gpt-5.2", "batch")
    for (const word of ["default", "auto", undefined]) {
      assertMetered(decide(terms, "gpt-5.2", word), costAt("gpt-5.2", "batch"))
    }
    assertMetered(decide(terms, "gpt-5.2", "priority"), costAt("gpt-5.2", "priority"))
  })

  it("is charged whole at a tier that nobody knows, or that has no price", () => {
    for (const word of ["scale", "DEFAULT", "", "constructor"]) {
      assertWhole(decide(termsOf("gpt-4o"), "gpt-4o", word), "the served tier has no price")
    }
    assert.isTrue(Result.isFailure(pricing.price("gpt-4o", "flex")))
    assertWhole(decide(termsOf("gpt-4o"), "gpt-4o", "flex"))
  })

  it("is charged whole where another model served, which is known, on a tier that it is not known to have", () => {
    assert.isTrue(Result.isFailure(pricing.price("gpt-4o", "flex")))
    for (const word of [undefined, "auto", "flex"]) {
      assertWhole(decide(termsOf("gpt-5.2", "flex"), "gpt-4o", word))
      assertMetered(decide(termsOf("gpt-5.2", "flex"), "nobody", word), costAt("gpt-5.2", "flex"))
    }
  })

  it("is charged whole where the response does not tell what it heard, or what it spoke", () => {
    const said = (terms: Partial<Settlement.Terms>, told: Partial<Reading>): Settlement.Verdict =>
      Settlement.decide(
        { _tag: "Reported", reading: { usage, model: undefined, tier: undefined, ...told } },
        { ...termsOf("gpt-audio"), ...terms },
        pricing
      )
    const why = "the response does not tell how much of it was audio"
    for (const tells of [undefined, false]) {
      assertWhole(said({ hears: true }, { tellsHeard: tells, tellsSpoken: true }), why)
      assertWhole(said({ speaks: true }, { tellsHeard: true, tellsSpoken: tells }), why)
      assertMetered(said({ hears: true }, { tellsHeard: true, tellsSpoken: tells }), dollars(2.5, 10))
      assertMetered(said({ speaks: true }, { tellsHeard: tells, tellsSpoken: true }), dollars(2.5, 10))
      assertMetered(said({ hears: false, speaks: false }, { tellsHeard: tells }), dollars(2.5, 10))
    }
  })

  it("is charged whole where its usage has no price, or makes no sense", () => {
    const terms = termsOf("gpt-4o")
    const unpriced = Usage.make({ input: 9, output: 9, audioOutput: 4 })
    assertWhole(decide(terms, "gpt-4o", "default", unpriced), "the reported usage has no price")
    assertWhole(decide(terms, "gpt-4o", "default", Usage.make({ input: 5, cacheWrite: 6 })))
    assertWhole(decide(terms, "gpt-4o", "default", Usage.make({ input: Number.MAX_SAFE_INTEGER })))
  })

  it("carries the uplift of a regional host to another tier and another snapshot", () => {
    const price = Result.getOrThrow(pricing.price("gpt-6.1-sol", "standard", { at: 0, regional: true }))
    const terms: Settlement.Terms = {
      reserved,
      model: "gpt-6.1-sol",
      tier: "standard",
      price,
      regional: true,
      at: 0
    }
    const plain = costAt("gpt-6.1-sol", "priority")
    assertMetered(decide(terms, "gpt-6.1-sol", "priority"), Usd.nanos(Math.ceil((plain * 11) / 10)))
  })
})

describe("a bill of cache writes", () => {
  const written = Usage.make({ input: 1_000, cacheWrite: 300, cacheWrite12h: 100, output: 100 })
  const bill = (longCache: boolean | undefined, splitsWrites: boolean | undefined, used = written) =>
    Settlement.decide(
      { _tag: "Reported", reading: { usage: used, model: undefined, tier: undefined, splitsWrites } },
      { ...termsOf("gpt-6.1-sol"), longCache },
      pricing
    )
  const usageOf = (verdict: Settlement.Verdict) => (verdict._tag === "Metered" ? verdict.usage : verdict._tag)

  // In dollars a million: $2 for the 600 that are neither, $2.50 for the 300, $5 for the 100, $10 for the output.
  const told = Usd.dollars((600 * 2 + 300 * 2.5 + 100 * 5 + 100 * 10) / 1_000_000)

  it("is priced as if all were kept for long, where the request may have asked for it and no answer tells", () => {
    for (const splits of [undefined, false]) {
      const verdict = bill(true, splits)
      assertMetered(verdict, Usd.dollars((600 * 2 + 400 * 5 + 100 * 10) / 1_000_000))
      assert.deepStrictEqual(usageOf(verdict), { ...written, cacheWrite: 0, cacheWrite12h: 400 })
    }
  })

  it("is priced as told where the answer tells, or the request did not ask for long", () => {
    for (const [long, splits] of [
      [true, true],
      [false, undefined],
      [undefined, undefined],
      [undefined, true]
    ] as const) {
      const verdict = bill(long, splits)
      assertMetered(verdict, told)
      assert.deepStrictEqual(usageOf(verdict), written)
    }
  })

  it("is that of any other call where nothing was written", () => {
    assert.deepStrictEqual(usageOf(bill(true, undefined, usage)), usage)
  })
})

describe("a bill of a call with hosted tools", () => {
  const tools: HostedTools = {
    calls: 1,
    webSearches: 10,
    fileSearches: 0,
    containers: 2,
    searchesBy: ["webSearch"],
    memory: ["1g"]
  }
  const model = pricing.find("gpt-4o")
  if (model === undefined) throw new Error("gpt-4o has no price")
  const plain = termsOf("gpt-4o")
  const withTools = (allowed: HostedTools): Settlement.Terms => ({
    ...plain,
    tools: allowed,
    price: Result.getOrThrow(withFees(plain.price, model, allowed, pricing.toolFees))
  })
  const searched = { ...usage, webSearches: 3 }
  const bill = (terms: Settlement.Terms, reading: Partial<Reading> = {}) => {
    const whole: Reading = { usage: searched, model: undefined, tier: undefined, items: 1, ...reading }
    return Settlement.decide({ _tag: "Reported", reading: whole }, terms, pricing)
  }
  const unasked = "the response called a tool that the request did not allow"
  /** 3 searches of the web at a cent, beside the tokens. */
  const searches = Usd.add(dollars(2.5, 10), Usd.dollars("0.03"))

  it("is that of its tokens and of the calls that were made", () => {
    assertMetered(bill(withTools({ ...tools, containers: 0, memory: [] })), searches)
  })

  it("is charged whole where the answer does not tell its items, and so not its calls", () => {
    const verdict = bill(withTools(tools), { items: undefined })
    assertWhole(verdict, "the response does not tell which tools were called")
  })

  it("has all sessions of containers that were held, which nobody tells, and is assumed then", () => {
    const verdict = bill(withTools(tools))
    assert.deepStrictEqual(verdict, {
      _tag: "Assumed",
      // Two at three cents.
      amount: Usd.add(searches, Usd.dollars("0.06")),
      why: "no response tells how many sessions of containers were billed"
    })
  })

  it("is charged whole where it has sessions of containers that nobody held, or a tier without a price", () => {
    assertWhole(bill(plain, { usage: { ...usage, containers: 1 } }), unasked)
    assertWhole(bill(withTools(tools), { tier: "flex" }), "the served tier has no price")
  })

  it("is charged whole where tools were called that the request had no fees for", () => {
    const none = { ...tools, webSearches: 0, containers: 0, searchesBy: [], memory: [] }
    for (const calls of [{ webSearches: 1 }, { fileSearches: 1 }, { containers: 1 }]) {
      assertWhole(bill(withTools(none), { usage: { ...usage, ...calls } }), unasked)
    }
    assertWhole(bill(withTools(tools), { isBilledBeyond: true }), unasked)
    assertWhole(bill(plain, { usage, isBilledBeyond: true }), unasked)
    for (const terms of [plain, withTools(none)]) {
      assertMetered(bill(terms, { usage, isBilledBeyond: false }), dollars(2.5, 10))
    }
  })

  it("is no less than its tokens cost, where those come to more than was reserved", () => {
    const little = { reserved: Usd.nanos(1) }
    const amounts = [
      bill({ ...withTools(tools), ...little }, { items: undefined }),
      bill({ ...plain, ...little }),
      bill({ ...plain, ...little }, { usage, isBilledBeyond: true }),
      bill({ ...plain, ...little, hears: true }, { usage })
    ].map((verdict) => (verdict._tag === "Assumed" ? verdict.amount : verdict._tag))
    assert.deepStrictEqual(new Set(amounts), new Set([dollars(2.5, 10)]))
  })

  it("has the fees of the tools at the price of whichever tier served", () => {
    const priority = Usd.add(costAt("gpt-4o", "priority"), Usd.dollars("0.03"))
    assertMetered(bill(withTools({ ...tools, containers: 0, memory: [] }), { tier: "priority" }), priority)
  })
})

describe("what fetch threw", () => {
  const code = (value: string, more: object = {}): object => ({ code: value, ...more })
  const failed = (cause: unknown): TypeError => new TypeError("fetch failed", { cause })

  it("proves that nothing was sent where nobody listens, or the name has no address", () => {
    for (const each of ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EAI_NODATA", "EAI_NONAME"]) {
      assert.isTrue(Settlement.neverSent(code(each)))
      assert.isTrue(Settlement.neverSent(failed(failed(failed(code(each))))))
    }
  })

  it("proves that nothing was sent where no connection came about, whatever stood in its way", () => {
    const certificates = ["DEPTH_ZERO_SELF_SIGNED_CERT", "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID"]
    for (const each of ["UND_ERR_CONNECT_TIMEOUT", ...certificates]) {
      assert.isTrue(Settlement.neverSent(failed(code(each))))
    }
    for (const each of ["ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT", "ECONNRESET"]) {
      assert.isTrue(Settlement.neverSent(failed(code(each, { syscall: "connect" }))))
      // On a connection that was there, the same may come after the request.
      for (const syscall of ["read", "write", undefined, 1]) {
        assert.isFalse(Settlement.neverSent(failed(code(each, { syscall }))))
      }
    }
    const some = [code("ENETUNREACH", { syscall: "connect" }), code("ECONNRESET", { syscall: "read" })]
    assert.isFalse(Settlement.neverSent(failed(new AggregateError(some))))
    assert.isFalse(Settlement.neverSent({ syscall: "connect" }))
  })

  it("proves nothing where bytes may have left", () => {
    for (const each of [
      "ECONNRESET",
      "EPIPE",
      "ETIMEDOUT",
      "UND_ERR_HEADERS_TIMEOUT",
      "UND_ERR_SOCKET",
      "ERR_X"
    ]) {
      assert.isFalse(Settlement.neverSent(failed(code(each))))
      // What a later step failed with does not say what an earlier one did.
      assert.isFalse(Settlement.neverSent(code(each, { cause: code("ECONNREFUSED") })))
    }
    for (const each of [undefined, null, "ECONNREFUSED", 1, new Error("ECONNREFUSED"), { code: 61 }, {}]) {
      assert.isFalse(Settlement.neverSent(each))
    }
  })

  it("is read past what only looks like a code, or like a list of attempts", () => {
    assert.isTrue(Settlement.neverSent({ code: 61, cause: code("ECONNREFUSED") }))
    assert.isTrue(Settlement.neverSent(code("ECONNREFUSED", { errors: "one" })))
  })

  it("proves it for many addresses only if every one of them was refused", () => {
    const both = new AggregateError([code("ECONNREFUSED"), failed(code("ENOTFOUND"))])
    assert.isTrue(Settlement.neverSent(failed(both)))
    const one = new AggregateError([code("ECONNREFUSED"), code("ECONNRESET")])
    assert.isFalse(Settlement.neverSent(failed(one)))
    // Node gives such an error the code of its first attempt.
    assert.isFalse(Settlement.neverSent(failed(Object.assign(one, { code: "ECONNREFUSED" }))))
    assert.isFalse(Settlement.neverSent(new AggregateError([])))
  })

  it("is not followed in circles", () => {
    const circle: { cause?: unknown } = {}
    circle.cause = circle
    assert.isFalse(Settlement.neverSent(circle))
    const list: { errors?: unknown } = {}
    list.errors = Array.from({ length: 1_000 }, () => list)
    assert.isFalse(Settlement.neverSent(list))
  })
})

describe("no report", () => {
  const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_000_000 }))
  it.prop(
    "is ever released: it is metered at its cost, or charged whole",
    {
      input: Count,
      output: Count,
      cachedInput: Count,
      cacheWrite: Count,
      audioInput: Count,
      audioOutput: Count,
      tier: Schema.Literals(["default", "flex", "fast", "ultrafast", "auto", "scale"]),
      asked: Schema.Literals(["gpt-4o", "gpt-5.2", "gpt-6.2-sol", "gpt-audio", "text-embedding-3-small"]),
      served: Schema.Literals(["gpt-4o-2024-05-13", "gpt-5.2", "nobody", ""])
    },
    ({ tier, asked, served, ...parts }) => {
      const asks = pricing.find(asked) === undefined ? "gpt-4o" : asked
      const verdict = decide(termsOf(asks), served, tier, Usage.make(parts))
      if (verdict._tag === "Metered") {
        const price = pricing.price(
          verdict.model,
          Settlement.tierOf(tier) === "auto" ? "standard" : tierFor(tier),
          { at: 0 }
        )
        assert.strictEqual(
          verdict.amount,
          Result.getOrThrow(Pricing.cost(Result.getOrThrow(price), Usage.make(parts)))
        )
      } else assertWhole(verdict)
    },
    { arbitrary: { runs: 2_000, size: 100 } }
  )
})

const tierFor = (word: string): Pricing.Tier =>
  word === "fast" ? "priority" : word === "flex" ? "flex" : word === "ultrafast" ? "ultrafast" : "standard"
