/**
 * Everything that can be refused, as one error with a typed reason.
 *
 * `BudgetError` is what Effects fail with; match on `error.reason._tag`, or use `Effect.catchReason`. Promise
 * users catch `BudgetRefusedError` and its most common kind, `BudgetExceededError`. Each message says what
 * happened, with its numbers, and what to do. None carries a prompt's text or a key.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { sentence } from "./internal/schemaText.ts"
import * as Usd from "./Usd.ts"

/** What JSON leaves as it is and a terminal does not: C1 controls, and marks that reorder or hide text. */
const unseen = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g

/** A name for people, whatever was sent as one: quoted, escaped, cut. */
const quoted = (name: string): string =>
  JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name).replace(
    unseen,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** The same without the quotes. */
const shown = (name: string): string => quoted(name).slice(1, -1)

/** A time that may come from elsewhere. */
const moment = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : `${millis} ms`

const limitOf = (limit: Usd.Usd | null): string =>
  limit === null ? "no limit" : `a limit of ${Usd.format(limit)}`

const left = (at: {
  readonly limit: Usd.Usd
  readonly spent: Usd.Usd
  readonly reserved: Usd.Usd
}): Usd.Usd => Usd.subtract(Usd.subtract(at.limit, at.spent), at.reserved)

/**
 * Reason: a call that could cost more than its budget has left. Nothing was sent. Amounts are nano-dollars; `required`
 * is the least that would have had to fit; `waitedMillis` is how long the call waited for room; `nextWindow`, on an
 * account with windows, when the next one begins, in milliseconds of the epoch.
 *
 * @example
 * ```ts
 * import { BudgetError, Usd } from "agent-budget"
 *
 * const reason = new BudgetError.BudgetExceeded({
 *   account: "root", limit: Usd.dollars("1"), spent: Usd.dollars("0.9"), reserved: Usd.zero,
 *   required: Usd.dollars("0.2"), waitedMillis: 0
 * })
 * console.log(reason.message)
 * ```
 *
 * @since 0.1.0
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  account: Schema.String,
  limit: Usd.FromNanos,
  spent: Usd.FromNanos,
  reserved: Usd.FromNanos,
  required: Usd.FromNanos,
  waitedMillis: Schema.Finite,
  nextWindow: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    const ever = this.nextWindow === undefined ? this.limit - this.spent : this.limit
    return (
      `Budget exceeded on account ${quoted(this.account)}: the call can cost up to ${Usd.format(this.required)}, and ` +
      `${Usd.format(left(this))} of ${Usd.format(this.limit)} is left (${Usd.format(this.spent)} spent, ` +
      `${Usd.format(this.reserved)} reserved${this.waitedMillis > 0 ? `, after waiting ${Math.round(this.waitedMillis)} ms` : ""}). ` +
      (this.required > ever
        ? `Nothing was sent. It can never fit: raise the limit${ever > 0 ? " or set a lower output cap" : ""}.`
        : `Nothing was sent. Raise the limit, set a lower output cap, or wait for room with onExceeded: "wait"` +
          (this.nextWindow === undefined ? "." : `; the next window begins at ${moment(this.nextWindow)}.`))
    )
  }
}

/**
 * Reason: an account, or one above it, that was paused. Nothing was sent. `waitedMillis` is how long the call waited
 * for it to be resumed.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.AccountPaused({ account: "root", waitedMillis: 0 }).message)
 * ```
 *
 * @since 0.1.0
 */
export class AccountPaused extends Schema.TaggedError<AccountPaused>()("AccountPaused", {
  account: Schema.String,
  waitedMillis: Schema.Finite
}) {
  override get message(): string {
    return (
      `Account ${quoted(this.account)} is paused and admits nothing` +
      `${this.waitedMillis > 0 ? ` (after waiting ${Math.round(this.waitedMillis)} ms)` : ""}. Nothing was sent. ` +
      `Resume it (Budget.resume, session.resume or ledger.resume), or wait for that with onExceeded: "wait".`
    )
  }
}

/**
 * Reason: a model that the price table does not know, so that its cost has no bound.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.UnknownModel({ model: "my-model" }).message)
 * ```
 *
 * @since 0.1.0
 */
export class UnknownModel extends Schema.TaggedError<UnknownModel>()("UnknownModel", {
  model: Schema.String
}) {
  override get message(): string {
    return (
      `Model ${quoted(this.model)} has no price, so its cost has no bound. Nothing was sent. Give its prices ` +
      `(prices: { ${quoted(this.model)}: { input: "...", output: "..." } }, USD per 1M tokens) or name the priced ` +
      `model behind it (models: { ${quoted(this.model)}: "gpt-4o" }).`
    )
  }
}

/**
 * Reason: a service tier that has no price for this model.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.UnpricedTier({ model: "gpt-4", tier: "flex" }).message)
 * ```
 *
 * @since 0.1.0
 */
export class UnpricedTier extends Schema.TaggedError<UnpricedTier>()("UnpricedTier", {
  model: Schema.String,
  tier: Schema.String
}) {
  override get message(): string {
    return (
      `Model ${quoted(this.model)} has no price for the service tier ${quoted(this.tier)}. Nothing was sent. Use another ` +
      `tier, or add that tier to the model's prices.`
    )
  }
}

/**
 * Reason: a request whose worst case cannot be bounded before it is sent. `detail` says what has no bound, `fix` what
 * to write instead.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.UnboundedRequest({
 *   endpoint: "POST /responses", detail: "background is true.", fix: "Leave it out."
 * }).message)
 * ```
 *
 * @since 0.1.0
 */
export class UnboundedRequest extends Schema.TaggedError<UnboundedRequest>()("UnboundedRequest", {
  endpoint: Schema.String,
  detail: Schema.String,
  fix: Schema.String
}) {
  override get message(): string {
    return `${shown(this.endpoint)} cannot be bounded: ${this.detail} Nothing was sent. ${this.fix}`
  }
}

/**
 * Reason: an endpoint that is not priced.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.UnsupportedEndpoint({ method: "POST", path: "/videos" }).message)
 * ```
 *
 * @since 0.1.0
 */
export class UnsupportedEndpoint extends Schema.TaggedError<UnsupportedEndpoint>()("UnsupportedEndpoint", {
  method: Schema.String,
  path: Schema.String
}) {
  override get message(): string {
    const name = `${this.method} ${this.path}`
    return (
      `${shown(name)} is not a priced endpoint. Nothing was sent. To admit it at a maximum of your own, ` +
      `write endpoints: { ${quoted(name)}: { maxUsd: "..." } } (* stands for one part of the path), or "free" if it costs nothing.`
    )
  }
}

/**
 * Reason: a quote was asked for of a call that has none to be worked out: its endpoint is free, or costs at most what the
 * user vouched for. `most` is in nano-dollars.
 *
 * @example
 * ```ts
 * import { BudgetError, Usd } from "agent-budget"
 *
 * const reason = new BudgetError.NothingToQuote({ method: "GET", path: "/models", most: Usd.zero })
 * console.log(reason.message) // GET /models has no quote: it costs nothing. Send it without one.
 * ```
 *
 * @since 0.1.0
 */
export class NothingToQuote extends Schema.TaggedError<NothingToQuote>()("NothingToQuote", {
  method: Schema.String,
  path: Schema.String,
  most: Usd.FromNanos
}) {
  override get message(): string {
    const most = this.most === 0 ? "nothing" : `at most ${Usd.format(this.most)}, by your own word`
    return `${shown(`${this.method} ${this.path}`)} has no quote: it costs ${most}. Send it without one.`
  }
}

/**
 * Reason: a way to the provider that passes the budget by: a WebSocket, another origin, a hidden credential.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.UnsupportedTransport({
 *   detail: "A WebSocket was opened.", fix: "Use the HTTP endpoints."
 * }).message)
 * ```
 *
 * @since 0.1.0
 */
export class UnsupportedTransport extends Schema.TaggedError<UnsupportedTransport>()("UnsupportedTransport", {
  detail: Schema.String,
  fix: Schema.String
}) {
  override get message(): string {
    return `${this.detail} It would pass the budget by, so nothing was sent. ${this.fix}`
  }
}

/**
 * Reason: a request body that cannot be read as the JSON it must be.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.MalformedRequest({
 *   detail: "The body is not JSON.", fix: "Send a JSON object as a string."
 * }).message)
 * ```
 *
 * @since 0.1.0
 */
export class MalformedRequest extends Schema.TaggedError<MalformedRequest>()("MalformedRequest", {
  detail: Schema.String,
  fix: Schema.String
}) {
  override get message(): string {
    return `The request cannot be priced: ${this.detail} Nothing was sent. ${this.fix}`
  }
}

/**
 * Reason: an amount that is not one: NaN, negative, infinite, too large or fractional.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.InvalidAmount({ detail: "The quote is NaN." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class InvalidAmount extends Schema.TaggedError<InvalidAmount>()("InvalidAmount", {
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.detail} Amounts are from $0.00 to $9007199.254740991, exact to $0.000000001.`
  }
}

/**
 * Reason: an account name that cannot be used, or an account that is not open.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.InvalidAccount({ account: "", detail: "The name is empty." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class InvalidAccount extends Schema.TaggedError<InvalidAccount>()("InvalidAccount", {
  account: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `Account ${quoted(this.account)}: ${this.detail}`
  }
}

/**
 * Reason: an open account that was opened again with another limit. Limits are nano-dollars, `null` is none.
 *
 * @example
 * ```ts
 * import { BudgetError, Usd } from "agent-budget"
 *
 * console.log(new BudgetError.AccountConflict({ account: "team", limit: Usd.dollars("5"), asked: null }).message)
 * ```
 *
 * @since 0.1.0
 */
export class AccountConflict extends Schema.TaggedError<AccountConflict>()("AccountConflict", {
  account: Schema.String,
  limit: Schema.NullOr(Usd.FromNanos),
  asked: Schema.NullOr(Usd.FromNanos)
}) {
  override get message(): string {
    return (
      `Account ${quoted(this.account)} is open with ${limitOf(this.limit)}; it cannot be opened with ` +
      `${limitOf(this.asked)}. Use the same limit or another name, or change it: open it with onLimitChange: "set", ` +
      `or use Budget.setLimit.`
    )
  }
}

/**
 * Reason: a reservation that had ended already, and not in this way.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.ReservationConflict({ reservation: "7", detail: "It was released." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class ReservationConflict extends Schema.TaggedError<ReservationConflict>()("ReservationConflict", {
  reservation: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `Reservation ${shown(this.reservation)}: ${this.detail} The books stay as they are.`
  }
}

/**
 * Reason: a ledger that cannot be reached: nothing is admitted while the books are out of sight.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.LedgerUnavailable({ detail: "Connection refused." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class LedgerUnavailable extends Schema.TaggedError<LedgerUnavailable>()("LedgerUnavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The ledger cannot be reached: ${this.detail} No call is admitted without it. Restore the store and try again.`
  }
}

/**
 * Reason: a session that was closed while the store of its ledger was away, with what could not be written: the exact
 * amount of each call that had ended (`charge`, in nano-dollars; `null` where nothing is owed). The store charges these
 * reservations whole when their leases are over; settling them later, by their ids, corrects that.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { BudgetError, Ledger, Usd } from "agent-budget"
 *
 * const charge = { amount: Usd.dollars("0.002"), verdict: "metered" as const }
 * const reason = new BudgetError.Unwritten({ endings: [{ reservation: "7", account: "root", charge }] })
 * console.log(reason.message)
 *
 * // On the ledger of the same store, when that is back.
 * const write = ({ endings }: BudgetError.Unwritten) =>
 *   Effect.flatMap(Ledger.Ledger, (ledger) =>
 *     Effect.forEach(endings, ({ account, charge, reservation }) => {
 *       const held = { id: reservation, account, amount: charge?.amount ?? Usd.zero, at: 0, expiresAt: null }
 *       return charge === null ? ledger.release(held) : ledger.settle(held, charge)
 *     })
 *   )
 * console.log(typeof write) // function
 * ```
 *
 * @since 0.1.0
 */
export class Unwritten extends Schema.TaggedError<Unwritten>()("Unwritten", {
  endings: Schema.Array(
    Schema.Struct({
      reservation: Schema.String,
      account: Schema.String,
      charge: Schema.NullOr(
        Schema.Struct({
          amount: Usd.FromNanos,
          verdict: Schema.Literals(["metered", "assumed"]),
          label: Schema.optional(Schema.String)
        })
      )
    })
  )
}) {
  override get message(): string {
    const lines = this.endings
      .slice(0, 10)
      .map(({ account, charge, reservation }) =>
        charge === null
          ? `release ${shown(reservation)} on ${quoted(account)}`
          : `settle ${shown(reservation)} on ${quoted(account)} for ${Usd.format(charge.amount)} (${charge.verdict})`
      )
    const more = this.endings.length - lines.length
    return (
      `The ledger could not be reached up to its close, and the ends of calls that are not known to be in its books ` +
      `(${this.endings.length}) are these: ${lines.join(", ")}${more > 0 ? `, and ${more} more (endings has them all)` : ""}. ` +
      `Such a call is charged whole when its lease is over. To correct that, open the ledger again and settle each by its ` +
      `id: ledger.settle({ id: reservation, account, amount: charge.amount, at: 0, expiresAt: null }, charge), or ` +
      `ledger.release with an amount of 0 where charge is null.`
    )
  }
}

/**
 * Reason: a price table that was refused. `row` names the row at fault.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.InvalidPrices({ row: 'model "x"', detail: "input is negative." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class InvalidPrices extends Schema.TaggedError<InvalidPrices>()("InvalidPrices", {
  row: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `The price table was refused at ${this.row}: ${sentence(this.detail)} Correct the row, or leave it out.`
  }
}

/**
 * Reason: a price table that is older than the age you allow.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.StalePrices({ asOf: "2026-11-23", ageDays: 90, maxAgeDays: 30 }).message)
 * ```
 *
 * @since 0.1.0
 */
export class StalePrices extends Schema.TaggedError<StalePrices>()("StalePrices", {
  asOf: Schema.String,
  ageDays: Schema.Finite,
  maxAgeDays: Schema.Finite
}) {
  override get message(): string {
    return (
      `The price table is from ${this.asOf}, ${this.ageDays} days ago; at most ${this.maxAgeDays} are allowed. Update agent-budget, ` +
      `load newer prices, or raise maxAge.`
    )
  }
}

/**
 * Reason: a call on a session that was closed.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.Closed({ detail: "The session is closed." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class Closed extends Schema.TaggedError<Closed>()("Closed", {
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.detail} Nothing was sent. Open a new session.`
  }
}

/**
 * Reason: options that cannot be, such as a misspelt word for a policy.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * console.log(new BudgetError.InvalidOptions({ detail: "tier is unknown." }).message)
 * ```
 *
 * @since 0.1.0
 */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>()("InvalidOptions", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The options cannot be used: ${this.detail} Nothing was opened. Correct them and try again.`
  }
}

/**
 * Every reason for a refusal.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { BudgetError } from "agent-budget"
 *
 * const isReason = Schema.is(BudgetError.Reason)
 * console.log(isReason(new BudgetError.UnknownModel({ model: "x" }))) // true
 * ```
 *
 * @since 0.1.0
 */
export const Reason = Schema.Union([
  BudgetExceeded,
  AccountPaused,
  UnknownModel,
  UnpricedTier,
  UnboundedRequest,
  UnsupportedEndpoint,
  NothingToQuote,
  UnsupportedTransport,
  MalformedRequest,
  InvalidAmount,
  InvalidAccount,
  AccountConflict,
  ReservationConflict,
  LedgerUnavailable,
  Unwritten,
  InvalidPrices,
  StalePrices,
  InvalidOptions,
  Closed
])

/**
 * One of the reasons; `_tag` tells which.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const describe = (reason: BudgetError.Reason): string => `${reason._tag}: ${reason.message}`
 * console.log(describe(new BudgetError.UnknownModel({ model: "x" })))
 * ```
 *
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/**
 * The error of this library: something was refused before it could cost anything, for `reason`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, BudgetError, Ledger, Usd } from "agent-budget"
 *
 * const program = Effect.succeed("a paid answer").pipe(
 *   Budget.withBudget({ quote: Usd.dollars("2"), cost: () => Usd.dollars("2") }),
 *   Effect.catchReason("BudgetError", "BudgetExceeded", (reason) => Effect.succeed(reason.message)),
 *   Effect.provide(Budget.layer({ limit: Usd.dollars("1") })),
 *   Effect.provide(Ledger.layerMemory())
 * )
 * console.log(await Effect.runPromise(program))
 * ```
 *
 * @since 0.1.0
 */
export class BudgetError extends Schema.TaggedError<BudgetError>()("BudgetError", { reason: Reason }) {
  override get message(): string {
    return this.reason.message
  }
}

/**
 * The property under which a thrown error carries its `BudgetError`, whatever class it is of: the errors that
 * leave a wrapped client must be instances of that client's own error class, of which a program may hold two.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const error = new BudgetError.BudgetRefusedError(
 *   new BudgetError.BudgetError({ reason: new BudgetError.UnknownModel({ model: "x" }) })
 * )
 * console.log(BudgetError.carrier in error) // true
 * ```
 *
 * @since 0.1.0
 */
export const carrier: unique symbol = Symbol.for("agent-budget/BudgetRefusedError")

/** How many inner errors are looked at: enough for any chain of causes, and an end for one that makes itself up. */
const most = 256

const Encoded = Schema.fromJsonString(Schema.Struct({ error: Schema.Struct({ reason: Reason }) }))
const decodeText = Schema.decodeUnknownResult(Encoded)
const decodeReason = Schema.decodeUnknownResult(Reason)

/**
 * The `BudgetError` inside an error of any kind: itself, carried, among its causes, or told by a 402 response
 * that a budgeted `fetch` answered with. `undefined` when the error is something else.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const refused = new BudgetError.BudgetError({ reason: new BudgetError.UnknownModel({ model: "x" }) })
 * const wrapped = new Error("agent failed", { cause: refused })
 * console.log(BudgetError.find(wrapped)?.reason._tag) // UnknownModel
 * ```
 *
 * @since 0.1.0
 */
export const find = (error: unknown): BudgetError | undefined => {
  // A set is walked in the order of insertion, also over what is added on the way; a circle of causes adds nothing.
  const seen = new Set<unknown>([error])
  for (const at of seen) {
    if (!Predicate.isObject(at)) continue
    try {
      const told = toldBy(at)
      if (told !== undefined) return told
      for (const inner of inside(at)) if (seen.size < most) seen.add(inner)
    } catch {
      // A getter that throws says nothing; `find` is called where an error is being handled already.
    }
  }
  return undefined
}

/** What libraries keep an inner error under. */
const inside = (error: object): ReadonlyArray<unknown> => {
  const many: unknown = Predicate.hasProperty(error, "errors") ? error.errors : undefined
  const several: ReadonlyArray<unknown> = Array.isArray(many) ? many.slice(0, 64) : []
  return [
    Predicate.hasProperty(error, "cause") ? error.cause : undefined,
    Predicate.hasProperty(error, "error") ? error.error : undefined,
    Predicate.hasProperty(error, "reason") ? error.reason : undefined,
    Predicate.hasProperty(error, carrier) ? error[carrier] : undefined,
    ...several
  ]
}

const toldBy = (error: object): BudgetError | undefined => {
  if (error instanceof BudgetError) return error
  const carried = Predicate.hasProperty(error, carrier) ? error[carrier] : undefined
  if (carried instanceof BudgetError) return carried
  if (Predicate.hasProperty(error, "reason")) {
    const reason = decodeReason(error.reason)
    if (Result.isSuccess(reason)) return new BudgetError({ reason: reason.success })
  }
  if (Predicate.hasProperty(error, "responseBody") && Predicate.isString(error.responseBody)) {
    const told = decodeText(error.responseBody)
    if (Result.isSuccess(told)) return new BudgetError({ reason: told.success.error.reason })
  }
  return undefined
}

/**
 * What the Promise face throws for any refusal. `instanceof` holds for the errors of a wrapped client too, which
 * are of the client's own class.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const error: unknown = new BudgetError.BudgetRefusedError(
 *   new BudgetError.BudgetError({ reason: new BudgetError.UnknownModel({ model: "x" }) })
 * )
 * if (error instanceof BudgetError.BudgetRefusedError) console.log(error.reason._tag) // UnknownModel
 * ```
 *
 * @since 0.1.0
 */
export class BudgetRefusedError extends Error {
  override readonly name: string = "BudgetRefusedError"
  readonly [carrier]: BudgetError
  /** Why it was refused. */
  readonly reason: Reason

  constructor(error: BudgetError) {
    super(error.message)
    this[carrier] = error
    this.reason = error.reason
  }

  /** Whether a refusal is in `error` or anywhere among its causes. */
  static is(error: unknown): boolean {
    return find(error) !== undefined
  }

  /** Holds across copies of this module: by what the error carries, not by its class. */
  static override [Symbol.hasInstance](error: unknown): boolean {
    return Predicate.hasProperty(error, carrier)
  }
}

/**
 * What the Promise face throws when a call does not fit its budget.
 *
 * @example
 * ```ts
 * import { Ledger, BudgetError, Usd } from "agent-budget"
 *
 * const error: unknown = BudgetError.toThrown(BudgetError.because(new BudgetError.BudgetExceeded({
 *   account: Ledger.rootAccount, limit: Usd.dollars("1"), spent: Usd.zero, reserved: Usd.zero,
 *   required: Usd.dollars("2"), waitedMillis: 0
 * })))
 * console.log(error instanceof BudgetError.BudgetExceededError) // true
 * ```
 *
 * @since 0.1.0
 */
export class BudgetExceededError extends BudgetRefusedError {
  override readonly name: string = "BudgetExceededError"

  /** Whether `error`, or anything among its causes, is a call that did not fit its budget. */
  static override is(error: unknown): boolean {
    return find(error)?.reason._tag === "BudgetExceeded"
  }

  /** Holds across copies of this module, for refusals of that reason. */
  static override [Symbol.hasInstance](error: unknown): boolean {
    if (!Predicate.hasProperty(error, carrier)) return false
    return find(error[carrier])?.reason._tag === "BudgetExceeded"
  }
}

/**
 * The Promise face's error for a `BudgetError`: a `BudgetExceededError` where it is one.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const refused = new BudgetError.BudgetError({ reason: new BudgetError.UnknownModel({ model: "x" }) })
 * console.log(BudgetError.toThrown(refused).name) // BudgetRefusedError
 * ```
 *
 * @since 0.1.0
 */
export const toThrown = (error: BudgetError): BudgetRefusedError =>
  error.reason._tag === "BudgetExceeded" ? new BudgetExceededError(error) : new BudgetRefusedError(error)

/**
 * Fails for a reason: shorthand for `new BudgetError({ reason })`.
 *
 * @example
 * ```ts
 * import { BudgetError } from "agent-budget"
 *
 * const error = BudgetError.because(new BudgetError.UnknownModel({ model: "x" }))
 * console.log(error._tag) // BudgetError
 * ```
 *
 * @since 0.1.0
 */
export const because = (reason: Reason): BudgetError => new BudgetError({ reason })
