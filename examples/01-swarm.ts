/**
 * Dozens of agents, one dollar: `npm start`.
 *
 * They ask several models at once, in two teams with accounts of their own. Some stream, some hang up half-way, some
 * calls fail. The end shows who spent what, what was refused, and the provider's own bill beside our books.
 */
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Fiber, Layer, Result, Stream } from "effect"
import { Budget, BudgetedOpenAi, Ledger, Pricing, Usd } from "agent-budget"
import * as Board from "./utils/board.ts"
import * as Promises from "./utils/promises.ts"
import * as Provider from "./utils/provider.ts"
import { startBusy } from "./utils/simulation.ts"
import { layerWatched, Peak } from "./utils/watchedLedger.ts"

const usage = `Usage: npm start [-- --live] [-- --budget 0.10]

  --live           Calls the real API with OPENAI_API_KEY: six short calls to gpt-4o-mini.
  --budget <USD>   The budget. 1.00 unless said, 0.05 with --live.
  --help           This text.`

interface Agent {
  readonly id: number
  readonly team: string
  readonly model: string
  readonly style: "whole" | "streams" | "hangs up" | "asks for a picture"
  /** The output cap it sends, if it sends one. */
  readonly cap: number | undefined
  readonly turns: number
}

const teams = (budget: Usd.Usd) => [
  { account: "research", limit: Usd.nanos(Math.floor(budget * 0.65)) },
  { account: "support", limit: Usd.nanos(Math.floor(budget * 0.37)) }
]

const models = ["gpt-4o", "gpt-4.1", "gpt-5-mini", "gpt-4.1", "gpt-4o", "gpt-4o-mini"]

const simulated = (id: number): Agent => ({
  id,
  team: id % 5 < 3 ? "research" : "support",
  model: id === 20 ? "gpt-not-in-the-table" : (models[id % models.length] ?? "gpt-4o-mini"),
  style: id === 33 ? "asks for a picture" : id % 12 === 3 ? "hangs up" : id % 2 === 0 ? "streams" : "whole",
  cap: id % 6 === 5 ? undefined : 1_600,
  turns: id % 12 === 3 ? 2 : 6
})

const live = (id: number): Agent => ({
  id,
  team: id % 2 === 0 ? "research" : "support",
  model: "gpt-4o-mini",
  style: id === 3 ? "hangs up" : id % 2 === 0 ? "streams" : "whole",
  cap: 60,
  turns: 1
})

/** One call of an agent. Whatever becomes of it, the budget knows what it cost. */
const ask = Effect.fnUntraced(function* (agent: Agent) {
  const openai = yield* BudgetedOpenAi.BudgetedOpenAi
  const request = {
    model: agent.model,
    messages: [
      { role: "system" as const, content: "You are one of many. Answer in one sentence." },
      { role: "user" as const, content: `Agent ${agent.id}: what does a budget have to promise?` }
    ],
    ...(agent.cap === undefined ? {} : { max_completion_tokens: agent.cap })
  }
  const chunks = openai.stream((client, signal) =>
    client.chat.completions.create({ ...request, stream: true }, { signal })
  )
  switch (agent.style) {
    case "whole":
      yield* openai.use((client, signal) => client.chat.completions.create(request, { signal }))
      return
    case "streams":
      return yield* Stream.runDrain(chunks)
    case "hangs up":
      return yield* chunks.pipe(Stream.take(12), Stream.runDrain)
    case "asks for a picture":
      yield* openai.use((client, signal) => client.images.generate({ prompt: "a dollar" }, { signal }))
  }
})

/** An agent asks until it has no turn or no budget left. A call that fails at the provider is a turn lost. */
const run = (agent: Agent) =>
  Effect.gen(function* () {
    for (let turn = 0; turn < agent.turns; turn++) {
      const answer = yield* Effect.result(ask(agent))
      if (Result.isFailure(answer) && answer.failure._tag === "BudgetError") return
    }
  }).pipe(Budget.within({ account: agent.team }))

/** Follows the events: draws the bar, and counts the refusals by reason. */
const follow = (refusals: Map<string, number>, progress: ReturnType<typeof Board.progress>) =>
  Stream.runForEach(Budget.events, (event) =>
    Effect.map(Budget.summary, (summary) => {
      progress.draw(summary)
      if (event._tag !== "Refused") return
      const { reason } = event.error
      const why = reason._tag === "BudgetExceeded" ? `${reason._tag} on ${reason.account}` : reason._tag
      refusals.set(why, (refusals.get(why) ?? 0) + 1)
    })
  )

/** Runs them all at once; answers whether every promise was kept. */
const swarm = (agents: ReadonlyArray<Agent>, budget: Usd.Usd) =>
  Effect.gen(function* () {
    const provider = yield* Provider.Provider
    const progress = Board.progress(process.stdout)
    const refusals = new Map<string, number>()
    const started = performance.now()
    console.log(`${agents.length} agents, ${Usd.format(budget)}.`)

    yield* Effect.forEach(teams(budget), Budget.open)
    const follower = yield* Effect.forkChild(follow(refusals, progress))
    yield* Effect.yieldNow
    yield* Effect.forEach(agents, run, { concurrency: "unbounded", discard: true })
    const bill = yield* provider.bill
    // The last events are on their way.
    yield* Effect.sleep("50 millis")
    yield* Fiber.interrupt(follower)
    progress.end()

    const summary = yield* Budget.summary
    const seconds = ((performance.now() - started) / 1_000).toFixed(1)
    console.log(
      `\nAll ended after ${seconds} s: ${summary.calls} calls charged, ${summary.refused} refused.\n`
    )
    console.log(`${byModel(summary)}\n`)
    console.log(`${byAccount(yield* Budget.balances)}\n`)
    if (refusals.size > 0)
      console.log(`${Board.table([["refused, nothing sent", "calls"], ...counts(refusals)])}\n`)
    return yield* verdict(summary, bill)
  })

const counts = (refusals: ReadonlyMap<string, number>): ReadonlyArray<ReadonlyArray<string>> =>
  [...refusals].sort((a, b) => b[1] - a[1]).map(([why, count]) => [why, String(count)])

const byModel = (summary: Budget.Summary): string =>
  Board.table([
    ["model", "calls", "metered", "assumed", "spent"],
    ...Object.entries(summary.byModel).map(([model, { assumed, calls, spent }]) => [
      model,
      String(calls),
      Board.dollars(Usd.subtract(spent, assumed)),
      Board.dollars(assumed),
      Board.dollars(spent)
    ])
  ])

const byAccount = (balances: ReadonlyArray<Ledger.Balance>): string =>
  Board.table([
    ["account", "limit", "spent", "available"],
    ...balances.map(({ account, available, limit, spent }) => [
      account,
      limit === null ? "none" : Board.dollars(limit),
      Board.dollars(spent),
      available === null ? "" : Board.dollars(available)
    ])
  ])

/** The provider's bill beside our books, and the peak beside the budget. */
const verdict = Effect.fnUntraced(function* (summary: Budget.Summary, bill: Usd.Usd | undefined) {
  const peak = yield* Peak
  const { limit, reserved, spent } = summary
  const assumed = Object.values(summary.byModel).reduce((sum, each) => Usd.add(sum, each.assumed), Usd.zero)
  const highest = peak.highest()
  console.log(
    Board.table([
      ["the provider's bill", bill === undefined ? "not told" : Board.dollars(bill)],
      ["our books", Board.dollars(spent)],
      ["  metered, as the provider reported", Board.dollars(Usd.subtract(spent, assumed))],
      ["  assumed, where nobody can know", Board.dollars(assumed)],
      ["still reserved", Board.dollars(reserved)],
      [`peak of spent + reserved, in ${peak.looks()} looks`, Board.dollars(highest)],
      ["the budget", Board.dollars(limit)],
      ["calls that were sent with a cap of ours", String(summary.capped)]
    ])
  )
  console.log()
  const checks = Promises.check({ bill, peak: highest, summary })
  for (const [promise, kept] of checks) console.log(`${kept ? "kept  " : "BROKEN"}  ${promise}`)
  return checks.every(([, kept]) => kept)
})

const main = (options: { readonly live: boolean; readonly budget: Usd.Usd }) => {
  const agents = Array.from({ length: options.live ? 6 : 48 }, (_, id) =>
    (options.live ? live : simulated)(id)
  )
  const books = Budget.layer({ limit: options.budget, onExceeded: "wait", waitAtMost: "1 second" }).pipe(
    Layer.provideMerge(layerWatched(Ledger.rootAccount))
  )
  return swarm(agents, options.budget).pipe(
    Effect.provide(
      Provider.layerClient.pipe(
        Layer.provideMerge(options.live ? Provider.layerLive : Provider.layerSimulated(startBusy)),
        Layer.provideMerge(books),
        Layer.provide(Pricing.layer)
      )
    ),
    Effect.map((kept) => {
      if (!kept) process.exitCode = 1
    })
  )
}

/** The arguments, or what to say instead of running, with the exit code of that. */
const read = ():
  { readonly live: boolean; readonly budget: Usd.Usd } | readonly [text: string, code: number] => {
  const parsed = Result.try(() =>
    parseArgs({
      options: { live: { type: "boolean" }, budget: { type: "string" }, help: { type: "boolean" } }
    })
  )
  if (Result.isFailure(parsed)) return [usage, 2]
  const { budget, help, live: isLive = false } = parsed.success.values
  if (help === true) return [usage, 0]
  if (isLive && (process.env.OPENAI_API_KEY ?? "") === "") {
    return ["--live calls the real API: set OPENAI_API_KEY. Without --live no key is needed: npm start", 2]
  }
  const limit = Usd.fromString(budget ?? (isLive ? "0.05" : "1"))
  return Result.isFailure(limit) || limit.success <= 0
    ? [`--budget takes dollars, such as 0.10.\n\n${usage}`, 2]
    : { live: isLive, budget: limit.success }
}

const options = read()
if ("live" in options) NodeRuntime.runMain(main(options))
else {
  const [text, code] = options
  if (code === 0) console.log(text)
  else console.error(text)
  process.exitCode = code
}
