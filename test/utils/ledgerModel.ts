/**
 * A reference model of a ledger with queues, in plain arithmetic over lists, and what plays a sequence of operations
 * on a real one against it. The model does not know how the ledger orders its work; it says what must be true:
 *
 * - a grant fits at every account of its chain, and holds its share of what the chain had;
 * - a refusal is of something that did not fit, or can never fit;
 * - nobody is passed by a later one at the one account that blocks him, unless he stands behind others elsewhere;
 * - nobody waits who fits, unless an earlier one is blocked at an account that he needs too;
 * - the balances are the sums of what is held and of what was booked.
 */
import { assert } from "@effect/vitest"
import { type BudgetError, Ledger, Usd } from "agent-budget"
import { Arbitrary, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { includes } from "./assertions.ts"
import * as Invariants from "./invariants.ts"

/** How often each event happened: a property that never met one has not been tested on it. */
export type Coverage = Record<string, number>

const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const op = Arbitrary.all({
  kind: Arbitrary.schema(
    Schema.Literals([
      ..."reserve,share,wait,wait,wait,wait share,wait briefly,settle,settle,release,release,overrun,limit".split(
        ","
      ),
      ..."interrupt,release and interrupt,raise and interrupt,time,close".split(",")
    ])
  ),
  account: int(0, 4),
  amount: int(0, 60),
  pick: int(0, 1_000)
})

/** Sequences of operations, long enough to fill the accounts. */
export const ops = Arbitrary.array(op, { minLength: 20, maxLength: 120 })
type Ops = typeof ops extends Arbitrary.Arbitrary<infer A> ? A : never

interface Account {
  readonly name: string
  readonly parent: Account | undefined
  limit: number
  spent: number
}
interface Held {
  readonly account: Account
  readonly reservation: Ledger.Reservation
}
interface Ask {
  readonly account: Account
  readonly least: number
  readonly most: number
  readonly share: number
}
interface Waiter extends Ask {
  readonly fiber: Fiber.Fiber<Ledger.Reservation, BudgetError.BudgetError>
}

const chainOf = (account: Account): ReadonlyArray<Account> =>
  account.parent === undefined ? [account] : [account, ...chainOf(account.parent)]

class Model {
  readonly accounts: ReadonlyArray<Account>
  held: ReadonlyArray<Held> = []
  /** In the order of asking. */
  waiting: ReadonlyArray<Waiter> = []

  constructor() {
    const make = (name: string, limit: number, parent?: Account): Account => ({
      name,
      parent,
      limit,
      spent: 0
    })
    const root = make("root", 120)
    const a = make("root/a", 60, root)
    this.accounts = [root, a, make("root/b", 80, root), make("root/a/x", 30, a), make("root/c", 1e9, root)]
  }

  reserved(account: Account): number {
    let total = 0
    for (const each of this.held)
      if (chainOf(each.account).includes(account)) total += each.reservation.amount
    return total
  }
  room(account: Account): number {
    return account.limit - account.spent - this.reserved(account)
  }
  lacking(account: Account, least: number): ReadonlyArray<Account> {
    return chainOf(account).filter((each) => this.room(each) < least)
  }
  neverFits(account: Account, least: number): boolean {
    return chainOf(account).some((each) => each.limit - each.spent < least)
  }
  share(ask: Ask): number {
    const room = Math.min(...chainOf(ask.account).map((each) => this.room(each)))
    return Math.max(ask.least, Math.min(ask.most, Math.floor(room * ask.share)))
  }
  book(held: Held, amount: number): void {
    this.held = this.held.filter((each) => each !== held)
    for (const each of chainOf(held.account)) each.spent += amount
  }
}

const yields = Effect.forEach(Array.from({ length: 12 }), () => Effect.yieldNow, { discard: true })

/** Plays a sequence; dies where the ledger and the model disagree. */
export const playOut = Effect.fnUntraced(function* (sequence: Ops, seen: Coverage) {
  const saw = (event: string): void => void (seen[event] = (seen[event] ?? 0) + 1)
  const entries: Array<Ledger.Entry> = []
  const books = yield* Ledger.makeMemory({ sink: (entry) => Effect.sync(() => void entries.push(entry)) })
  const model = new Model()
  for (const { limit, name, parent } of model.accounts) {
    yield* books.open({ account: name, parent: parent?.name, limit: Usd.nanos(limit) })
  }

  let isBesideGiver = false
  const admit = (ask: Ask, reservation: Ledger.Reservation): void => {
    assert.deepStrictEqual(model.lacking(ask.account, ask.least), [], "granted without room")
    const share = model.share(ask)
    // Beside a grant that was given back at once there was less to share.
    assert.isAtLeast(reservation.amount, isBesideGiver ? ask.least : share, "granted less than its share")
    assert.isAtMost(reservation.amount, share, "granted more than its share")
    if (reservation.amount > ask.least) saw("granted a part")
    model.held = [...model.held, { account: ask.account, reservation }]
  }

  /** Takes over what the ledger did to those who waited, in its order, and checks each step. */
  const follow = Effect.fnUntraced(function* () {
    yield* yields
    const done = model.waiting.flatMap((waiter) => {
      const exit = waiter.fiber.pollUnsafe()
      return exit === undefined ? [] : [{ waiter, exit }]
    })
    const isLeft = new Set(model.waiting.filter((waiter) => !done.some((each) => each.waiter === waiter)))
    for (const { exit, waiter } of done) {
      if (Exit.isSuccess(exit)) continue
      if (Exit.hasInterrupts(exit)) continue
      const hopeless = model.neverFits(waiter.account, waiter.least)
      assert.isTrue(hopeless, "refused while there was hope")
      saw("hopeless later")
    }
    const granted = done
      .flatMap(({ exit, waiter }) => (Exit.isSuccess(exit) ? [{ waiter, reservation: exit.value }] : []))
      .sort((one, other) => Number(one.reservation.id) - Number(other.reservation.id))
    const inLine = new Set(model.waiting)
    for (const { reservation, waiter } of granted) {
      const chain = chainOf(waiter.account)
      inLine.delete(waiter)
      const line = model.waiting.slice(0, model.waiting.indexOf(waiter)).filter((each) => inLine.has(each))
      for (const [index, earlier] of line.entries()) {
        if (!isLeft.has(earlier)) continue
        saw("passed a waiter")
        const [blocker, ...others] = model.lacking(earlier.account, earlier.least)
        const before = line.slice(0, index).flatMap((each) => model.lacking(each.account, each.least))
        const isHeldElsewhere = chainOf(earlier.account).some((at) => at !== blocker && before.includes(at))
        const isPassed =
          blocker !== undefined && others.length === 0 && !isHeldElsewhere && chain.includes(blocker)
        // Beside a grant that was given back at once he may have been blocked elsewhere too.
        assert.isFalse(isPassed && !isBesideGiver, "passed an earlier one at the account that blocks him")
      }
      admit(waiter, reservation)
      saw("granted after waiting")
    }
    model.waiting = model.waiting.filter((waiter) => isLeft.has(waiter))
    for (const [index, waiter] of model.waiting.entries()) {
      assert.isFalse(model.neverFits(waiter.account, waiter.least), "waits in vain")
      const chain = chainOf(waiter.account)
      const isBehind = model.waiting
        .slice(0, index)
        .some((earlier) => model.lacking(earlier.account, earlier.least).some((each) => chain.includes(each)))
      const isShort = model.lacking(waiter.account, waiter.least).length > 0
      assert.isTrue(isShort || isBehind, "waits although it fits")
    }
    for (const account of model.accounts) {
      const balance = yield* books.balance(account.name)
      const expected = { limit: account.limit, spent: account.spent, reserved: model.reserved(account) }
      includes(balance, { ...expected, available: model.room(account) })
    }
  })

  const ask = Effect.fnUntraced(function* (isWaiting: boolean, request: Ask, waitAtMost: number) {
    const { account, least, most, share } = request
    const fits = model.lacking(account, least).length === 0
    const isBehind = model.waiting.some((earlier) =>
      model.lacking(earlier.account, earlier.least).some((each) => chainOf(account).includes(each))
    )
    const fiber = yield* Effect.forkChild(
      books.reserve({
        account: account.name,
        least: Usd.nanos(least),
        ...(most === least ? {} : { most: Usd.nanos(most), share }),
        ...(isWaiting ? { waitAtMost } : {})
      })
    )
    yield* yields
    const exit = fiber.pollUnsafe()
    if (exit === undefined) {
      assert.isTrue(isWaiting && (!fits || isBehind), "waits without need")
      saw("began to wait")
      model.waiting = [...model.waiting, { ...request, fiber }]
    } else if (Exit.isSuccess(exit)) {
      assert.isTrue(fits)
      saw("granted at once")
      if (model.waiting.length > 0) saw("passed a waiter")
      admit(request, exit.value)
    } else if (isWaiting) {
      assert.isTrue(model.neverFits(account, least), "refused instead of waiting")
      saw("hopeless at once")
    } else {
      assert.isFalse(fits, "refused what fits")
      saw("refused at once")
    }
  })

  const leave = Effect.fnUntraced(function* (waiter: Waiter, event: string) {
    yield* Fiber.interrupt(waiter.fiber)
    saw(event)
  })

  for (const { account: at, amount, kind, pick } of sequence) {
    const account = model.accounts[at % model.accounts.length]
    if (account === undefined) continue
    const held = model.held[pick % Math.max(1, model.held.length)]
    const waiter = model.waiting[pick % Math.max(1, model.waiting.length)]
    const share = [0.25, 0.5, 1][pick % 3] ?? 1
    const exactly = { account, least: amount, most: amount, share: 1 }
    const partly = { account, least: Math.floor(amount / 4), most: amount, share }
    if (kind === "reserve") yield* ask(false, exactly, 0)
    if (kind === "share") yield* ask(false, partly, 0)
    if (kind === "wait") yield* ask(true, exactly, 1e9)
    if (kind === "wait share") yield* ask(true, partly, 1e9)
    if (kind === "wait briefly") {
      const before = model.waiting.length
      yield* ask(true, exactly, 10)
      const brief = model.waiting.length > before ? model.waiting.at(-1) : undefined
      if (brief !== undefined) {
        yield* TestClock.adjust(10)
        const exit = yield* Fiber.await(brief.fiber)
        assert.isTrue(Exit.isFailure(exit) && !Exit.hasInterrupts(exit), "outlived its patience")
        model.waiting = model.waiting.filter((each) => each !== brief)
        saw("timed out")
      }
    }
    if ((kind === "settle" || kind === "overrun") && held !== undefined) {
      const cost =
        kind === "overrun" ? held.reservation.amount + (pick % 5) : Math.floor(held.reservation.amount / 2)
      model.book(held, cost)
      yield* books.settle(held.reservation, { amount: Usd.nanos(cost), verdict: "metered" })
      saw(kind === "overrun" && cost > held.reservation.amount ? "overran" : "settled")
    }
    if (kind.startsWith("release") && held !== undefined) {
      model.book(held, 0)
      yield* books.release(held.reservation)
      saw("released")
    }
    if (kind === "limit" || kind === "raise and interrupt") {
      const limit = kind === "limit" ? account.spent + amount * 2 : account.limit + amount
      saw(limit > account.limit ? "raised a limit" : "lowered a limit")
      account.limit = limit
      yield* books.setLimit(account.name, Usd.nanos(limit))
    }
    if (kind === "interrupt" && waiter !== undefined) yield* leave(waiter, "left the line")
    if (kind.endsWith("and interrupt") && waiter !== undefined) {
      // The waiter has not run since the books changed: if they show more held, it may be this one's grant.
      const granted = (yield* books.balance("root")).reserved > model.reserved(model.accounts[0] ?? account)
      isBesideGiver = granted
      yield* leave(waiter, granted ? "left in the tick of its grant" : "left the line")
    }
    if (kind === "time") yield* TestClock.adjust(100)
    if (kind === "close") {
      // Closed and opened again by another party in one breath: those who joined keep it.
      yield* books.open({ account: account.name, parent: account.parent?.name })
      if (model.held.length > 0) saw("closed with reservations")
      yield* books.close(account.name)
    }
    yield* follow()
    isBesideGiver = false
  }
  for (const waiter of model.waiting) yield* Fiber.interrupt(waiter.fiber)
  yield* yields
  model.waiting = []
  for (const held of model.held) {
    model.book(held, held.reservation.amount)
    yield* books.settle(held.reservation, { amount: held.reservation.amount, verdict: "metered" })
  }
  yield* follow()
  const balances = yield* books.balances
  assert.deepStrictEqual(Invariants.nothingReserved(balances), [])
  assert.deepStrictEqual(Invariants.balancesAddUp(balances), [])
  assert.deepStrictEqual(Invariants.spentIsBooked(balances, entries), [])
  assert.deepStrictEqual(Invariants.soundEntries(entries), [])
  assert.isAbove((yield* Stream.runCollect(books.entries())).length + 1, Math.min(entries.length, 1_000))
})
