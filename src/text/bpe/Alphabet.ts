/**
 * The GPT-2 byte alphabet: one printable character for each of the 256 bytes, as tokenizer files spell tokens.
 *
 * Not an encoder of text: it maps bytes to spelling and back (`" the"` is spelled `Ġthe`).
 *
 * Source: Radford et al., GPT-2's `bytes_to_unicode`: printable Latin-1 bytes stand for themselves, the remaining 68
 * bytes take U+0100, U+0101, ... in order.
 */

const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)

/** The character of each byte. */
export const BYTE_TO_CHARACTER: ReadonlyArray<string> = (() => {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++))
})()

const CHARACTER_TO_BYTE = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character.charCodeAt(0), byte]))

/** Spells bytes in the alphabet. `spell(utf8(" a"))` is `Ġa`. */
export const spell = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += BYTE_TO_CHARACTER[byte]
  return text
}

/** The bytes of a spelled token, or undefined when a character lies outside the alphabet (an added token's text). */
export const unspell = (token: string): Uint8Array | undefined => {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = CHARACTER_TO_BYTE.get(token.charCodeAt(i))
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}
