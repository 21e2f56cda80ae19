/**
 * Puts the clock of this process off by so many milliseconds: the `skew` of the process's argument. Imported before
 * all else, so that whatever asks for the time gets the wrong one.
 */
const { skew } = JSON.parse(process.argv[2] ?? "{}") as { readonly skew: number }

const RealDate = Date

class SkewedDate extends RealDate {
  constructor(...given: ReadonlyArray<never>) {
    if (given.length === 0) super(SkewedDate.now())
    else super(...(given as unknown as [number]))
  }
  static override now(): number {
    return RealDate.now() + skew
  }
}

globalThis.Date = SkewedDate as DateConstructor
