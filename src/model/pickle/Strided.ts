/**
 * A view of a storage as rows one after another: contiguous ones are one read, others are put in order piece by piece.
 *
 * Not arithmetic: elements are moved as bits, whatever they mean. Memory: the result and one piece of at most
 * `pieceBytes`.
 *
 * Shapes and strides are in elements; a stride may be 0 (expanded) or make elements overlap.
 */
/** Reads exactly so many bytes; throws `TorchFileError`. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>

/** A view that lies inside its storage. */
export interface View {
  /** Elements before its first. */
  readonly offset: number
  readonly shape: ReadonlyArray<number>
  readonly strides: ReadonlyArray<number>
}

const PIECE = 16 << 20

/** Steps of a tensor whose rows follow each other. */
const rowMajor = (shape: ReadonlyArray<number>): Array<number> => {
  const steps = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) steps[i] = steps[i + 1]! * shape[i + 1]!
  return steps
}

export const isContiguous = ({ shape, strides }: View): boolean => {
  const steps = rowMajor(shape)
  return shape.every((n, i) => n === 1 || strides[i] === steps[i]) || shape.includes(0)
}

const words = (bytes: Uint8Array, size: number) => {
  const { buffer, byteOffset, byteLength } = bytes
  const count = byteLength / size
  if (size === 8) return new BigUint64Array(buffer, byteOffset, count)
  if (size === 4) return new Uint32Array(buffer, byteOffset, count)
  return size === 2 ? new Uint16Array(buffer, byteOffset, count) : bytes
}

/** One dimension: its length, its step in the storage, its step in the result. */
interface Dimension {
  readonly n: number
  readonly from: number
  readonly to: number
}

/** Elements from the first to the last, both counted. */
const spanOf = (dimensions: ReadonlyArray<Dimension>): number =>
  dimensions.reduce((span, { from, n }) => span + (n - 1) * from, 1)

/** Moves all elements under `dimensions`; `source` begins at storage element `base`. */
const move = (
  dimensions: ReadonlyArray<Dimension>,
  source: Uint8Array | Uint16Array | Uint32Array | BigUint64Array,
  target: Uint8Array | Uint16Array | Uint32Array | BigUint64Array,
  from: number,
  to: number,
  depth = 0
): void => {
  const dimension = dimensions[depth]
  if (dimension === undefined) {
    target[to] = source[from]!
  } else if (depth === dimensions.length - 1) {
    for (let i = 0; i < dimension.n; i++) target[to + i * dimension.to] = source[from + i * dimension.from]!
  } else {
    for (let i = 0; i < dimension.n; i++)
      move(dimensions, source, target, from + i * dimension.from, to + i * dimension.to, depth + 1)
  }
}

/**
 * The bytes of a view, in the order of its shape. `start` is where the storage begins in the file.
 *
 * @example await readView(readAt, storage, { offset: 0, shape: [4, 3], strides: [1, 4] }, 4) // a transposed [3, 4]
 */
export const readView = async (
  readAt: ReadAt,
  start: number,
  view: View,
  size: number,
  pieceBytes: number = PIECE
): Promise<Uint8Array> => {
  const { offset, shape, strides } = view
  const elements = shape.reduce((product, n) => product * n, 1)
  if (elements === 0) return new Uint8Array(0)
  if (isContiguous(view)) return await readAt(start + offset * size, elements * size)
  const out = new Uint8Array(elements * size)
  const target = words(out, size)
  const steps = rowMajor(shape)
  const dimensions = shape
    .map((n, i) => ({ n, from: strides[i]!, to: steps[i]! }))
    .filter(({ n }) => n > 1)
    .sort((a, b) => b.from - a.from)
  const most = Math.max(1, Math.floor(pieceBytes / size))

  /** Widest steps outside, so that the file is read forwards and each piece once. */
  const gather = async (inner: ReadonlyArray<Dimension>, from: number, to: number): Promise<void> => {
    const span = spanOf(inner)
    const [first, ...rest] = inner
    if (span <= most || first === undefined) {
      const source = words(await readAt(start + from * size, span * size), size)
      return move(inner, source, target, 0, to)
    }
    const below = spanOf(rest)
    const group = below > most ? 1 : Math.max(1, Math.floor((most - below) / first.from) + 1)
    for (let i = 0; i < first.n; i += group) {
      const n = Math.min(group, first.n - i)
      const part = n === 1 ? rest : [{ ...first, n }, ...rest]
      await gather(part, from + i * first.from, to + i * first.to)
    }
  }
  await gather(dimensions, offset, 0)
  return out
}
