/**
 * The rows of `sharegpt.json`: boards, described scenes, other languages, small talk, and dirt.
 *
 * Not formatted for training: values are as scraped. Order is shuffled; duplicates stand after what they repeat.
 */
import { type RawRow, rules } from "./Dirt.ts"
import { languages } from "./Languages.ts"
import { type Ledger, ledger } from "./Ledger.ts"
import { type Dice, dice } from "./Random.ts"
import { signature } from "./Scene.ts"
import { boardTalk, foreignTalk, generalTalk, sceneTalk, type Talk } from "./Talk.ts"

export const amounts = {
  boards: 1100,
  scenes: 100,
  foreign: 240,
  general: 30,
  duplicateIds: 12,
  duplicatePairs: 12
} as const

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** Seven characters, as the site's share links had them; never twice. */
export const idMaker = (throws: Dice): (() => string) => {
  const given = new Set<string>()
  return () => {
    for (;;) {
      const id = Array.from({ length: 7 }, () => letters[throws.int(letters.length)]).join("")
      if (!given.has(id)) {
        given.add(id)
        return id
      }
    }
  }
}

export interface ShareGptPart {
  readonly rows: ReadonlyArray<RawRow>
  readonly ledger: Ledger
  /** Scene signatures that occur in English. */
  readonly signatures: ReadonlySet<string>
  /** English text as it should read after cleaning, for the tokenizer. */
  readonly plain: ReadonlyArray<string>
}

/**
 * Makes the part; no described scene has a signature in `heldOut`.
 *
 * @example
 * shareGpt(0, new Set()).rows.length // about 1,600
 */
export const shareGpt = (seed: number, heldOut: ReadonlySet<string>): ShareGptPart => {
  const book = ledger()
  const nextId = idMaker(dice(seed, "sharegpt/ids"))
  const plain: Array<string> = []
  const signatures = new Set<string>()
  const firsts = new Set<string>()
  /** Draws until the first pair is new, so that only the noted duplicates repeat one. */
  const unseen = <T extends Talk>(draw: () => T): T => {
    for (;;) {
      const talk = draw()
      const first = `${talk.plain[0]}\u0000${talk.plain[1]}`
      if (firsts.has(first)) continue
      firsts.add(first)
      return talk
    }
  }
  const extras = dice(seed, "sharegpt/extras")
  const row = (talk: Talk): RawRow => ({
    id: nextId(),
    conversations: talk.turns,
    ...(extras.chance(0.06) ? { model: extras.pick(["Default (3.5)", "Legacy (3.5)", "4"]) } : {}),
    ...(extras.chance(0.04) ? { plugins: null } : {})
  })

  const clean: Array<RawRow> = []
  const scenes = dice(seed, "sharegpt/scenes")
  for (let i = 0; i < amounts.boards + amounts.scenes; i++) {
    const talk = unseen(() => (i < amounts.boards ? boardTalk : sceneTalk)(scenes, heldOut))
    signatures.add(signature(talk.scene))
    plain.push(...talk.plain)
    clean.push(row(talk))
  }
  const general = dice(seed, "sharegpt/general")
  for (let i = 0; i < amounts.general; i++) {
    const talk = unseen(() => generalTalk(general, general.range(1, 5)))
    plain.push(...talk.plain)
    clean.push(row(talk))
  }
  const others: Array<RawRow> = []
  const abroad = dice(seed, "sharegpt/foreign")
  for (let i = 0; i < amounts.foreign; i++) {
    const language = abroad.pick(languages)
    const foreign = row(unseen(() => foreignTalk(abroad, language, heldOut)))
    book.note(`language-${language.code}`, String(foreign.id))
    others.push(foreign)
  }
  const dirt = dice(seed, "sharegpt/dirt")
  for (const rule of rules) {
    for (let i = 0; i < rule.rows; i++) {
      const id = nextId()
      others.push(
        rule.make(
          dirt,
          id,
          unseen(() => generalTalk(dirt, 2))
        )
      )
      book.note(rule.name, id)
    }
  }

  const order = dice(seed, "sharegpt/order")
  const rows = order.shuffle([...clean, ...others])
  const repeat = (rule: string, copies: number, make: (original: RawRow) => RawRow) => {
    for (const original of order.shuffle(clean).slice(0, copies)) {
      const copy = make(original)
      rows.splice(order.range(rows.indexOf(original) + 1, rows.length), 0, copy)
      book.note(rule, String(copy.id))
    }
  }
  repeat("duplicate-id", amounts.duplicateIds, (original) => ({
    id: original.id,
    conversations: generalTalk(dirt, 2).turns
  }))
  repeat("duplicate-first-pair", amounts.duplicatePairs, (original) => ({
    id: nextId(),
    conversations: original.conversations
  }))
  return { rows, ledger: book, signatures, plain }
}
