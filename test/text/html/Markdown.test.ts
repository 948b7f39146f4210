import { describe, expect, it } from "@effect/vitest"
import { maxHeadingLevel, writeMarkdown } from "../../../src/text/html/Markdown.ts"
import { parseHtml } from "../../../src/text/html/Tree.ts"

const markdown = (html: string): string => writeMarkdown(parseHtml(html))

describe("writeMarkdown writes what markdownify 0.11.6 writes", () => {
  it.each([
    ["<b> a </b>", " **a** "],
    ["<b> </b>", ""],
    ["<code>a_b</code> a_b", "`a_b` a\\_b"],
    ["<h2>a</h2>", "a\n-\n\n"],
    ["<h3>a</h3>", "### a\n\n"],
    ["<h7>a</h7>", "####### a\n\n"],
    ["<h1><br>a<p>b</p></h1>", "ab\n==\n\n"],
    ["a<br>b", "a  \nb"],
    ["<blockquote>a\nb</blockquote>", "\n> a\n> b\n\n"],
    ["<pre><code>a  *b</code></pre>", "\n```\na  *b\n```\n"],
    ["<a href=x_y>x_y</a>", "<x_y>"],
    ['<a href="u" title=\'a"b\'>t</a>', '[t](u "a\\"b")'],
    ["<a> t </a>", "t"],
    ["<img src=s alt=a>", "![a](s)"],
    ["<h3><img src=s alt=a></h3>", "### a\n\n"],
    ["<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li></ul>", "* a\n\t+ b\n\t\t- c\n"],
    ["<ol start=3><li>a</li> <li>b</li></ol>", "3. a\n4. b\n"],
    ["<ol start=x><li>a</li></ol>", "1. a\n"],
    ["<ol start=' -1_0 '><li>a</li><li>b</li></ol>", "-10. a\n-9. b\n"],
    ["<h٣>a</h٣>", "### a\n\n"],
    ["<ol start=١٢><li>a</li></ol>", "12. a\n"],
    ["<ol start=𝟗𝟎𝟭><li>a</li></ol>", "901. a\n"],
    ["<ul><li>a</li></ul>b", "* a\n\nb"],
    ["<list>a</list>b", "a\nb"],
    ["<tr><td>a</td></tr>", "| a |\n"],
    ["<table><tr><td>a</td></tr></table>", "\n\n|  |\n| --- |\n| a |\n\n"],
    ["<table><tr><th>a</th><th>b</th></tr></table>", "\n\n| a | b |\n| --- | --- |\n\n"],
    ["a<!-- b -->c<!doctype d>", "ac"],
    ["<s>a</s><del>b</del><sup>c</sup>", "~~a~~~~b~~c"],
    ["<x>a</x><hn>b</hn><soup>c</soup>", "abc"]
  ])("%s", (html, expected) => {
    expect(markdown(html)).toBe(expected)
  })

  it("bounds a heading's level", () => {
    expect(markdown("<h999999999>a</h999999999>")).toBe(`${"#".repeat(maxHeadingLevel)} a\n\n`)
  })
})
