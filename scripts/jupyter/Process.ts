/**
 * The kernel's process: Deno's Jupyter kernel, from the npm package `deno`, on local ports that were free.
 *
 * Not the talk with it (see `Kernel.ts`). The process ends with the scope, by SIGKILL: a kernel has nothing to save.
 * Its cache of compiled modules lives as long, so that nothing of an earlier run is taken.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { type AddressInfo, createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Deferred, Effect, Schema, type Scope } from "effect"

/** The kernel cannot be started, ended before it was asked to, or is not understood. */
export class KernelError extends Schema.TaggedError<KernelError>()("KernelError", {
  reason: Schema.Literals(["not-installed", "not-started", "ended", "protocol"]),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Work of a library, with what went wrong as a `KernelError`. */
export const attempt = <A>(reason: KernelError["reason"], hint: string, work: () => Promise<A> | A) =>
  Effect.tryPromise({
    try: async () => work(),
    catch: (cause) =>
      new KernelError({ reason, message: cause instanceof Error ? cause.message : String(cause), hint, cause })
  })

/** Path of the pinned Deno: its package knows where the binary for this platform is. */
export const denoPath: Effect.Effect<string, KernelError> = attempt(
  "not-installed",
  "Run `npm ci`; Deno has binaries for Linux (glibc), macOS and Windows on x64 and arm64.",
  () => (createRequire(import.meta.url)("deno/install_api.cjs") as { runInstall: () => string }).runInstall()
)

/** What the connection file says, by the protocol's names. */
export interface Connection {
  readonly ip: string
  readonly transport: "tcp"
  readonly key: string
  readonly signature_scheme: "hmac-sha256"
  readonly shell_port: number
  readonly iopub_port: number
  readonly stdin_port: number
  readonly control_port: number
  readonly hb_port: number
}

const listen = (): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => resolve(server))
  })

/** A connection on ports that are free now; all are held while they are looked for, so that they differ. */
const freshConnection = async (): Promise<Connection> => {
  const servers = await Promise.all([listen(), listen(), listen(), listen(), listen()])
  const [shell_port, iopub_port, stdin_port, control_port, hb_port] = servers.map(
    (server) => (server.address() as AddressInfo).port
  ) as [number, number, number, number, number]
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  const local = { ip: "127.0.0.1", transport: "tcp", key: randomUUID(), signature_scheme: "hmac-sha256" } as const
  return { ...local, shell_port, iopub_port, stdin_port, control_port, hb_port }
}

const ended = (child: ChildProcess): Promise<void> =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()))

/** A kernel's process under way. */
export interface KernelProcess {
  readonly connection: Connection
  /** Fails when the process ends before its scope does; never succeeds. */
  readonly gone: Effect.Effect<never, KernelError>
}

/** Starts the kernel in a folder, from which its relative imports are resolved. It is not ready yet. */
export const startProcess = Effect.fnUntraced(function* (options: {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}): Effect.fn.Return<KernelProcess, KernelError, Scope.Scope> {
  const deno = yield* denoPath
  const space = "Check the temporary folder and the space there."
  const home = yield* Effect.acquireRelease(
    attempt("not-started", space, () => mkdtemp(join(tmpdir(), "kernel-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  )
  const connection = yield* attempt("not-started", "Five local ports are needed.", freshConnection)
  const file = join(home, "connection.json")
  yield* attempt("not-started", space, () => writeFile(file, JSON.stringify(connection), { mode: 0o600 }))

  const gone = yield* Deferred.make<never, KernelError>()
  const end = (how: string, said: string, cause?: unknown) =>
    Deferred.doneUnsafe(
      gone,
      Effect.fail(
        new KernelError({
          reason: "ended",
          message: `the kernel ended (${how})${said === "" ? "" : `: ${said.trim()}`}`,
          hint: "Put the cells into a file and run it with `npx deno run -A` to see what ends it.",
          ...(cause === undefined ? {} : { cause })
        })
      )
    )
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const env = { ...process.env, DENO_DIR: join(home, "deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" }
      const child = spawn(deno, ["jupyter", "--kernel", "--conn", file], {
        cwd: options.cwd,
        env: { ...env, ...options.env },
        stdio: ["ignore", "ignore", "pipe"]
      })
      let said = ""
      child.stderr.on("data", (data: Buffer) => {
        said = (said + data.toString()).slice(-4000)
      })
      child.once("error", (cause) => end(cause.message, said, cause))
      child.once("close", (code, signal) => end(signal ?? `exit code ${code}`, said))
      return child
    }),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return ended(child)
      })
  )
  return { connection, gone: Deferred.await(gone) }
})
