/**
 * Whether a stage fits a device, and what would make it fit.
 *
 * Tries one change at a time (blocks computed again, fewer rows at once, more devices), then several.
 */
import { gib, type Held, memoryOf, WASM_BYTES } from "./Memory.ts"
import type { StageCost } from "./Stages.ts"

/** The same stage with fewer rows at once, other recomputation, or more devices. */
export const changed = (
  { amount, held, settings }: Pick<StageCost, "amount" | "held" | "settings">,
  change: { readonly microBatch?: number; readonly recompute?: boolean; readonly world?: number }
): Held => {
  const world = change.world ?? held.world
  const rows = Math.max(1, Math.min(change.microBatch ?? settings.microBatch, Math.ceil(settings.batch / world)))
  const share = amount.micro.rows === 0 ? 0 : Math.min(1, rows / amount.micro.rows)
  return {
    ...held,
    world,
    recompute: change.recompute ?? held.recompute,
    micro: {
      rows: Math.min(rows, amount.micro.rows),
      time: amount.micro.time,
      labels: Math.ceil(amount.micro.labels * share),
      images: Math.ceil(amount.micro.images * share)
    },
    microBatches: Math.ceil(settings.batch / (world * rows))
  }
}

/** Changes that make a stage fit so many bytes, each as it would be typed; none where nothing does. */
export const remedies = (stage: StageCost, bytes: number): ReadonlyArray<string> => {
  const fits = (change: Parameters<typeof changed>[1]) => memoryOf(changed(stage, change)).bytes <= bytes
  const { id } = stage.node
  const again = `--set ${id}.recompute=true`
  const micros = [8, 4, 2, 1].filter((n) => n < stage.settings.microBatch)
  // wasm computes in one process.
  const worlds = stage.held.engine.startsWith("torch") ? [2, 4, 8, 16, 32].filter((n) => n > stage.held.world) : []
  const micro = micros.find((microBatch) => fits({ microBatch }))
  const world = worlds.find((n) => fits({ world: n }))
  const few = `--set ${id}.microBatch=1`
  const withFew = worlds.find((n) => fits({ world: n, microBatch: 1 }))
  const found = [
    ...(stage.settings.recompute !== true && fits({ recompute: true }) ? [again] : []),
    ...(micro === undefined ? [] : [`--set ${id}.microBatch=${micro}`]),
    ...(withFew === undefined || micro !== undefined || (world !== undefined && world <= withFew)
      ? []
      : [`--nproc ${withFew} ${few}`]),
    ...(world === undefined ? [] : [`--nproc ${world}`])
  ]
  if (found.length > 0) return found
  if (fits({ microBatch: 1, recompute: true })) return [`${again} ${few}`]
  const all = worlds.find((n) => fits({ world: n, microBatch: 1, recompute: true }))
  return all === undefined ? [] : [`--nproc ${all} ${again} ${few}`]
}

/** `does not fit: sft/train needs 61 GiB ...`, or nothing where it fits. */
export const unfit = (stage: StageCost, device: string, bytes: number): string | undefined => {
  if (stage.memory.bytes <= bytes) return undefined
  const largest = stage.memory.terms
    .toSorted((a, b) => b.bytes - a.bytes)
    .slice(0, 2)
    .map((term) => `${term.name} ${gib(term.bytes).toFixed(1)}`)
  const found = remedies(stage, bytes)
  const what = found.length === 0 ? "nothing here makes it fit" : `fits with ${found.join(", or ")}`
  return `${device} does not fit ${stage.node.id}: it needs ${gib(stage.memory.bytes).toFixed(1)} GiB (${largest.join(", ")}) of ${gib(bytes).toFixed(0)}; ${what}`
}

/** What a wasm engine has. */
export const wasmUnfit = (stage: StageCost): string | undefined => unfit(stage, "wasm", WASM_BYTES)
