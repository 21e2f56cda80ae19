/** What every peer is put through. */
import { cpu, median } from "../measure.ts"
import {
  meansOf,
  mostlyCached,
  Provider,
  request,
  short,
  whole,
  type Ask,
  type Guard,
  type Peer
} from "./peer.ts"

export interface Outcome {
  readonly peer: Peer
  readonly sent: number
  readonly overshootUsd: number
  readonly lost: number
  readonly booked: string
  readonly sentInTurn: number
  readonly stream: string
  readonly leftEarly: string
  readonly unknownModel: string
  readonly snapshot: string
  readonly cached: string
}

const notOffered = "not offered"

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Cents at least, and no digit that is not there. */
const dollars = (amount: number): string => `$${amount.toFixed(6).replace(/0{1,4}$/, "")}`

const inUnit = (unit: Peer["unit"], amount: number): string =>
  unit === "usd" ? dollars(amount) : `${amount.toLocaleString("en")} ${unit}`

/** Until nothing more is sent: what waits without an end never says that it is done. */
const quiet = async (provider: Provider): Promise<void> => {
  for (let seen = -1; seen !== provider.sent;) {
    seen = provider.sent
    await pause(500)
  }
}

const race = async (peer: Peer): Promise<Pick<Outcome, "sent" | "overshootUsd" | "lost" | "booked">> => {
  const provider = new Provider({ delay: 5, usage: whole })
  const guard = await peer.open(meansOf(provider))
  const calls = Array.from({ length: 200 }, () => guard.ask(request))
  const settled = Promise.allSettled(calls)
  if (guard.giveUp !== undefined) {
    await quiet(provider)
    await guard.giveUp().catch(() => undefined)
  }
  const answered = (await settled).filter((call) => call.status === "fulfilled").length
  const booked = guard.booked === undefined ? notOffered : inUnit(peer.unit, await guard.booked())
  await guard.close?.()
  const overshootUsd = Math.max(0, provider.billedUsd - 0.5)
  return { sent: provider.sent, overshootUsd, lost: provider.sent - answered, booked }
}

/** One call at a time, until the first is refused: what an agent in a loop does. */
const inTurn = async (peer: Peer): Promise<number> => {
  const provider = new Provider({ delay: 0, usage: whole })
  const guard = await peer.open(meansOf(provider))
  const answers = async (): Promise<boolean> => {
    const call = guard.ask(request).then(
      () => true,
      () => false
    )
    return await Promise.race([call, pause(1_000).then(() => false)])
  }
  while (provider.sent < 200 && (await answers()));
  await guard.giveUp?.().catch(() => undefined)
  await guard.close?.()
  return provider.sent
}

type Use = (guard: Guard, asked: Ask) => Promise<unknown>

const read: Use = async (guard, asked) => {
  const stream = (await guard.ask(asked)) as AsyncIterable<unknown>
  for await (const _ of stream);
}

const leave: Use = async (guard, asked) => {
  const stream = (await guard.ask(asked)) as AsyncIterable<unknown>
  for await (const _ of stream) break
}

const plainly: Use = (guard, asked) => guard.ask(asked)

/** One call, and what was booked for it beside what was billed. */
const one = async (
  peer: Peer,
  serving: ConstructorParameters<typeof Provider>[0],
  asked: Ask,
  use: Use
): Promise<string> => {
  if (peer.kind === "manual") return notOffered
  const provider = new Provider(serving)
  const guard = await peer.open(meansOf(provider))
  const failed = await use(guard, asked).then(
    () => false,
    () => true
  )
  await pause(30)
  if (provider.sent === 0) return "refused before it is sent"
  const booked = guard.booked === undefined ? notOffered : inUnit(peer.unit, await guard.booked())
  await guard.close?.()
  const billed = inUnit(peer.unit, peer.unit === "usd" ? provider.billedUsd : provider.billedTokens)
  return `${booked} / ${billed}${failed ? ", answer lost" : ""}`
}

const streaming: Ask = { ...request, stream: true, stream_options: { include_usage: true } }

const details = async (
  peer: Peer
): Promise<Pick<Outcome, "stream" | "leftEarly" | "unknownModel" | "snapshot" | "cached">> => ({
  stream: await one(peer, { delay: 5, usage: short }, streaming, read),
  leftEarly: await one(peer, { delay: 5, usage: short }, streaming, leave),
  unknownModel: await one(peer, { delay: 5, usage: whole }, { ...request, model: "gpt-99" }, plainly),
  snapshot: await one(peer, { delay: 5, usage: whole, servedBy: "gpt-4o-2024-08-06" }, request, plainly),
  cached: await one(peer, { delay: 5, usage: mostlyCached }, request, plainly)
})

/** CPU time of a call, in microseconds, with the peer or without. */
const batch = async (peer: Peer, isGuarded: boolean, times: number): Promise<number> => {
  const means = meansOf(new Provider({ delay: 0, usage: whole }), 1_000_000)
  // Afresh each time: some keep every call, and take longer the more they have.
  const guard = await peer.open(means)
  const bare = (): Promise<unknown> =>
    peer.kind === "client" ? means.client.chat.completions.create(request) : means.pay()
  const { loop } = guard
  const spent = await cpu(async () => {
    if (loop !== undefined) await loop(times, isGuarded)
    else for (let done = 0; done < times; done++) await (isGuarded ? guard.ask(request) : bare())
  })
  await guard.close?.()
  return spent / times
}

/**
 * What a call takes beyond the same call without the peer: CPU time, microseconds, the median of pairs. The peers
 * take turns, so that what else the machine does meets all of them.
 */
export const overheads = async (peers: ReadonlyArray<Peer>): Promise<ReadonlyMap<Peer, number>> => {
  const measured = peers.map((peer) => ({ peer, times: 500, differences: new Array<number>() }))
  for (let round = -8; round < 11; round++) {
    for (const each of measured) {
      const isGuardedFirst = round % 2 === 0
      const first = await batch(each.peer, isGuardedFirst, each.times)
      const second = await batch(each.peer, !isGuardedFirst, each.times)
      const [guarded, bare] = isGuardedFirst ? [first, second] : [second, first]
      if (round >= 0) each.differences.push(guarded - bare)
      // A few microseconds are measured over more calls.
      else if (each.peer.kind === "manual") each.times = guarded < 50 ? 5_000 : 500
    }
  }
  return new Map(measured.map(({ peer, differences }) => [peer, median(differences)]))
}

export const tried = async (peer: Peer): Promise<Outcome> => ({
  peer,
  ...(await race(peer)),
  sentInTurn: await inTurn(peer),
  ...(await details(peer))
})
