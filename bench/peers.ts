/**
 * This project beside its peers: the same calls, the same budget, each by its documented way in. Writes
 * docs/comparison.md.
 *
 *   npm run bench:peers
 *
 * The peers are no dependencies of the project: bench/peers has a package.json and a lock of its own, and is
 * installed by the first run.
 */
import { execFileSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { ofEffect, ours } from "./comparison/ours.ts"
import { page } from "./comparison/page.ts"
import type { Peer } from "./comparison/peer.ts"
import { overheads, tried, type Outcome } from "./comparison/trials.ts"

const folder = fileURLToPath(new URL("peers", import.meta.url))

if (!existsSync(`${folder}/node_modules`)) {
  const quiet = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
  execFileSync("npm", ["ci", ...quiet], { cwd: folder, stdio: "inherit" })
}

// Imported by a name that the compiler does not follow, so that the project is checked without the peers.
const adapters = new URL("peers/adapters.js", import.meta.url).href
const { peers } = (await import(adapters)) as { readonly peers: ReadonlyArray<Peer> }

const outcomes: Array<Outcome> = []
const all = [...ours, ...peers, ...ofEffect]
for (const peer of all) {
  const outcome = await tried(peer)
  const { peer: _, ...figures } = outcome
  console.log(peer.name, figures)
  outcomes.push(outcome)
}

writeFileSync(new URL("../docs/comparison.md", import.meta.url), await page(outcomes, await overheads(all)))
console.log("docs/comparison.md is written")
// Some peers keep timers.
process.exit(0)
