/**
 * Writes the sample: `npm run dataset [-- --out DIR] [-- --seed N]`.
 *
 * Not needed to use the sample, which ships. Equal seeds give equal JSON bytes and equal pixels on every machine; the
 * JPEGs' bytes, and so the archives' digests, also depend on the installed sharp.
 */

import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect } from "effect"
import { writeSample } from "./Write.ts"

const { values } = parseArgs({
  options: {
    out: { type: "string", default: fileURLToPath(new URL("../sample", import.meta.url)) },
    seed: { type: "string", default: "0" }
  }
})

const seed = Number(values.seed)

NodeRuntime.runMain(
  Effect.gen(function* () {
    const files = yield* writeSample(values.out, seed)
    let total = 0
    for (const [path, { bytes }] of Object.entries(files)) {
      total += bytes
      yield* Console.log(`${String(bytes).padStart(9)}  ${path}`)
    }
    yield* Console.log(`${String(total).padStart(9)}  in all, seed ${seed}, ${values.out}`)
  }).pipe(Effect.provide(NodeServices.layer))
)
