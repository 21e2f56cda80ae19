/** The most that an image can cost, in input tokens, from its bytes where they are in the request. */
import { imageRule, type ImageRule } from "./modelFamilies.ts"

interface Size {
  readonly width: number
  readonly height: number
}

/** Enough of a file to reach the image behind its metadata, its color profile and a WebP's alpha, but for the oddest. */
const headerChars = 256 * 1024

/** The bytes of a text of base64: none where it has letters that some decoders read, some pass over and some end at. */
const bytesOf = (text: string): Buffer => Buffer.from(/[-_]|=[^=]/.test(text) ? "" : text, "base64")

/** The billed figures were seen up to 2 above the formula. */
const slack = 3

const dataUrl = /^data:[^,]{0,200};base64,/i

/** The most that the image at `url` costs on `model`: by its size where it is a data URL that shows it. */
export const imageTokens = (model: string, url: string | undefined, detail: string | undefined): number => {
  const rule = imageRule(model)
  const head = url === undefined ? null : dataUrl.exec(url.slice(0, 256))
  const size =
    url === undefined || head === null
      ? undefined
      : sizeOf(bytesOf(url.slice(head[0].length, head[0].length + headerChars)))
  return tokensOf(rule, size, detail) + slack
}

export const tokensOf = (rule: ImageRule, size: Size | undefined, detail: string | undefined): number => {
  switch (rule.kind) {
    case "flat": {
      const most = detail === "high" || detail === "low" ? (rule.high ?? rule.most) : rule.most
      return size === undefined || rule.perPatch === undefined
        ? most
        : Math.min(most, Math.ceil(rule.perPatch * patches(size)))
    }
    case "dearest":
      return Math.max(...rule.of.map((each) => tokensOf(each, size, detail)))
    case "patches":
      return Math.ceil(rule.perPatch * (size === undefined ? 1536 : Math.min(1536, patches(size))))
    case "tiles":
      if (rule.low && detail === "low") return rule.base
      // After fitting, at most 768 x 2048 is left: 2 x 4 tiles.
      return rule.base + rule.tile * (size === undefined ? 8 : tiles(size))
  }
}

const patches = ({ width, height }: Size): number => Math.ceil(width / 32) * Math.ceil(height / 32)

const tiles = ({ width, height }: Size): number => {
  const fit = Math.min(1, 2048 / Math.max(width, height))
  const short = Math.min(width, height) * fit
  const scale = fit * Math.min(1, 768 / short)
  return Math.min(8, Math.ceil((width * scale) / 512) * Math.ceil((height * scale) / 512))
}

/**
 * The size that a PNG, WebP or JPEG states, once. Decoders differ on which of two sizes counts, and on what they pass
 * over, so the file is read up to where its image begins, and whatever is out of the ordinary hides its size. A GIF
 * states one that its frames may pass.
 */
export const sizeOf = (bytes: Buffer): Size | undefined => {
  const size = pngSize(bytes) ?? webpSize(bytes) ?? jpegSize(bytes)
  return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined
}

/** The signature, then the length and name of the chunk that must come first. */
const pngHeader = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"

const pngSize = (bytes: Buffer): Size | undefined => {
  if (bytes.toString("latin1", 0, 16) !== pngHeader) return undefined
  for (let at = 33; at + 8 <= bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    const name = bytes.toString("latin1", at + 4, at + 8)
    if (name === "IDAT") return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
    // Some take the first header and some the last.
    if (name === "IHDR" || !/^[A-Za-z]{4}$/.test(name)) return undefined
  }
  return undefined
}

const webpSize = (bytes: Buffer): Size | undefined => {
  if (
    bytes.length < 30 ||
    bytes.toString("latin1", 0, 4) !== "RIFF" ||
    bytes.toString("latin1", 8, 12) !== "WEBP"
  ) {
    return undefined
  }
  if (bytes.toString("latin1", 12, 16) !== "VP8X") return webpFrameSize(bytes, 12)
  const canvas = { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) }
  const frame = webpFrameSize(bytes, webpFrameAt(bytes))
  // Some make an image as large as the canvas, and some as large as the frame.
  return canvas.width === frame?.width && canvas.height === frame.height ? canvas : undefined
}

/** Where the first chunk stands that is none of those that may come between a canvas and its one frame. */
const webpFrameAt = (bytes: Buffer): number => {
  let at = 12
  do {
    const length = bytes.readUInt32LE(at + 4)
    at += 8 + length + (length % 2)
  } while (at + 8 <= bytes.length && /^(ICCP|ALPH|EXIF|XMP )$/.test(bytes.toString("latin1", at, at + 4)))
  return at
}

const webpFrameSize = (bytes: Buffer, at: number): Size | undefined => {
  if (at + 18 > bytes.length) return undefined
  switch (bytes.toString("latin1", at, at + 4)) {
    case "VP8L": {
      const bits = bytes.readUInt32LE(at + 9)
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) }
    }
    case "VP8 ":
      return { width: bytes.readUInt16LE(at + 14) & 0x3fff, height: bytes.readUInt16LE(at + 16) & 0x3fff }
    default:
      return undefined
  }
}

/** Tables, the restart interval, application data and comments: all that may stand beside the frame header. */
const isJpegExtra = (marker: number): boolean =>
  [0xc4, 0xcc, 0xdb, 0xdd, 0xfe].includes(marker) || (marker >= 0xe0 && marker <= 0xef)

const isJpegFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc

/** The segments before the first scan, each with its length, one of them the frame header. */
const jpegSize = (bytes: Buffer): Size | undefined => {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined
  let size: Size | undefined
  for (let at = 2; at + 9 <= bytes.length;) {
    if (bytes[at] !== 0xff) return undefined
    const marker = bytes[at + 1] ?? 0
    if (marker === 0xff) {
      at += 1
      continue
    }
    if (marker === 0xda) return size
    const length = bytes.readUInt16BE(at + 2)
    if (isJpegFrame(marker)) {
      if (size !== undefined || length < 8) return undefined
      size = { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) }
    } else if (!isJpegExtra(marker) || length < 2) {
      // Some pass over the marker alone, and some over a length behind it, and so come upon different frame headers.
      return undefined
    }
    at += 2 + length
  }
  return undefined
}
