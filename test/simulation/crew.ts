/** An agent that does several things at once, in accounts below accounts, and gives some of them up half-way. */
import { Budget, Usd, type BudgetError } from "agent-budget"
import { Cause, Effect, Fiber } from "effect"
import type { Agent } from "./agents.ts"
import { isExpected } from "./expected.ts"
import { Left } from "./process.ts"

export type Work = Effect.Effect<void, BudgetError.BudgetError, Budget.Budget>

/** In accounts of its own, one inside the other; two of a name are the same where they have the same parent. */
const deeper = (agent: Agent, work: Work): Work => {
  const { random, surroundings } = agent
  const { coverage } = surroundings
  let placed = work
  for (let depth = random.below(3); depth > 0; depth--) {
    const name = random.below(3)
    const limit = name === 0 ? undefined : Usd.nanos(name * 8_000_000)
    coverage.met("nested accounts")
    placed = Budget.within(placed, { account: `part-${name}`, limit })
  }
  if (random.chance(0.8)) return placed
  coverage.met("tracked")
  return Effect.asVoid(Budget.track(placed))
}

/** Goes on when its maker has gone, maybe after the account that it was begun in has closed. */
const leftRunning = (agent: Agent, work: Work): Work => {
  const { coverage, isStored, judge } = agent.surroundings
  coverage.met("left running")
  const judged = Effect.catchCause(work, (cause) =>
    Effect.sync(() => {
      const error = Cause.squash(cause)
      const isFine = Cause.hasInterruptsOnly(cause) || isExpected(error, { isStored, isLeft: true })
      judge.claim(isFine, () => `what ${agent.name} left running failed with ${String(error)}`)
    })
  )
  return Effect.asVoid(Effect.forkDetach(Effect.provideService(judged, Left, true)))
}

/** All of them together: to the end, up to the first to end, up to a time, or until one is given up. */
const together = (agent: Agent, works: ReadonlyArray<Work>): Work => {
  const { random, surroundings } = agent
  const { coverage } = surroundings
  const all = Effect.all(works, { concurrency: "unbounded", discard: true })
  switch (random.below(5)) {
    case 0:
      coverage.met("given up half-way")
      return Effect.raceAllFirst(works)
    case 1:
      coverage.met("given up half-way")
      return Effect.asVoid(Effect.timeoutOption(all, random.below(20_000)))
    case 2:
      return Effect.gen(function* () {
        // A child ends after what its parent has open has closed.
        const children = works.map((work) => Effect.ignore(Effect.provideService(work, Left, true)))
        const fibers = yield* Effect.forEach(children, (child) => Effect.forkChild(child))
        yield* Effect.sleep(random.below(8_000))
        coverage.met("given up half-way")
        yield* Fiber.interrupt(random.one(fibers))
        yield* Fiber.awaitAll(fibers)
      })
    case 3:
      // One that fails takes the others with it.
      return all
    default:
      return Effect.all(
        works.map((work) => Effect.ignore(work)),
        { concurrency: "unbounded", discard: true }
      )
  }
}

/** `solo` makes a piece of work. */
export const crew = (agent: Agent, solo: () => Work): Work =>
  Effect.suspend(() => {
    const { random, surroundings } = agent
    surroundings.coverage.met("works at once")
    const works = Array.from({ length: random.between(2, 4) }, () => {
      const work = deeper(agent, solo())
      return random.chance(0.1) ? leftRunning(agent, work) : work
    })
    return deeper(agent, together(agent, works))
  })
