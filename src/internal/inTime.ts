/**
 * A verb of a store, given up after a time. Timers here are real ones: a server answers in real time, whatever clock this
 * program runs by. It does what `Effect.timeoutOrElse` does for a third of its price, which each verb of each call pays.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { longestTimer } from "./background.ts"

/**
 * Runs a verb in a fiber of its own; after so many milliseconds that is interrupted, and `late` answers. Where something
 * else interrupts it (a pool of connections that was closed), `gone` does.
 */
export const inTime = <A, E, L>(
  verb: Effect.Effect<A, E>,
  millis: number,
  late: () => Effect.Effect<never, L>,
  gone = late
): Effect.Effect<A, E | L> =>
  Effect.withFiber((fiber) =>
    Effect.callback<A, E | L>((resume) => {
      const running = Effect.runForkWith(fiber.context)(verb)
      const timer = setTimeout(
        () => resume(Effect.andThen(Fiber.interrupt(running), Effect.suspend(late))),
        Math.min(millis, longestTimer)
      )
      running.addObserver((exit) => {
        clearTimeout(timer)
        const isGone = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
        resume(isGone ? Effect.suspend(gone) : exit)
      })
      return Effect.suspend(() => {
        clearTimeout(timer)
        return Fiber.interrupt(running)
      })
    })
  )
