/**
 * The rows of `chat.json` and `metadata.json`: captions of uneven frequency, some unusable, in LLaVA's CC-595K format.
 *
 * Not the pictures: each row names the scene and the treatment that `Pictures` gives its file.
 */
import { type Ledger, ledger } from "./Ledger.ts"
import { dice } from "./Random.ts"
import { freshScene, type Scene, uneven } from "./Scene.ts"
import { caption, machineCaption, phrase, requests } from "./Words.ts"

export const amounts = { rows: 1200, tooLong: 24, repetitive: 18, tooShort: 12, duplicates: 40 } as const

/** What happens to an image on its way into the zip. */
export const treatments = [
  "plain",
  "grey",
  "cmyk",
  "strip",
  "tiny",
  "gif-called-jpg",
  "png-called-jpg",
  "page-called-jpg",
  "empty",
  "truncated",
  "garbled-header",
  "garbled-body",
  "wrong-crc",
  "missing"
] as const
export type Treatment = (typeof treatments)[number]

/** How many images get which treatment; the rest are plain. */
export const treated: ReadonlyArray<readonly [Treatment, number]> = [
  ["grey", 12],
  ["cmyk", 6],
  ["strip", 6],
  ["tiny", 6],
  ["gif-called-jpg", 4],
  ["png-called-jpg", 4],
  ["page-called-jpg", 3],
  ["empty", 3],
  ["truncated", 6],
  ["garbled-header", 3],
  ["garbled-body", 3],
  ["wrong-crc", 1],
  ["missing", 8]
]

export interface ChatRow {
  readonly id: string
  readonly image: string
  readonly conversations: ReadonlyArray<{ readonly from: "human" | "gpt"; readonly value: string }>
}

export interface MetadataRow {
  readonly id: string
  readonly image: string
  readonly caption: string
  readonly blip_caption?: string
  readonly url: string
}

/** One image to draw and store as `name`. */
export interface Picture {
  readonly name: string
  readonly scene: Scene
  readonly treatment: Treatment
}

export interface CaptionPart {
  readonly chat: ReadonlyArray<ChatRow>
  readonly metadata: ReadonlyArray<MetadataRow>
  readonly pictures: ReadonlyArray<Picture>
  readonly ledger: Ledger
}

/** Makes the part; no pictured scene has a signature in `heldOut`. */
export const captions = (seed: number, heldOut: ReadonlySet<string>): CaptionPart => {
  const book = ledger()
  const scenes = dice(seed, "cc595k/scenes")
  const words = dice(seed, "cc595k/words")
  const asks = dice(seed, "cc595k/requests")
  const plan = dice(seed, "cc595k/plan")

  const damaged = treated.flatMap(([treatment, n]) => Array.from({ length: n }, (): Treatment => treatment))
  const fates = plan.shuffle(
    damaged.concat(Array.from({ length: amounts.rows - damaged.length }, (): Treatment => "plain"))
  )
  const unusual = (["tooLong", "repetitive", "tooShort", "duplicates"] as const).flatMap((kind) =>
    Array.from({ length: amounts[kind] }, (): string => kind)
  )
  const kinds = plan.shuffle(unusual.concat(Array.from({ length: amounts.rows - unusual.length }, () => "usual")))

  const chat: Array<ChatRow> = []
  const metadata: Array<MetadataRow> = []
  const pictures: Array<Picture> = []
  let number = 1000
  for (let i = 0; i < amounts.rows; i++) {
    number += plan.range(1, 4400)
    const id = `GCC_train_${String(number).padStart(9, "0")}`
    const image = `${id}.jpg`
    const scene = freshScene(scenes, uneven, heldOut)
    const treatment = fates[i]!
    const kind = i === 0 && kinds[i] === "duplicates" ? "usual" : kinds[i]!
    let text = caption(words, scene)
    if (kind === "tooLong") {
      text = Array.from({ length: 6 }, () => caption(words, scene)).join(" while next to it there is also ")
      book.note("caption-too-long", id)
    } else if (kind === "repetitive") {
      text = `${phrase(scene.things[0]!)} `.repeat(words.range(6, 9)).trim()
      book.note("caption-repetitive", id)
    } else if (kind === "tooShort") {
      text = scene.things[0]!.shape
      book.note("caption-too-short", id)
    } else if (kind === "duplicates") {
      text = metadata[words.int(metadata.length)]!.caption
      book.note("caption-copied", id)
    }
    if (treatment !== "plain") book.note(`picture-${treatment}`, image)
    const request = asks.pick(requests)
    chat.push({
      id,
      image,
      conversations: [
        { from: "human", value: asks.chance(0.5) ? `${request}\n<image>` : `<image>\n${request}` },
        { from: "gpt", value: text }
      ]
    })
    const machine = machineCaption(words, scene)
    metadata.push({
      id,
      image,
      caption: text,
      ...(words.chance(0.1) ? {} : { blip_caption: machine }),
      url: `https://example.org/pictures/${number % 97}/${number}.jpg`
    })
    pictures.push({ name: image, scene, treatment })
  }
  return { chat, metadata, pictures, ledger: book }
}
