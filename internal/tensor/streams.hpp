// What needs more than the one stream of a CUDA device that all work is launched on: uploads that go on beside it, and
// CUDA graphs.
#include "bridge.h"
#include "handles.h"

#include <cstddef>
#include <dlfcn.h>
#include <map>
#include <optional>

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

using c10::impl::VirtualGuardImpl;

// at::cuda::CUDAGraph (ATen/cuda/CUDAGraph.h) by its symbols in LibTorch 2.11, since the program links no CUDA library.
struct CudaGraph {
  using Pool = std::pair<unsigned long long, unsigned long long>; // MempoolId_t
  void (*construct)(void *, bool keep_graph);
  void (*destroy)(void *);
  void (*begin)(void *, Pool, int mode); // 0: cudaStreamCaptureModeGlobal
  void (*end)(void *);
  void (*replay)(void *);
  Pool (*pool)(void *);

  CudaGraph() {
    find(construct, "_ZN2at4cuda9CUDAGraphC1Eb");
    find(destroy, "_ZN2at4cuda9CUDAGraphD1Ev");
    find(begin, "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    find(end, "_ZN2at4cuda9CUDAGraph11capture_endEv");
    find(replay, "_ZN2at4cuda9CUDAGraph6replayEv");
    find(pool, "_ZN2at4cuda9CUDAGraph4poolEv");
  }

  template <class F> static void find(F &f, const char *symbol) {
    f = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, symbol));
    TORCH_CHECK(f, "LibTorch has no ", symbol);
  }
};

const CudaGraph &api() {
  static const CudaGraph a;
  return a;
}

// The streams beside the one in use, one pair a device, for the whole process.
struct Side {
  c10::Stream upload, capture;
  std::optional<c10::Event> launched; // before the latest upload
};

Side &side(c10::Device device) {
  static std::map<c10::DeviceIndex, Side> all; // of LibTorch's thread
  auto at = all.find(device.index());
  if (at == all.end()) {
    VirtualGuardImpl impl(device.type());
    at = all.emplace(device.index(),
                     Side{impl.getStreamFromGlobalPool(device), impl.getStreamFromGlobalPool(device), {}})
             .first;
  }
  return at->second;
}

struct Graph {
  // The CUDAGraph: 104 bytes in LibTorch 2.11, and room for more.
  alignas(std::max_align_t) std::byte object[1024];
  bool complete = false; // captured to its end

  // While it is captured:
  std::optional<c10::StreamGuard> on;
  at::Generator spare; // the device's generator as it was before
};

// The generator of random numbers of a CUDA device. Nothing captured draws from it, but LibTorch has its state in each
// capture.
at::Generator generator(int device) { return at::globalContext().defaultGenerator(as_device(device)); }

Graph *as_graph(void *g) { return static_cast<Graph *>(g); }

} // namespace

char *mvag_upload(handle *out, const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype, int index) {
  return guarded([&] {
    c10::Device device = as_device(index);
    c10::Stream now = VirtualGuardImpl(device.type()).getStream(device);
    Side &s = side(device);
    // Whoever uploads for the next step waits here for the one before the last: else steps, and the memory of what they
    // take in, would pile up.
    if (s.launched)
      s.launched->synchronize();
    s.launched.emplace(device.type());
    s.launched->record(now);
    Tensor x = host_copy(data, bytes, sizes, ndim, dtype, /*pinned=*/true);
    {
      c10::StreamGuard on(s.upload);
      x = x.to(device, /*non_blocking=*/true);
    }
    c10::Event there(device.type());
    there.record(s.upload);
    there.block(now);
    x.record_stream(now);
    *out = give(x);
  });
}

char *mvag_graph_begin(void **out, int index, void *share) {
  return guarded([&] {
    TORCH_CHECK(index >= 0, "have the CPU, want a CUDA device");
    c10::Device device = as_device(index);
    const CudaGraph &f = api();
    auto *g = new Graph;
    *out = g;
    // What was freed goes back to the device: the graph has memory of its own.
    VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
    c10::getDeviceAllocator(device.type())->emptyCache();
    g->spare = generator(index).clone();
    g->on.emplace(side(device).capture);
    f.construct(g->object, false);
    f.begin(g->object, share ? f.pool(as_graph(share)->object) : CudaGraph::Pool{}, 0);
  });
}

char *mvag_graph_end(void *graph) {
  return guarded([&] {
    api().end(as_graph(graph)->object);
    as_graph(graph)->complete = true;
    as_graph(graph)->on.reset();
  });
}

// When CUDA gives up a capture, LibTorch still counts it as under way: the generator would refuse to draw, so it gets
// another state; and the allocator keeps a reference to the object, which therefore is never freed.
void mvag_graph_abandon(void *graph) {
  Graph *g = as_graph(graph);
  if (!g || !g->on)
    return;
  int index = g->on->current_stream().device_index();
  if (char *failure = mvag_graph_end(graph)) {
    free(failure);
    g->on.reset();
    generator(index).graphsafe_set_state(g->spare);
  }
}

char *mvag_graph_replay(void *graph) {
  return guarded([&] { api().replay(as_graph(graph)->object); });
}

void mvag_graph_free(void *graph) {
  if (!graph || !as_graph(graph)->complete)
    return;
  api().destroy(as_graph(graph)->object);
  delete as_graph(graph);
}
