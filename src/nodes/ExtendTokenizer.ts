/**
 * Gives a tokenizer the control tokens it lacks, at ids the model has rows for: Phi-2's `<image>` and `<pad>`.
 *
 * Not a trainer: every other id stays. The free rows 50295 to 51199 of Phi-2's embedding need no resize.
 */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { TokenizerFile } from "./Artifacts.ts"
import { BadTokenizer, loadTokenizer } from "./LoadTokenizer.ts"
import { writeTextFile } from "./ModelFiles.ts"

export const extendTokenizer = whole(
  {
    id: "extendTokenizer",
    version: "1",
    about: "Adds control tokens to a tokenizer at free ids.",
    params: Schema.Struct({
      /** Token to id; a token that the tokenizer has already stays where it is. */
      tokens: Schema.Record(Schema.String, Schema.Int)
    }),
    inputs: { tokenizer: TokenizerFile },
    outputs: { tokenizer: TokenizerFile }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const { path } = inputs.tokenizer
      const tokenizer = yield* loadTokenizer(inputs.tokenizer)
      const json = JSON.parse(tokenizer.json()) as { added_tokens?: ReadonlyArray<unknown> }
      const added: Array<unknown> = []
      for (const [content, id] of Object.entries(params.tokens).sort((a, b) => a[1] - b[1])) {
        if (tokenizer.tokenToId(content) !== undefined) continue
        const taken = tokenizer.idToToken(id)
        if (taken !== undefined)
          return yield* new BadTokenizer({
            path,
            message: `${content} cannot be ${id}: ${id} is ${taken}`,
            hint: "Choose a free id below the model's vocabulary size; Phi-2's are 50295 to 51199."
          })
        added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })
      }
      const extended = { ...json, added_tokens: [...(json.added_tokens ?? []), ...added] }
      return { tokenizer: (folder: string) => writeTextFile(join(folder, "tokenizer.json"), extended) }
    })
)
