/**
 * Verbs that are one step wherever nobody has to wait: whoever is in a step of its own takes it there, without a fiber
 * or an operation of one, which cost more than the step.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** Who asks: a fiber, or a call that needs none. */
export type Caller = Pick<Fiber.Fiber<unknown, unknown>, "currentDispatcher" | "getRef">

/** Asks for a context without a fiber. */
export class ContextCaller implements Caller {
  readonly context: Context.Context<never>

  constructor(context: Context.Context<never>) {
    this.context = context
  }

  getRef<A>(ref: Context.Reference<A>): A {
    return Context.get(this.context, ref)
  }

  /** A new one each time: one that is kept may wait for a callback that a runtime, or a test, has thrown away. */
  get currentDispatcher(): Scheduler.SchedulerDispatcher {
    return this.getRef(Scheduler.Scheduler).makeDispatcher()
  }
}

/**
 * What a verb does for whoever asks. Where it answers an exit it is done; else what it answers is still to be run, and
 * nothing has been taken that would be lost if it were not.
 */
export type Step<Given extends ReadonlyArray<unknown>, A, E> = (
  caller: Caller,
  ...given: Given
) => Effect.Effect<A, E>

type Verb<Given extends ReadonlyArray<unknown>, A, E> = (...given: Given) => Effect.Effect<A, E>

/** By the verb itself: what somebody puts in its place or around it has no step. */
const steps = new WeakMap<Verb<never, unknown, unknown>, unknown>()

/** The verb of a step. */
export const stepping = <Given extends ReadonlyArray<unknown>, A, E>(
  step: Step<Given, A, E>
): Verb<Given, A, E> => {
  const verb = (...given: Given): Effect.Effect<A, E> => Effect.withFiber((fiber) => step(fiber, ...given))
  steps.set(verb, step)
  return verb
}

/** The step of a verb; of one that has none, all of it is still to be run. */
export const stepOf = <Given extends ReadonlyArray<unknown>, A, E>(
  verb: Verb<Given, A, E>
): Step<Given, A, E> =>
  // Each is kept under the verb that was made of it.
  (steps.get(verb) as Step<Given, A, E> | undefined) ?? ((_, ...given) => verb(...given))

/**
 * A step that dies of what it throws, as its verb does: who takes it in a step of his own is not to be thrown out of
 * that.
 */
export const unthrowing =
  <Given extends ReadonlyArray<unknown>, A, E>(step: Step<Given, A, E>): Step<Given, A, E> =>
  (caller, ...given) => {
    try {
      return step(caller, ...given)
    } catch (defect) {
      return Effect.die(defect)
    }
  }

/** Whether a step is done, and went well. */
export const isDone = <A, E>(answer: Effect.Effect<A, E>): answer is Exit.Success<A, E> =>
  Exit.isExit(answer) && Exit.isSuccess(answer)

/** How an effect ended that has begun: what may fail before it does is no failure of its own. */
export const ownExit = <A, E, Before>(exit: Exit.Exit<A, E | Before>): Exit.Exit<A, E> =>
  // Only whoever asks knows that it has begun, which no type says.
  exit as Exit.Exit<A, E>
