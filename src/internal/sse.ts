/**
 * Watches a stream of server-sent events as bytes. Bytes go on as they came; an event is changed only where the
 * watcher says so, and then only that event.
 */

/** What becomes of an event: it stays as it is, goes, or gets other data. */
export type Fate = "keep" | "drop" | { readonly data: string }

export interface Watcher {
  /** Called with each event's data, in order. */
  readonly event: (data: string) => Fate
  /** Whether events may be changed. If not, bytes are not held back until their event is complete. */
  readonly rewrites: boolean
  /** A cheap test on an event's bytes: what it is false for is kept unread. */
  readonly wanted: (bytes: Buffer) => boolean
  /** Called where an event is too large to be read. */
  readonly unread: () => void
}

/** An event larger than this is not kept in memory to be read: it goes on unread. */
const largest = 32 * 1024 * 1024

/** Splits bytes into events, in linear time whatever the chunks are. */
export class Splitter {
  readonly watcher: Watcher
  buffer = Buffer.alloc(4_096)
  length = 0
  scanned = 0
  /** Set while an oversized event passes. */
  skipping = false
  first = true

  constructor(watcher: Watcher) {
    this.watcher = watcher
  }

  /** Takes a chunk; returns what may go on. */
  push(chunk: Uint8Array): Uint8Array | undefined {
    this.append(chunk)
    const out: Array<Uint8Array> = []
    let start = 0
    for (let end = this.boundary(); end !== -1; end = this.boundary()) {
      const event = this.buffer.subarray(start, end)
      const kept = this.skipping ? event : this.judge(event)
      this.skipping = false
      this.first = false
      if (kept !== undefined) out.push(kept)
      start = end
    }
    if (this.length - start > largest) {
      // What may be the first half of a blank line stays.
      out.push(this.buffer.subarray(start, this.scanned))
      this.skipping = true
      this.watcher.unread()
      start = this.scanned
    }
    const result = this.watcher.rewrites ? concat(out) : chunk
    this.buffer.copyWithin(0, start, this.length)
    this.length -= start
    this.scanned -= start
    return result
  }

  /** The stream ended: what is left is an event without its blank line. */
  end(): Uint8Array | undefined {
    if (this.length === 0) return undefined
    const rest = this.buffer.subarray(0, this.length)
    const kept = this.skipping ? rest : this.judge(rest)
    this.length = 0
    return this.watcher.rewrites && kept !== undefined ? concat([kept]) : undefined
  }

  append(chunk: Uint8Array): void {
    const needed = this.length + chunk.length
    if (needed > this.buffer.length) {
      const larger = Buffer.alloc(Math.max(needed, this.buffer.length * 2))
      this.buffer.copy(larger, 0, 0, this.length)
      this.buffer = larger
    }
    this.buffer.set(chunk, this.length)
    this.length = needed
  }

  /** Where the next event ends, after its blank line; -1 where that has not arrived. */
  boundary(): number {
    const { buffer, length } = this
    for (let at = this.scanned; at < length; at++) {
      const code = buffer[at]
      if (code !== 10 && code !== 13) continue
      // A line ends with LF, CR or CRLF; two ends in a row are a blank line.
      const afterFirst = code === 13 && buffer[at + 1] === 10 ? at + 2 : at + 1
      if (afterFirst >= length) {
        this.scanned = at
        return -1
      }
      const second = buffer[afterFirst]
      if (second !== 10 && second !== 13) {
        at = afterFirst - 1
        continue
      }
      if (second === 13 && afterFirst + 1 >= length) {
        this.scanned = at
        return -1
      }
      const end = second === 13 && buffer[afterFirst + 1] === 10 ? afterFirst + 2 : afterFirst + 1
      this.scanned = end
      return end
    }
    this.scanned = length
    return -1
  }

  judge(event: Buffer): Uint8Array | undefined {
    if (!this.watcher.wanted(event)) return event
    const whole = event.toString("utf8")
    // A byte order mark may precede the first event; it is no part of its first line.
    const text = this.first ? whole.replace(/^\uFEFF/, "") : whole
    const data = dataOf(text)
    if (data === undefined) return event
    const fate = this.watcher.event(data)
    if (fate === "keep") return event
    if (fate === "drop") return undefined
    const written = fate.data.split("\n").map((line) => `data: ${line}`)
    let seen = false
    // Written anew line by line: an end of line that is left of a CR and one of an LF would be taken for one.
    const lines = text.split(lineEnd).flatMap((line) => {
      if (!line.startsWith("data:")) return [line]
      const first = !seen
      seen = true
      return first ? written : []
    })
    return Buffer.from(lines.join("\n"), "utf8")
  }
}

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array | undefined =>
  // A copy: the splitter's buffer is used again while the reader still holds what it was given.
  parts.length === 0 ? undefined : new Uint8Array(Buffer.concat(parts))

const lineEnd = /\r\n|\r|\n/

const dataOf = (event: string): string | undefined => {
  const lines = event.split(lineEnd).filter((line) => line.startsWith("data:"))
  if (lines.length === 0) return undefined
  return lines.map((line) => line.slice(line.startsWith("data: ") ? 6 : 5)).join("\n")
}
