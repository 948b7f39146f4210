/**
 * Unicode's composed form (NFC) as Hugging Face `tokenizers` makes it, and where its characters came from.
 *
 * Not `String.prototype.normalize` alone: the original's tables stem from an older Unicode, so marks and letters that
 * came later neither move nor combine there. They are set apart here and the text between them is left to the engine
 * (assigned characters never change their form).
 *
 * Units: UTF-16 code units.
 */

/** Where a changed text came from: its code unit u is part of what stood at [starts[u], ends[u]) in the original. */
export interface Places {
  readonly starts: Int32Array
  readonly ends: Int32Array
}

// Characters that decompose, combine or move in Unicode 17 and do none of it in the original's tables (compared with
// `tokenizers` 0.23 on all code points).
const LATER =
  "7fd 897-89f 8ca-8d3 9fe c3c d3b-d3c eba 1715 1abf-1add 1ae0-1aeb 1df6-1dfa a82c 105c9 105d2 105da 105e4 " +
  "10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10efb 10efd-10eff 10f46-10f50 10f82-10f85 11070 1133b 11382-11385 " +
  "1138b 1138e 11390-11391 113c2 113c5 113c7-113c8 113ce-113d0 1145e 11839-1183a 11935 11938 1193d-1193e 11943 " +
  "119e0 11a34 11a47 11a99 11d42 11d44-11d45 11d97 11f41-11f42 1611e 16121-16129 1612f 16d63 16d67-16d6a " +
  "16ff0-16ff1 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5"

const LATER_CLASS = LATER.split(" ")
  .map((range) =>
    range
      .split("-")
      .map((hex) => `\\u{${hex}}`)
      .join("-")
  )
  .join("")
const LATER_ONE = new RegExp(`[${LATER_CLASS}]`, "u")
const LATER_CUT = new RegExp(`[${LATER_CLASS}]|[^${LATER_CLASS}]+`, "gu")
/** A character and what may combine with it: marks, and the second and third letters of Korean syllables. */
const CLUSTER = /[\s\S][\p{M}\u1161-\u1175\u11a8-\u11c2]*/gu

/**
 * The composed form of a text.
 *
 * @example
 * composed("e\u0301") // "é"
 */
export const composed = (text: string): string => {
  if (!/[^\0-\u02ff]/.test(text)) return text
  if (!LATER_ONE.test(text)) return text.normalize("NFC")
  let out = ""
  for (const [part] of text.matchAll(LATER_CUT)) out += LATER_ONE.test(part) ? part : part.normalize("NFC")
  return out
}

/**
 * Where the code units of `composed(text)` came from, `base` added; the units of a changed cluster share its whole
 * range.
 *
 * @example
 * placesOf("ae\u0301", 0) // starts [0, 1], ends [1, 3]
 */
export const placesOf = (text: string, base: number): Places => {
  const length = composed(text).length
  const starts = new Int32Array(length)
  const ends = new Int32Array(length)
  let at = 0
  for (const { 0: cluster, index } of text.matchAll(CLUSTER)) {
    const made = composed(cluster)
    const isSame = made === cluster
    for (let i = 0; i < made.length; i++, at++) {
      starts[at] = base + index + (isSame ? i : 0)
      ends[at] = base + index + (isSame ? i + 1 : cluster.length)
    }
  }
  return { starts, ends }
}
