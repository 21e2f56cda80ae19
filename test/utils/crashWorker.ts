/**
 * One process of the crash test: calls a provider through budgets on a ledger that it shares with others, until it is
 * killed. See `crashRun`.
 */
import "./skewedDate.ts"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs"
import { flushCompileCache } from "node:module"
import * as Budget from "agent-budget/Budget"
import type * as BudgetError from "agent-budget/BudgetError"
import * as Ledger from "agent-budget/Ledger"
import * as Usd from "agent-budget/Usd"
import { type Ask, type Bill, connect, type Place, type Settings, type Welcome } from "./crashWire.ts"
import { random } from "./random.ts"

const settings = JSON.parse(process.argv[2] ?? "") as Settings
const { lease, life, place, port, seed, slot } = settings
const draw = random(seed)
const wire = connect(port)

/** Loads only the engine that it needs: processes are started often. */
const layerOf = async (at: Place) => {
  const options = { lease: Duration.millis(lease), timeout: "20 seconds" } as const
  switch (at.engine) {
    case "sqlite": {
      const { layer } = await import("agent-budget/SqliteLedger")
      return layer({ ...options, filename: at.filename, waitForOthers: options.timeout })
    }
    case "postgres": {
      const { layerUrl } = await import("agent-budget/PostgresLedger")
      return layerUrl({ ...options, url: Redacted.make(at.url), schema: at.schema, maxConnections: 3 })
    }
    case "redis": {
      const { layerUrl } = await import("agent-budget/RedisLedger")
      return layerUrl({ ...options, url: Redacted.make(at.url), prefix: at.prefix })
    }
  }
}

/** What the call of this fiber holds. */
const Holding = Context.Reference<{ held?: Ledger.Reservation }>("crash/Holding", {
  defaultValue: () => ({})
})

/** The ledger, with everything that it answers told to the parent before the program hears it. */
const told = (ledger: Ledger.Ledger["Service"]): Ledger.Ledger["Service"] => {
  const refused = (id: string | undefined) => (error: BudgetError.BudgetError) =>
    Effect.sync(() => wire.say({ tag: "refused", id, why: error.reason._tag }))
  const ended = <E>({ id }: Ledger.Reservation, entry: Effect.Effect<Ledger.Entry, E>) =>
    Effect.tap(entry, ({ _tag }) => Effect.sync(() => wire.say({ tag: "ended", id, how: _tag })))
  return {
    ...ledger,
    reserve: (request) =>
      Effect.tapError(
        Effect.tap(ledger.reserve(request), (held) =>
          Effect.map(Effect.service(Holding), (holding) => {
            const { account, amount, at, id } = held
            wire.say({ tag: "reserved", id, account, amount, at })
            holding.held = held
          })
        ),
        refused(request.id)
      ),
    settle: (held, charge) => ended(held, ledger.settle(held, charge)),
    release: (held) => ended(held, ledger.release(held))
  }
}

class Failed extends Data.TaggedError("Failed")<{ readonly how: string }> {}

/** Sends a call to the provider: its bill, or a failure that tells nothing of it. */
const send = (held: Ledger.Reservation | undefined, unbilled: boolean) =>
  Effect.flatMap(
    Effect.callback<Bill>((resume) => {
      if (held === undefined) throw new Error("A call was sent without a reservation.")
      const { account, amount, at, id } = held
      wire.send({ tag: "send", id, account, amount, at, unbilled }, (bill) => resume(Effect.succeed(bill)))
    }),
    ({ amount, how, stall }) => {
      // A process that is stopped for a while: nothing of it runs, the renewal of its leases neither.
      if (stall) fs.readSync(0, Buffer.alloc(1))
      return how === "billed" ? Effect.succeed(Usd.nanos(amount)) : Effect.fail(new Failed({ how }))
    }
  )

const quote = (): Usd.Usd => Usd.nanos(draw.between(500, 1_500) * 1_000)

/** One call as programs make them. Refusals and failures are what this is about: the next call comes anyway. */
const call = Effect.suspend(() => {
  const holding: { held?: Ledger.Reservation } = {}
  const unbilled = draw.chance(0.1)
  return Effect.suspend(() => send(holding.held, unbilled)).pipe(
    Budget.withBudget({
      quote: quote(),
      cost: (bill) => bill,
      onFailure: unbilled ? "release" : "charge"
    }),
    Effect.provideService(Holding, holding),
    Effect.matchEffect({
      onFailure: (error) => (error instanceof Failed ? Effect.void : Effect.sleep(draw.between(5, 25))),
      onSuccess: () => Effect.void
    })
  )
})

/** A call by hand, under an id of our own: also one whose answer a forerunner of this process did not live to hear. */
const byHand = (ledger: Ledger.Ledger["Service"], { account, id, least }: Ask) =>
  Effect.gen(function* () {
    wire.say({ tag: "asking", id, account, least })
    const amount = Usd.nanos(least)
    const held = yield* ledger.reserve({ id, account, least: amount, most: Usd.nanos(least * 2), share: 0.2 })
    const bill = yield* Effect.exit(send(held, false))
    yield* ledger.settle(
      held,
      bill._tag === "Success"
        ? { amount: bill.value, verdict: "metered" }
        : { amount: held.amount, verdict: "assumed" }
    )
  }).pipe(Effect.catch(() => Effect.sleep(draw.between(5, 25))))

/** Joins an account whose limit others change: it may be another one by the time it is said. */
const join = (account: string): ReturnType<typeof Budget.make> =>
  Effect.flatMap(Ledger.Ledger, (ledger) =>
    Effect.flatMap(ledger.balance(account), ({ limit }) =>
      Budget.make({
        account,
        limit: limit ?? Usd.maximum,
        onExceeded: slot % 2 === 0 ? "wait" : "fail",
        waitAtMost: "300 millis"
      })
    )
  ).pipe(
    Effect.catch((error) => (error.reason._tag === "AccountConflict" ? join(account) : Effect.fail(error)))
  )

let asks = 0

const program = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const root = yield* join("root")
  const loose = yield* join("loose")
  const on = Effect.provideService(Budget.Budget)
  yield* Effect.forEach(["red", "blue"], (team) =>
    Budget.open({ account: "ann" }).pipe(Budget.within({ account: team }), on(root))
  )
  const lasting = (team: string) =>
    Effect.forever(call).pipe(Budget.within({ account: "ann" }), Budget.within({ account: team }), on(root))
  // Names that a forerunner had open when it was killed come back.
  let visits = 0
  const visiting = Effect.suspend(() =>
    Effect.replicateEffect(call, 3).pipe(
      Budget.within({ account: `agent-${slot}-${visits++}`, limit: Usd.nanos(8_000_000) }),
      Effect.catch(() => Effect.sleep(20))
    )
  )
  const temporary = Effect.forever(visiting).pipe(Budget.within({ account: "red" }), on(root))
  const next = Effect.suspend(() =>
    byHand(ledger, { id: `${slot}-${life}-${++asks}`, account: "root/red/ann", least: quote() })
  )
  const byHands = Effect.andThen(
    Effect.forEach(repeat, (ask) => byHand(ledger, ask)),
    Effect.forever(next)
  )
  const overrunning = Effect.forever(call).pipe(Budget.within({ account: "bob" }), on(loose))
  const lanes = [lasting("red"), lasting("red"), lasting("blue"), temporary, temporary, byHands, overrunning]
  yield* Effect.all(lanes, { concurrency: "unbounded" })
})

const { repeat } = await new Promise<Welcome>((told) => wire.hello(told))
const layer = await layerOf(place)
// Whoever is killed leaves nothing for the next one to start faster with.
flushCompileCache()

// On a machine that is busy starting others the store may be late.
await Effect.runPromise(
  Effect.retry(
    Effect.scoped(program.pipe(Effect.updateService(Ledger.Ledger, told), Effect.provide(layer))),
    { times: 5, while: ({ reason }) => reason._tag === "LedgerUnavailable" }
  )
)
