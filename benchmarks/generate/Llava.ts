/**
 * Rows in LLaVA's formats, without a relation to the images: CC-595K's chat and metadata, instructions, held-out
 * questions.
 *
 * Not true to the pictures: captions have the noun phrases of captions and the balance that a filter works on.
 */
import { type Dice, dice } from "../../datasets/generate/Random.ts"
import { requests } from "../../datasets/generate/Words.ts"
import { sentences } from "./Lexicon.ts"
import { captionId, photoName, pictureName } from "./Names.ts"

const nouns = (
  "man woman child dog cat horse bird tree house street car bus train bridge river mountain beach boat table chair lamp " +
  "window door garden flower field road sky cloud sunset kitchen bottle cup plate cake bread fruit book letter phone " +
  "computer guitar piano singer dancer player crowd stadium ball bicycle truck plane airport station tower church castle " +
  "wall fence roof market shop hotel room bed mirror painting statue fountain park lake island forest snow rain farmer " +
  "doctor teacher student soldier king queen wedding party festival parade costume dress coat hat shoe bag umbrella"
).split(" ")

const adjectives = (
  "old young red blue green white black small large tall bright dark wooden stone empty busy quiet modern ancient golden " +
  "colourful wet dry frozen sunny foggy happy tired famous local royal rural urban broken painted striped leather glass " +
  "metal plastic handmade antique narrow wide steep distant crowded decorated abandoned traditional beautiful vintage"
).split(" ")

const places = "in front of|next to|behind|on top of|under|near|across from|inside|at the edge of|beside".split("|")
const acts = "standing|sitting|walking|waiting|lying|running|playing|resting|working|looking out".split("|")

/** One of `words`, the first ones more often, so that a balance by phrases has some to thin out. */
const skewed = (throws: Dice, words: ReadonlyArray<string>): string =>
  words[Math.floor(throws.unit() ** 2 * words.length)]!

const thing = (throws: Dice): string => {
  const adjective = skewed(throws, adjectives)
  return `${/^[aeiou]/.test(adjective) ? "an" : "a"} ${adjective} ${skewed(throws, nouns)}`
}

const caption = (throws: Dice): string => {
  const tail = throws.chance(0.3) ? ` , ${throws.pick(adjectives)} ${throws.pick(nouns)}` : ""
  const act = throws.chance(0.5) ? ` ${throws.pick(acts)}` : ""
  return `${thing(throws)}${act} ${throws.pick(places)} ${thing(throws)}${throws.chance(0.4) ? ` and ${thing(throws)}` : ""}${tail}`
}

/** How many rows there are and which have an image and a caption of their own. */
export interface CaptionPlan {
  readonly rows: number
  readonly distinct: number
}

/** Rows that come first of their caption, spread over the file; `rows / distinct` apart. */
export const isDistinct = ({ distinct, rows }: CaptionPlan, at: number): boolean =>
  Math.floor((at * distinct) / rows) !== Math.floor(((at - 1) * distinct) / rows)

/** The caption of row `at`: its own, or that of a row before it, at times with other capitals. */
export const captionOf = (seed: number, plan: CaptionPlan, at: number): string => {
  if (isDistinct(plan, at)) return caption(dice(seed, `caption/${at}`))
  const throws = dice(seed, `caption-copy/${at}`)
  let first = throws.int(at)
  while (!isDistinct(plan, first)) first--
  const text = caption(dice(seed, `caption/${first}`))
  return throws.chance(0.1) ? `${text[0]!.toUpperCase()}${text.slice(1)} .` : text
}

/** Row `at` of chat.json. */
export const chatRow = (seed: number, plan: CaptionPlan, at: number) => {
  const throws = dice(seed, `chat/${at}`)
  const request = throws.pick(requests)
  return {
    id: captionId(at),
    image: pictureName(at),
    conversations: [
      { from: "human", value: throws.chance(0.5) ? `${request}\n<image>` : `<image>\n${request}` },
      { from: "gpt", value: captionOf(seed, plan, at) }
    ]
  }
}

/** Row `at` of metadata.json; one in ten has no machine caption. */
export const metadataRow = (seed: number, plan: CaptionPlan, at: number) => {
  const throws = dice(seed, `metadata/${at}`)
  return {
    id: captionId(at),
    image: pictureName(at),
    caption: captionOf(seed, plan, at),
    ...(throws.chance(0.1) ? {} : { blip_caption: caption(throws) }),
    url: `https://example.org/pictures/${throws.int(1000)}/${at}.jpg`
  }
}

/** Row `at` of llava_instruct_150k.json: several turns about one of `pictures` images. */
export const instructRow = (seed: number, pictures: number, at: number) => {
  const throws = dice(seed, `instruct/${at}`)
  const name = photoName(at % pictures)
  const turns = Array.from({ length: throws.range(1, 4) }, (_, i) => [
    {
      from: "human",
      value: `${i > 0 ? "" : "<image>\n"}What is the ${throws.pick(adjectives)} ${throws.pick(nouns)} doing ${throws.pick(places)} the ${throws.pick(nouns)}?`
    },
    { from: "gpt", value: sentences(throws, throws.range(1, 4)) }
  ])
  return { id: name.replace(".jpg", ""), image: name, conversations: turns.flat() }
}

/** Row `at` of heldout.json. */
export const heldOutRow = (seed: number, at: number) => {
  const throws = dice(seed, `held-out/${at}`)
  const questions = ["colour", "count"].map((type) => ({
    type,
    question:
      type === "count"
        ? `How many of the ${throws.pick(nouns)}s are there?`
        : `What colour is the ${throws.pick(nouns)}?`,
    answer: type === "count" ? "Two." : "Red."
  }))
  return { id: `held-out-${at}`, image: `held-out-${at}.jpg`, questions }
}
