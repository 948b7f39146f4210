/**
 * Gathering rows of a table by index, and summing rows by segment (its gradient).
 */
/** out[S,D] = sums of the rows of x[N,D] by segment id; ids outside 0..S-1 are dropped, as the operation defines. */
export function segmentSum(x: usize, ids: usize, out: usize, N: i32, D: i32, S: i32): void {
  const row = (D as usize) << 2
  memory.fill(out, 0, row * (S as usize))
  for (let i = 0; i < N; i++) {
    const id = load<i32>(ids + ((i as usize) << 2))
    if (id < 0 || id >= S) continue
    const from = x + (i as usize) * row
    const to = out + (id as usize) * row
    let j = 0
    for (; j + 4 <= D; j += 4) {
      const o = (j as usize) << 2
      v128.store(to + o, f32x4.add(v128.load(to + o), v128.load(from + o)))
    }
    for (; j < D; j++) {
      const o = (j as usize) << 2
      store<f32>(to + o, load<f32>(to + o) + load<f32>(from + o))
    }
  }
}

/** out[N,D] = rows of x[S,D] at ids; the caller checked the range. */
export function gatherRows(x: usize, ids: usize, out: usize, N: i32, D: i32): void {
  const row = (D as usize) << 2
  for (let i = 0; i < N; i++) memory.copy(out + (i as usize) * row, x + (load<i32>(ids + ((i as usize) << 2)) as usize) * row, row)
}
