/** One round trip of an `effect/ai` model inside a budget: reserved before it, settled by what it tells of its bill. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ProviderName } from "effect/ai/Model"
import type * as BudgetError from "../BudgetError.ts"
import type * as Host from "../Host.ts"
import type * as Ledger from "../Ledger.ts"
import * as Quote from "../Quote.ts"
import * as Settlement from "../Settlement.ts"
import * as Usage from "../Usage.ts"
import * as Usd from "../Usd.ts"
import { admittedOn, askOf, Attempt, firstAsk } from "./attempt.ts"
import type { Bill } from "./budgetTypes.ts"
import { Covering, Held, placed, Places, telling } from "./callContext.ts"
import { sinkOf, traceRefusal, type Called, type Sink } from "./callTrace.ts"
import { Cover, Hold } from "./cover.ts"
import { outcomeOf, type Told } from "./modelBill.ts"
import { refuse, type ModelEdge } from "./modelEdge.ts"
import { ContextCaller } from "./steps.ts"
import { book, coverOf, giveUp, reserve } from "./takeOver.ts"

/** A request that a round trip comes to. */
interface ModelRequest {
  readonly path: string
  readonly body: object
  /** All of it was stated by the user: nothing else is set where it is sent. */
  readonly isStated: boolean
}

/** Nothing is known of the host, and nothing is written into what is sent: the tier and the cap are the user's word. */
const somewhere: Host.Host = { known: true, regional: false, takesTier: false, verified: false }

const quoteOf = (
  { policy, pricing }: ModelEdge,
  { body, path }: ModelRequest,
  at: number
): Result.Result<Quote.Quote, BudgetError.BudgetError> =>
  Quote.make(
    pricing,
    { method: "POST", path, body, host: somewhere, at },
    // No cap can be written into what is sent: one that is not stated is the model's own.
    { ...policy, uncapped: policy.uncapped === "refuse" ? "refuse" : "modelMaximum" }
  )

interface Admitted {
  readonly quote: Quote.Quote
  readonly reservation: Ledger.Reservation
  /** The call of a model around it, whose reservation it took over. */
  readonly under: Cover | undefined
  readonly account: string
}

/** Reserves for a round trip, or takes over what a call of a model around it holds. */
const held = (
  edge: ModelEdge,
  made: Quote.Quote,
  context: Context.Context<never>
): Effect.Effect<Admitted, BudgetError.BudgetError> => {
  const { budget, counter, policy, pricing } = edge
  let quote = made
  const account = Context.get(context, Places).get(budget.key) ?? budget.account
  const counted = Effect.map(Quote.countedBy(counter, made), (tighter) => askOf((quote = tighter)))
  const ask = firstAsk(budget.remaining(), policy.inputBound, made, counted)
  const under = coverOf(budget, context)
  return Effect.gen(function* () {
    const reservation = yield* reserve(budget, under, ask)
    const left = giveUp(budget, under, reservation)
    const admitted = yield* Effect.onError(
      Effect.sync(() => admittedOn(reservation, quote, pricing)),
      () => left
    )
    if (Result.isSuccess(admitted)) return { quote: admitted.success, reservation, under, account }
    yield* left
    const { failure } = admitted
    if (failure._tag === "Dearer") return yield* held(edge, failure.quote, context)
    return yield* refuse(edge, failure)
  })
}

/** What a round trip is traced as. Where a budgeted request below takes it over, that one is traced instead. */
const calledOf = (name: string, quote: Quote.Quote | undefined, context: Context.Context<never>): Called => {
  const provider = Context.getOrUndefined(context, ProviderName)
  return {
    endpoint: { name },
    url: undefined,
    host: provider === undefined ? somewhere : { ...somewhere, provider },
    quote
  }
}

/** A round trip that was admitted. */
class ModelCall {
  readonly #cover: Cover
  readonly #attempt: Attempt
  readonly #hold: Hold
  readonly #readings: Told
  #hasBegun = false
  readonly #places: Context.Service.Shape<typeof Places>
  /** What a usage that the model told comes to. */
  readonly #costOf: (usage: Usage.Usage) => Usd.Usd

  constructor(edge: ModelEdge, admitted: Admitted, options: CallOptions, context: Context.Context<never>) {
    const { budget, policy, pricing } = edge
    const { account, quote, reservation, under } = admitted
    const covers = Context.get(context, Covering)
    this.#readings = options.readings
    this.#places = Context.get(context, Places)
    const hold = under?.hold ?? new Hold(reservation, Context.get(context, Held))
    this.#hold = hold
    const cover = new Cover({
      owner: budget.key,
      account,
      model: quote.model,
      least: quote.least,
      hold,
      outer: covers
    })
    this.#cover = cover
    const price = Quote.priceAt(quote, pricing, reservation.at)
    // Where nobody stated it, the provider may have asked for writes that are kept for 12 hours.
    const isUnsure =
      !options.request.isStated && !quote.longCache && price.rates.cacheWrite12h > price.rates.cacheWrite
    const terms: Omit<Settlement.Terms, "reserved"> = {
      model: quote.model,
      tier: price.tier,
      price,
      regional: quote.regional,
      longCache: quote.longCache || isUnsure,
      tools: quote.plan.tools,
      heldBack: quote.plan.heldBack,
      at: reservation.at,
      models: policy.models
    }
    // More may be held by now, or nothing at all.
    const held = (): Usd.Usd => (hold.amount > reservation.amount ? hold.amount : reservation.amount)
    const decide = (outcome: Settlement.Outcome): Settlement.Verdict =>
      Settlement.decide(outcome, { ...terms, reserved: held() }, pricing)
    this.#costOf = (usage) => {
      const { model, reading } = options.readings
      const outcome = { _tag: "Reported", reading: { usage, model, tier: reading?.tier } } as const
      const verdict = Result.try(() => decide(outcome))
      // What prices given by the user die of is told as the call is billed; no request below was billed for this, then.
      if (Result.isFailure(verdict)) return Usd.maximum
      return verdict.success._tag === "Released" ? Usd.zero : verdict.success.amount
    }
    this.#attempt = new Attempt({
      budget,
      caller: new ContextCaller(context),
      reservation,
      cover: under ?? {
        settle: (bill) => Effect.provideService(book(budget, hold, bill), Places, this.#places)
      },
      covers,
      label: quote.model,
      bound: { input: quote.input, margin: quote.margin },
      held,
      decide: (outcome) => {
        const verdict = decide(outcome)
        if (verdict._tag !== "Metered") return verdict
        budget.unverified("unverifiedModel")
        const { amount, usage } = verdict
        if (cover.isSeen) return { _tag: "Assumed", amount, why: "requests below were billed otherwise" }
        if (options.readings.isDoubtful) return { _tag: "Assumed", amount, why: "the answer ended twice" }
        return isUnsure && usage.cacheWrite12h > 0
          ? { _tag: "Assumed", amount, why: "how long its cache writes are kept is not told" }
          : verdict
      }
    })
  }

  /** Traced where somebody looks. */
  traceAs(sink: Sink | undefined, called: Called): void {
    this.#attempt.traceAs(sink, called, undefined)
  }

  /** The context of what runs inside, as it begins: it holds a reservation, which a request below may take over. */
  readonly inside = (context: Context.Context<never>): Context.Context<never> => {
    this.#hasBegun = true
    const own = Context.add(Context.add(context, Held, this.#hold), Covering, this.#cover)
    return telling(Context.add(own, Places, this.#places))
  }

  end(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      // An error that throws as it is looked at says nothing of what it cost.
      const outcome = Result.getOrElse(
        Result.try(() => this.#outcome(exit)),
        (): Settlement.Outcome => ({ _tag: "Lost", why: "the model failed" })
      )
      return this.#cover.over((below) => this.#conclude(outcome, below))
    })
  }

  /** Books what requests below were billed, and what the model tells of others that nobody saw. */
  #conclude(outcome: Settlement.Outcome, below: Bill | undefined): Effect.Effect<void> {
    const { model, usages } = this.#readings
    const unseen = this.#cover.unseen(usages, model, this.#costOf)
    const isReported = outcome._tag === "Reported"
    const isTheirs = unseen.length === 0 && (isReported || this.#cover.isChargedBelow(model))
    if (isTheirs) return this.#attempt.yielding(below)
    const own: Settlement.Outcome = isReported
      ? { _tag: "Reported", reading: { ...outcome.reading, usage: unseen.reduce(Usage.add) } }
      : outcome
    return this.#attempt.ending(own, below) ?? Effect.void
  }

  #outcome(exit: Exit.Exit<unknown, unknown>): Settlement.Outcome {
    const { reading } = this.#readings
    // It was interrupted as it was admitted.
    if (!this.#hasBegun) return { _tag: "NotSent" }
    if (reading !== undefined) return { _tag: "Reported", reading }
    if (this.#cover.isWaiting && !this.#readings.isHeard) return { _tag: "NotSent" }
    return Exit.isFailure(exit)
      ? outcomeOf(exit.cause, {
          isUnbilled: this.#cover.isUnbilled,
          isHeard: this.#readings.isHeard
        })
      : { _tag: "Lost", why: "the answer has no usage that could be true" }
  }
}

/** What a round trip comes to, and what it told of its bill so far. */
export interface CallOptions {
  readonly request: ModelRequest
  readonly readings: Told
}

const admit = (edge: ModelEdge, options: CallOptions): Effect.Effect<ModelCall, BudgetError.BudgetError> =>
  Effect.withFiber((fiber) => {
    const { budget } = edge
    // A request below is told of this fiber alone: it has to know what was said around it.
    const context = placed(fiber.context)
    const at = Context.get(context, Clock.Clock).currentTimeMillisUnsafe()
    const made = quoteOf(edge, options.request, at)
    const name = `POST ${options.request.path}`
    const refused = (error: BudgetError.BudgetError, quote?: Quote.Quote): void => {
      const sink = sinkOf(context, edge.built)
      if (sink !== undefined) traceRefusal(sink, calledOf(name, quote, context), error)
    }
    if (Result.isFailure(made)) {
      refused(made.failure)
      return refuse(edge, made.failure)
    }
    const quote = made.success
    return Effect.matchEffect(Effect.provideContext(held(edge, quote, context), context), {
      onFailure: (error) => {
        refused(error, quote)
        return Effect.fail(error)
      },
      // What throws here has sent nothing.
      onSuccess: (admitted) =>
        Effect.sync(() => new ModelCall(edge, admitted, options, context)).pipe(
          Effect.onError(() => giveUp(budget, admitted.under, admitted.reservation)),
          Effect.tap((call) =>
            Effect.onError(
              Effect.sync(() => call.traceAs(sinkOf(context, edge.built), calledOf(name, quote, context))),
              (cause) => call.end(Exit.failCause(cause))
            )
          )
        )
    })
  })

/** Runs a round trip that ends with its answer. */
export const around = <A, E>(
  edge: ModelEdge,
  options: CallOptions,
  self: Effect.Effect<A, E>
): Effect.Effect<A, E | BudgetError.BudgetError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(admit(edge, options), (call) =>
      Effect.onExit(restore(Effect.updateContext(self, call.inside)), (exit) => call.end(exit))
    )
  )

/**
 * Runs a round trip whose answer is a stream: what it holds lives as long as the stream. It is not booked by its first
 * end, as another one may follow, and what is booked is no longer held: the rest could be refused.
 */
export const aroundStream = <A, E>(
  edge: ModelEdge,
  options: CallOptions,
  self: Stream.Stream<A, E>
): Stream.Stream<A, E | BudgetError.BudgetError> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(admit(edge, options), (call, exit) => call.end(exit)),
      (call) => Stream.updateContext(self, call.inside)
    )
  )
