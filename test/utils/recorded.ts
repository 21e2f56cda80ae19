/**
 * Recorded traffic: requests with the usage that was billed for them, kept beside the repository. Absent in most
 * checkouts; the tests that need it are skipped then, by name.
 */
import * as fs from "node:fs"
import { type Exchange, readExchanges, readLines } from "../../scripts/corpus.ts"
import type { JsonObject } from "../../src/internal/json.ts"

const directory = new URL("../../../shared/recorded/", import.meta.url)

export interface StreamRow {
  readonly id: string
  readonly path: string
  readonly request: JsonObject
  readonly sse: string
}

export const isThere = fs.existsSync(new URL("public.jsonl", directory))

export const exchanges = (): ReadonlyArray<Exchange> =>
  isThere ? readExchanges(new URL("public.jsonl", directory)) : []

export const streams = (): ReadonlyArray<StreamRow> =>
  isThere ? (readLines(new URL("streams.jsonl", directory)) as ReadonlyArray<StreamRow>) : []

export interface CountRow {
  readonly request: JsonObject
  readonly inputTokens: number
  /** The request is as long as it was on the wire, where that was recorded: nothing of it was lost. */
  readonly isWhole: boolean
}

interface RawCount extends Omit<CountRow, "isWhole"> {
  readonly wireBytes: number | null
  readonly jsonBytes: number
}

/** Answers of `POST /responses/input_tokens`. */
export const counts = (): ReadonlyArray<CountRow> =>
  isThere
    ? (readLines(new URL("counts.jsonl", directory)) as ReadonlyArray<RawCount>).map((row) => ({
        ...row,
        isWhole: row.wireBytes === null || row.wireBytes === row.jsonBytes
      }))
    : []
