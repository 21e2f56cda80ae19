/** What callers get wrong, with types or without, and what they are told. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedSession, BudgetError, Usd } from "agent-budget"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { AzureOpenAI, OpenAI } from "openai"
import { capped, failureOf, settled } from "./utils/openAi.ts"
import { stub, tagOf, type SessionOptions } from "./utils/stubProvider.ts"

/** As somebody writes it who has no types. */
const untyped = (value: unknown) => value as never

const messageOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return ""
}

/** A session whose own `fetch` was made while another stood in the place of the platform's. */
const sessionBefore = (respond: () => Response, options: SessionOptions = {}) => {
  const { fetch, sent } = stub(respond)
  const real = globalThis.fetch
  globalThis.fetch = fetch
  try {
    const session = new BudgetedSession({ budgetUsd: 1, ...options })
    return { sent, session, [Symbol.asyncDispose]: () => session.close() }
  } finally {
    globalThis.fetch = real
  }
}

describe("a budget that is no amount of dollars", () => {
  it("is refused by its name, as it was written, with what to write", () => {
    const told = (budgetUsd: unknown) =>
      messageOf(() => new BudgetedSession({ budgetUsd: untyped(budgetUsd) }))
    for (const [budgetUsd, shown] of [
      [-1, "-1"],
      [NaN, "NaN"],
      [undefined, "undefined"],
      ["-0.5", '"-0.5"'],
      [{}, "of type object, and no number"]
    ] as const) {
      assert.include(told(budgetUsd), `budgetUsd is ${shown}: give dollars, from 0 up, such as 5 or "0.50".`)
    }
  })

  it("is none of Effect's amounts, which are a billion times as many, and nobody is told to make one", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const amount = Usd.dollars("5")
    // @ts-expect-error nano-dollars
    const told = messageOf(() => new BudgetedSession({ budgetUsd: amount }))
    assert.include(told, "budgetUsd is 5000000000: give dollars")
    assert.notInclude(told, "Usd.")
    // @ts-expect-error nano-dollars
    assert.strictEqual(tagOf(await failureOf(session.setLimit(amount))), "InvalidAmount")
    // @ts-expect-error nano-dollars
    const within = session.within({ account: "team", budgetUsd: amount }, () => 1)
    assert.strictEqual(tagOf(await failureOf(within)), "InvalidAmount")
    // @ts-expect-error nano-dollars
    const endpoints: SessionOptions["endpoints"] = { "POST /x": { maxUsd: amount } }
    const stated = messageOf(() => new BudgetedSession({ budgetUsd: 1, endpoints }))
    assert.include(stated, "maxUsd")
    assert.notInclude(stated, "Usd.")
  })

  it("is not repeated where it may be a secret", () => {
    const told = messageOf(() => new BudgetedSession({ budgetUsd: "sk-secret" }))
    assert.include(told, "budgetUsd is of type string, and no number")
    assert.notInclude(told, "sk-secret")
  })

  it("is never more than what was asked for, where that is finer than a nano-dollar", async () => {
    for (const budgetUsd of [2 / 3, "0.6666666666", "0.0000000019"]) {
      await using session = new BudgetedSession({ budgetUsd })
      const { limitUsd } = await session.balance()
      assert.isAtMost(limitUsd ?? NaN, Number(budgetUsd))
      assert.closeTo(limitUsd ?? NaN, Number(budgetUsd), 1e-9)
    }
    for (const budgetUsd of [0.1, "0.3", 1.1, 4_503_599.123456789, 0]) {
      await using session = new BudgetedSession({ budgetUsd })
      assert.strictEqual((await session.balance()).limitUsd, Number(budgetUsd))
    }
  })

  it("is told in dollars where it was given in nano-dollars", async () => {
    const limit = Usd.nanos(-1_000_000_000)
    const told = async (limit: Usd.Usd) => {
      const error = await Effect.runPromise(
        Effect.flip(Effect.scoped(Effect.provide(Budget.summary, Budget.layerMemory({ limit }))))
      )
      return error.message
    }
    assert.include(await told(limit), "A limit of -$1.00 on account root is not an amount.")
    assert.include(await told(untyped(undefined)), "A limit of undefined on account root is not an amount.")
  })
})

describe("what is no client, or has no address", () => {
  it("is refused as it is wrapped", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    for (const client of [null, undefined, "client", 5]) {
      const told = messageOf(() => session.wrapOpenAI(untyped(client)))
      assert.include(told, "What is to be wrapped is no client.")
    }
    for (const baseURL of ["localhost:8080/v1", "ftp://127.0.0.1/v1", "nonsense", "https://"]) {
      const told = messageOf(() => session.wrapOpenAI(new OpenAI({ apiKey: "none", baseURL })))
      assert.include(told, "The baseURL of this client is no http or https address.")
    }
  })

  it("no call goes to an address that is none of http", async () => {
    await using behind = sessionBefore(() => Response.json({}), { hosts: { "127.0.0.1": {} } })
    const { sent, session } = behind
    const response = await session.fetch("ftp://127.0.0.1/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(capped)
    })
    assert.strictEqual(tagOf(response), "UnsupportedTransport")
    assert.include(BudgetError.find(response)?.message ?? "", 'of the scheme "ftp:"')
    assert.strictEqual(sent.length, 0)
    assert.strictEqual(session.getTotalSpent(), 0)
  })
})

describe("an account", () => {
  it("without a name is refused", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const error = await failureOf(session.within(untyped({}), () => 1))
    assert.strictEqual(tagOf(error), "InvalidAccount")
  })

  it("whose limit is misspelt does not go without one", async () => {
    await using session = new BudgetedSession({ budgetUsd: 1 })
    let ran = false
    const misspelt = untyped({ account: "agent", budget: "sk-secret" })
    const error = await failureOf(session.within(misspelt, () => (ran = true)))
    assert.strictEqual(tagOf(error), "InvalidOptions")
    assert.match(String(error), /an account has no option "budget"\. Its options are account, budgetUsd,/)
    assert.notInclude(String(error), "sk-secret")
    assert.isFalse(ran)
  })
})

describe("a session that is closed", () => {
  it("quotes nothing more, and has no balance", async () => {
    const session = new BudgetedSession({ budgetUsd: 1 })
    await session.close()
    assert.strictEqual(tagOf(await failureOf(session.quote("/chat/completions", capped))), "Closed")
    assert.strictEqual(tagOf(await failureOf(session.balance())), "Closed")
    assert.strictEqual(tagOf(await failureOf(session.balances())), "Closed")
  })
})

describe("a request that cannot be made", () => {
  it("holds nothing of a budget whose ledger takes time", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-"))
    try {
      await using session = await BudgetedSession.make({
        budgetUsd: 1,
        ledger: `file:${path.join(folder, "books.db")}`,
        endpoints: { "POST /images/generations": { maxUsd: "0.25" } }
      })
      const sending = session.fetch("https://api.openai.com/v1/images/generations", {
        method: "POST",
        headers: { "x-title": "→" },
        body: "{}"
      })
      assert.instanceOf(await failureOf(sending), TypeError)
      // What the ledger was asked for it has granted after some turns.
      for (let turn = 0; turn < 20; turn++) {
        assert.strictEqual((await session.balance()).reservedUsd, 0)
        assert.strictEqual(session.getRemainingBudget(), 1)
        await new Promise((resolve) => setImmediate(resolve))
      }
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  })
})

describe("a prompt that a content filter stops", () => {
  const filtered = () =>
    Response.json({ error: { code: "content_filter", message: "filtered" } }, { status: 400 })

  it("is charged whole on Azure, which may bill it", async () => {
    const { fetch } = stub(filtered)
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const endpoint = "https://mine.openai.azure.com"
    const options = { apiKey: "none", apiVersion: "2024-10-21", endpoint, fetch, maxRetries: 0 }
    const client = session.wrapOpenAI(new AzureOpenAI(options))
    await failureOf(client.chat.completions.create(capped))
    await settled(session)
    const { byModel } = session.getSummary()
    const [booked] = Object.values(byModel)
    assert.isAbove(booked?.assumedUsd ?? 0, 0)
    assert.strictEqual(session.getTotalSpent(), booked?.assumedUsd)
  })

  it("costs nothing on the API itself, which refuses before a model runs", async () => {
    const { fetch } = stub(filtered)
    await using session = new BudgetedSession({ budgetUsd: 1 })
    const client = session.wrapOpenAI(new OpenAI({ apiKey: "none", fetch, maxRetries: 0 }))
    await failureOf(client.chat.completions.create(capped))
    await settled(session)
    assert.strictEqual(session.getTotalSpent(), 0)
    assert.strictEqual(session.getRemainingBudget(), 1)
  })
})

describe("a call that is free", () => {
  it("is sent as it was looked up, also where it is another when it is read again", async () => {
    await using behind = sessionBefore(() => Response.json({ data: [] }))
    const { sent, session } = behind
    let reads = 0
    const shifting = {
      toString: () => `https://api.openai.com/v1/${reads++ === 0 ? "models" : "chat/completions"}`
    }
    let asked = 0
    const init = {
      get method() {
        return asked++ === 0 ? "GET" : "POST"
      }
    }
    await session.fetch(untyped(shifting), init)
    assert.deepStrictEqual(
      sent.map(({ url, init }) => [init.method, url]),
      [["GET", "https://api.openai.com/v1/models"]]
    )
  })
})
