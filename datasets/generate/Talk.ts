/**
 * Clean conversations for the ShareGPT part: boards and described scenes with questions, and small talk about everyday
 * topics.
 *
 * Not dirty yet: `Dirt` breaks some of these afterwards. Replies come as served HTML, as the older slim HTML, or as
 * markdown, the way the original's files mix them.
 */
import { board } from "./Board.ts"
import { describeIn, type Language, pairsIn } from "./Languages.ts"
import { type Block, type Item, type Line, toHtml, toMarkdown, toSlimHtml } from "./Markup.ts"
import { choose, type Question, type QuestionType, questionsOf } from "./Questions.ts"
import type { Dice } from "./Random.ts"
import { even, freshScene, type Scene, several } from "./Scene.ts"
import { snippets, type Topic, topics } from "./Topics.ts"
import { describe, fullCaption, requests } from "./Words.ts"

export interface Turn {
  from: string
  value: string
}

/** A conversation before it is written; `plain` is what a tokenizer may learn from. */
export interface Talk {
  readonly turns: Array<Turn>
  readonly plain: ReadonlyArray<string>
  readonly language: string
}

type Form = "html" | "slim" | "markdown"

const replyIn = (form: Form, text: string): string =>
  form === "html" ? toHtml([{ kind: "paragraph", line: [text] }]) : form === "slim" ? toSlimHtml(text) : text

const talkOf = (pairs: ReadonlyArray<readonly [string, string]>, form: Form, language: string): Talk => ({
  turns: pairs.flatMap(([human, gpt]) => [
    { from: "human", value: human },
    { from: "gpt", value: replyIn(form, gpt) }
  ]),
  plain: pairs.flat(),
  language
})

const sceneForm = (dice: Dice): Form =>
  dice.weighted([
    ["html", 1],
    ["slim", 2],
    ["markdown", 7]
  ])

/** A conversation about a scene, and the scene. */
export type SceneTalk = Talk & { readonly scene: Scene }

type Pair = readonly [question: string, answer: string]

const asked = (questions: ReadonlyArray<Question>): Array<Pair> => questions.map((q) => [q.question, q.answer])

/** The pairs under a text that comes before the first question. */
const under = (text: string, gap: string, pairs: ReadonlyArray<Pair>): ReadonlyArray<Pair> =>
  pairs.map(([q, a], i) => [i === 0 ? `${text}${gap}${q}` : q, a])

/**
 * A described scene and two to five questions that follow from the description; half begin with a request for a
 * caption.
 */
export const sceneTalk = (dice: Dice, heldOut: ReadonlySet<string>): SceneTalk => {
  const scene = freshScene(dice, even, heldOut)
  const { text, caption, saysPlaces } = describe(dice, scene)
  const pairs = asked(
    choose(
      dice,
      questionsOf(scene).filter((q) => saysPlaces || q.type !== "position"),
      dice.range(2, 5)
    )
  )
  if (dice.chance(0.5)) pairs.unshift([dice.pick(requests), caption])
  return { ...talkOf(under(text, dice.pick([" ", "\n"]), pairs), sceneForm(dice), "en"), scene }
}

/** How often a board's questions include one about a number. */
const counting = 0.4

/**
 * A board of two to four tiles: four to six questions of colour and shape, at times one of number, and a request for a
 * caption, in any order.
 *
 * Colours are asked by shape and shapes by colour, and nothing else, because that is what a language model must learn
 * here: which of several words carries both. Questions about places wait for the images.
 */
export const boardTalk = (dice: Dice, heldOut: ReadonlySet<string>): SceneTalk => {
  const scene = freshScene(dice, several, heldOut)
  const questions = questionsOf(scene)
  const ofType = (...types: ReadonlyArray<QuestionType>) => questions.filter((q) => types.includes(q.type))
  const pairs = asked(choose(dice, ofType("colour", "shape"), dice.range(4, 6)))
  const insert = (pair: Pair) => pairs.splice(dice.range(0, pairs.length), 0, pair)
  insert([dice.pick(requests), fullCaption(scene)])
  if (dice.chance(counting)) insert(asked(choose(dice, ofType("count"), 1))[0]!)
  return { ...talkOf(under(board(scene), "\n", pairs), sceneForm(dice), "en"), scene }
}

/** The same in another language, or small talk in it. */
export const foreignTalk = (dice: Dice, language: Language, heldOut: ReadonlySet<string>): Talk => {
  const scene = freshScene(dice, even, heldOut)
  const pairs = dice.shuffle(pairsIn(language, scene)).slice(0, dice.range(2, 4))
  const [first, ...rest] = pairs.length > 0 ? pairs : [[language.howMany, language.numbers[0]] as const]
  const chat = dice.chance(0.4) ? [dice.pick(language.small)] : []
  return talkOf(
    [[`${describeIn(language, scene)} ${first![0]}`, first![1]], ...rest, ...chat],
    sceneForm(dice),
    language.code
  )
}

const prose = (dice: Dice, topic: Topic): Line => {
  const [a, b] = dice.shuffle(topic.sentences)
  const extra: Line = dice.weighted<Line>([
    [[" ", b!], 6],
    [[" ", { kind: "strong", text: dice.pick(topic.terms) }, ": ", b!], 2],
    [[" ", { kind: "em", text: b! }], 1],
    [[" Use ", { kind: "code", text: dice.pick(["x_1", "a<b>", "f(*args)", "n && m"]) }, " if you can."], 1],
    [
      [
        " See ",
        {
          kind: "link",
          text: dice.pick(topic.terms),
          href: `https://example.org/${topic.name}/${dice.range(1, 99)}?a=1&b=2`
        },
        "."
      ],
      1
    ],
    [[{ kind: "break" }, b!], 1],
    [[{ kind: "entity", name: "nbsp", text: "\u00a0" }, { kind: "entity", name: "copy", text: "©" }, " 3 < 4 & 5."], 1]
  ])
  return [a!, ...extra]
}

const list = (dice: Dice, topic: Topic): Block => {
  const items = dice.shuffle(topic.terms).map((term): Item => {
    const line: Line = [term, dice.pick(["", ", if there is time", ": the first thing to check"])]
    return dice.chance(0.15) ? { line, nested: [{ line: [dice.pick(topic.sentences)] }] } : { line }
  })
  return { kind: "list", ordered: dice.chance(0.5), loose: dice.chance(0.5), items: items.slice(0, dice.range(2, 4)) }
}

const table = (dice: Dice, topic: Topic): Block => ({
  kind: "table",
  head: [["What"], ["How many"], ["Note"]],
  rows: dice
    .shuffle(topic.terms)
    .slice(0, dice.range(2, 3))
    .map((term) => [[term], [String(dice.range(1, 40))], [dice.pick(["now", "later", "a | b", "if needed"])]])
})

const snippet = (dice: Dice): Block => ({ kind: "code", ...dice.pick(snippets) })

/** The blocks of one general reply. */
export const reply = (dice: Dice, topic: Topic): ReadonlyArray<Block> => {
  const blocks: Array<Block> = [{ kind: "paragraph", line: prose(dice, topic) }]
  const more = dice.range(0, 3)
  for (let i = 0; i < more; i++) {
    blocks.push(
      dice.weighted<() => Block>([
        [() => ({ kind: "paragraph", line: prose(dice, topic) }), 6],
        [() => list(dice, topic), 4],
        [() => snippet(dice), topic.name === "sorting" ? 9 : 1],
        [() => table(dice, topic), 1],
        [() => ({ kind: "heading", level: dice.pick([1, 2, 3, 4] as const), line: [`About ${topic.name}`] }), 1],
        [() => ({ kind: "quote", line: [dice.pick(topic.sentences)] }), 1]
      ])()
    )
  }
  return blocks
}

/** Small talk of `pairs` question and answer pairs about one topic. */
export const generalTalk = (dice: Dice, pairs: number, html = dice.chance(0.75)): Talk => {
  const topic = dice.pick(topics)
  const theme = dice.pick(["light", "dark"] as const)
  const turns: Array<Turn> = []
  const plain: Array<string> = []
  for (let i = 0; i < pairs; i++) {
    const question = dice.chance(i === 0 ? 1 : 0.4)
      ? dice.pick(topic.questions)
      : `${dice.pick(["Thanks. And", "Tell me more about", "What about", "One more thing:"])} ${dice.pick(topic.terms)}?`
    const blocks = reply(dice, topic)
    const markdown = toMarkdown(blocks)
    turns.push({ from: "human", value: question }, { from: "gpt", value: html ? toHtml(blocks, theme) : markdown })
    plain.push(question, markdown)
  }
  return { turns, plain, language: "en" }
}
