/**
 * The invariants of a ledger, as pure predicates over what it shows: balances and entries. Each answers what is
 * wrong, in words; nothing when it holds. Sums are bigints, so that they cannot be wrong in the way that the engine
 * could be.
 *
 * `audit` reads a ledger and checks all of it. An engine that writes its admissions (every one that outlives its
 * process; the memory engine with `admissions: true`) is checked against the limits that were in force at each.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as BudgetError from "./BudgetError.ts"
import type * as Ledger from "./Ledger.ts"

/**
 * What is wrong, in words; empty when nothing is.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const none: LedgerAudit.Findings = LedgerAudit.inOrder([])
 * console.log(none.length) // 0
 * ```
 *
 * @since 0.1.0
 */
export type Findings = ReadonlyArray<string>

const sum = (amounts: Iterable<number>): bigint => {
  let total = 0n
  for (const amount of amounts) total += BigInt(amount)
  return total
}

/**
 * Nothing is negative that cannot be, and the numbers of each balance agree with each other.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const ledger = await Effect.runPromise(Ledger.makeMemory())
 * await Effect.runPromise(ledger.open({ account: "root", limit: Usd.dollars("1") }))
 * const balance = await Effect.runPromise(ledger.balance("root"))
 * console.log(LedgerAudit.balancesAddUp([balance])) // []
 * console.log(LedgerAudit.balancesAddUp([{ ...balance, spent: Usd.nanos(5) }]))
 * ```
 *
 * @since 0.1.0
 */
export const balancesAddUp = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, available, limit, reserved, spent }) => [
    ...(spent < 0 || reserved < 0 ? [`${account}: spent ${spent}, reserved ${reserved}`] : []),
    ...((limit === null) !== (available === null) ||
    (limit !== null &&
      available !== null &&
      BigInt(available) !== BigInt(limit) - BigInt(spent) - BigInt(reserved))
      ? [`${account}: available ${available} of limit ${limit}`]
      : [])
  ])

/**
 * No account holds and has spent more than its limit. Only overruns and lowered limits may break this.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * console.log(LedgerAudit.withinLimits([])) // []
 * ```
 *
 * @since 0.1.0
 */
export const withinLimits = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap(({ account, limit, reserved, spent }) =>
    limit !== null && sum([spent, reserved]) > BigInt(limit)
      ? [`${account}: spent ${spent} + reserved ${reserved} > limit ${limit}`]
      : []
  )

/**
 * A parent's numbers hold those of its open children; what closed ones spent may come on top. Accounts in windows are
 * passed over, since a child's window is not its parent's.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * console.log(LedgerAudit.parentsHoldChildren([])) // []
 * ```
 *
 * @since 0.1.0
 */
export const parentsHoldChildren = (balances: ReadonlyArray<Ledger.Balance>): Findings =>
  balances.flatMap((parent) => {
    if (parent.windowStart !== null) return []
    const children = balances.filter(
      (balance) => balance.parent === parent.account && balance.windowStart === null
    )
    return (["spent", "reserved"] as const).flatMap((what) => {
      const below = sum(children.map((child) => child[what]))
      return below > BigInt(parent[what]) ? [`${parent.account}: ${what} ${parent[what]} < ${below}`] : []
    })
  })

/**
 * Entries count up by one, from `first` (1 unless said).
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const at = (seq: number) => ({ _tag: "Paused" as const, seq, at: 0, account: "root", chain: [] })
 * console.log(LedgerAudit.inOrder([at(1), at(3)])) // [ 'entry 3 at 1, not 2' ]
 * ```
 *
 * @since 0.1.0
 */
export const inOrder = (entries: ReadonlyArray<Ledger.Entry>, first = 1): Findings =>
  entries.flatMap((entry, index) =>
    entry.seq === first + index ? [] : [`entry ${entry.seq} at ${index}, not ${first + index}`]
  )

/**
 * A reservation ends once. An expiry and its one correction are the only second end there is. An id of a caller's whose
 * reservation nobody got, and that was released so, may be admitted anew (in the memory engine).
 *
 * @example
 * ```ts
 * import { Usd } from "agent-budget"
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const released = (seq: number) =>
 *   ({ _tag: "Released" as const, seq, at: 0, account: "root", chain: [], reservation: "7", reserved: Usd.zero })
 * console.log(LedgerAudit.endedOnce([released(1), released(2)])) // [ 'reservation 7: Released after Released' ]
 * ```
 *
 * @since 0.1.0
 */
export const endedOnce = (entries: ReadonlyArray<Ledger.Entry>): Findings => ends(entries, false)

/** Without the first entries, or without admissions, whatever comes first of a reservation may follow what was not read. */
const ends = (entries: ReadonlyArray<Ledger.Entry>, isPart: boolean): Findings => {
  const last = new Map<string, string>()
  return entries.flatMap((entry) => {
    if (!("reservation" in entry)) return []
    const { _tag, reservation } = entry
    const before = last.get(reservation)
    last.set(reservation, _tag)
    if (isPart && before === undefined) return []
    // Without its admission an end may come first: not every engine writes those. A correction never does.
    const isSound =
      _tag === "Corrected"
        ? before === "Expired"
        : before === undefined || (_tag === "Reserved" ? before === "Released" : before === "Reserved")
    return isSound ? [] : [`reservation ${reservation}: ${_tag} after ${before ?? "nothing"}`]
  })
}

/** Where every admission was read, nothing ends that was not admitted. */
const endedWithoutAdmission = (entries: ReadonlyArray<Ledger.Entry>): Findings => {
  const admitted = new Set<string>()
  return entries.flatMap((entry) => {
    if (!("reservation" in entry)) return []
    const { _tag, reservation } = entry
    if (_tag === "Reserved") admitted.add(reservation)
    return admitted.has(reservation) || _tag === "Corrected"
      ? []
      : [`reservation ${reservation}: ${_tag} without its admission`]
  })
}

type OfReservation = Extract<Ledger.Entry, { readonly reservation: string }>

type Chain = Ledger.Entry["chain"]

const hasSameAccounts = (one: Chain, other: Chain): boolean =>
  one.length === other.length && one.every(({ account }, index) => account === other[index]?.account)

const isSameChain = (one: Chain, other: Chain): boolean =>
  hasSameAccounts(one, other) && one.every(({ window }, index) => window === other[index]?.window)

/** All that is booked of a reservation is of the amount, the account and the windows that its first entry names. */
const sameThroughout = (entries: ReadonlyArray<Ledger.Entry>): Findings => {
  const firsts = new Map<string, OfReservation>()
  return entries.flatMap((entry) => {
    if (!("reservation" in entry)) return []
    const { _tag, account, chain, reservation, reserved, seq } = entry
    const first = firsts.get(reservation)
    if (first === undefined || _tag === "Reserved") {
      firsts.set(reservation, entry)
      return []
    }
    return [
      ...(reserved === first.reserved
        ? []
        : [`entry ${seq} (${_tag}): reserved ${reserved}, and ${first.reserved} in entry ${first.seq}`]),
      ...(account === first.account && isSameChain(chain, first.chain)
        ? []
        : [`entry ${seq} (${_tag}): it counts for other accounts or windows than entry ${first.seq}`])
    ]
  })
}

/**
 * Each entry says the truth of itself: nothing is negative, an overrun is what passed the reservation, an expiry
 * charges it whole, and a correction's difference is what it says it is.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * console.log(LedgerAudit.amountsAreTrue([])) // []
 * ```
 *
 * @since 0.1.0
 */
export const amountsAreTrue = (entries: ReadonlyArray<Ledger.Entry>): Findings =>
  entries.flatMap((entry) => {
    if (!("reservation" in entry)) return []
    const found: Array<string> = []
    const claim = (holds: boolean, what: string): void => {
      if (!holds) found.push(`entry ${entry.seq} (${entry._tag}): ${what}`)
    }
    claim(entry.reserved >= 0, `reserved ${entry.reserved}`)
    if (entry._tag === "Expired")
      claim(entry.amount === entry.reserved, `${entry.amount} of ${entry.reserved}`)
    if (entry._tag === "Settled" || entry._tag === "Corrected") {
      const { amount, overrun, reserved } = entry
      claim(amount >= 0, `amount ${amount}`)
      claim(
        overrun === Math.max(0, amount - reserved),
        `overrun ${overrun}, not ${Math.max(0, amount - reserved)}`
      )
    }
    if (entry._tag === "Corrected") {
      const { amount, charged, difference, reserved } = entry
      claim(charged === reserved, `charged ${charged} of ${reserved}`)
      claim(difference === amount - charged, `difference ${difference}, not ${amount - charged}`)
    }
    return found
  })

/** What an entry adds to what was spent. */
const spentBy = (entry: Ledger.Entry): number => {
  if (entry._tag === "Settled" || entry._tag === "Expired") return entry.amount
  return entry._tag === "Corrected" ? entry.difference : 0
}

interface Numbers {
  spent: bigint
  held: bigint
}

/** An account as the entries have it. */
interface Account {
  readonly openedAt: number
  readonly chain: Chain
  limit: number | null
  isPaused: boolean
}

interface Played {
  readonly findings: Array<string>
  /** By account, then by window. */
  readonly numbers: Map<string, Map<number | null, Numbers>>
  readonly accounts: Map<string, Account>
  readonly admitted: Map<string, { readonly seq: number; held: number }>
}

const numbersOf = (played: Played, account: string, window: number | null): Numbers => {
  const windows = played.numbers.get(account) ?? new Map<number | null, Numbers>()
  played.numbers.set(account, windows)
  const found = windows.get(window) ?? { spent: 0n, held: 0n }
  windows.set(window, found)
  return found
}

const admit = (played: Played, entry: Extract<Ledger.Entry, { _tag: "Reserved" }>): void => {
  const { chain, limits, reservation, reserved, seq } = entry
  played.admitted.set(reservation, { seq, held: reserved })
  const opened = played.accounts.get(entry.account)
  if (opened !== undefined && !hasSameAccounts(chain, opened.chain)) {
    played.findings.push(`entry ${seq}: it counts for other accounts than ${entry.account} was opened under`)
  }
  for (const [index, { account, window }] of chain.entries()) {
    const numbers = numbersOf(played, account, window)
    numbers.held += BigInt(reserved)
    const limit = limits[index] ?? null
    const used = numbers.spent + numbers.held
    if (limit !== null && used > BigInt(limit)) {
      played.findings.push(`entry ${seq}: ${account} at ${used} of ${limit}`)
    }
    const known = played.accounts.get(account)
    if (known === undefined) {
      played.findings.push(`entry ${seq}: ${account} was not opened before`)
      continue
    }
    if (known.limit !== limit) {
      played.findings.push(
        `entry ${seq}: ${account} was judged by the limit ${limit}, and ${known.limit} was in force`
      )
    }
    if (known.isPaused) played.findings.push(`entry ${seq}: ${account} was paused`)
  }
}

const end = (played: Played, entry: Exclude<Ledger.Entry, { _tag: "Reserved" }>): void => {
  if (!("reservation" in entry)) return
  const admission = played.admitted.get(entry.reservation)
  const released = admission?.held ?? 0
  if (admission !== undefined) admission.held = 0
  for (const { account, window } of entry.chain) {
    // An account that was opened anew is another one than the account that admitted this.
    if ((played.accounts.get(account)?.openedAt ?? 0) > (admission?.seq ?? 0) && admission !== undefined)
      continue
    const numbers = numbersOf(played, account, window)
    numbers.held -= BigInt(released)
    numbers.spent += BigInt(spentBy(entry))
    if (numbers.spent < 0n) played.findings.push(`entry ${entry.seq}: ${account} has spent ${numbers.spent}`)
  }
}

const play = (entries: ReadonlyArray<Ledger.Entry>): Played => {
  const played: Played = {
    findings: [],
    numbers: new Map(),
    accounts: new Map(),
    admitted: new Map()
  }
  for (const entry of entries) {
    const { account, chain } = entry
    const known = played.accounts.get(account)
    if (entry._tag === "Reserved") admit(played, entry)
    else if (entry._tag === "Opened") {
      played.accounts.set(account, { openedAt: entry.seq, chain, limit: entry.limit, isPaused: false })
      played.numbers.delete(account)
    } else if (entry._tag === "LimitChanged") {
      if (known !== undefined) known.limit = entry.to
    } else if (entry._tag === "Paused" || entry._tag === "Resumed") {
      if (known !== undefined) known.isPaused = entry._tag === "Paused"
    } else end(played, entry)
  }
  return played
}

/**
 * Admission: played back in order, no account of a chain passes the limit that was in force, in the window that
 * admitted, none was paused, and each was opened as what it counts as. Needs entries from the first on, admissions among
 * them.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.makeMemory({ admissions: true })
 *   yield* ledger.open({ account: "root", limit: Usd.dollars("1") })
 *   yield* ledger.reserve({ account: "root", least: Usd.dollars("0.5") })
 *   return yield* Stream.runCollect(ledger.entries())
 * })
 * console.log(LedgerAudit.admissionsKeptLimits(await Effect.runPromise(program))) // []
 * ```
 *
 * @since 0.1.0
 */
export const admissionsKeptLimits = (entries: ReadonlyArray<Ledger.Entry>): Findings => play(entries).findings

/**
 * Truth: each account has spent the sum of its entries in its current window, and holds what was admitted and has not
 * ended; its limit, and whether it is paused, are what the entries made of it. Needs entries from the first on. Without
 * admissions among them, only what was spent is judged, and accounts must have been open all along.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.makeMemory()
 *   yield* ledger.open({ account: "root", limit: Usd.dollars("1") })
 *   const held = yield* ledger.reserve({ account: "root", least: Usd.dollars("0.5") })
 *   yield* ledger.settle(held, { amount: Usd.dollars("0.3"), verdict: "metered" })
 *   return LedgerAudit.sumsAreTheBalances(
 *     yield* ledger.balances,
 *     yield* Stream.runCollect(ledger.entries())
 *   )
 * })
 * console.log(await Effect.runPromise(program)) // []
 * ```
 *
 * @since 0.1.0
 */
export const sumsAreTheBalances = (
  balances: ReadonlyArray<Ledger.Balance>,
  entries: ReadonlyArray<Ledger.Entry>
): Findings => {
  const played = play(entries)
  const isWhole = entries.some((entry) => entry._tag === "Opened")
  return balances.flatMap(({ account, limit, paused, reserved, spent, windowStart }) => {
    const booked = played.numbers.get(account)?.get(windowStart) ?? { spent: 0n, held: 0n }
    const known = played.accounts.get(account)
    return [
      ...(booked.spent === BigInt(spent) ? [] : [`${account}: spent ${spent}, booked ${booked.spent}`]),
      ...(!isWhole || booked.held === BigInt(reserved)
        ? []
        : [`${account}: reserved ${reserved}, admitted and not ended ${booked.held}`]),
      ...(!isWhole || known !== undefined ? [] : [`${account}: it is there, and was not opened`]),
      ...(known === undefined || known.limit === limit
        ? []
        : [`${account}: limit ${limit}, booked ${known.limit}`]),
      ...(known === undefined || known.isPaused === paused
        ? []
        : [`${account}: it is ${paused ? "" : "not "}paused, and booked otherwise`])
    ]
  })
}

/**
 * What an audit looked at and what it found. `whole`: the entries went back to the first, with admissions, so that
 * limits and sums could be judged. `quiet`: nobody changed the books while they were read; sums are judged only then.
 * `unjudged` says in words what could not be judged, and why: no findings about that say nothing.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const isClean = ({ findings, unjudged }: LedgerAudit.Report): boolean => findings.length + unjudged.length === 0
 * console.log(isClean({ entries: 0, whole: true, quiet: true, findings: [], unjudged: [] })) // true
 * ```
 *
 * @since 0.1.0
 */
export interface Report {
  readonly entries: number
  readonly whole: boolean
  readonly quiet: boolean
  readonly findings: Findings
  readonly unjudged: ReadonlyArray<string>
}

/**
 * Everything that can be judged of a ledger's balances and entries, read while nobody changed them (`quiet`). Entries
 * of a query (an account's, or those of a time) are a `part`: then their numbers may have gaps, and nothing is said of
 * limits and sums.
 *
 * @example
 * ```ts
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * console.log(LedgerAudit.check({ balances: [], entries: [] }).findings) // []
 * const { unjudged, whole } = LedgerAudit.check({ balances: [], entries: [], part: true })
 * console.log(whole, unjudged.length) // false 3
 * ```
 *
 * @since 0.1.0
 */
export const check = (books: {
  readonly balances: ReadonlyArray<Ledger.Balance>
  readonly entries: ReadonlyArray<Ledger.Entry>
  readonly quiet?: boolean | undefined
  readonly part?: boolean | undefined
}): Report => {
  const { balances, entries, part = false, quiet = true } = books
  const [first] = entries
  const lacking = part
    ? "the entries are a part of the books"
    : first === undefined
      ? balances.length > 0 && "there is no entry, and there are accounts"
      : first.seq !== 1
        ? `the entries begin with number ${first.seq}`
        : first._tag !== "Opened" && "admissions are not among the entries"
  const whole = lacking === false
  return {
    entries: entries.length,
    whole,
    quiet,
    findings: [
      ...balancesAddUp(balances),
      ...(part ? [] : inOrder(entries, first?.seq)),
      ...amountsAreTrue(entries),
      ...ends(entries, !whole),
      ...sameThroughout(entries),
      ...(whole ? [...endedWithoutAdmission(entries), ...admissionsKeptLimits(entries)] : []),
      ...(whole && quiet ? sumsAreTheBalances(balances, entries) : [])
    ],
    unjudged: [
      ...(whole
        ? []
        : [
            `whether each admission was within its limits: ${lacking}`,
            `whether each reservation that ended was admitted, and had not ended before: ${lacking}`
          ]),
      ...(whole && quiet
        ? []
        : [
            `whether the balances are the sums of the entries: ${whole ? "the books changed while they were read" : lacking}`
          ])
    ]
  }
}

/**
 * Audits a ledger: reads all of its entries into memory and checks what can be checked. It tries for a moment in
 * which nobody changes the books, and says in the report whether it found one.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ledger, Usd } from "agent-budget"
 * import * as LedgerAudit from "agent-budget/LedgerAudit"
 *
 * const program = Effect.gen(function*() {
 *   const ledger = yield* Ledger.makeMemory({ admissions: true, entries: 100_000 })
 *   yield* ledger.open({ account: "root", limit: Usd.dollars("1") })
 *   yield* ledger.reserve({ account: "root", least: Usd.dollars("0.5") })
 *   return yield* LedgerAudit.audit(ledger)
 * })
 * console.log((await Effect.runPromise(program)).findings) // []
 * ```
 *
 * @since 0.1.0
 */
export const audit = (ledger: Ledger.Ledger["Service"]): Effect.Effect<Report, BudgetError.BudgetError> => {
  const attempt = (left: number): Effect.Effect<Report, BudgetError.BudgetError> =>
    Effect.gen(function* () {
      const before = yield* ledger.balances
      const entries = yield* Stream.runCollect(ledger.entries())
      const balances = yield* ledger.balances
      const quiet = JSON.stringify(before) === JSON.stringify(balances)
      return quiet || left === 0
        ? check({ balances, entries, quiet })
        : yield* Effect.andThen(Effect.yieldNow, attempt(left - 1))
    })
  return attempt(9)
}
