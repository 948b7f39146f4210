/** What a file system says becomes a reason and a hint, also where libuv knows an errno by its number only. */
import { constants } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { PlatformError } from "effect"
import { errnoName, fromPlatform } from "../../src/store/Errno.ts"

const thrown = (code: string, errno: number): Error =>
  Object.assign(new Error(`${code}: ${code}, write`), { code, errno })

const told = (cause: Error) =>
  fromPlatform("/s/a")(
    PlatformError.systemError({
      _tag: "Unknown",
      module: "FileSystem",
      method: "write",
      pathOrDescriptor: "/s/a",
      cause
    })
  )

describe("Errno", () => {
  it("a quota that is used up is known by its number, and said by its name", () => {
    const number = constants.errno.EDQUOT
    const error = told(thrown(`Unknown system error -${number}`, -number))
    assert.strictEqual(error.reason, "full")
    assert.strictEqual(error.message, `/s/a: EDQUOT: write`)
    assert.include(error.hint, "gc --collect")
  })

  it("every errno that Node names is found by its number, with or without libuv's name", () => {
    for (const [name, number] of Object.entries(constants.errno)) {
      assert.strictEqual(errnoName(thrown(name, -number)), name)
      const found = errnoName(thrown(`Unknown system error -${number}`, -number))
      assert.strictEqual(constants.errno[found as "EDQUOT"], number) // of two names of one number either will do
      assert.strictEqual(errnoName({ code: `Unknown system error -${number}` }), found)
    }
    assert.isUndefined(errnoName({ code: "ERR_INVALID_ARG_TYPE" }))
    assert.isUndefined(errnoName(undefined))
  })

  it("what has no name at all keeps its own words and a hint", () => {
    const error = told(thrown("Unknown system error -9999", -9999))
    assert.strictEqual(error.reason, "io")
    assert.include(error.message, "-9999")
    assert.notStrictEqual(error.hint, "")
  })
})
