/**
 * The ledger's connection to Redis, where it is its own. A client of Redis tells the answers of one socket apart by
 * nothing but their order: where a client has two sockets, callers get each other's answers. So here a client has one
 * socket, once: when that ends, or its answers cannot be trusted, the client is gone for good and another one is made.
 * There is one at any time, and one more for each subscription.
 */
import type * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redis from "effect/persistence/Redis"

type Client = NodeRedis.NodeRedis["Service"]["client"]

/** How long, in milliseconds, a server that took a connection may take to greet. */
const greeting = 5_000

/** In milliseconds: the first pause before another try, and the longest. */
const pauses = { first: 10, longest: 2_000 }

const error = (cause: unknown): Redis.RedisError => new Redis.RedisError({ cause })

/** A client that is connected once. */
class Line {
  readonly client: Client
  readonly #told: (cause: unknown) => void
  #hasSocket: boolean
  #isOver = false
  #timer: NodeJS.Timeout | undefined

  /** `told` hears, once, that the line is over. */
  constructor(client: Client, told: (cause: unknown) => void) {
    this.client = client
    this.#told = told
    this.#hasSocket = client.isReady
    // Also what a client reports and goes on after: an answer that it could not read, so that it lost count.
    client.on("error", (cause: unknown) => this.end(cause))
    client.on("connect", () => {
      this.#hasSocket = true
      if (this.#isOver) this.#destroy()
      else this.#timer = setTimeout(() => this.end(new Error("no greeting")), greeting)
    })
  }

  async open(): Promise<void> {
    try {
      await this.client.connect()
      clearTimeout(this.#timer)
    } catch (cause) {
      this.end(cause)
    }
    // It may have ended meanwhile, and comes to life nevertheless.
    if (this.#isOver) throw new Error("over")
  }

  end(cause: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    // A client forgets a socket that is not there yet, and would use it: then it is destroyed when it is.
    if (this.#hasSocket) this.#destroy()
    this.#told(cause)
  }

  #destroy(): void {
    try {
      this.client.destroy()
    } catch {
      // Some versions refuse to destroy what is closed.
    }
  }
}

type Waiting = (line: Effect.Effect<Line, Redis.RedisError>) => void

/** The line in use, and whoever waits for the next one. What was not sent before its verb was given up is never sent. */
class Lines {
  readonly #duplicate: () => Client
  readonly #waiting = new Set<Waiting>()
  #line: Line
  #isReady = true
  #isClosed = false
  #tries = 0
  #timer: NodeJS.Timeout | undefined

  constructor(client: Client) {
    this.#duplicate = () => client.duplicate()
    this.#line = this.#lineOf(client)
  }

  readonly send = <A>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
    Effect.flatMap(this.#ready, ({ client }) =>
      Effect.tryPromise({ try: () => client.sendCommand<A>([command, ...args]), catch: error })
    )

  readonly #ready = Effect.callback<Line, Redis.RedisError>((resume) => {
    if (this.#isReady) resume(Effect.succeed(this.#line))
    else if (this.#isClosed) resume(Effect.fail(error(new Error("closed"))))
    else this.#waiting.add(resume)
    return Effect.sync(() => void this.#waiting.delete(resume))
  })

  /** A line that is still being made is waited for, so that there is no other beside it. */
  readonly renew = Effect.sync(() => {
    if (this.#isReady) this.#line.end(new Error("given up"))
  })

  readonly subscribe = (channel: string, onMessage: (message: Redis.RedisMessage) => void) =>
    Effect.gen({ self: this }, function* () {
      const over = Deferred.makeUnsafe<never, Redis.RedisError>()
      const line = yield* Effect.acquireRelease(
        Effect.sync(
          () => new Line(this.#duplicate(), (cause) => Deferred.doneUnsafe(over, Exit.fail(error(cause))))
        ),
        (made) => Effect.sync(() => made.end(undefined))
      )
      const listening = Effect.tryPromise({
        try: async () => {
          await line.open()
          await line.client.subscribe(channel, (message, from) => onMessage({ channel: from, message }))
        },
        catch: error
      })
      yield* Effect.raceFirst(listening, Deferred.await(over))
      return Deferred.await(over)
    })

  /** What is under way may still be answered, for so long. */
  close(millis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const [wasReady, line] = [this.#isReady, this.#line]
      this.#isClosed = true
      this.#isReady = false
      clearTimeout(this.#timer)
      for (const resume of this.#waiting) resume(Effect.fail(error(new Error("closed"))))
      const closed = wasReady ? Effect.ignore(Effect.tryPromise(() => line.client.close())) : Effect.void
      return Effect.ensuring(
        Effect.timeoutOrElse(closed, { duration: millis, orElse: () => Effect.void }),
        Effect.sync(() => line.end(undefined))
      )
    })
  }

  #lineOf(client: Client): Line {
    const line: Line = new Line(client, () => {
      if (line !== this.#line || this.#isClosed) return
      this.#isReady = false
      const pause = Math.min(pauses.first * 2 ** this.#tries++, pauses.longest)
      this.#timer = setTimeout(() => this.#next(), pause)
    })
    return line
  }

  #next(): void {
    const line = (this.#line = this.#lineOf(this.#duplicate()))
    line.open().then(
      () => {
        if (this.#isClosed) {
          line.end(undefined)
          return
        }
        this.#isReady = true
        this.#tries = 0
        for (const resume of this.#waiting) resume(Effect.succeed(line))
        this.#waiting.clear()
      },
      () => undefined
    )
  }
}

/** How the ledger's own client is to be made: what a socket's end means is decided here. */
export const socket = { connectTimeout: 5_000, reconnectStrategy: false } as const

/**
 * Takes over a client that is connected, and ends it with the scope, which takes `closing` milliseconds at most. `renew`
 * gives up the socket that is in use.
 */
export const make = (client: Client, closing: number) =>
  Effect.gen(function* () {
    const lines = yield* Effect.acquireRelease(
      Effect.sync(() => new Lines(client)),
      (made) => made.close(closing)
    )
    const { renew, send, subscribe } = lines
    const connect = Effect.fail(error(new Error("none to reserve")))
    return { redis: yield* Redis.make({ send, subscribe, connect }), renew }
  })
