/** The bundled table beside somebody else's list: what differs, what may be written, and the table with it written. */
import { decimal, perMillion } from "./decimals.ts"
import {
  figureNames,
  type FigureName,
  type Figures,
  type Offer,
  type Source,
  type SourceRow,
  type TierName
} from "./sources.ts"
import type { Period, Row, Table } from "./tableFile.ts"

/** One figure that is not the same. Pico-dollars a token. */
export interface Difference {
  readonly model: string
  readonly tier: TierName
  readonly isLong: boolean
  readonly figure: FigureName
  /** What is charged for it by our table: where it names no price of its own, the one that is charged instead. */
  readonly ours: bigint | undefined
  readonly theirs: bigint
  /**
   * A rise of at most twice. A decrease, a larger rise, and a price where we have none make a reservation smaller than
   * the bill if they are wrong, or are likely to be a slip of somebody's pen.
   */
  readonly isSmallRise: boolean
}

export interface Comparison {
  readonly differences: ReadonlyArray<Difference>
  /** The figures that are the same, by `keyOf`. */
  readonly agreed: ReadonlySet<string>
  /** How many figures are the same, of how many models. */
  readonly same: number
  readonly models: ReadonlyArray<string>
  /** What cannot be compared, and why. */
  readonly notes: ReadonlyArray<string>
  /** Models of ours that the list does not have, and the other way round. */
  readonly missing: ReadonlyArray<string>
  readonly unknown: ReadonlyArray<string>
}

/** The name of a figure in the whole table. */
const keyOf = ({ figure, isLong, model, tier }: Pick<Difference, "model" | "tier" | "isLong" | "figure">) =>
  [model, tier, isLong ? "long" : "short", figure].join(" ")

/** The period that is in force on a day. */
const periodAt = (periods: ReadonlyArray<Period>, day: string): number => {
  const found = periods.findIndex(({ until }) => until === undefined || day <= until)
  return found < 0 ? periods.length - 1 : found
}

type Named = Period | NonNullable<Period["longContext"]>

const own = (named: Named, figure: FigureName): bigint | undefined => {
  const text: unknown = Reflect.get(named, figure)
  return typeof text === "string" ? perMillion(text) : undefined
}

/** What is charged for a figure, by the rules of `Pricing`. */
const charged = (named: Named, figure: FigureName): bigint | undefined => {
  const price = own(named, figure)
  if (price !== undefined || figure === "audioInput" || figure === "audioOutput") return price
  if (figure === "cacheWrite12h") return own(named, "cacheWrite") ?? own(named, "input")
  return own(named, "input")
}

const differencesOf = (
  where: Pick<Difference, "model" | "tier" | "isLong">,
  named: Named,
  theirs: Figures
): { readonly same: ReadonlyArray<string>; readonly differences: ReadonlyArray<Difference> } => {
  const differences: Array<Difference> = []
  const same: Array<string> = []
  for (const figure of figureNames) {
    const price = theirs[figure]
    if (price === undefined) continue
    const ours = charged(named, figure)
    if (ours === price) same.push(keyOf({ ...where, figure }))
    else {
      const isSmallRise = ours !== undefined && price > ours && price <= 2n * ours
      differences.push({ ...where, figure, ours, theirs: price, isSmallRise })
    }
  }
  return { same, differences }
}

/** Lists and we count from a threshold, or above it: that one token is no difference. */
const isSameThreshold = (a: number, b: number): boolean => Math.abs(a - b) <= 1

const compareOffer = (model: string, tier: TierName, period: Period, offer: Offer) => {
  const short = differencesOf({ model, tier, isLong: false }, period, offer.figures)
  const { long } = offer
  if (long === undefined) return { ...short, notes: [] }
  const ours = period.longContext
  if (ours === undefined || !isSameThreshold(ours.threshold, long.threshold)) {
    const here = ours === undefined ? "none here" : `${ours.threshold} here`
    return { ...short, notes: [`${model}, ${tier}: long context from ${long.threshold} tokens, ${here}`] }
  }
  const beyond = differencesOf({ model, tier, isLong: true }, ours, long.figures)
  return {
    same: [...short.same, ...beyond.same],
    differences: [...short.differences, ...beyond.differences],
    notes: []
  }
}

const compareRow = (row: Row, theirs: SourceRow, day: string) => {
  const found = [...theirs.offers].map(([tier, offer]) => {
    const periods = row.tiers[tier]
    const period = periods?.[periodAt(periods, day)]
    return period === undefined
      ? { same: [], differences: [], notes: [`${row.id}, ${tier}: a tier that is not here`] }
      : compareOffer(row.id, tier, period, offer)
  })
  return {
    same: found.flatMap(({ same }) => same),
    differences: found.flatMap(({ differences }) => differences),
    notes: found.flatMap(({ notes }) => notes)
  }
}

/** Compares by exact id. `day`: whose prices are compared, as 2026-11-23. */
export const compare = (table: Table, source: Source, day: string): Comparison => {
  const byName = new Map(source.rows.flatMap((row) => row.names.map((name) => [name, row] as const)))
  const pairs = table.models.flatMap((row) => {
    const theirs = byName.get(row.id)
    return theirs === undefined ? [] : [[row, theirs] as const]
  })
  const rows = pairs.map(([row, theirs]) => compareRow(row, theirs, day))
  const ours = new Set(table.models.flatMap(({ aliases = [], id }) => [id, ...aliases]))
  const agreed = new Set(rows.flatMap(({ same }) => same))
  return {
    agreed,
    same: agreed.size,
    models: pairs.map(([row]) => row.id),
    differences: rows.flatMap(({ differences }) => differences),
    notes: [...rows.flatMap(({ notes }) => notes), ...source.unreadable],
    missing: table.models.map(({ id }) => id).filter((id) => !byName.has(id)),
    unknown: source.rows
      .filter(({ names }) => !names.some((name) => ours.has(name)))
      .map(({ names }) => names[0] ?? "")
  }
}

/** Whether a difference may be written: a small rise as it is, anything else where its model was named. */
export const isConfirmed = (difference: Difference, accepted: ReadonlySet<string>): boolean =>
  difference.isSmallRise || accepted.has(difference.model)

/** What every changed row says of itself from then on: it is known from somebody else's list. */
const changedBasis = "secondary source"

const written = (period: Period, changes: ReadonlyArray<Difference>): Period => {
  const figuresOf = (isLong: boolean) =>
    Object.fromEntries(
      changes
        .filter((change) => change.isLong === isLong)
        .map(({ figure, theirs }) => [figure, decimal(theirs)])
    )
  const { longContext } = period
  return {
    ...period,
    ...figuresOf(false),
    ...(longContext === undefined ? {} : { longContext: { ...longContext, ...figuresOf(true) } }),
    basis: changedBasis
  }
}

const priced = (named: Named): ReadonlyArray<FigureName> =>
  figureNames.filter((figure) => own(named, figure) !== undefined)

/** Whether all that a row charges from a day on is known: of what begins later no list of that day tells. */
const isKnown = ({ id, tiers }: Row, known: ReadonlySet<string>, day: string): boolean => {
  const tierNames = ["standard", "batch", "flex", "priority", "ultrafast"] as const
  return tierNames.every((tier) => {
    const periods = tiers[tier] ?? []
    const period = periods[periodAt(periods, day)]
    if (period === undefined) return true
    const { longContext: long } = period
    const isPriceKnown = (isLong: boolean) => (figure: FigureName) =>
      known.has(keyOf({ model: id, tier, isLong, figure }))
    return (
      period === periods.at(-1) &&
      priced(period).every(isPriceKnown(false)) &&
      (long === undefined || priced(long).every(isPriceKnown(true)))
    )
  })
}

const withChanges = (
  row: Row,
  changes: ReadonlyArray<Difference>,
  day: string,
  agreed: ReadonlySet<string>
): Row => {
  const tiers = Object.fromEntries(
    Object.entries(row.tiers).map(([tier, periods = []]) => {
      const here = changes.filter((change) => change.tier === tier)
      const at = periodAt(periods, day)
      return [
        tier,
        here.length === 0 ? periods : periods.map((it, index) => (index === at ? written(it, here) : it))
      ]
    })
  )
  const changed = { ...row, tiers }
  const known = new Set([...agreed, ...changes.map(keyOf)])
  return isKnown(changed, known, day) ? { ...changed, asOf: day } : changed
}

/**
 * The table with the changes in it, and the list among the sources. A row that changed is of that day where the list
 * knows each of its prices, as they are (`agreed`) or as they are changed: the others are no newer than they were.
 */
export const apply = (
  table: Table,
  changes: ReadonlyArray<Difference>,
  {
    agreed,
    day,
    source
  }: { readonly day: string; readonly source: string; readonly agreed: ReadonlySet<string> }
): Table => {
  if (changes.length === 0) return table
  return {
    ...table,
    sources: [...new Set([...table.sources, `${source}, as read on ${day}`])].sort(),
    models: table.models.map((row) => {
      const here = changes.filter(({ model }) => model === row.id)
      return here.length === 0 ? row : withChanges(row, here, day, agreed)
    })
  }
}

const columns = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, at) => (at < 3 || at > 5 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

const percent = ({ ours, theirs }: Difference): string => {
  if (ours === undefined || ours === 0n) return "new"
  const tenths = ((theirs - ours) * 1_000n) / ours
  const sign = tenths < 0n ? "-" : "+"
  const size = tenths < 0n ? -tenths : tenths
  return `${sign}${size / 10n}.${size % 10n} %`
}

/** The differences as a table, in USD per 1,000,000 tokens. */
export const table = (differences: ReadonlyArray<Difference>, accepted: ReadonlySet<string>): string =>
  columns([
    ["model", "tier", "price", "ours", "theirs", "change", ""],
    ...differences.map((each) => [
      each.model,
      each.tier,
      each.isLong ? `longContext.${each.figure}` : each.figure,
      each.ours === undefined ? "none" : `$${decimal(each.ours)}`,
      `$${decimal(each.theirs)}`,
      percent(each),
      isConfirmed(each, accepted) ? "" : `needs --accept ${each.model}`
    ])
  ])
