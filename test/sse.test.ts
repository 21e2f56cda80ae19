import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Splitter, type Fate, type Watcher } from "../src/internal/sse.ts"

const latin = (text: string): Buffer => Buffer.from(text, "latin1")

interface Passed {
  readonly bytes: Buffer
  readonly events: ReadonlyArray<string>
}

/** Passes chunks through a splitter, and overwrites each chunk after: nothing may still point into it. */
const passed = (
  chunks: Iterable<Uint8Array>,
  fate: (data: string) => Fate = () => "keep",
  options: Partial<Watcher> = {}
): Passed => {
  const events: Array<string> = []
  const out: Array<Buffer> = []
  const splitter = new Splitter({
    rewrites: false,
    wanted: () => true,
    unread: () => undefined,
    event: (data) => {
      events.push(data)
      return fate(data)
    },
    ...options
  })
  const take = (bytes: Uint8Array | undefined): void => {
    if (bytes !== undefined) out.push(Buffer.from(bytes))
  }
  for (const chunk of chunks) {
    take(splitter.push(chunk))
    chunk.fill(0x21)
  }
  take(splitter.end())
  return { bytes: Buffer.concat(out), events }
}

function* cut(bytes: Buffer, sizes: ReadonlyArray<number>): Generator<Uint8Array> {
  let turn = 0
  for (let at = 0; at < bytes.length;) {
    const size = sizes.length === 0 ? bytes.length : (sizes[turn++ % sizes.length] ?? 1)
    yield new Uint8Array(bytes.subarray(at, at + size))
    at += size
  }
}

/** The events of a whole text, by the letter of the standard: lines first, then blank lines. */
const standard = (bytes: Buffer): ReadonlyArray<string> => {
  const lines = bytes
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\r|\n/)
  const events: Array<string> = []
  let data: Array<string> = []
  for (const line of [...lines, ""]) {
    if (line.startsWith("data:")) data.push(line.slice(line.startsWith("data: ") ? 6 : 5))
    else if (line === "") {
      if (data.length > 0) events.push(data.join("\n"))
      data = []
    }
  }
  return events
}

const Pieces = Schema.Array(
  Schema.Literals([
    "data: ",
    "data:",
    "data: {}",
    "data",
    "event: x",
    "id: 1",
    ": comment",
    "x",
    " ",
    "\xe9",
    "\xff\xfe",
    "\xf0\x9f",
    "\n",
    "\n",
    "\n\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\r\r",
    "\n\r",
    "\n\r\n"
  ])
)
/** A byte order mark may come first, and nowhere else. */
const Stream = Schema.Tuple([Schema.Literals(["", "\xef\xbb\xbf"]), Pieces])
const Sizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
const often = { arbitrary: { runs: 4_000, size: 40 } }

describe("a stream in any chunks", () => {
  it.prop(
    "goes on byte for byte, and tells the events of the standard",
    { pieces: Stream, sizes: Sizes },
    ({ pieces, sizes }) => {
      const bytes = latin(pieces.flat().join(""))
      const { bytes: out, events } = passed(cut(bytes, sizes))
      assert.isTrue(out.equals(bytes))
      assert.deepStrictEqual(events, standard(bytes))
    },
    often
  )

  it.prop(
    "goes on byte for byte where events may be rewritten but none is",
    { pieces: Stream, sizes: Sizes },
    ({ pieces, sizes }) => {
      const bytes = latin(pieces.flat().join(""))
      assert.isTrue(passed(cut(bytes, sizes), () => "keep", { rewrites: true }).bytes.equals(bytes))
    },
    often
  )

  it.prop(
    "loses only the events that are dropped, and its readers see the others as they were",
    { pieces: Stream, sizes: Sizes, marker: Schema.Literals(["x", "{}", " "]) },
    ({ pieces, sizes, marker }) => {
      const bytes = latin(pieces.flat().join(""))
      const drop = (data: string): Fate => (data.includes(marker) ? "drop" : "keep")
      const { bytes: out, events } = passed(cut(bytes, sizes), drop, { rewrites: true })
      const left = passed(cut(out, [])).events
      assert.deepStrictEqual(
        left,
        events.filter((data) => !data.includes(marker))
      )
    },
    often
  )

  it.prop(
    "carries other data where it is told to, of several lines too, and keeps the rest of the event",
    { pieces: Stream, sizes: Sizes, written: Schema.Literals(["y", "a\nb", "", "$&", "a\n\nb"]) },
    ({ pieces, sizes, written }) => {
      const bytes = latin(pieces.flat().join(""))
      const change = (data: string): Fate => (data.includes("{}") ? { data: written } : "keep")
      const { bytes: out, events } = passed(cut(bytes, sizes), change, { rewrites: true })
      const expected = events.map((data) => (data.includes("{}") ? written : data))
      assert.deepStrictEqual(standard(out), expected)
      for (const kept of ["event: x", "id: 1", ": comment"]) {
        const count = (text: string) =>
          text
            .replace("\xef\xbb\xbf", "")
            .split(/\r\n|\r|\n/)
            .filter((line) => line === kept).length
        assert.strictEqual(count(out.toString("latin1")), count(bytes.toString("latin1")))
      }
    },
    often
  )
})

describe("the splitter", () => {
  it("tells an event the moment its blank line is there", () => {
    for (const end of ["\n\n", "\r\n\r\n", "\n\r\n"]) {
      const events: Array<string> = []
      const event = (data: string): Fate => (events.push(data), "keep")
      const splitter = new Splitter({ rewrites: true, wanted: () => true, unread: () => undefined, event })
      const text = `data: now${end}`
      assert.strictEqual(Buffer.from(splitter.push(latin(text)) ?? []).toString(), text)
      assert.deepStrictEqual(events, ["now"])
    }
  })

  it("keeps an event apart from the next one when it takes out a line between a CR and an LF", () => {
    const change = (data: string): Fate => (data.startsWith("{}") ? { data: "y" } : "keep")
    const bytes = latin("data: {}\r\nid: 1\rdata: \n\ndata: next\n\n")
    const { bytes: out } = passed([bytes], change, { rewrites: true })
    assert.deepStrictEqual(standard(out), ["y", "next"])
  })

  it("takes a byte order mark for one only where the stream begins", () => {
    const mark = "\xef\xbb\xbf"
    const { events } = passed([latin(`${mark}data: a\n\n${mark}data: b\n\ndata: c\n\n`)])
    assert.deepStrictEqual(events, ["a", "c"])
  })

  it("leaves unread what is not wanted", () => {
    const wanted = (bytes: Buffer): boolean => bytes.includes("b")
    const { events } = passed([latin("data: a\n\ndata: b\n\n")], undefined, { wanted })
    assert.deepStrictEqual(events, ["b"])
  })

  it("reads a large event in small chunks in linear time", () => {
    const large = (chars: number): number => {
      const text = Buffer.from(`data: ${"\n:".repeat(chars / 4)}${"z".repeat(chars / 2)}\n\n`)
      const start = performance.now()
      assert.strictEqual(passed(cut(text, [7]), undefined, { rewrites: true }).bytes.length, text.length)
      return performance.now() - start
    }
    large(100_000)
    // Four times the size is four times the work; were it all scanned anew with each chunk, sixteen times.
    const small = Math.min(large(500_000), large(500_000))
    assert.isBelow(large(2_000_000), 10 * small + 100)
  })

  it("lets an event go on unread that is too large to hold, and reads the one after it", () => {
    const size = 33 * 1024 * 1024
    const source = function* (): Generator<Uint8Array> {
      const large = Buffer.alloc(size, 0x61)
      // The first half of its blank line is the last of what is too large to hold.
      large.write("data: ")
      large[size - 1] = 0x0a
      yield large
      yield latin("\ndata: next\n\n")
    }
    let unread = 0
    const { bytes, events } = passed(source(), undefined, { rewrites: true, unread: () => unread++ })
    assert.deepStrictEqual([events, unread], [["next"], 1])
    assert.strictEqual(bytes.length, size + 1 + 12)
  })

  it("holds an event that is longer than what it began with, whatever the chunks are", () => {
    const text = `data: ${"0123456789".repeat(2_000)}\n\n`
    for (const sizes of [[1_000], [4_095, 7], [4_096], [20_000]]) {
      const { bytes, events } = passed(cut(latin(text), sizes), undefined, { rewrites: true })
      assert.deepStrictEqual(events, ["0123456789".repeat(2_000)])
      assert.strictEqual(bytes.toString(), text)
    }
  })

  it("takes nothing of an event that is too large for one that follows it", () => {
    const source = function* (): Generator<Uint8Array> {
      const large = Buffer.alloc(33 * 1024 * 1024, 0x61)
      large.write("data: ")
      large[large.length - 1] = 0x0a
      yield large
      yield latin('data: {"usage":')
      yield latin("1}\n\ndata: next\n\n")
    }
    const { events } = passed(source(), undefined, { rewrites: true })
    assert.deepStrictEqual(events, ["next"])
  })
})
