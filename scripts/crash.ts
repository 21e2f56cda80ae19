/**
 * Kills processes that share a durable ledger, for a while, and checks that nothing was lost (`test/utils/crashRun.ts`
 * says how):
 *
 *     npm run crash -- [--engine sqlite|postgres|redis|all] [--seconds 20] [--processes 8] [--seed 1] [--lease 1500]
 *
 * Exits with 1 where anything is wrong. PostgreSQL and Redis as for the tests: `bash .ci/services` starts them.
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { Usd } from "agent-budget"
import { engines, type Name } from "../test/utils/crashEngines.ts"
import { type Fate, places, type Where } from "../test/utils/crashParent.ts"
import { type Report, run } from "../test/utils/crashRun.ts"
import type { Random } from "../test/utils/random.ts"

const { values } = parseArgs({
  options: {
    engine: { type: "string", default: "all" },
    seconds: { type: "string", default: "20" },
    processes: { type: "string", default: "8" },
    seed: { type: "string", default: "1" },
    lease: { type: "string", default: "1500" }
  }
})

const names = Object.keys(engines).filter(
  (name): name is Name => values.engine === "all" || values.engine === name
)
const missing = names.filter((name) => !engines[name].isThere)
if (names.length === 0 || missing.length > 0) {
  console.error(names.length === 0 ? `No such engine: ${values.engine}` : `Not there: ${missing.join(", ")}`)
  process.exit(1)
}

const often: Partial<Record<Where, number>> = { starting: 1, asking: 40 }

/** Most processes live for less than a second. */
const fate = (_slot: number, _life: number, draw: Random): Fate => {
  const where = draw.one(places)
  return { where, after: draw.between(1, often[where] ?? 150) }
}

const listed = (counts: ReadonlyMap<string, number>): string =>
  Array.from(counts, ([what, times]) => `${what} ${times}`).join(", ") || "none"

const table = (report: Report): ReadonlyArray<readonly [string, string]> => {
  const { audit, billed, booked, corrected, ends, kills, overruns, peak, refused } = report
  const killed = Array.from(kills.values()).reduce((sum, each) => sum + each, 0)
  const dollars = (nanos: number): string => Usd.format(Usd.nanos(nanos))
  return [
    ["calls admitted", `${report.admitted} in ${report.seconds.toFixed(1)} s`],
    ["refused", listed(refused)],
    ["billed below the root", `${dollars(billed)} (${report.bills} bills in all)`],
    ["booked below the root", dollars(booked)],
    ["killed", `${killed} (${listed(kills)})`],
    ["ended", `${listed(ends)}; ${corrected} of them corrected after they had expired`],
    ["overruns booked", String(overruns)],
    [
      "fullest seen",
      `${dollars(peak.used)} of ${dollars(peak.limit)}, in ${report.looks} looks; raised ${report.raised} times`
    ],
    ["temporary accounts left", String(report.left)],
    [
      "audit",
      `${audit.entries} entries, ${audit.findings.length === 0 ? "clean" : `${audit.findings.length} findings`}`
    ],
    ["violations", String(report.violations.length)]
  ]
}

let isWrong = false
for (const name of names) {
  console.log(`\n${name}: ${values.processes} processes, ${values.seconds} s, seed ${values.seed}`)
  const report = await Effect.runPromise(
    Effect.scoped(
      run(name, {
        processes: Number(values.processes),
        seed: Number(values.seed),
        lease: Number(values.lease),
        endsAfter: Number(values.seconds) * 1_000,
        fate
      })
    )
  )
  for (const [what, value] of table(report)) console.log(`  ${what.padEnd(24)} ${value}`)
  for (const violation of report.violations.slice(0, 20)) console.log(`  WRONG ${violation}`)
  isWrong ||= report.violations.length > 0
}
process.exit(isWrong ? 1 : 0)
