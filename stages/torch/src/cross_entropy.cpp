// Softmax and cross entropy over large vocabularies on the CPU, one row after another: a row of logits becomes the gradient of its loss in place,
// so that it is read and written while it is in the nearest cache. LibTorch's operators need five passes over all rows for it.

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "lanes.h"

namespace {

constexpr int64_t LANES = 32;

// `row` of `count` logits becomes softmax − target, where the target is 1 − smoothing at `label` and smoothing / count everywhere besides;
// gives the negative log-likelihood of `label`. `room` holds `count` numbers.
template <typename T> MILL_INLINE float cross_entropy_row(T* row, float* room, int64_t count, int64_t label, float smoothing) {
  float lanes[LANES];
  const int64_t whole = count / LANES * LANES;
  const float right = load(row, label);
  for (int64_t l = 0; l < LANES; ++l) lanes[l] = -INFINITY;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int64_t l = 0; l < LANES; ++l) {
      float value = load(row, i + l);
      lanes[l] = lanes[l] < value ? value : lanes[l];
    }
  for (int64_t i = whole; i < count; ++i) lanes[0] = std::fmax(lanes[0], load(row, i));
  float highest = lanes[0];
  for (int64_t l = 1; l < LANES; ++l) highest = std::fmax(highest, lanes[l]);
  for (int64_t l = 0; l < LANES; ++l) lanes[l] = 0;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int64_t l = 0; l < LANES; ++l) {
      float value = exponential(load(row, i + l) - highest);
      room[i + l] = value;
      lanes[l] += value;
    }
  for (int64_t i = whole; i < count; ++i) lanes[0] += room[i] = exponential(load(row, i) - highest);
  double sum = 0;
  for (int64_t l = 0; l < LANES; ++l) sum += lanes[l];
  const float scale = float(1.0 / sum), off = smoothing / float(count);
  for (int64_t i = 0; i < count; ++i) store(row, i, room[i] * scale - off);
  store(row, label, room[label] * scale - off - (1.0f - smoothing));
  return float(std::log(sum) + highest - right);
}

template <typename T> using Row = float (*)(T*, float*, int64_t, int64_t, float);

template <typename T> float plain(T* row, float* room, int64_t count, int64_t label, float smoothing) {
  return cross_entropy_row(row, room, count, label, smoothing);
}

template <typename T> MILL_AVX2 float avx2(T* row, float* room, int64_t count, int64_t label, float smoothing) {
  return cross_entropy_row(row, room, count, label, smoothing);
}

template <typename T> MILL_AVX512 float avx512(T* row, float* room, int64_t count, int64_t label, float smoothing) {
  return cross_entropy_row(row, room, count, label, smoothing);
}

template <typename T> void cross_entropy(T* logits, const at::Tensor& labels, int64_t vocabulary, float smoothing, at::Tensor& nll) {
  const Row<T> row = has_avx512() ? avx512<T> : has_avx2() ? avx2<T> : plain<T>;
  const int64_t* first = labels.const_data_ptr<int64_t>();
  // LibTorch's own threads take the rows.
  auto rows = at::TensorIteratorConfig().check_all_same_dtype(false).add_output(nll).add_const_input(labels).build();
  rows.for_each(
      [&](char** data, const int64_t* strides, int64_t count) {
        std::vector<float> room(vocabulary);
        for (int64_t i = 0; i < count; ++i) {
          auto* label = reinterpret_cast<const int64_t*>(data[1] + i * strides[1]);
          *reinterpret_cast<float*>(data[0] + i * strides[0]) = row(logits + (label - first) * vocabulary, room.data(), vocabulary, *label, smoothing);
        }
      },
      /*grain_size=*/1);
}

}  // namespace

extern "C" {

// Turns `logits` (rows, vocabulary), f32 or bf16 on the CPU, into softmax − target in place and writes the negative log-likelihoods of `labels`
// (rows, i64) to `nll` (rows, f32). All are contiguous and labels within the vocabulary.
char* mill_cross_entropy(at::Tensor* logits, at::Tensor* labels, double smoothing, at::Tensor* nll) {
  try {
    at::NoGradGuard no_grad;
    const int64_t vocabulary = logits->size(1);
    TORCH_CHECK(logits->is_contiguous() && labels->is_contiguous() && nll->is_contiguous(), "cross entropy needs contiguous tensors");
    if (labels->numel() == 0) return nullptr;
    TORCH_CHECK(labels->min().item<int64_t>() >= 0 && labels->max().item<int64_t>() < vocabulary, "a label is outside of the vocabulary");
    if (logits->scalar_type() == at::kBFloat16)
      cross_entropy(reinterpret_cast<uint16_t*>(logits->mutable_data_ptr()), *labels, vocabulary, float(smoothing), *nll);
    else
      cross_entropy(logits->mutable_data_ptr<float>(), *labels, vocabulary, float(smoothing), *nll);
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

}  // extern "C"
