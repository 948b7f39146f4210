/**
 * What the headers of an answer mean for a download that goes on: validators, ranges, waits. Pure.
 *
 * Not a cache: only what RFC 9110 says about Range and If-Range is read here.
 */

export type Headers = Readonly<Record<string, string | undefined>>

/** What pins a representation, strong enough that two ranges of it fit together. */
export interface Validator {
  readonly etag?: string
  readonly lastModified?: string
}

/**
 * The strong validator of an answer. A weak ETag says nothing about bytes; a Last-Modified is strong only when it is at
 * least a minute older than the answer's Date, as a second change within its grain would go unseen.
 */
export const validatorOf = (headers: Headers): Validator | undefined => {
  const etag = headers["etag"]
  if (etag !== undefined && /^"[^"]*"$/.test(etag)) return { etag }
  const modified = headers["last-modified"]
  const age = Date.parse(headers["date"] ?? "") - Date.parse(modified ?? "")
  return modified !== undefined && age >= 60_000 ? { lastModified: modified } : undefined
}

/** The value for If-Range. */
export const ifRange = (validator: Validator | undefined): string | undefined =>
  validator?.etag ?? validator?.lastModified

/** False only when both are known and differ. */
export const agrees = (before: Validator | undefined, now: Headers): boolean =>
  before === undefined ||
  (before.etag !== undefined
    ? now["etag"] === undefined || now["etag"] === before.etag
    : now["last-modified"] === undefined || now["last-modified"] === before.lastModified)

const digits = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

/** `bytes 5-9/10`; the total is undefined for `*`. Undefined for anything else. */
export const contentRange = (
  text: string | undefined
): { readonly start: number; readonly end: number; readonly total: number | undefined } | undefined => {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text ?? "")
  if (match === null) return undefined
  const [start, end, total] = [Number(match[1]), Number(match[2]), digits(match[3])]
  return end < start || (total !== undefined && end >= total) ? undefined : { start, end, total }
}

/** Bytes of a whole answer; undefined where the server does not say. */
export const contentLength = (headers: Headers): number | undefined => digits(headers["content-length"])

/** Retry-After in ms from `nowMs`: seconds or a date; undefined when absent or unreadable. */
export const retryAfter = (text: string | undefined, nowMs: number): number | undefined => {
  if (text === undefined) return undefined
  const seconds = digits(text.trim())
  if (seconds !== undefined) return seconds * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}

/** What the hub says of a file beside its bytes: for large files the sha256 and size of their content. */
export interface Linked {
  readonly sha256?: string
  readonly bytes?: number
  readonly commit?: string
}

/** Reads X-Linked-ETag, X-Linked-Size and X-Repo-Commit; whatever has another form is ignored. */
export const linkedOf = (headers: Headers): Linked => {
  const sha256 = /^"?([0-9a-f]{64})"?$/.exec(headers["x-linked-etag"] ?? "")?.[1]
  const bytes = digits(headers["x-linked-size"])
  const commit = /^[0-9a-f]{40}$/.exec(headers["x-repo-commit"] ?? "")?.[0]
  return {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(commit === undefined ? {} : { commit })
  }
}
