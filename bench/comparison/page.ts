/** docs/comparison.md, from what was measured. */
import { format } from "prettier"
import { ours } from "./ours.ts"
import type { Peer } from "./peer.ts"
import type { Outcome } from "./trials.ts"

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [head = [], ...rest] = rows
  return [head, head.map(() => "---"), ...rest].map((cells) => `| ${cells.join(" | ")} |`).join("\n")
}

const nameOf = (peer: Peer): string => (ours.includes(peer) ? `**${peer.name}**` : peer.name)

const raced = (outcomes: ReadonlyArray<Outcome>): string =>
  table([
    [
      "200 calls at once, $0.50",
      "calls sent (50 is right)",
      "overshoot",
      "paid answers lost to the caller",
      "its own books say",
      "sent in turn, until refused"
    ],
    ...outcomes.map((outcome) => [
      nameOf(outcome.peer),
      `${outcome.sent}`,
      `$${outcome.overshootUsd.toFixed(2)}`,
      `${outcome.lost}`,
      outcome.booked,
      `${outcome.sentInTurn}`
    ])
  ])

const priced = (outcomes: ReadonlyArray<Outcome>): string =>
  table([
    [
      "booked / billed",
      "stream, read to its end",
      "stream, left after a chunk",
      "unknown model",
      "served by a dated snapshot",
      "cached input"
    ],
    ...outcomes.map((outcome) => [
      nameOf(outcome.peer),
      outcome.stream,
      outcome.leftEarly,
      outcome.unknownModel,
      outcome.snapshot,
      outcome.cached
    ])
  ])

const overheadTable = (overheads: ReadonlyMap<Peer, number>): string => {
  const ourOwn = (kind: Peer["kind"]): number =>
    [...overheads].find(([peer]) => ours.includes(peer) && peer.kind === kind)?.[1] ?? NaN
  return table([
    ["overhead of a call, one at a time", "over ours of its kind", "CPU, us", "kind"],
    ...[...overheads].map(([peer, overhead]) => [
      nameOf(peer),
      (overhead / ourOwn(peer.kind)).toFixed(2),
      overhead.toFixed(overhead < 10 ? 1 : 0),
      peer.kind === "client" ? "wraps the client" : "told the price"
    ])
  ])
}

const used = (outcomes: ReadonlyArray<Outcome>): string =>
  table([
    ["what", "version", "how it is used", "note"],
    ...outcomes.map(({ peer }) => [nameOf(peer), peer.version, peer.call, peer.note])
  ])

export const page = (
  outcomes: ReadonlyArray<Outcome>,
  overheads: ReadonlyMap<Peer, number>
): Promise<string> =>
  format(
    `# Beside its peers

Written by \`npm run bench:peers\`, last on ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}. The first run installs the peers into \`bench/peers\`, which is no part of the package. It takes a minute or two, sends nothing over the network after that, and overwrites this page.

All of them run the same calls on the same budget against a provider inside the process, which answers after 5 ms and bills what reaches it. A call is 1,000 tokens in and at most 750 out on gpt-4o, and really costs $0.01.

## Under concurrency

${raced(outcomes)}

A peer that checks what is spent before a call and books after it lets in whoever asks while the first calls are open. One at a time, such a peer stops about where it should: that is the last column.

## Truth

${priced(outcomes)}

The streams bill 1,000 tokens in and 100 out, and send their usage at their end. A stream that is left is billed whole here; what a real provider bills for it nobody hears, so that above the bill is safe and below it is not. The snapshot is what OpenAI's answers name: gpt-4o is asked for, gpt-4o-2024-08-06 answers. In all other columns the answer names the model that was asked for. Of the cached call, 800 tokens are billed at half. Where the caller says what a call costs there is nothing to compare: not offered. That goes for our own \`withBudget\` as well.

## Overhead

${overheadTable(overheads)}

CPU time of the process beyond the same calls without the guard, the median of interleaved pairs in which all take turns, over 500 calls a batch, or 5,000 where one takes less than 50 us. Ours of the same kind, in the same run, is 1; absolute times differ from machine to machine. A counter takes less because it does less. All share one process here, and its caches and compiled code with it: [benchmarks.md](benchmarks.md) measures ours alone.

## How each is used

${used(outcomes)}

Not here, because npm did not have them under these names when this was written: @agentbudget/agentbudget, @reaatech/agent-budget, floe-guard.
`,
    { parser: "markdown", proseWrap: "preserve" }
  )
