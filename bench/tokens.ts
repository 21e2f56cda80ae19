/**
 * How long TokenCounter takes for 1 MB of text it has not seen, and for how long it holds the event loop.
 *
 * Run with `node --conditions=agent-budget-source bench/tokens.ts`. Fails where a text takes a second or more, or holds
 * the loop for more than 25 ms at a stretch. The first text is counted cold: nothing was compiled for it before.
 */
import { Effect } from "effect"
import { Tiktoken } from "js-tiktoken/lite"
import ranks from "js-tiktoken/ranks/o200k_base"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as TokenCounter from "../src/TokenCounter.ts"

const size = 1_000_000
const longestHold = 25

/** Numbers that look random and are the same in each run (mulberry32). */
const random = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}
const next = random(7)
const below = (limit: number): number => Math.floor(next() * limit)
const one = <A>(of: ReadonlyArray<A>): A => {
  const chosen = of[below(of.length)]
  if (chosen === undefined) throw new Error("Nothing to choose from.")
  return chosen
}
/** About so many bytes of what `piece` gives. */
const fill = (piece: () => string, bytes: number = size): string => {
  const pieces: Array<string> = []
  for (let length = 0; length < bytes;) {
    const made = piece()
    pieces.push(made)
    length += TokenCounter.bytes(made)
  }
  return pieces.join("")
}

const syllables = "ta ri no ver com pro ent ly ing er al is the ab con st un ation re de ous mi lo per".split(
  " "
)
const common = "the of and to in a is that it was for on are with as they be at this have from or".split(" ")
const rare = Array.from({ length: 5_000 }, () =>
  Array.from({ length: 1 + below(4) }, () => one(syllables)).join("")
)
const word = (): string => one(next() < 0.5 ? common : rare)
const prose = (): string => word() + one([" ", " ", " ", " ", " ", " ", ", ", ". ", "\n"])
const code = (): string => `  const ${word()}${below(99)} = ${word()}.${word()}(${word()}, "${word()}")\n`
const json = (): string => `{"id":${below(1e6)},"${word()}":"${word()} ${word()}","ok":${next() < 0.5}},`
const letters = "abcdefghijklmnopqrstuvwxyz"
const base64 = `${letters}${letters.toUpperCase()}0123456789+/`
const chinese = (): string =>
  String.fromCharCode(...Array.from({ length: 4 + below(16) }, () => 0x4e00 + below(3_000))) +
  one(["，", "。", "、"])

const texts: ReadonlyArray<readonly [name: string, text: string]> = [
  ["prose", fill(prose)],
  ["code", fill(code)],
  ["JSON", fill(json)],
  ["Chinese", fill(chinese)],
  ["base64", fill(() => one(base64.split("")))],
  ["a run of a", "a".repeat(size)],
  ["a run of spaces", " ".repeat(size)],
  ["a run of =", "=".repeat(size)],
  ["a run of newlines", "\n".repeat(size)],
  ["a run of \u02b0", "\u02b0".repeat(size / 2)],
  ["newline, then spaces", `\n${" ".repeat(size - 2)}x`],
  ["digits", fill(() => String(below(10)))],
  ["special tokens", fill(() => one(["<|endoftext|>", "<|im_start|>", "<|fim_prefix|>"]))],
  ["lone surrogates", fill(() => String.fromCharCode(0xd800 + below(0x400)))],
  ["UTF-16 units", fill(() => String.fromCharCode(below(0x10000)))],
  ["code points", fill(() => String.fromCodePoint(below(0x110000)))],
  ["longest pieces", fill(() => Array.from({ length: 255 }, () => one(letters.split(""))).join("") + " ")]
]

/** Milliseconds between the ticks that the delay is measured by. */
const tick = 1

const measured = Effect.fnUntraced(function* (text: string) {
  // A counter of its own, so that no text is remembered; merged pieces are, as they are in use.
  const counter = yield* TokenCounter.make()
  const delay = monitorEventLoopDelay({ resolution: tick })
  yield* Effect.sleep(20)
  delay.enable()
  yield* Effect.sleep(5)
  const started = performance.now()
  const tokens = yield* counter.count(text, "o200k_base")
  const millis = performance.now() - started
  yield* Effect.sleep(5)
  delay.disable()
  const again = performance.now()
  yield* counter.count(text, "o200k_base")
  return { tokens, millis, block: delay.max / 1e6 - tick, again: performance.now() - again }
})

const pad = (value: string | number, width: number): string => String(value).padStart(width)
const fixed = (value: number): string => value.toFixed(1)

const program = Effect.gen(function* () {
  const first = yield* measured("Hello")
  console.log(
    `first use of o200k_base: ${fixed(first.millis)} ms, loop held at most ${fixed(first.block)} ms`
  )
  console.log(
    `\n${"1 MB of".padEnd(22)}${pad("ms", 8)}${pad("held ms", 9)}${pad("again ms", 10)}${pad("tokens", 10)}`
  )
  for (const [name, text] of texts) {
    const { again, block, millis, tokens } = yield* measured(text)
    console.log(
      name.padEnd(22) +
        pad(fixed(millis), 8) +
        pad(fixed(block), 9) +
        pad(again.toFixed(2), 10) +
        pad(tokens, 10)
    )
    if (block > longestHold) {
      console.error(`${name}: MISSED, holds the loop for more than ${longestHold} ms`)
      process.exitCode = 1
    }
    if (millis >= 1_000) {
      console.error(`${name}: a second or more`)
      process.exitCode = 1
    }
  }
  const encoder = new Tiktoken(ranks)
  const shared = fill(prose, 200_000)
  encoder.encode(shared.slice(0, 20_000), [], [])
  const started = performance.now()
  const expected = encoder.encode(shared, [], []).length
  const theirs = performance.now() - started
  const ours = yield* measured(fill(prose, 200_000))
  const same = yield* measured(shared)
  console.log(
    `\n200 KB of prose: ${fixed(ours.millis)} ms; js-tiktoken's encode ${fixed(theirs)} ms, ratio ${fixed(theirs / ours.millis)}`
  )
  console.log(`tokens ${same.tokens}; js-tiktoken's encode ${expected}`)
  if (same.tokens !== expected) process.exitCode = 1
})

await Effect.runPromise(program)
