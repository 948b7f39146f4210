/**
 * Which engine `auto` is on this machine.
 *
 * Not a layer: it looks at files and loads nothing, so that a plan knows its keys. An addon that is there and does not
 * load is an error when it is opened, never a reason to compute with another engine.
 */
import { existsSync } from "node:fs"
import { builtOver, deviceType } from "./torch/Addon.ts"
import { addonPath, buildCommand } from "./torch/Place.ts"

/**
 * The engine that a name stands for: `auto` is libtorch where its addon is built (in bfloat16 on a GPU, as the models
 * were trained), else wasm, with the reason. Any other name is itself.
 *
 * @example resolve("auto") // { engine: "torch", why: "the addon over libtorch 2.13.0 is built" }
 */
export const resolve = (name: string): { readonly engine: string; readonly why?: string } =>
  name !== "auto"
    ? { engine: name }
    : existsSync(addonPath())
      ? deviceType() === "cuda"
        ? { engine: "torch-bf16", why: `the addon over libtorch ${builtOver()} is built, and a GPU is there` }
        : { engine: "torch", why: `the addon over libtorch ${builtOver()} is built` }
      : { engine: "wasm", why: `the addon over libtorch is not built, ${buildCommand} does it` }
