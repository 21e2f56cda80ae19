/**
 * A line whose first has the lowest ticket, in whatever order they came. It is a heap: an array that is shifted moves all
 * who are behind the first, which for 100,000 who leave one after the other is half a minute.
 */
export class TicketLine<Ticketed extends { readonly ticket: number }> {
  #heap: Array<Ticketed> = []

  get length(): number {
    return this.#heap.length
  }

  get first(): Ticketed | undefined {
    return this.#heap[0]
  }

  join(one: Ticketed): void {
    const heap = this.#heap
    const { ticket } = one
    let at = heap.length
    while (at > 0) {
      const above = (at - 1) >> 1
      const other = heap[above]
      if (other === undefined || other.ticket <= ticket) break
      heap[at] = other
      at = above
    }
    heap[at] = one
  }

  /** Takes the first out. */
  shift(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    const { ticket } = last
    let at = 0
    for (;;) {
      const left = heap[2 * at + 1]
      const right = heap[2 * at + 2]
      if (left === undefined) break
      const isRight = right !== undefined && right.ticket < left.ticket
      const lower = isRight ? right : left
      if (ticket <= lower.ticket) break
      heap[at] = lower
      at = 2 * at + (isRight ? 2 : 1)
    }
    heap[at] = last
  }

  /** Takes out all but those who are to stay. */
  keep(stays: (one: Ticketed) => boolean): void {
    const before = this.#heap
    this.#heap = []
    for (const one of before) if (stays(one)) this.join(one)
  }
}
