/** What agents do: calls with retries, priced effects that nest, and the ledger by hand, in accounts of their own. */
import { Budget, BudgetError, Usd } from "agent-budget"
import { Cause, Effect, Exit } from "effect"
import { callContext } from "../../src/internal/callContext.ts"
import type { Random } from "../utils/random.ts"
import { attempt as newAttempt, type Attempt, type Leaving } from "./attempt.ts"
import type { Owner } from "./engine.ts"
import { Aborted, isExpected } from "./expected.ts"
import { drawBehaviour } from "./faults.ts"
import { root } from "./provider.ts"
import { crew, type Work } from "./crew.ts"
import { Caller, Holding, Left, type Desk, type Surroundings } from "./process.ts"
import { readAnswer } from "./reading.ts"
import { drawAsk, drawUnpriced, requestOf, type Ask } from "./requests.ts"

/** An agent at work in a process. */
export interface Agent {
  readonly name: string
  readonly owner: Owner
  readonly desk: Desk
  readonly surroundings: Surroundings
  readonly random: Random
  /** How to abort each call that is under way. */
  readonly calls: Map<string, () => void>
  /** Attempts so far. */
  attempts: number
}

const begin = (agent: Agent): Attempt => {
  const made = newAttempt(`${agent.name}.${++agent.attempts}`)
  agent.surroundings.judge.attempts.set(made.id, made)
  return made
}

type Answered = { readonly status: number } | { readonly error: unknown }

/** One attempt by `fetch`. It goes on when its fiber is interrupted, unless that is heeded. */
const send = async (
  agent: Agent,
  ask: Ask,
  made: Attempt,
  interruption: AbortSignal | undefined
): Promise<Answered> => {
  const { calls, desk, owner, random, surroundings } = agent
  const { coverage, engine } = surroundings
  const controller = new AbortController()
  let isAnswered = false
  const goes = (how: Leaving): void => {
    made.left = true
    made.leaving ??= { how, at: engine.now }
  }
  const abort = (): void => {
    if (!made.read) goes(isAnswered ? "abort in an answer" : "abort before an answer")
    calls.delete(made.id)
    controller.abort(new Aborted("The agent has had enough."))
  }
  calls.set(made.id, abort)
  interruption?.addEventListener("abort", abort, { once: true })
  if (random.chance(0.03)) {
    coverage.met("aborts before sending")
    abort()
  }
  const turn = () => new Promise<void>((resolve) => engine.soon(owner, resolve))
  try {
    const response = await desk.fetch(ask.url, requestOf(ask, made.id, controller.signal))
    isAnswered = true
    await readAnswer(response, ask.reading, made, turn, () => goes("cancel"), coverage)
    return { status: response.status }
  } catch (error) {
    return { error }
  } finally {
    interruption?.removeEventListener("abort", abort)
    if (!made.unread) calls.delete(made.id)
  }
}

const callOnce = (agent: Agent, ask: Ask, made: Attempt): Effect.Effect<Answered> =>
  Effect.withFiber((fiber) => {
    const { context } = fiber
    const heeds = agent.random.chance(0.9)
    made.heedless = !heeds
    return Effect.promise((signal) =>
      callContext.run({ context, passing: undefined }, () =>
        send(agent, ask, made, heeds ? signal : undefined)
      )
    )
  }).pipe(Effect.provideService(Caller, made.id))

/** A call, and again where that may help, each time as an attempt of its own. */
const call = (agent: Agent): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { random, surroundings } = agent
    const { coverage, isStored, judge, provider } = surroundings
    const isLeft = yield* Left
    const ask = drawAsk(random, surroundings.bytesPerToken)
    const most = random.between(1, 3)
    for (let tried = 1; ; tried++) {
      const made = begin(agent)
      provider.expect(made, drawBehaviour(random), ask.body)
      coverage.met("calls")
      const answered = yield* callOnce(agent, ask, made)
      if ("error" in answered) {
        const refused = BudgetError.find(answered.error)
        if (refused !== undefined) {
          coverage.met("refusals")
          surroundings.engine.say(`${made.id} is refused: ${refused.reason._tag}`)
        }
        judge.claim(
          isExpected(answered.error, { isStored, isLeft: isLeft || made.heedless || made.left }),
          () => `${made.id} failed with ${String(answered.error)}`
        )
        if (refused !== undefined || made.left) return
      } else if (answered.status < 400 || made.left || made.unread) return
      if (tried >= most) return
      coverage.met("retries")
      yield* Effect.sleep(random.below(3_000))
    }
  })

/** A call that has no price, or no bound: it is refused, and nothing of it is sent or held. */
const unpriced = (agent: Agent): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { random, surroundings } = agent
    const { coverage, judge } = surroundings
    const { body, path, reason } = drawUnpriced(random)
    const made = begin(agent)
    coverage.met("calls without a price")
    const ask: Ask = { url: `${root}${path}`, body, reading: { kind: "text" } }
    return Effect.map(callOnce(agent, ask, made), (answered) => {
      const error = "error" in answered ? answered.error : `the status ${answered.status}`
      const found = BudgetError.find(error)?.reason._tag
      judge.claim(found === reason || made.left, () => `${made.id}: ${String(error)}, not ${reason}`)
      const isFree = made.arrivals === 0 && !judge.asked.has(made.id)
      judge.claim(isFree, () => `${made.id} has no price, and was sent or reserved for`)
    })
  })

/** Work with a price of its own, which may fail, and inside which there may be more of it. */
const priced = (agent: Agent, depth: number): Work =>
  Effect.suspend(() => {
    const { random, surroundings } = agent
    const made = begin(agent)
    const quote = random.below(2_000_000)
    const cost = random.chance(0.1) ? quote + random.below(1_000_000) : random.below(quote + 1)
    const fails = random.chance(0.2)
    const isFree = random.chance(0.5)
    const holding = { held: true }
    surroundings.coverage.met("effects")
    const work = Effect.gen(function* () {
      made.arrivals++
      // What fails is free where its maker says so.
      made.provenFree = isFree
      yield* Effect.sleep(random.below(5_000))
      if (depth > 0 && random.chance(0.6)) yield* Effect.ignore(inside(agent, depth - 1))
      if (fails) return yield* Effect.die(new Aborted("The work failed."))
      // What is free where it fails costs something only where it is seen to succeed.
      if (!isFree) billed()
      return cost
    })
    const billed = (): number => {
      made.bill = BigInt(cost)
      made.broken = cost > quote
      return cost
    }
    const onFailure = isFree ? ("release" as const) : ("charge" as const)
    return work.pipe(
      Effect.provideService(Holding, holding),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          holding.held = false
          if (Exit.isFailure(exit)) made.left = true
        })
      ),
      Budget.withBudget({
        quote: Usd.nanos(quote),
        cost: () => {
          made.told = true
          return Usd.nanos(billed())
        },
        onFailure
      }),
      Effect.provideService(Caller, made.id),
      Effect.asVoid
    )
  })

/** What goes on inside something that holds a reservation. */
const inside = (agent: Agent, depth: number): Work => {
  const kind = agent.random.below(4)
  if (kind < 2) return priced(agent, depth)
  if (kind === 3 && depth > 0) return crew(agent, () => solo(agent, depth - 1))
  agent.surroundings.coverage.met("calls inside effects")
  return call(agent)
}

/** One piece of work. */
const solo = (agent: Agent, depth: number): Work => {
  const kind = agent.random.below(20)
  if (kind < 13) return call(agent)
  return kind === 13 ? unpriced(agent) : priced(agent, depth)
}

/** The ledger by hand: every end is sent twice, and an end of another kind is refused. */
const byHand = (agent: Agent): Work =>
  Effect.gen(function* () {
    const { desk, random, surroundings } = agent
    const { coverage, judge } = surroundings
    const { ledger } = desk.budget
    const made = begin(agent)
    const { account } = yield* Budget.balance
    // All that there is, and a nano-dollar more, are the edges of what may be admitted.
    const room = random.chance(0.4) ? surroundings.roomOn(account) : undefined
    const isEdge = room !== undefined && room > 0 && room < 100_000_000
    const least = Usd.nanos(isEdge ? room + random.below(2) : random.below(3_000_000))
    const most = !isEdge && random.chance(0.5) ? Usd.nanos(least + random.below(3_000_000)) : undefined
    const waitAtMost = random.chance(0.3) ? random.below(20_000) : undefined
    made.unread = true
    made.byHand = true
    const held = yield* Effect.provideService(
      // What was granted must not be lost between the ledger and the next line.
      Effect.uninterruptible(ledger.reserve({ account, least, most, share: 0.5, waitAtMost })),
      Caller,
      made.id
    )
    yield* Effect.sleep(random.below(30_000))
    if (random.chance(0.4)) {
      const { skews } = agent.owner
      const { from, set } = yield* Effect.sync(() => ({ from: surroundings.engine.now, set: skews.length }))
      const renewed = yield* Effect.exit(ledger.renew(held))
      const to = yield* Effect.sync(() => surroundings.engine.now)
      // Its clock may have been set in between, more than once.
      const ahead = [...skews.slice(set), agent.owner.skew]
      if (Exit.isSuccess(renewed)) judge.renewed(renewed.value, { from, to, ahead })
      yield* Effect.sleep(random.below(30_000))
    }
    const isFree = random.chance(0.3)
    const amount = Usd.nanos(random.chance(0.1) ? held.amount + 1_000 : random.below(held.amount + 1))
    made.told = !isFree
    made.provenFree = isFree
    made.bill = isFree ? 0n : BigInt(amount)
    made.broken = amount > held.amount
    const end = isFree
      ? ledger.release(held)
      : ledger.settle(held, { amount, verdict: "metered", label: "by hand" })
    const other = ledger.settle(held, { amount: Usd.nanos(amount + 1), verdict: "metered" })
    const first = yield* Effect.exit(end)
    made.unread = false
    const second = yield* Effect.exit(end)
    const third = yield* Effect.exit(other)
    surroundings.engine.say(
      `${made.id} ends by hand: ${[first, second, third].map(({ _tag }) => _tag).join(", ")}`
    )
    const isAway = (exit: Exit.Exit<unknown, BudgetError.BudgetError>): boolean =>
      Exit.isFailure(exit) && BudgetError.find(Cause.squash(exit.cause))?.reason._tag === "LedgerUnavailable"
    if ([first, second, third].some(isAway)) return
    coverage.met("repeated endings")
    judge.claim(Exit.isSuccess(first) && Exit.isSuccess(second), () => `${made.id} did not end twice alike`)
    judge.claim(Exit.isFailure(third), () => `${made.id} ended in two ways`)
  })

/** Somewhere below the account of the process: in a team that stays, an account of its own, or both. */
const somewhere =
  (agent: Agent, teams: ReadonlyArray<string>) =>
  <E>(work: Effect.Effect<void, E, Budget.Budget>) =>
    Effect.suspend((): Effect.Effect<void, E | BudgetError.BudgetError, Budget.Budget> => {
      const { random, surroundings } = agent
      let placed: Effect.Effect<void, E | BudgetError.BudgetError, Budget.Budget> = work
      if (random.chance(0.4)) {
        const name = random.below(4)
        surroundings.coverage.met("opened accounts")
        const limit = name === 0 ? undefined : Usd.nanos(name * 10_000_000)
        placed = Budget.within(placed, { account: `agent-${name}`, limit })
      }
      if (random.chance(0.6)) placed = Budget.within(placed, { account: random.one(teams) })
      return placed
    })

/** All that an agent does. What it meets is judged; nothing but an interruption goes further. */
export const life = (agent: Agent, teams: ReadonlyArray<string>): Effect.Effect<void> => {
  const { desk, random, surroundings } = agent
  const { isStored } = surroundings
  const kind = random.below(10)
  const work = kind < 7 ? solo(agent, 2) : kind < 9 ? crew(agent, () => solo(agent, 2)) : byHand(agent)
  return work.pipe(
    somewhere(agent, teams),
    Effect.provideContext(desk.context),
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        const error = Cause.squash(cause)
        const isFine = Cause.hasInterruptsOnly(cause) || isExpected(error, { isStored, isLeft: false })
        surroundings.judge.claim(isFine, () => `${agent.name} failed with ${String(error)}`)
      })
    )
  )
}
