/**
 * How near a bill came to its bound: the alarm that a constant has gone stale. It never changes a quote.
 *
 * The share of the whole bound that was billed says little. A long text that is counted is billed at 0.98 of its
 * quote on any day, since hardly anything is allowed beside it. What says something is the margin: those tokens of
 * the bound that lie beyond all that was ever seen billed (a hundredth of the texts and a few more where they were
 * counted, the whole length where they were not). No recorded bill takes as much as nine tenths of it. One that does
 * is the last sign before a bill that passes its quote.
 */

export interface Bound {
  /** The most input, in tokens. */
  readonly input: number
  /** Those of them that lie beyond all that was seen. */
  readonly margin: number
}

/** What may be taken of a margin without a word. */
const alarm = 0.9

/** How much of its bound was billed. */
export const shareOf = ({ input }: Bound, billed: number): number => billed / input

/** How much of its margin a bill took: 0 and below where it kept out of it, above 1 where it passed its bound. */
export const takenOf = ({ input, margin }: Bound, billed: number): number => 1 - (input - billed) / margin

/** Whether a bill took nearly all of its margin. Without a margin there is nothing to tell by. */
export const isThin = (bound: Bound, billed: number): boolean =>
  bound.margin > 0 && takenOf(bound, billed) > alarm
