/** How a request comes to what it holds: of its own, or what the call of a model above it holds. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Budget from "../Budget.ts"
import type * as BudgetError from "../BudgetError.ts"
import type * as Ledger from "../Ledger.ts"
import * as Usd from "../Usd.ts"
import { Covering, Held, Places } from "./callContext.ts"
import { Cover, type Hold, type Holding } from "./cover.ts"

type Service = Budget.Budget["Service"]

/** The call of a model above, whose reservation a request of the fiber takes over. */
export const coverOf = (budget: Service, context: Context.Context<never>): Cover | undefined => {
  const covers = Context.get(context, Covering)
  if (covers === undefined) return undefined
  return Cover.take(covers, budget.key, Context.get(context, Places).get(budget.key) ?? budget.account)
}

/** Reserves, or takes over what the call of a model holds, where that is enough and nothing was billed for it yet. */
export const reserve = (
  budget: Service,
  cover: Cover | undefined,
  ask: Budget.Ask | Effect.Effect<Budget.Ask>
): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> => {
  const go = cover === undefined ? budget.acquire : replaced(budget, cover)
  const reserved = Effect.isEffect(ask) ? Effect.flatMap(Effect.interruptible(ask), go) : go(ask)
  if (cover === undefined) return reserved
  return Effect.onExit(reserved, (exit) => {
    if (Exit.isSuccess(exit)) return Effect.void
    return Cause.hasInterrupts(exit.cause) ? cover.withdraw() : cover.settle(undefined)
  })
}

/**
 * What is held ends first: who holds it while he asks, and waits, for more may wait for himself. What is then held is
 * nothing, and yet a reservation: what may still come of the call is booked on it, as an overrun. Who does not even get
 * that is on an account that is shut, paused or over its limit: he keeps what he has, and is refused.
 */
const replaced =
  (budget: Service, cover: Cover) =>
  (ask: Budget.Ask): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> =>
    Effect.suspend(() => {
      const { hold } = cover
      const { reservation } = hold
      if (!cover.isOwed && reservation !== undefined && ask.least <= reservation.amount) {
        return Effect.succeed(reservation)
      }
      const swapped = (next: Ledger.Reservation): Effect.Effect<Ledger.Reservation> =>
        Effect.as(book(budget, hold, cover.unbooked(), next), next)
      const atMost = (most: Usd.Usd): Effect.Effect<void> => {
        const asked = budget.acquire({ least: Usd.zero, most, share: 1, label: ask.label })
        return Effect.ignore(Effect.flatMap(Effect.provideService(asked, Held, unwaiting), swapped))
      }
      // What the call itself may come to is held again, as far as it fits, while it goes on.
      const kept = Effect.suspend(() => {
        const floor = Cover.floorOf(cover)
        return hold.amount < floor ? atMost(floor) : Effect.void
      })
      return atMost(Usd.zero).pipe(
        Effect.andThen(Effect.suspend(() => budget.acquire(raised(ask, Cover.floorOf(cover))))),
        Effect.onError(() => kept),
        Effect.flatMap(swapped)
      )
    })

/** The ask, of no less than what the calls above may come to. */
const raised = (ask: Budget.Ask, floor: Usd.Usd): Budget.Ask => {
  const { least, most = least, tighter } = ask
  if (least >= floor) return ask
  return {
    ...ask,
    least: floor,
    most: most > floor ? most : floor,
    tighter: tighter && Effect.map(tighter, (counted) => raised(counted, floor))
  }
}

/** Ends what a call of a model holds, for what stands in its place. */
export const book = (
  budget: Service,
  hold: Hold,
  bill: Budget.Bill | undefined,
  next?: Ledger.Reservation
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { reservation } = hold
    hold.reservation = next
    if (reservation === undefined) return Effect.void
    return bill === undefined ? budget.release(reservation) : budget.settle(reservation, bill)
  })

/** Gives up what nothing was sent for: what was reserved for it, or taken over. */
export const giveUp = (
  budget: Service,
  cover: Cover | undefined,
  reservation: Ledger.Reservation
): Effect.Effect<void> => (cover === undefined ? budget.release(reservation) : cover.settle(undefined))

/** Nobody waits for what he holds nothing without. */
const unwaiting: Holding = { held: true, outer: undefined }
