/** Plays simulated worlds over each defect of `test/utils/worldMutants.ts`: see `mutants.ts`. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { regressions } from "../test/simulation/regressions.ts"
import { mutate } from "../test/utils/mutants.ts"
import { worlds as defects } from "../test/utils/worldMutants.ts"

const many = ["--seeds", "120", "--steps", "200", "--complete", "--shrink", "0"]

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
  if (ran.status === null) return "a world that never ends"
  const said =
    /^Seed \d+ fails:\n {2}(.*)$/m.exec(ran.stdout)?.[1] ?? /^Never met: .*$/m.exec(ran.stdout)?.[0]
  if (said === undefined) throw new Error(`The worlds were not played: ${ran.stderr}`)
  return said
}

/** Answers how many live. */
export const runWorlds = ([copy]: ReadonlyArray<string>): Promise<number> => {
  if (copy === undefined) return Promise.resolve(0)
  const before = played(copy, many)
  if (before !== undefined) throw new Error(`The simulation fails as it is: ${before}`)
  console.log("| where | defect | noticed by |\n| --- | --- | --- |")
  let alive = 0
  for (const defect of defects) {
    const file = path.join(copy, "src", defect.file)
    const text = fs.readFileSync(file, "utf8")
    const made = mutate(text, defect)
    if (typeof made === "string") throw new Error(made)
    fs.writeFileSync(file, made.text)
    // Some show in one world of hundreds: the one that is kept for them.
    const kept = regressions.find((regression) => regression.defect === defect)
    const options = kept === undefined ? many : ["--seed", `${kept.seed}`, "--only", kept.steps.join()]
    const noticed = played(copy, options)
    fs.writeFileSync(file, text)
    if (noticed === undefined) alive++
    console.log(`| ${defect.file} | ${defect.name} | ${noticed?.replaceAll("|", "\\|") ?? "NOTHING"} |`)
  }
  return Promise.resolve(alive)
}
