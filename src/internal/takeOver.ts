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
import { Cover, type Bill, type Hold, type Holding } from "./cover.ts"

type Service = Budget.Budget["Service"]

/** The call of a model above, whose reservation a request of the fiber takes over. */
export const coverOf = (budget: Service, context: Context.Context<never>): Cover | undefined => {
  const covers = Context.get(context, Covering)
  if (covers === undefined) return undefined
  return Cover.take(covers, budget, Context.get(context, Places).get(budget) ?? budget.account)
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

/** What is held ends first: who holds it while he asks, and waits, for more may wait for himself. */
const replaced =
  (budget: Service, cover: Cover) =>
  (ask: Budget.Ask): Effect.Effect<Ledger.Reservation, BudgetError.BudgetError> =>
    Effect.suspend(() => {
      const { hold } = cover
      const bill = cover.unbooked()
      const { reservation } = hold
      if (bill === undefined && reservation !== undefined && ask.least <= reservation.amount) {
        return Effect.succeed(reservation)
      }
      return Effect.andThen(
        book(budget, hold, bill),
        Effect.map(budget.acquire(raised(ask, Cover.floorOf(cover))), (other) => (hold.reservation = other))
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

/** Ends what a call of a model holds. */
export const book = (budget: Service, hold: Hold, bill: Bill | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { reservation } = hold
    hold.reservation = undefined
    if (reservation === undefined) return bill === undefined ? Effect.void : beyond(budget, bill)
    return bill === undefined ? budget.release(reservation) : budget.settle(reservation, bill)
  })

/** Nobody waits to book what is owed. */
const unwaiting: Holding = { held: true, outer: undefined }

/** Nothing is held any more, as more was refused, and yet something was sent: an overrun, of all of it. */
const beyond = (budget: Service, bill: Bill): Effect.Effect<void> =>
  Effect.matchEffect(
    Effect.provideService(budget.acquire({ least: Usd.zero, label: bill.label }), Held, unwaiting),
    {
      onFailure: (error) => {
        budget.unverified("unbooked")
        return Effect.logError(
          `${Usd.format(bill.amount)} for ${bill.label ?? "a call"} could not be booked. ${error.message}`
        )
      },
      onSuccess: (reservation) => budget.settle(reservation, bill)
    }
  )
