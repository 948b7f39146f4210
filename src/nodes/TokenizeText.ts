/**
 * Renders conversations by a template and tokenises them, with loss on the answers by character offsets.
 *
 * Not packing: an example is one conversation. Two definitions of one algorithm: for text alone, and for conversations
 * with images, whose placeholders are expanded before anything is cut.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { broadcast, type Tree } from "../dag/Artifact.ts"
import { type Refusing, sharded } from "../dag/Node.ts"
import { patchCount } from "../model/clip/Config.ts"
import { groupOf, groupOfId, groupOfImage, type IdRule } from "../text/Group.ts"
import { BadExample, type TemplateName, tokenizeExample } from "../text/Template.ts"
import { modalityLength } from "../training/Sampler.ts"
import { Examples, PicturedConversations, TokenizerFile, Vicuna, VisionTower } from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { readClipConfig } from "./ModelFiles.ts"
import { Positive } from "./Params.ts"

type Example = typeof Examples.schema.Type

interface Row {
  readonly id: string
  readonly group?: string
  readonly image?: string | null
  readonly conversations: ReadonlyArray<{ readonly from: "human" | "gpt"; readonly value: string }>
}

const tokenizeRows = (
  tree: Tree,
  rows: Stream.Stream<ReadonlyArray<Row>>,
  flatMap: Refusing<BadExample>["flatMap"],
  shard: number,
  options: { readonly template: TemplateName; readonly maxTokens: number; readonly imageTokens: number },
  group: (row: Row) => string
) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const tokenizer = yield* loadTokenizer(tree)
      const { eosId, imageId } = yield* controlIds(tokenizer, tree.path)
      let images = 0
      return flatMap(rows, (row) => {
        const hasImage = row.image !== undefined && row.image !== null
        const image = hasImage ? images++ : -1
        return Result.map(
          tokenizeExample(
            tokenizer,
            { turns: row.conversations, image: hasImage },
            { ...options, eosId, imageTokenId: imageId }
          ),
          ({ fullLength, ids, imageAt, labels }): ReadonlyArray<Example> => [
            {
              id: row.id,
              group: group(row),
              shard,
              image,
              ids,
              labels,
              imageAt,
              words: modalityLength(
                row.conversations.map((turn) => turn.value),
                hasImage
              ),
              cut: fullLength - ids.length
            }
          ]
        )
      })
    })
  )

export const tokenizeConversations = sharded(
  {
    id: "tokenizeConversations",
    version: "3",
    about: "Vicuna v1.1 prompts as token ids, loss on answers and their ends.",
    params: Schema.Struct({ maxTokens: Positive }),
    inputs: { rows: Vicuna, tokenizer: broadcast(TokenizerFile) },
    outputs: { rows: Examples },
    refuses: [BadExample],
    runs: "worker"
  },
  ({ flatMap, index, params, shard }) => ({
    rows: tokenizeRows(
      shard.tokenizer,
      shard.rows,
      flatMap,
      index,
      { template: "v1", maxTokens: params.maxTokens, imageTokens: 0 },
      groupOf
    )
  })
)

export const tokenizePictured = sharded(
  {
    id: "tokenizePictured",
    version: "4",
    about: "Conversations about images as token ids, one placeholder for each patch of the tower.",
    params: Schema.Struct({
      /** `plain`: image, caption, newline (pretraining). `v1`: Vicuna with the image first (instruction tuning). */
      template: Schema.Literals(["plain", "v1"]),
      maxTokens: Positive,
      /** What puts rows without an image into one group, by their ids; a row with an image is in its image's group. */
      group: Schema.Literals(["sharegpt", "part", "id"]).pipe(
        Schema.withConstructorDefault(Effect.succeed<IdRule>("sharegpt"))
      )
    }),
    /** The tower says how many patches an image has: 576 for CLIP ViT-L/14 at 336 px. */
    inputs: { rows: PicturedConversations, tokenizer: broadcast(TokenizerFile), vision: broadcast(VisionTower) },
    outputs: { rows: Examples },
    refuses: [BadExample],
    runs: "worker"
  },
  ({ flatMap, index, params: { group, ...params }, shard }) => ({
    rows: Stream.unwrap(
      Effect.map(readClipConfig(shard.vision), (tower) =>
        tokenizeRows(
          shard.tokenizer,
          shard.rows,
          flatMap,
          index,
          { ...params, imageTokens: patchCount(tower) },
          (row) => (row.image === null || row.image === undefined ? groupOfId(row.id, group) : groupOfImage(row.image))
        )
      )
    )
  })
)
