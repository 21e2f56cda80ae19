/** Those who wait at the memory ledger: in which order, under which id, and what becomes of whoever leaves. */
import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, Ledger, Usd } from "agent-budget"
import { Clock, Context, Effect, Exit, Fiber, Layer, Scheduler, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { includes } from "./utils/assertions.ts"

type Books = Ledger.Ledger["Service"]

const usd = Usd.nanos
const hour = 3_600_000

const take = (books: Books, account: string, least: number) => books.reserve({ account, least: usd(least) })
const wait = (books: Books, account: string, least: number, id?: string) =>
  books.reserve({ account, least: usd(least), waitAtMost: "10 hours", id })

/** `root` of 100 with `root/a` (60) and `root/b` (no limit) below it. */
const tree = (options?: Ledger.MemoryOptions) =>
  Effect.gen(function* () {
    const books = yield* Ledger.makeMemory(options)
    yield* books.open({ account: "root", limit: usd(100) })
    yield* books.open({ account: "root/a", parent: "root", limit: usd(60) })
    yield* books.open({ account: "root/b", parent: "root" })
    return books
  })

/** A clock that stands wherever it is put, and at which nobody wakes. */
const still = () => {
  const time = { now: 0 }
  const nanos = () => BigInt(time.now) * 1_000_000n
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => time.now,
    currentTimeMillis: Effect.sync(() => time.now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: () => Effect.never
  }
  return { clock, time }
}

const settled = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })

const fork = <A>(effect: Effect.Effect<A, BudgetError.BudgetError>) =>
  Effect.tap(Effect.forkChild(effect), () => settled)

/** What has become of some who wait: what they hold, why they do not, or nothing yet. */
const outcomes = (fibers: ReadonlyArray<Fiber.Fiber<Ledger.Reservation, BudgetError.BudgetError>>) =>
  fibers.map((fiber) => {
    const exit = fiber.pollUnsafe()
    if (exit === undefined) return "waits"
    return Exit.isSuccess(exit) ? Number(exit.value.amount) : "failed"
  })

describe("a line at an account", () => {
  it.effect("takes one who comes from another line at the place of its asking", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      yield* take(books, "root/a", 60)
      const [one, other] = [yield* take(books, "root/b", 10), yield* take(books, "root/b", 10)]
      // The first stands at `root/a`, those after it at `root`, which has 20 left.
      const fibers = [
        yield* fork(wait(books, "root/a", 30)),
        yield* fork(wait(books, "root/b", 25)),
        yield* fork(wait(books, "root/b", 21))
      ]
      yield* books.setLimit("root/a", usd(90))
      yield* books.release(one)
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), [30, "waits", "waits"])
      yield* books.release(other)
      yield* books.setLimit("root", usd(115))
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), [30, 25, "waits"])
    })
  )

  it.effect("loses the largest first as the limit falls, again and again", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      yield* take(books, "root", 90)
      const fibers = []
      for (const least of [40, 20, 30]) fibers.push(yield* fork(wait(books, "root/b", least)))
      yield* books.setLimit("root", usd(39))
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), ["failed", "waits", "waits"])
      yield* books.setLimit("root", usd(29))
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), ["failed", "waits", "failed"])
      yield* books.setLimit("root", usd(110))
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), ["failed", 20, "failed"])
    })
  )

  it.effect("moves on with the window, to the millisecond, whatever the clock shows", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5 * hour + 1_000)
      for (const window of ["hour", { rolling: "59 minutes" }] as const) {
        const books = yield* Ledger.makeMemory()
        yield* books.open({ account: "root", limit: usd(100), window })
        yield* take(books, "root", 100)
        const { windowEnd } = yield* books.balance("root")
        const fibers = [yield* fork(wait(books, "root", 40))]
        yield* TestClock.setTime((windowEnd ?? 0) - 1)
        yield* settled
        assert.deepStrictEqual(outcomes(fibers), ["waits"])
        yield* TestClock.adjust(1)
        yield* settled
        assert.deepStrictEqual(outcomes(fibers), [40])
        includes(yield* books.balance("root"), { windowStart: windowEnd, reserved: 40 })
      }
    })
  )
})

describe("a window that begins with a grant in one line", () => {
  it.effect("lets in those who stand in the lines below it, too", () => {
    const { clock, time } = still()
    return Effect.gen(function* () {
      const books = yield* Ledger.makeMemory()
      yield* books.open({ account: "root", limit: usd(200) })
      yield* books.open({ account: "root/b", parent: "root" })
      yield* books.open({
        account: "root/w",
        parent: "root",
        limit: usd(100),
        window: { rolling: "1 minute" }
      })
      const spent = yield* take(books, "root/w", 80)
      yield* books.settle(spent, { amount: usd(80), verdict: "metered" })
      const full = yield* take(books, "root/b", 120)
      // The first stands at `root`, which has nothing left, the second below it, at `root/w`, which has 20.
      const fibers = [yield* fork(wait(books, "root/w", 10)), yield* fork(wait(books, "root/w", 50))]
      time.now = 90_000
      yield* books.release(full)
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), [10, 50])
      includes(yield* books.balance("root/w"), { reserved: 60, windowStart: 90_000 })
    }).pipe(Effect.provideService(Clock.Clock, clock))
  })
})

describe("an ask whose window ends before it stands in line", () => {
  it.effect("is held in the next one, at whatever step that is", () => {
    const { clock, time } = still()
    return Effect.gen(function* () {
      for (let every = 3; every <= 16; every++) {
        for (let after = 0; after <= 6; after++) {
          time.now = 0
          const books = yield* Ledger.makeMemory()
          yield* books.open({ account: "root", limit: usd(100), window: { rolling: "1 minute" } })
          yield* take(books, "root", 100)
          const waiting = yield* wait(books, "root", 40).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, every),
            Effect.forkChild
          )
          for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
          time.now = 90_000
          for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
          yield* books.balance("root")
          const held = yield* Fiber.join(waiting)
          const where = `a yield every ${every} steps, the end after ${after}`
          const { reserved, windowStart } = yield* books.balance("root")
          assert.deepStrictEqual([reserved, windowStart], [40, 90_000], where)
          const { chain } = yield* books.release(held)
          assert.deepStrictEqual(chain, [{ account: "root", window: 90_000 }], where)
        }
      }
    }).pipe(Effect.provideService(Clock.Clock, clock))
  })
})

describe("an ask whose account or ledger closes before it stands in line", () => {
  it.effect("is turned away, at whatever step that is, and holds nothing", () =>
    Effect.gen(function* () {
      const ends: Record<string, number> = {}
      for (const what of ["account", "ledger"]) {
        for (let every = 3; every <= 16; every++) {
          for (let after = 0; after <= 6; after++) {
            const scope = yield* Scope.make()
            const books = Context.get(yield* Layer.buildWithScope(Ledger.layerMemory(), scope), Ledger.Ledger)
            yield* books.open({ account: "root", limit: usd(100) })
            yield* books.open({ account: "root/t", parent: "root" })
            const full = yield* take(books, "root", 100)
            const waiting = yield* wait(books, "root/t", 50).pipe(
              Effect.provideService(Scheduler.MaxOpsBeforeYield, every),
              Effect.flip,
              Effect.forkChild
            )
            for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
            yield* what === "account" ? books.close("root/t") : Scope.close(scope, Exit.void)
            for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
            assert.isDefined(waiting.pollUnsafe(), `a yield every ${every} steps, closed after ${after}`)
            const { reason } = yield* Fiber.join(waiting)
            ends[reason._tag] = (ends[reason._tag] ?? 0) + 1
            yield* books.release(full)
            assert.strictEqual((yield* books.balance("root")).reserved, 0)
            if (what === "account") yield* Scope.close(scope, Exit.void)
          }
        }
      }
      assert.deepStrictEqual(ends, { InvalidAccount: 98, Closed: 98 })
    })
  )
})

describe("an id of the caller's", () => {
  it.effect("is free again when the only one who waited under it has left the line", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const full = yield* take(books, "root", 100)
      yield* Fiber.interrupt(yield* fork(wait(books, "root/b", 10, "mine")))
      const other = yield* Effect.flip(books.reserve({ account: "root/b", least: usd(11), id: "mine" }))
      assert.strictEqual(other.reason._tag, "BudgetExceeded")
      const fibers = [yield* fork(wait(books, "root/b", 12, "mine"))]
      yield* books.release(full)
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), [12])
    })
  )

  it.effect("is no other's that the ledger itself has made", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const made = yield* take(books, "root", 5)
      const mine = yield* books.reserve({ account: "root/b", least: usd(7), id: made.id })
      assert.deepStrictEqual([mine.account, Number(mine.amount)], ["root/b", 7])
      assert.strictEqual((yield* books.balance("root")).reserved, 12)
    })
  )

  it.effect("that nobody who waited under it got makes room for those behind", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const full = yield* take(books, "root", 100)
      const leaving = yield* fork(wait(books, "root/b", 100, "mine"))
      const fibers = [yield* fork(wait(books, "root/b", 60))]
      yield* Effect.andThen(
        books.release(full),
        Effect.sync(() => leaving.interruptUnsafe())
      )
      yield* settled
      assert.deepStrictEqual(outcomes([leaving, ...fibers]), ["failed", 60])
    })
  )

  it.effect("whose grant ran out as it was told to one who left is over, and not asked for anew", () =>
    Effect.gen(function* () {
      let isSlow = false
      const books = yield* tree({
        admissions: true,
        lease: 50,
        sink: ({ _tag }) => (isSlow && _tag === "Reserved" ? Effect.sleep(100) : Effect.void)
      })
      const full = yield* take(books, "root", 100)
      const leaving = yield* fork(wait(books, "root/b", 10, "mine"))
      isSlow = true
      yield* books.release(full)
      yield* settled
      leaving.interruptUnsafe()
      yield* TestClock.adjust(60)
      assert.strictEqual((yield* books.balance("root")).spent, 10)
      yield* TestClock.adjust(60)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(leaving)))
      includes(yield* books.balance("root"), { spent: 0, reserved: 0 })
      const { reason } = yield* Effect.flip(wait(books, "root/b", 10, "mine"))
      includes(reason, { _tag: "ReservationConflict", reservation: "mine" })
    })
  )
})

describe("a grant to one who has left", () => {
  it.effect("is released, in the books too", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const full = yield* take(books, "root", 100)
      const leaving = yield* fork(wait(books, "root/b", 30))
      yield* Effect.andThen(
        books.release(full),
        Effect.sync(() => leaving.interruptUnsafe())
      )
      yield* Fiber.await(leaving)
      const entries = yield* Stream.runCollect(books.entries())
      assert.deepStrictEqual(
        entries.map((entry) => [entry._tag, entry.account, "reserved" in entry ? Number(entry.reserved) : 0]),
        [
          ["Released", "root", 100],
          ["Released", "root/b", 30]
        ]
      )
    })
  )
})

describe("a grant under one id to some of whom one leaves", () => {
  it.effect("stays with the others, at whatever step that one leaves", () =>
    Effect.gen(function* () {
      let left = 0
      for (let every = 3; every <= 16; every++) {
        for (let after = 0; after <= 8; after++) {
          const books = yield* tree()
          const full = yield* take(books, "root", 100)
          const staying = yield* fork(wait(books, "root/b", 80, "mine"))
          const leaving = yield* wait(books, "root/b", 80, "mine").pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, every),
            Effect.forkChild
          )
          yield* settled
          yield* books.release(full)
          for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
          leaving.interruptUnsafe()
          const held = yield* Fiber.join(staying)
          if (Exit.isFailure(yield* Fiber.await(leaving))) left++
          const where = `a yield every ${every} steps, left after ${after}`
          assert.strictEqual((yield* books.balance("root")).reserved, 80, where)
          yield* books.release(held)
        }
      }
      assert.isAbove(left, 14)
    })
  )
})

describe("a grant in the millisecond in which a wait is over", () => {
  it.effect("is had, or was never made: nothing stays held that nobody has", () =>
    Effect.gen(function* () {
      const had: Record<string, number> = {}
      for (const isFirst of [false, true]) {
        for (let every = 3; every <= 10; every++) {
          for (let after = 0; after <= 6; after++) {
            const books = yield* tree({ admissions: true })
            const full = yield* take(books, "root", 100)
            const release = Effect.gen(function* () {
              yield* Effect.sleep(100)
              for (let turn = 0; turn < after; turn++) yield* Effect.yieldNow
              yield* books.release(full)
            })
            if (isFirst) yield* Effect.forkChild(release)
            const waiting = yield* books
              .reserve({ account: "root/b", least: usd(80), waitAtMost: 100 })
              .pipe(
                Effect.provideService(Scheduler.MaxOpsBeforeYield, every),
                Effect.result,
                Effect.forkChild
              )
            yield* settled
            if (!isFirst) yield* Effect.forkChild(release)
            yield* settled
            yield* TestClock.adjust(100)
            yield* settled
            const told = yield* Fiber.join(waiting)
            const { reserved } = yield* books.balance("root")
            const where = `a yield every ${every} steps, released ${isFirst ? "first" : "last"}, after ${after}`
            assert.strictEqual(reserved, told._tag === "Success" ? 80 : 0, where)
            // What was granted was not given back.
            const admitted = (yield* Stream.runCollect(books.entries())).filter(
              ({ _tag }) => _tag === "Reserved"
            )
            assert.lengthOf(admitted, told._tag === "Success" ? 2 : 1, where)
            const key = `${told._tag} ${isFirst ? "first" : "last"}`
            had[key] = (had[key] ?? 0) + 1
          }
        }
      }
      assert.sameMembers(Object.keys(had), ["Success first", "Success last", "Failure last"])
    })
  )
})

describe("an admission under one id", () => {
  it.effect("is told to the sink once, however many waited for it", () =>
    Effect.gen(function* () {
      const told: Array<unknown> = []
      const books = yield* tree({ admissions: true, sink: (entry) => Effect.sync(() => told.push(entry)) })
      const full = yield* take(books, "root", 100)
      const fibers = [
        yield* fork(wait(books, "root/b", 30, "mine")),
        yield* fork(wait(books, "root/b", 30, "mine"))
      ]
      yield* books.release(full)
      yield* settled
      assert.deepStrictEqual(outcomes(fibers), [30, 30])
      assert.sameDeepMembers(told, Array.from(yield* Stream.runCollect(books.entries())))
    })
  )
})

describe("a reservation without a lease", () => {
  it.effect("is renewed by leaving it as it is, and never runs out", () =>
    Effect.gen(function* () {
      const books = yield* tree()
      const held = yield* take(books, "root", 30)
      assert.strictEqual(yield* books.renew(held), held)
      assert.isNull(held.expiresAt)
      yield* TestClock.adjust("1000 days")
      includes(yield* books.balance("root"), { spent: 0, reserved: 30 })
    })
  )
})
