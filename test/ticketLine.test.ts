/** The line itself: who is the first of it, whoever came when. */
import { assert, describe, it } from "@effect/vitest"
import { TicketLine } from "../src/internal/ticketLine.ts"
import { random } from "./utils/random.ts"

interface Ticketed {
  readonly ticket: number
}

const served = (line: TicketLine<Ticketed>): ReadonlyArray<number> => {
  const tickets: Array<number> = []
  for (let { first } = line; first !== undefined; { first } = line) {
    tickets.push(first.ticket)
    line.shift()
  }
  return tickets
}

describe("a line of tickets", () => {
  it("has the lowest as its first, while others come and go in any order", () => {
    const { below, chance } = random(7)
    for (let length = 0; length < 100; length++) {
      const line = new TicketLine<Ticketed>()
      let model: Array<number> = []
      for (let step = 0; step < length; step++) {
        if (chance(0.3)) {
          line.shift()
          model = model.slice(1)
        } else {
          const ticket = below(2 * length)
          line.join({ ticket })
          model = [...model, ticket].sort((one, other) => one - other)
        }
        assert.strictEqual(line.first?.ticket, model[0])
        assert.strictEqual(line.length, model.length)
      }
      line.keep(({ ticket }) => ticket % 3 !== 0)
      const kept = model.filter((ticket) => ticket % 3 !== 0)
      assert.strictEqual(line.length, kept.length)
      assert.deepStrictEqual(served(line), kept)
    }
  })

  it("is empty after its last, and stays so", () => {
    const line = new TicketLine<Ticketed>()
    line.join({ ticket: 2 })
    line.join({ ticket: 1 })
    assert.deepStrictEqual(served(line), [1, 2])
    line.shift()
    assert.isUndefined(line.first)
    assert.strictEqual(line.length, 0)
  })
})
