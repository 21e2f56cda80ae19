/** A provider in virtual time: a `fetch` that answers, fails and bills as it was told to. */
import type { BudgetedFetch } from "agent-budget"
import * as Oracle from "../utils/providerBill.ts"
import { packets, type Packet } from "./answers.ts"
import type { Attempt } from "./attempt.ts"
import type { Coverage } from "./coverage.ts"
import type { Engine, Owner } from "./engine.ts"
import { refusals, type Behaviour } from "./faults.ts"
import { billed } from "./prices.ts"

/** The header by which the provider and the judge know which attempt a request is of. */
export const attemptHeader = "x-attempt"

export const root = "https://api.openai.com/v1"

interface Expected {
  readonly attempt: Attempt
  readonly behaviour: Behaviour
  /** What its caller wrote; what comes in may say more. */
  readonly body: string
}

/** What this provider's customers set as their project's tier: what serves a request that does not say. */
const projectTier = "priority"

/** A tier that is on no list: what it costs cannot be known. */
const unpriced = "scale"

/** No cap was asked for: what a model writes then at most. */
const modelMaximum = 4_096

const endpoints: Readonly<Record<string, Oracle.Endpoint>> = {
  [`${root}/chat/completions`]: "chat",
  [`${root}/responses`]: "responses",
  [`${root}/embeddings`]: "embeddings"
}

const networkError = (code: string): Error =>
  Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error(code), { code }) })

/** A model's run: what it will have written when nobody stops it, and what that costs. */
interface Run {
  readonly usage: Oracle.BilledUsage
  readonly price: Oracle.TierPrice
  readonly model: string
  readonly echo: string | undefined
  readonly choices: number
  readonly report: Behaviour["report"]
  /** What the answer says of the model and the tier has a price. */
  readonly isPriceable: boolean
}

const isCapped = (body: string): boolean => /"max_(completion|output)_tokens":\d/.test(body)

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

export class Provider {
  readonly engine: Engine
  readonly coverage: Coverage
  readonly expected = new Map<string, Expected>()
  /** Told of every request that comes in, before anything else happens. */
  arrived: (attempt: Attempt) => void = () => undefined

  /** Told of a request whose client went away, before its bill was told. */
  abandoned: (attempt: Attempt) => void = () => undefined
  readonly bytesPerToken: number

  constructor(engine: Engine, coverage: Coverage, bytesPerToken: number) {
    this.engine = engine
    this.coverage = coverage
    this.bytesPerToken = bytesPerToken
  }

  /** The tokens of a text. */
  count(text: string): number {
    return Math.ceil(Buffer.byteLength(text, "utf8") / this.bytesPerToken)
  }

  expect(attempt: Attempt, behaviour: Behaviour, body: string): void {
    attempt.isRequest = true
    this.expected.set(attempt.id, { attempt, behaviour, body })
  }

  fetchFor(owner: Owner): BudgetedFetch.Fetch {
    return (input, init = {}) =>
      new Promise((resolve, reject) => {
        const { attempt, behaviour, body } = this.find(init)
        const { signal } = init
        if (signal?.aborted === true) {
          reject(signal.reason as Error)
          return
        }
        this.arrived(attempt)
        if (!isCapped(body) && isCapped(text(init.body) ?? "")) this.coverage.met("written caps")
        const call = new Call(this, owner, attempt, behaviour, resolve, reject)
        signal?.addEventListener("abort", () => call.leave(signal.reason), { once: true })
        this.engine.soon(owner, () =>
          call.arrive(input instanceof Request ? input.url : input.toString(), init)
        )
      })
  }

  find(init: RequestInit): Expected {
    const found = this.expected.get(new Headers(init.headers).get(attemptHeader) ?? "")
    if (found === undefined) throw new Error("A request came in that no agent made.")
    return found
  }
}

class Call {
  readonly provider: Provider
  readonly owner: Owner
  readonly attempt: Attempt
  readonly behaviour: Behaviour
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
  controller: ReadableStreamDefaultController<Uint8Array> | undefined
  run: Run | undefined
  written = 0
  isGone = false

  constructor(
    provider: Provider,
    owner: Owner,
    attempt: Attempt,
    behaviour: Behaviour,
    resolve: (response: Response) => void,
    reject: (error: unknown) => void
  ) {
    this.provider = provider
    this.owner = owner
    this.attempt = attempt
    this.behaviour = behaviour
    this.resolve = resolve
    this.reject = reject
  }

  /** The client went away: its promise and its body fail at once, whatever the model does. */
  leave(reason: unknown): void {
    if (this.isGone) return
    this.away()
    this.reject(reason)
    try {
      this.controller?.error(reason)
    } catch {
      // It had been closed.
    }
  }

  /** Its client has no more use for it, however much is still to come. */
  away(): void {
    const { attempt, behaviour, run } = this
    const isWorthIt = run?.isPriceable === true && run.report === "truth" && behaviour.ending !== "malformed"
    if (isWorthIt && !attempt.told) this.provider.abandoned(attempt)
    this.end()
  }

  /** Nothing more is sent. The model may write on for nobody. */
  end(): void {
    this.isGone = true
    if (this.run !== undefined && !this.behaviour.stops) this.write(this.run.usage.output)
  }

  fail(code: string): void {
    this.isGone = true
    this.reject(networkError(code))
  }

  arrive(url: string, init: RequestInit): void {
    if (this.isGone) return
    const { coverage, engine } = this.provider
    const { behaviour } = this
    const body: unknown = JSON.parse(text(init.body) ?? "null")
    const endpoint = endpoints[url]
    if (endpoint === undefined) throw new Error(`The provider has no ${url}.`)
    engine.say(`arrives ${this.attempt.id} ${behaviour.ending}`)
    if (behaviour.ending === "refused") {
      coverage.met("refused connections")
      this.attempt.provenFree = true
      this.fail("ECONNREFUSED")
    } else if (behaviour.ending === "reset") {
      coverage.met("resets")
      this.fail("ECONNRESET")
    } else if (behaviour.ending === "status") this.status(endpoint, body)
    else if (behaviour.ending === "redirect") {
      this.answer(new Response(null, { status: 307, headers: { location: `${root}/elsewhere` } }))
    } else {
      this.start(endpoint, body)
      if (behaviour.ending === "hangs") coverage.met("hangs")
      else this.later(() => this.stream(endpoint, body))
    }
  }

  status(endpoint: Oracle.Endpoint, body: unknown): void {
    const { ran, status } = this.behaviour
    const isRefusal = refusals.includes(status)
    this.provider.coverage.met(isRefusal ? "rejections" : "server errors")
    if (isRefusal) this.attempt.provenFree = true
    else if (ran) {
      this.start(endpoint, body)
      this.write(this.run?.usage.output ?? 0)
    }
    this.answer(Response.json({ error: { message: "No." } }, { status }))
  }

  /** The whole of an answer whose body tells nothing. */
  answer(response: Response): void {
    this.later(() => {
      this.isGone = true
      this.resolve(response)
    })
  }

  later(run: () => void): void {
    const { engine } = this.provider
    const unless = (): void => {
      if (!this.isGone) run()
    }
    if (this.behaviour.pace > 0) engine.after(this.owner, this.behaviour.pace, unless)
    else engine.soon(this.owner, unless)
  }

  /** A model begins to run: from now on its input is owed. */
  start(endpoint: Oracle.Endpoint, body: unknown): void {
    this.run = this.runOf(endpoint, body)
    this.write(0)
  }

  write(output: number): void {
    if (this.run === undefined) return
    this.written = Math.max(this.written, output)
    const { price, usage } = this.run
    this.attempt.bill = Oracle.nanoUsd(price, { ...usage, output: this.written })
  }

  runOf(endpoint: Oracle.Endpoint, body: unknown): Run {
    const { attempt, behaviour } = this
    const { coverage } = this.provider
    const asked = text(Oracle.field(body, "model")) ?? ""
    const isDearer = behaviour.dearerModel && asked === "gpt-5-sim"
    const model = isDearer ? "gpt-5-sim-large" : asked
    const isTiered = endpoint !== "embeddings"
    const wanted = isTiered ? (text(Oracle.field(body, "service_tier")) ?? projectTier) : "default"
    const tier = wanted === "auto" ? (behaviour.output % 2 === 0 ? "priority" : "default") : wanted
    const served = isDearer ? "default" : this.servedTier(asked, tier)
    attempt.model = model
    const price = Oracle.priceOf(billed, model, served)
    if (price === undefined) throw new Error(`The provider has no price for ${model} on ${served}.`)
    if (isDearer) coverage.met("dearer models")
    if (served !== tier) coverage.met("other tiers")
    const input = Oracle.inputTokens(endpoint, body, (text) => this.provider.count(text))
    const cachedInput = Math.floor((input * behaviour.cached) / 100)
    const cacheWrite = Math.floor(((input - cachedInput) * behaviour.written) / 100)
    if (cacheWrite > 0) coverage.met("cache writes")
    if (price.longContext !== undefined && input >= price.longContext.from) coverage.met("long contexts")
    const { cap, candidates, choices } = Oracle.outputLimit(endpoint, body)
    const limit = endpoint === "embeddings" ? 0 : (cap ?? modelMaximum)
    const isUnheeded = behaviour.ignoresCap && isTiered && behaviour.output > limit
    if (isUnheeded) coverage.met("ignored caps")
    const each = isUnheeded ? behaviour.output : Math.min(behaviour.output, limit)
    const output = each * candidates
    attempt.broken = isDearer || isUnheeded || dearness(served) > dearness(tier)
    if (behaviour.report !== "truth") coverage.met("untrue usages")
    const echo = isTiered ? this.echoOf(served, wanted) : undefined
    return {
      price,
      model: behaviour.dated && model === "gpt-4o-sim" ? `${model}-2026-01-01` : model,
      echo,
      choices: Math.max(1, choices),
      usage: {
        input,
        cachedInput,
        cacheWrite,
        cacheWrite12h: 0,
        output,
        reasoning: Math.min(behaviour.reasoning, output)
      },
      report: behaviour.report,
      isPriceable: Oracle.priceOf(billed, model, echo ?? wanted) !== undefined
    }
  }

  servedTier(model: string, tier: string): string {
    const { servedTier } = this.behaviour
    const isPriced = Oracle.priceOf(billed, model, servedTier) !== undefined
    return (servedTier === "priority" || servedTier === "flex") && isPriced ? servedTier : tier
  }

  /** An echo that says nothing leaves the tier that was asked for, which is the one that serves. */
  echoOf(served: string, wanted: string): string | undefined {
    const { servedTier } = this.behaviour
    if (servedTier === "unknown") return unpriced
    return servedTier === "untold" && wanted !== "auto" ? undefined : served
  }

  stream(endpoint: Oracle.Endpoint, body: unknown): void {
    const { attempt, behaviour, run } = this
    if (run === undefined) return
    const isStream = endpoint !== "embeddings" && Oracle.field(body, "stream") === true
    const { coverage } = this.provider
    if (isStream) coverage.met("streams")
    else this.write(run.usage.output)
    const asked = Oracle.field(Oracle.field(body, "stream_options"), "include_usage") === true
    const { choices, echo, model, report, usage } = run
    const grows = endpoint === "chat" && isStream ? behaviour.grows : "no"
    if (grows !== "no") {
      coverage.met("growing usages")
      if (behaviour.ending === "cut" || behaviour.ending === "ends early") coverage.met("growing usages cut")
    }
    const answer = {
      id: attempt.id,
      endpoint,
      model,
      tier: echo,
      choices,
      usage,
      report,
      tells: asked,
      grows
    }
    const sent = this.broken(packets(answer, isStream, behaviour.cuts))
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller
        },
        cancel: () => {
          if (!this.isGone) this.away()
        }
      },
      { highWaterMark: 0 }
    )
    this.resolve(
      new Response(stream, {
        headers: { "content-type": isStream ? "text/event-stream; charset=utf-8" : "application/json" }
      })
    )
    this.later(() => this.send(sent))
  }

  /** What is left of an answer that breaks on its way. */
  broken(whole: ReadonlyArray<Packet>): ReadonlyArray<Packet> {
    const { breaksAt, ending } = this.behaviour
    const { coverage } = this.provider
    const kept = Math.floor((whole.length * breaksAt) / 1_000)
    switch (ending) {
      case "cut":
      case "hangs in its body":
        coverage.met(ending === "cut" ? "cut bodies" : "hangs")
        return whole.slice(0, kept)
      case "ends early":
        coverage.met("ends without a bill")
        return whole.slice(
          0,
          Math.min(
            kept,
            whole.findIndex(({ tellsUsage }) => tellsUsage)
          )
        )
      case "malformed": {
        coverage.met("malformed bodies")
        const told = whole.findIndex(({ tellsUsage }) => tellsUsage)
        // Where it is the end that makes a usage the last one, either of them may be the one that is spoilt.
        const spoilt = whole[told]?.bytes.includes(0x7b) === false && breaksAt % 2 === 0 ? told - 1 : told
        return whole.map((packet, index) => ({
          ...packet,
          bytes: index === spoilt ? packet.bytes.map((byte) => spoils.get(byte) ?? byte) : packet.bytes,
          tellsUsage: false
        }))
      }
      default:
        return whole
    }
  }

  send(left: ReadonlyArray<Packet>): void {
    const [packet, ...others] = left
    if (packet === undefined) {
      this.finish()
      return
    }
    this.write(this.written + packet.tokens)
    if (packet.tellsUsage && this.run?.isPriceable === true) {
      this.attempt.told = true
    }
    this.controller?.enqueue(packet.bytes)
    this.later(() => this.send(others))
  }

  finish(): void {
    const { ending } = this.behaviour
    if (ending === "hangs in its body") return
    const { leaving, told } = this.attempt
    if (told && leaving !== undefined) this.attempt.readAfter = this.provider.engine.now - leaving.at
    this.end()
    if (ending === "cut") this.controller?.error(networkError("ECONNRESET"))
    else this.controller?.close()
  }
}

/** What a malformed body has in the place of braces and brackets. */
const spoils: ReadonlyMap<number, number> = new Map(Array.from("{}[]", (each) => [each.charCodeAt(0), 0x28]))

const dearness = (tier: string): number => ["flex", "default", "priority"].indexOf(tier)
