/** What the plans of all endpoints share: the model, the closed list of fields, the bound of the input. */
import * as Result from "effect/Result"
import * as BudgetError from "../BudgetError.ts"
import type { Counted, Endpoint, Output, Plan, Remote } from "../Endpoint.ts"
import { surveyOf } from "./bodySurvey.ts"
import { CountSheet } from "./countSheet.ts"
import { hostedTools } from "./hostedTools.ts"
import { isGiven, rewrittenNumbers, type JsonObject } from "./json.ts"
import { familyOf } from "./modelFamilies.ts"
import { isHidden, questionOf } from "./remoteCount.ts"
import { BodyReader, holdsBack, modelOf, noModel, type FieldRule } from "./requestBound.ts"

/** What an endpoint says of a body, beyond what its reader remembers. */
export interface Sides {
  readonly output: Output | undefined
  readonly tier: string | undefined
  readonly stream: boolean
  readonly askForUsage: boolean
}

/** Why a plan has no bound, and what to do. */
export const unbounded = ({ endpoint }: Plan, detail: string, fix: string): BudgetError.BudgetError =>
  BudgetError.because(new BudgetError.UnboundedRequest({ endpoint, detail, fix }))

/**
 * The planner of an endpoint: `read` tells the reader what the body holds, and answers the rest of the plan;
 * `list` writes down what is to be counted, should it come to that.
 */
export const planner = (
  endpoint: string,
  takesTier: boolean,
  fields: Readonly<Record<string, FieldRule>>,
  read: (reader: BodyReader, body: JsonObject) => Sides,
  list: (sheet: CountSheet, body: JsonObject) => void
): Endpoint["plan"] => {
  const rules = new Map(Object.entries(fields))
  return (request): Result.Result<Plan, BudgetError.BudgetError> => {
    const model = modelOf(request)
    if (model === undefined) return Result.fail(BudgetError.because(noModel))
    const reader = new BodyReader(endpoint, model)
    reader.fields(request.body, request.survey ?? surveyOf(request.body), rules, request.allow)
    const { output, tier, stream, askForUsage } = read(reader, request.body)
    if (reader.refusal !== undefined) return Result.fail(BudgetError.because(reader.refusal))
    const { audio, hosted, unshown } = reader
    const shown = (): Counted | undefined => {
      const family = familyOf(model)
      if (family === undefined) return undefined
      const sheet = new CountSheet(family)
      list(sheet, request.body)
      // The body has its numbers as JavaScript reads them.
      sheet.added += rewrittenNumbers(request.text)
      return sheet.counted()
    }
    // What is not shown, or is heard, cannot be counted.
    const counted = (): Counted | undefined => (unshown || audio ? undefined : shown())
    // A hosted tool feeds the model what nobody can count before it was called, and the question cannot say how images are.
    const remote = (): Remote | undefined =>
      endpoint !== "POST /responses" || audio || hosted.length > 0 || isGiven(request.body.image)
        ? undefined
        : { question: questionOf(request.body), hidden: isHidden(model, request.body), shown: shown() }
    const input = { ...reader.input(request.text), counted, remote }
    const tools = hosted.length === 0 ? undefined : hostedTools(hosted, reader.windows - 1)
    const heldBack = holdsBack(request.body)
    return Result.succeed({
      endpoint,
      model,
      input,
      output,
      tools,
      tier,
      takesTier,
      stream,
      heldBack,
      askForUsage
    })
  }
}
