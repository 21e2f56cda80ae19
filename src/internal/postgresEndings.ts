/**
 * How reservations of the PostgreSQL ledger end or go on, as procedures. The rules are those of `ledgerStore`.
 */
import { lasting, lockId, procedure } from "./postgresProcedure.ts"
import { type Names, readNow, tellOf } from "./postgresTables.ts"

export const end = (names: Names): string => {
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
    ROLLBACK;
    answer := json_build_object('_tag', 'OutOfRange');
    RETURN;
  END IF;
  ${tellOf(names, "r.account_ids")}
  answer := json_build_object('_tag', 'Ended', 'entries', entries_, 'again', false);
  ${lasting}`
  )
}

export const cancel = (names: Names): string => {
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

export const renew = (names: Names): string => {
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

export const expire = (names: Names): string => {
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
