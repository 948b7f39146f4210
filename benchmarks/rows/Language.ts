/** The language of a conversation, against CLD3 in wasm on the same texts; both are asked about labelled ones too. */
import { type Dice, dice } from "../../datasets/generate/Random.ts"
import { detectLanguage } from "../../src/text/Language.ts"
import { english, foreign, foreignCodes, foreignText } from "../generate/Foreign.ts"
import { code } from "../generate/Lexicon.ts"
import { conversation } from "../generate/ShareGpt.ts"
import { npmPeer } from "../Npm.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark } from "../Row.ts"

/** A conversation's values in one text, as `keepLanguages` judges it. */
const conversationTexts = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, at) => {
    const throws = dice(0, `language/${at}`)
    return conversation(throws, throws.chance(0.2) ? throws.pick(foreignCodes) : "en").plain.join("\n")
  })

const kinds = ["sentences", "paragraphs", "conversations"] as const

interface Labelled {
  readonly kind: (typeof kinds)[number]
  readonly text: string
  readonly code: string
}

/** A question with code or without, and a reply around code: what a conversation in any language looks like. */
const about = (throws: Dice, language: string): string => {
  const fence = (): string => {
    const { language: name, text } = code(throws)
    return `\`\`\`${name}\n${text}\n\`\`\``
  }
  const question = foreignText(throws, language, throws.range(1, 2))
  return [
    throws.chance(0.3) ? `${fence()}\n${question}` : question,
    foreignText(throws, language, throws.range(1, 4)),
    ...(throws.chance(0.6) ? [fence(), foreignText(throws, language, throws.range(1, 4))] : [])
  ].join("\n")
}

/** The same numbers of every language: single sentences, paragraphs of two to twelve, conversations around code. */
const labelledTexts = (): ReadonlyArray<Labelled> =>
  ["en", ...foreignCodes].flatMap(
    (code): ReadonlyArray<Labelled> => [
      ...(code === "en" ? english : foreign[code]!)
        .slice(0, 8)
        .map((text) => ({ kind: "sentences" as const, code, text })),
      ...Array.from({ length: 16 }, (_, at) => {
        const throws = dice(0, `labelled/${code}/${at}`)
        return { kind: "paragraphs" as const, code, text: foreignText(throws, code, throws.range(2, 12)) }
      }),
      ...Array.from({ length: 24 }, (_, at) => ({
        kind: "conversations" as const,
        code,
        text: about(dice(0, `labelled/about/${code}/${at}`), code)
      }))
    ]
  )

export const language: Benchmark = {
  name: "language",
  about: "language of a conversation",
  unit: "texts/s",
  better: "more",
  goal: 1,
  peerName: "cld3-asm",
  run: async (context) => {
    const { loadModule } = await npmPeer("cld3-asm", () => import("cld3-asm"))
    // By default it says nothing of texts under 140 bytes: asked to judge those too.
    const cld = (await loadModule()).create(0)
    try {
      const count = context.size === "quick" ? 1500 : 6000
      const texts = conversationTexts(count)
      const judgeAll = (detect: (text: string) => unknown) => () => {
        for (const text of texts) detect(text)
      }
      const figures = await interleave(
        { rounds: 5, better: "more" },
        async () => count / (await seconds(judgeAll(detectLanguage))),
        async () => count / (await seconds(judgeAll((text) => cld.findLanguage(text))))
      )
      const labelled = labelledTexts()
      const detectors = [
        (text: string) => detectLanguage(text).language,
        (text: string) => cld.findLanguage(text).language
      ]
      /** Shares of right answers, ours and the peer's. */
      const right = (texts: ReadonlyArray<Labelled>) =>
        detectors.map(
          (detect) => texts.filter(({ code, text }) => detect(text).slice(0, 2) === code).length / texts.length
        )
      const [ours, peer] = right(labelled) as [number, number]
      const told = (texts: ReadonlyArray<Labelled>) =>
        right(texts)
          .map((share) => `${(share * 100).toFixed(1)} %`)
          .join(" and ")
      const parts = kinds.map((kind) => `${kind} ${told(labelled.filter((one) => one.kind === kind))}`)
      const shares = `right on ${labelled.length} labelled texts, ours and cld3: ${told(labelled)} (${parts.join(", ")})`
      return { ...figures, wrong: ours < peer ? shares : undefined, note: `${count} conversations; ${shares}` }
    } finally {
      cld.dispose()
    }
  }
}
