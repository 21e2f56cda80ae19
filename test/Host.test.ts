import { assert, describe, it } from "@effect/vitest"
import * as Host from "../src/Host.ts"

const of = (url: string, hosts?: Parameters<typeof Host.of>[1]): Host.Host => Host.of(new URL(url), hosts)
const unknown: Host.Host = { known: false, regional: false, takesTier: false, verified: false }

describe("a host", () => {
  it("of OpenAI takes tiers, and bills the uplift of a region only in that region", () => {
    assert.deepStrictEqual(of("https://api.openai.com/v1"), {
      known: true,
      regional: false,
      takesTier: true,
      verified: true
    })
    for (const region of ["us", "eu", "au", "in", "jp"]) {
      const host = of(`https://${region}.api.openai.com/v1`)
      assert.deepStrictEqual(host, { known: true, regional: true, takesTier: true, verified: true })
    }
    // The same name with the root's dot, and in capitals, is the same host.
    assert.deepStrictEqual(of("https://EU.api.OpenAI.com./v1"), of("https://eu.api.openai.com/v1"))
  })

  it("of Azure or Bedrock is known, gets no tier, and need not bill by the table", () => {
    const cloud = { known: true, regional: false, takesTier: false, verified: false }
    const providerOf = (url: string): string => (url.includes("bedrock") ? "aws.bedrock" : "azure.ai.openai")
    for (const url of [
      "https://mine.openai.azure.com/openai/v1",
      "https://mine.openai.azure.us",
      "https://mine.cognitiveservices.azure.com",
      "https://mine.services.ai.azure.com",
      "https://bedrock-mantle.us-east-1.api.aws/v1",
      "https://bedrock-runtime.eu-west-2.amazonaws.com/openai/v1"
    ]) {
      assert.deepStrictEqual(of(url), { ...cloud, provider: providerOf(url) }, url)
    }
  })

  it("is what it is where nothing else is stated of it", () => {
    // Whoever writes JavaScript may state `undefined`.
    const stated = JSON.parse('{"eu.api.openai.com":{}}') as Record<string, Partial<Host.Host>>
    for (const member of ["known", "regional", "takesTier", "verified", "provider"]) {
      Object.assign(stated["eu.api.openai.com"] ?? {}, { [member]: undefined })
    }
    const url = "https://eu.api.openai.com/v1"
    assert.deepStrictEqual(of(url, stated), of(url))
  })

  it("that only looks like one of them is not known", () => {
    for (const url of [
      "https://api.openai.com.example.org/v1",
      "https://evil-api.openai.com.example.org",
      "https://notapi.openai.com.co",
      "https://xapi.openai.com",
      "https://a.b.api.openai.com",
      "https://openai.azure.com.example.org",
      "https://fakeopenai.azure.com",
      "https://bedrock-mantle.us-east-1.api.aws.example.org",
      "http://localhost:8080/v1",
      "http://127.0.0.1"
    ]) {
      assert.deepStrictEqual(of(url), unknown, url)
    }
  })

  it("is what its user says of it, by name and port, and is then the user's word", () => {
    const hosts = { "localhost:8080": { takesTier: true }, "api.openai.com": { regional: true } }
    assert.deepStrictEqual(of("http://localhost:8080/v1", hosts), {
      ...unknown,
      known: true,
      takesTier: true,
      verified: true
    })
    assert.deepStrictEqual(of("http://localhost:8081/v1", hosts), unknown)
    assert.isTrue(of("https://api.openai.com", hosts).regional)
    assert.isFalse(of("https://x", { x: { verified: false } }).verified)
    assert.deepStrictEqual(of("https://constructor", {}), unknown)
  })
})
