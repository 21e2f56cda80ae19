/** Prices as they are written, in whole pico-dollars a token. No float in between: a price is compared as it was said. */

/** The numbers of a JSON text as the text has them, in strings. */
export const parseExactly = (text: string): unknown =>
  JSON.parse(text, (_key, value: unknown, context?: { readonly source?: string }) =>
    typeof value === "number" ? (context?.source ?? String(value)) : value
  )

const pattern = /^(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/

/** A decimal times a power of ten, or `undefined` where it is none, or not whole then. */
export const scaled = (text: string, power: number): bigint | undefined => {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, whole = "0", fraction = "", exponent = "0"] = match
  const shift = Number(exponent) + power - fraction.length
  const digits = BigInt(whole + fraction)
  if (!Number.isSafeInteger(shift) || Math.abs(shift) > 60) return undefined
  if (shift >= 0) return digits * 10n ** BigInt(shift)
  const by = 10n ** BigInt(-shift)
  return digits % by === 0n ? digits / by : undefined
}

/** USD per 1,000,000 tokens. */
export const perMillion = (text: string): bigint | undefined => scaled(text, 6)

/** USD a token. */
export const perToken = (text: string): bigint | undefined => scaled(text, 12)

/** Pico-dollars a token as USD per 1,000,000 tokens. */
export const decimal = (pico: bigint): string => {
  const digits = String(pico).padStart(7, "0")
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, "")
}
