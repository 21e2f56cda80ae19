/**
 * What the procedures of the PostgreSQL ledger have in common, as SQL.
 */
import { flush, type Names } from "./postgresTables.ts"

export const most = "9007199254740991"

/** Everything is written, and may be seen by others; it is answered when it is durable. */
export const lasting = `COMMIT;
  ${flush};`

/** A lock on an id that has no row yet; ids whose hashes are the same only wait for each other. */
export const lockId = ({ channel }: Names): string =>
  `IF pg_advisory_xact_lock(hashtext('${channel}'), hashtext(id_)) IS NULL THEN END IF`

/**
 * Of this transaction only: locks are given back before the disk is waited for (see `flush`), and nothing is planned
 * anew for each value, since every row is found by its key. (`IF` runs an expression where `PERFORM` would start a
 * query.)
 */
const settings = `IF set_config('synchronous_commit', 'off', true) IS NULL
    OR set_config('plan_cache_mode', 'force_generic_plan', true) IS NULL THEN
  END IF;`

export const procedure = (
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

/** Never waits for a row: whoever holds one is about to change it, and what is left behind counts for nothing. */
export const dropLines = ({ of }: Pick<Names, "of">, which: string): string =>
  `DELETE FROM ${of("lines")} WHERE id IN (SELECT id FROM ${of("lines")} WHERE ${which} FOR UPDATE SKIP LOCKED);`
