/** Where a call goes: under the API's root on a host that is known, or nowhere. */
import * as Result from "effect/Result"
import * as BudgetError from "../BudgetError.ts"
import * as Host from "../Host.ts"
import * as OpenAiEndpoints from "../OpenAiEndpoints.ts"

const rootOf = (
  baseURL: string | undefined
): { readonly origin: string | undefined; readonly root: string } => {
  if (baseURL === undefined) return { origin: undefined, root: "" }
  const url = new URL(baseURL)
  // A deployment in the root decides the model as one in the path does: it is left to the path.
  const root = url.pathname.replace(/\/+$/, "").replace(/\/deployments\/[^/]+$/, "")
  return { origin: url.origin, root }
}

/** The host of calls under a root, and the path that they are recognised by: a deployment in the root is part of it. */
export const under = (
  baseURL: string,
  path: string,
  hosts: AddressOptions["hosts"]
): { readonly host: Host.Host; readonly path: string } => {
  const url = new URL(baseURL)
  const below = url.pathname.replace(/\/+$/, "").slice(rootOf(baseURL).root.length)
  return { host: Host.of(url, hosts), path: below + path }
}

/** Roots under which hosts keep the API, for calls that come without a client to say so. */
const commonRoot = /^(?:\/openai)?(?:\/v\d+)?(?=\/)/

/** What stands before the path of a priced endpoint, where hosts do not keep the API. */
const uncommonRoot = (method: string, path: string): string | undefined => {
  const verb = method.length + 1
  const below = OpenAiEndpoints.priced.find(
    ({ name }) => name.startsWith(`${method} `) && path.endsWith(name.slice(verb))
  )
  return below === undefined ? undefined : path.slice(0, verb - below.name.length)
}

/** Where OpenAI trades a workload's identity for a token: no model runs there. Source: the `openai` package. */
const tokenExchange = "https://auth.openai.com/oauth/token"

/** What becomes of a call by its address, and whose prices it is billed at. */
export interface Target {
  readonly found: OpenAiEndpoints.Recognised
  readonly host: Host.Host
}

interface AddressOptions {
  /** The API's root; calls elsewhere are refused. Without it any host that is known is reached. */
  readonly baseURL: string | undefined
  readonly endpoints: OpenAiEndpoints.Overrides | undefined
  readonly hosts: Readonly<Record<string, Partial<Host.Host>>> | undefined
}

/** An agent calls few addresses, many times. */
const mostTargets = 64

/** Looks an address up once, and remembers it. */
export const addressBook = (options: AddressOptions): ((method: string, url: string) => Target) => {
  const targets = new Map<string, Target>()
  const base = { ...options, ...rootOf(options.baseURL) }
  // Mostly the same one again, which is sooner compared than looked up.
  let last: { readonly method: string; readonly url: string; readonly target: Target } | undefined
  return (method, url) => {
    if (last !== undefined && last.url === url && last.method === method) return last.target
    const key = `${method} ${url}`
    let target = targets.get(key)
    if (target === undefined) {
      target = targetOf(base, method, url)
      if (targets.size >= mostTargets) targets.clear()
      targets.set(key, target)
    }
    last = { method, url, target }
    return target
  }
}

interface Base extends AddressOptions {
  readonly origin: string | undefined
  readonly root: string
}

const nowhere: Host.Host = { known: false, regional: false, takesTier: false, verified: false }

const free: Target = { found: { _tag: "Free" }, host: nowhere }

const refused = (reason: BudgetError.Reason): Target => ({
  found: { _tag: "Refused", error: BudgetError.because(reason) },
  host: nowhere
})

const targetOf = (base: Base, method: string, input: string): Target => {
  const url = Result.try(() => new URL(input))
  if (Result.isFailure(url)) {
    return refused(
      new BudgetError.MalformedRequest({ detail: "its URL is not one.", fix: "Send an absolute URL." })
    )
  }
  const { success: at } = url
  // The client asks this of a `fetch` to learn which Response it makes. It reaches nobody.
  if (at.protocol === "data:") return free
  // Addresses of other schemes have no origin, so that none would be told from another.
  if (at.protocol !== "https:" && at.protocol !== "http:") return refused(unspoken(at))
  const host = Host.of(at, base.hosts)
  if (base.origin === undefined) {
    if (!host.known) return refused(foreign(at, `State the host: hosts: { "${at.host}": {} }.`))
    const root = commonRoot.exec(at.pathname)?.[0] ?? ""
    const found = OpenAiEndpoints.recognise(method, at.pathname.slice(root.length), base.endpoints)
    const below = found._tag === "Refused" ? uncommonRoot(method, at.pathname) : undefined
    if (below === undefined) return { found, host }
    const baseURL = JSON.stringify(at.origin + below.slice(0, 120))
    return refused(foreign(at, `Say where its API is: BudgetedFetch.make({ baseURL: ${baseURL} }).`))
  }
  if (at.origin + at.pathname === tokenExchange) return free
  if (at.origin !== base.origin || !at.pathname.startsWith(`${base.root}/`)) {
    return refused(
      foreign(at, `Wrap a client of that address instead of one for ${base.origin}${base.root}.`)
    )
  }
  return {
    found: OpenAiEndpoints.recognise(method, at.pathname.slice(base.root.length), base.endpoints),
    host
  }
}

const unspoken = ({ protocol }: URL): BudgetError.Reason =>
  new BudgetError.UnsupportedTransport({
    detail: `A call went to an address of the scheme ${JSON.stringify(protocol.slice(0, 40))}.`,
    fix: 'Give the client a baseURL that begins with "https://" or "http://".'
  })

const foreign = (url: URL, fix: string): BudgetError.Reason =>
  new BudgetError.UnsupportedTransport({
    detail: `A call went to ${url.origin}, which is not under this budget.`,
    fix
  })
