/**
 * Canonical JSON and its sha256: the one way anything in millrace becomes a key or a digest.
 *
 * Not a serializer for users' data: only plain JSON is accepted, and whatever JSON would drop or blur (undefined, NaN,
 * infinities, functions, bigint, dates, sparse arrays) is an error, never a silent or random key.
 */
import { createHash } from "node:crypto"
import { Schema } from "effect"

/** A value that has no canonical JSON form. */
export class NotCanonical extends Schema.TaggedError<NotCanonical>()("NotCanonical", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

const refuse = (path: string, what: string): never => {
  throw new NotCanonical({
    path: path === "" ? "(root)" : path,
    message: `${what} cannot be part of a key`,
    hint: "Give the parameter a Schema that encodes to plain JSON (Schema.toCodecJson shows what a schema encodes to)."
  })
}

const write = (value: unknown, path: string): string => {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value)
    case "boolean":
      return value ? "true" : "false"
    case "number":
      if (!Number.isFinite(value)) return refuse(path, String(value))
      return Object.is(value, -0) ? "-0.0" : JSON.stringify(value)
    case "object": {
      if (value === null) return "null"
      if (Array.isArray(value)) {
        let out = "["
        for (let i = 0; i < value.length; i++) out += (i === 0 ? "" : ",") + write(value[i], `${path}[${i}]`)
        return out + "]"
      }
      const prototype = Object.getPrototypeOf(value)
      if (prototype !== Object.prototype && prototype !== null) {
        return refuse(path, `a ${prototype.constructor?.name ?? "class"} instance`)
      }
      const record = value as Record<string, unknown>
      const keys = Object.keys(record)
        .filter((key) => record[key] !== undefined)
        .sort()
      return `{${keys.map((key) => `${JSON.stringify(key)}:${write(record[key], path === "" ? key : `${path}.${key}`)}`).join(",")}}`
    }
    default:
      return refuse(path, `a ${typeof value}`)
  }
}

/**
 * Writes plain JSON with sorted keys and no blanks; equal values give equal text.
 *
 * Object entries that are `undefined` count as absent (an optional parameter left out). Throws `NotCanonical`.
 *
 * @example
 * canonical({ b: 1, a: [true, null] }) // {"a":[true,null],"b":1}
 */
export const canonical = (value: unknown): string => write(value, "")

/** sha256 of text (UTF-8) or bytes, as 64 hex digits. */
export const sha256 = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex")

/** sha256 of the canonical JSON of `value`. Throws `NotCanonical`. */
export const digestOf = (value: unknown): string => sha256(canonical(value))
