/** POST /completions, the legacy endpoint. */
import type { Endpoint } from "../Endpoint.ts"
import { asksForUsage, chunkSignal } from "./streamUsage.ts"
import { isArray, type Json, type JsonObject } from "./json.ts"
import type { CountSheet } from "./countSheet.ts"
import { planner, type Sides } from "./planning.ts"
import type { BodyReader, FieldRule } from "./requestBound.ts"
import { readPromptUsage } from "./wireUsage.ts"

const name = "POST /completions"

const fields: Readonly<Record<string, FieldRule>> = {
  best_of: "bounded",
  echo: "bounded",
  frequency_penalty: "bounded",
  logit_bias: "bounded",
  logprobs: "bounded",
  max_tokens: "bounded",
  model: "bounded",
  n: "bounded",
  presence_penalty: "bounded",
  prompt: "bounded",
  seed: "bounded",
  stop: "bounded",
  stream: "bounded",
  stream_options: "bounded",
  suffix: "bounded",
  temperature: "bounded",
  top_p: "bounded",
  user: "bounded"
}

/** What the API uses when no cap is sent. Source: the API reference of POST /completions, `max_tokens`. */
const documentedCap = 16

/** A list of texts, or of lists of tokens, is that many prompts; a list of tokens is one. */
const prompts = (prompt: Json | undefined): number =>
  isArray(prompt) && prompt.some((each) => typeof each !== "number") ? prompt.length : 1

const readBody = (reader: BodyReader, body: JsonObject): Sides => {
  const stream = reader.flag(body, "stream")
  const copies = Math.max(reader.count(body, "n") ?? 1, reader.count(body, "best_of") ?? 1)
  // None at all scores a prompt, which is echoed with its logprobs. Gateways that leave zeros out ask for the default.
  const cap = reader.count(body, "max_tokens", 0)
  reader.windows = prompts(body.prompt)
  const output = {
    cap: cap === 0 ? documentedCap : cap,
    fallback: documentedCap,
    field: "max_tokens",
    times: reader.windows * copies,
    extra: 0,
    audio: false
  }
  return { output, tier: undefined, stream, askForUsage: stream && !asksForUsage(body) }
}

export const listBody = (sheet: CountSheet, body: JsonObject): void => {
  sheet.prompt(body.prompt)
  sheet.text(body.suffix)
}

const plan = planner(name, false, fields, readBody, listBody)

export const completions: Endpoint = { name, plan, read: readPromptUsage, signal: chunkSignal }
