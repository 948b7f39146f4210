/**
 * Which queries of packed rows meet which keys, as rectangles that attention computes without a mask matrix.
 *
 * Not attention. Pure: from the segments of B rows of T tokens (0 is padding) to pieces. Each run of equal numbers is
 * one causal piece of its own; a run of padding sees every real key before it, and where there is none it is `empty`.
 */

/**
 * Queries `[start, end)` of a row against keys `[keysStart, keysEnd)` of it. All counted in flat tokens (row * T + t).
 */
export interface Piece {
  readonly start: number
  readonly end: number
  readonly keysStart: number
  readonly keysEnd: number
  /** Query i of the piece sees its keys up to i; else all of them. `empty`: it sees nothing. */
  readonly sees: "causal" | "all" | "empty"
}

/**
 * Pieces in the order of tokens, each token in one of them; undefined where a segment comes back after another one or
 * real keys are not side by side, which takes a mask.
 *
 * @example piecesOf(Int32Array.of(1, 1, 2, 0), 1, 4) // two causal pieces, and padding that sees keys 0 to 3
 */
export const piecesOf = (segments_BT: Int32Array, rows: number, time: number): ReadonlyArray<Piece> | undefined => {
  const pieces: Array<Piece> = []
  for (let row = 0; row < rows; row++) {
    const base = row * time
    const seen = new Set<number>()
    // Where the unbroken run of real tokens before the current one began; -1 before any, -2 when it was broken.
    let real = -1
    let realEnd = -1
    for (let start = 0; start < time; ) {
      const segment = segments_BT[base + start]!
      let end = start + 1
      while (end < time && segments_BT[base + end] === segment) end++
      const at = { start: base + start, end: base + end }
      if (segment !== 0) {
        if (seen.has(segment)) return undefined
        seen.add(segment)
        if (real === -1) real = start
        else if (realEnd !== start) real = -2
        realEnd = end
        pieces.push({ ...at, keysStart: at.start, keysEnd: at.end, sees: "causal" })
      } else if (real === -1) pieces.push({ ...at, keysStart: at.start, keysEnd: at.start, sees: "empty" })
      else if (real === -2) return undefined
      else pieces.push({ ...at, keysStart: base + real, keysEnd: base + realEnd, sees: "all" })
      start = end
    }
  }
  return pieces
}
