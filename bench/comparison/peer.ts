/** What a peer looks like to the comparison, and the provider that all of them pay. */
import OpenAI from "openai"

export interface Ask {
  readonly model: string
  readonly max_tokens: number
  readonly messages: Array<{ readonly role: "user"; readonly content: string }>
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage: boolean }
}

export interface Guard {
  /** One call under the budget. Rejects where it is refused. */
  readonly ask: (request: Ask) => Promise<unknown>
  /** Calls one after another, for those whose own runtime would else be started for each. */
  readonly loop?: (times: number, isGuarded: boolean) => Promise<unknown>
  /** What it says was spent so far, in its unit. */
  readonly booked?: () => Promise<number>
  /** Ends what waits for room that never comes. */
  readonly giveUp?: () => Promise<unknown>
  readonly close?: () => Promise<unknown>
}

export interface Means {
  readonly limitUsd: number
  /** The same limit for those that count tokens or calls. */
  readonly limitTokens: number
  readonly limitCalls: number
  readonly costUsd: number
  /** For those that wrap a client. */
  readonly client: OpenAI
  /** For those that are told what a call costs: the call. */
  readonly pay: () => Promise<unknown>
}

export interface Peer {
  readonly name: string
  readonly version: string
  /** `client`: it wraps an OpenAI client and reads what was used. `manual`: its caller says what a call costs. */
  readonly kind: "client" | "manual"
  readonly unit: "usd" | "tokens" | "points"
  readonly call: string
  readonly note: string
  readonly open: (means: Means) => Guard | Promise<Guard>
}

interface Usage {
  readonly input: number
  readonly cached: number
  readonly output: number
}

/** The prices of gpt-4o, in USD per 1,000,000 tokens. With them `whole` is exactly a cent. */
const price = { input: 2.5, cached: 1.25, output: 10 }
export const whole: Usage = { input: 1_000, cached: 0, output: 750 }
export const mostlyCached: Usage = { input: 1_000, cached: 800, output: 750 }
export const short: Usage = { input: 1_000, cached: 0, output: 100 }

/** 993 tokens, which are a thousand with the framing of a message. */
const content = "a" + " a".repeat(992)

export const request: Ask = { model: "gpt-4o", max_tokens: 750, messages: [{ role: "user", content }] }

const usageBody = (usage: Usage): object => ({
  prompt_tokens: usage.input,
  completion_tokens: usage.output,
  total_tokens: usage.input + usage.output,
  prompt_tokens_details: { cached_tokens: usage.cached, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
})

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

interface Serving {
  readonly delay: number
  readonly usage: Usage
  /** What the answer says served it; the model that was asked for unless said. */
  readonly servedBy?: string
}

/** Stands for the provider, inside the process. It bills every call that reaches it, streams whole. */
export class Provider {
  sent = 0
  billedUsd = 0
  billedTokens = 0
  readonly #serving: Serving
  constructor(serving: Serving) {
    this.#serving = serving
  }

  readonly client = (): OpenAI =>
    new OpenAI({
      apiKey: "none",
      maxRetries: 0,
      fetch: (_url, init) => this.#answer(typeof init?.body === "string" ? init.body : "")
    })

  readonly pay = async (): Promise<object> => {
    this.#bill()
    if (this.#serving.delay > 0) await pause(this.#serving.delay)
    return {}
  }

  #bill(): void {
    const { usage } = this.#serving
    this.sent += 1
    this.billedTokens += usage.input + usage.output
    const nanos =
      (usage.input - usage.cached) * price.input * 1_000 +
      usage.cached * price.cached * 1_000 +
      usage.output * price.output * 1_000
    this.billedUsd = (Math.round(this.billedUsd * 1e9) + nanos) / 1e9
  }

  async #answer(body: string): Promise<Response> {
    const asked = JSON.parse(body) as Ask
    await this.pay()
    const model = this.#serving.servedBy ?? asked.model
    return asked.stream === true ? this.#streamed(model) : this.#plain(model)
  }

  #plain(model: string): Response {
    const message = { role: "assistant", content: "Fine.", refusal: null }
    return Response.json({
      id: "chatcmpl-peers",
      object: "chat.completion",
      created: 0,
      model,
      service_tier: "default",
      choices: [{ index: 0, finish_reason: "stop", logprobs: null, message }],
      usage: usageBody(this.#serving.usage)
    })
  }

  #streamed(model: string): Response {
    const base = {
      id: "chatcmpl-peers",
      object: "chat.completion.chunk",
      created: 0,
      model,
      service_tier: "default"
    }
    const said = (text: string): object => ({
      ...base,
      choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
      usage: null
    })
    const events = [
      ...["Fine", ", ", "then", "."].map(said),
      { ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage: null },
      { ...base, choices: [], usage: usageBody(this.#serving.usage) }
    ].map((event) => `data: ${JSON.stringify(event)}\n\n`)
    events.push("data: [DONE]\n\n")
    const encoder = new TextEncoder()
    const readable = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        await pause(2)
        const event = events.shift()
        if (event === undefined) controller.close()
        else controller.enqueue(encoder.encode(event))
      }
    })
    return new Response(readable, { headers: { "content-type": "text/event-stream" } })
  }
}

/** Half a dollar and a provider, unless something else is the question. */
export const meansOf = (provider: Provider, calls = 50): Means => ({
  limitUsd: calls / 100,
  limitTokens: calls * (whole.input + whole.output),
  limitCalls: calls,
  costUsd: 0.01,
  client: provider.client(),
  pay: provider.pay
})
