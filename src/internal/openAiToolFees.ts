/**
 * What OpenAI charges for its hosted tools beyond the tokens that they feed the model, in USD as decimal strings.
 * Source: OpenAI's pricing page (developers.openai.com/api/docs/pricing), "Built-in tools", as of `asOf`.
 */
export const openAiToolFees = {
  asOf: "2026-11-23",
  /** For 1,000 searches of the web; by the preview tool on models that reason as well. */
  webSearch: "10",
  /** For 1,000 searches by the preview tool on models that do not reason. */
  webSearchPreview: "25",
  /** For 1,000 searches of files. Their storage is billed apart, whether or not anything is searched. */
  fileSearch: "2.5",
  /** For a container's session of 20 minutes, by the container's memory. */
  container: { "1g": "0.03", "4g": "0.12", "16g": "0.48", "64g": "1.92" }
} as const

/**
 * One call may search several times, each of which is billed, and no limit is documented. Recorded were 2; OpenAI's
 * support has explained 147 in 57 calls (community.openai.com/t/1236954). An allowance of several times that.
 */
export const searchesPerCall = 10

/**
 * Models that are charged so many input tokens for each search by the tool that is no preview, whatever it found.
 * The page does not say whether the usage of the response has them in it, so they are charged beyond it.
 */
export const fixedSearchTokens: Readonly<Record<string, number>> = {
  "gpt-4o-mini": 8_000,
  "gpt-4.1-mini": 8_000
}
