/**
 * What a host is known for: whose prices it bills by, and whether it knows service tiers.
 *
 * @since 0.1.0
 */

/**
 * A host's ways.
 *
 * @example
 * ```ts
 * import { Host } from "agent-budget"
 *
 * const mine: Host.Host = { known: true, regional: false, takesTier: false, verified: true }
 * console.log(mine.verified) // true
 * ```
 *
 * @since 0.1.0
 */
export interface Host {
  /** It serves the API, so that a `fetch` without an address of its own may reach it. */
  readonly known: boolean
  /** It bills the uplift of regional processing, on models that have one. */
  readonly regional: boolean
  /** It knows the field `service_tier`, so that a request without one is sent with one. */
  readonly takesTier: boolean
  /** Its bills follow the price table. Of any other host that is the user's word, and the summary says `unverifiedHost`. */
  readonly verified: boolean
  /**
   * What traces call it, `openai` unless said. A 400 of one that is `azure.ai.openai` is charged whole, and a deployment
   * in its path is the model, whatever the body says: name a gateway before Azure so, too. The 400s of a wrapped
   * `AzureOpenAI` client are charged whole wherever they come from, unless the host is named otherwise.
   */
  readonly provider?: string | undefined
}

const openAi: Host = { known: true, regional: false, takesTier: true, verified: true }
/** Regional and data-zone deployments cost more than the table says, and the address does not tell which it is. */
const cloud: Host = { known: true, regional: false, takesTier: false, verified: false }
const unknown: Host = { known: false, regional: false, takesTier: false, verified: false }

/**
 * The hosts that are known by name. Sources: OpenAI's data residency guide (regional hosts carry the region as
 * a prefix), the AzureOpenAI and BedrockOpenAI clients of the `openai` package.
 */
const known: ReadonlyArray<readonly [RegExp, Host]> = [
  [/^api\.openai\.com$/, openAi],
  [/^[a-z]{2,8}\.api\.openai\.com$/, { ...openAi, regional: true }],
  [
    /\.(openai\.azure|cognitiveservices\.azure|services\.ai\.azure)\.(com|us|cn)$/,
    { ...cloud, provider: "azure.ai.openai" }
  ],
  [/^bedrock-(mantle|runtime)\.[a-z0-9-]+\.(api\.aws|amazonaws\.com)$/, { ...cloud, provider: "aws.bedrock" }]
]

/**
 * What is known of the host of `url`; `hosts` (by host name, with its port where it has one) states better.
 *
 * @example
 * ```ts
 * import { Host } from "agent-budget"
 *
 * console.log(Host.of(new URL("https://eu.api.openai.com/v1")).regional) // true
 * console.log(Host.of(new URL("http://localhost:8080/v1")).verified) // false
 * ```
 *
 * @since 0.1.0
 */
export const of = (url: URL, hosts?: Readonly<Record<string, Partial<Host>>>): Host => {
  // A name with the root's dot is the same host.
  const name = url.hostname.replace(/\.$/, "")
  const base = known.find(([pattern]) => pattern.test(name))?.[1] ?? unknown
  const stated = hosts !== undefined && Object.hasOwn(hosts, url.host) ? hosts[url.host] : undefined
  // What is stated as `undefined` is not stated, whatever the compiler lets through.
  const said = Object.fromEntries(Object.entries(stated ?? {}).filter(([, value]) => value !== undefined))
  return stated === undefined ? base : { ...base, known: true, verified: true, ...said }
}
