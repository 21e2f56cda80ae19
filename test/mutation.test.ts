/** The page on mutants keeps up with the sources, and a run that stopped half-way or found nothing claims nothing. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { modules } from "../scripts/mutation/modules.ts"
import { explanations, listOf, pageOf, pagePath, rowOf } from "../scripts/mutation/page.ts"
import {
  cut,
  merge,
  type Mutant,
  rangesOf,
  type Report,
  scoreOf,
  stale,
  survivorsOf,
  whole
} from "../scripts/mutation/report.ts"
import { collected, describe as suite, it as test } from "../scripts/mutation/standIn.ts"

const root = path.resolve(import.meta.dirname, "..")
const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const source = "const one = 1\nif (one > 0 &&\n  one < 2) go()\n"

const mutant = (status: string, from: readonly [number, number], to: readonly [number, number]): Mutant => ({
  mutatorName: "ConditionalExpression",
  replacement: "true",
  status,
  location: { start: { line: from[0], column: from[1] }, end: { line: to[0], column: to[1] } }
})

/** All of the condition, and its first half. */
const condition = (status: string) => mutant(status, [2, 5], [3, 10])
const half = (status: string) => mutant(status, [2, 5], [2, 12])

const report = (...mutants: ReadonlyArray<Mutant>): Report => ({ files: { "a.ts": { source, mutants } } })

describe("the page on mutants", () => {
  it("explains what still stands in its file, of modules that are mutated", () => {
    const mutated = Object.values(modules).flatMap(({ files }) => files)
    for (const [file, explained] of Object.entries(explanations)) {
      assert.include(mutated, file)
      assert.deepStrictEqual(stale(file, read(file), explained), [])
    }
    for (const { files, tests } of Object.values(modules)) {
      for (const file of [...files, ...tests]) assert.isTrue(fs.existsSync(path.join(root, file)), file)
    }
  })

  it("is what --write makes of the explanations, with a score of 85 % or more for each module", async () => {
    const page = fs.readFileSync(pagePath, "utf8")
    const again = await pageOf(page, () => undefined)
    assert.strictEqual(page, again)
    const scores = [...page.matchAll(/^\| (\w+) +\|.* ([\d.]+) % +\|$/gm)]
    assert.deepStrictEqual(
      scores.map(([, name]) => name),
      Object.keys(modules)
    )
    for (const [, name, score] of scores) assert.isAtLeast(Number(score), 85, name)
  })

  it("is told of an explanation whose line or whose mutant is gone", () => {
    const here = { line: "if (one > 0 &&", from: "one > 0 && one < 2", to: "true", why: "" }
    assert.deepStrictEqual(stale("a.ts", source, [here]), [])
    const gone = [
      { ...here, line: "if (two > 0 &&" },
      { ...here, from: "one > 0 || one < 2" }
    ]
    assert.lengthOf(stale("a.ts", source, gone), 2)
  })
})

describe("a run of mutants", () => {
  it("scores what was noticed among what was noticed or not, and says of how many nothing is known", () => {
    const statuses = ["Killed", "Timeout", "Survived", "NoCoverage", "RuntimeError"]
    const score = scoreOf(report(...statuses.map(half)))
    assert.deepStrictEqual(score, { caught: 2, alive: 2, unknown: 1, percent: 50 })
    assert.throws(() => scoreOf(report()), /no mutant/)
    assert.throws(() => scoreOf(report(half("RuntimeError"))), /no mutant/)
  })

  it("never rounds a survivor away", () => {
    const score = { caught: 9_999, alive: 1, unknown: 0, percent: 99.99 }
    assert.strictEqual(rowOf("A", score), "| A | 10000 | 1 | 0 | 99.9 % |")
  })

  it("knows a survivor again by its code, wherever its line went", () => {
    const why = "nobody can see it"
    const known = { "a.ts": [{ line: "if (one > 0 &&", from: "one > 0 && one < 2", to: "true", why }] }
    const found = survivorsOf(report(condition("Survived"), half("NoCoverage"), half("Killed")), known)
    assert.deepStrictEqual(
      found.map(({ survivor, why }) => [survivor.from, why]),
      [
        ["one > 0 && one < 2", why],
        ["one > 0", undefined]
      ]
    )
  })

  it("of the survivors alone runs their ranges but for those explained, and changes nothing but what it ran", () => {
    const before = report(condition("Survived"), half("Killed"))
    assert.deepStrictEqual(rangesOf(before, {}), ["a.ts:2:4-3:9"])
    const why = "nobody can see it"
    const known = { "a.ts": [{ line: "if (one > 0 &&", from: "one > 0 && one < 2", to: "true", why }] }
    assert.deepStrictEqual(rangesOf(before, known), [])
    assert.deepStrictEqual(
      merge(before, report(condition("Killed"))),
      report(condition("Killed"), half("Killed"))
    )
    const changed = { files: { "a.ts": { source: `${source}\n`, mutants: [] } } }
    assert.throws(() => merge(before, changed), /run it whole/)
  })

  it("in parts cuts a file between its declarations only, and leaves no line out", () => {
    const text = [
      "import a",
      "",
      "/** One. */",
      "const f = () => {",
      "  a()",
      "",
      "  b()",
      "}",
      "",
      "g()",
      "h()"
    ]
    assert.deepStrictEqual(cut(text.join("\n"), 1), [[1, 11]])
    assert.deepStrictEqual(cut(text.join("\n"), 2), [
      [1, 9],
      [10, 11]
    ])
    const members = ["class A {", "  a() {", "    b()", "", "    c()", "  }", "", "  d() {}", "}", "", "f()"]
    assert.deepStrictEqual(cut(members.join("\n"), 3), [
      [1, 7],
      [8, 11]
    ])
    for (const { files } of Object.values(modules)) {
      for (const file of files) {
        const ranges = cut(read(file), 3)
        const lines = read(file).split("\n")
        assert.deepStrictEqual(
          ranges.flatMap(([from, to]) => lines.slice(from - 1, to)),
          lines
        )
      }
    }
  })

  it("in parts is one when all were run, on the same sources", () => {
    const parts = [report(half("Killed")), report(condition("Survived"))]
    assert.deepStrictEqual(whole(parts), report(half("Killed"), condition("Survived")))
    assert.isUndefined(whole([parts[0], undefined]))
    const changed = { files: { "a.ts": { source: `${source}\n`, mutants: [] } } }
    assert.throws(() => whole([parts[0], changed]), /run them all again/)
  })

  it("is told on the page by its line, whatever that holds, with what else lives there for the same reason", () => {
    const one = { line: "a`b`", from: "`b`", to: "", why: "why." }
    const explained = [one, { ...one, from: "a", to: "c" }, { ...one, why: "else." }]
    const told = [
      "### a.ts",
      "",
      "- `` a`b` ``: why.",
      "  - `` `b` `` to nothing",
      "  - `a` to `c`",
      "- `` a`b` ``: else.",
      "  - `` `b` `` to nothing",
      ""
    ]
    assert.strictEqual(listOf({ "a.ts": explained }), told.join("\n"))
  })
})

describe("the stand-in for vitest", () => {
  it("keeps tests by all their names, once for each case, and runs them as often as it is asked", async () => {
    const ran: Array<unknown> = []
    const load = () => {
      suite("A", () => {
        suite("B", () => test("one", () => ran.push("one")))
        test("two", { timeout: 5 }, () => Promise.reject(new Error("two fails")))
        test.each([[1, 2], 3])("each", (...args: ReadonlyArray<unknown>) => ran.push(args))
        test.for([[1, 2]])("for", (args: unknown) => ran.push(args))
        test("two", () => ran.push("other two"))
        test.skip("never", () => ran.push("never"))
        suite.skipIf(true)("never", () => test("never", () => ran.push("never")))
        test.runIf(false)("never", () => ran.push("never"))
      })
      return Promise.resolve()
    }
    const tests = await collected([{ name: "a.ts", load }])
    const ids = ["B > one", "two", "each [0]", "each [1]", "for [0]", "two #2"].map(
      (id) => `a.ts > A > ${id}`
    )
    assert.deepStrictEqual(
      tests.map(({ id }) => id),
      ids
    )
    const failed: Array<string> = []
    for (const each of [...tests, ...tests]) await each.run().catch(() => failed.push(each.id))
    const once = ["one", [1, 2], [3], [1, 2], "other two"]
    assert.deepStrictEqual(ran, [...once, ...once])
    assert.deepStrictEqual(failed, [ids[1], ids[1]])
  })

  it("lets a law be tried on some hundred cases", async () => {
    const many = { timeout: 5, arbitrary: { runs: 3_000, size: 60 } }
    const few = { arbitrary: { runs: 20 } }
    const load = () => {
      test("many", many, () => undefined)
      test("few", few, () => undefined)
      return Promise.resolve()
    }
    await collected([{ name: "a.ts", load }])
    assert.deepStrictEqual([many.arbitrary.runs, few.arbitrary.runs], [200, 20])
  })
})
