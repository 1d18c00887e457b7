// What tch does not generate: fused AdamW, gradient norms over lists, backward with a given gradient, CPU autocast.
// tch's tensor pointer is an at::Tensor*. Every function returns null, or an error text that the caller frees.

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <cstring>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
  return result;
}

std::vector<at::Tensor> gradients(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i)
    if (tensors[i]->grad().defined()) result.push_back(tensors[i]->grad());
  return result;
}

template <typename F> char* guarded(F body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

}  // namespace

extern "C" {

// One AdamW step on `count` tensors with gradients; `step` counts from 1.
char* mill_fused_adamw(at::Tensor* const* tensors, at::Tensor* const* averages, at::Tensor* const* squares, size_t count,
                       double step, double learning_rate, double beta1, double beta2, double weight_decay, double epsilon) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count == 0) return;
    auto values = list(tensors, count);
    auto steps = std::vector<at::Tensor>(count, at::full({}, step, values[0].options().dtype(at::kFloat)));
    at::_fused_adamw_(values, gradients(tensors, count), list(averages, count), list(squares, count), {}, steps, learning_rate, beta1,
                      beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// The global L2 norm of all gradients; scales them down to `max_norm` when that is positive and the norm above it.
char* mill_clip_gradients(at::Tensor* const* tensors, size_t count, double max_norm, double* norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto grads = gradients(tensors, count);
    *norm = at::stack(at::_foreach_norm(grads, 2)).norm().item<double>();
    if (max_norm > 0 && *norm > max_norm) at::_foreach_mul_(grads, max_norm / (*norm + 1e-6));
  });
}

// Forgets the gradients, so that the next backward pass stores instead of adds.
void mill_forget_gradients(at::Tensor* const* tensors, size_t count) {
  for (size_t i = 0; i < count; ++i) tensors[i]->mutable_grad() = at::Tensor();
}

// Makes sure there is a gradient to add to.
char* mill_ensure_gradient(at::Tensor* tensor) {
  return guarded([&] {
    if (!tensor->grad().defined()) tensor->mutable_grad() = at::zeros_like(*tensor);
  });
}

// Backward from a tensor with the given gradient.
char* mill_backward(at::Tensor* tensor, at::Tensor* gradient) {
  return guarded([&] { tensor->backward(*gradient); });
}

// Turns autocast to bfloat16 on or off for the calling thread; leaving it also drops the cached casts of the weights.
char* mill_autocast(int on_cuda, int enabled) {
  return guarded([&] {
    auto device = on_cuda ? at::kCUDA : at::kCPU;
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, enabled != 0);
    if (!enabled) at::autocast::clear_cache();
  });
}

// The instruction set that LibTorch's own kernels use, for example "AVX512"; the caller frees it.
char* mill_cpu_capability() { return strdup(at::get_cpu_capability().c_str()); }

const char* mill_version() { return TORCH_VERSION; }

}  // extern "C"
