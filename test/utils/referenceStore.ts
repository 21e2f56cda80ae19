/**
 * A store in plain maps: each verb is one synchronous step, in the words of `ledgerStore.ts` and in no other order.
 * What the durable engines do in SQL and Lua can be read here. It has a clock of its own.
 */
import { Usd } from "agent-budget"
import { Clock, Effect } from "effect"
import * as Store from "../../src/internal/ledgerStore.ts"
import type { Entry, EntryOf, Link } from "../../src/internal/ledgerTypes.ts"
import * as Stepped from "./steppedStore.ts"

interface Account {
  readonly name: string
  readonly parent: Account | undefined
  limit: number | null
  spent: number
  reserved: number
  paused: boolean
  readonly frame: string | null
  start: number | null
  end: number | null
  thresholds: ReadonlyArray<number>
  /** `null`: not temporary. */
  openers: Set<string> | null
  /** Places in line, by the id of the ask. */
  readonly line: Map<string, Place>
}

interface Place {
  readonly ticket: number
  until: number
}

interface Reservation {
  readonly row: Store.HeldRow
  readonly fingerprint: string
  readonly chain: ReadonlyArray<{ readonly account: Account; readonly window: number | null }>
  expiresAt: number
  state: "held" | "expired" | "ended"
  ending: EntryOf<"Settled"> | EntryOf<"Released"> | EntryOf<"Corrected"> | undefined
}

/** An entry as it is made: the books number it. */
type Draft<E> = E extends unknown ? Omit<E, "seq"> : never

const chainOf = (account: Account): ReadonlyArray<Account> =>
  account.parent === undefined ? [account] : [account, ...chainOf(account.parent)]

/** Who an account is to the temporary one above it. */
const below = ({ name }: Account): string => `below ${name}`

const limitOf = (account: Account): number => account.limit ?? Store.noLimit
const room = (account: Account): number => limitOf(account) - account.spent - account.reserved

const rowOf = (account: Account): Store.AccountRow => ({
  account: account.name,
  parent: account.parent?.name ?? null,
  limit: account.limit === null ? null : Usd.nanos(account.limit),
  spent: Usd.nanos(account.spent),
  reserved: Usd.nanos(account.reserved),
  paused: account.paused,
  frame: account.frame,
  windowStart: account.start,
  windowEnd: account.end
})

const linksOf = (chain: Reservation["chain"]): ReadonlyArray<Link> =>
  chain.map(({ account, window }) => ({ account: account.name, window }))

const linked = (account: Account): Reservation["chain"] =>
  chainOf(account).map((each) => ({ account: each, window: each.start }))

export interface ReferenceStore extends Stepped.SteppedStore {
  readonly written: ReadonlyArray<Entry>
}

class Books {
  readonly accounts = new Map<string, Account>()
  readonly reservations = new Map<string, Reservation>()
  readonly cancelled = new Set<string>()
  readonly written: Array<Entry> = []
  tickets = 0
  now = 0

  write<E extends Entry>(draft: Draft<E>): E {
    const entry = { ...draft, seq: this.written.length + 1 } as unknown as E
    this.written.push(entry)
    return entry
  }

  /** Changes numbers, and writes the thresholds that this crossed. */
  changing<A>(
    accounts: ReadonlyArray<Account>,
    change: () => A
  ): readonly [A, ReadonlyArray<EntryOf<"ThresholdCrossed">>] {
    const before = accounts.map(({ limit, spent }) => ({ limit, spent }))
    const result = change()
    const crossed = accounts.flatMap((account, index) =>
      account.thresholds
        .filter((threshold) => {
          const was = before[index]
          return was !== undefined && Store.reached(account, threshold) && !Store.reached(was, threshold)
        })
        .map((threshold) =>
          this.write<EntryOf<"ThresholdCrossed">>({
            _tag: "ThresholdCrossed",
            at: this.now,
            account: account.name,
            chain: linksOf(linked(account)),
            threshold: threshold / Store.millionth,
            limit: Usd.nanos(limitOf(account)),
            spent: Usd.nanos(account.spent)
          })
        )
    )
    return [result, crossed]
  }

  open(ask: Store.OpenAsk): Store.OpenAnswer {
    const parent = ask.parent === null ? undefined : this.accounts.get(ask.parent)
    if (ask.parent !== null && parent === undefined) return { _tag: "NoParent" }
    const existing = this.accounts.get(ask.account)
    if (existing === undefined) {
      const account: Account = {
        name: ask.account,
        parent,
        limit: ask.limit ?? null,
        spent: 0,
        reserved: 0,
        paused: false,
        frame: ask.frame ?? null,
        start: null,
        end: null,
        thresholds: ask.thresholds ?? [],
        openers: ask.opener === null ? null : new Set([ask.opener]),
        line: new Map()
      }
      this.accounts.set(ask.account, account)
      parent?.openers?.add(below(account))
      const limit = ask.limit ?? null
      const chain = linksOf(linked(account))
      this.write<EntryOf<"Opened">>({ _tag: "Opened", at: this.now, account: ask.account, chain, limit })
      return { _tag: "Opened" }
    }
    const isSame =
      existing.parent === parent &&
      (ask.limit === undefined || ask.limit === existing.limit) &&
      (ask.frame === undefined || ask.frame === existing.frame)
    if (!isSame) return { _tag: "Differs", row: rowOf(existing) }
    if (ask.thresholds !== undefined) existing.thresholds = ask.thresholds
    if (ask.opener === null) existing.openers = null
    else existing.openers?.add(ask.opener)
    return { _tag: "Opened" }
  }

  close(name: string, opener: string | null) {
    const account = this.accounts.get(name)
    if (account === undefined) return null
    const row = rowOf(account)
    let leaves = opener
    for (let at: Account | undefined = account; at !== undefined && leaves !== null; at = at.parent) {
      if (at.openers?.delete(leaves) !== true || at.openers.size > 0) break
      this.accounts.delete(at.name)
      leaves = below(at)
    }
    return { now: this.now, row }
  }

  leave(id: string): void {
    for (const account of this.accounts.values()) account.line.delete(id)
  }

  reserve(ask: Store.ReserveAsk): Store.ReserveAnswer {
    const { account: name, id, least, most, place, share } = ask
    const known = this.reservations.get(id)
    if (this.cancelled.has(id)) return { _tag: "Taken", how: "cancelled" }
    if (known !== undefined) {
      if (known.fingerprint !== ask.fingerprint) return { _tag: "Taken", how: "another ask" }
      if (known.state !== "held") return { _tag: "Taken", how: "ended" }
      return { _tag: "Granted", held: { ...known.row, expiresAt: known.expiresAt } }
    }
    const account = this.accounts.get(name)
    if (account === undefined) return { _tag: "NotOpen" }
    const chain = chainOf(account)
    const stale = chain.find((each) => each.frame !== null && (each.end === null || this.now >= each.end))
    if (stale !== undefined) return { _tag: "Stale", now: this.now, row: rowOf(stale) }
    const never = chain.find((each) => least > limitOf(each) - (each.frame === null ? each.spent : 0))
    if (never !== undefined) {
      this.leave(id)
      return { _tag: "Short", now: this.now, row: rowOf(never), hopeless: true }
    }
    let ticket: number | undefined
    if (place !== null) {
      ticket =
        chain.map((each) => each.line.get(id)?.ticket).find((each) => each !== undefined) ?? ++this.tickets
    }
    const blocker = chain.find(
      (each) =>
        each.paused ||
        room(each) < least ||
        (ticket !== undefined &&
          Array.from(each.line.values()).some((other) => other.ticket < ticket && other.until > this.now))
    )
    if (blocker !== undefined) {
      if (ticket !== undefined && place !== null) {
        this.leave(id)
        blocker.line.set(id, { ticket, until: this.now + place })
      }
      const row = rowOf(blocker)
      return blocker.paused
        ? { _tag: "Paused", now: this.now, row }
        : { _tag: "Short", now: this.now, row, hopeless: false }
    }
    this.leave(id)
    const least0 = Math.min(...chain.map(room))
    const amount = Usd.nanos(
      least === most ? least : Math.max(least, Math.min(most, Math.floor(least0 * share)))
    )
    for (const each of chain) each.reserved += amount
    const expiresAt = this.now + ask.lease
    const row = { id, account: name, amount, at: this.now, expiresAt }
    const links = linked(account)
    this.reservations.set(id, {
      row,
      fingerprint: ask.fingerprint,
      chain: links,
      expiresAt,
      state: "held",
      ending: undefined
    })
    this.write<EntryOf<"Reserved">>({
      _tag: "Reserved",
      at: this.now,
      account: name,
      chain: linksOf(links),
      reservation: id,
      reserved: amount,
      limits: chain.map((each) => (each.limit === null ? null : Usd.nanos(each.limit))),
      expiresAt
    })
    return { _tag: "Granted", held: row }
  }

  roll(name: string, frame: string, start: number, end: number): void {
    const account = this.accounts.get(name)
    if (account === undefined || account.frame !== frame) return
    if (account.end !== null && this.now < account.end) return
    if (!(start <= this.now && this.now < end)) return
    Object.assign(account, { start: Math.max(start, account.end ?? start), end, spent: 0, reserved: 0 })
  }

  /** The accounts whose numbers an ending changes: those that are still in the window that admitted it. */
  current(held: Reservation): ReadonlyArray<Account> {
    return held.chain.flatMap(({ account, window }) => (account.start === window ? [account] : []))
  }

  end({ amount: cost, id, label, verdict }: Store.EndAsk): Store.EndAnswer {
    const amount = verdict === "released" ? 0 : cost
    const held = this.reservations.get(id)
    if (held === undefined) return { _tag: "Unknown" }
    const { ending, row } = held
    if (ending !== undefined) {
      const isSame =
        ending._tag === "Released"
          ? verdict === "released"
          : ending.amount === amount && ending.verdict === verdict
      return isSame
        ? { _tag: "Ended", entry: ending, crossed: [], again: true }
        : { _tag: "Differs", entry: ending }
    }
    const reserved = row.amount
    const accounts = this.current(held)
    if (accounts.some((each) => !Number.isSafeInteger(each.spent + each.reserved - reserved + amount))) {
      return { _tag: "OutOfRange" }
    }
    const wasExpired = held.state === "expired"
    held.state = "ended"
    const common = {
      at: this.now,
      account: row.account,
      chain: linksOf(held.chain),
      reservation: id,
      reserved
    }
    const charge = {
      amount: Usd.nanos(amount),
      overrun: Usd.nanos(Math.max(0, amount - reserved)),
      label
    }
    const [entry, crossed] = this.changing(accounts, () => {
      for (const each of accounts) {
        each.spent += wasExpired ? amount - reserved : amount
        each.reserved -= wasExpired ? 0 : reserved
      }
      if (wasExpired) {
        const difference = Usd.nanos(amount - reserved)
        return this.write<EntryOf<"Corrected">>({
          _tag: "Corrected",
          ...common,
          ...charge,
          charged: reserved,
          difference,
          verdict
        })
      }
      return verdict === "released"
        ? this.write<EntryOf<"Released">>({ _tag: "Released", ...common })
        : this.write<EntryOf<"Settled">>({ _tag: "Settled", ...common, ...charge, verdict })
    })
    held.ending = entry
    return { _tag: "Ended", entry, crossed, again: false }
  }

  cancel(id: string): void {
    this.leave(id)
    if (this.reservations.get(id)?.state === "held") {
      this.end({ id, amount: 0, verdict: "released", label: null })
    } else if (!this.reservations.has(id)) this.cancelled.add(id)
  }

  renew(ids: ReadonlyArray<string>, lease: number) {
    return ids.flatMap((id) => {
      const held = this.reservations.get(id)
      if (held?.state !== "held") return []
      held.expiresAt = this.now + lease
      return [{ id, expiresAt: held.expiresAt }]
    })
  }

  expire(most: number): ReadonlyArray<Entry> {
    const due = Array.from(this.reservations.values())
      .filter((held) => held.state === "held" && held.expiresAt <= this.now)
      .sort((one, other) => one.expiresAt - other.expiresAt)
      .slice(0, most)
    return due.flatMap((held) => {
      const { account, amount, id } = held.row
      const accounts = this.current(held)
      held.state = "expired"
      const [entry, crossed] = this.changing(accounts, () => {
        for (const each of accounts) {
          each.spent += amount
          each.reserved -= amount
        }
        const chain = linksOf(held.chain)
        const common = { at: this.now, account, chain, reservation: id, reserved: amount }
        return this.write<EntryOf<"Expired">>({ _tag: "Expired", ...common, amount })
      })
      return [entry, ...crossed]
    })
  }

  setLimit(name: string, limit: Usd.Usd | null): ReadonlyArray<Entry> | null {
    const account = this.accounts.get(name)
    if (account === undefined) return null
    const from = rowOf(account).limit
    if (from === limit) return []
    const [entry, crossed] = this.changing([account], () => {
      account.limit = limit
      const chain = linksOf(linked(account))
      return this.write<Entry>({ _tag: "LimitChanged", at: this.now, account: name, chain, from, to: limit })
    })
    return [entry, ...crossed]
  }

  pause(name: string, paused: boolean): ReadonlyArray<Entry> | null {
    const account = this.accounts.get(name)
    if (account === undefined) return null
    if (account.paused === paused) return []
    account.paused = paused
    const _tag = paused ? "Paused" : "Resumed"
    return [this.write<Entry>({ _tag, at: this.now, account: name, chain: linksOf(linked(account)) })]
  }

  stay(ids: ReadonlyArray<string>, place: number): void {
    for (const account of this.accounts.values()) {
      for (const id of ids) {
        const mine = account.line.get(id)
        if (mine !== undefined) mine.until = this.now + place
      }
    }
  }

  balances(account: string | null) {
    const found = Array.from(this.accounts.values(), rowOf)
    return { now: this.now, rows: account === null ? found : found.filter((row) => row.account === account) }
  }

  entries({ account, after, from, size, to }: Store.EntriesAsk): ReadonlyArray<Entry> {
    return this.written
      .filter(
        (entry) =>
          entry.seq > after &&
          (account === null || entry.chain.some((link) => link.account === account)) &&
          (from === null || entry.at >= from) &&
          (to === null || entry.at < to)
      )
      .slice(0, size)
  }
}

/** A store of its own books, whose clock runs `skew` milliseconds before that of its callers, or is one of its own. */
export const make = (
  skew = 0,
  clock: Effect.Effect<number> = Effect.map(Clock.currentTimeMillis, (now) => now + skew)
): ReferenceStore => {
  const books = new Books()
  const step = <A>(now: number, take: (verbs: Stepped.Verbs) => A): A => {
    books.now = now
    return take(books)
  }
  return { ...Stepped.make({ verbs: books, step }, clock), written: books.written }
}
