/**
 * The request that a call of an `effect/ai` model comes to, as far as the prompt and the tools tell: what a quote is made
 * of. What a provider writes differently weighs less here, never more: the bound has room for it.
 */
import * as Result from "effect/Result"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import type * as Schema from "effect/Schema"
import { parse, type Json, type JsonObject } from "./json.ts"

/** The APIs that a model may be asked by. */
export type Api = "/responses" | "/chat/completions"

/** What is asked of a model, as its provider is told it. */
export type Asked = Pick<
  LanguageModel.ProviderOptions,
  "prompt" | "tools" | "toolChoice" | "responseFormat" | "previousResponseId"
>

/** As it is written in JSON; what cannot be is nothing, as it is for whoever sends it. */
const jsonOf = (value: unknown): Json => {
  const text = Result.try((): string | undefined => JSON.stringify(value))
  return Result.isSuccess(text) && text.success !== undefined ? (parse(text.success) ?? null) : null
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(jsonOf(value)))

/** The larger of the forms that a schema is sent in: providers write it for strict mode, or leave it as it is. */
const schemaOf = (plain: () => unknown, strict: () => unknown): Json => {
  const forms = [plain, strict].map((form) => Result.try(form)).filter(Result.isSuccess)
  const written = forms.map((form) => jsonOf(form.success))
  return written.reduce((a, b) => (textOf(b).length > textOf(a).length ? b : a), null)
}

const strictly = { transformer: OpenAiStructuredOutput.toCodecOpenAI }

const parametersOf = (tool: Tool.Any): Json =>
  schemaOf(
    () => Tool.getJsonSchema(tool),
    () => Tool.getJsonSchema(tool, strictly)
  )

const formatOf = (schema: Schema.Top): Json =>
  schemaOf(
    () => Tool.getJsonSchemaFromSchema(schema),
    () => Tool.getJsonSchemaFromSchema(schema, strictly)
  )

/** A file by its address, or as the data URL that it is sent as. */
const addressOf = ({ data, mediaType }: Pick<Prompt.FilePart, "data" | "mediaType">): string => {
  if (data instanceof URL) return data.href
  if (typeof data === "string" && /^(?:data|https?):/i.test(data)) return data
  // "image/*" says that any will do: the size is then read from the data.
  const type = mediaType === "image/*" ? "image/png" : mediaType
  return `data:${type};base64,${typeof data === "string" ? data : Buffer.from(data).toString("base64")}`
}

const isImage = ({ mediaType }: Prompt.FilePart): boolean => mediaType.startsWith("image/")

const isAddress = (address: string): boolean => !address.startsWith("data:")

type UserPart = Prompt.TextPart | Prompt.FilePart

/** What a model is told beside its text: thoughts that go back to it in a form of the provider's. */
const thought = (part: Prompt.ReasoningPart): string =>
  Object.keys(part.options).length === 0 ? part.text : part.text + textOf(part.options)

const resultOf = (part: Prompt.ToolResultPart): string | ReadonlyArray<UserPart> =>
  part.modelOutput === undefined ? textOf(part.result) : part.modelOutput

/** How an API has the parts of a prompt written. */
interface Writers {
  readonly part: (part: UserPart) => Json
  readonly said: (text: string) => Json
  readonly call: (part: Prompt.ToolCallPart) => JsonObject
  readonly result: (id: string, content: Json) => JsonObject
}

const itemsOf =
  (write: Writers) =>
  (message: Prompt.Message): ReadonlyArray<JsonObject> => {
    const said = (text: string): JsonObject => ({ role: "assistant", content: write.said(text) })
    const resulted = (part: Prompt.ToolResultPart): JsonObject => {
      const result = resultOf(part)
      return write.result(part.id, typeof result === "string" ? result : result.map(write.part))
    }
    const itemOf = (part: Prompt.AssistantMessagePart): ReadonlyArray<JsonObject> => {
      switch (part.type) {
        case "text":
          return [said(part.text)]
        case "reasoning":
          return [said(thought(part))]
        case "file":
          return [{ role: "user", content: [write.part(part)] }]
        case "tool-call":
          return [write.call(part)]
        case "tool-result":
          return [resulted(part)]
        default:
          return []
      }
    }
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }]
      case "user":
        return [{ role: "user", content: message.content.map(write.part) }]
      case "assistant":
        return message.content.flatMap(itemOf)
      case "tool":
        return message.content.flatMap((part) => (part.type === "tool-result" ? [resulted(part)] : []))
    }
  }

const choiceOf = (choice: Asked["toolChoice"], named: (name: string) => Json): Json => {
  if (typeof choice === "string") return choice
  return "tool" in choice ? named(String(choice.tool)) : (choice.mode ?? "auto")
}

const functionOf = (tool: Tool.Any): JsonObject => ({
  name: String(tool.name),
  description: Tool.getDescription(tool) ?? "",
  parameters: parametersOf(tool),
  strict: true
})

// -- Responses ------------------------------------------------------------------------------------------------

const inputItems = itemsOf({
  part: (part) => {
    if (part.type === "text") return { type: "input_text", text: part.text }
    const address = addressOf(part)
    if (isImage(part)) return { type: "input_image", image_url: address }
    return isAddress(address)
      ? { type: "input_file", file_url: address }
      : { type: "input_file", filename: part.fileName ?? "file", file_data: address }
  },
  said: (text) => [{ type: "output_text", text }],
  call: ({ id, name, params }) => ({ type: "function_call", call_id: id, name, arguments: textOf(params) }),
  result: (id, output) => ({ type: "function_call_output", call_id: id, output })
})

const responsesBody = (asked: Asked): JsonObject => {
  const { previousResponseId, prompt, responseFormat, toolChoice, tools } = asked
  const format =
    responseFormat.type === "text"
      ? {}
      : {
          text: {
            format: {
              type: "json_schema",
              name: responseFormat.objectName,
              schema: formatOf(responseFormat.schema),
              strict: true
            }
          }
        }
  return {
    input: prompt.content.flatMap(inputItems),
    ...(tools.length === 0
      ? {}
      : {
          tools: tools.map((tool) => ({ type: "function", ...functionOf(tool) })),
          tool_choice: choiceOf(toolChoice, (name) => ({ type: "function", name }))
        }),
    ...format,
    ...(previousResponseId === undefined ? {} : { previous_response_id: previousResponseId })
  }
}

// -- Chat -----------------------------------------------------------------------------------------------------

const chatMessages = itemsOf({
  part: (part) => {
    if (part.type === "text") return { type: "text", text: part.text }
    const address = addressOf(part)
    return isImage(part)
      ? { type: "image_url", image_url: { url: address } }
      : { type: "file", file: { filename: part.fileName ?? "file", file_data: address } }
  },
  said: (text) => text,
  call: ({ id, name, params }) => ({
    role: "assistant",
    content: null,
    tool_calls: [{ id, type: "function", function: { name, arguments: textOf(params) } }]
  }),
  result: (id, content) => ({ role: "tool", tool_call_id: id, content })
})

const chatBody = ({ prompt, responseFormat, toolChoice, tools }: Asked): JsonObject => ({
  messages: prompt.content.flatMap(chatMessages),
  ...(tools.length === 0
    ? {}
    : {
        tools: tools.map((tool) => ({ type: "function", function: functionOf(tool) })),
        tool_choice: choiceOf(toolChoice, (name) => ({ type: "function", function: { name } }))
      }),
  ...(responseFormat.type === "text"
    ? {}
    : {
        response_format: {
          type: "json_schema",
          json_schema: {
            name: responseFormat.objectName,
            schema: formatOf(responseFormat.schema),
            strict: true
          }
        }
      })
})

const capField = { "/responses": "max_output_tokens", "/chat/completions": "max_completion_tokens" } as const

/**
 * The body of a request. Tools that the provider runs are not in it: the form that they are asked for in is known to the
 * provider alone.
 */
export const bodyOf = (
  api: Api,
  model: string,
  asked: Asked,
  maxOutputTokens: number | undefined
): JsonObject => {
  const own = { ...asked, tools: asked.tools.filter((tool) => !Tool.isProviderDefined(tool)) }
  const body = api === "/responses" ? responsesBody(own) : chatBody(own)
  if (maxOutputTokens === undefined) return { model, ...body }
  // JSON has no form of NaN and infinity but null, which is no cap: as a text it is refused, as every wrong cap is.
  const cap = Number.isFinite(maxOutputTokens) ? maxOutputTokens : String(maxOutputTokens)
  return { model, ...body, [capField[api]]: cap }
}

/** The first tool that the provider runs: its calls have fees, and read more than the request shows. */
export const hostedToolOf = (tools: Asked["tools"]): string | undefined =>
  tools.find((tool) => Tool.isProviderDefined(tool))?.id
