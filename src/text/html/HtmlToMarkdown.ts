/**
 * HTML of a ShareGPT turn to the markdown that FastChat's cleaner makes of it, character for character.
 *
 * Not a general converter: it removes the site's own noise too (the "Copy code" button, "2 / 3", "Copy120 chars / 20
 * words"). Reference: `fastchat/data/clean_sharegpt.py` on Python 3.11.7, Beautiful Soup 4.15 (`html.parser`) and
 * markdownify 0.11.6.
 *
 * Total: markup for which the reference raises is read as text, elements nested deeper than `maxDepth` lose their tags,
 * and so do those whose marks would make the text far larger than the markup. `convertHtml` says so instead.
 */
import { Result, Schema } from "effect"
import { writeBounded } from "./Markdown.ts"
import { strip } from "./PythonText.ts"
import { dropOpeningTags, dropSiteNoise } from "./SiteNoise.ts"
import { maxDepth, parseHtml, type Tree } from "./Tree.ts"

/** Markup that the reference refuses. `offset` is in UTF-16 units of the text without `div` and `span` tags. */
export class HtmlRejected extends Schema.TaggedError<HtmlRejected>()("HtmlRejected", {
  reason: Schema.Literals(["UnknownSection", "TooDeep", "TooLarge"]),
  offset: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

const parse = (html: string): Tree => parseHtml(dropOpeningTags(dropOpeningTags(html, "div"), "span"))

/**
 * UTF-16 units that marks may bring a text to. Quotations in quotations mark every line once a level: some kilobytes
 * make gigabytes.
 */
export const maxMarkdown = (size: number): number => 16 * size + 2 ** 20

const finish = (text: string): string => dropSiteNoise(strip(text))

/**
 * Converts one turn. Never throws; see the header for what it does with markup that the reference refuses.
 *
 * Time is linear in the input for a bounded depth of nesting; output is bounded by `maxMarkdown` and the text itself.
 *
 * @example
 * ```ts
 * htmlToMarkdown("<p>A <b>kettle</b></p>") // "A **kettle**"
 * ```
 */
export const htmlToMarkdown = (html: string): string => finish(writeBounded(parse(html), maxMarkdown(html.length)).text)

/**
 * Converts one turn, or fails with `HtmlRejected` where the reference drops the conversation or runs out of stack.
 *
 * @example
 * ```ts
 * convertHtml("<![foo bar]>") // Result.fail(HtmlRejected { reason: "UnknownSection" })
 * ```
 */
export const convertHtml = (html: string): Result.Result<string, HtmlRejected> => {
  const tree = parse(html)
  if (tree.rejected !== undefined) {
    return Result.fail(
      new HtmlRejected({
        reason: "UnknownSection",
        offset: tree.rejected.offset,
        message: `a marked section of unknown kind: ${JSON.stringify(tree.rejected.what)}`,
        hint: "Escape the `<` as `&lt;`, or use htmlToMarkdown, which reads it as text."
      })
    )
  }
  if (tree.tooDeep) {
    return Result.fail(
      new HtmlRejected({
        reason: "TooDeep",
        offset: 0,
        message: `elements are nested more than ${maxDepth} deep`,
        hint: "Such markup is nearly always damaged; htmlToMarkdown keeps its text and drops the innermost tags."
      })
    )
  }
  const { text, tooLarge } = writeBounded(tree, maxMarkdown(html.length))
  if (tooLarge) {
    return Result.fail(
      new HtmlRejected({
        reason: "TooLarge",
        offset: 0,
        message: `${html.length} characters of markup make more than ${maxMarkdown(html.length)} of markdown`,
        hint: "Quotations or lists lie in each other hundreds deep; htmlToMarkdown keeps the text and drops such tags."
      })
    )
  }
  return Result.succeed(finish(text))
}
