/**
 * A reply as blocks, written as the HTML that the site served or as plain markdown.
 *
 * Not a converter: the two forms of one reply are both written from its blocks. What a cleaner makes of the HTML is
 * the business of `src/text`.
 */

export type Inline =
  | string
  | { readonly kind: "strong" | "em" | "code"; readonly text: string }
  | { readonly kind: "link"; readonly text: string; readonly href: string }
  | { readonly kind: "break" }
  /** An entity name, for example `nbsp`, and its character. */
  | { readonly kind: "entity"; readonly name: string; readonly text: string }

export type Line = ReadonlyArray<Inline>

export type Block =
  | { readonly kind: "paragraph"; readonly line: Line }
  | { readonly kind: "heading"; readonly level: 1 | 2 | 3 | 4; readonly line: Line }
  | { readonly kind: "quote"; readonly line: Line }
  | { readonly kind: "list"; readonly ordered: boolean; readonly loose: boolean; readonly items: ReadonlyArray<Item> }
  | { readonly kind: "table"; readonly head: ReadonlyArray<Line>; readonly rows: ReadonlyArray<ReadonlyArray<Line>> }
  | { readonly kind: "code"; readonly language: string; readonly text: string }

export interface Item {
  readonly line: Line
  readonly nested?: ReadonlyArray<Item>
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#x27;"
}
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => escapes[c]!)

const inlineHtml = (part: Inline): string => {
  if (typeof part === "string") return escapeHtml(part)
  switch (part.kind) {
    case "link":
      return `<a href="${escapeHtml(part.href)}" target="_new">${escapeHtml(part.text)}</a>`
    case "break":
      return "<br>"
    case "entity":
      return `&${part.name};`
    default:
      return `<${part.kind}>${escapeHtml(part.text)}</${part.kind}>`
  }
}
const lineHtml = (line: Line): string => line.map(inlineHtml).join("")

const keyword = /\b(return|const|let|for|def|if|in|print|select|from|where|int|while)\b/g
const number = /\b\d+\b/g
/** Colours code as highlight.js does; entities are left alone because only words and digits outside them match. */
const highlighted = (code: string): string =>
  code
    .split(/(&#?\w+;)/)
    .map((piece, i) =>
      i % 2 === 1
        ? piece
        : piece
            .replace(number, (n) => `\u0001${n}\u0002`)
            .replace(keyword, (k) => `<span class="hljs-keyword">${k}</span>`)
            .replaceAll("\u0001", '<span class="hljs-number">')
            .replaceAll("\u0002", "</span>")
    )
    .join("")

const itemsHtml = (items: ReadonlyArray<Item>, ordered: boolean, loose: boolean): string => {
  const tag = ordered ? "ol" : "ul"
  const body = items.map((item) => {
    const line = loose ? `<p>${lineHtml(item.line)}</p>` : lineHtml(item.line)
    return `<li>${line}${item.nested ? itemsHtml(item.nested, false, loose) : ""}</li>`
  })
  return `<${tag}>${body.join("")}</${tag}>`
}

const blockHtml = (block: Block): string => {
  switch (block.kind) {
    case "paragraph":
      return `<p>${lineHtml(block.line)}</p>`
    case "heading":
      return `<h${block.level}>${lineHtml(block.line)}</h${block.level}>`
    case "quote":
      return `<blockquote><p>${lineHtml(block.line)}</p></blockquote>`
    case "list":
      return itemsHtml(block.items, block.ordered, block.loose)
    case "table": {
      const cells = (tag: string, row: ReadonlyArray<Line>) =>
        `<tr>${row.map((cell) => `<${tag}>${lineHtml(cell)}</${tag}>`).join("")}</tr>`
      const body = block.rows.map((row) => cells("td", row)).join("")
      return `<table><thead>${cells("th", block.head)}</thead><tbody>${body}</tbody></table>`
    }
    case "code":
      return (
        `<pre><div class="bg-black mb-4 rounded-md"><div class="flex items-center relative text-gray-200 bg-gray-800 ` +
        `px-4 py-2 text-xs font-sans"><span class="">${block.language}</span><button class="flex ml-auto gap-2">` +
        `Copy code</button></div><div class="p-4 overflow-y-auto"><code class="!whitespace-pre hljs ` +
        `language-${block.language}">${highlighted(escapeHtml(block.text))}\n</code></div></div></pre>`
      )
  }
}

/** The reply as served: a prose `div` around its blocks; `dark` and `light` versions of the page differ in class. */
export const toHtml = (blocks: ReadonlyArray<Block>, theme: "light" | "dark" = "light"): string =>
  `<div class="markdown prose w-full break-words dark:prose-invert ${theme}">${blocks.map(blockHtml).join("")}</div>`

/** A short reply in the older, slimmer page. */
export const toSlimHtml = (text: string): string => `<div class="markdown prose"><p>${escapeHtml(text)}</p></div>`

const inlineMarkdown = (part: Inline): string => {
  if (typeof part === "string") return part
  switch (part.kind) {
    case "strong":
      return `**${part.text}**`
    case "em":
      return `*${part.text}*`
    case "code":
      return `\`${part.text}\``
    case "link":
      return `[${part.text}](${part.href})`
    case "break":
      return "  \n"
    case "entity":
      return part.text
  }
}
const lineMarkdown = (line: Line): string => line.map(inlineMarkdown).join("")

const itemsMarkdown = (items: ReadonlyArray<Item>, ordered: boolean, indent: string): string =>
  items
    .map((item, i) => {
      const nested = item.nested ? `\n${itemsMarkdown(item.nested, false, `${indent}  `)}` : ""
      return `${indent}${ordered ? `${i + 1}.` : "-"} ${lineMarkdown(item.line)}${nested}`
    })
    .join("\n")

const blockMarkdown = (block: Block): string => {
  switch (block.kind) {
    case "paragraph":
      return lineMarkdown(block.line)
    case "heading":
      return `${"#".repeat(block.level)} ${lineMarkdown(block.line)}`
    case "quote":
      return `> ${lineMarkdown(block.line)}`
    case "list":
      return itemsMarkdown(block.items, block.ordered, "")
    case "table": {
      const cells = (row: ReadonlyArray<Line>) => `| ${row.map(lineMarkdown).join(" | ")} |`
      return [cells(block.head), cells(block.head.map(() => ["---"])), ...block.rows.map(cells)].join("\n")
    }
    case "code":
      return `\`\`\`${block.language}\n${block.text}\n\`\`\``
  }
}

/** The same reply as markdown, for the sources whose values were converted before. */
export const toMarkdown = (blocks: ReadonlyArray<Block>): string => blocks.map(blockMarkdown).join("\n\n")
