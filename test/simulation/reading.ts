/** The caller's side of an answer: it reads chunk by chunk, or goes away. */
import type { Attempt } from "./attempt.ts"
import type { Coverage } from "./coverage.ts"
import type { Reading } from "./requests.ts"

/** Reads an answer. `turn` lets whatever else is ready happen first; `goes` is told before it goes away. */
export const readAnswer = async (
  response: Response,
  reading: Reading,
  attempt: Attempt,
  turn: () => Promise<void>,
  goes: () => void,
  coverage: Coverage
): Promise<void> => {
  const leaves = (): void => {
    goes()
    coverage.met("left early")
  }
  switch (reading.kind) {
    case "never":
      attempt.unread = true
      coverage.met("never read")
      return
    case "cancel":
      leaves()
      await response.body?.cancel()
      return
    case "text":
      await response.text()
      break
    case "bytes":
      await response.arrayBuffer()
      break
    case "json":
      // A stream is no JSON: its reader throws it away once it has read it.
      await response.json().catch((error: unknown) => {
        if (!(error instanceof SyntaxError)) throw error
      })
      break
    case "some":
    case "to its end": {
      const reader = response.body?.getReader()
      let left = reading.kind === "some" ? reading.chunks : Infinity
      for (; reader !== undefined; left--) {
        await turn()
        if (left <= 0) {
          leaves()
          await reader.cancel()
          return
        }
        if ((await reader.read()).done) break
      }
    }
  }
  attempt.read = true
}
