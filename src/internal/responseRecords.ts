/**
 * What responses billed, by their ids: the bound of a later request that goes on from one of them. It holds only
 * what a follow-up is surely billed no more for; whatever is not found here is bounded by the context window.
 */
import type { Previous, Reading } from "../Endpoint.ts"
import type { Lookup, Quote } from "../Quote.ts"

/** The newest are kept: a conversation goes on from its last response. */
const mostRecords = 4_096
/** No id that the API gives out is nearly as long. */
const longestId = 256

/**
 * What an item of an answer may cost beyond its tokens when it is read again. A pair of parallel calls was seen to
 * cost 45 with its results; a message 4, on o1-preview 16.
 */
const perItem = 64
/** The text of an answer, cut into tokens anew, may come to some more than the model wrote. */
const anew = 1.05

/** What is to be known of a request, for those that go on from its response. */
export interface Followable extends Pick<Quote, "model" | "previous"> {
  readonly images: number
  readonly repeats: boolean
  /** All that it was billed for is known. */
  readonly isWhole: boolean
}

export const followableOf = ({ model, plan, previous }: Quote): Followable => {
  const { images, repeats } = plan.input
  return {
    model,
    previous,
    images,
    repeats,
    isWhole: plan.input.previous === undefined || previous !== undefined
  }
}

export class ResponseRecords {
  readonly records = new Map<string, Previous>()

  find(host: string, id: string): Previous | undefined {
    return this.records.get(keyOf(host, id))
  }

  /** What is known of the earlier responses of the host of an address. */
  lookup(url: string): Lookup {
    return (id) => this.find(new URL(url).host, id)
  }

  /** Learns from a bill that `served`, a model by its id in the price table, sent for a request. */
  learn(host: string, request: Followable, reading: Reading, served: string | undefined): void {
    const { id } = reading
    if (id === undefined || id.length > longestId) return
    const key = keyOf(host, id)
    // Anew at the end: the oldest go first.
    this.records.delete(key)
    const known = followed(request, reading, served)
    if (known === undefined) return
    this.records.set(key, known)
    for (const oldest of this.records.keys()) {
      if (this.records.size <= mostRecords) break
      this.records.delete(oldest)
    }
  }
}

/** What the responses of a budget billed, by its key, whichever of its clients they came through. */
export const recordsOf = (budget: object): ResponseRecords => {
  const kept = all.get(budget) ?? new ResponseRecords()
  all.set(budget, kept)
  return kept
}

const all = new WeakMap<object, ResponseRecords>()

const keyOf = (host: string, id: string): string => `${host} ${id}`

/** The most that going on from a response costs, or `undefined` where its bill does not say. */
const followed = (
  { images, isWhole, model, previous, repeats }: Followable,
  { items, usage }: Reading,
  served: string | undefined
): Previous | undefined => {
  // Another model cuts, frames and bills otherwise, and what came before is known only if all of it is.
  if (items === undefined || served !== model || !repeats || !isWhole) return undefined
  const framing = items * perItem
  // This response may have been spared the thoughts of those before it, and a later one be shown them.
  const withheld = previous?.reasoning ?? 0
  return {
    model,
    tokens: usage.input + Math.ceil(usage.output * anew) + framing + withheld,
    images: images + (previous?.images ?? 0),
    reasoning: withheld + (usage.reasoning > 0 ? Math.ceil(usage.reasoning * anew) + framing : 0)
  }
}
