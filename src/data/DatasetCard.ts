/**
 * The splits that a data set's card (README.md) states in its `configs`, which Hugging Face `datasets` goes by before
 * names.
 *
 * Not a YAML parser: block lists and mappings of plain or quoted texts, which is what the hub writes into that field.
 * Anything else there, several configurations of which none is the default, and a configuration without `data_files`
 * are faults that say so; the rest of the card is not looked at. Pure.
 */
import type { Split } from "./DatasetSplits.ts"

/** A card that states splits in a way that is not read; the message says what. */
export class CardFault extends Error {
  override readonly name = "CardFault"
}

interface Line {
  readonly indent: number
  readonly text: string
}

type Yaml = string | ReadonlyArray<Yaml> | { readonly [key: string]: Yaml }

/** The lines of the field `configs`; undefined where the card has none. */
const configLines = (card: string): ReadonlyArray<Line> | undefined => {
  const head = /^---\r?\n(.*?)\r?\n---/s.exec(card)?.[1]
  if (head === undefined) return undefined
  const lines = head.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.trim().startsWith("#"))
  const start = lines.findIndex((line) => /^configs\s*:/.test(line))
  if (start < 0) return undefined
  if (!/^configs\s*:\s*$/.test(lines[start]!)) throw new CardFault("`configs` is no block list")
  const end = lines.findIndex((line, i) => i > start && !/^[\s-]/.test(line))
  return lines.slice(start + 1, end < 0 ? lines.length : end).map((line) => ({
    indent: line.length - line.trimStart().length,
    text: line.trim()
  }))
}

const scalar = (text: string): string => {
  const quoted = /^(?:"([^"\\]*)"|'([^']*)')$/.exec(text)
  if (quoted !== null) return quoted[1] ?? quoted[2]!
  if (/^[[{&*|>!%@`"']/.test(text) && !/^\*+[^\s]*[./]/.test(text))
    throw new CardFault(`\`configs\` has the value ${text}`)
  return text
}

/** One value whose lines are indented by `indent`; gives it and the number of the line behind it. */
const parse = (lines: ReadonlyArray<Line>, from: number, indent: number): readonly [Yaml, number] => {
  const isList = lines[from]!.text.startsWith("- ")
  const list: Array<Yaml> = []
  const map: Record<string, Yaml> = {}
  let at = from
  while (at < lines.length && lines[at]!.indent === indent && lines[at]!.text.startsWith("- ") === isList) {
    const { text } = lines[at]!
    if (isList) {
      const inner = text.slice(2).trimStart()
      if (!/^[\w.-]+\s*:(?:\s|$)/.test(inner)) {
        list.push(scalar(inner))
        at++
        continue
      }
      // The item's first key stands on the line of its dash.
      const deeper = indent + text.length - inner.length
      const [value, next] = parse(
        [...lines.slice(0, at), { indent: deeper, text: inner }, ...lines.slice(at + 1)],
        at,
        deeper
      )
      list.push(value)
      at = next
      continue
    }
    const pair = /^([\w.-]+)\s*:\s*(.*)$/.exec(text)
    if (pair === null) throw new CardFault(`\`configs\` has the line ${text}`)
    const [, key, rest] = pair
    at++
    if (rest !== "") {
      map[key!] = scalar(rest!)
      continue
    }
    const below = lines[at]
    // A list may stand as deep as the key that it belongs to.
    if (below === undefined || below.indent < indent || (below.indent === indent && !below.text.startsWith("- ")))
      map[key!] = ""
    else {
      const [value, next] = parse(lines, at, below.indent)
      map[key!] = value
      at = next
    }
  }
  if (at < lines.length && lines[at]!.indent > indent)
    throw new CardFault(`\`configs\` has the line ${lines[at]!.text}`)
  return [isList ? list : map, at]
}

const isMap = (value: Yaml | undefined): value is { readonly [key: string]: Yaml } =>
  typeof value === "object" && !Array.isArray(value)

/** `*` is any letters but a slash, `**` any. */
const matcher = (pattern: string): RegExp => {
  if (/[[\]{}]|:\/\//.test(pattern)) throw new CardFault(`\`data_files\` has the pattern ${pattern}`)
  const source = pattern
    .replace(/^\.\//, "")
    .replace(/[.+^$()|\\]/g, "\\$&")
    .replace(/\*\*\/|\*\*|\*|\?/g, (all) =>
      all === "**/" ? "(?:.*/)?" : all === "**" ? ".*" : all === "*" ? "[^/]*" : "[^/]"
    )
  return new RegExp(`^${source}$`)
}

const textsOf = (value: Yaml | undefined): ReadonlyArray<string> => {
  if (typeof value === "string" && value !== "") return [value]
  if (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string")) return value
  throw new CardFault("`data_files` has a split without paths")
}

const filesOf = (value: Yaml | undefined): ReadonlyArray<readonly [split: string, patterns: ReadonlyArray<string>]> => {
  if (!Array.isArray(value) || !value.some((one) => isMap(one))) return [["train", textsOf(value)]]
  return value.map((one) => {
    if (!isMap(one) || typeof one["split"] !== "string")
      throw new CardFault("`data_files` has an entry without a split")
    return [one["split"], textsOf(one["path"])]
  })
}

/**
 * The splits that a card states, with those of `files` that each is made of; undefined where it states none. Throws
 * `CardFault`.
 *
 * @example
 * ```ts
 * splitsOfCard("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: a*.jsonl\n---\n", ["a1.jsonl"])
 * // [{ name: "train", files: ["a1.jsonl"], bases: [""] }]
 * ```
 */
export const splitsOfCard = (card: string, files: ReadonlyArray<string>): ReadonlyArray<Split> | undefined => {
  const lines = configLines(card)
  if (lines === undefined || lines.length === 0) return undefined
  const [configs, end] = parse(lines, 0, lines[0]!.indent)
  if (end < lines.length || !Array.isArray(configs) || !configs.every(isMap))
    throw new CardFault("`configs` is no list")
  const chosen =
    configs.length === 1
      ? configs[0]
      : configs.find((config) => config["default"] === "true" || config["config_name"] === "default")
  if (chosen === undefined)
    throw new CardFault(
      `it states the configurations ${configs.map((config) => String(config["config_name"])).join(", ")}, and no default`
    )
  if (chosen["data_files"] === undefined)
    throw new CardFault(`its configuration ${String(chosen["config_name"])} states no \`data_files\``)
  return filesOf(chosen["data_files"]).map(([name, patterns]) => {
    const matchers = patterns.map(matcher)
    return { name, files: files.filter((file) => matchers.some((one) => one.test(file))).sort(), bases: [""] }
  })
}
