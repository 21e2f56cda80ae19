/**
 * The contract of a ledger as a suite that every engine runs whole. Amounts are nano-dollars.
 *
 * An engine says how to make books, how to connect to them once more, and how time passes for it. Where it has a
 * clock that nobody can move (a server's), it moves an offset that its verbs add, and `live` lets the rest of the suite
 * wait in real time for what happens by itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Deferred, type Duration, Effect, Exit, Fiber, Schema, Scope, Stream } from "effect"
import { includes } from "./utils/assertions.ts"
import * as Arithmetic from "./utils/ledgerArithmetic.ts"
import { uncaught } from "./utils/uncaught.ts"

type Books = Ledger.Ledger["Service"]

/** Books that one test has to itself. */
export interface Fixture {
  /**
   * A ledger over these books. Again: another one over the same, as another process would have it, where the engine can
   * be shared; else the same one.
   */
  readonly connect: (options?: {
    readonly lease?: Duration.Input | undefined
    /** The longest interval at which waiters look for room; engines in real time have one of their own. */
    readonly poll?: Duration.Input | undefined
    /** Asks reach the store in the order in which they are made, and may stand in line for it long. */
    readonly serial?: boolean | undefined
  }) => Effect.Effect<Books, BudgetError.BudgetError, Scope.Scope>
  /** Moves the clock that decides, and with it what waits for time in this process. */
  readonly advance: (millis: number) => Effect.Effect<void>
}

/** What a suite must know of its engine. */
export interface Engine {
  readonly fixture: Effect.Effect<Fixture, BudgetError.BudgetError, Scope.Scope>
  /** Tests run in real time, without `TestClock`. */
  readonly live: boolean
  /** Several ledgers share the books, which outlive each of them. */
  readonly shared: boolean
}

const usd = Usd.nanos
const hour = 3_600_000

const take = (books: Books, account: string, least: number) => books.reserve({ account, least: usd(least) })
const wait = (books: Books, account: string, least: number, waitAtMost: Duration.Input = "1 hour") =>
  books.reserve({ account, least: usd(least), waitAtMost })
const metered = (amount: number): Ledger.Charge => ({ amount: usd(amount), verdict: "metered" })
const spend = (books: Books, account: string, amount: number) =>
  Effect.flatMap(take(books, account, amount), (held) => books.settle(held, metered(amount)))

const reasonOf = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>): Effect.Effect<BudgetError.Reason> =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => error.reason)
const tagOf = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>) =>
  Effect.map(reasonOf(effect), (reason) => reason._tag)
const numbers = (books: Books, account: string) =>
  Effect.map(books.balance(account), ({ reserved, spent }) => [Number(spent), Number(reserved)])
/** A name or an id as a caller without types may give it. */
const untyped = (name: unknown) => name as string
const isDone = (fiber: Fiber.Fiber<unknown, unknown>): boolean => fiber.pollUnsafe() !== undefined

/** `root` of 100 with `root/a` (60), `root/b` (no limit) and `root/a/x` (30) below it. */
const openTree = (books: Books) =>
  Effect.gen(function* () {
    yield* books.open({ account: "root", limit: usd(100) })
    yield* books.open({ account: "root/a", parent: "root", limit: usd(60) })
    yield* books.open({ account: "root/b", parent: "root" })
    yield* books.open({ account: "root/a/x", parent: "root/a", limit: usd(30) })
  })

const audited = (books: Books) =>
  Effect.gen(function* () {
    const report = yield* LedgerAudit.audit(books)
    assert.deepStrictEqual(report.findings, [])
    assert.isTrue(report.whole && report.quiet)
    for (const entry of yield* Stream.runCollect(books.entries()))
      assert.isTrue(Schema.is(Ledger.Entry)(entry))
  })

interface Tools extends Fixture {
  readonly books: Books
  /** Lets time pass until it is so; in the suite's own steps. */
  readonly until: (
    what: string,
    isSo: Effect.Effect<boolean, BudgetError.BudgetError>,
    steps?: number
  ) => Effect.Effect<void, BudgetError.BudgetError>
  /** Lets everything happen that happens without time. */
  readonly settle: Effect.Effect<void>
}

/** The suite for an engine. */
export const ledgerSuite = (name: string, engine: Engine): void => {
  const step = 25
  const test = (
    title: string,
    body: (tools: Tools) => Effect.Effect<void, BudgetError.BudgetError, Scope.Scope>,
    options?: {
      readonly lease?: Duration.Input
      readonly poll?: Duration.Input
      readonly empty?: boolean
      readonly serial?: boolean
    }
  ) => {
    const run = Effect.scoped(
      Effect.gen(function* () {
        const fixture = yield* engine.fixture
        const books = yield* fixture.connect({
          lease: options?.lease,
          poll: options?.poll,
          serial: options?.serial
        })
        if (options?.empty !== true) yield* openTree(books)
        const pass = engine.live ? Effect.sleep(step) : fixture.advance(step)
        const settle = Effect.forEach(Array.from({ length: engine.live ? 6 : 8 }), () => pass, {
          discard: true
        })
        const until: Tools["until"] = (what, isSo, steps = 400) => {
          const look = (left: number): Effect.Effect<void, BudgetError.BudgetError> =>
            Effect.flatMap(isSo, (now) => {
              if (now) return Effect.void
              if (left === 0) return Effect.die(new Error(`never so: ${what}`))
              return Effect.andThen(pass, look(left - 1))
            })
          return look(steps)
        }
        yield* body({ ...fixture, books, until, settle })
        yield* audited(books)
      })
    )
    const timeout = options?.serial === true ? 120_000 : undefined
    if (engine.live) it.live(title, () => run, timeout)
    else it.effect(title, () => run, timeout)
  }

  describe(`${name}: a reservation`, () => {
    test("is held on the whole chain, and settled there for what it cost", ({ books }) =>
      Effect.gen(function* () {
        const held = yield* take(books, "root/a/x", 20)
        includes(held, { account: "root/a/x", amount: 20 })
        for (const account of ["root", "root/a", "root/a/x"]) {
          assert.deepStrictEqual(yield* numbers(books, account), [0, 20])
        }
        assert.deepStrictEqual(yield* numbers(books, "root/b"), [0, 0])
        const entry = yield* books.settle(held, { ...metered(15), label: "m" })
        includes(entry, {
          _tag: "Settled",
          account: "root/a/x",
          reservation: held.id,
          reserved: 20,
          amount: 15
        })
        includes(entry, { overrun: 0, label: "m", verdict: "metered" })
        assert.deepStrictEqual(
          entry.chain.map((link) => link.account),
          ["root/a/x", "root/a", "root"]
        )
        for (const account of ["root", "root/a", "root/a/x"]) {
          assert.deepStrictEqual(yield* numbers(books, account), [15, 0])
        }
      }))

    test("is refused by the account that lacks the room, with its numbers, and takes nothing anywhere", ({
      books
    }) =>
      Effect.gen(function* () {
        yield* take(books, "root/b", 50)
        const before = yield* books.balances
        for (const [account, least, blocker, limit] of [
          ["root/a/x", 31, "root/a/x", 30],
          ["root/a", 61, "root/a", 60],
          ["root/a", 51, "root", 100],
          ["root/b", 51, "root", 100]
        ] as const) {
          const reason = yield* reasonOf(take(books, account, least))
          includes(reason, {
            _tag: "BudgetExceeded",
            account: blocker,
            limit,
            required: least,
            waitedMillis: 0
          })
        }
        assert.deepStrictEqual(yield* books.balances, before)
        assert.strictEqual((yield* take(books, "root/b", 50)).amount, 50)
      }))

    test("is released without a trace but its entry", ({ books }) =>
      Effect.gen(function* () {
        const before = yield* books.balances
        const held = yield* take(books, "root/a/x", 20)
        const entry = yield* books.release(held)
        includes(entry, { _tag: "Released", account: "root/a/x", reservation: held.id, reserved: 20 })
        assert.deepStrictEqual(yield* books.balances, before)
      }))

    test("ends once: the same again answers the same, anything else is refused and changes nothing", ({
      books
    }) =>
      Effect.gen(function* () {
        const one = yield* take(books, "root/a", 20)
        const other = yield* take(books, "root/a", 10)
        const settledOnce = yield* books.settle(one, metered(5))
        const releasedOnce = yield* books.release(other)
        const before = yield* books.balances
        assert.deepStrictEqual(yield* books.settle(one, metered(5)), settledOnce)
        assert.deepStrictEqual(yield* books.release(other), releasedOnce)
        const conflicts = [
          books.settle(one, metered(6)),
          books.settle(one, { amount: usd(5), verdict: "assumed" }),
          books.release(one),
          books.settle(other, metered(0))
        ]
        for (const conflict of conflicts) assert.strictEqual(yield* tagOf(conflict), "ReservationConflict")
        assert.deepStrictEqual(yield* books.balances, before)
        const ends = (yield* Stream.runCollect(books.entries())).filter(
          ({ _tag }) => _tag === "Settled" || _tag === "Released"
        )
        assert.deepStrictEqual(ends, [settledOnce, releasedOnce])
      }))

    test("with an id of the caller's is the same when it is asked for again, and no other", ({ books }) =>
      Effect.gen(function* () {
        const ask = { account: "root/a", least: usd(10), most: usd(40), share: 0.5, id: "mine" }
        const first = yield* books.reserve(ask)
        assert.deepStrictEqual([first.id, Number(first.amount)], ["mine", 30])
        const again = yield* books.reserve(ask)
        includes(again, { id: "mine", amount: 30, at: first.at })
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 30])
        for (const other of [
          { ...ask, least: usd(11) },
          { ...ask, account: "root/b" },
          { ...ask, share: 1 }
        ]) {
          assert.strictEqual(yield* tagOf(books.reserve(other)), "ReservationConflict")
        }
        yield* books.settle(again, metered(3))
        assert.strictEqual(yield* tagOf(books.reserve(ask)), "ReservationConflict")
        assert.deepStrictEqual(yield* numbers(books, "root"), [3, 0])
      }))

    const named = (books: Books, least: number, id: string, waitAtMost?: Duration.Input) =>
      books.reserve({ account: "root/b", least: usd(least), id, waitAtMost })

    test("under one id of the caller's is one, however many ask for it at once", ({ books, connect }) =>
      Effect.gen(function* () {
        const ledgers = [books, yield* connect()]
        const asks = Array.from({ length: 24 }, (_, index) =>
          named(ledgers[index % 2] ?? books, 10, "mine", index % 3 === 0 ? "1 hour" : undefined)
        )
        const [first, ...others] = yield* Effect.all(asks, { concurrency: "unbounded" })
        for (const { amount, at, id } of others) {
          assert.deepStrictEqual([id, amount, at], [first?.id, first?.amount, first?.at])
        }
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 10])
        const racing = [10, 11, 10, 11, 10, 11].map((least, index) =>
          Effect.result(named(ledgers[index % 2] ?? books, least, "raced", index < 3 ? "1 hour" : undefined))
        )
        const told = yield* Effect.all(racing, { concurrency: "unbounded" })
        const amounts = told.map((each) =>
          each._tag === "Success" ? Number(each.success.amount) : each.failure.reason._tag
        )
        const [won] = amounts.filter((each) => typeof each === "number")
        assert.sameMembers(amounts, [
          ...[won, won, won],
          ...["ReservationConflict", "ReservationConflict", "ReservationConflict"]
        ])
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 10 + Number(won)])
        yield* books.settle(first as Ledger.Reservation, metered(4))
        assert.deepStrictEqual(yield* numbers(books, "root"), [4, Number(won)])
      }))

    test("under an id of the caller's that some wait for is one, also when one of them leaves", ({
      books,
      connect,
      settle,
      until
    }) =>
      Effect.gen(function* () {
        const other = yield* connect()
        const full = yield* take(books, "root", 100)
        const fibers: Array<Fiber.Fiber<Ledger.Reservation, BudgetError.BudgetError>> = []
        for (const ledger of [books, books, other, books]) {
          fibers.push(yield* Effect.forkChild(named(ledger, 80, "mine", "1 hour")))
          yield* settle
        }
        assert.strictEqual(yield* tagOf(named(books, 79, "mine", "1 hour")), "ReservationConflict")
        const [first, ...rest] = fibers
        if (first !== undefined) yield* Fiber.interrupt(first)
        yield* books.release(full)
        yield* until(
          "the others have it",
          Effect.sync(() => rest.every(isDone))
        )
        const got = yield* Effect.forEach(rest, (fiber) => Fiber.join(fiber))
        assert.deepStrictEqual(
          got.map(({ amount, id }) => [id, Number(amount)]),
          rest.map(() => ["mine", 80])
        )
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 80])
        includes(yield* books.settle(got[0] as Ledger.Reservation, metered(7)), { _tag: "Settled" })
        assert.deepStrictEqual(yield* numbers(books, "root"), [7, 0])
      }))

    test("under an id of the caller's reaches those in line when one who does not wait gets it", ({
      books,
      settle,
      until
    }) =>
      Effect.gen(function* () {
        const some = yield* take(books, "root", 30)
        yield* take(books, "root", 70)
        const large = yield* Effect.forkChild(wait(books, "root/b", 30))
        yield* settle
        const waiting = yield* Effect.forkChild(named(books, 20, "mine", "1 hour"))
        yield* settle
        yield* books.settle(some, metered(10))
        yield* settle
        assert.isFalse(isDone(large) || isDone(waiting))
        const passed = yield* named(books, 20, "mine")
        yield* until(
          "the one in line",
          Effect.sync(() => isDone(waiting))
        )
        const { amount, at } = yield* Fiber.join(waiting)
        assert.deepStrictEqual([amount, at], [passed.amount, passed.at])
        assert.deepStrictEqual(yield* numbers(books, "root"), [10, 90])
        yield* Fiber.interrupt(large)
      }))

    test("under an id of the caller's outlives the interruption of any who ask for it", ({
      books,
      connect
    }) =>
      Effect.gen(function* () {
        const other = yield* connect()
        for (let turns = 0; turns < 14; turns++) {
          const id = `mine ${turns}`
          const waitAtMost = turns % 2 === 0 ? undefined : "1 hour"
          const leaving = yield* Effect.forkChild(named(books, 10, id, waitAtMost))
          const staying = yield* Effect.forkChild(named(turns % 3 === 0 ? other : books, 10, id, waitAtMost))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* Fiber.interrupt(leaving)
          const held = yield* Fiber.join(staying)
          includes(yield* books.renew(held), { id })
          includes(yield* books.settle(held, metered(1)), { _tag: "Settled", reservation: id })
          // Nobody else asked: it is there for whoever asks again, and is no other's.
          const alone = yield* Effect.forkChild(named(books, 10, `${id} alone`, waitAtMost))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* Fiber.interrupt(alone)
          yield* books.release(yield* named(books, 10, `${id} alone`))
        }
        assert.deepStrictEqual(yield* numbers(books, "root"), [14, 0])
      }))

    test("under an id of the caller's is found again after its account has closed", ({ books }) =>
      Effect.gen(function* () {
        yield* books.open({ account: "root/t", parent: "root", temporary: true })
        const ask = { account: "root/t", least: usd(10), id: "mine" }
        const { at } = yield* books.reserve(ask)
        yield* books.close("root/t")
        includes(yield* books.reserve(ask), { id: "mine", at, amount: 10 })
        assert.strictEqual(yield* tagOf(books.reserve({ ...ask, id: "other" })), "InvalidAccount")
      }))

    test("under an id that is no text is refused, for those who call without types", ({ books }) =>
      Effect.gen(function* () {
        for (const id of ["2", "123", "null"]) yield* books.reserve({ account: "root", least: usd(1), id })
        // Redis would take all numbers of three digits with the same second one for one.
        for (const id of [123, 929, 2, null, {}].map(untyped)) {
          const ask = { account: "root", least: usd(1), id }
          assert.strictEqual(yield* tagOf(books.reserve(ask)), "InvalidAmount")
          assert.strictEqual(yield* tagOf(books.reserve({ ...ask, waitAtMost: "1 hour" })), "InvalidAmount")
          const held = { id, account: "root", amount: usd(1), at: 0, expiresAt: null }
          assert.strictEqual(yield* tagOf(books.settle(held, metered(1))), "ReservationConflict")
          assert.strictEqual(yield* tagOf(books.release(held)), "ReservationConflict")
          assert.strictEqual(yield* tagOf(books.renew(held)), "ReservationConflict")
        }
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 3])
      }))

    test("that nobody made here is refused", ({ books }) =>
      Effect.gen(function* () {
        const own = yield* take(books, "root", 5)
        const foreign = { ...own, id: "nobody made this", amount: own.amount }
        assert.strictEqual(yield* tagOf(books.settle(foreign, metered(5))), "ReservationConflict")
        assert.strictEqual(yield* tagOf(books.release(foreign)), "ReservationConflict")
        assert.strictEqual(yield* tagOf(books.renew(foreign)), "ReservationConflict")
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 5])
      }))

    test("that cost more than it held is booked in full, and nothing is admitted until the limit covers it", ({
      books
    }) =>
      Effect.gen(function* () {
        const entry = yield* books.settle(yield* take(books, "root/a", 10), metered(130))
        includes(entry, { amount: 130, overrun: 120 })
        assert.strictEqual((yield* books.balance("root")).available, -30)
        assert.strictEqual(yield* tagOf(take(books, "root/b", 0)), "BudgetExceeded")
        yield* books.setLimit("root", usd(131))
        assert.strictEqual((yield* take(books, "root/b", 1)).amount, 1)
      }))

    test("takes its share of what the whole chain has, between the least and the most", ({ books }) =>
      Effect.gen(function* () {
        yield* take(books, "root/b", 60)
        const ask = (share: number, least: number, most: number) =>
          Effect.flatMap(
            books.reserve({ account: "root/a/x", least: usd(least), most: usd(most), share }),
            (held) => Effect.as(books.release(held), Number(held.amount))
          )
        assert.strictEqual(yield* ask(0.5, 1, 100), 15)
        assert.strictEqual(yield* ask(0.5, 1, 12), 12)
        assert.strictEqual(yield* ask(0.1, 7, 12), 7)
        assert.strictEqual(yield* ask(1, 1, 100), 30)
        assert.strictEqual(yield* ask(0.55, 1, 100), 16)
        assert.strictEqual(yield* tagOf(ask(1, 31, 100)), "BudgetExceeded")
        yield* take(books, "root/b", 20)
        assert.strictEqual(yield* ask(0.5, 1, 100), 10)
      }))

    test("of many fibers of several ledgers at once never passes a limit", ({ books, connect }) =>
      Effect.gen(function* () {
        const other = yield* connect()
        const accounts = ["root/a/x", "root/a", "root/b"]
        const exits = yield* Effect.forEach(
          Array.from(
            { length: 120 },
            (_, index) => [index % 2 === 0 ? books : other, accounts[index % 3]] as const
          ),
          ([each, account = "root"]) => Effect.exit(take(each, account, 7)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 14)
        assert.deepStrictEqual(LedgerAudit.withinLimits(yield* books.balances), [])
      }))

    test("of an amount that is none is refused", ({ books }) =>
      Effect.gen(function* () {
        // Not `Usd.nanos`: what arrives without it.
        const bad = (amount: number) => amount as Usd.Usd
        const held = yield* take(books, "root", 5)
        for (const amount of [NaN, -1, 0.5, Infinity, 2 ** 53].map(bad)) {
          for (const refused of [
            books.reserve({ account: "root", least: amount }),
            books.reserve({ account: "root", least: usd(1), most: amount }),
            books.reserve({ account: "root", least: amount, waitAtMost: 10 }),
            books.settle(held, { amount, verdict: "metered" }),
            books.setLimit("root", amount),
            books.open({ account: "other", limit: amount })
          ]) {
            assert.strictEqual(yield* tagOf<unknown>(refused), "InvalidAmount")
          }
        }
        for (const share of [0, -1, 1.01, NaN]) {
          const refused = books.reserve({ account: "root", least: usd(1), most: usd(2), share })
          assert.strictEqual(yield* tagOf(refused), "InvalidAmount")
        }
        assert.strictEqual(
          yield* tagOf(books.reserve({ account: "root", least: usd(2), most: usd(1) })),
          "InvalidAmount"
        )
        for (const waitAtMost of [NaN, -1, -Infinity, "soon" as "1 second"]) {
          assert.strictEqual(
            yield* tagOf(books.reserve({ account: "root", least: usd(1), waitAtMost })),
            "InvalidAmount",
            String(waitAtMost)
          )
        }
        for (const wrong of [{ verdict: "released" }, { label: 7 }] as const) {
          // What arrives from callers without types.
          const charge = { ...metered(5), ...wrong } as unknown as Ledger.Charge
          assert.strictEqual(yield* tagOf(books.settle(held, charge)), "InvalidAmount", JSON.stringify(wrong))
        }
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 5])
        assert.lengthOf(yield* books.balances, 4)
        const patient = yield* books.reserve({ account: "root", least: usd(1), waitAtMost: Infinity })
        assert.strictEqual(patient.amount, 1)
      }))

    test(
      "that would take the books out of the exact range stays held",
      ({ books }) =>
        Effect.gen(function* () {
          yield* books.open({ account: "root" })
          yield* take(books, "root", Number.MAX_SAFE_INTEGER - 1)
          const last = yield* take(books, "root", 1)
          assert.strictEqual(yield* tagOf(take(books, "root", 1)), "BudgetExceeded")
          assert.strictEqual(yield* tagOf(books.settle(last, metered(2))), "InvalidAmount")
          yield* books.setLimit("root", Usd.zero)
          assert.strictEqual((yield* books.balance("root")).available, -Number.MAX_SAFE_INTEGER)
          assert.isNotEmpty((yield* reasonOf(take(books, "root", 1))).message)
          yield* books.settle(last, metered(1))
          assert.deepStrictEqual(yield* numbers(books, "root"), [1, Number.MAX_SAFE_INTEGER - 1])
        }),
      { empty: true }
    )
  })

  describe(`${name}: an account`, () => {
    test("is joined by its name, with its limit or none said, and conflicts with another", ({ books }) =>
      Effect.gen(function* () {
        yield* books.open({ account: "root/a", parent: "root", limit: usd(60) })
        yield* books.open({ account: "root/a", parent: "root" })
        yield* books.open({ account: "root/b", parent: "root", limit: null })
        const other = (request: Ledger.OpenRequest) => tagOf(books.open(request))
        const reason = yield* reasonOf(books.open({ account: "root/a", parent: "root", limit: usd(61) }))
        includes(reason, { _tag: "AccountConflict", account: "root/a", limit: 60, asked: 61 })
        for (const limit of [null, usd(0)]) {
          assert.strictEqual(yield* other({ account: "root/a", parent: "root", limit }), "AccountConflict")
        }
        assert.strictEqual(
          yield* other({ account: "root/b", parent: "root", limit: usd(1) }),
          "AccountConflict"
        )
        for (const request of [
          { account: "root/a/x", parent: "root/b" },
          { account: "root/a" },
          { account: "root", parent: "root/b" },
          { account: "new", parent: "nowhere" },
          { account: "" },
          { account: "root/a", parent: "root", window: { every: "day" } },
          { account: "new", window: { every: "day", timeZone: "Moon/Crater" } },
          { account: "new", window: { rolling: 0 } },
          { account: "new", thresholds: [0.5, 1.1] },
          { account: "new", thresholds: [0] }
        ] as const) {
          assert.strictEqual(yield* other(request), "InvalidAccount", JSON.stringify(request))
        }
        assert.lengthOf(yield* books.balances, 4)
      }))

    test("whose name is no text is refused by every verb, for those who call without types", ({ books }) =>
      Effect.gen(function* () {
        // What these would be called where a text is made of them.
        for (const account of ["5", "null", "undefined", "true"]) {
          yield* books.open({ account, parent: "root", limit: usd(10) })
        }
        const before = yield* books.balances
        for (const name of [5, null, undefined, true, {}]) {
          const account = untyped(name)
          const verbs: ReadonlyArray<Effect.Effect<unknown, BudgetError.BudgetError>> = [
            books.open({ account }),
            books.open({ account, limit: usd(10), temporary: true }),
            ...(name === undefined ? [] : [books.open({ account: "below", parent: account })]),
            take(books, account, 1),
            wait(books, account, 1),
            books.setLimit(account, usd(5)),
            books.pause(account),
            books.resume(account),
            books.balance(account),
            books.close(account)
          ]
          for (const verb of verbs) assert.strictEqual(yield* tagOf(verb), "InvalidAccount")
          const read = Stream.runDrain(books.entries({ account }))
          if (name !== undefined) assert.strictEqual(yield* tagOf(read), "InvalidOptions")
        }
        assert.deepStrictEqual(yield* books.balances, before)
      }))

    test("that is not open is refused by every verb", ({ books }) =>
      Effect.gen(function* () {
        for (const refused of [
          books.balance("x"),
          books.close("x"),
          books.setLimit("x", usd(1)),
          books.pause("x"),
          books.resume("x"),
          take(books, "x", 1),
          wait(books, "x", 1)
        ]) {
          assert.strictEqual(yield* tagOf<unknown>(refused), "InvalidAccount")
        }
      }))

    test("that is temporary is gone with the last who leaves it; its books stay in its ancestors'", ({
      books
    }) =>
      Effect.gen(function* () {
        const agent = { account: "root/a/t", parent: "root/a", limit: usd(25), temporary: true }
        yield* books.open(agent)
        yield* books.open(agent)
        yield* spend(books, "root/a/t", 5)
        const outliving = yield* take(books, "root/a/t", 18)
        const released = yield* take(books, "root/a/t", 2)
        yield* books.close("root/a/t")
        assert.deepStrictEqual(yield* numbers(books, "root/a/t"), [5, 20])
        includes(yield* books.close("root/a/t"), { account: "root/a/t", spent: 5, reserved: 20 })
        assert.strictEqual(yield* tagOf(books.balance("root/a/t")), "InvalidAccount")
        assert.deepStrictEqual(yield* numbers(books, "root/a"), [5, 20])
        // The name is free: a new account of it knows nothing of the old one.
        yield* books.open({ ...agent, limit: usd(7) })
        yield* books.settle(outliving, metered(15))
        yield* books.release(released)
        assert.deepStrictEqual(yield* numbers(books, "root/a/t"), [0, 0])
        assert.deepStrictEqual(yield* numbers(books, "root/a"), [20, 0])
        assert.deepStrictEqual(yield* numbers(books, "root"), [20, 0])
      }))

    test("bounds those below it, also when all who opened it have left", ({ books }) =>
      Effect.gen(function* () {
        yield* books.open({ account: "root/t", parent: "root", limit: usd(10), temporary: true })
        yield* books.open({ account: "root/t/u", parent: "root/t", temporary: true })
        yield* books.close("root/t")
        includes(yield* reasonOf(take(books, "root/t/u", 11)), { _tag: "BudgetExceeded", account: "root/t" })
        const held = yield* take(books, "root/t/u", 9)
        assert.deepStrictEqual(yield* numbers(books, "root/t"), [0, 9])
        yield* books.close("root/t/u")
        for (const gone of ["root/t", "root/t/u"])
          assert.strictEqual(yield* tagOf(books.balance(gone)), "InvalidAccount")
        yield* books.settle(held, metered(8))
        assert.deepStrictEqual(yield* numbers(books, "root"), [8, 0])
      }))

    if (engine.shared) {
      test("is left by a ledger that closes: it admits nothing more, and what it held ends here or there", ({
        books,
        connect,
        until
      }) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const closing = yield* Effect.provideService(connect(), Scope.Scope, scope)
          const held = yield* Effect.forEach([10, 20], (least) => take(closing, "root", least))
          yield* Scope.close(scope, Exit.void)
          for (const late of [take(closing, "root", 1), wait(closing, "root", 1)])
            assert.strictEqual(yield* tagOf(late), "Closed")
          for (const each of held) {
            const settling = yield* Effect.forkChild(Effect.result(closing.settle(each, metered(7))))
            yield* until(
              "told",
              Effect.sync(() => isDone(settling))
            )
            const told = yield* Fiber.join(settling)
            if (told._tag === "Failure") assert.strictEqual(told.failure.reason._tag, "LedgerUnavailable")
            includes(yield* books.settle(each, metered(7)), { _tag: "Settled", amount: 7 })
          }
          assert.deepStrictEqual(yield* numbers(books, "root"), [14, 0])
        }))

      test("stays, with its books, for those who come after", ({ books, connect }) =>
        Effect.gen(function* () {
          yield* spend(books, "root/a", 5)
          yield* books.open({ account: "root/a", parent: "root", temporary: true })
          yield* books.close("root/a")
          yield* books.close("root/a")
          const later = yield* connect()
          assert.deepStrictEqual(yield* numbers(later, "root/a"), [5, 0])
          yield* later.open({ account: "root", limit: usd(100) })
          assert.strictEqual((yield* later.balance("root")).available, 95)
        }))
    }

    test("admits by the limit in force, raised, lowered below what is used, or lifted", ({ books }) =>
      Effect.gen(function* () {
        const held = yield* take(books, "root", 90)
        yield* books.setLimit("root", usd(50))
        assert.strictEqual((yield* books.balance("root")).available, -40)
        assert.strictEqual(yield* tagOf(take(books, "root", 1)), "BudgetExceeded")
        yield* books.settle(held, metered(45))
        assert.strictEqual((yield* take(books, "root", 5)).amount, 5)
        yield* books.setLimit("root", usd(60))
        yield* books.setLimit("root", usd(60))
        assert.strictEqual((yield* take(books, "root", 10)).amount, 10)
        yield* books.setLimit("root", null)
        includes(yield* books.balance("root"), { limit: null, available: null, spent: 45, reserved: 15 })
        assert.strictEqual((yield* take(books, "root", 5_000)).amount, 5_000)
        const changes = (yield* Stream.runCollect(books.entries())).filter(
          ({ _tag }) => _tag === "LimitChanged"
        )
        assert.deepStrictEqual(
          changes.map((entry) =>
            entry._tag === "LimitChanged" ? [entry.account, entry.from, entry.to] : []
          ),
          [
            ["root", 100, 50],
            ["root", 50, 60],
            ["root", 60, null]
          ]
        )
      }))

    test("that is paused admits nothing, itself and below it, until it is resumed", ({ books }) =>
      Effect.gen(function* () {
        const held = yield* take(books, "root/a/x", 10)
        yield* books.pause("root/a")
        yield* books.pause("root/a")
        assert.isTrue((yield* books.balance("root/a")).paused)
        for (const account of ["root/a", "root/a/x"]) {
          includes(yield* reasonOf(take(books, account, 1)), { _tag: "AccountPaused", account: "root/a" })
        }
        yield* take(books, "root/b", 1)
        yield* books.settle(held, metered(10))
        yield* books.resume("root/a")
        assert.strictEqual((yield* take(books, "root/a/x", 1)).amount, 1)
        const seen = (yield* Stream.runCollect(books.entries())).map(({ _tag }) => _tag)
        assert.deepStrictEqual(
          seen.filter((tag) => tag === "Paused" || tag === "Resumed"),
          ["Paused", "Resumed"]
        )
      }))

    test("tells each threshold once as it is crossed, and again only after it fell below", ({ books }) =>
      Effect.gen(function* () {
        yield* books.open({ account: "root/t", parent: "root", limit: usd(90), thresholds: [0.8, 0.5, 0.5] })
        const crossings = Effect.map(Stream.runCollect(books.entries()), (entries) =>
          entries.flatMap((entry) =>
            entry._tag === "ThresholdCrossed" ? [[entry.account, entry.threshold, Number(entry.spent)]] : []
          )
        )
        yield* spend(books, "root/t", 44)
        assert.deepStrictEqual(yield* crossings, [])
        yield* take(books, "root/t", 2)
        yield* spend(books, "root/t", 1)
        yield* spend(books, "root/t", 5)
        assert.deepStrictEqual(yield* crossings, [["root/t", 0.5, 45]])
        yield* spend(books, "root/t", 30)
        yield* books.setLimit("root/t", usd(200))
        yield* books.setLimit("root/t", usd(110))
        assert.deepStrictEqual(yield* crossings, [
          ["root/t", 0.5, 45],
          ["root/t", 0.8, 80],
          ["root/t", 0.5, 80]
        ])
      }))
  })

  describe(`${name}: a page of arithmetic`, () => {
    const millis = engine.live ? 3_000 : 60_000
    test(
      "has the same numbers and gives the same answers, at every one of a few hundred random steps",
      ({ advance, books, connect, until }) =>
        Effect.gen(function* () {
          const counts: Arithmetic.Counts = new Map()
          const abandoned: Arithmetic.Played["abandoned"] = (account, amount) =>
            Effect.gen(function* () {
              const { spent } = yield* books.balance("root")
              const held = yield* Effect.scoped(
                Effect.flatMap(connect({ lease: millis }), (dying) => take(dying, account, amount))
              )
              // And to the next time that somebody looks for what ran out: every third of the lease of these books.
              yield* advance(engine.live ? millis : millis + 20_000)
              yield* until(
                "expired",
                Effect.map(numbers(books, "root"), ([now]) => now === spent + amount)
              )
              return held
            })
          const seed = Number(process.env.PROPERTY_SEED ?? 1) || 1
          yield* Arithmetic.play({ books, abandoned, until, seed, steps: 400 }, counts)
          // Whether each of them was really tried.
          assert.deepStrictEqual(
            Arithmetic.wanted.filter((event) => (counts.get(event) ?? 0) < 2),
            [],
            JSON.stringify(Object.fromEntries(counts))
          )
        }),
      { lease: millis, empty: true, serial: true }
    )
  })

  describe(`${name}: a lease`, () => {
    // Ledgers look for leases that ran out every third of one, which takes its time where time is real.
    const millis = engine.live ? 3_000 : 60_000
    const lease: Duration.Input = millis

    /** Holds 20 in the name of a process that dies, and lets the lease run out. */
    const abandoned = ({ advance, books, connect, until }: Tools) =>
      Effect.gen(function* () {
        const held = yield* Effect.scoped(
          Effect.flatMap(connect({ lease }), (dying) => take(dying, "root/a", 20))
        )
        assert.strictEqual(held.expiresAt, held.at + millis)
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 20])
        yield* advance(millis)
        yield* until(
          "expired",
          Effect.map(numbers(books, "root"), ([spent]) => spent === 20)
        )
        assert.deepStrictEqual(yield* numbers(books, "root/a"), [20, 0])
        return held
      })

    test(
      "that runs out is charged in full, and a late settlement corrects that by an entry of its own, once",
      (tools) =>
        Effect.gen(function* () {
          const { books } = tools
          const held = yield* abandoned(tools)
          assert.strictEqual(yield* tagOf(books.renew(held)), "ReservationConflict")
          const late = yield* books.settle(held, metered(7))
          includes(late, { _tag: "Corrected", reservation: held.id, charged: 20, amount: 7, difference: -13 })
          assert.deepStrictEqual(yield* numbers(books, "root"), [7, 0])
          assert.deepStrictEqual(yield* books.settle(held, metered(7)), late)
          assert.strictEqual(yield* tagOf(books.settle(held, metered(8))), "ReservationConflict")
          assert.strictEqual(yield* tagOf(books.release(held)), "ReservationConflict")
          const ends = (yield* Stream.runCollect(books.entries())).filter(
            (entry) => entry._tag === "Expired" || entry._tag === "Corrected"
          )
          assert.deepStrictEqual(
            ends.map(({ _tag }) => _tag),
            ["Expired", "Corrected"]
          )
          includes(ends[0] ?? {}, { reservation: held.id, reserved: 20, amount: 20 })
        }),
      { lease }
    )

    test(
      "that runs out is taken back by a late release, and a late overrun is booked in full",
      (tools) =>
        Effect.gen(function* () {
          const { books } = tools
          const one = yield* abandoned(tools)
          includes(yield* books.release(one), {
            _tag: "Corrected",
            amount: 0,
            difference: -20,
            verdict: "released"
          })
          assert.deepStrictEqual(yield* numbers(books, "root"), [0, 0])
          const other = yield* abandoned(tools)
          includes(yield* books.settle(other, metered(50)), {
            _tag: "Corrected",
            difference: 30,
            overrun: 30
          })
          assert.deepStrictEqual(yield* numbers(books, "root/a"), [50, 0])
        }),
      { lease }
    )

    test(
      "that is renewed does not run out",
      ({ advance, books, settle }) =>
        Effect.gen(function* () {
          const held = yield* take(books, "root/a", 20)
          yield* advance((millis * 2) / 3)
          const renewed = yield* books.renew(held)
          assert.isAtLeast(renewed.expiresAt ?? 0, held.at + (millis * 5) / 3)
          yield* advance((millis * 2) / 3)
          yield* settle
          assert.deepStrictEqual(yield* numbers(books, "root"), [0, 20])
          includes(yield* books.settle(renewed, metered(3)), { _tag: "Settled", amount: 3 })
          assert.strictEqual(yield* tagOf(books.renew(held)), "ReservationConflict")
        }),
      { lease }
    )
  })

  describe(`${name}: a window`, () => {
    // Longer than any: where time is moved by hours, nothing has to be renewed a thousand times.
    const lease = "100 days"

    test(
      "holds its limit anew, and a call is charged to the one that admitted it",
      ({ advance, books }) =>
        Effect.gen(function* () {
          yield* books.open({ account: "root", limit: usd(1_000) })
          yield* books.open({ account: "day", parent: "root", limit: usd(50), window: { every: "day" } })
          yield* books.open({ account: "day", parent: "root", window: { every: "day", timeZone: "UTC" } })
          const before = yield* books.balance("day")
          const start = before.windowStart ?? 0
          assert.deepStrictEqual([start % (24 * hour), before.windowEnd], [0, start + 24 * hour])
          yield* spend(books, "day", 30)
          const over = yield* take(books, "day", 20)
          const reason = yield* reasonOf(take(books, "day", 1))
          includes(reason, {
            _tag: "BudgetExceeded",
            account: "day",
            spent: 30,
            nextWindow: start + 24 * hour
          })
          yield* advance(24 * hour)
          includes(yield* books.balance("day"), { spent: 0, reserved: 0, windowStart: start + 24 * hour })
          const next = yield* take(books, "day", 50)
          const entry = yield* books.settle(over, metered(15))
          assert.deepStrictEqual(entry.chain, [
            { account: "day", window: start },
            { account: "root", window: null }
          ])
          assert.deepStrictEqual(yield* numbers(books, "day"), [0, 50])
          assert.deepStrictEqual(yield* numbers(books, "root"), [45, 50])
          yield* books.settle(next, metered(50))
          assert.deepStrictEqual(yield* numbers(books, "day"), [50, 0])
        }),
      { empty: true, lease }
    )

    test(
      "that rolls begins with the first use, and again with the first after its end",
      ({ advance, books }) =>
        Effect.gen(function* () {
          yield* books.open({ account: "root", limit: usd(50), window: { rolling: "5 hours" } })
          includes(yield* books.balance("root"), { windowStart: null, windowEnd: null, available: 50 })
          const first = yield* take(books, "root", 40)
          const { windowEnd, windowStart } = yield* books.balance("root")
          assert.strictEqual(windowEnd, (windowStart ?? 0) + 5 * hour)
          assert.isAtMost(Math.abs(first.at - (windowStart ?? 0)), 5_000)
          yield* advance(4 * hour)
          assert.strictEqual(yield* tagOf(take(books, "root", 11)), "BudgetExceeded")
          yield* advance(2 * hour)
          includes(yield* books.balance("root"), { windowStart: null, spent: 0, reserved: 0 })
          const second = yield* take(books, "root", 50)
          assert.isAtLeast((yield* books.balance("root")).windowStart ?? 0, (windowStart ?? 0) + 6 * hour)
          yield* books.settle(first, metered(40))
          assert.deepStrictEqual(yield* numbers(books, "root"), [0, 50])
          yield* books.release(second)
        }),
      { empty: true, lease }
    )

    test(
      "ahead is what a waiter waits for, unless the ask is larger than any",
      ({ advance, books, settle, until }) =>
        Effect.gen(function* () {
          yield* books.open({ account: "root", limit: usd(50), window: { every: "hour" }, thresholds: [0.5] })
          yield* spend(books, "root", 50)
          includes(yield* reasonOf(wait(books, "root", 51)), { _tag: "BudgetExceeded", required: 51 })
          const fiber = yield* Effect.forkChild(wait(books, "root", 40, "10 hours"))
          yield* settle
          assert.isFalse(isDone(fiber))
          yield* advance(hour)
          yield* until(
            "a new window",
            Effect.sync(() => isDone(fiber))
          )
          yield* books.settle(yield* Fiber.join(fiber), metered(40))
          const crossed = (yield* Stream.runCollect(books.entries())).filter(
            ({ _tag }) => _tag === "ThresholdCrossed"
          )
          assert.lengthOf(crossed, 2)
        }),
      { empty: true, lease, poll: "1 minute" }
    )
  })

  describe(`${name}: the entries`, () => {
    test("are told to every reader, whatever one of them throws as it ends", ({ books, settle }) =>
      Effect.gen(function* () {
        const thrown = yield* uncaught
        const told: Array<number> = []
        const ends = Stream.filter(books.booked, ({ _tag }) => _tag === "Settled")
        const one = yield* Effect.forkChild(Stream.runHead(ends))
        one.addObserver(() => {
          throw new Error("a reader")
        })
        const note = (entry: Ledger.Entry) => Effect.sync(() => void told.push(entry.seq))
        const other = yield* Effect.forkChild(Stream.runForEach(ends, note))
        yield* settle
        const booked: Array<number> = []
        for (const amount of [5, 6, 7]) booked.push((yield* spend(books, "root/b", amount)).seq)
        yield* settle
        assert.deepStrictEqual(told, booked)
        assert.deepStrictEqual(thrown.map(String), ["Error: a reader"])
        yield* Fiber.interrupt(other)
      }))

    test("cost a reader who falls behind the oldest, and the others nothing", ({ books, settle, until }) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<undefined>()
        const read = Effect.fnUntraced(function* (then: Effect.Effect<void>) {
          const told: Array<number> = []
          const note = ({ seq }: Ledger.Entry) =>
            Effect.andThen(
              Effect.sync(() => void told.push(seq)),
              then
            )
          yield* Effect.forkChild(Stream.runForEach(books.booked, note))
          yield* settle
          return told
        })
        const [prompt, late] = [yield* read(Effect.void), yield* read(Deferred.await(gate))]
        yield* books.setLimit("root/b", usd(0))
        yield* settle
        for (let most = 300; most <= 1_200; most += 300) {
          const limits = Array.from({ length: 300 }, (_, index) => usd(most - index))
          yield* Effect.forEach(limits, (limit) => books.setLimit("root/b", limit), { concurrency: 100 })
          yield* until(
            "the one who reads at once has read them",
            Effect.sync(() => prompt.length === most + 1)
          )
        }
        yield* Deferred.succeed(gate, undefined)
        yield* settle
        assert.deepStrictEqual(late, [...prompt.slice(0, 1), ...prompt.slice(-1_024)])
      }))

    test("are read by account, with all below it, and by time", ({ advance, books }) =>
      Effect.gen(function* () {
        const first = yield* spend(books, "root/a/x", 1)
        yield* advance(10_000)
        const second = yield* spend(books, "root/a", 2)
        const third = yield* spend(books, "root/b", 3)
        assert.isAbove(second.at, first.at)
        const read = (query: Ledger.EntriesQuery) =>
          Effect.map(Stream.runCollect(books.entries(query)), (entries) =>
            entries.flatMap((entry) => (entry._tag === "Settled" ? [Number(entry.amount)] : []))
          )
        assert.deepStrictEqual(yield* read({}), [1, 2, 3])
        assert.deepStrictEqual(yield* read({ account: "root/a" }), [1, 2])
        assert.deepStrictEqual(yield* read({ account: "root/b" }), [3])
        assert.deepStrictEqual(yield* read({ account: "root", from: second.at }), [2, 3])
        assert.deepStrictEqual(yield* read({ to: second.at }), [1])
        assert.deepStrictEqual(yield* read({ account: "root/a", from: first.at, to: third.at + 1 }), [1, 2])
        // Bounds that nothing is between, that lie ahead, that are no whole milliseconds, or that are none.
        const ahead = third.at + 1_000_000
        for (const [from, to, amounts] of [
          [second.at, second.at, []],
          [third.at + 1, first.at, []],
          [ahead, undefined, []],
          [ahead, ahead + 5, []],
          [undefined, -1, []],
          [Infinity, undefined, []],
          [1e300, 1e301, []],
          [undefined, ahead, [1, 2, 3]],
          [-5, Infinity, [1, 2, 3]],
          [-Infinity, 1e300, [1, 2, 3]],
          [first.at + 0.5, third.at + 0.5, [2, 3]],
          [second.at - 0.5, second.at + 0.5, second.at === third.at ? [2, 3] : [2]],
          [first.at + 0.25, first.at + 0.75, []]
        ] as const) {
          assert.deepStrictEqual(yield* read({ from, to }), [...amounts], `${from} to ${to}`)
        }
        for (const query of [{ from: NaN }, { to: NaN }])
          assert.strictEqual(yield* tagOf(read(query)), "InvalidOptions")
      }))

    test("are all there, however many, and add up to the balances", ({ books }) =>
      Effect.gen(function* () {
        yield* books.setLimit("root", null)
        yield* Effect.forEach(
          Array.from({ length: 300 }),
          (_, index) => spend(books, index % 2 === 0 ? "root/b" : "root", 3_333_333 + index),
          { concurrency: 8 }
        )
        const entries = yield* Stream.runCollect(books.entries())
        assert.strictEqual(entries.filter(({ _tag }) => _tag === "Settled").length, 300)
        assert.strictEqual((yield* books.balance("root")).spent, 300 * 3_333_333 + (299 * 300) / 2)
      }))

    test("are told as they are booked", ({ books, settle }) =>
      Effect.gen(function* () {
        const told: Array<string> = []
        yield* Effect.forkScoped(
          Stream.runForEach(books.booked, (entry) =>
            Effect.sync(() => {
              if (entry._tag !== "Reserved") told.push(entry._tag)
            })
          )
        )
        yield* settle
        yield* spend(books, "root", 5)
        yield* books.release(yield* take(books, "root", 5))
        yield* books.setLimit("root", usd(90))
        yield* books.pause("root")
        yield* settle
        assert.deepStrictEqual(told, ["Settled", "Released", "LimitChanged", "Paused"])
      }))
  })

  describe(`${name}: a wait`, () => {
    test("ends for everybody, whatever one who waited throws when it is told", ({ books, settle, until }) =>
      Effect.gen(function* () {
        const thrown = yield* uncaught
        const full = yield* take(books, "root", 100)
        const ask = { account: "root/b", least: usd(20), waitAtMost: "1 hour" } as const
        const asks = [ask, { ...ask, id: "mine" }, { ...ask, id: "mine" }, ask]
        const fibers: Array<Fiber.Fiber<Ledger.Reservation, BudgetError.BudgetError>> = []
        for (const [index, each] of asks.entries()) {
          const fiber = yield* Effect.forkChild(books.reserve(each))
          fiber.addObserver(() => {
            if (index < 2) throw new Error(`asker ${index}`)
          })
          fibers.push(fiber)
          yield* settle
        }
        yield* books.release(full)
        yield* until(
          "all have it",
          Effect.sync(() => fibers.every(isDone))
        )
        yield* settle
        assert.deepStrictEqual(thrown.map(String), ["Error: asker 0", "Error: asker 1"])
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 60])
        const last = yield* Effect.forkChild(wait(books, "root/b", 50))
        yield* settle
        for (const id of [0, 1, 3]) {
          const fiber = fibers[id]
          if (fiber !== undefined) yield* books.release(yield* Fiber.join(fiber))
        }
        yield* Fiber.join(last)
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 50])
      }))

    test("ends in the order of asking at the account that blocks, while siblings with room pass", ({
      books,
      settle,
      until
    }) =>
      Effect.gen(function* () {
        const full = yield* take(books, "root/a", 60)
        const order: Array<string> = []
        const queue = (name: string, account: string, least: number) =>
          wait(books, account, least).pipe(
            Effect.tap(() => Effect.sync(() => void order.push(name))),
            Effect.forkChild,
            Effect.tap(() => settle)
          )
        const large = yield* queue("large", "root/a", 50)
        const small = yield* queue("small", "root/a", 1)
        const below = yield* queue("below", "root/a/x", 1)
        const sibling = yield* queue("sibling", "root/b", 30)
        assert.deepStrictEqual(order, ["sibling"])
        // Room for the small ones behind, but not for the first: nobody passes it.
        yield* books.settle(full, metered(10))
        yield* until(
          "large",
          Effect.sync(() => isDone(large))
        )
        yield* settle
        assert.deepStrictEqual(order, ["sibling", "large"])
        assert.isFalse(isDone(small) || isDone(below))
        yield* books.release(yield* Fiber.join(large))
        yield* until(
          "below",
          Effect.sync(() => isDone(small) && isDone(below))
        )
        assert.deepStrictEqual(order, ["sibling", "large", "small", "below"])
        yield* Fiber.join(sibling)
      }))

    test("fails at once where it can never fit, and as soon as that is so", ({ books, settle, until }) =>
      Effect.gen(function* () {
        const first = yield* take(books, "root/a", 40)
        includes(yield* reasonOf(wait(books, "root/a/x", 31)), {
          account: "root/a/x",
          required: 31,
          waitedMillis: 0
        })
        const hoping = yield* Effect.forkChild(reasonOf(wait(books, "root/a", 30)))
        yield* settle
        const modest = yield* Effect.forkChild(wait(books, "root/a", 25))
        yield* settle
        assert.isFalse(isDone(hoping))
        yield* books.settle(first, metered(35))
        yield* until(
          "both told",
          Effect.sync(() => isDone(hoping) && isDone(modest))
        )
        const reason = yield* Fiber.join(hoping)
        includes(reason, { _tag: "BudgetExceeded", account: "root/a", spent: 35, required: 30 })
        assert.isAtLeast(reason._tag === "BudgetExceeded" ? reason.waitedMillis : 0, 100)
        assert.strictEqual((yield* Fiber.join(modest)).amount, 25)
      }))

    test("that loses hope by what happened elsewhere lets those behind it in", ({ books, settle, until }) =>
      Effect.gen(function* () {
        yield* take(books, "root/a", 20)
        const hoping = yield* Effect.forkChild(reasonOf(wait(books, "root/a", 50)))
        yield* settle
        const behind = yield* Effect.forkChild(wait(books, "root/a", 5))
        yield* settle
        assert.isFalse(isDone(hoping) || isDone(behind))
        yield* spend(books, "root/b", 60)
        yield* until(
          "both told",
          Effect.sync(() => isDone(hoping) && isDone(behind))
        )
        includes(yield* Fiber.join(hoping), { account: "root", spent: 60, required: 50 })
        assert.strictEqual((yield* Fiber.join(behind)).amount, 5)
      }))

    test("is told by a lowered limit that it can never fit", ({ books, settle, until }) =>
      Effect.gen(function* () {
        yield* take(books, "root", 90)
        const dropped = yield* Effect.forkChild(reasonOf(wait(books, "root/b", 40)))
        yield* settle
        const patient = yield* Effect.forkChild(wait(books, "root/b", 20))
        yield* settle
        yield* books.setLimit("root", usd(39))
        yield* until(
          "dropped",
          Effect.sync(() => isDone(dropped))
        )
        includes(yield* Fiber.join(dropped), { account: "root", limit: 39, required: 40 })
        yield* settle
        assert.isFalse(isDone(patient))
        yield* books.setLimit("root", usd(110))
        yield* until(
          "woken",
          Effect.sync(() => isDone(patient))
        )
        assert.strictEqual((yield* Fiber.join(patient)).amount, 20)
      }))

    test("is woken by a raised limit and by a resume", ({ books, settle, until }) =>
      Effect.gen(function* () {
        yield* take(books, "root", 90)
        const woken = yield* Effect.forkChild(wait(books, "root/b", 20))
        yield* settle
        assert.isFalse(isDone(woken))
        yield* books.setLimit("root", usd(200))
        yield* until(
          "woken",
          Effect.sync(() => isDone(woken))
        )
        yield* books.pause("root")
        const paused = yield* Effect.forkChild(wait(books, "root/b", 20))
        yield* settle
        assert.isFalse(isDone(paused))
        yield* books.resume("root")
        yield* until(
          "resumed",
          Effect.sync(() => isDone(paused))
        )
        assert.strictEqual((yield* Fiber.join(paused)).amount, 20)
      }))

    test("ends after waitAtMost with what was in its way, and frees its place", ({ books, settle, until }) =>
      Effect.gen(function* () {
        yield* take(books, "root", 90)
        const late = yield* Effect.forkChild(reasonOf(wait(books, "root/b", 50, 500)))
        yield* settle
        const behind = yield* Effect.forkChild(wait(books, "root/a", 10))
        yield* until(
          "the one behind",
          Effect.sync(() => isDone(behind))
        )
        const reason = yield* Fiber.join(late)
        includes(reason, { _tag: "BudgetExceeded", account: "root", required: 50 })
        assert.include(reason.message, "after waiting")
        yield* books.pause("root")
        const paused = yield* Effect.forkChild(reasonOf(wait(books, "root/b", 0, 50)))
        yield* until(
          "the paused one",
          Effect.sync(() => isDone(paused))
        )
        includes(yield* Fiber.join(paused), { _tag: "AccountPaused", account: "root" })
      }))

    test("that is interrupted leaves the line", ({ books, settle, until }) =>
      Effect.gen(function* () {
        const full = yield* take(books, "root", 100)
        const first = yield* Effect.forkChild(wait(books, "root/b", 80))
        yield* settle
        const second = yield* Effect.forkChild(wait(books, "root/b", 90))
        yield* settle
        yield* Fiber.interrupt(first)
        yield* books.release(full)
        yield* until(
          "the second",
          Effect.sync(() => isDone(second))
        )
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(first)))
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 90])
      }))

    test("that is interrupted at any moment of its grant leaves nothing held", ({ books, settle, until }) =>
      Effect.gen(function* () {
        for (let turns = 0; turns < 40; turns++) {
          // An ask of the turn before may still be on its way, and is given back when it comes.
          const full = yield* wait(books, "root", 100)
          const fiber = yield* Effect.forkChild(wait(books, "root/b", 80))
          yield* settle
          const release = yield* Effect.forkChild(books.release(full))
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          yield* Fiber.join(release)
          if (Exit.isSuccess(exit)) yield* books.release(exit.value)
          yield* until(
            "nothing held",
            Effect.map(numbers(books, "root"), ([, reserved]) => reserved === 0)
          )
        }
      }))

    test("is fair between ledgers that share the books", ({ books, connect, settle, until }) =>
      Effect.gen(function* () {
        const other = yield* connect()
        // It connects here, and not when it first asks: others would be before it.
        yield* other.balance("root")
        const full = yield* take(books, "root", 100)
        const order: Array<string> = []
        const queue = (ledger: Books, name: string, least: number) =>
          wait(ledger, "root/b", least).pipe(
            Effect.tap((held) =>
              Effect.andThen(
                Effect.sync(() => void order.push(name)),
                ledger.release(held)
              )
            ),
            Effect.forkChild,
            Effect.tap(() => settle)
          )
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        fibers.push(yield* queue(other, "large", 100))
        for (let index = 0; index < 3; index++) fibers.push(yield* queue(books, `small ${index}`, 60))
        fibers.push(yield* queue(other, "last", 60))
        yield* books.release(full)
        yield* until(
          "all served",
          Effect.sync(() => fibers.every(isDone))
        )
        assert.deepStrictEqual(order, ["large", "small 0", "small 1", "small 2", "last"])
      }))

    /** Waits for the one place that there is, and tells when it is inside; of some it is not waited for. */
    const visitors = (ledgers: ReadonlyArray<Books>, count: number) =>
      Effect.gen(function* () {
        const served = ledgers.map((): Array<number> => [])
        let inside = 0
        const visit = (ledger: Books, mine: Array<number>, index: number) =>
          Effect.gen(function* () {
            const held = yield* wait(ledger, "root/b", index % 3 === 0 ? 55 : 51)
            mine.push(index)
            assert.strictEqual(++inside, 1)
            yield* Effect.yieldNow
            inside--
            yield* ledger.settle(held, metered(0))
          })
        const fibers = yield* Effect.forEach(
          Array.from({ length: count }, (_, index) => index),
          (index) => {
            const which = index % ledgers.length
            return Effect.forkChild(visit(ledgers[which] as Books, served[which] as Array<number>, index))
          }
        )
        return { served, fibers }
      })

    test(
      "of a thousand ends for each in the order of asking, one at a time, and those who leave are not waited for",
      ({ books, settle, until }) =>
        Effect.gen(function* () {
          const count = 1_000
          const full = yield* take(books, "root", 100)
          const { fibers, served } = yield* visitors([books], count)
          yield* settle
          const isLeaving = (index: number): boolean => index % 7 === 3 || index === count - 1
          const leaving = fibers.filter((_, index) => isLeaving(index))
          yield* Effect.forEach(leaving, (fiber) => Fiber.interrupt(fiber), {
            concurrency: "unbounded",
            discard: true
          })
          assert.isTrue(leaving.every(isDone))
          yield* books.release(full)
          yield* until(
            "all served",
            Effect.sync(() => fibers.every(isDone)),
            4_000
          )
          const stayed = Array.from({ length: count }, (_, index) => index).filter(
            (index) => !isLeaving(index)
          )
          assert.deepStrictEqual(served, [stayed])
          assert.deepStrictEqual(yield* numbers(books, "root"), [0, 0])
        }),
      { serial: true }
    )

    if (engine.shared) {
      test("that ends without a grant gives up its place in every ledger, at once", ({
        books,
        connect,
        settle,
        until
      }) =>
        Effect.gen(function* () {
          const other = yield* connect()
          const scope = yield* Scope.make()
          const closing = yield* Effect.provideService(connect(), Scope.Scope, scope)
          const full = yield* take(books, "root", 40)
          yield* take(books, "root", 60)
          const interrupted = yield* Effect.forkChild(wait(other, "root/b", 90))
          yield* settle
          const turnedAway = yield* Effect.forkChild(reasonOf(wait(closing, "root/b", 80)))
          yield* settle
          const behind = yield* Effect.forkChild(wait(books, "root/b", 40))
          yield* settle
          yield* Fiber.interrupt(interrupted)
          yield* Scope.close(scope, Exit.void)
          // A place that is left behind would stand in the way for longer than this.
          yield* until(
            "turned away",
            Effect.sync(() => isDone(turnedAway)),
            40
          )
          includes(yield* Fiber.join(turnedAway), { _tag: "Closed" })
          yield* books.release(full)
          yield* until(
            "the one behind",
            Effect.sync(() => isDone(behind)),
            80
          )
          assert.strictEqual((yield* Fiber.join(behind)).amount, 40)
        }))

      test("of many in two processes ends for each of them", ({ books, connect, until }) =>
        Effect.gen(function* () {
          const full = yield* take(books, "root", 100)
          const { fibers, served } = yield* visitors([books, yield* connect()], 100)
          yield* books.release(full)
          yield* until(
            "all served",
            Effect.sync(() => fibers.every(isDone)),
            4_000
          )
          assert.deepStrictEqual(
            served.map((mine) => new Set(mine).size),
            [50, 50]
          )
          assert.deepStrictEqual(yield* numbers(books, "root"), [0, 0])
        }))
    }
  })
}
