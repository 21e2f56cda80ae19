/**
 * What the processes of a crash test and their parent tell each other: lines of JSON over loopback. A process says
 * what it is about to do, or was answered, before it goes on; only `hello` and `send` are answered.
 */
import * as net from "node:net"

/** An ask under an id of its process's own making, which may be repeated. */
export interface Ask {
  readonly id: string
  readonly account: string
  readonly least: number
}

export type Said =
  | { readonly tag: "hello"; readonly pid: number }
  | ({ readonly tag: "asking" } & Ask)
  | {
      readonly tag: "reserved"
      readonly id: string
      readonly account: string
      readonly amount: number
      readonly at: number
    }
  | {
      readonly tag: "send"
      readonly id: string
      readonly amount: number
      readonly account: string
      readonly at: number
      /** It wants to be refused, and knows that a refusal is not billed. */
      readonly unbilled: boolean
    }
  | { readonly tag: "ended"; readonly id: string; readonly how: string }
  | { readonly tag: "refused"; readonly id: string | undefined; readonly why: string }

/** Answers of the parent, which is the provider. */
export interface Welcome {
  /** What its forerunner asked for without an answer. */
  readonly repeat: ReadonlyArray<Ask>
}

export interface Bill {
  /** `lost`: it was billed, and nobody is told how much. `refused`: it was not billed. */
  readonly how: "billed" | "lost" | "refused"
  readonly amount: number
  /** Hear and do nothing until a byte is written to the standard input. */
  readonly stall: boolean
}

/** What a process is started with. */
export interface Settings {
  readonly place: Place
  readonly port: number
  readonly slot: number
  readonly life: number
  readonly skew: number
  readonly seed: number
  readonly lease: number
}

/** Where the books are. */
export type Place =
  | { readonly engine: "sqlite"; readonly filename: string }
  | { readonly engine: "postgres"; readonly url: string; readonly schema: string }
  | { readonly engine: "redis"; readonly url: string; readonly prefix: string }

/** Calls back for every line. */
export const lines = (socket: net.Socket, each: (line: string) => void): void => {
  let rest = ""
  socket.setEncoding("utf8").on("data", (text: string) => {
    const whole = `${rest}${text}`.split("\n")
    rest = whole.pop() ?? ""
    whole.forEach(each)
  })
}

/** The process's end. It has nothing to do where its parent is gone. */
export const connect = (port: number) => {
  const socket = net.connect(port, "127.0.0.1")
  socket.setNoDelay(true)
  socket.on("error", () => undefined)
  socket.on("close", () => process.exit())
  const waiting = new Map<number, (answer: unknown) => void>()
  let last = 0
  lines(socket, (line) => {
    const { n, answer } = JSON.parse(line) as { readonly n: number; readonly answer: unknown }
    waiting.get(n)?.(answer)
    waiting.delete(n)
  })
  const say = (said: Said): number => {
    socket.write(`${JSON.stringify({ n: ++last, said })}\n`)
    return last
  }
  const hello = (told: (welcome: Welcome) => void): void => {
    waiting.set(say({ tag: "hello", pid: process.pid }), (answer) => told(answer as Welcome))
  }
  const send = (said: Extract<Said, { tag: "send" }>, told: (bill: Bill) => void): void => {
    waiting.set(say(said), (answer) => told(answer as Bill))
  }
  return { say, hello, send }
}
