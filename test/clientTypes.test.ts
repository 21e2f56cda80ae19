/**
 * What the installed client can say and read, field by field, held against the closed lists: a newer client that can say
 * more is noticed here, before it is by whoever is refused for it, or booked too little.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { readFileSync } from "node:fs"
import ts from "typescript"
import type { JsonObject } from "../src/internal/json.ts"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"

/** The interfaces and unions that a file of the client's declares, by their full names. */
const declarationsOf = (file: string) => {
  const path = `node_modules/openai/resources/${file}.d.ts`
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true)
  const members = new Map<string, Map<string, string>>()
  const unions = new Map<string, ReadonlyArray<string>>()
  const read = (node: ts.Node, within: string): void => {
    if (ts.isModuleDeclaration(node) && node.body !== undefined) {
      const inner = `${within}${node.name.text}.`
      ts.forEachChild(node.body, (each) => {
        read(each, inner)
      })
    } else if (ts.isInterfaceDeclaration(node)) {
      const fields = new Map<string, string>()
      for (const each of node.members)
        if (ts.isPropertySignature(each)) fields.set(each.name.getText(), each.type?.getText() ?? "")
      members.set(within + node.name.text, fields)
    } else if (ts.isTypeAliasDeclaration(node) && ts.isUnionTypeNode(node.type)) {
      unions.set(
        within + node.name.text,
        node.type.types.map((each) => each.getText().replace("ResponsesAPI.", ""))
      )
    }
  }
  ts.forEachChild(source, (each) => {
    read(each, "")
  })
  const fieldsOf = (name: string): ReadonlyArray<string> => {
    const fields = members.get(name)
    assert.isDefined(fields, name)
    return [...fields.keys()]
  }
  /** The values of `type` in a union's members. */
  const typesOf = (union: string): ReadonlyArray<string> => {
    const names = unions.get(union)
    assert.isDefined(names, union)
    return names.flatMap((name) =>
      [...(members.get(name)?.get("type") ?? "").matchAll(/'([^']+)'/g)].map(([, type]) => type ?? "")
    )
  }
  return { fieldsOf, typesOf, members, unions }
}

const responses = declarationsOf("responses/responses")
const beta = declarationsOf("beta/responses/responses")
const chat = declarationsOf("chat/completions/completions")
const completions = declarationsOf("completions")
const embeddings = declarationsOf("embeddings")

const smallest: Readonly<Record<string, JsonObject>> = {
  "chat/completions": { model: "gpt-4o", messages: [] },
  responses: { model: "gpt-4o", input: "hi" },
  completions: { model: "gpt-3.5-turbo-instruct", prompt: "hi" },
  embeddings: { model: "text-embedding-3-small", input: "hi" }
}

/** Why a body is refused, if it is. */
const refusalOf = (name: string, extra: JsonObject): string | undefined => {
  const endpoint = OpenAiEndpoints.priced.find((each) => each.name === `POST /${name}`)
  const body = { ...smallest[name], ...extra }
  const plan = endpoint?.plan({ body, text: JSON.stringify(body) })
  return plan !== undefined && Result.isFailure(plan) ? plan.failure.message : undefined
}

/** Those that are refused for what they are, whatever else they say. */
const refusedOf = (types: ReadonlyArray<string>, name: string, within: (type: string) => JsonObject) =>
  [...new Set(types)].filter((type) =>
    (refusalOf(name, within(type)) ?? "").includes(`type ${JSON.stringify(type)}`)
  )

const words = (text: string): ReadonlyArray<string> => text.split(" ")

describe("the client", () => {
  it("sends no field that is on no list", () => {
    const sent: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["chat/completions", chat.fieldsOf("ChatCompletionCreateParamsBase")],
      ["responses", responses.fieldsOf("ResponseCreateParamsBase")],
      // What is sent as a header is in no body.
      ["responses", beta.fieldsOf("ResponseCreateParamsBase").filter((each) => each !== "betas")],
      ["completions", completions.fieldsOf("CompletionCreateParamsBase")],
      ["embeddings", embeddings.fieldsOf("EmbeddingCreateParams")]
    ]
    for (const [name, fields] of sent) {
      assert.isAbove(fields.length, 4, name)
      const unknown = fields.filter((field) =>
        (refusalOf(name, { [field]: {} }) ?? "").includes("does to the cost is not known")
      )
      assert.deepStrictEqual(unknown, [], name)
    }
  })

  it("sends these items, parts and tools that are refused, and no others", () => {
    const items = [
      ...responses.typesOf("ResponseInputItem"),
      // The only one without a type that must be there.
      "item_reference"
    ]
    assert.isAbove(items.length, 25)
    assert.deepStrictEqual(
      refusedOf(items, "responses", (type) => ({ input: [{ type, id: "i", content: "c" }] })).toSorted(),
      words(
        "apply_patch_call apply_patch_call_output compaction compaction_trigger computer_call computer_call_output " +
          "image_generation_call local_shell_call local_shell_call_output program program_output shell_call shell_call_output"
      )
    )
    const parts = [...responses.typesOf("ResponseInputContent"), ...responses.typesOf("ResponseContent")]
    assert.isAbove(parts.length, 5)
    const part = (type: string) => ({ input: [{ role: "user", content: [{ type }] }] })
    assert.deepStrictEqual(refusedOf(parts, "responses", part), [])
    const chatParts = chat.typesOf("ChatCompletionContentPart")
    assert.strictEqual(chatParts.length, 4)
    const message = (type: string) => ({ messages: [{ role: "user", content: [{ type }] }] })
    assert.deepStrictEqual(refusedOf(chatParts, "chat/completions", message), [])
    const tools = responses.typesOf("Tool")
    assert.isAbove(tools.length, 15)
    const tool = (type: string) => ({ max_tool_calls: 1, tools: [{ type }] })
    assert.deepStrictEqual(
      refusedOf(tools, "responses", tool).toSorted(),
      words(
        "apply_patch computer computer_use_preview image_generation local_shell programmatic_tool_calling shell"
      )
    )
    const chatTools = chat.typesOf("ChatCompletionTool")
    assert.deepStrictEqual(
      refusedOf(chatTools, "chat/completions", (type) => ({ tools: [{ type }] })),
      []
    )
  })

  it("reads these usages, and nothing else that is billed", () => {
    const read = (declared: typeof chat, name: string) => declared.fieldsOf(name).toSorted().join(" ")
    const usage = "CompletionUsage"
    assert.strictEqual(
      read(completions, usage),
      "completion_tokens completion_tokens_details prompt_tokens prompt_tokens_details total_tokens"
    )
    // Texts and images have one price in every model here.
    assert.strictEqual(
      read(completions, `${usage}.PromptTokensDetails`),
      "audio_tokens cache_write_tokens cached_tokens image_tokens text_tokens"
    )
    assert.strictEqual(
      read(completions, `${usage}.CompletionTokensDetails`),
      "accepted_prediction_tokens audio_tokens reasoning_tokens rejected_prediction_tokens text_tokens"
    )
    assert.strictEqual(read(embeddings, "CreateEmbeddingResponse.Usage"), "prompt_tokens total_tokens")
    for (const [declared, name] of [
      [responses, "ResponseUsage"],
      [beta, "BetaResponseUsage"]
    ] as const) {
      assert.strictEqual(
        read(declared, name),
        "input_tokens input_tokens_details output_tokens output_tokens_details total_tokens"
      )
      assert.strictEqual(
        read(declared, `${name}.InputTokensDetails`),
        "cache_write_tokens cache_write_tokens_details cached_tokens"
      )
      assert.strictEqual(
        read(declared, `${name}.InputTokensDetails.CacheWriteTokensDetails`),
        "ttl_12h_tokens ttl_30m_tokens"
      )
      assert.strictEqual(read(declared, `${name}.OutputTokensDetails`), "reasoning_tokens")
    }
    assert.strictEqual(read(responses, "Response.ToolUsage"), "image_gen web_search")
    assert.strictEqual(read(responses, "Response.ToolUsage.WebSearch"), "num_requests")
  })

  it("reads a response in these events, of which those that end it tell its usage", () => {
    const whole = (responses.unions.get("ResponseStreamEvent") ?? []).filter((name) =>
      responses.members.get(name)?.has("response")
    )
    const types = whole.flatMap((name) => responses.members.get(name)?.get("type")?.slice(1, -1) ?? [])
    const endpoint = OpenAiEndpoints.priced.find((each) => each.name === "POST /responses")
    const usage = { input_tokens: 1, output_tokens: 1 }
    const ends = (type: string) =>
      endpoint?.signal({ type, response: { output: [], usage } })._tag === "Final"
    assert.sameMembers(types.filter(ends), ["response.completed", "response.failed", "response.incomplete"])
    assert.sameMembers(
      types.filter((type) => !ends(type)),
      ["response.created", "response.in_progress", "response.queued"]
    )
  })
})
