/**
 * Counting byte-pair tokens in linear time.
 *
 * A text is cut into pieces by its encoding's own pattern. A piece that is a token costs 1, a short piece is
 * merged exactly, and a long piece costs its bytes: every byte is a token by itself and merging only ever
 * makes fewer, so that is a bound too, without the quadratic merge that a long run would need. A long piece
 * must not be cut into chunks instead: the tokens of the chunks do not bound the tokens of the whole.
 *
 * Everything here works in steps: a generator stops often enough for its caller to look at the clock, and says where
 * what comes next cannot be cut into steps.
 */

/** `"long"` before a step that may take some 10 ms. */
export type Pause = "long" | undefined

/** The encodings whose ranks are published in js-tiktoken. */
export type Encoding = "o200k_base" | "cl100k_base"

/** What js-tiktoken publishes of an encoding: the pattern of its pieces, and its tokens in order of rank. */
export interface Ranks {
  readonly pat_str: string
  readonly bpe_ranks: string
}

/** An encoding, ready to count with. */
export interface Vocabulary {
  /** Where a piece begins is said anew for each: the pattern is shared by all that count. */
  readonly pattern: RegExp
  readonly tokens: Tokens
  /** What pieces cost that had to be merged. */
  readonly merged: Map<string, number>
}

/** No rank is as high: the highest of any encoding is near 200,000. */
const noRank = 0x3fff_ffff

const hashOf = (text: string, start: number, end: number): number => {
  let hash = end - start
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}

/**
 * The tokens of an encoding and their ranks, in a few large arrays: 200,000 strings in maps are moved about by the
 * garbage collector soon after they are made, which holds the process for tens of milliseconds at a stretch. Bytes
 * are asked for as a string of one character a byte.
 */
class Tokens {
  private readonly bytes: Buffer
  private readonly ends: Int32Array
  private readonly ranks: Int32Array
  /** Where a hash leads: in pairs, one more than a token's place in the other arrays, and the hash. */
  private readonly table: Int32Array
  private longest = 0
  count = 0
  /** How many are a single byte. */
  single = 0

  /** For the tokens that are written in so many characters of base64, a space after each. */
  constructor(characters: number) {
    const most = Math.ceil(characters / 5) + 1
    this.bytes = Buffer.allocUnsafeSlow(characters)
    this.ends = new Int32Array(most + 1)
    this.ranks = new Int32Array(most)
    this.table = new Int32Array(2 ** Math.ceil(Math.log2(most + 1)) * 2)
  }

  add(base64: string, rank: number): void {
    const start = this.end(this.count)
    const length = this.bytes.write(base64, start, "base64")
    const text = this.bytes.toString("latin1", start, start + length)
    const slot = this.slotOf(text, 0, length)
    const known = this.table[slot] ?? 0
    if (known > 0) this.ranks[known - 1] = rank
    else {
      this.ranks[this.count] = rank
      this.table[slot] = ++this.count
      this.table[slot + 1] = hashOf(text, 0, length)
      this.ends[this.count] = start + length
      this.longest = Math.max(this.longest, length)
      if (length === 1) this.single++
    }
  }

  /** The rank of the token that the bytes from one place to another are, or `noRank`. */
  rankOf(text: string, start: number, end: number): number {
    if (end - start > this.longest) return noRank
    const known = this.table[this.slotOf(text, start, end)] ?? 0
    return known === 0 ? noRank : (this.ranks[known - 1] ?? noRank)
  }

  /** Where its token stands or, if there is none, would stand. */
  private slotOf(text: string, start: number, end: number): number {
    const { table } = this
    const mask = table.length - 1
    const hash = hashOf(text, start, end)
    let slot = (hash << 1) & mask
    for (;;) {
      const known = table[slot] ?? 0
      if (known === 0 || (table[slot + 1] === hash && this.is(known - 1, text, start, end))) return slot
      slot = (slot + 2) & mask
    }
  }

  private is(token: number, text: string, start: number, end: number): boolean {
    const from = this.end(token)
    if (this.end(token + 1) - from !== end - start) return false
    for (let at = start; at < end; at++) {
      if (this.bytes[from + at - start] !== text.charCodeAt(at)) return false
    }
    return true
  }

  /** Where the token before ends. */
  private end(token: number): number {
    return this.ends[token] ?? 0
  }
}

/** Steps of work between two looks at the clock; the slowest is a merge of the longest piece, about 0.1 ms. */
const stepsBetweenLooks = 16

/** Merged pieces that are remembered: about 16 MB, were each of them as long as may be asked for. */
const mergedPieces = 16_384

/** UTF-8 bytes of a text; a lone surrogate is three, as is the character that replaces it when it is encoded. */
export const utf8Length = (text: string): number => Buffer.byteLength(text, "utf8")

/** A copy of its own: a slice kept as a key would keep the whole string it was cut from. */
export const detached = (text: string): string => structuredClone(text)

/** The UTF-8 bytes of a text, one character a byte. Nearly every piece is ASCII, which is that already. */
const byteString = (text: string): string => {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) > 0x7f) return Buffer.from(text, "utf8").toString("latin1")
  }
  return text
}

/** Reads published ranks: lines of `! rank token token ...`, the tokens in base64 and ranked upwards from `rank`. */
export function* readVocabulary(published: Ranks): Generator<Pause, Vocabulary> {
  const tokens = new Tokens(published.bpe_ranks.length)
  for (const line of published.bpe_ranks.split("\n")) {
    let start = line.indexOf(" ", 2) + 1
    let rank = Number(line.slice(2, start))
    while (start > 0) {
      const end = line.indexOf(" ", start)
      tokens.add(line.slice(start, end === -1 ? line.length : end), rank++)
      start = end + 1
      if (rank % 128 === 0) yield
    }
  }
  if (tokens.single !== 256) throw new Error(`The ranks have ${tokens.single} tokens of one byte, not 256.`)
  const pattern = new RegExp(published.pat_str, "uy")
  yield* compiled([certainEnd, cutElsewhere, pattern])
  return { pattern, tokens, merged: new Map() }
}

/** Long enough to be worth machine code at once, in strings of one byte and of two bytes a character. */
const samples = ["a ".repeat(1_000), "\u0430 ".repeat(1_000)]

/** Patterns are compiled when they are first used, for each kind of string, which takes up to 10 ms each. */
function* compiled(patterns: ReadonlyArray<RegExp>): Generator<Pause, void> {
  for (const pattern of patterns) {
    for (const sample of samples) {
      yield "long"
      pattern.test(sample)
    }
  }
}

/**
 * Where one piece surely ends: after a letter that no letter, mark or apostrophe follows, and after a digit
 * that no digit follows. Neither encoding has a piece across, and nothing behind it decides how the text in
 * front is cut, so the tokens of the parts add up to those of the whole.
 */
const certainEnd = /\p{L}(?=[^\p{L}\p{M}\p{Cn}\p{Cs}'])|\p{N}(?=[^\p{N}\p{Cn}\p{Cs}])/u

/**
 * Where JavaScript may cut a text in other places than the encodings' own regular expressions do: U+0085 is
 * white space only there, U+FEFF only here, U+017F is an "s" only there ('s ignores case), and a code point
 * without a meaning here may have one there.
 */
const cutElsewhere = /[\u0085\uFEFF\p{Cn}]|'\u017F/u

/** Characters of a stretch, at least, where the text has that many. */
const stretch = 16_384

/**
 * Characters of a stretch that is still cut into pieces. Only a run of one kind of character gets longer, and
 * the pattern would hold the process for as long as it runs over it, then overflow the stack (8M letters).
 */
const longestStretch = 4 * stretch

/** An upper bound on the tokens of `text`; pieces of more than `longestPiece` bytes cost their bytes. */
export function* countTokens(
  vocabulary: Vocabulary,
  text: string,
  longestPiece: number
): Generator<Pause, number> {
  let tokens = 0
  let start = 0
  let end = 0
  while (start < text.length) {
    end += stretch
    const found = end < text.length ? endWithin(text, end, end + stretch) : text.length
    if (found !== undefined) {
      tokens += yield* stretchTokens(vocabulary, text.slice(start, found), longestPiece)
      start = end = found
    }
    yield
  }
  return tokens
}

/** The first certain end between two places. */
const endWithin = (text: string, from: number, to: number): number | undefined => {
  const found = certainEnd.exec(text.slice(from, to))
  return found === null ? undefined : from + found.index + found[0].length
}

function* stretchTokens(
  vocabulary: Vocabulary,
  text: string,
  longestPiece: number
): Generator<Pause, number> {
  if (text.length > longestStretch || cutElsewhere.test(text)) return utf8Length(text)
  yield
  const { pattern } = vocabulary
  let tokens = 0
  let start = 0
  for (let steps = 1; start < text.length; steps++) {
    pattern.lastIndex = start
    if (!pattern.test(text)) return tokens + utf8Length(text.slice(start))
    tokens += pieceTokens(vocabulary, text.slice(start, pattern.lastIndex), longestPiece)
    start = pattern.lastIndex
    if (steps % stepsBetweenLooks === 0) yield
  }
  return tokens
}

const pieceTokens = (vocabulary: Vocabulary, piece: string, longestPiece: number): number => {
  // Written so that a `longestPiece` that is not a number makes every piece cost its bytes.
  if (!(piece.length <= longestPiece)) return utf8Length(piece)
  const bytes = byteString(piece)
  if (vocabulary.tokens.rankOf(bytes, 0, bytes.length) !== noRank) return 1
  if (bytes.length > longestPiece) return bytes.length
  const known = vocabulary.merged.get(bytes)
  if (known !== undefined) return known
  const tokens = mergedTokens(vocabulary.tokens, bytes)
  if (vocabulary.merged.size >= mergedPieces) vocabulary.merged.clear()
  vocabulary.merged.set(detached(bytes), tokens)
  return tokens
}

/** Joins the neighbours of the lowest rank, leftmost first, until no neighbours make a token. */
const mergedTokens = (vocabulary: Tokens, bytes: string): number => {
  const starts = Array.from({ length: bytes.length + 1 }, (_, index) => index)
  const joined = (index: number): number => {
    const start = starts[index]
    const end = starts[index + 2]
    if (start === undefined || end === undefined) return noRank
    return vocabulary.rankOf(bytes, start, end)
  }
  const pairs = starts.map((_, index) => joined(index))
  for (;;) {
    const lowest = lowestOf(pairs)
    if (pairs[lowest] === noRank) return starts.length - 1
    starts.splice(lowest + 1, 1)
    pairs.splice(lowest + 1, 1)
    pairs[lowest] = joined(lowest)
    if (lowest > 0) pairs[lowest - 1] = joined(lowest - 1)
  }
}

const lowestOf = (pairs: ReadonlyArray<number>): number => {
  let lowest = noRank
  let at = 0
  for (let index = 0; index < pairs.length; index++) {
    const rank = pairs[index] ?? noRank
    if (rank < lowest) {
      lowest = rank
      at = index
    }
  }
  return at
}
