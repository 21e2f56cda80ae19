import { defineConfig } from "vitest/config"

export default defineConfig({
  // The package's own name resolves to its sources, as it does for `npm start`.
  resolve: { conditions: ["agent-budget-source"] },
  ssr: { resolve: { conditions: ["agent-budget-source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    // Real databases on a machine that others load: there a test may fail once for want of time. At a desk none may.
    retry: process.env.CI === undefined ? 0 : 1
  }
})
