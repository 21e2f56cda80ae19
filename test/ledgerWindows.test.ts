import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Windows from "../src/internal/ledgerWindows.ts"

const zones = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Asia/Kolkata",
  "America/Sao_Paulo",
  "Africa/Cairo"
]
const units = ["hour", "day", "week", "month"] as const

const frame = (window: Windows.Window): Windows.Frame => {
  const made = Windows.fromWindow(window)
  if (typeof made === "string") return assert.fail(made)
  return made
}

const spans = (window: Windows.Window, now: string): ReadonlyArray<string> => {
  const { end, start } = frame(window).at(Date.parse(now))
  return [start, end].map((millis) => new Date(millis).toISOString().slice(0, 16))
}

const moments = Schema.Int.check(Schema.isBetween({ minimum: Date.UTC(2005, 0), maximum: Date.UTC(2035, 0) }))

describe("a calendar's window", () => {
  it.prop(
    "holds the moment it is asked for, and meets the next one without a gap",
    [moments, Schema.Literals(zones), Schema.Literals(units)],
    ([now, timeZone, every]) => {
      const { at } = frame({ every, timeZone })
      const { end, start } = at(now)
      assert.isTrue(start <= now && now < end)
      for (const inside of [start, now, end - 1]) assert.deepStrictEqual(at(inside), { start, end })
      assert.strictEqual(at(end).start, end)
    },
    { arbitrary: { runs: 500 } }
  )

  it("is the calendar's of its zone", () => {
    assert.deepStrictEqual(spans({ every: "day" }, "2026-03-10T23:30:00Z"), [
      "2026-03-10T00:00",
      "2026-03-11T00:00"
    ])
    assert.deepStrictEqual(spans({ every: "day", timeZone: "Asia/Kolkata" }, "2026-03-10T23:30:00Z"), [
      "2026-03-10T18:30",
      "2026-03-11T18:30"
    ])
    assert.deepStrictEqual(spans({ every: "month", timeZone: "Europe/Berlin" }, "2026-03-31T22:30:00Z"), [
      "2026-03-31T22:00",
      "2026-04-30T22:00"
    ])
  })

  it("of a week begins on Monday", () => {
    // 2026-03-15 is a Sunday.
    assert.deepStrictEqual(spans({ every: "week" }, "2026-03-15T23:59:59Z"), [
      "2026-03-09T00:00",
      "2026-03-16T00:00"
    ])
  })

  it("of a day has 23 or 25 hours where the clock is changed", () => {
    const berlin = { every: "day", timeZone: "Europe/Berlin" } as const
    assert.deepStrictEqual(spans(berlin, "2026-03-29T12:00:00Z"), ["2026-03-28T23:00", "2026-03-29T22:00"])
    assert.deepStrictEqual(spans(berlin, "2026-10-25T12:00:00Z"), ["2026-10-24T22:00", "2026-10-25T23:00"])
  })

  it("of an hour is one hour, also the one that the clock shows twice", () => {
    const berlin = { every: "hour", timeZone: "Europe/Berlin" } as const
    assert.deepStrictEqual(spans(berlin, "2026-10-25T00:30:00Z"), ["2026-10-25T00:00", "2026-10-25T01:00"])
    assert.deepStrictEqual(spans(berlin, "2026-10-25T01:30:00Z"), ["2026-10-25T01:00", "2026-10-25T02:00"])
    const kolkata = { every: "hour", timeZone: "Asia/Kolkata" } as const
    assert.deepStrictEqual(spans(kolkata, "2026-10-25T00:10:00Z"), ["2026-10-24T23:30", "2026-10-25T00:30"])
  })
})

describe("a rolling window", () => {
  it("begins at the moment it is asked for", () => {
    const made = frame({ rolling: "5 hours" })
    assert.isTrue(made.rolls)
    assert.deepStrictEqual(made.at(1_000), { start: 1_000, end: 18_001_000 })
  })
})

describe("a window's key", () => {
  it("is the same for the same window, and gives it back", () => {
    assert.strictEqual(frame({ every: "day" }).key, frame({ every: "day", timeZone: "UTC" }).key)
    assert.strictEqual(frame({ rolling: "60 seconds" }).key, frame({ rolling: "1 minute" }).key)
    for (const every of units) {
      const made = frame({ every, timeZone: "Europe/Berlin" })
      assert.deepStrictEqual(Windows.fromKey(made.key)?.at(0), made.at(0))
    }
  })

  it("that is none is told", () => {
    for (const key of ["", "day", "year UTC", "day Moon/Crater", "rolling 0", "rolling x", "rolling 1e300"]) {
      assert.isUndefined(Windows.fromKey(key), key)
    }
    assert.include(Windows.fromWindow({ every: "day", timeZone: "Moon/Crater" }), "Moon/Crater")
    assert.include(Windows.fromWindow({ rolling: 0 }), "0 ms")
    const both = { every: "day", rolling: "1 hour" } as const
    assert.include(Windows.fromWindow(both), "Say one of them")
    const zoned = { rolling: "1 hour", timeZone: "Europe/Berlin" } as const
    assert.include(Windows.fromWindow(zoned), "Leave timeZone out")
  })
})
