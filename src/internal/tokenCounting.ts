/**
 * Token counting as an Effect: in slices between which the event loop runs, with vocabularies that are read
 * on first use, and with the counts of whole texts remembered.
 */
import * as Effect from "effect/Effect"
import { countTokens, detached, readVocabulary, utf8Length } from "./bytePairs.ts"
import type { Encoding, Pause, Ranks, Vocabulary } from "./bytePairs.ts"

/** Milliseconds of work between two turns of the event loop. */
const sliceMillis = 8

/** What a turn may have worked for a long step to come on top of it. */
const begun = 1

/**
 * The work since the event loop last ran, of every fiber in the process: they share its one thread, so a slice
 * for each of them would hold it as many times as long. Wall time, because a test clock stands still.
 */
const turn = { number: 0, worked: 0 }

const nextTurn: Effect.Effect<void> = Effect.suspend(() => {
  const ended = turn.number
  return Effect.map(Effect.yieldNow, () => {
    // The first fiber of a turn has the slice; the others find it used up and wait for theirs.
    if (turn.number !== ended) return
    turn.number++
    turn.worked = 0
  })
})

const workASlice = <A>(work: Iterator<Pause, A>): IteratorResult<Pause, A> | undefined => {
  const started = performance.now()
  const before = turn.worked
  while (turn.worked < sliceMillis) {
    const step = work.next()
    turn.worked = before + performance.now() - started
    if (step.done === true) return step
    if (step.value === "long" && turn.worked > begun) return undefined
  }
  return undefined
}

/** Works until it is done, or until another fiber has made the result `known`. */
const inSlices = Effect.fnUntraced(function* <A>(work: Iterator<Pause, A>, known: () => A | undefined) {
  for (;;) {
    const found = known()
    if (found !== undefined) return found
    const step = workASlice(work)
    if (step?.done === true) return step.value
    yield* nextTurn
  }
})

/** Gives the vocabulary of an encoding, or `null` where its ranks cannot be had. */
type Vocabularies = (encoding: Encoding) => Effect.Effect<Vocabulary | null>

/**
 * Reads each encoding's ranks once, on first use. The fibers that wait for them read together, each in its
 * turn, so that none depends on another that may be interrupted. Ranks that cannot be had are warned of once.
 */
export const vocabulariesFrom = (load: (encoding: Encoding) => Promise<Ranks>): Vocabularies => {
  const readings = new Map<Encoding, Promise<Iterator<Pause, Vocabulary | null>>>()
  const ready = new Map<Encoding, Vocabulary | null>()
  const unexplained = new Map<Encoding, unknown>()

  const giveUp = (encoding: Encoding, cause: unknown): null => {
    ready.set(encoding, null)
    unexplained.set(encoding, cause)
    return null
  }
  function* read(encoding: Encoding, published: Ranks): Generator<Pause, Vocabulary | null> {
    try {
      const vocabulary = yield* readVocabulary(published)
      ready.set(encoding, vocabulary)
      return vocabulary
    } catch (cause) {
      return giveUp(encoding, cause)
    }
  }
  function* unavailable(encoding: Encoding, cause: unknown): Generator<Pause, null> {
    return giveUp(encoding, cause)
  }
  const open = async (encoding: Encoding): Promise<Iterator<Pause, Vocabulary | null>> => {
    try {
      return read(encoding, await load(encoding))
    } catch (cause) {
      return unavailable(encoding, cause)
    }
  }

  return Effect.fnUntraced(function* (encoding) {
    const known = ready.get(encoding)
    if (known !== undefined) return known
    const reading = readings.get(encoding) ?? open(encoding)
    readings.set(encoding, reading)
    const vocabulary = yield* inSlices(yield* Effect.promise(() => reading), () => ready.get(encoding))
    if (unexplained.has(encoding)) {
      const cause = unexplained.get(encoding)
      unexplained.delete(encoding)
      yield* Effect.logWarning(
        `The ranks of ${encoding} cannot be loaded: every text counts as its UTF-8 bytes, about four times its ` +
          `tokens. Reinstall js-tiktoken, or choose TokenCounter.layerBytes to say so on purpose.`,
        cause
      )
    }
    return vocabulary
  })
}

/** js-tiktoken's ranks, imported on first use and shared by every counter of the process: about 30 MB each. */
export const publishedVocabularies: Vocabularies = vocabulariesFrom(async (encoding) => {
  const published =
    encoding === "o200k_base"
      ? await import("js-tiktoken/ranks/o200k_base")
      : await import("js-tiktoken/ranks/cl100k_base")
  return published.default
})

/** What an entry of the memory weighs beyond its characters, so that short texts are bounded in number too. */
const entryChars = 64

/** The count of a text, and how much had been remembered when it was last moved to the end of the queue. */
interface Entry {
  readonly text: string
  readonly tokens: number
  since: number
}

/**
 * The counts of the texts that were used last, as far as `maxChars` characters go. A text in the newest quarter is
 * left where it is when it is used: moving all of a conversation with every turn would take longer than finding it.
 */
const memory = (maxChars: number) => {
  const entries = new Map<string, Entry>()
  let held = 0
  let queued = 0
  return {
    get: (text: string): number | undefined => {
      const entry = entries.get(text)
      if (entry === undefined) return undefined
      if (queued - entry.since > maxChars / 4) {
        entries.delete(entry.text)
        entries.set(entry.text, entry)
        queued += text.length + entryChars
        entry.since = queued
      }
      return entry.tokens
    },
    set: (text: string, tokens: number): void => {
      const weight = text.length + entryChars
      if (!(weight <= maxChars) || entries.has(text)) return
      const own = detached(text)
      held += weight
      queued += weight
      entries.set(own, { text: own, tokens, since: queued })
      for (const oldest of entries.keys()) {
        if (held <= maxChars) return
        entries.delete(oldest)
        held -= oldest.length + entryChars
      }
    }
  }
}

/** The limits of one counter. */
export interface Limits {
  readonly maxCharsCached: number
  readonly longestPiece: number
}

/** Counts texts with the vocabularies given; bytes where there is none. */
export const counting = (
  vocabularies: Vocabularies,
  limits: Limits
): ((text: string, encoding: Encoding | undefined) => Effect.Effect<number>) => {
  const memories = {
    o200k_base: memory(limits.maxCharsCached),
    cl100k_base: memory(limits.maxCharsCached)
  }
  const countAnew = Effect.fnUntraced(function* (text: string, encoding: Encoding) {
    const remembered = memories[encoding]
    const vocabulary = yield* vocabularies(encoding)
    if (vocabulary === null) return utf8Length(text)
    const work = countTokens(vocabulary, text, limits.longestPiece)
    const tokens = yield* inSlices(work, () => remembered.get(text))
    remembered.set(text, tokens)
    return tokens
  })
  // Nearly every text of a conversation was seen a turn ago, and costs no more than a look.
  return (text, encoding) =>
    Effect.suspend(() => {
      if (encoding === undefined) return Effect.succeed(utf8Length(text))
      const known = memories[encoding].get(text)
      return known === undefined ? countAnew(text, encoding) : Effect.succeed(known)
    })
}
