/** What a world is like from its beginning on. */
import type { BudgetedFetch } from "agent-budget"
import type { Random } from "../utils/random.ts"
import { type Kind, kinds } from "./windows.ts"

export interface Team {
  readonly name: string
  /** In nano-dollars. */
  readonly limit: number | undefined
  readonly window: Kind | undefined
  /** In millionths of the limit. */
  readonly thresholds: ReadonlyArray<number>
}

export interface Setting {
  /** Who has the books: the ledger in memory, or one over the store of an engine or of the tests. */
  readonly books: "memory" | "sqlite" | "reference"
  readonly processes: number
  /** How far the clocks of the first of them are ahead, in milliseconds. */
  readonly skews: ReadonlyArray<number>
  /** How many days after the first of all worlds it begins: the clocks of Europe may change in it. */
  readonly days: number
  /** What a token is for the provider, and for whoever counts: four bytes of text, or as little as there is. */
  readonly bytesPerToken: 1 | 4
  /** How often a fiber lets others run between two of its operations. */
  readonly preemption: number
  /** In nano-dollars. */
  readonly limit: number
  readonly window: Kind | undefined
  /** Of the root, in millionths. */
  readonly thresholds: ReadonlyArray<number>
  readonly teams: ReadonlyArray<Team>
  readonly policy: BudgetedFetch.PolicyOptions
  /** In milliseconds, as all times here. */
  readonly waitAtMost: number | undefined
  /** Of the ledger in memory. */
  readonly lease: number | undefined
  readonly stored: { readonly lease: number; readonly poll: number; readonly writeAtClose: number }
  /** Somebody is told of every entry of the ledger in memory: without, what it does at once is done without a fiber. */
  readonly hears: boolean
  /** How long it takes until everything has come to its end. */
  readonly windDown: number
}

const drawWindow = (random: Random): Kind | undefined => (random.chance(0.3) ? random.one(kinds) : undefined)

const drawPolicy = (random: Random): BudgetedFetch.PolicyOptions => ({
  abandoned: random.chance(0.3) ? "drain" : "assume",
  inputBound: random.one(["auto", "auto", "bytes", "counted"]),
  uncapped: random.chance(0.2)
    ? "modelMaximum"
    : { share: random.one([0.05, 0.1, 0.5]), floor: random.one([16, 128, 1_024]) }
})

export const drawSetting = (random: Random): Setting => {
  const books = random.one<Setting["books"]>(["memory", "memory", "sqlite", "reference"])
  return {
    books,
    processes: books === "memory" ? 1 : random.between(1, 3),
    days: random.one([0, 0, 0, 26]),
    bytesPerToken: random.chance(0.3) ? 1 : 4,
    skews: random.chance(0.3) ? Array.from({ length: 8 }, () => random.between(-300_000, 300_000)) : [],
    preemption: random.one([0, 0.01, 0.05, 0.2]),
    limit: random.between(5, 400) * 1_000_000,
    window: drawWindow(random),
    thresholds: [500_000, 900_000],
    teams: ["red", "blue"].map((name) => ({
      name,
      limit: random.chance(0.6) ? random.between(2, 150) * 1_000_000 : undefined,
      window: drawWindow(random),
      thresholds: random.one([[], [250_000, 1_000_000], [333_333]])
    })),
    policy: drawPolicy(random),
    waitAtMost: random.chance(0.6) ? random.between(1, 60) * 1_000 : undefined,
    lease: random.chance(0.3) ? random.between(5, 60) * 1_000 : undefined,
    stored: { lease: random.between(10, 60) * 1_000, poll: 1_000, writeAtClose: 10_000 },
    windDown: 300_000,
    hears: random.chance(0.6)
  }
}
