/**
 * Worlds that failed while what mended a fault was taken out: `npm run mutants -- worlds` shows that they still do. They
 * hold for the simulation as it is: whoever changes what a seed draws looks for others in the same way.
 */
import { once } from "../utils/worldMutants.ts"
import type { Mutant } from "../utils/mutants.ts"

export interface Regression {
  readonly defect: Mutant
  readonly seed: number
  readonly steps: ReadonlyArray<number>
}

const through = (text: string): ReadonlyArray<number> => text.split(",").map(Number)

export const regressions: ReadonlyArray<Regression> = [
  {
    defect: once.windowOfTheLine,
    seed: 192,
    steps: through("32,33,34,35,37,42,45,46,50,96,100,101,115,121")
  },
  { defect: once.toldTwice, seed: 72, steps: through("60,63,64,68,69,71,75") },
  {
    defect: once.untold,
    seed: 678,
    steps: through("12,14,17,19,22,26,33,85,86,87,90,91,92,93,94,95,98")
  },
  { defect: once.passedBy, seed: 96, steps: through("9,16,19,21,45,66,71,85,89,93,94,112,115,119,121") },
  { defect: once.tooLate, seed: 68, steps: through("35,68,69,70,71,85") },
  {
    defect: once.insideAnEnded,
    seed: 199,
    steps: through("54,60,64,94,104,107,116,132,138,164,165,192,194,196")
  }
]
