#include "adapters/peft.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "core/mapped_file.h"
#include "formats/gguf_encoding.h"
#include "formats/safetensors.h"
#include "models/huggingface/mapping.h"

namespace forge {
namespace {

using huggingface::Config;
using huggingface::Place;

// What changes the model otherwise than by W + scale · B A of the base it was trained on.
void refuse_other_methods(const Config& config) {
  if (const auto type = config.string({"peft_type"}).value_or("LORA"); type != "LORA")
    config.refuse("peft_type", "LORA");
  if (config.boolean({"use_dora"}).value_or(false))
    config.refuse("use_dora",
                  "false: DoRA adapters are not supported; merge it with PEFT's merge_and_unload");
  for (const char* key : {"use_qalora", "use_bdlora", "lora_bias"})
    if (config.boolean({key}).value_or(false)) config.refuse(key, "false");
  for (const char* key : {"modules_to_save", "layer_replication", "trainable_token_indices",
                          "target_parameters", "alora_invocation_tokens"})
    if (const Json* value = config.find({key}); value != nullptr && !value->empty())
      config.refuse(key, "none");
  if (config.string({"bias"}).value_or("none") != "none") config.refuse("bias", "none");
  // These train from a base that they have changed.
  if (const Json* start = config.find({"init_lora_weights"}); start != nullptr && start->is_string())
    for (const std::string_view method : {"pissa", "olora", "corda", "loftq", "lora_ga"})
      if (start->get<std::string>().starts_with(method))
        config.refuse("init_lora_weights", "a start from the model as it is");
}

// The value of the first pattern that ends a module's name. Patterns are regular expressions of which only plain
// names are taken ("q_proj", "layers\.0\.self_attn\.q_proj").
double by_pattern(const Config& config, const char* key, std::string_view module, double otherwise) {
  const Config patterns = config.object({key});
  const Json* object = config.find({key});
  if (object == nullptr) return otherwise;
  for (const auto& [pattern, value] : object->items()) {
    std::string plain = pattern;
    const bool from_start = plain.starts_with('^');
    if (from_start) plain.erase(0, 1);
    if (plain.ends_with('$')) plain.pop_back();
    for (size_t at = 0; (at = plain.find("\\.", at)) != std::string::npos; ++at) plain.erase(at, 1);
    if (plain.find_first_of("\\^$*+?()[]{}|") != std::string::npos)
      config.refuse(key, fmt::format("names of modules; {} is another pattern", quote(pattern)));
    const bool ends =
        module.ends_with(plain) &&
        (module.size() == plain.size() || (!from_start && module[module.size() - plain.size() - 1] == '.'));
    if (ends) return *patterns.number({pattern.c_str()});
  }
  return otherwise;
}

std::vector<float> decode(const std::string& path, const SafeTensor& t) {
  if (!t.type || t.shape.size() != 2 || t.shape[0] < 1 || t.shape[1] < 1)
    fail("{}: tensor {} is {} of [{}], expected a matrix of F32, F16 or BF16", path, quote(t.name), t.dtype,
         fmt::join(t.shape, ", "));
  std::vector<float> out(static_cast<size_t>(t.shape[0] * t.shape[1]));
  info(*t.type).decode(t.data.data(), out.data(), out.size());
  return out;
}

struct Pair {
  const SafeTensor *a = nullptr, *b = nullptr;
};

// The pairs by the modules that they adapt: "base_model.model.MODULE.lora_A.weight".
std::map<std::string, Pair> pair_up(const std::string& path, const SafeTensors& tensors) {
  std::map<std::string, Pair> pairs;
  for (const SafeTensor& t : tensors.tensors) {
    std::string_view name = t.name;
    if (constexpr std::string_view kAround = "base_model.model."; name.starts_with(kAround))
      name.remove_prefix(kAround.size());
    bool placed = false;
    for (const auto& [ending, side] :
         {std::pair<std::string_view, const SafeTensor * Pair::*>{".lora_A.weight", &Pair::a},
          {".lora_A.default.weight", &Pair::a},
          {".lora_B.weight", &Pair::b},
          {".lora_B.default.weight", &Pair::b}}) {
      if (!name.ends_with(ending)) continue;
      pairs[std::string(name.substr(0, name.size() - ending.size()))].*side = &t;
      placed = true;
    }
    if (!placed)
      fail("{}: tensor {} is no lora_A.weight and no lora_B.weight, which are all that can be merged", path,
           quote(t.name));
  }
  return pairs;
}

// Rows of B in the order that the model's have.
void interleave(LoraUpdate& update, const Checkpoint& base, const Place& place, const std::string& path) {
  const std::string architecture = base.meta.string("general.architecture").value_or("");
  const auto count = [&](std::string_view key) {
    return base.meta.integer(fmt::format("{}.attention.{}", architecture, key));
  };
  const int64_t query_heads = count("head_count").value_or(1);
  const int64_t heads =
      place.rows == Place::Rows::query_heads ? query_heads : count("head_count_kv").value_or(query_heads);
  if (heads < 1 || update.n_out % heads != 0 || update.n_out / heads % 2 != 0)
    fail("{}: the update of {} has {} rows, expected {} heads of an even number of rows", path, update.tensor,
         update.n_out, heads);
  std::vector<float> b(update.b.size());
  const int64_t head = update.n_out / heads;
  for (int64_t row = 0; row < update.n_out; ++row)
    std::copy_n(update.b.begin() + row * update.rank, update.rank,
                b.begin() + huggingface::interleaved_row(row, head) * update.rank);
  update.b = std::move(b);
}

}  // namespace

std::vector<LoraUpdate> read_peft(const std::string& directory, const Checkpoint& base) {
  namespace fs = std::filesystem;
  const std::string config_path = fs::path(directory) / kPeftFiles[0],
                    path = fs::path(directory) / kPeftFiles[1];
  std::error_code error;
  for (const std::string& file : {config_path, path})
    if (!fs::exists(file, error))
      fail("{}: missing, expected in the directory of an adapter; a base model is named by MODEL", file);
  const Config config(config_path, parse_json(config_path, MappedFile(config_path).bytes()));
  refuse_other_methods(config);
  const std::string architecture = base.meta.string("general.architecture").value_or("");
  const huggingface::Mapping* mapping = huggingface::mapping_of(architecture);
  if (mapping == nullptr)
    fail("{}: no names of PEFT modules are known for the architecture '{}' of {}; a GGUF adapter has its own",
         path, architecture, base.path);

  const auto rank = static_cast<double>(config.dimension({"r"}));
  const auto alpha = config.number({"lora_alpha"});
  if (!alpha) config.refuse("lora_alpha", "a number");
  const bool by_root = config.boolean({"use_rslora"}).value_or(false);  // arXiv:2312.03732
  const SafeTensors tensors = read_safetensors(path);
  std::vector<LoraUpdate> updates;
  for (const auto& [module, pair] : pair_up(path, tensors)) {
    if (pair.a == nullptr || pair.b == nullptr)
      fail("{}: {} has no lora_{}.weight, expected both", path, quote(module), pair.a == nullptr ? 'A' : 'B');
    const auto place = huggingface::find_place(*mapping, module + ".weight");
    if (!place) fail("{}: {} has no place in the architecture '{}'", path, quote(module), architecture);
    LoraUpdate update;
    update.tensor = place->name;
    update.a = decode(path, *pair.a);
    update.b = decode(path, *pair.b);
    update.rank = pair.a->shape[0];
    update.n_in = pair.a->shape[1];
    update.n_out = pair.b->shape[0];
    const double expected_rank = by_pattern(config, "rank_pattern", module, rank);
    if (pair.b->shape[1] != update.rank || static_cast<double>(update.rank) != expected_rank)
      fail("{}: {} has lora_A [{}, {}] and lora_B [{}, {}], expected rank {}", path, quote(module),
           update.rank, update.n_in, update.n_out, pair.b->shape[1], expected_rank);
    update.scale = by_pattern(config, "alpha_pattern", module, *alpha) /
                   (by_root ? std::sqrt(expected_rank) : expected_rank);
    if (place->rows != Place::Rows::plain) interleave(update, base, *place, path);
    updates.push_back(std::move(update));
  }
  return updates;
}

}  // namespace forge
