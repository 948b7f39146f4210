/**
 * A short part of `npm run soak -- fuzz`: some hundred inputs of each kind, always the same, and the bombs that are
 * quick.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { bombs } from "./fuzz/Bombs.ts"
import { emptyTally, kinds, runInput } from "./fuzz/Run.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-fuzz-test-"))
afterAll(() => rmSync(folder, { recursive: true }))

const INPUTS = 400

describe("fuzz", () => {
  for (const kind of kinds) {
    it(`${kind.name}: damaged input is refused with a typed error, whole input is read`, async () => {
      const fuzzer = await kind.load(folder)
      const tally = emptyTally()
      for (let i = 0; i < INPUTS; i++) await runInput(kind, fuzzer, "test", i, tally)
      assert.deepStrictEqual(tally.failures, [])
      assert.strictEqual(tally.inputs, INPUTS)
      // A kind whose inputs are all refused, or all taken, would find nothing.
      const { accepted = 0 } = tally.said
      assert.isAbove(accepted, INPUTS / 20)
      assert.isBelow(accepted, INPUTS)
    })
  }
})

/** Those that make little work: the others are hundreds of megabytes. */
const quick = bombs.filter(({ seconds }) => seconds <= 10)

describe("bombs", () => {
  for (const bomb of quick) {
    it(`${bomb.name} gives: ${bomb.says}`, async () => {
      assert.strictEqual(await bomb.run(), bomb.says)
    })
  }
})
