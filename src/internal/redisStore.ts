/**
 * The ledger's store in Redis: each verb is one script, sent once (`redisScripts`), and the two verbs of each call go
 * together with all that are asked for at the same time (`redisAsks`, `redisBatch`). The hash tag around the prefix
 * keeps all keys of a ledger on one node of a cluster.
 */
import { createHash, randomUUID } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Redis from "effect/persistence/Redis"
import type {
  AccountRow,
  Answer,
  EndAsk,
  EntriesAsk,
  LedgerStore,
  OpenAsk,
  ReserveAsk
} from "./ledgerStore.ts"
import { StoreUnavailable } from "./ledgerStore.ts"
import type { Entry } from "./ledgerTypes.ts"
import { inTime } from "./inTime.ts"
import * as Answers from "./redisAnswers.ts"
import { Asks } from "./redisAsks.ts"
import * as Failure from "./redisFailure.ts"
import { keyNames } from "./redisRows.ts"
import { sources } from "./redisScripts.ts"

export interface Options {
  /** What the keys of this ledger begin with, in braces. */
  readonly prefix: string
  /** How long a verb may take before it counts as unavailable. */
  readonly timeout: Duration.Input
  /** Makes a new connection, where a verb was not answered in time; at most once for those that were sent together. */
  readonly renew?: Effect.Effect<void> | undefined
}

/** How rows are written. A ledger of another layout is refused. */
const format = "1"

/** How many entries one script looks at: about a millisecond, in which Redis does nothing else. */
const looks = 1_000

/** Texts go as the inside of a JSON string, in which the scripts put them back: see `redisRows`. */
const text = (value: string): string => JSON.stringify(value).slice(1, -1)

/** Texts that may be missing. */
const given = (value: string | null | undefined): string =>
  typeof value === "string" ? `=${text(value)}` : "-"

const orDash = (value: number | null): string => (value === null ? "-" : String(value))

const orEmpty = (value: number | null): string => (value === null ? "" : String(value))

const openArguments = (ask: OpenAsk, books: string): ReadonlyArray<string> => [
  text(ask.account),
  given(ask.parent),
  ask.limit === undefined ? "" : orDash(ask.limit),
  given(ask.frame),
  ask.thresholds === undefined ? "" : ask.thresholds.length === 0 ? "-" : ask.thresholds.join(","),
  given(ask.opener),
  books
]

const reserveArguments = (ask: ReserveAsk): ReadonlyArray<string> => [
  "r",
  text(ask.id),
  text(ask.fingerprint),
  text(ask.account),
  String(ask.least),
  String(ask.most),
  String(ask.share),
  String(ask.lease),
  orEmpty(ask.place)
]

const endArguments = ({ amount, id, label, verdict }: EndAsk): ReadonlyArray<string> => [
  "e",
  text(id),
  String(amount),
  verdict,
  given(label)
]

const pageArguments = (
  ask: EntriesAsk,
  after: number,
  first: boolean,
  found: number
): ReadonlyArray<string> => [
  String(after),
  String(ask.size - found),
  given(ask.account),
  // Behind the first page every entry is late enough.
  first ? orEmpty(ask.from) : "",
  orEmpty(ask.to),
  String(looks)
]

type Script = keyof typeof sources

const scriptOf = (lua: string) => ({ lua, sha: createHash("sha1").update(lua).digest("hex") })

const scripts = {
  prepare: scriptOf(sources.prepare),
  reserves: scriptOf(sources.reserves),
  ends: scriptOf(sources.ends),
  calls: scriptOf(sources.calls),
  open: scriptOf(sources.open),
  close: scriptOf(sources.close),
  roll: scriptOf(sources.roll),
  stay: scriptOf(sources.stay),
  leave: scriptOf(sources.leave),
  cancel: scriptOf(sources.cancel),
  renew: scriptOf(sources.renew),
  expire: scriptOf(sources.expire),
  setLimit: scriptOf(sources.setLimit),
  pause: scriptOf(sources.pause),
  balances: scriptOf(sources.balances),
  entries: scriptOf(sources.entries)
} satisfies Record<Script, unknown>

/** The script for asks of these kinds. */
const batchOf = (asks: ReadonlyArray<ReadonlyArray<string>>): Script =>
  asks.every(([kind]) => kind === "r") ? "reserves" : asks.every(([kind]) => kind === "e") ? "ends" : "calls"

const unavailable = (detail: string) => new StoreUnavailable({ detail })

const foreign = (verb: string) => unavailable(`Redis (${verb}): its answer is none of this ledger's.`)

/** In the place of what went wrong, where nothing came. */
const late = Symbol("late")

/** The connection as the verbs use it. */
class Server {
  readonly redis: Redis.Redis["Service"]
  readonly prefix: string
  readonly keys: ReadonlyArray<string>
  readonly timeout: number
  readonly renew: Effect.Effect<void>
  readonly asks: Asks
  readonly #name = randomUUID()
  #sent = 0
  connection = 0

  constructor(redis: Redis.Redis["Service"], options: Options) {
    this.redis = redis
    this.prefix = `{${options.prefix}}:`
    this.keys = [String(keyNames.length), ...keyNames.map((name) => this.prefix + name)]
    this.timeout = Duration.toMillis(Duration.fromInputUnsafe(options.timeout))
    this.renew = options.renew ?? Effect.void
    this.asks = new Asks({
      send: (asks) =>
        Effect.mapError(
          this.script(batchOf(asks), [String(asks.length), ...asks.flat()]),
          ({ cause }) => cause
        ),
      isOfScript: Failure.isOfScript,
      timeout: this.timeout,
      late: () => Effect.as(this.giveUp(this.connection), late)
    })
  }

  send(what: string, command: string, ...args: ReadonlyArray<string>): Answer<unknown> {
    return this.bounded(what, this.redis.send(command, ...args))
  }

  /**
   * By the hash of the script; where Redis has forgotten the script, which it may at any time, whole. An answer that does
   * not name what was asked is nobody's.
   */
  script(verb: Script, args: ReadonlyArray<string>): Effect.Effect<string, Redis.RedisError> {
    return Effect.suspend(() => {
      const { connection } = this
      const { lua, sha } = scripts[verb]
      const end = ` ${this.#name}.${++this.#sent}`
      const given = [...this.keys, ...args, end.slice(1)]
      const answered = Effect.catchIf(
        this.redis.send("EVALSHA", sha, ...given),
        (error) => Failure.replyOf(error.cause) === "NOSCRIPT",
        () => this.redis.send("EVAL", lua, ...given)
      )
      return Effect.flatMap(answered, (text) =>
        typeof text === "string" && text.endsWith(end)
          ? Effect.succeed(text.slice(0, -end.length))
          : Effect.andThen(
              this.giveUp(connection),
              Effect.fail(new Redis.RedisError({ cause: new Failure.OthersAnswer() }))
            )
      )
    })
  }

  run<A>(
    verb: Script,
    read: (answer: string) => Effect.Effect<A, unknown>,
    args: ReadonlyArray<string>
  ): Answer<A> {
    const told = this.bounded(verb, this.script(verb, args))
    return Effect.flatMap(told, (text) => Effect.mapError(read(text), () => foreign(verb)))
  }

  /** With all that are asked for at the same time. `isFor` knows an answer of another ask. */
  call<A>(
    verb: string,
    args: ReadonlyArray<string>,
    read: (answer: string) => Exit.Exit<A, unknown>,
    isFor: (answer: A) => boolean
  ): Answer<A> {
    return Effect.suspend(() => {
      const { connection } = this
      return this.asks.ask(args, {
        answered: (line) => {
          const told = read(line)
          if (Exit.isFailure(told)) return Effect.fail(foreign(verb))
          if (isFor(told.value)) return Effect.succeed(told.value)
          const others = Failure.unavailable(verb, new Failure.OthersAnswer())
          return Effect.andThen(this.giveUp(connection), Effect.fail(others))
        },
        failed: (cause) => (cause === late ? this.late(verb) : Failure.unavailable(verb, cause))
      })
    })
  }

  /** Without this a verb waits as long as the client tries to reach the server again. */
  bounded<A>(what: string, sent: Effect.Effect<A, Redis.RedisError>): Answer<A> {
    return Effect.suspend(() => {
      const { connection } = this
      return inTime(
        Effect.mapError(sent, (error) => Failure.unavailable(what, error.cause)),
        this.timeout,
        () => Effect.andThen(this.giveUp(connection), Effect.fail(this.late(what)))
      )
    })
  }

  late(what: string): StoreUnavailable {
    return unavailable(`Redis (${what}): no answer within ${this.timeout} ms.`)
  }

  giveUp(connection: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (connection !== this.connection) return Effect.void
      this.connection++
      return this.renew
    })
  }
}

/** The servers' own words on how they keep what they are given; where they may not be asked, nothing is said. */
const warn = (server: Server): Effect.Effect<void> =>
  Effect.gen(function* () {
    const info = yield* server.send("INFO", "INFO")
    const setting = yield* Effect.catchTag(
      server.send("CONFIG", "CONFIG", "GET", "appendfsync"),
      "StoreUnavailable",
      () => Effect.succeed(undefined)
    )
    const fsync = Array.isArray(setting) && typeof setting[1] === "string" ? setting[1] : undefined
    for (const { serious, text } of Failure.concerns(typeof info === "string" ? info : "", fsync)) {
      const told = `The ledger's Redis: ${text}`
      yield* serious ? Effect.logWarning(told) : Effect.logInfo(told)
    }
  }).pipe(
    Effect.catchTag("StoreUnavailable", ({ detail }) =>
      Effect.logDebug(`How the ledger's Redis keeps its data is not known. ${detail}`)
    )
  )

const entries = (server: Server, ask: EntriesAsk): Answer<ReadonlyArray<Entry>> =>
  Effect.gen(function* () {
    // Entries never change and only follow one another, so that pages together are what one look would have seen.
    const found: Array<Entry> = []
    let after = ask.after
    let first = true
    while (found.length < ask.size) {
      const page = yield* server.run(
        "entries",
        Answers.entries,
        pageArguments(ask, after, first, found.length)
      )
      found.push(...page.entries)
      if (page.done) break
      after = page.next
      first = false
    }
    return found
  })

/** Parents before children: by depth, then by age. */
const balances = (server: Server, account: string | null) =>
  Effect.map(server.run("balances", Answers.balances, [given(account)]), ({ now, rows }) => ({
    now,
    rows: rows
      .toSorted((left, right) => left.depth - right.depth || left.born - right.born)
      .map(({ depth: _depth, born: _born, ...row }): AccountRow => row)
  }))

/** Subscribes again for ever. What was told meanwhile is lost, so each subscription begins with a word of its own. */
const changes = (server: Server): Stream.Stream<void> =>
  Stream.unwrap(
    Effect.map(server.redis.subscribe(`${server.prefix}meta:changes`), (told) =>
      Stream.concat(Stream.succeed(undefined), Stream.fromEffectRepeat(Effect.asVoid(Queue.takeAll(told))))
    )
  ).pipe(
    Stream.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])),
    Stream.orDie
  )

/** The store on a connection. It is refused where the server lacks what the scripts need. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const server = new Server(yield* Redis.Redis, options)
  const found = yield* server.send(
    "prepare",
    "EVAL",
    sources.prepare,
    "2",
    `${server.prefix}meta`,
    `${server.prefix}probe`,
    format,
    randomUUID()
  )
  const [layout, books = ""] = String(found).split(" ")
  if (layout === "32") {
    return yield* unavailable("Redis: its Lua writes numbers with 32 bits. Use a build for 64 bits.")
  }
  if (layout !== format) {
    return yield* unavailable(
      `Redis: the ledger under ${server.prefix} is of layout ${layout}, and this version reads ${format}.`
    )
  }
  yield* warn(server)
  const nothing = (verb: Script, args: ReadonlyArray<string>): Answer<void> =>
    Effect.asVoid(server.run(verb, Answers.nothing, args))
  const store: LedgerStore = {
    open: (ask) => server.run("open", Answers.open, openArguments(ask, books)),
    close: (account, opener) => server.run("close", Answers.close, [text(account), given(opener)]),
    reserve: (ask) =>
      server.call(
        "reserve",
        reserveArguments(ask),
        Answers.reserve,
        (told) => told._tag !== "Granted" || told.held.id === ask.id
      ),
    roll: (account, frame, start, end) =>
      nothing("roll", [text(account), text(frame), String(start), String(end)]),
    stay: (ids, place) => nothing("stay", [String(place), ...ids.map(text)]),
    leave: (id) => nothing("leave", [text(id)]),
    end: (ask) =>
      server.call(
        "end",
        endArguments(ask),
        Answers.end,
        (told) => !("entry" in told) || told.entry.reservation === ask.id
      ),
    cancel: (id) => nothing("cancel", [text(id)]),
    renew: (ids, lease) => server.run("renew", Answers.renew, [String(lease), ...ids.map(text)]),
    expire: (most) => server.run("expire", Answers.expire, [String(most)]),
    setLimit: (account, limit) => server.run("setLimit", Answers.changed, [text(account), orDash(limit)]),
    pause: (account, paused) => server.run("pause", Answers.changed, [text(account), paused ? "1" : "0"]),
    balances: (account) => balances(server, account),
    entries: (ask) => entries(server, ask),
    changes: changes(server)
  }
  return store
})
