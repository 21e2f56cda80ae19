/**
 * Both theorems, checked from outside: what the books say is played back account by account, and each ending is held
 * against the bill of the provider. Nothing here asks the ledger what it thinks is right.
 */
import type { Budget, Ledger } from "agent-budget"
import { fromWindow } from "../../src/internal/ledgerWindows.ts"
import type { Attempt } from "./attempt.ts"
import type { Coverage } from "./coverage.ts"

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
  readonly sums: ReadonlyArray<Sums>
  /** The window of the root that it counts in. */
  readonly window: number | null
  state: "held" | "expired" | "ended"
  ended: Ended | undefined
}

/** What a balance and a row of a store have in common. */
export interface Numbers {
  readonly account: string
  readonly spent: number
  readonly reserved: number
  readonly limit: number | null
  readonly windowStart: number | null
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
  /** The windows of those accounts that have some. */
  readonly frames: ReadonlyMap<string, Ledger.Window>
  readonly told: (line: string) => void
  /** The clock of the books was set back: they stay in the window that had begun, until it ends. */
  wasSetBack = false
  seq = 0

  constructor(coverage: Coverage, frames: ReadonlyMap<string, Ledger.Window>, told: (line: string) => void) {
    this.coverage = coverage
    this.frames = frames
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
  }

  /** Plays the entries that are new. */
  take(entries: ReadonlyArray<Ledger.Entry>): void {
    for (const entry of entries.slice(this.seq)) {
      this.seq++
      this.claim(entry.seq === this.seq, () => `entry ${entry.seq} is at ${this.seq}`)
      this.play(entry)
    }
  }

  play(entry: Ledger.Entry): void {
    const { account } = entry
    const known = this.accounts.get(account)
    if (entry._tag === "Opened") {
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
      known.limit = entry.to
    } else if (entry._tag === "Paused") known.paused = true
    else if (entry._tag === "Resumed") known.paused = false
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

  /** Whether a window that an admission counts in is the one that it was made in. */
  isIn(window: number | null, account: string, at: number): boolean {
    const frame = this.frames.get(account)
    if (frame === undefined) return window === null
    if (window === null) return false
    const span = fromWindow(frame)
    if (typeof span === "string") return false
    const { end, start } = span.at(span.rolls || this.wasSetBack ? window : at)
    return start === window && (start <= at || this.wasSetBack) && at < end
  }

  /** No window that has ended begins once more, whatever a clock says. */
  follow(window: number | null, account: string): void {
    const known = this.accounts.get(account)
    if (known === undefined || window === null) return
    this.claim(window >= known.latest, () => `${account} went back to ${window} from ${known.latest}`)
    known.latest = window
  }

  admit(entry: Extract<Ledger.Entry, { _tag: "Reserved" }>): void {
    const { account, limits, reservation, reserved, seq } = entry
    const name = `#${this.reservations.size + 1}`
    this.claim(!this.reservations.has(reservation), () => `entry ${seq}: ${name} is admitted twice`)
    const sums = chainOf(account).map((each, index) => {
      const at = this.sumsOf(entry, each)
      at.reserved += BigInt(reserved)
      const window = entry.chain.find((link) => link.account === each)?.window ?? null
      this.claim(this.isIn(window, each, entry.at), () => `${name}: counts in ${String(window)} of ${each}`)
      this.follow(window, each)
      const { limit = null, paused = false } = this.accounts.get(each) ?? {}
      const used = at.spent + at.reserved
      this.claim(
        limit === null || used <= BigInt(limit),
        () => `${name}: ${each} at ${used} of ${String(limit)}`
      )
      this.claim(limits[index] === limit, () => `${name}: ${each} was judged by ${String(limits[index])}`)
      this.claim(!paused, () => `${name}: ${each} was paused`)
      return at
    })
    const window = entry.chain.find((link) => link.account === "root")?.window ?? null
    this.reservations.set(reservation, {
      name,
      amount: reserved,
      sums,
      window,
      state: "held",
      ended: undefined
    })
    this.told(`${name} holds ${reserved} on ${account} for ${this.callers.get(reservation) ?? "nobody yet"}`)
  }

  expire({ amount, reservation, reserved }: Extract<Ledger.Entry, { _tag: "Expired" }>): void {
    const held = this.reservations.get(reservation)
    if (held === undefined || held.state !== "held") {
      this.fault(`${held?.name ?? "what nobody held"} expired and was ${held?.state ?? "unknown"}`)
      return
    }
    this.coverage.met("expiries")
    this.told(`${held.name} expires at ${amount}`)
    this.claim(amount === held.amount && reserved === held.amount, () => `${held.name} expired at ${amount}`)
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
      this.claim(BigInt(amount) === attempt.bill, () => `${what}: not what was billed`)
      this.claim(BigInt(overrun) === (over > 0n ? over : 0n), () => `${what}: an overrun of ${overrun}`)
      if (overrun > 0 && !isFinal) this.coverage.met("overruns")
      if (attempt.left && !isFinal) this.coverage.met("metered after leaving")
    } else if (verdict === "assumed") {
      this.claim(amount === held.amount, () => `${what}: not the whole reservation`)
      this.claim(!(attempt.told && attempt.read && !attempt.left), () => `${what}: its bill was read`)
      this.claim(!attempt.provenFree || attempt.left, () => `${what}: it was free`)
    } else {
      this.claim(attempt.bill === 0n, () => `${what}: paid, and given back`)
      this.claim(attempt.arrivals === 0 || attempt.provenFree, () => `${what}: sent, and given back`)
    }
  }

  /** The numbers that the ledger shows, against those that follow from its entries. */
  compare(shown: ReadonlyArray<Numbers>): void {
    for (const { account, limit, reserved, spent, windowStart } of shown) {
      const known = this.accounts.get(account)
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
   * have come to one, by that clock, that nobody else has: what it says is that of a window of its own calls, or nothing.
   */
  compareSummary({ overrun, reserved, spent }: Budget.Summary, now: number): void {
    const own = Array.from(this.reservations).flatMap(([id, held]) => {
      const attempt = this.attempts.get(this.callers.get(id) ?? "")
      return attempt === undefined || attempt.byHand ? [] : [held]
    })
    const sumsIn = (latest: number | undefined): string => {
      const sums = { spent: 0, reserved: 0, overrun: 0 }
      for (const held of own) {
        const isCurrent = this.isIn(held.window, "root", now) && (held.window ?? latest) === latest
        if (held.ended === undefined) sums.reserved += isCurrent ? held.amount : 0
        else {
          const outcome = outcomeOf(held.ended)
          sums.spent += isCurrent ? outcome.amount : 0
          sums.overrun += outcome.overrun
        }
      }
      return JSON.stringify(sums)
    }
    const shown = JSON.stringify({ spent, reserved, overrun })
    const asBooked = sumsIn(this.accounts.get("root")?.latest)
    const ofOwn = Math.max(...own.map(({ window }) => window ?? -Infinity))
    const others = this.wasSetBack ? [sumsIn(ofOwn), sumsIn(Infinity)] : []
    this.claim([asBooked, ...others].includes(shown), () => `the summary says ${shown}, not ${asBooked}`)
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
