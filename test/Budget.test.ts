import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetError, Ledger, Usage, Usd } from "agent-budget"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Random,
  Scheduler,
  type Scope,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import { includes } from "./utils/assertions.ts"
import * as Invariants from "./utils/invariants.ts"
import { many } from "./utils/many.ts"

const cents = (amount: number) => Usd.nanos(amount * 10_000_000)
const cent = cents(1)
const held = (findings: ReadonlyArray<string>) => assert.deepStrictEqual(findings, [])

/** A budget over a memory ledger that stays in reach. */
const budget = (options: Partial<Budget.Options> = {}, memory?: Ledger.MemoryOptions) =>
  Budget.layer({ limit: cents(100), ...options }).pipe(Layer.provideMerge(Ledger.layerMemory(memory)))

const paying =
  (quote: number, cost = quote) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Budget.withBudget(effect, { quote: cents(quote), cost: () => cents(cost) })
const pay = (quote: number, cost = quote) => paying(quote, cost)(Effect.void)

const reasonOf = <A, R>(effect: Effect.Effect<A, BudgetError.BudgetError, R>) =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => error.reason)

const spentAndReserved = Effect.map(Budget.balance, ({ reserved, spent }) => [
  Number(spent),
  Number(reserved)
])

const settled = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })
const quiet = Effect.provide(Logger.layer([]))

describe("withBudget", () => {
  it.effect("settles a success for its cost, and gives its value", () =>
    Effect.gen(function* () {
      const value = yield* Effect.succeed({ usd: "0.03" }).pipe(
        Budget.withBudget({ quote: cents(5), cost: (answer) => Usd.dollars(answer.usd) })
      )
      assert.deepStrictEqual(value, { usd: "0.03" })
      assert.deepStrictEqual(yield* spentAndReserved, [30_000_000, 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("holds the quote while the effect runs", () =>
    Effect.gen(function* () {
      const inside = yield* Budget.withBudget(spentAndReserved, { quote: cents(5), cost: () => cent })
      assert.deepStrictEqual(inside, [0, 50_000_000])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("charges the whole quote for a failure, a defect, an interruption and a timeout", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.exit(paying(5, 1)(Effect.fail("no")))
      assert.deepStrictEqual(failed, Exit.fail("no"))
      const died = yield* Effect.exit(paying(5, 1)(Effect.die("bug")))
      assert.deepStrictEqual(died, Exit.die("bug"))
      const fiber = yield* Effect.forkChild(paying(5, 1)(Effect.never))
      yield* settled
      yield* Fiber.interrupt(fiber)
      const timed = yield* Effect.forkChild(Effect.timeoutOption(paying(5, 1)(Effect.never), 50))
      yield* settled
      yield* TestClock.adjust(50)
      yield* Fiber.join(timed)
      assert.deepStrictEqual(yield* spentAndReserved, [4 * cents(5), 0])
      const { byModel, calls } = yield* Budget.summary
      assert.strictEqual(calls, 4)
      assert.strictEqual(byModel["effect"]?.assumed, 4 * cents(5))
    }).pipe(Effect.provide(budget()))
  )

  it.effect("releases what failed, or bills it by its cause, where it is told to", () =>
    Effect.gen(function* () {
      const failing = (onFailure: Budget.WithBudgetOptions<void, string>["onFailure"]) =>
        Effect.exit(
          Budget.withBudget(Effect.fail("no"), {
            quote: cents(5),
            cost: () => cents(2),
            onFailure
          })
        )
      yield* failing("release")
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
      let told: Cause.Cause<string> | undefined
      yield* failing((cause) => {
        told = cause
        return cents(3)
      })
      assert.isTrue(told !== undefined && Cause.squash(told) === "no")
      assert.deepStrictEqual(yield* spentAndReserved, [cents(3), 0])
      yield* failing("charge")
      assert.deepStrictEqual(yield* spentAndReserved, [cents(8), 0])
      // A success is billed by its cost whatever is said of failures.
      yield* Effect.void.pipe(
        Budget.withBudget({ quote: cents(5), cost: () => cents(2), onFailure: "release" })
      )
      assert.deepStrictEqual(yield* spentAndReserved, [cents(10), 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("charges the whole quote where its cost function throws or answers no amount", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<() => unknown> = [
        () => NaN,
        () => -1,
        () => 0.5,
        () => Infinity,
        () => 2 ** 53,
        () => "0.01",
        () => undefined,
        () => {
          throw new Error("no price")
        }
      ]
      for (const cost of bad) {
        const options = { quote: cents(2), cost: cost as () => Usd.Usd }
        assert.strictEqual(yield* Effect.succeed("value").pipe(Budget.withBudget(options)), "value")
        const onFailure = cost as () => Usd.Usd
        yield* Effect.exit(
          Effect.fail("no").pipe(Budget.withBudget({ quote: cents(2), cost: () => cent, onFailure }))
        )
      }
      assert.deepStrictEqual(yield* spentAndReserved, [bad.length * 2 * cents(2), 0])
    }).pipe(Effect.provide(budget()), quiet)
  )

  it.effect("settles before it warns: a logger that dies leaks nothing", () =>
    Effect.gen(function* () {
      const dying = Logger.layer([
        Logger.make(() => {
          throw new Error("the disk is full")
        })
      ])
      yield* Effect.exit(
        Effect.provide(
          Effect.void.pipe(Budget.withBudget({ quote: cents(2), cost: () => Usd.nanos(NaN) })),
          dying
        )
      )
      assert.deepStrictEqual(yield* spentAndReserved, [cents(2), 0])
    }).pipe(Effect.provide(budget()))
  )

  /** A memory ledger without a sink reserves in one step; one with a sink does not. */
  for (const sink of [undefined, () => Effect.void]) {
    const name = `leaks nothing and never starts unpaid, at whatever step it is interrupted${sink ? ", by a ledger with a sink" : ""}`
    it.effect(name, () =>
      Effect.gen(function* () {
        let ran = 0
        for (let every = 3; every <= 10; every++) {
          for (let after = 0; after <= 30; after++) {
            const call = Effect.sync(() => ran++).pipe(
              Effect.andThen(Effect.yieldNow),
              Budget.withBudget({ quote: Usd.nanos(1), cost: () => Usd.nanos(1) }),
              Effect.provideService(Scheduler.MaxOpsBeforeYield, every)
            )
            const fiber = yield* Effect.forkChild(call)
            for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
            yield* Fiber.interrupt(fiber)
            const [spent = 0, reserved] = yield* spentAndReserved
            assert.strictEqual(reserved, 0, `a yield every ${every} steps, ${after} turns`)
            // One that was interrupted between its start and its first step is charged: nobody knows what it did.
            assert.isAtLeast(spent, ran)
          }
        }
        assert.isAbove(ran, 50)
        assert.isBelow(ran, 8 * 31)
      }).pipe(Effect.provide(budget({}, { sink })))
    )
  }

  it.effect("charges nothing where it is interrupted as it is admitted, and has not begun", () =>
    Effect.gen(function* () {
      const memory = yield* Ledger.makeMemory()
      const reached = yield* Deferred.make<undefined>()
      const open = yield* Deferred.make<undefined>()
      const slow = Ledger.Ledger.of({
        ...memory,
        reserve: (request) =>
          Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(open)).pipe(
            Effect.andThen(memory.reserve(request)),
            Effect.uninterruptible
          )
      })
      yield* Effect.gen(function* () {
        let ran = false
        const call = yield* Effect.forkChild(paying(5)(Effect.sync(() => (ran = true))))
        yield* Deferred.await(reached)
        const leaving = yield* Effect.forkChild(Fiber.interrupt(call))
        yield* settled
        yield* Deferred.succeed(open, undefined)
        yield* Fiber.join(leaving)
        assert.isFalse(ran)
        assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
        assert.strictEqual((yield* Budget.summary).calls, 0)
      }).pipe(
        Effect.provide(
          Budget.layer({ limit: cents(100) }).pipe(Layer.provideMerge(Layer.succeed(Ledger.Ledger, slow)))
        )
      )
    })
  )

  it.effect("charges nothing where whoever hears of its reservation interrupts it", () =>
    Effect.gen(function* () {
      let ran = false
      const calls: Array<Fiber.Fiber<unknown, unknown>> = []
      yield* Effect.forkChild(
        Stream.runForEach(Budget.events, ({ _tag }) =>
          Effect.sync(() => (_tag === "Reserved" ? calls[0]?.interruptUnsafe() : undefined))
        )
      )
      yield* settled
      const call = yield* Effect.forkChild(paying(5)(Effect.sync(() => (ran = true))))
      calls.push(call)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(call)))
      assert.isFalse(ran)
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("refuses a quote that is no amount, and what does not fit, before it starts", () =>
    Effect.gen(function* () {
      let started = 0
      const effect = Effect.sync(() => {
        started++
      })
      for (const quote of [NaN, -1, 0.5] as ReadonlyArray<number>) {
        const reason = yield* reasonOf(
          effect.pipe(Budget.withBudget({ quote: quote as Usd.Usd, cost: () => cent }))
        )
        assert.strictEqual(reason._tag, "InvalidAmount")
      }
      const reason = yield* reasonOf(paying(101)(effect))
      includes(reason, { _tag: "BudgetExceeded", required: cents(101), limit: cents(100) })
      assert.strictEqual(started, 0)
      assert.strictEqual((yield* Budget.summary).refused, 4)
    }).pipe(Effect.provide(budget()))
  )

  it.effect("refuses a label that is no text before it starts, and holds nothing for it", () =>
    Effect.gen(function* () {
      let started = 0
      const effect = Effect.sync(() => {
        started++
      })
      for (const label of [7, null, {}] as ReadonlyArray<unknown>) {
        const options = { quote: cent, cost: () => cent, label: label as string }
        const reason = yield* reasonOf(Budget.withBudget(effect, options))
        const detail = `the label is of type ${typeof label}, and not a text.`
        includes(reason, { _tag: "InvalidOptions", detail })
      }
      assert.strictEqual(started, 0)
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
      assert.strictEqual((yield* Budget.summary).refused, 3)
      yield* Budget.withBudget(effect, { quote: cent, cost: () => cent, label: "" })
      assert.deepStrictEqual(yield* spentAndReserved, [Number(cent), 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("two hundred at once, a cent each, on half a dollar: fifty run, the others never start", () =>
    Effect.gen(function* () {
      const told = yield* Budget.events.pipe(Stream.take(250), Stream.runCollect, Effect.forkChild)
      yield* settled
      let started = 0
      const call = Effect.sync(() => {
        started++
      }).pipe(Effect.andThen(Effect.yieldNow), paying(1))
      const exits = yield* Effect.forEach(Array.from({ length: 200 }), () => Effect.exit(call), {
        concurrency: "unbounded"
      })
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 50)
      assert.strictEqual(started, 50)
      assert.deepStrictEqual(yield* spentAndReserved, [500_000_000, 0])
      const events = yield* Fiber.join(told)
      assert.strictEqual(events.filter((event) => event._tag === "Reserved").length, 50)
      held(Invariants.eventsKeepLimits(events, { root: 500_000_000 }))
      assert.isNotEmpty(Invariants.eventsKeepLimits(events, { root: 499_999_999 }))
      const { calls, refused, remaining } = yield* Budget.summary
      assert.deepStrictEqual(
        { calls, refused, remaining: Number(remaining) },
        { calls: 50, refused: 150, remaining: 0 }
      )
    }).pipe(Effect.provide(budget({ limit: cents(50) })))
  )

  it.effect("nested, never waits for itself: it fails at once, in its children too", () =>
    Effect.gen(function* () {
      const inner = Effect.all([
        reasonOf(pay(50)),
        Effect.flatMap(Effect.forkChild(reasonOf(pay(50))), Fiber.join)
      ])
      const fiber = yield* Effect.forkChild(paying(60)(inner))
      yield* settled
      const reasons = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        reasons.map((reason) => reason._tag),
        ["BudgetExceeded", "BudgetExceeded"]
      )
      // What fits is admitted inside another, and after it the fiber may wait again.
      yield* paying(10)(pay(10))
      const full = yield* Effect.forkChild(paying(20)(Effect.sleep(100)))
      yield* settled
      const waiting = yield* Effect.forkChild(Effect.andThen(pay(0), pay(15)))
      yield* settled
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(full)
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )
})

describe("waiting for room", () => {
  it.effect("for a time that is none is refused as the budget is built, not at its first call", () =>
    Effect.gen(function* () {
      for (const waitAtMost of [-1, NaN, "-1 seconds"] as const) {
        const reason = yield* reasonOf(Layer.build(budget({ onExceeded: "wait", waitAtMost })))
        assert.strictEqual(reason._tag, "InvalidOptions")
        assert.include(reason.message, "a waitAtMost of ")
      }
      const endless = Layer.build(budget({ onExceeded: "wait", waitAtMost: Infinity }))
      assert.isDefined(Context.get(yield* endless, Budget.Budget))
    }).pipe(Effect.scoped)
  )

  it.effect("is not opened by words that there are none of, and no account of it either", () =>
    Effect.gen(function* () {
      const late = yield* reasonOf(Layer.build(budget({ onExceeded: "queue" as "wait" })))
      assert.strictEqual(late._tag, "InvalidOptions")
      assert.include(late.message, 'onExceeded is none of "fail" and "wait"')
      const onLimitChange = "keep" as "set"
      for (const opened of [
        Layer.build(budget({ onLimitChange })),
        Effect.provide(Budget.open({ account: "ann", onLimitChange }), budget()),
        Effect.provide(Budget.within(Effect.void, { account: "ann", onLimitChange }), budget())
      ]) {
        const reason = yield* reasonOf<unknown, Scope.Scope>(opened)
        assert.strictEqual(reason._tag, "InvalidOptions")
        assert.include(reason.message, 'onLimitChange is none of "refuse" and "set"')
      }
    }).pipe(Effect.scoped)
  )

  it.effect("lets a call in when another ends, and fails it after waitAtMost", () =>
    Effect.gen(function* () {
      yield* Effect.forkChild(paying(80, 10)(Effect.sleep(400)))
      yield* settled
      const patient = yield* Effect.forkChild(pay(70))
      yield* settled
      yield* TestClock.adjust(400)
      yield* Fiber.join(patient)
      assert.deepStrictEqual(yield* spentAndReserved, [cents(80), 0])

      yield* Effect.forkChild(paying(20, 0)(Effect.sleep(10_000)))
      yield* settled
      const late = yield* Effect.forkChild(reasonOf(pay(15)))
      yield* settled
      yield* TestClock.adjust(999)
      assert.isUndefined(late.pollUnsafe())
      yield* TestClock.adjust(1)
      includes(yield* Fiber.join(late), { _tag: "BudgetExceeded", waitedMillis: 1_000 })
    }).pipe(Effect.provide(budget({ onExceeded: "wait", waitAtMost: "1 second" })))
  )

  it.effect("can be interrupted: a timeout of 50 ms ends it at 50 ms, and holds nothing after", () =>
    Effect.gen(function* () {
      const full = yield* Effect.forkChild(paying(100, 0)(Effect.sleep(300)))
      yield* settled
      let started = false
      const waiting = yield* Effect.sync(() => (started = true)).pipe(
        paying(50),
        Effect.timeoutOption(50),
        Effect.forkChild
      )
      yield* settled
      yield* TestClock.adjust(49)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isDefined(waiting.pollUnsafe())
      yield* TestClock.adjust(250)
      yield* Fiber.join(full)
      assert.isFalse(started)
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
      assert.lengthOf((yield* Budget.Budget).outstanding(), 0)
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )

  it.effect("ends with Closed when the budget is shut, and holds nothing", () =>
    Effect.gen(function* () {
      const service = yield* Budget.Budget
      yield* Effect.forkChild(paying(100, 0)(Effect.sleep(300)))
      yield* settled
      const waiting = yield* Effect.forkChild(reasonOf(pay(50)))
      yield* settled
      yield* service.shut
      assert.strictEqual((yield* reasonOf(pay(1)))._tag, "Closed")
      yield* TestClock.adjust(300)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Closed")
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )
})

describe("accounts", () => {
  it.effect("within charges the account and everything above it, nests, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const inner = Effect.gen(function* () {
        yield* pay(5)
        const balances = yield* Budget.balances
        assert.deepStrictEqual(
          balances.map(({ account, limit, parent, spent }) => [account, parent, limit, Number(spent)]),
          [
            ["root", null, cents(100), cents(12)],
            ["root/team", "root", cents(20), cents(12)],
            ["root/team/ann", "root/team", null, cents(5)]
          ]
        )
        assert.strictEqual((yield* Budget.balance).account, "root/team/ann")
        assert.strictEqual((yield* reasonOf(pay(9)))._tag, "BudgetExceeded")
      })
      const team = Effect.andThen(pay(7), Budget.within(inner, { account: "ann" }))
      yield* Budget.within(team, { account: "team", limit: cents(20) })
      assert.deepStrictEqual(yield* spentAndReserved, [cents(12), 0])
      assert.lengthOf(yield* Budget.balances, 1)
    }).pipe(Effect.provide(budget()))
  )

  it.effect("hold for a service that was put around the budget's own", () =>
    Effect.gen(function* () {
      const own = yield* Budget.Budget
      const around = Budget.Budget.of({ ...own, acquire: (ask) => Effect.tap(own.acquire(ask), Effect.void) })
      const reason = yield* reasonOf(Budget.within(pay(50), { account: "ann", limit: cents(20) }))
      const wrapped = yield* reasonOf(Budget.within(pay(50), { account: "ann", limit: cents(20) })).pipe(
        Effect.provideService(Budget.Budget, around)
      )
      assert.deepStrictEqual(wrapped, reason)
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("within joins an open account, and conflicts on another limit", () =>
    Effect.gen(function* () {
      const ann = { account: "ann", limit: cents(10) }
      yield* Budget.within(pay(6), ann)
      const first = yield* Effect.forkChild(Budget.within(Effect.andThen(pay(6), Effect.never), ann))
      yield* settled
      assert.strictEqual((yield* reasonOf(Budget.within(pay(5), ann)))._tag, "BudgetExceeded")
      yield* Budget.within(pay(4), { account: "ann" })
      const conflict = yield* reasonOf(Budget.within(Effect.void, { account: "ann", limit: cents(11) }))
      includes(conflict, { _tag: "AccountConflict", limit: cents(10), asked: cents(11) })
      yield* Fiber.interrupt(first)
      assert.lengthOf(yield* Budget.balances, 1)
      yield* Budget.within(pay(10), ann)
      assert.deepStrictEqual(yield* spentAndReserved, [cents(26), 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("within closes its account on success, failure, defect and interruption", () =>
    Effect.gen(function* () {
      const ann = { account: "ann", limit: cents(10) }
      yield* Effect.exit(Budget.within(Effect.fail("no"), ann))
      yield* Effect.exit(Budget.within(Effect.die("bug"), ann))
      const fiber = yield* Effect.forkChild(Budget.within(Effect.never, ann))
      yield* settled
      assert.lengthOf(yield* Budget.balances, 2)
      yield* Fiber.interrupt(fiber)
      assert.lengthOf(yield* Budget.balances, 1)
    }).pipe(Effect.provide(budget()))
  )

  it.effect("that cannot be closed is no reason to lose what was paid for", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      const down = BudgetError.because(new BudgetError.LedgerUnavailable({ detail: "gone" }))
      const broken = Layer.succeed(
        Ledger.Ledger,
        Ledger.Ledger.of({ ...books, close: () => Effect.fail(down) })
      )
      const value = yield* Budget.within(Effect.succeed("paid"), { account: "ann" }).pipe(
        Effect.provide(Layer.provide(Budget.layer({ limit: cents(1) }), broken))
      )
      assert.strictEqual(value, "paid")
    }).pipe(quiet)
  )

  it.effect("refuses names that are no part of a path", () =>
    Effect.gen(function* () {
      for (const account of ["", "a/b", "/", "a\nb", "\u0000", "a\u007f", "x".repeat(257)]) {
        for (const refused of [Budget.within(Effect.void, { account }), Budget.open({ account })]) {
          assert.strictEqual((yield* reasonOf(refused))._tag, "InvalidAccount")
        }
      }
      for (const account of ["a", "ann.smith-7", "名前", "x".repeat(256), "__proto__"]) {
        yield* Budget.within(pay(0), { account, limit: cent })
      }
      assert.lengthOf(yield* Budget.balances, 1)
      const bad = yield* reasonOf(Budget.within(Effect.void, { account: "a", limit: NaN as Usd.Usd }))
      assert.strictEqual(bad._tag, "InvalidAmount")
    }).pipe(Effect.provide(budget()))
  )

  it.effect("open keeps an account and its books until the budget ends, and no longer", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      const session = Effect.gen(function* () {
        yield* Budget.open({ account: "ann", limit: cents(10) })
        yield* Budget.open({ account: "ann", limit: cents(10) })
        assert.strictEqual(
          (yield* reasonOf(Budget.open({ account: "ann", limit: cents(9) })))._tag,
          "AccountConflict"
        )
        yield* Budget.within(pay(4), { account: "ann" })
        yield* Budget.within(pay(6), { account: "ann" })
        assert.strictEqual(
          (yield* reasonOf(Budget.within(pay(1), { account: "ann" })))._tag,
          "BudgetExceeded"
        )
        yield* Budget.within(Budget.open({ account: "below" }), { account: "ann" })
        return (yield* Budget.balances).map((balance) => `${balance.account} ${Usd.format(balance.spent)}`)
      }).pipe(Effect.provide(Budget.layer({ limit: cents(100) }), { local: true }))
      for (let again = 0; again < 3; again++) {
        assert.deepStrictEqual(yield* session, ["root $0.10", "root/ann $0.10", "root/ann/below $0.00"])
        assert.deepStrictEqual(yield* ledger.balances, [])
      }
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )

  it.effect("ten thousand agents leave no account behind, and their spending stays in the books", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(
        Array.from({ length: many(10_000) }, (_, index) => index),
        (index) =>
          Budget.within(Effect.andThen(Effect.yieldNow, pay(1)), { account: `agent-${index}`, limit: cent }),
        { concurrency: "unbounded", discard: true }
      )
      const balances = yield* Budget.balances
      assert.lengthOf(balances, 1)
      assert.strictEqual(balances[0]?.spent, many(10_000) * cent)
    }).pipe(Effect.provide(budget({ limit: Usd.dollars("100") })))
  )

  it.effect("belong to their ledger: another budget inside charges its own", () =>
    Effect.gen(function* () {
      const other = Budget.layerMemory({ limit: cents(5), account: "other" })
      const inside = Effect.gen(function* () {
        const service = yield* Budget.Budget
        const next = yield* Effect.forkChild(Stream.runHead(service.events))
        yield* settled
        yield* service.refuse(BudgetError.because(new BudgetError.UnknownModel({ model: "x" })))
        const [event] = (yield* Fiber.join(next)).pipe((option) =>
          option._tag === "Some" ? [option.value] : []
        )
        includes(event, { _tag: "Refused", account: "other" })
        yield* pay(5)
        return (yield* Budget.balance).account
      })
      const nested = Budget.within(Effect.provide(inside, other), { account: "ann" })
      assert.strictEqual(yield* nested, "other")
      assert.deepStrictEqual(yield* spentAndReserved, [0, 0])
    }).pipe(Effect.provide(budget()))
  )
})

describe("what a budget tells", () => {
  it.effect("track gives what was spent inside, of many at once each its own", () =>
    Effect.gen(function* () {
      const tracked = yield* Effect.forEach(
        [1, 2, 3, 4],
        (amount) =>
          Effect.succeed(amount).pipe(
            Effect.tap(Effect.yieldNow),
            paying(10, amount),
            Effect.tap(pay(2)),
            Budget.track
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        tracked.map(({ spent, value }) => [value, Number(spent)]),
        [1, 2, 3, 4].map((amount) => [amount, cents(amount + 2)])
      )
      assert.lengthOf(yield* Budget.balances, 1)
    }).pipe(Effect.provide(budget()))
  )

  it.effect("a summary adds up: calls, refusals, overruns, caps, and each label's part", () =>
    Effect.gen(function* () {
      const service = yield* Budget.Budget
      const used = Usage.make({ input: 10, output: 2 })
      for (const [amount, verdict, label] of [
        [3, "metered", "gpt-4o"],
        [9, "metered", "gpt-4o"],
        [5, "assumed", "__proto__"]
      ] as const) {
        const reservation = yield* service.acquire({ least: cents(5) })
        yield* service.settle(reservation, { amount: cents(amount), verdict, label, usage: used })
        // Once ended, nothing more is of effect.
        yield* service.settle(reservation, { amount: cents(1), verdict, label })
        yield* service.release(reservation)
      }
      yield* service.release(yield* service.acquire({ least: cents(7) }))
      const open = yield* service.acquire({ least: cents(8) })
      yield* service.capped("gpt-4o", 100)
      service.unverified("unverifiedHost")
      service.unverified("unverifiedHost")
      yield* service.refuse(BudgetError.because(new BudgetError.UnknownModel({ model: "x" })))
      yield* reasonOf(service.acquire({ least: cents(90) }))
      const summary = yield* Budget.summary
      assert.deepStrictEqual(service.outstanding(), [open])
      const { byModel, ...sums } = summary
      assert.deepStrictEqual(sums, {
        limit: cents(100),
        spent: cents(17),
        reserved: cents(8),
        remaining: cents(75),
        nextWindow: null,
        calls: 3,
        refused: 2,
        capped: 1,
        overrun: cents(4),
        unverified: ["unverifiedHost"]
      })
      const twice = Usage.add(used, used)
      assert.deepStrictEqual(Object.entries(byModel), [
        ["gpt-4o", { calls: 2, spent: cents(12), assumed: Usd.zero, usage: twice, closest: 0 }],
        ["__proto__", { calls: 1, spent: cents(5), assumed: cents(5), usage: used, closest: 0 }]
      ])
      assert.deepStrictEqual(yield* spentAndReserved, [cents(17), cents(8)])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("a settlement that is told twice at once, while its entry is being written, counts once", () =>
    Effect.gen(function* () {
      const service = yield* Budget.Budget
      const reservation = yield* service.acquire({ least: cents(5) })
      const settle = service.settle(reservation, { amount: cents(3), verdict: "metered" })
      const both = yield* Effect.forkChild(Effect.all([settle, settle], { concurrency: 2 }))
      yield* settled
      yield* TestClock.adjust(50)
      yield* Fiber.join(both)
      includes(yield* Budget.summary, { calls: 1, spent: cents(3), reserved: Usd.zero })
    }).pipe(Effect.provide(budget({}, { sink: () => Effect.sleep(50) })))
  )

  it.effect("events tell each step, in order, with its account", () =>
    Effect.gen(function* () {
      const told = yield* Budget.events.pipe(Stream.take(8), Stream.runCollect, Effect.forkChild)
      yield* settled
      yield* Budget.within(pay(5, 6), { account: "ann" })
      yield* Effect.exit(
        Effect.fail("no").pipe(Budget.withBudget({ quote: cents(5), cost: () => cent, onFailure: "release" }))
      )
      yield* Effect.exit(pay(500))
      const service = yield* Budget.Budget
      yield* service.capped("gpt-4o", 4_096)
      const broken = yield* service.acquire({ least: cent })
      yield* service.settle(broken, { amount: NaN as Usd.Usd, verdict: "metered" })
      const events = yield* Fiber.join(told)
      assert.deepStrictEqual(
        events.map((event) => `${event._tag} ${event.account}`),
        [
          "Reserved root/ann",
          "Settled root/ann",
          "Reserved root",
          "Released root",
          "Refused root",
          "Capped root",
          "Reserved root",
          "Unsettled root"
        ]
      )
      const [reserved, bill] = events
      includes(reserved, { amount: cents(5) })
      includes(bill, {
        reserved: cents(5),
        amount: cents(6),
        overrun: cent,
        verdict: "metered",
        label: "effect"
      })
      // What could not be booked stays held.
      assert.deepStrictEqual(service.outstanding(), [broken])
      assert.deepStrictEqual(yield* spentAndReserved, [cents(6), cent])
    }).pipe(Effect.provide(budget()), quiet)
  )

  it.effect("another end of what has ended is of no effect, and nothing is told of it", () =>
    Effect.gen(function* () {
      const budget = yield* Budget.Budget
      const logged: Array<string> = []
      const told: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(budget.events, ({ _tag }) => Effect.sync(() => void told.push(_tag)))
      )
      yield* settled
      yield* Effect.gen(function* () {
        const one = yield* budget.acquire({ least: cents(5) })
        yield* budget.settle(one, { amount: cent, verdict: "metered" })
        yield* budget.settle(one, { amount: cents(2), verdict: "metered" })
        yield* budget.release(one)
        const other = yield* budget.acquire({ least: cents(5) })
        yield* budget.release(other)
        yield* budget.release(other)
        yield* budget.settle(other, { amount: cent, verdict: "metered" })
      }).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])))
      yield* settled
      assert.deepStrictEqual(told, ["Reserved", "Settled", "Reserved", "Released"])
      assert.deepStrictEqual(logged, [])
      assert.deepStrictEqual(yield* spentAndReserved, [Number(cent), 0])
    }).pipe(Effect.provide(budget()))
  )

  it.effect("a ledger that dies as it books an end takes no result with it, and what it has stays held", () =>
    Effect.gen(function* () {
      const memory = yield* Ledger.makeMemory()
      const bug = (): never => {
        throw new Error("a bug of the ledger")
      }
      for (const verb of ["settle", "release"] as const) {
        for (const dies of [bug, () => Effect.suspend(bug)]) {
          const ledger = Ledger.Ledger.of({ ...memory, [verb]: dies })
          const logged: Array<string> = []
          const logger = Logger.make(({ message }) => void logged.push(String(message)))
          yield* Effect.gen(function* () {
            const told: Array<Budget.Event> = []
            yield* Effect.forkChild(
              Stream.runForEach(Budget.events, (each) => Effect.sync(() => told.push(each)))
            )
            yield* settled
            const call = Effect.succeed("paid").pipe(
              Effect.flatMap((value) => (verb === "release" ? Effect.fail(value) : Effect.succeed(value))),
              Budget.withBudget({ quote: cents(5), cost: () => cent, onFailure: "release" })
            )
            const exit = yield* Effect.exit(call)
            assert.deepStrictEqual(exit, verb === "release" ? Exit.fail("paid") : Exit.succeed("paid"))
            yield* settled
            const unsettled = told.flatMap((each) => (each._tag === "Unsettled" ? [each] : []))
            assert.deepStrictEqual(
              unsettled.map(({ amount, kept }) => [amount, kept]),
              [[verb === "release" ? 0 : cent, false]]
            )
            assert.include(unsettled[0]?.error.message, "it died as it ended something")
            const budget = yield* Budget.Budget
            assert.deepStrictEqual(
              budget.outstanding().map(({ amount }) => amount),
              [cents(5)]
            )
            assert.strictEqual((yield* Budget.summary).reserved, cents(5))
            assert.strictEqual(logged.length, 2)
            assert.include(logged[0], "The ledger died")
            assert.include(logged[1], "stays held")
          }).pipe(
            Effect.provide(Budget.layer({ limit: cents(100) })),
            Effect.provideService(Ledger.Ledger, ledger),
            Effect.provide(Logger.layer([logger]))
          )
        }
      }
    })
  )

  it.effect("setLimit holds for the current account, and wakes those who wait", () =>
    Effect.gen(function* () {
      yield* pay(95)
      assert.strictEqual((yield* reasonOf(pay(10)))._tag, "BudgetExceeded")
      yield* Effect.forkChild(paying(5, 0)(Effect.sleep(1_000)))
      yield* settled
      const waiting = yield* Effect.forkChild(pay(4))
      yield* settled
      assert.isUndefined(waiting.pollUnsafe())
      yield* Budget.setLimit(cents(104))
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* Budget.summary).limit, cents(104))
      yield* Budget.within(
        Effect.andThen(
          Budget.setLimit(cents(1)),
          Effect.flatMap(reasonOf(pay(2)), (reason) =>
            Effect.sync(() => includes(reason, { account: "root/ann", limit: cent }))
          )
        ),
        { account: "ann", limit: cents(3) }
      )
      assert.strictEqual((yield* Budget.summary).limit, cents(104))
      assert.strictEqual((yield* reasonOf(Budget.setLimit(-1 as Usd.Usd)))._tag, "InvalidAmount")
    }).pipe(Effect.provide(budget({ onExceeded: "wait" })))
  )

  it.effect("the last of two limits that are set at once is the one that the summary shows", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.makeMemory()
      // The answer to the first comes after that to the second.
      const slow: typeof ledger = {
        ...ledger,
        setLimit: (account, limit) =>
          Effect.tap(ledger.setLimit(account, limit), () =>
            limit === cents(3) ? Effect.sleep(1_000) : Effect.void
          )
      }
      const both = Effect.gen(function* () {
        const first = yield* Effect.forkChild(Budget.setLimit(cents(3)))
        yield* settled
        const second = yield* Effect.forkChild(Budget.setLimit(cents(5)))
        yield* settled
        yield* TestClock.adjust(1_000)
        yield* Fiber.join(first)
        yield* Fiber.join(second)
        assert.deepStrictEqual(
          [(yield* Budget.balance).limit, (yield* Budget.summary).limit],
          [cents(5), cents(5)]
        )
      })
      const layer = Layer.provide(Budget.layer({ limit: cents(2) }), Layer.succeed(Ledger.Ledger, slow))
      yield* Effect.provide(both, layer)
    })
  )

  it.effect("a layer fails for a limit that is none, and for an account that is open with another", () =>
    Effect.gen(function* () {
      const build = (limit: Usd.Usd) =>
        reasonOf(Effect.provide(Budget.balance, Budget.layer({ limit }), { local: true }))
      assert.strictEqual((yield* build(NaN as Usd.Usd))._tag, "InvalidAmount")
      yield* (yield* Ledger.Ledger).open({ account: "root", limit: cents(1) })
      assert.strictEqual((yield* build(cents(2)))._tag, "AccountConflict")
    }).pipe(Effect.provide(Ledger.layerMemory()))
  )
})

describe("ten thousand fibers", () => {
  /** A memory ledger that looks at every account after each verb. */
  const audited = (findings: Array<string>, entries: Array<Ledger.Entry>, looks: { count: number }) =>
    Layer.effect(
      Ledger.Ledger,
      Effect.map(
        Ledger.makeMemory({ entries: 10, sink: (entry) => Effect.sync(() => void entries.push(entry)) }),
        (books) => {
          const audit = Effect.tap(books.balances, (balances) =>
            Effect.sync(() => {
              looks.count++
              for (const finding of Invariants.soundBalances(balances))
                if (findings.length < 20) findings.push(finding)
            })
          )
          const after = <A, E>(verb: Effect.Effect<A, E>): Effect.Effect<A, E> =>
            Effect.onExit(verb, () => Effect.ignore(audit))
          return Ledger.Ledger.of({
            ...books,
            open: (request) => after(books.open(request)),
            close: (account) => after(books.close(account)),
            reserve: (request) => after(books.reserve(request)),
            settle: (reservation, charge) => after(books.settle(reservation, charge)),
            release: (reservation) => after(books.release(reservation))
          })
        }
      )
    )

  for (const onExceeded of ["fail", "wait"] as const) {
    it.live(
      `that fail, time out and are interrupted at random never pass a limit and leave nothing held (${onExceeded})`,
      () => {
        const findings: Array<string> = []
        const entries: Array<Ledger.Entry> = []
        const looks = { count: 0 }
        const outcomes: Record<string, number> = {}
        const one = Effect.fnUntraced(function* (index: number) {
          const [what, team, agent, size] = [
            yield* Random.nextIntBetween(0, 6),
            yield* Random.nextIntBetween(0, 4),
            yield* Random.nextIntBetween(0, 3),
            yield* Random.nextIntBetween(1, 40)
          ]
          const work = Effect.andThen(
            Effect.forEach(Array.from({ length: what + 1 }), () => Effect.yieldNow, { discard: true }),
            what === 0
              ? Effect.fail("no")
              : what === 1
                ? Effect.die("bug")
                : what === 2
                  ? Effect.sleep(2)
                  : Effect.void
          )
          const call = work.pipe(
            Budget.withBudget({
              quote: Usd.nanos(size),
              cost: () => Usd.nanos(Math.floor(size / 7)),
              onFailure: index % 2 === 0 ? "release" : () => Usd.nanos(1)
            }),
            Budget.within({ account: `agent-${agent}`, limit: Usd.nanos(4_000) }),
            Budget.within({ account: `team-${team}`, limit: Usd.nanos(9_000) })
          )
          const fiber = yield* Effect.forkChild(what === 3 ? Effect.timeout(call, 1) : call)
          if (what === 4) {
            yield* Effect.forEach(Array.from({ length: index % 9 }), () => Effect.yieldNow, { discard: true })
            yield* Fiber.interrupt(fiber)
          }
          const exit = yield* Fiber.await(fiber)
          const outcome = Exit.isSuccess(exit)
            ? "done"
            : Exit.hasInterrupts(exit)
              ? "interrupted"
              : BudgetError.find(Cause.squash(exit.cause)) === undefined
                ? "failed"
                : "refused"
          outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        })
        return Effect.gen(function* () {
          for (const account of [0, 1, 2, 3])
            yield* Budget.open({ account: `team-${account}`, limit: Usd.nanos(9_000) })
          yield* Effect.forEach(
            Array.from({ length: many(10_000) }, (_, index) => index),
            one,
            {
              concurrency: "unbounded",
              discard: true
            }
          )
          const balances = yield* Budget.balances
          held(findings)
          held(Invariants.nothingReserved(balances))
          held(Invariants.soundBalances(balances))
          held(Invariants.soundEntries(entries))
          held(Invariants.spentIsBooked(balances, entries))
          assert.lengthOf(balances, 5)
          assert.isAbove(looks.count, many(40_000))
          assert.lengthOf((yield* Budget.Budget).outstanding(), 0)
          for (const outcome of ["done", "interrupted", "failed", "refused"]) {
            assert.isAtLeast(outcomes[outcome] ?? 0, many(100), `${outcome}: ${JSON.stringify(outcomes)}`)
          }
        }).pipe(
          Effect.provide(
            Budget.layer({ limit: Usd.nanos(12_000), onExceeded, waitAtMost: 20 }).pipe(
              Layer.provide(audited(findings, entries, looks))
            )
          )
        )
      }
    )
  }
})
