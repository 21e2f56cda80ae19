import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { imageTokens, sizeOf } from "../src/internal/images.ts"
import { readsUnshownInput } from "../src/internal/modelFamilies.ts"

type Make = (width: number, height: number) => Buffer

const be = (bytes: number, value: number): Buffer => {
  const out = Buffer.alloc(bytes)
  out.writeUIntBE(value, 0, bytes)
  return out
}
const le = (bytes: number, value: number): Buffer => Buffer.from(be(bytes, value)).reverse()
const ascii = (text: string): Buffer => Buffer.from(text, "latin1")
const join = (...parts: ReadonlyArray<Buffer>): Buffer => Buffer.concat(parts)

/** Files by the letter of their formats, as far as their headers go. */
const png: Make = (width, height) =>
  join(ascii("\x89PNG\r\n\x1a\n"), be(4, 13), ascii("IHDR"), be(4, width), be(4, height), be(5, 0x0802000000))
const gif: Make = (width, height) => join(ascii("GIF89a"), le(2, width), le(2, height), be(3, 0))
const segment = (marker: number, body: Buffer): Buffer =>
  join(be(2, 0xff00 + marker), be(2, body.length + 2), body)
const frame =
  (marker: number): Make =>
  (width, height) =>
    segment(marker, join(be(1, 8), be(2, height), be(2, width), be(1, 3), Buffer.alloc(9)))
const jpeg =
  (marker: number, ...before: ReadonlyArray<Buffer>): Make =>
  (width, height) =>
    join(be(2, 0xffd8), ...before, frame(marker)(width, height), be(2, 0xffd9))
const riff = (chunk: Buffer): Buffer => join(ascii("RIFF"), le(4, chunk.length + 4), ascii("WEBP"), chunk)
const webpLossy: Make = (width, height) =>
  riff(join(ascii("VP8 "), le(4, 10), be(3, 0x100000), be(3, 0x9d012a), le(2, width), le(2, height)))
const webpLossless: Make = (width, height) =>
  riff(
    join(ascii("VP8L"), le(4, 20), be(1, 0x2f), le(4, width - 1 + (height - 1) * 16_384), Buffer.alloc(15))
  )
const webpExtended: Make = (width, height) =>
  riff(join(ascii("VP8X"), le(4, 10), be(4, 0), le(3, width - 1), le(3, height - 1)))

// A thumbnail's own frame header lies inside a segment that is passed over as a whole.
const thumbnail = segment(0xe1, join(ascii("Exif\0\0"), jpeg(0xc0)(160, 120)))
const makers: Readonly<Record<string, Make>> = {
  png,
  "baseline jpeg": jpeg(0xc0),
  "progressive jpeg with a thumbnail, tables and fill bytes": jpeg(
    0xc2,
    thumbnail,
    segment(0xc4, Buffer.alloc(30)),
    be(1, 0xff)
  ),
  "lossy webp": webpLossy,
  "lossless webp": webpLossless,
  "extended webp": webpExtended
}

const dataUrl = (bytes: Buffer, mime = "image/png"): string =>
  `data:${mime};base64,${bytes.toString("base64")}`
const sized = (model: string, width: number, height: number, detail?: string): number =>
  imageTokens(model, dataUrl(png(width, height)), detail)

/** Above a figure, by no more than the slack that the recorded traffic needs. */
const assertJustAbove = (tokens: number, figure: number): void => {
  assert.isAtLeast(tokens, figure)
  assert.isAtMost(tokens, figure + 3)
}

const Side = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 16_383 }))

describe("the size of an image", () => {
  it.prop(
    "is read from the header of each format",
    { width: Side, height: Side },
    ({ width, height }) => {
      for (const [name, make] of Object.entries(makers)) {
        assert.deepStrictEqual(sizeOf(make(width, height)), { width, height }, name)
      }
    },
    { arbitrary: { runs: 500, size: 100 } }
  )

  it("is not taken from a GIF's header, whose frames may be larger", () => {
    assert.strictEqual(sizeOf(gif(1, 1)), undefined)
  })

  it.prop(
    "is never guessed, and never throws, for headers that are cut or altered",
    {
      which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 })),
      keep: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 })),
      edits: Schema.Array(
        Schema.Tuple([
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 })),
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
        ])
      )
    },
    ({ which, keep, edits }) => {
      const bytes = Buffer.from((Object.values(makers)[which] ?? png)(640, 480).subarray(0, keep))
      for (const [at, byte] of edits) if (at < bytes.length) bytes[at] = byte
      const size = sizeOf(bytes)
      assert.isTrue(size === undefined || (size.width > 0 && size.height > 0))
      for (const model of ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5.4", "unheard-of"]) {
        const tokens = imageTokens(model, dataUrl(bytes), "high")
        assert.isTrue(Number.isSafeInteger(tokens) && tokens > 0)
        assert.isAtMost(tokens, imageTokens(model, undefined, "high"))
      }
    },
    { arbitrary: { runs: 5_000, size: 60 } }
  )

  it("is not known for a JPEG whose segments lead nowhere", () => {
    assert.strictEqual(sizeOf(join(be(2, 0xffd8), be(2, 0xffe0), be(2, 0), Buffer.alloc(40))), undefined)
    assert.strictEqual(sizeOf(join(be(2, 0xffd8), segment(0xe1, Buffer.alloc(40)))), undefined)
    assert.strictEqual(sizeOf(Buffer.alloc(70_000, 0xff)), undefined)
    assert.strictEqual(sizeOf(png(0, 100)), undefined)
  })
})

describe("the tokens of an image", () => {
  it("are the published 85 + 170 a tile on gpt-4o, where low detail is 85", () => {
    assertJustAbove(sized("gpt-4o", 1_024, 1_024, "high"), 765)
    assertJustAbove(sized("gpt-4o", 2_048, 4_096, "high"), 1_105)
    assertJustAbove(sized("gpt-4o", 4_096, 8_192, "low"), 85)
    assertJustAbove(sized("gpt-4.1", 512, 512), 255)
    assertJustAbove(sized("gpt-4o", 513, 512), 425)
  })

  it("are 2,833 + 5,667 a tile on gpt-4o-mini, where a single pixel is a tile and detail is not believed", () => {
    assertJustAbove(sized("gpt-4o-mini", 1, 1), 8_500)
    assertJustAbove(sized("gpt-4o-mini", 1_024, 1_024), 25_501)
    assert.isAtLeast(sized("gpt-4o-mini", 1, 1, "low"), 2_833)
  })

  it("are so many for each 32-pixel patch, at most 1,536 of them, on the small 4.1 and o4 models", () => {
    assertJustAbove(sized("gpt-4.1-mini", 1_024, 1_024), Math.ceil(1_024 * 1.62))
    assertJustAbove(sized("gpt-4.1-nano", 33, 32), Math.ceil(2 * 2.46))
    assertJustAbove(sized("o4-mini", 1_800, 2_400), Math.ceil(1_536 * 1.72))
  })

  it("are the published multiples on gpt-5-mini and gpt-5-nano, which bill no more than that", () => {
    assertJustAbove(sized("gpt-5-mini", 3_000, 3_000), 2_489)
    assertJustAbove(sized("gpt-5-nano", 3_000, 3_000), 3_779)
  })

  it("are the family's most where the request does not show the image", () => {
    const urls = [
      undefined,
      "https://example.com/a.png",
      "data:image/png,raw",
      "data:image/avif;base64,AAAA",
      ""
    ]
    for (const url of urls) {
      assertJustAbove(imageTokens("gpt-4o", url, "high"), 1_445)
      assertJustAbove(imageTokens("gpt-4o-mini", url, undefined), 48_169)
      assertJustAbove(imageTokens("gpt-5.4", url, "original"), 12_000)
      assertJustAbove(imageTokens("gpt-5.4", url, "high"), 3_000)
      assertJustAbove(imageTokens("a-new-model", url, "low"), 73_800)
    }
  })

  it.prop(
    "never pass the family's most, and do not depend on which side is up",
    { width: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4_294_967_295 })), height: Side },
    ({ width, height }) => {
      for (const model of ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "o4-mini", "gpt-5", "gpt-5-nano"]) {
        assert.isAtMost(sized(model, width, height), imageTokens(model, undefined, undefined))
        assert.strictEqual(sized(model, width, height), sized(model, height, width))
      }
    },
    { arbitrary: { runs: 1_000, size: 100 } }
  )

  it("of the gpt-4o family are not those of gpt-4o-mini", () => {
    assert.isAbove(sized("gpt-4o-mini-2024-07-18", 512, 512), 8_000)
    assert.isBelow(sized("gpt-4o-2024-08-06", 512, 512), 300)
  })
})

describe("models that read what the request does not show", () => {
  it("are those that search, and no others", () => {
    const reads = [
      "gpt-4o-search-preview",
      "gpt-4o-mini-search-preview",
      "o3-deep-research",
      "gpt-5-search-api"
    ]
    for (const model of reads) assert.isTrue(readsUnshownInput(model))
    for (const model of ["gpt-4o", "o3", "gpt-5.2-pro"]) assert.isFalse(readsUnshownInput(model))
  })
})
