/**
 * OpenAI's prices in USD per 1,000,000 tokens, as decimal strings. Written by scripts/generate-prices.ts and
 * scripts/prices.ts; never edited by hand. docs/prices.md says where the figures come from and which of them are weak.
 */
// prettier-ignore
export const openAiPrices: unknown = {
  asOf: "2026-11-23",
  sources: [
    "@earendil-works/pi-ai 1.5.2, of 2026-11-10",
    "@pydantic/genai-prices 0.1.8",
    "Azure prices as a public gateway lists them, of 2025-08-01",
    "BerriAI/litellm discussion 52347",
    "BerriAI/litellm price file @00035b69",
    "OpenAI deprecations page (developers.openai.com/api/docs/deprecations)",
    "OpenAI model pages (developers.openai.com)",
    "OpenAI model pages in translation (w3cschool.cn)",
    "OpenAI pricing page as read on 2026-09-13 (anuran-roy/unified-llm-pricing@0f26534)",
    "apidog.com on the OpenAI pricing page",
    "docs.laozhang.ai on GPT-6.2, 2026-11-18",
    "merefield/codexometer 0.18.4, of 2026-09-22",
    "models.dev @f3fc692, of 2026-07-02"
  ],
  models: [
    { id: "gpt-6.2-sol", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-19", tiers: {
      standard: [{ input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "10", longContext: { threshold: 272000, input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "15" }, basis: "published, rest by rule" }],
      batch: [{ input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "7.5" }, basis: "by rule" }],
      priority: [{ input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "20", longContext: { threshold: 272000, input: "8", cachedInput: "0.4", cacheWrite: "10", cacheWrite12h: "20", output: "30" }, basis: "by rule" }],
      ultrafast: [
        { input: "6", cachedInput: "0.3", cacheWrite: "7.5", cacheWrite12h: "15", output: "30", longContext: { threshold: 272000, input: "12", cachedInput: "0.6", cacheWrite: "15", cacheWrite12h: "30", output: "45" }, basis: "by rule", until: "2027-02-28" },
        { input: "12", cachedInput: "0.6", cacheWrite: "15", cacheWrite12h: "30", output: "60", longContext: { threshold: 272000, input: "24", cachedInput: "1.2", cacheWrite: "30", cacheWrite12h: "60", output: "90" }, basis: "by rule" }
      ]
    } },
    { id: "gpt-6.2-astra", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-18", tiers: {
      standard: [{ input: "8", cachedInput: "0.4", cacheWrite: "10", cacheWrite12h: "20", output: "40", longContext: { threshold: 272000, input: "16", cachedInput: "0.8", cacheWrite: "20", cacheWrite12h: "40", output: "60" }, basis: "derived" }],
      batch: [{ input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "20", longContext: { threshold: 272000, input: "8", cachedInput: "0.4", cacheWrite: "10", cacheWrite12h: "20", output: "30" }, basis: "derived" }],
      priority: [{ input: "16", cachedInput: "0.8", cacheWrite: "20", cacheWrite12h: "40", output: "80", longContext: { threshold: 272000, input: "32", cachedInput: "1.6", cacheWrite: "40", cacheWrite12h: "80", output: "120" }, basis: "derived" }]
    } },
    { id: "gpt-6.1-sol", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "10", longContext: { threshold: 272000, input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "15" }, basis: "published, rest by rule" }],
      batch: [{ input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "7.5" }, basis: "by rule" }],
      flex: [{ input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "7.5" }, basis: "by rule" }],
      priority: [{ input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "20", longContext: { threshold: 272000, input: "8", cachedInput: "0.4", cacheWrite: "10", cacheWrite12h: "20", output: "30" }, basis: "by rule" }],
      ultrafast: [{ input: "12", cachedInput: "0.6", cacheWrite: "15", cacheWrite12h: "30", output: "60", longContext: { threshold: 272000, input: "24", cachedInput: "1.2", cacheWrite: "30", cacheWrite12h: "60", output: "90" }, basis: "by rule" }]
    } },
    { id: "gpt-6.1-terra", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "7.5" }, basis: "published, rest by rule" }],
      batch: [{ input: "0.5", cachedInput: "0.025", cacheWrite: "0.625", cacheWrite12h: "1.25", output: "2.5", longContext: { threshold: 272000, input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "3.75" }, basis: "published, rest by rule" }],
      flex: [{ input: "0.5", cachedInput: "0.025", cacheWrite: "0.625", cacheWrite12h: "1.25", output: "2.5", longContext: { threshold: 272000, input: "1", cachedInput: "0.05", cacheWrite: "1.25", cacheWrite12h: "2.5", output: "3.75" }, basis: "published, rest by rule" }],
      priority: [{ input: "2", cachedInput: "0.1", cacheWrite: "2.5", cacheWrite12h: "5", output: "10", longContext: { threshold: 272000, input: "4", cachedInput: "0.2", cacheWrite: "5", cacheWrite12h: "10", output: "15" }, basis: "published, rest by rule" }]
    } },
    { id: "gpt-6-astra", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "10", cachedInput: "1", cacheWrite: "12.5", output: "50", longContext: { threshold: 272000, input: "20", cachedInput: "2", cacheWrite: "25", output: "75" } }],
      batch: [{ input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "25", longContext: { threshold: 272000, input: "10", cachedInput: "1", cacheWrite: "12.5", output: "37.5" } }],
      flex: [{ input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "25", longContext: { threshold: 272000, input: "10", cachedInput: "1", cacheWrite: "12.5", output: "37.5" } }],
      priority: [{ input: "20", cachedInput: "2", cacheWrite: "25", output: "100", longContext: { threshold: 272000, input: "40", cachedInput: "4", cacheWrite: "50", output: "150" } }],
      ultrafast: [{ input: "60", cachedInput: "6", cacheWrite: "75", output: "300", longContext: { threshold: 272000, input: "120", cachedInput: "12", cacheWrite: "150", output: "450" }, basis: "published, rest by rule" }]
    } },
    { id: "gpt-6-sol", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "10", longContext: { threshold: 272000, input: "4", cachedInput: "0.4", cacheWrite: "5", output: "15" } }],
      batch: [{ input: "1", cachedInput: "0.1", cacheWrite: "1.25", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "7.5" }, basis: "by rule" }],
      flex: [{ input: "1", cachedInput: "0.1", cacheWrite: "1.25", output: "5", longContext: { threshold: 272000, input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "7.5" }, basis: "by rule" }],
      priority: [{ input: "4", cachedInput: "0.4", cacheWrite: "5", output: "20", longContext: { threshold: 272000, input: "8", cachedInput: "0.8", cacheWrite: "10", output: "30" }, basis: "by rule" }]
    } },
    { id: "gpt-6-luna", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "0.1", cachedInput: "0.01", cacheWrite: "0.125", output: "0.5", longContext: { threshold: 272000, input: "0.2", cachedInput: "0.02", cacheWrite: "0.25", output: "0.75" } }],
      batch: [{ input: "0.05", cachedInput: "0.005", cacheWrite: "0.0625", output: "0.25", longContext: { threshold: 272000, input: "0.1", cachedInput: "0.01", cacheWrite: "0.125", output: "0.375" }, basis: "by rule" }],
      flex: [{ input: "0.05", cachedInput: "0.005", cacheWrite: "0.0625", output: "0.25", longContext: { threshold: 272000, input: "0.1", cachedInput: "0.01", cacheWrite: "0.125", output: "0.375" }, basis: "by rule" }],
      priority: [{ input: "0.2", cachedInput: "0.02", cacheWrite: "0.25", output: "1", longContext: { threshold: 272000, input: "0.4", cachedInput: "0.04", cacheWrite: "0.5", output: "1.5" }, basis: "by rule" }]
    } },
    { id: "gpt-5.6-sol", aliases: ["gpt-5.6"], kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "30", longContext: { threshold: 272000, input: "10", cachedInput: "1", cacheWrite: "12.5", output: "45" }, basis: "list price" }],
      batch: [{ input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "22.5" }, basis: "list price, by rule" }],
      flex: [{ input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "22.5" }, basis: "list price, by rule" }],
      priority: [{ input: "10", cachedInput: "1", cacheWrite: "12.5", output: "60", longContext: { threshold: 272000, input: "20", cachedInput: "2", cacheWrite: "25", output: "90" }, basis: "list price, by rule" }]
    } },
    { id: "gpt-5.6-terra", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [
        { input: "2.5", cachedInput: "0.25", cacheWrite: "3.125", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "22.5" }, until: "2026-07-29" },
        { input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "12", longContext: { threshold: 272000, input: "4", cachedInput: "0.4", cacheWrite: "5", output: "18" } }
      ],
      batch: [{ input: "1", cachedInput: "0.1", cacheWrite: "1.25", output: "6", longContext: { threshold: 272000, input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "9" } }],
      flex: [{ input: "1", cachedInput: "0.1", cacheWrite: "1.25", output: "6", longContext: { threshold: 272000, input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "9" } }],
      priority: [{ input: "4", cachedInput: "0.4", cacheWrite: "5", output: "24", longContext: { threshold: 272000, input: "8", cachedInput: "0.8", cacheWrite: "10", output: "36" } }]
    } },
    { id: "gpt-5.6-luna", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [
        { input: "1", cachedInput: "0.1", cacheWrite: "1.25", output: "6", longContext: { threshold: 272000, input: "2", cachedInput: "0.2", cacheWrite: "2.5", output: "9" }, until: "2026-07-29" },
        { input: "0.2", cachedInput: "0.02", cacheWrite: "0.25", output: "1.2", longContext: { threshold: 272000, input: "0.4", cachedInput: "0.04", cacheWrite: "0.5", output: "1.8" } }
      ],
      batch: [{ input: "0.1", cachedInput: "0.01", cacheWrite: "0.125", output: "0.6", longContext: { threshold: 272000, input: "0.2", cachedInput: "0.02", cacheWrite: "0.25", output: "0.9" } }],
      flex: [{ input: "0.1", cachedInput: "0.01", cacheWrite: "0.125", output: "0.6", longContext: { threshold: 272000, input: "0.2", cachedInput: "0.02", cacheWrite: "0.25", output: "0.9" } }],
      priority: [{ input: "0.4", cachedInput: "0.04", cacheWrite: "0.5", output: "2.4", longContext: { threshold: 272000, input: "0.8", cachedInput: "0.08", cacheWrite: "1", output: "3.6" } }]
    } },
    { id: "gpt-5.6-cyber", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "12.5", cachedInput: "1.25", cacheWrite: "15.625", output: "75" }]
    } },
    { id: "gpt-5.5-cyber", aliases: ["gpt-5.5-cyber-preview"], kind: "chat", encoding: "o200k_base", reasoning: true, status: "deprecated", shutdownDate: "2027-02-01", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "12.5", cachedInput: "1.25", output: "75" }]
    } },
    { id: "gpt-5.5", aliases: ["gpt-5.5-2026-04-23"], kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "5", cachedInput: "0.5", output: "30", longContext: { threshold: 272000, input: "10", cachedInput: "1", output: "45" } }],
      batch: [{ input: "2.5", cachedInput: "0.25", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", output: "22.5" } }],
      flex: [{ input: "2.5", cachedInput: "0.25", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", output: "22.5" } }],
      priority: [{ input: "12.5", cachedInput: "1.25", output: "75", longContext: { threshold: 272000, input: "25", cachedInput: "2.5", output: "112.5" }, basis: "published, rest by rule" }]
    } },
    { id: "gpt-5.5-pro", aliases: ["gpt-5.5-pro-2026-04-23"], kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "30", output: "180", longContext: { threshold: 272000, input: "60", output: "270" } }],
      batch: [{ input: "15", output: "90", longContext: { threshold: 272000, input: "30", output: "135" }, basis: "published, rest by rule" }],
      flex: [{ input: "15", output: "90", longContext: { threshold: 272000, input: "30", output: "135" }, basis: "published, rest by rule" }]
    } },
    { id: "gpt-5.4", aliases: ["gpt-5.4-2026-03-05"], kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2.5", cachedInput: "0.25", output: "15", longContext: { threshold: 272000, input: "5", cachedInput: "0.5", output: "22.5" } }],
      batch: [{ input: "1.25", cachedInput: "0.13", output: "7.5", longContext: { threshold: 272000, input: "2.5", cachedInput: "0.25", output: "11.25" } }],
      flex: [{ input: "1.25", cachedInput: "0.13", output: "7.5", longContext: { threshold: 272000, input: "2.5", cachedInput: "0.25", output: "11.25" } }],
      priority: [{ input: "5", cachedInput: "0.5", output: "30", longContext: { threshold: 272000, input: "10", cachedInput: "1", output: "45" }, basis: "published, rest by rule" }]
    } },
    { id: "gpt-5.4-pro", aliases: ["gpt-5.4-pro-2026-03-05"], kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxInput: 922000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "30", output: "180", longContext: { threshold: 272000, input: "60", output: "270" } }],
      batch: [{ input: "15", output: "90", longContext: { threshold: 272000, input: "30", output: "135" } }],
      flex: [{ input: "15", output: "90", longContext: { threshold: 272000, input: "30", output: "135" } }]
    } },
    { id: "gpt-5.4-mini", aliases: ["gpt-5.4-mini-2026-03-17"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.75", cachedInput: "0.075", output: "4.5" }],
      batch: [{ input: "0.375", cachedInput: "0.0375", output: "2.25" }],
      flex: [{ input: "0.375", cachedInput: "0.0375", output: "2.25" }],
      priority: [{ input: "1.5", cachedInput: "0.15", output: "9" }]
    } },
    { id: "gpt-5.4-nano", aliases: ["gpt-5.4-nano-2026-03-17"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2027-04-01", regionalUplift: true, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.2", cachedInput: "0.02", output: "1.25" }],
      batch: [{ input: "0.1", cachedInput: "0.01", output: "0.625" }],
      flex: [{ input: "0.1", cachedInput: "0.01", output: "0.625" }]
    } },
    { id: "gpt-5.3-codex", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2027-04-01", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }],
      priority: [{ input: "3.5", cachedInput: "0.35", output: "28" }]
    } },
    { id: "gpt-5.3-codex-spark", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxInput: 100000, maxOutput: 32000, reasoning: true, status: "active", regionalUplift: false, asOf: "2026-11-10", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }]
    } },
    { id: "gpt-5.3-chat-latest", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }],
      priority: [{ input: "3.5", cachedInput: "0.35", output: "28", basis: "secondary source" }]
    } },
    { id: "gpt-5.2", aliases: ["gpt-5.2-2025-12-11"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }],
      batch: [{ input: "0.875", cachedInput: "0.0875", output: "7" }],
      flex: [{ input: "0.875", cachedInput: "0.0875", output: "7" }],
      priority: [{ input: "3.5", cachedInput: "0.35", output: "28" }]
    } },
    { id: "gpt-5.2-pro", aliases: ["gpt-5.2-pro-2025-12-11"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "21", output: "168" }],
      batch: [{ input: "10.5", output: "84" }]
    } },
    { id: "gpt-5.2-codex", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }],
      priority: [{ input: "3.5", cachedInput: "0.35", output: "28", basis: "secondary source" }]
    } },
    { id: "gpt-5.2-chat-latest", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.75", cachedInput: "0.175", output: "14" }],
      priority: [{ input: "3.5", cachedInput: "0.35", output: "28", basis: "secondary source" }]
    } },
    { id: "gpt-5.1", aliases: ["gpt-5.1-2025-11-13"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2027-04-01", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }],
      batch: [{ input: "0.625", cachedInput: "0.0625", output: "5" }],
      flex: [{ input: "0.625", cachedInput: "0.0625", output: "5" }],
      priority: [{ input: "2.5", cachedInput: "0.25", output: "20" }]
    } },
    { id: "gpt-5.1-codex", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }],
      priority: [{ input: "2.5", cachedInput: "0.25", output: "20", basis: "secondary source" }]
    } },
    { id: "gpt-5.1-codex-max", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }]
    } },
    { id: "gpt-5.1-codex-mini", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "0.25", cachedInput: "0.025", output: "2" }],
      priority: [{ input: "0.45", cachedInput: "0.045", output: "3.6", basis: "secondary source" }]
    } },
    { id: "gpt-5.1-chat-latest", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }],
      priority: [{ input: "2.5", cachedInput: "0.25", output: "20", basis: "secondary source" }]
    } },
    { id: "gpt-5-codex", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }]
    } },
    { id: "gpt-5-chat-latest", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }]
    } },
    { id: "gpt-5", aliases: ["gpt-5-2025-08-07"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }],
      batch: [{ input: "0.625", cachedInput: "0.0625", output: "5" }],
      flex: [{ input: "0.625", cachedInput: "0.0625", output: "5" }],
      priority: [{ input: "2.5", cachedInput: "0.25", output: "20" }]
    } },
    { id: "gpt-5-mini", aliases: ["gpt-5-mini-2025-08-07"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.25", cachedInput: "0.025", output: "2" }],
      batch: [{ input: "0.125", cachedInput: "0.0125", output: "1" }],
      flex: [{ input: "0.125", cachedInput: "0.0125", output: "1" }],
      priority: [{ input: "0.45", cachedInput: "0.045", output: "3.6" }]
    } },
    { id: "gpt-5-nano", aliases: ["gpt-5-nano-2025-08-07"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.05", cachedInput: "0.005", output: "0.4" }],
      batch: [{ input: "0.025", cachedInput: "0.0025", output: "0.2" }],
      flex: [{ input: "0.025", cachedInput: "0.0025", output: "0.2" }]
    } },
    { id: "gpt-5-pro", aliases: ["gpt-5-pro-2025-10-06"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxInput: 272000, maxOutput: 128000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "15", output: "120" }],
      batch: [{ input: "7.5", output: "60" }]
    } },
    { id: "gpt-5-search-api", kind: "chat", encoding: "o200k_base", reasoning: true, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.25", cachedInput: "0.125", output: "10" }]
    } },
    { id: "chat-latest", aliases: ["gpt-chat-latest"], kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "active", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "5", cachedInput: "0.5", output: "30" }]
    } },
    { id: "gpt-daybreak-blue-latest", kind: "chat", encoding: "o200k_base", contextWindow: 1050000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "5", cachedInput: "0.5", cacheWrite: "6.25", output: "30", longContext: { threshold: 272000, input: "10", cachedInput: "1", cacheWrite: "12.5", output: "45" }, basis: "list price" }]
    } },
    { id: "gpt-daybreak-red-latest", kind: "chat", encoding: "o200k_base", contextWindow: 400000, maxOutput: 128000, reasoning: true, status: "unverified", regionalUplift: true, asOf: "2026-11-10", tiers: {
      standard: [{ input: "12.5", cachedInput: "1.25", cacheWrite: "15.625", output: "75" }]
    } },
    { id: "gpt-4.1", aliases: ["gpt-4.1-2025-04-14"], kind: "chat", encoding: "o200k_base", contextWindow: 1047576, maxOutput: 32768, reasoning: false, status: "deprecated", shutdownDate: "2027-01-14", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2", cachedInput: "0.5", output: "8" }],
      batch: [{ input: "1", output: "4" }],
      priority: [{ input: "3.5", cachedInput: "0.875", output: "14" }]
    } },
    { id: "gpt-4.1-mini", aliases: ["gpt-4.1-mini-2025-04-14"], kind: "chat", encoding: "o200k_base", contextWindow: 1047576, maxOutput: 32768, reasoning: false, status: "deprecated", shutdownDate: "2027-01-14", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.4", cachedInput: "0.1", output: "1.6" }],
      batch: [{ input: "0.2", output: "0.8" }],
      priority: [{ input: "0.7", cachedInput: "0.175", output: "2.8" }]
    } },
    { id: "gpt-4.1-nano", aliases: ["gpt-4.1-nano-2025-04-14"], kind: "chat", encoding: "o200k_base", contextWindow: 1047576, maxOutput: 32768, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.1", cachedInput: "0.025", output: "0.4" }],
      batch: [{ input: "0.05", output: "0.2" }],
      priority: [{ input: "0.2", cachedInput: "0.05", output: "0.8" }]
    } },
    { id: "gpt-4o", aliases: ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "deprecated", shutdownDate: "2027-01-14", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2.5", cachedInput: "1.25", output: "10" }],
      batch: [{ input: "1.25", output: "5" }],
      priority: [{ input: "4.25", cachedInput: "2.125", output: "17" }]
    } },
    { id: "gpt-4o-2024-05-13", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 4096, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "5", output: "15" }],
      batch: [{ input: "2.5", output: "7.5" }],
      priority: [{ input: "8.75", output: "26.25" }]
    } },
    { id: "gpt-4o-mini", aliases: ["gpt-4o-mini-2024-07-18"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "deprecated", shutdownDate: "2027-01-14", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.15", cachedInput: "0.075", output: "0.6" }],
      batch: [{ input: "0.075", output: "0.3" }],
      priority: [{ input: "0.25", cachedInput: "0.125", output: "1" }]
    } },
    { id: "chatgpt-4o-latest", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "5", output: "15" }]
    } },
    { id: "gpt-4o-search-preview", aliases: ["gpt-4o-search-preview-2025-03-11"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2026-07-01", tiers: {
      standard: [{ input: "2.5", output: "10" }],
      batch: [{ input: "1.25", output: "5", basis: "secondary source" }]
    } },
    { id: "gpt-4o-mini-search-preview", aliases: ["gpt-4o-mini-search-preview-2025-03-11"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2026-08-21", tiers: {
      standard: [{ input: "0.15", output: "0.6" }]
    } },
    { id: "o1", aliases: ["o1-2024-12-17"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "15", cachedInput: "7.5", output: "60" }],
      batch: [{ input: "7.5", output: "30" }]
    } },
    { id: "o1-pro", aliases: ["o1-pro-2025-03-19"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "150", output: "600" }],
      batch: [{ input: "75", output: "300" }]
    } },
    { id: "o1-mini", aliases: ["o1-mini-2024-09-12"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "1.1", cachedInput: "0.55", output: "4.4" }]
    } },
    { id: "o1-preview", aliases: ["o1-preview-2024-09-12"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "15", cachedInput: "7.5", output: "60" }]
    } },
    { id: "o3", aliases: ["o3-2025-04-16"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [
        { input: "10", cachedInput: "2.5", output: "40", until: "2025-06-09" },
        { input: "2", cachedInput: "0.5", output: "8" }
      ],
      batch: [{ input: "1", output: "4" }],
      flex: [{ input: "1", cachedInput: "0.25", output: "4" }],
      priority: [{ input: "3.5", cachedInput: "0.875", output: "14" }]
    } },
    { id: "o3-pro", aliases: ["o3-pro-2025-06-10"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "deprecated", shutdownDate: "2026-12-11", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "20", output: "80" }],
      batch: [{ input: "10", output: "40" }]
    } },
    { id: "o3-mini", aliases: ["o3-mini-2025-01-31"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.1", cachedInput: "0.55", output: "4.4" }],
      batch: [{ input: "0.55", output: "2.2" }]
    } },
    { id: "o4-mini", aliases: ["o4-mini-2025-04-16"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.1", cachedInput: "0.275", output: "4.4" }],
      batch: [{ input: "0.55", output: "2.2" }],
      flex: [{ input: "0.55", cachedInput: "0.138", output: "2.2" }],
      priority: [{ input: "2", cachedInput: "0.5", output: "8" }]
    } },
    { id: "o3-deep-research", aliases: ["o3-deep-research-2025-06-26"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "10", cachedInput: "2.5", output: "40" }],
      batch: [{ input: "5", output: "20", basis: "secondary source" }]
    } },
    { id: "o4-mini-deep-research", aliases: ["o4-mini-deep-research-2025-06-26"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, maxOutput: 100000, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "2", cachedInput: "0.5", output: "8" }],
      batch: [{ input: "1", output: "4", basis: "secondary source" }]
    } },
    { id: "codex-mini-latest", aliases: ["codex-mini"], kind: "chat", encoding: "o200k_base", contextWindow: 200000, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "1.5", cachedInput: "0.375", output: "6" }]
    } },
    { id: "computer-use-preview", aliases: ["computer-use-preview-2025-03-11"], kind: "chat", contextWindow: 8192, reasoning: true, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "3", output: "12" }]
    } },
    { id: "gpt-4-turbo", aliases: ["gpt-4-turbo-2024-04-09"], kind: "chat", encoding: "cl100k_base", contextWindow: 128000, maxOutput: 4096, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "10", output: "30" }],
      batch: [{ input: "5", output: "15" }]
    } },
    { id: "gpt-4-turbo-preview", aliases: ["gpt-4-0125-preview", "gpt-4-1106-preview"], kind: "chat", encoding: "cl100k_base", contextWindow: 128000, maxOutput: 4096, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "10", output: "30" }]
    } },
    { id: "gpt-4", aliases: ["gpt-4-0613"], kind: "chat", encoding: "cl100k_base", contextWindow: 8192, maxOutput: 8192, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "30", output: "60" }],
      batch: [{ input: "15", output: "30" }]
    } },
    { id: "gpt-4-32k", aliases: ["gpt-4-32k-0613"], kind: "chat", encoding: "cl100k_base", contextWindow: 32768, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2026-09-23", tiers: {
      standard: [{ input: "60", output: "120" }]
    } },
    { id: "gpt-3.5-turbo", aliases: ["gpt-3.5-turbo-0125"], kind: "chat", encoding: "cl100k_base", contextWindow: 16385, maxOutput: 4096, reasoning: false, status: "shutdown", shutdownDate: "2026-10-23", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.5", output: "1.5" }],
      batch: [{ input: "0.25", output: "0.75" }]
    } },
    { id: "gpt-3.5-turbo-1106", kind: "chat", encoding: "cl100k_base", contextWindow: 16385, maxOutput: 4096, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1", output: "2" }],
      batch: [{ input: "1", output: "2" }]
    } },
    { id: "gpt-3.5-turbo-instruct", aliases: ["gpt-3.5-turbo-instruct-0914"], kind: "completion", encoding: "cl100k_base", contextWindow: 4096, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "1.5", output: "2" }]
    } },
    { id: "davinci-002", kind: "completion", encoding: "cl100k_base", contextWindow: 16384, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2", output: "2" }],
      batch: [{ input: "1", output: "1" }]
    } },
    { id: "babbage-002", kind: "completion", encoding: "cl100k_base", contextWindow: 16384, reasoning: false, status: "unverified", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.4", output: "0.4" }],
      batch: [{ input: "0.2", output: "0.2" }]
    } },
    { id: "gpt-audio-1.5", kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2.5", output: "10", audioInput: "32", audioOutput: "64" }]
    } },
    { id: "gpt-audio", aliases: ["gpt-audio-2025-08-28"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "deprecated", shutdownDate: "2027-01-20", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "2.5", output: "10", audioInput: "32", audioOutput: "64" }]
    } },
    { id: "gpt-audio-mini", aliases: ["gpt-audio-mini-2025-10-06", "gpt-audio-mini-2025-12-15"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.6", output: "2.4", audioInput: "10", audioOutput: "20" }]
    } },
    { id: "gpt-4o-audio-preview", aliases: ["gpt-4o-audio-preview-2024-12-17", "gpt-4o-audio-preview-2025-06-03"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2026-07-01", tiers: {
      standard: [{ input: "2.5", output: "10", audioInput: "40", audioOutput: "80" }]
    } },
    { id: "gpt-4o-mini-audio-preview", aliases: ["gpt-4o-mini-audio-preview-2024-12-17"], kind: "chat", encoding: "o200k_base", contextWindow: 128000, maxOutput: 16384, reasoning: false, status: "delisted", regionalUplift: false, asOf: "2025-08-01", tiers: {
      standard: [{ input: "0.15", output: "0.6", audioInput: "10", audioOutput: "20", basis: "secondary source" }]
    } },
    { id: "text-embedding-3-small", kind: "embedding", encoding: "cl100k_base", contextWindow: 8192, reasoning: false, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.02", output: "0" }]
    } },
    { id: "text-embedding-3-large", kind: "embedding", encoding: "cl100k_base", contextWindow: 8192, reasoning: false, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.13", output: "0" }]
    } },
    { id: "text-embedding-ada-002", kind: "embedding", encoding: "cl100k_base", contextWindow: 8192, reasoning: false, status: "active", regionalUplift: false, asOf: "2026-09-13", tiers: {
      standard: [{ input: "0.1", output: "0" }]
    } }
  ]
}
