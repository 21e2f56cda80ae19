import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { deepest, surveyOf } from "../src/internal/bodySurvey.ts"
import type { Json, JsonObject } from "../src/internal/json.ts"
import { readRequest } from "../src/internal/requestBody.ts"

/** An object with a value in so many levels, itself among them. */
const nested = (levels: number, of: "lists" | "objects", inner: Json = 1): JsonObject => {
  let value: Json = inner
  for (let level = 1; level < levels; level++) value = of === "lists" ? [value] : { a: value }
  return { a: value }
}

describe("a survey", () => {
  it("finds a body too deep at the level, in lists and in objects, and however deep it is", () => {
    for (const of of ["lists", "objects"] as const) {
      assert.isFalse(surveyOf(nested(deepest, of)).isDeep)
      assert.isTrue(surveyOf(nested(deepest + 1, of)).isDeep)
      assert.isTrue(surveyOf(nested(100_000, of)).isDeep)
    }
    assert.isTrue(surveyOf({ flat: [1, "a"], deep: nested(deepest, "lists"), after: {} }).isDeep)
  })

  it("counts the keys of a body at every depth, one that is named like the prototype among them", () => {
    const body = JSON.parse('{"a":{"b":[{"c":1},{"c":2,"__proto__":{"d":null}}]},"e":[]}') as JsonObject
    assert.strictEqual(surveyOf(body).keys, 7)
    assert.strictEqual(surveyOf({}).keys, 0)
    assert.strictEqual(surveyOf(nested(deepest, "objects")).keys, deepest)
  })

  it("finds the longest cache wherever it is asked for, and in no text that only mentions it", () => {
    for (const asks of [{ ttl: "12h" }, { a: ["12h"] }, { a: { b: [1, { c: "12h" }] } }]) {
      assert.isTrue(surveyOf(asks).longCache, JSON.stringify(asks))
    }
    for (const other of [{ "12h": "30m" }, { a: "in 12h" }, { a: ["12", "h"] }, { a: 12 }]) {
      assert.isFalse(surveyOf(other).longCache, JSON.stringify(other))
    }
  })

  it("leaves a body that is too deep to be refused as that, whatever it writes twice", () => {
    const levels = 100_000
    const text = `{"b":1,"b":1,"a":${"[".repeat(levels)}${"]".repeat(levels)}}`
    const read = Result.getOrThrow(readRequest({ body: text }))
    assert.isTrue(read.survey.isDeep)
  })
})
