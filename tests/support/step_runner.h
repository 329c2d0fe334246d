// Runs a ModelCode, compiled or interpreted, without the engine: plain memory, plain threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/core/step.h"

namespace forge::test {

// Rows of one code step: tokens of a sequence from its position `first` on.
struct SequenceRows {
  uint32_t sequence = 0;
  uint32_t first = 0;
  std::vector<int32_t> tokens;
  rt::RowClass row_class = rt::RowClass::prompt;
};

class StepRunner {
 public:
  // weights may be null for the interpreter. All memory starts as NaN patterns, so that reading what was not
  // written shows.
  StepRunner(const rt::ModelCode& code, const uint8_t* weights, uint32_t n_workers, uint32_t n_sequences);

  // One step of at most max_rows rows; the logits [n, n_vocab] of its last n rows, n = min(rows, wanted), at most
  // max_out_rows.
  std::vector<float> step(const std::vector<SequenceRows>& batch, uint32_t wanted = 16);
  // The same with the logits of the given rows, ascending, at most max_out_rows.
  std::vector<float> step_wanting(const std::vector<SequenceRows>& batch,
                                  const std::vector<uint32_t>& out_rows);
  // A prompt of sequence 0, cut into steps of at most `cut` rows; logits of every position.
  std::vector<float> prompt(std::span<const int32_t> tokens, uint32_t cut);
  // The same with cuts up to max_rows; logits of the last position only.
  std::vector<float> last_of_prompt(std::span<const int32_t> tokens, uint32_t cut);

  std::vector<float> hidden;  // of the last step, [rows, n_hidden]
  // As in StepArgs.
  decltype(rt::StepArgs::trace) trace = nullptr;
  void* trace_context = nullptr;
  rt::StageLog* stage_logs = nullptr;

 private:
  const rt::ModelCode& code_;
  const uint8_t* weights_;
  uint32_t n_workers_, pages_per_sequence_;
  std::vector<std::vector<uint32_t>> pages_;
  struct Aligned {
    explicit Aligned(size_t n);
    std::vector<uint8_t> bytes;
    uint8_t* data;
  };
  Aligned kv_, arena_, scratch_;
};

}  // namespace forge::test
