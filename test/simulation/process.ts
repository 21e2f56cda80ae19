/** One process of the world: its own budget and `fetch`, over books that it may share with others. */
import { Budget, type BudgetError, BudgetedFetch, Ledger, Pricing, TokenCounter, Usd } from "agent-budget"
import { Clock, Context, Effect, Layer, Logger, Scope, type Fiber } from "effect"
import type { LedgerStore } from "../../src/internal/ledgerStore.ts"
import type { SteppedStore } from "../utils/steppedStore.ts"
import { isDone, stepOf, stepping } from "../../src/internal/steps.ts"
import type { Coverage } from "./coverage.ts"
import type { Engine, Owner } from "./engine.ts"
import type { Judge } from "./judge.ts"
import { listed } from "./prices.ts"
import { type Provider, root } from "./provider.ts"

/** Which attempt a fiber works for; nobody's. */
export const Caller = Context.Reference<string>("simulation/Caller", { defaultValue: () => "" })

/** Whether a fiber goes on after its maker. */
export const Left = Context.Reference<boolean>("simulation/Left", { defaultValue: () => false })

/** Whether a fiber works inside something that holds a reservation: who does must never wait for another. */
export const Holding = Context.Reference<{ held: boolean }>("simulation/Holding", {
  defaultValue: () => ({ held: false })
})

/** An ask that has no answer yet. */
export interface Waiting {
  readonly owner: Owner
  readonly request: Ledger.ReserveRequest
  /** It was still there when a step had ended. */
  seen: boolean
}

/** Whom the processes work with, and who is told what they do. */
export interface Surroundings {
  readonly engine: Engine
  readonly provider: Provider
  readonly judge: Judge
  readonly coverage: Coverage
  /** In the order in which they came. */
  readonly waiting: Set<Waiting>
  readonly bytesPerToken: number
  /** The books are in a store, which may be away. */
  readonly isStored: boolean
  /** What can be reserved now on an account and all above it; nothing where one is closed or paused. */
  readonly roomOn: (account: string) => number | undefined
}

export interface Terms {
  /** What the root may spend, now: someone may have changed it. */
  readonly limit: () => number
  readonly window: Ledger.Window | undefined
  readonly policy: BudgetedFetch.PolicyOptions
  /** In milliseconds; nobody waits without it. */
  readonly waitAtMost: number | undefined
}

/** What the agents of a process work with. */
export interface Desk {
  readonly budget: Budget.Budget["Service"]
  readonly fetch: BudgetedFetch.Fetch
  readonly scope: Scope.Closeable
  readonly context: Context.Context<Budget.Budget>
}

/** Counts what the provider bills; it lets others run, as a counter that works may. */
const counterOf = (count: (text: string) => number) =>
  Layer.succeed(TokenCounter.TokenCounter, {
    count: (text) => Effect.as(Effect.yieldNow, count(text))
  })

/** A ledger whose reservations are written down as those of the attempt that asks. */
const watched = (
  ledger: Ledger.Ledger["Service"],
  owner: Owner,
  { coverage, engine, isStored, judge, roomOn, waiting }: Surroundings
): Ledger.Ledger["Service"] => ({
  ...ledger,
  reserve: stepping((caller, request: Ledger.ReserveRequest) => {
    const { account, least, waitAtMost } = request
    const place: Waiting = { owner, request, seen: false }
    judge.claim(
      waitAtMost === undefined || !caller.getRef(Holding).held,
      () => `${caller.getRef(Caller)} would wait for others, and holds what they may wait for`
    )
    judge.asks.add(caller.getRef(Clock.Clock).currentTimeMillisUnsafe())
    const granted = ({ amount, id }: Ledger.Reservation): void => {
      const most = request.most ?? least
      judge.claim(amount >= least && amount <= most, () => `${amount} is held, not ${least} to ${most}`)
      judge.bind(id, caller.getRef(Caller))
      if (place.seen)
        coverage.met(isStored ? "grants after a wait over a store" : "grants after a wait in memory")
    }
    const since = engine.turns
    const refused = (error: BudgetError.BudgetError): void => {
      // Only where nothing else has happened since is it known what there was room for.
      if (engine.turns !== since || error.reason._tag !== "BudgetExceeded") return
      const room = roomOn(account)
      if (room === least - 1) coverage.met("refused by a nano-dollar")
      judge.claim(
        room === undefined || room < least,
        () => `${least} was refused on ${account}, which has ${room}`
      )
    }
    const answer = stepOf(ledger.reserve)(caller, request)
    if (isDone(answer)) {
      coverage.met("admissions without a fiber")
      granted(answer.value)
      return answer
    }
    const asked = Effect.suspend(() => {
      if (waitAtMost !== undefined) waiting.add(place)
      return answer
    })
    return asked.pipe(
      Effect.tapError((error) => Effect.sync(() => refused(error))),
      Effect.tap((reservation) => Effect.sync(() => granted(reservation))),
      Effect.onExit(() => Effect.sync(() => waiting.delete(place)))
    )
  })
})

/** A store whose asks are written down as those of the attempt that made them first. */
export const heard = (store: SteppedStore, judge: Judge, by: Owner): LedgerStore => ({
  ...store,
  reserve: (ask) =>
    Effect.withFiber((fiber) => {
      judge.bind(ask.id, fiber.getRef(Caller))
      return Effect.tap(store.reserve(ask), (answer) => Effect.sync(() => judge.refused(ask, answer)))
    }),
  cancel: (id) =>
    Effect.tap(store.cancel(id), () =>
      Effect.sync(() => judge.cancelled.set(id, { by, seq: judge.seq + store.after(judge.seq).length }))
    )
})

/** What may be logged as an error: that the books could not be reached, or that an agent had ended in two ways. */
const expectedLog = /kept and written as soon as it can be|could not be reached|refused by it: Differs/

const complaints = (judge: Judge, owner: Owner): Logger.Logger<unknown, void> =>
  Logger.make(({ logLevel, message }) => {
    const text = String(message)
    const isError = logLevel === "Error" || logLevel === "Fatal"
    if (isError && !expectedLog.test(text)) judge.fault(`${owner.name} logged: ${text}`)
  })

/** Opens the budget of a process over an engine of the ledger. */
export const open = (
  owner: Owner,
  surroundings: Surroundings,
  engine: Effect.Effect<Ledger.Ledger["Service"], never, Scope.Scope>,
  { limit, policy, waitAtMost, window }: Terms
) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const ledger = watched(yield* Scope.provide(engine, scope), owner, surroundings)
    const onExceeded = waitAtMost === undefined ? "fail" : "wait"
    const budget = Layer.unwrap(
      Effect.sync(() => Budget.layer({ limit: Usd.nanos(limit()), window, onExceeded, waitAtMost }))
    )
    const services = Layer.mergeAll(
      Layer.provide(budget, Layer.succeed(Ledger.Ledger, ledger)),
      Pricing.layerOf(listed, { bundled: false }),
      BudgetedFetch.layer(policy),
      counterOf((text) => surroundings.provider.count(text))
    )
    // Another process may change the limit between the question and the answer.
    const context = yield* Effect.retry(Layer.buildWithScope(services, scope), { times: 20 })
    const sender = surroundings.provider.fetchFor(owner)
    const make = BudgetedFetch.make({ fetch: sender, baseURL: root, refusal: "throw" })
    const fetch = yield* Effect.provideContext(make, context)
    const desk: Desk = { budget: Context.get(context, Budget.Budget), fetch, scope, context }
    return desk
  })

/** Starts something in a process: by its time, and in the turns that the seed gives it. */
export const start = <A, E>(
  owner: Owner,
  { engine, judge }: Surroundings,
  effect: Effect.Effect<A, E>
): Fiber.Fiber<A, E> => {
  const context = Context.add(
    engine.contextOf(owner),
    Logger.CurrentLoggers,
    new Set([complaints(judge, owner)])
  )
  return Effect.runForkWith(context)(effect)
}
