/**
 * The provider's own count of a request's input: `POST /responses/input_tokens`, which is free.
 *
 * Opt-in. Where this service is provided, a call to `/responses` that names what it does not show (an earlier
 * response, a conversation, a file, an image by address), or a model whose encoding nobody has confirmed, is bounded
 * by this count and a margin, not by the context window. It is asked only where a count is asked for at all (see
 * `inputBound`), and costs one round trip before the call.
 *
 * What it rests on is outside of our sight: that OpenAI bills what it counts, and that nothing changes in between. A
 * conversation that another call adds to, or an address that serves another image, is billed as it is then. A budget
 * that has held such a count lists `unverifiedCount`. A count that fails is no failure of the call: the window, or
 * the length, bounds it as before.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as BudgetError from "./BudgetError.ts"
import type { Json, JsonObject } from "./internal/json.ts"
import { checked, checkUnbounded } from "./internal/ledgerChecks.ts"
import { questionURL } from "./internal/remoteCount.ts"

export type { Json, JsonObject }

/**
 * Why there is no count. `status`: what the provider answered, where it did. It holds nothing of what was asked.
 *
 * @example
 * ```ts
 * import { InputTokens } from "agent-budget"
 *
 * const error = new InputTokens.InputTokensError({ detail: "the provider answered 404.", status: 404 })
 * console.log(error.message) // The input was not counted remotely: the provider answered 404.
 * ```
 *
 * @since 0.1.0
 */
export class InputTokensError extends Schema.TaggedError<InputTokensError>()("InputTokensError", {
  detail: Schema.String,
  status: Schema.optional(Schema.Number)
}) {
  override get message(): string {
    return `The input was not counted remotely: ${this.detail}`
  }
}

/**
 * The call that a count is for: its URL, what it is sent with, and the `fetch` that sends it.
 *
 * @example
 * ```ts
 * import type { InputTokens } from "agent-budget"
 *
 * const call: InputTokens.Call = {
 *   url: "https://api.openai.com/v1/responses",
 *   init: { method: "POST", headers: { authorization: "Bearer sk-none" } },
 *   fetch: globalThis.fetch
 * }
 * console.log(new URL(call.url).pathname) // /v1/responses
 * ```
 *
 * @since 0.1.0
 */
export interface Call {
  readonly url: string
  readonly init: RequestInit | undefined
  /** What the call itself is sent with. */
  readonly fetch: (input: string, init: RequestInit) => Promise<Response>
}

/**
 * Counts the input of a request: `question` is its input's own fields, `call` the call that it is for, if it is to be
 * sent. Fails with `InputTokensError`, and never waits for longer than its timeout.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { InputTokens } from "agent-budget"
 *
 * const Always = Layer.succeed(InputTokens.InputTokens, { count: () => Effect.succeed(1_200) })
 * const count = InputTokens.InputTokens.use((remote) => remote.count({ model: "gpt-4o", input: "Hi" }))
 * console.log(await Effect.runPromise(Effect.provide(count, Always))) // 1200
 * ```
 *
 * @since 0.1.0
 */
export class InputTokens extends Context.Service<
  InputTokens,
  {
    /** The tokens that the provider counts of a question. */
    readonly count: (question: JsonObject, call?: Call) => Effect.Effect<number, InputTokensError>
  }
>()("agent-budget/InputTokens") {}

/**
 * What a counter of its own asks with.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import type { InputTokens } from "agent-budget"
 *
 * const options: InputTokens.Options = { apiKey: Redacted.make("sk-none"), timeout: "2 seconds" }
 * console.log(String(options.apiKey)) // <redacted>
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  readonly apiKey: Redacted.Redacted
  /** The root of the API: `https://api.openai.com/v1` unless said. */
  readonly baseURL?: string | undefined
  /** What sends; the global `fetch` unless said. */
  readonly fetch?: ((input: string, init: RequestInit) => Promise<Response>) | undefined
  /** How long a count may take: 10 seconds unless said. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * A counter with a key of its own. It counts for quotes that are not sent, and for calls to the same address: what
 * goes to another one is not shown to this one. Fails with `InvalidOptions` for a timeout that is no time.
 *
 * @example
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { InputTokens } from "agent-budget"
 *
 * const Remote = InputTokens.layer({
 *   apiKey: Redacted.make("sk-none"),
 *   baseURL: process.env.OPENAI_BASE_URL
 * })
 * const count = InputTokens.InputTokens.use((remote) => remote.count({ model: "gpt-4o", input: "Hi" }))
 * console.log((await Effect.runPromise(Effect.provide(count, Remote))) > 0) // true
 * ```
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<InputTokens, BudgetError.BudgetError> => {
  const root = (options.baseURL ?? "https://api.openai.com/v1").replace(/\/+$/, "")
  const fetch = options.fetch ?? globalThis.fetch
  return layerWithin(options.timeout, {
    count: (question, call) => {
      if (call !== undefined && addressOf(call.url) !== addressOf(`${root}/responses`)) {
        return Effect.fail(new InputTokensError({ detail: "the call goes to another address." }))
      }
      const headers = new Headers({ authorization: `Bearer ${Redacted.value(options.apiKey)}` })
      return ask(fetch, questionURL(`${root}/responses`), { headers }, question, options.timeout)
    }
  })
}

/**
 * A counter that asks the host that a call goes to, with the headers and the `fetch` of that call: it needs no key,
 * and counts for calls only. Fails with `InvalidOptions` for a timeout that is no time.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import OpenAI from "openai"
 * import { Budget, BudgetedOpenAi, InputTokens, Pricing, Usd } from "agent-budget"
 *
 * const Live = BudgetedOpenAi.layerClient(() => new OpenAI()).pipe(
 *   Layer.provideMerge(Budget.layerMemory({ limit: Usd.dollars("0.10") })),
 *   Layer.provide([Pricing.layer, InputTokens.layerCaller({ timeout: "5 seconds" })])
 * )
 * const image = { type: "input_image" as const, detail: "auto" as const, image_url: "https://example.com/a.png" }
 * const program = BudgetedOpenAi.BudgetedOpenAi.use((openai) => openai.use((client, signal) =>
 *   client.responses.create(
 *     { model: "gpt-4o", max_output_tokens: 100, input: [{ role: "user", content: [image] }] },
 *     { signal }
 *   )
 * ))
 * console.log((await Effect.runPromise(Effect.provide(program, Live))).status) // completed
 * ```
 *
 * @since 0.1.0
 */
export const layerCaller = (
  options: { readonly timeout?: Duration.Input | undefined } = {}
): Layer.Layer<InputTokens, BudgetError.BudgetError> =>
  layerWithin(options.timeout, {
    count: (question, call) => {
      if (call === undefined) {
        return Effect.fail(
          new InputTokensError({ detail: "there is no call to ask with. Use InputTokens.layer." })
        )
      }
      const headers = new Headers(call.init?.headers)
      if (headers.get("authorization")?.startsWith("AWS4-") === true) {
        return Effect.fail(new InputTokensError({ detail: "the call is signed for its own body." }))
      }
      for (const name of ofTheCall) headers.delete(name)
      return ask(call.fetch, questionURL(call.url), { ...call.init, headers }, question, options.timeout)
    }
  })

/** A counter, unless the time that it is given is none. */
const layerWithin = (
  timeout: Duration.Input | undefined,
  counter: InputTokens["Service"]
): Layer.Layer<InputTokens, BudgetError.BudgetError> =>
  Layer.effect(InputTokens, Effect.as(checked(checkUnbounded({ timeout })), counter))

/** Headers that say something of the call's own body or attempt. */
const ofTheCall = ["content-length", "content-type", "idempotency-key", "x-stainless-retry-count"]

const addressOf = (url: string): string => {
  const { origin, pathname } = new URL(url)
  return origin + pathname.replace(/\/+$/, "")
}

/** A count of nothing is none: even an empty request has its framing. */
const Answer = Schema.fromJsonString(
  Schema.Struct({ input_tokens: Schema.Int.check(Schema.isGreaterThan(0)) })
)
const decode = Schema.decodeUnknownEffect(Answer)

const ask = (
  fetch: Call["fetch"],
  url: string,
  init: RequestInit & { readonly headers: Headers },
  question: JsonObject,
  timeout: Duration.Input = "10 seconds"
): Effect.Effect<number, InputTokensError> =>
  Effect.tryPromise({
    try: async (signal) => {
      init.headers.set("content-type", "application/json")
      const body = JSON.stringify(question)
      const response = await fetch(url, { ...init, method: "POST", body, signal, redirect: "manual" })
      if (response.status === 200) return await response.text()
      await response.body?.cancel()
      return response.status
    },
    // What was thrown may quote what was sent.
    catch: () => new InputTokensError({ detail: "the provider was not reached, or its answer was cut." })
  }).pipe(
    Effect.flatMap((answer) =>
      typeof answer === "number"
        ? Effect.fail(new InputTokensError({ detail: `the provider answered ${answer}.`, status: answer }))
        : Effect.mapError(decode(answer), () => new InputTokensError({ detail: "the answer is no count." }))
    ),
    Effect.map((answer) => answer.input_tokens),
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(new InputTokensError({ detail: "it took longer than its timeout." }))
    })
  )
