import { Effect } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import { Usd } from "agent-budget"
const dir = fs.mkdtempSync((process.argv[2] ?? "/tmp") + "/bench-")
const bare = new DatabaseSync(dir + "/bare.db")
bare.exec("pragma journal_mode=wal;pragma synchronous=full;create table t(id integer primary key,v integer) strict;insert into t values(1,0)")
const u = bare.prepare("update t set v=? where id=1")
const ask = (id: string) => ({ id, fingerprint: "f", account: "root/x", least: 5, most: 5, share: 1, lease: 60000, place: null })
const main = Effect.scoped(Effect.gen(function* () {
  const s = yield* SqliteStore.make({ path: dir + "/budget.db" })
  const open = (account: string, parent: string | null) => s.open({ account, parent, limit: Usd.nanos(1e12), frame: undefined, thresholds: [500000, 800000], opener: null })
  yield* open("root", null); yield* open("root/x", "root")
  let k = 0
  const call = Effect.suspend(() => { const id = crypto.randomUUID() + k++; return Effect.andThen(s.reserve(ask(id)), s.end({ id, amount: 3, verdict: "metered", label: "gpt-4o" })) })
  const n = 300
  for (let round = 0; round < 4; round++) {
    let t = performance.now(); for (let i = 0; i < n; i++) u.run(i); const b = (performance.now() - t) / n
    t = performance.now(); for (let i = 0; i < n; i++) yield* call; const c = (performance.now() - t) / n
    t = performance.now(); yield* Effect.forEach(Array.from({ length: 8 }), () => Effect.repeat(call, { times: 99 }), { concurrency: "unbounded" }); const c8 = (performance.now() - t) / 800
    t = performance.now(); yield* Effect.forEach(Array.from({ length: 64 }), () => Effect.repeat(call, { times: 29 }), { concurrency: "unbounded" }); const c64 = (performance.now() - t) / 1920
    console.log({ bareUs: b * 1000, callUs: c * 1000, ratio: c / b, "8": c8 * 1000, "64": c64 * 1000 })
  }
}))
await Effect.runPromise(main); bare.close(); fs.rmSync(dir, { recursive: true })
