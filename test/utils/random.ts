/** Values that look random and are the same in every run. */

export interface Random {
  /** A whole number from 0, below `limit`. */
  readonly below: (limit: number) => number
  readonly between: (least: number, most: number) => number
  readonly chance: (share: number) => boolean
  readonly one: <A>(of: ReadonlyArray<A>) => A
  readonly some: <A>(most: number, each: (index: number) => A) => ReadonlyArray<A>
}

/** mulberry32 */
export const random = (seed: number): Random => {
  let state = Math.imul(seed + 1, 0x9e3779b9)
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (share) => next() < share,
    one: (of) => {
      const chosen = of[below(of.length)]
      if (chosen === undefined) throw new Error("Nothing to choose from.")
      return chosen
    },
    some: (most, each) => Array.from({ length: below(most + 1) }, (_, index) => each(index))
  }
}
