/** How often what is tried often is tried. */

/** So many; a tenth where hundreds of mutants are each tried on the test (`npm run mutate`). */
export const many = (count: number): number => ("__stryker__" in globalThis ? Math.ceil(count / 10) : count)
