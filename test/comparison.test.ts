/**
 * docs/comparison.md is of the peers that bench/peers installs, at their versions, and of us. The run itself needs
 * their packages: `npm run bench:peers`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")

const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

const { dependencies } = JSON.parse(read("bench/peers/package.json")) as {
  readonly dependencies: Readonly<Record<string, string>>
}
const { devDependencies, version } = JSON.parse(read("package.json")) as {
  readonly devDependencies: Readonly<Record<string, string>>
  readonly version: string
}

/** What has to have a row in each of the tables: its name there, and the version that the last table says. */
const expected: ReadonlyArray<readonly [name: string, version: string]> = [
  ["**agent-budget, withBudget**", version],
  ["**agent-budget, wrapped client**", version],
  ["effect, RateLimiter", devDependencies["effect"] ?? "missing"],
  ...Object.entries(dependencies)
]

/** The rows of each table of a page, without its head. */
const tablesOf = (text: string): ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>> =>
  text.split(/\n{2,}/).flatMap((block) => {
    const lines = block.trim().split("\n")
    if (!lines.every((line) => line.startsWith("|"))) return []
    return [lines.slice(2).map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))]
  })

/** What a page does not say, and what it says of peers that are no longer there. */
const stale = (text: string): ReadonlyArray<string> => {
  const tables = tablesOf(text)
  const names = expected.map(([name]) => name)
  const wrong = tables.flatMap((rows, index) => {
    const said = rows.map((row) => row[1] ?? "")
    return [
      ...names.filter((name) => !said.includes(name)).map((name) => `table ${index + 1} lacks ${name}`),
      ...said.filter((name) => !names.includes(name)).map((name) => `table ${index + 1} still has ${name}`)
    ]
  })
  const versions = new Map((tables.at(-1) ?? []).map((row) => [row[1], row[2]]))
  const older = expected.flatMap(([name, now]) => {
    const then = versions.get(name)
    return then === undefined || then === now ? [] : [`${name} was ${then}, and is ${now}`]
  })
  return [...(tables.length === 4 ? [] : [`${tables.length} tables`]), ...wrong, ...older]
}

const page = read("docs/comparison.md")
const none: ReadonlyArray<string> = []

describe("the comparison with peers", () => {
  it("has a row for us and for each peer in every table, at the versions that are installed", () => {
    assert.isAbove(Object.keys(dependencies).length, 3)
    assert.deepStrictEqual(stale(page), none)
  })

  it("a row that is missing, one too many, another version and a table that is gone are caught", () => {
    assert.include(stale(page.replaceAll("| bottleneck ", "| chokepoint ")), "table 1 lacks bottleneck")
    assert.include(stale(page.replaceAll("| bottleneck ", "| chokepoint ")), "table 4 still has chokepoint")
    assert.deepStrictEqual(stale(page.replace(/(\| bottleneck +\| )[\d.]+/g, "$19.9.9")), [
      `bottleneck was 9.9.9, and is ${dependencies["bottleneck"] ?? ""}`
    ])
    assert.include(stale(page.slice(0, page.indexOf("## How each"))), "3 tables")
  })

  it("each peer is pinned to one version, and has an adapter", () => {
    const adapters = read("bench/peers/adapters.js")
    for (const [name, pinned] of Object.entries(dependencies)) {
      assert.match(pinned, /^\d+\.\d+\.\d+$/, name)
      assert.include(adapters, `name: "${name}"`)
    }
  })

  it("the lock of the peers names no address, and the project does not depend on them", () => {
    assert.notInclude(read("bench/peers/package-lock.json"), '"resolved"')
    for (const name of Object.keys(dependencies)) assert.notProperty(devDependencies, name)
  })
})
