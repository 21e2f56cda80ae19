/**
 * What a request feeds its model, as texts to be counted and as tokens beyond them: the bound of the counted rung.
 * It is filled in from bodies that a `BodyReader` has accepted, so whatever it does not know by name is counted as
 * the JSON that it is.
 */
import type { Counted } from "../Endpoint.ts"
import { functionsText, mostText } from "./functionText.ts"
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"
import { requestSlack, type Family } from "./modelFamilies.ts"

const digits = Buffer.from("0123456789abcdef")

/** JSON as it is written in ASCII; into one buffer, for it may be long. */
const inAscii = (json: string): string => {
  const written = Buffer.allocUnsafe(6 * json.length)
  let end = 0
  for (let at = 0; at < json.length; at++) {
    const unit = json.charCodeAt(at)
    if (unit < 0x7f) written[end++] = unit
    else {
      written[end++] = 0x5c
      written[end++] = 0x75
      for (let shift = 12; shift >= 0; shift -= 4) written[end++] = digits[(unit >> shift) & 15] ?? 0
    }
  }
  return written.toString("latin1", 0, end)
}

/** The text as it is written within JSON that is escaped to ASCII. */
const escaped = (text: string): string => inAscii(JSON.stringify(text))

/** Images are counted by their size, and files not at all: whatever has one is bounded otherwise. */
const uncounted = new Set<Json | undefined>(["image_url", "input_image", "file", "input_file"])

/** Who speaks is in the framing of a message. */
const roles = new Set<Json | undefined>("system developer user assistant tool function".split(" "))

/** A function's own fields lie within one of the tool's, or beside its type. */
const wrapping = new Set(["type", "function"])

/** Of a part's fields: those that are counted by name, and those that are not fed to the model. */
const partFields = new Set("type text refusal annotations logprobs".split(" "))

/** The functions of a namespace, and of those within. */
const addFunctionsOf = (tool: Json, found: Array<JsonObject>): void => {
  if (!isObject(tool) || tool.type !== "namespace" || !isArray(tool.tools)) return
  for (const each of tool.tools) {
    if (isObject(each) && each.type === "function") found.push(isObject(each.function) ? each.function : each)
    else addFunctionsOf(each, found)
  }
}

export class CountSheet {
  readonly family: Family
  readonly texts: Array<string> = []
  added: number

  constructor(family: Family) {
    this.family = family
    this.added = family.framing.request
  }

  text(value: Json | undefined): void {
    if (typeof value === "string") {
      if (value !== "") this.texts.push(value)
    } else if (value !== undefined && value !== null) this.json(value)
  }

  json(value: Json): void {
    this.texts.push(JSON.stringify(value))
  }

  /** What is in an object beyond the keys that are known, or known not to be fed. */
  others(value: JsonObject, known: ReadonlySet<string>): void {
    for (const key of Object.keys(value)) {
      const other = value[key]
      if (!known.has(key) && other !== null && other !== undefined) this.json({ [key]: other })
    }
  }

  message(role: Json | undefined): void {
    const { assistant, message } = this.family.framing
    if (!roles.has(role)) this.text(role)
    this.added += message + (role === "assistant" ? assistant : 0)
  }

  name(name: Json | undefined): void {
    if (name !== undefined && name !== null) this.added += this.family.framing.name
    this.text(name)
  }

  call(isParallel: boolean): void {
    const { call, parallelCall } = this.family.framing
    this.added += call + (isParallel ? parallelCall : 0)
  }

  /** A text, a list of tokens, or a list of either. */
  prompt(value: Json | undefined): void {
    if (typeof value === "number") this.added++
    else if (isArray(value)) for (const each of value) this.prompt(each)
    else this.text(value)
  }

  /** What a call gives. Of those in parallel nobody has seen whether it is written in ASCII, as their results are. */
  given(value: Json | undefined, isParallel: boolean): void {
    this.text(isParallel && typeof value === "string" ? inAscii(value) : value)
  }

  /** A text or a list of parts; images are counted elsewhere. */
  content(value: Json | undefined, isEscaped = false): void {
    if (!isArray(value)) {
      this.text(isEscaped && typeof value === "string" ? escaped(value) : value)
      return
    }
    // Texts in a row are fed as one: tokens of each alone may add up to far fewer.
    let row = ""
    for (const part of value) {
      this.added += this.family.framing.part
      if (isObject(part) && uncounted.has(part.type)) {
        this.text(row)
        row = ""
      } else if (isObject(part) && isEscaped) this.text(escaped(JSON.stringify(part)))
      else {
        for (const said of isObject(part) ? [part.text, part.refusal] : [part]) {
          if (typeof said === "string") row += said
          else this.text(said)
        }
        if (isObject(part)) this.others(part, partFields)
      }
    }
    this.text(row)
  }

  /** The tools of a request: functions in the form that they are fed in, others as JSON. */
  tools(value: Json | undefined, preamble: number): void {
    if (!isArray(value)) this.text(value)
    if (!isArray(value) || value.length === 0) return
    const { custom } = this.family.framing
    const functions: Array<JsonObject> = []
    for (const tool of value) {
      if (isObject(tool) && (tool.type === "function" || tool.type === undefined)) {
        if (isObject(tool.function)) this.others(tool, wrapping)
        functions.push(isObject(tool.function) ? tool.function : tool)
      } else {
        this.json(tool)
        this.added += custom
        // Whether those of a namespace are fed as JSON or as functions are is not known: they count as both.
        addFunctionsOf(tool, functions)
      }
    }
    this.added += preamble
    // Tools without a message of the system's are fed as one.
    this.message("system")
    if (functions.length > 0) this.functions(functions)
  }

  functions(functions: ReadonlyArray<JsonObject>): void {
    const { text, unwritten } = functionsText(functions)
    this.texts.push(text)
    for (const each of unwritten) this.added += mostText(each)
  }

  choice(value: Json | undefined): void {
    if (!isObject(value)) return
    this.added += this.family.framing.choice
    this.json(value)
  }

  schema(format: Json | undefined): void {
    if (!isObject(format) || format.type === "text" || format.type === "json_object") return
    this.json(format)
  }

  counted(): Counted {
    const { encoding, framing, margin } = this.family
    const slack = Math.min(framing.request, requestSlack)
    return { encoding, texts: this.texts, added: Math.ceil(this.added), margin, slack }
  }
}
