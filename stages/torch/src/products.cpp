// Products of f32 matrices by oneDNN where MKL, which LibTorch takes for them, leaves the wide vectors of the processor unused: it does so on
// AMD's. There oneDNN is about twice as fast. The operators of LibTorch themselves are replaced, so that networks and gradients need not know.

#include <ATen/ATen.h>
#include <ATen/CPUFunctions.h>
#include <ATen/core/List.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "lanes.h"

// In libtorch_cpu, but in none of its headers. LibTorch's version is pinned; with another one the linker tells if they are gone.
namespace at::native {
void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& result, float beta, float alpha);
Tensor mkldnn_linear_pointwise(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, std::string_view after,
                               c10::List<std::optional<Scalar>> numbers, std::optional<std::string_view> algorithm);
}  // namespace at::native

namespace {

// Below so many multiplications it costs more to call oneDNN than it saves.
constexpr int64_t SMALL = 1 << 17;

bool pays(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat && a.device().is_cpu() && b.device().is_cpu() && !a.is_conj() &&
         a.numel() * b.size(-1) >= SMALL;
}

// Rows or columns lie one after another, as oneDNN wants them.
at::Tensor dense(const at::Tensor& x) {
  const int64_t row = x.stride(-2), column = x.stride(-1);
  const bool plain = (column == 1 && row >= x.size(-1)) || (row == 1 && column >= x.size(-2));
  return plain && (x.dim() == 2 || x.stride(0) >= x.size(-1) * x.size(-2)) ? x : x.contiguous();
}

at::Tensor mm(const at::Tensor& a, const at::Tensor& b) {
  if (!(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && pays(a, b))) return at::cpu::mm(a, b);
  at::Tensor result = at::empty({a.size(0), b.size(1)}, a.options());
  at::native::mkldnn_matmul(dense(a), dense(b), result, 0, 1);
  return result;
}

at::Tensor& mm_out(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  const bool fits = a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && pays(a, b) && out.scalar_type() == at::kFloat && out.is_contiguous() &&
                    out.sizes() == at::IntArrayRef({a.size(0), b.size(1)});
  if (!fits) return at::cpu::mm_out(out, a, b);
  at::native::mkldnn_matmul(dense(a), dense(b), out, 0, 1);
  return out;
}

at::Tensor bmm(const at::Tensor& a, const at::Tensor& b) {
  if (!(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0) && a.size(2) == b.size(1) && pays(a, b))) return at::cpu::bmm(a, b);
  at::Tensor result = at::empty({a.size(0), a.size(1), b.size(2)}, a.options());
  at::native::mkldnn_matmul(dense(a), dense(b), result, 0, 1);
  return result;
}

// A bias for all rows, as linear layers have it.
at::Tensor addmm(const at::Tensor& bias, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta, const at::Scalar& alpha) {
  const bool fits = a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && bias.dim() == 1 && bias.size(0) == b.size(1) &&
                    bias.scalar_type() == at::kFloat && beta.toDouble() == 1 && alpha.toDouble() == 1;
  if (!(fits && pays(a, b))) return at::cpu::addmm(bias, a, b, beta, alpha);
  at::NoGradGuard no_grad;  // it chooses its way by whether gradients are noted
  return at::native::mkldnn_linear_pointwise(dense(a), dense(b.t()), bias.contiguous(), "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

at::Tensor& addmm_(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b, const at::Scalar& beta, const at::Scalar& alpha) {
  const bool fits = a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && pays(a, b) && sum.scalar_type() == at::kFloat && sum.is_contiguous() &&
                    sum.sizes() == at::IntArrayRef({a.size(0), b.size(1)}) && beta.toDouble() == 1 && alpha.toDouble() == 1;
  if (!fits) return at::cpu::addmm_(sum, a, b, beta, alpha);
  at::native::mkldnn_matmul(dense(a), dense(b), sum, 1, 1);
  return sum;
}

// LibTorch warns of every replaced operator.
struct Silent : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// Null where there is nothing to replace.
torch::Library* replace() {
#if defined(__x86_64__)
  if (has_avx512() && __builtin_cpu_is("amd")) {
    Silent silent;
    c10::WarningUtils::WarningHandlerGuard guard(&silent);
    auto* library = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__);
    library->impl("mm", mm);
    library->impl("mm.out", mm_out);
    library->impl("bmm", bmm);
    library->impl("addmm", addmm);
    library->impl("addmm_", addmm_);
    return library;
  }
#endif
  return nullptr;
}

// Before the program begins: no two products of a process may be computed differently.
const torch::Library* const replaced = replace();

}  // namespace

extern "C" int mill_products_replaced() { return replaced != nullptr; }
