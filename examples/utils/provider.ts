/** Whom an example talks to: the simulated provider, or with `--live` the real one. */
import { Config, Context, Effect, Layer, Redacted } from "effect"
import { BudgetedFetch, BudgetedOpenAi, Usd } from "agent-budget"
import type { SimulatedProvider } from "../../test/utils/SimulatedProvider.ts"

export class Provider extends Context.Service<
  Provider,
  {
    readonly apiKey: Redacted.Redacted
    readonly baseURL: string | undefined
    /** What the provider says it is owed, once its calls have ended; `undefined` where it does not say. */
    readonly bill: Effect.Effect<Usd.Usd | undefined>
  }
>()("examples/Provider") {}

/** A simulated provider that stops with the layer. */
export const layerSimulated = (start: () => Promise<SimulatedProvider>): Layer.Layer<Provider> =>
  Layer.effect(
    Provider,
    Effect.gen(function* () {
      const provider = yield* Effect.acquireRelease(Effect.promise(start), (running) =>
        Effect.promise(() => running.close())
      )
      return Provider.of({
        apiKey: Redacted.make("sk-simulated"),
        baseURL: provider.baseURL,
        bill: Effect.promise(async () => {
          await provider.idle()
          return Usd.nanos(Number(provider.bill().totalNanoUsd))
        })
      })
    })
  )

export const layerLive: Layer.Layer<Provider, Config.ConfigError> = Layer.effect(
  Provider,
  Effect.map(Config.Redacted("OPENAI_API_KEY"), (apiKey) => ({
    apiKey,
    baseURL: "https://api.openai.com/v1",
    bill: Effect.succeed(undefined)
  }))
)

/** The budgeted client for that provider. The simulated one is stated to bill as OpenAI does, tiers included. */
export const layerClient = Layer.unwrap(
  Effect.map(Provider, ({ apiKey, baseURL }) => {
    const host = baseURL === undefined ? "" : new URL(baseURL).host
    return BudgetedOpenAi.layer({ apiKey, baseURL, maxRetries: 1 }).pipe(
      Layer.provide(BudgetedFetch.layer({ hosts: { [host]: { takesTier: true } } }))
    )
  })
)
