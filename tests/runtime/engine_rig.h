// An engine over the fake model, for tests.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/core/tokenizer.h"
#include "tests/runtime/fake_model.h"
#include "tests/runtime/fake_payload.h"

namespace forge::rt {

struct AlignedBytes {
  std::vector<uint8_t> storage;
  explicit AlignedBytes(size_t n) : storage(n + 64) {}
  std::span<uint8_t> bytes() {
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
    return std::span(storage).subspan(skip, storage.size() - 64);
  }
};

// On this thread alone.
struct Rig {
  FakeModel model;
  std::vector<uint8_t> payload_bytes = build_payload(fake_payload_input(), false);
  Payload payload;
  AlignedBytes kv, arena{4096}, scratch{64};
  Team team;
  std::optional<Engine> engine;
  std::optional<Tokenizer> tokenizer;

  explicit Rig(uint32_t max_rows = 16, uint32_t max_out_rows = 4, uint32_t ctx = 512, uint32_t n_pages = 16)
      : kv(n_pages * 1024) {
    init_fake_model(model, 512, max_rows, max_out_rows);
    auto opened = open_payload(payload_bytes);
    EXPECT_TRUE(opened);
    payload = std::move(*opened);
    auto made =
        Engine::create(model.code, payload, nullptr,
                       {.kv = kv.bytes(), .arena = arena.bytes(), .scratch = scratch.bytes()}, team, ctx);
    EXPECT_TRUE(made) << made.error().message;
    engine.emplace(std::move(*made));
    auto tables = Tokenizer::open(payload.tokenizer);
    EXPECT_TRUE(tables);
    tokenizer.emplace(*tables);
  }

  Outputs step(const Batch& batch) {
    auto out = engine->step(batch);
    EXPECT_TRUE(out) << out.error().message;
    return out ? std::move(*out) : Outputs{};
  }
};

inline std::vector<int32_t> some_tokens(size_t n, uint32_t seed) {
  std::vector<int32_t> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>((i * 31 + seed * 17 + i * i % 7) % 256);
  return out;
}

inline SamplingParams greedy() { return {.temperature = 0}; }

}  // namespace forge::rt
