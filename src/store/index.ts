/** The artifact store in one import: the service, its local implementation, what a manifest says. Not its internals. */

export { layer as localStore } from "./LocalStore.ts"
export { Code, Manifest, OutputEntry } from "./Manifest.ts"
export { type Found, SourceError, Store, StoreError } from "./Store.ts"
