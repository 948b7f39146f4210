/**
 * Runs code in a real Jupyter kernel, spoken to over ZeroMQ.
 *
 * Not a notebook (see `Notebook.ts`) and not a general client: one client, no stdin, one request at a time, and marks
 * after each cell that only Deno's kernel understands. If the kernel dies, pending requests fail.
 *
 * Lifecycle: process (`Process.ts`) -> `kernel_info_request` until its status is heard on IOPub too (what is published
 * before the subscription is lost) -> `execute_request`s, each with its marks -> the scope closes.
 */
import { randomUUID } from "node:crypto"
import { Deferred, Effect, type Scope } from "effect"
import { Dealer, Subscriber } from "zeromq"
import { decode, encode, type Message, request } from "./Message.ts"
import { attempt, KernelError, type KernelProcess, startProcess } from "./Process.ts"

/** What one piece of code led to: the messages that show something, in order, and the reply. */
export interface Executed {
  readonly shown: ReadonlyArray<Message>
  readonly reply: Message
}

export interface Kernel {
  /** Content of the `kernel_info_reply`. */
  readonly info: Message["content"]
  /** Runs one cell. An exception in it is no failure here: it is in `shown` and `reply`. */
  readonly execute: (code: string) => Effect.Effect<Executed, KernelError>
}

type Listener = (message: Message) => void

const hint = "Deno's kernel and this client must speak the same protocol: see the versions in package.json."

const open = <S extends Dealer | Subscriber>(make: () => S, port: number): Effect.Effect<S, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = make()
      socket.connect(`tcp://127.0.0.1:${port}`)
      return socket
    }),
    (socket) => Effect.sync(() => socket.close())
  )

/** The two channels that are used: requests with their replies, and what is published about a request. */
const openChannels = Effect.fnUntraced(function* ({ connection, gone }: KernelProcess) {
  const { key } = connection
  const session = randomUUID()
  const shell = yield* open(() => new Dealer({ linger: 0 }), connection.shell_port)
  const iopub = yield* open(() => new Subscriber({ linger: 0 }), connection.iopub_port)
  iopub.subscribe()

  const receive = (socket: Dealer | Subscriber): Effect.Effect<Message, KernelError> =>
    Effect.flatMap(
      attempt("protocol", hint, () => socket.receive()),
      (frames) =>
        Effect.mapError(
          decode(key, frames),
          (cause) => new KernelError({ reason: "protocol", message: cause.message, hint: cause.hint, cause })
        )
    )
  /** By the request's id. */
  const listeners = new Map<string, Listener>()
  const deaf = yield* Deferred.make<never, KernelError>()
  yield* Effect.forkScoped(
    Effect.forever(Effect.map(receive(iopub), (message) => listeners.get(message.parent ?? "")?.(message))).pipe(
      Effect.catch((cause) => Deferred.fail(deaf, cause))
    )
  )

  /** Sends a request and waits for its reply; `listener` hears what is published about it, then and later. */
  const ask = Effect.fnUntraced(function* (type: string, content: Message["content"], listener: Listener) {
    const asked = request(session, type, content)
    listeners.set(asked.id, listener)
    yield* attempt("protocol", hint, () => shell.send([...encode(key, asked)]))
    for (;;) {
      const reply = yield* receive(shell)
      if (reply.parent === asked.id) return reply
    }
  })
  const unlessGone = <A>(work: Effect.Effect<A, KernelError>): Effect.Effect<A, KernelError> =>
    work.pipe(Effect.raceFirst(gone), Effect.raceFirst(Deferred.await(deaf)))
  return { ask, listeners, unlessGone }
})

const SHOWS: ReadonlySet<string> = new Set(["stream", "display_data", "execute_result", "error"])

const start = Effect.fnUntraced(function* (
  options: Parameters<typeof startProcess>[0]
): Effect.fn.Return<Kernel, KernelError, Scope.Scope> {
  const { ask, listeners, unlessGone } = yield* openChannels(yield* startProcess(options))

  const greet = Effect.gen(function* () {
    for (;;) {
      let heard = false
      const reply = yield* ask("kernel_info_request", {}, () => {
        heard = true
      })
      yield* Effect.sleep("50 millis")
      if (heard) return reply
    }
  })
  const { content: info } = yield* unlessGone(greet)

  const run = (code: string, counted: boolean, listener: Listener) => {
    const content = { code, silent: false, store_history: counted, user_expressions: {}, allow_stdin: false }
    return ask("execute_request", { ...content, stop_on_error: true }, listener)
  }

  /**
   * Waits until all that the cell showed has arrived: Deno may publish it after the reply and after `idle`. There are
   * two ways of showing, printing and broadcasting, and each keeps its order; so a mark is sent on both.
   */
  const settle = Effect.fnUntraced(function* (collect: Listener) {
    const mark = `end of cell ${randomUUID()}`
    const printed = yield* Deferred.make<void>()
    const broadcast = yield* Deferred.make<void>()
    const code = `console.log("${mark}"); await Deno.jupyter.broadcast("${mark}", {}); undefined`
    const { content } = yield* run(code, false, (message) => {
      const { text } = message.content
      if (message.type === mark) Deferred.doneUnsafe(broadcast, Effect.void)
      else if (message.type === "stream" && typeof text === "string" && text.includes(mark)) {
        const before = text.slice(0, text.indexOf(mark))
        if (before !== "") collect({ ...message, content: { ...message.content, text: before } })
        Deferred.doneUnsafe(printed, Effect.void)
      } else collect(message)
    })
    if (content["status"] !== "ok")
      return yield* new KernelError({
        reason: "protocol",
        message: `no mark after the cell: ${content["evalue"]}`,
        hint
      })
    yield* Deferred.await(printed)
    yield* Deferred.await(broadcast)
  })

  const execute = Effect.fnUntraced(function* (code: string) {
    const shown: Array<Message> = []
    const collect: Listener = (message) => {
      if (SHOWS.has(message.type)) shown.push(message)
    }
    const reply = yield* run(code, true, collect)
    yield* settle(collect)
    listeners.clear()
    return { shown, reply } satisfies Executed
  })
  return { info, execute: (code) => unlessGone(execute(code)) }
})

/** Another process may take a port between the look and the kernel's bind. */
const portTaken = (error: KernelError): boolean =>
  error.reason === "ended" && /AddrInUse|address already in use/i.test(error.message)

/**
 * Starts a kernel whose relative imports are those of `cwd`, and waits until it answers.
 *
 * @example
 * const kernel = yield* startKernel({ cwd: "docs/notebooks" })
 * const { shown } = yield* kernel.execute("6 * 7")
 */
export const startKernel = (
  options: Parameters<typeof startProcess>[0]
): Effect.Effect<Kernel, KernelError, Scope.Scope> => Effect.retry(start(options), { times: 2, while: portTaken })
