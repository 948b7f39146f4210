/**
 * Writes a parsed tree as the markdown that markdownify 0.11.6 writes with its default options.
 *
 * Not a pretty printer and not CommonMark: blank lines, escapes and nesting come out as in the original, whose output
 * training data was made from. Underlined h1 and h2, ATX below; bullets `*+-` by depth; two spaces and a newline for
 * `br`; `*` and `_` escaped outside code; autolinks.
 *
 * An explicit stack instead of recursion. Where the original raises (an `hn` or `soup` element, an `ol` whose `start`
 * is no number) the element is passed through, or numbered from 1; a heading's level is bounded by `maxHeadingLevel`.
 */
import { asciiDigits, codePointLength, isBlank, rstrip, strip } from "./PythonText.ts"
import type { ElementNode, HtmlNode, Tree } from "./Tree.ts"

/** `<h999999999>` would be that many hashes in the original. */
export const maxHeadingLevel = 1024

const nested: ReadonlySet<string> = new Set(["ol", "ul", "li", "table", "thead", "tbody", "tfoot", "tr", "td", "th"])

const isNested = (node: HtmlNode | undefined): boolean =>
  node !== undefined && node.kind === "element" && nested.has(node.name)

/** Python's truth of a sibling: an empty text node counts as none. */
const isPresent = (node: HtmlNode | undefined): boolean =>
  node !== undefined && (node.kind === "element" || node.value !== "")

const isList = (node: HtmlNode | undefined): boolean =>
  node !== undefined && node.kind === "element" && (node.name === "ul" || node.name === "ol")

/** One element being written. `inline`: an ancestor is a heading or a table cell. */
interface Frame {
  readonly element: ElementNode
  readonly parent: Frame | undefined
  readonly inline: boolean
  readonly childInline: boolean
  /** Open `ul` elements, this one included. */
  readonly depth: number
  /** Whether this or an ancestor is an `li`. */
  readonly inItem: boolean
  /** Place among the parent's children. */
  readonly index: number
  next: number
  text: string
  /** Table cells, and header cells, anywhere below. */
  cells: number
  headerCells: number
}

const headingPrefix = /^h[1-6]/

const open = (element: ElementNode, parent: Frame | undefined, index: number): Frame => {
  const { name } = element
  if (nested.has(name)) element.children = withoutBlanks(element.children)
  const inline = parent?.childInline ?? false
  return {
    element,
    parent,
    inline,
    childInline: inline || name === "td" || name === "th" || headingPrefix.test(name),
    depth: (parent?.depth ?? 0) + (name === "ul" ? 1 : 0),
    inItem: (parent?.inItem ?? false) || name === "li",
    index,
    next: 0,
    text: "",
    cells: 0,
    headerCells: 0
  }
}

/**
 * Drops blank text at either end and beside list and table elements. The original removes nodes from the list it walks,
 * so the node after a removed one is never looked at.
 */
const withoutBlanks = (children: Array<HtmlNode>): Array<HtmlNode> => {
  const kept: Array<HtmlNode> = []
  for (let i = 0; i < children.length; i += 1) {
    const node = children[i]!
    if (node.kind === "text" && isBlank(node.value)) {
      const before = kept[kept.length - 1]
      const after = children[i + 1]
      if (!isPresent(before) || !isPresent(after) || isNested(before) || isNested(after)) {
        i += 1
        if (after !== undefined) kept.push(after)
        continue
      }
    }
    kept.push(node)
  }
  return kept
}

const blanks = /[\t ]+/g

/** One space for each run of spaces and tabs; most text has none to change. */
const collapseBlanks = (text: string): string =>
  text.includes("  ") || text.includes("\t") ? text.replace(blanks, " ") : text

const escapeMarkdown = (text: string): string => {
  const starred = text.includes("*") ? text.replaceAll("*", "\\*") : text
  return starred.includes("_") ? starred.replaceAll("_", "\\_") : starred
}

const writeText = (value: string, frame: Frame): string => {
  const { name } = frame.element
  const inPre = name === "pre" || (name === "code" && frame.parent?.element.name === "pre")
  let text = inPre ? value : collapseBlanks(value)
  if (name !== "code" && name !== "pre") text = escapeMarkdown(text)
  if (name === "li") {
    const after = frame.element.children[frame.next]
    if (!isPresent(after) || isList(after)) text = rstrip(text)
  }
  return text
}

/** Puts `prefix` at the start of every line, the empty one after a final newline included. */
const prefixLines = (text: string, prefix: string): string => prefix + text.replaceAll("\n", `\n${prefix}`)

/** Wraps text in a mark, outside of the blanks at its ends. */
const wrap = (text: string, mark: string): string => {
  const inner = strip(text)
  if (inner === "") return ""
  return (text.startsWith(" ") ? " " : "") + mark + inner + mark + (text.endsWith(" ") ? " " : "")
}

const titlePart = (title: string | undefined): string => (title ? ` "${title.replaceAll('"', '\\"')}"` : "")

const writeLink = (element: ElementNode, text: string): string => {
  const inner = strip(text)
  if (inner === "") return ""
  const href = element.attributes.get("href")
  const title = element.attributes.get("title")
  if (!title && inner.replaceAll("\\_", "_") === href) return `<${href}>`
  if (!href) return inner
  return `${text.startsWith(" ") ? " " : ""}[${inner}](${href}${titlePart(title)})${text.endsWith(" ") ? " " : ""}`
}

const writeImage = (frame: Frame): string => {
  const { attributes } = frame.element
  const alt = attributes.get("alt") ?? ""
  return frame.inline ? alt : `![${alt}](${attributes.get("src") ?? ""}${titlePart(attributes.get("title"))})`
}

const writeHeading = (level: number, text: string, inline: boolean): string => {
  if (inline) return text
  const trimmed = rstrip(text)
  if (level > 2) return `${"#".repeat(Math.min(level, maxHeadingLevel))} ${trimmed}\n\n`
  return trimmed === "" ? "" : `${trimmed}\n${(level === 1 ? "=" : "-").repeat(codePointLength(trimmed))}\n\n`
}

const writeList = (frame: Frame, text: string): string => {
  if (frame.inItem) return "\n" + (text === "" ? "" : rstrip(prefixLines(text, "\t")))
  const after = frame.parent?.element.children[frame.index + 1]
  return text + (isPresent(after) && !isList(after) ? "\n" : "")
}

/** What Python's `int` reads; 1 for anything else. */
const listStart = (written: string | undefined): bigint => {
  const read = /^([+-]?)(\p{Nd}+(?:_\p{Nd}+)*)$/u.exec(strip(written ?? ""))
  if (read === null || read[2]!.length > 4300) return 1n
  const number = BigInt(asciiDigits(read[2]!.replaceAll("_", "")))
  return read[1] === "-" ? -number : number
}

const bullets = ["*", "+", "-"]

const writeItem = (frame: Frame, text: string): string => {
  const parent = frame.parent?.element
  const bullet =
    parent?.name === "ol"
      ? `${listStart(parent.attributes.get("start")) + BigInt(frame.index)}.`
      : bullets[(frame.depth + 2) % 3]!
  return `${bullet} ${strip(text)}\n`
}

const writeRow = (frame: Frame, text: string): string => {
  const rule = `| ${Array.from({ length: frame.cells }, () => "---").join(" | ")} |\n`
  const isFirst = !isPresent(frame.parent?.element.children[frame.index - 1])
  if (isFirst && frame.cells === frame.headerCells) return `|${text}\n${rule}`
  const parent = frame.parent
  const opensTable =
    isFirst &&
    (parent?.element.name === "table" ||
      (parent?.element.name === "tbody" && !isPresent(parent.parent?.element.children[parent.index - 1])))
  if (!opensTable) return `|${text}\n`
  return `| ${Array.from({ length: frame.cells }, () => "").join(" | ")} |\n${rule}|${text}\n`
}

const headingName = /^h(\p{Nd}+)/u

/** The element's markdown, given that of its children. */
const write = (frame: Frame): string => {
  const { element, inline, text } = frame
  const { name } = element
  switch (name) {
    case "p":
      return inline ? text : text === "" ? "" : text + "\n\n"
    case "code":
    case "kbd":
    case "samp":
      return frame.parent?.element.name === "pre" ? text : wrap(text, "`")
    case "pre":
      return text === "" ? "" : `\n\`\`\`\n${text}\n\`\`\`\n`
    case "li":
      return writeItem(frame, text)
    case "ul":
    case "ol":
    case "list":
      return writeList(frame, text)
    case "b":
    case "strong":
      return wrap(text, "**")
    case "em":
    case "i":
      return wrap(text, "*")
    case "del":
    case "s":
      return wrap(text, "~~")
    case "sub":
    case "sup":
      return wrap(text, "")
    case "a":
      return writeLink(element, text)
    case "br":
      return inline ? "" : "  \n"
    case "td":
    case "th":
      return ` ${text} |`
    case "tr":
      return writeRow(frame, text)
    case "table":
      return `\n\n${text}\n`
    case "blockquote":
      return inline ? text : text === "" ? "" : `\n${prefixLines(text, "> ")}\n\n`
    case "hr":
      return "\n\n---\n\n"
    case "img":
      return writeImage(frame)
    default: {
      const heading = name.charCodeAt(0) === 0x68 ? headingName.exec(name) : null
      return heading === null ? text : writeHeading(Number(asciiDigits(heading[1]!)), text, inline)
    }
  }
}

/**
 * Writes a tree as markdown of some `limit` UTF-16 units; consumes the tree, whose blank text is dropped on the way.
 * Never throws. From the first element on whose marks would take the text past the limit, elements give their text
 * alone, and
 * `tooLarge` says so.
 *
 * Algorithm: `MarkdownConverter.process_tag` of markdownify 0.11.6. A list or a quotation marks every line once a
 * level, so that without a limit the output may be the input's size times its depth.
 */
export const writeBounded = (tree: Tree, limit: number): { readonly text: string; readonly tooLarge: boolean } => {
  let tooLarge = false
  let frame = open(tree.root, undefined, 0)
  for (;;) {
    const child = frame.element.children[frame.next]
    if (child === undefined) {
      const { parent } = frame
      if (parent === undefined) return { text: frame.text, tooLarge }
      const marked: string = tooLarge ? frame.text : write(frame)
      tooLarge ||= marked.length > frame.text.length && parent.text.length + marked.length > limit
      parent.text += tooLarge ? frame.text : marked
      const { name } = frame.element
      parent.cells += frame.cells + (name === "td" || name === "th" ? 1 : 0)
      parent.headerCells += frame.headerCells + (name === "th" ? 1 : 0)
      frame = parent
      continue
    }
    frame.next += 1
    if (child.kind === "element") frame = open(child, frame, frame.next - 1)
    else if (!child.silent) frame.text += writeText(child.value, frame)
  }
}

/**
 * The same without a limit.
 *
 * @example
 * ```ts
 * writeMarkdown(parseHtml("<b>a</b>")) // "**a**"
 * ```
 */
export const writeMarkdown = (tree: Tree): string => writeBounded(tree, Number.POSITIVE_INFINITY).text
