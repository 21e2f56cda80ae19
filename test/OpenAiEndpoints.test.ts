import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as OpenAiEndpoints from "../src/OpenAiEndpoints.ts"
import * as Usd from "../src/Usd.ts"

const tag = (method: string, path: string, overrides?: OpenAiEndpoints.Overrides): string =>
  OpenAiEndpoints.recognise(method, path, overrides)._tag

const pricedPaths = ["/chat/completions", "/responses", "/completions", "/embeddings"]

describe("the endpoints", () => {
  it("that are priced are four, by method and path", () => {
    assert.deepStrictEqual(
      OpenAiEndpoints.priced.map(({ name }) => name),
      pricedPaths.map((path) => `POST ${path}`)
    )
    for (const path of pricedPaths) {
      const found = OpenAiEndpoints.recognise("POST", path)
      assert.deepInclude(found, { _tag: "Priced", deployment: undefined })
      if (found._tag === "Priced") assert.strictEqual(found.endpoint.name, `POST ${path}`)
    }
  })

  it("of an Azure deployment name it, whatever is written around it", () => {
    for (const path of pricedPaths) {
      const found = OpenAiEndpoints.recognise("POST", `/deployments/my%20gpt/${path.slice(1)}`)
      assert.deepInclude(found, { _tag: "Priced", deployment: "my gpt" })
    }
    assert.strictEqual(tag("POST", "/chat/completions/"), "Priced")
    assert.strictEqual(tag("POST", "//chat//completions"), "Priced")
    assert.strictEqual(tag("POST", "/deployments/%ff/chat/completions"), "Refused")
  })

  it("that are priced are not free by a pattern of the user's where they are written with escapes", () => {
    const free: OpenAiEndpoints.Overrides = { "POST **": "free" }
    for (const path of [
      "/%72esponses",
      "/chat%2Fcompletions",
      "/chat/%2fcompletion%73",
      "/%64eployments/gpt/responses",
      "/%64eployments/my%2Fgpt/%72esponses",
      "/deployments/gpt/chat%2Fcompletions"
    ]) {
      assert.strictEqual(tag("POST", path, free), "Refused", path)
      assert.strictEqual(tag("POST", path, { [`POST ${path}`]: "free" }), "Refused", path)
    }
    for (const path of ["/%ff", "/files/a%20b", "/my%2Fresponses"])
      assert.strictEqual(tag("POST", path, free), "Free", path)
  })

  it("that only read, delete, cancel or hang up are free, and so are moderation and counting", () => {
    for (const [method, path] of [
      ["GET", "/models"],
      ["GET", "/responses/resp_1"],
      ["HEAD", "/anything"],
      ["DELETE", "/files/file-1"],
      ["POST", "/moderations"],
      ["POST", "/responses/input_tokens"],
      ["POST", "/responses/resp_1/cancel"],
      ["POST", "/batches/b/cancel"],
      ["POST", "/vector_stores/v/file_batches/f/cancel"],
      ["POST", "/chatkit/sessions/cksess_1/cancel"],
      ["POST", "/realtime/calls/rtc_1/hangup"],
      ["POST", "/live/sessions/s/hangup"]
    ] as const) {
      assert.strictEqual(tag(method, path), "Free", `${method} ${path}`)
    }
  })

  it("that nobody has priced are refused, naming them", () => {
    const paths =
      "/images/generations /images/edits /audio/speech /audio/transcriptions /videos /batches /files /uploads " +
      "/fine_tuning/jobs /evals /vector_stores /containers /threads /threads/t/runs /realtime/client_secrets " +
      "/realtime/sessions /realtime/calls/c/accept /live/sessions/s/fork /chatkit/sessions /responses/compact /responses/input_tokens/more /responses/a/b/cancel /assistants / " +
      "/chat/completions/x /Chat/Completions /%63hat/completions /moderations/x /v1/chat/completions"
    for (const path of paths.split(" ")) {
      const found = OpenAiEndpoints.recognise("POST", path)
      if (found._tag !== "Refused") throw new Error(`${path} is ${found._tag}`)
      assert.strictEqual(found.error.reason._tag, "UnsupportedEndpoint")
      assert.include(found.error.message, `POST ${path}`)
    }
    for (const method of ["PUT", "PATCH", "post", "OPTIONS", ""]) {
      assert.strictEqual(tag(method, "/chat/completions"), "Refused", method)
    }
  })

  it("that the user vouches for are free, or cost at most what the user says", () => {
    const overrides: OpenAiEndpoints.Overrides = {
      "POST /files": "free",
      "POST /images/generations": { maxUsd: "0.25" },
      "POST /threads/*/runs": { maxUsd: 1e-7 },
      "POST /audio/speech": { maxUsd: "a lot" },
      "POST /videos": { maxUsd: -1 }
    }
    assert.strictEqual(tag("POST", "/files", overrides), "Free")
    assert.strictEqual(tag("POST", "/files/x", overrides), "Refused")
    const image = OpenAiEndpoints.recognise("POST", "/images/generations", overrides)
    assert.deepStrictEqual(image, {
      _tag: "Vouched",
      name: "POST /images/generations",
      most: Usd.dollars("0.25")
    })
    const run = OpenAiEndpoints.recognise("POST", "/threads/t1/runs", overrides)
    assert.deepInclude(run, { _tag: "Vouched", most: Usd.dollars("0.0000001") })
    for (const path of ["/audio/speech", "/videos"]) {
      const found = OpenAiEndpoints.recognise("POST", path, overrides)
      if (found._tag !== "Refused") throw new Error(found._tag)
      assert.strictEqual(found.error.reason._tag, "InvalidAmount")
    }
  })

  it("that are free cost what the user says of them", () => {
    const overrides: OpenAiEndpoints.Overrides = {
      "GET /reports/*": { maxUsd: "0.01" },
      "POST /moderations": { maxUsd: "0.02" }
    }
    const most = (method: string, path: string) => {
      const found = OpenAiEndpoints.recognise(method, path, overrides)
      return found._tag === "Vouched" ? Usd.format(found.most) : found._tag
    }
    assert.strictEqual(most("GET", "/reports/r1"), "$0.01")
    assert.strictEqual(most("POST", "/moderations"), "$0.02")
    assert.strictEqual(most("GET", "/reports"), "Free")
  })

  it("that fit several of the user's names go by the one without a star, or else by the dearest", () => {
    const overrides: OpenAiEndpoints.Overrides = {
      "POST /images/*": "free",
      "POST /*/edits": { maxUsd: "0.10" },
      "POST /*/*": { maxUsd: "0.02" },
      "POST /images/variations": { maxUsd: "0.01" }
    }
    const most = (path: string) => {
      const found = OpenAiEndpoints.recognise("POST", path, overrides)
      return found._tag === "Vouched" ? Usd.format(found.most) : found._tag
    }
    assert.strictEqual(most("/images/edits"), "$0.10")
    assert.strictEqual(most("/images/generations"), "$0.02")
    assert.strictEqual(most("/images/variations"), "$0.01")
    const unsaid = { "POST /videos": undefined } as unknown as OpenAiEndpoints.Overrides
    assert.strictEqual(tag("POST", "/videos", unsaid), "Refused")
    const unread: OpenAiEndpoints.Overrides = { ...overrides, "POST /images/*": { maxUsd: "much" } }
    assert.strictEqual(tag("POST", "/images/edits", unread), "Refused")
  })

  it("that are priced stay priced, whatever the user vouches for", () => {
    const all: OpenAiEndpoints.Overrides = { "POST **": "free", "POST /chat/completions": "free" }
    assert.strictEqual(tag("POST", "/chat/completions", all), "Priced")
    assert.strictEqual(tag("POST", "/deployments/d/embeddings", all), "Priced")
    assert.strictEqual(tag("POST", "/videos", all), "Free")
  })

  const Part = Schema.Literals([
    "/",
    "chat",
    "completions",
    "deployments",
    "%2F",
    "%",
    "..",
    "*",
    "**",
    "responses",
    "cancel",
    "a",
    "é",
    "?"
  ])
  it.prop(
    "are recognised without throwing, and no POST is free that is not in the table",
    { parts: Schema.Array(Part) },
    ({ parts }) => {
      const path = parts.join("/")
      const found = OpenAiEndpoints.recognise("POST", path)
      if (found._tag === "Free") assert.match(path, /^\/*responses\/+[^/]+\/+cancel\/*$/)
    },
    { arbitrary: { runs: 5_000, size: 20 } }
  )
})
