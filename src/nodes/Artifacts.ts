/**
 * The artifacts of the recipes' nodes: every kind of rows, files and values that flows between them.
 *
 * Not the nodes. Two artifacts of the same shape are two types where mixing them up would be a mistake: cleaned
 * conversations are not split ones.
 */
import { Schema } from "effect"
import { rows, tree, value } from "../dag/Artifact.ts"
import { arrowRows, list } from "../data/ArrowShard.ts"
import { type FeatureRow, featureRows, type PixelRow, pixelRows } from "../data/UniformRows.ts"
import { Conversation, ConversationTurn, RawConversation } from "../text/Conversation.ts"

// ---- files from outside

/** ShareGPT rows of `{ id, conversations }`: a JSON array, JSON Lines or Parquet, or a folder of such parts. */
export const ShareGptFile = tree("sharegpt-file")
/** CC-595K's `chat.json`. */
export const ChatFile = tree("cc595k-chat-file")
/** CC-595K's `metadata.json`. */
export const MetadataFile = tree("cc595k-metadata-file")
/** LLaVA-Instruct's JSON array. */
export const InstructFile = tree("llava-instruct-file")
/** Held-out questions with their types. */
export const HeldOutFile = tree("held-out-file")
/**
 * Questions a line, as POPE and LLaVA's evaluation have them: `question_id`, `image`, `text`, and `label` where there
 * is one.
 */
export const QuestionFile = tree("question-file")
/** Images: a zip archive, a tar, or a folder of images or tar files. */
export const ImageFiles = tree("image-files")
/** A byte-level BPE `tokenizer.json`. */
export const TokenizerFile = tree("tokenizer-file")

// ---- models, as Hugging Face folders (config.json and safetensors)

export const LanguageModel = tree("language-model")
export const VisionTower = tree("vision-tower")
/** A projector between the two: `config.json` with its sizes, `model.safetensors` with linear_1 and linear_2. */
export const Projector = tree("projector")
/**
 * A LoRA adapter in PEFT's layout, on the language model it was trained beside: `adapter_config.json`,
 * `adapter_model.safetensors`.
 */
export const Adapter = tree("adapter")
/** `LlavaForConditionalGeneration`'s layout with tokenizer and processor files: what others open. */
export const Checkpoint = tree("checkpoint")
/** LLaVA's own layout: a language model's folder with `mm_*` fields, the projector inside or in `mm_projector.bin`. */
export const OriginalLlava = tree("original-llava")
/** A projector to pass on: `mm_projector.bin` with a small `config.json`, or the file alone. */
export const ProjectorFile = tree("projector-file")

// ---- rows

/** ShareGPT's rows as found. */
export const RawConversations = rows("raw-conversations", RawConversation)

/** Cleaned conversations: markdown, human and gpt in turn. */
export const Conversations = rows("conversations", Conversation)

/** Conversations whose parts fit the context: what a language model is tuned on. */
export const Vicuna = rows("vicuna", Conversation)

/** A captioned image. `caption` is the answer of `conversations`: the alt text. */
export const Caption = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  caption: Schema.String,
  conversations: Schema.Array(ConversationTurn)
})
export const Captions = rows("captions", Caption)

/** A conversation about an image; `image` is null for text alone. */
export const ImageConversation = Schema.Struct({
  id: Schema.String,
  image: Schema.NullOr(Schema.String),
  conversations: Schema.Array(ConversationTurn)
})
export const ImageConversations = rows("image-conversations", ImageConversation)

/** Conversations whose images were all decoded: the k-th row with an image belongs to the k-th row of `pixels`. */
export const PicturedConversations = rows("pictured-conversations", ImageConversation)

/** Images that were taken for what they are, though their names say another type: one row each, `type` as found. */
export const MisnamedImages = rows(
  "misnamed-images",
  Schema.Struct({ id: Schema.String, image: Schema.String, type: Schema.String })
)

/** A held-out question about an image; `answer` is null where the right one is not known here. */
export const Question = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  type: Schema.String,
  question: Schema.String,
  answer: Schema.NullOr(Schema.String)
})
export const Questions = rows("questions", Question)

/** A model's answer to a question: what scorers look at. `category` is the question's type. */
export const Answer = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  category: Schema.String,
  question: Schema.String,
  answer: Schema.String,
  truth: Schema.NullOr(Schema.String),
  /** The answer to the same question about another image; null where that was not asked. */
  blind: Schema.NullOr(Schema.String)
})
export const Answers = rows("answers", Answer)

// ---- values

/**
 * Rows in, rows kept, and rows taken by each rule, in the order the rules are applied; a rule that took none is listed
 * too.
 */
export const RuleCounts = Schema.Struct({
  rowsIn: Schema.Number,
  rowsOut: Schema.Number,
  taken: Schema.Array(Schema.Struct({ rule: Schema.String, rows: Schema.Number })),
  /** Distinct noun phrases; those frequent enough to add captions; those that add only some of theirs. */
  phrases: Schema.Number,
  frequentPhrases: Schema.Number,
  cappedPhrases: Schema.Number
})
export const FilterReport = value("filter-report", RuleCounts)

/** A training stage's losses: one a step (mean over the step's loss tokens), and what the stage ran over. */
export const TrainingLog = Schema.Struct({
  steps: Schema.Number,
  epochs: Schema.Number,
  rows: Schema.Number,
  /** Tokens that carried loss. */
  lossTokens: Schema.Number,
  losses: Schema.Array(Schema.Number),
  /** Examples that were cut at the context's end, and the tokens they lost. */
  cutRows: Schema.Number,
  cutTokens: Schema.Number,
  /** Mean loss of held-out tokens, of the weights that the stage gives; null when nothing was held out. */
  heldOutLoss: Schema.NullOr(Schema.Number),
  /** The same on the way, where `evaluateEvery` asked for it; the last step is in it. */
  evaluations: Schema.optionalKey(Schema.Array(Schema.Struct({ step: Schema.Number, loss: Schema.Number }))),
  /** The step whose weights the stage gives, where `keepBest` chose among them. */
  keptStep: Schema.optionalKey(Schema.Number)
})
export const TrainingReport = value("training-report", TrainingLog)

// ---- tensors, as Arrow shards

/** Decoded images, S x S x 3 uint8, ready to be normalised. */
export const Pixels = rows(
  "pixels",
  Schema.Struct({ id: Schema.String, pixels_HWC: Schema.Uint8Array }) satisfies Schema.Codec<PixelRow, any>,
  { format: pixelRows }
)

/**
 * Frozen image features, P patches x D floats. `featureLayer` says of which hidden state of the tower: what is trained
 * on them fits no other, so it goes with them.
 */
export const Features = rows(
  "image-features",
  Schema.Struct({
    id: Schema.String,
    featureLayer: Schema.Int,
    features_PD: Schema.instanceOf(Float32Array)
  }) satisfies Schema.Codec<FeatureRow, any>,
  { format: featureRows }
)

/**
 * Token ids with labels (-100 = no loss); `imageAt` is the first image placeholder's position, or -1.
 *
 * `group` names what must not be torn apart when examples are held out: the image, or the conversation before it was
 * split.
 */
export const Examples = rows(
  "examples",
  Schema.Struct({
    id: Schema.String,
    group: Schema.String,
    /** The shard the example was made in, and its image's number among that shard's images, or -1. */
    shard: Schema.Number,
    image: Schema.Number,
    ids: Schema.instanceOf(Int32Array),
    labels: Schema.instanceOf(Int32Array),
    imageAt: Schema.Number,
    /** Length in words, negative for text alone: what a length-grouped sampler goes by. */
    words: Schema.Number,
    /** Tokens cut off at the context's end. */
    cut: Schema.Number
  }),
  {
    format: arrowRows({
      id: "utf8",
      group: "utf8",
      shard: "int32",
      image: "int32",
      ids: list("int32"),
      labels: list("int32"),
      imageAt: "int32",
      words: "int32",
      cut: "int32"
    })
  }
)
