/** The events of a budget: what ends of calls and entries of the ledger are as events, and who reads them. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Usd from "../Usd.ts"
import { apart, lasting, toReaders } from "./background.ts"
import type { Bill, Event, EventOf } from "./budgetTypes.ts"
import type { Entry, Ledger, Reservation } from "./ledgerTypes.ts"
import type { Tally } from "./tally.ts"

/** What a call cost, also where its lease had run out and its entry corrects that. */
export const settlementOf = (entry: Entry): EventOf<"Settled"> | undefined => {
  if (entry._tag === "Settled") return entry
  if (entry._tag !== "Corrected" || entry.verdict === "released") return undefined
  const { account, amount, label, overrun, reservation, reserved, verdict } = entry
  return { _tag: "Settled", account, reservation, reserved, amount, overrun, verdict, label }
}

/** What a call cost that the ledger will book when it can. */
export const keptOf = (reservation: Reservation, bill: Bill): EventOf<"Settled"> => {
  const { account, amount: reserved, id } = reservation
  const { amount, label = null, verdict } = bill
  const overrun = amount > reserved ? Usd.subtract(amount, reserved) : Usd.zero
  return { _tag: "Settled", account, reservation: id, reserved, amount, overrun, verdict, label }
}

/** What the ledger tells, as an event of the budget whose account is on its chain. */
const toldBy = (entry: Entry, account: string): EventOf<"Expired" | "ThresholdCrossed"> | undefined => {
  if (entry._tag !== "ThresholdCrossed" && entry._tag !== "Expired") return undefined
  if (!entry.chain.some((link) => link.account === account)) return undefined
  if (entry._tag === "Expired") {
    const { account: at, amount, reservation } = entry
    return { _tag: "Expired", account: at, reservation, amount }
  }
  const { account: at, limit, spent, threshold } = entry
  return { _tag: "ThresholdCrossed", account: at, threshold, limit, spent }
}

interface Feed {
  /** Tells an event to whoever reads. Nearly always nobody does: then it is not even made. */
  readonly publish: (event: () => Event) => void
  /** Listens to the ledger as a reader does, up to the end of the budget. */
  readonly listen: Effect.Effect<void>
  /** They end with the budget. */
  readonly events: Stream.Stream<Event>
}

/** The ledger is listened to as long as somebody reads: it costs something at every call. */
export const feedOf = (
  { booked }: Pick<Ledger, "booked">,
  account: string,
  tally: Tally
): Effect.Effect<Feed, never, Scope.Scope> =>
  Effect.gen(function* () {
    const events = yield* PubSub.sliding<Event | undefined>(1_024)
    const scope = yield* Effect.scope
    // A turn later: what the last ends have caused is told by then.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => void setImmediate(() => PubSub.endUnsafe(events, undefined)))
    )
    let readers = 0
    const publish = (event: () => Event): void => {
      if (readers > 0) apart(() => toReaders(events, event()))
    }
    const hear = Stream.runForEach(booked, (entry) =>
      Effect.withFiber((fiber) => {
        const event = toldBy(entry, account)
        if (event?._tag === "Expired") {
          tally.expired(event, entry.chain.at(-1)?.window ?? null)
          publish(() => event)
        }
        // A turn later, so that it comes after the end that caused it.
        if (event?._tag === "ThresholdCrossed") {
          fiber.currentDispatcher.scheduleTask(() => publish(() => event), 0)
        }
        return Effect.void
      })
    )
    let listening: Fiber.Fiber<void> | undefined
    const listen = Effect.suspend(() =>
      ++readers > 1
        ? Effect.void
        : Effect.map(lasting(Effect.forkIn(hear, scope, { startImmediately: true })), (fiber) => {
            listening = fiber
          })
    )
    const leave = Effect.suspend(() =>
      --readers > 0 || listening === undefined ? Effect.void : Fiber.interrupt(listening)
    )
    const read = Effect.acquireRelease(listen, () => leave)
    const untilTheEnd = Stream.takeWhile(Stream.fromPubSub(events), Predicate.isNotUndefined)
    return { publish, listen, events: Stream.unwrap(Effect.as(read, untilTheEnd)) }
  })
