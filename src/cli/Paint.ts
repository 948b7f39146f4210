/**
 * Text for a terminal with codes that it obeys: ours, around text from data that holds none.
 *
 * The only place that makes them. `Painted` is a type of its own, so that text from anywhere else reaches a terminal
 * only through `printable` (`Output.ts`).
 */
import { printable } from "../dag/Printable.ts"

declare const brand: unique symbol
/** Text whose control sequences are made here. */
export type Painted = string & { readonly [brand]: true }

const ESC = "\u001b["
const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const
export type Color = keyof typeof codes

/** Text without codes. */
export const plain = (text: string): Painted => printable(text) as Painted

/** Text in an SGR code, when `on`. */
export const paint = (on: boolean, color: Color, text: string): Painted =>
  (on ? `${ESC}${codes[color]}m${printable(text)}${ESC}0m` : printable(text)) as Painted

/** One after another. */
export const joined = (...parts: ReadonlyArray<Painted>): Painted => parts.join("") as Painted

/** Goes up some rows and clears what is below. */
export const eraseRows = (rows: number): Painted => `${ESC}${rows}A\r${ESC}J` as Painted
export const hideCursor = `${ESC}?25l` as Painted
export const showCursor = `${ESC}?25h` as Painted

/** Text that a formatter of ours has coloured: SGR codes stay, all else is data. */
export const keepColors = (text: string): Painted =>
  text
    .split(/(\u001b\[[0-9;]*m)/)
    .map((part, i) => (i % 2 === 1 ? part : printable(part)))
    .join("") as Painted

/** What a line editor writes: CSI sequences and returns stay, all else is data. */
export const keepEditing = (text: string): Painted =>
  text
    .split(/(\u001b\[[0-9;]*[A-Za-z]|\r)/)
    .map((part, i) => (i % 2 === 1 ? part : printable(part)))
    .join("") as Painted
