/**
 * `npm run prices`: the lists of others are read exactly, and nothing is written into the table that was not confirmed.
 */
import { findProvider } from "@pydantic/genai-prices"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { openAiPrices } from "../src/internal/openAiPrices.ts"
import { apply, compare, isConfirmed, table as tableOf } from "../scripts/prices/compare.ts"
import { decimal, parseExactly, perMillion, perToken } from "../scripts/prices/decimals.ts"
import { readSource, type Source } from "../scripts/prices/sources.ts"
import { render, Table } from "../scripts/prices/tableFile.ts"

const root = path.resolve(import.meta.dirname, "..")
const tableFile = path.join(root, "src/internal/openAiPrices.ts")
const bundled = Schema.decodeUnknownSync(Table)(openAiPrices)
const day = "2026-11-23"

/** Numbers as they are written: `1.75e-06` must not come through a float. */
const lists = {
  liteLlm: `{
    "sample_spec": { "litellm_provider": "one of ...", "mode": "chat", "input_cost_per_token": 0.0 },
    "gpt-5.2": {
      "litellm_provider": "openai", "mode": "chat",
      "input_cost_per_token": 1.75e-06, "output_cost_per_token": 1.4e-05, "cache_read_input_token_cost": 1.75e-07,
      "input_cost_per_token_priority": 3.5e-06, "output_cost_per_token_priority": 2.8e-05,
      "input_cost_per_token_batches": 8.75e-07
    },
    "gpt-5.4": {
      "litellm_provider": "openai", "mode": "responses",
      "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1.5e-05,
      "input_cost_per_token_above_272k_tokens": 5e-06, "output_cost_per_token_above_272k_tokens": 2.25e-05
    },
    "openai/gpt-4o": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05 },
    "gpt-4o-mini": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.4e-07, "output_cost_per_token": 6e-07 },
    "gpt-4.1": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 4.000001e-06 },
    "gpt-4.1-mini": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 4.00000000000001e-07 },
    "azure/gpt-4o": { "litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1 },
    "dall-e-3": { "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1 },
    "gpt-99": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06 }
  }`,
  modelsDev: `{
    "anthropic": { "models": { "claude": { "cost": { "input": 3, "output": 15 } } } },
    "openai": { "id": "openai", "models": {
      "gpt-5.2": { "id": "gpt-5.2", "cost": { "input": 1.75, "output": 14, "cache_read": 0.175 } },
      "gpt-5.4": { "cost": { "input": 2.5, "output": 16, "tiers": [
        { "input": 5, "output": 22.5, "tier": { "type": "context", "size": 272000 } } ],
        "context_over_200k": { "input": 5, "output": 22.5 } } },
      "gpt-4o": { "cost": { "input": 2.5, "output": 10, "cache_read": 1.25 } },
      "gpt-oss": {}
    } }
  }`,
  genAi: `[
    { "id": "anthropic", "models": [] },
    { "id": "openai", "models": [
      { "id": "gpt-5-4", "match": { "or": [{ "equals": "gpt-5.4" }, { "starts_with": "gpt-4o" }] },
        "prices": { "input_mtok": { "base": 2.5, "tiers": [{ "start": 271999, "price": 5.5 }] }, "output_mtok": 15 } },
      { "id": "gpt-5.2", "match": { "equals": "gpt-5.2" }, "prices": [
        { "prices": { "input_mtok": 1, "output_mtok": 10 } },
        { "constraint": { "start_date": "2026-06-01" }, "prices": { "input_mtok": 1.75, "output_mtok": 14 } },
        { "constraint": { "start_date": "2027-01-01" }, "prices": { "input_mtok": 9, "output_mtok": 9 } } ] },
      { "id": "o3", "match": { "equals": "o3" }, "prices": [
        { "prices": { "input_mtok": 1, "output_mtok": 1 } },
        { "constraint": { "start_time": "10:00:00Z", "end_time": "12:00:00Z" }, "prices": { "input_mtok": 2 } } ] }
    ] }
  ]`
}

const read = (text: string): Source => Result.getOrThrow(readSource(parseExactly(text), day))

const differences = (source: Source): ReadonlyArray<string> =>
  compare(bundled, source, day).differences.map(
    ({ figure, isLong, isSmallRise, model, ours, theirs, tier }) =>
      `${model} ${tier} ${isLong ? "long " : ""}${figure}: ${String(ours)} ${theirs} ${isSmallRise ? "rise" : "named"}`
  )

describe("the numbers of a list", () => {
  it("are taken as they are written, with no float in between", () => {
    assert.deepStrictEqual(parseExactly('{ "a": [1.75e-06, 0.1], "b": "1", "c": true }'), {
      a: ["1.75e-06", "0.1"],
      b: "1",
      c: true
    })
    assert.strictEqual(perToken("1.75e-06"), 1_750_000n)
    assert.strictEqual(perToken("0.00000175"), 1_750_000n)
    assert.strictEqual(perMillion("0.0025"), 2_500n)
    // As a float it would be 0.30000000000000004 times a million.
    assert.strictEqual(perMillion("0.300000"), 300_000n)
    assert.strictEqual(decimal(2_500n), "0.0025")
    assert.strictEqual(decimal(10_000_000n), "10")
  })

  it("that are finer than a pico-dollar, or none, are no price", () => {
    for (const text of ["1.7500001e-12", "-1", "NaN", "", "1e999", "0x10"]) {
      assert.isUndefined(perToken(text), text)
    }
  })
})

describe("a list", () => {
  it("of LiteLLM is read with its tiers and its long context, and its other providers are left out", () => {
    const source = read(lists.liteLlm)
    assert.strictEqual(source.name, "LiteLLM's price file")
    // $2.50 -> $3 is a small rise; $0.15 -> $0.14 and $2 -> $4.000001 are not.
    assert.deepStrictEqual(differences(source), [
      "gpt-4.1 standard input: 2000000 4000001 named",
      "gpt-4o standard input: 2500000 3000000 rise",
      "gpt-4o-mini standard input: 150000 140000 named"
    ])
    assert.deepStrictEqual(
      source.unreadable.map((it) => it.split(":")[0]),
      ["gpt-4.1-mini"]
    )
    assert.deepStrictEqual(compare(bundled, source, day).unknown, ["gpt-99"])
  })

  it("of models.dev is read with its tiers of long context", () => {
    const source = read(lists.modelsDev)
    assert.strictEqual(source.name, "models.dev")
    assert.deepStrictEqual(differences(source), ["gpt-5.4 standard output: 15000000 16000000 rise"])
    assert.strictEqual(compare(bundled, source, day).same, 3 + 1 + 2 + 3)
  })

  it("of genai-prices is read by exact names, on the day, with thresholds that count from the next token", () => {
    const source = read(lists.genAi)
    assert.strictEqual(source.name, "genai-prices")
    assert.deepStrictEqual(differences(source), ["gpt-5.4 standard long input: 5000000 5500000 rise"])
    assert.deepStrictEqual(compare(bundled, source, day).models, ["gpt-5.4", "gpt-5.2"])
    assert.deepStrictEqual(source.unreadable, ["o3: its prices depend on more than the day"])
  })

  it("of genai-prices as it is published differs in what docs/prices.md says, and nowhere else", () => {
    const provider = findProvider({ providerId: "openai" })
    const found = compare(bundled, read(JSON.stringify([provider])), day)
    assert.deepStrictEqual([...new Set(found.differences.map(({ model }) => model))].sort(), [
      "gpt-4o-mini-search-preview",
      "gpt-5.6-sol"
    ])
    assert.isAbove(found.same, 150)
  })

  it("of another shape is refused, by the names of those that are known", () => {
    for (const text of ["{}", "[]", '{ "models": [] }', '[{ "id": 1 }]', '{ "a": { "mode": "chat" } }']) {
      const refused = readSource(parseExactly(text), day)
      assert.include(Result.isFailure(refused) ? refused.failure : "read", "LiteLLM's")
    }
  })
})

describe("the table file", () => {
  it("is written again byte for byte as it is", () => {
    assert.strictEqual(render(bundled), fs.readFileSync(tableFile, "utf8"))
  })

  it("changes in the rows that were confirmed, which say where that is from, and in nothing else", () => {
    const found = compare(bundled, read(lists.liteLlm), day)
    const named = new Set(["gpt-4o-mini"])
    const changes = found.differences.filter((each) => isConfirmed(each, named))
    assert.deepStrictEqual(
      changes.map(({ model }) => model),
      ["gpt-4o", "gpt-4o-mini"]
    )
    const before = render(bundled).split("\n")
    const { agreed } = found
    const after = render(apply(bundled, changes, { day: "2026-12-01", source: "a list", agreed })).split("\n")
    const added = after.filter((line) => !before.includes(line)).join("\n")
    assert.include(added, '"a list, as read on 2026-12-01"')
    assert.include(added, 'input: "3"')
    assert.include(added, 'input: "0.14"')
    assert.include(added, 'basis: "secondary source"')
    // A source, and of each model the line of its standard price: of its other prices the list says nothing.
    assert.strictEqual(added.split("\n").length, 3)
    assert.strictEqual(after.length, before.length + 1)
  })

  describe("dates a row that changed", () => {
    // gpt-4o-mini as it is in the table, but for a small rise of its standard input.
    const whole = {
      litellm_provider: "openai",
      mode: "chat",
      input_cost_per_token: 1.6e-7,
      cache_read_input_token_cost: 7.5e-8,
      output_cost_per_token: 6e-7,
      input_cost_per_token_batches: 7.5e-8,
      output_cost_per_token_batches: 3e-7,
      input_cost_per_token_priority: 2.5e-7,
      cache_read_input_token_cost_priority: 1.25e-7,
      output_cost_per_token_priority: 1e-6
    }
    const { output_cost_per_token_batches: _batch, ...unmentioned } = whole
    const later = { input: "0.15", output: "0.6" }
    const tableWith = (more: ReadonlyArray<Record<string, string>>): Table => ({
      ...bundled,
      models: bundled.models.map((row) =>
        row.id === "gpt-4o-mini"
          ? {
              ...row,
              tiers: {
                ...row.tiers,
                standard: [
                  ...(row.tiers.standard ?? []).map((it) =>
                    more.length === 0 ? it : { ...it, until: "2027-01-01" }
                  ),
                  ...more.map((it) => ({ ...later, ...it }))
                ]
              }
            }
          : row
      )
    })
    for (const [name, list, more, isDated] of [
      ["where each of its prices is known", whole, [], true],
      ["not where one is not in the list", unmentioned, [], false],
      ["not where one is contested", { ...whole, output_cost_per_token_priority: 5e-7 }, [], false],
      ["not where one begins later", whole, [later], false]
    ] as const) {
      it(name, () => {
        const from = tableWith(more)
        const found = compare(from, read(JSON.stringify({ "gpt-4o-mini": list })), day)
        const changes = found.differences.filter((each) => isConfirmed(each, new Set()))
        assert.deepStrictEqual(
          changes.map(({ figure, tier }) => [tier, figure]),
          [["standard", "input"]]
        )
        const { agreed } = found
        const after = apply(from, changes, { day: "2026-12-01", source: "a list", agreed })
        const asOf = after.models.find(({ id }) => id === "gpt-4o-mini")?.asOf
        assert.strictEqual(asOf, isDated ? "2026-12-01" : "2026-09-13")
      })
    }
  })

  it("names in its report what has to be named", () => {
    const { differences: found } = compare(bundled, read(lists.liteLlm), day)
    const lines = tableOf(found, new Set(["gpt-4.1"]))
      .split("\n")
      .map((line) => line.replace(/ +/g, " "))
    assert.deepStrictEqual(lines.slice(1), [
      "gpt-4.1 standard input $2 $4.000001 +100.0 %",
      "gpt-4o standard input $2.5 $3 +20.0 %",
      "gpt-4o-mini standard input $0.15 $0.14 -6.6 % needs --accept gpt-4o-mini"
    ])
  })
})

describe("npm run prices", () => {
  const prices = (folder: string, ...args: ReadonlyArray<string>) => {
    const { status, stderr, stdout } = spawnSync(
      process.execPath,
      [
        "--conditions=agent-budget-source",
        "scripts/prices.ts",
        ...args,
        ...(args.includes("--date") ? [] : ["--date", day]),
        "--table",
        path.join(folder, "table.ts")
      ],
      { cwd: root, encoding: "utf8" }
    )
    return { status, stderr, stdout }
  }

  const inFolder = (use: (folder: string, list: string, text: () => string) => void): void => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "prices-"))
    try {
      const table = path.join(folder, "table.ts")
      fs.copyFileSync(tableFile, table)
      fs.writeFileSync(path.join(folder, "list.json"), lists.liteLlm)
      use(folder, path.join(folder, "list.json"), () => fs.readFileSync(table, "utf8"))
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  }

  it("only looks, until it is told to write; and then writes only what needs no name, or was named", () =>
    inFolder((folder, list, text) => {
      const looked = prices(folder, list)
      assert.strictEqual(looked.status, 1, looked.stderr)
      assert.include(looked.stdout, "3 differences are left. --write")
      assert.strictEqual(text(), render(bundled))

      const rises = prices(folder, list, "--write")
      assert.include(rises.stdout, "1 prices were written")
      assert.include(rises.stdout, "2 differences are left.")
      assert.notInclude(text(), '"0.14"')
      assert.notInclude(text(), '"4.000001"')

      const named = prices(folder, list, "--write", "--accept", "gpt-4o-mini", "--accept", "gpt-4.1")
      assert.strictEqual(named.status, 0, named.stderr)
      assert.include(text(), '"0.14"')
      assert.include(text(), '"4.000001"')
      assert.include(prices(folder, list).stdout, "0 differ.")
    }))

  it("writes nothing that Pricing would not take", () =>
    inFolder((folder, list, text) => {
      const dear = lists.liteLlm.replace(
        '"cache_read_input_token_cost": 1.75e-07',
        '"cache_read_input_token_cost": 2e-06'
      )
      fs.writeFileSync(list, dear)
      const { status, stderr } = prices(folder, list, "--write", "--accept", "gpt-5.2")
      assert.strictEqual(status, 2)
      assert.include(stderr, "cachedInput is above input")
      assert.strictEqual(text(), render(bundled))
    }))

  it("says how it is used, and what it cannot read", () =>
    inFolder((folder, list) => {
      assert.include(prices(folder).stderr, "usage: npm run prices -- SOURCE.json")
      for (const date of ["2026-02-30", "2026-13-01", "2026-00-10", "2026-1-1", "soon", ""]) {
        const { status, stderr } = prices(folder, list, "--date", date)
        assert.strictEqual(status, 2, date)
        assert.include(stderr, "is no day")
      }
      assert.strictEqual(prices(folder, list, "--date", "2028-02-29").status, 1)
      assert.include(prices(folder, list, "--accept", "gpt-99").stderr, "the table has no such model")
      fs.writeFileSync(list, "{")
      assert.include(prices(folder, list).stderr, "cannot be read as JSON")
      fs.writeFileSync(list, "{}")
      const none = prices(folder, list)
      assert.strictEqual(none.status, 2)
      assert.include(none.stderr, "none of the lists that are known")
    }))
})
