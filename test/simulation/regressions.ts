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
  { defect: once.windowOfTheLine, seed: 20, steps: through("141,148,149,167,168,169,178") },
  { defect: once.toldTwice, seed: 72, steps: through("60,63,64,68,69,71,75") },
  {
    defect: once.untold,
    seed: 99,
    steps: through(
      "33,40,42,49,55,56,78,79,82,83,102,103,104,105,107,111,114,117,120,121,125,126,128,129,130,131,135,136"
    )
  },
  { defect: once.passedBy, seed: 96, steps: through("9,16,19,21,45,66,71,85,89,93,94,112,115,119,121") },
  {
    defect: once.tooLate,
    seed: 62,
    steps: through(
      "8,9,10,11,12,13,16,17,22,26,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,67,68,69,70,71,72,73,74,75,76,77,78,79,80,81,82,83,84,85,86,87,88,89,90,91,92,95,96,97,98,99,100,101,102,103,104,105,106,107,108,111,112,113,114,115,116,117,118,119,120,123,124,125,126,127,128,129,130,134,135,138,139,140,141,142,146,149,150,151,152,153,154,155,156,157,158,159,160,163,164,165,166,167,168,169,170,171,172,173,174,175,176,177,178,183,184,185,186,187,188,189,190,193,194,195,196,197,198,199,200,201,202,203,204,205,206,207,208,209,210,211,212,213,214,215,216,217,218,219,220,221,222,223,224,225,226,227,228,229,230,231,232,233,234,235,236,237,238,247,248,249,250,251,252,253,254,255,256,257,258,259,265,266,267,268,269,273,274,275,276,277,278,279,280,281,282,283,284,288,289,290"
    )
  },
  {
    defect: once.insideAnEnded,
    seed: 199,
    steps: through("54,60,64,94,104,107,116,132,138,164,165,192,194,196")
  }
]
