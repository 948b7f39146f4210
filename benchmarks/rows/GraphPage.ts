/**
 * Drawing the graph of a run's page, as every run does at its end: 1,000 nodes that one node reads, and a chain of
 * 3,000.
 *
 * Not the page's other parts, which grow with the number of nodes alone. The figure is the processor's seconds of the
 * slower of the two, so that a busy machine changes it less.
 */
import { Effect, Schema } from "effect"
import { graphSvg } from "../../src/cli/report/Graph.ts"
import { type AnyRef, type Pipeline, pipeline, value, whole } from "../../src/dag/index.ts"
import { empty } from "../../src/run/Progress.ts"
import type { Benchmark } from "../Row.ts"

const Count = value("count", Schema.Number)
const nodeOf = (ports: ReadonlyArray<string>) =>
  whole(
    {
      id: "node",
      version: "1",
      params: Schema.Struct({}),
      inputs: Object.fromEntries(ports.map((port) => [port, Count])),
      outputs: { count: Count }
    },
    () => Effect.succeed({ count: Effect.succeed(1) })
  )

const first = nodeOf([])
const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** `n` nodes that one node reads. */
export const wide = (n: number): Pipeline => {
  const feeders = range(n).map((i) => [`p${i}`, first.named(`n${i}`)({}, {}).out.count] as const)
  const join = nodeOf(feeders.map(([port]) => port)).named("join")
  return pipeline("wide", { count: join(Object.fromEntries(feeders), {}).out.count })
}

/** A chain of `n` nodes. */
export const deep = (n: number): Pipeline => {
  const next = nodeOf(["count"])
  let count: AnyRef = first.named("n0")({}, {}).out.count
  for (const i of range(n - 1)) count = next.named(`n${i + 1}`)({ count } as never, {}).out.count
  return pipeline("deep", { count })
}

const LIMIT_SECONDS = 1

/** The processor's seconds that drawing takes. */
const drawing = (graph: Pipeline): { readonly seconds: number; readonly boxes: number } => {
  const before = process.cpuUsage()
  const svg = graphSvg(graph, empty)
  const { system, user } = process.cpuUsage(before)
  return { seconds: (user + system) / 1e6, boxes: svg.split('class="node ').length - 1 }
}

export const graphPage: Benchmark = {
  name: "graph-page",
  about: "Drawing a run's graph: 1,000 nodes wide, 3,000 deep; processor time of the slower",
  unit: "s",
  better: "less",
  goal: 1,
  peerName: `a limit of ${LIMIT_SECONDS} s`,
  run: async (context) => {
    const [across, down] = context.size === "tiny" ? [wide(20), deep(20)] : [wide(1000), deep(3000)]
    const rounds = range(3).map(() => [drawing(across), drawing(down)] as const)
    const drawn = rounds.every(([a, b]) => a.boxes === across.nodes.length && b.boxes === down.nodes.length)
    return {
      ours: rounds.map(([a, b]) => Math.max(a.seconds, b.seconds)),
      peer: [LIMIT_SECONDS],
      note: `${across.nodes.length} and ${down.nodes.length} boxes; the first round ${rounds[0]![0].seconds.toFixed(2)} and ${rounds[0]![1].seconds.toFixed(2)} s`,
      wrong: drawn ? undefined : "a node has no box"
    }
  }
}
