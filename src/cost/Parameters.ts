/**
 * How many weights a stage trains and how many it only reads, from the models' shapes.
 *
 * Not the weights. What is trained is what the training nodes say: the language model alone, the projector alone, both,
 * or both and the part of the tower that features depend on.
 */
import { clipShapes } from "../model/clip/Names.ts"
import { isUsed } from "../model/Flops.ts"
import { type LlavaConfig, projectorOf } from "../model/llava/Config.ts"
import { blockLinear, type Lora, loraShapes } from "../model/lora/Lora.ts"
import { phiShapes } from "../model/phi/Names.ts"
import { projectorShapes } from "../model/projector/Names.ts"
import type { Shapes } from "../model/Weights.ts"

/** What a stage trains. */
export type Trains = "language" | "projector" | "both" | "all"

/** Numbers of floats; `largest` is the largest trained tensor. */
export interface Weights {
  readonly trained: number
  readonly frozen: number
  /** Of the frozen ones, those that are kept in four bits, and the largest matrix of them. */
  readonly quantised: number
  readonly largestQuantised: number
  readonly largest: number
}

type Shape = ReadonlyArray<number>
const sizeOf = (shape: Shape): number => shape.reduce((all, one) => all * one, 1)

/** Floats of all weights. */
export const countOf = (shapes: Shapes): number => Object.values(shapes).reduce((sum, shape) => sum + sizeOf(shape), 0)

/**
 * Counts what a stage trains and what it loads beside it. `tower`: whether the tower is loaded at all. With `lora`
 * adapters are trained in place of the language model.
 *
 * @example weightsOf(llava, "language", false).trained // 2779683840
 */
export const weightsOf = (llava: LlavaConfig, trains: Trains, tower: boolean, lora?: Lora): Weights => {
  const language = Object.values(phiShapes(llava.text))
  const projector = trains === "language" ? [] : Object.values(projectorShapes(projectorOf(llava)))
  const vision = tower ? Object.entries(clipShapes(llava.vision)) : []
  const used = vision.filter(([name]) => isUsed(name, llava)).map(([, shape]) => shape)
  const rest = vision.filter(([name]) => !isUsed(name, llava)).map(([, shape]) => shape)
  type Both = readonly [trained: ReadonlyArray<Shape>, frozen: ReadonlyArray<Shape>]
  const adapters = lora === undefined ? undefined : Object.values(loraShapes(llava.text, lora))
  const tuned = adapters ?? language
  const base = adapters === undefined ? [] : language
  const cuts: Readonly<Record<Trains, Both>> = {
    language: [tuned, base],
    projector: [projector, [...language, ...used, ...rest]],
    both: [
      [...projector, ...tuned],
      [...base, ...used, ...rest]
    ],
    all: [
      [...projector, ...tuned, ...used],
      [...base, ...rest]
    ]
  }
  const [trained, frozen] = cuts[trains]
  const packed =
    lora?.quantise === "nf4"
      ? Object.entries(phiShapes(llava.text)).filter(([name]) => blockLinear(name) !== undefined)
      : []
  const sum = (shapes: ReadonlyArray<Shape>) => shapes.reduce((all, shape) => all + sizeOf(shape), 0)
  return {
    trained: sum(trained),
    frozen: sum(frozen),
    quantised: sum(packed.map(([, shape]) => shape)),
    largestQuantised: Math.max(0, ...packed.map(([, shape]) => sizeOf(shape))),
    largest: Math.max(0, ...trained.map(sizeOf))
  }
}
