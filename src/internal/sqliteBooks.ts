/**
 * The verbs of a store as plain functions on one connection to a SQLite file. Each runs inside a transaction that
 * nobody else can write in; what it has read cannot change before it writes. See `ledgerStore` for what they promise.
 */
import type { DatabaseSync } from "node:sqlite"
import type * as Usd from "../Usd.ts"
import * as Store from "./ledgerStore.ts"
import type { Entry, EntryOf, Link } from "./ledgerTypes.ts"
import * as Rows from "./sqliteRows.ts"
import { statements } from "./sqliteStatements.ts"

/** How long a place that has lapsed keeps its ticket, in milliseconds: far longer than anybody waits. */
const forgotten = 30 * 86_400_000

/** Who an account is to the temporary one above it, which it keeps open. */
const below = (id: number | bigint): string => `below ${id}`

/** The books on one connection. */
export class SqliteBooks {
  readonly #sql: ReturnType<typeof statements>
  readonly #clock: () => number
  #now = 0
  #seq = 0
  #ticket = 0
  #mustKeepMeta = false

  /** `clock` is the machine's, in milliseconds of the epoch. */
  constructor(database: DatabaseSync, clock: () => number) {
    this.#sql = statements((sql) => database.prepare(sql))
    this.#clock = clock
  }

  /** Before the steps of a transaction: what time it is, and where the books end. */
  begin(): void {
    const { at, clock, seq, ticket } = this.#sql.state.one()
    this.#now = Math.max(this.#clock(), clock, at)
    this.#seq = seq
    this.#ticket = ticket
    this.#mustKeepMeta = false
  }

  /** After them. An entry keeps the time by itself. */
  finish(): void {
    if (this.#mustKeepMeta) this.#sql.setMeta.run(this.#now, this.#ticket)
  }

  // Verbs.

  open(ask: Store.OpenAsk): Store.OpenAnswer {
    const parent = ask.parent === null ? undefined : this.#sql.account.get(ask.parent)
    if (ask.parent !== null && parent === undefined) return { _tag: "NoParent" }
    const row = this.#sql.account.get(ask.account)
    if (row === undefined) return this.#create(ask, parent)
    if (
      parent?.id !== Rows.ancestorsOf(row)[0]?.[1] ||
      (ask.limit !== undefined && ask.limit !== row.cap) ||
      (ask.frame !== undefined && ask.frame !== row.frame)
    ) {
      return { _tag: "Differs", row: Rows.rowOf(row) }
    }
    if (row.temporary !== 0 && ask.opener === null) {
      this.#sql.clearOpeners.run(row.id)
      this.#sql.keep.run(row.id)
    } else if (row.temporary !== 0) this.#sql.addOpener.run(row.id, ask.opener)
    if (ask.thresholds !== undefined) this.#sql.setThresholds.run(JSON.stringify(ask.thresholds), row.id)
    return { _tag: "Opened" }
  }

  #create(ask: Store.OpenAsk, parent: Rows.AccountData | undefined): Store.OpenAnswer {
    const above = parent === undefined ? [] : [[parent.name, parent.id], ...Rows.ancestorsOf(parent)]
    const { lastInsertRowid } = this.#sql.addAccount.run(
      ask.account,
      ask.parent,
      JSON.stringify(above),
      above.length,
      ask.limit ?? null,
      ask.frame ?? null,
      JSON.stringify(ask.thresholds ?? []),
      ask.opener === null ? 0 : 1
    )
    if (ask.opener !== null) this.#sql.addOpener.run(lastInsertRowid, ask.opener)
    if (parent?.temporary === 1) this.#sql.addOpener.run(parent.id, below(lastInsertRowid))
    const links = [
      { account: ask.account, window: null },
      ...(parent === undefined ? [] : this.#current(parent))
    ]
    this.#book({ _tag: "Opened", account: ask.account, chain: links, limit: ask.limit ?? null })
    return { _tag: "Opened" }
  }

  close(
    account: string,
    opener: string | null
  ): { readonly now: number; readonly row: Store.AccountRow } | null {
    const row = this.#sql.account.get(account)
    if (row === undefined) return null
    if (opener !== null) this.#withdraw(row, opener)
    return { now: this.#now, row: Rows.rowOf(row) }
  }

  /** With its last opener an account goes, and opens the one above it no more. */
  #withdraw(row: Rows.AccountData, opener: string): void {
    if (row.temporary === 0) return
    this.#sql.removeOpener.run(row.id, opener)
    if (this.#sql.anyOpener.get(row.id) !== undefined) return
    this.#sql.clearLine.run(row.id)
    this.#sql.removeAccount.run(row.id)
    const [above] = Rows.ancestorsOf(row)
    const parent = above === undefined ? undefined : this.#sql.accountById.get(above[1])
    if (parent !== undefined) this.#withdraw(parent, below(row.id))
  }

  reserve(ask: Store.ReserveAsk): Store.ReserveAnswer {
    const known = this.#sql.reservation.get(ask.id)
    if (known !== undefined) return Rows.repeated(known, ask)
    const own = this.#sql.account.get(ask.account)
    if (own === undefined) return { _tag: "NotOpen" }
    const now = this.#now
    const chain = [own, ...Rows.ancestorsOf(own).map(([, id]) => this.#sql.accountById.get(id))]
    const open = chain.filter((row) => row !== undefined)
    const stale = open.find((row) => Rows.isStale(row, now))
    if (stale !== undefined) return { _tag: "Stale", now, row: Rows.rowOf(stale) }
    const never = open.find((row) => ask.least > Rows.capOf(row) - (row.frame === null ? row.spent : 0))
    if (never !== undefined) {
      this.leave(ask.id)
      return { _tag: "Short", now, row: Rows.rowOf(never), hopeless: true }
    }
    const ticket = ask.place === null ? 0 : this.#ticketOf(ask.id)
    const blocker = open.find(
      (row) =>
        row.paused !== 0 ||
        Rows.roomOf(row) < ask.least ||
        (ask.place !== null && this.#isBehind(row, ticket))
    )
    if (blocker === undefined) return { _tag: "Granted", held: this.#grant(ask, own, chain) }
    if (ask.place !== null) this.#stand(ask.id, blocker, ticket, Rows.moment(now + ask.place))
    return blocker.paused !== 0
      ? { _tag: "Paused", now, row: Rows.rowOf(blocker) }
      : { _tag: "Short", now, row: Rows.rowOf(blocker), hopeless: false }
  }

  /** The ticket that it has, also where its place has lapsed; the next one otherwise. */
  #ticketOf(waiter: string): number {
    return this.#sql.ticket.get(waiter)?.ticket ?? this.#ticket + 1
  }

  #isBehind(row: Rows.AccountData, ticket: number): boolean {
    return this.#sql.ahead.get(row.id, ticket, this.#now) !== undefined
  }

  #stand(waiter: string, at: Rows.AccountData, ticket: number, until: number): void {
    this.#sql.stand.run(waiter, at.id, ticket, until)
    this.#mustKeepMeta = true
    if (ticket <= this.#ticket) return
    this.#ticket = ticket
    // Those who died in line leave their places behind.
    if (ticket % 64 === 0) this.#sql.clearLapsed.run(this.#now - forgotten)
  }

  stay(ids: ReadonlyArray<string>, place: number): void {
    const until = Rows.moment(this.#now + place)
    for (const id of ids) if (this.#sql.stay.run(until, id).changes > 0) this.#mustKeepMeta = true
  }

  #grant(
    ask: Store.ReserveAsk,
    own: Rows.AccountData,
    chain: ReadonlyArray<Rows.AccountData | undefined>
  ): Store.HeldRow {
    const open = chain.filter((row) => row !== undefined)
    const room = Math.min(...open.map(Rows.roomOf))
    const amount =
      ask.least === ask.most
        ? ask.least
        : Math.max(ask.least, Math.min(ask.most, Math.floor(ask.share * room)))
    for (const row of open) this.#sql.setNumbers.run(row.spent, row.reserved + amount, row.id)
    const names: ReadonlyArray<Rows.Ancestor> = [[own.name, own.id], ...Rows.ancestorsOf(own)]
    const links = names.map(([name, id], index): Rows.LinkData => [
      name,
      id,
      chain[index]?.window_start ?? null
    ])
    const at = this.#now
    const expiresAt = Rows.moment(at + ask.lease)
    const entry = this.#book({
      _tag: "Reserved",
      account: own.name,
      chain: Rows.chainOf(links),
      reservation: ask.id,
      reserved: Rows.usd(amount),
      limits: chain.map((row) => row?.cap ?? null),
      expiresAt
    })
    const json = JSON.stringify(links)
    this.#sql.hold.run(ask.id, ask.fingerprint, own.name, json, amount, at, expiresAt, entry.seq)
    this.leave(ask.id)
    return { id: ask.id, account: own.name, amount: Rows.usd(amount), at, expiresAt }
  }

  roll(account: string, frame: string, start: number, end: number): void {
    const row = this.#sql.account.get(account)
    if (row?.frame !== frame || !Rows.isStale(row, this.#now)) return
    if (start > this.#now || this.#now >= end) return
    this.#sql.roll.run(Math.max(start, row.window_end ?? start), end, row.id)
    this.#mustKeepMeta = true
  }

  leave(id: string): void {
    this.#sql.leave.run(id)
  }

  end(ask: Store.EndAsk): Store.EndAnswer {
    const row = this.#sql.reservation.get(ask.id)
    if (row === undefined || row.state === "cancelled") return { _tag: "Unknown" }
    const amount = ask.verdict === "released" ? 0 : ask.amount
    if (row.state === "held") return this.#endHeld(row, { ...ask, amount })
    if (row.state === "expired") return this.#correct(row, { ...ask, amount })
    const entry = this.#endingOf(row)
    return Rows.isSameEnd(entry, amount, ask.verdict)
      ? { _tag: "Ended", entry, crossed: [], again: true }
      : { _tag: "Differs", entry }
  }

  #endHeld(row: Rows.ReservationData, { amount, label, verdict }: Store.EndAsk): Store.EndAnswer {
    const changes = this.#plan(row, amount, 0 - row.amount)
    if (!changes.every(Rows.isInRange)) return { _tag: "OutOfRange" }
    const common = {
      account: row.account,
      chain: Rows.chainOf(Rows.linksOf(row)),
      reservation: row.id,
      reserved: row.amount
    }
    const entry =
      verdict === "released"
        ? this.#book({ _tag: "Released", ...common })
        : this.#book({
            _tag: "Settled",
            ...common,
            amount: Rows.usd(amount),
            overrun: Rows.usd(Math.max(0, amount - row.amount)),
            verdict,
            label
          })
    this.#sql.finish.run("ended", entry.seq, row.id)
    return { _tag: "Ended", entry, crossed: this.#carryOut(changes), again: false }
  }

  #correct(row: Rows.ReservationData, { amount, label, verdict }: Store.EndAsk): Store.EndAnswer {
    const difference = amount - row.amount
    const changes = this.#plan(row, difference, 0)
    if (!changes.every(Rows.isInRange)) return { _tag: "OutOfRange" }
    const entry = this.#book({
      _tag: "Corrected",
      account: row.account,
      chain: Rows.chainOf(Rows.linksOf(row)),
      reservation: row.id,
      reserved: row.amount,
      charged: row.amount,
      amount: Rows.usd(amount),
      difference: Rows.usd(difference),
      overrun: Rows.usd(Math.max(0, difference)),
      verdict,
      label
    })
    this.#sql.correct.run(entry.seq, row.id)
    return { _tag: "Ended", entry, crossed: this.#carryOut(changes), again: false }
  }

  /** The entry by which its holder ended it. */
  #endingOf(row: Rows.ReservationData): Rows.Ending {
    const found = this.#sql.entry.get(row.correction ?? row.ending)
    const entry = found === undefined ? undefined : Rows.decode(found)
    if (entry?._tag === "Settled" || entry?._tag === "Released" || entry?._tag === "Corrected") return entry
    throw new Store.StoreUnavailable({ detail: `the end of reservation ${row.id} is not in the file.` })
  }

  cancel(id: string): void {
    const row = this.#sql.reservation.get(id)
    if (row === undefined) this.#sql.forbid.run(id, this.#now)
    else if (row.state === "held") this.#endHeld(row, { id, amount: 0, verdict: "released", label: null })
    this.leave(id)
  }

  renew(
    ids: ReadonlyArray<string>,
    lease: number
  ): ReadonlyArray<{ readonly id: string; readonly expiresAt: number }> {
    const expiresAt = Rows.moment(this.#now + lease)
    const renewed = ids.filter((id) => this.#sql.renew.run(expiresAt, id).changes > 0)
    if (renewed.length > 0) this.#mustKeepMeta = true
    return renewed.map((id) => ({ id, expiresAt }))
  }

  expire(most: number): ReadonlyArray<Entry> {
    return this.#sql.due.all(this.#now, most).flatMap((row) => {
      const changes = this.#plan(row, row.amount, 0 - row.amount)
      const entry = this.#book({
        _tag: "Expired",
        account: row.account,
        chain: Rows.chainOf(Rows.linksOf(row)),
        reservation: row.id,
        reserved: row.amount,
        amount: row.amount
      })
      this.#sql.finish.run("expired", entry.seq, row.id)
      return [entry, ...this.#carryOut(changes)]
    })
  }

  setLimit(account: string, limit: Usd.Usd | null): ReadonlyArray<Entry> | null {
    const row = this.#sql.account.get(account)
    if (row === undefined) return null
    if (row.cap === limit) return []
    this.#sql.setCap.run(limit, row.id)
    const entry = this.#bookOn(row, { _tag: "LimitChanged", from: row.cap, to: limit })
    return [entry, ...this.#crossings(row, { ...row, cap: limit })]
  }

  pause(account: string, paused: boolean): ReadonlyArray<Entry> | null {
    const row = this.#sql.account.get(account)
    if (row === undefined) return null
    if ((row.paused !== 0) === paused) return []
    this.#sql.setPaused.run(paused ? 1 : 0, row.id)
    return [paused ? this.#bookOn(row, { _tag: "Paused" }) : this.#bookOn(row, { _tag: "Resumed" })]
  }

  balances(account: string | null): {
    readonly now: number
    readonly rows: ReadonlyArray<Store.AccountRow>
  } {
    const one = account === null ? undefined : this.#sql.account.get(account)
    const rows = account === null ? this.#sql.accounts.all() : one === undefined ? [] : [one]
    const { at, clock } = this.#sql.state.one()
    return { now: Math.max(this.#clock(), clock, at), rows: rows.map(Rows.rowOf) }
  }

  entries(ask: Store.EntriesAsk): ReadonlyArray<Entry> {
    const after = ask.from === null ? ask.after : Math.max(ask.after, this.#firstAt(ask.from) - 1)
    const before = ask.to === null ? Store.noLimit : this.#firstAt(ask.to)
    const found =
      ask.account === null
        ? this.#sql.page.all(after, before, ask.size)
        : this.#sql.pageOf.all(ask.account, after, before, ask.size)
    return found.map(Rows.decode)
  }

  /** The first entry at or after a Rows.moment. Time never goes back along the entries, and `seq` has no gaps. */
  #firstAt(time: number): number {
    let low = 1
    let high = this.#sql.state.one().seq + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.#sql.entry.get(middle)?.at ?? 0) < time) low = middle + 1
      else high = middle
    }
    return low
  }

  // What several verbs do.

  /** What an end changes: accounts that are there still, in the window that admitted it. */
  #plan(row: Rows.ReservationData, spent: number, reserved: number): ReadonlyArray<Rows.Change> {
    return Rows.linksOf(row).flatMap(([, id, window]) => {
      const at = this.#sql.accountById.get(id)
      if (at?.window_start !== window) return []
      return [{ row: at, spent: at.spent + spent, reserved: at.reserved + reserved }]
    })
  }

  #carryOut(changes: ReadonlyArray<Rows.Change>): ReadonlyArray<EntryOf<"ThresholdCrossed">> {
    for (const { reserved, row, spent } of changes) this.#sql.setNumbers.run(spent, reserved, row.id)
    return changes.flatMap(({ row, spent }) => this.#crossings(row, { ...row, spent: Rows.usd(spent) }))
  }

  #crossings(before: Rows.AccountData, after: Rows.AccountData): ReadonlyArray<EntryOf<"ThresholdCrossed">> {
    const limit = after.cap
    if (limit === null || after.thresholds === "[]") return []
    return Rows.thresholdsOf(after)
      .filter((each) => Rows.isReached(after, each) && !Rows.isReached(before, each))
      .map((each) =>
        this.#bookOn(after, {
          _tag: "ThresholdCrossed",
          threshold: each / Store.millionth,
          limit,
          spent: after.spent
        })
      )
  }

  /** Writes an entry that concerns an account itself, in the windows that it and its ancestors are in. */
  #bookOn<const D extends { readonly _tag: Entry["_tag"] }>(row: Rows.AccountData, draft: D) {
    return this.#book({ ...draft, account: row.name, chain: this.#current(row) })
  }

  #current(row: Rows.AccountData): ReadonlyArray<Link> {
    const above = Rows.ancestorsOf(row).map(([account, id]): Link => {
      return { account, window: this.#sql.accountById.get(id)?.window_start ?? null }
    })
    return [{ account: row.name, window: row.window_start }, ...above]
  }

  #book<const D extends { readonly account: string; readonly chain: ReadonlyArray<Link> }>(draft: D) {
    const entry = { ...draft, seq: ++this.#seq, at: this.#now }
    this.#sql.addEntry.run(entry.seq, entry.at, JSON.stringify(entry))
    for (const { account } of entry.chain) this.#sql.addPosting.run(account, entry.seq)
    return entry
  }
}
