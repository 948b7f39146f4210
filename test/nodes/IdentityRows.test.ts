/** Identity rows are made from parameters, and merging loses and changes nothing. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { identityRows, mergeConversations } from "../../src/nodes/IdentityRows.ts"
import { conversations, inShards } from "./support.ts"

const params = {
  name: "Mill",
  org: "the Race",
  otherModels: ["GPT-4"],
  otherMakers: [],
  answersPerQuestion: 3,
  seed: 0,
  shardRows: 16
}

describe("identityRows", () => {
  it.effect("makes the same rows again, three a question", () =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(identityRows, {}, params)
      expect((yield* Node.run(identityRows, {}, params)).out).toEqual(out)
      expect(out.rows.length).toBe(3 * new Set(out.rows.map((row) => row.conversations[0]!.value)).size)
    })
  )

  it("takes no empty name", () => {
    expect(() => identityRows({}, { ...params, name: "" })).toThrow(/parameter name: expected/)
  })
})

describe("mergeConversations", () => {
  it.effect.prop("gives all of the first, then all of the second", [conversations, conversations], ([first, second]) =>
    Effect.gen(function* () {
      const inputs = { first: inShards(first, [1, 2]), second: inShards(second, [3]) }
      const { out, refused } = yield* Node.run(mergeConversations, inputs, { shardRows: 4 })
      expect(out.rows).toEqual([...first, ...second])
      expect(refused).toEqual([])
    })
  )
})
