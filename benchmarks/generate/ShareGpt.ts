/**
 * ShareGPT files of any size: conversations with HTML replies as the site served them, some 13 KB each, one array a
 * file.
 *
 * Not the sample (`datasets/generate/ShareGpt.ts`), whose sentences repeat: here the prose is drawn word by word
 * (`Lexicon`). Broken rows are the sample's (`Dirt`), one in forty. Written as it is made: memory stays flat. Equal
 * seeds give equal bytes, and a longer file begins with a shorter one.
 */
import { closeSync, openSync, writeSync } from "node:fs"
import { type RawRow, rules } from "../../datasets/generate/Dirt.ts"
import { type Block, type Line, toHtml, toMarkdown } from "../../datasets/generate/Markup.ts"
import { type Dice, dice } from "../../datasets/generate/Random.ts"
import type { Talk } from "../../datasets/generate/Talk.ts"
import { foreignCodes, foreignText } from "./Foreign.ts"
import { code, phrase, sentence, sentences } from "./Lexicon.ts"

const line = (throws: Dice): Line => {
  const text = sentences(throws, throws.range(1, 3))
  const kind = throws.int(12)
  if (kind === 0) return [text, " ", { kind: "strong", text: phrase(throws, 2) }, ` ${sentence(throws)}`]
  if (kind === 1) return [text, " ", { kind: "code", text: `${phrase(throws, 1)}_${throws.int(10)}` }, "."]
  if (kind === 2) return [{ kind: "em", text: phrase(throws, 3) }, `: ${text}`]
  if (kind === 3)
    return [
      `${text} `,
      { kind: "link", text: phrase(throws, 2), href: `https://example.org/${throws.int(1e6)}?a=1&b=2` }
    ]
  return [text]
}

const block = (throws: Dice): Block =>
  throws.weighted<() => Block>([
    [() => ({ kind: "paragraph", line: line(throws) }), 10],
    [
      () => ({
        kind: "list",
        ordered: throws.chance(0.6),
        loose: throws.chance(0.6),
        items: Array.from({ length: throws.range(3, 8) }, () => ({
          line: line(throws),
          ...(throws.chance(0.06) ? { nested: [{ line: line(throws) }] } : {})
        }))
      }),
      4
    ],
    [() => ({ kind: "code", ...code(throws) }), 2],
    [() => ({ kind: "heading", level: throws.pick([2, 3, 4] as const), line: [phrase(throws, 4)] }), 1],
    [() => ({ kind: "quote", line: [sentence(throws)] }), 1],
    [
      () => ({
        kind: "table",
        head: [[phrase(throws, 1)], [phrase(throws, 2)], ["Note"]],
        rows: Array.from({ length: throws.range(2, 6) }, () => [
          [phrase(throws, 2)],
          [String(throws.int(1000))],
          [phrase(throws, 5)]
        ])
      }),
      1
    ]
  ])()

const abroad = (throws: Dice, language: string): Block =>
  throws.chance(0.75)
    ? { kind: "paragraph", line: [foreignText(throws, language, throws.range(2, 6))] }
    : {
        kind: "list",
        ordered: true,
        loose: throws.chance(0.5),
        items: Array.from({ length: throws.range(2, 6) }, () => ({ line: [foreignText(throws, language, 2)] }))
      }

/** A clean conversation in `language`: its turns, and the same as plain text. */
export const conversation = (throws: Dice, language = "en"): Talk => {
  const html = throws.chance(0.85)
  const talk = { turns: [] as Array<{ from: string; value: string }>, plain: [] as Array<string>, language }
  const pairs = throws.range(1, 8)
  for (let i = 0; i < pairs; i++) {
    const asked =
      language !== "en"
        ? foreignText(throws, language, throws.range(1, 3))
        : throws.chance(0.1)
          ? `${sentence(throws)}\n\n${code(throws).text}`
          : sentences(throws, throws.range(1, 4))
    const blocks = Array.from({ length: throws.range(2, 7) }, () =>
      language === "en" ? block(throws) : abroad(throws, language)
    )
    const markdown = toMarkdown(blocks)
    talk.turns.push(
      { from: "human", value: asked },
      { from: "gpt", value: html ? toHtml(blocks, throws.pick(["light", "dark"] as const)) : markdown }
    )
    talk.plain.push(asked, markdown)
  }
  return talk
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** Row `at` of the file: one in forty is broken by a rule of the sample's, one in five is not in English. */
export const shareGptRow = (seed: number, at: number): RawRow => {
  const throws = dice(seed, `sharegpt/${at}`)
  // Seven characters as on the site, the row's number in them: never twice.
  let id = ""
  for (let i = 0, left = at; i < 7; i++, left = Math.floor(left / 62))
    id += i < 4 ? letters[left % 62] : letters[throws.int(62)]
  const language = throws.chance(0.2) ? throws.pick(foreignCodes) : "en"
  if (throws.chance(0.025)) return throws.pick(rules).make(throws, id, conversation(throws))
  return { id, conversations: conversation(throws, language).turns }
}

/** What was written. */
export interface Written {
  readonly rows: number
  readonly bytes: number
}

/** Writes rows of a JSON array to `path` until `enough` returns true for the bytes written. */
export const writeJsonArray = (
  path: string,
  row: (at: number) => unknown,
  enough: (so: Written) => boolean
): Written => {
  const file = openSync(path, "w")
  try {
    let pending = "["
    let bytes = 0
    let rows = 0
    const flush = (): void => {
      const chunk = Buffer.from(pending)
      for (let done = 0; done < chunk.length; ) done += writeSync(file, chunk, done)
      bytes += chunk.length
      pending = ""
    }
    while (!enough({ rows, bytes: bytes + pending.length })) {
      pending += `${rows === 0 ? "" : ",\n"}${JSON.stringify(row(rows))}`
      rows++
      if (pending.length > 1 << 20) flush()
    }
    pending += "]\n"
    flush()
    return { rows, bytes }
  } finally {
    closeSync(file)
  }
}

/** Writes a ShareGPT file of that many rows, or of at least that many bytes. */
export const writeShareGpt = (
  path: string,
  seed: number,
  size: { readonly rows: number } | { readonly bytes: number }
): Written =>
  writeJsonArray(
    path,
    (at) => shareGptRow(seed, at),
    (so) => ("rows" in size ? so.rows >= size.rows : so.bytes >= size.bytes)
  )

/** Plain texts as a tokenizer meets them: messages of conversations, some 1 KB each, `bytes` of UTF-8 in all. */
export const messages = (seed: number, bytes: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (let at = 0, size = 0; size < bytes; at++) {
    const throws = dice(seed, `messages/${at}`)
    for (const text of conversation(throws, throws.chance(0.1) ? throws.pick(foreignCodes) : "en").plain) {
      out.push(text)
      size += Buffer.byteLength(text)
    }
  }
  return out
}
