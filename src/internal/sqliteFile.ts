/**
 * One SQLite file with one connection of this process: opening it, its schema, and atomic steps on it.
 *
 * Durable: in WAL mode `synchronous=FULL` syncs the log before each commit returns, so that what was committed
 * survives a loss of power (`NORMAL` syncs only at checkpoints and may lose the last commits; `EXTRA` adds nothing in
 * WAL mode). On macOS only `fullfsync` reaches the disk itself.
 *
 * One writer: a step runs inside `BEGIN IMMEDIATE`, so that what it has read cannot change before it writes. Steps
 * that are asked for while another commit runs share the next one: a commit waits for the disk, a step does not.
 * A file that another process holds is tried again by timers, not by sleeping on the event loop. Only under `runSync`,
 * where nothing can wait, a step is a commit of its own at once, and sleeps.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import type * as Sqlite from "node:sqlite"
import type { DatabaseSync } from "node:sqlite"
import { apart, block, isAtOnce } from "./background.ts"
import { type Answer, StoreUnavailable } from "./ledgerStore.ts"
import { applicationId, steps as schema } from "./sqliteSchema.ts"

/** The file cannot be used at all, by whatever is wrong with it, with its place or with this Node. */
export class CannotOpen extends Data.TaggedError("CannotOpen")<{ readonly detail: string }> {}

/** What runs the verbs on one connection. */
export interface Books {
  /** Inside a transaction, before its steps. */
  readonly begin: () => void
  /** Inside a transaction, after its steps. */
  readonly finish: () => void
}

/** Atomic steps on a file. */
export interface SqliteFile<B> {
  /** Runs a step that may write; answers when it is on the disk. */
  readonly write: <A>(step: (books: B) => A) => Answer<A>
  /** Runs a step that only reads; it must be one statement to be of one moment. */
  readonly read: <A>(step: (books: B) => A) => Answer<A>
  /** A number that is another one after each commit of another connection. */
  readonly version: Answer<number>
}

/** What to open. */
export interface Options<B> {
  /** An absolute path. */
  readonly path: string
  /** How long a step may wait for other processes, in milliseconds, before it fails. */
  readonly patience: number
  /** Begins on a new connection. */
  readonly books: (database: DatabaseSync) => B
}

/** How long SQLite itself may wait for a lock, with the event loop: less than most commits take. */
const busyTimeout = 2

/** Steps of one commit: enough to make the wait for the disk cheap, and few enough to let others have their turn. */
const largestBatch = 256

interface Job<B> {
  readonly step: (books: B) => unknown
  /** Never throws: others are told after it. */
  readonly done: (exit: Exit.Exit<unknown, StoreUnavailable>) => void
  readonly until: number
  isGone: boolean
}

interface Connection<B> {
  readonly database: DatabaseSync
  readonly books: B
  readonly begin: () => void
  readonly commit: () => void
  readonly version: () => number
}

/** Opens a file, and makes it where there is none. */
export const open = <B extends Books>(
  options: Options<B>
): Effect.Effect<SqliteFile<B>, CannotOpen, Scope.Scope> =>
  Effect.gen(function* () {
    const { path } = options
    const Database = yield* load
    const first = yield* patiently(options.patience, () => connect(Database, options, true)).pipe(
      Effect.mapError(({ detail }) => new CannotOpen({ detail: `${path}: ${detail}` }))
    )
    const queue = new Queue(Database, options, first)
    yield* Effect.addFinalizer(() => Effect.sync(() => queue.close()))
    return {
      write: <A>(step: (books: B) => A) =>
        Effect.withFiber((fiber) =>
          isAtOnce(fiber)
            ? patiently(options.patience, () => queue.now(step))
            : Effect.callback<A, StoreUnavailable>((resume) =>
                queue.push(step, (exit) => apart(() => resume(cast<A>(exit))))
              )
        ),
      read: (step) => patiently(options.patience, () => step(queue.connection().books)),
      version: patiently(options.patience, () => queue.connection().version())
    }
  })

/** The queue runs steps of every type; each `done` belongs to its own step. */
const cast = <A>(exit: Exit.Exit<unknown, StoreUnavailable>): Exit.Exit<A, StoreUnavailable> =>
  exit as Exit.Exit<A, StoreUnavailable>

/** Loaded when it is needed: some Nodes do not have it, and loading it makes some print a warning. */
const load = Effect.suspend(() => {
  const module = process.getBuiltinModule("node:sqlite") as typeof Sqlite | undefined
  return module === undefined
    ? Effect.fail(
        new CannotOpen({
          detail:
            `this Node.js (${process.version}) has no node:sqlite. It is there from 22.13 and 23.4 on ` +
            `(from 22.5 on with --experimental-sqlite). Update Node.js, or use another ledger.`
        })
      )
    : Effect.succeed(module.DatabaseSync)
})

/** Runs what may find the file locked again and again. */
const patiently = <A>(patience: number, run: () => A): Answer<A> =>
  Effect.withFiber((fiber) => {
    const until = performance.now() + patience
    const attempt: Answer<A> = Effect.suspend(() => {
      for (;;) {
        try {
          return Effect.succeed(run())
        } catch (error) {
          if (!isLocked(error)) return Effect.fail(unavailable(error))
          if (performance.now() >= until) return Effect.fail(heldTooLong(patience))
          if (!isAtOnce(fiber)) return Effect.andThen(pause, attempt)
          block(backoff())
        }
      }
    })
    return attempt
  })

/** Other processes hold their locks in real time, whatever clock this program runs by. */
const pause = Effect.callback<undefined>((resume) => {
  const timer = setTimeout(() => resume(Effect.succeed(undefined)), backoff())
  return Effect.sync(() => clearTimeout(timer))
})

/** About as long as a commit takes; not the same for everybody, so that nobody is always late. */
const backoff = (): number => 1 + Math.random() * 5

const connect = <B>(
  Database: typeof DatabaseSync,
  { books, path }: Options<B>,
  isFirst: boolean
): Connection<B> => {
  const database = new Database(path)
  try {
    database.exec(`PRAGMA busy_timeout = ${busyTimeout}`)
    prepareFile(database, isFirst)
    const begin = database.prepare("BEGIN IMMEDIATE")
    const commit = database.prepare("COMMIT")
    const version = database.prepare("PRAGMA data_version")
    return {
      database,
      books: books(database),
      begin: () => begin.run(),
      commit: () => commit.run(),
      version: () => Number(version.get()?.["data_version"])
    }
  } catch (error) {
    database.close()
    throw error
  }
}

/** Which file is at a path: another one has another number. Nothing where there is none, or where that cannot be seen. */
const fileAt = (path: string): string | undefined => {
  try {
    const { dev, ino } = fs.statSync(path, { bigint: true })
    return `${dev} ${ino}`
  } catch {
    return undefined
  }
}

const pragma = (database: DatabaseSync, name: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]

/** Pages in the log before they are moved into the file: each move syncs twice, and hot pages are moved once. */
const checkpointAt = 4_000

const prepareFile = (database: DatabaseSync, mayCreate: boolean): void => {
  refuseStrangers(database, mayCreate)
  if (pragma(database, "journal_mode") !== "wal" && pragma(database, "journal_mode = WAL") !== "wal") {
    throw new StoreUnavailable({
      detail: "this file system cannot share a SQLite file (WAL is not possible)."
    })
  }
  database.exec("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
  database.exec(`PRAGMA wal_autocheckpoint = ${checkpointAt}`)
  if (pragma(database, "user_version") === schema.length) return
  database.exec("BEGIN IMMEDIATE")
  // Another process may have been quicker.
  for (const step of schema.slice(refuseStrangers(database, mayCreate))) database.exec(step)
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schema.length}; COMMIT`)
}

/** In one statement: another process may be creating the books right now. */
const whose = `
SELECT application_id AS application, user_version AS version, (SELECT count(*) FROM sqlite_master) AS tables
FROM pragma_application_id, pragma_user_version`

/** The version of the books' schema; 0 where they are still to be made. */
const refuseStrangers = (database: DatabaseSync, mayCreate: boolean): number => {
  const found = database.prepare(whose).get()
  const version = Number(found?.["version"])
  if (found?.["application"] === applicationId) {
    if (version <= schema.length) return version
    throw new StoreUnavailable({
      detail: `its schema is version ${version}, and this agent-budget knows ${schema.length}. Update agent-budget.`
    })
  }
  const isEmpty = version === 0 && found?.["tables"] === 0
  if (isEmpty && mayCreate) return 0
  throw new StoreUnavailable({
    detail: isEmpty
      ? "the books are gone: it is empty."
      : "it is the database of another program. Name another file."
  })
}

/** SQLITE_BUSY and SQLITE_PROTOCOL: somebody else is at it. */
const isLocked = (error: unknown): boolean => {
  const code = sqliteCode(error)
  return code !== undefined && ((code & 0xff) === 5 || (code & 0xff) === 15)
}

const sqliteCode = (error: unknown): number | undefined =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number"
    ? error.errcode
    : undefined

/** What SQLite and the file say is an answer of the store; anything else is a fault of this program. */
const unavailable = (error: unknown): StoreUnavailable => {
  if (error instanceof StoreUnavailable) return error
  if (error instanceof RangeError && "code" in error && error.code === "ERR_OUT_OF_RANGE") {
    return new StoreUnavailable({ detail: "a number of the file is beyond what is exact." })
  }
  if (sqliteCode(error) === undefined || !(error instanceof Error)) throw error
  return new StoreUnavailable({ detail: `SQLite says: ${error.message}.` })
}

const heldTooLong = (patience: number): StoreUnavailable =>
  new StoreUnavailable({ detail: `other processes held the file for ${patience} ms.` })

/** Steps in the order in which they came, a batch a commit. */
class Queue<B extends Books> {
  readonly #Database: typeof DatabaseSync
  readonly #options: Options<B>
  readonly #file: string | undefined
  #current: Connection<B> | undefined
  #jobs: Array<Job<B>> = []
  #isScheduled = false
  #isResting = false
  #isClosed = false

  constructor(Database: typeof DatabaseSync, options: Options<B>, first: Connection<B>) {
    this.#Database = Database
    this.#options = options
    this.#file = fileAt(options.path)
    this.#current = first
  }

  /**
   * The connection, a new one where the last one failed. A file that was removed goes on for those who have it open: what
   * they write there nobody finds, and whoever comes next begins books that know nothing of it.
   */
  connection(): Connection<B> {
    if (this.#isClosed) throw closed()
    const { path } = this.#options
    const file = fileAt(path)
    if (file === undefined) throw new StoreUnavailable({ detail: `${path} is gone.` })
    if (file !== this.#file) {
      throw new StoreUnavailable({
        detail: `${path} is another file than the one that was opened. Open the ledger anew.`
      })
    }
    this.#current ??= connect(this.#Database, this.#options, false)
    return this.#current
  }

  push(step: Job<B>["step"], done: Job<B>["done"]): Effect.Effect<void> | undefined {
    if (this.#isClosed) {
      done(Exit.fail(closed()))
      return undefined
    }
    const job = { step, done, until: performance.now() + this.#options.patience, isGone: false }
    this.#jobs.push(job)
    this.#schedule(this.#isResting ? setImmediate : queueMicrotask)
    // Who is interrupted before his turn has asked for nothing.
    return Effect.sync(() => void (job.isGone = true))
  }

  /** A commit for one step alone, now. */
  now<A>(step: (books: B) => A): A {
    const { begin, books, commit } = this.connection()
    try {
      begin()
      books.begin()
      const value = step(books)
      books.finish()
      commit()
      return value
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  /** Those who are in line are turned away: whether they would be heard by a later owner is not known. */
  close(): void {
    this.#isClosed = true
    for (const job of this.#jobs.splice(0)) job.done(Exit.fail(closed()))
    this.#drop()
  }

  /** By what comes next: the first of a burst waits for those that are asked for in the same breath. */
  #schedule(how: (turn: () => void) => unknown): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    how(() => this.#turn())
  }

  /** Between two commits the event loop turns once: other work goes on, and other processes find the file free. */
  #rest(): void {
    if (this.#isResting) return
    this.#isResting = true
    setImmediate(() => (this.#isResting = false))
  }

  #turn(): void {
    this.#isScheduled = false
    const waiting = this.#jobs.filter((job) => !job.isGone)
    const batch = waiting.slice(0, largestBatch)
    this.#jobs = waiting.slice(largestBatch)
    if (batch.length === 0) return
    if (this.#run(batch)) {
      this.#rest()
      if (this.#jobs.length > 0) this.#schedule(setImmediate)
      return
    }
    const now = performance.now()
    for (const job of batch.filter(({ until }) => until <= now)) {
      job.done(Exit.fail(heldTooLong(this.#options.patience)))
    }
    this.#jobs = [...batch.filter(({ until }) => until > now), ...this.#jobs]
    if (this.#jobs.length > 0) this.#schedule((turn) => setTimeout(turn, backoff()))
  }

  /** Whether everybody was answered; else the file is locked. */
  #run(batch: ReadonlyArray<Job<B>>): boolean {
    let values: ReadonlyArray<unknown>
    try {
      values = this.now((books) => batch.map((job) => job.step(books)))
    } catch (error) {
      if (isLocked(error)) return false
      if (batch.length > 1) {
        // One step's failure is not its neighbours'.
        const late = batch.filter((job) => !this.#run([job]))
        this.#jobs = [...late, ...this.#jobs]
        return true
      }
      batch[0]?.done(failure(error))
      return true
    }
    // What is committed is not run again, whatever becomes of its answer.
    batch.forEach((job, index) => job.done(Exit.succeed(values[index])))
    return true
  }

  /** Ends what is half done. A connection that cannot say how it stands is given up. */
  #rollback(): void {
    const database = this.#current?.database
    if (database === undefined) return
    try {
      database.exec("ROLLBACK")
    } catch {
      // There was nothing to roll back, or SQLite has done it itself; what went wrong is told to who asked.
      if (!isUsable(database)) this.#drop()
    }
  }

  #drop(): void {
    const database = this.#current?.database
    this.#current = undefined
    database?.close()
  }
}

const closed = (): StoreUnavailable => new StoreUnavailable({ detail: "this ledger is closed." })

const failure = (error: unknown): Exit.Exit<never, StoreUnavailable> => {
  try {
    return Exit.fail(unavailable(error))
  } catch (fault) {
    return Exit.die(fault)
  }
}

const isUsable = (database: DatabaseSync): boolean => {
  try {
    database.exec("BEGIN; ROLLBACK")
    return true
  } catch {
    return false
  }
}
