/**
 * What the tests around the `openai` client share: a provider with the bundled table's prices written down a second
 * time, a session whose books are watched at every step, and the comparison of those books with the bill.
 */
import { assert } from "@effect/vitest"
import { BudgetedSession, BudgetError, Ledger, type Budget } from "agent-budget"
import { Effect } from "effect"
import { createRequire } from "node:module"
import OpenAI from "openai"
import type { PriceMap } from "./providerBill.ts"
import { SimulatedProvider, type Options as ProviderOptions } from "./SimulatedProvider.ts"

/** The price list of the simulated provider. Sources as in docs/prices.md; written independently of the library. */
export const prices: PriceMap = {
  "gpt-4o-mini": {
    default: { input: "0.15", cachedInput: "0.075", output: "0.60" },
    priority: { input: "0.25", cachedInput: "0.125", output: "1.00" }
  },
  "gpt-3.5-turbo-instruct": { default: { input: "1.50", output: "2.00" } },
  "text-embedding-3-small": { default: { input: "0.02", output: "0" } }
}

export const hello = { model: "gpt-4o-mini", messages: [{ role: "user" as const, content: "Hello there" }] }
export const capped = { ...hello, max_completion_tokens: 100 }
export const streamed = { ...capped, stream: true as const }

/** A moment at which the books changed. */
interface Moment {
  readonly what: string
  readonly account: string
  readonly limit: number | null
  readonly held: number
}

/** A memory ledger that writes down, after each reservation, what the account and all above it hold. */
export const watchedLedger = () => {
  const ledger = Effect.runSync(Ledger.makeMemory({ entries: 100_000 }))
  const moments: Array<Moment> = []
  /** The account and all above it; one that has closed has nothing to show. */
  const look = (what: string, path: string) =>
    Effect.forEach(
      path.split("/").map((_, depth, parts) => parts.slice(0, depth + 1).join("/")),
      (account) =>
        ledger.balance(account).pipe(
          Effect.map(({ limit, spent, reserved }) =>
            moments.push({ what, account, limit, held: spent + reserved })
          ),
          Effect.ignore
        ),
      { discard: true }
    )
  const watched: Ledger.Ledger["Service"] = {
    ...ledger,
    reserve: (request) => Effect.tap(ledger.reserve(request), () => look("reserve", request.account)),
    settle: (reservation, charge) =>
      Effect.tap(ledger.settle(reservation, charge), () => look("settle", reservation.account)),
    release: (reservation) =>
      Effect.tap(ledger.release(reservation), () => look("release", reservation.account))
  }
  return { ledger: watched, moments }
}

export interface Setup {
  readonly provider: SimulatedProvider
  readonly session: BudgetedSession
  /** Wrapped; it does not retry. */
  readonly client: OpenAI
  /** The same without a budget. */
  readonly plain: OpenAI
  readonly moments: ReadonlyArray<Moment>
}

type SessionOptions = ConstructorParameters<typeof BudgetedSession>[0]

/** A test body with a provider, a session and a client; everything is closed after it. */
export const withSession =
  (
    use: (setup: Setup) => Promise<void>,
    options: Partial<SessionOptions> & { readonly provider?: Partial<ProviderOptions> } = {}
  ) =>
  async (): Promise<void> => {
    const { provider: providerOptions, ...sessionOptions } = options
    const provider = await SimulatedProvider.start({ prices, ...providerOptions })
    const { ledger, moments } = watchedLedger()
    const host = new URL(provider.origin).host
    const session = new BudgetedSession({
      budgetUsd: 1,
      ledger,
      hosts: { [host]: { takesTier: true } },
      ...sessionOptions
    })
    const plain = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 })
    try {
      await use({ provider, session, plain, client: session.wrapOpenAI(plain), moments })
      assertNeverAbove(moments)
    } finally {
      await session.close({ waitAtMost: 0 })
      await provider.close()
    }
  }

/** Admission: no account ever held more than its limit, unless a bill passed its reservation. */
export const assertNeverAbove = (moments: ReadonlyArray<Moment>): void => {
  for (const { what, account, limit, held } of moments) {
    if (limit !== null) assert.isAtMost(held, limit, `${account} after ${what}`)
  }
}

export const failureOf = async (promise: PromiseLike<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error("It was expected to fail.")
}

/** A refusal that a `fetch` answers, as it is thrown elsewhere. */
export const orThrown = async (call: Promise<Response>): Promise<Response> => {
  const response = await call
  const refused = BudgetError.find(response)
  if (refused !== undefined) throw BudgetError.toThrown(refused)
  return response
}

/** A turn of the event loop, for what is settled behind an answer's back. */
export const settled = async (session: BudgetedSession): Promise<void> => {
  for (let turn = 0; turn < 500 && reservedNano(session) > 0; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

const nanos = (dollars: number): number => Math.round(dollars * 1e9)
export const spentNano = (session: BudgetedSession): number => nanos(session.getTotalSpent())
export const reservedNano = (session: BudgetedSession): number => nanos(session.getSummary().reservedUsd)

export const assumedNano = (session: BudgetedSession): number =>
  Object.values(session.getSummary().byModel).reduce((sum, { assumedUsd }) => sum + nanos(assumedUsd), 0)

/** How the books stand against the bill. */
export type Verdict = "metered" | "assumed" | "nothing"

/** Truth: nothing is held, and what is booked is the bill (metered), at least the bill (assumed), or nothing. */
export const assertBooks = async (
  { provider, session }: Pick<Setup, "provider" | "session">,
  verdict: Verdict
): Promise<void> => {
  await provider.idle()
  await settled(session)
  assert.strictEqual(reservedNano(session), 0, "still reserved")
  const bill = Number(provider.bill().totalNanoUsd)
  const spent = spentNano(session)
  const assumed = assumedNano(session)
  switch (verdict) {
    case "metered":
      assert.strictEqual(assumed, 0, "assumed")
      assert.isAbove(spent, 0)
      assert.strictEqual(spent, bill)
      return
    case "assumed":
      assert.isAbove(assumed, 0)
      assert.strictEqual(assumed, spent)
      assert.isAtLeast(spent, bill)
      return
    case "nothing":
      assert.strictEqual(bill, 0)
      assert.strictEqual(spent, 0)
  }
}

/** Reads events in the background until the session is closed. */
export const recordEvents = (session: BudgetedSession): ReadonlyArray<Budget.Event> => {
  const events: Array<Budget.Event> = []
  void (async () => {
    for await (const event of session.events()) events.push(event)
  })()
  return events
}

/** The client as a CommonJS program gets it: other classes than the imported ones. */
export const commonJs = createRequire(import.meta.url)("openai") as { readonly OpenAI: typeof OpenAI }
