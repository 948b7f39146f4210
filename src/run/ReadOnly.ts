/**
 * Stored inputs are read-only: a node that changes them fails, and the change is removed from the store.
 *
 * The store writes its files without permission to write; that stops mistakes, not root, and not a file that is
 * replaced by another. So the inputs' files are looked at before and after the node runs (no byte is read unless a time
 * or size says that something happened). A damaged entry becomes unfinished work again, so that no later node or run
 * reads it.
 */
import { dirname, relative } from "node:path"
import { Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { changesOf, type FilesState, stateOf } from "../dag/Unchanged.ts"
import { removeFile } from "../store/Durable.ts"
import { portFolder } from "../store/Layout.ts"
import { Store, type StoredEntry } from "../store/Store.ts"
import type { StoredInputs } from "./Inspect.ts"
import { NodeFailed } from "./Run.ts"

interface Watched {
  readonly id: string
  readonly found: StoredEntry
  readonly ports: string
  readonly before: FilesState
}

/** Looks at the stored inputs of a node now; the effect it gives fails if they are not the same by then. */
export const watchInputs = Effect.fnUntraced(function* (node: AnyNode, inputs: StoredInputs) {
  const store = yield* Store
  const watched: Array<Watched> = []
  for (const [id, found] of inputs) {
    const ports = dirname(portFolder(found.folder, "any"))
    watched.push({ id, found, ports, before: stateOf(ports) })
  }
  return Effect.gen(function* () {
    const said: Array<string> = []
    for (const { before, found, id, ports } of watched) {
      const changes = changesOf(before, stateOf(ports))
      if (changes.length === 0) continue
      const added = changes.filter(({ how }) => how === "added").map(({ path }) => path)
      yield* Effect.forEach(added, removeFile, { discard: true })
      const damaged = yield* store.verify(found)
      const names = [...damaged.map((one) => `${one.port}/${one.file}`), ...added.map((path) => relative(ports, path))]
      if (names.length === 0) continue
      const more = names.length > 3 ? ` and ${names.length - 3} more` : ""
      said.push(`${names.slice(0, 3).join(", ")}${more} of ${id} (${found.folder})`)
      // Another run may work on it: then it finds the damage itself, by size or with --verify.
      if (damaged.length > 0)
        yield* Effect.catchIf(
          store.reopen(found, damaged),
          (error) => error.reason === "locked",
          () => Effect.void
        )
    }
    if (said.length > 0)
      return yield* new NodeFailed({
        node: node.id,
        message: `stored inputs were changed while it ran, by it or by a node beside it: ${said.join("; ")}`,
        hint:
          "Inputs are read-only: copy what is to be changed, and write to the folder of an output. " +
          "Run the same command again: damaged files are made again."
      })
  })
})
