/**
 * One process of a crash test: reserves and ends on a shared file until it is killed. It says what it is about to do
 * and what it was answered, a line each, and says so before it goes on: what was answered must be in the books. It
 * begins with the asks that its forerunner got no answer to.
 *
 * Arguments: the file, the name of this process, and those asks.
 */
import { Effect } from "effect"
import * as fs from "node:fs"
import type { LedgerStore } from "../../src/internal/ledgerStore.ts"
import * as SqliteStore from "../../src/internal/sqliteStore.ts"

const [path = "", name = "", ...unanswered] = process.argv.slice(2)

const say = (line: string): void => void fs.writeSync(1, `${line}\n`)

const call = Effect.fnUntraced(function* (store: LedgerStore, id: string) {
  const account = id.length % 2 === 0 ? "root/even" : "root/odd"
  say(`ask ${id}`)
  const ask = { id, fingerprint: account, account, least: 3, most: 9, share: 0.2, lease: 60_000, place: null }
  const answer = yield* store.reserve(ask)
  say(`answer ${id} ${answer._tag} ${answer._tag === "Granted" ? answer.held.amount : ""}`)
  if (answer._tag !== "Granted") return
  const amount = answer.held.amount % 4
  const verdict = id.endsWith("7") ? "released" : "metered"
  const ended = yield* store.end({ id, verdict, amount: verdict === "released" ? 0 : amount, label: null })
  say(`end ${id} ${ended._tag}`)
})

const program = Effect.scoped(
  Effect.gen(function* () {
    const store = yield* SqliteStore.make({ path })
    yield* Effect.forEach(unanswered, (id) => call(store, id))
    for (let index = 0; ; index += 4) {
      const ids = [index, index + 1, index + 2, index + 3].map((each) => `${name}-${each}`)
      yield* Effect.forEach(ids, (id) => call(store, id), { concurrency: "unbounded" })
    }
  })
)

await Effect.runPromise(program)
