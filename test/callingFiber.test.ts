/** Who calls, and what that decides: the account that is charged, and whether it may wait. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  type BudgetError,
  BudgetedFetch,
  BudgetedOpenAi,
  BudgetedSession,
  Pricing,
  Usd
} from "agent-budget"
import { Effect, Layer, Stream } from "effect"
import OpenAI from "openai"
import { setTimeout as sleep } from "node:timers/promises"
import { vi } from "vitest"
import { answer, chat, stub } from "./utils/stubProvider.ts"

const body = {
  model: "gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user" as const, content: "hi" }]
}

const client = (): OpenAI =>
  new OpenAI({ apiKey: "none", maxRetries: 0, fetch: stub(() => Response.json(answer)).fetch })

const outcomeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "admitted",
    (error: unknown) => (error instanceof Error ? error.name : String(error))
  )

describe("inside of session.within, the account that is said around a call holds", () => {
  type Way = (session: BudgetedSession, wrapped: OpenAI) => Promise<() => Promise<unknown>>
  const called = (wrapped: OpenAI) => Effect.tryPromise(() => wrapped.chat.completions.create(body))
  const service = (session: BudgetedSession) =>
    Effect.runPromise(Effect.provide(BudgetedOpenAi.make(client()), session.layer))
  const ways: Readonly<Record<string, Way>> = {
    "by a plain promise": (_, wrapped) => Promise.resolve(() => wrapped.chat.completions.create(body)),
    "by a fiber": (_, wrapped) => Promise.resolve(() => Effect.runPromise(called(wrapped))),
    "by a fiber within an account of another budget": (_, wrapped) =>
      Promise.resolve(() =>
        Effect.runPromise(
          called(wrapped).pipe(
            Budget.within({ account: "x" }),
            Effect.provide(Budget.layerMemory({ limit: Usd.dollars("1") }))
          )
        )
      ),
    "by the service's use": async (session) => {
      const openai = await service(session)
      const ask = openai.use((inner, signal) => inner.chat.completions.create(body, { signal }))
      return () => Effect.runPromise(ask)
    },
    "by the service's stream": async (session) => {
      const openai = await service(session)
      const words = openai.stream((inner, signal) =>
        inner.chat.completions.create({ ...body, stream: true }, { signal })
      )
      return () => Effect.runPromise(Stream.runDrain(words))
    }
  }
  for (const [name, way] of Object.entries(ways)) {
    it(name, async () => {
      await using session = new BudgetedSession({ budgetUsd: 1 })
      const call = await way(session, session.wrapOpenAI(client()))
      // Nothing fits it.
      const got = await session.within({ account: "a", budgetUsd: "0.0000001" }, () => outcomeOf(call()))
      assert.notStrictEqual(got, "admitted")
      assert.strictEqual((await session.balance()).spentUsd, 0)
      assert.strictEqual(await outcomeOf(call()), "admitted")
    })
  }
})

describe("a fiber that holds a reservation never waits for another", () => {
  const Live = Layer.mergeAll(
    Budget.layerMemory({ limit: Usd.dollars("1"), onExceeded: "wait", waitAtMost: "1 hour" }),
    Pricing.layer
  )
  type Refused = Effect.Effect<unknown, unknown>
  const ways: Readonly<
    Record<string, Effect.Effect<Refused, BudgetError.BudgetError, Budget.Budget | Pricing.Pricing>>
  > = {
    "through the service": Effect.map(BudgetedOpenAi.make(client()), ({ use }) =>
      Effect.flip(use((inner, signal) => inner.chat.completions.create(body, { signal })))
    ),
    "through a wrapped client": Effect.map(BudgetedOpenAi.wrap(client()), (wrapped) =>
      Effect.flip(Effect.tryPromise(() => wrapped.chat.completions.create(body)))
    ),
    "through a budgeted fetch": Effect.map(
      BudgetedFetch.make({ fetch: stub(() => Response.json(answer)).fetch, refusal: "throw" }),
      (fetch) =>
        Effect.flip(Effect.tryPromise(() => fetch(chat, { method: "POST", body: JSON.stringify(body) })))
    )
  }
  for (const [name, way] of Object.entries(ways)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const refused = yield* way
        const all = Budget.withBudget(Effect.orDie(refused), {
          quote: Usd.dollars("1"),
          cost: () => Usd.zero
        })
        // It would wait for an hour.
        const error = yield* Effect.timeout(all, "10 seconds")
        assert.notStrictEqual(error, undefined)
      }).pipe(Effect.provide(Live))
    )
  }
})

describe("a line", () => {
  it("is served, also after a time in which no timer fired", async () => {
    const gates: Array<() => void> = []
    const held = () =>
      new Promise<Response>((resolve) => {
        gates.push(() => {
          resolve(Response.json(answer))
        })
      })
    const session = new BudgetedSession({ budgetUsd: "0.001", onExceeded: "wait", inputBound: "bytes" })
    const wrapped = session.wrapOpenAI(new OpenAI({ apiKey: "none", maxRetries: 0, fetch: held }))
    let answered = 0
    const ask = () =>
      wrapped.chat.completions.create(body).then(() => {
        answered++
      })
    const open = () => {
      for (const gate of gates.splice(0)) gate()
    }
    const turns = async () => {
      for (let turn = 0; turn < 500; turn++) await Promise.resolve()
    }
    vi.useFakeTimers()
    const first = Array.from({ length: 12 }, ask)
    await turns()
    open()
    await turns()
    vi.useRealTimers()
    const before = answered
    const second = Array.from({ length: 12 }, ask)
    for (let round = 0; round < 100 && answered < before + 12; round++) {
      await sleep(10)
      open()
    }
    assert.isAtLeast(answered, before + 12)
    void Promise.allSettled([...first, ...second])
    await session.close({ waitAtMost: 0 })
  })
})
