/** One file with a mutant in it, for as long as something runs. */
import * as fs from "node:fs"
import { mutate, type Mutant } from "../test/utils/mutants.ts"

/** Runs something while the file has the mutant in it. Throws where the text of the mutant does not stand there once. */
export const withMutant = async <A>(file: string, mutant: Mutant, run: () => A | Promise<A>): Promise<A> => {
  const text = fs.readFileSync(file, "utf8")
  const made = mutate(text, mutant)
  if (typeof made === "string") throw new Error(made)
  fs.writeFileSync(file, made.text)
  try {
    return await run()
  } finally {
    fs.writeFileSync(file, text)
  }
}
