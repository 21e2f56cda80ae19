/**
 * What a process knows of its budget without asking the ledger: what was in the books when it opened the account, and
 * what it did since.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Types from "effect/Types"
import * as Usage from "../Usage.ts"
import * as Usd from "../Usd.ts"
import { aside } from "./background.ts"
import type { EventOf, ModelSummary, Summary } from "./budgetTypes.ts"
import type { Balance, Reservation } from "./ledgerTypes.ts"
import type { Frame } from "./ledgerWindows.ts"
import type { Bound } from "./margins.ts"

/** The model of what has none. */
export const unnamed = "effect"

const billedOverQuoted = Metric.gauge("agent_budget_billed_over_quoted", {
  description: "The largest share of its quoted input tokens that a call to the model was billed for"
})

/** Raises the gauge of a model: other budgets of the process may have raised it further. */
export const raise = (model: string, share: number): Effect.Effect<void> => {
  const gauge = Metric.withAttributes(billedOverQuoted, { model })
  return Effect.flatMap(Metric.value(gauge), ({ value }) =>
    value < share ? Metric.update(gauge, share) : Effect.void
  )
}

/** The models whose margins the process has logged a warning of, whichever budget saw it first. */
const loggedThin = new Set<string>()

/** Warns once of a model whose bill took nearly all of its margin. */
export const warnThin = (model: string, { input, margin }: Bound, billed: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (loggedThin.has(model)) return Effect.void
    loggedThin.add(model)
    return aside(
      Effect.logWarning(
        `${model} was billed for ${billed} input tokens of a bound of ${input}, which has a margin of ${margin}: ` +
          'what is known of the model may be out of date. Measure it (npm run bounds), or set inputBound: "bytes".'
      )
    )
  })

/** Where the window of an account begins and ends, as far as it is known. */
interface Stretch {
  readonly start: number
  readonly end: number | null
}

/** The books as they were found, and how their windows go on. */
interface Found {
  readonly limit: Usd.Usd
  readonly balance: Balance
  /** Not known where the account was joined without naming its window. */
  readonly frame: Frame | undefined
  /** Milliseconds of the epoch. */
  readonly clock: () => number
}

/** A sum that is shown, and never booked: it stays at the largest amount rather than end the call that it counts. */
const shown = (nanos: number): Usd.Usd => Usd.nanos(Math.max(0 - Usd.maximum, Math.min(Usd.maximum, nanos)))

export class Tally {
  limit: Usd.Usd
  /** What is held, and what for. */
  readonly open = new Map<Reservation, string | undefined>()
  readonly models = new Map<string, Types.Mutable<ModelSummary>>()
  readonly unverified = new Set<string>()
  readonly warned = new Set<string>()
  readonly #frame: Frame | undefined
  readonly #clock: () => number
  /** What was settled on and below an account since it is tracked. Nearly always none is. */
  readonly #tracked = new Map<string, Usd.Usd>()
  #window: Stretch | undefined
  #reserved: Usd.Usd = Usd.zero
  #spent: Usd.Usd
  overrun: Usd.Usd = Usd.zero
  calls = 0
  refused = 0
  capped = 0

  constructor({ balance, clock, frame, limit }: Found) {
    this.limit = limit
    this.#frame = frame
    this.#clock = clock
    this.#spent = balance.spent
    const { windowEnd: end, windowStart: start } = balance
    if (frame !== undefined || start !== null) this.#window = { start: start ?? -Infinity, end }
  }

  opened(reservation: Reservation, label: string | undefined): void {
    // The ledger's clock decides, and may be ahead of this one.
    this.#turn(reservation.at)
    this.open.set(reservation, label)
    if (this.#isCurrent(reservation)) this.#reserved = shown(this.#reserved + reservation.amount)
  }

  /** Whether it had not ended before: settling twice is one settlement. */
  ended(reservation: Reservation): boolean {
    if (!this.open.delete(reservation)) return false
    if (this.#isCurrent(reservation)) this.#reserved = shown(this.#reserved - reservation.amount)
    return true
  }

  /** `window`: when the window began that the ledger counts it in; `null` without windows. */
  settled(entry: EventOf<"Settled">, usage: Usage.Usage | undefined, window: number | null): void {
    this.calls++
    this.overrun = shown(this.overrun + entry.overrun)
    this.#turn()
    if (this.#counts(window)) this.#spent = shown(this.#spent + entry.amount)
    if (this.#tracked.size > 0) this.#track(entry)
    const label = entry.label ?? unnamed
    let model = this.models.get(label)
    if (model === undefined) {
      model = { calls: 0, spent: Usd.zero, assumed: Usd.zero, usage: Usage.zero, closest: 0 }
      this.models.set(label, model)
    }
    model.calls++
    model.spent = shown(model.spent + entry.amount)
    if (entry.verdict === "assumed") model.assumed = shown(model.assumed + entry.amount)
    if (usage !== undefined) model.usage = Usage.add(model.usage, usage)
  }

  /** An end that the ledger has yet to book counts as what it is. Without a charge it is a release. */
  kept(
    reservation: Reservation,
    charge: EventOf<"Settled"> | undefined,
    usage: Usage.Usage | undefined
  ): void {
    if (!this.ended(reservation) || charge === undefined) return
    this.#turn()
    const window = this.#window === undefined ? null : Math.min(this.#window.start, reservation.at)
    this.settled(charge, usage, window)
  }

  /** What nobody ended in time, of whichever process; what is this one's own will be told by its end. */
  expired({ amount, reservation }: EventOf<"Expired">, window: number | null): void {
    for (const own of this.open.keys()) if (own.id === reservation) return
    this.#turn()
    if (this.#counts(window)) this.#spent = shown(this.#spent + amount)
  }

  track(account: string): void {
    this.#tracked.set(account, Usd.zero)
  }

  tracked(account: string): Usd.Usd {
    return this.#tracked.get(account) ?? Usd.zero
  }

  untrack(account: string): void {
    this.#tracked.delete(account)
  }

  /** Up its path rather than over all that is tracked, of which a swarm has one for each agent. */
  #track({ account, amount }: EventOf<"Settled">): void {
    for (let end = account.length; end > 0; end = account.lastIndexOf("/", end - 1)) {
      const at = account.slice(0, end)
      const spent = this.#tracked.get(at)
      if (spent !== undefined) this.#tracked.set(at, shown(spent + amount))
    }
  }

  #isCurrent(reservation: Reservation): boolean {
    return this.#window === undefined || reservation.at >= this.#window.start
  }

  /** A window that the ledger names is the current one, unless a later one is known. */
  #counts(start: number | null): boolean {
    if (start === null) return true
    const known = this.#window?.start ?? -Infinity
    // A rolling one may begin at the very end of the last, from when on nothing was known of it.
    const end = this.#frame?.at(start).end ?? null
    const isNews = start === known && end !== null && this.#window?.end === null
    if (start > known || isNews) this.#begin({ start, end })
    return start >= known
  }

  /** Goes on to the next window, by time alone: it is `at` at least. A rolling one begins when the ledger says so. */
  #turn(at = -Infinity): void {
    const end = this.#window?.end ?? null
    if (end === null) return
    const now = Math.max(at, this.#clock())
    if (now < end) return
    const next = this.#frame?.rolls === false ? this.#frame.at(now) : undefined
    this.#begin({ start: Math.max(end, next?.start ?? end), end: next?.end ?? null })
  }

  #begin(window: Stretch): void {
    this.#window = window
    this.#spent = Usd.zero
    this.#reserved = Array.from(this.open.keys())
      .filter((reservation) => this.#isCurrent(reservation))
      .reduce((sum, { amount }) => shown(sum + amount), Usd.zero)
  }

  /** Whether no call of the model was billed as near to its bound before. */
  nearer(label: string, share: number): boolean {
    const model = this.models.get(label)
    if (model === undefined || !(share > model.closest)) return false
    model.closest = share
    return true
  }

  /** Whether this is the first that is told of the model's margin. */
  thin(label: string): boolean {
    return this.warned.size < this.warned.add(label).size
  }

  remaining(): Usd.Usd {
    this.#turn()
    return shown(this.limit - this.#spent - this.#reserved)
  }

  view(): Summary {
    const remaining = this.remaining()
    const { limit, calls, refused, capped, overrun } = this
    return {
      limit,
      spent: this.#spent,
      reserved: this.#reserved,
      remaining,
      nextWindow: this.#window?.end ?? null,
      calls,
      refused,
      capped,
      overrun,
      byModel: Object.fromEntries(Array.from(this.models, ([label, model]) => [label, { ...model }])),
      unverified: Array.from(this.unverified)
    }
  }
}
