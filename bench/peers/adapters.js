/**
 * Each peer behind one small interface (`Peer` in ../comparison/peer.ts), used as its own README says.
 *
 * JavaScript, so that the project is type-checked without these packages. Imports lead to the node_modules beside
 * this file: `effect` here is the version that a peer depends on, not the one of the project.
 */
import { readFileSync } from "node:fs"
import { createRequire, registerHooks } from "node:module"

// @reactive-agents/cost imports it at the top and needs it only to keep its books in a file.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "bun:sqlite"
      ? { url: "data:text/javascript,export class Database {}", shortCircuit: true }
      : next(specifier, context)
})

const require = createRequire(import.meta.url)

const versionOf = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version

const llmCostGuard = {
  name: "llm-cost-guard",
  kind: "client",
  unit: "usd",
  call: "`createGuard({ budgets: [{ limitUsd, windowMs }] }).wrap(client)`, then `chat.completions.create`",
  note: "Loaded with `require`: its ES modules do not load in Node. It books after the answer and then throws, so that the answer of the call that went over is lost, and that of a model without a price; nothing is refused before it is sent.",
  open: ({ limitUsd, client }) => {
    const { createGuard } = require("llm-cost-guard")
    const guard = createGuard({ budgets: [{ id: "all", limitUsd, windowMs: 3_600_000 }] })
    const wrapped = guard.wrap(client)
    return {
      ask: (request) => wrapped.chat.completions.create(request),
      booked: async () => (await guard.getUsage()).totalSpendUsd
    }
  }
}

const llmSpendGuard = {
  name: "llm-spend-guard",
  kind: "client",
  unit: "tokens",
  call: "`new LLMGuard({ globalBudgetTokens }).wrapOpenAI(client)`, then `guard.openai.chat`",
  note: "It budgets tokens and knows no prices: $0.50 is the tokens of fifty of the calls. What it books for a stream is its own guess and the whole `max_tokens`; it takes cached tokens for full ones.",
  open: async ({ limitTokens, client }) => {
    const { LLMGuard } = await import("llm-spend-guard")
    const guard = new LLMGuard({ globalBudgetTokens: limitTokens })
    guard.wrapOpenAI(client)
    return {
      ask: (request) => guard.openai.chat(request),
      booked: async () => (await guard.getStats())[0].used
    }
  }
}

const reactiveAgents = {
  name: "@reactive-agents/cost",
  kind: "manual",
  unit: "usd",
  call: "`makeBudgetEnforcer({ perSession, ... })`: `check(cost)`, the call, `record(cost)`",
  note: "With `bun:sqlite` stubbed, since it is made for Bun. Its `CostService` has the same check and hands what `recordCost` is told to a tracker that the check does not read, so its enforcer is used directly.",
  open: async ({ limitUsd, costUsd, pay }) => {
    const { makeBudgetEnforcer } = await import("@reactive-agents/cost")
    const { Effect } = await import("effect")
    const limits = { perRequest: limitUsd, perSession: limitUsd, daily: limitUsd, monthly: limitUsd }
    const enforcer = await Effect.runPromise(makeBudgetEnforcer(limits))
    const paid = Effect.promise(pay)
    const guarded = enforcer.check(costUsd, "agent", "session").pipe(
      Effect.zipRight(paid),
      Effect.tap(() => enforcer.record(costUsd, "agent", "session"))
    )
    return {
      ask: () => Effect.runPromise(guarded),
      loop: (times, isGuarded) => Effect.runPromise(Effect.repeatN(isGuarded ? guarded : paid, times - 1)),
      booked: () =>
        Effect.runPromise(enforcer.getStatus("agent", "session")).then((status) => status.currentSession)
    }
  }
}

const rateLimiterFlexible = {
  name: "rate-limiter-flexible",
  kind: "manual",
  unit: "points",
  call: "`new RateLimiterMemory({ points: 50, duration: 0 })`: `consume(key)`, then the call",
  note: "A counter: each call is a point, whatever it cost. What it says is consumed counts the refused as well.",
  open: async ({ limitCalls, pay }) => {
    const { RateLimiterMemory } = await import("rate-limiter-flexible")
    const limiter = new RateLimiterMemory({ points: limitCalls, duration: 0 })
    return {
      ask: async () => {
        await limiter.consume("agent")
        return await pay()
      },
      booked: async () => (await limiter.get("agent")).consumedPoints
    }
  }
}

const bottleneck = {
  name: "bottleneck",
  kind: "manual",
  unit: "points",
  call: "`new Bottleneck({ reservoir: 50 })`: `schedule(call)`",
  note: "A counter. What does not fit waits without an end; here `stop()` drops it after the run.",
  open: async ({ limitCalls, pay }) => {
    const { default: Bottleneck } = await import("bottleneck")
    const limiter = new Bottleneck({ reservoir: limitCalls })
    return {
      ask: () => limiter.schedule(pay),
      giveUp: () => limiter.stop({ dropWaitingJobs: true }),
      booked: async () => limitCalls - (await limiter.currentReservoir())
    }
  }
}

export const peers = [llmCostGuard, llmSpendGuard, reactiveAgents, rateLimiterFlexible, bottleneck].map(
  (peer) => ({ ...peer, version: versionOf(peer.name) })
)
