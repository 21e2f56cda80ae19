/**
 * Asks of one turn of the event loop, sent as one. Who asks first does not wait for others but for those who ask in the
 * same breath; while answers are on their way, whoever asks in the same turn of the loop goes with the others.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Answer, StoreUnavailable } from "./ledgerStore.ts"

/** How many go at once: about a millisecond, in which Redis does nothing else. */
const most = 128

interface Ask {
  readonly args: ReadonlyArray<string>
  readonly done: (exit: Exit.Exit<unknown, StoreUnavailable>) => void
  /** What is told where nobody knows what became of it. */
  readonly failed: (cause: unknown) => StoreUnavailable
  isGone: boolean
}

/** Sends all of their arguments; answers in the same order, one for each. */
export type Send = (
  asks: ReadonlyArray<ReadonlyArray<string>>
) => Effect.Effect<ReadonlyArray<unknown>, (ask: Ask["failed"]) => StoreUnavailable>

export class Asks {
  readonly #send: Send
  #waiting: Array<Ask> = []
  #isScheduled = false
  #onTheirWay = 0

  constructor(send: Send) {
    this.#send = send
  }

  /** Whoever is interrupted before it was sent has asked for nothing. */
  ask(args: ReadonlyArray<string>, failed: Ask["failed"]): Answer<unknown> {
    return Effect.callback<unknown, StoreUnavailable>((resume) => {
      const ask: Ask = { args, done: resume, failed, isGone: false }
      this.#waiting.push(ask)
      this.#schedule()
      return Effect.sync(() => void (ask.isGone = true))
    })
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    const turn = (): void => this.#turn()
    if (this.#onTheirWay > 0) setImmediate(turn)
    else queueMicrotask(turn)
  }

  #turn(): void {
    this.#isScheduled = false
    const waiting = this.#waiting.filter((ask) => !ask.isGone)
    this.#waiting = []
    for (let from = 0; from < waiting.length; from += most) this.#go(waiting.slice(from, from + most))
  }

  #go(asks: ReadonlyArray<Ask>): void {
    this.#onTheirWay++
    const sent = this.#send(asks.map(({ args }) => args))
    Effect.runFork(sent).addObserver((exit) => {
      this.#onTheirWay--
      asks.forEach((ask, index) => ask.done(answerOf(exit, ask, index)))
    })
  }
}

const answerOf = (
  exit: Exit.Exit<ReadonlyArray<unknown>, (ask: Ask["failed"]) => StoreUnavailable>,
  ask: Ask,
  index: number
): Exit.Exit<unknown, StoreUnavailable> =>
  Exit.isSuccess(exit)
    ? Exit.succeed(exit.value[index])
    : Exit.mapError(exit, (failure) => failure(ask.failed))
