/** What the benchmarks share. */

/** Fewer rounds, to see that it works. */
export const isQuick = process.argv.includes("quick")

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

/** CPU time of this process, in microseconds: the clock on the wall also counts what others did meanwhile. */
export const cpu = async (batch: () => Promise<unknown>): Promise<number> => {
  const since = process.cpuUsage()
  await batch()
  const { user, system } = process.cpuUsage(since)
  return user + system
}

/** A ratio beside its mark. */
export const judged = (ratio: number, mark: number): string =>
  `${ratio.toFixed(2)}  (mark ${mark.toFixed(2)}${ratio > mark ? "; MISSED" : ""})`
