// LibTorch's package holds gloo and c10d's headers, but not gloo's own, which c10d's include. These files in their place declare no more than
// c10d's `ProcessGroupGloo` needs to be parsed. Its objects hold the classes below by pointer alone, so their layout does not matter here, and
// nothing of them is ever made or called by us.

#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
