/**
 * The addon's entry: calls, values in and out, errors.
 *
 * Not operations: those are in `aten.cc` (by name), `grad.cc` and `device.cc`.
 */
#include <c10/util/Exception.h>

#include <cstring>
#include <memory>

#include "core.h"

namespace millrace {

std::vector<Operation>& operations() {
  static std::vector<Operation> all;
  return all;
}

static void raise(napi_env env, const char* code, const char* message) { napi_throw_error(env, code, message); }

static bool tells_of_memory(const std::string& message) {
  return message.find("out of memory") != std::string::npos || message.find("can't allocate memory") != std::string::npos ||
         message.find("not enough memory") != std::string::npos;
}

void throw_to_javascript(napi_env env) {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    raise(env, "ERR_TORCH_OUT_OF_MEMORY", error.what_without_backtrace());
  } catch (const c10::DistError& error) {
    raise(env, "ERR_TORCH_DISTRIBUTED", error.what_without_backtrace());
  } catch (const c10::NotImplementedError& error) {
    raise(env, "ERR_TORCH_NOT_IMPLEMENTED", error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    const bool lost = message.find("CUDA error") != std::string::npos;
    raise(env, tells_of_memory(message) ? "ERR_TORCH_OUT_OF_MEMORY" : lost ? "ERR_TORCH_DEVICE" : "ERR_TORCH", message.c_str());
  } catch (const std::bad_alloc&) {
    raise(env, "ERR_TORCH_OUT_OF_MEMORY", "the system has no memory left");
  } catch (const std::exception& error) {
    raise(env, "ERR_TORCH", error.what());
  } catch (...) {
    raise(env, "ERR_TORCH", "an exception that is no std::exception");
  }
}

/** call(operation): everything else travels in the scratch array. */
static napi_value Call(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value given[1];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  State& state = *static_cast<State*>(data);
  uint32_t operation = 0;
  napi_get_value_uint32(env, given[0], &operation);
  try {
    TORCH_CHECK(operation < operations().size(), "there is no operation ", operation);
    Reader reader{state};
    Writer writer{state};
    operations()[operation].run(reader, writer);
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** A typed array that JavaScript gave. uint16 carries bfloat16's bits. */
struct Values {
  napi_typedarray_type type;
  size_t length = 0;
  void* bytes = nullptr;

  Values(napi_env env, napi_value value) {
    napi_value buffer;
    size_t offset;
    const auto status = napi_get_typedarray_info(env, value, &type, &length, &bytes, &buffer, &offset);
    TORCH_CHECK(status == napi_ok, "expected a typed array");
  }
  at::ScalarType dtype() const {
    switch (type) {
      case napi_float32_array: return at::kFloat;
      case napi_int32_array: return at::kInt;
      case napi_uint8_array: return at::kByte;
      case napi_float64_array: return at::kDouble;
      case napi_uint16_array: return at::kBFloat16;
      default: TORCH_CHECK(false, "typed arrays of this kind are not taken");
    }
  }
};

/** upload(values, dtype): a copy on the device, as dtype; the sizes are in the scratch array. */
static napi_value Upload(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value given[2];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  State& state = *static_cast<State*>(data);
  try {
    const Values values(env, given[0]);
    int32_t dtype = 0;
    napi_get_value_int32(env, given[1], &dtype);
    Reader reader{state};
    const auto sizes = reader.integers();
    int64_t wanted = 1;
    for (int64_t size : sizes) wanted *= size;
    TORCH_CHECK(wanted == static_cast<int64_t>(values.length), "the sizes are of ", wanted, " values, there are ", values.length);
    // A scalar stays here: operators take it beside tensors of any device, and nobody waits for a copy. Anything else
    // goes by pinned memory, which the allocator keeps until the copy is through.
    const bool stays = state.device.is_cpu() || sizes.empty();
    at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)).pinned_memory(!stays));
    // Converted on the way: a copy between would leave holes in the heap that the next tensor does not fit into.
    if (values.length > 0) tensor.copy_(at::from_blob(values.bytes, sizes, at::TensorOptions().dtype(values.dtype())));
    Writer writer{state};
    writer.tensor(stays ? tensor : tensor.to(at::TensorOptions().device(state.device), true));
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** read(into, handle): values as the array's type, now. */
static napi_value Read(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value given[2];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  State& state = *static_cast<State*>(data);
  try {
    const Values into(env, given[0]);
    double handle = 0;
    napi_get_value_double(env, given[1], &handle);
    at::NoGradGuard none;
    const at::Tensor from = state.get(handle).detach();
    TORCH_CHECK(from.numel() == static_cast<int64_t>(into.length), "the tensor has ", from.numel(), " values, the array ", into.length);
    at::from_blob(into.bytes, from.sizes(), at::TensorOptions().dtype(into.dtype())).copy_(from);
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** One read under way. The array is JavaScript's and is kept alive by `array`. */
struct Reading {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref array;
  at::Tensor from;
  at::ScalarType dtype;
  void* into;
  std::string error;
};

static void read_in_pool(napi_env, void* data) {
  auto& reading = *static_cast<Reading*>(data);
  try {
    at::NoGradGuard none;
    at::from_blob(reading.into, reading.from.sizes(), at::TensorOptions().dtype(reading.dtype)).copy_(reading.from);
  } catch (const std::exception& error) {
    reading.error = error.what();
  }
}

static void end_reading(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Reading> reading(static_cast<Reading*>(data));
  napi_value value;
  if (reading->error.empty()) {
    napi_get_reference_value(env, reading->array, &value);
    napi_resolve_deferred(env, reading->deferred, value);
  } else {
    napi_value code, message;
    const char* what = tells_of_memory(reading->error) ? "ERR_TORCH_OUT_OF_MEMORY" : "ERR_TORCH";
    napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &code);
    napi_create_string_utf8(env, reading->error.c_str(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, code, message, &value);
    napi_reject_deferred(env, reading->deferred, value);
  }
  napi_delete_reference(env, reading->array);
  napi_delete_async_work(env, reading->work);
}

/** readLater(into, handle): a promise of the array; waiting for the device and copying happen in libuv's pool. */
static napi_value ReadLater(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value given[2];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  State& state = *static_cast<State*>(data);
  napi_value promise = nullptr;
  try {
    const Values into(env, given[0]);
    double handle = 0;
    napi_get_value_double(env, given[1], &handle);
    auto reading = std::make_unique<Reading>();
    reading->from = state.get(handle).detach();
    reading->dtype = into.dtype();
    reading->into = into.bytes;
    TORCH_CHECK(reading->from.numel() == static_cast<int64_t>(into.length), "the tensor has ", reading->from.numel(),
                " values, the array ", into.length);
    napi_create_reference(env, given[0], 1, &reading->array);
    napi_create_promise(env, &reading->deferred, &promise);
    napi_value name;
    napi_create_string_utf8(env, "millrace.torch.read", NAPI_AUTO_LENGTH, &name);
    napi_create_async_work(env, nullptr, name, read_in_pool, end_reading, reading.get(), &reading->work);
    napi_queue_async_work(env, reading.release()->work);
  } catch (...) {
    throw_to_javascript(env);
  }
  return promise;
}

/** attach(scratch): the names of all operations, by number. */
static napi_value Attach(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value given[1];
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  State& state = *static_cast<State*>(data);
  napi_value names = nullptr;
  try {
    const Values scratch(env, given[0]);
    TORCH_CHECK(scratch.type == napi_float64_array, "the scratch array is a Float64Array");
    state.scratch = static_cast<double*>(scratch.bytes);
    state.scratch_length = scratch.length;
    napi_create_reference(env, given[0], 1, &state.scratch_ref);
    napi_create_array_with_length(env, operations().size(), &names);
    for (size_t i = 0; i < operations().size(); i++) {
      napi_value name;
      napi_create_string_utf8(env, operations()[i].name, NAPI_AUTO_LENGTH, &name);
      napi_set_element(env, names, static_cast<uint32_t>(i), name);
    }
  } catch (...) {
    throw_to_javascript(env);
  }
  return names;
}

}  // namespace millrace

extern "C" NAPI_MODULE_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  using namespace millrace;
  at::GradMode::set_enabled(false);  // of this thread
  auto* state = new State();
  napi_set_instance_data(env, state, [](napi_env, void* data, void*) { delete static_cast<State*>(data); }, nullptr);
  const auto define = [&](const char* name, napi_callback function) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, state, &value);
    napi_set_named_property(env, exports, name, value);
  };
  define("attach", Attach);
  define("call", Call);
  define("upload", Upload);
  define("read", Read);
  define("readLater", ReadLater);
  napi_value version;
  napi_create_string_utf8(env, TORCH_VERSION, NAPI_AUTO_LENGTH, &version);
  napi_set_named_property(env, exports, "torchVersion", version);
  export_aten(env, exports, state);
  export_dist(env, exports, state);
  return exports;
}
