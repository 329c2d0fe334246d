// info: what was compiled, and whether it is still whole.
#include <algorithm>
#include <map>

#include "runtime/core/answer_format.h"
#include "runtime/host/program.h"

namespace forge::rt {

namespace {

// "thoughts <think>…</think>, switched by enable_thinking; calls <tool_call>…</tool_call>".
std::string summary_of(const AnswerFormat& format) {
  const ThinkingFormat& thinking = format.thinking;
  const CallFormat& calls = format.calls;
  std::string out =
      thinking.open.empty() ? "no thoughts" : text("thoughts ", thinking.open, "…", thinking.close);
  if (!thinking.variable.empty()) out += text(", switched by ", thinking.variable);
  const auto marker = [](const std::string& section, const std::string& call) {
    return std::string(trim_space(section.empty() ? call : section));
  };
  out += text("; calls ", marker(calls.section_begin, calls.call_begin), "…",
              marker(calls.section_end, calls.call_end));
  return out + (format.native_tools() ? "" : ", described by us");
}

}  // namespace

int info_command(Program& program, std::span<const std::string> args) {
  bool verify = false;
  bool tensors = false;
  const std::vector<Option> options = {
      {.name = "--verify", .help = "hash all weights; exit status 1 if any was altered", .set = into(verify)},
      {.name = "--tensors", .help = "list every tensor", .set = into(tensors)},
  };
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "info",
           .positionals = "",
           .summary = "Shows what was compiled: model, source, shapes, types, target, memory, compiler.",
           .example = "info --verify"},
          options, args, 0, parsed, status)) {
    return status;
  }
  const Payload& payload = *program.payload;
  const ModelCode* code = program.code;  // null for `forge info`, which reads a program's payload alone
  const auto table = parse_tensor_table(payload, AbsentWeights::allowed);
  if (!table) return fail(program, table.error());

  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [key, value] : payload.manifest) {
    if (const auto format = AnswerFormat::from_text(value); key == "answer.format" && format) {
      lines.emplace_back(key, summary_of(*format));
      continue;
    }
    std::string shown = value;
    std::replace(shown.begin(), shown.end(), '\n', ' ');
    lines.emplace_back(key, shown);
  }
  if (code != nullptr) {
    lines.emplace_back("code", text(code->level, ", plan ", code->plan_hash));
    lines.emplace_back(
        "shape", text(code->n_layers, " layers, hidden ", code->n_hidden, ", vocabulary ", code->n_vocab));
  }
  struct Count {
    uint64_t tensors = 0, bytes = 0;
  };
  std::map<std::string, Count> types;
  for (const TensorEntry& t : *table) {
    Count& count = types[t.type];
    ++count.tensors;
    count.bytes += t.bytes;
  }
  std::string type_list;
  for (const auto& [type, count] : types) {
    type_list +=
        text(type_list.empty() ? "" : ", ", type, " x ", count.tensors, " (", human_bytes(count.bytes), ")");
  }
  lines.emplace_back("tensors", text(table->size(), ": ", type_list));
  if (!payload.answers.empty())
    lines.emplace_back("answers",
                       text("JSON of a schema, ", human_bytes(payload.answers.size()), " of masks"));
  if (!payload.prompt.empty())
    lines.emplace_back("system prompt", text("its KV, ", human_bytes(payload.prompt.size())));
  std::string weights = human_bytes(payload.weights.size());
  if (code != nullptr) weights += text(", ", human_bytes(code->weight_bytes_per_token), " read for a token");
  lines.emplace_back("weights", weights);
  if (code != nullptr) {
    lines.emplace_back("arena", text(human_bytes(code->arena_bytes), ", and ",
                                     human_bytes(code->scratch_bytes), " a thread"));
    lines.emplace_back(
        "context",
        text("up to ", code->ctx_max, " tokens; KV ", human_bytes(code->kv_page_bytes / kPagePositions),
             " a token, ", human_bytes(pages_for(code->ctx_max) * code->kv_page_bytes), " when full"));
  }
  lines.emplace_back("threads", text(cpu_budget().n_workers(), " here"));
  size_t width = 0;
  for (const auto& [key, value] : lines) width = std::max(width, key.size());
  for (const auto& [key, value] : lines) {
    program.out.write(text(key, std::string(width + 2 - key.size(), ' '), value, "\n"));
  }
  if (tensors) {
    for (const TensorEntry& t : *table) {
      program.out.write(
          text(t.name, "\t", t.type, "\t", t.rows, " x ", t.cols, "\t", t.layout, "\t", t.bytes, "\n"));
    }
  }
  if (verify) {
    program.out.flush();
    const double start = seconds_now();
    if (const Status whole = verify_weights(payload); !whole) return fail(program, whole.error());
    program.out.write(text("verified: ", table->size(), " tensors, ", human_bytes(payload.weights.size()),
                           " in ", fixed(seconds_now() - start, 2), " s, all whole\n"));
  }
  return 0;
}

}  // namespace forge::rt
