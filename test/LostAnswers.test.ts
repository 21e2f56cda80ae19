/**
 * Every k-th answer of the store is lost, and its write was done: nothing is charged twice, and nothing leaks. To
 * PostgreSQL and Redis the answer is lost on a real wire; SQLite has none, so that it is lost at the seam.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Ledger } from "agent-budget"
import * as PostgresLedger from "agent-budget/PostgresLedger"
import * as RedisLedger from "agent-budget/RedisLedger"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Migrations from "../src/internal/postgresMigrations.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import * as StoredLedger from "../src/internal/storedLedger.ts"
import { judge, run } from "./utils/lostAnswers.ts"
import { losing } from "./utils/losing.ts"
import * as Postgres from "./utils/postgres.ts"
import * as Server from "./utils/redis.ts"
import * as SqlClient from "effect/sql/SqlClient"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-lost-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

// A busy machine may take its time: nothing expires meanwhile, and all that was kept is written at the close.
const patient = { lease: "10 minutes", writeAtClose: "1 minute" } as const

const everies = [2, 3, 7]

describe.concurrent("answers that are lost charge nothing twice and leak nothing", () => {
  for (const every of everies) {
    it.live(
      `of a SQLite file, every ${every}.`,
      () =>
        Effect.gen(function* () {
          const filename = path.join(yield* folder, "budget.db")
          const line = losing(yield* SqliteStore.make({ path: filename }))
          const lossy = Layer.effect(Ledger.Ledger, StoredLedger.make(line.store, patient))
          const tally = yield* run(lossy, () => line.lose(every))
          assert.isAbove(line.lost(), 200 / every)
          yield* Effect.provide(judge(tally, `every ${every}.`), SqliteLedger.layer({ filename }))
        }).pipe(Effect.scoped),
      120_000
    )

    it.live.skipIf(!Postgres.isThere)(
      `of PostgreSQL, every ${every}.`,
      () =>
        Effect.gen(function* () {
          const { names, sql } = yield* Postgres.somewhere
          yield* Effect.provideService(Migrations.run(names), SqlClient.SqlClient, sql)
          const { schema } = names
          const line = yield* Postgres.line
          const lossy = PostgresLedger.layerUrl({ url: Redacted.make(line.url), schema, ...patient })
          const tally = yield* run(lossy, () => line.lose(every))
          assert.isAbove(line.lost(), 200 / every)
          const direct = PostgresLedger.layerUrl({ url: Redacted.make(Postgres.url), schema })
          yield* Effect.provide(judge(tally, `every ${every}.`), direct)
        }).pipe(Effect.scoped),
      120_000
    )

    it.live.skipIf(!Server.isThere)(
      `of Redis, every ${every}.`,
      () =>
        Effect.gen(function* () {
          const { prefix } = yield* Server.somewhere
          const line = yield* Server.line
          const lossy = RedisLedger.layerUrl({ url: Redacted.make(line.url), prefix, ...patient })
          // On one connection every loss is one for all that is under way: few at once, or little gets through.
          const tally = yield* run(lossy, () => line.lose(every), 1)
          assert.isAbove(line.lost(), 200 / every)
          const direct = RedisLedger.layerUrl({ url: Redacted.make(Server.url), prefix })
          yield* Effect.provide(judge(tally, `every ${every}.`), direct)
        }).pipe(Effect.scoped),
      120_000
    )
  }
})
