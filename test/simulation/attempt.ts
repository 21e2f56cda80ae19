/** What the outside knows of one attempt: what was billed for it, what of that was told, and how its caller left. */

/** Before there was an answer, while it came, or by no longer reading it. */
export type Leaving = "abort before an answer" | "abort in an answer" | "cancel"

/** One attempt, as the provider and the caller see it. The judge knows nothing else. */
export interface Attempt {
  readonly id: string
  /** It is a request to the provider. */
  isRequest: boolean
  /** The model that ran, by the name of its row in the price list. */
  model: string | undefined
  /** Requests that reached the provider. More than one under one reservation is a fault. */
  arrivals: number
  /** What the provider bills for it so far, in nano-dollars. */
  bill: bigint
  /** It was billed beyond what the request allows: only then may a bill pass its reservation. */
  broken: boolean
  /** The provider said, or the network proved, that nothing is billed. */
  provenFree: boolean
  /** The true usage has been put on the wire, in a form that can be booked. */
  told: boolean
  /** Its caller aborted it, or went away from its answer. */
  left: boolean
  /** How, and when, where it was a request that may be on its way. */
  leaving: { readonly how: Leaving; readonly at: number } | undefined
  /** How long after its caller had gone an answer that told its usage had come whole, where somebody read on. */
  readAfter: number | undefined
  /** Its caller read the whole of a whole answer. */
  read: boolean
  /** Its caller has the answer, and will never read it. */
  unread: boolean
  /** It goes on when its fiber is interrupted, maybe after its account has closed. */
  heedless: boolean
  /** It went to the ledger itself, past the budget and its summary. */
  byHand: boolean
}

export const attempt = (id: string): Attempt => ({
  id,
  isRequest: false,
  model: undefined,
  arrivals: 0,
  bill: 0n,
  broken: false,
  provenFree: false,
  told: false,
  left: false,
  leaving: undefined,
  readAfter: undefined,
  read: false,
  unread: false,
  heedless: false,
  byHand: false
})
