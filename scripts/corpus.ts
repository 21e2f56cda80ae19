/**
 * Recorded exchanges, as JSON lines: `host`, `deployment`, `path`, `request` (the body), `status`, `usage` (as it was billed),
 * `responseModel`, `serviceTier`, `created` (seconds of the epoch), `responseId`, `outputItems`
 * and `webSearchActions`. Rows that are marked `suspect` are left out.
 */
import * as fs from "node:fs"
import type { Json, JsonObject } from "../src/internal/json.ts"

export interface Exchange {
  readonly id: string
  readonly source: string
  /** Of the API, where it is not OpenAI's own: `azure`. */
  readonly host?: string | undefined
  /** What Azure calls the model. */
  readonly deployment?: string | null | undefined
  readonly path: string
  readonly request: JsonObject
  readonly usage: JsonObject
  readonly responseModel: string | null
  readonly serviceTier: string | null
  readonly created?: number | null | undefined
  readonly responseId?: string | null | undefined
  /** The types of what was answered with, on the Responses API. */
  readonly outputItems?: ReadonlyArray<string> | undefined
  /** What its searches of the web did, in order; `null` where it does not say. */
  readonly webSearchActions?: ReadonlyArray<string | null> | undefined
}

interface Row extends Omit<Exchange, "usage"> {
  readonly status: number
  readonly usage: JsonObject | null
  readonly suspect?: unknown
}

/** Large base64 texts were replaced by their facts; the size of an image was among them, in its header. */
interface Blob {
  readonly prefix: string
  readonly chars: number
  readonly mime: string
  readonly width?: number
  readonly height?: number
}

/** A PNG of that size up to where its image begins: what is left of an image when only its size matters. */
const header = (width: number, height: number): string => {
  const bytes = Buffer.alloc(42)
  bytes.write("\u0089PNG\r\n\u001a\n\0\0\0\rIHDR", "latin1")
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  bytes.write("IDAT", 37)
  return bytes.toString("base64")
}

const restored = ({ prefix, chars, width, height }: Blob): string => {
  const start = prefix + (width === undefined || height === undefined ? "" : header(width, height))
  return start.padEnd(chars, "A")
}

const revive = (_key: string, value: Json | { readonly $blob: Blob }): unknown =>
  typeof value === "object" && value !== null && "$blob" in value ? restored(value.$blob as Blob) : value

/** The lines of a file. */
export const readLines = (file: string | URL): ReadonlyArray<unknown> =>
  fs
    .readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line): unknown => JSON.parse(line, revive))

/** The exchanges whose recording is sound, with a bill; paths below the API's root. */
export const readExchanges = (file: string | URL): ReadonlyArray<Exchange> =>
  (readLines(file) as ReadonlyArray<Row>).flatMap((row) =>
    row.status === 200 && row.usage !== null && !row.suspect
      ? [{ ...row, path: row.path.replace(/^\/v1/, ""), usage: row.usage }]
      : []
  )
