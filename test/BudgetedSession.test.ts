import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  BudgetedSession,
  BudgetError,
  BudgetExceededError,
  BudgetRefusedError,
  Ledger
} from "agent-budget"
import { Effect, Stream } from "effect"
import { inspect } from "node:util"
import OpenAI from "openai"
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
  type Setup
} from "./utils/openAi.ts"
import { Behaviours, Gate } from "./utils/SimulatedProvider.ts"
import { stub } from "./utils/stubProvider.ts"

const reasonOf = (error: unknown): BudgetError.Reason["_tag"] | undefined =>
  BudgetError.find(error)?.reason._tag

const turn = () => new Promise((resolve) => setTimeout(resolve, 5))

type Options = ConstructorParameters<typeof BudgetedSession>[0]

const refusedBy = (make: () => unknown): BudgetRefusedError => {
  try {
    make()
  } catch (error) {
    assert.instanceOf(error, BudgetRefusedError)
    return error
  }
  return assert.fail("It was expected to be refused.")
}

const refusedFor = (options: object): BudgetRefusedError => {
  const refusal = refusedBy(() => new BudgetedSession({ budgetUsd: 1, ...options }))
  assert.strictEqual(refusal.reason._tag, "InvalidOptions")
  return refusal
}

describe("what a session tells", () => {
  it("of a request that is not sent: its bound, line by line, and whether it fits here", async () => {
    await using session = new BudgetedSession({ budgetUsd: "0.01" })
    // "Hi" is a token, and a hundredth of it is at most one more; 3 and 4 around it, and 20 that nobody has seen.
    const body = { model: "gpt-4o", input: "Hi", max_output_tokens: 100 }
    const quote = await session.quote("/responses", body)
    assert.deepStrictEqual(quote, {
      model: "gpt-4o",
      leastUsd: 0.0010725,
      mostUsd: 0.0010725,
      inputTokens: 29,
      bound: "counted",
      counted: 1,
      fits: true,
      lines: [
        {
          what: "input, counted",
          tokens: 29,
          unit: "token",
          usdPerMillion: 2.5,
          usd: 0.0000725,
          why: "input"
        },
        {
          what: "output, capped by the request",
          tokens: 100,
          unit: "token",
          usdPerMillion: 10,
          usd: 0.001,
          why: "output"
        }
      ]
    })
    const inside = await session.within({ account: "ann", budgetUsd: "0.001" }, () =>
      session.quote("/responses", body)
    )
    assert.isFalse(inside.fits)
    assert.strictEqual(reasonOf(await failureOf(session.quote("/videos", {}))), "UnsupportedEndpoint")
    assert.strictEqual(session.getSummary().refused, 0)
    await using byLength = new BudgetedSession({ budgetUsd: "0.01", inputBound: "bytes", tier: "priority" })
    const { bound, counted, lines } = await byLength.quote("/responses", body)
    assert.deepStrictEqual([bound, counted], ["bytes", null])
    assert.include(lines[0]?.why, "tier priority")
  })

  it("of a request to another host: what a client of that one would hold, and for its deployment", async () => {
    const body = { model: "gpt-5.4", input: "Hi", max_output_tokens: 1_000 }
    const baseURL = "https://eu.api.openai.com/v1"
    const open = (budgetUsd: string) => new BudgetedSession({ budgetUsd, inputBound: "bytes" })
    await using session = open("1")
    const { mostUsd } = await session.quote("/responses", body)
    const regional = await session.quote("/responses", body, { baseURL })
    assert.closeTo(regional.mostUsd, 1.1 * mostUsd, 1e-9)
    const { fetch, sent } = stub(() => Response.json({}, { status: 429 }))
    const ask = async (budgetUsd: string): Promise<unknown> => {
      await using one = open(budgetUsd)
      const client = one.wrapOpenAI(new OpenAI({ apiKey: "none", maxRetries: 0, baseURL, fetch }))
      return await failureOf(client.responses.create(body))
    }
    assert.strictEqual(reasonOf(await ask((regional.mostUsd - 1e-9).toFixed(9))), "BudgetExceeded")
    assert.strictEqual(sent.length, 0)
    assert.isUndefined(reasonOf(await ask(String(regional.mostUsd))))
    assert.strictEqual(sent.length, 1)

    const azure = "https://mine.openai.azure.com/openai/deployments/gpt-4o/"
    const chat = { model: "gpt-4o-mini", messages: [], max_tokens: 5 }
    assert.strictEqual((await session.quote("/chat/completions", chat, { baseURL: azure })).model, "gpt-4o")
  })

  it.each<readonly [string, object]>([
    ["no address", { baseURL: "eu.api.openai.com" }],
    ["of another scheme", { baseURL: "ftp://api.openai.com" }],
    ["no text", { baseURL: null }],
    ["a list", ["https://eu.api.openai.com/v1"]],
    ["misspelt", { baseUrl: "https://eu.api.openai.com/v1" }]
  ])("of a request to a host that is %s: that it cannot be", async (_, where) => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const body = { model: "gpt-4o", input: "Hi", max_output_tokens: 100 }
    const refused = await failureOf(session.quote("/responses", body, where))
    assert.instanceOf(refused, BudgetRefusedError)
    assert.strictEqual(refused.reason._tag, "InvalidOptions")
    assert.include(refused.message, "baseURL")
  })

  it("of nothing: that it takes a path", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const quote = session.quote.bind(session) as (...given: ReadonlyArray<unknown>) => Promise<unknown>
    for (const path of [undefined, null, 5]) {
      const refused = await failureOf(quote(path, {}))
      assert.strictEqual(reasonOf(refused), "InvalidOptions")
      assert.include(String(refused), 'quote("/responses"')
    }
  })

  it("of a request that a pause would refuse: that it does not fit", async () => {
    await using session = new BudgetedSession({ budgetUsd: "0.01" })
    const body = { model: "gpt-4o", input: "Hi", max_output_tokens: 100 }
    const fits = async () => (await session.quote("/responses", body)).fits
    const told = (effect: typeof Budget.pause) => Effect.runPromise(Effect.provide(effect, session.layer))
    await told(Budget.pause)
    assert.isFalse(await fits())
    assert.isFalse(await session.within({ account: "ann" }, fits))
    await told(Budget.resume)
    assert.isTrue(await fits())
  })

  it(
    "getters and summary agree with the bill, while a call is open and after it",
    withSession(async (setup) => {
      const { session, client, provider } = setup
      const gate = new Gate()
      provider.next(Behaviours.heldHeaders(gate))
      const call = client.chat.completions.create(capped)
      await gate.reached(1)
      const open = session.getSummary()
      assert.isAbove(open.reservedUsd, 0)
      assert.strictEqual(open.spentUsd, 0)
      assert.strictEqual(open.remainingUsd, session.getRemainingBudget())
      assert.closeTo(open.remainingUsd, 1 - open.reservedUsd, 1e-9)
      gate.open()
      await call
      await client.embeddings.create({ model: "text-embedding-3-small", input: "hello" })
      await assertBooks(setup, "metered")
      const { calls, refused, limitUsd, spentUsd, remainingUsd, overrunUsd, byModel } = session.getSummary()
      assert.deepStrictEqual(
        { calls, refused, limitUsd, overrunUsd },
        { calls: 2, refused: 0, limitUsd: 1, overrunUsd: 0 }
      )
      assert.strictEqual(spentUsd, session.getTotalSpent())
      assert.closeTo(remainingUsd, 1 - spentUsd, 1e-9)
      const [chat] = provider.bill().calls
      assert.strictEqual(byModel["gpt-4o-mini"]?.usage.input, chat?.usage.input)
      assert.strictEqual(byModel["gpt-4o-mini"]?.usage.output, chat?.usage.output)
      assert.strictEqual(byModel["gpt-4o-mini"]?.calls, 1)
      assert.strictEqual(byModel["text-embedding-3-small"]?.calls, 1)
      assert.deepInclude(await session.balance(), { account: "root", limitUsd: 1, spentUsd, reservedUsd: 0 })
    })
  )

  it(
    "events, in order, as they happen, until the session is closed",
    withSession(
      async ({ session, client, provider }) => {
        const events: Array<Budget.Event> = []
        const reading = (async () => {
          for await (const event of session.events()) events.push(event)
        })()
        await client.chat.completions.create(hello)
        await settled(session)
        provider.next(Behaviours.status(400))
        await failureOf(client.chat.completions.create(capped))
        await failureOf(client.images.generate({ model: "gpt-image-1", prompt: "a cat" }))
        await failureOf(client.chat.completions.create({ ...capped, max_completion_tokens: 1e9 }))
        await session.close()
        await reading
        assert.deepStrictEqual(
          events.map(({ _tag }) => _tag),
          ["Reserved", "Capped", "Settled", "Reserved", "Released", "Refused", "Refused"]
        )
        const last = events.at(-1)
        assert.strictEqual(last?._tag === "Refused" && last.error.reason._tag, "BudgetExceeded")
        assert.isTrue(events.every(({ account }) => account === "root"))
      },
      { budgetUsd: "0.10" }
    )
  )
})

describe("a reader of events", () => {
  /** A session whose ledger counts those who listen to it: a budget does while somebody reads. */
  const listenedTo = () => {
    const books = Effect.runSync(Ledger.makeMemory())
    const listening = { now: 0 }
    const booked = Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => listening.now++),
          () => Effect.sync(() => listening.now--)
        ),
        books.booked
      )
    )
    return { listening, session: new BudgetedSession({ budgetUsd: 1, ledger: { ...books, booked } }) }
  }

  it("is gone once it has left, also before its first event", async () => {
    const { listening, session } = listenedTo()
    const early = session.events()[Symbol.asyncIterator]()
    await turn()
    assert.strictEqual(listening.now, 1)
    assert.deepStrictEqual(await early.return?.(), { done: true, value: undefined })
    assert.strictEqual(listening.now, 0)
    assert.isTrue((await early.next()).done)

    const waiting = session.events()[Symbol.asyncIterator]()
    const next = waiting.next()
    await turn()
    assert.strictEqual(listening.now, 1)
    await waiting.return?.()
    assert.isTrue((await next).done)
    assert.strictEqual(listening.now, 0)
    await session.close()
  })
})

describe("within", () => {
  it(
    "charges an account of its own and all above it, nested and side by side",
    withSession(async (setup) => {
      const { session, client, provider } = setup
      const ask = () => client.chat.completions.create(hello)
      const balances = await session.within({ account: "team", budgetUsd: "0.5" }, async () => {
        const members = await Promise.all(
          ["ann", "bob"].map((account) =>
            session.within({ account, budgetUsd: "0.2" }, async () => {
              await ask()
              await turn()
              return session.balance()
            })
          )
        )
        await ask()
        await turn()
        return [await session.balance(), ...members, ...(await session.balances())]
      })
      await ask()
      const owed = provider.bill().calls.map(({ nanoUsd }) => Number(nanoUsd) / 1e9)
      const [team, ann, bob, ...open] = balances
      assert.strictEqual(team?.account, "root/team")
      assert.strictEqual(ann?.account, "root/team/ann")
      assert.strictEqual(ann?.limitUsd, 0.2)
      assert.closeTo(ann?.spentUsd ?? NaN, owed[0] ?? NaN, 1e-12)
      assert.closeTo(bob?.spentUsd ?? NaN, owed[1] ?? NaN, 1e-12)
      assert.closeTo(team?.spentUsd ?? NaN, (owed[0] ?? NaN) * 3, 1e-12)
      assert.deepStrictEqual(
        open.map(({ account }) => account),
        ["root", "root/team"]
      )
      await assertBooks(setup, "metered")
    })
  )

  it(
    "refuses what does not fit there, though it would fit above; and throws what its function throws",
    withSession(async ({ session, client, provider }) => {
      const inside = () => client.chat.completions.create(capped)
      const error = await failureOf(session.within({ account: "poor", budgetUsd: "0.00001" }, inside))
      assert.instanceOf(error, BudgetExceededError)
      assert.match(error.message, /root\/poor/)
      assert.strictEqual(provider.requests.length, 0)
      await session.within({ account: "rich" }, inside)

      const own = new Error("mine")
      assert.strictEqual(await failureOf(session.within({ account: "x" }, () => Promise.reject(own))), own)
      const sync = session.within({ account: "x" }, () => {
        throw own
      })
      assert.strictEqual(await failureOf(sync), own)
      for (const bad of [
        { account: "a/b" },
        { account: "" },
        { account: "a", budgetUsd: "much" },
        { account: "a", budgetUsd: NaN }
      ]) {
        assert.instanceOf(await failureOf(session.within(bad, inside)), BudgetRefusedError)
      }
      assert.strictEqual(provider.requests.length, 1)
    })
  )

  it(
    "a stream that is opened inside and read outside is charged inside",
    withSession(async (setup) => {
      const stream = await setup.session.within({ account: "ann" }, () =>
        setup.client.chat.completions.create(streamed)
      )
      for await (const _ of stream);
      await assertBooks(setup, "metered")
    })
  )
})

describe("open", () => {
  it(
    "opens an account that every within of its name spends from, up to one limit",
    withSession(async (setup) => {
      const { session, client } = setup
      await session.within({ account: "team" }, async () => {
        await session.open({ account: "ann", budgetUsd: "0.0012" })
        const spends = () =>
          session.within({ account: "ann" }, async () => {
            await client.chat.completions.create(capped)
            return session.balance()
          })
        const first = await spends()
        assert.deepInclude(first, { account: "root/team/ann", limitUsd: 0.0012 })
        const second = await spends()
        assert.closeTo(second.spentUsd, 2 * first.spentUsd, 1e-12)

        await session.open({ account: "ann", budgetUsd: "0.0012" })
        const other = { account: "ann", budgetUsd: first.spentUsd }
        assert.strictEqual(reasonOf(await failureOf(session.open(other))), "AccountConflict")
        await session.open({ ...other, onLimitChange: "set" })
        assert.instanceOf(await failureOf(spends()), BudgetExceededError)
      })
      assert.strictEqual(reasonOf(await failureOf(session.open({ account: "a/b" }))), "InvalidAccount")
      const misspelt = { account: "bob", limit: 5 }
      assert.strictEqual(reasonOf(await failureOf(session.open(misspelt))), "InvalidOptions")
      assert.deepStrictEqual(
        (await session.balances()).map(({ account }) => account),
        // An account stays as long as one below it does.
        ["root", "root/team", "root/team/ann"]
      )
      await assertBooks(setup, "metered")
    })
  )

  it(
    "takes no word that it does not know, as of somebody without types, and nor does within",
    withSession(async ({ session }) => {
      const open = session.open.bind(session) as (options: unknown) => Promise<void>
      const within = session.within.bind(session) as (options: unknown, run: () => void) => Promise<void>
      const account = "ann"
      for (const [options, word] of [
        [undefined, "{ account"],
        [null, "{ account"],
        ["ann", "{ account"],
        [["ann"], "{ account"],
        [{ account, onLimitChange: "Set" }, "onLimitChange"],
        [{ account, thresholds: "0.5" }, "thresholds"],
        [{ account, window: null }, "window"],
        [{ account, window: "fortnight" }, "window"],
        [{ account, window: { every: "day", timezone: "Europe/Berlin" } }, "timezone"]
      ] as const) {
        for (const refused of [
          await failureOf(open(options)),
          await failureOf(within(options, () => undefined))
        ]) {
          assert.strictEqual(reasonOf(refused), "InvalidOptions", JSON.stringify(options))
          assert.include(String(refused), word)
        }
      }
      assert.deepStrictEqual(
        (await session.balances()).map((each) => each.account),
        ["root"]
      )
    })
  )
})

describe("pause", () => {
  it(
    "admits nothing on the account that it is said on, until resume",
    withSession(async (setup) => {
      const { session, client } = setup
      const ask = () => client.chat.completions.create(capped)
      await session.within({ account: "ann" }, async () => {
        await session.pause()
        const refusal = await failureOf(ask())
        assert.strictEqual(reasonOf(refusal), "AccountPaused")
        assert.include(String(refusal), "session.resume")
      })
      await session.pause()
      assert.strictEqual(reasonOf(await failureOf(ask())), "AccountPaused")
      assert.strictEqual(setup.provider.requests.length, 0)
      await session.resume()
      await ask()
      await assertBooks(setup, "metered")
    })
  )

  it(
    "lets those who wait in with resume",
    withSession(
      async (setup) => {
        await setup.session.pause()
        const call = setup.client.chat.completions.create(capped)
        const outcome = await Promise.race([call.then(() => "in"), turn().then(() => "waits")])
        assert.strictEqual(outcome, "waits")
        await setup.session.resume()
        await call
        await assertBooks(setup, "metered")
      },
      { onExceeded: "wait", waitAtMost: "20 seconds" }
    )
  )
})

describe("setLimit", () => {
  it(
    "raises, lowers and is refused where it is no amount",
    withSession(
      async ({ session, client }) => {
        assert.instanceOf(await failureOf(client.chat.completions.create(capped)), BudgetExceededError)
        await session.setLimit("0.5")
        await client.chat.completions.create(capped)
        await session.setLimit(0)
        assert.isBelow(session.getRemainingBudget(), 0)
        assert.instanceOf(await failureOf(client.chat.completions.create(capped)), BudgetExceededError)
        assert.strictEqual(reasonOf(await failureOf(session.setLimit(-1))), "InvalidAmount")
        assert.strictEqual(session.getSummary().limitUsd, 0)
      },
      { budgetUsd: "0.00001", ledger: Effect.runSync(Ledger.makeMemory()) }
    )
  )

  it(
    "lets in who waits",
    withSession(
      async (setup) => {
        const gate = new Gate()
        setup.provider.next(Behaviours.heldHeaders(gate))
        const first = setup.client.chat.completions.create(capped)
        await gate.reached(1)
        const second = setup.client.chat.completions.create(capped)
        const outcome = await Promise.race([second.then(() => "in"), turn().then(() => "waits")])
        assert.strictEqual(outcome, "waits")
        await setup.session.setLimit("0.5")
        await second
        gate.open()
        await first
        await assertBooks(setup, "metered")
      },
      { budgetUsd: "0.0001", onExceeded: "wait", waitAtMost: "20 seconds" }
    )
  )
})

describe("close", () => {
  it(
    "waits for open calls, books them as billed, and refuses what comes after",
    withSession(async (setup) => {
      const { session, client, plain, provider } = setup
      const gate = new Gate()
      provider.next(Behaviours.heldHeaders(gate))
      const call = client.chat.completions.create(capped)
      await gate.reached(1)
      const closing = session.close()
      assert.strictEqual(session.close(), closing)
      const late = await failureOf(client.chat.completions.create(capped, { maxRetries: 2 }))
      assert.strictEqual(reasonOf(late), "Closed")
      assert.instanceOf(late, OpenAI.OpenAIError)
      gate.open()
      await call
      await closing
      await assertBooks(setup, "metered")
      assert.strictEqual(session.getSummary().calls, 1)
      assert.strictEqual(session.getSummary().refused, 1)

      const url = `${provider.baseURL}/chat/completions`
      const init = { method: "POST", body: JSON.stringify(capped) }
      for (const after of [
        () => Promise.resolve().then(() => session.wrapOpenAI(plain)),
        () => session.within({ account: "ann" }, () => client.chat.completions.create(capped)),
        () => session.open({ account: "ann" }),
        () => session.setLimit(5),
        () => session.pause(),
        () => session.resume(),
        () => orThrown(session.fetch(url, init)),
        () => client.withOptions({ timeout: 5_000 }).chat.completions.create(capped)
      ]) {
        assert.strictEqual(reasonOf(await failureOf(after())), "Closed")
      }
      assert.strictEqual(provider.requests.length, 1)
    })
  )

  it(
    "charges whole what is open when its wait is over; a late answer changes nothing",
    withSession(async (setup) => {
      const { session, client, provider } = setup
      const gate = new Gate()
      provider.next(Behaviours.heldHeaders(gate))
      const call = client.chat.completions.create(capped)
      await gate.reached(1)
      const reserved = reservedNano(session)
      const started = performance.now()
      await session.close({ waitAtMost: "50 millis" })
      assert.isBelow(performance.now() - started, 2_000)
      assert.strictEqual(reservedNano(session), 0)
      assert.strictEqual(spentNano(session), reserved)
      gate.open()
      await call
      await assertBooks(setup, "assumed")
      assert.strictEqual(spentNano(session), reserved)
    })
  )

  it(
    "within a time that is none leaves it open, and says so",
    withSession(async (setup) => {
      const { session } = setup
      for (const waitAtMost of ["soon" as "1 second", NaN, -1]) {
        const refusal = await failureOf(session.close({ waitAtMost }))
        assert.instanceOf(refusal, BudgetRefusedError)
        assert.strictEqual(refusal.reason._tag, "InvalidOptions")
        assert.include(refusal.message, `a waitAtMost of ${waitAtMost} is no time`)
      }
      await setup.client.chat.completions.create(capped)
      await assertBooks(setup, "metered")
      await session.close({ waitAtMost: Infinity })
      assert.instanceOf(await failureOf(setup.client.chat.completions.create(capped)), BudgetRefusedError)
    })
  )

  it(
    "refuses those who still wait for room: nothing is sent after it",
    withSession(
      async (setup) => {
        const { session, client, provider } = setup
        const gate = new Gate()
        provider.setBehaviour(() => Behaviours.heldHeaders(gate))
        // Three fit; the others wait for what these leave.
        const body = { ...hello, max_completion_tokens: 1_000 }
        const calls = Array.from({ length: 6 }, () => failureOrAnswer(client.chat.completions.create(body)))
        await gate.reached(3)
        const before = provider.requests.length
        const closing = session.close({ waitAtMost: "10 seconds" })
        gate.open()
        await closing
        const results = await Promise.race([
          Promise.all(calls),
          turn()
            .then(turn)
            .then(() => undefined)
        ])
        assert.isDefined(results, "a waiting call was left to wait")
        await provider.idle()
        assert.strictEqual(provider.requests.length, before)
        const tags = results.map(reasonOf).filter((tag) => tag !== undefined)
        assert.deepStrictEqual(new Set(tags), new Set(["Closed"]))
      },
      { budgetUsd: "0.002", onExceeded: "wait" }
    )
  )

  it("await using closes it", async () => {
    let outer: BudgetedSession
    {
      await using session = new BudgetedSession({ budgetUsd: 1 })
      outer = session
    }
    assert.throws(() => outer.wrapOpenAI(new OpenAI({ apiKey: "none" })), BudgetRefusedError)
  })
})

const failureOrAnswer = async (promise: PromiseLike<unknown>): Promise<unknown> => {
  try {
    return await promise
  } catch (error) {
    return error
  }
}

/** An answer of 10 and 20 tokens. */
const answerOf = (model: string) => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 0,
  model,
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "yes" } }],
  usage: { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 }
})

describe("settings", () => {
  it("a budget or prices that cannot be are refused by the constructor", () => {
    for (const budgetUsd of [NaN, -1, Infinity, "five", "1e400"]) {
      assert.throws(() => new BudgetedSession({ budgetUsd }), BudgetRefusedError)
    }
    assert.throws(
      () => new BudgetedSession({ budgetUsd: 1, prices: { mine: { input: "-1", output: "1" } } }),
      BudgetRefusedError
    )
  })

  it("times, ledgers and telemetry that cannot be are refused by what is wrong with them", () => {
    const no = "is no time. Write milliseconds"
    const ledger =
      'the ledger is no name, no layer and no ledger. Name a SQLite file (ledger: "file:budget.db")'
    for (const [options, said] of [
      [{ maxAge: "soon" }, `a maxAge of soon ${no}`],
      [{ maxAge: NaN }, `a maxAge of NaN ${no}`],
      [{ maxAge: -1 }, `a maxAge of -1 ${no}`],
      [{ waitAtMost: "soon" }, `a waitAtMost of soon ${no}`],
      [{ waitAtMost: NaN, onExceeded: "wait" }, `a waitAtMost of NaN ${no}`],
      [{ waitAtMost: -1 }, `a waitAtMost of -1 ${no}`],
      [{ countRemotely: { timeout: "soon" } }, `a countRemotely.timeout of soon ${no}`],
      [{ countRemotely: { timeout: NaN } }, `a countRemotely.timeout of NaN ${no}`],
      [{ countRemotely: "yes" }, "Expected boolean | object"],
      [{ ledger: null }, ledger],
      [{ ledger: {} }, ledger],
      [{ ledger: 5 }, ledger],
      [{ ledger: { reserve: true } }, ledger],
      [{ ledger: Ledger.layerMemory }, ledger],
      [{ telemetry: {} }, "the telemetry is no layer. Give a tracer's layer"],
      [{ telemetry: null }, "the telemetry is no layer. Give a tracer's layer"]
    ] as const) {
      let refusal: unknown
      try {
        new BudgetedSession({ budgetUsd: 1, ...(options as object) })
      } catch (error) {
        refusal = error
      }
      assert.instanceOf(refusal, BudgetRefusedError, said)
      assert.strictEqual(refusal.reason._tag, "InvalidOptions")
      assert.include(refusal.message, said)
    }
  })

  describe("a name that there is not", () => {
    const key = "sk-hunter2"

    it("is refused, and the names that there are told, but not what stands under it", () => {
      for (const [options, said] of [
        [{ onExeeded: key }, 'a session has no option "onExeeded". Its options are budgetUsd, window, '],
        [{ onExeeded: key, apiKey: key }, 'no option "onExeeded" or "apiKey". Its options are budgetUsd, '],
        [{ uncapped: { shar: key } }, 'uncapped has no option "shar". Its options are share, floor. Correct'],
        [{ window: { every: "day", timezone: key } }, 'window has no option "timezone". Its options are'],
        [
          { countRemotely: { timeOut: key } },
          'countRemotely has no option "timeOut". Its options are timeout.'
        ],
        [
          { hosts: { "llm.example.com": { takestier: key } } },
          'hosts["llm.example.com"] has no option "takestier". Its options are known, regional, takesTier, verified, provider.'
        ]
      ] as const) {
        const refusal = refusedFor(options)
        assert.include(refusal.message, said)
        for (const text of [refusal.message, JSON.stringify(refusal), inspect(refusal, { depth: 20 })]) {
          assert.notInclude(text, key)
        }
      }
    })

    it("is passed over where nothing stands under it, and so is every name that there is", async () => {
      const none: Record<keyof Options, undefined> = {
        budgetUsd: undefined,
        window: undefined,
        thresholds: undefined,
        onLimitChange: undefined,
        onExceeded: undefined,
        waitAtMost: undefined,
        account: undefined,
        ledger: undefined,
        telemetry: undefined,
        prices: undefined,
        toolFees: undefined,
        maxAge: undefined,
        tier: undefined,
        uncapped: undefined,
        inputBound: undefined,
        countRemotely: undefined,
        models: undefined,
        allow: undefined,
        endpoints: undefined,
        hosts: undefined,
        abandoned: undefined,
        refusal: undefined
      }
      const misspelt = { onExeeded: undefined, uncapped: { share: 0.5, shar: undefined } }
      for (const options of [{ ...none }, misspelt]) {
        const session = new BudgetedSession({ ...options, budgetUsd: 1 })
        assert.strictEqual(session.getRemainingBudget(), 1)
        await session.close()
      }
    })
  })

  it("hosts that no call can have, or of which something else is said than there is, are refused", () => {
    for (const [hosts, said] of [
      [5, "hosts is a number and no object. Write hosts: {"],
      [["llm.example.com"], "hosts is an array and no object."],
      [new Map(), "hosts is an object of another kind and no object."],
      [null, "hosts is null and no object."],
      [
        { "llm.example.com": true },
        'hosts["llm.example.com"] is a boolean and no object. Give what is known'
      ],
      [
        { "llm.example.com": { takesTier: "no" } },
        'hosts["llm.example.com"].takesTier is a string. Give it true'
      ],
      [
        { "llm.example.com": { known: null } },
        'hosts["llm.example.com"].known is null. Give it true or false.'
      ],
      [
        { "llm.example.com": { provider: true } },
        'hosts["llm.example.com"].provider is a boolean. Give it a text.'
      ],
      [
        { "https://llm.example.com/v1": {} },
        'a name in hosts can never match. Write "llm.example.com": the host'
      ],
      [{ "http://ann:hunter2@llm.example.com:8080": {} }, 'Write "llm.example.com:8080": the host alone'],
      [{ "LLM.example.com": {} }, 'Write "llm.example.com":'],
      [{ "llm.example.com:443": {} }, 'Write "llm.example.com":'],
      [{ "http://llm.example.com:80": {} }, 'Write "llm.example.com":'],
      [{ "llm.example.com/v1": {} }, 'Write "llm.example.com":'],
      [{ "*.example.com": {} }, "a name in hosts is no host. Write one as an address has it, such as"],
      [{ "ann:hunter2": {} }, "a name in hosts is no host."],
      [{ "": {} }, "a name in hosts is no host."]
    ] as const) {
      const { message } = refusedFor({ hosts })
      assert.include(message, said)
      assert.notInclude(message, "hunter2")
    }
  })

  it("hosts are taken as an address has them", async () => {
    const hosts = {
      "llm.example.com": { known: true, regional: false, takesTier: true, verified: false, provider: "groq" },
      "localhost:8080": { takesTier: true },
      "[::1]:8080": {},
      "127.0.0.1": {}
    }
    await new BudgetedSession({ budgetUsd: 1, hosts }).close()
  })

  it("numbers out of their range, and prices that are no object, are refused as the session is made", () => {
    const range = "a share is above 0 and at most 1, and a floor is a whole number of tokens, at least 1."
    const prices =
      'Give an object, as in prices: { "my-model": { input: "1.25", output: "10" } }; parse the text'
    for (const [options, said] of [
      [{ uncapped: { share: 0 } }, `uncapped.share is 0: ${range}`],
      [{ uncapped: { share: 1.01 } }, `uncapped.share is 1.01: ${range}`],
      [{ uncapped: { share: NaN } }, `uncapped.share is NaN: ${range}`],
      [{ uncapped: { share: "half" } }, `uncapped.share is a string: ${range}`],
      [{ uncapped: { floor: 0 } }, `uncapped.floor is 0: ${range}`],
      [{ uncapped: { share: 1, floor: 1.5 } }, `uncapped.floor is 1.5: ${range}`],
      [{ uncapped: { floor: Infinity } }, `uncapped.floor is Infinity: ${range}`],
      [
        { endpoints: { "POST /x": { maxUsd: "-0.01" } } },
        'endpoints["POST /x"] has a negative maxUsd. Give what'
      ],
      [{ endpoints: { "post /x": "free" } }, 'endpoints["post /x"] can never match. Write the method and'],
      [{ endpoints: { "/x": "free" } }, 'endpoints["/x"] can never match.'],
      [{ endpoints: { "POST /x?y=1": { maxUsd: 1 } } }, 'endpoints["POST /x?y=1"] can never match.'],
      [
        { endpoints: { "POST /chat/completions": "free" } },
        'endpoints["POST /chat/completions"] is priced by its model, whatever is said of it. Leave it out.'
      ],
      [{ prices: 5 }, `prices is a number and no object. ${prices}`],
      [{ prices: '{"mine":{}}' }, `prices is a string and no object. ${prices}`],
      [{ prices: [] }, `prices is an array and no object. ${prices}`],
      [{ prices: null }, `prices is null and no object. ${prices}`],
      [{ toolFees: 5 }, "toolFees is a number and no object. Give an object, as in toolFees:"]
    ] as const) {
      assert.include(refusedFor(options).message, said)
    }
  })

  it("what is wrong is told in sentences that end before the next one begins", () => {
    assert.include(refusedFor({ tier: "cheap" }).message, '"ultrafast" at ["tier"]. Nothing was opened.')
    const noObject: unknown = "hunter2"
    const refusal = refusedBy(() => new BudgetedSession(noObject as Options))
    assert.include(refusal.message, "Expected object. Nothing was opened.")
    const row = refusedBy(() => new BudgetedSession({ budgetUsd: 1, prices: { mine: 5 as never } }))
    assert.include(row.message, 'model "mine": Expected object.')
  })

  it("batch rates are quoted and settled, marked as unverified and warned of once", async () => {
    const warnings: Array<unknown> = []
    const log = console.log
    console.log = (...values) => void warnings.push(...values)
    try {
      await withSession(
        async (setup) => {
          await setup.client.chat.completions.create(capped)
          await setup.client.withOptions({ timeout: 9_000 }).chat.completions.create(capped)
          await setup.provider.idle()
          await settled(setup.session)
          assert.deepInclude(setup.provider.requests[0]?.body, { service_tier: "default" })
          // Batch is half of standard for this model, rounded up to a nano-dollar each.
          const half = setup.provider
            .bill()
            .calls.reduce((sum, { nanoUsd }) => sum + Math.ceil(Number(nanoUsd) / 2), 0)
          assert.strictEqual(spentNano(setup.session), half)
          assert.include(setup.session.getSummary().unverified, "unverifiedTier")
        },
        { tier: "batch" }
      )()
    } finally {
      console.log = log
    }
    assert.strictEqual(warnings.filter((line) => String(line).includes("batch rates")).length, 1)
  })

  it(
    "prices of one's own are what a model costs",
    withSession(
      async ({ session, client, provider }) => {
        provider.next(Behaviours.status(200, { body: answerOf("mine") }))
        await client.chat.completions.create({ ...capped, model: "mine" })
        await settled(session)
        assert.strictEqual(spentNano(session), 10 * 3_000 + 20 * 7_000)
      },
      { prices: { mine: { input: "3", output: "7" } } }
    )
  )

  it(
    "models: another name for a priced model",
    withSession(
      async ({ session, client, provider }) => {
        provider.next(Behaviours.status(200, { body: answerOf("house-model") }))
        await client.chat.completions.create({ ...capped, model: "house-model" })
        await settled(session)
        assert.strictEqual(spentNano(session), 10 * 150 + 20 * 600)
        assert.strictEqual(session.getSummary().byModel["gpt-4o-mini"]?.calls, 1)
      },
      { models: { "house-model": "gpt-4o-mini" } }
    )
  )

  it(
    "models: a name means the same where the response says it, also one that the table has",
    withSession(
      async ({ session, client, provider }) => {
        provider.next(Behaviours.status(200, { body: answerOf("gpt-4o-mini") }))
        await client.chat.completions.create({ ...capped, model: "gpt-4o-mini" })
        await settled(session)
        assert.strictEqual(spentNano(session), 10 * 1_750 + 20 * 14_000)
        assert.strictEqual(session.getSummary().byModel["gpt-5.2"]?.calls, 1)
      },
      { models: { "gpt-4o-mini": "gpt-5.2" } }
    )
  )

  it(
    "endpoints: free ones pass, vouched ones are charged their maximum, and released where refused",
    withSession(
      async ({ session, client, provider }) => {
        const image = () => client.images.generate({ model: "gpt-image-1", prompt: "a cat" })
        // The simulated provider knows no images: 404.
        await failureOf(image())
        await settled(session)
        assert.strictEqual(session.getTotalSpent(), 0)
        assert.strictEqual(provider.requests.length, 1)
        await failureOf(client.post("/vector_stores", { body: {} }))
        assert.strictEqual(provider.requests.length, 2)
        assert.strictEqual(session.getTotalSpent(), 0)

        const drawn: typeof globalThis.fetch = () => Promise.resolve(Response.json({ created: 0, data: [] }))
        const drawing = client.withOptions({ fetch: drawn })
        await drawing.images.generate({ model: "gpt-image-1", prompt: "a cat" })
        await settled(session)
        assert.strictEqual(session.getTotalSpent(), 0.25)
        assert.strictEqual(session.getSummary().byModel["POST /images/generations"]?.assumedUsd, 0.25)
        for (let more = 0; more < 3; more++) await drawing.images.generate({ prompt: "a cat" })
        const error = await failureOf(drawing.images.generate({ prompt: "a cat" }))
        assert.instanceOf(error, BudgetExceededError)
      },
      { endpoints: { "POST /images/generations": { maxUsd: "0.25" }, "POST /vector_stores": "free" } }
    )
  )

  it(
    "endpoints: a priced endpoint stays priced",
    withSession(
      async (setup) => {
        await setup.client.chat.completions.create(capped)
        await assertBooks(setup, "metered")
      },
      {
        endpoints: {
          "POST /chat/*": "free",
          "POST /*/*": { maxUsd: 0 }
        }
      }
    )
  )

  it("endpoints: a maximum that is no amount is refused at once", () => {
    const endpoints = { "POST /images/generations": { maxUsd: "a quarter" } }
    assert.throws(() => new BudgetedSession({ budgetUsd: 1, endpoints }), /a quarter/)
  })

  it(
    "allow: a field that the user knows to cost nothing",
    withSession(
      async (setup) => {
        await setup.client.chat.completions.create({ ...capped, my_field: 1 } as typeof capped)
        assert.deepInclude(setup.provider.requests[0]?.body, { my_field: 1 })
        const error = await failureOf(
          setup.client.chat.completions.create({ ...capped, other: 1 } as typeof capped)
        )
        assert.strictEqual(reasonOf(error), "UnboundedRequest")
        assert.match(String(error), /allow: \["other"\]/)
      },
      { allow: ["my_field"] }
    )
  )

  it(
    "uncapped: refused where the user says so",
    withSession(
      async ({ client, provider }) => {
        assert.strictEqual(
          reasonOf(await failureOf(client.chat.completions.create(hello))),
          "UnboundedRequest"
        )
        assert.strictEqual(provider.requests.length, 0)
        await client.chat.completions.create(capped)
      },
      { uncapped: "refuse" }
    )
  )
})

describe("secrets", () => {
  it("no prompt and no key is in an error, an entry, an event, a summary or a log", async () => {
    const canary = "canary-3f1c9a"
    const told: Array<unknown> = []
    const { ledger } = watchedLedger()
    const real = {
      log: console.log,
      warn: console.warn,
      error: console.error,
      info: console.info,
      debug: console.debug
    }
    const keep = (...values: ReadonlyArray<unknown>) => void told.push(...values)
    Object.assign(console, { log: keep, warn: keep, error: keep, info: keep, debug: keep })
    try {
      await withSession(
        async (setup) => {
          const events = recordEvents(setup.session)
          await everyWayToFail(setup, canary, told)
          told.push(events, setup.session.getSummary(), await setup.session.balances())
          told.push(await Effect.runPromise(Stream.runCollect(ledger.entries())))
          assert.isAbove(events.length, 10)
        },
        { ledger, budgetUsd: "0.05", tier: "batch" }
      )()
    } finally {
      Object.assign(console, real)
    }
    assert.isAbove(told.length, 10)
    const everything = told
      .map((each) => inspect(each, { depth: 12, maxStringLength: null, showHidden: true }))
      .join()
    assert.notInclude(everything, canary)
  })
})

/** Sends, refuses and breaks calls that carry the canary as prompt and as key; collects the refusals. */
const everyWayToFail = async (setup: Setup, canary: string, told: Array<unknown>): Promise<void> => {
  const { session, plain, provider } = setup
  const client = session.wrapOpenAI(plain.withOptions({ apiKey: `sk-${canary}` }))
  const messages = [{ role: "user" as const, content: canary }]
  const body = { ...capped, messages }
  const post = (text: string) =>
    orThrown(
      session.fetch(`${provider.baseURL}/chat/completions`, {
        method: "POST",
        body: text,
        headers: { authorization: `Bearer sk-${canary}` }
      })
    )
  await client.chat.completions.create(body)
  await client.chat.completions.create({ model: "gpt-4o-mini", messages })
  for (const call of [
    () => client.chat.completions.create({ ...body, model: "nobody-knows" }),
    () => client.chat.completions.create({ ...body, max_completion_tokens: 1e9 }),
    () => client.chat.completions.create({ ...body, max_completion_tokens: -1 }),
    () => client.chat.completions.create({ ...body, surprise: canary } as typeof body),
    () => client.images.generate({ prompt: canary }),
    () => client.post(`http://127.0.0.1:9/v1/${canary}`, { body }),
    () => client.responses.create({ model: "gpt-4o-mini", input: canary, background: true }),
    () => post(`{"model": "gpt-4o-mini", "messages": ["${canary}`),
    () => post(`["${canary}"]`),
    () => post(`{"model":"gpt-4o-mini","a":"${canary}","a":1}`),
    () =>
      orThrown(
        session.fetch(`http://127.0.0.1:9/v1/chat/completions?key=${canary}`, {
          method: "POST",
          body: canary
        })
      )
  ]) {
    const error = await failureOf(call())
    assert.instanceOf(error, BudgetRefusedError)
    told.push(error, error.message, error.stack, JSON.stringify(error))
  }
  for (const behaviour of [Behaviours.malformedJson, Behaviours.usageMissing, Behaviours.status(500)]) {
    provider.next({ ...behaviour, text: canary })
    await failureOrAnswer(client.chat.completions.create(body))
  }
  await provider.idle()
  await settled(session)
}
