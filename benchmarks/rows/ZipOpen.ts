/** Opening a zip of CC-595K's 595,375 entries for random reads, against Python's `zipfile`. */
import { createHash } from "node:crypto"
import { Effect, Stream } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { writeZip } from "../../src/bytes/ZipWriter.ts"
import { made } from "../Data.ts"
import { pictureName } from "../generate/Names.ts"
import { withPython } from "../Python.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark } from "../Row.ts"

const ENTRIES = 595_375

/** An entry's bytes say its place: reading the wrong one is noticed. */
const entries = function* () {
  for (let at = 0; at < ENTRIES; at++) yield { name: pictureName(at), data: Buffer.from(`picture ${at}`) }
}

const some = Array.from({ length: 500 }, (_, i) => pictureName(Math.floor((i * 7919 * 149) % ENTRIES)))

export const zipOpen: Benchmark = {
  name: "zip-open",
  about: "open a 595,375-entry zip",
  unit: "s",
  better: "less",
  goal: 3,
  peerName: "Python zipfile",
  run: (context) =>
    withPython(context.python, "zip_open.py", async (peer) => {
      const path = await made(context, `entries-${ENTRIES}.zip`, (part) =>
        Effect.runPromise(writeZip(part, Stream.fromIterable(entries())))
      )
      let size = 0
      const open = Effect.scoped(
        Effect.map(openZip(path), (zip) => {
          size = zip.size
        })
      )
      const figures = await interleave(
        { rounds: 3, better: "less" },
        () => seconds(() => Effect.runPromise(open)),
        async () => {
          const { cpu, seconds: figure } = await peer.ask({ do: "open", path })
          return { figure, cpu }
        }
      )
      const digest = await Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const zip = yield* openZip(path)
            const hash = createHash("sha256")
            for (const name of some) hash.update(yield* zip.read(name))
            return hash.digest("hex")
          })
        )
      )
      const theirs = await peer.ask({ do: "read", path, names: some })
      const wrong =
        size !== theirs["entries"]
          ? `we see ${size} entries, zipfile ${theirs["entries"]}`
          : digest !== theirs["digest"]
            ? `${some.length} entries that were read differ`
            : undefined
      return { ...figures, wrong, note: `${size} entries, ${some.length} read equal; ${peer.versions}` }
    })
}
