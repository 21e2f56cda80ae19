/** Our own two ways in, and the rate limiter of the Effect that the project depends on. */
import { Budget, BudgetedSession, Usd } from "agent-budget"
import { Effect, Layer, ManagedRuntime } from "effect"
import { RateLimiter } from "effect/persistence"
import { readFileSync } from "node:fs"
import type { Peer } from "./peer.ts"

const versionOf = (packageJson: string): string => {
  const { version } = JSON.parse(readFileSync(new URL(packageJson, import.meta.url), "utf8")) as {
    readonly version: string
  }
  return version
}

const version = versionOf("../../package.json")

const withBudget: Peer = {
  name: "agent-budget, withBudget",
  version,
  kind: "manual",
  unit: "usd",
  call: "`Budget.withBudget({ quote, cost })` around the call, on `Budget.layerMemory({ limit })`",
  note: "Here the caller says what a call can cost and what it did, as with the others of this kind.",
  open: ({ limitUsd, costUsd, pay }) => {
    const cent = Usd.dollars(costUsd)
    const runtime = ManagedRuntime.make(Budget.layerMemory({ limit: Usd.dollars(limitUsd) }))
    const paid = Effect.promise(pay)
    const guarded = paid.pipe(Budget.withBudget({ quote: cent, cost: () => cent }))
    const repeated = (times: number, isGuarded: boolean) =>
      Effect.gen(function* () {
        for (let done = 0; done < times; done++) yield* isGuarded ? guarded : paid
      })
    return {
      ask: () => runtime.runPromise(guarded),
      loop: (times, isGuarded) => runtime.runPromise(repeated(times, isGuarded)),
      booked: async () => Usd.toNumber((await runtime.runPromise(Budget.summary)).spent),
      close: () => runtime.dispose()
    }
  }
}

const wrapped: Peer = {
  name: "agent-budget, wrapped client",
  version,
  kind: "client",
  unit: "usd",
  call: "`new BudgetedSession({ budgetUsd }).wrapOpenAI(client)`, then `chat.completions.create`",
  note: "It reserves a bound on the input, a little above what is billed, so that the fiftieth call may not fit what 49 left.",
  open: ({ limitUsd, client }) => {
    const session = new BudgetedSession({ budgetUsd: limitUsd })
    const budgeted = session.wrapOpenAI(client)
    return {
      ask: (request) => budgeted.chat.completions.create(request),
      booked: async () => (await session.balance()).spentUsd,
      close: () => session.close()
    }
  }
}

const rateLimiter: Peer = {
  name: "effect, RateLimiter",
  version: versionOf("../../node_modules/effect/package.json"),
  kind: "manual",
  unit: "points",
  call: '`RateLimiter.makeWithRateLimiter`: `{ limit: 50, window: "1 day", onExceeded: "fail" }` around the call',
  note: "A counter over a window of time, which has to have an end.",
  open: async ({ limitCalls, pay }) => {
    const runtime = ManagedRuntime.make(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)))
    const limited = await runtime.runPromise(RateLimiter.makeWithRateLimiter)
    const paid = Effect.promise(pay)
    const guarded = paid.pipe(
      limited({ key: "agent", limit: limitCalls, window: "1 day", onExceeded: "fail" })
    )
    const repeated = (times: number, isGuarded: boolean) =>
      Effect.gen(function* () {
        for (let done = 0; done < times; done++) yield* isGuarded ? guarded : paid
      })
    return {
      ask: () => runtime.runPromise(guarded),
      loop: (times, isGuarded) => runtime.runPromise(repeated(times, isGuarded)),
      close: () => runtime.dispose()
    }
  }
}

export const ours: ReadonlyArray<Peer> = [withBudget, wrapped]
export const ofEffect: ReadonlyArray<Peer> = [rateLimiter]
