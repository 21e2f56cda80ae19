/** What a call of a model holds, as the requests that it comes to see it. */
import * as Effect from "effect/Effect"
import * as Usage from "../Usage.ts"
import * as Usd from "../Usd.ts"
import type { Bill } from "./budgetTypes.ts"
import type { Reservation } from "./ledgerTypes.ts"
import type { Reading } from "./wireUsage.ts"

/** A reservation that a fiber, or one that it was forked from, holds for as long as `held` says so. */
export interface Holding {
  readonly held: boolean
  readonly outer: Holding | undefined
}

/** The reservation of a call of a model and of all calls that took it over: another one may come to stand in its place. */
export class Hold implements Holding {
  reservation: Reservation | undefined
  readonly outer: Holding | undefined

  constructor(reservation: Reservation, outer: Holding | undefined) {
    this.reservation = reservation
    this.outer = outer
  }

  get amount(): Usd.Usd {
    return this.reservation?.amount ?? Usd.zero
  }

  /** Nobody waits for what holds nothing. */
  get held(): boolean {
    return this.amount > 0
  }
}

/** A request below that was, or may have been, billed. */
export interface Seen {
  readonly model: string
  /** `undefined` where it did not tell its bill. */
  readonly reading: Reading | undefined
  /** It went wrong, so that a call which was made of it does too. */
  readonly isLost: boolean
  /** What it was charged, where its answer may have told a usage that was not read. */
  readonly unread: Usd.Usd
}

/** Of more readings than this only those in a row are added up: there are too many other ways. */
const mostAnyhow = 12

/** Whether the readings of some requests add up to a usage: its totals are what everybody tells. */
const addUpTo = (readings: ReadonlyArray<Reading>, told: Usage.Usage): boolean => {
  const isAnyhow = readings.length <= mostAnyhow
  const areLeft = (from: number, input: number, output: number, said: number): boolean => {
    if (input === 0 && (output === 0 || said === 0)) return true
    const next = readings[from]
    if (next === undefined || input <= 0) return false
    const { usage } = next
    return (
      areLeft(from + 1, input - usage.input, output - usage.output, said - (next.said ?? usage.output)) ||
      (isAnyhow && areLeft(from + 1, input, output, said))
    )
  }
  return readings.some((_, first) => areLeft(first, told.input, told.output, told.output))
}

/**
 * A call of a model reserves before it knows what will be sent for it. A request below it, on the same budget and
 * account, takes that reservation over, so that one call is charged once: what it cost is told here, and booked when
 * the call itself is over. Only then it is known whether that was all. Whatever is sent below, by whichever budget, is
 * told here too: only then does a failure prove that nothing was.
 */
export class Cover {
  readonly owner: object
  readonly account: string
  readonly model: string
  /** What it asked for by itself. */
  readonly least: Usd.Usd
  readonly hold: Hold
  readonly outer: Cover | undefined
  #isTaken = false
  #isOver = false
  #isWithdrawn = false
  /** What whoever took it was billed, and nobody has booked yet. */
  #unbooked: Bill | undefined
  #conclude: ((bill: Bill | undefined) => Effect.Effect<void>) | undefined
  #open = 0
  #isBillable = false
  /** Of the requests below that its own budget is asked for: those under way, and those that were billed. */
  #ownOpen = 0
  #wasOpen = false
  readonly #seen: Array<Seen> = []

  constructor(options: {
    readonly owner: object
    readonly account: string
    readonly model: string
    readonly least: Usd.Usd
    readonly hold: Hold
    readonly outer: Cover | undefined
  }) {
    this.owner = options.owner
    this.account = options.account
    this.model = options.model
    this.least = options.least
    this.hold = options.hold
    this.outer = options.outer
  }

  /** For a request of this budget and account, the call above whose reservation nobody else has taken. */
  static take(cover: Cover | undefined, owner: object, account: string): Cover | undefined {
    for (let each = cover; each !== undefined; each = each.outer) {
      const isFree = !each.#isTaken && !each.#isOver
      if (isFree && each.owner === owner && each.account === account) {
        each.#isTaken = true
        return each
      }
    }
    return undefined
  }

  /** Tells every call above that a request is sent, and which budget pays for it. */
  static sent(cover: Cover | undefined, owner: object): void {
    for (let each = cover; each !== undefined; each = each.outer) {
      each.#open++
      if (each.owner === owner) each.#ownOpen++
    }
  }

  /** Tells every call above how it ended: what was seen of its bill, unless nothing can have been billed. */
  static ended(cover: Cover | undefined, owner: object, seen: Seen | undefined): void {
    for (let each = cover; each !== undefined; each = each.outer) {
      const isOwn = each.owner === owner
      each.#open--
      if (isOwn) each.#ownOpen--
      if (seen === undefined) continue
      each.#isBillable = true
      if (isOwn) each.#seen.push(seen)
    }
  }

  /** Whoever took it has come to his end, and was billed this, or nothing. */
  settle(bill: Bill | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isTaken = false
      this.#unbooked = bill ?? this.#unbooked
      return this.#conclude?.(this.#unbooked) ?? Effect.void
    })
  }

  /**
   * Whoever took it went away before anything was sent. A call that is interrupted in the same turn was waiting for
   * that; in a later one it may have sent something else by then.
   */
  withdraw(): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      Cover.#mark(this, true)
      fiber.currentDispatcher.scheduleTask(() => Cover.#mark(this, false), 0)
      return this.settle(undefined)
    })
  }

  static #mark(cover: Cover, isWithdrawn: boolean): void {
    for (let each: Cover | undefined = cover; each !== undefined; each = each.outer) {
      each.#isWithdrawn = isWithdrawn
    }
  }

  /** There is something left to book. */
  get isOwed(): boolean {
    return this.#unbooked !== undefined
  }

  /** What is left to book, for whoever books it now. */
  unbooked(): Bill | undefined {
    const bill = this.#unbooked
    this.#unbooked = undefined
    return bill
  }

  /** The call is over. It is concluded now or, where its reservation is taken, by the end of whoever took it. */
  over(conclude: (bill: Bill | undefined) => Effect.Effect<void>): Effect.Effect<void> {
    this.#isOver = true
    this.#wasOpen = this.#ownOpen > 0
    if (!this.#isTaken) return conclude(this.#unbooked)
    this.#conclude = conclude
    return Effect.void
  }

  /** What is to be held for the calls that are not over: each of them may yet come to what it asked for. */
  static floorOf(cover: Cover): Usd.Usd {
    let floor = Usd.zero
    for (let each: Cover | undefined = cover; each?.hold === cover.hold; each = each.outer) {
      if (!each.#isOver && each.least > floor) floor = each.least
    }
    return floor
  }

  /** What it is waiting for is a request below, which tells by its own end what was billed. */
  get isWaiting(): boolean {
    return this.#isTaken || this.#isWithdrawn
  }

  /** Nothing was sent below that may be billed. */
  get isUnbilled(): boolean {
    return this.#open === 0 && !this.#isBillable
  }

  /** Requests of its own budget were billed, or may be. */
  get isSeen(): boolean {
    return this.#seen.length > 0
  }

  /**
   * Of what the model told of its answers, what no request of its own budget was billed for. Two of the same usage,
   * one of them seen and one not, are one: nobody can tell. So are one whose bill was lost and one that costs no more
   * than it was charged, unless they name different models. `served`: the model that was told.
   */
  unseen(
    told: ReadonlyArray<Usage.Usage>,
    served: string | undefined,
    costOf: (usage: Usage.Usage) => Usd.Usd
  ): ReadonlyArray<Usage.Usage> {
    const readings = this.#seen.flatMap(({ reading }) => (reading === undefined ? [] : [reading]))
    const isSum = addUpTo(readings, told.reduce(Usage.add, Usage.zero))
    const unread = this.#seen.filter(
      ({ isLost, model, reading }) =>
        reading === undefined && (!isLost || model === this.model || model === served)
    )
    return isSum
      ? []
      : told.filter((usage) => {
          if (addUpTo(readings, usage)) return false
          const cost = costOf(usage)
          const index = unread.findIndex((seen) => cost <= seen.unread)
          if (index >= 0) unread.splice(index, 1)
          return index < 0
        })
  }

  /**
   * Whether a call that told no usage was one that its own budget saw, or sees: it is charged as that is. `served`: the
   * model that it told.
   */
  isChargedBelow(served: string | undefined): boolean {
    if (this.#ownOpen > 0 || (this.#wasOpen && this.isSeen)) return true
    return this.#seen.some(
      ({ isLost, model, reading }) =>
        isLost || model === this.model || (served !== undefined && reading?.model === served)
    )
  }
}
