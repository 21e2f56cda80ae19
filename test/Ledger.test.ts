import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, Ledger, Usd } from "agent-budget"
import { Arbitrary, Clock, Effect, Fiber, References, Schema, Scheduler, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Tree from "../src/internal/accountTree.ts"
import { includes } from "./utils/assertions.ts"
import * as Invariants from "./utils/invariants.ts"
import { type Coverage, ops, playOut } from "./utils/ledgerModel.ts"
import { many } from "./utils/many.ts"
import { movedBy } from "./utils/moved.ts"

type Books = Ledger.Ledger["Service"]

const usd = Usd.nanos
const held = (nobody: ReadonlyArray<string>) => assert.deepStrictEqual(nobody, [])

/** `root` of 100 with `root/a` (60), `root/b` (no limit) and `root/a/x` (30) below it; amounts in nano-dollars. */
const tree = (options?: Ledger.MemoryOptions): Effect.Effect<Books> =>
  Effect.gen(function* () {
    const books = yield* Ledger.makeMemory(options)
    yield* books.open({ account: "root", limit: usd(100) })
    yield* books.open({ account: "root/a", parent: "root", limit: usd(60) })
    yield* books.open({ account: "root/b", parent: "root" })
    yield* books.open({ account: "root/a/x", parent: "root/a", limit: usd(30) })
    return books
  }).pipe(Effect.orDie)

const take = (books: Books, account: string, least: number) => books.reserve({ account, least: usd(least) })
const wait = (books: Books, account: string, least: number, millis = 60_000) =>
  books.reserve({ account, least: usd(least), waitAtMost: millis })
const metered = (amount: number): Ledger.Charge => ({ amount: usd(amount), verdict: "metered" })

const reasonOf = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>): Effect.Effect<BudgetError.Reason> =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => error.reason)
const tagOf = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>) =>
  Effect.map(reasonOf(effect), (reason) => reason._tag)

const numbers = (books: Books, account: string) =>
  Effect.map(books.balance(account), ({ reserved, spent }) => [Number(spent), Number(reserved)])

/** Lets every fiber run that can. */
const settled = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })
const isDone = (fiber: Fiber.Fiber<unknown, unknown>): boolean => fiber.pollUnsafe() !== undefined

describe("a reservation", () => {
  it.effect("of another ledger, or made by hand, is refused", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const foreign = yield* take(yield* tree(), "root", 5)
      const own = yield* take(books, "root", 5)
      const { account, amount, at, expiresAt, id } = own
      for (const other of [foreign, { account, amount, at, expiresAt, id }]) {
        assert.strictEqual(yield* tagOf(books.settle(other, metered(5))), "ReservationConflict")
        assert.strictEqual(yield* tagOf(books.release(other)), "ReservationConflict")
      }
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 5])
    })
  )

  it.effect("bears the time of its ledger's clock, and so does its end, the first entry", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      yield* TestClock.setTime(1_234)
      const reservation = yield* take(books, "root/a/x", 20)
      includes(reservation, { at: 1_234, expiresAt: null })
      yield* TestClock.setTime(1_235)
      const entry = yield* books.settle(reservation, metered(15))
      includes(entry, { seq: 1, at: 1_235 })
      assert.strictEqual(yield* books.settle(reservation, metered(15)), entry)
      assert.deepStrictEqual(yield* Stream.runCollect(books.entries()), [entry])
    })
  )
})

describe("an account", () => {
  it.effect("is there until the last who joined it has left, and what is below it", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      yield* books.open({ account: "root/a", parent: "root", limit: usd(60) })
      yield* books.open({ account: "root/a", parent: "root" })
      // Opened three times in all, and kept by the account below it.
      for (let times = 0; times < 3; times++) {
        yield* books.close("root/a")
        assert.deepStrictEqual(yield* numbers(books, "root/a"), [0, 0])
      }
      assert.strictEqual(yield* tagOf(take(books, "root/a/x", 61)), "BudgetExceeded")
      yield* books.close("root/a/x")
      assert.strictEqual(yield* tagOf(books.balance("root/a")), "InvalidAccount")
    })
  )
})

describe("the entries", () => {
  it.effect(
    "keep the newest in order, give each to the sink, and keep totals exact past what they hold",
    () =>
      Effect.gen(function* () {
        const told: Array<Ledger.Entry> = []
        const sink = (entry: Ledger.Entry) => Effect.sync(() => void told.push(entry))
        const books = yield* Ledger.makeMemory({ entries: 64, sink })
        yield* books.open({ account: "root" })
        const count = many(100_003)
        let total = 0n
        for (let index = 0; index < count; index++) {
          // A third of a cent and a bit: what floats lose.
          const amount = 3_333_333 + (index % 7)
          const reservation = yield* take(books, "root", amount)
          if (index % 10 === 9) yield* books.release(reservation)
          else {
            yield* books.settle(reservation, metered(amount))
            total += BigInt(amount)
          }
        }
        const kept = yield* Stream.runCollect(books.entries())
        assert.lengthOf(kept, 64)
        held(Invariants.entriesInOrder(kept, count - 63))
        assert.lengthOf(told, count)
        held(Invariants.soundEntries(told))
        held(Invariants.spentIsBooked(yield* books.balances, told))
        assert.strictEqual(BigInt((yield* books.balance("root")).spent), total)
        for (const entry of kept) assert.isTrue(Schema.is(Ledger.Entry)(entry))
      })
  )

  it.effect("are all there until the ring is full, a thousand unless said, none if none are wanted", () =>
    Effect.gen(function* () {
      for (const [entries, written, kept] of [
        [undefined, 999, 999],
        [undefined, 1_000, 1_000],
        [undefined, 1_001, 1_000],
        [3, 2, 2],
        [0, 5, 0]
      ] as const) {
        const books = yield* tree({ entries })
        for (let index = 0; index < written; index++) yield* books.setLimit("root", usd(index))
        const found = yield* Stream.runCollect(books.entries())
        assert.lengthOf(found, kept)
        held(Invariants.entriesInOrder(found, written - kept + 1))
      }
    })
  )

  it.effect(
    "reach the sink of one who is interrupted, and a sink that dies takes no settlement with it",
    () =>
      Effect.gen(function* () {
        const told: Array<number> = []
        const slow = yield* tree({
          sink: (entry) =>
            Effect.andThen(
              Effect.sleep(50),
              Effect.sync(() => void told.push(entry.seq))
            )
        })
        const fiber = yield* Effect.forkChild(
          Effect.flatMap(take(slow, "root", 5), (reservation) => slow.settle(reservation, metered(5)))
        )
        yield* settled
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* TestClock.adjust(50)
        yield* Fiber.join(interrupting)
        assert.deepStrictEqual(told, [1])

        const dying = yield* tree({ sink: () => Effect.die("the disk is full") })
        const entry = yield* dying.settle(yield* take(dying, "root", 5), metered(5))
        assert.strictEqual(entry.seq, 1)
        assert.deepStrictEqual(yield* numbers(dying, "root"), [5, 0])
      })
  )
})

describe("the sink", () => {
  it.effect("hears of an admission once, also of one whose caller goes away as it is told", () =>
    Effect.gen(function* () {
      const told: Array<number> = []
      const sink = ({ seq }: Ledger.Entry) =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => told.push(seq))
        )
      const books = yield* tree({ admissions: true, sink })
      const full = yield* take(books, "root", 100)
      const waiting = yield* Effect.forkChild(wait(books, "root/b", 50))
      yield* settled
      const releasing = yield* Effect.forkChild(books.release(full))
      while (told.length < 6) yield* Effect.yieldNow
      yield* Fiber.interrupt(waiting)
      yield* Fiber.join(releasing)
      // Four accounts, the first admission and its release, the second and its own.
      assert.deepStrictEqual(told, [1, 2, 3, 4, 5, 6, 7, 8])
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 0])
    })
  )

  it.effect("hears of what was booked, whenever its caller is interrupted", () =>
    Effect.gen(function* () {
      let met = 0
      for (let every = 2; every <= 12; every++) {
        for (let turns = 0; turns <= 6; turns++) {
          const told: Array<number> = []
          const books = yield* tree({ sink: ({ seq }) => Effect.sync(() => told.push(seq)) })
          const held = yield* take(books, "root", 100)
          const ending = Effect.andThen(books.settle(held, metered(1)), books.setLimit("root", usd(7)))
          const fiber = yield* Effect.forkChild(
            Effect.provideService(ending, Scheduler.MaxOpsBeforeYield, every)
          )
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
          if (!isDone(fiber)) met++
          yield* Fiber.interrupt(fiber)
          const booked = yield* Stream.runCollect(books.entries())
          assert.deepStrictEqual(
            told,
            booked.map(({ seq }) => seq),
            `a yield every ${every} steps, interrupted after ${turns}`
          )
        }
      }
      assert.isAbove(met, 20)
    })
  )
})

describe("a wait", () => {
  it.effect("ends after waitAtMost, to the millisecond, with the time it waited, and frees its place", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const full = yield* take(books, "root", 90)
      const late = yield* Effect.forkChild(Effect.flip(wait(books, "root/b", 50, 250)))
      const behind = yield* Effect.forkChild(wait(books, "root/a", 10, 60_000))
      yield* settled
      yield* TestClock.adjust(249)
      assert.isFalse(isDone(late) || isDone(behind))
      yield* TestClock.adjust(1)
      yield* settled
      const { reason } = yield* Fiber.join(late)
      includes(reason, { _tag: "BudgetExceeded", account: "root", required: 50, waitedMillis: 250 })
      assert.include(reason.message, "after waiting 250 ms")
      assert.strictEqual((yield* Fiber.join(behind)).amount, 10)
      yield* books.release(full)
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 10])
    })
  )

  it.effect("loses no wake-up, however often the fibers yield to each other", () =>
    Effect.gen(function* () {
      for (let every = 3; every <= 40; every++) {
        for (let after = 0; after <= 12; after++) {
          const books = yield* tree()
          const full = yield* take(books, "root", 100)
          const waiting = wait(books, "root/b", 50).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, every),
            Effect.exit
          )
          const fiber = yield* Effect.forkChild(waiting)
          yield* Effect.forEach(Array.from({ length: after }), () => Effect.yieldNow, { discard: true })
          yield* books.release(full)
          for (let turn = 0; turn < 100 && !isDone(fiber); turn++) yield* Effect.yieldNow
          assert.isTrue(isDone(fiber), `a yield every ${every} steps, released after ${after}`)
          yield* Fiber.interrupt(fiber)
        }
      }
    })
  )

  for (const [who, act] of [
    ["someone settles", (books: Books, full: Ledger.Reservation) => books.settle(full, metered(100))],
    ["someone looks", (books: Books) => books.balance("root")]
  ] as const) {
    it.effect(`lets in for the window that it is when ${who}, before the wait itself has noticed`, () => {
      let now = 0
      const nanos = () => BigInt(now) * 1_000_000n
      const still: Clock.Clock = {
        currentTimeMillisUnsafe: () => now,
        currentTimeMillis: Effect.sync(() => now),
        currentTimeNanosUnsafe: nanos,
        currentTimeNanos: Effect.sync(nanos),
        monotonicTimeNanosUnsafe: nanos,
        monotonicTimeNanos: Effect.sync(nanos),
        sleep: () => Effect.never
      }
      return Effect.gen(function* () {
        const books = yield* Ledger.makeMemory({ admissions: true })
        yield* books.open({ account: "root", limit: usd(100), window: { rolling: "1 minute" } })
        const full = yield* take(books, "root", 100)
        const waiting = yield* Effect.forkChild(wait(books, "root", 40))
        yield* settled
        now = 90_000
        yield* act(books, full)
        const held = yield* Fiber.join(waiting)
        const [entry] = Array.from(yield* Stream.runCollect(books.entries())).filter(
          (each) => each._tag === "Reserved" && each.reservation === held.id
        )
        assert.deepStrictEqual(entry?.chain, [{ account: "root", window: 90_000 }])
        assert.deepStrictEqual(yield* numbers(books, "root"), [0, 40])
        yield* books.settle(held, metered(30))
        assert.deepStrictEqual(yield* numbers(books, "root"), [30, 0])
      }).pipe(Effect.provideService(Clock.Clock, still))
    })
  }

  it.effect("ends when its account closes, and lets in whoever stood behind it", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const full = yield* take(books, "root", 90)
      const first = yield* Effect.forkChild(tagOf(wait(books, "root/a/x", 20)))
      yield* settled
      const second = yield* Effect.forkChild(wait(books, "root/b", 10))
      yield* settled
      yield* books.close("root/a/x")
      assert.strictEqual(yield* Fiber.join(first), "InvalidAccount")
      assert.strictEqual((yield* Fiber.join(second)).amount, 10)
      yield* books.open({ account: "root/a/x", parent: "root/a", limit: usd(30) })
      yield* books.release(full)
      yield* settled
      assert.deepStrictEqual(yield* numbers(books, "root/a/x"), [0, 0])
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 10])
    })
  )

  it("forgets those who gave up behind one who is stuck, and serves the others in order", () => {
    const account = Tree.make("root", undefined, 10)
    Tree.hold({ account, least: 5, most: 5, share: 1 })
    const served: Array<number> = []
    const queue = (ticket: number, least: number): Tree.Waiter => {
      const waiter: Tree.Waiter = {
        account,
        least,
        most: least,
        share: 1,
        ticket,
        state: "waiting",
        queuedAt: undefined,
        granted: () => () => void served.push(ticket),
        refused: () => () => assert.fail("there is hope"),
        closed: () => () => assert.fail("it is open"),
        turn: () => []
      }
      Tree.join(waiter)
      return waiter
    }
    queue(0, 9)
    for (let ticket = 1; ticket <= 10_000; ticket++) {
      const waiter = queue(ticket, 1)
      if (ticket % 1_000 !== 0) Tree.withdraw(waiter)
      assert.isAtMost(account.queue.length, 66)
    }
    Tree.book(account, 5, 0, account.links)
    for (const tell of Tree.wake(account)) tell()
    assert.deepStrictEqual(served, [0, 1_000])
    Tree.book(account, 10, 0, account.links)
    for (const tell of Tree.wake(account)) tell()
    assert.deepStrictEqual(served, [0, ...Array.from({ length: 10 }, (_, index) => (index + 1) * 1_000)])
  })
})

describe("a long line", () => {
  /** Who waits, each asked for its ticket `looks.count` times. */
  const lines = (length: number) => {
    const looks = { count: 0 }
    const waiting = (account: Tree.Account, ticket: number): Tree.Waiter => ({
      account,
      least: 1,
      most: 1,
      share: 1,
      get ticket() {
        looks.count++
        return ticket
      },
      state: "waiting",
      queuedAt: undefined,
      granted: () => () => undefined,
      refused: () => () => assert.fail("there is hope"),
      closed: () => () => undefined,
      turn: () => []
    })
    const join = (account: Tree.Account, from: number): ReadonlyArray<Tree.Waiter> =>
      Array.from({ length }, (_, index) => {
        const waiter = waiting(account, from + index)
        Tree.join(waiter)
        return waiter
      })
    return { looks, join }
  }

  const length = 4_096
  /** To join or to leave a heap of both lines is less than two looks a level and one for itself, with one more on the way. */
  const most = 2 * length * (2 * Math.log2(2 * length) + 2)

  it("takes those who move to it before those who stand in it, without passing each of them", () => {
    const root = Tree.make("root", undefined, 10)
    Tree.hold({ account: root, least: 10, most: 10, share: 1 })
    const held = Tree.make("root/held", root, 10)
    held.paused = true
    const { join, looks } = lines(length)
    const moved = join(held, 0)
    const others = join(Tree.make("root/free", root, 10), length)
    held.paused = false
    looks.count = 0
    Tree.wake(held)
    assert.isBelow(looks.count, most)
    assert.isTrue(moved.every((each) => each.queuedAt === root))
    Tree.book(root, 10, 0, root.links)
    Tree.wake(root)
    assert.deepStrictEqual(
      [...moved, ...others].flatMap(({ state }, index) => (state === "granted" ? [index] : [])),
      Array.from({ length: 10 }, (_, index) => index)
    )
  })

  it("moves nobody up for each who leaves from its front, as those do whose time is over", () => {
    const root = Tree.make("root", undefined, 10)
    Tree.hold({ account: root, least: 10, most: 10, share: 1 })
    const line = lines(length).join(root, 0)
    const moved = movedBy(() => line.forEach(Tree.withdraw))
    assert.isBelow(moved, length)
    assert.isAtMost(root.queue.length, 1)
  })
})

describe("the next window", () => {
  it("is the first that begins on the chain; without windows there is none", () => {
    const frame = (length: number) => ({
      key: `${length}`,
      rolls: false,
      at: (now: number) => ({ start: now - (now % length), end: now - (now % length) + length })
    })
    const root = Tree.make("root", undefined, 100, frame(30))
    const middle = Tree.make("root/a", root, 100)
    const below = Tree.make("root/a/x", middle, 100, frame(20))
    Tree.turn(below, 5, true)
    assert.deepStrictEqual([root, middle, below].map(Tree.nextTurn), [30, 30, 20])
    Tree.turn(below, 25, true)
    assert.deepStrictEqual([root, middle, below].map(Tree.nextTurn), [30, 30, 30])
    assert.strictEqual(Tree.nextTurn(Tree.make("other", undefined, 100)), Tree.unlimited)
  })
})

describe("the invariants that these tests look for", () => {
  const balance = (
    parts: Partial<Record<"limit" | "spent" | "reserved" | "available", number>>
  ): Ledger.Balance => ({
    account: "root",
    parent: null,
    limit: usd(parts.limit ?? 100),
    spent: usd(parts.spent ?? 0),
    reserved: usd(parts.reserved ?? 0),
    available: usd(parts.available ?? 100),
    paused: false,
    windowStart: null,
    windowEnd: null
  })
  const entry = (seq: number, amount: number, overrun = 0): Ledger.Entry => ({
    _tag: "Settled",
    seq,
    at: 0,
    account: "root/a",
    chain: [
      { account: "root/a", window: null },
      { account: "root", window: null }
    ],
    reservation: "1",
    reserved: usd(10),
    amount: usd(amount),
    overrun: usd(overrun),
    verdict: "metered",
    label: null
  })

  it("are found where they are broken", () => {
    const found = (findings: ReadonlyArray<string>) => assert.isNotEmpty(findings)
    found(Invariants.withinLimits([balance({ spent: 60, reserved: 41 })]))
    held(Invariants.withinLimits([balance({ spent: 60, reserved: 40 })]))
    found(Invariants.balancesAddUp([balance({ spent: 1 })]))
    found(Invariants.balancesAddUp([balance({ spent: -1, available: 101 })]))
    found(Invariants.balancesAddUp([{ ...balance({}), limit: null }]))
    found(
      Invariants.parentsHoldChildren([
        balance({}),
        { ...balance({ spent: 1 }), account: "root/a", parent: "root" }
      ])
    )
    found(Invariants.nothingReserved([balance({ reserved: 1 })]))
    found(Invariants.entriesInOrder([entry(1, 1), entry(3, 1)]))
    found(Invariants.endedOnce([entry(1, 1), entry(2, 1)]))
    found(Invariants.overrunsAreTrue([entry(1, 12, 1)]))
    found(Invariants.overrunsAreTrue([entry(1, 9, 1)]))
    found(Invariants.spentIsBooked([balance({ spent: 11 })], [entry(1, 12)]))
    assert.strictEqual(Invariants.settledOn([entry(1, 12, 2)], "root"), 12n)
    assert.strictEqual(Invariants.settledOn([entry(1, 12, 2)], "root/ab"), 0n)
    found(Invariants.eventsKeepLimits([{ _tag: "Released", account: "root", reservation: "1" }], {}))
  })
})

describe("the memory ledger", () => {
  it.effect("agrees with a model in plain arithmetic, whatever happens in whatever order", () =>
    Effect.gen(function* () {
      const seen: Coverage = {}
      const result = yield* Arbitrary.checkEffect(
        ops,
        (sequence) => Effect.as(playOut(sequence, seen), true),
        // The same sequences in every run, so that a red one says something of the change at hand.
        { runs: many(400), size: 200, maxShrinks: 300, seed: process.env.PROPERTY_SEED ?? "a tree of five" }
      )
      assert.isUndefined(Arbitrary.formatCheckFailure(result))
      for (const event of [
        "granted at once",
        "granted a part",
        "refused at once",
        "hopeless at once",
        "began to wait",
        "granted after waiting",
        "hopeless later",
        "passed a waiter",
        "left the line",
        "left in the tick of its grant",
        "timed out",
        "settled",
        "overran",
        "released",
        "raised a limit",
        "lowered a limit",
        "closed with reservations"
      ]) {
        assert.isAtLeast(seen[event] ?? 0, many(50), event)
      }
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )
})

describe("a clock that is changed by half an hour", () => {
  it.effect("has its hours follow each other: none begins before the last one has ended", () =>
    Effect.gen(function* () {
      // There it is 1:30 again after 2:00.
      const changed = Date.UTC(2024, 3, 6, 15)
      yield* TestClock.setTime(changed - 1)
      const books = yield* Ledger.makeMemory({ admissions: true })
      yield* books.open({
        account: "root",
        limit: usd(100),
        window: { every: "hour", timeZone: "Australia/Lord_Howe" }
      })
      const early = yield* take(books, "root", 60)
      yield* TestClock.adjust(1)
      const { windowEnd, windowStart } = yield* books.balance("root")
      assert.deepStrictEqual([windowStart, windowEnd], [changed, changed + 1_800_000])
      yield* take(books, "root", 100)
      yield* books.release(early)
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 100])
    })
  )
})

describe("a clock that is set back", () => {
  it.effect("begins no rolling window in one that has ended: what is held there frees nothing here", () =>
    Effect.gen(function* () {
      const books = yield* Ledger.makeMemory({ admissions: true })
      yield* books.open({ account: "root", limit: usd(100), window: { rolling: "1 minute" } })
      const early = yield* take(books, "root", 60)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 0])
      yield* TestClock.setTime(0)
      yield* take(books, "root", 100)
      const { windowEnd, windowStart } = yield* books.balance("root")
      assert.deepStrictEqual([windowStart, windowEnd], [60_000, 120_000])
      yield* books.release(early)
      assert.deepStrictEqual(yield* numbers(books, "root"), [0, 100])
    })
  )
})
