/** What every framework has to keep under a budget, on each API that it speaks: one suite, run by a test file each. */
import { assert, describe, it } from "@effect/vitest"
import { BudgetExceededError } from "agent-budget"
import {
  assertBooks,
  failureOf,
  reservedNano,
  settled,
  withSession,
  type Setup,
  type Verdict
} from "./openAi.ts"
import { isRecord } from "./providerBill.ts"
import { Behaviours, Gate, type Behaviour } from "./SimulatedProvider.ts"

/** What a framework does for its caller. */
export interface Face {
  /** One answer. `retries`: as the framework does unless told otherwise, or not at all. */
  readonly whole: (retries: "its own" | "none", signal?: AbortSignal) => Promise<unknown>
  /** A stream, read to its end or left after some pieces. */
  readonly streamed: (
    retries: "its own" | "none",
    options?: { readonly signal?: AbortSignal; readonly leaveAfter?: number; readonly onPiece?: () => void }
  ) => Promise<unknown>
  /** An answer for which the tool `weather` is run: two round trips. */
  readonly tools: (kind: "whole" | "streamed") => Promise<unknown>
}

export type Api = "chat" | "responses"

export interface Framework {
  readonly name: string
  readonly face: (setup: Setup, api: Api) => Face
  /** Whether leaving a stream ends its request. Where it does not, it stays held until the session is closed. */
  readonly leaves: boolean
}

export const asksForWeather: Behaviour = { toolCalls: [{ name: "weather", arguments: '{"city":"Rome"}' }] }

const statuses: ReadonlyArray<readonly [number, Verdict]> = [
  [400, "nothing"],
  [401, "nothing"],
  [404, "nothing"],
  [429, "nothing"],
  [500, "assumed"],
  [503, "assumed"]
]

const poor = { budgetUsd: "0.00001" }

export const frameworkSuite = (framework: Framework): void => {
  for (const api of ["chat", "responses"] as const) {
    describe(`${framework.name}, ${api}`, () => {
      const face = (setup: Setup): Face => framework.face(setup, api)

      it(
        "an answer is booked as billed",
        withSession(async (setup) => {
          await face(setup).whole("its own")
          await assertBooks(setup, "metered")
        })
      )

      it(
        "a stream read to its end is booked as billed",
        withSession(async (setup) => {
          await face(setup).streamed("its own")
          await assertBooks(setup, "metered")
        })
      )

      for (const kind of ["whole", "streamed"] as const) {
        it(
          `each round trip of a tool's call is booked as billed (${kind})`,
          withSession(async (setup) => {
            setup.provider.next(asksForWeather)
            await face(setup).tools(kind)
            assert.strictEqual(setup.provider.requests.length, 2)
            for (const { body } of setup.provider.requests) {
              assert.strictEqual(isRecord(body) && body["stream"] === true, kind === "streamed")
            }
            assert.strictEqual(setup.session.getSummary().calls, 2)
            await assertBooks(setup, "metered")
          })
        )
      }

      for (const [status, verdict] of statuses) {
        for (const kind of ["whole", "streamed"] as const) {
          it(
            `${status} is charged: ${verdict} (${kind})`,
            withSession(async (setup) => {
              setup.provider.setBehaviour(() => Behaviours.status(status, { billed: verdict === "assumed" }))
              await failureOf(face(setup)[kind]("none"))
              await assertBooks(setup, verdict)
            })
          )
        }
      }

      it(
        "an abort before the answer is charged whole",
        withSession(async (setup) => {
          setup.provider.next(Behaviours.hangBeforeHeaders)
          const controller = new AbortController()
          const call = failureOf(face(setup).whole("its own", controller.signal))
          await setup.provider.arrived(1)
          controller.abort()
          await call
          assert.strictEqual(setup.provider.requests.length, 1)
          await assertBooks(setup, "assumed")
        })
      )

      it(
        "an abort in the middle of a stream is charged whole",
        withSession(async (setup) => {
          const gate = new Gate()
          gate.release(6)
          setup.provider.next(Behaviours.stepped(gate))
          const controller = new AbortController()
          const { signal } = controller
          await face(setup)
            .streamed("its own", { signal, onPiece: () => controller.abort() })
            .catch(() => undefined)
          await settled(setup.session)
          gate.open()
          await assertBooks(setup, "assumed")
        })
      )

      it(
        `a stream that is left is charged whole${framework.leaves ? "" : ", when the session is closed"}`,
        withSession(async (setup) => {
          const gate = new Gate()
          gate.release(6)
          setup.provider.next(Behaviours.stepped(gate))
          await face(setup).streamed("its own", { leaveAfter: 1 })
          if (!framework.leaves) {
            assert.isAbove(reservedNano(setup.session), 0)
            await setup.session.close()
          }
          await settled(setup.session)
          gate.open()
          await assertBooks(setup, "assumed")
          assert.strictEqual(setup.provider.requests.length, 1)
        })
      )

      for (const how of ["destroy", "end"] as const) {
        it(
          `a stream that the server cuts is charged whole (${how})`,
          withSession(async (setup) => {
            setup.provider.next(Behaviours.streamCut(6, how))
            let pieces = 0
            await face(setup)
              .streamed("none", { onPiece: () => pieces++ })
              .catch(() => undefined)
            assert.isAbove(pieces, 0)
            assert.strictEqual(setup.provider.requests.length, 1)
            await assertBooks(setup, "assumed")
          })
        )
      }

      for (const kind of ["whole", "streamed"] as const) {
        it(
          `a refusal is recognised, not sent and not tried again (${kind})`,
          withSession(async (setup) => {
            const error = await failureOf(face(setup)[kind]("its own"))
            assert.isTrue(BudgetExceededError.is(error), String(error))
            assert.strictEqual(setup.session.getSummary().refused, 1)
            assert.strictEqual(setup.provider.requests.length, 0)
            await assertBooks(setup, "nothing")
          }, poor)
        )
      }
    })
  }
}
