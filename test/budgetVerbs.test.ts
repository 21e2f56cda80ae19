/** What a budget does beside holding and paying: asks that are worked out late, pauses, warnings, what it leaves. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetError, Ledger, Usage, Usd } from "agent-budget"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Metric, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { includes } from "./utils/assertions.ts"

const cents = (amount: number) => Usd.nanos(amount * 10_000_000)
const limit = cents(100)

const budget = (options: Partial<Budget.Options> = {}) =>
  Budget.layer({ limit, ...options }).pipe(Layer.provideMerge(Ledger.layerMemory()))

const pay = (quote: number, cost = quote) =>
  Effect.void.pipe(Budget.withBudget({ quote: cents(quote), cost: () => cents(cost) }))

const reasonOf = <A, R>(effect: Effect.Effect<A, BudgetError.BudgetError, R>) =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => error.reason)

const settled = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })

/** The lines that an effect logs, with its value. */
const logging = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel}: ${String(message)}`))
    const value = yield* Effect.provide(effect, Logger.layer([logger]))
    return { lines, value }
  })

const down = BudgetError.because(new BudgetError.LedgerUnavailable({ detail: "gone" }))
const conflict = BudgetError.because(
  new BudgetError.ReservationConflict({ reservation: "1", detail: "it is another's." })
)

/** A budget over a ledger of which something is otherwise. */
const over = (
  change: (books: Ledger.Ledger["Service"]) => Partial<Ledger.Ledger["Service"]>,
  options: Partial<Budget.Options> = {}
) =>
  Budget.layer({ limit, ...options }).pipe(
    Layer.provide(
      Layer.effect(
        Ledger.Ledger,
        Effect.map(Ledger.makeMemory(), (books) => Ledger.Ledger.of({ ...books, ...change(books) }))
      )
    )
  )

describe("an ask that can be worked out more tightly", () => {
  const worked = (least: number) => {
    const state = { times: 0 }
    const tighter = Effect.sync((): Budget.Ask => {
      state.times++
      return { least: cents(least), label: "tight" }
    })
    return { state, tighter }
  }

  it.effect("is not, where it fits as it is", () =>
    Effect.gen(function* () {
      const { acquire } = yield* Budget.Budget
      const { state, tighter } = worked(1)
      const held = yield* acquire({ least: cents(100), tighter })
      assert.deepStrictEqual([state.times, Number(held.amount)], [0, cents(100)])
    }).pipe(Effect.provide(budget()))
  )

  it.effect(
    "holds what it comes to where it does not fit, and is refused where that does not fit either",
    () =>
      Effect.gen(function* () {
        const { acquire, outstanding } = yield* Budget.Budget
        const { state, tighter } = worked(60)
        const held = yield* acquire({ least: cents(101), label: "wide", tighter })
        assert.deepStrictEqual([state.times, Number(held.amount)], [1, cents(60)])
        includes(yield* reasonOf(acquire({ least: cents(101), tighter })), {
          _tag: "BudgetExceeded",
          required: cents(60)
        })
        assert.strictEqual(state.times, 2)
        assert.deepStrictEqual(outstanding(), [held])
        assert.strictEqual((yield* Budget.summary).refused, 1)
      }).pipe(Effect.provide(budget()))
  )

  it.effect("is not worked out for a refusal that is not for want of room", () =>
    Effect.gen(function* () {
      const { acquire } = yield* Budget.Budget
      const { state, tighter } = worked(1)
      yield* Budget.pause
      const reason = yield* reasonOf(acquire({ least: cents(1), tighter }))
      assert.deepStrictEqual([reason._tag, state.times], ["AccountPaused", 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("waits with what it comes to, and does not pass those in line before", () =>
    Effect.gen(function* () {
      const { acquire, release } = yield* Budget.Budget
      const full = yield* acquire({ least: cents(60) })
      const first = yield* Effect.forkChild(acquire({ least: cents(50) }))
      yield* settled
      const { state, tighter } = worked(30)
      // 40 are left: but for the one in line it would fit as it is.
      const second = yield* Effect.forkChild(acquire({ least: cents(35), tighter }))
      yield* settled
      assert.deepStrictEqual(
        [state.times, first.pollUnsafe(), second.pollUnsafe()],
        [1, undefined, undefined]
      )
      yield* release(full)
      assert.strictEqual((yield* Fiber.join(first)).amount, cents(50))
      assert.strictEqual((yield* Fiber.join(second)).amount, cents(30))
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )

  it.effect("waits where the account is paused, as its other asks do", () =>
    Effect.gen(function* () {
      const { acquire } = yield* Budget.Budget
      yield* Budget.pause
      const asking = yield* Effect.forkChild(acquire({ least: cents(35), tighter: worked(30).tighter }))
      yield* settled
      assert.isUndefined(asking.pollUnsafe())
      yield* Budget.resume
      assert.strictEqual((yield* Fiber.join(asking)).amount, cents(30))
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )

  it.effect("of a budget that does not wait passes those in line, as its other asks do", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* ledger.reserve({ account: "root", least: cents(60) })
      const ask = { account: "root", least: cents(50), waitAtMost: "1 hour" } as const
      yield* Effect.forkChild(ledger.reserve(ask))
      yield* settled
      const { state, tighter } = worked(30)
      const held = yield* (yield* Budget.Budget).acquire({ least: cents(40), tighter })
      assert.deepStrictEqual([state.times, Number(held.amount)], [0, cents(40)])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("can be interrupted while it is worked out, and holds nothing then", () =>
    Effect.gen(function* () {
      const { acquire } = yield* Budget.Budget
      const asking = yield* Effect.forkChild(acquire({ least: cents(101), tighter: Effect.never }))
      yield* settled
      yield* Fiber.interrupt(asking)
      assert.strictEqual((yield* Budget.balance).reserved, 0)
    }).pipe(Effect.provide(budget()))
  )
})

describe("a pause", () => {
  it.effect("is of the account that the fiber is in, until it is resumed", () =>
    Effect.gen(function* () {
      yield* Budget.open({ account: "ann" })
      const ann = Budget.within({ account: "ann" })
      yield* ann(Budget.pause)
      includes(yield* reasonOf(ann(pay(1))), { _tag: "AccountPaused", account: "root/ann" })
      yield* pay(1)
      yield* ann(Budget.resume)
      yield* ann(pay(1))
      yield* Budget.pause
      includes(yield* reasonOf(ann(pay(1))), { _tag: "AccountPaused", account: "root" })
      yield* Budget.resume
      yield* ann(pay(1))
      assert.strictEqual((yield* Budget.balance).spent, cents(3))
    }).pipe(Effect.provide(budget()))
  )
})

describe("who was forked inside of a call", () => {
  it.effect("may wait for room when that call is over, and not before", () =>
    Effect.gen(function* () {
      const ends: Array<string> = []
      const inside = Effect.gen(function* () {
        ends.push((yield* reasonOf(pay(50)))._tag)
        const later = Effect.andThen(Effect.sleep(100), pay(50))
        return yield* Effect.forkDetach(later)
      })
      const outer = Budget.withBudget(inside, { quote: cents(60), cost: () => cents(30) })
      const child = yield* outer
      yield* (yield* Budget.Budget).acquire({ least: cents(30) })
      assert.deepStrictEqual(ends, ["BudgetExceeded"])
      yield* TestClock.adjust(100)
      yield* settled
      assert.isUndefined(child.pollUnsafe())
      yield* Budget.setLimit(cents(120))
      yield* Fiber.join(child)
      assert.strictEqual((yield* Budget.balance).spent, cents(80))
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )
})

describe("a track", () => {
  const answer = <A>(value: A, cost: number) =>
    Budget.withBudget(Effect.succeed(value), { quote: cents(50), cost: () => cents(cost) })

  it.effect("gives what was paid for where the ledger cannot say, or dies, or throws", () =>
    Effect.gen(function* () {
      const ways: ReadonlyArray<Ledger.Ledger["Service"]["balance"]> = [
        () => Effect.fail(down),
        () => Effect.die("bug"),
        () => {
          throw new Error("bug")
        }
      ]
      for (const balance of ways) {
        const tracked = Budget.track(answer("paid", 20)).pipe(
          Effect.provide(
            over((books) => ({
              balance: (account) => (account.includes("/") ? balance(account) : books.balance(account))
            })),
            { local: true }
          )
        )
        assert.deepStrictEqual(yield* tracked, { value: "paid", spent: cents(20) })
      }
    })
  )

  it.effect("counts what the ledger has yet to book: what is inside of it, at any depth, and no more", () =>
    Effect.gen(function* () {
      const track = Budget.track(
        Effect.gen(function* () {
          const first = yield* Budget.track(Effect.andThen(answer("a", 1), answer("b", 2)))
          yield* answer("c", 4)
          const second = yield* Budget.within(Budget.track(answer("d", 8)), { account: "ann" })
          return [first, second]
        })
      )
      const [tracked] = yield* Effect.all([track, answer("beside", 16)], { concurrency: "unbounded" })
      assert.deepStrictEqual(tracked, {
        value: [
          { value: "b", spent: cents(3) },
          { value: "d", spent: cents(8) }
        ],
        spent: cents(15)
      })
      assert.strictEqual((yield* Budget.summary).spent, cents(31))
      assert.strictEqual((yield* Budget.balance).spent, 0)
    }).pipe(
      Effect.provide(over(() => ({ settle: () => Effect.fail(down) }), { limit: cents(1_000) })),
      logging
    )
  )

  it.effect("tells what the ledger says where that is more, as others may have paid there", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      const inside = Effect.gen(function* () {
        yield* pay(3)
        const { account } = yield* Budget.balance
        const others = yield* ledger.reserve({ account, least: cents(5) })
        yield* ledger.settle(others, { amount: cents(5), verdict: "metered" })
      })
      assert.strictEqual((yield* Budget.track(inside)).spent, cents(8))
    }).pipe(Effect.provide(budget()))
  )
})

describe("what remains", () => {
  it.effect("is told without asking the ledger, by itself and in the summary", () =>
    Effect.gen(function* () {
      const { acquire, remaining } = yield* Budget.Budget
      yield* pay(30)
      yield* acquire({ least: cents(15) })
      assert.strictEqual(remaining(), cents(55))
      assert.strictEqual((yield* Budget.summary).remaining, cents(55))
    }).pipe(Effect.provide(budget()))
  )

  it.effect("is not less for what ran out in a window that is over", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* Effect.forkChild(Stream.runDrain(Budget.events))
      yield* settled
      for (const account of ["root", "root/ann"]) {
        if (account !== "root") yield* Budget.open({ account: "ann" })
        yield* ledger.reserve({ account, least: cents(30) })
        yield* TestClock.adjust("90 minutes")
        yield* ledger.balances
        yield* settled
        includes(yield* Budget.summary, { spent: Usd.zero, reserved: Usd.zero, remaining: limit })
        includes(yield* Budget.balance, { spent: Usd.zero, reserved: Usd.zero, available: limit })
      }
      // What runs out in the window that it began in is.
      yield* TestClock.setTime(10 * 3_600_000)
      yield* ledger.reserve({ account: "root", least: cents(20) })
      yield* TestClock.adjust("31 minutes")
      yield* ledger.balances
      yield* settled
      includes(yield* Budget.summary, { spent: cents(20), remaining: cents(80) })
    }).pipe(
      Effect.provide(
        Budget.layer({ limit, window: "hour" }).pipe(
          Layer.provideMerge(Ledger.layerMemory({ lease: "30 minutes" }))
        )
      )
    )
  )
})

describe("an account that is opened below", () => {
  it.effect("is gone with its last visitor where it is only gone into, and stays where it is opened", () =>
    Effect.gen(function* () {
      const opened: Array<Ledger.OpenRequest> = []
      const layer = over((books) => ({
        open: (request) => {
          opened.push(request)
          return books.open(request)
        }
      }))
      yield* Effect.gen(function* () {
        yield* Budget.open({ account: "ann" })
        yield* Budget.within(Effect.void, { account: "bob" })
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        opened.map(({ account, parent, temporary }) => [account, parent, temporary]),
        [
          ["root", undefined, undefined],
          ["root/ann", "root", false],
          ["root/bob", "root", true]
        ]
      )
    })
  )

  it.effect("is refused by a name that is no part of a path, saying what is", () =>
    Effect.gen(function* () {
      includes(yield* reasonOf(Budget.open({ account: "a/b" })), {
        _tag: "InvalidAccount",
        account: "a/b",
        detail: "a name has 1 to 256 characters, no slash and no control character. Choose another."
      })
    }).pipe(Effect.provide(budget()))
  )
})

describe("what is available", () => {
  it.effect(
    "is the least that is left on the account and all above it, and the most where nothing limits",
    () =>
      Effect.gen(function* () {
        const { available } = Budget
        assert.strictEqual(yield* available, limit)
        const inside = (limit: number | undefined) =>
          Budget.within({ account: "ann", limit: limit === undefined ? undefined : cents(limit) })
        assert.strictEqual(yield* inside(30)(available), cents(30))
        assert.strictEqual(yield* inside(300)(available), limit)
        assert.strictEqual(yield* inside(undefined)(available), limit)
        assert.strictEqual(yield* inside(300)(inside(40)(inside(50)(available))), cents(40))
        yield* pay(80)
        assert.strictEqual(yield* inside(30)(available), cents(20))
        yield* (yield* Ledger.Ledger).setLimit("root", null)
        assert.strictEqual(yield* available, Usd.maximum)
      }).pipe(Effect.provide(budget()))
  )

  it.effect("is nothing while the account, or one above it, is paused", () =>
    Effect.gen(function* () {
      const { available } = Budget
      yield* Budget.open({ account: "ann" })
      const ann = Budget.within({ account: "ann" })
      yield* ann(Budget.pause)
      assert.strictEqual(yield* ann(available), Usd.zero)
      assert.strictEqual(yield* available, limit)
      yield* ann(Budget.resume)
      yield* Budget.pause
      assert.strictEqual(yield* ann(available), Usd.zero)
      yield* Budget.resume
      assert.strictEqual(yield* ann(available), limit)
    }).pipe(Effect.provide(budget()))
  )

  it.effect("is of an account whose own name has slashes, too", () =>
    Effect.gen(function* () {
      yield* pay(30)
      assert.strictEqual(yield* Budget.available, cents(70))
      assert.strictEqual(
        yield* Budget.within(Budget.available, { account: "ann", limit: cents(9) }),
        cents(9)
      )
    }).pipe(Effect.provide(budget({ account: "team/agents" })))
  )
})

describe("a bill with a bound", () => {
  const call = (model: string, input: number, bound: { readonly input: number; readonly margin: number }) =>
    Effect.gen(function* () {
      const { acquire, settle } = yield* Budget.Budget
      const held = yield* acquire({ least: cents(1), label: model })
      const usage = Usage.make({ input, output: 1 })
      yield* settle(held, { amount: cents(1), verdict: "metered", usage, bound })
    })
  const gauge = (model: string) =>
    Effect.map(Metric.snapshot, (all) =>
      all
        .filter(
          ({ attributes, id }) => id === "agent_budget_billed_over_quoted" && attributes?.["model"] === model
        )
        .map(({ state }) => ("value" in state ? state.value : undefined))
    )

  it.effect("tells once that a model takes nearly all of its margin, and keeps how near it came", () =>
    Effect.gen(function* () {
      const told = yield* Budget.events.pipe(
        Stream.filter(({ _tag }) => _tag === "MarginThin" || _tag === "Refused"),
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* settled
      const bound = { input: 100, margin: 10 }
      const { lines } = yield* logging(
        Effect.gen(function* () {
          yield* call("thin-1", 80, bound)
          yield* call("thin-1", 99, bound)
          yield* call("thin-1", 100, bound)
          yield* call("thin-1", 50, bound)
        })
      )
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /^Warn: thin-1 was billed for 100 input tokens of a bound of 100/)
      assert.strictEqual((yield* Budget.summary).byModel["thin-1"]?.closest, 1)
      assert.deepStrictEqual(yield* gauge("thin-1"), [1])
      yield* (yield* Budget.Budget).refuse(down)
      assert.deepStrictEqual(
        (yield* Fiber.join(told)).map((event) => ({ ...event, error: undefined })),
        [
          {
            _tag: "MarginThin",
            account: "root",
            model: "thin-1",
            billed: 100,
            quoted: 100,
            margin: 10,
            error: undefined
          },
          { _tag: "Refused", account: "root", error: undefined }
        ]
      )
    }).pipe(Effect.provide(budget()))
  )

  it.effect("says nothing without a usage, and nothing without a bound", () =>
    Effect.gen(function* () {
      const { acquire, settle } = yield* Budget.Budget
      const common = { amount: cents(1), verdict: "metered" } as const
      const usage = Usage.make({ input: 100, output: 1 })
      yield* settle(yield* acquire({ least: cents(1), label: "one" }), {
        ...common,
        bound: { input: 100, margin: 10 }
      })
      yield* settle(yield* acquire({ least: cents(1), label: "two" }), { ...common, usage })
      const { byModel } = yield* Budget.summary
      assert.deepStrictEqual([byModel["one"]?.closest, byModel["two"]?.closest], [0, 0])
      assert.deepStrictEqual([yield* gauge("one"), yield* gauge("two")], [[], []])
      // Without a label it is a model without a name.
      yield* settle(yield* acquire({ least: cents(1) }), {
        ...common,
        usage,
        bound: { input: 200, margin: 10 }
      })
      assert.strictEqual((yield* Budget.summary).byModel["effect"]?.closest, 0.5)
    }).pipe(Effect.provide(budget()))
  )
})

describe("a label", () => {
  it.effect("is that of the bill, or of the ask where the bill has none", () =>
    Effect.gen(function* () {
      const { acquire, settle } = yield* Budget.Budget
      const bill = { amount: cents(1), verdict: "metered" } as const
      yield* settle(yield* acquire({ least: cents(1), label: "asked" }), bill)
      yield* settle(yield* acquire({ least: cents(1), label: "asked" }), { ...bill, label: "billed" })
      assert.deepStrictEqual(Object.keys((yield* Budget.summary).byModel), ["asked", "billed"])
      const entries = yield* Stream.runCollect((yield* Ledger.Ledger).entries())
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "Settled" ? [entry.label] : [])),
        ["asked", "billed"]
      )
    }).pipe(Effect.provide(budget()))
  )

  it.effect("of an effect is what its options say", () =>
    Effect.gen(function* () {
      const options = { quote: cents(2), cost: () => cents(1), label: "search" }
      yield* Budget.withBudget(Effect.void, options)
      yield* Effect.exit(Budget.withBudget(Effect.fail("no"), options))
      const { byModel } = yield* Budget.summary
      includes(byModel["search"], { calls: 2, spent: cents(3), assumed: cents(2) })
      assert.deepStrictEqual(Object.keys(byModel), ["search"])
    }).pipe(Effect.provide(budget()))
  )
})

describe("what a budget logs", () => {
  it.effect("names a cost that is unknown, why, and what is charged", () =>
    Effect.gen(function* () {
      const costing = (cost: () => number) =>
        Effect.void.pipe(Budget.withBudget({ quote: cents(1), cost: cost as () => Usd.Usd, label: "tool" }))
      const { lines } = yield* logging(
        Effect.andThen(
          costing(() => NaN),
          costing(() => {
            throw new Error("secret")
          })
        )
      )
      assert.deepStrictEqual(lines, [
        "Warn: The cost of tool is unknown (its cost function answered no amount): its whole reservation is charged.",
        "Warn: The cost of tool is unknown (its cost function threw): its whole reservation is charged."
      ])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("names what could not be booked, and whether it is kept or stays held", () =>
    Effect.gen(function* () {
      const { acquire, release, settle } = yield* Budget.Budget
      const told = yield* Budget.events.pipe(
        Stream.filter((event) => event._tag === "Unsettled"),
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* settled
      const one = yield* acquire({ least: cents(3) })
      const other = yield* acquire({ least: cents(3) })
      const { lines } = yield* logging(
        Effect.andThen(settle(one, { amount: cents(2), verdict: "metered" }), release(other))
      )
      assert.deepStrictEqual(lines, [
        `Error: Reservation ${one.id} on account root is not in the books yet: $0.02 could not be booked. ${down.message}`,
        `Error: Reservation ${other.id} on account root stays held: $0.00 could not be booked. ${conflict.message}`
      ])
      const [kept, lost] = yield* Fiber.join(told)
      includes(kept, { reservation: one.id, account: "root", amount: cents(2), kept: true, error: down })
      includes(lost, { reservation: other.id, account: "root", amount: 0, kept: false, error: conflict })
      includes(yield* Budget.summary, { calls: 1, spent: cents(2), reserved: cents(3), overrun: Usd.zero })
    }).pipe(
      Effect.provide(over(() => ({ settle: () => Effect.fail(down), release: () => Effect.fail(conflict) })))
    )
  )

  it.effect("names an account that cannot be closed", () =>
    Effect.gen(function* () {
      const { lines } = yield* logging(Budget.within(Effect.void, { account: "ann" }))
      assert.deepStrictEqual(lines, [`Warn: Account root/ann stays open. ${down.message}`])
    }).pipe(Effect.provide(over(() => ({ close: () => Effect.fail(down) }))))
  )

  it.effect("loses no answer to a ledger that dies, or throws, as an account closes", () =>
    Effect.forEach(
      [
        () => Effect.die("a bug"),
        () => {
          throw new Error("a bug")
        }
      ],
      (close) =>
        Effect.gen(function* () {
          const { lines, value } = yield* logging(Budget.within(Effect.succeed("paid"), { account: "ann" }))
          assert.strictEqual(value, "paid")
          assert.include(lines.at(-1), "Warn: Account root/ann stays open. ")
        }).pipe(Effect.provide(over(() => ({ close }))))
    )
  )
})

describe("a budget that ends", () => {
  it.effect("leaves each account that it opened once, those below before those above", () =>
    Effect.gen(function* () {
      const left: Array<string> = []
      const layer = over((books) => ({
        close: (account) => {
          left.push(account)
          return books.close(account)
        }
      }))
      yield* Effect.gen(function* () {
        yield* Budget.open({ account: "ann" })
        yield* Budget.open({ account: "ann" })
        yield* Budget.within(Budget.open({ account: "below" }), { account: "ann" })
        // One of the two that opened it, and the one inside.
        assert.deepStrictEqual(left.splice(0), ["root/ann", "root/ann"])
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(left, ["root/ann/below", "root/ann", "root"])
    })
  )

  it.effect("admits nothing once it is shut, not even what stood in line, and says so", () =>
    Effect.gen(function* () {
      const { acquire, release, shut } = yield* Budget.Budget
      const full = yield* acquire({ least: limit })
      const waiting = yield* Effect.forkChild(reasonOf(acquire({ least: cents(1) })))
      yield* settled
      yield* shut
      yield* release(full)
      for (const reason of [yield* Fiber.join(waiting), yield* reasonOf(acquire({ least: cents(1) }))]) {
        includes(reason, { _tag: "Closed", detail: "The budget is closed." })
      }
      assert.strictEqual((yield* Budget.balance).reserved, 0)
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )

  it.effect("lets those in line go as it is shut, so that nobody stands behind them", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* ledger.open({ account: "root", limit })
      yield* ledger.reserve({ account: "root", least: cents(60) })
      const { acquire, shut } = yield* Budget.make({ limit, onExceeded: "wait" })
      const tighter = Effect.succeed({ least: cents(50) })
      const waiting = [{ least: cents(50) }, { least: cents(60), tighter }].map((ask) =>
        reasonOf(acquire(ask))
      )
      const asked = yield* Effect.forEach(waiting, (each) => Effect.forkChild(each))
      yield* settled
      const behind = yield* Effect.forkChild(
        ledger.reserve({ account: "root", least: cents(40), waitAtMost: "1 hour" })
      )
      yield* settled
      assert.isUndefined(behind.pollUnsafe())
      yield* shut
      yield* settled
      for (const each of asked) {
        const exit = each.pollUnsafe() ?? assert.fail("It waits still.")
        includes(yield* exit, { _tag: "Closed", detail: "The budget is closed." })
      }
      assert.isDefined(behind.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(Ledger.layerMemory()))
  )

  it.effect("tells a fiber that outlives it that it is closed, in line or not", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { acquire } = yield* Scope.provide(Budget.make({ limit, onExceeded: "wait" }), scope)
      yield* acquire({ least: limit })
      const waiting = yield* Effect.forkChild(reasonOf(acquire({ least: cents(1) })))
      yield* settled
      yield* Scope.close(scope, Exit.void)
      includes(yield* Fiber.join(waiting), { _tag: "Closed" })
      includes(yield* reasonOf(acquire({ least: cents(1) })), { _tag: "Closed" })
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("that waits does so for five minutes, unless it is said how long", () =>
    Effect.gen(function* () {
      const { acquire } = yield* Budget.Budget
      yield* acquire({ least: limit })
      const waiting = yield* Effect.forkChild(reasonOf(acquire({ least: cents(1) })))
      yield* settled
      yield* TestClock.adjust(5 * 60_000 - 1)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      includes(yield* Fiber.join(waiting), { waitedMillis: 300_000 })
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )
})

describe("the events of a budget", () => {
  it.effect("name the account of the fiber that they are of", () =>
    Effect.gen(function* () {
      const { capped, refuse } = yield* Budget.Budget
      const told = yield* Budget.events.pipe(Stream.take(4), Stream.runCollect, Effect.forkChild)
      yield* settled
      const inside = Effect.gen(function* () {
        yield* refuse(down)
        yield* capped("m", 7)
        yield* reasonOf(pay(1_000))
        yield* Effect.exit(
          Effect.fail("no").pipe(
            Budget.withBudget({ quote: Usd.zero, cost: () => Usd.zero, onFailure: "release" })
          )
        )
      })
      yield* Budget.within(inside, { account: "ann" })
      const [refused, cap, full, reserved] = yield* Fiber.join(told)
      includes(refused, { _tag: "Refused", account: "root/ann", error: down })
      includes(cap, { _tag: "Capped", account: "root/ann", model: "m", tokens: 7 })
      includes(full, { _tag: "Refused", account: "root/ann" })
      includes(reserved, { _tag: "Reserved", account: "root/ann", amount: 0 })
    }).pipe(Effect.provide(budget()))
  )

  it.effect("end with the budget, once all is told that its last calls caused", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const service = yield* Scope.provide(Budget.make({ limit: cents(100), thresholds: [0.5] }), scope)
      const told = yield* Effect.forkChild(Stream.runCollect(service.events), { startImmediately: true })
      const held = yield* service.acquire({ least: cents(60) })
      yield* service.settle(held, { amount: cents(60), verdict: "metered" })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(
        (yield* Fiber.join(told)).map(({ _tag }) => _tag),
        ["Reserved", "Settled", "ThresholdCrossed"]
      )
      assert.deepStrictEqual(yield* Stream.runCollect(service.events), [])
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("of the ledger are told from the very step in which somebody reads", () =>
    Effect.gen(function* () {
      const told = yield* Effect.forkChild(
        Budget.events.pipe(
          Stream.filter(({ _tag }) => _tag === "ThresholdCrossed"),
          Stream.runHead
        ),
        { startImmediately: true }
      )
      yield* pay(60)
      yield* settled
      includes(Option.getOrUndefined(yield* Fiber.join(told)), { threshold: 0.5, spent: cents(60) })
    }).pipe(Effect.provide(budget({ thresholds: [0.5] })))
  )

  it.effect("cost who falls behind the oldest, and nobody else anything", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<undefined>()
      const read = Effect.fnUntraced(function* (then: Effect.Effect<void>) {
        const told: Array<string> = []
        const note = (event: Budget.Event) =>
          Effect.andThen(
            Effect.sync(() => void told.push("reservation" in event ? event.reservation : event._tag)),
            then
          )
        yield* Effect.forkChild(Stream.runForEach(Budget.events, note))
        yield* settled
        return told
      })
      const [prompt, late] = [yield* read(Effect.void), yield* read(Deferred.await(gate))]
      for (let call = 0; call < 600; call++) yield* Effect.andThen(pay(0), settled)
      yield* pay(50)
      yield* settled
      assert.lengthOf(prompt, 1_203)
      assert.deepStrictEqual(prompt.slice(-3), ["601", "601", "ThresholdCrossed"])
      yield* Deferred.succeed(gate, undefined)
      yield* settled
      assert.deepStrictEqual(late, [...prompt.slice(0, 1), ...prompt.slice(-1_024)])
    }).pipe(Effect.provide(budget({ thresholds: [0.5] })))
  )

  it.effect("are told to those who read from when they read, and the ledger is listened to no longer", () =>
    Effect.gen(function* () {
      let listening = 0
      const layer = over((books) => ({
        booked: Stream.unwrap(
          Effect.as(
            Effect.acquireRelease(
              Effect.sync(() => listening++),
              () => Effect.sync(() => listening--)
            ),
            books.booked
          )
        )
      }))
      yield* Effect.gen(function* () {
        const { events } = yield* Budget.Budget
        yield* settled
        assert.strictEqual(listening, 0)
        const head = Effect.forkChild(Stream.runHead(events))
        const readers = [yield* head, yield* head]
        yield* settled
        assert.strictEqual(listening, 1)
        yield* pay(1)
        for (const reader of readers) {
          assert.strictEqual(Option.getOrUndefined(yield* Fiber.join(reader))?._tag, "Reserved")
        }
        yield* settled
        assert.strictEqual(listening, 0)
        // Nobody was there to be told of what came meanwhile.
        yield* pay(2)
        const last = yield* head
        yield* settled
        assert.strictEqual(listening, 1)
        yield* pay(3)
        includes(Option.getOrUndefined(yield* Fiber.join(last)), { _tag: "Reserved", amount: cents(3) })
      }).pipe(Effect.provide(layer))
      assert.strictEqual(listening, 0)
    })
  )
})

describe("a limit that is set anew", () => {
  it.effect("leaves the account as it was where the ledger refuses it", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* ledger.open({ account: "root", limit })
      const refusing = Layer.succeed(Ledger.Ledger, { ...ledger, setLimit: () => Effect.fail(down) })
      const opened = Effect.provide(
        Budget.summary,
        Layer.provide(Budget.layer({ limit: cents(7), onLimitChange: "set" }), refusing)
      )
      assert.strictEqual((yield* reasonOf(opened))._tag, "LedgerUnavailable")
      assert.strictEqual((yield* ledger.balance("root")).limit, limit)
      yield* ledger.close("root")
      assert.deepStrictEqual(yield* ledger.balances, [])
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("is not set where none is asked for", () =>
    Effect.gen(function* () {
      yield* Budget.open({ account: "ann", limit: cents(5) })
      yield* Budget.within(Effect.void, { account: "ann", onLimitChange: "set" })
      const { limit } = yield* Budget.within(Budget.balance, { account: "ann" })
      assert.strictEqual(limit, cents(5))
    }).pipe(Effect.provide(budget()))
  )
})
