/** The list of mutants keeps up with the engines; `npm run mutants -- ledgers` shows that each is caught. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { ledgers, mutate } from "./utils/mutants.ts"
import { path as defects } from "./utils/pathMutants.ts"
import { worlds } from "./utils/worldMutants.ts"

const source = (file: string): string =>
  fs.readFileSync(path.join(import.meta.dirname, "..", "src", "internal", file), "utf8")

describe("the defects on the path of a call", () => {
  it("stand where they say, thirty at least, each by a name of its own, and name tests that exist", () => {
    const root = path.join(import.meta.dirname, "..")
    const wrong = defects
      .map((each) => mutate(source(`../${each.file}`), each))
      .filter((made) => typeof made === "string")
    assert.deepStrictEqual(wrong, [])
    assert.isAtLeast(defects.length, 30)
    assert.strictEqual(new Set(defects.map((each) => each.name)).size, defects.length)
    const unknown = defects.filter(({ check: [file, name] }) => {
      const suite = file === "test/memoryLedger.test.ts" ? "test/LedgerTest.ts" : file
      return name === "" || !fs.readFileSync(path.join(root, suite), "utf8").includes(name)
    })
    assert.deepStrictEqual(
      unknown.map(({ check, name }) => [name, ...check]),
      []
    )
  })
})

describe("the defects that the simulation must notice", () => {
  it("stand where they say, each by a name of its own", () => {
    const wrong = worlds
      .map((each) => mutate(source(`../${each.file}`), each))
      .filter((made) => typeof made === "string")
    assert.deepStrictEqual(wrong, [])
    assert.strictEqual(new Set(worlds.map((each) => each.name)).size, worlds.length)
  })
})

describe("the mutants of the ledgers", () => {
  for (const [name, { files, mutants, suites }] of Object.entries(ledgers)) {
    it(`stand where they say in ${name}, four at least, each by a name of its own`, () => {
      const wrong = mutants
        .map((each) => mutate(source(each.file), each))
        .filter((made) => typeof made === "string")
      assert.deepStrictEqual(wrong, [])
      assert.isAtLeast(mutants.length, 4)
      assert.strictEqual(new Set(mutants.map((each) => each.name)).size, mutants.length)
      for (const file of files) assert.isTrue(fs.existsSync(path.join(import.meta.dirname, "..", file)), file)
    })

    it(`of ${name} are held against suites that are there, which the tests run by the first words of their names`, () => {
      const text = files
        .map((file) => fs.readFileSync(path.join(import.meta.dirname, "..", file), "utf8"))
        .join("\n")
      // A suite and a test of it are told apart by this; a shared suite is named by whoever runs it.
      const parts = suites.flatMap((suite) => suite.split(" > ")).map((part) => part.replace(/: $/, '"'))
      assert.deepStrictEqual(
        parts.filter((part) => !text.includes(`"${part}`)),
        []
      )
    })
  }

  it("are told where their text is gone, stands twice, or changes nothing", () => {
    const one = { name: "a guard", file: "a.ts", from: "if (bad) ", to: "" }
    assert.deepStrictEqual(mutate("if (bad) stop()", one), { text: "stop()" })
    assert.strictEqual(mutate("", one), "a.ts, a guard: its text stands 0 times, not once.")
    assert.strictEqual(mutate("if (bad) if (bad) ", one), "a.ts, a guard: its text stands 2 times, not once.")
    assert.strictEqual(mutate("if (bad) ", { ...one, to: one.from }), "a.ts, a guard: it changes nothing.")
  })
})
