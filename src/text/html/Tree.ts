/**
 * Builds the tree that Beautiful Soup 4.15 builds with its `html.parser` builder.
 *
 * Not the HTML 5 tree construction: nothing is implied or moved. An end tag closes up to its nearest open namesake and
 * is ignored without one; an element still open at the end simply ends there. Kept quirks: text that is only ASCII
 * whitespace becomes one newline or one space outside `pre` and `textarea`, but each piece by itself, and an ignored
 * end tag still cuts text in two pieces; `<br></br>` is one `br`, and its end tag does not cut.
 *
 * Depth is bounded: elements below `maxDepth` are not built, their text goes to the deepest one that is. The original
 * runs out of stack near 970 levels.
 */
import { unescapeAttribute } from "./Entities.ts"
import { type TokenSink, tokenize } from "./Tokenizer.ts"

/** A text node; `silent` for a comment or doctype, which is a sibling like any other but has no text of its own. */
export interface TextNode {
  readonly kind: "text"
  readonly value: string
  readonly silent: boolean
}

export interface ElementNode {
  readonly kind: "element"
  readonly name: string
  /** Only of `a`, `img` and `ol`; values with their references resolved. */
  readonly attributes: ReadonlyMap<string, string>
  children: Array<HtmlNode>
}

export type HtmlNode = TextNode | ElementNode

/** A tree, and where the original would have refused the markup (UTF-16 offset, what stands there). */
export interface Tree {
  readonly root: ElementNode
  readonly rejected: { readonly offset: number; readonly what: string } | undefined
  /** Whether elements were left out because they lay deeper than `maxDepth`. */
  readonly tooDeep: boolean
}

/** Elements below this depth are not built. */
export const maxDepth = 900

const emptyElements: ReadonlySet<string> = new Set(
  (
    "area base br col embed hr img input keygen link menuitem meta param source track wbr " +
    "basefont bgsound command frame image isindex nextid spacer"
  ).split(" ")
)

const noAttributes: ReadonlyMap<string, string> = new Map()

/** Whether text is nothing but ASCII whitespace, as Beautiful Soup counts it; true for the empty text. */
const isAsciiBlank = (text: string): boolean => {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i)
    if (code !== 0x20 && code !== 0x0a && code !== 0x09 && code !== 0x0c && code !== 0x0d) return false
  }
  return true
}

const element = (name: string, attributes: ReadonlyMap<string, string>): ElementNode => ({
  kind: "element",
  name,
  attributes,
  children: []
})

class TreeBuilder implements TokenSink {
  readonly root = element("[document]", noAttributes)
  rejection: Tree["rejected"]
  tooDeep = false
  private readonly stack: Array<ElementNode> = [this.root]
  private current: ElementNode = this.root
  /** How many elements of a name are open. */
  private readonly open = new Map<string, number>()
  /** Names of elements below the depth bound, innermost last. */
  private readonly unbuilt: Array<string> = []
  /** Start tags of empty elements whose end tag, should it come, is to be ignored. */
  private closedAlready: Map<string, number> | undefined
  private preserving = 0
  private data: string | undefined

  wantsAttributes(name: string): boolean {
    return name === "a" || name === "img" || name === "ol"
  }

  text(data: string): void {
    this.data = this.data === undefined ? data : this.data + data
  }

  comment(data: string): void {
    this.endText(false)
    this.data = data
    this.endText(true)
  }

  declaration(data: string): void {
    this.endText(false)
    this.data = data
    this.endText(false)
  }

  rejected(offset: number, what: string): void {
    this.rejection ??= { offset, what }
  }

  startTag(name: string, attributes: ReadonlyArray<string>, selfClosing: boolean): void {
    this.endText(false)
    this.push(name, attributes)
    if (selfClosing) {
      this.pop(name)
    } else if (emptyElements.has(name)) {
      this.pop(name)
      this.closedAlready ??= new Map()
      this.closedAlready.set(name, (this.closedAlready.get(name) ?? 0) + 1)
    }
  }

  endTag(name: string): void {
    const closed = this.closedAlready?.get(name)
    if (closed !== undefined && closed > 0) {
      this.closedAlready?.set(name, closed - 1)
      return
    }
    this.endText(false)
    this.pop(name)
  }

  finish(): void {
    this.endText(false)
  }

  private push(name: string, attributes: ReadonlyArray<string>): void {
    this.open.set(name, (this.open.get(name) ?? 0) + 1)
    if (this.stack.length > maxDepth) {
      this.tooDeep = true
      this.unbuilt.push(name)
      return
    }
    let values = noAttributes
    if (attributes.length > 0) {
      const map = new Map<string, string>()
      for (let i = 0; i < attributes.length; i += 2) map.set(attributes[i]!, unescapeAttribute(attributes[i + 1]!))
      values = map
    }
    const node = element(name, values)
    this.current.children.push(node)
    this.stack.push(node)
    this.current = node
    if (name === "pre" || name === "textarea") this.preserving += 1
  }

  /** Closes elements up to the nearest open one of this name; none when no such element is open. */
  private pop(name: string): void {
    if ((this.open.get(name) ?? 0) === 0) return
    for (;;) {
      const closed = this.popOne()
      this.open.set(closed, this.open.get(closed)! - 1)
      if (closed === name) return
    }
  }

  private popOne(): string {
    const unbuilt = this.unbuilt.pop()
    if (unbuilt !== undefined) return unbuilt
    const { name } = this.stack.pop()!
    this.current = this.stack[this.stack.length - 1]!
    if (name === "pre" || name === "textarea") this.preserving -= 1
    return name
  }

  private endText(silent: boolean): void {
    let value = this.data
    if (value === undefined) return
    this.data = undefined
    if (this.preserving === 0 && isAsciiBlank(value)) value = value.includes("\n") ? "\n" : " "
    this.current.children.push({ kind: "text", value, silent })
  }
}

/**
 * Parses `html` into a tree. Never throws; linear time.
 *
 * Algorithm: `BeautifulSoup` (`endData`, `pushTag`, `_popToTag`) and `BeautifulSoupHTMLParser` of Beautiful Soup 4.
 *
 * @example
 * ```ts
 * parseHtml("<b>a<i>b</b>c").root.children.length // 2: the b element and the text "c"
 * ```
 */
export const parseHtml = (html: string): Tree => {
  const builder = new TreeBuilder()
  tokenize(html, builder)
  builder.finish()
  return { root: builder.root, rejected: builder.rejection, tooDeep: builder.tooDeep }
}
