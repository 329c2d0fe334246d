// logits: the logits of given tokens, and every stage's values, for finding where two runs part.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "runtime/core/engine.h"
#include "runtime/host/program.h"

namespace forge::rt {
namespace {

// Collects what the trace hands out: DIR/LAYER.NAME.f32, rows appended across steps, "-" for no layer.
struct Trace {
  struct File {
    FileWriter writer;
    uint64_t rows = 0;
    uint32_t cols = 0;
  };
  std::string directory;
  std::map<std::string, File> files;
  std::vector<std::string> order;
  std::string error;  // the first one; nothing is written after it

  void add(const char* name, int32_t layer, const float* data, uint32_t rows, uint32_t cols,
           uint32_t stride) {
    if (!error.empty()) return;
    std::string key = (layer < 0 ? std::string("-") : std::to_string(layer)) + "." + name;
    std::replace(key.begin(), key.end(), '/', '_');
    auto it = files.find(key);
    if (it == files.end()) {
      auto writer = FileWriter::create(directory + "/" + key + ".f32");
      if (!writer) {
        error = writer.error().message;
        return;
      }
      order.push_back(key);
      it = files.emplace(key, File{.writer = std::move(*writer), .cols = cols}).first;
    }
    File& file = it->second;
    if (file.cols != cols) error = text("trace: '", key, "' has ", cols, " columns after ", file.cols);
    for (uint32_t r = 0; r < rows && error.empty(); ++r) {
      const auto* row = reinterpret_cast<const uint8_t*>(data + static_cast<size_t>(r) * stride);
      if (const Status written = file.writer.write({row, cols * sizeof(float)}); !written) {
        error = written.error().message;
      }
    }
    file.rows += rows;
  }

  Status finish() {
    std::string index;
    for (const std::string& key : order) {
      File& file = files.at(key);
      if (const Status committed = file.writer.commit(); !committed) return committed;
      index += text(key, " ", file.rows, " ", file.cols, "\n");
    }
    if (!error.empty()) return Error{error};
    auto writer = FileWriter::create(directory + "/index.txt");
    if (!writer) return writer.error();
    if (const Status written = writer->write(as_bytes(index)); !written) return written;
    return writer->commit();
  }
};

void on_trace(void* context, const char* name, int32_t layer, const float* data, uint32_t rows, uint32_t cols,
              uint32_t stride) {
  static_cast<Trace*>(context)->add(name, layer, data, rows, cols, stride);
}

}  // namespace

int logits_command(Program& program, std::span<const std::string> args) {
  RunFlags run;
  std::string list;
  std::string output;
  uint32_t chunk = 0;
  bool generated = false;
  Trace trace;
  std::vector<Option> options = {
      {.name = "--tokens", .value = "IDS", .help = "token ids: 1,5,9", .set = into(list)},
      {.name = "--output",
       .letter = 'o',
       .value = "F",
       .help = "file for float32 [tokens, vocab], little-endian; - is standard output",
       .set = into(output)},
      {.name = "--trace-tensors",
       .value = "DIR",
       .help = "also write each stage's rows to DIR/LAYER.NAME.f32, with their shapes in DIR/index.txt",
       .set = into(trace.directory)},
      {.name = "--chunk",
       .value = "N",
       .help = "tokens a step (default: as many as the program takes)",
       .set = into(chunk, 1)},
      {.name = "--generated",
       .help = "run the tokens one by one, as if they had been generated",
       .set = into(generated)},
  };
  add_run_options(options, run);
  Arguments parsed;
  int status = 0;
  if (!parse_command(program,
                     {.command = "logits",
                      .positionals = "",
                      .summary = "Writes the logits behind each of the given tokens.",
                      .example = "logits --tokens 1,5,9 -o logits.f32"},
                     options, args, 0, parsed, status)) {
    return status;
  }
  const auto tokens = parse_token_ids(list);
  if (!tokens) return fail(program, Error{text("logits: --tokens: ", tokens.error().message)}, kMisuse);
  if (tokens->empty() || output.empty()) {
    return fail(program, Error{"logits: --tokens IDS and -o F are needed"}, kMisuse);
  }
  for (const int32_t token : *tokens) {
    if (static_cast<uint32_t>(token) >= program.code->n_vocab) {
      return fail(program, Error{text("logits: token ", token, " is not below ", program.code->n_vocab)},
                  kMisuse);
    }
  }
  const auto session = open_session(program, run, status);
  if (session == nullptr) return status;
  Engine& engine = session->engine;
  if (tokens->size() > engine.ctx()) {
    return fail(
        program,
        Error{text("logits: ", tokens->size(), " tokens, the context holds ", engine.ctx(), " (see --ctx)")},
        kMisuse);
  }
  auto file = FileWriter::create(output);
  if (!file) return fail(program, file.error());
  if (!trace.directory.empty()) {
    if (mkdir(trace.directory.c_str(), 0777) != 0 && errno != EEXIST) {
      return fail(program, system_error(trace.directory, "can't be created"));
    }
    engine.set_trace(on_trace, &trace);
  }
  if (chunk == 0) chunk = std::min(program.code->max_rows, program.code->max_out_rows);
  if (generated) chunk = 1;
  Sequence sequence;
  const BatchSequence sequences[] = {{.kv = &sequence}};
  for (size_t first = 0; first < tokens->size(); first += chunk) {
    std::vector<Row> rows(std::min<size_t>(chunk, tokens->size() - first));
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = {.token = (*tokens)[first + i],
                 .position = static_cast<int32_t>(first + i),
                 .row_class = generated ? RowClass::generated : RowClass::prompt,
                 .want = Want::logits};
    }
    const auto out = engine.step({.rows = rows, .sequences = sequences});
    if (!out) return fail(program, out.error());
    const auto* bytes = reinterpret_cast<const uint8_t*>(out->logits.data());
    if (const Status written = file->write({bytes, out->logits.size() * sizeof(float)}); !written) {
      return fail(program, written.error());
    }
  }
  if (!trace.directory.empty()) {
    if (const Status finished = trace.finish(); !finished) return fail(program, finished.error());
  }
  if (const Status committed = file->commit(); !committed) return fail(program, committed.error());
  return 0;
}

}  // namespace forge::rt
