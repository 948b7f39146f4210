/**
 * Addresses of remote sources: what they name, how they are shown, and what they are on the wire. Pure.
 *
 *   https://HOST/PATH                                a file; with a slash at the end, a folder whose files are listed
 *   hf://datasets/OWNER/NAME[@REVISION]/PATH         a file of a dataset on the hub
 *   hf://OWNER/NAME[@REVISION]/PATH                  a file of a model
 *   hf://spaces/OWNER/NAME[@REVISION]/PATH           a file of a space
 *   hf://...[/PATH]/                                 a folder: without a path, or with a slash at the end
 *   https://huggingface.co/.../resolve/REVISION/PATH the same as its hf:// form, so that HF_ENDPOINT applies to it
 *
 * An address is not an identity of content: none reaches a key.
 */
import { Result } from "effect"
import { DownloadError } from "./DownloadError.ts"

export interface WebAddress {
  readonly kind: "web"
  /** Absolute, without a fragment. */
  readonly url: string
  readonly folder: boolean
}

export interface HubAddress {
  readonly kind: "hub"
  readonly type: "models" | "datasets" | "spaces"
  /** `OWNER/NAME` */
  readonly repo: string
  /** A branch, tag, commit, or `refs/...`; `main` when none is given. */
  readonly revision: string
  /** In the repository, without slashes at its ends; empty for the whole repository. */
  readonly path: string
  readonly folder: boolean
}

export type Address = WebAddress | HubAddress

/** Where the hub is unless HF_ENDPOINT says otherwise. */
export const hub = "https://huggingface.co"
const hubHosts = new Set(["huggingface.co", "www.huggingface.co", "hf.co"])

const name = /^[A-Za-z0-9_][\w.-]*$/
const special = /^refs\/(?:convert|pr)\/[\w.-]+/
const types = ["datasets", "spaces"] as const

/** True for names that are safe as a path below a folder: no `..`, nothing absolute, no empty part. */
export const isInside = (path: string): boolean =>
  path !== "" && path.split("/").every((part) => part !== "" && part !== "." && part !== ".." && !/[\0\\]/.test(part))

const wrong = (text: string, message: string, hint: string) =>
  Result.fail(new DownloadError({ reason: "address", address: text.replace(/[?#].*$/, ""), message, hint }))

const forms = "Write hf://datasets/OWNER/NAME@REVISION/PATH, hf://OWNER/NAME@REVISION/PATH or https://HOST/PATH."

const makeHub = (
  text: string,
  type: HubAddress["type"],
  repo: string,
  revision: string,
  path: string
): Result.Result<HubAddress, DownloadError> => {
  const folder = path === "" || path.endsWith("/")
  const bare = path.replace(/\/$/, "")
  if (!repo.split("/").every((part) => name.test(part))) return wrong(text, `${repo} is no name of a repository`, forms)
  if (!isInside(revision)) return wrong(text, "its revision is empty or no name", forms)
  if (bare !== "" && !isInside(bare)) return wrong(text, `${bare} is no path in a repository`, forms)
  return Result.succeed({ kind: "hub", type, repo, revision, path: bare, folder })
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a lone percent sign is a percent sign
  }
}

const parseHub = (text: string): Result.Result<HubAddress, DownloadError> => {
  let rest = text.slice("hf://".length)
  const type = types.find((one) => rest.startsWith(`${one}/`))
  if (type !== undefined) rest = rest.slice(type.length + 1)
  const at = /^([^/@]+\/[^/@]+)(@)?/.exec(rest)
  if (at === null) return wrong(text, "it names no OWNER/NAME", forms)
  rest = rest.slice(at[0].length)
  let revision = "main"
  if (at[2] !== undefined) {
    const raw = special.exec(rest)?.[0] ?? /^[^/]*/.exec(rest)![0]
    revision = decoded(raw)
    rest = rest.slice(raw.length)
  }
  if (rest !== "" && !rest.startsWith("/")) return wrong(text, "a slash is missing after its repository", forms)
  return makeHub(text, type ?? "models", at[1]!, revision, rest.slice(1))
}

/** `/datasets/OWNER/NAME/resolve/REVISION/PATH` of the hub's site; also `blob` and `tree`, which people copy. */
const parseSite = (text: string, url: URL): Result.Result<HubAddress, DownloadError> | undefined => {
  const match = /^\/(?:(datasets|spaces)\/)?([^/]+\/[^/]+)\/(resolve|blob|tree)\/(.+)$/.exec(url.pathname)
  if (match === null) return undefined
  const rest = match[4]!
  const raw = special.exec(rest)?.[0] ?? /^[^/]*/.exec(rest)![0]
  const path = rest
    .slice(raw.length + 1)
    .split("/")
    .map(decoded)
    .join("/")
  const folder = match[3] === "tree" && path !== "" && !path.endsWith("/") ? "/" : ""
  return makeHub(
    text,
    (match[1] as (typeof types)[number] | undefined) ?? "models",
    match[2]!,
    decoded(raw),
    path + folder
  )
}

/**
 * Reads an address.
 *
 * @example
 * parse("hf://datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K@main/chat.json")
 */
export const parse = (text: string): Result.Result<Address, DownloadError> => {
  if (/^hf:\/\//i.test(text)) return parseHub(text.replace(/^hf/i, "hf"))
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return wrong(text, "it cannot be read as an address", forms)
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return wrong(url.protocol, "only http, https and hf are known", forms)
  if (url.username !== "" || url.password !== "")
    return wrong(
      `${url.protocol}//${url.host}${url.pathname}`,
      "it holds a user name or a password",
      "Put no secrets into a recipe: give an address that needs none, or a mirror."
    )
  url.hash = ""
  if (url.protocol === "https:" && hubHosts.has(url.host)) {
    const site = parseSite(text, url)
    if (site !== undefined) return site
  }
  return Result.succeed({ kind: "web", url: url.href, folder: url.pathname.endsWith("/") })
}

const revisionText = (revision: string): string =>
  special.exec(revision)?.[0] === revision ? revision : encodeURIComponent(revision)

/** An address for people and errors: the hf:// form, or the URL without its query. */
export const show = (address: Address): string => {
  if (address.kind === "web") return showUrl(address.url)
  const type = address.type === "models" ? "" : `${address.type}/`
  const revision = address.revision === "main" ? "" : `@${revisionText(address.revision)}`
  const path = address.path === "" ? "/" : `/${address.path}${address.folder ? "/" : ""}`
  return `hf://${type}${address.repo}${revision}${path}`
}

/** A URL for people: no query, no user. */
export const showUrl = (url: string): string => {
  const { host, pathname, protocol, search } = new URL(url)
  return `${protocol}//${host}${pathname}${search === "" ? "" : "?..."}`
}

/** What makes two addresses the same: the whole URL for the web, with its query; never shown, only digested. */
export const identity = (address: Address): string => (address.kind === "web" ? address.url : show(address))

/** The address names the same bytes for ever: a file of the hub at a commit. */
export const isPinned = (address: Address): boolean => address.kind === "hub" && /^[0-9a-f]{40}$/.test(address.revision)

/** The file's own name, for its copy on disk. */
export const fileName = (address: Address): string => {
  const path = address.kind === "hub" ? address.path : decoded(new URL(address.url).pathname)
  const last = path.replace(/\/$/, "").split("/").at(-1) ?? ""
  return isInside(last) ? last : "download"
}

/** The address of a file below a folder address. `path` must be `isInside`. */
export const below = (folder: Address, path: string): Address => {
  if (folder.kind === "hub")
    return { ...folder, path: folder.path === "" ? path : `${folder.path}/${path}`, folder: false }
  const url = new URL(folder.url)
  url.pathname += encodePath(path)
  return { kind: "web", url: url.href, folder: false }
}

const encodePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/")

/** Where a file of the hub is fetched. `endpoint` has no slash at its end. */
export const resolveUrl = (address: HubAddress, endpoint: string): string =>
  `${endpoint}/${address.type === "models" ? "" : `${address.type}/`}${address.repo}/resolve/${revisionText(address.revision)}/${encodePath(address.path)}`

/** Where the hub tells a revision's commit and files. */
export const revisionUrl = (address: HubAddress, endpoint: string): string =>
  `${endpoint}/api/${address.type}/${address.repo}/revision/${encodeURIComponent(address.revision)}?blobs=true`

/** Names that a list of names and patterns selects; `*` stands for any letters but a slash, `**` for any. */
export const selects = (patterns: ReadonlyArray<string> | undefined): ((path: string) => boolean) => {
  if (patterns === undefined) return () => true
  const tests = patterns.map((pattern) => {
    const source = pattern
      .split(/(\*\*|\*)/)
      .map((part) => (part === "**" ? ".*" : part === "*" ? "[^/]*" : part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")))
      .join("")
    return new RegExp(`^${source}$`, "s")
  })
  return (path) => tests.some((test) => test.test(path))
}

/** True for a name that has to be looked up in a list of files. */
export const isPattern = (name: string): boolean => name.includes("*")
