/**
 * Fresh weights of a projector, as torch's `nn.Linear` starts: what LLaVA's own code trains from.
 *
 * Not the language model's initialisation: a fixed deviation of 0.02 would shrink features of any width but Phi-2's, so
 * that a narrow model hardly sees its images.
 *
 * Source: `kaiming_uniform_(a=sqrt(5))`, which is uniform between -1 and 1 over the square root of the inputs, for
 * weights and biases alike.
 */
import { Effect } from "effect"
import type { ProjectorSizes } from "../model/projector/Config.ts"
import { projectorShapes } from "../model/projector/Names.ts"
import type { WeightSource } from "../model/Weights.ts"
import { fillUniform, stream } from "../tensor/Random.ts"

/**
 * A pure function of sizes and seed.
 *
 * @example
 * const weights = yield* uploadWeights(freshProjector({ inputSize: 1024, outputSize: 2560, activation: "erf" }, 0))
 */
export const freshProjector = (config: ProjectorSizes, seed: number): ReadonlyArray<WeightSource> =>
  Object.entries(projectorShapes(config)).map(([name, shape]) => {
    const bound = 1 / Math.sqrt(name.startsWith("linear_1.") ? config.inputSize : config.outputSize)
    const size = shape.reduce((product, n) => product * n, 1)
    return {
      name,
      shape,
      read: Effect.sync(() =>
        fillUniform(stream(seed, "init", name), new Float32Array(size), { low: -bound, high: bound })
      )
    }
  })
