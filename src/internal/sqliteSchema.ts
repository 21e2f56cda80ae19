/**
 * The tables of a SQLite ledger, as the steps from one version to the next: `user_version` counts the steps that a
 * file has had. A step that was published is never changed; a change is one more step.
 */

/** Marks a file as books of ours: "abgt". */
export const applicationId = 0x61626774

/**
 * `meta.clock` is the newest time of a write that needs one and left no entry. An account's `id` is never used again, so that
 * one that was removed and opened again is another account. A reservation's `links` are `[name, id, window]` of its
 * chain. `postings` find the entries of an account.
 */
const create = `
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  clock INTEGER NOT NULL,
  ticket INTEGER NOT NULL
) STRICT;
INSERT INTO meta (id, clock, ticket) VALUES (1, 0, 0);

CREATE TABLE accounts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  parent TEXT,
  chain TEXT NOT NULL,
  depth INTEGER NOT NULL,
  cap INTEGER,
  spent INTEGER NOT NULL,
  reserved INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  frame TEXT,
  window_start INTEGER,
  window_end INTEGER,
  thresholds TEXT NOT NULL,
  temporary INTEGER NOT NULL
) STRICT;

CREATE TABLE openers (
  account INTEGER NOT NULL,
  opener TEXT NOT NULL,
  PRIMARY KEY (account, opener)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('held', 'ended', 'expired', 'corrected', 'cancelled')),
  fingerprint TEXT NOT NULL,
  account TEXT NOT NULL,
  links TEXT NOT NULL,
  amount INTEGER NOT NULL,
  at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  ending INTEGER,
  correction INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX held ON reservations (expires_at, seq) WHERE state = 'held';

CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE postings (
  account TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (account, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE lines (
  waiter TEXT PRIMARY KEY,
  account INTEGER NOT NULL,
  ticket INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX places ON lines (account, ticket);
`

/** Each takes a file from the version of its place to the next. */
export const steps: ReadonlyArray<string> = [create]
