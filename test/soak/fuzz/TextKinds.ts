/** Fuzzing of what reads text: the JSON splitter, HTML, the tokenizer. */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { Effect, Result, Stream } from "effect"
import { BadJsonRow, JsonError, parseChunks, readJson } from "../../../src/data/JsonArray.ts"
import { BadRow, decodeRow } from "../../../src/text/Conversation.ts"
import { convertHtml, HtmlRejected, htmlToMarkdown, maxMarkdown } from "../../../src/text/html/HtmlToMarkdown.ts"
import { fromTokenizerJson, phi2, type Tokenizer, TokenizerJsonError } from "../../../src/text/Tokenizer.ts"
import { demand, type Kind, reasonOf, typed, type Verdict } from "./Kind.ts"
import { character, mutate, mutateText } from "./Mutate.ts"
import type { Random } from "./Random.ts"

const words = (random: Random, most: number): string =>
  Array.from({ length: random.int(most) }, () =>
    random.chance(0.2) ? random.pick([" ", "  ", "\n"]) : character(random)
  ).join("")

// ---- JSON

const json = (random: Random, depth: number): unknown => {
  switch (random.int(depth > 4 ? 5 : 8)) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return random.pick([0, -0, 1e308, 5e-324, random.next() * 1e9, random.int(100)])
    case 3:
    case 4:
      return words(random, 30) + random.pick(["", '"', "\\", '\\"', "]}", "[{", ","])
    case 5:
      return Array.from({ length: random.int(5) }, () => json(random, depth + 1))
    default:
      return Object.fromEntries(
        Array.from({ length: random.int(5) }, () => [words(random, 6), json(random, depth + 1)])
      )
  }
}

const space = (random: Random): string => (random.chance(0.3) ? random.pick([" ", "\n", "\t\r\n", "   "]) : "")

const jsonTokens = [
  '{"id":1,"conversations":[{"from":"human","value":"a"}]}',
  '"toString":1',
  '"__proto__":{"a":1}',
  '"id":',
  ...'[]{}",:\\ \n',
  '"a":',
  '\\"',
  "[[",
  "]]",
  "\\u0000",
  "null",
  "1e999",
  "\ufeff",
  "},{",
  '","'
]

interface JsonInput {
  readonly bytes: Buffer
  readonly layout: "array" | "lines"
  readonly pack: "" | ".gz" | ".zst"
  readonly limits: { readonly maxRowBytes?: number; readonly maxDepth?: number }
}

/** The elements by the engine's own parser, where the whole text is one array. */
const byEngine = (bytes: Buffer): ReadonlyArray<unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
    return Array.isArray(value) ? value : undefined
  } catch {
    return undefined // no valid document: nothing to compare with
  }
}

export const jsonKind: Kind = {
  name: "json",
  load: async (folder) => ({
    size: ({ bytes }: JsonInput) => bytes.length,
    // A packed input may unfold; what it unfolds to is bounded by its own generator below.
    bound: (size: number) => size * 1100 + 65_536,
    input: (random): JsonInput => {
      const layout = random.chance(0.7) ? "array" : "lines"
      const rows = Array.from({ length: random.int(12) }, () => JSON.stringify(json(random, 0)))
      const between = layout === "array" ? "," : "\n"
      const text = rows.map((row) => space(random) + row + space(random).replaceAll("\n", " ")).join(between)
      let document = layout === "array" ? `${space(random)}[${text}]${space(random)}` : text
      let bytes: Buffer
      const how = random.int(10)
      if (how >= 3 && how < 6) document = mutateText(random, document, jsonTokens)
      if (how === 6) document = Array.from({ length: random.int(300) }, () => random.pick(jsonTokens)).join("")
      bytes = Buffer.from(document)
      if (how > 6) bytes = mutate(random, bytes, [bytes])
      const pack = random.pick(["", "", "", "", "", "", "", "", ".gz", ".zst"] as const)
      if (pack !== "") {
        bytes = pack === ".gz" ? gzipSync(bytes, { level: 1 }) : zstdCompressSync(bytes)
        if (random.chance(0.7)) bytes = mutate(random, bytes, [bytes])
      }
      const limits = random.chance(0.8) ? {} : { maxRowBytes: 1 + random.int(200), maxDepth: 1 + random.int(8) }
      return { bytes, layout, pack, limits }
    },
    check: async ({ bytes, layout, limits, pack }: JsonInput, random): Promise<Verdict> => {
      const seen: Array<number> = []
      const values: Array<unknown> = []
      const reasons = new Set<string>()
      let output = 0
      let offset = -1
      const take = (batch: { readonly rows: ReadonlyArray<any>; readonly refused: ReadonlyArray<BadJsonRow> }) => {
        for (const row of [...batch.rows, ...batch.refused].sort((a, b) => (a.index ?? a.row) - (b.index ?? b.row))) {
          seen.push(row.index ?? row.row)
          demand(row.offset >= offset, `row ${seen.length - 1} at byte ${row.offset}, the one before at ${offset}`)
          offset = row.offset
        }
        for (const { index, value } of batch.rows) {
          values.push(value)
          // What the first node behind the splitter does with a row.
          const row = decodeRow(value, index)
          demand(Result.isSuccess(row) || row.failure instanceof BadRow, "an untyped refusal of a row")
        }
        for (const one of batch.refused) {
          demand(one instanceof BadJsonRow, "an untyped refusal")
          reasons.add(one.reason)
        }
        output += batch.rows.reduce((sum, { value }) => sum + JSON.stringify(value).length, 0)
      }
      if (pack === "") {
        const chunks = async function* () {
          for (let at = 0; at < bytes.length; ) {
            const size = 1 + random.int(random.chance(0.5) ? 8 : 5000)
            // A reader may keep nothing of a chunk: it is overwritten after the next pull.
            const chunk = Buffer.from(bytes.subarray(at, at + size))
            yield chunk
            chunk.fill(0x5b)
            at += size
          }
        }
        try {
          for await (const batch of parseChunks(chunks(), "x.json", { layout, ...limits })) take(batch)
        } catch (error) {
          if (!(error instanceof JsonError)) throw error
          reasons.add(error.reason)
        }
      } else {
        const path = join(folder, `${random.int(2 ** 31)}.json${pack}`)
        writeFileSync(path, bytes)
        const read = Stream.runForEach(
          readJson(path, { layout, ...limits, chunkBytes: 1 + random.int(4096) }),
          (batch) => Effect.sync(() => take(batch))
        )
        const result = await typed(read, [JsonError])
        rmSync(path)
        if (Result.isFailure(result)) reasons.add(reasonOf(result.failure))
      }
      demand(
        seen.every((row, i) => row === i),
        `rows are numbered ${seen.join(" ")}`
      )
      const expected =
        pack === "" && layout === "array" && limits.maxRowBytes === undefined ? byEngine(bytes) : undefined
      if (expected !== undefined && !reasons.has("too-deep")) {
        demand(reasons.size === 0, `JSON.parse takes what was refused: ${[...reasons].join(", ")}`)
        demand(JSON.stringify(values) === JSON.stringify(expected), "rows differ from JSON.parse")
      }
      return { said: reasons.size === 0 ? "accepted" : [...reasons].sort()[0]!, output }
    }
  })
}

// ---- HTML

const htmlTokens = [
  ..."<>&;\"'=/!-[] \n\t`*_|",
  ..."<p> </p> <b> </b> <i> <a href='x'> </a> <pre> </pre> <code> </code> <ul> <ol start='9'> <li> </li> </ul>".split(
    " "
  ),
  ..."<table> <tr> <td> <th> </tr> </table> <h1> </h1> <h99> <br> <br/> <img src=x> <div class='a'> <span> <script>".split(
    " "
  ),
  ..."</script> <style> <!-- --> <!doctype> <![CDATA[ ]]> <![if ]> <? ?> &amp; &#128; &#x41; &#999999999; &lt &foo;".split(
    " "
  ),
  "<blockquote>",
  "</blockquote>",
  "Copy code",
  "```",
  "2 / 3",
  "Copy12 chars / 3 words",
  "<textarea>",
  "<svg:a b:c='d'>",
  "<!DOCTYPE html [",
  "&#x",
  "&#",
  "</"
]

export const htmlKind: Kind = {
  name: "html",
  load: async () => ({
    size: (html: string) => html.length,
    bound: (size: number) => 2 * maxMarkdown(size),
    input: (random): string => {
      const pieces = Array.from({ length: random.int(40) }, () =>
        random.chance(0.5) ? random.pick(htmlTokens) : words(random, 12)
      )
      const html = pieces.join("")
      return random.chance(0.3) ? html : mutateText(random, html, htmlTokens)
    },
    check: async (html: string): Promise<Verdict> => {
      const text = htmlToMarkdown(html)
      const result = convertHtml(html)
      if (Result.isFailure(result)) {
        demand(result.failure instanceof HtmlRejected, "an untyped refusal")
        return { said: result.failure.reason, output: text.length }
      }
      demand(result.success === text, "convertHtml and htmlToMarkdown differ")
      return { said: "accepted", output: text.length }
    }
  })
}

// ---- tokenizer

const tokenizerTokens = [
  ..." \n\t'",
  "  ",
  "'ll",
  "'S",
  "<|endoftext|>",
  "<image>",
  "<pad>",
  "Ġthe",
  "한국어",
  "\u2003",
  "\r\n",
  "a".repeat(40),
  "1234567890",
  "🏳️‍🌈",
  "é",
  "   \n\n\n"
]

const jsonFileTokens = [
  ...'[]{}",:',
  '"merges"',
  '"vocab"',
  '"type"',
  "null",
  "-1",
  "1e9",
  '"Ġ"',
  '"added_tokens"',
  "[]"
]

type TokenizerInput = { readonly text: string; readonly file?: string }

const encodes = (tokenizer: Tokenizer, text: string, exact: boolean): number => {
  const ids = tokenizer.encode(text)
  const { ends, ids: same, starts } = tokenizer.encodeWithOffsets(text)
  demand(tokenizer.count(text) === ids.length, "count and encode differ")
  demand(
    ids.every((id, i) => id === same[i] && id >= 0 && id < tokenizer.vocabSize),
    "ids differ or are out of range"
  )
  demand(
    starts.every((start, i) => start >= (starts[i - 1] ?? 0) && start < ends[i]! && ends[i]! <= text.length),
    "offsets"
  )
  const back = tokenizer.decode(ids)
  if (exact) {
    demand((starts[0] ?? 0) === 0 && (ends.at(-1) ?? 0) === text.length, "offsets do not cover the text")
    demand(back === text.toWellFormed(), "decode(encode(x)) is not x")
  }
  return ids.length
}

export const tokenizerKind: Kind = {
  name: "tokenizer",
  load: async () => {
    const tokenizer = phi2({ extra: { "<image>": 50295 } })
    const path = new URL("../../../datasets/sample/tokenizer.json", import.meta.url)
    const whole = JSON.parse(readFileSync(path, "utf8")) as {
      model: { vocab: Record<string, number>; merges: Array<unknown> }
    }
    // A small file, so that a change hits what matters.
    const vocab = Object.fromEntries(Object.entries(whole.model.vocab).filter(([, id]) => id < 300))
    const merges = whole.model.merges.slice(0, 40)
    const small = JSON.stringify({ ...whole, model: { ...whole.model, vocab, merges } })
    return {
      size: ({ file = "", text }: TokenizerInput) => text.length + file.length,
      bound: (size: number) => size * 4 + 64,
      input: (random): TokenizerInput => {
        const text = mutateText(random, words(random, 80), tokenizerTokens, 1 << 13)
        return random.chance(0.04) ? { text, file: mutateText(random, small, jsonFileTokens) } : { text }
      },
      check: async ({ file, text }: TokenizerInput): Promise<Verdict> => {
        if (file === undefined) return { said: "accepted", output: encodes(tokenizer, text, true) }
        try {
          return { said: "accepted", output: encodes(fromTokenizerJson(file), text, false) }
        } catch (error) {
          if (!(error instanceof TokenizerJsonError)) throw error
          return { said: reasonOf(error), output: 0 }
        }
      }
    }
  }
}
