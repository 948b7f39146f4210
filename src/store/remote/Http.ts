/**
 * One GET, with redirects, a token that stays at home, and a limit on silence.
 *
 * Not a download: nothing is kept or tried again here. Redirects are followed by hand, because each hop decides anew
 * whether it may have the token: only the origin that `tokenFor` accepts. Everything that fails is a `DownloadError`
 * made of text alone, so no request with its headers ever hangs on an error.
 */
import { Clock, Effect, Redacted, type Scope, Stream } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest } from "effect/http"
import { showUrl } from "./Address.ts"
import { DownloadError } from "./DownloadError.ts"
import { type Headers, type Linked, linkedOf, retryAfter } from "./Ranges.ts"

/** What a request may carry and how long it may wait. */
export interface Asking {
  readonly token: Redacted.Redacted<string> | undefined
  readonly tokenFor: (url: URL) => boolean
  /** Longest silence, ms. */
  readonly stallMs: number
}

/** An answer that is a file or a part of one (200, 206), or says that there is no such part (416). */
export interface Answer {
  readonly status: 200 | 206 | 416
  readonly headers: Headers
  /** What the first origin said of the file, on whichever of its hops. */
  readonly linked: Linked
  readonly body: Stream.Stream<Uint8Array, DownloadError>
}

const MOST_HOPS = 10

/**
 * A failure's own words: code or message of what lies below the client's error. The client's own message names the
 * whole URL, and its query may be secret.
 */
const words = (error: { readonly reason: { readonly cause?: unknown } }): string => {
  const said: Array<string> = []
  let at = error.reason.cause
  for (let depth = 0; depth < 4 && typeof at === "object" && at !== null; depth++) {
    const { cause, code, message } = at as { cause?: unknown; code?: unknown; message?: unknown }
    if (typeof code === "string" && !code.startsWith("UND_")) said.push(code)
    else if (typeof message === "string" && !message.includes("://")) said.push(message.split("\n")[0]!)
    at = cause
  }
  return [...new Set(said)].slice(-2).join(", ") || "the connection broke"
}

/** What the hub's X-Error-Code adds to a status. */
const hubWords: Readonly<Record<string, string>> = {
  RepoNotFound: "the hub knows no such repository, or does not show it without a token",
  RevisionNotFound: "the repository has no such revision",
  EntryNotFound: "the revision has no such file",
  GatedRepo: "the repository is gated"
}

const refusal = (status: number, headers: Headers, url: URL, sentToken: boolean, nowMs: number): DownloadError => {
  const address = showUrl(url.href)
  const said = hubWords[headers["x-error-code"] ?? ""]
  const fail = (reason: DownloadError["reason"], hint: string) =>
    new DownloadError({
      reason,
      address,
      status,
      message: `${address} answered ${status}${said === undefined ? "" : `: ${said}`}`,
      hint,
      ...(wait === undefined ? {} : { retryAfterMs: wait })
    })
  const wait = status === 429 || status === 503 ? retryAfter(headers["retry-after"], nowMs) : undefined
  switch (status) {
    case 401:
      return fail(
        "unauthorised",
        sentToken
          ? "HF_TOKEN was sent and is not accepted: make a new one, or ask for access to the repository."
          : "It needs a token: set HF_TOKEN (it is sent to the hub's own host alone, over https), or check the name."
      )
    case 403:
      return fail(
        "forbidden",
        sentToken
          ? "The token is known but has no access: accept the terms on the repository's page, or ask its owners."
          : "It may need a token (HF_TOKEN) or the acceptance of terms on its page."
      )
    case 404:
    case 410:
      return fail("not-found", "Check the address: owner, name, revision and path, capitals too. It may have moved.")
    case 408:
    case 425:
    case 429:
      return fail(
        "busy",
        "The server wants fewer requests: run again later, set HF_TOKEN, or name a mirror (MILLRACE_MIRRORS, HF_ENDPOINT)."
      )
    default:
      return status === 503 && wait !== undefined
        ? fail("busy", "The server is overloaded: run again later; what has come is kept.")
        : status >= 500
          ? fail("server", "The server has a fault: run again later; what has come is kept. A mirror may help.")
          : fail("status", "That is no file. Open the address in a browser to see what it is.")
  }
}

/**
 * Asks for `url`. The body must be read, or left, within the scope; closing it ends the connection.
 *
 * Fails for every answer but 200, 206 and 416, and when nothing comes for `stallMs`, before the answer or within it.
 */
export const get = Effect.fnUntraced(function* (
  url: string,
  headers: Readonly<Record<string, string>>,
  asking: Asking
): Effect.fn.Return<Answer, DownloadError, HttpClient.HttpClient | Scope.Scope> {
  const client = HttpClient.withScope(yield* HttpClient.HttpClient)
  const first = new URL(url)
  let at = first
  let linked: Linked = {}
  const silent = () =>
    new DownloadError({
      reason: "stalled",
      address: showUrl(at.href),
      message: `${showUrl(at.href)} sent nothing for ${asking.stallMs / 1000} s`,
      hint: "Check the network and run again: what has come is kept. MILLRACE_STALL_SECONDS sets the limit."
    })
  const broken = (reason: "unreachable" | "cut") => (error: HttpClientError.HttpClientError) =>
    new DownloadError({
      reason,
      address: showUrl(at.href),
      message: `${showUrl(at.href)}: ${words(error)}`,
      hint: "Check the network, the proxy and the host's name, then run again: what has come is kept."
    })
  for (let hop = 0; hop <= MOST_HOPS; hop++) {
    const sendToken = asking.token !== undefined && asking.tokenFor(at)
    const request = HttpClientRequest.get(at.href, {
      headers: {
        "user-agent": "millrace",
        "accept-encoding": "identity",
        ...headers,
        ...(sendToken ? { authorization: `Bearer ${Redacted.value(asking.token!)}` } : {})
      }
    })
    const response = yield* client.execute(request).pipe(
      Effect.mapError(broken("unreachable")),
      Effect.timeoutOrElse({ duration: asking.stallMs, orElse: () => Effect.fail(silent()) }),
      // A span would hold addresses with their queries.
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
    )
    const found: Headers = response.headers
    if (at.origin === first.origin) linked = { ...linked, ...linkedOf(found) }
    if ([301, 302, 303, 307, 308].includes(response.status)) {
      at = yield* nextHop(at, found["location"])
      continue
    }
    if (response.status === 200 || response.status === 206 || response.status === 416) {
      const encoding = found["content-encoding"]
      if (encoding !== undefined && !/^\s*(?:identity)?\s*$/i.test(encoding))
        return yield* new DownloadError({
          reason: "encoded",
          address: showUrl(at.href),
          message: `${showUrl(at.href)} sends ${encoding}, although it was asked for plain bytes`,
          hint: "Such an answer has no ranges to go on from: fetch the file by hand and give its path, or name a mirror."
        })
      const body = response.stream.pipe(
        Stream.mapError(broken("cut")),
        Stream.timeoutOrElse({ duration: asking.stallMs, orElse: () => Stream.fail(silent()) })
      )
      return { status: response.status, headers: found, linked, body }
    }
    return yield* refusal(response.status, found, at, sendToken, yield* Clock.currentTimeMillis)
  }
  return yield* new DownloadError({
    reason: "redirect",
    address: showUrl(url),
    message: `${showUrl(url)} redirects more than ${MOST_HOPS} times`,
    hint: "Check the address, and the mirror if there is one."
  })
})

const nextHop = (at: URL, location: string | undefined): Effect.Effect<URL, DownloadError> => {
  const fail = (message: string) =>
    Effect.fail(
      new DownloadError({
        reason: "redirect",
        address: showUrl(at.href),
        message,
        hint: "Check the address, and the mirror if there is one."
      })
    )
  if (location === undefined || !URL.canParse(location, at.href))
    return fail(`${showUrl(at.href)} redirects to nowhere`)
  const next = new URL(location, at)
  if (next.protocol !== "https:" && next.protocol !== "http:")
    return fail(`${showUrl(at.href)} redirects to ${next.protocol}`)
  if (at.protocol === "https:" && next.protocol === "http:")
    return fail(`${showUrl(at.href)} redirects from https to http, at ${next.host}`)
  return Effect.succeed(next)
}
