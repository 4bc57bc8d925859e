#include "bridge.h"
#include "handles.h"

#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include "_cgo_export.h"

namespace {

// Floating-point parameters, buffers and constants become float32, whatever the archive stores.
torch::jit::Module load(const char *path, int device) {
  torch::NoGradGuard no_grad;
  auto module = torch::jit::load(path, as_device(device));
  module.eval();
  module.to(torch::kFloat);
  return module;
}

} // namespace

char *mvag_module_load(void **out, const char *path, int device) {
  return guarded([&] { *out = new torch::jit::Module(load(path, device)); });
}

// The executor does not optimise: its first calls would compute otherwise than later ones, and a resumed run otherwise
// than one that never stopped.
char *mvag_module_forward(void *module, handle input, uintptr_t visitor) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    torch::jit::GraphOptimizerEnabledGuard plainly(false);
    auto result = static_cast<torch::jit::Module *>(module)->forward({as_tensor(input)});
    TORCH_CHECK(result.isTensorList(), "have a forward that returns ", result.tagKind(), ", want List[Tensor]");
    for (const Tensor &t : result.toTensorVector())
      mvagVisitTensor(visitor, const_cast<char *>(""), give(t.contiguous()));
  });
}

void mvag_module_free(void *module) { delete static_cast<torch::jit::Module *>(module); }
