#include "runtime/core/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace forge::rt {
namespace {

std::vector<Row> rows_for(std::span<const int32_t> tokens, uint32_t first_position) {
  std::vector<Row> rows(tokens.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].token = tokens[i];
    rows[i].position = static_cast<int32_t>(first_position + i);
  }
  return rows;
}

}  // namespace

Status prefill(Engine& engine, Sequence& sequence, std::span<const int32_t> tokens,
               const std::atomic<bool>* interrupt) {
  if (tokens.empty()) return Ok{};
  const std::vector<Row> rows = rows_for(tokens, sequence.n_past);
  const BatchSequence sequences[] = {{.kv = &sequence}};
  const auto out = engine.step({.rows = rows, .sequences = sequences, .interrupt = interrupt});
  if (!out) return out.error();
  return Ok{};
}

Result<Generated> generate(Engine& engine, const Tokenizer& tokenizer, Sequence& sequence, Sampler& sampler,
                           std::span<const int32_t> prompt, TextStream& stream,
                           const GenerateOptions& options) {
  if (prompt.empty()) return Error{"the prompt is empty"};
  if (sequence.n_past >= engine.ctx() && options.n_generated_before >= prompt.size()) {
    Generated full;
    full.reason = StopReason::context_full;
    return full;
  }
  if (prompt.size() > engine.ctx() - sequence.n_past) {
    return Error{text("the prompt has ", sequence.n_past + prompt.size(), " tokens, the context holds ",
                      engine.ctx(), " (see --ctx)")};
  }
  Generated out;
  const auto show = [&](const std::string& piece) {
    if (piece.empty()) return;
    out.text += piece;
    if (options.on_text) options.on_text(piece);
  };
  std::vector<TokenBias> never;
  if (options.ignore_eos) {
    for (int32_t t = 0; t < tokenizer.n_vocab(); ++t) {
      if (tokenizer.is_end_of_generation(t)) never.push_back({t, -std::numeric_limits<float>::infinity()});
    }
  }
  BatchSequence sequences[] = {{.kv = &sequence, .sampler = &sampler, .constraint = {.bias = never}}};

  std::vector<Row> rows = rows_for(prompt, sequence.n_past);
  for (size_t i = 0; i < std::min<size_t>(options.n_generated_before, rows.size()); ++i) {
    rows[i].row_class = RowClass::generated;
  }
  GrammarState* grammar = options.grammar;
  const bool ends_empty = grammar != nullptr && grammar->only_end_left();
  if (options.max_tokens != 0 && !ends_empty) rows.back().want = Want::token;
  for (const int32_t token : prompt) sampler.accept(token);
  if (grammar != nullptr) sequences[0].constraint.allowed = grammar->allowed();
  int32_t token = -1;
  for (size_t done = 0; done < rows.size();) {
    const size_t n = std::min<size_t>(rows.size() - done, engine.code().max_rows);
    const auto step = engine.step(
        {.rows = std::span(rows).subspan(done, n), .sequences = sequences, .interrupt = options.interrupt});
    if (!step) return step.error();
    if (step->interrupted) {
      out.reason = StopReason::interrupted;
      show(finish_text(stream));
      return out;
    }
    done += n;
    if (options.on_prompt) options.on_prompt(static_cast<uint32_t>(done), static_cast<uint32_t>(rows.size()));
    if (!step->failed.empty()) return step->failed[0].error;
    if (!step->tokens.empty()) token = step->tokens[0].token;
  }
  if (options.max_tokens == 0 || ends_empty) {
    if (ends_empty) out.reason = StopReason::end_of_generation;
    show(finish_text(stream));
    return out;
  }

  for (;;) {
    if (!options.ignore_eos && tokenizer.is_end_of_generation(token)) {
      out.reason = StopReason::end_of_generation;
      break;
    }
    out.tokens.push_back(token);
    std::string bytes;
    std::string whole;
    tokenizer.append_piece(token, bytes);
    stream.characters.push(bytes, whole);
    show(stream.stops.push(whole));
    if (stream.stops.matched()) {
      out.reason = StopReason::stop_string;
      break;
    }
    if (grammar != nullptr) {
      if (!grammar->accept(token))
        return Error{"the grammar has too many readings of the text; make it less ambiguous"};
      if (grammar->only_end_left()) {
        out.reason = StopReason::end_of_generation;
        break;
      }
    }
    if (out.tokens.size() >= options.max_tokens) break;
    if (sequence.n_past >= engine.ctx()) {
      out.reason = StopReason::context_full;
      break;
    }
    if (grammar != nullptr) sequences[0].constraint.allowed = grammar->allowed();
    const Row row{.token = token,
                  .position = static_cast<int32_t>(sequence.n_past),
                  .row_class = RowClass::generated,
                  .want = Want::token};
    const auto step =
        engine.step({.rows = {&row, 1}, .sequences = sequences, .interrupt = options.interrupt});
    if (!step) return step.error();
    if (step->interrupted) {
      out.reason = StopReason::interrupted;
      break;
    }
    if (!step->failed.empty()) return step->failed[0].error;
    token = step->tokens[0].token;
  }
  if (out.reason != StopReason::context_full) show(finish_text(stream));
  return out;
}

std::string finish_text(TextStream& stream) {
  std::string rest;
  stream.characters.flush(rest);
  std::string out = stream.stops.push(rest);
  return out + stream.stops.finish();
}

}  // namespace forge::rt
