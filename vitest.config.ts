import { defineConfig } from "vitest/config"

export default defineConfig({
  // The package's own name resolves to its sources, as it does for `npm start`.
  resolve: { conditions: ["agent-budget-source"] },
  ssr: { resolve: { conditions: ["agent-budget-source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000
  }
})
