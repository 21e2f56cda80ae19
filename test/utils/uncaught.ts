/** What is thrown and caught by nobody while a scope is open, instead of ending the run of the tests. */
import { Effect } from "effect"

const kinds = ["uncaughtException", "unhandledRejection"] as const

export const uncaught = Effect.gen(function* () {
  const seen: Array<unknown> = []
  const note = (error: unknown): void => void seen.push(error)
  for (const kind of kinds) {
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const others = process.rawListeners(kind)
        process.removeAllListeners(kind)
        process.on(kind, note)
        return others
      }),
      (others) =>
        Effect.sync(() => {
          process.off(kind, note)
          // The types of an emitter's listeners are not told apart by its event.
          for (const other of others) process.on(kind, other as (error: unknown) => void)
        })
    )
  }
  return seen
})
