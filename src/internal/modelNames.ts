/** What the name of a model means, in a request as in its response: a name of the user's stands for a priced model. */
import type { Model, Pricing } from "../Pricing.ts"

export type Names = Readonly<Record<string, string>> | undefined

export const meantBy = (name: string, names: Names): string | undefined =>
  names !== undefined && Object.hasOwn(names, name) ? names[name] : name

/** The model of the table that a response names, if it names one that is there. */
export const servedModel = (
  name: string | undefined,
  names: Names,
  pricing: Pricing["Service"]
): Model | undefined => {
  const meant = name === undefined ? undefined : meantBy(name, names)
  return meant === undefined ? undefined : pricing.find(meant)
}
