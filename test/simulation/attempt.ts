/** What the outside knows of one attempt: what was billed for it, what of that was told, and how its caller left. */

/** One attempt, as the provider and the caller see it. The judge knows nothing else. */
export interface Attempt {
  readonly id: string
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
  /** Its caller read the whole of a whole answer. */
  read: boolean
  /** Its caller has the answer, and will never read it. */
  unread: boolean
  /** It went to the ledger itself, past the budget and its summary. */
  byHand: boolean
}

export const attempt = (id: string): Attempt => ({
  id,
  arrivals: 0,
  bill: 0n,
  broken: false,
  provenFree: false,
  told: false,
  left: false,
  read: false,
  unread: false,
  byHand: false
})
