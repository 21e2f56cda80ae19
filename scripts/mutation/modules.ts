/** What is mutated by the name of a module, and the tests that have to notice. */
export interface Module {
  readonly files: ReadonlyArray<string>
  readonly tests: ReadonlyArray<string>
}

const one = (name: string, ...more: ReadonlyArray<string>): Module => ({
  files: [`src/${name}.ts`],
  tests: [`test/${name}.test.ts`, ...more]
})

export const modules: Readonly<Record<string, Module>> = {
  Usd: one("Usd"),
  Usage: one("Usage"),
  Settlement: one("Settlement"),
  Quote: {
    files: ["src/Quote.ts", "src/internal/servedPrices.ts"],
    tests: ["test/Quote.test.ts", "test/quoteEdges.test.ts"]
  },
  Pricing: {
    files: ["src/Pricing.ts", "src/internal/priceRows.ts", "src/internal/priceTable.ts"],
    tests: ["test/Pricing.test.ts", "test/priceTable.test.ts"]
  },
  // The module itself only hands over: its books are the memory engine's, on the arithmetic of accounts and the checks of
  // every engine.
  Ledger: {
    files: [
      "src/Ledger.ts",
      "src/internal/accountTree.ts",
      "src/internal/ledgerChecks.ts",
      "src/internal/memoryLedger.ts"
    ],
    tests: [
      "test/Ledger.test.ts",
      "test/memoryLedger.test.ts",
      "test/memoryLines.test.ts",
      "test/ledgerChecks.test.ts"
    ]
  },
  Budget: {
    files: ["src/Budget.ts", "src/internal/budgetEvents.ts"],
    tests: ["test/Budget.test.ts", "test/budgetVerbs.test.ts", "test/budgetWindows.test.ts"]
  }
}
