/**
 * Collectives of several processes through c10d: a TCPStore to meet at, then Gloo (CPU) or NCCL (CUDA).
 *
 * Not the assignment of work and not failure's words: those are JavaScript's. A group is this process's place among the
 * ranks. What is started here is waited for without blocking the thread: a promise is settled when the work's future is.
 *
 * A sink collects gradients of weights into flat buckets while a backward pass runs: each weight's gradient is added to its
 * place in a bucket as soon as libtorch has it, and is forgotten. In a pass that is the last of a step, a bucket whose
 * weights are all there is reduced at once, in the order of buckets on every rank, while the backward goes on.
 */
#define USE_C10D_GLOO
#ifdef MILLRACE_NCCL
#define USE_C10D_NCCL
#endif
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef MILLRACE_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "core.h"

namespace millrace {
using WorkPtr = c10::intrusive_ptr<c10d::Work>;
using std::chrono::milliseconds;

struct Group {
  /** Where the processes met, for as many groups as they make; and this group's part of it. */
  c10::intrusive_ptr<c10d::Store> meeting;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> backend;
  int rank = 0;
  int world = 1;
  milliseconds timeout{0};
  bool scatters = false;

  /** The part of a flat tensor that belongs to this rank. */
  at::Tensor mine(const at::Tensor& flat) const {
    const int64_t size = flat.numel() / world;
    return flat.narrow(0, size * rank, size);
  }

  WorkPtr sum(const at::Tensor& tensor, milliseconds limit) const {
    std::vector<at::Tensor> tensors{tensor};
    c10d::AllreduceOptions options;
    options.timeout = limit;
    return backend->allreduce(tensors, options);
  }
  /** Afterwards this rank's part is the sum over ranks; the rest is undefined. Gloo has no cheaper way than all of it. */
  WorkPtr sum_scattered(const at::Tensor& flat, milliseconds limit) const {
    if (!scatters) return sum(flat, limit);
    at::Tensor part = mine(flat);
    at::Tensor whole = flat;
    c10d::ReduceScatterOptions options;
    options.timeout = limit;
    return backend->_reduce_scatter_base(part, whole, options);
  }
  WorkPtr gather(const at::Tensor& flat, milliseconds limit) const {
    at::Tensor part = mine(flat);
    at::Tensor whole = flat;
    c10d::AllgatherOptions options;
    options.timeout = limit;
    return backend->_allgather_base(whole, part, options);
  }
  WorkPtr broadcast(const at::Tensor& tensor, int root, milliseconds limit) const {
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    options.timeout = limit;
    return backend->broadcast(tensors, options);
  }
};

struct Bucket {
  at::Tensor flat;
  int64_t members = 0;
  int64_t missing = 0;
  WorkPtr work;
};

struct Sink {
  std::shared_ptr<Group> group;
  milliseconds limit{0};
  std::vector<Bucket> buckets;
  /** Of each weight: its bucket, its place there in its shape, and whether its gradient came in this pass. */
  struct Member {
    size_t bucket;
    at::Tensor into;
    bool seen = false;
  };
  std::vector<Member> members;
  bool on = false;
  bool last = false;
  size_t next = 0;
  int64_t late = 0;

  void begin(bool is_last) {
    for (auto& bucket : buckets) {
      bucket.missing = bucket.members;
      bucket.work.reset();
    }
    for (auto& member : members) member.seen = false;
    on = true;
    last = is_last;
    next = 0;
    late = 0;
  }
  void start_ready(bool all) {
    while (next < buckets.size() && (all || buckets[next].missing == 0)) {
      auto& bucket = buckets[next++];
      bucket.work = group->sum_scattered(bucket.flat, limit);
    }
  }
  void end() {
    if (on && last) start_ready(true);
    on = false;
  }
  void take(size_t index, const at::Tensor& weight) {
    if (!on || !weight.grad().defined()) return;
    auto& member = members[index];
    auto& bucket = buckets[member.bucket];
    if (bucket.work) {  // on its way: what comes now would be lost
      late++;
      return;
    }
    const at::NoGradGuard none;
    member.into.add_(weight.grad());
    weight.mutable_grad().reset();
    if (member.seen) return;
    member.seen = true;
    if (--bucket.missing == 0 && last) start_ready(false);
  }
};

struct Taking : torch::autograd::PostAccumulateGradHook {
  std::shared_ptr<Sink> sink;
  size_t index;
  Taking(std::shared_ptr<Sink> sink, size_t index) : sink(std::move(sink)), index(index) {}
  void operator()(const at::Tensor& weight) override { sink->take(index, weight); }
};

// Of the process, and never torn down: threads of c10d may outlive the thread that asked, up to the end of the process.
static std::mutex guard;
static auto& groups = *new std::map<int64_t, std::shared_ptr<Group>>();
static auto& sinks = *new std::map<int64_t, std::shared_ptr<Sink>>();
static auto& abandoned = *new std::vector<std::shared_ptr<Group>>();
static int64_t numbered = 0;

static std::shared_ptr<Group> group_of(int64_t number) {
  const std::lock_guard<std::mutex> lock(guard);
  const auto found = groups.find(number);
  TORCH_CHECK(found != groups.end(), "there is no group ", number, " of processes, or it was left");
  return found->second;
}

static std::shared_ptr<Sink> sink_of(int64_t number) {
  const std::lock_guard<std::mutex> lock(guard);
  const auto found = sinks.find(number);
  TORCH_CHECK(found != sinks.end(), "there is no sink ", number);
  return found->second;
}

static milliseconds limit_of(Reader& reader) { return milliseconds(reader.integer()); }

static Register dist{
    // group, limit, count, buckets' flat tensors, count, (weight, bucket, place) -> sink
    {"sinkNew",
     [](Reader& reader, Writer& writer) {
       auto sink = std::make_shared<Sink>();
       sink->group = group_of(reader.integer());
       sink->limit = limit_of(reader);
       for (int64_t n = reader.integer(); n > 0; n--) sink->buckets.push_back({reader.tensor()});
       for (int64_t n = reader.integer(); n > 0; n--) {
         const at::Tensor weight = reader.tensor();
         const auto bucket = static_cast<size_t>(reader.integer());
         const int64_t place = reader.integer();
         TORCH_CHECK(bucket < sink->buckets.size(), "there is no bucket ", bucket);
         sink->buckets[bucket].members++;
         sink->members.push_back({bucket, sink->buckets[bucket].flat.narrow(0, place, weight.numel()).view(weight.sizes())});
         torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<Taking>(sink, sink->members.size() - 1));
       }
       const std::lock_guard<std::mutex> lock(guard);
       sinks[++numbered] = sink;
       writer.number(static_cast<double>(numbered));
     }},
    // sink, whether the pass that comes is the last before the sums are needed
    {"sinkBegin",
     [](Reader& reader, Writer&) {
       auto sink = sink_of(reader.integer());
       sink->begin(reader.flag());
     }},
    // sink -> gradients that came after their bucket had left
    {"sinkEnd",
     [](Reader& reader, Writer& writer) {
       auto sink = sink_of(reader.integer());
       sink->end();
       writer.number(static_cast<double>(sink->late));
     }},
    {"sinkFree",
     [](Reader& reader, Writer&) {
       const std::lock_guard<std::mutex> lock(guard);
       const auto found = sinks.find(reader.integer());
       if (found == sinks.end()) return;
       // The weights' hooks still hold it.
       found->second->on = false;
       found->second->group.reset();
       found->second->members.clear();
       found->second->buckets.clear();
       sinks.erase(found);
     }},
    // whether this thread's device is reduced over by NCCL
    {"overNccl", [](Reader& reader, Writer& writer) { writer.number(reader.state.device.is_cuda() ? 1 : 0); }},
    // group, whether something may still be under way in it
    {"leave",
     [](Reader& reader, Writer&) {
       std::shared_ptr<Group> group;
       {
         const std::lock_guard<std::mutex> lock(guard);
         const auto found = groups.find(reader.integer());
         if (found == groups.end()) return;
         group = found->second;
         groups.erase(found);
         // Its threads wait for peers that are gone: nobody waits for them.
         if (reader.flag()) abandoned.push_back(group);
       }
     }},
};

static void* data_of(napi_env env, napi_callback_info info, size_t count, napi_value* given) {
  void* data;
  napi_get_cb_info(env, info, &count, given, nullptr, &data);
  return data;
}

static int64_t integer_of(napi_env env, napi_value value) {
  int64_t number = 0;
  napi_get_value_int64(env, value, &number);
  return number;
}

static double number_of(napi_env env, napi_value value) {
  double number = 0;
  napi_get_value_double(env, value, &number);
  return number;
}

/** What a collective ended with, as the error that JavaScript gets. */
static napi_value distributed_error(napi_env env, const std::string& message) {
  napi_value code, text, error;
  napi_create_string_utf8(env, "ERR_TORCH_DISTRIBUTED", NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, message.c_str(), message.size(), &text);
  napi_create_error(env, code, text, &error);
  return error;
}

/** A work under way, and who waits for it. */
struct Waiting {
  WorkPtr work;
  napi_deferred deferred;
  napi_threadsafe_function wake;
  /** What the promise is of: numbers, or nothing. */
  at::Tensor numbers;
};

static napi_value array_of(napi_env env, const at::Tensor& numbers) {
  void* bytes;
  napi_value buffer, array;
  napi_create_arraybuffer(env, numbers.nbytes(), &bytes, &buffer);
  if (numbers.numel() > 0) std::memcpy(bytes, numbers.data_ptr(), numbers.nbytes());
  napi_create_typedarray(env, napi_float64_array, static_cast<size_t>(numbers.numel()), buffer, 0, &array);
  return array;
}

/** In the thread that waits: the work is over, or (without env) the thread is. */
static void settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Waiting> waiting(static_cast<Waiting*>(data));
  if (env == nullptr) return;
  try {
    waiting->work->wait();
    napi_value value;
    if (waiting->numbers.defined()) value = array_of(env, waiting->numbers);
    else napi_get_undefined(env, &value);
    napi_resolve_deferred(env, waiting->deferred, value);
  } catch (const c10::Error& error) {
    napi_reject_deferred(env, waiting->deferred, distributed_error(env, error.what_without_backtrace()));
  } catch (const std::exception& error) {
    napi_reject_deferred(env, waiting->deferred, distributed_error(env, error.what()));
  }
}

/** A promise that is settled when the work is over, with no thread waiting for it. */
static napi_value promise_of(napi_env env, WorkPtr work, at::Tensor numbers = {}) {
  napi_value promise, name;
  auto waiting = std::make_unique<Waiting>();
  waiting->work = work;
  waiting->numbers = std::move(numbers);
  napi_create_promise(env, &waiting->deferred, &promise);
  napi_create_string_utf8(env, "millrace.torch.collective", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settle, &waiting->wake);
  Waiting* held = waiting.release();
  work->getFuture()->addCallback([held](c10::ivalue::Future&) {
    const auto wake = held->wake;
    // Otherwise the thread that waits is ending: the call has released the function already, and nobody takes what is held.
    if (napi_call_threadsafe_function(wake, held, napi_tsfn_nonblocking) == napi_ok)
      napi_release_threadsafe_function(wake, napi_tsfn_release);
  });
  return promise;
}

/** collective(group, kind, handle, root, limit): a promise; the tensor is changed in place. */
static napi_value Collective(napi_env env, napi_callback_info info) {
  napi_value given[5];
  State& state = *static_cast<State*>(data_of(env, info, 5, given));
  try {
    const auto group = group_of(integer_of(env, given[0]));
    const std::string kind = text_of(env, given[1]);
    const at::Tensor tensor = state.get(number_of(env, given[2]));
    const milliseconds limit(integer_of(env, given[4]));
    const at::NoGradGuard none;
    if (kind == "sum") return promise_of(env, group->sum(tensor, limit));
    if (kind == "sumScattered") return promise_of(env, group->sum_scattered(tensor, limit));
    if (kind == "gather") return promise_of(env, group->gather(tensor, limit));
    if (kind == "broadcast")
      return promise_of(env, group->broadcast(tensor, static_cast<int>(integer_of(env, given[3])), limit));
    TORCH_CHECK(false, "there is no collective ", kind);
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** numbers(group, kind, Float64Array, limit): a promise of the numbers' sum over ranks, or of rank 0's. Never on a device. */
static napi_value Numbers(napi_env env, napi_callback_info info) {
  napi_value given[4];
  data_of(env, info, 4, given);
  try {
    const auto group = group_of(integer_of(env, given[0]));
    const std::string kind = text_of(env, given[1]);
    napi_typedarray_type type;
    size_t length;
    void* bytes;
    const auto status = napi_get_typedarray_info(env, given[2], &type, &length, &bytes, nullptr, nullptr);
    TORCH_CHECK(status == napi_ok && type == napi_float64_array, "numbers are a Float64Array");
    const at::Tensor tensor = at::empty({static_cast<int64_t>(length)}, at::kDouble);
    if (length > 0) std::memcpy(tensor.data_ptr(), bytes, tensor.nbytes());
    const milliseconds limit(integer_of(env, given[3]));
    const at::NoGradGuard none;
    return promise_of(env, kind == "sum" ? group->sum(tensor, limit) : group->broadcast(tensor, 0, limit), tensor);
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** sinkWait(sink, bucket): a promise of the bucket's sum. */
static napi_value SinkWait(napi_env env, napi_callback_info info) {
  napi_value given[2];
  data_of(env, info, 2, given);
  try {
    const auto sink = sink_of(integer_of(env, given[0]));
    const auto& bucket = sink->buckets.at(static_cast<size_t>(integer_of(env, given[1])));
    TORCH_CHECK(bucket.work, "the bucket is not on its way");
    return promise_of(env, bucket.work);
  } catch (...) {
    throw_to_javascript(env);
  }
  return nullptr;
}

/** One attempt to meet. */
struct Joining {
  napi_async_work work;
  napi_deferred deferred;
  /** `listen`: the numeric address at which this process opens the store; empty where another does. */
  std::string host, listen, prefix, kind, error;
  uint16_t port;
  bool waits;
  milliseconds meeting{0};
  std::shared_ptr<Group> group = std::make_shared<Group>();
  int64_t number = 0;
};

static bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

/** A socket bound to one address, for c10d's store, which by itself listens on all interfaces. The store closes it. */
static int bound_to(const std::string& address, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  const int wrong = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  TORCH_CHECK(wrong == 0, address, " is no numeric address: ", gai_strerror(wrong));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> held(found, freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM, 0);
  TORCH_CHECK(fd >= 0, "no socket for ", address, ": ", std::strerror(errno));
  const int on = 1;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    const int why = errno;
    ::close(fd);
    TORCH_CHECK(false, "cannot listen at ", address, ", port ", port, ": ", std::strerror(why));
  }
  return fd;
}

static void join_in_pool(napi_env, void* data) {
  auto& joining = *static_cast<Joining*>(data);
  auto& group = *joining.group;
  try {
    if (!group.meeting) {
      c10d::TCPStoreOptions options;
      options.port = joining.port;
      options.isServer = !joining.listen.empty();
      if (options.isServer) options.masterListenFd = bound_to(joining.listen, joining.port);
      if (joining.waits) options.numWorkers = static_cast<size_t>(group.world);
      options.waitWorkers = joining.waits;
      options.timeout = joining.meeting;
      group.meeting = c10::make_intrusive<c10d::TCPStore>(joining.host, options);
    }
    group.store = c10::make_intrusive<c10d::PrefixStore>(joining.prefix, group.meeting);
    if (joining.kind == "nccl") {
#ifdef MILLRACE_NCCL
      auto options = c10d::ProcessGroupNCCL::Options::create();
      options->timeout = group.timeout;
      group.backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(group.store, group.rank, group.world, options);
      group.scatters = true;
#else
      TORCH_CHECK(false, "the addon was built without NCCL, whose headers were not there");
#endif
    } else {
      auto options = c10d::ProcessGroupGloo::Options::create(group.timeout);
      const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
      options->devices.push_back(is_loopback(joining.host) ? c10d::ProcessGroupGloo::createDeviceForHostname(joining.host)
                                 : interface != nullptr    ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                                           : c10d::ProcessGroupGloo::createDefaultDevice());
      group.backend = c10::make_intrusive<c10d::ProcessGroupGloo>(group.store, group.rank, group.world, options);
    }
  } catch (const c10::Error& error) {
    joining.error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    joining.error = error.what();
  }
}

static void end_joining(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Joining> joining(static_cast<Joining*>(data));
  if (joining->error.empty()) {
    napi_value value;
    {
      const std::lock_guard<std::mutex> lock(guard);
      joining->number = ++numbered;
      groups[joining->number] = joining->group;
    }
    napi_create_int64(env, joining->number, &value);
    napi_resolve_deferred(env, joining->deferred, value);
  } else {
    napi_reject_deferred(env, joining->deferred, distributed_error(env, joining->error));
  }
  napi_delete_async_work(env, joining->work);
}

/**
 * join(host, port, listen, waits, prefix, kind, rank, world, meetingLimit, limit, beside): a promise of the group's number.
 * `beside` is a group that met already, whose meeting is used again, or 0.
 */
static napi_value Join(napi_env env, napi_callback_info info) {
  napi_value given[11];
  data_of(env, info, 11, given);
  napi_value promise, name;
  auto joining = std::make_unique<Joining>();
  try {
    const int64_t beside = integer_of(env, given[10]);
    if (beside != 0) joining->group->meeting = group_of(beside)->meeting;
  } catch (...) {
    throw_to_javascript(env);
    return nullptr;
  }
  joining->host = text_of(env, given[0]);
  joining->port = static_cast<uint16_t>(integer_of(env, given[1]));
  joining->listen = text_of(env, given[2]);
  napi_get_value_bool(env, given[3], &joining->waits);
  joining->prefix = text_of(env, given[4]);
  joining->kind = text_of(env, given[5]);
  joining->group->rank = static_cast<int>(integer_of(env, given[6]));
  joining->group->world = static_cast<int>(integer_of(env, given[7]));
  joining->meeting = milliseconds(integer_of(env, given[8]));
  joining->group->timeout = milliseconds(integer_of(env, given[9]));
  napi_create_promise(env, &joining->deferred, &promise);
  napi_create_string_utf8(env, "millrace.torch.join", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, join_in_pool, end_joining, joining.get(), &joining->work);
  napi_queue_async_work(env, joining.release()->work);
  return promise;
}

void export_dist(napi_env env, napi_value exports, State* state) {
  const auto define = [&](const char* name, napi_callback function) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, state, &value);
    napi_set_named_property(env, exports, name, value);
  };
  define("join", Join);
  define("collective", Collective);
  define("numbers", Numbers);
  define("sinkWait", SinkWait);
}

}  // namespace millrace
