/**
 * Asks of one turn of the event loop, sent as one. Who asks first does not wait for others but for those who ask in the
 * same breath; while answers are on their way, whoever asks in the same turn of the loop goes with the others.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { apart, longestTimer } from "./background.ts"
import type { Answer, StoreUnavailable } from "./ledgerStore.ts"

/** How many go at once: about a millisecond, in which Redis does nothing else. */
const most = 128

/** What is told of an ask, by its line of the answer, or by what went wrong. */
interface Reader<A> {
  readonly answered: (line: string) => Answer<A>
  /** Where nobody knows what became of it. */
  readonly failed: (cause: unknown) => StoreUnavailable
}

interface Ask {
  readonly args: ReadonlyArray<string>
  readonly answered: (line: string) => void
  readonly failed: (exit: Exit.Exit<never, unknown>) => void
  isGone: boolean
}

/** The way there. */
export interface Way {
  /** Sends all of their arguments; answers a line for each, in their order. */
  readonly send: (asks: ReadonlyArray<ReadonlyArray<string>>) => Effect.Effect<string, unknown>
  /** Whether it went wrong inside the script, which wrote nothing then. */
  readonly isOfScript: (cause: unknown) => boolean
  /** In milliseconds. */
  readonly timeout: number
  /** Nothing came in time: done before that is told, as of when it was sent. Answers what went wrong. */
  readonly late: () => Effect.Effect<unknown>
}

export class Asks {
  readonly #way: Way
  #waiting: Array<Ask> = []
  #isScheduled = false
  #onTheirWay = 0

  constructor(way: Way) {
    this.#way = way
  }

  /** Whoever is interrupted before it was sent has asked for nothing. */
  ask<A>(args: ReadonlyArray<string>, { answered, failed }: Reader<A>): Answer<A> {
    return Effect.callback<A, StoreUnavailable>((resume) => {
      const ask: Ask = {
        args,
        answered: (line) => apart(() => resume(answered(line))),
        failed: (exit) => apart(() => resume(Exit.mapError(exit, failed))),
        isGone: false
      }
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

  /** A plain timer and one fiber, for all of them: each call pays for this. Timers are real ones, since a server is. */
  #go(asks: ReadonlyArray<Ask>): void {
    this.#onTheirWay++
    const late = this.#way.late()
    const running = Effect.runFork(this.#way.send(asks.map(({ args }) => args)))
    const timer = setTimeout(() => running.interruptUnsafe(), Math.min(this.#way.timeout, longestTimer))
    running.addObserver((exit) => {
      clearTimeout(timer)
      this.#onTheirWay--
      if (Exit.isSuccess(exit)) this.#answer(asks, exit.value)
      else if (Cause.hasInterruptsOnly(exit.cause)) {
        Effect.runFork(Effect.flatMap(late, Effect.fail)).addObserver((told) => this.#fail(asks, told))
      } else this.#fail(asks, Exit.failCause(exit.cause))
    })
  }

  #answer(asks: ReadonlyArray<Ask>, text: string): void {
    const [only, ...others] = asks
    if (others.length === 0) {
      only?.answered(text)
      return
    }
    const lines = text.split("\n")
    // A row that nobody here wrote can break a line, and nobody knows which.
    if (lines.length !== asks.length) this.#byThemselves(asks)
    else asks.forEach((ask, index) => ask.answered(lines[index] ?? ""))
  }

  #fail(asks: ReadonlyArray<Ask>, exit: Exit.Exit<never, unknown>): void {
    const cause = Option.getOrUndefined(Exit.findErrorOption(exit))
    if (asks.length > 1 && this.#way.isOfScript(cause)) this.#byThemselves(asks)
    else for (const ask of asks) ask.failed(exit)
  }

  /** One of them spoils the answer of all: each can be asked again. */
  #byThemselves(asks: ReadonlyArray<Ask>): void {
    for (const ask of asks) if (!ask.isGone) this.#go([ask])
  }
}
