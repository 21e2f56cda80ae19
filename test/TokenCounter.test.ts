import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schema } from "effect"
import { Tiktoken } from "js-tiktoken/lite"
import cl100k from "js-tiktoken/ranks/cl100k_base"
import o200k from "js-tiktoken/ranks/o200k_base"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { counting, vocabulariesFrom } from "../src/internal/tokenCounting.ts"
import * as TokenCounter from "../src/TokenCounter.ts"

const root = path.resolve(import.meta.dirname, "..")
const encodings: ReadonlyArray<TokenCounter.Encoding> = TokenCounter.Encoding.literals
const published = { o200k_base: o200k, cl100k_base: cl100k }
const encoders = { o200k_base: new Tiktoken(o200k), cl100k_base: new Tiktoken(cl100k) }

/** What js-tiktoken itself counts; quadratic, so only for texts without long runs. */
const counted = (text: string, encoding: TokenCounter.Encoding): number =>
  encoders[encoding].encode(text, [], []).length

/** Fragments at which texts are cut in odd places, and plain words between them. */
const tame = [
  ..."aZé1²/=-'\"{}_.,中文กำʰ\u0301\u2028\u00a0\0\u200d\uFFFD".split(""),
  ..." ,  ,   ,\n,\r\n,\n\n  ,\t".split(","),
  "word",
  " word",
  "Word",
  "camelCaseHTTPServer",
  "don't",
  "WE'LL",
  "'s",
  "'re",
  "'vest",
  "12345",
  "=".repeat(40),
  " ".repeat(40),
  "\n".repeat(20),
  "ab".repeat(30),
  "👩‍👩‍👧",
  "🇫🇷",
  "𝒳𝓎",
  "\ud800",
  "\udc00",
  "<|endoftext|>",
  "<|im_start|>"
]
const odd = [...tame, "\uFEFF", "\u0085", "\u017F", "'\u017F", "\u0378", "\u{10FFFF}"]

const joined = (fragments: ReadonlyArray<string>) => Schema.Array(Schema.Literals(fragments))
const units = (most: number) =>
  Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: most })))
const run = Schema.Struct({
  of: Schema.Literals([" ", "a", "=", "\n", "\t", "é", "中", "0", "\ud800", " \n", "aB", "=-"]),
  times: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 150 }))
})

const prose =
  "The committee's report wasn't published until 1987, though most of its members (eleven of them) had agreed " +
  "on the text. Nobody knows why; we'll never find out.\n\nIt cost $1,250.75 to print.\n"
const code =
  "export const sum = (xs: number[]): number => {\n  let total = 0\n  for (const x of xs) {\n    total += x\n  }\n" +
  '  return total // "done"\n}\n'

describe("the bound", () => {
  it.layer(TokenCounter.layerWith({ maxCharsCached: 0 }))((it) => {
    const bounds = (text: string) =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        for (const encoding of encodings) {
          const bound = yield* counter.count(text, encoding)
          assert.isAtLeast(bound, counted(text, encoding), encoding)
          assert.isAtMost(bound, TokenCounter.bytes(text), encoding)
        }
      })
    const often = { timeout: 60_000, arbitrary: { runs: 400, size: 60 } }

    it.effect.prop(
      "holds on ASCII",
      [units(127)],
      ([codes]) => bounds(codes.map((unit) => String.fromCharCode(unit)).join("")),
      often
    )
    it.effect.prop(
      "holds on any code points",
      [units(0x10ffff)],
      ([codes]) => bounds(codes.map((point) => String.fromCodePoint(point)).join("")),
      often
    )
    it.effect.prop(
      "holds on any UTF-16 units, lone surrogates too",
      [units(0xffff)],
      ([codes]) => bounds(codes.map((unit) => String.fromCharCode(unit)).join("")),
      often
    )
    it.effect.prop(
      "holds on fragments that are cut oddly",
      [joined(odd)],
      ([parts]) => bounds(parts.join("")),
      often
    )
    it.effect.prop(
      "holds on runs, one after the other",
      [Schema.Array(run)],
      ([runs]) => bounds(runs.map(({ of, times }) => of.repeat(times)).join("")),
      { timeout: 60_000, arbitrary: { runs: 150, size: 8 } }
    )
    it.effect("holds on a text that is longer than a stretch and ends in any of its places", () =>
      Effect.forEach([16_383, 16_384, 16_385, 16_386, 32_767, 32_768], (length) =>
        bounds(prose.repeat(300).slice(0, length))
      )
    )
    it.effect("a text of special tokens is ordinary text", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        for (const encoding of encodings) {
          for (const text of Object.keys(published[encoding].special_tokens)) {
            assert.strictEqual(yield* counter.count(text, encoding), counted(text, encoding))
            assert.isAbove(yield* counter.count(text, encoding), 1)
          }
        }
      })
    )
    it.effect("an empty text has none", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        assert.strictEqual(yield* counter.count("", "o200k_base"), 0)
      })
    )
    it.effect("is the bytes where the vocabulary is unknown", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        assert.strictEqual(yield* counter.count("h\u00e9llo \ud800", undefined), 10)
      })
    )
    it.effect("is the bytes of a text that another regular expression may cut elsewhere", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        for (const text of ["a\uFEFF b", "a\u0085 b", "it'\u017F b", "\u0378 b"]) {
          assert.strictEqual(yield* counter.count(text, "o200k_base"), TokenCounter.bytes(text))
        }
      })
    )
  })
})

describe("the exact count", () => {
  it.layer(TokenCounter.layer)((it) => {
    it.effect("is what ordinary prose and code cost, at any length", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        for (const encoding of encodings) {
          for (const text of [prose, code, prose.repeat(400), code.repeat(400), (prose + code).repeat(200)]) {
            assert.strictEqual(yield* counter.count(text, encoding), counted(text, encoding), encoding)
          }
        }
      })
    )
    it.effect("is what a run costs up to the longest piece, and its bytes beyond", () =>
      Effect.gen(function* () {
        const counter = yield* TokenCounter.TokenCounter
        for (const unit of ["a", "="]) {
          assert.strictEqual(
            yield* counter.count(unit.repeat(256), "o200k_base"),
            counted(unit.repeat(256), "o200k_base")
          )
          assert.strictEqual(yield* counter.count(unit.repeat(257), "o200k_base"), 257)
          assert.strictEqual(yield* counter.count(unit.repeat(1_000_000), "o200k_base"), 1_000_000)
        }
      })
    )
  })
  it.layer(TokenCounter.layerWith({ maxCharsCached: 0, longestPiece: 1_024 }))((it) => {
    it.effect.prop(
      "survives the seam between two stretches, wherever it falls",
      [joined(tame), joined(tame)],
      ([before, after]) =>
        Effect.gen(function* () {
          const counter = yield* TokenCounter.TokenCounter
          const odds = before.join("")
          const text =
            prose.repeat(100).slice(0, 16_384 - odds.length) + odds + after.join("") + " end " + prose
          assert.strictEqual(yield* counter.count(text, "o200k_base"), counted(text, "o200k_base"))
          assert.strictEqual(yield* counter.count(text, "cl100k_base"), counted(text, "cl100k_base"))
        }),
      { timeout: 120_000, arbitrary: { runs: 250, size: 12 } }
    )
  })
  it.effect("does not cut a letter from its mark at the seam", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.make({ maxCharsCached: 0 })
      const hindi = "हिन्दी में लिखा हुआ "
      for (let offset = 0; offset < hindi.length; offset++) {
        const text = prose.repeat(100).slice(0, 16_384 - offset) + hindi.repeat(3)
        assert.strictEqual(
          yield* counter.count(text, "o200k_base"),
          counted(text, "o200k_base"),
          String(offset)
        )
      }
    })
  )
  it.effect("a longest piece that is not a number makes every piece cost its bytes", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.make({ longestPiece: NaN })
      assert.strictEqual(yield* counter.count(prose, "o200k_base"), TokenCounter.bytes(prose))
    })
  )
})

/** A vocabulary of single bytes and one pair, and how often it was loaded. */
const smallRanks = () => {
  const loads = { count: 0 }
  const single = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]).toString("base64"))
  const load = async () => {
    loads.count++
    await Promise.resolve()
    return {
      pat_str: "[^ ]+| ",
      bpe_ranks: `! 0 ${single.join(" ")} ${Buffer.from("ab").toString("base64")}`
    }
  }
  return { loads, load }
}

describe("the ranks", () => {
  it("importing the module loads none, counting loads one encoding", () => {
    const script = `
      import { registerHooks } from "node:module"
      const seen = []
      registerHooks({ load: (url, context, next) => (seen.push(url), next(url, context)) })
      const { TokenCounter, layer } = await import("./src/TokenCounter.ts")
      const { Effect } = await import("effect")
      const ranks = () => seen.filter((url) => url.includes("js-tiktoken")).map((url) => url.split("/").at(-1))
      const before = ranks()
      await Effect.runPromise(TokenCounter.use((c) => c.count("a", "cl100k_base")).pipe(Effect.provide(layer)))
      console.log(JSON.stringify({ own: seen.some((url) => url.endsWith("/TokenCounter.ts")), before, after: ranks() }))
    `
    const out = execFileSync(
      process.execPath,
      ["--conditions=agent-budget-source", "--input-type=module", "-e", script],
      { cwd: root, encoding: "utf8" }
    )
    assert.deepStrictEqual(JSON.parse(out), { own: true, before: [], after: ["cl100k_base.js"] })
  })
  it("no source imports js-tiktoken but on demand", () => {
    const sources = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    for (const file of sources.filter((name) => name.endsWith(".ts"))) {
      const text = fs.readFileSync(path.join(root, "src", file), "utf8")
      assert.notMatch(text, /from "js-tiktoken/, file)
    }
  })
  it.effect("load once for many fibers, and outlive the one that asked first", () =>
    Effect.gen(function* () {
      const { load, loads } = smallRanks()
      const count = counting(vocabulariesFrom(load), { maxCharsCached: 0, longestPiece: 256 })
      const first = yield* Effect.forkChild(count("ab", "o200k_base"), { startImmediately: true })
      first.interruptUnsafe()
      const counts = yield* Effect.forEach(Array.from({ length: 50 }), () => count("ab abc", "o200k_base"), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual([...new Set(counts)], [4])
      assert.strictEqual(loads.count, 1)
    })
  )
  it.effect("that cannot be loaded, or are no ranks, leave the bytes and one warning", () =>
    Effect.gen(function* () {
      for (const load of [
        () => Promise.reject(new Error("gone")),
        () => Promise.resolve({ pat_str: ".", bpe_ranks: "nothing like ranks" }),
        () => {
          throw new Error("gone at once")
        }
      ]) {
        const warnings: Array<unknown> = []
        const logger = Logger.layer([
          Logger.make(({ logLevel, message }) => {
            if (logLevel === "Warn") warnings.push(message)
          })
        ])
        const count = counting(vocabulariesFrom(load), { maxCharsCached: 1_000, longestPiece: 256 })
        const counts = yield* Effect.forEach([prose, prose, code], (text) => count(text, "o200k_base"), {
          concurrency: "unbounded"
        }).pipe(Effect.provide(logger))
        assert.deepStrictEqual(counts, [prose, prose, code].map(TokenCounter.bytes))
        assert.strictEqual(warnings.length, 1)
        assert.match(String(warnings[0]), /o200k_base cannot be loaded/)
      }
    })
  )
})

describe("the memory of texts", () => {
  /** Counts with a pattern that tells when a text is cut into pieces, so when it was not remembered. */
  const watched = (maxCharsCached: number) => {
    const { load } = smallRanks()
    let asked = 0
    const vocabularies = vocabulariesFrom(load)
    const count = counting(
      (encoding) => Effect.tap(vocabularies(encoding), () => Effect.sync(() => asked++)),
      {
        maxCharsCached,
        longestPiece: 256
      }
    )
    const fresh = (text: string) =>
      Effect.gen(function* () {
        const before = asked
        yield* count(text, "o200k_base")
        return asked > before
      })
    return fresh
  }
  const text = (letter: string, length: number) => letter.repeat(length)

  it.effect("counts a text once, also when it is built anew", () =>
    Effect.gen(function* () {
      const fresh = watched(10_000)
      assert.isTrue(yield* fresh(`${text("a", 100)}b`))
      assert.isFalse(yield* fresh([text("a", 100), "b"].join("")))
      assert.isTrue(yield* fresh(text("a", 100)))
    })
  )
  it.effect("forgets the text that was used longest ago when it is full", () =>
    Effect.gen(function* () {
      const fresh = watched(3 * (1_000 + 64))
      for (const letter of "abc") assert.isTrue(yield* fresh(text(letter, 1_000)))
      assert.isFalse(yield* fresh(text("a", 1_000)))
      assert.isTrue(yield* fresh(text("d", 1_000)))
      assert.isFalse(yield* fresh(text("a", 1_000)))
      assert.isFalse(yield* fresh(text("c", 1_000)))
      assert.isTrue(yield* fresh(text("b", 1_000)))
    })
  )
  it.effect("never keeps a text that is larger than itself, nor lets it push others out", () =>
    Effect.gen(function* () {
      const fresh = watched(1_000)
      assert.isTrue(yield* fresh("small"))
      assert.isTrue(yield* fresh(text("x", 1_000)))
      assert.isTrue(yield* fresh(text("x", 1_000)))
      assert.isFalse(yield* fresh("small"))
    })
  )
  it.effect("keeps each encoding's counts apart", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.make()
      const thai = "ภาษาไทยง่ายนิดเดียว"
      const o200k = yield* counter.count(thai, "o200k_base")
      assert.strictEqual(yield* counter.count(thai, "cl100k_base"), counted(thai, "cl100k_base"))
      assert.strictEqual(o200k, counted(thai, "o200k_base"))
      assert.notStrictEqual(o200k, counted(thai, "cl100k_base"))
    })
  )
})

describe("the event loop", () => {
  /** Turns of the event loop while `work` runs, and the milliseconds it took. */
  const turnsDuring = (work: Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      let turns = 0
      let timer = setImmediate(function again() {
        turns++
        timer = setImmediate(again)
      })
      const started = performance.now()
      yield* work
      clearImmediate(timer)
      return { turns, millis: performance.now() - started }
    })
  const unseen = (seed: number): string =>
    Array.from({ length: 60_000 }, (_, index) => ((index * 2_654_435_761 + seed) >>> 7).toString(36)).join(
      " "
    )

  it.live("runs on while a long text is counted", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.make({ maxCharsCached: 0 })
      yield* counter.count("warm", "o200k_base")
      const { millis, turns } = yield* turnsDuring(counter.count(unseen(1), "o200k_base"))
      assert.isAtLeast(turns, millis / 200)
    })
  )
  it.live("runs on while many fibers count at once", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.make({ maxCharsCached: 0 })
      yield* counter.count("warm", "o200k_base")
      const texts = Array.from({ length: 24 }, (_, seed) => unseen(seed).slice(0, 120_000))
      const { millis, turns } = yield* turnsDuring(
        Effect.forEach(texts, (text) => counter.count(text, "o200k_base"), { concurrency: "unbounded" })
      )
      assert.isAtLeast(turns, millis / 200)
    })
  )
})

describe("layerBytes", () => {
  it.effect("counts one token a byte in every encoding", () =>
    Effect.gen(function* () {
      const counter = yield* TokenCounter.TokenCounter
      for (const encoding of [undefined, ...encodings]) {
        assert.strictEqual(yield* counter.count("a\u00e9中\ud83d\ude00\ud800", encoding), 1 + 2 + 3 + 4 + 3)
      }
    }).pipe(Effect.provide(Layer.fresh(TokenCounter.layerBytes)))
  )
})

/** As Python's json.dumps writes a string: ASCII from space to tilde, all else escaped. */
const asciiJson = (text: string): string =>
  JSON.stringify(text).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

describe("asciiEscapedLength", () => {
  const often = { arbitrary: { runs: 1_000, size: 80 } }
  const text = (codes: ReadonlyArray<number>) => codes.map((unit) => String.fromCharCode(unit)).join("")

  it.prop(
    "of JSON is the length of the JSON in ASCII",
    [units(0xffff), units(0xff), units(0x7f)],
    (lists) => {
      for (const codes of lists) {
        const json = JSON.stringify(text(codes))
        assert.strictEqual(TokenCounter.asciiEscapedLength(json), asciiJson(text(codes)).length)
      }
    },
    often
  )
  // A unit takes at most three bytes in UTF-8, and six characters here.
  it.prop(
    "is never less than the bytes",
    [units(0xffff), units(0x7f)],
    (lists) => {
      for (const codes of lists) {
        assert.isAtLeast(TokenCounter.asciiEscapedLength(text(codes)), TokenCounter.bytes(text(codes)))
      }
    },
    often
  )
  it("covers the tokens of Chinese that is fed escaped, which its own bytes do not", () => {
    const chinese = "中文字符测试一二三四五六七八九十甲乙丙丁戊己庚辛"
    const fed = asciiJson(chinese)
    assert.isAbove(counted(fed, "o200k_base"), TokenCounter.bytes(chinese))
    assert.isAtLeast(TokenCounter.asciiEscapedLength(JSON.stringify(chinese)), counted(fed, "o200k_base"))
  })
})
