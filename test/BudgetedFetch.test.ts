import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetError,
  BudgetedFetch,
  BudgetedSession,
  BudgetRefusedError,
  Pricing,
  Usd
} from "agent-budget"
import { ConfigProvider, Effect, Layer, Logger, ManagedRuntime, Result, Schedule } from "effect"
import { getEventListeners } from "node:events"
import OpenAI from "openai"
import { vi } from "vitest"
import { collectGarbage } from "./utils/garbage.ts"
import {
  assertBooks,
  capped,
  failureOf,
  orThrown,
  hello,
  recordEvents,
  reservedNano,
  settled,
  spentNano,
  streamed,
  watchedLedger,
  withSession,
  type Setup,
  type Verdict
} from "./utils/openAi.ts"
import { Behaviours, Gate, type Behaviour } from "./utils/SimulatedProvider.ts"
import { answer, chat, chunk, delta, sse, stub } from "./utils/stubProvider.ts"
import { requestsReaching } from "./utils/untrusted.ts"

const whole = ({ client }: Setup) => client.chat.completions.create(capped)

/** The most that `capped` can cost: its bytes and framing as input, its cap as output. */
const reservationOf = async ({ session, client, provider }: Setup): Promise<number> => {
  const gate = new Gate()
  provider.next(Behaviours.heldHeaders(gate))
  const call = client.chat.completions.create(capped)
  await gate.reached(1)
  const reserved = reservedNano(session)
  gate.open()
  await call
  await settled(session)
  return reserved
}

const fails = (behaviour: Behaviour, verdict: Verdict, use = whole) =>
  withSession(async (setup) => {
    setup.provider.next(behaviour)
    await failureOf(use(setup))
    await assertBooks(setup, verdict)
  })

const answers = (behaviour: Behaviour, verdict: Verdict) =>
  withSession(async (setup) => {
    setup.provider.next(behaviour)
    await whole(setup)
    await assertBooks(setup, verdict)
  })

describe("what a failed attempt is charged: nothing", () => {
  it(
    "a call that the budget refuses",
    withSession(
      async (setup) => {
        await failureOf(whole(setup))
        assert.strictEqual(setup.provider.requests.length, 0)
        await assertBooks(setup, "nothing")
      },
      { budgetUsd: "0.00001" }
    )
  )

  it(
    "a signal that was aborted before the call",
    withSession(async (setup) => {
      const signal = AbortSignal.abort()
      await failureOf(setup.client.chat.completions.create(capped, { signal }))
      await failureOf(
        setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, {
          method: "POST",
          body: JSON.stringify(capped),
          signal
        })
      )
      assert.strictEqual(setup.provider.requests.length, 0)
      await assertBooks(setup, "nothing")
    })
  )

  for (const body of [capped, hello]) {
    it(`a signal that is aborted after the reservation and before the sending (${Object.keys(body).length} fields)`, async () => {
      const controller = new AbortController()
      const { ledger } = watchedLedger()
      const aborting: typeof ledger = {
        ...ledger,
        reserve: (request) => Effect.tap(ledger.reserve(request), () => Effect.sync(() => controller.abort()))
      }
      const run = withSession(
        async (setup) => {
          const call = setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, {
            method: "POST",
            body: JSON.stringify(body),
            signal: controller.signal
          })
          assert.strictEqual(await failureOf(call), controller.signal.reason)
          assert.strictEqual(setup.provider.requests.length, 0)
          await assertBooks(setup, "nothing")
        },
        { ledger: aborting }
      )
      await run()
    })
  }

  it(
    "bytes that are no text",
    withSession(async (setup) => {
      const url = `${setup.provider.baseURL}/chat/completions`
      const send = (body: Uint8Array<ArrayBuffer>) => setup.session.fetch(url, { method: "POST", body })
      assert.strictEqual((await send(new Uint8Array([0x7b, 0xff, 0x7d]))).status, 402)
      assert.strictEqual(setup.provider.requests.length, 0)
      await assertBooks(setup, "nothing")
      // Those that are one are priced as it.
      await (await send(new TextEncoder().encode(JSON.stringify(capped)))).json()
      await assertBooks(setup, "metered")
      // And go on as bytes, of which nobody says that they are plain text.
      await (await send(new TextEncoder().encode(JSON.stringify(hello)))).json()
      await assertBooks(setup, "metered")
      for (const { headers } of setup.provider.requests) assert.notProperty(headers, "content-type")
    })
  )

  it(
    "ECONNREFUSED, at each attempt",
    withSession(async (setup) => {
      await setup.provider.unplug()
      const error = await failureOf(setup.client.chat.completions.create(capped, { maxRetries: 1 }))
      assert.instanceOf(error, OpenAI.APIConnectionError)
      await assertBooks(setup, "nothing")
      await setup.provider.plug()
    })
  )

  it(
    "a name that has no address",
    withSession(async (setup) => {
      const raw = new OpenAI({ baseURL: "http://provider.invalid/v1", apiKey: "none", maxRetries: 0 })
      const error = await failureOf(setup.session.wrapOpenAI(raw).chat.completions.create(capped))
      assert.instanceOf(error, OpenAI.APIConnectionError)
      await assertBooks(setup, "nothing")
    })
  )

  it(
    "a server whose certificate is not trusted",
    withSession(async (setup) => {
      const reached = await requestsReaching(async (baseURL) => {
        const raw = new OpenAI({ baseURL, apiKey: "none", maxRetries: 1 })
        const error = await failureOf(setup.session.wrapOpenAI(raw).chat.completions.create(capped))
        assert.instanceOf(error, OpenAI.APIConnectionError)
      })
      assert.strictEqual(reached, 0)
      await assertBooks(setup, "nothing")
    })
  )

  for (const status of [400, 401, 403, 404, 413, 422, 429]) {
    it(`status ${status}`, fails(Behaviours.status(status), "nothing"))
  }

  it(
    "429 twice and then an answer: only the answer",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.rateLimited, Behaviours.rateLimited)
      await setup.client.chat.completions.create(capped, { maxRetries: 2 })
      assert.strictEqual(setup.provider.requests.length, 3)
      await assertBooks(setup, "metered")
    })
  )
})

describe("what a failed attempt is charged: the whole reservation", () => {
  for (const status of [300, 304, 402, 405, 408, 409, 418, 451, 499, 500, 502, 503, 504, 529]) {
    it(`status ${status}`, fails(Behaviours.status(status, { billed: true }), "assumed"))
  }

  it(
    "status 204",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.status(204, { billed: true, body: "" }))
      await whole(setup)
      await assertBooks(setup, "assumed")
    })
  )

  it(
    "status 200 with a body that is announced as empty, which the client does not read",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.status(200, { billed: true, body: "" }))
      await whole(setup)
      await assertBooks(setup, "assumed")
    })
  )

  it(
    "a redirect, which is not followed",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.redirect(`${setup.provider.baseURL}/chat/completions`))
      await failureOf(whole(setup))
      assert.strictEqual(setup.provider.requests.length, 1)
      await assertBooks(setup, "assumed")
    })
  )

  it(
    "each retry reserves anew: two failures are charged whole, the answer as metered",
    withSession(async (setup) => {
      const reserved = await reservationOf(setup)
      const before = spentNano(setup.session)
      const failed = Behaviours.status(500, { billed: true, headers: { "retry-after-ms": "1" } })
      setup.provider.next(failed, failed)
      await setup.client.chat.completions.create(capped, { maxRetries: 2 })
      await setup.provider.idle()
      await settled(setup.session)
      const calls = setup.provider.bill().calls
      assert.strictEqual(calls.length, 4)
      assert.strictEqual(spentNano(setup.session), before + 2 * reserved + Number(calls[3]?.nanoUsd))
      assert.isAtLeast(spentNano(setup.session), Number(setup.provider.bill().totalNanoUsd))
    })
  )

  it("a connection reset", fails(Behaviours.refuse, "assumed"))

  it(
    "a timeout before the headers",
    fails(Behaviours.hangBeforeHeaders, "assumed", ({ client }) =>
      client.chat.completions.create(capped, { timeout: 100 })
    )
  )

  it(
    "a timeout between headers and body",
    fails(Behaviours.hangAfterHeaders, "assumed", ({ client }) =>
      client.chat.completions.create(capped, { timeout: 100 })
    )
  )

  it(
    "an abort after the request went out",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.hangBeforeHeaders)
      const controller = new AbortController()
      const call = failureOf(setup.client.chat.completions.create(capped, { signal: controller.signal }))
      await setup.provider.arrived(1)
      controller.abort()
      assert.instanceOf(await call, OpenAI.APIUserAbortError)
      await assertBooks(setup, "assumed")
    })
  )

  it("a body that is cut by a reset", fails(Behaviours.cutBody(), "assumed"))
  it("a body that ends before its length", fails(Behaviours.cutBody("end"), "assumed"))
  it("a body that is not JSON", fails(Behaviours.malformedJson, "assumed"))

  const impossible: Readonly<Record<string, Behaviour>> = {
    missing: Behaviours.usageMissing,
    null: Behaviours.usageNull,
    negative: Behaviours.usageNegative,
    fractional: Behaviours.usageFractional,
    "a string": Behaviours.usageString,
    zero: Behaviours.usageZero,
    "an empty object": { reportUsage: () => ({}) },
    "a list": { reportUsage: () => [10, 20] },
    huge: { reportUsage: (honest) => ({ ...honest, completion_tokens: 1e300 }) }
  }
  for (const [name, behaviour] of Object.entries(impossible)) {
    it(`a usage that is ${name}`, answers(behaviour, "assumed"))

    it(
      `a stream whose usage is ${name}`,
      withSession(async (setup) => {
        setup.provider.next(behaviour)
        for await (const _ of await setup.client.chat.completions.create(streamed));
        await assertBooks(setup, "assumed")
      })
    )
  }

  for (const at of [0, 5, "usage"] as const) {
    for (const how of ["destroy", "end"] as const) {
      it(
        `a stream that breaks before its usage (${at}, ${how})`,
        withSession(async (setup) => {
          setup.provider.next(Behaviours.streamCut(at, how))
          const stream = await setup.client.chat.completions.create(streamed)
          await failureOf(
            (async () => {
              for await (const _ of stream);
              throw new Error("It ended.")
            })()
          )
          await assertBooks(setup, "assumed")
        })
      )
    }
  }

  for (const [name, body] of [
    ["an answer", capped],
    ["a stream", streamed]
  ] as const) {
    it(
      `a body whose reader leaves it, with no signal to tell of that (${name})`,
      withSession(async (setup) => {
        setup.provider.next(Behaviours.hangAfterHeaders)
        const response = await setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, {
          method: "POST",
          body: JSON.stringify(body)
        })
        await response.body?.cancel()
        await assertBooks(setup, "assumed")
      })
    )
  }

  it(
    "a stream with an error event",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.streamError(3))
      const stream = await setup.client.chat.completions.create(streamed)
      await failureOf(
        (async () => {
          for await (const _ of stream);
        })()
      )
      await assertBooks(setup, "assumed")
    })
  )
})

describe("what is charged as reported", () => {
  it(
    "an answer of a dearer model, under the name of what served",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.servedBy("gpt-4o-2024-05-13"))
      await whole(setup)
      await settled(setup.session)
      const { byModel } = setup.session.getSummary()
      assert.deepStrictEqual(Object.keys(byModel), ["gpt-4o-2024-05-13"])
    })
  )

  it("an answer", answers({}, "metered"))
  it("an answer with cached input", answers({ cachedTokens: 3 }, "metered"))
  it("an answer at another tier", answers({ tier: "priority" }, "metered"))

  it(
    "a stream that breaks after its usage",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.streamCut("done"))
      const stream = await setup.client.chat.completions.create(streamed)
      await (async () => {
        for await (const _ of stream);
      })().catch(() => undefined)
      await assertBooks(setup, "metered")
    })
  )

  for (const [name, behaviour] of [
    ["failed", Behaviours.failed],
    ["incomplete", Behaviours.incomplete("max_output_tokens")],
    ["filtered", Behaviours.incomplete("content_filter")]
  ] as const) {
    for (const stream of [true, false]) {
      it(
        `a response that is ${name}, with its usage (${stream ? "streamed" : "whole"})`,
        withSession(async (setup) => {
          setup.provider.next(behaviour)
          const body = { model: "gpt-4o-mini", input: "Hello", max_output_tokens: 100 }
          if (stream) {
            for await (const _ of await setup.client.responses.create({ ...body, stream: true }));
          } else await setup.client.responses.create(body)
          await assertBooks(setup, "metered")
        })
      )
    }
  }

  it(
    "embeddings and legacy completions",
    withSession(async (setup) => {
      await setup.client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two three"] })
      await setup.client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "Once", n: 2 })
      await assertBooks(setup, "metered")
    })
  )

  it("more than was reserved, where the server ignores the cap: an overrun, after which nothing is admitted", async () => {
    const run = withSession(
      async (setup) => {
        setup.provider.next(Behaviours.capsIgnored(2_000))
        await whole(setup)
        await assertBooks(setup, "metered")
        assert.isAbove(setup.session.getSummary().overrunUsd, 0)
        assert.isBelow(setup.session.getRemainingBudget(), 0)
        const error = await failureOf(whole(setup))
        assert.instanceOf(error, BudgetRefusedError)
        assert.strictEqual(setup.provider.requests.length, 1)
      },
      { budgetUsd: "0.001" }
    )
    // The one case in which an account may hold more than its limit: the bill said so.
    const error = await failureOf(run())
    assert.match(String(error), /root after settle/)
  })
})

describe("abandoned: drain", () => {
  const drain = { abandoned: "drain" } as const

  it(
    "a stream that is left early is read on, and booked as billed",
    withSession(async (setup) => {
      for await (const _ of await setup.client.chat.completions.create(streamed)) break
      await assertBooks(setup, "metered")
      assert.strictEqual(setup.provider.bill().calls[0]?.usage.output, 20)
    }, drain)
  )

  it(
    "a stream that is aborted is read on, and booked as billed",
    withSession(async (setup) => {
      const controller = new AbortController()
      const stream = await setup.client.chat.completions.create(streamed, { signal: controller.signal })
      for await (const _ of stream) controller.abort()
      await assertBooks(setup, "metered")
    }, drain)
  )

  it(
    "a call that is aborted before its headers frees its caller at once, and is booked as billed",
    withSession(async (setup) => {
      const gate = new Gate()
      setup.provider.next(Behaviours.heldHeaders(gate))
      const controller = new AbortController()
      const call = failureOf(setup.client.chat.completions.create(capped, { signal: controller.signal }))
      await gate.reached(1)
      controller.abort()
      assert.instanceOf(await call, OpenAI.APIUserAbortError)
      assert.isAbove(reservedNano(setup.session), 0)
      gate.open()
      await assertBooks(setup, "metered")
    }, drain)
  )

  it(
    "a body that is aborted while it is read frees its reader at once",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.hangAfterHeaders)
      const controller = new AbortController()
      const response = await setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, {
        method: "POST",
        body: JSON.stringify(capped),
        signal: controller.signal
      })
      const text = failureOf(response.text())
      controller.abort()
      assert.strictEqual(await text, controller.signal.reason)
      await setup.provider.unplug()
      await assertBooks(setup, "assumed")
      await setup.provider.plug()
    }, drain)
  )

  it(
    "a connection that breaks after its caller has left is charged whole",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.hangBeforeHeaders)
      const controller = new AbortController()
      const call = failureOf(setup.client.chat.completions.create(capped, { signal: controller.signal }))
      await setup.provider.arrived(1)
      controller.abort()
      await call
      assert.isAbove(reservedNano(setup.session), 0)
      await setup.provider.unplug()
      await assertBooks(setup, "assumed")
      await setup.provider.plug()
    }, drain)
  )

  for (const [where, behaviour] of [
    ["before the headers", Behaviours.hangBeforeHeaders],
    ["in the body", Behaviours.hangAfterHeaders]
  ] as const) {
    it(
      `what hangs ${where} is given up after a minute, and charged whole`,
      withSession(async (setup) => {
        setup.provider.next(behaviour)
        const controller = new AbortController()
        const read = async () => {
          const init = { method: "POST", body: JSON.stringify(capped), signal: controller.signal }
          return (await setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, init)).text()
        }
        const call = failureOf(read())
        await setup.provider.arrived(1)
        await new Promise((resolve) => setTimeout(resolve, 30))
        vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
        try {
          controller.abort()
          assert.strictEqual(await call, controller.signal.reason)
          await vi.advanceTimersByTimeAsync(59_000)
          assert.isAbove(reservedNano(setup.session), 0)
          assert.isFalse(setup.provider.requests[0]?.aborted)
          await vi.advanceTimersByTimeAsync(2_000)
        } finally {
          vi.useRealTimers()
        }
        await assertBooks(setup, "assumed")
        assert.isTrue(setup.provider.requests.every(({ aborted }) => aborted))
      }, drain)
    )
  }

  it(
    "a stream without usage is charged whole",
    withSession(async (setup) => {
      setup.provider.next(Behaviours.streamCut("usage"))
      for await (const _ of await setup.client.chat.completions.create(streamed)) break
      await assertBooks(setup, "assumed")
    }, drain)
  )
})

describe("make", () => {
  const Needs = Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)

  it.effect("sends nothing, and charges nothing, for a caller that left as its cap was written", () =>
    Effect.gen(function* () {
      const controller = new AbortController()
      const budget = yield* Budget.Budget
      let sent = 0
      const fetch = yield* BudgetedFetch.make({
        fetch: () => {
          sent++
          return Promise.resolve(Response.json({}))
        }
      }).pipe(
        Effect.provideService(Budget.Budget, {
          ...budget,
          capped: () => Effect.sync(() => controller.abort())
        })
      )
      const init = { method: "POST", body: JSON.stringify(hello), signal: controller.signal }
      const error = yield* Effect.promise(() =>
        failureOf(fetch("https://api.openai.com/v1/chat/completions", init))
      )
      assert.strictEqual(error, controller.signal.reason)
      assert.strictEqual(sent, 0)
      const { spent, reserved, calls } = budget.view()
      assert.deepStrictEqual([spent, reserved, calls], [0, 0, 0])
    }).pipe(Effect.provide(Needs))
  )

  it.effect("settles the moment its caller leaves, also over a fetch that heeds no signal", () =>
    Effect.gen(function* () {
      const controller = new AbortController()
      const budget = yield* Budget.Budget
      const fetch = yield* BudgetedFetch.make({ fetch: () => new Promise(() => undefined) })
      const init = { method: "POST", body: JSON.stringify(capped), signal: controller.signal }
      void fetch("https://api.openai.com/v1/chat/completions", init)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      const { reserved } = budget.view()
      assert.isAbove(reserved, 0)
      controller.abort()
      const after = budget.view()
      assert.deepStrictEqual([after.spent, after.reserved, after.calls], [reserved, 0, 1])
    }).pipe(Effect.provide(Needs))
  )

  it.effect("throws a refusal where asked to, by its own options or the policy", () =>
    Effect.gen(function* () {
      const policy = BudgetedFetch.layer({ refusal: "throw" })
      for (const make of [
        BudgetedFetch.make({ refusal: "throw" }),
        Effect.provide(BudgetedFetch.make(), policy)
      ]) {
        const fetch = yield* make
        const call = fetch("https://api.openai.com/v1/videos", { method: "POST", body: "{}" })
        assert.instanceOf(yield* Effect.promise(() => failureOf(call)), BudgetRefusedError)
      }
    }).pipe(Effect.provide(Needs))
  )

  it.effect.each<readonly [object, string]>([
    [{ tier: "fexl" }, "tier"],
    [{ abandoned: "drian" }, "abandoned"],
    [{ refusal: "thrown" }, "refusal"],
    [{ inputBound: "count" }, "inputBound"],
    [{ uncapped: "max" }, "uncapped"],
    [{ uncapped: { share: 2 } }, "uncapped.share is 2"],
    // As a text it would admit each field whose name is a part of it.
    [{ allow: "user_location" }, "allow"],
    [{ models: ["gpt-4o"] }, "models"],
    [{ endpoints: { "POST /responses": "free" } }, "is priced by its model"],
    [{ hosts: { "llm.example.com": { takesTiers: true } } }, "takesTiers"]
  ])("has no policy of %o, which says what is wrong with it", ([policy, detail]) =>
    Effect.gen(function* () {
      for (const Policy of [BudgetedFetch.layer(policy), BudgetedFetch.layerConfig(policy)]) {
        const error = yield* Effect.flip(Layer.build(Policy))
        assert.instanceOf(error, BudgetError.BudgetError)
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.include(error.message, detail)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("answers a refusal by a 402 that tells the reason", () =>
    Effect.gen(function* () {
      const fetch = yield* BudgetedFetch.make()
      const response = yield* Effect.promise(() =>
        fetch("https://api.openai.com/v1/videos", { method: "POST", body: "{}" })
      )
      assert.strictEqual(response.status, 402)
      assert.strictEqual(response.headers.get("x-should-retry"), "false")
      assert.isTrue(BudgetRefusedError.is(response))
      const body: unknown = JSON.parse(yield* Effect.promise(() => response.text()))
      assert.isTrue(BudgetRefusedError.is({ responseBody: JSON.stringify(body) }))
    }).pipe(Effect.provide(Needs))
  )

  it.effect("reads its policy from the environment, on top of the defaults", () =>
    Effect.gen(function* () {
      const policy = yield* BudgetedFetch.Policy
      assert.deepStrictEqual(policy, { tier: "flex", abandoned: "drain", uncapped: "refuse", allow: ["x"] })
    }).pipe(
      Effect.provide(BudgetedFetch.layerConfig({ tier: "priority", allow: ["x"] })),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({
          AGENT_BUDGET_TIER: "flex",
          AGENT_BUDGET_ABANDONED: "drain",
          AGENT_BUDGET_UNCAPPED: "refuse"
        })
      )
    )
  )

  it.effect("fails on an environment that says what it does not know, naming the variable", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(BudgetedFetch.layerConfig())).pipe(
          Effect.provideService(
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromUnknown({ AGENT_BUDGET_TIER: "gold" })
          )
        )
      )
      assert.match(String(error), /AGENT_BUDGET_TIER/)
    })
  )
})

describe("one signal for many calls", () => {
  for (const abandoned of ["assume", "drain"] as const) {
    it(
      `no listener stays on it after 100 calls of each kind (${abandoned})`,
      withSession(
        async ({ provider }) => {
          const runtime = ManagedRuntime.make(
            Layer.mergeAll(
              Budget.layerMemory({ limit: Usd.dollars("10") }),
              Pricing.layer,
              BudgetedFetch.layer({ abandoned })
            )
          )
          // The platform's fetch leaves a listener until its request is collected: it is given no signal here.
          const bare: BudgetedFetch.Fetch = (input, init) =>
            globalThis.fetch(input, { ...init, signal: null })
          const fetch = await runtime.runPromise(
            BudgetedFetch.make({ fetch: bare, baseURL: provider.baseURL, refusal: "throw" })
          )
          const { signal } = new AbortController()
          const url = `${provider.baseURL}/chat/completions`
          const init = { method: "POST", body: JSON.stringify(capped), signal }
          const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
          const timersBefore = timers()
          let most = 0
          for (let call = 0; call < 100; call++) {
            const answer = await fetch(url, init)
            most = Math.max(most, getEventListeners(signal, "abort").length)
            await answer.json()
            const half = await fetch(url, { ...init, body: JSON.stringify(streamed) })
            await half.body?.cancel()
            provider.next(Behaviours.status(400))
            await (await fetch(url, init)).text()
            provider.next(Behaviours.refuse)
            await failureOf(fetch(url, init))
            await failureOf(fetch(`${provider.baseURL}/videos`, init))
          }
          assert.isAbove(most, 0, "the control: a call in flight listens")
          await provider.idle()
          await runtime.runPromise(
            Effect.repeat(Budget.summary, {
              until: ({ reserved }) => reserved === 0,
              schedule: Schedule.spaced(1)
            })
          )
          assert.strictEqual(getEventListeners(signal, "abort").length, 0)
          await runtime.dispose()
          assert.isAtMost(timers(), timersBefore)
        },
        { abandoned, budgetUsd: 10 }
      )
    )
  }

  it(
    "no listener stays on a signal handed to the client",
    withSession(async ({ client, session }) => {
      const { signal } = new AbortController()
      for (let call = 0; call < 100; call++) {
        await client.chat.completions.create(capped, { signal })
        for await (const _ of await client.chat.completions.create(streamed, { signal })) break
      }
      await settled(session)
      assert.strictEqual(getEventListeners(signal, "abort").length, 0)
    })
  )

  it(
    "an abort after the answer was read does nothing",
    withSession(async (setup) => {
      const controller = new AbortController()
      const response = await setup.session.fetch(`${setup.provider.baseURL}/chat/completions`, {
        method: "POST",
        body: JSON.stringify(capped),
        signal: controller.signal
      })
      assert.isNotNull(response.body)
      await response.json()
      controller.abort()
      await assertBooks(setup, "metered")
    })
  )
})

describe("waiting for room", () => {
  it(
    "callers that go away while they wait, or as room comes, leave nothing reserved",
    withSession(
      async (setup) => {
        const { client, session, provider } = setup
        const calls = Array.from({ length: 120 }, async (_, index) => {
          const controller = new AbortController()
          const call = client.chat.completions.create(capped, { signal: controller.signal })
          // A third leaves in line, a third at some step of its turn, a third stays.
          if (index % 3 === 0) controller.abort()
          if (index % 3 === 1) setTimeout(() => controller.abort(), index % 17)
          return call
        })
        const results = await Promise.allSettled(calls)
        await provider.idle()
        await settled(session)
        assert.strictEqual(reservedNano(session), 0)
        assert.isAtLeast(results.filter(({ status }) => status === "fulfilled").length, 40)
        assert.isAtLeast(spentNano(session), Number(provider.bill().totalNanoUsd))
      },
      { onExceeded: "wait", budgetUsd: "0.02" }
    )
  )
})

describe("a fetch below a fetch", () => {
  it(
    "session.fetch over session.fetch, and a closure that calls session.fetch, are charged once",
    withSession(async (setup) => {
      const { session, provider } = setup
      const through = (fetch: typeof globalThis.fetch) =>
        session.wrapOpenAI(new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0, fetch }))
      await through(session.fetch).chat.completions.create(hello)
      await through((input, init) => session.fetch(input, init)).chat.completions.create(hello)
      assert.strictEqual(session.getSummary().calls, 2)
      await assertBooks(setup, "metered")
    })
  )

  it(
    "bytes over session.fetch are charged once, and once more where they are not what was priced",
    withSession(async (setup) => {
      const { session, provider } = setup
      const bytesOf = ({ body }: RequestInit): Uint8Array =>
        body instanceof Uint8Array ? body : assert.fail("It was expected to be bytes.")
      const sent = async (between: (init: RequestInit) => RequestInit): Promise<void> => {
        const fetch: BudgetedFetch.Fetch = (input, init = {}) => session.fetch(input, between(init))
        const over = await Effect.runPromise(Effect.provide(BudgetedFetch.make({ fetch }), session.layer))
        const body = new TextEncoder().encode(JSON.stringify(capped))
        await (await over(`${provider.baseURL}/chat/completions`, { method: "POST", body })).json()
      }
      await sent((init) => init)
      await sent((init) => ({ ...init, body: bytesOf(init).slice() }))
      await sent((init) => ({ ...init, body: new TextDecoder().decode(bytesOf(init)) }))
      await assertBooks(setup, "metered")
      assert.strictEqual(session.getSummary().calls, 3)
      // A higher cap, written into the bytes themselves.
      await sent((init) => {
        const body = bytesOf(init)
        body[new TextDecoder().decode(body).indexOf("100")] = "9".charCodeAt(0)
        return init
      })
      await settled(session)
      assert.strictEqual(session.getSummary().calls, 5)
    })
  )

  it(
    "a fetch of the user's that sends twice through the session pays twice",
    withSession(async (setup) => {
      const { session, provider } = setup
      const twice = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
        await (await session.fetch(input, init)).text()
        return session.fetch(input, init)
      }
      const raw = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0, fetch: twice })
      await session.wrapOpenAI(raw).chat.completions.create(capped)
      await provider.idle()
      await settled(session)
      assert.strictEqual(provider.bill().calls.length, 2)
      assert.strictEqual(spentNano(session), Number(provider.bill().totalNanoUsd))
    })
  )

  it(
    "a global fetch that goes through the session is charged once, also below a client that has it as its own",
    withSession(async (setup) => {
      const { provider, session } = setup
      const { fetch } = session
      vi.stubGlobal("fetch", (input: string | URL | Request, init?: RequestInit) => fetch(input, init))
      try {
        const plain = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 })
        await plain.chat.completions.create(capped)
        await session.wrapOpenAI(plain).chat.completions.create(capped)
      } finally {
        vi.unstubAllGlobals()
      }
      assert.strictEqual(session.getSummary().calls, 2)
      await assertBooks(setup, "metered")
    })
  )

  it(
    "a refusal of another session below leaves nothing charged, a retry below that was refused does",
    withSession(async (setup) => {
      const { provider, session } = setup
      const host = new URL(provider.origin).host
      const poor = new BudgetedSession({ budgetUsd: "0.000001", hosts: { [host]: {} } })
      const raw = new OpenAI({
        baseURL: provider.baseURL,
        apiKey: "none",
        maxRetries: 0,
        fetch: poor.fetch
      })
      const error = await failureOf(session.wrapOpenAI(raw).chat.completions.create(capped))
      assert.isTrue(BudgetRefusedError.is(error))
      await assertBooks(setup, "nothing")

      const sly = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
        await (await fetch(input, init)).text()
        return poor.fetch(input, init)
      }
      const client = session.wrapOpenAI(
        new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0, fetch: sly })
      )
      await failureOf(client.chat.completions.create(capped))
      await assertBooks(setup, "assumed")
      await poor.close()
    })
  )
})

describe("refusals are told once", () => {
  it(
    "each is one in the summary and one event",
    withSession(async (setup) => {
      const events = recordEvents(setup.session)
      await failureOf(orThrown(setup.session.fetch(`${setup.provider.baseURL}/videos`, { method: "POST" })))
      await failureOf(setup.client.chat.completions.create({ ...capped, max_completion_tokens: 1e9 }))
      await new Promise((resolve) => setTimeout(resolve, 5))
      assert.strictEqual(setup.session.getSummary().refused, 2)
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["Refused", "Refused"]
      )
    })
  )
})

describe("an answer that was paid for reaches its caller", () => {
  const body = JSON.stringify(capped)
  const answering = (): Promise<Response> => Promise.resolve(Response.json(answer))

  /** What is logged while `fetch` is asked over services of one's own, and what it answers. */
  const asked = <E>(services: Layer.Layer<Budget.Budget | Pricing.Pricing, E>, logged: Array<string>) =>
    Effect.gen(function* () {
      const fetch = yield* BudgetedFetch.make({ fetch: answering })
      return yield* Effect.promise(async (): Promise<unknown> =>
        (await fetch(chat, { method: "POST", body })).json()
      )
    }).pipe(
      Effect.provide([
        services,
        Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
      ])
    )

  const bug = (): never => {
    throw new Error("a bug")
  }

  const memory = Budget.layerMemory({ limit: Usd.dollars("1") })

  it.effect("whatever a budget of the user's throws as it ends", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const Dying = Layer.effect(
        Budget.Budget,
        Effect.map(Budget.Budget, (budget) => Budget.Budget.of({ ...budget, settle: bug }))
      )
      const services = Layer.merge(Layer.provide(Dying, memory), Pricing.layer)
      assert.deepStrictEqual(yield* asked(services, logged), answer)
      assert.strictEqual(logged.length, 1)
      assert.match(String(logged[0]), /^The end of a call died, which had \$0\.\d+ reserved/)
    })
  )

  it.effect("whatever prices of the user's throw as it is billed: all that it holds is charged", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      let isAnswered = false
      const Dying = Layer.effect(
        Pricing.Pricing,
        Effect.map(Pricing.Pricing, (pricing) =>
          Pricing.Pricing.of({
            ...pricing,
            price: (...given) => (isAnswered ? bug() : pricing.price(...given))
          })
        )
      )
      const services = yield* Layer.build(Layer.merge(memory, Layer.provide(Dying, Pricing.layer)))
      yield* Effect.gen(function* () {
        const served = { ...answer, model: "gpt-4o" }
        const fetch = yield* BudgetedFetch.make({ fetch: () => Promise.resolve(Response.json(served)) })
        const response = yield* Effect.promise(() => fetch(chat, { method: "POST", body }))
        isAnswered = true
        assert.deepStrictEqual(yield* Effect.promise(() => response.json()), served)
        const { byModel, reserved, spent } = yield* Budget.summary
        assert.strictEqual(reserved, 0)
        assert.isAbove(spent, 0)
        assert.strictEqual(byModel["gpt-4o-mini"]?.assumed, spent)
      }).pipe(
        Effect.provideContext(services),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))]))
      )
      assert.strictEqual(logged.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("and what throws before it is sent holds nothing", () =>
    Effect.gen(function* () {
      let calls = 0
      let sent = 0
      // The price of the moment of admission, where two may be served, is asked for last.
      const Dying = Layer.effect(
        Pricing.Pricing,
        Effect.map(Pricing.Pricing, (pricing) =>
          Pricing.Pricing.of({
            ...pricing,
            price: (model, tier, options) => {
              if (++calls > 2) return bug()
              return Result.map(pricing.price(model, tier, options), (price) => ({ ...price }))
            }
          })
        )
      )
      yield* Effect.gen(function* () {
        const fetch = yield* BudgetedFetch.make({
          fetch: () => {
            sent++
            return answering()
          }
        })
        const failure = yield* Effect.promise(() => failureOf(fetch(chat, { method: "POST", body })))
        assert.strictEqual(String(failure), "Error: a bug")
        assert.strictEqual(sent, 0)
        assert.strictEqual((yield* Budget.summary).reserved, 0)
      }).pipe(Effect.provide(Layer.merge(memory, Layer.provide(Dying, Pricing.layer))))
    })
  )
})

describe("what a call keeps while its answer comes", () => {
  /** What the heap holds, in bytes, once all that nobody holds is gone. */
  const held = (): number => {
    collectGarbage()
    return process.memoryUsage().heapUsed
  }

  it("is not its request: many streams of large prompts may be open", async () => {
    const calls = 20
    const megabyte = 1_000_000
    const begun = new TextEncoder().encode(sse(chunk(delta)))
    const begins = stub(
      () =>
        new Response(new ReadableStream({ start: (controller) => controller.enqueue(begun) }), {
          headers: { "content-type": "text/event-stream" }
        })
    )
    await using session = new BudgetedSession({ budgetUsd: 1_000 })
    // What a stub writes down would be kept by it.
    const fetch: BudgetedFetch.Fetch = (url) => begins.fetch(url)
    const client = session.wrapOpenAI(new OpenAI({ apiKey: "none", fetch }))
    const before = held()
    const open = []
    for (let call = 0; call < calls; call++) {
      const content = String.fromCharCode(65 + call).repeat(megabyte)
      const stream = await client.chat.completions.create({
        model: "gpt-4o-mini",
        stream: true,
        max_completion_tokens: 9,
        messages: [{ role: "user", content }]
      })
      const chunks = stream[Symbol.asyncIterator]()
      assert.isFalse((await chunks.next()).done)
      open.push({ stream, chunks })
    }
    assert.isBelow(held() - before, (calls * megabyte) / 4)
    assert.strictEqual(begins.sent.length, calls)
    for (const { chunks, stream } of open) {
      stream.controller.abort()
      await chunks.return?.()
    }
  })
})
