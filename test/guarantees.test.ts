/** What docs/guarantees.md names is there: commands, files, and tests by their names. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

/** What a text names that is not there. */
const missing = (text: string, scripts: ReadonlySet<string>): ReadonlyArray<string> => {
  const commands = Array.from(text.matchAll(/`npm run ([\w:]+)/g), ([, script = ""]) => script)
  const files = Array.from(
    text.matchAll(/`((?:test|src|docs|scripts|bench)\/[\w./-]+)`/g),
    ([, file = ""]) => file
  )
  const tests = Array.from(text.matchAll(/`(test\/[\w./-]+)` > "([^"]+)"/g), ([, file = "", name = ""]) => ({
    file,
    name
  }))
  return [
    ...commands.filter((script) => !scripts.has(script)).map((script) => `npm run ${script}`),
    ...files.filter((file) => !fs.existsSync(path.join(root, file))),
    ...tests
      .filter(({ file, name }) => fs.existsSync(path.join(root, file)) && !read(file).includes(name))
      .map(({ file, name }) => `${file}: ${name}`)
  ]
}

// Written by npm.
const { scripts } = JSON.parse(read("package.json")) as { readonly scripts: Readonly<Record<string, string>> }
const known = new Set(Object.keys(scripts))

describe("the guarantees", () => {
  it("name commands, files and tests that exist", () => {
    const text = read("docs/guarantees.md")
    assert.deepStrictEqual(missing(text, known), [])
    assert.isAbove(text.match(/`npm run /g)?.length ?? 0, 5)
    assert.isAbove(text.match(/` > "/g)?.length ?? 0, 5)
  })

  it("are found to name what does not exist", () => {
    const text =
      '`npm run nothing -- 1`, `test/Nothing.test.ts`, `test/Usd.test.ts` > "a name that no test has"'
    assert.deepStrictEqual(missing(text, known), [
      "npm run nothing",
      "test/Nothing.test.ts",
      "test/Usd.test.ts: a name that no test has"
    ])
  })
})
