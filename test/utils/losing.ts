/** A store whose answers get lost: each write is done, and every so many-th caller is not told. */
import { Effect } from "effect"
import { type Answer, type LedgerStore, StoreUnavailable } from "../../src/internal/ledgerStore.ts"

export const losing = (store: LedgerStore) => {
  let every = 0
  let answers = 0
  let lost = 0
  const through = <A>(answer: Answer<A>): Answer<A> =>
    Effect.flatMap(answer, (told) => {
      if (every === 0 || ++answers % every !== 0) return Effect.succeed(told)
      lost++
      return Effect.fail(new StoreUnavailable({ detail: "The answer was lost." }))
    })
  const lossy: LedgerStore = {
    open: (ask) => through(store.open(ask)),
    close: (account, opener) => through(store.close(account, opener)),
    reserve: (ask) => through(store.reserve(ask)),
    roll: (account, frame, start, end) => through(store.roll(account, frame, start, end)),
    stay: (ids, place) => through(store.stay(ids, place)),
    leave: (id) => through(store.leave(id)),
    end: (ask) => through(store.end(ask)),
    cancel: (id) => through(store.cancel(id)),
    renew: (ids, lease) => through(store.renew(ids, lease)),
    expire: (most) => through(store.expire(most)),
    setLimit: (account, limit) => through(store.setLimit(account, limit)),
    pause: (account, paused) => through(store.pause(account, paused)),
    balances: (account) => through(store.balances(account)),
    entries: (ask) => through(store.entries(ask)),
    changes: store.changes
  }
  return {
    store: lossy,
    /** From now on; 0: none. */
    lose: (next: number) => {
      every = next
    },
    lost: () => lost
  }
}
