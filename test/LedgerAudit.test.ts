import { assert, describe, it } from "@effect/vitest"
import { Ledger, Usd } from "agent-budget"
import * as LedgerAudit from "agent-budget/LedgerAudit"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { reached, thresholdAmount } from "../src/internal/ledgerStore.ts"

const usd = Usd.nanos

type Of<Tag> = Extract<Ledger.Entry, { readonly _tag: Tag }>
const chain = [{ account: "root", window: null }]
const common = { at: 0, account: "root", chain }
const opened = (seq: number, limit: number | null): Of<"Opened"> => ({
  _tag: "Opened",
  ...common,
  seq,
  limit: limit === null ? null : usd(limit)
})
const reserved = (seq: number, reservation: string, amount: number, limit: number): Of<"Reserved"> => ({
  _tag: "Reserved",
  ...common,
  seq,
  reservation,
  reserved: usd(amount),
  limits: [usd(limit)],
  expiresAt: null
})
const ended = (seq: number, reservation: string, held: number, amount: number): Of<"Settled"> => ({
  _tag: "Settled",
  ...common,
  seq,
  reservation,
  reserved: usd(held),
  amount: usd(amount),
  overrun: usd(Math.max(0, amount - held)),
  verdict: "metered",
  label: null
})
const expired = (seq: number, reservation: string, amount: number): Of<"Expired"> => ({
  _tag: "Expired",
  ...common,
  seq,
  reservation,
  reserved: usd(amount),
  amount: usd(amount)
})
const corrected = (seq: number, reservation: string, charged: number, amount: number): Of<"Corrected"> => ({
  _tag: "Corrected",
  ...common,
  seq,
  reservation,
  reserved: usd(charged),
  charged: usd(charged),
  amount: usd(amount),
  difference: usd(amount - charged),
  overrun: usd(Math.max(0, amount - charged)),
  verdict: "metered",
  label: null
})
const balance = (spent: number, held: number, limit = 100): Ledger.Balance => ({
  account: "root",
  parent: null,
  limit: usd(limit),
  spent: usd(spent),
  reserved: usd(held),
  available: usd(limit - spent - held),
  paused: false,
  windowStart: null,
  windowEnd: null
})

/** Sound books: 7 settled, 20 expired and corrected to 5, 10 held. */
const books: ReadonlyArray<Ledger.Entry> = [
  opened(1, 100),
  reserved(2, "a", 10, 100),
  reserved(3, "b", 20, 100),
  ended(4, "a", 10, 7),
  expired(5, "b", 20),
  corrected(6, "b", 20, 5),
  reserved(7, "c", 10, 100)
]
const check = (entries: ReadonlyArray<Ledger.Entry>, now = balance(12, 10)) =>
  LedgerAudit.check({ balances: [now], entries }).findings
const finds = (entries: ReadonlyArray<Ledger.Entry>, what: string, now?: Ledger.Balance): void => {
  const findings = check(entries, now)
  assert.isTrue(
    findings.some((finding) => finding.includes(what)),
    `${what}: ${findings.join("; ")}`
  )
}
const renumbered = (entries: ReadonlyArray<Ledger.Entry>): ReadonlyArray<Ledger.Entry> =>
  entries.map((entry, index) => ({ ...entry, seq: index + 1 }))

describe("an audit", () => {
  it("finds nothing wrong with sound books", () => {
    assert.deepStrictEqual(check(books), [])
  })

  it("finds a balance that is not the sum of its entries", () => {
    finds(books, "spent 13, booked 12", balance(13, 10))
    finds(books, "reserved 9, admitted and not ended 10", balance(12, 9))
    finds(books, "available", { ...balance(12, 10), available: usd(1) })
    finds(books, "spent -1", balance(-1, 10))
  })

  it("finds an entry that is missing", () => {
    finds(books.slice(0, 3).concat(books.slice(4)), "entry 5 at 3, not 4")
  })

  it("finds a second end, an end after its correction, and a correction of nothing", () => {
    finds(renumbered([...books, ended(0, "a", 10, 7)]), "reservation a: Settled after Settled")
    finds(renumbered([...books, corrected(0, "b", 20, 5)]), "reservation b: Corrected after Corrected")
    finds(renumbered([...books, corrected(0, "a", 10, 5)]), "reservation a: Corrected after Settled")
    finds(renumbered([...books, expired(0, "a", 10)]), "reservation a: Expired after Settled")
    finds(renumbered([...books, reserved(0, "a", 10, 100)]), "reservation a: Reserved after Settled")
  })

  it("finds an admission beyond its limit, by another limit than the one in force, and on a paused account", () => {
    finds(renumbered([...books, reserved(0, "d", 79, 100)]), "root at 101 of 100")
    assert.deepStrictEqual(check(renumbered([...books, reserved(0, "d", 78, 100)]), balance(12, 88)), [])
    finds(renumbered([...books, reserved(0, "d", 1, 200)]), "judged by the limit 200, and 100 was in force")
    const raised: Ledger.Entry = { _tag: "LimitChanged", ...common, seq: 0, from: usd(100), to: usd(200) }
    assert.deepStrictEqual(
      check(renumbered([...books, raised, reserved(0, "d", 100, 200)]), balance(12, 110, 200)),
      []
    )
    const paused: Ledger.Entry = { _tag: "Paused", ...common, seq: 0 }
    finds(renumbered([...books, paused, reserved(0, "d", 1, 100)]), "root was paused")
    const resumed: Ledger.Entry = { _tag: "Resumed", ...common, seq: 0 }
    assert.deepStrictEqual(
      check(renumbered([...books, paused, resumed, reserved(0, "d", 1, 100)]), balance(12, 11)),
      []
    )
  })

  it("finds entries that do not say the truth of themselves", () => {
    const wrong = (index: number, change: object): ReadonlyArray<Ledger.Entry> =>
      books.map((entry, at) => (at === index ? { ...entry, ...change } : entry))
    finds(wrong(3, { overrun: usd(1) }), "overrun 1, not 0")
    finds(wrong(3, { amount: usd(-1) }), "amount -1")
    finds(wrong(4, { amount: usd(19) }), "19 of 20")
    finds(wrong(5, { difference: usd(-14) }), "difference -14, not -15")
    finds(wrong(5, { charged: usd(19) }), "charged 19 of 20")
  })

  it("finds an end, an expiry and a correction that are not of what was admitted", () => {
    const wrong = (index: number, change: object): ReadonlyArray<Ledger.Entry> =>
      books.map((entry, at) => (at === index ? { ...entry, ...change } : entry))
    finds(wrong(3, { reserved: usd(11) }), "entry 4 (Settled): reserved 11, and 10 in entry 2")
    finds(wrong(4, { reserved: usd(19), amount: usd(19) }), "reserved 19, and 20 in entry 3")
    const elsewhere = "it counts for other accounts or windows than entry 3"
    finds(wrong(4, { account: "other" }), elsewhere)
    finds(wrong(5, { chain: [] }), elsewhere)
    finds(wrong(5, { chain: [{ account: "root", window: 5 }] }), elsewhere)
    finds(wrong(5, { chain: [{ account: "other", window: null }] }), elsewhere)
    const below = (window: number | null, above: number | null) => ({
      account: "root/a",
      chain: [
        { account: "root/a", window },
        { account: "root", window: above }
      ]
    })
    const turned = [
      { ...reserved(1, "d", 8, 100), ...below(1, 10) },
      { ...ended(2, "d", 8, 8), ...below(1, 11) }
    ]
    assert.deepStrictEqual(LedgerAudit.check({ balances: [], entries: turned, part: true }).findings, [
      "entry 2 (Settled): it counts for other accounts or windows than entry 1"
    ])
    const part = LedgerAudit.check({
      balances: [],
      entries: wrong(5, { reserved: usd(5) }).slice(4),
      part: true
    })
    assert.include(part.findings.join(), "entry 6 (Corrected): reserved 5, and 20 in entry 5")
  })

  it("takes an id that was given back and admitted anew for another reservation", () => {
    const back: Ledger.Entry = { _tag: "Released", ...common, seq: 3, reservation: "a", reserved: usd(10) }
    const anew = [
      opened(1, 100),
      reserved(2, "a", 10, 100),
      back,
      reserved(4, "a", 30, 100),
      ended(5, "a", 30, 7)
    ]
    assert.deepStrictEqual(check(anew, balance(7, 0)), [])
  })

  it("finds more taken back than was spent", () => {
    const twice = [...books.slice(0, 5), corrected(6, "b", 20, 5), corrected(7, "b", 20, 5)]
    assert.include(LedgerAudit.admissionsKeptLimits(twice).join(), "root has spent -3")
  })

  it("finds a limit or a pause that no entry made, and an account that was not opened as what it counts as", () => {
    finds(books, "root: limit 500, booked 100", balance(12, 10, 500))
    finds(books, "root: it is paused, and booked otherwise", { ...balance(12, 10), paused: true })
    const paused: Ledger.Entry = { _tag: "Paused", ...common, seq: 0 }
    finds(renumbered([...books, paused]), "root: it is not paused, and booked otherwise")
    const other = { ...balance(0, 0), account: "other" }
    const { findings } = LedgerAudit.check({ balances: [balance(12, 10), other], entries: books })
    assert.deepStrictEqual(findings, ["other: it is there, and was not opened"])
    const link = { account: "root/a", window: null }
    const below = { ...reserved(8, "d", 1, 100), account: "root/a", chain: [link, ...chain] }
    finds([...books, { ...below, limits: [null, usd(100)] }], "entry 8: root/a was not opened before")
    const child = { ...opened(8, null), account: "root/a", chain: [link, ...chain] }
    finds(
      [...books, child, { ...below, seq: 9, chain: [link], limits: [null] }],
      "entry 9: it counts for other accounts than root/a was opened under"
    )
  })

  it("keeps the windows of an account apart, and an account that was opened anew from the one before", () => {
    const at = <E extends Ledger.Entry>(entry: E, window: number): E => ({
      ...entry,
      chain: [{ account: "root", window }]
    })
    const entries = [
      opened(1, 100),
      at(reserved(2, "a", 90, 100), 10),
      at(reserved(3, "b", 90, 100), 20),
      at(ended(4, "a", 90, 90), 10)
    ]
    assert.deepStrictEqual(check(entries, { ...balance(0, 90), windowStart: 20, windowEnd: 30 }), [])
    const anew = [opened(1, 100), reserved(2, "a", 90, 100), opened(3, 50), ended(4, "a", 90, 90)]
    assert.deepStrictEqual(check(anew, balance(0, 0, 50)), [])
  })

  it("finds an end whose admission is not in books that are whole", () => {
    finds(renumbered([...books, ended(0, "z", 10, 7)]), "reservation z: Settled without its admission")
  })

  it("judges only what was spent where no admissions were written", () => {
    const raised: Ledger.Entry = { _tag: "LimitChanged", ...common, seq: 0, from: usd(100), to: usd(200) }
    const paused: Ledger.Entry = { _tag: "Paused", ...common, seq: 0 }
    const entries = renumbered([ended(0, "a", 10, 7), raised, paused])
    assert.deepStrictEqual(LedgerAudit.sumsAreTheBalances([balance(7, 10, 500)], entries), [])
    assert.deepStrictEqual(LedgerAudit.sumsAreTheBalances([balance(8, 10, 500)], entries), [
      "root: spent 8, booked 7"
    ])
  })

  it("of a part of the books says what it cannot judge, and finds what a part can show", () => {
    const tail = books.slice(3)
    const report = LedgerAudit.check({ balances: [balance(12, 10)], entries: tail })
    assert.deepStrictEqual([report.whole, report.findings], [false, []])
    assert.deepStrictEqual(
      report.unjudged.map((each) => each.split(":")[1]),
      Array.from({ length: 3 }, () => " the entries begin with number 4")
    )
    // A correction whose expiry was not read, and gaps between the entries of one account.
    for (const entries of [books.slice(5), [...books.slice(0, 2), ...books.slice(4)]]) {
      const { findings, unjudged } = LedgerAudit.check({ balances: [], entries, part: true })
      assert.deepStrictEqual([findings, unjudged.length], [[], 3])
    }
    const twice = [...tail, { ...ended(8, "a", 10, 7) }]
    assert.deepStrictEqual(LedgerAudit.check({ balances: [], entries: twice }).findings, [
      "reservation a: Settled after Settled"
    ])
    const nothing = LedgerAudit.check({ balances: [balance(0, 10)], entries: [] })
    assert.deepStrictEqual([nothing.whole, nothing.unjudged.length], [false, 3])
    const busy = LedgerAudit.check({ balances: [balance(0, 0)], entries: books, quiet: false })
    assert.deepStrictEqual(
      [busy.whole, busy.findings, busy.unjudged],
      [true, [], ["whether the balances are the sums of the entries: the books changed while they were read"]]
    )
  })

  it.effect("of a ledger says what it could judge", () =>
    Effect.gen(function* () {
      for (const [options, whole] of [
        [{ admissions: true }, true],
        [{}, false],
        [{ admissions: true, entries: 3 }, false]
      ] as const) {
        const ledger = yield* Ledger.makeMemory(options)
        yield* ledger.open({ account: "root", limit: usd(100) })
        for (let index = 0; index < 3; index++) {
          yield* ledger.settle(yield* ledger.reserve({ account: "root", least: usd(9) }), {
            amount: usd(7),
            verdict: "metered"
          })
        }
        const report = yield* LedgerAudit.audit(ledger)
        assert.deepStrictEqual(report.findings, [])
        assert.deepStrictEqual([report.whole, report.quiet], [whole, true])
        assert.strictEqual(report.unjudged.length, whole ? 0 : 3)
        yield* TestClock.adjust(1)
      }
    })
  )
})

describe("a threshold", () => {
  it("is reached at its part of the limit, rounded up, exactly, whatever the size", () => {
    for (const limit of [0, 1, 99, 100, 1_000_003, 5_000_000_000, Number.MAX_SAFE_INTEGER]) {
      for (const parts of [1, 333_333, 500_000, 950_000, 1_000_000]) {
        const product = BigInt(limit) * BigInt(parts)
        const exact = (product + 999_999n) / 1_000_000n
        assert.strictEqual(BigInt(thresholdAmount(limit, parts)), exact, `${limit} ${parts}`)
      }
    }
    assert.isTrue(reached({ limit: 100, spent: 50 }, 500_000))
    assert.isFalse(reached({ limit: 100, spent: 49 }, 500_000))
    assert.isFalse(reached({ limit: null, spent: 49 }, 1))
  })
})
