/**
 * The memory ledger with an eye on one account: the highest spent + reserved that it ever had. It looks before and
 * after every change of the books, so that no peak between two changes is missed.
 */
import { Context, Effect, Layer } from "effect"
import { Ledger, Usd } from "agent-budget"

export class Peak extends Context.Service<
  Peak,
  { readonly highest: () => Usd.Usd; readonly looks: () => number }
>()("examples/Peak") {}

export const layerWatched = (account: string): Layer.Layer<Ledger.Ledger | Peak> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const ledger = yield* Ledger.makeMemory()
      let highest: Usd.Usd = Usd.zero
      let looks = 0
      const look = Effect.ignore(
        Effect.map(ledger.balance(account), ({ spent, reserved }) => {
          const now = Usd.add(spent, reserved)
          if (now > highest) highest = now
          looks++
        })
      )
      const watched = Ledger.Ledger.of({
        ...ledger,
        reserve: (request) => Effect.tap(ledger.reserve(request), () => look),
        settle: (reservation, charge) =>
          Effect.andThen(
            look,
            Effect.tap(ledger.settle(reservation, charge), () => look)
          ),
        release: (reservation) =>
          Effect.andThen(
            look,
            Effect.tap(ledger.release(reservation), () => look)
          )
      })
      return Context.make(Ledger.Ledger, watched).pipe(
        Context.add(Peak, { highest: () => highest, looks: () => looks })
      )
    })
  )
