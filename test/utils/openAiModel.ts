/**
 * A provider of `effect/ai` over the `openai` client and chat completions: no published one is built for this version
 * of Effect. It knows nothing of budgets.
 */
import { Data, Effect, Stream } from "effect"
import { AiError, EmbeddingModel, LanguageModel, Tool, type Prompt, type Response } from "effect/ai"
import OpenAI from "openai"

export interface ModelConfig {
  readonly model?: string
  readonly maxTokens?: number
  readonly extra?: Readonly<Record<string, unknown>>
}

const textOf = (parts: ReadonlyArray<{ readonly type: string; readonly text?: string }>): string =>
  parts.map((part) => part.text ?? "").join("")

const messagesOf = (message: Prompt.Message): Array<OpenAI.ChatCompletionMessageParam> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: textOf(message.content) }]
    case "assistant": {
      const calls = message.content.flatMap((part) =>
        part.type === "tool-call"
          ? [
              {
                id: part.id,
                type: "function" as const,
                function: { name: part.name, arguments: JSON.stringify(part.params) }
              }
            ]
          : []
      )
      const content = textOf(message.content)
      return [{ role: "assistant", content, ...(calls.length === 0 ? {} : { tool_calls: calls }) }]
    }
    case "tool":
      return message.content.flatMap((part) =>
        part.type === "tool-result"
          ? [{ role: "tool" as const, tool_call_id: part.id, content: JSON.stringify(part.result) }]
          : []
      )
  }
}

const bodyOf = (config: ModelConfig, options: LanguageModel.ProviderOptions) => ({
  model: config.model ?? "gpt-4o-mini",
  messages: options.prompt.content.flatMap(messagesOf),
  ...(config.maxTokens === undefined ? {} : { max_completion_tokens: config.maxTokens }),
  ...(options.tools.length === 0
    ? {}
    : {
        tools: options.tools.map((tool) => ({
          type: "function" as const,
          function: { name: String(tool.name), parameters: { ...Tool.getJsonSchema(tool) } }
        }))
      }),
  ...(options.responseFormat.type === "text"
    ? {}
    : {
        response_format: {
          type: "json_schema" as const,
          json_schema: {
            name: options.responseFormat.objectName,
            schema: { ...Tool.getJsonSchemaFromSchema(options.responseFormat.schema) }
          }
        }
      }),
  ...config.extra
})

const errorOf = (method: string) => (failure: unknown) => {
  const error = failure instanceof Error && !(failure instanceof OpenAI.OpenAIError) ? failure.cause : failure
  const reason =
    error instanceof OpenAI.APIError && typeof error.status === "number"
      ? AiError.reasonFromHttpStatus({
          status: error.status,
          http: { response: { status: error.status, headers: {} } }
        })
      : new AiError.NetworkError({
          reason: "TransportError",
          method: "POST",
          url: "/chat/completions",
          cause: failure
        })
  return AiError.make({ module: "TestModel", method, reason })
}

const usageOf = (usage: OpenAI.CompletionUsage | null | undefined): Response.FinishPartEncoded["usage"] => {
  const cacheRead = usage?.prompt_tokens_details?.cached_tokens ?? 0
  const cacheWrite = usage?.prompt_tokens_details?.cache_write_tokens ?? 0
  return {
    inputTokens:
      usage == null
        ? {}
        : {
            total: usage.prompt_tokens,
            cacheRead,
            cacheWrite,
            uncached: usage.prompt_tokens - cacheRead - cacheWrite
          },
    outputTokens:
      usage == null
        ? {}
        : {
            total: usage.completion_tokens,
            reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0
          }
  }
}

const finishOf = (
  reason: string | null | undefined,
  tier: string | null | undefined,
  usage: OpenAI.CompletionUsage | null | undefined
): Response.FinishPartEncoded => ({
  type: "finish",
  reason: reason === "tool_calls" ? "tool-calls" : reason === "length" ? "length" : "stop",
  usage: usageOf(usage),
  ...(tier == null ? {} : { metadata: { openai: { serviceTier: tier } } })
})

const metadataOf = (id: string, model: string): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  id,
  modelId: model
})

const partsOf = (completion: OpenAI.ChatCompletion): Array<Response.PartEncoded> => {
  const choice = completion.choices[0]
  const calls = choice?.message.tool_calls ?? []
  return [
    metadataOf(completion.id, completion.model),
    ...(choice?.message.content ? [{ type: "text" as const, text: choice.message.content }] : []),
    ...calls.flatMap((call) =>
      call.type === "function"
        ? [
            {
              type: "tool-call" as const,
              id: call.id,
              name: call.function.name,
              params: JSON.parse(call.function.arguments) as unknown
            }
          ]
        : []
    ),
    finishOf(choice?.finish_reason, completion.service_tier, completion.usage)
  ]
}

async function* streamPartsOf(
  chunks: AsyncIterable<OpenAI.ChatCompletionChunk>
): AsyncGenerator<Response.StreamPartEncoded> {
  const calls = new Map<number, { id: string; name: string; text: string }>()
  let isOpen = false
  let reason: string | null | undefined
  let tier: string | null | undefined
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of chunks) {
    const choice = chunk.choices[0]
    if (!isOpen) {
      isOpen = true
      yield metadataOf(chunk.id, chunk.model)
      yield { type: "text-start", id: "0" }
    }
    if (choice?.delta.content) yield { type: "text-delta", id: "0", delta: choice.delta.content }
    for (const call of choice?.delta.tool_calls ?? []) {
      const known = calls.get(call.index) ?? { id: call.id ?? "", name: "", text: "" }
      known.name += call.function?.name ?? ""
      known.text += call.function?.arguments ?? ""
      calls.set(call.index, known)
    }
    reason = choice?.finish_reason ?? reason
    tier = chunk.service_tier ?? tier
    usage = chunk.usage ?? usage
  }
  yield { type: "text-end", id: "0" }
  for (const { id, name, text } of calls.values()) {
    yield { type: "tool-call", id, name, params: JSON.parse(text) as unknown }
  }
  yield finishOf(reason, tier, usage)
}

/** What the client threw. */
class Thrown extends Data.TaggedError("Thrown")<{ readonly cause: unknown }> {}
const thrown = (cause: unknown): Thrown => new Thrown({ cause })

/** How a provider makes its calls: by the client itself, unless it is told another way. */
export interface Calling {
  readonly use: <A>(f: (client: OpenAI, signal: AbortSignal) => Promise<A>) => Effect.Effect<A, unknown>
  readonly stream: <A>(
    f: (client: OpenAI, signal: AbortSignal) => Promise<AsyncIterable<A>>
  ) => Stream.Stream<A, unknown>
}

export const byClient = (client: OpenAI): Calling => ({
  use: (f) => Effect.tryPromise({ try: (signal) => f(client, signal), catch: thrown }),
  stream: (f) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const abort = yield* Effect.acquireRelease(
          Effect.sync(() => new AbortController()),
          (controller) => Effect.sync(() => controller.abort())
        )
        const items = yield* Effect.tryPromise({
          try: () => f(client, abort.signal),
          catch: thrown
        })
        return Stream.fromAsyncIterable(items, thrown)
      })
    )
})

export const languageModel = (
  calling: Calling,
  config: ModelConfig = {}
): Effect.Effect<LanguageModel.LanguageModel> =>
  LanguageModel.make({
    generateText: (options) =>
      calling
        .use((client, signal) => client.chat.completions.create(bodyOf(config, options), { signal }))
        .pipe(Effect.map(partsOf), Effect.mapError(errorOf("generateText"))),
    streamText: (options) =>
      calling
        .stream(async (client, signal) =>
          streamPartsOf(
            await client.chat.completions.create(
              { ...bodyOf(config, options), stream: true, stream_options: { include_usage: true } },
              { signal }
            )
          )
        )
        .pipe(Stream.mapError(errorOf("streamText")))
  })

export const embeddingModel = (
  calling: Calling,
  model = "text-embedding-3-small"
): Effect.Effect<EmbeddingModel.EmbeddingModel> =>
  EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      calling
        .use((client, signal) =>
          client.embeddings.create({ model, input: [...inputs], encoding_format: "float" }, { signal })
        )
        .pipe(
          Effect.map(({ data, usage }) => ({
            results: data.map(({ embedding }) => embedding),
            usage: { inputTokens: usage.prompt_tokens }
          })),
          Effect.mapError(errorOf("embedMany"))
        )
  })
