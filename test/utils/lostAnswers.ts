/**
 * A program of hundreds of calls on a ledger whose answers get lost, and what its books must be afterwards. What was
 * really spent is added up here, where it is spent, and nowhere else.
 */
import { assert } from "@effect/vitest"
import { Budget, Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Effect, Fiber, Latch, Layer, References, Stream } from "effect"

/** What was spent, by whoever spent it, and how often. */
export interface Tally {
  spent: number
  calls: number
}

const usd = Usd.nanos

/** Calls of a budget: settled, failed and charged, failed and released, interrupted. */
const call = (
  tally: Tally,
  index: number
): Effect.Effect<unknown, unknown, Budget.Budget | Ledger.Ledger> => {
  const quote = usd(1_000 + index)
  const spend = (amount: number) =>
    Effect.sync(() => {
      tally.calls++
      tally.spent += amount
    })
  switch (index % 4) {
    case 0:
      return Effect.as(spend(index), index).pipe(Budget.withBudget({ quote, cost: (amount) => usd(amount) }))
    case 1:
      return Effect.andThen(spend(quote), Effect.fail("charged")).pipe(
        Budget.withBudget({ quote, cost: () => Usd.zero })
      )
    case 2:
      return Effect.andThen(spend(0), Effect.fail("released")).pipe(
        Budget.withBudget({ quote, cost: () => quote, onFailure: "release" })
      )
    default:
      return Effect.gen(function* () {
        const begun = Latch.makeUnsafe(false)
        const stuck = Effect.andThen(
          Effect.andThen(
            spend(quote),
            Effect.sync(() => begun.openUnsafe())
          ),
          Effect.never
        )
        const fiber = yield* Effect.forkChild(Budget.withBudget(stuck, { quote, cost: () => Usd.zero }))
        yield* Effect.raceFirst(begun.await, Fiber.await(fiber))
        yield* Fiber.interrupt(fiber)
      })
  }
}

/** What a ledger offers besides: a reservation of the caller's id, asked for until it is there, renewed, and settled. */
const own = (tally: Tally, id: string) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    const ask = { account: "root", least: usd(500), most: usd(900), share: 0.001, id }
    const held = yield* Effect.retry(ledger.reserve(ask), { times: 20 })
    tally.calls++
    yield* Effect.ignore(ledger.renew(held))
    if (id.endsWith("0")) return yield* ledger.release(held)
    tally.spent += held.amount
    return yield* ledger.settle(held, { amount: held.amount, verdict: "metered" })
  })

const agents = 12
const calls = 12

/** Everybody at once, in accounts of their own that come and go. An answer that stays away fails a call, not the rest. */
const program = (tally: Tally, atOnce: number) =>
  Effect.forEach(
    Array.from({ length: agents }, (_, agent) => agent),
    (agent) =>
      Effect.forEach(
        Array.from({ length: calls }, (_, index) => index),
        (index) =>
          Effect.exit(
            index % 6 === 5 ? own(tally, `${agent} ${index}${agent % 2}`) : call(tally, agent + index)
          ),
        { concurrency: 2, discard: true }
      ).pipe(Budget.within({ account: `agent-${agent}`, limit: usd(20_000) }), Effect.exit),
    { concurrency: atOnce, discard: true }
  )

/** Runs the program on a ledger that loses answers once it has begun, until all that it kept is written. */
export const run = <E>(lossy: Layer.Layer<Ledger.Ledger, E>, begin: () => void, atOnce = 8) => {
  const tally: Tally = { spent: 0, calls: 0 }
  const budget = Budget.layer({ limit: usd(10_000_000) })
  return Effect.andThen(Effect.sync(begin), program(tally, atOnce)).pipe(
    Effect.provide(Layer.provideMerge(budget, lossy)),
    Effect.as(tally),
    Effect.provideService(References.MinimumLogLevel, "None")
  )
}

/** What must hold of the books, read on a way that loses nothing. */
export const judge = (tally: Tally, what: string) =>
  Effect.gen(function* () {
    const books = yield* Ledger.Ledger
    const report = yield* LedgerAudit.audit(books)
    assert.deepStrictEqual(report.findings, [], what)
    assert.isTrue(report.whole && report.quiet)
    const lives = new Map<string, Array<string>>()
    for (const entry of yield* Stream.runCollect(books.entries())) {
      if (!("reservation" in entry)) continue
      lives.set(entry.reservation, [...(lives.get(entry.reservation) ?? []), entry._tag])
    }
    for (const [id, [first, end, ...more]] of lives) {
      assert.strictEqual(first, "Reserved", id)
      assert.include(["Settled", "Released"], end ?? "no end", `${what}: ${id}`)
      assert.deepStrictEqual(more, [], `${what}: ${id}`)
    }
    const balances = yield* books.balances
    assert.deepStrictEqual(
      balances.map(({ account, reserved, spent }) => [account, Number(spent), Number(reserved)]),
      [["root", tally.spent, 0]],
      what
    )
    assert.isAtLeast(tally.calls, (agents * calls) / 2, what)
  })
