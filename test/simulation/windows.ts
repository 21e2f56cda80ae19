/** The windows of the worlds, each written down twice: as a user says it, and by arithmetic of its own. */
import type { Ledger } from "agent-budget"

export interface Span {
  readonly start: number
  /** The first moment that is no longer in it. */
  readonly end: number
}

export interface Kind {
  readonly window: Ledger.Window
  /** A calendar's window that a time is in; nothing where it begins with its first use. */
  readonly at: ((time: number) => Span) | undefined
  /** How long it lives where it begins with its first use. */
  readonly length: number
}

const hour = 3_600_000
const day = 24 * hour

/** When the last Sunday of a month begins, at 01:00 UTC: then the clocks of Europe are changed. */
const change = (year: number, month: number): number => {
  const last = new Date(Date.UTC(year, month + 1, 0, 1))
  return last.getTime() - last.getUTCDay() * day
}

/** How far the clocks of Berlin are ahead of UTC. */
const berlin = (time: number): number => {
  const year = new Date(time).getUTCFullYear()
  return time >= change(year, 2) && time < change(year, 9) ? 2 * hour : hour
}

/** They are never changed in the two hours before a day begins. */
const midnight = (local: number): number => local - berlin(local - 2 * hour)

const calendar = (window: Ledger.Window, at: (time: number) => Span): Kind => ({ window, at, length: 0 })

const rolling = (written: `${number} ${"seconds" | "minutes"}`, length: number): Kind => ({
  window: { rolling: written },
  at: undefined,
  length
})

export const kinds: ReadonlyArray<Kind> = [
  calendar({ every: "hour" }, (time) => {
    const start = time - (time % hour)
    return { start, end: start + hour }
  }),
  calendar({ every: "day", timeZone: "Europe/Berlin" }, (time) => {
    const local = time + berlin(time)
    const start = local - (local % day)
    return { start: midnight(start), end: midnight(start + day) }
  }),
  rolling("90 seconds", 90_000),
  rolling("10 minutes", 600_000)
]
