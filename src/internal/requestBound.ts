/**
 * The worst case of a request's input, from its body alone: the length of the body as ASCII-escaped JSON, which
 * no tokenizer passes, plus what the provider adds around it. Images count by formula instead of by their base64
 * text. What is not on the closed lists is refused: nobody knows what it does to the cost.
 */
import * as BudgetError from "../BudgetError.ts"
import { asciiEscapedLength } from "../TokenCounter.ts"
import { deepest, type Survey } from "./bodySurvey.ts"
import { functionsText, mostText } from "./functionText.ts"
import { imageTokens } from "./images.ts"
import { isArray, isGiven, isObject, type Json, type JsonObject } from "./json.ts"
import { meantBy, type Names } from "./modelNames.ts"
import { beyondWindow, imageRule, readsUnshownInput } from "./modelFamilies.ts"

/**
 * Tokens that the provider adds beyond the text, each above what the recorded traffic shows (3 + 5 a message and
 * 15 + 16 on o1-preview, a preamble of about 105 for a gpt-5 tool, 118 for a custom one, 45 for a parallel pair of
 * tool results, 8 for a schema). The text's own slack, four to one, comes on top.
 */
const framing = { request: 64, message: 20, part: 8, tools: 160, tool: 32, schema: 32, custom: 160 } as const

/** How a top-level field is met: it costs nothing beyond its text, or it is refused for a reason, unless it is free. */
export type FieldRule =
  "bounded" | { readonly refused: string; readonly unless?: (value: Json | undefined) => boolean }

/** Source: OpenAI's pricing page, which has moderation as free, and the models of the client's `ModerationModel`. */
const freeModerators = new Set<Json | undefined>([
  "omni-moderation-latest",
  "omni-moderation-2024-09-26",
  "text-moderation-latest",
  "text-moderation-stable"
])

/** Scores beside an answer: a recorded request was billed the tokens that it has without them. */
export const moderation: FieldRule = {
  refused: "what its moderation model costs is not known: omni-moderation-latest is free.",
  unless: (value) => isObject(value) && freeModerators.has(value.model)
}

/** Whether an answer may be held back by what moderates it, once it was written. Source: the `openai` package, `Policy.Output`. */
export const holdsBack = ({ moderation: asked }: JsonObject): boolean => {
  const policy = isObject(asked) ? asked.policy : undefined
  const output = isObject(policy) ? policy.output : undefined
  return isGiven(output) && !(isObject(output) && output.mode === "score")
}

/** Parts that are text and nothing else. */
const textParts = new Set(["text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"])

/** What is read as an image, and so not as text. */
const imageData = /^data:image\/(?:png|jpe?g|gif|webp)[;,]/i

/**
 * What functions may be fed longer for: a definition is written out wherever it is referred to, and of a list of values
 * a short number is more tokens, with what is written between them, than it has characters.
 */
const fedLonger = /\$ref|\\u|[[,]\d(?:\.\d)?[,\]]/

/** Whether the answers of a hosted tool may be images: a search finds texts unless it asks for more. */
const findsImages = ({ search_content_types: found, type }: JsonObject): boolean =>
  type === "mcp" ||
  type === "code_interpreter" ||
  !(found === undefined || found === null || (isArray(found) && found.every((each) => each === "text")))

/** Reads a body once; remembers the first thing that cannot be bounded. */
export class BodyReader {
  readonly endpoint: string
  readonly model: string
  refusal: BudgetError.Reason | undefined = undefined
  added: number = framing.request
  images = 0
  /** Each prompt of a request has a window of its own. */
  windows = 1
  /** Characters of base64 that are not read as text. */
  deducted = 0
  unshown = false
  /** Only tools bring what is not shown, and they bring texts. */
  findsTexts = false
  previous: string | undefined = undefined
  repeats = true
  audio = false
  /** Tools that the provider runs. */
  readonly hosted: Array<JsonObject> = []
  /** Functions of the caller's. */
  readonly functions: Array<JsonObject> = []

  constructor(endpoint: string, model: string) {
    this.endpoint = endpoint
    this.model = model
    if (readsUnshownInput(model)) {
      this.unbounded(
        `the model ${JSON.stringify(model.slice(0, 80))} reads what it searches for.`,
        "Use a model that does not."
      )
    }
  }

  unbounded(detail: string, fix: string): void {
    this.refusal ??= new BudgetError.UnboundedRequest({ endpoint: this.endpoint, detail, fix })
  }

  malformed(detail: string, fix: string): void {
    this.refusal ??= new BudgetError.MalformedRequest({ detail, fix })
  }

  /** Checks the body's fields against the endpoint's closed list. `null` says what leaving the field out says. */
  fields(
    body: JsonObject,
    { isDeep }: Survey,
    rules: ReadonlyMap<string, FieldRule>,
    allow: ReadonlyArray<string> | undefined
  ): void {
    if (isDeep) {
      this.malformed(`the body nests deeper than ${deepest} levels.`, "Send fewer levels.")
    }
    for (const key of Object.keys(body)) {
      const rule = rules.get(key)
      if (rule === "bounded" || body[key] === null || allow?.includes(key) === true) continue
      if (rule?.unless?.(body[key]) === true) continue
      const name = JSON.stringify(key.slice(0, 80))
      if (rule === undefined) {
        this.unbounded(
          `what the field ${name} does to the cost is not known.`,
          `Leave it out or, if it costs nothing, write allow: [${name}].`
        )
      } else this.unbounded(rule.refused, `Leave ${name} out.`)
    }
  }

  /** A whole number of at least `least`, or `undefined` where the field is absent or `null`. */
  count(body: JsonObject, field: string, least: 0 | 1 = 1): number | undefined {
    const value = body[field]
    if (value === undefined || value === null) return undefined
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value
    this.malformed(
      `${field} is not a whole number of at least ${least}.`,
      `Send ${field} as a JSON integer, from ${least} up.`
    )
    return undefined
  }

  flag(body: JsonObject, field: string): boolean {
    const value = body[field]
    if (value === undefined || value === null || typeof value === "boolean") return value === true
    this.malformed(`${field} is neither true nor false.`, `Send ${field} as a JSON boolean.`)
    return false
  }

  word(body: JsonObject, field: string): string | undefined {
    const value = body[field]
    if (value === undefined || value === null) return undefined
    if (typeof value === "string") return value
    this.malformed(`${field} is not a string.`, `Send ${field} as a JSON string.`)
    return undefined
  }

  message(): void {
    this.added += framing.message
  }

  /** A text, `null`, or an array of parts. */
  content(value: Json | undefined): void {
    if (value === undefined || value === null || typeof value === "string") return
    if (!isArray(value)) {
      this.malformed("a content is neither text nor a list of parts.", "Send a string or an array.")
      return
    }
    for (const part of value) this.part(part)
  }

  part(part: Json): void {
    this.added += framing.part
    if (typeof part === "string") return
    const type = isObject(part) ? part.type : undefined
    if (!isObject(part) || typeof type !== "string") {
      this.malformed("a content part has no type.", "Send parts as objects with a type.")
    } else if (type === "image_url") {
      const image = part.image_url
      this.image(isObject(image) ? image.url : image, isObject(image) ? image.detail : undefined)
    } else if (type === "input_image")
      this.image(isGiven(part.file_id) ? undefined : part.image_url, part.detail)
    else if (type === "input_audio") this.audio = true
    // A PDF is read as its text and as pictures of its pages: its bytes bound neither.
    else if (type === "file" || type === "input_file") this.unshown = true
    else if (!textParts.has(type)) {
      this.unbounded(
        `what a part of type ${JSON.stringify(type.slice(0, 80))} costs is not known.`,
        "Use text, image, audio or file parts."
      )
    }
  }

  image(url: Json | undefined, detail: Json | undefined): void {
    const text = typeof url === "string" ? url : undefined
    this.images += imageTokens(this.model, text, typeof detail === "string" ? detail : undefined)
    if (text !== undefined && imageData.test(text.slice(0, 64))) this.deducted += text.length
    // What is at an address may be another image when it is read again.
    else this.repeats = false
  }

  /** A list of tools, of the types that cost no more than their text, and of those that the provider runs. */
  tools(
    value: Json | undefined,
    allowed: ReadonlySet<string>,
    hosted?: (tool: Json) => tool is JsonObject,
    within?: "namespace" | "item"
  ): void {
    if (value === undefined || value === null) return
    if (!isArray(value)) {
      this.malformed("tools is not a list.", "Send an array.")
      return
    }
    if (value.length > 0) this.added += framing.tools
    for (const tool of value) {
      this.added += framing.tool
      const type = isObject(tool) ? tool.type : undefined
      const isHosted = hosted?.(tool) === true
      if (isHosted && within === undefined) this.hosted.push(tool)
      else if (isHosted && within === "item") {
        const name = JSON.stringify(tool.type)
        this.unbounded(
          `a tool of type ${name} that an item brings is there in later requests too, which do not show it.`,
          "Name it in the tools of each request instead."
        )
      } else if (isHosted || typeof type !== "string" || !allowed.has(type)) {
        const name = JSON.stringify(typeof type === "string" ? type.slice(0, 80) : null)
        this.unbounded(`a tool of type ${name} costs more than the request shows.`, "Leave the tool out.")
      } else if (isObject(tool) && type === "namespace" && this.refusal === undefined) {
        this.tools(tool.tools, allowed, hosted, type)
      } else if (isObject(tool) && type === "function") {
        this.functions.push(isObject(tool.function) ? tool.function : tool)
      } else this.added += framing.custom
    }
  }

  /** Each call of a hosted tool feeds the model all that there is once more, with what the tool has found. */
  passes(body: JsonObject): void {
    const [tool] = this.hosted
    if (tool === undefined) return
    const calls = this.count(body, "max_tool_calls")
    if (calls === undefined) {
      const type = JSON.stringify(tool.type)
      this.unbounded(`a tool of type ${type} is called as often as the model likes.`, "Set max_tool_calls.")
      return
    }
    this.findsTexts = !this.unshown && !this.hosted.some(findsImages)
    this.unshown = true
    this.windows = 1 + calls
  }

  schema(): void {
    this.added += framing.schema
  }

  /** How much longer functions are fed than they are. */
  fedBeyond(): number {
    let more = 0
    for (const each of this.functions) {
      const { text, unwritten } = functionsText([each])
      const written = unwritten.length > 0 ? mostText(each) : asciiEscapedLength(text)
      more += Math.max(0, written - asciiEscapedLength(JSON.stringify(each)))
    }
    return more
  }

  /** What a plan says of the input, apart from how it is counted. */
  input(text: string) {
    const { images, windows, unshown, previous, audio } = this
    const shown = asciiEscapedLength(text) - this.deducted + this.added + images
    const isFedLonger = this.functions.length > 0 && fedLonger.test(text)
    const tokens = isFedLonger ? shown + this.fedBeyond() : shown
    const repeats = this.repeats && !unshown && windows === 1
    // Only what is not shown fills a window.
    const fills = (unshown || previous !== undefined) && !(this.findsTexts && previous === undefined)
    const room = fills ? beyondWindow(imageRule(this.model)) : 1
    return { tokens, images, windows, room, unshown, previous, repeats, audio }
  }
}

/** The model that a request is priced as: a deployment names it in the path, whatever the body says. */
export const modelOf = (request: {
  readonly body: JsonObject
  readonly deployment?: string | undefined
  readonly models?: Names
}): string | undefined => {
  const { body, deployment, models } = request
  const named = deployment ?? (typeof body.model === "string" && body.model !== "" ? body.model : undefined)
  return named === undefined ? undefined : meantBy(named, models)
}

export const noModel = new BudgetError.MalformedRequest({
  detail: "it names no model.",
  fix: "Send model as a string."
})
