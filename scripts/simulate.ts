/**
 * Plays seeded worlds on every core and holds them against the two promises: `npm run simulate -- --seeds 1000`.
 *
 * `--seed N` begins with this one (1 unless said), `--seeds K` plays so many (1), `--steps M` takes so many steps in
 * each (500). With `--only 3,17,20` one seed is played with these steps alone, and its trace is printed. The first failure is
 * printed with its seed, the fewest steps that show it, and their trace; `--shrink K` plays at most so many worlds to find
 * them (200). Worlds in which nothing goes wrong prove nothing: with `--complete`, and with so many that chance is no
 * excuse, it fails where something that is to be met never was.
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { Coverage, wanted } from "../test/simulation/coverage.ts"
import { play, shrink, simulate, type Outcome } from "../test/simulation/simulate.ts"

interface Share {
  readonly seeds: ReadonlyArray<number>
  readonly steps: number
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const show = ({ faults, seed, steps, trace }: Outcome): void => {
  print(trace.join("\n"))
  if (faults.length === 0) {
    print("Both promises held.")
    return
  }
  print(`\nSeed ${seed} fails:\n  ${faults.join("\n  ")}`)
  print(`Again: npm run simulate -- --seed ${seed} --only ${steps.join(",")}`)
}

/** What a worker answers for each of its worlds: no trace, which is made again where it is wanted. */
type Told = Omit<Outcome, "trace">

const work = async ({ seeds, steps }: Share): Promise<void> => {
  for (const seed of seeds) {
    const { trace: _, ...told } = await simulate(seed, steps)
    parentPort?.postMessage(told satisfies Told)
  }
}

/** All of them, each core its share; ends early where one fails. */
const playAll = (
  first: number,
  count: number,
  steps: number,
  told: (outcome: Told) => boolean
): Promise<void> => {
  const cores = Math.min(count, availableParallelism())
  const workers = Array.from({ length: cores }, (_, core) => {
    const seeds = Array.from({ length: count }, (_, index) => first + index).filter(
      (seed) => seed % cores === core
    )
    return new Worker(new URL(import.meta.url), { workerData: { seeds, steps } satisfies Share })
  })
  const stop = () => Promise.all(workers.map((worker) => worker.terminate()))
  return new Promise((resolve, reject) => {
    let left = workers.length
    for (const worker of workers) {
      worker.on("message", (outcome: Told) => {
        if (!told(outcome)) void stop()
      })
      worker.on("error", reject)
      worker.on("exit", () => {
        if (--left === 0) resolve()
      })
    }
  })
}

/** Steps in which everything is met again and again. */
const enough = 500_000

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string", default: "1" },
      steps: { type: "string", default: "500" },
      only: { type: "string" },
      shrink: { type: "string", default: "200" },
      complete: { type: "boolean", default: false }
    }
  })
  const [seed, seeds, steps] = [values.seed, values.seeds, values.steps].map(Number)
  if (![seed, seeds, steps].every((each) => Number.isSafeInteger(each)) || !seed || !seeds || !steps) {
    throw new Error("--seed, --seeds and --steps are whole numbers above 0.")
  }
  const mostShrinks = Number(values.shrink)
  if (!Number.isSafeInteger(mostShrinks) || mostShrinks < 0) throw new Error("--shrink is a whole number.")
  if (values.only !== undefined) {
    const outcome = await play(seed, values.only.split(",").map(Number))
    show(outcome)
    process.exitCode = outcome.faults.length === 0 ? 0 : 1
    return
  }
  const began = performance.now()
  const coverage = new Coverage()
  let failed: Told | undefined
  let played = 0
  await playAll(seed, seeds, steps, (outcome) => {
    played++
    coverage.add(outcome.coverage)
    if (outcome.faults.length > 0) failed ??= outcome
    if (seeds === 1) print(`Seed ${seed}: ${outcome.hash}`)
    if (played % 1_000 === 0) print(`${played} worlds`)
    return failed === undefined
  })
  const seconds = (performance.now() - began) / 1_000
  for (const event of wanted) print(`${String(coverage.counts.get(event) ?? 0).padStart(9)} ${event}`)
  print(
    `${played} worlds of ${steps} steps in ${seconds.toFixed(1)} s (${(played / seconds).toFixed(1)} a second).`
  )
  if (failed === undefined) {
    const missing = values.complete || seeds * steps >= enough ? coverage.missing() : []
    if (missing.length > 0) {
      print(`Never met: ${missing.join(", ")}.`)
      process.exitCode = 1
    } else if (played === seeds) print("Both promises held.")
    else {
      // A worker that ends early, for whatever reason, has shown nothing of the rest.
      print(`Only ${played} of ${seeds} worlds were played.`)
      process.exitCode = 1
    }
    return
  }
  process.exitCode = 1
  const outcome = await simulate(failed.seed, steps)
  show(mostShrinks > 0 ? await shrink(outcome, undefined, mostShrinks) : outcome)
}

if (isMainThread) await main()
else await work(workerData as Share)
