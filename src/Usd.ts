/**
 * Exact money: US dollars as a safe integer of nano-dollars ($0.000000001).
 *
 * Floats lose cents over millions of small calls; a nano-dollar integer does not, and costs no more than
 * a number. The range is +-$9,007,199.254740991 (`Number.MAX_SAFE_INTEGER` nano-dollars); arithmetic that
 * leaves it is refused, never wrapped and never rounded.
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

/**
 * An amount of US dollars, in nano-dollars. May be negative: what is left of an overrun budget is.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * const price: Usd.Usd = Usd.dollars("1.75")
 * console.log(price) // 1750000000 (nano-dollars)
 * ```
 *
 * @since 0.1.0
 */
export type Usd = number & Brand.Brand<"agent-budget/Usd">

/**
 * Dollars as people write them: `5` or `"0.50"`; a string is exact. A `Usd` is not taken for them: it counts
 * nano-dollars, and would be a billion times as much.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * const prices: ReadonlyArray<Usd.Dollars> = [5, "0.50"]
 * console.log(prices.map((price) => Usd.format(Usd.dollars(price)))) // [ '$5.00', '$0.50' ]
 * // @ts-expect-error an amount already
 * const twice: Usd.Dollars = Usd.dollars("0.001")
 * console.log(twice) // 1000000
 * ```
 *
 * @since 0.1.0
 */
export type Dollars = string | (number & { readonly "~effect/Brand"?: never })

/**
 * Why an amount was refused: not a number of dollars, or outside of the exact range.
 *
 * @example
 * ```ts
 * import { Result } from "effect"
 * import { Usd } from "agent-budget"
 *
 * const parsed = Usd.fromString("five")
 * if (Result.isFailure(parsed)) console.log(parsed.failure.message)
 * ```
 *
 * @since 0.1.0
 */
export class UsdError extends Schema.TaggedError<UsdError>()("UsdError", {
  message: Schema.String
}) {}

/** Nano-dollars in a dollar. */
const nanosPerDollar = 1_000_000_000

const nominal = Brand.nominal<Usd>()

const refuse = (what: string): UsdError =>
  new UsdError({
    message: `${what} Amounts are US dollars, exact to $0.000000001, within +-$9007199.254740991.`
  })

/**
 * No money.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.zero)) // $0.00
 * ```
 *
 * @since 0.1.0
 */
export const zero: Usd = nominal(0)

/**
 * The largest amount that is exact: $9,007,199.254740991.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.maximum)) // $9007199.254740991
 * ```
 *
 * @since 0.1.0
 */
export const maximum: Usd = nominal(Number.MAX_SAFE_INTEGER)

/**
 * An amount from nano-dollars. Throws a `UsdError` for anything but a safe integer.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.nanos(2_500))) // $0.0000025
 * ```
 *
 * @since 0.1.0
 */
export const nanos = (value: number): Usd => {
  if (!Number.isSafeInteger(value)) throw refuse(`${value} is not a safe integer of nano-dollars.`)
  return nominal(value === 0 ? 0 : value)
}

/** Sign, whole part, fraction and exponent of a decimal number, as people and `String(number)` write it. */
const decimal = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/

/** A number that takes more digits than this says nothing that an amount could hold. */
const longest = 400

/**
 * Parses dollars: `"5"`, `"0.50"`, `"$1.25"`, `"1e-7"`. What is smaller than a nano-dollar is rounded up (away
 * from zero), so that a cost never vanishes. Currency words, thousands separators and blanks inside are refused.
 *
 * @example
 * ```ts
 * import { Result } from "effect"
 * import { Usd } from "agent-budget"
 *
 * console.log(Result.getOrThrow(Usd.fromString("1e-7"))) // 100 (nano-dollars)
 * console.log(Result.isFailure(Usd.fromString("1,000"))) // true
 * ```
 *
 * @since 0.1.0
 */
export const fromString = (input: string): Result.Result<Usd, UsdError> => {
  const text = input.trim().replace(/^([+-]?)\$/, "$1")
  const match = text.length <= longest ? decimal.exec(text) : null
  const whole = match?.[2] ?? ""
  const fraction = match?.[3] ?? ""
  if (match === null || whole.length + fraction.length === 0) {
    return Result.fail(refuse(`${JSON.stringify(input.slice(0, 40))} is not a number of dollars.`))
  }
  const digits = (whole + fraction).replace(/^0+/, "")
  if (digits === "") return Result.succeed(zero)
  const shift = Number(match[4] ?? "0") - fraction.length + 9
  // Beyond this many digits the amount is out of range whatever the digits are.
  if (digits.length + shift > 17) {
    return Result.fail(refuse(`${JSON.stringify(input.slice(0, 40))} is too large.`))
  }
  const kept = shift >= 0 ? digits + "0".repeat(shift) : digits.slice(0, shift)
  const lost = shift >= 0 ? "" : digits.slice(shift)
  const magnitude = Number(kept === "" ? "0" : kept) + (/[1-9]/.test(lost) ? 1 : 0)
  if (!Number.isSafeInteger(magnitude)) {
    return Result.fail(refuse(`${JSON.stringify(input.slice(0, 40))} is too large.`))
  }
  return Result.succeed(nominal(match[1] === "-" ? -magnitude : magnitude))
}

/**
 * Dollars from a literal; throws a `UsdError` where `fromString` would fail, so use that for input that is not
 * yours. A `number` is taken at the 15 digits that every double is exact to: `0.1 + 0.2` is $0.30.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.dollars("0.50") === Usd.dollars(0.5)) // true
 * ```
 *
 * @since 0.1.0
 */
export const dollars = (input: Dollars): Usd => {
  const parsed = read(input)
  if (Result.isFailure(parsed)) throw parsed.failure
  return parsed.success
}

const read = (input: string | number): Result.Result<Usd, UsdError> => {
  if (typeof input === "string") return fromString(input)
  return Number.isFinite(input)
    ? fromString(String(Number(input.toPrecision(15))))
    : Result.fail(refuse(`${input} is not an amount.`))
}

/**
 * The sum. Throws a `UsdError` when it leaves the exact range.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.add(Usd.dollars("0.1"), Usd.dollars("0.2")))) // $0.30
 * ```
 *
 * @since 0.1.0
 */
export const add = (self: Usd, that: Usd): Usd => {
  const sum = self + that
  if (!Number.isSafeInteger(sum)) throw refuse(`${format(self)} + ${format(that)} is out of range.`)
  return nominal(sum)
}

/**
 * The difference. Throws a `UsdError` when it leaves the exact range.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.subtract(Usd.dollars("1"), Usd.dollars("1.5")))) // -$0.50
 * ```
 *
 * @since 0.1.0
 */
export const subtract = (self: Usd, that: Usd): Usd => {
  const difference = self - that
  if (!Number.isSafeInteger(difference)) throw refuse(`${format(self)} - ${format(that)} is out of range.`)
  return nominal(difference === 0 ? 0 : difference)
}

/**
 * Which amount is smaller: -1, 0 or 1, as `Array.sort` takes it.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log([Usd.dollars("2"), Usd.dollars("1")].sort(Usd.compare).map(Usd.format)) // [ '$1.00', '$2.00' ]
 * ```
 *
 * @since 0.1.0
 */
export const compare = (self: Usd, that: Usd): -1 | 0 | 1 => (self < that ? -1 : self > that ? 1 : 0)

/**
 * Dollars for people: `$1.75`, `-$0.50`, `$0.0000025`. Exact, with at least two decimals.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Usd.dollars("1.7500"))) // $1.75
 * ```
 *
 * @since 0.1.0
 */
export const format = (self: Usd): string => {
  const magnitude = Math.abs(self)
  const whole = Math.floor(magnitude / nanosPerDollar)
  const fraction = String(magnitude % nanosPerDollar)
    .padStart(9, "0")
    .replace(/0{1,7}$/, "")
  return `${self < 0 ? "-" : ""}$${whole}.${fraction}`
}

/**
 * Dollars as a JavaScript number, for display and interop only: it may be off in the 16th digit.
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.toNumber(Usd.dollars("0.50"))) // 0.5
 * ```
 *
 * @since 0.1.0
 */
export const toNumber = (self: Usd): number => self / nanosPerDollar

/**
 * An amount as it is kept: a safe integer of nano-dollars.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Usd } from "agent-budget"
 *
 * console.log(Usd.format(Schema.decodeUnknownSync(Usd.FromNanos)(250_000_000))) // $0.25
 * ```
 *
 * @since 0.1.0
 */
export const FromNanos = Schema.Int.pipe(Schema.brand("agent-budget/Usd"))

/**
 * Dollars as people write them: a string such as `"5.00"`, or a number; decoded as `dollars` reads it.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Usd } from "agent-budget"
 *
 * const Limit = Schema.Struct({ budget: Usd.FromDollars })
 * console.log(Usd.format(Schema.decodeUnknownSync(Limit)({ budget: "5.00" }).budget)) // $5.00
 * ```
 *
 * @since 0.1.0
 */
export const FromDollars = Schema.Union([Schema.String, Schema.Finite]).pipe(
  Schema.decodeTo(
    Schema.toType(FromNanos),
    SchemaTransformation.transformEffect({
      decode: (input: string | number) =>
        Effect.mapError(
          Effect.fromResult(read(input)),
          ({ message }) => new SchemaIssue.InvalidValue({ message }, input)
        ),
      encode: (amount: Usd) => Effect.succeed(format(amount).replace("$", ""))
    })
  )
)
