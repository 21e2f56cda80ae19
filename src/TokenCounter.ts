/**
 * Upper bounds on the tokens of a text.
 *
 * A reservation is only as true as the count it rests on, so every answer here is a bound, on any text, in
 * linear time: ordinary text is counted exactly, and what would take too long, or may be cut otherwise by the
 * provider, costs its UTF-8 bytes. No byte-pair encoding has more tokens than bytes: each byte is a token
 * and merging only makes fewer.
 *
 * What is counted must be what the model is fed. A text that is fed escaped must be counted escaped.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { utf8Length } from "./internal/bytePairs.ts"
import { counting, publishedVocabularies } from "./internal/tokenCounting.ts"

/**
 * The encodings that can be counted: `o200k_base` (gpt-4o to gpt-5) and `cl100k_base` (gpt-4, gpt-3.5,
 * embeddings). Which model has which is in OpenAI's tiktoken, `tiktoken/model.py`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * console.log(Schema.is(TokenCounter.Encoding)("o200k_base")) // true
 * ```
 *
 * @since 0.1.0
 */
export const Encoding = Schema.Literals(["o200k_base", "cl100k_base"])

/**
 * The name of an encoding.
 *
 * @example
 * ```ts
 * import type { TokenCounter } from "agent-budget"
 *
 * const encoding: TokenCounter.Encoding = "o200k_base"
 * console.log(encoding)
 * ```
 *
 * @since 0.1.0
 */
export type Encoding = typeof Encoding.Type

/**
 * Counts texts. `count` is an upper bound on the tokens of `text` when it is fed to a model of that encoding;
 * `undefined` is a vocabulary that nobody knows, and counts UTF-8 bytes. It never fails, and counts the text
 * of special tokens (`<|endoftext|>`) as the ordinary text it is when a user sends it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const counter = yield* TokenCounter.TokenCounter
 *   return yield* counter.count("Hello, world", "o200k_base")
 * })
 * console.log(await Effect.runPromise(program.pipe(Effect.provide(TokenCounter.layer)))) // 3
 * ```
 *
 * @since 0.1.0
 */
export class TokenCounter extends Context.Service<
  TokenCounter,
  {
    /** An upper bound on the tokens of `text`. */
    readonly count: (text: string, encoding: Encoding | undefined) => Effect.Effect<number>
  }
>()("agent-budget/TokenCounter") {}

/**
 * The limits of a counter.
 *
 * @example
 * ```ts
 * import { TokenCounter } from "agent-budget"
 *
 * const small: TokenCounter.Options = { maxCharsCached: 100_000 }
 * console.log(small)
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /**
   * Characters of counted texts that are remembered for each encoding, with 64 more for every text; 8,000,000 unless said,
   * which is about 16 MB at most. An agent sends its conversation again with every turn, and only what is new is counted. 0
   * remembers nothing.
   */
  readonly maxCharsCached?: number
  /**
   * Bytes of the longest run that is counted exactly, 256 unless said and 1,024 at most, for the time grows with its
   * square. A longer run without a break (a line of `=`, a paragraph of Thai) costs its bytes.
   */
  readonly longestPiece?: number
}

/**
 * A counter with its own memory. The ranks of an encoding come from js-tiktoken, are loaded on first use (a
 * quarter of a second and about 30 MB, once a process) and shared by all counters; should they be missing,
 * texts cost their bytes and a warning is logged once. Counting gives way to the event loop every 8 ms.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const program = Effect.gen(function*() {
 *   const counter = yield* TokenCounter.make({ maxCharsCached: 0 })
 *   return yield* counter.count("=".repeat(1_000), "o200k_base")
 * })
 * console.log(await Effect.runPromise(program)) // 1000 (a run this long costs its bytes)
 * ```
 *
 * @since 0.1.0
 */
export const make = (options?: Options): Effect.Effect<TokenCounter["Service"]> =>
  Effect.sync(() =>
    TokenCounter.of({
      count: counting(publishedVocabularies, {
        maxCharsCached: options?.maxCharsCached ?? 8_000_000,
        longestPiece: Math.min(options?.longestPiece ?? 256, 1_024)
      })
    })
  )

/**
 * A counter with limits of your own, as a layer.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const program = TokenCounter.TokenCounter.use((counter) => counter.count("Hello", "cl100k_base"))
 * const layer = TokenCounter.layerWith({ maxCharsCached: 100_000 })
 * console.log(await Effect.runPromise(program.pipe(Effect.provide(layer)))) // 1
 * ```
 *
 * @since 0.1.0
 */
export const layerWith = (options?: Options): Layer.Layer<TokenCounter> =>
  Layer.effect(TokenCounter, make(options))

/**
 * The counter to use: js-tiktoken's ranks, in linear time, remembered.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const program = TokenCounter.TokenCounter.use((counter) => counter.count("<|endoftext|>", "o200k_base"))
 * console.log(await Effect.runPromise(program.pipe(Effect.provide(TokenCounter.layer)))) // 7
 * ```
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<TokenCounter> = layerWith()

const shared = Effect.runSync(make())

/**
 * The counter that is provided or, where none is, one that the whole process shares.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const count = Effect.flatMap(TokenCounter.orShared, (counter) => counter.count("Hello, world", "o200k_base"))
 * console.log(await Effect.runPromise(count)) // 3
 * console.log(await Effect.runPromise(Effect.provide(count, TokenCounter.layerBytes))) // 12
 * ```
 *
 * @since 0.1.0
 */
export const orShared: Effect.Effect<TokenCounter["Service"]> = Effect.map(
  Effect.serviceOption(TokenCounter),
  Option.getOrElse(() => shared)
)

/**
 * One token a UTF-8 byte: costs no time and no memory, and holds about three times the real input while a
 * call is open.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TokenCounter } from "agent-budget"
 *
 * const program = TokenCounter.TokenCounter.use((counter) => counter.count("Hello", "o200k_base"))
 * console.log(await Effect.runPromise(program.pipe(Effect.provide(TokenCounter.layerBytes)))) // 5
 * ```
 *
 * @since 0.1.0
 */
export const layerBytes: Layer.Layer<TokenCounter> = Layer.succeed(TokenCounter, {
  count: (text) => Effect.sync(() => bytes(text))
})

/**
 * The UTF-8 bytes of a text: a bound on its tokens in every byte-pair encoding, known or not. A lone surrogate
 * is three bytes, like the replacement character that is sent for it.
 *
 * @example
 * ```ts
 * import { TokenCounter } from "agent-budget"
 *
 * console.log(TokenCounter.bytes("h\u00e9llo")) // 6
 * ```
 *
 * @since 0.1.0
 */
export const bytes = (text: string): number => utf8Length(text)

/**
 * The length of a text of which every UTF-16 unit outside of printable ASCII and its controls is written
 * `\uXXXX`, so six characters: what a model is fed that gets its JSON escaped to ASCII, in bytes. Never less
 * than `bytes`. Give it the JSON: quotes, backslashes and controls are escaped there already. DEL (U+007F)
 * counts six too, for Python's `json.dumps` escapes it.
 *
 * @example
 * ```ts
 * import { TokenCounter } from "agent-budget"
 *
 * console.log(TokenCounter.asciiEscapedLength(JSON.stringify("caf\u00e9"))) // 11
 * ```
 *
 * @since 0.1.0
 */
export const asciiEscapedLength = (text: string): number => {
  // All bytes are one wide in ASCII: the common case is as cheap as the byte length.
  if (bytes(text) === text.length && !text.includes("\u007f")) return text.length
  let length = text.length
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) >= 0x7f) length += 5
  }
  return length
}
