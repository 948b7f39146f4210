/**
 * Which model `--model` means: a folder, or the newest one that a run left in a store.
 *
 * Nothing is opened but a store, read-only. What is looked for is a port of the artifact `checkpoint`, so that a run
 * that failed after its export can be talked to as well.
 */
import { existsSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { Effect, Schema } from "effect"
import { tree } from "../../dag/Artifact.ts"
import { portFolder } from "../../store/Layout.ts"
import * as RunLog from "../../store/RunLog.ts"
import { Store, type StoredEntry, StoreError } from "../../store/Store.ts"
import { storeLayer } from "../RunRecorder.ts"

/** There is no model where one was looked for. */
export class NoModel extends Schema.TaggedError<NoModel>()("NoModel", {
  reason: Schema.Literals(["missing", "not-a-model", "no-run", "no-checkpoint", "several"]),
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** A model's folder, and the run that left it where one was asked for. */
export interface FoundModel {
  readonly folder: string
  readonly run?: string
}

/** The artifact that an export node makes. */
const Checkpoint = tree("checkpoint")

interface Candidate {
  readonly id: string
  readonly entry: StoredEntry
  readonly port: string
  readonly folder: string
  readonly digest: string
}

/**
 * Every file of an exported model has the digest that its manifest says, or this fails with the damaged file's name.
 */
const checked = ({ entry, folder, id, port }: Candidate) =>
  Effect.gen(function* () {
    if (entry.suspect !== undefined)
      return yield* new StoreError({
        reason: "damaged",
        path: folder,
        message: `the exported model of ${id} may have been made from a damaged result`,
        hint: "Run the recipe again: what is suspect is made again. --model opens the folder as it is."
      })
    const store = yield* Store
    yield* Effect.scoped(store.open(entry, port, Checkpoint))
    return folder
  })

const train = "`npx tsx pipelines/llava-phi.ts` trains one; --model names another folder."

const keyOf = (node: Schema.Json): { readonly key: string; readonly code: string } | undefined => {
  const { code, key } = node as { readonly key?: unknown; readonly code?: unknown }
  return typeof key === "string" ? { key, code: typeof code === "string" ? code : "" } : undefined
}

/**
 * Folders of the exported models that a run made or took from the store, by node. One that another was made from, as
 * the folder with the card is made from the export, is left out.
 */
const modelsOf = Effect.fnUntraced(function* (run: RunLog.RunRecord) {
  const store = yield* Store
  const found: Array<Candidate> = []
  const read = new Set<string>()
  for (const [id, node] of Object.entries(run.nodes)) {
    const known = keyOf(node)
    if (known === undefined) continue
    const entries = yield* store.find(known.key, known.code)
    const entry = entries.find((one) => one.manifest.code.digest === known.code) ?? entries.find((one) => one.aliased)
    for (const [port, output] of Object.entries(entry?.manifest.outputs ?? {}))
      if (entry !== undefined && output.kind === "tree" && output.tag === Checkpoint.tag) {
        found.push({ id, entry, port, folder: portFolder(entry.folder, port), digest: output.digest })
        for (const digest of Object.values(entry.manifest.parts.inputs)) read.add(digest)
      }
  }
  return new Map(found.filter(({ digest }) => !read.has(digest)).map((one) => [one.id, one] as const))
})

const inStore = (root: string, wanted: string | undefined) =>
  Effect.gen(function* () {
    const store = yield* Store
    const all = yield* RunLog.list(store.root)
    const runs = wanted === undefined ? all : all.filter((run) => run.id.startsWith(wanted))
    if (runs.length === 0)
      return yield* new NoModel({
        reason: "no-run",
        path: store.root,
        message: wanted === undefined ? "this store has seen no run" : `there is no run ${wanted} in this store`,
        hint: all.length === 0 ? train : `The latest run is ${all[0]!.id}; --store names another store.`
      })
    for (const run of runs) {
      const candidates = yield* modelsOf(run)
      if (candidates.size > 1)
        return yield* new NoModel({
          reason: "several",
          path: store.root,
          message:
            `run ${run.id} has ${candidates.size} ` +
            `exported models:\n${[...candidates].map(([id, { folder }]) => `${id}  ${folder}`).join("\n")}`,
          hint: "Give the folder of one of them with --model."
        })
      const [one] = candidates.values()
      if (one !== undefined) return { folder: yield* checked(one), run: run.id } satisfies FoundModel
    }
    const newest = runs[0]!
    return yield* new NoModel({
      reason: "no-checkpoint",
      path: store.root,
      message:
        runs.length === 1
          ? `run ${newest.id} (${newest.pipeline}, ${newest.status}) has left no exported model`
          : `none of ${runs.length} runs has left an exported model; the latest is ${newest.id} (${newest.pipeline}, ` +
            `${newest.status})`,
      hint: `A run has one when its export node is done. ${train}`
    })
  }).pipe(Effect.provide(storeLayer(root, { readOnly: true })))

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/**
 * The model that is meant: a folder with a config.json, a store's newest, a run's folder, or a run's id in
 * `store`.
 *
 * Fails with `NoModel`.
 *
 * @example
 * yield* findModel(undefined, ".millrace") // the newest of the main job's store
 */
export const findModel = (model: string | undefined, store: string) => {
  const path = resolve(model ?? store)
  const no = (reason: NoModel["reason"], message: string, hint: string) =>
    Effect.fail(new NoModel({ reason, path, message, hint }))
  const found = (folder: string): Effect.Effect<FoundModel> => Effect.succeed({ folder })
  if (isFolder(path)) {
    if (existsSync(join(path, "config.json"))) return found(path)
    if (existsSync(join(path, "format.json"))) return inStore(path, undefined)
    if (existsSync(join(path, "run.json")) && basename(dirname(path)) === "runs")
      return inStore(dirname(dirname(path)), basename(path))
    return no(
      "not-a-model",
      "the folder has no config.json, and is no store and no run",
      "Give a folder that exportCheckpoint wrote, a store such as .millrace, or the id of a run."
    )
  }
  if (model !== undefined && /^\d{8}-/.test(model) && existsSync(join(store, "format.json")))
    return inStore(resolve(store), model)
  return no("missing", model === undefined ? "there is no store here" : "there is no such folder or run", train)
}
