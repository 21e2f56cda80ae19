/**
 * A verb of a store, given up after a time. Timers here are real ones: a server answers in real time, whatever clock this
 * program runs by. It does what `Effect.timeoutOrElse` does for a third of its price, which each verb of each call pays.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { longestTimer } from "./background.ts"

/** Runs a verb in a fiber of its own; after so many milliseconds that is interrupted, and `late` answers. */
export const inTime = <A, E, L>(
  verb: Effect.Effect<A, E>,
  millis: number,
  late: () => Effect.Effect<never, L>
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
        resume(exit)
      })
      return Effect.suspend(() => {
        clearTimeout(timer)
        return Fiber.interrupt(running)
      })
    })
  )
