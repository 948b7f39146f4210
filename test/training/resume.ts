/** A process of its own: restores the state in argv[2], trains steps 3..5, writes the weights to argv[3]. */
import { Effect } from "effect"
import { openSafetensors, writeSafetensors } from "../../src/model/Safetensors.ts"
import { phiTrainable } from "../../src/model/Trainable.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { restoreState, type SavedTensor, saveState } from "../../src/training/Step.ts"
import { textBatch, tinyPhi } from "../model/support.ts"
import { train } from "./support.ts"

const [, , from, to] = process.argv as [string, string, string, string]

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* openSafetensors(from)
      const tensors: Record<string, SavedTensor> = {}
      for (const { name, shape } of file.entries.values()) tensors[name] = { shape, values: yield* file.floats(name) }
      const state = yield* restoreState({ update: Number(file.metadata["update"]), tensors })
      const { state: end } = yield* train(phiTrainable(tinyPhi, { recompute: true }), state, 3, 6, (step) => [
        textBatch([9, 12, 5], 12, step)
      ])
      const saved = yield* saveState(end)
      yield* writeSafetensors(
        to,
        Object.entries(saved.tensors).map(([name, { shape, values }]) => ({
          name,
          shape,
          dtype: "F32" as const,
          bytes: Effect.succeed(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
        })),
        { update: String(saved.update) }
      )
    })
  ).pipe(Effect.provide(Engine.wasm))
)
