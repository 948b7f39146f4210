/**
 * Text from data as a terminal or a page may have it: what is no letter, mark, number, punctuation, symbol or blank is
 * shown by its number, `\u001b` for an escape character.
 *
 * Not quoting: a backslash stays one. A terminal obeys control characters (C0, C1) and what they begin, and
 * bidirectional marks, invisible characters and half surrogates make text look like another; Unicode calls none of
 * these visible, so what is let through is what it does. A joiner in an emoji or in Persian is shown by its number too.
 * The form is JSON's, so that a line of JSON says the same afterwards.
 */

/** All but what is known to be seen, and ends of lines and tabs. */
const unseen = /[^\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}\n\t]/gu

const numbered = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`
  ).join("")

/** Text of one or more lines; ends of lines and tabs stay. */
export const printable = (text: string): string => (/^[ -~\n\t]*$/.test(text) ? text : text.replace(unseen, numbered))

/** Text within a line: ends of lines and tabs become blanks. */
export const printableLine = (text: string): string =>
  /^[ -~]*$/.test(text) ? text : printable(text.replace(/[\r\n\t]+/g, " "))
