/**
 * A ledger in a page of arithmetic, and random operations played on it and on a real one, whose answers and numbers
 * must be the same after each. One asks at a time, so that there is one right answer to everything.
 */
import { assert } from "@effect/vitest"
import { type BudgetError, type Ledger, Usd } from "agent-budget"
import { Effect, Exit, Fiber, type Scope } from "effect"
import { random, type Random } from "./random.ts"

/** What must have been tried, and how often it was. */
export const wanted = [
  "grants",
  "shares",
  "refusals",
  "pauses",
  "refusals by a pause",
  "waits",
  "settlements",
  "overruns",
  "refusals after an overrun",
  "releases",
  "double settlements",
  "double releases",
  "ends of two kinds",
  "expiries",
  "late settlements",
  "late releases",
  "raised limits",
  "lowered limits"
] as const
type Event = (typeof wanted)[number]
export type Counts = Map<Event, number>

interface Account {
  readonly name: string
  readonly parent: Account | undefined
  limit: number
  spent: number
  reserved: number
  paused: boolean
  overrun: boolean
}

interface Held {
  readonly chain: ReadonlyArray<Account>
  readonly reservation: Ledger.Reservation
}

type Refusable<A> = Effect.Effect<A, BudgetError.BudgetError>
type Books = Ledger.Ledger["Service"]

/** What the arithmetic needs of an engine. */
export interface Played {
  readonly books: Books
  /** Holds an amount for a process that dies, whose lease then runs out. */
  readonly abandoned: (
    account: string,
    amount: Usd.Usd
  ) => Effect.Effect<Ledger.Reservation, BudgetError.BudgetError, Scope.Scope>
  readonly until: (what: string, isSo: Refusable<boolean>) => Refusable<void>
  readonly seed: number
  readonly steps: number
}

/** The arithmetic. */
class Page {
  readonly accounts: ReadonlyArray<Account>
  held: ReadonlyArray<Held> = []

  constructor() {
    const make = (name: string, limit: number, parent?: Account): Account => ({
      name,
      parent,
      limit,
      spent: 0,
      reserved: 0,
      paused: false,
      overrun: false
    })
    const root = make("root", 3_000)
    const a = make("root/a", 1_500, root)
    this.accounts = [root, a, make("root/b", 2_000, root), make("root/a/x", 800, a)]
  }

  chainOf(account: Account): ReadonlyArray<Account> {
    return account.parent === undefined ? [account] : [account, ...this.chainOf(account.parent)]
  }

  room({ limit, reserved, spent }: Account): number {
    return limit - spent - reserved
  }

  /** Who stands in the way of an amount, from below. */
  obstacle(chain: ReadonlyArray<Account>, least: number): Account | undefined {
    return chain.find((each) => each.paused || this.room(each) < least)
  }

  granted(chain: ReadonlyArray<Account>, least: number, most: number, share: number): number {
    const room = Math.min(...chain.map((each) => this.room(each)))
    return least === most ? least : Math.max(least, Math.min(most, Math.floor(room * share)))
  }

  hold(chain: ReadonlyArray<Account>, reservation: Ledger.Reservation): Held {
    const held = { chain, reservation }
    for (const each of chain) each.reserved += reservation.amount
    this.held = [...this.held, held]
    return held
  }

  end(held: Held, amount: number): void {
    this.held = this.held.filter((each) => each !== held)
    for (const each of held.chain) {
      each.reserved -= held.reservation.amount
      each.spent += amount
      if (amount > held.reservation.amount) each.overrun = true
    }
  }
}

const tagOf = (error: BudgetError.BudgetError): string => error.reason._tag

class Play {
  readonly page = new Page()
  readonly drawn: Random
  readonly played: Played
  readonly counts: Counts

  constructor(played: Played, counts: Counts) {
    this.played = played
    this.counts = counts
    this.drawn = random(played.seed)
  }

  saw(event: Event): void {
    this.counts.set(event, (this.counts.get(event) ?? 0) + 1)
  }

  reserve() {
    const { drawn, page } = this
    const { books, until } = this.played
    return Effect.gen({ self: this }, function* () {
      const account = drawn.one(page.accounts)
      const chain = page.chainOf(account)
      const least = drawn.between(1, 500)
      const most = drawn.chance(0.3) ? least + drawn.below(600) : least
      const share = most === least ? 1 : drawn.one([0.1, 0.5, 1])
      const ask = {
        account: account.name,
        least: Usd.nanos(least),
        ...(most === least ? {} : { most: Usd.nanos(most), share })
      }
      const obstacle = page.obstacle(chain, least)
      if (obstacle === undefined) {
        const amount = page.granted(chain, least, most, share)
        const reservation = yield* books.reserve(ask)
        assert.strictEqual(Number(reservation.amount), amount)
        page.hold(chain, reservation)
        this.saw(most === least ? "grants" : "shares")
        return
      }
      const refused = yield* Effect.orDie(Effect.flip(books.reserve(ask)))
      // What can never fit is told as that, also where somebody has paused the account.
      const isHopeless = chain.some(({ limit, spent }) => limit - spent < least)
      const isPaused = tagOf(refused) === "AccountPaused"
      assert.isTrue(isHopeless ? !isPaused || obstacle.paused : isPaused === obstacle.paused)
      if (!isPaused) assert.strictEqual(tagOf(refused), "BudgetExceeded")
      this.saw(isPaused ? "refusals by a pause" : "refusals")
      if (obstacle.overrun) this.saw("refusals after an overrun")
      // Whoever waits is let in once nobody is in the way; whoever can never fit is not let wait.
      if (isHopeless || drawn.chance(0.5)) return
      const waiting = yield* Effect.forkChild(books.reserve({ ...ask, waitAtMost: "1 hour" }))
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      assert.isUndefined(waiting.pollUnsafe())
      // Some make room from above, some from below: the last of them lets it in.
      for (const each of chain) {
        if (each.paused) yield* this.pause(each, false)
        if (page.room(each) < least) yield* this.setLimit(each, each.limit + least - page.room(each))
      }
      yield* until(
        "let in",
        Effect.sync(() => waiting.pollUnsafe() !== undefined)
      )
      const reservation = yield* Fiber.join(waiting)
      assert.strictEqual(Number(reservation.amount), page.granted(chain, least, most, share))
      page.hold(chain, reservation)
      this.saw("waits")
    })
  }

  pause(account: Account, paused: boolean): Refusable<void> {
    account.paused = paused
    if (paused) this.saw("pauses")
    const { books } = this.played
    return Effect.asVoid(paused ? books.pause(account.name) : books.resume(account.name))
  }

  setLimit(account: Account, limit: number): Refusable<void> {
    this.saw(limit > account.limit ? "raised limits" : "lowered limits")
    account.limit = limit
    return Effect.asVoid(this.played.books.setLimit(account.name, Usd.nanos(limit)))
  }

  end() {
    const { drawn, page } = this
    const { books } = this.played
    return Effect.gen({ self: this }, function* () {
      if (page.held.length === 0) return
      const held = drawn.one(page.held)
      const { reservation } = held
      const isFree = drawn.chance(0.3)
      const over = drawn.chance(0.1) ? drawn.between(1, 50) : 0
      const amount = isFree ? 0 : over > 0 ? reservation.amount + over : drawn.below(reservation.amount + 1)
      const charge: Ledger.Charge = { amount: Usd.nanos(amount), verdict: "metered" }
      const once: Refusable<Ledger.Entry> = isFree
        ? books.release(reservation)
        : books.settle(reservation, charge)
      const entry: Ledger.Entry = yield* once
      assert.strictEqual("overrun" in entry ? Number(entry.overrun) : 0, isFree ? 0 : over)
      page.end(held, amount)
      this.saw(isFree ? "releases" : over > 0 ? "overruns" : "settlements")
      if (drawn.chance(0.5)) {
        assert.deepStrictEqual(yield* once, entry)
        this.saw(isFree ? "double releases" : "double settlements")
      } else {
        const other = yield* Effect.orDie(
          Effect.flip(books.settle(reservation, { ...charge, amount: Usd.nanos(amount + 1) }))
        )
        assert.strictEqual(tagOf(other), "ReservationConflict")
        this.saw("ends of two kinds")
      }
    })
  }

  /** Everything else is ended first: nothing but that one may run out. */
  expire() {
    const { drawn, page } = this
    const { abandoned, books } = this.played
    return Effect.gen({ self: this }, function* () {
      while (page.held.length > 0) yield* this.end()
      const account = drawn.one(page.accounts)
      const chain = page.chainOf(account)
      const amount = drawn.between(1, 100)
      if (page.obstacle(chain, amount) !== undefined) return
      const reservation = yield* abandoned(account.name, Usd.nanos(amount))
      page.end(page.hold(chain, reservation), amount)
      this.saw("expiries")
      yield* this.compare()
      if (drawn.chance(0.3)) return
      const isFree = drawn.chance(0.4)
      const bill = isFree ? 0 : drawn.below(amount + 20)
      const late: Refusable<Ledger.Entry> = isFree
        ? books.release(reservation)
        : books.settle(reservation, { amount: Usd.nanos(bill), verdict: "metered" })
      assert.strictEqual((yield* late)._tag, "Corrected")
      for (const each of chain) each.spent += bill - amount
      this.saw(isFree ? "late releases" : "late settlements")
    })
  }

  step(): Effect.Effect<void, BudgetError.BudgetError, Scope.Scope> {
    const { drawn, page } = this
    const account = drawn.one(page.accounts)
    const kind = drawn.below(100)
    if (kind < 50) return this.reserve()
    if (kind < 80) return this.end()
    if (kind < 88) return this.setLimit(account, account.spent + drawn.below(1_500))
    if (kind < 96) return this.pause(account, drawn.chance(0.4))
    return this.expire()
  }

  /** The numbers of the ledger are those of the page. */
  compare() {
    const { books } = this.played
    return Effect.forEach(
      this.page.accounts,
      ({ limit, name, paused, reserved, spent }) =>
        Effect.map(books.balance(name), (shown) => {
          assert.deepStrictEqual(
            [shown.limit, shown.spent, shown.reserved, shown.available, shown.paused].map(Number),
            [limit, spent, reserved, limit - spent - reserved, paused].map(Number),
            name
          )
        }),
      { discard: true }
    )
  }
}

/** Plays so many steps; dies where the ledger and the arithmetic disagree. Nothing is held when it ends. */
export const play = (played: Played, counts: Counts) =>
  Effect.gen(function* () {
    const game = new Play(played, counts)
    for (const { limit, name, parent } of game.page.accounts) {
      yield* played.books.open({ account: name, parent: parent?.name, limit: Usd.nanos(limit) })
    }
    for (let step = 0; step < played.steps; step++) {
      const exit = yield* Effect.exit(game.step())
      if (Exit.isFailure(exit)) {
        return yield* Effect.die(new Error(`seed ${played.seed}, step ${step}: ${String(exit.cause)}`))
      }
      yield* game.compare()
    }
    while (game.page.held.length > 0) yield* game.end()
    yield* game.compare()
  })
