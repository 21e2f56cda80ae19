/** Runs worlds, and makes the trace of one that fails as short as it gets. */
import { Coverage, type Event } from "./coverage.ts"
import { seedOf, take } from "./steps.ts"
import { World } from "./world.ts"

export interface Outcome {
  readonly seed: number
  /** The same for the same seed and steps. */
  readonly hash: string
  readonly trace: ReadonlyArray<string>
  readonly faults: ReadonlyArray<string>
  readonly coverage: ReadonlyArray<readonly [Event, number]>
  /** The steps that were taken. */
  readonly steps: ReadonlyArray<number>
}

type Spoil = World["spoil"]

const sound: Spoil = (ledger) => ledger

/** A world of a seed, taken through these steps, or up to the first fault. */
export const play = async (
  seed: number,
  steps: ReadonlyArray<number>,
  spoil: Spoil = sound
): Promise<Outcome> => {
  const coverage = new Coverage()
  const world = new World(seed, coverage, spoil)
  const taken: Array<number> = []
  try {
    await world.begin()
    for (const step of steps) {
      if (world.isOver()) break
      taken.push(step)
      await take(world, seedOf(seed, step))
    }
    if (!world.isOver()) await world.end()
  } catch (error) {
    world.judge.fault(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  return {
    seed,
    hash: world.engine.hash.digest("hex"),
    trace: world.engine.trace,
    faults: world.judge.faults,
    coverage: Array.from(coverage.counts),
    steps: taken
  }
}

export const simulate = (seed: number, steps: number, spoil: Spoil = sound): Promise<Outcome> =>
  play(
    seed,
    Array.from({ length: steps }, (_, index) => index),
    spoil
  )

/** Leaves out all steps without which it fails as well, halves first; at most so many worlds are played for it. */
export const shrink = async (failure: Outcome, spoil: Spoil = sound, most = 200): Promise<Outcome> => {
  let best = failure
  let played = 0
  for (let size = Math.ceil(best.steps.length / 2); size >= 1 && played < most;) {
    let isShorter = false
    for (let from = 0; from < best.steps.length && played < most;) {
      const tried = best.steps.filter((_, index) => index < from || index >= from + size)
      played++
      const outcome = await play(failure.seed, tried, spoil)
      if (outcome.faults.length > 0) {
        best = outcome
        isShorter = true
      } else from += size
    }
    if (size === 1 && !isShorter) break
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
  return best
}
