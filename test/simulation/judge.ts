/**
 * Both theorems, checked from outside: what the books say is played back account by account, and each ending is held
 * against the bill of the provider. Nothing here asks the ledger what it thinks is right.
 */
import type { Budget, Ledger } from "agent-budget"
import type { ReserveAnswer, ReserveAsk } from "../../src/internal/ledgerStore.ts"
import type { Attempt } from "./attempt.ts"
import type { Coverage } from "./coverage.ts"
import type { Kind } from "./windows.ts"

interface Sums {
  spent: bigint
  reserved: bigint
}

interface Account {
  limit: number | null
  paused: boolean
  /** By the start of the window; nothing where there is none. */
  readonly windows: Map<number | null, Sums>
  /** The newest of them that something was admitted in. */
  latest: number
}

type Ended = Extract<Ledger.Entry, { readonly _tag: "Settled" | "Released" | "Corrected" }>

interface Reservation {
  /** By number, in the order of admission: ids are made anew in every run. */
  readonly name: string
  readonly amount: number
  readonly admission: Ledger.Entry
  readonly at: number
  /** As far as it is known here. */
  expiresAt: number
  readonly sums: ReadonlyArray<Sums>
  /** The window of the root that it counts in. */
  readonly window: number | null
  state: "held" | "expired" | "ended"
  ended: Ended | undefined
}

/** An account that has spent a part of its limit, in millionths, that it had not spent before. */
interface Crossing {
  readonly account: string
  readonly threshold: number
  readonly isSure: boolean
}

/** What a balance and a row of a store have in common. */
export interface Numbers {
  readonly account: string
  readonly spent: number
  readonly reserved: number
  readonly limit: number | null
  readonly windowStart: number | null
  readonly paused: boolean
}

/** What the judge knows of a world from its beginning on. */
export interface Terms {
  /** The windows of those accounts that have some. */
  readonly windows: ReadonlyMap<string, Kind>
  /** In millionths of the limit. */
  readonly thresholds: ReadonlyMap<string, ReadonlyArray<number>>
  /** The books go by the clock of whoever asks, and decide at once. */
  readonly isAtOnce: boolean
  /** The accounts that are opened for good. */
  readonly standing: ReadonlyArray<string>
  /** An answer whose reader goes away is read on, for so many milliseconds. */
  readonly drains: number
  /** What an account is opened with. */
  readonly limitOf: (account: string) => number | null
  /** How long a reservation lives unless it is renewed, where the books decide that alone. */
  readonly lease: number | undefined
}

/** An account and all above it, by its name. */
export const chainOf = (account: string): ReadonlyArray<string> =>
  account
    .split("/")
    .map((_, depth, parts) => parts.slice(0, depth + 1).join("/"))
    .reverse()

export class Judge {
  readonly coverage: Coverage
  readonly faults: Array<string> = []
  readonly attempts = new Map<string, Attempt>()
  /** The reservations that were asked for by an attempt. */
  readonly asked = new Map<string, Array<string>>()
  readonly callers = new Map<string, string>()
  readonly accounts = new Map<string, Account>()
  readonly reservations = new Map<string, Reservation>()
  readonly terms: Terms
  readonly told: (line: string) => void
  /** Up to when the clock of the books had gone before it was set back: they stay in the windows that had begun. */
  setBackFrom = -Infinity
  /** What a store has answered to have taken back, who asked for that, and its last entry then. */
  readonly cancelled = new Map<string, { readonly by: { readonly alive: boolean }; readonly seq: number }>()
  /** What was sent since the books were read last. */
  sent: Array<Attempt> = []
  /** The clock of the books was set ahead. */
  wasSetAhead = false
  /** The limits that somebody in charge has asked for. */
  readonly limitsAsked = new Map<string, Set<number | null>>()
  /** When something was asked for, by the clock of whoever asked. */
  readonly asks = new Set<number>()
  seq = 0
  /** What the last entry must be followed by, or may: where the window of the account had ended by then. */
  crossings: ReadonlyArray<Crossing> = []

  constructor(coverage: Coverage, terms: Terms, told: (line: string) => void) {
    this.coverage = coverage
    this.terms = terms
    this.told = told
  }

  fault(what: string): void {
    this.told(`FAULT ${what}`)
    this.faults.push(what)
  }

  claim(holds: boolean, what: () => string): void {
    if (!holds) this.fault(what())
  }

  /** Who asked for a reservation; the first who is named asked for it. */
  bind(reservation: string, caller: string): void {
    if (caller === "" || this.callers.has(reservation)) return
    this.callers.set(reservation, caller)
    this.asked.set(caller, [...(this.asked.get(caller) ?? []), reservation])
  }

  /** A request leaves for the provider: it is the only one under a reservation of its own that has not ended. */
  arrived(attempt: Attempt): void {
    attempt.arrivals++
    this.claim(attempt.arrivals === 1, () => `${attempt.id} was sent ${attempt.arrivals} times`)
    const open = (this.asked.get(attempt.id) ?? []).filter(
      (id) => this.reservations.get(id)?.state !== "ended"
    )
    this.claim(open.length >= 1, () => `${attempt.id} was sent without a reservation`)
    this.sent.push(attempt)
  }

  /** Whoever reads on for the bill of a caller who left does so until it comes, or for as long as it was told to. */
  abandoned({ id, leaving }: Attempt, now: number): void {
    const { drains } = this.terms
    if (drains === 0 || leaving === undefined) return
    this.claim(now - leaving.at >= drains, () => `${id} was left, and not read on`)
  }

  /** A store has no room for something: on the account that it names, as it stands there. */
  refused({ least, place }: ReserveAsk, answer: ReserveAnswer): void {
    if (answer._tag !== "Short") return
    const { account, frame, limit, reserved, spent } = answer.row
    if (limit === null) {
      this.claim(place !== null, () => `${account} has no limit, and no room for ${least}`)
      return
    }
    const room = limit - spent - reserved
    const most = frame === null ? limit - spent : limit
    if (room === least - 1) this.coverage.met("refused by a nano-dollar")
    const isRight = answer.hopeless ? least > most : place !== null || room < least
    this.claim(isRight, () => `${least} was refused on ${account}, which has ${room} of ${limit}`)
  }

  /** What can be reserved on an account at a time; nothing where it is closed or paused, or nobody knows. */
  roomAt(name: string, now: number): number | undefined {
    const known = this.accounts.get(name)
    if (known === undefined || known.paused || now < this.setBackFrom) return undefined
    const window = this.terms.windows.has(name) ? known.latest : null
    const sums = this.isIn(window, name, now) ? known.windows.get(window) : undefined
    const used = sums === undefined ? 0n : sums.spent + sums.reserved
    return known.limit === null ? Infinity : Number(BigInt(known.limit) - used)
  }

  /** The same on all accounts up to the root. */
  roomOn(account: string, now: number): number | undefined {
    const rooms = chainOf(account).map((name) => this.roomAt(name, now))
    return rooms.includes(undefined) ? undefined : Math.min(...rooms.filter((room) => room !== undefined))
  }

  /** Whoever waits for a window sleeps until its end, which a clock that is set ahead brings nearer behind his back. */
  lacks(name: string, amount: number, now: number): boolean {
    if (this.wasSetAhead && this.terms.windows.has(name)) return true
    return (this.roomAt(name, now) ?? -Infinity) < amount
  }

  /** Plays the entries that are new. */
  take(entries: ReadonlyArray<Ledger.Entry>): void {
    for (const entry of entries) {
      this.seq++
      this.claim(entry.seq === this.seq, () => `entry ${entry.seq} is at ${this.seq}`)
      if (entry._tag === "ThresholdCrossed") this.cross(entry)
      // Whom an end lets in may stand before what it crossed.
      else if (entry._tag === "Reserved") this.play(entry)
      else {
        this.allCrossed()
        const before = this.reached()
        this.play(entry)
        this.crossings = this.reached().flatMap((each, index) =>
          each.isReached && before[index]?.isReached === false
            ? [{ ...each, isSure: this.isSure(each.window, each.account, entry.at) }]
            : []
        )
      }
    }
    this.allCrossed()
    for (const { id } of this.sent.splice(0)) {
      const isBooked = (this.asked.get(id) ?? []).some((each) => this.reservations.has(each))
      this.claim(isBooked, () => `${id} was sent, and is not in the books`)
    }
  }

  /** Each threshold of each account that is open, and whether it has been reached in the newest of its windows. */
  reached() {
    return Array.from(this.terms.thresholds).flatMap(([account, thresholds]) => {
      const known = this.accounts.get(account)
      const { latest = -Infinity, limit = null } = known ?? {}
      const window = this.terms.windows.has(account) ? latest : null
      const spent = known?.windows.get(window)?.spent ?? 0n
      return thresholds.map((threshold) => {
        const isReached = limit !== null && spent * 1_000_000n >= BigInt(limit) * BigInt(threshold)
        return { account, threshold, window, isReached: known !== undefined && isReached }
      })
    })
  }

  /** Whether the books are in this window for certain: a clock that was set back may have ended it before. */
  isSure(window: number | null, account: string, time: number): boolean {
    return this.isIn(window, account, time) && (window === null || time >= this.setBackFrom)
  }

  cross({ account, at, chain, seq, threshold }: Extract<Ledger.Entry, { _tag: "ThresholdCrossed" }>): void {
    const others = this.crossings.filter(
      (each) => each.account !== account || each.threshold !== threshold * 1_000_000
    )
    const isDue = others.length + 1 === this.crossings.length
    const { window = null } = chain.find((link) => link.account === account) ?? {}
    // A window that nobody was admitted in yet is told by nothing else: a limit of nothing is reached in it at once.
    const isUnheard = window !== this.accounts.get(account)?.latest
    const isUnknown = this.terms.windows.has(account) && (isUnheard || at < this.setBackFrom)
    this.claim(isDue || isUnknown, () => `entry ${seq}: ${account} has not come to ${threshold} of its limit`)
    if (isDue) this.coverage.met("thresholds")
    this.crossings = others
  }

  allCrossed(): void {
    for (const { account, isSure, threshold } of this.crossings)
      this.claim(!isSure, () => `entry ${this.seq}: ${account} has come to ${threshold} millionths, untold`)
    this.crossings = []
  }

  play(entry: Ledger.Entry): void {
    const { account } = entry
    const known = this.accounts.get(account)
    if (entry._tag === "Opened") {
      const asked = this.terms.limitOf(account)
      this.claim(
        entry.limit === asked,
        () => `${account} opens at ${String(entry.limit)}, not ${String(asked)}`
      )
      this.accounts.set(account, {
        limit: entry.limit,
        paused: false,
        windows: new Map(),
        latest: -Infinity
      })
    } else if (known === undefined) this.fault(`entry ${entry.seq}: ${account} was never opened`)
    else if (entry._tag === "LimitChanged") {
      this.claim(
        known.limit === entry.from,
        () => `${account} had ${String(known.limit)}, not ${String(entry.from)}`
      )
      const isAsked = this.limitsAsked.get(account)?.has(entry.to) === true
      this.claim(isAsked, () => `${account} gets ${String(entry.to)}, which nobody asked for`)
      const isRaised = entry.to === null || (known.limit !== null && entry.to > known.limit)
      this.coverage.met(isRaised ? "raised limits" : "lowered limits")
      known.limit = entry.to
    } else if (entry._tag === "Paused") {
      this.coverage.met("pauses")
      known.paused = true
    } else if (entry._tag === "Resumed") known.paused = false
    else if (entry._tag === "Reserved") this.admit(entry)
    else if (entry._tag === "Expired") this.expire(entry)
    else if (entry._tag !== "ThresholdCrossed") this.end(entry)
  }

  sumsOf(entry: Ledger.Entry, name: string): Sums {
    const link = entry.chain.find((each) => each.account === name)
    const account = this.accounts.get(name)
    if (link === undefined || account === undefined) {
      this.fault(`entry ${entry.seq} on ${entry.account} leaves ${name} out`)
      return { spent: 0n, reserved: 0n }
    }
    const known = account.windows.get(link.window)
    if (known === undefined && account.windows.size > 0) this.coverage.met("new windows")
    const found = known ?? { spent: 0n, reserved: 0n }
    account.windows.set(link.window, found)
    return found
  }

  /** Whether a window is the one that a time is in. */
  isIn(window: number | null, account: string, time: number): boolean {
    const kind = this.terms.windows.get(account)
    if (kind === undefined) return window === null
    if (window === null) return false
    const isBehind = time < this.setBackFrom
    const { end, start } = kind.at?.(isBehind ? window : time) ?? { start: window, end: window + kind.length }
    return start === window && (start <= time || isBehind) && time < end
  }

  /** The window that an admission counts in: the last one until it ends, and then the next. */
  enter(window: number | null, account: string, time: number): void {
    const known = this.accounts.get(account)
    const kind = this.terms.windows.get(account)
    const isRight = (): boolean => {
      if (!this.isIn(window, account, time)) return false
      if (known === undefined || window === null || kind === undefined || window === known.latest) return true
      // No window that has ended begins once more, and none in one that goes on, whatever a clock says.
      if (kind.at !== undefined) return window > known.latest
      const over = known.latest + kind.length
      // Its first use is the first ask, whether or not that was admitted.
      const isLater = time < this.setBackFrom && this.asks.has(window - kind.length)
      const isUse = window === time || window === over || this.asks.has(window) || isLater
      const hasEnded = time >= over || this.setBackFrom >= over
      return hasEnded && window >= over && (isUse || !this.terms.isAtOnce)
    }
    this.claim(isRight(), () => `${account} counts in ${String(window)} at ${time}, after ${known?.latest}`)
    if (known !== undefined && window !== null) known.latest = window
  }

  admit(entry: Extract<Ledger.Entry, { _tag: "Reserved" }>): void {
    const { account, limits, reservation, reserved, seq } = entry
    const name = `#${this.reservations.size + 1}`
    this.claim(!this.reservations.has(reservation), () => `entry ${seq}: ${name} is admitted twice`)
    const sums = chainOf(account).map((each, index) => {
      const at = this.sumsOf(entry, each)
      at.reserved += BigInt(reserved)
      const window = entry.chain.find((link) => link.account === each)?.window ?? null
      this.enter(window, each, entry.at)
      const { limit = null, paused = false } = this.accounts.get(each) ?? {}
      const used = at.spent + at.reserved
      this.claim(
        limit === null || used <= BigInt(limit),
        () => `${name}: ${each} at ${used} of ${String(limit)}`
      )
      this.claim(limits[index] === limit, () => `${name}: ${each} was judged by ${String(limits[index])}`)
      this.claim(!paused, () => `${name}: ${each} was paused`)
      if (limit !== null && used === BigInt(limit)) this.coverage.met("exact fits")
      return at
    })
    const window = entry.chain.find((link) => link.account === "root")?.window ?? null
    const { lease } = this.terms
    const isRight = lease === undefined || entry.expiresAt === entry.at + lease
    this.claim(isRight, () => `${name} lives until ${String(entry.expiresAt)} from ${entry.at} on`)
    this.reservations.set(reservation, {
      name,
      amount: reserved,
      admission: entry,
      at: entry.at,
      expiresAt: entry.expiresAt ?? Infinity,
      sums,
      window,
      state: "held",
      ended: undefined
    })
    this.told(`${name} holds ${reserved} on ${account} for ${this.callers.get(reservation) ?? "nobody yet"}`)
  }

  /** An end is on the accounts, and in the windows, that the reservation was admitted on. */
  belongs(entry: Ended | Extract<Ledger.Entry, { _tag: "Expired" }>, held: Reservation): void {
    const { account, chain } = held.admission
    const isRight =
      entry.account === account &&
      entry.reserved === held.amount &&
      JSON.stringify(entry.chain) === JSON.stringify(chain)
    this.claim(isRight, () => `${held.name}: ${entry._tag} is not on what it was admitted on`)
  }

  /** A holder has renewed what it holds, at some time from one to another, by a clock that was ahead by one of these. */
  renewed(
    { expiresAt, id }: Ledger.Reservation,
    { ahead, from, to }: { readonly from: number; readonly to: number; readonly ahead: ReadonlyArray<number> }
  ): void {
    const held = this.reservations.get(id)
    const { lease } = this.terms
    this.coverage.met("renewals")
    const begins = (expiresAt ?? 0) - (lease ?? 0)
    const isRight = ahead.some((skew) => begins >= from + skew && begins <= to + skew)
    this.claim(isRight || lease === undefined, () => `a lease was renewed to ${String(expiresAt)}`)
    if (held !== undefined) held.expiresAt = expiresAt ?? Infinity
  }

  expire(entry: Extract<Ledger.Entry, { _tag: "Expired" }>): void {
    const { amount, reservation, reserved, seq } = entry
    const held = this.reservations.get(reservation)
    if (held === undefined || held.state !== "held") {
      this.fault(`${held?.name ?? "what nobody held"} expired and was ${held?.state ?? "unknown"}`)
      return
    }
    this.coverage.met("expiries")
    const isHeld = seq <= (this.cancelled.get(reservation)?.seq ?? Infinity)
    this.claim(isHeld, () => `${held.name} expired, and was taken back before`)
    this.told(`${held.name} expires at ${amount}`)
    this.claim(amount === held.amount && reserved === held.amount, () => `${held.name} expired at ${amount}`)
    this.claim(
      entry.at >= held.expiresAt,
      () => `${held.name} expired at ${entry.at}, before ${held.expiresAt}`
    )
    this.belongs(entry, held)
    held.state = "expired"
    for (const at of held.sums) {
      at.reserved -= BigInt(held.amount)
      at.spent += BigInt(amount)
    }
  }

  end(entry: Ended): void {
    const held = this.reservations.get(entry.reservation)
    const before = entry._tag === "Corrected" ? "expired" : "held"
    if (held === undefined || held.state !== before) {
      this.fault(`${held?.name ?? "what nobody held"}: ${entry._tag} and was ${held?.state ?? "unknown"}`)
      return
    }
    const { amount, verdict } = outcomeOf(entry)
    this.told(`${held.name} ends ${entry._tag} ${verdict} ${amount}`)
    const isLate = held.state === "expired"
    if (isLate) this.coverage.met("corrections")
    this.belongs(entry, held)
    if (entry._tag === "Corrected") {
      const isRight = entry.charged === held.amount && entry.difference === entry.amount - held.amount
      this.claim(isRight, () => `${held.name} is corrected by ${entry.difference} from ${entry.charged}`)
    }
    held.state = "ended"
    held.ended = entry
    for (const at of held.sums) {
      if (!isLate) at.reserved -= BigInt(held.amount)
      at.spent += BigInt(amount) - (isLate ? BigInt(held.amount) : 0n)
    }
    this.coverage.met(verdict)
    const caller = this.callers.get(entry.reservation)
    const attempt = caller === undefined ? undefined : this.attempts.get(caller)
    if (attempt === undefined) {
      this.claim(verdict === "released", () => `${held.name}, which nobody got, was ${verdict} at ${amount}`)
    } else this.judge(held, entry, attempt, false)
  }

  /** Truth: an ending against the bill, now and, when all has become quiet, once more. */
  judge(held: Reservation, entry: Ended, attempt: Attempt, isFinal: boolean): void {
    const { amount, overrun, verdict } = outcomeOf(entry)
    const what = `${held.name} of ${attempt.id}: ${verdict} ${amount} of ${held.amount}, billed ${attempt.bill}`
    const over = attempt.bill - BigInt(held.amount)
    // Those that were asked for before it, by another bound, were granted to nobody.
    const isMain = this.asked.get(attempt.id)?.at(-1) === entry.reservation
    this.claim(isMain || verdict === "released", () => `${what}: not the reservation that it was sent under`)
    if (!isMain) return
    this.claim(attempt.broken || over <= 0n, () => `${what}: the bill passed its bound`)
    if (verdict === "metered") {
      this.claim(attempt.told, () => `${what}: its usage was never told`)
      const label = entry._tag === "Released" ? null : entry.label
      const isNamed = !attempt.isRequest || label === attempt.model
      this.claim(isNamed, () => `${what}: for ${String(label)}, and ${String(attempt.model)} ran`)
      this.claim(BigInt(amount) === attempt.bill, () => `${what}: not what was billed`)
      this.claim(BigInt(overrun) === (over > 0n ? over : 0n), () => `${what}: an overrun of ${overrun}`)
      if (overrun > 0 && !isFinal) this.coverage.met("overruns")
      if (attempt.isRequest && over <= 0n && attempt.bill * 20n >= BigInt(held.amount) * 19n)
        this.coverage.met("bills near their bound")
      if (attempt.left && !isFinal) this.coverage.met("metered after leaving")
      if (attempt.readAfter !== undefined && !isFinal && attempt.leaving !== undefined)
        this.coverage.met(`read on: ${attempt.leaving.how}`)
    } else if (verdict === "assumed") {
      this.claim(amount === held.amount, () => `${what}: not the whole reservation`)
      this.claim(!(attempt.told && attempt.read && !attempt.left), () => `${what}: its bill was read`)
      this.claim(!attempt.provenFree || attempt.left, () => `${what}: it was free`)
      const isInTime = attempt.readAfter !== undefined && attempt.readAfter < this.terms.drains
      this.claim(!isInTime || isFinal, () => `${what}: its bill was told to whoever read on`)
    } else {
      this.claim(attempt.bill === 0n, () => `${what}: paid, and given back`)
      this.claim(attempt.arrivals === 0 || attempt.provenFree, () => `${what}: sent, and given back`)
    }
  }

  /** The numbers that the ledger shows, against those that follow from its entries. */
  compare(shown: ReadonlyArray<Numbers>): void {
    for (const account of this.terms.standing) {
      const isShown = shown.some((each) => each.account === account)
      this.claim(isShown || !this.accounts.has(account), () => `${account} is open, and not shown`)
    }
    for (const { account, limit, paused, reserved, spent, windowStart } of shown) {
      const known = this.accounts.get(account)
      this.claim(known?.paused === paused, () => `${account} is shown as ${paused ? "" : "not "}paused`)
      const sums = known?.windows.get(windowStart) ?? { spent: 0n, reserved: 0n }
      this.claim(
        sums.spent === BigInt(spent) && sums.reserved === BigInt(reserved) && known?.limit === limit,
        () =>
          `${account} shows ${spent} and ${reserved} of ${String(limit)}; ` +
          `the entries say ${sums.spent} and ${sums.reserved} of ${String(known?.limit)}`
      )
    }
  }

  /**
   * What the summary of a budget says at a time, against its calls: those of the only one over these books, in the
   * window of that time. Where a clock was set back, the budget may not have heard of a window that others came to, or
   * have come to one, by that clock, that nobody else has: what it says is that of a window of its own calls, or nothing,
   * and what was reserved at a time before the window that it counts in may be left out.
   */
  compareSummary(summary: Budget.Summary, now: number): void {
    const { byModel, calls, limit, overrun, remaining, reserved, spent } = summary
    const rootLimit = this.accounts.get("root")?.limit
    this.claim(
      limit === rootLimit && remaining === limit - spent - reserved,
      () => `the summary says ${remaining} of ${limit} remain, and the limit is ${String(rootLimit)}`
    )
    const own = Array.from(this.reservations).flatMap(([id, held]) => {
      const attempt = this.attempts.get(this.callers.get(id) ?? "")
      return attempt === undefined || attempt.byHand ? [] : [held]
    })
    // When a window began that begins with its first use is told by the charge of a call in it. So may one be that a clock
    // has opened which was then set back.
    const isBehind = now < this.setBackFrom
    const isRolling = this.terms.windows.get("root")?.at === undefined
    const heardOf = Math.max(
      ...own.map(({ ended, window }) =>
        ended === undefined || outcomeOf(ended).verdict === "released" ? -Infinity : (window ?? -Infinity)
      )
    )
    const sumsIn = (latest: number | undefined, isLate = true, isUntold = isRolling): string => {
      const sums = { spent: 0, reserved: 0, overrun: 0 }
      for (const held of own) {
        const isCurrent = this.isIn(held.window, "root", now) && (held.window ?? latest) === latest
        const isUnheard = isUntold && held.window !== null && held.window > heardOf
        const isHeld = (isCurrent || isUnheard) && (isLate || held.at >= (held.window ?? 0))
        if (held.ended === undefined) sums.reserved += isHeld ? held.amount : 0
        else {
          const outcome = outcomeOf(held.ended)
          sums.spent += isCurrent ? outcome.amount : 0
          sums.overrun += outcome.overrun
        }
      }
      return JSON.stringify(sums)
    }
    const shown = JSON.stringify({ spent, reserved, overrun })
    const asBookedIn = this.accounts.get("root")?.latest
    const asBooked = sumsIn(asBookedIn)
    const ofOwn = Math.max(...own.map(({ window }) => window ?? -Infinity))
    const wasSetBack = this.setBackFrom > -Infinity
    const windows = isBehind ? [asBookedIn, ofOwn, heardOf, Infinity] : wasSetBack ? [asBookedIn] : []
    const others = windows.flatMap((latest) =>
      [isRolling, isRolling || isBehind].flatMap((isUntold) => [
        sumsIn(latest, true, isUntold),
        sumsIn(latest, false, isUntold)
      ])
    )
    this.claim([asBooked, ...others].includes(shown), () => `the summary says ${shown}, not ${asBooked}`)
    const shownModels = Object.entries(byModel).map(
      ([model, { assumed, calls, spent }]) => `${model}: ${calls} ${spent} ${assumed}`
    )
    const models = new Map<string, { calls: number; spent: number; assumed: number }>()
    for (const { ended } of own) {
      if (ended === undefined || ended._tag === "Released") continue
      const { amount, verdict } = outcomeOf(ended)
      if (verdict === "released") continue
      const label = ended.label ?? "effect"
      const sum = models.get(label) ?? { calls: 0, spent: 0, assumed: 0 }
      models.set(label, sum)
      sum.calls++
      sum.spent += amount
      if (verdict === "assumed") sum.assumed += amount
    }
    const bookedModels = Array.from(
      models,
      ([model, { assumed, calls, spent }]) => `${model}: ${calls} ${spent} ${assumed}`
    )
    const bookedCalls = Array.from(models.values()).reduce((sum, each) => sum + each.calls, 0)
    this.claim(
      shownModels.sort().join() === bookedModels.sort().join() && calls === bookedCalls,
      () => `the summary says ${calls} calls, ${shownModels.join()}; booked were ${bookedModels.join()}`
    )
  }

  /** When all has become quiet: what is still held, and every ending by what is known now. */
  conclude(mayHold: (attempt: string) => boolean): void {
    for (const [id, held] of this.reservations) {
      const caller = this.callers.get(id) ?? ""
      const attempt = this.attempts.get(caller)
      if (held.state === "held") {
        this.claim(mayHold(caller), () => `${held.name} of ${caller} is held for ever`)
      } else if (attempt !== undefined && held.ended !== undefined)
        this.judge(held, held.ended, attempt, true)
      const isKnown = this.cancelled.get(id)?.by.alive === true
      this.claim(
        held.state !== "expired" || !isKnown,
        () => `${held.name} of ${caller} is charged, and its process knows that nobody got it`
      )
      const isMain = this.asked.get(caller)?.at(-1) === id
      if (attempt !== undefined && held.state !== "ended" && isMain && attempt.arrivals > 0) {
        const isCovered = attempt.broken || attempt.bill <= BigInt(held.amount)
        this.claim(
          isCovered,
          () => `${held.name} of ${caller}: ${attempt.bill} billed of ${held.amount} held`
        )
      }
    }
    for (const [id, attempt] of this.attempts) {
      const isPaid =
        attempt.arrivals > 0 && !(this.asked.get(id) ?? []).some((each) => this.reservations.has(each))
      this.claim(!isPaid, () => `${id} was sent, and is not in the books`)
    }
  }
}

const outcomeOf = (
  entry: Ended
): { amount: number; overrun: number; verdict: "metered" | "assumed" | "released" } => {
  if (entry._tag === "Released") return { amount: 0, overrun: 0, verdict: "released" }
  const { amount, overrun, verdict } = entry
  return { amount, overrun, verdict }
}
