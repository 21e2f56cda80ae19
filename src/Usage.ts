/**
 * What a call used, by billable dimension: tokens, and calls of hosted tools.
 *
 * Totals contain their parts: cached, cache-write and audio tokens are part of `input`; reasoning and audio
 * tokens are part of `output`. A part is never added to its total again.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Tokens = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * The schema of a usage: every field a whole number, zero or more, of tokens or, in the last three, of calls.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Usage } from "agent-budget"
 *
 * const isUsage = Schema.is(Usage.Usage)
 * console.log(isUsage({ ...Usage.zero, input: -1 })) // false
 * ```
 *
 * @since 0.1.0
 */
export const Usage = Schema.Struct({
  /** All input tokens. */
  input: Tokens,
  /** Input read from the provider's prompt cache. */
  cachedInput: Tokens,
  /** Input written to the provider's prompt cache, kept 30 minutes. */
  cacheWrite: Tokens,
  /** Input written to the provider's prompt cache, kept 12 hours. */
  cacheWrite12h: Tokens,
  /** Audio in the input. */
  audioInput: Tokens,
  /** All output tokens. */
  output: Tokens,
  /** Output that the model spent on thinking. */
  reasoning: Tokens,
  /** Audio in the output. */
  audioOutput: Tokens,
  /** Searches of the web by a hosted tool. */
  webSearches: Tokens,
  /** Searches of files by a hosted tool. */
  fileSearches: Tokens,
  /** Sessions of containers, for code that a hosted tool runs. */
  containers: Tokens
})

/**
 * Tokens and calls by dimension; see the schema of the same name.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * const usage: Usage.Usage = Usage.make({ input: 1_200, cachedInput: 1_024, output: 80 })
 * console.log(usage.reasoning) // 0
 * ```
 *
 * @since 0.1.0
 */
export type Usage = typeof Usage.Type

/**
 * Nothing used.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * console.log(Usage.lessThanOrEqualTo(Usage.zero, Usage.make({ input: 1 }))) // true
 * ```
 *
 * @since 0.1.0
 */
export const zero: Usage = {
  input: 0,
  cachedInput: 0,
  cacheWrite: 0,
  cacheWrite12h: 0,
  audioInput: 0,
  output: 0,
  reasoning: 0,
  audioOutput: 0,
  webSearches: 0,
  fileSearches: 0,
  containers: 0
}

/**
 * A usage from the dimensions that matter; the others are zero.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * console.log(Usage.make({ input: 100, output: 20 }).output) // 20
 * ```
 *
 * @since 0.1.0
 */
export const make = (parts: Partial<Usage>): Usage => ({ ...zero, ...parts })

const combine =
  (f: (a: number, b: number) => number) =>
  (self: Usage, that: Usage): Usage => ({
    input: f(self.input, that.input),
    cachedInput: f(self.cachedInput, that.cachedInput),
    cacheWrite: f(self.cacheWrite, that.cacheWrite),
    cacheWrite12h: f(self.cacheWrite12h, that.cacheWrite12h),
    audioInput: f(self.audioInput, that.audioInput),
    output: f(self.output, that.output),
    reasoning: f(self.reasoning, that.reasoning),
    audioOutput: f(self.audioOutput, that.audioOutput),
    webSearches: f(self.webSearches, that.webSearches),
    fileSearches: f(self.fileSearches, that.fileSearches),
    containers: f(self.containers, that.containers)
  })

/**
 * The sum of two usages, dimension by dimension.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * const total = Usage.add(Usage.make({ input: 1 }), Usage.make({ input: 2, output: 3 }))
 * console.log(total.input, total.output) // 3 3
 * ```
 *
 * @since 0.1.0
 */
export const add: (self: Usage, that: Usage) => Usage = combine((a, b) => a + b)

/**
 * The larger of two usages in each dimension: what bounds both.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * const bound = Usage.max(Usage.make({ input: 5 }), Usage.make({ output: 7 }))
 * console.log(bound.input, bound.output) // 5 7
 * ```
 *
 * @since 0.1.0
 */
export const max: (self: Usage, that: Usage) => Usage = combine(Math.max)

/**
 * Whether no dimension of `self` passes that of `that`.
 *
 * @example
 * ```ts
 * import { Usage } from "agent-budget"
 *
 * console.log(Usage.lessThanOrEqualTo(Usage.make({ input: 6 }), Usage.make({ input: 5 }))) // false
 * ```
 *
 * @since 0.1.0
 */
export const lessThanOrEqualTo = (self: Usage, that: Usage): boolean =>
  self.input <= that.input &&
  self.cachedInput <= that.cachedInput &&
  self.cacheWrite <= that.cacheWrite &&
  self.cacheWrite12h <= that.cacheWrite12h &&
  self.audioInput <= that.audioInput &&
  self.output <= that.output &&
  self.reasoning <= that.reasoning &&
  self.audioOutput <= that.audioOutput &&
  self.webSearches <= that.webSearches &&
  self.fileSearches <= that.fileSearches &&
  self.containers <= that.containers
