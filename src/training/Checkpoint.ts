/**
 * A training loop's state as files and back: weights, moments, step, losses. One checkpoint is the whole of it.
 *
 * Not durable by itself: the framework writes what `encode` returns. Frozen weights are not in it (they are inputs),
 * and there is no generator state: data order and dropout are functions of (seed, step). Bits survive the round trip.
 *
 * Files: `loop.json`, and `state-NNNNN.safetensors` of at most 1 GiB each (a larger tensor has one to itself).
 */
import { Effect, Schema } from "effect"
import { encodeSafetensors, parseHeader, type SafetensorsError } from "../model/Safetensors.ts"
import { HeldOutPosition } from "./HeldOut.ts"
import type { SavedState, SavedTensor } from "./Step.ts"

/** Where the loop stands. */
export const LoopPosition = Schema.Struct({
  step: Schema.Number,
  update: Schema.Number,
  lossTokens: Schema.Number,
  losses: Schema.Array(Schema.Number),
  /** Where held-out rows are measured on the way. */
  heldOut: Schema.optionalKey(HeldOutPosition)
})
export type LoopPosition = typeof LoopPosition.Type

/** A checkpoint that is not one of this loop. */
export class BadCheckpoint extends Schema.TaggedError<BadCheckpoint>()("BadCheckpoint", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const FILE_BYTES = 2 ** 30

const bad = (message: string, cause?: unknown) =>
  new BadCheckpoint({
    message,
    hint: "Run with --force and the node's name to start it over.",
    ...(cause === undefined ? {} : { cause })
  })

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** The loop's state as files. Losses are finite (the guard sees to it), so JSON keeps their every bit. */
export const encodeLoop = (
  position: Omit<LoopPosition, "update">,
  saved: SavedState
): ReadonlyMap<string, Uint8Array> => {
  const files = new Map<string, Uint8Array>()
  const loop: LoopPosition = { ...position, update: saved.update }
  files.set("loop.json", new TextEncoder().encode(JSON.stringify(loop)))
  let part: Array<[string, SavedTensor]> = []
  let bytes = 0
  const flush = () => {
    if (part.length === 0) return
    files.set(
      `state-${String(files.size - 1).padStart(5, "0")}.safetensors`,
      encodeSafetensors(part.map(([name, { shape, values }]) => ({ name, dtype: "F32", shape, data: bytesOf(values) })))
    )
    part = []
    bytes = 0
  }
  for (const [name, tensor] of Object.entries(saved.tensors).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (bytes + tensor.values.byteLength > FILE_BYTES) flush()
    part.push([name, tensor])
    bytes += tensor.values.byteLength
  }
  flush()
  return files
}

/** Reads back what `encodeLoop` wrote. Fails with `BadCheckpoint` or `SafetensorsError` on anything else. */
export const decodeLoop = Effect.fnUntraced(function* (
  files: ReadonlyMap<string, Uint8Array>
): Effect.fn.Return<{ readonly position: LoopPosition; readonly saved: SavedState }, BadCheckpoint | SafetensorsError> {
  const loop = files.get("loop.json")
  if (loop === undefined) return yield* bad("it has no loop.json")
  const json: unknown = yield* Effect.try({
    try: () => JSON.parse(new TextDecoder().decode(loop)),
    catch: (cause) => bad("loop.json is not JSON", cause)
  })
  const position = yield* Schema.decodeUnknownEffect(LoopPosition)(json).pipe(
    Effect.mapError((cause) => bad(`loop.json: ${cause.message}`, cause))
  )
  const tensors: Record<string, SavedTensor> = {}
  for (const [name, bytes] of files) {
    if (!name.endsWith(".safetensors")) continue
    if (bytes.byteLength < 8) return yield* bad(`${name} is cut short`)
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
    if (!(length <= bytes.byteLength - 8)) return yield* bad(`${name} is cut short`)
    const header = yield* parseHeader(
      name,
      new TextDecoder().decode(bytes.subarray(8, 8 + length)),
      8 + length,
      bytes.byteLength
    )
    for (const entry of header.entries.values()) {
      // Not `slice`: a Buffer's is a view, at an offset that may not be a multiple of four.
      const copy = new Uint8Array(bytes.subarray(entry.begin, entry.end))
      tensors[entry.name] = { shape: entry.shape, values: new Float32Array(copy.buffer) }
    }
  }
  return { position, saved: { update: position.update, tensors } }
})
