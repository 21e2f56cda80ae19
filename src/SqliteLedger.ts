/**
 * A ledger in a SQLite file, on Node's own `node:sqlite`: it survives crashes and losses of power, and the processes
 * of one machine share it.
 *
 * An entry is on the disk when it is answered (WAL with `synchronous=FULL`), so a reservation and its settlement cost
 * about two syncs of the disk; those that are asked for at the same time share them. One process writes at a time,
 * the others wait without stopping their programs. The clock is the machine's, and never goes back.
 *
 * `node:sqlite` is there without a flag from Node 22.13 and 23.4 on. Keep the file on a local disk (WAL does not work
 * over a network), keep the `-wal` and `-shm` files with it, and copy it while it is in use only with SQLite's own
 * `VACUUM INTO`. SQLite before 3.51.3 has a rare fault with several processes in WAL mode (`process.versions.sqlite`
 * tells; the first Nodes with `node:sqlite` have older ones): share a file between processes on a newer one.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as BudgetError from "./BudgetError.ts"
import * as Sqlite from "./internal/sqliteLedger.ts"
import * as Ledger from "./Ledger.ts"

export type { Options } from "./internal/sqliteLedger.ts"

/**
 * Opens the ledger for as long as the scope lives. Fails with `InvalidOptions` for a name that is none, and with
 * `LedgerUnavailable` where the file cannot be opened: this Node has no `node:sqlite`, the folder is missing, the
 * file is another program's or was written by a newer version.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as SqliteLedger from "agent-budget/SqliteLedger"
 *
 * const refused = Effect.flip(Effect.scoped(SqliteLedger.make({ filename: ":memory:" })))
 * console.log((await Effect.runPromise(refused)).reason._tag) // InvalidOptions
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  options: Sqlite.Options
): Effect.Effect<Ledger.Ledger["Service"], BudgetError.BudgetError, Scope.Scope> => Sqlite.make(options)

/**
 * The ledger as a layer: the one line that makes a budget durable.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { mkdtempSync, rmSync } from "node:fs"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { Budget, Usd } from "agent-budget"
 * import * as SqliteLedger from "agent-budget/SqliteLedger"
 *
 * const folder = mkdtempSync(join(tmpdir(), "budget-"))
 * const run = () =>
 *   Effect.succeed("an answer").pipe(
 *     Budget.withBudget({ quote: Usd.dollars("0.02"), cost: () => Usd.dollars("0.01") }),
 *     Effect.andThen(Budget.balance),
 *     Effect.provide(Budget.layer({ limit: Usd.dollars("5") })),
 *     Effect.provide(SqliteLedger.layer({ filename: join(folder, "budget.db") })),
 *     Effect.runPromise
 *   )
 * await run()
 * console.log(Usd.format((await run()).spent)) // $0.02
 * rmSync(folder, { recursive: true })
 * ```
 *
 * @since 0.1.0
 */
export const layer = (options: Sqlite.Options): Layer.Layer<Ledger.Ledger, BudgetError.BudgetError> =>
  Layer.effect(Ledger.Ledger, make(options))
