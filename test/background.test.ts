import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { isAtOnce, lasting, nap } from "../src/internal/background.ts"

const atOnce = Effect.withFiber((fiber) => Effect.succeed(isAtOnce(fiber)))

describe("work in the background", () => {
  it("of what was made under runSync may wait, as of what was not", async () => {
    const later = Effect.andThen(nap(1), atOnce)
    const forked = Effect.all([atOnce, lasting(Effect.forkDetach(later)), Effect.forkDetach(later)])
    const [isOpening, lasts, inherits] = Effect.runSync(forked)
    assert.isTrue(isOpening)
    assert.isFalse(await Effect.runPromise(Fiber.join(lasts)))
    assert.isTrue(await Effect.runPromise(Fiber.join(inherits)))
    const [none, same] = await Effect.runPromise(forked)
    assert.isFalse(none)
    assert.isFalse(await Effect.runPromise(Fiber.join(same)))
  })

  it.effect("sleeps by the clock that it is given", () =>
    Effect.gen(function* () {
      const sleeping = yield* Effect.forkChild(nap(60_000))
      yield* TestClock.adjust(59_999)
      assert.isUndefined(sleeping.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(sleeping)
    })
  )

  it.live("does not take a month for no time", () =>
    Effect.gen(function* () {
      const sleeping = yield* Effect.forkChild(nap(31 * 86_400_000))
      yield* Effect.sleep(20)
      assert.isUndefined(sleeping.pollUnsafe())
      yield* Fiber.interrupt(sleeping)
    })
  )
})
