/** Hosted tools: what a request allows of them, and what a call of each costs beyond its tokens. */
import * as Result from "effect/Result"
import type { Model, Price, ToolFees } from "../Pricing.ts"
import { isObject, type Json, type JsonObject } from "./json.ts"
import { fixedSearchTokens, searchesPerCall } from "./openAiToolFees.ts"

/**
 * The most that a request allows of hosted tools: `calls` in all (`max_tool_calls`), and what they come to in
 * searches and in sessions of containers.
 *
 * @example
 * ```ts
 * import { OpenAiEndpoints } from "agent-budget"
 * import { Result } from "effect"
 *
 * const body = { model: "gpt-5.2", input: "News?", max_tool_calls: 2, tools: [{ type: "web_search" }] }
 * const found = OpenAiEndpoints.recognise("POST", "/responses")
 * if (found._tag === "Priced") {
 *   const plan = Result.getOrThrow(found.endpoint.plan({ body, text: JSON.stringify(body) }))
 *   console.log(plan.tools?.calls, plan.input.windows) // 2 3
 * }
 * ```
 *
 * @since 0.1.0
 */
export interface HostedTools {
  /** Calls of any of them: `max_tool_calls`. */
  readonly calls: number
  readonly webSearches: number
  readonly fileSearches: number
  readonly containers: number
  /** Which tools search the web. */
  readonly searchesBy: ReadonlyArray<"webSearch" | "webSearchPreview">
  /** The memory of the containers. */
  readonly memory: ReadonlyArray<keyof ToolFees["container"]>
}

/**
 * The hosted tools whose cost is known, by what they are charged as; calls of MCP servers and searches for tools cost
 * their tokens.
 */
const kinds: ReadonlyMap<string, "webSearch" | "webSearchPreview" | "fileSearch" | "container" | "tokens"> =
  new Map([
    ["web_search", "webSearch"],
    ["web_search_2025_08_26", "webSearch"],
    ["web_search_preview", "webSearchPreview"],
    ["web_search_preview_2025_03_11", "webSearchPreview"],
    ["file_search", "fileSearch"],
    ["code_interpreter", "container"],
    ["mcp", "tokens"],
    ["tool_search", "tokens"]
  ] as const)

/** Whether the provider runs a tool itself. The caller may have said that it searches for tools on its own. */
export const isHosted = (tool: Json | undefined): tool is JsonObject =>
  isObject(tool) &&
  typeof tool.type === "string" &&
  kinds.has(tool.type) &&
  !(tool.type === "tool_search" && tool.execution === "client")

/** A container of our own making has 1 GB unless said. Of one that is named, nothing is known. */
const memoryOf = ({ container }: JsonObject): HostedTools["memory"][number] => {
  if (!isObject(container) || container.type !== "auto") return "64g"
  const { memory_limit: limit } = container
  if (limit === undefined || limit === null) return "1g"
  return limit === "1g" || limit === "4g" || limit === "16g" ? limit : "64g"
}

/** What so many calls come to at most, of all the tools together. */
export const hostedTools = (tools: ReadonlyArray<JsonObject>, calls: number): HostedTools => {
  const typed = tools.map(
    (tool) => [tool, typeof tool.type === "string" ? kinds.get(tool.type) : undefined] as const
  )
  const has = (kind: string): boolean => typed.some(([, each]) => each === kind)
  const searchesBy = (["webSearch", "webSearchPreview"] as const).filter(has)
  const memory = typed.flatMap(([tool, kind]) => (kind === "container" ? [memoryOf(tool)] : []))
  return {
    calls,
    webSearches: searchesBy.length === 0 ? 0 : calls * searchesPerCall,
    fileSearches: has("fileSearch") ? calls : 0,
    // A container is made for the request, called or not; a call may find its session over, which starts another.
    containers: memory.length === 0 ? 0 : memory.length + calls,
    searchesBy,
    memory
  }
}

/** The most of some fees, or the name of the first that has no price. */
const dearest = (
  fees: ReadonlyArray<readonly [name: string, fee: number | undefined]>
): Result.Result<number, string> => {
  const unpriced = fees.find(([, fee]) => fee === undefined)
  return unpriced === undefined
    ? Result.succeed(fees.reduce((most, [, fee]) => Math.max(most, fee ?? 0), 0))
    : Result.fail(unpriced[0])
}

/** A price with the fees of a request's tools in it, or the name of the first fee that is not known. */
export const withFees = (
  price: Price,
  model: Model,
  tools: HostedTools | undefined,
  table: ToolFees
): Result.Result<Price, string> => {
  if (tools === undefined) return Result.succeed(price)
  const { longContext, rates } = price
  const fixed = (fixedSearchTokens[model.id] ?? 0) * Math.max(rates.input, longContext?.rates.input ?? 0)
  const search = dearest(
    tools.searchesBy.map((by) => {
      const fee = table[by === "webSearchPreview" && model.reasoning ? "webSearch" : by]
      return [by, fee === undefined || by === "webSearchPreview" ? fee : fee + fixed]
    })
  )
  const file = dearest(tools.fileSearches === 0 ? [] : [["fileSearch", table.fileSearch]])
  const session = dearest(tools.memory.map((size) => [`container["${size}"]`, table.container[size]]))
  return Result.map(Result.all([search, file, session]), ([webSearch, fileSearch, container]) => ({
    ...price,
    toolFees: { webSearch, fileSearch, container }
  }))
}
