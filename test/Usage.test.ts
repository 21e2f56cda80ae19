import { assert, describe, it } from "@effect/vitest"
import { Usage } from "agent-budget"
import { Schema } from "effect"

const Tokens = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000_000 }))
const Usages = Schema.Struct({
  input: Tokens,
  cachedInput: Tokens,
  cacheWrite: Tokens,
  cacheWrite12h: Tokens,
  audioInput: Tokens,
  output: Tokens,
  reasoning: Tokens,
  audioOutput: Tokens,
  webSearches: Tokens,
  fileSearches: Tokens,
  containers: Tokens
})
const dimensions = [
  "input",
  "cachedInput",
  "cacheWrite",
  "cacheWrite12h",
  "audioInput",
  "output",
  "reasoning",
  "audioOutput",
  "webSearches",
  "fileSearches",
  "containers"
] as const
const thorough = { arbitrary: { runs: 500, size: 200 } }
const three = { a: Usages, b: Usages, c: Usages }

describe("Usage", () => {
  it("has the billable dimensions, and no other", () => {
    assert.deepStrictEqual(Object.keys(Usage.zero), [...dimensions])
    assert.deepStrictEqual(Object.keys(Usage.Usage.fields), [...dimensions])
  })

  it.prop(
    "adds and takes the larger, dimension by dimension",
    three,
    ({ a, b }) => {
      for (const dimension of dimensions) {
        assert.strictEqual(Usage.add(a, b)[dimension], a[dimension] + b[dimension])
        assert.strictEqual(
          Usage.max(a, b)[dimension],
          a[dimension] > b[dimension] ? a[dimension] : b[dimension]
        )
      }
    },
    thorough
  )

  it.prop(
    "addition and the larger one are commutative and associative, with nothing as their unit",
    three,
    ({ a, b, c }) => {
      for (const f of [Usage.add, Usage.max]) {
        assert.deepStrictEqual(f(a, b), f(b, a))
        assert.deepStrictEqual(f(f(a, b), c), f(a, f(b, c)))
        assert.deepStrictEqual(f(a, Usage.zero), a)
      }
    },
    thorough
  )

  it.prop(
    "the larger one is the least bound of both",
    three,
    ({ a, b, c }) => {
      const bound = Usage.max(a, b)
      assert.isTrue(Usage.lessThanOrEqualTo(a, bound) && Usage.lessThanOrEqualTo(b, bound))
      assert.isTrue(Usage.lessThanOrEqualTo(bound, Usage.add(a, b)))
      const other = Usage.max(bound, c)
      assert.isTrue(Usage.lessThanOrEqualTo(bound, other))
    },
    thorough
  )

  it.prop(
    "one dimension that passes is enough to pass",
    { a: Usages },
    ({ a }) => {
      assert.isTrue(Usage.lessThanOrEqualTo(a, a))
      for (const dimension of dimensions) {
        const more = { ...a, [dimension]: a[dimension] + 1 }
        assert.isFalse(Usage.lessThanOrEqualTo(more, a), dimension)
        assert.isTrue(Usage.lessThanOrEqualTo(a, more), dimension)
      }
    },
    thorough
  )

  it("fills what is not named with nothing", () => {
    assert.deepStrictEqual(Usage.make({ input: 3, reasoning: 2 }), { ...Usage.zero, input: 3, reasoning: 2 })
  })

  it("refuses tokens that are negative, broken or not numbers", () => {
    const isUsage = Schema.is(Usage.Usage)
    assert.isTrue(isUsage(Usage.make({ output: 7 })))
    for (const dimension of dimensions) {
      for (const bad of [-1, 0.5, NaN, Infinity, "1", null]) {
        assert.isFalse(isUsage({ ...Usage.zero, [dimension]: bad }), `${dimension} ${String(bad)}`)
      }
    }
  })
})
