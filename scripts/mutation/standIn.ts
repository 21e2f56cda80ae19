/**
 * `vitest` for the warm runner: its assertions, and a `describe` and an `it` that keep what they are told, so that one
 * process can run a test again and again. It knows what the tests of the mutated modules use, and no hooks.
 */
export * from "vitest"

/** A test as it was written, by the names of all that it stands in. */
export interface Test {
  readonly id: string
  readonly file: string
  readonly run: () => Promise<void>
}

type Body = (...args: ReadonlyArray<unknown>) => unknown

let tests: Array<Test> = []
let names: ReadonlyArray<string> = []

/** What the test files told since it was last asked. */
export const collected = async (files: ReadonlyArray<{ name: string; load: () => Promise<unknown> }>) => {
  tests = []
  for (const { load, name } of files) {
    names = [name]
    await load()
  }
  return tests
}

const isBody = (value: unknown): value is Body => typeof value === "function"

const bodyOf = (rest: ReadonlyArray<unknown>): Body => {
  const body = rest.find(isBody)
  if (body === undefined) throw new Error(`${names.join(" > ")}: a test without a body`)
  return body
}

const add = (name: string, run: (context: object) => unknown): void => {
  const whole = [...names, name].join(" > ")
  const alike = tests.filter(({ id }) => id === whole || id.startsWith(`${whole} #`)).length
  tests.push({
    id: alike === 0 ? whole : `${whole} #${alike + 1}`,
    file: names[0] ?? "",
    run: async () => {
      const finishers: Array<() => unknown> = []
      try {
        const onTestFinished = (finish: () => unknown) => finishers.push(finish)
        await run({ signal: new AbortController().signal, onTestFinished })
      } finally {
        for (const finish of finishers.reverse()) await finish()
      }
    }
  })
}

/** A law that a mutant breaks is broken by one of so many cases, or too rarely to be what guards against it. */
const mostRuns = 200

/** The options are read when the test runs, and are its own to the end of this process. */
const spareRuns = (options: unknown): void => {
  if (typeof options !== "object" || options === null || !("arbitrary" in options)) return
  const law = options.arbitrary
  if (typeof law !== "object" || law === null || !("runs" in law) || typeof law.runs !== "number") return
  law.runs = Math.min(law.runs, mostRuns)
}

const test = (name: string, ...rest: ReadonlyArray<unknown>): void => {
  rest.forEach(spareRuns)
  add(name, bodyOf(rest))
}
const skip = (_name: string, ..._rest: ReadonlyArray<unknown>): void => undefined

const forEach =
  (spread: boolean) =>
  (cases: ReadonlyArray<unknown>) =>
  (name: string, ...rest: ReadonlyArray<unknown>): void => {
    const body = bodyOf(rest)
    cases.forEach((each, index) => {
      const args: ReadonlyArray<unknown> = spread && Array.isArray(each) ? each : [each]
      add(`${name} [${index}]`, (context) => (spread ? body(...args) : body(each, context)))
    })
  }

export const it = Object.assign(test, {
  each: forEach(true),
  for: forEach(false),
  skip,
  skipIf: (condition: boolean) => (condition ? skip : test),
  runIf: (condition: boolean) => (condition ? test : skip)
})
export { it as test }

const suite = (name: string, ...rest: ReadonlyArray<unknown>): void => {
  const outside = names
  names = [...outside, name]
  bodyOf(rest)()
  names = outside
}

export const describe = Object.assign(suite, {
  skip,
  skipIf: (condition: boolean) => (condition ? skip : suite),
  runIf: (condition: boolean) => (condition ? suite : skip)
})

/** A hook that is not run would be a test that is not the one that was written. */
const noHooks = (): never => {
  throw new Error("The warm runner knows no hooks of vitest: mutate this module by another runner.")
}
export { noHooks as afterAll, noHooks as afterEach, noHooks as beforeAll, noHooks as beforeEach }
