/** A ledger in a SQLite file, from its name. `SqliteLedger.ts` documents it for users. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as BudgetError from "../BudgetError.ts"
import type { Ledger } from "./ledgerTypes.ts"
import * as SqliteStore from "./sqliteStore.ts"
import * as StoredLedger from "./storedLedger.ts"

/**
 * Where the books are, and how the ledger behaves.
 *
 * @example
 * ```ts
 * import type * as SqliteLedger from "agent-budget/SqliteLedger"
 *
 * const options: SqliteLedger.Options = { filename: "file:budget.db", waitForOthers: "2 seconds" }
 * console.log(options.filename) // file:budget.db
 * ```
 *
 * @since 0.1.0
 */
export interface Options extends StoredLedger.StoredOptions {
  /** A path, also as `file:budget.db` or a `file:` URL. A file that is not there is made. */
  readonly filename: string
  /** How long a step may wait for other processes at the file before it fails as unavailable: 5 seconds unless said. */
  readonly waitForOthers?: Duration.Input | undefined
}

/** Opens the ledger for as long as the scope lives. */
export const make = (options: Options): Effect.Effect<Ledger, BudgetError.BudgetError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* StoredLedger.checked(options, { waitForOthers: options.waitForOthers })
    const file = yield* pathOf(options.filename)
    const patience = Duration.toMillis(Duration.fromInputUnsafe(options.waitForOthers ?? "5 seconds"))
    const store = yield* Effect.mapError(SqliteStore.make({ path: file, patience }), ({ detail }) =>
      BudgetError.because(new BudgetError.LedgerUnavailable({ detail }))
    )
    return yield* StoredLedger.make(store, options)
  })

const invalid = (detail: string): Effect.Effect<never, BudgetError.BudgetError> =>
  Effect.fail(BudgetError.because(new BudgetError.InvalidOptions({ detail })))

/** SQLite reads settings from a `file:` name (`?mode=memory`, `?nolock=1`); the books are to have none of them. */
const pathOf = (filename: string): Effect.Effect<string, BudgetError.BudgetError> => {
  const isAddress = filename.startsWith("file:")
  if (isAddress && /[?#]/.test(filename)) {
    return invalid(`the file name ${JSON.stringify(filename)} has settings (after ? or #), and takes none.`)
  }
  const name = isAddress && !filename.startsWith("file://") ? filename.slice("file:".length) : filename
  if (name === "" || name === ":memory:" || name.includes("\0")) {
    return invalid(`${JSON.stringify(filename)} is no file. For a ledger in memory use Ledger.layerMemory.`)
  }
  if (!name.startsWith("file://")) return Effect.succeed(path.resolve(name))
  return Effect.catch(Effect.try({ try: () => fileURLToPath(name), catch: () => name }), () =>
    invalid(`${JSON.stringify(filename)} is not the address of a file on this machine.`)
  )
}
