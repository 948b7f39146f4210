/**
 * A linear whose matrix stays in four bits (NF4 with double quantisation): dequantised for the product, forward and again
 * backward, and kept by nobody in between.
 *
 * The definition is `src/tensor/Nf4.ts`, tables of values included: results are those of its dequantised matrix. A gradient
 * goes to x alone. Through ATen on any device; a loop of its own on a CPU.
 */
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <memory>
#include <type_traits>

#include "core.h"

namespace millrace {
using torch::autograd::Node;
using torch::autograd::variable_list;

/** Weights of a block, and blocks of a scale. */
constexpr int64_t kBlock = 64, kNested = 256;

/** A matrix [O, I] in four bits, and the tables it is read by. */
struct Packed {
  at::Tensor codes;       // [O, I / 2] uint8, the first of two weights in the high half
  at::Tensor magnitudes;  // [blocks] uint8
  at::Tensor scales;      // [blocks / 256 and one more] f32, the last the mean
  at::Tensor pairs;       // [256, 2] f32: the two weights of a byte
  at::Tensor dynamic;     // [256] f32: the magnitude of a byte

  /** The matrix as `dtype`; each value is computed in f32, every product and sum rounded. */
  at::Tensor matrix(at::ScalarType dtype) const {
    const int64_t rows = codes.size(0), columns = 2 * codes.size(1), weights = rows * columns;
    const int64_t blocks = magnitudes.numel(), outer = scales.numel() - 1;
    at::Tensor largest = dynamic.index_select(0, magnitudes.to(at::kInt));
    largest.mul_(scales.narrow(0, 0, outer).repeat_interleave(kNested).narrow(0, 0, blocks));
    largest.add_(scales.select(0, outer));
    if (codes.is_cpu()) {
      at::Tensor out = at::empty({rows, columns}, pairs.options());
      const uint8_t* code = codes.const_data_ptr<uint8_t>();
      const float* pair = pairs.const_data_ptr<float>();
      const float* magnitude = largest.const_data_ptr<float>();
      float* value = out.data_ptr<float>();
      at::parallel_for(0, blocks, 256, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; block++) {
          const float m = magnitude[block];
          const int64_t last = std::min(weights, (block + 1) * kBlock);
          for (int64_t i = block * kBlock; i < last; i += 2) {
            const float* both = pair + 2 * code[i / 2];
            value[i] = both[0] * m;
            value[i + 1] = both[1] * m;
          }
        }
      });
      return out.to(dtype);
    }
    at::Tensor out = pairs.index_select(0, codes.reshape({-1}).to(at::kInt));
    if (weights % kBlock == 0) out.view({blocks, kBlock}).mul_(largest.unsqueeze(1));
    else out.view({-1}).mul_(largest.repeat_interleave(kBlock).narrow(0, 0, weights));
    return out.to(dtype).view({rows, columns});
  }
};

template <typename T>
static auto make_node() {
  // libtorch 2.13 counts references of nodes itself; before, shared pointers did.
  if constexpr (std::is_same_v<decltype(torch::autograd::Edge::function), std::shared_ptr<Node>>) return std::make_shared<T>();
  else return c10::make_intrusive<T>();
}

struct PackedLinear final : Node {
  Packed packed;

  variable_list apply(variable_list&& above) override {
    at::NoGradGuard none;
    if (!above[0].defined()) return {at::Tensor()};
    return {above[0].matmul(packed.matrix(above[0].scalar_type()))};
  }
  void release_variables() override { packed = Packed(); }
  std::string name() const override { return "millrace::PackedLinear"; }
};

static Register nf4{
    // x, codes, magnitudes, scales, pairs, dynamic, whether there is a bias, the bias -> x W^T + b
    {"nf4Linear",
     [](Reader& reader, Writer& writer) {
       const at::Tensor x = reader.tensor();
       Packed packed;
       packed.codes = reader.tensor();
       packed.magnitudes = reader.tensor();
       packed.scales = reader.tensor();
       packed.pairs = reader.tensor();
       packed.dynamic = reader.tensor();
       const at::Tensor bias = reader.flag() ? reader.tensor() : at::Tensor();
       TORCH_CHECK(!(bias.defined() && bias.requires_grad()), "the bias of a frozen matrix is frozen");
       at::Tensor y;
       {
         at::NoGradGuard none;
         y = at::linear(x, packed.matrix(x.scalar_type()), bias);
       }
       if (at::GradMode::is_enabled() && x.requires_grad()) {
         auto node = make_node<PackedLinear>();
         node->packed = packed;
         node->set_next_edges(torch::autograd::collect_next_edges(x));
         torch::autograd::set_history(y, node);
       }
       writer.tensor(std::move(y));
     }},
};

}  // namespace millrace
