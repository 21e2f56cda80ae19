/** How many elements of arrays stand behind what `shift` and `splice` take out, or put in, while something runs at once. */
export const movedBy = (run: () => void): number => {
  const own = Array.prototype
  const { shift, splice } = own
  let moved = 0
  const counting = (original: (...given: Array<never>) => unknown) =>
    function (this: ReadonlyArray<unknown>, ...given: ReadonlyArray<unknown>): unknown {
      const [start = 0] = given
      moved += this.length - Math.min(this.length, Number(start))
      return Reflect.apply(original, this, given)
    }
  try {
    Object.assign(own, { shift: counting(shift), splice: counting(splice) })
    run()
  } finally {
    Object.assign(own, { shift, splice })
  }
  return moved
}
