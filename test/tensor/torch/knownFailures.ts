/**
 * Specs of TF.js's suite that the torch engine is known to fail, each with its reason. No kernel of a model is among
 * them.
 */
import { absent } from "../../../src/tensor/torch/Absent.ts"

/** By full name. */
export const knownOnTorch: Readonly<Record<string, string>> = {
  "profile torch {} reports correct kernelNames":
    "jasmine 3's own matcher uses a variable that it does not declare, which modules refuse",
  "avgPool3d torch {} x=[1,1,1,1,1] f=[1,1,3] s=1 p=valid": "ATen refuses a window that is larger than its input",
  "conv2dTranspose torch {} input=8x8x8,output=4x4x8,f=8,s=1,inDepth=8,p=same vec4":
    "the shapes belong to no convolution: ATen refuses them, TF.js takes what overlaps"
}

/** Why a spec fails; undefined for one that has no reason to. */
export const reasonOnTorch = (name: string, message: string): string | undefined => {
  const left = absent.find(({ reason }) => message.includes(`is left out: ${reason}`))
  const dtype = /tensors of (\w+) are not taken/.exec(message)
  return left?.reason ?? (dtype === null ? knownOnTorch[name] : `tensors of ${dtype[1]} are not taken`)
}
