/**
 * The ledger's store in PostgreSQL: each verb is one call of a procedure (`postgresProcedures`), one round trip. A verb
 * is always a transaction of its own, also where the caller is inside one: what was held must not vanish with a
 * rollback of the caller's.
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Answer, LedgerStore, OpenAsk, ReserveAsk } from "./ledgerStore.ts"
import { StoreUnavailable } from "./ledgerStore.ts"
import { inTime } from "./inTime.ts"
import * as Failure from "./postgresFailure.ts"
import * as Rows from "./postgresRows.ts"
import type { Names } from "./postgresTables.ts"

export interface Options {
  readonly names: Names
  /** How long a verb may take before it counts as unavailable. */
  readonly timeout: Duration.Input
  /** How often to tell of changes where the connection that would tell of them is away. */
  readonly poll: Duration.Input
}

/** Values go as texts, so that a statement is prepared once whatever their size; PostgreSQL knows their types. */
type Value = string | null | ReadonlyArray<string>

const orNull = (value: number | null | undefined): string | null =>
  typeof value === "number" ? String(value) : null

const text = (value: string | null | undefined): string | null =>
  typeof value === "string" ? Rows.toStored(value) : null

const statement = (verb: string, count: number): string => {
  const places = Array.from({ length: count }, (_, index) => `$${index + 1}`).join(", ")
  return `CALL ${verb}(${places})`
}

/**
 * So many procedures of a process are at the server at once, however many connections it has: they write one after the
 * other anyway, and the more of them stand at a lock, the longer each takes.
 */
const atOnce = 8

/** The connection as the verbs use it. */
class Server {
  readonly sql: PgClient.PgClient
  readonly names: Names
  readonly timeout: number
  readonly statements = new Map<string, string>()
  readonly writing = Semaphore.makeUnsafe(atOnce)

  constructor(sql: PgClient.PgClient, { names, timeout }: Options) {
    this.sql = sql
    this.names = names
    this.timeout = Duration.toMillis(Duration.fromInputUnsafe(timeout))
  }

  /** Calls a procedure, whose answer is one row with one value. */
  call<A>(
    verb: string,
    values: ReadonlyArray<Value>,
    read: (answer: unknown) => Effect.Effect<A, unknown>
  ): Answer<A> {
    let call = this.statements.get(verb)
    if (call === undefined) this.statements.set(verb, (call = statement(this.names.of(verb), values.length)))
    return this.inTime(verb, this.writing.withPermit(this.send(verb, call, values, read)))
  }

  /** Reads, without waiting for those that write. */
  query<A>(
    verb: string,
    query: string,
    values: ReadonlyArray<Value>,
    read: (answer: unknown) => Effect.Effect<A, unknown>
  ): Answer<A> {
    return this.inTime(verb, this.send(verb, query, values, read))
  }

  inTime<A>(verb: string, answer: Answer<A>): Answer<A> {
    return inTime(
      answer,
      this.timeout,
      () => Effect.fail(unavailable(`PostgreSQL (${verb}): no answer within ${this.timeout} ms.`)),
      () => Effect.fail(unavailable(`PostgreSQL (${verb}): its connections are closed.`))
    )
  }

  send<A>(
    verb: string,
    query: string,
    values: ReadonlyArray<Value>,
    read: (answer: unknown) => Effect.Effect<A, unknown>
  ): Answer<A> {
    return this.sql.unsafe<{ readonly answer: unknown }>(query, values).withoutTransform.pipe(
      Effect.mapError((error) => Failure.unavailable(verb, error)),
      Effect.flatMap((rows) =>
        Effect.mapError(read(rows[0]?.answer), () =>
          unavailable(`PostgreSQL (${verb}): its answer is none of this ledger's.`)
        )
      ),
      Effect.updateContext(Context.omit(this.sql.transactionService))
    )
  }
}

const unavailable = (detail: string) => new StoreUnavailable({ detail })

const openValues = (ask: OpenAsk): ReadonlyArray<Value> => [
  text(ask.account),
  text(ask.parent),
  String(ask.limit === undefined),
  orNull(ask.limit),
  text(ask.frame),
  ask.thresholds === undefined ? null : `{${ask.thresholds.join(",")}}`,
  text(ask.opener)
]

const reserveValues = (ask: ReserveAsk): ReadonlyArray<Value> => [
  text(ask.id),
  text(ask.fingerprint),
  text(ask.account),
  String(ask.least),
  String(ask.most),
  String(ask.share),
  String(ask.lease),
  orNull(ask.place)
]

/**
 * On a connection of its own, so that it never takes the last one of a pool. What is told while it is away is lost, so
 * each time that it is there again, or still is not, it tells.
 */
const changes = ({ names, sql }: Server, poll: Duration.Input): Stream.Stream<void> =>
  Stream.unwrap(
    Effect.gen(function* () {
      // It ends after the connection: before that it would say so to the server, and wait for the answer for ever.
      const listening = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
      const connection = yield* PgConnection.make({ keepAlive: "10 seconds", ...sql.config })
      const told = yield* Scope.provide(connection.listen(names.channel), listening)
      return Stream.concat(
        Stream.succeed(undefined),
        Stream.fromEffectRepeat(Effect.asVoid(Queue.takeAll(told)))
      )
    })
  ).pipe(
    Stream.catch(() => Stream.succeed(undefined)),
    Stream.concat(Stream.drain(Stream.fromEffect(Effect.sleep(poll)))),
    Stream.forever
  )

/** The store on a client. That its tables are there is the caller's to know. */
export const make = (sql: PgClient.PgClient, options: Options): LedgerStore => {
  const server = new Server(sql, options)
  const { of } = options.names
  return {
    open: (ask) => server.call("open", openValues(ask), Rows.open),
    close: (account, opener) => server.call("close", [text(account), text(opener)], Rows.close),
    reserve: (ask) => server.call("reserve", reserveValues(ask), Rows.reserve),
    roll: (account, frame, start, end) =>
      Effect.asVoid(
        server.call("roll", [text(account), text(frame), String(start), String(end)], Rows.nothing)
      ),
    stay: (ids, place) =>
      Effect.asVoid(server.call("stay", [ids.map(Rows.toStored), String(place)], Rows.nothing)),
    leave: (id) => Effect.asVoid(server.call("leave", [text(id)], Rows.nothing)),
    end: (ask) =>
      server.call(
        "end",
        [text(ask.id), ask.verdict === "released" ? "0" : String(ask.amount), ask.verdict, text(ask.label)],
        Rows.end
      ),
    cancel: (id) => Effect.asVoid(server.call("cancel", [text(id)], Rows.nothing)),
    renew: (ids, lease) => server.call("renew", [ids.map(Rows.toStored), String(lease)], Rows.renew),
    expire: (most) => server.call("expire", [String(most)], Rows.entries),
    setLimit: (account, limit) => server.call("set_limit", [text(account), orNull(limit)], Rows.changed),
    pause: (account, paused) => server.call("pause", [text(account), String(paused)], Rows.changed),
    balances: (account) =>
      server.query("balances", `SELECT ${of("balances")}($1) AS answer`, [text(account)], Rows.balances),
    entries: (ask) =>
      server.query(
        "entries",
        `SELECT ${of("page")}($1, $2, $3, $4, $5) AS answer`,
        [String(ask.after), String(ask.size), text(ask.account), orNull(ask.from), orNull(ask.to)],
        Rows.entries
      ),
    changes: changes(server, options.poll)
  }
}
