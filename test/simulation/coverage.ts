/** What really happened in the worlds: a simulation in which nothing goes wrong proves nothing. */

/** Everything that a run of the test suite must have met. */
export const wanted = [
  "calls",
  "streams",
  "metered",
  "assumed",
  "released",
  "overruns",
  "expiries",
  "corrections",
  "renewals",
  "waits in memory",
  "waits over a store",
  "grants after a wait in memory",
  "grants after a wait over a store",
  "admissions without a fiber",
  "refusals",
  "exact fits",
  "refused by a nano-dollar",
  "thresholds",
  "retries",
  "aborts before sending",
  "aborts",
  "interruptions",
  "left early",
  "never read",
  "refused connections",
  "resets",
  "rejections",
  "server errors",
  "hangs",
  "cut bodies",
  "ends without a bill",
  "malformed bodies",
  "untrue usages",
  "other tiers",
  "dearer models",
  "ignored caps",
  "written caps",
  "cache writes",
  "long contexts",
  "metered after leaving",
  "read on: abort before an answer",
  "read on: abort in an answer",
  "read on: cancel",
  "bills near their bound",
  "growing usages",
  "growing usages cut",
  "calls without a price",
  "effects",
  "calls inside effects",
  "works at once",
  "given up half-way",
  "left running",
  "nested accounts",
  "tracked",
  "repeated endings",
  "raised limits",
  "lowered limits",
  "pauses",
  "opened accounts",
  "new windows",
  "clock jumps",
  "clocks set ahead",
  "clocks set back",
  "lost answers",
  "outages",
  "deaths",
  "handed over"
] as const

export type Event = (typeof wanted)[number]

export class Coverage {
  readonly counts = new Map<Event, number>()

  met(event: Event): void {
    this.counts.set(event, (this.counts.get(event) ?? 0) + 1)
  }

  add(counts: ReadonlyArray<readonly [Event, number]>): void {
    for (const [event, count] of counts) this.counts.set(event, (this.counts.get(event) ?? 0) + count)
  }

  missing(): ReadonlyArray<Event> {
    return wanted.filter((event) => !this.counts.has(event))
  }
}
