/**
 * The verbs of the PostgreSQL ledger on one account, as procedures. The rules are those of `ledgerStore`.
 */
import { dropLines, lasting, procedure } from "./postgresProcedure.ts"
import { type Names, readNow } from "./postgresTables.ts"

/** The entry of a change to an account, which is locked, in the windows that its chain is in now. */
const changed = ({ of }: Names, tag: string): string => `
  e.tag := ${tag};
  e.account := a.name;
  e.chain := a.chain;
  e.windows := ${of("windows_of")}(a.chain);`

/**
 * A new row, and its entry; nothing where another process was quicker. It opens a temporary parent, which cannot go
 * meanwhile. Others are not locked: they never go.
 */
const opened = (names: Names): string => {
  const { of } = names
  return `
    IF above_.temporary THEN
      SELECT * INTO above_ FROM ${of("accounts")} WHERE name = parent_ FOR KEY SHARE;
      IF NOT FOUND THEN
        answer := json_build_object('_tag', 'NoParent');
        RETURN;
      END IF;
    END IF;
    chain_ := name_ || above_.chain;
    INSERT INTO ${of("accounts")} (name, chain, limit_nanos, frame, thresholds, temporary)
      VALUES (name_, chain_, limit_, frame_, coalesce(thresholds_, '{}'), opener_ IS NOT NULL)
      ON CONFLICT DO NOTHING RETURNING * INTO a;
    IF FOUND THEN
      IF a.temporary THEN
        INSERT INTO ${of("openers")} VALUES (a.id, opener_);
      END IF;
      IF above_.temporary THEN
        INSERT INTO ${of("openers")} VALUES (above_.id, 'below ' || a.id);
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

export const open = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "open",
    `name_ text, parent_ text, keep_limit_ boolean, limit_ bigint, frame_ text, thresholds_ integer[], opener_ text`,
    `chain_ text[];
  above_ ${of("accounts")}%ROWTYPE;
  a ${of("accounts")}%ROWTYPE;
  e ${of("entries")}%ROWTYPE;
  now_ bigint;`,
    `
  IF parent_ IS NOT NULL THEN
    SELECT * INTO above_ FROM ${of("accounts")} WHERE name = parent_;
    IF NOT FOUND THEN
      answer := json_build_object('_tag', 'NoParent');
      RETURN;
    END IF;
  END IF;
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

export const close = (names: Names): string => {
  const { of } = names
  return procedure(
    names,
    "close",
    "name_ text, opener_ text",
    `a ${of("accounts")}%ROWTYPE;
  gone_ bigint[];
  now_ bigint;`,
    `
  SELECT * INTO a FROM ${of("accounts")} WHERE name = name_ FOR UPDATE;
  IF NOT FOUND THEN
    answer := 'null';
    RETURN;
  END IF;
  ${readNow(names)};
  answer := json_build_object('now', now_, 'row', ${of("account_row")}(a));
  LOOP
    DELETE FROM ${of("openers")} WHERE account_id = a.id AND opener = opener_;
    EXIT WHEN NOT FOUND OR EXISTS (SELECT FROM ${of("openers")} WHERE account_id = a.id);
    DELETE FROM ${of("accounts")} WHERE id = a.id;
    gone_ := gone_ || a.id;
    opener_ := 'below ' || a.id;
    SELECT * INTO a FROM ${of("accounts")} WHERE name = a.chain[2] AND temporary FOR UPDATE;
    EXIT WHEN NOT FOUND;
  END LOOP;
  IF gone_ IS NOT NULL THEN
    PERFORM ${of("tell")}(gone_);
    ${dropLines(names, "account_id = ANY (gone_)")}
  END IF;
  ${lasting}`
  )
}

export const roll = (names: Names): string => {
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
    UPDATE ${of("accounts")} SET
      spent = 0, reserved = 0, window_start = greatest(start_, a.window_end), window_end = end_
    WHERE id = a.id;
    PERFORM ${of("tell")}(ARRAY[a.id]);
    UPDATE ${of("head")} SET at = greatest(at, now_);
    ${lasting}
  END IF;`
  )
}

export const setLimit = (names: Names): string => {
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

export const pause = (names: Names): string => {
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
