/**
 * What the engines of the ledger cost, as ratios in one run: each verb against one bare write of its engine, by the
 * same client on the same server, in interleaved pairs, with a second bare batch beside each as a control.
 *
 *   npm run bench:ledgers                   everything that is there
 *   npm run bench:ledgers -- quick redis    fewer rounds, one engine (memory, sqlite, postgres, redis)
 *
 * The servers are those of the tests: AGENT_BUDGET_TEST_POSTGRES (with room for 150 connections) and
 * AGENT_BUDGET_TEST_REDIS.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Redacted } from "effect"
import * as Redis from "effect/persistence/Redis"
import { Budget, Ledger, Usd } from "agent-budget"
import * as PostgresLedger from "agent-budget/PostgresLedger"
import * as RedisLedger from "agent-budget/RedisLedger"
import * as SqliteLedger from "agent-budget/SqliteLedger"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { keyNames } from "../src/internal/redisRows.ts"
import { cpu, isQuick, judged, median } from "./measure.ts"

const cent = Usd.dollars("0.01")
const mark = 2.5
/** Accounts, by what they are called in the table. */
const accounts = { "one account": "root", "two accounts": "root/team" } as const

const isAsked = (engine: string): boolean => {
  const asked = process.argv.slice(2).filter((word) => word !== "quick")
  return asked.length === 0 || asked.includes(engine)
}

type Service = Ledger.Ledger["Service"]
type Once = Effect.Effect<unknown, unknown>

const open = (ledger: Service) =>
  Effect.andThen(
    ledger.open({ account: "root", limit: Usd.maximum }),
    ledger.open({ account: "root/team", parent: "root", limit: Usd.maximum })
  )

const charge = { amount: cent, verdict: "metered", label: "bench" } as const

const timed = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<number, unknown> =>
  Effect.suspend(() => {
    const since = performance.now()
    return Effect.map(effect, () => (performance.now() - since) * 1_000)
  })

/** `calls` times, by so many clients at once: each begins its next call when its last was answered. */
const byClients = (clients: number, calls: number, call: () => Once): Once =>
  Effect.suspend(() => {
    let left = calls
    const client: Once = Effect.suspend(() => (left-- > 0 ? Effect.andThen(call(), client) : Effect.void))
    return Effect.forEach(Array.from({ length: clients }), () => client, {
      concurrency: "unbounded",
      discard: true
    })
  })

interface Scenario {
  readonly name: string
  readonly ledger: Service
  readonly bare: Once
  readonly account: string
  readonly clients: number
  /** Calls in a batch. */
  readonly calls: number
  readonly rounds: number
}

/**
 * A round is four batches: reservations, bare writes, the settlements of the same reservations, bare writes; every
 * other round begins with the bare ones.
 */
const compare = Effect.fnUntraced(function* ({
  account,
  bare,
  calls,
  clients,
  ledger,
  name,
  rounds
}: Scenario) {
  const held: Array<Ledger.Reservation> = []
  const reserve = timed(
    byClients(clients, calls, () =>
      Effect.map(ledger.reserve({ account, least: cent }), (reservation) => held.push(reservation))
    )
  )
  const settle = timed(
    byClients(clients, calls, () => {
      const reservation = held.pop()
      return reservation === undefined ? Effect.void : ledger.settle(reservation, charge)
    })
  )
  const plain = timed(byClients(clients, calls, () => bare))
  const seen = { reserve: [], settle: [], pair: [], control: [], bare: [] } as Record<string, Array<number>>
  for (let round = -3; round < rounds; round++) {
    const early = round % 2 === 0
    const before = early ? yield* plain : 0
    const reserved = yield* reserve
    const between = yield* plain
    const settled = yield* settle
    const after = early ? 0 : yield* plain
    if (round < 0) continue
    const first = early ? before : between
    const second = early ? between : after
    seen["reserve"]?.push(reserved / first)
    seen["settle"]?.push(settled / second)
    seen["pair"]?.push((reserved + settled) / (first + second))
    seen["control"]?.push(second / first)
    seen["bare"]?.push((first + second) / 2 / calls)
  }
  const of = (key: string): number => median(seen[key] ?? [])
  console.log(
    `  ${name.padEnd(40)} ${judged(of("pair"), mark)}  reserve ${of("reserve").toFixed(2)}, settle ` +
      `${of("settle").toFixed(2)}; bare over bare ${of("control").toFixed(2)}, bare ${of("bare").toFixed(0)} us`
  )
})

/** Pairs a second of all clients together; `many` over `few`, interleaved. */
const hold = Effect.fnUntraced(function* (
  name: string,
  ledger: Service,
  few: number,
  many: number,
  calls: number,
  rounds: number
) {
  const pair = () =>
    Effect.flatMap(ledger.reserve({ account: "root", least: cent }), (held) => ledger.settle(held, charge))
  const ratios: Array<number> = []
  const controls: Array<number> = []
  const rates: Array<number> = []
  for (let round = -1; round < rounds; round++) {
    const one = yield* timed(byClients(few, calls, pair))
    const other = yield* timed(byClients(many, calls, pair))
    const again = yield* timed(byClients(few, calls, pair))
    if (round < 0) continue
    ratios.push((one + again) / 2 / other)
    controls.push(one / again)
    rates.push((calls / other) * 1_000_000)
  }
  const ratio = median(ratios)
  console.log(
    `  ${name.padEnd(40)} ${ratio.toFixed(2)}  (mark 1.00${ratio < 0.97 ? "; MISSED" : ""})  ` +
      `${few} over ${few} ${median(controls).toFixed(2)}; ${many}: ${median(rates).toFixed(0)} pairs a second`
  )
})

const memory = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* ledger.open({ account: "root/team", parent: "root", limit: Usd.maximum })
  const pair = (account: string) =>
    Effect.flatMap(ledger.reserve({ account, least: cent }), (held) => ledger.settle(held, charge))
  const budgeted = Effect.void.pipe(Budget.withBudget({ quote: cent, cost: () => cent }))
  const context = yield* Effect.context<Budget.Budget>()
  const measured = Effect.fnUntraced(function* (
    fibers: number,
    calls: number,
    effect: Effect.Effect<unknown, unknown, Budget.Budget>
  ) {
    const each: Once = Effect.provideContext(effect, context)
    const times: Array<number> = []
    for (let round = 0; round < (isQuick ? 5 : 15); round++) {
      const batch = byClients(fibers, calls, () => each)
      times.push((yield* Effect.promise(() => cpu(() => Effect.runPromise(batch)))) / calls)
    }
    return median(times)
  })
  console.log("memory, microseconds of CPU time a call")
  const lines: ReadonlyArray<
    readonly [string, number, Effect.Effect<unknown, unknown, Budget.Budget>, number?]
  > = [
    ["reserve + settle, one account", 1, pair("root"), 1],
    ["reserve + settle, two accounts", 1, pair("root/team"), 1],
    ["reserve + settle, 1,000 fibers", 1_000, pair("root"), 1],
    ["withBudget(void)", 1, budgeted, 2.5],
    ["withBudget(void), 1,000 fibers", 1_000, budgeted, 2.5],
    ["an empty effect, for scale", 1, Effect.void]
  ]
  for (const [name, fibers, effect, most] of lines) {
    const time = yield* measured(fibers, fibers === 1 ? 100_000 : 20_000, effect)
    console.log(`  ${name.padEnd(40)} ${most === undefined ? time.toFixed(2) : judged(time, most)}`)
  }
}).pipe(Effect.provide(Budget.layer({ limit: Usd.maximum }).pipe(Layer.provideMerge(Ledger.layerMemory()))))

const sqlite = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-budget-bench-"))),
    (made) => Effect.sync(() => fs.rmSync(made, { recursive: true }))
  )
  const ledger = yield* SqliteLedger.make({ filename: path.join(folder, "ledger.db") })
  const database = new DatabaseSync(path.join(folder, "bare.db"))
  yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000")
  database.exec(
    "CREATE TABLE hot (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO hot VALUES (1, 0)"
  )
  const update = database.prepare("UPDATE hot SET n = n + 1 WHERE id = 1")
  yield* open(ledger)
  console.log("SQLite; bare: `UPDATE hot SET n = n + 1 WHERE id = 1`, prepared, WAL, synchronous=FULL")
  const rounds = isQuick ? 8 : 30
  for (const [name, account] of Object.entries(accounts)) {
    const bare = Effect.sync(() => update.run())
    yield* compare({ name, ledger, bare, account, clients: 1, calls: 200, rounds })
  }
  yield* hold("64 fibers over 8, one account", ledger, 8, 64, 640, rounds)
}).pipe(Effect.scoped)

const postgresUrl = process.env["AGENT_BUDGET_TEST_POSTGRES"] ?? "postgres://postgres@127.0.0.1:5432/test"

const postgres = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const schema = `agent_budget_bench_${randomBytes(6).toString("hex")}`
  yield* Effect.acquireRelease(Effect.void, () =>
    Effect.orDie(sql.unsafe(`DROP SCHEMA IF EXISTS ${schema} CASCADE`))
  )
  yield* Layer.build(PostgresLedger.layerMigrations({ schema }))
  yield* sql.unsafe(
    `CREATE TABLE ${schema}.hot (id integer PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50)`
  )
  yield* sql.unsafe(`INSERT INTO ${schema}.hot VALUES (1, 0)`)
  const [settings] = yield* sql.unsafe(
    `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
      current_setting('synchronous_commit') AS commits`
  )
  console.log(
    `PostgreSQL ${JSON.stringify(settings)}; bare: \`UPDATE hot SET n = n + 1 WHERE id = 1\`, prepared, by as many clients`
  )
  const rounds = isQuick ? 6 : 20
  for (const clients of [1, 8, 64]) {
    yield* Effect.gen(function* () {
      const pool = yield* PgClient.PgClient
      const ledger = yield* PostgresLedger.make({ schema, timeout: "1 minute" })
      yield* open(ledger)
      const bare = pool.unsafe(`UPDATE ${schema}.hot SET n = n + 1 WHERE id = 1`)
      for (const [name, account] of Object.entries(accounts)) {
        const calls = clients === 1 ? 200 : 512
        yield* compare({
          name: `${clients === 1 ? "1 client" : `${clients} clients`}, ${name}`,
          ledger,
          bare,
          account,
          clients,
          calls,
          rounds
        })
      }
      if (clients === 64) yield* hold("64 clients over 8, one account", ledger, 8, 64, 640, rounds)
    }).pipe(
      Effect.provide(
        Layer.fresh(PgClient.layer({ url: Redacted.make(postgresUrl), maxConnections: clients }))
      ),
      Effect.scoped
    )
  }
}).pipe(Effect.scoped, Effect.provide(PgClient.layer({ url: Redacted.make(postgresUrl), maxConnections: 1 })))

const redisUrl = process.env["AGENT_BUDGET_TEST_REDIS"] ?? "redis://127.0.0.1:6379"

/** What is the least that a budget in Redis does: two counters and a limit. */
const counters = `
local reserved = redis.call('HINCRBY', KEYS[1], 'reserved', ARGV[1])
if redis.call('HINCRBY', KEYS[1], 'calls', 1) < 0 or reserved > tonumber(ARGV[2]) then return 0 end
return 1`

const redisBench = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const prefix = `agent-budget-bench-${randomBytes(6).toString("hex")}`
  const hot = `{${prefix}}:hot`
  yield* Effect.addFinalizer(() =>
    Effect.orDie(redis.send("DEL", hot, ...keyNames.map((name) => `{${prefix}}:${name}`)))
  )
  const ledger = yield* RedisLedger.make({ prefix })
  yield* open(ledger)
  const settings = yield* redis.send("CONFIG", "GET", "append*")
  console.log(
    `Redis ${JSON.stringify(settings)}; bare: EVAL of two HINCRBY and a comparison, by the same connection`
  )
  const rounds = isQuick ? 8 : 30
  const compareWith = Effect.fnUntraced(function* (
    lua: string,
    name: string,
    account: string,
    clients: number,
    command: "EVAL" | "EVALSHA"
  ) {
    const sha = yield* redis.send<string>("SCRIPT", "LOAD", lua)
    const script = command === "EVAL" ? lua : sha
    const bare = redis.send(command, script, "1", hot, "1", "9007199254740991")
    yield* compare({ name, ledger, bare, account, clients, calls: clients === 1 ? 256 : 512, rounds })
  })
  for (const clients of [1, 64]) {
    for (const [name, account] of Object.entries(accounts)) {
      yield* compareWith(counters, `${clients} at a time, ${name}`, account, clients, "EVAL")
    }
    // Harder than the mark says: a script that Redis has already, as ours are.
    yield* compareWith(counters, `${clients} at a time, over EVALSHA`, "root", clients, "EVALSHA")
  }
  yield* compareWith("return 1", "1 at a time, over EVALSHA of `return 1`", "root", 1, "EVALSHA")
  yield* hold("64 fibers over 8, one account", ledger, 8, 64, 640, rounds)
}).pipe(Effect.scoped, Effect.provide(NodeRedis.layer({ url: redisUrl })))

const benches: Record<string, Once> = { memory, sqlite, postgres, redis: redisBench }
for (const [engine, bench] of Object.entries(benches)) {
  if (!isAsked(engine)) continue
  const told = Effect.catch(bench, (error) => Effect.sync(() => console.log(`${engine} is left out:`, error)))
  await Effect.runPromise(told)
}
