/**
 * The verbs of the PostgreSQL ledger: one procedure each, called in one round trip, each with one transaction of its
 * own, and where it wrote what must last, a second empty one that waits for the disk (see `flush`). Procedures and not
 * functions, because only these may commit before they answer. What only reads is a function.
 */
import { close, open, pause, roll, setLimit } from "./postgresAccounts.ts"
import { cancel, end, expire, renew } from "./postgresEndings.ts"
import { most } from "./postgresProcedure.ts"
import { leave, reserve, stand, stay } from "./postgresReserve.ts"
import { flush, type Names, readNow } from "./postgresTables.ts"

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
