import { describe, expect, it } from "vitest"
import { escapeHtml, toHtml, toMarkdown } from "../../../datasets/generate/Markup.ts"
import { dice } from "../../../datasets/generate/Random.ts"
import { reply } from "../../../datasets/generate/Talk.ts"
import { snippets, topics } from "../../../datasets/generate/Topics.ts"

const throws = dice(8, "markup")
const replies = Array.from({ length: 200 }, () => reply(throws, throws.pick(topics)))

describe("toHtml", () => {
  it("closes every element that it opens, in order", () => {
    for (const blocks of replies) {
      const open: Array<string> = []
      for (const [, slash, name] of toHtml(blocks).matchAll(/<(\/?)([a-z0-9]+)[^>]*>/g)) {
        if (name === "br") continue
        if (slash) expect(open.pop()).toBe(name)
        else open.push(name!)
      }
      expect(open).toEqual([])
    }
  })

  it("keeps the text of code whole under its highlighting", () => {
    for (const snippet of snippets) {
      const html = toHtml([{ kind: "code", ...snippet }])
      const inner = /<code[^>]*>([\s\S]*)\n<\/code>/.exec(html)![1]!
      expect(inner.replace(/<\/?span[^>]*>/g, "")).toBe(escapeHtml(snippet.text))
    }
  })

  it("serves code with its language, a copy button and highlight spans", () => {
    const html = toHtml([{ kind: "code", language: "python", text: "return 1" }])
    expect(html).toContain(">python</span><button")
    expect(html).toContain("Copy code</button>")
    expect(html).toContain('<span class="hljs-keyword">return</span> <span class="hljs-number">1</span>')
  })
})

describe("toMarkdown", () => {
  it("writes the same blocks without any element", () => {
    for (const blocks of replies) {
      if (blocks.some((b) => b.kind === "code")) continue
      expect(toMarkdown(blocks)).not.toMatch(/<\/?(div|p|li|table|span)\b/)
    }
    expect(toMarkdown([{ kind: "code", language: "sql", text: "select 1" }])).toBe("```sql\nselect 1\n```")
  })
})
