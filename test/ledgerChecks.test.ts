/** What every engine checks before it touches its books: what passes, and what is said of the rest. */
import { assert, describe, it } from "@effect/vitest"
import { type BudgetError, type Ledger, Usd } from "agent-budget"
import { Effect } from "effect"
import * as Checks from "../src/internal/ledgerChecks.ts"
import { includes } from "./utils/assertions.ts"

const usd = Usd.nanos
const most = Number.MAX_SAFE_INTEGER

/** What arrives from a caller without types. */
const untyped = (value: unknown) => value as never

const reasonOf = (effect: Effect.Effect<unknown, BudgetError.BudgetError>): BudgetError.Reason =>
  Effect.runSync(Effect.flip(effect)).reason

const held: Ledger.Reservation = { id: "7", account: "root/a", amount: usd(10), at: 0, expiresAt: null }

describe("an account that is opened", () => {
  const open = (request: Partial<Ledger.OpenRequest>) => Checks.checkOpen({ account: "team", ...request })
  const opened = (request: Partial<Ledger.OpenRequest>) => Effect.runSync(open(request))

  it("may have any whole amount as its limit, none, or say nothing of it", () => {
    for (const limit of [undefined, null, usd(0), usd(1), Usd.maximum]) {
      assert.deepStrictEqual(opened({ limit }), { frame: undefined, thresholds: undefined })
    }
    for (const limit of [-1, 0.5, NaN, Infinity, most + 1]) {
      includes(reasonOf(open({ limit: untyped(limit) })), {
        _tag: "InvalidAmount",
        detail: `A limit of ${limit === -1 ? "-$0.000000001" : limit} on account team is not an amount.`
      })
    }
  })

  it("takes the same limits later on", () => {
    for (const limit of [null, usd(0), Usd.maximum]) assert.isUndefined(Checks.checkLimit("team", limit))
    for (const limit of [-1, 0.5, NaN, most + 1]) {
      assert.strictEqual(
        Checks.checkLimit("team", untyped(limit)),
        `A limit of ${limit === -1 ? "-$0.000000001" : limit} on account team is not an amount.`
      )
    }
  })

  it("has a name, and a window that there is", () => {
    includes(reasonOf(open({ account: "" })), {
      _tag: "InvalidAccount",
      account: "",
      detail: "the name is empty. Give it one."
    })
    includes(reasonOf(open({ window: { rolling: 0 } })), {
      _tag: "InvalidAccount",
      account: "team",
      detail: "a rolling window of 0 ms is not between 1 ms and 100 years."
    })
    assert.strictEqual(opened({ window: "day" }).frame?.key, "day UTC")
  })

  it("tells its thresholds in millionths, the lowest first, each once", () => {
    assert.deepStrictEqual(
      opened({ thresholds: [1, 0.000001, 0.8, 0.25, 0.8] }).thresholds,
      [1, 250_000, 800_000, 1_000_000]
    )
    assert.deepStrictEqual(opened({ thresholds: [] }).thresholds, [])
    for (const bad of [0, -0.5, 1.000001, 0.0000001, NaN, Infinity]) {
      includes(reasonOf(open({ thresholds: [0.5, bad] })), {
        _tag: "InvalidAccount",
        account: "team",
        detail: `the threshold ${bad} is not above 0 and at most 1.`
      })
    }
  })
})

describe("a name", () => {
  it("is a text, also from a caller without types", () => {
    for (const name of ["", "team", "5"]) assert.isUndefined(Checks.checkName(name))
    for (const name of [5, null, undefined, true, {}, Symbol("team")]) {
      const refused = {
        _tag: "InvalidAccount",
        account: "",
        detail: `the name is of type ${typeof name}, and not a text. Give it one.`
      }
      includes(reasonOf(Checks.checkName(name) ?? Effect.die("taken")), refused)
      includes(reasonOf(Checks.checkOpen({ account: untyped(name) })), refused)
      if (name !== undefined) {
        includes(reasonOf(Checks.checkOpen({ account: "team", parent: untyped(name) })), refused)
      }
    }
  })
})

describe("an account that is open and is asked for otherwise", () => {
  const differs = (
    request: Partial<Ledger.OpenRequest>,
    open: Partial<Parameters<typeof Checks.differs>[1]> = {}
  ) =>
    reasonOf(
      Checks.differs({ account: "team", ...request }, { parent: null, limit: usd(5), frame: null, ...open })
    )

  it("says which of parent, limit and windows it has", () => {
    includes(differs({}, { parent: "root" }), {
      _tag: "InvalidAccount",
      account: "team",
      detail: "it is open under root. Use another name."
    })
    includes(differs({ parent: "root" }), { detail: "it is open under no parent. Use another name." })
    includes(differs({ limit: null }), { _tag: "AccountConflict", account: "team", limit: 5, asked: null })
    for (const limit of [undefined, usd(5)]) {
      includes(differs({ limit }), { detail: "it is open without windows. Use the same, or another name." })
    }
    includes(differs({}, { frame: "day UTC" }), {
      _tag: "InvalidAccount",
      account: "team",
      detail: 'it is open in windows of "day UTC". Use the same, or another name.'
    })
  })
})

describe("an ask", () => {
  const check = (request: Partial<Ledger.ReserveRequest>) =>
    Checks.checkReserve({ account: "root", least: usd(5), ...request })

  it("has a least and a most that are amounts, of which the most is no less", () => {
    for (const [least, upTo] of [
      [0, undefined],
      [0, 0],
      [5, 5],
      [5, 6],
      [most, most]
    ] as const) {
      assert.isUndefined(check({ least: usd(least), most: upTo === undefined ? upTo : usd(upTo) }))
    }
    for (const [least, upTo] of [
      [6, 5],
      [-1, 5],
      [0.5, 5],
      [NaN, 5],
      [5, NaN],
      [5, 5.5],
      [5, Infinity]
    ] as const) {
      assert.strictEqual(
        check({ least: untyped(least), most: untyped(upTo) }),
        `A reservation of ${least} to ${upTo} nano-dollars cannot be made.`
      )
    }
    assert.strictEqual(
      check({ least: untyped(-1) }),
      "A reservation of -1 to -1 nano-dollars cannot be made."
    )
  })

  it("takes a share above nothing and up to all", () => {
    for (const share of [undefined, 1, 0.5, Number.MIN_VALUE]) assert.isUndefined(check({ share }))
    for (const share of [0, -0.5, 1.5, NaN, untyped(true)]) {
      assert.strictEqual(check({ share }), `A share of ${share} is not between 0 and 1.`)
    }
  })

  it("waits for a time, however long, and not for what is none", () => {
    for (const waitAtMost of [
      undefined,
      0,
      1,
      0.5,
      Infinity,
      "0 millis",
      "5 minutes",
      { minutes: 5 }
    ] as const) {
      assert.isUndefined(check({ waitAtMost }))
    }
    for (const [waitAtMost, shown] of [
      [NaN, "NaN"],
      [-1, "-1"],
      ["soon", "soon"],
      ["-1 seconds", "-1 seconds"],
      [{ seconds: -1 }, '{"seconds":-1}']
    ] as const) {
      assert.strictEqual(check({ waitAtMost: untyped(waitAtMost) }), `A wait of at most ${shown} cannot be.`)
    }
  })

  it("is another one by each of its parts but how long it waits and under which id", () => {
    const ask = { account: "root", least: usd(5), most: usd(9), share: 0.5 }
    const print = Checks.fingerprint(ask)
    assert.strictEqual(Checks.fingerprint({ ...ask, waitAtMost: "1 hour", id: "mine" }), print)
    const others = [
      { ...ask, account: "other" },
      { ...ask, least: usd(4) },
      { ...ask, most: usd(8) },
      { ...ask, share: 0.4 }
    ].map(Checks.fingerprint)
    assert.strictEqual(new Set([print, ...others]).size, 5)
    // What is left out says what it is without it.
    const short = Checks.fingerprint({ account: "root", least: usd(5) })
    assert.strictEqual(Checks.fingerprint({ account: "root", least: usd(5), most: usd(5), share: 1 }), short)
  })
})

describe("an id of the caller's", () => {
  it("is a text, or there is none", () => {
    const check = (id: unknown) => Checks.checkReserve({ account: "root", least: usd(5), id: untyped(id) })
    for (const id of [undefined, "", "mine"]) assert.isUndefined(check(id))
    for (const id of [123, 929, null, {}]) assert.strictEqual(check(id), "The id of a reservation is a text.")
    includes(reasonOf(Checks.conflict({ id: untyped(123) }, "why.")), {
      _tag: "ReservationConflict",
      reservation: "",
      detail: "why."
    })
  })
})

describe("the times of an engine", () => {
  it("are between the least and a hundred years, or not said", () => {
    const year = 366 * 86_400_000
    for (const lease of [undefined, 1, 100 * year, "1 second", { days: 3 }] as const) {
      assert.isUndefined(Checks.checkTimes({ lease }))
    }
    assert.isUndefined(Checks.checkTimes({ lease: 0 }, 0))
    for (const [lease, least, shown] of [
      [0, 1, "0"],
      [999, 1_000, "999"],
      ["999 millis", 1_000, "999 millis"],
      [{ seconds: 0.5 }, 1_000, '{"seconds":0.5}'],
      [100 * year + 1, 1, String(100 * year + 1)],
      [Infinity, 1, "Infinity"],
      [NaN, 0, "NaN"],
      ["soon", 0, "soon"],
      [-1, 0, "-1"]
    ] as const) {
      assert.strictEqual(
        Checks.checkTimes({ poll: "1 second", lease: untyped(lease) }, least),
        `a lease of ${shown} is not between ${least} ms and 100 years.`
      )
    }
  })
})

describe("a time without bounds", () => {
  it("may be none, or as long as it takes, or not said", () => {
    for (const time of [
      undefined,
      0,
      1,
      Infinity,
      "Infinity",
      "0 millis",
      "90 days",
      { days: 90 }
    ] as const) {
      assert.isUndefined(Checks.checkUnbounded({ first: "1 second", time }))
    }
    for (const [time, shown] of [
      [NaN, "NaN"],
      [-1, "-1"],
      [-Infinity, "-Infinity"],
      ["soon", "soon"],
      ["90", "90"],
      [null, "null"],
      [{ seconds: -1 }, '{"seconds":-1}']
    ] as const) {
      assert.strictEqual(
        Checks.checkUnbounded({ first: "1 second", time: untyped(time) }),
        `a time of ${shown} is no time. Write milliseconds, or a text such as "90 days".`
      )
    }
  })
})

describe("a charge", () => {
  it("is an amount, metered or assumed, with a text as its label or none", () => {
    const charge: Ledger.Charge = { amount: usd(5), verdict: "metered" }
    for (const good of [charge, { ...charge, amount: usd(0) }, { ...charge, verdict: "assumed" as const }]) {
      assert.isUndefined(Checks.checkCharge(good))
      assert.isUndefined(Checks.checkCharge({ ...good, label: "" }))
    }
    for (const amount of [-1, 0.5, NaN]) {
      assert.strictEqual(
        Checks.checkCharge({ ...charge, amount: untyped(amount) }),
        `A charge of ${amount} nano-dollars cannot be booked.`
      )
    }
    for (const verdict of ["released", "", undefined]) {
      assert.strictEqual(
        Checks.checkCharge({ ...charge, verdict: untyped(verdict) }),
        "A charge is metered or assumed."
      )
    }
    for (const label of [7, null, {}]) {
      assert.strictEqual(
        Checks.checkCharge({ ...charge, label: untyped(label) }),
        "The label of a charge is a text."
      )
    }
  })

  it("that takes an account out of range names both", () => {
    includes(reasonOf(Checks.outOfRange(held, 12)), {
      _tag: "InvalidAmount",
      detail: "A charge of 12 nano-dollars takes account root/a out of range."
    })
  })
})

describe("the span of what is read", () => {
  it("is in whole milliseconds, open where nothing bounds it, and none where nothing lies in it", () => {
    const span = (from?: number, to?: number) => Checks.checkSpan({ from, to })
    assert.deepStrictEqual(span(), { from: null, to: null })
    assert.deepStrictEqual(span(0, 1), { from: null, to: 1 })
    assert.deepStrictEqual(span(-5, most), { from: null, to: most })
    assert.deepStrictEqual(span(0.25, 1.25), { from: 1, to: 2 })
    assert.deepStrictEqual(span(most, Infinity), { from: most, to: null })
    for (const [from, to] of [
      [0, 0],
      [5, 5],
      [5, 4],
      [-5, -4],
      [most + 1, Infinity],
      [Infinity, Infinity]
    ] as const) {
      assert.isUndefined(span(from, to), `${from} to ${to}`)
    }
    for (const account of [5, null, {}]) {
      assert.strictEqual(Checks.checkSpan({ account: untyped(account) }), "the account of entries is a text.")
    }
    assert.strictEqual(span(NaN, 5), "entries from NaN to 5 are none.")
    assert.strictEqual(span(undefined, NaN), "entries from -Infinity to NaN are none.")
  })
})

describe("an end", () => {
  const common = { seq: 1, at: 0, account: "root", chain: [], reservation: "7", reserved: usd(10) }
  const settled: Ledger.Entry = {
    ...common,
    _tag: "Settled",
    amount: usd(5_000_000),
    overrun: usd(0),
    verdict: "metered",
    label: null
  }
  const released: Ledger.Entry = { ...common, _tag: "Released" }
  const corrected = (verdict: "metered" | "released"): Ledger.Entry => ({
    ...settled,
    _tag: "Corrected",
    charged: usd(10),
    difference: usd(0),
    verdict
  })
  const paused: Ledger.Entry = { _tag: "Paused", seq: 1, at: 0, account: "root", chain: [] }
  const charge: Ledger.Charge = { amount: usd(5_000_000), verdict: "metered" }

  it("is the one that is booked where it is of the same kind, for as much, by the same verdict", () => {
    for (const ended of [settled, corrected("metered")]) {
      assert.isTrue(Checks.endsAlike(ended, charge))
      assert.isTrue(Checks.endsAlike(ended, { ...charge, label: "another" }))
      for (const other of [
        undefined,
        { ...charge, amount: usd(4) },
        { ...charge, verdict: "assumed" as const }
      ]) {
        assert.isFalse(Checks.endsAlike(ended, other))
      }
    }
    for (const ended of [released, corrected("released")]) {
      assert.isTrue(Checks.endsAlike(ended, undefined))
      assert.isFalse(Checks.endsAlike(ended, { amount: usd(0), verdict: "metered" }))
    }
    assert.isFalse(Checks.endsAlike(paused, undefined))
    assert.isFalse(Checks.endsAlike(paused, charge))
  })

  it("is told with what it came to", () => {
    assert.strictEqual(Checks.howItEnded(settled), "it was settled for $0.005.")
    assert.strictEqual(Checks.howItEnded(corrected("metered")), "it was settled for $0.005.")
    assert.strictEqual(Checks.howItEnded(released), "it was released.")
  })

  it("that cannot be is a conflict that names its reservation", () => {
    includes(reasonOf(Checks.conflict(held, "why.")), {
      _tag: "ReservationConflict",
      reservation: "7",
      detail: "why."
    })
    includes(reasonOf(Checks.anotherAsk("mine")), {
      _tag: "ReservationConflict",
      reservation: "mine",
      detail: "its id was given to another request."
    })
  })
})

describe("what stands in the way of an ask", () => {
  const at = {
    account: "root",
    limit: usd(9),
    spent: usd(3),
    reserved: usd(2),
    paused: false,
    nextWindow: null
  }
  const blocked = (parts: Partial<Parameters<typeof Checks.blocked>[0]>, hopeless: boolean) =>
    Checks.blocked({ ...at, ...parts }, usd(8), 12, hopeless).reason

  it("is its limit with all numbers, and when the next window begins", () => {
    const numbers = { account: "root", limit: 9, spent: 3, reserved: 2, required: 8, waitedMillis: 12 }
    const without = blocked({}, false)
    includes(without, { _tag: "BudgetExceeded", ...numbers })
    assert.notProperty(without, "nextWindow")
    includes(blocked({ nextWindow: 500 }, false), { ...numbers, nextWindow: 500 })
  })

  it("is a pause, unless the ask would not fit without it either", () => {
    includes(blocked({ paused: true }, false), { _tag: "AccountPaused", account: "root", waitedMillis: 12 })
    includes(blocked({ paused: true }, true), { _tag: "BudgetExceeded", required: 8 })
  })

  it("is an account that is not open, or a ledger that is closed", () => {
    includes(reasonOf(Checks.notOpen("root/x")), {
      _tag: "InvalidAccount",
      account: "root/x",
      detail: "it is not open. Open it first, with its limit."
    })
    includes(reasonOf(Checks.closed), { _tag: "Closed", detail: "The ledger is closed." })
    includes(Checks.invalidOptions("why.").reason, { _tag: "InvalidOptions", detail: "why." })
  })
})
