/**
 * Where tensors are, how many threads compute, and what is held.
 *
 * Through generic c10 and ATen entry points only: one GPU needs no CUDA header and no nvcc.
 */
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <unordered_set>

#include "core.h"

namespace millrace {

static Register device{
    // -> CUDA devices that there are
    {"cudaDevices",
     [](Reader&, Writer& writer) {
       writer.number(at::globalContext().hasCUDA() ? c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount() : 0);
     }},
    // index of a CUDA device, or -1 for the CPU: where new tensors go
    {"useDevice",
     [](Reader& reader, Writer&) {
       const int64_t index = reader.integer();
       reader.state.device = index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
     }},
    {"synchronize",
     [](Reader& reader, Writer&) {
       const auto& device = reader.state.device;
       if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
     }},
    // threads to use, or 0 to ask -> threads in use
    {"threads",
     [](Reader& reader, Writer& writer) {
       const int64_t count = reader.integer();
       if (count > 0) at::set_num_threads(static_cast<int>(count));
       writer.number(at::get_num_threads());
     }},
    // flag: sums in the same order every time, or an error where an operator cannot
    {"deterministic", [](Reader& reader, Writer&) { at::globalContext().setDeterministicAlgorithms(reader.flag(), false); }},
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
