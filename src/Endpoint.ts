/**
 * What an endpoint is: a plain value that turns a request into a plan (its worst case, in tokens), says what to
 * change in the copy that is sent, and reads the usage that comes back.
 *
 * @since 0.1.0
 */
import type * as Result from "effect/Result"
import type { BudgetError } from "./BudgetError.ts"
import type { Survey } from "./internal/bodySurvey.ts"
import type { HostedTools } from "./internal/hostedTools.ts"
import type { Json, JsonObject } from "./internal/json.ts"
import type { Reading } from "./internal/wireUsage.ts"
import type { Encoding } from "./TokenCounter.ts"

export type { HostedTools, Json, JsonObject, Reading, Survey }

/**
 * A request as an endpoint sees it: the JSON body, parsed and as text, the deployment that an Azure path names,
 * and what the user vouches for (`models`: names for priced models; `allow`: fields that cost nothing). `survey`: what
 * a walk over the body told, where one was made; without it one is made.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 *
 * const text = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "hi" }] })
 * const found = OpenAiEndpoints.recognise("POST", "/chat/completions")
 * console.log(found._tag, text.length > 0) // Priced true
 * ```
 *
 * @since 0.1.0
 */
export interface Request {
  readonly body: JsonObject
  readonly text: string
  readonly deployment?: string | undefined
  readonly models?: Readonly<Record<string, string>> | undefined
  readonly allow?: ReadonlyArray<string> | undefined
  readonly survey?: Survey | undefined
}

/**
 * The output side of a plan. At most `cap * times + extra` tokens come back. Without a cap of the caller's, one is
 * written into `field`: `fallback` where the API documents the cap it uses itself.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const two: Endpoint.Output = {
 *   cap: 100, fallback: undefined, field: "max_completion_tokens", times: 2, extra: 0, audio: false
 * }
 * console.log((two.cap ?? 0) * two.times) // 200
 * ```
 *
 * @since 0.1.0
 */
export interface Output {
  readonly cap: number | undefined
  readonly fallback: number | undefined
  readonly field: string
  readonly times: number
  readonly extra: number
  readonly audio: boolean
}

/**
 * What a request feeds its model, to be counted: its texts, in an encoding; `added` tokens beyond them; and a
 * `margin`, the share by which the count of the texts is raised. `slack` is how many of the added are more than any
 * recorded request of this kind was billed for.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const counted: Endpoint.Counted = { encoding: "o200k_base", texts: ["Say hi."], added: 27, margin: 0.01, slack: 23 }
 * console.log(counted.texts.length) // 1
 * ```
 *
 * @since 0.1.0
 */
export interface Counted {
  readonly encoding: Encoding
  readonly texts: ReadonlyArray<string>
  readonly added: number
  readonly margin: number
  readonly slack: number
}

/**
 * What the provider can be asked to count of a request: the `question`, which is the input's own fields. `hidden`: a
 * count at home is a poor bound even where nothing is unshown, for the request has images by address or a model whose
 * encoding nobody has confirmed. `shown`: what can be counted at home all the same.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const remote: Endpoint.Remote = {
 *   question: { model: "gpt-4o", input: "And?", previous_response_id: "resp_1" }, hidden: false, shown: undefined
 * }
 * console.log(Object.keys(remote.question).length) // 3
 * ```
 *
 * @since 0.1.0
 */
export interface Remote {
  readonly question: JsonObject
  readonly hidden: boolean
  readonly shown: Counted | undefined
}

/**
 * What a request is billed at most, in input tokens, for going on from a response (`previous_response_id`): all that
 * this one was billed for. It holds for requests of the same `model`, by its id in the price table. `images`: those
 * of the tokens that may be billed for images. `reasoning`: those that some turns are shown and others are not.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const first: Endpoint.Previous = { model: "gpt-5.2", tokens: 900, images: 0, reasoning: 320 }
 * console.log(first.tokens) // 900
 * ```
 *
 * @since 0.1.0
 */
export interface Previous {
  readonly model: string
  readonly tokens: number
  readonly images: number
  readonly reasoning: number
}

/**
 * The worst case of a request: the most input and output, in tokens, and what it asks for besides.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints, type Endpoint } from "agent-budget"
 * import { Result } from "effect"
 *
 * const body = { model: "gpt-4o", input: "hi" }
 * const found = OpenAiEndpoints.recognise("POST", "/responses")
 * if (found._tag === "Priced") {
 *   const plan: Endpoint.Plan = Result.getOrThrow(found.endpoint.plan({ body, text: JSON.stringify(body) }))
 *   console.log(plan.model) // gpt-4o
 * }
 * ```
 *
 * @since 0.1.0
 */
export interface Plan {
  /** Method and path below the API's root, such as `POST /responses`. */
  readonly endpoint: string
  readonly model: string
  readonly input: {
    readonly tokens: number
    /**
     * Those of `tokens` that are billed for images: a window does not bound them, for some models bill more than the
     * room they take.
     */
    readonly images: number
    /**
     * How many context windows the input can fill: one for each prompt, or for each pass that a call of a hosted tool
     * starts.
     */
    readonly windows: number
    /** As how many windows one of input that is not shown may be billed: more than one where it may be images. */
    readonly room: number
    /** It names input that it does not show, so that only the context window bounds it. */
    readonly unshown: boolean
    /**
     * The response that it goes on from: bounded by the window, too, unless it is known what that one billed
     * (`Previous`).
     */
    readonly previous: string | undefined
    /** A request that goes on from this one is billed for no more of this input than this one is. */
    readonly repeats: boolean
    readonly audio: boolean
    /** What to count for a tighter bound, where the model's encoding is known and all of its input is shown. */
    readonly counted: () => Counted | undefined
    /** What to ask the provider's own count. */
    readonly remote: () => Remote | undefined
  }
  readonly output: Output | undefined
  /** The hosted tools that it may call. */
  readonly tools: HostedTools | undefined
  /** The service tier that the body asks for. */
  readonly tier: string | undefined
  /** Its endpoint knows the field `service_tier`. */
  readonly takesTier: boolean
  readonly stream: boolean
  /** Its answer may be held back once it was written, so that an error may have been billed. */
  readonly heldBack: boolean
  /** It streams, and would end without its usage unless that is asked for. */
  readonly askForUsage: boolean
}

/**
 * What one event of a stream says: nothing of the bill, a usage that a later one may replace, the final usage, or
 * that no more will come. `wrote`: it shows output, so that a usage without any cannot be true.
 *
 * @example
 * ```ts
 * import type { Endpoint } from "agent-budget"
 *
 * const over: Endpoint.Signal = { _tag: "Done" }
 * console.log(over._tag) // Done
 * ```
 *
 * @since 0.1.0
 */
export type Signal =
  | { readonly _tag: "Nothing"; readonly wrote?: boolean | undefined }
  | {
      readonly _tag: "Interim"
      readonly reading: Reading | undefined
      /** Nothing else is in the event: who did not ask for the usage does not see it. */
      readonly isAlone: boolean
      readonly wrote?: boolean | undefined
    }
  | { readonly _tag: "Final"; readonly reading: Reading | undefined }
  | { readonly _tag: "Done" }

/**
 * An endpoint whose calls can be bounded.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 *
 * const found = OpenAiEndpoints.recognise("POST", "/embeddings")
 * if (found._tag === "Priced") console.log(found.endpoint.name) // POST /embeddings
 * ```
 *
 * @since 0.1.0
 */
export interface Endpoint {
  /** Method and path below the API's root, such as `POST /chat/completions`. */
  readonly name: string
  /** The worst case of a request, or why it has none. */
  readonly plan: (request: Request) => Result.Result<Plan, BudgetError>
  /** The bill in a whole response. */
  readonly read: (body: JsonObject) => Reading | undefined
  /** The bill in one event of a stream. */
  readonly signal: (event: JsonObject) => Signal
}
