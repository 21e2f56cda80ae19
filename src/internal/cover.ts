/** The reservation that a call of a model holds, as the requests that it comes to see it. */
import type { Reservation } from "./ledgerTypes.ts"

/**
 * A call of a model reserves before it knows what will be sent for it. A request below it, on the same budget and
 * account and for the same priced model, takes that reservation over, so that one call is charged once. Whatever is
 * sent below, by whichever budget, is told here: only then does a failure prove that nothing was.
 */
export class Cover {
  readonly owner: object
  readonly reservation: Reservation
  readonly model: string
  readonly outer: Cover | undefined
  /** The one that the reservation itself was taken over from. */
  readonly #under: Cover | undefined
  #state: "free" | "taken" | "ended" = "free"
  #isOver = false
  #open = 0
  #isBillable = false
  #wasTaken = false
  /** Of the requests below that its own budget is asked for: those under way, and whether one was billed. */
  #ownOpen = 0
  #isOwnBilled = false

  constructor(options: {
    readonly owner: object
    readonly reservation: Reservation
    readonly model: string
    readonly outer: Cover | undefined
    readonly under: Cover | undefined
  }) {
    this.owner = options.owner
    this.reservation = options.reservation
    this.model = options.model
    this.outer = options.outer
    this.#under = options.under
  }

  /** The reservation for a request of this budget, account and model, if there is one that nobody has taken. */
  static take(
    cover: Cover | undefined,
    owner: object,
    account: string | undefined,
    model: string
  ): Cover | undefined {
    for (let each = cover; each !== undefined; each = each.outer) {
      const isMine =
        each.owner === owner && each.reservation.account === account && each.model === model && !each.#isOver
      if (isMine && each.#state === "free") {
        each.#state = "taken"
        each.#wasTaken = true
        return each
      }
    }
    return undefined
  }

  /** Tells every call above that a request is sent, and which budget pays for it. */
  static sent(cover: Cover | undefined, owner: object): void {
    for (let each = cover; each !== undefined; each = each.outer) {
      each.#open++
      if (each.owner === owner) each.#ownOpen++
    }
  }

  /** Tells every call above how it ended: whether it may be billed. */
  static ended(cover: Cover | undefined, owner: object, isBillable: boolean): void {
    for (let each = cover; each !== undefined; each = each.outer) {
      const isOwn = each.owner === owner
      each.#open--
      if (isOwn) each.#ownOpen--
      if (isBillable) each.#isBillable = true
      if (isBillable && isOwn) each.#isOwnBilled = true
    }
  }

  /** The reservation has been settled by whoever took it, or another one stands in its place. */
  end(): void {
    this.#state = "ended"
    this.#under?.end()
  }

  /** Gives it back, as nothing was billed. `false`: the call is over, and whoever took it must release it. */
  giveBack(): boolean {
    if (this.#state === "ended") return false
    if (!this.#isOver) {
      this.#state = "free"
      return true
    }
    this.#state = "ended"
    return this.#under?.giveBack() ?? false
  }

  /** The call is over. `true`: the reservation is its own to end. */
  over(): boolean {
    this.#isOver = true
    return this.#state === "free"
  }

  /** Nothing was sent below that may be billed. */
  get isUnbilled(): boolean {
    return this.#open === 0 && !this.#isBillable
  }

  /**
   * Its requests are the same budget's, as one of them took the reservation over, and another one of them books, or
   * has booked, what the call cost: it must not be booked once more.
   */
  get isChargedBelow(): boolean {
    return this.#wasTaken && (this.#ownOpen > 0 || this.#isOwnBilled)
  }
}
