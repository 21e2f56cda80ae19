/** How a session is put together from its options. `BudgetedSession.ts` exports them. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Budget from "../Budget.ts"
import * as BudgetedFetch from "../BudgetedFetch.ts"
import * as BudgetError from "../BudgetError.ts"
import * as InputTokens from "../InputTokens.ts"
import * as Ledger from "../Ledger.ts"
import * as Pricing from "../Pricing.ts"
import * as Usd from "../Usd.ts"
import { lasting } from "./background.ts"
import { checked, checkUnbounded, invalidOptions } from "./ledgerChecks.ts"
import * as Checks from "./optionChecks.ts"
import { policyFault, policyFields, readAs } from "./policyOptions.ts"
import * as SqliteLedger from "./sqliteLedger.ts"

/** What there is to say of a limit, beside the amount. */
export type LimitOptions = Omit<Budget.LimitOptions, "limit">

type Behaviour = Pick<Budget.Options, "account" | "onExceeded" | "waitAtMost">
type PriceOptions = Pick<Pricing.Options, "toolFees" | "maxAge">

/**
 * How a session spends.
 *
 * @example
 * ```ts
 * import { BudgetedSession } from "agent-budget"
 *
 * const session = new BudgetedSession({ budgetUsd: "0.50", window: "day", tier: "batch", onExceeded: "wait" })
 * console.log(session.getRemainingBudget()) // 0.5
 * await session.close()
 * ```
 *
 * @since 0.1.0
 */
export interface SessionOptions extends BudgetedFetch.PolicyOptions, LimitOptions, Behaviour, PriceOptions {
  /** The limit in dollars; a string is exact. */
  readonly budgetUsd: Usd.Dollars
  /** Prices of your own, on top of the bundled table, by the model's exact id. */
  readonly prices?: Pricing.Options["overrides"]
  /**
   * Has OpenAI count the input of calls to `/responses` that name what they do not show; see `InputTokens`. One round
   * trip more for such a call, of at most 10 seconds unless a `timeout` is said.
   */
  readonly countRemotely?: boolean | { readonly timeout?: Duration.Input | undefined } | undefined
  /**
   * Where the books are, the memory of this process unless said: `"file:budget.db"` for a SQLite file that survives the
   * process and is shared by those of one machine, a ledger's layer (which belongs to the session and is closed with it),
   * or a ledger of yours.
   */
  readonly ledger?: string | Ledger.Ledger["Service"] | Layer.Layer<Ledger.Ledger, unknown> | undefined
  /**
   * Where the spans and metrics of calls go, nowhere unless said: a tracer's layer, such as those of
   * `effect/observability/Otlp`; see `Telemetry`. It belongs to the session, and has sent everything when `close` is done.
   */
  readonly telemetry?: Layer.Layer<never, unknown> | undefined
}

/** A limit that a caller, who may have no types, wrote in dollars. What is finer than a nano-dollar never raises it. */
export const amountOf = (budgetUsd: unknown): Effect.Effect<Usd.Usd, BudgetError.BudgetError> => {
  const read =
    typeof budgetUsd === "string" || typeof budgetUsd === "number"
      ? Result.try(() => Usd.dollars(budgetUsd))
      : Result.fail(undefined)
  if (Result.isFailure(read) || read.success < 0) {
    const detail = `budgetUsd is ${shown(budgetUsd)}: give dollars, from 0 up, such as 5 or "0.50".`
    return Effect.fail(BudgetError.because(new BudgetError.InvalidAmount({ detail })))
  }
  const isRaised = Usd.toNumber(read.success) > Number(budgetUsd)
  return Effect.succeed(isRaised ? Usd.subtract(read.success, Usd.nanos(1)) : read.success)
}

/** A number, or what stands in its place: a text may be anything, a key too. */
const shown = (value: unknown): string =>
  typeof value === "number" || value === undefined || value === null
    ? String(value)
    : typeof value === "string" && /^[-+$\d.,eE\s]{0,40}$/.test(value)
      ? JSON.stringify(value)
      : `of type ${typeof value}, and no number`

const Every = Schema.Literals(["hour", "day", "week", "month"])

const limitChoices = {
  onLimitChange: Schema.optional(Schema.Literals(["refuse", "set"])),
  window: Schema.optional(
    Schema.Union([
      Every,
      Schema.Struct({ every: Every, timeZone: Schema.optional(Schema.String) }),
      Schema.Struct({ rolling: Schema.Unknown })
    ])
  ),
  thresholds: Schema.optional(Schema.Array(Schema.Finite))
}

const LimitChoices = Schema.Struct(limitChoices)

/** What plain JavaScript, or a configuration, can get wrong: a misspelt word must not fall back to a default. */
const Choices = Schema.Struct({
  ...policyFields,
  ...limitChoices,
  onExceeded: Schema.optional(Schema.Literals(["fail", "wait"])),
  countRemotely: Schema.optional(
    Schema.Union([Schema.Boolean, Schema.Struct({ timeout: Schema.optional(Schema.Unknown) })])
  )
})

const optionNames = {
  budgetUsd: true,
  window: true,
  thresholds: true,
  onLimitChange: true,
  onExceeded: true,
  waitAtMost: true,
  account: true,
  ledger: true,
  telemetry: true,
  prices: true,
  toolFees: true,
  maxAge: true,
  tier: true,
  uncapped: true,
  inputBound: true,
  countRemotely: true,
  models: true,
  allow: true,
  endpoints: true,
  hosts: true,
  abandoned: true,
  refusal: true
} satisfies Checks.Names<SessionOptions>

const uncappedNames = { share: true, floor: true } satisfies Checks.Names<SessionOptions["uncapped"]>
const windowNames = { every: true, timeZone: true, rolling: true } satisfies Checks.Names<Ledger.Window>
const remoteNames = { timeout: true } satisfies Checks.Names<SessionOptions["countRemotely"]>

const misspeltIn = (options: SessionOptions): string | undefined =>
  Checks.checkNames("a session", options, optionNames) ??
  Checks.checkNames("uncapped", options.uncapped, uncappedNames) ??
  Checks.checkNames("window", options.window, windowNames) ??
  Checks.checkNames("countRemotely", options.countRemotely, remoteNames)

const accountNames = {
  account: true,
  budgetUsd: true,
  window: true,
  thresholds: true,
  onLimitChange: true
} satisfies Checks.Names<LimitOptions & { readonly account: string; readonly budgetUsd?: Usd.Dollars }>

/** An account below a session's as it may be opened: no word of it falls back to a default either. */
export const checkAccount = (options: unknown): Effect.Effect<void, BudgetError.BudgetError> => {
  const fault = Checks.isRecord(options)
    ? (Checks.checkNames("an account", options, accountNames) ??
      Checks.checkNames("window", options.window, windowNames))
    : 'an account is no object. Write { account: "ann" }, with its name.'
  return Effect.andThen(checked(fault), Effect.asVoid(readAs(LimitChoices, options)))
}

const ownPrices =
  'Give an object, as in prices: { "my-model": { input: "1.25", output: "10" } }; parse the text of a JSON file first.'

const pricesFault = ({ prices, toolFees }: SessionOptions): string | undefined =>
  Checks.checkRecord("prices", prices, ownPrices) ?? Checks.checkToolFees(toolFees)

const namedLedgers =
  `Name a SQLite file (ledger: "file:budget.db"), leave it out for books in memory, or give a layer: ` +
  `await BudgetedSession.make({ ledger: PostgresLedger.layerUrl({ url }) }).`

const isLedger = (ledger: unknown): boolean =>
  ledger === undefined ||
  typeof ledger === "string" ||
  Layer.isLayer(ledger) ||
  (Predicate.hasProperty(ledger, "reserve") && typeof ledger.reserve === "function")

/** What is wrong with the parts that a session is built of, and with its times. */
const faultIn = (options: SessionOptions): string | undefined => {
  const { countRemotely, ledger, maxAge, telemetry, waitAtMost } = options
  if (!isLedger(ledger)) return `the ledger is no name, no layer and no ledger. ${namedLedgers}`
  if (telemetry !== undefined && !Layer.isLayer(telemetry)) {
    return "the telemetry is no layer. Give a tracer's layer, such as one of effect/observability/Otlp, or leave it out."
  }
  const timeout = typeof countRemotely === "object" ? countRemotely.timeout : undefined
  return checkUnbounded({ maxAge, waitAtMost, "countRemotely.timeout": timeout })
}

const checkOptions = (options: SessionOptions): Effect.Effect<void, BudgetError.BudgetError> =>
  Effect.flatMap(readAs(Choices, options), (choices) =>
    checked(misspeltIn(options) ?? policyFault(choices) ?? pricesFault(options) ?? faultIn(options))
  )

/** Whether the session opens its ledger, and so closes it. */
export const ownsLedger = ({ ledger }: SessionOptions): boolean =>
  typeof ledger !== "object" || !("reserve" in ledger)

const booksOf = (ledger: SessionOptions["ledger"]): Layer.Layer<Ledger.Ledger, unknown> => {
  if (ledger === undefined) return Ledger.layerMemory()
  if (typeof ledger !== "string") {
    return "reserve" in ledger ? Layer.succeed(Ledger.Ledger, ledger) : ledger
  }
  if (ledger.startsWith("file:")) return Layer.effect(Ledger.Ledger, SqliteLedger.make({ filename: ledger }))
  // Only its scheme is told: an address may hold a password.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(ledger)?.[0]
  return Layer.effect(
    Ledger.Ledger,
    Effect.fail(
      invalidOptions(
        `${scheme === undefined ? "the ledger's name has no scheme" : `no ledger goes by ${JSON.stringify(scheme)}`}. ` +
          namedLedgers
      )
    )
  )
}

/** Everything that a session needs. Options that cannot be are refused before a ledger is opened. */
export const layerOf = (options: SessionOptions): Layer.Layer<Budget.Budget | Pricing.Pricing, unknown> =>
  Layer.unwrap(
    Effect.andThen(checkOptions(options), () =>
      Effect.map(amountOf(options.budgetUsd), (limit) => builtOf(options, limit))
    )
  )

const builtOf = (
  options: SessionOptions,
  limit: Usd.Usd
): Layer.Layer<Budget.Budget | Pricing.Pricing, unknown> => {
  const { budgetUsd: _, prices, toolFees, maxAge, ledger, account, onExceeded, waitAtMost, ...rest } = options
  const { countRemotely, onLimitChange, telemetry, thresholds, window, ...policy } = rest
  const limits = { limit, onLimitChange, thresholds, window }
  const budget = Budget.layer({ ...limits, account, onExceeded, waitAtMost }).pipe(
    Layer.provide(booksOf(ledger))
  )
  const pricing = Layer.effect(Pricing.Pricing, Pricing.make({ overrides: prices, toolFees, maxAge }))
  const remote =
    countRemotely === undefined || countRemotely === false
      ? Layer.empty
      : InputTokens.layerCaller(countRemotely === true ? {} : countRemotely)
  // What it does in the background must outlive the constructor that it may be built in.
  const traces = telemetry === undefined ? Layer.empty : Layer.effectContext(lasting(Layer.build(telemetry)))
  return Layer.mergeAll(budget, pricing, Layer.succeed(BudgetedFetch.Policy, policy), remote, traces)
}
