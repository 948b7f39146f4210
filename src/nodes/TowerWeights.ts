/**
 * Fresh weights of a vision tower that is never trained: random features through which images can still be told apart.
 *
 * Not CLIP's initialisation, which is meant to be trained. With it a small image on bright paper gives features of
 * which 94 % (of their squares) are one constant vector: every patch answers the paper's colour first. Here position
 * embeddings take off what a patch of paper would answer, so that such a patch is its position and nothing else. And
 * filters may be random mixtures of low cosines in place of noise: as trained first layers do, they then look at shapes
 * and not at grain.
 *
 * Shapes: D hidden, C channels, P patch side; `filters_DCPP`, `positions_ND` with the class token's row first.
 */
import { Effect } from "effect"
import type { ClipConfig } from "../model/clip/Config.ts"
import { clipShapes } from "../model/clip/Names.ts"
import { CLIP_MEAN, CLIP_STD } from "../model/clip/Pixels.ts"
import { initialWeights, type WeightSource } from "../model/Weights.ts"
import { fillNormal, stream } from "../tensor/Random.ts"

const FILTERS = "embeddings.patch_embedding.weight"
const POSITIONS = "embeddings.position_embedding.weight"

/**
 * `std` of all weights, `positionStd` of positions where it differs. `paper`: the colour (red, green, blue, 0 to 255)
 * that patches are measured from; CLIP's mean colour when left out.
 */
export interface TowerOptions {
  readonly seed: number
  readonly std: number
  readonly positionStd?: number | undefined
  readonly paper?: readonly [number, number, number] | undefined
  readonly cosines?: Cosines | undefined
}

/**
 * Filters as mixtures of a patch's cosines (the orthonormal DCT-II in two dimensions) of frequencies u + v <= `upTo`,
 * whose amplitudes are lifted by (1 + u + v)^`lift`, because images have the less of a frequency the higher it is.
 * `std`: of a mixing weight.
 */
export interface Cosines {
  readonly upTo: number
  readonly lift: number
  readonly std: number
}

/** The lifted cosines of a patch of P x P pixels: F x P x P. */
const cosinesOf = (patch: number, { lift, upTo }: Cosines): ReadonlyArray<Float64Array> => {
  const wave = (u: number, x: number) =>
    Math.sqrt((u === 0 ? 1 : 2) / patch) * Math.cos((Math.PI * (2 * x + 1) * u) / (2 * patch))
  const found: Array<Float64Array> = []
  const highest = patch - 1
  for (let u = 0; u <= Math.min(upTo, highest); u++)
    for (let v = 0; v <= Math.min(upTo - u, highest); v++)
      found.push(
        Float64Array.from(
          { length: patch * patch },
          (_, at) => wave(u, Math.floor(at / patch)) * wave(v, at % patch) * (1 + u + v) ** lift
        )
      )
  return found
}

/** D filters, each a mixture of its own for each channel. */
const mixedFilters = (config: ClipConfig, seed: number, cosines: Cosines): Float32Array => {
  const pixels = config.patchSize ** 2
  const waves = cosinesOf(config.patchSize, cosines)
  const planes = config.hiddenSize * config.channels
  const mixture = fillNormal(stream(seed, "init", FILTERS), new Float32Array(planes * waves.length), {
    std: cosines.std
  })
  const filters_DCPP = new Float32Array(planes * pixels)
  for (let plane = 0; plane < planes; plane++)
    for (let pixel = 0; pixel < pixels; pixel++) {
      let value = 0
      for (let f = 0; f < waves.length; f++) value += mixture[plane * waves.length + f]! * waves[f]![pixel]!
      filters_DCPP[plane * pixels + pixel] = value
    }
  return filters_DCPP
}

/** What each of the D filters answers to a patch of one colour. */
const answerTo = (
  filters_DCPP: Float32Array,
  config: ClipConfig,
  paper: readonly [number, number, number]
): Float64Array => {
  const pixels = config.patchSize ** 2
  const answers_D = new Float64Array(config.hiddenSize)
  for (let at = 0; at < filters_DCPP.length; at++) {
    const channel = Math.floor(at / pixels) % config.channels
    const value = (paper[channel]! / 255 - CLIP_MEAN[channel]!) / CLIP_STD[channel]!
    answers_D[Math.floor(at / (pixels * config.channels))]! += filters_DCPP[at]! * value
  }
  return answers_D
}

/**
 * A pure function of sizes, seed and options, for towers of three channels.
 *
 * @example
 * freshTower(config, { seed: 0, std: 0.05, positionStd: 1, paper: [245, 245, 245], cosines: { upTo: 6, lift: 1.5, std: 0.02 } })
 */
export const freshTower = (config: ClipConfig, options: TowerOptions): ReadonlyArray<WeightSource> => {
  const { cosines, paper, seed, std } = options
  const plain = initialWeights(clipShapes(config), seed, std)
  const noise = plain.find(({ name }) => name === FILTERS)!
  const filters = cosines === undefined ? noise.read : Effect.sync(() => mixedFilters(config, seed, cosines))
  const positions = (size: number) =>
    Effect.map(filters, (filters_DCPP) => {
      const values = fillNormal(stream(seed, "init", POSITIONS), new Float32Array(size), {
        std: options.positionStd ?? std
      })
      if (paper === undefined) return values
      const answers_D = answerTo(filters_DCPP, config, paper)
      for (let at = config.hiddenSize; at < size; at++) values[at]! -= answers_D[at % config.hiddenSize]!
      return values
    })
  return plain.map((source) => {
    const size = source.shape.reduce((product, n) => product * n, 1)
    if (source.name === FILTERS) return { ...source, read: filters }
    if (source.name === POSITIONS) return { ...source, read: positions(size) }
    // All norms, the one that CLIP spells `pre_layrnorm` too.
    if (source.name.endsWith("norm.weight") || /layer_norm\d\.weight$/.test(source.name))
      return { ...source, read: Effect.sync(() => new Float32Array(size).fill(1)) }
    return source
  })
}
