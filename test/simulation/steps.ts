/** The steps of a world: each draws what it does, and who runs next, from a seed of its own. */
import { random, type Random } from "../utils/random.ts"
import { settle } from "./engine.ts"
import type { World } from "./world.ts"

type Step = (world: World, drawn: Random) => Promise<void> | void

const process = (world: World, drawn: Random) => drawn.one(world.running)

const hire: Step = (world, drawn) => world.hire(process(world, drawn), drawn.below(2 ** 31))

const turns: Step = async (world, drawn) => {
  for (let left = drawn.below(24); left > 0; left--) if (!(await world.engine.runOne())) return
}

const rest: Step = async (world) => {
  await world.engine.rest()
  world.look()
  world.lookAtThoseWhoWait()
  world.lookAtSummaries()
}

const nextTimer: Step = (world) => world.engine.advanceTo(world.engine.next() ?? world.engine.now)

const passing: Step = (world, drawn) =>
  world.engine.advanceTo(world.engine.now + drawn.below(drawn.chance(0.3) ? 30_000 : 500))

const jump: Step = (world, drawn) => {
  world.coverage.met("clock jumps")
  world.engine.advanceTo(world.engine.now + drawn.between(60_000, 30 * 3_600_000))
}

/** A clock that is set, by minutes: what sleeps sleeps on, and the store goes by its own. */
const setClock: Step = (world, drawn) => {
  const { owner } = process(world, drawn)
  const skew = drawn.chance(0.2) ? 0 : drawn.between(-600_000, 600_000)
  world.coverage.met(skew < owner.skew ? "clocks set back" : "clocks set ahead")
  if (skew > owner.skew) world.judge.wasSetAhead = true
  if (world.books.kind === "memory" && skew < owner.skew)
    world.judge.setBackFrom = Math.max(world.judge.setBackFrom, world.engine.now + owner.skew)
  owner.skews.push(owner.skew)
  owner.skew = skew
  world.engine.advanced()
  world.engine.say(`the clock of ${owner.name} is ${skew} ahead`)
}

const abort: Step = (world, drawn) => {
  const calls = Array.from(world.calls)
  if (calls.length === 0) return
  const [name, away] = drawn.one(calls)
  world.engine.say(`${name} is aborted`)
  world.coverage.met("aborts")
  away()
}

const interrupt: Step = (world, drawn) => {
  const { agents } = process(world, drawn)
  if (agents.size === 0) return
  const [name, fiber] = drawn.one(Array.from(agents))
  world.engine.say(`${name} is interrupted`)
  world.coverage.met("interruptions")
  fiber.interruptUnsafe()
}

const setLimit: Step = (world, drawn) => {
  const account = world.account(drawn)
  const tight = drawn.chance(0.4) ? world.tightLimit(account, drawn) : undefined
  // Whoever starts anew has to say the limit of the root, which must therefore have one.
  const limit =
    tight ??
    (drawn.chance(0.1) && account !== "root"
      ? null
      : Math.floor((world.setting.limit * drawn.below(drawn.chance(0.2) ? 300 : 3_000)) / 1_000))
  const what = `gets ${String(limit)}`
  world.command(process(world, drawn), { account, what, wants: { limit } })
}

const pause: Step = (world, drawn) => {
  const account = world.account(drawn)
  const paused = drawn.chance(0.2)
  const what = paused ? "is paused" : "goes on"
  world.command(process(world, drawn), { account, what, wants: { paused } })
}

const outage: Step = (world, drawn) => {
  const { books } = world
  if (books.kind !== "stored") return
  if (drawn.chance(0.6)) world.heal()
  else if (drawn.chance(0.5)) world.losing = true
  else {
    world.coverage.met("outages")
    books.store.faults.away = true
  }
  world.engine.say(`the store: ${books.store.faults.away ? "away" : world.losing ? "loses answers" : "well"}`)
}

const death: Step = async (world, drawn) => {
  if (world.books.kind !== "stored" || drawn.chance(0.7)) return
  await (drawn.chance(0.7) ? world.die(process(world, drawn)) : world.leave(process(world, drawn)))
}

/** How often each is taken, out of their sum. */
const weights: ReadonlyArray<readonly [weight: number, step: Step]> = [
  [26, hire],
  [28, turns],
  [8, rest],
  [12, nextTimer],
  [10, passing],
  [0.6, jump],
  [0.6, setClock],
  [4, abort],
  [3, interrupt],
  [3, setLimit],
  [2, pause],
  [2, outage],
  [1, death]
]

const total = weights.reduce((sum, [weight]) => sum + weight, 0)

const draw = (drawn: Random): Step => {
  let left = drawn.below(total * 1_000) / 1_000
  for (const [weight, step] of weights) if ((left -= weight) < 0) return step
  return turns
}

/** Takes one step. Whatever it draws depends on its seed alone, so that others can be left out. */
export const take = async (world: World, seed: number): Promise<void> => {
  const drawn = random(seed)
  world.engine.random = random(seed ^ 0x5bd1e995)
  await draw(drawn)(world, drawn)
  await settle()
  world.look(drawn.chance(0.3))
}

/** The seed of a step of a world. */
export const seedOf = (world: number, step: number): number =>
  (Math.imul(world + 1, 0x85ebca6b) ^ Math.imul(step + 1, 0xc2b2ae35)) >>> 1
