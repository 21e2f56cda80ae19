/**
 * Engines with one guard taken away, each of which the suites must catch: a text that stands once in a file, and what
 * to put in its place. `npm run mutants -- ledgers` runs them.
 */

/** One guard less. */
export interface Mutant {
  readonly name: string
  /** Below `src/internal`. */
  readonly file: string
  readonly from: string
  readonly to: string
}

/** An engine: its tests of the contract, by file and by what their names begin with, and its mutants. */
export interface Engine {
  readonly files: ReadonlyArray<string>
  readonly suites: ReadonlyArray<string>
  readonly mutants: ReadonlyArray<Mutant>
}

const mutant = (file: string, name: string, from: string, to = ""): Mutant => ({ name, file, from, to })

const memory: Engine = {
  files: ["test/memoryLedger.test.ts"],
  suites: ["the memory ledger: ", "a grant in line under", "an id of the caller's, however often"],
  mutants: [
    mutant(
      "accountTree.ts",
      "the limit",
      "account.paused || available(account) < amount",
      "account.paused || available(account) < -amount"
    ),
    mutant("accountTree.ts", "a pause", "account.paused || available(account)", "available(account)"),
    mutant(
      "accountTree.ts",
      "the line",
      "    if (head !== undefined && head.ticket < waiter.ticket) return at\n"
    ),
    mutant(
      "accountTree.ts",
      "the window that admitted",
      "  at.frame === undefined || links[index]?.window === at.start",
      "  at.frame === undefined || links[index] !== undefined"
    ),
    mutant(
      "accountTree.ts",
      "the exact range",
      " && !Number.isSafeInteger(at.spent + at.reserved + by)",
      " && Number.isNaN(at.spent + by)"
    ),
    mutant("ledgerChecks.ts", "a name that is no text", 'typeof name === "string"', "name !== 0"),
    mutant(
      "memoryLedger.ts",
      "those in line behind one who throws",
      "apart(() => told(outcome))",
      "told(outcome)"
    ),
    mutant(
      "memoryLedger.ts",
      "a booking whose reader throws",
      "apart(() => toReaders(this.told, entry))",
      "toReaders(this.told, entry)"
    ),
    mutant("memoryLedger.ts", "one end", "    held.ended = entry\n"),
    mutant(
      "memoryLedger.ts",
      "a grant to one who left",
      "    if (taken === undefined) return Effect.void\n",
      "    if (taken === undefined || taken.ended === undefined) return Effect.void\n"
    ),
    mutant(
      "memoryLedger.ts",
      "a place that another got by its id",
      "if (!place.isInLine && place.outcome === undefined) this.join(fiber, place)",
      "if (!place.isInLine) this.join(fiber, place)"
    ),
    mutant("memoryLedger.ts", "one place an id", "    if (shared !== undefined) return shared\n"),
    mutant(
      "memoryLedger.ts",
      "one grant an id",
      "    if (known !== undefined) return repeated(known, request)\n"
    ),
    mutant(
      "memoryLedger.ts",
      "an account above a live one",
      "      if (parent !== undefined) parent.below++\n"
    )
  ]
}

const sqlite: Engine = {
  files: ["test/SqliteStore.test.ts", "test/SqliteLedger.test.ts"],
  suites: ["a store in a SQLite file: ", "SqliteLedger: "],
  mutants: [
    mutant("sqliteBooks.ts", "the limit", "        Rows.roomOf(row) < ask.least ||\n"),
    mutant("sqliteBooks.ts", "a pause", "        row.paused !== 0 ||\n"),
    mutant("sqliteBooks.ts", "the line", "this.#isBehind(row, ticket))", "ticket < 0)"),
    mutant("sqliteBooks.ts", "the ticket of a place", "this.#sql.ticket.get(waiter)?.ticket ?? this", "this"),
    mutant(
      "sqliteBooks.ts",
      "the window that admitted",
      "if (at?.window_start !== window) return []",
      "if (at === undefined) return []"
    ),
    mutant("sqliteBooks.ts", "a window that is not over", " || !Rows.isStale(row, this.#now)"),
    mutant(
      "sqliteBooks.ts",
      "the end of the window before",
      "Math.max(start, row.window_end ?? start)",
      "start"
    ),
    mutant(
      "sqliteBooks.ts",
      "the end of a lease",
      "this.#sql.due.all(this.#now, most)",
      "this.#sql.due.all(0, most)"
    ),
    mutant(
      "sqliteBooks.ts",
      "the charge of what runs out",
      "this.#plan(row, row.amount, 0 - row.amount)",
      "this.#plan(row, 0, 0 - row.amount)"
    ),
    mutant(
      "sqliteBooks.ts",
      "an account above a live one",
      "    if (parent?.temporary === 1) this.#sql.addOpener.run(parent.id, below(lastInsertRowid))\n"
    ),
    mutant(
      "sqliteBooks.ts",
      "what a cancel takes back",
      'else if (row.state === "held") this.#endHeld(row, { id, amount: 0, verdict: "released", label: null })\n'
    ),
    mutant(
      "sqliteFile.ts",
      "those who are told after one who throws",
      "apart(() => resume(cast<A>(exit)))",
      "resume(cast<A>(exit))"
    ),
    mutant(
      "sqliteRows.ts",
      "the exact range",
      "spent + reserved <= Store.noLimit",
      "spent + reserved <= Infinity"
    ),
    mutant(
      "sqliteRows.ts",
      "one ask an id",
      '  if (row.fingerprint !== ask.fingerprint) return { _tag: "Taken", how: "another ask" }\n'
    ),
    mutant(
      "sqliteRows.ts",
      "a cancelled id",
      '  if (row.state === "cancelled") return { _tag: "Taken", how: "cancelled" }\n'
    )
  ]
}

const postgres: Engine = {
  files: ["test/PostgresStore.test.ts", "test/PostgresLedger.test.ts"],
  suites: [
    "a store in PostgreSQL: ",
    "a ledger in PostgreSQL: ",
    "every verb > is on the disk",
    "others at the ledger"
  ],
  mutants: [
    mutant("postgresProcedure.ts", "the wait for the disk", "`COMMIT;\n  ${flush};`", "`COMMIT;`"),
    mutant(
      "postgresProcedures.ts",
      "the wait for the disk of what was read",
      "    ${flush};\n  END IF;\n  RETURN answer_;",
      "    NULL;\n  END IF;\n  RETURN answer_;"
    ),
    mutant(
      "postgresAccounts.ts",
      "the lock on a parent",
      "WHERE name = parent_ FOR KEY SHARE;",
      "WHERE name = parent_;"
    ),
    mutant(
      "postgresReserve.ts",
      "the locks on the accounts above",
      "WHERE link.name = chain_[i] FOR NO KEY UPDATE OF link;",
      "WHERE link.name = chain_[i];"
    ),
    mutant("postgresReserve.ts", "the limit", "IF a.paused OR free_ < least_ OR (", "IF a.paused OR ("),
    mutant("postgresReserve.ts", "a pause", "IF a.paused OR free_", "IF free_"),
    mutant("postgresReserve.ts", "the line", "AND ticket < coalesce(own_.ticket, ${most})", "AND false"),
    mutant(
      "postgresReserve.ts",
      "one ask an id",
      "IF r.state = 'held' AND r.fingerprint = fingerprint_ THEN",
      "IF r.state = 'held' THEN"
    ),
    mutant("postgresReserve.ts", "the lock on an id", "`${lockId(names)};\n  ${quick", "`${quick"),
    mutant(
      "postgresTables.ts",
      "the window that admitted",
      "r.account_ids[i] AND window_start IS NOT DISTINCT FROM r.windows[i]\n          AND spent",
      "r.account_ids[i]\n          AND spent"
    ),
    mutant("postgresAccounts.ts", "the end of the window before", "greatest(start_, a.window_end)", "start_"),
    mutant(
      "postgresEndings.ts",
      "a cancelled id",
      "IF NOT FOUND OR r.state = 'cancelled' THEN",
      "IF NOT FOUND THEN"
    ),
    mutant(
      "postgresEndings.ts",
      "the end of a lease",
      "WHERE state = 'held' AND expires_at <= now_",
      "WHERE state = 'held' AND expires_at <= 0"
    ),
    mutant(
      "postgresEndings.ts",
      "the charge of what runs out",
      "(r, 'Expired', r.amount, 'assumed', NULL)",
      "(r, 'Expired', 0, 'assumed', NULL)"
    ),
    mutant(
      "postgresAccounts.ts",
      "a window that is not over",
      "(a.window_end IS NULL OR a.window_end <= now_) AND"
    ),
    mutant(
      "postgresAccounts.ts",
      "an account above a live one",
      "        INSERT INTO ${of(\"openers\")} VALUES (above_.id, 'below ' || a.id);\n",
      "        NULL;\n"
    )
  ]
}

const redis: Engine = {
  files: ["test/RedisStore.test.ts", "test/RedisLedger.test.ts"],
  suites: ["a store in Redis: ", "a ledger in Redis: ", "every verb writes", "asks"],
  mutants: [
    mutant("redisBatch.ts", "the limit", "(a.paused or free < sum or (", "(a.paused or ("),
    mutant("redisBatch.ts", "a pause", "(a.paused or free < sum", "(free < sum"),
    mutant("redisBatch.ts", "the line", " or (place and isCrowded and ahead(a, mine))) then", ") then"),
    mutant(
      "redisBatch.ts",
      "the turn of one whose neighbour fails",
      "        leave(mine)\n        tells = true",
      "        giveUp(mine)\n        tells = true"
    ),
    mutant(
      "redisBatch.ts",
      "the turn of one before a neighbour of whom another fails",
      "following('ticket'), born = a.born, name = a.name, till = till }\n",
      "following('ticket'), born = a.born, name = a.name, till = till }\n      stand(come[id], till)\n"
    ),
    mutant(
      "redisBatch.ts",
      "a line that some have left",
      "if not first or not gone[",
      "if not first or not come["
    ),
    mutant(
      "redisBatch.ts",
      "a line that some have joined",
      "if p.born == a.born then least",
      "if false then least"
    ),
    mutant("redisBatch.ts", "a place that was given up", "come[id] or not gone[id] and", "come[id] or"),
    mutant("redisBatch.ts", "one ask an id", " and was == fingerprint then", " then"),
    mutant(
      "redisBatch.ts",
      "the exact range",
      "if spent > most or spent > most - (a.reserved - freed) then",
      "if false then"
    ),
    mutant("redisBatch.ts", "what the batch ended", "    texts[id] = text\n"),
    mutant(
      "redisBatch.ts",
      "what the batch held",
      "texts[id], tills[id] = text, expiresAt",
      "tills[id] = expiresAt"
    ),
    mutant(
      "redisBatch.ts",
      "the entries first",
      '${Rows.flushing}\n${write("HSET", "accounts", "rows")}\n',
      '${write("HSET", "accounts", "rows")}\n${Rows.flushing}\n'
    ),
    mutant(
      "redisAsks.ts",
      "those who are told after one who throws",
      "apart(() => resume(answered(line)))",
      "resume(answered(line))"
    ),
    mutant(
      "redisRows.ts",
      "the kinds of its keys",
      "if found ~= kind and found ~= 'none' then",
      "if false then"
    ),
    mutant(
      "redisScripts.ts",
      "a window that is not over",
      "(not a.till or a.till <= now) and start",
      "start"
    ),
    mutant(
      "redisScripts.ts",
      "the end of the window before",
      "int(math.max(start, a.till or start))",
      "int(start)"
    ),
    mutant(
      "redisScripts.ts",
      "the end of a lease",
      "leases, '-inf', moment, 'BYSCORE'",
      "leases, '-inf', 0, 'BYSCORE'"
    ),
    mutant(
      "redisScripts.ts",
      "the charge of what runs out",
      "r.held, r.amount, r.amount, touched, name)",
      "r.held, r.amount, 0, touched, name)"
    ),
    mutant(
      "redisScripts.ts",
      "an account above a live one",
      "if up and up.opened ~= '-' then",
      "if false then"
    ),
    mutant(
      "ledgerChecks.ts",
      "an id that is no text",
      '  if (id !== undefined && !isText(id)) return "The id of a reservation is a text."\n'
    ),
    mutant(
      "storedLedger.ts",
      "a reservation whose id is no text",
      "    if (!Checks.isText(id)) return notMade(reservation)\n"
    ),
    mutant("redisRows.ts", "the window that admitted", " and a.from == window then", " then"),
    mutant("redisRows.ts", "the account that admitted", "if a and a.born == born and", "if a and")
  ]
}

/** What the durable engines share. */
const stored: Engine = {
  files: ["test/storedLedger.test.ts"],
  suites: [
    "a stored ledger: ",
    "a store that is away",
    "an answer that is lost",
    "a grant that meets",
    "a reservation that nobody ever got",
    "an end that was kept",
    "two ends of one",
    "a ledger that closes"
  ],
  mutants: [
    mutant(
      "storedLedger.ts",
      "an id that others ask under",
      "    if (mayHold && !isNamed) this.cancel(ask.id)\n",
      "    if (mayHold) this.cancel(ask.id)\n"
    ),
    mutant(
      "storedLedger.ts",
      "one ask an id",
      "      if (!this.named.enter(id, ask.fingerprint))",
      "      if (false)"
    ),
    mutant(
      "storedLedger.ts",
      "a kept end that is refused",
      '      this.refused.set(endKey(end), { unwritten, end, isOpen: answer._tag === "OutOfRange" })\n'
    ),
    mutant(
      "storedLedger.ts",
      "those in line behind one who throws",
      "apart(() => resume(Effect.succeed(outcome)))",
      "resume(Effect.succeed(outcome))"
    ),
    mutant(
      "storedLedger.ts",
      "a booking whose reader throws",
      "apart(() => toReaders(this.told, entry))",
      "toReaders(this.told, entry)"
    ),
    mutant("storedLedger.ts", "those who wait at the close", "      this.lines.close()\n"),
    mutant("storedLedger.ts", "a job that never gets done", "this.moveBack(key, job)", "failures = patience"),
    mutant("storedLedger.ts", "an ask without an answer", "      if (!isNamed) this.lost.add(ask.id)\n"),
    mutant(
      "storedLedger.ts",
      "a try that was lost of one who is refused",
      "(isLost || isGranted)",
      "isGranted"
    ),
    mutant(
      "storedLedger.ts",
      "a try that was lost of one who leaves",
      "const mayHold = isLost || ",
      "const mayHold = "
    ),
    mutant("storedLedger.ts", "a grant that meets an interruption", "(isLost || isGranted)", "isLost"),
    mutant(
      "storedLedger.ts",
      "an ask that is under way at the close",
      "this.asking === 0 ?",
      "this.asking >= 0 ?"
    ),
    mutant(
      "storedLedger.ts",
      "a lease that was over before a cancel",
      "Effect.andThen(cancelled, ended)",
      "cancelled"
    ),
    mutant(
      "storedLedger.ts",
      "a grant to one who left",
      ' && told?._tag === "Granted") this.left(waiter, told)',
      " && told === undefined) this.left(waiter, waiter.obstacle)"
    ),
    mutant(
      "storedLedger.ts",
      "an end that is kept",
      "    return kept !== undefined && !isSameEnd(kept, ask)\n",
      "    return kept === ask\n"
    ),
    mutant(
      "storedLedger.ts",
      "an end that is kept while another is on its way",
      "    if (this.keepsAnother(ask)) return conflictsWithKept(reservation)\n    const { account, id }",
      "    const { account, id }"
    ),
    mutant(
      "storedLedger.ts",
      "a kept end that another one overtakes",
      "    if (!this.keepsAnother(ask)) this.late.delete",
      "    this.late.delete"
    ),
    mutant(
      "storedLedger.ts",
      "an opening without an answer",
      "          if (opener !== null) this.later(`close ${opener}`, { run: this.store.close(account, opener) })\n"
    ),
    mutant(
      "storedLedger.ts",
      "a close without an answer",
      "return lastBalance(account, entries) ?? (yield* Checks.notOpen(account))",
      "return yield* Checks.notOpen(account)"
    )
  ]
}

export const ledgers: Readonly<Record<string, Engine>> = { memory, sqlite, postgres, redis, stored }

/** The text with the guard taken away; or what is wrong with the mutant. */
export const mutate = (
  text: string,
  { file, from, name, to }: Mutant
): { readonly text: string } | string => {
  const parts = text.split(from)
  if (parts.length !== 2) return `${file}, ${name}: its text stands ${parts.length - 1} times, not once.`
  return from === to ? `${file}, ${name}: it changes nothing.` : { text: parts.join(to) }
}
