/**
 * What the budget costs a call of the client, as ratios in one run: absolute times on shared machines mean little.
 *
 * The wrapped client is measured against the bare one in CPU time, in interleaved pairs, each with a second bare
 * batch beside it: that control says how much of a ratio is noise.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { BudgetedSession } from "agent-budget"
import OpenAI from "openai"
import { cpu, isQuick, judged, median } from "./measure.ts"

const rounds = isQuick ? 5 : 15
/** Small batches take little time, and differ the more. */
const smallRounds = isQuick ? 5 : 61

const answer = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 0,
  model: "gpt-4o-2024-08-06",
  service_tier: "default",
  choices: [
    {
      index: 0,
      finish_reason: "stop",
      message: { role: "assistant", content: "Fine. ".repeat(40), refusal: null }
    }
  ],
  usage: {
    prompt_tokens: 500,
    completion_tokens: 80,
    total_tokens: 580,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
  }
})

const stub = (): Promise<Response> =>
  Promise.resolve(new Response(answer, { headers: { "content-type": "application/json" } }))

const prose = (bytes: number): string =>
  'The quick brown fox said: "no".\n'.repeat(Math.ceil(bytes / 32)).slice(0, bytes)

interface Scenario {
  readonly rounds: number
  readonly name: string
  readonly bytes: number
  readonly concurrency: number
  readonly calls: number
  /** Batches before the first that counts: the wrapped client has more code to be compiled than the bare one. */
  readonly warmup: number
  readonly mark: number
}

const compare = async (bare: OpenAI, wrapped: OpenAI, scenario: Scenario): Promise<void> => {
  const content = prose(scenario.bytes)
  const batch = (client: OpenAI) => async (): Promise<void> => {
    for (let done = 0; done < scenario.calls; done += scenario.concurrency) {
      await Promise.all(
        Array.from({ length: scenario.concurrency }, () =>
          client.chat.completions.create({
            model: "gpt-4o",
            max_completion_tokens: 100,
            messages: [{ role: "user", content }]
          })
        )
      )
    }
  }
  for (let warm = 0; warm < scenario.warmup; warm++) {
    await batch(bare)()
    await batch(wrapped)()
  }
  const ratios: Array<number> = []
  const controls: Array<number> = []
  const bares: Array<number> = []
  for (let round = 0; round < scenario.rounds; round++) {
    const first = round % 2 === 0 ? await cpu(batch(bare)) : undefined
    const budgeted = await cpu(batch(wrapped))
    const base = first ?? (await cpu(batch(bare)))
    const control = await cpu(batch(bare))
    ratios.push(budgeted / base)
    controls.push(control / base)
    bares.push(base / scenario.calls)
  }
  console.log(
    `  ${scenario.name.padEnd(38)} ${judged(median(ratios), scenario.mark)}  ` +
      `bare over bare ${median(controls).toFixed(2)}; bare ${median(bares).toFixed(0)} us`
  )
}

const scenarios = (small: number, large: number): ReadonlyArray<Scenario> => [
  {
    rounds: smallRounds,
    name: "2 KB prompt, one at a time",
    bytes: 2_000,
    concurrency: 1,
    calls: 1_000,
    warmup: 15,
    mark: small
  },
  {
    rounds: smallRounds,
    name: "2 KB prompt, 1,000 at a time",
    bytes: 2_000,
    concurrency: 1_000,
    calls: 1_000,
    warmup: 15,
    mark: small
  },
  {
    rounds,
    name: "1 MB prompt, one at a time",
    bytes: 1_000_000,
    concurrency: 1,
    calls: 60,
    warmup: 3,
    mark: large
  },
  {
    rounds: 5,
    name: "1 MB prompt, 1,000 at a time",
    bytes: 1_000_000,
    concurrency: 1_000,
    calls: 1_000,
    warmup: 1,
    mark: large
  }
]

const clients = async (
  options: ConstructorParameters<typeof OpenAI>[0],
  use: (bare: OpenAI, wrapped: OpenAI) => Promise<void>
): Promise<void> => {
  await using session = new BudgetedSession({ budgetUsd: 9_000_000 })
  await use(new OpenAI(options), session.wrapOpenAI(new OpenAI(options)))
}

const loopback = async (use: (baseURL: string) => Promise<void>): Promise<void> => {
  // In a process of its own, so that its work is in nobody's figures.
  const server = fork(new URL("./answering.ts", import.meta.url), [answer])
  const [port] = (await once(server, "message")) as [number]
  try {
    await use(`http://127.0.0.1:${port}/v1`)
  } finally {
    server.kill()
  }
}

console.log("wrapped client over bare client, CPU time, median of interleaved pairs, stubbed transport")
await clients({ apiKey: "sk-bench", baseURL: "http://127.0.0.1/v1", fetch: stub }, async (bare, wrapped) => {
  for (const scenario of scenarios(1.35, 2.2)) await compare(bare, wrapped, scenario)
})
console.log("the same over loopback HTTP")
await loopback((baseURL) =>
  clients({ apiKey: "sk-bench", baseURL, maxRetries: 0 }, async (bare, wrapped) => {
    for (const scenario of scenarios(1.15, 1.6)) await compare(bare, wrapped, scenario)
  })
)
