// What tch does not generate: fused optimizers, operations on lists, backward with a given gradient, CPU autocast.
// tch's tensor pointer is an at::Tensor*. Every function returns null, or an error text that the caller frees.

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

namespace {

// Without its number, a GPU is the current one, which is the first unless somebody chose another.
at::Device device_of(int gpu) {
  return gpu < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu));
}

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

// What an update works on: the tensors that have a gradient, their gradients and their states.
struct Lists {
  std::vector<at::Tensor> values, gradients;
  std::vector<std::vector<at::Tensor>> states;
};

// `states` are `kinds` lists of `count` tensors, one list after another.
Lists lists(at::Tensor* const* tensors, size_t count, at::Tensor* const* states, size_t kinds) {
  Lists result;
  result.states.resize(kinds);
  for (size_t i = 0; i < count; ++i) {
    if (!tensors[i]->grad().defined()) continue;
    result.values.push_back(*tensors[i]);
    result.gradients.push_back(tensors[i]->grad());
    for (size_t kind = 0; kind < kinds; ++kind) result.states[kind].push_back(*states[kind * count + i]);
  }
  return result;
}

// The step as the fused kernels take it: a number for each tensor.
std::vector<at::Tensor> steps(const Lists& lists, double step) {
  return std::vector<at::Tensor>(lists.values.size(), at::full({}, step, lists.values[0].options().dtype(at::kFloat)));
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

// Each of these changes the tensors that have a gradient; `step` counts from 1.

// States: averages of the gradients and of their squares. `decoupled` is AdamW.
char* mill_adam(at::Tensor* const* tensors, size_t count, at::Tensor* const* states, double step, double learning_rate, double beta1,
                double beta2, double weight_decay, double epsilon, int decoupled) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = lists(tensors, count, states, 2);
    if (all.values.empty()) return;
    using Update = void (*)(at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, double, double,
                            double, double, double, bool, bool, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&);
    auto update = decoupled ? static_cast<Update>(at::_fused_adamw_) : static_cast<Update>(at::_fused_adam_);
    update(all.values, all.gradients, all.states[0], all.states[1], {}, steps(all, step), learning_rate, beta1, beta2, weight_decay,
           epsilon, /*amsgrad=*/false, /*maximize=*/false, std::nullopt, std::nullopt);
  });
}

// State: the average of the gradients, none without momentum.
char* mill_sgd(at::Tensor* const* tensors, size_t count, at::Tensor* const* states, double learning_rate, double momentum,
               double weight_decay, int nesterov) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = lists(tensors, count, states, momentum != 0 ? 1 : 0);
    if (all.values.empty()) return;
    auto averages = momentum != 0 ? all.states[0] : std::vector<at::Tensor>();
    at::_fused_sgd_(all.values, all.gradients, averages, weight_decay, momentum, learning_rate, /*dampening=*/0.0, nesterov != 0,
                    /*maximize=*/false, /*is_first_step=*/false);
  });
}

// State: the sum of the squared gradients.
char* mill_adagrad(at::Tensor* const* tensors, size_t count, at::Tensor* const* states, double step, double learning_rate,
                   double weight_decay, double epsilon) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = lists(tensors, count, states, 1);
    if (all.values.empty()) return;
    at::_fused_adagrad_(all.values, all.gradients, all.states[0], steps(all, step), learning_rate, /*lr_decay=*/0.0, weight_decay, epsilon,
                        /*maximize=*/false);
  });
}

// State: the average of the gradients.
char* mill_lion(at::Tensor* const* tensors, size_t count, at::Tensor* const* states, double learning_rate, double beta1, double beta2,
                double weight_decay) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = lists(tensors, count, states, 1);
    if (all.values.empty()) return;
    auto update = at::_foreach_lerp(all.states[0], all.gradients, 1 - beta1);
    at::_foreach_sign_(update);
    if (weight_decay != 0) at::_foreach_mul_(all.values, 1 - learning_rate * weight_decay);
    at::_foreach_add_(all.values, update, -learning_rate);
    at::_foreach_lerp_(all.states[0], all.gradients, 1 - beta2);
  });
}

// Moves each average by the share `weight` towards its value.
char* mill_average(at::Tensor* const* averages, at::Tensor* const* values, size_t count, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count > 0) at::_foreach_lerp_(list(averages, count), list(values, count), weight);
  });
}

// Adds the gradient of an L1 penalty.
char* mill_l1(at::Tensor* const* tensors, size_t count, double l1) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = lists(tensors, count, nullptr, 0);
    if (!all.values.empty()) at::_foreach_add_(all.gradients, at::_foreach_sign(all.values), l1);
  });
}

// Limits the absolute value of all gradients.
char* mill_clip_values(at::Tensor* const* tensors, size_t count, double limit) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto grads = gradients(tensors, count);
    if (grads.empty()) return;
    at::_foreach_clamp_min_(grads, -limit);
    at::_foreach_clamp_max_(grads, limit);
  });
}

// The global L2 norm of all gradients; scales them down to `max_norm` when that is positive and the norm above it.
char* mill_clip_gradients(at::Tensor* const* tensors, size_t count, double max_norm, double* norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto grads = gradients(tensors, count);
    *norm = grads.empty() ? 0.0 : at::stack(at::_foreach_norm(grads, 2)).norm().item<double>();
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

// Products of f32 matrices in TF32 or not, kernels that give the same sums each time or not, and no trying out of kernels.
char* mill_cuda_switches(int tf32, int deterministic) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setAllowTF32CuBLAS(tf32 != 0);
    context.setAllowTF32CuDNN(tf32 != 0);
    context.setDeterministicAlgorithms(deterministic != 0, /*warn_only=*/false);
    context.setDeterministicCuDNN(deterministic != 0);
    context.setBenchmarkCuDNN(false);
  });
}

// The state of the random numbers of GPU number `gpu`, of the processor where it is negative.
char* mill_random_state(int gpu, at::Tensor** state) {
  return guarded([&] { *state = new at::Tensor(at::globalContext().defaultGenerator(device_of(gpu)).get_state()); });
}

char* mill_set_random_state(int gpu, at::Tensor* state) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(device_of(gpu));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
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

int mill_is_autocast(int on_cuda) { return at::autocast::is_autocast_enabled(on_cuda ? at::kCUDA : at::kCPU); }

// The instruction set that LibTorch's own kernels use, for example "AVX512"; the caller frees it.
char* mill_cpu_capability() { return strdup(at::get_cpu_capability().c_str()); }

const char* mill_version() { return TORCH_VERSION; }

// What the loaded libtorch_cpu says of its own build, with "TORCH_VERSION=2.13.0"; the caller frees it.
char* mill_configuration() { return strdup(at::show_config().c_str()); }

}  // extern "C"
