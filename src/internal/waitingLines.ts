/**
 * Those of this process who wait for room in a store: a line for each account that blocks someone, first in first
 * out, whose head asks the store again. The store keeps places too, so that lines of several processes are one: this
 * process tells it every few seconds that its waiters are still there.
 *
 * The head asks when this process changed the books, when the store tells of a change, when the window of the account
 * that blocks it has ended, and else at growing intervals.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { AccountRow, ReserveAnswer, ReserveAsk, StoreUnavailable } from "./ledgerStore.ts"

/** What the store said of an ask, that it could not be reached, or that the ledger closed first. */
export type Outcome =
  Exclude<ReserveAnswer, { readonly _tag: "Stale" }> | StoreUnavailable | { readonly _tag: "Closed" }

/** What stands in an ask's way. */
export type Obstacle = Extract<Outcome, { readonly _tag: "Short" | "Paused" | "StoreUnavailable" }>

/** An ask in line. */
export interface Waiter {
  readonly ask: ReserveAsk
  /** Its id is its caller's, who may have given it to others too. */
  readonly isNamed: boolean
  readonly ticket: number
  state: "waiting" | "answered" | "gone"
  obstacle: Obstacle
  /** Told once, if it still waits: what became of its ask. */
  readonly answered: (outcome: Outcome) => void
}

interface Line {
  readonly account: string
  readonly waiters: Array<Waiter>
  readonly poked: Latch.Latch
  delay: number
}

/** What the lines need of the ledger above them. */
interface Helpers {
  readonly scope: Scope.Scope
  /** Never fails and is never interrupted half-way. */
  readonly ask: (waiter: Waiter) => Effect.Effect<Outcome>
  /** Someone has left, of whose ask the store said this last: maybe only then. */
  readonly left: (waiter: Waiter, outcome: Outcome) => void
  /** The longest interval, in milliseconds. */
  readonly poll: number
}

const shortest = 10

const stoodAt = (obstacle: Obstacle, before: string): string =>
  obstacle._tag === "StoreUnavailable" ? before : obstacle.row.account

export class WaitingLines {
  readonly lines = new Map<string, Line>()
  readonly helpers: Helpers

  constructor(helpers: Helpers) {
    this.helpers = helpers
  }

  /** Puts an ask in line where it is blocked. */
  join(waiter: Waiter, account: string): Effect.Effect<void> {
    const existing = this.lines.get(account)
    const line = existing ?? { account, waiters: [], poked: Latch.makeUnsafe(false), delay: shortest }
    let index = line.waiters.length
    while (index > 0 && (line.waiters[index - 1]?.ticket ?? 0) > waiter.ticket) index--
    line.waiters.splice(index, 0, waiter)
    if (index === 0) line.poked.openUnsafe()
    if (existing !== undefined) return Effect.void
    this.lines.set(account, line)
    return Effect.asVoid(Effect.forkIn(this.serve(line), this.helpers.scope))
  }

  /** Someone stops waiting. */
  leave(waiter: Waiter): void {
    waiter.state = "gone"
    for (const line of this.lines.values()) {
      const index = line.waiters.indexOf(waiter)
      if (index < 0) continue
      line.waiters.splice(index, 1)
      if (index === 0) line.poked.openUnsafe()
    }
    this.helpers.left(waiter, waiter.obstacle)
  }

  /** Turns away everybody. */
  close(): void {
    for (const line of this.lines.values()) {
      line.poked.openUnsafe()
      for (const waiter of line.waiters.splice(0)) {
        waiter.state = "gone"
        this.helpers.left(waiter, waiter.obstacle)
        waiter.answered({ _tag: "Closed" })
      }
    }
  }

  /** What an id of a caller's holds is of all who wait under it. */
  share(outcome: Extract<Outcome, { readonly _tag: "Granted" }>): void {
    for (const line of this.lines.values()) {
      const mine = line.waiters.filter((waiter) => waiter.ask.id === outcome.held.id)
      if (mine.length === 0) continue
      line.waiters.splice(0, Infinity, ...line.waiters.filter((waiter) => !mine.includes(waiter)))
      line.poked.openUnsafe()
      for (const waiter of mine) {
        waiter.state = "answered"
        waiter.answered(outcome)
      }
    }
  }

  /** Whether someone waits under this id. */
  has(id: string): boolean {
    for (const line of this.lines.values()) {
      if (line.waiters.some((waiter) => waiter.ask.id === id)) return true
    }
    return false
  }

  /** Something changed by which a head may fit. */
  poke(): void {
    for (const line of this.lines.values()) line.poked.openUnsafe()
  }

  /** The ids of all who wait. */
  waiting(): ReadonlyArray<string> {
    return Array.from(this.lines.values()).flatMap((line) => line.waiters.map((waiter) => waiter.ask.id))
  }

  /** Serves a line until nobody stands in it. */
  serve(line: Line): Effect.Effect<void> {
    return Effect.suspend(() => {
      const [head] = line.waiters
      if (head === undefined) {
        this.lines.delete(line.account)
        return Effect.void
      }
      line.poked.closeUnsafe()
      return Effect.flatMap(Effect.uninterruptible(this.ask(head)), (outcome) =>
        Effect.andThen(this.place(line, head, outcome), this.serve(line))
      )
    })
  }

  /**
   * Asks for those behind the first of a line, in order, while each is told that others came before it: the store may have
   * heard of them in another order than this process. Whoever of them the store lets in moves the line on.
   */
  others(line: Line, index: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const waiter = line.waiters[index]
      if (waiter === undefined) return Effect.sleep(line.delay)
      return Effect.flatMap(Effect.uninterruptible(this.ask(waiter)), (outcome) => {
        if (waiter.state !== "waiting") return Effect.void
        if (outcome._tag === "Short" && hasRoom(outcome.row, waiter.ask.least)) {
          return this.others(line, index + 1)
        }
        return this.place(line, waiter, outcome)
      })
    })
  }

  ask(head: Waiter): Effect.Effect<Outcome> {
    return Effect.map(this.helpers.ask(head), (outcome) => {
      // It left while the store was deciding: what it was given goes back, the place that it took is given up.
      if (head.state === "gone") this.helpers.left(head, outcome)
      return outcome
    })
  }

  place(line: Line, head: Waiter, outcome: Outcome): Effect.Effect<void> {
    if (head.state !== "waiting") return Effect.void
    if (!isObstacle(outcome)) {
      line.waiters.splice(line.waiters.indexOf(head), 1)
      line.delay = shortest
      head.state = "answered"
      head.answered(outcome)
      return Effect.void
    }
    head.obstacle = outcome
    const account = stoodAt(outcome, line.account)
    if (account !== line.account) {
      line.waiters.splice(line.waiters.indexOf(head), 1)
      line.delay = shortest
      return this.join(head, account)
    }
    if (
      outcome._tag === "Short" &&
      hasRoom(outcome.row, head.ask.least) &&
      line.waiters[0] === head &&
      line.waiters.length > 1
    ) {
      // Others came first, and they may be of this line: the store heard of them in another order.
      return this.others(line, 1)
    }
    const pause = Math.min(line.delay, untilWindow(outcome))
    line.delay = Math.min(line.delay * 2, this.helpers.poll)
    return Effect.raceFirst(
      Effect.sleep(pause),
      Effect.map(line.poked.await, () => void (line.delay = shortest))
    )
  }
}

const hasRoom = (row: AccountRow, least: number): boolean =>
  (row.limit ?? Number.MAX_SAFE_INTEGER) - row.spent - row.reserved >= least

const untilWindow = (obstacle: Obstacle): number =>
  obstacle._tag === "StoreUnavailable" || obstacle.row.windowEnd === null
    ? Infinity
    : Math.max(1, obstacle.row.windowEnd - obstacle.now)

/** Whether there is something to wait for. */
export const isObstacle = (outcome: Outcome): outcome is Obstacle =>
  outcome._tag === "Paused" ||
  outcome._tag === "StoreUnavailable" ||
  (outcome._tag === "Short" && !outcome.hopeless)
