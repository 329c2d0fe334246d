// activations: how large each stage's values are over a text. `forge quantize --calibration-file` weighs errors by it.
//
// Writes the mean square of every column of every traced value in llama.cpp's older importance matrix format, all
// integers 32-bit: number of entries, then of each the length of its name, the name ("LAYER.VALUE", "-" for no layer),
// a number of calls (1), the number of columns, and a float32 a column.
#include <algorithm>
#include <map>
#include <vector>

#include "runtime/core/engine.h"
#include "runtime/host/program.h"

namespace forge::rt {
namespace {

struct SquareSums {
  struct Entry {
    std::vector<double> sums;
    uint64_t rows = 0;
  };
  std::map<std::string, Entry> entries;
};

void on_trace(void* context, const char* name, int32_t layer, const float* data, uint32_t rows, uint32_t cols,
              uint32_t stride) {
  const std::string key = (layer < 0 ? std::string("-") : std::to_string(layer)) + "." + name;
  auto& entry = static_cast<SquareSums*>(context)->entries[key];
  entry.sums.resize(cols);
  entry.rows += rows;
  for (uint32_t r = 0; r < rows; ++r) {
    const float* row = data + static_cast<size_t>(r) * stride;
    for (uint32_t i = 0; i < cols; ++i)
      entry.sums[i] += static_cast<double>(row[i]) * static_cast<double>(row[i]);
  }
}

template <class T>
Status write_value(FileWriter& file, T value) {
  return file.write({reinterpret_cast<const uint8_t*>(&value), sizeof value});
}

Status write_entries(FileWriter& file, const SquareSums& sums) {
  if (Status s = write_value(file, static_cast<int32_t>(sums.entries.size())); !s) return s;
  for (const auto& [name, entry] : sums.entries) {
    std::vector<float> means(entry.sums.size());
    for (size_t i = 0; i < means.size(); ++i)
      means[i] = static_cast<float>(entry.sums[i] / static_cast<double>(entry.rows));
    if (Status s = write_value(file, static_cast<int32_t>(name.size())); !s) return s;
    if (Status s = file.write(as_bytes(name)); !s) return s;
    if (Status s = write_value(file, int32_t{1}); !s) return s;
    if (Status s = write_value(file, static_cast<int32_t>(means.size())); !s) return s;
    if (Status s = file.write({reinterpret_cast<const uint8_t*>(means.data()), means.size() * sizeof(float)});
        !s)
      return s;
  }
  return file.commit();
}

// Runs a chunk of the text from an empty context. The hidden states of as many rows as a step gives out are wanted, so
// that the head's input is traced as well; the head itself is not computed.
Status run_chunk(Session& session, std::span<const int32_t> tokens) {
  Engine& engine = session.engine;
  const size_t step = engine.code().max_rows;
  const size_t wanted_every = (step + engine.code().max_out_rows - 1) / engine.code().max_out_rows;
  Sequence sequence;
  const BatchSequence sequences[] = {{.kv = &sequence}};
  for (size_t first = 0; first < tokens.size(); first += step) {
    std::vector<Row> rows(std::min(step, tokens.size() - first));
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t at = first + i;
      rows[i] = {.token = at == 0 && session.tokenizer.adds_bos() ? session.tokenizer.bos() : tokens[at],
                 .position = static_cast<int32_t>(at),
                 .want = i % wanted_every == 0 ? Want::hidden : Want::nothing};
    }
    const auto out = engine.step({.rows = rows, .sequences = sequences});
    if (!out) return out.error();
  }
  engine.pool().truncate(sequence, 0);
  return Ok{};
}

}  // namespace

int activations_command(Program& program, std::span<const std::string> args) {
  RunFlags run;
  std::string output;
  uint32_t max_chunks = UINT32_MAX;
  std::vector<Option> options = {
      {.name = "--output", .letter = 'o', .value = "F", .help = "the file to write", .set = into(output)},
      {.name = "--chunks", .value = "N", .help = "run the first N contexts only", .set = into(max_chunks, 1)},
  };
  add_run_options(options, run);
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "activations",
           .positionals = "TEXTFILE",
           .summary = "Writes the mean square of every column of every stage's values over a text.",
           .example = "activations book.txt -o squares.dat"},
          options, args, 1, parsed, status)) {
    return status;
  }
  if (parsed.positionals.empty() || output.empty())
    return fail(program, Error{"activations: TEXTFILE and -o F are needed"}, kMisuse);
  auto input = read_file(parsed.positionals[0]);
  if (!input) return fail(program, input.error());
  if (input->empty()) return fail(program, Error{text(parsed.positionals[0], ": no text")});
  const auto session = open_session(program, run, status, output);
  if (session == nullptr) return status;
  const std::vector<int32_t> tokens = session->tokenizer.encode(*input);
  SquareSums sums;
  session->engine.set_trace(on_trace, &sums);
  const size_t ctx = session->engine.ctx();
  const size_t end = tokens.size() / ctx < max_chunks ? tokens.size() : max_chunks * ctx;
  for (size_t at = 0; at < end; at += ctx) {
    const Status ran = run_chunk(*session, std::span(tokens).subspan(at, std::min(ctx, end - at)));
    if (!ran) return fail(program, ran.error());
  }
  auto file = FileWriter::create(output);
  if (!file) return fail(program, file.error());
  if (const Status written = write_entries(*file, sums); !written) return fail(program, written.error());
  return 0;
}

}  // namespace forge::rt
