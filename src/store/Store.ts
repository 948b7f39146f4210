/**
 * The artifact store: one local folder, content-keyed, safe to kill and to share.
 *
 * Not a database and not a workflow log: what is done is what has a manifest. This file is the interface and its
 * lifecycle; `LocalStore.ts` is the implementation on the `FileSystem` service.
 *
 * Lifecycle of an entry: `begin` (lock held, a work folder, invisible to readers) -> shards, checkpoints (durable one
 * by one, resumed after a crash) -> `commit` (manifest written last, folder renamed: visible, immutable). Everything is
 * idempotent: committing what exists already returns the existing entry.
 */
import { Context, type Effect, Schema, type Scope, type Stream } from "effect"
import type { Artifact, Handle, RowsArtifact } from "../dag/Artifact.ts"
import type { StateFiles } from "../dag/Fold.ts"
import type { ShardReader } from "../dag/Format.ts"
import type { KeyParts } from "../dag/Key.ts"
import type { Refused } from "../dag/Refusals.ts"
import type { SourcePosition } from "../dag/SourceLocation.ts"
import type { Code, Manifest, ShardRecord } from "./Manifest.ts"

/** Anything that goes wrong with the store's folder. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  reason: Schema.Literals([
    "read-only", // the folder cannot be written
    "full", // no space or quota left
    "version", // made by another version of millrace
    "damaged", // sizes or digests differ from the manifest
    "missing", // a file that a manifest lists is gone
    "locked", // another live process works on this key
    "lost", // this process slept for longer than its lease, and another took its lock
    "io" // anything else the file system said
  ]),
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A source's files are missing, unreadable, or not what they were said to be. */
export class SourceError extends Schema.TaggedError<SourceError>()("SourceError", {
  node: Schema.String,
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A source as its definition gives it: a path, or an address that starts with `http://`, `https://` or `hf://`. */
export interface SourceSpec {
  readonly node: string
  readonly location: string
  /** Digest of the content, where the recipe states it. */
  readonly sha256?: string
  readonly bytes?: number
  /** Of a folder, here or at an address: names below it, `*` for any letters but a slash. */
  readonly files?: ReadonlyArray<string>
}

/** A source whose files are on this disk. */
export interface SourceHere {
  readonly here: true
  /** Absolute; a file or a folder. */
  readonly path: string
  readonly digest: string
  readonly bytes: number
  /** Some files of the folder are not the source's: `fetchSource` gives a folder without them. */
  readonly partly?: boolean
  /** Name of the list in the store that remembers the digests of a large folder's files. */
  readonly list?: string
}

/** Where a source stands. `digest` is known of what is not here when the recipe states it, or the address is pinned. */
export type SourceLook =
  | SourceHere
  | {
      readonly here: false
      /** For people. */
      readonly address: string
      readonly digest?: string
      readonly bytes?: number
    }

/** An input of a stored result that may have been read damaged; `from` names the definition that made it. */
export interface Suspicion {
  readonly port: string
  readonly from: string
}

/** What an entry was found under: its own code, or another's by alias or policy. */
export interface StoredEntry {
  readonly manifest: Manifest
  /** Absolute folder of the entry. */
  readonly folder: string
  /** True when an alias record blesses the asked-for code for this entry. */
  readonly aliased: boolean
  /** Digests of all codes that alias records bless for this entry. */
  readonly aliases?: ReadonlyArray<string>
  /** Why it may have been made from damaged bytes (`Suspects.ts`): it is not to be used, but made again. */
  readonly suspect?: ReadonlyArray<Suspicion>
  /** After a commit that met an entry already there, which stays: ports whose contents came out different. */
  readonly differing?: ReadonlyArray<string>
  /** The entry that was there was suspect and made way for this one. */
  readonly replaced?: boolean
}

/** A lock that somebody holds; enough to see, in any thread, whether it still is theirs (`Lock.stillHeld`). */
export interface Fence {
  readonly path: string
  readonly token: string
}

/** Where a node under way puts what it makes. Usable from any thread of the process that holds the key's lock. */
export interface PendingFolder {
  /** Absolute work folder; a resumed node finds its earlier shards and checkpoints here. */
  readonly folder: string
  /** The lock that this work is done under. */
  readonly fence?: Fence | undefined
  /** Newest checkpoint whose every byte has its recorded digest; damaged ones are skipped (`skipped` names them). */
  readonly newestCheckpoint: Effect.Effect<
    { readonly step: number; readonly files: StateFiles; readonly skipped: ReadonlyArray<string> } | undefined,
    StoreError
  >
  /**
   * Makes one checkpoint durable (temporary folder, fsync, rename), then drops all but the newest `keepLast` and the
   * best.
   */
  readonly saveCheckpoint: (checkpoint: {
    readonly step: number
    readonly files: StateFiles
    readonly keepLast: number
    /** Smaller is better; the checkpoint with the smallest value is kept too. */
    readonly score?: number
  }) => Effect.Effect<void, StoreError>
  /**
   * Empty folder for a tree output, of this attempt alone; emptied first if it left something. The commit gives it its
   * name.
   */
  readonly treeFolder: (port: string) => Effect.Effect<string, StoreError>
}

/** A node under way. Holds the key's lock until the scope closes. */
export interface PendingEntry extends PendingFolder {
  /** Shards whose record is durable and whose files have the recorded sizes. */
  readonly shards: ReadonlyMap<number, ShardRecord>
  /** Digests of other codes whose unfinished work this goes on from (`--allow-stale-code`); the manifest keeps them. */
  readonly begunBy: ReadonlyArray<string>
  /** The entry, when another process finished it while `begin` waited for its lock: nothing is left to do. */
  readonly existing?: StoredEntry
  /** Writes the manifest last and makes the entry visible. `values` are encoded JSON of value ports. */
  readonly commit: (done: {
    readonly parts: KeyParts
    readonly parents: Readonly<Record<string, string>>
    readonly shards: ReadonlyArray<ShardRecord>
    readonly values: Readonly<Record<string, Schema.Json>>
    readonly outputs: Readonly<Record<string, Artifact>>
    readonly peakMemory: number
  }) => Effect.Effect<StoredEntry, StoreError>
}

/** The latest manifest of an instance in a pipeline, for plans ("lr 2e-5 to 1e-5"). */
export interface Last {
  readonly key: string
  readonly code: string
  readonly parts: KeyParts
}

export class Store extends Context.Service<
  Store,
  {
    /** Absolute folder. */
    readonly root: string
    /** Content digest of a file or folder: sha256 of bytes, remembered by (path, size, times, inode). */
    readonly digestSource: (
      node: string,
      path: string,
      files?: ReadonlyArray<string>
    ) => Effect.Effect<{ readonly digest: string; readonly bytes: number }, SourceError | StoreError>
    /**
     * Where a source stands; never a request. A path that does not exist fails, an address may be not here yet. What is
     * remembered of a large folder is kept by `gc` for `pipeline`.
     */
    readonly lookAtSource: (spec: SourceSpec, pipeline?: string) => Effect.Effect<SourceLook, SourceError | StoreError>
    /**
     * A source's files on this disk: fetched if they are not here, durable and checked when this returns. Two callers,
     * in one process or two, fetch once. `pipeline` is what `gc` keeps it for. Interrupted, it goes on the next time.
     */
    readonly fetchSource: (
      spec: SourceSpec,
      options: {
        readonly pipeline: string
        readonly onBytes?: (here: number, total: number | undefined) => void
        /** Another attempt, a mirror that fails: something to know that ends nothing. */
        readonly onNotice?: (message: string) => void
      }
    ) => Effect.Effect<SourceHere, SourceError | StoreError>
    /** Digest of the code behind a definition; `file` is where it was defined. Remembered while no file changes. */
    readonly codeOf: (definition: {
      readonly file: string
      readonly assets: ReadonlyArray<string>
      /** The call that made the definition, and its callers. Without it the whole module counts. */
      readonly chain?: ReadonlyArray<SourcePosition>
      /** The call that made the recipe whose services the node runs with, and its callers. */
      readonly services?: ReadonlyArray<SourcePosition>
    }) => Effect.Effect<Code, StoreError>
    /**
     * All entries under a key, that of `code` first; `aliased` is about `code`. Sizes of files are checked, digests are
     * not.
     */
    readonly find: (key: string, code: string) => Effect.Effect<ReadonlyArray<StoredEntry>, StoreError>
    /** Keys that have at least one entry: one listing for a whole plan. */
    readonly keys: Effect.Effect<ReadonlySet<string>, StoreError>
    /** The settings (`settingsOf`) of all entries whose manifest can be read: reads every manifest once. */
    readonly settings: Effect.Effect<ReadonlySet<string>, StoreError>
    /** Records that `code` may use the entry that `found` is; lineage shows it. */
    readonly alias: (found: StoredEntry, code: Code) => Effect.Effect<void, StoreError>
    /** Takes the lock of (key, code) and opens or resumes its work folder. Waits while a live process holds it. */
    readonly begin: (work: {
      readonly key: string
      readonly code: Code
      /** Also look for unfinished work of other code digests (`--allow-stale-code`). */
      readonly allowStaleCode: boolean
      /** Throw away earlier unfinished work that no `fresh` call began (`--force`; again, it goes on). */
      readonly fresh: boolean
      /**
       * Keys of the entries that the node reads: unfinished work that may hold what was made of their damage is thrown
       * away.
       */
      readonly reads?: ReadonlyArray<string>
    }) => Effect.Effect<PendingEntry, StoreError, Scope.Scope>
    /** Reads an output port of an entry. Files stay open until the scope closes. */
    readonly open: <A extends Artifact>(
      found: StoredEntry,
      port: string,
      artifact: A
    ) => Effect.Effect<Handle<A>, StoreError, Scope.Scope>
    /** Opens one shard of a rows port. */
    readonly openShard: <Row>(
      found: StoredEntry,
      port: string,
      artifact: RowsArtifact<string, Row>,
      index: number
    ) => Effect.Effect<ShardReader<Row>, StoreError, Scope.Scope>
    /** Checks every byte of an entry, and its manifest against what it lists; names what is damaged (`Verify.ts`). */
    readonly verify: (
      found: StoredEntry,
      onChecked?: (checked: { readonly bytes: number; readonly bytesTotal: number }) => void
    ) => Effect.Effect<
      ReadonlyArray<{ readonly port: string; readonly file: string; readonly why?: string }>,
      StoreError
    >
    /**
     * Turns an entry with damaged files back into unfinished work, so that only those shards are made again; before
     * that it is on record that they were damaged, which makes what was made from them suspect.
     */
    readonly reopen: (
      found: StoredEntry,
      damaged: ReadonlyArray<{ readonly port: string; readonly file: string }>
    ) => Effect.Effect<void, StoreError>
    /** The rows that the node refused, by shard, then row. */
    readonly refused: (
      found: StoredEntry
    ) => Stream.Stream<{ readonly shard: number; readonly refused: Refused }, StoreError>
    readonly last: (pipeline: string, instance: string) => Effect.Effect<Last | undefined, StoreError>
    readonly remember: (pipeline: string, instance: string, last: Last) => Effect.Effect<void, StoreError>
  }
>()("millrace/store/Store") {}
