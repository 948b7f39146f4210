/** The artifact store in one import: the service, its local implementation, what a manifest says. Not its internals. */

export { layer as localStore } from "./LocalStore.ts"
export { Code, Manifest, OutputEntry } from "./Manifest.ts"
export { SourceError, Store, type StoredEntry, StoreError } from "./Store.ts"
