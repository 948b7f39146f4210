/**
 * The few computations that ATen has no operator for, with their gradients: results with known gradients, rotary
 * embeddings, dropout masks.
 *
 * Not layers: what they are made into is in `src/tensor/torch/Regions.ts`.
 */
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <array>
#include <memory>
#include <mutex>
#include <type_traits>

#include "core.h"

namespace millrace {
using torch::autograd::Node;
using torch::autograd::variable_list;

/** A node of the tape. libtorch 2.13 counts their references itself; before, shared pointers did. */
template <typename T>
static auto make_node() {
  if constexpr (std::is_same_v<decltype(torch::autograd::Edge::function), std::shared_ptr<Node>>) return std::make_shared<T>();
  else return c10::make_intrusive<T>();
}

/** Gradients that were known when the value was: of a scalar, one for each input, scaled on the way back. Used once. */
struct Known final : Node {
  std::vector<at::Tensor> gradients;

  variable_list apply(variable_list&& above) override {
    at::NoGradGuard none;
    const at::Tensor& scale = above[0];
    variable_list results(gradients.size());
    for (size_t i = 0; i < gradients.size(); i++) {
      if (!gradients[i].defined() || !scale.defined()) continue;
      // On a CPU a look at the scale is free, and it is nearly always one.
      if (!(scale.is_cpu() && scale.item<double>() == 1)) gradients[i].mul_(scale);
      results[i] = std::move(gradients[i]);
    }
    return results;
  }
  void release_variables() override { gradients.clear(); }
  std::string name() const override { return "millrace::Known"; }
};

/**
 * The first `2 * half` numbers of each head turned by the angles, the others as they are.
 * `x` [B, T, heads * hd], `table` [positions, 2 * half] cosines then sines, f32; `rows` [B * T] int64.
 */
static at::Tensor turn(const at::Tensor& x, const at::Tensor& table, const at::Tensor& rows, int64_t heads, bool back) {
  const at::Tensor from = x.contiguous();
  at::Tensor into = at::empty_like(from);
  const int64_t tokens = rows.numel(), width = from.size(-1), hd = width / heads, half = table.size(1) / 2;
  if (from.is_cpu() && from.scalar_type() == at::kFloat) {
    const float* source = from.data_ptr<float>();
    const float* angles = table.data_ptr<float>();
    const int64_t* row = rows.data_ptr<int64_t>();
    float* target = into.data_ptr<float>();
    const float sign = back ? -1.f : 1.f;
    at::parallel_for(0, tokens, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        TORCH_CHECK(row[t] >= 0 && row[t] < table.size(0), "position ", row[t], " is past the table's ", table.size(0));
        const float* cosines = angles + row[t] * 2 * half;
        const float* sines = cosines + half;
        for (int64_t head = 0; head < heads; head++) {
          const float* a = source + t * width + head * hd;
          float* b = target + t * width + head * hd;
          for (int64_t i = 0; i < half; i++) {
            b[i] = a[i] * cosines[i] - sign * a[half + i] * sines[i];
            b[half + i] = a[half + i] * cosines[i] + sign * a[i] * sines[i];
          }
          for (int64_t i = 2 * half; i < hd; i++) b[i] = a[i];
        }
      }
    });
    return into;
  }
  const at::Tensor angles = table.index_select(0, rows).view({tokens, 1, 2 * half});
  const at::Tensor cosines = angles.narrow(-1, 0, half), sines = angles.narrow(-1, half, half);
  const at::Tensor a = from.view({tokens, heads, hd});
  at::Tensor b = into.view({tokens, heads, hd});
  const auto first = [&](const at::Tensor& all) { return all.narrow(-1, 0, half); };
  const auto second = [&](const at::Tensor& all) { return all.narrow(-1, half, half); };
  at::Tensor b1 = first(b), b2 = second(b);
  // Products in f32, rounded once where x is narrower.
  const double sign = back ? -1 : 1;
  b1.copy_((first(a) * cosines).addcmul_(second(a).to(at::kFloat), sines, -sign));
  b2.copy_((second(a) * cosines).addcmul_(first(a).to(at::kFloat), sines, sign));
  if (hd > 2 * half) b.narrow(-1, 2 * half, hd - 2 * half).copy_(a.narrow(-1, 2 * half, hd - 2 * half));
  return into;
}

struct Turned final : Node {
  at::Tensor table, rows;
  int64_t heads = 1;

  variable_list apply(variable_list&& above) override {
    at::NoGradGuard none;
    if (!above[0].defined()) return {at::Tensor()};
    return {turn(above[0], table, rows, heads, true)};
  }
  void release_variables() override {
    table.reset();
    rows.reset();
  }
  std::string name() const override { return "millrace::Turned"; }
};

/** Philox4x32-10: a counter and a 64-bit key to four words, as `src/tensor/Random.ts` computes it. */
static std::array<uint32_t, 4> philox(uint64_t counter, uint32_t key0, uint32_t key1) {
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  for (int round = 0; round < 10; round++) {
    const uint64_t a = 0xd2511f53ull * c[0], b = 0xcd9e8d57ull * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1,
         static_cast<uint32_t>(a)};
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
  return c;
}

static Register fused{
    // scalar, how many, inputs, how many, for each: a flag and its gradient -> the scalar, whose gradients are those
    {"known",
     [](Reader& reader, Writer& writer) {
       at::Tensor value = reader.tensor().detach();
       variable_list inputs;
       for (int64_t n = reader.integer(); n > 0; n--) inputs.push_back(reader.tensor());
       auto node = make_node<Known>();
       for (int64_t n = reader.integer(); n > 0; n--) node->gradients.push_back(reader.flag() ? reader.tensor() : at::Tensor());
       TORCH_CHECK(inputs.size() == node->gradients.size(), "one gradient an input");
       node->set_next_edges(torch::autograd::collect_next_edges(inputs));
       torch::autograd::set_history(value, node);
       writer.tensor(std::move(value));
     }},
    // x, table, rows, heads -> x turned
    {"rotary",
     [](Reader& reader, Writer& writer) {
       const at::Tensor x = reader.tensor();
       const at::Tensor table = reader.tensor();
       const at::Tensor rows = reader.tensor();
       const int64_t heads = reader.integer();
       at::Tensor turned;
       {
         at::NoGradGuard none;
         turned = turn(x, table, rows, heads, false);
       }
       if (at::GradMode::is_enabled() && x.requires_grad()) {
         auto node = make_node<Turned>();
         node->table = table;
         node->rows = rows;
         node->heads = heads;
         node->set_next_edges(torch::autograd::collect_next_edges(x));
         torch::autograd::set_history(turned, node);
       }
       writer.tensor(std::move(turned));
     }},
    // columns, least 24-bit number that is kept, rows, for each row the halves of its key -> bool [rows, columns]
    {"dropoutMask",
     [](Reader& reader, Writer& writer) {
       const int64_t columns = reader.integer();
       const auto least = static_cast<uint32_t>(reader.number());
       const int64_t rows = reader.integer();
       at::Tensor mask = at::empty({rows, columns}, at::TensorOptions().dtype(at::kBool).device(reader.state.device));
       for (int64_t row = 0; row < rows; row++) {
         const auto low = static_cast<uint32_t>(reader.number());
         const auto high = static_cast<uint32_t>(reader.number());
         if (!mask.is_cpu()) {
           // The device's own generator, seeded for each row: the same on the same kind of device.
           at::Generator generator = at::globalContext().defaultGenerator(mask.device());
           const std::lock_guard<std::mutex> lock(generator.mutex());
           generator.set_current_seed(static_cast<uint64_t>(high) << 32 | low);
           mask[row].bernoulli_(1 - least / 16777216.0, generator);
           continue;
         }
         bool* kept = mask.data_ptr<bool>() + row * columns;
         at::parallel_for(0, (columns + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
           for (int64_t block = begin; block < end; block++) {
             const auto words = philox(static_cast<uint64_t>(block), low, high);
             const int64_t lanes = std::min<int64_t>(4, columns - 4 * block);
             for (int64_t lane = 0; lane < lanes; lane++) kept[4 * block + lane] = (words[lane] >> 8) >= least;
           }
         });
       }
       writer.tensor(std::move(mask));
     }},
};

}  // namespace millrace
