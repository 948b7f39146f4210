/** Any number of refused rows: sorted by row, counted once, in parts while they come, and in one file at the end. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema, Stream } from "effect"
import { makeRefusals, type Refused } from "../../src/dag/Refusals.ts"
import { openQuarantine, readRefused } from "../../src/store/Quarantine.ts"
import { refusing, temporaryFolder } from "./Support.ts"

const node = Effect.provide(NodeFileSystem.layer)
class Bad extends Schema.TaggedError<Bad>()("Bad", { reason: Schema.String, n: Schema.Number }) {}

/** Refuses batch by batch, spilling between them, and gives what is on disk. */
const quarantined = (folder: string, batches: ReadonlyArray<ReadonlyArray<number>>, spillRows: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const refusals = makeRefusals([Bad])
      const quarantine = yield* openQuarantine(folder, 3, refusals, { spillRows })
      for (const [i, batch] of batches.entries()) {
        for (const row of batch) refusals.refuse(row, new Bad({ reason: row % 2 === 0 ? "even" : "odd", n: i }))
        yield* quarantine.spill
      }
      return yield* quarantine.finish
    })
  )

describe("a quarantine", () => {
  it.effect.prop(
    "whatever the order of rows and the size of parts, the file is that of one part",
    {
      batches: Schema.Array(Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })))),
      spillRows: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
    },
    ({ batches, spillRows }) =>
      Effect.gen(function* () {
        const [parts, whole] = [temporaryFolder(), temporaryFolder()]
        const made = yield* quarantined(parts, batches, spillRows)
        assert.deepStrictEqual(made, yield* quarantined(whole, batches, Number.POSITIVE_INFINITY))
        const rows = yield* Stream.runCollect(readRefused(parts))
        const distinct = new Set(batches.flatMap((batch, i) => batch.map((row) => `${row} ${i}`)))
        assert.lengthOf(rows, distinct.size)
        assert.deepStrictEqual(
          rows.map(({ refused }) => refused.row),
          [...distinct].map((one) => Number.parseInt(one, 10)).sort((a, b) => a - b)
        )
        assert.strictEqual(
          Object.values(made.refused).reduce((sum, count) => sum + count, 0),
          distinct.size
        )
        const names = distinct.size === 0 ? [] : ["00003.jsonl"]
        if (distinct.size > 0) {
          assert.deepStrictEqual(readdirSync(join(parts, "refused")), names)
          const text = (folder: string) => readFileSync(join(folder, "refused/00003.jsonl"), "utf8")
          assert.strictEqual(text(parts), text(whole))
        }
      }).pipe(node)
  )

  it.live("parts are an attempt's own: those of a failed one go at once, those of another stay", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      mkdirSync(join(folder, "refused"))
      writeFileSync(join(folder, "refused", ".00003.jsonl.0123456789abcdef.tmp"), "somebody else's")
      const failing = Effect.scoped(
        Effect.gen(function* () {
          const row: Refused = { row: 1, reason: "Bad", error: null }
          const quarantine = yield* openQuarantine(folder, 3, refusing([row]), { spillRows: 1 })
          yield* quarantine.spill
          assert.lengthOf(readdirSync(join(folder, "refused")), 2)
          return yield* Effect.fail("no")
        })
      )
      assert.deepStrictEqual(yield* Effect.exit(failing), Exit.fail("no"))
      assert.deepStrictEqual(readdirSync(join(folder, "refused")), [".00003.jsonl.0123456789abcdef.tmp"])
    }).pipe(node)
  )

  it.live("a file that holds something else is damaged, and says where", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      mkdirSync(join(folder, "refused"))
      writeFileSync(join(folder, "refused/00000.jsonl"), `{"row":0,"reason":"Bad","error":null}\n{"row":1`)
      const exit = yield* Effect.exit(Stream.runCollect(readRefused(folder)))
      assert.include(JSON.stringify(exit), '"reason":"damaged"')
      assert.include(JSON.stringify(exit), "refused/00000.jsonl")
    }).pipe(node)
  )
})
