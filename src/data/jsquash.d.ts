/** What is used of `@jsquash/avif`; its own types ask for the DOM's. */
declare module "@jsquash/avif/decode.js" {
  export const init: (module: object) => Promise<unknown>
  const decode: (
    file: ArrayBuffer
  ) => Promise<{ readonly width: number; readonly height: number; readonly data: Uint8ClampedArray } | null>
  export default decode
}
