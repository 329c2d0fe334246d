#include "codegen/compile.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "adapters/lora.h"
#include "codegen/cpu/emit.h"
#include "core/error.h"
#include "formats/artifact_checkpoint.h"
#include "formats/tokenizer_tables.h"
#include "ir/weight_tensor.h"
#include "models/architecture.h"
#include "passes/passes.h"
#include "runtime/core/answer_format.h"
#include "runtime/core/chat_template.h"
#include "runtime/core/jinja_json.h"
#include "runtime/core/mask_image.h"
#include "runtime/core/tokenizer.h"

namespace forge {
namespace {

std::vector<float> rope_factors(const Checkpoint& checkpoint, const Graph& g) {
  for (const Node& n : g.body) {
    if (n.op != Op::rope_kv || n.segments.empty()) continue;
    const Weight& w = g.weights[n.segments[0].weight];
    const Tensor t = weight_tensor(checkpoint, w, 0);
    std::vector<float> factors(w.cols);
    info(t.type).decode(t.data.data(), factors.data(), factors.size());
    for (float f : factors)
      if (!(f > 0 && f < 1e9F))
        fail("{}: tensor {} holds {}, expected factors above 0", checkpoint.path, w.tensor, f);
    return factors;
  }
  return {};
}

std::string chat_template(const Checkpoint& checkpoint, const CompileOptions& options) {
  std::string text = options.has_chat_template
                         ? options.chat_template
                         : checkpoint.meta.string("tokenizer.chat_template").value_or("");
  if (text.empty()) return text;
  // What the evaluator does not know is an error now and not in a conversation.
  if (const auto parsed = rt::ChatTemplate::parse(text); !parsed) {
    if (options.has_chat_template) fail("{}: {}", options.chat_template_file, parsed.error().message);
    fail("{}: {}; --chat-template FILE takes another one", checkpoint.path, parsed.error().message);
  }
  return text;
}

using Manifest = std::map<std::string, std::string, std::less<>>;

// The model file's recommendations, in the ranges that a program's flags have: below its range a value means
// "off" (as in llama.cpp), and what means nothing is left out.
void sampling_defaults(const Checkpoint& checkpoint, uint32_t ctx_max, Manifest& manifest) {
  const auto number = [&](std::string_view key) {
    const double value = checkpoint.meta.number(fmt::format("general.sampling.{}", key)).value_or(NAN);
    return std::isfinite(value) ? value : NAN;
  };
  // Nothing is written for a NaN or a value above `high`.
  const auto set = [&](std::string_view key, double value, double high) {
    if (value <= high)
      manifest[fmt::format("sampling.{}", key)] = fmt::format("{}", static_cast<float>(value));
  };
  const auto set_count = [&](std::string_view key, double value, double high) {
    if (value <= high)
      manifest[fmt::format("sampling.{}", key)] = fmt::format("{}", static_cast<uint32_t>(value));
  };
  // In this order of arguments a NaN stays one.
  const auto at_least_0 = [](double value) { return value < 0 ? 0 : value; };
  set("temp", at_least_0(number("temp")), 100);
  set_count("top_k", at_least_0(number("top_k")), INT32_MAX);
  if (const double top_p = number("top_p"); top_p >= 0) set("top_p", std::min(top_p, 1.0), 1);
  set("min_p", at_least_0(number("min_p")), 1);
  if (const double penalty = number("penalty_repeat"); penalty > 0) set("repeat_penalty", penalty, 100);
  const double last_n = number("penalty_last_n");  // -1: the whole context
  set_count("repeat_last_n", last_n < 0 ? ctx_max : last_n, UINT32_MAX);
}

// Positions a program's context has when nothing else is said, however many it was compiled for.
uint32_t default_context(const Checkpoint& checkpoint, const Graph& g) {
  const auto trained = checkpoint.meta.integer(g.name + ".context_length").value_or(g.ctx_max);
  return static_cast<uint32_t>(std::min<int64_t>({g.ctx_max, trained, kDefaultCtx}));
}

Manifest make_manifest(const Checkpoint& checkpoint, const CompileOptions& options, const CompiledModel& m) {
  Manifest manifest;
  manifest["model.name"] = checkpoint.meta.string("general.name").value_or("");
  manifest["model.architecture"] = m.source.name;
  // A program that is compiled anew names the file that it was first made from.
  manifest["source.sha256"] =
      checkpoint.source_sha256.empty() ? source_sha256(checkpoint) : checkpoint.source_sha256;
  manifest["ctx.default"] = std::to_string(default_context(checkpoint, m.source));
  manifest["target"] = fmt::format("{} {}, {}", m.plan.target, options.target.name, options.target.triple());
  manifest["compiler"] = options.compiler;
  manifest["kv"] = options.kv == KvType::q8_0 ? "q8_0" : "f16";
  if (const auto quantization = checkpoint.meta.string(kQuantizationKey))
    manifest["quantization"] = *quantization;
  if (const auto* adapters = checkpoint.meta.strings(kAdaptersKey))
    manifest["source.adapters"] = fmt::format("{}", fmt::join(*adapters, ", "));
  if (!options.default_args.empty()) manifest["default_args"] = options.default_args;
  if (!options.system_prompt.empty()) manifest["system_prompt"] = options.system_prompt;
  sampling_defaults(checkpoint, m.source.ctx_max, manifest);
  return manifest;
}

// How the model writes thoughts and tool calls, as its chat template shows; nullopt where it has none.
std::optional<std::string> answer_format(const PayloadInput& payload) {
  const auto chat_template = rt::ChatTemplate::parse(payload.chat_template);
  const auto tokenizer = rt::Tokenizer::open(payload.tokenizer);
  if (payload.chat_template.empty() || !chat_template || !tokenizer) return std::nullopt;
  rt::FormatHints hints;
  for (int32_t t = 0; t < tokenizer->n_vocab(); ++t)
    if (tokenizer->is_control(t)) tokenizer->append_piece(t, hints.control_tokens.emplace_back(), true);
  return rt::derive_answer_format(*chat_template, hints).to_text();
}

// The masks of the schema's grammar over the payload's vocabulary.
std::vector<uint8_t> answer_masks(const PayloadInput& payload, const CompileOptions& options) {
  constexpr size_t kMaxMaskBytes = 8 << 20;
  const auto schema = rt::jinja::parse_json(options.json_schema);
  if (!schema) fail("{}: {}", options.json_schema_file, schema.error().message);
  const auto grammar = rt::json_schema_grammar(*schema);
  if (!grammar) fail("{}: {}", options.json_schema_file, grammar.error().message);
  const auto tokenizer = rt::Tokenizer::open(payload.tokenizer);
  if (!tokenizer) fail("--json-schema: {}", tokenizer.error().message);
  return rt::write_mask_image(rt::make_vocabulary_trie(*tokenizer), *grammar, kMaxMaskBytes);
}

void pack_weights(const Checkpoint& checkpoint, const CompiledModel& m, PayloadInput& payload) {
  for (const PlacedWeight& placed : m.plan.weights) {
    const Weight& w = m.optimized.weights[placed.weight];
    PackedTensor t;
    const Tensor tensor = weight_tensor(checkpoint, w, placed.layer);
    t.name = tensor.name;
    if (tensor.data.size() != checkpoint.find(tensor.name)->data.size())
      t.name += fmt::format("[{}]", w.first);
    t.type = std::string(info(placed.type).name);
    t.layout = std::string(layout_name(placed.layout));
    t.rows = w.rows;
    t.cols = w.cols;
    t.offset = placed.offset;
    t.bytes = placed.bytes;
    t.pack = [data = tensor.data, placed, rows = t.rows, cols = t.cols](std::span<uint8_t> out) {
      pack(placed.type, placed.layout, rows, cols, data, out);
    };
    payload.tensors.push_back(std::move(t));
  }
  payload.weights_bytes = m.plan.weights_bytes;
}

}  // namespace

CompiledModel compile_model(const Checkpoint& checkpoint, const CompileOptions& options,
                            const std::function<void(std::string_view phase)>& phase) {
  const auto enter = [&](std::string_view name) {
    if (phase) phase(name);
  };
  CompiledModel m;
  enter("parse");
  m.source = build_graph(checkpoint, options.ctx);
  enter("optimize");
  const CpuTarget& target = options.target;
  const auto prompts = [](const CpuLevel& level) {
    return level.has_bf16_tiles() ? PromptType::bf16 : PromptType::q8;
  };
  const auto lower = [&](PromptType type) {
    Graph optimized = optimize(m.source, options.kv, type);
    Plan plan = lower_cpu(optimized, rope_factors(checkpoint, optimized));
    return std::pair(std::move(optimized), std::move(plan));
  };
  const PromptType lowest = prompts(*target.levels.back());
  std::tie(m.optimized, m.plan) = lower(lowest);
  enter("generate");
  PayloadInput& payload = m.payload;
  payload.plan_hash = plan_hash(m.plan, m.optimized);
  for (size_t i = 0; i < target.levels.size(); ++i) {
    // Weights and cache lie alike for all levels.
    if (const PromptType type = prompts(*target.levels[i]); type == lowest) {
      m.sources[target.source(i)] = emit_cpu(m.optimized, m.plan, payload.plan_hash, target, i);
    } else {
      const auto [optimized, plan] = lower(type);
      m.sources[target.source(i)] = emit_cpu(optimized, plan, payload.plan_hash, target, i);
    }
  }

  payload.tokenizer = build_tokenizer_tables(checkpoint.meta);
  if (const auto tokenizer = rt::Tokenizer::open(payload.tokenizer);
      tokenizer && static_cast<uint32_t>(tokenizer->n_vocab()) > m.source.n_vocab)
    fail("{}: {} tokens in the vocabulary, but token_embd.weight has {} rows", checkpoint.path,
         tokenizer->n_vocab(), m.source.n_vocab);
  payload.chat_template = chat_template(checkpoint, options);
  payload.source_kv = encode_source_metadata(checkpoint);
  payload.manifest = make_manifest(checkpoint, options, m);
  if (const auto format = answer_format(payload)) payload.manifest["answer.format"] = *format;
  if (!options.json_schema.empty()) payload.answers = answer_masks(payload, options);
  pack_weights(checkpoint, m, payload);
  return m;
}

std::map<std::string, std::string> sources_with(const Schedules& schedules, const CompiledModel& model,
                                                const CpuTarget& target) {
  return {{target.source(0),
           emit_cpu(model.optimized, model.plan, model.payload.plan_hash, target, 0, schedules)}};
}

}  // namespace forge
