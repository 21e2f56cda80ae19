/** What the simulated provider charges, and the same as its customer was told, written down twice. */
import type { Pricing } from "agent-budget"
import type { PriceMap } from "../utils/providerBill.ts"

const mini = { input: "0.15", cachedInput: "0.075", cacheWrite: "0.1875", output: "0.60" }
const five = { input: "1.25", cachedInput: "0.125", cacheWrite: "1.5625", output: "10" }

/** The provider's own list. A dated name is another name of the same model; `-large` is a dearer one. */
export const billed: PriceMap = {
  "gpt-4o-sim": {
    default: mini,
    flex: { input: "0.075", cachedInput: "0.0375", output: "0.30" },
    priority: { input: "0.255", cachedInput: "0.1275", output: "1.02" }
  },
  "gpt-5-sim": {
    default: {
      ...five,
      longContext: { from: 2_000, input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "15" }
    },
    priority: { input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "20" }
  },
  "gpt-5-sim-large": { default: { input: "15", output: "120" } },
  "text-embedding-sim": { default: { input: "0.02", output: "0" } }
}

/** The same list as a user of the library writes it. */
export const listed: Readonly<Record<string, Pricing.PriceOverride>> = {
  "gpt-4o-sim": {
    input: "0.15",
    cachedInput: "0.075",
    cacheWrite: "0.1875",
    output: "0.60",
    aliases: ["gpt-4o-sim-2026-01-01"],
    contextWindow: 128_000,
    maxOutput: 4_096,
    tiers: {
      flex: { input: "0.075", cachedInput: "0.0375", output: "0.30" },
      priority: { input: "0.255", cachedInput: "0.1275", output: "1.02" }
    }
  },
  "gpt-5-sim": {
    input: "1.25",
    cachedInput: "0.125",
    cacheWrite: "1.5625",

    output: "10",
    longContext: { threshold: 2_000, input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "15" },
    contextWindow: 400_000,
    maxOutput: 4_096,
    reasoning: true,
    tiers: { priority: { input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "20" } }
  },
  "gpt-5-sim-large": { input: "15", output: "120", contextWindow: 400_000, maxOutput: 4_096 },
  "text-embedding-sim": { input: "0.02", output: "0", contextWindow: 8_192 }
}
