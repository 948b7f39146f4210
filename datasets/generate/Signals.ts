/**
 * Traffic lights and questions about them: somebody else's images, as `pipelines/finetune.ts` takes them.
 *
 * Not a part of the recipe's data: nothing that it trains on shows a traffic light. Pure: a function of the seed alone.
 *
 * Shapes: `pixels_HWC` u8, three channels, row by row.
 */
import { type Dice, dice } from "./Random.ts"

type Rgb = readonly [number, number, number]
const LAMPS = ["red", "yellow", "green"] as const
type Lamp = (typeof LAMPS)[number]

/** What a light shows, in the order in which it changes. */
const PHASES = [["red"], ["red", "yellow"], ["green"], ["yellow"]] as const satisfies ReadonlyArray<ReadonlyArray<Lamp>>

const lit: Readonly<Record<Lamp, Rgb>> = { red: [226, 30, 36], yellow: [252, 204, 0], green: [26, 166, 72] }
const dark: Rgb = [70, 72, 76]
const housing: Rgb = [34, 36, 40]
const skies: ReadonlyArray<Rgb> = [
  [212, 227, 243],
  [236, 238, 240],
  [188, 206, 226],
  [244, 226, 206],
  [206, 214, 206]
]

export interface SignalPicture {
  readonly name: string
  readonly width: number
  readonly height: number
  readonly pixels_HWC: Uint8Array
}

const inside = (distance: number): number => Math.min(1, Math.max(0, 0.5 - distance))

/** A light of three lamps on a plain sky; edges are one pixel soft. */
const draw = (name: string, phase: ReadonlyArray<Lamp>, throws: Dice): SignalPicture => {
  const height = throws.range(60, 96)
  const width = throws.range(Math.round(height * 0.75), Math.round(height * 1.2))
  const sky = throws.pick(skies)
  const tall = height * (0.86 + 0.1 * throws.unit())
  const wide = tall * (0.34 + 0.06 * throws.unit())
  const centreX = wide / 2 + 2 + throws.unit() * (width - wide - 4)
  const centreY = height / 2
  const radius = wide * 0.36
  const pixels_HWC = new Uint8Array(width * height * 3)
  const cover = (at: number, ink: Rgb, share: number): void => {
    for (let c = 0; c < 3; c++) pixels_HWC[at + c] = Math.round(pixels_HWC[at + c]! * (1 - share) + ink[c]! * share)
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3
      cover(at, sky, 1)
      const [u, v] = [x + 0.5 - centreX, y + 0.5 - centreY]
      cover(at, housing, inside(Math.max(Math.abs(u) - wide / 2, Math.abs(v) - tall / 2)))
      for (const [i, lamp] of LAMPS.entries())
        cover(at, phase.includes(lamp) ? lit[lamp] : dark, inside(Math.hypot(u, v - ((i - 1) * tall) / 3.1) - radius))
    }
  }
  return { name, width, height, pixels_HWC }
}

const sentence = (phase: ReadonlyArray<Lamp>): string => {
  const text = phase.join(" and ")
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`
}

/** Questions about a phase and their answers. */
const talk = (phase: number): ReadonlyArray<readonly [question: string, answer: string, category: string]> => [
  ["Which light is on?", sentence(PHASES[phase]!), "light"],
  ["May I drive?", PHASES[phase]![0] === "green" ? "Yes." : "No.", "rule"],
  ["What comes next?", sentence(PHASES[(phase + 1) % PHASES.length]!), "next"]
]

/** A row of LLaVA's instruction format. */
interface Row {
  readonly id: string
  readonly image: string
  readonly conversations: ReadonlyArray<{ readonly from: "human" | "gpt"; readonly value: string }>
}

export interface SignalPart {
  readonly rows: ReadonlyArray<Row>
  /** Of images that no row shows, a line each, as LLaVA's `question.jsonl` with labels. */
  readonly questions: ReadonlyArray<{
    readonly question_id: string
    readonly image: string
    readonly text: string
    readonly label: string
    readonly category: string
  }>
  readonly pictures: ReadonlyArray<SignalPicture>
}

/**
 * 400 rows about as many lights, and three questions about each of 60 others.
 *
 * @example
 * signals(0).rows[0]!.conversations[1]!.value // "Green."
 */
export const signals = (seed: number): SignalPart => {
  const throws = dice(seed, "signals")
  const made = (name: string) => {
    const phase = throws.int(PHASES.length)
    return { name, phase, picture: draw(name, PHASES[phase]!, throws) }
  }
  const number = (i: number) => String(i).padStart(4, "0")
  const train = Array.from({ length: 400 }, (_, i) => made(`light_${number(i)}.jpg`))
  const test = Array.from({ length: 60 }, (_, i) => made(`light_${number(1000 + i)}.jpg`))
  return {
    rows: train.map(({ name, phase }) => ({
      id: name.replace(".jpg", ""),
      image: name,
      conversations: throws.shuffle(talk(phase)).flatMap(([question, answer], turn) => [
        { from: "human", value: turn === 0 ? `<image>\n${question}` : question },
        { from: "gpt", value: answer }
      ])
    })),
    questions: test.flatMap(({ name, phase }) =>
      talk(phase).map(([text, label, category], i) => ({
        question_id: `${name.replace(".jpg", "")}_${i}`,
        image: name,
        text,
        label,
        category
      }))
    ),
    pictures: [...train, ...test].map(({ picture }) => picture)
  }
}
