#include "adapters/lora.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <unordered_map>

#include "adapters/peft.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "core/sha256.h"
#include "formats/gguf_encoding.h"

namespace forge {
namespace {

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

std::string shape_text(const Tensor& t) { return fmt::format("[{}]", fmt::join(t.shape, ", ")); }

std::vector<float> decode(const Tensor& t) {
  std::vector<float> out(static_cast<size_t>(t.rows() * t.cols()));
  info(t.type).decode(t.data.data(), out.data(), out.size());
  return out;
}

// llama.cpp's form: general.type "adapter", NAME.lora_a and NAME.lora_b for the tensor NAME.
std::vector<LoraUpdate> read_gguf_adapter(const std::string& path, const Checkpoint& base) {
  const Checkpoint file = read_gguf(path);
  if (file.meta.string("general.type").value_or("model") != "adapter")
    fail("{}: no adapter, expected a GGUF file whose general.type is adapter", path);
  if (const auto type = file.meta.string("adapter.type").value_or("lora"); type != "lora")
    fail("{}: an adapter of type {}, expected lora", path, quote(type));
  if (file.meta.find("adapter.alora.invocation_tokens") != nullptr)
    fail("{}: an adapter that tokens switch on (aLoRA) can't be merged", path);
  const auto architecture = file.meta.string("general.architecture");
  if (const auto of_base = base.meta.string("general.architecture"); architecture && architecture != of_base)
    fail("{}: an adapter for the architecture '{}', but {} is '{}'", path, *architecture, base.path,
         of_base.value_or(""));
  const double alpha = file.meta.number("adapter.lora.alpha").value_or(0);
  if (!std::isfinite(alpha)) fail("{}: adapter.lora.alpha is no finite number", path);

  struct Pair {
    const Tensor *a = nullptr, *b = nullptr;
  };
  std::map<std::string, Pair> pairs;
  for (const Tensor& t : file.tensors) {
    constexpr std::string_view kA = ".lora_a", kB = ".lora_b";
    const std::string name = t.name.substr(0, t.name.size() - std::min(t.name.size(), kA.size()));
    if (t.name.ends_with(kA))
      pairs[name].a = &t;
    else if (t.name.ends_with(kB))
      pairs[name].b = &t;
    else
      fail("{}: tensor {} is no lora_a and no lora_b, which are all that can be merged", path, quote(t.name));
  }
  std::vector<LoraUpdate> updates;
  for (const auto& [name, pair] : pairs) {
    if (pair.a == nullptr || pair.b == nullptr)
      fail("{}: {} has no lora_{}, expected both", path, quote(name), pair.a == nullptr ? 'a' : 'b');
    if (pair.a->shape.size() != 2 || pair.b->shape.size() != 2 || pair.a->rows() != pair.b->cols())
      fail("{}: {} has lora_a {} and lora_b {}, expected [rank, in] and [out, rank]", path, quote(name),
           shape_text(*pair.a), shape_text(*pair.b));
    LoraUpdate update{
        .tensor = name, .rank = pair.a->rows(), .n_in = pair.a->cols(), .n_out = pair.b->rows()};
    update.a = decode(*pair.a);
    update.b = decode(*pair.b);
    if (alpha != 0) update.scale = alpha / static_cast<double>(update.rank);
    updates.push_back(std::move(update));
  }
  return updates;
}

// weight += scale · B A, in float32; sums over the rank ascend.
void add_product(std::vector<float>& weight, const LoraUpdate& update, float scale) {
  const auto n_in = static_cast<size_t>(update.n_in), rank = static_cast<size_t>(update.rank);
  std::vector<float> row(n_in);
  for (size_t out = 0; out < static_cast<size_t>(update.n_out); ++out) {
    std::ranges::fill(row, 0.0F);
    for (size_t r = 0; r < rank; ++r) {
      const float b = update.b[out * rank + r];
      const float* a = update.a.data() + r * n_in;
      for (size_t i = 0; i < n_in; ++i) row[i] += b * a[i];
    }
    float* w = weight.data() + out * n_in;
    for (size_t i = 0; i < n_in; ++i) w[i] += scale * row[i];
  }
}

void merge_update(Checkpoint& model, Tensor& t, const Adapter& adapter, const LoraUpdate& update,
                  double scale, DType stored) {
  if (t.shape.size() != 2 || t.rows() != update.n_out || t.cols() != update.n_in)
    fail("{}: the update of {} is [{}, {}], but the tensor of {} is {}", adapter.path, update.tensor,
         update.n_out, update.n_in, model.path, shape_text(t));
  std::vector<float> merged = decode(t);
  add_product(merged, update, static_cast<float>(scale * update.scale));
  const float largest = stored == DType::f16 ? 65504.0F : std::numeric_limits<float>::max();
  if (std::ranges::any_of(merged, [&](float x) { return !(std::abs(x) <= largest); }))
    fail("{}: {} times the update of {} is beyond what {} holds; give a smaller scale (--lora PATH:SCALE)",
         adapter.path, scale, update.tensor, info(stored).name);
  const auto bytes = std::make_shared<std::vector<uint8_t>>(row_bytes(stored, merged.size()));
  info(stored).encode(merged.data(), bytes->data(), merged.size());
  t.type = stored;
  t.data = *bytes;
  model.storage.push_back(bytes);
}

// Types that are only read, by codebooks, leave for half floats.
DType stored_type(DType before, MergedType type) {
  if (type == MergedType::f32) return DType::f32;
  return info(before).encode == nullptr ? DType::f16 : before;
}

}  // namespace

std::vector<std::string> adapter_files(const std::string& path) {
  if (std::error_code error; !std::filesystem::exists(path, error))
    fail("--lora {}: there is no such file or directory", path);
  if (!is_directory(path)) return model_files(path);
  std::vector<std::string> files;
  for (const char* name : kPeftFiles) files.push_back(std::filesystem::path(path) / name);
  return files;
}

Adapter read_adapter(const std::string& path, const Checkpoint& base) {
  Adapter adapter{.path = path};
  const std::vector<std::string> files = adapter_files(path);
  adapter.updates = is_directory(path) ? read_peft(path, base) : read_gguf_adapter(path, base);
  if (adapter.updates.empty()) fail("{}: the adapter holds no tensors", path);
  Sha256 sha;
  for (const std::string& file : files) {
    const MappedFile map(file);
    sha.add(map.bytes().data(), map.bytes().size());
  }
  adapter.sha256 = to_hex(sha.digest());
  return adapter;
}

AdapterArgument parse_adapter_argument(std::string_view text) {
  AdapterArgument out{std::string(text)};
  std::error_code error;
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || std::filesystem::exists(text, error)) return out;
  const std::string_view scale = text.substr(colon + 1);
  const auto [end, status] = std::from_chars(scale.data(), scale.data() + scale.size(), out.scale);
  if (status != std::errc() || end != scale.data() + scale.size() || !std::isfinite(out.scale))
    fail_usage("--lora {}: {} is no scale, expected PATH or PATH:SCALE", text, quote(scale));
  out.path = text.substr(0, colon);
  return out;
}

void merge_adapter(Checkpoint& model, const Adapter& adapter, double scale, MergedType type,
                   const std::function<void(std::string_view line)>& note) {
  std::unordered_map<std::string_view, Tensor*> tensors;
  for (Tensor& t : model.tensors) tensors.emplace(t.name, &t);
  std::map<std::pair<DType, DType>, size_t> rewritten;  // quantized tensors, by their types before and after
  for (const LoraUpdate& update : adapter.updates) {
    const auto at = tensors.find(update.tensor);
    if (at == tensors.end())
      fail("{}: the adapter changes {}, which {} does not have", adapter.path, update.tensor, model.path);
    // One tensor is then the table of embeddings and the head, of which the adapter was trained to change one.
    if (update.tensor == "token_embd.weight" && !tensors.contains("output.weight"))
      fail("{}: the adapter changes {}, which is the head of {} as well", adapter.path, update.tensor,
           model.path);
    const DType before = at->second->type, after = stored_type(before, type);
    merge_update(model, *at->second, adapter, update, scale, after);
    if (info(before).block_weights > 1) ++rewritten[{before, after}];
  }
  const auto* known = model.meta.strings(kAdaptersKey);
  std::vector<std::string> merged = known == nullptr ? std::vector<std::string>{} : *known;
  merged.push_back(fmt::format("{} {}", adapter.sha256, scale));
  model.meta.set(std::string(kAdaptersKey), {MetaType::array, MetaType::string, std::move(merged)});
  if (!note) return;
  for (const auto& [types, n] : rewritten)
    note(fmt::format(
        "{}: {} tensors of {} were decoded from {}, merged and stored as {}; an adapter loses less on a "
        "model of higher precision",
        adapter.path, n, model.path, info(types.first).name, info(types.second).name));
}

}  // namespace forge
