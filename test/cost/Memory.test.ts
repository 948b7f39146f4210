/** Memory adds up, shrinks and grows the way it should, and says what would make a stage fit. */
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { cardCalled } from "../../src/cost/Cards.ts"
import { checkpointBytes } from "../../src/cost/Disk.ts"
import { remedies, unfit } from "../../src/cost/Fit.ts"
import { hoursOf } from "../../src/cost/Hours.ts"
import { type Held, memoryOf } from "../../src/cost/Memory.ts"
import { countOf, weightsOf } from "../../src/cost/Parameters.ts"
import { flopsOf, type StageCost } from "../../src/cost/Stages.ts"
import { clipShapes } from "../../src/model/clip/Names.ts"
import { defaultLora, type Lora } from "../../src/model/lora/Lora.ts"
import { clipL336, phi2 } from "../../src/model/Published.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"

const llava = {
  text: phi2,
  vision: clipL336,
  projectorActivation: "erf",
  imageToken: 50_295,
  featureLayer: -2
} as const
const held: Held = {
  llava,
  weights: weightsOf(llava, "language", false),
  tower: "none",
  recompute: true,
  dropout: true,
  engine: "torch-bf16",
  world: 1,
  micro: { rows: 4, time: 2048, labels: 5800, images: 0 },
  microBatches: 32
}
const bytes = (change: Partial<Held> = {}) => memoryOf({ ...held, ...change }).bytes
const Count = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))

it("a checkpoint has weights and two moments, and the best weights where they are kept", () => {
  const weights = weightsOf(llava, "projector", true)
  const of = (settings: object) => checkpointBytes({ settings: settings as StageCost["settings"], weights })
  expect(of({})).toBe(3 * 4 * 9_180_160)
  expect(of({ evaluateEvery: 10 })).toBe(of({}))
  expect(of({ evaluateEvery: 10, keepBest: true })).toBe(4 * 4 * 9_180_160)
})

describe("parameters", () => {
  it("are those that the models' pages state", () => {
    expect(countOf(phiShapes(phi2))).toBe(2_779_683_840)
    expect(countOf(clipShapes(clipL336))).toBe(303_507_456)
    expect(weightsOf(llava, "projector", true)).toMatchObject({
      trained: 9_180_160,
      frozen: 2_779_683_840 + 303_507_456
    })
  })

  it("of a tower that is trained are those that features depend on: 23 layers of 24, no last norm", () => {
    const { frozen, trained } = weightsOf(llava, "all", true)
    expect(trained + frozen).toBe(2_779_683_840 + 9_180_160 + 303_507_456)
    expect(frozen).toBe(12 * 1024 ** 2 + 13 * 1024 + 2 * 1024)
  })
})

describe("memory of a device", () => {
  it("holds weights, moments and gradients in float32: 20 bytes a weight, less on more devices", () => {
    const state = (world: number) =>
      memoryOf({ ...held, world }).terms.reduce((sum, term) => sum + (term.guess ? 0 : term.bytes), 0)
    expect(state(1)).toBe(20 * 2_779_683_840)
    // Two devices: weights, gradient, half the moments; and, at the pass's end, one weight's gradient.
    const end = 4 * 2560 * 51_200
    expect([0, end]).toContain(state(2) - 12 * 2_779_683_840)
    expect([0, end]).toContain(state(8) - 9 * 2_779_683_840)
  })

  it.prop(
    "is the sum of its terms, none of them nothing; less with more devices, more with more rows",
    { world: Count(16), rows: Count(16), recompute: Schema.Union([Schema.Boolean, Count(8)]), bf16: Schema.Boolean },
    ({ bf16, recompute, rows, world }) => {
      const engine = bf16 ? "torch-bf16" : "torch"
      const micro = { ...held.micro, rows }
      const { bytes: all, terms } = memoryOf({ ...held, world, micro, recompute, engine })
      expect(all).toBe(terms.reduce((sum, term) => sum + term.bytes, 0))
      expect(terms.every((term) => term.bytes > 0)).toBe(true)
      expect(bytes({ world: world + 1, micro, recompute, engine })).toBeLessThan(all + 1)
      expect(bytes({ world, micro: { ...micro, rows: rows + 1 }, recompute, engine })).toBeGreaterThanOrEqual(all)
      expect(bytes({ world, micro, recompute: true, engine })).toBeLessThanOrEqual(all)
      expect(bytes({ world, micro, recompute: false, engine })).toBeGreaterThanOrEqual(all)
    }
  )
})

describe("adapters", () => {
  const lora = { ...defaultLora, rank: 64 }
  const at = (quantise: Lora["quantise"]) => {
    const own = { ...lora, quantise }
    return memoryOf({ ...held, lora: own, weights: weightsOf(llava, "language", false, own) })
  }
  const term = (of: ReturnType<typeof at>, name: string) => of.terms.find((one) => one.name === name)?.bytes

  it("of rank r on a matrix of O x I are r (O + I) weights; everything else of the model is frozen", () => {
    const { frozen, largest, quantised, trained } = weightsOf(llava, "language", false, lora)
    expect(trained).toBe(32 * 64 * (4 * (2560 + 2560) + 2 * (2560 + 10_240)))
    expect(largest).toBe(64 * 10_240)
    expect(frozen).toBe(2_779_683_840)
    expect(quantised).toBe(0)
    const both = weightsOf(llava, "both", true, lora)
    expect(both.trained).toBe(trained + 9_180_160)
    expect(both.frozen).toBe(2_779_683_840 + 303_507_456)
  })

  it("have moments and gradients for themselves alone; in NF4 the blocks' matrices take 0.516 bytes a weight", () => {
    const [plain, packed] = [at("none"), at("nf4")]
    const matrices = 32 * (4 * 2560 ** 2 + 2 * 2560 * 10_240)
    const { trained } = weightsOf(llava, "language", false, lora)
    expect(term(plain, "frozen weights, bf16")).toBe(2 * 2_779_683_840)
    expect(term(packed, "frozen weights, bf16")).toBe(2 * (2_779_683_840 - matrices))
    expect(term(packed, "frozen weights, NF4")! / matrices).toBeCloseTo(0.51587, 5)
    for (const one of [plain, packed]) {
      expect(term(one, "moments, f32")).toBe(8 * trained)
      expect(one.bytes).toBeLessThan(bytes() / 2)
    }
    expect(packed.bytes).toBeLessThan(plain.bytes - matrices)
  })

  it("spare the products of the weights' own gradients, and cost their own", () => {
    const amount = { tokens: 1e6, labels: 5e5, pairs: 1e9, images: 0 }
    const whole = flopsOf(llava, "language", "none", true, amount)
    const some = flopsOf(llava, "language", "none", true, amount, lora)
    const { trained } = weightsOf(llava, "language", false, lora)
    expect(some.needed).toBeLessThan(whole.needed)
    expect(some.executed - some.needed - (whole.executed - whole.needed)).toBe(2 * trained * amount.tokens)
  })
})

describe("a stage that does not fit", () => {
  const stage = {
    node: { id: "sft/train" },
    settings: { batch: 128, microBatch: 4, recompute: true },
    amount: { micro: held.micro },
    held,
    memory: memoryOf(held)
  } as unknown as StageCost

  it("is told with what it needs and what would make it fit; each of those does fit", () => {
    const small = cardCalled("a100 40gb")!.gib * 2 ** 30
    expect(unfit(stage, "A100-40GB", small)).toMatch(
      /does not fit sft\/train: it needs \d+\.\d GiB .* of 39; fits with --nproc \d/
    )
    for (const one of remedies(stage, small)) {
      const world = Number(/--nproc (\d+)/.exec(one)?.[1] ?? 1)
      const rows = Number(/microBatch=(\d+)/.exec(one)?.[1] ?? 4)
      expect(bytes({ world, micro: { ...held.micro, rows } }), one).toBeLessThanOrEqual(small)
    }
  })

  it("is not told of one that fits, and nothing is promised where nothing helps", () => {
    expect(unfit(stage, "H200", 139 * 2 ** 30)).toBeUndefined()
    expect(unfit(stage, "L4", 2 ** 32)).toMatch(/nothing here makes it fit$/)
  })
})

it("hours are operations over what is reached of the peak, on all cards together", () => {
  expect(hoursOf(312e12 * 3600, 312e12, 0.5, 1)).toBeCloseTo(2)
  expect(hoursOf(312e12 * 3600, 312e12, 0.5, 4)).toBeCloseTo(0.5)
})
