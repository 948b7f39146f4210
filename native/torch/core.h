/**
 * What all parts of the addon share: the tensors of one thread, and how arguments and results travel.
 *
 * Not a tensor library: operations are ATen's, found by name (`aten.cc`). One `State` a Node environment, that is a
 * thread; tensors do not cross threads.
 *
 * Calls: JavaScript writes arguments into a Float64Array that both sides see, calls `call(operation)`, and reads results
 * from the same array. A tensor is a number: the index of its slot and, above it, how often the slot was used before, so
 * that a handle that was freed is an error and never another tensor. Results of a tensor: dtype, rank, sizes, handle.
 */
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/version.h>
#define NAPI_VERSION 8
#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

#if TORCH_VERSION_MAJOR < 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 4)
#error "millrace needs libtorch 2.4 or newer"
#endif

namespace millrace {

/** Handles are index + generation * 2^32; generations go round at 2^20, so that a double holds both. */
constexpr double kGeneration = 4294967296.0;
constexpr uint32_t kGenerations = 1u << 20;

struct Slot {
  at::Tensor tensor;
  uint32_t generation = 0;
};

struct State {
  std::vector<Slot> slots;
  std::vector<uint32_t> unused;
  /** Shared with JavaScript. */
  double* scratch = nullptr;
  size_t scratch_length = 0;
  napi_ref scratch_ref = nullptr;
  int64_t alive = 0;
  at::Device device = at::Device(at::kCPU);

  double put(at::Tensor tensor) {
    alive++;
    uint32_t index;
    if (unused.empty()) {
      index = static_cast<uint32_t>(slots.size());
      slots.emplace_back();
    } else {
      index = unused.back();
      unused.pop_back();
    }
    slots[index].tensor = std::move(tensor);
    return index + slots[index].generation * kGeneration;
  }

  /** The slot of a handle, or null when it was freed or never given out. */
  Slot* find(double handle) {
    if (!(handle >= 0)) return nullptr;
    const auto generation = static_cast<uint32_t>(handle / kGeneration);
    const auto index = static_cast<size_t>(handle - generation * kGeneration);
    if (index >= slots.size() || slots[index].generation != generation || !slots[index].tensor.defined()) return nullptr;
    return &slots[index];
  }

  const at::Tensor& get(double handle) {
    Slot* slot = find(handle);
    TORCH_CHECK(slot != nullptr, "the tensor was freed before");
    return slot->tensor;
  }

  /** Frees a tensor; freeing twice is harmless. */
  void drop(double handle) {
    Slot* slot = find(handle);
    if (slot == nullptr) return;
    slot->tensor.reset();
    slot->generation = (slot->generation + 1) % kGenerations;
    unused.push_back(static_cast<uint32_t>(slot - slots.data()));
    alive--;
  }
};

/** Reads the arguments of a call, in order. */
struct Reader {
  State& state;
  size_t at = 0;

  double number() {
    TORCH_CHECK(at < state.scratch_length, "a call has more arguments than the scratch array holds");
    return state.scratch[at++];
  }
  int64_t integer() { return static_cast<int64_t>(number()); }
  bool flag() { return number() != 0; }
  const at::Tensor& tensor() { return state.get(number()); }
  std::vector<int64_t> integers() {
    std::vector<int64_t> all;
    for (int64_t n = integer(); n > 0; n--) all.push_back(integer());
    return all;
  }
};

/** Writes results back, from the start of the array. */
struct Writer {
  State& state;
  size_t at = 0;

  void number(double value) {
    TORCH_CHECK(at < state.scratch_length, "a call has more results than the scratch array holds");
    state.scratch[at++] = value;
  }
  void tensor(at::Tensor value) {
    number(static_cast<double>(static_cast<int>(value.scalar_type())));
    number(static_cast<double>(value.dim()));
    for (int64_t size : value.sizes()) number(static_cast<double>(size));
    number(state.put(std::move(value)));
  }
  /** Where an operation gives no tensor: rank -1. */
  void nothing() {
    number(0);
    number(-1);
    number(-1);
  }
};

using Run = void (*)(Reader&, Writer&);
struct Operation {
  const char* name;
  Run run;
};

/** All operations that are not ATen's own; their numbers are their places. */
std::vector<Operation>& operations();

/** Adds operations when the addon is loaded. */
struct Register {
  Register(std::initializer_list<Operation> some) { operations().insert(operations().end(), some.begin(), some.end()); }
};

/** A JavaScript string. */
std::string text_of(napi_env env, napi_value value);

/** Inside of a catch: the exception as a JavaScript error with a code. */
void throw_to_javascript(napi_env env);

/** Exports of the other files. */
void export_aten(napi_env env, napi_value exports, State* state);
void export_dist(napi_env env, napi_value exports, State* state);

}  // namespace millrace
