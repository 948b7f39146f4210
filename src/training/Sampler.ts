/**
 * The length-grouped order: batches of rows that are alike in length and modality, random otherwise.
 *
 * Not a batcher: it gives an order of rows, `order[step * batch * ranks + rank * batch + i]`. Pure in (seed, epoch).
 *
 * Lengths are in words (any unit does), negative for rows without an image; zero is refused.
 *
 * Source: LLaVA's `get_modality_length_grouped_indices`: per modality a random permutation cut into megabatches, each
 * sorted long to short and dealt evenly to the ranks; whole megabatches are shuffled, what remains of both comes last.
 * Unlike the original, one modality alone works whatever its sign, and the permutations are seeded.
 */
import { extend, permutation, type RandomStream, shuffle, stream } from "../tensor/Random.ts"

/** `batch`: rows a rank takes at once. `ranks`: processes times accumulation steps (a megabatch is one update). */
export interface LengthGroupedOptions {
  readonly seed: number
  readonly epoch: number
  readonly batch: number
  readonly ranks: number
}

/** Deals rows (long to short) to chunks of equal size, each row to the chunk with the fewest words that has room. */
const dealEvenly = (rows: ReadonlyArray<number>, lengths: ArrayLike<number>, chunks: number): Array<number> => {
  if (rows.length % chunks !== 0) {
    return Array.from({ length: chunks }, (_, chunk) => rows.filter((_, i) => i % chunks === chunk)).flat()
  }
  const room = rows.length / chunks
  const dealt = Array.from({ length: chunks }, (): Array<number> => [])
  const words = new Float64Array(chunks)
  for (const row of rows) {
    let lightest = -1
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (dealt[chunk]!.length < room && (lightest < 0 || words[chunk]! < words[lightest]!)) lightest = chunk
    }
    dealt[lightest]!.push(row)
    words[lightest]! += Math.abs(lengths[row]!)
  }
  return dealt.flat()
}

/** Megabatches of one modality; the last may be short. */
const megabatchesOf = (
  rows: ReadonlyArray<number>,
  lengths: ArrayLike<number>,
  key: RandomStream,
  { batch, ranks }: LengthGroupedOptions
): Array<Array<number>> => {
  const order = permutation(key, rows.length)
  const size = batch * ranks
  const megabatches: Array<Array<number>> = []
  for (let at = 0; at < rows.length; at += size) {
    const members = Array.from(order.subarray(at, at + size), (i) => rows[i]!)
    members.sort((a, b) => Math.abs(lengths[b]!) - Math.abs(lengths[a]!))
    megabatches.push(dealEvenly(members, lengths, ranks))
  }
  return megabatches
}

/**
 * The rows of one epoch, each once, grouped by modality and length.
 *
 * Throws `RangeError` for a length of zero, or a batch or number of ranks below one.
 *
 * @example
 * const order = orderBy(words.length, (epoch) => lengthGrouped(words, { seed: 0, epoch, batch: 16, ranks: 8 }))
 */
export const lengthGrouped = (lengths: ArrayLike<number>, options: LengthGroupedOptions): Int32Array => {
  if (!Number.isInteger(options.batch * options.ranks) || options.batch < 1 || options.ranks < 1) {
    throw new RangeError(`batch ${options.batch} and ranks ${options.ranks} must be positive integers`)
  }
  const withImage: Array<number> = []
  const textOnly: Array<number> = []
  for (let row = 0; row < lengths.length; row++) {
    const length = lengths[row]!
    if (length === 0 || Number.isNaN(length)) {
      throw new RangeError(`row ${row} has the length ${length}; lengths are positive, negative for text only`)
    }
    if (length > 0) withImage.push(row)
    else textOnly.push(row)
  }
  const key = stream(options.seed, "length-grouped", options.epoch)
  const images = megabatchesOf(withImage, lengths, extend(key, "image"), options)
  const texts = megabatchesOf(textOnly, lengths, extend(key, "text"), options)
  if (images.length === 0 || texts.length === 0) return Int32Array.from([...images, ...texts].flat())
  const rest = [...images.pop()!, ...texts.pop()!].sort((a, b) => a - b)
  return Int32Array.from([...shuffle(extend(key, "megabatches"), [...images, ...texts]), rest].flat())
}

/**
 * Length of a row for the sampler: words of all its turns, at least 1, negative without an image.
 *
 * @example
 * modalityLength(["What is it?", "A dog."], true) // 5
 */
export const modalityLength = (values: Iterable<string>, image: boolean): number => {
  let words = 0
  for (const value of values) words += value.match(/\S+/g)?.length ?? 0
  return image ? Math.max(1, words) : -Math.max(1, words)
}
