/** The store of a ledger in a SQLite file: `sqliteBooks` has the verbs, `sqliteFile` runs them. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LedgerStore } from "./ledgerStore.ts"
import { SqliteBooks } from "./sqliteBooks.ts"
import * as SqliteFile from "./sqliteFile.ts"

/** Where the books are, and how long to wait for other processes. */
export interface Options {
  /** An absolute path. */
  readonly path: string
  /** How long a verb may wait for other processes, in milliseconds; 5,000 unless said. */
  readonly patience?: number | undefined
}

/** How often the file is looked at for what other processes did, in milliseconds. A look costs some microseconds. */
const lookEvery = 25

/** Opens the books. The clock is the one of the program that opens them: its machine's. */
export const make = ({
  path,
  patience = 5_000
}: Options): Effect.Effect<LedgerStore, SqliteFile.CannotOpen, Scope.Scope> =>
  Effect.gen(function* () {
    const machine = yield* Clock.Clock
    let newest = 0
    // This process's own view of time never goes back, also where it has only looked.
    const clock = (): number => (newest = Math.max(newest, Math.floor(machine.currentTimeMillisUnsafe())))
    const file = yield* SqliteFile.open({
      path,
      patience,
      books: (database) => new SqliteBooks(database, clock)
    })
    return {
      open: (ask) => file.write((books) => books.open(ask)),
      close: (account, opener) => file.write((books) => books.close(account, opener)),
      reserve: (ask) => file.write((books) => books.reserve(ask)),
      roll: (account, frame, start, end) => file.write((books) => books.roll(account, frame, start, end)),
      stay: (ids, place) => file.write((books) => books.stay(ids, place)),
      leave: (id) => file.write((books) => books.leave(id)),
      end: (ask) => file.write((books) => books.end(ask)),
      cancel: (id) => file.write((books) => books.cancel(id)),
      renew: (ids, lease) => file.write((books) => books.renew(ids, lease)),
      expire: (most) => file.write((books) => books.expire(most)),
      setLimit: (account, limit) => file.write((books) => books.setLimit(account, limit)),
      pause: (account, paused) => file.write((books) => books.pause(account, paused)),
      balances: (account) => file.read((books) => books.balances(account)),
      entries: (ask) => file.read((books) => books.entries(ask)),
      changes: changesOf(file)
    }
  })

/** Looks on a timer that keeps no program alive: whoever waits has timers of his own. */
const look = Effect.callback<undefined>((resume) => {
  const timer = setTimeout(() => resume(Effect.succeed(undefined)), lookEvery)
  timer.unref()
  return Effect.sync(() => clearTimeout(timer))
})

const changesOf = (file: Pick<SqliteFile.SqliteFile<SqliteBooks>, "version">): Stream.Stream<void> =>
  Stream.suspend(() => {
    // A file that cannot be looked at now counts as changed when it can be again.
    const version = Effect.orElseSucceed(file.version, () => undefined)
    let seen: number | undefined
    const next: Effect.Effect<void> = Effect.gen(function* () {
      if (seen === undefined) seen = yield* version
      for (;;) {
        yield* look
        const found = yield* version
        if (found === undefined || found === seen) continue
        seen = found
        return
      }
    })
    return Stream.fromEffectRepeat(next)
  })
