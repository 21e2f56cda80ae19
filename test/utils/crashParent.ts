/** The parent of a crash test: the provider, and the one who starts processes and kills them. See `crashRun`. */
import { type ChildProcess, spawn } from "node:child_process"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { mostSkew } from "./crashEngines.ts"
import type { Call } from "./crashVerdict.ts"
import {
  type Ask,
  type Bill,
  lines,
  type Place,
  type Said,
  type Settings,
  type Welcome
} from "./crashWire.ts"
import { random, type Random } from "./random.ts"

/**
 * Where a process is killed: `starting`, some moment before its first calls or during them; `asking`, in the middle of an admission; `admitted`, before it sent the call; `billed`,
 * before it was answered; `settling`, in the middle of a settlement; `anywhere`, some moment after an end. `stalled` it
 * is stopped until a lease of it has run out, goes on, and is killed later.
 */
export const places = ["starting", "asking", "admitted", "billed", "settling", "anywhere", "stalled"] as const

export type Where = (typeof places)[number]

/** How a process ends: the so-many-th time that it is there. It starts once. */
export interface Fate {
  readonly where: Where
  readonly after: number
}

export interface Plan {
  readonly processes: number
  readonly seed: number
  /** In milliseconds. */
  readonly lease: number
  /** The end of each life of each process; none when there are no more. */
  readonly fate: (slot: number, life: number, draw: Random) => Fate | undefined
  /** Kills all that live then, in milliseconds. */
  readonly endsAfter?: number | undefined
}

const worker = fileURLToPath(new URL("crashWorker.ts", import.meta.url))

/** What a process was granted. */
export interface Held {
  readonly id: string
  readonly account: string
  readonly amount: number
  /** By the ledger's clock. */
  readonly at: number
}

/** Where processes leave compiled code for the next ones, as Node does unless told otherwise: they start often. */
const cache = path.join(os.tmpdir(), "node-compile-cache")

interface Life {
  readonly slot: number
  readonly life: number
  readonly child: ChildProcess
  readonly times: Map<Where, number>
  readonly fate: Fate
  /** Where it is looked for: a stopped process goes on. */
  next: Fate
  /** What it held when it was stopped. */
  late: string | undefined
  socket: net.Socket | undefined
  killed: Where | "the end" | undefined
  words: string
}

const count = <K>(map: Map<K, number>, key: K): number => {
  const next = (map.get(key) ?? 0) + 1
  map.set(key, next)
  return next
}

const sleep = (millis: number): Promise<void> => new Promise((resume) => setTimeout(resume, millis))

/** The account below which bills may pass their reservations. */
export const overrunning = "loose"

/** The provider, and the one who starts and kills. */
export class Parent {
  readonly plan: Plan
  readonly place: Place
  readonly isExpired: (held: Held) => Promise<boolean>
  readonly draw: Random
  readonly lives = new Set<Life>()
  readonly calls = new Map<string, Call>()
  readonly unanswered = new Map<number, Map<string, Ask>>()
  readonly refused = new Map<string, number>()
  readonly kills = new Map<Where | "the end", number>()
  readonly violations = new Set<string>()
  readonly server: net.Server
  readonly finished: Promise<void>
  /** What the root was ever allowed, at least as soon as the ledger knows. */
  allowed = 0
  /** What was billed below the root. */
  billed = 0
  lost = 0
  isOver = false
  #port = 0
  #deadline: NodeJS.Timeout | undefined
  #finish: () => void = () => undefined

  constructor(options: Pick<Parent, "place" | "plan" | "isExpired">) {
    this.place = options.place
    this.plan = options.plan
    this.isExpired = options.isExpired
    this.draw = random(options.plan.seed)
    this.server = net.createServer((socket) => this.#meet(socket))
    this.finished = new Promise((resolve) => (this.#finish = resolve))
  }

  async begin(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve))
    const address = this.server.address()
    this.#port = typeof address === "object" && address !== null ? address.port : 0
    for (let slot = 0; slot < this.plan.processes; slot++) this.#start(slot, 0)
    const { endsAfter } = this.plan
    if (endsAfter !== undefined) this.#deadline = setTimeout(() => this.end(), endsAfter)
  }

  /** Kills whoever lives, and starts nobody any more. */
  end(): void {
    this.isOver = true
    clearTimeout(this.#deadline)
    for (const life of this.lives) this.#kill(life, "the end")
    if (this.lives.size === 0) this.#finish()
  }

  async close(): Promise<void> {
    this.end()
    await this.finished
    this.server.close()
  }

  #start(slot: number, life: number): void {
    const { fate: fateOf, lease, processes, seed } = this.plan
    const fate = this.isOver ? undefined : fateOf(slot, life, this.draw)
    if (fate === undefined) {
      if (this.lives.size === 0) this.#finish()
      return
    }
    const skew = [mostSkew, -mostSkew, 0, this.draw.between(-mostSkew, mostSkew)][(slot + life) % 4] ?? 0
    const settings: Settings = {
      place: this.place,
      port: this.#port,
      slot,
      life,
      skew,
      seed: (seed * processes + slot) * 1_000 + life,
      lease
    }
    const child = spawn(
      process.execPath,
      ["--conditions=agent-budget-source", "--no-warnings", worker, JSON.stringify(settings)],
      { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, NODE_COMPILE_CACHE: cache } }
    )
    const started: Life = {
      slot,
      life,
      child,
      fate,
      next: fate,
      times: new Map(),
      late: undefined,
      socket: undefined,
      killed: undefined,
      words: ""
    }
    this.lives.add(started)
    const hear = (text: string): void => void (started.words = `${started.words}${text}`.slice(-2_000))
    child.stdout.setEncoding("utf8").on("data", hear)
    child.stderr.setEncoding("utf8").on("data", hear)
    child.stdin.on("error", () => undefined)
    child.on("close", () => this.#buried(started))
  }

  /** All that it said has to be heard before another one takes its place. */
  #buried(life: Life): void {
    if (life.socket !== undefined && !life.socket.closed) {
      life.socket.once("close", () => this.#buried(life))
      return
    }
    this.lives.delete(life)
    if (life.killed === undefined) {
      this.violations.add(`process ${life.slot} ended by itself in life ${life.life}: ${life.words}`)
    }
    this.#start(life.slot, life.life + 1)
  }

  #kill(life: Life, where: Where | "the end"): void {
    if (life.killed !== undefined) return
    life.killed = where
    count(this.kills, where)
    life.child.kill("SIGKILL")
  }

  /** Whether its time has come; it is killed `within` some milliseconds from now. */
  #reach(life: Life, where: Where, within = 0): boolean {
    if (life.next.where !== where || count(life.times, where) !== life.next.after) return false
    if (where === "stalled") return true
    if (within === 0) this.#kill(life, life.fate.where)
    else setTimeout(() => this.#kill(life, life.fate.where), this.draw.below(within))
    return true
  }

  #meet(socket: net.Socket): void {
    socket.setNoDelay(true)
    socket.on("error", () => undefined)
    let life: Life | undefined
    lines(socket, (line) => {
      const { n, said } = JSON.parse(line) as { readonly n: number; readonly said: Said }
      if (said.tag === "hello") {
        const { pid } = said
        life = Array.from(this.lives).find(({ child }) => child.pid === pid)
        if (life !== undefined) life.socket = socket
      }
      if (life !== undefined)
        this.#hear(life, said, (answer) => void socket.write(`${JSON.stringify({ n, answer })}\n`))
    })
  }

  #call(id: string): Call {
    const call = this.calls.get(id) ?? { id }
    this.calls.set(id, call)
    return call
  }

  #asks(slot: number): Map<string, Ask> {
    const asks = this.unanswered.get(slot) ?? new Map<string, Ask>()
    this.unanswered.set(slot, asks)
    return asks
  }

  #hear(life: Life, said: Said, answer: (answer: Welcome | Bill) => void): void {
    const asks = this.#asks(life.slot)
    switch (said.tag) {
      case "hello":
        answer({ repeat: Array.from(asks.values()) })
        this.#reach(life, "starting", 600)
        return
      case "asking": {
        const { account, id, least } = said
        asks.set(id, { id, account, least })
        this.#reach(life, "asking", 4)
        return
      }
      case "reserved": {
        const { account, amount, id } = said
        asks.delete(id)
        this.#call(id).reserved = { account, amount }
        this.#reach(life, "admitted")
        return
      }
      case "send":
        // What the dead sent last is lost on its way.
        if (life.killed === undefined) this.#bill(life, said, answer)
        return
      case "ended":
        this.#call(said.id).ended = said.how
        if (said.id === life.late)
          life.next = { where: "anywhere", after: (life.times.get("anywhere") ?? 0) + 5 }
        this.#reach(life, "anywhere", 20)
        return
      case "refused":
        if (said.id !== undefined) asks.delete(said.id)
        count(this.refused, said.why)
        return
    }
  }

  #bill(life: Life, said: Extract<Said, { tag: "send" }>, answer: (answer: Bill) => void): void {
    const { draw } = this
    const { account, id, unbilled } = said
    const call = this.#call(id)
    if (call.billed !== undefined) this.violations.add(`${id}: sent twice`)
    if (unbilled) {
      answer({ how: "refused", amount: 0, stall: false })
      return
    }
    const amount = this.#amount(said)
    call.billed = amount
    if (!account.startsWith(overrunning)) this.billed += amount
    if (this.billed > this.allowed) this.violations.add(`billed ${this.billed} of ${this.allowed}`)
    if (this.#reach(life, "billed")) return
    const isLost = draw.chance(0.05)
    if (isLost) this.lost++
    const stall = this.#reach(life, "stalled")
    // Most calls are quick, some so slow that their leases have to be renewed.
    const takes = stall ? 0 : draw.chance(0.02) ? this.plan.lease * 1.5 : draw.below(draw.one([5, 5, 40]))
    setTimeout(() => {
      answer({ how: isLost ? "lost" : "billed", amount, stall })
      this.#reach(life, "settling", 4)
    }, takes)
    if (stall) void this.#goOn(life, said)
  }

  /** A bill: up to what is held; where overruns are, now and then beyond it. */
  #amount({ account, amount }: Held): number {
    const { draw } = this
    if (account.startsWith(overrunning) && draw.chance(0.3)) return amount + draw.between(1, amount)
    return draw.chance(0.25) ? amount : draw.between(0, amount)
  }

  /** Lets a stopped process go on when its call was charged because of that, or when it takes too long. */
  async #goOn(life: Life, held: Held): Promise<void> {
    const until = performance.now() + 30_000
    while (life.killed === undefined && performance.now() < until && !(await this.isExpired(held)))
      await sleep(20)
    // It is killed soon after it has ended this one, or when it never does.
    life.late = held.id
    life.next = { where: "anywhere", after: 200 }
    life.child.stdin?.write("!")
  }
}
