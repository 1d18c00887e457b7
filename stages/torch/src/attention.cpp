// Attention on the CPU. Scores stand for some heads and rows at once, so few that they stay in the caches, as in
// FlashAttention (Dao et al. 2022); their gradients are made of scores computed again. Products are oneDNN's or MKL's over many heads at once,
// which are about three times as fast as those of LibTorch's own kernel; under a causal mask what lies right of a block of rows is left out.
// In bf16 the scores are rounded to bf16 before they become probabilities, as in networks that write attention out; LibTorch's kernel keeps f32.

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "lanes.h"

namespace {

constexpr int64_t LANES = 32;
// Rows of a block under a causal mask and the fewest of any other, and the bytes that a block of scores may have.
constexpr int64_t ROWS = 128;
constexpr int64_t BLOCK_BYTES = 2 << 20;

// A row of `count` products becomes probabilities; gives the logarithm of the sum of their exponentials. Only the first `seen` count, of those
// only where `mask`, if any, is true. `room` holds `count` numbers.
template <typename T> MILL_INLINE float softmax_row(T* row, float* room, const bool* mask, int64_t seen, int64_t count, float scale) {
  float lanes[LANES];
  const int64_t whole = seen / LANES * LANES;
  for (int64_t i = 0; i < seen; ++i) {
    const float value = load(row, i) * scale;
    room[i] = mask == nullptr || mask[i] ? value : -INFINITY;
  }
  for (int64_t l = 0; l < LANES; ++l) lanes[l] = -INFINITY;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int64_t l = 0; l < LANES; ++l) lanes[l] = lanes[l] < room[i + l] ? room[i + l] : lanes[l];
  for (int64_t i = whole; i < seen; ++i) lanes[0] = lanes[0] < room[i] ? room[i] : lanes[0];
  float highest = lanes[0];
  for (int64_t l = 1; l < LANES; ++l) highest = highest < lanes[l] ? lanes[l] : highest;
  if (highest == -INFINITY) {  // sees nothing, or no numbers
    for (int64_t i = 0; i < count; ++i) store(row, i, i < seen && std::isnan(room[i]) ? NAN : 0.0f);
    return INFINITY;
  }
  for (int64_t l = 0; l < LANES; ++l) lanes[l] = 0;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int64_t l = 0; l < LANES; ++l) {
      const float value = room[i + l] == -INFINITY ? 0.0f : exponential(room[i + l] - highest);
      room[i + l] = value;
      lanes[l] += value;
    }
  for (int64_t i = whole; i < seen; ++i) lanes[0] += room[i] = room[i] == -INFINITY ? 0.0f : exponential(room[i] - highest);
  float sum = 0;
  for (int64_t l = 0; l < LANES; ++l) sum += lanes[l];
  const float share = 1.0f / sum;
  for (int64_t i = 0; i < seen; ++i) store(row, i, room[i] * share);
  for (int64_t i = seen; i < count; ++i) store(row, i, 0.0f);
  return highest + std::log(sum);
}

// A row of products becomes probabilities, and a row of their gradients that of the products, with the logarithm that `softmax_row` gave and the
// mean of the gradients by the probabilities.
template <typename T>
MILL_INLINE void gradient_row(T* row, T* gradient, const bool* mask, int64_t seen, int64_t count, float scale, float logarithm, float mean) {
  for (int64_t i = 0; i < seen; ++i) {
    const float away = load(row, i) * scale - logarithm;
    const float p = mask == nullptr || mask[i] ? exponential(away > 0 ? 0.0f : away) : 0.0f;
    store(row, i, p);
    store(gradient, i, p * (load(gradient, i) - mean) * scale);
  }
  for (int64_t i = seen; i < count; ++i) store(row, i, 0.0f), store(gradient, i, 0.0f);
}

template <typename T> struct Rows {
  float (*softmax)(T*, float*, const bool*, int64_t, int64_t, float);
  void (*gradient)(T*, T*, const bool*, int64_t, int64_t, float, float, float);
};

template <typename T> float softmax_plain(T* row, float* room, const bool* mask, int64_t seen, int64_t count, float scale) {
  return softmax_row(row, room, mask, seen, count, scale);
}
template <typename T> MILL_AVX2 float softmax_avx2(T* row, float* room, const bool* mask, int64_t seen, int64_t count, float scale) {
  return mask == nullptr ? softmax_row(row, room, nullptr, seen, count, scale) : softmax_row(row, room, mask, seen, count, scale);
}
template <typename T> MILL_AVX512 float softmax_avx512(T* row, float* room, const bool* mask, int64_t seen, int64_t count, float scale) {
  return mask == nullptr ? softmax_row(row, room, nullptr, seen, count, scale) : softmax_row(row, room, mask, seen, count, scale);
}
template <typename T> void gradient_plain(T* row, T* g, const bool* mask, int64_t seen, int64_t count, float scale, float logarithm, float mean) {
  gradient_row(row, g, mask, seen, count, scale, logarithm, mean);
}
template <typename T>
MILL_AVX2 void gradient_avx2(T* row, T* g, const bool* mask, int64_t seen, int64_t count, float scale, float logarithm, float mean) {
  mask == nullptr ? gradient_row(row, g, nullptr, seen, count, scale, logarithm, mean)
                  : gradient_row(row, g, mask, seen, count, scale, logarithm, mean);
}
template <typename T>
MILL_AVX512 void gradient_avx512(T* row, T* g, const bool* mask, int64_t seen, int64_t count, float scale, float logarithm, float mean) {
  mask == nullptr ? gradient_row(row, g, nullptr, seen, count, scale, logarithm, mean)
                  : gradient_row(row, g, mask, seen, count, scale, logarithm, mean);
}

template <typename T> Rows<T> rows() {
  if (has_avx512()) return {softmax_avx512<T>, gradient_avx512<T>};
  if (has_avx2()) return {softmax_avx2<T>, gradient_avx2<T>};
  return {softmax_plain<T>, gradient_plain<T>};
}

// Some heads of some rows: those from `head` and from `row` on, which see the first `keys` keys.
struct Block {
  int64_t head, heads, row, rows, keys;
};

// How queries (heads of the batch, time, width) see keys.
struct View {
  int64_t heads_of_row, heads, time, keys;
  bool causal;
  float scale;
  std::optional<at::Tensor> mask;  // (batch, 1, time, keys), true where one may look

  // The mask of a row; null without one.
  const bool* mask_row(int64_t head, int64_t row) const {
    if (!mask) return nullptr;
    return mask->const_data_ptr<bool>() + head / heads_of_row * mask->stride(0) + row * mask->stride(2);
  }

  int64_t rows_of_block(int64_t size) const {
    return std::min(time, causal ? ROWS : std::max(ROWS, BLOCK_BYTES / (keys * size)));
  }

  int64_t seen(const Block& block, int64_t row) const { return causal ? std::min(row + 1, block.keys) : block.keys; }

  template <typename F> void each_block(int64_t size, F body) const {
    const int64_t rows = rows_of_block(size);
    const int64_t together = std::clamp<int64_t>(BLOCK_BYTES / (rows * keys * size), 1, heads);
    for (int64_t head = 0; head < heads; head += together)
      for (int64_t row = 0; row < time; row += rows) {
        const int64_t length = std::min(rows, time - row);
        body(Block{head, std::min(together, heads - head), row, length, causal ? std::min(row + length, keys) : keys});
      }
  }

  // `body(index in the block, head, row)` for each row of a block, by LibTorch's own threads.
  template <typename F> void each_row(const Block& block, F body) const {
    at::Tensor index = at::arange(block.heads * block.rows, at::kLong);
    auto all = at::TensorIteratorConfig().add_output(index).add_const_input(index).set_check_mem_overlap(false).build();
    all.for_each(
        [&](char** data, const int64_t* strides, int64_t count) {
          for (int64_t i = 0; i < count; ++i) {
            const int64_t n = *reinterpret_cast<int64_t*>(data[0] + i * strides[0]);
            body(n, block.head + n / block.rows, block.row + n % block.rows);
          }
        },
        /*grain_size=*/32);
  }
};

at::Tensor part(const at::Tensor& x, const Block& block) { return x.narrow(0, block.head, block.heads).narrow(1, block.row, block.rows); }
at::Tensor keys(const at::Tensor& x, const Block& block) { return x.narrow(0, block.head, block.heads).narrow(1, 0, block.keys); }

template <typename T> void forward(const View& view, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& out, at::Tensor& logarithms) {
  const auto softmax = rows<T>().softmax;
  view.each_block(sizeof(T), [&](const Block& block) {
    at::Tensor scores = at::bmm(part(q, block), keys(k, block).transpose(1, 2));
    at::Tensor sums = at::empty({block.heads, block.rows}, logarithms.options());
    T* data = static_cast<T*>(scores.mutable_data_ptr());
    float* sum = sums.mutable_data_ptr<float>();
    view.each_row(block, [&](int64_t index, int64_t head, int64_t row) {
      thread_local std::vector<float> room;
      room.resize(view.keys);
      sum[index] = softmax(data + index * block.keys, room.data(), view.mask_row(head, row), view.seen(block, row), block.keys, view.scale);
    });
    part(logarithms, block).copy_(sums);
    part(out, block).copy_(at::bmm(scores, keys(v, block)));
  });
}

struct Gradients {
  at::Tensor q, k, v;
};

// In bf16, products less the numbers of their rows are rounded once and not before, when nearly equal numbers cancel: the numbers are two more
// columns, as one of bf16 is too coarse, and what is multiplied with them has `others`. All of them are finite: oneDNN lets infinities of such
// columns leak into other rows on some processors.
at::Tensor with_numbers(const at::Tensor& x, const at::Tensor& numbers) {
  const at::Tensor high = numbers.to(x.scalar_type()), low = (numbers - high.to(at::kFloat)).to(x.scalar_type());
  return at::cat({x, high.unsqueeze(-1), low.unsqueeze(-1)}, -1);
}

at::Tensor with_others(const at::Tensor& x) { return at::cat({x, at::full({x.size(0), x.size(1), 2}, -1, x.options())}, -1); }

template <typename T>
Gradients backward(const View& view, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& gradient,
                   const at::Tensor& logarithms) {
  const auto of_row = rows<T>().gradient;
  const bool parts = view.time > view.rows_of_block(sizeof(T));  // keys then get gradients from several blocks, summed in f32
  const auto sums = parts ? k.options().dtype(at::kFloat) : k.options();
  Gradients all{at::empty_like(q), parts ? at::zeros_like(k, sums) : at::empty_like(k, sums), parts ? at::zeros_like(v, sums) : at::empty_like(v, sums)};
  const at::Tensor means = (gradient * out).sum(-1, false, at::kFloat), finite = logarithms.clamp_max(1e30);
  const bool within = q.scalar_type() == at::kBFloat16;  // numbers of rows are taken off within the products
  const at::Tensor from_q = within ? with_numbers(q, finite / view.scale) : q, from_k = within ? with_others(k) : k;
  const at::Tensor from_gradient = within ? with_numbers(gradient, means) : gradient, from_v = within ? with_others(v) : v;
  view.each_block(sizeof(T), [&](const Block& block) {
    at::Tensor p = at::bmm(part(from_q, block), keys(from_k, block).transpose(1, 2));
    at::Tensor slopes = at::bmm(part(from_gradient, block), keys(from_v, block).transpose(1, 2));
    at::Tensor logarithm = part(finite, block).contiguous(), mean = part(means, block).contiguous();
    T *of_p = static_cast<T*>(p.mutable_data_ptr()), *of_slopes = static_cast<T*>(slopes.mutable_data_ptr());
    const float *l = logarithm.const_data_ptr<float>(), *m = mean.const_data_ptr<float>();
    view.each_row(block, [&](int64_t index, int64_t head, int64_t row) {
      const int64_t first = index * block.keys;
      of_row(of_p + first, of_slopes + first, view.mask_row(head, row), view.seen(block, row), block.keys, view.scale, within ? 0.0f : l[index],
             within ? 0.0f : m[index]);
    });
    part(all.q, block).copy_(at::bmm(slopes, keys(k, block)));
    const at::Tensor of_keys = at::bmm(slopes.transpose(1, 2), part(q, block)), of_values = at::bmm(p.transpose(1, 2), part(gradient, block));
    parts ? keys(all.k, block).add_(of_keys) : keys(all.k, block).copy_(of_keys);
    parts ? keys(all.v, block).add_(of_values) : keys(all.v, block).copy_(of_values);
  });
  return {all.q, all.k.to(k.scalar_type()), all.v.to(v.scalar_type())};
}

at::Tensor flat(const at::Tensor& x) { return x.reshape({x.size(0) * x.size(1), x.size(2), x.size(3)}).contiguous(); }

struct Attention : torch::autograd::Function<Attention> {
  // Products are of the inputs' kind, whatever autocast says: kernels read them as such.
  using Plain = c10::impl::ExcludeDispatchKeyGuard;

  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::optional<at::Tensor>& mask, bool causal, double scale) {
    const Plain plain(c10::DispatchKey::AutocastCPU);
    const int64_t batch = query.size(0), heads = query.size(1), time = query.size(2);
    View view{heads, batch * heads, time, key.size(2), causal, float(scale), std::nullopt};
    if (mask) view.mask = mask->expand({batch, 1, time, view.keys});
    if (mask && view.keys > 1 && view.mask->stride(3) != 1) view.mask = view.mask->contiguous();
    const at::Tensor q = flat(query), k = flat(key), v = flat(value);
    // As (batch, time, heads, width), so that heads can be joined without a copy.
    at::Tensor out = at::empty({batch, time, heads, v.size(2)}, v.options()).transpose(1, 2);
    at::Tensor all = at::empty({view.heads, time, v.size(2)}, v.options()), logarithms = at::empty({view.heads, time}, v.options().dtype(at::kFloat));
    q.scalar_type() == at::kBFloat16 ? ::forward<uint16_t>(view, q, k, v, all, logarithms) : ::forward<float>(view, q, k, v, all, logarithms);
    out.copy_(all.view(out.sizes()));
    context->save_for_backward({q, k, v, out, logarithms, view.mask.value_or(at::Tensor())});
    context->saved_data["causal"] = causal;
    context->saved_data["scale"] = scale;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const Plain plain(c10::DispatchKey::AutocastCPU);
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &logarithms = saved[4];
    const int64_t batch = out.size(0), heads = out.size(1);
    View view{heads, q.size(0), q.size(1), k.size(1), context->saved_data["causal"].toBool(), float(context->saved_data["scale"].toDouble()), std::nullopt};
    if (saved[5].defined()) view.mask = saved[5];
    const at::Tensor y = flat(out), gradient = flat(gradients[0].to(q.scalar_type()));
    const auto all = q.scalar_type() == at::kBFloat16 ? ::backward<uint16_t>(view, q, k, v, y, gradient, logarithms)
                                                      : ::backward<float>(view, q, k, v, y, gradient, logarithms);
    const auto shaped = [&](const at::Tensor& x) { return x.view({batch, heads, x.size(1), x.size(2)}); };
    return {shaped(all.q), shaped(all.k), shaped(all.v), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// Of `q` (batch, heads, time, width) to `k` and `v` (batch, heads, keys, width), f32 or bf16 on the CPU, into a new tensor like `q`; `mask`
// (batch or 1, 1, time or 1, keys) of booleans, or null.
char* mill_attention(at::Tensor* q, at::Tensor* k, at::Tensor* v, at::Tensor* mask, int causal, double scale, at::Tensor** out) {
  try {
    for (const at::Tensor* x : {q, k, v})
      TORCH_CHECK(x->dim() == 4 && x->device().is_cpu() && x->scalar_type() == q->scalar_type() && x->numel() > 0, "attention needs tensors of one kind");
    TORCH_CHECK(q->scalar_type() == at::kFloat || q->scalar_type() == at::kBFloat16, "attention is in f32 or bf16");
    TORCH_CHECK(k->sizes().slice(0, 2) == q->sizes().slice(0, 2) && v->sizes().slice(0, 3) == k->sizes().slice(0, 3) && k->size(3) == q->size(3),
                "queries, keys and values do not fit together");
    TORCH_CHECK(!causal || q->size(2) == k->size(2), "causal attention needs as many keys as queries");
    TORCH_CHECK(!mask || (mask->dim() == 4 && mask->device().is_cpu() && mask->scalar_type() == at::kBool), "a mask holds booleans");
    const bool cast = at::autocast::is_autocast_enabled(at::kCPU);
    const auto kind = [&](const at::Tensor& x) { return cast ? x.to(at::kBFloat16) : x; };
    *out = new at::Tensor(Attention::apply(kind(*q), kind(*k), kind(*v), mask ? std::make_optional(*mask) : std::nullopt, causal != 0, scale));
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

}  // extern "C"
