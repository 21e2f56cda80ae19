/** The span and the metrics of one attempt of a call. Nothing of it is made where nobody would see it. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { BudgetError } from "../BudgetError.ts"
import type * as Host from "../Host.ts"
import type * as Settlement from "../Settlement.ts"
import * as Telemetry from "../Telemetry.ts"
import type * as Usd from "../Usd.ts"
import { isExported, isObserved } from "./callContext.ts"

/** What is known of a call before it is admitted. */
export interface Called {
  readonly endpoint: { readonly name: string }
  /** `undefined` where it is not known where a call goes: a model's is its provider's affair. */
  readonly url: string | undefined
  readonly host: Host.Host
  readonly quote?: { readonly model: string; readonly most: Usd.Usd } | undefined
}

/** What is known of it once it is. */
export interface Admitted {
  readonly account: string
  readonly reserved: Usd.Usd
  readonly cap: number | undefined
}

/** Where the traces of a call go, or `undefined` where nobody looks. */
export interface Sink {
  readonly context: Context.Context<never>
  readonly spans: boolean
  readonly metrics: boolean
}

/** The sink of the fiber that calls or, where that says nothing of it, of whoever built what it calls. */
export const sinkOf = (calling: Context.Context<never>, built: Context.Context<never>): Sink | undefined => {
  const telling = isObserved(calling) ? calling : built
  const exported = isExported(telling)
  const { metrics = exported, spans = exported } = Context.get(telling, Telemetry.Settings)
  if (!spans && !metrics) return undefined
  const tracer = Context.get(telling, Tracer.Tracer)
  return {
    spans,
    metrics,
    context: telling === calling ? calling : Context.add(calling, Tracer.Tracer, tracer)
  }
}

/** The names that the conventions have for what the endpoints do. */
const operations: Readonly<Record<string, string>> = {
  "POST /chat/completions": "chat",
  "POST /responses": "chat",
  "POST /completions": "text_completion",
  "POST /embeddings": "embeddings"
}

/** Few words for the ways in which a bill is lost, for `error.type`. An answer that came whole is no error. */
const lossTypes: Readonly<Record<string, string>> = {
  "the call was aborted": "aborted",
  "the connection broke": "connection_error",
  "the response was cut": "connection_error",
  "the response was cut after it was left": "connection_error",
  "the response was left before its end": "abandoned",
  "the stream ended before it was done": "incomplete_stream",
  "the call was interrupted": "aborted",
  "the call failed after a part of its answer": "model_error",
  "something was sent that may be billed": "model_error"
}

/** How a model failed is said with its reason, of which there may be many. */
const lossTypeOf = (why: string): string | undefined =>
  lossTypes[why] ?? (why.startsWith("the model failed") ? "model_error" : undefined)

const errorTypeOf = (outcome: Settlement.Outcome): string | undefined => {
  switch (outcome._tag) {
    case "NotSent":
      return "not_sent"
    case "Answered":
      return outcome.status >= 200 && outcome.status < 300 ? undefined : String(outcome.status)
    case "Lost":
      return lossTypeOf(outcome.why)
    case "Reported":
      return undefined
  }
}

/** An attempt that went wrong, as a span says it: in words of ours. */
class CallFailed extends Data.TaggedError("CallFailed")<{ readonly message: string }> {}

type Attributes = Readonly<Record<string, string | number>>

const operationOf = ({ endpoint: { name } }: Called): string => operations[name] ?? name

const commonOf = (called: Called): Attributes => {
  const { host, quote, url } = called
  const server = url === undefined ? {} : serverOf(new URL(url))
  return {
    "gen_ai.operation.name": operationOf(called),
    "gen_ai.provider.name": host.provider ?? "openai",
    ...(quote === undefined ? {} : { "gen_ai.request.model": quote.model }),
    ...server
  }
}

const serverOf = ({ hostname, port, protocol }: URL): Attributes => ({
  "server.address": hostname,
  "server.port": port === "" ? (protocol === "http:" ? 80 : 443) : Number(port)
})

/** A span that has ended has no more children: what it built is called by whoever comes. */
const isOver = (parent: Tracer.AnySpan | undefined): boolean =>
  parent?._tag === "Span" && parent.status._tag === "Ended"

const startSpan = (sink: Sink, called: Called, attributes: Attributes): Tracer.Span | undefined => {
  if (!sink.spans) return undefined
  const parent = Option.getOrUndefined(Context.getOption(sink.context, Tracer.ParentSpan))
  const operation = operationOf(called)
  const name = called.quote === undefined ? operation : `${operation} ${called.quote.model}`
  const quote = called.quote === undefined ? {} : { "agent_budget.quote": called.quote.most }
  return Effect.runSyncWith(sink.context)(
    Effect.makeSpan(name, {
      kind: "client",
      root: isOver(parent),
      attributes: { ...attributes, ...quote }
    })
  )
}

const nanosNow = (context: Context.Context<never>): bigint =>
  Context.get(context, Clock.Clock).currentTimeNanosUnsafe()

/** A tracer is somebody else's: what it throws must cost no call and lose no bill. */
const quietly = <A>(run: () => A): A | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}

/** Models are fewer, and so are their names shorter. */
const mostServed = 100
const longestServed = 128

/** The models by whose names a registry has numbers. */
const served = new WeakMap<object, Set<string>>()

/**
 * A model as the metrics name it. A registry keeps numbers for every name, for good, and a response may say whatever it
 * likes: what is beyond all reason is counted together, under the word that the conventions have for it.
 */
const servedAs = (model: string, context: Sink["context"]): string => {
  const registry = Context.get(context, Metric.MetricRegistry)
  const names = served.get(registry) ?? new Set<string>()
  served.set(registry, names)
  if (names.has(model)) return model
  if (names.size >= mostServed || model.length > longestServed) return "_OTHER"
  names.add(model)
  return model
}

/** Begins to trace an attempt that was admitted. */
export const beginTrace = (sink: Sink, called: Called, admitted: Admitted): CallTrace | undefined =>
  quietly(() => new CallTrace(sink, called, admitted))

/** One attempt, from its admission on. */
export class CallTrace {
  readonly #sink: Sink
  readonly #common: Attributes
  readonly #span: Tracer.Span | undefined
  readonly #start: bigint

  constructor(sink: Sink, called: Called, { account, cap, reserved }: Admitted) {
    this.#sink = sink
    this.#common = commonOf(called)
    this.#start = nanosNow(sink.context)
    this.#span = startSpan(sink, called, {
      ...this.#common,
      ...(cap === undefined ? {} : { "gen_ai.request.max_tokens": cap }),
      "agent_budget.account": account,
      "agent_budget.reserved": reserved
    })
  }

  end(outcome: Settlement.Outcome, verdict: Settlement.Verdict): void {
    quietly(() => {
      const now = nanosNow(this.#sink.context)
      const error = errorTypeOf(outcome)
      if (this.#span !== undefined) endSpan(this.#span, now, outcome, verdict, error)
      if (this.#sink.metrics) this.#measure(now, outcome, verdict, error)
    })
  }

  #measure(
    now: bigint,
    outcome: Settlement.Outcome,
    verdict: Settlement.Verdict,
    error: string | undefined
  ): void {
    const { context } = this.#sink
    const model = outcome._tag === "Reported" ? outcome.reading.model : undefined
    const attributes = {
      ...this.#common,
      ...(model === undefined ? {} : { "gen_ai.response.model": servedAs(model, context) })
    }
    const failed = error === undefined ? attributes : { ...attributes, "error.type": error }
    const seconds = Number(now - this.#start) / 1e9
    Metric.withAttributes(Telemetry.operationDuration, failed).updateUnsafe(seconds, context)
    const told = { ...attributes, "agent_budget.verdict": verdict._tag.toLowerCase() }
    const amount = verdict._tag === "Released" ? 0 : verdict.amount
    Metric.withAttributes(Telemetry.spent, told).updateUnsafe(amount, context)
    if (verdict._tag !== "Metered") return
    for (const type of ["input", "output"] as const) {
      const ofType = { ...attributes, "gen_ai.token.type": type }
      Metric.withAttributes(Telemetry.tokenUsage, ofType).updateUnsafe(verdict.usage[type], context)
    }
  }
}

const endSpan = (
  span: Tracer.Span,
  now: bigint,
  outcome: Settlement.Outcome,
  verdict: Settlement.Verdict,
  error: string | undefined
): void => {
  const tell = (key: string, value: string | number | undefined): void => {
    if (value !== undefined) span.attribute(key, value)
  }
  tell("agent_budget.verdict", verdict._tag.toLowerCase())
  tell("agent_budget.spent", verdict._tag === "Released" ? 0 : verdict.amount)
  tell("error.type", error)
  if (outcome._tag === "Reported") {
    const { id, model, tier, usage } = outcome.reading
    tell("gen_ai.response.model", model)
    tell("gen_ai.response.id", id)
    tell("openai.response.service_tier", tier)
    tell("gen_ai.usage.input_tokens", usage.input)
    tell("gen_ai.usage.output_tokens", usage.output)
    tell("gen_ai.usage.cache_read.input_tokens", usage.cachedInput)
    tell("gen_ai.usage.cache_creation.input_tokens", usage.cacheWrite + usage.cacheWrite12h)
  }
  const why = verdict._tag === "Metered" ? "" : verdict.why
  span.end(now, error === undefined ? Exit.void : Exit.fail(new CallFailed({ message: why })))
}

/** A call that was refused before anything was sent: a span without a length. */
export const traceRefusal = (sink: Sink, called: Called, error: BudgetError): void => {
  quietly(() => {
    const { reason } = error
    const account = "account" in reason ? { "agent_budget.account": reason.account } : {}
    const span = startSpan(sink, called, {
      ...commonOf(called),
      ...account,
      "agent_budget.verdict": "refused",
      "error.type": reason._tag
    })
    span?.end(nanosNow(sink.context), Exit.fail(error))
  })
}
