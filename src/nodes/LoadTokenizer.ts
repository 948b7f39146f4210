/** Opens a tokenizer artifact: a `tokenizer.json`, or a model's folder that holds one. */
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import type { Tree } from "../dag/Artifact.ts"
import { WrongFileFault, wrongFile } from "../dag/WrongFile.ts"
import { fromTokenizerJson, type Tokenizer } from "../text/Tokenizer.ts"

/** A tokenizer file that cannot be used. */
export class BadTokenizer extends Schema.TaggedError<BadTokenizer>()("BadTokenizer", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A tokenizer and the ids of its control tokens. */
export interface ControlIds {
  readonly eosId: number
  readonly imageId: number
  readonly padId: number
}

/** Reads a tokenizer. Fails with `BadTokenizer`. */
export const loadTokenizer = (tree: Tree): Effect.Effect<Tokenizer, BadTokenizer> =>
  Effect.tryPromise({
    try: async () => {
      const path = (await stat(tree.path)).isDirectory() ? join(tree.path, "tokenizer.json") : tree.path
      const bytes = await readFile(path)
      const wrong = wrongFile(bytes, bytes.length, "json")
      if (wrong !== undefined) throw new WrongFileFault(wrong)
      return fromTokenizerJson(bytes.toString("utf8"))
    },
    catch: (cause) =>
      new BadTokenizer({
        path: tree.path,
        message: `${tree.path}: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint:
          cause instanceof WrongFileFault
            ? cause.hint
            : "It must be a byte-level BPE tokenizer.json as Hugging Face's tokenizers writes it.",
        cause
      })
  })

/**
 * Fails where a model's config and its tokenizer mean two tokens by `<image>`; a tokenizer without one says nothing.
 */
export const sameImageToken = (
  config: number,
  tokenizer: number | undefined,
  path: string
): Effect.Effect<void, BadTokenizer> =>
  tokenizer === undefined || config === tokenizer
    ? Effect.void
    : Effect.fail(
        new BadTokenizer({
          path,
          message: `config.json says that <image> is token ${config}, tokenizer.json that it is ${tokenizer}`,
          hint: "Take both files from one model, or set image_token_index to the tokenizer's id."
        })
      )

/** The ids of `<|endoftext|>`, `<image>` and `<pad>`; all three must be in the vocabulary. */
export const controlIds = (tokenizer: Tokenizer, path: string): Effect.Effect<ControlIds, BadTokenizer> =>
  Effect.gen(function* () {
    const id = Effect.fnUntraced(function* (token: string) {
      const found = tokenizer.tokenToId(token)
      if (found === undefined)
        return yield* new BadTokenizer({
          path,
          message: `it has no token ${token}`,
          hint: "Add it to the tokenizer.json as a special token; Phi-2 has free ids from 50295 on."
        })
      return found
    })
    return { eosId: yield* id("<|endoftext|>"), imageId: yield* id("<image>"), padId: yield* id("<pad>") }
  })
