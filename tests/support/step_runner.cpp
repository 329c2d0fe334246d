#include "tests/support/step_runner.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

namespace forge::test {

StepRunner::Aligned::Aligned(size_t n) : bytes(n + 64, 0xFF) {
  data = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
}

StepRunner::StepRunner(const rt::ModelCode& code, const uint8_t* weights, uint32_t n_workers,
                       uint32_t n_sequences)
    : code_(code),
      weights_(weights),
      n_workers_(n_workers),
      pages_per_sequence_((code.ctx_max + rt::kPagePositions - 1) / rt::kPagePositions),
      kv_(code.kv_page_bytes * pages_per_sequence_ * n_sequences),
      arena_(code.arena_bytes),
      scratch_(code.scratch_bytes * n_workers) {
  // Pages of the sequences alternate, so that none lies in one piece.
  for (uint32_t s = 0; s < n_sequences; ++s) {
    pages_.emplace_back();
    for (uint32_t p = 0; p < pages_per_sequence_; ++p) pages_[s].push_back(p * n_sequences + s);
  }
}

std::vector<float> StepRunner::step(const std::vector<SequenceRows>& batch, uint32_t wanted) {
  size_t n_rows = 0;
  for (const SequenceRows& rows : batch) n_rows += rows.tokens.size();
  std::vector<uint32_t> last(std::min<size_t>(n_rows, wanted));
  std::iota(last.begin(), last.end(), static_cast<uint32_t>(n_rows - last.size()));
  return step_wanting(batch, last);
}

std::vector<float> StepRunner::step_wanting(const std::vector<SequenceRows>& batch,
                                            const std::vector<uint32_t>& out_rows) {
  std::vector<int32_t> tokens, positions;
  std::vector<uint32_t> sequences;
  std::vector<rt::RowClass> classes;
  for (const SequenceRows& rows : batch)
    for (uint32_t i = 0; i < rows.tokens.size(); ++i) {
      tokens.push_back(rows.tokens[i]);
      positions.push_back(static_cast<int32_t>(rows.first + i));
      sequences.push_back(rows.sequence);
      classes.push_back(rows.row_class);
    }
  std::vector<const uint32_t*> tables;
  tables.reserve(pages_.size());
  for (const auto& p : pages_) tables.push_back(p.data());
  const size_t n = out_rows.size();
  std::vector<float> logits(n * code_.logits_stride);
  hidden.assign(n * code_.n_hidden, 0);
  rt::Barrier barrier;
  barrier.n_workers = n_workers_;
  barrier.spins = 100;  // more workers than cores is a case here, not an accident
  barrier.sleep = [](rt::Barrier*, uint32_t) { std::this_thread::sleep_for(std::chrono::microseconds(20)); };
  rt::StepArgs args;
  args.n_rows = static_cast<uint32_t>(tokens.size());
  args.tokens = tokens.data();
  args.positions = positions.data();
  args.row_sequence = sequences.data();
  args.row_class = classes.data();
  args.n_sequences = static_cast<uint32_t>(tables.size());
  args.page_tables = tables.data();
  args.n_out_rows = static_cast<uint32_t>(n);
  args.out_rows = out_rows.data();
  args.hidden = hidden.data();
  args.logits = logits.data();
  args.weights = weights_;
  args.kv_pool = kv_.data;
  args.arena = arena_.data;
  args.scratch = scratch_.data;
  args.barrier = &barrier;
  args.n_workers = n_workers_;
  args.trace = trace;
  args.trace_context = trace_context;
  args.stage_logs = stage_logs;
  std::vector<std::thread> threads;
  for (uint32_t w = 1; w < n_workers_; ++w) threads.emplace_back([&, w] { code_.step(&code_, &args, w); });
  code_.step(&code_, &args, 0);
  for (std::thread& t : threads) t.join();

  std::vector<float> out;
  for (size_t r = 0; r < n; ++r)
    out.insert(out.end(), logits.begin() + static_cast<ptrdiff_t>(r * code_.logits_stride),
               logits.begin() + static_cast<ptrdiff_t>(r * code_.logits_stride + code_.n_vocab));
  return out;
}

std::vector<float> StepRunner::prompt(std::span<const int32_t> tokens, uint32_t cut) {
  std::vector<float> out;
  for (uint32_t at = 0; at < tokens.size();) {
    const uint32_t n =
        std::min<uint32_t>({cut, code_.max_out_rows, static_cast<uint32_t>(tokens.size()) - at});
    const auto piece = tokens.subspan(at, n);
    const std::vector<float> logits = step({{0, at, {piece.begin(), piece.end()}, rt::RowClass::prompt}});
    out.insert(out.end(), logits.begin(), logits.end());
    at += n;
  }
  return out;
}

std::vector<float> StepRunner::last_of_prompt(std::span<const int32_t> tokens, uint32_t cut) {
  std::vector<float> out;
  for (uint32_t at = 0; at < tokens.size();) {
    const uint32_t n = std::min<uint32_t>({cut, code_.max_rows, static_cast<uint32_t>(tokens.size()) - at});
    const auto piece = tokens.subspan(at, n);
    out = step({{0, at, {piece.begin(), piece.end()}, rt::RowClass::prompt}}, 1);
    at += n;
  }
  return out;
}

}  // namespace forge::test
