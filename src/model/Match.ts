/**
 * Finds a model's weights among a checkpoint's tensors: what is missing, unexpected or of another shape is one error.
 *
 * Not a naming scheme: each model's `Names.ts` says how files spell its weights, and what else such files hold.
 */
import { Effect, Schema } from "effect"
import type { Checkpoint, CheckpointError } from "./Checkpoint.ts"
import type { Shapes, WeightSource } from "./Weights.ts"

/** A tensor of another shape than the config asks for. */
const Misshapen = Schema.Struct({
  tensor: Schema.String,
  shape: Schema.Array(Schema.Number),
  expected: Schema.Array(Schema.Number)
})

/** A checkpoint whose tensors are not those of the model that was asked for: all of them, by name. */
export class CheckpointMismatch extends Schema.TaggedError<CheckpointMismatch>()("CheckpointMismatch", {
  path: Schema.String,
  /** Our names of weights that no tensor is. */
  missing: Schema.Array(Schema.String),
  /** Tensors that are no weight of the model, and nothing that such files are known to hold beside them. */
  unexpected: Schema.Array(Schema.String),
  misshapen: Schema.Array(Misshapen),
  message: Schema.String,
  hint: Schema.String
}) {}

/** One candidate in a file for one of our tensors. */
export interface Found {
  readonly file: string
  readonly read: Effect.Effect<Float32Array, CheckpointError>
  readonly shape: ReadonlyArray<number>
}

/** A model, or one of those that a model is made of. */
export interface Part {
  /** Put before our names. */
  readonly prefix: string
  readonly shapes: Shapes
  /** Our name (without the prefix) of a tensor in the file, or undefined when it is not this part's. */
  readonly canonical: (file: string) => string | undefined
  /** Takes apart what older files hold as one tensor. */
  readonly split?: (found: Record<string, Found>) => Record<string, Found>
  /** Our names that may be left in the file: a head's bias that is dropped. */
  readonly unused?: ReadonlySet<string>
}

/** Tables and masks that older versions saved with the weights; they are computed, not learned. */
const buffers = /(?:^|\.)(?:rotary_emb\.inv_freq|inv_freq|position_ids|(?:self_)?attn\.(?:bias|masked_bias|mask))$/

/** Names shown of each kind at most; the error's fields hold all. */
const SHOWN = 10

const listed = (what: string, names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.length === 0
    ? []
    : [
        `${names.length} ${what}: ${names.slice(0, SHOWN).join(", ")}${names.length > SHOWN ? `, and ${names.length - SHOWN} more` : ""}`
      ]

const hint =
  "Check that config.json belongs to these weights and that every shard is there. What a file may hold beside a model's weights is known by name; anything else is a weight of another model."

/**
 * Sources for all parts out of one checkpoint. `beside` says what else such files hold: other towers, heads that are
 * not used. A tensor of a part's own spelling that is none of its weights is unexpected, however `beside` answers.
 */
export const sourcesFrom = (
  checkpoint: Checkpoint,
  parts: ReadonlyArray<Part>,
  beside: (file: string) => boolean
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  Effect.suspend(() => {
    const found = parts.map((): Record<string, Found> => ({}))
    const unexpected: Array<string> = []
    for (const { name: file, shape } of checkpoint.entries.values()) {
      if (buffers.test(file)) continue
      const at = parts.findIndex((part) => part.canonical(file) !== undefined)
      if (at >= 0) found[at]![parts[at]!.canonical(file)!] = { file, shape, read: checkpoint.floats(file) }
      else if (!beside(file)) unexpected.push(file)
    }
    const missing: Array<string> = []
    const misshapen = new Map<string, typeof Misshapen.Type>()
    const sources: Array<WeightSource<CheckpointError>> = []
    parts.forEach(({ prefix, shapes, split, unused }, i) => {
      const whole = split === undefined ? found[i]! : split(found[i]!)
      for (const [name, { file }] of Object.entries(whole))
        if (!Object.hasOwn(shapes, name) && unused?.has(name) !== true) unexpected.push(file)
      for (const [name, expected] of Object.entries(shapes)) {
        const source = Object.hasOwn(whole, name) ? whole[name] : undefined
        if (source === undefined) missing.push(prefix + name)
        else if (source.shape.length !== expected.length || source.shape.some((n, d) => n !== expected[d]))
          misshapen.set(source.file, { tensor: source.file, shape: source.shape, expected })
        else sources.push({ name: prefix + name, shape: expected, read: source.read, isFresh: true })
      }
    })
    if (missing.length === 0 && unexpected.length === 0 && misshapen.size === 0) return Effect.succeed(sources)
    const { path, entries } = checkpoint
    const wrong = [...misshapen.values()]
    const names = [...new Set(unexpected)]
    const message = [
      ...listed("missing", missing),
      ...listed("unexpected", names),
      ...listed(
        "of another shape",
        wrong.map(({ expected, shape, tensor }) => `${tensor} is [${shape.join(", ")}], not [${expected.join(", ")}]`)
      )
    ].join("; ")
    return Effect.fail(
      new CheckpointMismatch({
        path,
        missing,
        unexpected: names,
        misshapen: wrong,
        message: `${message} (of ${entries.size} tensors)`,
        hint
      })
    )
  })
