/**
 * A process that fetches one source into a store: `FetchOnce.ts ROOT LOCATION [SHA256]`. Prints what it got as JSON.
 */
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Logger } from "effect"
import * as LocalStore from "../../../src/store/LocalStore.ts"
import { Store } from "../../../src/store/Store.ts"

const [root = "", location = "", sha256] = process.argv.slice(2)

const program = Effect.flatMap(Store, (store) =>
  store.fetchSource({ node: "n", location, ...(sha256 === undefined ? {} : { sha256 }) }, { pipeline: "p" })
)
const store = LocalStore.layer({ root, downloads: { syncBytes: 10_000, backoffMs: 1 } })
const found = await Effect.runPromise(
  Effect.provide(program, Layer.provideMerge(store, Layer.merge(NodeFileSystem.layer, Logger.layer([]))))
)
console.log(JSON.stringify(found))
