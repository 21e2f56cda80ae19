/** A server that answers every request with one body: the transport of the benchmark, in a process of its own. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const answer = process.argv[2] ?? "{}"

const server = createServer((request, response) => {
  request.resume()
  request.on("end", () => {
    response.setHeader("content-type", "application/json")
    response.end(answer)
  })
})
// A thousand uploads of a megabyte take their time: nobody is to be hung up on.
server.keepAliveTimeout = 0
server.headersTimeout = 0
server.requestTimeout = 0
server.listen(0, "127.0.0.1", 2_048, () => {
  const { port } = server.address() as AddressInfo
  process.send?.(port)
})
process.on("disconnect", () => server.close())
