/** POST /embeddings. */
import type { Endpoint } from "../Endpoint.ts"
import type { CountSheet } from "./countSheet.ts"
import type { JsonObject } from "./json.ts"
import { planner, type Sides } from "./planning.ts"
import type { BodyReader, FieldRule } from "./requestBound.ts"
import { readEmbeddingUsage } from "./wireUsage.ts"

const name = "POST /embeddings"

const fields: Readonly<Record<string, FieldRule>> = {
  dimensions: "bounded",
  encoding_format: "bounded",
  input: "bounded",
  model: "bounded",
  user: "bounded"
}

const readBody = (reader: BodyReader): Sides => {
  // Many inputs share a request, so that no single input's window bounds it.
  reader.windows = Infinity
  return { output: undefined, tier: undefined, stream: false, askForUsage: false }
}

export const listBody = (sheet: CountSheet, body: JsonObject): void => sheet.prompt(body.input)

const plan = planner(name, false, fields, readBody, listBody)

export const embeddings: Endpoint = {
  name,
  plan,
  read: readEmbeddingUsage,
  signal: () => ({ _tag: "Nothing" })
}
