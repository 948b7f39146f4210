/**
 * tokenizer.json: the file format of Hugging Face `tokenizers`, for byte-level BPE.
 *
 * Not every tokenizer: what would give other ids than the original (another model, SentencePiece's spelling, a
 * normalizer that changes more than the form of characters) is refused with the reason, never approximated.
 *
 * | part | read |
 * |---|---|
 * | model | BPE, with or without `ignore_merges`, all 256 bytes in the vocabulary |
 * | normalizer | none, NFC |
 * | pre_tokenizer | ByteLevel with or without its pattern and `add_prefix_space`; Split (isolated) and Digits before it |
 * | added_tokens | all flags |
 * | post_processor | ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing, and sequences of them |
 * | decoder | ByteLevel |
 *
 * A field that is not known here is refused by its name, unless it is null or false.
 */
import { Schema } from "effect"
import type { AddedToken } from "./Added.ts"
import { scannerFor } from "./Llama.ts"
import { type PreTokenizer, type Splitter, splitByPattern, splitDigits, splitGpt2, UnsafePattern } from "./Pieces.ts"
import { type Around, readPostProcessor } from "./PostProcessor.ts"
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
  post_processor: Schema.optional(Schema.Unknown),
  decoder: Schema.optional(Schema.Unknown),
  model: Model
})

const Kind = Schema.Struct({ model: Schema.Struct({ type: Schema.optional(Schema.String) }) })

const Pre = Schema.Struct({
  type: Schema.String,
  add_prefix_space: Schema.optional(Schema.Boolean),
  use_regex: Schema.optional(Schema.Boolean),
  individual_digits: Schema.optional(Schema.Boolean),
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
  readonly split: PreTokenizer
  /** Whether text is brought into composed form (NFC) first. */
  readonly normalize: boolean
  /** What the post-processor puts around a text; throws when it is of an unknown kind. */
  readonly around: () => Around
  /** A piece that is a token itself takes that id, whatever the merges would give. */
  readonly ignoreMerges: boolean
}

const refuse = (message: string, hint: string, cause?: unknown): never => {
  throw new TokenizerJsonError({ message, hint, ...(cause === undefined ? {} : { cause }) })
}

const EXACT_HINT =
  "Only byte-level BPE (GPT-2, RoBERTa, Llama 3, Qwen 2, Phi) is reproduced exactly; choose another tokenizer."
const SENTENCEPIECE_HINT = `It is spelled as SentencePiece spells (Llama 2, Mistral, Gemma). ${EXACT_HINT}`

const decode = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, value: unknown, what: string): S["Type"] => {
  try {
    return Schema.decodeUnknownSync(schema)(value)
  } catch (cause) {
    return refuse(`${what} is malformed: ${cause}`, "Check that the file is a complete tokenizer.json.", cause)
  }
}

/** Fields by part. `truncation` and `padding` are what a caller of `tokenizers` asks for; nobody is asked here. */
const known = {
  "tokenizer.json": [
    ...["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"],
    "model"
  ],
  model: [
    ...["type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback"],
    ...["ignore_merges", "vocab", "merges"]
  ],
  pre_tokenizer: [
    ...["type", "add_prefix_space", "trim_offsets", "use_regex", "individual_digits", "pattern", "behavior", "invert"],
    "pretokenizers"
  ],
  normalizer: ["type", "normalizers"],
  decoder: ["type", "add_prefix_space", "trim_offsets", "use_regex", "decoders"]
} as const

const kinds: ReadonlySet<unknown> = new Set(["BPE", "ByteLevel", "Split", "Digits", "NFC", "Sequence", null, undefined])

/** Refuses a part with a field that nobody here knows the meaning of. */
const refuseUnknown = (part: unknown, what: keyof typeof known): void => {
  if (typeof part !== "object" || part === null) return
  // A part of another kind is refused as that, where it is read.
  if ("type" in part && !kinds.has(part.type)) return
  const names: ReadonlyArray<string> = known[what]
  for (const [field, value] of Object.entries(part))
    if (!names.includes(field) && value !== null && value !== false)
      refuse(`${what} has the field ${field}, which is not known here`, EXACT_HINT)
}

/** Ids become text as byte-level BPE has it; another decoder would write other text. */
const checkDecoder = (value: unknown): void => {
  if (value === null || value === undefined) return
  refuseUnknown(value, "decoder")
  const { decoders, type } = decode(
    Schema.Struct({ type: Schema.String, decoders: Schema.optional(Schema.Array(Schema.Unknown)) }),
    value,
    "decoder"
  )
  if (type === "Sequence") for (const one of decoders ?? []) checkDecoder(one)
  else if (type !== "ByteLevel") refuse(`decoder ${type} is not supported`, EXACT_HINT)
}

const whole: Splitter = (_text, from, to, emit) => emit(from, to)

const SplitPattern = Schema.Union([Schema.Struct({ Regex: Schema.String }), Schema.Struct({ String: Schema.String })])

const readSplit = (step: Pre): Splitter => {
  const given = decode(SplitPattern, step.pattern, "a Split step's pattern")
  const pattern = "Regex" in given ? given.Regex : given.String.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")
  // Isolated: matches and what lies between are pieces, so that `invert` changes nothing.
  if (step.behavior !== "Isolated") refuse(`a Split step with behavior ${step.behavior} is not supported`, EXACT_HINT)
  try {
    return scannerFor(pattern) ?? splitByPattern(pattern)
  } catch (cause) {
    if (cause instanceof UnsafePattern)
      return refuse(
        `the pattern ${pattern.slice(0, 200)} may take for ever: ${cause.message}`,
        "Write the pattern so that only characters and classes are repeated, or choose another tokenizer.",
        cause
      )
    return refuse(`the pattern ${pattern} cannot be expressed in JavaScript`, EXACT_HINT, cause)
  }
}

/** Runs one splitter inside the pieces of another. */
const nest =
  (outer: Splitter, inner: Splitter): Splitter =>
  (text, from, to, emit) =>
    outer(text, from, to, (start, end) => inner(text, start, end, emit))

const readSplitter = (value: unknown): PreTokenizer => {
  if (value === null || value === undefined) return refuse("there is no pre_tokenizer", EXACT_HINT)
  const top = decode(Pre, value, "pre_tokenizer")
  const inner = top.type === "Sequence" ? (top.pretokenizers ?? []) : [value]
  for (const step of [value, ...inner]) refuseUnknown(step, "pre_tokenizer")
  const steps = inner.map((step) => decode(Pre, step, "a pretokenizer"))
  let before: Splitter | undefined
  for (const [i, step] of steps.entries()) {
    if (step.type === "ByteLevel") {
      if (i < steps.length - 1)
        refuse(`pre_tokenizer ${steps[i + 1]!.type} behind ByteLevel is not supported`, EXACT_HINT)
      const own = step.use_regex === false ? whole : splitGpt2
      return step.add_prefix_space === true
        ? { before, prefixSpace: true, pieces: own }
        : {
            before: undefined,
            prefixSpace: false,
            pieces: before === undefined ? own : own === whole ? before : nest(before, own)
          }
    }
    let next: Splitter
    if (step.type === "Split") next = readSplit(step)
    else if (step.type === "Digits") next = splitDigits(step.individual_digits === true)
    else
      return refuse(
        `pre_tokenizer ${step.type} is not supported`,
        step.type === "Metaspace" ? SENTENCEPIECE_HINT : EXACT_HINT
      )
    before = before === undefined ? next : nest(before, next)
  }
  return refuse("pre_tokenizer has no ByteLevel step", EXACT_HINT)
}

/** Whether the normalizer is NFC; anything but that and none is refused. */
const readNormalizer = (value: unknown): boolean => {
  if (value === null || value === undefined) return false
  refuseUnknown(value, "normalizer")
  const { normalizers, type } = decode(
    Schema.Struct({ type: Schema.String, normalizers: Schema.optional(Schema.Array(Schema.Unknown)) }),
    value,
    "normalizer"
  )
  if (type === "NFC") return true
  if (type === "Sequence") return (normalizers ?? []).map(readNormalizer).includes(true)
  return refuse(`normalizer ${type} is not supported`, `Of normalizers NFC alone is read. ${EXACT_HINT}`)
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
      refuse("tokenizer.json is not JSON", "The file may be cut off; download it again.", cause)
    }
  }
  // The model's kind is asked first: another kind's file is not malformed.
  const { type } = decode(Kind, value, "tokenizer.json").model
  if (type !== undefined && type !== "BPE") refuse(`model ${type} is not BPE`, EXACT_HINT)
  const file = decode(TokenizerJson, value, "tokenizer.json")
  const { model } = file
  refuseUnknown(value, "tokenizer.json")
  refuseUnknown((value as { readonly model: unknown }).model, "model")
  checkDecoder(file.decoder)
  if (model.dropout) refuse("BPE dropout makes ids random", "Set model.dropout to null.")
  if (model.byte_fallback === true) refuse("a model with byte_fallback is not byte-level", SENTENCEPIECE_HINT)
  if (model.continuing_subword_prefix || model.end_of_word_suffix) {
    refuse("a model with subword affixes is not byte-level", EXACT_HINT)
  }
  return {
    added: file.added_tokens,
    vocab: readVocab(model.vocab),
    merges: readMerges(model.merges),
    split: readSplitter(file.pre_tokenizer),
    normalize: readNormalizer(file.normalizer),
    around: () => readPostProcessor(file.post_processor),
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
