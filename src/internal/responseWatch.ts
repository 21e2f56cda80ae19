/**
 * Watches a response for its bill while its reader reads it, by whichever way: the same status, headers, address
 * and bytes, except for the usage that the reader did not ask for.
 */
import { ReadableStream as NodeReadableStream } from "node:stream/web"
import type { Endpoint, Reading, Signal } from "../Endpoint.ts"
import { isGiven, isObject, parse, type Json } from "./json.ts"
import { withoutLength } from "./requestBody.ts"
import { Splitter, type Fate } from "./sse.ts"

/** Told once how the response's bill ended; later calls are of no effect. */
interface Observer {
  readonly reported: (reading: Reading) => void
  readonly lost: (why: string) => void
  /** Whether a body that its reader leaves is read on, to learn the truth. */
  readonly drains: () => boolean
  /** Runs once a minute has passed on the caller's clock, unless it is called off by what this answers. */
  readonly afterDrain: (run: () => void) => () => void
}

interface WatchOptions {
  readonly endpoint: Endpoint
  readonly stream: boolean
  /** The usage was asked for by us: the reader must not see it. */
  readonly hideUsage: boolean
  readonly signal: AbortSignal | null | undefined
}

export const watch = (response: Response, observer: Observer, options: WatchOptions): Response => {
  const { headers, status } = response
  // Clients do not read a body that is announced as empty: its end would never be seen.
  if (bodiless.has(status) || headers.get("content-length") === "0") {
    observer.lost("the response has no body")
    return response
  }
  const type = headers.get("content-type") ?? ""
  if (options.stream || type.includes("event-stream")) {
    return tapped(response, response.body, observer, options, throughEither(observer, options))
  }
  // A reader that goes away from a body that drains must be let go at once, which only a tap can do. What is no
  // plain Response may have ways of its own to be read.
  return observer.drains() || Object.getPrototypeOf(response) !== Response.prototype
    ? tapped(response, response.body, observer, options, throughWhole(observer, options))
    : new WatchedResponse(response, observer, options)
}

/** Statuses that come without a body. Source: the Fetch standard, "null body status". */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304])

/** The same response around a body that is watched as it passes. */
const tapped = (
  response: Response,
  body: ReadableStream<Uint8Array> | null,
  observer: Observer,
  options: WatchOptions,
  through: Through
): Response => {
  if (body === null) {
    observer.lost("the response has no body")
    return response
  }
  const { status, url } = response
  // A server may say what no Response can be made to say. It must not cost the answer.
  const statusText = reasonPhrase.test(response.statusText) ? response.statusText : ""
  const copy = new Response(tap(streamOf(body), observer, options.signal, through), {
    status,
    statusText,
    headers: options.hideUsage ? withoutLength(response.headers) : response.headers
  })
  return addressed(copy, url)
}

/**
 * A response whose bill is known already, or has none to tell, and whose transport no longer hears of its caller's
 * signal: it is left when its reader goes away, as a plain one is.
 */
export const leavable = (response: Response, options: WatchOptions): Response =>
  response.body === null ? response : tapped(response, response.body, nobody, options, unread)

const nobody: Observer = {
  reported: () => undefined,
  lost: () => undefined,
  drains: () => false,
  afterDrain: () => () => undefined
}

/** Source: RFC 9112, "reason-phrase". */
const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/

/** Some fetches answer with a stream of Node's, which is iterable but no web stream. */
const streamOf = (body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> =>
  "getReader" in body ? body : (NodeReadableStream.from(body) as ReadableStream<Uint8Array>)

/** A response that was made here has no address of its own; its readers look for the one that answered. */
const addressed = (response: Response, url: string): Response => {
  const clone = response.clone.bind(response)
  return Object.defineProperties(response, {
    url: { value: url, configurable: true },
    clone: { value: () => addressed(clone(), url), configurable: true }
  })
}

/**
 * A whole body is read as text or as JSON by nearly everyone. It is watched there, which spares a stream around it.
 * What its reader gets stands before the response instead of changing it: a changed prototype makes every reading
 * slower, and the platform keeps a response for longer than its reader does, with whatever hangs on it.
 */
class WatchedResponse implements Response {
  readonly #response: Response
  /** How its end is told; nobody is left to tell once it is read as text. */
  #watching: { readonly observer: Observer; readonly options: WatchOptions } | undefined
  /** The response around a tapped body, for whoever reads it in another way. */
  #copy: Response | undefined

  constructor(response: Response, observer: Observer, options: WatchOptions) {
    this.#response = response
    this.#watching = { observer, options }
  }

  get headers(): Headers {
    return this.#response.headers
  }
  get ok(): boolean {
    return this.#response.ok
  }
  get redirected(): boolean {
    return this.#response.redirected
  }
  get status(): number {
    return this.#response.status
  }
  get statusText(): string {
    return this.#response.statusText
  }
  get type(): ResponseType {
    return this.#response.type
  }
  get url(): string {
    return this.#response.url
  }
  get body(): Response["body"] {
    return this.#otherwise().body
  }
  get bodyUsed(): boolean {
    return (this.#copy ?? this.#response).bodyUsed
  }

  text(): Promise<string> {
    const watching = this.#watching
    if (watching === undefined) return (this.#copy ?? this.#response).text()
    return this.#whole(watching, (text) => {
      readWhole(parse(text), watching.observer, watching.options)
      return text
    })
  }

  json(): Promise<unknown> {
    const watching = this.#watching
    if (watching === undefined) return (this.#copy ?? this.#response).json()
    return this.#whole(watching, (text) => {
      // Parsed once for its reader and for its bill, which is read before its reader can change it.
      const value = parse(text)
      readWhole(value, watching.observer, watching.options)
      // The reader is owed the error that its own parsing meets.
      return value === undefined ? (JSON.parse(text) as unknown) : value
    })
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#otherwise().arrayBuffer()
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#otherwise().bytes()
  }

  blob(): Promise<Blob> {
    return this.#otherwise().blob()
  }

  formData(): Promise<FormData> {
    return this.#otherwise().formData()
  }

  clone(): Response {
    return this.#otherwise().clone()
  }

  #whole<A>({ observer }: { readonly observer: Observer }, read: (text: string) => A): Promise<A> {
    this.#watching = undefined
    return this.#response.text().then(read, (error: unknown) => {
      observer.lost("the response was cut")
      throw error
    })
  }

  /** What is read in another way than as text. Once it is read as text, the response itself says that it is used. */
  #otherwise(): Response {
    if (this.#watching !== undefined) {
      const { observer, options } = this.#watching
      const { body } = this.#response
      this.#copy = tapped(this.#response, body, observer, options, throughWhole(observer, options))
      this.#watching = undefined
    }
    return this.#copy ?? this.#response
  }
}

// It is a Response to whoever asks by `instanceof`, made without the costs of one.
Object.setPrototypeOf(WatchedResponse.prototype, Response.prototype)

const readWhole = (body: Json | undefined, observer: Observer, options: WatchOptions): void => {
  const reading = isObject(body) ? options.endpoint.read(body) : undefined
  if (reading === undefined) observer.lost("the response has no usage that could be true")
  else observer.reported(reading)
}

/** A whole JSON body: kept as it passes, and read at its end. */
const throughWhole = (observer: Observer, options: WatchOptions): Through => {
  const chunks: Array<Uint8Array> = []
  return {
    push: (chunk) => {
      chunks.push(chunk)
      return chunk
    },
    end: () => {
      // As its reader decodes it, who does not see a byte order mark.
      readWhole(parse(new TextDecoder().decode(Buffer.concat(chunks))), observer, options)
      return undefined
    }
  }
}

const throughEvents = (observer: Observer, options: WatchOptions): Through => {
  const usage = streamUsage(observer, options)
  const splitter = new Splitter({
    rewrites: options.hideUsage,
    wanted: usage.wanted,
    event: usage.event,
    unread: usage.unread
  })
  return {
    push: (chunk) => splitter.push(chunk),
    end: () => {
      const rest = splitter.end()
      usage.cut()
      return rest
    }
  }
}

/**
 * What was asked for as a stream, told apart by how it begins: gateways label events as JSON, and answer with JSON
 * under the label of events. Clients go by what they asked for, whatever the label.
 */
const throughEither = (observer: Observer, options: WatchOptions): Through => {
  let through: Through | undefined
  return {
    push: (chunk) => {
      if (through === undefined) {
        const first = chunk.find((byte) => !blanks.has(byte))
        // Blank space before the first word means nothing to either.
        if (first === undefined) return chunk
        through = (first === openingBrace ? throughWhole : throughEvents)(observer, options)
      }
      return through.push(chunk)
    },
    end: () => (through ?? throughEvents(observer, options)).end()
  }
}

/** White space, and the bytes of a byte order mark. */
const blanks: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf])
const openingBrace = 0x7b

/**
 * Follows a stream's events to its last word on usage. One that a later one may replace is the bill only where the
 * stream says that it is done: a connection that was cut may end as quietly as one that was closed.
 */
const streamUsage = (observer: Observer, options: WatchOptions) => {
  let interim: Reading | undefined
  let wrote = false
  // What cannot be read may have been a larger usage.
  const unread = (): void => {
    interim = undefined
  }
  const ifTrue = (reading: Reading | undefined): Reading | undefined =>
    wrote && reading?.usage.output === 0 ? undefined : reading
  const heed = (signal: Signal): void => {
    if (signal._tag === "Done") {
      const last = ifTrue(interim)
      if (last === undefined) observer.lost("the stream ended without a usage that could be true")
      else observer.reported(last)
      return
    }
    if (signal._tag !== "Final") wrote ||= signal.wrote === true
    if (signal._tag === "Interim") interim = signal.reading
    else if (signal._tag === "Final") {
      const reading = ifTrue(signal.reading)
      if (reading === undefined) observer.lost("the stream's usage cannot be true")
      else observer.reported(reading)
    }
  }
  const event = (data: string): Fate => {
    if (data.startsWith("[DONE]")) {
      heed({ _tag: "Done" })
      return "keep"
    }
    const value = parse(data)
    if (!isObject(value)) {
      if (data.includes('"usage"')) unread()
      return "keep"
    }
    const signal = options.endpoint.signal(value)
    heed(signal)
    if (!options.hideUsage) return "keep"
    if (signal._tag === "Final" || (signal._tag === "Interim" && signal.isAlone)) {
      // Moderation comes on a chunk without choices as well, and is the caller's.
      return isGiven(value.moderation) ? { data: JSON.stringify({ ...value, usage: undefined }) } : "drop"
    }
    const stripped = data.replace(/,\s*"usage"\s*:\s*null/, "")
    return stripped.length === data.length ? "keep" : { data: stripped }
  }
  // Most events are not worth their parsing: it matters only whether any of them wrote.
  const wanted = (bytes: Buffer): boolean => !wrote || bytes.includes('"usage"') || bytes.includes("[DONE]")
  return { event, wanted, unread, cut: () => observer.lost("the stream ended before it was done") }
}

/** Some fetches answer with chunks of text or buffers, which clients read as bytes. */
const bytesOf = (chunk: unknown): Uint8Array => {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === "string") return new TextEncoder().encode(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  throw new TypeError("The body has a chunk that is neither bytes nor text.")
}

interface Through {
  readonly push: (chunk: Uint8Array) => Uint8Array | undefined
  readonly end: () => Uint8Array | undefined
}

const unread: Through = { push: (chunk) => chunk, end: () => undefined }

/**
 * Passes a body on as it is read, chunk by chunk, and never ahead of its reader. A body that its reader cancels
 * or aborts is left too, or read on where the observer says so.
 */
const tap = (
  body: ReadableStream<Uint8Array>,
  observer: Observer,
  signal: AbortSignal | null | undefined,
  through: Through
): ReadableStream<Uint8Array> => {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let left = false
  const source = (): ReadableStreamDefaultReader<Uint8Array> => (reader ??= body.getReader())
  const drain = async (): Promise<void> => {
    const callOff = observer.afterDrain(
      () =>
        void source()
          .cancel()
          .catch(() => undefined)
    )
    try {
      for (let read = await source().read(); !read.done; read = await source().read())
        through.push(bytesOf(read.value))
      through.end()
    } catch {
      // The error itself reaches nobody: the reader has left. The bill is lost, which is booked.
      observer.lost("the response was cut after it was left")
    } finally {
      callOff()
    }
  }
  const leave = (reason: unknown): Promise<void> => {
    if (left) return Promise.resolve()
    left = true
    if (observer.drains()) {
      void drain()
      return Promise.resolve()
    }
    observer.lost("the response was left before its end")
    return source().cancel(reason)
  }
  let abort: () => void = () => undefined
  const finish = (): void => {
    left = true
    signal?.removeEventListener("abort", abort)
  }
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        abort = () => {
          if (left) return
          controller.error(signal?.reason)
          leave(signal?.reason).catch(() => undefined)
        }
        signal?.addEventListener("abort", abort, { once: true })
      },
      pull: async (controller) => {
        try {
          for (;;) {
            const read = await source().read()
            // Also for nobody: what arrives as the reader leaves may be the bill.
            const out = read.done ? through.end() : through.push(bytesOf(read.value))
            if (left) return
            if (out !== undefined && out.length > 0) controller.enqueue(out)
            if (read.done) {
              finish()
              controller.close()
              return
            }
            if (out !== undefined && out.length > 0) return
          }
        } catch (error) {
          if (left) return
          finish()
          observer.lost("the response was cut")
          controller.error(error)
        }
      },
      cancel: (reason) => {
        const leaving = leave(reason)
        finish()
        return leaving
      }
    },
    { highWaterMark: 0 }
  )
}
