/**
 * A file server on this machine that misbehaves on request: the other side of the download tests.
 *
 * It serves ranges as RFC 9110 has them (If-Range with ETag). Each request takes the next fault of its path's script;
 * when the script is used up, it behaves. Everything that was asked and how many bytes of bodies were sent is kept.
 */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** What a request meets in place of good service. */
export type Fault =
  /** The connection is destroyed after so many bytes of the body. */
  | { readonly cutAfter: number; readonly chunked?: true }
  /** So many bytes of the body, then silence; `after` is called once they are out. */
  | { readonly stallAfter: number; readonly after?: () => void }
  /** No answer at all. */
  | { readonly silent: true; readonly after?: () => void }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** All of it with 200, whatever range was asked for. */
  | { readonly ignoreRange: true }
  /** Half of it, and the length says that this is all. */
  | { readonly truncate: true }
  /** One byte in the middle is another. */
  | { readonly corrupt: true }
  /** At most so many bytes of the range, and not of how many: `bytes 5-9/*`. */
  | { readonly rangeOf: number }
  /** No length; the end is the end of the stream. */
  | { readonly chunked: true }
  /** The ETag of the answer, in place of the right one. */
  | { readonly etag: string | undefined }
  | { readonly ok: true }

export interface Asked {
  readonly path: string
  readonly headers: IncomingMessage["headers"]
  sent: number
}

export interface File {
  body: Buffer
  /** Strong ETag; made from the body when absent, none when null. */
  etag?: string | null
  /** More headers of every answer for this file. */
  headers?: Readonly<Record<string, string>>
  faults?: Array<Fault>
}

export interface Served {
  readonly origin: string
  readonly files: Map<string, File>
  readonly asked: Array<Asked>
  /** Called before a request is answered. */
  onAsked: ((asked: Asked) => void) | undefined
  /** Bytes of bodies that were sent. */
  readonly sent: () => number
  readonly close: () => Promise<void>
}

const etagOf = (file: File): string | undefined =>
  file.etag === null ? undefined : (file.etag ?? `"${createHash("md5").update(file.body).digest("hex")}"`)

const answer = (file: File, fault: Fault, request: IncomingMessage, response: ServerResponse, asked: Asked): void => {
  if ("silent" in fault) return void fault.after?.()
  if ("status" in fault) {
    response.writeHead(fault.status, { ...file.headers, ...fault.headers })
    return void response.end()
  }
  const etag = "etag" in fault ? fault.etag : etagOf(file)
  let body = file.body
  if ("truncate" in fault) body = body.subarray(0, body.length >> 1)
  if ("corrupt" in fault) {
    body = Buffer.from(body)
    body[body.length >> 1]! ^= 1
  }
  const headers: Record<string, string | number> = { ...file.headers, ...(etag === undefined ? {} : { etag }) }
  const condition = request.headers["if-range"]
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")
  let status = 200
  if (range !== null && !("ignoreRange" in fault) && (condition === undefined || condition === etag)) {
    const start = Number(range[1])
    if (start >= body.length) {
      response.writeHead(416, { "content-range": `bytes */${body.length}` })
      return void response.end()
    }
    status = 206
    const end = "rangeOf" in fault ? Math.min(body.length, start + fault.rangeOf) : body.length
    headers["content-range"] = `bytes ${start}-${end - 1}/${"rangeOf" in fault ? "*" : body.length}`
    body = body.subarray(start, end)
  }
  if (!("chunked" in fault)) headers["content-length"] = body.length
  response.writeHead(status, headers)
  const most = "cutAfter" in fault ? fault.cutAfter : "stallAfter" in fault ? fault.stallAfter : body.length
  const piece = body.subarray(0, most)
  const sent = () => {
    asked.sent += piece.length
    if ("cutAfter" in fault) response.socket?.destroySoon()
    else if ("stallAfter" in fault) fault.after?.()
    else response.end()
  }
  if (piece.length === 0) {
    response.flushHeaders()
    sent()
  } else response.write(piece, sent)
}

/** Starts a server on a free port of this machine. */
export const serve = async (files: Readonly<Record<string, File>> = {}): Promise<Served> => {
  const served: Served = {
    origin: "",
    files: new Map(Object.entries(files)),
    asked: [],
    onAsked: undefined,
    sent: () => served.asked.reduce((sum, one) => sum + one.sent, 0),
    close: () =>
      new Promise((done) => {
        server.closeAllConnections()
        server.close(() => done())
      })
  }
  const server = createServer((request, response) => {
    const path = request.url ?? "/"
    const asked: Asked = { path, headers: request.headers, sent: 0 }
    served.asked.push(asked)
    served.onAsked?.(asked)
    const file = served.files.get(path)
    if (file === undefined) {
      response.writeHead(404)
      response.end()
      return
    }
    answer(file, file.faults?.shift() ?? { ok: true }, request, response, asked)
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  return Object.assign(served, { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

/** Bytes that compress badly and repeat nowhere, the same for the same seed. */
export const bytesOf = (length: number, seed = 1): Buffer => {
  const out = Buffer.alloc(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    out[i] = x >>> 24
  }
  return out
}

export const digestOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")
