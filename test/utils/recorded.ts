/**
 * Recorded traffic: requests with the usage that was billed for them, kept beside the repository. Absent in most
 * checkouts; the tests that need it are skipped then, by name.
 */
import * as fs from "node:fs"
import type { Json, JsonObject } from "../../src/internal/json.ts"

const directory = new URL("../../../shared/recorded/", import.meta.url)

export interface Row {
  readonly id: string
  readonly host: "openai" | "azure"
  readonly path: string
  readonly request: JsonObject
  readonly status: number
  readonly responseModel: string | null
  readonly serviceTier: string | null
  readonly usage: JsonObject | null
  readonly suspect?: unknown
}

export interface StreamRow {
  readonly id: string
  readonly path: string
  readonly request: JsonObject
  readonly sse: string
}

export const isThere = fs.existsSync(new URL("public.jsonl", directory))

/** Large base64 texts were replaced by their facts; the size of an image was among them, in its header. */
interface Blob {
  readonly prefix: string
  readonly chars: number
  readonly mime: string
  readonly width?: number
  readonly height?: number
}

/** A PNG header of that size: what is left of an image when only its size matters. */
const header = (width: number, height: number): string => {
  const bytes = Buffer.alloc(24)
  bytes.write("\u0089PNG\r\n\u001a\n\0\0\0\rIHDR", "latin1")
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  return bytes.toString("base64")
}

const restored = ({ prefix, chars, width, height }: Blob): string => {
  const start = prefix + (width === undefined || height === undefined ? "" : header(width, height))
  return start.padEnd(chars, "A")
}

const revive = (_key: string, value: Json | { readonly $blob: Blob }): unknown =>
  typeof value === "object" && value !== null && "$blob" in value ? restored(value.$blob as Blob) : value

const read = (name: string): ReadonlyArray<unknown> =>
  isThere
    ? fs
        .readFileSync(new URL(name, directory), "utf8")
        .trim()
        .split("\n")
        .map((line): unknown => JSON.parse(line, revive))
    : []

/** The exchanges whose recording is sound, with a bill. */
export const exchanges = (): ReadonlyArray<Row & { readonly usage: JsonObject }> =>
  (read("public.jsonl") as ReadonlyArray<Row>).flatMap((row) =>
    row.status === 200 && row.usage !== null && !row.suspect ? [{ ...row, usage: row.usage }] : []
  )

export const streams = (): ReadonlyArray<StreamRow> => read("streams.jsonl") as ReadonlyArray<StreamRow>
