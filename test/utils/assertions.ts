/** Assertions of this project's own. */
import { assert } from "@effect/vitest"

/** Asserts of a record, also one of a class, those of its properties that are named. */
export const includes = (actual: object | undefined, expected: Readonly<Record<string, unknown>>): void => {
  const found = Object.entries(actual ?? {}).filter(([key]) => key in expected)
  assert.deepStrictEqual(Object.fromEntries(found), expected)
}
