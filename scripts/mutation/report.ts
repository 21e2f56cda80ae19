/** What a run of mutants found, how two runs are one, and which survivors are explained. */
interface Position {
  readonly line: number
  readonly column: number
}

export interface Mutant {
  readonly mutatorName: string
  readonly replacement?: string
  readonly status: string
  readonly location: { readonly start: Position; readonly end: Position }
}

/** The part of Stryker's report that is read. */
export interface Report {
  readonly files: Readonly<
    Record<string, { readonly source: string; readonly mutants: ReadonlyArray<Mutant> }>
  >
}

/** A survivor by its code, so that it is known again where lines were moved. */
export interface Survivor {
  /** The line on which it begins. */
  readonly line: string
  readonly from: string
  readonly to: string
}

export interface Explained extends Survivor {
  readonly why: string
}

/** Explained survivors by file. */
export type Explanations = Readonly<Record<string, ReadonlyArray<Explained>>>

const ends = {
  caught: new Set(["Killed", "Timeout"]),
  alive: new Set(["Survived", "NoCoverage"])
}

export const isAlive = (mutant: Mutant): boolean => ends.alive.has(mutant.status)

export interface Score {
  readonly caught: number
  readonly alive: number
  /** Mutants of which nothing is known: they broke the runner, not the tests. */
  readonly unknown: number
  /** Caught among those that were caught or live, in hundredths. */
  readonly percent: number
}

export const scoreOf = ({ files }: Report): Score => {
  const all = Object.values(files).flatMap(({ mutants }) => mutants)
  const caught = all.filter(({ status }) => ends.caught.has(status)).length
  const alive = all.filter(isAlive).length
  if (caught + alive === 0) throw new Error("There was no mutant: a score would say nothing.")
  return { caught, alive, unknown: all.length - caught - alive, percent: (100 * caught) / (caught + alive) }
}

const tidy = (code: string): string => code.replace(/\s+/g, " ").trim()

const textOf = (source: string, { end, start }: Mutant["location"]): string => {
  const lines = source.split("\n").slice(start.line - 1, end.line)
  const last = lines.length - 1
  // The end first: it may be on the line of the start.
  return lines
    .map((line, at) => (at === last ? line.slice(0, end.column - 1) : line))
    .map((line, at) => (at === 0 ? line.slice(start.column - 1) : line))
    .join("\n")
}

export const survivorOf = (source: string, mutant: Mutant): Survivor => ({
  line: tidy(source.split("\n")[mutant.location.start.line - 1] ?? ""),
  from: tidy(textOf(source, mutant.location)),
  to: tidy(mutant.replacement ?? "")
})

/** Each survivor of a report with its place, and why it lives where that is known. */
export const survivorsOf = (report: Report, explanations: Explanations) =>
  Object.entries(report.files).flatMap(([file, { mutants, source }]) =>
    mutants.filter(isAlive).map((mutant) => {
      const survivor = survivorOf(source, mutant)
      const { from, line, to } = survivor
      const explained = (explanations[file] ?? []).find(
        (each) => each.line === line && each.from === from && each.to === to
      )
      return { file, mutant, survivor, why: explained?.why }
    })
  )

const keyOf = ({ location: { end, start }, mutatorName, replacement }: Mutant): string =>
  [start.line, start.column, end.line, end.column, mutatorName, replacement].join(" ")

/** A report in which the mutants of a later run on the same sources take the place of those before. */
export const merge = (before: Report, later: Report): Report => {
  const files = { ...before.files }
  for (const [name, { mutants, source }] of Object.entries(later.files)) {
    const old = files[name]
    if (old?.source !== source) throw new Error(`${name} has changed since its last whole run: run it whole.`)
    const fresh = new Map(mutants.map((mutant) => [keyOf(mutant), mutant]))
    files[name] = { source, mutants: old.mutants.map((mutant) => fresh.get(keyOf(mutant)) ?? mutant) }
  }
  return { files }
}

/** The whole, from runs of all its parts; `undefined` while one is missing. They have to be of the same sources. */
export const whole = (parts: ReadonlyArray<Report | undefined>): Report | undefined => {
  const mutants = new Map<string, Array<Mutant>>()
  const sources = new Map<string, string>()
  for (const part of parts) {
    if (part === undefined) return undefined
    for (const [name, file] of Object.entries(part.files)) {
      const source = sources.get(name) ?? file.source
      if (source !== file.source)
        throw new Error(`${name} has changed between two parts: run them all again.`)
      sources.set(name, source)
      mutants.set(name, [...(mutants.get(name) ?? []), ...file.mutants])
    }
  }
  const files = Array.from(sources, ([name, source]) => [name, { source, mutants: mutants.get(name) ?? [] }])
  return { files: Object.fromEntries(files) as Report["files"] }
}

/** Ranges of lines that cut a file between its declarations, or a class's, with about as much code in each. */
export const cut = (source: string, count: number): ReadonlyArray<readonly [from: number, to: number]> => {
  const lines = source.split("\n")
  const isCode = (line: string) => line.trim() !== "" && !/^\s*(\/\*\*|\*|\/\/)/.test(line)
  const share = lines.filter(isCode).length / count
  const ranges: Array<readonly [number, number]> = []
  let from = 1
  let code = 0
  let margin = ""
  lines.forEach((line, index) => {
    if (isCode(line)) code++
    if (/^(export )?class /.test(line)) margin = "  "
    else if (line === "}") margin = ""
    // Whatever is at the margin, and does not close what came before, begins a declaration or its comment.
    const next = lines[index + 1] ?? ""
    const isBetween = line === "" && next.startsWith(margin) && /^[^\s)}\]]/.test(next.slice(margin.length))
    if (isBetween && code >= share && ranges.length < count - 1) {
      ranges.push([from, index + 1])
      from = index + 2
      code = 0
    }
  })
  return [...ranges, [from, lines.length]]
}

/** The survivors of a report that are not explained, as Stryker takes them: a file, and a range of it. */
export const rangesOf = (report: Report, explanations: Explanations): ReadonlyArray<string> =>
  survivorsOf(report, explanations)
    .filter(({ why }) => why === undefined)
    .map(({ file, mutant: { location } }) => {
      const { end, start } = location
      return `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`
    })

/** Explanations of what does not stand in its file any more. */
export const stale = (file: string, source: string, explained: ReadonlyArray<Explained>) => {
  const lines = new Set(source.split("\n").map(tidy))
  return explained
    .filter(({ from, line }) => !lines.has(line) || !(tidy(source).includes(from) || line.includes(from)))
    .map(({ line }) => `${file}: ${line}`)
}
