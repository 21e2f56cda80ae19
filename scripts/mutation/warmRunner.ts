/**
 * A test runner for Stryker that loads the tests once and then switches from mutant to mutant in one process: starting
 * vitest for each of them takes far longer.
 *
 * What is run at load is loaded anew for each mutant in it. A mutant may also leave a module in a state in which tests
 * fail for ever after: so a test that fails is run again without the mutant, in the same process, and when it fails
 * even then, all is loaded anew and only a failure right after that counts.
 */
import type { StrykerOptions } from "@stryker-mutator/api/core"
import { commonTokens, declareClassPlugin, PluginKind, tokens } from "@stryker-mutator/api/plugin"
import {
  determineHitLimitReached,
  type DryRunOptions,
  type DryRunResult,
  DryRunStatus,
  type MutantRunOptions,
  type MutantRunResult,
  MutantRunStatus,
  type TestResult,
  type TestRunner,
  TestStatus
} from "@stryker-mutator/api/test-runner"
import * as fs from "node:fs"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import * as path from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath, pathToFileURL } from "node:url"
import { collected, type Test } from "./standIn.ts"

/** What the instrumented code reads and writes. */
interface Instrumentation {
  activeMutant: string | undefined
  currentTestId: string | undefined
  hitCount: number | undefined
  hitLimit: number | undefined
  mutantCoverage?: MutantCoverage
}
type MutantCoverage = Extract<DryRunResult, { status: DryRunStatus.Complete }>["mutantCoverage"]

const switches: Instrumentation = {
  activeMutant: undefined,
  currentTestId: undefined,
  hitCount: undefined,
  hitLimit: undefined
}
Object.assign(globalThis, { __stryker__: switches })

let generation = 0

const standIn = new URL("./standIn.ts", import.meta.url).href

/** The sources without their types, which are the same in each generation: to take them out is half of a loading. */
const stripped = new Map<string, string>()

const sourceOf = (file: string): string => {
  const source = stripped.get(file) ?? stripTypeScriptTypes(fs.readFileSync(fileURLToPath(file), "utf8"))
  stripped.set(file, source)
  return source
}

/** Makes `vitest` the stand-in, and each generation of the sandbox's files modules of their own. */
const hookModules = (sandbox: string): void => {
  const own = pathToFileURL(sandbox + path.sep).href
  registerHooks({
    load: (url, context, next) => {
      const [file = ""] = url.split("?")
      if (!file.startsWith(own) || !file.endsWith(".ts")) return next(url, context)
      return { format: "module", source: sourceOf(file), shortCircuit: true }
    },
    resolve: (specifier, context, next) => {
      if (specifier === "vitest" && context.parentURL !== standIn) return { url: standIn, shortCircuit: true }
      const found = next(specifier, context)
      const isOwn = found.url.startsWith(own) && !found.url.includes("/node_modules/")
      return isOwn ? { ...found, url: `${found.url.split("?")[0] ?? ""}?generation=${generation}` } : found
    }
  })
}

interface Failure {
  readonly test: Test
  readonly message: string
  /** It did not end: whatever it left behind may still be at work. */
  readonly isLate: boolean
}

/** How long a test may take, from what it took when it passed. */
const longest = (took: number | undefined): number => (took === undefined ? 20_000 : 3_000 + 10 * took)

const stride = 100

/**
 * Tells of a test that waits for ever, which a mutant may bring it to: by its time, and sooner where this process has
 * had nothing to do for a second and for longer than the whole test takes.
 */
const watchFor = (late: () => void, took: number | undefined): (() => void) => {
  const start = performance.now()
  let before = performance.eventLoopUtilization()
  let idle = 0
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    idle = performance.eventLoopUtilization(now, before).utilization < 0.05 ? idle + stride : 0
    before = now
    const isIdle = took !== undefined && idle > 1_000 + 2 * took
    if (isIdle || performance.now() - start > longest(took)) late()
  }, stride)
  return () => {
    clearInterval(timer)
  }
}

/** An error that nobody waits for fails the test that runs, as it would in vitest. */
let stray: (error: unknown) => void = () => undefined
process.on("uncaughtException", (error) => stray(error))
process.on("unhandledRejection", (error) => stray(error))

const failureOf = async (test: Test, took: number | undefined): Promise<Failure | undefined> => {
  switches.currentTestId = test.id
  let stop = (): void => undefined
  try {
    const isLate = await new Promise<boolean>((resolve, reject) => {
      stop = watchFor(() => resolve(true), took)
      stray = reject
      test.run().then(() => resolve(false), reject)
    })
    return isLate ? { test, message: "It did not end.", isLate } : undefined
  } catch (error) {
    return { test, message: error instanceof Error ? error.message : String(error), isLate: false }
  } finally {
    stop()
    stray = () => undefined
    switches.currentTestId = undefined
  }
}

export class WarmRunner implements TestRunner {
  static inject = tokens(commonTokens.options)
  readonly #files: ReadonlyArray<string>
  /** Milliseconds that each test took when it passed: the quick ones go first. */
  readonly #took = new Map<string, number>()
  #tests: ReadonlyArray<Test> = []
  /** The mutant that was active when all was loaded, or why it has to be loaded anew. */
  #loaded: { readonly under: string | undefined } | "nothing" | "spoilt" = "nothing"
  #isFresh = false

  constructor(options: StrykerOptions) {
    this.#files = options.testFiles
  }

  capabilities() {
    return { reloadEnvironment: true }
  }

  init(): Promise<void> {
    hookModules(process.cwd())
    return Promise.resolve()
  }

  async #load(mutant: string | undefined): Promise<void> {
    generation++
    switches.activeMutant = mutant
    const files = this.#files.map((name) => ({
      name,
      load: (): Promise<unknown> =>
        import(`${pathToFileURL(path.resolve(name)).href}?generation=${generation}`)
    }))
    this.#tests = await collected(files)
    this.#loaded = { under: mutant }
    this.#isFresh = true
  }

  async #passes(test: Test, took = this.#took.get(test.id)): Promise<Failure | undefined> {
    const start = performance.now()
    const failure = await failureOf(test, took)
    if (failure === undefined && !this.#took.has(test.id)) this.#took.set(test.id, performance.now() - start)
    return failure
  }

  async dryRun(_: DryRunOptions): Promise<DryRunResult> {
    await this.#load(undefined)
    const results: Array<TestResult> = []
    for (const test of this.#tests) {
      // Stryker itself ends a run that takes too long.
      const failure = await this.#passes(test, Infinity)
      const base = { id: test.id, name: test.id, fileName: path.resolve(test.file) }
      const timeSpentMs = this.#took.get(test.id) ?? 0
      results.push(
        failure === undefined
          ? { ...base, timeSpentMs, status: TestStatus.Success }
          : { ...base, timeSpentMs, status: TestStatus.Failed, failureMessage: failure.message }
      )
    }
    const { mutantCoverage } = switches
    return {
      status: DryRunStatus.Complete,
      tests: results,
      ...(mutantCoverage === undefined ? {} : { mutantCoverage })
    }
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    const { id } = options.activeMutant
    // Stryker names files in the place of tests where a mutant is run at load, and so may be missed by any test.
    const byName = options.testFilter?.some((name) => path.isAbsolute(name)) === true
    const isStatic = options.mutantActivation === "static" || byName
    const under = isStatic ? id : undefined
    const wanted = isStatic ? undefined : new Set(options.testFilter)
    let first: string | undefined
    const rankOf = ({ id }: Test): number => (id === first ? -1 : (this.#took.get(id) ?? 0))
    for (;;) {
      switches.hitLimit = options.hitLimit
      switches.hitCount = options.hitLimit === undefined ? undefined : 0
      const isReady = typeof this.#loaded === "object" && this.#loaded.under === under && !isStatic
      if (!isReady) {
        try {
          await this.#load(under)
        } catch (error) {
          this.#loaded = "spoilt"
          if (!isStatic) throw error
          const failureMessage = `It does not load: ${error instanceof Error ? error.message : String(error)}`
          return { status: MutantRunStatus.Killed, killedBy: [], failureMessage, nrOfTests: 0 }
        }
      }
      const wasFresh = this.#isFresh
      this.#isFresh = false
      const tests = this.#tests
        .filter((test) => wanted?.has(test.id) !== false)
        // A test that fails where others went before it would seem to notice: right after a loading all go as written.
        .sort((a, b) => (isStatic ? 0 : rankOf(a) - rankOf(b)))
      const failure = await this.#firstFailure(tests, id)
      const isEndless = determineHitLimitReached(switches.hitCount, options.hitLimit) !== undefined
      switches.hitCount = undefined
      if (failure !== undefined && !isStatic) {
        const fails = (await failureOf(failure.test, undefined)) !== undefined
        if (fails || failure.isLate) this.#loaded = "spoilt"
        // Another mutant may have done this, unless there was none before.
        if (fails && !wasFresh) {
          first = failure.test.id
          continue
        }
      }
      if (isEndless || failure?.isLate === true) return { status: MutantRunStatus.Timeout }
      if (failure === undefined) return { status: MutantRunStatus.Survived, nrOfTests: tests.length }
      return {
        status: MutantRunStatus.Killed,
        killedBy: [failure.test.id],
        failureMessage: failure.message,
        nrOfTests: tests.length
      }
    }
  }

  async #firstFailure(tests: ReadonlyArray<Test>, mutant: string): Promise<Failure | undefined> {
    switches.activeMutant = mutant
    try {
      for (const test of tests) {
        const failure = await this.#passes(test)
        if (failure !== undefined) return failure
      }
      return undefined
    } finally {
      switches.activeMutant = undefined
    }
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, "warm", WarmRunner)]
