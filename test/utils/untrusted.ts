/** A server over TLS that nobody trusts: its certificate is signed by its own key, which is made for this alone. */
import { once } from "node:events"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGgcY7KE/E2OzN5Ey
fzDcPc1IA8ZRmbSdqtxfOFwyQ5ehRANCAAR4fAEG0+zPFGuCK8wJZRbBhykp6FJg
4ARWbe/Xv5yc8j4+pcLu1bHGngnIb23lCNRShkYeA/n9T2PpL7tH5tMG
-----END PRIVATE KEY-----`

const cert = `-----BEGIN CERTIFICATE-----
MIIBlzCCAT2gAwIBAgIUVQfqhuMiuaVpoqKnkEzb3Hr3ONkwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVYW4gdW50cnVzdGVkIHByb3ZpZGVyMCAXDTI2MTIwMTEzNDAy
MloYDzIxMjYxMTA3MTM0MDIyWjAgMR4wHAYDVQQDDBVhbiB1bnRydXN0ZWQgcHJv
dmlkZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR4fAEG0+zPFGuCK8wJZRbB
hykp6FJg4ARWbe/Xv5yc8j4+pcLu1bHGngnIb23lCNRShkYeA/n9T2PpL7tH5tMG
o1MwUTAdBgNVHQ4EFgQUhzuDdfZGyPCV+t9au8nakhtR3YAwHwYDVR0jBBgwFoAU
hzuDdfZGyPCV+t9au8nakhtR3YAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD
AgNIADBFAiAIfYTKRXJKJcXupuL34fvpvD8NyusNjPEr/pOnrafgpgIhAMZUqKH7
OUQSV9akf5ImA5zAglt4s78HQLyiFrQsTaEL
-----END CERTIFICATE-----`

/** Runs `use` with its address, and answers how many requests reached it. */
export const requestsReaching = async (use: (baseURL: string) => Promise<void>): Promise<number> => {
  let reached = 0
  const server = createServer({ key, cert }, (_, response) => {
    reached++
    response.end("{}")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  try {
    await use(`https://127.0.0.1:${(server.address() as AddressInfo).port}/v1`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
  return reached
}
