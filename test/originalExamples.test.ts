/**
 * The examples of the Python project that this one follows, in this language: the same promises, judged by the
 * provider's own bill.
 */
import { assert, describe, it } from "@effect/vitest"
import OpenAI from "openai"
import { BudgetedSession, BudgetExceededError, BudgetRefusedError } from "agent-budget"
import type { PriceMap } from "./utils/providerBill.ts"
import { SimulatedProvider, type Behaviour } from "./utils/SimulatedProvider.ts"

const sold = (
  input: string,
  cachedInput: string | undefined,
  output: string,
  batch: readonly [input: string, output: string]
): PriceMap[string] => ({
  default: { input, output, ...(cachedInput === undefined ? {} : { cachedInput }) },
  batch: { input: batch[0], output: batch[1] }
})

/** Every family of the original's list. USD per 1M tokens, from OpenAI's pricing page: input, cached, output, batch. */
const prices: PriceMap = {
  "gpt-5.2": sold("1.75", "0.175", "14", ["0.875", "7"]),
  "gpt-5.1": sold("1.25", "0.125", "10", ["0.625", "5"]),
  "gpt-5-mini": sold("0.25", "0.025", "2", ["0.125", "1"]),
  "gpt-5-nano": sold("0.05", "0.005", "0.4", ["0.025", "0.2"]),
  "gpt-4.1": sold("2", "0.5", "8", ["1", "4"]),
  "gpt-4o": sold("2.5", "1.25", "10", ["1.25", "5"]),
  "gpt-4o-mini": sold("0.15", "0.075", "0.6", ["0.075", "0.3"]),
  o1: sold("15", "7.5", "60", ["7.5", "30"]),
  o3: sold("2", "0.5", "8", ["1", "4"]),
  "o3-pro": sold("20", undefined, "80", ["10", "40"]),
  "o4-mini": sold("1.1", "0.275", "4.4", ["0.55", "2.2"]),
  "gpt-4-turbo": sold("10", undefined, "30", ["5", "15"]),
  "gpt-4": sold("30", undefined, "60", ["15", "30"]),
  "gpt-3.5-turbo": sold("0.5", undefined, "1.5", ["0.25", "0.75"])
}

const start = (behaviour: Behaviour = {}): Promise<SimulatedProvider> =>
  SimulatedProvider.start({ prices, behaviour: () => behaviour })

const clientOf = (provider: SimulatedProvider): OpenAI =>
  new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 })

const ask = (client: OpenAI, model: string, content = "Analyze this market.") =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }] })

const billed = (provider: SimulatedProvider): number => Number(provider.bill().totalNanoUsd) / 1e9

describe("the original's examples", () => {
  it("quick setup: wrap the client, call as before, read what was spent", async () => {
    await using provider = await start()
    await using session = new BudgetedSession({ budgetUsd: 5.0 })
    const client = session.wrapOpenAI(clientOf(provider))
    const response = await ask(client, "gpt-4o")
    assert.strictEqual(response.choices.length, 1)
    assert.isAbove(session.getTotalSpent(), 0)
    assert.strictEqual(session.getTotalSpent(), billed(provider))
    assert.strictEqual(session.getRemainingBudget(), Number((5 - billed(provider)).toFixed(9)))
  })

  it("five concurrent agents share $10, and together never pass it", async () => {
    await using provider = await start({ outputTokens: 4_000, inputTokens: 20 })
    await using session = new BudgetedSession({ budgetUsd: 10 })
    const client = session.wrapOpenAI(clientOf(provider))
    // A call costs at most $0.24 and a little: each agent would spend $12 alone.
    const agent = async (name: number): Promise<BudgetExceededError> => {
      for (let call = 0; call < 50; call++) {
        try {
          await client.chat.completions.create({
            model: "o1",
            max_completion_tokens: 4_000,
            messages: [{ role: "user", content: `Agent ${name}` }]
          })
        } catch (error) {
          if (error instanceof BudgetExceededError) return error
          throw error
        }
      }
      return assert.fail("an agent was never refused")
    }
    const refusals = await Promise.all([1, 2, 3, 4, 5].map(agent))
    assert.lengthOf(refusals, 5)
    assert.strictEqual(session.getTotalSpent(), billed(provider))
    assert.isAtMost(billed(provider), 10)
    // What is left would not have paid for one more call, so that nothing was refused in vain at the end.
    assert.isBelow(session.getRemainingBudget(), 0.25)
    assert.strictEqual(provider.requests.length, session.getSummary().calls)
  })

  it("the batch tier halves the rates that a call is booked at", async () => {
    await using provider = await start({ tier: "batch", echo: { tier: "default" } })
    await using batch = new BudgetedSession({ budgetUsd: 5, tier: "batch" })
    await ask(batch.wrapOpenAI(clientOf(provider)), "gpt-4o")
    assert.strictEqual(batch.getTotalSpent(), billed(provider))
    await using dear = await start()
    await using standard = new BudgetedSession({ budgetUsd: 5 })
    await ask(standard.wrapOpenAI(clientOf(dear)), "gpt-4o")
    assert.strictEqual(standard.getTotalSpent(), 2 * batch.getTotalSpent())
    assert.include(batch.getSummary().unverified, "unverifiedTier")
    assert.notInclude(standard.getSummary().unverified, "unverifiedTier")
  })

  it("o3 with $20: reasoning is booked as the output that it is billed as", async () => {
    await using provider = await start({ reasoningTokens: 3_000, outputTokens: 500 })
    await using session = new BudgetedSession({ budgetUsd: 20 })
    await ask(session.wrapOpenAI(clientOf(provider)), "o3", "Solve this complex problem.")
    assert.strictEqual(session.getTotalSpent(), billed(provider))
    const usage = session.getSummary().byModel["o3"]?.usage
    assert.strictEqual(usage?.output, 3_500)
    assert.strictEqual(usage?.reasoning, 3_000)
  })

  it("the public API: what was spent, what is left, the summary, and the error before anything is sent", async () => {
    await using provider = await start()
    await using session = new BudgetedSession({ budgetUsd: 0.05 })
    const client = session.wrapOpenAI(clientOf(provider))
    await ask(client, "gpt-4o-mini")
    const sent = provider.requests.length
    let caught: unknown
    try {
      await client.chat.completions.create({
        model: "gpt-4o",
        max_completion_tokens: 16_000,
        messages: [{ role: "user", content: "Write a long report." }]
      })
    } catch (error) {
      caught = error
    }
    assert.isTrue(caught instanceof BudgetExceededError)
    assert.isTrue(caught instanceof BudgetRefusedError)
    assert.isTrue(caught instanceof OpenAI.OpenAIError)
    assert.strictEqual(provider.requests.length, sent)
    const { byModel, calls, limitUsd, refused, remainingUsd, spentUsd } = session.getSummary()
    assert.deepStrictEqual([limitUsd, calls, refused], [0.05, 1, 1])
    assert.strictEqual(spentUsd, session.getTotalSpent())
    assert.strictEqual(remainingUsd, session.getRemainingBudget())
    assert.strictEqual(byModel["gpt-4o-mini"]?.calls, 1)
    assert.strictEqual(byModel["gpt-4o-mini"]?.spentUsd, billed(provider))
    assert.notProperty(byModel, "gpt-4o")
  })
})

describe("every model family of the original's list", () => {
  it.each(Object.keys(prices))("%s: a call books exactly the provider's bill", async (model) => {
    await using provider = await start({ inputTokens: 37, cachedTokens: 11, outputTokens: 113 })
    await using session = new BudgetedSession({ budgetUsd: 5 })
    const client = session.wrapOpenAI(clientOf(provider))
    // o3-pro is sold by the Responses API only.
    if (model === "o3-pro") await client.responses.create({ model, input: "Analyze this market." })
    else await ask(client, model)
    const { assumedUsd, spentUsd } = session.getSummary().byModel[model] ?? {}
    assert.isAbove(billed(provider), 0)
    assert.strictEqual(spentUsd, billed(provider))
    assert.strictEqual(assumedUsd, 0)
  })
})
