/**
 * A `fetch` with a budget around it: where request, quote, ledger and settlement meet. Every HTTP edge of this
 * library goes through it, once for each attempt, retries included.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import type { Endpoint, Reading } from "./Endpoint.ts"
import type * as Host from "./Host.ts"
import * as InputTokens from "./InputTokens.ts"
import { addressBook, type Target } from "./internal/addresses.ts"
import { admittedOn, askOf, Attempt, firstAsk, type AttemptOptions, type Dearer } from "./internal/attempt.ts"
import { aside } from "./internal/background.ts"
import { callContext, Covering, forFiber, lasting } from "./internal/callContext.ts"
import { sinkOf, traceRefusal, type Called, type Sink } from "./internal/callTrace.ts"
import type { Cover } from "./internal/cover.ts"
import { edit, isObject, type Json, type JsonObject } from "./internal/json.ts"
import { servedModel } from "./internal/modelNames.ts"
import { refusalResponse } from "./internal/refusals.ts"
import { checkedPolicy } from "./internal/policyOptions.ts"
import {
  isSigned,
  ownOptions,
  readRequest,
  rereadable,
  writtenAs,
  type ReadRequest
} from "./internal/requestBody.ts"
import { questionURL } from "./internal/remoteCount.ts"
import { followableOf, recordsOf, type Followable, type ResponseRecords } from "./internal/responseRecords.ts"
import { leavable, watch } from "./internal/responseWatch.ts"
import { afterDrain, edges, markUnsent, passes, promised, send, type Fetch } from "./internal/sending.ts"
import { ContextCaller, isDone, stepOf } from "./internal/steps.ts"
import { pinsTier } from "./internal/servedPrices.ts"
import { coverOf, giveUp, reserve } from "./internal/takeOver.ts"
import type * as Ledger from "./Ledger.ts"
import * as Pricing from "./Pricing.ts"
import * as Quote from "./Quote.ts"
import * as Settlement from "./Settlement.ts"
import * as TokenCounter from "./TokenCounter.ts"
import type * as Usd from "./Usd.ts"

export type { Fetch }

/**
 * How calls are bounded, sent and settled: the options of a quote, and what becomes of a call after it.
 *
 * @example
 * ```ts
 * import type { BudgetedFetch } from "agent-budget"
 *
 * const policy: BudgetedFetch.PolicyOptions = { abandoned: "drain", models: { "my-deployment": "gpt-4o" } }
 * console.log(policy.abandoned) // drain
 * ```
 *
 * @since 0.1.0
 */
export interface PolicyOptions extends Quote.Options {
  /**
   * What becomes of a response that its reader leaves early: `"assume"` charges the whole reservation, unless said
   * otherwise; `"drain"` reads on in the background, for at most a minute, and books the truth: the answer is then
   * generated, and paid, to its end.
   */
  readonly abandoned?: "assume" | "drain" | undefined
  /** Whether a `fetch` answers a refused call by a 402 response, as it does unless said otherwise, or throws. */
  readonly refusal?: "throw" | "response" | undefined
}

/**
 * The policy of every budgeted `fetch` that is built where it is provided; the defaults unless one is.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { BudgetedFetch } from "agent-budget"
 *
 * const tier = Effect.map(BudgetedFetch.Policy, (policy) => policy.tier ?? "standard")
 * console.log(await Effect.runPromise(Effect.provide(tier, BudgetedFetch.layer({ tier: "flex" })))) // flex
 * ```
 *
 * @since 0.1.0
 */
export const Policy = Context.Reference<PolicyOptions>("agent-budget/BudgetedFetch/Policy", {
  defaultValue: () => ({})
})

/**
 * A policy as a layer. Fails with `InvalidOptions` for what TypeScript would refuse, as a configuration may have it.
 *
 * @example
 * ```ts
 * import { BudgetedFetch } from "agent-budget"
 *
 * const Careful = BudgetedFetch.layer({ uncapped: "refuse" })
 * console.log(typeof Careful) // object
 * ```
 *
 * @since 0.1.0
 */
export const layer = (policy: PolicyOptions): Layer.Layer<never, BudgetError.BudgetError> =>
  Layer.effect(Policy, checkedPolicy(policy))

const configOf = Config.all({
  tier: Config.option(Config.schema(Pricing.Tier, "AGENT_BUDGET_TIER")),
  abandoned: Config.option(Config.Literals(["assume", "drain"], "AGENT_BUDGET_ABANDONED")),
  uncapped: Config.option(Config.Literals(["modelMaximum", "refuse"], "AGENT_BUDGET_UNCAPPED")),
  inputBound: Config.option(Config.Literals(["auto", "bytes", "counted"], "AGENT_BUDGET_INPUT_BOUND"))
})

/**
 * A policy from the environment: `AGENT_BUDGET_TIER`, `AGENT_BUDGET_ABANDONED`, `AGENT_BUDGET_UNCAPPED` and
 * `AGENT_BUDGET_INPUT_BOUND`, on top of `defaults`. Fails with a `ConfigError` that names the variable, and as `layer`
 * does for the defaults.
 *
 * @example
 * ```ts
 * import { ConfigProvider, Effect, Layer } from "effect"
 * import { BudgetedFetch } from "agent-budget"
 *
 * const Environment = Layer.succeed(
 *   ConfigProvider.ConfigProvider,
 *   ConfigProvider.fromUnknown({ AGENT_BUDGET_TIER: "flex" })
 * )
 * const tier = Effect.map(BudgetedFetch.Policy, (policy) => policy.tier).pipe(
 *   Effect.provide(BudgetedFetch.layerConfig().pipe(Layer.provide(Environment)))
 * )
 * console.log(await Effect.runPromise(tier)) // flex
 * ```
 *
 * @since 0.1.0
 */
export const layerConfig = (
  defaults: PolicyOptions = {}
): Layer.Layer<never, Config.ConfigError | BudgetError.BudgetError> =>
  Layer.effect(
    Policy,
    Effect.flatMap(configOf, ({ tier, abandoned, uncapped, inputBound }) =>
      checkedPolicy({
        ...defaults,
        ...(Option.isSome(tier) ? { tier: tier.value } : {}),
        ...(Option.isSome(abandoned) ? { abandoned: abandoned.value } : {}),
        ...(Option.isSome(uncapped) ? { uncapped: uncapped.value } : {}),
        ...(Option.isSome(inputBound) ? { inputBound: inputBound.value } : {})
      })
    )
  )

/**
 * What a budgeted `fetch` is put around.
 *
 * @example
 * ```ts
 * import type { BudgetedFetch } from "agent-budget"
 *
 * const options: BudgetedFetch.Options = { baseURL: "https://api.openai.com/v1", refusal: "throw" }
 * console.log(options.refusal) // throw
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /** Does the sending; the global `fetch` unless said. Whatever it sends again by itself is not seen. */
  readonly fetch?: Fetch | undefined
  /**
   * The root of the API; calls to any other origin or root are refused. Without it, any host that is known (or stated in
   * the policy's `hosts`) is reached.
   */
  readonly baseURL?: string | undefined
  /**
   * Whose API is spoken, by the name that `Host` has for it, where the host does not tell: a gateway may hand on what that
   * one bills of its errors.
   */
  readonly provider?: string | undefined
  /**
   * A refused call is answered by a 402 response that names the reason, unless it is to throw. Clients try again what a
   * `fetch` throws, some of them seven times, and let a 402 be; its reason is found in what they make of it, and in the
   * response itself (`BudgetExceededError.is`).
   */
  readonly refusal?: "throw" | "response" | undefined
}

/**
 * Puts the budget around `fetch`. Put around a `fetch` that has this budget around it already, it takes that one's
 * place: a call is charged once.
 *
 * A call that is made by a fiber is charged to the fiber's account.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Budget, BudgetedFetch, BudgetError, Pricing, Usd } from "agent-budget"
 *
 * const refused = Effect.gen(function*() {
 *   const fetch = yield* BudgetedFetch.make()
 *   return yield* Effect.promise(() => fetch("https://api.openai.com/v1/videos", { method: "POST" }))
 * }).pipe(Effect.provide(Layer.mergeAll(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)))
 * const response = await Effect.runPromise(refused)
 * console.log(response.status, BudgetError.find(response)?.reason._tag) // 402 UnsupportedEndpoint
 * ```
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Fetch, never, Budget.Budget | Pricing.Pricing> =>
  Effect.gen(function* () {
    const budget = yield* Budget.Budget
    const pricing = yield* Pricing.Pricing
    const policy = yield* Policy
    const counter = yield* TokenCounter.orShared
    const context = lasting(yield* Effect.context())
    if (policy.tier === "batch" && !warned.has(budget.key)) {
      warned.add(budget.key)
      budget.unverified("unverifiedTier")
      yield* Effect.logWarning(
        "Calls are quoted and settled at batch rates, which no response confirms: that they are billed so is your word."
      )
    }
    const given = options.fetch ?? globalThis.fetch
    const below = edges.get(given)
    const inner = below?.budget.key === budget.key ? below.inner : given
    const edge: Edge = {
      budget,
      pricing,
      policy,
      counter,
      remote: Option.getOrUndefined(yield* Effect.serviceOption(InputTokens.InputTokens)),
      caller: new ContextCaller(context),
      sink: sinkOf(context, context),
      inner,
      options,
      records: recordsOf(budget.key),
      target: addressBook({ baseURL: options.baseURL, endpoints: policy.endpoints, hosts: policy.hosts })
    }
    // The only place where what is thrown becomes a rejection: below it nothing is awaited that is at hand.
    const fetch: Fetch = (input, init) => promised(() => forFiber(() => call(edge, input, init)))
    edges.set(fetch, edge)
    return fetch
  })

/** The budgets whose batch rates were warned of: once each, however many clients they are around. */
const warned = new WeakSet<object>()

/** The budgets whose remote counts were warned to fail. */
const uncounted = new WeakSet<object>()

interface Edge {
  readonly budget: Budget.Budget["Service"]
  readonly pricing: Pricing.Pricing["Service"]
  readonly policy: PolicyOptions
  readonly counter: TokenCounter.TokenCounter["Service"]
  readonly remote: InputTokens.InputTokens["Service"] | undefined
  /** Whoever built it: he calls where no fiber does. */
  readonly caller: ContextCaller
  readonly sink: Sink | undefined
  readonly inner: Fetch
  readonly options: Options
  readonly records: ResponseRecords
  readonly target: (method: string, url: string) => Target
}

/** One call of `fetch`: one attempt. */
const call = (
  edge: Edge,
  input: string | URL | Request,
  options: RequestInit | undefined
): Response | Promise<Response> => {
  const caller = callerOf(edge)
  if (input instanceof Request) {
    return refuse(
      edge,
      caller,
      BudgetError.because(
        new BudgetError.MalformedRequest({
          detail: "a Request object hides its body.",
          fix: "Call fetch(url, { method, headers, body }) with a string body."
        })
      )
    )
  }
  // Read once: a URL object may be another one by the time that it is sent.
  const url = String(input)
  const given = ownOptions(options)
  if (passes(edge, url, given?.body)) return edge.inner(url, given)
  const method = given?.method
  const { found, host } = edge.target((method ?? "GET").toUpperCase(), url)
  switch (found._tag) {
    case "Free":
      // What was looked up is what is sent, also where it is another when it is read again.
      return edge.inner(url, method === undefined ? given : { ...given, method })
    case "Refused":
      return refuse(edge, caller, found.error)
    case "Vouched":
      return vouched(edge, caller, { endpoint: { name: found.name }, url, host }, found.most, given)
    case "Priced": {
      const init = rereadable(given)
      const request = readRequest(init)
      if (Result.isFailure(request)) return refuse(edge, caller, request.failure)
      const { endpoint } = found
      const { body, survey, text } = request.success
      const quoted = Quote.quote(
        edge.pricing,
        endpoint,
        { body, text, survey, deployment: found.deployment },
        edge.policy,
        { host, at: now(caller), previous: edge.records.lookup(url) }
      )
      if (Result.isFailure(quoted)) return refuse(edge, caller, quoted.failure, { endpoint, host, url })
      if (changes(quoted.success, host) && isSigned(init)) return refuse(edge, caller, signedUnbounded)
      return priced(edge, caller, {
        endpoint,
        quote: quoted.success,
        host,
        request: request.success,
        url,
        init
      })
    }
  }
}

/** Refuses what was decided before anything was reserved. */
const refuse = async (
  edge: Edge,
  caller: ContextCaller,
  error: BudgetError.BudgetError,
  called?: Called
): Promise<Response> => {
  if (called !== undefined) tellRefused(edge, caller, error, called)
  await run(caller, edge.budget.refuse(error))
  return answerRefusal(edge, error)
}

/** Refuses what the budget would not admit; it has counted that itself, unless it is shut. */
const refuseHeld = (
  edge: Edge,
  caller: ContextCaller,
  error: BudgetError.BudgetError,
  called: Called
): Promise<Response> | Response => {
  if (error.reason._tag === "Closed") return refuse(edge, caller, error, called)
  tellRefused(edge, caller, error, called)
  return answerRefusal(edge, error)
}

const tellRefused = (
  edge: Edge,
  caller: ContextCaller,
  error: BudgetError.BudgetError,
  called: Called
): void => {
  const sink = sinkFor(edge, caller)
  if (sink !== undefined) traceRefusal(sink, called, error)
}

const answerRefusal = (edge: Edge, error: BudgetError.BudgetError): Response => {
  if ((edge.options.refusal ?? edge.policy.refusal) !== "throw") {
    const response = refusalResponse(error)
    markUnsent(response, edge)
    return response
  }
  const thrown = BudgetError.toThrown(error)
  markUnsent(thrown, edge)
  throw thrown
}

const signedUnbounded = BudgetError.because(
  new BudgetError.MalformedRequest({
    detail: "its body is signed, so that no output cap and no service tier can be written into it.",
    fix: "Set them yourself, or authenticate with a bearer token."
  })
)

/** Whether the bound holds only for a copy with a cap or a tier in it. */
const changes = (quote: Quote.Quote, host: Host.Host): boolean =>
  quote.cap !== undefined || pinsTier(quote.plan, host)

/** The fiber that calls: its account, its clock; or whoever built this `fetch`. */
const callerOf = ({ caller }: Edge): ContextCaller => {
  const told = callContext.getStore()?.context
  return told === undefined ? caller : new ContextCaller(told)
}

const sinkFor = (edge: Edge, caller: ContextCaller): Sink | undefined =>
  caller === edge.caller ? edge.sink : sinkOf(caller.context, edge.caller.context)

/** The caller's own time, which a test may hold. */
const now = (caller: ContextCaller): number => caller.getRef(Clock.Clock).currentTimeMillisUnsafe()

const run = <A, E>({ context }: ContextCaller, effect: Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromiseWith(context)(effect)

/** What an attempt holds, and from which call of a model it took that over. */
interface Holding {
  readonly reservation: Ledger.Reservation
  readonly cover: Cover | undefined
}

type Held = Result.Result<Holding, BudgetError.BudgetError>

/**
 * Reserves, or takes over what the call of a model holds, or answers the refusal: at once where nobody has to wait. A
 * caller that goes away while it waits holds nothing.
 */
const acquire = (
  edge: Edge,
  caller: ContextCaller,
  ask: Budget.Ask | Effect.Effect<Budget.Ask>,
  signal: AbortSignal | null | undefined
): Held | Promise<Held> => {
  signal?.throwIfAborted()
  const cover = coverOf(edge.budget, caller.context)
  const reserving =
    cover === undefined && "least" in ask
      ? stepOf(edge.budget.acquire)(caller, ask)
      : reserve(edge.budget, cover, ask)
  if (isDone(reserving)) return Result.succeed({ reservation: reserving.value, cover })
  // Only a count, and a ledger's wait, let themselves be interrupted: what was granted is always in the exit.
  const fiber = Effect.runForkWith(caller.context)(reserving, { uninterruptible: true })
  const exit = fiber.pollUnsafe()
  return exit === undefined ? waited(edge, caller, fiber, cover, signal) : heldOf(exit, cover)
}

/** What is no refusal is thrown, as it was. */
const heldOf = (
  exit: Exit.Exit<Ledger.Reservation, BudgetError.BudgetError>,
  cover: Cover | undefined
): Held => Result.map(Effect.runSync(Effect.result(exit)), (reservation) => ({ reservation, cover }))

const waited = async (
  edge: Edge,
  caller: ContextCaller,
  fiber: Fiber.Fiber<Ledger.Reservation, BudgetError.BudgetError>,
  cover: Cover | undefined,
  signal: AbortSignal | null | undefined
): Promise<Held> => {
  const interrupt = (): void => fiber.interruptUnsafe()
  signal?.addEventListener("abort", interrupt)
  const exit = await Effect.runPromise(Fiber.await(fiber))
  signal?.removeEventListener("abort", interrupt)
  if (signal?.aborted === true) {
    if (Exit.isSuccess(exit)) await run(caller, giveUp(edge.budget, cover, exit.value))
    signal.throwIfAborted()
  }
  return heldOf(exit, cover)
}

const providerOf = ({ options }: Edge, host: Host.Host): string | undefined =>
  host.provider ?? options.provider

/** What is known of a call, for its attempt. */
const attemptOf = (
  edge: Edge,
  caller: ContextCaller,
  { cover, reservation }: Holding,
  { bound, decide, label }: Pick<AttemptOptions, "label" | "bound" | "decide">
): Attempt =>
  new Attempt({
    budget: edge.budget,
    caller,
    reservation,
    cover,
    covers: caller.getRef(Covering),
    label,
    bound,
    decide
  })

/** An endpoint at the user's own maximum: no response tells its bill, so a success is charged whole. */
const vouched = (
  edge: Edge,
  caller: ContextCaller,
  called: Called & { readonly url: string },
  most: Usd.Usd,
  given: RequestInit | undefined
): Response | Promise<Response> => {
  const { name } = called.endpoint
  // It throws for headers that cannot be, which must be before anything is held.
  const init = asPriced(given)
  const held = acquire(edge, caller, { least: most, label: name }, given?.signal)
  const begin = (holding: Holding): Attempt =>
    attemptOf(edge, caller, holding, {
      label: name,
      bound: undefined,
      decide: (outcome) => Settlement.decideWhole(outcome, most, providerOf(edge, called.host))
    })
  return whenHeld(edge, caller, held, called, begin, (attempt) => {
    attempt.traceAs(sinkFor(edge, caller), called, undefined)
    const request = { url: called.url, init, body: init.body, drains: false }
    return send(edge, attempt, request, (response) => {
      attempt.end(answered(response))
      return response
    })
  })
}

/** Goes on with the reservation, at once where it is at hand, or refuses. */
const whenHeld = (
  edge: Edge,
  caller: ContextCaller,
  asked: Held | Promise<Held>,
  called: Called,
  begin: (holding: Holding) => Attempt,
  go: (attempt: Attempt) => Response | Promise<Response>
): Response | Promise<Response> => {
  if (asked instanceof Promise) return asked.then((held) => whenHeld(edge, caller, held, called, begin, go))
  if (Result.isFailure(asked)) return refuseHeld(edge, caller, asked.failure, called)
  let attempt: Attempt | undefined
  try {
    attempt = begin(asked.success)
    return go(attempt)
  } catch (error) {
    // What throws here has sent nothing. Where the attempt has ended this is of no effect.
    if (attempt !== undefined) attempt.end({ _tag: "NotSent" })
    else {
      const { cover, reservation } = asked.success
      Effect.runForkWith(caller.context)(giveUp(edge.budget, cover, reservation))
    }
    throw error
  }
}

const answered = (response: Response): Settlement.Outcome => ({ _tag: "Answered", status: response.status })

/**
 * The request as it was when it was priced. Whoever waits must not find another one in its place: a `fetch` reads
 * its arguments when it is called.
 */
const asPriced = (init: RequestInit | undefined): RequestInit => ({
  ...init,
  headers: new Headers(init?.headers)
})

/** A call that is bounded, and how to send it. */
interface PricedCall {
  readonly endpoint: Endpoint
  readonly quote: Quote.Quote
  readonly host: Host.Host
  readonly request: ReadRequest
  readonly url: string
  readonly init: RequestInit | undefined
}

const priced = (edge: Edge, caller: ContextCaller, asked: PricedCall): Response | Promise<Response> => {
  let { quote } = asked
  // What is held, and so the cap that is written, follows from the bound that it was asked for by.
  const counted = Effect.suspend(() =>
    Effect.map(countedQuote(edge, asked), (tighter) => askOf((quote = tighter)))
  )
  const ask = firstAsk(edge.budget.remaining(), edge.policy.inputBound, quote, counted)
  const held = acquire(edge, caller, ask, asked.init?.signal)
  const call = held instanceof Promise ? { ...asked, init: asPriced(asked.init) } : asked
  const quoted = (): PricedCall => (quote === call.quote ? call : { ...call, quote })
  let unmet: BudgetError.BudgetError | Dearer | undefined
  return whenHeld(
    edge,
    caller,
    held,
    call,
    (holding) => {
      const admitted = admittedOn(holding.reservation, quote, edge.pricing)
      if (Result.isSuccess(admitted)) quote = admitted.success
      else unmet = admitted.failure
      return begun(edge, caller, quoted(), holding)
    },
    (attempt) => {
      if (unmet === undefined) return sendPriced(edge, caller, quoted(), attempt)
      attempt.end({ _tag: "NotSent" })
      return unmet._tag === "Dearer"
        ? priced(edge, caller, { ...call, quote: unmet.quote })
        : refuse(edge, caller, unmet, call)
    }
  )
}

/** The quote with its input counted, here and, where that was asked for, by the provider. */
const countedQuote = (edge: Edge, { init, quote, url }: PricedCall): Effect.Effect<Quote.Quote> => {
  const { counter, inner, remote } = edge
  const local = Quote.countedBy(counter, quote)
  // A question that is billed, by the user's word, would be paid by nothing.
  if (remote === undefined || edge.target("POST", questionURL(url)).found._tag === "Vouched") return local
  const call: InputTokens.Call = { url, init, fetch: inner }
  return Effect.flatMap(local, (tighter) =>
    Effect.catch(Quote.countedRemotelyBy(remote, counter, tighter, call), (error) =>
      Effect.as(warnUncounted(edge, error), tighter)
    )
  )
}

const warnUncounted = ({ budget }: Edge, error: InputTokens.InputTokensError): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (uncounted.has(budget.key)) return Effect.void
    uncounted.add(budget.key)
    return aside(
      Effect.logWarning(`${error.message} Such calls hold their whole context window. This is logged once.`)
    )
  })

const begun = (
  edge: Edge,
  caller: ContextCaller,
  { host, quote, url }: PricedCall,
  holding: Holding
): Attempt => {
  const { policy, pricing } = edge
  const { input, longCache, margin, model, regional } = quote
  const { amount: reserved, at } = holding.reservation
  const price = Quote.priceAt(quote, pricing, at)
  const { input: fed, output, tools } = quote.plan
  const terms: Settlement.Terms = {
    reserved,
    model,
    tier: price.tier,
    price,
    regional,
    longCache,
    tools,
    hears: fed.audio,
    speaks: output?.audio,
    at,
    provider: providerOf(edge, host),
    heldBack: quote.plan.heldBack,
    models: policy.models
  }
  const followable = host.verified ? followableOf(quote) : undefined
  // An attempt may last for as long as its answer streams: it must not keep the request, which the quote does.
  return attemptOf(edge, caller, holding, {
    label: model,
    bound: { input, margin },
    decide: (outcome) => {
      const verdict = Settlement.decide(outcome, terms, pricing)
      if (verdict._tag === "Metered" && outcome._tag === "Reported") {
        learn(edge, url, followable, outcome.reading)
      }
      return verdict
    }
  })
}

const sendPriced = (
  edge: Edge,
  caller: ContextCaller,
  priced: PricedCall,
  attempt: Attempt
): Promise<Response> => {
  const { endpoint, quote, host, request, url, init } = priced
  const { budget, policy } = edge
  if (!host.verified) budget.unverified("unverifiedHost")
  if (quote.bound === "remote") budget.unverified("unverifiedCount")
  const { plan } = quote
  const cap = Quote.capFor(quote, attempt.reservation.amount)
  attempt.traceAs(sinkFor(edge, caller), priced, cap ?? plan.output?.cap)
  if (cap !== undefined && quote.cap !== undefined && quote.cap.most > quote.cap.least) {
    attempt.run(budget.capped(quote.model, cap))
  }
  const hideUsage = plan.askForUsage && !isSigned(init)
  const edits: Record<string, Json> = {}
  if (cap !== undefined && quote.cap !== undefined) edits[quote.cap.field] = cap
  if (pinsTier(plan, host)) edits.service_tier = wireTier(policy.tier)
  if (hideUsage) edits.stream_options = { ...optionsOf(request.body.stream_options), include_usage: true }
  // A signed one needs no edits: it would have been refused.
  const body = writtenAs(init?.body, edit(request.text, request.body, edits))
  const observer = {
    reported: (reading: Reading) => attempt.end({ _tag: "Reported", reading }),
    lost: (why: string) => attempt.end({ _tag: "Lost", why }),
    drains: () => policy.abandoned === "drain" && !attempt.ended,
    afterDrain: (run: () => void) => afterDrain(attempt, run)
  }
  const watching = { endpoint, stream: plan.stream, hideUsage, signal: init?.signal }
  const drains = policy.abandoned === "drain"
  return send(edge, attempt, { url, init, body, drains }, (response) => {
    if (response.ok) return watch(response, observer, watching)
    attempt.end(answered(response))
    return drains ? leavable(response, { ...watching, hideUsage: false }) : response
  })
}

/** Keeps what a response of a host whose bills are known billed, for the requests that go on from it. */
const learn = (
  { policy, pricing, records }: Edge,
  url: string,
  followable: Followable | undefined,
  reading: Reading
): void => {
  if (reading.id === undefined || followable === undefined) return
  const served = servedModel(reading.model, policy.models, pricing)
  records.learn(new URL(url).host, followable, reading, served?.id)
}

const optionsOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})

/** What the API calls a tier. Batch rates are not a tier of a request: such calls are sent as standard ones. */
const wireTier = (tier: Pricing.Tier | undefined): string =>
  tier === undefined || tier === "standard" || tier === "batch" ? "default" : tier
