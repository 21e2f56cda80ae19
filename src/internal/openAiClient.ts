/**
 * The parts of the `openai` client that its types keep private, each checked before it is relied upon. Casts stand
 * here and nowhere else: what they claim is tested against the installed version.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import type { ClientOptions } from "openai"
import * as BudgetError from "../BudgetError.ts"
import { forFiber } from "./callContext.ts"
import { refusalOf } from "./refusals.ts"

type AnyFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A client that can be wrapped: `OpenAI`, `AzureOpenAI`, `BedrockOpenAI` or a subclass, got by `import` or by `require`,
 * which have type declarations of their own.
 *
 * @example
 * ```ts
 * import OpenAI from "openai"
 * import type { BudgetedOpenAi } from "agent-budget"
 *
 * const client: BudgetedOpenAi.Wrappable = new OpenAI({ apiKey: "sk-none" })
 * console.log(typeof client.withOptions) // function
 * ```
 *
 * @since 0.1.0
 */
export interface Client {
  readonly baseURL: string
  /** A clone with other options. */
  withOptions(options: { readonly fetch?: AnyFetch }): unknown
}

export type WithOptions<Same> = (options: Partial<ClientOptions>) => Same

/** A clone is of the class of its original. It has the key that was assigned to that since it was made, too. */
export const cloneOf = <Same extends Client>(client: Same, options: Partial<ClientOptions>): Same => {
  const clone = (client.withOptions as WithOptions<Same>).call(client, options)
  const key: unknown = Reflect.get(client, "apiKey")
  if (Reflect.get(clone, "apiKey") !== key) Reflect.set(clone, "apiKey", key)
  return clone
}

type StatusError = (status: number, error: object, message: string | undefined, headers: Headers) => Error

/** The `fetch` that a client sends with. */
export const fetchOf = (client: Client): AnyFetch | undefined => {
  const fetch: unknown = Reflect.get(client, "fetch")
  return typeof fetch === "function" ? (fetch as AnyFetch) : undefined
}

/** Whether every way that this client sends by can be watched or refused. */
export const isWatchable = (client: Client): boolean =>
  fetchOf(client) !== undefined &&
  typeof Reflect.get(client, "makeStatusError") === "function" &&
  typeof Reflect.get(client, "_buildWebSocketHeaders") === "function" &&
  typeof Reflect.get(client, "requestAPIList") === "function" &&
  (!isAzure(client) ||
    (optionsOf(client) !== undefined && typeof Reflect.get(client, "authHeaders") === "function"))

/** Only a client for Azure has a version of the API. */
const isAzure = (client: Client): boolean => "apiVersion" in client

/** Whose API a client speaks, by the name that `Host` has for it, also with a gateway. */
export const providerOf = (client: Client): string | undefined =>
  isAzure(client) ? "azure.ai.openai" : undefined

/** What a client was made with. */
const optionsOf = (client: Client): object | undefined => {
  const options: unknown = Reflect.get(client, "_options")
  return typeof options === "object" && options !== null ? options : undefined
}

type ErrorClass = new (message: string) => Error

const refusalClasses = new WeakMap<ErrorClass, new (error: BudgetError.BudgetError) => Error>()

/**
 * The refusal as an error of the client's own error class. Its helpers wrap whatever is not one, and a program may
 * hold two copies of that class, one by `import` and one by `require`.
 */
export const refusalError = (client: Client, error: BudgetError.BudgetError): Error => {
  const base: unknown = Reflect.get(client.constructor, "OpenAIError")
  if (typeof base !== "function") return BudgetError.toThrown(error)
  const Base = base as ErrorClass
  const known = refusalClasses.get(Base)
  if (known !== undefined) return new known(error)
  class Refused extends Base {
    readonly [BudgetError.carrier]: BudgetError.BudgetError
    readonly reason: BudgetError.Reason
    constructor(refusal: BudgetError.BudgetError) {
      super(refusal.message)
      this.name = BudgetError.toThrown(refusal).name
      this[BudgetError.carrier] = refusal
      this.reason = refusal.reason
    }
  }
  refusalClasses.set(Base, Refused)
  return new Refused(error)
}

const webSocket = BudgetError.because(
  new BudgetError.UnsupportedTransport({
    detail: "A WebSocket was opened on a budgeted client.",
    fix: "Use the HTTP endpoints, or a client of its own outside of the budget."
  })
)

type Send = (...given: Array<unknown>) => unknown

/** Set for whoever may ask for the key of an Azure client: its requests, and its clones. */
const asksForKey = new AsyncLocalStorage<true>()

/**
 * The native sockets of an Azure client ask it for no headers. What they all ask first is whether its key is a function,
 * which nobody else asks but requests and clones.
 */
const guardKey = (client: Client, refuseSocket: () => never): void => {
  const options = optionsOf(client)
  if (options === undefined) return
  const given = Object.getOwnPropertyDescriptor(options, "apiKey")
  // Guarded already, by the budget that is around it.
  if (given?.get !== undefined) return
  const key: unknown = given?.value
  Object.defineProperty(options, "apiKey", {
    configurable: true,
    enumerable: true,
    get: (): unknown => {
      if (asksForKey.getStore() === undefined) refuseSocket()
      return key
    }
  })
}

/**
 * Overrides what a wrapped client must do differently, on the object itself: its clones are dressed anew. `refused` is
 * told what is refused here, before any `fetch`.
 */
export const dress = <Same extends Client>(
  client: Same,
  refused: (error: BudgetError.BudgetError) => void,
  withOptions: (original: WithOptions<Same>) => WithOptions<Same>
): Same => {
  const refuseSocket = (): never => {
    refused(webSocket)
    throw refusalError(client, webSocket)
  }
  const makeStatusError = (Reflect.get(client, "makeStatusError") as StatusError).bind(client)
  const original = (client.withOptions as WithOptions<Same>).bind(client)
  const own = { configurable: true, enumerable: false, writable: true }
  // By the time that it calls fetch, no fiber is running any more.
  const fromFiber = (name: "request" | "requestAPIList"): PropertyDescriptor => {
    const request = Reflect.get(client, name) as Send
    return { ...own, value: (...given: Array<unknown>) => forFiber(() => request.apply(client, given)) }
  }
  Object.defineProperties(client, {
    request: fromFiber("request"),
    requestAPIList: fromFiber("requestAPIList"),
    makeStatusError: {
      ...own,
      value: (status: number, error: object, message: string | undefined, headers: Headers): Error => {
        const refusal = refusalOf(headers)
        return refusal === undefined
          ? makeStatusError(status, error, message, headers)
          : refusalError(client, refusal)
      }
    },
    _buildWebSocketHeaders: { ...own, value: refuseSocket },
    // Assigning another one would silently take the budget off.
    fetch: { ...own, writable: false, value: fetchOf(client) },
    withOptions: { ...own, value: withOptions((options) => asksForKey.run(true, () => original(options))) }
  })
  if (!isAzure(client)) return client
  guardKey(client, refuseSocket)
  const authHeaders = Reflect.get(client, "authHeaders") as Send
  return Object.defineProperty(client, "authHeaders", {
    ...own,
    value: (...given: Array<unknown>) => asksForKey.run(true, () => authHeaders.apply(client, given))
  })
}
