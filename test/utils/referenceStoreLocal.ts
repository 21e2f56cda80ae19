/**
 * The store of a ledger in plain maps, written from its specification (`ledgerStore`) and from nothing else: what
 * every engine must agree with. It is slow on purpose: it looks through everything, and keeps no sums but the rows'.
 */
import { Effect } from "effect"
import { Usd } from "agent-budget"
import * as Store from "../../src/internal/ledgerStore.ts"
import type { Entry, Link } from "../../src/internal/ledgerTypes.ts"

interface Account {
  readonly name: string
  readonly parent: string | null
  readonly chain: ReadonlyArray<string>
  readonly frame: string | null
  temporary: boolean
  readonly openers: Set<string>
  limit: Usd.Usd | null
  thresholds: ReadonlyArray<number>
  spent: number
  reserved: number
  paused: boolean
  start: number | null
  end: number | null
}

interface Reservation {
  readonly id: string
  readonly fingerprint: string
  readonly account: string
  /** With the very account: one that was opened again under the name is another one. */
  readonly links: ReadonlyArray<Link & { readonly at: Account | undefined }>
  readonly amount: number
  readonly at: number
  expiresAt: number
  state: "held" | "ended" | "expired" | "corrected" | "cancelled"
  ending: Entry | undefined
}

interface Place {
  readonly waiter: string
  readonly at: Account
  readonly ticket: number
  until: number
}

// Typed so that each kind of draft keeps its own fields.
type Draft = Entry extends infer E ? (E extends Entry ? Omit<E, "seq" | "at"> : never) : never

const capOf = (account: Account): number => account.limit ?? Number.MAX_SAFE_INTEGER

const roomOf = (account: Account): number => capOf(account) - account.spent - account.reserved

/** A store whose clock is `clock`. */
export const make = (clock: () => number): Store.LedgerStore => {
  const accounts = new Map<string, Account>()
  const reservations = new Map<string, Reservation>()
  const books: Array<Entry> = []
  let line: Array<Place> = []
  let tickets = 0
  let newest = 0
  const now = (): number => (newest = Math.max(newest, clock()))

  const rowOf = (account: Account): Store.AccountRow => ({
    account: account.name,
    parent: account.parent,
    limit: account.limit,
    spent: Usd.nanos(account.spent),
    reserved: Usd.nanos(account.reserved),
    paused: account.paused,
    frame: account.frame,
    windowStart: account.start,
    windowEnd: account.end
  })

  const book = (draft: Draft): Entry => {
    const entry: Entry = { ...draft, seq: books.length + 1, at: now() }
    books.push(entry)
    return entry
  }

  const linksOf = (account: Account) =>
    account.chain.map((name) => {
      const at = accounts.get(name)
      return { account: name, window: at?.start ?? null, at }
    })

  const plain = (links: ReadonlyArray<Link>): ReadonlyArray<Link> =>
    links.map(({ account, window }) => ({ account, window }))

  /** Changes accounts as `change` says, and tells of thresholds behind what it books. */
  const withThresholds = (
    touched: ReadonlyArray<Account>,
    cause: Draft,
    change: (account: Account) => void
  ): ReadonlyArray<Entry> => {
    const told = [book(cause)]
    for (const account of touched) {
      const before = { limit: account.limit, spent: account.spent }
      change(account)
      for (const threshold of account.thresholds) {
        if (account.limit === null || Store.reached(before, threshold) || !Store.reached(account, threshold))
          continue
        told.push(
          book({
            _tag: "ThresholdCrossed",
            account: account.name,
            chain: plain(linksOf(account)),
            threshold: threshold / 1_000_000,
            limit: account.limit,
            spent: Usd.nanos(account.spent)
          })
        )
      }
    }
    return told
  }

  const current = ({ links }: Reservation): ReadonlyArray<Account> =>
    links.flatMap(({ account, at, window }) =>
      at !== undefined && accounts.get(account) === at && at.start === window ? [at] : []
    )

  const finish = (held: Reservation, ask: Store.EndAsk): Store.EndAnswer => {
    const isLate = held.state === "expired"
    const amount = ask.verdict === "released" ? 0 : ask.amount
    const spent = isLate ? amount - held.amount : amount
    const back = isLate ? 0 : held.amount
    const touched = current(held)
    if (
      touched.some(
        (each) => BigInt(each.spent) + BigInt(each.reserved) + BigInt(spent - back) > 2n ** 53n - 1n
      )
    )
      return { _tag: "OutOfRange" }
    const common = {
      account: held.account,
      chain: plain(held.links),
      reservation: held.id,
      reserved: Usd.nanos(held.amount)
    }
    const numbers = {
      amount: Usd.nanos(amount),
      overrun: Usd.nanos(Math.max(0, amount - held.amount)),
      label: ask.label
    }
    const draft: Draft = isLate
      ? {
          _tag: "Corrected",
          ...common,
          ...numbers,
          charged: common.reserved,
          difference: Usd.subtract(numbers.amount, common.reserved),
          verdict: ask.verdict
        }
      : ask.verdict === "released"
        ? { _tag: "Released", ...common }
        : { _tag: "Settled", ...common, ...numbers, verdict: ask.verdict }
    const told = withThresholds(touched, draft, (account) => {
      account.spent += spent
      account.reserved -= back
    })
    held.state = isLate ? "corrected" : "ended"
    held.ending = told[0]
    return ended(told, false)
  }

  const ended = (told: ReadonlyArray<Entry>, again: boolean): Store.EndAnswer => {
    const [entry, ...rest] = told
    if (entry?._tag !== "Settled" && entry?._tag !== "Released" && entry?._tag !== "Corrected")
      throw new Error("the end of a reservation is no end")
    return {
      _tag: "Ended",
      entry,
      crossed: rest.flatMap((each) => (each._tag === "ThresholdCrossed" ? [each] : [])),
      again
    }
  }

  const end = (ask: Store.EndAsk): Store.EndAnswer => {
    const held = reservations.get(ask.id)
    if (held === undefined || held.state === "cancelled") return { _tag: "Unknown" }
    if (held.state === "held" || held.state === "expired") return finish(held, ask)
    const answer = ended(held.ending === undefined ? [] : [held.ending], true)
    if (answer._tag !== "Ended") return answer
    const { entry } = answer
    const isSame =
      entry._tag === "Released"
        ? ask.verdict === "released"
        : entry.verdict === ask.verdict && entry.amount === (ask.verdict === "released" ? 0 : ask.amount)
    return isSame ? answer : { _tag: "Differs", entry }
  }

  const leave = (waiter: string): void => {
    line = line.filter((place) => place.waiter !== waiter)
  }

  const reserve = (ask: Store.ReserveAsk): Store.ReserveAnswer => {
    const known = reservations.get(ask.id)
    if (known?.state === "cancelled") return { _tag: "Taken", how: "cancelled" }
    if (known !== undefined && known.fingerprint !== ask.fingerprint)
      return { _tag: "Taken", how: "another ask" }
    if (known !== undefined && known.state !== "held") return { _tag: "Taken", how: "ended" }
    if (known !== undefined) return { _tag: "Granted", held: heldOf(known) }
    const own = accounts.get(ask.account)
    if (own === undefined) return { _tag: "NotOpen" }
    const at = now()
    const chain = own.chain.flatMap((name) => accounts.get(name) ?? [])
    for (const each of chain)
      if (each.frame !== null && (each.end === null || each.end <= at))
        return { _tag: "Stale", now: at, row: rowOf(each) }
    for (const each of chain)
      if (ask.least > capOf(each) - (each.frame === null ? each.spent : 0)) {
        leave(ask.id)
        return { _tag: "Short", now: at, row: rowOf(each), hopeless: true }
      }
    const ticket = line.find((place) => place.waiter === ask.id)?.ticket ?? tickets + 1
    for (const each of chain) {
      const isBehind =
        ask.place !== null &&
        line.some((place) => place.at === each && place.ticket < ticket && place.until > at)
      if (!each.paused && roomOf(each) >= ask.least && !isBehind) continue
      if (ask.place !== null) {
        leave(ask.id)
        line.push({ waiter: ask.id, at: each, ticket, until: at + ask.place })
        tickets = Math.max(tickets, ticket)
      }
      return each.paused
        ? { _tag: "Paused", now: at, row: rowOf(each) }
        : { _tag: "Short", now: at, row: rowOf(each), hopeless: false }
    }
    return { _tag: "Granted", held: heldOf(hold(ask, own, chain, at)) }
  }

  const hold = (
    ask: Store.ReserveAsk,
    own: Account,
    chain: ReadonlyArray<Account>,
    at: number
  ): Reservation => {
    const room = Math.min(...chain.map(roomOf))
    const amount =
      ask.least === ask.most
        ? ask.least
        : Math.max(ask.least, Math.min(ask.most, Math.floor(ask.share * room)))
    const held: Reservation = {
      id: ask.id,
      fingerprint: ask.fingerprint,
      account: own.name,
      links: linksOf(own),
      amount,
      at,
      expiresAt: at + ask.lease,
      state: "held",
      ending: undefined
    }
    reservations.set(ask.id, held)
    for (const each of chain) each.reserved += amount
    book({
      _tag: "Reserved",
      account: own.name,
      chain: plain(held.links),
      reservation: ask.id,
      reserved: Usd.nanos(amount),
      limits: own.chain.map((name) => accounts.get(name)?.limit ?? null),
      expiresAt: held.expiresAt
    })
    leave(ask.id)
    return held
  }

  const heldOf = (held: Reservation): Store.HeldRow => ({
    id: held.id,
    account: held.account,
    amount: Usd.nanos(held.amount),
    at: held.at,
    expiresAt: held.expiresAt
  })

  const open = (ask: Store.OpenAsk): Store.OpenAnswer => {
    const there = accounts.get(ask.account)
    if (there === undefined) {
      const parent = ask.parent === null ? undefined : accounts.get(ask.parent)
      if (ask.parent !== null && parent === undefined) return { _tag: "NoParent" }
      accounts.set(ask.account, {
        name: ask.account,
        parent: ask.parent,
        chain: [ask.account, ...(parent?.chain ?? [])],
        frame: ask.frame ?? null,
        temporary: ask.opener !== null,
        openers: new Set(ask.opener === null ? [] : [ask.opener]),
        limit: ask.limit ?? null,
        thresholds: ask.thresholds ?? [],
        spent: 0,
        reserved: 0,
        paused: false,
        start: null,
        end: null
      })
      const links = plain([
        { account: ask.account, window: null },
        ...(parent === undefined ? [] : linksOf(parent))
      ])
      book({ _tag: "Opened", account: ask.account, chain: links, limit: ask.limit ?? null })
      return { _tag: "Opened" }
    }
    const isOther =
      there.parent !== ask.parent ||
      (ask.limit !== undefined && ask.limit !== there.limit) ||
      (ask.frame !== undefined && ask.frame !== there.frame)
    if (isOther) return { _tag: "Differs", row: rowOf(there) }
    if (ask.opener !== null) there.openers.add(ask.opener)
    else there.temporary = false
    there.thresholds = ask.thresholds ?? there.thresholds
    return { _tag: "Opened" }
  }

  const close = (name: string, opener: string | null) => {
    const account = accounts.get(name)
    if (account === undefined) return null
    if (account.temporary && opener !== null) {
      account.openers.delete(opener)
      if (account.openers.size === 0) {
        accounts.delete(name)
        line = line.filter((place) => place.at !== account)
      }
    }
    return { now: now(), row: rowOf(account) }
  }

  const roll = (name: string, frame: string, start: number, finish: number): void => {
    const account = accounts.get(name)
    const at = now()
    if (account?.frame !== frame || (account.end !== null && account.end > at)) return
    if (at < start || at >= finish) return
    Object.assign(account, { start, end: finish, spent: 0, reserved: 0 })
  }

  const stay = (ids: ReadonlyArray<string>, place: number): void => {
    for (const each of line) if (ids.includes(each.waiter)) each.until = now() + place
  }

  const cancel = (id: string): void => {
    const held = reservations.get(id)
    if (held?.state === "held") end({ id, amount: 0, verdict: "released", label: null })
    const none = {
      fingerprint: "",
      account: "",
      links: [],
      amount: 0,
      at: now(),
      expiresAt: 0,
      ending: undefined
    }
    if (held === undefined) reservations.set(id, { id, state: "cancelled", ...none })
    leave(id)
  }

  const renew = (ids: ReadonlyArray<string>, lease: number) =>
    ids.flatMap((id) => {
      const held = reservations.get(id)
      if (held?.state !== "held") return []
      held.expiresAt = now() + lease
      return [{ id, expiresAt: held.expiresAt }]
    })

  const expire = (most: number): ReadonlyArray<Entry> => {
    const at = now()
    // A sort is stable: those of one moment stay in the order in which they were admitted.
    const due = [...reservations.values()]
      .filter((held) => held.state === "held" && held.expiresAt <= at)
      .sort((one, other) => one.expiresAt - other.expiresAt)
    return due.slice(0, most).flatMap((held) => {
      held.state = "expired"
      const reserved = Usd.nanos(held.amount)
      const chain = plain(held.links)
      const draft = { account: held.account, chain, reservation: held.id, reserved, amount: reserved }
      return withThresholds(current(held), { _tag: "Expired", ...draft }, (account) => {
        account.reserved -= held.amount
        account.spent += held.amount
      })
    })
  }

  const setLimit = (name: string, limit: Usd.Usd | null): ReadonlyArray<Entry> | null => {
    const account = accounts.get(name)
    if (account === undefined) return null
    if (account.limit === limit) return []
    const chain = plain(linksOf(account))
    const draft: Draft = { _tag: "LimitChanged", account: name, chain, from: account.limit, to: limit }
    return withThresholds([account], draft, () => void (account.limit = limit))
  }

  const pause = (name: string, paused: boolean): ReadonlyArray<Entry> | null => {
    const account = accounts.get(name)
    if (account === undefined) return null
    if (account.paused === paused) return []
    account.paused = paused
    return [book({ _tag: paused ? "Paused" : "Resumed", account: name, chain: plain(linksOf(account)) })]
  }

  const entries = ({ account, after, from, size, to }: Store.EntriesAsk): ReadonlyArray<Entry> =>
    books
      .filter((entry) => entry.seq > after && entry.at >= (from ?? 0) && entry.at < (to ?? Infinity))
      .filter((entry) => account === null || entry.chain.some((link) => link.account === account))
      .slice(0, size)

  const balances = (name: string | null) => ({
    now: now(),
    rows: [...accounts.values()]
      .filter((account) => name === null || account.name === name)
      .sort((one, other) => one.chain.length - other.chain.length)
      .map(rowOf)
  })

  return {
    open: (ask) => Effect.sync(() => open(ask)),
    close: (account, opener) => Effect.sync(() => close(account, opener)),
    reserve: (ask) => Effect.sync(() => reserve(ask)),
    roll: (account, frame, start, finish) => Effect.sync(() => roll(account, frame, start, finish)),
    stay: (ids, place) => Effect.sync(() => stay(ids, place)),
    leave: (id) => Effect.sync(() => leave(id)),
    end: (ask) => Effect.sync(() => end(ask)),
    cancel: (id) => Effect.sync(() => cancel(id)),
    renew: (ids, lease) => Effect.sync(() => renew(ids, lease)),
    expire: (most) => Effect.sync(() => expire(most)),
    setLimit: (account, limit) => Effect.sync(() => setLimit(account, limit)),
    pause: (account, paused) => Effect.sync(() => pause(account, paused)),
    balances: (account) => Effect.sync(() => balances(account)),
    entries: (ask) => Effect.sync(() => entries(ask))
  }
}
