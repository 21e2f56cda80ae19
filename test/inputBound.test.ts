/** How the input of a call is bounded: by its length where that costs little, by a count where it would hold much. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, BudgetedFetch, BudgetedOpenAi, Ledger, Pricing, TokenCounter, Usd } from "agent-budget"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import OpenAI from "openai"
import { answer, chat, stub } from "./utils/stubProvider.ts"

/** 4,000 words: 20,000 bytes, and a token each. */
const words = "word ".repeat(4_000)
const body = {
  model: "gpt-4o-mini",
  max_tokens: 20,
  messages: [{ role: "user" as const, content: words }]
}

/** gpt-4o-mini takes $0.15 a million for input: between $0.0006 and $0.0007 by the count, $0.003 by the length. */
const counted = Usd.dollars("0.0007")
const byLength = Usd.dollars("0.003")

const response = (): Response =>
  new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } })

/** Counts how often it is asked. */
const watchedCounter = () => {
  const asked: Array<string> = []
  const layer = Layer.effect(
    TokenCounter.TokenCounter,
    Effect.map(TokenCounter.make(), (counter) => ({
      count: (text: string, encoding: TokenCounter.Encoding | undefined) => {
        asked.push(text)
        return counter.count(text, encoding)
      }
    }))
  )
  return { asked, layer }
}

type Services = Budget.Budget | BudgetedOpenAi.BudgetedOpenAi

const calling = <A>(
  use: Effect.Effect<A, unknown, Services>,
  policy: BudgetedFetch.PolicyOptions,
  options: Budget.Options
) =>
  Effect.suspend(() => {
    const { fetch, sent } = stub(response)
    const { asked, layer } = watchedCounter()
    const openai = BudgetedOpenAi.layerClient(
      () => new OpenAI({ apiKey: "none", maxRetries: 0, fetch })
    ).pipe(
      Layer.provideMerge(Budget.layerMemory(options)),
      Layer.provide([Pricing.layer, BudgetedFetch.layer(policy), layer])
    )
    return Effect.map(Effect.provide(use, openai), (value) => ({ value, asked, sent }))
  })

const calls = (sent: object) =>
  Effect.gen(function* () {
    const openai = yield* BudgetedOpenAi.BudgetedOpenAi
    return yield* openai.use((client, signal) =>
      client.chat.completions.create({ ...body, ...sent, stream: false }, { signal })
    )
  })
const call = calls({})

const refusal = Effect.map(Effect.flip(call), (error) => `${error._tag} ${error.message}`)

/** What a call held, from the events of its budget. */
const holds = (sent: object) =>
  Effect.gen(function* () {
    const budget = yield* Budget.Budget
    const reserved = yield* budget.events.pipe(
      Stream.filter((event) => event._tag === "Reserved"),
      Stream.take(1),
      Stream.runCollect,
      Effect.forkChild({ startImmediately: true })
    )
    yield* calls(sent)
    return (yield* Fiber.join(reserved))[0]?.amount ?? Usd.zero
  })
const held = holds({})

describe("the input of a call", () => {
  it.effect("is held by its length where that is little of what remains, and nothing is counted", () =>
    Effect.gen(function* () {
      const { asked, value } = yield* calling(held, {}, { limit: Usd.dollars("5") })
      assert.isAbove(value, byLength)
      assert.deepStrictEqual(asked, [])
    })
  )

  it.effect("is counted where its length would hold more than a hundredth of what remains", () =>
    Effect.gen(function* () {
      const { asked, value } = yield* calling(held, {}, { limit: Usd.dollars("0.25") })
      assert.isBelow(value, counted)
      assert.deepStrictEqual(asked, [words])
    })
  )

  it.effect("is counted where its length does not fit on an account below, and the call is sent", () =>
    Effect.gen(function* () {
      const limit = { account: "small", limit: counted }
      const { asked, sent } = yield* calling(
        Budget.within(call, limit),
        {},
        {
          limit: Usd.dollars("5")
        }
      )
      assert.deepStrictEqual(asked, [words])
      assert.strictEqual(sent.length, 1)
    })
  )

  it.effect("is refused, with the numbers of its count, where that does not fit either", () =>
    Effect.gen(function* () {
      const limit = { account: "tiny", limit: Usd.dollars("0.0005") }
      const refused = yield* calling(Budget.within(refusal, limit), {}, { limit: Usd.dollars("5") })
      assert.match(refused.value, /\$0\.0006\d/)
      assert.strictEqual(refused.sent.length, 0)
    })
  )

  it.effect("is never counted by length alone, and always where it is asked for", () =>
    Effect.gen(function* () {
      const bytes = yield* calling(refusal, { inputBound: "bytes" }, { limit: counted })
      assert.match(bytes.value, /^BudgetError/)
      assert.deepStrictEqual(bytes.asked, [])
      const always = yield* calling(held, { inputBound: "counted" }, { limit: Usd.dollars("5") })
      assert.isBelow(always.value, counted)
      assert.deepStrictEqual(always.asked, [words])
    })
  )

  it.live("is counted by one who will wait, before he waits, and he passes nobody in line", () =>
    Effect.gen(function* () {
      const options = { limit: Usd.dollars("0.5"), onExceeded: "wait", waitAtMost: "5 seconds" } as const
      const account = { account: "busy", limit: Usd.dollars("0.01") }
      const { sent } = yield* calling(
        Effect.gen(function* () {
          const budget = yield* Budget.Budget
          yield* Budget.open(account)
          const most = yield* Budget.within(budget.acquire({ least: Usd.dollars("0.002") }), account)
          const first = yield* Effect.forkChild(
            Budget.within(budget.acquire({ least: Usd.dollars("0.009") }), account)
          )
          yield* Effect.sleep(5)
          const second = yield* Effect.forkChild(Budget.within(call, account))
          yield* Effect.sleep(50)
          assert.isUndefined(first.pollUnsafe())
          assert.isUndefined(second.pollUnsafe())
          yield* budget.release(most)
          const granted = yield* Fiber.join(first)
          yield* Fiber.join(second)
          yield* budget.release(granted)
        }),
        {},
        options
      )
      assert.strictEqual(sent.length, 1)
    })
  )

  it.effect("leaves to the output what its count spares, where the budget writes the cap", () =>
    Effect.gen(function* () {
      const uncapped = { max_tokens: null }
      const limit = Usd.dollars("0.02")
      const { sent, value } = yield* calling(holds(uncapped), {}, { limit })
      const written = JSON.parse(sent[0]?.init.body as string) as { readonly max_completion_tokens: number }
      // A tenth of the limit is held; the input takes 4,001 tokens, a hundredth more and the framing.
      assert.strictEqual(value, Usd.nanos(limit / 10))
      const input = Math.ceil(4_001 * 1.01) + 23 + 4
      assert.strictEqual(written.max_completion_tokens, Math.floor((value - input * 150) / 600))
    })
  )

  it.live.each([
    ["at first", "0"],
    ["as its length does not fit", "4.999"]
  ] as const)("that is being counted %s when its caller goes away holds nothing", ([, others]) =>
    Effect.gen(function* () {
      const counting = yield* Deferred.make<undefined>()
      const never = Layer.succeed(TokenCounter.TokenCounter, {
        count: () => Effect.andThen(Deferred.succeed(counting, undefined), Effect.never)
      })
      const { fetch, sent } = stub(response)
      const ledger = yield* Ledger.makeMemory()
      const layers = Layer.mergeAll(
        Layer.provide(
          Budget.layer({ limit: Usd.dollars(others === "0" ? "0.25" : "5") }),
          Layer.succeed(Ledger.Ledger, ledger)
        ),
        Pricing.layer,
        never
      )
      const program = Effect.gen(function* () {
        const budgeted = yield* BudgetedFetch.make({ fetch, refusal: "throw" })
        const controller = new AbortController()
        // What other processes hold shows in the ledger alone.
        yield* ledger.reserve({ account: "root", least: Usd.dollars(others) })
        const gone = budgeted(chat, {
          method: "POST",
          body: JSON.stringify(body),
          signal: controller.signal
        }).catch((error: unknown) => error)
        yield* Deferred.await(counting)
        controller.abort()
        assert.strictEqual(yield* Effect.promise(() => gone), controller.signal.reason)
        return yield* ledger.balance("root")
      })
      const balance = yield* Effect.provide(program, layers)
      assert.deepInclude(balance, { spent: Usd.zero, reserved: Usd.dollars(others) })
      assert.strictEqual(sent.length, 0)
    })
  )
})
