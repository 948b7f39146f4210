/**
 * What the environment says about downloads: the hub's endpoint and token, mirrors, where files lie, patience. Pure.
 *
 * | variable                                  | what                                                                  |
 * |-------------------------------------------|-----------------------------------------------------------------------|
 * | `HF_ENDPOINT`                             | in place of https://huggingface.co: a mirror or a hub of one's own    |
 * | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`      | for private and gated files; sent to the endpoint's origin alone      |
 * | `HF_HUB_DISABLE_IMPLICIT_TOKEN`           | the token is not sent                                                 |
 * | `HF_HUB_OFFLINE`                          | nothing is fetched from anywhere                                      |
 * | `MILLRACE_MIRRORS`                        | `FROM=TO ...`: addresses that start with FROM are tried at TO first   |
 * | `MILLRACE_DOWNLOADS`                      | folder of downloads that several stores share                         |
 * | `MILLRACE_STALL_SECONDS`                  | a connection that is silent for so long is given up; 60               |
 * | `MILLRACE_ATTEMPTS`                       | attempts in a row that bring nothing new; 5                           |
 *
 * A token file (`~/.cache/huggingface/token`) is not read.
 */
import { Exit, Redacted, Result } from "effect"
import { lookUp, read, type Variable, variables } from "../../dag/Environment.ts"
import { hub } from "./Address.ts"
import { DownloadError } from "./DownloadError.ts"

export interface Mirror {
  readonly from: string
  readonly to: string
}

export interface Settings {
  /** Origin and path of the hub, without a slash at its end. */
  readonly endpoint: string
  readonly token: Redacted.Redacted<string> | undefined
  readonly offline: boolean
  readonly mirrors: ReadonlyArray<Mirror>
  /** Absolute or relative to the working folder; the store's own when undefined. */
  readonly folder: string | undefined
  /** Longest silence of a connection, ms. */
  readonly stallMs: number
  /** Attempts in a row that bring no byte beyond the furthest. */
  readonly attempts: number
  /** Wait after the first failed attempt, ms; twice as long after each further one, up to half a minute. */
  readonly backoffMs: number
  /** Longest wait that a server may ask for, ms. */
  readonly longestWaitMs: number
  /** A part is made durable each time so many bytes came. */
  readonly syncBytes: number
}

const isOn = (env: Env, variable: Variable<boolean>): boolean => read(variable, env)

const wrong = (name: string, message: string) =>
  Result.fail(
    new DownloadError({
      reason: "setting",
      address: name,
      message: `${name} ${message}`,
      hint: "Fix the variable, or unset it."
    })
  )

const isWeb = (text: string): boolean => {
  try {
    const url = new URL(text)
    return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" && url.password === ""
  } catch {
    return false
  }
}

export type Env = Readonly<Record<string, string | undefined>>

/** Reads the settings; a variable that cannot be read is an error, never a default. */
export const fromEnvironment = (env: Env): Result.Result<Settings, DownloadError> => {
  const endpoint = (env["HF_ENDPOINT"] || hub).replace(/\/+$/, "")
  if (!isWeb(endpoint)) return wrong("HF_ENDPOINT", "is no http or https address without a user")
  const mirrors: Array<Mirror> = []
  for (const one of (env["MILLRACE_MIRRORS"] ?? "").split(/\s+/).filter((text) => text !== "")) {
    const at = /=(?=https?:\/\/)/.exec(one)?.index ?? -1
    const [from, to] = [one.slice(0, Math.max(at, 0)), one.slice(at + 1)]
    if (at < 1 || !isWeb(from) || !isWeb(to))
      return wrong("MILLRACE_MIRRORS", "must hold FROM=TO with two http or https addresses each, blanks between")
    mirrors.push({ from: new URL(from).href, to }) // its host in the letters that an address has it in
  }
  const seconds = lookUp(variables.stallSeconds, env)
  if (Exit.isFailure(seconds)) return wrong("MILLRACE_STALL_SECONDS", "must be a number of seconds above 0")
  const attempts = lookUp(variables.attempts, env)
  if (Exit.isFailure(attempts)) return wrong("MILLRACE_ATTEMPTS", "must be a whole number above 0")
  const tokenName = env["HF_TOKEN"] ? "HF_TOKEN" : "HUGGING_FACE_HUB_TOKEN"
  const given = (env[tokenName] ?? "").trim()
  const token = isOn(env, variables.noToken) ? "" : given
  if (!/^[\x21-\x7e]*$/.test(token))
    return wrong(tokenName, "holds a blank, a line break or a letter that no token has")
  return Result.succeed({
    endpoint,
    token: token === "" ? undefined : Redacted.make(token, { label: "HF_TOKEN" }),
    offline: isOn(env, variables.offline),
    mirrors,
    folder: env["MILLRACE_DOWNLOADS"] || undefined,
    stallMs: seconds.value * 1000,
    attempts: attempts.value,
    backoffMs: 1000,
    longestWaitMs: 600_000,
    syncBytes: 16 << 20
  })
}

/**
 * Without slashes at its end: what comes after it begins with one, or the host itself would grow by what comes after.
 */
const bare = (url: string): string => url.replace(/\/+$/, "")

const prefixOf = (url: string, from: string): boolean =>
  url.startsWith(from) && (url.length === from.length || url[from.length] === "/")

/** Where a URL is tried, in order: its mirrors, then itself. */
export const candidates = (url: string, mirrors: ReadonlyArray<Mirror>): ReadonlyArray<string> => [
  ...mirrors
    .filter(({ from }) => prefixOf(url, bare(from)))
    .map(({ from, to }) => bare(to) + url.slice(bare(from).length)),
  url
]

/**
 * True where the token may go: the endpoint's own origin, over https or to this machine itself. Another port or scheme
 * is another origin.
 */
export const mayHaveToken = (url: URL, endpoint: string): boolean =>
  url.origin === new URL(endpoint).origin &&
  (url.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname))
