// The processes of a run, one a device: a store where they meet (TCPStore), Gloo between their CPUs and NCCL between
// their GPUs.
#include "group.h"
#include "check.h"
#include "handles.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <dlfcn.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#undef USE_C10D_GLOO

// It is declared so that classes that derive from it have a base; those are LibTorch's.
inline gloo::rendezvous::Store::~Store() = default;
inline gloo::transport::UnboundBuffer::~UnboundBuffer() = default;

namespace {

using Store = c10::intrusive_ptr<c10d::Store>;

Store &as_store(void *s) { return *static_cast<Store *>(s); }

// What is used of NVIDIA's NCCL (nccl.h), which libtorch_cuda.so brings; 0 is success.
struct Nccl {
  struct Id {
    char bytes[128];
  };
  static constexpr int sum = 0, in_progress = 7;
  int (*unique)(Id *);
  int (*join)(void **comm, int size, Id, int rank);
  int (*all_reduce)(const void *from, void *to, size_t count, int type, int op, void *comm, void *stream);
  int (*all_gather)(const void *from, void *to, size_t count, int type, void *comm, void *stream);
  int (*state)(void *comm, int *error);
  int (*abort)(void *comm);
  int (*destroy)(void *comm);
  const char *(*text)(int error);
  const char *(*last)(void *comm);

  Nccl() {
    auto find = [&](auto &f, const char *symbol) {
      f = reinterpret_cast<std::decay_t<decltype(f)>>(dlsym(RTLD_DEFAULT, symbol));
      TORCH_CHECK(f, "NCCL has no ", symbol);
    };
    find(unique, "ncclGetUniqueId");
    find(join, "ncclCommInitRank");
    find(all_reduce, "ncclAllReduce");
    find(all_gather, "ncclAllGather");
    find(state, "ncclCommGetAsyncError");
    find(abort, "ncclCommAbort");
    find(destroy, "ncclCommDestroy");
    find(text, "ncclGetErrorString");
    find(last, "ncclGetLastError");
  }
  void check(int error, const char *what) const {
    TORCH_CHECK(error == 0 || error == in_progress, what, ": ", text(error), ": ", last(nullptr));
  }
  static int type(const Tensor &t) {
    switch (t.scalar_type()) {
    case torch::kByte:
      return 1;
    case torch::kLong:
      return 4;
    case torch::kFloat:
      return 7;
    case torch::kBFloat16:
      return 9;
    default:
      TORCH_CHECK(false, "have ", type_name(t.scalar_type()), ", want float32, bfloat16, int64 or uint8");
    }
  }
};

const Nccl &nccl() {
  static const Nccl n;
  return n;
}

struct Ranks {
  int rank, size;
  std::unique_ptr<c10d::ProcessGroupGloo> gloo;
  std::atomic<void *> comm{nullptr}; // NCCL's
  std::atomic<bool> aborted{false}, failed{false};

  // The gradients of parameters as parts of one tensor, once they have been summed.
  std::vector<Tensor> parts;

  void *comm_of(const Tensor &t) const {
    TORCH_CHECK(!aborted, "the run has been given up");
    void *c = comm;
    TORCH_CHECK(c, "have a tensor on ", t.device(), ", and no NCCL");
    return c;
  }

  // Calls what involves other ranks. Where it fails, they may be the reason.
  template <class F> void together(F f) {
    try {
      f();
    } catch (...) {
      failed = true;
      throw;
    }
  }

  // Waits without giving up the thread to work that may never end.
  void wait(const c10::intrusive_ptr<c10d::Work> &work) {
    for (int i = 0; !work->isCompleted(); i++) {
      TORCH_CHECK(!aborted, "the run has been given up");
      if (i < 200)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    work->wait();
  }

  void all_reduce(Tensor t) {
    TORCH_CHECK(t.is_contiguous(), "have strides ", t.strides(), ", want a contiguous tensor");
    together([&] {
      if (t.is_cuda()) {
        void *c = comm_of(t);
        nccl().check(nccl().all_reduce(t.data_ptr(), t.data_ptr(), t.numel(), Nccl::type(t), Nccl::sum, c, stream(t)),
                     "ncclAllReduce");
        return;
      }
      std::vector<Tensor> all{t};
      wait(gloo->allreduce(all));
    });
  }

  Tensor all_gather(const Tensor &x) {
    Tensor t = x.reshape(-1).contiguous(), all = torch::empty({size * t.numel()}, t.options());
    together([&] {
      if (t.is_cuda()) {
        void *c = comm_of(t);
        nccl().check(nccl().all_gather(t.const_data_ptr(), all.data_ptr(), t.numel(), Nccl::type(t), c, stream(t)),
                     "ncclAllGather");
        return;
      }
      wait(gloo->_allgather_base(all, t));
    });
    std::vector<int64_t> shape{size};
    shape.insert(shape.end(), x.sizes().begin(), x.sizes().end());
    return all.view(shape);
  }

  static void *stream(const Tensor &t) {
    return c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(t.device()).native_handle();
  }
};

Ranks *as_group(void *g) { return static_cast<Ranks *>(g); }

} // namespace

Tensor gather_ranks(void *group, const Tensor &t) { return as_group(group)->all_gather(t); }

char *mvag_store_open(void **out, const char *host, int port, bool server, int listener, int64_t timeout_ms,
                      const char *prefix) {
  return guarded([&] {
    FLAGS_caffe2_log_level = c10::GLOG_FATAL; // what fails is returned; LibTorch would print pages of it
    c10d::TCPStoreOptions o;
    o.port = static_cast<std::uint16_t>(port);
    o.isServer = server;
    o.waitWorkers = false;
    o.timeout = std::chrono::milliseconds(timeout_ms);
    if (listener >= 0)
      o.masterListenFd = listener;
    auto tcp = c10::make_intrusive<c10d::TCPStore>(host, o);
    *out = new Store(c10::make_intrusive<c10d::PrefixStore>(prefix, tcp));
  });
}

char *mvag_store_set(void *store, const char *key, const void *value, size_t bytes) {
  return guarded([&] {
    auto *from = static_cast<const uint8_t *>(value);
    as_store(store)->set(key, std::vector<uint8_t>(from, from + bytes));
  });
}

char *mvag_store_get(void *store, const char *key, void **value, size_t *bytes) {
  return guarded([&] {
    *value = nullptr;
    if (!as_store(store)->check({key}))
      return;
    auto found = as_store(store)->get(key);
    *value = malloc(found.size() + 1);
    TORCH_CHECK(*value, "out of memory");
    std::memcpy(*value, found.data(), *bytes = found.size());
  });
}

char *mvag_store_add(void *store, const char *key, int64_t by, int64_t *sum) {
  return guarded([&] { *sum = as_store(store)->add(key, by); });
}

void mvag_store_close(void *store) { delete static_cast<Store *>(store); }

char *mvag_group_join(void **out, void *store, int rank, int size, const char *address, const char *interface,
                      int64_t timeout_ms) {
  return guarded([&] {
    std::chrono::milliseconds timeout(timeout_ms);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(*interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                          : c10d::ProcessGroupGloo::createDeviceForHostname(address));
    auto g = std::make_unique<Ranks>();
    g->rank = rank, g->size = size;
    auto under = c10::make_intrusive<c10d::PrefixStore>("gloo", as_store(store));
    g->gloo = std::make_unique<c10d::ProcessGroupGloo>(under, rank, size, options);
    *out = g.release();
  });
}

char *mvag_group_use(void *group, void *store, int device) {
  return guarded([&] {
    Ranks *g = as_group(group);
    const Nccl &n = nccl();
    c10::DeviceGuard on(as_device(device));
    Nccl::Id id;
    if (g->rank == 0) {
      n.check(n.unique(&id), "ncclGetUniqueId");
      as_store(store)->set("nccl", std::vector<uint8_t>(id.bytes, id.bytes + sizeof id.bytes));
    }
    auto found = as_store(store)->get("nccl");
    TORCH_CHECK(found.size() == sizeof id.bytes, "have an NCCL id of ", found.size(), " bytes");
    std::memcpy(id.bytes, found.data(), found.size());
    void *comm = nullptr;
    n.check(n.join(&comm, g->size, id, g->rank), "ncclCommInitRank");
    g->comm = comm;
  });
}

char *mvag_group_state(void *group) {
  return guarded([&] {
    int error = 0;
    if (void *c = as_group(group)->comm; c && !as_group(group)->aborted) {
      nccl().check(nccl().state(c, &error), "ncclCommGetAsyncError");
      nccl().check(error, "NCCL");
    }
  });
}

bool mvag_group_failed(void *group) { return as_group(group)->failed || as_group(group)->aborted; }

void mvag_group_timeout(void *group, int64_t timeout_ms) {
  as_group(group)->gloo->setTimeout(std::chrono::milliseconds(timeout_ms));
}

void mvag_group_abort(void *group) {
  Ranks *g = as_group(group);
  if (g->aborted.exchange(true))
    return;
  if (void *c = g->comm)
    nccl().abort(c);
}

// What was given up stays: its threads may wait for others for ever.
void mvag_group_leave(void *group) {
  Ranks *g = as_group(group);
  if (g->aborted)
    return;
  if (void *c = g->comm.exchange(nullptr))
    nccl().destroy(c);
  delete g;
}

char *mvag_all_reduce(void *group, handle t) {
  return guarded([&] { as_group(group)->all_reduce(as_tensor(t)); });
}

char *mvag_all_gather(void *group, handle *out, handle t) {
  return guarded([&] { *out = give(as_group(group)->all_gather(as_tensor(t))); });
}

char *mvag_exchange(void *group, const void *mine, size_t bytes, void *all) {
  return guarded([&] {
    auto n = static_cast<int64_t>(bytes);
    Tensor from = torch::from_blob(const_cast<void *>(mine), {n}, torch::kByte);
    Tensor got = as_group(group)->all_gather(from);
    std::memcpy(all, got.const_data_ptr(), got.nbytes());
  });
}

char *mvag_gather(void *group, const void *mine, const size_t *sizes, void *const *parts) {
  return guarded([&] {
    Ranks *g = as_group(group);
    auto most = static_cast<int64_t>(*std::max_element(sizes, sizes + g->size));
    auto n = static_cast<int64_t>(sizes[g->rank]);
    Tensor from = torch::from_blob(const_cast<void *>(mine), {n}, torch::kByte);
    if (n < most) { // Gloo's parts are equally long
      Tensor padded = torch::zeros({most}, torch::kByte);
      padded.narrow(0, 0, n).copy_(from);
      from = padded;
    }
    std::vector<Tensor> own{from};
    std::vector<std::vector<Tensor>> all;
    if (g->rank == 0)
      all.push_back(torch::empty({g->size, most}, torch::kByte).unbind(0));
    g->together([&] { g->wait(g->gloo->gather(all, own, {})); });
    for (int rank = 0; g->rank == 0 && rank < g->size; rank++)
      if (sizes[rank])
        std::memcpy(parts[rank], all[0][rank].const_data_ptr(), sizes[rank]);
  });
}

// Sums the gradients of all ranks as parts of flat, float32, in the type of rounded where there is one. Parameters
// without a gradient have none on any rank, and in any step.
char *mvag_reduce_gradients(void *group, handle *params, int n, handle flat, handle rounded) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    Ranks *g = as_group(group);
    Tensor all = as_tensor(flat);
    std::vector<Tensor> of, grads;
    for (int i = 0; i < n; i++)
      if (const Tensor &grad = as_tensor(params[i]).grad(); grad.defined()) {
        of.push_back(as_tensor(params[i]));
        grads.push_back(grad.reshape(-1));
      }
    if (g->parts.empty() || !g->parts[0].is_alias_of(all)) {
      g->parts.clear();
      int64_t at = 0;
      for (const Tensor &p : of) {
        g->parts.push_back(all.narrow(0, at, p.numel()).view(p.sizes()));
        at += p.numel();
      }
    }
    TORCH_CHECK(g->parts.size() == of.size(), "have ", of.size(), " gradients, want ", g->parts.size(),
                " as in the first step");
    int64_t elements = 0;
    for (const Tensor &t : grads)
      elements += t.numel();
    Tensor used = all.narrow(0, 0, elements);
    at::cat_out(used, grads);
    if (rounded) {
      Tensor low = as_tensor(rounded).narrow(0, 0, used.numel());
      low.copy_(used);
      g->all_reduce(low);
      used.copy_(low);
    } else {
      g->all_reduce(used);
    }
    for (size_t i = 0; i < of.size(); i++)
      of[i].mutable_grad() = g->parts[i];
  });
}

// The sum of the bits of each tensor, of elements of 4 bytes, as integers: it depends on no order.
char *mvag_checksum(handle *tensors, int n, int64_t *out) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    Tensor all;
    for (int i = 0; i < n; i++) {
      Tensor sum = as_tensor(tensors[i]).detach().contiguous().view(torch::kInt).sum(torch::kLong);
      all = all.defined() ? all * 31 + sum : sum;
    }
    *out = all.defined() ? all.item<int64_t>() : 0;
  });
}
