/**
 * The Promise face: a budget for programs that know nothing of Effects.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import * as BudgetedFetch from "./BudgetedFetch.ts"
import * as BudgetedOpenAi from "./BudgetedOpenAi.ts"
import { callContext, lasting } from "./internal/callContext.ts"
import * as InputTokens from "./InputTokens.ts"
import * as Ledger from "./Ledger.ts"
import * as Pricing from "./Pricing.ts"
import * as Quote from "./Quote.ts"
import * as TokenCounter from "./TokenCounter.ts"
import type * as Usage from "./Usage.ts"
import * as Usd from "./Usd.ts"

/**
 * How a session spends. `budgetUsd` in dollars (a string is exact); `prices` on top of the bundled table; `ledger` for
 * books of your own (the memory of this process unless said); the rest as in `BudgetedFetch.PolicyOptions` and
 * `Budget.Options`.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: "0.50", tier: "batch", onExceeded: "wait" })
 * console.log(session.getRemainingBudget()) // 0.5
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends BudgetedFetch.PolicyOptions {
  readonly budgetUsd: string | number
  readonly prices?: Readonly<Record<string, Pricing.PriceOverride>> | undefined
  /** What hosted tools cost, where that is not what the bundled table says. */
  readonly toolFees?: Pricing.ToolFeesOverride | undefined
  /** The oldest price table to accept. */
  readonly maxAge?: Duration.Input | undefined
  /**
   * Has OpenAI count the input of calls to `/responses` that name what they do not show; see `InputTokens`. One round
   * trip more for such a call, of at most 10 seconds unless a `timeout` is said.
   */
  readonly countRemotely?: boolean | { readonly timeout?: Duration.Input | undefined } | undefined
  readonly ledger?: Ledger.Ledger["Service"] | undefined
  readonly account?: string | undefined
  readonly onExceeded?: "fail" | "wait" | undefined
  readonly waitAtMost?: Duration.Input | undefined
}

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
 * A session's numbers so far, in dollars: this process's view of them.
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

/** How long `close` waits for open calls, unless told otherwise. */
const closeWithin = "10 seconds"

/**
 * A budget for the plain `openai` client: wrap it once, and what you spend never passes `budgetUsd`. A call that does
 * not fit is refused, with a `BudgetExceededError`, before anything is sent.
 *
 * The constructor throws a `BudgetRefusedError` for a budget or prices that cannot be.
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
  readonly #runtime: ManagedRuntime.ManagedRuntime<Budget.Budget | Pricing.Pricing, BudgetError.BudgetError>
  readonly #services: Context.Context<Budget.Budget | Pricing.Pricing>
  readonly #budget: Budget.Budget["Service"]
  readonly #closed = Deferred.makeUnsafe<true>()
  #closing: Promise<void> | undefined
  /** A `fetch` with this session's budget around it, for whatever takes one. It throws its refusals. */
  readonly fetch: BudgetedFetch.Fetch

  constructor(options: Options) {
    this.#runtime = ManagedRuntime.make(layerOf(options))
    this.#services = lasting(
      unwrap(this.#runtime.runSyncExit(Effect.context<Budget.Budget | Pricing.Pricing>()))
    )
    this.#budget = Context.get(this.#services, Budget.Budget)
    this.fetch = Effect.runSyncWith(this.#services)(BudgetedFetch.make())
  }

  /** A client of the same class, with the budget around everything it sends. Keep this one, not the one given. */
  wrapOpenAI<Client extends BudgetedOpenAi.Wrappable>(client: Client): Client {
    this.#refuseIfClosed()
    return unwrap(Effect.runSyncExitWith(this.#services)(BudgetedOpenAi.wrap(client)))
  }

  /** What was spent so far, in dollars. */
  getTotalSpent(): number {
    return Usd.toNumber(this.#budget.view().spent)
  }

  /** What is left, in dollars: the limit, less what was spent and what open calls hold. */
  getRemainingBudget(): number {
    return Usd.toNumber(this.#budget.view().remaining)
  }

  /** This process's numbers so far. */
  getSummary(): Summary {
    const view = this.#budget.view()
    return {
      limitUsd: Usd.toNumber(view.limit),
      spentUsd: Usd.toNumber(view.spent),
      reservedUsd: Usd.toNumber(view.reserved),
      remainingUsd: Usd.toNumber(view.remaining),
      overrunUsd: Usd.toNumber(view.overrun),
      calls: view.calls,
      refused: view.refused,
      capped: view.capped,
      byModel: Object.fromEntries(
        Object.entries(view.byModel).map(([model, { spent, assumed, ...rest }]) => [
          model,
          { ...rest, spentUsd: Usd.toNumber(spent), assumedUsd: Usd.toNumber(assumed) }
        ])
      ),
      unverified: view.unverified
    }
  }

  /** The ledger's own numbers for this session's account, or for the one inside `within`. */
  async balance(): Promise<Balance> {
    return balanceOf(await this.#run(Budget.balance))
  }

  /** The numbers of every open account. */
  async balances(): Promise<ReadonlyArray<Balance>> {
    return (await this.#run(Budget.balances)).map(balanceOf)
  }

  /**
   * What a request would cost at most, and whether it fits, without sending it: `path` is below the API's root. Its
   * input is counted, unless the session bounds by `"bytes"`. Rejects as the sending would where there is no bound.
   */
  async quote(path: string, body: object): Promise<SessionQuote> {
    return this.#run(
      Effect.gen(function* () {
        const policy = yield* BudgetedFetch.Policy
        const counter = yield* TokenCounter.orShared
        const byLength = yield* Quote.of({ method: "POST", path, body }, policy)
        const quote = policy.inputBound === "bytes" ? byLength : yield* Quote.countedBy(counter, byLength)
        return quoteOf(quote, yield* Quote.fits(quote))
      })
    )
  }

  /** Raises or lowers the limit of this session, or of the account of the `within` around the call, in dollars. */
  async setLimit(budgetUsd: string | number): Promise<void> {
    this.#refuseIfClosed()
    return this.#run(Effect.flatMap(amountOf(budgetUsd), Budget.setLimit))
  }

  /**
   * Charges every call that `run` makes to an account of its own, below this session's (or below the account of the
   * `within` around it), and to all above it. Rejects with what `run` throws.
   */
  async within<A>(
    options: { readonly account: string; readonly budgetUsd?: string | number | undefined },
    run: () => A | Promise<A>
  ): Promise<A> {
    this.#refuseIfClosed()
    const inside = Effect.contextWith((context: Context.Context<never>) =>
      Effect.tryPromise({
        try: () => callContext.run({ context, passing: undefined }, async () => run()),
        catch: (thrown) => new Thrown({ thrown })
      })
    )
    const { account, budgetUsd } = options
    const limit = budgetUsd === undefined ? Effect.succeed(undefined) : amountOf(budgetUsd)
    return this.#run(Effect.flatMap(limit, (most) => Budget.within(inside, { account, limit: most })))
  }

  /**
   * What happens to the budget from now on, until the session is closed. A reader that falls 1,024 events behind
   * loses the oldest.
   */
  events(): AsyncIterable<Budget.Event> {
    const queue = Effect.runSync(Queue.sliding<Budget.Event, Cause.Done>(1_024))
    const feed = Effect.runFork(Stream.runForEach(this.#budget.events, (event) => Queue.offer(queue, event)))
    const end = Deferred.await(this.#closed).pipe(
      Effect.andThen(Fiber.interrupt(feed)),
      Effect.andThen(Queue.end(queue))
    )
    const ending = Effect.runFork(end)
    return Stream.toAsyncIterable(
      Stream.ensuring(Stream.fromQueue(queue), Fiber.interruptAll([feed, ending]))
    )
  }

  /**
   * Ends the session: refuses every new call, waits for the open ones (10 seconds unless told otherwise), and charges
   * whole what is open still. `getSummary` and the other getters stay readable.
   */
  close(options?: { readonly waitAtMost?: Duration.Input | undefined }): Promise<void> {
    return (this.#closing ??= this.#close(options?.waitAtMost ?? closeWithin))
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
      Effect.forEach(budget.outstanding(), (reservation) =>
        budget.settle(reservation, { amount: reservation.amount, verdict: "assumed" })
      )
    )
    await this.#run(Effect.andThen(budget.shut, Effect.andThen(settled, chargeWhole)))
    await this.#runtime.dispose()
    // The last events are still on their way to whoever reads them.
    await new Promise((resolve) => setImmediate(resolve))
    Deferred.doneUnsafe(this.#closed, Effect.succeed(true))
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

/** What a user's own function threw, on its way back to the user. */
class Thrown extends Data.TaggedError("Thrown")<{ readonly thrown: unknown }> {}

/** The value, or the error as a Promise user knows it. */
const unwrap = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  const error: unknown = Cause.squash(exit.cause)
  if (error instanceof Thrown) throw error.thrown
  if (error instanceof BudgetError.BudgetError) throw BudgetError.toThrown(error)
  throw error
}

const amountOf = (dollars: string | number): Effect.Effect<Usd.Usd, BudgetError.BudgetError> =>
  Effect.try({
    try: () => Usd.dollars(dollars),
    catch: (error) => {
      const detail = error instanceof Error ? error.message : `${dollars} is not an amount.`
      return BudgetError.because(new BudgetError.InvalidAmount({ detail }))
    }
  })

/** What plain JavaScript, or a configuration, can get wrong: a misspelt word must not fall back to a default. */
const Choices = Schema.Struct({
  tier: Schema.optional(Pricing.Tier),
  onExceeded: Schema.optional(Schema.Literals(["fail", "wait"])),
  abandoned: Schema.optional(Schema.Literals(["assume", "drain"])),
  inputBound: Schema.optional(Schema.Literals(["auto", "bytes", "counted"])),
  uncapped: Schema.optional(
    Schema.Union([
      Schema.Literals(["modelMaximum", "refuse"]),
      Schema.Struct({ share: Schema.optional(Schema.Finite), floor: Schema.optional(Schema.Int) })
    ])
  ),
  models: Schema.optional(Schema.Record(Schema.String, Schema.String)),
  allow: Schema.optional(Schema.Array(Schema.String)),
  endpoints: Schema.optional(
    Schema.Record(
      Schema.String,
      Schema.Union([Schema.Literal("free"), Schema.Struct({ maxUsd: Usd.FromDollars })])
    )
  )
})

const checkChoices = (options: Options): Effect.Effect<void, BudgetError.BudgetError> =>
  Effect.matchEffect(Schema.decodeUnknownEffect(Choices)(options), {
    onFailure: (error) => {
      const detail = error.message
      return Effect.fail(BudgetError.because(new BudgetError.InvalidOptions({ detail })))
    },
    onSuccess: () => Effect.void
  })

const layerOf = (options: Options): Layer.Layer<Budget.Budget | Pricing.Pricing, BudgetError.BudgetError> => {
  const { budgetUsd, prices, toolFees, maxAge, ledger, account, onExceeded, waitAtMost, ...rest } = options
  const { countRemotely, ...policy } = rest
  const budget = Layer.unwrap(
    Effect.andThen(
      checkChoices(options),
      Effect.map(amountOf(budgetUsd), (limit) => Budget.layer({ limit, account, onExceeded, waitAtMost }))
    )
  )
  const books = ledger === undefined ? Ledger.layerMemory() : Layer.succeed(Ledger.Ledger, ledger)
  const pricing = Layer.effect(Pricing.Pricing, Pricing.make({ overrides: prices, toolFees, maxAge }))
  const remote =
    countRemotely === undefined || countRemotely === false
      ? Layer.empty
      : InputTokens.layerCaller(countRemotely === true ? {} : countRemotely)
  return Layer.mergeAll(Layer.provide(budget, books), pricing, BudgetedFetch.layer(policy), remote)
}

const quoteOf = (quote: Quote.Quote, fits: boolean): SessionQuote => ({
  model: quote.model,
  leastUsd: Usd.toNumber(quote.least),
  mostUsd: Usd.toNumber(quote.most),
  inputTokens: quote.input,
  bound: quote.bound,
  counted: quote.count ?? null,
  fits,
  lines: Quote.lines(quote).map(({ picoDollars, tokens, unit, what, why }) => ({
    what,
    tokens,
    unit,
    usdPerMillion: picoDollars / 1e6,
    usd: (tokens * picoDollars) / 1e12,
    why
  }))
})

const balanceOf = (balance: Ledger.Balance): Balance => ({
  account: balance.account,
  limitUsd: balance.limit === null ? null : Usd.toNumber(balance.limit),
  spentUsd: Usd.toNumber(balance.spent),
  reservedUsd: Usd.toNumber(balance.reserved),
  availableUsd: balance.available === null ? null : Usd.toNumber(balance.available)
})
