/** One seeded world: processes, agents, a provider, books, and everything that happens to them. */
import { Ledger, Usd } from "agent-budget"
import { Clock, Context, Effect, Exit, Logger, Scope, Stream, type Fiber } from "effect"
import * as StoredLedger from "../../src/internal/storedLedger.ts"
import { warnThin } from "../../src/internal/tally.ts"
import { random, type Random } from "../utils/random.ts"
import * as Reference from "../utils/referenceStore.ts"
import * as Stepped from "../utils/steppedStore.ts"
import * as Agents from "./agents.ts"
import type { Coverage } from "./coverage.ts"
import { Engine, type Owner } from "./engine.ts"
import { chainOf, Judge, type Numbers, type Terms } from "./judge.ts"
import { listed } from "./prices.ts"
import * as Process from "./process.ts"
import { Provider } from "./provider.ts"
import { drawSetting, type Setting } from "./setting.ts"
import * as Sqlite from "./sqliteBooks.ts"

const rootAccount = "root"

// What a process logs once would make the first of its worlds another one than the same world later.
for (const model of Object.keys(listed))
  Effect.runSync(Effect.provide(warnThin(model, { input: 1, margin: 1 }, 1), Logger.layer([])))

/** A process that is up. */
interface Running {
  readonly owner: Owner
  readonly desk: Process.Desk
  readonly agents: Map<string, Fiber.Fiber<void>>
}

/** The ledger of a world in memory, or the store under those of its processes. */
type Books =
  | {
      readonly kind: "memory"
      readonly ledger: Ledger.Ledger["Service"]
      /** What was told of it, where somebody hears. */
      readonly sunk: Map<number, Ledger.Entry> | undefined
    }
  | { readonly kind: "stored"; readonly store: Stepped.SteppedStore }

/** What someone in charge wants of an account. */
interface Order {
  readonly account: string
  readonly what: string
  readonly wants: { readonly limit: number | null } | { readonly paused: boolean }
}

/** An order that is under way. */
interface UnderWay {
  /** No other has been beside it. */
  isAlone: boolean
}

/** The limit that agents give to accounts of their own, by the number in the name. */
const limitOfOwn = (account: string): number | null => {
  const [, kind, number] = /(agent|part)-(\d)$/.exec(account) ?? []
  const each = kind === "agent" ? 10_000_000 : 8_000_000
  return number === undefined || number === "0" ? null : Number(number) * each
}

type Spoil = (ledger: Ledger.Ledger["Service"]) => Ledger.Ledger["Service"]

export class World {
  readonly setting: Setting
  readonly engine: Engine
  readonly judge: Judge
  readonly provider: Provider
  readonly coverage: Coverage
  readonly surroundings: Process.Surroundings
  readonly running: Array<Running> = []
  readonly calls = new Map<string, () => void>()
  readonly teams: ReadonlyArray<string>
  books: Books
  /** Those that are under way, by account. */
  readonly orders = new Map<string, Set<UnderWay>>()
  agents = 0
  processes = 0

  /** Puts something between the budgets and their ledger, to see that it is noticed. */
  readonly spoil: Spoil

  constructor(seed: number, coverage: Coverage, spoil: Spoil) {
    this.spoil = spoil
    const drawn = random(seed)
    this.setting = drawSetting(drawn)
    this.coverage = coverage
    this.engine = new Engine(seed, this.setting.preemption)
    const { bytesPerToken, days } = this.setting
    this.engine.now += days * 86_400_000
    this.judge = new Judge(coverage, this.terms(), (line) => this.engine.say(line))
    this.provider = new Provider(this.engine, coverage, bytesPerToken)
    this.provider.arrived = (attempt) => this.judge.arrived(attempt)
    this.provider.abandoned = (attempt) => this.judge.abandoned(attempt, this.engine.now)
    const { engine, judge, provider } = this
    // Whoever waits asks again when his time has come.
    engine.advanced = () => this.judge.asks.add(engine.now + this.observer.skew)
    const roomOn = (account: string) => this.roomOn(account)
    const isStored = this.setting.books !== "memory"
    this.surroundings = {
      engine,
      judge,
      provider,
      coverage,
      bytesPerToken,
      isStored,
      roomOn,
      waiting: new Set()
    }
    this.teams = this.setting.teams.map(({ name }) => name)
    this.books = this.setting.books === "memory" ? this.memory() : this.store()
    this.engine.say(JSON.stringify(this.setting))
  }

  terms(): Terms {
    const { books, lease, limit, policy, teams, thresholds, window } = this.setting
    const all = [
      { name: rootAccount, limit, thresholds, window },
      ...teams.map((team) => ({ ...team, name: `${rootAccount}/${team.name}` }))
    ]
    return {
      windows: new Map(all.flatMap(({ name, window }) => (window ? [[name, window] as const] : []))),
      thresholds: new Map(all.map((each) => [each.name, each.thresholds])),
      isAtOnce: books === "memory",
      standing: all.map(({ name }) => name),
      drains: policy.abandoned === "drain" ? 60_000 : 0,
      limitOf: (account) => {
        const known = all.find(({ name }) => name === account)
        return known === undefined ? limitOfOwn(account) : (known.limit ?? null)
      },
      lease: books === "memory" ? lease : undefined
    }
  }

  memory(): Books {
    const sunk = new Map<number, Ledger.Entry>()
    const sink = (entry: Ledger.Entry) =>
      Effect.sync(() => {
        this.judge.claim(!sunk.has(entry.seq), () => `entry ${entry.seq} was told twice`)
        sunk.set(entry.seq, entry)
      })
    const { hears, lease } = this.setting
    const options = { entries: 100_000, admissions: true, lease }
    const made = Ledger.makeMemory(hears ? { ...options, sink } : options)
    return { kind: "memory", ledger: Effect.runSync(made), sunk: hears ? sunk : undefined }
  }

  store(): Books {
    const clock = Effect.sync(() => this.engine.now)
    const store =
      this.setting.books === "sqlite"
        ? Stepped.make(
            Sqlite.open(() => this.engine.now),
            clock
          )
        : Reference.make(0, clock)
    store.faults.loses = (verb) => {
      const isLost = this.losing && verb !== "balances" && this.engine.random.chance(0.3)
      if (isLost) this.coverage.met("lost answers")
      return isLost
    }
    return { kind: "stored", store }
  }

  losing = false
  /** By whose time the books are looked at: that of the process that has them in memory. */
  observer: Owner = { name: "observer", alive: true, skew: 0, skews: [] }

  /** Looks at something at once, at the world's time, without letting anything else happen. */
  now<A, E>(effect: Effect.Effect<A, E>): A {
    const clock = Context.get(this.engine.contextOf(this.observer), Clock.Clock)
    return Effect.runSync(Effect.provideService(effect, Clock.Clock, clock))
  }

  /** Runs in a process until it is done, with whatever else happens meanwhile. */
  async finish<A, E>(owner: Owner, effect: Effect.Effect<A, E>): Promise<A> {
    const fiber = Process.start(owner, this.surroundings, effect)
    while (fiber.pollUnsafe() === undefined) {
      if (!(await this.engine.runOne())) this.engine.advanceTo(this.engine.next() ?? this.engine.now + 1)
    }
    const exit = fiber.pollUnsafe()
    if (exit === undefined || Exit.isFailure(exit))
      throw new Error(`${owner.name} cannot start: ${String(exit)}`)
    return exit.value
  }

  async begin(): Promise<void> {
    while (this.running.length < this.setting.processes) await this.boot()
  }

  async boot(): Promise<void> {
    const { books, setting, surroundings } = this
    const skew = setting.skews[this.processes - 1] ?? 0
    const owner: Owner = { name: `p${++this.processes}`, alive: true, skew, skews: [] }
    this.observer = owner
    this.heal()
    const engine =
      books.kind === "memory"
        ? Effect.succeed(books.ledger)
        : StoredLedger.make(Process.heard(books.store, this.judge, owner), setting.stored)
    const prepare = Effect.flatMap(engine, (ledger) =>
      Effect.as(this.processes > 1 ? Effect.void : this.openAccounts(ledger), this.spoil(ledger))
    )
    const limit = (): number =>
      this.shown().find(({ account }) => account === rootAccount)?.limit ?? setting.limit
    const { policy, waitAtMost, window } = setting
    const terms = { limit, policy, waitAtMost, window: window?.window }
    const desk = await this.finish(owner, Process.open(owner, surroundings, Effect.orDie(prepare), terms))
    this.running.push({ owner, desk, agents: new Map() })
    this.look()
  }

  openAccounts(ledger: Ledger.Ledger["Service"]) {
    const { limit, teams, thresholds, window } = this.setting
    const parts = (millionths: ReadonlyArray<number>) => millionths.map((each) => each / 1_000_000)
    return Effect.andThen(
      ledger.open({
        account: rootAccount,
        limit: Usd.nanos(limit),
        window: window?.window,
        thresholds: parts(thresholds)
      }),
      Effect.forEach(
        teams,
        (team) =>
          ledger.open({
            account: `${rootAccount}/${team.name}`,
            parent: rootAccount,
            limit: team.limit === undefined ? undefined : Usd.nanos(team.limit),
            window: team.window?.window,
            thresholds: parts(team.thresholds)
          }),
        { discard: true }
      )
    )
  }

  /** Ends what ails the books. */
  heal(): void {
    this.losing = false
    if (this.books.kind === "stored") this.books.store.faults.away = false
  }

  /** What an agent does from here on is its own seed's. */
  hire(at: Running, seed: number): void {
    const name = `a${++this.agents}`
    const { owner, desk } = at
    const agent: Agents.Agent = {
      name,
      owner,
      desk,
      surroundings: this.surroundings,
      random: random(seed),
      calls: this.calls,
      attempts: 0
    }
    this.engine.say(`${name} begins in ${owner.name}`)
    const fiber = Process.start(owner, this.surroundings, Agents.life(agent, this.teams))
    at.agents.set(name, fiber)
    fiber.addObserver(() => at.agents.delete(name))
  }

  /** A process is gone between two instructions: nothing that it began goes on, and nobody tidies up. */
  async die(at: Running): Promise<void> {
    this.engine.say(`${at.owner.name} dies`)
    this.coverage.met("deaths")
    this.bury(at)
    await this.boot()
  }

  bury(at: Running): void {
    at.owner.alive = false
    this.running.splice(this.running.indexOf(at), 1)
    for (const place of this.surroundings.waiting)
      if (place.owner === at.owner) this.surroundings.waiting.delete(place)
  }

  /** A process ends in good order, and hands over what it has not written. */
  async leave(at: Running): Promise<void> {
    this.engine.say(`${at.owner.name} leaves`)
    this.coverage.met("handed over")
    await this.finish(at.owner, Scope.close(at.desk.scope, Exit.void))
    this.bury(at)
    await this.boot()
  }

  /**
   * Changes an account by hand, as someone in charge would. Where it succeeds, and nobody else gave an order for the
   * account meanwhile, the books show what was wanted.
   */
  command(at: Running, { account, what, wants }: Order): void {
    const order: UnderWay = { isAlone: true }
    this.engine.say(`${account} ${what}`)
    const others = this.orders.get(account) ?? new Set()
    this.orders.set(account, others.add(order))
    for (const other of others) other.isAlone = others.size === 1
    if ("limit" in wants) {
      const asked = this.judge.limitsAsked.get(account) ?? new Set()
      this.judge.limitsAsked.set(account, asked.add(wants.limit))
    }
    const { ledger } = at.desk.budget
    const change: Effect.Effect<void, unknown> =
      "paused" in wants
        ? wants.paused
          ? ledger.pause(account)
          : ledger.resume(account)
        : wants.limit === null
          ? ledger.setLimit(account, null)
          : at.desk.budget.setLimit(account, Usd.nanos(wants.limit))
    const judged = Effect.onExit(change, (exit) =>
      Effect.sync(() => {
        others.delete(order)
        const shown = this.shown().find((each) => each.account === account)
        if (Exit.isFailure(exit) || shown === undefined || !order.isAlone) return
        const isDone = "paused" in wants ? shown.paused === wants.paused : shown.limit === wants.limit
        this.judge.claim(isDone, () => `${account} ${what}, and nothing came of it`)
      })
    )
    Process.start(at.owner, this.surroundings, Effect.ignore(judged))
  }

  account(drawn: Random): string {
    return drawn.chance(0.4) ? rootAccount : `${rootAccount}/${drawn.one(this.teams)}`
  }

  isOver(): boolean {
    return this.judge.faults.length > 0
  }

  /** Those that the judge has not seen yet. */
  entries(): ReadonlyArray<Ledger.Entry> {
    if (this.books.kind === "stored") return this.books.store.after(this.judge.seq)
    const all = this.now(Stream.runCollect(this.books.ledger.entries()))
    // Reading them may have let somebody ask, who had the judge read them.
    return all.slice(this.judge.seq)
  }

  shown(): ReadonlyArray<Numbers> {
    return this.books.kind === "stored" ? this.books.store.rows() : this.now(this.books.ledger.balances)
  }

  /** Checks both theorems, now. */
  look(isWhole = true): void {
    if (!isWhole) {
      // Whoever looks at the balances does what time has done: mostly nobody does.
      this.judge.take(this.entries())
      this.noteWaits()
      return
    }
    // What time has done is done as it is looked at, and those who waited for it run at once.
    if (this.books.kind === "memory") this.shown()
    const shown = this.shown()
    this.judge.take(this.entries())
    this.judge.compare(shown)
    this.noteWaits()
  }

  noteWaits(): void {
    for (const place of this.surroundings.waiting) {
      if (!place.seen)
        this.coverage.met(this.books.kind === "memory" ? "waits in memory" : "waits over a store")
      place.seen = true
    }
  }

  /** By the judge's own sums. */
  roomOn(account: string): number | undefined {
    this.judge.take(this.entries())
    return this.judge.roomOn(account, this.engine.now + this.observer.skew)
  }

  /** What an account has used, and what somebody who waits asks for on it or below it, or a nano-dollar less. */
  tightLimit(account: string, drawn: Random): number | undefined {
    const at = this.shown().find((each) => each.account === account)
    const asked = Array.from(this.surroundings.waiting, ({ request }) => request).filter((request) =>
      chainOf(request.account).includes(account)
    )
    if (at === undefined || asked.length === 0) return undefined
    const limit = at.spent + at.reserved + drawn.one(asked).least - drawn.below(2)
    return limit < 0 ? undefined : limit
  }

  /** Nobody waits for what is there: whoever has room waits behind someone who has none at an account of both. */
  lookAtThoseWhoWait(): void {
    if (this.books.kind !== "memory") return
    const now = this.engine.now + this.observer.skew
    const lacking = Array.from(this.surroundings.waiting, ({ request }) => ({
      request,
      accounts: chainOf(request.account).filter((name) => this.judge.lacks(name, request.least, now))
    }))
    const full = new Set(lacking.flatMap(({ accounts }) => accounts))
    for (const { request } of lacking) {
      const isStuck = chainOf(request.account).some((name) => full.has(name))
      this.judge.claim(isStuck, () => `${request.least} on ${request.account} waits, and has room`)
    }
  }

  /** What each budget says of itself. Over a store it may hear of an end later than the books. */
  lookAtSummaries(): void {
    if (this.books.kind !== "memory" || this.isOver()) return
    for (const { desk, owner } of this.running) {
      this.judge.compareSummary(desk.budget.view(), this.engine.now + owner.skew)
    }
  }

  /** Lets everything come to its end, and judges all of it once more. */
  async end(): Promise<void> {
    this.heal()
    for (const at of this.running) {
      for (const account of [rootAccount, ...this.teams.map((team) => `${rootAccount}/${team}`)]) {
        this.command(at, { account, what: "goes on", wants: { paused: false } })
      }
    }
    const horizon = this.engine.now + this.setting.windDown
    while (!this.isOver()) {
      await this.engine.rest()
      // Also what was begun only now.
      for (const abort of Array.from(this.calls.values())) abort()
      await this.engine.rest()
      const next = this.engine.next()
      if (next === undefined || next > horizon) break
      this.engine.advanceTo(next)
    }
    this.look()
    if (this.isOver()) return
    for (const { agents, owner } of this.running) {
      for (const name of agents.keys()) this.judge.fault(`${name} of ${owner.name} never came to its end`)
    }
    this.judge.conclude((caller) => this.judge.attempts.get(caller)?.unread === true)
    this.lookAtSummaries()
    const { books } = this
    if (books.kind === "memory" && books.sunk !== undefined) {
      for (let seq = 1; seq <= this.judge.seq; seq++) {
        this.judge.claim(books.sunk.has(seq), () => `entry ${seq} was never told`)
      }
    }
  }
}
