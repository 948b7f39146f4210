/**
 * The token of a run whose ranks a launcher starts: from the environment, or from a file that rank 0 makes.
 *
 * Not how it is used (`run/Handshake.ts`). `--nproc` needs none of this: it makes a token and hands it to the ranks
 * that it starts. The file is there for all ranks that see its folder, whole from the moment that it has its name, and
 * readable by its owner alone; it outlives the run and serves the next one too.
 */
import { randomUUID } from "node:crypto"
import { type FileHandle, link, open, rm } from "node:fs/promises"
import { Duration, Effect, Exit } from "effect"
import { type Environment, lookUp, variables } from "../dag/Environment.ts"
import { joinSeconds } from "../run/Coordinator.ts"
import { isToken, newToken, tokenForm } from "../run/Handshake.ts"
import { UsageError } from "./Choose.ts"

const TOKEN = variables.ranksToken.name
const FILE = variables.ranksFile.name

const usage = (message: string, hint: string, cause?: unknown) =>
  new UsageError({ message, hint, ...(cause === undefined ? {} : { cause }) })

const HOW =
  `Give all ranks one secret: \`export ${TOKEN}=$(openssl rand -hex 32)\` before torchrun or srun, which pass it on; ` +
  `in Kubernetes a Secret. Or name a file on a disk that all ranks share with \`export ${FILE}=PATH\`: ` +
  "rank 0 makes it, with mode 0600."

const codeOf = (cause: unknown): unknown => (cause as { readonly code?: unknown } | null)?.code

/** What is wrong with who may read the file; undefined where nobody else may. */
const openTo = async (file: FileHandle): Promise<string | undefined> => {
  const stat = await file.stat()
  if (!stat.isFile()) return "is no file"
  const me = process.getuid?.()
  if (me === undefined) return undefined // a system without users
  if (stat.uid !== me && stat.uid !== 0) return `belongs to user ${stat.uid}, and this is user ${me}`
  if ((stat.mode & 0o077) !== 0) return `has mode 0${(stat.mode & 0o777).toString(8)}, so that others may read it`
  return undefined
}

/** Makes the file, unless it is there: complete under another name first. */
const makeFile = async (path: string): Promise<void> => {
  const aside = `${path}.${randomUUID()}`
  const file = await open(aside, "wx", 0o600)
  try {
    await file.writeFile(`${newToken()}\n`)
    await file.sync()
    await link(aside, path).catch((cause: unknown) => {
      if (codeOf(cause) !== "EEXIST") throw cause
    })
  } finally {
    await file.close()
    await rm(aside, { force: true })
  }
}

/** The token in a file; undefined where there is no file. */
const readFile = (path: string): Effect.Effect<string | undefined, UsageError> =>
  Effect.tryPromise({
    try: async () => {
      const file = await open(path, "r").catch((cause: unknown) => {
        if (codeOf(cause) === "ENOENT") return undefined
        throw cause
      })
      if (file === undefined) return undefined
      try {
        const why = await openTo(file)
        if (why !== undefined)
          throw usage(
            `${FILE}: ${path} ${why}`,
            "Give it to this user alone with chmod 600, or remove it: rank 0 makes another."
          )
        const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0)
        const token = buffer.subarray(0, bytesRead).toString("latin1").trim()
        if (!isToken(token))
          throw usage(`${FILE}: ${path} holds no token: ${tokenForm}`, "Remove it: rank 0 makes another.")
        return token
      } finally {
        await file.close()
      }
    },
    catch: (cause) =>
      cause instanceof UsageError ? cause : usage(`${FILE}: ${path} cannot be read: ${String(cause)}`, HOW, cause)
  })

/** Waits for the file that rank 0 makes. */
const awaitFile = Effect.fnUntraced(function* (path: string) {
  for (let waited = 0; waited < joinSeconds(); waited += 0.2) {
    const token = yield* readFile(path)
    if (token !== undefined) return token
    yield* Effect.sleep(Duration.millis(200))
  }
  return yield* usage(
    `${FILE}: ${path} is not there after ${joinSeconds()} s`,
    "Rank 0 makes it: name a folder that all ranks see. MILLRACE_JOIN_SECONDS waits longer."
  )
})

/** The token of a rank that a launcher started. The variable comes before the file. */
export const launchedToken = Effect.fnUntraced(function* (rank: number, env: Environment) {
  const given = lookUp(variables.ranksToken, env)
  const token = Exit.isSuccess(given) ? given.value : undefined
  if (token !== undefined) {
    if (isToken(token)) return token
    return yield* usage(`${TOKEN} is no token: it must be ${tokenForm}`, HOW)
  }
  const named = lookUp(variables.ranksFile, env)
  const path = Exit.isSuccess(named) ? named.value : undefined
  if (path === undefined)
    return yield* usage(`rank ${rank} has no token, and without one anybody could join the run`, HOW)
  if (rank === 0 && (yield* readFile(path)) === undefined)
    yield* Effect.tryPromise({
      try: () => makeFile(path),
      catch: (cause) => usage(`${FILE}: ${path} cannot be made: ${String(cause)}`, HOW, cause)
    })
  return yield* awaitFile(path)
})
