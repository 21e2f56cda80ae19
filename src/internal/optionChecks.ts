/**
 * What plain JavaScript, or a configuration, can get wrong in options that a schema does not say well. Each check
 * answers what is wrong and what to do, or `undefined`. What stands under a name that is none is never told: it may be
 * a key.
 */
import type * as Host from "../Host.ts"
import type * as Usd from "../Usd.ts"

type NamesIn<A> = A extends object ? keyof A : never

/** All names of an object's options, so that the compiler misses one that is not listed. */
export type Names<A> = Readonly<Record<NamesIn<A>, true>>

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  // Lists and maps are objects too, whose names say nothing.
  typeof value === "object" && value !== null && !(Symbol.iterator in value)

const kindOf = (value: unknown): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object of another kind" : `a ${typeof value}`
}

/** Names that an option does not have: misspelt, they would fall back to a default. */
export const checkNames = (
  what: string,
  given: unknown,
  names: Readonly<Record<string, unknown>>
): string | undefined => {
  if (!isRecord(given)) return undefined
  const unknown = Object.entries(given).flatMap(([name, value]) =>
    value === undefined || Object.hasOwn(names, name) ? [] : [JSON.stringify(name)]
  )
  if (unknown.length === 0) return undefined
  const known = Object.keys(names).join(", ")
  return `${what} has no option ${unknown.join(" or ")}. Its options are ${known}. Correct the name, or leave it out.`
}

/** An option that is an object of names, where it is given. */
export const checkRecord = (what: string, value: unknown, fix: string): string | undefined =>
  value === undefined || isRecord(value) ? undefined : `${what} is ${kindOf(value)} and no object. ${fix}`

export const checkToolFees = (toolFees: unknown): string | undefined =>
  checkRecord("toolFees", toolFees, 'Give an object, as in toolFees: { webSearch: "8" }.')

export const isAddress = (text: unknown): text is string =>
  typeof text === "string" && /^https?:\/\//i.test(text) && URL.canParse(text)

/** Of what a quote is asked for: the path, and where it leads. */
export const checkQuoted = (path: unknown, where: unknown): string | undefined => {
  if (typeof path !== "string") {
    return `the path of a quote is ${kindOf(path)}. Write it below the API's root, as in quote("/responses", { ... }).`
  }
  const fix = 'Write { baseURL: "https://eu.api.openai.com/v1" }, an http or https address in full.'
  if (!isRecord(where)) return checkRecord("the third argument of quote", where, fix)
  const { baseURL } = where
  if (baseURL !== undefined && !isAddress(baseURL)) return `the baseURL of a quote is no address. ${fix}`
  return checkNames("a quote", where, { baseURL: true })
}

const isShare = (share: unknown): boolean => typeof share === "number" && share > 0 && share <= 1

const isFloor = (floor: unknown): boolean =>
  typeof floor === "number" && Number.isSafeInteger(floor) && floor >= 1

const uncappedRange = "a share is above 0 and at most 1, and a floor is a whole number of tokens, at least 1."

const told = (value: unknown): string => (typeof value === "number" ? String(value) : kindOf(value))

export const checkUncapped = (uncapped: unknown): string | undefined => {
  if (!isRecord(uncapped)) return undefined
  const { floor, share } = uncapped
  if (share !== undefined && !isShare(share)) return `uncapped.share is ${told(share)}: ${uncappedRange}`
  if (floor !== undefined && !isFloor(floor)) return `uncapped.floor is ${told(floor)}: ${uncappedRange}`
  return undefined
}

/** `priced`: the endpoints that nobody can vouch for, by method and path. */
export const checkEndpoints = (
  endpoints: Readonly<Record<string, "free" | { readonly maxUsd: Usd.Usd }>> = {},
  priced: ReadonlyArray<string>
): string | undefined => {
  for (const [name, most] of Object.entries(endpoints)) {
    const what = `endpoints[${JSON.stringify(name)}]`
    if (!/^[A-Z]+ [^\s?#]+$/.test(name)) {
      return `${what} can never match. Write the method and the path below the API's root, as in "POST /videos".`
    }
    if (priced.includes(name)) return `${what} is priced by its model, whatever is said of it. Leave it out.`
    if (most !== "free" && most.maxUsd < 0) {
      return `${what} has a negative maxUsd. Give what a call costs at most in dollars, or "free".`
    }
  }
  return undefined
}

const hostOptions = {
  known: "boolean",
  regional: "boolean",
  takesTier: "boolean",
  verified: "boolean",
  provider: "string"
} as const satisfies Record<keyof Host.Host, "boolean" | "string">

/** A host as the address of a call has it, which is what `Host.of` looks for; `undefined` where the text has none. */
const hostIn = (text: string): string | undefined => {
  const address = `https://${text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")}`
  if (text.includes("*") || !URL.canParse(address)) return undefined
  return new URL(address).host.replace(/:(80|443)$/, "")
}

// The name is not repeated until it is a host's: a whole address may hold a password.
const checkHostName = (name: string): string | undefined => {
  const host = hostIn(name)
  if (host === name) return undefined
  return host === undefined
    ? 'a name in hosts is no host. Write one as an address has it, such as "llm.example.com" or "localhost:8080".'
    : `a name in hosts can never match. Write ${JSON.stringify(host)}: the host alone, in lower case, with a port ` +
        "only where it is neither 80 nor 443."
}

const checkHost = (name: string, host: unknown): string | undefined => {
  const what = `hosts[${JSON.stringify(name)}]`
  if (!isRecord(host))
    return checkRecord(what, host, "Give what is known of it, such as { takesTier: true }.")
  const unknown = checkNames(what, host, hostOptions)
  if (unknown !== undefined) return unknown
  const wrong = Object.entries(hostOptions).find(
    ([option, type]) => host[option] !== undefined && typeof host[option] !== type
  )
  if (wrong === undefined) return undefined
  const [option, type] = wrong
  return `${what}.${option} is ${kindOf(host[option])}. Give it ${type === "boolean" ? "true or false" : "a text"}.`
}

export const checkHosts = (hosts: unknown): string | undefined => {
  if (!isRecord(hosts)) {
    return checkRecord("hosts", hosts, 'Write hosts: { "llm.example.com": { takesTier: true } }.')
  }
  for (const [name, host] of Object.entries(hosts)) {
    const fault = checkHostName(name) ?? checkHost(name, host)
    if (fault !== undefined) return fault
  }
  return undefined
}
