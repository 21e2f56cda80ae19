/**
 * What is known of families of models beyond their prices: how they bill images, and which ones read more than
 * the request shows. Matched by how an id begins; an id that matches nothing gets the bound that holds for all.
 */

export type ImageRule =
  /** Fitted into 2048 x 2048, short side to 768, then so much for the image and for each 512-pixel tile. */
  | { readonly kind: "tiles"; readonly base: number; readonly tile: number; readonly low: boolean }
  /** So much for each 32-pixel patch, at most 1,536 of them. */
  | { readonly kind: "patches"; readonly perPatch: number }
  /** The formula is not published or not confirmed: the largest that any image was seen or said to cost. */
  | { readonly kind: "flat"; readonly most: number; readonly high: number | undefined }

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
  [/^gpt-5(-\d|$)/, { kind: "tiles", base: 85, tile: 170, low: false }],
  [/^gpt-5\.4/, { kind: "flat", most: 12_000, high: 3_000 }],
  [/^gpt-5\.5/, { kind: "flat", most: 12_000, high: undefined }],
  [/^gpt-5\.6/, { kind: "flat", most: 36_000, high: undefined }]
]

/** What an image can cost on a model that nothing is known of. */
const anyImage: ImageRule = { kind: "flat", most: 73_800, high: undefined }

export const imageRule = (model: string): ImageRule =>
  images.find(([pattern]) => pattern.test(model))?.[1] ?? anyImage

/** Models that search or browse by themselves: their input is not in the request. */
export const readsUnshownInput = (model: string): boolean =>
  model.includes("search") || model.includes("deep-research")
