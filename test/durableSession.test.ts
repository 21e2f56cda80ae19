/**
 * Sessions whose books outlive them: over a real SQLite file, and over engines that take time to open.
 */
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import {
  BudgetedSession,
  BudgetError,
  BudgetExceededError,
  BudgetRefusedError,
  Ledger,
  Usd
} from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import * as PostgresLedger from "agent-budget/PostgresLedger"
import * as RedisLedger from "agent-budget/RedisLedger"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import { Effect, Layer, Redacted, Stream } from "effect"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { promisify } from "node:util"
import { Worker } from "node:worker_threads"
import OpenAI from "openai"
import { includes } from "./utils/assertions.ts"
import { capped, failureOf, recordEvents, settled } from "./utils/openAi.ts"
import * as Postgres from "./utils/postgres.ts"
import * as Redis from "./utils/redis.ts"
import { answer, nanoOf, stub } from "./utils/stubProvider.ts"

const root = path.resolve(import.meta.dirname, "..")

/** What the stub's answer costs. */
const bill = nanoOf(10, 20) / 1e9

let folder = ""
let file = ""
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-session-"))
  file = path.join(folder, "budget.db")
})
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const reasonOf = (error: unknown): BudgetError.Reason | undefined => BudgetError.find(error)?.reason

/** What the constructor throws. */
const refusal = (options: ConstructorParameters<typeof BudgetedSession>[0]): BudgetError.Reason => {
  try {
    void new BudgetedSession(options).close()
  } catch (error) {
    assert.instanceOf(error, BudgetRefusedError)
    return error.reason
  }
  throw new Error("It was expected to be refused.")
}

/** A client whose calls are answered at once; `before` runs when one is sent. */
const clientOf = (session: BudgetedSession, before = (): void => undefined) => {
  const { fetch, sent } = stub(() => {
    before()
    return Response.json(answer)
  })
  return { client: session.wrapOpenAI(new OpenAI({ apiKey: "none", maxRetries: 0, fetch })), sent }
}

const inFile = () => new BudgetedSession({ budgetUsd: "0.0003", ledger: `file:${file}` })

/** Calls until it is refused, and how often it was not. */
const spendAll = async (session: BudgetedSession): Promise<number> => {
  const { client, sent } = clientOf(session)
  for (;;) {
    try {
      await client.chat.completions.create(capped)
      await settled(session)
    } catch (error) {
      assert.instanceOf(error, BudgetExceededError)
      return sent.length
    }
  }
}

/** The file's books, as another process reads them. */
const books = <A>(read: (ledger: Ledger.Ledger["Service"]) => Effect.Effect<A, BudgetError.BudgetError>) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(SqliteLedger.make({ filename: file }), read)))

const audit = async (): Promise<void> => assert.deepStrictEqual((await books(LedgerAudit.audit)).findings, [])

describe("books in a file", () => {
  it("are open when the constructor returns, and the next session goes on with them", async () => {
    const first = inFile()
    assert.strictEqual(first.getRemainingBudget(), 0.0003)
    const calls = await spendAll(first)
    assert.isAtLeast(calls, 3)
    const spent = first.getTotalSpent()
    assert.closeTo(spent, calls * bill, 1e-12)
    await first.close()

    const second = inFile()
    assert.strictEqual(second.getTotalSpent(), spent)
    assert.strictEqual(second.getRemainingBudget(), first.getRemainingBudget())
    assert.strictEqual(await spendAll(second), 0)
    includes(await second.balance(), { spentUsd: spent, reservedUsd: 0, limitUsd: 0.0003 })
    includes(second.getSummary(), { spentUsd: spent, calls: 0, refused: 1, nextWindow: null })
    await second.close()
    await audit()
  })

  it("hold one limit for all sessions that share them", async () => {
    const sessions = [inFile(), inFile(), inFile()]
    const [first] = sessions
    const calls = await Promise.all(sessions.map(spendAll))
    const total = calls.reduce((sum, each) => sum + each, 0)
    const { spentUsd } = (await first?.balance()) ?? {}
    assert.closeTo(spentUsd ?? NaN, total * bill, 1e-12)
    assert.isAtMost(spentUsd ?? NaN, 0.0003)
    for (const session of sessions) await session.close()
    await audit()
  })

  it("have accounts below, with windows and limits of their own", async () => {
    const session = new BudgetedSession({
      budgetUsd: 1,
      ledger: `file:${file}`,
      window: { every: "month", timeZone: "Europe/Berlin" },
      thresholds: [0.5]
    })
    const inside = await session.within(
      { account: "ann", budgetUsd: "0.5", window: "day", thresholds: [0.00001] },
      async () => {
        await clientOf(session).client.chat.completions.create(capped)
        await settled(session)
        return session.balance()
      }
    )
    includes(inside, { account: "root/ann", spentUsd: bill, limitUsd: 0.5 })
    const today = new Date()
    const month = session.getSummary().nextWindow
    assert.isTrue(month !== null && month > today)
    assert.deepStrictEqual((await session.balance()).nextWindow, month)
    assert.isTrue(inside.nextWindow !== null && inside.nextWindow > today)
    assert.strictEqual(inside.nextWindow?.toISOString().slice(10), "T00:00:00.000Z")
    await session.close()
    const crossed = await books((ledger) => Stream.runCollect(ledger.entries()))
    assert.deepStrictEqual(
      crossed.flatMap((entry) => (entry._tag === "ThresholdCrossed" ? [entry.account] : [])),
      ["root/ann"]
    )
    await audit()
  })

  it("are waited for by the constructor while another process writes", async () => {
    await inFile().close()
    const source = `
      const { DatabaseSync } = require("node:sqlite")
      const { parentPort, workerData } = require("node:worker_threads")
      const database = new DatabaseSync(workerData)
      database.exec("BEGIN IMMEDIATE")
      parentPort.postMessage("held")
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
      database.exec("COMMIT")
      database.close()`
    const other = new Worker(source, { eval: true, workerData: file })
    await new Promise((resolve) => other.once("message", resolve))
    const session = new BudgetedSession({ budgetUsd: 1, account: "new", ledger: `file:${file}` })
    assert.strictEqual((await session.balance()).account, "new")
    await session.close()
    await other.terminate()
  })

  it("that somebody holds too long are unavailable, and nothing of the session stays", async () => {
    await inFile().close()
    const other = new DatabaseSync(file)
    other.exec("BEGIN IMMEDIATE")
    const ledger = SqliteLedger.layer({ filename: file, waitForOthers: "30 millis" })
    const reason = refusal({ budgetUsd: 1, account: "new", ledger })
    assert.strictEqual(reason._tag, "LedgerUnavailable")
    assert.include(reason.message, "30 ms")
    other.exec("COMMIT")
    other.close()
    await new BudgetedSession({ budgetUsd: 1, account: "new", ledger }).close()
    // The last connection to a file takes its log with it.
    assert.deepStrictEqual(fs.readdirSync(folder), ["budget.db"])
  })

  it("are named by a file and nothing else; what an address holds is not repeated", () => {
    for (const ledger of [
      "memory:",
      ":memory:",
      "budget.db",
      "",
      "postgres://ann:secret@db/budget",
      "FILE:a.db"
    ]) {
      const { _tag, message } = refusal({ budgetUsd: 1, ledger })
      assert.strictEqual(_tag, "InvalidOptions", ledger)
      assert.include(message, '"file:budget.db"')
      assert.include(message, "BudgetedSession.make")
      assert.notInclude(message, "secret")
    }
    assert.strictEqual(refusal({ budgetUsd: 1, ledger: "file::memory:" })._tag, "InvalidOptions")
    const missing = `file:${path.join(folder, "missing", "budget.db")}`
    assert.strictEqual(refusal({ budgetUsd: 1, ledger: missing })._tag, "LedgerUnavailable")
    for (const wrong of [
      { window: "fortnight" },
      { thresholds: ["half"] },
      { onLimitChange: "raise" },
      { maxAge: "soon" },
      { waitAtMost: -1 },
      { telemetry: {} }
    ]) {
      const options = { budgetUsd: 1, ledger: `file:${file}`, ...wrong }
      assert.strictEqual(
        refusal(options as ConstructorParameters<typeof BudgetedSession>[0])._tag,
        "InvalidOptions"
      )
    }
    assert.isFalse(fs.existsSync(file))
  })

  it("with another limit are refused, or take it where that is said", async () => {
    const first = inFile()
    const again = (more: object) => ({ budgetUsd: "0.0005", ledger: `file:${file}`, ...more })
    for (const more of [{}, { onLimitChange: "refuse" }]) {
      const { _tag, message } = refusal(again(more))
      assert.strictEqual(_tag, "AccountConflict")
      assert.match(message, /\$0\.0003; .*\$0\.0005\. .*onLimitChange: "set"/)
    }
    const raised = new BudgetedSession(again({ onLimitChange: "set" }))
    assert.strictEqual(raised.getSummary().limitUsd, 0.0005)
    assert.strictEqual((await first.balance()).limitUsd, 0.0005)
    await first.close()
    await raised.close()
    await new BudgetedSession(again({})).close()
    await audit()
  })
})

const program = (
  code: string,
  ...flags: ReadonlyArray<string>
): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(
    process.execPath,
    [...flags, "--no-warnings", "--conditions=agent-budget-source", "--input-type=module", "-e", code],
    { cwd: root, timeout: 25_000, killSignal: "SIGKILL" }
  )

describe("a program of its own", () => {
  it("loads node:sqlite for a file only, ends without a close, and has in its books what was settled", async () => {
    const { stdout } = await program(`
      import { BudgetedSession } from "agent-budget"
      new BudgetedSession({ budgetUsd: 1 })
      console.log(process.moduleLoadList.filter((name) => name.endsWith(" sqlite")))
      globalThis.fetch = async () => Response.json(${JSON.stringify(answer)})
      const session = new BudgetedSession({ budgetUsd: 1, ledger: ${JSON.stringify(`file:${file}`)} })
      const body = ${JSON.stringify(JSON.stringify(capped))}
      await (await session.fetch("https://api.openai.com/v1/chat/completions", { method: "POST", body })).text()
      console.log("done")`)
    assert.strictEqual(stdout, "[]\ndone\n")
    const { reserved, spent } = await books((ledger) => ledger.balance("root"))
    assert.deepStrictEqual([Usd.toNumber(spent), Number(reserved)], [bill, 0])
    await audit()
  })

  it("runs where there is no node:sqlite, and is told what to do when it names a file", async () => {
    const { stdout } = await program(
      `import { BudgetedSession } from "agent-budget"
      await new BudgetedSession({ budgetUsd: 1 }).close()
      try {
        new BudgetedSession({ budgetUsd: 1, ledger: "file:budget.db" })
      } catch (error) {
        console.log(error.reason._tag, error.message)
      }`,
      "--no-experimental-sqlite"
    )
    assert.match(
      stdout,
      /^LedgerUnavailable .*has no node:sqlite\. .*Update Node\.js, or use another ledger\./
    )
  })
})

/** Runs it without a word on the console. */
const silently = async <A>(run: () => Promise<A>): Promise<A> => {
  const { log } = console
  console.log = () => undefined
  try {
    return await run()
  } finally {
    console.log = log
  }
}

describe("a ledger that takes time to open", () => {
  const slow = (released: Array<string>) =>
    Layer.effect(
      Ledger.Ledger,
      Effect.acquireRelease(Effect.delay(Ledger.makeMemory(), "10 millis"), () =>
        Effect.sync(() => void released.push("closed"))
      )
    )

  it("is refused by the constructor, which names make; make waits for it, and the session closes it", async () => {
    const released: Array<string> = []
    const reason = refusal({ budgetUsd: 1, ledger: slow(released) })
    assert.strictEqual(reason._tag, "InvalidOptions")
    assert.include(reason.message, "await BudgetedSession.make({ ... })")
    const ledger = slow(released)
    const session = await BudgetedSession.make({ budgetUsd: 1, ledger, window: "day" })
    await clientOf(session).client.chat.completions.create(capped)
    await settled(session)
    includes(await session.balance(), { spentUsd: bill, reservedUsd: 0 })
    // What the constructor had begun to open is closed again.
    assert.deepStrictEqual(released, ["closed"])
    await session.close()
    assert.deepStrictEqual(released, ["closed", "closed"])
  })

  it("that cannot be opened rejects as the constructor throws, and leaves nothing open", async () => {
    const released: Array<string> = []
    for (const [options, tag] of [
      [{ budgetUsd: "five", ledger: slow(released) }, "InvalidAmount"],
      [{ budgetUsd: 1, ledger: slow(released), thresholds: [2] }, "InvalidAccount"],
      [{ budgetUsd: 1, ledger: "redis://nowhere" }, "InvalidOptions"]
    ] as const) {
      const error = await failureOf(BudgetedSession.make(options))
      assert.instanceOf(error, BudgetRefusedError)
      assert.strictEqual(error.reason._tag, tag)
    }
    // The second got as far as its ledger.
    assert.deepStrictEqual(released, ["closed"])
    const own = new Error("mine")
    const broken = Layer.effect(Ledger.Ledger, Effect.fail(own))
    assert.strictEqual(await failureOf(BudgetedSession.make({ budgetUsd: 1, ledger: broken })), own)
  })

  it("may be one of one's own, which lives on; and make takes whatever the constructor takes", async () => {
    const ledger = Effect.runSync(Ledger.makeMemory())
    Effect.runSync(ledger.open({ account: "root", limit: Usd.dollars("1") }))
    for (const open of [
      () => BudgetedSession.make({ budgetUsd: 1, ledger }),
      () =>
        Promise.resolve(new BudgetedSession({ budgetUsd: 1, ledger: Layer.succeed(Ledger.Ledger, ledger) }))
    ]) {
      const session = await open()
      await clientOf(session).client.chat.completions.create(capped)
      await settled(session)
      await session.close()
    }
    assert.strictEqual(Usd.toNumber(Effect.runSync(ledger.balance("root")).spent), 2 * bill)
    const inFileToo = await BudgetedSession.make({ budgetUsd: 1, ledger: `file:${file}` })
    await inFileToo.close()
    await audit()
  })

  const twice = async (ledger: Layer.Layer<Ledger.Ledger, unknown>): Promise<void> => {
    for (const calls of [1, 2]) {
      await using session = await BudgetedSession.make({ budgetUsd: 1, ledger })
      await clientOf(session).client.chat.completions.create(capped)
      await settled(session)
      assert.closeTo(session.getTotalSpent(), calls * bill, 1e-12)
      includes(await session.balance(), { spentUsd: session.getTotalSpent(), reservedUsd: 0 })
    }
  }

  it.live.skipIf(!Postgres.isThere)("goes on in PostgreSQL", () =>
    Effect.gen(function* () {
      const { names } = yield* Postgres.ledger()
      const url = Redacted.make(Postgres.url)
      yield* Effect.promise(() => twice(PostgresLedger.layerUrl({ url, schema: names.schema })))
    })
  )

  it.live.skipIf(!Redis.isThere)("goes on in Redis", () =>
    Effect.gen(function* () {
      const { prefix } = yield* Redis.somewhere
      const url = Redacted.make(Redis.url)
      yield* Effect.promise(() => silently(() => twice(RedisLedger.layerUrl({ url, prefix }))))
    })
  )
})

describe("a store that goes away in the middle of a call", () => {
  /** A session with a call that has ended while another process held the file. */
  const unsettled = (writeAtClose: "60 millis" | "20 seconds") =>
    silently(async () => {
      const ledger = SqliteLedger.layer({ filename: file, waitForOthers: "20 millis", writeAtClose })
      const session = new BudgetedSession({ budgetUsd: 1, ledger })
      const events = recordEvents(session)
      const other = new DatabaseSync(file)
      const { client } = clientOf(session, () => other.exec("BEGIN IMMEDIATE"))
      await client.chat.completions.create(capped)
      await settled(session)
      return { session, events, other }
    })

  it("has each settlement when it is back, and the summary has it at once", async () => {
    const { events, other, session } = await unsettled("20 seconds")
    includes(session.getSummary(), { spentUsd: bill, reservedUsd: 0, calls: 1 })
    other.exec("COMMIT")
    other.close()
    await session.close()
    assert.deepStrictEqual(
      events.map(({ _tag }) => _tag),
      ["Reserved", "Unsettled"]
    )
    const { reserved, spent } = await books((opened) => opened.balance("root"))
    assert.deepStrictEqual([Usd.toNumber(spent), Number(reserved)], [bill, 0])
    await audit()
  })

  it("and stays away: close rejects with the exact amounts, and these bring the books right", async () => {
    const { other, session } = await unsettled("60 millis")
    const error = await silently(() => failureOf(session.close()))
    assert.instanceOf(error, BudgetRefusedError)
    assert.strictEqual(session.close(), session.close())
    assert.strictEqual(await failureOf(session.close()), error)
    const { reason } = error
    if (reason._tag !== "Unwritten") return assert.fail(reason._tag)
    assert.include(error.message, "$0.0000135 (metered)")
    const [ending] = reason.endings
    assert.lengthOf(reason.endings, 1)
    includes(ending, {
      account: "root",
      charge: { amount: Usd.nanos(13_500), verdict: "metered", label: "gpt-4o-mini" }
    })
    includes(session.getSummary(), { spentUsd: bill, reservedUsd: 0 })
    assert.strictEqual(reasonOf(await failureOf(session.setLimit(2)))?._tag, "Closed")
    other.exec("COMMIT")
    other.close()
    const balance = await books((opened) =>
      Effect.gen(function* () {
        const { reserved, spent } = yield* opened.balance("root")
        assert.isAbove(reserved, 0)
        assert.strictEqual(spent, 0)
        if (ending === undefined || ending.charge === null) return assert.fail("nothing was handed over")
        const { account, charge, reservation: id } = ending
        yield* opened.settle({ id, account, amount: reserved, at: 0, expiresAt: null }, charge)
        return yield* opened.balance("root")
      })
    )
    includes(balance, { spent: Usd.nanos(13_500), reserved: Usd.zero })
    await audit()
  })

  it("is the owner's care where the ledger is the user's own: close does not reject", async () => {
    const books = await Effect.runPromise(Ledger.makeMemory())
    const kept: Ledger.Unwritten = { reservation: "1", account: "root", charge: null }
    const ledger = { ...books, unwritten: Effect.succeed([kept]) }
    await new BudgetedSession({ budgetUsd: 1, ledger }).close()
    const owned = new BudgetedSession({ budgetUsd: 1, ledger: Layer.succeed(Ledger.Ledger, ledger) })
    assert.strictEqual(reasonOf(await failureOf(owned.close()))?._tag, "Unwritten")
  })
})
