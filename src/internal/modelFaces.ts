/**
 * A language model of `effect/ai` around another one. The outer one does what `LanguageModel.make` does (tools, approvals,
 * decoding); the inner one only makes its round trip, with its tool calls unresolved: so nothing is held while tools run.
 *
 * The methods of the interface are overloads that no implementation can be written for without a cast: those casts
 * stand here, and what they claim is tested.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Response from "effect/ai/Response"
import * as ResponseIdTracker from "effect/ai/ResponseIdTracker"
import * as Telemetry from "effect/ai/Telemetry"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import { Readings } from "./modelBill.ts"

/** Runs the inner model's round trips inside of a budget. */
export interface Around {
  readonly whole: <A>(
    options: LanguageModel.ProviderOptions,
    readings: Readings,
    self: Effect.Effect<A, AiError.AiError>
  ) => Effect.Effect<A, AiError.AiError>
  readonly streamed: <A>(
    options: LanguageModel.ProviderOptions,
    readings: Readings,
    self: Stream.Stream<A, AiError.AiError>
  ) => Stream.Stream<A, AiError.AiError>
}

/** The caller's record of earlier responses: for the inner model alone, or both would keep one. */
export const Tracked = Context.Reference<ResponseIdTracker.Service | undefined>("agent-budget/Tracked", {
  defaultValue: () => undefined
})

/** Hides the record from the outer model, and keeps it for the inner one. */
const hidden = (context: Context.Context<never>): Context.Context<never> => {
  const tracker = Context.getOption(context, ResponseIdTracker.ResponseIdTracker)
  return Option.isNone(tracker)
    ? context
    : Context.add(Context.omit(ResponseIdTracker.ResponseIdTracker)(context), Tracked, tracker.value)
}

/**
 * What the inner model runs with: the record, and a span transformer that reads the bill of an answer that then
 * fails to be decoded. The caller's own transformer is applied once, by the outer model.
 */
const shown =
  (transformer: Telemetry.SpanTransformer) =>
  (context: Context.Context<never>): Context.Context<never> => {
    const tracker = Context.get(context, Tracked)
    const own: Context.Context<never> = Context.add(context, Telemetry.CurrentSpanTransformer, transformer)
    return tracker === undefined ? own : Context.add(own, ResponseIdTracker.ResponseIdTracker, tracker)
  }

/** The tools as a toolkit that is never asked to run one. */
const unhandled = (tools: ReadonlyArray<Tool.Any>): Toolkit.WithHandler<Record<string, Tool.Any>> => ({
  tools: Object.fromEntries(tools.map((tool) => [String(tool.name), tool])),
  handle: () => Effect.die("The tools of a budgeted model's round trip are not run in it.")
})

/** What the inner model is asked: the same, with nothing resolved. */
const askedOf = (options: LanguageModel.ProviderOptions) =>
  options.tools.length === 0 && options.toolCallValidation !== "deferred"
    ? { prompt: options.prompt }
    : {
        prompt: options.prompt,
        ...(options.tools.length === 0
          ? {}
          : { toolkit: unhandled(options.tools), toolChoice: options.toolChoice }),
        disableToolCallResolution: true as const,
        toolCallValidation: "deferred" as const
      }

interface Answer {
  readonly content: ReadonlyArray<Response.AnyPart>
}

/** The inner model's methods as what they are once their options are known to need nothing. */
interface Plain {
  readonly generateText: (options: object) => Effect.Effect<Answer, AiError.AiError>
  readonly generateObject: (
    options: object
  ) => Effect.Effect<Answer & { readonly value: unknown }, AiError.AiError>
  readonly streamText: (options: object) => Stream.Stream<Response.AnyPart, AiError.AiError>
}

const encodeParts = Schema.encodeUnknownEffect(Schema.mutable(Schema.Array(Response.Part())))
const encodeStreamParts = Schema.encodeUnknownEffect(Schema.NonEmptyArray(Response.StreamPart()))

const errorOf = (method: string, reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: "BudgetedLanguageModel", method, reason })

const unencoded = (method: string) => (error: Schema.SchemaError) =>
  errorOf(method, AiError.InvalidOutputError.fromSchemaError(error))

/** A provider is asked to let undeclared calls through, and they are found here, as it would have found them. */
const checked = <Parts extends ReadonlyArray<Response.AnyPart>>(
  method: string,
  options: LanguageModel.ProviderOptions,
  parts: Parts
): Effect.Effect<Parts, AiError.AiError> => {
  if (options.toolCallValidation === "deferred") return Effect.succeed(parts)
  const availableTools = options.tools.map((tool) => String(tool.name))
  for (const part of parts) {
    if (part.type !== "tool-call" || part.providerExecuted) continue
    const toolName = String(part.name)
    if (availableTools.includes(toolName)) continue
    return Effect.fail(errorOf(method, new AiError.ToolNotFoundError({ toolName, availableTools })))
  }
  return Effect.succeed(parts)
}

const whole = (
  around: Around,
  options: LanguageModel.ProviderOptions,
  method: string,
  self: Effect.Effect<Answer, AiError.AiError>
): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> =>
  Effect.suspend(() => {
    const readings = new Readings()
    const heard = Effect.tap(self, ({ content }) => Effect.sync(() => readings.read(content)))
    const inside = Effect.updateContext(
      heard,
      shown(({ response }) => readings.read(response))
    )
    return around.whole(options, readings, inside)
  }).pipe(
    Effect.flatMap(({ content }) => checked(method, options, content)),
    Effect.flatMap((content) => Effect.mapError(encodeParts(content), unencoded(method)))
  )

const streamed = (
  around: Around,
  options: LanguageModel.ProviderOptions,
  self: Stream.Stream<Response.AnyPart, AiError.AiError>
): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> =>
  Stream.suspend(() => {
    const readings = new Readings()
    const heard = Stream.mapArray(self, (parts) => {
      for (const part of parts) readings.heed(part)
      return parts
    })
    return around.streamed(
      options,
      readings,
      Stream.updateContext(
        heard,
        shown(() => undefined)
      )
    )
  }).pipe(
    Stream.mapArrayEffect((parts) =>
      Effect.flatMap(checked("streamText", options, parts), (each) =>
        Effect.mapError(encodeStreamParts(each), unencoded("streamText"))
      )
    )
  )

/** What is decoded already, in place of decoding the text of an answer once more: only the inner model knows how. */
const decoded = (value: () => unknown): LanguageModel.CodecTransformer =>
  ((schema: Schema.Top) => ({
    codec: Schema.Unknown.pipe(
      Schema.decodeTo(
        Schema.Unknown,
        SchemaTransformation.transform({ decode: value, encode: (given) => given })
      )
    ),
    jsonSchema: schema.ast
  })) as unknown as LanguageModel.CodecTransformer

/** The model around the inner one. */
export const faceOf = (
  inner: LanguageModel.LanguageModel,
  around: Around
): Effect.Effect<LanguageModel.LanguageModel> => {
  const plain = inner as unknown as Plain
  const streamText = (options: LanguageModel.ProviderOptions) =>
    streamed(
      around,
      options,
      Stream.suspend(() => plain.streamText(askedOf(options)))
    )
  const supports = inner.supportsSystemMessagesInHistory
  const texts = LanguageModel.make({
    generateText: (options) =>
      whole(
        around,
        options,
        "generateText",
        Effect.suspend(() => plain.generateText(askedOf(options)))
      ),
    streamText,
    supportsSystemMessagesInHistory: supports
  })
  /** One for each call: it holds the call's value. */
  const objects = Effect.suspend(() => {
    let value: unknown
    const generate = (options: LanguageModel.ProviderOptions) => {
      const { responseFormat } = options
      const format =
        responseFormat.type === "json"
          ? { schema: responseFormat.schema, objectName: responseFormat.objectName }
          : {}
      return whole(
        around,
        options,
        "generateObject",
        Effect.suspend(() => plain.generateObject({ ...askedOf(options), ...format })).pipe(
          Effect.tap((answer) => Effect.sync(() => void (value = answer.value)))
        )
      )
    }
    return LanguageModel.make({
      generateText: generate,
      streamText,
      codecTransformer: decoded(() => value),
      supportsSystemMessagesInHistory: supports
    })
  })
  return Effect.map(texts, (outer) => {
    const { generateText, streamText: stream } = outer as unknown as Plain
    return {
      ...outer,
      generateText: (options: object) => Effect.updateContext(generateText(options), hidden),
      generateObject: (options: object) => {
        const answer = Effect.flatMap(objects, (model) => (model as unknown as Plain).generateObject(options))
        return Effect.updateContext(answer, hidden)
      },
      streamText: (options: object) => Stream.updateContext(stream(options), hidden)
    } as unknown as LanguageModel.LanguageModel
  })
}
