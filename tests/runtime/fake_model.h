// A deterministic toy behind the step contract: what a row's logits are depends on its sequence's tokens and
// row classes, seen through the KV pages, and on nothing else. It writes one entry a position and reads all
// of them back through the page table, so that a wrong page, a lost copy or a wrong order changes the text.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/core/step.h"

namespace forge::rt {

struct FakeModel {
  ModelCode code{};
  // From this position on the end token is by far the most likely (never: -1).
  int32_t ends_at = -1;
  // From this position on the text repeats "The end" (never: -1).
  int32_t says_the_end_at = -1;
  // Where set, every logit is NaN.
  bool broken = false;
  // Raised by the step that runs this position (never: -1), as Ctrl-C would be.
  int32_t interrupts_at = -1;
  std::atomic<bool>* interrupt = nullptr;
  // Counted by worker 0.
  uint32_t n_steps = 0, n_rows = 0;
};

// Prepares a model with the vocabulary of fake_payload_input(). KV: 64 positions of 16 bytes a page.
void init_fake_model(FakeModel& model, uint32_t ctx_max = 512, uint32_t max_rows = 16,
                     uint32_t max_out_rows = 4);

// Byte-level vocabulary: tokens 0 .. 255 are the bytes, then these.
inline constexpr int32_t kFakeEnd = 256;    // "<|end|>", control, end of generation
inline constexpr int32_t kFakeStart = 257;  // "<|start|>", control
inline constexpr uint32_t kFakeVocab = 258;

inline constexpr uint64_t kFakePlanHash = 0x5eed;

}  // namespace forge::rt
