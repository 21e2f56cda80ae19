/** Plays simulated worlds over each defect of `test/utils/worldMutants.ts`: see `mutants.ts`. */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { regressions } from "../test/simulation/regressions.ts"
import { worlds as defects } from "../test/utils/worldMutants.ts"
import { withMutant } from "./withMutant.ts"

const many = ["--seeds", "1000", "--steps", "200", "--complete", "--shrink", "0"]

/** A defect may make a world go on for ever. */
const longest = 300_000

/** What the simulation says of the project as it stands there; nothing where both promises hold. */
const played = (copy: string, options: ReadonlyArray<string>): string | undefined => {
  const script = path.join(copy, "scripts", "simulate.ts")
  const ran = spawnSync(process.execPath, ["--conditions=agent-budget-source", script, ...options], {
    cwd: copy,
    timeout: longest,
    encoding: "utf8",
    maxBuffer: 1 << 28
  })
  if (ran.status === 0) return undefined
  // Some of those remember each round, and come to the end of their memory first.
  if (ran.status === null || ran.stderr.includes("ERR_WORKER_OUT_OF_MEMORY")) return "a world that never ends"
  const said =
    /^Seed \d+ fails:\n {2}(.*)$/m.exec(ran.stdout)?.[1] ?? /^Never met: .*$/m.exec(ran.stdout)?.[0]
  if (said === undefined) throw new Error(`The worlds were not played: ${ran.stderr}`)
  return said
}

/** Answers how many live. */
export const runWorlds = async ([copy]: ReadonlyArray<string>): Promise<number> => {
  if (copy === undefined) return 0
  const before = played(copy, many)
  if (before !== undefined) throw new Error(`The simulation fails as it is: ${before}`)
  console.log("| where | defect | noticed by |\n| --- | --- | --- |")
  let alive = 0
  for (const defect of defects) {
    const file = path.join(copy, "src", defect.file)
    // Some show in one world of hundreds: the one that is kept for them.
    const kept = regressions.find((regression) => regression.defect === defect)
    const options = kept === undefined ? many : ["--seed", `${kept.seed}`, "--only", kept.steps.join()]
    const noticed = await withMutant(file, defect, () => played(copy, options))
    if (noticed === undefined) alive++
    console.log(`| ${defect.file} | ${defect.name} | ${noticed?.replaceAll("|", "\\|") ?? "NOTHING"} |`)
  }
  return alive
}
