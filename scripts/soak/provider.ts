/** The provider of the soak: in this process, so that nothing but the budget and the client has the time. */

/** What becomes of a call; its request says so in `user`. */
export type Fate =
  | "whole"
  | "streamed"
  /** By a plain `fetch`, with a signal that lives as long as the soak. */
  | "shared"
  | "left"
  | "aborted"
  | "cut"
  | "failed"
  | "limited"
  | "unreachable"

/** Fates whose bill reaches its reader, and those whose bill nobody knows; the others cost nothing. */
const metered = new Set<Fate>(["whole", "streamed", "shared"])
const unknown = new Set<Fate>(["left", "aborted", "cut", "failed"])

/** Nano-dollars a token of gpt-4o. Source: OpenAI's price list. */
const inputNanos = 2_500
const outputNanos = 10_000

export class Provider {
  /** What was billed and told, and what was billed and not told, in nano-dollars. */
  told = 0
  untold = 0
  requests = 0

  readonly fetch = (_input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    this.requests++
    const body = JSON.parse(typeof init?.body === "string" ? init.body : "{}") as {
      readonly user: Fate
      readonly max_completion_tokens: number
    }
    const fate = body.user
    // No more than such a question takes: what is billed beyond a bound is an overrun, and no limit holds it.
    const input = 10 + (this.requests % 12)
    const output = Math.max(1, (this.requests * 7) % body.max_completion_tokens)
    const bill = input * inputNanos + output * outputNanos
    if (metered.has(fate)) this.told += bill
    if (unknown.has(fate)) this.untold += bill
    return this.#answer(fate, { prompt_tokens: input, completion_tokens: output }, init?.signal)
  }

  #answer(fate: Fate, usage: object, signal: AbortSignal | null | undefined): Promise<Response> {
    switch (fate) {
      case "whole":
      case "shared":
        return Promise.resolve(Response.json({ ...completion, choices: [{ ...choice, message }], usage }))
      case "streamed":
        return Promise.resolve(events([...deltas, { ...chunk, choices: [], usage }]))
      case "left":
        return Promise.resolve(events([...deltas, ...deltas, ...deltas, { ...chunk, choices: [], usage }]))
      case "cut":
        return Promise.resolve(events(deltas, new TypeError("terminated")))
      case "aborted":
        return new Promise((_, reject) => {
          signal?.addEventListener("abort", () => reject(new DOMException("Aborted", "AbortError")), {
            once: true
          })
        })
      case "failed":
        return Promise.resolve(Response.json({ error: { message: "failed" } }, { status: 500 }))
      case "limited":
        return Promise.resolve(Response.json({ error: { message: "too many" } }, { status: 429 }))
      case "unreachable":
        return Promise.reject(
          new TypeError("fetch failed", {
            cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" })
          })
        )
    }
  }
}

const model = "gpt-4o-2024-08-06"
const message = { role: "assistant", content: "Fine.", refusal: null }
const completion = {
  id: "chatcmpl-soak",
  object: "chat.completion",
  created: 0,
  model,
  service_tier: "default"
}
const choice = { index: 0, finish_reason: "stop" }
const chunk = { id: "chatcmpl-soak", object: "chat.completion.chunk", created: 0, model }
const deltas = Array.from({ length: 6 }, (_, index) => ({
  ...chunk,
  choices: [{ index: 0, delta: { content: `${index} ` }, finish_reason: null }],
  usage: null
}))

/** A stream of events, one a read; whole, or cut by an error. */
const events = (all: ReadonlyArray<object>, error?: Error): Response => {
  const lines = all.map((each) => `data: ${JSON.stringify(each)}\n\n`)
  if (error === undefined) lines.push("data: [DONE]\n\n")
  let next = 0
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const line = lines[next++]
      if (line !== undefined) controller.enqueue(encoder.encode(line))
      else if (error === undefined) controller.close()
      else controller.error(error)
    }
  })
  return new Response(body, { headers: { "content-type": "text/event-stream" } })
}
