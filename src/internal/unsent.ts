/** What a transport throws that sent nothing, as only it can know, to the budgeted `fetch` right above it. */
import * as Data from "effect/Data"

export class Unsent extends Data.TaggedError("Unsent")<{
  /** What is thrown to the caller. */
  readonly error: unknown
}> {}
