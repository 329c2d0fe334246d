// The oracle: runs a Graph with the plainest loops that can be read.
//
// The source graph runs in float32 on decoded weights; the optimized graph runs with its q8 activations on
// the quants themselves. Kernels add in the order that these loops add in, so a compiled program's results
// can be compared bit for bit with the optimized graph's.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/checkpoint.h"
#include "ir/graph.h"
#include "runtime/core/step.h"

namespace forge {

// Implements the runtime's contract (rt::ModelCode), so that every command runs on it as on compiled code.
// Graph and checkpoint must outlive it. Worker 0 does all the work.
class Interpreter {
 public:
  // plan_hash: of the payload that it will be run with.
  Interpreter(const Graph& graph, const Checkpoint& checkpoint, uint64_t plan_hash = 0);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  const rt::ModelCode& model_code() const { return code_; }
  void step(const rt::StepArgs& args) const;

 private:
  const Graph& graph_;
  std::vector<std::vector<Tensor>> tensors_;  // [weight][layer]
  rt::ModelCode code_;
};

}  // namespace forge
