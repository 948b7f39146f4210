/**
 * A Python peer: a script of `benchmarks/peers`, or beside that folder, in a process of its own, asked one JSON line at
 * a time.
 *
 * Not timed from here: the script times its own work, so neither the interpreter's start nor the pipe is counted. Its
 * first line says that it is ready, or which package it misses.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { PeerFailed, PeerMissing } from "./Row.ts"

/** An answer; `seconds` where something was timed, and the processor's seconds for the whole request. */
export interface Answer {
  readonly seconds: number
  readonly cpu: number
  readonly [key: string]: unknown
}

/** A running script. */
export interface PythonPeer {
  /** Versions of Python and of what the script imports. */
  readonly versions: string
  /** One request, one answer; requests must not overlap. Fails with `PeerFailed`. */
  readonly ask: (request: { readonly do: string; readonly [key: string]: unknown }) => Promise<Answer>
  readonly stop: () => Promise<void>
}

const failed = (script: string, message: string): PeerFailed =>
  new PeerFailed({ peer: script, message: `${script}: ${message}`, hint: "Run the script by hand to see more." })

/**
 * Starts `peers/SCRIPT` with the interpreter of `--python`, which needs these `packages`. Fails with `PeerMissing`
 * without one, or without a package.
 *
 * @example
 * const peer = await startPython(context.python, "pictures_arrow.py")
 */
export const startPython = async (
  python: string | undefined,
  script: string,
  packages = "pillow and pyarrow"
): Promise<PythonPeer> => {
  const hint = `Give --python PY, an interpreter with ${packages}.`
  if (python === undefined)
    throw new PeerMissing({
      what: "an interpreter (--python PY)",
      message: `${script} needs an interpreter`,
      hint
    })
  const path = fileURLToPath(new URL(`./peers/${script}`, import.meta.url))
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" }
  const child: ChildProcess = spawn(python, [path], { stdio: ["pipe", "pipe", "pipe"], env })
  let stderr = ""
  child.stderr!.on("data", (data) => (stderr = (stderr + String(data)).slice(-2000)))
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const gone = new Promise<PeerFailed | PeerMissing>((resolve) => {
    child.once("error", (cause) =>
      resolve(
        new PeerMissing({
          what: `the interpreter ${python}`,
          message: cause.message,
          hint
        })
      )
    )
    child.once("close", (code, signal) => resolve(failed(script, `ended with ${signal ?? code}: ${stderr.trim()}`)))
  })
  child.stdin!.on("error", () => undefined) // reported by `gone`
  const read = async (): Promise<Record<string, unknown>> => {
    const next = await Promise.race([lines.next(), gone.then((error) => ({ done: true as const, value: error }))])
    if (next.done) throw await gone
    return JSON.parse(next.value) as Record<string, unknown>
  }
  const stop = async (): Promise<void> => {
    child.stdin!.end()
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000)
    await gone
    clearTimeout(timer)
  }
  const hello = await read()
  if (typeof hello["missing"] === "string") {
    await stop()
    throw new PeerMissing({
      what: `Python package ${hello["missing"]} in ${python}`,
      message: `${script} cannot import ${hello["missing"]}`,
      hint: `Install it: ${python} -m pip install ${hello["missing"]}`
    })
  }
  return {
    versions: String(hello["versions"]),
    ask: async (request) => {
      child.stdin!.write(`${JSON.stringify(request)}\n`)
      const answer = await read()
      if (typeof answer["error"] === "string") throw failed(script, answer["error"])
      return answer as unknown as Answer
    },
    stop
  }
}

/** What `interleave` wants of an answer: its figure for so much work, and its processor time. */
export const perSecond = ({ cpu, seconds }: Answer, amount: number) => ({ figure: amount / seconds, cpu })

/** Uses a script and stops it, whatever happens. */
export const withPython = async <A>(
  python: string | undefined,
  script: string,
  use: (peer: PythonPeer) => Promise<A>,
  packages?: string
): Promise<A> => {
  const peer = await startPython(python, script, packages)
  try {
    return await use(peer)
  } finally {
    await peer.stop()
  }
}
