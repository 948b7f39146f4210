/**
 * Dropout whose mask is a function of a key and a position: the numbers of `src/tensor/Random.ts`, to the bit.
 */
/** Philox4x32-10 (Salmon et al., 2011), as src/tensor/Random.ts: words 0 and 1 of the block, then words 2 and 3. */
let high: u64 = 0
function philox(block: u32, k0: u32, k1: u32): u64 {
  let c0: u32 = block
  let c1: u32 = 0
  let c2: u32 = 0
  let c3: u32 = 0
  for (let round = 0; round < 10; round++) {
    const p0: u64 = (0xd2511f53 as u64) * (c0 as u64)
    const p1: u64 = (0xcd9e8d57 as u64) * (c2 as u64)
    c0 = ((p1 >> 32) as u32) ^ c1 ^ k0
    c1 = p1 as u32
    c2 = ((p0 >> 32) as u32) ^ c3 ^ k1
    c3 = p0 as u32
    k0 += 0x9e3779b9
    k1 += 0xbb67ae85
  }
  high = (c2 as u64) | ((c3 as u64) << 32)
  return (c0 as u64) | ((c1 as u64) << 32)
}

// @ts-ignore: decorator
@inline
function keep(word: u32, threshold: u32, scale: f32): f32 {
  return word >> 8 >= threshold ? scale : 0
}

/** y[B,n] = x * scale where the row's random word >> 8 reaches the threshold, else 0. keys i32 [B,2]. */
export function dropout(x: usize, keys: usize, y: usize, B: i32, n: i32, threshold: u32, scale: f32): void {
  for (let b = 0; b < B; b++) {
    const k0 = load<u32>(keys + ((b as usize) << 3))
    const k1 = load<u32>(keys + ((b as usize) << 3), 4)
    const row = ((b as usize) * (n as usize)) << 2
    for (let i = 0; i < n; i += 4) {
      const low = philox((i as u32) >> 2, k0, k1)
      const o = row + ((i as usize) << 2)
      store<f32>(y + o, load<f32>(x + o) * keep(low as u32, threshold, scale))
      if (i + 1 < n) store<f32>(y + o, load<f32>(x + o, 4) * keep((low >> 32) as u32, threshold, scale), 4)
      if (i + 2 < n) store<f32>(y + o, load<f32>(x + o, 8) * keep(high as u32, threshold, scale), 8)
      if (i + 3 < n) store<f32>(y + o, load<f32>(x + o, 12) * keep((high >> 32) as u32, threshold, scale), 12)
    }
  }
}
