// A conversation's state in a file: its tokens, its KV pages (runtime/core/kv_image.h), and what the command wants to
// remember beside them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/kv_image.h"
#include "runtime/core/result.h"
#include "runtime/host/program.h"

namespace forge::rt {

struct SavedState {
  // The first n_past tokens of the sequence are in the KV; a token behind them was generated and not yet run.
  std::vector<int32_t> tokens;
  std::string transcript;      // chat's messages; opaque here
  uint32_t n_prompt_rows = 0;  // see CachedText; 0 where nobody knows
};

// Appears under its name only when whole.
Status save_state(const std::string& path, const Program& program, const KvPool& pool,
                  const Sequence& sequence, const SavedState& state);

// A file that was checked, and not loaded yet.
struct StateFile {
  Mapping file;
  KvImage image;  // points into `file`
};
// Error for a file that is damaged, of another model or program, or longer than the engine's context.
Result<StateFile> open_state(const std::string& path, const Program& program, const Engine& engine);
// Fills `sequence`, which must be empty. Error where the engine has no room.
Result<SavedState> load_state(const std::string& path, const Program& program, Engine& engine,
                              Sequence& sequence);

}  // namespace forge::rt
