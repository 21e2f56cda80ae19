/**
 * The Promise face: a budget for programs that know nothing of Effects.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import * as BudgetedFetch from "./BudgetedFetch.ts"
import * as BudgetedOpenAi from "./BudgetedOpenAi.ts"
import { under } from "./internal/addresses.ts"
import { callContext, lasting, Places } from "./internal/callContext.ts"
import { checkUnbounded, invalidOptions } from "./internal/ledgerChecks.ts"
import { checkQuoted } from "./internal/optionChecks.ts"
import { recordsOf } from "./internal/responseRecords.ts"
import {
  amountOf,
  checkAccount,
  layerOf,
  ownsLedger,
  type LimitOptions,
  type SessionOptions as Options
} from "./internal/sessionOptions.ts"
import { balanceOf, quoteOf, summaryOf } from "./internal/sessionViews.ts"
import type * as Pricing from "./Pricing.ts"
import * as Quote from "./Quote.ts"
import * as TokenCounter from "./TokenCounter.ts"
import type * as Usage from "./Usage.ts"
import * as Usd from "./Usd.ts"

export type { Options }

/**
 * What one model cost so far, in dollars and tokens.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: 5 })
 * console.log(session.getSummary().byModel["gpt-4o"]?.calls ?? 0) // 0
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface ModelSummary {
  readonly calls: number
  readonly spentUsd: number
  /** The part of it that no provider confirmed. */
  readonly assumedUsd: number
  readonly usage: Usage.Usage
  /** The largest share of its quoted input tokens that a call was billed for; see `Budget.ModelSummary`. */
  readonly closest: number
}

/**
 * A session's numbers so far, in dollars, as far as this process knows them; see `Budget.Summary`.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: 5 })
 * const { limitUsd, spentUsd, refused } = session.getSummary()
 * console.log(limitUsd, spentUsd, refused) // 5 0 0
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface Summary {
  readonly limitUsd: number
  readonly spentUsd: number
  readonly reservedUsd: number
  readonly remainingUsd: number
  /** When the next window begins; `null` without windows, and before a rolling one. */
  readonly nextWindow: Date | null
  readonly overrunUsd: number
  readonly calls: number
  readonly refused: number
  readonly capped: number
  readonly byModel: Readonly<Record<string, ModelSummary>>
  readonly unverified: ReadonlyArray<string>
}

/**
 * An account's numbers, in dollars, from the ledger.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: 5 })
 * const balance = await session.balance()
 * console.log(balance.account, balance.availableUsd) // root 5
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface Balance {
  readonly account: string
  readonly limitUsd: number | null
  readonly spentUsd: number
  readonly reservedUsd: number
  readonly availableUsd: number | null
  /** When the next window begins; `null` without windows, and before a rolling one. */
  readonly nextWindow: Date | null
}

/**
 * What a request costs at most, for people: in dollars and tokens. `bound` says how its input is bounded, `counted` how
 * many of its tokens were counted; `fits` whether it would be admitted now.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: "0.01" })
 * const { fits, lines, mostUsd } = await session.quote("/responses", {
 *   model: "gpt-4o", input: "Hi", max_output_tokens: 100
 * })
 * console.log(mostUsd, fits) // 0.0010725 true
 * for (const { tokens, usdPerMillion, what } of lines) console.log(tokens, what, usdPerMillion)
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface SessionQuote {
  readonly model: string
  /** What it is refused below: with the smallest output cap that would be written into it. */
  readonly leastUsd: number
  readonly mostUsd: number
  readonly inputTokens: number
  readonly bound: Quote.Quote["bound"]
  readonly counted: number | null
  readonly fits: boolean
  readonly lines: ReadonlyArray<{
    readonly what: string
    /** Or calls of a hosted tool, where the unit is that. */
    readonly tokens: number
    readonly unit: "token" | "call"
    readonly usdPerMillion: number
    readonly usd: number
    readonly why: string
  }>
}

/**
 * An account below a session's, as `open` and `within` open it: its name, and what it may spend of what the session may.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 * import type { SessionAccount } from "agent-budget/BudgetedSession"
 *
 * const ann: SessionAccount = { account: "ann", budgetUsd: "0.50" }
 * const session = new BudgetedSession({ budgetUsd: 5 })
 * console.log(await session.within(ann, () => session.balance().then((balance) => balance.account))) // root/ann
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface SessionAccount extends LimitOptions {
  /** One part of a path, without a slash. */
  readonly account: string
  /** Its limit in dollars; a string is exact. Only the limits above hold where it is left out. */
  readonly budgetUsd?: Usd.Dollars | undefined
}

/** How long `close` waits for open calls, unless told otherwise. */
const closeWithin = "10 seconds"

/**
 * A budget for the plain `openai` client: wrap it once, and what you spend never passes `budgetUsd`. A call that does
 * not fit is refused, with a `BudgetExceededError`, before anything is sent.
 *
 * The constructor throws a `BudgetRefusedError` for options that cannot be, and for a ledger that cannot be opened. A
 * ledger that takes time to open, as those over a network do, needs `await BudgetedSession.make(options)`.
 *
 * @example
 * ```ts
 * import OpenAI from "openai"
 * import { BudgetedSession, BudgetExceededError } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: "0.05" })
 * const client = session.wrapOpenAI(new OpenAI())
 * try {
 *   for (;;) {
 *     await client.chat.completions.create({
 *       model: "gpt-4o",
 *       messages: [{ role: "user", content: "Tell me a story." }]
 *     })
 *   }
 * } catch (error) {
 *   console.log(error instanceof BudgetExceededError) // true
 * }
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export class BudgetedSession {
  readonly #runtime: Opened["runtime"]
  readonly #services: Opened["services"]
  readonly #ownsLedger: boolean
  readonly #budget: Budget.Budget["Service"]
  #closing: Promise<void> | undefined
  /**
   * A `fetch` with this session's budget around it, for whatever takes one. It answers its refusals by 402 responses,
   * which clients do not try again; `refusal: "throw"` in the session's options has it throw them.
   */
  readonly fetch: BudgetedFetch.Fetch

  constructor(options: Options) {
    const { runtime, services } = opened.get(options) ?? openNow(options)
    this.#runtime = runtime
    this.#services = services
    this.#ownsLedger = ownsLedger(options)
    this.#budget = Context.get(this.#services, Budget.Budget)
    this.fetch = Effect.runSyncWith(this.#services)(BudgetedFetch.make())
  }

  /** A session over any ledger, also one that takes time to open. Rejects with what the constructor would throw. */
  static async make(options: Options): Promise<BudgetedSession> {
    const runtime = ManagedRuntime.make(layerOf(options))
    const exit = await runtime.runPromiseExit(Effect.context<Services>())
    if (Exit.isFailure(exit)) await runtime.dispose()
    const own = { ...options }
    opened.set(own, { runtime, services: lasting(unwrap(exit)) })
    return new BudgetedSession(own)
  }

  /** A client of the same class, with the budget around everything it sends. Keep this one, not the one given. */
  wrapOpenAI<Client extends BudgetedOpenAi.Wrappable>(client: Client): Client {
    this.#refuseIfClosed()
    return unwrap(Effect.runSyncExitWith(this.#services)(BudgetedOpenAi.wrap(client)))
  }

  /**
   * This session's budget and prices as services, for programs in Effect: agents of `effect/ai` and clients of Promises
   * then spend from the same budget. Calls are charged to this session's account, or to that of the `within` around
   * where it is read. Provide it inside of the session's life: it keeps nothing open.
   */
  get layer(): Layer.Layer<Budget.Budget | Pricing.Pricing> {
    const around = callContext.getStore()?.context
    const budget = this.#budget
    const services = this.#services
    const account = around && Context.get(around, Places).get(budget.key)
    if (account === undefined) return Layer.succeedContext(services)
    // Other budgets' accounts stay as the program that it is provided to has them.
    return Layer.effectContext(
      Effect.withFiber((fiber) =>
        Effect.succeed(Context.add(services, Places, new Map(fiber.getRef(Places)).set(budget.key, account)))
      )
    )
  }

  /** What was spent so far, in dollars; with windows, in the current one. */
  getTotalSpent(): number {
    return Usd.toNumber(this.#budget.view().spent)
  }

  /** What is left, in dollars: the limit, less what was spent and what open calls hold. */
  getRemainingBudget(): number {
    return Usd.toNumber(this.#budget.view().remaining)
  }

  /** The numbers so far, as far as this process knows them. */
  getSummary(): Summary {
    return summaryOf(this.#budget.view())
  }

  /** The ledger's own numbers for this session's account, or for the one inside `within`. */
  async balance(): Promise<Balance> {
    this.#refuseIfClosed()
    return balanceOf(await this.#run(Budget.balance))
  }

  /** The numbers of every open account. */
  async balances(): Promise<ReadonlyArray<Balance>> {
    this.#refuseIfClosed()
    return (await this.#run(Budget.balances)).map(balanceOf)
  }

  /**
   * What a request would cost at most, and whether it fits, without sending it: `path` is below the API's root. Its
   * input is counted, unless the session bounds by `"bytes"`. `baseURL` is that of the client that would send it, OpenAI's
   * own unless said: other hosts may bill more, and what is known of an earlier response is known of its host's. Rejects
   * as the sending would where there is no bound.
   */
  async quote(
    path: string,
    body: object,
    where: { readonly baseURL?: string | undefined } = {}
  ): Promise<SessionQuote> {
    this.#refuseIfClosed()
    const fault = checkQuoted(path, where)
    if (fault !== undefined) throw BudgetError.toThrown(invalidOptions(fault))
    const { baseURL = "https://api.openai.com/v1" } = where
    const previous = recordsOf(this.#budget.key).lookup(baseURL)
    return this.#run(
      Effect.gen(function* () {
        const policy = yield* BudgetedFetch.Policy
        const counter = yield* TokenCounter.orShared
        const byLength = yield* Quote.of(
          { method: "POST", body, previous, ...under(baseURL, path, policy.hosts) },
          policy
        )
        const quote = policy.inputBound === "bytes" ? byLength : yield* Quote.countedBy(counter, byLength)
        return quoteOf(quote, yield* Quote.fits(quote))
      })
    )
  }

  /** Raises or lowers the limit of this session, or of the account of the `within` around the call, in dollars. */
  async setLimit(budgetUsd: Usd.Dollars): Promise<void> {
    this.#refuseIfClosed()
    return this.#run(Effect.flatMap(amountOf(budgetUsd), Budget.setLimit))
  }

  /**
   * Admits nothing more on this session's account, or on that of the `within` around the call, until `resume`. What is
   * under way ends as ever. In a durable ledger it is so for every process, and stays so.
   */
  async pause(): Promise<void> {
    this.#refuseIfClosed()
    return this.#run(Budget.pause)
  }

  /** Admits calls again after a `pause`; those that wait are let in. */
  async resume(): Promise<void> {
    this.#refuseIfClosed()
    return this.#run(Budget.resume)
  }

  /**
   * Opens an account below this session's (or below that of the `within` around the call), which stays open until the
   * session is closed, and longer in a durable ledger. Each `within` of its name spends from it. The same again joins it;
   * another limit rejects with an `AccountConflict`, unless `onLimitChange` says otherwise.
   */
  async open(options: SessionAccount): Promise<void> {
    this.#refuseIfClosed()
    return this.#run(Effect.flatMap(accountOf(options), Budget.open))
  }

  /**
   * Charges every call that `run` makes to an account of its own, below this session's (or below the account of the
   * `within` around it), and to all above it. Its `window`, `thresholds` and `onLimitChange` are as in
   * `Budget.LimitOptions`; a name that is none of these is refused. Rejects with what `run` throws.
   *
   * The account lasts as long as somebody has it open: unless `open` opened it, the next `within` of its name has its
   * whole limit again, in a window of its own.
   */
  async within<A>(options: SessionAccount, run: () => A | Promise<A>): Promise<A> {
    this.#refuseIfClosed()
    const inside = Effect.contextWith((context: Context.Context<never>) =>
      Effect.tryPromise({
        try: () => callContext.run({ context, passing: undefined }, async () => run()),
        catch: (thrown) => new Thrown({ thrown })
      })
    )
    return this.#run(Effect.flatMap(accountOf(options), (account) => Budget.within(inside, account)))
  }

  /**
   * What happens to the budget from now on, until the session is closed. A reader that falls 1,024 events behind
   * loses the oldest.
   */
  events(): AsyncIterable<Budget.Event> {
    const queue = Effect.runSync(Queue.sliding<Budget.Event, Cause.Done>(1_024))
    const feed = Effect.runFork(
      Stream.runForEach(this.#budget.events, (event) => Queue.offer(queue, event)).pipe(
        Effect.ensuring(Queue.end(queue))
      )
    )
    const events = Stream.toAsyncIterable(Stream.fromQueue(queue))
    return {
      [Symbol.asyncIterator]: () => {
        const reader = events[Symbol.asyncIterator]()
        const leave = async (): Promise<IteratorReturnResult<undefined>> => {
          await reader.return?.()
          // Not by the end of the stream: who leaves before the first event has not begun it.
          await Effect.runPromise(Fiber.interrupt(feed))
          return { done: true, value: undefined }
        }
        return { ...reader, return: leave }
      }
    }
  }

  /**
   * Ends the session: refuses every new call that can cost, waits for the open ones (10 seconds unless told
   * otherwise), and charges whole what is open still. `getSummary` and the other getters stay readable. Where the
   * session's own ledger could not be reached, it rejects with the reason `Unwritten`, which has each amount that is not
   * in the books. Given a time that is none, it rejects with `InvalidOptions`, and closes nothing.
   */
  close(options?: { readonly waitAtMost?: Duration.Input | undefined }): Promise<void> {
    const waitAtMost = options?.waitAtMost ?? closeWithin
    const fault = checkUnbounded({ waitAtMost })
    if (fault !== undefined) return Promise.reject(BudgetError.toThrown(invalidOptions(fault)))
    return (this.#closing ??= this.#close(waitAtMost))
  }

  /** `await using session = ...` closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(waitAtMost: Duration.Input): Promise<void> {
    const budget = this.#budget
    const settled = Effect.sync(() => budget.outstanding().length === 0).pipe(
      Effect.repeat({ until: (none) => none, schedule: Schedule.spaced("10 millis") }),
      Effect.timeoutOption(waitAtMost)
    )
    const chargeWhole = Effect.suspend(() =>
      Effect.forEach(
        budget.outstanding(),
        (reservation) => budget.settle(reservation, { amount: reservation.amount, verdict: "assumed" }),
        { concurrency: "unbounded" }
      )
    )
    await this.#run(Effect.andThen(budget.shut, Effect.andThen(settled, chargeWhole)))
    await this.#runtime.dispose()
    // The last events are still on their way to whoever reads them.
    await new Promise((resolve) => setImmediate(resolve))
    // A ledger of the user's own lives on, and writes by itself.
    const endings = this.#ownsLedger ? await Effect.runPromise(budget.ledger.unwritten) : []
    if (endings.length > 0)
      throw BudgetError.toThrown(BudgetError.because(new BudgetError.Unwritten({ endings })))
  }

  #refuseIfClosed(): void {
    if (this.#closing === undefined) return
    const reason = new BudgetError.Closed({ detail: "The session is closed." })
    throw BudgetError.toThrown(BudgetError.because(reason))
  }

  /** Runs an effect for whoever calls: on the account of the `within` around it. */
  async #run<A, E>(effect: Effect.Effect<A, E, Budget.Budget | Pricing.Pricing>): Promise<A> {
    const around = callContext.getStore()?.context ?? Context.empty()
    const exit = await Effect.runPromiseExitWith(around)(Effect.provideContext(effect, this.#services))
    return unwrap(exit)
  }
}

type Services = Budget.Budget | Pricing.Pricing

interface Opened {
  readonly runtime: ManagedRuntime.ManagedRuntime<Services, unknown>
  readonly services: Context.Context<Services>
}

/** What `make` has opened for the constructor. */
const opened = new WeakMap<Options, Opened>()

const openNow = (options: Options): Opened => {
  const runtime = ManagedRuntime.make(layerOf(options))
  const exit = runtime.runSyncExit(Effect.context<Services>())
  if (Exit.isSuccess(exit)) return { runtime, services: lasting(exit.value) }
  // What was begun is closed, at once where it can be.
  Effect.runSyncExit(runtime.disposeEffect)
  if (!Cause.isAsyncFiberError(Cause.squash(exit.cause))) throw thrownBy(exit.cause)
  const detail =
    "this ledger takes time to open, and a constructor cannot wait. " +
    "Write await BudgetedSession.make({ ... }) instead of new BudgetedSession({ ... })."
  throw BudgetError.toThrown(invalidOptions(detail))
}

/** An account as a caller, who may have no types, wrote it. */
const accountOf = (options: SessionAccount): Effect.Effect<Budget.AccountOptions, BudgetError.BudgetError> =>
  Effect.flatMap(checkAccount(options), () => {
    const { budgetUsd, ...account } = options
    return budgetUsd === undefined
      ? Effect.succeed(account)
      : Effect.map(amountOf(budgetUsd), (limit) => ({ ...account, limit }))
  })

/** What a user's own function threw, on its way back to the user. */
class Thrown extends Data.TaggedError("Thrown")<{ readonly thrown: unknown }> {}

/** The value, or the error as a Promise user knows it. */
const unwrap = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw thrownBy(exit.cause)
}

const thrownBy = (cause: Cause.Cause<unknown>): unknown => {
  const error: unknown = Cause.squash(cause)
  if (error instanceof Thrown) return error.thrown
  return error instanceof BudgetError.BudgetError ? BudgetError.toThrown(error) : error
}
