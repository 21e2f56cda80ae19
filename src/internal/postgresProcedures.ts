/**
 * The verbs of the PostgreSQL ledger: one procedure each, called in one round trip, each with one transaction of its
 * own, and where it wrote what must last, a second empty one that waits for the disk (see `flush`). Procedures and not
 * functions, because only these may commit before they answer. The rules are those of `ledgerStore`.
 */
import { flush, type Names, readNow } from "./postgresTables.ts"

const most = "9007199254740991"

/** Everything is written, and may be seen by others; it is answered when it is durable. */
const lasting = `COMMIT;
  ${flush};`

/** Never waits for a row: whoever holds one is about to change it, and what is left behind counts for nothing. */
const dropLines = ({ of }: Pick<Names, "of">, which: string): string =>
  `DELETE FROM ${of("lines")} WHERE id IN (SELECT id FROM ${of("lines")} WHERE ${which} FOR UPDATE SKIP LOCKED);`

/** A lock on an id that has no row yet; ids whose hashes are the same only wait for each other. */
const lockId = ({ channel }: Names): string =>
  `IF pg_advisory_xact_lock(hashtext('${channel}'), hashtext(id_)) IS NULL THEN END IF`

/**
 * Of this transaction only: locks are given back before the disk is waited for (see `flush`), and nothing is planned
 * anew for each value, since every row is found by its key. (`IF` runs an expression where `PERFORM` would start a
 * query.)
 */
const settings = `IF set_config('synchronous_commit', 'off', true) IS NULL
    OR set_config('plan_cache_mode', 'force_generic_plan', true) IS NULL THEN
  END IF;`

const procedure = (
  names: Names,
  name: string,
  parameters: string,
  variables: string,
  body: string
): string => `
CREATE PROCEDURE ${names.of(name)}(${parameters}, INOUT answer json DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
  ${variables}
BEGIN
  ${settings}
  ${body}
END $$`

/** The entry of a change to an account, which is locked, in the windows that its chain is in now. */
const changed = ({ of }: Names, tag: string): string => `
  e.tag := ${tag};
  e.account := a.name;
  e.chain := a.chain;
  e.windows := ${of("windows_of")}(a.chain);`

/** A new row, and its entry; nothing where another process was quicker. */
const opened = (names: Names): string => {
  const { of } = names
  return `
    IF parent_ IS NOT NULL THEN
      SELECT name_ || chain INTO chain_ FROM ${of("accounts")} WHERE name = parent_;
      IF NOT FOUND THEN
        answer := json_build_object('_tag', 'NoParent');
        RETURN;
      END IF;
    END IF;
    INSERT INTO ${of("accounts")} (name, chain, limit_nanos, frame, thresholds, temporary)
      VALUES (name_, chain_, limit_, frame_, coalesce(thresholds_, '{}'), opener_ IS NOT NULL)
      ON CONFLICT DO NOTHING RETURNING * INTO a;
    IF FOUND THEN
      IF a.temporary THEN
        INSERT INTO ${of("openers")} VALUES (a.id, opener_);
      END IF;
      ${changed(names, "'Opened'")}
      e.limit_to := limit_;
      ${readNow(names)};
      PERFORM ${of("book")}(ARRAY[e], now_);
      EXIT;
    END IF;`
}

/** Joins the row `a`, which is locked, unless it is not as it was said. */
const joined = ({ of }: Names): string => `
      IF a.chain[2] IS DISTINCT FROM parent_ OR (NOT keep_limit_ AND a.limit_nanos IS DISTINCT FROM limit_)
        OR (frame_ IS NOT NULL AND a.frame IS DISTINCT FROM frame_) THEN
        answer := json_build_object('_tag', 'Differs', 'row', ${of("account_row")}(a));
        RETURN;
      END IF;
      IF a.thresholds IS DISTINCT FROM coalesce(thresholds_, a.thresholds) OR (a.temporary AND opener_ IS NULL) THEN
        UPDATE ${of("accounts")} SET
          thresholds = coalesce(thresholds_, thresholds), temporary = temporary AND opener_ IS NOT NULL
        WHERE id = a.id;
      END IF;
      IF a.temporary AND opener_ IS NULL THEN
        DELETE FROM ${of("openers")} WHERE account_id = a.id;
      ELSIF a.temporary THEN
        INSERT INTO ${of("openers")} VALUES (a.id, opener_) ON CONFLICT DO NOTHING;
      END IF;`

const open = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "open",
    `name_ text, parent_ text, keep_limit_ boolean, limit_ bigint, frame_ text, thresholds_ integer[], opener_ text`,
    `chain_ text[] := ARRAY[name_];
  a ${of("accounts")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  now_ bigint;`,
    `
  LOOP
    SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ FOR NO KEY UPDATE;
    IF FOUND THEN
      ${joined(names)}
      EXIT;
    END IF;
    ${opened(names)}
  END LOOP;
  answer := json_build_object('_tag', 'Opened');
  ${lasting}`
  )
}

const close = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "close",
    "name_ text, opener_ text",
    `a ${of("accounts")}%ROWTYPE;
  now_ bigint;`,
    `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ FOR UPDATE;
  IF NOT FOUND THEN
    answer := 'null';
    RETURN;
  END IF;
  ${readNow(names)};
  answer := json_build_object('now', now_, 'row', ${of("account_row")}(a));
  DELETE FROM ${of("openers")} WHERE account_id = a.id AND opener = opener_;
  IF FOUND AND NOT EXISTS (SELECT FROM ${of("openers")} WHERE account_id = a.id) THEN
    DELETE FROM ${of("accounts")} WHERE id = a.id;
    PERFORM ${of("tell")}(ARRAY[a.id]);
    ${dropLines(names, "account_id = a.id")}
  END IF;
  ${lasting}`
  )
}

/** How long a place is kept after its time has passed: its ask may yet `stay`. No waiter does that after 30 days. */
const forgotten = 30 * 86_400_000

/** Takes or keeps a place in line. */
const stand = ({ of }: Pick<Names, "of">): string => `
CREATE FUNCTION ${of("stand")}(id_ text, account_id_ bigint, own_ ${of("lines")}, until_ bigint, now_ bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ${of("lines")} VALUES (id_, account_id_, coalesce(own_.ticket, nextval('${of("tickets")}')), until_)
    ON CONFLICT (id) DO UPDATE SET
      account_id = excluded.account_id, ticket = excluded.ticket, until = excluded.until;
  IF own_.account_id <> account_id_ THEN
    PERFORM ${of("tell")}(ARRAY[own_.account_id]);
  END IF;
  ${dropLines({ of }, `account_id = account_id_ AND until < now_ - ${forgotten}`)}
END $$`

const known = ({ of }: Names): string => `
  SELECT * INTO r FROM ${of("reservations")} WHERE id = id_;
  IF FOUND THEN
    IF r.state = 'held' AND r.fingerprint = fingerprint_ THEN
      answer := json_build_object('_tag', 'Granted', 'held', json_build_object(
        'id', id_, 'account', r.account, 'amount', r.amount, 'at', r.at, 'expiresAt', r.expires_at));
      ${lasting}
      RETURN;
    END IF;
    answer := json_build_object('_tag', 'Taken', 'how', CASE
      WHEN r.state = 'cancelled' THEN 'cancelled'
      WHEN r.fingerprint <> fingerprint_ THEN 'another ask'
      ELSE 'ended' END);
    RETURN;
  END IF;`

/** The account and its ancestors, locked; one that is gone has an id and a window of nothing, and is passed over. */
const lockChain = (names: Names): string => {
  const { of } = names
  return `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = account_ FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    answer := json_build_object('_tag', 'NotOpen');
    RETURN;
  END IF;
  r.chain := a.chain;
  FOR i IN 1..cardinality(r.chain) LOOP
    IF i > 1 THEN
      SELECT * INTO a FROM ${of("accounts")} WHERE name = r.chain[i] FOR NO KEY UPDATE;
    END IF;
    r.account_ids := r.account_ids || a.id;
    r.windows := r.windows || a.window_start;
    limits_ := limits_ || a.limit_nanos;
    IF a.id IS NOT NULL THEN
      rows_ := rows_ || a;
    END IF;
  END LOOP;
  ${readNow(names)};`
}

const refused = ({ of }: Names, tag: string, rest = ""): string =>
  `answer := json_build_object('_tag', ${tag}, 'now', now_, 'row', ${of("account_row")}(a)${rest});
      RETURN;`

/** What stands in the way, nearest first; a place in line is taken there, or given up where there is no hope. */
const blocked = (names: Names): string => {
  const { of } = names
  return `
  FOREACH a IN ARRAY rows_ LOOP
    IF a.frame IS NOT NULL AND (a.window_end IS NULL OR a.window_end <= now_) THEN
      ${refused(names, "'Stale'")}
    END IF;
  END LOOP;
  SELECT * INTO own_ FROM ${of("lines")} WHERE id = id_;
  FOREACH a IN ARRAY rows_ LOOP
    IF least_ > coalesce(a.limit_nanos, ${most}) - (CASE WHEN a.frame IS NULL THEN a.spent ELSE 0 END) THEN
      IF own_.id IS NOT NULL THEN
        DELETE FROM ${of("lines")} WHERE id = id_;
        PERFORM ${of("tell")}(ARRAY[own_.account_id]);
      END IF;
      ${refused(names, "'Short'", ", 'hopeless', true")}
    END IF;
  END LOOP;
  FOREACH a IN ARRAY rows_ LOOP
    free_ := coalesce(a.limit_nanos, ${most}) - a.spent - a.reserved;
    IF a.paused OR free_ < least_ OR (place_ IS NOT NULL AND EXISTS (
      SELECT FROM ${of("lines")} WHERE account_id = a.id AND until > now_
        AND ticket < coalesce(own_.ticket, ${most})
    )) THEN
      IF place_ IS NOT NULL THEN
        PERFORM ${of("stand")}(id_, a.id, own_, now_ + place_, now_);
      END IF;
      ${refused(names, "CASE WHEN a.paused THEN 'Paused' ELSE 'Short' END", ", 'hopeless', false")}
    END IF;
    room_ := least(room_, free_);
  END LOOP;`
}

/** Books the hold as `book` does, in one statement with its row: most verbs are this one. */
const hold = ({ of }: Names): string => `
  r.amount := greatest(least_, least(most_, floor(share_ * room_::float8)::bigint));
  FOREACH a IN ARRAY rows_ LOOP
    UPDATE ${of("accounts")} SET reserved = reserved + r.amount WHERE id = a.id;
  END LOOP;
  IF own_.id IS NOT NULL THEN
    DELETE FROM ${of("lines")} WHERE id = id_;
    PERFORM ${of("tell")}(r.account_ids);
  END IF;
  r.expires_at := now_ + lease_;
  WITH head AS (
    UPDATE ${of("head")} SET seq = seq + 1, at = greatest(at, now_) RETURNING seq, at
  ), held AS (
    INSERT INTO ${of("reservations")} (
      id, fingerprint, state, account, chain, account_ids, windows, amount, at, expires_at, seq
    ) SELECT
      id_, fingerprint_, 'held', account_, r.chain, r.account_ids, r.windows, r.amount, at, r.expires_at, seq
    FROM head
  ) INSERT INTO ${of("entries")} (
    seq, at, tag, account, chain, windows, reservation, reserved, limits, expires_at
  ) SELECT seq, at, 'Reserved', account_, r.chain, r.windows, id_, r.amount, limits_, r.expires_at FROM head
    RETURNING at INTO now_;
  answer := json_build_object('_tag', 'Granted', 'held', json_build_object(
    'id', id_, 'account', account_, 'amount', r.amount, 'at', now_, 'expiresAt', r.expires_at));`

const reserve = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "reserve",
    `id_ text, fingerprint_ text, account_ text, least_ bigint, most_ bigint, share_ float8, lease_ bigint,
  place_ bigint`,
    `r ${of("reservations")}%ROWTYPE;
  a ${of("accounts")}%ROWTYPE;
  own_ ${of("lines")}%ROWTYPE;
  limits_ bigint[];
  rows_ ${of("accounts")}[];
  now_ bigint;
  free_ bigint;
  room_ bigint := ${most};`,
    `${lockId(names)};
  ${known(names)}
  ${lockChain(names)}
  ${blocked(names)}
  ${hold(names)}
  ${lasting}`
  )
}

const roll = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "roll",
    "name_ text, frame_ text, start_ bigint, end_ bigint",
    `a ${of("accounts")}%ROWTYPE;
  now_ bigint;`,
    `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ AND frame = frame_ FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  ${readNow(names)};
  IF (a.window_end IS NULL OR a.window_end <= now_) AND start_ <= now_ AND now_ < end_ THEN
    UPDATE ${of("accounts")} SET spent = 0, reserved = 0, window_start = start_, window_end = end_ WHERE id = a.id;
    PERFORM ${of("tell")}(ARRAY[a.id]);
    UPDATE ${of("head")} SET at = greatest(at, now_);
    ${lasting}
  END IF;`
  )
}

const stay = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "stay",
    "ids_ text[], place_ bigint",
    "now_ bigint;",
    `
  PERFORM FROM ${of("lines")} WHERE id = ANY (ids_) ORDER BY id FOR NO KEY UPDATE;
  ${readNow(names)};
  UPDATE ${of("lines")} SET until = now_ + place_ WHERE id = ANY (ids_);`
  )
}

const leave = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "leave",
    "id_ text",
    "account_id_ bigint;",
    `${lockId(names)};
  DELETE FROM ${of("lines")} WHERE id = id_ RETURNING account_id INTO account_id_;
  IF FOUND THEN
    PERFORM ${of("tell")}(ARRAY[account_id_]);
  END IF;`
  )
}

const end = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "end",
    "id_ text, amount_ bigint, verdict_ text, label_ text",
    `r ${of("reservations")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  entries_ ${of("entries")}[];`,
    `
  SELECT * INTO r FROM ${of("reservations")} WHERE id = id_ FOR NO KEY UPDATE;
  IF NOT FOUND OR r.state = 'cancelled' THEN
    answer := json_build_object('_tag', 'Unknown');
    RETURN;
  END IF;
  IF r.state = 'ended' THEN
    SELECT * INTO e FROM ${of("entries")} WHERE seq = coalesce(r.corrected_seq, r.end_seq);
    answer := CASE
      WHEN coalesce(e.amount, 0) = amount_ AND e.verdict = verdict_
      THEN json_build_object('_tag', 'Ended', 'entries', ARRAY[e], 'again', true)
      ELSE json_build_object('_tag', 'Differs', 'entries', ARRAY[e]) END;
    ${lasting}
    RETURN;
  END IF;
  entries_ := ${of("charge")}(r, CASE WHEN r.state = 'expired' THEN 'Corrected' WHEN verdict_ = 'released'
    THEN 'Released' ELSE 'Settled' END, amount_, verdict_, label_);
  IF entries_ IS NULL THEN
    answer := json_build_object('_tag', 'OutOfRange');
    RETURN;
  END IF;
  PERFORM ${of("tell")}(r.account_ids);
  answer := json_build_object('_tag', 'Ended', 'entries', entries_, 'again', false);
  ${lasting}`
  )
}

const cancel = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "cancel",
    "id_ text",
    `r ${of("reservations")}%ROWTYPE;
  account_id_ bigint;`,
    `${lockId(names)};
  SELECT * INTO r FROM ${of("reservations")} WHERE id = id_ FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    INSERT INTO ${of("reservations")} (id, state) VALUES (id_, 'cancelled');
  END IF;
  DELETE FROM ${of("lines")} WHERE id = id_ RETURNING account_id INTO account_id_;
  IF r.state = 'held' THEN
    PERFORM ${of("charge")}(r, 'Released', 0, 'released', NULL);
  END IF;
  PERFORM ${of("tell")}(CASE WHEN r.state = 'held' THEN r.account_ids END || account_id_);
  ${lasting}`
  )
}

const renew = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "renew",
    "ids_ text[], lease_ bigint",
    "now_ bigint;",
    `
  PERFORM FROM ${of("reservations")} WHERE id = ANY (ids_) AND state = 'held' ORDER BY id FOR NO KEY UPDATE;
  ${readNow(names)};
  UPDATE ${of("reservations")} SET expires_at = now_ + lease_ WHERE id = ANY (ids_) AND state = 'held';
  SELECT coalesce(json_agg(json_build_object('id', id, 'expiresAt', expires_at) ORDER BY array_position(ids_, id)), '[]')
    INTO answer FROM ${of("reservations")} WHERE id = ANY (ids_) AND state = 'held';
  UPDATE ${of("head")} SET at = greatest(at, now_);
  ${lasting}`
  )
}

const expire = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "expire",
    "most_ bigint",
    `r ${of("reservations")}%ROWTYPE;
  due_ ${of("reservations")}[];
  account_ids_ bigint[];
  entries_ ${of("entries")}[];
  now_ bigint;`,
    `
  ${readNow(names)};
  FOR r IN SELECT * FROM ${of("reservations")} WHERE state = 'held' AND expires_at <= now_
    ORDER BY expires_at, seq LIMIT most_ FOR NO KEY UPDATE SKIP LOCKED LOOP
    due_ := due_ || r;
    account_ids_ := account_ids_ || r.account_ids;
  END LOOP;
  IF due_ IS NULL THEN
    answer := '[]';
    RETURN;
  END IF;
  PERFORM FROM ${of("accounts")} WHERE id = ANY (account_ids_)
    ORDER BY cardinality(chain) DESC, id FOR NO KEY UPDATE;
  FOREACH r IN ARRAY due_ LOOP
    entries_ := entries_ || ${of("charge")}(r, 'Expired', r.amount, 'assumed', NULL);
  END LOOP;
  PERFORM ${of("tell")}(account_ids_);
  answer := to_json(entries_);
  ${lasting}`
  )
}

const setLimit = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "set_limit",
    "name_ text, limit_ bigint",
    `a ${of("accounts")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  entries_ ${of("entries")}[];
  mark_ integer;
  now_ bigint;`,
    `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ FOR NO KEY UPDATE;
  IF NOT FOUND OR a.limit_nanos IS NOT DISTINCT FROM limit_ THEN
    answer := CASE WHEN a.id IS NULL THEN 'null'::json ELSE '[]' END;
    ${lasting}
    RETURN;
  END IF;
  UPDATE ${of("accounts")} SET limit_nanos = limit_ WHERE id = a.id;
  ${changed(names, "'LimitChanged'")}
  e.limit_from := a.limit_nanos;
  e.limit_to := limit_;
  entries_ := ARRAY[e];
  FOREACH mark_ IN ARRAY a.thresholds LOOP
    IF ${of("reached")}(limit_, a.spent, mark_) AND NOT ${of("reached")}(a.limit_nanos, a.spent, mark_) THEN
      e.tag := 'ThresholdCrossed';
      e.limit_from := NULL;
      e.threshold := mark_;
      e.spent := a.spent;
      entries_ := entries_ || e;
    END IF;
  END LOOP;
  PERFORM ${of("tell")}(ARRAY[a.id]);
  ${readNow(names)};
  answer := to_json(${of("book")}(entries_, now_));
  ${lasting}`
  )
}

const pause = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "pause",
    "name_ text, paused_ boolean",
    `a ${of("accounts")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  now_ bigint;`,
    `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ FOR NO KEY UPDATE;
  IF NOT FOUND OR a.paused = paused_ THEN
    answer := CASE WHEN a.id IS NULL THEN 'null'::json ELSE '[]' END;
    ${lasting}
    RETURN;
  END IF;
  UPDATE ${of("accounts")} SET paused = paused_ WHERE id = a.id;
  ${changed(names, "CASE WHEN paused_ THEN 'Paused' ELSE 'Resumed' END")}
  PERFORM ${of("tell")}(ARRAY[a.id]);
  ${readNow(names)};
  answer := to_json(${of("book")}(ARRAY[e], now_));
  ${lasting}`
  )
}

/** The first `seq` behind `after_` that is written at a moment or later, by halving: times never fall. */
const seqAt = ({ of }: Names): string => `
CREATE FUNCTION ${of("seq_at")}(moment_ bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  low_ bigint := 0;
  high_ bigint := coalesce((SELECT max(seq) FROM ${of("entries")}), 0);
  middle_ bigint;
BEGIN
  WHILE low_ < high_ LOOP
    middle_ := (low_ + high_ + 1) / 2;
    IF (SELECT at FROM ${of("entries")} WHERE seq = middle_) < moment_ THEN
      low_ := middle_;
    ELSE
      high_ := middle_ - 1;
    END IF;
  END LOOP;
  RETURN low_ + 1;
END $$`

/** Reads; what it read is durable before it is answered, so that nobody has seen a number that is given out again. */
const page = ({ of }: Names): string => `
CREATE FUNCTION ${of("page")}(after_ bigint, size_ bigint, account_ text, from_ bigint, to_ bigint)
RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  first_ bigint := greatest(after_ + 1, CASE WHEN from_ IS NOT NULL THEN ${of("seq_at")}(from_) END);
  last_ bigint := CASE WHEN to_ IS NOT NULL THEN ${of("seq_at")}(to_) - 1 ELSE ${most} END;
  answer_ json;
BEGIN
  SELECT coalesce(json_agg(e), '[]') INTO answer_ FROM (
    SELECT * FROM ${of("entries")} WHERE seq BETWEEN first_ AND last_
      AND (account_ IS NULL OR chain @> ARRAY[account_] COLLATE "C") ORDER BY seq LIMIT size_
  ) e;
  IF pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() THEN
    ${flush};
  END IF;
  RETURN answer_;
END $$`

const balances = (names: Names): string => {
  const { of } = names
  return `
CREATE FUNCTION ${of("balances")}(name_ text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  now_ bigint;
BEGIN
  ${readNow(names)};
  RETURN json_build_object('now', now_, 'rows', (
    SELECT coalesce(json_agg(${of("account_row")}(a) ORDER BY cardinality(a.chain), a.id), '[]')
    FROM ${of("accounts")} a WHERE name_ IS NULL OR a.name = name_
  ));
END $$`
}

/** The statements that make the verbs, in order. */
export const procedures = (names: Names): ReadonlyArray<string> =>
  [
    stand,
    open,
    close,
    reserve,
    roll,
    stay,
    leave,
    end,
    cancel,
    renew,
    expire,
    setLimit,
    pause,
    seqAt,
    page,
    balances
  ].map((make) => make(names))
