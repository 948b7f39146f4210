/**
 * TensorFlow.js kernels that the torch engine leaves out, and why.
 *
 * Not an omission that is found out by a crash: each is registered, and calling it is a typed error with its reason. No
 * model here calls one. `npm run conformance -- --engine torch` counts the specs that fail for each reason.
 */
import { EngineFailure } from "../Errors.ts"
import { tf } from "../Ops.ts"

export interface Absence {
  readonly reason: string
  readonly kernels: ReadonlyArray<string>
}

export const absent: ReadonlyArray<Absence> = [
  {
    reason: "complex numbers and Fourier transforms: no layer has them",
    kernels: ["Complex", "ComplexAbs", "FFT", "IFFT", "Imag", "Real"]
  },
  {
    reason: "text: it is tokenised before it comes to an engine",
    kernels: ["StaticRegexReplace", "StringNGrams", "StringSplit", "StringToHashBucketFast"]
  },
  {
    reason: "images are resized, cropped and turned when data is prepared",
    kernels: [
      ...["CropAndResize", "Draw", "FlipLeftRight", "FromPixels", "ResizeBilinear", "ResizeBilinearGrad"],
      ...["ResizeNearestNeighbor", "ResizeNearestNeighborGrad", "RotateWithOffset", "Transform"]
    ]
  },
  {
    reason: "boxes of an object detector are chosen outside of an engine",
    kernels: ["NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"]
  },
  {
    reason: "ragged and sparse tensors: rows are padded or packed",
    kernels: [
      ...["RaggedGather", "RaggedRange", "RaggedTensorToTensor", "SparseFillEmptyRows", "SparseReshape"],
      ...["SparseSegmentMean", "SparseSegmentSum"]
    ]
  },
  {
    reason: "random numbers come from `src/tensor/Random.ts`, so that a resumed run draws the same",
    kernels: ["Multinomial"]
  },
  {
    reason: "layers of older vision models",
    kernels: ["Dilation2D", "Dilation2DBackpropFilter", "Dilation2DBackpropInput", "LRN", "LRNGrad"]
  },
  {
    reason: "the size of the result depends on values, which would have to be waited for",
    kernels: ["Unique"]
  },
  {
    reason: "a name without an operation in TF.js 4.22, whose operation is made of other kernels",
    kernels: ["LogicalXor", "LowerBound", "MatrixBandPart", "Pool", "UpperBound"]
  }
]

/** Registers what is absent: a typed error when it is called. */
export const registerAbsent = (backendName: string): void => {
  for (const { kernels, reason } of absent)
    for (const kernelName of kernels)
      tf.registerKernel({
        kernelName,
        backendName,
        kernelFunc: () => {
          throw new EngineFailure({
            engine: "torch",
            message: `${kernelName} is left out: ${reason}`,
            hint: "Compute it when data is prepared, or from other operations."
          })
        }
      })
}
