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
  { defect: once.windowOfTheLine, seed: 20, steps: through("132,133,134,135,136,138,139,140,168,169,178") },
  { defect: once.toldTwice, seed: 12, steps: through("52,72,93,107") },
  {
    defect: once.untold,
    seed: 99,
    steps: through(
      "33,39,40,41,42,53,55,56,76,77,78,79,81,82,83,84,86,87,88,89,91,110,111,112,114,116,117,119,120,121,125,126,128,129,130,131,133,135,136,137,143,144,145,146"
    )
  },
  { defect: once.passedBy, seed: 312, steps: through("140,141,187,192,194,196,198,199,204,207,225,226,231") },
  {
    defect: once.tooLate,
    seed: 2,
    steps: through("0,1,2,6,8,15,16,19,20,23,24,25,26,30,31,32,33,34,45,50,51,54,56,60")
  },
  {
    defect: once.insideAnEnded,
    seed: 199,
    steps: through("36,37,79,94,100,101,157,164,165,188,190,191,192,196,201")
  }
]
