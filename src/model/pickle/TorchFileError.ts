/**
 * The error of everything that reads `pytorch_model.bin`: the archive, the pickle in it, the tensors it describes.
 *
 * `global` is the Python name that the pickle asked for, where that is why it was refused.
 */
import { Schema } from "effect"

/** A file of torch that is not whole, not of the kind that is read, or asks for more than tensors and containers. */
export class TorchFileError extends Schema.TaggedError<TorchFileError>()("TorchFileError", {
  path: Schema.String,
  reason: Schema.Literals(["unreadable", "not-torch", "legacy", "cut", "damaged", "refused", "too-large", "not-found"]),
  tensor: Schema.optional(Schema.String),
  global: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

export type Reason = TorchFileError["reason"]

const hints: Readonly<Record<Reason, string>> = {
  unreadable: "Check that the file exists and may be read.",
  "not-torch": "A pytorch_model.bin is a zip with data.pkl in it, as torch.save writes since version 1.6.",
  legacy:
    'Save it anew where torch is: torch.save(torch.load("pytorch_model.bin", weights_only=True), "pytorch_model.bin").',
  cut: "The file is damaged or still being written: download it again.",
  damaged: "The file is damaged: download it again and compare its sha256.",
  refused: "Only tensors and containers are read, nothing is run. Do not trust this file, or ask for safetensors.",
  "too-large": "No checkpoint of tensors needs so much: do not trust this file.",
  "not-found": "Check that the checkpoint belongs to this kind of model."
}

/** An error with the hint of its reason; thrown by what is synchronous, failed with by the rest. */
export const torchError = (
  path: string,
  reason: Reason,
  message: string,
  more: { readonly tensor?: string; readonly global?: string; readonly hint?: string; readonly cause?: unknown } = {}
): TorchFileError => new TorchFileError({ path, reason, message, hint: hints[reason], ...more })
