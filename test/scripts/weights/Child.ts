/**
 * Loads one model folder in a process of its own and says how far that raised its peak:
 * `Child.ts phi|clip read|upload|frozen DIR`.
 *
 * `read` makes float32 of every tensor and keeps none, `upload` keeps all of them on the wasm engine, `frozen` on torch
 * in bfloat16 as weights that nothing trains.
 */
import { Effect } from "effect"
import { openClip, openPhi } from "../../../src/model/Folder.ts"
import { uploadWeights } from "../../../src/model/Weights.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"

const [model, what, folder] = process.argv.slice(2) as [string, string, string]
const peak = (): number => process.resourceUsage().maxRSS * 1024

const load = Effect.gen(function* () {
  yield* Tensors
  const before = peak()
  const { sources } = yield* model === "phi" ? openPhi(folder) : openClip(folder)
  let floats = 0
  if (what !== "read") yield* uploadWeights(sources, { frozen: what === "frozen" })
  else for (const source of sources) floats += (yield* source.read).length
  return { tensors: sources.length, floats, grown: peak() - before }
})

const told = await Effect.runPromise(
  Effect.scoped(Effect.provide(load, what === "frozen" ? Engine.torchBf16 : Engine.wasm))
)
console.log(JSON.stringify(told))
