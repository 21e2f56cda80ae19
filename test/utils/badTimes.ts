/** Times that no engine takes: none, never, none at all, backwards, longer than anything, no time at all. */
const times = [NaN, 0, -1, Infinity, -Infinity, 1e300, "soon" as "1 second"] as const

/** Options with one of them each; `more` are the names of the engine's own. */
export const badTimes = (...more: ReadonlyArray<string>): ReadonlyArray<Readonly<Record<string, never>>> =>
  ["lease", "poll", "writeAtClose", ...more].flatMap((name) =>
    // Closing may be told not to try again.
    times.filter((time) => name !== "writeAtClose" || time !== 0).map((time) => ({ [name]: time as never }))
  )
