import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { convertHtml, htmlToMarkdown, maxMarkdown } from "../../../src/text/html/HtmlToMarkdown.ts"
import { maxDepth } from "../../../src/text/html/Tree.ts"

const golden: ReadonlyArray<{ readonly html: string; readonly markdown: string }> = JSON.parse(
  readFileSync(new URL("../../golden/sharegpt/html.json", import.meta.url), "utf8")
)

/** Fragments that break parsers, for random documents. */
const Fragment = Schema.Literals([
  "<p>",
  "</p>",
  "<b>",
  "</b>",
  "<pre>",
  "</pre>",
  "<code>",
  "<ul>",
  "<li>",
  "</ul>",
  "<ol start='3'>",
  "<h1>",
  "<table>",
  "<tr>",
  "<td>",
  "<th>",
  "<blockquote>",
  "<br>",
  "<br/>",
  "</br>",
  "<a href=x_y>",
  "</a>",
  "<img alt=a>",
  "<script>",
  "</script>",
  "<style>",
  "<textarea>",
  "<!-- c -->",
  "<!--",
  "<!x>",
  "<![if x]>",
  "<![CDATA[",
  "<?php",
  "<",
  "</",
  "</>",
  ">",
  "<a b='",
  '<a b="',
  "&",
  "&#",
  "&#39;",
  "&amp",
  "&nbsp;",
  "&foo;",
  ";",
  "=",
  "/",
  "'",
  '"',
  "text",
  "a_b*c",
  " ",
  "\t",
  "\n",
  "\n\n\n",
  "\u001c",
  "\u0000",
  "😀",
  "é",
  "```",
  "Copy code",
  "1 / 2",
  "<div",
  "<span>"
])
const document = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Fragment), { maxLength: 30 }), (parts) =>
  parts.join("")
)

describe("htmlToMarkdown", () => {
  it("equals the reference on every golden fragment", () => {
    const wrong = golden.filter(({ html, markdown }) => htmlToMarkdown(html) !== markdown)
    expect(wrong).toEqual([])
    expect(golden.length).toBe(3000)
  })

  it("refuses nothing that the reference converts", () => {
    expect(golden.filter(({ html }) => Result.isFailure(convertHtml(html)))).toEqual([])
  })

  it("reads the rest as text once a character reference is broken and nothing can end it", () => {
    expect(htmlToMarkdown("<b>a</b>&#<i>b</i>")).toBe("**a**&#<i>b</i>")
    expect(htmlToMarkdown("&#<i>b</i>;")).toBe("&#*b*;")
  })

  it("reads references in text and in attributes by their different rules", () => {
    expect(htmlToMarkdown("&foo; &copyx; &#128; &amp")).toBe("&foo &copyx € &amp")
    expect(htmlToMarkdown('<a href="?a=1&copyx">b</a>')).toBe("[b](?a=1©x)")
  })

  it("takes the reference's view of whitespace, not JavaScript's", () => {
    expect(htmlToMarkdown("\u001c\u0085a\ufeff")).toBe("a\ufeff")
  })

  it("counts code points under a heading", () => {
    expect(htmlToMarkdown("<h1>a😀</h1>")).toBe("a😀\n==")
  })

  it("gives a fence its language and drops the button", () => {
    const html = "<pre><div><span>bash</span><button>Copy code</button></div><code>wc -l\n</code></pre>"
    expect(htmlToMarkdown(html)).toBe("```bash\nwc -l\n```")
  })

  it("keeps the text of markup that the reference refuses, and says so on request", () => {
    expect(htmlToMarkdown("a <![foo b]> c")).toBe("a <![foo b]> c")
    const result = convertHtml("a <![foo b]> c")
    expect(Result.isFailure(result) && result.failure.reason).toBe("UnknownSection")
    expect(Result.isFailure(result) && result.failure.offset).toBe(2)
  })

  it("survives nesting far deeper than the call stack, keeping the text", () => {
    const deep = `${"<ul><li>".repeat(50_000)}kettle${"</li></ul>".repeat(50_000)}`
    expect(htmlToMarkdown(deep)).toContain("kettle")
    const result = convertHtml(deep)
    expect(Result.isFailure(result) && result.failure.reason).toBe("TooDeep")
    expect(Result.isSuccess(convertHtml("<b>".repeat(maxDepth)))).toBe(true)
  })

  it.prop("never throws and gives text without blanks at its ends", [document], ([html]) => {
    const markdown = htmlToMarkdown(html)
    expect(markdown).toBe(htmlToMarkdown(html))
    expect(/^[ \n\t]|[ \n\t]$/.test(markdown)).toBe(false)
  })

  it.prop("leaves plain text as it is, twice over", [Arbitrary.schema(Schema.String)], ([text]) => {
    const plain = text.replace(/[<&*_`\s\d\p{C}\p{Z}]/gu, "x")
    expect(htmlToMarkdown(plain)).toBe(plain)
    expect(htmlToMarkdown(htmlToMarkdown(plain))).toBe(plain)
  })

  it.prop("writes at most a few times its input for each level of nesting", [document], ([html]) => {
    const levels = (html.match(/<[a-z]/g) ?? []).length + 1
    expect(htmlToMarkdown(html).length).toBeLessThanOrEqual((html.length + 8) * 8 * levels)
  })

  it("takes time linear in the input for every way we know to break it", () => {
    const broken = [
      "<a ",
      "<a<",
      "<a b='1 ",
      '<a b=">" ',
      "<a =<a =",
      "</",
      "</a ",
      "<!--",
      "<![if ",
      "<?",
      "<!",
      "&a",
      "&#1"
    ]
    const noisy = [
      "<div",
      "<span <div",
      "```",
      "Copy code",
      "```Copy code",
      "Copy1",
      "<br>",
      "</br>",
      "<ul><li>",
      "<tr>"
    ]
    for (const piece of [...broken, ...noisy]) {
      const html = piece.repeat(Math.ceil(300_000 / piece.length))
      // A quadratic scan of 300 kB takes minutes and runs into the suite's own limit; linear ones end at once.
      expect(typeof htmlToMarkdown(html), piece).toBe("string")
    }
  })
})

describe("a text that would grow without end", () => {
  it("is refused by convertHtml, and keeps its words in htmlToMarkdown", () => {
    const html = "<blockquote>".repeat(500) + "a\n".repeat(20_000)
    const result = convertHtml(html)
    expect(Result.isFailure(result) && result.failure.reason).toBe("TooLarge")
    const text = htmlToMarkdown(html)
    expect(text.length).toBeLessThanOrEqual(maxMarkdown(html.length) + html.length)
    expect(text.match(/a/g)?.length).toBe(20_000)
  })
})
