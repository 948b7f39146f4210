/**
 * Rows in memory, and the arithmetic of rows that lie in several shards.
 *
 * Not the store: files are opened elsewhere and arrive here as `ShardReader`s.
 */
import { Effect, Stream } from "effect"
import { InputUnavailable, type Rows } from "./Artifact.ts"
import type { ShardFormatError, ShardReader } from "./Format.ts"

const outOfRange = (port: string, index: number, length: number) =>
  new InputUnavailable({
    port,
    message: `row ${index} of ${length} was asked for`,
    hint: "Row numbers run from 0 to length - 1; look at the sampler or order that made this index."
  })

/** Rows from an array, in batches of `batchRows`. */
export const fromArray = <Row>(rows: ReadonlyArray<Row>, batchRows = 256): Rows<Row> => ({
  length: rows.length,
  shards: [rows.length],
  batches: Stream.suspend(() => {
    const batches: Array<ReadonlyArray<Row>> = []
    for (let at = 0; at < rows.length; at += batchRows) batches.push(rows.slice(at, at + batchRows))
    return Stream.fromIterable(batches)
  }),
  get: (indices) =>
    Effect.forEach(indices, (i) =>
      Number.isInteger(i) && i >= 0 && i < rows.length
        ? Effect.succeed(rows[i]!)
        : Effect.die(outOfRange("rows", i, rows.length))
    )
})

const unavailable = (port: string) => (cause: ShardFormatError) =>
  new InputUnavailable({ port, message: cause.message, hint: cause.hint, cause })

/** Rows of shards in order: global row i lies in the shard whose running count first exceeds i. */
export const fromShards = <Row>(port: string, shards: ReadonlyArray<ShardReader<Row>>): Rows<Row> => {
  const starts = [0]
  for (const shard of shards) starts.push(starts[starts.length - 1]! + shard.rows)
  const length = starts[shards.length]!
  const shardOf = (row: number): number => {
    let low = 0
    let high = shards.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (row < starts[middle + 1]!) high = middle
      else low = middle + 1
    }
    return low
  }
  return {
    length,
    shards: shards.map((shard) => shard.rows),
    batches: Stream.fromIterable(shards).pipe(
      Stream.flatMap((shard) => shard.batches),
      Stream.mapError(unavailable(port)),
      Stream.orDie
    ),
    get: Effect.fnUntraced(function* (indices) {
      const wanted = new Map<number, Array<number>>()
      for (let at = 0; at < indices.length; at++) {
        const index = indices[at]!
        if (!Number.isInteger(index) || index < 0 || index >= length)
          return yield* Effect.die(outOfRange(port, index, length))
        const shard = shardOf(index)
        const list = wanted.get(shard)
        if (list === undefined) wanted.set(shard, [at])
        else list.push(at)
      }
      const out = new Array<Row>(indices.length)
      for (const [shard, places] of wanted) {
        const found = yield* Effect.orDie(
          Effect.mapError(shards[shard]!.get(places.map((at) => indices[at]! - starts[shard]!)), unavailable(port))
        )
        places.forEach((at, i) => {
          out[at] = found[i]!
        })
      }
      return out
    })
  }
}
