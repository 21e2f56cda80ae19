/**
 * How the PostgreSQL ledger admits, and the lines of those that it cannot admit yet, as procedures. The rules, and their
 * order, are those of `ledgerStore`.
 */
import { dropLines, lasting, lockId, most, procedure } from "./postgresProcedure.ts"
import { millis, type Names, readNow } from "./postgresTables.ts"

/** How long a place is kept after its time has passed: its ask may yet `stay`. No waiter does that after 30 days. */
const forgotten = 30 * 86_400_000

/** Takes or keeps a place in line. */
export const stand = ({ of }: Pick<Names, "of">): string => `
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

export const stay = (names: Names): string => {
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

export const leave = (names: Names): string => {
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

/** Where there is room for an account: it is not paused, and has as much. Nothing else is looked at here. */
const fits = "NOT link.paused AND least_ <= free"

const room = ({ of }: Names): string => `
    FROM ${of("accounts")} link CROSS JOIN LATERAL (
      SELECT coalesce(link.limit_nanos, ${most}) - link.spent - link.reserved AS free,
        CASE WHEN link.frame IS NOT NULL THEN coalesce(link.window_end, 0) END AS till
    ) numbers`

/**
 * What most asks are: for an account that is there, with room all the way up and nobody in line. Says in `fits_` whether
 * it is so, with everything on the chain locked; where not, all is looked at once more. Lines and clock are read
 * once the accounts are locked, and only by who needs them. The id's lock is held, so that what is known of it holds.
 */
const quick = (names: Names): string => {
  const { of } = names
  return `
  SELECT link.chain, ARRAY[link.id], ARRAY[link.window_start], ARRAY[link.limit_nanos], till, free, ${fits}
      AND NOT EXISTS (SELECT FROM ${of("reservations")} WHERE id = id_)
      AND NOT EXISTS (SELECT FROM ${of("lines")} WHERE id = id_)
    INTO chain_, ids_, windows_, limits_, till_, room_, fits_ ${room(names)}
    WHERE link.name = account_ FOR NO KEY UPDATE OF link;
  FOR i IN 2..coalesce(cardinality(chain_), 0) LOOP
    EXIT WHEN fits_ IS NOT TRUE;
    SELECT ids_ || link.id, windows_ || link.window_start, limits_ || link.limit_nanos, least(till_, till),
        least(room_, free), ${fits}
      INTO ids_, windows_, limits_, till_, room_, fits_ ${room(names)}
      WHERE link.name = chain_[i] FOR NO KEY UPDATE OF link;
  END LOOP;
  IF fits_ AND till_ IS NOT NULL THEN
    ${readNow(names)};
    fits_ := now_ < till_;
  END IF;
  IF fits_ AND place_ IS NOT NULL THEN
    fits_ := NOT EXISTS (SELECT FROM ${of("lines")} WHERE account_id = ANY (ids_));
  END IF;`
}

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
  chain_ := a.chain;
  ids_ := NULL;
  windows_ := NULL;
  limits_ := NULL;
  room_ := ${most};
  FOR i IN 1..cardinality(chain_) LOOP
    IF i > 1 THEN
      SELECT * INTO a FROM ${of("accounts")} WHERE name = chain_[i] FOR NO KEY UPDATE;
    END IF;
    ids_ := ids_ || a.id;
    windows_ := windows_ || a.window_start;
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

/** All that the hold writes at the account itself, in one statement: see `charge`. */
const hold = ({ clock, of }: Names): string => `
  amount_ := greatest(least_, least(most_, floor(share_ * room_::float8)::bigint));
  FOR i IN 2..cardinality(ids_) LOOP
    UPDATE ${of("accounts")} SET reserved = reserved + amount_ WHERE id = ids_[i];
  END LOOP;
  IF own_.id IS NOT NULL THEN
    DELETE FROM ${of("lines")} WHERE id = id_;
    PERFORM ${of("tell")}(ids_);
  END IF;
  WITH own AS (
    UPDATE ${of("accounts")} SET reserved = reserved + amount_ WHERE id = ids_[1]
  ), head AS (
    UPDATE ${of("head")} SET seq = seq + 1, at = greatest(at, coalesce(now_, ${millis(clock)})) RETURNING seq, at
  ), held AS (
    INSERT INTO ${of("reservations")} (
      id, fingerprint, state, account, chain, account_ids, windows, amount, at, expires_at, seq
    ) SELECT
      id_, fingerprint_, 'held', account_, chain_, ids_, windows_, amount_, at, at + lease_, seq
    FROM head
  ) INSERT INTO ${of("entries")} (
    seq, at, tag, account, chain, windows, reservation, reserved, limits, expires_at
  ) SELECT seq, at, 'Reserved', account_, chain_, windows_, id_, amount_, limits_, at + lease_ FROM head
    RETURNING at INTO now_;
  answer := json_build_object('_tag', 'Granted', 'held', json_build_object(
    'id', id_, 'account', account_, 'amount', amount_, 'at', now_, 'expiresAt', now_ + lease_));`

export const reserve = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "reserve",
    `id_ text, fingerprint_ text, account_ text, least_ bigint, most_ bigint, share_ float8, lease_ bigint,
  place_ bigint`,
    `r ${of("reservations")}%ROWTYPE;
  a ${of("accounts")}%ROWTYPE;
  own_ ${of("lines")}%ROWTYPE;
  chain_ text[];
  ids_ bigint[];
  windows_ bigint[];
  limits_ bigint[];
  rows_ ${of("accounts")}[];
  fits_ boolean;
  amount_ bigint;
  now_ bigint;
  till_ bigint;
  free_ bigint;
  room_ bigint;`,
    `${lockId(names)};
  ${quick(names)}
  IF fits_ IS NOT TRUE THEN
    ${known(names)}
    ${lockChain(names)}
    ${blocked(names)}
  END IF;
  ${hold(names)}
  ${lasting}`
  )
}
