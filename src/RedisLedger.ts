/**
 * A ledger in Redis 6.2 or newer (or what speaks like it), on `effect/persistence`: processes on many machines share
 * it. The clock is the server's. Each step is one script over all accounts of a chain, sent once, by its hash, and the
 * reservations and endings that are asked for at the same time go as one; a server
 * that has forgotten the script gets it whole. Amounts are exact up to 2^53 - 1 nano-dollars, as everywhere here: what
 * would pass that is refused.
 *
 * **What Redis promises, and what it does not.** It answers before what it answered is safe. What it loses is money
 * that was spent and that the books no longer know: `spent` reads too low, the same money can be spent again, and
 * reservations that were held are unknown to it when they end. How much that can be is the server's setting:
 *
 * - `appendonly no`: all since the last snapshot, at any crash of Redis.
 * - `appendonly yes`, `appendfsync everysec`: nothing when only the process dies; about a second when its machine does.
 * - `appendonly yes`, `appendfsync always`: nothing, as far as the disk keeps its word. Each step then waits for the disk.
 * - A failover to a replica loses what the replica had not got, whatever the settings: replication is asynchronous.
 *   `min-replicas-to-write` bounds it, and does not end it.
 * - `maxmemory-policy` must be `noeviction` (or `volatile-*`, as no key of a ledger ever expires). With `allkeys-*` a
 *   full server throws the books away, and every budget begins anew. `FLUSHALL` does the same. A ledger
 *   that runs meanwhile opens no account in new books: it fails with `LedgerUnavailable` until it is opened anew.
 *
 * The layer asks the server for these settings and logs a warning where they lose books; a server that does not say
 * gets none. Where no crash may lose a cent use `SqliteLedger` or `PostgresLedger`.
 *
 * The books stay in the server's memory for good, about a kilobyte a call: nothing is forgotten that a repeat may ask
 * for. One ledger lives on one node of a cluster (its prefix is the hash tag of all its keys), and its steps pass one
 * by one. Where one ledger is too hot, use several, by `prefix`, each with a share of the limit. Reading the entries of
 * one account looks through the books from where it begins, a thousand at a time.
 *
 * The user of Redis needs the keys and channels that begin with the prefix in braces, `EVAL`, `EVALSHA` and what the
 * scripts do (`@read`, `@write`, `TIME`, `PUBLISH`, `SUBSCRIBE`).
 *
 * @since 0.1.0
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Redis from "effect/persistence/Redis"
import * as BudgetError from "./BudgetError.ts"
import * as RedisConnection from "./internal/redisConnection.ts"
import { unavailable } from "./internal/redisFailure.ts"
import * as RedisStore from "./internal/redisStore.ts"
import * as StoredLedger from "./internal/storedLedger.ts"
import * as Ledger from "./Ledger.ts"

/**
 * Where the books are, and how the ledger behaves.
 *
 * @example
 * ```ts
 * import type * as RedisLedger from "agent-budget/RedisLedger"
 *
 * const options: RedisLedger.Options = { prefix: "billing", timeout: "2 seconds", lease: "5 minutes" }
 * console.log(options.prefix) // billing
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends StoredLedger.StoredOptions {
  /** What all keys begin with, in braces: `agent-budget` unless said. It has no braces of its own. */
  readonly prefix?: string | undefined
  /** How long a step may take before it fails as unavailable: 5 seconds unless said. */
  readonly timeout?: Duration.Input | undefined
}

const defaultTimeout: Duration.Input = "5 seconds"

const away = (detail: string): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.LedgerUnavailable({ detail }))

/**
 * The ledger on the Redis of the context, for as long as the scope lives. Fails with `LedgerUnavailable` where the
 * server is away, lacks what the ledger needs, or has books of another layout, and says which; with `InvalidOptions`
 * for a prefix that is empty or has braces.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Redis from "effect/persistence/Redis"
 * import * as RedisLedger from "agent-budget/RedisLedger"
 *
 * const noAnswer = { cause: new Error("Socket closed unexpectedly") }
 * const redis = Redis.make({
 *   send: () => Effect.fail(new Redis.RedisError(noAnswer)),
 *   subscribe: () => Effect.fail(new Redis.RedisError(noAnswer)),
 *   connect: Effect.fail(new Redis.RedisError(noAnswer))
 * })
 * const refused = Effect.provideServiceEffect(RedisLedger.make({ prefix: "{mine}" }), Redis.Redis, redis)
 * console.log((await Effect.runPromise(Effect.flip(Effect.scoped(refused)))).reason._tag) // InvalidOptions
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  options?: Options
): Effect.Effect<Ledger.Ledger["Service"], BudgetError.BudgetError, Redis.Redis | Scope.Scope> =>
  made(options, undefined)

const made = (options: Options | undefined, renew: Effect.Effect<void> | undefined) =>
  Effect.gen(function* () {
    yield* StoredLedger.checked(options ?? {}, { timeout: options?.timeout })
    const prefix = options?.prefix ?? "agent-budget"
    if (prefix === "" || /[{}]/.test(prefix)) {
      const detail = `"${prefix}" cannot begin the keys of a ledger: give it a name without braces.`
      return yield* BudgetError.because(new BudgetError.InvalidOptions({ detail }))
    }
    const store = yield* Effect.mapError(
      RedisStore.make({ prefix, timeout: options?.timeout ?? defaultTimeout, renew }),
      ({ detail }) => away(detail)
    )
    return yield* StoredLedger.make(store, options)
  })

/**
 * The ledger as a layer, on the Redis of the context.
 *
 * @example
 * ```ts
 * import * as NodeRedis from "@effect/platform-node/NodeRedis"
 * import { Layer } from "effect"
 * import { Budget, Usd } from "agent-budget"
 * import * as RedisLedger from "agent-budget/RedisLedger"
 *
 * const BudgetLive = Budget.layer({ limit: Usd.dollars("5") }).pipe(
 *   Layer.provide(RedisLedger.layer({ prefix: "billing" })),
 *   Layer.provide(NodeRedis.layer({ url: "redis://127.0.0.1:6379" }))
 * )
 * console.log(Layer.isLayer(BudgetLive)) // true
 * ```
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Ledger.Ledger, BudgetError.BudgetError, Redis.Redis> =>
  Layer.effect(Ledger.Ledger, make(options))

const isEscaped = (text: string): boolean => Result.isSuccess(Result.try(() => decodeURIComponent(text)))

/** Whether the client can read it. What it throws otherwise is no failure of a layer, and holds the whole text. */
const isAddress = (text: string): boolean => {
  if (!isEscaped(text)) return false
  if (text.startsWith("unix:")) return /^unix:\/\/(?:[^:@/]*(?::[^@/]*)?@)?\/[^?#]/.test(text)
  if (!URL.canParse(text)) return false
  const { pathname, protocol } = new URL(text)
  return (protocol === "redis:" || protocol === "rediss:") && /^(?:\/\d*)?$/.test(pathname)
}

const noAddress = BudgetError.because(
  new BudgetError.InvalidOptions({
    detail:
      "the url is no address of Redis. Write redis://user:password@host:6379/0 (rediss:// for TLS), with a number " +
      "for the database, and with %-escapes for what is special in the password."
  })
)

/**
 * The ledger as a layer, with a connection of its own, and one more to hear of changes. A connection on which a step is
 * not answered in time, or whose answers are not those to what was asked, is given up for a new one; closing takes at
 * most `timeout` longer than what is left to write.
 *
 * A `url` that is no address of Redis is refused with `InvalidOptions`, which repeats nothing of it.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Redacted } from "effect"
 * import * as RedisLedger from "agent-budget/RedisLedger"
 *
 * const away = RedisLedger.layerUrl({ url: Redacted.make("redis://budget:secret@127.0.0.1:1") })
 * const refused = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(away))))
 * console.log(refused.message.includes("ECONNREFUSED"), refused.message.includes("secret")) // true false
 * ```
 *
 * @since 0.1.0
 */
export const layerUrl = (
  options: Options & { readonly url: Redacted.Redacted }
): Layer.Layer<Ledger.Ledger, BudgetError.BudgetError> => {
  const owned = Effect.gen(function* () {
    yield* StoredLedger.checked(options, { timeout: options.timeout })
    const { client } = yield* NodeRedis.NodeRedis
    const closing = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? defaultTimeout))
    const { redis, renew } = yield* RedisConnection.make(client, closing)
    return yield* Effect.provideService(made(options, renew), Redis.Redis, redis)
  })
  const connection = Layer.suspend(
    (): Layer.Layer<NodeRedis.NodeRedis, Redis.RedisError | BudgetError.BudgetError> => {
      const url = Redacted.value(options.url)
      return isAddress(url)
        ? // A copy: the client writes the address into it, and the next ledger would get parts of this one's.
          NodeRedis.layer({ url, socket: { ...RedisConnection.socket } })
        : Layer.effectContext(Effect.fail(noAddress))
    }
  )
  return Layer.provide(
    Layer.effect(Ledger.Ledger, owned),
    Layer.catchTag(connection, "RedisError", (error) =>
      Layer.effectContext(Effect.fail(away(unavailable("connect", error.cause).detail)))
    )
  )
}
