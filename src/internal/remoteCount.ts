/**
 * What OpenAI's own count is asked for: the fields of a request to `/responses` that make up its input, and whether
 * there is anything in them that a count at home cannot see.
 */
import { isArray, isGiven, isObject, type Json, type JsonObject } from "./json.ts"
import { familyOf } from "./modelFamilies.ts"

/** The parameters of `POST /responses/input_tokens`, as the `openai` package lists them. Others are refused there. */
export const countedFields = [
  "conversation",
  "input",
  "instructions",
  "model",
  "parallel_tool_calls",
  "personality",
  "previous_response_id",
  "reasoning",
  "text",
  "tool_choice",
  "tools",
  "truncation"
] as const

/** The body of the question. */
export const questionOf = (body: JsonObject): JsonObject =>
  Object.fromEntries(
    countedFields.flatMap((field) => {
      const value = Object.hasOwn(body, field) ? body[field] : undefined
      return value === undefined || value === null ? [] : [[field, value]]
    })
  )

const isAddressed = (part: Json): boolean =>
  isObject(part) &&
  part.type === "input_image" &&
  (isGiven(part.file_id) || !(typeof part.image_url === "string" && part.image_url.startsWith("data:")))

const partsOf = (item: Json): ReadonlyArray<Json> =>
  isObject(item) ? [item.content, item.output].flatMap((each) => (isArray(each) ? each : [])) : []

/** Whether it names images that it does not hold, which count as the largest there are. */
const namesImages = ({ input }: JsonObject): boolean =>
  isArray(input) && input.some((item) => partsOf(item).some(isAddressed))

/** Whether a request that shows all of its text is still counted better by whoever serves it. */
export const isHidden = (model: string, body: JsonObject): boolean =>
  familyOf(model) === undefined || namesImages(body)

/** More for every hundred tokens that were counted, and for the request: no recorded count is off by even one. */
export const remoteMargin = { share: 0.01, request: 24 } as const

/** Beside the endpoint that runs the model, with the same query: Azure has its version there. */
export const questionURL = (url: string): string => {
  const asked = new URL(url)
  asked.pathname = `${asked.pathname.replace(/\/+$/, "")}/input_tokens`
  return asked.href
}
