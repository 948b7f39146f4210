/**
 * What goes wrong when a source is fetched, as one typed error.
 *
 * It never holds a token, a request, or the query of an address (signed addresses carry secrets there): `address` is
 * what `show` gives, and causes are kept as text.
 */
import { Schema } from "effect"

export class DownloadError extends Schema.TaggedError<DownloadError>()("DownloadError", {
  reason: Schema.Literals([
    "address", // cannot be read as an address
    "setting", // an environment variable cannot be read
    "offline", // HF_HUB_OFFLINE is set
    "unauthorised", // 401
    "forbidden", // 403
    "not-found", // 404, 410
    "range", // 416, although nothing was asked for that is not there
    "status", // any other answer that is no file
    "redirect", // too many, without a target, or from https to http
    "encoded", // the server compresses although it was asked not to
    "busy", // 408, 425, 429, 503: told to come back
    "server", // 5xx
    "unreachable", // no connection, or it broke before an answer
    "stalled", // nothing came for too long
    "cut", // the connection ended before the file did
    "changed", // the file became another one on the way
    "differs", // size or digest that the server states is not what the recipe says
    "corrupt" // everything came and it is not what it should be
  ]),
  address: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  status: Schema.optional(Schema.Number),
  /** The server's wish, ms. */
  retryAfterMs: Schema.optional(Schema.Number),
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Reasons that another attempt may cure. */
const passing = new Set<DownloadError["reason"]>(["busy", "server", "unreachable", "stalled", "cut", "changed"])

export const isPassing = (error: DownloadError): boolean => passing.has(error.reason)
