/**
 * Watches a response for its bill while its reader reads it, by whichever way: the same status, headers, address
 * and bytes, except for the usage that the reader did not ask for.
 */
import { ReadableStream as NodeReadableStream } from "node:stream/web"
import type { Endpoint, Reading, Signal } from "../Endpoint.ts"
import { isObject, parse } from "./json.ts"
import { Splitter, type Fate } from "./sse.ts"

/** Told once how the response's bill ended; later calls are of no effect. */
export interface Observer {
  readonly reported: (reading: Reading) => void
  readonly lost: (why: string) => void
  /** Whether a body that its reader leaves is read on, to learn the truth. */
  readonly drains: () => boolean
  /** Runs once a minute has passed on the caller's clock, unless it is called off by what this answers. */
  readonly afterDrain: (run: () => void) => () => void
}

export interface WatchOptions {
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
  const isStream = type.includes("event-stream") || (options.stream && !type.includes("json"))
  if (isStream) return tapped(response, response.body, observer, options, throughEvents(observer, options))
  // A reader that goes away from a body that drains must be let go at once, which only a tap can do. What is no
  // plain Response may have ways of its own to be read.
  return observer.drains() || Object.getPrototypeOf(response) !== Response.prototype
    ? tapped(response, response.body, observer, options, throughWhole(observer, options))
    : watchText(response, observer, options)
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
  const { status, headers, url } = response
  // A server may say what no Response can be made to say. It must not cost the answer.
  const statusText = reasonPhrase.test(response.statusText) ? response.statusText : ""
  const copy = new Response(tap(streamOf(body), observer, options.signal, through), {
    status,
    statusText,
    headers
  })
  return addressed(copy, url)
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

interface Watched {
  readonly observer: Observer
  readonly options: WatchOptions
  /** The response around a tapped body, for whoever reads it in another way than as text. */
  copy: Response | undefined
  /** It is read as text already. */
  started: boolean
}

/**
 * A whole body is read as text by nearly everyone. It is watched there, which spares a stream around it, by methods
 * that all such responses share: properties of their own would cost more than the reading.
 */
const watchText = (response: Response, observer: Observer, options: WatchOptions): Response => {
  // The methods below are all that it gets: it stays the response that it was.
  Object.setPrototypeOf(response, TextWatched.prototype)
  new Note(response, { observer, options, copy: undefined, started: false })
  return response
}

/** Answers what it is given, so that the fields of a class below it are written there. */
// eslint-disable-next-line @typescript-eslint/no-extraneous-class
class Onto {
  constructor(target: object) {
    return target
  }
}

/** What is noted on a response, in a private field: nobody else sees it, and it costs next to nothing. */
class Note extends Onto {
  readonly #watched: Watched

  constructor(response: Response, watched: Watched) {
    super(response)
    this.#watched = watched
  }

  static of(response: object): Watched {
    return (response as Note).#watched
  }
}

class TextWatched extends Response {
  override text(): Promise<string> {
    const state = Note.of(this)
    if (state.copy !== undefined) return state.copy.text()
    state.started = true
    return super.text().then(
      (text) => {
        readWhole(text, state.observer, state.options)
        return text
      },
      (error: unknown) => {
        state.observer.lost("the response was cut")
        throw error
      }
    )
  }

  override json(): Promise<unknown> {
    return this.text().then((text): unknown => JSON.parse(text))
  }

  override arrayBuffer(): Promise<ArrayBuffer> {
    return copyOf(this)?.arrayBuffer() ?? super.arrayBuffer()
  }

  override bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return copyOf(this)?.bytes() ?? super.bytes()
  }

  override blob(): Promise<Blob> {
    return copyOf(this)?.blob() ?? super.blob()
  }

  override formData(): Promise<FormData> {
    return copyOf(this)?.formData() ?? super.formData()
  }

  override clone(): Response {
    return copyOf(this)?.clone() ?? super.clone()
  }
}

const native = (response: Response, name: "body" | "bodyUsed"): unknown =>
  Reflect.get(Response.prototype, name, response)

Object.defineProperties(TextWatched.prototype, {
  body: {
    get: function (this: TextWatched): unknown {
      return copyOf(this)?.body ?? native(this, "body")
    }
  },
  bodyUsed: {
    get: function (this: TextWatched): unknown {
      return Note.of(this).copy?.bodyUsed ?? native(this, "bodyUsed")
    }
  }
})

/** Who reads it in another way; nobody once it is read as text: then it says itself that it is used. */
const copyOf = (response: TextWatched): Response | undefined => {
  const state = Note.of(response)
  if (state.started || state.copy !== undefined) return state.copy
  const body = native(response, "body") as Response["body"]
  const { observer, options } = state
  state.copy = tapped(response, body, observer, options, throughWhole(observer, options))
  // A response without a body has nothing to tap, and is its own copy.
  return state.copy === response ? (state.copy = undefined) : state.copy
}

const readWhole = (text: string, observer: Observer, options: WatchOptions): void => {
  const body = parse(text)
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
      readWhole(Buffer.concat(chunks).toString("utf8"), observer, options)
      return undefined
    }
  }
}

const throughEvents = (observer: Observer, options: WatchOptions): Through => {
  const usage = streamUsage(observer, options)
  const splitter = new Splitter({
    rewrites: options.hideUsage,
    wanted: (bytes) => bytes.includes('"usage"') || bytes.includes("[DONE]"),
    event: usage.event
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
 * Follows a stream's events to its last word on usage. One that a later one may replace is the bill only where the
 * stream says that it is done: a connection that was cut may end as quietly as one that was closed.
 */
const streamUsage = (observer: Observer, options: WatchOptions) => {
  let interim: Reading | undefined
  const heed = (signal: Signal): void => {
    if (signal._tag === "Final") {
      if (signal.reading === undefined) observer.lost("the stream's usage cannot be true")
      else observer.reported(signal.reading)
    } else if (signal._tag === "Interim") interim = signal.reading
    else if (signal._tag === "Done") {
      if (interim === undefined) observer.lost("the stream ended without a usage that could be true")
      else observer.reported(interim)
    }
  }
  const event = (data: string): Fate => {
    if (data.startsWith("[DONE]")) {
      heed({ _tag: "Done" })
      return "keep"
    }
    const value = parse(data)
    if (!isObject(value)) return "keep"
    const signal = options.endpoint.signal(value)
    heed(signal)
    if (!options.hideUsage) return "keep"
    if (signal._tag === "Final") return "drop"
    const stripped = data.replace(/,\s*"usage"\s*:\s*null/, "")
    return stripped.length === data.length ? "keep" : { data: stripped }
  }
  return { event, cut: () => observer.lost("the stream ended before it was done") }
}

interface Through {
  readonly push: (chunk: Uint8Array) => Uint8Array | undefined
  readonly end: () => Uint8Array | undefined
}

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
        through.push(read.value)
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
            const out = read.done ? through.end() : through.push(read.value)
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
