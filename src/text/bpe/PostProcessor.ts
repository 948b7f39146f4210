/**
 * The ids that a tokenizer.json's post-processor puts around a text: `<s>` and `</s>`, `<|begin_of_text|>`.
 *
 * Not asked unless the caller says so (`addSpecial`): templates write their own control tokens. One text only, no
 * pairs. A post-processor's `trim_offsets` is not followed: offsets here always include the space that belongs to a
 * token.
 */
import { Schema } from "effect"
import { TokenizerJsonError } from "./Vocabulary.ts"

/** Ids before and behind a text. */
export interface Around {
  readonly before: ReadonlyArray<number>
  readonly behind: ReadonlyArray<number>
}

const Kind = Schema.Struct({ type: Schema.String })
const Sequence = Schema.Struct({ processors: Schema.Array(Schema.Unknown) })
const Id = Schema.Tuple([Schema.String, Schema.Int])
const Ends = Schema.Struct({ cls: Id, sep: Id })
const Template = Schema.Struct({
  single: Schema.Array(
    Schema.Struct({
      Sequence: Schema.optional(Schema.Unknown),
      SpecialToken: Schema.optional(Schema.Struct({ id: Schema.String }))
    })
  ),
  special_tokens: Schema.Record(Schema.String, Schema.Struct({ ids: Schema.Array(Schema.Int) }))
})

const decode = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, value: unknown): S["Type"] => {
  try {
    return Schema.decodeUnknownSync(schema)(value)
  } catch (cause) {
    throw new TokenizerJsonError({
      message: `post_processor is malformed: ${cause}`,
      hint: "Check that the file is a complete tokenizer.json.",
      cause
    })
  }
}

const templateAround = (value: unknown): Around => {
  const { single, special_tokens } = decode(Template, value)
  const at = single.findIndex((piece) => piece.SpecialToken === undefined)
  const idsOf = (pieces: typeof single): ReadonlyArray<number> =>
    pieces.flatMap(({ SpecialToken }) =>
      SpecialToken === undefined ? [] : (special_tokens[SpecialToken.id]?.ids ?? [])
    )
  return { before: idsOf(single.slice(0, at)), behind: idsOf(single.slice(at + 1)) }
}

/**
 * Reads a post-processor. Throws `TokenizerJsonError` for one that is malformed or of an unknown kind.
 *
 * @example
 * readPostProcessor({ type: "RobertaProcessing", cls: ["<s>", 0], sep: ["</s>", 2], ... }) // { before: [0], behind: [2] }
 */
export const readPostProcessor = (value: unknown): Around => {
  if (value === null || value === undefined) return { before: [], behind: [] }
  const { type } = decode(Kind, value)
  switch (type) {
    case "ByteLevel":
      return { before: [], behind: [] }
    case "TemplateProcessing":
      return templateAround(value)
    case "RobertaProcessing":
    case "BertProcessing": {
      const { cls, sep } = decode(Ends, value)
      return { before: [cls[1]], behind: [sep[1]] }
    }
    case "Sequence": {
      const inner = decode(Sequence, value).processors.map(readPostProcessor)
      // Each step wraps what the ones before it made.
      return {
        before: inner.toReversed().flatMap(({ before }) => before),
        behind: inner.flatMap(({ behind }) => behind)
      }
    }
    default:
      throw new TokenizerJsonError({
        message: `post_processor ${type} is not supported`,
        hint: "Encode without control tokens and add them yourself; the ids of the text itself are not affected."
      })
  }
}
