import { describe, expect, it } from "@effect/vitest"
import { type HtmlNode, maxDepth, parseHtml } from "../../../src/text/html/Tree.ts"

/** The tree as text: elements in brackets, text quoted, silent nodes as `#`. */
const show = (node: HtmlNode): string =>
  node.kind === "text"
    ? node.silent
      ? "#"
      : JSON.stringify(node.value)
    : `${node.name}(${node.children.map(show).join(" ")})`

const tree = (html: string): string => parseHtml(html).root.children.map(show).join(" ")

describe("parseHtml builds Beautiful Soup's tree", () => {
  it.each([
    ["<b>a<i>b</b>c", 'b("a" i("b")) "c"'],
    ["a</i>b", '"a" "b"'],
    ["<p>a<p>b", 'p("a" p("b"))'],
    ["<br>a</br>b", 'br() "ab"'],
    ["<br><br/>a", 'br() br() "a"'],
    ["<p/>a", 'p() "a"'],
    ["<p> \t </p>\n\n<pre> \t </pre>", 'p(" ") "\\n" pre(" \\t ")'],
    ["a<!---->b", '"a" # "b"'],
    ["<![CDATA[a]]>b<?c>", '"a" "b" "c"'],
    ["<script><b></script>", 'script("<b>")']
  ])("%s", (html, expected) => {
    expect(tree(html)).toBe(expected)
  })

  it("resolves the attributes it keeps, the last of a name winning", () => {
    const [link] = parseHtml('<a href=x HREF="u?a=1&amp;b" title>').root.children
    expect(link?.kind === "element" && [...link.attributes]).toEqual([
      ["href", "u?a=1&b"],
      ["title", ""]
    ])
  })

  it("leaves out elements below the depth bound and closes them in their order", () => {
    const { root, tooDeep } = parseHtml(`${"<b>".repeat(maxDepth + 5)}x${"</b>".repeat(maxDepth + 5)}y`)
    expect(tooDeep).toBe(true)
    expect(root.children.map(show)[1]).toBe('"y"')
    expect(parseHtml("<b>".repeat(maxDepth)).tooDeep).toBe(false)
  })
})
