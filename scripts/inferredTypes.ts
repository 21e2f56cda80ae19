/**
 * Whether a stranger's compiler can write down what it infers from everything that the package exports. It emits the
 * declarations of a module for each entry, which fails where a type has no name that can be imported. Each is checked
 * by itself: what another entry names is of no use to one who never imports that.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import ts from "typescript"

export interface Entry {
  /** What it is imported by. */
  readonly specifier: string
  /** The file of its declarations, from the folder of the package. */
  readonly types: string
}

const options: ts.CompilerOptions = {
  declaration: true,
  isolatedModules: true,
  strict: true,
  skipLibCheck: true,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2024,
  types: []
}

/** Whether a function is called with what `Parameters` says: those with overloads or type parameters are not. */
const isCallable = (type: ts.Type): boolean => {
  const [signature, ...others] = type.getCallSignatures()
  return signature !== undefined && others.length === 0 && signature.typeParameters === undefined
}

/** A module that exports what is inferred from one entry of the package in `own`. */
const moduleOf = (program: ts.Program, entry: Entry, own: string): string => {
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(`${own}${entry.types}`)
  const module = source === undefined ? undefined : checker.getSymbolAtLocation(source)
  if (module === undefined) throw new Error(`${entry.specifier} has no declarations`)
  const lines = ['import * as Effect from "effect/Effect"', `import * as M from "${entry.specifier}"`]
  const show = (name: string, expression: string): void =>
    void lines.push(`export const of_${name} = ${expression}`)

  const isOwn = (symbol: ts.Symbol): boolean =>
    (symbol.declarations ?? []).some((declaration) => declaration.getSourceFile().fileName.startsWith(own))

  /** Whether it can be taken apart by spreading: a class has more than that, and what others declare is theirs. */
  const isPlain = (type: ts.Type): boolean =>
    type.isUnion()
      ? type.types.every(isPlain)
      : (type.flags & ts.TypeFlags.Object) !== 0 &&
        !type.isClass() &&
        type.getCallSignatures().length === 0 &&
        checker.getPropertiesOfType(type).every(isOwn)

  const showType = (name: string, written: string, type: ts.Type): void => {
    show(name, `(value: ${written}) => [value]`)
    if (isPlain(type)) show(`${name}_parts`, `(value: ${written}) => ({ ...value })`)
    if (type.getStringIndexType() !== undefined) show(`${name}_any`, `(value: ${written}) => value["any"]`)
    for (const property of checker.getPropertiesOfType(type)) {
      const key = property.name
      const of = checker.getTypeOfSymbol(property)
      if (key === "Service") showType(`${name}_Service`, `${written}["Service"]`, of)
      if (!isOwn(property) || !/^\w+$/.test(key)) continue
      show(`${name}_${key}`, `(value: ${written}) => value.${key}`)
      if (!isCallable(of)) continue
      const given = `...given: Parameters<${written}["${key}"]>`
      show(`${name}_${key}_answer`, `(value: ${written}, ${given}) => value.${key}(...given)`)
    }
  }

  const showValue = (name: string, written: string, type: ts.Type): void => {
    show(name, written)
    if (isCallable(type)) {
      show(`${name}_answer`, `(...given: Parameters<typeof ${written}>) => ${written}(...given)`)
    }
    if (type.getProperty("asEffect") !== undefined) {
      show(`${name}_yielded`, `Effect.gen(function* () { return yield* ${written} })`)
    }
  }

  for (const exported of checker.getExportsOfModule(module)) {
    const { name } = exported
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    // A namespace of the barrel is an entry of its own.
    if (symbol.flags & ts.SymbolFlags.ValueModule) continue
    const written = `M.${name}`
    if (symbol.flags & ts.SymbolFlags.Value) showValue(name, written, checker.getTypeOfSymbol(symbol))
    if (symbol.flags & ts.SymbolFlags.Type) {
      const parameters = (symbol.declarations ?? []).flatMap((declaration) =>
        ts.isInterfaceDeclaration(declaration) || ts.isTypeAliasDeclaration(declaration)
          ? (declaration.typeParameters ?? []).map(() => "string")
          : []
      )
      const type = parameters.length === 0 ? written : `${written}<${parameters.join(", ")}>`
      showType(`${name}_of`, type, checker.getDeclaredTypeOfSymbol(symbol))
    }
  }
  return `${lines.join("\n")}\n`
}

/** What the compiler has to say of modules in `home`, below which the package is installed as `name`. */
export const inferredTypes = (
  home: string,
  name: string,
  entries: ReadonlyArray<Entry>
): ReadonlyArray<string> => {
  const host = ts.createCompilerHost(options)
  const read = new Map<string, ts.SourceFile | undefined>()
  const getSourceFile: ts.CompilerHost["getSourceFile"] = (file, how) => {
    if (!read.has(file)) read.set(file, host.getSourceFile(file, how))
    return read.get(file)
  }
  const programOf = (rootNames: ReadonlyArray<string>): ts.Program =>
    ts.createProgram({
      rootNames,
      options,
      host: { ...host, getSourceFile, getCurrentDirectory: () => home }
    })

  const own = `${fs
    .realpathSync(path.join(home, "node_modules", name))
    .split(path.sep)
    .join("/")}/`
  const all = programOf(entries.map((entry) => `${own}${entry.types}`))
  return entries.flatMap((entry, index) => {
    const file = path.join(home, `inferred${index}.mts`)
    fs.writeFileSync(file, moduleOf(all, entry, own))
    return ts
      .getPreEmitDiagnostics(programOf([file]))
      .map(({ messageText }) => `${entry.specifier}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`)
  })
}
