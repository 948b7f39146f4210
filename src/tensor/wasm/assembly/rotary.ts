/**
 * Rotary embedding, rotate-half, partial; the gradient is the same turn backwards.
 */
/** Rotate-half on the first R dims of each head; table [P, R] = R/2 cosines then R/2 sines; sign -1 turns back. */
export function rotary(
  x: usize, positions: usize, table: usize, y: usize, rowsN: i32, heads: i32, hd: i32, R: i32, sign: f32
): void {
  const row = ((heads * hd) as usize) << 2
  const half = R >> 1
  memory.copy(y, x, row * (rowsN as usize))
  for (let i = 0; i < rowsN; i++) {
    const t = table + (((load<i32>(positions + ((i as usize) << 2)) * R) as usize) << 2)
    for (let h = 0; h < heads; h++) {
      const from = x + (i as usize) * row + (((h * hd) as usize) << 2)
      const to = y + (i as usize) * row + (((h * hd) as usize) << 2)
      for (let j = 0; j < half; j++) {
        const o1 = (j as usize) << 2
        const o2 = ((j + half) as usize) << 2
        const cos: f32 = load<f32>(t + o1)
        const sin: f32 = load<f32>(t + o2) * sign
        const x1: f32 = load<f32>(from + o1)
        const x2: f32 = load<f32>(from + o2)
        store<f32>(to + o1, x1 * cos - x2 * sin)
        store<f32>(to + o2, x2 * cos + x1 * sin)
      }
    }
  }
}
