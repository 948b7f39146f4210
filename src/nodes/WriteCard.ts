/**
 * Writes an exported checkpoint again with a card that says what the model was found to do: the folder that a run ends
 * with.
 *
 * Not an export and no evaluation: `exportTrained` writes the weights, `evaluate` asks that folder, and a folder cannot
 * say what is only known after it was asked. All files but README.md are copies, by reference where the file system can
 * (btrfs, XFS, APFS), so that weights take no second place there.
 */
import { constants } from "node:fs"
import { chmod, copyFile, readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import * as A from "./Artifacts.ts"
import { EvaluationReport } from "./Evaluate.ts"
import { withResults } from "./ExportCard.ts"
import { ModelFileError, writeTextFile } from "./ModelFiles.ts"

const CARD = "README.md"

const attempt = <A>(path: string, hint: string, run: () => Promise<A>): Effect.Effect<A, ModelFileError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      new ModelFileError({ path, message: cause instanceof Error ? cause.message : String(cause), hint, cause })
  })

export const writeCard = whole(
  {
    id: "writeCard",
    version: "1",
    about: "The exported folder with accuracy and blind baseline in its card, and the fields that the hub reads.",
    params: Schema.Struct({
      /** Name in the card. */
      name: Schema.String,
      /** An identifier of the hub's, such as `mit` or `cc0-1.0`; `other` where sources have several. */
      license: Schema.String,
      /** Models and data sets of the hub that it was made from. */
      baseModels: Schema.Array(Schema.String),
      datasets: Schema.Array(Schema.String),
      /** What the questions are, in words. */
      measuredOn: Schema.String
    }),
    /** Of the questions only the digest is used. */
    inputs: { model: A.Checkpoint, evaluation: EvaluationReport, questions: A.Questions },
    outputs: { model: A.Checkpoint }
  },
  ({ inputs, origin, params }) =>
    Effect.gen(function* () {
      const from = inputs.model.path
      const hint = "Give the folder that exportCheckpoint or exportTrained wrote."
      const names = yield* attempt(from, hint, () => readdir(from))
      const card = yield* attempt(join(from, CARD), hint, () => readFile(join(from, CARD), "utf8"))
      const text = withResults(card, params.name, params, {
        evaluation: inputs.evaluation,
        measuredOn: params.measuredOn,
        digest: origin?.inputs["questions"]
      })
      const copied = (folder: string) =>
        Effect.forEach(
          names.filter((name) => name !== CARD),
          (name) =>
            attempt(join(folder, name), "Check the folder and the free space.", async () => {
              await copyFile(join(from, name), join(folder, name), constants.COPYFILE_FICLONE)
              // Stored files may be read-only; those of a node's own folder are its own.
              await chmod(join(folder, name), 0o644)
            }),
          { discard: true }
        )
      return {
        model: (folder: string) => Effect.andThen(copied(folder), writeTextFile(join(folder, CARD), text))
      }
    })
)
