/**
 * What is known of families of models beyond their prices: how they count texts and what they add to them, how
 * they bill images, and which ones read more than the request shows. Matched by how an id begins; an id that
 * matches nothing gets the bound that holds for all.
 */
import type { Encoding } from "./bytePairs.ts"

export type ImageRule =
  /** Fitted into 2048 x 2048, short side to 768, then so much for the image and for each 512-pixel tile. */
  | { readonly kind: "tiles"; readonly base: number; readonly tile: number; readonly low: boolean }
  /** So much for each 32-pixel patch, at most 1,536 of them. */
  | { readonly kind: "patches"; readonly perPatch: number }
  /**
   * The largest that any image was seen or said to cost and, where the size is known, so much for each 32-pixel patch:
   * the recorded traffic shows 1.2.
   */
  | {
      readonly kind: "flat"
      readonly most: number
      readonly high: number | undefined
      readonly perPatch: number | undefined
    }
  /** Which of several is not known: the most of them. */
  | { readonly kind: "dearest"; readonly of: ReadonlyArray<ImageRule> }

const base85: ImageRule = { kind: "tiles", base: 85, tile: 170, low: false }
const newest: ImageRule = { kind: "flat", most: 12_000, high: 3_000, perPatch: 1.25 }
/** As many patches, by the multiple that is published for the model, whichever of the two an image is billed by. */
const multiplied = (perPatch: number): ImageRule => ({
  kind: "flat",
  most: Math.round(10_000 * perPatch),
  high: Math.round(2_500 * perPatch),
  perPatch
})
const small = multiplied(1.62)

/**
 * Source: the image formulas of OpenAI's "Images and vision" guide; those of kind "tiles" and "patches" were
 * confirmed, within 2 tokens an image, by the recorded traffic that the tests replay. The flat figures are the
 * maxima that the guide and the forum reports give for these models.
 */
const images: ReadonlyArray<readonly [RegExp, ImageRule]> = [
  [/^gpt-4o-mini/, { kind: "tiles", base: 2833, tile: 5667, low: false }],
  [/^gpt-4\.1-mini/, { kind: "patches", perPatch: 1.62 }],
  [/^gpt-4\.1-nano/, { kind: "patches", perPatch: 2.46 }],
  [/^o4-mini/, { kind: "patches", perPatch: 1.72 }],
  // Recorded at 1.2 and 1.5: the published multipliers are the dearer.
  [/^gpt-5-mini/, { kind: "patches", perPatch: 1.62 }],
  [/^gpt-5-nano/, { kind: "patches", perPatch: 2.46 }],
  [/^(gpt-4o|chatgpt-4o|gpt-4\.1|gpt-4-turbo|gpt-4-)/, { kind: "tiles", base: 85, tile: 170, low: true }],
  [/^(o1|o3)(-pro|-\d|$)/, { kind: "tiles", base: 85, tile: 170, low: true }],
  [/^gpt-5(-\d|$)/, base85],
  // Between two generations whose rules are known: by either of them.
  [/^gpt-5\.[1-3](-codex)?-mini/, { kind: "dearest", of: [base85, small] }],
  [/^gpt-5\.[1-3]/, { kind: "dearest", of: [base85, newest] }],
  [/^gpt-5\.4-mini/, small],
  // Recorded at 1.2 as well.
  [/^gpt-5\.4-nano/, multiplied(2.46)],
  [/^gpt-5\.4/, newest],
  [/^gpt-5\.5/, { kind: "flat", most: 12_000, high: undefined, perPatch: 1.25 }],
  [/^gpt-5\.6/, { kind: "flat", most: 36_000, high: undefined, perPatch: 1.25 }]
]

/** The model that was tuned, or the model itself. */
const baseOf = (model: string): string => (model.startsWith("ft:") ? model.slice(3) : model)

/** What an image can cost on a model that nothing is known of. */
const anyImage: ImageRule = { kind: "flat", most: 73_800, high: undefined, perPatch: undefined }

export const imageRule = (model: string): ImageRule =>
  images.find(([pattern]) => pattern.test(baseOf(model)))?.[1] ?? anyImage

/**
 * How many times over an image may be billed beyond the room that it takes of the context window, so that a window of
 * images which nobody sees costs as many windows.
 */
export const beyondWindow = (rule: ImageRule): number => {
  switch (rule.kind) {
    case "tiles":
      return Math.max(1, rule.base / 85, rule.tile / 170)
    case "dearest":
      return Math.max(...rule.of.map(beyondWindow))
    default:
      return rule.perPatch ?? mostPerPatch
  }
}

/** Of the models whose patches are known; the tiles of gpt-4o-mini are a way of its own. */
const mostPerPatch = 2.46

/** Models that search or browse by themselves: their input is not in the request. Words of their names say it. */
export const readsUnshownInput = (model: string): boolean =>
  /(?<![a-z0-9])(?:search|deep-research)(?![a-z0-9])/.test(model)

/**
 * Tokens that a family is fed beyond the texts of a request, each at or above the most that recorded traffic
 * shows (`docs/bounds.md` has the margins that are left).
 */
export interface Framing {
  /** For the request, once. */
  readonly request: number
  /** For a message, its role included. */
  readonly message: number
  /** More for an assistant's message in the history. */
  readonly assistant: number
  /** More for the name of who speaks. */
  readonly name: number
  /** More for a call of a tool, with its result. */
  readonly call: number
  /** More for a call that was made in parallel with another. */
  readonly parallelCall: number
  /** For tools in chat completions, once: of the models that reason, a preamble. */
  readonly chatTools: number
  /** For tools in responses, once, where calls in parallel are forbidden, and for those that an item brings. */
  readonly preamble: number
  /** More for a tool that is no function: with a grammar it was seen to take 118 beyond its JSON. */
  readonly custom: number
  /** For a tool that has to be called, beyond its JSON: 15 were seen, its name included. */
  readonly choice: number
  /** For a part. Between texts of users and developers nothing was seen to be fed; of others there is no recording. */
  readonly part: number
  /** For a character of encrypted reasoning: three bytes in four characters, and a token is at least a byte. */
  readonly encrypted: number
}

export interface Family {
  readonly name: string
  readonly encoding: Encoding
  readonly framing: Framing
  /** The share by which the count of the texts is raised: what no recording has shown may still be there. */
  readonly margin: number
}

const margin = 0.01

/** More for every request, beyond the most that any was seen to take. */
export const requestSlack = 20

const plain: Framing = {
  request: 3 + requestSlack,
  message: 4,
  assistant: 0,
  name: 1,
  call: 14,
  parallelCall: 18,
  chatTools: 4,
  preamble: 98,
  custom: 160,
  choice: 15,
  part: 2,
  encrypted: 0.75
}
/** Reasoning models: seen to take 2 more for each answer in the history, and a preamble for tools. */
const thinking: Framing = {
  ...plain,
  assistant: 2,
  call: 20,
  parallelCall: 14,
  chatTools: 98
}

/** Prompts and inputs that are fed as they are: seen to take nothing beyond their texts. */
const bare: Framing = { ...plain, request: 8 }

/**
 * The encodings are those of tiktoken's `model.py` and, from gpt-5.1 on, which it does not list, those that the
 * recorded traffic confirms. A family that is not here is counted in bytes.
 */
const families: ReadonlyArray<readonly [RegExp, Family]> = [
  // The first of them took 5 a message, and their undated name is still recorded with it.
  [/^gpt-3\.5/, { name: "gpt-3.5", encoding: "cl100k_base", framing: { ...plain, message: 5 }, margin }],
  [/^gpt-4(-|$)/, { name: "gpt-4", encoding: "cl100k_base", framing: plain, margin }],
  [/^(gpt-4o|chatgpt-4o)/, { name: "gpt-4o", encoding: "o200k_base", framing: plain, margin }],
  [/^gpt-4\.1/, { name: "gpt-4.1", encoding: "o200k_base", framing: plain, margin }],
  [
    /^o1-preview/,
    {
      name: "o1-preview",
      encoding: "o200k_base",
      framing: { ...thinking, request: 20 + requestSlack, message: 16 },
      margin
    }
  ],
  [
    /^o3-mini/,
    { name: "o3-mini", encoding: "o200k_base", framing: { ...thinking, request: 65 + requestSlack }, margin }
  ],
  [/^(o1|o3|o4)(-|$)/, { name: "o-series", encoding: "o200k_base", framing: thinking, margin }],
  [/^gpt-5(-|$)/, { name: "gpt-5", encoding: "o200k_base", framing: thinking, margin }],
  [/^gpt-5\.[1-6](-|$)/, { name: "gpt-5.1 to 5.6", encoding: "o200k_base", framing: thinking, margin }],
  [/^text-embedding/, { name: "embeddings", encoding: "cl100k_base", framing: bare, margin }],
  [/^(davinci|babbage)-002/, { name: "base models", encoding: "cl100k_base", framing: bare, margin }]
]

/** The family of a model, fine-tuned or not, if its texts can be counted. */
export const familyOf = (model: string): Family | undefined =>
  families.find(([pattern]) => pattern.test(baseOf(model)))?.[1]
