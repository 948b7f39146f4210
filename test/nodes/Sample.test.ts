/** On the sample, the nodes refuse exactly the rows that its ledger says were made dirty, each for its rule. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import ledger from "../../datasets/sample/ledger.json" with { type: "json" }
import { presets } from "../../pipelines/llava-phi.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { cleanShareGpt } from "../../src/nodes/CleanShareGpt.ts"
import { dropDuplicates } from "../../src/nodes/DropDuplicates.ts"
import { filterCaptions } from "../../src/nodes/FilterCaptions.ts"
import { holdOut } from "../../src/nodes/HoldOut.ts"
import { dropRepeatedDigits, keepFormat } from "../../src/nodes/KeepFormat.ts"
import { keepLanguages } from "../../src/nodes/KeepLanguages.ts"
import { readCaptions, readInstructions } from "../../src/nodes/ReadLlava.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { splitConversations } from "../../src/nodes/SplitConversations.ts"
import { tokenizeImages } from "../../src/nodes/TokenizeImages.ts"
import { tokenizePictured } from "../../src/nodes/TokenizeText.ts"
import { sample, tokenizerPath, towerOf } from "./support.ts"

type Outcome = readonly [reason: string, id: string]
const sorted = (all: ReadonlyArray<Outcome>) => all.map((one) => one.join(" ")).toSorted()
/** What one side has more often than the other; short where the lists are long. */
const difference = (found: ReadonlyArray<string>, wanted: ReadonlyArray<string>) => {
  const count = (all: ReadonlyArray<string>, one: string) => all.filter((other) => other === one).length
  const more = (all: ReadonlyArray<string>, than: ReadonlyArray<string>) =>
    [...new Set(all)].filter((one) => count(all, one) > count(than, one))
  return { extra: more(found, wanted), missing: more(wanted, found) }
}
const none = { extra: [], missing: [] }
/** The ledger's rules as refusals; rules that are not named keep their rows. */
const expected = (part: Readonly<Record<string, ReadonlyArray<string>>>, reasons: Readonly<Record<string, string>>) =>
  sorted(
    Object.entries(reasons).flatMap(([rule, reason]) => {
      expect(part[rule], rule).toBeDefined()
      return part[rule]!.map((id): Outcome => [reason, id])
    })
  )

describe("the sample", () => {
  it.effect("ShareGPT: refused rows are the ledger's, node by node", () =>
    Effect.gen(function* () {
      const refusals: Array<Outcome> = []
      const note = (ran: { readonly refused: ReadonlyArray<{ readonly reason: string; readonly error: unknown }> }) => {
        for (const { error, reason } of ran.refused) refusals.push([reason, (error as { id: string }).id])
      }
      const raw = yield* Node.run(readShareGpt, { file: sample("sharegpt/sharegpt.json") }, { shardRows: 512 })
      note(raw)
      const clean = yield* Node.run(
        cleanShareGpt,
        { rows: raw.out.rows },
        {
          values: "html",
          humanTurns: "reference",
          bannedWords: ["openai", "chatgpt"],
          specialTokens: ["<|endoftext|>", "<image>", "<pad>"]
        }
      )
      note(clean)
      const distinct = yield* Node.run(dropDuplicates, { rows: clean.out.rows }, { shardRows: 512 })
      note(distinct)
      const english = yield* Node.run(keepLanguages, { rows: distinct.out.rows }, { languages: ["en"] })
      note(english)
      const counted = yield* Node.run(dropRepeatedDigits, { rows: english.out.rows }, { repeatedDigits: 9 })
      note(counted)
      const inputs = { rows: counted.out.rows, tokenizer: tokenizerPath }
      // The sample's tokenizer, made for it, needs fewer tokens than Phi-2's, by which the long rows are too long.
      const parts = yield* Node.run(splitConversations, inputs, { maxTokens: 1800, perMessage: 6 })
      note(parts)
      const formed = yield* Node.run(keepFormat, { rows: parts.out.rows }, {})
      for (const { error, reason } of formed.refused)
        refusals.push([reason, (error as { id: string }).id.replace(/_\d+$/, "")])
      const languages = Object.fromEntries(
        ["de", "es", "fr", "it", "ja", "ru", "zh"].map((code) => [`language-${code}`, `OtherLanguage: ${code}`])
      )
      expect(
        difference(
          sorted(refusals),
          expected(ledger.sharegpt, {
            "missing-conversations": "BadRow",
            "value-not-text": "BadRow",
            "no-turns": "Dropped: TooFewTurns",
            "one-turn": "Dropped: TooFewTurns",
            "only-gpt": "Dropped: TooFewTurns",
            "roles-do-not-alternate": "Dropped: RolesOutOfOrder",
            "banned-word-human": "Dropped: BannedWord",
            "banned-word-gpt": "Dropped: BannedWord",
            "rate-limit-notice": "Dropped: SiteNotice",
            plugins: "Dropped: HasPlugins",
            "too-short": "Dropped: TooShort",
            "duplicate-id": "Duplicate: SameId",
            "duplicate-first-pair": "Duplicate: SameFirstPair",
            ...languages,
            "repeated-digit": "BadFormat: RepeatedDigits",
            "repeated-numbering": "BadFormat: RestartedList",
            "over-long-pair": "SplitRefused: PairTooLong"
          })
        )
      ).toEqual(none)
    })
  )

  const captions = Node.run(readCaptions, { file: sample("cc595k/chat.json") }, { shardRows: 256 })

  it.effect("CC-595K: refused pictures are the ledger's", () =>
    Effect.gen(function* () {
      const { out } = yield* captions
      const inputs = { rows: out.rows, images: sample("cc595k/images.zip") }
      const pictures = yield* Node.run(tokenizeImages, inputs, {
        size: 56,
        fit: "crop",
        folder: "",
        minSide: 24,
        maxAspect: 3,
        misnamed: "refuse"
      })
      const refusals = pictures.refused.map(({ reason, row }): Outcome => [reason, out.rows[row]!.image])
      expect(
        difference(
          sorted(refusals),
          expected(ledger.cc595k, {
            "picture-empty": "BadImage: empty",
            "picture-garbled-header": "BadImage: not-an-image",
            "picture-gif-called-jpg": "BadImage: misnamed",
            "picture-missing": "ImageMissing",
            "picture-page-called-jpg": "BadImage: not-an-image",
            "picture-png-called-jpg": "BadImage: misnamed",
            "picture-strip": "OddImage: aspect-ratio",
            "picture-tiny": "OddImage: too-small",
            "picture-truncated": "BadImage: corrupt",
            "picture-wrong-crc": "ImageUnreadable: damaged"
          })
        )
      ).toEqual(none)
    })
  )

  it.effect("CC-595K: captions that break a rule of their own are the ledger's", () =>
    Effect.gen(function* () {
      const { out } = yield* captions
      const { refused } = yield* Node.run(filterCaptions, { rows: out.rows }, presets.sample.captions)
      const by = (reason: RegExp) =>
        refused.flatMap(
          (one): ReadonlyArray<Outcome> =>
            reason.test(one.reason) ? [[one.reason, (one.error as { id: string }).id]] : []
        )
      const rules = {
        "caption-repetitive": "CaptionDropped: Repetitive",
        "caption-too-long": "CaptionDropped: TooManyWords",
        "caption-too-short": "CaptionDropped: TooFewWords"
      } as const
      // A caption that was copied from one of these breaks the same rule, and falls to it.
      const textOf = new Map(out.rows.map(({ id, caption }) => [id, caption]))
      const inherited = Object.entries(rules).flatMap(([rule, reason]) => {
        const texts = new Set(ledger.cc595k[rule as keyof typeof rules].map((id) => textOf.get(id)))
        return ledger.cc595k["caption-copied"].flatMap((id) => (texts.has(textOf.get(id)) ? [`${reason} ${id}`] : []))
      })
      expect(
        difference(sorted(by(/Repetitive|TooManyWords|TooFewWords/)), [...expected(ledger.cc595k, rules), ...inherited])
      ).toEqual(none)
      // Small scenes have equal captions by chance too: those are copies as much as the ledger's.
      const copies = sorted(by(/DuplicateCaption/))
      const fallen = new Set(inherited.map((one) => one.split(" ").at(-1)))
      const wanted = expected(ledger.cc595k, { "caption-copied": "CaptionDropped: DuplicateCaption" }).filter(
        (one) => !fallen.has(one.split(" ").at(-1))
      )
      expect(difference(copies, wanted).missing).toEqual([])
      const said = (caption: string) => caption.toLowerCase().replace(/[^a-z0-9]+/g, " ")
      const first = new Set<string>()
      const copied = out.rows.filter(({ caption }) => first.size === first.add(said(caption)).size)
      expect(copied.length).toBeGreaterThanOrEqual(copies.length)
      const copiedIds = new Set(copied.map(({ id }) => id))
      for (const [, id] of by(/DuplicateCaption/)) expect(copiedIds.has(id)).toBe(true)
    })
  )

  it.effect("LLaVA-Instruct: no picture is both trained on and held out", () =>
    Effect.gen(function* () {
      const read = yield* Node.run(
        readInstructions,
        { file: sample("llava-instruct/llava_instruct.json") },
        { shardRows: 256 }
      )
      const { out } = yield* Node.run(
        tokenizePictured,
        { rows: read.out.rows, tokenizer: tokenizerPath, vision: yield* towerOf(4) },
        { template: "v1", maxTokens: 256 }
      )
      const parts = (yield* Node.run(holdOut, { rows: out.rows }, { share: 0.04, seed: 0 })).out
      const imageOf = new Map(read.out.rows.map((row) => [row.id, row.image]))
      const pictures = (rows: ReadonlyArray<{ readonly id: string }>) => new Set(rows.map(({ id }) => imageOf.get(id)))
      const [trained, held] = [pictures(parts.train), pictures(parts.heldOut)]
      trained.delete(null)
      expect([...held].filter((image) => trained.has(image))).toEqual([])
      expect(parts.heldOut.length / out.rows.length).toBeGreaterThan(0.02)
      expect(parts.heldOut.length / out.rows.length).toBeLessThan(0.06)
    })
  )
})
