// Sums of tensors over the processes of a training, through LibTorch's c10d: gloo for processors, NCCL for GPUs.
// Every function returns null, or an error text that the caller frees.

#define USE_C10D_GLOO
#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <dlfcn.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Gradients of at least so many values are summed where they lie; smaller ones are put together first.
constexpr int64_t LARGE = 1 << 16;

using Seconds = std::chrono::duration<double>;

std::chrono::milliseconds milliseconds(Seconds seconds) { return std::chrono::duration_cast<std::chrono::milliseconds>(seconds); }

// NCCL by the functions that libtorch_cuda exports. Its headers need CUDA's, so the library, once loaded, is asked for them by name.
// Written by the declarations in torch/csrc/cuda/nccl.h and never run: it needs a GPU for each rank.
class Nccl {
 public:
  Nccl(c10d::Store& store, int rank, int count, int gpu) {
    auto make_id = function<void(Id&)>("13get_unique_idERNS1_12ncclUniqueIdE");
    auto begin = function<void*(int, const Id&, int)>("14comm_init_rankEiRKNS1_12ncclUniqueIdEi");
    sum_ = function<Sum>(
        "10all_reduceERKSt6vectorIN2at6TensorESaIS4_EERS6_iRKS2_ISt8optionalIN3c104cuda10CUDAStreamEESaISE_EERKS2_IPvSaISJ_EE");
    c10::DeviceGuard guard(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(gpu)));
    Id id{};
    if (rank == 0) {
      make_id(id);
      store.set("nccl", std::vector<uint8_t>(id.bytes, id.bytes + sizeof(id.bytes)));
    } else {
      auto bytes = store.get("nccl");
      if (bytes.size() != sizeof(id.bytes)) throw std::runtime_error("the ranks have different versions of NCCL");
      std::memcpy(id.bytes, bytes.data(), bytes.size());
    }
    communicators_ = {begin(count, id, rank)};
  }

  // Goes on while the GPU works; what uses the tensor next waits on the same stream.
  void sum(const at::Tensor& tensor) {
    std::vector<at::Tensor> tensors{tensor};
    constexpr int32_t add = 0;
    sum_(tensors, tensors, add, no_streams_, communicators_);
  }

 private:
  struct Id {
    char bytes[128];
  };
  // References are addresses to the linker: the empty list of streams may have any element type.
  using Sum = void(const std::vector<at::Tensor>&, std::vector<at::Tensor>&, int32_t, const std::vector<void*>&, const std::vector<void*>&);

  template <typename F> static F* function(const char* name) {
    auto library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    auto found = library ? dlsym(library, (std::string("_ZN5torch4cuda4nccl") + name).c_str()) : nullptr;
    if (!found) throw std::runtime_error(std::string("no NCCL for ranks on GPUs; use --device cpu, or ranks = 1: ") + dlerror());
    return reinterpret_cast<F*>(found);
  }

  std::vector<void*> communicators_, no_streams_;
  Sum* sum_;
};

// The processes that met by a file.
class Group {
 public:
  Group(const char* path, int rank, int count, Seconds meeting, Seconds patience, int gpu) : patience_(milliseconds(patience)) {
    auto store = c10::make_intrusive<c10d::FileStore>(path, count);
    store->setTimeout(milliseconds(meeting));
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(meeting));
    options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
    gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, count, options);
    if (gpu >= 0) nccl_ = std::make_unique<Nccl>(*store, rank, count, gpu);
  }

  // Sums each of these over all ranks, in place; they are contiguous.
  void sum(const std::vector<at::Tensor>& tensors) {
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    for (auto& tensor : tensors) {
      if (tensor.is_cuda()) {
        nccl_->sum(tensor);
      } else {
        std::vector<at::Tensor> one{tensor};
        c10d::AllreduceOptions options;
        options.timeout = patience_;
        works.push_back(gloo_->allreduce(one, options));
      }
    }
    for (auto& work : works) work->wait();
  }

 private:
  std::chrono::milliseconds patience_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::unique_ptr<Nccl> nccl_;
};

// Gloo's errors begin with the place in its source and end with advice for its developers.
std::string first_sentence(std::string text) {
  if (auto place = text.find("] "); text.rfind("[", 0) == 0 && place != std::string::npos) text = text.substr(place + 2);
  return text.substr(0, text.find(". This is"));
}

template <typename F> char* guarded(F body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(first_sentence(error.what()).c_str());
  }
}

}  // namespace

extern "C" {

// Meets the other ranks by the file at `path`, for at most `meeting` seconds; later each is waited for `patience` seconds. `gpu` is the number
// of this rank's, -1 on a processor.
char* mill_meet(const char* path, int rank, int count, double meeting, double patience, int gpu, void** group) {
  return guarded([&] { *group = new Group(path, rank, count, Seconds(meeting), Seconds(patience), gpu); });
}

void mill_leave(void* group) { delete static_cast<Group*>(group); }

// Sums numbers over all ranks.
char* mill_sum(void* group, double* values, size_t count) {
  return guarded([&] {
    auto tensor = at::from_blob(values, {static_cast<int64_t>(count)}, at::kDouble);
    static_cast<Group*>(group)->sum({tensor});
  });
}

// Sums tensors over all ranks; all of one kind and on one device.
char* mill_sum_tensors(void* group, at::Tensor* const* tensors, size_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> sums, small, flat;
    for (size_t i = 0; i < count; ++i) {
      auto& tensor = *tensors[i];
      if (tensor.numel() >= LARGE && tensor.is_contiguous()) {
        sums.push_back(tensor);
      } else {
        small.push_back(tensor);
        flat.push_back(tensor.reshape({-1}));
      }
    }
    auto together = flat.empty() ? at::Tensor() : at::cat(flat);
    if (!flat.empty()) sums.push_back(together);
    static_cast<Group*>(group)->sum(sums);
    int64_t start = 0;
    for (auto& tensor : small) {
      tensor.copy_(together.narrow(0, start, tensor.numel()).view(tensor.sizes()));
      start += tensor.numel();
    }
  });
}

}  // extern "C"
