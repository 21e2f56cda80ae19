/**
 * Makes up the steps of a play (`storeAgreement`): random verbs on a small tree of accounts, most of them on what is
 * there, each with what kind of answer it was.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Usd } from "agent-budget"
import type * as Store from "../../src/internal/ledgerStore.ts"
import type { StoreSide } from "./storeSide.ts"

/** A generator of numbers below `n`: a small one (mulberry32), so that a seed says it all. */
export const randomOf = (seed: number) => {
  let state = seed
  return (n: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * n)
  }
}

export const long = 1_000_000_000

/** As long as a machine takes for a verb or two, with much to spare. */
const brief = 100

/** Windowed accounts have a frame; temporary ones, which have no children, an opener. */
export const tree: ReadonlyArray<readonly [account: string, parent: string | null, frame?: string]> = [
  ["a", null],
  ["a/b", "a"],
  ["a/b/c", "a/b"],
  ["a/d", "a"],
  ["w", null, "rolling 1"],
  ["w/x", "w"],
  ["w/y", "w", "day UTC"],
  ["a/t", "a"],
  ["a/t/u", "a/t"],
  ["a/t/v", "a/t"],
  ["rich", null],
  ["rich/er", "rich"]
]

const temporary = (account: string): boolean => account.startsWith("a/t/")

type Verb = (side: StoreSide) => Effect.Effect<unknown, Store.StoreUnavailable>

export interface Step {
  readonly text: string
  readonly verb: Verb
  /** What kind of answer it was, by the reference's. */
  readonly seen?: ((answer: unknown) => ReadonlyArray<string>) | undefined
  readonly repeatable: boolean
}

const tagOf = (answer: unknown): string =>
  typeof answer === "object" && answer !== null && "_tag" in answer ? String(answer._tag) : String(answer)

export const sawEntries = (answer: unknown): ReadonlyArray<string> =>
  Array.isArray(answer) ? answer.map((each) => `entry ${tagOf(each)}`) : []

/** Makes steps up. */
export class Author {
  readonly #random: (n: number) => number
  readonly #ids: Array<string> = []
  readonly #asks = new Map<string, Store.ReserveAsk>()
  readonly #leases = new Set<number>()
  readonly #granted: Array<string> = []
  /** A windowed account that an ask has just found without a window. */
  #stale: readonly [account: string, frame: string] | undefined
  #opened = 0
  #ends = new Map<string, Store.EndAsk>()
  #windows = 0
  readonly #elapse: (side: StoreSide, millis: number) => Effect.Effect<void>

  constructor(
    random: (n: number) => number,
    elapse: (side: StoreSide, millis: number) => Effect.Effect<void>
  ) {
    this.#random = random
    this.#elapse = elapse
  }

  chance(oneIn: number): boolean {
    return this.#random(oneIn) === 0
  }

  pick<A>(all: ReadonlyArray<A>): A {
    // The index is within; an item itself may be undefined.
    return all[this.#random(all.length)] as A
  }

  step(): Step {
    const isFirst = this.#opened < tree.length
    const kind = isFirst ? 0 : this.#random(44)
    if (isFirst) return this.#open(tree[this.#opened++])
    const stale = this.#stale
    this.#stale = undefined
    if (stale !== undefined && !this.chance(4)) return this.#roll(stale)
    if (kind < 4) return this.#open()
    if (kind < 19) return this.#reserve()
    if (kind < 29) return this.#end()
    if (kind < 30) return this.#cancel()
    if (kind < 31) return this.chance(2) ? this.#leave() : this.#stay()
    if (kind < 33) return this.#renew()
    if (kind < 35) return this.#expire()
    if (kind < 36) return this.#setLimit()
    if (kind < 39) return this.#pause()
    if (kind < 42) return this.#roll()
    return this.#close()
  }

  #amount(account: string): number {
    return account.startsWith("rich") && this.chance(2)
      ? this.pick([1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 7, 2 ** 52])
      : this.pick([0, 1, 5, 10, 25, 40, 60])
  }

  #limit(account: string): Usd.Usd | null {
    if (account.startsWith("rich")) return this.pick([null, Usd.maximum])
    return this.chance(8) ? null : Usd.nanos(this.pick([10, 60, 200, 400, 1_000, 3_000]))
  }

  #open(of = this.pick(tree)): Step {
    const [account, parent, frame] = of
    const isOdd = this.#opened === tree.length && this.chance(6)
    const ask: Store.OpenAsk = {
      account,
      parent: isOdd && this.chance(3) ? this.pick([null, "a", "nobody"]) : parent,
      limit: this.#opened === tree.length && !this.chance(3) ? undefined : this.#limit(account),
      frame:
        isOdd && this.chance(3)
          ? "hour UTC"
          : this.#opened === tree.length && this.chance(6)
            ? undefined
            : frame,
      // What a removed account would have crossed is nobody's business; so those that are removed have none.
      thresholds: temporary(account)
        ? undefined
        : this.pick([undefined, [500_000], [500_000, 800_000, 950_000], [1], []]),
      opener: temporary(account) && !(isOdd && this.chance(2)) ? this.pick(["one", "two"]) : null
    }
    return {
      text: `open ${JSON.stringify(ask)}`,
      verb: (side) => Effect.map(side.store.open(ask), (answer) => side.answer(answer)),
      seen: (answer) => [`open ${tagOf(answer)}`],
      repeatable: true
    }
  }

  #close(): Step {
    const account = this.pick(["a/t/v", "a/t/u", "a/t/u", "a", "nobody"])
    const opener = this.pick(["one", "two", null])
    return {
      text: `close ${account} for ${opener ?? "nobody"}`,
      verb: (side) =>
        Effect.gen(function* () {
          const answer = yield* side.store.close(account, opener)
          if (answer === null) return { is: "null" }
          side.passes(answer.now)
          const left = (yield* side.store.balances(account)).rows.length
          return { is: left === 0 ? "removed" : "stays", row: side.row(answer.row) }
        }),
      seen: (answer) => [`close ${(answer as { readonly is: string }).is}`],
      repeatable: false
    }
  }

  #id(): string {
    return this.#ids.length > 0 && this.chance(3) ? this.pick(this.#ids.slice(-8)) : this.#newId()
  }

  #newId(): string {
    const id = `r${this.#ids.length}`
    this.#ids.push(id)
    return id
  }

  /** One that has been asked for lately. */
  #known(): string {
    if (this.#granted.length > 0 && !this.chance(8)) return this.pick(this.#granted.slice(-12))
    return this.chance(5) || this.#ids.length === 0 ? "nobody's" : this.pick(this.#ids.slice(-25))
  }

  /** Those that have run out did so at different times, far apart. */
  #lease(): number {
    if (!this.chance(4)) return long
    let lease = -long - 1_000_000 * this.#random(1_000)
    while (this.#leases.has(lease)) lease -= 1_000_000
    this.#leases.add(lease)
    return lease
  }

  #reserve(): Step {
    const id = this.#id()
    const asked = this.#asks.get(id)
    const [account] = this.chance(30) ? (["nobody"] as const) : this.pick(tree)
    const least = this.#amount(account)
    const isOne = this.chance(2)
    const most = isOne ? least : Math.max(least, this.#amount(account))
    const ask: Store.ReserveAsk =
      asked !== undefined && !this.chance(5)
        ? { ...asked, fingerprint: this.chance(6) ? "other" : asked.fingerprint }
        : {
            id,
            fingerprint: this.pick(["one", "other"]),
            account,
            least,
            most,
            share: this.pick([1, 0.5, 0.1, 1 / 3]),
            lease: this.#lease(),
            place: this.pick([null, long, long, -long])
          }
    this.#asks.set(id, ask)
    return {
      text: `reserve ${JSON.stringify(ask)}`,
      verb: (side) => Effect.map(side.store.reserve(ask), (answer) => side.answer(answer)),
      seen: (answer) => {
        if (tagOf(answer) === "Granted") this.#granted.push(id)
        const { row } = answer as { readonly row?: Store.AccountRow }
        if (tagOf(answer) === "Stale" && row?.frame != null) this.#stale = [row.account, row.frame]
        return sawReserve(answer, ask, asked !== undefined)
      },
      repeatable: true
    }
  }

  #end(): Step {
    const id = this.#known()
    const before = this.#ends.get(id)
    const account = this.#asks.get(id)?.account ?? "a"
    const verdict = this.pick(["metered", "metered", "assumed", "released"] as const)
    const ask: Store.EndAsk =
      before !== undefined && !this.chance(4)
        ? before
        : {
            id,
            verdict,
            amount: verdict === "released" ? 0 : this.#amount(account),
            label: this.pick([null, "gpt-4o", 'it\'s "quoted" \\ \u00e9\u{1f600}'])
          }
    this.#ends.set(id, ask)
    return {
      text: `end ${JSON.stringify(ask)}`,
      verb: (side) => Effect.map(side.store.end(ask), (answer) => side.answer(answer)),
      seen: (answer) => sawEnd(answer),
      repeatable: true
    }
  }

  #cancel(): Step {
    const id = this.chance(2) ? this.#known() : this.#newId()
    return {
      text: `cancel ${id}`,
      verb: ({ store }) => Effect.as(store.cancel(id), "done"),
      repeatable: true
    }
  }

  /** Those who wait are among those that were asked for lately. */
  #stay(): Step {
    const ids = this.#ids.slice(-6)
    const place = this.pick([long, long, -long])
    return {
      text: `stay ${ids.join(", ")} for ${place}`,
      verb: ({ store }) => Effect.as(store.stay(ids, place), "done"),
      repeatable: true
    }
  }

  #leave(): Step {
    const id = this.#known()
    return { text: `leave ${id}`, verb: ({ store }) => Effect.as(store.leave(id), "done"), repeatable: true }
  }

  #renew(): Step {
    // Those that are renewed together run out together; so only one is renewed into the past.
    const isPast = this.chance(3)
    const ids = isPast ? [this.#known()] : [...new Set([this.#known(), this.#known(), this.#known()])]
    let lease = long
    while (isPast && (lease === long || this.#leases.has(lease)))
      lease = -3 * long - 1_000_000 * this.#random(1_000)
    this.#leases.add(lease)
    return {
      text: `renew ${ids.join(", ")} for ${lease}`,
      verb: (side) =>
        Effect.map(side.store.renew(ids, lease), (renewed) => {
          for (const { expiresAt } of renewed) assert.isAtLeast(expiresAt - lease, side.newest)
          return renewed.map(({ id }) => id).sort()
        }),
      seen: (answer) => [`renew ${(answer as ReadonlyArray<string>).length === 0 ? "none" : "some"}`],
      repeatable: true
    }
  }

  #expire(): Step {
    const most = this.pick([1, 2, 100])
    return {
      text: `expire ${most}`,
      verb: (side) => Effect.map(side.store.expire(most), (entries) => side.entries(entries)),
      seen: (answer) => {
        const seen = sawEntries(answer)
        return [...seen, `expire ${seen.length === 0 ? "none" : "some"}`]
      },
      repeatable: true
    }
  }

  #setLimit(): Step {
    const [account] = this.pick([...tree, ["nobody", null] as const])
    const limit = this.#limit(account)
    return {
      text: `setLimit ${account} ${String(limit)}`,
      verb: (side) => Effect.map(side.store.setLimit(account, limit), (entries) => side.entries(entries)),
      seen: sawEntries,
      repeatable: true
    }
  }

  #pause(): Step {
    const [account] = this.pick([...tree, ["nobody", null] as const])
    // More resumes than pauses, or soon nothing moves.
    const paused = this.chance(5)
    return {
      text: `pause ${account} ${paused}`,
      verb: (side) => Effect.map(side.store.pause(account, paused), (entries) => side.entries(entries)),
      seen: sawEntries,
      repeatable: true
    }
  }

  #roll(of?: readonly [account: string, frame: string]): Step {
    const [account, frame] =
      of ??
      this.pick([
        ["w", "rolling 1"],
        ["w/y", "day UTC"],
        ["w", "day UTC"],
        ["a", "day UTC"],
        ["nobody", "day UTC"]
      ] as const)
    const isBrief = this.chance(3)
    const number = ++this.#windows
    const elapse = this.#elapse
    const id = this.#newId()
    const held = { id, fingerprint: "one", account, least: 10, most: 10, share: 1, lease: long, place: null }
    if (isBrief) this.#granted.push(id)
    const verb: Verb = (side) =>
      Effect.gen(function* () {
        const before = (yield* side.store.balances(account)).rows[0]
        for (let tries = 0; tries < 10; tries++) {
          const { now } = yield* side.store.balances(null)
          // Each begins at a time of its own: the tries of one number come before the next one's.
          const start = now - long + number * 10 + tries
          // And no sooner than the one before it has ended.
          const over = (yield* side.store.balances(account)).rows[0]?.windowEnd ?? start
          const begins = Math.max(start, over)
          side.windows.set(begins, `window ${number}`)
          yield* side.store.roll(account, frame, start, isBrief ? now + brief : now + long)
          const row = (yield* side.store.balances(account)).rows[0]
          if (row?.windowStart === begins) {
            if (!isBrief) return { is: "rolled", row: side.row(row) }
            // Something is held in it, to be ended when it is over.
            const answer = yield* side.store.reserve(held)
            while ((yield* side.store.balances(null)).now < now + brief) yield* elapse(side, brief)
            const isLate = answer._tag === "Stale" && answer.row.account === account
            if (!isLate) return { is: "rolled and over", row: side.row(row), held: side.answer(answer) }
            continue
          }
          assert.deepStrictEqual(row, before)
          const isDue = row?.frame === frame && (row.windowEnd === null || row.windowEnd <= now)
          // Else a brief one was over before it was asked for: the machine was busy elsewhere.
          if (!isDue) return { is: "refused" }
        }
        return { is: "never in time" }
      })
    return { text: `roll ${account} ${frame}${isBrief ? " briefly" : ""}`, verb, repeatable: false }
  }
}

const sawReserve = (answer: unknown, ask: Store.ReserveAsk, again: boolean): ReadonlyArray<string> => {
  const { hopeless, how } = answer as { readonly hopeless?: boolean; readonly how?: string }
  const tag = tagOf(answer)
  if (tag !== "Granted")
    return [`reserve ${tag}${hopeless === true ? " hopeless" : ""}${how === undefined ? "" : ` ${how}`}`]
  return [
    "reserve Granted",
    ...(ask.place === null ? [] : ["reserve Granted in line"]),
    ...(ask.least === ask.most ? [] : ["reserve Granted share"]),
    ...(again ? ["reserve Granted again"] : [])
  ]
}

const sawEnd = (answer: unknown): ReadonlyArray<string> => {
  if (tagOf(answer) !== "Ended") return [`end ${tagOf(answer)}`]
  const { again, crossed, entry } = answer as { readonly [key: string]: unknown }
  return [`end ${tagOf(entry)}${again === true ? " again" : ""}`, ...sawEntries(crossed)]
}
