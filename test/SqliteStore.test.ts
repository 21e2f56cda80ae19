import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { TestClock } from "effect/testing"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import * as Agreement from "./utils/storeAgreement.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-sqlite-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

const store = Effect.flatMap(folder, (name) => SqliteStore.make({ path: path.join(name, "budget.db") }))

describe("SqliteStore", () => {
  it.effect(
    "answers every sequence of verbs as the reference does",
    () =>
      Effect.gen(function* () {
        const coverage: Agreement.Coverage = new Map()
        for (let seed = 1; seed <= 20; seed++) {
          const play = Effect.flatMap(store, (engine) =>
            Agreement.play({ seed, steps: 150, store: engine, elapse: TestClock.adjust, coverage })
          )
          yield* Effect.scoped(play)
        }
        assert.deepStrictEqual(Agreement.unseen(coverage), [])
      }),
    60_000
  )
})
