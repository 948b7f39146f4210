/**
 * Waiting for the device, and what is held there.
 *
 * Through generic c10 entry points only: one GPU will need no CUDA header and no nvcc.
 */
#include <c10/core/impl/VirtualGuardImpl.h>

#include <unordered_set>

#include "core.h"

namespace millrace {

static Register device{
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
