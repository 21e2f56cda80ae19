/** The frameworks that it works under are not its own: importing it loads none of them. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")

const { devDependencies, exports: entries } = JSON.parse(
  fs.readFileSync(path.join(root, "package.json"), "utf8")
) as {
  readonly devDependencies: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, unknown>>
}

const frameworks = ["ai", "@ai-sdk/openai", "@langchain/openai", "@langchain/core", "@openai/agents", "zod"]

const names = Object.keys(entries).filter((entry) => entry !== "./package.json" && !entry.includes("*"))

/** The packages whose files a process has loaded once it has imported something, by what Node's loader resolved. */
const loadedBy = (code: string): ReadonlyArray<string> => {
  const watch = `
    import { registerHooks } from "node:module"
    const seen = new Set()
    registerHooks({
      load: (url, context, next) => {
        const found = [...url.matchAll(/node_modules\\/((?:@[^/]+\\/)?[^/]+)/g)].at(-1)
        if (found) seen.add(found[1])
        return next(url, context)
      }
    })
    ${code}
    console.log(JSON.stringify([...seen]))
  `
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    ["--conditions=agent-budget-source", "--input-type=module", "--eval", watch],
    { cwd: root, encoding: "utf8" }
  )
  assert.strictEqual(status, 0, stderr)
  return JSON.parse(stdout) as ReadonlyArray<string>
}

describe("frameworks", () => {
  it("are there for development only", () => {
    for (const name of frameworks) assert.property(devDependencies, name)
  })

  it("are seen where they are loaded", () => {
    const loaded = loadedBy(`await import("@langchain/openai")`)
    assert.include(loaded, "@langchain/openai")
    assert.include(loaded, "zod")
  })

  it("are not loaded by any entry of the package", () => {
    assert.isAbove(names.length, 20)
    const imports = names.map((entry) => `await import(${JSON.stringify(`agent-budget${entry.slice(1)}`)})`)
    const loaded = loadedBy(imports.join("\n"))
    assert.include(loaded, "effect")
    for (const name of loaded) {
      assert.notInclude(frameworks, name)
      assert.isFalse(/^(?:ai|langsmith|zod.*|@ai-sdk\/.*|@langchain\/.*|@openai\/.*)$/.test(name), name)
    }
  })
})
