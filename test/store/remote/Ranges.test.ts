/** Headers mean what RFC 9110 says, and nothing when they are odd. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { agrees, contentRange, ifRange, linkedOf, retryAfter, validatorOf } from "../../../src/store/remote/Ranges.ts"

const date = "Mon, 23 Nov 2026 09:00:00 GMT"
const old = "Mon, 23 Nov 2026 08:58:59 GMT"

describe("Ranges", () => {
  it("only strong validators join two ranges", () => {
    assert.strictEqual(ifRange(validatorOf({ etag: '"a"', "last-modified": old, date })), '"a"')
    assert.strictEqual(ifRange(validatorOf({ etag: 'W/"a"', "last-modified": old, date })), old)
    assert.isUndefined(validatorOf({ etag: "a" }))
    assert.isUndefined(validatorOf({ "last-modified": old }))
    assert.isUndefined(validatorOf({ "last-modified": "Mon, 23 Nov 2026 08:59:30 GMT", date }))
    assert.isTrue(agrees({ etag: '"a"' }, {}))
    assert.isFalse(agrees({ etag: '"a"' }, { etag: 'W/"a"' }))
    assert.isFalse(agrees({ lastModified: old }, { "last-modified": date }))
  })

  it("reads Content-Range, or nothing", () => {
    assert.deepStrictEqual(contentRange("bytes 5-9/10"), { start: 5, end: 9, total: 10 })
    assert.deepStrictEqual(contentRange("bytes 5-9/*"), { start: 5, end: 9, total: undefined })
    for (const odd of [undefined, "", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "items 0-1/2", "bytes 5-/10"])
      assert.isUndefined(contentRange(odd), odd)
  })

  it("reads Retry-After as seconds or a date, never as a time that has passed", () => {
    const now = Date.parse(date)
    assert.strictEqual(retryAfter("30", now), 30_000)
    assert.strictEqual(retryAfter("Mon, 23 Nov 2026 09:00:10 GMT", now), 10_000)
    assert.strictEqual(retryAfter(old, now), 0)
    assert.isUndefined(retryAfter("soon", now))
    assert.isUndefined(retryAfter(undefined, now))
  })

  it("takes from the hub's headers only what has their form", () => {
    const sha256 = "a".repeat(64)
    assert.deepStrictEqual(
      linkedOf({ "x-linked-etag": `"${sha256}"`, "x-linked-size": "7", "x-repo-commit": "b".repeat(40) }),
      { sha256, bytes: 7, commit: "b".repeat(40) }
    )
    assert.deepStrictEqual(linkedOf({ "x-linked-etag": `"${"a".repeat(40)}"`, "x-linked-size": "7 MB" }), {})
  })

  it.prop("no header makes a number that is none", [Schema.String], ([text]) => {
    for (const value of [
      retryAfter(text, 0),
      contentRange(`bytes ${text}`)?.start,
      linkedOf({ "x-linked-size": text }).bytes
    ])
      assert.isTrue(value === undefined || Number.isSafeInteger(value))
  })
})
