// What of models lies in the caches: downloaded ones, and compiled ones.
#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "download/hub_cache.h"
#include "runtime/host/mapping.h"
#include "runtime/host/program.h"
#include "toolchain/cache.h"

namespace forge {
namespace {

using nlohmann::ordered_json;

// What MODEL is for `forge compile`.
std::string argument_of(const CachedModel& model) {
  return model.file.empty() ? "hf:" + model.repo : fmt::format("hf:{}:{}", model.repo, model.file);
}

struct CompiledModelEntry {
  CacheEntry entry;
  std::string name, architecture, target, source_sha256;
  std::string kv, quantization, adapters;  // what was asked for at compile time
};

std::string value_of(const rt::Payload& payload, std::string_view key) {
  const auto value = payload.string(key);
  return value ? std::string(*value) : "";
}

// The programs of forge's own cache that are whole.
std::vector<CompiledModelEntry> compiled_models(const Cache& cache) {
  std::vector<CompiledModelEntry> out;
  for (const CacheEntry& entry : cache.list()) {
    if (entry.kind != "program") continue;
    const auto carried = rt::open_carried_payload(entry.path);
    if (!carried) continue;
    // NAME-HASH or NAME-HASH-HASH, where NAME is the model's.
    constexpr size_t kHash = 32, kCompiler = 8;
    std::string name = entry.name;
    for (const size_t hash : {kCompiler, kHash}) {
      if (name.size() > hash + 1 && name[name.size() - hash - 1] == '-') name.resize(name.size() - hash - 1);
    }
    out.push_back({.entry = entry,
                   .name = std::move(name),
                   .architecture = value_of(carried->payload, "model.architecture"),
                   .target = value_of(carried->payload, "target"),
                   .source_sha256 = value_of(carried->payload, "source.sha256"),
                   .kv = value_of(carried->payload, "kv"),
                   .quantization = value_of(carried->payload, "quantization"),
                   .adapters = value_of(carried->payload, "source.adapters")});
  }
  std::ranges::reverse(out);  // the last used first
  return out;
}

std::string date(int64_t seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(static_cast<std::time_t>(seconds)));
}

void print_json(const std::vector<CachedModel>& cached, const std::vector<CompiledModelEntry>& compiled) {
  ordered_json out = {{"cached", ordered_json::array()}, {"compiled", ordered_json::array()}};
  for (const CachedModel& m : cached) {
    out["cached"].push_back({{"model", argument_of(m)},
                             {"revision", m.revision},
                             {"bytes", m.bytes},
                             {"used_s", m.used_s},
                             {"path", m.path}});
  }
  for (const CompiledModelEntry& m : compiled) {
    out["compiled"].push_back({{"name", m.name},
                               {"architecture", m.architecture},
                               {"target", m.target},
                               {"source_sha256", m.source_sha256},
                               {"kv", m.kv},
                               {"quantization", m.quantization},
                               {"adapters", m.adapters},
                               {"bytes", m.entry.bytes},
                               {"used_s", m.entry.used_s},
                               {"path", m.entry.path}});
  }
  fmt::print("{}\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

void print_table(const std::vector<CachedModel>& cached, const std::vector<CompiledModelEntry>& compiled) {
  size_t width = 0;
  for (const CachedModel& m : cached) width = std::max(width, argument_of(m).size());
  for (const CompiledModelEntry& m : compiled) width = std::max(width, m.name.size());
  if (cached.empty() && compiled.empty()) fmt::print("nothing is cached\n");
  if (!cached.empty()) fmt::print("downloaded:\n");
  for (const CachedModel& m : cached) {
    fmt::print("  {:<{}}  {:>9}  {}  {}\n", argument_of(m), width, rt::human_bytes(m.bytes), date(m.used_s),
               std::string_view(m.revision).substr(0, 12));
  }
  if (!compiled.empty()) fmt::print("compiled:\n");
  for (const CompiledModelEntry& m : compiled) {
    std::string made = fmt::format("{}, {}, kv {}", m.architecture, m.target, m.kv);
    if (!m.quantization.empty()) made += ", " + m.quantization;
    if (!m.adapters.empty()) made += ", with adapters";
    fmt::print("  {:<{}}  {:>9}  {}  {}, of {}\n", m.name, width, rt::human_bytes(m.entry.bytes),
               date(m.entry.used_s), made, std::string_view(m.source_sha256).substr(0, 12));
  }
}

}  // namespace

void add_models(CLI::App& forge) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = forge.add_subcommand("models", "list the models that are downloaded and compiled");
  command->add_flag("--json", *json, "one JSON object on standard output");
  command->footer(
      "Downloaded models lie in the Hugging Face cache: $HF_HUB_CACHE, $HF_HOME/hub or "
      "~/.cache/huggingface/hub;\n"
      "compiled ones in forge's own (forge cache).\n"
      "example:\n  forge models --json");
  command->callback([json] {
    const std::vector<CachedModel> cached = list_cached_models(hub_directory());
    const std::vector<CompiledModelEntry> compiled = compiled_models(Cache::standard());
    *json ? print_json(cached, compiled) : print_table(cached, compiled);
  });
}

}  // namespace forge
