/**
 * What plain JavaScript, or a configuration, can get wrong in how calls are bounded, sent and settled: a misspelt word must
 * not fall back to a default.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as BudgetError from "../BudgetError.ts"
import * as OpenAiEndpoints from "../OpenAiEndpoints.ts"
import * as Pricing from "../Pricing.ts"
import * as Usd from "../Usd.ts"
import { checked, invalidOptions } from "./ledgerChecks.ts"
import { checkEndpoints, checkHosts, checkUncapped } from "./optionChecks.ts"
import { sentence } from "./schemaText.ts"

export const policyFields = {
  tier: Schema.optional(Pricing.Tier),
  abandoned: Schema.optional(Schema.Literals(["assume", "drain"])),
  refusal: Schema.optional(Schema.Literals(["throw", "response"])),
  inputBound: Schema.optional(Schema.Literals(["auto", "bytes", "counted"])),
  uncapped: Schema.optional(
    Schema.Union([
      Schema.Literals(["modelMaximum", "refuse"]),
      Schema.Struct({ share: Schema.optional(Schema.Unknown), floor: Schema.optional(Schema.Unknown) })
    ])
  ),
  models: Schema.optional(Schema.Record(Schema.String, Schema.String)),
  allow: Schema.optional(Schema.Array(Schema.String)),
  endpoints: Schema.optional(
    Schema.Record(
      Schema.String,
      Schema.Union([Schema.Literal("free"), Schema.Struct({ maxUsd: Usd.FromDollars })])
    )
  ),
  hosts: Schema.optional(Schema.Unknown)
}

const Policy = Schema.Struct(policyFields)

/** Options as a schema has them, or which word or kind there is none of. */
export const readAs = <Read>(
  schema: Schema.Decoder<Read>,
  options: unknown
): Effect.Effect<Read, BudgetError.BudgetError> =>
  Effect.mapError(Schema.decodeUnknownEffect(schema)(options), ({ message }) =>
    invalidOptions(sentence(message))
  )

/** What is wrong with a policy beyond the words that there are. */
export const policyFault = ({ endpoints, hosts, uncapped }: typeof Policy.Type): string | undefined =>
  checkUncapped(uncapped) ??
  checkEndpoints(
    endpoints,
    OpenAiEndpoints.priced.map(({ name }) => name)
  ) ??
  checkHosts(hosts)

/** The policy, as it was given. */
export const checkedPolicy = <Given>(policy: Given): Effect.Effect<Given, BudgetError.BudgetError> =>
  Effect.flatMap(readAs(Policy, policy), (read) => Effect.as(checked(policyFault(read)), policy))
