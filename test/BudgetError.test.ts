import { assert, describe, it } from "@effect/vitest"
import { BudgetError, BudgetExceededError, Usd } from "agent-budget"
import { Cause, Effect, Exit, Schema } from "effect"
import OpenAI from "openai"

const amount = Usd.dollars("0.25")
const numbers = {
  account: "root/ann",
  limit: Usd.dollars("5"),
  spent: Usd.dollars("4.9"),
  reserved: Usd.dollars("0.075"),
  required: Usd.dollars("0.2"),
  waitedMillis: 0
}
const exceeded = new BudgetError.BudgetExceeded(numbers)

/** One of each, with the numbers and names that its message must tell, and the way out that it must name. */
const reasons: ReadonlyArray<readonly [BudgetError.Reason, ReadonlyArray<string>]> = [
  [
    exceeded,
    [
      '"root/ann"',
      "$0.20",
      "$0.025",
      "$5.00",
      "$4.90",
      "$0.075",
      "raise the limit",
      "set a lower output cap",
      "never fit",
      "Nothing was sent"
    ]
  ],
  [
    new BudgetError.BudgetExceeded({ ...numbers, nextWindow: 86_400_000 }),
    ["or wait for room", "the next window begins at 1970-01-02T00:00:00.000Z"]
  ],
  [
    new BudgetError.AccountPaused({ account: "ann", waitedMillis: 12.4 }),
    ['"ann"', "is paused", "12 ms", "Budget.resume", "ledger.resume", "Nothing was sent"]
  ],
  [
    new BudgetError.UnknownModel({ model: "my-model" }),
    ['"my-model"', "prices: {", "models: {", "Nothing was sent"]
  ],
  [
    new BudgetError.UnpricedTier({ model: "gpt-4", tier: "flex" }),
    ['"gpt-4"', '"flex"', "another tier", "Nothing was sent"]
  ],
  [
    new BudgetError.UnboundedRequest({
      endpoint: "POST /responses",
      detail: "background is true.",
      fix: "Leave it out."
    }),
    ["POST /responses", "background is true.", "Leave it out.", "Nothing was sent"]
  ],
  [
    new BudgetError.UnsupportedEndpoint({ method: "POST", path: "/videos" }),
    ["POST /videos", 'endpoints: { "POST /videos": { maxUsd: "..." } }', '"free"', "Nothing was sent"]
  ],
  [
    new BudgetError.NothingToQuote({ method: "GET", path: "/models", most: Usd.zero }),
    ["GET /models has no quote: it costs nothing.", "Send it without one"]
  ],
  [
    new BudgetError.NothingToQuote({ method: "POST", path: "/videos", most: Usd.dollars("0.5") }),
    ["POST /videos has no quote: it costs at most $0.50, by your own word.", "Send it without one"]
  ],
  [
    new BudgetError.UnsupportedTransport({ detail: "A socket.", fix: "Use HTTP." }),
    ["A socket.", "Use HTTP.", "nothing was sent"]
  ],
  [
    new BudgetError.MalformedRequest({ detail: "No JSON.", fix: "Send it." }),
    ["No JSON.", "Send it.", "Nothing was sent"]
  ],
  [
    new BudgetError.InvalidAmount({ detail: "The quote is NaN." }),
    ["The quote is NaN.", "exact to $0.000000001", "$9007199.254740991"]
  ],
  [
    new BudgetError.InvalidAccount({ account: "ann", detail: "it is not open." }),
    ['"ann"', "it is not open."]
  ],
  [
    new BudgetError.AccountConflict({ account: "ann", limit: amount, asked: null }),
    ['"ann"', "a limit of $0.25", "no limit", 'onLimitChange: "set"', "Budget.setLimit"]
  ],
  [
    new BudgetError.ReservationConflict({ reservation: "7", detail: "it was released." }),
    ["Reservation 7", "it was released."]
  ],
  [
    new BudgetError.LedgerUnavailable({ detail: "Refused." }),
    ["Refused.", "No call is admitted", "try again"]
  ],
  [
    new BudgetError.Unwritten({
      endings: [
        { reservation: "7", account: "ann", charge: { amount, verdict: "metered", label: "gpt-4o" } },
        { reservation: "8", account: "bob", charge: null }
      ]
    }),
    ['settle 7 on "ann" for $0.25 (metered)', 'release 8 on "bob"', "charged whole", "ledger.settle({ id: "]
  ],
  [
    new BudgetError.InvalidPrices({ row: 'model "x"', detail: "input is negative." }),
    ['model "x"', "input is negative."]
  ],
  [
    new BudgetError.StalePrices({ asOf: "2026-01-01", ageDays: 90, maxAgeDays: 30 }),
    ["2026-01-01", "90 days", "30", "Update agent-budget", "maxAge"]
  ],
  [
    new BudgetError.Closed({ detail: "The session is closed." }),
    ["The session is closed.", "Open a new session", "Nothing was sent"]
  ],
  [
    new BudgetError.InvalidOptions({ detail: 'tier is "cheap".' }),
    ['tier is "cheap".', "Correct them", "Nothing was opened"]
  ]
]
const encode = Schema.encodeSync(BudgetError.Reason)

/** A reason as it arrives from elsewhere: JSON, of no class. */
const sent = (reason: BudgetError.Reason): unknown => JSON.parse(JSON.stringify(encode(reason)))
const body = (reason: BudgetError.Reason) => ({
  error: { message: reason.message, type: "agent_budget_refusal", code: reason._tag, reason: sent(reason) }
})

const tagIn = (error: unknown): string | undefined => BudgetError.find(error)?.reason._tag

describe("BudgetError", () => {
  it("has a message for every reason that says what happened, its numbers, and what to do", () => {
    assert.strictEqual(
      new Set(reasons.map(([reason]) => reason._tag)).size,
      BudgetError.Reason.members.length
    )
    for (const [reason, words] of reasons) {
      for (const word of words) assert.include(reason.message, word)
      assert.strictEqual(BudgetError.because(reason).message, reason.message)
      assert.strictEqual(BudgetError.toThrown(BudgetError.because(reason)).message, reason.message)
    }
  })

  it("tells how long a call waited, and an overrun as less than nothing left", () => {
    const waited = new BudgetError.BudgetExceeded({
      ...numbers,
      spent: Usd.dollars("6"),
      waitedMillis: 1_500.4
    })
    assert.include(waited.message, "after waiting 1500 ms")
    assert.include(waited.message, "-$1.075 of $5.00 is left")
    // No cap is low enough for that.
    assert.isTrue(waited.message.endsWith("It can never fit: raise the limit."))
    assert.notInclude(exceeded.message, "waiting")
  })

  it("lists the first ends that could not be written, and says how many more there are", () => {
    const endings = Array.from({ length: 1_000 }, (_, id) => ({
      reservation: String(id),
      account: "root",
      charge: null
    }))
    const { message } = new BudgetError.Unwritten({ endings })
    assert.isBelow(message.length, 900)
    assert.include(message, "(1000)")
    assert.include(message, "and 990 more")
  })

  it("cuts and escapes hostile names", () => {
    const evil = `\u001b[2J\n\u009b31m\u202e\u2028\u200b"${"x".repeat(100_000)}\ud83d`
    const named = [
      new BudgetError.UnknownModel({ model: evil }),
      new BudgetError.UnpricedTier({ model: evil, tier: evil }),
      new BudgetError.UnsupportedEndpoint({ method: evil, path: evil }),
      new BudgetError.UnboundedRequest({ endpoint: evil, detail: "It.", fix: "Do." }),
      new BudgetError.InvalidAccount({ account: evil, detail: "it is not open." }),
      new BudgetError.AccountConflict({ account: evil, limit: null, asked: null }),
      new BudgetError.ReservationConflict({ reservation: evil, detail: "it was released." }),
      new BudgetError.Unwritten({ endings: [{ reservation: evil, account: evil, charge: null }] }),
      new BudgetError.BudgetExceeded({ ...numbers, account: evil })
    ]
    for (const { message } of named) {
      assert.isBelow(message.length, 900)
      assert.notMatch(message, /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u)
    }
    // A name cut in the middle of a character does not bring half of it.
    const { message } = new BudgetError.UnknownModel({ model: `${"x".repeat(79)}😀` })
    assert.isTrue(message.isWellFormed())
  })

  describe("find", () => {
    it("finds every reason itself, thrown, decoded from a body, and in a response's text", () => {
      for (const [reason] of reasons) {
        const error = BudgetError.because(reason)
        assert.strictEqual(BudgetError.find(error), error)
        assert.strictEqual(BudgetError.find(BudgetError.toThrown(error)), error)
        for (const told of [
          { status: 402, error: body(reason).error },
          { status: 402, ...body(reason) },
          { reason: sent(reason) },
          { responseBody: JSON.stringify(body(reason)) }
        ]) {
          const found = BudgetError.find(told)
          assert.deepStrictEqual(found?.reason, reason)
          assert.strictEqual(found?.message, reason.message)
        }
      }
    })

    it("finds a refusal in the OpenAI client's own error for a 402", () => {
      const error = OpenAI.APIError.generate(402, body(exceeded), undefined, new Headers())
      assert.isFalse(BudgetError.carrier in error)
      assert.strictEqual(tagIn(error), "BudgetExceeded")
      assert.isTrue(BudgetExceededError.is(error))
      const other = OpenAI.APIError.generate(
        402,
        { error: { message: "Pay.", code: "x" } },
        undefined,
        new Headers()
      )
      assert.isUndefined(BudgetError.find(other))
      assert.isFalse(BudgetExceededError.is(other))
    })

    it("follows causes, inner errors, reasons and aggregates", () => {
      const error = BudgetError.because(exceeded)
      let deep: unknown = error
      for (let level = 0; level < 100; level++) deep = new Error(`level ${level}`, { cause: deep })
      assert.strictEqual(BudgetError.find(deep), error)
      assert.strictEqual(
        BudgetError.find(new AggregateError([new Error("a"), { error: { reason: error } }])),
        error
      )
      const exit = Effect.runSyncExit(Effect.die(new Error("defect", { cause: error })))
      assert.isTrue(Exit.isFailure(exit) && BudgetError.find(Cause.squash(exit.cause)) === error)
    })

    it("takes the nearest one where there are several", () => {
      const near = BudgetError.because(new BudgetError.Closed({ detail: "Near." }))
      const far = new Error("far", { cause: BudgetError.because(exceeded) })
      assert.strictEqual(BudgetError.find(new AggregateError([far, near])), near)
    })

    it("ends on circles, in the time of one look at each error", () => {
      const circle: { cause?: unknown; error?: unknown; reason?: unknown; errors?: ReadonlyArray<unknown> } =
        {}
      circle.cause = circle.error = circle.reason = circle
      circle.errors = Array.from({ length: 64 }, () => circle)
      const branching = (): object => ({
        get errors() {
          return Array.from({ length: 64 }, branching)
        }
      })
      const before = performance.now()
      assert.isUndefined(BudgetError.find(circle))
      assert.isUndefined(BudgetError.find(branching()))
      assert.isBelow(performance.now() - before, 5_000)
    })

    it("takes nothing else for a refusal", () => {
      const error = BudgetError.because(exceeded)
      const throwing = Object.defineProperty(new Error("throws"), "cause", {
        get: () => {
          throw new Error("getter")
        }
      })
      const others: ReadonlyArray<unknown> = [
        undefined,
        null,
        "BudgetExceeded",
        402,
        () => error,
        throwing,
        new Error("plain"),
        { reason: { _tag: "BudgetExceeded" } },
        { reason: { ...encode(exceeded), _tag: "Unheard" } },
        {
          reason: {
            _tag: "BudgetExceeded",
            account: "a",
            limit: 0.5,
            spent: 0,
            reserved: 0,
            required: 0,
            waitedMillis: 0
          }
        },
        { responseBody: "not JSON" },
        { responseBody: JSON.stringify({ error: { reason: "stop" } }) },
        { [BudgetError.carrier]: "stolen" }
      ]
      for (const other of others) {
        assert.isUndefined(BudgetError.find(other))
        assert.isFalse(BudgetExceededError.is(other))
        assert.isFalse(BudgetError.BudgetRefusedError.is(other))
      }
    })

    it("knows the refusal of another copy of this module by its shape", () => {
      const foreign = Object.assign(new Error("from elsewhere"), {
        [BudgetError.carrier]: { _tag: "BudgetError", reason: sent(exceeded) }
      })
      assert.deepStrictEqual(BudgetError.find(foreign)?.reason, exceeded)
      assert.instanceOf(foreign, BudgetExceededError)
    })
  })

  describe("thrown", () => {
    it("is the kind that says what it is", () => {
      const full = BudgetError.toThrown(BudgetError.because(exceeded))
      assert.instanceOf(full, Error)
      assert.instanceOf(full, BudgetError.BudgetRefusedError)
      assert.instanceOf(full, BudgetExceededError)
      assert.strictEqual(full.name, "BudgetExceededError")
      assert.strictEqual(full.reason, exceeded)

      const unknown = BudgetError.toThrown(BudgetError.because(new BudgetError.UnknownModel({ model: "x" })))
      assert.strictEqual(unknown.name, "BudgetRefusedError")
      assert.isTrue(unknown instanceof BudgetError.BudgetRefusedError)
      assert.isFalse(unknown instanceof BudgetExceededError)
      assert.isFalse(BudgetExceededError.is(unknown))
      assert.isTrue(BudgetError.BudgetRefusedError.is(unknown))
    })

    it("is recognised in an error of any class that carries it, and not in another", () => {
      class ClientError extends Error {
        readonly [BudgetError.carrier] = BudgetError.because(exceeded)
      }
      assert.instanceOf(new ClientError(), BudgetExceededError)
      assert.instanceOf(new ClientError(), BudgetError.BudgetRefusedError)
      assert.notInstanceOf(new Error("other"), BudgetError.BudgetRefusedError)
      assert.notInstanceOf(new Error("other"), BudgetExceededError)
      for (const none of [null, undefined, "x"] as ReadonlyArray<unknown>)
        assert.isFalse(none instanceof BudgetExceededError)
    })

    it("is not an instance through a cause alone: that is what `is` is for", () => {
      const wrapped = new Error("agent failed", {
        cause: BudgetError.toThrown(BudgetError.because(exceeded))
      })
      assert.notInstanceOf(wrapped, BudgetExceededError)
      assert.isTrue(BudgetExceededError.is(wrapped))
    })
  })

  it.effect("is caught by its reason", () =>
    Effect.gen(function* () {
      const account = yield* Effect.fail(BudgetError.because(exceeded)).pipe(
        Effect.catchReason("BudgetError", "BudgetExceeded", (reason) => Effect.succeed(reason.account))
      )
      assert.strictEqual(account, "root/ann")
    })
  )
})
