import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { TestClock } from "effect/testing"
import { pathToFileURL } from "node:url"
import { ledgerSuite } from "./LedgerTest.ts"
import { badTimes } from "./utils/badTimes.ts"
import { spend } from "./utils/spend.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-sqlite-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

describe("SqliteLedger", () => {
  it.live("goes on where the last process stopped, however the file is named", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folder, "a budget.db")
      const relative = path.relative(process.cwd(), file)
      const names = [file, `file:${file}`, pathToFileURL(file).href, relative, `file:${relative}`]
      const spent = yield* Effect.forEach(names, (filename) =>
        Effect.provide(spend, SqliteLedger.layer({ filename }))
      )
      assert.deepStrictEqual(spent, ["$0.20", "$0.40", "$0.60", "$0.80", "$1.00"])
    })
  )

  it.live("refuses names under which nothing would last, or with settings of SQLite's", () =>
    Effect.gen(function* () {
      const names = [
        "",
        ":memory:",
        "file:",
        "file::memory:",
        "file:budget.db?mode=memory",
        "file:budget.db?nolock=1"
      ]
      for (const filename of [...names, "file://elsewhere/budget.db", "a\0b"]) {
        const refused = yield* Effect.flip(Effect.scoped(SqliteLedger.make({ filename })))
        assert.strictEqual(refused.reason._tag, "InvalidOptions", filename)
      }
      assert.deepStrictEqual(fs.existsSync("budget.db"), false)
    })
  )

  it.live("refuses times that cannot be, before it makes a file", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* folder, "budget.db")
      for (const options of badTimes("waitForOthers")) {
        const refused = yield* Effect.flip(Effect.scoped(SqliteLedger.make({ filename, ...options })))
        assert.strictEqual(refused.reason._tag, "InvalidOptions", JSON.stringify(options))
      }
      assert.isFalse(fs.existsSync(filename))
    })
  )

  it.live("is unavailable where the file cannot be", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* folder, "missing", "budget.db")
      const refused = yield* Effect.flip(Effect.scoped(SqliteLedger.make({ filename })))
      assert.strictEqual(refused.reason._tag, "LedgerUnavailable")
      assert.include(refused.message, "unable to open database file")
    })
  )
})

ledgerSuite("SqliteLedger", {
  fixture: Effect.map(folder, (name) => ({
    connect: (options) => SqliteLedger.make({ filename: path.join(name, "budget.db"), ...options }),
    advance: (millis: number) => TestClock.adjust(millis)
  })),
  live: false,
  shared: true
})
