/** What the stores tell that answer JSON, as schemas: they differ in how they keep a text. */
import * as Schema from "effect/Schema"
import * as Usd from "../Usd.ts"

/** The schemas of a store that keeps its texts like this. */
export const answersWith = (Text: Schema.Codec<string>) => {
  const Row = Schema.Struct({
    account: Text,
    parent: Schema.NullOr(Text),
    limit: Schema.NullOr(Usd.FromNanos),
    spent: Usd.FromNanos,
    reserved: Usd.FromNanos,
    paused: Schema.Boolean,
    frame: Schema.NullOr(Text),
    windowStart: Schema.NullOr(Schema.Finite),
    windowEnd: Schema.NullOr(Schema.Finite)
  })
  const Held = Schema.Struct({
    id: Text,
    account: Text,
    amount: Usd.FromNanos,
    at: Schema.Finite,
    expiresAt: Schema.Finite
  })
  const refused = { now: Schema.Finite, row: Row }
  return {
    Row,
    open: Schema.Union([
      Schema.TaggedStruct("Opened", {}),
      Schema.TaggedStruct("NoParent", {}),
      Schema.TaggedStruct("Differs", { row: Row })
    ]),
    close: Schema.NullOr(Schema.Struct(refused)),
    reserve: Schema.Union([
      Schema.TaggedStruct("Granted", { held: Held }),
      Schema.TaggedStruct("Short", { ...refused, hopeless: Schema.Boolean }),
      Schema.TaggedStruct("Paused", refused),
      Schema.TaggedStruct("Stale", refused),
      Schema.TaggedStruct("NotOpen", {}),
      Schema.TaggedStruct("Taken", { how: Schema.Literals(["another ask", "ended", "cancelled"]) })
    ]),
    renew: Schema.Array(Schema.Struct({ id: Text, expiresAt: Schema.Finite }))
  }
}
