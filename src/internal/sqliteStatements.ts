/**
 * The statements of a SQLite ledger. STRICT tables keep every column to its type, and the driver refuses integers
 * beyond 2^53; what else a row must be is checked as it is read.
 */
import type { SQLInputValue, StatementSync } from "node:sqlite"
import { account, type AccountData, type EntryData, reservation, type ReservationData } from "./sqliteRows.ts"

interface Rows<R> {
  readonly get: (...values: ReadonlyArray<SQLInputValue>) => R | undefined
  readonly one: (...values: ReadonlyArray<SQLInputValue>) => R
  readonly all: (...values: ReadonlyArray<SQLInputValue>) => ReadonlyArray<R>
}

/** UTF-8 has no half of a pair: what SQLite would make of each, one and the same sign, announces its number here. */
const strange = /\ufffd|\p{Surrogate}/gu

const toStored = (value: SQLInputValue): SQLInputValue =>
  typeof value === "string" && (value.includes("\ufffd") || !value.isWellFormed())
    ? value.replace(strange, (half) => `\ufffd${half.charCodeAt(0).toString(16)}`)
    : value

const restored = <R extends object | undefined>(row: R): R => {
  if (row === undefined) return row
  for (const name in row) {
    const value: unknown = Reflect.get(row, name)
    if (typeof value !== "string" || !value.includes("\ufffd")) continue
    const text = value.replace(/\ufffd([0-9a-f]{4})/g, (_, code: string) =>
      String.fromCharCode(Number.parseInt(code, 16))
    )
    Object.assign(row, { [name]: text })
  }
  return row
}

const rows = <R>(statement: StatementSync, checked = (row: R): R => row): Rows<R> => {
  // The schema says what a row is; see above.
  const read = (row: Record<string, unknown> | undefined): R => checked(restored(row) as R)
  return {
    get: (...values) => {
      const row = statement.get(...values.map(toStored))
      return row === undefined ? undefined : read(row)
    },
    one: (...values) => read(statement.get(...values.map(toStored))),
    all: (...values) => statement.all(...values.map(toStored)).map(read)
  }
}

const writes = (statement: StatementSync) => ({
  run: (...values: ReadonlyArray<SQLInputValue>) => statement.run(...values.map(toStored))
})

/** Prepares all of them on one connection. */
export const statements = (prepare: (sql: string) => StatementSync) => ({
  state: rows<{
    readonly clock: number
    readonly ticket: number
    readonly seq: number
    readonly at: number
  }>(
    prepare(`SELECT clock, ticket, ifnull(last.seq, 0) AS seq, ifnull(last.at, 0) AS at
    FROM meta LEFT JOIN (SELECT seq, at FROM entries ORDER BY seq DESC LIMIT 1) AS last`)
  ),
  setMeta: writes(prepare("UPDATE meta SET clock = ?, ticket = ?")),

  account: rows<AccountData>(prepare("SELECT * FROM accounts WHERE name = ?"), account),
  accountById: rows<AccountData>(prepare("SELECT * FROM accounts WHERE id = ?"), account),
  accounts: rows<AccountData>(prepare("SELECT * FROM accounts ORDER BY depth, id"), account),
  addAccount: writes(
    prepare(`INSERT INTO accounts
    (name, parent, chain, depth, cap, frame, thresholds, temporary, spent, reserved, paused)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)`)
  ),
  removeAccount: writes(prepare("DELETE FROM accounts WHERE id = ?")),
  keep: writes(prepare("UPDATE accounts SET temporary = 0 WHERE id = ?")),
  setNumbers: writes(prepare("UPDATE accounts SET spent = ?, reserved = ? WHERE id = ?")),
  setCap: writes(prepare("UPDATE accounts SET cap = ? WHERE id = ?")),
  setPaused: writes(prepare("UPDATE accounts SET paused = ? WHERE id = ?")),
  setThresholds: writes(prepare("UPDATE accounts SET thresholds = ? WHERE id = ?")),
  roll: writes(
    prepare("UPDATE accounts SET window_start = ?, window_end = ?, spent = 0, reserved = 0 WHERE id = ?")
  ),

  addOpener: writes(prepare("INSERT OR IGNORE INTO openers (account, opener) VALUES (?, ?)")),
  removeOpener: writes(prepare("DELETE FROM openers WHERE account = ? AND opener = ?")),
  clearOpeners: writes(prepare("DELETE FROM openers WHERE account = ?")),
  anyOpener: rows<unknown>(prepare("SELECT 1 FROM openers WHERE account = ? LIMIT 1")),

  reservation: rows<ReservationData>(prepare("SELECT * FROM reservations WHERE id = ?"), reservation),
  due: rows<ReservationData>(
    prepare(
      "SELECT * FROM reservations WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at, seq LIMIT ?"
    ),
    reservation
  ),
  hold: writes(
    prepare(`INSERT INTO reservations
    (id, state, fingerprint, account, links, amount, at, expires_at, seq)
    VALUES (?, 'held', ?, ?, ?, ?, ?, ?, ?)`)
  ),
  forbid: writes(
    prepare(`INSERT INTO reservations
    (id, state, fingerprint, account, links, amount, at, expires_at, seq)
    VALUES (?, 'cancelled', '', '', '[]', 0, ?, 0, 0)`)
  ),
  renew: writes(prepare("UPDATE reservations SET expires_at = ? WHERE id = ? AND state = 'held'")),
  finish: writes(prepare("UPDATE reservations SET state = ?, ending = ? WHERE id = ?")),
  correct: writes(prepare("UPDATE reservations SET state = 'corrected', correction = ? WHERE id = ?")),

  entry: rows<EntryData>(prepare("SELECT * FROM entries WHERE seq = ?")),
  page: rows<EntryData>(prepare("SELECT * FROM entries WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?")),
  pageOf: rows<EntryData>(
    prepare(`SELECT entries.* FROM postings CROSS JOIN entries ON entries.seq = postings.seq
    WHERE postings.account = ? AND postings.seq > ? AND postings.seq < ? ORDER BY postings.seq LIMIT ?`)
  ),
  addEntry: writes(prepare("INSERT INTO entries (seq, at, body) VALUES (?, ?, ?)")),
  addPosting: writes(prepare("INSERT INTO postings (account, seq) VALUES (?, ?)")),

  ticket: rows<{ readonly ticket: number }>(prepare("SELECT ticket FROM lines WHERE waiter = ?")),
  ahead: rows<unknown>(prepare("SELECT 1 FROM lines WHERE account = ? AND ticket < ? AND until > ? LIMIT 1")),
  stand: writes(prepare("INSERT OR REPLACE INTO lines (waiter, account, ticket, until) VALUES (?, ?, ?, ?)")),
  stay: writes(prepare("UPDATE lines SET until = ? WHERE waiter = ?")),
  leave: writes(prepare("DELETE FROM lines WHERE waiter = ?")),
  clearLine: writes(prepare("DELETE FROM lines WHERE account = ?")),
  clearLapsed: writes(prepare("DELETE FROM lines WHERE until <= ?"))
})
