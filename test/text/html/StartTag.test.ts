import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { pythonSpaceClass as space, strip } from "../../../src/text/html/PythonText.ts"
import { StartTagScanner } from "../../../src/text/html/StartTag.ts"

/** The slow reference: Python 3.11.7's regular expressions, with Python's whitespace spelled out. */
const value = `(?:'[^']*'|"[^"]*"|(?!['"])[^>${space}]*)`
const name = `(?<=['"${space}/])[^${space}/>][^${space}/=>]*`
const after = `(?:[${space}]|/(?!>))*`
const locate = new RegExp(
  `<[a-zA-Z][^\\t\\n\\r\\f />\\x00]*(?:[${space}/]*(?:${name}(?:[${space}]*=+[${space}]*${value}[${space}]*)?${after})*)?[${space}]*`,
  "y"
)
const tagName = new RegExp(`([a-zA-Z][^\\t\\n\\r\\f />\\x00]*)${after}`, "y")
const attribute = new RegExp(`(${name})([${space}]*=+[${space}]*(${value}))?${after}`, "y")

const at = (pattern: RegExp, text: string, index: number): RegExpExecArray | null => {
  pattern.lastIndex = index
  return pattern.exec(text)
}

/** `parse_starttag` of `html/parser.py`: undefined when unfinished. */
const reference = (html: string, start: number) => {
  const stop = start + at(locate, html, start)![0].length
  const next = html.slice(stop, stop + 1)
  if (next === "" || /[a-zA-Z=]/.test(next) || (next === "/" && html[stop + 1] !== ">")) return undefined
  const end = next === ">" ? stop + 1 : next === "/" ? stop + 2 : stop
  const attributes: Array<string> = []
  let position = start + 1 + at(tagName, html, start + 1)![0].length
  while (position < end) {
    const found = at(attribute, html, position)
    if (found === null) break
    const written = found[2] ? found[3]! : ""
    attributes.push(found[1]!.toLowerCase(), /^(['"]).*\1$/s.test(written) ? written.slice(1, -1) : written)
    position += found[0].length
  }
  const rest = strip(html.slice(position, end))
  return { end, attributes, kind: rest === "/>" ? "empty" : rest === ">" ? "start" : "text" }
}

const scanned = (scanner: StartTagScanner, start: number) =>
  scanner.scan(start)
    ? { end: scanner.end, attributes: scanner.kind === "text" ? [] : scanner.attributes(), kind: scanner.kind }
    : undefined

const Piece = Schema.Literals([
  ...["<a", "<b", ">", "/>", "/", "=", "==", "'", '"', " ", "\n", "x", "Y", "\u0000", "\u000b", "\u0085", "\ufeff"]
] as const)
const tags = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Piece), { maxLength: 24 }),
  (pieces) => `<a${pieces.join("")}`
)

const starts = (html: string): ReadonlyArray<number> => [...html.matchAll(/<[a-z]/g)].map((found) => found.index)

describe("StartTagScanner finds what Python's regular expressions find", () => {
  it.prop(
    "at every tag of a text",
    [tags],
    ([html]) => {
      const scanner = new StartTagScanner(html)
      for (const start of starts(html)) {
        const expected = reference(html, start)
        const found = scanned(scanner, start)
        expect(found).toEqual(expected?.kind === "text" ? { ...expected, attributes: [] } : expected)
      }
    },
    { arbitrary: { runs: 3_000 } }
  )

  it.prop(
    "also once it remembers the tags that never end",
    [tags],
    ([html]) => {
      const scanner = new StartTagScanner(html)
      scanner.rememberFailures()
      for (const start of starts(html)) expect(scanned(scanner, start)?.end).toBe(reference(html, start)?.end)
    },
    { arbitrary: { runs: 3_000 } }
  )
})
