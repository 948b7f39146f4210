/**
 * Every error class of the tree, sent to another thread and to another process: tag, fields, words, and the class where
 * it is named.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { classOf, type ErrorClass } from "../../src/dag/Crossing.ts"
import { describeError, hintOf } from "../../src/run/Failure.ts"
import { NodeFailed } from "../../src/run/Run.ts"
import { decodeError, encodeError, hasTag, type SerializedError } from "../../src/run/SerializedExit.ts"
import { CollectiveFailed } from "../../src/tensor/Collective.ts"

const src = fileURLToPath(new URL("../../src", import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
  (name) => name.endsWith(".ts") && /extends Schema\.TaggedError/.test(readFileSync(join(src, name), "utf8"))
)
const isErrorClass = (made: unknown): made is ErrorClass =>
  typeof made === "function" && Schema.isSchema(made) && made.prototype instanceof Error

const classes: Array<readonly [name: string, made: ErrorClass]> = []
for (const file of files) {
  const text = readFileSync(join(src, file), "utf8")
  const names = [...text.matchAll(/export class (\w+) extends Schema\.TaggedError/g)].map((found) => found[1]!)
  const module = (await import(join(src, file))) as Readonly<Record<string, unknown>>
  for (const name of names) if (isErrorClass(module[name])) classes.push([`${file}: ${name}`, module[name]])
}

/** To a thread (a structured clone), and to a process (a line of JSON). */
const ways: Readonly<Record<string, (told: SerializedError) => SerializedError>> = {
  thread: (told) => structuredClone(told),
  process: (told) => JSON.parse(JSON.stringify(told)) as SerializedError
}

it("there are many, and those that the framework tells apart are named", () => {
  expect(classes.length).toBeGreaterThan(70)
  for (const [name, made] of classes)
    if (/^(run|tensor\/Errors|tensor\/Collective|store\/Store)/.test(name))
      expect(classOf(name.split(": ")[1]), name).toBe(made)
})

/** JSON has no -0. */
const same = (value: unknown) => JSON.parse(JSON.stringify(value))
const tagsOf = (fields: object) => Object.entries(fields).filter(([name]) => !["cause", "stack", "name"].includes(name))

for (const [name, made] of classes)
  it.prop(`${name} crosses`, [made as never], ([given]) => {
    const error = given as Error & { readonly _tag: string }
    for (const [way, cross] of Object.entries(ways)) {
      const heard = decodeError(cross(encodeError(error, "trace"))) as typeof error
      expect(heard._tag, way).toBe(error._tag)
      expect(heard.message, way).toBe(error.message)
      expect(hintOf(heard), way).toBe(hintOf(error))
      expect(describeError(heard).split(" ").sort(), way).toEqual(describeError(error).split(" ").sort())
      if (classOf(error._tag) === made) {
        expect(heard, way).toBeInstanceOf(made)
        expect(same(Object.fromEntries(tagsOf(heard))), way).toEqual(same(Object.fromEntries(tagsOf(error))))
      }
    }
  })

it("a broken collective is known by its tag, not by its words", () => {
  const broken = new CollectiveFailed({ rank: 1, world: 2, operation: "sum", message: "m", hint: "h" } as never)
  const failed = (cause: unknown) => new NodeFailed({ node: "train", message: "m", hint: "h", cause })
  expect(hasTag(failed(decodeError(encodeError(broken, ""))), "CollectiveFailed")).toBe(true)
  expect(hasTag(failed(new Error("CollectiveFailed: says my own error")), "CollectiveFailed")).toBe(false)
})
