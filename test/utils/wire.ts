/** A way to a server on loopback that loses what it is told to lose: a TCP proxy between a client and a real server. */
import { Effect } from "effect"
import * as net from "node:net"

/** Where the server is, and what its answers are. */
export interface Far {
  readonly host: string
  readonly port: number
  /** Whether the client asks for something: what comes before on a connection makes it, and does not count. */
  readonly asks: (request: Buffer) => boolean
  /** Where answers end in what the server sends at once. */
  readonly ends: (sent: Buffer) => ReadonlyArray<number>
}

/** Gone when the scope ends. */
export const wire = ({ asks, ends, host, port }: Far) =>
  Effect.gen(function* () {
    const sockets = new Set<net.Socket>()
    let stuck = new Set<net.Socket>()
    let held: Array<() => void> | undefined
    const connections = new Set<net.Socket>()
    let losing = 0
    let answers = 0
    let lost = 0
    const pass = (to: net.Socket, chunk: Buffer): void => {
      const write = (): void => {
        if (!to.destroyed) to.write(chunk)
      }
      if (held === undefined) write()
      else held.push(write)
    }
    const server = net.createServer((near) => {
      connections.add(near)
      const far = net.connect(port, host)
      let isAsked = false
      const both = [near, far] as const
      for (const socket of both) {
        sockets.add(socket)
        socket.on("error", () => undefined)
        socket.on("close", () => {
          sockets.delete(socket)
          connections.delete(near)
          for (const other of both) other.destroy()
        })
      }
      near.on("data", (chunk) => {
        isAsked ||= asks(chunk)
        if (!stuck.has(near)) pass(far, chunk)
      })
      far.on("data", (chunk) => {
        let last = 0
        for (const end of isAsked ? ends(chunk) : []) {
          if (losing > 0 && ++answers % losing === 0) {
            lost++
            near.end(chunk.subarray(0, last))
            far.destroy()
            return
          }
          last = end
        }
        if (!stuck.has(far)) pass(near, chunk)
      })
    })
    yield* Effect.promise(() => new Promise<void>((done) => server.listen(0, "127.0.0.1", done)))
    const cut = (): void => {
      for (const socket of sockets) socket.destroy()
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        cut()
        server.close()
      })
    )
    const address = server.address()
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      /** The connections that there are swallow everything from now on, without closing. */
      stick: () => {
        stuck = new Set(sockets)
      },
      /** Nothing passes, also on connections that are made later, until `release`. */
      hold: () => {
        held ??= []
      },
      release: () => {
        const writes = held ?? []
        held = undefined
        for (const write of writes) write()
      },
      /** How many connections there are. */
      connections: () => connections.size,
      /** Closes the connection before each `every`-th answer; its request has reached the server. 0: none. */
      lose: (every: number) => {
        losing = every
      },
      /** How many answers were lost. */
      lost: () => lost,
      /** Closes the connections that there are. */
      cut
    }
  })
