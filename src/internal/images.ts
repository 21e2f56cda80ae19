/** The most that an image can cost, in input tokens, from its bytes where they are in the request. */
import { imageRule, type ImageRule } from "./modelFamilies.ts"

export interface Size {
  readonly width: number
  readonly height: number
}

/** Enough of a file to find the size of all but the oddest JPEG, whose size may follow large metadata. */
const headerChars = 64 * 1024

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
      : sizeOf(Buffer.from(url.slice(head[0].length, head[0].length + headerChars), "base64"))
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

/** The size that a PNG, WebP or JPEG states in its header. A GIF states one that its frames may pass. */
export const sizeOf = (bytes: Buffer): Size | undefined => {
  const size = pngSize(bytes) ?? webpSize(bytes) ?? jpegSize(bytes)
  return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined
}

/** The signature, then the length and name of the chunk that must come first. */
const pngHeader = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"

const pngSize = (bytes: Buffer): Size | undefined =>
  bytes.length >= 24 && bytes.toString("latin1", 0, 16) === pngHeader
    ? { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
    : undefined

const webpSize = (bytes: Buffer): Size | undefined => {
  if (
    bytes.length < 30 ||
    bytes.toString("latin1", 0, 4) !== "RIFF" ||
    bytes.toString("latin1", 8, 12) !== "WEBP"
  ) {
    return undefined
  }
  switch (bytes.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) }
    case "VP8L": {
      const bits = bytes.readUInt32LE(21)
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) }
    }
    case "VP8 ":
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff }
    default:
      return undefined
  }
}

/** The segments before the first frame header, each with its length. */
const jpegSize = (bytes: Buffer): Size | undefined => {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined
  for (let at = 2; at + 9 <= bytes.length;) {
    if (bytes[at] !== 0xff) return undefined
    const marker = bytes[at + 1] ?? 0
    if (marker === 0xff) {
      at += 1
      continue
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (isFrame) return { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) }
    at += marker >= 0xd0 && marker <= 0xd9 ? 2 : 2 + bytes.readUInt16BE(at + 2)
  }
  return undefined
}
