/** Rows, steps and tokens of a stage before it runs: those that its batches will have. */
import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { assumedAmount, type Batching, exactAmount } from "../../src/cost/Data.ts"
import { phiAgain, phiFlops } from "../../src/model/Flops.ts"
import { phi2 } from "../../src/model/Published.ts"
import { packedPlan } from "../../src/training/BatchPlan.ts"

const Count = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))
const lengths = (tokens: ReadonlyArray<number>) => ({
  tokens,
  labels: tokens.map((n) => n >> 1),
  words: tokens,
  pictured: tokens.map(() => 1)
})
const base = { batch: 4, microBatch: 2, epochs: 2, seed: 0 }

it("counts packed rows whole, and padded ones to the longest of their micro-batch, a multiple of eight", () => {
  const packed = exactAmount(lengths([10, 20, 30]), { ...base, layout: { kind: "packed", tokens: 32 } }, 1)
  expect(packed).toMatchObject({ rows: 4, steps: 2, tokens: 4 * 32, labels: 2 * 30, exact: true })
  const padded = exactAmount(lengths([9, 9, 17]), { ...base, microBatch: 4, layout: { kind: "shuffled" } }, 1)
  expect(padded).toMatchObject({ rows: 6, steps: 2, tokens: 6 * 24, images: 6, micro: { rows: 3, time: 24 } })
})

it.prop(
  "takes each example once an epoch whatever the batch, the layout and the number of devices; more devices change no step",
  {
    tokens: Schema.Array(Count(64)).check(Schema.isMinLength(1), Schema.isMaxLength(40)),
    batch: Count(9),
    microBatch: Count(5),
    world: Count(4),
    kind: Schema.Literals(["packed", "shuffled", "grouped"])
  },
  ({ batch, kind, microBatch, tokens, world }) => {
    const batching: Batching = { ...base, batch, microBatch, layout: { kind, tokens: 64 } }
    const one = exactAmount(lengths(tokens), batching, 1)
    const many = exactAmount(lengths(tokens), batching, world)
    expect(one.labels).toBe(2 * tokens.reduce((sum, n) => sum + (n >> 1), 0))
    expect(one.pairs).toBe(tokens.reduce((sum, n) => sum + n * n, 0))
    expect(one.tokens).toBeGreaterThanOrEqual(2 * tokens.reduce((sum, n) => sum + n, 0))
    expect([many.rows, many.steps, many.labels]).toEqual([one.rows, one.steps, one.labels])
    expect(many.micro.rows).toBeLessThanOrEqual(microBatch)
    if (kind === "packed") expect(one.steps).toBe(packedPlan(tokens, { tokens: 64, ...base, batch }).steps)
  }
)

it("from published numbers comes to what equal rows would: same steps, tokens and labels", () => {
  const batching: Batching = { ...base, batch: 8, microBatch: 4, layout: { kind: "shuffled" } }
  const real = exactAmount(lengths(Array.from({ length: 100 }, () => 48)), batching, 1)
  const assumed = assumedAmount({ examples: 100, text: 44, labels: 24, pictured: 1, source: "" }, batching, 1, {
    held: 0,
    longest: 2048,
    patches: 4
  })
  for (const name of ["rows", "steps", "tokens", "labels", "pairs", "images"] as const)
    expect(assumed[name], name).toBe(real[name])
  expect(assumed.exact).toBe(false)
})

it("recomputing every block costs a forward pass: a third more of a model that is trained, half of one that is not", () => {
  const tokens = { tokens: 1000, labels: 0, pairs: 5000 }
  expect(phiAgain(phi2, tokens, true) / phiFlops(phi2, tokens, true)).toBeCloseTo(1 / 3)
  expect(phiAgain(phi2, { ...tokens, pairs: 0 }, true) / phiFlops(phi2, { ...tokens, pairs: 0 }, false)).toBeCloseTo(
    1 / 2
  )
  expect(phiAgain(phi2, tokens, 2) * 2).toBe(phiAgain(phi2, tokens, true))
  expect(phiAgain(phi2, tokens, false)).toBe(0)
})
