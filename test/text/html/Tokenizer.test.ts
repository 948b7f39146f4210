import { describe, expect, it } from "@effect/vitest"
import { type TokenSink, tokenize } from "../../../src/text/html/Tokenizer.ts"

/** The tokens as short strings, what Python 3.11.7's `html.parser` reports for the same text. */
const tokens = (html: string): ReadonlyArray<string> => {
  const out: Array<string> = []
  const sink: TokenSink = {
    wantsAttributes: () => true,
    text: (data) => void out.push(`text ${data}`),
    startTag: (name, attributes, empty) =>
      void out.push(`${empty ? "empty" : "start"} ${[name, ...attributes].join("|")}`),
    endTag: (name) => void out.push(`end ${name}`),
    comment: (data) => void out.push(`comment ${data}`),
    declaration: (data) => void out.push(`declaration ${data}`),
    rejected: (offset) => void out.push(`rejected ${offset}`)
  }
  tokenize(html, sink)
  return out
}

describe("tokenize reads bad markup as Python 3.11.7 does", () => {
  it.each([
    ["<A Href='x' b>", ["start a|href|x|b|"]],
    ["<a b=c/>", ["start a|b|c/"]],
    ["<a b />", ["empty a|b|"]],
    ["<a / >", ["start a"]],
    ['<p a="x>y">', ["start p|a|x>y"]],
    ["<p 'q>", ["start p|'q|"]],
    ["<a b= 'c>", ["start a|b||'c|"]],
    ["<a b=='c>", ["start a|b|='c"]],
    ["<b\u0000c>", ["text <b", "text \u0000c>"]],
    ["<a b='c", ["text <", "text a b='c"]],
    ["<a <b", ["text <a ", "text <", "text b"]],
    ["</ a >", ["end a"]],
    ["</a b='>'>", ["end a", "text '>"]],
    ["</>x", ["text x"]],
    ["</3>", ["comment 3"]],
    ["<3", ["text <", "text 3"]],
    ["<!doctype html>", ["comment html"]],
    ["<!-- a -- >b", ["comment  a ", "text b"]],
    ["<!--a", ["text <", "text !--a"]],
    ["<![CDATA[a]]>", ["declaration a"]],
    ["<![if a]>", ["declaration if a"]],
    ["<![x]>", ["rejected 0", "text <", "text ![x]>"]],
    ["<?a?>", ["declaration a?"]],
    ["<script><b></ script >", ["start script", "text <b>", "end script"]],
    ["<script><b>", ["start script"]],
    ["&a", ["text a"]],
    ["&ab", ["text &ab"]],
    ["&lt-b", ["text <", "text -b"]],
    ["&#12a;", ["text &#", "text 12a;"]],
    ["&#39", ["text &#39"]]
  ])("%s", (html, expected) => {
    expect(tokens(html)).toEqual(expected)
  })
})
