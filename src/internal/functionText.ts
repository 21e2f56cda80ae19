/**
 * Functions as the models are fed them: not as JSON but as TypeScript, with the descriptions as comments. That this
 * is the form shows in what is billed, which for one function or twenty differs from the tokens of this text by a
 * constant (`docs/bounds.md`). What a schema says in words that have no form here is written out as a comment, so
 * that nothing which may be fed is left out.
 */
import { isArray, isObject, type Json, type JsonObject } from "./json.ts"

/** References are followed this deep; recursive ones have no end. */
const deepestReference = 6

/** Schemas within schemas are followed this deep, references included, and are JSON from there on. */
const deepest = 600

/** What looking at a schema takes of what is left: no more than the shortest schema adds to it. */
const step = 4

/** The schemas that references are to. What none of them is to is written out with the root. */
const definitions = ["$defs", "definitions"] as const

const isText = (value: Json | undefined): value is string => typeof value === "string"

/** The form that a schema is written in, and the words of the schema that the form says. */
type Form = { readonly says: ReadonlyArray<string> } & (
  | { readonly _tag: "Reference"; readonly path: string; readonly to: Json }
  | { readonly _tag: "Values"; readonly values: ReadonlyArray<Json> }
  | { readonly _tag: "Choices"; readonly of: ReadonlyArray<Json> }
  | { readonly _tag: "Types"; readonly types: ReadonlySet<string> }
)

/** A type, or a list of them: no text of the user's. */
const isType = (value: Json | undefined): boolean =>
  isArray(value) ? value.every((each) => isText(each) && isType(each)) : isText(value) && value.length <= 20

/** Words that constrain the answer, or name a dialect, and were never seen to be fed. */
const isUnfed = (key: string, value: Json): boolean =>
  key === "$schema"
    ? isText(value)
    : (key === "additionalProperties" || key === "strict") && typeof value === "boolean"

/** What the text of an object says of its schema: its fields, and which of them are required. */
const objectWords = (schema: JsonObject): ReadonlyArray<string> =>
  isArray(schema.required) ? ["properties", "required"] : ["properties"]

/** What `path` names in `root`, as `#/$defs/Name` does. */
const referenced = (root: JsonObject, path: string): Json | undefined => {
  if (path !== "#" && !path.startsWith("#/")) return undefined
  let at: Json | undefined = root
  for (const key of path.split("/").slice(1)) {
    const name = key.replaceAll("~1", "/").replaceAll("~0", "~")
    at = (isObject(at) || isArray(at)) && Object.hasOwn(at, name) ? (at as JsonObject)[name] : undefined
  }
  return at
}

/** Writes one function, and gives up where references make its text far larger than the request. */
class Writer {
  readonly root: JsonObject
  readonly written: Array<string> = []
  readonly followed = new Set<string>()
  references = 0
  depth = 0
  /** Characters and steps that are left. */
  left: number

  constructor(root: JsonObject, most: number) {
    this.root = root
    this.left = most
  }

  write(text: string): void {
    this.left -= text.length
    if (this.left >= 0) this.written.push(text)
  }

  comment(text: string): void {
    // Checked first, for a text that is referred to often would be copied as often.
    if (text.length > this.left) this.left = -1
    else if (text !== "") this.write(`${text.replace(/^/gm, "// ")}\n`)
  }

  /** Words that nobody has seen a form of. */
  word(key: string, value: Json): void {
    if (this.left >= 0) this.write(`// ${key}: ${JSON.stringify(value)}\n`)
  }

  formOf(schema: JsonObject): Form {
    const { $ref, type } = schema
    if (isText($ref)) {
      this.left -= $ref.length
      const to = this.left < 0 ? undefined : referenced(this.root, $ref)
      if (to !== undefined) return { _tag: "Reference", path: $ref, to, says: ["$ref"] }
    }
    const typed = isType(type) ? ["type"] : []
    const valued = ["const", "enum", ...typed]
    if (schema.const !== undefined)
      return { _tag: "Values", values: [schema.const], says: valued.toSpliced(1, 1) }
    if (isArray(schema.enum)) return { _tag: "Values", values: schema.enum, says: valued.slice(1) }
    for (const word of ["anyOf", "oneOf", "allOf"]) {
      const of = schema[word]
      if (isArray(of)) return { _tag: "Choices", of, says: [word] }
    }
    if (isArray(type)) this.left -= type.length
    const types = new Set((isArray(type) ? type : [type]).filter(isText))
    if (types.size === 0 && isObject(schema.properties)) types.add("object")
    const says = [...typed]
    if (types.has("array") && isObject(schema.items)) says.push("items")
    if (types.has("object") && isObject(schema.properties)) says.push(...objectWords(schema))
    return { _tag: "Types", types, says }
  }

  /** What a schema says beside its form: comments, then every word that the form does not say. */
  about(schema: JsonObject, says: ReadonlyArray<string>): void {
    // Seen to take their JSON and 9 more than the text that says their types.
    if (isArray(schema.type)) this.word("schema of several types", schema)
    for (const [key, value] of Object.entries(schema)) {
      this.left--
      if (this.left < 0) return
      if ((key === "title" || key === "description") && isText(value)) this.comment(value)
      else if (!says.includes(key) && !isUnfed(key, value)) this.word(key, value)
    }
  }

  /** A schema where a type is expected, with what it says beside. */
  type(schema: Json | undefined): void {
    this.left -= step
    if (this.left < 0) return
    if (!isObject(schema)) {
      this.write(schema === undefined || typeof schema === "boolean" ? "any" : JSON.stringify(schema))
      return
    }
    const form = this.formOf(schema)
    this.about(schema, form.says)
    this.form(schema, form)
  }

  form(schema: JsonObject, form: Form): void {
    if (this.depth >= deepest) {
      this.write(JSON.stringify(schema))
      return
    }
    this.depth++
    if (form._tag === "Reference") this.reference(form.path, form.to)
    else if (form._tag === "Values") this.union(form.values, (each) => this.write(JSON.stringify(each)))
    else if (form._tag === "Choices") this.choices(form.of)
    else if (form.types.size === 0) this.write("any")
    else this.union(form.types, (each) => this.named(schema, each))
    this.depth--
  }

  reference(path: string, to: Json): void {
    if (this.references >= deepestReference) {
      this.write("any")
      return
    }
    this.followed.add(path)
    this.references++
    this.type(to)
    this.references--
  }

  /** Three of them were seen to take some tokens more than the text that says them. */
  choices(of: ReadonlyArray<Json>): void {
    this.write("// any of\n")
    this.union(of, (each) => this.type(each))
  }

  union<A>(of: Iterable<A>, write: (each: A) => void): void {
    let isFirst = true
    for (const each of of) {
      if (!isFirst) this.write(" | ")
      isFirst = false
      write(each)
      if (this.left < 0) return
    }
  }

  named(schema: JsonObject, type: string): void {
    if (type === "array") {
      this.type(isObject(schema.items) ? schema.items : undefined)
      this.write("[]")
    } else if (type === "object" && isObject(schema.properties)) {
      this.write("{\n")
      this.properties(schema.properties, schema.required)
      this.write("}")
    } else this.write(type === "integer" ? "number" : type)
  }

  properties(properties: JsonObject, required: Json | undefined): void {
    const names = isArray(required) ? required : []
    this.left -= names.length
    if (this.left < 0) return
    const isRequired = new Set(names)
    const others = names.filter((name) => !isText(name) || !Object.hasOwn(properties, name))
    if (others.length > 0) this.word("required", others)
    for (const [name, schema] of Object.entries(properties)) {
      const form = isObject(schema) ? this.formOf(schema) : undefined
      if (isObject(schema) && form !== undefined) this.about(schema, ["default", ...form.says])
      this.write(`${name}${isRequired.has(name) ? "" : "?"}: `)
      if (isObject(schema) && form !== undefined) this.form(schema, form)
      else this.type(schema)
      this.write(",")
      if (isObject(schema) && schema.default !== undefined)
        this.write(` // default: ${JSON.stringify(schema.default)}`)
      this.write("\n")
      if (this.left < 0) return
    }
  }

  /** The parameters of a function: the fields of an object, nearly always. */
  parameters(): void {
    const { properties, required, type } = this.root
    const defined = definitions.filter((word) => isObject(this.root[word]))
    if (isObject(properties)) {
      const typed = isType(type) ? ["type"] : []
      this.about(this.root, [...objectWords(this.root), ...typed, ...defined])
      this.properties(properties, required)
    } else {
      const form = this.formOf(this.root)
      this.about(this.root, [...form.says, ...defined])
      const isBare = form._tag === "Types" && (form.types.size === 0 || type === "object")
      if (!isBare) this.form(this.root, form)
    }
    this.unfollowed(defined)
  }

  /** Definitions that nothing refers to. */
  unfollowed(words: ReadonlyArray<string>): void {
    for (const word of words) {
      const schemas = this.root[word]
      for (const [name, schema] of Object.entries(isObject(schemas) ? schemas : {})) {
        if (!this.followed.has(`#/${word}/${name}`)) this.word(name, schema)
      }
    }
  }
}

/** Of a tool's words, those that its text says. */
const isSaid = (key: string, value: Json): boolean => {
  if (key === "name" || key === "description") return isText(value)
  if (key === "parameters") return isObject(value)
  // Settings of a framework's own were seen, and not fed.
  return key === "type" || typeof value === "boolean" || value === null
}

/** `undefined` where the text would be far larger than the function's JSON. */
const functionText = (tool: JsonObject): string | undefined => {
  const { description, name, parameters } = tool
  const writer = new Writer(isObject(parameters) ? parameters : {}, 4 * JSON.stringify(tool).length + 1_000)
  for (const [key, value] of Object.entries(tool)) {
    if (!isSaid(key, value)) writer.word(key, value)
  }
  if (isText(description)) writer.comment(description)
  writer.write(`type ${isText(name) ? name : ""} = (`)
  const { written } = writer
  const before = written.length
  writer.write("_: {\n")
  writer.parameters()
  if (written.length > before + 1) writer.write("}")
  else written.length = before
  writer.write(") => any;\n\n")
  return writer.left < 0 ? undefined : written.join("")
}

/** The text of a request's functions, and those that have none because it would be out of all proportion. */
export const functionsText = (
  functions: ReadonlyArray<JsonObject>
): { readonly text: string; readonly unwritten: ReadonlyArray<JsonObject> } => {
  const texts = functions.map(functionText)
  const unwritten = functions.filter((_, index) => texts[index] === undefined)
  const body = texts.filter((each) => each !== undefined).join("")
  const text = `# Tools\n\n## functions\n\nnamespace functions {\n\n${body}} // namespace functions`
  return { text, unwritten }
}
