/**
 * The tables of the PostgreSQL ledger and what its procedures share, as SQL; `postgresProcedures` has the verbs.
 *
 * Locks are taken in one order, so that no call deadlocks with another: the advisory lock of an id, rows of
 * reservations, rows of accounts (the deepest first, as in a chain), rows of lines, and last the one row of the head,
 * which holds what makes the books one: the last `seq` and the newest time seen. Only `expire` locks many reservations,
 * and it skips those that others hold. Only an account that is opened just when the last one leaves it can stand in
 * that one's way: then PostgreSQL ends one of the two, which is tried again.
 *
 * An early version of a row is never read: under READ COMMITTED each statement of a procedure sees what was committed
 * when it began, and every decision is made on rows that are locked.
 */

/** Where a ledger is: its quoted names. */
export interface Names {
  readonly schema: string
  readonly prefix: string
  /** The channel on which changes are told. */
  readonly channel: string
  /** The server's clock, as an expression; tests have one that they can move. */
  readonly clock: string
  /** A quoted name below the prefix, with its schema. */
  readonly of: (name: string) => string
  /** The same without its schema, which an index gets from its table. */
  readonly bare: (name: string) => string
}

/** The version of the schema that this code works with: the number of its last migration. */
export const version = 1

const identifier = /^[a-z_][a-z0-9_]{0,39}$/

/** Names that need no escapes and leave room in the 63 bytes that PostgreSQL keeps; or what is wrong with them. */
export const namesOf = (schema: string, prefix: string): Names | string => {
  if (!identifier.test(schema)) return `the schema ${JSON.stringify(schema)}`
  if (prefix !== "" && (!identifier.test(prefix) || prefix.length > 20))
    return `the prefix ${JSON.stringify(prefix)}`
  const bare = (name: string): string => `"${prefix}${name}"`
  const of = (name: string): string => `"${schema}".${bare(name)}`
  return { schema, prefix, channel: `${schema}.${prefix}`, clock: "pg_catalog.clock_timestamp()", of, bare }
}

/** The largest exact amount, in SQL. */
const most = "9007199254740991"

export const tables = ({ bare, of }: Names): ReadonlyArray<string> => [
  `CREATE TABLE ${of("head")} (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    at bigint NOT NULL DEFAULT 0
  ) WITH (fillfactor = 10)`,
  `CREATE SEQUENCE ${of("tickets")}`,
  // Half of each page is left free: an account changes with every verb, and its new version then stays in its page.
  // One rule, the last guard of the numbers: PostgreSQL reads each of them anew for every statement that writes.
  `CREATE TABLE ${of("accounts")} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    chain text[] COLLATE "C" NOT NULL,
    limit_nanos bigint,
    spent bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    paused boolean NOT NULL DEFAULT false,
    frame text,
    window_start bigint,
    window_end bigint,
    thresholds integer[] NOT NULL DEFAULT '{}',
    temporary boolean NOT NULL,
    CHECK (spent >= 0 AND reserved >= 0 AND spent + reserved <= ${most})
  ) WITH (fillfactor = 50)`,
  `CREATE TABLE ${of("openers")} (
    account_id bigint NOT NULL,
    opener text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, opener)
  )`,
  `CREATE TABLE ${of("reservations")} (
    id text COLLATE "C" PRIMARY KEY,
    fingerprint text,
    state text NOT NULL,
    account text COLLATE "C",
    chain text[] COLLATE "C",
    account_ids bigint[],
    windows bigint[],
    amount bigint,
    at bigint,
    expires_at bigint,
    seq bigint,
    end_seq bigint,
    corrected_seq bigint
  )`,
  `CREATE INDEX ${bare("reservations_due")} ON ${of("reservations")} (expires_at, seq) WHERE state = 'held'`,
  `CREATE TABLE ${of("entries")} (
    seq bigint PRIMARY KEY,
    at bigint NOT NULL,
    tag text NOT NULL,
    account text COLLATE "C" NOT NULL,
    chain text[] COLLATE "C" NOT NULL,
    windows bigint[] NOT NULL,
    reservation text,
    reserved bigint,
    amount bigint,
    charged bigint,
    verdict text,
    label text,
    limits bigint[],
    expires_at bigint,
    limit_from bigint,
    limit_to bigint,
    threshold integer,
    spent bigint
  )`,
  `CREATE TABLE ${of("lines")} (
    id text COLLATE "C" PRIMARY KEY,
    account_id bigint NOT NULL,
    ticket bigint NOT NULL,
    until bigint NOT NULL
  )`,
  `CREATE INDEX ${bare("lines_order")} ON ${of("lines")} (account_id, ticket)`,
  `INSERT INTO ${of("head")} (version) VALUES (${version})`
]

/** A clock in milliseconds. */
export const millis = (clock: string): string => `floor(date_part('epoch', ${clock}) * 1000)::bigint`

/** Reads the store's clock: never back behind what was written. */
export const readNow = ({ clock, of }: Names): string =>
  `SELECT greatest(at, ${millis(clock)}) INTO now_ FROM ${of("head")}`

const row = ({ of }: Names): string => `
CREATE FUNCTION ${of("account_row")}(a ${of("accounts")}) RETURNS json LANGUAGE sql IMMUTABLE AS $$
  SELECT json_build_object('account', a.name, 'parent', a.chain[2], 'limit', a.limit_nanos, 'spent', a.spent,
    'reserved', a.reserved, 'paused', a.paused, 'frame', a.frame, 'windowStart', a.window_start,
    'windowEnd', a.window_end)
$$`

/** In steps that stay below 2^63; the same numbers as `thresholdAmount` in the other engines. */
const reached = ({ of }: Names): string => `
CREATE FUNCTION ${of("reached")}(limit_ bigint, spent_ bigint, mark_ integer) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$
  SELECT limit_ IS NOT NULL AND spent_ >= limit_ / 1000000 * mark_ + (limit_ % 1000000 * mark_ + 999999) / 1000000
$$`

/** The windows that the accounts of a chain are in now. */
const windowsOf = ({ of }: Names): string => `
CREATE FUNCTION ${of("windows_of")}(chain_ text[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
  RETURN ARRAY(
    SELECT a.window_start FROM unnest(chain_) WITH ORDINALITY AS link(name, place)
    LEFT JOIN ${of("accounts")} a ON a.name = link.name ORDER BY link.place
  );
END $$`

/**
 * Books `entries_`, whose `seq` and `at` are given here. The head stays locked until the transaction ends, so this
 * comes last: numbers have no gaps, and times never fall along the books.
 */
const book = ({ of }: Names): string => `
CREATE FUNCTION ${of("book")}(entries_ ${of("entries")}[], now_ bigint) RETURNS ${of("entries")}[] LANGUAGE plpgsql
AS $$
DECLARE
  n_ integer := cardinality(entries_);
  last_ bigint;
  at_ bigint;
BEGIN
  UPDATE ${of("head")} SET seq = seq + n_, at = greatest(at, now_) RETURNING seq, at INTO last_, at_;
  FOR i IN 1..n_ LOOP
    entries_[i].seq := last_ - n_ + i;
    entries_[i].at := at_;
  END LOOP;
  INSERT INTO ${of("entries")} SELECT * FROM unnest(entries_);
  RETURN entries_;
END $$`

/** The entries of the thresholds that an account crossed when its `spent` rose by so much; its row has it already. */
const crossings = ({ of }: Names): string => `
CREATE FUNCTION ${of("crossings")}(a ${of("accounts")}, added_ bigint) RETURNS ${of("entries")}[] LANGUAGE plpgsql AS $$
DECLARE
  e ${of("entries")}%ROWTYPE;
  entries_ ${of("entries")}[];
  mark_ integer;
BEGIN
  FOREACH mark_ IN ARRAY a.thresholds LOOP
    IF ${of("reached")}(a.limit_nanos, a.spent, mark_)
      AND NOT ${of("reached")}(a.limit_nanos, a.spent - added_, mark_) THEN
      e.tag := 'ThresholdCrossed';
      e.account := a.name;
      e.chain := a.chain;
      e.windows := ${of("windows_of")}(a.chain);
      e.threshold := mark_;
      e.limit_to := a.limit_nanos;
      e.spent := a.spent;
      entries_ := entries_ || e;
    END IF;
  END LOOP;
  RETURN entries_;
END $$`

/**
 * Ends a reservation whose row is locked, or books what its expiry had charged too much or too little: takes back what
 * was held, adds what it cost. Accounts that are gone, or in another window than the one that admitted it, keep their
 * numbers. Answers the entry and the thresholds that it crossed; nothing where a sum would leave the exact range, and
 * then the caller has to roll back.
 *
 * Every call of a model ends here, so an account is changed without being read first, and the head, the reservation and
 * the entry in one statement: what a statement costs is mostly its beginning and its end.
 */
const charge = ({ clock, of }: Names): string => `
CREATE FUNCTION ${of("charge")}(r ${of("reservations")}, tag_ text, amount_ bigint, verdict_ text, label_ text)
RETURNS ${of("entries")}[] LANGUAGE plpgsql AS $$
DECLARE
  freed_ bigint := CASE WHEN r.state = 'held' THEN r.amount ELSE 0 END;
  added_ bigint := amount_ - r.amount + freed_;
  a ${of("accounts")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  crossed_ ${of("entries")}[] := '{}';
BEGIN
  FOR i IN 1..cardinality(r.chain) LOOP
    LOOP
      UPDATE ${of("accounts")} SET spent = spent + added_, reserved = reserved - freed_
        WHERE id = r.account_ids[i] AND window_start IS NOT DISTINCT FROM r.windows[i]
          AND spent + added_ + reserved - freed_ <= ${most}
        RETURNING * INTO a;
      EXIT WHEN FOUND;
      SELECT * INTO a FROM ${of("accounts")}
        WHERE id = r.account_ids[i] AND window_start IS NOT DISTINCT FROM r.windows[i] FOR NO KEY UPDATE;
      EXIT WHEN NOT FOUND;
      IF a.spent + added_ + a.reserved - freed_ > ${most} THEN
        RETURN NULL;
      END IF;
    END LOOP;
    IF FOUND AND added_ <> 0 AND a.thresholds <> '{}' THEN
      crossed_ := crossed_ || ${of("crossings")}(a, added_);
    END IF;
  END LOOP;
  WITH head AS (
    UPDATE ${of("head")} SET seq = seq + 1 + cardinality(crossed_), at = greatest(at, ${millis(clock)})
      RETURNING seq - cardinality(crossed_) AS seq, at
  ), done AS (
    UPDATE ${of("reservations")} SET
      state = CASE WHEN tag_ = 'Expired' THEN 'expired' ELSE 'ended' END,
      end_seq = CASE WHEN tag_ = 'Corrected' THEN end_seq ELSE head.seq END,
      corrected_seq = CASE WHEN tag_ = 'Corrected' THEN head.seq END
    FROM head WHERE id = r.id
  ) INSERT INTO ${of("entries")} (
    seq, at, tag, account, chain, windows, reservation, reserved, amount, charged, verdict, label
  ) SELECT seq, at, tag_, r.account, r.chain, r.windows, r.id, r.amount,
      CASE WHEN tag_ <> 'Released' THEN amount_ END, CASE WHEN tag_ = 'Corrected' THEN r.amount END, verdict_, label_
    FROM head RETURNING * INTO e;
  FOR i IN 1..cardinality(crossed_) LOOP
    crossed_[i].seq := e.seq + i;
    crossed_[i].at := e.at;
  END LOOP;
  IF crossed_ <> '{}' THEN
    INSERT INTO ${of("entries")} SELECT * FROM unnest(crossed_);
  END IF;
  RETURN e || crossed_;
END $$`

/** Whoever waits in another process stands in line; where nobody does, nobody has to be told. */
export const tellOf = ({ channel, of }: Names, accountIds: string): string => `
  IF EXISTS (SELECT FROM ${of("lines")} WHERE account_id = ANY (${accountIds})) THEN
    PERFORM pg_notify('${channel}', '');
  END IF;`

const tell = (names: Names): string => `
CREATE FUNCTION ${names.of("tell")}(account_ids_ bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  ${tellOf(names, "account_ids_")}
END $$`

/**
 * Makes what was committed so far durable. The verbs commit with `synchronous_commit` off, which gives their locks
 * back without waiting for the disk, and then wait for it here, before they answer: the log is written in order, so
 * nothing that this transaction comes after can be lost once it has reached the disk. A hot account is then locked for
 * as long as a verb computes, and one write to the disk serves everyone who waits for it.
 */
export const flush = `IF pg_logical_emit_message(true, 'agent-budget', '') IS NULL THEN END IF`

/** The functions under the verbs. */
export const functions = (names: Names): ReadonlyArray<string> =>
  [row, reached, windowsOf, book, crossings, charge, tell].map((make) => make(names))
