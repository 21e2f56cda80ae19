/**
 * Compares the bundled price table with a list that you have downloaded, and writes what you confirm:
 *
 *     npm run prices -- model_prices_and_context_window.json
 *     npm run prices -- api.json --write
 *     npm run prices -- data.json --write --accept gpt-5.6-sol
 *
 * The list is LiteLLM's, models.dev's or genai-prices'; which one, it finds by itself. Without `--write` it only looks.
 * `--write` writes rises of up to twice; a decrease, a larger rise or a price where there was none is written only for
 * the models that `--accept` names. Exits with 1 while differences are left.
 */
import { readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Pricing from "../src/Pricing.ts"
import { apply, compare, isConfirmed, table as tableOf, type Comparison } from "./prices/compare.ts"
import { parseExactly } from "./prices/decimals.ts"
import { readSource } from "./prices/sources.ts"
import { render, Table, type Row } from "./prices/tableFile.ts"

const usage =
  "usage: npm run prices -- SOURCE.json [--write] [--accept MODEL]... [--date 2026-11-23] [--table FILE.ts]"

/** Says why nothing was done, and ends. */
const stop = (why: string): never => {
  console.error(why)
  process.exit(2)
}

/** A day of the calendar: `Date` takes a 30th of February for a day of March. */
const isDay = (text: string): boolean => {
  const date = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 10) === text
}

const options = (() => {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        write: { type: "boolean", default: false },
        accept: { type: "string", multiple: true, default: [] },
        date: { type: "string", default: new Date().toISOString().slice(0, 10) },
        table: {
          type: "string",
          default: path.join(import.meta.dirname, "..", "src", "internal", "openAiPrices.ts")
        }
      }
    })
    const [file, ...more] = positionals
    if (file === undefined || more.length > 0) return stop(usage)
    if (!isDay(values.date)) return stop(`${values.date} is no day.\n${usage}`)
    return { ...values, file }
  } catch {
    return stop(usage)
  }
})()

const read = (file: string): unknown => {
  try {
    return parseExactly(readFileSync(file, "utf8"))
  } catch (error) {
    return stop(`${file} cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const Module = Schema.Struct({ openAiPrices: Table })

/** Asks `Pricing` whether it would take a row, as one of somebody's own. */
const check = (row: Row): void => {
  const last = <A>(periods: ReadonlyArray<A> | undefined): A | undefined => periods?.at(-1)
  const plain = (tier: keyof Row["tiers"]): Record<string, unknown> => {
    const {
      basis: _basis,
      until: _until,
      ...figures
    } = last(row.tiers[tier]) ?? stop(`${row.id} has no ${tier} price`)
    return figures
  }
  const { standard: _, ...others } = row.tiers
  const tiers = Object.fromEntries(
    (Object.keys(others) as ReadonlyArray<keyof typeof others>).map((tier) => [tier, plain(tier)])
  )
  const override = Schema.decodeUnknownSync(Schema.toType(Schema.toEncoded(Pricing.PriceOverride)))({
    ...plain("standard"),
    tiers
  })
  const made = Effect.runSync(
    Effect.result(Pricing.make({ bundled: false, overrides: { [row.id]: override } }))
  )
  if (Result.isFailure(made)) stop(`Nothing was written. ${made.failure.message}`)
}

const listed = (what: string, names: ReadonlyArray<string>): void => {
  if (names.length > 0) console.log(`\n${what}: ${names.join(", ")}`)
}

const tell = (source: string, found: Comparison, accepted: ReadonlySet<string>): void => {
  console.log(
    `${found.models.length} models of ${source} are in the table; ${found.same} of their prices agree, ` +
      `${found.differences.length} differ.`
  )
  if (found.differences.length > 0) console.log(`\n${tableOf(found.differences, accepted)}`)
  if (found.notes.length > 0) console.log(`\nNot compared:\n  ${found.notes.join("\n  ")}`)
  listed("Not in the list", found.missing)
  listed("Only in the list", found.unknown)
}

const { openAiPrices: table } = Schema.decodeUnknownSync(Module)(
  await import(pathToFileURL(path.resolve(options.table)).href)
)
const source = Result.getOrElse(readSource(read(options.file), options.date), stop)
const accepted = new Set(options.accept)
for (const name of accepted) {
  if (!table.models.some(({ id }) => id === name)) stop(`--accept ${name}: the table has no such model.`)
}
const found = compare(table, source, options.date)
tell(source.name, found, accepted)

const confirmed = options.write ? found.differences.filter((each) => isConfirmed(each, accepted)) : []
if (confirmed.length > 0) {
  const changed = apply(table, confirmed, {
    day: options.date,
    source: source.name,
    agreed: found.agreed
  })
  for (const row of changed.models) if (!table.models.includes(row)) check(row)
  writeFileSync(options.table, render(changed))
  console.log(`\n${confirmed.length} prices were written to ${path.relative(process.cwd(), options.table)}.`)
}
const left = found.differences.length - confirmed.length
if (left > 0) {
  console.log(`\n${left} differences are left.${options.write ? "" : " --write writes what needs no name."}`)
  process.exitCode = 1
}
