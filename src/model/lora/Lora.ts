/**
 * LoRA: low-rank adapters beside a language model's frozen linears, y = x W^T + b + (alpha / rank) (drop(x) A^T) B^T.
 *
 * Not a file format (`Adapter.ts`) and not a merge (`Merge.ts`). Here is what is chosen, which linears have an adapter,
 * under which names and from which weights it starts.
 *
 * Shapes: W [O, I], A [R, I], B [O, R]; R is the rank. Source: Hu et al., "LoRA" (2021); names and initialisation are
 * PEFT's.
 */
import { Effect, Schema } from "effect"
import { fillUniform, stream } from "../../tensor/Random.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { phiShapes } from "../phi/Names.ts"
import type { Shapes, WeightSource } from "../Weights.ts"

/** Linears of a block that can have an adapter, as PEFT's `target_modules` names them. */
export const loraTargets = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"] as const
export const LoraTarget = Schema.Literals(loraTargets)
export type LoraTarget = typeof LoraTarget.Type

/** What is adapted and how: part of a node's parameters, and so of its key. */
export const Lora = Schema.Struct({
  rank: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  /** The adapter's output is scaled by alpha / rank. */
  alpha: Schema.Number.check(Schema.isGreaterThan(0)),
  /** Share of an adapter's inputs that is dropped while training; each adapter has masks of its own. */
  dropout: Schema.Number.check(Schema.isGreaterThanOrEqualTo(0), Schema.isLessThan(1)),
  targets: Schema.NonEmptyArray(LoraTarget),
  /**
   * `nf4`: the blocks' linears are kept in four bits with double quantisation (QLoRA), those without an adapter too.
   */
  quantise: Schema.Literals(["none", "nf4"]),
  /** With `nf4`, what the adapter is merged into: the values it was trained beside, or those of the file. */
  mergeInto: Schema.Literals(["dequantised", "original"])
})
export type Lora = typeof Lora.Type

/** Adapters of rank 8 on every linear of a block, over weights as they are. */
export const defaultLora: Lora = {
  rank: 8,
  alpha: 16,
  dropout: 0.05,
  targets: [...loraTargets],
  quantise: "none",
  mergeInto: "dequantised"
}

/** What the adapters' output is multiplied with. */
export const loraScale = ({ alpha, rank }: Pick<Lora, "alpha" | "rank">): number => alpha / rank

const MODULE = /^(model\.layers\.\d+\.(?:self_attn|mlp)\.(q_proj|k_proj|v_proj|dense|fc1|fc2))\.weight$/

/**
 * The linear that a weight is the matrix of, and what adapters call it; undefined for every other weight.
 *
 * @example blockLinear("model.layers.0.mlp.fc1.weight") // { module: "model.layers.0.mlp.fc1", target: "fc1" }
 */
export const blockLinear = (name: string): { readonly module: string; readonly target: LoraTarget } | undefined => {
  const found = MODULE.exec(name)
  return found === null ? undefined : { module: found[1]!, target: found[2] as LoraTarget }
}

/** Names of an adapter's two weights. */
export const namesOf = (module: string) => ({ A: `${module}.lora_A.weight`, B: `${module}.lora_B.weight` })

/** Linears with an adapter and the shapes of their weights, in the model's order. */
export const adapted = (
  config: PhiConfig,
  targets: ReadonlyArray<LoraTarget>
): ReadonlyArray<{ readonly module: string; readonly inputs: number; readonly outputs: number }> =>
  Object.entries(phiShapes(config)).flatMap(([name, shape]) => {
    const linear = blockLinear(name)
    return linear !== undefined && targets.includes(linear.target)
      ? [{ module: linear.module, inputs: shape[1]!, outputs: shape[0]! }]
      : []
  })

/**
 * Every weight of the adapters and its shape.
 *
 * @example Object.keys(loraShapes(config, lora))[0] // "model.layers.0.self_attn.q_proj.lora_A.weight"
 */
export const loraShapes = (config: PhiConfig, { rank, targets }: Pick<Lora, "rank" | "targets">): Shapes =>
  Object.fromEntries(
    adapted(config, targets).flatMap(({ inputs, module, outputs }) => {
      const { A, B } = namesOf(module)
      return [
        [A, [rank, inputs]],
        [B, [outputs, rank]]
      ]
    })
  )

/**
 * Fresh adapters: A as torch's `nn.Linear` starts (`kaiming_uniform_(a=sqrt(5))`, uniform within 1 / sqrt(I)), B zero,
 * so that the model computes what it did. A pure function of (seed, name).
 */
export const freshLora = (
  config: PhiConfig,
  lora: Pick<Lora, "rank" | "targets">,
  seed: number
): ReadonlyArray<WeightSource> =>
  Object.entries(loraShapes(config, lora)).map(([name, shape]) => {
    const [rows, columns] = shape as [number, number]
    const bound = 1 / Math.sqrt(columns)
    return {
      name,
      shape,
      read: Effect.sync(() => {
        const values = new Float32Array(rows * columns)
        return name.endsWith(".lora_B.weight")
          ? values
          : fillUniform(stream(seed, "init", name), values, { low: -bound, high: bound })
      })
    }
  })
