/** What may go wrong with one request, drawn by the seed. */
import type { Random } from "../utils/random.ts"

export type Ending =
  | "well"
  | "refused"
  | "reset"
  | "status"
  | "hangs"
  | "hangs in its body"
  | "cut"
  | "ends early"
  | "malformed"
  | "redirect"

/** How an answer tells its usage. All but the first cannot be booked. */
export type Report = "truth" | "nothing" | "null" | "negative" | "zero" | "text" | "parts beyond the whole"

/** Whether the chunks of a chat stream tell their usage so far, and whether one without choices comes at their end. */
export type Growth = "no" | "then final" | "only"

/** What the provider does with one request. */
export interface Behaviour {
  readonly ending: Ending
  readonly status: number
  /** The model ran before the status was sent, where that is no refusal. */
  readonly ran: boolean
  /** Tokens that each candidate writes, unless its cap is less. */
  readonly output: number
  readonly reasoning: number
  /** Parts of the input, in percent. */
  readonly cached: number
  readonly written: number
  readonly ignoresCap: boolean
  readonly servedTier: "as asked" | "priority" | "flex" | "unknown" | "untold"
  readonly dearerModel: boolean
  readonly dated: boolean
  readonly report: Report
  readonly grows: Growth
  /** Whether the model stops writing when its reader goes away. */
  readonly stops: boolean
  /** Milliseconds between packets. */
  readonly pace: number
  /** Where the answer is cut into packets, and where it breaks, in thousandths. */
  readonly cuts: number
  readonly breaksAt: number
}

export const refusals: ReadonlyArray<number> = [400, 401, 403, 404, 413, 422, 429]
const failures: ReadonlyArray<number> = [408, 409, 418, 500, 502, 503, 529]

const endings: ReadonlyArray<Ending> = [
  "refused",
  "reset",
  "status",
  "status",
  "hangs",
  "hangs in its body",
  "cut",
  "cut",
  "ends early",
  "malformed",
  "redirect"
]

const untrue: ReadonlyArray<Report> = [
  "nothing",
  "null",
  "negative",
  "zero",
  "text",
  "parts beyond the whole"
]

/** Mostly all is well: a world in which everything fails never fills a budget. */
export const drawBehaviour = (random: Random): Behaviour => ({
  ending: random.chance(0.3) ? random.one(endings) : "well",
  status: random.chance(0.5) ? random.one(refusals) : random.one(failures),
  ran: random.chance(0.5),
  output: random.chance(0.2) ? random.between(0, 5_000) : random.between(0, 120),
  reasoning: random.chance(0.3) ? random.below(60) : 0,
  cached: random.chance(0.3) ? random.below(80) : 0,
  written: random.chance(0.3) ? random.below(101) : 0,
  ignoresCap: random.chance(0.05),
  servedTier: random.chance(0.12) ? random.one(["priority", "flex", "unknown", "untold"]) : "as asked",
  dearerModel: random.chance(0.04),
  dated: random.chance(0.3),
  report: random.chance(0.08) ? random.one(untrue) : "truth",
  grows: random.chance(0.2) ? random.one(["then final", "only"]) : "no",
  stops: random.chance(0.5),
  pace: random.chance(0.3) ? random.below(20_000) : 0,
  cuts: random.below(4),
  breaksAt: random.below(1_000)
})
