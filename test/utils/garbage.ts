import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Frees at once all that nobody holds. */
export const collectGarbage = (): void => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
}
