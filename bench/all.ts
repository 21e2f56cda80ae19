/**
 * Every benchmark, one after the other, each in a process of its own. What misses a mark does not keep the rest from
 * being measured: it fails once all is.
 *
 *   npm run bench              everything
 *   npm run bench -- quick     fewer rounds, to see that it works
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

/** A thousand calls of a megabyte at a time need room. */
const parts = [
  ["index.ts", "--max-old-space-size=12000"],
  ["agent.ts"],
  ["tokens.ts"],
  ["ledgers.ts"]
] as const

const failed = parts.filter(([file, ...flags]) => {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const given = [...process.execArgv, ...flags, path, ...process.argv.slice(2)]
  return spawnSync(process.execPath, given, { stdio: "inherit" }).status !== 0
})
if (failed.length > 0) {
  console.error(`Not as it should be: ${failed.map(([file]) => file).join(", ")}`)
  process.exitCode = 1
}
