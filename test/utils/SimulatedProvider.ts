/**
 * An OpenAI provider on the loopback interface, with every failure on demand and a bill of its own.
 *
 * It answers chat completions, responses, completions and embeddings (streamed or not, also on Azure's paths) in
 * the shapes of the real API, honours caps as the API does, records each request, and bills a call when its model
 * RUNS, whether or not the answer arrives. Independent of the library: it is what the library is judged by.
 *
 * ```ts
 * await using provider = await SimulatedProvider.start({
 *   prices: { "gpt-4o-mini": { default: { input: "0.15", output: "0.60" } } }
 * })
 * const client = new OpenAI({ baseURL: provider.baseURL, apiKey: "none" })
 * provider.next(Behaviours.streamCut(3)) // the next call only
 * await provider.idle() // every request has ended
 * console.log(provider.bill().totalNanoUsd)
 * ```
 *
 * Not simulated: tool fees, audio, regions, context windows, background mode, stored responses.
 */
import { createServer } from "node:http"
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import type { Bill, BilledUsage, CountText, Endpoint, PriceMap, RunningCall } from "./providerBill.ts"
import * as Oracle from "./providerBill.ts"

// -- Models ---------------------------------------------------------------------------------------------------

/** How a request ended: answered in full, cut by the provider, or left by the client. */
export type Ending = "answered" | "cut" | "aborted"

/** A request as it arrived. `aborted` is live: it turns true when the client goes away before the answer's end. */
export interface RecordedRequest {
  /** Arrival order, from 0. */
  readonly index: number
  readonly method: string
  /** With its query. */
  readonly path: string
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly rawBody: string
  /** The parsed body; undefined when there is none or it is not JSON. */
  readonly body: unknown
  /** Undefined when the path runs no model. */
  readonly endpoint: Endpoint | undefined
  /** The asked model; for Azure, what its deployment stands for. */
  readonly model: string | undefined
  readonly aborted: boolean
  readonly ended: Promise<Ending>
}

/** A streamed event about to be sent. `index` counts the events of its type from 0. */
export interface StreamEvent {
  readonly type: "start" | "delta" | "finish" | "usage" | "done"
  readonly index: number
}

/** What goes wrong. Where the model ran, the call is billed; `generated` says how much it wrote (default: all). */
export type Failure =
  /** The socket is destroyed and nothing is answered; from the queue, before the body is even read. Not billed. */
  | { readonly kind: "refuse" }
  | {
      readonly kind: "status"
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      /** A JSON value or, as a string, the raw body. Default: the API's error shape. */
      readonly body?: unknown
      /** Whether the model ran first. Default false. */
      readonly billed?: boolean
      readonly generated?: number
    }
  /** Not billed: the redirected request is. */
  | { readonly kind: "redirect"; readonly location: string; readonly status?: number }
  /** Nothing more is sent until the client leaves. */
  | { readonly kind: "hang"; readonly before: "headers" | "body"; readonly generated?: number }
  /**
   * The answer stops. A stream: after `at` deltas (default half of them) or before its usage or `[DONE]`; else
   * half-way through the body. `how`: the socket is destroyed (default), or all is ended in good order.
   */
  | { readonly kind: "cut"; readonly at?: number | "usage" | "done"; readonly how?: "destroy" | "end" }
  /** The body, or a stream's event after half of the deltas, is not JSON. */
  | { readonly kind: "malformed" }
  /** A stream sends an `error` event after `at` deltas (default half of them) and ends. */
  | { readonly kind: "streamError"; readonly at?: number }

/** What the model and the wire do with one call. Everything is optional; `{}` writes 20 tokens and ends well. */
export interface Behaviour {
  /** What each candidate says, four characters a token. Without it: words, one a token. */
  readonly text?: string
  /** Visible tokens of each candidate when there is no `text`. Default 20, or 0 beside tool calls. */
  readonly outputTokens?: number
  /** Thought before the first visible token, inside the cap. Default 0. */
  readonly reasoningTokens?: number
  /** Function calls, each 3 + a token for four bytes of name and arguments. Dropped when the cap cuts them. */
  readonly toolCalls?: ReadonlyArray<{ readonly name: string; readonly arguments: string }>
  /** Billed as output, outside of the cap. Default 0. */
  readonly rejectedPredictionTokens?: number
  /** Instead of the oracle's count of the request. */
  readonly inputTokens?: number
  /** Parts of the input, each bounded by what is left of it. Default 0. */
  readonly cachedTokens?: number
  readonly cacheWriteTokens?: number
  readonly cacheWrite12hTokens?: number
  /** The request's caps are ignored, as some compatible servers do. */
  readonly ignoreCaps?: boolean
  /** How a Responses call ends, or a chat's finish reason. Default: as the cap has it. */
  readonly outcome?: "failed" | "content_filter" | "max_output_tokens"
  /** The model that runs, is billed and is named in the answer. Default: the asked model's snapshot. */
  readonly model?: string
  /** The tier that serves, is billed and is echoed. Default: the asked one. */
  readonly tier?: string
  /** What the answer says instead of the truth; null leaves the field out. */
  readonly echo?: { readonly model?: string | null; readonly tier?: string | null }
  /** What the answer says of its usage, from the honest one; undefined leaves it out. */
  readonly reportUsage?: (honest: Readonly<Record<string, unknown>>) => unknown
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Awaited after the model began to run, before the answer's headers. */
  readonly holdHeaders?: () => Promise<unknown>
  /** Awaited before each streamed event. */
  readonly hold?: (event: StreamEvent) => Promise<unknown> | undefined
  /** Milliseconds before the headers and before each streamed event. Default 0. */
  readonly delayMs?: number
  /** Tokens in a streamed delta. Default 1. */
  readonly tokensPerDelta?: number
  readonly failure?: Failure
}

/** Decides what happens to a request that runs a model. */
export type Decide = (request: RecordedRequest) => Behaviour

/** How a provider is set up. */
export interface Options {
  /** The oracle's prices. Models that are not in it are 404, tiers that are not are 400. */
  readonly prices: PriceMap
  /** Default: `() => ({})`. */
  readonly behaviour?: Decide
  /** Asked model to the id that the answer names. It is billed on its own row, or else on the asked model's. */
  readonly snapshots?: Readonly<Record<string, string>>
  /** Azure deployments to models. */
  readonly deployments?: Readonly<Record<string, string>>
  /** What serves a request with no tier or `auto`. Default `default`. */
  readonly projectTier?: string
  /** What a model writes at most when no cap says less. Default 128,000. */
  readonly modelMaximum?: number
  /** The oracle's tokens of a text. Default: a token for four bytes of UTF-8. */
  readonly countText?: CountText
  /** What a question for the count of an input is answered; `hang` is no answer. Default: the oracle's count. */
  readonly count?: (request: RecordedRequest) => { readonly status: number; readonly body: unknown } | "hang"
}

// -- Named behaviours -----------------------------------------------------------------------------------------

const corrupt =
  (value: (tokens: number) => unknown): NonNullable<Behaviour["reportUsage"]> =>
  (honest) =>
    Object.fromEntries(
      Object.entries(honest).map(([name, tokens]) => [
        name,
        typeof tokens === "number" ? value(tokens) : tokens
      ])
    )

/** The failures by name. Combine them with more fields: `{ ...Behaviours.usageMissing, outputTokens: 5 }`. */
export const Behaviours = {
  refuse: { failure: { kind: "refuse" } },
  status: (
    status: number,
    options?: Omit<Extract<Failure, { kind: "status" }>, "kind" | "status">
  ): Behaviour => ({
    failure: { kind: "status", status, ...options }
  }),
  rateLimited: { failure: { kind: "status", status: 429, headers: { "retry-after-ms": "1" } } },
  redirect: (location: string): Behaviour => ({ failure: { kind: "redirect", location } }),
  hangBeforeHeaders: { failure: { kind: "hang", before: "headers" } },
  hangAfterHeaders: { failure: { kind: "hang", before: "body" } },
  cutBody: (how: "destroy" | "end" = "destroy"): Behaviour => ({ failure: { kind: "cut", how } }),
  streamCut: (at?: number | "usage" | "done", how: "destroy" | "end" = "destroy"): Behaviour => ({
    failure: { kind: "cut", how, ...(at === undefined ? {} : { at }) }
  }),
  streamError: (at?: number): Behaviour => ({
    failure: { kind: "streamError", ...(at === undefined ? {} : { at }) }
  }),
  malformedJson: { failure: { kind: "malformed" } },
  usageMissing: { reportUsage: () => undefined },
  usageNull: { reportUsage: () => null },
  usageNegative: { reportUsage: corrupt((tokens) => -tokens - 1) },
  usageFractional: { reportUsage: corrupt((tokens) => tokens + 0.5) },
  usageString: { reportUsage: corrupt(String) },
  usageZero: { reportUsage: corrupt(() => 0) },
  failed: { outcome: "failed" },
  incomplete: (outcome: "content_filter" | "max_output_tokens" = "content_filter"): Behaviour => ({
    outcome
  }),
  capsIgnored: (outputTokens: number): Behaviour => ({ ignoreCaps: true, outputTokens }),
  servedBy: (model: string): Behaviour => ({ model }),
  servedAt: (tier: string): Behaviour => ({ tier }),
  contentType: (contentType: string): Behaviour => ({ contentType }),
  /** Each streamed event waits for the gate. */
  stepped: (gate: Gate): Behaviour => ({ hold: () => gate.pass() }),
  /** The headers wait for the gate. */
  heldHeaders: (gate: Gate): Behaviour => ({ holdHeaders: () => gate.pass() })
} as const satisfies Readonly<Record<string, Behaviour | ((...args: Array<never>) => Behaviour)>>

/** Lets a test move a call forward step by step, without sleeping. */
export class Gate {
  #permits = 0
  #waiting: Array<() => void> = []
  #watchers: Array<{ readonly count: number; readonly resolve: () => void }> = []
  #arrivals = 0

  /** Resolves when a step is released. */
  pass(): Promise<void> {
    this.#arrivals++
    this.#watchers = this.#watchers.filter(({ count, resolve }) => {
      if (count <= this.#arrivals) resolve()
      return count > this.#arrivals
    })
    if (this.#permits > 0) {
      this.#permits--
      return Promise.resolve()
    }
    return new Promise((resolve) => void this.#waiting.push(resolve))
  }

  /** Lets the next `steps` pass, those waiting first. */
  release(steps = 1): void {
    this.#permits += steps
    const woken = this.#waiting.splice(0, this.#permits)
    this.#permits -= woken.length
    for (const wake of woken) wake()
  }

  /** Lets everything pass from now on. */
  open(): void {
    this.release(Number.MAX_SAFE_INTEGER)
  }

  /** Resolves when `count` steps have come to the gate since it was made, held or let through. */
  reached(count: number): Promise<void> {
    if (count <= this.#arrivals) return Promise.resolve()
    return new Promise((resolve) => void this.#watchers.push({ count, resolve }))
  }
}

// -- The provider ---------------------------------------------------------------------------------------------

/** The wire of one answer. */
interface Wire {
  readonly response: ServerResponse
  readonly ending: () => Ending | undefined
  readonly gone: Promise<Ending>
  /** Aborts with `gone`. */
  readonly signal: AbortSignal
  /** Destroys the socket on purpose, or closes it in good order. */
  readonly cut: (how?: "destroy" | "end") => void
}

/** See the module's comment. */
export class SimulatedProvider {
  readonly #options: Options
  readonly #server: Server
  readonly #requests: Array<RecordedRequest> = []
  readonly #book = Oracle.makeBillBook()
  readonly #queue: Array<Behaviour> = []
  readonly #wires = new Set<Wire>()
  #behaviour: Decide
  #fault: unknown
  #port = 0
  #watchers: Array<{
    readonly count: number
    readonly resolve: () => void
    readonly reject: (e: Error) => void
  }> = []

  private constructor(options: Options) {
    this.#options = options
    this.#behaviour = options.behaviour ?? (() => ({}))
    this.#server = createServer((incoming, response) => void this.#serve(incoming, response))
  }

  /** Starts a provider on a free port of 127.0.0.1. */
  static async start(options: Options): Promise<SimulatedProvider> {
    const provider = new SimulatedProvider(options)
    await provider.plug()
    return provider
  }

  /** For `new OpenAI({ baseURL })`. */
  get baseURL(): string {
    return `${this.origin}/v1`
  }

  /** `http://127.0.0.1:PORT`; also the `endpoint` of `new AzureOpenAI`. */
  get origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Every request, in the order of arrival. */
  get requests(): ReadonlyArray<RecordedRequest> {
    return this.#requests
  }

  /** What is owed so far. Throws when the simulation itself went wrong (a served model or tier without a price). */
  bill(): Bill {
    if (this.#fault !== undefined) throw new Error("The simulated provider failed.", { cause: this.#fault })
    return this.#book.bill()
  }

  /** One behaviour for each of the next calls that run a model, in the order of arrival. */
  next(...behaviours: ReadonlyArray<Behaviour>): void {
    this.#queue.push(...behaviours)
  }

  /** Replaces what decides when the queue is empty. */
  setBehaviour(behaviour: Decide): void {
    this.#behaviour = behaviour
  }

  /** Resolves when `count` requests have arrived, bodies included. */
  arrived(count: number): Promise<void> {
    if (this.#requests.length >= count) return Promise.resolve()
    return new Promise((resolve, reject) => void this.#watchers.push({ count, resolve, reject }))
  }

  /** Resolves when every request that has arrived so far has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#requests.map((request) => request.ended))
  }

  /** Stops listening and destroys every socket: connecting is refused (ECONNREFUSED) until `plug()`. */
  async unplug(): Promise<void> {
    if (!this.#server.listening) return
    for (const wire of this.#wires) wire.cut()
    await new Promise((resolve) => {
      this.#server.close(resolve)
      this.#server.closeAllConnections()
    })
  }

  /** Listens again, on the same port. */
  async plug(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(this.#port, "127.0.0.1", () => {
        this.#server.off("error", reject)
        resolve()
      })
    })
    const address = this.#server.address()
    if (typeof address === "object" && address !== null) this.#port = address.port
  }

  /** Ends everything: no socket and no timer stays. */
  async close(): Promise<void> {
    await this.unplug()
    for (const { count, reject } of this.#watchers.splice(0)) {
      reject(new Error(`The provider closed after ${this.#requests.length} of ${count} requests.`))
    }
    await this.idle()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const wire = openWire(response)
    this.#wires.add(wire)
    void wire.gone.then(() => this.#wires.delete(wire))
    try {
      const route = findRoute(incoming.method ?? "", incoming.url ?? "")
      const refused = route.endpoint !== undefined && this.#queue[0]?.failure?.kind === "refuse"
      const rawBody = refused ? "" : await read(incoming)
      const request = makeRequest(this.#requests.length, incoming, wire, route, rawBody ?? "", this.#options)
      this.#record(request)
      if (rawBody === undefined) return
      if (request.endpoint === undefined) {
        answerFree(request, wire, this.#options)
        return
      }
      const behaviour = this.#queue.shift() ?? this.#behaviour(request)
      await answerModel(request, request.endpoint, wire, behaviour, this.#options, this.#book)
    } catch (error) {
      this.#fault ??= error
      wire.cut()
    }
  }

  #record(request: RecordedRequest): void {
    this.#requests.push(request)
    this.#watchers = this.#watchers.filter(({ count, resolve }) => {
      if (count <= this.#requests.length) resolve()
      return count > this.#requests.length
    })
  }
}

// -- Requests -------------------------------------------------------------------------------------------------

const openWire = (response: ServerResponse): Wire => {
  const controller = new AbortController()
  let ending: Ending | undefined
  let cut = false
  const gone = new Promise<Ending>((resolve) => {
    response.once("close", () => {
      ending = cut ? "cut" : response.writableFinished ? "answered" : "aborted"
      resolve(ending)
      controller.abort()
    })
  })
  return {
    response,
    gone,
    signal: controller.signal,
    ending: () => ending,
    cut: (how = "destroy") => {
      cut ||= !response.writableFinished
      if (how === "end") response.socket?.end()
      else response.destroy()
    }
  }
}

/** The body's text; undefined when the client left before its end. */
const read = async (incoming: IncomingMessage): Promise<string | undefined> => {
  const chunks: Array<Buffer> = []
  try {
    for await (const chunk of incoming) if (Buffer.isBuffer(chunk)) chunks.push(chunk)
    return Buffer.concat(chunks).toString("utf8")
  } catch {
    return undefined
  }
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

interface Route {
  /** The path below `/v1` or `/openai`, without its query; undefined outside of both. */
  readonly name: string | undefined
  readonly endpoint: Endpoint | undefined
  readonly azure: boolean
  readonly deployment: string | undefined
}

const endpoints: Readonly<Record<string, Endpoint>> = {
  "/chat/completions": "chat",
  "/responses": "responses",
  "/completions": "completions",
  "/embeddings": "embeddings"
}

const findRoute = (method: string, path: string): Route => {
  const match = /^\/(v1|openai\/v1|openai)(?:\/deployments\/([^/?]+))?(\/[^?]*)/.exec(path)
  const azure = match?.[1]?.startsWith("openai") ?? false
  const deployment = azure && match?.[2] !== undefined ? decodeURIComponent(match[2]) : undefined
  const name = match?.[2] !== undefined && !azure ? undefined : match?.[3]
  const known = method === "POST" && name !== undefined && Object.hasOwn(endpoints, name)
  return { name, azure, deployment, endpoint: known ? endpoints[name] : undefined }
}

const makeRequest = (
  index: number,
  incoming: IncomingMessage,
  wire: Wire,
  route: Route,
  rawBody: string,
  options: Options
): RecordedRequest & { readonly route: Route } => {
  const body = parse(rawBody)
  const named = route.deployment ?? text(Oracle.field(body, "model"))
  return {
    index,
    route,
    method: incoming.method ?? "",
    path: incoming.url ?? "",
    headers: incoming.headers,
    rawBody,
    body,
    endpoint: route.endpoint,
    model: route.azure && named !== undefined ? own(options.deployments, named) : named,
    ended: wire.gone,
    get aborted() {
      return wire.ending() === "aborted"
    }
  }
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const own = (map: Readonly<Record<string, string>> | undefined, key: string): string | undefined =>
  map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined

// -- Plain answers --------------------------------------------------------------------------------------------

const send = (
  wire: Wire,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {}
): void => {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body))
  wire.response.writeHead(status, {
    "content-type": "application/json",
    "content-length": String(bytes.length),
    ...headers
  })
  wire.response.end(bytes)
}

const errorBody = (message: string, code: string | null = null, type = "invalid_request_error"): unknown => ({
  error: { message, type, param: null, code }
})

/** What costs nothing. Everything else is unknown. */
const answerFree = (
  request: RecordedRequest & { readonly route: Route },
  wire: Wire,
  options: Options
): void => {
  const name = request.route.name
  if (request.method === "DELETE") {
    send(wire, 200, { id: name ?? request.path, deleted: true })
    return
  }
  if (request.method === "GET" && name === "/models") {
    const data = Object.keys(options.prices).map((id) => ({
      id,
      object: "model",
      created: 0,
      owned_by: "sim"
    }))
    send(wire, 200, { object: "list", data })
    return
  }
  if (request.method === "POST" && name === "/moderations") {
    const results = [
      { flagged: false, categories: {}, category_scores: {}, category_applied_input_types: {} }
    ]
    send(wire, 200, { id: `modr-sim-${request.index}`, model: "moderation-sim", results })
    return
  }
  if (request.method === "POST" && name === "/responses/input_tokens") {
    answerCount(request, wire, options)
    return
  }
  send(wire, 404, errorBody(`Invalid URL (${request.method} ${request.path})`))
}

/** What the count of an input may be asked with. */
const counted = new Set(
  (
    "conversation input instructions model parallel_tool_calls personality previous_response_id reasoning text " +
    "tool_choice tools truncation"
  ).split(" ")
)

const answerCount = (request: RecordedRequest, wire: Wire, options: Options): void => {
  const answer = options.count?.(request)
  if (answer === "hang") return
  if (answer !== undefined) {
    send(wire, answer.status, answer.body)
    return
  }
  const strange = Object.keys(request.body ?? {}).find((field) => !counted.has(field))
  if (strange !== undefined) send(wire, 400, errorBody(`Unknown parameter: '${strange}'.`))
  else {
    const tokens = Oracle.inputTokens("responses", request.body, options.countText)
    send(wire, 200, { object: "response.input_tokens", input_tokens: tokens })
  }
}

/** Fields that an endpoint refuses as the real one does, instead of ignoring them. */
const foreign: Readonly<Record<Endpoint, ReadonlyArray<string>>> = {
  chat: ["max_output_tokens"],
  responses: ["max_tokens", "max_completion_tokens", "n"],
  completions: ["max_completion_tokens", "max_output_tokens", "service_tier"],
  embeddings: ["max_tokens", "max_completion_tokens", "max_output_tokens", "service_tier", "stream"]
}

/** Models that think take `max_completion_tokens` only. */
const thinks = /^(o\d|gpt-[5-9])/

const needed: Readonly<Record<Endpoint, string>> = {
  chat: "messages",
  responses: "input",
  completions: "prompt",
  embeddings: "input"
}

/** Why the API would refuse a request before it runs anything, as status, message and code. */
const refusal = (
  request: RecordedRequest & { readonly route: Route },
  endpoint: Endpoint,
  options: Options
): readonly [status: number, message: string, code?: string] | undefined => {
  const body = request.body
  const { model, route } = request
  if (!Oracle.isRecord(body)) return [400, "The body is not a JSON object."]
  if (route.deployment !== undefined && !request.path.includes("api-version="))
    return [404, "Resource not found"]
  if (model === undefined && route.azure) return [404, "The deployment does not exist.", "DeploymentNotFound"]
  if (model === undefined) return [400, "You must provide a model parameter"]
  if (!Object.hasOwn(options.prices, model)) {
    return [404, `The model \`${model}\` does not exist or you do not have access to it.`, "model_not_found"]
  }
  if (Oracle.field(body, needed[endpoint]) === undefined) {
    return [400, `Missing required parameter: '${needed[endpoint]}'.`, "missing_required_parameter"]
  }
  const strange = foreign[endpoint].find((name) => Oracle.field(body, name) !== undefined)
  if (strange !== undefined) return [400, `Unknown parameter: '${strange}'.`, "unknown_parameter"]
  if (endpoint === "chat" && thinks.test(model) && Oracle.field(body, "max_tokens") !== undefined) {
    return [
      400,
      "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
      "unsupported_parameter"
    ]
  }
  if (Oracle.field(body, "stream_options") !== undefined && Oracle.field(body, "stream") !== true) {
    return [400, "The 'stream_options' parameter is only allowed when 'stream' is enabled."]
  }
  for (const name of ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"]) {
    const value = Oracle.field(body, name)
    if (value !== undefined && !(typeof value === "number" && Number.isSafeInteger(value) && value >= 1)) {
      return [400, `Invalid '${name}': expected an integer above or equal to 1.`, "integer_below_min_value"]
    }
  }
  if (endpoint === "embeddings") {
    const each = Oracle.inputTokensEach(body, "input", options.countText ?? Oracle.quarterOfBytes)
    if (each.some((tokens) => tokens > 8_192)) return [400, "An input is longer than 8192 tokens."]
    if (each.reduce((sum, tokens) => sum + tokens, 0) > 300_000)
      return [400, "Requested more than 300000 tokens."]
  }
  if (Oracle.priceOf(options.prices, model, servedTier(body, options)) === undefined) {
    return [400, `Invalid service_tier argument: not available for \`${model}\`.`]
  }
  return undefined
}

const servedTier = (body: unknown, options: Options): string => {
  const asked = text(Oracle.field(body, "service_tier")) ?? "auto"
  return asked === "auto" ? (options.projectTier ?? "default") : asked
}

// -- A model's run --------------------------------------------------------------------------------------------

/** A piece of what a model writes. */
interface Piece {
  readonly text: string
  readonly tokens: number
}

/** All that an answer is made of. */
interface Run {
  readonly id: string
  readonly created: number
  readonly body: unknown
  readonly model: string | undefined
  readonly tier: string | undefined
  readonly usage: unknown
  readonly choices: number
  readonly reasoning: number
  /** Billed before the first word, reasoning included. */
  readonly upfront: number
  readonly pieces: ReadonlyArray<Piece>
  readonly toolCalls: ReadonlyArray<ToolCall>
  readonly finish: "stop" | "length" | "tool_calls" | "content_filter" | "failed"
}

interface ToolCall {
  readonly id: string
  readonly name: string
  readonly arguments: string
  readonly tokens: number
}

const words = ["every", "call", "has", "its", "price", "and", "is", "counted"]

/** What a candidate would say without a cap, token by token. */
const speech = (behaviour: Behaviour): ReadonlyArray<string> => {
  if (behaviour.text !== undefined) {
    const characters = Array.from(behaviour.text)
    const groups = Math.ceil(characters.length / 4)
    return Array.from({ length: groups }, (_, i) => characters.slice(i * 4, i * 4 + 4).join(""))
  }
  const tokens = behaviour.outputTokens ?? (behaviour.toolCalls === undefined ? 20 : 0)
  return Array.from({ length: tokens }, (_, i) => (i === 0 ? "" : " ") + (words[i % words.length] ?? ""))
}

/** One candidate: thought first, then words, then calls, until the cap. */
const write = (behaviour: Behaviour, cap: number, id: string) => {
  const wanted = speech(behaviour)
  const toolCalls = (behaviour.toolCalls ?? []).map((call, i) => ({
    ...call,
    id: `call_${id}_${i}`,
    tokens: 3 + Oracle.quarterOfBytes(call.name + call.arguments)
  }))
  const callTokens = toolCalls.reduce((sum, call) => sum + call.tokens, 0)
  const reasoning = Math.min(behaviour.reasoningTokens ?? 0, cap)
  const spoken = wanted.slice(0, cap - reasoning)
  const whole = (behaviour.reasoningTokens ?? 0) + wanted.length + callTokens
  const cut = whole > cap
  const step = behaviour.tokensPerDelta ?? 1
  const pieces = Array.from({ length: Math.ceil(spoken.length / step) }, (_, i) => {
    const tokens = spoken.slice(i * step, (i + 1) * step)
    return { text: tokens.join(""), tokens: tokens.length }
  })
  // A call that the cap cuts was written in part: those tokens are spent, and nothing of it is shown.
  const lost = cut ? cap - reasoning - spoken.length : 0
  return { reasoning, pieces, toolCalls: cut ? [] : toolCalls, cut, lost, tokens: Math.min(whole, cap) }
}

const finishOf = (behaviour: Behaviour, cut: boolean, calls: number): Run["finish"] => {
  if (behaviour.outcome === "failed" || behaviour.outcome === "content_filter") return behaviour.outcome
  if (cut || behaviour.outcome === "max_output_tokens") return "length"
  return calls > 0 ? "tool_calls" : "stop"
}

/** Runs the model: what it writes, what is used, what the answer says of it. */
const runModel = (
  request: RecordedRequest,
  endpoint: Endpoint,
  model: string,
  behaviour: Behaviour,
  options: Options
) => {
  const body = request.body
  const limit = Oracle.outputLimit(endpoint, body)
  const maximum = options.modelMaximum ?? 128_000
  const cap = behaviour.ignoreCaps === true ? Infinity : Math.min(limit.cap ?? maximum, maximum)
  const id = `${prefixes[endpoint]}sim-${request.index}`
  const candidate = write(endpoint === "embeddings" ? { outputTokens: 0 } : behaviour, cap, id)
  const rejected = behaviour.rejectedPredictionTokens ?? 0
  const input = behaviour.inputTokens ?? Oracle.inputTokens(endpoint, body, options.countText)
  const cachedInput = Math.min(behaviour.cachedTokens ?? 0, input)
  const cacheWrite = Math.min(behaviour.cacheWriteTokens ?? 0, input - cachedInput)
  const usage: BilledUsage = {
    input,
    cachedInput,
    cacheWrite,
    cacheWrite12h: Math.min(behaviour.cacheWrite12hTokens ?? 0, input - cachedInput - cacheWrite),
    output: candidate.tokens * limit.candidates + rejected,
    reasoning: candidate.reasoning * limit.candidates
  }
  const tier = behaviour.tier ?? servedTier(body, options)
  const tiered = endpoint === "chat" || endpoint === "responses"
  const honest = honestUsage(endpoint, usage, rejected)
  const said = (told: string | null | undefined, truth: string) =>
    told === undefined ? truth : (told ?? undefined)
  const shown = candidate.pieces.reduce((sum, piece) => sum + piece.tokens, 0)
  const called = candidate.toolCalls.reduce((sum, call) => sum + call.tokens, 0)
  const run: Run = {
    id,
    created: 1_750_000_000 + request.index,
    body,
    model: said(behaviour.echo?.model, model),
    tier: tiered ? said(behaviour.echo?.tier, tier) : undefined,
    usage: behaviour.reportUsage === undefined ? honest : behaviour.reportUsage(honest),
    choices: limit.choices,
    reasoning: candidate.reasoning,
    upfront: usage.output - (shown + called) * limit.choices,
    pieces: candidate.pieces,
    toolCalls: candidate.toolCalls,
    finish: finishOf(behaviour, candidate.cut, candidate.toolCalls.length)
  }
  return { run, usage, tier }
}

const prefixes: Readonly<Record<Endpoint, string>> = {
  chat: "chatcmpl-",
  responses: "resp_",
  completions: "cmpl-",
  embeddings: "embd-"
}

const honestUsage = (
  endpoint: Endpoint,
  usage: BilledUsage,
  rejected: number
): Readonly<Record<string, unknown>> => {
  const writes = usage.cacheWrite + usage.cacheWrite12h
  const total_tokens = usage.input + usage.output
  switch (endpoint) {
    case "embeddings":
      return { prompt_tokens: usage.input, total_tokens }
    case "completions":
      return { prompt_tokens: usage.input, completion_tokens: usage.output, total_tokens }
    case "chat":
      return {
        prompt_tokens: usage.input,
        completion_tokens: usage.output,
        total_tokens,
        prompt_tokens_details: {
          cached_tokens: usage.cachedInput,
          audio_tokens: 0,
          ...(writes > 0 ? { cache_write_tokens: writes } : {})
        },
        completion_tokens_details: {
          reasoning_tokens: usage.reasoning,
          audio_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: rejected
        }
      }
    case "responses": {
      const split = { ttl_30m_tokens: usage.cacheWrite, ttl_12h_tokens: usage.cacheWrite12h }
      return {
        input_tokens: usage.input,
        input_tokens_details: {
          cached_tokens: usage.cachedInput,
          cache_write_tokens: writes,
          ...(usage.cacheWrite12h > 0 ? { cache_write_tokens_details: split } : {})
        },
        output_tokens: usage.output,
        output_tokens_details: { reasoning_tokens: usage.reasoning },
        total_tokens
      }
    }
  }
}

const answerModel = async (
  request: RecordedRequest & { readonly route: Route },
  endpoint: Endpoint,
  wire: Wire,
  behaviour: Behaviour,
  options: Options,
  book: Oracle.BillBook
): Promise<void> => {
  const failure = behaviour.failure
  if (failure?.kind === "refuse") {
    wire.cut()
    return
  }
  if (failure?.kind === "redirect") {
    send(wire, failure.status ?? 307, "", { location: failure.location })
    return
  }
  if (failure?.kind === "status" && failure.billed !== true) {
    sendStatus(wire, failure)
    return
  }
  const refused = refusal(request, endpoint, options)
  if (refused !== undefined) {
    send(wire, refused[0], errorBody(refused[1], refused[2]))
    return
  }
  const asked = request.model ?? ""
  const model = behaviour.model ?? own(options.snapshots, asked) ?? asked
  const { run, tier, usage } = runModel(request, endpoint, model, behaviour, options)
  const price = Object.hasOwn(options.prices, model)
    ? Oracle.priceOf(options.prices, model, tier)
    : Oracle.priceOf(options.prices, asked, tier)
  if (price === undefined)
    throw new Error(`The simulation has no price for ${model} (or ${asked}) on tier ${tier}.`)
  const line = book.open({ id: run.id, request: request.index, model, tier, endpoint }, price, usage)
  const streamed = endpoint !== "embeddings" && Oracle.field(request.body, "stream") === true
  const generated = failure?.kind === "status" || failure?.kind === "hang" ? failure.generated : undefined
  if (!streamed || failure?.kind === "status" || failure?.kind === "hang")
    line.write(generated ?? usage.output)
  if (failure?.kind === "status") {
    sendStatus(wire, failure)
    return
  }
  if (behaviour.delayMs !== undefined) await pause(wire, behaviour.delayMs)
  await Promise.race([behaviour.holdHeaders?.(), wire.gone])
  if (wire.ending() !== undefined) return
  const head = {
    "x-request-id": `req_sim_${request.index}`,
    "content-type":
      behaviour.contentType ?? (streamed ? "text/event-stream; charset=utf-8" : "application/json"),
    ...behaviour.headers
  }
  if (failure?.kind === "hang") {
    if (failure.before === "body") wire.response.writeHead(200, head).flushHeaders()
    return
  }
  if (streamed) {
    wire.response.writeHead(200, head).flushHeaders()
    await sendStream(run, endpoint, wire, behaviour, line)
  } else {
    await sendBody(JSON.stringify(wholeAnswer(endpoint, run)), head, wire, failure, line)
  }
}

const sendStatus = (wire: Wire, failure: Extract<Failure, { kind: "status" }>): void => {
  const type = failure.status >= 500 ? "server_error" : "invalid_request_error"
  const body = failure.body ?? errorBody(`Simulated status ${failure.status}.`, null, type)
  send(wire, failure.status, body, failure.headers)
}

const pause = async (wire: Wire, milliseconds: number): Promise<void> => {
  // Rejects only when the wire is gone, which every caller looks at next.
  await sleep(milliseconds, undefined, { signal: wire.signal }).catch(() => undefined)
}

/** Hands bytes to the network; resolves when they are there, or the wire is gone. */
const flush = (wire: Wire, bytes: string | Buffer): Promise<unknown> =>
  Promise.race([new Promise<void>((resolve) => void wire.response.write(bytes, () => resolve())), wire.gone])

const sendBody = async (
  whole: string,
  head: Readonly<Record<string, string>>,
  wire: Wire,
  failure: Failure | undefined,
  line: RunningCall
): Promise<void> => {
  const bytes = Buffer.from(whole)
  const half = bytes.subarray(0, Math.floor(bytes.length / 2))
  const sent = failure?.kind === "malformed" ? half : bytes
  wire.response.writeHead(200, { ...head, "content-length": String(sent.length) })
  if (failure?.kind === "cut") {
    await flush(wire, half)
    wire.cut(failure.how)
    return
  }
  wire.response.end(sent)
  if ((await wire.gone) === "answered" && failure === undefined) line.complete()
}

/** A streamed event and the tokens that it takes to write it. */
interface Event {
  readonly type: StreamEvent["type"]
  readonly tokens: number
  readonly text: string
}

const sendStream = async (
  run: Run,
  endpoint: Endpoint,
  wire: Wire,
  behaviour: Behaviour,
  line: RunningCall
): Promise<void> => {
  const failure = behaviour.failure
  const half = Math.floor((run.pieces.length * run.choices) / 2)
  const at = failure?.kind === "cut" || failure?.kind === "streamError" ? (failure.at ?? half) : half
  const seen = { start: 0, delta: 0, finish: 0, usage: 0, done: 0 }
  const events = endpoint === "responses" ? responseEvents(run) : choiceEvents(run, endpoint === "chat")
  for (const event of events) {
    const due = typeof at === "number" ? seen.delta >= at && event.type !== "start" : event.type === at
    if (failure !== undefined && due) return breakStream(failure, endpoint, wire)
    if (behaviour.delayMs !== undefined) await pause(wire, behaviour.delayMs)
    const index = seen[event.type]++
    const held = behaviour.hold?.({ type: event.type, index })
    if (held !== undefined) await Promise.race([held, wire.gone])
    if (wire.ending() !== undefined) return
    line.write(event.tokens)
    if (!wire.response.write(event.text)) await flush(wire, "")
  }
  if (failure !== undefined) return breakStream(failure, endpoint, wire)
  wire.response.end()
  if ((await wire.gone) === "answered") line.complete()
}

const breakStream = async (failure: Failure, endpoint: Endpoint, wire: Wire): Promise<void> => {
  if (failure.kind === "malformed") {
    wire.response.end('data: {"id":"broken","choices":[{"ind\n\n')
  } else if (failure.kind === "streamError") {
    const error = { type: "server_error", code: "server_error", message: "Simulated failure.", param: null }
    const flat = { ...error, type: "error", sequence_number: 0 }
    wire.response.end(endpoint === "responses" ? sse(flat, "error") : sse({ error }))
  } else if (failure.kind === "cut" && failure.how === "end") {
    wire.response.end()
  } else {
    await flush(wire, "")
    wire.cut()
  }
}

// -- Wire shapes ----------------------------------------------------------------------------------------------

const sse = (data: unknown, name?: string): string =>
  `${name === undefined ? "" : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`

const spoken = (run: Run): string => run.pieces.map((piece) => piece.text).join("")

const range = (length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => i)

const wholeAnswer = (endpoint: Endpoint, run: Run): unknown => {
  switch (endpoint) {
    case "chat":
      return chatCompletion(run)
    case "completions":
      return completion(run)
    case "responses":
      return responseObject(run, run.finish, false)
    case "embeddings":
      return embeddingList(run)
  }
}

/** Fields that are undefined leave no trace in JSON: a usage or model that is hidden is simply absent. */
const chatBase = (run: Run, object: string) => ({
  id: run.id,
  object,
  created: run.created,
  model: run.model,
  service_tier: run.tier,
  system_fingerprint: "fp_sim"
})

const chatCalls = (run: Run) =>
  run.toolCalls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments }
  }))

const finishReason = (run: Run): string => (run.finish === "failed" ? "stop" : run.finish)

const chatCompletion = (run: Run): unknown => ({
  ...chatBase(run, "chat.completion"),
  choices: range(run.choices).map((index) => ({
    index,
    message: {
      role: "assistant",
      content: run.toolCalls.length > 0 && run.pieces.length === 0 ? null : spoken(run),
      refusal: null,
      annotations: [],
      ...(run.toolCalls.length > 0 ? { tool_calls: chatCalls(run) } : {})
    },
    logprobs: null,
    finish_reason: finishReason(run)
  })),
  usage: run.usage
})

const completion = (run: Run): unknown => ({
  id: run.id,
  object: "text_completion",
  created: run.created,
  model: run.model,
  choices: range(run.choices).map((index) => ({
    index,
    text: spoken(run),
    logprobs: null,
    finish_reason: finishReason(run)
  })),
  usage: run.usage
})

const embeddingList = (run: Run): unknown => {
  const input = Oracle.inputTokensEach(run.body, "input", Oracle.quarterOfBytes)
  const asked = Oracle.field(run.body, "dimensions")
  const encoded = Oracle.field(run.body, "encoding_format") === "base64"
  const vector = Float32Array.from(range(typeof asked === "number" ? asked : 8), (i) => 1 / (i + 2))
  const embedding = encoded ? Buffer.from(vector.buffer).toString("base64") : Array.from(vector)
  const data = input.map((_, index) => ({ object: "embedding", index, embedding }))
  return { object: "list", data, model: run.model, usage: run.usage }
}

/** Chat and legacy completions: choice after choice, then the usage where it was asked for, then `[DONE]`. */
function* choiceEvents(run: Run, chat: boolean): Generator<Event> {
  const asked = Oracle.field(Oracle.field(run.body, "stream_options"), "include_usage") === true
  const base = chat
    ? chatBase(run, "chat.completion.chunk")
    : { id: run.id, object: "text_completion", created: run.created, model: run.model }
  const chunk = (index: number, delta: unknown, finish_reason: string | null = null) => {
    const content = chat ? { delta } : { text: Oracle.field(delta, "content") ?? "" }
    const choices = [{ index, ...content, logprobs: null, finish_reason }]
    return sse({ ...base, choices, ...(asked ? { usage: null } : {}) })
  }
  for (const index of range(run.choices)) {
    const opening = chunk(index, { role: "assistant", content: "", refusal: null })
    yield { type: "start", tokens: index === 0 ? run.upfront : 0, text: opening }
    for (const piece of run.pieces) {
      yield { type: "delta", tokens: piece.tokens, text: chunk(index, { content: piece.text }) }
    }
    for (const [i, call] of chatCalls(run).entries()) {
      const tokens = run.toolCalls[i]?.tokens ?? 0
      yield { type: "delta", tokens, text: chunk(index, { tool_calls: [{ index: i, ...call }] }) }
    }
    yield { type: "finish", tokens: 0, text: chunk(index, {}, finishReason(run)) }
  }
  if (asked && run.usage !== undefined) {
    yield { type: "usage", tokens: 0, text: sse({ ...base, choices: [], usage: run.usage }) }
  }
  yield { type: "done", tokens: 0, text: "data: [DONE]\n\n" }
}

const messageItem = (run: Run, status: string) => ({
  id: `msg_${run.id}`,
  type: "message",
  status,
  role: "assistant",
  content: [{ type: "output_text", annotations: [], logprobs: [], text: spoken(run) }]
})

/** The items of a Responses answer, thought first. */
const outputItems = (run: Run, status: string) => [
  ...(run.reasoning > 0 ? [{ id: `rs_${run.id}`, type: "reasoning", summary: [] }] : []),
  ...(run.pieces.length > 0 ? [messageItem(run, status)] : []),
  ...run.toolCalls.map((call) => ({
    id: `fc_${call.id}`,
    type: "function_call",
    status,
    arguments: call.arguments,
    call_id: call.id,
    name: call.name
  }))
]

const reasons = { length: "max_output_tokens", content_filter: "content_filter" } as const

const responseObject = (run: Run, finish: Run["finish"], inProgress: boolean) => {
  const ended =
    finish === "failed"
      ? "failed"
      : finish === "length" || finish === "content_filter"
        ? "incomplete"
        : "completed"
  const status = inProgress ? "in_progress" : ended
  const cut = !inProgress && (finish === "length" || finish === "content_filter")
  return {
    id: run.id,
    object: "response",
    created_at: run.created,
    status,
    background: false,
    error: status === "failed" ? { code: "server_error", message: "Simulated failure." } : null,
    incomplete_details: cut ? { reason: reasons[finish] } : null,
    instructions: Oracle.field(run.body, "instructions") ?? null,
    max_output_tokens: Oracle.field(run.body, "max_output_tokens") ?? null,
    model: run.model,
    output: inProgress ? [] : outputItems(run, status === "completed" ? "completed" : "incomplete"),
    parallel_tool_calls: true,
    previous_response_id: null,
    // Until it is served, a response tells the tier that was asked for.
    service_tier: inProgress ? (Oracle.field(run.body, "service_tier") ?? "auto") : run.tier,
    store: true,
    tool_choice: "auto",
    tools: Oracle.field(run.body, "tools") ?? [],
    usage: inProgress ? null : run.usage,
    metadata: {}
  }
}

/** Responses: lifecycle, each output item with its parts, then the whole answer with its usage. */
function* responseEvents(run: Run): Generator<Event> {
  let sequence = 0
  const event = (type: string, fields: object): string =>
    sse({ type, sequence_number: sequence++, ...fields }, type)
  const opening = responseObject(run, run.finish, true)
  const created = event("response.created", { response: opening })
  const started = event("response.in_progress", { response: opening })
  yield { type: "start", tokens: run.upfront, text: created + started }
  const answer = responseObject(run, run.finish, false)
  for (const [output_index, item] of answer.output.entries()) {
    const added = (fields: object) =>
      event("response.output_item.added", { output_index, item: { ...item, ...fields } })
    const done = event.bind(undefined, "response.output_item.done", { output_index, item })
    const at = { item_id: item.id, output_index }
    if ("content" in item) {
      const part = { ...at, content_index: 0 }
      const empty = { type: "output_text", annotations: [], logprobs: [], text: "" }
      const open = added({ status: "in_progress", content: [] })
      yield {
        type: "start",
        tokens: 0,
        text: open + event("response.content_part.added", { ...part, part: empty })
      }
      for (const { text: delta, tokens } of run.pieces) {
        const text = event("response.output_text.delta", { ...part, delta, logprobs: [] })
        yield { type: "delta", tokens, text }
      }
      const whole = event("response.output_text.done", { ...part, text: spoken(run), logprobs: [] })
      const closed = event("response.content_part.done", { ...part, part: { ...empty, text: spoken(run) } })
      yield { type: "finish", tokens: 0, text: whole + closed + done() }
    } else if ("call_id" in item) {
      const { arguments: delta, name } = item
      const tokens = run.toolCalls.find((call) => call.id === item.call_id)?.tokens ?? 0
      yield { type: "start", tokens: 0, text: added({ status: "in_progress", arguments: "" }) }
      yield { type: "delta", tokens, text: event("response.function_call_arguments.delta", { ...at, delta }) }
      const whole = event("response.function_call_arguments.done", { ...at, arguments: delta, name })
      yield { type: "finish", tokens: 0, text: whole + done() }
    } else {
      yield { type: "start", tokens: 0, text: added({}) + done() }
    }
  }
  yield { type: "usage", tokens: 0, text: event(`response.${answer.status}`, { response: answer }) }
}
