/**
 * Virtual time and a scheduler that the seed drives: whatever could run next (a fiber, a timer, a packet) waits in one
 * pool, and the seed picks. Nothing real is awaited but the end of the microtasks, so that the same seed is the same run.
 */
import { Clock, Context, Duration, Effect, Metric, Scheduler } from "effect"
import { createHash, type Hash } from "node:crypto"
import { setImmediate as turnOfTheLoop } from "node:timers"
import { random, type Random } from "../utils/random.ts"

/** Whose work something is: what belongs to a process that died is never run. */
export interface Owner {
  readonly name: string
  alive: boolean
  /** How many milliseconds its clock is ahead of the true time; it may be set while the owner runs. */
  skew: number
  /** What its clock was ahead before it was set, each time. */
  readonly skews: Array<number>
}

interface Task {
  readonly owner: Owner
  readonly run: () => void
}

export interface Timer extends Task {
  readonly due: number
  readonly order: number
  cancelled: boolean
}

/** 2026-03-02T08:00:00Z, a Monday. */
const start = 1_772_438_400_000

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

const nanosPerMilli = 1_000_000n

export class Engine {
  readonly ready: Array<Task> = []
  /** The next to ring last. */
  readonly timers: Array<Timer> = []
  readonly trace: Array<string> = []
  readonly hash: Hash = createHash("sha256")
  /** Of this world alone: what others measured would change what a fiber does. */
  readonly metrics: Metric.MetricRegistry = new Map()
  readonly names = new Map<string, string>()
  now = start
  /** Drawn from by everything that happens within a step. */
  random: Random
  /** How often a fiber is made to let others run between two of its operations. */
  readonly preemption: number
  orders = 0
  /** Told whenever time goes on. */
  advanced: () => void = () => undefined
  /** How many have run. */
  turns = 0

  constructor(seed: number, preemption: number) {
    this.random = random(seed)
    this.preemption = preemption
  }

  say(line: string): void {
    const named = line.replace(uuid, (id) => this.nameOf(id))
    const dated = `${this.now - start} ${named}`
    this.trace.push(dated)
    this.hash.update(dated).update("\n")
  }

  /** Ids are made anew in every run: what is the same is the order in which they are first met. */
  nameOf(id: string): string {
    const name = this.names.get(id) ?? `id-${this.names.size + 1}`
    this.names.set(id, name)
    return name
  }

  /** Something that may happen from now on. */
  soon(owner: Owner, run: () => void): void {
    this.ready.push({ owner, run })
  }

  /** Something that may happen in so many milliseconds. */
  after(owner: Owner, millis: number, run: () => void): Timer {
    const timer = { owner, run, due: this.now + Math.ceil(millis), order: this.orders++, cancelled: false }
    let index = this.timers.length
    while (index > 0 && (this.timers[index - 1]?.due ?? Infinity) <= timer.due) index--
    this.timers.splice(index, 0, timer)
    return timer
  }

  /** Runs one of those that are ready, whichever the seed says, and all that follows from it at once. */
  async runOne(): Promise<boolean> {
    const index = this.random.below(this.ready.length)
    const task = this.ready[index]
    if (task === undefined) return false
    this.ready[index] = this.ready[this.ready.length - 1] ?? task
    this.ready.pop()
    if (task.owner.alive) {
      this.turns++
      task.run()
      await settle()
    }
    return true
  }

  /** Until nothing is ready: time stands still. Something that never rests is an error of the world. */
  async rest(most = 20_000): Promise<void> {
    for (let ran = 0; ran < most; ran++) {
      if (await this.runOne()) continue
      // What was done from outside may have left promises to be kept.
      await settle()
      if (this.ready.length === 0) return
    }
    throw new Error(`The world does not come to rest within ${most} tasks.`)
  }

  /** When the next timer rings. */
  next(): number | undefined {
    this.prune()
    return this.timers.at(-1)?.due
  }

  prune(): void {
    for (let last = this.timers.at(-1); last !== undefined; last = this.timers.at(-1)) {
      if (!last.cancelled && last.owner.alive) return
      this.timers.pop()
    }
  }

  /** Sets the clock on; what is due by then becomes ready. */
  advanceTo(time: number): void {
    this.now = Math.max(this.now, time)
    this.advanced()
    for (let due = this.next(); due !== undefined && due <= this.now; due = this.next()) {
      const timer = this.timers.pop()
      if (timer !== undefined) {
        this.soon(timer.owner, () => {
          if (!timer.cancelled) timer.run()
        })
      }
    }
  }

  /** What every fiber of an owner runs with. */
  contextOf(owner: Owner): Context.Context<never> {
    return Context.make(Clock.Clock, new VirtualClock(this, owner)).pipe(
      Context.add(Scheduler.Scheduler, new SeededScheduler(this, owner)),
      Context.add(Metric.MetricRegistry, this.metrics)
    )
  }
}

/** All microtasks, and those that they make. */
export const settle = (): Promise<void> =>
  new Promise((resolve) => {
    turnOfTheLoop(() => {
      resolve()
    })
  })

class SeededScheduler implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly engine: Engine
  readonly owner: Owner

  constructor(engine: Engine, owner: Owner) {
    this.engine = engine
    this.owner = owner
  }

  shouldYield(): boolean {
    return this.engine.preemption > 0 && this.engine.random.chance(this.engine.preemption)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    // First in first out among those of one fiber, as its own scheduler promises; in any order among fibers.
    const tasks: Array<readonly [run: () => void, priority: number]> = []
    const scheduleTask = (run: () => void, priority: number): void => {
      const behind = tasks.findIndex(([, other]) => other > priority)
      tasks.splice(behind < 0 ? tasks.length : behind, 0, [run, priority])
      this.engine.soon(this.owner, () => tasks.shift()?.[0]())
    }
    return { scheduleTask, flush: () => undefined }
  }
}

class VirtualClock implements Clock.Clock {
  readonly engine: Engine
  readonly owner: Owner
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  constructor(engine: Engine, owner: Owner) {
    this.engine = engine
    this.owner = owner
  }

  currentTimeMillisUnsafe(): number {
    return this.engine.now + this.owner.skew
  }

  currentTimeNanosUnsafe(): bigint {
    return BigInt(this.currentTimeMillisUnsafe()) * nanosPerMilli
  }

  /** Nobody sets this one. */
  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(this.engine.now) * nanosPerMilli
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const timer = this.engine.after(this.owner, millis, () => resume(Effect.void))
      return Effect.sync(() => {
        timer.cancelled = true
      })
    })
  }
}
