// What the bridge takes of LibTorch: tensors and operations on them. torch/torch.h has modules, optimisers and data
// loaders besides, which cost each file 20 seconds.
#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/generated/variable_factories.h>
#include <torch/types.h>
