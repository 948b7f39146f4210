/** Rows, archives and small model folders for the tests of nodes. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import sharp from "sharp"
import { sampleFolder } from "../../datasets/Dataset.ts"
import type { Rows } from "../../src/dag/Artifact.ts"
import { shuffle, stream } from "../../src/tensor/Random.ts"

export const sample = (path: string): string => fileURLToPath(new URL(path, sampleFolder))
export const tokenizerPath = sample("tokenizer.json")

/** A folder that goes when the scope closes. */
export const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "nodes-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Rows cut into shards of these sizes; what is left over makes a last one. */
export const inShards = <Row>(rows: ReadonlyArray<Row>, sizes: ReadonlyArray<number>): Rows<Row> => {
  const shards: Array<ReadonlyArray<Row>> = []
  let at = 0
  for (const size of sizes) {
    shards.push(rows.slice(at, at + size))
    at += size
  }
  if (at < rows.length) shards.push(rows.slice(at))
  return {
    length: rows.length,
    shards: shards.map((shard) => shard.length),
    batches: Stream.fromIterable(shards),
    get: (indices) => Effect.succeed(indices.map((i) => rows[i]!))
  }
}

export const shuffled = <A>(values: ReadonlyArray<A>, seed = 0): Array<A> =>
  shuffle(stream(seed, "test order"), [...values])

const Words = Schema.Array(Schema.Literals(["the", "red", "kettle", "is", "hot", "and", "loud", "today"])).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(12)
)
export const sentence = Arbitrary.map(Arbitrary.schema(Words), (words) => `${words.join(" ")}.`)

/** Clean conversations: one to four pairs. */
export const pairs = Arbitrary.array(Arbitrary.all([sentence, sentence]), { minLength: 1, maxLength: 4 })
export const conversation = (id: string, of: ReadonlyArray<readonly [string, string]>) => ({
  id,
  conversations: of.flatMap(([question, reply]) => [
    { from: "human" as const, value: question },
    { from: "gpt" as const, value: reply }
  ])
})
export const conversations = Arbitrary.map(Arbitrary.array(pairs, { maxLength: 12 }), (all) =>
  all.map((of, i) => conversation(`c${i}`, of))
)

/** Pixels of a picture that is unlike any other of its seed and size. */
export const pixelsOf = (width: number, height: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => ((i % width) * 5 + seed * 41 + (i % 3) * 60) & 255)

export const png = (width: number, height: number, seed = 0): Promise<Uint8Array> =>
  sharp(pixelsOf(width, height, seed), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
