/**
 * Functions as the models are fed them: not as JSON but as TypeScript, with the descriptions as comments. That this
 * is the form shows in what is billed, which for one function or twenty differs from the tokens of this text by a
 * constant (`docs/bounds.md`). What a schema says in words that have no form here is written out as a comment, so
 * that nothing which may be fed is left out.
 */
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"

/** References are followed this deep; recursive ones have no end. */
const deepest = 6

/** Words of a schema that the text below shows, or that constrain without being shown. */
const shown = new Set([
  ..."type properties required description title items enum const anyOf oneOf allOf default".split(" "),
  ..."$ref $defs definitions $schema additionalProperties strict".split(" ")
])

const comment = (text: Json | undefined): string =>
  typeof text === "string" && text !== "" ? `${text.replace(/^/gm, "// ")}\n` : ""

/** Writes the functions of one request, and gives up where references make their text far larger than the request. */
class Writer {
  readonly root: JsonObject
  left: number

  constructor(root: JsonObject, most: number) {
    this.root = root
    this.left = most
  }

  spend(text: string): string {
    this.left -= text.length
    return text
  }

  /** What `#/$defs/Name` names. */
  referenced(path: string): Json | undefined {
    let at: Json | undefined = this.root
    for (const key of path.split("/").slice(1)) {
      at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined
    }
    return at
  }

  type(schema: Json | undefined, depth: number): string {
    if (!isObject(schema) || this.left < 0 || depth > deepest) return "any"
    if (typeof schema.$ref === "string") return this.type(this.referenced(schema.$ref), depth + 1)
    if (schema.const !== undefined) return this.spend(JSON.stringify(schema.const))
    if (isArray(schema.enum)) return this.spend(schema.enum.map((each) => JSON.stringify(each)).join(" | "))
    const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf
    if (isArray(choices)) return choices.map((each) => this.type(each, depth + 1)).join(" | ")
    if (isArray(schema.type)) {
      return schema.type.map((type) => this.type({ ...schema, type }, depth + 1)).join(" | ")
    }
    if (schema.type === "array") return `${this.type(schema.items, depth + 1)}[]`
    if (isObject(schema.properties)) return `{\n${this.properties(schema, depth + 1)}}`
    return typeof schema.type === "string" ? this.spend(named(schema.type)) : "any"
  }

  properties(schema: JsonObject, depth: number): string {
    const required = isArray(schema.required) ? new Set(schema.required) : undefined
    const lines = Object.entries(isObject(schema.properties) ? schema.properties : {}).map(([name, each]) => {
      if (this.left < 0) return ""
      const mark = required?.has(name) === true ? "" : "?"
      const about = isObject(each) ? comment(each.title) + comment(each.description) + this.rest(each) : ""
      const value =
        isObject(each) && each.default !== undefined ? ` // default: ${JSON.stringify(each.default)}` : ""
      return this.spend(`${about}${name}${mark}: `) + this.type(each, depth) + this.spend(`,${value}\n`)
    })
    return lines.join("")
  }

  /** Words that nobody has seen a form of. */
  rest(schema: JsonObject): string {
    let lines = ""
    for (const [key, value] of Object.entries(schema)) {
      if (!shown.has(key)) lines += `// ${key}: ${JSON.stringify(value)}\n`
    }
    return lines + (isObject(schema.items) ? comment(schema.items.description) + this.rest(schema.items) : "")
  }
}

const named = (type: string): string => (type === "integer" ? "number" : type)

const functionText = (tool: JsonObject): string => {
  const { description, name, parameters } = tool
  const root = isObject(parameters) ? parameters : {}
  const writer = new Writer(root, 4 * JSON.stringify(root).length + 1_000)
  const fields = writer.properties(root, 0)
  const text = `${comment(description)}type ${typeof name === "string" ? name : ""} = (${
    fields === "" ? "" : `_: {\n${comment(root.description)}${writer.rest(root)}${fields}}`
  }) => any;\n\n`
  return writer.left < 0 ? `${JSON.stringify(tool)}\n\n` : text
}

/** The text of a request's functions. */
export const functionsText = (functions: ReadonlyArray<JsonObject>): string =>
  `# Tools\n\n## functions\n\nnamespace functions {\n\n${functions.map(functionText).join("")}} // namespace functions`
