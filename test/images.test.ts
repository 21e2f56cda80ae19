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

/** Files by the letter of their formats, up to where their images begin. */
const pngChunk = (name: string, body: Buffer): Buffer =>
  join(be(4, body.length), ascii(name), body, Buffer.alloc(4))
const ihdr: Make = (width, height) => pngChunk("IHDR", join(be(4, width), be(4, height), be(5, 0x0802000000)))
const idat = pngChunk("IDAT", Buffer.alloc(10))
const pngWith =
  (...chunks: ReadonlyArray<Buffer>): Make =>
  (width, height) =>
    join(ascii("\x89PNG\r\n\x1a\n"), ihdr(width, height), ...chunks)
const png = pngWith(idat)
const gif: Make = (width, height) => join(ascii("GIF89a"), le(2, width), le(2, height), be(3, 0))
const segment = (marker: number, body: Buffer): Buffer =>
  join(be(2, 0xff00 + marker), be(2, body.length + 2), body)
const frame =
  (marker: number): Make =>
  (width, height) =>
    segment(marker, join(be(1, 8), be(2, height), be(2, width), be(1, 3), Buffer.alloc(9)))
const scan = join(segment(0xda, Buffer.alloc(10)), be(2, 0xffd9))
const jpeg =
  (marker: number, ...before: ReadonlyArray<Buffer>): Make =>
  (width, height) =>
    join(be(2, 0xffd8), ...before, frame(marker)(width, height), scan)
const riff = (...chunks: ReadonlyArray<Buffer>): Buffer => {
  const body = join(ascii("WEBP"), ...chunks)
  return join(ascii("RIFF"), le(4, body.length), body)
}
const webpChunk = (name: string, body: Buffer): Buffer =>
  join(ascii(name), le(4, body.length), body, Buffer.alloc(body.length % 2))
const vp8: Make = (width, height) =>
  webpChunk("VP8 ", join(be(3, 0x100000), be(3, 0x9d012a), le(2, width), le(2, height)))
const vp8l: Make = (width, height) =>
  webpChunk("VP8L", join(be(1, 0x2f), le(4, width - 1 + (height - 1) * 16_384), Buffer.alloc(15)))
const vp8x: Make = (width, height) => webpChunk("VP8X", join(be(4, 0), le(3, width - 1), le(3, height - 1)))

// A thumbnail's own frame header lies inside a segment that is passed over as a whole.
const thumbnail = segment(0xe1, join(ascii("Exif\0\0"), jpeg(0xc0)(160, 120)))
const makers: Readonly<Record<string, Make>> = {
  png,
  "png with a profile, a palette and a text": pngWith(
    pngChunk("iCCP", Buffer.alloc(31)),
    pngChunk("PLTE", Buffer.alloc(6)),
    pngChunk("tEXt", ihdr(1, 1)),
    idat
  ),
  "baseline jpeg": jpeg(0xc0),
  "progressive jpeg with a thumbnail, tables and fill bytes": jpeg(
    0xc2,
    thumbnail,
    segment(0xc4, Buffer.alloc(30)),
    be(1, 0xff)
  ),
  "lossy webp": (width, height) => riff(vp8(width, height)),
  "lossless webp": (width, height) => riff(vp8l(width, height)),
  "extended webp": (width, height) => riff(vp8x(width, height), vp8l(width, height)),
  "extended webp with a profile and alpha": (width, height) =>
    riff(
      vp8x(width, height),
      webpChunk("ICCP", Buffer.alloc(5)),
      webpChunk("ALPH", Buffer.alloc(8)),
      vp8(width, height)
    )
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
      which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Object.keys(makers).length - 1 })),
      keep: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 150 })),
      edits: Schema.Array(
        Schema.Tuple([
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 150 })),
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

  it("is found behind more metadata than one JPEG segment holds", () => {
    const metadata = segment(0xe1, Buffer.alloc(65_000))
    const bytes = jpeg(0xc0, metadata, segment(0xe2, Buffer.alloc(40_000)))(640, 480)
    assert.strictEqual(
      imageTokens("gpt-4o", dataUrl(bytes, "image/jpeg"), "high"),
      sized("gpt-4o", 640, 480, "high")
    )
  })

  it("is not known for a JPEG with a marker that decoders pass over without a length", () => {
    const large = frame(0xc0)(2_048, 1_536)
    // Read as a segment of 6 bytes, the marker ends within a comment, at a frame header that is none.
    const comment = segment(0xfe, frame(0xc0)(8, 8))
    const alone = [0x00, 0x01, ...Array.from({ length: 10 }, (_, n) => 0xd0 + n)]
    const unsettled = [0x02, 0xbf, 0xc8, 0xdc, 0xde, 0xdf, 0xf0, 0xfd]
    for (const marker of [...alone, ...unsettled]) {
      const skipped = join(be(2, 0xff00 + marker), be(2, 6))
      const hostile = join(be(2, 0xffd8), skipped, comment, large, scan)
      assert.strictEqual(sizeOf(hostile), undefined, marker.toString(16))
      // Nor behind the frame header, where it would hide a second one.
      const behind = join(be(2, 0xffd8), frame(0xc0)(8, 8), skipped, comment, large, scan)
      assert.strictEqual(sizeOf(behind), undefined, marker.toString(16))
    }
    const short = join(be(2, 0xffd8), be(2, 0xfffe), be(2, 1), frame(0xc0)(8, 8), scan)
    assert.strictEqual(sizeOf(short), undefined)
  })

  it("is not known for a JPEG with two frame headers before its scan, or none, or that is cut before it", () => {
    for (const marker of [0xc0, 0xc1, 0xc2]) {
      assert.strictEqual(sizeOf(jpeg(marker, frame(0xc0)(8, 8))(2_048, 1_536)), undefined)
      assert.strictEqual(sizeOf(jpeg(marker, frame(0xc0)(8, 8), thumbnail)(2_048, 1_536)), undefined)
      assert.strictEqual(sizeOf(jpeg(marker, frame(0xc0)(0, 0))(8, 8)), undefined)
    }
    assert.strictEqual(sizeOf(join(be(2, 0xffd8), scan, frame(0xc0)(8, 8))), undefined)
    assert.strictEqual(sizeOf(join(be(2, 0xffd8), frame(0xc0)(8, 8), be(2, 0xffd9))), undefined)
    const cut = join(be(2, 0xffd8), frame(0xc0)(8, 8), segment(0xfe, Buffer.alloc(40)))
    assert.strictEqual(sizeOf(cut), undefined)
  })

  it("is not known for a PNG with two headers, a chunk that is none, or no image in reach", () => {
    const text = pngChunk("tEXt", Buffer.alloc(20))
    const large = ihdr(2_048, 1_536)
    for (const chunks of [
      [large, idat],
      [text, large, idat],
      [text, text, large, text, idat]
    ]) {
      assert.strictEqual(sizeOf(pngWith(...chunks)(8, 8)), undefined)
    }
    for (const name of ["\0\0\0\0", "IHD\0", "ID T", "1DAT"]) {
      assert.strictEqual(sizeOf(pngWith(pngChunk(name, Buffer.alloc(4)), idat)(8, 8)), undefined)
    }
    const endless = join(be(4, 0xffffffff), ascii("tEXt"))
    assert.strictEqual(sizeOf(pngWith(endless, large, idat)(8, 8)), undefined)
    assert.strictEqual(sizeOf(pngWith(text)(8, 8)), undefined)
    // A header behind the image comes too late for any decoder.
    assert.deepStrictEqual(sizeOf(pngWith(idat, large)(8, 8)), { width: 8, height: 8 })
  })

  it("is not known for a WebP whose canvas is not its frame, or whose frame does not come next", () => {
    for (const large of [vp8, vp8l]) {
      assert.strictEqual(sizeOf(riff(vp8x(8, 8), large(2_048, 1_536))), undefined)
      assert.strictEqual(sizeOf(riff(vp8x(8, 8), large(8, 1_536))), undefined)
      assert.strictEqual(sizeOf(riff(vp8x(8, 8), large(2_048, 8))), undefined)
      assert.strictEqual(sizeOf(riff(vp8x(2_048, 1_536), large(8, 8))), undefined)
    }
    const animated = webpChunk("ANMF", join(Buffer.alloc(16), vp8(2_048, 1_536)))
    assert.strictEqual(sizeOf(riff(vp8x(8, 8), webpChunk("ANIM", Buffer.alloc(6)), animated)), undefined)
    assert.strictEqual(sizeOf(riff(vp8x(8, 8), animated, vp8(8, 8))), undefined)
    assert.strictEqual(sizeOf(riff(vp8x(8, 8), vp8x(2_048, 1_536), vp8(8, 8))), undefined)
    assert.strictEqual(sizeOf(riff(vp8x(8, 8), webpChunk("ALPH", Buffer.alloc(50)))), undefined)
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

  it("are the published multiples on the mini and nano models after them, shown or not", () => {
    // 16 x 16 patches.
    for (const model of ["gpt-5.4-mini", "gpt-5.4-mini-2026-03-17", "gpt-5.1-codex-mini"])
      assertJustAbove(sized(model, 512, 512), Math.ceil(256 * 1.62))
    assertJustAbove(sized("gpt-5.4-nano", 512, 512), Math.ceil(256 * 2.46))
    // The guide fits what has high detail into 1,536 patches.
    // Of 2,500 patches at a high detail, and of 10,000 as they are.
    assertJustAbove(imageTokens("gpt-5.4-nano", undefined, "high"), 6_150)
    assertJustAbove(imageTokens("gpt-5.4-mini", undefined, "high"), 4_050)
    assertJustAbove(imageTokens("gpt-5.4-nano", undefined, undefined), 24_600)
    assertJustAbove(imageTokens("gpt-5.4-mini", undefined, undefined), 16_200)
  })

  it("are the family's most where the base64 has letters that some decoders pass over", () => {
    const text = png(64, 64).toString("base64")
    const at = (data: string) => imageTokens("gpt-4o", `data:image/png;base64,${data}`, undefined)
    const most = imageTokens("gpt-4o", undefined, undefined)
    assert.isBelow(at(text), most)
    for (const odd of ["-", "_", "="]) {
      assert.strictEqual(at(`${text.slice(0, 40)}${odd}${text.slice(40)}`), most)
    }
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
      "openai/gpt-4o-search-preview",
      "o3-deep-research",
      "gpt-5-search-api"
    ]
    for (const model of reads) assert.isTrue(readsUnshownInput(model))
    for (const model of ["gpt-4o", "o3", "gpt-5.2-pro", "acme-research", "research/acme-4", "searchlight-1"])
      assert.isFalse(readsUnshownInput(model))
  })
})
