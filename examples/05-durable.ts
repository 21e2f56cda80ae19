/**
 * Books in a file: an agent is killed in the middle of a call, and the next process goes on where it stopped:
 *
 *     npx node --conditions=agent-budget-source examples/05-durable.ts
 *
 * `new BudgetedSession({ budgetUsd, ledger: "file:budget.db" })` is all that a program needs for it. Here the ledger is
 * given as a layer, since a call that nobody ends is to be charged after three seconds, and not after a minute.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import OpenAI from "openai"
import { Effect, Stream } from "effect"
import { BudgetedSession, BudgetExceededError, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import * as Simulation from "./utils/simulation.ts"

const open = (filename: string): BudgetedSession =>
  new BudgetedSession({
    budgetUsd: "0.03",
    thresholds: [0.5],
    ledger: SqliteLedger.layer({ filename, lease: "3 seconds" })
  })

/** Asks until the budget refuses. */
const agent = async (name: string, session: BudgetedSession, baseURL: string): Promise<void> => {
  const client = session.wrapOpenAI(new OpenAI({ baseURL, apiKey: "sk-simulated" }))
  try {
    for (let call = 1; ; call++) {
      await client.chat.completions.create({
        model: "gpt-4o",
        max_completion_tokens: 500,
        messages: [{ role: "user", content: "What does a budget have to promise?" }]
      })
      console.log(`${name}, call ${call}: spent $${session.getTotalSpent()}`)
    }
  } catch (error) {
    if (!(error instanceof BudgetExceededError)) throw error
    console.log(`${name}: ${error.message}`)
  }
}

const main = async (): Promise<void> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-"))
  const file = path.join(folder, "budget.db")
  let kill = (): void => undefined
  await using provider = await Simulation.startSilentAt(3, () => kill())

  const args = [...process.execArgv, import.meta.filename, provider.baseURL, file]
  const first = spawn(process.execPath, args, { stdio: "inherit" })
  kill = () => void first.kill("SIGKILL")
  const [, signal] = (await once(first, "close")) as ReadonlyArray<unknown>
  console.log(`The first agent is gone (${String(signal)}), in the middle of its fourth call.`)

  const session = open(file)
  const { reservedUsd, spentUsd } = await session.balance()
  console.log(`The books have it: $${spentUsd} spent, $${reservedUsd} still held for that call.`)
  for await (const event of session.events()) {
    if (event._tag !== "Expired") continue
    console.log(`Nobody can know what it was billed: charged whole, ${Usd.format(event.amount)}.`)
    break
  }
  await agent("second agent", session, provider.baseURL)
  await session.close()

  const { entries, report } = await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const ledger = yield* SqliteLedger.make({ filename: file })
        return {
          entries: yield* Stream.runCollect(ledger.entries()),
          report: yield* LedgerAudit.audit(ledger)
        }
      })
    )
  )
  console.log("\nThe books:")
  for (const entry of entries) {
    const amount = "amount" in entry ? entry.amount : "reserved" in entry ? entry.reserved : undefined
    console.log(`  ${entry.seq} ${entry._tag}${amount === undefined ? "" : ` ${Usd.format(amount)}`}`)
  }
  console.log(
    `What an audit finds wrong with them: ${report.findings.length === 0 ? "nothing" : report.findings.join("; ")}`
  )
  const { totalNanoUsd } = provider.bill()
  console.log(`the provider's bill: $${Number(totalNanoUsd) / 1e9}`)
  fs.rmSync(folder, { recursive: true })
}

const [baseURL, file] = process.argv.slice(2)
if (baseURL === undefined || file === undefined) await main()
else await agent("first agent", open(file), baseURL)
