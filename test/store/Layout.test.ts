/** Names given by users become file names of their own, inside their folder, and back. */
import { dirname } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decodeName, encodeName, layoutOf, portFolder, shardFile, stepName, stepOf } from "../../src/store/Layout.ts"

const Name = Schema.String.check(Schema.isMinLength(1))
const wellFormed = (name: string) => name.isWellFormed()

describe("Layout", () => {
  it.prop("any name is one file name and comes back", { name: Name }, ({ name }) => {
    if (!wellFormed(name)) return
    const encoded = encodeName(name)
    assert.strictEqual(decodeName(encoded), name)
    assert.notMatch(encoded, /[/\\*\0]|^\./)
    assert.strictEqual(dirname(portFolder("/w", name)), "/w/ports")
    assert.strictEqual(dirname(layoutOf("/s").instance(name, name)), layoutOf("/s").pipeline(name))
  })

  it("a file's name that no name gives is itself, so that a store with a strange file can be read", () => {
    for (const name of ["%", "%zz", "a%2", "%ff"]) assert.strictEqual(decodeName(name), name)
  })

  it("shards and steps sort by number as long as their width holds, and keep their number beyond", () => {
    assert.strictEqual(shardFile(7, "arrow"), "00007.arrow")
    assert.strictEqual(shardFile(123456, "jsonl"), "123456.jsonl")
    assert.isTrue(stepName(999) < stepName(1000))
    for (const step of [0, 42, 999_999_999, 1_234_567_890]) assert.strictEqual(stepOf(stepName(step)), step)
    for (const name of [".tmp-step-000000001", "step-1", "step-00000000x", "checkpoint.json"])
      assert.isUndefined(stepOf(name))
  })
})
