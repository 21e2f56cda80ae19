/** A collector of telemetry on the loopback interface, that keeps what it is sent by OTLP as JSON. */
import * as http from "node:http"
import { text } from "node:stream/consumers"
import { Schema } from "effect"

const Attributes = Schema.Array(
  Schema.Struct({
    key: Schema.String,
    value: Schema.Struct({
      stringValue: Schema.optional(Schema.String),
      intValue: Schema.optional(Schema.Union([Schema.Number, Schema.String])),
      doubleValue: Schema.optional(Schema.Number),
      boolValue: Schema.optional(Schema.Boolean)
    })
  })
)

const Traces = Schema.fromJsonString(
  Schema.Struct({
    resourceSpans: Schema.Array(
      Schema.Struct({
        scopeSpans: Schema.Array(
          Schema.Struct({
            spans: Schema.Array(
              Schema.Struct({
                name: Schema.String,
                kind: Schema.Number,
                spanId: Schema.String,
                parentSpanId: Schema.optional(Schema.String),
                attributes: Attributes
              })
            )
          })
        )
      })
    )
  })
)

const Point = Schema.Struct({
  attributes: Attributes,
  count: Schema.optional(Schema.Union([Schema.Number, Schema.String])),
  sum: Schema.optional(Schema.Number),
  asDouble: Schema.optional(Schema.Number),
  asInt: Schema.optional(Schema.Union([Schema.Number, Schema.String]))
})

const Metrics = Schema.fromJsonString(
  Schema.Struct({
    resourceMetrics: Schema.Array(
      Schema.Struct({
        scopeMetrics: Schema.Array(
          Schema.Struct({
            metrics: Schema.Array(
              Schema.Struct({
                name: Schema.String,
                unit: Schema.optional(Schema.String),
                histogram: Schema.optional(Schema.Struct({ dataPoints: Schema.Array(Point) })),
                sum: Schema.optional(Schema.Struct({ dataPoints: Schema.Array(Point) }))
              })
            )
          })
        )
      })
    )
  })
)

const plain = (attributes: typeof Attributes.Type): Readonly<Record<string, string | number | boolean>> =>
  Object.fromEntries(
    attributes.map(({ key, value: { boolValue, doubleValue, intValue, stringValue } }) => [
      key,
      stringValue ?? doubleValue ?? boolValue ?? Number(intValue)
    ])
  )

export interface Span {
  readonly name: string
  readonly kind: number
  readonly id: string
  readonly parent: string | undefined
  readonly attributes: Readonly<Record<string, string | number | boolean>>
}

export interface Series {
  readonly name: string
  readonly unit: string | undefined
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly count: number | undefined
  readonly sum: number
}

/** The newest state of each series: what is exported adds up from the start. */
const seriesOf = (body: string): ReadonlyArray<Series> =>
  Schema.decodeUnknownSync(Metrics)(body).resourceMetrics.flatMap(({ scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ histogram, name, sum, unit }) =>
        [...(histogram?.dataPoints ?? []), ...(sum?.dataPoints ?? [])].map((point) => ({
          name,
          unit,
          attributes: plain(point.attributes),
          count: point.count === undefined ? undefined : Number(point.count),
          sum: point.sum ?? point.asDouble ?? Number(point.asInt)
        }))
      )
    )
  )

const spansOf = (body: string): ReadonlyArray<Span> =>
  Schema.decodeUnknownSync(Traces)(body).resourceSpans.flatMap(({ scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ attributes, kind, name, parentSpanId: parent, spanId: id }) => ({
        name,
        kind,
        id,
        parent,
        attributes: plain(attributes)
      }))
    )
  )

export interface Collector extends AsyncDisposable {
  readonly url: string
  readonly spans: () => ReadonlyArray<Span>
  readonly series: () => ReadonlyArray<Series>
  /** All that arrived, as it arrived. */
  readonly raw: () => string
}

export const start = async (): Promise<Collector> => {
  const received: Array<{ readonly path: string; readonly body: string }> = []
  const server = http.createServer((request, response) => {
    void text(request).then((body) => {
      received.push({ path: request.url ?? "", body })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const at = (path: string): ReadonlyArray<string> =>
    received.filter((each) => each.path === path).map(({ body }) => body)
  return {
    url: `http://127.0.0.1:${port}`,
    spans: () => at("/v1/traces").flatMap(spansOf),
    series: () => seriesOf(at("/v1/metrics").at(-1) ?? '{"resourceMetrics":[]}'),
    raw: () => received.map(({ body }) => body).join("\n"),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
