/**
 * The examples of the docs, as programs: found in doc comments and Markdown, type-checked in one TypeScript
 * program, and run by Node from the sources.
 *
 * A `console.log(...)` with a comment behind it on the same line promises its output: the comment is exactly what
 * is printed, with runs of blanks and line breaks read as one blank, and may go on with a remark in parentheses
 * (`// 1750000000 (nano-dollars)`). The line has to be reached, and has to print that each time. Where the output
 * is not fixed, the line has no comment; prose goes on a line of its own.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import ts from "typescript"

export interface Example {
  /** Where it is: `src/Usd.ts:24`, the line of its fence. */
  readonly name: string
  readonly code: string
  /** False for a block that is marked `no-run`. */
  readonly run: boolean
}

export interface Expectation {
  readonly line: number
  readonly expected: string
}

/** What the runner writes: the problems of each example, and what each promised line printed. */
export interface Report {
  readonly problems: Readonly<Record<string, ReadonlyArray<string>>>
  readonly printed: Readonly<Record<string, ReadonlyArray<string>>>
}

/** Problems by example; an example without any works. */
export type Problems = ReadonlyMap<string, ReadonlyArray<string>>

const fences = (file: string, lines: ReadonlyArray<string>, firstLine: number): ReadonlyArray<Example> => {
  const found: Array<Example> = []
  for (let open = 0; open < lines.length; open++) {
    const fence = /^(\s*)```ts( no-run)?$/.exec(lines[open] ?? "")
    if (fence === null) continue
    const indent = fence[1] ?? ""
    const length = lines.slice(open + 1).findIndex((line) => line.trimEnd() === `${indent}\`\`\``)
    if (length < 0) throw new Error(`${file}:${firstLine + open}: the block is never closed`)
    const code = lines
      .slice(open + 1, open + 1 + length)
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
      .join("\n")
    found.push({ name: `${file}:${firstLine + open}`, code, run: fence[2] === undefined })
    open += length + 1
  }
  return found
}

/** The ts blocks of a Markdown file. */
export const inMarkdown = (file: string, text: string): ReadonlyArray<Example> =>
  fences(file, text.split("\n"), 1)

/** The ts blocks of a source file's doc comments. */
export const inDocComments = (file: string, text: string): ReadonlyArray<Example> =>
  [...text.matchAll(/^[ \t]*\/\*\*[^]*?\*\//gm)].flatMap((comment) =>
    fences(
      file,
      comment[0].split("\n").map((line) => line.replace(/^\s*\* ?/, "").trimEnd()),
      text.slice(0, comment.index).split("\n").length
    )
  )

interface Promised extends Expectation {
  /** Where the callee `console.log` begins and ends. */
  readonly from: number
  readonly to: number
}

const promises = (code: string): ReadonlyArray<Promised> => {
  const source = ts.createSourceFile("example.ts", code, ts.ScriptTarget.Latest, true)
  const found: Array<Promised> = []
  const visit = (node: ts.Node): void => {
    ts.forEachChild(node, visit)
    if (!ts.isCallExpression(node) || !/^[cC]onsole\.log$/.test(node.expression.getText())) return
    const comment = /^[\s);,}]*\/\/(.*)/.exec(code.slice(node.end).split("\n", 1)[0] ?? "")
    if (comment === null) return
    const line = source.getLineAndCharacterOfPosition(node.end).line + 1
    if (node.expression.getText() !== "console.log") {
      throw new Error(`line ${line}: only console.log can promise its output`)
    }
    found.push({
      line,
      expected: oneBlank(comment[1] ?? ""),
      from: node.expression.getStart(),
      to: node.expression.end
    })
  }
  visit(source)
  return found
}

/** The outputs that an example promises. */
export const expectations = (code: string): ReadonlyArray<Expectation> =>
  promises(code).map(({ line, expected }) => ({ line, expected }))

const oneBlank = (text: string): string => text.replace(/\s+/g, " ").trim()

/** Whether a printed text is what the comment promises. */
export const keeps = (expected: string, printed: string): boolean => {
  const text = oneBlank(printed)
  return expected === text || (expected.startsWith(`${text} (`) && expected.endsWith(")"))
}

/** The example with each promised `console.log` telling the runner what it prints; lines stay where they are. */
const instrumented = (name: string, code: string): string =>
  [...promises(code)]
    .sort((a, b) => b.from - a.from)
    .reduce(
      (text, { from, line, to }) =>
        `${text.slice(0, from)}globalThis.printedByExample.bind(null, ${JSON.stringify(`${name}#${line}`)})${text.slice(to)}`,
      code
    )

/** The type errors of each example, in one program with the project's own options. */
export const typeErrors = (root: string, examples: ReadonlyArray<Example>): Problems => {
  const config = ts.readConfigFile(path.join(root, "tsconfig.json"), (file) => ts.sys.readFile(file))
  const options: ts.CompilerOptions = {
    ...ts.parseJsonConfigFileContent(config.config, ts.sys, root).options,
    noUnusedLocals: false,
    noUnusedParameters: false,
    incremental: false
  }
  delete options.tsBuildInfoFile
  const host = ts.createCompilerHost(options)
  const virtual = new Map(
    examples.map((example, index) => [path.posix.join(root, `.examples-types/${index}.ts`), example])
  )
  const readFile = host.readFile.bind(host)
  const fileExists = host.fileExists.bind(host)
  const getSourceFile = host.getSourceFile.bind(host)
  host.readFile = (file) => virtual.get(file)?.code ?? readFile(file)
  host.fileExists = (file) => virtual.has(file) || fileExists(file)
  host.getSourceFile = (file, target, ...rest) => {
    const example = virtual.get(file)
    return example === undefined
      ? getSourceFile(file, target, ...rest)
      : ts.createSourceFile(file, example.code, target)
  }
  const program = ts.createProgram([...virtual.keys()], options, host)
  return new Map(
    [...virtual].map(([file, example]) => {
      const source = program.getSourceFile(file)
      const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
      return [
        example.name,
        found.map((diagnostic) => {
          const line = source?.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line ?? 0
          return `line ${line + 1}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")}`
        })
      ]
    })
  )
}

/** The examples of one process: run in turn, each as a module of its own. */
const runGroup = async (
  folder: string,
  group: number,
  examples: ReadonlyArray<Example>,
  env: Readonly<Record<string, string>>
): Promise<Report> => {
  const manifest = path.join(folder, `${group}.json`)
  const report = path.join(folder, `${group}.report.json`)
  const files = examples.map((example, index) => {
    const file = path.join(folder, `${group}-${index}.ts`)
    fs.writeFileSync(file, instrumented(example.name, example.code))
    return { name: example.name, file }
  })
  fs.writeFileSync(manifest, JSON.stringify(files))
  const runner = path.join(import.meta.dirname, "exampleRunner.ts")
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--conditions=agent-budget-source", runner, manifest, report],
    {
      // Files that examples make are gone with the folder.
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 180_000,
      killSignal: "SIGKILL",
      // Nothing of the caller's: no key, no proxy, no Node options. What is not told where to go reaches nobody.
      env: {
        PATH: process.env["PATH"] ?? "",
        NO_COLOR: "1",
        OPENAI_API_KEY: "loopback",
        OPENAI_BASE_URL: "http://127.0.0.1:9/v1",
        ...env
      }
    }
  )
  let complaint = ""
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-4_000)
  })
  await new Promise<void>((resolve, reject) => {
    child.once("close", () => resolve())
    child.once("error", reject)
  })
  if (!fs.existsSync(report)) {
    const lost = `its process ended without a report: ${complaint || "it took too long"}`
    return { printed: {}, problems: Object.fromEntries(examples.map((example) => [example.name, [lost]])) }
  }
  return JSON.parse(fs.readFileSync(report, "utf8")) as Report
}

const brokenPromises = (example: Example, report: Report): ReadonlyArray<string> =>
  expectations(example.code).flatMap(({ expected, line }) => {
    const printed = report.printed[`${example.name}#${line}`]
    if (printed === undefined) return [`line ${line} printed nothing, promised: ${expected}`]
    return printed
      .filter((text) => !keeps(expected, text))
      .map((text) => `line ${line} printed: ${oneBlank(text)}, promised: ${expected}`)
  })

/** Runs the examples in two processes and says what went wrong in each. */
export const run = async (
  root: string,
  examples: ReadonlyArray<Example>,
  env: Readonly<Record<string, string>> = {}
): Promise<Problems> => {
  const folder = fs.mkdtempSync(path.join(root, ".examples-"))
  try {
    const groups = [0, 1].map((group) =>
      examples.filter((example, index) => example.run && index % 2 === group)
    )
    const reports = await Promise.all(groups.map((group, index) => runGroup(folder, index, group, env)))
    return new Map(
      groups.flatMap((group, index) =>
        group.map((example) => {
          const report = reports[index] ?? { problems: {}, printed: {} }
          return [
            example.name,
            [...(report.problems[example.name] ?? []), ...brokenPromises(example, report)]
          ] as const
        })
      )
    )
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}
