/** Rows of any port become Parquet files that come back equal, here and in DuckDB. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { type RowsArtifact, rows } from "../../src/dag/Artifact.ts"
import { keyOf, keyParts } from "../../src/dag/Key.ts"
import type { AnyNode } from "../../src/dag/Node.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { readParquetAs } from "../../src/data/ParquetWriter.ts"
import {
  Captions,
  Conversations,
  Examples,
  Features,
  ImageConversations,
  Pixels,
  Questions,
  RawConversations,
  Vicuna
} from "../../src/nodes/Artifacts.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { writeParquet } from "../../src/nodes/WriteParquet.ts"
import { duckDb } from "../data/DuckDb.ts"
import { conversation, inShards, sample, scratch } from "./support.ts"

const params = { fileRows: 1000, groupRows: 100 }

const turns = conversation("c", [["What?", "A kettle."]]).conversations
const examples: ReadonlyArray<readonly [RowsArtifact<string, any>, ReadonlyArray<unknown>]> = [
  [
    RawConversations,
    [
      { id: "a", conversations: turns, plugins: null },
      { id: "b", conversations: [] }
    ]
  ],
  [Conversations, [{ id: "a", conversations: turns }]],
  [Vicuna, [{ id: "a", conversations: turns }]],
  [Captions, [{ id: "a", image: "a.jpg", caption: "A kettle.", conversations: turns }]],
  [
    ImageConversations,
    [
      { id: "a", image: null, conversations: turns },
      { id: "b", image: "b", conversations: [] }
    ]
  ],
  [Questions, [{ id: "a/0", image: "a.jpg", type: "colour", question: "Which?", answer: "Red." }]],
  [Pixels, [{ id: "a", pixels_HWC: Uint8Array.of(0, 255, 7) }]],
  [Features, [{ id: "a", featureLayer: -2, features_PD: Float32Array.of(0.5, -0, Number.NaN) }]],
  [
    Examples,
    [
      {
        id: "a",
        group: "g",
        shard: 0,
        image: -1,
        ids: Int32Array.of(1, 2),
        labels: Int32Array.of(-100, 2),
        imageAt: -1,
        words: -3,
        cut: 0
      }
    ]
  ]
]

const texts = Arbitrary.array(Arbitrary.schema(Schema.Literals(["a", "\ud83d", "\ud83d\ude00", "b \ude00", ""])), {
  minLength: 1,
  maxLength: 12
})

describe("writeParquet", () => {
  it.effect.prop(
    "refuses rows that no file can hold, and writes all others whole, whatever the cuts",
    [texts],
    ([texts]) =>
      Effect.gen(function* () {
        const into = yield* scratch
        const given = texts.map((value, i) => ({ id: `r${i}`, conversations: [{ from: "human", value }] }))
        const good = given.filter((_, i) => texts[i]!.isWellFormed())
        const { out, refused } = yield* Node.run(
          writeParquet(RawConversations),
          { rows: inShards(given, [3, 2]) as never },
          { fileRows: 4, groupRows: 2 },
          { into }
        )
        const files = readdirSync(out.files).sort()
        const read = yield* Effect.forEach(files, (file) =>
          Stream.runCollect(readParquetAs(join(out.files, file), RawConversations.schema))
        )
        const rows = read.map((batches) => batches.flat())
        expect(rows.flat()).toEqual(good)
        expect(rows.slice(0, -1).map(({ length }) => length)).toEqual(rows.slice(0, -1).map(() => 4))
        expect(refused.map(({ error, reason, row }) => [row, reason, (error as { id: string }).id])).toEqual(
          given.flatMap(({ id }, i) => (texts[i]!.isWellFormed() ? [] : [[i, "UnwritableRow", id]]))
        )
      }).pipe(Effect.scoped)
  )

  for (const [artifact, given] of examples)
    it.effect(`writes ${artifact.tag} so that they come back equal`, () =>
      Effect.gen(function* () {
        const node = writeParquet(artifact)
        const { out } = yield* Node.run(node, { rows: given as never }, params, { into: yield* scratch })
        expect(readdirSync(out.files)).toEqual(["part-00000.parquet"])
        const path = join(out.files, "part-00000.parquet")
        expect((yield* Stream.runCollect(readParquetAs(path, artifact.schema))).flat()).toEqual(given)
      }).pipe(Effect.scoped)
    )

  it.effect("cuts files by rows, which the reading nodes and DuckDB take as one", () =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(readShareGpt, { file: sample("sharegpt/sharegpt.json") }, { shardRows: 512 })
      const node = writeParquet(RawConversations)
      const settings = { fileRows: 700, groupRows: 100 }
      const rows = inShards(out.rows, [512, 512])
      const written = yield* Node.run(node, { rows }, settings, { into: yield* scratch })
      expect(readdirSync(written.out.files)).toEqual([0, 1, 2].map((i) => `part-0000${i}.parquet`))
      const again = yield* Node.run(readShareGpt, { file: written.out.files }, { shardRows: 512 })
      const plain = (all: typeof out.rows) =>
        all.map(({ conversations, id, plugins }) => ({ id, conversations, plugins: plugins ?? null }))
      expect(plain(again.out.rows)).toEqual(plain(out.rows))
      expect(again.refused).toEqual([])
      const db = yield* duckDb
      const [counted] = yield* db.rows(
        `SELECT count(*)::INTEGER AS rows, sum(len(conversations))::INTEGER AS turns FROM '${written.out.files}/*.parquet'`
      )
      expect(counted).toEqual({
        rows: out.rows.length,
        turns: out.rows.reduce((all, row) => all + row.conversations.length, 0)
      })
    }).pipe(Effect.scoped)
  )

  it.effect("refuses with column and row what is not of the schema; a schema without a form makes no node", () =>
    Effect.gen(function* () {
      const into = yield* scratch
      const broken = [{ id: "a", conversations: [{ from: "human" as const, value: "\ud800" }] }]
      const node = writeParquet(Conversations)
      const { refused } = yield* Node.run(node, { rows: broken }, params, { into })
      expect(refused.map(({ error, row }) => [row, (error as { column: string }).column])).toEqual([
        [0, "conversations.value"]
      ])
      const formless = rows("formless", Schema.Struct({ a: Schema.Record(Schema.String, Schema.Int) }))
      expect(() => writeParquet(formless)).toThrow("a record has no Parquet form")
    }).pipe(Effect.scoped)
  )

  it("has another key for other columns", () => {
    const keyFor = (schema: Schema.Codec<any, any>) => {
      const node = writeParquet(rows("same", schema))({ rows: source as never }, params) as AnyNode
      return keyOf(keyParts(node, { rows: "0" }, "none"))
    }
    const source = {
      node: { id: "s", spec: { kind: "whole" } },
      port: "rows",
      artifact: rows("same", Schema.Struct({}))
    }
    const int = keyFor(Schema.Struct({ a: Schema.Int }))
    expect(keyFor(Schema.Struct({ a: Schema.Int }))).toBe(int)
    expect(keyFor(Schema.Struct({ a: Schema.Number }))).not.toBe(int)
  })
})
