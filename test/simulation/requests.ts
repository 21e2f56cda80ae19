/** What agents ask for, and how they take the answer. */
import type { Random } from "../utils/random.ts"
import { attemptHeader, root } from "./provider.ts"

/** How an answer is read. */
export type Reading =
  | { readonly kind: "text" | "json" | "bytes" | "to its end" | "never" | "cancel" }
  | { readonly kind: "some"; readonly chunks: number }

export interface Ask {
  readonly url: string
  readonly body: string
  readonly reading: Reading
}

const ways = ["text", "json", "bytes", "to its end", "to its end"] as const

const drawReading = (random: Random): Reading => {
  if (random.chance(0.04)) return { kind: "never" }
  if (random.chance(0.04)) return { kind: "cancel" }
  if (random.chance(0.08)) return { kind: "some", chunks: random.below(6) }
  return { kind: random.one(ways) }
}

/** Mostly short; sometimes long enough for the rates of long contexts, and then also by a token more or less. */
const words = (random: Random, bytesPerToken: number): string => {
  if (random.chance(0.04)) return "w".repeat(bytesPerToken * (random.between(1_991, 2_000) - 4))
  const length = random.chance(0.1) ? random.below(2_500) : random.below(60)
  return "word ".repeat(length) + (random.chance(0.2) ? "é€" : "")
}

const tiers = ["auto", "priority", "default"]

/** With or without a cap, streamed or not, on the endpoints that have prices here. */
export const drawAsk = (random: Random, bytesPerToken: number): Ask => {
  const reading = drawReading(random)
  const kind = random.below(10)
  const post = (path: string, body: object): Ask => ({
    url: `${root}${path}`,
    body: JSON.stringify(body),
    reading
  })
  const cap = random.chance(0.5) ? random.between(1, 400) : undefined
  const stream = random.chance(0.6) ? true : undefined
  const service_tier = random.chance(0.25) ? random.one(tiers) : undefined
  const text = words(random, bytesPerToken)
  if (kind === 0) return post("/embeddings", { model: "text-embedding-sim", input: text || "word" })
  const model = random.one(["gpt-4o-sim", "gpt-5-sim"])
  const common = { model, stream, service_tier }
  if (kind < 4) return post("/responses", { ...common, input: text, max_output_tokens: cap })
  const messages = [{ role: "user", content: text }]
  const n = random.chance(0.1) ? 2 : undefined
  const stream_options = stream === true && random.chance(0.3) ? { include_usage: true } : undefined
  return post("/chat/completions", { ...common, messages, n, stream_options, max_completion_tokens: cap })
}

/** What must be refused before anything is sent or held, and why. */
export interface Unpriced {
  readonly path: string
  readonly body: string
  readonly reason:
    "UnknownModel" | "UnpricedTier" | "UnsupportedEndpoint" | "UnboundedRequest" | "MalformedRequest"
}

const messages = [{ role: "user", content: "word" }]
const known = { model: "gpt-4o-sim", messages }

const unpriced: ReadonlyArray<readonly [reason: Unpriced["reason"], path: string, body: unknown]> = [
  ["UnknownModel", "/chat/completions", { ...known, model: "gpt-9-sim", stream: true }],
  ["UnknownModel", "/chat/completions", { ...known, model: "gpt-4o-sim-2025-01-01" }],
  ["UnknownModel", "/responses", { model: "gpt-5-sim-pro", input: "word", max_output_tokens: 1 }],
  ["UnknownModel", "/embeddings", { model: "text-embedding-9", input: "word" }],
  ["UnpricedTier", "/chat/completions", { ...known, service_tier: "ultrafast" }],
  ["UnsupportedEndpoint", "/images/generations", { model: "gpt-image-1", prompt: "word" }],
  ["UnsupportedEndpoint", "/audio/speech", { model: "tts-1", input: "word", voice: "alloy" }],
  ["UnsupportedEndpoint", "/batches", { endpoint: "/v1/chat/completions", input_file_id: "file-1" }],
  ["UnboundedRequest", "/chat/completions", { ...known, web_search_options: {} }],
  ["UnboundedRequest", "/chat/completions", { ...known, thinks_harder: true }],
  ["UnboundedRequest", "/responses", { model: "gpt-5-sim", input: "word", background: true }],
  ["MalformedRequest", "/chat/completions", { ...known, n: "2" }],
  ["MalformedRequest", "/chat/completions", "{"]
]

export const drawUnpriced = (random: Random): Unpriced => {
  const [reason, path, body] = random.one(unpriced)
  return { reason, path, body: typeof body === "string" ? body : JSON.stringify(body) }
}

export const requestOf = (ask: Ask, attempt: string, signal: AbortSignal): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", [attemptHeader]: attempt },
  body: ask.body,
  signal
})
