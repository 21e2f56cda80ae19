/**
 * The rules of the tree, as pure functions: files in, what breaks the rule out (nothing when it holds).
 */
import * as path from "node:path"
import ts from "typescript"

export interface SourceFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string
  readonly text: string
}

export interface RankTable {
  readonly ranks: ReadonlyArray<ReadonlyArray<string>>
  readonly notInBarrel: ReadonlyArray<string>
}

/** How an import is met: when its file loads, only by the type checker, or when `import()` runs. */
type ImportKind = "static" | "type" | "dynamic"

interface Import {
  readonly specifier: string
  readonly kind: ImportKind
}

/** The entries of `exports` in package.json. */
export type PackageExports = Readonly<Record<string, unknown>>

const parse = (file: SourceFile): ts.SourceFile =>
  ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true)

const isCode = (file: SourceFile): boolean => file.path.endsWith(".ts")

const isPublic = (file: SourceFile): boolean => /^src\/[^/]+\.ts$/.test(file.path)

const barrel = "src/index.ts"

/** The name that the rank table uses for a file. */
const nameOf = (filePath: string): string => filePath.replace(/^src\//, "").replace(/\.ts$/, "")

const importsOf = (file: SourceFile): ReadonlyArray<Import> => {
  if (!isCode(file)) return []
  const found: Array<Import> = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const kind = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? "type" : "static"
      found.push({ specifier: node.moduleSpecifier.text, kind })
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      if (ts.isStringLiteral(node.moduleSpecifier)) {
        found.push({ specifier: node.moduleSpecifier.text, kind: node.isTypeOnly ? "type" : "static" })
      }
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      if (ts.isStringLiteral(node.argument.literal)) {
        found.push({ specifier: node.argument.literal.text, kind: "type" })
      }
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments
      if (argument !== undefined && ts.isStringLiteralLike(argument)) {
        found.push({ specifier: argument.text, kind: "dynamic" })
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(parse(file))
  return found
}

/** The file of this tree that a relative import names; `null` for a package. */
const targetOf = (from: string, specifier: string): string | null =>
  specifier.startsWith(".")
    ? path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier))
    : null

const edgesOf = (file: SourceFile): ReadonlyArray<string> =>
  importsOf(file).flatMap((found) => targetOf(file.path, found.specifier) ?? [])

const rankOf = (table: RankTable, filePath: string): number =>
  table.ranks.findIndex((names) => names.includes(nameOf(filePath)))

/** Files without a rank, ranks without a file, and names that the table says twice. */
export const unranked = (files: ReadonlyArray<SourceFile>, table: RankTable): ReadonlyArray<string> => {
  const names = table.ranks.flat()
  const present = new Set(files.map((file) => nameOf(file.path)))
  return [
    ...files.filter((file) => rankOf(table, file.path) < 0).map((file) => `${file.path} has no rank`),
    ...names.filter((name) => !present.has(name)).map((name) => `rank table: ${name} has no file`),
    ...names
      .filter((name, index) => names.indexOf(name) !== index)
      .map((name) => `rank table: ${name} is there twice`)
  ]
}

/** Imports of an equal or a higher rank, type-only and dynamic ones too. */
export const rankViolations = (files: ReadonlyArray<SourceFile>, table: RankTable): ReadonlyArray<string> =>
  files.flatMap((file) =>
    edgesOf(file)
      .filter((target) => rankOf(table, target) >= rankOf(table, file.path))
      .map(
        (target) =>
          `${file.path} (rank ${rankOf(table, file.path)}) imports ${target} (rank ${rankOf(table, target)})`
      )
  )

/** Each file that can reach itself. */
export const cycles = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> => {
  const edges = new Map(files.map((file) => [file.path, edgesOf(file)]))
  return files
    .filter((file) => reachable(edges, edges.get(file.path) ?? []).has(file.path))
    .map((file) => `${file.path} imports itself through others`)
}

const reachable = (
  edges: ReadonlyMap<string, ReadonlyArray<string>>,
  from: ReadonlyArray<string>
): ReadonlySet<string> => {
  const seen = new Set<string>()
  const open = [...from]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...(edges.get(next) ?? []))
  }
  return seen
}

const sourceCondition = (entry: unknown): string | null => {
  if (typeof entry !== "object" || entry === null) return null
  const source: unknown = Reflect.get(entry, "agent-budget-source")
  return typeof source === "string" ? source.replace(/^\.\//, "") : null
}

/** Files that no entry of the package reaches. */
export const unreachable = (
  files: ReadonlyArray<SourceFile>,
  entries: PackageExports
): ReadonlyArray<string> => {
  const roots = Object.values(entries).flatMap((entry) => sourceCondition(entry) ?? [])
  const seen = reachable(new Map(files.map((file) => [file.path, edgesOf(file)])), roots)
  return files
    .filter((file) => !seen.has(file.path))
    .map((file) => `${file.path} is reached from no entry of the package`)
}

const entryFor = (name: string): string =>
  JSON.stringify({
    "agent-budget-source": `./src/${name}.ts`,
    types: `./dist/${name}.d.ts`,
    default: `./dist/${name}.js`
  })

/** Public modules without their entry, entries without their module, and entries that say something else. */
export const wrongEntries = (
  files: ReadonlyArray<SourceFile>,
  entries: PackageExports
): ReadonlyArray<string> => {
  const modules = files.filter(isPublic).map((file) => nameOf(file.path))
  const keyOf = (name: string): string => (name === "index" ? "." : `./${name}`)
  const expected = new Map(modules.map((name) => [keyOf(name), entryFor(name)]))
  return [
    ...[...expected]
      .filter(([key, entry]) => JSON.stringify(entries[key]) !== entry)
      .map(([key, entry]) => `exports[${JSON.stringify(key)}] is to be ${entry}`),
    ...Object.keys(entries)
      .filter((key) => key !== "./package.json" && key !== "./internal/*" && !expected.has(key))
      .map((key) => `exports[${JSON.stringify(key)}] has no module`)
  ]
}

/** Whether `internal/` can be imported by its path. */
export const openInternals = (entries: PackageExports): ReadonlyArray<string> => [
  ...(entries["./internal/*"] === null ? [] : ['exports["./internal/*"] is to be null']),
  ...Object.entries(entries)
    .filter(([key, entry]) => key !== "./internal/*" && JSON.stringify([key, entry]).includes("internal"))
    .map(([key]) => `exports[${JSON.stringify(key)}] opens internal`)
]

/** Public modules that the barrel leaves out, and those it must not have and has. */
export const wrongBarrel = (files: ReadonlyArray<SourceFile>, table: RankTable): ReadonlyArray<string> => {
  const index = files.find((file) => file.path === barrel)
  if (index === undefined) return [`${barrel} is missing`]
  const exported = new Set(edgesOf(index))
  return files
    .filter((file) => isPublic(file) && file.path !== barrel)
    .filter((file) => exported.has(file.path) === table.notInBarrel.includes(nameOf(file.path)))
    .map((file) => `the barrel ${exported.has(file.path) ? "has" : "lacks"} ${file.path}`)
}

/** What loading the barrel would load that not everybody has or wants: optional peers, `node:sqlite`, token ranks. */
export const barrelLoads = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> => {
  const statics = (file: SourceFile): ReadonlyArray<string> =>
    importsOf(file)
      .filter((found) => found.kind === "static")
      .map((found) => found.specifier)
  const edges = new Map(
    files.map((file) => [file.path, statics(file).flatMap((name) => targetOf(file.path, name) ?? [])])
  )
  const loaded = reachable(edges, [barrel])
  return files
    .filter((file) => loaded.has(file.path))
    .flatMap((file) =>
      statics(file)
        .filter((name) =>
          /^@effect\/(?:platform-node|sql-pg)(?:$|\/)|^redis$|^node:sqlite$|^js-tiktoken(?!\/lite$)/.test(
            name
          )
        )
        .map((name) => `the barrel loads ${name} through ${file.path}`)
    )
}

/** The word that promises less than a bound does. */
export const looseWords = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> =>
  linesWith(files, /estimat/i, 'says "estimate" (ours is a quote: a bound)')

const linesWith = (files: ReadonlyArray<SourceFile>, pattern: RegExp, what: string): ReadonlyArray<string> =>
  files.flatMap((file) =>
    file.text
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? `${file.path}:${index + 1} ${what}` : []))
  )

/** Folders that exist on one machine, and the addresses of package registries. */
export const machineTraces = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> => [
  ...linesWith(
    files,
    /(?<![\w.@:/-])\/(?:work|home|Users|root|tmp|private|var\/folders|mnt|opt)\/\w|(?<!\w)[A-Za-z]:\\{1,2}Users/,
    "has an absolute path of one machine"
  ),
  ...linesWith(files, /file:\/\/\/\w/, "has an absolute file address"),
  ...linesWith(
    files,
    /\b(?:registry|npm)\.[\w.-]*\b(?:com|org|net|io|dev|cloud|corp|internal|local)\b(?![\w(])/,
    "names a package registry"
  ),
  ...linesWith(
    files.filter((file) => /(?:^|\/)(?:package-lock\.json|\.npmrc)$/.test(file.path)),
    /"resolved":\s*"https?:|^\s*(?:@[\w-]+:)?registry\s*=/,
    "names a package registry"
  )
]

/** `await` outside of any function: a module that has it cannot be loaded by `require`. */
export const topLevelAwaits = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> =>
  files.filter(isCode).flatMap((file) => {
    const source = parse(file)
    const found: Array<string> = []
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node)) return
      if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)) {
        const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1
        found.push(`${file.path}:${line} awaits at the top level`)
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
    return found
  })

/** The doc comment right before a statement, without its stars; the module's own comment is not one. */
const docOf = (source: ts.SourceFile, statement: ts.Statement): string | null => {
  const blocks = (ts.getLeadingCommentRanges(source.text, statement.getFullStart()) ?? [])
    .map((range) => source.text.slice(range.pos, range.end))
    .filter((comment) => comment.startsWith("/**"))
  const own = statement === source.statements[0] ? blocks.slice(1) : blocks
  const last = own.at(-1)
  return last === undefined ? null : unstar(last)
}

const unstar = (comment: string): string =>
  comment
    .replace(/^\/\*\*/, "")
    .replace(/\*\/$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim()

const declaredNames = (statement: ts.Statement): ReadonlyArray<string> => {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map((declaration) => declaration.name.getText())
  }
  const named =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isModuleDeclaration(statement)
  return named ? [statement.name?.text ?? "default"] : []
}

const isExported = (statement: ts.Statement): boolean =>
  ts.canHaveModifiers(statement) &&
  (ts.getModifiers(statement) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)

/** What a doc comment lacks. An export marked `@internal` is left out of the types, so it needs no example. */
const lacks = (doc: string | null): ReadonlyArray<string> => {
  if (doc === null) return ["a doc comment"]
  const intro = doc.split(/^@/m)[0] ?? ""
  const internal = /^@internal\b/m.test(doc)
  return [
    ...(/^\S[^]*?[.:?](?:\s|$)/.test(intro) ? [] : ["a first sentence"]),
    ...(internal || /^@since \d+\.\d+\.\d+$/m.test(doc) ? [] : ["@since"]),
    ...(internal || /^@example\n+```ts\n[^]+?\n```$/m.test(doc) ? [] : ["an @example in a ts block"])
  ]
}

/** What a file exports and another one declares: its name there, and the one it is exported as. */
interface PassedOn {
  readonly as: string
  readonly name: string
  readonly from: string
}

const specifiersOf = (
  source: ts.SourceFile
): ReadonlyArray<readonly [ts.ExportSpecifier, ts.ExportDeclaration]> =>
  source.statements.flatMap((statement) =>
    ts.isExportDeclaration(statement) &&
    statement.exportClause !== undefined &&
    ts.isNamedExports(statement.exportClause)
      ? statement.exportClause.elements.map((element) => [element, statement] as const)
      : []
  )

/** The names that a file imports, and where each is from. */
const importedInto = (
  source: ts.SourceFile
): ReadonlyMap<string, { readonly name: string; readonly from: string }> =>
  new Map(
    source.statements.flatMap((statement) => {
      if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) return []
      const from = targetOf(source.fileName, statement.moduleSpecifier.text)
      const bindings = statement.importClause?.namedBindings
      return from === null || bindings === undefined || !ts.isNamedImports(bindings)
        ? []
        : bindings.elements.map(
            ({ name, propertyName }) => [name.text, { name: (propertyName ?? name).text, from }] as const
          )
    })
  )

const passedOn = (source: ts.SourceFile): ReadonlyArray<PassedOn> => {
  const imported = importedInto(source)
  return specifiersOf(source).flatMap(([specifier, { moduleSpecifier }]) => {
    const as = specifier.name.text
    const name = (specifier.propertyName ?? specifier.name).text
    if (moduleSpecifier === undefined) {
      const origin = imported.get(name)
      return origin === undefined ? [] : [{ as, ...origin }]
    }
    const from = ts.isStringLiteral(moduleSpecifier) ? targetOf(source.fileName, moduleSpecifier.text) : null
    return from === null ? [] : [{ as, name, from }]
  })
}

/** The doc comment of a name where it is declared, whichever files pass it on. */
const docIn = (
  sources: ReadonlyMap<string, ts.SourceFile>,
  { from, name }: Pick<PassedOn, "from" | "name">
): string | null => {
  const source = sources.get(from)
  if (source === undefined) return null
  const declared = source.statements.find((statement) => declaredNames(statement).includes(name))
  if (declared !== undefined) return docOf(source, declared)
  const next = passedOn(source).find((each) => each.as === name)
  return next === undefined ? null : docIn(sources, next)
}

/** Exports of public modules without a whole doc comment; the barrel only passes on. */
export const undocumented = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> => {
  const sources = new Map(files.filter(isCode).map((file) => [file.path, parse(file)]))
  return files
    .filter((file) => isPublic(file) && file.path !== barrel)
    .flatMap((file) => {
      const source = sources.get(file.path) ?? parse(file)
      const listed = new Set(
        specifiersOf(source).flatMap(([{ name, propertyName }, { moduleSpecifier }]) =>
          moduleSpecifier === undefined ? [(propertyName ?? name).text] : []
        )
      )
      const overloads = new Set<string>()
      const own = source.statements.flatMap((statement) => {
        const names = declaredNames(statement)
        if (!isExported(statement) && !names.some((name) => listed.has(name))) return []
        const name = names.join(", ")
        if (ts.isFunctionDeclaration(statement)) {
          if (overloads.has(name)) return []
          overloads.add(name)
        }
        return lacks(docOf(source, statement)).map((part) => `${file.path}: ${name} lacks ${part}`)
      })
      const others = passedOn(source).flatMap((each) =>
        lacks(docIn(sources, each)).map((part) => `${file.path}: ${each.as} lacks ${part}`)
      )
      return [...own, ...others]
    })
}

/** Files with more lines than they may have. */
export const tooLong = (files: ReadonlyArray<SourceFile>, most: number): ReadonlyArray<string> =>
  files
    .map((file) => ({ path: file.path, lines: file.text.replace(/\n$/, "").split("\n").length }))
    .filter((file) => file.lines > most)
    .map((file) => `${file.path} has ${file.lines} lines, ${most} at most`)
