/** Rows of one width come back from a shard whatever that width is; the first row sets it. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { fromBuffer, type ShardFormat } from "../../src/dag/Format.ts"
import { arrowRows, fixedBytes } from "../../src/data/ArrowShard.ts"
import { featureRows, type PixelRow, pixelRows } from "../../src/data/UniformRows.ts"

const encode = <Row>(format: ShardFormat<Row>, batches: ReadonlyArray<ReadonlyArray<Row>>): Uint8Array => {
  const encoder = format.encoder()
  return Buffer.concat([...batches.flatMap((batch) => encoder.append(batch)), ...encoder.finish()])
}
const between = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const shapes = Arbitrary.all([between(1, 40), Arbitrary.array(between(0, 6), { maxLength: 5 })])
const batchesOf = <Row>(sizes: ReadonlyArray<number>, row: (i: number) => Row) => {
  let at = 0
  return sizes.map((size) => Array.from({ length: size }, () => row(at++)))
}
const pixels =
  (width: number) =>
  (i: number): PixelRow => ({
    id: `p${i}`,
    pixels_HWC: Uint8Array.from({ length: width }, (_, k) => (i * 31 + k * 7) & 255)
  })
const plain = <Row extends object>(rows: ReadonlyArray<Row>) =>
  rows.map((row) => Object.values(row).map((value) => (ArrayBuffer.isView(value) ? [...(value as Uint8Array)] : value)))

describe("pixelRows", () => {
  it.effect.prop("come back in order and by number, empty batches and empty shards too", [shapes], ([[width, sizes]]) =>
    Effect.gen(function* () {
      const batches = batchesOf(sizes, pixels(width))
      const rows = batches.flat()
      const reader = yield* pixelRows.open(fromBuffer(encode(pixelRows, batches)))
      expect(reader.rows).toBe(rows.length)
      expect(plain((yield* Stream.runCollect(reader.batches)).flat())).toEqual(plain(rows))
      const backwards = [...rows.keys()].reverse()
      expect(plain(yield* reader.get(backwards))).toEqual(plain(rows.toReversed()))
    })
  )

  it.prop("have the bytes of a format that states their width", [shapes], ([[width, sizes]]) => {
    const batches = batchesOf(sizes, pixels(width))
    const stated = arrowRows({ id: "utf8", pixels_HWC: fixedBytes(batches.flat().length === 0 ? 1 : width) })
    expect(Buffer.compare(encode(pixelRows, batches), encode(stated, batches))).toBe(0)
  })

  it("refuse a row of another width than the first", () => {
    expect(() => encode(pixelRows, [[pixels(12)(0), pixels(15)(1)]])).toThrow(/12|15/)
    expect(() => encode(pixelRows, [[pixels(12)(0)], [pixels(15)(1)]])).toThrow(/12|15/)
  })

  it.effect("fail with a typed error on other files", () =>
    Effect.gen(function* () {
      const other = encode(arrowRows({ id: "utf8" }), [[{ id: "a" }]])
      for (const bytes of [new Uint8Array(3), new Uint8Array(200), other])
        expect((yield* Effect.flip(pixelRows.open(fromBuffer(bytes))))._tag).toBe("ShardFormatError")
    })
  )
})

describe("featureRows", () => {
  it.effect("keep every bit of their floats", () =>
    Effect.gen(function* () {
      const rows = [0, 1].map((i) => ({
        id: `f${i}`,
        featureLayer: i - 2,
        features_PD: Float32Array.of(-0, 1e-45, 0.1 + i, 3e38)
      }))
      const reader = yield* featureRows.open(fromBuffer(encode(featureRows, [rows])))
      const found = yield* reader.get([1, 0])
      expect(found.map(({ id }) => id)).toEqual(["f1", "f0"])
      expect(found.map(({ featureLayer }) => featureLayer)).toEqual([-1, -2])
      for (const [i, { features_PD }] of found.entries())
        expect([...features_PD].every((value, k) => Object.is(value, rows[1 - i]!.features_PD[k]))).toBe(true)
    })
  )
})
