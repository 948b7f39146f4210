/** A pickle can make tensors and containers and nothing else, in bounded memory, whatever it says. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { unpickle } from "../../../src/model/pickle/Unpickle.ts"
import { bytesOf, fixture, global, number, readAll, readPickle, stateDict, tensor, text, tuple } from "./support.ts"

const Hostile = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ name: Schema.String, asks: Schema.NullOr(Schema.String), pickle: Schema.String }))
)

const plain = { path: "x", find: () => undefined, load: () => null }

describe("Unpickle", () => {
  it.effect("every attack that Python pickled is refused, and the error names what it asked for", () =>
    Effect.gen(function* () {
      const cases = yield* Schema.decodeUnknownEffect(Hostile)(readFileSync(fixture("hostile.json"), "utf8"))
      expect(cases.length).toBe(180)
      for (const { asks, name, pickle } of cases) {
        const error = yield* Effect.flip(readPickle(Buffer.from(pickle, "base64")))
        expect(error, name).toMatchObject({ _tag: "TorchFileError", reason: "refused" })
        if (asks !== null) expect(error.global, name).toBe(asks)
        else expect(error.message, name).toContain("EMPTY_SET")
      }
    })
  )

  const system = global("os", "system")
  const dict = bytesOf(global("collections", "OrderedDict"), ")R")
  const hostile: Readonly<Record<string, readonly [pickle: Uint8Array, said: string]>> = {
    "a call without a protocol": [bytesOf("cos\nsystem\n(S'true'\ntR."), "os.system"],
    INST: [bytesOf("(S'true'\nios\nsystem\n."), "os.system"],
    OBJ: [bytesOf("(", system, "o."), "os.system"],
    NEWOBJ: [bytesOf(0x80, 2, global("collections", "OrderedDict"), ")", 0x81, "."), "NEWOBJ"],
    EXT1: [bytesOf(0x80, 2, 0x82, 1, "."), "EXT1"],
    PERSID: [bytesOf("P0\n."), "PERSID"],
    "a name joined on the stack": [bytesOf(0x80, 4, text("os"), text("system"), 0x93, "."), "os.system"],
    "a dotted name": [bytesOf(0x80, 4, text("torch"), text("os.system"), 0x93, "."), "torch.os.system"],
    "a name of the right module": [
      bytesOf(0x80, 2, global("torch._utils", "_import_dotted_name"), "."),
      "_import_dotted"
    ],
    "a name of an object's prototype": [
      bytesOf(0x80, 2, global("__proto__", "constructor"), "."),
      "__proto__.constructor"
    ],
    "a call of a storage": [
      bytesOf(0x80, 2, global("torch", "FloatStorage"), "K", 9, 0x85, "R."),
      "calls torch.FloatStorage"
    ],
    "a call of a text": [bytesOf(0x80, 2, text("os.system"), ")R."), "calls string"],
    "a call of what a call made": [bytesOf(0x80, 2, dict, ")R."), "calls a dict"],
    "a call with a list": [bytesOf(0x80, 2, global("collections", "OrderedDict"), "]R."), "with a list"],
    "a state for a tensor": [
      bytesOf(0x80, 2, tensor({ count: 12, shape: [12], strides: [1] }), "}b."),
      "gives a tensor a state"
    ],
    "items of a tensor": [
      bytesOf(0x80, 2, tensor({ count: 12, shape: [12], strides: [1] }), "K", 0, "K", 0, "s."),
      "a tensor"
    ],
    "a list for a key": [bytesOf(0x80, 2, "}]Ns."), "a list for a key"],
    "another persistent id": [bytesOf(0x80, 2, text("/etc/passwd"), "Q."), "persistent id"],
    "a storage outside": [stateDict({ a: tensor({ key: "../0", count: 12, shape: [12], strides: [1] }) }), "../0"],
    "an OrderedDict of numbers": [
      bytesOf(0x80, 2, global("collections", "OrderedDict"), "]K", 1, "a", 0x85, "R."),
      "OrderedDict"
    ],
    "protocol 6": [bytesOf(0x80, 6, "}."), "protocol 6"]
  }
  for (const [name, [pickle, said]] of Object.entries(hostile))
    it.effect(`${name} is refused: ${said}`, () =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(readPickle(pickle))).toMatchObject({
          _tag: "TorchFileError",
          reason: "refused",
          message: expect.stringContaining(said)
        })
      })
    )

  const outside: Readonly<Record<string, Parameters<typeof tensor>[0]>> = {
    "an offset behind the end": { count: 12, offset: 13, shape: [0], strides: [1] },
    "a last element behind the end": { count: 12, offset: 1, shape: [3, 4], strides: [4, 1] },
    "a stride that leaves": { count: 12, shape: [3, 4], strides: [5, 1] },
    "a negative stride": { count: 12, shape: [3], strides: [-1] },
    "a negative size": { count: 12, shape: [-3, -4], strides: [4, 1] },
    "strides of another rank": { count: 12, shape: [3, 4], strides: [4] },
    "one element as a terabyte": { count: 12, shape: [2 ** 40], strides: [0] },
    "sizes whose product is no number": { count: 12, shape: [2 ** 50, 2 ** 50, 2 ** 50], strides: [0, 0, 0] },
    "a storage larger than the file": { count: 2 ** 40, shape: [2 ** 40], strides: [1] },
    "another type than the storage holds": { type: "DoubleStorage", count: 12, shape: [12], strides: [1] },
    "a rank of a hundred": { count: 12, shape: Array(100).fill(1), strides: Array(100).fill(1) }
  }
  for (const [name, described] of Object.entries(outside))
    it.effect(`a tensor with ${name} is damaged`, () =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(readPickle(stateDict({ a: tensor(described) })))).toMatchObject({
          _tag: "TorchFileError",
          reason: "damaged"
        })
      })
    )

  it.effect("lengths, integers and memo numbers are believed only where the bytes are", () =>
    Effect.gen(function* () {
      const huge = Buffer.alloc(8, 0x7f)
      for (const [pickle, reason] of [
        [bytesOf(0x80, 2, "X", huge.subarray(0, 4), "a."), "cut"],
        [bytesOf(0x80, 4, 0x8d, huge, "a."), "too-large"],
        [bytesOf(0x80, 4, 0x8e, number(1).subarray(1), new Uint8Array(3), 1, "a."), "too-large"],
        [bytesOf(0x80, 2, 0x8b, huge.subarray(0, 4), "."), "cut"],
        [bytesOf(0x80, 2, 0x8a, 9, Buffer.alloc(9, 0x7f), "."), "too-large"],
        [bytesOf(0x80, 2, 0x8a, 8, huge, "."), "too-large"],
        [bytesOf(0x80, 4, 0x95, huge, "}."), "too-large"],
        [bytesOf(0x80, 2, "}j", huge.subarray(0, 4), "."), "damaged"],
        [bytesOf(0x80, 2, "R."), "damaged"],
        [bytesOf(0x80, 2, "t."), "damaged"],
        [bytesOf(0x80, 2, "}}."), "damaged"],
        [bytesOf(0x80, 2, "(}(s."), "damaged"],
        [bytesOf(0x80, 2, "}(K", 1, "u."), "damaged"],
        [bytesOf(0x80, 2, 0xff, "."), "damaged"],
        [bytesOf(0x80, 2, "X", number(2).subarray(1), 0xff, 0xff, "."), "damaged"],
        [bytesOf("cos\n"), "cut"],
        [bytesOf("c", "a".repeat(2000), "\nb\n."), "cut"],
        [bytesOf(0x80, 2, "}"), "cut"],
        [new Uint8Array(0), "cut"]
      ] as const)
        expect((yield* Effect.flip(readPickle(pickle))).reason).toBe(reason)
    })
  )

  it("a list that holds itself, and lists doubled sixty times, cost what they are long", () => {
    const self = unpickle(bytesOf(0x80, 2, "]q", 0, "h", 0, "a."), plain)
    expect(Array.isArray(self) && self[0] === self).toBe(true)
    const doubled = Array.from({ length: 60 }, (_, i) => bytesOf("0]q", i + 1, "(h", i, "h", i, "e"))
    expect(unpickle(bytesOf(0x80, 2, "]q", 0, ...doubled, "."), plain)).toBeInstanceOf(Array)
    const deep = unpickle(bytesOf(0x80, 2, "]", Buffer.alloc(300_000, 0x85), "."), plain)
    expect(deep).toMatchObject({ items: [{ items: [{}] }] })
  })

  it.effect("a pickle of more opcodes than any checkpoint has ends", () =>
    Effect.gen(function* () {
      for (const opcode of ["}", "(", "N", "]"])
        expect(yield* Effect.flip(readPickle(bytesOf(0x80, 2, opcode.repeat(1_100_000), ".")))).toMatchObject({
          reason: "too-large"
        })
    })
  )

  it.effect("a tuple goes where Python's does, memo and all", () =>
    Effect.sync(() => {
      const value = unpickle(
        bytesOf(0x80, 2, tuple(number(7), text("ü"), bytesOf(0x88), bytesOf("N")), "q", 0, "0h", 0, "."),
        plain
      )
      expect(value).toEqual({ items: [7, "ü", true, null] })
      expect(unpickle(bytesOf(0x80, 2, 0x8a, 2, 0xff, 0x7f, "."), plain)).toBe(32767)
      expect(unpickle(bytesOf(0x80, 2, 0x8a, 1, 0xff, "."), plain)).toBe(-1)
      expect(unpickle(bytesOf("(dS'a'\nI01\ns."), plain)).toEqual(new Map([["a", true]]))
    })
  )

  const Edits = Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])).check(Schema.isMinLength(1), Schema.isMaxLength(6))
  const whole = readFileSync(fixture("views-2.bin"))
  it.effect.prop(
    "bytes changed anywhere in a file give its tensors or a typed error, and never more bytes than the file has views",
    { edits: Edits },
    ({ edits }) =>
      Effect.gen(function* () {
        const bytes = Buffer.from(whole)
        for (const [at, value] of edits) bytes[Math.abs(at) % bytes.length] = Math.abs(value) % 256
        const result = yield* Effect.result(readAll(bytes))
        if (Result.isSuccess(result)) expect(result.success).toBeLessThan(whole.length)
        else expect(result.failure._tag).toBe("TorchFileError")
      }),
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "any bytes for a pickle are a value or a typed error",
    { bytes: Schema.Array(Schema.Int) },
    ({ bytes }) =>
      Effect.gen(function* () {
        const result = yield* Effect.result(readPickle(Uint8Array.from(bytes, (x) => Math.abs(x) % 256)))
        if (Result.isFailure(result)) expect(result.failure._tag).toBe("TorchFileError")
      }),
    { arbitrary: { runs: 300 } }
  )
})
