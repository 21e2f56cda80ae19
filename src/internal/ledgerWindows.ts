/**
 * When a budget's window begins and ends. Pure: a window and a moment in, two moments out. Engines keep the window
 * that an account is in, and ask for the next one when their own clock has passed its end.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** A unit of the calendar. */
export type Every = "hour" | "day" | "week" | "month"

/**
 * Windows that an account's limit holds in: aligned with the calendar of an IANA time zone (weeks begin on Monday;
 * `"day"` is a day of UTC), or of a fixed length from the first use after the last one. A call is charged to the
 * window that admitted it, whenever it ends.
 *
 * @example
 * ```ts
 * import { Ledger } from "agent-budget"
 *
 * const daily: Ledger.Window = { every: "day", timeZone: "Europe/Berlin" }
 * const fiveHours: Ledger.Window = { rolling: "5 hours" }
 * console.log([daily, fiveHours].length) // 2
 * ```
 *
 * @since 0.1.0
 */
export type Window =
  | Every
  | { readonly every: Every; readonly timeZone?: string | undefined }
  | { readonly rolling: Duration.Input }

/** From `start` up to, and without, `end`; milliseconds of the epoch. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** A window that was checked. `key` is its canonical text: the same window, the same key. */
export interface Frame {
  readonly key: string
  /** A rolling window begins with the first use after the last one ended; a calendar's is always there. */
  readonly rolls: boolean
  /** The window that `now` is in; a rolling one begins at `now`. */
  readonly at: (now: number) => Span
}

/** Longer than any window that makes sense, and short enough that every sum of times stays exact. */
const longest = 100 * 366 * 86_400_000

const startOfWeek = { weekStartsOn: 1 } as const

const calendar = (every: Every, zone: DateTime.TimeZone.Named) => {
  const startOf = (millis: number): number =>
    DateTime.toEpochMillis(
      DateTime.startOf(DateTime.setZone(DateTime.makeUnsafe(millis), zone), every, startOfWeek)
    )
  const following = (start: number): number => {
    const local = DateTime.setZone(DateTime.makeUnsafe(start), zone)
    return startOf(
      DateTime.toEpochMillis(DateTime.add(local, every === "month" ? { months: 1 } : skipped[every]))
    )
  }
  return (now: number): Span => {
    if (every === "hour")
      return hourAt(now, DateTime.zonedOffset(DateTime.setZone(DateTime.makeUnsafe(now), zone)))
    const start = startOf(now)
    return { start, end: following(start) }
  }
}

const hour = 3_600_000

/** By the clock's offset at that moment: the hour that a clock shows twice is two windows. */
const hourAt = (now: number, offset: number): Span => {
  const start = Math.floor((now + offset) / hour) * hour - offset
  return { start, end: start + hour }
}

/** Half a day more than the unit, which lands inside the next one however its clock is changed. */
const skipped = { hour: { hours: 1 }, day: { hours: 36 }, week: { hours: 7 * 24 + 36 } } as const

const make = (key: string): Frame | undefined => {
  const [kind, of = ""] = key.split(" ")
  if (kind === "rolling") {
    const millis = Number(of)
    if (!Number.isSafeInteger(millis) || millis < 1 || millis > longest) return undefined
    return { key, rolls: true, at: (now) => ({ start: now, end: now + millis }) }
  }
  if (kind !== "hour" && kind !== "day" && kind !== "week" && kind !== "month") return undefined
  const zone = DateTime.zoneMakeNamed(of)
  if (zone._tag === "None") return undefined
  return { key, rolls: false, at: calendar(kind, zone.value) }
}

const made = new Map<string, Frame | undefined>()

/** The window of a key; nothing where it is none. Keys are few, and making a zone is dear. */
export const fromKey = (key: string): Frame | undefined => {
  if (!made.has(key)) {
    if (made.size >= 1_000) made.clear()
    made.set(key, make(key))
  }
  return made.get(key)
}

/** Checks a window as a user wrote it; the text says what is wrong. */
export const fromWindow = (window: Window): Frame | string => {
  if (typeof window === "object" && "rolling" in window) {
    if ("every" in window && window.every !== undefined)
      return "a window is of the calendar (every) or rolls (rolling). Say one of them."
    if ("timeZone" in window && window.timeZone !== undefined)
      return "a window that rolls is the same in every time zone. Leave timeZone out, or say every instead of rolling."
    const length = Option.map(Duration.fromInput(window.rolling), (duration) =>
      Math.round(Duration.toMillis(duration))
    )
    const millis = Option.getOrElse(length, () => NaN)
    return (
      fromKey(`rolling ${millis}`) ?? `a rolling window of ${millis} ms is not between 1 ms and 100 years.`
    )
  }
  const { every, timeZone = "UTC" } = typeof window === "string" ? { every: window } : window
  return (
    fromKey(`${every} ${timeZone}`) ??
    `a window of every ${every} in the time zone ${timeZone} is unknown. Use hour, day, week or month, and an IANA name.`
  )
}
