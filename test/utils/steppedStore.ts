/**
 * A store whose verbs are steps on some books, one after the other: there is a way to it and a way back, on which others
 * run, and it fails on demand. The books are those of `referenceStore.ts`, or those of an engine.
 */
import { Effect } from "effect"
import * as Store from "../../src/internal/ledgerStore.ts"

type Verb = Exclude<keyof Store.LedgerStore, "changes">

type Step<F> = F extends (...args: infer Args) => Store.Answer<infer A> ? (...args: Args) => A : never

/** The verbs of a store as plain functions. */
export type Verbs = { readonly [Name in Verb]: Step<Store.LedgerStore[Name]> }

export interface Books {
  readonly verbs: Verbs
  /** Takes a step as a whole, at this time. */
  readonly step: <A>(now: number, take: (verbs: Verbs) => A) => A
}

/** Which answers are lost: the next ones, before or after the write. */
export interface Faults {
  /** The store is not reached while this is true. */
  away: boolean
  /** Loses the answer of each verb for which it says so, after the write. */
  loses: (verb: keyof Store.LedgerStore) => boolean
}

export interface SteppedStore extends Store.LedgerStore {
  readonly faults: Faults
  /** Entries with a larger number, for an observer: no verb, and no time passes. */
  readonly after: (seq: number) => ReturnType<Verbs["entries"]>
  /** Every account as it is, for an observer too. */
  readonly rows: () => ReadonlyArray<Store.AccountRow>
  /** How often each verb was called. */
  readonly calls: Record<string, number>
}

const all = { account: null, from: null, to: null, size: Number.MAX_SAFE_INTEGER } as const

/** `clock` is that of the store. */
export const make = ({ step, verbs }: Books, clock: Effect.Effect<number>): SteppedStore => {
  const faults: Faults = { away: false, loses: () => false }
  const calls: Record<string, number> = {}
  const verb = <A>(name: Verb, take: (verbs: Verbs) => A): Store.Answer<A> =>
    Effect.gen(function* () {
      calls[name] = (calls[name] ?? 0) + 1
      // The way there and the way back, on which other fibers run.
      yield* Effect.yieldNow
      if (faults.away) return yield* new Store.StoreUnavailable({ detail: "The store is away." })
      const answer = step(yield* clock, take)
      yield* Effect.yieldNow
      if (faults.loses(name)) return yield* new Store.StoreUnavailable({ detail: "The answer was lost." })
      return answer
    })
  return {
    faults,
    calls,
    after: (seq) => verbs.entries({ ...all, after: seq }),
    rows: () => verbs.balances(null).rows,
    open: (ask) => verb("open", (books) => books.open(ask)),
    close: (account, opener) => verb("close", (books) => books.close(account, opener)),
    reserve: (ask) => verb("reserve", (books) => books.reserve(ask)),
    roll: (account, frame, start, end) => verb("roll", (books) => books.roll(account, frame, start, end)),
    stay: (ids, place) => verb("stay", (books) => books.stay(ids, place)),
    leave: (id) => verb("leave", (books) => books.leave(id)),
    end: (ask) => verb("end", (books) => books.end(ask)),
    cancel: (id) => verb("cancel", (books) => books.cancel(id)),
    renew: (ids, lease) => verb("renew", (books) => books.renew(ids, lease)),
    expire: (most) => verb("expire", (books) => books.expire(most)),
    setLimit: (account, limit) => verb("setLimit", (books) => books.setLimit(account, limit)),
    pause: (account, paused) => verb("pause", (books) => books.pause(account, paused)),
    balances: (account) => verb("balances", (books) => books.balances(account)),
    entries: (ask) => verb("entries", (books) => books.entries(ask))
  }
}
