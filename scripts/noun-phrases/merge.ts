/**
 * Averages the weights of several training runs: what one run took for a rule by chance weighs half.
 *
 *     tsx scripts/noun-phrases/merge.ts src/text/phrases.bin 100000 one.bin two.bin
 */
import { readFileSync, writeFileSync } from "node:fs"
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib"

const [, , target, most, ...files] = process.argv
if (target === undefined || files.length === 0) throw new Error("merge.ts OUTPUT FEATURES WEIGHTS...")

const sums = new Map<number, Array<number>>()
for (const path of files) {
  const bytes = brotliDecompressSync(readFileSync(path))
  const count = bytes.readUInt32LE(0)
  let key = 0
  for (let i = 0; i < count; i++) {
    key = (key + bytes.readUInt32LE(4 + 4 * i)) >>> 0
    const sum = sums.get(key) ?? [0, 0, 0]
    for (let label = 0; label < 3; label++)
      sum[label] = sum[label]! + bytes.readInt8(4 + 4 * count + 3 * i + label) / files.length
    sums.set(key, sum)
  }
}
const greatest = (weights: ReadonlyArray<number>): number => Math.max(...weights.map(Math.abs))
const kept = [...sums]
  .sort((a, b) => greatest(b[1]) - greatest(a[1]))
  .slice(0, Number(most))
  .sort((a, b) => a[0] - b[0])
const file = Buffer.alloc(4 + 7 * kept.length)
file.writeUInt32LE(kept.length, 0)
let last = 0
for (const [i, [key, weights]] of kept.entries()) {
  file.writeUInt32LE(key - last, 4 + 4 * i)
  last = key
  for (const [label, weight] of weights.entries())
    file.writeInt8(Math.max(-127, Math.min(127, Math.round(weight))), 4 + 4 * kept.length + 3 * i + label)
}
const packed = brotliCompressSync(file, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } })
writeFileSync(target, packed)
console.log(`${target}: ${kept.length} of ${sums.size} features, ${packed.length} bytes`)
