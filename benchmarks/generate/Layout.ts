/** Data for the full presets under the originals' names. */
import type { Size } from "../Row.ts"
export const generate = async (_dir: string, _size: Size, _seed: number, _say: (what: string) => void): Promise<void> => {}
