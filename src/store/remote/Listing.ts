/**
 * Which files a remote source is made of: one, or those of a folder address.
 *
 * Not their bytes. A folder of the hub is listed once, at a commit, so that all of its files are of one revision; a
 * folder elsewhere has no list, so the recipe names its files.
 */
import { Effect, Option, Schema, Stream } from "effect"
import type { HttpClient } from "effect/http"
import {
  type Address,
  below,
  fileName,
  type HubAddress,
  isInside,
  isPattern,
  revisionUrl,
  selects,
  show
} from "./Address.ts"
import { DownloadError } from "./DownloadError.ts"
import { type Asking, get } from "./Http.ts"
import { candidates, type Settings } from "./Settings.ts"

/** A file to fetch. */
export interface Wanted {
  /** Below the source's folder, with `/`; the file's own name where the source is one file. */
  readonly path: string
  readonly address: Address
  readonly bytes?: number
  readonly sha256?: string
}

const Revision = Schema.fromJsonString(
  Schema.Struct({
    sha: Schema.String,
    siblings: Schema.Array(
      Schema.Struct({
        rfilename: Schema.String,
        size: Schema.optionalKey(Schema.NullOr(Schema.Number)),
        lfs: Schema.optionalKey(Schema.NullOr(Schema.Struct({ sha256: Schema.optionalKey(Schema.String) })))
      })
    )
  })
)

/** A list of a million files is some 200 MB; nothing larger is read. */
const LIST_AT_MOST = 256 << 20

const hint = "Check the address, and `files` where the source is defined: names below the folder, `*` for any letters."

const readList = Effect.fnUntraced(function* (address: HubAddress, url: string, asking: Asking) {
  const unreadable = (message: string) =>
    new DownloadError({
      reason: "status",
      address: show(address),
      message,
      hint: "Check HF_ENDPOINT: a mirror must answer the hub's interface too."
    })
  const answer = yield* get(url, {}, asking)
  const pieces: Array<Uint8Array> = []
  let bytes = 0
  yield* Stream.runForEach(answer.body, (piece) => {
    pieces.push(piece)
    bytes += piece.byteLength
    return bytes > LIST_AT_MOST ? Effect.fail(unreadable(`the list of ${show(address)} is too long`)) : Effect.void
  })
  return yield* Effect.mapError(Schema.decodeEffect(Revision)(Buffer.concat(pieces).toString("utf8")), () =>
    unreadable(`the hub's list of ${show(address)} cannot be read`)
  )
})

/** From a mirror, or where none has it from the hub itself. */
const firstList = Effect.fnUntraced(function* (address: HubAddress, settings: Settings, asking: Asking) {
  const [first, ...rest] = candidates(revisionUrl(address, settings.endpoint), settings.mirrors)
  return yield* rest.reduce(
    (list, url) => Effect.catch(list, () => Effect.scoped(readList(address, url, asking))),
    Effect.scoped(readList(address, first!, asking))
  )
})

const hubFolder = Effect.fnUntraced(function* (
  address: HubAddress,
  files: ReadonlyArray<string> | undefined,
  settings: Settings,
  asking: Asking
) {
  const { sha, siblings } = yield* firstList(address, settings, asking)
  const prefix = address.path === "" ? "" : `${address.path}/`
  const selected = selects(files)
  const pinned: HubAddress = { ...address, revision: sha }
  const wanted: Array<Wanted> = []
  for (const { lfs, rfilename, size } of siblings) {
    if (!rfilename.startsWith(prefix)) continue
    const path = rfilename.slice(prefix.length)
    if (!isInside(path) || !selected(path)) continue
    wanted.push({
      path,
      address: below(pinned, path),
      ...(typeof size === "number" ? { bytes: size } : {}),
      ...(typeof lfs?.sha256 === "string" ? { sha256: lfs.sha256 } : {})
    })
  }
  const missing = (files ?? []).filter((name) => !wanted.some(({ path }) => selects([name])(path)))
  if (wanted.length === 0 || missing.length > 0)
    return yield* new DownloadError({
      reason: "not-found",
      address: show(address),
      message: missing.length > 0 ? `${show(address)} has no ${missing.join(", ")}` : `${show(address)} has no files`,
      hint
    })
  return wanted
})

/**
 * The files of a source. Only a folder of the hub needs a request.
 */
export const listing = Effect.fnUntraced(function* (
  address: Address,
  files: ReadonlyArray<string> | undefined,
  settings: Settings,
  asking: Asking
): Effect.fn.Return<ReadonlyArray<Wanted>, DownloadError, HttpClient.HttpClient> {
  const fault = faultOf(address, files)
  if (Option.isSome(fault)) return yield* fault.value
  if (!address.folder) return [{ path: fileName(address), address }]
  if (address.kind === "hub") return yield* hubFolder(address, files, settings, asking)
  return files!.map((path) => ({ path, address: below(address, path) }))
})

/** Whether an address and the names below it go together; known without a request. */
export const faultOf = (address: Address, files: ReadonlyArray<string> | undefined): Option.Option<DownloadError> => {
  const wrong = (message: string) =>
    Option.some(new DownloadError({ reason: "address", address: show(address), message, hint }))
  if (!address.folder)
    return files === undefined
      ? Option.none()
      : wrong(`${show(address)} is one file, and \`files\` names some below it: a folder ends in a slash`)
  if (files?.length === 0) return wrong("`files` names none")
  const outside = files?.find((name) => !isInside(name))
  if (outside !== undefined) return wrong(`${JSON.stringify(outside)} is no name below a folder`)
  if (address.kind === "web" && (files === undefined || files.some(isPattern)))
    return wrong(`${show(address)} is a folder of a plain server, which lists no files: name each in \`files\``)
  return Option.none()
}
