/**
 * Runs a swarm on the memory engine at full speed, and looks for what grows: `npm run soak -- --minutes 60`.
 *
 * Waves of agents share one budget, each with an account of its own: they read answers whole and streamed, leave
 * them, abort, wait for room, fail and are refused. After each wave the books are held against the provider's bill.
 * The heap is sampled after a full collection; at the end its trend must be flat, and no account, fiber, listener or
 * timer may be left.
 */
import { getEventListeners } from "node:events"
import { parseArgs } from "node:util"
import { Budget, BudgetedFetch, BudgetedOpenAi, Ledger, Pricing, Usd } from "agent-budget"
import { Duration, Effect, Exit, Layer, Logger, Redacted, Stream } from "effect"
import { Provider, type Fate } from "./soak/provider.ts"

const baseURL = "http://soak.invalid/v1"
const agents = 100
const callsEach = 6

/** In the order of how often they are met. */
const fates: ReadonlyArray<Fate> = [
  ...(["whole", "streamed", "whole", "left", "streamed", "shared", "aborted"] as const),
  ...(["cut", "failed", "limited", "unreachable"] as const)
]

/** A trend of more than this much over the whole soak is growth. */
const mostGrowth = 1024 * 1024

/** In fewer minutes, code that is compiled and books that fill up are most of what grows. */
const leastMinutes = 5

interface Sample {
  readonly seconds: number
  readonly bytes: number
}

/** What the samples grew by along their line of least squares, without the first tenth, in which code is compiled. */
const trendOf = (samples: ReadonlyArray<Sample>): number => {
  const settled = samples.slice(Math.ceil(samples.length / 10))
  const mean = (of: (sample: Sample) => number): number =>
    settled.reduce((sum, sample) => sum + of(sample), 0) / settled.length
  const at = mean((sample) => sample.seconds)
  const size = mean((sample) => sample.bytes)
  const over = settled.reduce((sum, { seconds, bytes }) => sum + (seconds - at) * (bytes - size), 0)
  const spread = settled.reduce((sum, { seconds }) => sum + (seconds - at) ** 2, 0)
  const [first, last] = [settled[0], settled.at(-1)]
  if (first === undefined || last === undefined || spread === 0) return 0
  return (over / spread) * (last.seconds - first.seconds)
}

const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(2)

/** What is in use once all is gone that nobody needs; what waits to be finalised goes a turn later. */
const heap = Effect.promise(async () => {
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return process.memoryUsage().heapUsed
})

/** The memory ledger, with a look at every account of a chain whenever something was admitted. */
const layerWatched = (faults: Array<string>): Layer.Layer<Ledger.Ledger> =>
  Layer.effect(
    Ledger.Ledger,
    Effect.map(Ledger.makeMemory(), (ledger) => {
      const look = (account: string) =>
        Effect.map(ledger.balance(account), ({ limit, reserved, spent }) => {
          if (limit !== null && spent + reserved > limit) {
            faults.push(`${account} was over: ${spent} + ${reserved} of ${limit} nano-dollars.`)
          }
        })
      return Ledger.Ledger.of({
        ...ledger,
        reserve: (request) =>
          Effect.tap(ledger.reserve(request), () => Effect.andThen(look(request.account), look("root")))
      })
    })
  )

/** A `fetch` of the budget's own, and a signal that outlives every call which it is given to. */
interface Plain {
  readonly fetch: BudgetedFetch.Fetch
  readonly signal: AbortSignal
}

const call = Effect.fnUntraced(function* (fate: Fate, text: string, plain: Plain) {
  const openai = yield* BudgetedOpenAi.BudgetedOpenAi
  const request = {
    model: "gpt-4o",
    user: fate,
    max_completion_tokens: 200,
    messages: [{ role: "user" as const, content: text }]
  }
  const whole = openai.use((client, signal) => client.chat.completions.create(request, { signal }))
  const chunks = openai.stream((client, signal) =>
    client.chat.completions.create({ ...request, stream: true }, { signal })
  )
  switch (fate) {
    case "streamed":
    case "cut":
      return yield* Stream.runDrain(chunks)
    case "left":
      return yield* Stream.runDrain(Stream.take(chunks, 3))
    case "aborted":
      return yield* Effect.timeout(whole, "2 millis")
    case "shared":
      return yield* Effect.tryPromise(async () => {
        const init = { method: "POST", body: JSON.stringify(request), signal: plain.signal }
        return (await plain.fetch(`${baseURL}/chat/completions`, init)).text()
      })
    default:
      return yield* whole
  }
})

/** Whatever becomes of a call, its agent goes on. */
const agent = (wave: number, index: number, plain: Plain) =>
  Effect.forEach(
    Array.from({ length: callsEach }, (_, turn) => wave * 31 + index * 7 + turn),
    (seed) => Effect.exit(call(fates[seed % fates.length] ?? "whole", `What is ${seed % 977}?`, plain)),
    { concurrency: 1 + (index % 3) }
  ).pipe(
    Effect.map((exits) => exits.filter(Exit.isFailure).length),
    Budget.within({ account: `agent-${index}`, limit: Usd.dollars("0.01") })
  )

const soak = Effect.fnUntraced(function* (minutes: number, provider: Provider, faults: Array<string>) {
  const { signal } = new AbortController()
  const fetch = yield* BudgetedFetch.make({ fetch: provider.fetch, baseURL, refusal: "throw" })
  const budget = yield* Budget.Budget
  const began = performance.now()
  const every = Math.max(2, (minutes * 60) / 60)
  const samples: Array<Sample> = []
  const seconds = (): number => (performance.now() - began) / 1_000
  let waves = 0
  while (seconds() < minutes * 60) {
    const { spent } = yield* Budget.balance
    // Less than all of them would like, so that some wait and some are refused.
    yield* budget.setLimit(budget.account, Usd.add(spent, Usd.dollars("0.75")))
    yield* Effect.forEach(
      Array.from({ length: agents }).keys(),
      (index) => agent(waves, index, { fetch, signal }),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    waves++
    const summary = yield* Budget.summary
    const balance = yield* Budget.balance
    const assumed = Object.values(summary.byModel).reduce((sum, model) => sum + model.assumed, 0)
    if (balance.reserved !== 0) faults.push(`Wave ${waves} left ${balance.reserved} nano-dollars reserved.`)
    if (balance.spent !== summary.spent)
      faults.push(`Wave ${waves}: the summary is not what the ledger says.`)
    if (balance.spent - assumed !== provider.told) {
      faults.push(`Wave ${waves}: ${balance.spent - assumed} metered, ${provider.told} billed and told.`)
    }
    if (assumed < provider.untold) {
      faults.push(`Wave ${waves}: ${assumed} assumed, ${provider.untold} billed and not told.`)
    }
    if (faults.length > 0) break
    if (seconds() >= samples.length * every) {
      samples.push({ seconds: seconds(), bytes: yield* heap })
      const { bytes } = samples.at(-1) ?? { bytes: 0 }
      const { calls, refused } = summary
      console.log(
        `${seconds().toFixed(0).padStart(6)} s  heap ${mebibytes(bytes)} MiB  ` +
          `${waves} waves, ${provider.requests} sent, ${calls} charged, ${refused} refused, ${Usd.format(balance.spent)}`
      )
    }
  }
  const accounts = yield* Budget.balances
  if (accounts.length !== 1) faults.push(`${accounts.length - 1} accounts are still open.`)
  const open = budget.outstanding().length
  if (open > 0) faults.push(`${open} reservations have not ended.`)
  const listeners = getEventListeners(signal, "abort").length
  if (listeners > 0) faults.push(`${listeners} listeners are left on a signal.`)
  return samples
})

const main = async (): Promise<void> => {
  const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" } } })
  const minutes = Number(values.minutes)
  if (!(minutes > 0) || globalThis.gc === undefined) {
    throw new Error("Run it by `npm run soak -- --minutes 60`, with a number above 0.")
  }
  const provider = new Provider()
  const faults: Array<string> = []
  const layers = BudgetedOpenAi.layer({
    apiKey: Redacted.make("none"),
    baseURL,
    fetch: provider.fetch,
    maxRetries: 0
  }).pipe(
    Layer.provideMerge(
      Budget.layer({ limit: Usd.dollars("1"), onExceeded: "wait", waitAtMost: Duration.millis(20) })
    ),
    Layer.provideMerge(Pricing.layer),
    Layer.provide([layerWatched(faults), BudgetedFetch.layer({ inputBound: "bytes" })]),
    // That prices are old, or hosts unverified, is not what is looked for.
    Layer.provide(Logger.layer([]))
  )
  const samples = await Effect.runPromise(Effect.provide(soak(minutes, provider, faults), layers))
  // What ends a turn later has ended by then.
  await new Promise((resolve) => setImmediate(resolve))
  const timers = process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length
  if (timers > 0) faults.push(`${timers} timers are left.`)
  const growth = trendOf(samples)
  console.log(`\nThe trend of ${samples.length} samples of the heap adds ${mebibytes(growth)} MiB.`)
  if (minutes >= leastMinutes && growth > mostGrowth) {
    faults.push(`The heap grew; ${mebibytes(mostGrowth)} MiB are the most.`)
  }
  if (faults.length === 0) {
    console.log(minutes < leastMinutes ? "Too short to judge the heap by." : "Heap: flat.")
    console.log("Nothing is left: no account, reservation, listener or timer. Both promises held.")
    return
  }
  console.log(faults.join("\n"))
  process.exitCode = 1
}

await main()
