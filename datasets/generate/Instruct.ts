/**
 * The rows of `llava_instruct.json` and of `heldout.json`: questions about images with short answers.
 *
 * Not the images themselves. Held-out scenes are drawn first; every other part avoids their signatures.
 */
import type { Picture } from "./Captions.ts"
import { type Ledger, ledger } from "./Ledger.ts"
import { choose, questionsOf } from "./Questions.ts"
import { type Dice, dice } from "./Random.ts"
import { even, freshScene, heldOutWeights, type Scene, signature } from "./Scene.ts"
import { idMaker } from "./ShareGpt.ts"
import { boardTalk } from "./Talk.ts"
import { fullCaption, requests } from "./Words.ts"

export const amounts = { images: 2600, secondRows: 150, textOnly: 60, heldOut: 300 } as const

export interface InstructRow {
  readonly id: string
  readonly image?: string
  /** Only text-only rows have it, as in mix665k. */
  readonly model?: string
  readonly conversations: ReadonlyArray<{ readonly from: string; readonly value: string }>
}

export const evaluatedTypes = ["colour", "shape", "count", "position"] as const
export type EvaluatedType = (typeof evaluatedTypes)[number]

/** One held-out image with one question of each evaluated type. */
export interface HeldOutRow {
  readonly id: string
  readonly image: string
  readonly signature: string
  readonly questions: ReadonlyArray<{
    readonly type: EvaluatedType
    readonly question: string
    readonly answer: string
  }>
}

const numbers = (throws: Dice, digits: number): (() => string) => {
  const given = new Set<number>()
  return () => {
    for (;;) {
      const n = throws.range(9, 581929)
      if (given.has(n)) continue
      given.add(n)
      return String(n).padStart(digits, "0")
    }
  }
}

export interface HeldOutPart {
  readonly rows: ReadonlyArray<HeldOutRow>
  readonly pictures: ReadonlyArray<Picture>
  readonly signatures: ReadonlySet<string>
}

/** The held-out pictures: all signatures differ. */
export const heldOut = (seed: number): HeldOutPart => {
  const scenes = dice(seed, "heldout/scenes")
  const asks = dice(seed, "heldout/questions")
  const nextId = numbers(dice(seed, "heldout/ids"), 12)
  const signatures = new Set<string>()
  const rows: Array<HeldOutRow> = []
  const pictures: Array<Picture> = []
  while (rows.length < amounts.heldOut) {
    const scene = freshScene(scenes, heldOutWeights, signatures)
    const questions = questionsOf(scene)
    const chosen = evaluatedTypes.flatMap((type) =>
      choose(
        asks,
        questions.filter((q) => q.type === type),
        1
      ).map((q) => ({ type, question: q.question, answer: q.answer }))
    )
    signatures.add(signature(scene))
    const id = nextId()
    rows.push({ id, image: `${id}.jpg`, signature: signature(scene), questions: chosen })
    pictures.push({ name: `${id}.jpg`, scene, treatment: "plain" })
  }
  return { rows, pictures, signatures }
}

export interface InstructPart {
  readonly rows: ReadonlyArray<InstructRow>
  readonly pictures: ReadonlyArray<Picture>
  readonly signatures: ReadonlySet<string>
  readonly ledger: Ledger
  readonly plain: ReadonlyArray<string>
}

type Pairs = ReadonlyArray<readonly [question: string, answer: string]>

const turns = (throws: Dice, pairs: Pairs): InstructRow["conversations"] => {
  const before = throws.chance(0.5)
  return pairs.flatMap(([question, answer], i) => {
    const value = i > 0 ? question : before ? `<image>\n${question}` : `${question}\n<image>`
    return [
      { from: "human", value },
      { from: "gpt", value: answer }
    ]
  })
}

/** Share of the rows that begin with a request for a caption; the original has one description in seven rows. */
export const described = 0.3

/** Makes the training rows: four to six questions each; some images have two rows, some rows no image. */
export const instruct = (seed: number, without: ReadonlySet<string>): InstructPart => {
  const scenes = dice(seed, "instruct/scenes")
  const asks = dice(seed, "instruct/questions")
  const order = dice(seed, "instruct/order")
  const nextNumber = numbers(dice(seed, "instruct/ids"), 12)
  const nextId = idMaker(dice(seed, "instruct/text-ids"))
  const book = ledger()
  const rows: Array<InstructRow> = []
  const pictures: Array<Picture> = []
  const signatures = new Set<string>()
  const plain: Array<string> = []
  const ask = (id: string, scene: Scene): InstructRow => {
    const asked = choose(asks, questionsOf(scene), asks.range(4, 6))
    const pairs: Array<readonly [string, string]> = asked.map((q) => [q.question, q.answer])
    if (asks.chance(described)) pairs.unshift([asks.pick(requests), fullCaption(scene)])
    plain.push(...pairs.flat())
    return { id, image: `${id}.jpg`, conversations: turns(asks, pairs) }
  }
  for (let i = 0; i < amounts.images; i++) {
    const scene = freshScene(scenes, even, without)
    const id = nextNumber()
    signatures.add(signature(scene))
    pictures.push({ name: `${id}.jpg`, scene, treatment: "plain" })
    rows.push(ask(id, scene))
    if (i < amounts.secondRows) {
      rows.push(ask(id, scene))
      book.note("second-row-of-an-image", id)
    }
  }
  for (let i = 0; i < amounts.textOnly; i++) {
    const id = `${nextId()}_0`
    const talk = boardTalk(asks, without)
    signatures.add(signature(talk.scene))
    const conversations = talk.plain.map((value, k) => ({ from: k % 2 === 0 ? "human" : "gpt", value }))
    rows.push({ id, model: "", conversations })
    book.note("text-only", id)
  }
  return { rows: order.shuffle(rows), pictures, signatures, ledger: book, plain }
}
