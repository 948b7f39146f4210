/**
 * Which device computes, waiting for it, and what is held there.
 *
 * Through generic c10 entry points only: a GPU needs no CUDA header and no nvcc.
 */
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <unordered_set>

#include "core.h"

namespace millrace {

/** Counts the bytes that libtorch has allocated, activations and scratch included. Passed on to the threads of a backward pass. */
struct Watch final : c10::MemoryReportingInfoBase {
  c10::DeviceType device;
  std::atomic<int64_t> now{0}, peak{0};

  explicit Watch(c10::DeviceType device) : device(device) {}
  void reportMemoryUsage(void*, int64_t, size_t total, size_t, c10::Device where) override {
    if (where.type() != device) return;
    now = static_cast<int64_t>(total);
    if (now > peak) peak = now.load();
  }
  bool memoryProfilingEnabled() const override { return true; }
};
static thread_local std::shared_ptr<Watch> watch;

static Register device{
    // -> CUDA devices that can be used
    {"cudaDevices",
     [](Reader&, Writer& writer) {
       writer.number(at::hasCUDA() ? c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount() : 0);
     }},
    // number of the CUDA device that computes from now on; -1 for the CPU. Flag: operators take their deterministic ways,
    // and those that have none say so on standard error
    {"useDevice",
     [](Reader& reader, Writer&) {
       const int64_t index = reader.integer();
       at::globalContext().setDeterministicAlgorithms(reader.flag(), true);
       auto& device = reader.state.device;
       device = index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
       if (index >= 0) c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);
       if (watch) c10::ThreadLocalDebugInfo::_pop(c10::DebugInfoKind::PROFILER_STATE);
       watch = std::make_shared<Watch>(device.type());
       c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, watch);
     }},
    // threads of one operator
    {"useThreads", [](Reader& reader, Writer&) { at::set_num_threads(static_cast<int>(reader.integer())); }},
    {"threads", [](Reader&, Writer& writer) { writer.number(at::get_num_threads()); }},
    // -> bytes allocated now, the most there were since the last call
    {"allocated",
     [](Reader&, Writer& writer) {
       writer.number(watch ? static_cast<double>(watch->now) : 0);
       writer.number(watch ? static_cast<double>(watch->peak) : 0);
       if (watch) watch->peak = watch->now.load();
     }},
    {"synchronize",
     [](Reader& reader, Writer&) {
       const auto& device = reader.state.device;
       if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
     }},
    // count, handles
    {"free",
     [](Reader& reader, Writer&) {
       for (int64_t n = reader.integer(); n > 0; n--) reader.state.drop(reader.number());
     }},
    // -> tensors that have a handle, bytes of their storages, each storage once
    {"held",
     [](Reader& reader, Writer& writer) {
       std::unordered_set<const void*> seen;
       double bytes = 0;
       for (const auto& slot : reader.state.slots) {
         if (!slot.tensor.defined() || !slot.tensor.has_storage()) continue;
         const auto* storage = slot.tensor.storage().unsafeGetStorageImpl();
         if (!seen.insert(storage).second) continue;
         bytes += static_cast<double>(slot.tensor.storage().nbytes());
       }
       writer.number(static_cast<double>(reader.state.alive));
       writer.number(bytes);
     }},
};

}  // namespace millrace
