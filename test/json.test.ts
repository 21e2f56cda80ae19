import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { surveyOf } from "../src/internal/bodySurvey.ts"
import {
  edit,
  keysAtMost,
  keysWritten,
  keyTwice,
  parse,
  rewrittenNumbers,
  type Json,
  type JsonObject
} from "../src/internal/json.ts"

/** Texts that look like JSON from inside a string. */
const Text = Schema.Literals([
  "",
  "a",
  ":",
  '"',
  "\\",
  '\\"',
  '":{"',
  '\\\\":',
  ",",
  "}",
  "é",
  "\ud800",
  "\n",
  "中"
])
/** No key of one character that needs an escape: V8 13.6 reads such a key as a backslash, now and then. */
const Key = Schema.Literals(["a", "b", ":", '""', "\\\\", '":"', "__proto__", "toString", "n", ""])
/** A value is built from a list of these, in order, so that it is of any shape and no recursion is needed. */
const Step = Schema.Struct({
  kind: Schema.Literals(["text", "number", "null", "list", "object", "up"]),
  key: Key,
  text: Text
})
const Steps = Schema.Array(Step)
const often = { arbitrary: { runs: 2_000, size: 60 } }

const built = (steps: typeof Steps.Type): JsonObject => {
  const root: Record<string, Json> = {}
  const open: Array<Record<string, Json> | Array<Json>> = [root]
  const put = (key: string, value: Json): void => {
    const top = open.at(-1)
    if (Array.isArray(top)) top.push(value)
    else if (top !== undefined) {
      Object.defineProperty(top, key, { value, enumerable: true, configurable: true, writable: true })
    }
  }
  for (const { kind, key, text } of steps) {
    if (kind === "text") put(key, text)
    else if (kind === "number") put(key, text.length - 1.5)
    else if (kind === "null") put(key, null)
    else if (kind === "up") {
      if (open.length > 1) open.pop()
    } else {
      const inner: Array<Json> | Record<string, Json> = kind === "list" ? [] : {}
      put(key, inner)
      open.push(inner)
    }
  }
  return root
}

const value = (text: string): Json => JSON.parse(text) as Json

/** How many keys a value has, by the walk that every body is read with. */
const keysKept = (value: Json): number => surveyOf(value as JsonObject).keys

describe("keys", () => {
  it.prop(
    "are as many as the text writes, whatever its strings hold and however it is spaced",
    { steps: Steps, indent: Schema.Literals(["", " ", "\t", "\n  "]) },
    ({ steps, indent }) => {
      const text = JSON.stringify(built(steps), null, indent)
      assert.strictEqual(keysWritten(text), keysKept(value(text)))
      assert.isAtLeast(keysAtMost(text), keysWritten(text))
      assert.isUndefined(keyTwice(text))
    },
    often
  )

  it.prop(
    "are fewer than the text writes when one is written twice, at any depth",
    {
      steps: Steps,
      which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })),
      last: Schema.Boolean
    },
    ({ steps, which, last }) => {
      // Objects are found by a marker key that nothing else uses, and get that key once more.
      const marked = JSON.stringify(built(steps), (_key, each: unknown) =>
        typeof each === "object" && each !== null && !Array.isArray(each) ? { ...each, "~~": 0 } : each
      )
      const places = [...marked.matchAll(/"~~":0/g)].map((match) => match.index)
      const at = places[which % places.length] ?? 0
      const twice = last
        ? `${marked.slice(0, at)}"~~":{"x":1},${marked.slice(at)}`
        : `${marked.slice(0, at + 6)},"\\u007e~":"\\"" ${marked.slice(at + 6)}`
      assert.strictEqual(keysWritten(marked), keysKept(value(marked)))
      assert.isAbove(keysWritten(twice), keysKept(value(twice)))
      assert.isAtLeast(keysAtMost(twice), keysWritten(twice))
      assert.strictEqual(keyTwice(twice)?.at(-1), '"~~"')
    },
    often
  )

  it("are bounded exactly but for strings that begin with a colon", () => {
    const bounds = ['{"a" \n:1,"b\\\\":2,"":3}', '{"a":"said: \\": no","b":["x : y"]}', '{"a":": b"}'].map(
      (text) => [keysAtMost(text), keysKept(value(text))]
    )
    assert.deepStrictEqual(bounds, [
      [3, 3],
      [2, 2],
      [2, 1]
    ])
  })

  it("of the same name in different spellings are one key", () => {
    const text = '{"cap":1,"c\\u0061p":9}'
    assert.deepStrictEqual([keysWritten(text), keysKept(value(text))], [2, 1])
  })

  it("that are written twice are told with the keys around them, and not those of their neighbours", () => {
    for (const [text, way] of [
      ['{"a":1,"b":2,"a":3}', ['"a"']],
      ['{"a":{"x":1},"b":{"x":1,"y":[{"x":1}],"x":2}}', ['"b"', '"x"']],
      ['{"a":[{"x":1},{"x":1,"\\u0078":2}]}', ['"a"', '"x"']],
      ['[{"__proto__":1,"__proto__":2}]', ['"__proto__"']],
      ['{"a":"b","b":"a","c":["a","a"],"d":{"a":1}}', undefined],
      ['"a"', undefined]
    ] as const) {
      assert.deepStrictEqual(keyTwice(text), way)
    }
  })

  it("are counted in a hundred thousand levels, where recursion would end", () => {
    const levels = 100_000
    const text = '{"a":'.repeat(levels) + "1" + "}".repeat(levels)
    assert.strictEqual(keysWritten(text), levels)
  })

  it("are counted in linear time in texts of nothing but escapes", () => {
    const text = JSON.stringify({ a: "\\".repeat(2_000_000), b: '"'.repeat(2_000_000) })
    assert.strictEqual(keysWritten(text), 2)
    const colons = JSON.stringify({
      a: "\\".repeat(2_000_000) + ":".repeat(2_000_000),
      b: "x" + " ".repeat(2_000_000) + ":"
    })
    assert.strictEqual(keysAtMost(colons), 2)
  })
})

describe("numbers that are written anew otherwise", () => {
  it("are counted where they stand, whatever is in the strings around them", () => {
    const long = "9".repeat(60)
    for (const [text, characters] of [
      [`{"a":1.0,"b":[-0,${long} ,10,-2.5],"c":{"d":1E400}}`, 3 + 2 + 60 + 5],
      [`[ 1.50\n,0.1,${long}]`, 4 + 60],
      [`{"a":"1.0, ${long}","b\\":" \\" : 1.0","1.0":7}`, 0],
      [`{"a":true,"b":false,"c":null,"d":[]}`, 0],
      ["1e5", 3],
      ["-", 1]
    ] as const) {
      assert.strictEqual(rewrittenNumbers(text), characters, text)
    }
  })

  it.prop(
    "are none in what JSON.stringify writes, however it is spaced",
    { steps: Steps, numbers: Schema.Array(Schema.Finite), indent: Schema.Literals(["", "\n  "]) },
    ({ steps, numbers, indent }) => {
      const text = JSON.stringify([built(steps), numbers.map((each) => each + 0)], null, indent)
      assert.strictEqual(rewrittenNumbers(text), 0)
    },
    often
  )
})

describe("edit", () => {
  const spaces = Schema.Literals(["", " ", "\n", "\r\n\t", "  \n  "])

  it.prop(
    "writes what spreading the edits over the body says, however the text is spaced",
    {
      steps: Steps,
      edits: Steps,
      indent: Schema.Literals(["", "  "]),
      before: spaces,
      inside: spaces,
      after: spaces
    },
    ({ steps, edits, indent, before, inside, after }) => {
      const json = JSON.stringify(built(steps), null, indent)
      const text = `${before}${json.slice(0, -1)}${inside}}${after}`
      const body = value(text) as JsonObject
      const changes = built(edits)
      const edited = edit(text, body, changes)
      assert.strictEqual(JSON.stringify(value(edited)), JSON.stringify({ ...body, ...changes }))
      assert.strictEqual(keysWritten(edited), keysKept(value(edited)))
    },
    often
  )

  it("replaces a null in place: no server sees the field twice", () => {
    const text = '{ "model": "m", "max_completion_tokens": null, "n": 2 } \n'
    const edited = edit(text, value(text) as JsonObject, {
      max_completion_tokens: 100,
      service_tier: "default"
    })
    assert.strictEqual(edited, '{"model":"m","max_completion_tokens":100,"n":2,"service_tier":"default"}')
  })

  it("leaves the text as it is where nothing changes, and its bytes where a field is added", () => {
    const text = '{"big":12345678901234567890,"e":"\\u00e9"}'
    const body = value(text) as JsonObject
    assert.strictEqual(edit(text, body, {}), text)
    assert.strictEqual(edit(text, body, { cap: 1 }), '{"big":12345678901234567890,"e":"\\u00e9","cap":1}')
    assert.strictEqual(edit("{}", {}, { cap: 1 }), '{"cap":1}')
  })
})

describe("parse", () => {
  it("answers nothing for what is not JSON, and its value for what is", () => {
    for (const text of ["", "{", "{a:1}", "undefined", "NaN", "\u0000", "{}x"]) {
      assert.strictEqual(parse(text), undefined)
    }
    assert.strictEqual(parse("null"), null)
    assert.deepStrictEqual(parse(' {"a":[1]} '), { a: [1] })
  })
})
