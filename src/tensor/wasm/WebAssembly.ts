/**
 * The part of the WebAssembly interface used here, typed: TypeScript keeps it in the browser's library, which is off.
 */

export interface Memory {
  readonly buffer: ArrayBuffer
}
export interface Instance {
  readonly exports: Readonly<Record<string, unknown>>
}
export type Imports = Readonly<Record<string, Readonly<Record<string, unknown>>>>

interface Api {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: Imports) => Instance
}

const api = (globalThis as unknown as { readonly WebAssembly: Api }).WebAssembly

/** Compiles and instantiates in one synchronous step. */
export const instantiate = (bytes: Uint8Array, imports: Imports): Instance =>
  new api.Instance(new api.Module(bytes), imports)
