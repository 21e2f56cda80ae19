import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Usd } from "agent-budget"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import { findings } from "./utils/bookReplay.ts"

const worker = fileURLToPath(new URL("utils/sqliteWorker.ts", import.meta.url))

/** What the processes of one name have said, and what they have asked for without an answer. */
class Log {
  readonly granted = new Map<string, number>()
  readonly ended = new Set<string>()
  readonly unanswered = new Set<string>()
  errors = ""
  #rest = ""

  read(text: string): void {
    const lines = `${this.#rest}${text}`.split("\n")
    this.#rest = lines.pop() ?? ""
    for (const line of lines) this.#line(line.split(" "))
  }

  #line([what, id = "", tag, amount]: ReadonlyArray<string>): void {
    if (what === "ask") this.unanswered.add(id)
    if (what === "answer" && tag !== "Granted") this.unanswered.delete(id)
    if (what === "answer" && tag === "Granted") this.granted.set(id, Number(amount))
    if (what === "end") {
      this.unanswered.delete(id)
      this.ended.add(`${id} ${tag ?? ""}`)
    }
  }

  /** The line that was being written when it was killed was never said. */
  broke(): void {
    this.#rest = ""
  }
}

const start = (file: string, name: string, log: Log): ChildProcess => {
  const child = spawn(
    process.execPath,
    ["--conditions=agent-budget-source", "--no-warnings", worker, file, name, ...log.unanswered],
    { stdio: ["ignore", "pipe", "pipe"] }
  )
  child.stdout.setEncoding("utf8").on("data", (text: string) => log.read(text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log.errors += text))
  return child
}

/** Kills it at some moment in the middle of its verbs, and waits until all that it said was read. */
const killed = async (child: ChildProcess, log: Log, millis: number): Promise<void> => {
  const before = log.ended.size
  const until = performance.now() + 15_000
  while (log.ended.size === before && child.exitCode === null && performance.now() < until) await sleep(5)
  await sleep(millis)
  const closed = once(child, "close")
  child.kill("SIGKILL")
  await closed
  log.broke()
}

const sleep = (millis: number): Promise<void> => new Promise((resume) => setTimeout(resume, millis))

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-sqlite-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

describe("processes that are killed in the middle of verbs", () => {
  it.live(
    "lose nothing that was answered and admit nothing twice or beyond a limit",
    () =>
      Effect.gen(function* () {
        const file = path.join(yield* temporary, "budget.db")
        const books = yield* SqliteStore.make({ path: file })
        const account = (name: string, parent: string | null, limit: number | null) =>
          books.open({
            account: name,
            parent,
            limit: limit === null ? null : Usd.nanos(limit),
            frame: undefined,
            thresholds: [500_000],
            opener: null
          })
        yield* account("root", null, 4_000)
        yield* account("root/odd", "root", 800)
        yield* account("root/even", "root", null)
        const logs = yield* Effect.promise(() =>
          Promise.all(
            ["x", "y", "z"].map(async (name, index) => {
              const log = new Log()
              for (let life = 0; life < 3; life++) {
                await killed(start(file, `${name}${life}`, log), log, 20 + ((index * 3 + life) % 7) * 25)
              }
              return log
            })
          )
        )
        for (const log of logs) assert.strictEqual(log.errors, "")

        const entries = yield* books.entries({ after: 0, size: 1e6, account: null, from: null, to: null })
        const { rows } = yield* books.balances(null)
        assert.deepStrictEqual(findings(entries, rows), [])
        const reserved = new Map(
          entries.flatMap((entry) =>
            entry._tag === "Reserved" ? [[entry.reservation, Number(entry.reserved)] as const] : []
          )
        )
        const ended = new Set(
          entries.flatMap((entry) =>
            entry._tag === "Settled" || entry._tag === "Released" ? [`${entry.reservation} Ended`] : []
          )
        )
        for (const log of logs) {
          for (const [id, amount] of log.granted) assert.strictEqual(reserved.get(id), amount, id)
          for (const end of log.ended) assert.isTrue(ended.has(end), end)
          assert.isAtLeast(log.ended.size, 3)
        }
        const database = new DatabaseSync(file)
        assert.deepStrictEqual(
          { ...database.prepare("PRAGMA integrity_check").get() },
          { integrity_check: "ok" }
        )
        database.close()
      }),
    60_000
  )
})
