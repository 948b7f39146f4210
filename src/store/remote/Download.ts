/**
 * Fetches one file into its place: resumed after anything, checked, and visible only when it is whole and right.
 *
 * Not a folder of downloads and not a lock: the caller sees to it that nobody else writes the same part.
 *
 * Lifecycle: `part` (bytes) and `record` (validators, and how many of those bytes are durable, with their sha256).
 * Every `syncBytes` the part is fsynced, then the record replaced; so after SIGKILL or a power cut the first `bytes` of
 * the part are what the record says, and only what came after them is fetched again. When the file is whole and its
 * digest and length are right, the record says `done`, then the part is renamed to `to`: whoever sees `to` sees all of
 * it.
 *
 * Two ranges are joined only under a strong validator (If-Range) or a known sha256; a file that changed in between is
 * started over. Without a digest from the recipe or the hub, length and validators are all there is to check.
 */
import { createHash } from "node:crypto"
import { dirname } from "node:path"
import { Clock, Effect, FileSystem, Schema, Stream } from "effect"
import type { HttpClient } from "effect/http"
import { sha256 } from "../../dag/Canonical.ts"
import { fromPlatform, makeFolder, readJsonIfGood, SLICE, syncFolder, withFs, writeAtomic } from "../Durable.ts"
import type { StoreError } from "../Store.ts"
import { DownloadError, isPassing } from "./DownloadError.ts"
import { type Answer, type Asking, get } from "./Http.ts"
import { agrees, contentLength, contentRange, ifRange, type Linked, type Validator, validatorOf } from "./Ranges.ts"
import type { Settings } from "./Settings.ts"

/** Bytes that are gathered before they are written. */
const STAGE = 1 << 20

const PartRecord = Schema.Struct({
  format: Schema.Literal(1),
  /** sha256 of the URL that the part came from: a URL may hold secrets. */
  from: Schema.String,
  etag: Schema.optional(Schema.String),
  lastModified: Schema.optional(Schema.String),
  /** Length and digest of the whole file, as the server or the hub stated them. */
  total: Schema.optional(Schema.Number),
  linked: Schema.optional(Schema.String),
  /** Durable bytes of the part, and their digest. */
  bytes: Schema.Number,
  sha256: Schema.String,
  done: Schema.Boolean
})
type PartRecord = typeof PartRecord.Type

/** One file to fetch. */
export interface Job {
  /** For people. */
  readonly address: string
  /** Where it is tried, in order; the last is the original. */
  readonly urls: ReadonlyArray<string>
  readonly part: string
  readonly record: string
  /** Final path; its folder is made. */
  readonly to: string
  readonly sha256?: string
  readonly bytes?: number
  /** Called with the bytes that are here, now and then; `total` once it is known. */
  readonly onBytes?: Watch["onBytes"]
  readonly onNotice?: Watch["onNotice"]
}

/** Who is told how a download goes. */
export interface Watch {
  readonly onBytes?: ((here: number, total: number | undefined) => void) | undefined
  /** Something that a person should know and that ends nothing: another attempt, a mirror that fails. */
  readonly onNotice?: ((message: string) => void) | undefined
}

export interface Fetched {
  readonly bytes: number
  readonly sha256: string
}

type Patience = Pick<Settings, "stallMs" | "attempts" | "backoffMs" | "longestWaitMs" | "syncBytes">

const empty = (): PartRecord => ({ format: 1, from: "", bytes: 0, sha256: sha256(""), done: false })

/**
 * The part on disk: appended to, hashed on the way, made durable together with its record. Longer than a screen: its
 * operations share the file, the hash and the record.
 */
const openPart = Effect.fnUntraced(function* (job: Job, syncBytes: number) {
  const fs = yield* FileSystem.FileSystem
  yield* makeFolder(dirname(job.part))
  yield* makeFolder(dirname(job.record))
  let record = (yield* readJsonIfGood(job.record, PartRecord)) ?? empty()
  const file = yield* withFs(job.part, () => fs.open(job.part, { flag: record.bytes > 0 ? "a+" : "w+" }))
  const at = <A, E extends Parameters<ReturnType<typeof fromPlatform>>[0]>(effect: Effect.Effect<A, E>) =>
    Effect.mapError(effect, fromPlatform(job.part))
  let hash = createHash("sha256")
  let have = 0
  // One buffer for all: socket-sized pieces are gathered in it, so that a large file costs no memory beside it.
  const stage = Buffer.allocUnsafeSlow(STAGE)
  let staged = 0
  /** A write failed: what was counted is not all on disk, so nothing more may be recorded. */
  let torn = false

  // What an earlier process left: the durable bytes, if they are still what the record says.
  if (record.bytes > 0) {
    const buffer = Buffer.allocUnsafe(SLICE)
    while (have < record.bytes) {
      const room = buffer.subarray(0, Math.min(SLICE, record.bytes - have))
      const got = yield* at(file.read(room, { position: BigInt(have) }))
      if (got === 0) break
      hash.update(room.subarray(0, got))
      have += got
    }
    if (have !== record.bytes || hash.copy().digest("hex") !== record.sha256) {
      job.onNotice?.(`${job.part} is not what its record says; ${job.address} is fetched from the start`)
      hash = createHash("sha256")
      have = 0
      record = empty()
    }
    yield* at(file.truncate(have))
  }

  const flush = Effect.suspend(() => {
    if (staged === 0) return Effect.void
    const ready = stage.subarray(0, staged)
    staged = 0
    return Effect.onError(at(file.writeAll(ready)), () =>
      Effect.sync(() => {
        torn = true
      })
    )
  })
  const save = (more: Partial<PartRecord> = {}) =>
    Effect.gen(function* () {
      if (torn) return
      yield* flush
      yield* at(file.sync)
      record = { ...record, ...more, bytes: have, sha256: hash.copy().digest("hex") }
      yield* writeAtomic(job.record, `${JSON.stringify(record)}\n`)
    }).pipe(Effect.uninterruptible)
  return {
    have: () => have,
    record: () => record,
    /** What the server said; written with the next bytes that become durable. */
    note: (more: Partial<PartRecord>) => {
      record = { ...record, ...more }
    },
    append: (chunk: Uint8Array) =>
      Effect.gen(function* () {
        hash.update(chunk)
        have += chunk.byteLength
        let from = 0
        while (from < chunk.byteLength) {
          const piece = chunk.subarray(from, from + STAGE - staged)
          stage.set(piece, staged)
          staged += piece.byteLength
          from += piece.byteLength
          if (staged === STAGE) yield* flush
        }
        if (have - record.bytes >= syncBytes) yield* save()
      }).pipe(Effect.uninterruptible),
    save,
    restart: Effect.gen(function* () {
      hash = createHash("sha256")
      have = 0
      staged = 0
      record = empty()
      yield* at(file.truncate(0))
      yield* writeAtomic(job.record, `${JSON.stringify(record)}\n`)
    }).pipe(Effect.uninterruptible),
    digest: () => hash.copy().digest("hex")
  }
})

type Part = Effect.Success<ReturnType<typeof openPart>>

const cut = (job: Job, have: number, total: number) =>
  new DownloadError({
    reason: "cut",
    address: job.address,
    message: `${job.address} ended after ${have} of ${total} bytes`,
    hint: "Run again: it goes on from there."
  })

const changed = (job: Job, what: string) =>
  new DownloadError({
    reason: "changed",
    address: job.address,
    message: `${job.address} changed while it was fetched: ${what}`,
    hint: "Run again; give a revision (@COMMIT), where the address can have one, so that it cannot change."
  })

/** What the recipe says and the server contradicts, before a byte is fetched in vain. */
const contradiction = (job: Job, linked: Linked, total: number | undefined): DownloadError | undefined => {
  const differs = (message: string) =>
    new DownloadError({
      reason: "differs",
      address: job.address,
      message,
      hint: "It is another file than the recipe describes: correct the address, or the description."
    })
  if (job.sha256 !== undefined && linked.sha256 !== undefined && linked.sha256 !== job.sha256)
    return differs(`${job.address} has the digest ${linked.sha256} there, not ${job.sha256}`)
  if (job.bytes !== undefined && total !== undefined && total !== job.bytes)
    return differs(`${job.address} has ${total} bytes there, not ${job.bytes}`)
  return undefined
}

/** One request and what it brings; succeeds when all bytes that there should be are here. */
const attempt = Effect.fnUntraced(function* (job: Job, url: string, part: Part, asking: Asking) {
  const from = sha256(url)
  const before = part.record()
  const known = job.sha256 ?? before.linked
  const validator: Validator | undefined =
    before.from !== from
      ? undefined
      : before.etag !== undefined
        ? { etag: before.etag }
        : before.lastModified !== undefined
          ? { lastModified: before.lastModified }
          : undefined
  if (part.have() > 0 && validator === undefined && known === undefined) yield* part.restart
  const start = part.have()
  if (start > 0 && before.total === start) return // killed between the last byte and its name
  const condition = ifRange(validator)
  const answer = yield* get(
    url,
    start === 0 ? {} : { range: `bytes=${start}-`, ...(condition === undefined ? {} : { "if-range": condition }) },
    asking
  )
  yield* accept(job, from, part, answer, start, validator)
  yield* Stream.runForEachArray(answer.body, (chunks) =>
    Effect.gen(function* () {
      for (const chunk of chunks) yield* part.append(chunk)
      const { total } = part.record()
      if (total !== undefined && part.have() > total) return yield* changed(job, `more than ${total} bytes came`)
      job.onBytes?.(part.have(), total)
    })
  )
  const { total } = part.record()
  if (total !== undefined && part.have() < total) return yield* cut(job, part.have(), total)
  part.note({ total: part.have() })
})

/** Checks that an answer fits what is here; starts over where it is a whole file, fails where nothing fits. */
const accept = Effect.fnUntraced(function* (
  job: Job,
  from: string,
  part: Part,
  answer: Answer,
  start: number,
  validator: Validator | undefined
) {
  const { headers, linked, status } = answer
  const before = part.record()
  if (status === 416) {
    if (start > 0) return yield* changed(job, `it has no byte ${start} any more`)
    return yield* new DownloadError({
      reason: "range",
      address: job.address,
      status,
      message: `${job.address} answered 416 to a request for all of it`,
      hint: "The server is broken or a proxy is in between: name a mirror, or fetch the file by hand and give its path."
    })
  }
  const range = contentRange(headers["content-range"])
  const total = status === 206 ? range?.total : contentLength(headers)
  const wrong = contradiction(job, linked, linked.bytes ?? total)
  if (wrong !== undefined) return yield* wrong
  if (linked.bytes !== undefined && total !== undefined && total !== linked.bytes)
    return yield* cut(job, total, linked.bytes)
  if (status === 206) {
    if (start === 0 || range?.start !== start) return yield* changed(job, "it sent another range than was asked for")
    if (before.total !== undefined && range.total !== undefined && range.total !== before.total)
      return yield* changed(job, `it had ${before.total} bytes and has ${range.total}`)
    if (!agrees(validator, headers)) return yield* changed(job, "its ETag or date is another")
    if (before.linked !== undefined && linked.sha256 !== undefined && linked.sha256 !== before.linked)
      return yield* changed(job, "the hub states another digest")
    // A server may send less than was asked for: without a length, the end of a range would pass for that of the file.
    if ((range.total ?? before.total ?? linked.bytes ?? job.bytes) === undefined)
      return yield* changed(job, "it sends ranges and does not say of how many bytes")
  } else if (start > 0) yield* part.restart // another file by now, or a server without ranges: this is all of it
  const now = validatorOf(headers) ?? (status === 206 ? validator : undefined)
  // A whole file is what this answer says of it; what a mirror said of another one does not count any more.
  const old = status === 206 ? before : undefined
  part.note({
    from,
    etag: now?.etag,
    lastModified: now?.lastModified,
    total: total ?? linked.bytes ?? job.bytes ?? old?.total,
    linked: linked.sha256 ?? old?.linked
  })
})

/** The same error in other words. */
const told = (error: DownloadError, message: string): DownloadError =>
  new DownloadError({
    reason: error.reason,
    address: error.address,
    message,
    hint: error.hint,
    ...(error.status === undefined ? {} : { status: error.status })
  })

/**
 * Waits before another attempt: as long as the server asks for, and longer each time. Fails where there is to be none,
 * because it cannot help, because of so many `failures` in a row, or because the server asks for too much.
 */
export const pause = Effect.fnUntraced(function* (
  error: DownloadError,
  failures: number,
  patience: Pick<Settings, "attempts" | "backoffMs" | "longestWaitMs">,
  onWait: (ms: number) => void
) {
  if (!isPassing(error)) return yield* error
  if (failures >= patience.attempts)
    return yield* told(error, `${error.message} (attempts in a row that brought nothing new: ${failures})`)
  const wait = Math.max(error.retryAfterMs ?? 0, Math.min(30_000, patience.backoffMs * 2 ** (failures - 1)))
  if (wait > patience.longestWaitMs)
    return yield* told(error, `${error.message}, and asks to wait ${Math.ceil(wait / 1000)} s`)
  onWait(wait)
  yield* Effect.sleep(wait)
})

/** Attempts at one URL until the file is here, or so many in a row brought nothing new. */
const persist = Effect.fnUntraced(function* (job: Job, url: string, part: Part, asking: Asking, patience: Patience) {
  let furthest = part.have()
  let failures = 0
  for (let answers = 1; ; answers++) {
    const tried = yield* Effect.result(Effect.scoped(attempt(job, url, part, asking)))
    if (tried._tag === "Success") return answers
    const error = tried.failure
    if (error._tag !== "DownloadError") return yield* error
    if (error.reason === "changed") yield* part.restart
    else if (part.have() > part.record().bytes) yield* part.save()
    failures = part.have() > furthest ? 1 : failures + 1
    furthest = Math.max(furthest, part.have())
    yield* pause(error, failures, patience, (ms) =>
      job.onNotice?.(`${error.message}; again in ${ms / 1000} s, from byte ${part.have()}`)
    )
  }
})

/** Whether all that came is what it should be. */
const fault = (job: Job, part: Part): DownloadError | undefined => {
  const corrupt = (message: string) =>
    new DownloadError({
      reason: "corrupt",
      address: job.address,
      message: `${job.address} came whole but ${message}`,
      hint: "Nothing of it is used. Run again to fetch it anew; if it stays so, the recipe describes another file or the server's copy is damaged."
    })
  const expected = job.sha256 ?? part.record().linked
  if (job.bytes !== undefined && part.have() !== job.bytes) return corrupt(`has ${part.have()} bytes, not ${job.bytes}`)
  if (expected !== undefined && part.digest() !== expected)
    return corrupt(`has the digest ${part.digest()}, not ${expected}`)
  return undefined
}

/**
 * Fetches a file, or what is missing of it, and gives it its name. A file that is done already costs no request.
 *
 * Interrupting keeps what came. Fails with the error of the last URL; a wrong file is removed and fetched anew once
 * when it was put together from several answers.
 */
export const download = (
  job: Job,
  asking: Asking,
  patience: Patience
): Effect.Effect<Fetched, DownloadError | StoreError, FileSystem.FileSystem | HttpClient.HttpClient> =>
  Effect.scoped(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const finished = yield* readJsonIfGood(job.record, PartRecord)
      const isThere = yield* withFs(job.to, () => fs.exists(job.to))
      const sameUrl = job.urls.some((url) => sha256(url) === finished?.from)
      if (isThere && finished?.done === true && sameUrl) return { bytes: finished.bytes, sha256: finished.sha256 }
      const part = yield* openPart(job, patience.syncBytes)
      yield* Effect.addFinalizer(() =>
        part.have() > part.record().bytes
          ? Effect.catch(part.save(), (error) => Effect.logWarning(`${job.part}: ${error.message}`))
          : Effect.void
      )
      let last: DownloadError | undefined
      let refetched = false
      for (const url of job.urls) {
        for (;;) {
          const resumed = part.have() > 0 // of an earlier process, or of another address
          const got = yield* Effect.result(persist(job, url, part, asking, patience))
          if (got._tag === "Failure") {
            if (got.failure._tag !== "DownloadError") return yield* got.failure
            last = got.failure
            break
          }
          last = fault(job, part)
          if (last === undefined) return yield* finish(job, part)
          yield* part.restart
          const pieced = resumed || got.success > 1
          if (refetched || !pieced) break
          refetched = true
          job.onNotice?.(`${last.message}; it came in several pieces and is fetched once more`)
        }
        if (url !== job.urls.at(-1)) job.onNotice?.(`${last.message}; the next address is tried`)
      }
      return yield* last!
    })
  )

const finish = Effect.fnUntraced(function* (job: Job, part: Part) {
  const { have, record } = part
  yield* part.save({ done: true })
  const now = yield* Clock.currentTimeMillis
  yield* makeFolder(dirname(job.to))
  yield* withFs(job.to, (fs) =>
    Effect.andThen(
      // An older time stamp than any later write can have, so that the digest may be remembered by it.
      fs.utimes(job.part, new Date(now), new Date(now - 10_000)),
      fs.rename(job.part, job.to)
    )
  )
  yield* syncFolder(dirname(job.to))
  return { bytes: have(), sha256: record().sha256 }
})
