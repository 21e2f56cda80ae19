/**
 * How an attempt is sent: to the `fetch` below, marked for the same budget further down, and given up the moment that its
 * caller goes away, or read on for its bill. And what proves that nothing was sent.
 */
import * as Effect from "effect/Effect"
import * as Settlement from "../Settlement.ts"
import type { Attempt } from "./attempt.ts"
import { callContext, type Passing } from "./callContext.ts"
import { statesLength, textOf, withoutLength } from "./requestBody.ts"
import { Unsent } from "./unsent.ts"

/**
 * The shape of the global `fetch`.
 *
 * @example
 * ```ts
 * import type { BudgetedFetch } from "agent-budget"
 *
 * const plain: BudgetedFetch.Fetch = globalThis.fetch
 * console.log(typeof plain) // function
 * ```
 *
 * @since 0.1.0
 */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** A budget around a `fetch`. */
export interface Around {
  readonly budget: { readonly key: object }
  readonly inner: Fetch
}

/** What is around a `fetch` that was made here. */
export const edges = new WeakMap<Fetch, Around>()

/** What a budgeted `fetch` threw or answered without a byte being sent, and which one it was. */
const unsent = new WeakMap<object, Around>()

/** Remembers that nothing was sent for what is thrown or answered. */
export const markUnsent = (end: object, edge: Around): void => {
  unsent.set(end, edge)
}

/** Whether the request comes from a budgeted `fetch` of the same budget, unchanged and for the first time. */
export const passes = (edge: Around, url: string, body: unknown): boolean => {
  const passing = callContext.getStore()?.passing
  if (passing === undefined || passing.used || passing.owner !== edge.budget.key) return false
  if (passing.url !== url || passing.body !== (textOf(body) ?? body)) return false
  passing.used = true
  return true
}

/** A promise of what is answered or thrown; by hand, since an async function would put two more around a promise. */
export const promised = <A>(answer: () => A | Promise<A>): Promise<A> => {
  try {
    return Promise.resolve(answer())
  } catch (error) {
    // As it was thrown, whatever it is.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    return Promise.reject(error)
  }
}

/** What an attempt sends, and whether its answer is read on where nobody is left to read it. */
interface Sent {
  readonly url: string
  readonly init: RequestInit | undefined
  readonly body: BodyInit | null | undefined
  readonly drains: boolean
}

/**
 * Sends an attempt. It settles the moment its caller goes away, without waiting for the transport to notice; one
 * that drains is cut off from its caller's signal instead, and its answer is read by nobody but us.
 */
export const send = (
  edge: Around,
  attempt: Attempt,
  { body, drains, init, url }: Sent,
  conclude: (response: Response) => Response
): Promise<Response> => {
  const signal = init?.signal
  if (signal?.aborted === true) {
    attempt.end({ _tag: "NotSent" })
    signal.throwIfAborted()
  }
  const transport = drains && signal ? new AbortController() : undefined
  const request: RequestInit = { ...init, redirect: "manual" }
  if (body !== undefined) request.body = body
  if (body !== init?.body && statesLength(init)) request.headers = withoutLength(init?.headers)
  if (transport !== undefined) request.signal = transport.signal
  else attempt.endOnAbort(signal)
  const sent = delivered(edge, url, request).then(
    (response) => {
      try {
        if (sentNothing(edge, response)) attempt.end({ _tag: "NotSent" })
        return conclude(response)
      } catch {
        // It was paid for: an error would have it sent, and paid, again.
        attempt.end({ _tag: "Lost", why: "the response cannot be watched" })
        return response
      }
    },
    (error: unknown) => {
      attempt.end(
        provesUnsent(edge, error) ? { _tag: "NotSent" } : { _tag: "Lost", why: "the connection broke" }
      )
      throw error
    }
  )
  return transport && signal ? orAborted(sent, signal, transport, attempt) : sent
}

/** Whether this comes from a budgeted `fetch` right below, which refused. What it refused, we did not send either. */
const sentNothing = (edge: Around, end: unknown): boolean => {
  if (typeof end !== "object" || end === null) return false
  if (end instanceof Unsent) return true
  const refuser = unsent.get(end)
  if (refuser === undefined || refuser !== edges.get(edge.inner)) return false
  markUnsent(end, edge)
  return true
}

/** Whether what a `fetch` threw proves that nothing was sent. What throws as it is looked at proves nothing. */
const provesUnsent = (edge: Around, error: unknown): boolean => {
  try {
    return sentNothing(edge, error) || Settlement.neverSent(error)
  } catch {
    return false
  }
}

/** What becomes of a request. In a function of its own, since what waits for it would keep the request, too. */
const delivered = (edge: Around, url: string, request: RequestInit): Promise<Response> =>
  promised(() => deliver(edge, url, request))

/** The platform's own, below which there is no budget. A program may put another in its place, with one below. */
const platformFetch = globalThis.fetch

/** Hands a request on, marked so that the same budget further down lets it pass. */
const deliver = (edge: Around, url: string, init: RequestInit): Promise<Response> => {
  if (edge.inner === platformFetch) return edge.inner(url, init)
  const passing: Passing = { owner: edge.budget.key, url, body: textOf(init.body) ?? init.body, used: false }
  return callContext.run({ context: callContext.getStore()?.context, passing }, () => edge.inner(url, init))
}

/** Lets the caller go when it aborts; the answer that still comes is read to its end, for its bill. */
const orAborted = async (
  sent: Promise<Response>,
  signal: AbortSignal,
  transport: AbortController,
  attempt: Attempt
): Promise<Response> => {
  let abort: () => void = () => undefined
  const gone = new Promise<undefined>((resolve) => {
    abort = () => {
      void readOn(sent, transport, attempt)
      resolve(undefined)
    }
    signal.addEventListener("abort", abort, { once: true })
  })
  try {
    const response = await Promise.race([sent, gone])
    if (response !== undefined) return response
    signal.throwIfAborted()
    return await sent
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

/** What is read on in the background is given this long to come to its end. */
const drainAtMost = "1 minute"

export const afterDrain = ({ context }: Attempt, run: () => void): (() => void) => {
  const timer = Effect.runForkWith(context)(Effect.andThen(Effect.sleep(drainAtMost), Effect.sync(run)))
  return () => timer.interruptUnsafe()
}

const readOn = async (
  sent: Promise<Response>,
  transport: AbortController,
  attempt: Attempt
): Promise<void> => {
  const callOff = afterDrain(attempt, () => transport.abort())
  try {
    await (await sent).arrayBuffer()
  } catch {
    // Nobody is left to hear of it; the attempt has ended by then.
  } finally {
    callOff()
  }
}
