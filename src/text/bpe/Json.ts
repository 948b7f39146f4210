/**
 * tokenizer.json: the file format of Hugging Face `tokenizers`, for byte-level BPE.
 *
 * Not every tokenizer: what would give other ids than the original (a normalizer, a prefix space, another model) is
 * refused with the reason, never approximated. Post-processors are kept in the file but not run: no ids are inserted.
 */
import { Schema } from "effect"
import type { AddedToken } from "./Added.ts"
import { type Splitter, splitByPattern, splitGpt2 } from "./Pieces.ts"
import { TokenizerJsonError } from "./Vocabulary.ts"

const Added = Schema.Struct({
  id: Schema.Int,
  content: Schema.String,
  single_word: Schema.Boolean,
  lstrip: Schema.Boolean,
  rstrip: Schema.Boolean,
  normalized: Schema.Boolean,
  special: Schema.Boolean
})

const Model = Schema.Struct({
  type: Schema.optional(Schema.String),
  dropout: Schema.optional(Schema.NullOr(Schema.Number)),
  continuing_subword_prefix: Schema.optional(Schema.NullOr(Schema.String)),
  end_of_word_suffix: Schema.optional(Schema.NullOr(Schema.String)),
  byte_fallback: Schema.optional(Schema.Boolean),
  ignore_merges: Schema.optional(Schema.Boolean),
  vocab: Schema.Unknown,
  merges: Schema.Unknown
})

const TokenizerJson = Schema.Struct({
  added_tokens: Schema.Array(Added),
  normalizer: Schema.Unknown,
  pre_tokenizer: Schema.Unknown,
  model: Model
})

const Pre = Schema.Struct({
  type: Schema.String,
  add_prefix_space: Schema.optional(Schema.Boolean),
  use_regex: Schema.optional(Schema.Boolean),
  pattern: Schema.optional(Schema.Unknown),
  behavior: Schema.optional(Schema.String),
  invert: Schema.optional(Schema.Boolean),
  pretokenizers: Schema.optional(Schema.Array(Schema.Unknown))
})
type Pre = typeof Pre.Type

/** What a tokenizer.json says, checked. */
export interface ParsedTokenizer {
  readonly added: ReadonlyArray<AddedToken>
  readonly vocab: ReadonlyMap<string, number>
  readonly merges: ReadonlyArray<readonly [string, string]>
  readonly split: Splitter
  /** A piece that is a token itself takes that id, whatever the merges would give. */
  readonly ignoreMerges: boolean
}

const refuse = (message: string, hint: string, cause?: unknown): never => {
  throw new TokenizerJsonError({ message, hint, ...(cause === undefined ? {} : { cause }) })
}

const EXACT_HINT =
  "Only byte-level BPE without a normalizer is reproduced exactly; convert or choose another tokenizer."

const decode = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, value: unknown, what: string): S["Type"] => {
  try {
    return Schema.decodeUnknownSync(schema)(value)
  } catch (cause) {
    return refuse(`${what} is malformed: ${cause}`, "Check that the file is a complete tokenizer.json.", cause)
  }
}

const whole: Splitter = (_text, from, to, emit) => emit(from, to)

const readSplit = (step: Pre): Splitter => {
  const pattern = decode(Schema.Struct({ Regex: Schema.String }), step.pattern, "a Split step's pattern").Regex
  if (step.behavior !== "Isolated" || step.invert === true) {
    refuse(`a Split step with behavior ${step.behavior} is not supported`, EXACT_HINT)
  }
  try {
    return splitByPattern(pattern)
  } catch (cause) {
    return refuse(`the pattern ${pattern} cannot be expressed in JavaScript`, EXACT_HINT, cause)
  }
}

/** Runs one splitter inside the pieces of another. */
const nest =
  (outer: Splitter, inner: Splitter): Splitter =>
  (text, from, to, emit) =>
    outer(text, from, to, (start, end) => inner(text, start, end, emit))

const readSplitter = (value: unknown): Splitter => {
  const top = decode(Pre, value, "pre_tokenizer")
  const steps =
    top.type === "Sequence" ? (top.pretokenizers ?? []).map((step) => decode(Pre, step, "a pretokenizer")) : [top]
  let split: Splitter | undefined
  let isByteLevel = false
  for (const step of steps) {
    let next: Splitter = whole
    if (step.type === "ByteLevel") {
      if (step.add_prefix_space === true) refuse("pre_tokenizer ByteLevel with add_prefix_space", EXACT_HINT)
      isByteLevel = true
      next = step.use_regex === false ? whole : splitGpt2
    } else if (step.type === "Split") next = readSplit(step)
    else refuse(`pre_tokenizer ${step.type} is not supported`, EXACT_HINT)
    split = split === undefined || split === whole ? next : next === whole ? split : nest(split, next)
  }
  if (!isByteLevel) refuse("pre_tokenizer has no ByteLevel step", EXACT_HINT)
  return split ?? whole
}

/**
 * Reads a tokenizer.json, given as text or as the parsed object.
 *
 * Throws `TokenizerJsonError` for malformed files and for features that could not be reproduced exactly.
 *
 * @example
 * const { vocab, merges } = parseTokenizerJson(readFileSync("tokenizer.json", "utf8"))
 */
export const parseTokenizerJson = (source: string | object): ParsedTokenizer => {
  let value: unknown = source
  if (typeof source === "string") {
    try {
      value = JSON.parse(source)
    } catch (cause) {
      refuse("tokenizer.json is not JSON", "The file may be cut off or be a Git LFS pointer; fetch it again.", cause)
    }
  }
  const file = decode(TokenizerJson, value, "tokenizer.json")
  const { model } = file
  if (file.normalizer !== null && file.normalizer !== undefined) refuse("a normalizer is not supported", EXACT_HINT)
  if (model.type !== undefined && model.type !== "BPE") refuse(`model ${model.type} is not BPE`, EXACT_HINT)
  if (model.dropout) refuse("BPE dropout makes ids random", "Set model.dropout to null.")
  if (model.byte_fallback === true || model.continuing_subword_prefix || model.end_of_word_suffix) {
    refuse("byte_fallback and subword affixes belong to other kinds of BPE", EXACT_HINT)
  }
  return {
    added: file.added_tokens,
    vocab: readVocab(model.vocab),
    merges: readMerges(model.merges),
    split: readSplitter(file.pre_tokenizer),
    ignoreMerges: model.ignore_merges ?? false
  }
}

// The two big tables are checked by hand: a schema over 100,000 entries costs more than all the rest of loading.
const readVocab = (value: unknown): ReadonlyMap<string, number> => {
  const vocab = new Map<string, number>()
  if (typeof value !== "object" || value === null) return refuse("model.vocab is not an object", EXACT_HINT)
  for (const [token, id] of Object.entries(value)) {
    if (!Number.isSafeInteger(id) || id < 0 || id > 0x3fffffff) refuse(`token ${token} has the id ${id}`, EXACT_HINT)
    vocab.set(token, id)
  }
  return vocab
}

const readMerges = (value: unknown): ReadonlyArray<readonly [string, string]> => {
  if (!Array.isArray(value)) return refuse("model.merges is not an array", EXACT_HINT)
  return value.map((rule: unknown) => {
    if (typeof rule === "string") return splitRule(rule)
    if (Array.isArray(rule) && rule.length === 2 && typeof rule[0] === "string" && typeof rule[1] === "string") {
      return [rule[0], rule[1]] as const
    }
    return refuse(`merge ${JSON.stringify(rule)} is not a pair`, EXACT_HINT)
  })
}

const splitRule = (rule: string): readonly [string, string] => {
  const at = rule.indexOf(" ")
  return at > 0 && rule.indexOf(" ", at + 1) < 0
    ? [rule.slice(0, at), rule.slice(at + 1)]
    : refuse(`merge "${rule}" is not a pair`, "A merge is two tokens separated by one space, or a pair of strings.")
}

/**
 * The tokenizer.json object of a GPT-2-like byte-level BPE. Merges are written as strings, which every version reads.
 *
 * @example
 * JSON.stringify(tokenizerJson({ added, vocab, merges }))
 */
export const tokenizerJson = (parts: {
  readonly added: ReadonlyArray<AddedToken>
  readonly vocab: Iterable<readonly [string, number]>
  readonly merges: Iterable<readonly [string, string]>
}): object => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [...parts.added].sort((a, b) => a.id - b.id),
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true },
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: "",
    end_of_word_suffix: "",
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries(parts.vocab),
    merges: Array.from(parts.merges, ([left, right]) => `${left} ${right}`)
  }
})
