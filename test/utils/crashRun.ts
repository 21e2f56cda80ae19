/**
 * The crash test of a durable ledger. Processes call a provider through budgets on one ledger, on a tree of accounts
 * that is always nearly full, and are killed with SIGKILL and started again: in the middle of an admission, between it
 * and the call, when the provider has billed and not answered, in the middle of a settlement. Their clocks are up to five
 * minutes off. The provider is this process: it remembers what it billed before it answers. From here the store
 * is watched too, and in the end everything must add up (`crashVerdict`).
 *
 * Used twice: `scripts/crash.ts` runs it for a while, `test/crash.test.ts` until each process was killed at each place.
 */
import { Effect, Stream } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { type Engine, engines, type Name } from "./crashEngines.ts"
import { type Held, overrunning, Parent, type Plan, type Where } from "./crashParent.ts"
import { bookings, verdict } from "./crashVerdict.ts"

export interface Report {
  readonly seconds: number
  readonly admitted: number
  /** By why. */
  readonly refused: ReadonlyMap<string, number>
  /** How many calls the provider billed, and what, below the root. */
  readonly bills: number
  readonly billed: number
  /** What the root has spent. */
  readonly booked: number
  readonly kills: ReadonlyMap<Where | "the end", number>
  /** How reservations ended. `corrected` of those that had expired: they are among the metered and assumed. */
  readonly ends: ReadonlyMap<string, number>
  readonly corrected: number
  readonly overruns: number
  /** How often the root's limit was raised, and the store was looked at. */
  readonly raised: number
  readonly looks: number
  /** The fullest that the root was seen. */
  readonly peak: { readonly used: number; readonly limit: number }
  /** Temporary accounts that killed processes have left open. */
  readonly left: number
  readonly audit: LedgerAudit.Report
  readonly violations: ReadonlyArray<string>
}

/** The tree: what is nearly full is given some more room. `blue` has a new window twice a second. */
const plant = (ledger: Ledger.Ledger["Service"], room: number) =>
  Effect.gen(function* () {
    const thresholds = [0.5, 0.9]
    yield* ledger.open({ account: "root", limit: Usd.nanos(room), thresholds })
    yield* ledger.open({ account: "root/red", parent: "root", limit: Usd.nanos(share(room)), thresholds })
    const window = { rolling: "500 millis" } as const
    yield* ledger.open({ account: "root/blue", parent: "root", limit: Usd.nanos(share(room)), window })
    yield* ledger.open({ account: overrunning, limit: Usd.nanos(1e12) })
  })

/** What a call holds, at most. */
const most = 1_500_000

const share = (room: number): number => Math.floor(room * 0.7)

/** Looks at the store as long as it is not interrupted, and makes room. */
const watch = (engine: Engine, parent: Parent, room: number) => {
  const seen = { looks: 0, raised: 0, peak: { used: 0, limit: 1 } }
  const once = Effect.gen(function* () {
    seen.looks++
    for (const { account, limit, reserved, spent } of yield* engine.look) {
      if (limit === null || account.startsWith(overrunning)) continue
      const used = spent + reserved
      if (used > limit) parent.violations.add(`${account}: ${used} of ${limit}`)
      if (account === "root" && used / limit > seen.peak.used / seen.peak.limit) seen.peak = { used, limit }
      const more = account === "root" ? room : account === "root/red" ? share(room) : 0
      if (more === 0 || limit - used >= most) continue
      if (account === "root") {
        parent.allowed = used + more
        seen.raised++
      }
      yield* engine.ledger.setLimit(account, Usd.nanos(used + more))
    }
    yield* Effect.sleep(10)
  })
  return { seen, forever: Effect.forever(once) }
}

const collected = (ledger: Ledger.Ledger["Service"]) => Stream.runCollect(ledger.entries())

const isOpen = (entries: ReadonlyArray<Ledger.Entry>): boolean =>
  Array.from(bookings(entries).values()).some(({ how }) => how === "held")

/** The books when nothing is held in them any more, or after a while that is far longer than a lease. */
const settled = (ledger: Ledger.Ledger["Service"], lease: number) =>
  Effect.gen(function* () {
    const until = performance.now() + 15_000 + lease * 5
    let entries = yield* collected(ledger)
    while (isOpen(entries) && performance.now() < until) {
      yield* Effect.sleep(lease / 4)
      entries = yield* collected(ledger)
    }
    return entries
  })

const tally = <A>(all: Iterable<A>, key: (each: A) => string): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  for (const each of all) found.set(key(each), (found.get(key(each)) ?? 0) + 1)
  return found
}

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-crash-"))),
  (name) => Effect.sync(() => fs.rmSync(name, { recursive: true, force: true }))
)

export const run = (name: Name, plan: Plan) =>
  Effect.gen(function* () {
    const since = performance.now()
    const engine = yield* engines[name].make(plan.lease, yield* folder)
    const { ledger } = engine
    const room = plan.processes * most
    yield* plant(ledger, room)
    const isExpired = ({ account, at, id }: Held) =>
      Effect.runPromise(
        ledger.entries({ account, from: at }).pipe(
          Stream.runCollect,
          Effect.map((found) => found.some((entry) => entry._tag === "Expired" && entry.reservation === id))
        )
      )
    const parent = yield* Effect.acquireRelease(
      Effect.sync(() => new Parent({ place: engine.place, plan, isExpired })),
      (made) => Effect.promise(() => made.close())
    )
    parent.allowed = room
    const { forever, seen } = watch(engine, parent, room)
    yield* Effect.promise(() => parent.begin())
    yield* Effect.raceFirst(
      forever,
      Effect.promise(() => parent.finished)
    )
    const seconds = (performance.now() - since) / 1_000

    const entries = yield* settled(ledger, plan.lease)
    const balances = yield* ledger.balances
    const audit = yield* LedgerAudit.audit(ledger)
    const booked = bookings(entries)
    const calls = Array.from(parent.calls.values())
    const bills = calls.filter(({ billed }) => billed !== undefined)
    const report: Report = {
      seconds,
      admitted: booked.size,
      refused: parent.refused,
      bills: bills.length,
      billed: parent.billed,
      booked: balances.find(({ account }) => account === "root")?.spent ?? 0,
      kills: parent.kills,
      ends: tally(booked.values(), ({ how }) => how),
      corrected: entries.filter(({ _tag }) => _tag === "Corrected").length,
      overruns: entries.filter((entry) => "overrun" in entry && entry.overrun > 0).length,
      raised: seen.raised,
      looks: seen.looks,
      peak: seen.peak,
      left: balances.filter(({ account }) => account.includes("/agent-")).length,
      audit,
      violations: [
        ...parent.violations,
        ...verdict(calls, entries, balances),
        ...audit.findings,
        ...(audit.whole && audit.quiet ? [] : ["the audit did not see all of the books"]),
        ...(yield* engine.damage)
      ]
    }
    return report
  })
