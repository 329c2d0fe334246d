// perplexity: counts exactly as llama.cpp's perplexity tool does by default, so that the numbers compare.
//
// The text (without one newline at its end) is tokenized as a whole and cut into chunks of ctx tokens, each
// run from an empty context with its first token replaced by the begin token, where the model adds one. Of
// each chunk the predictions of tokens ctx/2 + 1 .. ctx - 1 are scored.
//
// --logits keeps what was scored: a LogitsHeader, then for each scored token its id (int32) and the logits that
// predicted it (float32 [n_vocab]), all little-endian.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/host/json.h"
#include "runtime/host/logits_file.h"
#include "runtime/host/program.h"

namespace forge::rt {
namespace {

// Negative log-likelihood of targets[i] under logits row i.
struct ScoreJob {
  std::span<const float> logits;  // [targets.size(), n_vocab]
  std::span<const int32_t> targets;
  size_t n_vocab;
  uint32_t n_workers;
  std::span<double> scores;
};

void score_rows(void* arg, uint32_t worker) {
  const auto& job = *static_cast<const ScoreJob*>(arg);
  for (size_t i = worker; i < job.targets.size(); i += job.n_workers) {
    const float* row = job.logits.data() + i * job.n_vocab;
    const float best = *std::max_element(row, row + job.n_vocab);
    double sum = 0;
    for (size_t t = 0; t < job.n_vocab; ++t) sum += static_cast<double>(std::exp(row[t] - best));
    job.scores[i] = std::log(sum) - static_cast<double>(row[static_cast<size_t>(job.targets[i])] - best);
  }
}

struct Totals {
  double nll = 0, nll_squared = 0;
  uint64_t n_scored = 0, n_bytes = 0;
};

template <class T>
std::span<const uint8_t> bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

// Runs one chunk from an empty context and scores its second half, which goes to `file`, where that is not null.
Status score_chunk(Session& session, std::span<const int32_t> chunk, bool add_bos, FileWriter* file,
                   Totals& totals) {
  Engine& engine = session.engine;
  const ModelCode& code = engine.code();
  const size_t first_scored = chunk.size() / 2;
  Sequence sequence;
  const BatchSequence sequences[] = {{.kv = &sequence}};
  for (size_t done = 0; done < chunk.size();) {
    // As many rows as fit one code step, so that its outputs are all that is kept.
    std::vector<Row> rows;
    uint32_t n_out = 0;
    for (size_t i = done; i < chunk.size() && rows.size() < code.max_rows && n_out < code.max_out_rows; ++i) {
      // The last token predicts the next chunk's first, which is not scored.
      const bool scored = i >= first_scored && i + 1 < chunk.size();
      n_out += scored ? 1 : 0;
      rows.push_back({.token = i == 0 && add_bos ? session.tokenizer.bos() : chunk[i],
                      .position = static_cast<int32_t>(i),
                      .want = scored ? Want::logits : Want::nothing});
    }
    const auto out = engine.step({.rows = rows, .sequences = sequences});
    if (!out) return out.error();
    done += rows.size();
    if (n_out == 0) continue;
    const size_t last = std::min(done, chunk.size() - 1);  // the last scored row + 1
    std::vector<double> scores(n_out);
    ScoreJob job{.logits = out->logits,
                 .targets = chunk.subspan(last - n_out + 1, n_out),
                 .n_vocab = code.n_vocab,
                 .n_workers = engine.team().n_workers,
                 .scores = scores};
    run_team(engine.team(), score_rows, &job);
    for (const double score : scores) {
      totals.nll += score;
      totals.nll_squared += score * score;
    }
    totals.n_scored += n_out;
    for (size_t i = 0; i < n_out && file != nullptr; ++i) {
      for (const auto part :
           {bytes_of(job.targets.subspan(i, 1)), bytes_of(job.logits.subspan(i * job.n_vocab, job.n_vocab))})
        if (Status written = file->write(part); !written) return written;
    }
    std::string piece;
    for (const int32_t token : job.targets) session.tokenizer.append_piece(token, piece, /*special=*/true);
    totals.n_bytes += piece.size();
  }
  engine.pool().truncate(sequence, 0);
  return Ok{};
}

}  // namespace

int perplexity_command(Program& program, std::span<const std::string> args) {
  RunFlags run;
  uint32_t max_chunks = UINT32_MAX;
  bool json = false;
  std::string logits;
  std::vector<Option> options = {
      {.name = "--chunks", .value = "N", .help = "score the first N chunks only", .set = into(max_chunks, 1)},
      {.name = "--json", .help = "one JSON object on standard output", .set = into(json)},
      {.name = "--logits",
       .value = "F",
       .help = "also write the scored tokens and the logits that predicted them (what forge compare reads)",
       .set = into(logits)},
  };
  add_run_options(options, run);
  for (Option& o : options) {
    if (o.name != "--ctx") continue;
    o.help = "tokens of a chunk (default 512)";
    o.set = into(run.ctx, 4);
    o.variable = nullptr;
  }
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "perplexity",
           .positionals = "TEXTFILE",
           .summary =
               "Scores a text: chunks and their scored halves as llama.cpp's perplexity tool has them.",
           .example = "perplexity wiki.test.raw --ctx 512 --json"},
          options, args, 1, parsed, status)) {
    return status;
  }
  if (parsed.positionals.empty())
    return fail(program, Error{"perplexity: no TEXTFILE given (see --help)"}, kMisuse);
  if (run.ctx == 0) run.ctx = std::min(512U, program.code->ctx_max);
  auto input = read_file(parsed.positionals[0]);
  if (!input) return fail(program, input.error());
  if (const size_t zero = input->find('\0'); zero != std::string::npos)
    return fail(program, Error{text(parsed.positionals[0], ": byte ", zero, " is zero; expected a text")});
  if (input->ends_with('\n')) input->pop_back();
  const auto session = open_session(program, run, status);
  if (session == nullptr) return status;
  const std::vector<int32_t> tokens = session->tokenizer.encode(*input);
  const size_t ctx = run.ctx;
  if (tokens.size() < 2 * ctx) {
    return fail(program, Error{text(parsed.positionals[0], ": ", tokens.size(), " tokens, at least ", 2 * ctx,
                                    " are needed for chunks of ", ctx, "; try a smaller --ctx")});
  }
  const size_t n_chunks = std::min<size_t>(tokens.size() / ctx, max_chunks);
  const bool add_bos = session->tokenizer.adds_bos();
  std::optional<FileWriter> file;
  if (!logits.empty()) {
    auto created = FileWriter::create(logits);
    if (!created) return fail(program, created.error());
    file.emplace(std::move(*created));
    const LogitsHeader header = {.n_vocab = program.code->n_vocab,
                                 .n_chunks = static_cast<uint32_t>(n_chunks),
                                 .ctx = static_cast<uint32_t>(ctx),
                                 .chunk_rows = static_cast<uint32_t>(ctx - ctx / 2 - 1)};
    if (const Status written = file->write(bytes_of(std::span(&header, 1))); !written)
      return fail(program, written.error());
  }
  Totals totals;
  const double start = seconds_now();
  for (size_t i = 0; i < n_chunks; ++i) {
    const Status scored = score_chunk(*session, std::span(tokens).subspan(i * ctx, ctx), add_bos,
                                      file ? &*file : nullptr, totals);
    if (!scored) return fail(program, scored.error());
    program.err.write(text("[", i + 1, "/", n_chunks, "] ",
                           fixed(std::exp(totals.nll / static_cast<double>(totals.n_scored)), 4), "\n"));
    program.err.flush();
  }
  if (file) {
    if (const Status committed = file->commit(); !committed) return fail(program, committed.error());
  }
  const double seconds = seconds_now() - start;
  const auto n = static_cast<double>(totals.n_scored);
  const double mean = totals.nll / n;
  const double variance = totals.nll_squared / n - mean * mean;
  const double perplexity = std::exp(mean);
  const double error = variance > 0 && n > 1 ? std::sqrt(variance / (n - 1)) * perplexity : 0;
  const double bits_per_byte = totals.nll / std::log(2.0) / static_cast<double>(totals.n_bytes);
  if (json) {
    JsonObject object;
    object.add("perplexity", perplexity);
    object.add("error", error);
    object.add("bits_per_byte", bits_per_byte);
    object.add("tokens", static_cast<int64_t>(totals.n_scored));
    object.add("text_tokens", static_cast<int64_t>(tokens.size()));
    object.add("nll", mean);
    object.add("chunks", static_cast<int64_t>(n_chunks));
    object.add("ctx", static_cast<int64_t>(ctx));
    object.add("seconds", seconds);
    program.out.write(object.finish());
  } else {
    program.out.write(text("perplexity ", fixed(perplexity, 4), " +/- ", fixed(error, 5), ", ",
                           fixed(bits_per_byte, 4), " bits a byte, ", totals.n_scored, " tokens scored in ",
                           n_chunks, " chunks of ", ctx, "\n"));
  }
  return 0;
}

}  // namespace forge::rt
