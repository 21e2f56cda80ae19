/** What the tests of stores ask for, and what they look at. Amounts are nano-dollars. */
import { Effect } from "effect"
import { Usd } from "agent-budget"
import type {
  EndAsk,
  LedgerStore,
  OpenAsk,
  ReserveAsk,
  StoreUnavailable
} from "../../src/internal/ledgerStore.ts"
import { findings } from "./bookReplay.ts"

/** An account to open: it stays, and has no windows. */
export const account = (name: string, limit: number | null, parent: string | null = null): OpenAsk => ({
  account: name,
  parent,
  limit: limit === null ? null : Usd.nanos(limit),
  frame: undefined,
  thresholds: undefined,
  opener: null
})

/** An ask on `root` for exactly `least`, which does not wait. */
export const ask = (id: string, least: number, more: Partial<ReserveAsk> = {}): ReserveAsk => ({
  id,
  fingerprint: "f",
  account: "root",
  least,
  most: least,
  share: 1,
  lease: 60_000,
  place: null,
  ...more
})

/** A metered end. */
export const ending = (id: string, amount: number): EndAsk => ({
  id,
  amount,
  verdict: "metered",
  label: null
})

/** All of the books. */
export const everything = { after: 0, size: 1_000_000, account: null, from: null, to: null }

/** What is wrong with the books, read from the first entry on. */
export const audit = Effect.fnUntraced(function* (store: LedgerStore) {
  return findings(yield* store.entries(everything), (yield* store.balances(null)).rows)
})

/** The numbers of an account that is there. */
export const rowOf = (store: LedgerStore, name: string) =>
  Effect.map(store.balances(name), ({ rows }) => rows.map(({ reserved, spent }) => ({ reserved, spent }))[0])

/** What a failure says. */
export const detailOf = <A, E extends Pick<StoreUnavailable, "detail">, R>(failing: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(failing), ({ detail }) => detail)

export const tagOf = <A extends { readonly _tag: string }, E>(verb: Effect.Effect<A, E>) =>
  Effect.map(verb, ({ _tag }) => _tag)
