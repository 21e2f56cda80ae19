/**
 * Measures the bounds of quotes against recorded traffic:
 *
 *     npm run bounds -- <exchanges.jsonl> [--write docs/bounds.md] [--rows]
 *
 * Each line of the file is an exchange as `scripts/corpus.ts` says. Prints what was billed above its quote (there
 * must be nothing), and how far above the bill the quotes are, by family of models and kind of request. `--rows`
 * names the exchanges with the least room. Exits with 1 where a bill is above its quote.
 */
import { writeFileSync } from "node:fs"
import { Effect } from "effect"
import { Pricing, TokenCounter } from "agent-budget"
import { type Exchange, readExchanges } from "./corpus.ts"
import { examine, excluded, type Finding, kinds, recordsOf } from "./examineQuote.ts"

const args = process.argv.slice(2)
const flag = args.indexOf("--write")
const target = flag === -1 ? undefined : args[flag + 1]
const files = args.filter((each, index) => !each.startsWith("--") && (flag === -1 || index !== flag + 1))
if (files.length === 0) {
  console.error("Say which file holds the exchanges: npm run bounds -- <exchanges.jsonl>")
  process.exit(1)
}

const findings = await Effect.runPromise(
  Effect.gen(function* () {
    const pricing = yield* Pricing.Pricing
    const counter = yield* TokenCounter.TokenCounter
    const all: Array<Finding & { readonly exchange: Exchange }> = []
    const exchanges = files.flatMap(readExchanges)
    const previous = recordsOf(pricing, exchanges)
    for (const exchange of exchanges) {
      all.push({ exchange, ...(yield* examine(pricing, counter, exchange, previous)) })
    }
    return all
  }).pipe(Effect.provide([Pricing.layer, TokenCounter.layer]))
)

type Quoted = Extract<Finding, { readonly _tag: "Quoted" }> & { readonly exchange: Exchange }
const priced = findings.filter((each) => each._tag !== "Unpriced")
const quoted = priced.filter((each): each is Quoted => each._tag === "Quoted")
const lines: Array<string> = []
const say = (line = ""): void => void lines.push(line)

const at = (sorted: ReadonlyArray<number>, share: number): string =>
  (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN).toFixed(2)

const table = (title: string, groups: ReadonlyMap<string, ReadonlyArray<Quoted>>): void => {
  say(`| ${title} | rows | bytes: median | counted: least | median | 95th of 100 | most |`)
  say("| --- | --- | --- | --- | --- | --- | --- |")
  for (const [name, rows] of [...groups].sort(([a], [b]) => a.localeCompare(b))) {
    const counted = rows.map((each) => each.counted / each.billed).sort((a, b) => a - b)
    const bytes = rows.map((each) => each.bytes / each.billed).sort((a, b) => a - b)
    say(
      `| ${name} | ${rows.length} | ${at(bytes, 0.5)} | ${at(counted, 0)} | ${at(counted, 0.5)} | ${at(counted, 0.95)} | ${at(counted, 1)} |`
    )
  }
  say()
}

const grouped = (rows: ReadonlyArray<Quoted>, name: (each: Quoted) => string) => Map.groupBy(rows, name)

say("# How tight the quotes are")
say()
say(
  "Written by `npm run bounds`, which measures recorded exchanges with OpenAI's API against what the quotes would have held for them. A figure is the most input that a quote allows, over the input that was billed: below 1.00 a quote would be no bound."
)
say()
const faulty = quoted.filter((each) => each.faults.length > 0)
say(
  `${priced.length} exchanges with priced endpoints; ${quoted.length} quoted, ${priced.length - quoted.length} refused or left out by a rule below. Billed above their quotes, in input tokens on either rung, in output tokens, or in dollars at the standard tier of the model that was asked for: **${faulty.length}**.`
)
for (const { exchange, faults } of faulty) say(`- ${exchange.id}: ${faults.join("; ")} (${exchange.source})`)
say()
const shareOf = (count: number): string => ((100 * count) / priced.length).toFixed(1)
const deployed = quoted.filter((each) => each.deployed).length
say(
  `That is ${shareOf(quoted.length)} % of them. ${deployed} came from Azure under the name of a deployment, and were quoted as deployments of the models that answered.`
)
say()
say("## Counted input, more than 200 tokens billed")
say()
const large = quoted.filter((each) => each.billed > 200 && each.rung === "counted")
table(
  "what the request holds",
  grouped(large, (each) => each.kind)
)
say(
  `The kinds: ${Object.entries(kinds)
    .map(([kind, about]) => `${kind}, ${about}`)
    .join("; ")}.`
)
say()
say("## The same by family")
say()
table(
  "family, kind",
  grouped(large, (each) => `${each.family}, ${each.kind}`)
)
say("## Requests of any size, by family")
say()
table(
  "family",
  grouped(
    quoted.filter((each) => each.rung === "counted"),
    (each) => each.family
  )
)
say("## Not counted")
say()
say(
  "Input that is not shown (files, responses before the recording) holds the whole context window; audio, and models whose encoding nobody has confirmed, hold their bytes."
)
say()
const others = quoted.filter((each) => each.rung !== "counted")
const limited = quoted.filter((each) => each.limited).length
say(
  `Of these, ${limited} have tools that the provider runs and no \`max_tool_calls\`, without which they are refused: they were measured with the number of calls that were made, and with the fees for those. They hold a window for each pass.`
)
say()
say("| bounded by | rows | median | most |")
say("| --- | --- | --- | --- |")
for (const [rung, rows] of Map.groupBy(others, (each) => each.rung)) {
  const sorted = rows.map((each) => each.counted / each.billed).sort((a, b) => a - b)
  say(`| ${rung} | ${rows.length} | ${at(sorted, 0.5)} | ${at(sorted, 1)} |`)
}
say()
say("## Refused or left out, by rule")
say()
say("| rows | rule |")
say("| --- | --- |")
const rules = Map.groupBy(
  priced.filter((each) => each._tag === "Refused"),
  (each) => each.rule
)
for (const [rule, rows] of [...rules].sort(([, a], [, b]) => b.length - a.length))
  say(`| ${rows.length} | ${rule} |`)
say()
say(`Left out by name: ${excluded}`)

if (args.includes("--rows")) {
  say()
  const tight = quoted
    .filter((each) => each.rung === "counted" && each.kind !== "text")
    .sort((a, b) => a.counted - a.billed - (b.counted - b.billed))
  for (const { billed, counted, exchange, family, kind } of tight.slice(0, 40)) {
    say(
      `${counted - billed} left of ${counted}: ${family}, ${kind}, ${exchange.path}, ${exchange.id} ${exchange.source}`
    )
  }
}
const text = `${lines.join("\n")}\n`
if (target === undefined) console.log(text)
else writeFileSync(target, text)
if (faulty.length > 0) process.exitCode = 1
