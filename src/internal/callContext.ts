/** What a call carries from the fiber that makes it, through a client that knows nothing of fibers, to `fetch`. */
import { AsyncLocalStorage } from "node:async_hooks"
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"

/** A request on its way through a budgeted `fetch`: another one below it must not charge it again. */
export interface Passing {
  readonly owner: object
  readonly url: string
  readonly body: unknown
  /** One request passes once: whoever sends it again pays again. */
  used: boolean
}

export interface CallContext {
  /** The context of the calling fiber: its account, its clock, whether it holds a reservation. */
  readonly context: Context.Context<never> | undefined
  readonly passing: Passing | undefined
}

/** Where a fiber's calls are charged, for each budget: another budget's account means nothing to this one. */
export const Places = Context.Reference<ReadonlyMap<object, string>>("agent-budget/Places", {
  defaultValue: () => new Map()
})

/** A reservation that a fiber, or one that it was forked from, holds for as long as `held` says so. */
export interface Holding {
  held: boolean
  readonly outer: Holding | undefined
}

/** What the fiber holds. One that holds anything never waits, or it could wait for itself. */
export const Held = Context.Reference<Holding | undefined>("agent-budget/Held", {
  defaultValue: () => undefined
})

export const holdsAny = (holding: Holding | undefined): boolean =>
  holding !== undefined && (holding.held || holdsAny(holding.outer))

/**
 * A context to run calls in later, by whoever makes them: without the account and the reservation of the fiber that it
 * was taken from. One that was taken inside `runSync` lends a scheduler that never lets anything
 * else run: it stays behind.
 */
export const lasting = <Services>(context: Context.Context<Services>): Context.Context<Services> => {
  const scheduler = Context.getOption(context, Scheduler.Scheduler)
  const isSync = Option.isSome(scheduler) && scheduler.value.executionMode === "sync"
  // Omitting a reference takes no service away that anyone could ask for: it falls back to its default.
  const own = Context.omit(Places, Held)(context)
  return isSync ? Context.omit(Scheduler.Scheduler)(own) : own
}

export const callContext = new AsyncLocalStorage<CallContext>()
