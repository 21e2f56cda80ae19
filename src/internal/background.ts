/**
 * What goes on behind a program's back, and what cannot go on there: work that must not keep the program alive, answers
 * of several askers, and steps of a fiber that runs under `runSync`, where nothing may wait for the event loop.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as PubSub from "effect/PubSub"
import * as Scheduler from "effect/Scheduler"

/** Whether the fiber runs under `runSync`: what is not done when it first waits fails. */
export const isAtOnce = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.getRef(Scheduler.Scheduler).executionMode === "sync"

/**
 * For forks of what goes on later: under `runSync` they would keep its scheduler, which lets nothing else run, and
 * count as fibers that must not wait.
 */
export const lasting = <A, E, R>(forks: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    isAtOnce(fiber)
      ? Effect.provideService(forks, Scheduler.Scheduler, new Scheduler.MixedScheduler())
      : forks
  )

/** Blocks the thread, for whoever cannot wait in another way. */
export const block = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

const machine = Context.get(Context.empty(), Clock.Clock)

/** Sleeps without keeping the program alive; by any other clock than the machine's, as that clock does. */
export const nap = (millis: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.Clock, (clock) => (clock === machine ? unheld(millis) : Effect.sleep(millis)))

/** Node takes no longer timer, and would fire it at once: whoever naps longer looks around once in between. */
export const longestTimer = 2 ** 31 - 1

const unheld = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), Math.min(millis, longestTimer))
    timer.unref()
    return Effect.sync(() => clearTimeout(timer))
  })

/** Logs what went wrong beside somebody's own affairs: a logger that throws costs him neither his answer nor an end. */
export const aside = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.asVoid(Effect.exit(log))

/**
 * Tells an asker, who goes on at once, inside of it. What that throws is the asker's own: it is thrown where nobody else
 * who is to be told hears of it, and nobody catches it.
 */
export const apart = (tell: () => void): void => {
  try {
    tell()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/**
 * Tells all who read, at once. Where one of them is so far behind that there is no room, the oldest gives way: to give up
 * the newest, as `publishUnsafe` does by itself, would cost those who are not behind, too.
 */
export const toReaders = <A>(readers: PubSub.PubSub<A>, news: A): void => {
  if (!PubSub.publishUnsafe(readers, news)) Effect.runSync(PubSub.publish(readers, news))
}
