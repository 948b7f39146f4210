/**
 * The Python names that a checkpoint may ask for, and what each makes here: a dictionary, a storage's place, a
 * tensor's.
 *
 * Nothing is read: a tensor is a view (offset, sizes, strides) of a storage that lies in the archive. Units: elements.
 */
import type { Dtype } from "../Dtype.ts"
import { torchError } from "./TorchFileError.ts"
import { Global, kindOf, Opaque, Tuple, type Value, type World } from "./Unpickle.ts"

/** Elements of one type that lie together; `key` names the archive's record. */
export class StorageRef extends Opaque {
  readonly kind = "a storage"
  readonly key: string
  readonly dtype: Dtype
  readonly count: number
  constructor(key: string, dtype: Dtype, count: number) {
    super()
    this.key = key
    this.dtype = dtype
    this.count = count
  }
}

/** A view of a storage. All of it lies inside: that was checked. */
export class TensorRef extends Opaque {
  readonly kind = "a tensor"
  readonly storage: StorageRef
  readonly offset: number
  readonly shape: ReadonlyArray<number>
  readonly strides: ReadonlyArray<number>
  constructor(storage: StorageRef, offset: number, shape: ReadonlyArray<number>, strides: ReadonlyArray<number>) {
    super()
    this.storage = storage
    this.offset = offset
    this.shape = shape
    this.strides = strides
  }
}

const storages: ReadonlyMap<string, Dtype> = new Map([
  ["torch.FloatStorage", "F32"],
  ["torch.HalfStorage", "F16"],
  ["torch.BFloat16Storage", "BF16"],
  ["torch.DoubleStorage", "F64"],
  ["torch.LongStorage", "I64"],
  ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"],
  ["torch.CharStorage", "I8"],
  ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"]
])

/** Dimensions of a tensor at most; torch has 64. */
const MAX_RANK = 64

const isCount = (value: Value | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0

const counts = (value: Value | undefined): ReadonlyArray<number> | undefined =>
  value instanceof Tuple && value.items.length <= MAX_RANK && value.items.every(isCount) ? value.items : undefined

/** One table a pickle: the records that its storages name must agree. */
export const tensorWorld = (path: string): World => {
  const seen = new Map<string, StorageRef>()

  const rebuildTensor = (args: ReadonlyArray<Value>): TensorRef => {
    const [storage, offset, sizes, steps] = args
    const shape = counts(sizes)
    const strides = counts(steps)
    if (!(storage instanceof StorageRef) || !isCount(offset) || shape === undefined || strides?.length !== shape.length)
      throw torchError(path, "damaged", `describes a tensor as ${args.slice(0, 4).map(kindOf).join(", ")}`)
    const what = `[${shape.join(", ")}] at ${offset} with strides [${strides.join(", ")}]`
    const elements = shape.reduce((product, n) => product * n, 1)
    const last = elements === 0 ? offset - 1 : shape.reduce((at, n, i) => at + (n - 1) * strides[i]!, offset)
    // Written so that infinities and numbers without exact neighbours fail too.
    if (!(elements <= storage.count && last < storage.count && offset <= storage.count))
      throw torchError(path, "damaged", `a tensor ${what} leaves its storage of ${storage.count} elements`)
    return new TensorRef(storage, offset, shape, strides)
  }

  const rebuildParameter = (args: ReadonlyArray<Value>): TensorRef => {
    const [tensor] = args
    if (!(tensor instanceof TensorRef)) throw torchError(path, "damaged", `makes a parameter of ${kindOf(tensor)}`)
    return tensor
  }

  /** `OrderedDict()`, or of a list of pairs. */
  const orderedDict = (args: ReadonlyArray<Value>): Map<Value, Value> => {
    const [pairs] = args
    const dict = new Map<Value, Value>()
    if (pairs === undefined) return dict
    const items = Array.isArray(pairs) ? pairs : pairs instanceof Tuple ? pairs.items : undefined
    for (const pair of items ?? [null]) {
      const both = Array.isArray(pair) ? pair : pair instanceof Tuple ? pair.items : []
      const [key, value] = both
      if (both.length !== 2 || (typeof key !== "string" && typeof key !== "number") || value === undefined)
        throw torchError(path, "refused", `makes an OrderedDict of ${kindOf(pairs)}`)
      dict.set(key, value)
    }
    return dict
  }

  const table = new Map<string, Global>(
    [
      new Global("collections.OrderedDict", orderedDict),
      new Global("torch._utils._rebuild_tensor_v2", rebuildTensor),
      new Global("torch._utils._rebuild_parameter", rebuildParameter),
      ...[...storages.keys()].map((name) => new Global(name))
    ].map((one) => [one.name, one])
  )

  return {
    path,
    find: (name) => table.get(name),
    load: (id) => {
      const [word, type, key, , count] = id instanceof Tuple ? id.items : []
      const dtype = type instanceof Global ? storages.get(type.name) : undefined
      if (word !== "storage" || dtype === undefined || typeof key !== "string" || !isCount(count))
        throw torchError(path, "refused", `has ${kindOf(id)} for a persistent id that names no storage`)
      if (!/^[\w.-]{1,100}$/.test(key))
        throw torchError(path, "refused", `names a storage ${JSON.stringify(key.slice(0, 60))}`)
      const known = seen.get(key)
      if (known !== undefined && (known.dtype !== dtype || known.count !== count))
        throw torchError(path, "damaged", `storage ${key} is ${known.count} ${known.dtype} and ${count} ${dtype}`)
      const storage = known ?? new StorageRef(key, dtype, count)
      seen.set(key, storage)
      return storage
    }
  }
}
