/**
 * The path of a call with one defect each: what once went wrong, here or elsewhere, or would if somebody took a guard
 * for granted. Each must be caught by the check that is named beside it. `npm run mutants -- path` runs them.
 */
import type { Mutant } from "./mutants.ts"

/** A defect, and the test that must catch it: its file, and what its name begins with behind its describe. */
export interface Defect extends Mutant {
  readonly check: readonly [file: string, name: string]
}

const defect = (file: string, name: string, check: Defect["check"], from: string, to = ""): Defect => ({
  name,
  file,
  from,
  to,
  check
})

const arithmetic = ["test/memoryLedger.test.ts", "has the same numbers"] as const
const fetched = (name: string) => ["test/BudgetedFetch.test.ts", name] as const
const budget = (name: string) => ["test/Budget.test.ts", name] as const
const client = (name: string) => ["test/BudgetedOpenAi.test.ts", name] as const
const settlement = (name: string) => ["test/Settlement.test.ts", name] as const
const pricing = (name: string) => ["test/Pricing.test.ts", name] as const
const quote = (name: string) => ["test/Quote.test.ts", name] as const
const endpoint = (name: string) => ["test/Endpoint.test.ts", name] as const
const protocol = (name: string) => ["test/hostileProtocol.test.ts", name] as const
const handed = (name: string) => ["test/handedOver.test.ts", name] as const
const wrongly = (name: string) => ["test/wrongUse.test.ts", name] as const
const usage = (name: string) => ["test/wireUsage.test.ts", name] as const

/** Files are named below `src`. */
export const path: ReadonlyArray<Defect> = [
  defect(
    "internal/memoryLedger.ts",
    "check and take are apart",
    budget("two hundred at once"),
    "? this.granted(received(this.take(fiber, request, account, Tree.hold(ask))))\n        : Effect.fail",
    "? Effect.andThen(Effect.yieldNow, Effect.suspend(() => this.granted(received(this.take(fiber, request, account, Tree.hold(ask))))))\n        : Effect.fail"
  ),
  defect(
    "internal/accountTree.ts",
    "the accounts above are not asked",
    arithmetic,
    "    if (lacks(at, amount)) return at\n  }\n",
    "    return lacks(at, amount) ? at : undefined\n  }\n"
  ),
  defect("internal/memoryLedger.ts", "an end is no end", arithmetic, "    held.ended = entry\n"),
  defect(
    "internal/memoryLedger.ts",
    "what runs out is given back",
    arithmetic,
    "Tree.book(chain, amount, amount, links)",
    "Tree.book(chain, amount, 0, links)"
  ),
  defect(
    "internal/memoryLedger.ts",
    "a lease never runs out",
    arithmetic,
    "if ((held.expiresAt ?? at + 1) > at) break",
    "break"
  ),
  defect(
    "Budget.ts",
    "only a success ends its reservation",
    budget("charges the whole quote for a failure"),
    "        return settleExit(fiber, budget, reservation, own, options)",
    "        return Exit.isSuccess(own) ? settleExit(fiber, budget, reservation, own, options) : Effect.void"
  ),
  defect(
    "Budget.ts",
    "it is reserved outside of what ends it",
    budget("leaks nothing and never starts unpaid"),
    "      const whole = Effect.suspend((): Effect.Effect<A, E | BudgetError.BudgetError, R> => {\n        const acquire = stepOf(budget.acquire)(fiber, { least: options.quote })\n",
    "      const acquire = stepOf(budget.acquire)(fiber, { least: options.quote })\n      const whole = Effect.suspend((): Effect.Effect<A, E | BudgetError.BudgetError, R> => {\n"
  ),
  defect(
    "Budget.ts",
    "a failure is free unless it says otherwise",
    budget("charges the whole quote for a failure"),
    'return onFailure === "release" ? budget.release(reservation) : settle(reservation.amount, "assumed")',
    "return budget.release(reservation)"
  ),
  defect(
    "Budget.ts",
    "who holds something may wait for more",
    budget("nested, never waits for itself"),
    "holdsAny(caller.getRef(Held)) ? undefined : waitAtMost",
    "waitAtMost"
  ),
  defect(
    "internal/accountTree.ts",
    "an hour begins inside the one before it",
    ["test/Ledger.test.ts", "has its hours follow each other"],
    "start: Math.max(start, over)",
    "start"
  ),
  defect(
    "internal/tally.ts",
    "a settlement counts as often as it is told",
    budget("a settlement that is told twice"),
    "if (!this.open.delete(reservation)) return false",
    "this.open.delete(reservation)"
  ),
  defect(
    "BudgetedFetch.ts",
    "no cap is written in",
    client("the caller's own objects stay as they were"),
    "if (cap !== undefined && quote.cap !== undefined) edits[quote.cap.field] = cap\n"
  ),
  defect(
    "BudgetedFetch.ts",
    "no tier is written in",
    client("the caller's own objects stay as they were"),
    "if (pinsTier(plan, host)) edits.service_tier = wireTier(policy.tier)\n"
  ),
  defect(
    "BudgetedFetch.ts",
    "the usage of a stream is not asked for",
    fetched("a stream that breaks after its usage"),
    "  if (hideUsage) edits.stream_options = { ...optionsOf(request.body.stream_options), include_usage: true }\n"
  ),
  defect(
    "BudgetedFetch.ts",
    "a retry shares a reservation",
    fetched("each retry reserves anew"),
    "acquire(edge, caller, ask, asked.init?.signal)",
    '(edge.options["held"] ??= acquire(edge, caller, ask, asked.init?.signal))'
  ),
  defect(
    "BudgetedFetch.ts",
    "wrapping twice charges twice",
    fetched("session.fetch over session.fetch"),
    "  if (passes(edge, url, given?.body)) return edge.inner(url, given)\n"
  ),
  defect(
    "BudgetedOpenAi.ts",
    "a wrapped client is wrapped again",
    client("twice answers the same client"),
    "  if (wrapping?.budgets.has(Context.get(context, Budget.Budget)) === true) return Result.succeed(client)\n"
  ),
  defect(
    "internal/attempt.ts",
    "an aborted call costs nothing",
    fetched("an abort after the request went out"),
    'this.end({ _tag: "Lost", why: "the call was aborted" })',
    'this.end({ _tag: "NotSent" })'
  ),
  defect(
    "internal/sending.ts",
    "a broken connection costs nothing",
    fetched("a connection reset"),
    "provesUnsent(edge, error) ?",
    "provesUnsent(edge, error) || true ?"
  ),
  defect(
    "internal/sending.ts",
    "redirects are followed",
    fetched("a redirect, which is not followed"),
    'redirect: "manual"',
    'redirect: "follow"'
  ),
  defect(
    "Quote.ts",
    "a cap is larger than what was granted",
    quote("holds for what is granted"),
    "if (worst !== undefined && worst <= granted) low = middle",
    "if (worst !== undefined) low = middle"
  ),
  defect(
    "internal/servedPrices.ts",
    "what the project decides is quoted as standard",
    quote("that the project decides"),
    'tier === "auto" ? ["flex", "priority", "ultrafast"] :',
    'tier === "auto" ? [] :'
  ),
  defect(
    "internal/servedPrices.ts",
    "tomorrow's price is not thought of",
    quote("is held as it will be tomorrow"),
    "const oneDay = 86_400_000",
    "const oneDay = 0"
  ),
  defect(
    "Quote.ts",
    "answers are capped and not counted",
    quote("holds: no usage that the body allows"),
    "cap * output.times + output.extra",
    "cap + output.extra"
  ),
  defect(
    "Settlement.ts",
    "the tier that the response echoes is ignored",
    settlement("is that of the tier"),
    "if (echo === undefined) return terms.tier\n",
    "return terms.tier\n"
  ),
  defect(
    "Settlement.ts",
    "the model that served is ignored",
    settlement("is the price of the snapshot"),
    "const served = servedModel(reading.model, terms.models, pricing)",
    "const served = undefined"
  ),
  defect(
    "internal/attempt.ts",
    "what is booked has the name of what was asked for",
    fetched("an answer of a dearer model"),
    "label: isMetered ? verdict.model : label",
    "label"
  ),
  defect(
    "Budget.ts",
    "two limits that are set at once pass each other",
    budget("the last of two limits"),
    "Semaphore.withPermit(settingLimit, Effect.uninterruptible(set))",
    "Effect.uninterruptible(set)"
  ),
  defect(
    "Settlement.ts",
    "an unknown tier is the one that was asked for",
    settlement("is charged whole at a tier"),
    "  return tier\n}",
    "  return tier ?? terms.tier\n}"
  ),
  defect(
    "Settlement.ts",
    "a server's failure is free",
    settlement("costs nothing where the provider refused it"),
    "return isRefusal(outcome.status, provider, heldBack)",
    "return outcome.status >= 400"
  ),
  defect(
    "Settlement.ts",
    "what Azure filters is free",
    settlement("is charged whole where Azure refused it"),
    ' !(provider === "azure.ai.openai" && status === billedByAzure) &&'
  ),
  defect(
    "Settlement.ts",
    "an answer that is held back is free",
    settlement("is charged whole where an answer may have been held back"),
    " !(heldBack && heldBackBy.has(status))",
    " true"
  ),
  defect(
    "internal/addresses.ts",
    "addresses without an origin are one",
    wrongly("no call goes to an address that is none of http"),
    '  if (at.protocol !== "https:" && at.protocol !== "http:") return refused(unspoken(at))\n'
  ),
  defect(
    "BudgetedFetch.ts",
    "what cannot be sent is held first",
    wrongly("holds nothing of a budget whose ledger takes time"),
    `  const init = asPriced(given)
  const held = acquire(edge, caller, { least: most, label: name }, given?.signal)
`,
    `  const held = acquire(edge, caller, { least: most, label: name }, given?.signal)
  const init = asPriced(given)
`
  ),
  defect(
    "BudgetedFetch.ts",
    "a free call is read twice",
    wrongly("is sent as it was looked up"),
    "return edge.inner(url, method === undefined ? given : { ...given, method })",
    "return edge.inner(url, given)"
  ),
  defect(
    "Settlement.ts",
    "a reset proves that nothing was sent",
    settlement("proves nothing where bytes"),
    '  "ECONNREFUSED",\n',
    '  "ECONNREFUSED",\n  "ECONNRESET",\n'
  ),
  defect(
    "Settlement.ts",
    "no more is booked than was reserved",
    settlement("is the price of the snapshot"),
    '{ _tag: "Metered", amount: amount.success, usage',
    '{ _tag: "Metered", amount: amount.success < terms.reserved ? amount.success : terms.reserved, usage'
  ),
  defect(
    "Pricing.ts",
    "cache writes cost what input does",
    pricing("charges each token once"),
    "    cacheWrite * rates.cacheWrite +\n",
    "    cacheWrite * rates.input +\n"
  ),
  defect(
    "Pricing.ts",
    "the cliff is off by one",
    pricing("re-prices the whole call"),
    "usage.input >= long.threshold",
    "usage.input > long.threshold"
  ),
  defect(
    "Pricing.ts",
    "a quote thinks of one side of the cliff",
    pricing("takes the dearest write"),
    "price.longContext !== undefined && input >= price.longContext.threshold ? price.longContext.rates : short",
    "short"
  ),
  defect(
    "Pricing.ts",
    "a quote thinks of no cache write",
    pricing("takes the dearest write"),
    "Math.max(rates.input, rates.cachedInput, rates.cacheWrite, rates.cacheWrite12h)",
    "rates.input"
  ),
  defect(
    "internal/wireUsage.ts",
    "what is not told is nothing",
    usage("without its output is unknown"),
    'told(wire, "total_tokens") ? rest : NaN',
    'told(wire, "total_tokens") ? rest : 0'
  ),
  defect("internal/wireUsage.ts", "no input is a usage", usage("is not one when"), "  usage.input > 0 &&\n"),
  defect(
    "internal/wireUsage.ts",
    "what was read from a cache is not seen",
    fetched("an answer with cached input"),
    'cachedInput: tokens(details, "cached_tokens"),\n    cacheWrite,\n    cacheWrite12h,\n    audioInput: tokens',
    "cachedInput: 0,\n    cacheWrite,\n    cacheWrite12h,\n    audioInput: tokens"
  ),
  defect(
    "internal/responseWatch.ts",
    "a usage that may still grow is the bill of a stream that was cut",
    protocol("a stream with usages that grow, cut"),
    'cut: () => observer.lost("the stream ended before it was done")',
    'cut: () => (interim === undefined ? observer.lost("the stream ended before it was done") : observer.reported(interim))'
  ),
  defect(
    "internal/responseWatch.ts",
    "a usage that cannot be read is passed over",
    protocol("a stream with usages that grow, the last of which cannot be read"),
    "      if (data.includes('\"usage\"')) unread()\n"
  ),
  defect(
    "internal/sse.ts",
    "an event that is too large to be read is passed over",
    protocol("a stream with usages that grow, the last of which is too large"),
    "      this.watcher.unread()\n"
  ),
  defect(
    "internal/responseWatch.ts",
    "a stream that wrote may have no output",
    protocol("without output at the end of a stream that wrote"),
    "wrote && reading?.usage.output === 0 ? undefined : reading",
    "reading"
  ),
  defect(
    "internal/wireUsage.ts",
    "an answer may have no output",
    usage("without output is not one beside"),
    "  if (usage.output === 0 && hasOutput(body, usage.input)) return undefined\n"
  ),
  defect(
    "internal/responseWatch.ts",
    "a reader that leaves a stream is not settled",
    fetched("a body whose reader leaves it"),
    '    observer.lost("the response was left before its end")\n'
  ),
  defect(
    "internal/requestBound.ts",
    "an unknown body field is let through",
    endpoint("that no list knows are refused"),
    'if (rule === "bounded" || body[key] === null',
    'if (rule === "bounded" || rule === undefined || body[key] === null'
  ),
  defect(
    "internal/chatCompletions.ts",
    "the smaller of two caps counts",
    quote("is the caller's where there is one"),
    "Math.max(...given)",
    "Math.min(...given)"
  ),
  defect(
    "internal/chatCompletions.ts",
    "several answers are one",
    endpoint("multiply the output"),
    'const times = reader.count(body, "n") ?? 1',
    "const times = 1"
  ),
  defect(
    "internal/chatCompletions.ts",
    "a prediction is free",
    endpoint("add a prediction to the output"),
    "extra: times * predicted(reader, body.prediction)",
    "extra: 0"
  ),
  defect(
    "internal/cover.ts",
    "a model's call costs what was seen of it",
    ["test/modelUnseen.test.ts", "is booked beside what one was billed"],
    "if (addUpTo(readings, usage)) return false",
    "if (readings.length > 0) return false"
  ),
  defect(
    "internal/cover.ts",
    "what was seen below a model is charged once more",
    ["test/modelUnseen.test.ts", "by another row of the same name"],
    "if (input === 0 && (output === 0 || said === 0)) return true",
    "if (input === -1) return true"
  ),
  defect(
    "internal/cover.ts",
    "an answer whose bill was lost is charged once more",
    ["test/modelUnseen.test.ts", "is charged once, whole, where the model tells what costs no more"],
    "return index < 0",
    "return true"
  ),
  defect(
    "internal/takeOver.ts",
    "what was billed is given back when more is asked for",
    ["test/modelUnseen.test.ts", "after a guardrail of another model"],
    "Effect.as(book(budget, hold, cover.unbooked(), next), next)",
    "Effect.as(book(budget, hold, cover.unbooked() && undefined, next), next)"
  ),
  defect(
    "internal/takeOver.ts",
    "who asks for more holds on to what he has",
    ["test/modelOver.test.ts", "is admitted where there is room for it alone"],
    "return atMost(Usd.zero).pipe(",
    "return Effect.void.pipe("
  ),
  defect(
    "internal/takeOver.ts",
    "a model holds no more than the last request below it",
    ["test/modelUnseen.test.ts", "is charged whole beside two guardrails"],
    "budget.acquire(raised(ask, Cover.floorOf(cover)))",
    "budget.acquire(ask)"
  ),
  defect(
    "internal/cover.ts",
    "a call that is over forgets the request that is not",
    ["test/modelOver.test.ts", "told another answer: both are booked"],
    "return this.#conclude?.(this.#unbooked) ?? Effect.void",
    "return Effect.void"
  ),
  defect(
    "internal/attempt.ts",
    "who cannot be billed is charged what he asked for first",
    ["test/modelBelow.test.ts", "also where a request below, which was free, had more reserved"],
    "this.#options.held?.() ?? this.reservation.amount",
    "this.reservation.amount"
  ),
  defect(
    "internal/attempt.ts",
    "what a price rose to while a call waited is not held",
    ["test/modelBelow.test.ts", "is held as it is by then"],
    "Result.isFailure(now) || now.success.least <= amount",
    "Result.isFailure(now) || amount >= 0"
  ),
  defect(
    "internal/modelCall.ts",
    "prices that throw cost a model its answer",
    ["test/modelBelow.test.ts", "cost the answer nothing"],
    "const verdict = Result.try(() => decide(outcome))",
    "const verdict = Result.succeed(decide(outcome))"
  ),
  defect(
    "internal/modelCall.ts",
    "a call that dies as it begins holds on to what it has",
    ["test/modelBelow.test.ts", "or before it begins leave nothing reserved"],
    "Effect.onError(() => giveUp(budget, admitted.under, admitted.reservation)),",
    ""
  ),
  defect(
    "internal/sending.ts",
    "a global fetch of the program's is taken for the platform's",
    fetched("a global fetch that goes through the session"),
    "edge.inner === platformFetch",
    "edge.inner === globalThis.fetch"
  ),
  defect(
    "internal/callContext.ts",
    "an account of another budget hides the one that is said around it",
    ["test/callingFiber.test.ts", "by a fiber within an account of another budget"],
    "callContext.run({ context: placed(context), passing",
    "callContext.run({ context, passing"
  ),
  defect(
    "BudgetedOpenAi.ts",
    "a service knows nothing of the account that is said around it",
    ["test/callingFiber.test.ts", "by the service's use"],
    "callContext.run({ context: placed(context), passing",
    "callContext.run({ context, passing"
  ),
  defect(
    "internal/callContext.ts",
    "a fiber waits for what it holds itself",
    ["test/callingFiber.test.ts", "through a wrapped client"],
    "holdsAny(Context.get(context, Held)) ||",
    "false ||"
  ),
  defect(
    "internal/steps.ts",
    "those in line wait for a callback that was thrown away",
    ["test/callingFiber.test.ts", "is served, also after a time in which no timer fired"],
    "    return this.getRef(Scheduler.Scheduler).makeDispatcher()",
    '    return ((this as { kept?: Scheduler.SchedulerDispatcher })["kept"] ??= this.getRef(Scheduler.Scheduler).makeDispatcher())'
  ),
  defect(
    "internal/budgetEvents.ts",
    "a reader of the events is inside of the call",
    ["test/hostileAround.test.ts", "hears of "],
    "apart(() => toReaders(events, event()))",
    "toReaders(events, event())"
  ),
  defect(
    "internal/background.ts",
    "a reader who falls behind costs all who read the newest",
    ["test/budgetVerbs.test.ts", "cost who falls behind the oldest, and nobody else anything"],
    "  if (!PubSub.publishUnsafe(readers, news)) Effect.runSync(PubSub.publish(readers, news))",
    "  PubSub.publishUnsafe(readers, news)"
  ),
  defect(
    "internal/background.ts",
    "a logger is inside of the call",
    ["test/hostileAround.test.ts", "costs no answer where the ledger dies"],
    "Effect.asVoid(Effect.exit(log))",
    "log"
  ),
  defect(
    "internal/modelCall.ts",
    "an error that throws as it is looked at keeps what was held",
    ["test/hostileAround.test.ts", "of a model"],
    "Result.try(() => this.#outcome(exit))",
    "Result.succeed(this.#outcome(exit))"
  ),
  defect(
    "internal/responseWatch.ts",
    "text is taken for bytes",
    ["test/hostileAround.test.ts", "is read and billed as what it says"],
    "through.end() : through.push(bytesOf(read.value))",
    "through.end() : through.push(read.value)"
  ),
  defect(
    "internal/requestBody.ts",
    "headers are read twice",
    ["test/hostileAround.test.ts", "are read once"],
    "return isOnce ? { ...init, headers: new Headers(headers) } : init",
    "return init"
  ),
  defect(
    "internal/bodySurvey.ts",
    "a body is as deep as it likes",
    ["test/bodySurvey.test.ts", "finds a body too deep"],
    "survey.isDeep = true",
    "survey.isDeep = false"
  ),
  defect(
    "internal/bodySurvey.ts",
    "nothing in a list asks for the longest cache",
    ["test/bodySurvey.test.ts", "finds the longest cache"],
    'else if (typeof child === "object" && child !== null) walk(',
    'else if (typeof child === "object" && child !== null && !isArray(child)) walk('
  ),
  defect(
    "internal/callContext.ts",
    "a tracer stands before itself",
    ["test/Telemetry.test.ts", "is told to nobody where nobody looks"],
    "const tracer = tracerOf(context)\n  const told",
    "const tracer = Context.get(context, Tracer.Tracer)\n  const told"
  ),
  defect(
    "OpenAiEndpoints.ts",
    "what is in no table is free",
    ["test/OpenAiEndpoints.test.ts", "that nobody has priced are refused"],
    "  const shown = `/${parts",
    '  if (parts.length > 0) return { _tag: "Free" }\n  const shown = `/${parts'
  ),
  defect(
    "internal/sending.ts",
    "a length that was stated holds for a longer body",
    handed("is read by the server"),
    "  if (body !== init?.body && statesLength(init)) request.headers = withoutLength(init?.headers)\n"
  ),
  defect(
    "BudgetedFetch.ts",
    "a Request given as options loses its members",
    handed("are read by their names"),
    "const given = ownOptions(options)",
    "const given = options"
  ),
  defect(
    "internal/sending.ts",
    "bytes are no body that was seen before",
    handed("is charged once"),
    "passing.body !== (textOf(body) ?? body)",
    "passing.body !== body"
  ),
  defect(
    "BudgetedFetch.ts",
    "an error that drains keeps its reader",
    handed("lets its reader go"),
    "return drains ? leavable(response, { ...watching, hideUsage: false }) : response",
    "return response"
  ),
  defect(
    "internal/streamUsage.ts",
    "a usage before the answer is the last",
    handed("that tells a usage before its answer"),
    "isAlone && (reading === undefined || reading.usage.output > 0)",
    "isAlone"
  ),
  defect(
    "internal/countSheet.ts",
    "a namespace hides how its functions are fed",
    ["test/countedBound.test.ts", "are counted no lower than outside of one"],
    "        addFunctionsOf(tool, functions)\n"
  ),
  defect(
    "internal/requestBound.ts",
    "a search finds texts, whatever it is asked for",
    ["test/hostedTools.test.ts", "fills it with images where a search"],
    '!(found === undefined || found === null || (isArray(found) && found.every((each) => each === "text")))',
    "false"
  ),
  defect(
    "Budget.ts",
    "a paused account refuses who would wait",
    ["test/budgetVerbs.test.ts", "waits where the account is paused"],
    ' || (_tag === "AccountPaused" && waitAtMost !== undefined)'
  ),
  defect(
    "Budget.ts",
    "a budget that is shut leaves those in line there",
    ["test/budgetVerbs.test.ts", "lets those in line go as it is shut"],
    "    for (const fiber of waiting) fiber.interruptUnsafe()\n"
  ),
  defect(
    "Budget.ts",
    "a track counts what the ledger has booked",
    ["test/budgetVerbs.test.ts", "counts what the ledger has yet to book"],
    "const own = tally?.tracked(account) ?? Usd.zero",
    "const own = Usd.zero"
  ),
  defect(
    "Pricing.ts",
    "of two rows the last wins",
    ["test/Pricing.test.ts", "are refused by the key that is there twice"],
    "const twice = keyTwice(text)",
    "const twice = undefined as ReadonlyArray<string> | undefined"
  )
]
