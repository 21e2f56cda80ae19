/**
 * Plays random sequences of verbs on an engine's store and on the reference store, and compares every answer and, at
 * the end, the books. Ids are given; times differ, so that only their order and their distances are compared. What has
 * run out has run out long before it began (leases and places of negative length), and what has not does not run out
 * within a play; a window ends by waiting for it.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type * as Store from "../../src/internal/ledgerStore.ts"
import * as Reference from "./referenceStoreLocal.ts"
import { Author, long, randomOf, sawEntries, tree } from "./storeScript.ts"
import { StoreSide } from "./storeSide.ts"

/** How often each kind of answer was seen; a play that never sees a kind has not tested it. */
export type Coverage = Map<string, number>

/** Every kind of answer that a few thousand steps must have seen. */
export const kinds: ReadonlyArray<string> = [
  ...["Opened", "NoParent", "Differs"].map((tag) => `open ${tag}`),
  ...["null", "stays", "removed"].map((what) => `close ${what}`),
  ...["Granted", "Short", "Short hopeless", "Paused", "Stale", "NotOpen"].map((tag) => `reserve ${tag}`),
  ...["another ask", "ended", "cancelled"].map((how) => `reserve Taken ${how}`),
  ...["in line", "share", "again"].map((what) => `reserve Granted ${what}`),
  ...["Settled", "Released", "Corrected"].flatMap((tag) => [`end ${tag}`, `end ${tag} again`]),
  ...["Differs", "Unknown", "OutOfRange"].map((tag) => `end ${tag}`),
  ...["Opened", "LimitChanged", "Paused", "Resumed", "ThresholdCrossed", "Expired", "Reserved"].map(
    (tag) => `entry ${tag}`
  ),
  "renew some",
  "renew none",
  "expire some",
  "expire none"
]

/** A play of one engine. */
export interface Play {
  readonly seed: number
  readonly steps: number
  /** A store with nothing in it. */
  readonly store: Store.LedgerStore
  /** Lets time pass for the store's clock. */
  readonly elapse: (millis: number) => Effect.Effect<void>
  readonly coverage: Coverage
  /** What to compare with, made with the clock that it is to go by; our own unless said. */
  readonly reference?: ((clock: () => number) => Store.LedgerStore) | undefined
}

/** The books of both, and that every way to read a page of the engine's is a part of the whole. */
const compareBooks = Effect.fnUntraced(function* (
  engine: StoreSide,
  reference: StoreSide,
  random: (n: number) => number
) {
  const whole: Store.EntriesAsk = { after: 0, size: 1_000_000, account: null, from: null, to: null }
  const written = yield* engine.store.entries(whole)
  assert.deepStrictEqual(engine.entries(written), reference.entries(yield* reference.store.entries(whole)))
  const times = written.map(({ at }) => at)
  assert.deepStrictEqual(
    times,
    [...times].sort((one, other) => one - other),
    "time went back along the entries"
  )
  const any = (): number | null => {
    const at = times[random(times.length * 2)]
    return at === undefined ? null : at + random(3) - 1
  }
  for (let read = 0; read < 8; read++) {
    const [account] = tree[random(tree.length * 2)] ?? [null]
    const ask = { after: random(written.length + 2), size: 1 + random(9), account, from: any(), to: any() }
    const page = written
      .filter(({ at, seq }) => seq > ask.after && at >= (ask.from ?? -Infinity) && at < (ask.to ?? Infinity))
      .filter(({ chain }) => account === null || chain.some((link) => link.account === account))
      .slice(0, ask.size)
    assert.deepStrictEqual(yield* engine.store.entries(ask), page, JSON.stringify(ask))
  }
})

const compareRows = Effect.fnUntraced(function* (engine: StoreSide, reference: StoreSide) {
  const [ours, theirs] = [yield* engine.store.balances(null), yield* reference.store.balances(null)]
  engine.passes(ours.now)
  assert.deepStrictEqual(
    engine.rows(ours.rows).map((row) => engine.row(row)),
    reference.rows(theirs.rows).map((row) => reference.row(row))
  )
})

/** Plays one sequence; fails with its seed and its last steps at the first answer that differs. */
export const play = ({ coverage, elapse, reference = Reference.make, seed, steps, store }: Play) =>
  Effect.gen(function* () {
    const random = randomOf(seed)
    let now = 10 * long
    const model = new StoreSide(reference(() => now))
    const engine = new StoreSide(store)
    const author = new Author(random, (side, millis) =>
      side === model ? Effect.sync(() => void (now += millis)) : elapse(millis)
    )
    const told: Array<string> = []
    for (let index = 0; index < steps; index++) {
      const step = author.step()
      now += random(2)
      for (let times = step.repeatable && author.chance(5) ? 2 : 1; times > 0; times--) {
        told.push(step.text)
        const trace = `seed ${seed}, step ${index}:\n${told.slice(-15).join("\n")}\n`
        const expected = yield* step.verb(model)
        const actual = yield* step.verb(engine)
        assert.deepStrictEqual(actual, expected, trace)
        for (const kind of step.seen?.(expected) ?? []) coverage.set(kind, (coverage.get(kind) ?? 0) + 1)
        if (author.chance(4)) yield* compareRows(engine, model)
      }
    }
    yield* compareRows(engine, model)
    yield* compareBooks(engine, model, random)
    for (const kind of sawEntries(
      yield* model.store.entries({ after: 0, size: 1e6, account: null, from: null, to: null })
    ))
      coverage.set(kind, (coverage.get(kind) ?? 0) + 1)
  })

/** Kinds of answers that were not seen. */
export const unseen = (coverage: Coverage): ReadonlyArray<string> =>
  kinds.filter((kind) => !coverage.has(kind))
