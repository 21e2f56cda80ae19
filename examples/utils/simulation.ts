/**
 * The provider that the examples talk to unless they are told otherwise: the simulated one of the tests, on the
 * loopback interface, with list prices, a little latency, and a bill of its own.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Predicate, Schema } from "effect"
import {
  SimulatedProvider,
  type Behaviour,
  type RecordedRequest
} from "../../test/utils/SimulatedProvider.ts"

/** USD per 1,000,000 tokens, written down here once more: the judge must not read our table. */
const prices = {
  "gpt-4.1": { default: { input: "2", cachedInput: "0.5", output: "8" } },
  "gpt-4o": { default: { input: "2.5", cachedInput: "1.25", output: "10" } },
  "gpt-4o-mini": { default: { input: "0.15", cachedInput: "0.075", output: "0.6" } },
  "house-model": { default: { input: "0.2", output: "0.8" } },
  "gpt-5-mini": { default: { input: "0.25", cachedInput: "0.025", output: "2" } }
}

/** What goes wrong in each row of forty calls: always the same ones. */
const failures: Readonly<Record<number, Behaviour>> = {
  5: { failure: { kind: "status", status: 429, headers: { "retry-after-ms": "50" } } },
  11: { failure: { kind: "status", status: 503, headers: { "retry-after-ms": "50" } } },
  17: { failure: { kind: "cut" } },
  23: { failure: { kind: "status", status: 500, billed: true } },
  31: { failure: { kind: "status", status: 400 } },
  37: { reportUsage: () => undefined }
}

const behaviour = ({ body, index, model }: RecordedRequest): Behaviour => {
  const streams = Predicate.hasProperty(body, "stream") && body.stream === true
  return {
    outputTokens: 500 + ((index * 271) % 1_000),
    tokensPerDelta: 25,
    reasoningTokens: model === "gpt-5-mini" ? 200 : 0,
    cachedTokens: index % 3 === 0 ? 16 : 0,
    delayMs: streams ? 15 : 5,
    ...(streams ? {} : { holdHeaders: () => sleep(350 + ((index * 137) % 450)) }),
    ...failures[index % 40]
  }
}

const plain: Behaviour = { outputTokens: 400, tokensPerDelta: 40 }

/** A provider without surprises: every answer is 400 tokens long, or as long as its cap. */
export const start = (): Promise<SimulatedProvider> =>
  SimulatedProvider.start({ prices, behaviour: () => plain })

/** A model is fed a tool in fewer tokens than its JSON has, and long words in fewer than a quarter of their bytes. */
const countText = (text: string): number => Math.ceil(Buffer.byteLength(text) / 6)

/** The same, for those who send again what it wrote, whose words are long. */
export const startWriter = (): Promise<SimulatedProvider> =>
  SimulatedProvider.start({ prices, countText, behaviour: () => plain })

/** The same, word by word: who leaves a stream early leaves before its end was sent. */
export const startSlow = (): Promise<SimulatedProvider> =>
  SimulatedProvider.start({ prices, behaviour: () => ({ ...plain, delayMs: 20 }) })

/** The same, but the answer to one call, counted from 0, does not come: `reached` is told instead. */
export const startSilentAt = (call: number, reached: () => void): Promise<SimulatedProvider> =>
  SimulatedProvider.start({
    prices,
    behaviour: ({ index }) =>
      index !== call
        ? plain
        : {
            ...plain,
            holdHeaders: () => {
              reached()
              return new Promise(() => undefined)
            }
          }
  })

const Tools = Schema.Struct({
  tools: Schema.Array(
    Schema.Union([
      Schema.Struct({ name: Schema.String }),
      Schema.Struct({ function: Schema.Struct({ name: Schema.String }) })
    ])
  )
})

/** The tools that a request offers, whichever API it is of. */
const toolsOf = (body: unknown): ReadonlyArray<string> =>
  Schema.is(Tools)(body) ? body.tools.map((tool) => ("name" in tool ? tool.name : tool.function.name)) : []

/**
 * A model that asks for tools: of those that a request offers it calls the first that is named here and whose answer
 * the request does not show yet, and says something once it has them all.
 */
export const startWithTools = (calls: Readonly<Record<string, object>>): Promise<SimulatedProvider> =>
  SimulatedProvider.start({
    prices,
    countText,
    behaviour: ({ body }) => {
      const offered = toolsOf(body)
      // What was called is in the request, with its arguments, as the next one repeats it.
      const { tools: _, ...shown } = Predicate.isObject(body) ? { tools: [], ...body } : { tools: [] }
      const name = Object.keys(calls).find(
        (each) => offered.includes(each) && !JSON.stringify(shown).includes(`"${each}"`)
      )
      return name === undefined
        ? { ...plain, outputTokens: 200 }
        : { toolCalls: [{ name, arguments: JSON.stringify(calls[name]) }] }
    }
  })

/** A provider with latency and failures. */
export const startBusy = (): Promise<SimulatedProvider> => SimulatedProvider.start({ prices, behaviour })
