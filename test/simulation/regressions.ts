/**
 * Worlds that once failed, by seed and steps. They hold for the simulation as it is: whoever changes what a seed
 * draws looks for others (break the code once more, and let the simulation find it), or leaves the tests that were
 * written beside them to guard it.
 */
export interface Regression {
  readonly what: string
  readonly seed: number
  readonly steps: ReadonlyArray<number>
}

const through = (text: string): ReadonlyArray<number> => text.split(" ").map(Number)

export const regressions: ReadonlyArray<Regression> = [
  {
    what: "someone was let in from the line, for a window that had ended",
    seed: 11,
    steps: through(
      "43 44 45 48 50 51 69 70 72 73 78 79 80 81 82 83 87 88 91 92 101 103 104 106 113 124 130 131 132 135 144 147 152 155 156 161 162 180 181 182 183 184 185 188 189 190 191 192 193 194 195 200 201 202 203 204 205 206 207 220"
    )
  },
  {
    what: "a caller went away as its admission was told, which was then told twice",
    seed: 22,
    steps: through("288 289 304 306")
  },
  {
    what: "a caller was interrupted between booking and telling, and the sink never heard",
    seed: 176,
    steps: through("292 313 337 338 340 345 349 351 352 354 363")
  },
  {
    what: "an ending that had been described earlier passed by the one that was kept",
    seed: 12,
    steps: through("66 93 95 107 110 111 112 113 135 136 139 140 145 151")
  },
  {
    what: "a lease ran out between a lost answer and its repeat",
    seed: 24,
    steps: through("14 15 24 38 79")
  },
  {
    what: "a dearer model served on a tier that it has no price for",
    seed: 98,
    steps: through("259")
  },
  {
    what: "someone was let in from the line of an account that had closed, under the name of a new one",
    seed: 21_753,
    steps: Array.from({ length: 447 }, (_, step) => step)
  },
  {
    what: "a clock that was set ahead and back began a rolling window inside one that had ended",
    seed: 100_725,
    steps: [369, 380, 381, 385, 388]
  }
]
