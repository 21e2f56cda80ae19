/**
 * An `HttpClient` of `effect/http` with a budget around it: through the same core as `BudgetedFetch`, for providers that
 * are written against `effect/http`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as Budget from "./Budget.ts"
import * as BudgetError from "./BudgetError.ts"
import * as BudgetedFetch from "./BudgetedFetch.ts"
import { textOf } from "./internal/requestBody.ts"
import { Unsent } from "./internal/unsent.ts"
import type * as Pricing from "./Pricing.ts"

/**
 * What a budgeted client is put around.
 *
 * @example
 * ```ts
 * import type * as BudgetedHttpClient from "agent-budget/BudgetedHttpClient"
 *
 * const options: BudgetedHttpClient.Options = { baseURL: "https://api.openai.com/v1" }
 * console.log(options.baseURL) // https://api.openai.com/v1
 * ```
 *
 * @since 0.1.0
 */
export interface Options {
  /** The root of the API, as in `BudgetedFetch.Options`. */
  readonly baseURL?: string | undefined
}

/** How the request of one call is sent. It travels with what `fetch` is given. */
const sender = Symbol("agent-budget/BudgetedHttpClient/sender")

type Send = (url: string, init: RequestInit) => Promise<Response>

interface Sent extends RequestInit {
  readonly [sender]: Send
}

const isSent = (init: RequestInit | undefined): init is Sent =>
  Predicate.hasProperty(init, sender) && Predicate.isFunction(init[sender])

const inner: BudgetedFetch.Fetch = (input, init) =>
  isSent(init)
    ? init[sender](input instanceof Request ? input.url : String(input), init)
    : Promise.reject(new TypeError("It sends what a budgeted HttpClient gives it, and nothing else."))

/** A body as it is priced: JSON is sent as bytes by most. What is no text is refused where it would have to be priced. */
const bodyOf = (body: HttpBody.HttpBody): BodyInit | undefined => {
  switch (body._tag) {
    case "Empty":
      return undefined
    case "Uint8Array":
      return textOf(body.body) ?? new Blob()
    case "Raw":
      return typeof body.body === "string" ? body.body : new Blob()
    default:
      return new Blob()
  }
}

/**
 * The request as it is to be sent: the one that was given, unless something was written into it, or its body is bytes,
 * which may be others by now.
 */
const requestOf = (
  given: HttpClientRequest.HttpClientRequest,
  asked: { readonly url: string; readonly body: BodyInit | undefined },
  url: string,
  init: RequestInit
): HttpClientRequest.HttpClientRequest => {
  const { body } = init
  const isAsGiven = body === asked.body && given.body._tag !== "Uint8Array"
  const written =
    isAsGiven || typeof body !== "string"
      ? given
      : HttpClientRequest.setBody(
          given,
          HttpBody.text(body, given.headers["content-type"] ?? "application/json")
        )
  return url === asked.url
    ? written
    : HttpClientRequest.post(url, { headers: written.headers, body: written.body })
}

/** Statuses that come without a body. Source: the Fetch standard, "null body status". */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304])

const isEmpty = (error: HttpClientError.HttpClientError): boolean => error.reason._tag === "EmptyBodyError"

/**
 * The body of a response as it arrives. Where the client below has read it, to log it or to look into it, nothing
 * arrives any more, in silence or with a defect: it is then what the response has kept of it.
 */
const chunksOf = (
  response: HttpClientResponse.HttpClientResponse
): Stream.Stream<Uint8Array, HttpClientError.HttpClientError> => {
  let hasArrived = false
  const arriving = Stream.map(response.stream, (chunk) => {
    hasArrived = true
    return chunk
  })
  const kept = Stream.fromEffect(
    Effect.suspend(() => Effect.map(response.arrayBuffer, (bytes) => new Uint8Array(bytes)))
  )
  return arriving.pipe(
    Stream.catchIf(isEmpty, () => Stream.empty),
    Stream.orElseIfEmpty(() => Stream.catchCause(kept, () => Stream.empty)),
    Stream.catchCause((cause) =>
      hasArrived ? Stream.failCause(cause) : Stream.catchCause(kept, () => Stream.failCause(cause))
    )
  )
}

/** A response as `fetch` would answer it. Its body is read as it is asked for, and left when its caller leaves. */
const toWeb = (
  response: HttpClientResponse.HttpClientResponse,
  signal: AbortSignal,
  context: Context.Context<never>
): Response => {
  const { headers, status } = response
  if (bodiless.has(status)) return new Response(null, { status, headers })
  const left = Effect.callback<undefined>((resume) => {
    const leave = (): void => resume(Effect.undefined)
    if (signal.aborted) leave()
    signal.addEventListener("abort", leave, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", leave))
  })
  const body = Stream.interruptWhen(chunksOf(response), left)
  return new Response(Stream.toReadableStreamWith(body, context), { status, headers })
}

/** The budgeted client that refused, of an error for which it sent nothing. */
const refusers = new WeakMap<HttpClientError.HttpClientError, HttpClient.HttpClient>()

/**
 * A refusal as an error of the client: of all its reasons only this one stands for a request that was not sent and is
 * never retried. The refusal is its cause.
 */
const toError =
  (request: HttpClientRequest.HttpClientRequest, self: () => HttpClient.HttpClient) =>
  (thrown: unknown): HttpClientError.HttpClientError => {
    const cause = thrown instanceof Unsent ? thrown.error : thrown
    const refused = BudgetError.find(cause)
    const error = HttpClientError.isHttpClientError(cause)
      ? cause
      : new HttpClientError.HttpClientError({
          reason:
            refused === undefined
              ? new HttpClientError.TransportError({ request, cause })
              : new HttpClientError.EncodeError({ request, cause: refused, description: refused.message })
        })
    const isOwn = refused !== undefined && error !== cause
    if (isOwn || thrown instanceof Unsent) refusers.set(error, self())
    return error
  }

/**
 * The status of an answer that the client below made an error of, as `filterStatusOk` does: what is charged goes by it.
 * Of an answer that went well only its body tells the bill, and that was not seen.
 */
const refusalOf = ({ response }: HttpClientError.HttpClientError): Response | undefined =>
  response !== undefined && response.status >= 300 && response.status < 600
    ? new Response(null, { status: response.status })
    : undefined

/** The effect's value or the error that it failed with, as a promise: what `fetch` below the budget answers. */
const promised = async (
  effect: Effect.Effect<Response, HttpClientError.HttpClientError | Unsent>,
  context: Context.Context<never>,
  signal: AbortSignal
): Promise<Response> => {
  const result = await Effect.runPromiseWith(context)(Effect.result(effect), { signal })
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

/**
 * Puts the budget of the fiber that builds it around a client. Calls are bounded, sent and settled as by
 * `BudgetedFetch.make`, each attempt by itself, and charged to the account of the fiber that makes them; JSON bodies are
 * priced whether they are text or bytes. What has no price, and no bound, is refused: put it around the client of a
 * model's provider, not around all that a program sends.
 *
 * Put retries around it (`HttpClient.retryTransient` and the like): what the client below sends again is not
 * seen. A refusal is an `HttpClientError` with the reason `EncodeError`, which they do not retry, and whose cause is the
 * `BudgetError`: `BudgetExceededError.is` and `BudgetError.find` see it.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
 * import { Budget, Pricing, Usd } from "agent-budget"
 * import * as BudgetedHttpClient from "agent-budget/BudgetedHttpClient"
 *
 * const provider = HttpClient.make((request) =>
 *   Effect.succeed(HttpClientResponse.fromWeb(
 *     request,
 *     Response.json({ model: "gpt-4o", usage: { input_tokens: 9, output_tokens: 4 }, output: [] })
 *   ))
 * )
 * const program = Effect.gen(function*() {
 *   const client = yield* BudgetedHttpClient.make(provider)
 *   const response = yield* client.execute(
 *     HttpClientRequest.post("https://api.openai.com/v1/responses").pipe(
 *       HttpClientRequest.bodyJsonUnsafe({ model: "gpt-4o", input: "Hi", max_output_tokens: 20 })
 *     )
 *   )
 *   yield* response.json
 *   return Usd.format((yield* Budget.summary).spent)
 * })
 * const layers = Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer)
 * console.log(await Effect.runPromise(Effect.provide(program, layers))) // $0.0000625
 * ```
 *
 * @since 0.1.0
 */
export const make = (
  client: HttpClient.HttpClient,
  options: Options = {}
): Effect.Effect<HttpClient.HttpClient, never, Budget.Budget | Pricing.Pricing> =>
  Effect.map(BudgetedFetch.make({ ...options, fetch: inner, refusal: "throw" }), (fetch) => {
    const budgeted = (caller: Context.Context<never>) =>
      HttpClient.make((request, address, signal) => {
        const asked = { url: address.href, body: bodyOf(request.body) }
        /** What the client below made of an answer, for the caller. */
        let made: HttpClientError.HttpClientError | undefined
        /** How it ended without an error of its own: as one it would be retried, and paid again. */
        let died: Cause.Cause<never> | undefined
        const send: Send = (url, init) => {
          const leaves = init.signal ?? signal
          const sent = client.postprocess(Effect.succeed(requestOf(request, asked, url, init)))
          const answered = Effect.catch(
            Effect.map(sent, (response) => toWeb(response, leaves, caller)),
            (error): Effect.Effect<Response, HttpClientError.HttpClientError | Unsent> => {
              // What a budgeted client right below refused, this one did not send either.
              if (refusers.get(error) === client) return Effect.fail(new Unsent({ error }))
              const refused = refusalOf(error)
              if (refused === undefined) return Effect.fail(error)
              made = error
              return Effect.succeed(refused)
            }
          )
          const kept = Effect.onError(answered, (cause) =>
            Effect.sync(() => {
              const failed = Cause.findFail(cause)
              if (Result.isFailure(failed) && !leaves.aborted) died = failed.failure
            })
          )
          return promised(kept, caller, leaves)
        }
        const { headers, method } = request
        const init = { method, headers, signal, [sender]: send, ...(asked.body && { body: asked.body }) }
        return Effect.tryPromise({
          try: () => fetch(asked.url, init),
          catch: toError(request, () => self)
        }).pipe(
          Effect.catch((error) => (died === undefined ? Effect.fail(error) : Effect.failCause(died))),
          Effect.flatMap((response) =>
            made === undefined
              ? Effect.succeed(HttpClientResponse.fromWeb(request, response))
              : Effect.fail(made)
          )
        )
      })
    const self: HttpClient.HttpClient = HttpClient.makeWith(
      Effect.flatMap((request: HttpClientRequest.HttpClientRequest) =>
        Effect.contextWith((caller: Context.Context<never>) =>
          // The client below has the request's span.
          Effect.provideService(
            budgeted(caller).postprocess(Effect.succeed(request)),
            HttpClient.TracerDisabledWhen,
            () => true
          )
        )
      ),
      client.preprocess
    )
    return self
  })

/**
 * The budget around the client that is provided below:
 * `BudgetedHttpClient.layer().pipe(Layer.provide(FetchHttpClient.layer))`.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
 * import { Budget, BudgetError, Pricing, Usd } from "agent-budget"
 * import * as BudgetedHttpClient from "agent-budget/BudgetedHttpClient"
 *
 * const Budgeted = BudgetedHttpClient.layer().pipe(
 *   Layer.provide(FetchHttpClient.layer),
 *   Layer.provide(Layer.merge(Budget.layerMemory({ limit: Usd.dollars("1") }), Pricing.layer))
 * )
 * const refused = HttpClient.execute(HttpClientRequest.post("https://api.openai.com/v1/videos")).pipe(
 *   Effect.flip,
 *   Effect.map((error) => BudgetError.find(error)?.reason._tag),
 *   Effect.provide(Budgeted)
 * )
 * console.log(await Effect.runPromise(refused)) // UnsupportedEndpoint
 * ```
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Budget.Budget | Pricing.Pricing> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.flatMap(HttpClient.HttpClient, (client) => make(client, options))
  )
