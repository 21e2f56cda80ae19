/** What a call carries from the fiber that makes it, through a client that knows nothing of fibers, to `fetch`. */
import { AsyncLocalStorage } from "node:async_hooks"
import * as Context from "effect/Context"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"
import * as Tracer from "effect/Tracer"
import * as Telemetry from "../Telemetry.ts"
import type { Cover, Holding } from "./cover.ts"

/** A request on its way through a budgeted `fetch`: another one below it must not charge it again. */
export interface Passing {
  readonly owner: object
  readonly url: string
  readonly body: unknown
  /** One request passes once: whoever sends it again pays again. */
  used: boolean
}

interface CallContext {
  /** The context of the calling fiber: its account, its clock, whether it holds a reservation. */
  readonly context: Context.Context<never> | undefined
  readonly passing: Passing | undefined
}

/** Where a fiber's calls are charged, for each budget: another budget's account means nothing to this one. */
export const Places = Context.Reference<ReadonlyMap<object, string>>("agent-budget/Places", {
  defaultValue: () => new Map()
})

/**
 * Where a fiber's calls are charged: what the fiber says goes before what is said around it, by whoever runs it, as a
 * fiber that is run anew inside of a session's `within` has nothing of its own.
 */
const placesOf = (context: Context.Context<never>): ReadonlyMap<object, string> => {
  const own = Context.get(context, Places)
  const told = callContext.getStore()?.context
  if (told === undefined || told === context) return own
  const around = Context.get(told, Places)
  if (around.size === 0 || around === own) return own
  return own.size === 0 ? around : new Map([...around, ...own])
}

/** What the fiber holds. One that holds anything never waits, or it could wait for itself. */
export const Held = Context.Reference<Holding | undefined>("agent-budget/Held", {
  defaultValue: () => undefined
})

/** The call of a model that the fiber makes a request for. */
export const Covering = Context.Reference<Cover | undefined>("agent-budget/Covering", {
  defaultValue: () => undefined
})

export const holdsAny = (holding: Holding | undefined): boolean =>
  holding !== undefined && (holding.held || holdsAny(holding.outer))

/**
 * A context with what is said around it, where it says nothing itself: where its calls are charged, the call of a model
 * that they are made for, and what is held meanwhile. A fiber that is run anew inside of all that knows none of it.
 */
export const placed = (context: Context.Context<never>): Context.Context<never> => {
  const told = callContext.getStore()?.context
  if (told === undefined || told === context) return context
  const places = placesOf(context)
  let whole = places === Context.get(context, Places) ? context : Context.add(context, Places, places)
  const covering = Context.get(told, Covering)
  if (covering !== undefined && Context.get(context, Covering) === undefined) {
    whole = Context.add(whole, Covering, covering)
  }
  const held = Context.get(told, Held)
  return holdsAny(held) && !holdsAny(Context.get(context, Held)) ? Context.add(whole, Held, held) : whole
}

/**
 * A context to run calls in later, by whoever makes them: without the account and the reservation of the fiber that it
 * was taken from. One that was taken inside `runSync` lends a scheduler that never lets anything
 * else run: it stays behind.
 */
export const lasting = <Services>(context: Context.Context<Services>): Context.Context<Services> => {
  const scheduler = Context.getOption(context, Scheduler.Scheduler)
  const isSync = Option.isSome(scheduler) && scheduler.value.executionMode === "sync"
  // Omitting a reference takes no service away that anyone could ask for: it falls back to its default.
  const own = Context.omit(Places, Held, Covering)(context)
  return isSync ? Context.omit(Scheduler.Scheduler)(own) : own
}

export const callContext = new AsyncLocalStorage<CallContext>()

/** Makes a call for the fiber that is running, if one is that has an account, a model's call or a tracer to tell of. */
export const forFiber = <A>(run: () => A): A => {
  const fiber = Fiber.getCurrent()
  if (fiber === undefined) return run()
  const { context } = fiber
  const told = callContext.getStore()
  if (told?.context === context) return run()
  const hasOwn =
    Context.get(context, Places).size > 0 ||
    Context.get(context, Covering) !== undefined ||
    holdsAny(Context.get(context, Held)) ||
    isObserved(context)
  return hasOwn ? callContext.run({ context: placed(context), passing: told?.passing }, run) : run()
}

/**
 * A context whose fibers tell everything that they call which fiber calls, also what goes on once they wait for it: a
 * client that knows nothing of fibers calls `fetch` some turns later. A tracer is asked to run each step of a fiber.
 */
export const telling = (context: Context.Context<never>): Context.Context<never> => {
  const tracer = tracerOf(context)
  const told = Tracer.make({
    span: (options) => tracer.span(options),
    context: (primitive, fiber) => {
      const step = () =>
        tracer.context === undefined
          ? primitive["~effect/Effect/evaluate"](fiber)
          : tracer.context(primitive, fiber)
      const store = callContext.getStore()
      return store?.context === fiber.context
        ? step()
        : callContext.run({ context: fiber.context, passing: store?.passing }, step)
    }
  })
  tracers.set(told, tracer)
  return Context.add(context, Tracer.Tracer, told)
}

/** What was told to run the steps of a fiber here, and the tracer that it stands before. */
const tracers = new WeakMap<Tracer.Tracer, Tracer.Tracer>()

/** The tracer that spans go to. */
export const tracerOf = (context: Context.Context<never>): Tracer.Tracer => {
  const tracer = Context.get(context, Tracer.Tracer)
  return tracers.get(tracer) ?? tracer
}

/** Whether the context has a tracer that exports. */
export const isExported = (context: Context.Context<never>): boolean =>
  tracerOf(context) !== Tracer.nativeTracer

/** Whether the context says anything of telemetry. */
export const isObserved = (context: Context.Context<never>): boolean =>
  isExported(context) || Context.getOrUndefined(context, Telemetry.Settings) !== undefined
