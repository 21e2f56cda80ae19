/**
 * The examples run as programs of their own, end well and say what they promise.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import { Budget, Usd } from "agent-budget"
import { Effect } from "effect"
import * as Promises from "../examples/utils/promises.ts"

const root = path.resolve(import.meta.dirname, "..")

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs an example as `npm start` does, with nothing of the caller's environment: no key, no proxy. */
const run = (file: string, ...args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        "--conditions=agent-budget-source",
        `examples/${file}`,
        ...args
      ],
      {
        cwd: root,
        stdio: ["ignore", "pipe", "pipe"],
        timeout: 60_000,
        killSignal: "SIGKILL",
        env: { PATH: process.env["PATH"] ?? "", NO_COLOR: "1" }
      }
    )
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()))
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, out: stripVTControlCharacters(out), err }))
  })

/** The amount at the end of the line that begins with `label`, in nano-dollars. */
const amount = (out: string, label: string): bigint => {
  const line = out.split("\n").find((each) => each.trimStart().startsWith(label))
  const match = /\$(\d+)\.(\d{9})$/.exec(line ?? "")
  assert.isNotNull(match, `${label} in:\n${out}`)
  return BigInt((match[1] ?? "") + (match[2] ?? ""))
}

/** The lines of the table whose first cell is `head`, without their indent. */
const table = (out: string, head: string): ReadonlyArray<string> => {
  const lines = out.split("\n")
  const from = lines.findIndex((line) => line.startsWith(`  ${head}`))
  assert.isAtLeast(from, 0, `a table of ${head} in:\n${out}`)
  const length = lines.slice(from).findIndex((line) => line === "")
  return lines.slice(from + 1, from + length).map((line) => line.trim())
}

/** What an example printed from its last `The books:` on. */
const booksIn = (out: string): string => out.slice(out.lastIndexOf("The books:"))

const spentIn = (books: string): string | undefined => /^ {2}root +(\$[\d.]+)/m.exec(books)?.[1]
const billIn = (books: string): string | undefined => /^The provider's bill: (\$[\d.]+)$/m.exec(books)?.[1]
const nanosOf = (amount: string | undefined): number => Math.round(Number(amount?.slice(1)) * 1e9)

describe("npm start", () => {
  it("spends a dollar on dozens of agents, and the bill, the books and the budget are in that order", async () => {
    const { code, err, out } = await run("01-swarm.ts")
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0, out)
    const closing = out.trimEnd().split("\n").slice(-4)
    assert.deepStrictEqual(
      closing.map((line) => line.slice(0, 8)),
      ["kept    ", "kept    ", "kept    ", "kept    "]
    )
    const bill = amount(out, "the provider's bill")
    const books = amount(out, "our books")
    const peak = amount(out, "peak of spent + reserved")
    assert.strictEqual(amount(out, "the budget"), 1_000_000_000n)
    assert.isTrue(0n < bill && bill <= books && books <= peak && peak <= 1_000_000_000n, out)
    assert.strictEqual(amount(out, "metered") + amount(out, "assumed"), books)
  }, 60_000)

  it("says who spent it and what was refused, with exact sums", async () => {
    const { out } = await run("01-swarm.ts", "--budget", "0.2")
    const cells = (line: string): bigint => BigInt((/(\d+\.\d{9})$/.exec(line)?.[1] ?? "").replace(".", ""))
    const models = table(out, "model ")
    assert.isAtLeast(models.length, 3)
    assert.strictEqual(
      models.map(cells).reduce((sum, each) => sum + each, 0n),
      amount(out, "our books")
    )
    const accounts = table(out, "account ")
    assert.deepStrictEqual(
      accounts.map((line) => line.split(" ")[0]),
      ["root", "root/research", "root/support"]
    )
    const refusals = table(out, "refused, ")
    for (const why of ["BudgetExceeded on root", "UnknownModel", "UnsupportedEndpoint"]) {
      assert.isTrue(
        refusals.some((line) => line.startsWith(why)),
        `${why} in:\n${out}`
      )
    }
    // Not a terminal: a line for each quarter of the budget, and none that is drawn over.
    assert.isAtMost(out.split("\n").filter((line) => line.startsWith("[")).length, 5)
    assert.notInclude(out, "\r")
  }, 60_000)

  it("explains itself, and asks for the key before it calls the real API", async () => {
    const help = await run("01-swarm.ts", "--help")
    assert.strictEqual(help.code, 0)
    assert.include(help.out, "--live")
    const keyless = await run("01-swarm.ts", "--live")
    assert.strictEqual(keyless.code, 2)
    assert.include(keyless.err, "set OPENAI_API_KEY")
    const nonsense = await run("01-swarm.ts", "--budget", "much")
    assert.strictEqual(nonsense.code, 2)
    assert.include(nonsense.err, "--budget takes dollars")
    assert.strictEqual((await run("01-swarm.ts", "--nonsense")).code, 2)
  }, 60_000)

  it.effect("a broken promise is told from a kept one", () =>
    Effect.gen(function* () {
      const empty = yield* Budget.summary
      const summary = { ...empty, spent: Usd.dollars("0.9") }
      const broken = (run: Partial<Parameters<typeof Promises.check>[0]>): ReadonlyArray<string> =>
        Promises.check({ summary, peak: Usd.dollars("1"), bill: Usd.dollars("0.9"), ...run })
          .filter(([, kept]) => !kept)
          .map(([promise]) => promise)
      assert.deepStrictEqual(broken({}), [])
      const told = Promises.check({ summary, peak: Usd.zero, bill: Usd.zero })
      const untold = Promises.check({ summary, peak: Usd.zero, bill: undefined })
      assert.deepStrictEqual(untold, told.slice(1))
      assert.deepStrictEqual(broken({ bill: Usd.nanos(900_000_001) }), ["the bill is at most our books"])
      assert.deepStrictEqual(broken({ peak: Usd.nanos(1_000_000_001) }), [
        "spent + reserved never passed the budget"
      ])
      assert.deepStrictEqual(broken({ summary: { ...summary, spent: Usd.nanos(1_000_000_001) } }), [
        "our books are at most the budget"
      ])
      assert.deepStrictEqual(broken({ summary: { ...summary, reserved: Usd.nanos(1) } }), [
        "nothing is left reserved"
      ])
    }).pipe(Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") })))
  )
})

describe("the other examples", () => {
  it("the quick start ends in a refusal, with the provider's bill equal to the books", async () => {
    const { code, err, out } = await run("02-quick-start.ts")
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0)
    assert.include(out, "Nothing was sent.")
    // 16 input tokens at $2.50 and 400 output tokens at $10 per 1M are $0.00404 a call; a fifth would not fit.
    assert.include(out, "4 calls for $0.01616, 1 refused")
    const books = booksIn(out)
    assert.strictEqual(spentIn(books), "$0.01616")
    assert.strictEqual(billIn(books), "$0.01616")
    assert.include(books, "4 calls charged, 1 refused\n")
  })

  it("the Effect agents keep to their own limits, and to the bill", async () => {
    const { code, err, out } = await run("03-effect-agents.ts")
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0)
    assert.include(out, "rivers: stopped at $0.005 on root/rivers")
    const spent = /^(\$[\d.]+) of \$0\.10 spent/m.exec(out)?.[1]
    assert.isDefined(spent)
    const books = booksIn(out)
    assert.strictEqual(spentIn(books), spent)
    // Three searches at $0.004 are billed by nobody.
    assert.strictEqual(nanosOf(spent), nanosOf(billIn(books)) + 12_000_000)
  })

  it("books in a file survive an agent that is killed in the middle of a call", async () => {
    const { code, err, out } = await run("05-durable.ts")
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0, out)
    // Three calls of $0.00404. The fourth holds 36 input tokens, by its quote, at $2.50 and 500 of output at $10 per 1M.
    assert.include(out, "first agent, call 3: spent $0.01212")
    assert.include(out, "is gone (SIGKILL)")
    assert.include(out, "$0.01212 spent, $0.00509 still held")
    assert.include(out, "charged whole, $0.00509")
    // $0.01721 so far; two more fit into three cents, with the rest below what a call can cost.
    assert.include(out, "second agent, call 2: spent $0.02529")
    assert.include(out, "$0.00471 of $0.03 is left")
    assert.include(out, "\nWhat an audit finds wrong with them: nothing\n")
    assert.match(out, /the provider's bill: \$0\.02424\n$/)
  })

  it("the quotes say what each request would cost at most, why, and which of them fit", async () => {
    const { code, err, out } = await run("04-quotes.ts")
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0)
    const books = booksIn(out)
    assert.strictEqual(
      books,
      "The books:\n  root                 $0.00 of $0.10\n  0 calls charged, 0 refused\nThe provider's bill: $0.00\n"
    )
    const quotes = out.slice(0, -books.length)
    const heads = quotes.split("\n").filter((line) => line !== "" && !line.startsWith(" "))
    assert.deepStrictEqual(
      heads.map((line) => line.split("; ")[1]),
      ["it fits", "it does not fit", "it does not fit", "it fits", "it does not fit"]
    )
    // 5,706 tokens at $0.15 and 500 at $0.60 per 1M are $0.0011559.
    assert.include(out, "letters: at most $0.0011559; it fits")
    assert.include(out, "cache write, dearer than input, long context from 272,000 tokens")
    assert.include(out, "cache write, dearer than input, tier priority")
    // Two windows of 400,000 at $0.25 per 1M, 500 at $2, ten searches at a cent.
    assert.include(out, "a search of the web: at most $0.301; it does not fit")
    assert.include(out, "10 searches of the web, in one call of a tool, at $0.01 each: fee of a hosted tool")
  })

  /** An example that ends well, with what it printed, its books. */
  const ends = async (file: string): Promise<{ readonly out: string; readonly books: string }> => {
    const { code, err, out } = await run(file)
    assert.strictEqual(err, "")
    assert.strictEqual(code, 0, out)
    return { out, books: booksIn(out) }
  }

  it("a stream costs what it reports, its whole reservation when it is left, and the truth when it drains", async () => {
    const { out } = await ends("06-streaming.ts")
    const [whole = "", left = "", drained = ""] = out.split("The books:").slice(1)
    // 11 input tokens at $2.50 and 400 output tokens at $10 per 1M; 500 output tokens at most.
    assert.strictEqual(spentIn(`\n${whole}`), "$0.0040275")
    assert.strictEqual(billIn(whole), "$0.0040275")
    assert.strictEqual(spentIn(`\n${left}`), "$0.0050825")
    assert.include(left, "$0.0050825 assumed")
    assert.isBelow(Number(billIn(left)?.slice(1)), 0.004)
    assert.strictEqual(spentIn(`\n${drained}`), "$0.0040275")
    assert.strictEqual(billIn(drained), "$0.0040275")
  })

  it("a team is stopped by the limits of its members, and by its own", async () => {
    const { books, out } = await ends("07-team.ts")
    assert.include(out, "editor: stopped by the limit of root/writing/editor\n")
    assert.include(out, "reviewer: stopped by the limit of root/writing\n")
    assert.include(out, "librarian: done\n")
    assert.strictEqual(spentIn(books), billIn(books))
    assert.include(books, "7 calls charged, 2 refused")
  })

  it("eight agents wait for room and are all answered, three at a time", async () => {
    const { books, out } = await ends("08-waiting.ts")
    assert.strictEqual(out.split("\n").filter((line) => line.includes(": answered")).length, 8)
    // A call holds $0.0101 of $0.04 at most.
    assert.include(out, "at most 3 of them at a time")
    assert.include(out, "It can never fit")
    assert.strictEqual(spentIn(books), "$0.03228")
    assert.strictEqual(billIn(books), "$0.03228")
  })

  it("thresholds are told, a pause stops the agent, and a person lets it go on", async () => {
    const { books, out } = await ends("09-thresholds.ts")
    const places = ["50 %:", "80 %:", "the agent: ", "a person:", "the agent: "].map((text) =>
      out.indexOf(text)
    )
    assert.deepStrictEqual(
      places.slice(0, 4),
      [...places.slice(0, 4)].sort((a, b) => a - b)
    )
    assert.isAtLeast(places[0] ?? -1, 0)
    assert.include(out, "is paused and admits nothing")
    assert.strictEqual(spentIn(books), billIn(books))
    assert.include(books, "of $0.05\n")
  })

  it("a model without a price is refused, and billed by a price of one's own", async () => {
    const { books, out } = await ends("10-custom-prices.ts")
    assert.include(out, 'Model "house-model" has no price')
    // 12 tokens at $0.20 and 400 at $0.80 per 1M.
    assert.include(out, "billed $0.0003224\n")
    assert.include(out, "unverified: []")
    assert.strictEqual(spentIn(books), billIn(books))
  })

  it("a server gives each of its users a budget, and a 402 to whoever has used it up", async () => {
    const { books, out } = await ends("11-http-server.ts")
    const lines = out.split("\n")
    assert.deepStrictEqual(lines.slice(0, 3), ["ann: 200", "ann: 200", "ann: 200"])
    assert.match(lines[3] ?? "", /^ann: 402 .*"account":"root\/ann"/)
    assert.strictEqual(lines[4], "bob: 200")
    assert.match(lines[5] ?? "", /^\.\.\/root: 400/)
    assert.strictEqual(spentIn(books), billIn(books))
    assert.match(books, /root\/ann +\$0\.009075 of \$0\.01/)
  })

  it("a collector is sent a span of each call and the metrics, and no word of what was said", async () => {
    const { books, out } = await ends("12-telemetry.ts")
    assert.strictEqual(out.split("\n").filter((line) => line === "chat gpt-4o").length, 3)
    assert.deepStrictEqual(
      [...out.matchAll(/agent_budget\.verdict: (\w+)/g)].map((match) => match[1]),
      ["metered", "metered", "refused"]
    )
    assert.include(out, "gen_ai.client.token.usage (output): 2 times, in sum 800 {token}")
    assert.include(out, "agent_budget.spent: a sum, in sum 8065000 {nano-USD}")
    assert.notInclude(out, "no span")
    assert.strictEqual(spentIn(books), "$0.008065")
    assert.strictEqual(billIn(books), "$0.008065")
  })

  it("an agent of effect/ai is stopped by the budget that it shares with clients of Promises", async () => {
    const { books, out } = await ends("13-effect-ai.ts")
    assert.include(out, "question 1: 2 turns\n")
    assert.include(out, "refused: 1, and never tried again")
    assert.include(books, "6 calls charged, 1 refused")
    assert.strictEqual(spentIn(books), billIn(books))
  })

  it("an agent of the AI SDK is stopped by its budget, which it does not try again", async () => {
    const { books, out } = await ends("14-ai-sdk.ts")
    assert.include(out, "question 1: 2 steps, with tide\n")
    assert.include(out, "refused: 1, and never tried again")
    assert.include(books, "6 calls charged, 1 refused")
    assert.strictEqual(spentIn(books), billIn(books))
  })

  it("agents that hand off to each other are stopped by one budget, which they do not try again", async () => {
    const { books, out } = await ends("15-agents-sdk.ts")
    assert.include(out, "question 1: answered by Pilot, 2 calls\n")
    assert.include(out, "refused: 1, and never tried again")
    assert.include(books, "6 calls charged, 1 refused")
    assert.strictEqual(spentIn(books), billIn(books))
  })

  it("an agent on LangChain is stopped by its budget, which it does not try again", async () => {
    const { books, out } = await ends("16-langchain.ts")
    assert.include(out, "question 1: 2 calls\n")
    assert.include(out, "refused: 1, and never tried again")
    assert.include(books, "6 calls charged, 1 refused")
    assert.strictEqual(spentIn(books), billIn(books))
  })
})
