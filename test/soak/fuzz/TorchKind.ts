/**
 * Fuzzing of torch's checkpoint files: zips whose pickle is damaged, spliced with hostile ones, or in whose records
 * bytes are.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Result } from "effect"
import { openZip } from "../../../src/bytes/Zip.ts"
import { zipBytes } from "../../../src/bytes/ZipWriter.ts"
import { openTorchFile } from "../../../src/model/pickle/TorchFile.ts"
import { TorchFileError } from "../../../src/model/pickle/TorchFileError.ts"
import { demand, type Kind, reasonOf, typed, type Verdict } from "./Kind.ts"
import { extreme, mutate } from "./Mutate.ts"

const fixtures = fileURLToPath(new URL("../../model/pickle/fixtures", import.meta.url))

interface File {
  readonly bytes: Buffer
  readonly whole: boolean
}

const entriesOf = (path: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const archive = yield* openZip(path)
      return yield* Effect.forEach([...archive.names()], (name) =>
        Effect.map(archive.read(name), (data) => ({ name, data: Buffer.from(data) }))
      )
    })
  )

export const torchKind: Kind = {
  name: "torch",
  load: async (folder) => {
    const seeds = await Promise.all(
      [2, 3, 4, 5].map((protocol) => Effect.runPromise(entriesOf(join(fixtures, `views-${protocol}.bin`))))
    )
    const hostile = JSON.parse(readFileSync(join(fixtures, "hostile.json"), "utf8")) as ReadonlyArray<{
      readonly pickle: string
    }>
    const pickles = [
      ...seeds.map((entries) => entries.find(({ name }) => name.endsWith("/data.pkl"))!.data),
      ...hostile.map(({ pickle }) => Buffer.from(pickle, "base64"))
    ]
    return {
      size: ({ bytes }: File) => bytes.length,
      // Views may share a storage: each word of the pickle may ask for all of it.
      bound: (size: number) => size * size,
      input: (random): File => {
        const entries = random.pick(seeds)
        const whole = random.chance(0.1)
        const inPickle = random.chance(0.8)
        const damaged = entries.map(({ data, name }) => {
          if (whole || name.endsWith("/data.pkl") !== inPickle || (!inPickle && random.chance(0.5)))
            return { name, data }
          const bytes = Buffer.from(data)
          if (random.chance(0.3) && bytes.length > 0) extreme(random, bytes)
          return { name, data: random.chance(0.8) ? mutate(random, bytes, pickles) : bytes }
        })
        return {
          bytes: Buffer.from(zipBytes(damaged.map((entry) => ({ ...entry, method: "stored" as const })))),
          whole
        }
      },
      check: async ({ bytes, whole }: File, random): Promise<Verdict> => {
        const path = join(folder, `${random.int(2 ** 31)}.bin`)
        writeFileSync(path, bytes)
        let output = 0
        const effect = Effect.scoped(
          Effect.gen(function* () {
            const file = yield* openTorchFile(path)
            for (const [name, { dtype }] of file.entries) {
              const values =
                /^[IUB]/.test(dtype) && dtype !== "BF16" ? yield* file.integers(name) : yield* file.floats(name)
              output += values.byteLength
            }
          })
        )
        try {
          const result = await typed(effect, [TorchFileError])
          if (Result.isSuccess(result)) return { said: "accepted", output }
          demand(!whole, `a whole file was refused: ${result.failure.message}`)
          return { said: reasonOf(result.failure), output }
        } finally {
          rmSync(path)
        }
      }
    }
  }
}
