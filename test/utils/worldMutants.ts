/**
 * Defects that the simulation must notice by itself, without a test that was written for them. `npm run mutants -- worlds`
 * plays its worlds over each.
 */
import type { Mutant } from "./mutants.ts"
import { path } from "./pathMutants.ts"

const defect = (file: string, name: string, from: string, to = ""): Mutant => ({ file, name, from, to })

/** Faults that the simulation has found, each with what mended it taken out again. */
export const once = {
  windowOfTheLine: defect(
    "internal/accountTree.ts",
    "someone was let in from the line, for a window that had ended",
    "    for (const begun of head.turn()) {",
    "    for (const begun of new Set<Account>()) {"
  ),
  toldTwice: defect(
    "internal/memoryLedger.ts",
    "a caller went away as its admission was told, which was then told twice",
    "      held.admission = undefined\n      return admission",
    "      return admission"
  ),
  untold: defect(
    "internal/memoryLedger.ts",
    "a caller was interrupted between booking and telling, and the sink never heard",
    "return Effect.as(Effect.uninterruptible(told), held)",
    "return Effect.as(told, held)"
  ),
  passedBy: defect(
    "internal/storedLedger.ts",
    "an ending that had been described earlier passed by the one that was kept",
    "    if (this.keepsAnother(ask)) return conflictsWithKept(reservation)\n    return Effect.matchEffect(",
    "    return Effect.matchEffect("
  ),
  tooLate: defect(
    "internal/storedLedger.ts",
    "a lease ran out between a lost answer and its repeat",
    '        if (request.id === undefined && outcome.how === "ended") return this.tooLate(ask.id)\n'
  ),
  insideAnEnded: defect(
    "internal/accountTree.ts",
    "a clock that was set ahead and back began a rolling window inside one that had ended",
    "next(at.frame, Math.max(now, over), over)",
    "at.frame.at(now)"
  )
}

const own: ReadonlyArray<Mutant> = [
  defect(
    "internal/storedLedger.ts",
    "what nobody ever got stays charged where its lease was over before it was taken back",
    "Effect.andThen(cancelled, ended)",
    "cancelled"
  ),
  defect(
    "Budget.ts",
    "an account inside of another is opened without its limit",
    "openAccount(budget.ledger, { account, parent, limit, window, thresholds, temporary }, onLimitChange)",
    "openAccount(budget.ledger, { account, parent, limit: undefined, window, thresholds, temporary }, onLimitChange)"
  ),
  defect(
    "internal/memoryLedger.ts",
    "a limit that is lowered stays",
    "    if (from === to)",
    "    if (from === to || (to !== null && from !== null && to < from))"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite sets no limit",
    "    if (row.cap === limit) return []",
    "    if (row.cap !== undefined) return []"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite pauses nobody",
    "    if ((row.paused !== 0) === paused) return []",
    "    if (row.paused !== 2) return []"
  ),
  defect(
    "internal/memoryLedger.ts",
    "who was paused stays so",
    "    account.paused = paused\n",
    "    account.paused = true\n"
  ),
  defect(
    "internal/memoryLedger.ts",
    "a lease is half as long",
    "held.expiresAt = at + this.lease\n      this.leased.add(held)",
    "held.expiresAt = at + this.lease / 2\n      this.leased.add(held)"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite books an end on the nearest account alone",
    "chain: Rows.chainOf(Rows.linksOf(row)),\n      reservation: row.id,\n      reserved: row.amount\n    }\n",
    "chain: Rows.chainOf(Rows.linksOf(row).slice(0, 1)),\n      reservation: row.id,\n      reserved: row.amount\n    }\n"
  ),
  defect(
    "internal/accountTree.ts",
    "more is granted than was asked for",
    "Math.max(ask.least, Math.min(ask.most, Math.floor(room * ask.share)))",
    "Math.max(ask.least, Math.floor(room * ask.share))"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite corrects by a difference without its sign",
    "difference: Rows.usd(difference),",
    "difference: Rows.usd(Math.abs(difference)),"
  ),
  defect(
    "internal/tally.ts",
    "what remains is what is not spent",
    "shown(this.limit - this.#spent - this.#reserved)",
    "shown(this.limit - this.#spent)"
  ),
  defect(
    "internal/accountTree.ts",
    "a nano-dollar more than there is may be held",
    "account.paused || available(account) < amount",
    "account.paused || available(account) + 1 < amount"
  ),
  defect(
    "internal/accountTree.ts",
    "the last nano-dollar is never given",
    "account.paused || available(account) < amount",
    "account.paused || available(account) <= amount"
  ),
  defect(
    "internal/accountTree.ts",
    "who is paused goes on",
    "account.paused || available(account)",
    "available(account)"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite holds a nano-dollar more than there is",
    "Rows.roomOf(row) < ask.least ||",
    "Rows.roomOf(row) + 1 < ask.least ||"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite never gives the last nano-dollar",
    "Rows.roomOf(row) < ask.least ||",
    "Rows.roomOf(row) <= ask.least ||"
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite asks the nearest account alone",
    "const blocker = open.find(",
    "const blocker = open.slice(0, 1).find("
  ),
  defect(
    "internal/sqliteBooks.ts",
    "SQLite gives back what runs out",
    "const changes = this.#plan(row, row.amount, 0 - row.amount)",
    "const changes = this.#plan(row, 0, 0 - row.amount)"
  ),
  defect(
    "internal/ledgerWindows.ts",
    "an hour has thirty minutes",
    "const hour = 3_600_000",
    "const hour = 1_800_000"
  ),
  defect(
    "internal/ledgerWindows.ts",
    "a day begins in Greenwich",
    "const zone = DateTime.zoneMakeNamed(of)",
    'const zone = DateTime.zoneMakeNamed(of && "UTC")'
  ),
  defect(
    "internal/ledgerWindows.ts",
    "a rolling window lives twice as long",
    "({ start: now, end: now + millis })",
    "({ start: now, end: now + 2 * millis })"
  ),
  defect(
    "internal/ledgerWindows.ts",
    "a rolling window is a calendar's",
    "({ start: now, end: now + millis })",
    "({ start: now - (now % millis), end: now - (now % millis) + millis })"
  ),
  defect(
    "internal/requestBound.ts",
    "half the bytes are the bound of the input",
    "const shown = asciiEscapedLength(text) - this.deducted",
    "const shown = Math.ceil(asciiEscapedLength(text) / 2) - this.deducted"
  ),
  defect(
    "internal/sending.ts",
    "a call that is aborted before its answer is not read on",
    "void readOn(sent, transport, attempt)",
    "transport.abort()"
  ),
  defect(
    "internal/responseWatch.ts",
    "an answer that its reader leaves is not read on",
    "    if (observer.drains()) {",
    "    if (observer.drains() && signal === undefined) {"
  ),
  defect(
    "internal/memoryLedger.ts",
    "a threshold is told with each end above it",
    "reached({ limit, spent: now.spent }, threshold) && !reached(was, threshold)",
    "reached({ limit, spent: now.spent }, threshold)"
  ),
  defect(
    "internal/tally.ts",
    "a summary shows the last call of a model alone",
    "model.spent = shown(model.spent + entry.amount)",
    "model.spent = entry.amount"
  ),
  defect(
    "internal/tally.ts",
    "a summary keeps what was held",
    "    if (this.#isCurrent(reservation)) this.#reserved = shown(this.#reserved - reservation.amount)\n"
  )
]

/**
 * Those of the defects on the path of a call that no world can notice (none has two caps, a prediction, a model above), or
 * fewer than one in hundreds.
 */
const unseen: ReadonlySet<string> = new Set([
  "what Azure filters is free",
  "an answer that is held back is free",
  "addresses without an origin are one",
  "what cannot be sent is held first",
  "a free call is read twice",
  "an event that is too large to be read is passed over",
  "a stream that wrote may have no output",
  "an answer may have no output",
  "an account of another budget hides the one that is said around it",
  "a service knows nothing of the account that is said around it",
  "a length that was stated holds for a longer body",
  "a body is as deep as it likes",
  "nothing in a list asks for the longest cache",
  "a global fetch of the program's is taken for the platform's",
  "a Request given as options loses its members",
  "bytes are no body that was seen before",
  "an error that drains keeps its reader",
  "a usage before the answer is the last",
  "a namespace hides how its functions are fed",
  "a search finds texts, whatever it is asked for",
  "a paused account refuses who would wait",
  "a budget that is shut leaves those in line there",
  "a track counts what the ledger has booked",
  "of two rows the last wins",
  "a fiber waits for what it holds itself",
  "those in line wait for a callback that was thrown away",
  "a reader of the events is inside of the call",
  "a reader who falls behind costs all who read the newest",
  "a logger is inside of the call",
  "an error that throws as it is looked at keeps what was held",
  "text is taken for bytes",
  "headers are read twice",
  "a tracer stands before itself",
  "who cannot be billed is charged what he asked for first",
  "prices that throw cost a model its answer",
  "a call that dies as it begins holds on to what it has",
  "an hour begins inside the one before it",
  "a settlement counts as often as it is told",
  "two limits that are set at once pass each other",
  "wrapping twice charges twice",
  "a wrapped client is wrapped again",
  "redirects are followed",
  "tomorrow's price is not thought of",
  "what a price rose to while a call waited is not held",
  "what is not told is nothing",
  "the smaller of two caps counts",
  "a prediction is free",
  "a model's call costs what was seen of it",
  "what was seen below a model is charged once more",
  "an answer whose bill was lost is charged once more",
  "what was billed is given back when more is asked for",
  "who asks for more holds on to what he has",
  "a model holds no more than the last request below it",
  "a call that is over forgets the request that is not"
])

/** Files are named below `src`. */
export const worlds: ReadonlyArray<Mutant> = [
  ...Object.values(once),
  ...own,
  ...path.filter(({ name }) => !unseen.has(name))
]
